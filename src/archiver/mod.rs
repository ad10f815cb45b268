//! Writes one tree to one archive: walk, tar stream, compression, file. Files that change meanwhile are handled as by
//! GNU tar: padded, truncated or skipped, and reported as issues.

mod attributes;
mod beside;
mod cannot_write;
mod index_file;
mod job;
mod read_ahead;
mod same;
mod since;
#[cfg(test)]
mod tests;
mod writing_thread;

use std::io::{self, Write};
use std::mem;
use std::time::Instant;

use nix::errno::Errno;

use self::attributes::{Look, Seen, XATTRS_OF_ONE, digest_with};
use self::beside::{Beside, now};
use self::cannot_write::cannot_write;
use self::index_file::Stored;
use self::job::content_bytes;
use self::read_ahead::{Reading, WalkItem, for_each_read_ahead};
use self::writing_thread::with_writing_thread;
use crate::archive::writer::TarWriter;
use crate::batch::SMALL;
use crate::codec::Compressor;
use crate::error::{Cause, Error, Result};
use crate::ids::IdMap;
use crate::limits;
use crate::mapped_xattrs;
use crate::member::{Kind, Member, Metadata, RelPath};
use crate::monitor::{Event, Monitor, Phase, Stage, Summary};
use crate::ordered::Pool;
use crate::pieces::WritePiece;
use crate::postgres::{Cluster, Clusters, is_cluster_version};
use crate::store::{Complete, NewArchive};
use crate::volume::OpenTree;
use crate::volume::content::{Content, Opened, PIECE};
use crate::volume::walk::{Before, Entry, Found, Links, Walk};

pub(crate) use beside::Scope;
pub(crate) use job::{Archived, Expected, Job, TreeTotals};
pub(crate) use since::{Compared, Index};

/// Writes the archive of `tree`, but for its end.
pub(crate) fn write(job: &Job, tree: &OpenTree, pool: &Pool, monitor: &dyn Monitor) -> Result<Archived> {
    if let Some(same) = same::same(job, tree, pool, monitor)? {
        return Ok(same);
    }
    let (begun, began_at) = (Instant::now(), now());
    monitor.event(&Event::Started { archive: &job.archive, stage: Stage::Archiving, total_bytes: job.expected_bytes });
    let file = job.destination.create(job.compression.format(), monitor)?;
    let cannot_write = |e: io::Error| cannot_write(&job.destination, &e);
    let beside = Beside::create(&job.scope, began_at, pool, monitor)?;
    let since = match &job.scope {
        Scope::All | Scope::Indexed { .. } | Scope::AllOrSame { .. } => None,
        Scope::Changes { since, .. } => Some(Index::open(since, pool, monitor)?),
    };
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
            beside,
            unchanged: Vec::new(),
            tree: TreeTotals::default(),
        };
        archiver.take_all(tree, since, &cannot_write)?;
        archiver.report_plain();
        archiver.beside.check(archiver.members, &job.archive)?;
        archiver.totals().map_err(cannot_write)
    })?;
    monitor.event(&Event::Phase { archive: &job.archive, phase: Phase::Syncing });
    let Totals { members, excluded, clusters, stream_bytes, tree, beside } = totals;
    // Where nothing has changed, neither file is wanted: dropping them removes them.
    let is_unchanged = beside.is_unchanged() && members == 0;
    let complete = if is_unchanged { None } else { Some(file.finish()?) };
    let beside = if is_unchanged { None } else { beside.finish(&job.scope)? };
    let summary = Summary {
        archive: job.archive.clone(),
        members,
        left_out: excluded,
        stream_bytes,
        file_bytes: complete.as_ref().map_or(0, Complete::bytes),
        elapsed: begun.elapsed(),
    };
    Ok(Archived { complete, beside, summary, tree, clusters })
}

/// What a tree had.
struct Totals<'a> {
    members: u64,
    excluded: u64,
    clusters: Vec<Cluster>,
    stream_bytes: u64,
    tree: TreeTotals,
    beside: Beside<'a>,
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
    beside: Beside<'a>,
    /// The directories on the way to the entry before that have not changed, and are not in the archive so far.
    unchanged: Vec<(Entry, Seen)>,
    tree: TreeTotals,
}

/// The files that are archived without their extended attributes, since the format does not hold them.
#[derive(Debug, Default)]
struct Plain {
    count: u64,
    first: Option<RelPath>,
}

impl<'a, W: WritePiece> Archiver<'a, Compressor<W>> {
    /// Completes the stream, and returns the totals.
    fn totals(self) -> io::Result<Totals<'a>> {
        let Self { tar, members, excluded, clusters, tree, beside, .. } = self;
        let (compressor, stream_bytes) = tar.finish()?;
        compressor.finish()?;
        let tree = if beside.has_base() { tree.finished() } else { TreeTotals { stream_bytes, ..tree } };
        Ok(Totals { members, excluded, clusters: clusters.found(), stream_bytes, tree, beside })
    }
}

