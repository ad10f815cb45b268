//! What an archive must hold: checked before it is extracted, or while it is.

use super::clusters::note_cluster;
use super::fit::{fit, to_host};
use super::input::Input;
use super::mode::Mode;
use super::parts::{Parts, Relation};
use crate::archive_file::ArchiveFile;
use crate::error::{Error, Result};
use crate::ids::IdMap;
use crate::member::RelPath;
use crate::monitor::{Event, Monitor, Stage};
use crate::ordered::Pool;
use crate::postgres::{Cluster, Clusters};

/// Reads an archive to its end without extracting it, and checks all checksums, and the names and owners of all members.
/// Returns the database clusters in it.
///
/// # Errors
/// The archive is damaged, is not that of the expected path, has an owner that `ids` does not map, or holds nothing.
pub(crate) fn check(
    input: &Input,
    ids: &IdMap,
    mode: Mode,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<Vec<Cluster>> {
    let mut archive = input.open(pool, monitor)?;
    archive.started(Stage::Checking, monitor);
    let mut clusters = Clusters::default();
    let mut members = 0_u64;
    let mut missing = Missing::of(&input.parts);
    while let Some(stored) = archive.next_member(monitor)? {
        let Some(member) = fit(input, &stored)?.member() else { continue };
        if input.parts.relation(&member.path) == Relation::Outside {
            continue;
        }
        missing.found(&member.path);
        to_host(&member, ids).map_err(|error| error.within(&input.archive))?;
        members += u64::from(!member.path.is_root() || member.is_one_file());
        note_cluster(&mut clusters, &member, &mut archive, monitor)?;
    }
    check_end(input, &archive, mode)?;
    missing.check(input)?;
    check_not_empty(input, members)?;
    let at = archive.location().path();
    monitor.event(&Event::Finished { stage: Stage::Checking, summary: &archive.summary(), at });
    Ok(clusters.found())
}

/// Reads the first members of an archive, and checks that they are below its prefix.
///
/// # Errors
/// As [`check`], as far as the archive is read.
pub(crate) fn check_prefix(input: &Input, pool: &Pool, monitor: &dyn Monitor) -> Result<()> {
    match check_first_members(input, pool, monitor) {
        // Extracting it checks every member.
        Err(_) if input.location.peek_exhausted() => Ok(()),
        result => result,
    }
}

fn check_first_members(input: &Input, pool: &Pool, monitor: &dyn Monitor) -> Result<()> {
    let mut archive = ArchiveFile::peek(&input.location, pool, monitor)?;
    if input.allow_truncated_end {
        archive.allow_truncated_end();
    }
    while let Some(stored) = archive.next_member(monitor)? {
        if fit(input, &stored)?.member().is_some() {
            return Ok(());
        }
    }
    if input.selected {
        return Err(Error::refused(format!("'{}' holds nothing below '{}'", input.location, input.prefix))
            .hint("`voltar list` shows what it holds"));
    }
    check_not_empty(input, 0)
}

/// Refuses an archive with members after its end where they would be missing in the tree. Merging it, as `tar -x` does,
/// leaves what is there.
pub(super) fn check_end(input: &Input, archive: &ArchiveFile<'_>, mode: Mode) -> Result<()> {
    if mode == Mode::Merge || !archive.has_members_after_end() {
        return Ok(());
    }
    let Input { archive, location, .. } = input;
    Err(Error::refused(format!("{archive}: '{location}' has more members after its end-of-archive marker")).hint(
        "was it made by `cat a.tar b.tar`? `tar --ignore-zeros` reads all of it; --merge extracts the first part",
    ))
}

/// The paths of parts of which no member was found yet.
pub(super) struct Missing(Vec<RelPath>);

impl Missing {
    pub(super) fn of(parts: &Parts) -> Self {
        Self(parts.paths().cloned().collect())
    }

    pub(super) fn found(&mut self, path: &RelPath) {
        self.0.retain(|part| path.strip_prefix(part).is_none());
    }

    pub(super) fn check(&self, input: &Input) -> Result<()> {
        self.0.first().map_or(Ok(()), |path| Err(input.holds_no(path)))
    }
}

pub(super) fn check_not_empty(input: &Input, members: u64) -> Result<()> {
    if members > 0 || input.allow_empty {
        return Ok(());
    }
    Err(Error::refused(format!("'{}' holds nothing but its root: restoring it would empty the volume", input.location))
        .hint("--allow-empty overrides this"))
}
