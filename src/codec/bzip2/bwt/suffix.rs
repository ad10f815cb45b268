//! Sorting by the suffix array of libsais, whose time is linear in the length of the block, whatever repeats in it.
//!
//! A suffix array sorts suffixes, and bzip2 needs rotations. The block is therefore turned to its least rotation, whose
//! suffixes are in the order of its rotations (see [`rotation`]). libsais reports the rank of every sixteenth rotation.
//! The rank of the block itself follows from the nearest of them by a few steps of the inverse transform.

use libsais::BwtConstruction;
use libsais::bwt::AuxIndicesSamplingRate;

use super::bytes::Counts;
use super::counting::starts;
use super::rotation;

/// libsais tells the ranks of rotations at multiples of this: one in so many.
const SAMPLED: u16 = 16;

/// Room beyond the block that libsais works faster with.
const SPARE: usize = 4096;

#[derive(Default)]
pub(super) struct Buffers {
    suffixes: Vec<i32>,
    ranks: Vec<i32>,
}

/// As [`super::transform`].
pub(super) fn sort(block: &[u8], counts: &Counts, last: &mut [u8], buffers: &mut Buffers) -> usize {
    let n = block.len();
    if n < 2 {
        last.copy_from_slice(block);
        return 0;
    }
    let turn = rotation::least(block);
    let (end, beginning) = last.split_at_mut(n - turn);
    end.copy_from_slice(&block[turn..]);
    beginning.copy_from_slice(&block[..turn]);
    buffers.suffixes.resize(n + SPARE, 0);
    buffers.ranks.resize((n - 1) / usize::from(SAMPLED) + 1, 0);
    let sorted = BwtConstruction::replace_text(last)
        .with_borrowed_temporary_array_buffer(&mut buffers.suffixes)
        .single_threaded()
        .with_aux_indices_in_buffer(AuxIndicesSamplingRate::from(i32::from(SAMPLED)), &mut buffers.ranks)
        .run();
    // It fails for lack of memory, as all allocations here could.
    if let Err(error) = sorted {
        panic!("libsais cannot sort {n} bytes: {error}");
    }
    // Where the turned block ends, the block begins.
    rank(n - turn, &buffers.ranks, last, &starts(counts))
}

/// The rank of the rotation that begins at `at`. It is found from that of the nearest one after it whose rank is
/// known, by steps of one byte back: the rank of the rotation that begins one byte earlier is the number of those
/// that begin with a lesser byte, and of those with the same one that are ranked before it.
fn rank(at: usize, ranks: &[i32], last: &[u8], starts: &Counts) -> usize {
    let sampled = usize::from(SAMPLED);
    let sample = at.div_ceil(sampled);
    // After the last sample comes the end, which is the beginning.
    let (known, end) = match ranks.get(sample) {
        Some(&rank) => (rank, sample * sampled),
        None => (ranks.first().copied().unwrap_or_default(), last.len()),
    };
    // libsais counts one more, the empty suffix.
    let known = usize::try_from(known).map_or(0, |known| known - 1);
    (at..end).fold(known, |rank, _| {
        let byte = last[rank];
        starts[usize::from(byte)] as usize + count(&last[..rank], byte)
    })
}

/// How often a byte occurs.
fn count(bytes: &[u8], byte: u8) -> usize {
    // So few at a time that their number fits in a byte: then sixteen are counted in one register.
    const FEW: usize = 192;
    bytes.chunks(FEW).map(|few| usize::from(few.iter().map(|b| u8::from(*b == byte)).sum::<u8>())).sum()
}
