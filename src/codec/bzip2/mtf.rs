//! Move to front: each byte becomes its rank among all bytes by how recently they came; and back. Runs of rank
//! 0 become numbers in two symbols of their own.
//!
//! Usually a list of bytes is kept in order of rank, and each byte that comes is moved to its front. On data
//! that hardly compresses, that moves 128 bytes for each one that comes. Here nothing is moved: a byte that
//! comes is noted at the next place on a time line, and the place where it was before is struck out. Its rank
//! is the number of places in use after that one. The time line has [`WORDS`] words of 64 places, a bit each;
//! so the rank is what is counted in one word, and what is known of all the words after it: one number for
//! each word, all of which are updated in one instruction. When the time line is full, the places
//! in use, of which there are 256 at most, are moved together at its beginning.
//!
//! That is for encoding, and for decoding on any CPU. On CPUs that permute bytes in wide registers, decoding keeps a
//! list after all (`cpu::registers`).

use wide::u8x16;

use super::cpu::{self, Cpu, Kernel, Ranks};
use super::huffman::MAX_SYMBOLS;
use super::rle::equal;

/// The digits of a run's length, in base two with the digits one and two, lowest first.
pub(super) const RUN_A: u16 = 0;
pub(super) const RUN_B: u16 = 1;

const WORDS: usize = 16;
const PLACES: usize = WORDS * 64;

/// Which bytes a block has.
pub(super) type Used = [bool; 256];

/// Turns bytes into symbols, the last of which is the end symbol, and counts them. `used` are the bytes that
/// there are in `last`.
pub(super) fn encode(last: &[u8], used: &Used, symbols: &mut Vec<u16>) -> [u32; MAX_SYMBOLS] {
    cpu::run(Encode { last, used, symbols })
}

/// How many symbols there are for so many different bytes: a rank less than there are bytes, since rank 0 is
/// told in runs; two for runs; and one for the end.
pub(super) fn alphabet(used: &Used) -> usize {
    used.iter().filter(|used| **used).count() + 2
}

/// When each byte came last. Where the next one goes, who uses it keeps: in a register.
struct TimeLine {
    /// The bits of places in use.
    words: [u64; WORDS],
    /// Which byte came at each place.
    bytes: [u8; PLACES],
}

impl TimeLine {
    /// As if all bytes in use had come in descending order: so the least has rank 0.
    fn new(used: &Used) -> Self {
        let mut line = Self { words: [0; WORDS], bytes: [0; PLACES] };
        let bytes = (0..=255_u8).rev().filter(|byte| used[usize::from(*byte)]);
        for (place, byte) in bytes.enumerate() {
            line.put(place, byte);
        }
        line
    }

    fn put(&mut self, place: usize, byte: u8) {
        self.words[place / 64 % WORDS] |= 1 << (place % 64);
        self.bytes[place % PLACES] = byte;
    }

    /// Moves the places in use together, and returns the next one.
    #[inline(always)]
    fn compact(&mut self) -> usize {
        let words = std::mem::take(&mut self.words);
        let mut next = 0;
        for (word, mut bits) in words.into_iter().enumerate() {
            while bits != 0 {
                // Places only ever move towards the beginning, to where they were read already.
                self.put(next, self.bytes[(word * 64 + bits.trailing_zeros() as usize) % PLACES]);
                next += 1;
                bits &= bits - 1;
            }
        }
        next
    }

    /// Opens the word that the front byte is in, before the place `next`: its places still to come count as in use,
    /// so that each need not be marked when its time comes. Returns the word.
    #[inline(always)]
    fn open(&mut self, next: usize) -> usize {
        let word = (next - 1) / 64 % WORDS;
        if !next.is_multiple_of(64) {
            self.words[word] |= u64::MAX << (next % 64);
        }
        word
    }

