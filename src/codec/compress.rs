//! Writing a compressed file, on all cores. The input is cut into pieces that do not depend on how
//! many there are; so the same input gives the same file with one thread and with many.

use std::io::{self, Write};

use super::bits::{BitString, MARK_BITS, Mark};
use super::block::{self, Encoded};
use super::chunks::{Chunks, GZIP, ZSTD};
use super::crc;
use super::format::{Compression, Format, NotReadBack};
use super::rle::Cutter;
use crate::ordered::{Ordered, Pool};

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
