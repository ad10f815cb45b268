//! Walks a tree as `tar --sort=name` does: each directory before its content, names in byte order, never
//! through a symbolic link. Nested mounts show at their mountpoints. It opens files beneath their
//! directory's handle and reads nothing of them.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat, major, minor};

use super::beneath::{DIRECTORY, open_path};
use super::content::{Opened, State, state};
use super::live::{Live, LiveKind};
use super::own_names::OwnNames;
use super::sorted_names::SortedNames;
use super::xattrs::Object;
use super::{Content, OpenMount, OpenTree, metadata};
use crate::digest::Digest;
use crate::error::{Cause, Error, Result};
use crate::exclude::Exclude;
use crate::identity::FileId;
use crate::limits::{Excess, Extent};
use crate::member::{Kind, Metadata, RelPath, Timestamp};
use crate::monitor::Monitor;

/// Handles of directories this many levels above the current one are closed, so that no tree is too deep for the limit on
/// open files.
const HELD: usize = 128;

/// One thing found in the tree.
#[derive(Debug)]
pub(crate) enum Found {
    /// A directory, file, link, FIFO or device.
    Entry(Entry),
    /// A socket: no archive can hold one.
    Socket(RelPath),
    /// A directory of voltar's own, which is on record.
    Own(RelPath),
    /// Something that the user has excluded. A directory is one, with all that it holds.
    Excluded,
    /// Entries of a directory that are beyond a limit of archives, with all that they hold. It follows the others.
    Beyond {
        /// The directory.
        path: RelPath,
        /// How many of its entries.
        entries: u64,
        /// The limit that the first of them exceeds.
        excess: Excess,
    },
    /// A directory that changed after it had been listed: what it held may be missing, or under two names. It follows what it
    /// holds.
    Changed(RelPath),
    /// Something that was in a directory's listing but could not be read; `vanished` where it is no longer there.
    Unreadable {
        /// Where.
        path: RelPath,
        /// One line: operation and cause.
        why: String,
        /// It is gone.
        vanished: bool,
    },
    /// Something that an earlier archive has, and the tree has no more, or as something of another kind.
    Gone(RelPath),
}

/// A file-system object and the handle to open it by.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Below the tree's root.
    pub path: RelPath,
    /// What it is; hard links are found by [`Links`].
    pub kind: Kind,
    /// Owner, mode, times.
    pub metadata: Metadata,
    /// Device, inode and link count.
    pub inode: Inode,
    /// What is known of it from an earlier archive.
    pub before: Before,
    place: Place,
    /// The directory that holds it; `None` for the root.
    holder: Option<Arc<Step>>,
}

/// How an entry compares with what an earlier archive has under its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Before {
    /// It is new or different, or there is no earlier archive.
    #[default]
    Other,
    /// It is the same.
    Same,
    /// It is the same if its content has this digest.
    SameIf(Digest),
}

/// A directory on the way to an entry. Entries of one directory share it, so that memory does not grow with the length of
/// their paths.
#[derive(Debug)]
pub(crate) struct Step {
    /// The directory above; `None` for the root.
    above: Option<Arc<Self>>,
    name: OsString,
}

impl Step {
    /// Returns the path of `name` in the directory `holder`.
    fn path(holder: Option<&Arc<Self>>, name: &OsStr) -> RelPath {
        let mut names = vec![name];
        let mut at = holder;
        while let Some(step) = at {
            names.push(&step.name);
            at = step.above.as_ref();
        }
        names.reverse();
        // The names of a walk are valid.
        RelPath::parse(names.join(OsStr::new("/")).as_bytes()).unwrap_or_default()
    }
}

/// Which object of the host something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Inode {
    /// Device and inode number.
    pub id: FileId,
    /// Its link count.
    pub nlink: u64,
    /// Bytes of disk it takes.
    pub allocated: u64,
    /// The time of the last change of anything about it: nobody can set it.
    pub ctime: Timestamp,
}

#[derive(Debug, Clone)]
enum Place {
    Beneath(Arc<OwnedFd>, OsString),
    Mounted(Arc<Live>),
    /// A directory on the way to a mount, which is on no mount itself.
    OnNoMount,
}

