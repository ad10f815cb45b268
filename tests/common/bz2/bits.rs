//! Bits, one `bool` each, in the order of the format: a number's most significant bit comes first.

use std::ops::Range;

use super::MAGIC_BITS;

/// A string of bits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bits(Vec<bool>);

impl Bits {
    /// All bits of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut bits = Self::default();
        for &byte in bytes {
            bits.push(byte.into(), 8);
        }
        bits
    }

    /// Appends the low `count` bits of `value`, which has zeros before its first bit.
    pub fn push(&mut self, value: u64, count: usize) {
        self.0.extend((0..count).rev().map(|bit| bit < 64 && value >> bit & 1 == 1));
    }

    /// Appends what another string holds.
    pub fn append(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// Fills up to a whole byte.
    pub fn pad(&mut self, with: bool) {
        self.0.resize(self.len().next_multiple_of(8), with);
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Turns one bit over.
    pub fn flip(&mut self, at: usize) {
        self.0[at] = !self.0[at];
    }

    /// Puts the low bits of `value` where others were.
    pub fn set(&mut self, range: Range<usize>, value: u64) {
        let mut new = Self::default();
        new.push(value, range.len());
        self.0[range].copy_from_slice(&new.0);
    }

    /// A piece.
    pub fn slice(&self, range: Range<usize>) -> Self {
        Self(self.0[range].to_vec())
    }

    /// `count` bits from `at` on, as a number.
    pub fn value(&self, at: usize, count: usize) -> u64 {
        self.0[at..at + count].iter().fold(0, |value, &bit| value << 1 | u64::from(bit))
    }

    /// One bit after the other.
    pub fn iter(&self) -> impl Iterator<Item = bool> {
        self.0.iter().copied()
    }

    /// Wherever the 48 bits of a magic are.
    pub fn find(&self, magic: u64) -> Vec<usize> {
        (0..(self.len() + 1).saturating_sub(MAGIC_BITS)).filter(|&at| self.value(at, MAGIC_BITS) == magic).collect()
    }

    /// The bytes they make, the last one filled up with zeros.
    pub fn bytes(&self) -> Vec<u8> {
        self.0
            .chunks(8)
            .map(|bits| bits.iter().enumerate().fold(0, |byte, (n, &bit)| byte | u8::from(bit) << (7 - n)))
            .collect()
    }
}
