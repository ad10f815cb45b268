//! The compressor of all formats, which runs on all threads of a pool. How the input is cut into blocks or chunks does
//! not depend on the number of threads, so the same input always gives the same file.

use std::io::{self, Write};

use super::bzip2;
use super::chunked;
use super::format::{Compression, Format};
use super::plain;
use crate::ordered::Pool;
use crate::pieces::WritePiece;

/// Compresses what is written to it, and writes the compressed file to a `W`.
///
/// Only [`Compressor::finish`] completes the file. If a compressor is dropped instead, the file lacks its end; readers
/// report a bzip2 file like that as cut short. The output depends only on the input and the [`Compression`], not on the
/// number of threads.
///
/// ```
/// use std::io::{Read as _, Write as _};
/// use voltar::codec::{Compressor, Decompressor, Format};
/// use voltar::ordered::Pool;
///
/// let pool = Pool::new(2)?;
/// let mut compressor = Compressor::new(Vec::new(), Format::Bzip2.into(), &pool);
/// compressor.write_all(b"to be or not to be")?;
/// let file: Vec<u8> = compressor.finish()?;
///
/// let mut decompressor = Decompressor::new(&file[..], &pool)?;
/// assert_eq!(decompressor.format(), Some(Format::Bzip2));
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
    Plain(plain::Writer),
}

impl<W: WritePiece> Compressor<W> {
    /// Returns a compressor that writes to `inner` and compresses on the threads of `pool`.
    pub fn new(inner: W, compression: Compression, pool: &Pool) -> Self {
        let coder = match compression.format() {
            Format::Bzip2 => Coder::Bzip2(Box::new(bzip2::Writer::new(compression, pool))),
            Format::Gzip => Coder::Chunked(chunked::Writer::new(&chunked::GZIP, compression, pool)),
            Format::Zstd => Coder::Chunked(chunked::Writer::new(&chunked::ZSTD, compression, pool)),
            Format::Plain => Coder::Plain(plain::Writer::default()),
        };
        Self { inner, coder, failed: false }
    }

    /// Compresses the rest of the input, completes the file, flushes it and returns the inner writer.
    ///
    /// # Errors
    ///
    /// An error of the inner writer, or that an earlier write failed. If the compression is [checked](Compression::checked), also an error
    /// whose inner error is [`NotReadBack`](super::NotReadBack).
    pub fn finish(mut self) -> io::Result<W> {
        self.check()?;
        match &mut self.coder {
            Coder::Bzip2(bzip2) => bzip2.finish(&mut self.inner)?,
            Coder::Chunked(chunked) => chunked.finish(&mut self.inner)?,
            Coder::Plain(plain) => plain.write_copied(&mut self.inner)?,
        }
        self.inner.flush()?;
        Ok(self.inner)
    }

    /// Returns an error if an earlier write failed: the file may have a gap, and an end after it would make it look
    /// complete.
    fn check(&self) -> io::Result<()> {
        if self.failed { Err(io::Error::other("an earlier write to the compressed file failed")) } else { Ok(()) }
    }
}

impl<W: WritePiece> WritePiece for Compressor<W> {
    fn write_piece(&mut self, piece: Vec<u8>) -> io::Result<()> {
        self.check()?;
        let written = match &mut self.coder {
            Coder::Bzip2(bzip2) => bzip2.write(&piece, &mut self.inner),
            Coder::Chunked(chunked) => chunked.write_piece(piece, &mut self.inner),
            Coder::Plain(plain) => plain.write_piece(piece, &mut self.inner),
        };
        self.failed = written.is_err();
        written
    }
}

impl<W: WritePiece> Write for Compressor<W> {
    fn write(&mut self, input: &[u8]) -> io::Result<usize> {
        self.check()?;
        let written = match &mut self.coder {
            Coder::Bzip2(bzip2) => bzip2.write(input, &mut self.inner).map(|()| input.len()),
            Coder::Chunked(chunked) => chunked.write(input, &mut self.inner).map(|()| input.len()),
            Coder::Plain(plain) => plain.write(input, &mut self.inner).map(|()| input.len()),
        };
        self.failed = written.is_err();
        written
    }

    /// Flushes the inner writer. Input that does not fill a block yet, and blocks that are still being compressed, stay
    /// in memory.
    fn flush(&mut self) -> io::Result<()> {
        self.check()?;
        if let Coder::Plain(plain) = &mut self.coder {
            plain.write_copied(&mut self.inner)?;
        }
        self.inner.flush()
    }
}
