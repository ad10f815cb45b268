//! Replaces a live tree by a staged one, so that after any interruption it is the old tree or the new one.
//!
//! The new tree is staged in a hidden directory on the same filesystem. There are two ways to replace the live one:
//!
//! * [`Way::Exchange`]: the hidden directory lies beside the live one, and `renameat2(RENAME_EXCHANGE)` swaps
//!   the two in one step. The journal names the new root's inode, so that recovery after a crash knows
//!   which of the two is live.
//! * [`Way::Entries`]: the live directory is a mount point and cannot be renamed. The hidden directory lies inside
//!   it, and its top-level entries move: first the old ones *out*, then the new ones *in*. The journal says
//!   in which of the two steps we are; a crash in the first is undone, one in the second completed. Names
//!   never clash: in each step all entries on one side belong to the same tree.
//!
//! Only [`Swapped::finish`] removes the replaced tree; until then [`Swapped::undo`] makes it live again.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File};
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, Flock, FlockArg, RenameFlags, renameat2};
use nix::libc::{O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK};
use nix::unistd::syncfs;
use serde::{Deserialize, Serialize};

use super::{metadata, remove};
use crate::durable;
use crate::error::{Cause, Error, Result};
use crate::member::{Metadata, Timestamp};

/// The hidden directory. There is one at a time for a tree, so that the leftovers of a killed run are found by its name.
pub const STAGING: &str = ".voltar-restore";

/// Prefix of what `--keep-previous` keeps.
pub(crate) const PREVIOUS: &str = ".voltar-previous-";

const TREE: &str = "tree";
const OLD: &str = "old";
const JOURNAL: &str = "journal.json";

/// How a tree is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// Staged beside it and exchanged in one step.
    Exchange,
    /// Staged inside it and moved entry by entry.
    Entries,
}

/// A live tree and the way to replace it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// The directory: absolute, without links.
    pub path: PathBuf,
    /// The way.
    pub way: Way,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Phase {
    /// Members are being extracted; the live tree has not been touched.
    Staging,
    /// The exchange is imminent or done; `new_root` decides.
    Exchange,
    /// Old entries move out.
    Out,
    /// New entries move in.
    In,
    /// New entries move back.
    Undo,
    /// Only the leftovers remain to be removed.
    Done,
}

/// Which fields a journal has; another version of voltar may know others.
const JOURNAL_VERSION: u32 = 1;

/// A journal holds a few numbers and a path; anything larger is not one.
const MAX_JOURNAL_BYTES: u64 = 64 << 10;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Journal {
    version: u32,
    phase: Phase,
    new_root: Inode,
    /// Where the replaced tree is to be kept.
    keep: Option<PathBuf>,
    root_before: RootMetadata,
    root_after: RootMetadata,
}

/// The staged tree's root, by which a later run distinguishes the two trees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inode {
    device: u64,
    inode: u64,
}

/// What the root's directory itself has, since moving entries changes its time.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RootMetadata {
    uid: u32,
    gid: u32,
    mode: u32,
    mtime_seconds: i64,
    mtime_nanoseconds: u32,
}

impl Inode {
    fn of(status: &fs::Metadata) -> Self {
        Self { device: status.dev(), inode: status.ino() }
    }
}

impl From<Metadata> for RootMetadata {
    fn from(root: Metadata) -> Self {
        Self {
            uid: root.uid,
            gid: root.gid,
            mode: root.mode,
            mtime_seconds: root.mtime.seconds,
            mtime_nanoseconds: root.mtime.nanoseconds,
        }
    }
}

impl From<RootMetadata> for Metadata {
    fn from(root: RootMetadata) -> Self {
        let mtime = Timestamp { seconds: root.mtime_seconds, nanoseconds: root.mtime_nanoseconds };
        Self { mode: root.mode, uid: root.uid, gid: root.gid, mtime }
    }
}

impl Journal {
    /// Reads a journal's text.
    ///
    /// # Errors
    /// It is no journal, or one of another version.
    fn parse(text: &[u8]) -> std::result::Result<Self, Cause> {
        // The version first: another one may have other fields.
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_slice(text)?;
        if version != JOURNAL_VERSION {
            return Err(format!("it has version {version}, and this voltar knows version {JOURNAL_VERSION}").into());
        }
        Ok(serde_json::from_slice(text)?)
    }
}

/// Parses a journal of untrusted bytes: for fuzzing.
#[doc(hidden)]
pub fn parse_journal(text: &[u8]) -> std::result::Result<(), String> {
    Journal::parse(text).map(|_| ()).map_err(|cause| cause.to_string())
}

