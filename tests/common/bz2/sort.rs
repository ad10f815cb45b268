//! The Burrows-Wheeler transform: the last column of the sorted rotations of a block, and the index of the block
//! among them, the origin pointer.

/// Returns the last column and the origin pointer. It compares rotations byte by byte, so blocks must be short or
/// varied.
pub fn sort(bytes: &[u8]) -> (Vec<u8>, u32) {
    let rotation = |from: usize| bytes[from..].iter().chain(&bytes[..from]);
    let mut rotations: Vec<usize> = (0..bytes.len()).collect();
    rotations.sort_by(|&a, &b| rotation(a).cmp(rotation(b)));
    let column = rotations.iter().map(|&from| bytes[(from + bytes.len() - 1) % bytes.len()]).collect();
    let origin = rotations.iter().position(|&from| from == 0).unwrap_or_default();
    (column, u32::try_from(origin).unwrap())
}

/// Returns the block for a last column and an origin pointer. Any column is accepted: one that no transform
/// produces repeats a part of itself.
pub fn unsort(column: &[u8], origin: usize) -> Vec<u8> {
    // The first column is the sorted last column, and equal bytes have the same order in both. So this maps each
    // row to the position of its first byte in the last column.
    let mut first: Vec<usize> = (0..column.len()).collect();
    first.sort_by_key(|&at| column[at]);
    let mut at = origin;
    let mut step = || {
        at = first[at];
        column[at]
    };
    (0..column.len()).map(|_| step()).collect()
}
