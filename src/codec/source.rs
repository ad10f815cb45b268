//! A window that slides over the bytes of a compressed file. A read error is kept until the bytes before it are
//! consumed.

use std::io::{self, BufRead, Read};

use super::format::{Damage, Fault};

/// Bytes that are read at a time.
const CHUNK: u64 = 256 << 10;

/// A window over the bytes of a file.
pub(super) struct Source<R> {
    inner: R,
    buffer: Vec<u8>,
    /// The start of the window in `buffer`.
    start: usize,
    /// The offset of the window in the file.
    offset: u64,
    /// Whether the end of the file or a read error was reached.
    ended: bool,
    /// The read error, until [`Source::take_error`] returns it.
    error: Option<io::Error>,
    /// Whether [`Source::take_error`] returned a read error.
    failed: bool,
}

impl<R: Read> Source<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, buffer: Vec::new(), start: 0, offset: 0, ended: false, error: None, failed: false }
    }

    /// Reads until the window has at least `count` bytes, or all that the file has, and returns the window.
    pub(super) fn fill(&mut self, count: usize) -> &[u8] {
        while self.window().len() < count && self.more() {}
        self.window()
    }

    /// Reads one more chunk into the window. Returns false if there are no more bytes.
    pub(super) fn more(&mut self) -> bool {
        if self.ended {
            return false;
        }
        // Fewer bytes are moved than were skipped before, so that moving takes linear time in total.
        if self.start > self.buffer.len() / 2 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let before = self.buffer.len();
        match self.inner.by_ref().take(CHUNK).read_to_end(&mut self.buffer) {
            Ok(count) => self.ended = count == 0,
            Err(error) => {
                self.ended = true;
                self.error = Some(error);
            }
        }
        // `read_to_end` keeps the bytes that it read before an error.
        self.buffer.len() > before
    }
}

impl<R> Source<R> {
    /// Returns the window: the bytes that were read and not yet skipped.
    pub(super) fn window(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Returns the offset in the file at which the window begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the offset in the file at which the window ends.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.window().len() as u64
    }

    /// Returns the error that ended reading, at the first call only.
    pub(super) fn take_error(&mut self) -> Option<io::Error> {
        let error = self.error.take();
        self.failed |= error.is_some();
        error
    }

    /// Returns why there are fewer bytes than are needed: the read error, or that the file ends too early, as `what` says.
    pub(super) fn cut_short(&mut self, what: Fault) -> io::Error {
        self.take_error().unwrap_or_else(|| Damage::error(self.end(), what))
    }

    /// Returns whether a read error was taken. An error of a decoder is then this read error, not damage to the file.
    pub(super) fn failed(&self) -> bool {
        self.failed
    }

    /// Skips the first `count` bytes of the window.
    pub(super) fn skip(&mut self, count: usize) {
        let count = count.min(self.window().len());
        self.start += count;
        self.offset += count as u64;
    }
}

impl<R: Read> BufRead for Source<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.fill(1).is_empty()
            && let Some(error) = self.take_error()
        {
            return Err(error);
        }
        Ok(self.window())
    }

    fn consume(&mut self, count: usize) {
        self.skip(count);
    }
}

impl<R: Read> Read for Source<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut window = self.fill_buf()?;
        let count = window.read(out)?;
        self.skip(count);
        Ok(count)
    }
}
