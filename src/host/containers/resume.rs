//! Starting the containers that a killed run left stopped.

use std::path::Path;

use nix::fcntl::FlockArg;

use crate::error::{Error, Result};
use crate::host::inventory::Host;
use crate::monitor::Monitor;

use super::start::{none_of, start_all};
use super::stop_record::{Record, records};

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

/// Returns the leftovers of runs that ended without starting their containers again, and for each record that cannot be
/// read why. A directory that does not exist, or that this user may not read, counts as empty.
///
/// # Errors
/// The directory cannot be read.
pub fn leftovers(state_dir: &Path) -> Result<(Vec<Leftover>, Vec<Error>)> {
    let (mut leftovers, mut unreadable) = (Vec::new(), Vec::new());
    for path in records(state_dir)? {
        // A shared lock: with exclusive ones, each of two concurrent commands would assume that the run is in progress.
        let record = match Record::take_over(&path, FlockArg::LockSharedNonblock) {
            Ok(Some(record)) => record,
            Ok(None) => continue,
            Err(error) => {
                unreadable.push(error);
                continue;
            }
        };
        let content = record.content();
        leftovers.push(Leftover {
            names: content.containers.iter().map(|entry| entry.name.clone()).collect(),
            when: content.stopped_at.clone(),
            engine: content.engine.clone(),
        });
    }
    Ok((leftovers, unreadable))
}

/// Starts the containers that killed runs left stopped, and returns the names of those that it started. A container
/// that no longer exists, or that somebody has started since, and a record of another engine are reported as notes, a
/// record that cannot be read as an issue.
///
/// # Errors
/// A container does not start, or exits again at once: the others are started nevertheless, and its record is kept.
pub fn resume(host: &dyn Host, state_dir: &Path, monitor: &dyn Monitor) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let mut failures = Vec::new();
    for path in records(state_dir)? {
        let record = match Record::take_over(&path, FlockArg::LockExclusiveNonblock) {
            Ok(Some(record)) => record,
            Ok(None) => continue,
            Err(error) => {
                monitor.issue("", error.with_hint());
                continue;
            }
        };
        let content = record.content();
        if content.engine != host.address() {
            monitor.note(&format!(
                "skipped: containers that were stopped at {} through {} (`voltar resume --docker {}`)",
                content.stopped_at, content.engine, content.engine
            ));
            continue;
        }
        let started = start_all(host, &content.containers, monitor);
        started.settle(record)?;
        names.extend(started.names);
        failures.extend(started.failures);
    }
    none_of(&failures).map(|()| names)
}

#[cfg(test)]
mod tests {
    use super::super::fake_host::{FakeHost, container, pair, refs};
    use super::super::stopped::Stopped;
    use super::*;
    use crate::host::inventory::{Container, ContainerState, State};
    use crate::monitor::Collector;

    fn killed(host: &FakeHost, dir: &Path, containers: &[Container]) {
        let monitor = Collector::default();
        Stopped::stop(host, dir, &refs(containers), &monitor).unwrap().leave_stopped();
        host.calls.lock().unwrap().clear();
    }

    #[test]
    fn the_record_of_a_live_run_is_not_a_leftover() {
        let dir = tempfile::tempdir().unwrap();
        let (monitor, containers) = (Collector::default(), pair());
        let host = FakeHost::of(&containers);
        let stopped = Stopped::stop(&host, dir.path(), &refs(&containers), &monitor).unwrap();
        assert!(leftovers(dir.path()).unwrap().0.is_empty());
        assert!(resume(&host, dir.path(), &monitor).unwrap().is_empty());
        stopped.start_again().unwrap();
        killed(&host, dir.path(), &containers);
        let (left, _) = leftovers(dir.path()).unwrap();
        assert_eq!((left.len(), &left[0].engine[..]), (1, "fake"));
        assert_eq!(left[0].names, ["web", "db"]);
        assert!(left[0].when.parse::<jiff::Timestamp>().is_ok());
    }

