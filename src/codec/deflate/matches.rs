//! Finds bytes that occurred before: at one earlier place for each place, the last one whose next four bytes have the same
//! hash.

use super::symbols::{MAX_DISTANCE, MAX_LENGTH};

/// The hash table has 2¹⁴ entries of two bytes, which fit in the smallest L1 caches.
const HASH_BITS: u32 = 14;

/// After so many places in a row at which nothing is found, one more place is left out before the next.
const PATIENCE: usize = 32;
const MAX_STEP: usize = 16;

/// Bytes that are read at once at each place.
const WORD: usize = 8;

/// Some bytes as they are, and then bytes that occurred before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sequence {
    pub(super) literals: u32,
    /// From 3 to 258; 0 if nothing follows the literals.
    pub(super) length: u32,
    pub(super) distance: u32,
}

/// The sequences of an input, one block after the other.
pub(super) struct Matches<'a> {
    input: &'a [u8],
    position: usize,
    /// The low bits of the last position with each hash. What they miss, the comparison of the bytes shows.
    last: Vec<u16>,
    sequences: Vec<Sequence>,
}

impl<'a> Matches<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self { input, position: 0, last: vec![0; 1 << HASH_BITS], sequences: Vec::new() }
    }

    /// Returns the sequences of the input from the end of the last call to `end`.
    pub(super) fn up_to(&mut self, end: usize) -> &[Sequence] {
        self.sequences.clear();
        let (mut literals_from, mut misses) = (self.position, 0);
        while self.position + WORD <= end {
            let Some((length, distance)) = self.find(end) else {
                misses += 1;
                self.position += 1 + (misses / PATIENCE).min(MAX_STEP);
                continue;
            };
            misses = 0;
            let literals = (self.position - literals_from) as u32;
            self.sequences.push(Sequence { literals, length: length as u32, distance: distance as u32 });
            self.position += length;
            literals_from = self.position;
        }
        self.position = end;
        if literals_from < end {
            self.sequences.push(Sequence { literals: (end - literals_from) as u32, length: 0, distance: 0 });
        }
        &self.sequences
    }

    /// Returns the length and the distance of the bytes at the position, if they occurred before.
    #[inline]
    fn find(&mut self, end: usize) -> Option<(usize, usize)> {
        let here = self.word(self.position);
        let hash = (here as u32).wrapping_mul(0x9e37_79b1) >> (u32::BITS - HASH_BITS);
        let last = std::mem::replace(&mut self.last[hash as usize], self.position as u16);
        let distance = usize::from((self.position as u16).wrapping_sub(last));
        if !(1..=MAX_DISTANCE.min(self.position)).contains(&distance) {
            return None;
        }
        let before = self.position - distance;
        if self.word(before) as u32 != here as u32 {
            return None;
        }
        Some((self.common(before, end), distance))
    }

    /// Returns how many bytes at the position, up to `end`, equal those at `before`.
    #[inline]
    fn common(&self, before: usize, end: usize) -> usize {
        let most = (end - self.position).min(MAX_LENGTH);
        let mut length = 0;
        while length + WORD <= most {
            let different = self.word(self.position + length) ^ self.word(before + length);
            if different != 0 {
                return length + (different.trailing_zeros() / 8) as usize;
            }
            length += WORD;
        }
        let rest = self.input[self.position + length..self.position + most].iter().zip(&self.input[before + length..]);
        length + rest.take_while(|(a, b)| a == b).count()
    }

    #[inline]
    fn word(&self, at: usize) -> u64 {
        self.input[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_cover_each_block() {
        let input: Vec<u8> = b"abcdefgh".iter().copied().cycle().take(1000).collect();
        let mut matches = Matches::new(&input);
        let first = matches.up_to(300).to_vec();
        assert_eq!(
            first[..2],
            [Sequence { literals: 8, length: 258, distance: 8 }, Sequence { literals: 0, length: 34, distance: 264 },]
        );
        let second: u32 = matches.up_to(1000).iter().map(|one| one.literals + one.length).sum();
        assert_eq!(second, 700);
    }
}
