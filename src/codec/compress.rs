//! Writing a compressed file, on all cores. The input is cut into pieces that do not depend on how
//! many there are; so the same input gives the same file with one thread and with many.

use std::io::{self, Write};

use flate2::{Compression, GzBuilder};

use super::bits::{BitString, MARK_BITS, Mark};
use super::block::{self, Encoded};
use super::crc;
use super::format::{Format, Level};
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
    /// Writes `format` to `inner`. The work is done on `pool`.
    pub fn new(inner: W, format: Format, level: Level, pool: &Pool) -> Self {
        let coder = match format {
            Format::Bzip2 => Coder::Bzip2(Box::new(Bzip2::new(level, pool))),
            Format::Gzip => Coder::Chunks(Chunks::new(GZIP_CHUNK, gzip_member, level, pool)),
            Format::Zstd => Coder::Chunks(Chunks::new(ZSTD_CHUNK, zstd_frame, level, pool)),
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
    encoding: Ordered<Encoded>,
    stream: BitString,
    crc: u32,
}

impl Bzip2 {
    fn new(level: Level, pool: &Pool) -> Self {
        let mut stream = BitString::default();
        stream.bytes_mut().extend_from_slice(&[b'B', b'Z', b'h', level.digit()]);
        Self { cutter: Cutter::new(level), encoding: Ordered::new(pool), stream, crc: 0 }
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
        self.encoding.submit(move || block::encode(&block));
        Ok(())
    }

    /// Writes the oldest block; false if there is none.
    fn splice_oldest(&mut self, to: &mut impl Write) -> io::Result<bool> {
        let Some(block) = self.encoding.take() else { return Ok(false) };
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
    size: usize,
    encode: fn(&[u8], Level) -> io::Result<Vec<u8>>,
    level: Level,
    chunk: Vec<u8>,
    encoding: Ordered<io::Result<Vec<u8>>>,
    any: bool,
}

impl Chunks {
    fn new(size: usize, encode: fn(&[u8], Level) -> io::Result<Vec<u8>>, level: Level, pool: &Pool) -> Self {
        Self { size, encode, level, chunk: Vec::new(), encoding: Ordered::new(pool), any: false }
    }

    fn write(&mut self, mut input: &[u8], to: &mut impl Write) -> io::Result<()> {
        while !input.is_empty() {
            if self.chunk.len() == self.size {
                self.end_chunk(to)?;
            }
            self.chunk.reserve_exact(self.size - self.chunk.len());
            let (now, later) = input.split_at(input.len().min(self.size - self.chunk.len()));
            self.chunk.extend_from_slice(now);
            input = later;
        }
        Ok(())
    }

    fn end_chunk(&mut self, to: &mut impl Write) -> io::Result<()> {
        if !self.encoding.has_room() {
            self.write_oldest(to)?;
        }
        let (chunk, encode, level) = (std::mem::take(&mut self.chunk), self.encode, self.level);
        self.encoding.submit(move || encode(&chunk, level));
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

fn gzip_member(chunk: &[u8], level: Level) -> io::Result<Vec<u8>> {
    // Neither a time nor a system: the same input gives the same file.
    let output = Vec::with_capacity(chunk.len() / 2);
    let mut coder = GzBuilder::new().mtime(0).operating_system(255).write(output, Compression::new(level.get().into()));
    coder.write_all(chunk)?;
    coder.finish()
}

fn zstd_frame(chunk: &[u8], level: Level) -> io::Result<Vec<u8>> {
    let mut coder = zstd::bulk::Compressor::new(level.get().into())?;
    coder.include_checksum(true)?;
    coder.compress(chunk)
}
