//! Stopping containers and bringing exactly those back. What is to be stopped is on disk before the first
//! one is, so that after a `kill -9` the next run knows, and `voltar resume` can start them.

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::{Container, Host, State};
use crate::error::{Error, Result};
use crate::member::printable;
use crate::monitor::{Event, Monitor};

/// Where records are kept unless `VOLTAR_STATE_DIR` says otherwise.
pub const STATE_DIR: &str = "/var/lib/voltar";

const PREFIX: &str = "stopped-";
const ENDING: &str = ".json";

/// What was stopped, in the order of stopping.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    host: String,
    since: String,
    containers: Vec<Recorded>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Recorded {
    id: String,
    name: String,
}

/// Containers that are stopped on our account. Dropping it starts them again.
pub struct Stopped<'a> {
    host: &'a dyn Host,
    monitor: &'a dyn Monitor,
    record: Option<(PathBuf, Flock<File>)>,
    /// Those whose stopping was begun, in that order.
    containers: Vec<Recorded>,
}

/// Containers that a killed run left stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// Their names.
    pub names: Vec<String>,
    /// Since when, as an RFC 3339 text.
    pub since: String,
    /// The engine they belong to.
    pub host: String,
}

impl<'a> Stopped<'a> {
    /// Stops `containers`, dependents first.
    ///
    /// # Errors
    /// Those already stopped run again by then.
    pub fn stop(
        host: &'a dyn Host,
        monitor: &'a dyn Monitor,
        state_dir: &Path,
        containers: &[Container],
    ) -> Result<Self> {
        let order = stop_order(containers);
        let record = Record {
            host: host.address(),
            since: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            containers: order.iter().map(|c| Recorded { id: c.id.clone(), name: c.name.clone() }).collect(),
        };
        let kept = keep(state_dir, &record)?;
        let mut stopped = Self { host, monitor, record: Some(kept), containers: Vec::new() };
        for container in record.containers {
            monitor.check_cancelled()?;
            let name = container.name.clone();
            // Listed first: one that is stopped while its answer is lost must come back too.
            let id = container.id.clone();
            stopped.containers.push(container);
            host.stop(&id).map_err(|error| error.within(format!("cannot stop container '{}'", printable(name.as_bytes()))))?;
            monitor.event(&Event::ContainerStopped(&name));
        }
        Ok(stopped)
    }

    /// Starts all of them again, in reverse order, even where one of them fails.
    pub fn start_again(mut self) -> Result<()> {
        self.start_all()
    }

    fn start_all(&mut self) -> Result<()> {
        let containers = std::mem::take(&mut self.containers);
        let failed = start(self.host, self.monitor, containers.iter().rev());
        let Some((path, lock)) = self.record.take() else { return Ok(()) };
        if failed.is_empty() {
            // While the lock is held nobody takes the record for a leftover.
            let removed = fs::remove_file(&path);
            drop(lock);
            return removed.map_err(|e| Error::failed("cannot remove", path.as_os_str().as_bytes(), e));
        }
        let mut errors = failed.into_iter();
        let first = errors.next().unwrap_or_else(|| Error::refused("containers were not started again"));
        Err(first.and(errors.collect()).hint("start them by hand, or with `voltar resume` once the cause is mended"))
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        if self.record.is_some()
            && let Err(error) = self.start_all()
        {
            let mut all = vec![error.to_string()];
            all.extend(error.others().iter().map(ToString::to_string));
            for message in all {
                self.monitor.issue("", message);
            }
        }
    }
}

fn start<'r>(
    host: &dyn Host,
    monitor: &dyn Monitor,
    containers: impl Iterator<Item = &'r Recorded>,
) -> Vec<Error> {
    let mut failed = Vec::new();
    for container in containers {
        match host.start(&container.id) {
            Ok(()) => monitor.event(&Event::ContainerStarted(&container.name)),
            Err(error) => failed.push(
                error.within(format!("cannot start container '{}' again", printable(container.name.as_bytes()))),
            ),
        }
    }
    failed
}

/// Dependents before what they depend on; among equals the youngest first, since compose creates what others
/// need before them.
fn stop_order(containers: &[Container]) -> Vec<&Container> {
    let mut youngest: Vec<&Container> = containers.iter().collect();
    youngest.sort_by(|a, b| b.created.cmp(&a.created).then_with(|| b.name.cmp(&a.name)));
    let mut needed_by: HashMap<&str, Vec<&Container>> = HashMap::new();
    for container in &youngest {
        for needed in &container.depends_on {
            let meant = youngest.iter().filter(|other| {
                other.id != container.id
                    && (other.name == *needed
                        || other.id == *needed
                        || (other.service.as_ref() == Some(needed) && other.project == container.project))
            });
            meant.for_each(|other| needed_by.entry(&other.id).or_default().push(container));
        }
    }
    let mut order = Vec::with_capacity(containers.len());
    let mut seen = HashSet::new();
    // Each after all that need it; a circle is cut where it is met. An explicit stack: depth is not ours.
    for container in &youngest {
        let mut stack = vec![(*container, false)];
        while let Some((container, dependents_done)) = stack.pop() {
            if dependents_done {
                order.push(container);
                continue;
            }
            if !seen.insert(&container.id) {
                continue;
            }
            stack.push((container, true));
            let dependents = needed_by.get(container.id.as_str()).map(Vec::as_slice).unwrap_or_default();
            stack.extend(dependents.iter().rev().map(|dependent| (*dependent, false)));
        }
    }
    order
}

