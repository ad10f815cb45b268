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
pub(in crate::codec) struct Table {
    /// For the next bits: the symbol, above the length of its code in five bits.
    fast: [u16; 1 << FAST_BITS],
    /// For each length: the greatest code of it or of what lesser lengths leave, and what a code of this length
    /// must be reduced by to be an index in `symbols`.
    limit: [i32; MAX_LENGTH as usize + 1],
    base: [i32; MAX_LENGTH as usize + 1],
    least: u32,
    /// In ascending order of code.
    symbols: [u16; MAX_SYMBOLS],
    count: usize,
}

/// No code begins like this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::codec) struct NoCode;

impl Table {
    /// For symbols with codes of these lengths, each from 1 to [`MAX_LENGTH`].
    pub(in crate::codec) fn new(lengths: &[u8]) -> Self {
        let mut table = Self {
            fast: [SLOW; 1 << FAST_BITS],
            limit: [0; MAX_LENGTH as usize + 1],
            base: [0; MAX_LENGTH as usize + 1],
            least: lengths.iter().copied().min().unwrap_or(MAX_LENGTH).into(),
            symbols: [0; MAX_SYMBOLS],
            count: lengths.len().min(MAX_SYMBOLS),
        };
        let mut counts = [0; MAX_LENGTH as usize + 1];
        for &length in lengths {
            counts[usize::from(length)] += 1;
        }
        let mut code = 0;
        let mut index = 0;
        for (length, &count) in counts.iter().enumerate().skip(1) {
            code <<= 1;
            table.base[length] = code - index;
            code += count;
            index += count;
            table.limit[length] = code - 1;
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
        let mut from = 0_i32;
        for length in self.least..=FAST_BITS {
            let wide = FAST_BITS - length;
            let to = ((self.limit[length as usize] + 1) << wide).min(1 << FAST_BITS);
            for bits in from..to {
                if let Some(symbol) = self.symbol(bits >> wide, length) {
                    self.fast[bits as usize] = symbol << 5 | length as u16;
                }
            }
            from = from.max(to);
        }
    }

    fn symbol(&self, code: i32, length: u32) -> Option<u16> {
        let index = usize::try_from(code - self.base[length as usize]).ok()?;
        self.symbols[..self.count].get(index).copied()
    }

    /// The symbol whose code `bits` begin with, left-aligned, and the length of its code.
    #[inline(always)]
    pub(in crate::codec) fn read(&self, bits: u64) -> Result<(u16, u32), NoCode> {
        let entry = self.fast[(bits >> (64 - FAST_BITS)) as usize];
        if entry == SLOW {
            return self.read_slowly(bits);
        }
        Ok((entry >> 5, u32::from(entry & 31)))
    }

    #[cold]
    #[inline(never)]
    fn read_slowly(&self, bits: u64) -> Result<(u16, u32), NoCode> {
        for length in self.least..=u32::from(MAX_LENGTH) {
            let code = (bits >> (64 - length)) as i32;
            if code <= self.limit[length as usize] {
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
        let mut code = 0_i32;
        let mut first = 0_usize;
        for length in least..=20 {
            let count = lengths.iter().filter(|l| **l == length).count();
            let here = (bits >> (64 - u32::from(length))) as i32;
            if here <= code + count as i32 - 1 {
                let index = usize::try_from(here - code + first as i32).ok()?;
                return Some((*symbols.get(index)?, length.into()));
            }
            code = (code + count as i32) << 1;
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
