//! Reads a tar stream member by member: ustar, GNU and pax headers, with long names. The input is untrusted: sizes,
//! names and extended headers are bounded, and anything unknown is an error with its offset. This module only
//! parses; it restores nothing.

use std::fmt;
use std::io::{self, Read};

use tar::{EntryType, Header};

use super::{BLOCK, checksum, number, padding};
use crate::member::{Kind, Metadata, RelPath, Timestamp, printable};

/// The longest name, link target or extended header that is read, in bytes. One Linux system call takes paths of
/// up to 4,096 bytes (`PATH_MAX`), but a tree that is walked with `openat` can be deeper.
const LONGEST_NAME: u64 = 1 << 20;

/// The type of a stored member. Unlike [`crate::member::Kind`], it does not include the link target, which is
/// unchecked and in [`Stored::link`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredKind {
    /// A regular file, followed by [`Stored::size`] bytes of content.
    File,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A hard link to an earlier member.
    HardLink,
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

/// A member as it is stored in the archive. [`strip`](super::strip::strip) checks its names.
///
/// ```
/// use voltar::archive::reader::{Stored, StoredKind};
/// use voltar::archive::strip::strip;
/// use voltar::member::{Metadata, RelPath};
///
/// let stored = Stored {
///     name: b"srv/www/../../etc/passwd".to_vec(),
///     link: Vec::new(),
///     kind: StoredKind::File,
///     size: 0,
///     metadata: Metadata::default(),
///     uname: Vec::new(),
///     gname: Vec::new(),
///     device: (0, 0),
///     offset: 0,
/// };
/// assert!(strip(&stored, &RelPath::parse(b"srv/www")?).is_err());
/// # Ok::<(), voltar::member::BadPath>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The name of the member, unchecked.
    pub name: Vec<u8>,
    /// The target of a symbolic or hard link, unchecked; empty for other members.
    pub link: Vec<u8>,
    /// The type of the member.
    pub kind: StoredKind,
    /// Content length in bytes.
    pub size: u64,
    /// Owner, mode and modification time.
    pub metadata: Metadata,
    /// The user name of the owner; only for listings.
    pub uname: Vec<u8>,
    /// The name of the group; only for listings.
    pub gname: Vec<u8>,
    /// Major and minor device number; 0 for members that are not devices.
    pub device: (u32, u32),
    /// The offset of the header in the uncompressed stream, in bytes.
    pub offset: u64,
}

impl Stored {
    /// Returns the type of the member for a listing. The target of a hard link is only in [`Stored::link`].
    #[must_use]
    pub fn listed_kind(&self) -> Kind {
        let (major, minor) = self.device;
        match self.kind {
            StoredKind::File => Kind::File { size: self.size },
            StoredKind::Directory => Kind::Directory,
            StoredKind::Symlink => Kind::Symlink { target: self.link.clone() },
            StoredKind::HardLink => Kind::HardLink { target: RelPath::root() },
            StoredKind::Fifo => Kind::Fifo,
            StoredKind::CharDevice => Kind::CharDevice { major, minor },
            StoredKind::BlockDevice => Kind::BlockDevice { major, minor },
        }
    }
}

/// Damage found in a tar stream: the source of the [`io::Error`] that [`TarReader`] returns.
///
/// ```
/// use voltar::archive::reader::{TarDamage, TarReader};
///
/// let error = TarReader::new(&[b'x'; 512][..]).next_member().unwrap_err();
/// let damage = error.get_ref().and_then(|cause| cause.downcast_ref::<TarDamage>());
/// assert_eq!(damage.map(|damage| damage.offset), Some(0));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TarDamage {
    /// The offset in the uncompressed stream, in bytes.
    pub offset: u64,
    /// What is wrong at this offset.
    pub what: String,
}

impl fmt::Display for TarDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, at byte {} of the uncompressed stream", self.what, self.offset)
    }
}

impl std::error::Error for TarDamage {}

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
    content: u64,
    padding: usize,
    global: Extensions,
    ended: bool,
    trailing: u64,
}

/// The values that extended headers set for the next member.
#[derive(Debug, Clone, Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
    uid: Option<i64>,
    gid: Option<i64>,
    mtime: Option<Timestamp>,
    uname: Option<Vec<u8>>,
    gname: Option<Vec<u8>>,
    sparse: bool,
}

