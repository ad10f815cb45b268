//! Routes each member to its mount. A mount's staged tree is begun with its first member: a mount without members stays
//! as it is.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use nix::unistd::syncfs;

use super::mode::Mode;
use super::write_behind::WriteBehind;
use crate::durable::atomic_file::{AtomicFile, Ready};
use crate::error::{Error, Result};
use crate::live_mounts::{LiveMount, LiveSource};
use crate::member::{Kind, Member, Metadata, RelPath};
use crate::ordered::Pool;
use crate::volume::beneath::Beneath;
use crate::volume::content::{CopyError, write_with_holes};
use crate::volume::create::{Creator, Existing, unreadable};
use crate::volume::metadata;
use crate::volume::swap::{Live, PREVIOUS, STAGING, Staging};

/// The mounts of one tree, and the thread pool that creates small files in all of them.
pub(super) struct Routes<'a> {
    mode: Mode,
    files: Pool,
    mounts: Vec<Route<'a>>,
}

/// One mount, and what has been extracted there so far.
struct Route<'a> {
    at: &'a RelPath,
    destination: Destination<'a>,
}

enum Destination<'a> {
    Tree {
        live: &'a Live,
        /// Where other mounts lie in this one, relative to it, with the kind of file that the engine mounts on.
        mountpoints: Vec<(RelPath, Kind)>,
        /// `None` before the first member.
        tree: Option<Box<Tree>>,
    },
    File {
        path: &'a Path,
        ready: Option<Ready>,
    },
}

/// A tree that members are extracted to. The order of the fields is the order in which they are dropped: what creates
/// files in the staged tree ends before that is removed.
struct Tree {
    writer: WriteBehind,
    staging: Option<Staging>,
    root: OwnedFd,
}

impl<'a> Routes<'a> {
    /// Begins the root's tree at once: it is restored even by an archive that does not name the root itself.
    pub(super) fn new(mounts: &'a [LiveMount], mode: Mode) -> Result<Self> {
        let routes = mounts
            .iter()
            .map(|mount| Route {
                at: &mount.at,
                destination: match &mount.source {
                    LiveSource::Directory(live) => {
                        Destination::Tree { live, mountpoints: mountpoints(mounts, &mount.at), tree: None }
                    }
                    LiveSource::File(path) => Destination::File { path, ready: None },
                },
            })
            .collect();
        let mut this = Self { mode, files: Pool::for_files()?, mounts: routes };
        if let Some(Route { destination: Destination::Tree { live, mountpoints, tree }, .. }) = this.mounts.first_mut()
        {
            *tree = Some(Box::new(Tree::begin(live, mountpoints, mode, &this.files)?));
        }
        Ok(this)
    }

    /// Extracts one member to the mount that holds its path; a file's content is read from `content`.
    pub(super) fn extract(&mut self, member: &Member, content: &mut impl Read) -> Result<()> {
        let (at, path) = holder(self.mounts.iter().map(|route| route.at), &member.path)?;
        let kind = match &member.kind {
            Kind::HardLink { target } => {
                let (other, below) = holder(self.mounts.iter().map(|route| route.at), target)?;
                if other != at {
                    return Err(Error::refused(format!(
                        "'{}' is a hard link to '{below}', which now lies on another mount",
                        member.path
                    )));
                }
                Kind::HardLink { target: below }
            }
            kind => kind.clone(),
        };
        let Some(route) = self.mounts.iter_mut().find(|route| route.at == at) else { return Err(no_holder(&path)) };
        let (mode, is_tree_root) = (self.mode, path.is_root() && at.is_root());
        let stored = Member { path, kind, metadata: member.metadata };
        match &mut route.destination {
            Destination::Tree { live, mountpoints, tree } => {
                let begun = match tree.take() {
                    Some(begun) => begun,
                    None => Box::new(Tree::begin(live, mountpoints, mode, &self.files)?),
                };
                let tree = tree.insert(begun);
                // As with `tar -x --strip`, which skips the root's own member.
                if is_tree_root && mode == Mode::Merge { Ok(()) } else { tree.writer.member(&stored, content) }
            }
            Destination::File { path, ready } => {
                *ready = Some(single_file(path, &member.path, &stored, content)?);
                Ok(())
            }
        }
    }

    /// Returns the mounts that received no member.
    pub(super) fn untouched(&self) -> impl Iterator<Item = &'a RelPath> {
        self.mounts.iter().filter_map(|route| match &route.destination {
            Destination::Tree { tree: None, .. } | Destination::File { ready: None, .. } => Some(route.at),
            Destination::Tree { .. } | Destination::File { .. } => None,
        })
    }

    /// Completes all trees and files. Swapping them is left to the caller.
    pub(super) fn finish(self) -> Result<(Vec<Staging>, Vec<Ready>)> {
        let (mut trees, mut files) = (Vec::new(), Vec::new());
        for Route { at, destination } in self.mounts {
            match destination {
                Destination::Tree { tree: None, .. } => {}
                Destination::Tree { tree: Some(tree), mountpoints, .. } => trees.extend(tree.finish(at, &mountpoints)?),
                Destination::File { ready, .. } => files.extend(ready),
            }
        }
        Ok((trees, files))
    }
}

