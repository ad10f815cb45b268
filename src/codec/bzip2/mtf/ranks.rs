//! The operations of a move-to-front list that decoding uses.

/// The bytes in use, ranked by how recently they occurred.
pub(in crate::codec::bzip2) trait Ranks {
    /// Returns the byte of rank 0.
    fn front(&self) -> u8;

    /// Moves the byte of this rank to the front and returns it. `rank` is above 0 and below the number of bytes in use.
    fn take(&mut self, rank: u8) -> u8;
}
