//! The stops that were requested through one connection. Their containers must run again, whatever ends the run.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::fault::Answer;

/// The containers for which a stop was requested, by id.
#[derive(Default)]
pub(super) struct Stops(Mutex<BTreeMap<String, Option<Pending>>>);

/// A stop that was interrupted here, and which the engine nevertheless carries out.
pub(super) struct Pending {
    /// The request. Its connection stays open: engines of version 23 kill a container at once if the client of its stop
    /// goes away, which is no way to end a database.
    pub(super) request: JoinHandle<Answer<()>>,
    /// The time after which the engine has killed the container.
    pub(super) limit: Duration,
}

impl Stops {
    /// Records that the container is going to be stopped.
    pub(super) fn record(&self, id: &str) {
        self.lock().insert(id.to_owned(), None);
    }

    /// Records that the stop of the container was interrupted.
    pub(super) fn interrupted(&self, id: &str, pending: Pending) {
        self.lock().insert(id.to_owned(), Some(pending));
    }

    /// Returns whether a stop of the container was requested.
    pub(super) fn contain(&self, id: &str) -> bool {
        self.lock().contains_key(id)
    }

    /// Returns the stop of the container if it was interrupted; only once.
    pub(super) fn take_pending(&self, id: &str) -> Option<Pending> {
        self.lock().get_mut(id)?.take()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Option<Pending>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
