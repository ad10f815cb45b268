//! The decoding tables of a block.
//!
//! A table is indexed by the next bits of the stream. Its entries hold all that is to be done: how many bits to consume, the
//! literal, or the base of a length or distance, as those of libdeflate do. Codewords with more bits than the index have
//! subtables. A second table holds up to three literals in an entry, as that of igzip does, where they fit its index: it saves
//! lookups, which wait for each other.

use super::Corrupt;

/// The codewords of literals and lengths with up to so many bits need one lookup.
pub(super) const LITERAL_BITS: u32 = 11;
pub(super) const DISTANCE_BITS: u32 = 9;

/// The longest codeword (RFC 1951, section 3.2.7).
const MAX_BITS: usize = 15;

/// A codeword of the code for code lengths has up to 7 bits (section 3.2.7).
pub(super) const PRECODE_BITS: u32 = 7;

/// The most symbols: with the fixed code, which has two that are invalid (section 3.2.6).
pub(super) const LITERALS_AND_LENGTHS: usize = 288;
pub(super) const DISTANCES: usize = 32;

/// At most 2,342 and 594 entries are in use, as zlib's `enough` computes; masks make other indices impossible.
const LITERAL_TABLE: usize = 4096;
const DISTANCE_TABLE: usize = 1024;

/// The bits of an entry: those to consume, with extra bits (0 to 5); the number of literals, up to 3 (6 and 7). The literals
/// follow (8 to 31). If there are none: the bits of the codeword (8 to 11); the kind (12 to 14); the base (16 to 31).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Entry(pub(super) u32);

/// The kinds of entries without literals: of a length or distance, of the end of a block, of no symbol, of a subtable.
const BASE: u32 = 0;
const END: u32 = 1 << 12;
const INVALID: u32 = 2 << 12;
const SUBTABLE: u32 = 4 << 12;
/// That of a [`Packed`] entry of literals only.
const LITERALS: u32 = 8 << 12;
const KINDS: u32 = 15 << 12;

impl Entry {
    const fn literal(byte: u32) -> Self {
        Self(1 << 6 | byte << 8)
    }

    const fn base(base: u32, extra_bits: u32) -> Self {
        Self(BASE | extra_bits | base << 16)
    }

    /// Adds the bits of the codeword.
    const fn of_bits(self, bits: u32) -> Self {
        if self.literals() > 0 { Self(self.0 + bits) } else { Self(self.0 + bits + (bits << 8)) }
    }

    /// Returns the bits to consume.
    #[inline(always)]
    pub(super) const fn bits(self) -> u32 {
        self.0 & 63
    }

    /// Returns the bits of the codeword.
    const fn codeword_bits(self) -> u32 {
        if self.literals() > 0 { self.bits() } else { self.0 >> 8 & 15 }
    }

    /// Returns the number of literals, 0 or 1.
    #[inline(always)]
    pub(super) const fn literals(self) -> usize {
        (self.0 >> 6 & 3) as usize
    }

    /// Returns the literal.
    #[inline(always)]
    pub(super) const fn bytes(self) -> u32 {
        self.0 >> 8
    }

    /// Returns whether an entry without literals is not of a length or distance.
    #[inline(always)]
    pub(super) const fn is_exceptional(self) -> bool {
        self.0 & KINDS != BASE
    }

    #[inline(always)]
    pub(super) const fn is_subtable(self) -> bool {
        self.0 & SUBTABLE != 0
    }

    /// The same, of an entry that can have literals.
    #[inline(always)]
    pub(super) const fn is_subtable_of_literals(self) -> bool {
        self.literals() == 0 && self.is_subtable()
    }

    #[inline(always)]
    pub(super) const fn is_end(self) -> bool {
        self.0 & END != 0
    }

    /// Returns the length or distance. `stream` begins with the codeword.
    #[inline(always)]
    pub(super) const fn value(self, stream: u64) -> usize {
        let extra = (stream & ((1 << self.bits()) - 1)) >> (self.0 >> 8 & 15);
        (self.0 >> 16) as usize + extra as usize
    }
}

