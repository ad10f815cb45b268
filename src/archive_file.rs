//! Reading an archive file: it is decompressed and split into members, progress is reported, and errors are located in
//! the file. A full archive and one of changes are read as one archive: that of the tree when the changes were made.

mod input;
mod superseded;

use std::io::{self, Read};
use std::time::{Duration, Instant};

use crate::archive::reader::{Stored, TarReader};
use crate::error::{Error, Result};
use crate::holes::ReadHoles;
use crate::monitor::{Event, Monitor, Stage, Summary};
use crate::ordered::Pool;
use crate::store::{Base, Location, Opened};
use input::{Decoding, Interruptible, located, not_read};
use superseded::Superseded;

pub use input::tar_likeness;

/// An archive file and its members.
pub(crate) struct ArchiveFile<'a> {
    name: String,
    /// The file that is being read.
    location: Location,
    bytes: Option<u64>,
    tar: TarReader<Interruptible<'a>>,
    /// What follows the full archive that is being read.
    changes: Option<Box<Changes>>,
    /// The lengths of what was read before it: of the stream, and of the file.
    before_it: (u64, u64),
    /// Whether what was read before it has members after its end.
    has_members_after_end: bool,
    allow_truncated_end: bool,
    reported: u64,
    members: u64,
    /// The names of the member being read, and of the one before it.
    current: Option<Vec<u8>>,
    before: Option<Vec<u8>>,
    begun: Instant,
}

/// An archive of changes that is read after the full one.
struct Changes {
    location: Location,
    decoding: Decoding,
    superseded: Superseded,
}

impl<'m> ArchiveFile<'m> {
    /// Opens the archive at `location`, which determines its name in events and messages. Reading ends once `monitor` is
    /// cancelled.
    ///
    /// # Errors
    /// The file cannot be opened, or has no known format.
    pub(crate) fn open(location: &Location, pool: &Pool, monitor: &'m dyn Monitor) -> Result<Self> {
        Self::open_all(location, Decoding::Parallel(pool.clone()), monitor)
    }

    /// The same, with [decoders that share no code](Decompressor::independent) with those that compress.
    ///
    /// # Errors
    /// As [`ArchiveFile::open`].
    pub(crate) fn open_independently(location: &Location, monitor: &'m dyn Monitor) -> Result<Self> {
        Self::open_all(location, Decoding::Independent, monitor)
    }

    fn open_all(location: &Location, decoding: Decoding, monitor: &'m dyn Monitor) -> Result<Self> {
        let Some(Base { archive, gone, prefix }) = location.base() else {
            return Self::read(location, location.open(monitor)?, monitor, &decoding);
        };
        let superseded = Superseded::read(gone, prefix, location, &decoding, monitor)?;
        let full = Self::read(archive, archive.open(monitor)?, monitor, &decoding)?;
        let changes = Changes { location: location.clone(), decoding, superseded };
        Ok(Self { name: location.name(), bytes: location.bytes(), changes: Some(Box::new(changes)), ..full })
    }

    /// Opens the archive at `location` to read its first members; it can be opened again, also if it is a stream.
    ///
    /// # Errors
    /// As [`ArchiveFile::open`].
    pub(crate) fn peek(location: &Location, pool: &Pool, monitor: &'m dyn Monitor) -> Result<Self> {
        let first = location.full_archive().unwrap_or(location);
        Self::read(first, first.peek(monitor)?, monitor, &Decoding::Parallel(pool.clone()))
    }

    fn read(location: &Location, opened: Opened<'m>, monitor: &'m dyn Monitor, decoding: &Decoding) -> Result<Self> {
        let decompressor = decoding.decompressor(opened.reader).map_err(|e| not_read(location, &e))?;
        Ok(Self {
            name: location.name(),
            location: location.clone(),
            bytes: opened.bytes,
            tar: TarReader::new(Interruptible { decompressor, monitor }),
            changes: None,
            before_it: (0, 0),
            has_members_after_end: false,
            allow_truncated_end: false,
            reported: 0,
            members: 0,
            current: None,
            before: None,
            begun: Instant::now(),
        })
    }

    /// Accepts an archive that ends after a complete member, without an end-of-archive marker; that is an issue.
    pub(crate) fn allow_truncated_end(&mut self) {
        self.allow_truncated_end = true;
        self.tar.allow_missing_end();
    }

    /// Returns whether members follow the end-of-archive marker, once that was read.
    pub(crate) fn has_members_after_end(&self) -> bool {
        self.has_members_after_end || self.tar.has_members_after_end()
    }

    /// Returns the archive's name without its suffix.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Returns the location of the archive.
    pub(crate) fn location(&self) -> &Location {
        &self.location
    }

