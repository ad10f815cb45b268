//! Thread pools, and queues that return results in the order of submission. This module only schedules: it does not
//! depend on what the jobs do, and no job waits for another one.
//!
//! One pool of workers does all computation of the program. Jobs that wait for files run on a separate pool, so that a
//! slow disk does not occupy a core.
//!
//! A queue is a list of one-shot receivers in order of submission. Producer and consumer are the same thread, which
//! submits jobs while the queue has room, and otherwise takes the oldest result first. This bounds the number of jobs
//! in flight without further locks. A slow job delays the output but not the workers. The thread must not be one of the
//! pool's, because it blocks until a worker has a result.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

use crate::error::{Error, ErrorKind, Result};

/// Small files that are opened and read at the same time for one archive. It is enough to fill the queue of a disk, and
/// to hide the round trips to a file server. It does not depend on the number of cores.
const FILES_AT_ONCE: usize = 8;

/// A pool of threads. Clones share the threads.
#[derive(Clone)]
pub struct Pool(Arc<rayon::ThreadPool>);

impl Pool {
    /// Starts a pool of `jobs` threads for computation, but of one at least.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Failed`] if the threads cannot be started.
    pub fn new(jobs: usize) -> Result<Self> {
        Self::of(jobs.max(1), "worker")
    }

    /// Starts a pool for jobs that wait for files.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Failed`] if the threads cannot be started.
    pub fn for_files() -> Result<Self> {
        Self::of(FILES_AT_ONCE, "files")
    }

    fn of(count: usize, name: &'static str) -> Result<Self> {
        rayon::ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(move |index| format!("{name} {index}"))
            .build()
            .map(|threads| Self(Arc::new(threads)))
            .map_err(|cause| Error::new(ErrorKind::Failed, format!("cannot start {count} threads: {cause}")))
    }

    /// Returns the number of threads.
    #[must_use]
    pub fn jobs(&self) -> usize {
        self.0.current_num_threads()
    }
}

/// The result of a job, or the payload of its panic.
type Outcome<T> = std::result::Result<T, Box<dyn Any + Send>>;

/// A queue of jobs in flight, which returns their results in the order of submission. Dropping it cancels the jobs that
/// have not begun.
pub struct Ordered<T> {
    pool: Pool,
    pending: VecDeque<Receiver<Outcome<T>>>,
    window: usize,
    cancelled: Arc<AtomicBool>,
}

impl<T: Send + 'static> Ordered<T> {
    /// Returns an empty queue whose jobs run on `pool`.
    #[must_use]
    pub fn new(pool: &Pool) -> Self {
        // One running and one waiting job for each worker, and two more for the time that the consumer processes a
        // result.
        let window = 2 * pool.jobs() + 2;
        Self {
            pool: pool.clone(),
            pending: VecDeque::with_capacity(window),
            window,
            cancelled: Arc::new(AtomicBool::new(false)),
        }
    }

    /// Returns the number of jobs that the queue has room for.
    #[must_use]
    pub fn window(&self) -> usize {
        self.window
    }

    /// Returns whether the queue has room for one more job. [`Ordered::submit`] does not enforce this limit; it only
    /// bounds the memory in use.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.pending.len() < self.window
    }

    /// Submits `job` to the pool.
    pub fn submit(&mut self, job: impl FnOnce() -> T + Send + 'static) {
        let (sender, receiver) = sync_channel(1);
        let cancelled = Arc::clone(&self.cancelled);
        self.pool.0.spawn(move || {
            if cancelled.load(Ordering::Relaxed) {
                return;
            }
            // A panic that reaches rayon aborts the process, which would leave containers stopped and files incomplete.
            // It is resumed in the thread that takes the result.
            let outcome = catch_unwind(AssertUnwindSafe(job));
            // Fails if the queue was dropped; the result is not needed then.
            sender.send(outcome).ok();
        });
        self.pending.push_back(receiver);
    }

    /// Waits for the oldest job and returns its result. Returns `None` if no job is in flight.
    ///
    /// # Panics
    ///
    /// Resumes the panic of the job if it panicked.
    pub fn take(&mut self) -> Option<T> {
        let receiver = self.pending.pop_front()?;
        match receiver.recv() {
            Ok(Ok(result)) => Some(result),
            Ok(Err(panic)) => resume_unwind(panic),
            // Only a cancelled job ends without sending, and jobs in `pending` are cancelled only in `abandon` and
            // `drop`.
            Err(gone) => unreachable!("a job ended without a result: {gone}"),
        }
    }

    /// Cancels the jobs that have not begun, and waits for those that have. None of the jobs is running when this
    /// returns. The queue is empty and can be used again.
    pub fn abandon(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
        for receiver in self.pending.drain(..) {
            // The results, and the panics, of abandoned jobs are discarded.
            receiver.recv().ok();
        }
        self.cancelled = Arc::new(AtomicBool::new(false));
    }
}

