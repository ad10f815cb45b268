//! The location of one archive that is read, and opening it.

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::OFlag;
use sha2::{Digest as _, Sha256};

use super::file_reader::FileReader;
use super::name::{archive_name, foreign_program};
use super::stdin::{Stdin, StdinReader};
use crate::digest::Digest;
use crate::durable::page_cache::ReadOnce;
use crate::error::{Error, Result};
use crate::member::{RelPath, printable_path};
use crate::monitor::Monitor;

/// The path that stands for standard input or standard output on the command line.
pub(super) const DASH: &str = "-";

/// The location of one archive that is read, whether or not it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    kind: Kind,
    /// The archive's name, if the location does not tell it.
    name: Option<String>,
    /// What the digest of the file must be.
    digest: Option<Digest>,
    /// What is read before it, if it is an archive of changes.
    base: Option<Arc<Base>>,
}

/// The full archive before one of changes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Base {
    /// The full archive.
    pub(crate) archive: Location,
    /// The paths of its tree that are gone.
    pub(crate) gone: Location,
    /// What precedes these in the names of members.
    pub(crate) prefix: RelPath,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Kind {
    File(PathBuf),
    Stdin(Stdin),
}

/// An archive that is being read.
pub(crate) struct Opened<'a> {
    /// The reader of its bytes, in order.
    pub(crate) reader: Reader<'a>,
    /// The length in bytes; `None` if the store does not report it.
    pub(crate) bytes: Option<u64>,
}

/// A reader of the bytes of an archive.
pub(crate) struct Reader<'a> {
    bytes: Bytes<'a>,
    /// The digest of what was read so far, and what it must be at the end.
    digest: Option<(Sha256, Digest)>,
}

enum Bytes<'a> {
    File(FileReader<'a>),
    Stdin(StdinReader<'a>),
}

impl Location {
    /// Returns the location of the archive in the file at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { kind: Kind::File(path.into()), name: None, digest: None, base: None }
    }

    /// Returns the location at `path` of the command line: a file, or standard input for `-`.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        let is_stdin = path == Path::new(DASH);
        if is_stdin { Self { kind: Kind::Stdin(Stdin::new()), ..Self::new(path) } } else { Self::new(path) }
    }

    /// Returns the same location of an archive with this name.
    #[must_use]
    pub fn named(self, name: impl Into<String>) -> Self {
        Self { name: Some(name.into()), ..self }
    }

    /// Returns the same location of an archive whose file must have this digest: reading its end fails otherwise.
    #[must_use]
    pub(super) fn with_digest(self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self }
    }

    /// Returns the same location of an archive of what has changed since the full one `archive`, without the paths in
    /// `gone`.
    #[must_use]
    pub(super) fn since(self, archive: Self, gone: Self, prefix: RelPath) -> Self {
        Self { base: Some(Arc::new(Base { archive, gone, prefix })), ..self }
    }

    /// Returns the full archive that is read before it, if it is an archive of changes.
    #[must_use]
    pub fn full_archive(&self) -> Option<&Self> {
        self.base().map(|base| &base.archive)
    }

    /// Returns what is read before it, if it is an archive of changes.
    #[must_use]
    pub(crate) fn base(&self) -> Option<&Base> {
        self.base.as_deref()
    }

    /// Returns the archive's name without its suffix: `cvat_db` for `backup/cvat_db.tar.bz2`.
    #[must_use]
    pub fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| archive_name(self.path()))
    }

    /// Returns the program that decompresses the archive, if its suffix is that of a format that voltar does not read.
    #[must_use]
    pub fn foreign_program(&self) -> Option<&'static str> {
        foreign_program(self.path())
    }

    /// Returns the path of the archive file, or `-`: what identifies it in events and JSON documents.
    #[must_use]
    pub fn path(&self) -> &Path {
        match &self.kind {
            Kind::File(path) => path,
            Kind::Stdin(_) => Path::new(DASH),
        }
    }

    /// Returns the path of the archive file; `None` for standard input.
    #[must_use]
    pub fn file(&self) -> Option<&Path> {
        match &self.kind {
            Kind::File(path) => Some(path),
            Kind::Stdin(_) => None,
        }
    }

    /// Returns whether the archive can be read only once.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.file().is_none()
    }

    /// Opens the archive's own file for reading from its start. Reading ends once `monitor` is cancelled.
    ///
    /// # Errors
    /// The file cannot be opened, or is not a regular file; standard input was opened already.
    pub(crate) fn open<'a>(&self, monitor: &'a dyn Monitor) -> Result<Opened<'a>> {
        let mut opened = match &self.kind {
            Kind::File(path) => open_file(path, monitor)?,
            Kind::Stdin(stdin) => {
                let bytes = stdin.bytes();
                Opened { reader: Reader::new(Bytes::Stdin(stdin.open(monitor)?)), bytes }
            }
        };
        opened.reader.digest = self.digest.map(|digest| (Sha256::new(), digest));
        Ok(opened)
    }

    /// Opens the archive to read its first members. It can be opened again.
    ///
    /// # Errors
    /// As [`Location::open`].
    pub(crate) fn peek<'a>(&self, monitor: &'a dyn Monitor) -> Result<Opened<'a>> {
        match &self.kind {
            Kind::File(path) => open_file(path, monitor),
            Kind::Stdin(stdin) => {
                Ok(Opened { reader: Reader::new(Bytes::Stdin(stdin.peek(monitor)?)), bytes: stdin.bytes() })
            }
        }
    }

    /// Returns whether [`Location::peek`] could not read all that was wanted, so that its error says nothing.
    pub(crate) fn peek_exhausted(&self) -> bool {
        matches!(&self.kind, Kind::Stdin(stdin) if stdin.exhausted())
    }

    /// Returns the archive's length in bytes, with its base, without opening it; `None` if the store does not report it.
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        let own = match &self.kind {
            Kind::File(path) => path.metadata().ok().map(|status| status.len()),
            Kind::Stdin(stdin) => stdin.bytes(),
        };
        let base = self.full_archive().map_or(Some(0), Self::bytes);
        Some(own?.saturating_add(base?))
    }
}

fn open_file<'a>(path: &Path, monitor: &'a dyn Monitor) -> Result<Opened<'a>> {
    let failed = |e: io::Error| Error::failed_at("cannot open", path, e);
    // Opening a FIFO would wait for a writer, without regard to signals. Regular files do not know this flag.
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let file = File::options().read(true).custom_flags(flags.bits()).open(path).map_err(failed)?;
    let status = file.metadata().map_err(failed)?;
    if !status.is_file() {
        return Err(failed(io::Error::other("not a regular file")).hint("`-` reads a stream from standard input"));
    }
    let reader = FileReader::new(ReadOnce::new(file), monitor)?;
    Ok(Opened { reader: Reader::new(Bytes::File(reader)), bytes: Some(status.len()) })
}

impl<'a> Reader<'a> {
    fn new(bytes: Bytes<'a>) -> Self {
        Self { bytes, digest: None }
    }
}

impl io::Read for Reader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = match &mut self.bytes {
            Bytes::File(file) => file.read(out)?,
            Bytes::Stdin(stdin) => stdin.read(out)?,
        };
        if let Some((so_far, _)) = &mut self.digest {
            so_far.update(&out[..count]);
        }
        if count == 0
            && !out.is_empty()
            && let Some((all, expected)) = self.digest.take()
            && Digest(all.finalize().into()) != expected
        {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its SHA-256 digest is not the one in voltar.json"));
        }
        Ok(count)
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::File(path) => f.write_str(&printable_path(path)),
            Kind::Stdin(_) => f.write_str("standard input"),
        }
    }
}
