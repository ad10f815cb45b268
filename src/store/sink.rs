//! Where the archives of a backup go: a directory of this host, standard output, or a command for each archive. All are
//! written in the same way, and become complete together or not at all.

use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::command::{self, CommandArchive, CommandLine};
use super::directory::{Condition, Directory};
use super::location::{DASH, Location};
use super::new_set::NewSet;
use super::spool;
use super::stdout::{self, StdoutArchive};
use crate::codec::Format;
use crate::digest::Digest;
use crate::durable::atomic_file::{AtomicFile, Ready};
use crate::durable::commit;
use crate::durable::leftovers::Recovered;
use crate::error::{Error, Result};
use crate::member::{printable, printable_path};
use crate::monitor::Monitor;
use crate::pieces::WritePiece;

/// The sink of the archives of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// A directory, in which each archive is a file.
    Directory(Directory),
    /// A new set in a directory of sets.
    Set(NewSet),
    /// Standard output, for one archive.
    Stdout,
    /// A command for each archive, which reads it from standard input: a shell command line, in which `{file}` stands for
    /// the archive's file name.
    Command(String),
    /// A directory from which the archives then go to commands: when all are complete, and the containers run again.
    Spool {
        /// The directory, in which each archive is a file until it is delivered.
        directory: Directory,
        /// As [`Sink::Command`].
        command: String,
    },
}

/// Where one archive of a backup goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// A file, which gets its name when it is complete.
    File(PathBuf),
    /// A file of a set.
    InSet {
        /// The path of the file when the set is complete.
        path: PathBuf,
        /// Its path until then.
        hidden: PathBuf,
    },
    /// Standard output.
    Stdout,
    /// The standard input of a command.
    Command(CommandLine),
}

/// An archive that is being written. Dropping it removes the incomplete file, breaks off standard output, or kills the
/// command.
pub(crate) struct NewArchive<'a> {
    kind: Kind,
    /// The digest of what was written so far, for an archive of a set.
    digest: Option<Sha256>,
    monitor: &'a dyn Monitor,
}

/// An archive of which everything was written but its end, which [`commit`] writes: before that a file has no name.
/// Dropping it has the effect of dropping a [`NewArchive`].
#[derive(Debug)]
pub(crate) struct Complete {
    kind: Kind,
    digest: Option<Digest>,
}

#[derive(Debug)]
enum Kind {
    Writing(AtomicFile),
    File(Ready),
    Stdout(StdoutArchive),
    Command(CommandArchive),
}

impl Sink {
    /// Returns the sink at `path` of the command line: a directory, or standard output for `-`.
    #[must_use]
    pub fn at(path: &Path) -> Self {
        if path == Path::new(DASH) { Self::Stdout } else { Self::Directory(Directory::new(path)) }
    }

    /// Returns where the archive `name` in `format` goes.
    #[must_use]
    pub fn destination(&self, name: &str, format: Format) -> Destination {
        self.file(name, &format!(".{}", format.extension()))
    }

    /// Returns where a file beside the archive `name` goes, of the name with another `suffix`.
    #[must_use]
    pub(crate) fn file(&self, name: &str, suffix: &str) -> Destination {
        let file = format!("{name}{suffix}");
        match self {
            Self::Directory(directory) | Self::Spool { directory, .. } => {
                Destination::File(directory.path().join(file))
            }
            Self::Set(set) => Destination::InSet { path: set.path().join(&file), hidden: set.hidden().join(&file) },
            Self::Stdout => Destination::Stdout,
            Self::Command(template) => Destination::Command(CommandLine::new(template, name, &file)),
        }
    }

    /// Returns the path of the directory that holds the archives once they are complete, if they go into one.
    #[must_use]
    pub fn path(&self) -> Option<PathBuf> {
        match self {
            Self::Directory(directory) | Self::Spool { directory, .. } => Some(directory.path().to_owned()),
            Self::Set(set) => Some(set.path()),
            Self::Stdout | Self::Command(_) => None,
        }
    }

    /// Returns the directory to which archives are written, if they go into one.
    fn directory(&self) -> Option<Directory> {
        match self {
            Self::Directory(directory) | Self::Spool { directory, .. } => Some(directory.clone()),
            Self::Set(set) => Some(Directory::new(set.hidden())),
            Self::Stdout | Self::Command(_) => None,
        }
    }

