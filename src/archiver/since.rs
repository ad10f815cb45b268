//! Compares a walk with the index of an earlier archive: what is new or different since, and what is gone. Both are in the
//! same order, so that one entry of each is looked at at a time.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::io;
use std::mem;

use crate::codec::Decompressor;
use crate::error::{Error, ErrorKind, Result, carried};
use crate::ids::IdMap;
use crate::index::{self, IndexReader, State, walk_order};
use crate::member::{Kind, Metadata, RelPath, Timestamp};
use crate::monitor::Monitor;
use crate::ordered::Pool;
use crate::store::{Location, Reader};
use crate::volume::walk::{Before, Entry, Found};

/// How long before a run began a change may have the same time as one after a file was read, in seconds: what FAT keeps, and
/// more than the tick of the kernel's clock.
const GRANULARITY: i64 = 2;

/// An index that is being read.
pub(crate) struct Index<'a> {
    location: Location,
    reader: IndexReader<Decompressor<Reader<'a>>>,
}

impl<'a> Index<'a> {
    /// Opens the index at `location`.
    ///
    /// # Errors
    /// It cannot be read, or is none.
    pub(crate) fn open(location: &Location, pool: &Pool, monitor: &'a dyn Monitor) -> Result<Self> {
        let failed = |e: io::Error| cannot_use(location, &e);
        let opened = location.open(monitor).map_err(|error| Error::new(ErrorKind::Damaged, error.to_string()))?;
        let reader = Decompressor::new(opened.reader, pool).map_err(failed)?;
        Ok(Self { location: location.clone(), reader: IndexReader::new(reader).map_err(failed)? })
    }

    fn next(&mut self) -> Result<Option<index::Entry>> {
        self.reader.next().map_err(|e| cannot_use(&self.location, &e))
    }
}

fn cannot_use(location: &Location, cause: &io::Error) -> Error {
    match carried::<Error>(cause) {
        // An interruption.
        Some(error) => error.clone(),
        None => Error::new(ErrorKind::Damaged, format!("cannot use the index '{location}': {cause}")),
    }
}

/// A walk whose entries say how they compare with an index. [`Found::Gone`] comes before the next entry in the order of the
/// walk.
pub(crate) struct Compared<'a, W> {
    walk: W,
    index: Index<'a>,
    next: Option<index::Entry>,
    judge: Judge<'a>,
    /// What comes next.
    found: VecDeque<Found>,
    /// The last path that is gone: all below it is too.
    gone: Option<RelPath>,
    is_walked: bool,
}

impl<'a, W: Iterator<Item = Result<Found>>> Compared<'a, W> {
    /// Compares `walk`, whose owners are mapped by `ids`, with `index`. With `xattrs` an archive has extended attributes and
    /// fractions of seconds.
    ///
    /// # Errors
    /// The index cannot be read.
    pub(crate) fn new(walk: W, mut index: Index<'a>, ids: &'a IdMap, xattrs: bool) -> Result<Self> {
        let begun = index.reader.begun();
        let settled = Timestamp { seconds: begun.seconds.saturating_sub(GRANULARITY), ..begun };
        let next = index.next()?;
        let judge = Judge { ids, xattrs, settled };
        Ok(Self { walk, index, next, judge, found: VecDeque::new(), gone: None, is_walked: false })
    }

    /// Takes the next entry of the index.
    fn take(&mut self) -> Result<Option<index::Entry>> {
        let next = self.index.next()?;
        Ok(mem::replace(&mut self.next, next))
    }

    /// Takes the entry of the index at `path`, if there is one. Those before it are gone.
    fn at(&mut self, path: &RelPath) -> Result<Option<index::Entry>> {
        while let Some(next) = &self.next {
            let order = walk_order(&next.path, path);
            if order == Ordering::Greater {
                break;
            }
            let taken = self.take()?;
            if order == Ordering::Equal {
                return Ok(taken);
            }
            if let Some(entry) = taken {
                self.gone(entry.path);
            }
        }
        Ok(None)
    }

    /// Takes entries of the index after the walk has ended, until something is found.
    fn rest(&mut self) -> Result<()> {
        while self.found.is_empty()
            && let Some(entry) = self.take()?
        {
            self.gone(entry.path);
        }
        Ok(())
    }

    fn gone(&mut self, path: RelPath) {
        if !self.gone.as_ref().is_some_and(|gone| gone.is_above(&path)) {
            self.found.push_back(Found::Gone(path.clone()));
            self.gone = Some(path);
        }
    }

    fn entry(&mut self, mut entry: Entry) -> Result<()> {
        match self.at(&entry.path)? {
            None => {}
            Some(index::Entry { state: Some(state), .. }) if is_kind(&state.kind, &entry.kind) => {
                entry.before = self.judge.before(&entry, &state);
            }
            // It replaces something of another kind, or something that was not archived completely.
            Some(index::Entry { path, .. }) => self.gone(path),
        }
        self.found.push_back(Found::Entry(entry));
        Ok(())
    }
}

fn is_kind(one: &Kind, other: &Kind) -> bool {
    mem::discriminant(one) == mem::discriminant(other)
}

impl<W: Iterator<Item = Result<Found>>> Iterator for Compared<'_, W> {
    type Item = Result<Found>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(found) = self.found.pop_front() {
                return Some(Ok(found));
            }
            let compared = if self.is_walked {
                self.next.as_ref()?;
                self.rest()
            } else {
                match self.walk.next() {
                    Some(Ok(Found::Entry(entry))) => self.entry(entry),
                    Some(other) => return Some(other),
                    None => {
                        self.is_walked = true;
                        Ok(())
                    }
                }
            };
            if let Err(error) = compared {
                (self.is_walked, self.next) = (true, None);
                return Some(Err(error));
            }
        }
    }
}

/// What decides whether an entry is the same.
struct Judge<'a> {
    ids: &'a IdMap,
    xattrs: bool,
    /// A file that was changed before this time, and was read later, was not changed again at the same time.
    settled: Timestamp,
}

impl Judge<'_> {
    /// Compares an entry with one of the same kind.
    fn before(&self, entry: &Entry, then: &State) -> Before {
        // A file with an owner that has no id in the container is refused when it is archived.
        let Ok(now) = self.ids.to_container(&entry.metadata) else { return Before::Other };
        let State { kind, metadata, ctime, inode, nlink, digest } = then;
        let is_time =
            if self.xattrs { now.mtime == metadata.mtime } else { now.mtime.seconds == metadata.mtime.seconds };
        let owner_and_mode = |of: &Metadata| (of.uid, of.gid, of.mode);
        if entry.kind != *kind || owner_and_mode(&now) != owner_and_mode(metadata) || !is_time {
            return Before::Other;
        }
        let is_untouched = (entry.inode.ctime, entry.inode.id.inode, entry.inode.nlink) == (*ctime, *inode, *nlink)
            && now.mtime == metadata.mtime
            && *ctime < self.settled;
        if is_untouched {
            return Before::Same;
        }
        // A restore makes all inodes anew, and sets whole seconds.
        let has_one_name = entry.inode.nlink == 1 && *nlink == 1;
        match kind {
            Kind::File { .. } if has_one_name => digest.map_or(Before::Other, Before::SameIf),
            // Attributes are in the digests of files alone, and the names of a file are archived together.
            _ if self.xattrs => Before::Other,
            Kind::Directory => Before::Same,
            _ if has_one_name => Before::Same,
            _ => Before::Other,
        }
    }
}
