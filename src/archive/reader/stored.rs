//! A member as an archive has it.

use crate::limits::Excess;
use crate::member::{Kind, Metadata, RelPath};

/// The type of a stored member. Unlike [`crate::member::Kind`], it does not include the link target, which is
/// unchecked and in [`Stored::link`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredKind {
    /// A regular file, followed by [`Stored::size`] bytes of content.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A hard link to an earlier member.
    HardLink,
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// A member as it is stored in the archive. [`strip`](crate::archive::strip::strip) checks its names.
///
/// ```
/// use voltar::archive::reader::{Stored, StoredKind};
/// use voltar::archive::strip::strip;
/// use voltar::member::{Metadata, RelPath};
///
/// let stored = Stored {
///     name: b"srv/www/../../etc/passwd".to_vec(),
///     link: Vec::new(),
///     kind: StoredKind::File,
///     size: 0,
///     metadata: Metadata::default(),
///     bad_xattrs: Vec::new(),
///     uname: Vec::new(),
///     gname: Vec::new(),
///     device: (0, 0),
///     unknown_type: None,
///     excess: None,
///     offset: 0,
/// };
/// assert!(strip(&stored, &RelPath::parse(b"srv/www")?).is_err());
/// # Ok::<(), voltar::member::BadPath>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The name of the member, unchecked.
    pub name: Vec<u8>,
    /// The target of a symbolic or hard link, unchecked; empty for other members.
    pub link: Vec<u8>,
    /// The type of the member.
    pub kind: StoredKind,
    /// Content length in bytes, the holes of a sparse file included.
    pub size: u64,
    /// Owner, mode, modification time, and the extended attributes, if the archive says something of them.
    pub metadata: Metadata,
    /// What the archive says of extended attributes and no file can have, each as part of a message.
    pub bad_xattrs: Vec<String>,
    /// The user name of the owner; only for listings.
    pub uname: Vec<u8>,
    /// The name of the group; only for listings.
    pub gname: Vec<u8>,
    /// Major and minor device number; 0 for members that are not devices.
    pub device: (u32, u32),
    /// The type of a member that no tar is known to write; it is a regular file here, as for GNU tar.
    pub unknown_type: Option<u8>,
    /// The limit that a header of the member exceeds: then `name` or `link` is only its beginning.
    pub excess: Option<Excess>,
    /// The offset of the header in the uncompressed stream, in bytes.
    pub offset: u64,
}

impl Stored {
    /// Returns the type of the member for a listing. The target of a hard link is only in [`Stored::link`].
    #[must_use]
    pub fn listed_kind(&self) -> Kind {
        let (major, minor) = self.device;
        match self.kind {
            StoredKind::File => Kind::File { size: self.size },
            StoredKind::Directory => Kind::Directory,
            StoredKind::Symlink => Kind::Symlink { target: self.link.clone() },
            StoredKind::HardLink => Kind::HardLink { target: RelPath::root() },
            StoredKind::Fifo => Kind::Fifo,
            StoredKind::CharDevice => Kind::CharDevice { major, minor },
            StoredKind::BlockDevice => Kind::BlockDevice { major, minor },
        }
    }
}
