//! One archive into the mounts of one tree: each member goes to the mount that holds its path, and is staged beside the
//! live tree or extracted over it. Swapping the trees is left to the caller.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod mode;
mod route;
mod write_behind;

use crate::archive::strip::{Misfit, strip};
use crate::archive_file::ArchiveFile;
use crate::error::{Error, ErrorKind, Result};
use crate::member::{Kind, RelPath};
use crate::monitor::{Event, Monitor, Phase, Stage, Summary};
use crate::ordered::Pool;
use crate::store::Location;
use crate::volume::OpenTree;
use crate::volume::swap::Restoration;
use route::{Left, Routes};

pub use mode::Mode;

/// An archive to extract, and what it must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// Its name in the layout.
    pub archive: String,
    /// Where it is.
    pub location: Location,
    /// The path in the container: the prefix of the names of all members.
    pub prefix: RelPath,
    /// Whether an archive that holds only its root is accepted.
    pub allow_empty: bool,
}

/// An archive that has been read to its end and extracted.
#[derive(Debug)]
pub(crate) struct Extracted {
    /// Its totals.
    pub summary: Summary,
    /// The archive.
    pub location: Location,
}

/// Reads an archive to its end without extracting it, and checks all checksums and the names of all members.
///
/// # Errors
/// The archive is damaged, is not that of the expected path, or holds nothing.
pub(crate) fn check(input: &Input, pool: &Pool, monitor: &dyn Monitor) -> Result<()> {
    let mut archive = ArchiveFile::open(&input.location, pool, monitor)?;
    archive.started(Stage::Checking, monitor);
    let mut members = 0_u64;
    while let Some(stored) = archive.next_member(monitor)? {
        let member = strip(&stored, &input.prefix).map_err(|why| wrong(input, &why))?;
        members += u64::from(member.is_some_and(|member| !member.path.is_root()));
    }
    check_not_empty(input, members)?;
    let at = archive.location().path();
    monitor.event(&Event::Finished { stage: Stage::Checking, summary: &archive.summary(), at });
    Ok(())
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
    while let Some(stored) = archive.next_member(monitor)? {
        if strip(&stored, &input.prefix).map_err(|why| wrong(input, &why))?.is_some() {
            return Ok(());
        }
    }
    check_not_empty(input, 0)
}

/// Extracts one archive into the mounts of `tree`, or into their staged trees in `restoration`. Swapping the trees is left
/// to the caller.
///
/// # Errors
/// As [`check`], and those of the system calls. With [`Mode::Replace`] the live trees are as they were.
pub(crate) fn extract(
    input: &Input,
    tree: &OpenTree,
    restoration: &Restoration,
    mode: Mode,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<Extracted> {
    let mut archive = ArchiveFile::open(&input.location, pool, monitor)?;
    archive.started(Stage::Restoring, monitor);
    let mut routes = Routes::new(tree, restoration, mode, input.allow_empty)?;
    let mut members = 0_u64;
    while let Some(stored) = archive.next_member(monitor)? {
        let Some(member) = strip(&stored, &input.prefix).map_err(|why| wrong(input, &why))? else { continue };
        if let Some(own) = routes.own_name(&member.path) {
            monitor.issue(&input.archive, format!("'{}' is not restored: '{own}' here is voltar's own", member.path));
            continue;
        }
        let extracted = routes.extract(&member, &mut archive.content(monitor));
        extracted.map_err(|error| monitor.cause(error).within(&input.archive))?;
        members += u64::from(!member.path.is_root());
        if let Kind::File { size } = member.kind {
            monitor.event(&Event::Written { bytes: size });
        }
        monitor.event(&Event::Member { archive: &input.archive, name: &stored.name, member: &member });
    }
    check_not_empty(input, members)?;
    for at in routes.untouched() {
        monitor.note(&format!(
            "{}: the archive holds nothing of '/{}', where another volume is mounted; that one is left as it is",
            input.archive,
            input.prefix.concat(at)
        ));
    }
    for Left { at, read_only, skipped } in routes.left() {
        let path = input.prefix.concat(at);
        if *read_only {
            let what = format!("{skipped} members of '/{path}' are not restored: it is mounted read-only");
            monitor.issue(&input.archive, what);
        } else {
            monitor.note(&format!(
                "{}: {skipped} members of '/{path}' are skipped: another archive of this restore holds that volume",
                input.archive
            ));
        }
    }
    monitor.event(&Event::Phase { archive: archive.name(), phase: Phase::Syncing });
    routes.finish()?;
    Ok(Extracted { summary: archive.summary(), location: input.location.clone() })
}

fn check_not_empty(input: &Input, members: u64) -> Result<()> {
    if members > 0 || input.allow_empty {
        return Ok(());
    }
    Err(Error::refused(format!("'{}' holds nothing but its root: restoring it would empty the volume", input.location))
        .hint("--allow-empty overrides this"))
}

fn wrong(input: &Input, why: &Misfit) -> Error {
    Error::new(
        ErrorKind::Refused,
        format!("'{}' is not the archive of '/{}' ({}): {why}", input.location, input.prefix, input.archive),
    )
    .hint("`voltar list` shows what it holds; --only NAME says which of the layout's archives a file is")
}
