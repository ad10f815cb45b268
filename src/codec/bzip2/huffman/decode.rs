//! Reads codes: most by one look into a table, the long and rare ones length by length.
//!
//! A file may describe codes that no Huffman procedure makes: too few of them, so that some bits mean nothing, or
//! too many, so that some bits mean two things. What bits mean then is settled by how bzip2 reads them: from the
//! least length on, the first length at which they are not above all codes of that length is theirs. The table is
//! filled by the same rule, so that both ways agree with each other and with bzip2.

use super::{MAX_LENGTH, MAX_SYMBOLS};

/// Codes up to this length are in the table.
const FAST_BITS: u32 = 10;

/// Where a long code begins, or none at all.
const SLOW: u16 = 0;

/// One table of codes, made for reading.
pub(in crate::codec::bzip2) struct Table {
    /// For the next bits: the symbol, above the length of its code in five bits.
    fast: [u16; 1 << FAST_BITS],
    /// For each length: the first number that is no code of it, and what a code must be reduced by, modulo 2^32, to
    /// be an index in `symbols`.
    beyond: [u32; MAX_LENGTH as usize + 1],
    base: [u32; MAX_LENGTH as usize + 1],
    least: u32,
    /// In ascending order of code.
    symbols: [u16; MAX_SYMBOLS],
    count: usize,
}

/// No code begins like this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::codec::bzip2) struct NoCode;

impl Table {
    /// For symbols with codes of these lengths, each from 1 to [`MAX_LENGTH`].
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
        let (mut code, mut index) = (0_u32, 0);
        for (length, &count) in counts.iter().enumerate().skip(1) {
            code <<= 1;
            table.base[length] = code.wrapping_sub(index);
            code += count;
            index += count;
            table.beyond[length] = code;
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

    fn symbol(&self, code: u32, length: u32) -> Option<u16> {
        let index = code.wrapping_sub(self.base[length as usize]);
        self.symbols[..self.count].get(index as usize).copied()
    }

    /// The symbol whose code `bits` begin with, left-aligned, and the length of its code.
    #[inline(always)]
    pub(in crate::codec::bzip2) fn read(&self, bits: u64) -> Result<(u16, u32), NoCode> {
        let entry = self.fast[(bits >> (64 - FAST_BITS)) as usize];
        if entry == SLOW {
            return self.read_slowly(bits);
        }
        Ok((entry >> 5, u32::from(entry & 31)))
    }

    /// Inlined, rare as it is: around a call, all vector registers would have to be saved.
    #[inline(always)]
    fn read_slowly(&self, bits: u64) -> Result<(u16, u32), NoCode> {
        for length in self.least..=u32::from(MAX_LENGTH) {
            let code = (bits >> (64 - length)) as u32;
            if code < self.beyond[length as usize] {
                return Ok((self.symbol(code, length).ok_or(NoCode)?, length));
            }
        }
        Err(NoCode)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As bzip2 reads: bit by bit, with its two tables (`BZ2_hbCreateDecodeTables`), which count from the least length.
    fn plain(lengths: &[u8], bits: u64) -> Option<(u16, u32)> {
        let least = *lengths.iter().min().unwrap();
        let mut symbols = Vec::new();
        for length in 0..=20 {
            symbols.extend((0..).zip(lengths).filter(|(_, l)| **l == length).map(|(symbol, _)| symbol));
        }
        let (mut code, mut first) = (0_i64, 0_i64);
        for length in least..=20 {
            let count = (0_i64..).zip(lengths.iter().filter(|l| **l == length)).last().map_or(0, |(n, _)| n + 1);
            let here = i64::try_from(bits >> (64 - u32::from(length))).unwrap();
            if here < code + count {
                let index = usize::try_from(here - code + first).ok()?;
                return Some((*symbols.get(index)?, length.into()));
            }
            code = (code + count) << 1;
            first += count;
        }
        None
    }

    proptest! {
        #[test]
        fn codes_are_read_as_bzip2_reads_them(
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
