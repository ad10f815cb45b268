//! One archive into the trees it belongs to: each member goes to the mount that holds its path. Staged
//! beside the live trees, or laid over them.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use nix::unistd::syncfs;

use super::behind::Behind;
use crate::archive::strip::{Misfit, strip};
use crate::error::{Error, ErrorKind, Result};
use crate::member::{Kind, Member, Metadata, RelPath, printable};
use crate::monitor::{Event, Monitor, Stage, Summary};
use crate::ordered::Pool;
use crate::places::{Piece, Place};
use crate::stored::ArchiveFile;
use crate::volume::atomic::{AtomicFile, Ready};
use crate::volume::beneath::Beneath;
use crate::volume::content::{CopyError, write_with_holes};
use crate::volume::create::{Creator, Existing, unreadable};
use crate::volume::metadata;
use crate::volume::swap::{Live, PREVIOUS, STAGING, Staging};

/// How members are brought in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Staged, then swapped with the live tree.
    Replace,
    /// Over the live tree; what the archive does not name stays.
    Merge,
    /// Over the live tree; what the archive does not name goes.
    InPlace,
}

/// One archive to be restored.
#[derive(Debug, Clone)]
pub struct Job {
    /// The layout's name for it.
    pub archive: String,
    /// The file.
    pub file: PathBuf,
    /// The path inside the container: what all names must begin with.
    pub prefix: RelPath,
    /// The mounts that the tree is made of; the root's comes first.
    pub pieces: Vec<Piece>,
    /// Whether an archive with nothing but its root is taken for a real one.
    pub allow_empty: bool,
}

/// An archive that has been read to its end and laid out.
#[derive(Debug)]
pub struct Staged {
    /// Trees to be swapped, with where they go.
    pub trees: Vec<Staging>,
    /// Single files to be renamed.
    pub files: Vec<Ready>,
    /// The closing figures.
    pub summary: Summary,
    /// The archive file.
    pub file: PathBuf,
}

/// Reads the whole archive without restoring anything: every sum is checked, and every member's name.
pub fn check(job: &Job, pool: &Pool, monitor: &dyn Monitor) -> Result<()> {
    let mut archive = ArchiveFile::open(&job.file, pool)?;
    archive.started(Stage::Checking, monitor);
    let mut members = 0_u64;
    while let Some(stored) = archive.next_member(monitor)? {
        let member = strip(&stored, &job.prefix).map_err(|why| wrong(job, &why))?;
        members += u64::from(member.is_some_and(|member| !member.path.is_root()));
    }
    check_not_empty(job, members)?;
    monitor.event(&Event::Finished { stage: Stage::Checking, summary: &archive.summary(), at: archive.path() });
    Ok(())
}

/// Looks at the first members only: is this the archive of this path at all?
pub fn check_prefix(job: &Job, pool: &Pool, monitor: &dyn Monitor) -> Result<()> {
    let mut archive = ArchiveFile::open(&job.file, pool)?;
    while let Some(stored) = archive.next_member(monitor)? {
        if strip(&stored, &job.prefix).map_err(|why| wrong(job, &why))?.is_some() {
            return Ok(());
        }
    }
    check_not_empty(job, 0)
}

/// Restores one archive up to, but not including, the swap.
pub fn stage(job: &Job, mode: Mode, pool: &Pool, monitor: &dyn Monitor) -> Result<Staged> {
    let mut archive = ArchiveFile::open(&job.file, pool)?;
    archive.started(Stage::Restoring, monitor);
    let mut router = Router::new(job, mode)?;
    let mut members = 0_u64;
    let mut buffer = Vec::new();
    while let Some(stored) = archive.next_member(monitor)? {
        let Some(member) = strip(&stored, &job.prefix).map_err(|why| wrong(job, &why))? else { continue };
        let laid_out = router.member(&member, &mut archive.content(monitor), &mut buffer);
        laid_out.map_err(|error| tell_interruption(error, monitor).within(&job.archive))?;
        members += u64::from(!member.path.is_root());
        monitor.event(&Event::Member { archive: &job.archive, name: &stored.name, member: &member });
    }
    check_not_empty(job, members)?;
    for piece in router.untouched() {
        monitor.note(&format!(
            "{}: the archive holds nothing of '/{}', where another volume is mounted; that one is left as it is",
            job.archive,
            job.prefix.concat(&piece.at)
        ));
    }
    let (trees, files) = router.finish()?;
    Ok(Staged { trees, files, summary: archive.summary(), file: job.file.clone() })
}

/// Hands each member to the mount it belongs to.
struct Router<'a> {
    mode: Mode,
    files: Pool,
    pieces: Vec<(&'a Piece, Option<Target>)>,
}

