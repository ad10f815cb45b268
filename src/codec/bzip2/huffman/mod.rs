//! The entropy stage: symbols into bits and back, through two to six tables of prefix codes, one of which is
//! chosen anew for each group of fifty symbols.

pub(super) mod decode;
pub(super) mod encode;
mod lengths;

/// Symbols that share a table.
pub(super) const GROUP: usize = 50;

/// Two symbols for runs, 255 ranks, one that ends the block.
pub(super) const MAX_SYMBOLS: usize = 258;

/// A block has at most so many tables.
pub(super) const MAX_TABLES: usize = 6;

/// The format's longest code, in bits.
pub(super) const MAX_LENGTH: u8 = 20;

/// What a table of codes has for each symbol: how many bits.
pub(super) type Lengths = [u8; MAX_SYMBOLS];