/// The symbols of literals and lengths, without the bits of their codewords (section 3.2.5).
const LITERAL_ENTRIES: [Entry; LITERALS_AND_LENGTHS] = {
    let mut entries = [Entry(INVALID); LITERALS_AND_LENGTHS];
    let mut byte = 0;
    while byte < 256 {
        entries[byte] = Entry::literal(byte as u32);
        byte += 1;
    }
    entries[256] = Entry(END);
    let (mut symbol, mut base) = (257, 3);
    while symbol < 285 {
        let extra_bits = if symbol < 265 { 0 } else { (symbol as u32 - 261) / 4 };
        entries[symbol] = Entry::base(base, extra_bits);
        base += 1 << extra_bits;
        symbol += 1;
    }
    entries[285] = Entry::base(258, 0);
    entries
};

const DISTANCE_ENTRIES: [Entry; DISTANCES] = {
    let mut entries = [Entry(INVALID); DISTANCES];
    let (mut symbol, mut base) = (0, 1);
    while symbol < 30 {
        let extra_bits = if symbol < 4 { 0 } else { symbol as u32 / 2 - 1 };
        entries[symbol] = Entry::base(base, extra_bits);
        base += 1 << extra_bits;
        symbol += 1;
    }
    entries
};

/// The symbols of the code for code lengths, as values.
const PRECODE_ENTRIES: [Entry; 19] = {
    let mut entries = [Entry(0); 19];
    let mut symbol = 0;
    while symbol < 19 {
        entries[symbol] = Entry::base(symbol as u32, 0);
        symbol += 1;
    }
    entries
};

/// The tables of a block.
pub(super) struct Tables {
    literals: [Entry; LITERAL_TABLE],
    /// The first part of `literals`, with several literals in an entry.
    packed: [Packed; 1 << LITERAL_BITS],
    /// The shortest codeword of a literal, and of any symbol, for what is not yet packed.
    not_packed: Option<(u32, u32)>,
    distances: [Entry; DISTANCE_TABLE],
}

impl Tables {
    pub(super) fn new() -> Box<Self> {
        Box::new(Self {
            literals: [Entry(INVALID); LITERAL_TABLE],
            packed: [Packed::NONE; 1 << LITERAL_BITS],
            not_packed: None,
            distances: [Entry(INVALID); DISTANCE_TABLE],
        })
    }

    /// Builds the tables for these lengths of the codewords.
    pub(super) fn build(&mut self, literals: &[u8], distances: &[u8]) -> Result<(), Corrupt> {
        build(&mut self.literals, LITERAL_BITS, literals, &LITERAL_ENTRIES)?;
        build(&mut self.distances, DISTANCE_BITS, distances, &DISTANCE_ENTRIES)?;
        let shortest =
            |lengths: &[u8]| lengths.iter().filter(|length| **length > 0).min().map_or(99, |least| u32::from(*least));
        let (bytes, _) = literals.split_at(256);
        self.not_packed = Some((shortest(bytes), shortest(literals)));
        Ok(())
    }

    /// Returns the entry for these bits of a codeword, without those of subtables, of one literal at most.
    #[inline(always)]
    pub(super) fn single(&self, stream: u64) -> Entry {
        self.literals[stream as usize & ((1 << LITERAL_BITS) - 1)]
    }

    /// The same, of several literals where they fit.
    #[inline(always)]
    pub(super) fn packed(&self, stream: u64) -> Packed {
        self.packed[stream as usize & ((1 << LITERAL_BITS) - 1)]
    }

    /// Returns the entry in the subtable of `entry`, for the bits behind those of `entry`.
    #[inline(always)]
    pub(super) fn literal_below(&self, entry: Entry, stream: u64) -> Entry {
        self.literals[below(entry, stream) & (LITERAL_TABLE - 1)]
    }

    #[inline(always)]
    pub(super) fn distance(&self, stream: u64) -> Entry {
        self.distances[stream as usize & ((1 << DISTANCE_BITS) - 1)]
    }

    #[inline(always)]
    pub(super) fn distance_below(&self, entry: Entry, stream: u64) -> Entry {
        self.distances[below(entry, stream) & (DISTANCE_TABLE - 1)]
    }

