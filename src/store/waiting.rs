//! Waiting for a pipe, a socket or a terminal, so that a signal is obeyed at once however long the other end takes.

use std::io;
use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The interval at which a waiting thread looks whether the run was cancelled, in milliseconds.
const INTERVAL: u8 = 100;

/// The largest write that does not block after poll(2) has reported a pipe as writable: one page (`fs/pipe.c` of Linux
/// reports it when one more page fits).
pub(super) const PIECE: usize = 4096;

/// Waits until one of `files` is ready, or at most for the interval at which cancellation is checked. Returns for each
/// whether it is ready, at its end, or broken.
pub(super) fn ready<const N: usize>(files: [(BorrowedFd<'_>, PollFlags); N]) -> io::Result<[bool; N]> {
    let mut polled = files.map(|(file, events)| PollFd::new(file, events));
    match poll(&mut polled, PollTimeout::from(INTERVAL)) {
        Ok(_) => Ok(polled.map(|file| file.any().unwrap_or(true))),
        // A signal: the caller looks whether it has cancelled the run.
        Err(Errno::EINTR) => Ok([false; N]),
        Err(errno) => Err(errno.into()),
    }
}
