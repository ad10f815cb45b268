//! What all ways to sort a block need: how often each byte occurs, eight bytes of a rotation as a number, and the
//! result of a way that gives up.

/// How often each byte occurs in a block.
pub(in crate::codec::bzip2) type Counts = [u32; 256];

/// The block repeats itself too much for the way that was tried.
#[derive(Debug)]
pub(super) struct TooManyTies;

/// How often each byte occurs.
pub(in crate::codec::bzip2) fn counts(bytes: &[u8]) -> Counts {
    // Equal bytes often come in a row; to add to the same count twice in a row takes several times as long.
    let mut counts = [[0_u32; 256]; 4];
    for four in bytes.chunks(4) {
        for (counts, &byte) in counts.iter_mut().zip(four) {
            counts[usize::from(byte)] += 1;
        }
    }
    std::array::from_fn(|byte| counts.iter().map(|counts| counts[byte]).sum())
}

/// The first eight bytes of the rotation that begins at `at`, as a number that sorts as they do.
pub(super) fn word(block: &[u8], at: usize) -> u64 {
    let n = block.len();
    match block.get(at..).and_then(<[u8]>::first_chunk) {
        Some(eight) => u64::from_be_bytes(*eight),
        None => (0..8).fold(0, |word, next| word << 8 | u64::from(block[(at + next) % n])),
    }
}

/// That of each rotation.
pub(super) fn words(block: &[u8]) -> impl Iterator<Item = (usize, u64)> {
    let n = block.len();
    let inner = block.windows(8).filter_map(<[u8]>::first_chunk).map(|eight| u64::from_be_bytes(*eight)).enumerate();
    inner.chain((n.saturating_sub(7)..n).map(move |at| (at, word(block, at))))
}
