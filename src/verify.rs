//! Verifies archives by reading them to their end: the checksum of every block and stream, and every header. They can also
//! be compared with the volumes that they were made from.

use std::io;
use std::path::Path;

use crate::archive::strip::{Misfit, strip};
use crate::archive_file::ArchiveFile;
use crate::compare::compare;
use crate::difference::Differences;
use crate::error::{Error, ErrorKind, Result};
use crate::filesystem::Access;
use crate::holes::ReadHoles;
use crate::host::Host;
use crate::limits::Skipped;
use crate::live_mounts::LiveMounts;
use crate::member::RelPath;
use crate::monitor::{Event, Monitor, Stage};
use crate::ordered::Pool;
use crate::plan::comparison::{ComparisonRequest, plan};
use crate::plan::facts::ThisHost;
use crate::postgres::{Clusters, not_shut_down};
use crate::recovery::check_untouched;
use crate::store::{self, Location};

/// What decompresses the archives.
#[derive(Clone, Copy)]
pub enum Decoders<'a> {
    /// The fastest decoders, on the threads of a pool.
    Parallel(&'a Pool),
    /// Decoders that share no code with those that compress, on one thread.
    Independent,
}

/// Verifies all archives, also after one is found damaged. An archive without members is an issue,
/// and so is a PostgreSQL cluster in one that was not shut down.
///
/// # Errors
/// For a single archive, its error. For several, the number of damaged archives, after all have been read and each
/// error has been passed to `damaged`.
pub fn verify(
    archives: &[Location],
    decoders: Decoders<'_>,
    monitor: &dyn Monitor,
    damaged: &dyn Fn(&Error),
) -> Result<()> {
    let mut failures = Vec::new();
    for location in archives {
        match verify_one(location, decoders, monitor) {
            Ok(()) => {}
            Err(error) if archives.len() > 1 && is_foreign(location, &error) => {
                monitor.issue("", format!("not verified: {error}"));
            }
            Err(error) => {
                monitor.check_cancelled()?;
                failures.push(error);
            }
        }
    }
    match failures.len() {
        0 => Ok(()),
        1 if archives.len() == 1 => Err(failures.remove(0)),
        n => {
            failures.iter().for_each(damaged);
            Err(Error::refused(format!("{n} of {} archives are damaged", archives.len())))
        }
    }
}

/// Compares archives with the live trees of their volumes, also after one could not be compared. Nothing is stopped or
/// changed. Returns the number of differences of all of them.
///
/// # Errors
/// For a single archive, why it could not be compared. For several, the number of those that could not be, after all others
/// have been compared and each error has been passed to `failed`.
pub fn against_volumes(
    request: &ComparisonRequest,
    host: &dyn Host,
    state_dir: &Path,
    pool: &Pool,
    monitor: &dyn Monitor,
    failed: &dyn Fn(&Error),
) -> Result<u64> {
    let mounts = LiveMounts::new(state_dir, Access::ReadOnly);
    store::complete(&request.sources, monitor)?;
    let facts = ThisHost::new(&mounts, pool, monitor);
    let plan = plan(request, &request.inventory(host)?, &facts)?;
    Error::none_of(plan.refusals)?;
    plan.notes.iter().for_each(|note| monitor.note(note));
    for location in &plan.foreign {
        let (layout, name) = (&request.layout.name, location.name());
        monitor.issue("", format!("not compared: '{location}': the layout '{layout}' has no archive '{name}'"));
    }
    let mut differences = 0;
    let mut failures = Vec::new();
    for planned in &plan.archives {
        let tree = mounts.reopen(&planned.target.tree, &planned.mounts);
        let compared = tree.and_then(|tree| {
            let found = compare(&planned.input, &tree, &planned.exclude, pool, monitor)?;
            check_untouched(&planned.target.tree, &tree, &mounts).map_err(|e| e.within(&planned.target.archive))?;
            Ok(found)
        });
        match compared {
            Ok(found) => differences += Differences::total(&found),
            Err(error) => {
                monitor.check_cancelled()?;
                failures.push(error);
            }
        }
    }
    match failures.len() {
        0 => Ok(differences),
        1 if plan.archives.len() == 1 => Err(failures.remove(0)),
        n => {
            failures.iter().for_each(failed);
            Err(Error::refused(format!("{n} of {} archives could not be compared", plan.archives.len())))
        }
    }
}

/// Returns whether the archive is in a format that voltar does not read. Its name alone does not say so.
fn is_foreign(location: &Location, error: &Error) -> bool {
    error.kind() == ErrorKind::Unsupported
        || (error.kind() == ErrorKind::Damaged && location.foreign_program().is_some())
}

fn verify_one(location: &Location, decoders: Decoders<'_>, monitor: &dyn Monitor) -> Result<()> {
    let mut archive = match decoders {
        Decoders::Parallel(pool) => ArchiveFile::open(location, pool, monitor)?,
        Decoders::Independent => ArchiveFile::open_independently(location, monitor)?,
    };
    archive.started(Stage::Checking, monitor);
    let mut buffer = vec![0; 64 << 10];
    let (mut members, mut beyond, mut clusters) = (0_u64, Skipped::default(), Clusters::default());
    while let Some(stored) = archive.next_member(monitor)? {
        // Content is read here instead of skipped by the next call, so that progress is reported within large members.
        if let Err(e) = read_to_end(&mut archive.content(monitor), &mut buffer) {
            monitor.check_cancelled()?;
            return Err(archive.located(&e));
        }
        members += 1;
        // With the root as prefix, all names are the archive's own.
        match strip(&stored, &RelPath::root()) {
            Ok(Some(member)) => clusters.member(&member.path, &member.kind),
            Err(Misfit::Beyond { name, excess }) => {
                if let Some(top) = beyond.add(&name, excess) {
                    let what = format!("'{top}' cannot be restored, nor what lies below it: {excess}");
                    monitor.issue(archive.name(), what);
                }
            }
            // What no volume can hold is refused when the archive is restored.
            Ok(None) | Err(_) => {}
        }
    }
    if let Some(count) = beyond.count() {
        let what = format!("{count} members in all cannot be restored, because they are beyond a limit");
        monitor.issue(archive.name(), what);
    }
    if members == 0 {
        monitor.issue(archive.name(), format!("'{location}' holds no members"));
    }
    for cluster in clusters.found().iter().filter(|cluster| cluster.has_pid_file) {
        monitor.issue(archive.name(), not_shut_down(&cluster.pid_file()));
    }
    monitor.event(&Event::Finished { stage: Stage::Checking, summary: &archive.summary(), at: location.path() });
    Ok(())
}

fn read_to_end(content: &mut impl ReadHoles, buffer: &mut [u8]) -> io::Result<()> {
    while content.skip_hole() > 0 || content.read(buffer)? > 0 {}
    Ok(())
}
