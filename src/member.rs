//! The members of an archive as plain values: path, kind and metadata.
//!
//! This module opens no file and reads no archive. A [`RelPath`] is validated once, when a name enters the program,
//! and need not be checked again.

use std::borrow::Borrow;
use std::ffi::OsStr;
use std::fmt;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _, RandomState};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::xattrs::Xattrs;

/// A path below the root of a tree, as bytes. The empty path is the root itself.
///
/// It never begins with `/`, has no empty, `.` or `..` component, and contains no NUL byte.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(Vec<u8>);

/// The reason why bytes are not a [`RelPath`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadPath {
    /// A component is `..`: it would lead out of the tree.
    Parent,
    /// A NUL byte: no file can have such a name.
    Nul,
    /// A single component was required, but the name is empty, `.` or contains a `/`.
    NotAName,
}

impl fmt::Display for BadPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parent => "the name holds '..'",
            Self::Nul => "the name holds a NUL byte",
            Self::NotAName => "not a file name",
        })
    }
}

impl std::error::Error for BadPath {}

impl RelPath {
    /// Returns the root of a tree: the empty path.
    #[must_use]
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// Parses a name from an archive or a configuration file. Leading, doubled and trailing slashes and `.` components
    /// are removed, as by GNU tar.
    ///
    /// # Errors
    /// The name has a `..` component or a NUL byte.
    pub fn parse(name: &[u8]) -> Result<Self, BadPath> {
        let mut path = Vec::with_capacity(name.len());
        if name.contains(&0) {
            return Err(BadPath::Nul);
        }
        for component in name.split(|&b| b == b'/') {
            match component {
                b"" | b"." => {}
                b".." => return Err(BadPath::Parent),
                name => {
                    if !path.is_empty() {
                        path.push(b'/');
                    }
                    path.extend_from_slice(name);
                }
            }
        }
        Ok(Self(path))
    }

    /// Returns this path with one more component.
    ///
    /// # Errors
    /// `name` is not a single file name.
    pub fn join(&self, name: &[u8]) -> Result<Self, BadPath> {
        match name {
            b"" | b"." => return Err(BadPath::NotAName),
            b".." => return Err(BadPath::Parent),
            name if name.contains(&b'/') => return Err(BadPath::NotAName),
            name if name.contains(&0) => return Err(BadPath::Nul),
            _ => {}
        }
        let mut path = Vec::with_capacity(self.0.len() + 1 + name.len());
        path.extend_from_slice(&self.0);
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(name);
        Ok(Self(path))
    }

    /// Returns `other` below this path.
    #[must_use]
    pub fn concat(&self, other: &Self) -> Self {
        match (self.is_root(), other.is_root()) {
            (true, _) => other.clone(),
            (_, true) => self.clone(),
            (false, false) => Self([&self.0[..], b"/", &other.0[..]].concat()),
        }
    }

    /// Returns whether this is the tree's root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the path as bytes, with components joined by `/`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Returns the path as a [`Path`]; empty for the root.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// Returns the components, beginning at the root.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&b| b == b'/').filter(|c| !c.is_empty())
    }

    /// Returns the parent directory and the file name; `None` for the root.
    #[must_use]
    pub fn split_last(&self) -> Option<(Self, &OsStr)> {
        if self.is_root() {
            return None;
        }
        let (parent, name) = match self.0.iter().rposition(|&b| b == b'/') {
            Some(slash) => (&self.0[..slash], &self.0[slash + 1..]),
            None => (&[][..], &self.0[..]),
        };
        Some((Self(parent.to_vec()), OsStr::from_bytes(name)))
    }

    /// Returns whether messages show all of it, so that it can be a part of a command that they propose.
    #[must_use]
    pub fn is_quoted_in_full(&self) -> bool {
        self.0.len() <= QUOTED.0
    }

    /// Returns the last component; empty for the root.
    #[must_use]
    pub fn file_name(&self) -> &OsStr {
        OsStr::from_bytes(self.0.rsplit(|&b| b == b'/').next().unwrap_or_default())
    }

    /// Returns the ancestors of this path except the root, outermost first, and then the path itself, as bytes.
    pub fn steps(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self.0.iter().enumerate().filter(|&(_, &byte)| byte == b'/').map(|(at, _)| at);
        let itself = (!self.is_root()).then_some(self.0.len());
        ends.chain(itself).filter_map(|end| self.0.get(..end))
    }

    /// Returns the first `count` components of this path, or the path itself if it has no more.
    #[must_use]
    pub fn first(&self, count: usize) -> Self {
        let step = count.checked_sub(1).map(|last| self.steps().nth(last).unwrap_or(&self.0));
        Self(step.unwrap_or_default().to_vec())
    }

    /// Returns whether `other` is this path or lies below it.
    #[must_use]
    pub fn is_above(&self, other: &Self) -> bool {
        match other.0.strip_prefix(&self.0[..]) {
            Some(rest) => self.is_root() || matches!(rest, [] | [b'/', ..]),
            None => false,
        }
    }

    /// Returns this path relative to `base`; `None` if it is not at or below `base`.
    #[must_use]
    pub fn strip_prefix(&self, base: &Self) -> Option<Self> {
        if base.is_root() {
            return Some(self.clone());
        }
        match self.0.strip_prefix(&base.0[..])? {
            [] => Some(Self::root()),
            [b'/', rest @ ..] => Some(Self(rest.to_vec())),
            _ => None,
        }
    }
}