    /// Reports that `stage` begins.
    pub(crate) fn started(&mut self, stage: Stage, monitor: &dyn Monitor) {
        self.begun = Instant::now();
        monitor.event(&Event::Started { archive: &self.name, stage, total_bytes: self.bytes });
    }

    /// Returns the next member, or `None` after the end; by then all checksums have been verified.
    pub(crate) fn next_member(&mut self, monitor: &dyn Monitor) -> Result<Option<Stored>> {
        loop {
            monitor.check_cancelled()?;
            let next = self.tar.next_member();
            self.advance(monitor);
            match next {
                Ok(Some(mut stored)) => {
                    self.before = self.current.replace(stored.name.clone());
                    if self.changes.as_ref().is_some_and(|changes| changes.superseded.contains(&stored.name)) {
                        continue;
                    }
                    self.members += 1;
                    stored.offset += self.before_it.0;
                    return Ok(Some(stored));
                }
                Ok(None) => {
                    self.report_excess(monitor);
                    match self.changes.take() {
                        Some(changes) => self.go_on(*changes)?,
                        None => return Ok(None),
                    }
                }
                Err(e) => return Err(self.located(&e)),
            }
        }
    }

    /// Goes on with an archive of changes.
    fn go_on(&mut self, Changes { location, decoding, .. }: Changes) -> Result<()> {
        let monitor = self.tar.get_ref().monitor;
        self.before_it = (self.tar.offset(), self.tar.get_ref().decompressor.compressed_bytes());
        self.has_members_after_end |= self.tar.has_members_after_end();
        let decompressor =
            decoding.decompressor(location.open(monitor)?.reader).map_err(|e| not_read(&location, &e))?;
        self.tar = TarReader::new(Interruptible { decompressor, monitor });
        if self.allow_truncated_end {
            self.tar.allow_missing_end();
        }
        (self.location, self.before, self.current) = (location, None, None);
        Ok(())
    }

    /// Returns a reader of the current member's content, which reports progress.
    pub(crate) fn content<'a>(&'a mut self, monitor: &'a dyn Monitor) -> Content<'a, 'm> {
        Content { archive: self, monitor }
    }

    /// Converts an error of the stream: adds the archive, the offset and the last complete member.
    pub(crate) fn located(&self, e: &io::Error) -> Error {
        let last_complete = if self.tar.content_left() > 0 { &self.before } else { &self.current };
        let error = located(&self.location, e, last_complete.as_deref());
        if self.tar.is_end_missing() {
            return error.hint("all members up to there are complete: `restore --allow-truncated-end` restores them");
        }
        error
    }

    /// Returns the final figures.
    pub(crate) fn summary(&self) -> Summary {
        Summary {
            archive: self.name.clone(),
            members: self.members,
            left_out: 0,
            stream_bytes: self.before_it.0 + self.tar.offset(),
            file_bytes: self.bytes.unwrap_or_else(|| self.compressed_bytes()),
            elapsed: self.elapsed(),
        }
    }

    fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    fn compressed_bytes(&self) -> u64 {
        self.before_it.1 + self.tar.get_ref().decompressor.compressed_bytes()
    }

    fn advance(&mut self, monitor: &dyn Monitor) {
        let at = self.compressed_bytes();
        if at > self.reported {
            monitor.event(&Event::Advanced { archive: &self.name, bytes: at - self.reported });
            self.reported = at;
        }
    }

    fn report_excess(&self, monitor: &dyn Monitor) {
        let path = &self.location;
        if self.tar.is_end_missing() {
            let what = "ends without its end-of-archive marker: members can be missing";
            monitor.issue(&self.name, format!("'{path}' {what}"));
        }
        if self.tar.lacks_last_member() {
            monitor.issue(&self.name, format!("'{path}' ends with the name of a member that is not there"));
        }
        if let Some(offset) = self.tar.get_ref().decompressor.trailing_garbage() {
            monitor
                .issue(&self.name, format!("'{path}': what follows byte {offset} is no archive data and was ignored"));
        }
        if self.tar.trailing() > 0 {
            monitor.issue(
                &self.name,
                format!("'{path}': {} bytes after the end-of-archive marker were ignored", self.tar.trailing()),
            );
        }
    }
}

/// A reader of the content of a member.
pub(crate) struct Content<'a, 'm> {
    archive: &'a mut ArchiveFile<'m>,
    monitor: &'a dyn Monitor,
}

impl Read for Content<'_, '_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.monitor.cancelled() {
            return Err(Error::interrupted().into());
        }
        let got = self.archive.tar.read(buf);
        self.archive.advance(self.monitor);
        got.map_err(|e| io::Error::new(e.kind(), self.archive.located(&e)))
    }
}

impl ReadHoles for Content<'_, '_> {
    fn skip_hole(&mut self) -> u64 {
        self.archive.tar.skip_hole()
    }
}