impl Entry {
    /// Opens a regular file for reading and takes its size and metadata from the open file, which is what
    /// counts when it was just changed or replaced.
    ///
    /// # Errors
    /// The system's, or `ESTALE` where no regular file is there any more.
    pub(crate) fn open(&mut self) -> std::result::Result<Opened, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let opened = match &self.place {
            Place::Beneath(directory, name) => {
                // Reading does not change access times; only the owner and root may ask for that.
                match openat(&**directory, name.as_os_str(), flags | OFlag::O_NOATIME, Mode::empty()) {
                    Err(Errno::EPERM) => openat(&**directory, name.as_os_str(), flags, Mode::empty())?,
                    other => other?,
                }
            }
            Place::Mounted(live) => {
                live.handle().try_clone().map_err(|e| Errno::from_raw(e.raw_os_error().unwrap_or(0)))?
            }
            Place::OnNoMount => return Err(Errno::ESTALE),
        };
        let status = fstat(&opened)?;
        if metadata::file_type(&status) != SFlag::S_IFREG {
            return Err(Errno::ESTALE);
        }
        let inode = inode(&status);
        if inode.ctime != self.inode.ctime {
            // It is not what was compared.
            self.before = Before::Other;
        }
        self.metadata = metadata::of(&status);
        self.inode = inode;
        self.kind = Kind::File { size: status.st_size.max(0).cast_unsigned() };
        Ok(Opened::new(opened.into(), &status))
    }

    /// Opens what it is, other than a file's content, for its extended attributes, and passes it to `look`. `None` if it is on
    /// no mount, so that there is nothing to open.
    ///
    /// # Errors
    /// The system's, or `ESTALE` where something else has its name by now.
    pub(crate) fn with_object<T>(&self, look: impl FnOnce(&Object<'_>) -> T) -> std::result::Result<Option<T>, Errno> {
        let (directory, name) = match &self.place {
            Place::Mounted(live) => return Ok(Some(look(&Object::open(live.handle())))),
            Place::OnNoMount => return Ok(None),
            Place::Beneath(directory, name) => (&**directory, name.as_os_str()),
        };
        if self.kind == Kind::Directory {
            let handle = openat(directory, name, DIRECTORY, Mode::empty())?;
            return Ok(Some(look(&Object::open(&handle))));
        }
        let handle = open_path(directory, name)?;
        let is_same = FileId::of(&fstat(&handle)?) == self.inode.id;
        if is_same { Ok(Some(look(&Object::path(&handle)))) } else { Err(Errno::ESTALE) }
    }

    /// Gives up the handle by which it could be opened: of entries that are kept for long there may be many.
    pub(crate) fn release(&mut self) {
        self.place = Place::OnNoMount;
    }

    /// Returns whether it has a name that voltar gives, though it is not on record.
    #[must_use]
    pub(crate) fn has_voltars_name(&self) -> bool {
        self.path.split_last().is_some_and(|(_, name)| OwnNames::may_have(name))
    }

    /// Whether both are opened through the same directory's handle.
    #[must_use]
    pub(crate) fn lies_beside(&self, other: &Self) -> bool {
        match (&self.place, &other.place) {
            (Place::Beneath(one, _), Place::Beneath(two, _)) => Arc::ptr_eq(one, two),
            (Place::Beneath(..) | Place::Mounted(_) | Place::OnNoMount, _) => false,
        }
    }
}

/// Finds hard links: the first path of a file is archived as the file, the others as links to it. GNU tar does so for
/// regular files and symbolic links. Memory holds the names of files with links still to come, and their directories.
#[derive(Debug, Default)]
pub(crate) struct Links {
    seen: HashMap<FileId, Seen>,
}

/// A file that was stored, and has more links.
#[derive(Debug)]
struct Seen {
    holder: Option<Arc<Step>>,
    name: Box<OsStr>,
    left: u64,
}

