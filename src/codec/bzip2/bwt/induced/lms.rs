//! Finds the LMS rotations, 64 bytes at a time. A rotation is of type S if its second byte is greater than its first
//! one, and of type L if it is less. If they are equal, it has the type of the rotation that begins one byte later. So
//! type S propagates backwards over equal bytes, as a carry propagates through one bits, and one addition computes the
//! types of all.

use wide::u8x16;

/// The number of bytes that are examined at a time.
const BITS: usize = 64;

/// Finds the positions of all LMS rotations, in descending order. There are none if all bytes are equal.
pub(super) fn find(block: &[u8], lms: &mut Vec<u32>) {
    lms.clear();
    let Some((&end, _)) = block.split_last() else { return };
    // The last rotation continues at the beginning of the block.
    let Some(differs) = block.iter().find(|byte| **byte != end) else { return };
    let end_is_s = end < *differs;
    lms.reserve(block.len() / 2 + 1);
    let mut is_s = end_is_s;
    let mut to = block.len() - 1;
    while to > 0 {
        let from = to.saturating_sub(BITS);
        let steps = Steps::of(&block[from..=to]);
        is_s = steps.lms(to - from, is_s, |after| lms.push((from + after) as u32));
        to = from;
    }
    if is_s && !end_is_s {
        lms.push(0);
    }
}

/// Comparisons of adjacent bytes, one bit each.
struct Steps {
    /// Whether the next byte is greater.
    up: u64,
    /// Whether the next byte is equal.
    level: u64,
}

impl Steps {
    /// Compares each of these bytes, [`BITS`] at most, with the next one. The last byte has no next one and is
    /// additional.
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

    /// Calls `found` for the position of each LMS rotation in `1..=len`, in descending order. `len` is the number of
    /// steps, and `is_s` is whether the rotation after them is of type S. Returns whether the rotation at position 0 is
    /// of type S.
    #[inline(always)]
    fn lms(self, len: usize, is_s: bool, mut found: impl FnMut(usize)) -> bool {
        // The last position becomes the lowest bit, because carries go upwards.
        let lowest_last = |bits: u64| bits.reverse_bits() >> (BITS - len);
        let (up, level) = (lowest_last(self.up), lowest_last(self.level));
        let sum = (up | level).wrapping_add(up).wrapping_add(u64::from(is_s));
        let next_is_s = (up | level) ^ up ^ sum;
        let s_type = up | (level & next_is_s);
        let mut lms = (next_is_s & !s_type) & (u64::MAX >> (BITS - len));
        while lms != 0 {
            found(len - lms.trailing_zeros() as usize);
            lms &= lms - 1;
        }
        s_type >> (len - 1) & 1 == 1
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
            let differs = |at: usize| (1..n).map(|next| block[(at + next) % n]).find(|byte| *byte != block[at % n]);
            let is_s = |at: usize| differs(at).is_some_and(|byte| byte > block[at % n]);
            let is_l = |at: usize| differs(at).is_some_and(|byte| byte < block[at % n]);
            let is_lms = |at: &usize| is_s(*at) && is_l(at + n - 1);
            let expected: Vec<u32> = (0..n).rev().filter(is_lms).map(|at| at as u32).collect();
            let mut lms = vec![7];
            find(&block, &mut lms);
            prop_assert_eq!(lms, expected);
        }
    }
}
