//! The record on disk of the containers that a run stops. It is complete before the first container stops,
//! and locked while its run is in progress: a record without a lock is a leftover of a killed run.

use std::path::{Path, PathBuf};

use nix::fcntl::FlockArg;
use serde::{Deserialize, Serialize};

use crate::durable::record::{self, LockedRecord};
use crate::error::{Cause, Error, Result};
use crate::host::inventory::Host;

use super::state_dir::STATE_DIR_VARIABLE;

/// The begin of a record's name.
const KIND: &str = "stopped";
const VERSION: u32 = 1;

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
    fn parse(text: &[u8]) -> std::result::Result<Self, (Cause, &'static str)> {
        // The version is checked first, because another version may have other fields.
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let malformed = |cause: serde_json::Error| {
            (cause.into(), "it is not a record of voltar; look which containers it names, and remove it")
        };
        let Versioned { version } = serde_json::from_slice(text).map_err(malformed)?;
        if version != VERSION {
            return Err(("written by another version of voltar".into(), "run `voltar resume` of that version"));
        }
        serde_json::from_slice(text).map_err(malformed)
    }
}

/// Parses a record from untrusted bytes, for fuzzing.
#[doc(hidden)]
pub fn parse_stop_record(text: &[u8]) -> std::result::Result<(), String> {
    Content::parse(text).map(|_| ()).map_err(|(cause, _)| cause.to_string())
}

/// A record that this process has locked.
pub(super) struct Record(LockedRecord);

impl Record {
    /// Writes and locks a record.
    pub(super) fn write(state_dir: &Path, host: &dyn Host, entries: &[Entry]) -> Result<Self> {
        let content = Content {
            version: VERSION,
            engine: host.address(),
            stopped_at: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            pid: std::process::id(),
            containers: entries.to_vec(),
        };
        let failed = |cause: Cause| {
            Error::failed_at("cannot record which containers are to be stopped in", state_dir, cause)
                .hint(format!("run voltar as root, or set {STATE_DIR_VARIABLE} to a directory that only you can write"))
        };
        let text = serde_json::to_vec_pretty(&content).map_err(|cause| failed(cause.into()))?;
        LockedRecord::create(state_dir, KIND, &text).map(Self).map_err(|cause| failed(cause.into()))
    }

    pub(super) fn remove(self) -> Result<()> {
        let path = self.0.path().to_owned();
        self.0.remove().map_err(|cause| Error::failed_at("cannot remove", &path, cause))
    }

    /// Locks the record of a run that has ended. `None` while that run is in progress, or when another process has
    /// locked or removed the record first.
    pub(super) fn take_over(path: &Path, how: FlockArg) -> Result<Option<(Self, Content)>> {
        let failed = |cause: Cause| Error::failed_at("cannot read", path, cause);
        let Some((record, text)) = LockedRecord::take_over(path, how).map_err(|cause| failed(cause.into()))? else {
            return Ok(None);
        };
        let content = Content::parse(&text).map_err(|(cause, hint)| failed(cause).hint(hint))?;
        Ok(Some((Self(record), content)))
    }
}

/// Returns the paths of all records, oldest first.
pub(super) fn records(state_dir: &Path) -> Result<Vec<PathBuf>> {
    record::list(state_dir, KIND).map_err(|cause| Error::failed_at("cannot read", state_dir, cause))
}
