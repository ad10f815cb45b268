//! Facts about this machine and its archives, from which plans are computed. Nothing here decides, and nothing writes.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::measure::{self, Decompression, Measure, Measured};
use crate::error::{Error, Result};
use crate::extractor::{self, Input, Need, Origin, Parts};
use crate::host::mounts::MountTree;
use crate::host::{Volume, reality};
use crate::identity::{self, FileId};
use crate::ids::IdMap;
pub use crate::live_mounts::LiveMounts;
use crate::live_mounts::{self, LiveMount};
use crate::member::RelPath;
use crate::monitor::Monitor;
use crate::mountinfo;
use crate::ordered::Pool;
use crate::postgres::{Cluster, MajorVersion, VERSION_BYTES};
use crate::recovery;
use crate::store::directory::Condition;
use crate::store::{Destination, Location, Sink, Source};
use crate::volume::new_directory::NewDirectory;
use crate::volume::restore_record::Unfinished;

/// The kind of file at an archive's destination before it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occupied {
    /// Nothing.
    No,
    /// A regular file.
    File,
    /// Anything else.
    Other,
}

/// Facts about a machine; tests have scripted ones.
pub trait Facts {
    /// Returns why the mounts of `tree` do not hold its data now.
    fn unreal(&self, tree: &MountTree, volumes: &[Volume]) -> Result<Vec<Error>>;

    /// Returns the mounts of `tree` that another restore is replacing, or has left half restored.
    fn unfinished(&self, tree: &MountTree) -> Result<Vec<Unfinished>>;

    /// Returns the mounts of `tree` as they are on this host.
    fn live_mounts(&self, tree: &MountTree) -> Result<Vec<LiveMount>>;

    /// Measures a tree.
    fn measure(&self, tree: &MountTree, what: Measure<'_>) -> Result<Measured>;

    /// Returns how long decompressing an archive takes; `None` if that is not known.
    fn decompression(&self, location: &Location) -> Option<Decompression>;

    /// Returns the number of threads that share the work.
    fn threads(&self) -> usize;

    /// Returns the state of the sink.
    fn condition(&self, sink: &Sink) -> Condition;

    /// Returns what exists at `destination`.
    fn occupied(&self, destination: &Destination) -> Occupied;

    /// Returns the id of the file or directory at `path`, which need not exist, and of the directories that hold it.
    fn lineage(&self, path: &Path) -> Vec<FileId>;

    /// Returns the directory of voltar's records.
    fn state_dir(&self) -> &Path;

    /// Returns the archives at `path`, which is a directory or an archive.
    fn source(&self, path: &Path) -> Result<Source>;

    /// Returns the length of an archive in bytes; `None` if unknown.
    fn archive_bytes(&self, location: &Location) -> Option<u64>;

    /// Returns when an archive was last modified; `None` if unknown.
    fn modified(&self, location: &Location) -> Option<SystemTime>;

    /// Reads an archive to its end, and returns what it needs in each of `mounts`; `None` for one that is not restored.
    /// The progress is reported if it is `shown`.
    ///
    /// # Errors
    /// The archive is damaged, or does not fit into the tree.
    fn need(&self, input: &Input, ids: &IdMap, mounts: &[(&RelPath, Option<u64>)], shown: bool) -> Result<Vec<Need>>;

    /// Reads the first members of an archive.
    ///
    /// # Errors
    /// They are not below the prefix of `input`.
    fn check_prefix(&self, input: &Input) -> Result<()>;

    /// Returns the directory that the first members of an archive have in common, and whether one of them lies in `path`;
    /// `None` if it has no members.
    fn origin(&self, location: &Location, path: &RelPath) -> Result<Option<Origin>>;

    /// Returns the parts of the tree of `input` that `paths` names.
    ///
    /// # Errors
    /// The archive does not hold them.
    fn parts(&self, input: &Input, paths: &[RelPath]) -> Result<Parts>;

    /// Checks that `parts` of a live tree can be replaced.
    ///
    /// # Errors
    /// One of them is on no mount that is restored, or leads through a symbolic link or a file.
    fn check_parts(&self, tree: &MountTree, parts: &Parts) -> Result<()>;

    /// Checks that a restore can make the directory at `path`.
    ///
    /// # Errors
    /// It is there and not empty, or cannot be made.
    fn check_new_directory(&self, path: &Path) -> Result<()>;

    /// Returns the PostgreSQL clusters in the first members of an archive.
    fn first_clusters(&self, input: &Input) -> Result<Vec<Cluster>>;

    /// Returns the version of the PostgreSQL cluster at `at` in a live tree; `None` if there is none, or if it cannot be read.
    fn live_version(&self, tree: &MountTree, at: &RelPath) -> Option<MajorVersion>;

    /// Returns the mountpoints of this host below `path`.
    fn mounted_below(&self, path: &Path) -> Result<Vec<PathBuf>>;
}

/// The facts of the machine that voltar runs on.
pub struct ThisHost<'a> {
    mounts: &'a LiveMounts,
    pool: &'a Pool,
    monitor: &'a dyn Monitor,
}

