//! Extracts members as files: created new beneath the root's handle, never through a symbolic link, with
//! metadata by number. Directories get theirs at the end, deepest first, since whatever is made in them changes
//! their time and may need their mode.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fchmod, fstatat, makedev, mkdirat, mknodat};
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};

use super::beneath::{Beneath, DIRECTORY, NewDirectory};
use super::content::{CopyError, write_at_once, write_with_holes};
use super::described::Described;
use super::metadata;
use super::not_restored::NotRestored;
use super::remove::{entries, remove_all};
use super::shared_xattrs::{SharedXattrs, TooMany};
use super::xattrs::NotSet;
use crate::durable::page_cache::RecentFiles;
use crate::error::{Error, ErrorKind, Result};
use crate::holes::ReadHoles;
use crate::member::{Kind, Member, Metadata, RelPath, StepHasher};
use crate::xattrs::Xattrs;

/// How existing names are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Existing {
    /// There are none but those of the archive itself: its later members replace earlier ones.
    Staged,
    /// As `tar -x`: files are replaced, directories kept with their content.
    Merge,
    /// All are replaced that the archive names, and the others removed at the end.
    InPlace,
}

/// What the removal of directories heeds.
#[derive(Clone, Copy)]
pub(crate) struct Removal<'a> {
    /// Whether something at a path or below it has to stay.
    pub(crate) spared: &'a dyn Fn(&RelPath) -> bool,
    /// Called before each entry; its error ends the removal.
    pub(crate) check: &'a dyn Fn() -> Result<()>,
}

impl Removal<'static> {
    /// Nothing is removed.
    pub(crate) const NONE: Self = Self { spared: &|_| true, check: &|| Ok(()) };
}

impl Removal<'_> {
    /// Removes `name` in `directory`, which is at `path` below the root, and all below it.
    fn remove(&self, directory: &OwnedFd, name: &OsStr, path: &RelPath) -> Result<()> {
        remove_all(directory, name, &|| self.check_errno()).map_err(|e| self.error("cannot remove", path, e))
    }

    /// The check, for calls that return the number of an error.
    fn check_errno(&self) -> Result<(), Errno> {
        (self.check)().map_err(|_| Errno::EINTR)
    }

    /// Returns the error of the check, which `errno` may stand for, or else that of the system.
    fn error(&self, operation: &str, path: &RelPath, errno: Errno) -> Error {
        (self.check)().err().unwrap_or_else(|| cannot(operation, path, errno))
    }
}

/// Why a member was not created.
#[derive(Debug)]
pub(crate) enum NotMade {
    /// A directory with content has its name.
    Occupied,
    Failed(Error),
}

impl NotMade {
    /// Returns the error of a member at `path` for which no directory is removed any more.
    pub(crate) fn error(self, path: &RelPath) -> Error {
        match self {
            Self::Occupied => Error::failed(CREATE, path.as_bytes(), Errno::ENOTEMPTY),
            Self::Failed(error) => error,
        }
    }
}

