//! One archive into the mounts of one tree: each member goes to the mount that holds its path, and is staged beside the
//! live tree or extracted over it. Swapping the trees is left to the caller.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod concerned;
mod fit;
mod input;
mod locate;
mod mode;
mod need;
mod origin;
mod outside_links;
mod parts;
mod recorded;
mod route;
mod write_behind;

use std::sync::Arc;

use crate::archive_file::ArchiveFile;
use crate::error::{Error, Result};
use crate::ids::IdMap;
use crate::limits::Skipped;
use crate::member::{Kind, Member, RelPath, quotable};
use crate::monitor::{Event, Monitor, Phase, Stage, Summary};
use crate::ordered::Pool;
use crate::postgres::{Cluster, Clusters, VERSION_BYTES, is_version_file};
use crate::store::Location;
use crate::volume::OpenTree;
use crate::volume::swap::Restoration;
use fit::to_host;
use outside_links::OutsideLinks;
use recorded::Recorded;
use route::{Left, Routes};

pub(crate) use concerned::{Concerned, check_parts, concerned};
pub(crate) use fit::{Fit, fit};
pub use input::Input;
pub(crate) use locate::locate;
pub use mode::Mode;
pub(crate) use need::Need;
pub use origin::Origin;
pub(crate) use origin::origin;
pub use parts::Parts;
pub(crate) use parts::Relation;

/// An archive that has been read to its end and extracted.
#[derive(Debug)]
pub(crate) struct Extracted {
    /// Its totals.
    pub summary: Summary,
    /// The archive.
    pub location: Location,
    /// The database clusters in it.
    pub clusters: Vec<Cluster>,
}

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

/// How far the beginning of an archive is searched for clusters: so many members, or before a member whose content ends
/// beyond so many bytes. Archives that are not sorted can have a version at any place.
const SEARCHED_MEMBERS: u64 = 10_000;
const SEARCHED_BYTES: u64 = 64 << 20;

/// Returns the database clusters in the first members of an archive. What cannot be read is reported when the archive is
/// extracted.
///
/// # Errors
/// The run was interrupted.
pub(crate) fn first_clusters(input: &Input, pool: &Pool, monitor: &dyn Monitor) -> Result<Vec<Cluster>> {
    let mut clusters = Clusters::default();
    // Its errors are those of extracting it.
    search(input, &mut clusters, pool, monitor).unwrap_or_default();
    monitor.check_cancelled()?;
    Ok(clusters.found())
}

fn search(input: &Input, clusters: &mut Clusters, pool: &Pool, monitor: &dyn Monitor) -> Result<()> {
    let mut archive = ArchiveFile::peek(&input.location, pool, monitor)?;
    let (mut members, mut bytes) = (0, 0_u64);
    while members < SEARCHED_MEMBERS && bytes < SEARCHED_BYTES && clusters.version_of_root().is_none() {
        let Some(stored) = archive.next_member(monitor)? else { break };
        members += 1;
        bytes = bytes.saturating_add(stored.size);
        if let Some(member) = fit(input, &stored)?.member() {
            note_cluster(clusters, &member, &mut archive, monitor)?;
        }
    }
    Ok(())
}