impl<R: Read> TarReader<R> {
    /// Returns a reader of the stream that `inner` delivers.
    pub fn new(inner: R) -> Self {
        Self { inner, offset: 0, content: 0, padding: 0, global: Extensions::default(), ended: false, trailing: 0 }
    }

    /// Returns the number of bytes of the stream read so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns the number of bytes of the current member's content that have not been read.
    pub fn content_left(&self) -> u64 {
        self.content
    }

    /// Returns the underlying reader.
    pub fn get_ref(&self) -> &R {
        &self.inner
    }

    /// Returns the number of bytes, other than zero padding, that follow the end-of-archive marker. It is known once
    /// [`TarReader::next_member`] has returned `None`.
    pub fn trailing(&self) -> u64 {
        self.trailing
    }

    /// Returns the next member, or `None` after the end-of-archive marker. By then the stream has been read to its
    /// end, so that the decompressor has verified all its checksums.
    ///
    /// # Errors
    /// Those of the inner reader, and [`TarDamage`] as the source of an `InvalidData` error.
    pub fn next_member(&mut self) -> io::Result<Option<Stored>> {
        if self.ended {
            return Ok(None);
        }
        self.skip_content()?;
        let mut local = self.global.clone();
        let start = self.offset;
        loop {
            let at = self.offset;
            let Some(header) = self.header()? else {
                if at != start {
                    return Err(damage(at, "the archive ends after an extended header, before its member"));
                }
                self.drain()?;
                return Ok(None);
            };
            let size = read_field(at, "size", gnu_field(&header, Field::Size))?;
            let size = u64::try_from(size).map_err(|_| damage(at, "a negative size"))?;
            match header.entry_type() {
                EntryType::GNULongName => local.name = Some(self.long_name(at, size)?),
                EntryType::GNULongLink => local.link = Some(self.long_name(at, size)?),
                EntryType::XHeader => {
                    let records = self.small_content(at, size, "extended header")?;
                    local.read_pax(&records).map_err(|what| damage(at, what))?;
                }
                EntryType::XGlobalHeader => {
                    let records = self.small_content(at, size, "extended header")?;
                    self.global.read_pax(&records).map_err(|what| damage(at, what))?;
                    local.read_pax(&records).map_err(|what| damage(at, what))?;
                }
                // A volume label (`tar -V`) is not a member; GNU tar skips it too.
                other if other.as_byte() == b'V' => {
                    self.small_content(at, size, "volume label")?;
                }
                other => return self.member(at, &header, other, size, local).map(Some),
            }
        }
    }

