//! Compressed formats, coded in parallel: a [`Compressor`] is a `Write`, a [`Decompressor`] a `Read`.
//! What the bytes are is nothing to this module; it opens no files, and it prints nothing.
//!
//! `bzip2` holds that format, `chunked` gzip and zstd; `compress` and `decompress` choose between them. The order of
//! the blocks is kept by [`crate::ordered`].

mod bzip2;
mod chunked;
mod compress;
mod decompress;
mod format;
mod source;

pub use compress::Compressor;
pub use decompress::Decompressor;
pub use format::{Compression, Damage, Fault, Format, Level, Likeness, NotReadBack};
