//! Routes each member to its mount. A mount's staged tree is begun with its first member: a mount without members stays
//! as it is.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

use nix::fcntl::openat;
use nix::sys::stat;
use nix::unistd::{getegid, geteuid, syncfs};

use super::concerned::{Concerned, concerned, holder, no_holder};
use super::mode::Mode;
use super::parts::{Parts, Relation};
use super::write_behind::WriteBehind;
use crate::apart;
use crate::error::{Error, Result};
use crate::holes::ReadHoles;
use crate::member::{Kind, Member, Metadata, RelPath};
use crate::ordered::Pool;
use crate::volume::beneath::{Beneath, DIRECTORY};
use crate::volume::content::{CopyError, write_with_holes};
use crate::volume::create::{Creator, Existing, Removal, unreadable};
use crate::volume::live::{Live, LiveKind};
use crate::volume::metadata;
use crate::volume::not_restored::NotRestored;
use crate::volume::own_names::OwnNames;
use crate::volume::part::outermost_missing;
use crate::volume::staging::Staging;
use crate::volume::swap::Restoration;
use crate::volume::xattrs::NotSet;
use crate::volume::{Content, OpenMount, OpenTree};

/// The mounts of one tree, and the thread pool that creates small files in all of them.
pub(super) struct Routes<'a> {
    mode: Mode,
    /// Whether a nested mount of which the archive has only the root is emptied.
    allow_empty: bool,
    own: &'a OwnNames,
    /// The ids on this host of the container's root, where they differ.
    root_ids: Option<(u32, u32)>,
    files: Pool,
    not_restored: Arc<NotRestored>,
    mounts: Vec<Route<'a>>,
    /// Where something other than a single file is mounted.
    directories: Vec<&'a RelPath>,
    /// The nested mounts that are left as they are.
    left: Vec<Left<'a>>,
    /// The number of members that were skipped because they lie on no mount.
    on_no_mount: u64,
}

/// A nested mount that is left as it is.
pub(super) struct Left<'a> {
    pub(super) at: &'a RelPath,
    /// Whether that is because it is read-only; else another archive holds it.
    pub(super) read_only: bool,
    /// The number of members that were skipped.
    pub(super) skipped: u64,
}

/// One mount, and what has been extracted there so far.
struct Route<'a> {
    at: &'a RelPath,
    live: &'a Arc<Live>,
    /// Where the new tree or file is made; none where members are extracted over the live tree.
    staging: Option<&'a Staging>,
    destination: Destination,
    /// The paths in it that are restored; none if all of it is.
    paths: Vec<RelPath>,
    /// The outermost directories on the way to them that do not exist, where members are extracted over the live tree.
    missing: Vec<RelPath>,
}

enum Destination {
    Tree {
        /// Where other mounts lie in this one, relative to it, with the kind of file that the engine mounts on.
        mountpoints: Vec<(RelPath, Kind)>,
        /// The member of a nested mount's root, which alone does not replace that mount.
        root: Option<Member>,
        /// `None` before the first member.
        tree: Option<Box<Tree>>,
    },
    File {
        /// Whether the new file is complete.
        complete: bool,
    },
}

/// A tree that members are extracted to.
struct Tree {
    writer: WriteBehind,
    root: OwnedFd,
}

