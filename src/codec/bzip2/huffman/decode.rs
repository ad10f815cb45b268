//! Decodes codewords: most by one table lookup, long and rare ones by trying each length.
//!
//! A file can contain code lengths that no Huffman encoder produces. In an under-full set, some bits begin no codeword;
//! in an over-full set, some bits begin two. bzip2 decodes such a set as follows, and this module must agree: from the
//! least length on, it takes the first length at which the bits are not above the codewords of that length. The lookup
//! table is filled by the same rule.

use super::{MAX_LENGTH, MAX_SYMBOLS};

/// Codewords up to this length are in the lookup table.
const FAST_BITS: u32 = 10;

/// The entry for bits that begin a longer codeword, or none.
const SLOW: u16 = 0;

/// A code table for decoding.
pub(in crate::codec::bzip2) struct Table {
    /// The lookup table. An entry is a symbol, and the length of its codeword in the low five bits.
    fast: [u16; 1 << FAST_BITS],
    /// For each length, the number after the last codeword of this length.
    beyond: [u32; MAX_LENGTH as usize + 1],
    /// For each length, the difference of a codeword and the index of its symbol in `symbols`, modulo 2^32.
    base: [u32; MAX_LENGTH as usize + 1],
    /// The least length.
    least: u32,
    /// The symbols in ascending order of their codewords.
    symbols: [u16; MAX_SYMBOLS],
    count: usize,
}

/// The error if bits begin no codeword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::codec::bzip2) struct NoCodeword;

impl Table {
    /// Returns the table for symbols with these code lengths, each from 1 to [`MAX_LENGTH`].
    pub(in crate::codec::bzip2) fn new(lengths: &[u8]) -> Self {
        let mut table = Self {
            fast: [SLOW; 1 << FAST_BITS],
            beyond: [0; MAX_LENGTH as usize + 1],
            base: [0; MAX_LENGTH as usize + 1],
            least: lengths.iter().copied().min().unwrap_or(MAX_LENGTH).into(),
            symbols: [0; MAX_SYMBOLS],
            count: lengths.len().min(MAX_SYMBOLS),
        };
        let mut counts = [0; MAX_LENGTH as usize + 1];
        for &length in lengths {
            counts[usize::from(length)] += 1;
        }
        let (mut codeword, mut index) = (0_u32, 0);
        for (length, &count) in counts.iter().enumerate().skip(1) {
            codeword <<= 1;
            table.base[length] = codeword.wrapping_sub(index);
            codeword += count;
            index += count;
            table.beyond[length] = codeword;
        }
        let mut index = 0;
        for length in 1..=MAX_LENGTH {
            for (symbol, _) in (0..).zip(lengths).filter(|(_, l)| **l == length) {
                if let Some(slot) = table.symbols.get_mut(index) {
                    *slot = symbol;
                }
                index += 1;
            }
        }
        table.fill();
        table
    }

    /// Fills the lookup table.
    fn fill(&mut self) {
        let mut from = 0;
        for length in self.least..=FAST_BITS {
            let wide = FAST_BITS - length;
            let to = (self.beyond[length as usize] << wide).min(1 << FAST_BITS);
            for bits in from..to {
                if let Some(symbol) = self.symbol(bits >> wide, length) {
                    self.fast[bits as usize] = symbol << 5 | length as u16;
                }
            }
            from = from.max(to);
        }
    }

    fn symbol(&self, codeword: u32, length: u32) -> Option<u16> {
        let index = codeword.wrapping_sub(self.base[length as usize]);
        self.symbols[..self.count].get(index as usize).copied()
    }

    /// Decodes the codeword with which `bits`, left-aligned, begin. Returns its symbol and its length.
    #[inline(always)]
    pub(in crate::codec::bzip2) fn read(&self, bits: u64) -> Result<(u16, u32), NoCodeword> {
        let entry = self.fast[(bits >> (64 - FAST_BITS)) as usize];
        if entry == SLOW {
            return self.read_slowly(bits);
        }
        Ok((entry >> 5, u32::from(entry & 31)))
    }

    /// Decodes a codeword by trying each length. It is rarely used, but inlined, because a call would save all vector
    /// registers to memory.
    #[inline(always)]
    fn read_slowly(&self, bits: u64) -> Result<(u16, u32), NoCodeword> {
        for length in self.least..=u32::from(MAX_LENGTH) {
            let codeword = (bits >> (64 - length)) as u32;
            if codeword < self.beyond[length as usize] {
                return Ok((self.symbol(codeword, length).ok_or(NoCodeword)?, length));
            }
        }
        Err(NoCodeword)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Decodes as bzip2 does: bit by bit, with its two tables (`BZ2_hbCreateDecodeTables`), which count from the least
    /// length.
    fn plain(lengths: &[u8], bits: u64) -> Option<(u16, u32)> {
        let least = *lengths.iter().min().unwrap();
        let mut symbols = Vec::new();
        for length in 0..=20 {
            symbols.extend((0..).zip(lengths).filter(|(_, l)| **l == length).map(|(symbol, _)| symbol));
        }
        let (mut codeword, mut first) = (0_i64, 0_i64);
        for length in least..=20 {
            let count = (0_i64..).zip(lengths.iter().filter(|l| **l == length)).last().map_or(0, |(n, _)| n + 1);
            let here = i64::try_from(bits >> (64 - u32::from(length))).unwrap();
            if here < codeword + count {
                let index = usize::try_from(here - codeword + first).ok()?;
                return Some((*symbols.get(index)?, length.into()));
            }
            codeword = (codeword + count) << 1;
            first += count;
        }
        None
    }

    proptest! {
        #[test]
        fn codewords_are_decoded_as_in_bzip2(
            lengths in prop_oneof![
                prop::collection::vec(1_u8..=20, 3..=258),
                prop::collection::vec(7_u8..=9, 200..=258),
                prop::collection::vec(1_u8..=4, 3..=20),
            ],
            bits in prop::collection::vec(any::<u64>(), 50),
        ) {
            let table = Table::new(&lengths);
            for bits in bits {
                prop_assert_eq!(table.read(bits).ok(), plain(&lengths, bits));
            }
        }
    }
}
