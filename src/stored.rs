//! An archive file being read: decompressed, taken apart into members, its progress reported and its damage
//! located. It restores nothing.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::archive::checksum;
use crate::archive::reader::{Stored, TarReader};
use crate::codec::{Decompressor, Format, Likeness};
use crate::error::{Error, ErrorKind, Result};
use crate::member::printable;
use crate::monitor::{Event, Monitor, Stage, Summary};
use crate::ordered::Pool;
use crate::volume::content::Once;

/// An archive file and its members.
pub struct ArchiveFile {
    name: String,
    path: PathBuf,
    file_bytes: u64,
    tar: TarReader<Decompressor<Once>>,
    reported: u64,
    members: u64,
    /// The member being read, and the one before it.
    current: Option<Vec<u8>>,
    before: Option<Vec<u8>>,
    begun: Instant,
}

impl ArchiveFile {
    /// Opens the archive at `path`; its name without ending is how it is spoken of.
    pub fn open(path: &Path, pool: &Pool) -> Result<Self> {
        let failed = |e: io::Error| Error::failed("cannot open", path.as_os_str().as_bytes(), e);
        let file = File::open(path).map_err(failed)?;
        let status = file.metadata().map_err(failed)?;
        if !status.is_file() {
            return Err(failed(io::Error::other("not a regular file")));
        }
        let tar = Decompressor::with_plain(Once::new(file), tar_likeness, pool).map_err(|e| located(path, &e, None))?;
        Ok(Self {
            name: archive_name(path),
            path: path.to_owned(),
            file_bytes: status.len(),
            tar: TarReader::new(tar),
            reported: 0,
            members: 0,
            current: None,
            before: None,
            begun: Instant::now(),
        })
    }

    /// The archive's name without ending.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its length in bytes.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// Tells the monitor that `stage` begins.
    pub fn started(&mut self, stage: Stage, monitor: &dyn Monitor) {
        self.begun = Instant::now();
        monitor.event(&Event::Started { archive: &self.name, stage, total_bytes: Some(self.file_bytes) });
    }

    /// The next member; `None` after the end, when all checksums have been found right.
    pub fn next_member(&mut self, monitor: &dyn Monitor) -> Result<Option<Stored>> {
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

    /// The current member's content; progress is reported as it is read.
    pub fn content<'a>(&'a mut self, monitor: &'a dyn Monitor) -> Content<'a> {
        Content { archive: self, monitor }
    }

    /// An error of the stream, with the archive, the place and the last member that was whole.
    pub fn located(&self, e: &io::Error) -> Error {
        let whole = if self.tar.content_left() > 0 { &self.before } else { &self.current };
        located(&self.path, e, whole.as_deref())
    }

    /// The closing figures.
    pub fn summary(&self) -> Summary {
        Summary {
            archive: self.name.clone(),
            members: self.members,
            stream_bytes: self.tar.offset(),
            file_bytes: self.file_bytes,
            elapsed: self.elapsed(),
        }
    }

    fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    fn advance(&mut self, monitor: &dyn Monitor) {
        let at = self.tar.get_ref().compressed_bytes();
        if at > self.reported {
            monitor.event(&Event::Advanced { archive: &self.name, bytes: at - self.reported });
            self.reported = at;
        }
    }

    fn report_excess(&self, monitor: &dyn Monitor) {
        let path = self.path.display();
        if let Some(offset) = self.tar.get_ref().trailing_garbage() {
            monitor
                .issue(&self.name, format!("'{path}': what follows byte {offset} is no archive data and was ignored"));
        }
        if self.tar.trailing() > 0 {
            monitor.issue(
                &self.name,
                format!("'{path}': {} bytes after the archive's end mark were ignored", self.tar.trailing()),
            );
        }
    }
}

/// States how much the first bytes of a file look like a tar archive without compression.
///
/// A tar archive begins with a file name, which can begin like a compressed file; and a compressed file can have tar's
/// magic at its place by chance. So the checksum of the header decides.
#[must_use]
pub fn tar_likeness(first_bytes: &[u8]) -> Likeness {
    let Some(block) = first_bytes.first_chunk() else { return Likeness::None };
    let has_magic = block[257..262] == *b"ustar";
    if has_magic && checksum::is_right(block) {
        Likeness::Certain
    } else if has_magic || block.iter().all(|&byte| byte == 0) {
        // A damaged header, or an archive without members, which is only its end marker.
        Likeness::Possible
    } else {
        Likeness::None
    }
}

/// The content of a member.
pub struct Content<'a> {
    archive: &'a mut ArchiveFile,
    monitor: &'a dyn Monitor,
}

