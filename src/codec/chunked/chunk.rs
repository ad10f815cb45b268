//! What is common to gzip members and Zstandard frames.

use std::io;

use crate::codec::format::Level;

/// How a format encodes and decodes its chunks.
pub(in crate::codec) struct Chunked {
    /// Input bytes of a chunk.
    pub(super) size: usize,
    /// The most bytes of an encoded chunk of so many bytes.
    pub(super) most: fn(usize) -> usize,
    pub(super) encode: fn(&[u8], Level) -> io::Result<Vec<u8>>,
    /// Finds a chunk at the start of bytes; `None` if not all of it is there, or it must be decoded as a stream.
    pub(super) whole: fn(&[u8]) -> Option<Whole>,
    /// Returns the content of a chunk that was found, if it is not damaged.
    pub(super) decode: fn(&[u8], usize) -> Option<Vec<u8>>,
    /// The same, by a decoder that shares no code with the encoder.
    pub(super) decode_independently: fn(&[u8], usize) -> Option<Vec<u8>>,
}

/// The lengths of a chunk in bytes, encoded and not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) length: usize,
    pub(super) content: usize,
}
