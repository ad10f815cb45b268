//! Code lengths for the frequencies of a block.

use super::{Lengths, MAX_SYMBOLS};
use crate::codec::prefix_code::code_lengths;

/// The maximum code length. It is less than the 20 of the format, so that three codewords and seven bits that are not
/// yet written fit in a word of 64 bits. This costs nothing: only symbols that occur once in tens of thousands would
/// have longer codewords.
pub(super) const LIMIT: u8 = 16;

/// Returns the code lengths for symbols of these frequencies. Each symbol has a codeword, even if it never occurs, as
/// the format requires.
pub(super) fn lengths(frequencies: &[u32]) -> Lengths {
    let mut lengths = [0; MAX_SYMBOLS];
    code_lengths(frequencies.iter().map(|&frequency| frequency.max(1)), LIMIT, &mut lengths);
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_that_never_occur_have_the_longest_codewords() {
        assert_eq!(lengths(&[0, 1000, 500, 0])[..4], [3, 1, 2, 3]);
    }
}
