//! Standard output as the destination of one archive. Its end is written when the archive is committed; before that it is
//! broken off such that no reader takes it for complete.

use std::fs::File;
use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use super::directory::{Condition, nearest_existing, room};
use super::held_back::HeldBack;
use super::waiting::{PIECE, ready};
use crate::archive::writer::BROKEN_OFF;
use crate::codec::Format;
use crate::durable::page_cache::Writeback;
use crate::error::{Error, Result};
use crate::identity::lineage;
use crate::monitor::Monitor;

/// The longest time for which a reader is waited for to break off the stream.
const LONGEST_WAIT: Duration = Duration::from_millis(300);

/// An archive on standard output. Dropping it before it is committed breaks it off.
#[derive(Debug)]
pub(super) struct StdoutArchive {
    out: File,
    is_file: bool,
    writeback: Writeback,
    held: HeldBack,
    format: Format,
    /// Whether the end, which is held back, was written.
    is_committed: bool,
}

/// Checks that standard output can take an archive.
///
/// # Errors
/// It is a terminal.
pub(super) fn check() -> Result<()> {
    if !io::stdout().is_terminal() {
        return Ok(());
    }
    Err(Error::usage("'-' writes the archive to standard output, which is a terminal")
        .hint("redirect it: `voltar backup --only NAME - > FILE`, or `… - | COMMAND`"))
}

/// Returns the state of the file that standard output is redirected to, if it is one.
pub(super) fn condition() -> Condition {
    let file = redirected_to().and_then(|path| nearest_existing(&path));
    match file {
        Some(path) => {
            let (free_bytes, used_bytes) = room(&path).unzip();
            Condition { lineage: lineage(&path).unwrap_or_default(), free_bytes, used_bytes, obstacle: None }
        }
        None => Condition::default(),
    }
}

fn redirected_to() -> Option<PathBuf> {
    let out = File::from(io::stdout().as_fd().try_clone_to_owned().ok()?);
    if !out.metadata().ok()?.is_file() {
        return None;
    }
    std::fs::read_link("/proc/self/fd/1").ok()
}

impl StdoutArchive {
    /// Begins an archive in `format`.
    ///
    /// # Errors
    /// Standard output is a terminal, or is closed.
    pub(super) fn create(format: Format) -> Result<Self> {
        check()?;
        let failed = |e: io::Error| Error::failed("cannot write", "standard output", e);
        let out = File::from(io::stdout().as_fd().try_clone_to_owned().map_err(failed)?);
        let is_file = out.metadata().map_err(failed)?.is_file();
        let (writeback, held) = (Writeback::default(), HeldBack::default());
        Ok(Self { out, is_file, writeback, held, format, is_committed: false })
    }

    pub(super) fn write(&mut self, bytes: &[u8], monitor: &dyn Monitor) -> io::Result<()> {
        let Self { out, is_file, writeback, held, .. } = self;
        held.push(bytes, |bytes| {
            send(out, *is_file, writeback, bytes, &|| monitor.check_cancelled().map_err(Into::into))
        })
    }

    pub(super) fn bytes(&self) -> u64 {
        self.held.total()
    }

    /// Writes the end of the archive.
    ///
    /// # Errors
    /// It cannot be written, or the run is cancelled.
    pub(super) fn commit(mut self, monitor: &dyn Monitor) -> Result<()> {
        let Self { out, is_file, writeback, held, .. } = &mut self;
        let not_cancelled = || monitor.check_cancelled().map_err(Into::into);
        held.release(|bytes| send(out, *is_file, writeback, bytes, &not_cancelled))
            .and_then(|()| if *is_file { out.sync_all() } else { Ok(()) })
            .map_err(|e| monitor.cause(Error::failed("cannot write", "standard output", e)))?;
        self.is_committed = true;
        Ok(())
    }

    /// Makes the end of the stream one that no reader accepts, as far as there is still a reader.
    fn break_off(&mut self) -> io::Result<()> {
        let Self { out, is_file, writeback, held, format, is_committed } = self;
        if *is_committed {
            return Ok(());
        }
        let begun = Instant::now();
        let in_time = || if begun.elapsed() < LONGEST_WAIT { Ok(()) } else { Err(io::ErrorKind::TimedOut.into()) };
        if *format == Format::Plain {
            // More than what is missing of a member that was cut, so that a reader gets to the header.
            held.replace(&BROKEN_OFF.repeat(2 * super::held_back::HELD / BROKEN_OFF.len()));
        } else {
            held.replace(format.broken_off());
        }
        held.release(|bytes| send(out, *is_file, writeback, bytes, &in_time))
    }
}

impl Drop for StdoutArchive {
    fn drop(&mut self) {
        // Without a reader nothing can be broken off.
        self.break_off().unwrap_or_default();
    }
}

/// Writes the first of `bytes`; waits for a reader as long as `may_wait` succeeds.
fn send(
    mut out: &File,
    is_file: bool,
    writeback: &mut Writeback,
    bytes: &[u8],
    may_wait: &dyn Fn() -> io::Result<()>,
) -> io::Result<usize> {
    if is_file {
        let count = out.write(bytes)?;
        writeback.wrote(out, count as u64);
        return Ok(count);
    }
    loop {
        may_wait()?;
        if ready([(out.as_fd(), PollFlags::POLLOUT)])? == [true] {
            return out.write(&bytes[..bytes.len().min(PIECE)]);
        }
    }
}
