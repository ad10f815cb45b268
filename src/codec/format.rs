//! The compressed formats as values: their names, their detection by the first bytes of a file, and the faults of a
//! damaged file. This module neither compresses nor decompresses.

use std::fmt;
use std::io;

use super::foreign::Foreign;

/// The format of an archive file: how the tar archive in it is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Format {
    /// bzip2, as `tar -j` writes it.
    #[default]
    Bzip2,
    /// gzip, as `tar -z` writes it.
    Gzip,
    /// Zstandard, as `tar --zstd` writes it.
    Zstd,
    /// An uncompressed tar archive.
    Plain,
}

impl Format {
    /// All formats.
    pub const ALL: [Self; 4] = [Self::Bzip2, Self::Gzip, Self::Zstd, Self::Plain];

    /// The number of bytes at the start of a file that [`Format::detect`] is given, or all if the file is shorter.
    pub const DETECT_BYTES: usize = 512;

    /// Returns the suffix of an archive's file name, without its first dot.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Bzip2 => "tar.bz2",
            Self::Gzip => "tar.gz",
            Self::Zstd => "tar.zst",
            Self::Plain => "tar",
        }
    }

    /// Returns the format of this name, as it is displayed: `bz2`, `gz`, `zst` or `tar`.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.to_string() == name)
    }

    /// Returns bytes after which no reader takes a stream of this format for complete: the beginning of one more header.
    #[must_use]
    pub(crate) const fn broken_off(self) -> &'static [u8] {
        match self {
            Self::Bzip2 => b"BZh",
            Self::Gzip => &[0x1f, 0x8b, 8],
            Self::Zstd => &[0x28, 0xb5, 0x2f],
            Self::Plain => &[],
        }
    }

    /// Detects the format of a file by its first [`Format::DETECT_BYTES`] bytes, without regard to its name. `plain`
    /// states whether the bytes look like content that is not compressed.
    #[must_use]
    pub fn detect(first_bytes: &[u8], plain: impl Fn(&[u8]) -> Likeness) -> Option<Self> {
        match plain(first_bytes) {
            Likeness::Certain => Some(Self::Plain),
            Likeness::Possible => Some(Self::of_magic(first_bytes).unwrap_or(Self::Plain)),
            Likeness::None => Self::of_magic(first_bytes),
        }
    }

    /// Returns the compressed format whose magic these bytes begin with.
    pub(super) fn of_magic(first_bytes: &[u8]) -> Option<Self> {
        match first_bytes {
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Some(Self::Bzip2),
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            // A frame, or a skippable frame.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// How much the first bytes of a file look like content that is not compressed.
///
/// The caller of [`Format::detect`] knows what it stores without compression, for example tar archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Likeness {
    /// A proof, such as a valid checksum. It counts more than the magic of a compressed format.
    Certain,
    /// A weak indication, which counts if the file has no magic of a compressed format.
    Possible,
    /// No indication.
    None,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bzip2 => "bz2",
            Self::Gzip => "gz",
            Self::Zstd => "zst",
            Self::Plain => "tar",
        })
    }
}

/// A compression level, a number with the meaning that the format's own tool gives it: more is slower and smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Level(u8);

impl Level {
    /// The highest level of any format.
    pub const MAX: u8 = 19;

    /// Returns the level of this number, if any format has it.
    #[must_use]
    pub const fn new(number: u8) -> Option<Self> {
        match number {
            1..=Self::MAX => Some(Self(number)),
            _ => None,
        }
    }

    /// Returns the number of the level.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Format {
    /// Returns the highest level of this format, as its own tool has it; 1 is the lowest. It has no meaning where nothing is
    /// compressed.
    #[must_use]
    pub const fn highest_level(self) -> Level {
        Level(match self {
            Self::Bzip2 | Self::Gzip => 9,
            Self::Zstd | Self::Plain => Level::MAX,
        })
    }

    /// Returns the level that the format's own tool has without an option.
    #[must_use]
    pub const fn default_level(self) -> Level {
        Level(match self {
            Self::Bzip2 => 9,
            Self::Gzip => 6,
            Self::Zstd | Self::Plain => 3,
        })
    }
}

