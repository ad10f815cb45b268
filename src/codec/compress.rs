//! Writing a compressed file, on all cores. The input is cut into pieces that do not depend on how
//! many there are; so the same input gives the same file with one thread and with many.

use std::io::{self, Write};

use super::bzip2;
use super::chunked;
use super::format::{Compression, Format};
use crate::ordered::Pool;

/// Compresses everything that is written to it.
///
/// Only [`Compressor::finish`] completes the file. A compressor that is dropped leaves it without its end, so that
/// readers report it as cut short. The output depends on the input and the [`Compression`] alone, not on the number of
/// threads.
///
/// ```
/// use std::io::{Read as _, Write as _};
/// use voltar::codec::{Compression, Compressor, Decompressor, Format, Level};
/// use voltar::ordered::Pool;
///
/// let pool = Pool::new(2)?;
/// let mut compressor = Compressor::new(Vec::new(), Compression::new(Format::Bzip2, Level::BEST), &pool);
/// compressor.write_all(b"to be or not to be")?;
/// let file: Vec<u8> = compressor.finish()?;
///
/// let mut decompressor = Decompressor::new(&file[..], &pool)?;
/// assert_eq!(decompressor.format(), Format::Bzip2);
/// let mut content = Vec::new();
/// decompressor.read_to_end(&mut content)?;
/// assert_eq!(content, b"to be or not to be");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Compressor<W> {
    inner: W,
    coder: Coder,
    failed: bool,
}

enum Coder {
    Bzip2(Box<bzip2::Writer>),
    Chunked(chunked::Writer),
    Plain,
}

impl<W: Write> Compressor<W> {
    /// Writes to `inner`. The work is done on `pool`.
    pub fn new(inner: W, compression: Compression, pool: &Pool) -> Self {
        let coder = match compression.format {
            Format::Bzip2 => Coder::Bzip2(Box::new(bzip2::Writer::new(compression, pool))),
            Format::Gzip => Coder::Chunked(chunked::Writer::new(&chunked::GZIP, compression, pool)),
            Format::Zstd => Coder::Chunked(chunked::Writer::new(&chunked::ZSTD, compression, pool)),
            Format::Plain => Coder::Plain,
        };
        Self { inner, coder, failed: false }
    }

    /// Compresses what is left, ends the file and gives back where it was written to.
    pub fn finish(mut self) -> io::Result<W> {
        self.check()?;
        match &mut self.coder {
            Coder::Bzip2(bzip2) => bzip2.finish(&mut self.inner)?,
            Coder::Chunked(chunked) => chunked.finish(&mut self.inner)?,
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
            Coder::Chunked(chunked) => chunked.write(input, &mut self.inner).map(|()| input.len()),
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
