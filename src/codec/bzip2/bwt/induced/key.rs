//! An LMS rotation as one number: the key that it is sorted by, and in the low bits its position.

/// The number of bits of the position: 900,000 bytes need 20.
pub(super) const POSITION_BITS: u32 = 20;
pub(super) const KEY_BITS: u32 = 64 - POSITION_BITS;
pub(super) const POSITION: u64 = (1 << POSITION_BITS) - 1;
pub(super) const KEY: u64 = !POSITION;

/// Returns the position at which the rotation begins.
pub(super) fn position(rotation: u64) -> usize {
    (rotation & POSITION) as usize
}