    /// Returns whether there are entries of several symbols.
    pub(super) fn is_packed(&self) -> bool {
        self.not_packed.is_none()
    }

    /// Fills the table of several symbols in an entry. It is worth it only for blocks that are not short.
    pub(super) fn pack(&mut self) {
        let Some((least_literal, least)) = self.not_packed.take() else { return };
        for (index, packed) in self.packed.iter_mut().enumerate() {
            let first = self.literals[index];
            *packed = Packed::of(first);
            let room = LITERAL_BITS.saturating_sub(first.bits());
            if first.literals() == 0 || least_literal + least > LITERAL_BITS || room < least {
                continue;
            }
            // The bits behind those of the first codeword; 0 where the index has none, which counts as no room.
            let second = self.literals[index >> first.bits()];
            if second.codeword_bits() > room || !packed.append(second) || second.literals() == 0 {
                continue;
            }
            let used = first.bits() + second.bits();
            let third = self.literals[index >> used];
            if third.codeword_bits() <= LITERAL_BITS - used {
                packed.append(third);
            }
        }
    }
}

/// An entry of up to three literals, or of up to two and a length behind them: one lookup and one branch decide on them. The lower
/// half is that of an [`Entry`], in which bits 6 and 7 are the number of literals also of a length; the upper half has the literals.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packed(u64);

impl Packed {
    const NONE: Self = Self::of(Entry(INVALID));

    const fn of(entry: Entry) -> Self {
        if entry.literals() == 0 {
            return Self(entry.0 as u64);
        }
        Self((entry.0 & 0xff | LITERALS) as u64 | (entry.bytes() as u64) << 32)
    }

    /// Appends a literal, or a length, to an entry that has literals. Returns false if it is something else.
    fn append(&mut self, next: Entry) -> bool {
        let count = self.0 >> 6 & 3;
        if next.literals() > 0 {
            self.0 += u64::from(next.bits()) + (1 << 6) + (u64::from(next.bytes()) << (32 + 8 * count));
            return true;
        }
        if next.is_exceptional() {
            return false;
        }
        let codewords = u64::from(self.entry().bits());
        self.0 = self.0 - u64::from(LITERALS) + u64::from(next.0) + (codewords << 8);
        true
    }

    /// Returns what is to be done behind the literals, and the bits to consume for all.
    #[inline(always)]
    pub(super) const fn entry(self) -> Entry {
        Entry(self.0 as u32)
    }

    /// Returns the number of literals.
    #[inline(always)]
    pub(super) const fn literals(self) -> usize {
        (self.0 >> 6 & 3) as usize
    }