impl<'a> Routes<'a> {
    /// Routes the members of `parts`. The root's tree is begun at once: it is restored even by an archive that does not name
    /// the root itself.
    pub(super) fn new(
        tree: &'a OpenTree,
        parts: &Parts,
        restoration: &'a Restoration,
        mode: Mode,
        allow_empty: bool,
    ) -> Result<Self> {
        let mut mounts = Vec::new();
        for Concerned { at, live, paths } in concerned(tree, parts) {
            let missing = match mode {
                Mode::Replace => Vec::new(),
                Mode::Merge | Mode::InPlace => {
                    paths.iter().map(|path| outermost_missing(live, path)).collect::<Result<_>>()?
                }
            };
            let destination = match live.kind() {
                LiveKind::Directory => {
                    let mut mountpoints = mountpoints(tree, at);
                    mountpoints.retain(|(below, _)| parts.relation(&at.concat(below)) == Relation::Inside);
                    Destination::Tree { mountpoints, root: None, tree: None }
                }
                LiveKind::File => Destination::File { complete: false },
            };
            mounts.push(Route { at, live, staging: restoration.staging(live), destination, paths, missing });
        }
        let is_file =
            |mount: &&OpenMount| matches!(&mount.content, Content::Live(live) if live.kind() == LiveKind::File);
        let left = tree.mounts.iter().filter_map(|mount| {
            let read_only = match mount.content {
                Content::OtherArchive => false,
                Content::ReadOnly => true,
                Content::Live(_) | Content::Tmpfs => return None,
            };
            Some(Left { at: &mount.at, read_only, skipped: 0 })
        });
        let mut this = Self {
            mode,
            allow_empty,
            own: restoration.own_names(),
            root_ids: tree.ids.container_root(),
            files: Pool::for_files()?,
            not_restored: Arc::default(),
            mounts,
            directories: tree.mounts.iter().filter(|mount| !is_file(mount)).map(|mount| &mount.at).collect(),
            left: left.collect(),
            on_no_mount: 0,
        };
        if let Some(root) = this.mounts.first_mut().filter(|route| route.at.is_root() && route.paths.is_empty()) {
            root.begin(mode, this.root_ids, &this.files, &this.not_restored)?;
        }
        Ok(this)
    }

    /// Returns the directory of voltar's own in a live tree that `path` names or lies in.
    pub(super) fn own_name(&self, path: &RelPath) -> Option<RelPath> {
        let (at, below) = holder(self.mounts.iter().map(|route| route.at), path).ok()?;
        let route = self.mounts.iter().find(|route| route.at == at)?;
        own_name(route.live, self.own, &below)
    }

    /// Extracts one member to the mount that holds its path; a file's content is read from `content`. `check` is called now
    /// and then, where that takes long.
    pub(super) fn extract(
        &mut self,
        member: &Member,
        content: &mut impl ReadHoles,
        check: &dyn Fn() -> Result<()>,
    ) -> Result<()> {
        if member.is_one_file() && self.directories.contains(&&member.path) {
            return Err(Error::refused("the archive holds a single file in the place of the volume's directory"));
        }
        if member.kind != Kind::Directory && self.directories.contains(&&member.path) {
            return Err(Error::refused(format!(
                "'{}' is no directory in the archive, but another volume is mounted there",
                member.path
            ))
            .hint("restore into a container that has the same mounts as the one that was archived"));
        }
        let is_below = |at: &RelPath| member.path != *at && member.path.strip_prefix(at).is_some();
        if let Some(left) = self.left.iter_mut().find(|left| is_below(left.at)) {
            left.skipped += 1;
            return Ok(());
        }
        let Ok((at, path)) = holder(self.mounts.iter().map(|route| route.at), &member.path) else {
            return self.on_no_mount(member);
        };
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
        let (mode, root_ids) = (self.mode, self.root_ids);
        let is_tree_root = path.is_root() && at.is_root();
        let stored = Member { path, kind, metadata: member.metadata.clone() };
        if let (Destination::File { complete }, Some(staging)) = (&mut route.destination, route.staging) {
            let not_set = single_file(staging, &member.path, &stored, content)?;
            self.not_restored.add(&member.path, &not_set);
            *complete = true;
            return Ok(());
        }
        if let Destination::Tree { root, tree: None, .. } = &mut route.destination
            && stored.path.is_root()
            && !self.allow_empty
        {
            *root = Some(stored);
            return Ok(());
        }
        route.begin(mode, root_ids, &self.files, &self.not_restored)?;
        let Destination::Tree { mountpoints, tree: Some(tree), .. } = &mut route.destination else {
            return Err(no_holder(&stored.path));
        };
        note_root(route.staging, &stored)?;
        // As with `tar -x --strip`, which skips the root's own member.
        if is_tree_root && mode == Mode::Merge {
            return Ok(());
        }
        let spared = |path: &RelPath| is_spared(route.live, self.own, mountpoints, path);
        tree.writer.member(&stored, content, Removal { spared: &spared, check })
    }

