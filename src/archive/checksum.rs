//! The checksum of a tar header: the sum of its bytes, with the checksum field counted as spaces (POSIX pax(1),
//! "ustar Interchange Format").

use super::{BLOCK, number};

/// The checksum field within the header, in bytes.
const FIELD: std::ops::Range<usize> = 148..156;

/// Returns the checksum of `header`; `number` maps a byte to its signed or unsigned value.
pub(super) fn of(header: &[u8; BLOCK], number: impl Fn(u8) -> i64) -> i64 {
    let sum = |bytes: &[u8]| bytes.iter().map(|&byte| number(byte)).sum::<i64>();
    sum(header) - sum(&header[FIELD]) + 8 * number(b' ')
}

/// Returns whether the checksum field of `header` matches its content. Some historic tars summed signed bytes, so
/// both sums are accepted.
#[must_use]
pub fn is_right(header: &[u8; BLOCK]) -> bool {
    let stored = number::read(&header[FIELD]);
    let sums_up = |number: fn(u8) -> i64| stored == Some(of(header, number));
    sums_up(i64::from) || sums_up(|byte| byte.cast_signed().into())
}
