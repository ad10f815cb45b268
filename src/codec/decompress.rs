//! Reading a compressed file of whatever format it is in. It reads what the format's own module reads,
//! and keeps to the error once there was one.

use std::io::{self, Read};

use super::bzip2;
use super::chunked;
use super::format::{Damage, Fault, Format, Level, Likeness};
use super::source::Source;
use crate::ordered::Pool;

/// The content of a compressed file.
///
/// Where the file is damaged, everything before the damage is delivered, and then an error whose
/// inner error is a [`Damage`]. Errors of `R` are handed on as they are.
pub struct Decompressor<R> {
    body: Body<R>,
    format: Format,
    failed: bool,
}

enum Body<R> {
    Bzip2(Box<bzip2::Reader<R>>),
    Chunked(chunked::Reader<R>),
    Plain(Source<R>),
}

impl<R: Read> Decompressor<R> {
    /// Opens a compressed file, whose format is detected by its first bytes. Blocks are decoded on `pool`.
    ///
    /// # Errors
    ///
    /// A [`Damage`] if the file has none of the compressed formats, or an error of `inner`.
    pub fn new(inner: R, pool: &Pool) -> io::Result<Self> {
        Self::with_plain(inner, |_| Likeness::None, pool)
    }

    /// Opens a file that can also be without compression, which `plain` finds out from its first
    /// [`Format::DETECT_BYTES`] bytes.
    ///
    /// # Errors
    ///
    /// The same as those of [`Decompressor::new`].
    pub fn with_plain(inner: R, plain: impl Fn(&[u8]) -> Likeness, pool: &Pool) -> io::Result<Self> {
        let mut source = Source::new(inner);
        let first_bytes = source.fill(Format::DETECT_BYTES);
        let digit = first_bytes.get(3).copied().unwrap_or_default();
        let (detected, empty) = (Format::detect(first_bytes, plain), first_bytes.is_empty());
        let Some(format) = detected else {
            let what = if empty { Fault::Empty } else { Fault::Unknown };
            return Err(source.take_error().unwrap_or_else(|| Damage::error(0, what)));
        };
        let body = match format {
            Format::Bzip2 => {
                let level = Level::from_digit(digit).unwrap_or_default();
                Body::Bzip2(Box::new(bzip2::Reader::new(source, level, pool)))
            }
            Format::Gzip | Format::Zstd => Body::Chunked(chunked::Reader::new(source, format)),
            Format::Plain => Body::Plain(source),
        };
        Ok(Self { body, format, failed: false })
    }

    /// The file's format.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// How many bytes of the file what was read so far is made of.
    #[must_use]
    pub fn compressed_bytes(&self) -> u64 {
        match &self.body {
            Body::Bzip2(bzip2) => bzip2.compressed_bytes(),
            Body::Chunked(chunked) => chunked.compressed_bytes(),
            Body::Plain(source) => source.offset(),
        }
    }

    /// Once everything is read: where in the file bytes begin that belong to no stream, if there are
    /// any. They are ignored, as bzip2 and gzip ignore them.
    #[must_use]
    pub fn trailing_garbage(&self) -> Option<u64> {
        match &self.body {
            Body::Bzip2(bzip2) => bzip2.trailing_garbage(),
            Body::Chunked(chunked) => chunked.trailing_garbage(),
            Body::Plain(_) => None,
        }
    }
}

impl<R: Read> Read for Decompressor<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.failed {
            return Err(io::Error::other("the file could not be read further"));
        }
        // An empty buffer says nothing about the end.
        if out.is_empty() {
            return Ok(0);
        }
        let read = match &mut self.body {
            Body::Bzip2(bzip2) => bzip2.read(out),
            Body::Chunked(chunked) => chunked.read(out),
            Body::Plain(source) => source.read(out),
        };
        self.failed = read.is_err();
        read
    }
}
