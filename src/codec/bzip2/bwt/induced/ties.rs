//! Sorting the LMS rotations that begin with the same bytes. Of two such, the order is that of the two LMS rotations that come next
//! after them, if they come at the same distance and within those bytes; and whether those tie or not, their names
//! tell their order as far as it is known. Where they do not come so soon, more bytes are compared.
//!
//! What ties is most often a passage that occurs several times; then all LMS rotations in it tie with each other, each
//! with those at the same distance from the passage's end. So ties are sorted from the block's end on, and names
//! are told apart at once, so that ties before them find them so. Mostly one sweep does it.

use std::ops::Range;

use super::bucket;
use super::key::{KEY, KEY_BITS, POSITION, POSITION_BITS, position};
use crate::codec::bzip2::bwt::bytes::{TooManyTies, word};
use crate::codec::bzip2::cpu;

/// No two LMS rotations are neighbours: so slots for half as many as there are positions are enough.
fn slot(position: usize) -> usize {
    position / 2
}

fn slots(n: usize) -> usize {
    n.div_ceil(2)
}

/// What is known of each LMS rotation: its name, which is the number of LMS rotations that are less, all LMS rotations of its tie not
/// counted; and how far it is from there to the next LMS rotation.
#[derive(Default)]
pub(super) struct Names {
    /// By slot: the name, above [`DISTANCE_BITS`] of distance.
    words: Vec<u32>,
}

const DISTANCE_BITS: u32 = 8;

/// A greater distance is taken for this one.
const FAR: usize = (1 << DISTANCE_BITS) - 1;

impl Names {
    /// Begins with the LMS rotations at `positions`, the last one first, in a block of `n` bytes; none has a name yet.
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

/// The ties. Each is known by its lead, the LMS rotation in it that begins last in the block; its name says where the tie
/// begins among the LMS rotations.
#[derive(Default)]
pub(super) struct Ties {
    /// A bit for each slot that has a lead.
    marks: Vec<u64>,
    /// For each lead: where its tie ends among the LMS rotations, above [`DEPTH_BITS`] that say in how many first bytes all
    /// in it are equal.
    ends: Vec<u32>,
}

const MARKS: usize = 64;
const DEPTH_BITS: u32 = 8;
const MAX_DEPTH: usize = (1 << DEPTH_BITS) - 1;

impl Ties {
    /// Begins with no ties, in a block of `n` bytes.
    pub(super) fn begin(&mut self, n: usize) {
        self.marks.clear();
        self.marks.resize(slots(n).div_ceil(MARKS), 0);
        self.ends.resize(slots(n), 0);
    }

    #[inline(always)]
    fn add(&mut self, lead: usize, end: usize, depth: usize) {
        let slot = slot(lead);
        self.ends[slot] = (end << DEPTH_BITS | depth) as u32;
        self.marks[slot / MARKS] |= 1 << (slot % MARKS);
    }

    /// Of some of the marks in a word, the highest is taken away.
    #[inline(always)]
    fn take(&mut self, word: usize, some: u64) -> Option<u32> {
        let marks = &mut self.marks[word];
        let highest = (*marks & some).checked_ilog2()?;
        *marks &= !(1 << highest);
        Some(highest)
    }
}

/// A block's LMS rotations, which are being sorted.
pub(super) struct Sorter<'a> {
    pub(super) block: &'a [u8],
    pub(super) names: &'a mut Names,
    pub(super) ties: &'a mut Ties,
    pub(super) lms: &'a mut [u64],
    /// As many words as there are LMS rotations, to sort with.
    pub(super) spare: &'a mut [u64],
}

/// Bytes that a key has room for.
const KEY_BYTES: usize = KEY_BITS as usize / 8;

/// Names and LMS rotations are asked for all over the memory: they are fetched so far ahead of the sweep, in words of marks,
/// and of each tie so many.
const FETCH_TIES: usize = 12;
const FETCH_NAMES: usize = 6;
const FETCHED: usize = 16;

impl Sorter<'_> {
    /// Names LMS rotations that are sorted by their keys; those with equal keys, which are equal in their first `depth`
    /// bytes, are a tie.
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
                if let Some(&ahead) = rest.get(len + FETCHED) {
                    cpu::prefetch(&self.names.words, slot(position(ahead)));
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

    /// Sorts all ties. If the block repeats itself too much, it leaves off.
    pub(super) fn resolve(&mut self) -> Result<(), TooManyTies> {
        let words = self.ties.marks.len();
        let mut budget = self.block.len();
        while self.ties.marks.iter().any(|marks| *marks != 0) {
            // A sweep takes time even if there is hardly any tie left.
            budget = budget.checked_sub(words).ok_or(TooManyTies)?;
            for word in (0..words).rev() {
                self.fetch_ahead(word);
                let mut below = u64::MAX;
                while let Some(bit) = self.ties.take(word, below) {
                    below = (1 << bit) - 1;
                    let lead = word * MARKS + bit as usize;
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

    /// The LMS rotations of the tie whose lead has this slot.
    #[inline(always)]
    fn tie(&self, lead: usize) -> Range<usize> {
        self.names.get(2 * lead)..(self.ties.ends[lead] >> DEPTH_BITS) as usize
    }

    /// Sorts a tie by one key more; returns in how many first bytes those are equal whose keys are.
    #[inline(always)]
    fn sort_tie(&mut self, lms: Range<usize>, distance: usize, depth: usize) -> Result<usize, TooManyTies> {
        let n = self.block.len();
        // The block goes on at its beginning.
        let around = |position: usize| if position < n { position } else { position % n };
        let tie = &mut self.lms[lms.clone()];
        let mut known = depth;
        let mut alike = distance <= depth;
        for rotation in tie.iter_mut() {
            let position = position(*rotation);
            alike &= self.names.distance(position) == distance;
            *rotation = (self.names.get(around(position + distance)) as u64) << POSITION_BITS | position as u64;
        }
        if !alike {
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

    /// Has fetched what the sweep will need when it comes to words of marks before this one.
    #[inline(always)]
    fn fetch_ahead(&self, word: usize) {
        let leads = |ahead: usize| {
            let word = word.wrapping_sub(ahead);
            let mut marks = self.ties.marks.get(word).copied().unwrap_or_default();
            std::iter::from_fn(move || {
                let lowest = marks.trailing_zeros() as usize;
                marks &= marks.wrapping_sub(1);
                (lowest < MARKS).then(|| word * MARKS + lowest)
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
