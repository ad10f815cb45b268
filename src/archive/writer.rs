//! Writes a tar stream exactly as `tar --sort=name --numeric-owner` (GNU tar 1.34, GNU format) does.
//! With pax headers before members that have what such a header cannot hold ([`TarWriter::with_pax_headers`]), other
//! programs still read the same stream. Its input is members and bytes, not files: the caller supplies exactly as many bytes as the header announces.

use std::io::{self, Write};

use tar::{EntryType, GnuHeader, Header};

use super::{BLOCK, RECORD, checksum, number, padding, pax};
use crate::limits::{self, Excess, LONGEST_RECORD};
use crate::member::{Kind, Member, RelPath};
use crate::pieces::WritePiece;

/// The name of the GNU tar member whose content is a name too long for a header.
const LONG_LINK: &[u8] = b"././@LongLink";

/// The latest time that a header of POSIX has a place for, in seconds since 1970: 11 octal digits.
const LATEST: i64 = 0o777_7777_7777;

/// The header of a name of 1 MiB. A stream that ends less than that after it is reported as cut off by every reader; GNU tar
/// takes one that ends between two members for complete.
pub(crate) const BROKEN_OFF: [u8; BLOCK] = {
    let mut block = [0; BLOCK];
    let fields: [(usize, &[u8]); 9] = [
        (0, LONG_LINK),
        (100, b"0000644\0"),
        (108, b"0000000\0"),
        (116, b"0000000\0"),
        (124, b"00004000000\0"),
        (136, b"00000000000\0"),
        (148, b"007765\0 "),
        (156, b"L"),
        (257, b"ustar  "),
    ];
    let mut field = 0;
    while field < fields.len() {
        let (at, bytes) = fields[field];
        let mut index = 0;
        while index < bytes.len() {
            block[at + index] = bytes[index];
            index += 1;
        }
        field += 1;
    }
    block
};

/// A writer of a tar stream. Nothing is written on drop: without [`TarWriter::finish`] the stream has no
/// end-of-archive marker, and [`TarReader`](super::reader::TarReader) reports it as cut off.
///
/// ```
/// use voltar::archive::writer::TarWriter;
/// use voltar::member::{Kind, Member, Metadata, RelPath};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut writer = TarWriter::new(Vec::new(), RelPath::parse(b"srv/www")?);
/// let metadata = Metadata { mode: 0o644, ..Metadata::default() };
/// let kind = Kind::File { size: 5 };
/// writer.member(&Member { path: RelPath::parse(b"index.html")?, kind, metadata })?;
/// writer.content(b"hello")?;
/// let (stream, length) = writer.finish()?;
/// assert!(stream.starts_with(b"srv/www/index.html\0"));
/// assert_eq!(length, 10_240);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TarWriter<W: Write> {
    inner: W,
    prefix: RelPath,
    pax_headers: bool,
    written: u64,
    owed: u64,
    padding: usize,
}

impl<W: Write> TarWriter<W> {
    /// Returns a writer to `inner` that puts `prefix` before the name of each member.
    pub fn new(inner: W, prefix: RelPath) -> Self {
        Self { inner, prefix, pax_headers: false, written: 0, owed: 0, padding: 0 }
    }

    /// Writes pax extended headers, for extended attributes and times with fractions of a second. Without them the stream is
    /// that of GNU tar's own format, which holds neither.
    #[must_use]
    pub fn with_pax_headers(mut self) -> Self {
        self.pax_headers = true;
        self
    }

    /// Returns the length of the stream so far, in bytes.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Returns the name of `member` in the archive: below the prefix, with a trailing slash for a directory.
    pub fn stored_name(&self, member: &Member) -> Vec<u8> {
        let mut name = self.prefix.concat(&member.path).as_bytes().to_vec();
        if matches!(member.kind, Kind::Directory) {
            name.push(b'/');
        }
        name
    }

