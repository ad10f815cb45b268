//! Trees to be archived: literal ones, given as a list, and random ones for property tests.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};
use std::path::{Path, PathBuf};

use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, makedev, mknod, utimensat};
use nix::sys::time::TimeSpec;
use proptest::prelude::*;
use proptest::sample::Index;

use super::is_root;
use voltar::member::printable;

/// An entry to be created. Attributes that are `None` are not set.
#[derive(Clone)]
pub struct Node {
    path: Vec<u8>,
    what: What,
    mode: Option<u32>,
    owner: Option<(u32, u32)>,
    mtime: Option<(i64, i64)>,
}

#[derive(Clone, Debug)]
enum What {
    Directory,
    File(Vec<u8>),
    /// Data at offsets with holes between, and the size.
    Sparse(Vec<(u64, Vec<u8>)>, u64),
    Symlink(Vec<u8>),
    HardLink(Vec<u8>),
    Fifo,
    Socket,
    CharDevice(u64, u64),
    BlockDevice(u64, u64),
}

fn node(path: impl AsRef<[u8]>, what: What) -> Node {
    Node { path: path.as_ref().to_vec(), what, mode: None, owner: None, mtime: None }
}

/// Returns a directory; the path `""` is the tree's root.
pub fn dir(path: impl AsRef<[u8]>) -> Node {
    node(path, What::Directory)
}

/// Returns a regular file.
pub fn file(path: impl AsRef<[u8]>, content: impl Into<Vec<u8>>) -> Node {
    node(path, What::File(content.into()))
}

/// Returns a sparse file of `size` bytes with `data` at these offsets.
pub fn sparse(path: impl AsRef<[u8]>, data: &[(u64, &[u8])], size: u64) -> Node {
    node(path, What::Sparse(data.iter().map(|(at, bytes)| (*at, bytes.to_vec())).collect(), size))
}

/// Returns a symbolic link.
pub fn link(path: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> Node {
    node(path, What::Symlink(target.as_ref().to_vec()))
}

/// Returns a hard link to `existing`, which precedes it in the list.
pub fn hard_link(path: impl AsRef<[u8]>, existing: impl AsRef<[u8]>) -> Node {
    node(path, What::HardLink(existing.as_ref().to_vec()))
}

/// Returns a named pipe.
pub fn fifo(path: impl AsRef<[u8]>) -> Node {
    node(path, What::Fifo)
}

/// Returns a socket on which no process listens.
pub fn socket(path: impl AsRef<[u8]>) -> Node {
    node(path, What::Socket)
}

/// Returns a character device.
pub fn char_device(path: impl AsRef<[u8]>, major: u64, minor: u64) -> Node {
    node(path, What::CharDevice(major, minor))
}

/// Returns a block device.
pub fn block_device(path: impl AsRef<[u8]>, major: u64, minor: u64) -> Node {
    node(path, What::BlockDevice(major, minor))
}

impl Node {
    #[must_use]
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }

    #[must_use]
    pub fn owner(mut self, uid: u32, gid: u32) -> Self {
        self.owner = Some((uid, gid));
        self
    }

    #[must_use]
    pub fn mtime(mut self, seconds: i64, nanoseconds: i64) -> Self {
        self.mtime = Some((seconds, nanoseconds));
        self
    }

    fn is_directory(&self) -> bool {
        matches!(self.what, What::Directory)
    }

    fn make(&self, at: &Path, root: &Path) -> std::io::Result<()> {
        let special = |kind, device| mknod(at, kind, Mode::from_bits_truncate(0o600), device);
        match &self.what {
            What::Directory => fs::create_dir_all(at),
            What::File(content) => fs::write(at, content),
            What::Sparse(data, size) => {
                let mut file = fs::File::create(at)?;
                for (offset, bytes) in data {
                    file.seek(SeekFrom::Start(*offset))?;
                    file.write_all(bytes)?;
                }
                file.set_len(*size)
            }
            What::Symlink(target) => symlink(OsStr::from_bytes(target), at),
            What::HardLink(existing) => fs::hard_link(below(root, existing), at),
            What::Fifo => Ok(special(SFlag::S_IFIFO, 0)?),
            What::Socket => Ok(special(SFlag::S_IFSOCK, 0)?),
            What::CharDevice(major, minor) => Ok(special(SFlag::S_IFCHR, makedev(*major, *minor))?),
            What::BlockDevice(major, minor) => Ok(special(SFlag::S_IFBLK, makedev(*major, *minor))?),
        }
    }

    /// Sets the owner before the mode, because `chown` clears set-uid bits, and the times last.
    fn set_attributes(&self, at: &Path) -> std::io::Result<()> {
        if let Some((uid, gid)) = self.owner {
            lchown(at, Some(uid), Some(gid))?;
        }
        if let (Some(mode), false) = (self.mode, matches!(self.what, What::Symlink(_))) {
            fs::set_permissions(at, fs::Permissions::from_mode(mode))?;
        }
        if let Some((seconds, nanoseconds)) = self.mtime {
            let time = TimeSpec::new(seconds, nanoseconds);
            utimensat(AT_FDCWD, at, &time, &time, UtimensatFlags::NoFollowSymlink)?;
        }
        Ok(())
    }
}

