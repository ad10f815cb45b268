//! Sorts the LMS rotations by their first [`DEPTH`] bytes: they are scattered by the first bits of these, and each
//! bucket is sorted by the other bits.

use super::bucket;
use super::key::{KEY, KEY_BITS};
use super::ties::Sorter;
use crate::codec::bzip2::bwt::bytes::word;
use crate::codec::bzip2::bwt::counting::{Heads, tally};

/// The number of bits by which LMS rotations are scattered. The other bits of the first bytes are their keys.
const DIGIT: u32 = 12;
const DIGITS: usize = 1 << DIGIT;
const DEPTH: usize = 7;
const _: () = assert!(DIGIT + KEY_BITS == 8 * DEPTH as u32);

/// Sorts the LMS rotations that begin at `positions`, names them and finds their ties.
pub(super) fn sort(positions: &[u32], sorter: &mut Sorter<'_>) {
    let block = sorter.block;
    let digit = |word: u64| (word >> (64 - DIGIT)) as usize;
    let counts = tally::<DIGITS, _>(positions, |&position| digit(word(block, position as usize)));
    let mut heads = Heads::new(&counts);
    for &position in positions {
        let word = word(block, position as usize);
        if let Some(rotation) = sorter.lms.get_mut(heads.take(digit(word))) {
            *rotation = (word << DIGIT) & KEY | u64::from(position);
        }
    }
    let mut from = 0;
    for count in counts {
        let bucket = from..from + count as usize;
        from = bucket.end;
        bucket::sort(&mut sorter.lms[bucket.clone()], &mut sorter.spare[bucket.clone()]);
        sorter.name(bucket, DEPTH);
    }
}
