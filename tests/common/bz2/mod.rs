//! An independent bzip2 encoder and decoder: a writer that can set every field of the format, a reader that
//! follows the description of the format, and the `bzip2` crate as a third decoder.
//!
//! The code is slow and simple on purpose, and shares nothing with the codec under test. The steps of the format,
//! each with its inverse, in the order of encoding: [`runs`] and [`randomise`], [`sort`], [`symbols`] over a
//! [`map`], [`code`]. [`block`] and [`stream`] assemble them, and [`reader`] parses them. [`any`] and [`planted`]
//! generate files, [`inputs`] generates contents, and [`agree`] compares the decoders.

pub mod agree;
pub mod any;
pub mod bits;
pub mod block;
pub mod checksum;
pub mod choices;
pub mod code;
pub mod inputs;
pub mod map;
pub mod oracle;
pub mod ours;
pub mod planted;
pub mod randomise;
pub mod reader;
pub mod runs;
pub mod sort;
pub mod stream;
pub mod symbols;

/// The block magic: the digits of π.
pub const BLOCK_MAGIC: u64 = 0x3141_5926_5359;

/// The end-of-stream magic: the digits of √π.
pub const END_MAGIC: u64 = 0x1772_4538_5090;

/// The length of both magics.
pub const MAGIC_BITS: usize = 48;

/// The number of symbols that share a selector.
pub const GROUP: usize = 50;

/// The length of the longest codeword.
pub const MAX_CODE_LENGTH: u8 = 20;

/// Returns the largest number of bytes in a block after the initial run-length encoding.
pub fn block_limit(level: u8) -> usize {
    100_000 * usize::from(level)
}