impl Links {
    /// The earlier name of this object, if there was one.
    pub(crate) fn target(&mut self, entry: &Entry) -> Option<RelPath> {
        if entry.inode.nlink < 2 || matches!(entry.kind, Kind::Directory) {
            return None;
        }
        let seen = self.seen.get_mut(&entry.inode.id)?;
        seen.left = seen.left.saturating_sub(1);
        let path = Step::path(seen.holder.as_ref(), &seen.name);
        if seen.left == 0 {
            // All its links have been stored.
            self.seen.remove(&entry.inode.id);
        }
        Some(path)
    }

    /// Returns whether another name of this object was counted before. Otherwise it is counted now.
    pub(crate) fn is_counted(&mut self, entry: &Entry) -> bool {
        let is_counted = self.target(entry).is_some();
        if !is_counted {
            self.stored(entry);
        }
        is_counted
    }

    /// Notes that `entry` was stored in full under its path.
    pub(crate) fn stored(&mut self, entry: &Entry) {
        if entry.inode.nlink > 1 && matches!(entry.kind, Kind::File { .. } | Kind::Symlink { .. }) {
            let name = entry.path.file_name().into();
            let seen = Seen { holder: entry.holder.clone(), name, left: entry.inode.nlink - 1 };
            self.seen.insert(entry.inode.id, seen);
        }
    }
}

/// The walk itself. Dropping it early is fine.
pub(crate) struct Walk<'a> {
    /// Once it is cancelled, no directory is listed any more.
    monitor: Option<&'a dyn Monitor>,
    levels: Vec<Level>,
    root: Option<Entry>,
    /// The nested mounts; `None` is an empty directory.
    mounts: BTreeMap<RelPath, Option<Arc<Live>>>,
    /// What a directory that is on no mount has.
    on_no_mount: Metadata,
    own: Arc<OwnNames>,
    /// The path of the directory whose content is being walked: that of the last level.
    at: RelPath,
    /// What is left out.
    excluded: Exclude,
    /// What precedes a path of the tree in the names of members, and its extent.
    prefix: (RelPath, Extent),
}

/// A directory whose content is being walked.
#[derive(Debug)]
struct Level {
    /// `None` for the root.
    step: Option<Arc<Step>>,
    directory: Handle,
    id: FileId,
    /// Before it was listed.
    state: State,
    /// Its handle stays open, because `..` of a nested mount's root is not this directory.
    pinned: bool,
    names: SortedNames,
    /// The entries so far that are beyond a limit, and the limit that the first of them exceeds.
    beyond: Option<(u64, Excess)>,
}

impl Level {
    /// Whether its directory has changed since it was listed, or may have.
    fn has_changed(&self) -> bool {
        let Handle::Open(directory) = &self.directory else { return false };
        !fstat(&**directory).is_ok_and(|status| state(&status) == self.state)
    }
}

/// The handle of a directory.
#[derive(Debug, Clone)]
pub(super) enum Handle {
    Open(Arc<OwnedFd>),
    /// It is opened again through `..` of the directory below it.
    Closed,
    /// The directory is on no mount.
    OnNoMount,
}

impl<'a> Walk<'a> {
    /// Begins at the root of `tree`.
    ///
    /// # Errors
    /// The root cannot be examined.
    pub(crate) fn new(tree: &OpenTree) -> Result<Self> {
        let live = |mount: &OpenMount| match &mount.content {
            Content::Live(live) => Some(Arc::clone(live)),
            Content::Tmpfs | Content::OtherArchive | Content::ReadOnly => None,
        };
        let mut mounts: BTreeMap<_, _> = tree.mounts.iter().map(|mount| (mount.at.clone(), live(mount))).collect();
        let (uid, gid) = tree.ids.container_root().unwrap_or_default();
        let mut this = Self {
            monitor: None,
            levels: Vec::new(),
            root: None,
            mounts: BTreeMap::new(),
            // As the engine makes it, but with the same time each time.
            on_no_mount: Metadata { mode: 0o755, uid, gid, ..Metadata::default() },
            own: Arc::clone(&tree.own),
            at: RelPath::root(),
            excluded: Exclude::default(),
            prefix: (RelPath::root(), Extent::default()),
        };
        this.root = Some(match mounts.remove(&RelPath::root()) {
            Some(Some(live)) => {
                let status = fstat(live.handle()).map_err(|e| Error::failed_at("cannot examine", live.path(), e))?;
                let kind = match live.kind() {
                    LiveKind::Directory => Kind::Directory,
                    LiveKind::File => Kind::File { size: status.st_size.max(0).cast_unsigned() },
                };
                let (metadata, inode) = (metadata::of(&status), inode(&status));
                let (path, before, place) = (RelPath::root(), Before::Other, Place::Mounted(live));
                Entry { path, kind, metadata, inode, before, place, holder: None }
            }
            Some(None) => return Err(Error::refused("the tree has no root to walk")),
            None => this.on_no_mount(RelPath::root()),
        });
        this.mounts = mounts;
        Ok(this)
    }

