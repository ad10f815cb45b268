//! Reads a tar stream member by member: V7, ustar, GNU, Solaris and pax headers, with long names, sparse files and the
//! directories of incremental archives, as GNU tar reads them. The input is untrusted: sizes, names and extended headers
//! are bounded, and damage is an error with its offset. This module only parses; it restores nothing.

mod damage;
mod header;
mod libarchive_text;
mod pax;
mod sparse;
mod stored;
mod xattr_records;

use std::io::{self, Read};

use super::{BLOCK, checksum, padding};
use crate::limits::{Excess, LONGEST_RECORD};
use crate::member::{Metadata, Timestamp, quotable};
use damage::{damage, ends_in};
use header::{Field, Header};
use pax::Extensions;
use sparse::{LeadingMap, Map, Next, Position};
use xattr_records::XattrRecords;

pub use damage::TarDamage;
pub use stored::{Stored, StoredKind};

/// The most memory that the values of global headers take, in bytes: each member gets a copy.
const GLOBAL: usize = 64 << 10;

/// The bytes that are skipped at a time.
const PIECE: usize = 64 << 10;

/// A reader of a tar stream. After [`TarReader::next_member`] has returned a member, its content is read from the
/// `TarReader` itself; unread content is skipped.
///
/// ```
/// use std::io::Read as _;
///
/// use voltar::archive::reader::{StoredKind, TarReader};
/// # use voltar::archive::writer::TarWriter;
/// # use voltar::member::{Kind, Member, Metadata, RelPath};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut writer = TarWriter::new(Vec::new(), RelPath::parse(b"srv/www")?);
/// # let (kind, metadata) = (Kind::File { size: 5 }, Metadata { mode: 0o644, ..Metadata::default() });
/// # writer.member(&Member { path: RelPath::parse(b"index.html")?, kind, metadata })?;
/// # writer.content(b"hello")?;
/// # let (stream, _) = writer.finish()?;
/// let mut reader = TarReader::new(&stream[..]);
/// while let Some(stored) = reader.next_member()? {
///     assert_eq!((&stored.name[..], stored.kind), (&b"srv/www/index.html"[..], StoredKind::File));
///     let mut content = String::new();
///     reader.read_to_string(&mut content)?;
///     assert_eq!(content, "hello");
/// }
/// assert_eq!(reader.trailing(), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TarReader<R: Read> {
    inner: R,
    offset: u64,
    content: Content,
    /// Bytes of the current member that are left in the stream, without its padding.
    stored: u64,
    padding: usize,
    global: Extensions,
    allow_missing_end: bool,
    end: End,
}

/// The content of the current member.
#[derive(Debug)]
enum Content {
    /// It is skipped: the member is no file.
    Skipped,
    /// It is what is stored.
    Plain,
    /// It has holes.
    Sparse(Position),
}

/// What the stream has had after its last member.
#[derive(Debug, Default, PartialEq, Eq)]
enum Reached {
    #[default]
    Nothing,
    /// The end-of-archive marker.
    Marker,
    /// The end of the stream.
    EndOfStream,
}

/// The end of the archive.
#[derive(Debug, Default)]
struct End {
    reached: Reached,
    /// Bytes after it, from the first one that is not zero.
    trailing: u64,
    /// Whether there are headers among them.
    has_members: bool,
    /// Whether the last extended header has no member.
    lacks_member: bool,
}

impl<R: Read> TarReader<R> {
    /// Returns a reader of the stream that `inner` delivers.
    pub fn new(inner: R) -> Self {
        Self {
            inner,
            offset: 0,
            content: Content::Skipped,
            stored: 0,
            padding: 0,
            global: Extensions::default(),
            allow_missing_end: false,
            end: End::default(),
        }
    }

    /// Accepts a stream that ends after a complete member, without an end-of-archive marker, as GNU tar does.
    pub fn allow_missing_end(&mut self) {
        self.allow_missing_end = true;
    }

    /// Returns whether the stream has ended after a complete member, without an end-of-archive marker.
    pub fn is_end_missing(&self) -> bool {
        self.end.reached == Reached::EndOfStream
    }

    /// Returns the number of bytes of the stream read so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the number of bytes of the current member's content that have not been read.
    pub fn content_left(&self) -> u64 {
        match &self.content {
            Content::Skipped => 0,
            Content::Plain => self.stored,
            Content::Sparse(position) => position.left(),
        }
    }

