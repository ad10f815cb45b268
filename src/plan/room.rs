//! Whether the staged trees of a restore fit beside the live ones. What an archive needs is known once it has been read to
//! its end. That is done only where it could matter: it takes as long as `voltar verify`, though nothing is stopped then.

use std::path::Path;

use super::facts::Facts;
use crate::error::{Error, ErrorKind, Result};
use crate::extractor::{Input, Need};
use crate::ids::IdMap;
use crate::live_mounts::LiveMount;
use crate::member::RelPath;
use crate::units;
use crate::volume::room::Room;

/// An archive below this length in bytes is read in less than a second.
const SMALL: u64 = 4 << 20;

/// Content that has more than this many times the length of its archive is rare: databases and media have 1 to 10 times.
const EXPANSION: u64 = 16;

/// The least bytes per file and directory of a tree, on average, for which inodes are not counted.
const BYTES_PER_INODE: u64 = 4096;

/// An archive, and the trees that it is extracted to.
pub(super) struct Staged<'a> {
    /// The archive.
    pub(super) input: &'a Input,
    /// Its length; `None` if it is not known.
    pub(super) bytes: Option<u64>,
    /// The trees.
    pub(super) mounts: &'a [LiveMount],
    /// The mounts of which it may have members, and which are left as they are.
    pub(super) left_out: Vec<&'a RelPath>,
    /// The owners of the trees.
    pub(super) ids: &'a IdMap,
}

/// What the restore does to one filesystem.
struct Filesystem<'a> {
    device: u64,
    room: Room,
    /// The path of the first tree on it.
    path: &'a Path,
    /// The archives that have trees on it.
    archives: Vec<&'a Staged<'a>>,
}

/// Returns the refusals of trees for which there is no room, and adds a note where that is not certain.
///
/// # Errors
/// The run was interrupted.
pub(super) fn too_little(archives: &[Staged<'_>], facts: &dyn Facts, notes: &mut Vec<String>) -> Result<Vec<Error>> {
    let filesystems = filesystems(archives);
    let mut needs: Vec<(&str, Vec<Need>)> = Vec::new();
    let mut refusals = Vec::new();
    for planned in archives {
        let here =
            filesystems.iter().filter(|filesystem| filesystem.archives.iter().any(|one| std::ptr::eq(*one, planned)));
        let mut matters = here.filter(|filesystem| could_matter(filesystem)).peekable();
        if matters.peek().is_none() {
            continue;
        }
        // Of a part, the length of the archive says little.
        let whole = planned.input.parts.is_all();
        if let Some(refusal) = matters.find_map(|filesystem| larger_than_room(planned, filesystem)).filter(|_| whole) {
            refusals.push(refusal);
            continue;
        }
        // A stream can be read only once.
        if planned.input.location.is_stream() {
            continue;
        }
        match planned.need(facts) {
            Ok(need) => needs.push((&planned.input.archive, need)),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
            Err(error) => refusals.push(error),
        }
    }
    for Filesystem { device, room, path, archives } in filesystems {
        let mut sum = Need::default();
        let mut names = Vec::new();
        for planned in &archives {
            let Some((name, need)) = needs.iter().find(|(name, _)| *name == planned.input.archive) else { continue };
            names.push(*name);
            for (mount, need) in planned.mounts.iter().zip(need) {
                if device_of(mount) == Some(device) {
                    sum.bytes = sum.bytes.saturating_add(need.bytes);
                    sum.inodes = sum.inodes.saturating_add(need.inodes);
                }
            }
        }
        if sum.bytes <= room.bytes && room.inodes.is_none_or(|free| sum.inodes <= free) {
            continue;
        }
        let names = names.join(", ");
        let inodes = room.inodes.map_or("any number of".to_owned(), |free| free.to_string());
        let what = format!(
            "{names}: no room for a second tree beside '{}': it takes {} and {} inodes, and {} and {inodes} inodes are free",
            path.display(),
            units::bytes(sum.bytes),
            sum.inodes,
            units::bytes(room.bytes),
        );
        // Inodes are not compressed.
        if room.is_exact || room.inodes.is_some_and(|free| sum.inodes > free) {
            let mounts = archives.iter().flat_map(|planned| planned.mounts);
            refusals.push(Error::refused(what).hint(hint(mounts.filter(|mount| device_of(mount) == Some(device)))));
        } else {
            notes.push(format!("{what}; it fits only if the filesystem compresses it"));
        }
    }
    Ok(refusals)
}

impl Staged<'_> {
    fn need(&self, facts: &dyn Facts) -> Result<Vec<Need>> {
        let block = |mount: &LiveMount| Some(mount.room.map_or(1, |room| room.block));
        let mounts: Vec<_> = (self.mounts.iter().map(|mount| (&mount.at, block(mount))))
            .chain(self.left_out.iter().map(|at| (*at, None)))
            .collect();
        facts.need(self.input, self.ids, &mounts, self.bytes.is_none_or(|bytes| bytes > SMALL))
    }
}

