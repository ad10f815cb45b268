//! Tar members as values: written as GNU tar writes them, read in all common formats, and made relative to the
//! root of their tree. This module uses no host paths and no threads; the `tar` crate supplies the header's layout.

pub mod checksum;
pub mod listing;
pub mod number;
mod pax;
pub mod reader;
pub mod strip;
pub mod writer;

pub(crate) use pax::record_length as xattr_record_length;

/// The block size of a tar stream, in bytes.
pub const BLOCK: usize = 512;

/// The record size of GNU tar, in bytes: the stream is padded to a multiple of it.
pub const RECORD: usize = 20 * BLOCK;

/// Returns the number of padding bytes between content of `size` bytes and the next block.
#[must_use]
pub fn padding(size: u64) -> usize {
    const UNIT: u64 = BLOCK as u64;
    ((UNIT - size % UNIT) % UNIT) as usize
}

#[cfg(test)]
mod tests;
