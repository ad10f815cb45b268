//! A guard over containers that are stopped for the duration of a run.

use std::path::Path;

use crate::error::{Error, ErrorKind, Result};
use crate::host::inventory::{Container, Host, State};
use crate::monitor::{Event, Monitor};

use super::stop_order::stop_order;
use super::stop_record::{Entry, Record};

/// A guard over containers that are stopped for the duration of a run. Dropping it starts them again.
#[must_use = "dropping it starts the containers again"]
pub struct Stopped<'a> {
    host: &'a dyn Host,
    monitor: &'a dyn Monitor,
    /// The containers in the order in which they were stopped.
    entries: Vec<Entry>,
    record: Option<Record>,
}

impl<'a> Stopped<'a> {
    /// Stops the running ones of these containers, dependents first.
    ///
    /// # Errors
    /// A container is paused or would be deleted when it stops: then none is stopped. Or a container does
    /// not stop, or the run is cancelled: then those already stopped are started again.
    pub fn stop(
        host: &'a dyn Host,
        state_dir: &Path,
        containers: &[&Container],
        monitor: &'a dyn Monitor,
    ) -> Result<Self> {
        check_restartable(containers)?;
        let running: Vec<&Container> =
            containers.iter().filter(|container| container.state == State::Running).copied().collect();
        let entries: Vec<Entry> = stop_order(&running)
            .iter()
            .map(|container| Entry { id: container.id.clone(), name: container.name.clone() })
            .collect();
        let mut guard = Self { host, monitor, entries: Vec::new(), record: None };
        if entries.is_empty() {
            return Ok(guard);
        }
        guard.record = Some(Record::write(state_dir, host, &entries)?);
        match guard.stop_all(entries) {
            Ok(()) => Ok(guard),
            Err(stopping) => Err(match guard.start_again() {
                Ok(()) => stopping,
                Err(starting) => {
                    let hint = starting.advice().unwrap_or_default().to_owned();
                    Error::new(stopping.kind(), format!("{stopping}; and then {starting}")).hint(hint)
                }
            }),
        }
    }

    fn stop_all(&mut self, entries: Vec<Entry>) -> Result<()> {
        for entry in entries {
            self.monitor.check_cancelled()?;
            // Recorded before the request, because the engine may still carry out a stop that times out here.
            self.entries.push(entry.clone());
            self.host.stop(&entry.id)?;
            self.monitor.event(&Event::ContainerStopped(&entry.name));
        }
        self.monitor.check_cancelled()
    }

    /// Returns the number of containers that are started again at the end.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// Starts the containers again in reverse order. The record is removed when all of them were started.
    ///
    /// # Errors
    /// A container does not start; the others are started nevertheless, and the record is kept.
    pub fn start_again(mut self) -> Result<()> {
        self.start_all()
    }

    /// Leaves the state that `kill -9` leaves: the record without its lock, and the containers stopped.
    #[cfg(test)]
    pub(super) fn abandon(mut self) {
        drop(self.record.take());
        self.entries.clear();
    }

    fn start_all(&mut self) -> Result<()> {
        let entries = std::mem::take(&mut self.entries);
        let Some(record) = self.record.take() else { return Ok(()) };
        let mut failures = Vec::new();
        for entry in entries.iter().rev() {
            match self.host.start(&entry.id) {
                Ok(()) => self.monitor.event(&Event::ContainerStarted(&entry.name)),
                Err(error) => failures.push(error.to_string()),
            }
        }
        if failures.is_empty() { record.remove() } else { Err(not_all_started(&failures)) }
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.start_all() {
            let hint = error.advice().map(|hint| format!(" ({hint})")).unwrap_or_default();
            self.monitor.issue("", format!("{error}{hint}"));
        }
    }
}

impl std::fmt::Debug for Stopped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stopped").field("entries", &self.entries).finish_non_exhaustive()
    }
}

pub(super) fn not_all_started(failures: &[String]) -> Error {
    Error::new(ErrorKind::Failed, format!("not every container was started again: {}", failures.join("; ")))
        .hint("`voltar resume` tries again")
}

