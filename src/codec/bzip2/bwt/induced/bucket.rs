//! Sorts a bucket of LMS rotations by their keys, of which many are equal. Small buckets are sorted by insertion, and
//! large ones are scattered by one digit. Those between are scattered by all digits, the lowest one first; the counters
//! of all digits fit in the L1 cache.

use super::key::{KEY, KEY_BITS, POSITION_BITS};
use crate::codec::bzip2::bwt::counting::{Heads, scatter_small, sum_up, tally};

/// Buckets up to this size are sorted by insertion.
const FEW: usize = 16;

/// Larger buckets up to this size are scattered by one small digit, and the parts are sorted.
const SOME: usize = 255;

/// Larger buckets up to this size are scattered by all digits. Still larger ones are scattered by one digit, and the
/// parts are sorted.
const MANY: usize = 20_000;
const _: () = assert!(MANY <= u16::MAX as usize);

const SMALL_DIGIT: u32 = 6;
const DIGIT: u32 = 11;
const PASSES: usize = (KEY_BITS / DIGIT) as usize;
const _: () = assert!(PASSES as u32 * DIGIT == KEY_BITS);
const LARGE_DIGIT: u32 = 10;

/// Sorts a bucket. `spare` has the same size, and is scattered to. Rotations with equal keys are in any order.
pub(super) fn sort(bucket: &mut [u64], spare: &mut [u64]) {
    if bucket.len() <= FEW {
        return insert(bucket);
    }
    let first = bucket[0];
    let differ = bucket.iter().fold(0, |differ, rotation| differ | (rotation ^ first)) & KEY;
    let Some(highest) = differ.checked_ilog2() else { return };
    if bucket.len() <= SOME {
        scatter_some(bucket, spare, highest);
    } else if bucket.len() <= MANY {
        scatter_all(bucket, spare, differ);
    } else {
        scatter_many(bucket, spare, highest);
    }
}

fn insert(bucket: &mut [u64]) {
    for at in 1..bucket.len() {
        let rotation = bucket[at];
        let mut to = at;
        while to > 0 && bucket[to - 1] > rotation {
            bucket[to] = bucket[to - 1];
            to -= 1;
        }
        bucket[to] = rotation;
    }
}

/// Returns the lowest bit of a digit with this highest bit, but no bit below the key.
fn shift(highest: u32, digit: u32) -> u32 {
    (highest + 1).saturating_sub(digit).max(POSITION_BITS)
}

fn scatter_some(bucket: &mut [u64], spare: &mut [u64], highest: u32) {
    const DIGITS: usize = 1 << SMALL_DIGIT;
    let shift = shift(highest, SMALL_DIGIT);
    let mut heads = [0_u16; DIGITS];
    for &rotation in bucket.iter() {
        heads[(rotation >> shift) as usize % DIGITS] += 1;
    }
    scatter_small(bucket, spare, shift, sum_up(&mut heads));
    sort_parts(bucket, spare, shift, heads.iter().map(|&end| usize::from(end)));
}

fn scatter_all(bucket: &mut [u64], spare: &mut [u64], differ: u64) {
    const DIGITS: usize = 1 << DIGIT;
    let shift = |pass: usize| POSITION_BITS + DIGIT * pass as u32;
    let digit = |rotation: u64, pass: usize| (rotation >> shift(pass)) as usize % DIGITS;
    let mut counts = [[0_u16; DIGITS]; PASSES];
    for &rotation in bucket.iter() {
        for (pass, counts) in counts.iter_mut().enumerate() {
            counts[digit(rotation, pass)] += 1;
        }
    }
    let (mut from, mut to) = (bucket, spare);
    let mut passes = 0;
    for (pass, counts) in counts.iter_mut().enumerate() {
        if digit(differ, pass) == 0 {
            continue;
        }
        scatter_small(from, to, shift(pass), sum_up(counts));
        (from, to) = (to, from);
        passes += 1;
    }
    if passes % 2 == 1 {
        to.copy_from_slice(from);
    }
}

fn scatter_many(bucket: &mut [u64], spare: &mut [u64], highest: u32) {
    const DIGITS: usize = 1 << LARGE_DIGIT;
    let shift = shift(highest, LARGE_DIGIT);
    let digit = |rotation: &u64| (rotation >> shift) as usize % DIGITS;
    let counts = tally::<DIGITS, _>(bucket, digit);
    Heads::new(&counts).scatter(bucket, spare, digit);
    let ends = counts.iter().scan(0, |end, &count| {
        *end += count as usize;
        Some(*end)
    });
    sort_parts(bucket, spare, shift, ends);
}

/// Copies the scattered rotations back from `spare`, and sorts the parts, which end at `ends`, by the key bits below
/// `shift`.
fn sort_parts(bucket: &mut [u64], spare: &mut [u64], shift: u32, ends: impl Iterator<Item = usize>) {
    bucket.copy_from_slice(spare);
    if shift == POSITION_BITS {
        return;
    }
    let mut from = 0;
    for to in ends {
        sort(&mut bucket[from..to], &mut spare[from..to]);
        from = to;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::bzip2::bwt::induced::key::position;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn buckets_of_all_sizes(
            len in prop_oneof![0..40_usize, 200..300_usize, 15_000..70_000_usize],
            mask in prop_oneof![Just(u64::MAX), any::<u64>(), any::<[u64; 3]>().prop_map(|[a, b, c]| a & b & c)],
            state in 1..u64::MAX,
        ) {
            let mut state = state;
            let mut bucket: Vec<u64> = (0..len as u64).map(|position| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state ^ state >> 31) & mask & KEY | position
            }).collect();
            let mut expected: Vec<u64> = bucket.clone();
            expected.sort_by_key(|rotation| rotation & KEY);
            let expected: Vec<u64> = expected.into_iter().map(|rotation| rotation & KEY).collect();
            sort(&mut bucket, &mut vec![0; len]);
            prop_assert!(bucket.iter().map(|rotation| rotation & KEY).eq(expected));
            bucket.sort_unstable_by_key(|rotation| position(*rotation));
            prop_assert!(bucket.iter().map(|rotation| position(*rotation)).eq(0..len));
        }
    }
}
