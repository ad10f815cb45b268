//! Proposes bits at which a block can begin. Those that are no start of a block are found out by decoding, or never used.
//!
//! Blocks with codes of their own have long headers that must fulfil several conditions, which chance rarely does. Each is
//! checked only where the ones before hold. Stored blocks state their length twice. Blocks with the fixed codes are not searched
//! for, as almost any bits could be one; neither is the last block.

use super::bits::{Bits, load_to_end};
use super::header::Lengths;
use super::tables::PRECODE_BITS;

/// The bits that begin a block.
const BEGINNING: usize = 3;

/// The bytes that are searched for stored blocks, and then for others before the first of those.
const PIECE: usize = 4 << 10;

/// The bytes of positions that a word of bits decides: 13 bits of each position are there.
const STEP: usize = 6;

/// The bits at which a block can begin: one, or several of which any has the same block behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    pub(super) first: usize,
    pub(super) last: usize,
}

/// Returns the first start that is at or behind bit `from` and before `until`, by its last bit.
pub(super) fn find(bytes: &[u8], mut from: usize, until: usize) -> Option<Start> {
    while from < until {
        let end = until.min((from / 8 + PIECE) * 8);
        let stored = find_stored(bytes, from, end);
        let before = stored.map_or(end, |start| start.last);
        if let Some(at) = find_coded(bytes, from, before) {
            return Some(Start { first: at, last: at });
        }
        if stored.is_some() {
            return stored;
        }
        from = end;
    }
    None
}

/// Returns the first start of a stored block (RFC 1951, section 3.2.4). Bits of zeros lie between its beginning, of zeros too,
/// and the next byte, as encoders write them: where those of the block before end is not known.
fn find_stored(bytes: &[u8], from: usize, until: usize) -> Option<Start> {
    /// The bytes that are compared at a time.
    const CHUNK: usize = 32;
    let is_stored = |pair: &[u8]| pair[0] ^ pair[2] == 0xff && pair[1] ^ pair[3] == 0xff;
    let mut at = (from + BEGINNING).div_ceil(8);
    let end = (until + BEGINNING).div_ceil(8);
    while at < end {
        let rest = bytes.get(at..)?;
        let any = match rest.first_chunk::<{ CHUNK + 3 }>() {
            // The least difference between a length and its complement, without branches.
            Some(chunk) => {
                let difference = |at: usize| !(chunk[at] ^ chunk[at + 2]) | !(chunk[at + 1] ^ chunk[at + 3]);
                (0..CHUNK).fold(u8::MAX, |least, at| least.min(difference(at))) == 0
            }
            None => true,
        };
        if any {
            for (index, _) in rest.windows(4).take(CHUNK).enumerate().filter(|(_, pair)| is_stored(pair)) {
                let Some(last) = ((at + index) * 8).checked_sub(BEGINNING).filter(|last| (from..until).contains(last))
                else {
                    continue;
                };
                if let Some(first) = first_zero(bytes, last) {
                    return Some(Start { first, last });
                }
            }
        }
        at += CHUNK;
    }
    None
}

/// Returns the first of up to seven bits before `last` that are 0 up to it, if the beginning of the block is.
fn first_zero(bytes: &[u8], last: usize) -> Option<usize> {
    let is_zero = |at: usize| bytes.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 0);
    if !(last..last + BEGINNING).all(is_zero) {
        return None;
    }
    let zeros = (1..8).take_while(|count| last.checked_sub(*count).is_some_and(is_zero)).count();
    Some(last - zeros)
}

/// Returns the first bit at which a block with codes of its own can begin.
fn find_coded(bytes: &[u8], from: usize, until: usize) -> Option<usize> {
    let mut byte = from / 8;
    let mut skipped = from % 8;
    while byte * 8 < until {
        let mut positions = beginnings(load_to_end(bytes, byte)) >> skipped << skipped;
        while positions != 0 {
            let at = byte * 8 + positions.trailing_zeros() as usize;
            if at >= until {
                return None;
            }
            if has_precode(bytes, at) && has_codes(bytes, at) {
                return Some(at);
            }
            positions &= positions - 1;
        }
        byte += STEP;
        skipped = 0;
    }
    None
}

/// Returns the bits of a word, of its first [`STEP`] bytes, at which the type of a block and possible numbers of codewords
/// begin: `0`, `01`, and twice five bits of which the upper four are not all set.
fn beginnings(word: u64) -> u64 {
    let four_set = |shift: u32| word >> shift & word >> (shift + 1) & word >> (shift + 2) & word >> (shift + 3);
    !word & !(word >> 1) & word >> 2 & !four_set(4) & !four_set(9) & ((1 << (8 * STEP)) - 1)
}

/// The sum of the space that four codewords take, of their lengths in three bits each.
const SPACE: [u16; 1 << 12] = {
    let mut sums = [0; 1 << 12];
    let mut index = 0;
    while index < sums.len() {
        let mut shift = 0;
        while shift < 12 {
            let length = index >> shift & 7;
            if length > 0 {
                sums[index] += (1 << PRECODE_BITS) >> length;
            }
            shift += 3;
        }
        index += 1;
    }
    sums
};

/// Returns whether the code for code lengths is complete.
#[inline(always)]
fn has_precode(bytes: &[u8], at: usize) -> bool {
    // Seven bits of a byte before, four of their number, and 57 of lengths at most.
    let at = at + 13;
    let word = load_to_end(bytes, at / 8) >> (at % 8);
    let bits = (word & 15) * 3 + 12;
    let above = u64::from(bytes.get(at / 8 + 8).copied().unwrap_or_default());
    // Where the word begins with its byte, what is shifted in lies behind the lengths.
    let lengths = (word >> 4 | above << (60 - at % 8)) & ((1 << bits) - 1);
    let space = |shift: u32| SPACE[(lengths >> shift) as usize & 0xfff];
    space(0) + space(12) + space(24) + space(36) + space(48) == 1 << PRECODE_BITS
}

/// Returns whether there are lengths of codewords of two codes.
#[inline(never)]
fn has_codes(bytes: &[u8], at: usize) -> bool {
    let mut bits = Bits::new(bytes, at + BEGINNING);
    Lengths::read(&mut bits).is_ok_and(|lengths| lengths.check().is_ok())
}
