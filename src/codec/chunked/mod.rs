//! gzip and zstd. Input is cut into chunks of equal size, which are encoded in parallel as gzip members or zstd frames.
//! Reading is sequential.

mod reader;
mod writer;

pub(super) use reader::Reader;
pub(super) use writer::{GZIP, Writer, ZSTD};