/// A staged tree. Dropping it removes it; the live tree has not been touched.
#[derive(Debug)]
pub struct Staging {
    live: Live,
    directory: PathBuf,
    /// On the directory, held until that is removed: a restore in progress holds it, one that was killed does not.
    lock: Flock<File>,
    /// What the live root's metadata is to be once the hidden directory has gone.
    root: Option<RootMetadata>,
    kept: bool,
}

/// A tree that is live, with the one it replaced still there.
#[derive(Debug)]
pub struct Swapped {
    staging: Staging,
    journal: Journal,
}

/// Which tree an interrupted restore left live, after recovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recovered {
    /// The live tree is the one from before that restore.
    Old,
    /// The live tree is the restored one.
    New,
}

impl Live {
    fn staging(&self) -> Result<PathBuf> {
        match self.way {
            Way::Entries => Ok(self.path.join(STAGING)),
            Way::Exchange => self
                .path
                .parent()
                .map(|parent| parent.join(STAGING))
                .ok_or_else(|| Error::refused(format!("'{}' has no directory beside it", self.path.display()))),
        }
    }
}

impl Staging {
    /// Begins a new tree for `live`.
    ///
    /// # Errors
    /// Also where another restore is in progress; leftovers of one that was killed must have been removed by [`recover`].
    pub fn begin(live: &Live) -> Result<Self> {
        let directory = live.staging()?;
        let before = RootMetadata::from(examined(&live.path)?);
        match DirBuilder::new().mode(0o700).create(&directory) {
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                return Err(busy(&live.path));
            }
            other => other.map_err(|e| Error::failed_at("cannot create", &directory, e))?,
        }
        let lock = lock(&directory)?.ok_or_else(|| busy(&live.path))?;
        let staging = Self { live: live.clone(), directory, lock, root: Some(before), kept: false };
        staging.write(&Journal {
            version: JOURNAL_VERSION,
            phase: Phase::Staging,
            new_root: Inode { device: 0, inode: 0 },
            keep: None,
            root_before: before,
            root_after: before,
        })?;
        let tree = staging.tree();
        DirBuilder::new().mode(0o700).create(&tree).map_err(|e| Error::failed_at("cannot create", &tree, e))?;
        Ok(staging)
    }

    fn tree(&self) -> PathBuf {
        self.directory.join(TREE)
    }

    /// The new tree's root.
    pub fn root(&self) -> Result<OwnedFd> {
        open_directory(&self.tree()).map(OwnedFd::from)
    }

    /// Makes the staged tree the live one. On an error the live tree is what it was.
    pub fn swap(self, keep_previous: bool) -> Result<Swapped> {
        let tree = open_directory(&self.tree())?;
        // Everything below must be on disk before its name is. This handle was open before any of it was written, so it
        // reports what the kernel could not write in the meantime.
        syncfs(&*self.lock).map_err(|e| Error::failed_at("cannot sync", &self.directory, e))?;
        let before = match self.root {
            Some(before) => before,
            None => examined(&self.live.path)?.into(),
        };
        let after = metadata::of_open(&tree).map_err(|e| Error::failed_at("cannot examine", &self.tree(), e))?;
        let status = tree.metadata().map_err(|e| Error::failed_at("cannot examine", &self.tree(), e))?;
        let journal = Journal {
            version: JOURNAL_VERSION,
            phase: match self.live.way {
                Way::Exchange => Phase::Exchange,
                Way::Entries => Phase::Out,
            },
            new_root: Inode::of(&status),
            keep: if keep_previous { Some(self.previous_name()?) } else { None },
            root_before: before,
            root_after: after.into(),
        };
        match self.live.way {
            Way::Exchange => {
                self.write(&journal)?;
                exchange(&self.live.path, &self.tree())?;
                sync_directory(&self.directory)?;
                sync_parent(&self.live.path)?;
                Ok(Swapped { staging: self, journal })
            }
            Way::Entries => {
                let old = self.directory.join(OLD);
                DirBuilder::new().mode(0o700).create(&old).map_err(|e| Error::failed_at("cannot create", &old, e))?;
                self.write(&journal)?;
                let mut swapped = Swapped { staging: self, journal };
                match swapped.move_entries() {
                    Ok(()) => Ok(swapped),
                    Err(error) => {
                        swapped.undo()?;
                        Err(error)
                    }
                }
            }
        }
    }

    fn previous_name(&self) -> Result<PathBuf> {
        let parent = self.directory.parent().unwrap_or(Path::new("/"));
        let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        (0..100)
            .map(|i| if i == 0 { format!("{PREVIOUS}{now}") } else { format!("{PREVIOUS}{now}-{i}") })
            .map(|name| parent.join(name))
            .find(|path| path.symlink_metadata().is_err())
            .ok_or_else(|| Error::refused(format!("no free name to keep the previous tree in '{}'", parent.display())))
    }

    fn write(&self, journal: &Journal) -> Result<()> {
        let path = self.directory.join(JOURNAL);
        let written = serde_json::to_vec(journal)
            .map_err(std::io::Error::from)
            .and_then(|text| durable::replace(&path, &self.directory.join("journal.new"), &text));
        written.map_err(|e| Error::failed_at("cannot write", &path, e))?;
        sync_directory(&self.directory)
    }

    /// Removes the hidden directory; the journal goes last, so that an interruption is understood.
    fn discard(&mut self) -> Result<()> {
        let handle = open_directory(&self.directory)?;
        let names = entries(&self.directory)?;
        for name in names.iter().filter(|name| *name != JOURNAL) {
            remove::remove_all(&handle, name)
                .map_err(|e| Error::failed_at("cannot remove", &self.directory.join(name), e))?;
        }
        remove::remove_all(&handle, OsStr::new(JOURNAL))
            .map_err(|e| Error::failed_at("cannot remove", &self.directory, e))?;
        fs::remove_dir(&self.directory).map_err(|e| Error::failed_at("cannot remove", &self.directory, e))?;
        self.kept = true;
        // What came and went in the live directory has changed its time.
        if let (Way::Entries, Some(root)) = (self.live.way, self.root) {
            restore_root(&self.live.path, root)?;
        }
        Ok(())
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.kept {
            // The next run's `recover` does what cannot be done now.
            self.discard().unwrap_or_default();
        }
    }
}

