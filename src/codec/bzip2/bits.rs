//! Bit strings in the order of bzip2, most significant bit first: writing, splicing and reading them, and searching for
//! magics at any bit offset.

use std::mem;

use super::block_size::BlockSize;

/// The magics of a bzip2 stream, which can be at any bit offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Magic {
    /// The block magic, 0x314159265359: the decimal digits of π.
    Block,
    /// The end-of-stream magic, 0x177245385090: the decimal digits of √π.
    End,
}

/// The length of a magic in bits.
pub(super) const MAGIC_BITS: usize = 48;

impl Magic {
    /// Returns the bits of the magic, right-aligned.
    pub(super) const fn value(self) -> u64 {
        match self {
            Self::Block => 0x3141_5926_5359,
            Self::End => 0x1772_4538_5090,
        }
    }
}

/// A string of bits that is built by appending.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct BitString {
    bytes: Vec<u8>,
    /// The bits after the last complete byte, right-aligned; fewer than 8.
    rest: u64,
    rest_bits: u32,
}

impl BitString {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), rest: 0, rest_bits: 0 }
    }

    /// Returns the length in bits.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.bytes.len() * 8 + self.rest_bits as usize
    }

    /// Appends the low `count` bits of `value`, 48 at most. All higher bits of `value` are 0.
    pub(super) fn push(&mut self, value: u64, count: u32) {
        debug_assert!(count <= 48 && value >> count == 0);
        self.rest = (self.rest << count) | value;
        self.rest_bits += count;
        while self.rest_bits >= 8 {
            self.rest_bits -= 8;
            self.bytes.push((self.rest >> self.rest_bits) as u8);
        }
        self.rest &= (1 << self.rest_bits) - 1;
    }

    /// Appends the header of a stream to a string of whole bytes.
    pub(super) fn begin_stream(&mut self, block_size: BlockSize) {
        self.append_bytes(&[b'B', b'Z', b'h', block_size.digit()]);
    }

    /// Appends the end of a stream, with its checksum.
    pub(super) fn end_stream(&mut self, crc: u32) {
        self.push(Magic::End.value(), MAGIC_BITS as u32);
        self.push(crc.into(), 32);
    }

    /// Appends another string.
    pub(super) fn append_string(&mut self, other: &Self) {
        self.append_bytes(&other.bytes);
        self.push(other.rest, other.rest_bits);
    }

    fn append_bytes(&mut self, bytes: &[u8]) {
        let shift = self.rest_bits;
        if shift == 0 {
            self.bytes.extend_from_slice(bytes);
            return;
        }
        let (words, tail) = bytes.as_chunks::<8>();
        self.bytes.reserve(bytes.len() + 1);
        let mut before = self.rest;
        let mut shifted = [[0; 8]; 512];
        for words in words.chunks(shifted.len()) {
            for (shifted, &word) in shifted.iter_mut().zip(words) {
                let word = u64::from_be_bytes(word);
                // `rest` has 1 to 7 bits, so neither shift is by 64.
                *shifted = ((before << (64 - shift)) | (word >> shift)).to_be_bytes();
                before = word;
            }
            self.bytes.extend_from_slice(shifted[..words.len()].as_flattened());
        }
        self.rest = before & ((1 << shift) - 1);
        for &byte in tail {
            self.push(byte.into(), 8);
        }
    }

    /// Returns a writer that appends up to `max` bytes. For many short values it is faster than [`BitString::push`].
    pub(super) fn writer(&mut self, max: usize) -> BitWriter<'_> {
        let (at, word, held) = (self.bytes.len(), self.rest, self.rest_bits);
        self.bytes.resize(at + max + 8, 0);
        BitWriter { string: self, at, word, held }
    }

    /// Removes the complete bytes and returns them. The bits after them are kept, and precede what is appended next.
    pub(super) fn take_bytes(&mut self) -> Vec<u8> {
        mem::take(&mut self.bytes)
    }

    /// Returns the bytes, the last one padded with zero bits.
    pub(super) fn into_bytes(mut self) -> Vec<u8> {
        if self.rest_bits > 0 {
            self.push(0, 8 - self.rest_bits);
        }
        self.bytes
    }
}

