//! The Burrows-Wheeler transform of a block, and its inverse. All rotations of the block are sorted. The result is the
//! last byte of each in that order, and the rank of the rotation that is the block itself.
//!
//! There are three sorting algorithms. A sample of the block decides whether [`radix`] is tried, which is for data that
//! hardly repeats, such as images and videos. [`induced`] is for all other data, and [`suffix`] for blocks that repeat
//! so much that [`induced`] would exceed its budget: its time is linear in the length of the block, whatever the
//! content.

mod bytes;
mod counting;
mod induced;
mod inverse;
mod radix;
mod rotation;
mod suffix;

use bytes::TooManyTies;

pub(super) use bytes::{Counts, counts};
pub(super) use inverse::Inverse;

/// Buffers that are reused for each block: to allocate them each time would take as long as sorting.
#[derive(Default)]
pub(super) struct Buffers {
    radix: radix::Buffers,
    induced: induced::Buffers,
    suffix: suffix::Buffers,
}

/// Writes the last bytes of the sorted rotations to `last`, which is as long as `block`, and returns the origin
/// pointer: the rank of the block itself. `block` is not empty and is no longer than [`super::rle::max_block`] of the
/// highest level.
pub(super) fn transform(block: &[u8], counts: &Counts, last: &mut [u8], buffers: &mut Buffers) -> usize {
    if radix::suits(block)
        && let Ok(origin) = radix::sort(block, counts, last, &mut buffers.radix)
    {
        return origin;
    }
    induced::sort(block, counts, last, &mut buffers.induced)
        .unwrap_or_else(|TooManyTies| suffix::sort(block, counts, last, &mut buffers.suffix))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The transform by its definition.
    fn plain(block: &[u8]) -> Vec<u8> {
        let n = block.len();
        let twice = block.repeat(2);
        let mut rotations: Vec<usize> = (0..n).collect();
        rotations.sort_by_key(|&at| &twice[at..at + n]);
        rotations.into_iter().map(|at| twice[at + n - 1]).collect()
    }

    fn back(last: &[u8], origin: usize) -> Vec<u8> {
        Inverse::default().text(last, &counts(last), origin).to_vec()
    }

    /// Checks that all algorithms that can sort the block agree with the definition.
    fn check(block: &[u8]) {
        let counts = counts(block);
        let expected = plain(block);
        let mut last = vec![0; block.len()];
        let origin = suffix::sort(block, &counts, &mut last, &mut suffix::Buffers::default());
        assert!(last == expected);
        assert!(back(&last, origin) == block);
        last.fill(0);
        if let Ok(origin) = radix::sort(block, &counts, &mut last, &mut radix::Buffers::default()) {
            assert!(last == expected);
            assert!(back(&last, origin) == block);
        }
        last.fill(0);
        if let Ok(origin) = induced::sort(block, &counts, &mut last, &mut induced::Buffers::default()) {
            assert!(last == expected);
            assert!(back(&last, origin) == block);
        }
    }

    #[test]
    fn short_blocks() {
        for len in 1..9 {
            for n in 0..3_usize.pow(len) {
                check(&(0..len).map(|at| (n / 3_usize.pow(at) % 3) as u8 * 100).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn periodic_blocks() {
        for period in 1..40_usize {
            for len in [period, 2 * period, 2 * period + 1, 5 * period, 100] {
                check(&(0..len).map(|at| (at % period * 7 % 11) as u8).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn fibonacci_words() {
        let (mut a, mut b) = (vec![0], vec![0, 1]);
        while b.len() < 1500 {
            check(&b);
            check(&b[..b.len() - 1]);
            (a, b) = (b.clone(), [&b[..], &a].concat());
        }
    }

    /// Checks the algorithms against each other, and the inverse, on a block for which the definition takes too long.
    fn check_long(block: &[u8], radix_can: bool, induced_can: bool) {
        let counts = counts(block);
        let mut last = vec![0; block.len()];
        let origin = suffix::sort(block, &counts, &mut last, &mut suffix::Buffers::default());
        assert!(back(&last, origin) == block);
        let mut other = vec![0; block.len()];
        let sorted = induced::sort(block, &counts, &mut other, &mut induced::Buffers::default());
        assert_eq!(sorted.ok(), induced_can.then_some(origin));
        assert!(!induced_can || other == last);
        let sorted = radix::sort(block, &counts, &mut other, &mut radix::Buffers::default());
        assert_eq!(sorted.ok(), radix_can.then_some(origin));
        assert!(!radix_can || other == last);
    }

    /// Returns bytes of a linear congruential generator, mapped by `choose`.
    fn noise(len: usize, choose: impl Fn(u8) -> u8) -> Vec<u8> {
        let mut state = 1_u64;
        let next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            choose((state >> 56) as u8)
        };
        std::iter::repeat_with(next).take(len).collect()
    }

    #[test]
    fn long_blocks() {
        for len in [899_981, 900_000] {
            check_long(&noise(len, |byte| byte), true, true);
        }
    }

    #[test]
    fn buckets_around_and_above_16_bits() {
        // A bucket of 65,535 rotations, one of 65,536, and two larger ones.
        for zeros in [65_535, 65_536] {
            let mut block = noise(200_000, |byte| byte.max(1));
            block.iter_mut().step_by(3).take(zeros).for_each(|byte| *byte = 0);
            check_long(&block, true, true);
        }
        check_long(&noise(400_000, |byte| if byte < 128 { byte % 2 } else { byte }), true, true);
    }

    #[test]
    fn long_periodic_blocks() {
        // Chains that are cycles, shorter and longer than a segment; and random data that occurs twice.
        for period in [1, 2, 255, 2048, 4096, 65_537] {
            check_long(&noise(period, |byte| byte).repeat(300_000 / period), false, false);
        }
        let half = noise(150_000, |byte| byte);
        check_long(&[&half[..], &half[1..]].concat(), false, true);
    }

    #[test]
    fn long_repetitive_blocks() {
        // Words of a small vocabulary, as in texts and tables; and slopes, where the distance of LMS rotations is below
        // or above the greatest one that `induced::ties` stores.
        let words: Vec<Vec<u8>> = (1..40).map(|word| noise(1 + word % 9, |byte| (byte / 8) ^ word as u8)).collect();
        let text: Vec<u8> =
            noise(150_000, |byte| byte % 39).iter().flat_map(|&word| words[usize::from(word)].clone()).collect();
        check_long(&text, false, true);
        for longest in [20, 250, 255] {
            let slopes = noise(800_000 / longest, |byte| byte).into_iter();
            let slopes: Vec<u8> = slopes.flat_map(|top| (0..top.min(longest as u8)).rev().chain([top])).collect();
            check_long(&slopes, false, longest < 252);
        }
    }

    proptest! {
        #[test]
        fn random_blocks(block in prop::collection::vec(any::<u8>(), 1..4000)) {
            check(&block);
        }

        #[test]
        fn blocks_of_few_bytes(block in prop::collection::vec(0..3_u8, 1..600)) {
            check(&block);
        }

        #[test]
        fn passages_that_occur_often(
            passage in prop::collection::vec(any::<u8>(), 20..200),
            between in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 30..80),
        ) {
            // More ties than are sorted by insertion, but few enough for the radix sort.
            let block: Vec<u8> = between.iter().flat_map(|bytes| [&passage, &bytes[..]].concat()).collect();
            check(&block);
        }

        #[test]
        fn blocks_of_repeated_parts(
            part in prop::collection::vec(any::<u8>(), 1..300),
            cuts in prop::collection::vec(any::<(prop::sample::Index, prop::sample::Index)>(), 1..12),
        ) {
            let mut block = Vec::new();
            for (a, b) in cuts {
                let (a, b) = (a.index(part.len()), b.index(part.len()));
                block.extend_from_slice(&part[a.min(b)..=a.max(b)]);
            }
            check(&block);
        }
    }
}
