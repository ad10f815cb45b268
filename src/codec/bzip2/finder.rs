//! Proposes where the blocks of a bzip2 file are, by the magics they begin with. A magic may occur within
//! a block by chance or by malice, so nothing here is certain: who takes the candidates confirms them.

use std::io::Read;

use super::bits::{self, MAGIC_BITS, Magic};
use super::block;
use crate::codec::format::Level;
use crate::codec::source::Source;

/// From one magic to the next one, or to the end of the file. Offsets are in bits.
pub(super) struct Candidate {
    pub(super) magic: Magic,
    pub(super) start: u64,
    pub(super) end: u64,
    /// What the latest stream header says, if it is one.
    pub(super) level: Level,
}

impl Candidate {
    /// Whether there can be a block from its start to its end.
    pub(super) fn may_be_block(&self) -> bool {
        let limits = block::MIN_BITS as u64..=block::MAX_BYTES as u64 * 8;
        self.magic == Magic::Block && limits.contains(&(self.end - self.start))
    }
}

pub(super) struct Finder<R> {
    pub(super) source: Source<R>,
    /// The last magic found, with the level there; where it ends is not known yet.
    open: Option<(Magic, u64, Level)>,
    /// All magics that begin before this bit have been found.
    scanned: u64,
    level: Level,
    done: bool,
}

impl<R: Read> Finder<R> {
    /// Looks for magics from the window of `source` on.
    pub(super) fn new(source: Source<R>, level: Level) -> Self {
        Self { source, open: None, scanned: 0, level, done: false }
    }

    /// The next candidate; none at the end of the file, or where no block can be any more.
    pub(super) fn next(&mut self) -> Option<Candidate> {
        while !self.done {
            let base = self.source.offset() * 8;
            // Blocks were confirmed without us, up to here.
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
            // No block is this long: nothing that begins before a magic yet to come can reach up to it.
            let since = self.open.map_or(base, |(_, start, _)| start);
            self.done = end - since > block::MAX_BYTES as u64 * 8 || !self.source.more();
            if self.done {
                return close(self.open.take(), self.source.end() * 8);
            }
        }
        None
    }

    /// The true level, where the finder assumed a wrong one.
    pub(super) fn set_level(&mut self, level: Level) {
        self.level = level;
    }
}

fn close(open: Option<(Magic, u64, Level)>, end: u64) -> Option<Candidate> {
    open.map(|(magic, start, level)| Candidate { magic, start, end, level })
}

/// The level in the stream header that ends right before bit `at`, if there is one.
fn header_before(bytes: &[u8], at: usize) -> Option<Level> {
    if !at.is_multiple_of(8) {
        return None;
    }
    match bytes.get((at / 8).checked_sub(block::HEADER_BYTES)?..at / 8)? {
        [b'B', b'Z', b'h', digit] => Level::from_digit(*digit),
        _ => None,
    }
}
