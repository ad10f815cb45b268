//! One block of a deflate stream: with Huffman codes of its own (RFC 1951, section 3.2.7), or stored where that is not longer.

use super::bits::BitWriter;
use super::matches::Sequence;
use super::symbols::{DISTANCES, END_OF_BLOCK, LITERALS_AND_LENGTHS, of_distance, of_length};
use crate::codec::prefix_code::code_lengths;

/// The maximum length of the codewords of literals. It is less than the 15 of the format, so that four of them fit between
/// two flushes. Only symbols that occur once in ten thousand bytes would have longer codewords.
const LIMIT: u8 = 14;
const AT_ONCE: usize = 4;
const _: () = assert!(AT_ONCE as u32 * LIMIT as u32 <= BitWriter::ROOM);
// A length and a distance, with their extra bits.
const _: () = assert!(2 * LIMIT as u32 + 5 + 13 <= BitWriter::ROOM);

/// The most bytes of a stored block, and the bits of its header, with those that fill a byte.
const STORED: usize = 0xffff;
const STORED_HEADER_BITS: u64 = 5 * 8 + 7;

/// The code lengths of the two alphabets are themselves written in a code, of these symbols: the lengths 0 to 15, repetitions
/// of the last one, and of zeros.
const REPEAT: u8 = 16;
const ZEROS: u8 = 17;
const MANY_ZEROS: u8 = 18;
const LENGTH_SYMBOLS: usize = 19;
const LENGTH_LIMIT: u8 = 7;
/// The order in which the lengths of that code are written.
const LENGTH_ORDER: [usize; LENGTH_SYMBOLS] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

pub(super) struct Block<'a> {
    input: &'a [u8],
    sequences: &'a [Sequence],
    literals: Code<LITERALS_AND_LENGTHS>,
    distances: Code<DISTANCES>,
    description: Description,
    /// Its length with Huffman codes, without the three bits of the header.
    bits: u64,
}

impl<'a> Block<'a> {
    /// Returns the block of `input`, which the sequences cover.
    pub(super) fn new(input: &'a [u8], sequences: &'a [Sequence]) -> Self {
        let (mut literals, mut distances) = ([0; LITERALS_AND_LENGTHS], [0; DISTANCES]);
        let mut extra_bits = 0;
        let mut counts = [[0_u32; 256]; AT_ONCE];
        let mut rest = input;
        for sequence in sequences {
            let (bytes, after) = rest.split_at(sequence.literals as usize);
            count(bytes, &mut counts);
            if sequence.length > 0 {
                let (length, distance) = (of_length(sequence.length), of_distance(sequence.distance));
                literals[length.code] += 1;
                distances[distance.code] += 1;
                extra_bits += u64::from(length.extra_bits + distance.extra_bits);
            }
            rest = after.split_at(sequence.length as usize).1;
        }
        for (byte, total) in literals.iter_mut().take(256).enumerate() {
            *total = counts.iter().map(|counts| counts[byte]).sum();
        }
        literals[END_OF_BLOCK] = 1;
        let (literal_code, distance_code) = (Code::of(&literals), Code::of(&distances));
        let description = Description::new(&literal_code.lengths, &distance_code.lengths);
        let bits = description.bits() + literal_code.bits(&literals) + distance_code.bits(&distances) + extra_bits;
        Self { input, sequences, literals: literal_code, distances: distance_code, description, bits }
    }

    fn stored_bits(&self) -> u64 {
        let blocks = self.input.len().div_ceil(STORED).max(1) as u64;
        self.input.len() as u64 * 8 + blocks * STORED_HEADER_BITS
    }

    /// Returns the length of the block in bits, at most.
    pub(super) fn bits(&self) -> u64 {
        self.bits.min(self.stored_bits())
    }

    /// Writes the block; `is_last` if the stream ends with it.
    pub(super) fn write(&self, is_last: bool, to: &mut BitWriter) {
        if self.stored_bits() <= self.bits {
            self.write_stored(is_last, to);
        } else {
            to.put(u64::from(is_last), 1);
            to.put(0b10, 2);
            self.description.write(to);
            self.write_sequences(to);
        }
    }