    /// Skips the hole of a sparse file at which its content is being read, and returns its length in bytes: 0 where there
    /// is none. Reading returns zeros for a hole.
    pub fn skip_hole(&mut self) -> u64 {
        let Content::Sparse(position) = &mut self.content else { return 0 };
        let Next::Hole(count) = position.next() else { return 0 };
        position.advance(count);
        count
    }

    /// Returns the underlying reader.
    pub fn get_ref(&self) -> &R {
        &self.inner
    }

    /// Returns the number of bytes, other than zero padding, that follow the end-of-archive marker. It is known once
    /// [`TarReader::next_member`] has returned `None`.
    pub fn trailing(&self) -> u64 {
        self.end.trailing
    }

    /// Returns whether members follow the end-of-archive marker, as after `cat a.tar b.tar`.
    pub fn has_members_after_end(&self) -> bool {
        self.end.has_members
    }

    /// Returns whether the last header of the archive is one that describes the next member, which is not there.
    pub fn lacks_last_member(&self) -> bool {
        self.end.lacks_member
    }

    /// Returns the next member, or `None` after the end-of-archive marker. By then the stream has been read to its
    /// end, so that the decompressor has verified all its checksums.
    ///
    /// # Errors
    /// Those of the inner reader, and [`TarDamage`] as the source of an `InvalidData` error.
    pub fn next_member(&mut self) -> io::Result<Option<Stored>> {
        if self.end.reached == Reached::Marker {
            return Ok(None);
        }
        self.skip_content()?;
        let mut local = self.global.clone();
        let start = self.offset;
        loop {
            let at = self.offset;
            let Some(header) = self.header(at == start)? else {
                // bsdtar leaves out a member that a format cannot hold after it has written its long name.
                self.end.lacks_member = at != start;
                self.drain()?;
                return Ok(None);
            };
            let size = header.number(Field::Size).map_err(|what| damage(at, what))?;
            let size = u64::try_from(size).map_err(|_| damage(at, "a negative size"))?;
            match header.kind() {
                b'L' => local.name = Some(self.long_name(at, size, &mut local.excess)?),
                b'K' => local.link = Some(self.long_name(at, size, &mut local.excess)?),
                // pax, and Solaris' tar before it.
                b'x' | b'X' => self.extended_header(at, size, &mut [&mut local])?,
                b'g' => {
                    let mut global = std::mem::take(&mut self.global);
                    let own = local.xattrs.clone();
                    self.extended_header(at, size, &mut [&mut global, &mut local])?;
                    // Each member has attributes of its own.
                    (global.xattrs, local.xattrs) = (XattrRecords::default(), own);
                    if global.held() > GLOBAL {
                        return Err(damage(at, "a global header with more values than any program writes"));
                    }
                    self.global = global;
                }
                // A volume label (`tar -V`) is not a member; GNU tar skips it too.
                b'V' => self.discard(at, size + padding(size) as u64, "volume label")?,
                kind => return self.member(at, &header, kind, size, local).map(Some),
            }
        }
    }

