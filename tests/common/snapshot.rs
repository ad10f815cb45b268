//! Snapshots of trees: every attribute of every entry, with readable differences.
//!
//! A comparison of content and mode alone does not detect lost owners, times and links. So everything is compared
//! by default, and a test excludes what it does not need.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hasher as _};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use nix::sys::stat::{major, minor};
use voltar::member::printable;

/// A directory and everything below it. The path of the directory itself is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeSnapshot {
    entries: BTreeMap<Vec<u8>, Entry>,
}

/// The attributes of an entry.
#[derive(Debug, Clone)]
struct Entry {
    what: What,
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: (i64, i64),
    /// The first path of this file in sorted order, if it has several in this tree.
    same_file_as: Option<Vec<u8>>,
    /// The space on disk in 512-byte blocks. Equal trees may differ in it, so it is compared only by
    /// [`TreeSnapshot::larger_on_disk`].
    blocks: u64,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.differences(other).is_empty()
    }
}

impl Eq for Entry {}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    File { size: u64, hash: u64 },
    Directory,
    Symlink { target: Vec<u8> },
    Fifo,
    Socket,
    CharDevice { major: u64, minor: u64 },
    BlockDevice { major: u64, minor: u64 },
}

impl TreeSnapshot {
    /// Reads the tree at `root`.
    pub fn of(root: &Path) -> Self {
        let mut entries = BTreeMap::new();
        let mut inodes: HashMap<(u64, u64), Vec<Vec<u8>>> = HashMap::new();
        visit(root, &[], &mut entries, &mut inodes);
        for mut names in inodes.into_values().filter(|names| names.len() > 1) {
            names.sort();
            for name in &names {
                entries.get_mut(name).expect("a name that was just read").same_file_as = Some(names[0].clone());
            }
        }
        Self { entries }
    }

    /// Returns the tree as it is after GNU tar has archived and restored it: without sockets and fractions of a
    /// second. GNU tar keeps hard links of regular files and symlinks only, so those of FIFOs and devices become
    /// separate files.
    #[must_use]
    pub fn carried_by_tar(mut self) -> Self {
        self.entries.retain(|_, entry| entry.what != What::Socket);
        for entry in self.entries.values_mut() {
            entry.mtime.1 = 0;
            if matches!(entry.what, What::Fifo | What::CharDevice { .. } | What::BlockDevice { .. }) {
                entry.same_file_as = None;
            }
        }
        self
    }

    /// Removes the root's own attributes, which `tar -x --strip` does not restore.
    #[must_use]
    pub fn without_root(mut self) -> Self {
        self.entries.remove(&Vec::new());
        self
    }

    /// Removes what busybox does not restore: the times of directories, and times and owners of symbolic links.
    #[must_use]
    pub fn restored_by_busybox(mut self) -> Self {
        for entry in self.entries.values_mut() {
            match entry.what {
                What::Directory => entry.mtime = (0, 0),
                What::Symlink { .. } => (entry.mtime, entry.uid, entry.gid) = ((0, 0), 0, 0),
                _ => {}
            }
        }
        self
    }

    /// Removes an entry and everything below it.
    #[must_use]
    pub fn without(mut self, path: &str) -> Self {
        let below = format!("{path}/");
        self.entries.retain(|name, _| name != path.as_bytes() && !name.starts_with(below.as_bytes()));
        self
    }

    /// Returns the number of entries, including the root.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns all differences, one line each.
    pub fn diff(&self, other: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        for (path, entry) in &self.entries {
            let name = name(path);
            match other.entries.get(path) {
                None => lines.push(format!("{name}: missing ({entry})")),
                Some(found) => {
                    lines.extend(entry.differences(found).into_iter().map(|what| format!("{name}: {what}")));
                }
            }
        }
        for (path, entry) in &other.entries {
            if !self.entries.contains_key(path) {
                lines.push(format!("{}: unexpected ({entry})", name(path)));
            }
        }
        lines
    }

    /// Fails with the differences, if there are any. `self` is the expected tree.
    #[track_caller]
    pub fn assert_same(&self, found: &Self, context: &str) {
        const SHOWN: usize = 40;
        let lines = self.diff(found);
        assert!(
            lines.is_empty(),
            "{context}: {} differences in {} entries (expected, then found)\n  {}{}",
            lines.len(),
            self.len(),
            lines.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("\n  "),
            if lines.len() > SHOWN { "\n  …" } else { "" }
        );
    }

