//! Pools of threads, and queues whose results leave in the order in which the work came. A pure
//! scheduler: it knows nothing of what the jobs do, and it never lets a job wait for another one.
//!
//! One pool of workers computes for the whole program. Whatever waits for files has a pool of its
//! own, so that a slow disk keeps no core from work.
//!
//! The queue is the simplest ordered pipeline there is: one-shot receivers in order of submission.
//! Producer and consumer are the same thread, which submits while there is room and otherwise takes
//! the oldest result first. So what is in flight is bounded without any further locks, and one slow
//! job holds up the output but not the workers. That thread must not be one of the pool's own.

use std::any::Any;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};

use crate::error::{Error, ErrorKind, Result};

/// So many small files are opened and read at once for one archive. A disk with a queue is
/// busy with that, and so is a server that is a round trip away; cores have little to do with it.
const FILES_AT_ONCE: usize = 8;

/// Threads, shared by all who hold a clone.
#[derive(Clone)]
pub struct Pool(Arc<rayon::ThreadPool>);

impl Pool {
    /// A pool of `jobs` threads that compute; at least one.
    pub fn new(jobs: usize) -> Result<Self> {
        Self::of(jobs.max(1), "worker")
    }

    /// A pool for what waits for files.
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

    /// How many threads it has.
    #[must_use]
    pub fn jobs(&self) -> usize {
        self.0.current_num_threads()
    }
}

/// What a job came to: its result, or what it panicked with.
type Outcome<T> = std::result::Result<T, Box<dyn Any + Send>>;

/// Jobs in flight, oldest first. Dropping it abandons those that have not begun.
pub struct Ordered<T> {
    pool: Pool,
    pending: VecDeque<Receiver<Outcome<T>>>,
    window: usize,
    cancelled: Arc<AtomicBool>,
}

impl<T: Send + 'static> Ordered<T> {
    /// An empty queue on `pool`.
    #[must_use]
    pub fn new(pool: &Pool) -> Self {
        // Each worker has one job and another waiting for it; two more keep it so while the consumer
        // is busy with a result.
        let window = 2 * pool.jobs() + 2;
        Self {
            pool: pool.clone(),
            pending: VecDeque::with_capacity(window),
            window,
            cancelled: Arc::new(AtomicBool::new(false)),
        }
    }

    /// How many jobs fit in it.
    #[must_use]
    pub fn window(&self) -> usize {
        self.window
    }

    /// Whether one more job fits. Who submits nevertheless is not stopped, but holds more in memory.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.pending.len() < self.window
    }

    /// Hands `job` to the workers.
    pub fn submit(&mut self, job: impl FnOnce() -> T + Send + 'static) {
        let (sender, receiver) = sync_channel(1);
        let cancelled = Arc::clone(&self.cancelled);
        self.pool.0.spawn(move || {
            if cancelled.load(Ordering::Relaxed) {
                return;
            }
            // A panic that reaches rayon aborts the process: containers would stay stopped and
            // half-written files would stay behind. It goes on in the thread that takes the result.
            let outcome = catch_unwind(AssertUnwindSafe(job));
            // The receiver is gone once the queue is dropped; then the result is not needed.
            sender.send(outcome).ok();
        });
        self.pending.push_back(receiver);
    }

    /// Waits for the oldest job and returns its result; `None` when nothing is in flight.
    ///
    /// # Panics
    ///
    /// With the job's own panic, if it panicked.
    pub fn take(&mut self) -> Option<T> {
        let receiver = self.pending.pop_front()?;
        match receiver.recv() {
            Ok(Ok(result)) => Some(result),
            Ok(Err(panic)) => resume_unwind(panic),
            // Only a cancelled job leaves without sending, and only our own drop cancels.
            Err(gone) => unreachable!("a worker lost its job: {gone}"),
        }
    }

    /// Abandons the jobs that have not begun, and waits for those that have: none of them is at work
    /// any more when this returns.
    pub fn abandon(&mut self) {
        self.cancelled.store(true, Ordering::Relaxed);
        for receiver in self.pending.drain(..) {
            // Whoever abandons jobs does not ask what they came to.
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
    fn results_leave_in_the_order_the_work_came() {
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
    fn dropping_a_queue_abandons_jobs_that_have_not_begun() {
        let pool = Pool::new(1).unwrap();
        let ran = Arc::new(AtomicUsize::new(0));
        let gate = Arc::new(Barrier::new(2));
        let mut queue = Ordered::new(&pool);
        let first = Arc::clone(&gate);
        queue.submit(move || {
            first.wait();
            first.wait();
        });
        // It has begun, and so is past the look at the flag.
        gate.wait();
        for _ in 0..3 {
            let ran = Arc::clone(&ran);
            queue.submit(move || {
                ran.fetch_add(1, Ordering::Relaxed);
            });
        }
        drop(queue);
        gate.wait();
        // The one worker takes its jobs in order: once this one is done, those before it are too.
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
        // The queue is as good as new.
        assert_eq!(queue.take(), None);
        let ran = Arc::clone(&ran);
        queue.submit(move || ran.fetch_add(1, Ordering::Relaxed));
        assert_eq!(queue.take(), Some(1));
    }

    #[test]
    fn no_threads_asked_for_is_one() {
        assert_eq!(Pool::new(0).unwrap().jobs(), 1);
    }
}
