//! The fields of a header block: those of the oldest format (V7), of ustar, and of GNU tar, which all begin alike.

use crate::archive::{BLOCK, checksum, number};
use crate::member::quotable;

/// A header block with a right checksum.
#[derive(Debug, Clone)]
pub(super) struct Header([u8; BLOCK]);

/// A number in a header.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field {
    Mode,
    Uid,
    Gid,
    Size,
    Mtime,
    Major,
    Minor,
    /// The length of a sparse file of the old GNU format, holes included.
    RealSize,
}

impl Field {
    /// Its place in the block, and its name in messages.
    fn place(self) -> (std::ops::Range<usize>, &'static str) {
        match self {
            Self::Mode => (100..108, "mode"),
            Self::Uid => (108..116, "owner"),
            Self::Gid => (116..124, "group"),
            Self::Size => (124..136, "size"),
            Self::Mtime => (136..148, "time"),
            Self::Major => (329..337, "device number"),
            Self::Minor => (337..345, "device number"),
            Self::RealSize => (483..495, "size"),
        }
    }
}

impl Header {
    /// Returns the header in `block`; `None` if its checksum is wrong.
    pub(super) fn new(block: &[u8; BLOCK]) -> Option<Self> {
        checksum::is_right(block).then_some(Self(*block))
    }

    pub(super) fn block(&self) -> &[u8; BLOCK] {
        &self.0
    }

    /// The type of the member. In the oldest format that of a file is NUL.
    pub(super) fn kind(&self) -> u8 {
        self.0[156]
    }

    /// Returns the name. In ustar, whatever its version, it is in two parts.
    pub(super) fn name(&self) -> Vec<u8> {
        let name = text(&self.0[..100]);
        // GNU tar has other fields where ustar has the first part.
        let prefix = if self.0[257..263] == *b"ustar\0" { text(&self.0[345..500]) } else { b"" };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    /// Returns the target of a link.
    pub(super) fn link(&self) -> Vec<u8> {
        text(&self.0[157..257]).to_vec()
    }

    /// Returns the name of the owner and that of the group; empty in the oldest format.
    pub(super) fn owner_names(&self) -> (Vec<u8>, Vec<u8>) {
        if self.0[257..262] != *b"ustar" {
            return (Vec::new(), Vec::new());
        }
        (text(&self.0[265..297]).to_vec(), text(&self.0[297..329]).to_vec())
    }

    /// Returns a number.
    pub(super) fn number(&self, field: Field) -> Result<i64, String> {
        let (range, what) = field.place();
        let bytes = &self.0[range];
        number::read(bytes).ok_or_else(|| format!("unreadable {what} field '{}'", quotable(bytes)))
    }
}

/// Returns the bytes before the first NUL.
fn text(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}
