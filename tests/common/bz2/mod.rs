//! bzip2 files made by hand and read by hand: a writer in which every field of the format can be chosen, a
//! reader that does what the format says and nothing else, and the `bzip2` crate as a third decoder.
//!
//! All of it is slow and plain on purpose, and shares nothing with the codec under test. The steps of the
//! format, each with its inverse, in the order of writing: [`runs`] and [`randomise`], [`sort`], [`symbols`]
//! over a [`map`], [`code`]. [`block`] and [`stream`] put them together and [`reader`] takes them apart.
//! [`any`] and [`planted`] make files out of chance, [`inputs`] makes what is worth compressing, and [`agree`]
//! is the question all of this is for.

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

/// A block begins: π in decimal digits.
pub const BLOCK_MAGIC: u64 = 0x3141_5926_5359;

/// The stream ends: √π.
pub const END_MAGIC: u64 = 0x1772_4538_5090;

/// Both magics have as many bits.
pub const MAGIC_BITS: usize = 48;

/// How many symbols one selector is for.
pub const GROUP: usize = 50;

/// The longest codeword that a code may have.
pub const MAX_LENGTH: u8 = 20;

/// How many bytes a block may hold behind the first run-length stage.
pub fn block_limit(level: u8) -> usize {
    100_000 * usize::from(level)
}
