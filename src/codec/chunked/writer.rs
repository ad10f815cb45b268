//! Writing of gzip and Zstandard: chunks are encoded on a pool and written in order.

use std::io;

use super::chunk::Chunked;
use super::gathered::Gathered;
use crate::codec::format::{Compression, NotReadBack};
use crate::ordered::{Ordered, Pool};
use crate::pieces::WritePiece;

/// Cuts input into chunks, has them encoded on a pool and writes them in order.
pub(in crate::codec) struct Writer {
    format: &'static Chunked,
    compression: Compression,
    chunk: Gathered,
    encoding: Ordered<io::Result<Vec<u8>>>,
    /// Whether a chunk was submitted.
    any: bool,
}

impl Writer {
    pub(in crate::codec) fn new(format: &'static Chunked, compression: Compression, pool: &Pool) -> Self {
        Self { format, compression, chunk: Gathered::default(), encoding: Ordered::new(pool), any: false }
    }

    pub(in crate::codec) fn write(&mut self, mut input: &[u8], to: &mut impl WritePiece) -> io::Result<()> {
        while !input.is_empty() {
            let room = self.room(to)?;
            let (now, later) = input.split_at(input.len().min(room));
            self.chunk.copy(now);
            input = later;
        }
        Ok(())
    }

    /// The same for a piece that is not copied here: what is in one chunk with it is joined on the pool.
    pub(in crate::codec) fn write_piece(&mut self, mut piece: Vec<u8>, to: &mut impl WritePiece) -> io::Result<()> {
        while !piece.is_empty() {
            let room = self.room(to)?;
            let later = piece.split_off(piece.len().min(room));
            self.chunk.take(piece);
            piece = later;
        }
        Ok(())
    }

    /// Returns how many bytes the chunk has room for, at least one: a full one is ended.
    fn room(&mut self, to: &mut impl WritePiece) -> io::Result<usize> {
        if self.chunk.length() == self.format.size {
            self.end_chunk(to)?;
        }
        Ok(self.format.size - self.chunk.length())
    }

    fn end_chunk(&mut self, to: &mut impl WritePiece) -> io::Result<()> {
        if !self.encoding.has_room() {
            self.write_oldest(to)?;
        }
        let (chunk, format, compression) = (std::mem::take(&mut self.chunk), self.format, self.compression);
        self.encoding.submit(move || format.encoded(&chunk.joined(), compression));
        self.any = true;
        Ok(())
    }

    /// Writes the oldest chunk in flight. Returns false if there is none.
    fn write_oldest(&mut self, to: &mut impl WritePiece) -> io::Result<bool> {
        let Some(chunk) = self.encoding.take() else { return Ok(false) };
        to.write_piece(chunk?)?;
        Ok(true)
    }

    pub(in crate::codec) fn finish(&mut self, to: &mut impl WritePiece) -> io::Result<()> {
        // Empty input is one empty chunk: an empty file is not valid in either format.
        if self.chunk.length() > 0 || !self.any {
            self.end_chunk(to)?;
        }
        while self.write_oldest(to)? {}
        Ok(())
    }
}

impl Chunked {
    fn encoded(&self, chunk: &[u8], compression: Compression) -> io::Result<Vec<u8>> {
        let encoded = (self.encode)(chunk, compression.level())?;
        if compression.is_checked() && (self.decode_independently)(&encoded, chunk.len()).as_deref() != Some(chunk) {
            return Err(io::Error::other(NotReadBack));
        }
        Ok(encoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::chunked::{GZIP, ZSTD};
    use crate::codec::format::{Format, Level};

    #[test]
    fn a_chunk_that_was_damaged_in_the_encoder_is_not_written() {
        fn changed(chunk: &[u8]) -> Vec<u8> {
            let mut changed = chunk.to_vec();
            changed[chunk.len() / 2] ^= 1;
            changed
        }
        fn gzip(chunk: &[u8], level: Level) -> io::Result<Vec<u8>> {
            (GZIP.encode)(&changed(chunk), level)
        }
        fn zstd(chunk: &[u8], level: Level) -> io::Result<Vec<u8>> {
            (ZSTD.encode)(&changed(chunk), level)
        }
        for (format, wrong, of) in [(GZIP, gzip as fn(&[u8], Level) -> _, Format::Gzip), (ZSTD, zstd, Format::Zstd)] {
            let compression = Compression::from(of);
            assert!(format.encoded(b"some bytes", compression.checked(true)).is_ok());
            let format = Chunked { encode: wrong, ..format };
            assert!(format.encoded(b"some bytes", compression).is_ok());
            let error = format.encoded(b"some bytes", compression.checked(true)).unwrap_err();
            assert!(error.get_ref().unwrap().is::<NotReadBack>());
        }
    }
}