    /// Extracts a directory above what is restored. Over the live tree it is made only if it does not exist.
    pub(super) fn above(&mut self, member: &Member) -> Result<()> {
        let Ok((at, path)) = holder(self.mounts.iter().map(|route| route.at), &member.path) else { return Ok(()) };
        let (mode, root_ids) = (self.mode, self.root_ids);
        let Some(route) = self.mounts.iter_mut().find(|route| route.at == at) else { return Ok(()) };
        let is_on_the_way = !path.is_root() && route.paths.iter().any(|wanted| wanted.strip_prefix(&path).is_some());
        let is_missing = || route.missing.iter().any(|missing| path.strip_prefix(missing).is_some());
        if !is_on_the_way || (mode != Mode::Replace && !is_missing()) {
            return Ok(());
        }
        let Some(tree) = route.begin(mode, root_ids, &self.files, &self.not_restored)? else { return Ok(()) };
        let directory = Member { path, kind: Kind::Directory, metadata: member.metadata.clone() };
        tree.writer.member(&directory, &mut io::empty(), Removal::NONE)
    }

    /// What was extracted without all its extended attributes. It is complete once all trees are.
    pub(super) fn not_restored(&self) -> &Arc<NotRestored> {
        &self.not_restored
    }

    /// Skips a member of a tree whose root is on no mount: a directory down to a mount is made by the engine, and
    /// everything else was part of a container.
    fn on_no_mount(&mut self, member: &Member) -> Result<()> {
        let is_above = self.directories.iter().any(|at| at.strip_prefix(&member.path).is_some());
        match (is_above, &member.kind) {
            (true, Kind::Directory) => {}
            (true, _) => {
                return Err(Error::refused(format!(
                    "'{}' is no directory in the archive, but volumes are mounted below it",
                    member.path
                ))
                .hint("restore into a container that has the same mounts as the one that was archived"));
            }
            (false, _) => self.on_no_mount += 1,
        }
        Ok(())
    }

    /// Returns the number of members that were skipped because they lie on no mount.
    pub(super) fn skipped_on_no_mount(&self) -> u64 {
        self.on_no_mount
    }

    /// Returns the mounts that received no member.
    pub(super) fn untouched(&self) -> impl Iterator<Item = &'a RelPath> {
        self.mounts.iter().filter_map(|route| match &route.destination {
            Destination::Tree { tree: None, .. } | Destination::File { complete: false } => Some(route.at),
            Destination::Tree { .. } | Destination::File { .. } => None,
        })
    }

    /// Returns whether no mount received a member.
    pub(super) fn are_untouched(&self) -> bool {
        self.untouched().count() == self.mounts.len()
    }

    /// Returns the nested mounts that are left as they are, and of which the archive has members.
    pub(super) fn left(&self) -> impl Iterator<Item = &Left<'a>> {
        self.left.iter().filter(|left| left.skipped > 0)
    }

    /// Completes all trees. Swapping them is left to the caller.
    ///
    /// # Errors
    /// Those of the system, and that of `check`, which is called now and then.
    pub(super) fn finish(self, check: &dyn Fn() -> Result<()>) -> Result<()> {
        for Route { at, live, staging, destination, .. } in self.mounts {
            if let Destination::Tree { tree: Some(tree), mountpoints, .. } = destination {
                let spared = |path: &RelPath| is_spared(live, self.own, &mountpoints, path);
                let Tree { mut writer, root } = *tree;
                writer.finish(Removal { spared: &spared, check })?;
                if staging.is_none() {
                    let synced = apart::wait_for(move || syncfs(&root), check)?;
                    synced.map_err(|e| Error::failed("cannot sync", at.as_bytes(), e))?;
                }
            }
        }
        Ok(())
    }
}

/// Returns whether `path` in `live` has to stay, whatever the archive holds: it is voltar's own, or another mount lies there or
/// below.
fn is_spared(live: &Live, own: &OwnNames, mountpoints: &[(RelPath, Kind)], path: &RelPath) -> bool {
    own_name(live, own, path).is_some()
        || mountpoints.iter().any(|(mountpoint, _)| mountpoint.strip_prefix(path).is_some())
}

