//! The size of small files and of batches of them. Batches amortise the cost of passing work between threads, and
//! their limits bound the memory and the open directories.

use crate::member::Kind;

/// The largest size of a small file, in bytes.
pub(crate) const SMALL: u64 = 128 << 10;

/// The bytes of content at which a batch is full.
pub(crate) const BYTES: u64 = 256 << 10;

/// The number of members at which a batch is full.
pub(crate) const MEMBERS: usize = 64;

/// The number of directories of its members at which a batch is full; it keeps their handles open.
pub(crate) const DIRECTORIES: usize = 4;

/// Returns the size of a small file, and `None` for all other members.
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

/// The fill level of a batch.
#[derive(Debug, Default)]
pub(crate) struct Filled {
    bytes: u64,
    members: usize,
    directories: usize,
}

impl Filled {
    /// Adds a member with `bytes` of content; `same_directory` is whether it is in the directory of the previous one.
    pub(crate) fn add(&mut self, bytes: u64, same_directory: bool) {
        self.bytes += bytes;
        self.members += 1;
        self.directories += usize::from(!same_directory);
    }

    /// Returns whether the batch is full.
    #[must_use]
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= BYTES || self.members >= MEMBERS || self.directories >= DIRECTORIES
    }
}
