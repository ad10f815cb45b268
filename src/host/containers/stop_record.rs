//! The record on disk of the containers that a run has stopped. A container is added to it before it is stopped, and not
//! earlier: one that the run did not get to may end by itself, and must not be started again. The record is locked while
//! its run is in progress: a record without a lock is a leftover of a killed run.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use nix::fcntl::FlockArg;
use serde::{Deserialize, Serialize};

use crate::durable::record::{self, LockedRecord};
use crate::durable::state_dir;
use crate::durable::{now, parent};
use crate::error::{Cause, Error, Result};
use crate::host::inventory::{Container, Host};

/// The begin of a record's name.
const KIND: &str = "stopped";
const VERSION: u32 = 1;

/// One container of a record.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) id: String,
    pub(super) name: String,
    /// The time of its last start before it was stopped, as the engine wrote it; empty if it is not known.
    #[serde(default)]
    started: String,
    /// The time of the last request to stop or to start it, as RFC 3339 text.
    #[serde(default)]
    requested_at: String,
    /// The number of the rank in which it was stopped. Later ranks are started first.
    #[serde(default)]
    pub(super) rank: usize,
    /// The ids of the containers that must be healthy before it is started.
    #[serde(default)]
    pub(super) must_be_healthy: Vec<String>,
}

impl Entry {
    /// Returns the entry of a container that is about to be stopped; `started` is the time of its last start.
    pub(super) fn new(container: &Container, started: String, rank: usize, must_be_healthy: Vec<String>) -> Self {
        let Container { id, name, .. } = container.clone();
        Self { id, name, started, requested_at: Timestamp::now().to_string(), rank, must_be_healthy }
    }

    /// Returns the entry of the same container after another request.
    pub(super) fn requested_now(&self) -> Self {
        Self { requested_at: Timestamp::now().to_string(), ..self.clone() }
    }

    /// Returns whether somebody else has started the container since it was stopped. `started` is the time of its last
    /// start now.
    pub(super) fn was_started_since(&self, started: &str) -> bool {
        let time = |text: &str| text.parse::<Timestamp>().ok();
        let is_later = time(started).zip(time(&self.requested_at)).is_some_and(|(start, request)| start > request);
        // Both conditions: its restart policy may have started it just before the request, and a clock may be set back.
        is_later && self.started != started
    }
}

/// The content of a record.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Content {
    version: u32,
    pub(super) engine: String,
    /// The time as RFC 3339 text.
    pub(super) stopped_at: String,
    pid: u32,
    /// The containers in the order in which they were stopped; those of the last rank may still be running.
    pub(super) containers: Vec<Entry>,
}

impl Content {
    /// Parses the text of a record; an error includes its hint.
    fn parse(text: &[u8]) -> std::result::Result<Self, (Cause, &'static str)> {
        let malformed = |cause: serde_json::Error| {
            (cause.into(), "it is not a record of voltar; look which containers it names, and remove it")
        };
        if record::version(text).map_err(malformed)? != VERSION {
            return Err(("written by another version of voltar".into(), "run `voltar resume` of that version"));
        }
        serde_json::from_slice(text).map_err(malformed)
    }

    fn text(&self, state_dir: &Path) -> Result<Vec<u8>> {
        serde_json::to_vec_pretty(self).map_err(|cause| not_recorded(state_dir, cause.into()))
    }
}

/// Parses a record from untrusted bytes, for fuzzing.
#[doc(hidden)]
pub fn parse_stop_record(text: &[u8]) -> std::result::Result<(), String> {
    Content::parse(text).map(|_| ()).map_err(|(cause, _)| cause.to_string())
}

/// A record that this process has locked.
pub(super) struct Record {
    file: LockedRecord,
    content: Content,
}

impl Record {
    /// Writes and locks a record.
    pub(super) fn write(state_dir: &Path, host: &dyn Host, entries: &[Entry]) -> Result<Self> {
        let content = Content {
            version: VERSION,
            engine: host.address(),
            stopped_at: now(),
            pid: std::process::id(),
            containers: entries.to_vec(),
        };
        let text = content.text(state_dir)?;
        let file =
            LockedRecord::create(state_dir, KIND, &text).map_err(|cause| not_recorded(state_dir, cause.into()))?;
        Ok(Self { file, content })
    }

    /// Replaces the containers on the record.
    pub(super) fn replace(&mut self, entries: &[Entry]) -> Result<()> {
        self.content.containers = entries.to_vec();
        let state_dir = parent(self.file.path()).to_owned();
        let text = self.content.text(&state_dir)?;
        self.file.replace(&text).map_err(|error| not_recorded(&state_dir, error.cause().into()))
    }

    pub(super) fn content(&self) -> &Content {
        &self.content
    }

    pub(super) fn remove(self) -> Result<()> {
        self.file.remove()
    }

    /// Locks the record of a run that has ended. `None` while that run is in progress, or when another process has
    /// locked or removed the record first.
    pub(super) fn take_over(path: &Path, how: FlockArg) -> Result<Option<Self>> {
        let failed = |cause: Cause| Error::failed_at("cannot read", path, cause);
        let Some((file, text)) = LockedRecord::take_over(path, how).map_err(|cause| failed(cause.into()))? else {
            return Ok(None);
        };
        let content = Content::parse(&text).map_err(|(cause, hint)| failed(cause).hint(hint))?;
        Ok(Some(Self { file, content }))
    }
}

fn not_recorded(state_dir: &Path, cause: Cause) -> Error {
    Error::failed_at("cannot record which containers are to be stopped in", state_dir, cause).hint(state_dir::HINT)
}

/// Returns the paths of all records, oldest first.
pub(super) fn records(state_dir: &Path) -> Result<Vec<PathBuf>> {
    record::list(state_dir, KIND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_later_start_is_the_work_of_somebody_else() {
        let entry = Entry {
            id: "a".to_owned(),
            name: "a".to_owned(),
            started: "2026-01-01T00:00:01.5Z".to_owned(),
            requested_at: "2026-01-01T00:01:00Z".to_owned(),
            rank: 0,
            must_be_healthy: Vec::new(),
        };
        assert!(!entry.was_started_since("2026-01-01T00:00:01.5Z"), "the start before it was stopped");
        assert!(!entry.was_started_since("2026-01-01T00:00:59Z"), "by its restart policy, just before");
        assert!(entry.was_started_since("2026-01-01T00:01:00.1Z"));
        assert!(!entry.requested_now().was_started_since("2026-01-01T00:01:00.1Z"), "the start was voltar's own");
        let set_back = Entry { requested_at: "2025-12-31T00:00:00Z".to_owned(), ..entry.clone() };
        assert!(!set_back.was_started_since("2026-01-01T00:00:01.5Z"), "the clock was set back");
        // Where nothing is known, the container was stopped by voltar: it is started again.
        assert!(!entry.was_started_since(""));
        let old: Entry = serde_json::from_str(r#"{"id":"a","name":"a"}"#).unwrap();
        assert!(!old.was_started_since("2026-01-01T00:01:00.1Z"), "a record without times");
    }
}
