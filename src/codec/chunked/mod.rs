//! gzip and Zstandard. Input is cut into chunks of equal size, each of which is encoded independently, in parallel, as a gzip
//! member (RFC 1952) or a Zstandard frame (RFC 8878). In both formats, a concatenation of complete files is a file again.
//!
//! Chunks of a file that was written so are decoded in parallel too. Those of other files are decoded one after the other, as
//! where they end is known only then.

mod ahead;
mod gzip;
mod reader;
mod writer;
mod zstd;

pub(super) use reader::Reader;
pub(super) use writer::Writer;

use std::io;

use super::format::Level;

/// How a format encodes and decodes its chunks.
pub(super) struct Chunked {
    /// Input bytes of a chunk.
    size: usize,
    /// The most bytes of an encoded chunk of so many bytes.
    most: fn(usize) -> usize,
    encode: fn(&[u8], Level) -> io::Result<Vec<u8>>,
    /// Finds a chunk at the start of bytes; `None` if not all of it is there, or it must be decoded as a stream.
    whole: fn(&[u8]) -> Option<Whole>,
    /// Returns the content of a chunk that was found, if it is not damaged.
    decode: fn(&[u8], usize) -> Option<Vec<u8>>,
    /// The same, by a decoder that shares no code with the encoder.
    decode_independently: fn(&[u8], usize) -> Option<Vec<u8>>,
}

/// The lengths of a chunk in bytes, encoded and not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Whole {
    length: usize,
    content: usize,
}

pub(super) const GZIP: Chunked = Chunked {
    size: gzip::CHUNK,
    most: gzip::most,
    encode: gzip::encode,
    whole: gzip::whole,
    decode: gzip::decode,
    decode_independently: gzip::decode,
};

pub(super) const ZSTD: Chunked = Chunked {
    size: zstd::CHUNK,
    most: zstd::most,
    encode: zstd::encode,
    whole: zstd::whole,
    decode: zstd::decode,
    decode_independently: zstd::decode_independently,
};