impl std::fmt::Debug for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", printable(&self.path))?;
        match &self.what {
            What::Directory => f.write_str("directory")?,
            What::File(content) => write!(f, "file[{}]", content.len())?,
            What::Sparse(data, size) => write!(f, "sparse[{size}] with {} extents", data.len())?,
            What::Symlink(target) => write!(f, "-> {}", printable(target))?,
            What::HardLink(existing) => write!(f, "= {}", printable(existing))?,
            What::Fifo | What::Socket | What::CharDevice(..) | What::BlockDevice(..) => write!(f, "{:?}", self.what)?,
        }
        if let Some(mode) = self.mode {
            write!(f, " {mode:04o}")?;
        }
        if let Some((uid, gid)) = self.owner {
            write!(f, " {uid}:{gid}")?;
        }
        if let Some((seconds, nanoseconds)) = self.mtime {
            write!(f, " @{seconds}.{nanoseconds:09}")?;
        }
        Ok(())
    }
}

/// Creates the entries below `root`, which is created if missing, in the given order. Directories get their
/// attributes last, after their content.
pub fn build(root: &Path, nodes: &[Node]) {
    let fail = |node: &Node, error: std::io::Error| panic!("cannot create {node:?}: {error}");
    fs::create_dir_all(root).expect("the tree's root");
    for node in nodes {
        let at = below(root, &node.path);
        node.make(&at, root).unwrap_or_else(|error| fail(node, error));
        if !matches!(node.what, What::Directory | What::HardLink(_)) {
            node.set_attributes(&at).unwrap_or_else(|error| fail(node, error));
        }
    }
    let mut directories: Vec<&Node> = nodes.iter().filter(|node| node.is_directory()).collect();
    directories.sort_by_key(|node| std::cmp::Reverse(node.path.len()));
    for node in directories {
        node.set_attributes(&below(root, &node.path)).unwrap_or_else(|error| fail(node, error));
    }
}

fn below(root: &Path, path: &[u8]) -> PathBuf {
    if path.is_empty() { root.to_owned() } else { root.join(OsStr::from_bytes(path)) }
}

/// Returns whether device nodes can be created. Root in a container may lack the capability.
pub fn can_make_devices() -> bool {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    mknod(&scratch.path().join("null"), SFlag::S_IFCHR, Mode::from_bits_truncate(0o600), makedev(1, 3)).is_ok()
}

/// Generates trees of up to `most` entries: every kind that tar supports, names and link targets around the
/// header's limits, and, for root, any owner, mode and device.
pub fn trees(most: usize) -> impl Strategy<Value = Vec<Node>> {
    let privileged = is_root();
    let devices = privileged && can_make_devices();
    (attributes(privileged), prop::collection::vec(seed(privileged, devices), 0..most))
        .prop_map(move |(root, seeds)| grow(&root, &seeds, privileged))
}

/// What an older tree has under the name of an entry.
#[derive(Debug, Clone, Copy)]
pub enum Older {
    File,
    EmptyDirectory,
    Directory,
    /// It leads nowhere.
    Symlink,
    Fifo,
    /// Nothing, but a file in the same directory.
    Beside,
}