impl From<Error> for NotMade {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

const CREATE: &str = "cannot create";
const OPEN: &str = "cannot open the directory";

/// The mode of directories that no member describes, as by `mkdir` with the usual umask.
const UNDESCRIBED: Mode = Mode::from_bits_truncate(0o755);

/// While members are extracted, directories are open to their owner alone.
const UNFINISHED: Mode = Mode::S_IRWXU;

/// Extracts members below one root.
#[derive(Debug)]
pub(crate) struct Creator {
    beneath: Beneath,
    existing: Existing,
    /// How directories that no member describes are created.
    undescribed: NewDirectory,
    /// The directory that the last member lay in: members come directory by directory.
    last: Option<(RelPath, Arc<OwnedFd>)>,
    described: Described,
    directory_xattrs: SharedXattrs,
    /// The names of the archive, if what else there is in the tree is removed.
    named: Option<Named>,
    /// Whether a directory was removed with its content.
    has_cleared: bool,
    recent: RecentFiles,
    buffer: Vec<u8>,
    not_restored: Arc<NotRestored>,
}

/// The names that the archive has, as hashes: 8 bytes for each, which exists on disk too.
#[derive(Debug, Default)]
struct Named {
    hasher: StepHasher,
    hashes: HashSet<u64>,
}

impl Named {
    fn contains(&self, path: &RelPath) -> bool {
        self.hasher.of_steps(path).last().is_none_or(|hash| self.hashes.contains(&hash))
    }
}

/// A file to create in an open directory, by any thread.
#[derive(Debug)]
pub(crate) struct NewFile {
    directory: Arc<OwnedFd>,
    name: OsString,
    path: RelPath,
    metadata: Metadata,
    not_restored: Arc<NotRestored>,
}

impl Creator {
    /// Extracts below the directory `root`.
    #[must_use]
    pub(crate) fn new(root: OwnedFd, existing: Existing) -> Self {
        Self {
            beneath: Beneath::new(root),
            existing,
            undescribed: NewDirectory { mode: UNDESCRIBED, owner: None },
            last: None,
            described: Described::default(),
            directory_xattrs: SharedXattrs::default(),
            named: (existing == Existing::InPlace).then(Named::default),
            has_cleared: false,
            recent: RecentFiles::default(),
            buffer: Vec::new(),
            not_restored: Arc::default(),
        }
    }

    /// The same, and gives directories that no member describes this user and group instead of those of this process.
    #[must_use]
    pub(crate) fn for_owner(mut self, owner: Option<(u32, u32)>) -> Self {
        self.undescribed.owner = owner;
        self
    }

    /// The same, and adds the attributes that cannot be set to `not_restored`.
    #[must_use]
    pub(crate) fn reporting(mut self, not_restored: &Arc<NotRestored>) -> Self {
        self.not_restored = Arc::clone(not_restored);
        self
    }

    /// Creates one member; a file's content is read from `content`. A directory with content that has its name is removed,
    /// as `removal` says, if existing names are replaced.
    ///
    /// # Errors
    /// `Unsafe` for a name that leads through a symbolic link, `Damaged` for an inconsistent archive, `Refused` if a
    /// directory would be removed that is spared, `Failed` for errors of the system.
    pub(crate) fn member(&mut self, member: &Member, content: &mut impl ReadHoles, removal: Removal<'_>) -> Result<()> {
        let mut made = self.make(member, content);
        if let Err(NotMade::Occupied) = made {
            self.clear(&member.path, removal)?;
            // Nothing was read from `content`.
            made = self.make(member, content);
        }
        made.map_err(|why| why.error(&member.path))?;
        self.remember(&member.path);
        Ok(())
    }

    fn make(&mut self, member: &Member, content: &mut impl ReadHoles) -> Result<(), NotMade> {
        let Some((parent, name)) = member.path.split_last() else {
            // The root is there; only its metadata counts.
            self.describe(member);
            return Ok(());
        };
        self.go_to(&parent)?;
        let Some((_, directory)) = &self.last else {
            return Err(lost(&parent).into());
        };
        let made = match &member.kind {
            Kind::Directory => {
                make_directory(directory, name, self.existing)
                    .map_err(|e| cannot("cannot create the directory", &member.path, e))?;
                self.describe(member);
                return Ok(());
            }
            Kind::File { size } => {
                let file = NewFile::new(Arc::clone(directory), name, member, &self.not_restored).copy(
                    content,
                    *size,
                    &mut self.buffer,
                )?;
                self.recent.add(file, *size);
                return Ok(());
            }
            Kind::Symlink { target } => {
                make_way(directory, name, || symlinkat(OsStr::from_bytes(target), directory, name))
                    .map_err(|e| not_made("cannot create the symbolic link", &member.path, e))?;
                metadata::apply_to_symlink(directory, name, &member.metadata)
            }
            Kind::HardLink { target } => return self.hard_link(member, target),
            Kind::Fifo => special(directory, name, SFlag::S_IFIFO, 0, &member.metadata),
            Kind::CharDevice { major, minor } => special(
                directory,
                name,
                SFlag::S_IFCHR,
                makedev(u64::from(*major), u64::from(*minor)),
                &member.metadata,
            ),
            Kind::BlockDevice { major, minor } => special(
                directory,
                name,
                SFlag::S_IFBLK,
                makedev(u64::from(*major), u64::from(*minor)),
                &member.metadata,
            ),
        };
        let not_set = made.map_err(|(operation, e)| not_made(operation, &member.path, e))?;
        self.not_restored.add(&member.path, &not_set);
        Ok(())
    }

