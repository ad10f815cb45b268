//! Writes one tree to one archive: walk, tar stream, compression, file. Files that change meanwhile are handled as by
//! GNU tar: padded, truncated or skipped, and reported as issues.

mod attributes;
mod read_ahead;
#[cfg(test)]
mod tests;
mod writing_thread;

use std::io::{self, Write};
use std::time::Instant;

use nix::errno::Errno;

use self::attributes::{Look, Seen, XATTRS_OF_ONE};
use self::read_ahead::{WalkItem, for_each_read_ahead};
use self::writing_thread::with_writing_thread;
use crate::archive::writer::TarWriter;
use crate::batch::SMALL;
use crate::codec::{Compression, Compressor, NotReadBack};
use crate::error::{Cause, Error, Result, carried};
use crate::exclude::Exclude;
use crate::ids::IdMap;
use crate::limits;
use crate::mapped_xattrs;
use crate::member::{Kind, Member, Metadata, RelPath};
use crate::monitor::{Event, Monitor, Phase, Stage, Summary};
use crate::ordered::Pool;
use crate::pieces::WritePiece;
use crate::postgres::{Cluster, Clusters, is_cluster_version};
use crate::store::{Complete, Destination, NewArchive};
use crate::volume::OpenTree;
use crate::volume::content::{Content, Opened, PIECE};
use crate::volume::walk::{Entry, Found, Links, Walk};

/// One archive to be written.
#[derive(Debug, Clone)]
pub struct Job {
    /// The archive's name without its suffix.
    pub archive: String,
    /// The path of the tree in the container: the prefix of all member names.
    pub prefix: RelPath,
    /// Where it is written.
    pub destination: Destination,
    /// The expected length of the tar stream in bytes, for the progress display.
    pub expected_bytes: Option<u64>,
    /// The least content of a tree that is archived.
    pub expected: Expected,
    /// The members that are left out.
    pub exclude: Exclude,
    /// Whether extended attributes are stored, and fractions of a second; otherwise files that have some are counted.
    pub xattrs: bool,
    /// How the archive is compressed.
    pub compression: Compression,
}

/// The least content of a tree: a tree with less is refused, because it is probably not the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// No requirement: an empty tree is archived too.
    Anything,
    /// At least one member besides the root.
    Members,
    /// A PostgreSQL cluster: `PG_VERSION` at the root or at most two directories below.
    Database,
}

impl Expected {
    /// Returns what is missing in a tree of `members` members, as part of a message ("holds nothing"); `None` if the
    /// tree suffices. `one_file` is true for a tree that is one mounted file, `database` for one with a `PG_VERSION`.
    #[must_use]
    pub fn missing(self, members: u64, one_file: bool, database: bool) -> Option<&'static str> {
        match self {
            Self::Members | Self::Database if members < 2 && !one_file => Some("holds nothing"),
            Self::Database if !database => Some("holds no PG_VERSION, so it is no PostgreSQL database"),
            Self::Anything | Self::Members | Self::Database => None,
        }
    }
}

/// An archive that is complete but for its end.
#[derive(Debug)]
pub(crate) struct Archived {
    /// The archive.
    pub complete: Complete,
    /// Its totals.
    pub summary: Summary,
    /// The database clusters in it, without their versions.
    pub clusters: Vec<Cluster>,
}

