//! The bytes of one archive file: decompressed, until the run is cancelled, with errors that name the file.

use std::io::{self, Read};

use crate::archive::checksum;
use crate::codec::{Damage, Decompressor, Fault, Likeness};
use crate::error::{Error, ErrorKind, carried};
use crate::member::quotable;
use crate::monitor::Monitor;
use crate::ordered::Pool;
use crate::store::{Location, Reader};

/// What decompresses a file.
#[derive(Clone)]
pub(super) enum Decoding {
    /// The fastest decoders, on the threads of a pool.
    Parallel(Pool),
    /// Those that share no code with what compresses.
    Independent,
}

impl Decoding {
    pub(super) fn decompressor<'m>(&self, reader: Reader<'m>) -> io::Result<Decompressor<Reader<'m>>> {
        match self {
            Self::Parallel(pool) => Decompressor::with_plain(reader, tar_likeness, pool),
            Self::Independent => Decompressor::independent(reader, tar_likeness),
        }
    }
}

/// The tar stream. Reading ends once the run is cancelled, also where a file of a few bytes decompresses to a stream that takes
/// hours to skip.
pub(super) struct Interruptible<'a> {
    pub(super) decompressor: Decompressor<Reader<'a>>,
    pub(super) monitor: &'a dyn Monitor,
}

impl Read for Interruptible<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.monitor.check_cancelled()?;
        self.decompressor.read(buf)
    }
}

/// Returns the command that unpacks a file which is not damaged but cannot be read here; it lacks the name of the file.
fn unpacked_by(e: &io::Error) -> Option<&'static str> {
    match carried::<Damage>(e)?.what {
        Fault::Foreign(format) => Some(format.command()),
        Fault::Window { needed: Some(_), .. } => Some("zstd -dk --long=31"),
        Fault::Window { needed: None, .. } => Some("xz -dk"),
        _ => None,
    }
}

/// Returns the error of a file that no decoder can read.
pub(super) fn not_read(location: &Location, e: &io::Error) -> Error {
    let error = located(location, e, None);
    match location.foreign_program() {
        Some(program) if error.kind() != ErrorKind::Unsupported => {
            error.hint(format!("decompress it first: `{program} -dk {location}`"))
        }
        _ => error,
    }
}

/// Converts an error of a stream: adds the archive and the last complete member.
pub(super) fn located(location: &Location, e: &io::Error, last_complete: Option<&[u8]>) -> Error {
    // A wrapped error of this crate keeps its own message.
    if let Some(inner) = carried::<Error>(e) {
        return inner.clone();
    }
    if let Some(command) = unpacked_by(e) {
        let error = Error::new(ErrorKind::Unsupported, format!("'{location}': {e}"));
        return error.hint(format!("unpack it first: `{command} {location}`"));
    }
    if !matches!(e.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof) {
        return Error::failed_at("cannot read", location.path(), e);
    }
    let last_complete = match last_complete {
        Some(name) => format!("; the last complete member is '{}'", quotable(name)),
        None => String::new(),
    };
    Error::new(ErrorKind::Damaged, format!("'{location}': {e}{last_complete}"))
}

/// Returns how likely the first bytes of a file are those of an uncompressed tar archive.
///
/// A tar archive begins with a file name, which can begin with the magic of a compression format; and a compressed file
/// can have tar's magic at the right offset by chance. The checksum of the header decides.
#[must_use]
pub fn tar_likeness(first_bytes: &[u8]) -> Likeness {
    let Some(block) = first_bytes.first_chunk() else { return Likeness::None };
    // Nothing else tells the oldest format, which has no magic.
    if checksum::is_right(block) {
        Likeness::Certain
    } else if block[257..262] == *b"ustar" || block.iter().all(|&byte| byte == 0) {
        // A damaged header, or an archive without members, which has only the end-of-archive marker.
        Likeness::Possible
    } else {
        Likeness::None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Format;

    #[test]
    fn a_tar_archive_whose_first_name_begins_like_a_compressed_file_is_plain() {
        let mut header = [0; 512];
        assert_eq!(tar_likeness(&header), Likeness::Possible);
        assert_eq!(tar_likeness(&header[..511]), Likeness::None);
        assert_eq!(tar_likeness(b""), Likeness::None);
        let detect = |header: &[u8]| Format::detect(header, tar_likeness);
        header[..5].copy_from_slice(b"BZh9/");
        header[257..262].copy_from_slice(b"ustar");
        // A compressed file with the magic of tar at the right offset, as found by a fuzzer.
        assert_eq!(detect(&header), Some(Format::Bzip2));
        header[148..156].copy_from_slice(b"002233\0 ");
        assert_eq!(detect(&header), Some(Format::Plain));
        let mut oldest = header;
        oldest[257..262].fill(0);
        oldest[148..156].copy_from_slice(b"001154\0 ");
        assert_eq!(detect(&oldest), Some(Format::Plain));
        // A damaged tar header, since it has no other magic.
        header[..5].copy_from_slice(b"home/");
        assert_eq!(detect(&header), Some(Format::Plain));
    }
}