    /// Removes the directory with content that has the name of a member, if existing names are replaced. The caller has
    /// made all files below it that the archive has named before.
    ///
    /// # Errors
    /// `Refused` if the directory is spared, `Failed` if it is kept; those of the system and of the check.
    pub(crate) fn clear(&mut self, path: &RelPath, removal: Removal<'_>) -> Result<()> {
        if self.existing == Existing::Merge {
            let why = "a directory with content has this name, which --merge keeps, as `tar -x` does";
            return Err(Error::failed(CREATE, path.as_bytes(), why));
        }
        if (removal.spared)(path) {
            return Err(Error::refused(format!(
                "'{path}' is no directory in the archive, but volumes are mounted below it"
            ))
            .hint("restore into a container that has the same mounts as the one that was archived"));
        }
        let Some((parent, name)) = path.split_last() else { return Ok(()) };
        self.go_to(&parent)?;
        let Some((_, directory)) = &self.last else { return Err(lost(&parent)) };
        self.has_cleared = true;
        removal.remove(directory, name, path)
    }

    /// Keeps the metadata of a directory until the end.
    fn describe(&mut self, member: &Member) {
        let mut metadata = member.metadata.clone();
        if let Err(TooMany) = self.directory_xattrs.share(&mut metadata.xattrs) {
            self.not_restored.add_reason(&member.path, "those of all directories take too much memory");
        }
        self.described.set(&member.path, metadata);
    }

    /// Creates and opens the directory of a file, which any thread can then create. `None` for the root.
    ///
    /// # Errors
    /// As [`Creator::member`].
    pub(crate) fn file(&mut self, member: &Member) -> Result<Option<NewFile>> {
        let Some((parent, name)) = member.path.split_last() else { return Ok(None) };
        self.go_to(&parent)?;
        self.remember(&member.path);
        Ok(self
            .last
            .as_ref()
            .map(|(_, directory)| NewFile::new(Arc::clone(directory), name, member, &self.not_restored)))
    }

    /// Applies the metadata of all directories, deepest first.
    ///
    /// # Errors
    /// Those of the system, and that of `check`, which is called before each directory.
    pub(crate) fn finish_directories(&mut self, check: &dyn Fn() -> Result<()>) -> Result<()> {
        self.last = None;
        for (path, metadata) in std::mem::take(&mut self.described).deepest_first() {
            check()?;
            let directory = match self.beneath.open(&path) {
                // A later member has replaced it (`tar -r`), or one above it.
                Err(Errno::ENOTDIR | Errno::ELOOP) => continue,
                Err(Errno::ENOENT) if self.has_cleared => continue,
                other => other.map_err(|e| cannot(OPEN, &path, e))?,
            };
            let not_set =
                metadata::apply(&directory, &metadata).map_err(|(operation, e)| cannot(operation, &path, e))?;
            self.not_restored.add(&path, &not_set);
        }
        Ok(())
    }

