//! System calls that no signal ends: a read from a server that does not answer, or syncing what a slow disk has not
//! written yet. A thread of its own makes them, and whoever waits for it stops waiting when the run is cancelled. The
//! thread ends when its call does; the end of the process does not wait for it, unless the kernel does.

use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use crate::error::{Error, Result};

/// The interval at which a waiting thread looks whether the run was cancelled.
const INTERVAL: Duration = Duration::from_millis(50);

/// Returns what `call` returns.
///
/// # Errors
/// That of `check`, which is called while it waits: the call goes on. Or no thread can be started.
pub(crate) fn wait_for<T: Send + 'static>(
    call: impl FnOnce() -> T + Send + 'static,
    check: &dyn Fn() -> Result<()>,
) -> Result<T> {
    let (sender, receiver) = sync_channel(1);
    // Nobody receives it any more if the run was cancelled.
    start(move || sender.send(call()).unwrap_or_default())?;
    receive(&receiver, check)?.ok_or_else(|| Error::failed("cannot wait for", "a system call", "its thread has ended"))
}

/// Starts a thread that nobody waits for.
///
/// # Errors
/// Those of the system call.
pub(crate) fn start(work: impl FnOnce() + Send + 'static) -> Result<()> {
    let started = thread::Builder::new().name("apart".to_owned()).spawn(work);
    started.map(drop).map_err(|e| Error::failed("cannot start", "a thread", e))
}

/// Returns the next value that a thread has sent; `None` if it will send no more.
///
/// # Errors
/// That of `check`, which is called while it waits.
pub(crate) fn receive<T>(receiver: &Receiver<T>, check: &dyn Fn() -> Result<()>) -> Result<Option<T>> {
    loop {
        match receiver.recv_timeout(INTERVAL) {
            Ok(value) => return Ok(Some(value)),
            Err(RecvTimeoutError::Disconnected) => return Ok(None),
            Err(RecvTimeoutError::Timeout) => check()?,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_call_is_waited_for_until_the_run_is_cancelled() {
        assert_eq!(wait_for(|| 7, &|| Ok(())).unwrap(), 7);
        let slow = || {
            thread::sleep(3 * INTERVAL);
            7
        };
        assert_eq!(wait_for(slow, &|| Ok(())).unwrap(), 7);
        // It ends when the test does.
        let (stalled, never) = sync_channel::<()>(0);
        let checks = AtomicUsize::new(0);
        let third = || if checks.fetch_add(1, Ordering::Relaxed) < 2 { Ok(()) } else { Err(Error::interrupted()) };
        let error = wait_for(move || never.recv().is_ok(), &third).unwrap_err();
        assert_eq!((error.kind(), checks.load(Ordering::Relaxed)), (ErrorKind::Interrupted, 3));
        drop(stalled);
    }

    #[test]
    fn a_thread_that_has_ended_is_not_waited_for() {
        let error = wait_for::<()>(|| std::panic::resume_unwind(Box::new(())), &|| Ok(())).unwrap_err();
        assert!(error.to_string().ends_with("its thread has ended"), "{error}");
    }
}
