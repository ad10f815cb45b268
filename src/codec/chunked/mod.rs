//! gzip and zstd. They are written as members and frames of equal size, which are encoded in parallel, and read one
//! after the other.

mod reader;
mod writer;

pub(super) use reader::Reader;
pub(super) use writer::{GZIP, Writer, ZSTD};
