//! Starting the containers that a killed run left stopped.

use std::path::Path;

use nix::fcntl::FlockArg;

use crate::error::{ErrorKind, Result};
use crate::host::inventory::{Host, State};
use crate::monitor::{Event, Monitor};

use super::stop_record::{Record, records};
use super::stopped::not_all_started;

/// The containers that one killed run left stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The names of the containers that the run had stopped or was about to stop.
    pub names: Vec<String>,
    /// The time of the stop, as RFC 3339 text.
    pub when: String,
    /// The engine's address.
    pub engine: String,
}

/// Returns the leftovers of runs that ended without starting their containers again. A directory that does not
/// exist, or that this user may not read, counts as empty.
///
/// # Errors
/// The directory or a record cannot be read, or a file is not a record.
pub fn leftovers(state_dir: &Path) -> Result<Vec<Leftover>> {
    let mut leftovers = Vec::new();
    for path in records(state_dir)? {
        // A shared lock: with exclusive ones, each of two concurrent commands would assume that the run is in progress.
        let Some((_, content)) = Record::take_over(&path, FlockArg::LockSharedNonblock)? else { continue };
        leftovers.push(Leftover {
            names: content.containers.into_iter().map(|entry| entry.name).collect(),
            when: content.stopped_at,
            engine: content.engine,
        });
    }
    Ok(leftovers)
}

/// Starts the containers that killed runs left stopped, and returns the names of those that it started. A
/// container that no longer exists, or a record of another engine, is reported as a note.
///
/// # Errors
/// A container does not start: the others are started nevertheless, and its record is kept.
pub fn resume(host: &dyn Host, state_dir: &Path, monitor: &dyn Monitor) -> Result<Vec<String>> {
    let mut started = Vec::new();
    let mut failures = Vec::new();
    let mut inventory = None;
    for path in records(state_dir)? {
        let Some((record, content)) = Record::take_over(&path, FlockArg::LockExclusiveNonblock)? else { continue };
        if content.engine != host.address() {
            monitor.note(&format!(
                "skipped: containers that were stopped at {} through {} (`voltar resume --docker {}`)",
                content.stopped_at, content.engine, content.engine
            ));
            continue;
        }
        let inventory = match &inventory {
            Some(inventory) => inventory,
            None => inventory.insert(host.inventory()?),
        };
        let before = failures.len();
        for entry in content.containers.iter().rev() {
            match inventory.containers.iter().find(|container| container.id == entry.id) {
                None => monitor.note(&format!("container '{}' does not exist any more: not started", entry.name)),
                Some(container) if container.state != State::Stopped => {}
                Some(_) => match host.start(&entry.id) {
                    Ok(()) => {
                        monitor.event(&Event::ContainerStarted(&entry.name));
                        started.push(entry.name.clone());
                    }
                    // The record stays, for the next time.
                    Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
                    Err(error) => failures.push(error.to_string()),
                },
            }
        }
        if failures.len() == before {
            record.remove()?;
        }
    }
    if failures.is_empty() { Ok(started) } else { Err(not_all_started(&failures)) }
}

#[cfg(test)]
mod tests {
    use super::super::fake_host::{FakeHost, container, pair, refs};
    use super::super::stopped::Stopped;
    use super::*;
    use crate::host::inventory::Container;
    use crate::monitor::Collector;

    fn killed(host: &FakeHost, dir: &Path, containers: &[Container]) {
        let monitor = Collector::default();
        Stopped::stop(host, dir, &refs(containers), &monitor).unwrap().abandon();
    }

    #[test]
    fn the_record_of_a_live_run_is_not_a_leftover() {
        let dir = tempfile::tempdir().unwrap();
        let (host, monitor, containers) = (FakeHost::default(), Collector::default(), pair());
        let stopped = Stopped::stop(&host, dir.path(), &refs(&containers), &monitor).unwrap();
        assert!(leftovers(dir.path()).unwrap().is_empty());
        assert!(resume(&host, dir.path(), &monitor).unwrap().is_empty());
        stopped.start_again().unwrap();
        killed(&host, dir.path(), &containers);
        let left = leftovers(dir.path()).unwrap();
        assert_eq!((left.len(), &left[0].engine[..]), (1, "fake"));
        assert_eq!(left[0].names, ["web", "db"]);
        assert!(left[0].when.parse::<jiff::Timestamp>().is_ok());
    }

    #[test]
    fn resume_starts_what_exists_and_is_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let stopped = |one: Container| Container { state: State::Stopped, ..one };
        let [db, web] = pair();
        let host = FakeHost {
            containers: vec![stopped(db.clone()), web.clone(), stopped(container("cache", 3, &[]))],
            ..FakeHost::default()
        };
        killed(&host, dir.path(), &[db, web, container("gone", 4, &[]), container("cache", 3, &[])]);
        host.calls.lock().unwrap().clear();
        let monitor = Collector::default();
        assert_eq!(resume(&host, dir.path(), &monitor).unwrap(), ["db", "cache"]);
        assert_eq!(host.calls(), ["start iddb", "start idcache"]);
        assert_eq!(monitor.notes(), ["container 'gone' does not exist any more: not started"]);
        assert!(records(dir.path()).unwrap().is_empty());
        assert!(resume(&host, dir.path(), &monitor).unwrap().is_empty());
    }

    #[test]
    fn resume_keeps_the_record_of_what_it_could_not_start() {
        let dir = tempfile::tempdir().unwrap();
        let containers = pair();
        let down = containers.clone().map(|one| Container { state: State::Stopped, ..one });
        let host = FakeHost { containers: down.into(), ..FakeHost::failing(&["start iddb"]) };
        killed(&host, dir.path(), &containers);
        let error = resume(&host, dir.path(), &Collector::default()).unwrap_err();
        assert_eq!(error.to_string(), "not every container was started again: cannot start iddb");
        assert!(host.calls().contains(&"start idweb".to_owned()), "the others are started nevertheless");
        assert_eq!(leftovers(dir.path()).unwrap().len(), 1);
    }

    #[test]
    fn the_record_of_another_engine_is_skipped() {
        let dir = tempfile::tempdir().unwrap();
        let host = FakeHost::default();
        killed(&host, dir.path(), &pair());
        let path = records(dir.path()).unwrap().remove(0);
        let text = std::fs::read_to_string(&path).unwrap().replace("\"fake\"", "\"unix:///other\"");
        std::fs::write(&path, text).unwrap();
        let monitor = Collector::default();
        assert!(resume(&host, dir.path(), &monitor).unwrap().is_empty());
        assert!(monitor.notes()[0].contains("`voltar resume --docker unix:///other`"));
        assert_eq!(leftovers(dir.path()).unwrap().len(), 1);
    }

    #[test]
    fn a_file_that_is_not_a_record_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(leftovers(&dir.path().join("none")).unwrap().is_empty());
        std::fs::write(dir.path().join("stopped-1.json"), "{").unwrap();
        let error = leftovers(dir.path()).unwrap_err();
        assert!(error.to_string().contains("stopped-1.json"), "{error}");
        std::fs::write(dir.path().join("stopped-1.json"), r#"{"version":2,"hosts":[]}"#).unwrap();
        let error = leftovers(dir.path()).unwrap_err();
        assert!(error.to_string().contains("another version"), "its fields may differ: {error}");
    }
}