    fn member(
        &mut self,
        at: u64,
        header: &Header,
        entry_type: u8,
        size: u64,
        mut ext: Extensions,
    ) -> io::Result<Stored> {
        let damaged = |what: String| damage(at, what);
        let name = ext.sparse.name.take().or(ext.name.take()).unwrap_or_else(|| header.name());
        if entry_type == b'M' || ext.continued {
            return Err(damage(
                at,
                format!("'{}' is continued from another volume (tar -M), which voltar does not read", quotable(&name)),
            ));
        }
        let mut unknown_type = None;
        let kind = match entry_type {
            // In archives older than POSIX, a directory is a file whose name ends with a slash.
            0 | b'0' | b'7' if name.ends_with(b"/") => StoredKind::Directory,
            0 | b'0' | b'7' | b'S' => StoredKind::File,
            b'1' => StoredKind::HardLink,
            b'2' => StoredKind::Symlink,
            b'3' => StoredKind::CharDevice,
            b'4' => StoredKind::BlockDevice,
            // The content of an incremental archive's directory is a list of its entries.
            b'5' | b'D' => StoredKind::Directory,
            b'6' => StoredKind::Fifo,
            other => {
                unknown_type = Some(other);
                StoredKind::File
            }
        };
        // Some tars store the size of the linked file in a hard link's header, or that of a directory on disk in its own,
        // but no content follows.
        let has_content = kind == StoredKind::File || entry_type == b'D';
        let stored = if has_content { ext.size.unwrap_or(size) } else { 0 };
        if stored > i64::MAX as u64 - self.offset {
            return Err(damaged(format!("'{}' claims {stored} bytes", quotable(&name))));
        }
        (self.stored, self.padding) = (stored, padding(stored));
        let size = if kind == StoredKind::File {
            self.begin_content(at, header, entry_type, &mut ext)?
        } else {
            self.content = Content::Skipped;
            0
        };
        let number = |field| header.number(field).map_err(damaged);
        let mut device = (0, 0);
        if matches!(kind, StoredKind::CharDevice | StoredKind::BlockDevice) {
            let number =
                |field| u32::try_from(number(field)?).map_err(|_| damaged("a device number out of range".to_owned()));
            device = (number(Field::Major)?, number(Field::Minor)?);
        }
        let id = |own: Option<i64>, field, what| -> io::Result<u32> {
            let value = match own {
                Some(value) => value,
                None => number(field)?,
            };
            // For chown(2), 2^32 - 1 means "do not change", so no file can have this owner.
            u32::try_from(value)
                .ok()
                .filter(|&id| id != u32::MAX)
                .ok_or_else(|| damaged(format!("'{}' has {what} {value}, which cannot exist", quotable(&name))))
        };
        let (xattrs, bad_xattrs) = std::mem::take(&mut ext.xattrs).finish();
        let metadata = Metadata {
            mode: u32::try_from(number(Field::Mode)? & 0o7777).unwrap_or_default(),
            uid: id(ext.uid, Field::Uid, "owner")?,
            gid: id(ext.gid, Field::Gid, "group")?,
            mtime: match ext.mtime {
                Some(mtime) => mtime,
                None => Timestamp { seconds: number(Field::Mtime)?, nanoseconds: 0 },
            },
            xattrs,
        };
        let (uname, gname) = header.owner_names();
        Ok(Stored {
            name,
            link: ext.link.unwrap_or_else(|| header.link()),
            kind,
            size,
            metadata,
            uname: ext.uname.unwrap_or(uname),
            gname: ext.gname.unwrap_or(gname),
            bad_xattrs,
            device,
            unknown_type,
            excess: ext.excess,
            offset: at,
        })
    }

    /// Begins to read the content of a file, and returns its length: the map of a sparse file may have to be read first.
    fn begin_content(&mut self, at: u64, header: &Header, entry_type: u8, ext: &mut Extensions) -> io::Result<u64> {
        let damaged = |what: String| damage(at, what);
        let (map, size) = if entry_type == b'S' {
            let size = header.number(Field::RealSize).map_err(damaged)?;
            (self.gnu_map(at, header)?, u64::try_from(size).ok())
        } else if ext.sparse.leading_map {
            (self.leading_map(at)?, ext.sparse.size)
        } else if let Some(map) = ext.sparse.map.take() {
            (map, ext.sparse.size)
        } else {
            self.content = Content::Plain;
            return Ok(self.stored);
        };
        let size = size.filter(|&size| i64::try_from(size).is_ok());
        let size = size.ok_or_else(|| damaged("a sparse file without its length".to_owned()))?;
        self.content = Content::Sparse(map.begin(size, self.stored).map_err(damaged)?);
        Ok(size)
    }

    /// Reads the map of the old GNU format: in the header, and in the blocks that follow it.
    fn gnu_map(&mut self, at: u64, header: &Header) -> io::Result<Map> {
        let damaged = |what: String| damage(at, what);
        let mut map = Map::default();
        map.push_entries(&header.block()[386..482]).map_err(damaged)?;
        let mut goes_on = header.block()[482] != 0;
        while goes_on {
            let block = self.block(at)?;
            // Each block has an entry at least, so that the limit on entries is one on blocks too.
            if map.push_entries(&block[..504]).map_err(damaged)? == 0 {
                return Err(damage(at, "an empty block in the map of a sparse file"));
            }
            goes_on = block[504] != 0;
        }
        Ok(map)
    }