/// Returns the directory of voltar's own in `live` that `path` names or lies in.
fn own_name(live: &Live, own: &OwnNames, path: &RelPath) -> Option<RelPath> {
    let names = path.components().enumerate();
    let mut candidates =
        names.filter(|(_, name)| OwnNames::may_have(OsStr::from_bytes(name))).map(|(at, _)| path.first(at + 1));
    candidates.find(|step| {
        let Some((parent, name)) = step.split_last() else { return false };
        let directory = live.handle().try_clone().ok().and_then(|root| Beneath::new(root).open(&parent).ok());
        directory.is_some_and(|directory| own.contains(&directory, name))
    })
}

/// Returns the mountpoints of other mounts whose parent mount is the one at `at`, relative to it.
fn mountpoints(tree: &OpenTree, at: &RelPath) -> Vec<(RelPath, Kind)> {
    let nested = tree.live().filter_map(|(nested, live)| {
        let (parent, _) = nested.split_last()?;
        let (holding, _) = holder(tree.live().map(|(at, _)| at), &parent).ok()?;
        let kind = match live.kind() {
            LiveKind::Directory => Kind::Directory,
            LiveKind::File => Kind::File { size: 0 },
        };
        (holding == at).then(|| nested.strip_prefix(at)).flatten().map(|path| (path, kind))
    });
    nested.collect()
}

impl Route<'_> {
    /// Begins the tree with the first member; `None` for a single file.
    fn begin(
        &mut self,
        mode: Mode,
        root_ids: Option<(u32, u32)>,
        files: &Pool,
        not_restored: &Arc<NotRestored>,
    ) -> Result<Option<&mut Tree>> {
        let Destination::Tree { mountpoints, root, tree } = &mut self.destination else { return Ok(None) };
        let begun = if let Some(begun) = tree.take() {
            begun
        } else {
            let tree = Tree::begin(self.live, self.staging, mountpoints, mode, root_ids, files, not_restored)?;
            let mut begun = Box::new(tree);
            if let Some(root) = root.take() {
                note_root(self.staging, &root)?;
                begun.writer.member(&root, &mut io::empty(), Removal::NONE)?;
            }
            begun
        };
        Ok(Some(tree.insert(begun)))
    }
}

impl Tree {
    fn begin(
        live: &Live,
        staging: Option<&Staging>,
        mountpoints: &[(RelPath, Kind)],
        mode: Mode,
        root_ids: Option<(u32, u32)>,
        files: &Pool,
        not_restored: &Arc<NotRestored>,
    ) -> Result<Self> {
        let failed = |operation: &str, e: io::Error| Error::failed_at(operation, live.path(), e);
        // A handle of its own: clones share the position in the listing.
        let open_live = || openat(live.handle(), ".", DIRECTORY, stat::Mode::empty());
        let root = match staging {
            Some(staging) => staging.root()?,
            None => open_live().map_err(|e| failed("cannot open", e.into()))?,
        };
        let below = root.try_clone().map_err(|e| failed("cannot open", e))?;
        let existing = match mode {
            Mode::Replace => Existing::Staged,
            Mode::Merge => Existing::Merge,
            Mode::InPlace => Existing::InPlace,
        };
        let mut creator = Creator::new(below, existing).for_owner(root_ids).reporting(not_restored);
        if mode != Mode::Merge {
            // Until the archive says otherwise the root stays as it is.
            let metadata = metadata::of_open(live.handle()).map_err(|e| failed("cannot examine", e.into()))?;
            let root = Member { path: RelPath::root(), kind: Kind::Directory, metadata };
            creator.member(&root, &mut io::empty(), Removal::NONE)?;
        }
        if mode == Mode::Replace {
            let old = Beneath::new(open_live().map_err(|e| failed("cannot open", e.into()))?);
            for (path, kind) in mountpoints {
                creator.member(&mountpoint(&old, path, kind, root_ids), &mut io::empty(), Removal::NONE)?;
            }
        }
        Ok(Self { writer: WriteBehind::new(creator, files), root })
    }
}

/// Notes the extended attributes of a tree's root, if `member` is that and has any.
fn note_root(staging: Option<&Staging>, member: &Member) -> Result<()> {
    let xattrs = &member.metadata.xattrs;
    let staging = staging.filter(|_| member.path.is_root() && xattrs.is_known());
    staging.map_or(Ok(()), |staging| staging.note_root_xattrs(xattrs))
}

