//! An LMS rotation as one number: the key that it is sorted by, above the position where it begins.

/// The low bits hold where the rotation begins: 900,000 bytes need 20.
pub(super) const POSITION_BITS: u32 = 20;
pub(super) const KEY_BITS: u32 = 64 - POSITION_BITS;
pub(super) const POSITION: u64 = (1 << POSITION_BITS) - 1;
pub(super) const KEY: u64 = !POSITION;

/// Returns where the rotation begins.
pub(super) fn position(rotation: u64) -> usize {
    (rotation & POSITION) as usize
}
