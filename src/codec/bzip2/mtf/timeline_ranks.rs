//! Decoding on a timeline.

use wide::u8x16;

use super::alphabet::Used;
use super::ranks::Ranks;
use super::timeline::{BEFORE, SLOTS, Timeline, WORDS, excess, last_slot, later};
use crate::codec::bzip2::cpu::Cpu;

/// A move-to-front list on a timeline, for any CPU.
pub(in crate::codec::bzip2) struct TimelineRanks<C> {
    cpu: C,
    /// On the heap, so that everything else can be in registers.
    line: Box<Timeline>,
    next: usize,
    later: u8x16,
    front: u8,
    front_word: usize,
    before_front: u8x16,
}

impl<C: Cpu> TimelineRanks<C> {
    /// Begins with the bytes in use, of which there is one at least, in ascending order.
    #[inline(always)]
    pub(in crate::codec::bzip2) fn new(used: &Used, cpu: C) -> Self {
        let mut line = Box::new(Timeline::new(used));
        let next = line.compact();
        let front = line.bytes[next.wrapping_sub(1) % SLOTS];
        let mut ranks = Self { cpu, next, later: later(&line), front, front_word: 0, before_front: u8x16::ZERO, line };
        ranks.open();
        ranks
    }

    /// Continues in the next word, or at the start of the timeline.
    #[inline(always)]
    fn advance(&mut self) {
        self.line.close(self.front_word, self.next);
        if self.next >= SLOTS {
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

impl<C: Cpu> Ranks for TimelineRanks<C> {
    #[inline(always)]
    fn front(&self) -> u8 {
        self.front
    }

    #[inline(always)]
    fn take(&mut self, rank: u8) -> u8 {
        if self.next > last_slot(self.front_word) {
            self.advance();
        }
        // All words with `rank` or more bits after them are before the word of the byte.
        let earlier = self.later.simd_ge(u8x16::splat(rank)) & self.before_front;
        let word = earlier.to_bitmask().count_ones() as usize % WORDS;
        let bits = self.line.words[word];
        // The number of set bits of this word at the slot of the byte and after it.
        let in_later = usize::from(self.later.to_array()[word]);
        let from_it_on = usize::from(rank).wrapping_sub(in_later) + excess(word, self.front_word, self.next);
        let slot = self.cpu.select(bits, bits.count_ones().wrapping_sub(from_it_on as u32) % 64);
        let byte = self.line.bytes[(word * 64 + slot as usize) % SLOTS];
        self.line.words[word] = bits & !(1 << slot);
        // One more bit is set after each word between that of the byte and that of the front.
        self.later -= self.before_front & !earlier;
        self.line.bytes[self.next % SLOTS] = byte;
        self.next += 1;
        self.front = byte;
        byte
    }
}