    /// Returns the entry of a directory that is on no mount.
    fn on_no_mount(&self, path: RelPath) -> Entry {
        let inode = Inode { id: FileId::default(), nlink: 1, allocated: 0, ctime: Timestamp::default() };
        let (metadata, before, place) = (self.on_no_mount.clone(), Before::Other, Place::OnNoMount);
        Entry { path, kind: Kind::Directory, metadata, inode, before, place, holder: self.holder() }
    }

    /// Returns the directory whose content is being walked; `None` for the root.
    fn holder(&self) -> Option<Arc<Step>> {
        self.levels.last().and_then(|level| level.step.clone())
    }

    /// Leaves out what `exclude` matches, with all that it holds. The names of members begin with `prefix`.
    #[must_use]
    pub(crate) fn excluding(mut self, exclude: &Exclude, prefix: &RelPath) -> Self {
        self.excluded = exclude.clone();
        self.prefix = (prefix.clone(), Extent::of(prefix));
        self
    }

    /// Ends with an error once `monitor` is cancelled, also while a large directory is listed. Whoever walks asks the monitor
    /// before each entry.
    #[must_use]
    pub(crate) fn watching(mut self, monitor: &'a dyn Monitor) -> Self {
        self.monitor = Some(monitor);
        self
    }

    fn excludes(&self, path: &RelPath) -> bool {
        !self.excluded.is_empty() && self.excluded.matching(self.prefix.0.concat(path).as_bytes()).is_some()
    }

    /// Returns the limit that the member of `path`, the entry `name` of the current directory, would exceed. The directory
    /// itself is within all.
    fn excess(&self, path: &RelPath, name: &OsStr) -> Option<Excess> {
        let prefix = self.prefix.1;
        let slash = usize::from(prefix.bytes > 0);
        let extent = Extent {
            bytes: prefix.bytes + slash + path.as_bytes().len(),
            components: prefix.components + self.levels.len(),
            longest: name.len(),
        };
        extent.excess()
    }

    /// Lists a directory that was just found and goes into it next.
    fn enter(&mut self, entry: &Entry) -> std::result::Result<(), Errno> {
        let open = |directory| Handle::Open(Arc::new(directory));
        let (directory, pinned) = match &entry.place {
            Place::Beneath(parent, name) => {
                (open(openat(&**parent, name.as_os_str(), DIRECTORY, Mode::empty())?), false)
            }
            Place::Mounted(live) => (open(openat(live.handle(), ".", DIRECTORY, Mode::empty())?), true),
            Place::OnNoMount => (Handle::OnNoMount, true),
        };
        let (id, state, mut names) = match &directory {
            Handle::Open(directory) => {
                let check = || if self.monitor.is_some_and(Monitor::cancelled) { Err(Errno::EINTR) } else { Ok(()) };
                let status = fstat(&**directory)?;
                (FileId::of(&status), state(&status), SortedNames::of(directory, &check)?)
            }
            Handle::Closed | Handle::OnNoMount => (entry.inode.id, State::default(), SortedNames::default()),
        };
        let mut mountpoints = Vec::new();
        // A mountpoint may be missing in the directory below it until the container was started once.
        let from_here = self.mounts.range(entry.path.clone()..);
        for (at, _) in from_here.take_while(|(at, _)| at.as_bytes().starts_with(entry.path.as_bytes())) {
            let Some(below) = at.strip_prefix(&entry.path) else { continue };
            let mut components = below.components();
            if let Some(name) = components.next()
                && (matches!(directory, Handle::OnNoMount) || components.next().is_none())
            {
                mountpoints.push(OsStr::from_bytes(name).to_owned());
            }
        }
        names.add(mountpoints);
        if pinned && let Some(above) = self.levels.last_mut() {
            above.pinned = true;
        }
        let step = (!entry.path.is_root())
            .then(|| Arc::new(Step { above: entry.holder.clone(), name: entry.path.file_name().to_owned() }));
        self.at = entry.path.clone();
        let pinned = pinned && self.levels.is_empty();
        self.levels.push(Level { step, directory, id, state, pinned, names, beyond: None });
        if let Some(far) = self.levels.len().checked_sub(HELD).and_then(|i| self.levels.get_mut(i))
            && !far.pinned
        {
            far.directory = Handle::Closed;
        }
        Ok(())
    }

