//! The scenarios: what is run, on what, and which faults it is tried with.

use super::calls::Counted;
use super::world::{Host, Mount};

/// What a scenario runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A restore that replaces all trees, or none.
    Replace,
    /// A restore into the live trees, which cannot be undone.
    Write,
    /// A backup.
    Backup,
    /// A backup into a set, or the removal of sets.
    Sets,
    /// A command that only reads, after a restore that is complete.
    Verify,
    /// `resume`, or the restore again, after that restore was killed at one of its calls.
    Recovery,
}

/// A command, and what it is run on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    pub(crate) archives: &'static [&'static [Mount]],
    pub(crate) args: &'static [&'static str],
    /// The command that is killed at one of its calls before; empty if there is none.
    pub(crate) killed: &'static [&'static str],
    pub(crate) host: Host,
}

const ONE: &[&[Mount]] = &[&[Mount::Volume]];
const THREE: &[&[Mount]] = &[&[Mount::Volume], &[Mount::Bind], &[Mount::Marked]];
/// A default backup warns of attributes.
const THREE_PLAIN: &[&[Mount]] = &[&[Mount::Volume], &[Mount::Bind], &[Mount::Volume]];
const CREATED: &[&[Mount]] = &[&[Mount::Created], &[Mount::Volume], &[Mount::Created]];
const TWO: &[&[Mount]] = &[&[Mount::Volume], &[Mount::Volume]];
const WITH_FILE: &[&[Mount]] = &[&[Mount::Volume, Mount::File]];
const MIXED: &[&[Mount]] = &[&[Mount::Volume, Mount::File], &[Mount::Bind]];

pub(crate) const RESTORE: &[&str] = &["restore", "backup"];
const OVERWRITE: &[&str] = &["backup", "backup", "--overwrite", "--format", "tar"];

/// All scenarios.
pub(crate) const SCENARIOS: &[Scenario] = &[
    scenario("exchange", Kind::Replace, ONE, RESTORE),
    scenario("entries", Kind::Replace, &[&[Mount::Bind]], RESTORE),
    scenario("attributes", Kind::Replace, &[&[Mount::Marked]], RESTORE),
    scenario("three", Kind::Replace, THREE, RESTORE),
    scenario("single-file", Kind::Replace, WITH_FILE, RESTORE),
    scenario("keep-previous", Kind::Replace, MIXED, &["restore", "backup", "--keep-previous"]),
    scenario("restore-set", Kind::Replace, ONE, &["restore", "sets"]),
    scenario("merge", Kind::Write, MIXED, &["restore", "backup", "--merge"]),
    scenario("in-place", Kind::Write, MIXED, &["restore", "backup", "--in-place"]),
    scenario("backup", Kind::Backup, MIXED, &["backup", "again/there"]),
    scenario("overwrite", Kind::Backup, THREE_PLAIN, OVERWRITE),
    scenario("set", Kind::Sets, TWO, &["backup", "--into", "sets", "--format", "tar"]),
    scenario("changes", Kind::Sets, TWO, &["backup", "--into", "sets", "--full-every", "30d"]),
    scenario("two-pass", Kind::Sets, TWO, &["backup", "--into", "sets", "--two-pass", "--format", "tar"]),
    scenario("set-and-prune", Kind::Sets, ONE, &["backup", "--into", "sets", "--keep-last", "1"]),
    scenario("prune", Kind::Sets, ONE, &["prune", "sets", "--keep-last", "1"]),
    scenario("verify", Kind::Verify, MIXED, &["verify", "backup"]),
    scenario("compare", Kind::Verify, MIXED, &["verify", "backup", "--against-volume"]),
    scenario("create", Kind::Replace, CREATED, &["restore", "backup", "--create-volumes", "--stop"]).through_engine(),
    scenario("stop", Kind::Replace, TWO, &["restore", "backup", "--stop"]).through_engine(),
    scenario("stop-backup", Kind::Backup, TWO, &["backup", "again/there", "--stop"]).through_engine(),
    scenario("resume", Kind::Recovery, MIXED, &["resume"]).after_kill_of(RESTORE),
    scenario("restore-again", Kind::Recovery, MIXED, RESTORE).after_kill_of(RESTORE),
    scenario("backup-again", Kind::Backup, THREE_PLAIN, OVERWRITE).after_kill_of(OVERWRITE),
];

const fn scenario(
    name: &'static str,
    kind: Kind,
    archives: &'static [&'static [Mount]],
    args: &'static [&'static str],
) -> Scenario {
    Scenario { name, kind, archives, args, killed: &[], host: Host::DataRoot }
}

impl Scenario {
    const fn through_engine(self) -> Self {
        Self { host: Host::Engine, ..self }
    }

    const fn after_kill_of(self, killed: &'static [&'static str]) -> Self {
        Self { killed, ..self }
    }

    /// Returns whether it recovers from what a run has left that was killed.
    pub(crate) fn is_after_kill(&self) -> bool {
        !self.killed.is_empty()
    }

    /// Returns whether it restores the newest set of a directory.
    pub(crate) fn restores_set(&self) -> bool {
        self.args == ["restore", "sets"]
    }

    /// Returns the calls that are points where changes fail: through an engine also its requests.
    pub(crate) fn changes(&self) -> Counted {
        match self.host {
            Host::DataRoot => Counted::Changes,
            Host::Engine => Counted::ChangesAndRequests,
        }
    }

    /// Returns whether it is tried with reads that fail. A read that fails is no reason to stop a container otherwise.
    pub(crate) fn has_reads(&self) -> bool {
        self.host == Host::DataRoot && !["merge", "in-place", "backup", "set", "two-pass"].contains(&self.name)
    }

    /// Returns whether it is tried on a disk that fails.
    pub(crate) fn has_bad_disk(&self) -> bool {
        self.has_power_cuts() && !matches!(self.kind, Kind::Write | Kind::Sets)
    }

    /// Returns whether it is tried with power cuts. An engine would lose what it knows as well.
    pub(crate) fn has_power_cuts(&self) -> bool {
        self.host == Host::DataRoot && self.changes_disk() && !self.is_after_kill()
    }

    /// Returns by how much its sample is smaller: each container that is started is watched for a second, and a second has one
    /// set.
    pub(crate) fn slowness(&self) -> usize {
        match (self.host, self.kind) {
            (Host::Engine, _) => 8,
            (Host::DataRoot, Kind::Sets) => 4,
            (Host::DataRoot, _) => 1,
        }
    }

    pub(crate) fn changes_disk(&self) -> bool {
        self.kind != Kind::Verify
    }
}
