//! A compressed file's bytes in a window that slides over it, with the offset of the window's
//! beginning. A read error waits behind the bytes that came before it.

use std::io::{self, BufRead, Read};

/// How much is read at a time.
const CHUNK: u64 = 256 << 10;

pub(super) struct Source<R> {
    inner: R,
    buffer: Vec<u8>,
    /// Where in `buffer` the window begins.
    start: usize,
    /// Where in the file the window begins.
    offset: u64,
    /// No more bytes will come: the file's end, or an error.
    ended: bool,
    error: Option<io::Error>,
    /// `inner` failed, and its error has been handed on.
    failed: bool,
}

impl<R: Read> Source<R> {
    pub(super) fn new(inner: R) -> Self {
        Self { inner, buffer: Vec::new(), start: 0, offset: 0, ended: false, error: None, failed: false }
    }

    /// The bytes in the window, with at least `count` of them if the file has that many.
    pub(super) fn fill(&mut self, count: usize) -> &[u8] {
        while self.window().len() < count && self.more() {}
        self.window()
    }

    /// Reads some more into the window; false when there is no more.
    pub(super) fn more(&mut self) -> bool {
        if self.ended {
            return false;
        }
        // Bytes are moved at most once for each byte that leaves.
        if self.start > self.buffer.len() / 2 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        match self.inner.by_ref().take(CHUNK).read_to_end(&mut self.buffer) {
            Ok(0) => self.ended = true,
            Ok(_) => {}
            Err(error) => {
                self.ended = true;
                self.error = Some(error);
            }
        }
        !self.ended
    }
}

impl<R> Source<R> {
    /// What was read and not given up yet.
    pub(super) fn window(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Where in the file the window begins.
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Where in the file the window ends.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.window().len() as u64
    }

    /// Whether the window ends where the file does, or reading it.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// The error that ended the reading, once.
    pub(super) fn take_error(&mut self) -> Option<io::Error> {
        let error = self.error.take();
        self.failed |= error.is_some();
        error
    }

    /// Whether the last error came from the file, not from what reads it.
    pub(super) fn failed(&self) -> bool {
        self.failed
    }

    /// Gives up the window's first bytes.
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
