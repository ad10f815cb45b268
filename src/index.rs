//! The index beside a full archive: every member with what a later run compares, so that it archives only what has changed.
//!
//! It is text, in records that end with a NUL byte, since names contain any other byte. The first record is
//! `voltar-index 1 SECONDS.NANOSECONDS`: when the run began to read the tree. Each of the next ones is
//! `KIND MODE UID GID SIZE MTIME CTIME INODE NLINK DIGEST PATH`; a symbolic link is followed by a record with its target. The
//! last one is `end COUNT`. KIND is a letter as in the output of find(1), or `?` for a member of which the archive does not
//! hold all: it counts as changed. Owners are those in the archive. Entries are in the order of `tar --sort=name`,
//! so that an index and a walk can be compared with a few entries of each in memory.
//!
//! Whoever can write to a backup directory can write an index, so all of it is hostile until parsed.

use std::cmp::Ordering;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::str::FromStr;

use crate::digest::Digest;
use crate::limits;
use crate::member::{Kind, Metadata, RelPath, Timestamp};

const MAGIC: &str = "voltar-index 1";

/// The longest record in bytes: the longest name, and the fields before it.
const LONGEST: u64 = limits::LONGEST_NAME as u64 + 512;

/// A member of an archive, as an index has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its path below the root of the tree.
    pub(crate) path: RelPath,
    /// `None` if the archive does not hold all of it.
    pub(crate) state: Option<State>,
}

/// What is compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    /// What it was, whatever other names it had.
    pub(crate) kind: Kind,
    /// Owner, mode and time, as in the archive; without extended attributes.
    pub(crate) metadata: Metadata,
    /// When anything about it had changed last.
    pub(crate) ctime: Timestamp,
    /// Its inode number.
    pub(crate) inode: u64,
    /// Its link count.
    pub(crate) nlink: u64,
    /// The digest of its content and attributes, if it is a file that has only this name.
    pub(crate) digest: Option<Digest>,
}

/// Compares paths in the order of a walk: a directory comes before what it holds, and that before the next name.
pub(crate) fn walk_order(one: &RelPath, other: &RelPath) -> Ordering {
    // No name contains a NUL byte.
    let key = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
    one.as_bytes().iter().map(key).cmp(other.as_bytes().iter().map(key))
}

/// Writes an index.
pub(crate) struct IndexWriter<W: Write> {
    inner: W,
    count: u64,
    text: String,
}

impl<W: Write> IndexWriter<W> {
    /// Begins the index of an archive whose tree is read from `begun` on.
    ///
    /// # Errors
    /// Those of the writer, as of all functions here.
    pub(crate) fn new(mut inner: W, begun: Timestamp) -> io::Result<Self> {
        write!(inner, "{MAGIC} {}\0", Time(begun))?;
        Ok(Self { inner, count: 0, text: String::new() })
    }

    /// Adds a member. They come in the order of a walk.
    pub(crate) fn add(&mut self, entry: &Entry) -> io::Result<()> {
        let text = &mut self.text;
        text.clear();
        match &entry.state {
            Some(State { kind, metadata, ctime, inode, nlink, digest }) => {
                let (letter, size) = letter_and_size(kind);
                let Metadata { mode, uid, gid, mtime, .. } = metadata;
                let (mtime, ctime) = (Time(*mtime), Time(*ctime));
                write!(text, "{letter} {mode:o} {uid} {gid} {size} {mtime} {ctime} {inode} {nlink} ")
                    .map_err(io::Error::other)?;
                match digest {
                    Some(digest) => write!(text, "{digest} ").map_err(io::Error::other)?,
                    None => text.push_str("- "),
                }
            }
            None => text.push_str("? "),
        }
        self.inner.write_all(text.as_bytes())?;
        self.inner.write_all(entry.path.as_bytes())?;
        self.inner.write_all(b"\0")?;
        if let Some(State { kind: Kind::Symlink { target }, .. }) = &entry.state {
            self.inner.write_all(target)?;
            self.inner.write_all(b"\0")?;
        }
        self.count += 1;
        Ok(())
    }

    /// Completes the index.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        write!(self.inner, "end {}\0", self.count)?;
        Ok(self.inner)
    }
}

fn letter_and_size(kind: &Kind) -> (char, String) {
    match kind {
        Kind::File { size } => ('f', size.to_string()),
        Kind::Directory => ('d', "0".to_owned()),
        Kind::Symlink { .. } | Kind::HardLink { .. } => ('l', "0".to_owned()),
        Kind::Fifo => ('p', "0".to_owned()),
        Kind::CharDevice { major, minor } => ('c', format!("{major},{minor}")),
        Kind::BlockDevice { major, minor } => ('b', format!("{major},{minor}")),
    }
}

/// A time as text, which is read as it is written.
struct Time(Timestamp);

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:09}", self.0.seconds, self.0.nanoseconds)
    }
}

