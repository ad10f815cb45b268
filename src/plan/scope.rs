//! Decides how much of a tree is archived: all of it, or what has changed since a full archive.

use super::changes::{Full, FullArchives};
use super::measure::Measured;
use crate::error::{Error, ErrorKind, Result};
use crate::layout::ArchiveSpec;
use crate::resolve::Target;
use crate::store::Location;

/// How much of a tree is archived.
#[derive(Debug, Clone, PartialEq)]
pub enum PlannedScope {
    /// All of it.
    All,
    /// All of it, with an index.
    Indexed,
    /// All of it, with an index, unless nothing at all has changed since a full archive.
    AllOrSame(Box<Full>),
    /// All of it, with an index, before containers are stopped, and then what has changed since.
    Twice,
    /// What has changed since a full archive.
    Changes(Box<Full>),
}

impl PlannedScope {
    /// Returns the index that the tree is compared with, so that only what has changed is measured.
    pub(super) fn index(&self) -> Option<&Location> {
        match self {
            Self::All | Self::Indexed | Self::AllOrSame(_) | Self::Twice => None,
            Self::Changes(full) => Some(&full.index),
        }
    }

    /// Returns since when changes are archived at the end, as part of a message.
    pub(crate) fn since(&self) -> Option<String> {
        match self {
            Self::All | Self::Indexed => None,
            Self::Twice => Some("the first pass".to_owned()),
            Self::Changes(full) | Self::AllOrSame(full) => Some(format!("the set {}", full.set)),
        }
    }
}

/// What is wanted of all archives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// The full archives since which changes are archived, if they are.
    pub(super) since: Option<&'a FullArchives>,
    pub(super) two_pass: bool,
    pub(super) xattrs: bool,
}

impl Wanted<'_> {
    /// Decides how much of a tree is archived. A note says why all of it is although there is a full archive.
    pub(super) fn scope(self, target: &Target, spec: &ArchiveSpec) -> (PlannedScope, Option<String>) {
        let full = if spec.database { self.database() } else { self.full() };
        match self.since.map_or(Ok(None), |since| since.find(target, self.xattrs)) {
            Ok(Some(since)) if spec.database => (PlannedScope::AllOrSame(Box::new(since.clone())), None),
            Ok(Some(since)) => (PlannedScope::Changes(Box::new(since.clone())), None),
            Ok(None) => (full, None),
            Err(why) => (full, Some(note(target, &why))),
        }
    }

    /// Returns how a tree must be archived instead, by what was found in it, and a note on that.
    pub(super) fn instead(
        self,
        target: &Target,
        scope: &PlannedScope,
        measured: Option<&Measured>,
        examined: &Result<Option<Error>>,
    ) -> Option<(PlannedScope, Option<String>)> {
        let holds_cluster = measured.is_some_and(|measured| !measured.clusters.is_empty());
        match (scope, examined) {
            (PlannedScope::All | PlannedScope::AllOrSame(_) | PlannedScope::Indexed, _) => None,
            (PlannedScope::Changes(_), Err(error)) if error.kind() == ErrorKind::Damaged => {
                Some((self.full(), Some(note(target, &error.to_string()))))
            }
            (PlannedScope::Changes(full), _) => holds_cluster.then(|| (PlannedScope::AllOrSame(full.clone()), None)),
            (PlannedScope::Twice, _) => holds_cluster.then(|| (self.database(), None)),
        }
    }

    /// How all of a tree is archived.
    fn full(self) -> PlannedScope {
        match (self.two_pass, self.since) {
            (true, _) => PlannedScope::Twice,
            (false, Some(_)) => PlannedScope::Indexed,
            (false, None) => PlannedScope::All,
        }
    }

    /// How a database is archived. One that was running for a moment has rewritten most of its files.
    fn database(self) -> PlannedScope {
        if self.since.is_some() { PlannedScope::Indexed } else { PlannedScope::All }
    }
}

fn note(target: &Target, why: &str) -> String {
    format!("{}: all of it is archived, not only what has changed: {why}", target.archive)
}