/// Refuses containers that a stop and a start would not restore to their present state.
fn check_restartable(containers: &[&Container]) -> Result<()> {
    let names = |unfit: &dyn Fn(&Container) -> bool| -> String {
        let names: Vec<String> = containers
            .iter()
            .filter(|container| unfit(container))
            .map(|container| format!("'{}'", container.name))
            .collect();
        names.join(", ")
    };
    let paused = names(&|container| container.state == State::Paused);
    if !paused.is_empty() {
        return Err(Error::refused(format!("cannot stop {paused}: paused, and could not be paused again as before"))
            .hint("`docker unpause` or `docker stop` them first"));
    }
    let auto_removed = names(&|container| container.state == State::Running && container.auto_remove);
    if !auto_removed.is_empty() {
        return Err(Error::refused(format!("cannot stop {auto_removed}: created with --rm, and deleted when stopped"))
            .hint("stop them yourself, or wait until they exit"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::fake_host::{FakeHost, pair, refs};
    use super::super::stop_record::records;
    use super::*;
    use crate::host::containers::leftovers;
    use crate::monitor::Collector;

    #[test]
    fn containers_stop_and_start_again_in_reverse() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("new/state");
        let host = FakeHost { state_dir: Some(state.clone()), ..FakeHost::default() };
        let (containers, monitor) = (pair(), Collector::default());
        let stopped = Stopped::stop(&host, &state, &refs(&containers), &monitor).unwrap();
        assert_eq!(stopped.count(), 2);
        let record = records(&state).unwrap().remove(0);
        assert_eq!(std::fs::metadata(&record).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(std::fs::metadata(&state).unwrap().permissions().mode() & 0o7777, 0o700);
        stopped.start_again().unwrap();
        assert_eq!(host.calls(), ["stop idweb", "stop iddb", "start iddb", "start idweb"]);
        assert_eq!(std::fs::read_dir(&state).unwrap().count(), 0);
    }

    #[test]
    fn only_running_containers_are_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let host = FakeHost::default();
        let mut containers = pair();
        containers[0].state = State::Stopped;
        let monitor = Collector::default();
        Stopped::stop(&host, dir.path(), &refs(&containers), &monitor).unwrap().start_again().unwrap();
        assert_eq!(host.calls(), ["stop idweb", "start idweb"]);
        let nothing = Stopped::stop(&host, Path::new("/proc/no/such"), &refs(&containers[..1]), &monitor).unwrap();
        assert_eq!(nothing.count(), 0);
    }

    #[test]
    fn a_panic_starts_them_again() {
        let dir = tempfile::tempdir().unwrap();
        let host = FakeHost::default();
        let containers = pair();
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let monitor = Collector::default();
            let _stopped = Stopped::stop(&host, dir.path(), &refs(&containers), &monitor).unwrap();
            panic!("in the middle");
        }));
        assert!(result.is_err());
        assert_eq!(host.calls(), ["stop idweb", "stop iddb", "start iddb", "start idweb"]);
        assert!(leftovers(dir.path()).unwrap().is_empty());
    }

    #[test]
    fn a_stop_that_fails_half_way_is_undone() {
        let dir = tempfile::tempdir().unwrap();
        let host = FakeHost::failing(&["stop iddb"]);
        let (containers, monitor) = (pair(), Collector::default());
        let error = Stopped::stop(&host, dir.path(), &refs(&containers), &monitor).unwrap_err();
        assert_eq!(error.to_string(), "cannot stop iddb");
        // The container whose stop failed may have stopped nevertheless.
        assert_eq!(host.calls(), ["stop idweb", "stop iddb", "start iddb", "start idweb"]);
        assert!(records(dir.path()).unwrap().is_empty());
    }

    #[test]
    fn a_container_that_does_not_start_is_named_and_stays_on_record() {
        let dir = tempfile::tempdir().unwrap();
        let host = FakeHost::failing(&["start iddb", "start idweb"]);
        let (containers, monitor) = (pair(), Collector::default());
        let error = Stopped::stop(&host, dir.path(), &refs(&containers), &monitor).unwrap().start_again().unwrap_err();
        assert_eq!(error.to_string(), "not every container was started again: cannot start iddb; cannot start idweb");
        assert_eq!(leftovers(dir.path()).unwrap()[0].names, ["web", "db"]);
        drop(Stopped::stop(&host, dir.path(), &refs(&containers), &monitor).unwrap());
        assert_eq!(monitor.issues().len(), 1, "a guard that is dropped reports to the monitor");
        assert!(monitor.issues()[0].message.contains("voltar resume"));
    }

    /// A monitor that reports cancellation at the n-th check.
    struct CancelledAt(AtomicUsize);

    impl Monitor for CancelledAt {
        fn event(&self, _: &Event<'_>) {}

        fn cancelled(&self) -> bool {
            self.0.fetch_sub(1, Ordering::Relaxed) == 1
        }
    }

    #[test]
    fn a_cancelled_stop_starts_them_again() {
        let dir = tempfile::tempdir().unwrap();
        let host = FakeHost::default();
        let containers = pair();
        let monitor = CancelledAt(AtomicUsize::new(2));
        let error = Stopped::stop(&host, dir.path(), &refs(&containers), &monitor).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        assert_eq!(host.calls(), ["stop idweb", "start idweb"]);
        let monitor = CancelledAt(AtomicUsize::new(3));
        assert!(Stopped::stop(&host, dir.path(), &refs(&containers), &monitor).is_err());
        assert_eq!(host.calls().len(), 2 + 4);
    }

    #[test]
    fn paused_and_auto_removed_containers_are_refused_before_anything_stops() {
        let dir = tempfile::tempdir().unwrap();
        let (host, monitor) = (FakeHost::default(), Collector::default());
        let mut containers = pair();
        containers[0].state = State::Paused;
        let error = Stopped::stop(&host, dir.path(), &refs(&containers), &monitor).unwrap_err();
        assert_eq!(error.to_string(), "cannot stop 'db': paused, and could not be paused again as before");
        containers[0].state = State::Running;
        containers[0].auto_remove = true;
        let error = Stopped::stop(&host, dir.path(), &refs(&containers), &monitor).unwrap_err();
        assert_eq!(error.to_string(), "cannot stop 'db': created with --rm, and deleted when stopped");
        assert!(host.calls().is_empty());
    }

    #[test]
    fn nothing_is_stopped_without_a_record() {
        let (host, monitor, containers) = (FakeHost::default(), Collector::default(), pair());
        let error = Stopped::stop(&host, Path::new("/proc/voltar"), &refs(&containers), &monitor).unwrap_err();
        assert!(error.to_string().starts_with("cannot record which containers are to be stopped in '/proc/voltar': "));
        assert!(host.calls().is_empty());
    }
}