    /// Returns to the directory above; a handle that was closed is opened again through `..`.
    fn leave(&mut self) -> std::result::Result<(), Error> {
        let Some(left) = self.levels.pop() else { return Ok(()) };
        let Some(top) = self.levels.last_mut() else { return Ok(()) };
        self.at = self.at.split_last().map_or_else(RelPath::root, |(above, _)| above);
        if !matches!(top.directory, Handle::Closed) {
            return Ok(());
        }
        let failed = |cause: Cause| Error::failed("cannot return to", self.at.as_bytes(), cause);
        let Handle::Open(below) = left.directory else { return Err(failed("its handle is lost".into())) };
        let directory = openat(&*below, "..", DIRECTORY, Mode::empty()).map_err(|e| failed(e.into()))?;
        let status = fstat(&directory).map_err(|e| failed(e.into()))?;
        if FileId::of(&status) != top.id {
            return Err(failed("a directory was moved while it was read".into()));
        }
        top.directory = Handle::Open(Arc::new(directory));
        Ok(())
    }

    /// Examines `name` in an open directory of the tree; `path` is where that is.
    pub(super) fn examine(&self, directory: &Handle, path: RelPath, name: OsString) -> Found {
        let unreadable = |path: RelPath, operation: &str, e: Errno| Found::Unreadable {
            why: format!("{operation} '{path}': {}", e.desc()),
            path,
            vanished: e == Errno::ENOENT,
        };
        if let Handle::Open(directory) = directory
            && self.own.contains(directory, &name)
        {
            return Found::Own(path);
        }
        let examined = match (self.mounts.get(&path), directory) {
            (Some(Some(live)), _) => fstat(live.handle()).map(|status| (status, Place::Mounted(Arc::clone(live)))),
            (Some(None) | None, Handle::Open(directory)) => {
                fstatat(&**directory, name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW)
                    .map(|status| (status, Place::Beneath(Arc::clone(directory), name)))
            }
            (Some(None) | None, Handle::OnNoMount) => return Found::Entry(self.on_no_mount(path)),
            (Some(None) | None, Handle::Closed) => Err(Errno::EBADF),
        };
        let (status, place) = match examined {
            Ok(examined) => examined,
            Err(e) => return unreadable(path, "cannot examine", e),
        };
        let kind = match metadata::file_type(&status) {
            SFlag::S_IFREG => Kind::File { size: status.st_size.max(0).cast_unsigned() },
            SFlag::S_IFDIR => Kind::Directory,
            SFlag::S_IFLNK => {
                let target = match &place {
                    Place::Beneath(directory, name) => readlinkat(&**directory, name.as_os_str()),
                    Place::Mounted(live) => readlinkat(live.handle(), ""),
                    Place::OnNoMount => Err(Errno::EINVAL),
                };
                match target {
                    Ok(target) => Kind::Symlink { target: target.into_vec() },
                    Err(e) => return unreadable(path, "cannot read the symbolic link", e),
                }
            }
            SFlag::S_IFIFO => Kind::Fifo,
            SFlag::S_IFSOCK => return Found::Socket(path),
            kind => {
                let (major, minor) = (major(status.st_rdev) as u32, minor(status.st_rdev) as u32);
                if kind == SFlag::S_IFCHR {
                    Kind::CharDevice { major, minor }
                } else {
                    Kind::BlockDevice { major, minor }
                }
            }
        };
        let holder = self.holder();
        let (metadata, inode) = (metadata::of(&status), inode(&status));
        Found::Entry(Entry { path, kind, metadata, inode, before: Before::Other, place, holder })
    }
}

