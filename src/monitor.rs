//! The events that operations report: stages, progress, members, issues. The library never prints; the report of the
//! program and the tests implement [`Monitor`].

use std::fmt;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use crate::difference::{Difference, Differences};
use crate::error::{Error, Result};
use crate::member::Member;

/// Something that was not stored or restored correctly. Issues never stop an operation; they are counted, and one is
/// enough for exit status 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// The name of the archive (`cvat_data`); empty if the issue concerns the entire run.
    pub archive: String,
    /// One line, safe to print: what, where, why.
    pub message: String,
}

impl fmt::Display for Issue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let colon = if self.archive.is_empty() { "" } else { ": " };
        write!(f, "{}{colon}{}", self.archive, self.message)
    }
}

/// The operation on one archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// The archive is written from a volume.
    Archiving,
    /// The archive is read to its end, to verify that it is complete.
    Checking,
    /// The archive is extracted to a staged tree or into the live tree.
    Restoring,
    /// The archive is compared with the live tree.
    Comparing,
}

/// A part of a run that takes time, beside the stages of its archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Containers are stopped.
    Stopping,
    /// Archives are written.
    Archiving,
    /// Archives are read to their end before anything is changed.
    Checking,
    /// Archives are extracted.
    Restoring,
    /// What was written is synced to disk.
    Syncing,
    /// The archives of the run are made complete, all or none.
    Committing,
    /// The staged trees become live.
    Swapping,
    /// Containers are started again.
    Starting,
}

/// The final figures of one archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// The archive's name without its suffix.
    pub archive: String,
    /// The number of members, including the root.
    pub members: u64,
    /// The number of members that were left out on request: excluded from an archive, or outside of the prefix that is
    /// restored. A directory that was excluded is one, with all that it holds.
    pub left_out: u64,
    /// The length of the uncompressed tar stream in bytes.
    pub stream_bytes: u64,
    /// The length of the archive file in bytes.
    pub file_bytes: u64,
    /// The time from the first byte to the last sync.
    pub elapsed: Duration,
}

impl Summary {
    /// Returns the figures of this archive together with those of a second one of the same tree.
    #[must_use]
    pub fn with(&self, second: &Self) -> Self {
        Self {
            archive: self.archive.clone(),
            members: self.members + second.members,
            // Both have left out the same.
            left_out: second.left_out,
            stream_bytes: self.stream_bytes + second.stream_bytes,
            file_bytes: self.file_bytes + second.file_bytes,
            elapsed: self.elapsed + second.elapsed,
        }
    }
}

