//! Reading an archive file: it is decompressed and split into members, progress is reported, and errors are located in
//! the file.

use std::io::{self, Read};
use std::time::{Duration, Instant};

use crate::archive::checksum;
use crate::archive::reader::{Stored, TarReader};
use crate::codec::{Damage, Decompressor, Fault, Likeness};
use crate::error::{Error, ErrorKind, Result, carried};
use crate::holes::ReadHoles;
use crate::member::quotable;
use crate::monitor::{Event, Monitor, Stage, Summary};
use crate::ordered::Pool;
use crate::store::{Location, Opened, Reader};

/// An archive file and its members.
pub(crate) struct ArchiveFile<'a> {
    name: String,
    location: Location,
    bytes: Option<u64>,
    tar: TarReader<Interruptible<'a>>,
    reported: u64,
    members: u64,
    /// The names of the member being read, and of the one before it.
    current: Option<Vec<u8>>,
    before: Option<Vec<u8>>,
    begun: Instant,
}

impl<'m> ArchiveFile<'m> {
    /// Opens the archive at `location`, which determines its name in events and messages. Reading ends once `monitor` is
    /// cancelled.
    ///
    /// # Errors
    /// The file cannot be opened, or has no known format.
    pub(crate) fn open(location: &Location, pool: &Pool, monitor: &'m dyn Monitor) -> Result<Self> {
        Self::read(location, location.open(monitor)?, monitor, |reader| {
            Decompressor::with_plain(reader, tar_likeness, pool)
        })
    }

    /// The same, with [decoders that share no code](Decompressor::independent) with those that compress.
    ///
    /// # Errors
    /// As [`ArchiveFile::open`].
    pub(crate) fn open_independently(location: &Location, monitor: &'m dyn Monitor) -> Result<Self> {
        Self::read(location, location.open(monitor)?, monitor, |reader| Decompressor::independent(reader, tar_likeness))
    }

    /// Opens the archive at `location` to read its first members; it can be opened again, also if it is a stream.
    ///
    /// # Errors
    /// As [`ArchiveFile::open`].
    pub(crate) fn peek(location: &Location, pool: &Pool, monitor: &'m dyn Monitor) -> Result<Self> {
        Self::read(location, location.peek(monitor)?, monitor, |reader| {
            Decompressor::with_plain(reader, tar_likeness, pool)
        })
    }

    fn read(
        location: &Location,
        opened: Opened<'m>,
        monitor: &'m dyn Monitor,
        decompressor: impl FnOnce(Reader<'m>) -> io::Result<Decompressor<Reader<'m>>>,
    ) -> Result<Self> {
        let decompressor = decompressor(opened.reader).map_err(|e| {
            let error = located(location, &e, None);
            match location.foreign_program() {
                Some(program) if error.kind() != ErrorKind::Unsupported => {
                    error.hint(format!("decompress it first: `{program} -dk {location}`"))
                }
                _ => error,
            }
        })?;
        Ok(Self {
            name: location.name(),
            location: location.clone(),
            bytes: opened.bytes,
            tar: TarReader::new(Interruptible { decompressor, monitor }),
            reported: 0,
            members: 0,
            current: None,
            before: None,
            begun: Instant::now(),
        })
    }

    /// Accepts an archive that ends after a complete member, without an end-of-archive marker; that is an issue.
    pub(crate) fn allow_truncated_end(&mut self) {
        self.tar.allow_missing_end();
    }

    /// Returns whether members follow the end-of-archive marker, once that was read.
    pub(crate) fn has_members_after_end(&self) -> bool {
        self.tar.has_members_after_end()
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
        monitor.check_cancelled()?;
        let next = self.tar.next_member();
        self.advance(monitor);
        match next {
            Ok(Some(stored)) => {
                self.members += 1;
                self.before = self.current.replace(stored.name.clone());
                Ok(Some(stored))
            }
            Ok(None) => {
                self.report_excess(monitor);
                Ok(None)
            }
            Err(e) => Err(self.located(&e)),
        }
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
            stream_bytes: self.tar.offset(),
            file_bytes: self.bytes.unwrap_or_else(|| self.tar.get_ref().decompressor.compressed_bytes()),
            elapsed: self.elapsed(),
        }
    }

    fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    fn advance(&mut self, monitor: &dyn Monitor) {
        let at = self.tar.get_ref().decompressor.compressed_bytes();
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

/// The tar stream. Reading ends once the run is cancelled, also where a file of a few bytes decompresses to a stream that takes
/// hours to skip.
struct Interruptible<'a> {
    decompressor: Decompressor<Reader<'a>>,
    monitor: &'a dyn Monitor,
}

impl Read for Interruptible<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.monitor.check_cancelled()?;
        self.decompressor.read(buf)
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

/// Returns the command that unpacks a file which is not damaged but cannot be read here; it lacks the name of the file.
fn unpacked_by(e: &io::Error) -> Option<&'static str> {
    match carried::<Damage>(e)?.what {
        Fault::Foreign(format) => Some(format.command()),
        Fault::Window { needed: Some(_), .. } => Some("zstd -dk --long=31"),
        Fault::Window { needed: None, .. } => Some("xz -dk"),
        _ => None,
    }
}

fn located(location: &Location, e: &io::Error, last_complete: Option<&[u8]>) -> Error {
    // A wrapped error of this crate keeps its own message.
    if let Some(inner) = carried::<Error>(e) {
        return inner.clone();
    }
    if let Some(command) = unpacked_by(e) {
        let error = Error::new(ErrorKind::Unsupported, format!("'{location}': {e}"));
        return error.hint(format!("unpack it first: `{command} {location}`"));
    }
    if !matches!(e.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) {
        return Error::failed_at("cannot read", location.path(), e);
    }
    let last_complete = match last_complete {
        Some(name) => format!("; the last complete member is '{}'", quotable(name)),
        None => String::new(),
    };
    Error::new(ErrorKind::Damaged, format!("'{location}': {e}{last_complete}"))
}

/// Returns how likely the first bytes of a file are those of an uncompressed tar archive.
///
/// A tar archive begins with a file name, which can begin with the magic of a compression format; and a compressed file
/// can have tar's magic at the right offset by chance. The checksum of the header decides.
#[must_use]
pub fn tar_likeness(first_bytes: &[u8]) -> Likeness {
    let Some(block) = first_bytes.first_chunk() else { return Likeness::None };
    // Nothing else tells the oldest format, which has no magic.
    if checksum::is_right(block) {
        Likeness::Certain
    } else if block[257..262] == *b"ustar" || block.iter().all(|&byte| byte == 0) {
        // A damaged header, or an archive without members, which has only the end-of-archive marker.
        Likeness::Possible
    } else {
        Likeness::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Format;

    #[test]
    fn a_tar_archive_whose_first_name_begins_like_a_compressed_file_is_plain() {
        let mut header = [0; 512];
        assert_eq!(tar_likeness(&header), Likeness::Possible);
        assert_eq!(tar_likeness(&header[..511]), Likeness::None);
        assert_eq!(tar_likeness(b""), Likeness::None);
        let detect = |header: &[u8]| Format::detect(header, tar_likeness);
        header[..5].copy_from_slice(b"BZh9/");
        header[257..262].copy_from_slice(b"ustar");
        // A compressed file with the magic of tar at the right offset, as found by a fuzzer.
        assert_eq!(detect(&header), Some(Format::Bzip2));
        header[148..156].copy_from_slice(b"002233\0 ");
        assert_eq!(detect(&header), Some(Format::Plain));
        let mut oldest = header;
        oldest[257..262].fill(0);
        oldest[148..156].copy_from_slice(b"001154\0 ");
        assert_eq!(detect(&oldest), Some(Format::Plain));
        // A damaged tar header, since it has no other magic.
        header[..5].copy_from_slice(b"home/");
        assert_eq!(detect(&header), Some(Format::Plain));
    }
}
