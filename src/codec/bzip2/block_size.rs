//! The block size of a stream, which its header states.

use crate::codec::format::Level;

/// The size of the blocks of a stream, 1 to 9, in units of 100,000 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::codec) struct BlockSize(u8);

impl BlockSize {
    pub(in crate::codec) const LARGEST: Self = Self(9);

    pub(super) const fn new(number: u8) -> Option<Self> {
        match number {
            1..=9 => Some(Self(number)),
            _ => None,
        }
    }

    /// Returns the block size of a level, as the tool has it; that of a higher level is the largest.
    pub(super) const fn of_level(level: Level) -> Self {
        match Self::new(level.get()) {
            Some(size) => size,
            None => Self::LARGEST,
        }
    }

    /// Returns the block size in bytes.
    pub(super) const fn bytes(self) -> usize {
        100_000 * self.0 as usize
    }

    /// Returns the block size of an ASCII digit in a header.
    pub(in crate::codec) const fn from_digit(digit: u8) -> Option<Self> {
        Self::new(digit.wrapping_sub(b'0'))
    }

    /// Returns the block size as an ASCII digit for a header.
    pub(super) const fn digit(self) -> u8 {
        b'0' + self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_those_of_headers() {
        let sizes = (0..=u8::MAX).filter_map(|digit| Some((digit, BlockSize::from_digit(digit)?)));
        assert_eq!(
            sizes.map(|(digit, size)| (digit, size.bytes())).collect::<Vec<_>>(),
            [
                (b'1', 100_000),
                (b'2', 200_000),
                (b'3', 300_000),
                (b'4', 400_000),
                (b'5', 500_000),
                (b'6', 600_000),
                (b'7', 700_000),
                (b'8', 800_000),
                (b'9', 900_000),
            ]
        );
        assert_eq!(BlockSize::of_level(Level::new(3).unwrap()).digit(), b'3');
    }
}
