//! Copies file content: out of files, dropping it from the page cache, and into files, with holes where there are only
//! zeros.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom, Write as _};
use std::mem;

use nix::sys::stat::{FileStat, fstat};

use super::read_ahead::{self, ReadAhead};
use crate::digest::{Digest, OfPieces};
use crate::durable::page_cache::{Writeback, drop_written};
use crate::holes::ReadHoles;
use crate::ordered::Pool;

/// How much is read or written at once, in bytes.
pub(crate) const PIECE: usize = 256 << 10;

/// Zeros become holes in units of this many bytes: the block size of the common filesystems.
const HOLE: usize = 4096;

/// A file that was just opened, and its state then.
#[derive(Debug)]
pub(crate) struct Opened {
    file: File,
    state: State,
}

/// What GNU tar compares to find out whether a file or directory changed while it was read.
pub(super) type State = (i64, i64, i64);

pub(super) fn state(status: &FileStat) -> State {
    (status.st_ctime, status.st_ctime_nsec, status.st_size)
}

impl Opened {
    pub(super) fn new(file: File, status: &FileStat) -> Self {
        Self { file, state: state(status) }
    }

    /// The file.
    #[must_use]
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// How many bytes it had.
    #[must_use]
    pub(crate) fn size(&self) -> u64 {
        self.state.2.max(0).cast_unsigned()
    }

    /// Returns the file itself.
    #[must_use]
    pub(crate) fn into_file(self) -> File {
        self.file
    }

    /// Returns its content, which is read ahead on the threads of `pool`, with its digest if it `is_digested`.
    #[must_use]
    pub(crate) fn in_pieces(self, is_digested: bool, pool: &Pool) -> Content {
        let size = self.size();
        let ahead = Box::new(ReadAhead::new(self.file, size, is_digested, pool));
        Content(Inner::Pieces { ahead, state: self.state })
    }

    /// Returns its content, read at once: for small files.
    #[must_use]
    pub(crate) fn at_once(self, is_digested: bool) -> Content {
        let mut bytes = Vec::with_capacity(self.size() as usize);
        let failed = (&self.file).take(self.size()).read_to_end(&mut bytes).err();
        let changed = has_changed(&self.file, self.state);
        if !bytes.is_empty() {
            drop_written(&self.file);
        }
        let digest = is_digested.then(|| digest_of(&bytes));
        Content(Inner::Whole { bytes, failed, changed, digest })
    }
}

/// Returns the digest of content that was read at once: that of the same content in pieces.
fn digest_of(bytes: &[u8]) -> Digest {
    let mut digest = OfPieces::default();
    bytes.chunks(read_ahead::PIECE).for_each(|piece| digest.add(Digest::of(piece)));
    digest.finish()
}

/// Whether a file has changed, or may have.
fn has_changed(file: &File, before: State) -> bool {
    !fstat(file).is_ok_and(|status| state(&status) == before)
}

/// The content of a file that is being stored, as far as the file reached when it was opened.
pub(crate) struct Content(Inner);

enum Inner {
    Pieces { ahead: Box<ReadAhead>, state: State },
    Whole { bytes: Vec<u8>, failed: Option<io::Error>, changed: bool, digest: Option<Digest> },
}

impl Content {
    /// Returns the next piece; an empty one where the file ends.
    pub(crate) fn next(&mut self) -> io::Result<Vec<u8>> {
        match &mut self.0 {
            Inner::Pieces { ahead, .. } => ahead.next(),
            Inner::Whole { bytes, failed, .. } => {
                let all = mem::take(bytes);
                failed.take_if(|_| all.is_empty()).map_or(Ok(all), Err)
            }
        }
    }

    /// Whether the file changed while it was read.
    #[must_use]
    pub(crate) fn changed(&self) -> bool {
        match &self.0 {
            Inner::Pieces { ahead, state } => has_changed(ahead.file(), *state),
            Inner::Whole { changed, .. } => *changed,
        }
    }

    /// Returns whether all of it was read at once.
    #[must_use]
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self.0, Inner::Whole { .. })
    }

    /// Returns the digest of what was returned, if it was asked for: of all, once an empty piece was returned.
    #[must_use]
    pub(crate) fn digest(&self) -> Option<Digest> {
        match &self.0 {
            Inner::Pieces { ahead, .. } => ahead.digest(),
            Inner::Whole { digest, .. } => *digest,
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Content").finish_non_exhaustive()
    }
}

/// Copies exactly `size` bytes from `source` into the new, empty `file`; runs of zeros become holes.
pub(crate) fn write_with_holes(
    file: &mut File,
    source: &mut impl ReadHoles,
    size: u64,
    buffer: &mut Vec<u8>,
) -> Result<(), CopyError> {
    buffer.resize(PIECE, 0);
    let mut written = Written::new(file);
    while written.given < size {
        let hole = source.skip_hole().min(size - written.given);
        if hole > 0 {
            written.given += hole;
            continue;
        }
        let want = usize::try_from(size - written.given).map_or(PIECE, |left| left.min(PIECE));
        let piece = &mut buffer[..want];
        source.read_exact(piece).map_err(CopyError::Read)?;
        written.write(piece).map_err(CopyError::Write)?;
    }
    written.finish().map_err(CopyError::Write)
}

