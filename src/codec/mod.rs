//! Compressed formats, coded in parallel: a [`Compressor`] is a `Write`, a [`Decompressor`] a `Read`.
//! What the bytes are is nothing to this module; it opens no files, and it prints nothing.
//!
//! bzip2 is coded block by block: `rle` cuts the input where bzip2 would, `block` turns one block into
//! bits and back, `bits` splices them and finds the marks between them. The order is kept by
//! [`crate::ordered`], which `compress` and `bunzip` feed. gzip and zstd are written by `chunks` as members
//! and frames of equal size, and read by `members` one after the other.

mod bits;
mod block;
mod bunzip;
mod bwt;
mod chunks;
mod compress;
mod cpu;
mod crc;
mod decode;
mod decompress;
mod encode;
mod finder;
mod format;
mod huffman;
mod members;
mod mtf;
mod random;
mod rle;
mod source;

pub use compress::Compressor;
pub use decompress::Decompressor;
pub use format::{Compression, Damage, Fault, Format, Level, NotReadBack};
