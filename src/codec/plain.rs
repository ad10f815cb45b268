//! Writing without compression. Short writes are gathered: a tree of small files is one header of 512 bytes after another.

use std::io;
use std::mem;

use crate::pieces::{LEAST, WritePiece};

/// Bytes that are gathered before they are written.
const GATHERED: usize = 256 << 10;

#[derive(Default)]
pub(super) struct Writer {
    gathered: Vec<u8>,
}

impl Writer {
    pub(super) fn write(&mut self, input: &[u8], to: &mut impl WritePiece) -> io::Result<()> {
        if self.gathered.len() + input.len() > GATHERED {
            self.write_copied(to)?;
        }
        self.gathered.extend_from_slice(input);
        Ok(())
    }

    pub(super) fn write_piece(&mut self, piece: Vec<u8>, to: &mut impl WritePiece) -> io::Result<()> {
        if piece.len() < LEAST {
            return self.write(&piece, to);
        }
        self.write_copied(to)?;
        to.write_piece(piece)
    }

    /// Writes what is gathered.
    pub(super) fn write_copied(&mut self, to: &mut impl WritePiece) -> io::Result<()> {
        if self.gathered.is_empty() { Ok(()) } else { to.write_piece(mem::take(&mut self.gathered)) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_and_pieces_are_written_in_order(
            parts in prop::collection::vec((any::<bool>(), prop_oneof![3 => 0..2 * LEAST, 1 => 0..2 * GATHERED]), 0..30),
        ) {
            let (mut writer, mut written, mut expected) = (Writer::default(), Vec::new(), Vec::new());
            for (number, (is_piece, length)) in (0_u8..).zip(parts) {
                let part = vec![number; length];
                expected.extend_from_slice(&part);
                let done =
                    if is_piece { writer.write_piece(part, &mut written) } else { writer.write(&part, &mut written) };
                done.unwrap();
            }
            writer.write_copied(&mut written).unwrap();
            prop_assert!(written == expected);
        }
    }
}
