//! Which files are small, and how many of them make a batch: what is handed from thread to thread is worth
//! the handing, and what is held for it is bounded.

use crate::member::Kind;

/// Files up to this many bytes are small.
pub(crate) const SMALL: u64 = 128 << 10;

/// A batch takes no more once it has this many bytes of content.
pub(crate) const BYTES: u64 = 256 << 10;

/// A batch takes no more than so many members.
pub(crate) const MEMBERS: usize = 64;

/// A batch takes no more once its members lie in so many directories, whose handles it holds.
pub(crate) const DIRECTORIES: usize = 4;

/// The size of a small file; `None` for all else.
#[must_use]
pub(crate) fn small(kind: &Kind) -> Option<u64> {
    match *kind {
        Kind::File { size } => (size <= SMALL).then_some(size),
        Kind::Directory
        | Kind::Symlink { .. }
        | Kind::HardLink { .. }
        | Kind::Fifo
        | Kind::CharDevice { .. }
        | Kind::BlockDevice { .. } => None,
    }
}

/// How much is in a batch.
#[derive(Debug, Default)]
pub(crate) struct Filled {
    bytes: u64,
    members: usize,
    directories: usize,
}

impl Filled {
    /// One more member, with so many bytes of content to hold; `beside` the last one, or in another directory.
    pub(crate) fn add(&mut self, bytes: u64, beside: bool) {
        self.bytes += bytes;
        self.members += 1;
        self.directories += usize::from(!beside);
    }

    /// Whether it takes no more.
    #[must_use]
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= BYTES || self.members >= MEMBERS || self.directories >= DIRECTORIES
    }
}
