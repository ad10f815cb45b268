//! The checksum of a tar header: the sum of its bytes, with its own field counted as spaces.

use super::{BLOCK, number};

/// Where a header has it.
const FIELD: std::ops::Range<usize> = 148..156;

/// That of `header`, its bytes taken as these numbers.
pub(super) fn of(header: &[u8; BLOCK], number: impl Fn(u8) -> i64) -> i64 {
    let sum = |bytes: &[u8]| bytes.iter().map(|&byte| number(byte)).sum::<i64>();
    sum(header) - sum(&header[FIELD]) + 8 * number(b' ')
}

/// Whether the header has the one it should have. Some historic tars summed signed bytes; POSIX lets readers accept
/// both.
#[must_use]
pub fn is_right(header: &[u8; BLOCK]) -> bool {
    let stored = number::read(&header[FIELD]);
    let sums_up = |number: fn(u8) -> i64| stored == Some(of(header, number));
    sums_up(i64::from) || sums_up(|byte| byte.cast_signed().into())
}