impl Read for Content<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.monitor.cancelled() {
            return Err(io::Error::other(Error::interrupted()));
        }
        let got = self.archive.tar.read(buf);
        self.archive.advance(self.monitor);
        got.map_err(|e| io::Error::new(e.kind(), self.archive.located(&e)))
    }
}

/// `cvat_db` for `backup/cvat_db.tar.bz2`; a file of another ending keeps its name.
#[must_use]
pub fn archive_name(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).map(str::to_owned).unwrap_or(name)
}

/// Endings that archives go by, ours first.
pub const ENDINGS: [&str; 8] = [".tar.bz2", ".tar.gz", ".tar.zst", ".tar", ".tbz2", ".tbz", ".tgz", ".tzst"];

/// The archives in `directory`, by name.
pub fn archives_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let failed = |e: io::Error| Error::failed("cannot list", directory.as_os_str().as_bytes(), e);
    let mut archives = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !name.starts_with('.') && ENDINGS.iter().any(|ending| name.ends_with(ending)) && path.is_file() {
            archives.push(path);
        }
    }
    archives.sort();
    Ok(archives)
}

/// The ending of archives in `format`.
#[must_use]
pub fn file_name(archive: &str, format: Format) -> String {
    format!("{archive}.{}", format.extension())
}

fn located(path: &Path, e: &io::Error, whole: Option<&[u8]>) -> Error {
    let path = printable(path.as_os_str().as_bytes());
    // An error of ours that came up through a reader keeps its own words.
    if let Some(inner) = e.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        return Error::new(inner.kind(), inner.to_string());
    }
    if !matches!(e.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) {
        return Error::failed("cannot read", path, e);
    }
    let whole = match whole {
        Some(name) => format!("; the last whole member is '{}'", printable(name)),
        None => String::new(),
    };
    Error::new(ErrorKind::Damaged, format!("'{path}': {e}{whole}"))
}

/// The archives that `sources` name: single files as they are, directories with all archives in them. `only`
/// keeps those of these names.
pub fn select(sources: &[PathBuf], only: &[String]) -> Result<Vec<PathBuf>> {
    let mut selected = Vec::new();
    for source in sources {
        if source.is_dir() {
            let archives = archives_in(source)?;
            selected.extend(archives.into_iter().filter(|path| only.is_empty() || only.contains(&archive_name(path))));
        } else {
            selected.push(source.clone());
        }
    }
    if selected.is_empty() {
        let list = sources.iter().map(|source| format!("'{}'", source.display())).collect::<Vec<_>>().join(", ");
        return Err(Error::usage(format!("there is no archive in {list}")));
    }
    Ok(selected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tar_whose_first_name_looks_compressed_is_a_tar() {
        let mut header = [0; 512];
        assert_eq!(tar_likeness(&header), Likeness::Possible);
        assert_eq!(tar_likeness(&header[..511]), Likeness::None);
        assert_eq!(tar_likeness(b""), Likeness::None);
        let detect = |header: &[u8]| Format::detect(header, tar_likeness);
        header[..5].copy_from_slice(b"BZh9/");
        header[257..262].copy_from_slice(b"ustar");
        // A compressed file with the magic of tar at its place, as a fuzzer found.
        assert_eq!(detect(&header), Some(Format::Bzip2));
        header[148..156].copy_from_slice(b"002233\0 ");
        assert_eq!(detect(&header), Some(Format::Plain));
        // A damaged tar header, because it is nothing else.
        header[..5].copy_from_slice(b"home/");
        assert_eq!(detect(&header), Some(Format::Plain));
    }
}
