//! The record on disk of the containers that a run stops. It is complete before the first container stops,
//! and locked while its run is in progress: a record without a lock is a leftover of a killed run.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind as IoKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use crate::durable::{parent, sync_directory};
use crate::error::{Cause, Error, Result};
use crate::host::inventory::Host;

use super::state_dir::STATE_DIR_VARIABLE;

const PREFIX: &str = "stopped-";
const SUFFIX: &str = ".json";
const VERSION: u32 = 1;
/// A record holds a few names; a larger file is not a record.
const MAX_BYTES: u64 = 4 << 20;

/// One container of a record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) name: String,
}

/// The content of a record.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Content {
    version: u32,
    pub(super) engine: String,
    /// The time as RFC 3339 text.
    pub(super) stopped_at: String,
    pid: u32,
    /// The containers in the order in which they are stopped.
    pub(super) containers: Vec<Entry>,
}

impl Content {
    /// Parses the text of a record; an error includes its hint.
    fn parse(text: &str) -> std::result::Result<Self, (Cause, &'static str)> {
        // The version is checked first, because another version may have other fields.
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let malformed = |cause: serde_json::Error| {
            (cause.into(), "it is not a record of voltar; look which containers it names, and remove it")
        };
        let Versioned { version } = serde_json::from_str(text).map_err(malformed)?;
        if version != VERSION {
            return Err(("written by another version of voltar".into(), "run `voltar resume` of that version"));
        }
        serde_json::from_str(text).map_err(malformed)
    }
}

/// Parses a record from untrusted bytes, for fuzzing.
#[doc(hidden)]
pub fn parse_stop_record(text: &[u8]) -> std::result::Result<(), String> {
    let text = std::str::from_utf8(text).map_err(|cause| cause.to_string())?;
    Content::parse(text).map(|_| ()).map_err(|(cause, _)| cause.to_string())
}

/// A record that this process has locked.
pub(super) struct Record {
    path: PathBuf,
    _lock: Flock<File>,
}

impl Record {
    /// Writes and locks a record under a temporary name and renames it: under its final name a record is
    /// always complete, and locked while its run is in progress.
    pub(super) fn write(state_dir: &Path, host: &dyn Host, entries: &[Entry]) -> Result<Self> {
        let now = jiff::Timestamp::now();
        let content = Content {
            version: VERSION,
            engine: host.address(),
            stopped_at: now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            pid: std::process::id(),
            containers: entries.to_vec(),
        };
        let failed = |cause: Cause| {
            Error::failed_at("cannot record which containers are to be stopped in", state_dir, cause)
                .hint(format!("run voltar as root, or set {STATE_DIR_VARIABLE} to a directory that you can write"))
        };
        let text = serde_json::to_string_pretty(&content).map_err(|cause| failed(cause.into()))?;
        if !state_dir.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(state_dir).map_err(|cause| failed(cause.into()))?;
            sync_directory(parent(state_dir)).map_err(|cause| failed(cause.into()))?;
        }
        let name = format!("{PREFIX}{}-{}", now.as_nanosecond(), std::process::id());
        let temporary = state_dir.join(format!(".{name}.tmp"));
        let path = state_dir.join(name + SUFFIX);
        let written = Self::write_at(&temporary, &path, &text);
        if written.is_err() {
            // The failure to write is what gets reported.
            std::fs::remove_file(&temporary).unwrap_or_default();
        }
        let lock = written.map_err(|cause| failed(cause.into()))?;
        sync_directory(state_dir).map_err(|cause| failed(cause.into()))?;
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

    pub(super) fn remove(self) -> Result<()> {
        let removed = std::fs::remove_file(&self.path).and_then(|()| sync_directory(parent(&self.path)));
        removed.map_err(|cause| Error::failed_at("cannot remove", &self.path, cause))
    }

    /// Locks the record of a run that has ended. `None` while that run is in progress, or when another process has
    /// locked or removed the record first.
    pub(super) fn take_over(path: &Path, how: FlockArg) -> Result<Option<(Self, Content)>> {
        let failed = |cause: Cause| Error::failed_at("cannot read", path, cause);
        let file = match File::open(path) {
            Ok(file) => file,
            Err(cause) if cause.kind() == IoKind::NotFound => return Ok(None),
            Err(cause) => return Err(failed(cause.into())),
        };
        let mut lock = match Flock::lock(file, how) {
            Ok(lock) => lock,
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => return Ok(None),
            Err((_, errno)) => return Err(failed(errno.into())),
        };
        // The record was removed between the open and the lock.
        if lock.metadata().map_err(|cause| failed(cause.into()))?.nlink() == 0 {
            return Ok(None);
        }
        let mut text = String::new();
        (&mut *lock).take(MAX_BYTES).read_to_string(&mut text).map_err(|cause| failed(cause.into()))?;
        let content = Content::parse(&text).map_err(|(cause, hint)| failed(cause).hint(hint))?;
        Ok(Some((Self { path: path.to_owned(), _lock: lock }, content)))
    }
}

/// Returns the paths of all records, oldest first: their names begin with the time. A directory that does not exist,
/// or that this user may not read, counts as empty.
pub(super) fn records(state_dir: &Path) -> Result<Vec<PathBuf>> {
    let failed = |cause: std::io::Error| Error::failed_at("cannot read", state_dir, cause);
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
        if name.starts_with(PREFIX.as_bytes()) && name.ends_with(SUFFIX.as_bytes()) {
            records.push(entry.path());
        }
    }
    records.sort();
    Ok(records)
}
