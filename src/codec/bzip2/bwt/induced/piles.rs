//! Sorting a pile of stars by their keys, in which many are equal. Large piles are dealt out by one digit and small
//! ones sorted by insertion; those between, whose counters are in the nearest cache, are dealt by all digits,
//! the lowest first.

use super::{KEY, KEY_BITS, PLACE_BITS};
use crate::codec::bzip2::bwt::deal::{Heads, deal_small, sum_up, tally};

/// Piles of up to so many are sorted by insertion,
const FEW: usize = 16;

/// up to so many are dealt out by some bits and what that gives is sorted,
const SOME: usize = 255;

/// and up to so many by all digits.
const MANY: usize = 20_000;
const _: () = assert!(MANY <= u16::MAX as usize);

const SMALL_DIGIT: u32 = 6;
const DIGIT: u32 = 11;
const PASSES: usize = (KEY_BITS / DIGIT) as usize;
const _: () = assert!(PASSES as u32 * DIGIT == KEY_BITS);
const LARGE_DIGIT: u32 = 10;

/// Sorts a pile, with another of its size to deal it to. The order of equal keys is any.
pub(super) fn sort(pile: &mut [u64], spare: &mut [u64]) {
    if pile.len() <= FEW {
        return insert(pile);
    }
    let first = pile[0];
    let differ = pile.iter().fold(0, |differ, star| differ | (star ^ first)) & KEY;
    let Some(highest) = differ.checked_ilog2() else { return };
    if pile.len() <= SOME {
        deal_some(pile, spare, highest);
    } else if pile.len() <= MANY {
        deal_all(pile, spare, differ);
    } else {
        deal_many(pile, spare, highest);
    }
}

fn insert(pile: &mut [u64]) {
    for at in 1..pile.len() {
        let star = pile[at];
        let mut to = at;
        while to > 0 && pile[to - 1] > star {
            pile[to] = pile[to - 1];
            to -= 1;
        }
        pile[to] = star;
    }
}

/// The lowest bit of a digit whose highest bit is this one, if it does not reach below the key.
fn shift(highest: u32, digit: u32) -> u32 {
    (highest + 1).saturating_sub(digit).max(PLACE_BITS)
}

fn deal_some(pile: &mut [u64], spare: &mut [u64], highest: u32) {
    const DIGITS: usize = 1 << SMALL_DIGIT;
    let shift = shift(highest, SMALL_DIGIT);
    let mut heads = [0_u16; DIGITS];
    for &star in pile.iter() {
        heads[(star >> shift) as usize % DIGITS] += 1;
    }
    deal_small(pile, spare, shift, sum_up(&mut heads));
    sort_parts(pile, spare, shift, heads.iter().map(|&end| usize::from(end)));
}

fn deal_all(pile: &mut [u64], spare: &mut [u64], differ: u64) {
    const DIGITS: usize = 1 << DIGIT;
    let shift = |pass: usize| PLACE_BITS + DIGIT * pass as u32;
    let digit = |star: u64, pass: usize| (star >> shift(pass)) as usize % DIGITS;
    let mut counts = [[0_u16; DIGITS]; PASSES];
    for &star in pile.iter() {
        for (pass, counts) in counts.iter_mut().enumerate() {
            counts[digit(star, pass)] += 1;
        }
    }
    let (mut from, mut to) = (pile, spare);
    let mut turns = 0;
    for (pass, counts) in counts.iter_mut().enumerate() {
        if digit(differ, pass) == 0 {
            continue;
        }
        deal_small(from, to, shift(pass), sum_up(counts));
        (from, to) = (to, from);
        turns += 1;
    }
    if turns % 2 == 1 {
        to.copy_from_slice(from);
    }
}

fn deal_many(pile: &mut [u64], spare: &mut [u64], highest: u32) {
    const DIGITS: usize = 1 << LARGE_DIGIT;
    let shift = shift(highest, LARGE_DIGIT);
    let digit = |star: &u64| (star >> shift) as usize % DIGITS;
    let counts = tally::<DIGITS, _>(pile, digit);
    Heads::new(&counts).deal(pile, spare, digit);
    let ends = counts.iter().scan(0, |end, &count| {
        *end += count as usize;
        Some(*end)
    });
    sort_parts(pile, spare, shift, ends);
}

/// Takes back what was dealt out, and sorts the parts, which end there, by what is left of the keys.
fn sort_parts(pile: &mut [u64], spare: &mut [u64], shift: u32, ends: impl Iterator<Item = usize>) {
    pile.copy_from_slice(spare);
    if shift == PLACE_BITS {
        return;
    }
    let mut from = 0;
    for to in ends {
        sort(&mut pile[from..to], &mut spare[from..to]);
        from = to;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::codec::bzip2::bwt::induced::place;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn piles_of_all_sizes(
            len in prop_oneof![0..40_usize, 200..300_usize, 15_000..70_000_usize],
            mask in prop_oneof![Just(u64::MAX), any::<u64>(), any::<[u64; 3]>().prop_map(|[a, b, c]| a & b & c)],
            state in 1..u64::MAX,
        ) {
            let mut state = state;
            let mut pile: Vec<u64> = (0..len as u64).map(|place| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state ^ state >> 31) & mask & KEY | place
            }).collect();
            let mut expected: Vec<u64> = pile.clone();
            expected.sort_by_key(|star| star & KEY);
            let expected: Vec<u64> = expected.into_iter().map(|star| star & KEY).collect();
            sort(&mut pile, &mut vec![0; len]);
            prop_assert!(pile.iter().map(|star| star & KEY).eq(expected));
            pile.sort_unstable_by_key(|star| place(*star));
            prop_assert!(pile.iter().map(|star| place(*star)).eq(0..len));
        }
    }
}