    fn write_stored(&self, is_last: bool, to: &mut BitWriter) {
        let mut rest = self.input;
        loop {
            let (now, later) = rest.split_at(rest.len().min(STORED));
            to.put(u64::from(is_last && later.is_empty()), 1);
            to.put(0b00, 2);
            let length = now.len() as u16;
            to.put_bytes(&length.to_le_bytes());
            to.put_bytes(&(!length).to_le_bytes());
            to.put_bytes(now);
            rest = later;
            if rest.is_empty() {
                return;
            }
        }
    }

    fn write_sequences(&self, to: &mut BitWriter) {
        let mut rest = self.input;
        for sequence in self.sequences {
            let (bytes, after) = rest.split_at(sequence.literals as usize);
            let mut groups = bytes.chunks_exact(AT_ONCE);
            for group in &mut groups {
                for &byte in group {
                    self.literals.put(byte.into(), to);
                }
                to.flush();
            }
            for &byte in groups.remainder() {
                self.literals.put(byte.into(), to);
            }
            to.flush();
            if sequence.length > 0 {
                let (length, distance) = (of_length(sequence.length), of_distance(sequence.distance));
                self.literals.put(length.code, to);
                to.put(length.extra.into(), length.extra_bits);
                self.distances.put(distance.code, to);
                to.put(distance.extra.into(), distance.extra_bits);
                to.flush();
            }
            rest = after.split_at(sequence.length as usize).1;
        }
        self.literals.put(END_OF_BLOCK, to);
        to.flush();
    }
}

/// Counts bytes, neighbours in different tables: an increment that waits for the one before it takes several times as long.
fn count(bytes: &[u8], counts: &mut [[u32; 256]; AT_ONCE]) {
    let mut groups = bytes.chunks_exact(AT_ONCE);
    for group in &mut groups {
        for (&byte, counts) in group.iter().zip(counts.iter_mut()) {
            counts[usize::from(byte)] += 1;
        }
    }
    for &byte in groups.remainder() {
        counts[0][usize::from(byte)] += 1;
    }
}

/// A Huffman code, canonical as section 3.2.2 says.
struct Code<const SYMBOLS: usize> {
    lengths: [u8; SYMBOLS],
    /// Each codeword, its first bit lowest, and above 16 bits its length.
    codewords: [u32; SYMBOLS],
}

impl<const SYMBOLS: usize> Code<SYMBOLS> {
    fn of(frequencies: &[u32; SYMBOLS]) -> Self {
        Self::limited(frequencies, LIMIT)
    }

    fn limited(frequencies: &[u32; SYMBOLS], limit: u8) -> Self {
        let mut lengths = [0; SYMBOLS];
        code_lengths(frequencies.iter().copied(), limit, &mut lengths);
        let mut codewords = [0; SYMBOLS];
        let mut next = 0_u16;
        for length in 1..=limit {
            for (codeword, _) in codewords.iter_mut().zip(&lengths).filter(|(_, other)| **other == length) {
                *codeword = u32::from(next.reverse_bits() >> (16 - length)) | u32::from(length) << 16;
                next += 1;
            }
            next <<= 1;
        }
        Self { lengths, codewords }
    }

    fn bits(&self, frequencies: &[u32; SYMBOLS]) -> u64 {
        frequencies.iter().zip(&self.lengths).map(|(&times, &length)| u64::from(times) * u64::from(length)).sum()
    }

    #[inline]
    fn put(&self, symbol: usize, to: &mut BitWriter) {
        let codeword = self.codewords[symbol];
        to.put((codeword & 0xffff).into(), codeword >> 16);
    }
}

/// The code lengths of both alphabets as they are written.
struct Description {
    literals: usize,
    distances: usize,
    /// Symbols with their extra bits.
    symbols: Vec<(u8, u8)>,
    code: Code<LENGTH_SYMBOLS>,
    /// How many lengths of that code are written.
    lengths: usize,
}

