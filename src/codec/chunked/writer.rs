//! Writing of gzip and zstd. The input is cut into chunks of equal size, each of which is encoded independently as a
//! gzip member (RFC 1952) or a zstd frame (RFC 8878). In both formats, a concatenation of complete files is a file
//! again.

use std::io::{self, Read as _, Write};

use flate2::GzBuilder;
use flate2::bufread::GzDecoder;

use crate::codec::format::{Compression, Level, NotReadBack};
use crate::ordered::{Ordered, Pool};

/// Input bytes of one gzip member. Each begins with an empty dictionary, which costs about half a percent at this size.
const GZIP_CHUNK: usize = 1 << 20;

/// Input bytes of one zstd frame: the window size of zstd's level 9, the highest of [`Level`].
const ZSTD_CHUNK: usize = 4 << 20;

/// Cuts input into chunks, has them encoded on a pool and writes them in order.
pub(in crate::codec) struct Writer {
    format: &'static Chunked,
    compression: Compression,
    chunk: Vec<u8>,
    encoding: Ordered<io::Result<Vec<u8>>>,
    /// Whether a chunk was submitted.
    any: bool,
}

impl Writer {
    pub(in crate::codec) fn new(format: &'static Chunked, compression: Compression, pool: &Pool) -> Self {
        Self { format, compression, chunk: Vec::new(), encoding: Ordered::new(pool), any: false }
    }

    pub(in crate::codec) fn write(&mut self, mut input: &[u8], to: &mut impl Write) -> io::Result<()> {
        while !input.is_empty() {
            if self.chunk.len() == self.format.size {
                self.end_chunk(to)?;
            }
            let room = self.format.size - self.chunk.len();
            self.chunk.reserve_exact(room);
            let (now, later) = input.split_at(input.len().min(room));
            self.chunk.extend_from_slice(now);
            input = later;
        }
        Ok(())
    }

    fn end_chunk(&mut self, to: &mut impl Write) -> io::Result<()> {
        if !self.encoding.has_room() {
            self.write_oldest(to)?;
        }
        let (chunk, format, compression) = (std::mem::take(&mut self.chunk), self.format, self.compression);
        self.encoding.submit(move || format.encode(&chunk, compression));
        self.any = true;
        Ok(())
    }

    /// Writes the oldest chunk in flight. Returns false if there is none.
    fn write_oldest(&mut self, to: &mut impl Write) -> io::Result<bool> {
        let Some(chunk) = self.encoding.take() else { return Ok(false) };
        to.write_all(&chunk?)?;
        Ok(true)
    }

    pub(in crate::codec) fn finish(&mut self, to: &mut impl Write) -> io::Result<()> {
        // Empty input is one empty chunk: an empty file is not valid in either format.
        if !self.chunk.is_empty() || !self.any {
            self.end_chunk(to)?;
        }
        while self.write_oldest(to)? {}
        Ok(())
    }
}

/// How a format encodes and decodes its chunks.
pub(in crate::codec) struct Chunked {
    /// Input bytes of a chunk.
    size: usize,
    encode: fn(&[u8], Level) -> io::Result<Vec<u8>>,
    decode: fn(&[u8], usize) -> io::Result<Vec<u8>>,
}

pub(in crate::codec) const GZIP: Chunked = Chunked { size: GZIP_CHUNK, encode: gzip_member, decode: read_gzip_member };
pub(in crate::codec) const ZSTD: Chunked =
    Chunked { size: ZSTD_CHUNK, encode: zstd_frame, decode: zstd::bulk::decompress };

impl Chunked {
    fn encode(&self, chunk: &[u8], compression: Compression) -> io::Result<Vec<u8>> {
        let encoded = (self.encode)(chunk, compression.level)?;
        if compression.checked && !(self.decode)(&encoded, chunk.len()).is_ok_and(|read| read == chunk) {
            return Err(io::Error::other(NotReadBack));
        }
        Ok(encoded)
    }
}

fn gzip_member(chunk: &[u8], level: Level) -> io::Result<Vec<u8>> {
    // No modification time and an unknown operating system (255), so that the same input gives the same file.
    let output = Vec::with_capacity(chunk.len() / 2);
    let mut coder =
        GzBuilder::new().mtime(0).operating_system(255).write(output, flate2::Compression::new(level.get().into()));
    coder.write_all(chunk)?;
    coder.finish()
}

fn read_gzip_member(member: &[u8], bytes: usize) -> io::Result<Vec<u8>> {
    let mut chunk = Vec::with_capacity(bytes);
    GzDecoder::new(member).read_to_end(&mut chunk)?;
    Ok(chunk)
}

fn zstd_frame(chunk: &[u8], level: Level) -> io::Result<Vec<u8>> {
    let mut coder = zstd::bulk::Compressor::new(level.get().into())?;
    coder.include_checksum(true)?;
    coder.compress(chunk)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::format::Format;

    #[test]
    fn a_chunk_that_was_damaged_in_the_encoder_is_not_written() {
        fn damaged(chunk: &[u8], level: Level) -> io::Result<Vec<u8>> {
            let mut damaged = chunk.to_vec();
            damaged[chunk.len() / 2] ^= 1;
            gzip_member(&damaged, level)
        }
        let format = Chunked { encode: damaged, ..GZIP };
        let compression = Compression::new(Format::Gzip, Level::BEST);
        assert!(format.encode(b"some bytes", compression).is_ok());
        let error = format.encode(b"some bytes", Compression { checked: true, ..compression }).unwrap_err();
        assert!(error.get_ref().unwrap().is::<NotReadBack>());
    }
}