impl Iterator for Walk<'_> {
    type Item = Result<Found>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(root) = self.root.take() {
            if root.kind == Kind::Directory
                && let Err(e) = self.enter(&root)
            {
                return Some(Err(Error::failed("cannot list", "the tree's root", e)));
            }
            return Some(Ok(Found::Entry(root)));
        }
        loop {
            let top = self.levels.last_mut()?;
            let Some(name) = top.names.next() else {
                if let Some((entries, excess)) = top.beyond.take() {
                    return Some(Ok(Found::Beyond { path: self.at.clone(), entries, excess }));
                }
                let changed = top.has_changed().then(|| self.at.clone());
                if let Err(error) = self.leave() {
                    self.levels.clear();
                    return Some(Err(error));
                }
                match changed {
                    Some(path) => return Some(Ok(Found::Changed(path))),
                    None => continue,
                }
            };
            let directory = top.directory.clone();
            let path = match self.at.join(name.as_bytes()) {
                Ok(path) => path,
                Err(why) => return Some(Err(Error::failed("cannot use the name", name.as_bytes(), why))),
            };
            if self.excludes(&path) {
                return Some(Ok(Found::Excluded));
            }
            if let Some(excess) = self.excess(&path, &name) {
                if let Some(level) = self.levels.last_mut() {
                    level.beyond.get_or_insert((0, excess)).0 += 1;
                }
                continue;
            }
            let found = self.examine(&directory, path, name);
            if let Found::Entry(entry) = &found
                && entry.kind == Kind::Directory
                && !matches!(self.mounts.get(&entry.path), Some(None))
                && let Err(e) = self.enter(entry)
            {
                return Some(Ok(Found::Unreadable {
                    path: entry.path.clone(),
                    why: format!("cannot open the directory '{}': {}", entry.path, e.desc()),
                    vanished: e == Errno::ENOENT,
                }));
            }
            return Some(Ok(found));
        }
    }
}