impl Description {
    fn new(literals: &[u8; LITERALS_AND_LENGTHS], distances: &[u8; DISTANCES]) -> Self {
        let used = |lengths: &[u8]| lengths.iter().rposition(|length| *length > 0).map_or(0, |last| last + 1);
        // At least one distance is described, though none occurs.
        let (literal_count, distance_count) = (used(literals).max(257), used(distances).max(1));
        let all = [&literals[..literal_count], &distances[..distance_count]].concat();
        let symbols = run_lengths(&all);
        let mut frequencies = [0; LENGTH_SYMBOLS];
        for (symbol, _) in &symbols {
            frequencies[usize::from(*symbol)] += 1;
        }
        let code = Code::limited(&frequencies, LENGTH_LIMIT);
        let last = LENGTH_ORDER.iter().rposition(|symbol| code.lengths[*symbol] > 0);
        let lengths = last.map_or(4, |last| last + 1).max(4);
        Self { literals: literal_count, distances: distance_count, symbols, code, lengths }
    }

    fn extra_bits(symbol: u8) -> u32 {
        match symbol {
            REPEAT => 2,
            ZEROS => 3,
            MANY_ZEROS => 7,
            _ => 0,
        }
    }

    fn bits(&self) -> u64 {
        let symbol_bits = |symbol: u8| u32::from(self.code.lengths[usize::from(symbol)]) + Self::extra_bits(symbol);
        let symbols: u64 = self.symbols.iter().map(|(symbol, _)| u64::from(symbol_bits(*symbol))).sum();
        5 + 5 + 4 + 3 * self.lengths as u64 + symbols
    }

    fn write(&self, to: &mut BitWriter) {
        to.put(self.literals as u64 - 257, 5);
        to.put(self.distances as u64 - 1, 5);
        to.put(self.lengths as u64 - 4, 4);
        to.flush();
        for &symbol in &LENGTH_ORDER[..self.lengths] {
            to.put(self.code.lengths[symbol].into(), 3);
            to.flush();
        }
        for &(symbol, extra) in &self.symbols {
            self.code.put(symbol.into(), to);
            to.put(extra.into(), Self::extra_bits(symbol));
            to.flush();
        }
    }
}

/// Returns lengths as symbols with their extra bits: runs of one length are repetitions.
fn run_lengths(lengths: &[u8]) -> Vec<(u8, u8)> {
    let mut symbols = Vec::new();
    for run in lengths.chunk_by(|a, b| a == b) {
        let (length, mut left) = (run[0], run.len());
        if length > 0 {
            symbols.push((length, 0));
            left -= 1;
        }
        while left >= 3 {
            let (symbol, least, most) = match (length, left) {
                (0, 11..) => (MANY_ZEROS, 11, 138),
                (0, _) => (ZEROS, 3, 10),
                _ => (REPEAT, 3, 6),
            };
            let times = left.min(most);
            symbols.push((symbol, (times - least) as u8));
            left -= times;
        }
        symbols.extend(std::iter::repeat_n((length, 0), left));
    }
    symbols
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_lengths_are_repetitions() {
        let lengths: Vec<u8> = [vec![5; 9], vec![0; 2], vec![3; 3], vec![0; 149], vec![0x7; 1]].concat();
        let symbols =
            [(5, 0), (16, 3), (5, 0), (5, 0), (0, 0), (0, 0), (3, 0), (3, 0), (3, 0), (18, 127), (18, 0), (7, 0)];
        assert_eq!(run_lengths(&lengths), symbols);
    }

    #[test]
    fn a_block_has_the_length_that_was_computed() {
        let input: Vec<u8> = (0..5000_u32).map(|n| (n % 7 * (n % 11)) as u8).collect();
        let sequences = [Sequence { literals: 5000, length: 0, distance: 0 }];
        let block = Block::new(&input, &sequences);
        let mut bits = BitWriter::with_capacity(0);
        block.write(true, &mut bits);
        assert_eq!(bits.finish().len() as u64, (3 + block.bits()).div_ceil(8));
    }
}