/// Returns an older tree, in which these are under names of `nodes`.
pub fn older(nodes: &[Node], seeds: &[(Index, Older)]) -> Vec<Node> {
    let mut older = vec![dir("").mode(0o711)];
    for (which, what) in seeds {
        let name = &which.get(nodes).path;
        let end = name.iter().rposition(|&byte| byte == b'/').map_or(0, |slash| slash + 1);
        let path = if matches!(what, Older::Beside) { [&name[..end], b"beside"].concat() } else { name.clone() };
        let above = path.iter().enumerate().filter(|&(_, &byte)| byte == b'/').map(|(end, _)| dir(&path[..end]));
        let is_at = |path: &[u8]| older.iter().find(|node| node.path == path);
        let is_in_file = above.clone().any(|step| is_at(&step.path).is_some_and(|node| !node.is_directory()));
        if is_in_file || is_at(&path).is_some() {
            continue;
        }
        let missing: Vec<Node> = above.filter(|step| is_at(&step.path).is_none()).collect();
        older.extend(missing.into_iter().map(|step| step.mode(0o750).mtime(1_000_000_000, 0)));
        match what {
            Older::File | Older::Beside => older.push(file(path, "older")),
            Older::EmptyDirectory => older.push(dir(path).mode(0o700)),
            Older::Directory => older.extend([dir(&path).mode(0o700), file([&path[..], b"/below"].concat(), "older")]),
            Older::Symlink => older.push(link(path, "nowhere")),
            Older::Fifo => older.push(fifo(path)),
        }
    }
    older
}

#[derive(Debug, Clone, Copy)]
struct Attributes {
    mode: u32,
    owner: Option<(u32, u32)>,
    mtime: (i64, i64),
}

/// An entry whose parent directory is not chosen yet.
#[derive(Debug, Clone)]
struct Seed {
    parent: Index,
    name: Vec<u8>,
    what: SeedWhat,
    attributes: Attributes,
}

#[derive(Debug, Clone)]
enum SeedWhat {
    Is(What),
    /// A hard link to one of the earlier entries.
    LinkTo(Index),
}

fn grow(root: &Attributes, seeds: &[Seed], privileged: bool) -> Vec<Node> {
    // Long enough for names of several LongLink blocks; the kernel's limit of 4,096 bytes includes the path of
    // the root.
    const MAX_PATH_LENGTH: usize = 3000;
    let with_attributes = |node: Node, attributes: &Attributes| {
        // Without root, unreadable entries cannot be archived.
        let always = match (privileged, &node.what) {
            (true, _) => 0,
            (false, What::Directory) => 0o700,
            (false, _) => 0o400,
        };
        let node = node.mode(attributes.mode | always).mtime(attributes.mtime.0, attributes.mtime.1);
        match attributes.owner {
            Some((uid, gid)) => node.owner(uid, gid),
            None => node,
        }
    };
    let mut nodes = vec![with_attributes(dir(""), root)];
    let mut directories: Vec<Vec<u8>> = vec![Vec::new()];
    let mut linkable: Vec<Vec<u8>> = Vec::new();
    let mut taken = BTreeSet::new();
    for seed in seeds {
        let parent = seed.parent.get(&directories);
        let path = if parent.is_empty() { seed.name.clone() } else { [&parent[..], b"/", &seed.name[..]].concat() };
        if path.len() > MAX_PATH_LENGTH || !taken.insert(path.clone()) {
            continue;
        }
        let what = match &seed.what {
            SeedWhat::Is(what) => what.clone(),
            SeedWhat::LinkTo(_) if linkable.is_empty() => What::File(Vec::new()),
            SeedWhat::LinkTo(which) => What::HardLink(which.get(&linkable).clone()),
        };
        match what {
            What::Directory => directories.push(path.clone()),
            // A socket is not archived, and nor are its hard links.
            What::Socket => {}
            What::File(_)
            | What::Sparse(..)
            | What::Symlink(_)
            | What::HardLink(_)
            | What::Fifo
            | What::CharDevice(..)
            | What::BlockDevice(..) => linkable.push(path.clone()),
        }
        nodes.push(with_attributes(node(path, what), &seed.attributes));
    }
    nodes
}

fn seed(privileged: bool, devices: bool) -> impl Strategy<Value = Seed> {
    (any::<Index>(), name(), kind(devices), attributes(privileged)).prop_map(|(parent, name, what, attributes)| Seed {
        parent,
        name,
        what,
        attributes,
    })
}

