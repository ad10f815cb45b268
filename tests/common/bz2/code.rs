//! Prefix codes. A code is stored as its code lengths: five bits for the initial length, then for each symbol
//! steps of one up or down to its length.

use super::MAX_CODE_LENGTH;
use super::bits::Bits;

/// A code and its stored form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeTable {
    /// The code length of each symbol.
    pub lengths: Vec<u8>,
    /// The bits that store the code lengths.
    pub stored: Bits,
}

/// A codeword: its bits as a number, and its length.
pub type Codeword = (u64, u8);

impl CodeTable {
    /// Creates a code that is stored in the shortest form.
    pub fn new(lengths: &[u8]) -> Self {
        let stops: Vec<_> = lengths.iter().map(|&length| vec![length]).collect();
        Self::through(&stops)
    }

    /// Creates a code with equal code lengths, as short as possible.
    pub fn flat(symbols: usize) -> Self {
        let length = (1..MAX_CODE_LENGTH).find(|&length| 1 << length >= symbols).unwrap();
        Self::new(&vec![length; symbols])
    }

    /// Creates a code whose steps pass through the given lengths. The last one of each symbol is its code length,
    /// the very first one is the initial length.
    pub fn through(stops: &[Vec<u8>]) -> Self {
        let mut at = stops[0][0];
        let mut stored = Bits::default();
        stored.push(at.into(), 5);
        for stops in stops {
            for &stop in stops {
                for _ in at..stop {
                    stored.push(0b10, 2);
                }
                for _ in stop..at {
                    stored.push(0b11, 2);
                }
                at = stop;
            }
            stored.push(0, 1);
        }
        Self { lengths: stops.iter().map(|stops| *stops.last().unwrap()).collect(), stored }
    }
}

/// Assigns the codewords, by code length and then by symbol. If the code lengths are oversubscribed, the last
/// symbols get none: their numbers do not fit into their lengths.
pub fn codewords(lengths: &[u8]) -> Vec<Option<Codeword>> {
    let mut codewords = vec![None; lengths.len()];
    let mut next = 0_u64;
    for length in 1..=MAX_CODE_LENGTH {
        next <<= 1;
        for (codeword, _) in codewords.iter_mut().zip(lengths).filter(|(_, own)| **own == length) {
            *codeword = (next >> length == 0).then_some((next, length));
            next += 1;
        }
    }
    codewords
}

/// Returns the symbols whose codewords, concatenated, are these bits. The last codeword may have more bits.
pub fn spell(lengths: &[u8], bits: &Bits) -> Vec<u16> {
    let codewords = codewords(lengths);
    let mut symbols = Vec::new();
    let mut at = 0;
    while at < bits.len() {
        let begins = |&(codeword, length): &Codeword| {
            let here = usize::from(length).min(bits.len() - at);
            bits.value(at, here) == codeword >> (usize::from(length) - here)
        };
        let symbol =
            codewords.iter().position(|codeword| codeword.as_ref().is_some_and(begins)).expect("a complete code");
        at += usize::from(lengths[symbol]);
        symbols.push(u16::try_from(symbol).unwrap());
    }
    symbols
}
