//! Locks on the trees that a backup reads. A second backup would find their containers stopped by the first one, which starts
//! them in the middle of it.
//!
//! They are a record in the state directory, which no container can write. Where none can be written, a backup goes on
//! without: one that stops containers cannot, because of the record of these.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::durable::record::{self, LockedRecord};
use crate::durable::run_lock::{InUse, myself, until_free};
use crate::error::{Error, Result};
use crate::identity::FileId;
use crate::live_mounts::LiveMount;
use crate::member::{printable, printable_path};
use crate::monitor::Monitor;

/// The begin of the names of records.
const KIND: &str = "backup";
const VERSION: u32 = 1;

/// The content of a record.
#[derive(Debug, Serialize, Deserialize)]
struct Content {
    version: u32,
    /// The run, as part of a message.
    by: String,
    /// The directories and files of this host that it reads.
    mounts: Vec<FileId>,
}

/// Returns whether a text is a record of locks: for fuzzing.
#[must_use]
pub fn is_lock_record(text: &[u8]) -> bool {
    Content::parse(text).is_some()
}

impl Content {
    fn parse(text: &[u8]) -> Option<Self> {
        let is_known = record::version(text).ok()? == VERSION;
        if is_known { serde_json::from_slice(text).ok() } else { None }
    }
}

/// Locks on directories and files of this host. Dropping them releases them.
pub(crate) struct VolumeLocks<'a> {
    state_dir: PathBuf,
    /// How long other runs are waited for in all.
    wait: Duration,
    begun: Instant,
    monitor: &'a dyn Monitor,
    record: Option<LockedRecord>,
}

impl<'a> VolumeLocks<'a> {
    /// Returns no lock yet; other runs are waited for as long as `wait` in all.
    pub(crate) fn new(state_dir: &Path, wait: Duration, monitor: &'a dyn Monitor) -> Self {
        Self { state_dir: state_dir.to_owned(), wait, begun: Instant::now(), monitor, record: None }
    }

    /// Locks these mounts, each with the name of its archive, instead of those before. Calls `before_wait` before another run
    /// is waited for, and returns whether one was: then everything else must be looked at again.
    ///
    /// # Errors
    /// Another run has a lock still, after it was waited for; the run was cancelled.
    pub(crate) fn acquire<'m>(
        &mut self,
        mounts: impl Iterator<Item = (&'m str, &'m LiveMount)>,
        before_wait: &dyn Fn(),
    ) -> Result<bool> {
        let mounts: Vec<_> = mounts.collect();
        let left = self.wait.saturating_sub(self.begun.elapsed());
        let mut has_waited = false;
        let monitor = self.monitor;
        until_free(
            left,
            monitor,
            || Ok(self.attempt(&mounts)),
            || {
                before_wait();
                has_waited = true;
            },
        )?;
        Ok(has_waited)
    }

    /// Records the mounts if that is possible.
    fn attempt(&mut self, mounts: &[(&str, &LiveMount)]) -> Result<(), InUse> {
        self.record(mounts).unwrap_or_else(|cause| {
            // Whoever is not root need not have a state directory.
            if cause.kind() != io::ErrorKind::PermissionDenied {
                let error = Error::failed_at("cannot record in", &self.state_dir, cause);
                self.monitor.note(&format!("{error}; no other backup is kept away from the volumes"));
            }
            Ok(())
        })
    }

    /// Records the mounts, unless another run has one of them.
    fn record(&mut self, mounts: &[(&str, &LiveMount)]) -> io::Result<Result<(), InUse>> {
        let _alone = record::lock_directory(&self.state_dir)?;
        self.release();
        for path in record::list(&self.state_dir, KIND).map_err(io::Error::other)? {
            let Some(found) = record::read(&path)?.filter(|found| found.in_progress) else { continue };
            // What another version of voltar has written says nothing here.
            let Some(other) = Content::parse(&found.text) else { continue };
            let is_theirs =
                |(_, mount): &&(&str, &LiveMount)| mount.lineage.first().is_some_and(|id| other.mounts.contains(id));
            if let Some((archive, mount)) = mounts.iter().find(is_theirs) {
                let (path, by) = (printable_path(&mount.path), printable(other.by.as_bytes()));
                return Ok(Err(InUse(format!("{archive}: '{path}' is in use by {by}"))));
            }
        }
        let mounts = mounts.iter().filter_map(|(_, mount)| mount.lineage.first().copied()).collect();
        let content = Content { version: VERSION, by: myself("backup"), mounts };
        self.record = Some(LockedRecord::create(&self.state_dir, KIND, &serde_json::to_vec(&content)?)?);
        Ok(Ok(()))
    }

    fn release(&mut self) {
        if let Some(error) = self.record.take().and_then(|record| record.remove().err()) {
            let error = error.hint("the next run, or `voltar resume`, removes it");
            self.monitor.issue("", error.with_hint());
        }
    }
}

impl Drop for VolumeLocks<'_> {
    fn drop(&mut self) {
        self.release();
    }
}

/// Removes the records of runs that were killed. Returns why others are left.
///
/// # Errors
/// The records cannot be listed.
pub(crate) fn remove_stale(state_dir: &Path) -> Result<Vec<Error>> {
    record::remove_obsolete(state_dir, KIND, "fix the cause, or remove it if no backup is running", |_| Ok(true))
}
