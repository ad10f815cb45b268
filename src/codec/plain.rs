//! Writing without compression. Short writes are gathered: a tree of small files is one header of 512 bytes after another.

use std::io;
use std::mem;

use crate::pieces::WritePiece;

/// Bytes that are gathered before they are written.
const GATHERED: usize = 256 << 10;

/// Pieces of at least so many bytes are not copied.
const LONG: usize = 16 << 10;

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
        if piece.len() < LONG {
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