    /// Returns the largest number of archives that it takes.
    #[must_use]
    pub fn capacity(&self) -> usize {
        match self {
            Self::Directory(_) | Self::Set(_) | Self::Command(_) | Self::Spool { .. } => usize::MAX,
            Self::Stdout => 1,
        }
    }

    /// Returns notes on where so many archives go.
    pub(crate) fn notes(&self, archives: usize) -> Vec<String> {
        let (Self::Command(command) | Self::Spool { command, .. }) = self else { return Vec::new() };
        let mut notes = Vec::new();
        if archives > 1 && !command.contains(command::FILE) && !command.contains("VOLTAR_") {
            notes.push(format!(
                "the command has no {} and runs once per archive: it must tell them apart by VOLTAR_FILE or VOLTAR_ARCHIVE \
                 in its environment",
                command::FILE
            ));
        }
        if matches!(self, Self::Spool { .. }) {
            let command = printable(command.as_bytes());
            notes.push(format!("each archive goes to `{command}` when the containers run again"));
        }
        notes
    }

    /// Gives the archives, whose files are complete, to those that receive them. All are tried.
    ///
    /// # Errors
    /// One is not delivered: it stays where it is, and the error says where.
    pub(crate) fn deliver<'a>(
        &self,
        archives: impl Iterator<Item = (&'a str, &'a Destination)>,
        monitor: &dyn Monitor,
    ) -> Result<()> {
        let Self::Spool { command, .. } = self else { return Ok(()) };
        let deliver = |(name, at): (&str, &Destination)| spool::deliver(command, name, at.path(), monitor);
        Error::none_of(archives.filter_map(|one| deliver(one).err()).collect())
    }

    /// Returns what a run that writes no archive leaves, as part of a message.
    pub(crate) fn abandoned(&self) -> &'static str {
        match self {
            Self::Directory(_) | Self::Set(_) | Self::Spool { .. } => "nothing was changed",
            Self::Stdout => "the archive on standard output has no end",
            Self::Command(_) => "the commands were killed before they saw the end of an archive",
        }
    }

    /// Returns the state of the sink before anything is written to it.
    #[must_use]
    pub fn condition(&self) -> Condition {
        match self {
            Self::Directory(directory) | Self::Spool { directory, .. } => directory.condition(),
            Self::Set(set) => Directory::new(set.sets().path()).condition(),
            Self::Stdout => stdout::condition(),
            Self::Command(_) => Condition::default(),
        }
    }

    /// Checks that archives can be written now.
    ///
    /// # Errors
    /// Standard output is a terminal.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::Directory(_) | Self::Set(_) | Self::Command(_) | Self::Spool { .. } => Ok(()),
            Self::Stdout => stdout::check(),
        }
    }

    /// Completes what killed runs have begun, and removes what they have left.
    ///
    /// # Errors
    /// The directory exists and cannot be listed, or holds archives of two runs that cannot get their names.
    pub(crate) fn recover(&self) -> Result<Recovered> {
        self.directory().map_or(Ok(Recovered::default()), |directory| directory.recover())
    }

    /// Creates the directories that do not exist, and returns them: for `remove_if_empty`.
    ///
    /// # Errors
    /// A directory cannot be created.
    pub fn create(&self) -> Result<Vec<PathBuf>> {
        self.directory().map_or(Ok(Vec::new()), |directory| directory.create())
    }
}

impl fmt::Display for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(directory) => {
                write!(f, "'{}'", printable_path(directory.path()))
            }
            Self::Set(set) => write!(f, "'{}'", printable_path(&set.path())),
            Self::Spool { directory, command } => {
                write!(f, "'{}', then `{}`", printable_path(directory.path()), printable(command.as_bytes()))
            }
            Self::Stdout => f.write_str("standard output"),
            Self::Command(template) => write!(f, "`{}`", printable(template.as_bytes())),
        }
    }
}