    fn member(
        &mut self,
        at: u64,
        header: &Header,
        entry_type: EntryType,
        size: u64,
        ext: Extensions,
    ) -> io::Result<Stored> {
        let name = ext.name.unwrap_or_else(|| header.path_bytes().into_owned());
        let kind = match entry_type {
            // In archives older than POSIX, a directory is a file whose name ends with a slash.
            EntryType::Regular | EntryType::Continuous if name.ends_with(b"/") => StoredKind::Directory,
            EntryType::Regular | EntryType::Continuous => StoredKind::File,
            EntryType::Directory => StoredKind::Directory,
            EntryType::Symlink => StoredKind::Symlink,
            EntryType::Link => StoredKind::HardLink,
            EntryType::Fifo => StoredKind::Fifo,
            EntryType::Char => StoredKind::CharDevice,
            EntryType::Block => StoredKind::BlockDevice,
            EntryType::GNUSparse => return Err(sparse(at, &name)),
            other => {
                return Err(damage(
                    at,
                    format!(
                        "'{}' is a member of type '{}', which voltar does not know",
                        printable(&name),
                        printable(&[other.as_byte()])
                    ),
                ));
            }
        };
        if ext.sparse {
            return Err(sparse(at, &name));
        }
        let size = match kind {
            StoredKind::File => ext.size.unwrap_or(size),
            // Some tars store the size of the linked file in a hard link's header, but no content follows.
            StoredKind::Directory
            | StoredKind::Symlink
            | StoredKind::HardLink
            | StoredKind::Fifo
            | StoredKind::CharDevice
            | StoredKind::BlockDevice => 0,
        };
        if size > i64::MAX as u64 - self.offset {
            return Err(damage(at, format!("'{}' claims {size} bytes", printable(&name))));
        }
        let mut device = (0, 0);
        if matches!(kind, StoredKind::CharDevice | StoredKind::BlockDevice) {
            let number = |field| {
                let value = read_field(at, "device number", gnu_field(header, field))?;
                u32::try_from(value).map_err(|_| damage(at, "a device number out of range"))
            };
            device = (number(Field::Major)?, number(Field::Minor)?);
        }
        let id = |own: Option<i64>, field, what| -> io::Result<u32> {
            let value = match own {
                Some(value) => value,
                None => read_field(at, what, gnu_field(header, field))?,
            };
            // For chown(2), 2^32 - 1 means "do not change", so no file can have this owner.
            u32::try_from(value)
                .ok()
                .filter(|&id| id != u32::MAX)
                .ok_or_else(|| damage(at, format!("'{}' has {what} {value}, which cannot exist", printable(&name))))
        };
        let metadata = Metadata {
            mode: u32::try_from(read_field(at, "mode", gnu_field(header, Field::Mode))? & 0o7777).unwrap_or_default(),
            uid: id(ext.uid, Field::Uid, "owner")?,
            gid: id(ext.gid, Field::Gid, "group")?,
            mtime: match ext.mtime {
                Some(mtime) => mtime,
                None => Timestamp { seconds: read_field(at, "time", gnu_field(header, Field::Mtime))?, nanoseconds: 0 },
            },
        };
        let link =
            ext.link.unwrap_or_else(|| header.link_name_bytes().map(std::borrow::Cow::into_owned).unwrap_or_default());
        self.content = size;
        self.padding = padding(size);
        Ok(Stored {
            name,
            link,
            kind,
            size,
            metadata,
            uname: ext.uname.unwrap_or_else(|| header.username_bytes().unwrap_or_default().to_vec()),
            gname: ext.gname.unwrap_or_else(|| header.groupname_bytes().unwrap_or_default().to_vec()),
            device,
            offset: at,
        })
    }