/// Returns what can be done where there is no room for second trees beside `mounts`.
pub(crate) fn hint<'a>(mounts: impl IntoIterator<Item = &'a LiveMount>) -> &'static str {
    if mounts.into_iter().any(|mount| mount.holds_entries) { IN_PLACE } else { "make room on its filesystem" }
}

/// What also can be done where a live tree takes room.
const IN_PLACE: &str = "make room, or restore with --in-place, which needs no room for a second tree; but it writes over the live one, and \
     an error or a kill then leaves a mix of old and new files";

fn device_of(mount: &LiveMount) -> Option<u64> {
    mount.lineage.first().map(|id| id.device)
}

fn filesystems<'a>(archives: &'a [Staged<'a>]) -> Vec<Filesystem<'a>> {
    let mut filesystems: Vec<Filesystem<'_>> = Vec::new();
    for planned in archives {
        for mount in planned.mounts {
            let (Some(room), Some(device)) = (mount.room, device_of(mount)) else { continue };
            match filesystems.iter_mut().find(|known| known.device == device) {
                Some(known) if known.archives.iter().any(|one| std::ptr::eq(*one, planned)) => {}
                Some(known) => known.archives.push(planned),
                None => filesystems.push(Filesystem { device, room, path: &mount.path, archives: vec![planned] }),
            }
        }
    }
    filesystems
}

/// Returns whether the archives could fill the filesystem, as far as their lengths tell.
fn could_matter(filesystem: &Filesystem<'_>) -> bool {
    let bytes: u64 = filesystem.archives.iter().filter_map(|planned| planned.bytes).sum();
    let content = bytes.saturating_mul(EXPANSION);
    let is_tight =
        content > filesystem.room.bytes || filesystem.room.inodes.is_some_and(|free| content / BYTES_PER_INODE > free);
    is_tight || filesystem.archives.iter().all(|planned| planned.bytes.is_some_and(|bytes| bytes <= SMALL))
}

/// Refuses a large archive without reading it: content rarely takes less space than its compressed archive. An
/// uncompressed one can hold zeros, which take none.
fn larger_than_room(planned: &Staged<'_>, filesystem: &Filesystem<'_>) -> Option<Error> {
    if planned.input.location.path().extension().is_some_and(|extension| extension == "tar") {
        return None;
    }
    let bytes = planned.bytes.filter(|bytes| *bytes > filesystem.room.bytes && *bytes > SMALL)?;
    Some(
        Error::refused(format!(
            "{}: no room for a second tree beside '{}': the archive alone takes {}, and {} are free",
            planned.input.archive,
            filesystem.path.display(),
            units::bytes(bytes),
            units::bytes(filesystem.room.bytes)
        ))
        .hint(hint(planned.mounts)),
    )
}