    /// Reads the map of pax 1.0, which is a part of what is stored.
    fn leading_map(&mut self, at: u64) -> io::Result<Map> {
        let mut leading = LeadingMap::default();
        loop {
            let left = self.stored.checked_sub(BLOCK as u64);
            self.stored = left.ok_or_else(|| damage(at, "a sparse file without its map"))?;
            let block = self.block(at)?;
            if let Some(map) = leading.block(&block).map_err(|what| damage(at, what))? {
                return Ok(map);
            }
        }
    }

    /// Reads a block of a map.
    fn block(&mut self, at: u64) -> io::Result<[u8; BLOCK]> {
        let mut block = [0; BLOCK];
        if self.read_up_to(&mut block)? < BLOCK {
            return Err(damage(at, "the archive ends in the middle of the map of a sparse file: it was cut off"));
        }
        Ok(block)
    }

    /// Reads the next header; returns `None` at the end-of-archive marker. The stream can end here if `may_end`.
    fn header(&mut self, may_end: bool) -> io::Result<Option<Header>> {
        let at = self.offset;
        let mut block = [0; BLOCK];
        let got = self.read_up_to(&mut block)?;
        if got == 0 {
            if at > 0 && may_end {
                self.end.reached = Reached::EndOfStream;
                if self.allow_missing_end {
                    return Ok(None);
                }
            }
            let what = if at == 0 {
                "the archive is empty"
            } else {
                "the archive ends without its end-of-archive marker: it was cut off"
            };
            return Err(damage(at, what));
        }
        if got < BLOCK {
            return Err(damage(at, "the archive ends in the middle of a header: it was cut off"));
        }
        if block.iter().all(|&b| b == 0) {
            return Ok(None);
        }
        let header = Header::new(&block);
        header.map(Some).ok_or_else(|| damage(at, "no tar header where one should be (checksum mismatch)"))
    }

    /// Reads a long name, of which only the beginning is kept if it is beyond the limit.
    fn long_name(&mut self, at: u64, size: u64, excess: &mut Option<Excess>) -> io::Result<Vec<u8>> {
        let mut name = self.keep(at, size.min(LONGEST_RECORD), "long name")?;
        let rest = size.saturating_sub(LONGEST_RECORD);
        self.discard(at, rest + padding(size) as u64, "long name")?;
        if rest > 0 {
            *excess = Some(Excess::Record(size));
        }
        if let Some(nul) = name.iter().position(|&b| b == 0) {
            name.truncate(nul);
        }
        Ok(name)
    }

    /// Reads an extended header into all `extensions`.
    fn extended_header(&mut self, at: u64, size: u64, extensions: &mut [&mut Extensions]) -> io::Result<()> {
        const WHAT: &str = "extended header";
        let damaged = |what| damage(at, what);
        if size > LONGEST_RECORD {
            self.records(at, size, extensions)?;
        } else {
            let records = self.keep(at, size, WHAT)?;
            extensions.iter_mut().try_for_each(|extensions| extensions.read(&records)).map_err(damaged)?;
        }
        self.discard(at, padding(size) as u64, WHAT)
    }

    /// Reads a long extended header record by record. Values that are beyond the limit are left out.
    fn records(&mut self, at: u64, size: u64, extensions: &mut [&mut Extensions]) -> io::Result<()> {
        const WHAT: &str = "extended header";
        /// The bytes of a record that is left out which hold its key.
        const KEY: u64 = 64;
        let damaged = |what| damage(at, what);
        let malformed = || damage(at, "a malformed extended header");
        let mut left = size;
        while left > 0 {
            // The length, which counts itself, and a space.
            let mut record = Vec::new();
            while record.last() != Some(&b' ') {
                if left == 0 || record.len() > 20 {
                    return Err(malformed());
                }
                record.extend(self.keep(at, 1, WHAT)?);
                left -= 1;
                if record == [0] {
                    // Padding that is counted as content.
                    return self.discard(at, left, WHAT);
                }
            }
            let length = std::str::from_utf8(&record[..record.len() - 1]).ok().and_then(|digits| digits.parse().ok());
            let length: u64 = length.ok_or_else(malformed)?;
            let rest = length.checked_sub(record.len() as u64).filter(|rest| (1..=left).contains(rest));
            let rest = rest.ok_or_else(malformed)?;
            left -= rest;
            if length > LONGEST_RECORD {
                let beginning = self.keep(at, KEY, WHAT)?;
                self.discard(at, rest - KEY, WHAT)?;
                let mut each = extensions.iter_mut();
                each.try_for_each(|extensions| extensions.leave_out(&beginning, length)).map_err(damaged)?;
            } else {
                record.extend(self.keep(at, rest, WHAT)?);
                extensions.iter_mut().try_for_each(|extensions| extensions.read(&record)).map_err(damaged)?;
            }
        }
        Ok(())
    }