/// An event of an operation.
#[derive(Debug)]
pub enum Event<'a> {
    /// Information that needs no action: which engine, what was left out.
    Note(&'a str),
    /// A phase begins: of the run, or of the work on one archive.
    Phase {
        /// The archive's name without its suffix; empty for the run.
        archive: &'a str,
        /// The phase that begins.
        phase: Phase,
    },
    /// A stage of an archive begins.
    Started {
        /// The archive's name without its suffix.
        archive: &'a str,
        /// The stage that begins.
        stage: Stage,
        /// The expected sum of all [`Event::Advanced`], if known.
        total_bytes: Option<u64>,
    },
    /// More bytes of the archive are done.
    Advanced {
        /// The archive's name without its suffix.
        archive: &'a str,
        /// The number of bytes since the previous event.
        bytes: u64,
    },
    /// More bytes were written: of the archive of a backup, or of files of a restore.
    Written {
        /// The number of bytes since the previous event.
        bytes: u64,
    },
    /// A member was archived, read or restored.
    Member {
        /// The archive's name without its suffix.
        archive: &'a str,
        /// The member's name as stored in the archive.
        name: &'a [u8],
        /// The member.
        member: &'a Member,
    },
    /// A command that receives an archive has printed a line.
    CommandOutput {
        /// The archive's name without its suffix.
        archive: &'a str,
        /// The line, with whatever the command has put into it.
        line: &'a str,
    },
    /// Something was not stored or restored completely.
    Issue(&'a Issue),
    /// An archive and the live tree differ.
    Difference {
        /// The archive's name in the layout.
        archive: &'a str,
        /// The difference.
        difference: &'a Difference,
    },
    /// An archive was compared with the live tree.
    Compared {
        /// The archive's name in the layout.
        archive: &'a str,
        /// The number of differences, also of those that were not listed.
        differences: Differences,
    },
    /// A container is about to be stopped for the operation.
    ContainerStopping {
        /// Its name.
        name: &'a str,
        /// The time before it is killed; `None` if there is no limit or if it is not known.
        timeout: Option<Duration>,
    },
    /// A container was stopped for the operation.
    ContainerStopped(&'a str),
    /// A container that was stopped for the operation was started again.
    ContainerStarted(&'a str),
    /// All containers that were stopped for the operation run again: the time from the first stop to the last start.
    Downtime(Duration),
    /// A stage of an archive is done: it was written under its name, read to its end, or restored.
    Finished {
        /// The stage that is done.
        stage: Stage,
        /// The final figures.
        summary: &'a Summary,
        /// The archive file.
        at: &'a Path,
    },
    /// A set is complete, at this path.
    SetMade(&'a Path),
}

/// A receiver of events, which can also cancel an operation.
pub trait Monitor: Sync {
    /// Handles an event. Called from several threads.
    fn event(&self, event: &Event<'_>);

    /// Returns whether the operation was cancelled (Ctrl-C).
    fn cancelled(&self) -> bool {
        false
    }

    /// Returns an error once the operation was cancelled.
    ///
    /// # Errors
    /// [`Error::interrupted`].
    fn check_cancelled(&self) -> Result<()> {
        if self.cancelled() { Err(Error::interrupted()) } else { Ok(()) }
    }

    /// Returns `error`, or [`Error::interrupted`] once the operation was cancelled: `error` is then only a consequence
    /// of the cancellation.
    fn cause(&self, error: Error) -> Error {
        if self.cancelled() { Error::interrupted() } else { error }
    }

    /// Reports an issue.
    fn issue(&self, archive: &str, message: String) {
        self.event(&Event::Issue(&Issue { archive: archive.to_owned(), message }));
    }

    /// Reports that a phase of the run begins.
    fn phase(&self, phase: Phase) {
        self.event(&Event::Phase { archive: "", phase });
    }

    /// Reports a note.
    fn note(&self, note: &str) {
        self.event(&Event::Note(note));
    }
}

/// A monitor that collects issues and notes and ignores other events, for tests and for callers that print nothing.
#[derive(Debug, Default)]
pub struct Collector {
    issues: Mutex<Vec<Issue>>,
    notes: Mutex<Vec<String>>,
    downtime: Mutex<Option<Duration>>,
}

impl Collector {
    /// Returns the issues so far, in order.
    pub fn issues(&self) -> Vec<Issue> {
        self.issues.lock().map(|issues| issues.clone()).unwrap_or_default()
    }

    /// Returns the notes so far, in order.
    pub fn notes(&self) -> Vec<String> {
        self.notes.lock().map(|notes| notes.clone()).unwrap_or_default()
    }

    /// Returns how long containers were stopped, once they run again.
    pub fn downtime(&self) -> Option<Duration> {
        self.downtime.lock().map(|downtime| *downtime).unwrap_or_default()
    }
}

/// A run that is cancelled once it has been asked so many times.
#[cfg(test)]
pub(crate) struct CancelledAfter(std::sync::atomic::AtomicUsize);

#[cfg(test)]
impl CancelledAfter {
    pub(crate) fn checks(checks: usize) -> Self {
        Self(checks.into())
    }
}

#[cfg(test)]
impl Monitor for CancelledAfter {
    fn event(&self, _: &Event<'_>) {}

    fn cancelled(&self) -> bool {
        use std::sync::atomic::Ordering::Relaxed;
        self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_err()
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
            Event::Downtime(time) => {
                if let Ok(mut downtime) = self.downtime.lock() {
                    *downtime = Some(*time);
                }
            }
            Event::Phase { .. }
            | Event::Started { .. }
            | Event::Advanced { .. }
            | Event::Written { .. }
            | Event::Member { .. }
            | Event::CommandOutput { .. }
            | Event::Difference { .. }
            | Event::Compared { .. }
            | Event::ContainerStopping { .. }
            | Event::ContainerStopped(_)
            | Event::ContainerStarted(_)
            | Event::Finished { .. }
            | Event::SetMade(_) => {}
        }
    }
}