    /// Closes the word, with the front byte in it or at the first place of the following one.
    #[inline(always)]
    fn close(&mut self, word: usize, next: usize) {
        let end = word * 64 + 64;
        if next < end {
            self.words[word] &= !(u64::MAX << (next % 64));
        } else if next > end && word + 1 < WORDS {
            self.words[word + 1] |= 1;
        }
    }
}

/// The last place up to which bytes can be put while a word is open: the first one of the next word, if there is one.
#[inline(always)]
fn last_place(word: usize) -> usize {
    (word * 64 + 64).min(PLACES - 1)
}

/// For each word of a time line, how many places are in use in all words after it, the front byte's not counted;
/// so the numbers are below 256. There are none for the front byte's word and later ones.
fn later(line: &TimeLine) -> u8x16 {
    let mut later = [0; WORDS];
    let mut count = 0_u32;
    for (later, word) in later.iter_mut().zip(line.words).rev() {
        *later = count.saturating_sub(1) as u8;
        count += word.count_ones();
    }
    u8x16::new(later)
}

/// For each word: all words before it.
static BEFORE: [[u8; WORDS]; WORDS] = before();

const fn before() -> [[u8; WORDS]; WORDS] {
    let mut masks = [[0; WORDS]; WORDS];
    let mut word = 0;
    while word < WORDS {
        let mut lane = 0;
        while lane < word {
            masks[word][lane] = 0xFF;
            lane += 1;
        }
        word += 1;
    }
    masks
}

struct Encode<'a> {
    last: &'a [u8],
    used: &'a Used,
    symbols: &'a mut Vec<u16>,
}

impl Kernel for Encode<'_> {
    type Output = [u32; MAX_SYMBOLS];

    #[inline(always)]
    fn run<C: Cpu>(self, _: C) -> Self::Output {
        let mut line = TimeLine::new(self.used);
        let mut symbols = Symbols::new(self.symbols, self.last.len());
        let mut places = [0_u16; 256];
        let mut zeros = 0;
        let mut bytes = self.last;
        let mut front = self.used.iter().position(|used| *used).unwrap_or_default() as u8;
        while !bytes.is_empty() {
            let mut next = line.compact();
            for (&byte, place) in line.bytes[..next % PLACES].iter().zip(0..) {
                places[usize::from(byte)] = place;
            }
            let mut later = later(&line);
            while next < PLACES && !bytes.is_empty() {
                let front_word = line.open(next);
                let before_front = u8x16::new(BEFORE[front_word]);
                while next <= last_place(front_word) {
                    let Some((&byte, rest)) = bytes.split_first() else { break };
                    if byte == front {
                        let run = equal(bytes, byte);
                        zeros += run;
                        bytes = bytes.get(run..).unwrap_or_default();
                        continue;
                    }
                    symbols.push_run(zeros);
                    zeros = 0;
                    bytes = rest;
                    front = byte;

                    let place = usize::from(places[usize::from(byte)]);
                    let word = place / 64 % WORDS;
                    let bits = line.words[word];
                    let here = (bits >> (place % 64) >> 1).count_ones() as usize;
                    let in_later = usize::from(later.to_array()[word]);
                    let rank = (here + in_later + 1).wrapping_sub(too_many(word, front_word, next));
                    line.words[word] = bits & !(1 << (place % 64));
                    // One more in the words between.
                    later -= before_front & !u8x16::new(BEFORE[word]);
                    places[usize::from(byte)] = next as u16;
                    line.bytes[next % PLACES] = byte;
                    next += 1;
                    symbols.push(rank as u16 + 1);
                }
                line.close(front_word, next);
            }
        }
        symbols.push_run(zeros);
        symbols.push(alphabet(self.used) as u16 - 1);
        symbols.finish()
    }
}

/// In the front byte's word, places still to come count as in use, and all others as they are; in words before it,
/// the front byte itself was not counted. So in the former one there are so many more than one too many, and this is
/// found without a branch, because nobody could foretell which way it goes.
#[inline(always)]
fn too_many(word: usize, front_word: usize, next: usize) -> usize {
    let to_come = (front_word * 64 + 64).wrapping_sub(next);
    to_come.wrapping_add(1) & usize::from(word == front_word).wrapping_neg()
}

