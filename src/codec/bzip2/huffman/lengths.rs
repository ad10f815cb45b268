//! Code lengths for given frequencies: those of an optimal prefix code, or very nearly optimal ones where the length is
//! limited.

use super::{Lengths, MAX_SYMBOLS};

/// The maximum code length. It is less than the 20 of the format, so that three codewords and seven bits that are not
/// yet written fit in a word of 64 bits. This costs nothing: only symbols that occur once in tens of thousands would
/// have longer codewords.
pub(super) const LIMIT: u8 = 16;

/// Returns the code lengths for symbols of these frequencies. Each symbol has a codeword, even if it never occurs, as
/// the format requires.
///
/// The algorithm is that of Moffat and Katajainen, "In-Place Calculation of Minimum-Redundancy Codes" (1995): one array
/// holds weights, then parents, then depths. Lengths above the limit are reduced to it, and others are increased, those
/// of rare symbols first, until there is a prefix code with these lengths.
pub(super) fn lengths(frequencies: &[u32]) -> Lengths {
    let mut lengths = [0; MAX_SYMBOLS];
    // The symbol is in the low bits, so that plain numbers are sorted.
    let mut order = [0_u64; MAX_SYMBOLS];
    let order = &mut order[..frequencies.len()];
    for ((slot, &frequency), symbol) in order.iter_mut().zip(frequencies).zip(0..) {
        *slot = u64::from(frequency.max(1)) << 16 | symbol;
    }
    order.sort_unstable();
    let mut tree = [0_u32; MAX_SYMBOLS];
    let tree = &mut tree[..order.len()];
    for (node, &slot) in tree.iter_mut().zip(order.iter()) {
        *node = (slot >> 16) as u32;
    }
    depths(tree);
    limit(tree);
    for (&slot, &depth) in order.iter().zip(tree.iter()) {
        lengths[usize::from(slot as u16)] = depth as u8;
    }
    lengths
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
fn limit(depths: &mut [u32]) {
    let limit = u32::from(LIMIT);
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

    fn cost(frequencies: &[u32], lengths: &Lengths) -> u64 {
        frequencies.iter().zip(lengths).map(|(&f, &l)| u64::from(f.max(1)) * u64::from(l)).sum()
    }

    /// Returns the cost of an optimal code by Huffman's algorithm: the sum of the weights of all inner nodes.
    fn optimum(frequencies: &[u32]) -> u64 {
        let mut heap: BinaryHeap<_> = frequencies.iter().map(|&f| Reverse(u64::from(f.max(1)))).collect();
        let mut cost = 0;
        while let (Some(Reverse(a)), Some(Reverse(b))) = (heap.pop(), heap.pop()) {
            cost += a + b;
            heap.push(Reverse(a + b));
        }
        cost
    }

    fn kraft(lengths: &[u8]) -> f64 {
        lengths.iter().map(|&l| 0.5_f64.powi(l.into())).sum()
    }

    #[test]
    fn steep_frequencies_are_limited() {
        let mut frequencies = vec![1_u32, 1];
        while frequencies.len() < 30 {
            frequencies.push(frequencies[frequencies.len() - 1] + frequencies[frequencies.len() - 2]);
        }
        let lengths = lengths(&frequencies);
        let used = &lengths[..30];
        assert!(used.iter().all(|&l| (1..=LIMIT).contains(&l)), "{used:?}");
        assert!((kraft(used) - 1.0).abs() < 1e-9);
        assert!(cost(&frequencies, &lengths) * 1000 < optimum(&frequencies) * 1010);
    }

    proptest! {
        #[test]
        fn no_prefix_code_is_shorter(
            frequencies in prop::collection::vec(
                prop_oneof![Just(0_u32), 0..50_u32, 0..20_000_u32, 0..800_000_u32],
                3..=258,
            ),
        ) {
            let lengths = lengths(&frequencies);
            let used = &lengths[..frequencies.len()];
            prop_assert!(used.iter().all(|&l| (1..=LIMIT).contains(&l)));
            prop_assert!((kraft(used) - 1.0).abs() < 1e-9);
            let optimum = optimum(&frequencies);
            let cost = cost(&frequencies, &lengths);
            prop_assert!(cost >= optimum);
            // The limit affects only rare symbols, so the cost is close to the optimum.
            prop_assert!(cost * 1000 <= optimum * 1010, "{cost} {optimum}");
        }
    }
}
