//! Proposes candidates for the blocks of a bzip2 file, by the magics in it. A magic can also occur within a block, by
//! chance or by design, so `reader` must confirm each candidate.

use std::io::Read;

use super::bits::{self, MAGIC_BITS, Magic};
use super::block;
use crate::codec::format::Level;
use crate::codec::source::Source;

/// The bits from one magic to the next one, or to the end of the file. Offsets are in bits.
pub(super) struct Candidate {
    pub(super) magic: Magic,
    pub(super) start: u64,
    pub(super) end: u64,
    /// The level in the last stream header. The header can be false, too.
    pub(super) level: Level,
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
    /// The last magic found, the bit at which it begins, and the level there. The end of this candidate is not yet
    /// known.
    open: Option<(Magic, u64, Level)>,
    /// All magics that begin before this bit have been found.
    scanned: u64,
    level: Level,
    done: bool,
}

impl<R: Read> Finder<R> {
    /// Returns a finder that begins at the window of `source`.
    pub(super) fn new(source: Source<R>, level: Level) -> Self {
        Self { source, open: None, scanned: 0, level, done: false }
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
                if let Some(level) = header_before(window, at) {
                    self.level = level;
                }
                let at = base + at as u64;
                self.scanned = at + 1;
                if let Some(candidate) = close(self.open.replace((magic, at, self.level)), at) {
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

    /// Corrects the level after a false stream header.
    pub(super) fn set_level(&mut self, level: Level) {
        self.level = level;
    }
}

/// Returns the candidate that ends at this bit, if one is open.
fn close(open: Option<(Magic, u64, Level)>, end: u64) -> Option<Candidate> {
    open.map(|(magic, start, level)| Candidate { magic, start, end, level })
}

/// Returns the level in the stream header that ends right before bit `at`, if there is one.
fn header_before(bytes: &[u8], at: usize) -> Option<Level> {
    if !at.is_multiple_of(8) {
        return None;
    }
    match bytes.get((at / 8).checked_sub(block::HEADER_BYTES)?..at / 8)? {
        [b'B', b'Z', b'h', digit] => Level::from_digit(*digit),
        _ => None,
    }
}