/// Appends to a [`BitString`], which is complete only after [`BitWriter::finish`].
pub(super) struct BitWriter<'a> {
    string: &'a mut BitString,
    /// The end of the written bytes. The bytes of the string after it are overwritten or removed.
    at: usize,
    /// The low `held` bits are not yet written. The bits above them are not significant.
    word: u64,
    held: u32,
}

impl BitWriter<'_> {
    /// Bits that can be pushed after [`BitWriter::spill`], which leaves up to seven bits in the word.
    pub(super) const ROOM: u32 = 64 - 7;

    /// Appends the low `count` bits of `value`. Between two calls of [`BitWriter::spill`], at most [`BitWriter::ROOM`]
    /// bits can be appended in total.
    #[inline(always)]
    pub(super) fn push(&mut self, value: u64, count: u32) {
        debug_assert!(self.held + count <= 64 && value >> count == 0);
        self.word = self.word << count | value;
        self.held += count;
    }

    /// Writes the complete bytes of the word. This is branchless, because a branch on their number would be
    /// unpredictable: it always stores eight bytes, and the next call overwrites those that are not complete.
    #[inline(always)]
    pub(super) fn spill(&mut self) {
        if let Some(room) = self.string.bytes.get_mut(self.at..).and_then(<[u8]>::first_chunk_mut) {
            *room = (self.word << ((64 - self.held) % 64)).to_be_bytes();
        }
        self.at += self.held as usize / 8;
        self.held %= 8;
    }

    /// Completes the string.
    pub(super) fn finish(mut self) {
        self.spill();
        let Self { string, at, word, held } = self;
        string.bytes.truncate(at);
        (string.rest, string.rest_bits) = (0, 0);
        string.push(word & ((1 << held) - 1), held);
    }
}

/// Reads a string of bits in order. Reading beyond its end does not fail: [`BitReader::is_cut`] reports it afterwards.
/// After the last byte, all bits are 0.
#[derive(Clone)]
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    /// The end of the string, in bits.
    end: usize,
    /// The first byte whose bits are not counted in `held`.
    next: usize,
    /// The next bits, left-aligned. The bits after the first `held` ones are 0 or already those of the string.
    window: u64,
    held: u32,
}

impl<'a> BitReader<'a> {
    /// Returns a reader of the bits `from..to` of `bytes`.
    pub(super) fn new(bytes: &'a [u8], from: usize, to: usize) -> Self {
        let mut reader = Self { bytes, end: to.min(bytes.len() * 8), next: from / 8, window: 0, held: 0 };
        reader.refill();
        reader.consume((from % 8) as u32);
        reader
    }

    /// Returns the offset of the next bit in `bytes`.
    #[inline(always)]
    pub(super) fn at(&self) -> usize {
        self.next * 8 - self.held as usize
    }

    /// Returns whether more bits were read than the string has.
    #[inline(always)]
    pub(super) fn is_cut(&self) -> bool {
        self.at() > self.end
    }

    /// Returns whether fewer than `count` bits are left.
    pub(super) fn runs_out(&self, count: usize) -> bool {
        self.at() + count > self.end
    }

    /// The number of bits that are at least in the window after [`BitReader::refill`].
    pub(super) const WINDOW: usize = 56;

    /// Returns the next bits, left-aligned: [`BitReader::WINDOW`] at least, less those consumed since the last refill.
    #[inline(always)]
    pub(super) fn window(&self) -> u64 {
        self.window
    }

    /// Refills the window and returns the next bits, left-aligned: [`BitReader::WINDOW`] at least.
    #[inline(always)]
    pub(super) fn peek(&mut self) -> u64 {
        self.refill();
        self.window
    }

    /// Skips `count` bits of the window.
    #[inline(always)]
    pub(super) fn consume(&mut self, count: u32) {
        self.window <<= count;
        self.held -= count;
    }

    /// Reads the next `count` bits, 1 to 56, and returns them right-aligned.
    pub(super) fn take(&mut self, count: u32) -> u64 {
        let bits = self.peek() >> (64 - count);
        self.consume(count);
        bits
    }

