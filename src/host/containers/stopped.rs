//! A guard over containers that are stopped for the duration of a run.

use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::host::inventory::{Container, ContainerState, Host, State, StopOutcome};
use crate::monitor::{Event, Monitor};

use super::restartable::{Why, not_restartable};
use super::start::{none_of, start_all};
use super::stop_order::{must_be_healthy, ranks};
use super::stop_record::{Entry, Record};

/// A guard over containers that are stopped for the duration of a run. Dropping it starts them again.
#[must_use = "dropping it starts the containers again"]
pub struct Stopped<'a> {
    host: &'a dyn Host,
    monitor: &'a dyn Monitor,
    state_dir: PathBuf,
    /// The containers in the order in which they were stopped.
    entries: Vec<Entry>,
    record: Option<Record>,
    /// The time before the first one was stopped.
    since: Option<Instant>,
}

impl<'a> Stopped<'a> {
    /// Stops the running ones of these containers, dependents first, and those that do not depend on each other at the same
    /// time. A container that has ended by itself since it was found running is skipped: it is not started again either.
    ///
    /// # Errors
    /// A container is not restartable: then none is stopped. Or a container does not stop, or the run is cancelled: then
    /// those already stopped are started again.
    pub fn stop(
        host: &'a dyn Host,
        state_dir: &Path,
        containers: &[&Container],
        monitor: &'a dyn Monitor,
    ) -> Result<Self> {
        Error::none_of(not_restartable(containers, Why::Users))?;
        let running: Vec<&Container> =
            containers.iter().filter(|container| container.state == State::Running).copied().collect();
        let state_dir = state_dir.to_owned();
        let mut guard = Self { host, monitor, state_dir, entries: Vec::new(), record: None, since: None };
        match guard.stop_all(&running) {
            Ok(()) => Ok(guard),
            Err(stopping) => Err(match guard.start_again() {
                Ok(()) => stopping,
                Err(starting) => {
                    let hint = starting.advice().unwrap_or_default().to_owned();
                    Error::new(stopping.kind(), format!("{stopping}; and then {starting}"))
                        .hint(hint)
                        .and(stopping.others().to_vec())
                }
            }),
        }
    }

    fn stop_all(&mut self, containers: &[&Container]) -> Result<()> {
        for (number, rank) in ranks(containers).iter().enumerate() {
            self.monitor.check_cancelled()?;
            self.stop_rank(number, rank, containers)?;
        }
        self.monitor.check_cancelled()
    }

    /// Stops the containers of one rank at the same time; `all` are those of all ranks.
    fn stop_rank(&mut self, number: usize, rank: &[&Container], all: &[&Container]) -> Result<()> {
        let mut running = Vec::new();
        for container in rank {
            // Stopping the ranks before it may have taken minutes.
            match self.host.state(&container.id)?.filter(|now| now.state != State::Stopped) {
                Some(now) => running.push((*container, now)),
                None => self.report_end(container)?,
            }
        }
        // Recorded before the request, because the engine may still carry out a stop that times out here.
        let entry = |(container, now): &(&Container, ContainerState)| {
            Entry::new(container, now.started.clone(), number, must_be_healthy(container, all))
        };
        self.entries.extend(running.iter().map(entry));
        self.write_record()?;
        for (container, now) in &running {
            self.monitor.event(&Event::ContainerStopping { name: &container.name, timeout: now.stop_timeout });
        }
        let running: Vec<&Container> = running.into_iter().map(|(container, _)| container).collect();
        let ids: Vec<&str> = running.iter().map(|container| container.id.as_str()).collect();
        self.since.get_or_insert_with(Instant::now);
        let mut ended: Vec<&Container> = Vec::new();
        let mut errors = Vec::new();
        self.host.stop(&ids, &mut |id, outcome| {
            let container = running.iter().find(|container| container.id == id);
            match (container, outcome) {
                (Some(container), Ok(StopOutcome::Stopped)) => {
                    self.monitor.event(&Event::ContainerStopped(&container.name));
                }
                (Some(container), Ok(StopOutcome::WasStopped)) => ended.push(container),
                (None, Ok(_)) => {}
                (_, Err(error)) => errors.push(error),
            }
        });
        if !ended.is_empty() {
            self.entries.retain(|entry| ended.iter().all(|container| container.id != entry.id));
            self.write_record()?;
        }
        // One signal interrupts all of them.
        let interrupted = errors.iter().position(|error| error.kind() == ErrorKind::Interrupted);
        interrupted.map_or(Ok(()), |at| Err(errors.swap_remove(at)))?;
        Error::none_of(errors)?;
        ended.iter().try_for_each(|container| self.report_end(container))
    }