/// Writes the archive of `tree`, but for its end.
pub(crate) fn write(job: &Job, tree: &OpenTree, pool: &Pool, monitor: &dyn Monitor) -> Result<Archived> {
    let begun = Instant::now();
    monitor.event(&Event::Started { archive: &job.archive, stage: Stage::Archiving, total_bytes: job.expected_bytes });
    let file = job.destination.create(job.compression.format(), monitor)?;
    let cannot_write = |e: io::Error| cannot_write(&job.destination, &e);
    let (totals, Reported { file, .. }) = with_writing_thread(Reported { file, monitor }, cannot_write, |file| {
        let tar = TarWriter::new(Compressor::new(file, job.compression, pool), job.prefix.clone());
        let mut archiver = Archiver {
            job,
            monitor,
            ids: &tree.ids,
            tar: if job.xattrs { tar.with_pax_headers() } else { tar },
            look: if job.xattrs { Look::Read } else { Look::Count },
            links: Links::default(),
            files: Pool::for_files()?,
            members: 0,
            excluded: 0,
            plain: Plain::default(),
            beyond: 0,
            changed: 0,
            one_file: false,
            database: false,
            clusters: Clusters::default(),
        };
        archiver.take_all(tree, &cannot_write)?;
        archiver.report_plain();
        let Archiver { tar, members, excluded, clusters, .. } = archiver;
        let (compressor, stream_bytes) = tar.finish().map_err(cannot_write)?;
        compressor.finish().map_err(cannot_write)?;
        Ok(Totals { members, excluded, clusters: clusters.found(), stream_bytes })
    })?;
    monitor.event(&Event::Phase { archive: &job.archive, phase: Phase::Syncing });
    let complete = file.finish()?;
    let summary = Summary {
        archive: job.archive.clone(),
        members: totals.members,
        left_out: totals.excluded,
        stream_bytes: totals.stream_bytes,
        file_bytes: complete.bytes(),
        elapsed: begun.elapsed(),
    };
    Ok(Archived { complete, summary, clusters: totals.clusters })
}

/// What a tree had.
struct Totals {
    members: u64,
    excluded: u64,
    clusters: Vec<Cluster>,
    stream_bytes: u64,
}

/// An archive whose bytes are reported.
struct Reported<'a> {
    file: NewArchive<'a>,
    monitor: &'a dyn Monitor,
}

impl Write for Reported<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.monitor.event(&Event::Written { bytes: count as u64 });
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

struct Archiver<'a, W: WritePiece> {
    job: &'a Job,
    monitor: &'a dyn Monitor,
    ids: &'a IdMap,
    tar: TarWriter<W>,
    links: Links,
    /// The threads that read files.
    files: Pool,
    members: u64,
    excluded: u64,
    look: Look,
    plain: Plain,
    /// The directories with entries beyond a limit.
    beyond: u64,
    /// The directories that changed while they were read.
    changed: u64,
    /// Whether the tree is one mounted file.
    one_file: bool,
    database: bool,
    clusters: Clusters,
}

/// The files that are archived without their extended attributes, since the format does not hold them.
#[derive(Debug, Default)]
struct Plain {
    count: u64,
    first: Option<RelPath>,
}