    /// Returns the files that need more space in `other`, beyond a small tolerance: their holes were filled.
    pub fn larger_on_disk(&self, other: &Self) -> Vec<String> {
        // File systems round up, and may use an extra block for a file's extents.
        const SLACK: u64 = 16;
        let mut lines = Vec::new();
        for (path, entry) in &self.entries {
            let (What::File { .. }, Some(found)) = (&entry.what, other.entries.get(path)) else { continue };
            if found.blocks > entry.blocks + SLACK {
                lines.push(format!("{}: {} blocks on disk, then {}", name(path), entry.blocks, found.blocks));
            }
        }
        lines
    }
}

fn name(path: &[u8]) -> String {
    if path.is_empty() { ".".to_owned() } else { printable(path) }
}

fn visit(
    path: &Path,
    name: &[u8],
    entries: &mut BTreeMap<Vec<u8>, Entry>,
    inodes: &mut HashMap<(u64, u64), Vec<Vec<u8>>>,
) {
    let found = fs::symlink_metadata(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
    if !found.is_dir() && found.nlink() > 1 {
        inodes.entry((found.dev(), found.ino())).or_default().push(name.to_vec());
    }
    let entry = Entry {
        what: what(path, &found),
        mode: found.mode() & 0o7777,
        uid: found.uid(),
        gid: found.gid(),
        mtime: (found.mtime(), found.mtime_nsec()),
        same_file_as: None,
        blocks: found.blocks(),
    };
    entries.insert(name.to_vec(), entry);
    if !found.is_dir() {
        return;
    }
    let children = fs::read_dir(path).unwrap_or_else(|error| panic!("cannot list {}: {error}", path.display()));
    for child in children {
        let child = child.expect("a directory entry");
        let mut below = name.to_vec();
        if !below.is_empty() {
            below.push(b'/');
        }
        below.extend_from_slice(child.file_name().as_bytes());
        visit(&child.path(), &below, entries, inodes);
    }
}

fn what(path: &Path, found: &Metadata) -> What {
    let kind = found.file_type();
    if kind.is_dir() {
        What::Directory
    } else if kind.is_file() {
        What::File { size: found.len(), hash: hash(path) }
    } else if kind.is_symlink() {
        What::Symlink { target: fs::read_link(path).expect("a symbolic link's target").as_os_str().as_bytes().to_vec() }
    } else if kind.is_fifo() {
        What::Fifo
    } else if kind.is_socket() {
        What::Socket
    } else if kind.is_char_device() {
        What::CharDevice { major: major(found.rdev()), minor: minor(found.rdev()) }
    } else {
        What::BlockDevice { major: major(found.rdev()), minor: minor(found.rdev()) }
    }
}

fn hash(path: &Path) -> u64 {
    let mut file = fs::File::open(path).unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()));
    let mut hasher = DefaultHasher::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).expect("reading a file") {
            0 => return hasher.finish(),
            read => hasher.write(&buffer[..read]),
        }
    }
}

impl Entry {
    fn differences(&self, other: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut compare = |label: &str, ours: String, theirs: String| {
            if ours != theirs {
                lines.push(format!("{label} {ours}, {theirs}"));
            }
        };
        match (&self.what, &other.what) {
            (What::File { size, hash }, What::File { size: other_size, hash: other_hash }) => {
                compare("size", size.to_string(), other_size.to_string());
                if size == other_size {
                    compare("content", format!("{hash:016x}"), format!("{other_hash:016x}"));
                }
            }
            (ours, theirs) => compare("kind", ours.to_string(), theirs.to_string()),
        }
        compare("mode", format!("{:04o}", self.mode), format!("{:04o}", other.mode));
        compare("uid", self.uid.to_string(), other.uid.to_string());
        compare("gid", self.gid.to_string(), other.gid.to_string());
        compare("mtime", time(self.mtime), time(other.mtime));
        let link = |entry: &Self| entry.same_file_as.as_ref().map_or("none".to_owned(), |name| printable(name));
        compare("hard link to", link(self), link(other));
        lines
    }
}

/// Formats a time as `stat -c %.9Y` does: nanoseconds count forward before 1970 too.
fn time((seconds, nanoseconds): (i64, i64)) -> String {
    format!("{seconds}.{nanoseconds:09}")
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File { size, .. } => write!(f, "file of {size} bytes"),
            Self::Directory => f.write_str("directory"),
            Self::Symlink { target } => write!(f, "symlink to '{}'", printable(target)),
            Self::Fifo => f.write_str("FIFO"),
            Self::Socket => f.write_str("socket"),
            Self::CharDevice { major, minor } => write!(f, "character device {major}:{minor}"),
            Self::BlockDevice { major, minor } => write!(f, "block device {major}:{minor}"),
        }
    }
}

impl std::fmt::Display for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {:04o}, {}:{}", self.what, self.mode, self.uid, self.gid)
    }
}