/// Reads an index.
pub(crate) struct IndexReader<R> {
    inner: BufReader<R>,
    begun: Timestamp,
    count: u64,
    last: Option<RelPath>,
    is_ended: bool,
    record: Vec<u8>,
}

impl<R: Read> IndexReader<R> {
    /// Begins to read an index.
    ///
    /// # Errors
    /// Those of the reader, and `InvalidData` for what is no index.
    pub(crate) fn new(inner: R) -> io::Result<Self> {
        let (inner, begun) = (BufReader::with_capacity(64 << 10, inner), Timestamp::default());
        let mut this = Self { inner, begun, count: 0, last: None, is_ended: false, record: Vec::new() };
        this.record()?;
        let header =
            std::str::from_utf8(&this.record).ok().and_then(|text| text.strip_prefix(MAGIC)?.strip_prefix(' '));
        this.begun = header.and_then(parse_time).ok_or_else(|| invalid("it is no index of a known version"))?;
        Ok(this)
    }

    /// Returns when the run began to read the tree.
    pub(crate) fn begun(&self) -> Timestamp {
        self.begun
    }

    /// Returns the next member; `None` at the end. The reader has been read to its end then.
    ///
    /// # Errors
    /// Those of the reader, and `InvalidData` for a record that no backup writes.
    pub(crate) fn next(&mut self) -> io::Result<Option<Entry>> {
        if self.is_ended {
            return Ok(None);
        }
        self.record()?;
        if let Some(count) = self.record.strip_prefix(b"end ") {
            let count: Option<u64> = parse(count);
            if count != Some(self.count) || !self.inner.fill_buf()?.is_empty() {
                return Err(invalid("its end is not that of its entries"));
            }
            self.is_ended = true;
            return Ok(None);
        }
        let mut entry = parse_entry(&self.record).ok_or_else(|| invalid("an entry is not valid"))?;
        if self.last.as_ref().is_some_and(|last| walk_order(last, &entry.path) != Ordering::Less) {
            return Err(invalid("its entries are not in order"));
        }
        if let Some(State { kind: Kind::Symlink { target }, .. }) = &mut entry.state {
            self.record()?;
            target.clone_from(&self.record);
        }
        self.last = Some(entry.path.clone());
        self.count += 1;
        Ok(Some(entry))
    }

