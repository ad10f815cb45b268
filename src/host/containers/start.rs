//! Starting containers that a run has stopped. Each start is verified: the engine reports success once the process
//! exists, although it may exit at once, for example because its data or its configuration is wrong.

use std::collections::BTreeSet;
use std::thread::sleep;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use crate::error::{Error, ErrorKind, Result};
use crate::host::inventory::{ContainerState, Host, State};
use crate::monitor::{Event, Monitor};

use super::health::await_healthy;
use super::stop_record::{Entry, Record};

/// The time for which a container must have been running to count as started.
const STEADY: SignedDuration = SignedDuration::from_secs(1);
/// The time for which all containers together are watched after their start.
const LIMIT: Duration = Duration::from_secs(3);
/// The time between two looks at the containers.
const INTERVAL: Duration = Duration::from_millis(100);

/// The result of starting several containers.
#[derive(Debug, Default)]
pub(super) struct Started {
    /// The names of those that were started and keep running.
    pub(super) names: Vec<String>,
    /// The ids of those that are not running, each with the reason.
    pub(super) failures: Vec<(String, Error)>,
    /// The time of the last start.
    pub(super) last: Option<Instant>,
}

impl Started {
    /// Removes the record of the containers, or leaves on it those that are not running.
    ///
    /// # Errors
    /// The record cannot be removed.
    pub(super) fn settle(&self, mut record: Record) -> Result<()> {
        if self.failures.is_empty() {
            return record.remove();
        }
        let failed = |entry: &Entry| self.failures.iter().any(|(id, _)| *id == entry.id);
        let left: Vec<Entry> =
            record.content().containers.iter().filter(|entry| failed(entry)).map(Entry::requested_now).collect();
        // Where that fails, the record on disk names them nevertheless.
        record.replace(&left).unwrap_or_default();
        Ok(())
    }
}

/// Starts those of these containers, in the order of their stop, that are as the run has left them: rank by rank, those
/// stopped last first. A container that somebody has started or removed since is skipped.
pub(super) fn start_all(host: &dyn Host, entries: &[Entry], monitor: &dyn Monitor) -> Started {
    let mut started = Started::default();
    let mut watched: Vec<Watched<'_>> = Vec::new();
    let ranks: BTreeSet<usize> = entries.iter().map(|entry| entry.rank).collect();
    for rank in ranks.into_iter().rev() {
        let of_rank: Vec<&Entry> = entries.iter().rev().filter(|entry| entry.rank == rank).collect();
        await_healthy(host, watched.iter().map(|one| (one.entry, one.since)), &of_rank, monitor);
        let mut to_start = Vec::new();
        for entry in of_rank {
            match is_as_left(host, entry, monitor) {
                Ok(true) => to_start.push(entry),
                Ok(false) => {}
                Err(error) => started.failures.push((entry.id.clone(), error)),
            }
        }
        let ids: Vec<&str> = to_start.iter().map(|entry| entry.id.as_str()).collect();
        host.start(&ids, &mut |id, outcome| match (outcome, to_start.iter().find(|entry| entry.id == id)) {
            (Ok(()), Some(entry)) => watched.push(Watched { entry, since: Instant::now(), exit_status: None }),
            (Ok(()), None) => {}
            (Err(error), _) => started.failures.push((id.to_owned(), error)),
        });
    }
    started.last = watched.iter().map(|one| one.since).max();
    // All are started before the first is watched: dependents start sooner, and the wait is one for all.
    watch(host, watched, monitor, &mut started);
    started
}

/// Returns whether a container is as the run has left it, so that it must be started.
fn is_as_left(host: &dyn Host, entry: &Entry, monitor: &dyn Monitor) -> Result<bool> {
    let name = &entry.name;
    match state(host, entry)? {
        None => {
            monitor.note(&format!("container '{name}' does not exist any more: not started"));
            Ok(false)
        }
        Some(now) if now.state != State::Stopped => Ok(false),
        Some(now) if entry.was_started_since(&now.started) => {
            monitor.note(&format!("container '{name}' was started and has ended since it was stopped: not started"));
            Ok(false)
        }
        Some(_) => Ok(true),
    }
}

/// Returns the present state of a container. An error names it: there may be several.
fn state(host: &dyn Host, entry: &Entry) -> Result<Option<ContainerState>> {
    host.state(&entry.id).map_err(|error| error.within(format!("container '{}'", entry.name)))
}

/// A container whose start was requested.
struct Watched<'a> {
    entry: &'a Entry,
    /// The time of the request.
    since: Instant,
    /// The exit status that was seen before the engine started it again.
    exit_status: Option<i64>,
}

/// Looks at containers until each has been running for a while, has failed, or the time is over.
fn watch(host: &dyn Host, mut watched: Vec<Watched<'_>>, monitor: &dyn Monitor, started: &mut Started) {
    let begin = Instant::now();
    while !watched.is_empty() {
        // The request was accepted: whoever interrupts the run does not wait for more.
        let last = begin.elapsed() >= LIMIT || monitor.cancelled();
        watched.retain_mut(|one| match state(host, one.entry).and_then(|now| one.is_started(now, last)) {
            Ok(false) => true,
            Ok(true) => {
                monitor.event(&Event::ContainerStarted(&one.entry.name));
                started.names.push(one.entry.name.clone());
                false
            }
            Err(error) => {
                started.failures.push((one.entry.id.clone(), error));
                false
            }
        });
        if !watched.is_empty() {
            sleep(INTERVAL);
        }
    }
}