impl Destination {
    /// Returns what identifies the archive in events and JSON documents: the path of its file, `-`, or the file name that
    /// its command is given.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::InSet { path, .. } => path,
            Self::Stdout => Path::new(DASH),
            Self::Command(command) => command.file(),
        }
    }

    /// Returns the location of the file that was written there and has its name, if its set is not complete yet.
    pub(crate) fn written(&self) -> Location {
        match self {
            Self::InSet { hidden, .. } => Location::new(hidden),
            Self::File(_) | Self::Stdout | Self::Command(_) => Location::new(self.path()),
        }
    }

    /// Creates the archive, in `format`. Writing ends once `monitor` is cancelled.
    ///
    /// # Errors
    /// The file cannot be created, the command cannot be started, or standard output is a terminal.
    pub(crate) fn create<'a>(&self, format: Format, monitor: &'a dyn Monitor) -> Result<NewArchive<'a>> {
        let kind = match self {
            Self::File(path) | Self::InSet { hidden: path, .. } => Kind::Writing(AtomicFile::create(path)?),
            Self::Stdout => Kind::Stdout(StdoutArchive::create(format)?),
            Self::Command(command) => Kind::Command(CommandArchive::start(command)?),
        };
        let digest = matches!(self, Self::InSet { .. }).then(Sha256::new);
        Ok(NewArchive { kind, digest, monitor })
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) | Self::InSet { path, .. } => f.write_str(&printable_path(path)),
            Self::Stdout => f.write_str("standard output"),
            Self::Command(command) => command.fmt(f),
        }
    }
}

impl NewArchive<'_> {
    /// Ends the writing: a file is synced to disk.
    ///
    /// # Errors
    /// A file cannot be synced, or the run is cancelled: it is then removed.
    pub(crate) fn finish(self) -> Result<Complete> {
        let kind = match self.kind {
            Kind::Writing(file) => Kind::File(file.finish_large(&|| self.monitor.check_cancelled())?),
            complete @ (Kind::File(_) | Kind::Stdout(_) | Kind::Command(_)) => complete,
        };
        Ok(Complete { kind, digest: self.digest.map(|digest| Digest(digest.finalize().into())) })
    }
}

impl Write for NewArchive<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = match &mut self.kind {
            Kind::Writing(file) => file.write(bytes)?,
            Kind::Stdout(archive) => archive.write(bytes, self.monitor).map(|()| bytes.len())?,
            Kind::Command(archive) => archive.write(bytes, self.monitor).map(|()| bytes.len())?,
            Kind::File(_) => return Err(io::Error::other("the archive is complete")),
        };
        if let Some(digest) = &mut self.digest {
            digest.update(&bytes[..count]);
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.kind {
            Kind::Writing(file) => file.flush(),
            Kind::Stdout(_) | Kind::Command(_) | Kind::File(_) => Ok(()),
        }
    }
}

impl WritePiece for NewArchive<'_> {}

impl Complete {
    /// Returns the length of the archive in bytes.
    #[must_use]
    pub(crate) fn bytes(&self) -> u64 {
        match &self.kind {
            Kind::Writing(_) => 0,
            Kind::File(ready) => ready.bytes(),
            Kind::Stdout(archive) => archive.bytes(),
            Kind::Command(archive) => archive.bytes(),
        }
    }

    /// Returns the SHA-256 digest of an archive of a set.
    pub(crate) fn digest(&self) -> Option<Digest> {
        self.digest
    }
}

/// Completes all archives, or none: files get their names, standard output and commands get the end of the stream.
/// Existing files are replaced only with `overwrite`.
///
/// # Errors
/// A name exists already, or a rename fails: the earlier renames are rolled back. A reader is gone. A command fails, also
/// after others have received their archives: the error names those.
pub(crate) fn commit(archives: Vec<Complete>, overwrite: bool, monitor: &dyn Monitor) -> Result<()> {
    let (mut files, mut commands) = (Vec::new(), Vec::new());
    for Complete { kind, .. } in archives {
        match kind {
            Kind::Writing(_) => {}
            Kind::File(ready) => files.push(ready),
            // There is only one.
            Kind::Stdout(archive) => archive.commit(monitor)?,
            Kind::Command(archive) => commands.push(archive),
        }
    }
    for left in commit::commit(files, overwrite)? {
        monitor.issue(
            "",
            format!("the archives are complete, but not all is tidied up: {left} (the next backup removes it)"),
        );
    }
    // Where there is none, the archives have their names: a signal comes too late.
    if commands.is_empty() { Ok(()) } else { command::deliver(commands, monitor) }
}
