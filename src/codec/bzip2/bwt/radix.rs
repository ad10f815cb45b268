//! Radix sort, for data that hardly repeats.
//!
//! Each rotation becomes one number: 36 bits of what follows its first byte, the byte before it, and its position. The
//! numbers are scattered by the first byte to 256 buckets. Each bucket fits in a near cache and is sorted by the next
//! 20 bits in two passes of counting sort. After that, random data is sorted except for a few adjacent numbers, which
//! an insertion sort puts in order. The byte before the rotation is part of the number, so the block is not read again.
//!
//! The remaining ties are most often in a passage that occurs several times, such as the header of each frame of a
//! video. They are resolved from the end of the passage: two rotations with the same first byte are in the order of
//! those that begin one byte later, whose ranks are known by then. Bytes are compared only at the end of a passage,
//! within a budget. A block that exceeds the budget, or of which a third ties, is sorted by another algorithm.

use std::cmp::{Ordering, Reverse};
use std::ops::Range;

use super::bytes::{Counts, TooManyTies, words};
use super::counting::{Heads, scatter_small, starts, sum_up, tally};

/// The fields of the number of a rotation, from the highest bit on: the key, which is the bits after its first byte;
/// the byte before the rotation; and its position.
const KEY_BITS: u32 = 36;
const BEFORE_BITS: u32 = 8;
const POSITION_BITS: u32 = 64 - KEY_BITS - BEFORE_BITS;
const POSITION: u64 = (1 << POSITION_BITS) - 1;

/// The complete bytes in which the rotations of a tie are equal: the first one, by which they are scattered, and those
/// of the key.
const TIED_BYTES: usize = 1 + KEY_BITS as usize / 8;

/// Buckets up to this size are sorted by insertion.
const SMALL: usize = 24;

/// At most one in this many rotations may tie.
const MAX_TIED: usize = 3;

/// The maximum number of bits by which a bucket is scattered in one pass.
const MAX_DIGIT: u32 = 10;
const DIGITS: usize = 1 << MAX_DIGIT;

#[derive(Default)]
pub(super) struct Buffers {
    rotations: Vec<u64>,
    bucket: Vec<u64>,
    ties: Vec<Tie>,
    ranks: Vec<u32>,
}

/// Rotations with the same first byte and the same key.
struct Tie {
    /// The least position of these rotations.
    first: usize,
    /// The ranks of these rotations.
    ranks: Range<usize>,
}

/// Returns whether [`sort`] is probably fast for the block: in a sample of rotations all over the block, hardly any
/// begin with the same bytes.
pub(super) fn suits(block: &[u8]) -> bool {
    const SAMPLES: usize = 2048;
    if block.len() < SAMPLES * 4 {
        return false;
    }
    // An odd step, so that it is no multiple of the size of samples, pixels or most records in the data.
    let step = (block.len() / SAMPLES) | 1;
    let mut sample: Vec<u32> = block
        .windows(4)
        .step_by(step)
        .filter_map(|four| four.first_chunk())
        .map(|four| u32::from_be_bytes(*four))
        .collect();
    sample.sort_unstable();
    let repeated = sample.windows(2).filter(|pair| pair[0] == pair[1]).count();
    repeated * 32 < sample.len()
}

/// Sorts a block as [`super::transform`] does.
///
/// # Errors
///
/// [`TooManyTies`] if too many rotations tie, or too many bytes would have to be compared.
pub(super) fn sort(
    block: &[u8],
    counts: &Counts,
    last: &mut [u8],
    buffers: &mut Buffers,
) -> Result<usize, TooManyTies> {
    let Buffers { rotations, bucket: spare, ties, ranks } = buffers;
    scatter(block, counts, rotations);
    let largest = counts.iter().copied().max().unwrap_or_default() as usize;
    spare.resize(largest.max(spare.len()), 0);
    ties.clear();
    let mut tied = 0;
    let mut from = 0;
    for &count in counts {
        let to = from + count as usize;
        let bucket = &mut rotations[from..to];
        sort_bucket(bucket, &mut spare[..count as usize], 64);
        for (last, &rotation) in last[from..to].iter_mut().zip(&*bucket) {
            *last = before(rotation);
        }
        // Without an early exit, the compiler vectorises this.
        if bucket.windows(2).fold(false, |any, pair| any | (key(pair[0]) == key(pair[1]))) {
            let mut rank = from;
            for tie in bucket.chunk_by(|a, b| key(*a) == key(*b)) {
                if tie.len() > 1 {
                    let first = tie.iter().map(|&rotation| position(rotation)).min().unwrap_or_default();
                    ties.push(Tie { first, ranks: rank..rank + tie.len() });
                    tied += tie.len();
                }
                rank += tie.len();
            }
            if tied > block.len() / MAX_TIED {
                return Err(TooManyTies);
            }
        }
        from = to;
    }
    if !ties.is_empty() {
        resolve(block, ties, rotations, ranks)?;
        for tie in ties.iter() {
            for rank in tie.ranks.clone() {
                last[rank] = before(rotations[rank]);
            }
        }
    }
    // The block itself is among the rotations that begin with its first byte.
    let from = starts(counts)[usize::from(block[0])] as usize;
    Ok(from + rotations[from..].iter().position(|&rotation| position(rotation) == 0).unwrap_or_default())
}