impl<W: WritePiece> Archiver<'_, W> {
    fn take_all(
        &mut self,
        tree: &OpenTree,
        since: Option<Index<'_>>,
        cannot_write: &dyn Fn(io::Error) -> Error,
    ) -> Result<()> {
        let monitor = self.monitor;
        let walk = Walk::new(tree)?.excluding(&self.job.exclude, &self.job.prefix).watching(monitor);
        let walk = walk.map(|found| monitor.check_cancelled().and(found));
        let files = self.files.clone();
        let (look, job) = (Reading { look: self.look, is_digested: self.beside.wants_digests() }, self.job);
        let take = |item: Result<WalkItem>| {
            monitor.check_cancelled()?;
            self.take(item?).map_err(cannot_write)
        };
        match since {
            None => for_each_read_ahead(walk, look, &files, take)?,
            Some(index) => {
                let walk = Compared::new(walk, index, &tree.ids, job.xattrs)?;
                for_each_read_ahead(walk, look, &files, take)?;
            }
        }
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
            WalkItem::Read(entry, read) => {
                self.leave_directories(&entry.path);
                return self.file(entry, read);
            }
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
            Found::Gone(path) => self.gone(&path),
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
        self.leave_directories(&entry.path);
        if entry.before == Before::Same {
            self.unchanged(entry, seen);
            return Ok(());
        }
        if entry.has_voltars_name() {
            let (archive, path) = (&self.job.archive, &entry.path);
            self.monitor
                .note(&format!("{archive}: '{path}' is archived like any file: no restore on record has made it"));
        }
        if let Some(target) = self.links.target(&entry) {
            let (kind, inode) = (mem::replace(&mut entry.kind, Kind::HardLink { target }), entry.inode);
            let member = self.header(entry)?;
            return self.beside.add(&member, kind, &inode, Stored::All(None));
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
        let inode = entry.inode;
        let member = self.header(entry)?;
        self.beside.add(&member, member.kind.clone(), &inode, Stored::All(None))
    }

    /// Stores a file, unless it is known to be the same. What cannot be read is stored as zeros, because the header with the
    /// size is already written.
    fn file(&mut self, mut entry: Entry, read: std::result::Result<(Content, Seen), Errno>) -> io::Result<()> {
        let (mut content, seen) = match read {
            Ok((content, seen)) => match self.differing(&mut entry, content, &seen)? {
                Some(Ok(content)) => (content, seen),
                Some(Err(e)) => return self.not_opened(&entry.path, e),
                None => {
                    self.unchanged(entry, Some(seen));
                    return Ok(());
                }
            },
            Err(e) => return self.not_opened(&entry.path, e),
        };
        self.see(&mut entry, seen);
        self.links.stored(&entry);
        let (inode, xattrs) = (entry.inode, entry.metadata.xattrs.clone());
        let member = self.header(entry)?;
        let mut is_all = self.file_content(&member, &mut content)?;
        if content.changed() {
            self.issue(format!("'{}' changed while it was read", member.path));
            is_all = false;
        }
        let digest = content.digest().map(|digest| digest_with(digest, &xattrs));
        let stored = if is_all { Stored::All(digest) } else { Stored::Partly };
        self.beside.add(&member, member.kind.clone(), &inode, stored)
    }

    /// Reports a file that is not archived, because it cannot be opened.
    fn not_opened(&mut self, path: &RelPath, e: Errno) -> io::Result<()> {
        self.issue(match e {
            Errno::ENOENT => format!("'{path}' vanished before it was read: skipped"),
            Errno::ESTALE | Errno::ELOOP => format!("'{path}' was replaced before it was read: skipped"),
            Errno::EPERM | Errno::EACCES => format!("cannot open '{path}': {}: skipped (root could)", e.desc()),
            e => format!("cannot open '{path}': {}: skipped", e.desc()),
        });
        // As an archive of everything would not hold it.
        if self.beside.has_base() { self.gone(path) } else { Ok(()) }
    }

    /// Returns the content of a file that is to be stored; `None` if it is that of the earlier archive. It is then read to its
    /// end, and if it differs the file is opened again.
    fn differing(
        &self,
        entry: &mut Entry,
        mut content: Content,
        seen: &Seen,
    ) -> io::Result<Option<std::result::Result<Content, Errno>>> {
        let Before::SameIf(expected) = entry.before else { return Ok(Some(Ok(content))) };
        let is_whole = content.is_whole();
        if !is_whole {
            while matches!(content.next(), Ok(piece) if !piece.is_empty()) {
                self.monitor.check_cancelled()?;
            }
        }
        let digest = content.digest().map(|digest| digest_with(digest, &seen.xattrs));
        if digest == Some(expected) && !content.changed() {
            return Ok(None);
        }
        Ok(Some(if is_whole { Ok(content) } else { entry.open().map(|file| self.content(file)) }))
    }

    /// Stores the content of a file; returns whether it is complete.
    fn file_content(&mut self, member: &Member, content: &mut Content) -> io::Result<bool> {
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
                    return self.pad().map(|()| false);
                }
                Err(e) => {
                    self.issue(format!(
                        "cannot read '{}': {}: its last {} bytes are stored as zeros",
                        member.path,
                        Cause::from(e),
                        self.tar.owed()
                    ));
                    return self.pad().map(|()| false);
                }
            };
            // The file may have grown after its size was read for the header.
            piece.truncate(usize::try_from(self.tar.owed()).unwrap_or(usize::MAX));
            self.piece(piece)?;
        }
        Ok(true)
    }

    /// Counts an entry that has not changed. A directory is archived all the same once something below it is.
    fn unchanged(&mut self, mut entry: Entry, seen: Option<Seen>) {
        let size = content_bytes(&entry, &mut self.links);
        self.count(&entry.path, &entry.kind, size);
        if entry.kind == Kind::Directory {
            let look = || self.look.at(&entry, XATTRS_OF_ONE).unwrap_or_else(Seen::too_many);
            let seen = seen.unwrap_or_else(look);
            entry.release();
            self.unchanged.push((entry, seen));
        }
    }

    /// Leaves the directories in which `path` does not lie.
    fn leave_directories(&mut self, path: &RelPath) {
        while self.unchanged.pop_if(|(directory, _)| !directory.path.is_above(path)).is_some() {}
    }

    /// Archives the directories in which `path` lies, as far as they are not archived yet.
    fn enter_directories(&mut self, path: &RelPath) -> io::Result<()> {
        let above = self.unchanged.iter().take_while(|(directory, _)| directory.path.is_above(path)).count();
        for (mut directory, seen) in self.unchanged.drain(..above).collect::<Vec<_>>() {
            self.see(&mut directory, seen);
            self.write_header(directory)?;
        }
        Ok(())
    }

    /// Records a path that is gone. What held it is archived, because its time has changed.
    fn gone(&mut self, path: &RelPath) -> io::Result<()> {
        self.enter_directories(path)?;
        self.beside.gone(path)
    }

    /// Counts a member of the tree.
    fn count(&mut self, path: &RelPath, kind: &Kind, size: u64) {
        self.tree.add(size);
        self.one_file |= path.is_root() && *kind != Kind::Directory;
        self.database |= is_cluster_version(path);
        self.clusters.member(path, kind);
    }

    /// Returns the content of a file that was not read ahead.
    fn content(&self, file: Opened) -> Content {
        let is_digested = self.beside.wants_digests();
        if file.size() <= SMALL { file.at_once(is_digested) } else { file.in_pieces(is_digested, &self.files) }
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

    /// Archives a member, up to its content.
    fn header(&mut self, entry: Entry) -> io::Result<Member> {
        self.enter_directories(&entry.path)?;
        let size = if let Kind::File { size } = entry.kind { size } else { 0 };
        self.count(&entry.path, &entry.kind, size);
        self.write_header(entry)
    }

    fn write_header(&mut self, entry: Entry) -> io::Result<Member> {
        let metadata = self.ids.to_container(&entry.metadata);
        let metadata = metadata.map_err(|unmapped| unmapped.on_disk(&entry.path, 0).within(&self.job.archive))?;
        let (xattrs, left_out) = mapped_xattrs::to_container(self.ids, &entry.metadata.xattrs);
        for why in left_out {
            self.lasting_issue(format!("'{}' is archived without all its attributes: {why}", entry.path));
        }
        let metadata = Metadata { xattrs, ..metadata };
        let member = Member { path: entry.path, kind: entry.kind, metadata };
        let before = self.tar.written();
        self.tar.member(&member)?;
        self.members += 1;
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
            self.lasting_issue(format!("'{}' is archived without all its attributes: {why}", entry.path));
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
        self.lasting_issue(format!(
            "{have} capabilities, ACLs or extended attributes ({such_as}), which the guide's format does not hold: \
             --xattrs archives them too"
        ));
    }

    fn check_expectations(&self) -> Result<()> {
        let archive = &self.job.archive;
        let Some(what) = self.job.expected.missing(self.tree.members, self.one_file, self.database) else {
            return Ok(());
        };
        Err(Error::refused(format!("{archive}: '/{}' {what}", self.job.prefix))
            .hint("see with `voltar plan` whether this is the right volume; --allow-empty overrides this"))
    }

    /// Reports what is missing in the archive, unless the second pass finds it again.
    fn issue(&self, message: String) {
        if !self.job.is_first_pass {
            self.lasting_issue(message);
        }
    }

    /// Reports what is missing in the archive, and in that of a second pass too.
    fn lasting_issue(&self, message: String) {
        self.monitor.issue(&self.job.archive, message);
    }

    fn advance(&self, bytes: u64) {
        self.monitor.event(&Event::Advanced { archive: &self.job.archive, bytes });
    }
}