    /// Removes everything below the root that no member named. Call it before [`Creator::finish_directories`].
    ///
    /// # Errors
    /// Those of the system, and of the check.
    pub(crate) fn remove_others(&mut self, removal: Removal<'_>) -> Result<()> {
        let Some(named) = self.named.take() else { return Ok(()) };
        let mut waiting = vec![RelPath::root()];
        while let Some(path) = waiting.pop() {
            (removal.check)()?;
            let directory = self.beneath.open(&path).map_err(|e| cannot(OPEN, &path, e))?;
            let listed = entries(&directory, &|| removal.check_errno())
                .map_err(|e| removal.error("cannot list the directory", &path, e))?;
            for (name, is_directory) in listed {
                let below = path
                    .join(name.as_bytes())
                    .map_err(|why| Error::failed("cannot use the name", name.as_bytes(), why))?;
                if (removal.spared)(&below) {
                    continue;
                }
                if !named.contains(&below) {
                    removal.remove(&directory, &name, &below)?;
                } else if is_directory {
                    waiting.push(below);
                }
            }
        }
        Ok(())
    }

    fn remember(&mut self, path: &RelPath) {
        if let Some(Named { hasher, hashes }) = &mut self.named {
            // Directories on the way are named by what lies in them.
            hashes.extend(hasher.of_steps(path));
        }
    }

    /// Opens the directory of a member that [`Creator::remember`] does not have yet.
    fn go_to(&mut self, parent: &RelPath) -> Result<()> {
        if self.last.as_ref().is_none_or(|(path, _)| path != parent) {
            let open = || self.beneath.open_or_create(parent, self.undescribed);
            let directory = match open() {
                Err(Errno::ENOTDIR | Errno::ELOOP) => self.clear_way(parent).and_then(|()| open()),
                other => other,
            };
            let directory = directory.map_err(|e| cannot(OPEN, parent, e))?;
            self.last = Some((parent.clone(), Arc::new(directory)));
        }
        Ok(())
    }

    /// Removes the first file or symbolic link on the way to `directory`, if what the archive does not name is removed.
    /// No mountpoint is removed: members there or below belong to another tree.
    ///
    /// # Errors
    /// That of opening it, if it is kept; those of the system.
    fn clear_way(&self, directory: &RelPath) -> Result<(), Errno> {
        for step in directory.steps().filter_map(|step| RelPath::parse(step).ok()) {
            let Err(errno) = self.beneath.open(&step) else { continue };
            let is_others = self.named.as_ref().is_some_and(|named| !named.contains(&step));
            let (true, Some((parent, name))) = (is_others, step.split_last()) else { return Err(errno) };
            return unlinkat(self.beneath.open(&parent)?, name, UnlinkatFlags::NoRemoveDir);
        }
        Ok(())
    }

    fn hard_link(&mut self, member: &Member, target: &RelPath) -> Result<(), NotMade> {
        let to_directory =
            || Error::new(ErrorKind::Damaged, format!("'{}' is a hard link to a directory", member.path));
        let (Some((parent, name)), Some((_, directory))) = (target.split_last(), &self.last) else {
            return Err(to_directory().into());
        };
        let Some((_, own_name)) = member.path.split_last() else { return Ok(()) };
        if self.named.as_ref().is_some_and(|named| !named.contains(target)) {
            return Err(no_target(&member.path, target).into());
        }
        let missing = |e: Errno| match e {
            Errno::ENOENT => no_target(&member.path, target).into(),
            e => not_made("cannot create the hard link", &member.path, e),
        };
        let from = self.beneath.open(&parent).map_err(missing)?;
        let status = fstatat(&from, name, AtFlags::AT_SYMLINK_NOFOLLOW).map_err(missing)?;
        if metadata::is_directory(&status) {
            return Err(to_directory().into());
        }
        if *target == member.path {
            return Ok(());
        }
        make_way(directory, own_name, || linkat(&from, name, directory, own_name, AtFlags::empty())).map_err(missing)
    }
}

impl NewFile {
    fn new(directory: Arc<OwnedFd>, name: &OsStr, member: &Member, not_restored: &Arc<NotRestored>) -> Self {
        let (path, metadata) = (member.path.clone(), member.metadata.clone());
        Self { directory, name: name.to_owned(), path, metadata, not_restored: Arc::clone(not_restored) }
    }