fn keep(state_dir: &Path, record: &Record) -> Result<(PathBuf, Flock<File>)> {
    let path = state_dir.join(format!("{PREFIX}{}-{}{ENDING}", record.since.replace(':', ""), std::process::id()));
    let failed = |e: &dyn std::fmt::Display| {
        Error::failed("cannot note which containers will be stopped in", path.as_os_str().as_bytes(), e)
            .hint("nothing was stopped; VOLTAR_STATE_DIR names another folder")
    };
    DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(|e| failed(&e))?;
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(|e| failed(&e))?;
    let mut lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, e)| failed(&e))?;
    let text = serde_json::to_vec_pretty(record).map_err(|e| failed(&e))?;
    let written = lock.write_all(&text).and_then(|()| lock.sync_all());
    written.and_then(|()| File::open(state_dir)?.sync_all()).map_err(|e| failed(&e))?;
    Ok((path, lock))
}

/// Records whose run is dead. Records of living runs are locked.
fn dead_records(state_dir: &Path) -> Result<Vec<(PathBuf, Flock<File>, Record)>> {
    let failed = |path: &Path, e: &dyn std::fmt::Display| Error::failed("cannot read", path.as_os_str().as_bytes(), e);
    let entries = match fs::read_dir(state_dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(|e| failed(state_dir, &e))?,
    };
    let mut records = Vec::new();
    for entry in entries {
        let path = entry.map_err(|e| failed(state_dir, &e))?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !name.starts_with(PREFIX) || !name.ends_with(ENDING) {
            continue;
        }
        let file = match File::open(&path) {
            // Its run has just ended.
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
            other => other.map_err(|e| failed(&path, &e))?,
        };
        let Ok(lock) = Flock::lock(file, FlockArg::LockExclusiveNonblock) else { continue };
        let Ok(text) = fs::read(&path) else { continue };
        if text.is_empty() {
            // Killed before a word was written, and so before anything was stopped.
            fs::remove_file(&path).map_err(|e| failed(&path, &e))?;
            continue;
        }
        let record = serde_json::from_slice(&text).map_err(|e| {
            failed(&path, &e).hint("it notes containers that an interrupted run stopped; remove it once they run")
        })?;
        records.push((path, lock, record));
    }
    records.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    Ok(records)
}

/// What killed runs left stopped.
pub fn leftovers(state_dir: &Path) -> Result<Vec<Leftover>> {
    let records = dead_records(state_dir)?.into_iter();
    Ok(records
        .map(|(_, _, record)| Leftover {
            names: record.containers.into_iter().map(|container| container.name).collect(),
            since: record.since,
            host: record.host,
        })
        .collect())
}