    /// Reads the next `size` bytes of a header's content, at most [`LONGEST_RECORD`].
    fn keep(&mut self, at: u64, size: u64, what: &str) -> io::Result<Vec<u8>> {
        let mut content = vec![0; size.min(LONGEST_RECORD) as usize];
        let got = self.read_up_to(&mut content)?;
        if got < content.len() { Err(ends_in(at, what)) } else { Ok(content) }
    }

    /// Skips the next `size` bytes of a header's content.
    fn discard(&mut self, at: u64, mut size: u64, what: &str) -> io::Result<()> {
        let mut scratch = vec![0; size.min(PIECE as u64) as usize];
        while size > 0 {
            let want = size.min(PIECE as u64) as usize;
            if self.read_up_to(&mut scratch[..want])? < want {
                return Err(ends_in(at, what));
            }
            size -= want as u64;
        }
        Ok(())
    }

    fn skip_content(&mut self) -> io::Result<()> {
        self.content = Content::Skipped;
        let mut scratch = vec![0; self.stored.min(PIECE as u64) as usize];
        while self.stored > 0 {
            self.read_stored(&mut scratch)?;
        }
        let mut padding = [0; BLOCK];
        let wanted = std::mem::take(&mut self.padding);
        if self.read_up_to(&mut padding[..wanted])? < wanted {
            return Err(self.cut_off());
        }
        Ok(())
    }

    /// Reads some of the bytes that are stored of the current member: none only if none are left or wanted.
    fn read_stored(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.stored).map_or(buf.len(), |left| left.min(buf.len()));
        if want == 0 {
            return Ok(0);
        }
        let got = loop {
            match self.inner.read(&mut buf[..want]) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        if got == 0 {
            return Err(self.cut_off());
        }
        self.offset += got as u64;
        self.stored -= got as u64;
        Ok(got)
    }

    fn cut_off(&self) -> io::Error {
        damage(self.offset, "the archive ends in the middle of a member: it was cut off")
    }

    /// Reads everything after the first zero block, to the end of the stream.
    fn drain(&mut self) -> io::Result<()> {
        if self.end.reached == Reached::Nothing {
            self.end.reached = Reached::Marker;
        }
        let mut scratch = vec![0; 128 * BLOCK];
        loop {
            let got = self.read_up_to(&mut scratch)?;
            let read = &scratch[..got];
            if self.end.trailing > 0 || read.iter().any(|&b| b != 0) {
                self.end.trailing += got as u64;
                self.end.has_members |= read.as_chunks::<BLOCK>().0.iter().any(checksum::is_right);
            }
            if got < scratch.len() {
                return Ok(());
            }
        }
    }

    fn read_up_to(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let mut got = 0;
        while got < buf.len() {
            match self.inner.read(&mut buf[got..]) {
                Ok(0) => break,
                Ok(n) => got += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.offset += got as u64;
        Ok(got)
    }
}

/// Reads the content of the current member.
impl<R: Read> Read for TarReader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let at_most = |count: u64| usize::try_from(count).map_or(buf.len(), |count| count.min(buf.len()));
        match &mut self.content {
            Content::Skipped => Ok(0),
            Content::Plain => self.read_stored(buf),
            Content::Sparse(position) => match position.next() {
                Next::End => Ok(0),
                Next::Hole(count) => {
                    let count = at_most(count);
                    buf[..count].fill(0);
                    position.advance(count as u64);
                    Ok(count)
                }
                Next::Data(count) => {
                    let count = at_most(count);
                    let got = self.read_stored(&mut buf[..count])?;
                    if let Content::Sparse(position) = &mut self.content {
                        position.advance(got as u64);
                    }
                    Ok(got)
                }
            },
        }
    }
}
