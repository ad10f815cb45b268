//! The timeline: the order in which the bytes last occurred.

use wide::u8x16;

use super::alphabet::Used;

pub(super) const WORDS: usize = 16;
pub(super) const SLOTS: usize = WORDS * 64;

/// The slots of the last occurrences of all bytes. The caller keeps the next free slot, in a register.
pub(super) struct Timeline {
    /// A bit for each slot, set if it is in use.
    pub(super) words: [u64; WORDS],
    /// The byte at each slot.
    pub(super) bytes: [u8; SLOTS],
}

impl Timeline {
    /// Begins as if all bytes in use had occurred in descending order, so that the least has rank 0.
    pub(super) fn new(used: &Used) -> Self {
        let mut line = Self { words: [0; WORDS], bytes: [0; SLOTS] };
        let bytes = (0..=255_u8).rev().filter(|byte| used[usize::from(*byte)]);
        for (slot, byte) in bytes.enumerate() {
            line.put(slot, byte);
        }
        line
    }

    fn put(&mut self, slot: usize, byte: u8) {
        self.words[slot / 64 % WORDS] |= 1 << (slot % 64);
        self.bytes[slot % SLOTS] = byte;
    }

    /// Compacts the slots in use to the start, and returns the next free one.
    #[inline(always)]
    pub(super) fn compact(&mut self) -> usize {
        let words = std::mem::take(&mut self.words);
        let mut next = 0;
        for (word, mut bits) in words.into_iter().enumerate() {
            while bits != 0 {
                // Bytes only move towards the start, so no slot is overwritten before it is read.
                self.put(next, self.bytes[(word * 64 + bits.trailing_zeros() as usize) % SLOTS]);
                next += 1;
                bits &= bits - 1;
            }
        }
        next
    }

    /// Opens the word of the front byte, which is at the slot before `next`: sets the bits of all its free slots in
    /// advance, so that none has to be set for each byte. Returns the word.
    #[inline(always)]
    pub(super) fn open(&mut self, next: usize) -> usize {
        let word = (next - 1) / 64 % WORDS;
        if !next.is_multiple_of(64) {
            self.words[word] |= u64::MAX << (next % 64);
        }
        word
    }

    /// Closes the word: clears the bits of the free slots. The front byte is in the word, or at the first slot of the
    /// next.
    #[inline(always)]
    pub(super) fn close(&mut self, word: usize, next: usize) {
        let end = word * 64 + 64;
        if next < end {
            self.words[word] &= !(u64::MAX << (next % 64));
        } else if next > end && word + 1 < WORDS {
            self.words[word + 1] |= 1;
        }
    }
}

/// Returns the last slot that can be filled while a word is open: the first of the next word, if there is one.
#[inline(always)]
pub(super) fn last_slot(word: usize) -> usize {
    (word * 64 + 64).min(SLOTS - 1)
}

/// Returns for each word how many slots are in use in all words after it, without that of the front byte, so that the
/// numbers are below 256. They are 0 for the word of the front byte and later ones.
pub(super) fn later(line: &Timeline) -> u8x16 {
    let mut later = [0; WORDS];
    let mut count = 0_u32;
    for (later, word) in later.iter_mut().zip(line.words).rev() {
        *later = count.saturating_sub(1) as u8;
        count += word.count_ones();
    }
    u8x16::new(later)
}

/// For each word, a mask of all words before it.
pub(super) static BEFORE: [[u8; WORDS]; WORDS] = before();

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

/// Returns by how much the two counts of set bits after a slot, in its word and in later words, exceed the rank less
/// one. In the word of the front byte, the bits of free slots are set too; for the words before it, the front byte was
/// not counted. This is branchless, because a branch would be unpredictable.
#[inline(always)]
pub(super) fn excess(word: usize, front_word: usize, next: usize) -> usize {
    let free = (front_word * 64 + 64).wrapping_sub(next);
    free.wrapping_add(1) & usize::from(word == front_word).wrapping_neg()
}