/// Hashes all steps of a path in one pass, with a random key. Tables of paths by these hashes take 8 bytes for each, and a
/// path of many components costs no more time than its length.
#[derive(Debug, Default)]
pub(crate) struct StepHasher(RandomState);

impl StepHasher {
    /// Returns the hashes of the [steps](RelPath::steps) of `path`.
    pub(crate) fn of_steps(&self, path: &RelPath) -> impl Iterator<Item = u64> {
        let mut hasher = self.0.build_hasher();
        path.components().map(move |component| {
            // The length separates the components.
            component.hash(&mut hasher);
            hasher.finish()
        })
    }
}

/// Allows lookups in sets of paths by bytes.
impl Borrow<[u8]> for RelPath {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// Formats the path for messages, where a long one is [shortened](quotable).
impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() { f.write_str(".") } else { f.write_str(&quotable(&self.0)) }
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelPath({self})")
    }
}

/// Returns a path as [`printable`] returns text.
#[must_use]
pub fn printable_path(path: &Path) -> String {
    printable(path.as_os_str().as_encoded_bytes())
}

/// Returns text from a tree or an archive, escaped for terminals and logs like by GNU tar: printable UTF-8 is
/// unchanged, a backslash is doubled, and every other byte becomes `\n`, `\t` … or `\ooo`.
#[must_use]
pub fn printable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\\' => text.push_str("\\\\"),
                c if is_terminal_safe(c) => text.push(c),
                c => push_octal(&mut text, c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        push_octal(&mut text, chunk.invalid());
    }
    text
}

/// The longest name that messages quote in full, in bytes, and the length of the parts that they quote of a longer one. A
/// path of several components of 255 bytes is still recognised by them.
const QUOTED: (usize, usize) = (1024, 400);

/// Returns a name for a message: like [`printable`], but of a long name the beginning and the end, and the number of bytes
/// between them.
#[must_use]
pub fn quotable(name: &[u8]) -> String {
    let (longest, part) = QUOTED;
    if name.len() <= longest {
        return printable(name);
    }
    // A character is not cut: a byte that continues one belongs to the part that is left out.
    let continues = |byte: &u8| byte & 0xc0 == 0x80;
    let head = part - name[..part].iter().rev().take(4).position(|byte| !continues(byte)).map_or(0, |back| back + 1);
    let tail = name.len() - part;
    let tail = tail + name[tail..].iter().take(3).take_while(|byte| continues(byte)).count();
    format!("{}[… {} bytes …]{}", printable(&name[..head]), tail - head, printable(&name[tail..]))
}

/// Returns a message of another library in printable form: it may quote hostile input. A backslash stays, since it may
/// already begin an escape.
pub(crate) fn printable_text(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        if is_terminal_safe(c) {
            safe.push(c);
        } else {
            push_octal(&mut safe, c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    safe
}

/// Returns whether a character can be printed. Control characters would control the terminal, and directional
/// formatting characters can make a name look like another one.
fn is_terminal_safe(c: char) -> bool {
    !c.is_control()
        && !matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn push_octal(text: &mut String, bytes: &[u8]) {
    use fmt::Write as _;
    for &byte in bytes {
        let named = match byte {
            7 => Some('a'),
            8 => Some('b'),
            b'\t' => Some('t'),
            b'\n' => Some('n'),
            11 => Some('v'),
            12 => Some('f'),
            b'\r' => Some('r'),
            _ => None,
        };
        match named {
            Some(letter) => text.extend(['\\', letter]),
            // Writing to a String cannot fail.
            None => write!(text, "\\{byte:03o}").unwrap_or_default(),
        }
    }
}

/// A time in seconds and nanoseconds since 1970-01-01 UTC. Before that date, seconds are negative and nanoseconds still
/// count forward, as in `struct timespec`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// The seconds, rounded down.
    pub seconds: i64,
    /// The nanoseconds, 0 to 999,999,999.
    pub nanoseconds: u32,
}

/// The metadata that every kind of member has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// The permission bits with set-uid, set-gid and sticky: 0 to 0o7777.
    pub mode: u32,
    /// The numeric user id of the owner; user names are never used.
    pub uid: u32,
    /// The numeric group id.
    pub gid: u32,
    /// The time of the last modification.
    pub mtime: Timestamp,
    /// The extended attributes, ACLs and capabilities among them, if they are known.
    pub xattrs: Xattrs,
}

/// The kind of a member. There is no kind for sockets, because a tar archive cannot hold them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file, whose content follows its header in the stream.
    File {
        /// Content length in bytes.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link. Its target is stored unchanged and never followed.
    Symlink {
        /// The target: any bytes except NUL.
        target: Vec<u8>,
    },
    /// A further link to the file of an earlier member.
    HardLink {
        /// The earlier member, below the same root.
        target: RelPath,
    },
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice {
        /// The major number, which identifies the driver.
        major: u32,
        /// The minor number, which identifies the device.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// The major number, which identifies the driver.
        major: u32,
        /// The minor number, which identifies the device.
        minor: u32,
    },
}

/// One entry of a tree or of an archive, without its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The path below the root of the archived tree.
    pub path: RelPath,
    /// The kind of the member.
    pub kind: Kind,
    /// Owner, mode, modification time and extended attributes.
    pub metadata: Metadata,
}

