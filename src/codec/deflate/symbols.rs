//! The symbols of lengths and distances (RFC 1951, section 3.2.5), each with bits that follow its codeword.

/// A symbol, and what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Symbol {
    pub(super) code: usize,
    pub(super) extra: u32,
    pub(super) extra_bits: u32,
}

/// The symbols of literals and lengths: 256 bytes, the end of a block, 29 lengths.
pub(super) const LITERALS_AND_LENGTHS: usize = 286;
pub(super) const END_OF_BLOCK: usize = 256;
pub(super) const DISTANCES: usize = 30;

pub(super) const MAX_LENGTH: usize = 258;
pub(super) const MAX_DISTANCE: usize = 32 << 10;

/// Returns the symbol of a length from 3 to 258.
#[inline]
pub(super) fn of_length(length: u32) -> Symbol {
    let rest = length - 3;
    if rest < 8 {
        return Symbol { code: 257 + rest as usize, extra: 0, extra_bits: 0 };
    }
    if length as usize == MAX_LENGTH {
        return Symbol { code: 285, extra: 0, extra_bits: 0 };
    }
    // Four symbols for each power of two.
    let power = rest.ilog2();
    let extra_bits = power - 2;
    let code = 257 + 4 * (power - 1) + (rest >> extra_bits & 3);
    Symbol { code: code as usize, extra: rest & ((1 << extra_bits) - 1), extra_bits }
}

/// Returns the symbol of a distance from 1 to 32,768.
#[inline]
pub(super) fn of_distance(distance: u32) -> Symbol {
    let rest = distance - 1;
    if rest < 4 {
        return Symbol { code: rest as usize, extra: 0, extra_bits: 0 };
    }
    // Two symbols for each power of two.
    let power = rest.ilog2();
    let extra_bits = power - 1;
    let code = 2 * power + (rest >> extra_bits & 1);
    Symbol { code: code as usize, extra: rest & ((1 << extra_bits) - 1), extra_bits }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables of the RFC: each symbol's extra bits and smallest value.
    const LENGTHS: [(u32, u32); 29] = [
        (0, 3),
        (0, 4),
        (0, 5),
        (0, 6),
        (0, 7),
        (0, 8),
        (0, 9),
        (0, 10),
        (1, 11),
        (1, 13),
        (1, 15),
        (1, 17),
        (2, 19),
        (2, 23),
        (2, 27),
        (2, 31),
        (3, 35),
        (3, 43),
        (3, 51),
        (3, 59),
        (4, 67),
        (4, 83),
        (4, 99),
        (4, 115),
        (5, 131),
        (5, 163),
        (5, 195),
        (5, 227),
        (0, 258),
    ];
    const STARTS: [u32; DISTANCES] = [
        1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097,
        6145, 8193, 12289, 16385, 24577,
    ];

    #[test]
    fn symbols_are_those_of_the_tables_in_the_rfc() {
        for length in 3..=258 {
            let at = LENGTHS.iter().rposition(|(_, start)| *start <= length).unwrap();
            let (extra_bits, start) = LENGTHS[at];
            assert_eq!(of_length(length), Symbol { code: 257 + at, extra: length - start, extra_bits });
        }
        for distance in 1..=32_768 {
            let at = STARTS.iter().rposition(|start| *start <= distance).unwrap();
            let extra_bits = (at as u32 / 2).saturating_sub(1);
            assert_eq!(of_distance(distance), Symbol { code: at, extra: distance - STARTS[at], extra_bits });
        }
    }
}
