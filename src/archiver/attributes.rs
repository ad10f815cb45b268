//! What a backup finds out about extended attributes. The guide's format holds none. So files that have some are counted,
//! which costs one system call for each file; with `--xattrs` names and values are read.

use rustix::io::Errno;

use crate::archive::xattr_record_length;
use crate::digest::{Digest, OfPieces};
use crate::error::Cause;
use crate::limits::LONGEST_RECORD;
use crate::member::printable;
use crate::volume::content::Opened;
use crate::volume::walk::Entry;
use crate::volume::xattrs::Object;
use crate::xattrs::{Class, Xattrs};

/// The most bytes of extended attributes of one file in an archive: what an extended header holds, with some room for the
/// time.
pub(super) const XATTRS_OF_ONE: u64 = LONGEST_RECORD - 512;

/// What a backup looks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// Whether a file has attributes that the archive will lack.
    Count,
    /// All attributes that are archived.
    Read,
}

/// What was found of one file.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// The attributes that are archived.
    pub(super) xattrs: Xattrs,
    /// Whether there are attributes that the archive will lack, because they are only counted.
    pub(super) is_left_out: bool,
    /// Why attributes are missing nevertheless: part of a message.
    pub(super) trouble: Option<String>,
}

/// Returns the digest of a file with extended attributes: that of its content, if it has none.
pub(super) fn digest_with(content: Digest, xattrs: &Xattrs) -> Digest {
    if xattrs.is_empty() {
        return content;
    }
    let mut digest = OfPieces::default();
    digest.add(content);
    for (name, value) in xattrs.iter() {
        digest.add(Digest::of(name));
        digest.add(Digest::of(value));
    }
    digest.finish()
}

impl Seen {
    /// Returns the length of names and values in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.xattrs.bytes() as u64
    }

    /// What is said of a file that has more attributes than an archive holds.
    pub(super) fn too_many() -> Self {
        let trouble = format!("its extended attributes have more than {XATTRS_OF_ONE} bytes");
        Self { trouble: Some(trouble), ..Self::default() }
    }
}

impl Look {
    /// Looks at an open file. `None` if its attributes have more than `most` bytes.
    pub(super) fn at_file(self, file: &Opened, most: u64) -> Option<Seen> {
        self.at_object(&Object::open(file.file()), most)
    }

    /// Looks at anything else. `None` if its attributes have more than `most` bytes.
    pub(super) fn at(self, entry: &Entry, most: u64) -> Option<Seen> {
        match entry.with_object(|object| self.at_object(object, most)) {
            Ok(seen) => seen.unwrap_or_else(|| Some(Seen::default())),
            Err(errno) => Some(self.failed("it cannot be opened", Errno::from_raw_os_error(errno as i32))),
        }
    }

    fn at_object(self, object: &Object<'_>, most: u64) -> Option<Seen> {
        let names = match object.names() {
            Ok(names) => names,
            Err(errno) => return Some(self.failed("its extended attributes cannot be listed", errno)),
        };
        match self {
            Self::Count => {
                // Some filesystems list an ACL whether there is one or not.
                let is_there = |name: &Vec<u8>| object.value(name).is_ok_and(|value| value.is_some());
                let is_left_out = names.iter().any(|name| Class::of(name) == Class::File && is_there(name));
                Some(Seen { is_left_out, ..Seen::default() })
            }
            Self::Read => read(object, &names, most),
        }
    }

    /// What is not stored anyway need not be listed.
    fn failed(self, what: &str, errno: Errno) -> Seen {
        let trouble = match self {
            Self::Count => None,
            Self::Read => Some(format!("{what}: {}", Cause::from(std::io::Error::from(errno)))),
        };
        Seen { trouble, ..Seen::default() }
    }
}

fn read(object: &Object<'_>, names: &[Vec<u8>], most: u64) -> Option<Seen> {
    let (mut found, mut trouble, mut bytes) = (Vec::new(), None, 0);
    for name in names.iter().filter(|name| Class::of(name).is_archived()) {
        match object.value(name) {
            // It was removed meanwhile.
            Ok(None) => {}
            Ok(Some(value)) => {
                bytes += xattr_record_length(name, &value) as u64;
                if bytes > most {
                    return None;
                }
                found.push((name.clone(), value));
            }
            Err(errno) => {
                let why = Cause::from(std::io::Error::from(errno));
                trouble.get_or_insert_with(|| format!("cannot read '{}': {why}", printable(name)));
            }
        }
    }
    // A file without any is like one of which nothing is known.
    let xattrs = if found.is_empty() { Xattrs::default() } else { found.into_iter().collect() };
    Some(Seen { xattrs, is_left_out: false, trouble })
}
