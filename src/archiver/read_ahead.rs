//! Read-ahead for the archiver: one thread walks the tree, and several open and read small files, so that the
//! latency of one file does not delay the disk or the codec. Entries are delivered in the order of the walk. Large
//! files, and files with several links, are read by the archiver itself.
//!
//! The read-ahead is bounded by the window of [`Ordered`], in batches, plus [`WAITING`] batches. A file is open only
//! while it is read.

use std::panic::resume_unwind;
use std::sync::mpsc::sync_channel;
use std::thread;

use nix::errno::Errno;

use super::attributes::{Look, Seen};
use crate::batch::{self, BYTES, Filled, SMALL};
use crate::error::{Error, Result};
use crate::member::Kind;
use crate::ordered::{Ordered, Pool};
use crate::volume::content::Content;
use crate::volume::walk::{Before, Entry, Found};

/// The capacity of the channel from the walking thread to the archiver, in batches.
const WAITING: usize = 2;

/// An entry of the walk, which may have been read ahead.
#[derive(Debug)]
pub(super) enum WalkItem {
    /// An entry that was not read ahead.
    Found(Found),
    /// An entry other than a file, of which the extended attributes were read.
    Examined(Entry, Seen),
    /// A file that was read ahead, or could not be opened.
    Read(Entry, std::result::Result<(Content, Seen), Errno>),
}

type Batch<T> = Vec<Result<T>>;

/// What is read of files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reading {
    pub(super) look: Look,
    /// Whether digests of their content are wanted.
    pub(super) is_digested: bool,
}

/// Calls `take` for each entry of `walk`, in order, with small files already read by the threads of `files`. Nothing
/// is read after an error of `walk`.
///
/// # Errors
/// The first error of `take`, which is not called again after it.
pub(super) fn for_each_read_ahead(
    walk: impl Iterator<Item = Result<Found>> + Send,
    reading: Reading,
    files: &Pool,
    mut take: impl FnMut(Result<WalkItem>) -> Result<()>,
) -> Result<()> {
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(WAITING);
        let walker = thread::Builder::new().name("walk".to_owned()).spawn_scoped(scope, move || {
            let mut read_ahead =
                ReadAhead { batches: Batches(Some(walk)), what: reading, reading: Ordered::new(files) };
            // Sending fails once the archiver has failed and dropped the receiver.
            read_ahead.try_for_each(|batch| sender.send(batch)).ok();
        });
        let walker = walker.map_err(|e| Error::failed("cannot start", "the thread that walks", e))?;
        receiver.into_iter().flatten().try_for_each(&mut take)?;
        walker.join().unwrap_or_else(|panic| resume_unwind(panic));
        Ok(())
    })
}

/// The batches of a walk, in order, with their small files read.
struct ReadAhead<W> {
    batches: Batches<W>,
    what: Reading,
    reading: Ordered<Batch<WalkItem>>,
}

impl<W: Iterator<Item = Result<Found>>> Iterator for ReadAhead<W> {
    type Item = Batch<WalkItem>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.reading.has_room() {
            let Some(batch) = self.batches.next() else { break };
            let what = self.what;
            self.reading.submit(move || read_small(batch, what));
        }
        self.reading.take()
    }
}

impl<W> Drop for ReadAhead<W> {
    fn drop(&mut self) {
        // Waits for the reads in progress: no file of the tree is open after its archive was written or has failed.
        self.reading.abandon();
    }
}

/// A walk divided into batches. It ends with the walk or after its first error.
pub(super) struct Batches<W>(pub(super) Option<W>);

impl<W: Iterator<Item = Result<Found>>> Iterator for Batches<W> {
    type Item = Batch<Found>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut batch: Batch<Found> = Vec::new();
        let mut filled = Filled::default();
        while !filled.is_full() {
            let Some(found) = self.0.as_mut().and_then(Iterator::next) else { break };
            match &found {
                Ok(Found::Entry(entry)) => {
                    let same_directory =
                        matches!(batch.last(), Some(Ok(Found::Entry(last))) if last.lies_beside(entry));
                    // Names can be as long as small files.
                    filled.add(small(entry).unwrap_or(0) + entry.path.as_bytes().len() as u64, same_directory);
                }
                Ok(
                    Found::Socket(_)
                    | Found::Own(_)
                    | Found::Excluded
                    | Found::Beyond { .. }
                    | Found::Changed(_)
                    | Found::Unreadable { .. }
                    | Found::Gone(_),
                ) => {
                    filled.add(0, true);
                }
                Err(_) => self.0 = None,
            }
            batch.push(found);
        }
        (!batch.is_empty()).then_some(batch)
    }
}

/// Returns the size of a file that is to be read ahead. A file with several links is not, since it may be stored
/// already under another name; nor is one that has not changed.
fn small(entry: &Entry) -> Option<u64> {
    batch::small(&entry.kind).filter(|_| !is_link(entry) && entry.before != Before::Same)
}

/// Returns whether it may be stored as a hard link.
fn is_link(entry: &Entry) -> bool {
    entry.kind != Kind::Directory && entry.inode.nlink > 1
}

/// Returns whether the extended attributes are to be read of something that is no file. A directory that has not changed may be
/// archived.
fn is_examined(entry: &Entry) -> bool {
    match entry.kind {
        Kind::File { .. } => false,
        Kind::Directory => true,
        _ => !is_link(entry) && entry.before != Before::Same,
    }
}

pub(super) fn read_small(batch: Batch<Found>, reading: Reading) -> Batch<WalkItem> {
    let Reading { look, is_digested } = reading;
    // A batch has at most this many bytes of content according to the walk, and of extended attributes.
    let mut room = BYTES + SMALL;
    let mut read = |found: Found| match found {
        Found::Entry(mut entry) if small(&entry).is_some() => match entry.open() {
            // The file has grown since the walk: the archiver reads it.
            Ok(file) if file.size() > room => WalkItem::Found(Found::Entry(entry)),
            Ok(file) => {
                let left = room - file.size();
                // They are many: the archiver reads them too.
                let Some(seen) = look.at_file(&file, left) else { return WalkItem::Found(Found::Entry(entry)) };
                room = left - seen.bytes();
                WalkItem::Read(entry, Ok((file.at_once(is_digested), seen)))
            }
            Err(e) => WalkItem::Read(entry, Err(e)),
        },
        Found::Entry(entry) if is_examined(&entry) => {
            let Some(seen) = look.at(&entry, room) else { return WalkItem::Found(Found::Entry(entry)) };
            room -= seen.bytes();
            WalkItem::Examined(entry, seen)
        }
        found => WalkItem::Found(found),
    };
    batch.into_iter().map(|found| found.map(&mut read)).collect()
}