    /// Returns the literals, the first one in the lowest byte.
    #[inline(always)]
    pub(super) const fn bytes(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Returns whether there are literals only.
    #[inline(always)]
    pub(super) const fn is_literals(self) -> bool {
        self.0 as u32 & LITERALS != 0
    }
}

/// Returns the index in a subtable.
#[inline(always)]
const fn below(entry: Entry, stream: u64) -> usize {
    (entry.0 >> 16) as usize + (stream & ((1 << (entry.0 >> 8 & 15)) - 1)) as usize
}

/// Builds the table of the code for code lengths.
pub(super) fn build_precode(table: &mut [Entry; 1 << PRECODE_BITS], lengths: &[u8; 19]) -> Result<(), Corrupt> {
    if lengths.iter().map(|length| 1 << PRECODE_BITS >> length).sum::<u32>() != 0 {
        build(table, PRECODE_BITS, lengths, &PRECODE_ENTRIES)?;
    }
    Ok(())
}

/// Returns how many codewords have each length, if the code is complete, or if it is one that zlib accepts: of one codeword of
/// one bit, or of none.
pub(super) fn count(lengths: &[u8]) -> Result<[u16; MAX_BITS + 1], Corrupt> {
    // Four counters of each length: most lengths are 0, and each increment of a counter waits for the one before.
    let mut four = [[0_u16; MAX_BITS + 1]; 4];
    let (groups, rest) = lengths.as_chunks::<4>();
    for group in groups {
        for (counts, length) in four.iter_mut().zip(group) {
            counts[usize::from(*length & 15)] += 1;
        }
    }
    let [mut counts, ..] = four;
    for other in &four[1..] {
        counts.iter_mut().zip(other).for_each(|(count, other)| *count += other);
    }
    for length in rest {
        counts[usize::from(*length & 15)] += 1;
    }
    counts[0] = 0;
    let space: u32 = counts.iter().zip(0..).map(|(count, length)| u32::from(*count) << (MAX_BITS - length)).sum();
    let is_single = counts[1] == 1 && space == 1 << (MAX_BITS - 1);
    if space == 1 << MAX_BITS || space == 0 || is_single { Ok(counts) } else { Err(Corrupt) }
}

/// Builds a table that is indexed by `bits` bits, and its subtables. `entries` are those of the symbols.
fn build(table: &mut [Entry], bits: u32, lengths: &[u8], entries: &[Entry]) -> Result<(), Corrupt> {
    let counts = count(lengths)?;
    let size = 1 << bits;
    // The entries of shorter indices are repeated at the end.
    let longest = counts.iter().rposition(|count| *count > 0).unwrap_or(1).clamp(1, bits as usize);
    let filled = 1 << longest;
    if counts.iter().sum::<u16>() < 2 {
        table[..filled].fill(Entry(INVALID).of_bits(1));
    }
    // The symbols in the order of their codewords.
    let mut starts = [0_u16; MAX_BITS + 2];
    for length in 1..=MAX_BITS {
        starts[length + 1] = starts[length] + counts[length];
    }
    let total = usize::from(starts[MAX_BITS + 1]);
    let mut sorted = [0_u16; LITERALS_AND_LENGTHS];
    for (symbol, length) in lengths.iter().enumerate().filter(|(_, length)| **length > 0) {
        let at = &mut starts[usize::from(*length & 15)];
        sorted[usize::from(*at)] = symbol as u16;
        *at += 1;
    }
    // `code` is the next codeword; the stream has its first bit lowest.
    let (mut code, mut length) = (0_u32, 0_u32);
    let (mut prefix, mut subtable, mut next_subtable) = (usize::MAX, 0, size);
    let mut left = counts;
    for symbol in &sorted[..total] {
        let symbol_length = u32::from(lengths[usize::from(*symbol)]);
        code <<= symbol_length - length;
        length = symbol_length;
        let reversed = (code.reverse_bits() >> (32 - length)) as usize;
        let entry = entries[usize::from(*symbol)];
        if length <= bits {
            let entry = entry.of_bits(length);
            table[..filled].iter_mut().skip(reversed).step_by(1 << length).for_each(|slot| *slot = entry);
        } else {
            if reversed & (size - 1) != prefix {
                prefix = reversed & (size - 1);
                subtable = next_subtable;
                let subtable_bits = bits_of_subtable(length - bits, bits, &left);
                next_subtable += 1 << subtable_bits;
                table[prefix] = Entry(SUBTABLE + bits + (subtable_bits << 8) + ((subtable as u32) << 16));
            }
            let entry = entry.of_bits(length - bits);
            let slots = table[subtable..next_subtable].iter_mut();
            slots.skip(reversed >> bits).step_by(1 << (length - bits)).for_each(|slot| *slot = entry);
        }
        left[length as usize] -= 1;
        code += 1;
    }
    let mut filled = filled;
    while filled < size {
        table.copy_within(..filled, filled);
        filled *= 2;
    }
    Ok(())
}

/// Returns the bits of the index of a subtable whose first codeword has `first` more bits than the index of the table, if so
/// many codewords are `left` for each length.
fn bits_of_subtable(first: u32, bits: u32, left: &[u16; MAX_BITS + 1]) -> u32 {
    let mut more = first;
    let mut room = 1_i32 << more;
    while let Some(count) = left.get((bits + more) as usize) {
        room -= i32::from(*count);
        if room <= 0 {
            break;
        }
        more += 1;
        room <<= 1;
    }
    more
}
