//! What an archive is made of: a member's path, kind and metadata as plain values.
//!
//! Everything here is pure: no file is opened and no archive byte is read. A [`RelPath`] is validated
//! once, where a name enters the program; whoever holds one need not check it again.

use std::borrow::Borrow;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// A path below the root of a tree, as bytes. The empty path is the root itself.
///
/// It never begins with `/`, and none of its components is empty, `.`, `..` or holds a NUL byte.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelPath(Vec<u8>);

/// Why bytes are no [`RelPath`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadPath {
    /// A component is `..`: it would lead out of the tree.
    Parent,
    /// A NUL byte: no file can have such a name.
    Nul,
    /// A single name was asked for, and this one is empty, `.` or has a `/` in it.
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
    /// The root of a tree.
    #[must_use]
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// Reads a name as it stands in an archive or in a configuration: leading, doubled and trailing
    /// slashes and `.` components are dropped, as GNU tar drops them; `..` is an error.
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

    /// This path with one more component.
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

    /// `other` below this path.
    #[must_use]
    pub fn concat(&self, other: &Self) -> Self {
        match (self.is_root(), other.is_root()) {
            (true, _) => other.clone(),
            (_, true) => self.clone(),
            (false, false) => Self([&self.0[..], b"/", &other.0[..]].concat()),
        }
    }

    /// Whether this is the tree's root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes, components joined by `/`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path for calls that take one. Empty for the root.
    #[must_use]
    pub fn as_path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.0))
    }

    /// The components from the root on.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&b| b == b'/').filter(|c| !c.is_empty())
    }

    /// The directory this path lies in and its name there; `None` for the root.
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

    /// The directories that this path leads through, as bytes: the outermost first, and at last the path itself. The
    /// root is not among them.
    pub fn steps(&self) -> impl Iterator<Item = &[u8]> {
        let ends = self.0.iter().enumerate().filter(|&(_, &byte)| byte == b'/').map(|(at, _)| at);
        let itself = (!self.is_root()).then_some(self.0.len());
        ends.chain(itself).filter_map(|end| self.0.get(..end))
    }

    /// What is left of this path below `base`; `None` where it does not lie at or below it.
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

/// So that sets of paths can be asked for bytes.
impl Borrow<[u8]> for RelPath {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() { f.write_str(".") } else { f.write_str(&printable(&self.0)) }
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RelPath({self})")
    }
}

/// Text from a tree or an archive made safe for terminals and logs, in GNU tar's manner: what is
/// printable UTF-8 stays, a backslash is doubled, every other byte becomes `\n`, `\t` … or `\ooo`.
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

/// A message of another library made safe likewise: it may quote hostile input. A backslash stays, as it may be an escape
/// already.
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

/// Control characters would control the terminal; directional formatting characters would make a name look like another.
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

/// Seconds and nanoseconds since 1970-01-01 UTC. Before it, seconds are negative and nanoseconds
/// still count forward, as in `struct timespec`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Whole seconds, rounded down.
    pub seconds: i64,
    /// 0 to 999,999,999.
    pub nanoseconds: u32,
}

/// What every kind of member carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Metadata {
    /// The permission bits with set-uid, set-gid and sticky: 0 to 0o7777.
    pub mode: u32,
    /// Owner, by number; names are never used.
    pub uid: u32,
    /// Group, by number.
    pub gid: u32,
    /// When the content was last changed.
    pub mtime: Timestamp,
}

/// What a member is. Sockets are not among them: an archive cannot hold one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A regular file of `size` bytes, which follow its header in the stream.
    File {
        /// Content length in bytes.
        size: u64,
    },
    /// A directory.
    Directory,
    /// A symbolic link; its target is kept as it is and never followed.
    Symlink {
        /// Any bytes but NUL.
        target: Vec<u8>,
    },
    /// One more name of a file that came earlier.
    HardLink {
        /// That file, below the same root.
        target: RelPath,
    },
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice {
        /// Driver number.
        major: u32,
        /// Unit number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Driver number.
        major: u32,
        /// Unit number.
        minor: u32,
    },
}

/// One entry of a tree or of an archive, its content aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Below the root of the tree that the archive holds.
    pub path: RelPath,
    /// What it is.
    pub kind: Kind,
    /// Owner, mode, time.
    pub metadata: Metadata,
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
    fn split_last_parts_directory_and_name() {
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
    fn hostile_names_print_without_control_bytes() {
        assert_eq!(printable(b"a\x1b[2Jb\n\\\xff"), "a\\033[2Jb\\n\\\\\\377");
        assert_eq!(printable("Bäume/日本".as_bytes()), "Bäume/日本");
        assert_eq!(printable("x\u{202e}gpj".as_bytes()), "x\\342\\200\\256gpj");
    }
}