impl<'a> ThisHost<'a> {
    /// Opens trees through `mounts`, and measures with the threads of `pool` until `monitor` is cancelled.
    pub fn new(mounts: &'a LiveMounts, pool: &'a Pool, monitor: &'a dyn Monitor) -> Self {
        Self { mounts, pool, monitor }
    }
}

impl Facts for ThisHost<'_> {
    fn unreal(&self, tree: &MountTree, volumes: &[Volume]) -> Result<Vec<Error>> {
        reality::obstacles(tree, volumes)
    }

    fn unfinished(&self, tree: &MountTree) -> Result<Vec<Unfinished>> {
        recovery::unfinished(tree, self.mounts)
    }

    fn live_mounts(&self, tree: &MountTree) -> Result<Vec<LiveMount>> {
        self.mounts.open(tree).and_then(|open| live_mounts::found(&open))
    }

    fn measure(&self, tree: &MountTree, what: Measure<'_>) -> Result<Measured> {
        measure::measure(&self.mounts.open(tree)?, &tree.path, what, self.pool, self.monitor)
            .map_err(|error| self.monitor.cause(error))
    }

    fn decompression(&self, location: &Location) -> Option<Decompression> {
        measure::decompression(location, self.threads(), self.monitor)
    }

    fn threads(&self) -> usize {
        self.pool.jobs()
    }

    fn condition(&self, sink: &Sink) -> Condition {
        sink.condition()
    }

    fn occupied(&self, destination: &Destination) -> Occupied {
        let Destination::File(path) = destination else { return Occupied::No };
        match path.symlink_metadata() {
            Err(_) => Occupied::No,
            Ok(status) if status.is_file() => Occupied::File,
            Ok(_) => Occupied::Other,
        }
    }

    fn lineage(&self, path: &Path) -> Vec<FileId> {
        let absolute = std::path::absolute(path).unwrap_or_default();
        absolute.ancestors().find_map(|at| identity::lineage(at).ok()).unwrap_or_default()
    }

    fn state_dir(&self) -> &Path {
        self.mounts.state_dir()
    }

    fn source(&self, path: &Path) -> Result<Source> {
        Source::at(path)
    }

    fn archive_bytes(&self, location: &Location) -> Option<u64> {
        location.bytes()
    }

    fn modified(&self, location: &Location) -> Option<SystemTime> {
        location.path().metadata().and_then(|status| status.modified()).ok()
    }

    fn need(&self, input: &Input, ids: &IdMap, mounts: &[(&RelPath, Option<u64>)], shown: bool) -> Result<Vec<Need>> {
        extractor::need(input, ids, mounts, shown, self.pool, self.monitor).map_err(|error| self.monitor.cause(error))
    }

    fn check_prefix(&self, input: &Input) -> Result<()> {
        extractor::check_prefix(input, self.pool, self.monitor).map_err(|error| self.monitor.cause(error))
    }

    fn origin(&self, location: &Location, path: &RelPath) -> Result<Option<Origin>> {
        extractor::origin(location, path, self.pool, self.monitor).map_err(|error| self.monitor.cause(error))
    }

    fn first_clusters(&self, input: &Input) -> Result<Vec<Cluster>> {
        extractor::first_clusters(input, self.pool, self.monitor)
    }

    fn live_version(&self, tree: &MountTree, at: &RelPath) -> Option<MajorVersion> {
        let file = at.join(b"PG_VERSION").ok()?;
        MajorVersion::of_file(&self.mounts.open(tree).ok()?.beginning_of(&file, VERSION_BYTES as u64)?)
    }

    fn parts(&self, input: &Input, paths: &[RelPath]) -> Result<Parts> {
        extractor::locate(input, paths, self.pool, self.monitor).map_err(|error| self.monitor.cause(error))
    }

    fn check_parts(&self, tree: &MountTree, parts: &Parts) -> Result<()> {
        extractor::check_parts(&self.mounts.open(tree)?, parts)
    }

    fn check_new_directory(&self, path: &Path) -> Result<()> {
        NewDirectory::check(path)
    }

    fn mounted_below(&self, path: &Path) -> Result<Vec<PathBuf>> {
        let mounted = mountinfo::mounted()?;
        Ok(mountinfo::below(&mounted, path).map(Path::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filesystem::Access;
    use crate::monitor::Collector;

    #[test]
    fn files_and_their_lengths_are_known() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), "").unwrap();
        std::fs::create_dir(at("directory")).unwrap();
        std::os::unix::fs::symlink("file", at("link")).unwrap();
        let (mounts, pool) = (LiveMounts::new(&at("state"), Access::ReadOnly), Pool::new(1).unwrap());
        let monitor = Collector::default();
        let facts = ThisHost::new(&mounts, &pool, &monitor);
        let occupied = ["none", "file", "directory", "link"].map(|name| facts.occupied(&Destination::File(at(name))));
        assert_eq!(occupied, [Occupied::No, Occupied::File, Occupied::Other, Occupied::Other]);
        std::fs::write(at("archive"), "1234567").unwrap();
        let lengths = ["archive", "none"].map(|name| facts.archive_bytes(&Location::new(at(name))));
        assert_eq!(lengths, [Some(7), None]);
    }
}