/// Where symbols are written, with room for all of them.
struct Symbols<'a> {
    symbols: &'a mut Vec<u16>,
    count: usize,
}

impl<'a> Symbols<'a> {
    fn new(symbols: &'a mut Vec<u16>, bytes: usize) -> Self {
        // A byte is one symbol at most, and then there is the end. What was in it is overwritten.
        symbols.resize(bytes + 1, 0);
        Self { symbols, count: 0 }
    }

    #[inline(always)]
    fn push(&mut self, symbol: u16) {
        if let Some(slot) = self.symbols.get_mut(self.count) {
            *slot = symbol;
        }
        self.count += 1;
    }

    #[inline(always)]
    fn push_run(&mut self, zeros: usize) {
        let mut digits = zeros + 1;
        while digits > 1 {
            self.push(if digits.is_multiple_of(2) { RUN_A } else { RUN_B });
            digits /= 2;
        }
    }

    #[inline(always)]
    fn finish(self) -> [u32; MAX_SYMBOLS] {
        self.symbols.truncate(self.count);
        // Two counts for each symbol: to add to the same one twice in a row takes several times as long.
        let mut counts = [[0_u32; MAX_SYMBOLS]; 2];
        for pair in self.symbols.chunks(2) {
            for (counts, &symbol) in counts.iter_mut().zip(pair) {
                if let Some(count) = counts.get_mut(usize::from(symbol)) {
                    *count += 1;
                }
            }
        }
        std::array::from_fn(|symbol| counts[0][symbol] + counts[1][symbol])
    }
}

/// Bytes by rank, for decoding.
pub(super) struct OnTimeLine {
    /// Apart, so that all else can be in registers.
    line: Box<TimeLine>,
    next: usize,
    later: u8x16,
    front: u8,
    front_word: usize,
    before_front: u8x16,
}

impl<C: Cpu> Ranks<C> for OnTimeLine {
    #[inline(always)]
    fn new(used: &Used, _: C) -> Self {
        let mut line = Box::new(TimeLine::new(used));
        let next = line.compact();
        let front = line.bytes[next.wrapping_sub(1) % PLACES];
        let mut ranks = Self { next, later: later(&line), front, front_word: 0, before_front: u8x16::ZERO, line };
        ranks.open();
        ranks
    }

    #[inline(always)]
    fn front(&self) -> u8 {
        self.front
    }

    #[inline(always)]
    fn take(&mut self, rank: u8, cpu: C) -> u8 {
        if self.next > last_place(self.front_word) {
            self.turn();
        }
        // The words that have as many places in use after them, or more, are all before the one with the byte.
        let earlier = self.later.simd_ge(u8x16::splat(rank)) & self.before_front;
        let word = earlier.to_bitmask().count_ones() as usize % WORDS;
        let bits = self.line.words[word];
        // Of the places in use in this word, so many are after the one that is looked for, and that one itself.
        let in_later = usize::from(self.later.to_array()[word]);
        let from_it_on = usize::from(rank).wrapping_sub(in_later) + too_many(word, self.front_word, self.next);
        let place = cpu.select(bits, bits.count_ones().wrapping_sub(from_it_on as u32) % 64);
        let byte = self.line.bytes[(word * 64 + place as usize) % PLACES];
        self.line.words[word] = bits & !(1 << place);
        // One more in the words between that one and the front byte's.
        self.later -= self.before_front & !earlier;
        self.line.bytes[self.next % PLACES] = byte;
        self.next += 1;
        self.front = byte;
        byte
    }
}

impl OnTimeLine {
    /// Goes on to the next word, or to the beginning of the time line.
    #[inline(always)]
    fn turn(&mut self) {
        self.line.close(self.front_word, self.next);
        if self.next >= PLACES {
            self.next = self.line.compact();
            self.later = later(&self.line);
        }
        self.open();
    }