/// Returns the mountpoint that a nested mount needs in the staged tree, with the metadata that it has in the live one.
fn mountpoint(live: &Beneath, path: &RelPath, kind: &Kind, root_ids: Option<(u32, u32)>) -> Member {
    let there = live.open(path).ok().and_then(|directory| metadata::of_open(&directory).ok());
    // As the engine makes it, but for a voltar without root, which can make it only its own.
    let (uid, gid) = root_ids.unwrap_or_else(|| (geteuid().as_raw(), getegid().as_raw()));
    let usual = Metadata { mode: 0o755, uid, gid, ..Metadata::default() };
    Member { path: path.clone(), kind: kind.clone(), metadata: there.unwrap_or(usual) }
}

/// Writes the member that replaces a single mounted file. Returns the extended attributes that could not be set.
fn single_file(staging: &Staging, name: &RelPath, member: &Member, content: &mut impl ReadHoles) -> Result<NotSet> {
    let Kind::File { size } = member.kind else {
        let what = if name.is_root() { "its root".to_owned() } else { format!("'{name}'") };
        return Err(Error::refused(format!(
            "{what} is no regular file in the archive, but a single file is mounted there"
        )));
    };
    if !member.path.is_root() {
        return Err(Error::refused(format!("'{name}' lies below a mounted file")));
    }
    let subject = staging.live().path().as_os_str().as_bytes();
    let mut new: File = staging.new_file()?;
    write_with_holes(&mut new, content, size, &mut Vec::new()).map_err(|e| match e {
        CopyError::Read(e) => unreadable(&e),
        CopyError::Write(e) => Error::failed("cannot write", subject, e),
    })?;
    metadata::apply(&new, &member.metadata).map_err(|(operation, e)| Error::failed(operation, subject, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::IdMap;
    use crate::volume::live::Way;
    use std::fs::{create_dir, write};

    fn path(name: &str) -> RelPath {
        RelPath::parse(name.as_bytes()).unwrap()
    }

    #[test]
    fn a_mountpoint_is_in_the_mount_that_is_nearest_above_it() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path().join("file"), "").unwrap();
        let mount = |at: &str, source: &str| {
            let live = Live::open(&dir.path().join(source), &RelPath::root(), Way::Entries).unwrap();
            OpenMount { at: path(at), content: Content::Live(Arc::new(live)) }
        };
        let mounts = vec![mount("", ""), mount("a", ""), mount("a/b/c", ""), mount("a/f", "file"), mount("d/e", "")];
        let tree = OpenTree { mounts, ids: IdMap::default(), own: Arc::default() };
        let below = |at: &str| mountpoints(&tree, &path(at));
        assert_eq!(below(""), [(path("a"), Kind::Directory), (path("d/e"), Kind::Directory)]);
        assert_eq!(below("a"), [(path("b/c"), Kind::Directory), (path("f"), Kind::File { size: 0 })]);
        assert_eq!(below("a/b/c"), []);
    }

    #[test]
    fn a_mountpoint_keeps_its_metadata_or_is_as_the_engine_makes_it() {
        let dir = tempfile::tempdir().unwrap();
        create_dir(dir.path().join("there")).unwrap();
        let there = OwnedFd::from(File::open(dir.path().join("there")).unwrap());
        stat::fchmod(&there, stat::Mode::from_bits_truncate(0o1710)).unwrap();
        let live = Beneath::new(OwnedFd::from(File::open(dir.path()).unwrap()));
        let of = |name: &str, root_ids| {
            let Member { path: at, kind, metadata } = mountpoint(&live, &path(name), &Kind::Directory, root_ids);
            assert_eq!((at, kind), (path(name), Kind::Directory));
            (metadata.mode, metadata.uid, metadata.gid)
        };
        let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
        assert_eq!(of("there", Some((7, 8))), (0o1710, uid, gid));
        assert_eq!(of("none", Some((7, 8))), (0o755, 7, 8));
        assert_eq!(of("none", None), (0o755, uid, gid));
    }
}
