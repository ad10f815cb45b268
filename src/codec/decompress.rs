//! The decompressor of all formats. It detects the format and dispatches to the module of that format. After an error,
//! every further read fails.

use std::io::{self, Read};

use super::bzip2;
use super::chunked;
use super::foreign::Foreign;
use super::format::{Damage, Fault, Format, Likeness};
use super::independent;
use super::source::Source;
use super::xz;
use crate::ordered::Pool;

/// Reads the content of a compressed file.
///
/// If the file is damaged, everything before the damage is returned first, and then an error whose inner error is a
/// [`Damage`]. Errors of `R` are passed on unchanged.
pub struct Decompressor<R: Read> {
    body: Body<R>,
    format: Option<Format>,
    failed: bool,
}

enum Body<R: Read> {
    Bzip2(Box<bzip2::Reader<R>>),
    Chunked(Box<chunked::Reader<R>>),
    Independent(Box<independent::Reader<R>>),
    Xz(Box<xz::Reader<R>>),
    Plain(Source<R>),
}

impl<R: Read> Decompressor<R> {
    /// Opens a compressed file and detects its format by its first bytes. Blocks are decoded on the threads of `pool`.
    ///
    /// # Errors
    ///
    /// A [`Damage`] if the file is empty or in none of the compressed formats, or an error of `inner`.
    pub fn new(inner: R, pool: &Pool) -> io::Result<Self> {
        Self::with_plain(inner, |_| Likeness::None, pool)
    }

    /// Opens a file that may be uncompressed, which `plain` detects by its first [`Format::DETECT_BYTES`] bytes.
    ///
    /// # Errors
    ///
    /// The same as those of [`Decompressor::new`].
    pub fn with_plain(inner: R, plain: impl Fn(&[u8]) -> Likeness, pool: &Pool) -> io::Result<Self> {
        Self::open(inner, plain, |source, format, digit| match format {
            Format::Bzip2 => {
                let size = bzip2::BlockSize::from_digit(digit).unwrap_or(bzip2::BlockSize::LARGEST);
                Body::Bzip2(Box::new(bzip2::Reader::new(source, size, pool)))
            }
            Format::Gzip | Format::Zstd => Body::Chunked(Box::new(chunked::Reader::new(source, format, pool))),
            Format::Plain => Body::Plain(source),
        })
    }

    /// The same, with decoders that share no code with those that compress, on one thread: a mistake of a library cannot hide
    /// on both sides. There is but one decoder of xz.
    ///
    /// # Errors
    ///
    /// The same as those of [`Decompressor::new`].
    pub fn independent(inner: R, plain: impl Fn(&[u8]) -> Likeness) -> io::Result<Self> {
        Self::open(inner, plain, |source, format, _| match format {
            Format::Plain => Body::Plain(source),
            compressed => Body::Independent(Box::new(independent::Reader::new(source, compressed))),
        })
    }

    /// Opens a file with the reader that `body` returns for its format; the digit is that in a bzip2 header.
    fn open(
        inner: R,
        plain: impl Fn(&[u8]) -> Likeness,
        body: impl FnOnce(Source<R>, Format, u8) -> Body<R>,
    ) -> io::Result<Self> {
        let mut source = Source::new(inner);
        let first_bytes = source.fill(Format::DETECT_BYTES);
        let digit = first_bytes.get(3).copied().unwrap_or_default();
        let detected = Format::detect(first_bytes, &plain);
        if xz::is_magic(first_bytes) && plain(first_bytes) != Likeness::Certain {
            return Ok(Self { body: Body::Xz(Box::new(xz::Reader::new(source))), format: None, failed: false });
        }
        let Some(format) = detected else {
            let what = match Foreign::detect(first_bytes) {
                _ if first_bytes.is_empty() => Fault::Empty,
                Some(foreign) => Fault::Foreign(foreign),
                None => Fault::Unknown,
            };
            return Err(source.take_error().unwrap_or_else(|| Damage::error(0, what)));
        };
        let body = body(source, format, digit);
        Ok(Self { body, format: Some(format), failed: false })
    }

    /// Returns the format of the file; `None` for xz, which is read and never written.
    #[must_use]
    pub fn format(&self) -> Option<Format> {
        self.format
    }

    /// Returns whether `threads` threads would share the decoding of what was read so far.
    #[must_use]
    pub fn is_parallel(&self, threads: usize) -> bool {
        match &self.body {
            Body::Bzip2(_) => threads > 1,
            Body::Chunked(chunked) => chunked.is_parallel(threads),
            Body::Independent(_) | Body::Xz(_) | Body::Plain(_) => false,
        }
    }

    /// Returns how many bytes of the file were consumed for the content read so far.
    #[must_use]
    pub fn compressed_bytes(&self) -> u64 {
        match &self.body {
            Body::Bzip2(bzip2) => bzip2.compressed_bytes(),
            Body::Chunked(chunked) => chunked.compressed_bytes(),
            Body::Independent(independent) => independent.compressed_bytes(),
            Body::Xz(xz) => xz.compressed_bytes(),
            Body::Plain(source) => source.offset(),
        }
    }

    /// Returns the offset in the file of trailing garbage: bytes after the last stream that belong to no stream. They
    /// are ignored, as bzip2 and gzip ignore them. `None` if there are none, or before the content is read to its end.
    #[must_use]
    pub fn trailing_garbage(&self) -> Option<u64> {
        match &self.body {
            Body::Bzip2(bzip2) => bzip2.trailing_garbage(),
            Body::Chunked(chunked) => chunked.trailing_garbage(),
            Body::Independent(independent) => independent.trailing_garbage(),
            Body::Xz(_) | Body::Plain(_) => None,
        }
    }
}

impl<R: Read> Read for Decompressor<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.failed {
            return Err(io::Error::other("an earlier read of the compressed file failed"));
        }
        // The format's reader would take a count of 0 for the end of a block or member.
        if out.is_empty() {
            return Ok(0);
        }
        let read = match &mut self.body {
            Body::Bzip2(bzip2) => bzip2.read(out),
            Body::Chunked(chunked) => chunked.read(out),
            Body::Independent(independent) => independent.read(out),
            Body::Xz(xz) => xz.read(out),
            Body::Plain(source) => source.read(out),
        };
        self.failed = read.is_err();
        read
    }
}