/// Returns the deepest of the mounts `at` that holds `path`, and `path` relative to it.
fn holder<'m>(at: impl Iterator<Item = &'m RelPath>, path: &RelPath) -> Result<(&'m RelPath, RelPath)> {
    let holders = at.filter_map(|at| path.strip_prefix(at).map(|below| (at, below)));
    holders.min_by_key(|(_, below)| below.as_bytes().len()).ok_or_else(|| no_holder(path))
}

fn no_holder(path: &RelPath) -> Error {
    Error::refused(format!("no mount holds '{path}'"))
}

/// Returns the mountpoints of other mounts whose parent mount is the one at `at`, relative to it.
fn mountpoints(mounts: &[LiveMount], at: &RelPath) -> Vec<(RelPath, Kind)> {
    let nested = mounts.iter().filter_map(|mount| {
        let (parent, _) = mount.at.split_last()?;
        let (holding, _) = holder(mounts.iter().map(|mount| &mount.at), &parent).ok()?;
        let kind = match &mount.source {
            LiveSource::Directory(_) => Kind::Directory,
            LiveSource::File(_) => Kind::File { size: 0 },
        };
        (holding == at).then(|| mount.at.strip_prefix(at)).flatten().map(|path| (path, kind))
    });
    nested.collect()
}

impl Tree {
    fn begin(live: &Live, mountpoints: &[(RelPath, Kind)], mode: Mode, files: &Pool) -> Result<Self> {
        let failed = |operation: &str, e: io::Error| Error::failed_at(operation, &live.path, e);
        let (staging, root) = if mode == Mode::Replace {
            let staging = Staging::begin(live)?;
            let root = staging.root()?;
            (Some(staging), root)
        } else {
            (None, OwnedFd::from(File::open(&live.path).map_err(|e| failed("cannot open", e))?))
        };
        let below = root.try_clone().map_err(|e| failed("cannot open", e))?;
        let mut creator = match mode {
            Mode::Replace => Creator::new(below, Existing::Staged),
            Mode::Merge => Creator::new(below, Existing::Merge),
            Mode::InPlace => Creator::remembering(below, Existing::Merge),
        };
        if mode != Mode::Merge {
            // Until the archive says otherwise the root stays as it is.
            let metadata = File::open(&live.path)
                .and_then(|open| metadata::of_open(&open).map_err(io::Error::from))
                .map_err(|e| failed("cannot examine", e))?;
            creator.member(&Member { path: RelPath::root(), kind: Kind::Directory, metadata }, &mut io::empty())?;
        }
        if mode == Mode::Replace {
            let old =
                File::open(&live.path).map(|root| Beneath::new(root.into())).map_err(|e| failed("cannot open", e))?;
            for (path, kind) in mountpoints {
                creator.member(&mountpoint(&old, path, kind), &mut io::empty())?;
            }
        }
        Ok(Self { writer: WriteBehind::new(creator, files), staging, root })
    }

    /// Returns the staged tree; none where members were extracted over the live one.
    fn finish(self, at: &RelPath, mountpoints: &[(RelPath, Kind)]) -> Result<Option<Staging>> {
        let Self { mut writer, staging, root } = self;
        writer.finish(&|path| {
            let name = path.as_bytes();
            name == STAGING.as_bytes()
                || (name.starts_with(PREVIOUS.as_bytes()) && !name.contains(&b'/'))
                || mountpoints.iter().any(|(mountpoint, _)| mountpoint.strip_prefix(path).is_some())
        })?;
        if staging.is_none() {
            syncfs(&root).map_err(|e| Error::failed("cannot sync", at.as_bytes(), e))?;
        }
        Ok(staging)
    }
}

/// Returns the mountpoint that a nested mount needs in the staged tree, with the metadata that it has in the live one.
fn mountpoint(live: &Beneath, path: &RelPath, kind: &Kind) -> Member {
    let there = live.open(path).ok().and_then(|directory| metadata::of_open(&directory).ok());
    let usual = Metadata { mode: 0o755, ..Metadata::default() };
    Member { path: path.clone(), kind: kind.clone(), metadata: there.unwrap_or(usual) }
}

/// Writes the member that replaces a single mounted file, under a temporary name.
fn single_file(file: &Path, name: &RelPath, member: &Member, content: &mut impl Read) -> Result<Ready> {
    let Kind::File { size } = member.kind else {
        return Err(Error::refused(format!(
            "'{name}' is no regular file in the archive, but a single file is mounted there"
        )));
    };
    if !member.path.is_root() {
        return Err(Error::refused(format!("'{name}' lies below a mounted file")));
    }
    let subject = file.as_os_str().as_bytes();
    let mut new = AtomicFile::create(file)?;
    write_with_holes(new.file(), content, size, &mut Vec::new()).map_err(|e| match e {
        CopyError::Read(e) => unreadable(&e),
        CopyError::Write(e) => Error::failed("cannot write", subject, e),
    })?;
    metadata::apply(&*new.file(), &member.metadata).map_err(|(operation, e)| Error::failed(operation, subject, e))?;
    new.finish()
}