/// Returns how many of exactly `size` bytes of `source` [`write_with_holes`] writes, in whole blocks of [`HOLE`] bytes but
/// for the last.
pub(crate) fn taken_bytes(source: &mut impl ReadHoles, size: u64, buffer: &mut Vec<u8>) -> io::Result<u64> {
    buffer.resize(PIECE, 0);
    let (mut given, mut taken) = (0, 0_u64);
    while given < size {
        let hole = source.skip_hole().min(size - given);
        given += hole;
        if hole == 0 {
            let want = usize::try_from(size - given).map_or(PIECE, |left| left.min(PIECE));
            source.read_exact(&mut buffer[..want])?;
            taken += data_runs(&buffer[..want]).iter().map(|(start, end)| (end - start) as u64).sum::<u64>();
            given += want as u64;
        }
    }
    Ok(taken)
}

/// Writes all of `content` into the new, empty `file`; runs of zeros become holes.
pub(crate) fn write_at_once(file: &mut File, content: &[u8]) -> io::Result<()> {
    let mut written = Written::new(file);
    written.write(content)?;
    written.finish()
}

/// A new file that is written in order; where a hole is to be, nothing is written.
struct Written<'a> {
    file: &'a mut File,
    /// Bytes that the file has so far, the last holes too.
    given: u64,
    /// The offset of the file's handle.
    position: u64,
    writeback: Writeback,
}

impl<'a> Written<'a> {
    fn new(file: &'a mut File) -> Self {
        Self { file, given: 0, position: 0, writeback: Writeback::default() }
    }

    /// Blocks of zeros are found where [`HOLE`] divides what was given before.
    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        for (start, end) in data_runs(piece) {
            let from = self.given + start as u64;
            if self.position != from {
                self.file.seek(SeekFrom::Start(from))?;
            }
            self.file.write_all(&piece[start..end])?;
            self.writeback.wrote(&*self.file, (end - start) as u64);
            self.position = self.given + end as u64;
        }
        self.given += piece.len() as u64;
        Ok(())
    }

    fn finish(self) -> io::Result<()> {
        if self.position < self.given { self.file.set_len(self.given) } else { Ok(()) }
    }
}

/// Which side of a copy failed.
#[derive(Debug)]
pub(crate) enum CopyError {
    /// The source: the archive.
    Read(io::Error),
    /// The file: the disk.
    Write(io::Error),
}

/// The runs of `piece` that are written: all but aligned blocks of zeros.
fn data_runs(piece: &[u8]) -> Vec<(usize, usize)> {
    let mut runs: Vec<(usize, usize)> = Vec::new();
    for (i, block) in piece.chunks(HOLE).enumerate() {
        let start = i * HOLE;
        if block.len() == HOLE && is_zero(block) {
            continue;
        }
        match runs.last_mut() {
            Some((_, end)) if *end == start => *end = start + block.len(),
            _ => runs.push((start, start + block.len())),
        }
    }
    runs
}

