//! What is archived, and what then is known of it.

use super::beside::Scope;
use crate::archive::{BLOCK, RECORD, padding};
use crate::codec::Compression;
use crate::exclude::Exclude;
use crate::member::{Kind, RelPath};
use crate::monitor::Summary;
use crate::postgres::Cluster;
use crate::store::{Complete, Destination};
use crate::volume::walk::{Entry, Links};

/// One archive to be written.
#[derive(Debug, Clone)]
pub struct Job {
    /// The archive's name without its suffix.
    pub archive: String,
    /// The path of the tree in the container: the prefix of all member names.
    pub prefix: RelPath,
    /// Where it is written.
    pub destination: Destination,
    /// The expected length of the tar stream in bytes, for the progress display.
    pub expected_bytes: Option<u64>,
    /// The least content of a tree that is archived.
    pub expected: Expected,
    /// The members that are left out.
    pub exclude: Exclude,
    /// Whether extended attributes are stored, and fractions of a second; otherwise files that have some are counted.
    pub xattrs: bool,
    /// How the archive is compressed.
    pub compression: Compression,
    /// How much of the tree is archived.
    pub scope: Scope,
    /// Whether a second pass archives what changes meanwhile: then it is not reported.
    pub is_first_pass: bool,
}

/// The least content of a tree: a tree with less is refused, because it is probably not the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// No requirement: an empty tree is archived too.
    Anything,
    /// At least one member besides the root.
    Members,
    /// A PostgreSQL cluster: `PG_VERSION` at the root or at most two directories below.
    Database,
}

impl Expected {
    /// Returns what is missing in a tree of `members` members, as part of a message ("holds nothing"); `None` if the
    /// tree suffices. `one_file` is true for a tree that is one mounted file, `database` for one with a `PG_VERSION`.
    #[must_use]
    pub fn missing(self, members: u64, one_file: bool, database: bool) -> Option<&'static str> {
        match self {
            Self::Members | Self::Database if members < 2 && !one_file => Some("holds nothing"),
            Self::Database if !database => Some("holds no PG_VERSION, so it is no PostgreSQL database"),
            Self::Anything | Self::Members | Self::Database => None,
        }
    }
}

/// An archive that is complete but for its end.
#[derive(Debug)]
pub(crate) struct Archived {
    /// The archive; `None` for one of changes where nothing has changed.
    pub complete: Option<Complete>,
    /// What is written beside it: an index, or the paths that are gone.
    pub beside: Option<Complete>,
    /// The totals of the archive.
    pub summary: Summary,
    /// The totals of the tree.
    pub tree: TreeTotals,
    /// The database clusters in it, without their versions.
    pub clusters: Vec<Cluster>,
}

/// The totals of a tree, whatever was archived of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TreeTotals {
    /// The number of members.
    pub members: u64,
    /// The length of a tar stream of all of it in bytes; of an archive of changes it is calculated, without long names.
    pub stream_bytes: u64,
}

impl TreeTotals {
    /// Adds a member with so much content.
    pub(super) fn add(&mut self, size: u64) {
        self.members += 1;
        self.stream_bytes += BLOCK as u64 + size + padding(size) as u64;
    }

    /// Adds the end of the stream.
    pub(super) fn finished(self) -> Self {
        let stream_bytes = (self.stream_bytes + 2 * BLOCK as u64).next_multiple_of(RECORD as u64);
        Self { stream_bytes, ..self }
    }
}

/// Returns how much content of an entry a tar stream of the whole tree holds: that of a file under its first name.
pub(super) fn content_bytes(entry: &Entry, links: &mut Links) -> u64 {
    match (links.is_counted(entry), &entry.kind) {
        (false, Kind::File { size }) => *size,
        _ => 0,
    }
}