/// Reads an archive to its end without extracting it, and returns what it needs in each of the mounts at `mounts`, where
/// files take room in units of so many bytes; `None` for a mount that is not restored. It is checked like everything that
/// is extracted. Its progress is reported if it is `shown`.
///
/// # Errors
/// As [`check`].
pub(crate) fn need(
    input: &Input,
    ids: &IdMap,
    mounts: &[(&RelPath, Option<u64>)],
    shown: bool,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<Vec<Need>> {
    // Extracting the archive reports its issues.
    let monitor = &need::Quiet { monitor, shown };
    let mut archive = input.open(pool, monitor)?;
    archive.started(Stage::Checking, monitor);
    let mut needs = vec![Need::default(); mounts.len()];
    let (mut members, mut buffer) = (0_u64, Vec::new());
    while let Some(stored) = archive.next_member(monitor)? {
        let Some(member) = fit(input, &stored)?.member() else { continue };
        if input.parts.relation(&member.path) != Relation::Inside {
            continue;
        }
        to_host(&member, ids).map_err(|error| error.within(&input.archive))?;
        members += u64::from(!member.path.is_root() || member.is_one_file());
        let holding = mounts.iter().enumerate().filter(|(_, (at, _))| member.path.strip_prefix(at).is_some());
        let deepest = holding.max_by_key(|(_, (at, _))| at.as_bytes().len());
        let Some((index, (_, Some(block)))) = deepest else { continue };
        let more = need::of_member(&member, *block, &mut archive, &mut buffer, monitor)?;
        needs[index].bytes = needs[index].bytes.saturating_add(more.bytes);
        needs[index].inodes += more.inodes;
    }
    check_end(input, &archive, Mode::Replace)?;
    check_not_empty(input, members)?;
    let at = archive.location().path();
    monitor.event(&Event::Finished { stage: Stage::Checking, summary: &archive.summary(), at });
    Ok(needs)
}

/// Takes note of a member that is not extracted, and reads the version of a cluster.
fn note_cluster(
    clusters: &mut Clusters,
    member: &Member,
    archive: &mut ArchiveFile<'_>,
    monitor: &dyn Monitor,
) -> Result<()> {
    clusters.member(&member.path, &member.kind);
    if is_version(member) {
        let mut content = archive.content(monitor);
        let mut recorded = Recorded::new(&mut content, VERSION_BYTES);
        let read = recorded.read_beginning();
        let version = recorded.beginning();
        read.map_err(|e| archive.located(&e))?;
        clusters.version(&member.path, &version);
    }
    Ok(())
}

/// Returns whether a member holds the version of a cluster, or of one of its databases.
fn is_version(member: &Member) -> bool {
    matches!(member.kind, Kind::File { .. }) && is_version_file(&member.path)
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
    let mut archive = input.open(pool, monitor)?;
    archive.started(Stage::Restoring, monitor);
    let mut routes = Routes::new(tree, &input.parts, restoration, mode, input.allow_empty)?;
    let (mut members, mut skipped, mut unwanted) = (0_u64, 0_u64, 0_u64);
    let (mut missing, mut outside_links) = (Missing::of(&input.parts), OutsideLinks::default());
    let mut clusters = Clusters::default();
    let mut beyond = Skipped::default();
    while let Some(stored) = archive.next_member(monitor)? {
        let member = match fit(input, &stored)? {
            Fit::Member(member) => member,
            Fit::Above => continue,
            Fit::Beyond(name, excess) => {
                if let Some(top) = beyond.add(&name, excess) {
                    monitor.issue(&input.archive, format!("'{top}' is not restored, nor what lies below it: {excess}"));
                }
                continue;
            }
            Fit::Outside => {
                skipped += 1;
                continue;
            }
        };
        match input.parts.relation(&member.path) {
            Relation::Inside => missing.found(&member.path),
            Relation::Above if member.kind == Kind::Directory => {
                let (on_disk, _) = to_host(&member, &tree.ids).map_err(|error| error.within(&input.archive))?;
                routes.above(&on_disk).map_err(|error| monitor.cause(error).within(&input.archive))?;
                continue;
            }
            Relation::Above | Relation::Outside => {
                unwanted += 1;
                continue;
            }
        }
        if let Some(own) = routes.own_name(&member.path) {
            monitor.issue(&input.archive, format!("'{}' is not restored: '{own}' here is voltar's own", member.path));
            continue;
        }
        let (on_disk, not_mapped) = to_host(&member, &tree.ids).map_err(|error| error.within(&input.archive))?;
        if outside_links.take(&input.parts, &on_disk, stored.offset)? {
            members += 1;
            continue;
        }
        for why in stored.bad_xattrs.iter().chain(&not_mapped) {
            routes.not_restored().add_reason(&member.path, why);
        }
        clusters.member(&member.path, &member.kind);
        let mut content = archive.content(monitor);
        let extracted = if is_version(&member) {
            let mut recorded = Recorded::new(&mut content, VERSION_BYTES);
            let extracted = routes.extract(&on_disk, &mut recorded);
            clusters.version(&member.path, &recorded.beginning());
            extracted
        } else {
            routes.extract(&on_disk, &mut content)
        };
        extracted.map_err(|error| monitor.cause(error).within(&input.archive))?;
        members += u64::from(!member.path.is_root() || member.is_one_file());
        if let Kind::File { size } = member.kind {
            monitor.event(&Event::Written { bytes: size });
        }
        if let Some(unknown) = stored.unknown_type {
            let (name, unknown) = (quotable(&stored.name), quotable(&[unknown]));
            let what = format!("'{name}' is of the unknown type '{unknown}', and was restored as a regular file");
            monitor.issue(&input.archive, what);
        }
        monitor.event(&Event::Member { archive: &input.archive, name: &stored.name, member: &member });
    }
    check_end(input, &archive, mode)?;
    missing.check(input)?;
    check_not_empty(input, members)?;
    let linked = outside_links.make(input, &mut routes, &tree.ids, pool, monitor);
    linked.map_err(|error| error.within(&input.archive))?;
    if routes.are_untouched() && !input.allow_empty {
        return Err(Error::refused(format!(
            "'{}' holds nothing of the mounts below '/{}': restoring it would change nothing",
            input.location, input.path
        ))
        .hint("`voltar list` shows what it holds, `voltar plan` the mounts; a layout (--layout) names another path"));
    }
    report_skipped(input, &routes, skipped, &beyond, monitor);
    monitor.event(&Event::Phase { archive: archive.name(), phase: Phase::Syncing });
    finish(routes, input, monitor)?;
    let summary = Summary { left_out: skipped + unwanted, ..archive.summary() };
    Ok(Extracted { summary, location: input.location.clone(), clusters: clusters.found() })
}

/// Reports the mounts and members that are left out.
fn report_skipped(input: &Input, routes: &Routes<'_>, skipped: u64, beyond: &Skipped, monitor: &dyn Monitor) {
    for at in routes.untouched() {
        monitor.note(&format!(
            "{}: the archive holds nothing of '/{}', where another volume is mounted; that one is left as it is",
            input.archive,
            input.path.concat(at)
        ));
    }
    for Left { at, read_only, skipped } in routes.left() {
        let path = input.path.concat(at);
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
    if let Some(count) = beyond.count() {
        let what = format!("{count} members in all are not restored, because they are beyond a limit");
        monitor.issue(&input.archive, what);
    }
    if routes.skipped_on_no_mount() > 0 {
        let what = format!(
            "{} members are not restored: they are on no mount of '/{}' and were part of a container",
            routes.skipped_on_no_mount(),
            input.path
        );
        monitor.issue(&input.archive, what);
    }
    if skipped > 0 {
        let Input { archive, prefix, .. } = input;
        monitor.note(&format!("{archive}: {skipped} members of the archive lie outside of '{prefix}' and are skipped"));
    }
}

/// Completes the trees, and reports what they lack.
fn finish(routes: Routes<'_>, input: &Input, monitor: &dyn Monitor) -> Result<()> {
    let not_restored = Arc::clone(routes.not_restored());
    routes.finish(&|| monitor.check_cancelled())?;
    not_restored.messages().into_iter().for_each(|message| monitor.issue(&input.archive, message));
    Ok(())
}

/// Refuses an archive with members after its end where they would be missing in the tree. Merging it, as `tar -x` does,
/// leaves what is there.
fn check_end(input: &Input, archive: &ArchiveFile<'_>, mode: Mode) -> Result<()> {
    if mode == Mode::Merge || !archive.has_members_after_end() {
        return Ok(());
    }
    let Input { archive, location, .. } = input;
    Err(Error::refused(format!("{archive}: '{location}' has more members after its end-of-archive marker")).hint(
        "was it made by `cat a.tar b.tar`? `tar --ignore-zeros` reads all of it; --merge extracts the first part",
    ))
}

/// The paths of parts of which no member was found yet.
struct Missing(Vec<RelPath>);

impl Missing {
    fn of(parts: &Parts) -> Self {
        Self(parts.paths().cloned().collect())
    }

    fn found(&mut self, path: &RelPath) {
        self.0.retain(|part| path.strip_prefix(part).is_none());
    }

    fn check(&self, input: &Input) -> Result<()> {
        self.0.first().map_or(Ok(()), |path| Err(input.holds_no(path)))
    }
}

fn check_not_empty(input: &Input, members: u64) -> Result<()> {
    if members > 0 || input.allow_empty {
        return Ok(());
    }
    Err(Error::refused(format!("'{}' holds nothing but its root: restoring it would empty the volume", input.location))
        .hint("--allow-empty overrides this"))
}
