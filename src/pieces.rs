//! Writers that can take a piece of content as it is, without a copy.

use std::fs::File;
use std::io::{self, Write};

/// Bytes of the shortest piece that is worth passing on as it is. Shorter ones are copied to others: that takes less time.
pub(crate) const LEAST: usize = 16 << 10;

/// A writer that takes pieces.
pub trait WritePiece: Write {
    /// Writes all of `piece`.
    ///
    /// # Errors
    /// Those of the writer.
    fn write_piece(&mut self, piece: Vec<u8>) -> io::Result<()> {
        self.write_all(&piece)
    }
}

impl WritePiece for Vec<u8> {}
impl WritePiece for File {}

impl<W: WritePiece> WritePiece for &mut W {
    fn write_piece(&mut self, piece: Vec<u8>) -> io::Result<()> {
        (**self).write_piece(piece)
    }
}
