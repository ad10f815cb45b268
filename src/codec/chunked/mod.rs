//! gzip and Zstandard. Input is cut into chunks of equal size, each of which is encoded independently, in parallel, as a gzip
//! member (RFC 1952) or a Zstandard frame (RFC 8878). In both formats, a concatenation of complete files is a file again.
//!
//! Chunks of a file that was written so are decoded in parallel too. Those of other files are decoded one after the other, as
//! where they end is known only then; a long gzip member itself is decoded in parallel, by `inflate`.

mod ahead;
mod chunk;
mod gathered;
mod gzip;
mod member;
mod reader;
mod writer;
mod zstd;

pub(super) use gzip::GZIP;
pub(super) use reader::Reader;
pub(super) use writer::Writer;
pub(super) use zstd::ZSTD;