impl Swapped {
    /// Makes the replaced tree live again.
    pub fn undo(mut self) -> Result<()> {
        self.staging.kept = true;
        match self.journal.phase {
            Phase::Exchange => exchange(&self.staging.live.path, &self.staging.tree())?,
            Phase::Staging => {}
            Phase::Out | Phase::In | Phase::Undo | Phase::Done => self.move_back()?,
        }
        self.staging.root = Some(self.journal.root_before);
        self.staging.discard()
    }

    /// Removes the replaced tree, or keeps it and says where.
    pub fn finish(mut self) -> Result<Option<PathBuf>> {
        self.staging.kept = true;
        let old = match self.journal.phase {
            Phase::Exchange => self.staging.tree(),
            Phase::Staging | Phase::Out | Phase::In | Phase::Undo | Phase::Done => self.staging.directory.join(OLD),
        };
        let keep = self.journal.keep.clone();
        if let Some(keep) = &keep
            && old.exists()
        {
            fs::rename(&old, keep).map_err(|e| Error::failed_at("cannot keep the previous tree as", keep, e))?;
            if self.staging.live.way == Way::Entries {
                restore_root(keep, self.journal.root_before)?;
            }
        }
        self.staging.root = Some(self.journal.root_after);
        self.staging.discard()?;
        sync_parent(&self.staging.live.path)?;
        Ok(keep)
    }

    fn move_entries(&mut self) -> Result<()> {
        let live = self.staging.live.path.clone();
        let (old, tree) = (self.staging.directory.join(OLD), self.staging.tree());
        move_all(&live, &old)?;
        self.enter(Phase::In)?;
        move_all(&tree, &live)?;
        self.enter(Phase::Done)?;
        restore_root(&live, self.journal.root_after)
    }

    fn move_back(&mut self) -> Result<()> {
        let live = self.staging.live.path.clone();
        let (old, tree) = (self.staging.directory.join(OLD), self.staging.tree());
        if matches!(self.journal.phase, Phase::In | Phase::Done | Phase::Undo) {
            self.enter(Phase::Undo)?;
            move_all(&live, &tree)?;
        }
        self.enter(Phase::Out)?;
        move_all(&old, &live)
    }

    fn enter(&mut self, phase: Phase) -> Result<()> {
        // What was moved is on disk before the journal says so.
        sync_directory(&self.staging.live.path)?;
        for directory in [OLD, TREE] {
            sync_directory(&self.staging.directory.join(directory))?;
        }
        self.journal.phase = phase;
        self.staging.write(&self.journal)
    }
}

