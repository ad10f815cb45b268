//! The symbols of a block.

/// The digits of the length of a run, in bijective base two, least significant first.
pub(in crate::codec::bzip2) const RUN_A: u16 = 0;
pub(in crate::codec::bzip2) const RUN_B: u16 = 1;

/// For each byte value, whether it occurs in a block.
pub(in crate::codec::bzip2) type Used = [bool; 256];

/// Returns the number of symbols of a block: one for each byte in use except that of rank 0, which is coded in runs;
/// two for runs; and the end symbol.
pub(in crate::codec::bzip2) fn alphabet(used: &Used) -> usize {
    used.iter().filter(|used| **used).count() + 2
}
