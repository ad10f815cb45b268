//! Prefix codes of minimal length for given weights, or very nearly minimal ones where the length of a codeword is limited.

/// The largest alphabet: the literals and lengths of deflate.
const MAX_SYMBOLS: usize = 288;

/// Replaces the `lengths` of the symbols whose weight is not 0 by those of their codewords, which have at most `limit` bits.
/// The sum of the weights is below 2³². A single symbol has a codeword of one bit.
///
/// The algorithm is that of Moffat and Katajainen, "In-Place Calculation of Minimum-Redundancy Codes" (1995): one array
/// holds weights, then parents, then depths. Lengths above the limit are reduced to it, and others are increased, those
/// of rare symbols first, until there is a prefix code with these lengths.
pub(super) fn code_lengths(weights: impl Iterator<Item = u32>, limit: u8, lengths: &mut [u8]) {
    // The symbol is in the low bits, so that plain numbers are sorted.
    let mut order = [0_u64; MAX_SYMBOLS];
    let mut count = 0;
    for (weight, symbol) in weights.zip(0_u64..).filter(|(weight, _)| *weight > 0) {
        order[count] = u64::from(weight) << 16 | symbol;
        count += 1;
    }
    let order = &mut order[..count];
    order.sort_unstable();
    let mut tree = [0_u32; MAX_SYMBOLS];
    let tree = &mut tree[..order.len()];
    for (node, &slot) in tree.iter_mut().zip(order.iter()) {
        *node = (slot >> 16) as u32;
    }
    depths(tree);
    reduce(tree, limit.into());
    for (&slot, &depth) in order.iter().zip(tree.iter()) {
        lengths[usize::from(slot as u16)] = depth as u8;
    }
}

/// Replaces weights in ascending order by depths in descending order.
fn depths(tree: &mut [u32]) {
    let n = tree.len();
    if n < 2 {
        tree.fill(1);
        return;
    }
    // The weight of an inner node replaces that of a node which already has a parent. When the inner node gets a
    // parent, the index of the parent replaces its weight.
    let (mut leaf, mut inner) = (0, 0);
    for next in 0..n - 1 {
        let mut take = || {
            if leaf >= n || (inner < next && tree[inner] < tree[leaf]) {
                let weight = tree[inner];
                tree[inner] = next as u32;
                inner += 1;
                weight
            } else {
                let weight = tree[leaf];
                leaf += 1;
                weight
            }
        };
        let weight = take() + take();
        tree[next] = weight;
    }
    // The root is the last inner node; each other one is one deeper than its parent.
    tree[n - 2] = 0;
    for node in (0..n - 2).rev() {
        tree[node] = tree[tree[node] as usize] + 1;
    }
    // Of the nodes at each depth, those that are not inner ones are leaves.
    let mut inner = n - 1;
    let mut leaf = n;
    let (mut available, mut depth) = (1, 0);
    while available > 0 {
        let mut used = 0;
        while inner > 0 && tree[inner - 1] == depth {
            used += 1;
            inner -= 1;
        }
        for _ in used..available {
            leaf -= 1;
            tree[leaf] = depth;
        }
        available = 2 * used;
        depth += 1;
    }
}

/// Limits depths, which are in descending order, so that there is a complete prefix code with these lengths.
fn reduce(depths: &mut [u32], limit: u32) {
    // The Kraft sum in units of the longest codeword, and its maximum.
    let room = 1_u32 << limit;
    let mut taken = 0;
    for depth in depths.iter_mut() {
        *depth = (*depth).min(limit);
        taken += 1 << (limit - *depth);
    }
    while taken > room {
        // The longest codeword below the limit: it belongs to a rare symbol, and reduces the sum by the least amount.
        let Some(depth) = depths.iter_mut().find(|depth| **depth < limit) else { return };
        *depth += 1;
        taken -= 1 << (limit - *depth);
    }
    // Some decoders refuse incomplete codes. So the rest of the sum shortens codewords, those of frequent symbols
    // first. The longest codewords use it up, because they take it in steps of one.
    for depth in depths.iter_mut().rev() {
        while *depth > 1 && taken + (1 << (limit - *depth)) <= room {
            taken += 1 << (limit - *depth);
            *depth -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    use proptest::prelude::*;

    use super::*;

    fn lengths(weights: &[u32], limit: u8) -> Vec<u8> {
        let mut lengths = vec![0; weights.len()];
        code_lengths(weights.iter().copied(), limit, &mut lengths);
        lengths
    }

    fn cost(weights: &[u32], lengths: &[u8]) -> u64 {
        weights.iter().zip(lengths).map(|(&weight, &length)| u64::from(weight) * u64::from(length)).sum()
    }

    /// Returns the cost of an optimal code by Huffman's algorithm: the sum of the weights of all inner nodes.
    fn optimum(weights: &[u32]) -> u64 {
        let used = weights.iter().filter(|weight| **weight > 0);
        let mut heap: BinaryHeap<_> = used.map(|&weight| Reverse(u64::from(weight))).collect();
        let mut cost = 0;
        while let (Some(Reverse(a)), Some(Reverse(b))) = (heap.pop(), heap.pop()) {
            cost += a + b;
            heap.push(Reverse(a + b));
        }
        cost
    }

    fn kraft(lengths: &[u8]) -> f64 {
        lengths.iter().filter(|length| **length > 0).map(|&length| 0.5_f64.powi(length.into())).sum()
    }

    #[test]
    fn steep_weights_are_limited() {
        let mut weights = vec![1_u32, 1];
        while weights.len() < 30 {
            weights.push(weights[weights.len() - 1] + weights[weights.len() - 2]);
        }
        let lengths = lengths(&weights, 16);
        assert!(lengths.iter().all(|length| (1..=16).contains(length)), "{lengths:?}");
        assert!((kraft(&lengths) - 1.0).abs() < 1e-9);
        assert!(cost(&weights, &lengths) * 1000 < optimum(&weights) * 1010);
    }

    #[test]
    fn a_symbol_that_does_not_occur_has_no_codeword() {
        assert_eq!(lengths(&[0, 7, 0, 2, 1], 7), [0, 1, 0, 2, 2]);
        assert_eq!(lengths(&[0, 7, 0], 7), [0, 1, 0]);
        assert_eq!(lengths(&[0; 19], 7), [0; 19]);
        assert_eq!(lengths(&[5; 128], 7), [7; 128]);
    }

    proptest! {
        #[test]
        fn no_prefix_code_is_shorter(
            weights in prop::collection::vec(
                prop_oneof![Just(0_u32), 0..50_u32, 0..20_000_u32, 0..800_000_u32],
                3..=MAX_SYMBOLS,
            ),
            limit in 14..=16_u8,
        ) {
            let lengths = lengths(&weights, limit);
            let used = weights.iter().filter(|weight| **weight > 0).count();
            prop_assert!(lengths.iter().zip(&weights).all(|(&length, &weight)| (length > 0) == (weight > 0) && length <= limit));
            prop_assert!(used < 2 || (kraft(&lengths) - 1.0).abs() < 1e-9);
            let optimum = optimum(&weights);
            let cost = cost(&weights, &lengths);
            prop_assert!(cost >= optimum);
            // The limit affects only rare symbols, so the cost is close to the optimum.
            prop_assert!(used < 2 || cost * 1000 <= optimum * 1010, "{cost} {optimum}");
        }
    }
}
