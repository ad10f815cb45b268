//! Syncs what is laid out while more of it is laid out, so that little is left for the last sync, for which
//! everything waits.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::syncfs;

use crate::error::{Error, Result};

/// A sync begins once so many bytes have been written since the last one began.
const EVERY: u64 = 64 << 20;

/// Syncs a filesystem now and then.
pub(super) struct Syncing {
    unsynced: u64,
    /// Gone when it is to end.
    begin: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Syncing {
    /// Of the filesystem that `folder` lies on.
    pub(super) fn begin(folder: &OwnedFd) -> Result<Self> {
        let failed = |e: &dyn std::fmt::Display| Error::failed("cannot start", "the thread that syncs", e);
        // A handle of its own. What could not be written is told once to each handle that was open then, and the last
        // sync, whose word counts, has to hear it.
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder = openat(folder, ".", flags, Mode::empty()).map_err(|e| failed(&e))?;
        Self::by(move || syncfs(&folder).unwrap_or_default()).map_err(|e| failed(&e))
    }

    fn by(mut sync: impl FnMut() + Send + 'static) -> io::Result<Self> {
        let (begin, asked) = sync_channel(0);
        let work = move || asked.into_iter().for_each(|()| sync());
        let thread = thread::Builder::new().name("sync".to_owned()).spawn(work)?;
        Ok(Self { unsynced: 0, begin: Some(begin), thread: Some(thread) })
    }

    /// Takes note of so many bytes more; never waits.
    pub(super) fn wrote(&mut self, bytes: u64) {
        self.unsynced += bytes;
        if self.unsynced < EVERY {
            return;
        }
        // Where one is still at work, the next one begins later.
        if self.begin.as_ref().is_some_and(|begin| begin.try_send(()).is_ok()) {
            self.unsynced = 0;
        }
    }
}

impl Drop for Syncing {
    fn drop(&mut self) {
        self.begin = None;
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            thread.join().unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{TryRecvError, channel};
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_sync_begins_once_enough_is_written_and_none_is_at_work() {
        let ((syncs, begun), (finish, finished)) = (channel(), channel::<()>());
        let mut syncing = Syncing::by(move || {
            syncs.send(()).unwrap();
            // Not for ever: a test that fails waits for this thread.
            finished.recv_timeout(Duration::from_secs(5)).unwrap_or_default();
        })
        .unwrap();
        let soon = Duration::from_millis(20);
        syncing.wrote(EVERY - 1);
        assert!(begun.recv_timeout(soon).is_err());
        // The thread may not be listening yet.
        while begun.recv_timeout(soon).is_err() {
            syncing.wrote(1);
        }
        // This waits for nothing, not even later.
        syncing.wrote(2 * EVERY);
        finish.send(()).unwrap();
        assert!(begun.recv_timeout(soon).is_err());
        while begun.recv_timeout(soon).is_err() {
            syncing.wrote(1);
        }
        finish.send(()).unwrap();
        drop(syncing);
        assert_eq!(begun.try_recv(), Err(TryRecvError::Disconnected), "the thread has ended");
    }
}