/// The parameters of a [`Compressor`](super::Compressor).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compression {
    format: Format,
    level: Level,
    checked: bool,
}

impl Compression {
    /// Returns a compression that is not checked, at the default level of the format if `level` is `None`.
    ///
    /// # Errors
    /// The format does not have this level.
    pub fn new(format: Format, level: Option<Level>) -> Result<Self, NoSuchLevel> {
        let level = level.unwrap_or(format.default_level());
        if level > format.highest_level() {
            return Err(NoSuchLevel { format, level });
        }
        Ok(Self { format, level, checked: false })
    }

    /// Returns a compression of which each block is decompressed, by a decoder that shares no code with the encoder, before
    /// it is written, if `checked`.
    #[must_use]
    pub const fn checked(self, checked: bool) -> Self {
        Self { checked, ..self }
    }

    /// Returns the format of the file.
    #[must_use]
    pub const fn format(self) -> Format {
        self.format
    }

    /// Returns the compression level.
    #[must_use]
    pub const fn level(self) -> Level {
        self.level
    }

    pub(super) const fn is_checked(self) -> bool {
        self.checked
    }
}

impl From<Format> for Compression {
    fn from(format: Format) -> Self {
        Self { format, level: format.default_level(), checked: false }
    }
}

/// The error if a format does not have a level.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoSuchLevel {
    format: Format,
    level: Level,
}

impl fmt::Display for NoSuchLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { format, level } = self;
        write!(f, "{format} has the levels 1 to {}, not {level}", format.highest_level())
    }
}

impl std::error::Error for NoSuchLevel {}

/// The error if a compressed file is damaged or cut short. It is the inner error of an [`io::Error`] of kind
/// [`io::ErrorKind::InvalidData`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The offset in the compressed file of the first byte of the faulty block or magic; if the file is cut short, its
    /// length. Everything before a damaged block has been returned.
    pub offset: u64,
    /// The fault at this offset.
    pub what: Fault,
}

/// A fault of a compressed file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The file is empty.
    Empty,
    /// The first bytes are those of no supported format.
    Unknown,
    /// The first bytes are those of a format that is not read.
    Foreign(Foreign),
    /// The file refers back to more bytes than this machine may keep in memory.
    Window {
        /// What the file states, in bytes, if its decoder says so.
        needed: Option<u64>,
        /// What is kept at most, in bytes.
        limit: u64,
    },
    /// The file ends within the header of a stream.
    EndsInHeader,
    /// The file ends within a compressed block.
    EndsInBlock,
    /// The file ends after a complete block, and the end-of-stream magic or the checksum after it is missing or
    /// incomplete.
    EndsBeforeMagic,
    /// A block cannot be decoded, or its checksum is wrong.
    Block,
    /// There is neither a block magic nor an end-of-stream magic where one must be.
    NoBlock,
    /// The checksums of all blocks are right, but that of the stream is wrong: blocks are missing or out of order.
    StreamChecksum,
    /// The message of the gzip, zstd or xz decoder.
    Other(String),
}

