//! Sorting where much repeats, as in databases and texts. Only a quarter to a third of the rotations are sorted by
//! their bytes, and the order of the others follows from that of these.
//!
//! A rotation *rises* if the one that begins a byte later is greater, and *falls* if that one is less. Those that rise
//! right after one that falls are the *stars*. [`stars`] finds them; [`order`] sorts them by their first seven
//! bytes; [`ties`] sorts those that tie in these by what comes after them, which begins with a star too; and
//! [`scan`] goes through the sorted stars twice, which gives all rotations their ranks.
//!
//! This is induced sorting (Itoh and Tanaka 1999, Ko and Aluru 2003; the stars are the "LMS suffixes" of Nong, Zhang
//! and Chan 2009), of rotations instead of suffixes, so that there is no end that would need care. What is done
//! otherwise here: each rotation carries the bytes before it along, so that the scans hardly ever look into the block.

mod order;
mod piles;
mod scan;
mod stars;
mod ties;

use super::{Counts, TooManyTies};

/// A star in a word: a key that it is sorted by above the place where it begins.
const PLACE_BITS: u32 = 20;
const KEY_BITS: u32 = 64 - PLACE_BITS;
const PLACE: u64 = (1 << PLACE_BITS) - 1;
const KEY: u64 = !PLACE;

#[derive(Default)]
pub(super) struct Buffers {
    places: Vec<u32>,
    stars: Vec<u64>,
    spare: Vec<u64>,
    names: ties::Names,
    ties: ties::Ties,
    rows: Vec<u64>,
}

/// As [`super::transform`].
pub(super) fn sort(
    block: &[u8],
    counts: &Counts,
    last: &mut [u8],
    buffers: &mut Buffers,
) -> Result<usize, TooManyTies> {
    let Buffers { places, stars, spare, names, ties, rows } = buffers;
    stars::find(block, places);
    if places.is_empty() {
        // All bytes are the same.
        return Err(TooManyTies);
    }
    names.begin(block.len(), places);
    ties.begin(block.len());
    stars.resize(places.len(), 0);
    spare.resize(places.len(), 0);
    let mut sorter = ties::Sorter { block, names, ties, stars, spare };
    order::sort(places, &mut sorter);
    sorter.resolve()?;
    Ok(scan::induce(block, counts, stars, last, rows))
}

fn place(star: u64) -> usize {
    (star & PLACE) as usize
}