    #[test]
    fn resume_starts_what_exists_and_is_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let [db, web] = pair();
        let containers = [db, web, container("gone", 4, &[]), container("cache", 3, &[])];
        let host = FakeHost::of(&containers);
        killed(&host, dir.path(), &containers);
        host.remove("idgone");
        host.set("idweb", ContainerState { state: State::Running, ..ContainerState::default() });
        let monitor = Collector::default();
        assert_eq!(resume(&host, dir.path(), &monitor).unwrap(), ["db", "cache"]);
        assert_eq!(host.calls(), ["start iddb", "start idcache"]);
        assert_eq!(monitor.notes(), ["container 'gone' does not exist any more: not started"]);
        assert!(records(dir.path()).unwrap().is_empty());
        assert!(resume(&host, dir.path(), &monitor).unwrap().is_empty());
    }

    /// A job that ran again since, and one that the killed run did not get to, have ended by themselves.
    #[test]
    fn resume_starts_only_what_the_killed_run_stopped() {
        let dir = tempfile::tempdir().unwrap();
        let containers = [container("later", 1, &[]), container("job", 2, &[]), container("web", 3, &[])];
        let host = FakeHost::of(&containers);
        let monitor = Collector::default();
        let stopped = Stopped::stop(&host, dir.path(), &refs(&containers[1..]), &monitor).unwrap();
        stopped.leave_stopped();
        let ended = |started: String| ContainerState { started, ..ContainerState::default() };
        host.set("idlater", ended(containers[0].started.clone()));
        host.set("idjob", ended(jiff::Timestamp::now().to_string()));
        host.calls.lock().unwrap().clear();
        assert_eq!(resume(&host, dir.path(), &monitor).unwrap(), ["web"]);
        assert_eq!(host.calls(), ["start idweb"]);
        assert_eq!(monitor.notes(), ["container 'job' was started and has ended since it was stopped: not started"]);
        assert!(records(dir.path()).unwrap().is_empty());
    }

    #[test]
    fn resume_keeps_the_record_of_what_it_could_not_start() {
        let dir = tempfile::tempdir().unwrap();
        let containers = pair();
        let host = FakeHost::of(&containers).failing(&["start iddb"]);
        killed(&host, dir.path(), &containers);
        let error = resume(&host, dir.path(), &Collector::default()).unwrap_err();
        assert_eq!(error.to_string(), "not every container was started again: cannot start iddb");
        assert!(host.calls().contains(&"start idweb".to_owned()), "the others are started nevertheless");
        assert_eq!(leftovers(dir.path()).unwrap().0[0].names, ["db"]);
    }

    #[test]
    fn resume_tries_again_what_exited_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let containers = [container("db", 1, &[])];
        let host = FakeHost::of(&containers);
        killed(&host, dir.path(), &containers);
        let exited = ContainerState { started: jiff::Timestamp::now().to_string(), ..ContainerState::default() };
        let host = FakeHost { after_start: Some(Box::new(move |_| exited.clone())), ..host };
        for attempt in 1..=2 {
            let error = resume(&host, dir.path(), &Collector::default()).unwrap_err();
            assert!(error.to_string().ends_with("container 'db' was started and exited again with status 0"));
            assert_eq!(host.calls().len(), attempt);
        }
    }

    #[test]
    fn a_record_that_cannot_be_read_blocks_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let host = FakeHost::of(&pair());
        killed(&host, dir.path(), &pair());
        let broken = ["stopped-0-1.json", "stopped-9-1.json"].map(|name| dir.path().join(name));
        std::fs::write(&broken[0], "{").unwrap();
        std::fs::write(&broken[1], "{\"version\":7}").unwrap();
        let (left, unreadable) = leftovers(dir.path()).unwrap();
        assert_eq!((left.len(), unreadable.len()), (1, 2));
        let monitor = Collector::default();
        assert_eq!(resume(&host, dir.path(), &monitor).unwrap(), ["db", "web"]);
        let issues = monitor.issues();
        assert_eq!(issues.len(), 2);
        for (issue, path) in issues.iter().zip(&broken) {
            assert!(issue.message.contains(path.to_str().unwrap()), "{issue:?}");
        }
        assert!(issues[1].message.contains("`voltar resume` of that version"), "{issues:?}");
    }

    #[test]
    fn the_record_of_another_engine_is_skipped() {
        let dir = tempfile::tempdir().unwrap();
        let host = FakeHost::of(&pair());
        killed(&host, dir.path(), &pair());
        let path = records(dir.path()).unwrap().remove(0);
        let text = std::fs::read_to_string(&path).unwrap().replace("\"fake\"", "\"unix:///other\"");
        std::fs::write(&path, text).unwrap();
        let monitor = Collector::default();
        assert!(resume(&host, dir.path(), &monitor).unwrap().is_empty());
        assert!(monitor.notes()[0].contains("`voltar resume --docker unix:///other`"));
        assert_eq!(leftovers(dir.path()).unwrap().0.len(), 1);
    }

    #[test]
    fn a_file_that_is_not_a_record_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(leftovers(&dir.path().join("none")).unwrap().0.is_empty());
        let unreadable = || leftovers(dir.path()).unwrap().1.remove(0);
        std::fs::write(dir.path().join("stopped-1.json"), "{").unwrap();
        let error = unreadable();
        assert!(error.to_string().contains("stopped-1.json"), "{error}");
        std::fs::write(dir.path().join("stopped-1.json"), r#"{"version":2,"hosts":[]}"#).unwrap();
        let error = unreadable();
        assert!(error.to_string().contains("another version"), "its fields may differ: {error}");
    }
}