fn inode(status: &FileStat) -> Inode {
    Inode {
        id: FileId::of(status),
        nlink: status.st_nlink,
        allocated: u64::try_from(status.st_blocks).unwrap_or_default() * 512,
        ctime: metadata::time(status.st_ctime, status.st_ctime_nsec),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use super::*;
    use crate::limits::LONGEST_NAME;
    use crate::volume::live::Way;

    /// A name that the writer takes to the last byte is one that the reader takes.
    #[test]
    fn the_longest_name_is_counted_with_the_path_of_the_tree() {
        const LEVELS: usize = 262;
        let dir = tempfile::tempdir().unwrap();
        let tree = OpenTree::of_directory(dir.path(), Way::Exchange);
        let mut deepest = OwnedFd::from(std::fs::File::open(dir.path()).unwrap());
        for _ in 0..LEVELS {
            let name = "d".repeat(249);
            nix::sys::stat::mkdirat(&deepest, name.as_str(), Mode::S_IRWXU).unwrap();
            deepest = openat(&deepest, name.as_str(), DIRECTORY, Mode::empty()).unwrap();
        }
        for (prefix, before) in [("", 0), ("srv/x", "srv/x/".len())] {
            let longest = LONGEST_NAME - before - LEVELS * 250;
            let names = [longest, longest + 1].map(|length| "f".repeat(length));
            for name in &names {
                let flags = OFlag::O_CREAT | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
                openat(&deepest, name.as_str(), flags, Mode::S_IRUSR).unwrap();
            }
            let prefix = RelPath::parse(prefix.as_bytes()).unwrap();
            let found = Walk::new(&tree).unwrap().excluding(&Exclude::default(), &prefix).map(Result::unwrap);
            let (mut files, mut beyond) = (Vec::new(), 0);
            for found in found {
                match found {
                    Found::Entry(entry) if entry.kind != Kind::Directory => files.push(entry.path.file_name().len()),
                    Found::Beyond { entries, .. } => beyond += entries,
                    _ => {}
                }
            }
            assert_eq!((files, beyond), (vec![longest], 1), "below '{prefix}'");
            for name in &names {
                nix::unistd::unlinkat(&deepest, name.as_str(), nix::unistd::UnlinkatFlags::NoRemoveDir).unwrap();
            }
        }
    }

    /// The handle of a directory above a nested mount cannot be opened again through `..`.
    #[test]
    fn the_walk_returns_from_any_depth_of_a_nested_mount() {
        const LEVELS: usize = 2 * HELD;
        let (outer, inner) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for name in ["mount", "z"] {
            std::fs::create_dir(outer.path().join(name)).unwrap();
        }
        std::fs::create_dir_all(inner.path().join("d/".repeat(LEVELS))).unwrap();
        let mut tree = OpenTree::of_directory(outer.path(), Way::Exchange);
        let nested = OpenTree::of_directory(inner.path(), Way::Exchange).mounts.into_iter();
        let at = RelPath::parse(b"mount").unwrap();
        tree.mounts.extend(nested.map(|mount| OpenMount { at: at.clone(), ..mount }));
        let mut walk = Walk::new(&tree).unwrap();
        let (mut last, mut most) = (RelPath::root(), 0);
        while let Some(found) = walk.next() {
            let Found::Entry(entry) = found.unwrap() else { panic!("all of it can be read") };
            last = entry.path;
            let is_open = |level: &&Level| matches!(level.directory, Handle::Open(_));
            most = most.max(walk.levels.iter().filter(is_open).count());
        }
        assert_eq!(last.to_string(), "z");
        assert!((HELD..HELD + 3).contains(&most), "{most} handles");
    }

    #[test]
    fn what_a_file_takes_of_its_filesystem_is_known() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        std::fs::write(&path, vec![b'x'; 1 << 20]).unwrap();
        let tree = OpenTree::of_directory(dir.path(), Way::Exchange);
        let Found::Entry(file) = Walk::new(&tree).unwrap().last().unwrap().unwrap() else { panic!("it is there") };
        assert_eq!(file.inode.allocated, path.metadata().unwrap().blocks() * 512);
    }

    /// Only what is gone has vanished; the other is counted as unreadable. Root may read all.
    #[test]
    fn a_directory_that_may_not_be_opened_has_not_vanished() {
        let dir = tempfile::tempdir().unwrap();
        let closed = dir.path().join("closed");
        std::fs::create_dir(&closed).unwrap();
        let set_mode = |mode| std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(mode)).unwrap();
        set_mode(0o000);
        let tree = OpenTree::of_directory(dir.path(), Way::Exchange);
        let found = Walk::new(&tree).unwrap().last().unwrap().unwrap();
        // Then it can be removed.
        set_mode(0o700);
        let vanished = match found {
            Found::Unreadable { vanished, .. } => Some(vanished),
            _ => None,
        };
        assert_eq!(vanished, (!nix::unistd::geteuid().is_root()).then_some(false));
    }

    /// Somebody else can put one in the place of a file. Without a writer, an `open` that waits would wait for ever.
    #[test]
    fn a_fifo_in_the_place_of_a_file_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "x").unwrap();
        let tree = OpenTree::of_directory(dir.path(), Way::Exchange);
        let found = Walk::new(&tree).unwrap().last().unwrap().unwrap();
        let Found::Entry(mut entry) = found else { panic!("the file is there") };
        std::fs::remove_file(&file).unwrap();
        nix::unistd::mkfifo(&file, Mode::S_IRWXU).unwrap();
        let (sender, receiver) = channel();
        std::thread::spawn(move || sender.send(entry.open().map(drop)).unwrap_or_default());
        let opened = receiver.recv_timeout(Duration::from_secs(30));
        assert_eq!(opened.expect("it ends"), Err(Errno::ESTALE));
    }
}