enum Target {
    Tree(Box<Tree>),
    File(Option<Ready>),
}

/// A tree in the making. What makes it is dropped before it.
struct Tree {
    behind: Behind,
    staging: Option<Staging>,
    root: OwnedFd,
}

impl<'a> Router<'a> {
    fn new(job: &'a Job, mode: Mode) -> Result<Self> {
        let pieces = job.pieces.iter().map(|piece| (piece, None)).collect();
        let mut router = Self { mode, files: Pool::for_files()?, pieces };
        // The root's mount is always restored, even by an archive that does not name the root itself.
        router.open(0)?;
        Ok(router)
    }

    /// The index of the mount that holds `path`: the deepest whose place is at or above it.
    fn route(&self, path: &RelPath) -> Result<(usize, RelPath)> {
        let holders = self.pieces.iter().enumerate();
        let below = holders.filter_map(|(i, (piece, _))| path.strip_prefix(&piece.at).map(|below| (i, below)));
        below
            .min_by_key(|(_, below)| below.as_bytes().len())
            .ok_or_else(|| Error::refused(format!("no mount holds '{path}'")))
    }

    fn member(&mut self, member: &Member, content: &mut impl Read, buffer: &mut Vec<u8>) -> Result<()> {
        let (index, path) = self.route(&member.path)?;
        self.open(index)?;
        let kind = match &member.kind {
            Kind::HardLink { target } => {
                let (other, target) = self.route(target)?;
                if other != index {
                    return Err(Error::refused(format!(
                        "'{}' is a hard link to '{target}', which now lies on another mount",
                        member.path
                    )));
                }
                Kind::HardLink { target }
            }
            kind => kind.clone(),
        };
        let merging = self.mode == Mode::Merge;
        let (piece, target) = self.pieces.get_mut(index).ok_or_else(|| lost(&member.path))?;
        match target {
            // As with `tar -x --strip`, which never sees the root's own member.
            Some(Target::Tree(_)) if path.is_root() && piece.at.is_root() && merging => Ok(()),
            Some(Target::Tree(tree)) => tree.behind.member(&Member { path, kind, metadata: member.metadata }, content),
            Some(Target::File(ready)) => {
                let Place::File(at) = &piece.place else { return Err(lost(&member.path)) };
                let Kind::File { size } = kind else {
                    return Err(Error::refused(format!(
                        "'{}' is no regular file in the archive, but a single file is mounted there",
                        member.path
                    )));
                };
                if !path.is_root() {
                    return Err(Error::refused(format!("'{}' lies below a mounted file", member.path)));
                }
                *ready = Some(whole_file(at, size, &member.metadata, content, buffer)?);
                Ok(())
            }
            None => Err(lost(&member.path)),
        }
    }

    /// Begins the tree or file of a mount, once.
    fn open(&mut self, index: usize) -> Result<()> {
        let Some((piece, None)) = self.pieces.get(index) else { return Ok(()) };
        let live = match &piece.place {
            Place::File(_) => {
                if let Some((_, target)) = self.pieces.get_mut(index) {
                    *target = Some(Target::File(None));
                }
                return Ok(());
            }
            Place::Tree(live) => live,
        };
        let (staging, root) = if self.mode == Mode::Replace {
            let staging = Staging::begin(live)?;
            let root = staging.root()?;
            (Some(staging), root)
        } else {
            let root = File::open(&live.path)
                .map_err(|e| Error::failed("cannot open", live.path.as_os_str().as_bytes(), e))?;
            (None, OwnedFd::from(root))
        };
        let clone = |fd: &OwnedFd| {
            fd.try_clone().map_err(|e| Error::failed("cannot open", live.path.as_os_str().as_bytes(), e))
        };
        let mut creator = match self.mode {
            Mode::Replace => Creator::new(clone(&root)?, Existing::Staged),
            Mode::Merge => Creator::new(clone(&root)?, Existing::Merge),
            Mode::InPlace => Creator::remembering(clone(&root)?, Existing::Merge),
        };
        if self.mode != Mode::Merge {
            let here = File::open(&live.path).and_then(|f| metadata::of_open(&f).map_err(io::Error::from));
            let here = here.map_err(|e| Error::failed("cannot examine", live.path.as_os_str().as_bytes(), e))?;
            // Until the archive says otherwise the root stays as it is.
            let nothing = &mut io::empty();
            creator.member(&Member { path: RelPath::root(), kind: Kind::Directory, metadata: here }, nothing)?;
        }
        if self.mode == Mode::Replace {
            self.make_places(index, live, &mut creator)?;
        }
        let behind = Behind::new(creator, &self.files);
        if let Some((_, target)) = self.pieces.get_mut(index) {
            *target = Some(Target::Tree(Box::new(Tree { behind, staging, root })));
        }
        Ok(())
    }

