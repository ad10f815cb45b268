//! Locks that one run has while others wait or give up. The lock holds for the open file, so a run that is killed leaves none,
//! whatever it leaves of the file; the file says who has it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};

use super::locked_file::has_name;
use super::{now, parent, small_file};
use crate::error::{Error, ErrorKind, Result};
use crate::member::{printable, printable_path};
use crate::monitor::Monitor;

/// The time between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// What a run says of itself is shorter, in bytes.
const MAX_BYTES: u64 = 1024;

/// A lock on a directory that a run changes. Dropping it releases it.
#[derive(Debug)]
pub(crate) struct RunLock {
    _file: Flock<File>,
    path: PathBuf,
}

/// What another run uses, as part of a message: `'DIR' is in use by …`.
pub(crate) struct InUse(pub(crate) String);

/// Attempts to get a lock until it succeeds, or `wait` has passed. `before_wait` is called before another run is waited for.
///
/// # Errors
/// Another run has the lock still: [`ErrorKind::Busy`]. The run was cancelled; and those of `attempt`.
pub(crate) fn until_free<T>(
    wait: Duration,
    monitor: &dyn Monitor,
    mut attempt: impl FnMut() -> Result<Result<T, InUse>>,
    before_wait: impl FnOnce(),
) -> Result<T> {
    let begun = Instant::now();
    let mut before_wait = Some(before_wait);
    loop {
        monitor.check_cancelled()?;
        let InUse(what) = match attempt()? {
            Ok(lock) => return Ok(lock),
            Err(in_use) => in_use,
        };
        if begun.elapsed() >= wait {
            return Err(
                Error::new(ErrorKind::Busy, what).hint("run the command again later, or let it wait: --wait 10m")
            );
        }
        if let Some(before_wait) = before_wait.take() {
            before_wait();
            monitor.note(&format!("waiting: {what}"));
        }
        thread::sleep(PAUSE);
    }
}

impl RunLock {
    /// Locks the file at `path`, which is created if it does not exist, for a run of `command`. If another run has the lock,
    /// it is waited for, until `wait` has passed.
    ///
    /// # Errors
    /// Another run has the lock still: [`ErrorKind::Busy`]. The file cannot be created; the run was cancelled.
    pub(crate) fn acquire(path: &Path, command: &str, wait: Duration, monitor: &dyn Monitor) -> Result<Self> {
        let attempt = || attempt(path, command).map_err(|e| Error::failed_at("cannot lock", path, e));
        let file = until_free(wait, monitor, attempt, || {})?;
        Ok(Self { _file: file, path: path.to_owned() })
    }
}

impl Drop for RunLock {
    fn drop(&mut self) {
        // While the lock is held: who has opened the file meanwhile finds that it lost its name. What stays does no harm.
        fs::remove_file(&self.path).unwrap_or_default();
    }
}

fn attempt(path: &Path, command: &str) -> io::Result<Result<Flock<File>, InUse>> {
    loop {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600).custom_flags(O_NOFOLLOW | O_NONBLOCK);
        match Flock::lock(options.open(path)?, FlockArg::LockExclusiveNonblock) {
            Ok(file) if has_name(&file, path)? => {
                // On a disk without room the lock holds nevertheless: a prune makes room.
                file.set_len(0).and_then(|()| (&*file).write_all(myself(command).as_bytes())).unwrap_or_default();
                return Ok(Ok(file));
            }
            // Its run has just ended.
            Ok(_) => {}
            Err((file, Errno::EWOULDBLOCK)) => {
                let by = small_file::read_open(&file, MAX_BYTES).unwrap_or_default();
                let by = if by.is_empty() { "another run of voltar".to_owned() } else { printable(&by) };
                return Ok(Err(InUse(format!("'{}' is in use by {by}", printable_path(parent(path))))));
            }
            Err((_, errno)) => return Err(errno.into()),
        }
    }
}

/// Says who has a lock from now on, for others.
pub(crate) fn myself(command: &str) -> String {
    let host = nix::unistd::gethostname().unwrap_or_default();
    let (since, process) = (now(), std::process::id());
    format!("`voltar {command}` since {since} (process {process} on {})", host.to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::Collector;

    #[test]
    fn one_run_has_the_lock_and_the_other_one_says_which() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let monitor = Collector::default();
        let lock = RunLock::acquire(&path, "backup", Duration::ZERO, &monitor).unwrap();
        let busy = RunLock::acquire(&path, "prune", Duration::ZERO, &monitor).unwrap_err();
        assert_eq!(busy.kind(), ErrorKind::Busy);
        let expected = format!("'{}' is in use by `voltar backup` since 2", dir.path().display());
        assert!(busy.to_string().starts_with(&expected), "{busy}");
        assert!(busy.to_string().contains(&format!("(process {} on ", std::process::id())), "{busy}");
        let waited = thread::scope(|scope| {
            let waiting = scope.spawn(|| RunLock::acquire(&path, "prune", Duration::from_secs(60), &monitor));
            while monitor.notes().is_empty() {
                thread::sleep(Duration::from_millis(1));
            }
            drop(lock);
            waiting.join().unwrap()
        });
        drop(waited.unwrap());
        assert_eq!(monitor.notes().len(), 1);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_run_has_left_is_no_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        fs::write(&path, "`voltar backup` since long ago").unwrap();
        drop(RunLock::acquire(&path, "prune", Duration::ZERO, &Collector::default()).unwrap());
        std::os::unix::fs::symlink("/etc/passwd", &path).unwrap();
        RunLock::acquire(&path, "prune", Duration::ZERO, &Collector::default()).unwrap_err();
    }

    #[test]
    fn never_do_two_runs_have_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let inside = std::sync::atomic::AtomicU32::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let lock = loop {
                            if let Ok(file) = attempt(&path, "backup").unwrap() {
                                break RunLock { _file: file, path: path.clone() };
                            }
                        };
                        assert_eq!(inside.fetch_add(1, std::sync::atomic::Ordering::SeqCst), 0);
                        inside.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                        drop(lock);
                    }
                });
            }
        });
    }
}