    /// Reports a container that ended before it was stopped. It may have failed because another one was stopped.
    fn report_end(&self, Container { id, name, .. }: &Container) -> Result<()> {
        let not_started = "not stopped, and not started again";
        match self.host.state(id)?.map(|now| now.exit_status) {
            None => self.monitor.note(&format!("container '{name}' does not exist any more: {not_started}")),
            Some(0) => self.monitor.note(&format!("container '{name}' has ended by itself: {not_started}")),
            Some(status) => {
                self.monitor.issue("", format!("container '{name}' has exited with status {status}: {not_started}"));
            }
        }
        Ok(())
    }

    /// Makes the record on disk hold the containers of the guard.
    fn write_record(&mut self) -> Result<()> {
        if self.entries.is_empty() {
            return self.record.take().map_or(Ok(()), Record::remove);
        }
        if let Some(record) = &mut self.record {
            return record.replace(&self.entries);
        }
        self.record = Some(Record::write(&self.state_dir, self.host, &self.entries)?);
        Ok(())
    }

    /// Returns the number of containers that are started again at the end.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// Starts the containers again, rank by rank in reverse order. The record is removed when all of them were started.
    ///
    /// # Errors
    /// A container does not start, or exits again at once; the others are started nevertheless, and the record is kept.
    pub fn start_again(mut self) -> Result<()> {
        self.start_all()
    }

    /// Starts the containers again after the work of the run is done. A failure is then only an issue, because it does not
    /// undo that work: `done` says what is complete.
    pub fn start_again_after(mut self, done: &str) {
        if let Err(error) = self.start_all() {
            self.report(&error.within(done));
        }
    }

    /// Leaves the containers stopped, and on record for `resume`: what they would use is not whole.
    pub fn leave_stopped(mut self) {
        drop(self.record.take());
        self.entries.clear();
    }

    fn start_all(&mut self) -> Result<()> {
        let entries = std::mem::take(&mut self.entries);
        let Some(record) = self.record.take() else { return Ok(()) };
        let started = start_all(self.host, &entries, self.monitor);
        started.settle(record)?;
        none_of(&started.failures)?;
        if let (Some(since), Some(last)) = (self.since, started.last) {
            self.monitor.event(&Event::Downtime(last.saturating_duration_since(since)));
        }
        Ok(())
    }

    fn report(&self, error: &Error) {
        self.monitor.issue("", error.with_hint());
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.start_all() {
            self.report(&error);
        }
    }
}