    /// Where other mounts lie in this one, the staged tree needs a directory (or file) for the engine to mount on.
    fn make_places(&self, index: usize, live: &Live, creator: &mut Creator) -> Result<()> {
        let old = File::open(&live.path)
            .map(|root| Beneath::new(root.into()))
            .map_err(|e| Error::failed("cannot open", live.path.as_os_str().as_bytes(), e))?;
        for (piece, _) in &self.pieces {
            let Some((parent, _)) = piece.at.split_last() else { continue };
            let (holder, _) = self.route(&parent)?;
            let Some((own, _)) = self.pieces.get(index) else { continue };
            if holder != index {
                continue;
            }
            let path = piece.at.strip_prefix(&own.at).ok_or_else(|| lost(&piece.at))?;
            let there = old.open(&path).ok().and_then(|directory| metadata::of_open(&directory).ok());
            let usual = Metadata { mode: 0o755, ..Metadata::default() };
            let kind = match &piece.place {
                Place::Tree(_) => Kind::Directory,
                Place::File(_) => Kind::File { size: 0 },
            };
            let place = Member { path, kind, metadata: there.unwrap_or(usual) };
            creator.member(&place, &mut io::empty())?;
        }
        Ok(())
    }

    fn untouched(&self) -> impl Iterator<Item = &'a Piece> {
        self.pieces.iter().filter_map(|(piece, target)| match target {
            None | Some(Target::File(None)) => Some(*piece),
            Some(_) => None,
        })
    }

    fn finish(self) -> Result<(Vec<Staging>, Vec<Ready>)> {
        let (mut trees, mut files) = (Vec::new(), Vec::new());
        let places: Vec<RelPath> = self.pieces.iter().map(|(piece, _)| piece.at.clone()).collect();
        for (piece, target) in self.pieces {
            match target {
                None | Some(Target::File(None)) => {}
                Some(Target::File(Some(ready))) => files.push(ready),
                Some(Target::Tree(tree)) => {
                    let Tree { mut behind, staging, root } = *tree;
                    behind.finish(&|path| {
                        let ours = path.as_bytes();
                        ours == STAGING.as_bytes()
                            || (ours.starts_with(PREVIOUS.as_bytes()) && !ours.contains(&b'/'))
                            || places.iter().any(|at| at.strip_prefix(&piece.at.concat(path)).is_some())
                    })?;
                    match staging {
                        Some(staging) => trees.push(staging),
                        None => syncfs(&root).map_err(|e| Error::failed("cannot sync", piece.at.as_bytes(), e))?,
                    }
                }
            }
        }
        Ok((trees, files))
    }
}

fn whole_file(
    at: &std::path::Path,
    size: u64,
    meta: &Metadata,
    content: &mut impl Read,
    buffer: &mut Vec<u8>,
) -> Result<Ready> {
    let failed = |e: &dyn std::fmt::Display| Error::failed("cannot write", at.as_os_str().as_bytes(), e);
    let mut file = AtomicFile::create(at)?;
    write_with_holes(file.file(), content, size, buffer).map_err(|e| match e {
        CopyError::Read(e) => unreadable(&e),
        CopyError::Write(e) => failed(&e),
    })?;
    metadata::apply(&*file.file(), meta)
        .map_err(|(operation, e)| Error::failed(operation, at.as_os_str().as_bytes(), e))?;
    file.finish()
}

fn check_not_empty(job: &Job, members: u64) -> Result<()> {
    if members > 0 || job.allow_empty {
        return Ok(());
    }
    Err(Error::refused(format!(
        "'{}' holds nothing but its root: restoring it would empty the volume",
        job.file.display()
    ))
    .hint("--allow-empty does it all the same"))
}

fn wrong(job: &Job, why: &Misfit) -> Error {
    Error::new(
        ErrorKind::Refused,
        format!(
            "'{}' is not the archive of '/{}' ({}): {why}",
            printable(job.file.as_os_str().as_bytes()),
            job.prefix,
            job.archive
        ),
    )
    .hint("`voltar list` shows what it holds; --only NAME says which of the layout's archives a file is")
}

/// Whatever the layers made of it: once somebody has asked to stop, that is why it stopped.
fn tell_interruption(error: Error, monitor: &dyn Monitor) -> Error {
    if monitor.cancelled() { Error::interrupted() } else { error }
}

fn lost(path: &RelPath) -> Error {
    Error::failed("cannot place", path.as_bytes(), "its mount is not open")
}