/// Returns the key.
fn key(rotation: u64) -> u64 {
    rotation >> (64 - KEY_BITS)
}

/// Returns the byte before the rotation.
fn before(rotation: u64) -> u8 {
    (rotation >> POSITION_BITS) as u8
}

/// Returns the position at which the rotation begins.
fn position(rotation: u64) -> usize {
    (rotation & POSITION) as usize
}

/// Computes the numbers of all rotations, and scatters them by their first bytes.
fn scatter(block: &[u8], counts: &Counts, rotations: &mut Vec<u64>) {
    let n = block.len();
    let mut heads = Heads::new(counts);
    rotations.resize(n, 0);
    let rotations = &mut rotations[..n];
    let mut before = block[n - 1];
    words(block).for_each(|(position, word)| {
        let first = (word >> 56) as u8;
        if let Some(slot) = rotations.get_mut(heads.take(usize::from(first))) {
            *slot = (word << 8) & !(u64::MAX >> KEY_BITS) | u64::from(before) << POSITION_BITS | position as u64;
        }
        before = first;
    });
}

/// Sorts a bucket, whose numbers are equal above their lowest `bits`. `spare` has the same size, and is scattered to.
fn sort_bucket(bucket: &mut [u64], spare: &mut [u64], bits: u32) {
    if bucket.len() > usize::from(u16::MAX) {
        return split_bucket(bucket, spare, bits);
    }
    if bucket.len() > SMALL {
        let digit = (bucket.len().ilog2() - 1).min(MAX_DIGIT);
        let [low, high] = [bits - 2 * digit, bits - digit];
        let mask = (1 << digit) - 1;
        let [mut low_heads, mut high_heads] = [[0; DIGITS]; 2];
        for &rotation in bucket.iter() {
            low_heads[(rotation >> low) as usize & mask] += 1;
            high_heads[(rotation >> high) as usize & mask] += 1;
        }
        scatter_small(bucket, spare, low, sum_up(&mut low_heads[..=mask]));
        scatter_small(spare, bucket, high, sum_up(&mut high_heads[..=mask]));
    }
    finish(bucket);
}

/// Sorts a large bucket: scatters it by the next byte, and sorts the parts.
fn split_bucket(bucket: &mut [u64], spare: &mut [u64], bits: u32) {
    if bits < 64 - KEY_BITS / 2 {
        return bucket.sort_unstable();
    }
    let byte = |rotation: &u64| usize::from((rotation >> (bits - 8)) as u8);
    let counts = tally::<256, _>(bucket, byte);
    Heads::new(&counts).scatter(bucket, spare, byte);
    bucket.copy_from_slice(spare);
    let (mut bucket, mut spare) = (bucket, spare);
    for count in counts {
        let (part, spare_part);
        (part, bucket) = bucket.split_at_mut(count as usize);
        (spare_part, spare) = spare.split_at_mut(count as usize);
        sort_bucket(part, spare_part, bits - 8);
    }
}

/// Sorts an almost sorted bucket by insertion, or by another sort if it needs too many moves.
fn finish(bucket: &mut [u64]) {
    let mut budget = 4 * bucket.len() + SMALL * SMALL;
    for at in 1..bucket.len() {
        let rotation = bucket[at];
        if bucket[at - 1] > rotation {
            let mut to = at;
            while to > 0 && bucket[to - 1] > rotation {
                bucket[to] = bucket[to - 1];
                to -= 1;
            }
            bucket[to] = rotation;
            let Some(left) = budget.checked_sub(at - to) else { return bucket.sort_unstable() };
            budget = left;
        }
    }
}