impl std::fmt::Debug for Stopped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stopped").field("entries", &self.entries).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::super::fake_host::{FakeHost, pair, refs};
    use super::super::stop_record::records;
    use super::*;
    use crate::host::containers::leftovers;
    use crate::monitor::Collector;
    use nix::fcntl::FlockArg;

    #[test]
    fn containers_stop_and_start_again_in_reverse() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("new/state");
        let (containers, monitor) = (pair(), Collector::default());
        let host = FakeHost { state_dir: Some(state.clone()), ..FakeHost::of(&containers) };
        let stopped = Stopped::stop(&host, &state, &refs(&containers), &monitor).unwrap();
        assert_eq!(stopped.count(), 2);
        let record = records(&state).unwrap().remove(0);
        assert_eq!(std::fs::metadata(&record).unwrap().permissions().mode() & 0o7777, 0o600);
        assert_eq!(std::fs::metadata(&state).unwrap().permissions().mode() & 0o7777, 0o700);
        std::thread::sleep(Duration::from_millis(20));
        assert_eq!(monitor.downtime(), None);
        stopped.start_again().unwrap();
        let downtime = monitor.downtime().unwrap();
        // They are watched for a second after that, which does not count.
        assert!((Duration::from_millis(20)..Duration::from_millis(900)).contains(&downtime), "{downtime:?}");
        assert_eq!(host.calls(), ["stop idweb", "stop iddb", "start iddb", "start idweb"]);
        assert_eq!(std::fs::read_dir(&state).unwrap().count(), 0);
    }

    #[test]
    fn only_running_containers_are_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let mut containers = pair();
        containers[0].state = State::Stopped;
        let host = FakeHost::of(&containers);
        let monitor = Collector::default();
        Stopped::stop(&host, dir.path(), &refs(&containers), &monitor).unwrap().start_again().unwrap();
        assert_eq!(host.calls(), ["stop idweb", "start idweb"]);
        let nothing = Stopped::stop(&host, Path::new("/proc/no/such"), &refs(&containers[..1]), &monitor).unwrap();
        assert_eq!(nothing.count(), 0);
    }

    #[test]
    fn a_panic_starts_them_again() {
        let dir = tempfile::tempdir().unwrap();
        let containers = pair();
        let host = FakeHost::of(&containers);
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let monitor = Collector::default();
            let _stopped = Stopped::stop(&host, dir.path(), &refs(&containers), &monitor).unwrap();
            panic!("in the middle");
        }));
        assert!(result.is_err());
        assert_eq!(host.calls(), ["stop idweb", "stop iddb", "start iddb", "start idweb"]);
        assert!(leftovers(dir.path()).unwrap().0.is_empty());
    }

    #[test]
    fn a_stop_that_fails_half_way_is_undone() {
        let dir = tempfile::tempdir().unwrap();
        let (containers, monitor) = (pair(), Collector::default());
        let host = FakeHost::of(&containers).failing(&["stop iddb"]);
        let error = Stopped::stop(&host, dir.path(), &refs(&containers), &monitor).unwrap_err();
        assert_eq!(error.to_string(), "cannot stop iddb");
        // The container whose stop failed may have stopped nevertheless.
        assert_eq!(host.calls(), ["stop idweb", "stop iddb", "start iddb", "start idweb"]);
        assert!(records(dir.path()).unwrap().is_empty());
    }

    #[test]
    fn a_container_that_does_not_start_is_named_and_stays_on_record() {
        let dir = tempfile::tempdir().unwrap();
        let (containers, monitor) = (pair(), Collector::default());
        let host = FakeHost::of(&containers).failing(&["start iddb", "start idweb"]);
        let error = Stopped::stop(&host, dir.path(), &refs(&containers), &monitor).unwrap().start_again().unwrap_err();
        assert_eq!(error.to_string(), "not every container was started again: cannot start iddb; cannot start idweb");
        assert_eq!(leftovers(dir.path()).unwrap().0[0].names, ["web", "db"]);
        let host = FakeHost::of(&containers).failing(&["start iddb"]);
        drop(Stopped::stop(&host, dir.path(), &refs(&containers), &monitor).unwrap());
        assert_eq!(monitor.issues().len(), 1, "a guard that is dropped reports to the monitor");
        assert!(monitor.issues()[0].message.contains("voltar resume"));
        let host = FakeHost::of(&containers).failing(&["start iddb"]);
        let stopped = Stopped::stop(&host, dir.path(), &refs(&containers), &monitor).unwrap();
        stopped.start_again_after("the archives are complete");
        assert_eq!(
            monitor.issues()[1].message,
            "the archives are complete: not every container was started again: cannot start iddb \
             (`voltar resume` tries again)"
        );
    }

    #[test]
    fn a_container_that_ended_by_itself_is_not_started_again() {
        let (containers, monitor) = (pair(), Collector::default());
        let stopped = |host: &FakeHost| {
            let dir = tempfile::tempdir().unwrap();
            let stopped = Stopped::stop(host, dir.path(), &refs(&containers), &monitor).unwrap();
            let on_record = Record::take_over(&records(dir.path()).unwrap()[0], FlockArg::LockSharedNonblock).unwrap();
            assert!(on_record.is_none(), "its run is in progress");
            assert_eq!(stopped.count(), 1);
            stopped.start_again().unwrap();
            assert!(records(dir.path()).unwrap().is_empty());
        };
        // Before it was looked at, and between that look and the request.
        let host = FakeHost { ends_meanwhile: vec![("idweb", "iddb")], ..FakeHost::of(&containers) };
        stopped(&host);
        assert_eq!(host.calls(), ["stop idweb", "start idweb"]);
        assert_eq!(monitor.notes(), ["container 'db' has ended by itself: not stopped, and not started again"]);
        let host = FakeHost { ends_meanwhile: vec![("idweb", "idweb")], ..FakeHost::of(&containers) };
        stopped(&host);
        assert_eq!(host.calls(), ["stop idweb", "stop iddb", "start iddb"]);
    }

    #[test]
    fn a_container_that_failed_by_itself_is_an_issue() {
        let dir = tempfile::tempdir().unwrap();
        let (containers, monitor) = (pair(), Collector::default());
        let host = FakeHost::of(&containers);
        host.set("iddb", ContainerState { exit_status: 3, ..ContainerState::default() });
        host.remove("idweb");
        let stopped = Stopped::stop(&host, dir.path(), &refs(&containers), &monitor).unwrap();
        assert_eq!(stopped.count(), 0);
        assert_eq!(
            monitor.issues()[0].message,
            "container 'db' has exited with status 3: not stopped, and not started again"
        );
        assert_eq!(monitor.notes(), ["container 'web' does not exist any more: not stopped, and not started again"]);
        stopped.start_again().unwrap();
        assert!(host.calls().is_empty());
    }

    #[test]
    fn only_what_has_been_stopped_is_on_record() {
        let dir = tempfile::tempdir().unwrap();
        let containers = pair();
        let host = FakeHost::of(&containers).failing(&["stop iddb"]);
        let monitor = CancelledAt(AtomicUsize::new(2));
        // The guard has stopped one container when the run is killed.
        let mut guard = Stopped {
            host: &host,
            monitor: &monitor,
            state_dir: dir.path().to_owned(),
            entries: Vec::new(),
            record: None,
            since: None,
        };
        guard.stop_all(&refs(&containers)).unwrap_err();
        guard.leave_stopped();
        assert_eq!(host.calls(), ["stop idweb"]);
        assert_eq!(leftovers(dir.path()).unwrap().0[0].names, ["web"]);
    }

    #[test]
    fn a_container_that_was_started_meanwhile_is_not_started_again() {
        let dir = tempfile::tempdir().unwrap();
        let (containers, monitor) = (pair(), Collector::default());
        let host = FakeHost::of(&containers);
        let stopped = Stopped::stop(&host, dir.path(), &refs(&containers), &monitor).unwrap();
        let started = jiff::Timestamp::now().to_string();
        host.set(
            "iddb",
            ContainerState { state: State::Running, started: started.clone(), ..ContainerState::default() },
        );
        host.set("idweb", ContainerState { started, ..ContainerState::default() });
        stopped.start_again().unwrap();
        assert_eq!(host.calls(), ["stop idweb", "stop iddb"]);
        assert_eq!(monitor.notes(), ["container 'web' was started and has ended since it was stopped: not started"]);
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
        let containers = pair();
        let host = FakeHost::of(&containers);
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
        let mut containers = pair();
        let (host, monitor) = (FakeHost::of(&containers), Collector::default());
        containers[0].state = State::Paused;
        let error = Stopped::stop(&host, dir.path(), &refs(&containers), &monitor).unwrap_err();
        assert_eq!(error.to_string(), "containers that use these volumes are paused: db");
        containers[0].state = State::Running;
        containers[0].auto_remove = true;
        let error = Stopped::stop(&host, dir.path(), &refs(&containers), &monitor).unwrap_err();
        assert_eq!(error.to_string(), "containers that use these volumes are deleted when they stop (--rm): db");
        assert!(host.calls().is_empty());
    }

    #[test]
    fn nothing_is_stopped_without_a_record() {
        let (host, monitor, containers) = (FakeHost::of(&pair()), Collector::default(), pair());
        let error = Stopped::stop(&host, Path::new("/proc/voltar"), &refs(&containers), &monitor).unwrap_err();
        assert!(error.to_string().starts_with("cannot record which containers are to be stopped in '/proc/voltar': "));
        assert!(host.calls().is_empty());
    }
}
