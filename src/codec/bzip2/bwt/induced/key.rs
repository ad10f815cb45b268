//! An LMS rotation as one number: the key that it is sorted by, above the place where it begins.

/// The low bits hold where the rotation begins: 900,000 bytes need 20.
pub(super) const PLACE_BITS: u32 = 20;
pub(super) const KEY_BITS: u32 = 64 - PLACE_BITS;
pub(super) const PLACE: u64 = (1 << PLACE_BITS) - 1;
pub(super) const KEY: u64 = !PLACE;

/// Returns where the rotation begins.
pub(super) fn place(rotation: u64) -> usize {
    (rotation & PLACE) as usize
}
