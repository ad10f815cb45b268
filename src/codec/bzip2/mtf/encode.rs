//! Encodes bytes to symbols.

use wide::u8x16;

use super::alphabet::{RUN_A, RUN_B, Used, alphabet};
use super::timeline::{BEFORE, SLOTS, Timeline, WORDS, excess, last_slot, later};
use crate::codec::bzip2::cpu::{self, Cpu, Kernel};
use crate::codec::bzip2::huffman::MAX_SYMBOLS;
use crate::codec::bzip2::rle::equal;

/// Encodes `last` to symbols, the end symbol included, and returns how often each symbol occurs. `used` are the bytes
/// that occur in `last`.
pub(in crate::codec::bzip2) fn encode(last: &[u8], used: &Used, symbols: &mut Vec<u16>) -> [u32; MAX_SYMBOLS] {
    cpu::run(Encode { last, used, symbols })
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
        let mut line = Timeline::new(self.used);
        let mut symbols = Symbols::new(self.symbols, self.last.len());
        let mut slots = [0_u16; 256];
        let mut zeros = 0;
        let mut bytes = self.last;
        let mut front = self.used.iter().position(|used| *used).unwrap_or_default() as u8;
        while !bytes.is_empty() {
            let mut next = line.compact();
            for (&byte, slot) in line.bytes[..next % SLOTS].iter().zip(0..) {
                slots[usize::from(byte)] = slot;
            }
            let mut later = later(&line);
            while next < SLOTS && !bytes.is_empty() {
                let front_word = line.open(next);
                let before_front = u8x16::new(BEFORE[front_word]);
                while next <= last_slot(front_word) {
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

                    let slot = usize::from(slots[usize::from(byte)]);
                    let word = slot / 64 % WORDS;
                    let bits = line.words[word];
                    let here = (bits >> (slot % 64) >> 1).count_ones() as usize;
                    let in_later = usize::from(later.to_array()[word]);
                    let rank = (here + in_later + 1).wrapping_sub(excess(word, front_word, next));
                    line.words[word] = bits & !(1 << (slot % 64));
                    // One more bit is set after each of the words between.
                    later -= before_front & !u8x16::new(BEFORE[word]);
                    slots[usize::from(byte)] = next as u16;
                    line.bytes[next % SLOTS] = byte;
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

/// The output, with room for all symbols.
struct Symbols<'a> {
    symbols: &'a mut Vec<u16>,
    count: usize,
}

impl<'a> Symbols<'a> {
    fn new(symbols: &'a mut Vec<u16>, bytes: usize) -> Self {
        // At most one symbol for each byte, and the end symbol. The old content is overwritten.
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
        // Two counters for each symbol: an increment waits for one of the same counter right before it.
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