    /// Returns the limit that `member` exceeds in the archive: a reader would leave it out.
    pub fn excess(&self, member: &Member) -> Option<Excess> {
        let of_link = match &member.kind {
            Kind::Symlink { target } => limits::target_excess(target),
            Kind::HardLink { target } => limits::excess(&self.prefix.concat(target)),
            Kind::File { .. } | Kind::Directory | Kind::Fifo | Kind::CharDevice { .. } | Kind::BlockDevice { .. } => {
                None
            }
        };
        of_link.or_else(|| limits::excess(&self.prefix.concat(&member.path)))
    }

    /// Writes a member's header. The content of a file is then written with [`TarWriter::content`].
    ///
    /// # Errors
    /// Those of the inner writer, and `InvalidInput` if the content of the previous member is incomplete, or if the member
    /// or its extended attributes are beyond a limit of [`limits`].
    pub fn member(&mut self, member: &Member) -> io::Result<()> {
        if self.owed > 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the previous member's content is incomplete"));
        }
        if let Some(excess) = self.excess(member) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("'{}' has {excess}", member.path)));
        }
        let name = self.stored_name(member);
        let (entry_type, size, link, device) = match &member.kind {
            Kind::File { size } => (EntryType::Regular, *size, None, None),
            Kind::Directory => (EntryType::Directory, 0, None, None),
            Kind::Symlink { target } => (EntryType::Symlink, 0, Some(target.clone()), None),
            Kind::HardLink { target } => {
                (EntryType::Link, 0, Some(self.prefix.concat(target).as_bytes().to_vec()), None)
            }
            Kind::Fifo => (EntryType::Fifo, 0, None, None),
            Kind::CharDevice { major, minor } => (EntryType::Char, 0, None, Some((*major, *minor))),
            Kind::BlockDevice { major, minor } => (EntryType::Block, 0, None, Some((*major, *minor))),
        };
        if self.pax_headers {
            self.pax_header(member)?;
        }
        // GNU tar writes the long link target before the long name.
        if let Some(link) = &link {
            self.long_name(EntryType::GNULongLink, link)?;
        }
        self.long_name(EntryType::GNULongName, &name)?;

        let mut header = Header::new_gnu();
        header.set_entry_type(entry_type);
        let fields = gnu(&mut header)?;
        copy_name(&mut fields.name, &name);
        number::write(&mut fields.mode, i64::from(member.metadata.mode & 0o7777));
        number::write(&mut fields.uid, i64::from(member.metadata.uid));
        number::write(&mut fields.gid, i64::from(member.metadata.gid));
        number::write(&mut fields.size, i64::try_from(size).map_err(io::Error::other)?);
        number::write(&mut fields.mtime, member.metadata.mtime.seconds);
        if let Some(link) = &link {
            copy_name(&mut fields.linkname, link);
        }
        if let Some((major, minor)) = device {
            number::write(&mut fields.dev_major, i64::from(major));
            number::write(&mut fields.dev_minor, i64::from(minor));
        }
        // First, so that the content is owed also if writing the header fails halfway.
        self.owed = size;
        self.padding = padding(size);
        self.header(&mut header)?;
        self.pad_when_complete()
    }

    /// Writes the next bytes of the current file's content.
    ///
    /// # Errors
    /// Those of the inner writer, and `InvalidInput` for more bytes than the header announced.
    pub fn content(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.owe_less(bytes.len() as u64)?;
        self.put(bytes)?;
        self.pad_when_complete()
    }

    /// Writes the next bytes of the current file's content, which the inner writer may keep without a copy.
    ///
    /// # Errors
    /// The same as those of [`TarWriter::content`].
    pub fn piece(&mut self, piece: Vec<u8>) -> io::Result<()>
    where
        W: WritePiece,
    {
        let length = piece.len() as u64;
        self.owe_less(length)?;
        self.inner.write_piece(piece)?;
        self.written += length;
        self.pad_when_complete()
    }

    /// Returns the number of bytes still missing from the content of the current file.
    pub fn owed(&self) -> u64 {
        self.owed
    }

    /// Writes the end-of-archive marker (two zero blocks), fills the last record, and returns the inner writer and
    /// the stream's length in bytes.
    ///
    /// # Errors
    /// Those of the inner writer, and `InvalidInput` if the content of the last member is incomplete.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        if self.owed > 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the last member's content is incomplete"));
        }
        self.put(&[0; 2 * BLOCK])?;
        let rest = (self.written % RECORD as u64) as usize;
        if rest > 0 {
            self.put(&vec![0; RECORD - rest])?;
        }
        Ok((self.inner, self.written))
    }

    /// Writes what the header of the member cannot hold.
    fn pax_header(&mut self, member: &Member) -> io::Result<()> {
        let records = pax::records(&member.metadata);
        if records.is_empty() {
            return Ok(());
        }
        let size = records.len() as u64;
        if size > LONGEST_RECORD {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "more extended attributes than an archive holds"));
        }
        let mut header = Header::new_ustar();
        header.set_entry_type(EntryType::XHeader);
        let block = header.as_mut_bytes();
        copy_name(&mut block[..100], &pax::header_name(&self.prefix.concat(&member.path)));
        for (field, value) in [
            (100..108, 0o644),
            (108..116, 0),
            (116..124, 0),
            (124..136, i64::try_from(size).map_err(io::Error::other)?),
            // The real one may be a negative number, for which this format has no place.
            (136..148, member.metadata.mtime.seconds.clamp(0, LATEST)),
        ] {
            number::write(&mut block[field], value);
        }
        self.header(&mut header)?;
        self.put(&records)?;
        self.put(&[0; BLOCK][..padding(size)])
    }

    fn long_name(&mut self, entry_type: EntryType, name: &[u8]) -> io::Result<()> {
        let mut header = Header::new_gnu();
        header.set_entry_type(entry_type);
        let fields = gnu(&mut header)?;
        if name.len() <= fields.name.len() {
            return Ok(());
        }
        let size = name.len() as u64 + 1;
        copy_name(&mut fields.name, LONG_LINK);
        number::write(&mut fields.mode, 0o644);
        number::write(&mut fields.uid, 0);
        number::write(&mut fields.gid, 0);
        number::write(&mut fields.size, i64::try_from(size).map_err(io::Error::other)?);
        number::write(&mut fields.mtime, 0);
        self.header(&mut header)?;
        self.put(name)?;
        self.put(&[0])?;
        self.put(&[0; BLOCK][..padding(size)])
    }

    fn header(&mut self, header: &mut Header) -> io::Result<()> {
        let sum = checksum::of(header.as_bytes(), i64::from);
        // Six octal digits, NUL, space: the checksum field is terminated unlike the other numbers.
        let (digits, end) = header.as_mut_bytes()[148..156].split_at_mut(7);
        number::write(digits, sum);
        end.fill(b' ');
        self.put(header.as_bytes())
    }

    fn owe_less(&mut self, bytes: u64) -> io::Result<()> {
        let less = self.owed.checked_sub(bytes);
        let announced = || io::Error::new(io::ErrorKind::InvalidInput, "more content than the header announced");
        self.owed = less.ok_or_else(announced)?;
        Ok(())
    }

    fn pad_when_complete(&mut self) -> io::Result<()> {
        if self.owed == 0 {
            let padding = std::mem::take(&mut self.padding);
            self.put(&[0; BLOCK][..padding])?;
        }
        Ok(())
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}

/// Returns the GNU fields of `header`. Never fails for one made by `Header::new_gnu`, but the types do not show that.
fn gnu(header: &mut Header) -> io::Result<&mut GnuHeader> {
    header.as_gnu_mut().ok_or_else(|| io::Error::other("not a GNU header"))
}

/// Copies `name` into `field`. A name may fill the field to the last byte, without a final NUL. A longer name is
/// truncated: the complete name is in the preceding long-name member.
fn copy_name(field: &mut [u8], name: &[u8]) {
    for (slot, &byte) in field.iter_mut().zip(name) {
        *slot = byte;
    }
}
