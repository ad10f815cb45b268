//! Writing a compressed file, on all cores. The input is cut into pieces that do not depend on how
//! many there are; so the same input gives the same file with one thread and with many.

use std::fmt;
use std::io::{self, Read as _, Write};

use flate2::GzBuilder;
use flate2::bufread::GzDecoder;

use super::bits::{BitString, MARK_BITS, Mark};
use super::block::{self, Encoded};
use super::crc;
use super::format::{Compression, Format, Level};
use super::rle::Cutter;
use crate::ordered::{Ordered, Pool};

/// Input bytes in one gzip member: the dictionary begins anew in each, which costs about half a
/// percent at this size.
const GZIP_CHUNK: usize = 1 << 20;

/// Input bytes in one zstd frame: the window of the highest level we use.
const ZSTD_CHUNK: usize = 4 << 20;

/// Compresses what is written to it. Only [`Compressor::finish`] completes the file; a compressor
/// that is dropped leaves it without its end, so that no reader takes it for whole.
pub struct Compressor<W> {
    inner: W,
    coder: Coder,
    failed: bool,
}

enum Coder {
    Bzip2(Box<Bzip2>),
    Chunks(Chunks),
    Plain,
}

impl<W: Write> Compressor<W> {
    /// Writes to `inner`. The work is done on `pool`.
    pub fn new(inner: W, compression: Compression, pool: &Pool) -> Self {
        let coder = match compression.format {
            Format::Bzip2 => Coder::Bzip2(Box::new(Bzip2::new(compression, pool))),
            Format::Gzip => Coder::Chunks(Chunks::new(&GZIP, compression, pool)),
            Format::Zstd => Coder::Chunks(Chunks::new(&ZSTD, compression, pool)),
            Format::Plain => Coder::Plain,
        };
        Self { inner, coder, failed: false }
    }

    /// Compresses what is left, ends the file and gives back where it was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.check()?;
        match &mut self.coder {
            Coder::Bzip2(bzip2) => bzip2.finish(&mut self.inner)?,
            Coder::Chunks(chunks) => chunks.finish(&mut self.inner)?,
            Coder::Plain => {}
        }
        self.inner.flush()?;
        Ok(self.inner)
    }

    /// After an error there may be a gap in the file: nothing may follow it that looks like its end.
    fn check(&self) -> io::Result<()> {
        if self.failed { Err(io::Error::other("the file could not be written further")) } else { Ok(()) }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, input: &[u8]) -> io::Result<usize> {
        self.check()?;
        let written = match &mut self.coder {
            Coder::Bzip2(bzip2) => bzip2.write(input, &mut self.inner).map(|()| input.len()),
            Coder::Chunks(chunks) => chunks.write(input, &mut self.inner).map(|()| input.len()),
            Coder::Plain => return self.inner.write(input),
        };
        self.failed = written.is_err();
        written
    }

    /// Flushes what is compressed. What is not makes no full block yet, and waits.
    fn flush(&mut self) -> io::Result<()> {
        self.check()?;
        self.inner.flush()
    }
}

/// One stream, spliced from blocks that are encoded apart.
struct Bzip2 {
    cutter: Cutter,
    compression: Compression,
    encoding: Ordered<Result<Encoded, NotReadBack>>,
    stream: BitString,
    crc: u32,
}

impl Bzip2 {
    fn new(compression: Compression, pool: &Pool) -> Self {
        let level = compression.level;
        let mut stream = BitString::default();
        stream.bytes_mut().extend_from_slice(&[b'B', b'Z', b'h', level.digit()]);
        Self { cutter: Cutter::new(level), compression, encoding: Ordered::new(pool), stream, crc: 0 }
    }

    fn write(&mut self, mut input: &[u8], to: &mut impl Write) -> io::Result<()> {
        loop {
            let taken = self.cutter.push(input);
            input = input.get(taken..).unwrap_or_default();
            if input.is_empty() {
                return Ok(());
            }
            self.end_block(to)?;
        }
    }

