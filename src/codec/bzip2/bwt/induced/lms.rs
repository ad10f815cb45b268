//! Finding the LMS rotations, 64 bytes at a time. A byte says whether its rotation rises: it does if the next byte is
//! greater, and does not if that is less; if that is equal, it does as the next one does. So what rises spreads
//! backwards over equal bytes, as a carry does through the ones of a number; and an addition finds all carries at once.

use wide::u8x16;

/// Bytes that are looked at together.
const BITS: usize = 64;

/// The positions of all LMS rotations, the last one first; none if all bytes are the same.
pub(super) fn find(block: &[u8], lms: &mut Vec<u32>) {
    lms.clear();
    let Some((&end, _)) = block.split_last() else { return };
    // After the end comes the beginning.
    let Some(differs) = block.iter().find(|byte| **byte != end) else { return };
    let end_rises = end < *differs;
    lms.reserve(block.len() / 2 + 1);
    let mut rises = end_rises;
    let mut to = block.len() - 1;
    while to > 0 {
        let from = to.saturating_sub(BITS);
        let steps = Steps::of(&block[from..=to]);
        rises = steps.lms(to - from, rises, |after| lms.push((from + after) as u32));
        to = from;
    }
    if rises && !end_rises {
        lms.push(0);
    }
}

/// Of some bytes, a bit for each: whether the next one is greater, and whether it is equal.
struct Steps {
    up: u64,
    level: u64,
}

impl Steps {
    /// Of all of these bytes but the last, which are [`BITS`] at most.
    #[inline(always)]
    fn of(bytes: &[u8]) -> Self {
        let (mut up, mut level) = (0, 0);
        if bytes.len() > BITS {
            for at in (0..BITS).step_by(16) {
                let sixteen =
                    |at| bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(u8x16::ZERO, |s| u8x16::new(*s));
                let (these, next) = (sixteen(at), sixteen(at + 1));
                let equal = u64::from(these.simd_eq(next).to_bitmask());
                let not_down = u64::from(these.min(next).simd_eq(these).to_bitmask());
                level |= equal << at;
                up |= (not_down & !equal) << at;
            }
        } else {
            for (at, pair) in bytes.windows(2).enumerate() {
                up |= u64::from(pair[0] < pair[1]) << at;
                level |= u64::from(pair[0] == pair[1]) << at;
            }
        }
        Self { up, level }
    }

    /// Calls `found` for each LMS rotation in `1..=len`, the last one first, where `len` is the position after these steps, and `rises`
    /// says whether what begins there does; returns whether what begins at 0 does.
    #[inline(always)]
    fn lms(self, len: usize, rises: bool, mut found: impl FnMut(usize)) -> bool {
        // The last position is the lowest bit: carries go upwards.
        let lowest_last = |bits: u64| bits.reverse_bits() >> (BITS - len);
        let (up, level) = (lowest_last(self.up), lowest_last(self.level));
        let sum = (up | level).wrapping_add(up).wrapping_add(u64::from(rises));
        let after_rises = (up | level) ^ up ^ sum;
        let rise = up | (level & after_rises);
        let mut lms = (after_rises & !rise) & (u64::MAX >> (BITS - len));
        while lms != 0 {
            found(len - lms.trailing_zeros() as usize);
            lms &= lms - 1;
        }
        rise >> (len - 1) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn lms_rotations_are_found(block in prop_oneof![
            prop::collection::vec(0..3_u8, 1..400),
            prop::collection::vec(any::<u8>(), 1..400),
            prop::collection::vec((any::<u8>(), 1..150_usize), 1..5)
                .prop_map(|runs| runs.into_iter().flat_map(|(byte, len)| std::iter::repeat_n(byte, len)).collect()),
        ]) {
            let n = block.len();
            let rises = |at: usize| {
                (1..n).map(|next| block[(at + next) % n]).find(|byte| *byte != block[at % n]).is_some_and(|b| b > block[at % n])
            };
            let falls = |at: usize| {
                (1..n).map(|next| block[(at + next) % n]).find(|byte| *byte != block[at % n]).is_some_and(|b| b < block[at % n])
            };
            let expected: Vec<u32> = (0..n).rev().filter(|&at| rises(at) && falls(at + n - 1)).map(|at| at as u32).collect();
            let mut lms = vec![7];
            find(&block, &mut lms);
            prop_assert_eq!(lms, expected);
        }
    }
}