/// Starts what killed runs left stopped, and forgets it. Gives the names of those started.
pub fn resume(host: &dyn Host, monitor: &dyn Monitor, state_dir: &Path) -> Result<Vec<String>> {
    let records = dead_records(state_dir)?;
    if records.is_empty() {
        return Ok(Vec::new());
    }
    let inventory = host.inventory()?;
    let mut started = Vec::new();
    let mut failed = Vec::new();
    for (path, _lock, record) in records {
        let mut stopped = Vec::new();
        for container in record.containers.iter().rev() {
            match inventory.containers.iter().find(|known| known.id == container.id).map(|known| known.state) {
                Some(State::Stopped) => stopped.push(container.clone()),
                Some(State::Running | State::Paused) => {}
                None => monitor.note(&format!("container '{}' does not exist any more", printable(container.name.as_bytes()))),
            }
        }
        let errors = start(host, monitor, stopped.iter());
        if errors.is_empty() {
            fs::remove_file(&path).map_err(|e| Error::failed("cannot remove", path.as_os_str().as_bytes(), e))?;
            started.extend(stopped.into_iter().map(|container| container.name));
        }
        failed.extend(errors);
    }
    let mut failed = failed.into_iter();
    match failed.next() {
        None => Ok(started),
        Some(first) => Err(first.and(failed.collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Inventory;
    use crate::monitor::Collector;
    use std::sync::Mutex;

    fn container(name: &str, created: &str, depends_on: &[&str]) -> Container {
        Container {
            id: format!("id-{name}"),
            name: name.to_owned(),
            state: State::Running,
            created: created.to_owned(),
            depends_on: depends_on.iter().map(|&name| name.to_owned()).collect(),
            ..Container::default()
        }
    }

    #[derive(Default)]
    struct FakeHost {
        calls: Mutex<Vec<String>>,
        refuses: &'static str,
        known: Vec<Container>,
    }

    impl FakeHost {
        fn call(&self, call: String) -> Result<()> {
            let refused = call == self.refuses;
            self.calls.lock().unwrap().push(call);
            if refused { Err(Error::refused("no")) } else { Ok(()) }
        }

        fn calls(&self) -> String {
            self.calls.lock().unwrap().join(" ")
        }
    }

    impl Host for FakeHost {
        fn describe(&self) -> String {
            "fake".to_owned()
        }
        fn inventory(&self) -> Result<Inventory> {
            Ok(Inventory { containers: self.known.clone(), ..Inventory::default() })
        }
        fn stop(&self, id: &str) -> Result<()> {
            self.call(format!("stop:{id}"))
        }
        fn start(&self, id: &str) -> Result<()> {
            self.call(format!("start:{id}"))
        }
    }

    fn stack() -> Vec<Container> {
        vec![container("db", "1", &[]), container("app", "2", &["db"]), container("proxy", "3", &["app"])]
    }

    #[test]
    fn dependents_stop_first_and_start_last() {
        let dir = tempfile::tempdir().unwrap();
        let (host, monitor) = (FakeHost::default(), Collector::default());
        let stopped = Stopped::stop(&host, &monitor, dir.path(), &stack()).unwrap();
        assert!(leftovers(dir.path()).unwrap().is_empty(), "a living run's record is no leftover");
        stopped.start_again().unwrap();
        assert_eq!(
            host.calls(),
            "stop:id-proxy stop:id-app stop:id-db start:id-db start:id-app start:id-proxy"
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_needs_others_stops_before_them_whatever_their_age() {
        let names = |containers: &[Container]| -> Vec<String> {
            stop_order(containers).iter().map(|container| container.name.clone()).collect()
        };
        assert_eq!(names(&[container("old", "1", &["new"]), container("new", "2", &[])]), ["old", "new"]);
        assert_eq!(names(&[container("a", "1", &["b"]), container("b", "2", &["a"])]).len(), 2);
        assert_eq!(names(&[container("a", "1", &[]), container("b", "2", &[])]), ["b", "a"]);
    }

    #[test]
    fn every_way_out_starts_them_again() {
        let dir = tempfile::tempdir().unwrap();
        let host = FakeHost { refuses: "stop:id-app", ..FakeHost::default() };
        let error = Stopped::stop(&host, &Collector::default(), dir.path(), &stack()).err().unwrap();
        assert_eq!(error.to_string(), "cannot stop container 'app': no");
        assert_eq!(host.calls(), "stop:id-proxy stop:id-app start:id-app start:id-proxy");

        let host = FakeHost::default();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let monitor = Collector::default();
            let _stopped = Stopped::stop(&host, &monitor, dir.path(), &stack()[..1]).unwrap();
            panic!("on purpose");
        }));
        assert!(panicked.is_err());
        assert_eq!(host.calls(), "stop:id-db start:id-db");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn one_that_does_not_start_does_not_keep_the_others_down() {
        let dir = tempfile::tempdir().unwrap();
        let (host, monitor) = (FakeHost { refuses: "start:id-db", ..FakeHost::default() }, Collector::default());
        let error = Stopped::stop(&host, &monitor, dir.path(), &stack()).unwrap().start_again().unwrap_err();
        assert_eq!(error.to_string(), "cannot start container 'db' again: no");
        assert!(host.calls().ends_with("start:id-db start:id-app start:id-proxy"));
        assert_eq!(leftovers(dir.path()).unwrap().len(), 1, "the record stays for `voltar resume`");
    }

    #[test]
    fn a_killed_runs_containers_are_resumed() {
        let dir = tempfile::tempdir().unwrap();
        let monitor = Collector::default();
        let host = FakeHost::default();
        let mut stopped = Stopped::stop(&host, &monitor, dir.path(), &stack()).unwrap();
        // What `kill -9` leaves: the record without its lock.
        drop(stopped.record.take());
        drop(stopped);
        let left = leftovers(dir.path()).unwrap();
        assert_eq!(left[0].names, ["proxy", "app", "db"]);
        let mut known = stack();
        known[0].state = State::Stopped;
        known.remove(2);
        let host = FakeHost { known, ..FakeHost::default() };
        assert_eq!(resume(&host, &monitor, dir.path()).unwrap(), ["db"]);
        assert_eq!(host.calls(), "start:id-db");
        assert!(monitor.notes()[0].contains("'proxy' does not exist any more"));
        assert!(leftovers(dir.path()).unwrap().is_empty());
    }

    #[test]
    fn nothing_is_stopped_that_could_not_be_noted() {
        let host = FakeHost::default();
        let error = Stopped::stop(&host, &Collector::default(), Path::new("/proc/no/such"), &stack()).err().unwrap();
        assert!(error.to_string().starts_with("cannot note which containers will be stopped in"), "{error}");
        assert_eq!(host.calls(), "");
    }
}
