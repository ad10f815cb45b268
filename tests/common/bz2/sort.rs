//! The Burrows-Wheeler transform: all rotations of a block, sorted, of which the last column is stored and
//! where the block itself stands among them, which is the origin pointer.

/// The last column, and the origin pointer. For blocks that are short or varied: rotations are compared
/// byte by byte.
pub fn sort(bytes: &[u8]) -> (Vec<u8>, u32) {
    let rotation = |from: usize| bytes[from..].iter().chain(&bytes[..from]);
    let mut rotations: Vec<usize> = (0..bytes.len()).collect();
    rotations.sort_by(|&a, &b| rotation(a).cmp(rotation(b)));
    let column = rotations.iter().map(|&from| bytes[(from + bytes.len() - 1) % bytes.len()]).collect();
    let origin = rotations.iter().position(|&from| from == 0).unwrap_or_default();
    (column, u32::try_from(origin).unwrap())
}

/// The block that a last column and an origin pointer stand for. Any column does, and any pointer into it;
/// where the column is not that of a real transform, the walk goes through a part of it again and again.
pub fn unsort(column: &[u8], origin: usize) -> Vec<u8> {
    // The first column is the last one sorted. The n-th of equal bytes in the one is the n-th of them in the
    // other, so this says for each row where its first byte stands in the last column.
    let mut first: Vec<usize> = (0..column.len()).collect();
    first.sort_by_key(|&at| column[at]);
    let mut at = origin;
    let mut step = || {
        at = first[at];
        column[at]
    };
    (0..column.len()).map(|_| step()).collect()
}
