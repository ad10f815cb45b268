//! Stars in the order of their first [`DEPTH`] bytes: they are dealt out by the first bits of these, and each pile
//! is sorted by the others.

use super::ties::Sorter;
use super::{KEY, KEY_BITS, piles};
use crate::codec::bzip2::bwt::deal::{Heads, tally};
use crate::codec::bzip2::bwt::word;

/// Bits that stars are dealt out by; the others of the first bytes are in their keys.
const DIGIT: u32 = 12;
const DIGITS: usize = 1 << DIGIT;
const DEPTH: usize = 7;
const _: () = assert!(DIGIT + KEY_BITS == 8 * DEPTH as u32);

/// Sorts the stars that begin at `places`, names them and finds their ties.
pub(super) fn sort(places: &[u32], sorter: &mut Sorter<'_>) {
    let block = sorter.block;
    let digit = |word: u64| (word >> (64 - DIGIT)) as usize;
    let counts = tally::<DIGITS, _>(places, |&place| digit(word(block, place as usize)));
    let mut heads = Heads::new(&counts);
    for &place in places {
        let word = word(block, place as usize);
        if let Some(star) = sorter.stars.get_mut(heads.take(digit(word))) {
            *star = (word << DIGIT) & KEY | u64::from(place);
        }
    }
    let mut from = 0;
    for count in counts {
        let pile = from..from + count as usize;
        from = pile.end;
        piles::sort(&mut sorter.stars[pile.clone()], &mut sorter.spare[pile.clone()]);
        sorter.name(pile, DEPTH);
    }
}