    /// Reads a unary number: the ones before the next zero, and the zero. Returns `None`, and reads nothing, if there
    /// are `max` ones or more.
    pub(super) fn take_ones(&mut self, max: usize) -> Option<usize> {
        let ones = self.peek().leading_ones();
        (ones < max as u32).then(|| {
            self.consume(ones + 1);
            ones as usize
        })
    }

    /// Fills the window up with complete bytes.
    #[inline(always)]
    pub(super) fn refill(&mut self) {
        let word = match self.bytes.get(self.next..).and_then(<[u8]>::first_chunk) {
            Some(eight) => u64::from_be_bytes(*eight),
            None => last_word(self.bytes, self.next),
        };
        self.window |= word >> self.held;
        let whole = (63 - self.held) / 8;
        self.next += whole as usize;
        self.held += whole * 8;
    }
}

/// Returns the eight bytes at `from` as a number, with zeros for bytes beyond the end. It is rarely used, but inlined,
/// because a call would save all vector registers to memory.
#[inline(always)]
fn last_word(bytes: &[u8], from: usize) -> u64 {
    bytes.iter().skip(from).take(8).zip(1..).fold(0, |word, (&byte, at)| word | u64::from(byte) << (64 - 8 * at))
}

/// Returns `count` bits of `bytes` from bit `at` on, 48 at most, right-aligned. Bits beyond the end are 0.
pub(super) fn read(bytes: &[u8], at: usize, count: u32) -> u64 {
    debug_assert!(count <= 48);
    if count == 0 {
        return 0;
    }
    let mut word = [0; 8];
    let available = bytes.get(at / 8..).unwrap_or_default();
    for (to, &from) in word.iter_mut().zip(available) {
        *to = from;
    }
    (u64::from_be_bytes(word) << (at % 8)) >> (64 - count)
}

/// Returns the first magic that is completely in `bytes` and begins at bit `from` or later, and the bit it begins at.
///
/// Of every four bytes, the search reads the first two. At any bit offset, a magic fills the five bytes after its first
/// byte completely. They contain four pairs of adjacent bytes, one of which begins at a multiple of four. So if
/// there is a magic, the search reads one of 64 pairs (two magics, eight shifts, four positions) out of 65,536, and it
/// compares all bits only if it reads such a pair.
pub(super) fn find_magic(bytes: &[u8], from: usize) -> Option<(usize, Magic)> {
    let first = (from / 8 + 1).next_multiple_of(4);
    let mut at = first;
    for quad in bytes.get(first..)?.chunks(4) {
        if let [high, low, ..] = *quad {
            let pair = usize::from(u16::from_be_bytes([high, low]));
            if PAIRS[pair / 64] >> (pair % 64) & 1 == 1
                && let Some(found) = magic_around(bytes, at, from)
            {
                return Some(found);
            }
        }
        at += 4;
    }
    None
}

/// Returns the first magic that begins one to four bytes before byte `at`, and at bit `from` or later.
#[cold]
fn magic_around(bytes: &[u8], at: usize, from: usize) -> Option<(usize, Magic)> {
    let first = (at.saturating_sub(4) * 8).max(from);
    let last = (at * 8 - 1).min((bytes.len() * 8).checked_sub(MAGIC_BITS)?);
    (first..=last).find_map(|bit| Some((bit, magic_at(bytes, bit)?)))
}

/// Returns the magic that begins at bit `at`, if there is one.
pub(super) fn magic_at(bytes: &[u8], at: usize) -> Option<Magic> {
    if at + MAGIC_BITS > bytes.len() * 8 {
        return None;
    }
    let bits = read(bytes, at, MAGIC_BITS as u32);
    [Magic::Block, Magic::End].into_iter().find(|magic| magic.value() == bits)
}

/// A bitmap of all pairs of bytes, in which those are set that occur in bytes 2 to 6 of a magic at any shift.
static PAIRS: [u64; 1024] = pairs();