    /// Reads the next record, without its NUL byte.
    fn record(&mut self) -> io::Result<()> {
        self.record.clear();
        (&mut self.inner).take(LONGEST).read_until(0, &mut self.record)?;
        if self.record.pop() == Some(0) { Ok(()) } else { Err(invalid("it is cut off, or a record is too long")) }
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

fn parse<T: FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn parse_time(text: &str) -> Option<Timestamp> {
    let (seconds, nanoseconds) = text.split_once('.')?;
    let is_whole = nanoseconds.len() == 9 && nanoseconds.bytes().all(|digit| digit.is_ascii_digit());
    is_whole.then_some(Timestamp { seconds: seconds.parse().ok()?, nanoseconds: nanoseconds.parse().ok()? })
}

/// Parses an entry; a symbolic link has no target yet.
fn parse_entry(record: &[u8]) -> Option<Entry> {
    let path = |name: &[u8]| RelPath::parse(name).ok().filter(|path| path.as_bytes() == name);
    if let Some(name) = record.strip_prefix(b"? ") {
        return Some(Entry { path: path(name)?, state: None });
    }
    let mut fields = record.splitn(11, |byte| *byte == b' ');
    let mut field = || fields.next();
    let (letter, mode) = (field()?, std::str::from_utf8(field()?).ok()?);
    let metadata = Metadata {
        mode: u32::from_str_radix(mode, 8).ok().filter(|mode| *mode <= 0o7777)?,
        uid: parse(field()?)?,
        gid: parse(field()?)?,
        ..Metadata::default()
    };
    let size = field()?;
    let mtime = parse_time(std::str::from_utf8(field()?).ok()?)?;
    let ctime = parse_time(std::str::from_utf8(field()?).ok()?)?;
    let (inode, nlink) = (parse(field()?)?, parse(field()?)?);
    let digest = match field()? {
        b"-" => None,
        text => Some(Digest::parse(std::str::from_utf8(text).ok()?)?),
    };
    let path = path(field()?)?;
    let device = || {
        let mut numbers = size.splitn(2, |byte| *byte == b',');
        Some((parse(numbers.next()?)?, parse(numbers.next()?)?))
    };
    let kind = match letter {
        b"f" => Kind::File { size: parse(size)? },
        b"d" => Kind::Directory,
        b"l" => Kind::Symlink { target: Vec::new() },
        b"p" => Kind::Fifo,
        b"c" => device().map(|(major, minor)| Kind::CharDevice { major, minor })?,
        b"b" => device().map(|(major, minor)| Kind::BlockDevice { major, minor })?,
        _ => return None,
    };
    let metadata = Metadata { mtime, ..metadata };
    Some(Entry { path, state: Some(State { kind, metadata, ctime, inode, nlink, digest }) })
}

/// Reads all of an index, and returns the number of its entries.
///
/// # Errors
/// It is no index, or one that no backup writes.
pub fn check(text: &[u8]) -> io::Result<u64> {
    let mut reader = IndexReader::new(text)?;
    while reader.next()?.is_some() {}
    Ok(reader.count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(name: &str) -> RelPath {
        RelPath::parse(name.as_bytes()).unwrap()
    }

    fn state(kind: Kind) -> State {
        State {
            kind,
            metadata: Metadata {
                mode: 0o4755,
                uid: 1000,
                gid: 7,
                mtime: Timestamp { seconds: -1, nanoseconds: 5 },
                ..Metadata::default()
            },
            ctime: Timestamp { seconds: 1_764_190_000, nanoseconds: 999_999_999 },
            inode: u64::MAX,
            nlink: 2,
            digest: None,
        }
    }

    fn written(entries: &[Entry]) -> Vec<u8> {
        let mut writer = IndexWriter::new(Vec::new(), Timestamp { seconds: 3, nanoseconds: 4 }).unwrap();
        for entry in entries {
            writer.add(entry).unwrap();
        }
        writer.finish().unwrap()
    }

    fn read(text: &[u8]) -> io::Result<Vec<Entry>> {
        let mut reader = IndexReader::new(text)?;
        let mut entries = Vec::new();
        while let Some(entry) = reader.next()? {
            entries.push(entry);
        }
        Ok(entries)
    }

    fn all_kinds() -> Vec<Entry> {
        let some = |name: &str, kind: Kind| Entry { path: path(name), state: Some(state(kind)) };
        let mut file = some("a b", Kind::File { size: 9 });
        file.state.as_mut().unwrap().digest = Some(Digest([0xab; 32]));
        vec![
            some("", Kind::Directory),
            file,
            some("a b/c\n\u{fc}", Kind::Symlink { target: b"../to \xff".to_vec() }),
            some("a-b", Kind::Fifo),
            Entry { path: path("b"), state: None },
            some("c", Kind::CharDevice { major: 1, minor: 3 }),
            some("d", Kind::BlockDevice { major: 8, minor: 0 }),
        ]
    }

    #[test]
    fn what_is_written_is_read() {
        let text = written(&all_kinds());
        assert_eq!(read(&text).unwrap(), all_kinds());
        assert_eq!(IndexReader::new(&text[..]).unwrap().begun(), Timestamp { seconds: 3, nanoseconds: 4 });
        assert_eq!(check(&text).unwrap(), 7);
        assert_eq!(read(&written(&[])).unwrap(), []);
    }

    #[test]
    fn what_no_backup_writes_is_refused() {
        let text = written(&all_kinds());
        for end in 0..text.len() {
            read(&text[..end]).unwrap_err();
        }
        read(&[&text[..], b"x"].concat()).unwrap_err();
        let line = "f 644 0 0 1 1.000000000 1.000000000 1 1 - ";
        let one = |entry: &str| format!("{MAGIC} 1.000000000\0{entry}\0end 1\0").into_bytes();
        read(&one(&format!("{line}a"))).unwrap();
        for wrong in [
            line.replacen('f', "x", 1) + "a",
            line.replacen("644", "10000", 1) + "a",
            line.replacen("644", "8", 1) + "a",
            line.replacen("1.0", "1.", 1) + "a",
            line.replacen('-', "abc", 1) + "a",
            line.replacen(" 1 1 ", " 1 -1 ", 1) + "a",
            format!("{line}/a"),
            format!("{line}a/../b"),
            format!("{line}a//b"),
            "? /a".to_owned(),
            "f 644 0".to_owned(),
            format!("{line}{}", "a".repeat(70_000)),
        ] {
            let error = read(&one(&wrong)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{wrong}: {error}");
        }
        let two =
            |first: &str, second: &str| read(format!("{MAGIC} 1.000000000\0? {first}\0? {second}\0end 2\0").as_bytes());
        two("a/b", "a-").unwrap();
        assert_eq!(two("a-", "a/b").unwrap_err().to_string(), "its entries are not in order");
        two("a", "a").unwrap_err();
        read(b"voltar-index 2 1.000000000\0end 0\0").unwrap_err();
    }

    proptest! {
        #[test]
        fn paths_are_ordered_by_their_components(one in "[a/.-]{0,8}", other in "[a/.-]{0,8}") {
            if let (Ok(one), Ok(other)) = (RelPath::parse(one.as_bytes()), RelPath::parse(other.as_bytes())) {
                prop_assert_eq!(walk_order(&one, &other), one.components().cmp(other.components()));
            }
        }
    }
}
