//! What operations report to while they work: stages, progress, members, issues. The library never
//! prints; the terminal, the JSON stream and the tests are each a [`Monitor`].

use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::member::Member;

/// Something that was not stored or restored as it should be. Issues never stop an operation; they are
/// counted, and one is enough for exit status 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// The archive it belongs to (`cvat_data`); empty where it concerns the whole run.
    pub archive: String,
    /// One line, safe to print: what, where, why.
    pub message: String,
}

/// What an archive is going through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Written from a volume.
    Archiving,
    /// Read to its end to see that it is whole.
    Checking,
    /// Extracted beside the live tree, or into it.
    Restoring,
}

/// The closing figures of one archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The archive's name, without suffix.
    pub archive: String,
    /// Members in it, the root's own included.
    pub members: u64,
    /// Length of the uncompressed tar stream in bytes.
    pub stream_bytes: u64,
    /// Length of the archive file in bytes.
    pub file_bytes: u64,
    /// From the first byte to the last sync.
    pub elapsed: Duration,
}

/// One thing that happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// A remark that needs no action: which engine, what was left out.
    Note(&'a str),
    /// Work on an archive begins. `total_bytes` is what [`Event::Advanced`] counts up to, if known.
    Started {
        /// The archive's name, without suffix.
        archive: &'a str,
        /// What is being done.
        stage: Stage,
        /// Bytes to come.
        total_bytes: Option<u64>,
    },
    /// More bytes of the archive are done.
    Advanced {
        /// The archive's name, without suffix.
        archive: &'a str,
        /// How many more.
        bytes: u64,
    },
    /// A member was archived, read or restored.
    Member {
        /// The archive's name, without suffix.
        archive: &'a str,
        /// The member's name as it stands in the archive.
        name: &'a [u8],
        /// The member.
        member: &'a Member,
    },
    /// Something was not stored or restored completely.
    Issue(&'a Issue),
    /// A container was stopped for the operation.
    ContainerStopped(&'a str),
    /// A container that had been stopped was started again.
    ContainerStarted(&'a str),
    /// An archive is done: written under its name, read to its end, or restored. `at` is the archive file.
    Finished {
        /// What was done.
        stage: Stage,
        /// Its figures.
        summary: &'a Summary,
        /// The archive file.
        at: &'a Path,
    },
}

/// Where events go, and where the wish to stop comes from.
pub trait Monitor: Sync {
    /// Takes note of an event. Called from several threads.
    fn event(&self, event: &Event<'_>);

    /// Whether somebody asked to stop (Ctrl-C).
    fn cancelled(&self) -> bool {
        false
    }

    /// [`Error::interrupted`] once somebody asked to stop.
    fn check_cancelled(&self) -> Result<()> {
        if self.cancelled() { Err(Error::interrupted()) } else { Ok(()) }
    }

    /// `error`, or [`Error::interrupted`] once somebody asked to stop: then that is the cause, whatever the layers below
    /// made of it.
    fn cause(&self, error: Error) -> Error {
        if self.cancelled() { Error::interrupted() } else { error }
    }

    /// Counts an issue.
    fn issue(&self, archive: &str, message: String) {
        self.event(&Event::Issue(&Issue { archive: archive.to_owned(), message }));
    }

    /// Passes on a remark.
    fn note(&self, note: &str) {
        self.event(&Event::Note(note));
    }
}

/// Collects issues and notes and ignores the rest: for tests, and for callers who print nothing.
#[derive(Debug, Default)]
pub struct Collector {
    issues: Mutex<Vec<Issue>>,
    notes: Mutex<Vec<String>>,
}

impl Collector {
    /// The issues so far, in order.
    pub fn issues(&self) -> Vec<Issue> {
        self.issues.lock().map(|issues| issues.clone()).unwrap_or_default()
    }

    /// The notes so far, in order.
    pub fn notes(&self) -> Vec<String> {
        self.notes.lock().map(|notes| notes.clone()).unwrap_or_default()
    }
}

impl Monitor for Collector {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Issue(issue) => {
                if let Ok(mut issues) = self.issues.lock() {
                    issues.push((*issue).clone());
                }
            }
            Event::Note(note) => {
                if let Ok(mut notes) = self.notes.lock() {
                    notes.push((*note).to_owned());
                }
            }
            Event::Started { .. }
            | Event::Advanced { .. }
            | Event::Member { .. }
            | Event::ContainerStopped(_)
            | Event::ContainerStarted(_)
            | Event::Finished { .. } => {}
        }
    }
}