fn is_zero(block: &[u8]) -> bool {
    // The first bytes nearly always decide; the compiler vectorises the rest.
    block.iter().take(16).all(|&b| b == 0) && block.iter().fold(0, |all, &b| all | b) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::MetadataExt as _;
    use std::path::Path;

    fn copy(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        write_with_holes(&mut file, &mut &content[..], content.len() as u64, &mut Vec::new()).unwrap();
        file
    }

    /// Content with a hole in the middle.
    struct Holed<'a> {
        before: &'a [u8],
        hole: u64,
        after: &'a [u8],
    }

    impl Read for Holed<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            if !self.before.is_empty() {
                return self.before.read(buf);
            }
            // A hole that is not skipped is read as zeros.
            let zeros = usize::try_from(self.hole).unwrap().min(buf.len());
            self.hole -= zeros as u64;
            buf[..zeros].fill(0);
            if zeros > 0 { Ok(zeros) } else { self.after.read(buf) }
        }
    }

    impl ReadHoles for Holed<'_> {
        fn skip_hole(&mut self) -> u64 {
            if self.before.is_empty() { std::mem::take(&mut self.hole) } else { 0 }
        }
    }

    #[test]
    fn holes_are_left_where_the_source_has_them() {
        for (before, hole, after) in [("ab", 10 << 20, "cd"), ("", 1 << 20, "cd"), ("ab", 1 << 20, ""), ("", 5, "")] {
            let mut source = Holed { before: before.as_bytes(), hole, after: after.as_bytes() };
            let size = hole + (before.len() + after.len()) as u64;
            let mut file = tempfile::tempfile().unwrap();
            write_with_holes(&mut file, &mut source, size, &mut Vec::new()).unwrap();
            let expected = [before.as_bytes(), &vec![0; usize::try_from(hole).unwrap()], after.as_bytes()].concat();
            assert!(content_of(&file) == expected, "{before} {hole} {after}");
        }
    }

    #[test]
    fn only_blocks_with_data_take_room() {
        let block = |byte: u8| vec![byte; HOLE];
        for (content, expected) in [
            (vec![], 0),
            (block(0), 0),
            ([block(1), block(1), b"x".to_vec()].concat(), 2 * HOLE + 1),
            ([block(1), block(0), block(0), block(1)].concat(), 2 * HOLE),
            ([vec![0; HOLE - 1], vec![1], block(0)].concat(), HOLE),
        ] {
            let size = content.len() as u64;
            assert_eq!(taken_bytes(&mut &content[..], size, &mut Vec::new()).unwrap(), expected as u64);
        }
        let (before, hole) = (block(1), 4 * PIECE as u64);
        let mut source = Holed { before: &before, hole, after: b"x" };
        let size = HOLE as u64 + hole + 1;
        assert_eq!(taken_bytes(&mut source, size, &mut Vec::new()).unwrap(), HOLE as u64 + 1);
    }

    fn at_once(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        write_at_once(&mut file, content).unwrap();
        file
    }

    fn content_of(mut file: &File) -> Vec<u8> {
        let mut content = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut content).unwrap();
        content
    }

    #[test]
    fn zeros_take_no_room() {
        let mut content = vec![0; 5 << 20];
        content[3 << 20] = 1;
        for file in [copy(&content), at_once(&content)] {
            assert_eq!(content_of(&file), content);
            file.sync_all().unwrap();
            assert!(file.metadata().unwrap().blocks() * 512 <= 64 << 10, "{}", file.metadata().unwrap().blocks());
        }
    }

    #[test]
    fn a_source_that_ends_early_is_a_read_error() {
        let mut file = tempfile::tempfile().unwrap();
        let error = write_with_holes(&mut file, &mut &b"abc"[..], 4, &mut Vec::new()).unwrap_err();
        assert!(matches!(error, CopyError::Read(_)));
    }

    fn opened(path: &Path) -> Opened {
        let file = File::open(path).unwrap();
        let status = fstat(&file).unwrap();
        Opened::new(file, &status)
    }

    /// All that a content gives, and whether it then failed.
    fn given(content: &mut Content) -> (Vec<u8>, bool) {
        let mut all = Vec::new();
        loop {
            match content.next() {
                Ok(piece) if piece.is_empty() => return (all, false),
                Ok(piece) => all.extend(piece),
                Err(_) => return (all, true),
            }
        }
    }

    #[test]
    fn at_once_gives_what_pieces_give() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("file");
        let pool = Pool::new(2).unwrap();
        // Content when it is opened, when it is read, and as much as is stored of it.
        for (before, then, stored) in [("", "", ""), ("abcdefg", "abcdefg", "abcdefg"), ("abcdefg", "ABCD", "ABCD")] {
            std::fs::write(&at, before).unwrap();
            let both = [opened(&at), opened(&at)];
            if then != before {
                std::fs::write(&at, then).unwrap();
            }
            let [once, pieces] = both;
            for mut content in [once.at_once(true), pieces.in_pieces(true, &pool)] {
                assert_eq!(given(&mut content), (stored.as_bytes().to_vec(), false));
                assert_eq!(content.changed(), then != before);
                assert_eq!(content.digest(), Some(digest_of(stored.as_bytes())));
            }
        }
        std::fs::write(&at, "abc").unwrap();
        let grows = opened(&at);
        std::fs::write(&at, "abcdef").unwrap();
        let mut content = grows.at_once(false);
        assert_eq!(given(&mut content), (b"abc".to_vec(), false));
        assert!(content.changed());
    }

    #[test]
    fn what_cannot_be_read_fails_where_it_is_asked_for() {
        // Nothing is mapped at a process's first address.
        let unreadable = || Opened { file: File::open("/proc/self/mem").unwrap(), state: (0, 0, 100) };
        for mut content in [unreadable().at_once(false), unreadable().in_pieces(false, &Pool::new(2).unwrap())] {
            assert_eq!(given(&mut content), (Vec::new(), true));
        }
    }

    proptest! {
        #[test]
        fn content_survives(runs in prop::collection::vec((any::<bool>(), 1_usize..3 * HOLE), 0..40)) {
            let content: Vec<u8> = runs.iter().flat_map(|&(zero, n)| vec![u8::from(!zero); n]).collect();
            prop_assert_eq!(content_of(&copy(&content)), &content[..]);
            prop_assert_eq!(content_of(&at_once(&content)), content);
        }
    }
}
