//! The entropy stage: Huffman coding with two to six code tables, one of which is selected for each group of fifty
//! symbols.

pub(super) mod decode;
pub(super) mod encode;
mod lengths;

/// The number of symbols in a group, which are coded with the same table.
pub(super) const GROUP: usize = 50;

/// The maximum number of symbols: two for runs, 255 for ranks, and the end symbol.
pub(super) const MAX_SYMBOLS: usize = 258;

/// The maximum number of code tables of a block.
pub(super) const MAX_TABLES: usize = 6;

/// The maximum code length that the format allows, in bits.
pub(super) const MAX_LENGTH: u8 = 20;

/// A code table: the code length of each symbol, in bits.
pub(super) type Lengths = [u8; MAX_SYMBOLS];