/// Whether a restore into `live` has begun and not ended: it was interrupted, or is still in progress.
#[must_use]
pub(crate) fn is_unfinished(live: &Live) -> bool {
    live.staging().is_ok_and(|directory| directory.symlink_metadata().is_ok())
}

/// Looks for what an interrupted restore left at `live`, completes or undoes it, and removes the leftovers.
///
/// # Errors
/// Also where that restore is still in progress.
pub(crate) fn recover(live: &Live) -> Result<Option<Recovered>> {
    let directory = live.staging()?;
    match directory.symlink_metadata() {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Error::failed_at("cannot examine", &directory, e)),
        Ok(status) if !status.is_dir() || status.uid() != nix::unistd::geteuid().as_raw() => {
            return Err(Error::failed_at("cannot use", &directory, "it is not the directory that voltar makes there"));
        }
        Ok(_) => {}
    }
    let lock = lock(&directory)?.ok_or_else(|| busy(&live.path))?;
    let mut staging = Staging { live: live.clone(), directory, lock, root: None, kept: true };
    let path = staging.directory.join(JOURNAL);
    let journal = match read_journal(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            staging.discard()?;
            return Ok(Some(Recovered::Old));
        }
        other => {
            let text = other.map_err(|e| Error::failed_at("cannot read", &path, e))?;
            Journal::parse(&text).map_err(|why| {
                Error::failed_at("cannot understand", &path, why).hint(
                    "was it written by another version of voltar? `voltar resume` of that version recovers from it",
                )
            })?
        }
    };
    let swapped = Swapped { staging, journal };
    match swapped.journal.phase {
        Phase::Exchange => {
            let status = fs::metadata(&live.path).map_err(|e| Error::failed_at("cannot examine", &live.path, e))?;
            if Inode::of(&status) == swapped.journal.new_root {
                swapped.finish()?;
                Ok(Some(Recovered::New))
            } else {
                let mut staging = swapped.staging;
                staging.discard()?;
                Ok(Some(Recovered::Old))
            }
        }
        Phase::Staging | Phase::Out | Phase::Undo => swapped.undo().map(|()| Some(Recovered::Old)),
        Phase::In => {
            let mut swapped = swapped;
            move_all(&swapped.staging.tree(), &live.path)?;
            swapped.enter(Phase::Done)?;
            swapped.finish().map(|_| Some(Recovered::New))
        }
        Phase::Done => swapped.finish().map(|_| Some(Recovered::New)),
    }
}

/// Never waits for a FIFO, never follows a link, and takes no more than a journal can have.
fn read_journal(path: &Path) -> std::io::Result<Vec<u8>> {
    let file = fs::OpenOptions::new().read(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).open(path)?;
    let mut text = Vec::new();
    file.take(MAX_JOURNAL_BYTES + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_JOURNAL_BYTES {
        return Err(std::io::Error::other("it is too large for a journal"));
    }
    Ok(text)
}

fn exchange(live: &Path, staged: &Path) -> Result<()> {
    renameat2(AT_FDCWD, staged, AT_FDCWD, live, RenameFlags::RENAME_EXCHANGE)
        .map_err(|e| Error::failed_at("cannot exchange the restored tree with", live, e))
}

/// Moves all entries but our own hidden ones.
fn move_all(from: &Path, to: &Path) -> Result<()> {
    for name in entries(from)? {
        if name == STAGING || name.as_bytes().starts_with(PREVIOUS.as_bytes()) {
            continue;
        }
        let (from, to) = (from.join(&name), to.join(&name));
        renameat2(AT_FDCWD, &from, AT_FDCWD, &to, RenameFlags::RENAME_NOREPLACE)
            .map_err(|e| Error::failed_at("cannot move", &from, e))?;
    }
    Ok(())
}

fn entries(directory: &Path) -> Result<Vec<OsString>> {
    let list = || fs::read_dir(directory)?.map(|entry| entry.map(|e| e.file_name())).collect::<std::io::Result<_>>();
    list().map_err(|e| Error::failed_at("cannot list", directory, e))
}

fn lock(directory: &Path) -> Result<Option<Flock<File>>> {
    match Flock::lock(open_directory(directory)?, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(Some(lock)),
        Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, e)) => Err(Error::failed_at("cannot lock", directory, e)),
    }
}

fn open_directory(path: &Path) -> Result<File> {
    let open = fs::OpenOptions::new().read(true).custom_flags(O_DIRECTORY | O_NOFOLLOW).open(path);
    open.map_err(|e| Error::failed_at("cannot open", path, e))
}

