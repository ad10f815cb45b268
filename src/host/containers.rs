//! Who must stop, in which order, and that they come back: on every way out of a run, and through
//! `resume` even after a `kill -9`. Which containers those are is `plan`'s to say.
//!
//! What is going to be stopped is on disk before the first container stops. The record is locked for as
//! long as its run lives, so that a leftover can be told from the record of a run that is still at work.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind as IoKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::monitor::{Event, Monitor};

use super::{Container, Host, State};

/// Moves the records elsewhere, for those who run voltar without being root.
pub const STATE_DIR_VARIABLE: &str = "VOLTAR_STATE_DIR";

const DEFAULT_STATE_DIR: &str = "/var/lib/voltar";
const RECORD_PREFIX: &str = "stopped-";
const RECORD_SUFFIX: &str = ".json";
const RECORD_VERSION: u32 = 1;
/// A record holds a few names; anything larger is not one.
const MAX_RECORD_BYTES: u64 = 4 << 20;

/// Where records of stopped containers are kept.
#[must_use]
pub fn state_dir() -> PathBuf {
    match std::env::var_os(STATE_DIR_VARIABLE) {
        Some(dir) if !dir.is_empty() => dir.into(),
        _ => DEFAULT_STATE_DIR.into(),
    }
}

/// The order in which these containers are stopped: whoever needs another one goes before it, and among
/// those that do not care the one created last goes first. A cycle is cut at its youngest member.
#[must_use]
pub fn stop_order<'a>(containers: &[&'a Container]) -> Vec<&'a Container> {
    let mut waiting: Vec<&Container> = containers.to_vec();
    // Oldest first: the last one is always the best choice among equals.
    waiting.sort_by(|a, b| created(a).cmp(&created(b)).then_with(|| b.name.cmp(&a.name)));
    let mut order = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let needed = |one: &Container| waiting.iter().any(|other| other.id != one.id && needs(other, one));
        let next = waiting.iter().rposition(|one| !needed(one)).unwrap_or(waiting.len() - 1);
        order.push(waiting.remove(next));
    }
    order
}

/// Engines trim the zeros of a fraction, so the texts do not sort as the times do.
fn created(container: &Container) -> Option<jiff::Timestamp> {
    container.created.parse().ok()
}

fn needs(dependent: &Container, other: &Container) -> bool {
    let same_project = dependent.project == other.project;
    dependent.depends_on.iter().any(|reference| {
        *reference == other.name
            || *reference == other.id
            || (same_project && other.service.as_ref() == Some(reference))
    })
}

/// Containers that were stopped for the sake of a run. They are started again when this is dropped.
#[must_use = "dropping it starts the containers again"]
pub struct Stopped<'a> {
    host: &'a dyn Host,
    monitor: &'a dyn Monitor,
    /// In the order in which they were stopped.
    entries: Vec<Entry>,
    record: Option<Record>,
}

