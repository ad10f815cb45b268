//! What is written beside an archive: an index, or the paths that are gone.

use std::io::{self, Write as _};

use super::index_file::{IndexFile, Stored};
use crate::codec::Format;
use crate::error::{Error, Result};
use crate::limits::MOST_CHANGES;
use crate::member::{Kind, Member, RelPath, Timestamp};
use crate::monitor::Monitor;
use crate::ordered::Pool;
use crate::store::{Complete, Destination, Location, NewArchive};
use crate::volume::walk::Inode;

/// How much of a tree is archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// All of it.
    All,
    /// All of it, with an index for later archives of changes.
    Indexed {
        /// Where the index is written.
        index: Destination,
    },
    /// All of it, with an index, unless nothing at all has changed since a full archive.
    AllOrSame {
        /// The index of the full archive.
        since: Location,
        /// Where the new index is written.
        index: Destination,
    },
    /// What has changed since a full archive.
    Changes {
        /// The index of the full archive.
        since: Location,
        /// Where the paths are written that are gone.
        gone: Destination,
    },
}

impl Scope {
    /// Returns where the file beside the archive is written, if there is one.
    pub(crate) fn beside(&self) -> Option<&Destination> {
        match self {
            Self::All => None,
            Self::Indexed { index } | Self::AllOrSame { index, .. } => Some(index),
            Self::Changes { gone, .. } => Some(gone),
        }
    }
}

/// What is written beside an archive.
pub(super) enum Beside<'a> {
    Nothing,
    Index(Box<IndexFile<'a>>),
    /// The paths that are gone, and how many there are.
    Gone(Box<NewArchive<'a>>, u64),
}

impl<'a> Beside<'a> {
    pub(super) fn create(scope: &Scope, began_at: Timestamp, pool: &Pool, monitor: &'a dyn Monitor) -> Result<Self> {
        Ok(match scope {
            Scope::All => Self::Nothing,
            Scope::Indexed { index } | Scope::AllOrSame { index, .. } => {
                Self::Index(Box::new(IndexFile::create(index, began_at, pool, monitor)?))
            }
            Scope::Changes { gone, .. } => Self::Gone(Box::new(gone.create(Format::Plain, monitor)?), 0),
        })
    }

    /// Returns whether digests of files are wanted.
    pub(super) fn wants_digests(&self) -> bool {
        !matches!(self, Self::Nothing)
    }

    /// Returns whether it belongs to an archive of changes.
    pub(super) fn has_base(&self) -> bool {
        matches!(self, Self::Gone(..))
    }

    /// Adds a member to the index, if there is one.
    pub(super) fn add(&mut self, member: &Member, kind: Kind, inode: &Inode, stored: Stored) -> io::Result<()> {
        match self {
            Self::Index(index) => index.add(member, kind, inode, stored),
            Self::Nothing | Self::Gone(..) => Ok(()),
        }
    }

    /// Adds a path to those that are gone, if there is a list of them.
    pub(super) fn gone(&mut self, path: &RelPath) -> io::Result<()> {
        let Self::Gone(file, count) = self else { return Ok(()) };
        *count += 1;
        file.write_all(path.as_bytes())?;
        file.write_all(b"\0")
    }

    /// Returns whether it belongs to an archive of changes, and nothing is gone.
    pub(super) fn is_unchanged(&self) -> bool {
        matches!(self, Self::Gone(_, 0))
    }

    /// Checks that an archive of changes with so many `members` can be read again.
    ///
    /// # Errors
    /// There are too many.
    pub(super) fn check(&self, members: u64, archive: &str) -> Result<()> {
        match self {
            Self::Gone(_, gone) if members + gone > MOST_CHANGES => Err(Error::refused(format!(
                "{archive}: more has changed than an archive of changes holds: {members} members and {gone} paths that are \
                 gone; the limit is {MOST_CHANGES}"
            ))
            .hint("make a full set: --full-every 1")),
            Self::Nothing | Self::Index(_) | Self::Gone(..) => Ok(()),
        }
    }

    pub(super) fn finish(self, scope: &Scope) -> Result<Option<Complete>> {
        match (self, scope) {
            (Self::Index(file), Scope::Indexed { index } | Scope::AllOrSame { index, .. }) => {
                file.finish(index).map(Some)
            }
            (Self::Gone(file, _), _) => file.finish().map(Some),
            (Self::Nothing | Self::Index(_), _) => Ok(None),
        }
    }
}

/// Returns the time of the system's clock.
pub(super) fn now() -> Timestamp {
    let now = jiff::Timestamp::now();
    let nanoseconds = now.as_nanosecond();
    let seconds = i64::try_from(nanoseconds.div_euclid(1_000_000_000)).unwrap_or(i64::MAX);
    Timestamp { seconds, nanoseconds: nanoseconds.rem_euclid(1_000_000_000) as u32 }
}
