//! What a plan needs to know of this machine and of the archives on it. Nothing here decides, and nothing writes.

use std::path::{Path, PathBuf};

use super::measure::{Measured, measure};
use crate::codec::Compression;
use crate::error::Error;
use crate::error::Result;
use crate::extractor::{self, Input};
use crate::host::mounts::MountTree;
use crate::host::{Volume, reality};
use crate::live_mounts::{LiveMount, live_mounts};
use crate::monitor::Monitor;
use crate::mountinfo;
use crate::ordered::Pool;
use crate::recovery;
use crate::store::directory::{self, Condition, Directory};
use crate::store::{Location, Source};
use crate::volume::MountSource;

/// What is at an archive's location before it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occupied {
    /// Nothing.
    No,
    /// A regular file.
    File,
    /// Anything else.
    Other,
}

/// Answers of this machine; the tests have others.
pub trait Facts {
    /// Why the mounts of `tree` are not really there.
    fn unreal(&self, tree: &MountTree, volumes: &[Volume]) -> Result<Vec<Error>>;

    /// The mounts of `tree` whose content is half old and half new: a refusal for each.
    fn unfinished(&self, tree: &MountTree) -> Vec<Error>;

    /// The tree of these mounts in figures.
    fn measure(&self, mounts: &[MountSource], compression: Compression) -> Result<Measured>;

    /// The directory that archives go to.
    fn condition(&self, store: &Directory) -> Condition;

    /// Whether there is something at `location`.
    fn occupied(&self, location: &Location) -> Occupied;

    /// The directory at `path`, absolute and without symbolic links; `None` where there is none.
    fn directory(&self, path: &Path) -> Option<PathBuf>;

    /// The archives that `path` names.
    fn source(&self, path: &Path) -> Result<Source>;

    /// The length of an archive in bytes, if it is known.
    fn archive_bytes(&self, location: &Location) -> Option<u64>;

    /// Reads the first members of the archive: an error where they do not lie below its prefix.
    fn check_prefix(&self, input: &Input) -> Result<()>;

    /// The mounts of `tree` as they are replaced.
    fn live_mounts(&self, tree: &MountTree) -> Result<Vec<LiveMount>>;

    /// The filesystems of this host that are mounted below `path`.
    fn mounted_below(&self, path: &Path) -> Result<Vec<PathBuf>>;

    /// Bytes that can still be written at `path`, if it is known.
    fn free_bytes(&self, path: &Path) -> Option<u64>;
}

/// The machine that voltar runs on.
pub struct ThisHost<'a> {
    pool: &'a Pool,
    monitor: &'a dyn Monitor,
}

impl<'a> ThisHost<'a> {
    /// Answers with the help of `pool`, until `monitor` asks to stop.
    pub fn new(pool: &'a Pool, monitor: &'a dyn Monitor) -> Self {
        Self { pool, monitor }
    }
}

impl Facts for ThisHost<'_> {
    fn unreal(&self, tree: &MountTree, volumes: &[Volume]) -> Result<Vec<Error>> {
        reality::obstacles(tree, volumes)
    }

    fn unfinished(&self, tree: &MountTree) -> Vec<Error> {
        recovery::unfinished(tree)
    }

    fn measure(&self, mounts: &[MountSource], compression: Compression) -> Result<Measured> {
        measure(mounts, compression, self.pool, self.monitor).map_err(|error| self.monitor.cause(error))
    }

    fn condition(&self, store: &Directory) -> Condition {
        store.condition()
    }

    fn occupied(&self, location: &Location) -> Occupied {
        match location.path().symlink_metadata() {
            Err(_) => Occupied::No,
            Ok(status) if status.is_file() => Occupied::File,
            Ok(_) => Occupied::Other,
        }
    }

    fn directory(&self, path: &Path) -> Option<PathBuf> {
        path.canonicalize().ok().filter(|path| path.is_dir())
    }

    fn source(&self, path: &Path) -> Result<Source> {
        Source::at(path)
    }

    fn archive_bytes(&self, location: &Location) -> Option<u64> {
        location.bytes()
    }

    fn check_prefix(&self, input: &Input) -> Result<()> {
        extractor::check_prefix(input, self.pool, self.monitor).map_err(|error| self.monitor.cause(error))
    }

    fn live_mounts(&self, tree: &MountTree) -> Result<Vec<LiveMount>> {
        live_mounts(tree)
    }

    fn mounted_below(&self, path: &Path) -> Result<Vec<PathBuf>> {
        let mounted = mountinfo::mounted()?;
        Ok(mountinfo::below(&mounted, path).map(Path::to_owned).collect())
    }

    fn free_bytes(&self, path: &Path) -> Option<u64> {
        directory::free_bytes(path)
    }
}