impl<'a> Stopped<'a> {
    /// Stops those of the containers that run, dependents first. When that fails half way, or somebody
    /// asks to stop meanwhile, those already stopped are started again.
    pub fn stop(
        host: &'a dyn Host,
        state_dir: &Path,
        containers: &[&Container],
        monitor: &'a dyn Monitor,
    ) -> Result<Self> {
        can_come_back(containers)?;
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
            // Before the attempt: a stop that times out here may still happen there.
            self.entries.push(entry.clone());
            self.host.stop(&entry.id)?;
            self.monitor.event(&Event::ContainerStopped(&entry.name));
        }
        self.monitor.check_cancelled()
    }

    /// How many containers this guards.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    /// Starts them again in reverse order. Every one is tried; the record goes when all are up.
    pub fn start_again(mut self) -> Result<()> {
        self.bring_back()
    }

    fn bring_back(&mut self) -> Result<()> {
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
        if let Err(error) = self.bring_back() {
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

fn not_all_started(failures: &[String]) -> Error {
    Error::new(ErrorKind::Failed, format!("not every container was started again: {}", failures.join("; ")))
        .hint("`voltar resume` tries again")
}

/// Refuses what could not be brought back as it was.
fn can_come_back(containers: &[&Container]) -> Result<()> {
    let listed = |unfit: &dyn Fn(&Container) -> bool| -> String {
        let names: Vec<String> = containers
            .iter()
            .filter(|container| unfit(container))
            .map(|container| format!("'{}'", container.name))
            .collect();
        names.join(", ")
    };
    let paused = listed(&|container| container.state == State::Paused);
    if !paused.is_empty() {
        return Err(Error::refused(format!("paused, and could not be stopped and brought back as before: {paused}"))
            .hint("`docker unpause` or `docker stop` them first"));
    }
    let passing = listed(&|container| container.state == State::Running && container.auto_remove);
    if !passing.is_empty() {
        return Err(Error::refused(format!("made with --rm, and would be deleted when they stop: {passing}"))
            .hint("stop them yourself, or wait until they are done"));
    }
    Ok(())
}

// -- the record on disk ------------------------------------------------------------------------------

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Entry {
    id: String,
    name: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Content {
    version: u32,
    engine: String,
    /// RFC 3339.
    stopped_at: String,
    pid: u32,
    /// In the order in which they are stopped.
    containers: Vec<Entry>,
}

/// A record whose lock is ours.
struct Record {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Record {
    /// Writes it under a temporary name and locks it there: under its final name a record is always
    /// complete, and locked while its run lives.
    fn write(state_dir: &Path, host: &dyn Host, entries: &[Entry]) -> Result<Self> {
        let now = jiff::Timestamp::now();
        let content = Content {
            version: RECORD_VERSION,
            engine: host.address(),
            stopped_at: now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            pid: std::process::id(),
            containers: entries.to_vec(),
        };
        let failed = |cause: &dyn std::fmt::Display| {
            Error::failed("cannot note down what is to be stopped in", state_dir.as_os_str().as_encoded_bytes(), cause)
                .hint(format!("run voltar as root, or set {STATE_DIR_VARIABLE} to a directory of your own"))
        };
        let text = serde_json::to_string_pretty(&content).map_err(|cause| failed(&cause))?;
        if !state_dir.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(|cause| failed(&cause))?;
            sync_dir(state_dir.parent().unwrap_or(Path::new("/"))).map_err(|cause| failed(&cause))?;
        }
        let name = format!("{RECORD_PREFIX}{}-{}", now.as_nanosecond(), std::process::id());
        let temporary = state_dir.join(format!(".{name}.tmp"));
        let path = state_dir.join(name + RECORD_SUFFIX);
        let written = Self::write_at(&temporary, &path, &text);
        if written.is_err() {
            // What is left of the attempt is of no use; that it failed is what gets reported.
            std::fs::remove_file(&temporary).unwrap_or_default();
        }
        let lock = written.map_err(|cause| failed(&cause))?;
        sync_dir(state_dir).map_err(|cause| failed(&cause))?;
        Ok(Self { path, _lock: lock })
    }

    fn write_at(temporary: &Path, path: &Path, text: &str) -> std::io::Result<Flock<File>> {
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(temporary)?;
        let mut lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno)?;
        lock.write_all(text.as_bytes())?;
        lock.sync_all()?;
        std::fs::rename(temporary, path)?;
        Ok(lock)
    }

    fn remove(self) -> Result<()> {
        let gone =
            std::fs::remove_file(&self.path).and_then(|()| sync_dir(self.path.parent().unwrap_or(Path::new("/"))));
        gone.map_err(|cause| Error::failed("cannot remove", self.path.as_os_str().as_encoded_bytes(), cause))
    }

    /// Takes over what an ended run left. `None` while that run lives, or when somebody else was faster.
    fn take_over(path: &Path, how: FlockArg) -> Result<Option<(Self, Content)>> {
        let failed =
            |cause: &dyn std::fmt::Display| Error::failed("cannot read", path.as_os_str().as_encoded_bytes(), cause);
        let file = match File::open(path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == IoKind::NotFound => return Ok(None),
            Err(cause) => return Err(failed(&cause)),
        };
        let mut lock = match Flock::lock(file, how) {
            Ok(lock) => lock,
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => return Ok(None),
            Err((_, errno)) => return Err(failed(&errno)),
        };
        if lock.metadata().map_err(|cause| failed(&cause))?.nlink() == 0 {
            return Ok(None);
        }
        let mut text = String::new();
        (&mut *lock).take(MAX_RECORD_BYTES).read_to_string(&mut text).map_err(|cause| failed(&cause))?;
        let content: Content = serde_json::from_str(&text).map_err(|cause| {
            failed(&cause).hint("it is no record of voltar's; look which containers it names, and remove it")
        })?;
        if content.version != RECORD_VERSION {
            return Err(failed(&"written by a later version of voltar").hint("run `voltar resume` of that version"));
        }
        Ok(Some((Self { path: path.to_owned(), _lock: lock }, content)))
    }
}

fn sync_dir(dir: &Path) -> std::io::Result<()> {
    // `Path::parent` of a bare name is empty.
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    File::open(dir)?.sync_all()
}

// -- after an interrupted run ------------------------------------------------------------------------

/// What a run that was killed left stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// The names of the containers it was about to stop, or had stopped.
    pub nlink: Vec<String>,
    /// When, as an RFC 3339 text.
    pub when: String,
    /// The engine's address.
    pub engine: String,
}

/// The records of runs that ended without starting their containers again. A directory that is not there,
/// or not ours to read, holds none of ours.
pub fn leftovers(state_dir: &Path) -> Result<Vec<Leftover>> {
    let mut leftovers = Vec::new();
    for path in records(state_dir)? {
        // Shared: two commands that look at the same time must not take each other for a living run.
        let Some((_, content)) = Record::take_over(&path, FlockArg::LockSharedNonblock)? else { continue };
        leftovers.push(Leftover {
            names: content.containers.into_iter().map(|entry| entry.name).collect(),
            when: content.stopped_at,
            engine: content.engine,
        });
    }
    Ok(leftovers)
}

/// Starts what interrupted runs left stopped, and returns the names of those it started. A container that
/// is gone by now, or a record of another engine, is a note.
pub fn resume(host: &dyn Host, state_dir: &Path, monitor: &dyn Monitor) -> Result<Vec<String>> {
    let mut started = Vec::new();
    let mut failures = Vec::new();
    let mut inventory = None;
    for path in records(state_dir)? {
        let Some((record, content)) = Record::take_over(&path, FlockArg::LockExclusiveNonblock)? else { continue };
        if content.engine != host.address() {
            monitor.note(&format!(
                "left alone: what was stopped at {} through {} (`voltar resume --docker {}`)",
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
                None => monitor.note(&format!("container '{}' is gone; there is nothing to start", entry.name)),
                Some(container) if container.state != State::Stopped => {}
                Some(_) => match host.start(&entry.id) {
                    Ok(()) => {
                        monitor.event(&Event::ContainerStarted(&entry.name));
                        started.push(entry.name.clone());
                    }
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

/// Oldest first: their names begin with the time.
fn records(state_dir: &Path) -> Result<Vec<PathBuf>> {
    let failed = |cause: std::io::Error| Error::failed("cannot read", state_dir.as_os_str().as_encoded_bytes(), cause);
    let entries = match std::fs::read_dir(state_dir) {
        Ok(entries) => entries,
        Err(cause) if matches!(cause.kind(), IoKind::NotFound | IoKind::PermissionDenied) => return Ok(Vec::new()),
        Err(cause) => return Err(failed(cause)),
    };
    let mut records = Vec::new();
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let name = entry.file_name();
        let name = name.as_encoded_bytes();
        if name.starts_with(RECORD_PREFIX.as_bytes()) && name.ends_with(RECORD_SUFFIX.as_bytes()) {
            records.push(entry.path());
        }
    }
    records.sort();
    Ok(records)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::host::Inventory;
    use crate::monitor::Collector;

    fn container(name: &str, second: u32, depends_on: &[&str]) -> Container {
        Container {
            id: format!("id{name}"),
            name: name.to_owned(),
            state: State::Running,
            created: format!("2026-01-01T00:00:{second:02}Z"),
            depends_on: depends_on.iter().map(|&name| name.to_owned()).collect(),
            ..Container::default()
        }
    }

    fn order(containers: &[Container]) -> Vec<String> {
        stop_order(&containers.iter().collect::<Vec<_>>()).iter().map(|one| one.name.clone()).collect()
    }

    #[test]
    fn dependents_stop_before_what_they_need() {
        let chain = [container("db", 3, &[]), container("web", 1, &["server"]), container("server", 2, &["db"])];
        assert_eq!(order(&chain), ["web", "server", "db"]);
    }

    #[test]
    fn among_equals_the_youngest_stops_first() {
        let equals = [container("a", 1, &[]), container("c", 3, &[]), container("b", 2, &[])];
        assert_eq!(order(&equals), ["c", "b", "a"]);
        let fraction = |text: &str| format!("2026-01-01T00:00:00{text}");
        let whole = Container { created: fraction("Z"), ..container("whole", 0, &[]) };
        let later = Container { created: fraction(".5Z"), ..container("later", 0, &[]) };
        assert_eq!(order(&[later, whole]), ["later", "whole"]);
    }

    #[test]
    fn ids_count_anywhere_and_services_in_their_project() {
        let of = |project: &str, container: Container| Container {
            project: Some(project.to_owned()),
            service: Some("db".to_owned()),
            ..container
        };
        let young = of("b", container("b-db-1", 9, &[]));
        let own = of("a", container("a-db-1", 8, &[]));
        let web = Container {
            project: Some("a".to_owned()),
            depends_on: vec!["db".to_owned()],
            ..container("a-web-1", 1, &[])
        };
        assert_eq!(order(&[own, web, young]), ["b-db-1", "a-web-1", "a-db-1"]);
        assert_eq!(order(&[container("net", 9, &[]), container("guest", 1, &["idnet"])]), ["guest", "net"]);
    }

    #[test]
    fn cycles_end() {
        let cycle = [container("a", 1, &["b"]), container("b", 2, &["a"]), container("self", 3, &["self"])];
        assert_eq!(order(&cycle), ["self", "b", "a"]);
    }

    /// Remembers what it was told, and fails where told to.
    #[derive(Default)]
    struct FakeHost {
        calls: Mutex<Vec<String>>,
        fail: Vec<String>,
        containers: Vec<Container>,
        /// Looked into at each stop: how many records there are.
        state_dir: Option<PathBuf>,
    }

    impl FakeHost {
        fn failing(fail: &[&str]) -> Self {
            Self { fail: fail.iter().map(|&call| call.to_owned()).collect(), ..Self::default() }
        }

        fn call(&self, call: String) -> Result<()> {
            let failed = self.fail.contains(&call);
            let error = Error::refused(format!("cannot {call}"));
            self.calls.lock().unwrap().push(call);
            if failed { Err(error) } else { Ok(()) }
        }

        fn calls(&self) -> Vec<String> {
            self.calls.lock().unwrap().clone()
        }
    }

    impl Host for FakeHost {
        fn describe(&self) -> String {
            "fake".to_owned()
        }

        fn inventory(&self) -> Result<Inventory> {
            Ok(Inventory { containers: self.containers.clone(), ..Inventory::default() })
        }

        fn stop(&self, id: &str) -> Result<()> {
            if let Some(dir) = &self.state_dir {
                let record = std::fs::read_to_string(&records(dir).unwrap()[0]).unwrap();
                assert!(record.contains(id), "on disk before it is stopped");
            }
            self.call(format!("stop {id}"))
        }

        fn start(&self, id: &str) -> Result<()> {
            self.call(format!("start {id}"))
        }
    }

    fn pair() -> [Container; 2] {
        [container("db", 1, &[]), container("web", 2, &["db"])]
    }

    fn refs(containers: &[Container]) -> Vec<&Container> {
        containers.iter().collect()
    }

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
    fn only_running_ones_are_touched() {
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
    fn every_way_out_starts_them() {
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
        // The one that failed may have stopped all the same.
        assert_eq!(host.calls(), ["stop idweb", "stop iddb", "start iddb", "start idweb"]);
        assert!(records(dir.path()).unwrap().is_empty());
    }

    #[test]
    fn whoever_cannot_be_started_is_named_and_kept_on_record() {
        let dir = tempfile::tempdir().unwrap();
        let host = FakeHost::failing(&["start iddb", "start idweb"]);
        let (containers, monitor) = (pair(), Collector::default());
        let error = Stopped::stop(&host, dir.path(), &refs(&containers), &monitor).unwrap().start_again().unwrap_err();
        assert_eq!(error.to_string(), "not every container was started again: cannot start iddb; cannot start idweb");
        assert_eq!(leftovers(dir.path()).unwrap()[0].names, ["web", "db"]);
        drop(Stopped::stop(&host, dir.path(), &refs(&containers), &monitor).unwrap());
        assert_eq!(monitor.issues().len(), 1, "a guard that is dropped tells the monitor");
        assert!(monitor.issues()[0].message.contains("voltar resume"));
    }

    /// Asked to stop after so many questions.
    struct Impatient(AtomicUsize);

    impl Monitor for Impatient {
        fn event(&self, _: &Event<'_>) {}

        fn cancelled(&self) -> bool {
            self.0.fetch_sub(1, Ordering::Relaxed) == 1
        }
    }

    #[test]
    fn whoever_interrupts_the_stopping_finds_all_running() {
        let dir = tempfile::tempdir().unwrap();
        let host = FakeHost::default();
        let containers = pair();
        let monitor = Impatient(AtomicUsize::new(2));
        let error = Stopped::stop(&host, dir.path(), &refs(&containers), &monitor).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        assert_eq!(host.calls(), ["stop idweb", "start idweb"]);
        let monitor = Impatient(AtomicUsize::new(3));
        assert!(Stopped::stop(&host, dir.path(), &refs(&containers), &monitor).is_err());
        assert_eq!(host.calls().len(), 2 + 4);
    }

    #[test]
    fn paused_and_passing_containers_are_refused_before_anything_stops() {
        let dir = tempfile::tempdir().unwrap();
        let (host, monitor) = (FakeHost::default(), Collector::default());
        let mut containers = pair();
        containers[0].state = State::Paused;
        let error = Stopped::stop(&host, dir.path(), &refs(&containers), &monitor).unwrap_err();
        assert_eq!(error.to_string(), "paused, and could not be stopped and brought back as before: 'db'");
        containers[0].state = State::Running;
        containers[0].auto_remove = true;
        let error = Stopped::stop(&host, dir.path(), &refs(&containers), &monitor).unwrap_err();
        assert_eq!(error.to_string(), "made with --rm, and would be deleted when they stop: 'db'");
        assert!(host.calls().is_empty());
    }

    #[test]
    fn nothing_is_stopped_that_cannot_be_noted_down() {
        let (host, monitor, containers) = (FakeHost::default(), Collector::default(), pair());
        let error = Stopped::stop(&host, Path::new("/proc/voltar"), &refs(&containers), &monitor).unwrap_err();
        assert!(error.to_string().starts_with("cannot note down what is to be stopped in '/proc/voltar': "));
        assert!(host.calls().is_empty());
    }

    /// As `kill -9` leaves it: the lock goes with the process, the record stays.
    fn killed(host: &FakeHost, dir: &Path, containers: &[Container]) {
        let monitor = Collector::default();
        let mut stopped = Stopped::stop(host, dir, &refs(containers), &monitor).unwrap();
        drop(stopped.record.take());
        stopped.entries.clear();
    }

    #[test]
    fn a_living_record_is_no_leftover() {
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
    fn resume_starts_what_is_there_and_down() {
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
        assert_eq!(monitor.notes(), ["container 'gone' is gone; there is nothing to start"]);
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
        assert!(host.calls().contains(&"start idweb".to_owned()), "the others are tried all the same");
        assert_eq!(leftovers(dir.path()).unwrap().len(), 1);
    }

    #[test]
    fn another_engines_record_is_left_alone() {
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
    fn what_is_no_record_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(leftovers(&dir.path().join("none")).unwrap().is_empty());
        std::fs::write(dir.path().join("stopped-1.json"), "{").unwrap();
        let error = leftovers(dir.path()).unwrap_err();
        assert!(error.to_string().contains("stopped-1.json"), "{error}");
        let later = r#"{"version":2,"engine":"","stopped_at":"","pid":1,"containers":[]}"#;
        std::fs::write(dir.path().join("stopped-1.json"), later).unwrap();
        assert!(leftovers(dir.path()).unwrap_err().to_string().contains("later version"));
    }
}
