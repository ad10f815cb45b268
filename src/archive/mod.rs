//! Tar members as values: written as GNU tar writes them, read in all common formats, and moved below the
//! root of their tree. No paths of the host and no threads here; the `tar` crate supplies the header's layout.

pub mod checksum;
pub mod listing;
pub mod number;
pub mod reader;
pub mod strip;
pub mod writer;

/// The unit of a tar stream, in bytes.
pub const BLOCK: usize = 512;

/// GNU tar's record: it pads the stream to a multiple of this many bytes.
pub const RECORD: usize = 20 * BLOCK;

/// How many bytes follow content of `size` bytes up to the next block.
#[must_use]
pub fn padding(size: u64) -> usize {
    const UNIT: u64 = BLOCK as u64;
    ((UNIT - size % UNIT) % UNIT) as usize
}

#[cfg(test)]
mod tests;