/// Sorts the rotations of all ties.
///
/// Most often, a passage occurs several times, and all positions in it tie, each with those at the same distance from
/// the end of the passage. So ties are sorted from the end of the block on: two rotations with the same first byte are
/// in the order of those that begin one byte later, which is known by then.
fn resolve(block: &[u8], ties: &mut [Tie], rotations: &mut [u64], ranks: &mut Vec<u32>) -> Result<(), TooManyTies> {
    ranks.clear();
    ranks.resize(block.len(), UNKNOWN);
    ties.sort_unstable_by_key(|tie| Reverse(tie.first));
    let mut comparer = Comparer { block, ranks, budget: 8 * block.len() };
    for tie in ties.iter() {
        let rotations = &mut rotations[tie.ranks.clone()];
        comparer.sort(rotations)?;
        for (&rotation, rank) in rotations.iter().zip(tie.ranks.start as u32..) {
            comparer.ranks[position(rotation)] = rank;
        }
    }
    Ok(())
}

/// The rank of a rotation that does not tie, or whose tie is not sorted yet.
const UNKNOWN: u32 = u32::MAX;

/// Compares tied rotations, within a budget.
struct Comparer<'a> {
    block: &'a [u8],
    /// By position, the ranks of the rotations whose ties are sorted.
    ranks: &'a mut [u32],
    /// Bytes that may still be compared.
    budget: usize,
}

impl Comparer<'_> {
    /// Sorts a tie by insertion, and a large one by merging. The sorts of the standard library cannot be aborted with
    /// an error. If the comparison returned any result after the budget is used up, the results could be inconsistent,
    /// and these sorts panic then.
    fn sort(&mut self, tied: &mut [u64]) -> Result<(), TooManyTies> {
        if tied.len() > SMALL {
            let (left, right) = tied.split_at_mut(tied.len() / 2);
            self.sort(left)?;
            self.sort(right)?;
            let merged = self.merge(left, right)?;
            tied.copy_from_slice(&merged);
            return Ok(());
        }
        for at in 1..tied.len() {
            let mut to = at;
            while to > 0 && self.is_less(tied[to], tied[to - 1])? {
                tied.swap(to, to - 1);
                to -= 1;
            }
        }
        Ok(())
    }

    /// Merges two sorted parts of a tie.
    fn merge(&mut self, mut left: &[u64], mut right: &[u64]) -> Result<Vec<u64>, TooManyTies> {
        let mut merged = Vec::with_capacity(left.len() + right.len());
        while let ([a, left_rest @ ..], [b, right_rest @ ..]) = (left, right) {
            if self.is_less(*b, *a)? {
                merged.push(*b);
                right = right_rest;
            } else {
                merged.push(*a);
                left = left_rest;
            }
        }
        merged.extend_from_slice(left);
        merged.extend_from_slice(right);
        Ok(merged)
    }

    /// Returns whether the rotation `a` is less than `b`.
    fn is_less(&mut self, a: u64, b: u64) -> Result<bool, TooManyTies> {
        const STEP: usize = 32;
        let n = self.block.len();
        let (a, b) = (position(a), position(b));
        // One byte later first, where the ranks are most often known; then after the bytes in which all of a tie are
        // equal.
        let mut done = 1;
        while done < n {
            let (a, b) = ((a + done) % n, (b + done) % n);
            let ranks = (self.ranks[a], self.ranks[b]);
            if ranks.0 != UNKNOWN && ranks.1 != UNKNOWN {
                return Ok(ranks.0 < ranks.1);
            }
            if done < TIED_BYTES {
                done = TIED_BYTES;
                continue;
            }
            let len = STEP.min(n - done).min(n - a).min(n - b);
            self.budget = self.budget.checked_sub(len).ok_or(TooManyTies)?;
            match self.block[a..a + len].cmp(&self.block[b..b + len]) {
                Ordering::Equal => done += len,
                order => return Ok(order == Ordering::Less),
            }
        }
        // The rotations are equal: the block is periodic.
        Err(TooManyTies)
    }
}