fn examined(path: &Path) -> Result<Metadata> {
    metadata::of_open(&open_directory(path)?).map_err(|e| Error::failed_at("cannot examine", path, e))
}

fn restore_root(path: &Path, root: RootMetadata) -> Result<()> {
    metadata::apply(open_directory(path)?, &root.into()).map_err(|(operation, e)| Error::failed_at(operation, path, e))
}

fn sync_directory(path: &Path) -> Result<()> {
    open_directory(path)?.sync_all().map_err(|e| Error::failed_at("cannot sync", path, e))
}

fn sync_parent(path: &Path) -> Result<()> {
    sync_directory(durable::parent(path))
}

fn busy(live: &Path) -> Error {
    Error::refused(format!("another restore into '{}' is in progress", live.display())).hint(
        "wait until it has ended; if none is running, try again: the leftovers of one that was killed are then removed",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{create_dir, read_to_string, write};

    struct Scene {
        dir: tempfile::TempDir,
        live: Live,
    }

    fn scene(way: Way) -> Scene {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("_data");
        create_dir(&path).unwrap();
        write(path.join("both"), "old").unwrap();
        write(path.join("gone"), "old").unwrap();
        let old = Timestamp { seconds: 1_000_000_000, nanoseconds: 0 };
        restore_root(&path, Metadata { mtime: old, ..examined(&path).unwrap() }.into()).unwrap();
        Scene { dir, live: Live { path, way } }
    }

    fn staged(scene: &Scene) -> Staging {
        let staging = Staging::begin(&scene.live).unwrap();
        write(staging.tree().join("both"), "new").unwrap();
        write(staging.tree().join("fresh"), "new").unwrap();
        staging
    }

    fn assert_old(scene: &Scene) {
        assert_eq!(examined(&scene.live.path).unwrap().mtime.seconds, 1_000_000_000, "the root's own time");
        assert_eq!(read_to_string(scene.live.path.join("both")).unwrap(), "old");
        assert_eq!(read_to_string(scene.live.path.join("gone")).unwrap(), "old");
        assert_eq!(fs::read_dir(&scene.live.path).unwrap().count(), 2);
        assert_eq!(fs::read_dir(scene.dir.path()).unwrap().count(), 1);
    }

    fn assert_new(scene: &Scene) {
        assert_eq!(read_to_string(scene.live.path.join("both")).unwrap(), "new");
        assert_eq!(read_to_string(scene.live.path.join("fresh")).unwrap(), "new");
        assert_eq!(fs::read_dir(&scene.live.path).unwrap().count(), 2);
        assert_eq!(fs::read_dir(scene.dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_journal_is_read_only_by_its_own_version() {
        let scene = scene(Way::Exchange);
        let staging = staged(&scene);
        let text = fs::read_to_string(staging.directory.join(JOURNAL)).unwrap();
        assert!(text.starts_with("{\"version\":1,\"phase\":\"staging\""), "{text}");
        parse_journal(text.as_bytes()).unwrap();
        let other = text.replace("\"version\":1", "\"version\":2");
        assert_eq!(parse_journal(other.as_bytes()).unwrap_err(), "it has version 2, and this voltar knows version 1");
        for bad in ["", "{}", "[]", "{\"version\":1}", &text.replace("\"keep\"", "\"kept\"")] {
            parse_journal(bad.as_bytes()).unwrap_err();
        }
    }

    #[test]
    fn what_cannot_be_a_journal_is_neither_waited_for_nor_read_to_its_end() {
        let scene = scene(Way::Exchange);
        let mut staging = staged(&scene);
        staging.kept = true;
        let journal = staging.directory.join(JOURNAL);
        drop(staging);
        for replace in [
            (|path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap()) as fn(&Path),
            |path| std::os::unix::fs::symlink("/etc/hostname", path).unwrap(),
            |path| File::create(path).unwrap().set_len(MAX_JOURNAL_BYTES + 1).unwrap(),
        ] {
            fs::remove_file(&journal).unwrap();
            replace(&journal);
            recover(&scene.live).unwrap_err();
            assert!(journal.symlink_metadata().is_ok(), "it stays for inspection");
        }
    }

    const WAYS: [Way; 2] = [Way::Exchange, Way::Entries];

    #[test]
    fn a_finished_swap_leaves_only_the_new_tree() {
        for way in WAYS {
            let scene = scene(way);
            assert_eq!(staged(&scene).swap(false).unwrap().finish().unwrap(), None);
            assert_new(&scene);
        }
    }

    #[test]
    fn an_undone_or_dropped_one_leaves_only_the_old() {
        for way in WAYS {
            let scene = scene(way);
            drop(staged(&scene));
            assert_old(&scene);
            staged(&scene).swap(false).unwrap().undo().unwrap();
            assert_old(&scene);
        }
    }

    #[test]
    fn the_previous_tree_is_kept_where_asked_to() {
        for way in WAYS {
            let scene = scene(way);
            let kept = staged(&scene).swap(true).unwrap().finish().unwrap().unwrap();
            assert_eq!(read_to_string(kept.join("gone")).unwrap(), "old");
            assert_eq!(read_to_string(scene.live.path.join("both")).unwrap(), "new");
            // A later restore does not carry the kept tree along.
            staged(&scene).swap(false).unwrap().finish().unwrap();
            assert!(kept.join("gone").exists());
        }
    }

    #[test]
    fn a_second_restore_waits_for_the_first() {
        for way in WAYS {
            let scene = scene(way);
            let first = staged(&scene);
            assert!(Staging::begin(&scene.live).unwrap_err().to_string().contains("another restore"));
            assert!(recover(&scene.live).unwrap_err().to_string().contains("another restore"));
            drop(first);
        }
    }

    /// What `kill -9` leaves: everything as it is, and no lock.
    fn die(mut swapped: Swapped) {
        swapped.staging.kept = true;
    }

    #[test]
    fn a_restore_killed_while_staging_leaves_the_old_tree() {
        for way in WAYS {
            let scene = scene(way);
            staged(&scene).kept = true;
            assert_eq!(recover(&scene.live).unwrap(), Some(Recovered::Old));
            assert_old(&scene);
            assert_eq!(recover(&scene.live).unwrap(), None);
        }
    }

    #[test]
    fn a_restore_killed_after_the_swap_leaves_the_new_tree() {
        for way in WAYS {
            let scene = scene(way);
            die(staged(&scene).swap(false).unwrap());
            assert_eq!(recover(&scene.live).unwrap(), Some(Recovered::New));
            assert_new(&scene);
        }
    }

    #[test]
    fn an_exchange_that_was_only_announced_leaves_the_old_tree() {
        let scene = scene(Way::Exchange);
        let swapped = staged(&scene).swap(false).unwrap();
        exchange(&scene.live.path, &swapped.staging.tree()).unwrap();
        die(swapped);
        assert_eq!(recover(&scene.live).unwrap(), Some(Recovered::Old));
        assert_old(&scene);
    }

    #[test]
    fn moves_killed_at_any_entry_end_old_or_new() {
        // Each step: the phase in the journal, and how many entries had moved.
        for (phase, moved, expected) in [
            (Phase::Out, 0, Recovered::Old),
            (Phase::Out, 1, Recovered::Old),
            (Phase::Out, 2, Recovered::Old),
            (Phase::In, 0, Recovered::New),
            (Phase::In, 1, Recovered::New),
            (Phase::In, 2, Recovered::New),
            (Phase::Undo, 0, Recovered::Old),
            (Phase::Undo, 1, Recovered::Old),
            (Phase::Undo, 2, Recovered::Old),
        ] {
            let scene = scene(Way::Entries);
            let mut swapped = staged(&scene).swap(false).unwrap();
            let (live, old, tree) =
                (scene.live.path.clone(), swapped.staging.directory.join(OLD), swapped.staging.tree());
            let names = |directory: &Path| -> Vec<OsString> {
                let mut names = entries(directory).unwrap();
                names.retain(|name| name != STAGING);
                names
            };
            let (from, to) = match phase {
                Phase::Out => {
                    move_all(&live, &tree).unwrap();
                    move_all(&old, &live).unwrap();
                    (&live, &old)
                }
                Phase::In => {
                    move_all(&live, &tree).unwrap();
                    (&tree, &live)
                }
                Phase::Undo => (&live, &tree),
                Phase::Exchange | Phase::Staging | Phase::Done => unreachable!(),
            };
            for name in names(from).iter().take(moved) {
                fs::rename(from.join(name), to.join(name)).unwrap();
            }
            swapped.enter(phase).unwrap();
            die(swapped);
            assert_eq!(recover(&scene.live).unwrap(), Some(expected), "{phase:?} {moved}");
            match expected {
                Recovered::Old => assert_old(&scene),
                Recovered::New => assert_new(&scene),
            }
        }
    }
}