    fn end_block(&mut self, to: &mut impl Write) -> io::Result<()> {
        let Some(block) = self.cutter.take() else { return Ok(()) };
        if !self.encoding.has_room() {
            self.splice_oldest(to)?;
        }
        let Compression { level, checked, .. } = self.compression;
        self.encoding.submit(move || {
            let encoded = block::encode(&block);
            if checked && !encoded.can_be_read_back(level) { Err(NotReadBack) } else { Ok(encoded) }
        });
        Ok(())
    }

    /// Writes the oldest block; false if there is none.
    fn splice_oldest(&mut self, to: &mut impl Write) -> io::Result<bool> {
        let Some(block) = self.encoding.take() else { return Ok(false) };
        let block = block.map_err(io::Error::other)?;
        self.crc = crc::combine(self.crc, block.crc);
        block.append_to(&mut self.stream);
        to.write_all(self.stream.bytes_mut())?;
        self.stream.bytes_mut().clear();
        Ok(true)
    }

    fn finish(&mut self, to: &mut impl Write) -> io::Result<()> {
        self.end_block(to)?;
        while self.splice_oldest(to)? {}
        let mut stream = std::mem::take(&mut self.stream);
        stream.push(Mark::End.value(), MARK_BITS as u32);
        stream.push(self.crc.into(), 32);
        to.write_all(&stream.into_bytes())
    }
}

/// Pieces of equal size, each a file of its own format; one after the other they are one again.
struct Chunks {
    format: &'static Chunked,
    compression: Compression,
    chunk: Vec<u8>,
    encoding: Ordered<io::Result<Vec<u8>>>,
    any: bool,
}

impl Chunks {
    fn new(format: &'static Chunked, compression: Compression, pool: &Pool) -> Self {
        Self { format, compression, chunk: Vec::new(), encoding: Ordered::new(pool), any: false }
    }

    fn write(&mut self, mut input: &[u8], to: &mut impl Write) -> io::Result<()> {
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

    /// Writes the oldest chunk; false if there is none.
    fn write_oldest(&mut self, to: &mut impl Write) -> io::Result<bool> {
        let Some(chunk) = self.encoding.take() else { return Ok(false) };
        to.write_all(&chunk?)?;
        Ok(true)
    }

    fn finish(&mut self, to: &mut impl Write) -> io::Result<()> {
        // No input is one empty chunk: an empty file would be none of the format.
        if !self.chunk.is_empty() || !self.any {
            self.end_chunk(to)?;
        }
        while self.write_oldest(to)? {}
        Ok(())
    }
}

/// How pieces of a format are made, and read.
struct Chunked {
    /// Bytes in a piece.
    size: usize,
    encode: fn(&[u8], Level) -> io::Result<Vec<u8>>,
    decode: fn(&[u8], usize) -> io::Result<Vec<u8>>,
}

const GZIP: Chunked = Chunked { size: GZIP_CHUNK, encode: gzip_member, decode: read_gzip_member };
const ZSTD: Chunked = Chunked { size: ZSTD_CHUNK, encode: zstd_frame, decode: zstd::bulk::decompress };

impl Chunked {
    fn encode(&self, chunk: &[u8], compression: Compression) -> io::Result<Vec<u8>> {
        let encoded = (self.encode)(chunk, compression.level)?;
        if compression.checked && !(self.decode)(&encoded, chunk.len()).is_ok_and(|read| read == chunk) {
            return Err(io::Error::other(NotReadBack));
        }
        Ok(encoded)
    }
}

/// What was just compressed does not decompress to what it was made of.
#[derive(Debug)]
pub struct NotReadBack;

impl fmt::Display for NotReadBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("what was just compressed does not decompress to what it was made of")
    }
}

impl std::error::Error for NotReadBack {}

fn gzip_member(chunk: &[u8], level: Level) -> io::Result<Vec<u8>> {
    // Neither a time nor a system: the same input gives the same file.
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
