//! Standard output that can break: whoever reads it may have gone (`voltar list … | head`), or its disk
//! may be full. Neither is a panic. What is printed is held back and written in large pieces; when is
//! for the caller to say.

use std::io::{self, Write};

/// More than this is not held back.
const HELD_BYTES: usize = 64 << 10;

/// Why nothing more is written.
#[derive(Debug)]
pub(crate) enum Broken {
    /// The reader of a pipe has gone: it has what it wanted.
    ReaderGone,
    /// What was printed is lost.
    Failed(io::Error),
}

/// A buffered sink that keeps its first error and swallows everything after it.
pub(crate) struct Output {
    to: Box<dyn Write + Send>,
    held: Vec<u8>,
    broken: Option<Broken>,
}

impl Output {
    pub(crate) fn new(to: Box<dyn Write + Send>) -> Self {
        Self { to, held: Vec::new(), broken: None }
    }

    /// Takes a line, without its end.
    pub(crate) fn line(&mut self, line: &str) {
        if self.broken.is_none() {
            self.held.extend_from_slice(line.as_bytes());
            self.held.push(b'\n');
        }
    }

    /// Whether so much is held that it should be flushed.
    pub(crate) fn is_full(&self) -> bool {
        self.held.len() >= HELD_BYTES
    }

    /// Writes what is held.
    pub(crate) fn flush(&mut self) {
        if self.held.is_empty() {
            return;
        }
        let written = self.to.write_all(&self.held).and_then(|()| self.to.flush());
        self.held.clear();
        if let Err(error) = written {
            let gone = error.kind() == io::ErrorKind::BrokenPipe;
            self.broken = Some(if gone { Broken::ReaderGone } else { Broken::Failed(error) });
        }
    }

    /// Whether and why writing failed.
    pub(crate) fn broken(&self) -> Option<&Broken> {
        self.broken.as_ref()
    }
}