    /// Where it is to be.
    #[must_use]
    pub(crate) fn path(&self) -> &RelPath {
        &self.path
    }

    /// Its extended attributes.
    #[must_use]
    pub(crate) fn xattrs(&self) -> &Xattrs {
        &self.metadata.xattrs
    }

    /// Whether the two share the handle of their directory.
    #[must_use]
    pub(crate) fn lies_beside(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.directory, &other.directory)
    }

    /// Makes it, with this content.
    ///
    /// # Errors
    /// As [`Creator::member`].
    pub(crate) fn make(&self, content: &[u8]) -> Result<(), NotMade> {
        self.fill(|file| write_at_once(file, content).map_err(CopyError::Write)).map(drop)
    }

    /// Makes it, with `size` bytes from `content`.
    fn copy(&self, content: &mut impl ReadHoles, size: u64, buffer: &mut Vec<u8>) -> Result<File, NotMade> {
        self.fill(|file| write_with_holes(file, content, size, buffer))
    }

    fn fill(&self, write: impl FnOnce(&mut File) -> Result<(), CopyError>) -> Result<File, NotMade> {
        let name = self.name.as_os_str();
        let file = make_way(&self.directory, name, || {
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            openat(&*self.directory, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)
        });
        let mut file = File::from(file.map_err(|e| not_made(CREATE, &self.path, e))?);
        write(&mut file).map_err(|e| match e {
            CopyError::Read(e) => unreadable(&e),
            CopyError::Write(e) => match e.raw_os_error() {
                Some(number) => cannot("cannot write", &self.path, Errno::from_raw(number)),
                None => Error::failed("cannot write", self.path.as_bytes(), e),
            },
        })?;
        let not_set =
            metadata::apply(&file, &self.metadata).map_err(|(operation, e)| cannot(operation, &self.path, e))?;
        self.not_restored.add(&self.path, &not_set);
        Ok(file)
    }
}

fn special(
    directory: &OwnedFd,
    name: &OsStr,
    kind: SFlag,
    device: u64,
    metadata: &Metadata,
) -> Result<NotSet, metadata::Failed> {
    let made = make_way(directory, name, || mknodat(directory, name, kind, Mode::S_IRUSR | Mode::S_IWUSR, device));
    made.map_err(|e| (CREATE, e))?;
    metadata::apply_to_special(directory, name, kind, metadata)
}

/// Creates an object under `name`; what exists there is removed first, unless it is a directory with content.
fn make_way<T>(directory: &OwnedFd, name: &OsStr, create: impl Fn() -> Result<T, Errno>) -> Result<T, Errno> {
    match create() {
        Err(Errno::EEXIST) => {
            match unlinkat(directory, name, UnlinkatFlags::NoRemoveDir) {
                Err(Errno::EISDIR) => unlinkat(directory, name, UnlinkatFlags::RemoveDir)?,
                other => other?,
            }
            create()
        }
        other => other,
    }
}

fn make_directory(directory: &OwnedFd, name: &OsStr, existing: Existing) -> Result<(), Errno> {
    match mkdirat(directory, name, UNFINISHED) {
        Err(Errno::EEXIST) => {
            let there = fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
            if !metadata::is_directory(&there) {
                unlinkat(directory, name, UnlinkatFlags::NoRemoveDir)?;
                return mkdirat(directory, name, UNFINISHED);
            }
            if existing != Existing::Staged && there.st_mode & 0o700 != 0o700 {
                // Without CAP_DAC_OVERRIDE, its mode could forbid creating files in it.
                let handle = openat(directory, name, DIRECTORY, Mode::empty())?;
                fchmod(&handle, Mode::from_bits_truncate(there.st_mode & 0o7777) | UNFINISHED)?;
            }
            Ok(())
        }
        other => other,
    }
}

