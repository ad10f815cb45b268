//! Prefix codes. A code is stored as the lengths of its codewords alone: five bits for where to begin, then for
//! each symbol steps of one up or down until its length is reached.

use super::MAX_LENGTH;
use super::bits::Bits;

/// A code, and the way its lengths are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeTable {
    /// The length of each symbol's codeword.
    pub lengths: Vec<u8>,
    /// How that is stored.
    pub stored: Bits,
}

/// A codeword of a code: its bits as a number, and how many they are.
pub type Codeword = (u64, u8);

impl CodeTable {
    /// Stored the shortest way.
    pub fn new(lengths: &[u8]) -> Self {
        let stops: Vec<_> = lengths.iter().map(|&length| vec![length]).collect();
        Self::through(&stops)
    }

    /// All codewords of one length, and no longer than it takes.
    pub fn flat(symbols: usize) -> Self {
        let length = (1..MAX_LENGTH).find(|&length| 1 << length >= symbols).unwrap();
        Self::new(&vec![length; symbols])
    }

    /// For each symbol the lengths its steps lead through, of which the last is its own. The first length
    /// of all is the one to begin with.
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

/// The codewords of the symbols. They are counted up, shorter ones first, and among those of one length in the
/// order of the symbols. Lengths may add up to more codewords than there are: those that are left over, because
/// their numbers do not fit into their lengths, can be neither written nor read.
pub fn codewords(lengths: &[u8]) -> Vec<Option<Codeword>> {
    let mut codewords = vec![None; lengths.len()];
    let mut next = 0_u64;
    for length in 1..=MAX_LENGTH {
        next <<= 1;
        for (codeword, _) in codewords.iter_mut().zip(lengths).filter(|(_, own)| **own == length) {
            *codeword = (next >> length == 0).then_some((next, length));
            next += 1;
        }
    }
    codewords
}

/// The symbols whose codewords, one after the other, are these bits; the last codeword may have some more.
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
