//! Compressed formats, encoded and decoded in parallel. A [`Compressor`] implements `Write`, a [`Decompressor`] `Read`.
//! This module does not interpret the content, opens no files and prints nothing.
//!
//! `bzip2` implements the format of that name, `chunked` gzip and zstd with the encoders of crates and of `deflate`, and the
//! decoder `inflate`. xz is
//! read only. `independent` reads by other libraries than those that compress. `compress` and `decompress` dispatch to them. [`crate::ordered`] keeps the blocks in order.

mod bzip2;
mod chunked;
mod compress;
mod decompress;
pub(crate) mod deflate;
mod foreign;
mod format;
mod independent;
pub(crate) mod inflate;
mod next;
mod plain;
mod prefix_code;
mod source;
mod window;
mod xz;

pub use compress::Compressor;
pub use decompress::Decompressor;
pub use foreign::Foreign;
pub use format::{Compression, Damage, Fault, Format, Level, Likeness, NoSuchLevel, NotReadBack};
