//! The mounts of a tree of which members are extracted.

use std::sync::Arc;

use super::parts::{Parts, Relation};
use crate::error::{Error, Result};
use crate::member::RelPath;
use crate::volume::OpenTree;
use crate::volume::live::Live;
use crate::volume::part::outermost_missing;

/// A mount of which members are extracted.
pub(crate) struct Concerned<'t> {
    /// The mountpoint, relative to the root of the tree.
    pub(crate) at: &'t RelPath,
    /// What is mounted there.
    pub(crate) live: &'t Arc<Live>,
    /// The paths in it that are restored; none if all of it is.
    pub(crate) paths: Vec<RelPath>,
}

/// Returns the mounts that hold `parts`.
pub(crate) fn concerned<'t>(tree: &'t OpenTree, parts: &Parts) -> Vec<Concerned<'t>> {
    let mut concerned = Vec::new();
    for (at, live) in tree.live() {
        if parts.relation(at) == Relation::Inside {
            concerned.push(Concerned { at, live, paths: Vec::new() });
            continue;
        }
        let held = parts.paths().filter_map(|part| holder(tree.live().map(|(at, _)| at), part).ok());
        let paths: Vec<RelPath> = held.filter(|(holding, _)| *holding == at).map(|(_, below)| below).collect();
        if !paths.is_empty() {
            concerned.push(Concerned { at, live, paths });
        }
    }
    concerned
}

/// Checks that `parts` lie on mounts whose files are restored, and that no symbolic link and no file is on the way to them.
///
/// # Errors
/// One does not, or is.
pub(crate) fn check_parts(tree: &OpenTree, parts: &Parts) -> Result<()> {
    for part in parts.paths() {
        let (at, _) = holder(tree.mounts.iter().map(|mount| &mount.at), part).or_else(|error| {
            // There may be mounts below it.
            let nested = tree.live().find(|(at, _)| at.strip_prefix(part).is_some());
            nested.map(|(at, _)| (at, RelPath::root())).ok_or(error)
        })?;
        if !tree.live().any(|(live, _)| live == at) {
            let what = "which is in memory, read-only, or the volume of another archive";
            return Err(Error::refused(format!("'{part}' cannot be restored: it lies on '{at}', {what}")));
        }
    }
    for Concerned { live, paths, .. } in concerned(tree, parts) {
        paths.iter().try_for_each(|path| outermost_missing(live, path).map(drop))?;
    }
    Ok(())
}

/// Returns the deepest of the mounts `at` that holds `path`, and `path` relative to it.
pub(super) fn holder<'m>(at: impl Iterator<Item = &'m RelPath>, path: &RelPath) -> Result<(&'m RelPath, RelPath)> {
    let holders = at.filter_map(|at| path.strip_prefix(at).map(|below| (at, below)));
    holders.min_by_key(|(_, below)| below.as_bytes().len()).ok_or_else(|| no_holder(path))
}

pub(super) fn no_holder(path: &RelPath) -> Error {
    Error::refused(format!("no mount holds '{path}'"))
}
