//! Strings of bits, one `bool` each, in the order of the format: the most significant bit of a number comes
//! first.

use std::ops::Range;

use super::MAGIC_BITS;

/// A string of bits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bits(Vec<bool>);

impl Bits {
    /// Returns all bits of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut bits = Self::default();
        for &byte in bytes {
            bits.push(byte.into(), 8);
        }
        bits
    }

    /// Appends the low `count` bits of `value`, extended with leading zeros.
    pub fn push(&mut self, value: u64, count: usize) {
        self.0.extend((0..count).rev().map(|bit| bit < 64 && value >> bit & 1 == 1));
    }

    /// Appends another string.
    pub fn append(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// Pads with the bit `with` to a byte boundary.
    pub fn pad(&mut self, with: bool) {
        self.0.resize(self.len().next_multiple_of(8), with);
    }

    /// Returns the number of bits.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Inverts one bit.
    pub fn flip(&mut self, at: usize) {
        self.0[at] = !self.0[at];
    }

    /// Replaces the bits in `range` with the low bits of `value`.
    pub fn set(&mut self, range: Range<usize>, value: u64) {
        let mut new = Self::default();
        new.push(value, range.len());
        self.0[range].copy_from_slice(&new.0);
    }

    /// Returns a copy of the bits in `range`.
    pub fn slice(&self, range: Range<usize>) -> Self {
        Self(self.0[range].to_vec())
    }

    /// Returns the `count` bits from `at` on as a number.
    pub fn value(&self, at: usize, count: usize) -> u64 {
        self.0[at..at + count].iter().fold(0, |value, &bit| value << 1 | u64::from(bit))
    }

    /// Iterates over the bits.
    pub fn iter(&self) -> impl Iterator<Item = bool> {
        self.0.iter().copied()
    }

    /// Returns the offsets of all occurrences of a magic.
    pub fn find(&self, magic: u64) -> Vec<usize> {
        (0..(self.len() + 1).saturating_sub(MAGIC_BITS)).filter(|&at| self.value(at, MAGIC_BITS) == magic).collect()
    }

    /// Returns the bits as bytes, padded with zeros.
    pub fn bytes(&self) -> Vec<u8> {
        self.0
            .chunks(8)
            .map(|bits| bits.iter().enumerate().fold(0, |byte, (n, &bit)| byte | u8::from(bit) << (7 - n)))
            .collect()
    }
}
