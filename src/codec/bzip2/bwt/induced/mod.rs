//! Induced sorting, for data that repeats much, such as databases and texts. Only a quarter to a third of the rotations
//! are sorted by their bytes; the order of the others follows.
//!
//! A rotation is of type S if the one that begins a byte later is greater, and of type L if that one is less. An LMS
//! rotation ("leftmost S": an LMS suffix in the literature) is of type S and follows one of type L. `lms` finds them;
//! `order` sorts them by their first seven bytes; `ties` sorts those that tie in these; and `scan` computes the ranks
//! of all rotations in one scan up, which gives those of type L, and one scan down, which gives those of type S.
//!
//! In a database half of the LMS rotations tie in their first seven bytes. Two that tie are in the order of the LMS
//! rotations that come next after them, whose names (the number of lesser LMS rotations, as far as they are sorted)
//! often give that order while those still tie with others. Ties are sorted from the end of the block, by the names of
//! the next LMS rotations, and renamed at once. So a passage that occurs twice is sorted from its end in one sweep,
//! however long it is.
//!
//! The usual scan writes the position of a rotation at its rank, and then looks up the byte before it in the block,
//! which is a cache miss. Here an entry has room for the five bytes before the rotation, and loses one with each step.
//! A step is a shift and a store to the end of one of 256 queues. Entries are read 64 at a time before any is written,
//! because a load waits for the address of an earlier store.
//!
//! References: Itoh and Tanaka (1999); Ko and Aluru (2003); Nong, Zhang and Chan (2009), who name the LMS suffixes.
//! Here rotations are sorted instead of suffixes, so that the end of the block is no special case.

mod bucket;
mod key;
mod lms;
mod order;
mod scan;
mod ties;

use super::bytes::{Counts, TooManyTies};

#[derive(Default)]
pub(super) struct Buffers {
    positions: Vec<u32>,
    lms: Vec<u64>,
    spare: Vec<u64>,
    names: ties::Names,
    ties: ties::Ties,
    rows: Vec<u64>,
}

/// Sorts a block as [`super::transform`] does.
///
/// # Errors
///
/// [`TooManyTies`] if all bytes are equal, or if the block repeats so much that the budget is used up.
pub(super) fn sort(
    block: &[u8],
    counts: &Counts,
    last: &mut [u8],
    buffers: &mut Buffers,
) -> Result<usize, TooManyTies> {
    let Buffers { positions, lms, spare, names, ties, rows } = buffers;
    lms::find(block, positions);
    if positions.is_empty() {
        // All bytes are equal.
        return Err(TooManyTies);
    }
    names.begin(block.len(), positions);
    ties.begin(block.len());
    lms.resize(positions.len(), 0);
    spare.resize(positions.len(), 0);
    let mut sorter = ties::Sorter { block, names, ties, lms, spare };
    order::sort(positions, &mut sorter);
    sorter.resolve()?;
    Ok(scan::induce(block, counts, lms, last, rows))
}