    #[inline(always)]
    fn open(&mut self) {
        self.front_word = self.line.open(self.next);
        self.before_front = u8x16::new(BEFORE[self.front_word]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn used(bytes: &[u8]) -> Used {
        let mut used = [false; 256];
        for &byte in bytes {
            used[usize::from(byte)] = true;
        }
        used
    }

    /// With a list.
    fn plain(bytes: &[u8]) -> Vec<u16> {
        let used = used(bytes);
        let mut list: Vec<u8> = (0..=255).filter(|byte| used[usize::from(*byte)]).collect();
        let mut symbols = Vec::new();
        let mut run = 0_usize;
        let end_run = |run: &mut usize, symbols: &mut Vec<u16>| {
            while *run > 0 {
                symbols.push(if *run % 2 == 1 { RUN_A } else { RUN_B });
                *run = (*run - 1) / 2;
            }
        };
        for &byte in bytes {
            let rank = list.iter().position(|&b| b == byte).unwrap();
            if rank == 0 {
                run += 1;
                continue;
            }
            end_run(&mut run, &mut symbols);
            list[..=rank].rotate_right(1);
            symbols.push(rank as u16 + 1);
        }
        end_run(&mut run, &mut symbols);
        symbols.push(list.len() as u16 + 1);
        symbols
    }

    #[derive(Clone)]
    struct Back<'a>(&'a Used, &'a [u16]);

    impl Kernel for Back<'_> {
        type Output = Vec<u8>;

        #[inline(always)]
        fn run<C: Cpu>(self, cpu: C) -> Vec<u8> {
            let mut ranks = C::Ranks::new(self.0, cpu);
            let mut bytes = Vec::new();
            let (mut run, mut weight) = (0, 1);
            for &symbol in self.1 {
                if symbol <= RUN_B {
                    run += weight << symbol;
                    weight *= 2;
                    continue;
                }
                bytes.extend(std::iter::repeat_n(ranks.front(), run));
                (run, weight) = (0, 1);
                if usize::from(symbol) + 1 < alphabet(self.0) {
                    bytes.push(ranks.take((symbol - 1) as u8, cpu));
                    assert_eq!(bytes.last(), Some(&ranks.front()));
                }
            }
            bytes
        }
    }

    fn check(bytes: &[u8]) {
        let mut symbols = vec![9; 3];
        let used = used(bytes);
        let counts = encode(bytes, &used, &mut symbols);
        assert!(symbols == plain(bytes));
        for (symbol, &count) in (0..).zip(&counts) {
            assert_eq!(symbols.iter().filter(|s| **s == symbol).count(), count as usize);
        }
        assert!(cpu::run_on_all(&Back(&used, &symbols)).into_iter().all(|back| back == bytes));
    }

    #[test]
    fn all_bytes_in_any_order() {
        // Each in turn has the highest rank, again and again, past the end of the time line.
        for of in [1, 2, 63, 64, 65, 128, 129, 192, 255, 256_usize] {
            let up: Vec<u8> = (0..3000).map(|n| (n % of) as u8).collect();
            check(&up);
            let down: Vec<u8> = up.iter().map(|&byte| (of - 1) as u8 - byte).collect();
            check(&down);
        }
    }

    proptest! {
        #[test]
        fn ranks_are_those_of_a_list(bytes in prop::collection::vec(any::<u8>(), 1..6000)) {
            check(&bytes);
        }

        #[test]
        fn skewed_bytes_too(
            bytes in prop::collection::vec((any::<u8>(), any::<u8>(), 1..7_usize), 1..3000),
            mask in any::<u8>(),
        ) {
            let bytes: Vec<u8> = bytes.iter().flat_map(|&(a, b, n)| std::iter::repeat_n(a & b & mask, n)).collect();
            check(&bytes);
        }
    }
}