impl<T> Drop for Ordered<T> {
    fn drop(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::AtomicUsize;
    use std::time::Duration;

    use super::*;

    #[test]
    fn results_are_returned_in_order_of_submission() {
        let pool = Pool::new(4).unwrap();
        let mut queue = Ordered::new(&pool);
        let mut results = Vec::new();
        for n in 0..200_u64 {
            if !queue.has_room() {
                results.extend(queue.take());
            }
            queue.submit(move || {
                std::thread::sleep(Duration::from_micros((n * 7919) % 500));
                n
            });
        }
        results.extend(std::iter::from_fn(|| queue.take()));
        assert!(results.into_iter().eq(0..200));
    }

    #[test]
    fn several_queues_share_one_pool() {
        let pool = Pool::new(2).unwrap();
        let mut queues: Vec<_> = (0..3).map(|_| Ordered::new(&pool)).collect();
        for round in 0..6 {
            for (n, queue) in queues.iter_mut().enumerate() {
                assert!(queue.has_room());
                queue.submit(move || (n, round));
            }
        }
        for queue in queues.iter().take(3) {
            assert!(!queue.has_room());
        }
        for (n, queue) in queues.iter_mut().enumerate() {
            for round in 0..6 {
                assert_eq!(queue.take(), Some((n, round)));
            }
            assert_eq!(queue.take(), None);
        }
    }

    #[test]
    fn a_panic_surfaces_where_its_result_is_taken() {
        let pool = Pool::new(1).unwrap();
        let mut queue = Ordered::new(&pool);
        queue.submit(|| 1);
        queue.submit(|| panic!("the job's own message"));
        queue.submit(|| 3);
        assert_eq!(queue.take(), Some(1));
        let panic = catch_unwind(AssertUnwindSafe(|| queue.take())).unwrap_err();
        assert_eq!(panic.downcast_ref::<&str>(), Some(&"the job's own message"));
        assert_eq!(queue.take(), Some(3));
    }

    #[test]
    fn dropping_a_queue_cancels_jobs_that_have_not_begun() {
        let pool = Pool::new(1).unwrap();
        let ran = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(Barrier::new(2));
        let mut queue = Ordered::new(&pool);
        let first = Arc::clone(&gate);
        queue.submit(move || {
            first.wait();
            first.wait();
        });
        // The job has begun, so it has checked the flag before.
        gate.wait();
        for _ in 0..3 {
            let ran = Arc::clone(&ran);
            queue.submit(move || {
                ran.fetch_add(1, Ordering::Relaxed);
            });
        }
        drop(queue);
        gate.wait();
        // The only worker runs its jobs in order: when this one has ended, so have those before it.
        let mut after = Ordered::new(&pool);
        after.submit(|| ());
        after.take();
        assert_eq!(ran.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn abandoning_waits_for_jobs_that_have_begun() {
        let pool = Pool::new(1).unwrap();
        let ran = Arc::new(AtomicUsize::new(0));
        let begun = Arc::new(Barrier::new(2));
        let mut queue = Ordered::new(&pool);
        for wait in [true, false, false] {
            let (ran, begun) = (Arc::clone(&ran), Arc::clone(&begun));
            queue.submit(move || {
                if wait {
                    begun.wait();
                    std::thread::sleep(Duration::from_millis(50));
                }
                ran.fetch_add(1, Ordering::Relaxed)
            });
        }
        begun.wait();
        queue.abandon();
        assert_eq!(ran.load(Ordering::Relaxed), 1);
        // The queue can be used again.
        assert_eq!(queue.take(), None);
        let ran = Arc::clone(&ran);
        queue.submit(move || ran.fetch_add(1, Ordering::Relaxed));
        assert_eq!(queue.take(), Some(1));
    }

    #[test]
    fn a_pool_of_zero_threads_has_one() {
        assert_eq!(Pool::new(0).unwrap().jobs(), 1);
    }
}
