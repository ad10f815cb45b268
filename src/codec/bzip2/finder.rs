//! Proposes candidates for the blocks of a bzip2 file, by the magics in it. A magic can also occur within a block, by
//! chance or by design, so `reader` must confirm each candidate.

use std::io::Read;

use super::bits::{self, MAGIC_BITS, Magic};
use super::block;
use super::block_size::BlockSize;
use crate::codec::source::Source;

/// The bits from one magic to the next one, or to the end of the file. Offsets are in bits.
pub(super) struct Candidate {
    pub(super) magic: Magic,
    pub(super) start: u64,
    pub(super) end: u64,
    /// The block size in the last stream header. The header can be false, too.
    pub(super) block_size: BlockSize,
}

impl Candidate {
    /// Returns whether the candidate can be a block, by its magic and its length.
    pub(super) fn may_be_block(&self) -> bool {
        let limits = block::MIN_BITS as u64..=block::MAX_BYTES as u64 * 8;
        self.magic == Magic::Block && limits.contains(&(self.end - self.start))
    }
}

/// Searches for magics in a file.
pub(super) struct Finder<R> {
    pub(super) source: Source<R>,
    /// The last magic found, the bit at which it begins, and the block size there. The end of this candidate is not yet
    /// known.
    open: Option<(Magic, u64, BlockSize)>,
    /// All magics that begin before this bit have been found.
    scanned: u64,
    block_size: BlockSize,
    done: bool,
}

impl<R: Read> Finder<R> {
    /// Returns a finder that begins at the window of `source`.
    pub(super) fn new(source: Source<R>, block_size: BlockSize) -> Self {
        Self { source, open: None, scanned: 0, block_size, done: false }
    }

    /// Returns the next candidate. Returns `None` at the end of the file, and where the last magic is so far back that
    /// there can be no further block.
    pub(super) fn next(&mut self) -> Option<Candidate> {
        while !self.done {
            let base = self.source.offset() * 8;
            // The reader has confirmed and skipped everything before the window, perhaps without a candidate.
            self.scanned = self.scanned.max(base);
            self.open.take_if(|(_, start, _)| *start < base);

            let window = self.source.window();
            if let Some((at, magic)) = bits::find_magic(window, (self.scanned - base) as usize) {
                if let Some(block_size) = header_before(window, at) {
                    self.block_size = block_size;
                }
                let at = base + at as u64;
                self.scanned = at + 1;
                if let Some(candidate) = close(self.open.replace((magic, at, self.block_size)), at) {
                    return Some(candidate);
                }
                continue;
            }
            let end = base + window.len() as u64 * 8;
            self.scanned = self.scanned.max((end + 1).saturating_sub(MAGIC_BITS as u64));
            // No block is so long that it began before this point and ended at a magic still to come.
            let since = self.open.map_or(base, |(_, start, _)| start);
            self.done = end - since > block::MAX_BYTES as u64 * 8 || !self.source.more();
            if self.done {
                return close(self.open.take(), self.source.end() * 8);
            }
        }
        None
    }

    /// Corrects the block size after a false stream header.
    pub(super) fn set_block_size(&mut self, block_size: BlockSize) {
        self.block_size = block_size;
    }
}

/// Returns the candidate that ends at this bit, if one is open.
fn close(open: Option<(Magic, u64, BlockSize)>, end: u64) -> Option<Candidate> {
    open.map(|(magic, start, block_size)| Candidate { magic, start, end, block_size })
}

/// Returns the block size in the stream header that ends right before bit `at`, if there is one.
fn header_before(bytes: &[u8], at: usize) -> Option<BlockSize> {
    if !at.is_multiple_of(8) {
        return None;
    }
    match bytes.get((at / 8).checked_sub(block::HEADER_BYTES)?..at / 8)? {
        [b'B', b'Z', b'h', digit] => BlockSize::from_digit(*digit),
        _ => None,
    }
}
