//! Looks ahead of the archiver: one thread walks the tree, and several open and read small files, so that
//! neither the disk nor the codec waits for one file after the other. What the walk finds comes out in the
//! walk's order; large files, and those with several links, are left to the archiver.
//!
//! What is ahead is bounded: [`Ordered`]'s window of batches, and [`WAITING`] more. No file is open for longer
//! than it takes to read it.

use std::panic::resume_unwind;
use std::sync::mpsc::sync_channel;
use std::thread;

use nix::errno::Errno;

use crate::batch::{self, BYTES, Filled, SMALL};
use crate::error::{Error, Result};
use crate::ordered::{Ordered, Pool};
use crate::volume::content::Content;
use crate::volume::walk::{Entry, Found};

/// So many batches wait for the archiver outside of the queue that they were read in.
const WAITING: usize = 2;

/// What the walk found, and what has been done about it.
#[derive(Debug)]
pub(super) enum Seen {
    /// Nothing yet.
    Found(Found),
    /// A file that was read, or could not be opened.
    Read(Entry, std::result::Result<Content, Errno>),
}

type Batch<T> = Vec<Result<T>>;

/// Hands all that `walk` finds to `take`, in its order, with small files already read by the threads of
/// `files`. Nothing is read after an error of `walk`.
///
/// # Errors
/// The first one of `take`, which is then called no more.
pub(super) fn look_ahead(
    walk: impl Iterator<Item = Result<Found>> + Send,
    files: &Pool,
    mut take: impl FnMut(Result<Seen>) -> Result<()>,
) -> Result<()> {
    thread::scope(|scope| {
        let (sender, receiver) = sync_channel(WAITING);
        let walker = thread::Builder::new().name("walk".to_owned()).spawn_scoped(scope, move || {
            let mut ahead = Ahead { batches: Batches(Some(walk)), reading: Ordered::new(files) };
            // The receiver is dropped once the archiver has failed; then there is no need to go on.
            ahead.try_for_each(|batch| sender.send(batch)).ok();
        });
        let walker = walker.map_err(|e| Error::failed("cannot start", "the thread that walks", e))?;
        receiver.into_iter().flatten().try_for_each(&mut take)?;
        walker.join().unwrap_or_else(|panic| resume_unwind(panic));
        Ok(())
    })
}

/// The batches of a walk, in its order, their small files read.
struct Ahead<W> {
    batches: Batches<W>,
    reading: Ordered<Batch<Seen>>,
}

impl<W: Iterator<Item = Result<Found>>> Iterator for Ahead<W> {
    type Item = Batch<Seen>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.reading.has_room() {
            let Some(batch) = self.batches.next() else { break };
            self.reading.submit(move || read_small(batch));
        }
        self.reading.take()
    }
}

impl<W> Drop for Ahead<W> {
    fn drop(&mut self) {
        // No file of the tree stays open for longer than its archive is written.
        self.reading.abandon();
    }
}

/// A walk cut into batches; it ends with the walk's end or its first error.
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
                    let beside = matches!(batch.last(), Some(Ok(Found::Entry(last))) if last.lies_beside(entry));
                    filled.add(small(entry).unwrap_or(0), beside);
                }
                Ok(Found::Socket(_) | Found::Unreadable { .. }) => filled.add(0, true),
                Err(_) => self.0 = None,
            }
            batch.push(found);
        }
        (!batch.is_empty()).then_some(batch)
    }
}

/// The size of a file that is to be read ahead. A file with several links may be stored already.
fn small(entry: &Entry) -> Option<u64> {
    batch::small(&entry.kind).filter(|_| entry.inode.nlink < 2)
}

pub(super) fn read_small(batch: Batch<Found>) -> Batch<Seen> {
    // Enough for what the walk saw.
    let mut room = BYTES + SMALL;
    let mut see = |found: Found| match found {
        Found::Entry(mut entry) if small(&entry).is_some() => match entry.open() {
            // Some have grown since.
            Ok(file) if file.size() > room => Seen::Found(Found::Entry(entry)),
            Ok(file) => {
                room -= file.size();
                Seen::Read(entry, Ok(file.at_once()))
            }
            Err(e) => Seen::Read(entry, Err(e)),
        },
        found => Seen::Found(found),
    };
    batch.into_iter().map(|found| found.map(&mut see)).collect()
}