fn kind(devices: bool) -> impl Strategy<Value = SeedWhat> {
    let device = u32::from(devices);
    prop_oneof![
        6 => Just(What::Directory).prop_map(SeedWhat::Is),
        8 => content().prop_map(What::File).prop_map(SeedWhat::Is),
        1 => (prop::collection::vec((0..2_000_000_u64, content()), 0..3), 1..3_000_000_u64)
            .prop_map(|(data, size)| SeedWhat::Is(What::Sparse(data, size))),
        3 => target().prop_map(What::Symlink).prop_map(SeedWhat::Is),
        3 => any::<Index>().prop_map(SeedWhat::LinkTo),
        1 => Just(SeedWhat::Is(What::Fifo)),
        1 => Just(SeedWhat::Is(What::Socket)),
        device => (0..4096_u64, 0..1_048_576_u64).prop_map(|(major, minor)| SeedWhat::Is(What::CharDevice(major, minor))),
        device => (0..4096_u64, 0..1_048_576_u64).prop_map(|(major, minor)| SeedWhat::Is(What::BlockDevice(major, minor))),
    ]
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        2 => Just(Vec::new()),
        4 => prop::collection::vec(any::<u8>(), 1..40),
        2 => (500..530_usize).prop_map(|length| vec![b'x'; length]),
        1 => (any::<u8>(), 10_000..70_000_usize).prop_map(|(seed, length)| noise(seed, length)),
        1 => (any::<u8>(), 1..300_000_usize).prop_map(|(byte, length)| vec![byte; length]),
    ]
}

/// Returns incompressible bytes. (A vector strategy of this length would shrink for too long.)
fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut state = u64::from(seed) + 1;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(length)
    .collect()
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        // Short names whose order depends on what follows them: "a", "a.", "a/b", "a-b", "A".
        8 => "[aAb][-. 0~]?[ab]?".prop_map(String::into_bytes),
        2 => "[a-z]{90,110}".prop_map(String::into_bytes),
        1 => "[a-z]{240,255}".prop_map(String::into_bytes),
        2 => "[äß日本🦀é]{1,20}".prop_map(String::into_bytes),
        2 => prop::collection::vec(any::<u8>(), 1..30),
        1 => prop_oneof![Just("-rf"), Just("a\nb"), Just("\\"), Just("*"), Just("..."), Just(" "), Just("\x1b[2J")]
            .prop_map(|name: &str| name.as_bytes().to_vec()),
    ]
    .prop_map(|mut name| {
        for byte in &mut name {
            if matches!(byte, b'/' | 0) {
                *byte = b'_';
            }
        }
        if name == b"." || name == b".." { b"dots".to_vec() } else { name }
    })
}

fn target() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => name(),
        1 => Just(b"/etc/passwd".to_vec()),
        1 => Just(b"../../..".to_vec()),
        2 => "[a-z/]{95,105}".prop_map(String::into_bytes),
        1 => "[a-z/]{400,1500}".prop_map(String::into_bytes),
    ]
}

fn attributes(privileged: bool) -> impl Strategy<Value = Attributes> {
    let mode = if privileged {
        prop_oneof![4 => Just(0o644_u32), 3 => 0..0o10000_u32, 1 => Just(0)].boxed()
    } else {
        (0..0o1000_u32).boxed()
    };
    let owner = if privileged { (id(), id()).prop_map(Some).boxed() } else { Just(None).boxed() };
    (mode, owner, mtime()).prop_map(|(mode, owner, mtime)| Attributes { mode, owner, mtime })
}

fn id() -> impl Strategy<Value = u32> {
    prop_oneof![
        4 => prop_oneof![Just(0), Just(70), Just(999), Just(1000), Just(65534)],
        // Seven octal digits hold 2,097,151; larger numbers are stored in base 256.
        2 => 2_097_150..2_097_154_u32,
        1 => 0..u32::MAX,
    ]
}

fn mtime() -> impl Strategy<Value = (i64, i64)> {
    let seconds = prop_oneof![
        4 => 1_500_000_000..1_700_000_000_i64,
        2 => -3..3_i64,
        1 => -2_000_000_000..0_i64,
        // Eleven octal digits hold 8,589,934,591.
        1 => 8_589_934_590..8_589_934_594_i64,
    ];
    (seconds, prop_oneof![Just(0), Just(1), Just(999_999_999), 0..1_000_000_000_i64])
}