const fn pairs() -> [u64; 1024] {
    let mut table = [0; 1024];
    let magics = [Magic::Block.value(), Magic::End.value()];
    let mut n = 0;
    while n < 2 * 8 * 4 {
        // Seven bytes, in which the magic begins at bit `n / 4 % 8` of the first one.
        let wide = magics[n / 32] << 8 >> (n / 4 % 8);
        // The pair of bytes that begins at byte `1 + n % 4`, counted from 0.
        let pair = (wide >> (32 - 8 * (n % 4))) as u16 as usize;
        table[pair / 64] |= 1 << (pair % 64);
        n += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bit_by_bit(bytes: &[u8], from: usize, to: usize) -> Vec<bool> {
        (from..to).map(|at| bytes[at / 8] >> (7 - at % 8) & 1 == 1).collect()
    }

    #[test]
    fn a_magic_is_found_at_every_bit_offset_and_nowhere_else() {
        for magic in [Magic::Block, Magic::End] {
            for at in 0..200 {
                let mut bits = BitString::default();
                for _ in 0..at {
                    bits.push(0, 1);
                }
                bits.push(magic.value(), 48);
                // The bytes end with the magic, or after it.
                for more in [0, 40] {
                    let mut bits = bits.clone();
                    bits.push(0, more);
                    let bytes = bits.into_bytes();
                    for from in 0..=at {
                        assert_eq!(find_magic(&bytes, from), Some((at, magic)), "{at} from {from}");
                    }
                    assert_eq!(find_magic(&bytes, at + 1), None);
                    assert_eq!(find_magic(&bytes[..bytes.len().min((at + 48) / 8) - 1], 0), None);
                }
            }
        }
    }

    #[test]
    fn adjacent_magics_are_all_found() {
        let mut bits = BitString::default();
        let mut expected = Vec::new();
        let mut at = 0;
        for n in 0..50 {
            let magic = if n % 3 == 0 { Magic::End } else { Magic::Block };
            expected.push((at, magic));
            bits.push(magic.value(), 48);
            bits.push(0, n % 11);
            at += 48 + n as usize % 11;
        }
        let bytes = bits.into_bytes();
        let mut from = 0;
        let found = std::iter::from_fn(|| {
            let (at, magic) = find_magic(&bytes, from)?;
            from = at + 1;
            Some((at, magic))
        });
        assert!(found.eq(expected));
    }

    #[test]
    fn short_inputs_hold_no_magic() {
        for len in 0..6 {
            assert_eq!(find_magic(&[0x31, 0x41, 0x59, 0x26, 0x53][..len.min(5)], 0), None);
        }
        assert_eq!(find_magic(b"1AY&SY", 0), Some((0, Magic::Block)));
        assert_eq!(find_magic(b"1AY&SY", 99), None);
    }

    proptest! {
        #[test]
        fn bits_are_read_in_order(
            bytes in prop::collection::vec(any::<u8>(), 1..60),
            from in any::<prop::sample::Index>(),
            counts in prop::collection::vec(1..=56_u32, 0..20),
        ) {
            let mut at = from.index(bytes.len() * 8);
            let mut reader = BitReader::new(&bytes, at, bytes.len() * 8);
            for count in counts {
                prop_assert_eq!(reader.at(), at);
                let bit = |at: usize| bytes.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1);
                let expected = (at..at + count as usize).fold(0, |value, at| value << 1 | u64::from(bit(at)));
                prop_assert_eq!(reader.take(count), expected);
                at += count as usize;
                prop_assert_eq!(reader.is_cut(), at > bytes.len() * 8);
            }
        }

        #[test]
        fn bits_are_appended_in_order(
            parts in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), 0..8_u32), 0..12),
        ) {
            let mut all = BitString::default();
            let mut expected = Vec::new();
            for (bytes, more) in &parts {
                let mut part = BitString::default();
                let mut writer = part.writer(bytes.len() + 1);
                for &byte in bytes {
                    writer.push(byte.into(), 8);
                    writer.spill();
                }
                writer.push(0, *more);
                writer.finish();
                prop_assert_eq!(part.len(), bytes.len() * 8 + *more as usize);
                all.append_string(&part);
                expected.extend(bit_by_bit(bytes, 0, bytes.len() * 8));
                expected.resize(expected.len() + *more as usize, false);
            }
            let bytes = all.into_bytes();
            prop_assert_eq!(bytes.len(), expected.len().div_ceil(8));
            expected.resize(bytes.len() * 8, false);
            prop_assert_eq!(bit_by_bit(&bytes, 0, bytes.len() * 8), expected);
        }
    }
}