    /// Reads the next header; returns `None` at the end-of-archive marker.
    fn header(&mut self) -> io::Result<Option<Header>> {
        let at = self.offset;
        let mut header = Header::new_old();
        let got = self.read_up_to(header.as_mut_bytes())?;
        if got == 0 {
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
        if header.as_bytes().iter().all(|&b| b == 0) {
            return Ok(None);
        }
        if !checksum::is_right(header.as_bytes()) {
            return Err(damage(at, "no tar header where one should be (checksum mismatch)"));
        }
        Ok(Some(header))
    }

    fn long_name(&mut self, at: u64, size: u64) -> io::Result<Vec<u8>> {
        let mut name = self.small_content(at, size, "long name")?;
        if let Some(nul) = name.iter().position(|&b| b == 0) {
            name.truncate(nul);
        }
        Ok(name)
    }

    fn small_content(&mut self, at: u64, size: u64, what: &str) -> io::Result<Vec<u8>> {
        if size > LONGEST_NAME {
            return Err(damage(at, format!("a {what} of {size} bytes")));
        }
        let mut content = vec![0; size as usize + padding(size)];
        let got = self.read_up_to(&mut content)?;
        if got < content.len() {
            return Err(damage(at, format!("the archive ends in the middle of a {what}: it was cut off")));
        }
        content.truncate(size as usize);
        Ok(content)
    }

    fn skip_content(&mut self) -> io::Result<()> {
        let mut scratch = vec![0; if self.content > 0 { 64 << 10 } else { 0 }];
        while self.content > 0 {
            self.read_exactly_some(&mut scratch)?;
        }
        let mut padding = [0; BLOCK];
        let wanted = std::mem::take(&mut self.padding);
        if self.read_up_to(&mut padding[..wanted])? < wanted {
            return Err(self.cut_off());
        }
        Ok(())
    }

    fn read_exactly_some(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let want = usize::try_from(self.content).map_or(buf.len(), |left| left.min(buf.len()));
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
        self.content -= got as u64;
        Ok(got)
    }

    fn cut_off(&self) -> io::Error {
        damage(self.offset, "the archive ends in the middle of a member: it was cut off")
    }

    /// Reads everything after the first zero block, to the end of the stream.
    fn drain(&mut self) -> io::Result<()> {
        self.ended = true;
        let mut scratch = vec![0; 64 << 10];
        loop {
            let got = self.read_up_to(&mut scratch)?;
            if self.trailing > 0 || scratch[..got].iter().any(|&b| b != 0) {
                self.trailing += got as u64;
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
        self.read_exactly_some(buf)
    }
}

impl Extensions {
    /// Parses pax records, each `length key=value\n` (POSIX.1-2001, "pax Extended Header").
    fn read_pax(&mut self, mut records: &[u8]) -> Result<(), String> {
        // Some writers include the zero padding of the last block in the size.
        while !records.is_empty() && records.iter().any(|&b| b != 0) {
            let malformed = || "a malformed extended header".to_owned();
            let space = records.iter().position(|&b| b == b' ').ok_or_else(malformed)?;
            let length: usize =
                std::str::from_utf8(&records[..space]).ok().and_then(|n| n.parse().ok()).ok_or_else(malformed)?;
            if length <= space + 1 || length > records.len() {
                return Err(malformed());
            }
            let (record, rest) = records.split_at(length);
            let record = record[space + 1..].strip_suffix(b"\n").ok_or_else(malformed)?;
            let equals = record.iter().position(|&b| b == b'=').ok_or_else(malformed)?;
            self.set(&record[..equals], &record[equals + 1..])?;
            records = rest;
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let text = || std::str::from_utf8(value).unwrap_or_default();
        let bad = || format!("the extended header's {} is '{}'", printable(key), printable(value));
        // An empty value cancels what a global header set.
        let given = !value.is_empty();
        match key {
            b"path" => self.name = given.then(|| value.to_vec()),
            b"linkpath" => self.link = given.then(|| value.to_vec()),
            b"uname" => self.uname = given.then(|| value.to_vec()),
            b"gname" => self.gname = given.then(|| value.to_vec()),
            b"size" => self.size = if given { Some(text().parse().map_err(|_| bad())?) } else { None },
            b"uid" => self.uid = if given { Some(text().parse().map_err(|_| bad())?) } else { None },
            b"gid" => self.gid = if given { Some(text().parse().map_err(|_| bad())?) } else { None },
            b"mtime" => self.mtime = if given { Some(pax_time(text()).ok_or_else(bad)?) } else { None },
            key if key.starts_with(b"GNU.sparse.") => self.sparse = true,
            // Comments, charsets, atime, xattrs: GNU tar does not restore them by default.
            _ => {}
        }
        Ok(())
    }
}

/// Parses a decimal time, in seconds since 1970. `-1.5` is half a second before -1; as a `timespec` it is
/// -2 s + 500,000,000 ns.
fn pax_time(text: &str) -> Option<Timestamp> {
    let (integer, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = integer.parse().ok()?;
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits: String = fraction.chars().chain("000000000".chars()).take(9).collect();
    let nanoseconds: u32 = digits.parse().ok()?;
    if integer.starts_with('-') && nanoseconds > 0 {
        return Some(Timestamp { seconds: seconds.checked_sub(1)?, nanoseconds: 1_000_000_000 - nanoseconds });
    }
    Some(Timestamp { seconds, nanoseconds })
}

#[derive(Clone, Copy)]
enum Field {
    Mode,
    Uid,
    Gid,
    Size,
    Mtime,
    Major,
    Minor,
}

/// Returns a field that has the same offset in every tar format (device numbers: since ustar).
fn gnu_field(header: &Header, field: Field) -> &[u8] {
    let range = match field {
        Field::Mode => 100..108,
        Field::Uid => 108..116,
        Field::Gid => 116..124,
        Field::Size => 124..136,
        Field::Mtime => 136..148,
        Field::Major => 329..337,
        Field::Minor => 337..345,
    };
    header.as_bytes().get(range).unwrap_or_default()
}

fn read_field(at: u64, what: &str, field: &[u8]) -> io::Result<i64> {
    number::read(field).ok_or_else(|| damage(at, format!("unreadable {what} field '{}'", printable(field))))
}

fn sparse(at: u64, name: &[u8]) -> io::Error {
    damage(at, format!("'{}' is stored as a sparse member (tar -S), which voltar does not read", printable(name)))
}

fn damage(offset: u64, what: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, TarDamage { offset, what: what.into() })
}
