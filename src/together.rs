//! Runs jobs for several archives in parallel, one thread per archive. The first job that fails cancels the others.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, ErrorKind, Result};
use crate::monitor::{Event, Monitor};

/// A monitor that also reports cancellation once one of several jobs has failed.
struct Together<'a> {
    monitor: &'a dyn Monitor,
    failed: AtomicBool,
}

impl Monitor for Together<'_> {
    fn event(&self, event: &Event<'_>) {
        self.monitor.event(event);
    }

    fn cancelled(&self) -> bool {
        self.failed.load(Ordering::Relaxed) || self.monitor.cancelled()
    }
}

/// Runs `work` on every job, each in its own thread, and returns all results in the order of the jobs.
///
/// # Errors
/// The first failure that is not only the cancellation by another one.
pub(crate) fn all<J: Sync, T: Send>(
    jobs: &[J],
    monitor: &dyn Monitor,
    work: impl Fn(&J, &dyn Monitor) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    let together = Together { monitor, failed: AtomicBool::new(false) };
    let results: Vec<std::thread::Result<Result<T>>> = std::thread::scope(|scope| {
        let run = |job| {
            let result = work(job, &together);
            if result.is_err() {
                together.failed.store(true, Ordering::Relaxed);
            }
            result
        };
        let threads: Vec<_> = jobs.iter().map(|job| scope.spawn(move || run(job))).collect();
        threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    });
    let mut done = Vec::with_capacity(results.len());
    let mut first: Option<Error> = None;
    for result in results {
        match result {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(Ok(value)) => done.push(value),
            Ok(Err(error)) => {
                if first.as_ref().is_none_or(|first| first.kind() == ErrorKind::Interrupted) {
                    first = Some(error);
                }
            }
        }
    }
    first.map_or(Ok(done), Err)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::Collector;
    use std::time::Duration;

    #[test]
    fn the_first_failure_cancels_the_others_and_is_returned() {
        let monitor = Collector::default();
        let error = all(&[false, true, false], &monitor, |&fails, monitor| {
            if fails {
                return Err(Error::refused("the real reason"));
            }
            while !monitor.cancelled() {
                std::thread::sleep(Duration::from_millis(1));
            }
            monitor.check_cancelled()
        })
        .unwrap_err();
        assert_eq!(error.to_string(), "the real reason");
    }

    #[test]
    fn results_keep_the_order_of_the_jobs() {
        let results = all(&[3, 1, 2], &Collector::default(), |&n, _| {
            std::thread::sleep(Duration::from_millis(n));
            Ok(n)
        });
        assert_eq!(results.unwrap(), [3, 1, 2]);
    }
}
