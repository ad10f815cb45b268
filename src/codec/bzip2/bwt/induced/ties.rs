//! Sorts the LMS rotations that begin with the same bytes. Two of them are in the order of the next LMS rotations after
//! them, if these follow at the same distance and begin within the equal bytes. The names of these give their order as
//! far as it is known, even if they tie, too. If the distance is different or greater, more bytes are compared.
//!
//! Most often, a passage occurs several times. Then all LMS rotations in it tie, each with those at the same distance
//! from the end of the passage. So ties are sorted from the end of the block on, and renamed at once, so that the ties
//! before them are sorted by the new names. In most blocks, one sweep is enough.

use std::ops::Range;

use super::bucket;
use super::key::{KEY, KEY_BITS, POSITION, POSITION_BITS, position};
use crate::codec::bzip2::bwt::bytes::{TooManyTies, word};
use crate::codec::bzip2::cpu;

/// Returns the slot of an LMS rotation in a table. No two LMS rotations are adjacent, so two positions share a slot.
fn slot(position: usize) -> usize {
    position / 2
}

/// Returns the number of slots for a block of `n` bytes.
fn slots(n: usize) -> usize {
    n.div_ceil(2)
}

/// The names of LMS rotations, and their distances. A name is the number of lesser LMS rotations, without those of the
/// same tie. The distance is that to the next LMS rotation.
#[derive(Default)]
pub(super) struct Names {
    /// By slot: the distance in the low [`DISTANCE_BITS`], and the name above it.
    words: Vec<u32>,
}

const DISTANCE_BITS: u32 = 8;

/// The greatest distance, which also stands for all greater ones.
const FAR: usize = (1 << DISTANCE_BITS) - 1;

impl Names {
    /// Begins with the LMS rotations at `positions`, in descending order, in a block of `n` bytes. None has a name yet.
    pub(super) fn begin(&mut self, n: usize, positions: &[u32]) {
        self.words.resize(slots(n), 0);
        let Some(&first) = positions.last() else { return };
        let mut next = n + first as usize;
        for &position in positions {
            let position = position as usize;
            self.words[slot(position)] = (next - position).min(FAR) as u32;
            next = position;
        }
    }

    #[inline(always)]
    fn set(&mut self, position: usize, name: usize) {
        let word = &mut self.words[slot(position)];
        *word = (name as u32) << DISTANCE_BITS | *word & FAR as u32;
    }

    #[inline(always)]
    fn get(&self, position: usize) -> usize {
        (self.words[slot(position)] >> DISTANCE_BITS) as usize
    }

    #[inline(always)]
    fn distance(&self, position: usize) -> usize {
        self.words[slot(position)] as usize & FAR
    }
}

/// The ties. Each is identified by its lead, which is its LMS rotation with the greatest position. The name of the lead
/// is the index in the sorted LMS rotations at which the tie begins.
#[derive(Default)]
pub(super) struct Ties {
    /// A bitmap of the slots of all leads.
    bitmap: Vec<u64>,
    /// By the slot of the lead: the index in the sorted LMS rotations at which the tie ends; and in the low
    /// [`DEPTH_BITS`], the number of first bytes in which all of the tie are equal.
    ends: Vec<u32>,
}

/// The number of slots in a word of the bitmap.
const WORD_BITS: usize = 64;
const DEPTH_BITS: u32 = 8;
const MAX_DEPTH: usize = (1 << DEPTH_BITS) - 1;

impl Ties {
    /// Begins with no ties, in a block of `n` bytes.
    pub(super) fn begin(&mut self, n: usize) {
        self.bitmap.clear();
        self.bitmap.resize(slots(n).div_ceil(WORD_BITS), 0);
        self.ends.resize(slots(n), 0);
    }

    #[inline(always)]
    fn add(&mut self, lead: usize, end: usize, depth: usize) {
        let slot = slot(lead);
        self.ends[slot] = (end << DEPTH_BITS | depth) as u32;
        self.bitmap[slot / WORD_BITS] |= 1 << (slot % WORD_BITS);
    }

    /// Removes the lead with the highest bit in a word of the bitmap, among the bits in `mask`, and returns the bit.
    #[inline(always)]
    fn take(&mut self, word: usize, mask: u64) -> Option<u32> {
        let bits = &mut self.bitmap[word];
        let highest = (*bits & mask).checked_ilog2()?;
        *bits &= !(1 << highest);
        Some(highest)
    }
}

/// Sorts the LMS rotations of a block.
pub(super) struct Sorter<'a> {
    pub(super) block: &'a [u8],
    pub(super) names: &'a mut Names,
    pub(super) ties: &'a mut Ties,
    pub(super) lms: &'a mut [u64],
    /// As long as `lms`, to scatter to.
    pub(super) spare: &'a mut [u64],
}

