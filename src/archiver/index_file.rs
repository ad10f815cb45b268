//! The index that is written beside a full archive.

use std::io;

use super::cannot_write::cannot_write;
use crate::codec::{Compressor, Format};
use crate::digest::Digest;
use crate::error::Result;
use crate::index::{Entry, IndexWriter, State};
use crate::member::{Kind, Member, Timestamp};
use crate::monitor::Monitor;
use crate::ordered::Pool;
use crate::store::{Complete, Destination, NewArchive};
use crate::volume::walk::Inode;

/// An index that is being written.
pub(super) struct IndexFile<'a> {
    writer: IndexWriter<Compressor<NewArchive<'a>>>,
}

/// What the archive has of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stored {
    /// All of it; of a file the content and attributes with this digest.
    All(Option<Digest>),
    /// Not all.
    Partly,
}

impl<'a> IndexFile<'a> {
    /// Begins the index of an archive whose tree is read from `begun` on.
    pub(super) fn create(
        destination: &Destination,
        begun: Timestamp,
        pool: &Pool,
        monitor: &'a dyn Monitor,
    ) -> Result<Self> {
        let file = destination.create(Format::Zstd, monitor)?;
        let writer = IndexWriter::new(Compressor::new(file, Format::Zstd.into(), pool), begun);
        writer.map(|writer| Self { writer }).map_err(|e| cannot_write(destination, &e))
    }

    /// Adds a member that was stored as `member`, and is of the kind `kind`.
    pub(super) fn add(&mut self, member: &Member, kind: Kind, inode: &Inode, stored: Stored) -> io::Result<()> {
        let Member { path, metadata, .. } = member;
        let state = match stored {
            Stored::Partly => None,
            Stored::All(digest) => Some(State {
                kind,
                ctime: inode.ctime,
                inode: inode.id.inode,
                nlink: inode.nlink,
                digest: digest.filter(|_| inode.nlink == 1),
                metadata: metadata.clone(),
            }),
        };
        self.writer.add(&Entry { path: path.clone(), state })
    }

    /// Completes the index, but for its end.
    pub(super) fn finish(self, destination: &Destination) -> Result<Complete> {
        let compressor = self.writer.finish().map_err(|e| cannot_write(destination, &e))?;
        compressor.finish().map_err(|e| cannot_write(destination, &e))?.finish()
    }
}
