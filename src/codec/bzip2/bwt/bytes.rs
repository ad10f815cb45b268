//! What all sorting algorithms share: the counts of all bytes, the first eight bytes of a rotation as a number, and the
//! error of an algorithm that gives up.

/// The number of occurrences of each byte value in a block.
pub(in crate::codec::bzip2) type Counts = [u32; 256];

/// The error of a sorting algorithm if a block repeats so much that the budget of the algorithm is used up.
#[derive(Debug)]
pub(super) struct TooManyTies;

/// Counts the occurrences of each byte value.
pub(in crate::codec::bzip2) fn counts(bytes: &[u8]) -> Counts {
    // Equal bytes are often adjacent, and adding to the same counter twice in a row takes several times as long.
    let mut counts = [[0_u32; 256]; 4];
    for four in bytes.chunks(4) {
        for (counts, &byte) in counts.iter_mut().zip(four) {
            counts[usize::from(byte)] += 1;
        }
    }
    std::array::from_fn(|byte| counts.iter().map(|counts| counts[byte]).sum())
}

/// Returns the first eight bytes of the rotation that begins at `at`, as a number that is ordered as they are.
pub(super) fn word(block: &[u8], at: usize) -> u64 {
    let n = block.len();
    match block.get(at..).and_then(<[u8]>::first_chunk) {
        Some(eight) => u64::from_be_bytes(*eight),
        None => (0..8).fold(0, |word, next| word << 8 | u64::from(block[(at + next) % n])),
    }
}

/// Returns the position of each rotation, and its first eight bytes as a number, as [`word`] does.
pub(super) fn words(block: &[u8]) -> impl Iterator<Item = (usize, u64)> {
    let n = block.len();
    let inner = block.windows(8).filter_map(<[u8]>::first_chunk).map(|eight| u64::from_be_bytes(*eight)).enumerate();
    inner.chain((n.saturating_sub(7)..n).map(move |at| (at, word(block, at))))
}