impl<W: WritePiece> Archiver<'_, W> {
    fn take_all(&mut self, tree: &OpenTree, cannot_write: &dyn Fn(io::Error) -> Error) -> Result<()> {
        let monitor = self.monitor;
        let walk = Walk::new(tree)?.excluding(&self.job.exclude, &self.job.prefix).watching(monitor);
        let walk = walk.map(|found| monitor.check_cancelled().and(found));
        let files = self.files.clone();
        for_each_read_ahead(walk, self.look, &files, |item| {
            monitor.check_cancelled()?;
            self.take(item?).map_err(cannot_write)
        })?;
        if self.beyond > limits::NAMED {
            let more = self.beyond - limits::NAMED;
            self.issue(format!("{more} more directories hold entries beyond a limit of archives: skipped"));
        }
        if self.changed > limits::NAMED {
            self.issue(format!("{} more directories changed while they were read", self.changed - limits::NAMED));
        }
        self.check_expectations()
    }

    fn take(&mut self, item: WalkItem) -> io::Result<()> {
        let found = match item {
            WalkItem::Found(found) => found,
            WalkItem::Examined(entry, seen) => return self.entry(entry, Some(seen)),
            WalkItem::Read(entry, read) => return self.file(entry, read),
        };
        match found {
            Found::Entry(entry) => self.entry(entry, None),
            Found::Socket(path) => {
                self.issue(format!("'{path}' is a socket, which no archive can hold: skipped"));
                Ok(())
            }
            Found::Excluded => {
                self.excluded += 1;
                Ok(())
            }
            Found::Beyond { path, entries, excess } => {
                self.beyond += 1;
                if self.beyond <= limits::NAMED {
                    let entries = if entries == 1 { "an entry".to_owned() } else { format!("{entries} entries") };
                    self.issue(format!(
                        "'{path}' holds {entries} beyond a limit of archives ({excess}): skipped, with all below"
                    ));
                }
                Ok(())
            }
            Found::Changed(path) => {
                self.changed += 1;
                if self.changed <= limits::NAMED {
                    self.issue(format!("the directory '{path}' changed while it was read"));
                }
                Ok(())
            }
            Found::Own(path) => {
                let archive = &self.job.archive;
                self.monitor.note(&format!("{archive}: '{path}' was made by a restore: not archived"));
                Ok(())
            }
            Found::Unreadable { path, vanished: true, .. } => {
                self.issue(format!("'{path}' vanished before it was read: skipped"));
                Ok(())
            }
            Found::Unreadable { why, .. } => {
                self.issue(format!("{why}: skipped"));
                Ok(())
            }
        }
    }

    fn entry(&mut self, mut entry: Entry, seen: Option<Seen>) -> io::Result<()> {
        if entry.has_voltars_name() {
            let (archive, path) = (&self.job.archive, &entry.path);
            self.monitor
                .note(&format!("{archive}: '{path}' is archived like any file: no restore on record has made it"));
        }
        if let Some(target) = self.links.target(&entry) {
            entry.kind = Kind::HardLink { target };
            return self.header(entry).map(|_| ());
        }
        if let Kind::File { .. } = entry.kind {
            let read = entry.open().map(|file| {
                let seen = self.look.at_file(&file, XATTRS_OF_ONE).unwrap_or_else(Seen::too_many);
                (self.content(file), seen)
            });
            return self.file(entry, read);
        }
        if let Kind::Symlink { target } = &entry.kind
            && let Some(excess) = limits::target_excess(target)
        {
            self.issue(format!("'{}' is beyond a limit of archives ({excess}): skipped", entry.path));
            return Ok(());
        }
        let seen = seen.or_else(|| self.look.at(&entry, XATTRS_OF_ONE)).unwrap_or_else(Seen::too_many);
        self.see(&mut entry, seen);
        self.links.stored(&entry);
        self.header(entry).map(|_| ())
    }

    /// Stores a file. What cannot be read is stored as zeros, because the header with the size is already written.
    fn file(&mut self, mut entry: Entry, read: std::result::Result<(Content, Seen), Errno>) -> io::Result<()> {
        let (mut content, seen) = match read {
            Ok(read) => read,
            Err(e) => {
                let path = &entry.path;
                self.issue(match e {
                    Errno::ENOENT => format!("'{path}' vanished before it was read: skipped"),
                    Errno::ESTALE | Errno::ELOOP => format!("'{path}' was replaced before it was read: skipped"),
                    Errno::EPERM | Errno::EACCES => format!("cannot open '{path}': {}: skipped (root could)", e.desc()),
                    e => format!("cannot open '{path}': {}: skipped", e.desc()),
                });
                return Ok(());
            }
        };
        self.see(&mut entry, seen);
        self.links.stored(&entry);
        let member = self.header(entry)?;
        while self.tar.owed() > 0 {
            if self.monitor.cancelled() {
                return Err(Error::interrupted().into());
            }
            let mut piece = match content.next() {
                Ok(piece) if !piece.is_empty() => piece,
                Ok(_) => {
                    self.issue(format!(
                        "'{}' shrank while it was read: its last {} bytes are stored as zeros",
                        member.path,
                        self.tar.owed()
                    ));
                    return self.pad();
                }
                Err(e) => {
                    self.issue(format!(
                        "cannot read '{}': {}: its last {} bytes are stored as zeros",
                        member.path,
                        Cause::from(e),
                        self.tar.owed()
                    ));
                    return self.pad();
                }
            };
            // The file may have grown after its size was read for the header.
            piece.truncate(usize::try_from(self.tar.owed()).unwrap_or(usize::MAX));
            self.piece(piece)?;
        }
        if content.changed() {
            self.issue(format!("'{}' changed while it was read", member.path));
        }
        Ok(())
    }

    /// Returns the content of a file that was not read ahead.
    fn content(&self, file: Opened) -> Content {
        if file.size() <= SMALL { file.at_once() } else { file.in_pieces(&self.files) }
    }

    fn pad(&mut self) -> io::Result<()> {
        while self.tar.owed() > 0 {
            let length = usize::try_from(self.tar.owed()).map_or(PIECE, |owed| owed.min(PIECE));
            self.piece(vec![0; length])?;
        }
        Ok(())
    }

    fn piece(&mut self, piece: Vec<u8>) -> io::Result<()> {
        let bytes = piece.len() as u64;
        self.tar.piece(piece)?;
        self.advance(bytes);
        Ok(())
    }

    fn header(&mut self, entry: Entry) -> io::Result<Member> {
        let metadata = self.ids.to_container(&entry.metadata);
        let metadata = metadata.map_err(|unmapped| unmapped.on_disk(&entry.path, 0).within(&self.job.archive))?;
        let (xattrs, left_out) = mapped_xattrs::to_container(self.ids, &entry.metadata.xattrs);
        for why in left_out {
            self.issue(format!("'{}' is archived without all its attributes: {why}", entry.path));
        }
        let metadata = Metadata { xattrs, ..metadata };
        let member = Member { path: entry.path, kind: entry.kind, metadata };
        self.one_file |= member.is_one_file();
        let before = self.tar.written();
        self.tar.member(&member)?;
        self.members += 1;
        self.database |= is_cluster_version(&member.path);
        self.clusters.member(&member.path, &member.kind);
        self.advance(self.tar.written() - before);
        let name = self.tar.stored_name(&member);
        self.monitor.event(&Event::Member { archive: &self.job.archive, name: &name, member: &member });
        Ok(member)
    }

    /// Takes what was seen of an entry's extended attributes.
    fn see(&mut self, entry: &mut Entry, seen: Seen) {
        if seen.is_left_out {
            self.plain.count += 1;
            self.plain.first.get_or_insert_with(|| entry.path.clone());
        }
        if let Some(why) = seen.trouble {
            self.issue(format!("'{}' is archived without all its attributes: {why}", entry.path));
        }
        entry.metadata.xattrs = seen.xattrs;
    }

    fn report_plain(&self) {
        let Plain { count, first: Some(first) } = &self.plain else { return };
        let (have, such_as) = if *count == 1 {
            ("1 file has".to_owned(), format!("'{first}'"))
        } else {
            (format!("{count} files have"), format!("such as '{first}'"))
        };
        self.issue(format!(
            "{have} capabilities, ACLs or extended attributes ({such_as}), which the guide's format does not hold: \
             --xattrs archives them too"
        ));
    }

    fn check_expectations(&self) -> Result<()> {
        let archive = &self.job.archive;
        let Some(what) = self.job.expected.missing(self.members, self.one_file, self.database) else { return Ok(()) };
        Err(Error::refused(format!("{archive}: '/{}' {what}", self.job.prefix))
            .hint("see with `voltar plan` whether this is the right volume; --allow-empty overrides this"))
    }

    fn issue(&self, message: String) {
        self.monitor.issue(&self.job.archive, message);
    }

    fn advance(&self, bytes: u64) {
        self.monitor.event(&Event::Advanced { archive: &self.job.archive, bytes });
    }
}

fn cannot_write(destination: &Destination, e: &io::Error) -> Error {
    // An error of the run or of the tree, not of writing.
    if let Some(error) = carried::<Error>(e) {
        return error.clone();
    }
    let error = match destination {
        Destination::File(path) | Destination::InSet { path, .. } => Error::failed_at("cannot write", path, e),
        stream @ (Destination::Stdout | Destination::Command(_)) => {
            Error::failed("cannot write", stream.to_string(), e)
        }
    };
    if carried::<NotReadBack>(e).is_some() {
        return error
            .hint("test this computer's memory; if it is sound, please report this. The archive has been removed");
    }
    match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            error.hint("make room, or write to another directory; what was written has been removed")
        }
        _ => error,
    }
}
