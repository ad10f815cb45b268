//! Buffered standard output that may fail: the reader may close the pipe (`voltar list … | head`), or the disk may be
//! full. Neither causes a panic. Lines are buffered until the caller flushes them.

use std::io::{self, Write};

/// The size of the buffer, in bytes, at which it should be flushed.
const BUFFER_BYTES: usize = 64 << 10;

/// The reason why nothing more is written.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The reader closed the pipe: it needs no more output.
    PipeClosed,
    /// A write failed, and output is lost.
    Failed(io::Error),
}

/// A buffered writer that keeps its first error and discards everything after it.
pub(crate) struct Output {
    to: Box<dyn Write + Send>,
    buffer: Vec<u8>,
    broken: Option<Broken>,
}

impl Output {
    pub(crate) fn new(to: Box<dyn Write + Send>) -> Self {
        Self { to, buffer: Vec::new(), broken: None }
    }

    /// Appends a line, which is given without its newline.
    pub(crate) fn line(&mut self, line: &str) {
        if self.broken.is_none() {
            self.buffer.extend_from_slice(line.as_bytes());
            self.buffer.push(b'\n');
        }
    }

    /// Returns whether the buffer should be flushed.
    pub(crate) fn is_full(&self) -> bool {
        self.buffer.len() >= BUFFER_BYTES
    }

    /// Writes the buffered lines.
    pub(crate) fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let written = self.to.write_all(&self.buffer).and_then(|()| self.to.flush());
        self.buffer.clear();
        if let Err(error) = written {
            let closed = error.kind() == io::ErrorKind::BrokenPipe;
            self.broken = Some(if closed { Broken::PipeClosed } else { Broken::Failed(error) });
        }
    }

    /// Returns why writing failed, or `None` if it has not.
    pub(crate) fn broken(&self) -> Option<&Broken> {
        self.broken.as_ref()
    }
}