impl Member {
    /// Returns whether it is the only member of its archive: a single file that is mounted, and is the root itself.
    #[must_use]
    pub fn is_one_file(&self) -> bool {
        self.path.is_root() && self.kind != Kind::Directory
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &[u8]) -> RelPath {
        RelPath::parse(name).expect("a valid path")
    }

    #[test]
    fn names_are_normalised_as_gnu_tar_does() {
        assert_eq!(path(b"/a//b/./c/").as_bytes(), b"a/b/c");
        assert!(path(b"./").is_root());
        assert_eq!(RelPath::parse(b"a/../b"), Err(BadPath::Parent));
        assert_eq!(RelPath::parse(b"a\0b"), Err(BadPath::Nul));
        assert_eq!(path(b"a..b/..c").as_bytes(), b"a..b/..c");
    }

    #[test]
    fn a_prefix_ends_at_a_component() {
        let base = path(b"home/django");
        assert_eq!(path(b"home/django/data").strip_prefix(&base), Some(path(b"data")));
        assert_eq!(base.strip_prefix(&base), Some(RelPath::root()));
        assert_eq!(path(b"home/django2").strip_prefix(&base), None);
        assert_eq!(base.strip_prefix(&RelPath::root()), Some(base.clone()));
    }

    #[test]
    fn a_joined_name_is_one_component() {
        assert_eq!(path(b"a").join(b"b").unwrap().as_bytes(), b"a/b");
        for bad in [&b""[..], b".", b"..", b"x/y", b"x\0"] {
            assert!(path(b"a").join(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn split_last_separates_directory_and_name() {
        assert_eq!(path(b"a/b/c").split_last(), Some((path(b"a/b"), OsStr::new("c"))));
        assert_eq!(path(b"a").split_last(), Some((RelPath::root(), OsStr::new("a"))));
        assert_eq!(RelPath::root().split_last(), None);
    }

    #[test]
    fn steps_lead_from_the_outermost_directory_to_the_path() {
        assert_eq!(path(b"a/bc/d").steps().collect::<Vec<_>>(), [&b"a"[..], b"a/bc", b"a/bc/d"]);
        assert_eq!(RelPath::root().steps().count(), 0);
        let set = std::collections::HashSet::from([path(b"a/b")]);
        assert!(set.contains(&b"a/b"[..]));
    }

    #[test]
    fn the_first_components_are_above_the_path() {
        let all = path(b"a/bc/d");
        assert_eq!(
            [0, 1, 2, 3, 9].map(|count| all.first(count)),
            [&b""[..], b"a", b"a/bc", b"a/bc/d", b"a/bc/d"].map(path)
        );
        for above in [&b""[..], b"a", b"a/bc", b"a/bc/d"] {
            assert!(path(above).is_above(&all));
        }
        for beside in [&b"a/b"[..], b"a/bc/d/e", b"b"] {
            assert!(!path(beside).is_above(&all));
        }
    }

    #[test]
    fn messages_quote_the_beginning_and_the_end_of_a_long_name() {
        let name = "é/".repeat(341) + "/";
        assert_eq!(name.len(), QUOTED.0);
        assert_eq!(quotable(name.as_bytes()), name);
        for (before, between) in [("", 0), ("b", 1), ("bb", 2)] {
            let name = [before.as_bytes(), &"é/".repeat(400_000).into_bytes()].concat();
            let text = quotable(&name);
            let (head, rest) = text.split_once("[… ").unwrap();
            let (count, tail) = rest.split_once(" bytes …]").unwrap();
            let count: usize = count.parse().unwrap();
            assert!(name.starts_with(head.as_bytes()) && name.ends_with(tail.as_bytes()), "{between} {text}");
            assert_eq!(head.len() + count + tail.len(), name.len());
            assert!((390..=QUOTED.1).contains(&head.len()) && (390..=QUOTED.1).contains(&tail.len()), "{text}");
        }
        assert_eq!(quotable(&[0xff; 2000]).matches("\\377").count(), 2 * QUOTED.1 - 1);
    }

    #[test]
    fn hostile_names_print_without_control_bytes() {
        assert_eq!(printable(b"a\x1b[2Jb\n\\\xff"), "a\\033[2Jb\\n\\\\\\377");
        assert_eq!(printable("Bäume/日本".as_bytes()), "Bäume/日本");
        assert_eq!(printable("x\u{202e}gpj".as_bytes()), "x\\342\\200\\256gpj");
    }
}
