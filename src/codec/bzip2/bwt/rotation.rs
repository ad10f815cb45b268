//! The least rotation of a block. Its suffixes are in the order of the rotations that begin with them.
//!
//! The two orders could differ only for a suffix that is a prefix of a longer one, and therefore less. The rotation
//! that begins with the shorter suffix continues with the least rotation, so it is not greater than the other one. If
//! the block is periodic, equal rotations can be in any order.

use super::bytes::{word, words};

/// Returns the position of the least rotation of `block`; of equal ones, any.
pub(super) fn least(block: &[u8]) -> usize {
    among_candidates(block).unwrap_or_else(|| by_pairs(block))
}

/// Returns the least rotation by comparing all candidates, eight bytes at a time. In ordinary data, hardly any are left
/// after the first eight bytes. Returns `None` if too many are left for too long.
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

/// Returns the least rotation by comparing two candidates at a time. If the greater one differs at its n-th byte, then
/// none of the n rotations that begin in these bytes is the least. So each byte of the block takes two steps at most.
fn by_pairs(block: &[u8]) -> usize {
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
        fn no_rotation_is_less(
            block in prop::collection::vec(prop_oneof![0..2_u8, Just(0)], 1..200),
            times in 1..4_usize,
        ) {
            let block = block.repeat(times);
            let rotation = |at: usize| [&block[at..], &block[..at]].concat();
            let expected = (0..block.len()).map(rotation).min().unwrap();
            prop_assert_eq!(rotation(least(&block)), &expected[..]);
            prop_assert_eq!(rotation(by_pairs(&block)), &expected[..]);
        }
    }
}
