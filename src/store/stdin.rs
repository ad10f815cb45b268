//! Standard input as the location of an archive. It can be read once; but a plan needs an archive's first members before
//! containers are stopped, so the first bytes are kept until the archive is opened.

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Seek as _};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::poll::PollFlags;

use super::waiting::ready;
use crate::error::{Error, Result};
use crate::monitor::Monitor;

/// The bytes that can be read before the archive is opened: more than a block of any bzip2 file.
const PEEK: usize = 4 << 20;

/// The bytes that are read at a time.
const PIECE: usize = 64 << 10;

/// Standard input. Clones read the same stream.
#[derive(Debug, Clone)]
pub(super) struct Stdin(Arc<Mutex<Stream>>);

#[derive(Debug, Default)]
struct Stream {
    file: Option<File>,
    /// The first bytes, until the archive is opened.
    kept: Vec<u8>,
    at_end: bool,
    opened: bool,
    /// Whether a reader would have needed more bytes than can be kept.
    exhausted: bool,
}

/// A reader of standard input that waits for it until the run is cancelled.
pub(super) struct StdinReader<'a> {
    stream: Arc<Mutex<Stream>>,
    monitor: &'a dyn Monitor,
    /// The position in the kept bytes.
    at: usize,
    keeps: bool,
}

impl PartialEq for Stdin {
    fn eq(&self, _: &Self) -> bool {
        // A process has only one.
        true
    }
}

impl Eq for Stdin {}

impl Stdin {
    pub(super) fn new() -> Self {
        Self(Arc::default())
    }

    /// Returns a reader of the first bytes, which stay there for the next reader.
    ///
    /// # Errors
    /// It is a terminal, or was opened already.
    pub(super) fn peek<'a>(&self, monitor: &'a dyn Monitor) -> Result<StdinReader<'a>> {
        self.reader(monitor, true)
    }

    /// Returns a reader of the archive.
    ///
    /// # Errors
    /// As [`Stdin::peek`].
    pub(super) fn open<'a>(&self, monitor: &'a dyn Monitor) -> Result<StdinReader<'a>> {
        self.reader(monitor, false)
    }

    fn reader<'a>(&self, monitor: &'a dyn Monitor, keeps: bool) -> Result<StdinReader<'a>> {
        let mut stream = lock(&self.0);
        if stream.opened {
            return Err(Error::usage("standard input holds one archive, and can be read only once"));
        }
        if stream.file.is_none() {
            let stdin = io::stdin();
            if stdin.is_terminal() {
                return Err(Error::usage("'-' reads an archive from standard input, which is a terminal")
                    .hint("redirect it: `voltar … - < FILE`, or `COMMAND | voltar … -`"));
            }
            let file = stdin.as_fd().try_clone_to_owned();
            stream.file = Some(File::from(file.map_err(|e| Error::failed("cannot open", "standard input", e))?));
        }
        stream.opened = !keeps;
        Ok(StdinReader { stream: Arc::clone(&self.0), monitor, at: 0, keeps })
    }

    /// Returns the number of bytes of the archive, if standard input is a regular file.
    pub(super) fn bytes(&self) -> Option<u64> {
        let stdin = io::stdin().as_fd().try_clone_to_owned().ok()?;
        let mut file = File::from(stdin);
        let status = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
        let read = file.stream_position().ok()?;
        Some(status.len().saturating_sub(read) + lock(&self.0).kept.len() as u64)
    }

    /// Returns whether a peeking reader needed more bytes than are kept, so that its error says nothing.
    pub(super) fn exhausted(&self) -> bool {
        lock(&self.0).exhausted
    }
}

impl io::Read for StdinReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let mut stream = lock(&self.stream);
        if self.at == stream.kept.len() && self.keeps {
            stream.keep_more(self.monitor)?;
        }
        if let Some(kept) = stream.kept.get(self.at..).filter(|kept| !kept.is_empty()) {
            let count = kept.len().min(out.len());
            out[..count].copy_from_slice(&kept[..count]);
            self.at += count;
            return Ok(count);
        }
        if self.keeps {
            return Ok(0);
        }
        // The kept bytes are read: free them.
        stream.kept = Vec::new();
        self.at = 0;
        stream.read(out, self.monitor)
    }
}

impl Stream {
    fn keep_more(&mut self, monitor: &dyn Monitor) -> io::Result<()> {
        if self.at_end {
            return Ok(());
        }
        if self.kept.len() >= PEEK {
            self.exhausted = true;
            return Err(io::Error::other("the archive does not begin with its members"));
        }
        let mut piece = vec![0; PIECE];
        let count = self.read(&mut piece, monitor)?;
        self.kept.extend_from_slice(&piece[..count]);
        Ok(())
    }

    fn read(&mut self, out: &mut [u8], monitor: &dyn Monitor) -> io::Result<usize> {
        let Some(file) = &mut self.file else { return Ok(0) };
        loop {
            monitor.check_cancelled()?;
            if self.at_end {
                return Ok(0);
            }
            if ready([(file.as_fd(), PollFlags::POLLIN)])? == [true] {
                let count = file.read(out)?;
                self.at_end = count == 0;
                return Ok(count);
            }
        }
    }
}

fn lock(stream: &Mutex<Stream>) -> MutexGuard<'_, Stream> {
    stream.lock().unwrap_or_else(PoisonError::into_inner)
}
