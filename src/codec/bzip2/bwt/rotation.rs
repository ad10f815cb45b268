//! The least rotation of a block. Its suffixes are in the order of the rotations that begin with them.
//!
//! A suffix could only be misplaced against a rotation that it is a prefix of. The rest of that rotation would then have
//! to be less than the least rotation, which it is not. If the block is periodic, equal rotations can be in any order.

use super::bytes::{word, words};

/// Where the least rotation of `block` begins; of equal ones, any.
pub(super) fn least(block: &[u8]) -> usize {
    among_candidates(block).unwrap_or_else(|| by_duel(block))
}

/// By the first eight bytes hardly any candidates are left in ordinary data, and by the next eight still fewer.
/// `None` if there are too many for too long.
fn among_candidates(block: &[u8]) -> Option<usize> {
    let n = block.len();
    let mut least = u64::MAX;
    let mut candidates = Vec::new();
    words(block).for_each(|(at, word)| {
        if word <= least {
            if word < least {
                candidates.clear();
                least = word;
            }
            candidates.push(at);
        }
    });
    let mut budget = n / 4;
    let mut depth = 8;
    while candidates.len() > 1 {
        budget = budget.checked_sub(candidates.len())?;
        if depth >= n {
            break;
        }
        let least = candidates.iter().map(|at| word(block, (at + depth) % n)).min()?;
        candidates.retain(|at| word(block, (at + depth) % n) == least);
        depth += 8;
    }
    candidates.first().copied()
}

/// Two candidates are compared; with each byte that the loser differs later, all rotations that begin in what was
/// compared are out too. So it takes two steps for each byte at most.
fn by_duel(block: &[u8]) -> usize {
    let n = block.len();
    let at = |index: usize| block[if index < n { index } else { index - n }];
    let (mut a, mut b, mut same) = (0, 1, 0);
    while a < n && b < n && same < n {
        let (left, right) = (at(a + same), at(b + same));
        if left == right {
            same += 1;
            continue;
        }
        if left > right {
            a += same + 1;
        } else {
            b += same + 1;
        }
        if a == b {
            b += 1;
        }
        same = 0;
    }
    a.min(b)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_rotation_is_less(block in prop::collection::vec(prop_oneof![0..2_u8, Just(0)], 1..200), times in 1..4_usize) {
            let block = block.repeat(times);
            let rotation = |at: usize| [&block[at..], &block[..at]].concat();
            let expected = (0..block.len()).map(rotation).min().unwrap();
            prop_assert_eq!(rotation(least(&block)), &expected[..]);
            prop_assert_eq!(rotation(by_duel(&block)), &expected[..]);
        }
    }
}
