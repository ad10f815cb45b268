//! The record on disk of the volumes that a restore creates. They are on it before the engine is asked for the first, and
//! it goes when the restore is complete, or when they are removed again. It is locked while its run is in progress.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use nix::fcntl::FlockArg;
use serde::{Deserialize, Serialize};

use crate::durable::record::{self, LockedRecord};
use crate::durable::state_dir;
use crate::error::{Cause, Error, Result};
use crate::host::{Host, NewVolume};

/// The begin of a record's name.
const KIND: &str = "created";
const VERSION: u32 = 1;

/// The content of a record.
#[derive(Debug, Serialize, Deserialize)]
struct Content {
    version: u32,
    engine: String,
    volumes: Vec<Entry>,
}

/// One volume of a record.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    name: String,
    labels: BTreeMap<String, String>,
}

/// A record that this process has locked.
#[derive(Debug)]
pub(super) struct Record {
    file: LockedRecord,
    content: Content,
}

impl Record {
    /// Writes and locks a record.
    pub(super) fn write(state_dir: &Path, host: &dyn Host, volumes: &[&NewVolume]) -> Result<Self> {
        let failed = |cause: Cause| {
            Error::failed_at("cannot record which volumes are to be created in", state_dir, cause).hint(state_dir::HINT)
        };
        let entry = |volume: &&NewVolume| Entry { name: volume.name.clone(), labels: volume.labels.clone() };
        let volumes = volumes.iter().map(entry).collect();
        let content = Content { version: VERSION, engine: host.address(), volumes };
        let text = serde_json::to_vec_pretty(&content).map_err(|cause| failed(cause.into()))?;
        let file = LockedRecord::create(state_dir, KIND, &text).map_err(|cause| failed(cause.into()))?;
        Ok(Self { file, content })
    }

    /// Locks the record of a run that has ended. `None` while that run is in progress, or when another process has locked
    /// or removed the record first.
    pub(super) fn take_over(path: &Path) -> Result<Option<Self>> {
        let failed = |cause: Cause| Error::failed_at("cannot read", path, cause);
        let taken = LockedRecord::take_over(path, FlockArg::LockExclusiveNonblock);
        let Some((file, text)) = taken.map_err(|cause| failed(cause.into()))? else { return Ok(None) };
        let malformed = |cause: serde_json::Error| {
            failed(cause.into()).hint("it is not a record of voltar; look which volumes it names, and remove it")
        };
        if record::version(&text).map_err(malformed)? != VERSION {
            let cause = failed("written by another version of voltar".into());
            return Err(cause.hint("run `voltar resume` of that version"));
        }
        let content = serde_json::from_slice(&text).map_err(malformed)?;
        Ok(Some(Self { file, content }))
    }

    /// Returns whether this is the engine that was asked for the volumes.
    pub(super) fn is_of(&self, host: &dyn Host) -> bool {
        self.content.engine == host.address()
    }

    /// Returns the volumes.
    pub(super) fn volumes(&self) -> Vec<NewVolume> {
        let volume = |entry: &Entry| NewVolume { name: entry.name.clone(), labels: entry.labels.clone() };
        self.content.volumes.iter().map(volume).collect()
    }

    pub(super) fn remove(self) -> Result<()> {
        self.file.remove()
    }
}

/// Returns the paths of all records, oldest first.
pub(super) fn records(state_dir: &Path) -> Result<Vec<PathBuf>> {
    record::list(state_dir, KIND)
}
