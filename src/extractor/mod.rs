//! One archive into the mounts of one tree: each member goes to the mount that holds its path, and is staged beside the
//! live tree or extracted over it. Swapping the trees is left to the caller.

#![cfg_attr(not(test), deny(clippy::disallowed_methods))]

mod check;
mod clusters;
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

use crate::error::{Error, Result};
use crate::limits::Skipped;
use crate::member::{Kind, quotable};
use crate::monitor::{Event, Monitor, Phase, Stage, Summary};
use crate::ordered::Pool;
use crate::postgres::{Cluster, Clusters, VERSION_BYTES};
use crate::store::Location;
use crate::volume::OpenTree;
use crate::volume::swap::Restoration;
use check::{Missing, check_end, check_not_empty};
use clusters::is_version;
use fit::to_host;
use outside_links::OutsideLinks;
use recorded::Recorded;
use route::{Left, Routes};

pub(crate) use check::{check, check_prefix};
pub(crate) use clusters::first_clusters;
pub(crate) use concerned::{Concerned, check_parts, concerned};
pub(crate) use fit::{Fit, fit};
pub use input::Input;
pub(crate) use locate::locate;
pub use mode::Mode;
pub(crate) use need::{Need, need};
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
    let check = || monitor.check_cancelled();
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
            let extracted = routes.extract(&on_disk, &mut recorded, &check);
            clusters.version(&member.path, &recorded.beginning());
            extracted
        } else {
            routes.extract(&on_disk, &mut content, &check)
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
    routes.finish(&|| monitor.check_cancelled()).map_err(|error| monitor.cause(error).within(&input.archive))?;
    not_restored.messages().into_iter().for_each(|message| monitor.issue(&input.archive, message));
    Ok(())
}
