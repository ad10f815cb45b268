//! Sorting by the suffix array of libsais, whose time is linear in the length of the block, whatever the content.
//!
//! A suffix array sorts suffixes, and bzip2 needs rotations. So the block is rotated to its least rotation, whose
//! suffixes are in the order of its rotations (see [`rotation`]). libsais reports the rank of every sixteenth rotation.
//! The rank of the block itself follows from the nearest of them by a few steps of the inverse transform.

use libsais::BwtConstruction;
use libsais::bwt::AuxIndicesSamplingRate;

use super::bytes::Counts;
use super::counting::starts;
use super::rotation;

/// libsais reports the ranks of the rotations whose positions are multiples of this.
const SAMPLED: u16 = 16;

/// Entries of the suffix array beyond the block, with which libsais is faster.
const SPARE: usize = 4096;

#[derive(Default)]
pub(super) struct Buffers {
    suffixes: Vec<i32>,
    ranks: Vec<i32>,
}

/// Sorts a block as [`super::transform`] does.
pub(super) fn sort(block: &[u8], counts: &Counts, last: &mut [u8], buffers: &mut Buffers) -> usize {
    let n = block.len();
    if n < 2 {
        last.copy_from_slice(block);
        return 0;
    }
    let start = rotation::least(block);
    let (head, tail) = last.split_at_mut(n - start);
    head.copy_from_slice(&block[start..]);
    tail.copy_from_slice(&block[..start]);
    buffers.suffixes.resize(n + SPARE, 0);
    buffers.ranks.resize((n - 1) / usize::from(SAMPLED) + 1, 0);
    let sorted = BwtConstruction::replace_text(last)
        .with_borrowed_temporary_array_buffer(&mut buffers.suffixes)
        .single_threaded()
        .with_aux_indices_in_buffer(AuxIndicesSamplingRate::from(i32::from(SAMPLED)), &mut buffers.ranks)
        .run();
    // It fails only for lack of memory, which is fatal for all other allocations, too.
    if let Err(error) = sorted {
        panic!("libsais cannot sort {n} bytes: {error}");
    }
    // The position of the original first byte in the rotated block.
    rank(n - start, &buffers.ranks, last, &starts(counts))
}

/// Returns the rank of the rotation that begins at `at`. Starts at the next rotation whose rank is known, and steps
/// back one byte at a time: the rank of the rotation that begins one byte earlier is the number of rotations that begin
/// with a lesser byte than it, and of those that begin with the same byte and have a lower rank.
fn rank(at: usize, ranks: &[i32], last: &[u8], starts: &Counts) -> usize {
    let sampled = usize::from(SAMPLED);
    let sample = at.div_ceil(sampled);
    // The rotation after the last sample is that at the end of the block, which is that at position 0.
    let (known, end) = match ranks.get(sample) {
        Some(&rank) => (rank, sample * sampled),
        None => (ranks.first().copied().unwrap_or_default(), last.len()),
    };
    // The ranks of libsais are greater by one, because of the empty suffix.
    let known = usize::try_from(known).map_or(0, |known| known - 1);
    (at..end).fold(known, |rank, _| {
        let byte = last[rank];
        starts[usize::from(byte)] as usize + count(&last[..rank], byte)
    })
}

/// Counts the occurrences of a byte value.
fn count(bytes: &[u8], byte: u8) -> usize {
    // So few bytes at a time that their count fits in a byte: then a vector register holds sixteen counters.
    const FEW: usize = 192;
    bytes.chunks(FEW).map(|few| usize::from(few.iter().map(|b| u8::from(*b == byte)).sum::<u8>())).sum()
}