impl Damage {
    pub(super) fn error(offset: u64, what: Fault) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, Self { offset, what })
    }

    /// Returns the error of the decoder of another crate, which has read the file up to `offset`.
    pub(super) fn of_decoder(offset: u64, error: &io::Error) -> io::Error {
        let ends = error.kind() == io::ErrorKind::UnexpectedEof;
        Self::error(offset, if ends { Fault::EndsInBlock } else { Fault::Other(error.to_string()) })
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.what {
            what @ (Fault::Empty | Fault::Unknown | Fault::Foreign(_) | Fault::Window { .. }) => write!(f, "{what}"),
            what @ (Fault::EndsInHeader | Fault::EndsInBlock | Fault::EndsBeforeMagic) => {
                write!(f, "cut short after {} bytes: {what}", self.offset)
            }
            what @ (Fault::Block | Fault::NoBlock | Fault::StreamChecksum | Fault::Other(_)) => {
                write!(f, "damaged at byte {}: {what}", self.offset)
            }
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the file is empty",
            Self::Unknown => "the file is neither bzip2, gzip, zstd, xz nor tar",
            Self::Foreign(format) => return write!(f, "its format is {format}, which is not read"),
            Self::Window { needed, limit } => {
                let mebibytes = |bytes: u64| bytes.div_ceil(1 << 20);
                let needed = needed.map_or("more".to_owned(), |needed| format!("{} MiB", mebibytes(needed)));
                return write!(
                    f,
                    "its decompression takes {needed} of memory, and at most {} MiB are used on this machine",
                    mebibytes(*limit)
                );
            }
            Self::EndsInHeader => "the file ends in the middle of a header",
            Self::EndsInBlock => "the file ends in the middle of a block",
            Self::EndsBeforeMagic => "the file ends before its end-of-stream magic is complete",
            Self::Block => "a block cannot be decoded, or its checksum is wrong",
            Self::NoBlock => "neither a block magic nor an end-of-stream magic where one must be",
            Self::StreamChecksum => "the checksum of the stream is wrong: blocks are missing or out of order",
            Self::Other(what) => what,
        })
    }
}

impl std::error::Error for Damage {}

/// The error if a block that was just compressed does not decompress to its input.
#[derive(Debug)]
pub struct NotReadBack;

impl fmt::Display for NotReadBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a block that was just compressed does not decompress to its input")
    }
}

impl std::error::Error for NotReadBack {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_format_is_detected_by_its_magic() {
        assert_eq!(Format::of_magic(b"BZh91AY&SY"), Some(Format::Bzip2));
        assert_eq!(Format::of_magic(b"BZh0"), None);
        assert_eq!(Format::of_magic(b"\x1f\x8b\x08"), Some(Format::Gzip));
        assert_eq!(Format::of_magic(b"\x28\xb5\x2f\xfd"), Some(Format::Zstd));
        assert_eq!(Format::of_magic(b"\x5e\x2a\x4d\x18"), Some(Format::Zstd));
        assert_eq!(Format::of_magic(b""), None);
        assert_eq!(Format::of_magic(b"#!/bin/sh\n"), None);
    }

    #[test]
    fn a_magic_counts_less_than_proof_and_more_than_an_indication() {
        let detect = |bytes: &[u8], plain| Format::detect(bytes, |_| plain);
        assert_eq!(detect(b"BZh9/", Likeness::Certain), Some(Format::Plain));
        assert_eq!(detect(b"BZh9/", Likeness::Possible), Some(Format::Bzip2));
        assert_eq!(detect(b"home/", Likeness::Possible), Some(Format::Plain));
        assert_eq!(detect(b"home/", Likeness::None), None);
    }

    #[test]
    fn the_name_of_a_format_ends_its_suffix() {
        for format in [Format::Bzip2, Format::Gzip, Format::Zstd, Format::Plain] {
            assert!(format.extension().ends_with(&format.to_string()));
        }
    }

    #[test]
    fn each_format_has_the_levels_of_its_tool() {
        let highest = |format| {
            (1..=u8::MAX).filter(move |&n| Level::new(n).is_some_and(|n| Compression::new(format, Some(n)).is_ok()))
        };
        assert_eq!(Level::new(0), None);
        for (format, last, default) in [(Format::Bzip2, 9, 9), (Format::Gzip, 9, 6), (Format::Zstd, 19, 3)] {
            assert!(highest(format).eq(1..=last), "{format}");
            assert_eq!(Compression::from(format).level().get(), default, "{format}");
        }
        let error = Compression::new(Format::Gzip, Level::new(10)).unwrap_err();
        assert_eq!(error.to_string(), "gz has the levels 1 to 9, not 10");
    }

    #[test]
    fn damage_is_displayed_in_one_line() {
        let text = |what| Damage { offset: 7, what }.to_string();
        assert_eq!(text(Fault::Block), "damaged at byte 7: a block cannot be decoded, or its checksum is wrong");
        assert_eq!(text(Fault::EndsInBlock), "cut short after 7 bytes: the file ends in the middle of a block");
        assert_eq!(text(Fault::Empty), "the file is empty");
    }
}
