//! The headers of blocks (RFC 1951, sections 3.2.3 to 3.2.7).

use super::bits::Bits;
use super::tables::{self, DISTANCES, Entry, LITERALS_AND_LENGTHS, PRECODE_BITS};
use super::{Corrupt, Stop};

/// The order in which the header has the lengths of the code for code lengths (section 3.2.7).
const ORDER: [u8; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// The end of a block has a codeword in each code.
const END_OF_BLOCK: usize = 256;

/// The most symbols that a dynamic block may state.
const MOST_LITERALS: usize = 286;
const MOST_DISTANCES: usize = 30;

/// The lengths of the codewords of a block.
pub(super) struct Lengths {
    all: [u8; LITERALS_AND_LENGTHS + DISTANCES],
    literals: usize,
    distances: usize,
}

impl Lengths {
    /// Returns those of a block with fixed codes (section 3.2.6).
    pub(super) fn fixed() -> Self {
        let mut lengths = [5; LITERALS_AND_LENGTHS + DISTANCES];
        lengths[..144].fill(8);
        lengths[144..256].fill(9);
        lengths[256..280].fill(7);
        lengths[280..LITERALS_AND_LENGTHS].fill(8);
        Self { all: lengths, literals: LITERALS_AND_LENGTHS, distances: DISTANCES }
    }

    /// Reads those of a dynamic block, behind the three bits that begin each block.
    pub(super) fn read(bits: &mut Bits<'_>) -> Result<Self, Stop> {
        let literals = bits.take(5)? as usize + 257;
        let distances = bits.take(5)? as usize + 1;
        let precode = bits.take(4)? as usize + 4;
        if literals > MOST_LITERALS || distances > MOST_DISTANCES {
            return Err(Stop::Corrupt);
        }
        let mut precode_lengths = [0; 19];
        for symbol in &ORDER[..precode] {
            precode_lengths[usize::from(*symbol)] = bits.take(3)? as u8;
        }
        let mut table = [Entry::default(); 1 << PRECODE_BITS];
        tables::build_precode(&mut table, &precode_lengths)?;
        let mut lengths = [0; LITERALS_AND_LENGTHS + DISTANCES];
        let total = literals + distances;
        let mut at = 0;
        while at < total {
            let stream = bits.peek();
            let entry = table[stream as usize & ((1 << PRECODE_BITS) - 1)];
            let symbol = (entry.0 >> 16) as u8;
            let stream = stream >> entry.bits();
            let (value, extra_bits, times) = match symbol {
                0..16 => {
                    bits.skip(entry.bits())?;
                    lengths[at] = symbol;
                    at += 1;
                    continue;
                }
                16 => {
                    let before = at.checked_sub(1).map(|before| lengths[before]);
                    (before.unwrap_or(u8::MAX), 2, 3 + (stream & 3) as usize)
                }
                17 => (0, 3, 3 + (stream & 7) as usize),
                _ => (0, 7, 11 + (stream & 127) as usize),
            };
            bits.skip(entry.bits() + extra_bits)?;
            if value == u8::MAX || at + times > total {
                return Err(Stop::Corrupt);
            }
            lengths[at..at + times].fill(value);
            at += times;
        }
        if lengths[END_OF_BLOCK] == 0 {
            return Err(Stop::Corrupt);
        }
        Ok(Self { all: lengths, literals, distances })
    }

    pub(super) fn literals(&self) -> &[u8] {
        &self.all[..self.literals]
    }

    pub(super) fn distances(&self) -> &[u8] {
        &self.all[self.literals..self.literals + self.distances]
    }

    /// Returns whether both codes are those that a block can have.
    pub(super) fn check(&self) -> Result<(), Corrupt> {
        tables::count(self.literals())?;
        tables::count(self.distances())?;
        Ok(())
    }
}