/// Errors of the archive keep their own message: which byte, what is wrong.
#[must_use]
pub(crate) fn unreadable(e: &std::io::Error) -> Error {
    let kind = match e.kind() {
        std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof => ErrorKind::Damaged,
        _ => ErrorKind::Failed,
    };
    Error::new(kind, e.to_string())
}

fn not_made(operation: &str, path: &RelPath, e: Errno) -> NotMade {
    match e {
        Errno::ENOTEMPTY => NotMade::Occupied,
        e => NotMade::Failed(cannot(operation, path, e)),
    }
}

/// Returns the error of a hard link at `path` to what the archive does not hold.
#[must_use]
pub(crate) fn no_target(path: &RelPath, target: &RelPath) -> Error {
    let what = format!("'{path}' is a hard link to '{target}', which the archive does not hold before it");
    Error::new(ErrorKind::Damaged, what)
}

fn lost(directory: &RelPath) -> Error {
    Error::failed("cannot open", directory.as_bytes(), "its handle is lost")
}

fn cannot(operation: &str, path: &RelPath, e: Errno) -> Error {
    match e {
        Errno::ELOOP | Errno::ENOTDIR | Errno::EXDEV => Error::new(
            ErrorKind::Unsafe,
            format!("{operation} '{path}': it leads through a symbolic link or a file, which is never followed"),
        ),
        e => {
            let error = Error::failed(operation, path.as_bytes(), e);
            match e {
                Errno::EPERM | Errno::EACCES => error.hint("owners, devices and other people's files need root"),
                _ => error,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir, set_permissions, write};
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

    fn path(name: &str) -> RelPath {
        RelPath::parse(name.as_bytes()).unwrap()
    }

    /// As an ordinary user, who can create nothing in a directory of such a mode.
    #[test]
    fn members_are_merged_into_a_directory_that_its_owner_cannot_write_to() {
        let dir = tempfile::tempdir().unwrap();
        create_dir(dir.path().join("a")).unwrap();
        write(dir.path().join("a/kept"), "").unwrap();
        set_permissions(dir.path().join("a"), std::fs::Permissions::from_mode(0o2550)).unwrap();
        let root = OwnedFd::from(File::open(dir.path()).unwrap());
        let mut creator = Creator::new(root, Existing::Merge);
        let status = dir.path().join("a").metadata().unwrap();
        let metadata = |mode| Metadata { mode, uid: status.uid(), gid: status.gid(), ..Metadata::default() };
        let mut create = |name: &str, kind, mode| {
            creator
                .member(
                    &Member { path: path(name), kind, metadata: metadata(mode) },
                    &mut std::io::empty(),
                    Removal::NONE,
                )
                .unwrap();
        };
        create("a", Kind::Directory, 0o500);
        assert_eq!(dir.path().join("a").metadata().unwrap().mode() & 0o7777, 0o2750, "the others keep theirs");
        create("a/b", Kind::Directory, 0o500);
        create("a/b/file", Kind::File { size: 0 }, 0o400);
        creator.finish_directories(&|| Ok(())).unwrap();
        let modes = ["a", "a/b", "a/b/file"].map(|name| dir.path().join(name).metadata().unwrap().mode() & 0o7777);
        assert_eq!(modes, [0o500, 0o500, 0o400]);
        assert!(dir.path().join("a/kept").exists());
        for name in ["a", "a/b"] {
            set_permissions(dir.path().join(name), std::fs::Permissions::from_mode(0o700)).unwrap();
        }
    }

    #[test]
    fn a_directory_with_content_is_replaced_where_existing_names_are() {
        let no_check: &dyn Fn() -> Result<()> = &|| Ok(());
        let any = Removal { spared: &|_| false, check: no_check };
        let spared = Removal { spared: &|path| path.as_bytes() == b"a", check: no_check };
        let cancelled = Removal { check: &|| Err(Error::interrupted()), ..any };
        let links = Kind::HardLink { target: path("file") };
        let kinds = [Kind::File { size: 0 }, Kind::Symlink { target: b"x".to_vec() }, Kind::Fifo, links];
        for (existing, removal, refusal) in [
            (Existing::Staged, any, None),
            (Existing::InPlace, any, None),
            (Existing::Merge, any, Some((ErrorKind::Failed, "which --merge keeps"))),
            (Existing::Staged, spared, Some((ErrorKind::Refused, "volumes are mounted below it"))),
            (Existing::Staged, cancelled, Some((ErrorKind::Interrupted, ""))),
        ] {
            for kind in &kinds {
                let dir = tempfile::tempdir().unwrap();
                let root = OwnedFd::from(File::open(dir.path()).unwrap());
                let mut creator = Creator::new(root, existing);
                let owner = dir.path().metadata().unwrap();
                let mut create = |name: &str, kind: &Kind| {
                    let metadata = Metadata { mode: 0o700, uid: owner.uid(), gid: owner.gid(), ..Metadata::default() };
                    let member = Member { path: path(name), kind: kind.clone(), metadata };
                    creator.member(&member, &mut std::io::empty(), removal)
                };
                create("file", &Kind::File { size: 0 }).unwrap();
                create("a", &Kind::Directory).unwrap();
                create("a/b", &Kind::Directory).unwrap();
                create("a/b/c", &Kind::File { size: 0 }).unwrap();
                let made = create("a", kind);
                let content = dir.path().join("a/b/c");
                match refusal {
                    None => {
                        made.unwrap();
                        assert!(!dir.path().join("a").symlink_metadata().unwrap().is_dir());
                        // What it held is described no more.
                        create("a", &Kind::Directory).unwrap();
                        creator.finish_directories(no_check).unwrap();
                        assert_eq!(std::fs::read_dir(dir.path().join("a")).unwrap().count(), 0);
                    }
                    Some((kind, message)) => {
                        let error = made.unwrap_err();
                        assert!(error.kind() == kind && error.to_string().contains(message), "{error}");
                        assert!(content.exists());
                    }
                }
            }
        }
    }

    #[test]
    fn a_directory_with_all_rights_of_its_owner_keeps_its_mode_until_the_end() {
        let dir = tempfile::tempdir().unwrap();
        create_dir(dir.path().join("a")).unwrap();
        set_permissions(dir.path().join("a"), std::fs::Permissions::from_mode(0o1777)).unwrap();
        let root = OwnedFd::from(File::open(dir.path()).unwrap());
        let changed = || dir.path().join("a").metadata().unwrap().ctime_nsec();
        let before = changed();
        std::thread::sleep(std::time::Duration::from_millis(20));
        make_directory(&root, OsStr::new("a"), Existing::Merge).unwrap();
        assert_eq!(changed(), before);
    }

    #[test]
    fn errors_say_whether_the_archive_or_the_system_is_at_fault() {
        let kind = |kind: std::io::ErrorKind| unreadable(&kind.into()).kind();
        assert_eq!(kind(std::io::ErrorKind::InvalidData), ErrorKind::Damaged);
        assert_eq!(kind(std::io::ErrorKind::UnexpectedEof), ErrorKind::Damaged);
        assert_eq!(kind(std::io::ErrorKind::PermissionDenied), ErrorKind::Failed);
        let advice = |errno| cannot("cannot write", &path("a"), errno).advice().unwrap_or_default().to_owned();
        // What helps against a full disk depends on the live tree, which is not known here.
        assert_eq!(advice(Errno::ENOSPC), "");
        assert!(advice(Errno::EPERM).contains("need root") && advice(Errno::EACCES).contains("need root"));
        assert_eq!(advice(Errno::EIO), "");
        assert_eq!(cannot("cannot write", &path("a"), Errno::ELOOP).kind(), ErrorKind::Unsafe);
    }
}