/// The number of complete bytes in a key.
const KEY_BYTES: usize = KEY_BITS as usize / 8;

/// Ties and names are accessed in random order, so they are prefetched. A sweep prefetches them this many words of the
/// bitmap in advance.
const FETCH_TIES: usize = 12;
const FETCH_NAMES: usize = 6;

/// The maximum number of rotations of a tie whose names are prefetched; within a tie, also how far in advance.
const FETCHED: usize = 16;

impl Sorter<'_> {
    /// Names LMS rotations that are sorted by their keys. Those with equal keys are a tie, and are equal in their first
    /// `depth` bytes.
    #[inline(always)]
    pub(super) fn name(&mut self, lms: Range<usize>, depth: usize) {
        let mut name = lms.start;
        let mut rest = &self.lms[lms];
        while let Some(&first) = rest.first() {
            let mut lead = 0;
            let mut len = 0;
            while let Some(&rotation) = rest.get(len)
                && (rotation ^ first) & KEY == 0
            {
                if let Some(&later) = rest.get(len + FETCHED) {
                    cpu::prefetch(&self.names.words, slot(position(later)));
                }
                self.names.set(position(rotation), name);
                lead = lead.max(position(rotation));
                len += 1;
            }
            rest = &rest[len..];
            name += len;
            if len > 1 {
                self.ties.add(lead, name, depth);
            }
        }
    }

    /// Sorts all ties, in sweeps from the end of the block on. Fails if the block repeats so much that the budget is
    /// used up.
    pub(super) fn resolve(&mut self) -> Result<(), TooManyTies> {
        let words = self.ties.bitmap.len();
        let mut budget = self.block.len();
        while self.ties.bitmap.iter().any(|bits| *bits != 0) {
            // A sweep takes time even if hardly any ties are left.
            budget = budget.checked_sub(words).ok_or(TooManyTies)?;
            for word in (0..words).rev() {
                self.prefetch(word);
                let mut mask = u64::MAX;
                while let Some(bit) = self.ties.take(word, mask) {
                    mask = (1 << bit) - 1;
                    let lead = word * WORD_BITS + bit as usize;
                    let lms = self.tie(lead);
                    budget = budget.checked_sub(lms.len()).ok_or(TooManyTies)?;
                    let depth = self.ties.ends[lead] as usize & MAX_DEPTH;
                    let depth = self.sort_tie(lms.clone(), self.names.distance(2 * lead), depth)?;
                    self.name(lms, depth);
                }
            }
        }
        Ok(())
    }

    /// Returns the range of the sorted LMS rotations that is the tie whose lead has this slot.
    #[inline(always)]
    fn tie(&self, lead: usize) -> Range<usize> {
        self.names.get(2 * lead)..(self.ties.ends[lead] >> DEPTH_BITS) as usize
    }

    /// Sorts a tie by a further key. Returns the number of first bytes in which rotations with equal keys are equal.
    #[inline(always)]
    fn sort_tie(&mut self, lms: Range<usize>, distance: usize, depth: usize) -> Result<usize, TooManyTies> {
        let n = self.block.len();
        // Rotations continue at the beginning of the block.
        let around = |position: usize| if position < n { position } else { position % n };
        let tie = &mut self.lms[lms.clone()];
        let mut known = depth;
        let mut by_name = distance <= depth;
        for rotation in tie.iter_mut() {
            let position = position(*rotation);
            by_name &= self.names.distance(position) == distance;
            *rotation = (self.names.get(around(position + distance)) as u64) << POSITION_BITS | position as u64;
        }
        if !by_name {
            known += KEY_BYTES;
            if known > MAX_DEPTH {
                return Err(TooManyTies);
            }
            for rotation in tie.iter_mut() {
                *rotation = word(self.block, around(position(*rotation) + depth)) & KEY | *rotation & POSITION;
            }
        }
        bucket::sort(tie, &mut self.spare[lms]);
        Ok(known)
    }

    /// Prefetches what the sweep needs for earlier words of the bitmap.
    #[inline(always)]
    fn prefetch(&self, word: usize) {
        let leads = |words: usize| {
            let word = word.wrapping_sub(words);
            let mut bits = self.ties.bitmap.get(word).copied().unwrap_or_default();
            std::iter::from_fn(move || {
                let lowest = bits.trailing_zeros() as usize;
                bits &= bits.wrapping_sub(1);
                (lowest < WORD_BITS).then(|| word * WORD_BITS + lowest)
            })
        };
        for lead in leads(FETCH_TIES) {
            cpu::prefetch(self.lms, self.tie(lead).start);
        }
        for lead in leads(FETCH_NAMES) {
            for &rotation in self.lms.get(self.tie(lead)).unwrap_or_default().iter().take(FETCHED) {
                cpu::prefetch(&self.names.words, slot(position(rotation)));
            }
        }
    }
}