impl Watched<'_> {
    /// Returns whether the container counts as started; that is decided when it is looked at for the `last` time.
    fn is_started(&mut self, now: Option<ContainerState>, last: bool) -> Result<bool> {
        let name = &self.entry.name;
        let Some(now) = now else {
            return Err(Error::refused(format!("container '{name}' was started and does not exist any more")));
        };
        if now.state == State::Stopped {
            return Err(exited(name, now.exit_status, ""));
        }
        if now.restarting {
            self.exit_status = Some(now.exit_status);
        }
        let steady = !now.restarting && is_steady(&now.started);
        match self.exit_status {
            // It may have exited because a container that it needs was not ready yet.
            Some(status) if last && !steady => Err(exited(name, status, ", and its restart policy starts it again")),
            _ => Ok(steady || last),
        }
    }
}

/// Returns whether the last start was long enough ago, or is not known.
fn is_steady(started: &str) -> bool {
    started.parse::<Timestamp>().map_or(true, |started| Timestamp::now().duration_since(started) >= STEADY)
}

/// Returns `Ok` if there are no failures.
///
/// # Errors
/// All failures as one error.
pub(super) fn none_of(failures: &[(String, Error)]) -> Result<()> {
    if failures.is_empty() {
        return Ok(());
    }
    if failures.iter().any(|(_, error)| error.kind() == ErrorKind::Interrupted) {
        return Err(Error::interrupted().hint("`voltar resume` starts the containers that are still stopped"));
    }
    let (mut messages, mut hints) = (Vec::new(), Vec::new());
    for (_, error) in failures {
        messages.push(error.to_string());
        hints.extend(error.advice().filter(|hint| !hints.contains(hint)));
    }
    hints.push("`voltar resume` tries again");
    Err(Error::new(ErrorKind::Failed, format!("not every container was started again: {}", messages.join("; ")))
        .hint(hints.join("; ")))
}

fn exited(name: &str, status: i64, and: &str) -> Error {
    Error::new(ErrorKind::Failed, format!("container '{name}' was started and exited again with status {status}{and}"))
        .hint(format!("`docker logs {name}` says why"))
}

#[cfg(test)]
mod tests {
    use super::super::fake_host::{FakeHost, container, refs};
    use super::super::stopped::Stopped;
    use super::*;
    use crate::monitor::{CancelledAfter, Collector};

    fn now() -> String {
        Timestamp::now().to_string()
    }

    /// Stops a container and starts it again on a host where its states after the start are `states`.
    fn start_of(states: impl Fn(usize) -> ContainerState + Sync + 'static) -> (Result<()>, Duration) {
        let dir = tempfile::tempdir().unwrap();
        let containers = [container("db", 1, &[])];
        let host = FakeHost { after_start: Some(Box::new(states)), ..FakeHost::of(&containers) };
        let monitor = Collector::default();
        let stopped = Stopped::stop(&host, dir.path(), &refs(&containers), &monitor).unwrap();
        let begin = Instant::now();
        (stopped.start_again(), begin.elapsed())
    }

    fn running(started: String) -> ContainerState {
        ContainerState { state: State::Running, started, ..ContainerState::default() }
    }

    #[test]
    fn a_container_that_keeps_running_is_started() {
        let begin = now();
        let (result, took) = start_of(move |_| running(begin.clone()));
        result.unwrap();
        assert!(took >= STEADY.unsigned_abs() && took < LIMIT, "{took:?}");
    }

    #[test]
    fn a_container_that_exits_again_is_a_failure() {
        let begin = now();
        let (result, took) = start_of(move |look| match look {
            0 | 1 => running(begin.clone()),
            _ => ContainerState { exit_status: 3, started: begin.clone(), ..ContainerState::default() },
        });
        let error = result.unwrap_err();
        assert_eq!(
            error.to_string(),
            "not every container was started again: container 'db' was started and exited again with status 3"
        );
        assert_eq!(error.advice(), Some("`docker logs db` says why; `voltar resume` tries again"));
        assert!(took < STEADY.unsigned_abs(), "{took:?}");
    }

    fn restarting() -> ContainerState {
        ContainerState { restarting: true, exit_status: 4, ..running(now()) }
    }

    #[test]
    fn a_container_that_restarts_once_is_started() {
        let again = now();
        let (result, took) = start_of(move |look| if look < 3 { restarting() } else { running(again.clone()) });
        result.unwrap();
        assert!(took < LIMIT, "{took:?}");
    }

    #[test]
    fn a_container_that_restarts_over_and_over_is_a_failure() {
        for seen_last in [restarting as fn() -> ContainerState, || running(now())] {
            let (result, took) = start_of(move |look| if look < 20 { restarting() } else { seen_last() });
            let error = result.unwrap_err().to_string();
            assert!(error.ends_with("exited again with status 4, and its restart policy starts it again"), "{error}");
            assert!(took >= LIMIT && took < LIMIT * 2, "{took:?}");
        }
    }

    #[test]
    fn a_cancelled_run_does_not_watch() {
        let containers = [container("db", 1, &[])];
        let host = FakeHost::of(&containers);
        host.set("iddb", ContainerState::default());
        let host = FakeHost { after_start: Some(Box::new(|_| running(now()))), ..host };
        let begin = Instant::now();
        let entry = Entry::new(&containers[0], String::new(), 0, Vec::new());
        let started = start_all(&host, &[entry], &CancelledAfter::checks(0));
        assert_eq!(started.names, ["db"]);
        assert!(begin.elapsed() < INTERVAL, "{:?}", begin.elapsed());
    }
}
