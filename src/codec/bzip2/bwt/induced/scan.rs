//! From sorted LMS rotations to all rotations. A rotation that falls is greater than the one that begins a byte later; so a
//! scan through the ranks upwards meets that one first, and then knows the next position among those that begin with
//! the same byte: those that fall come before those that rise. This ranks all that fall, begun by the LMS rotations. A scan
//! downwards then ranks all that rise, the LMS rotations among them, begun by the falling ones with a rising one before.
//!
//! What is written at a rank is not the rotation's position, for which its byte before would have to be looked up in
//! the block, a cache miss each time; but the bytes before it, so many as there is room for. Ranks that begin with the
//! same byte are written one after the other, and read so: as queues, 256 of them.

use super::key::position;
use crate::codec::bzip2::bwt::bytes::Counts;
use crate::codec::bzip2::bwt::counting::starts;
use crate::codec::bzip2::cpu;

/// A rotation in a word: the bytes before it, the nearest lowest; above the last of these a one; and, from
/// [`BYTES_BITS`] on, the position of that last one.
const BYTES_BITS: u32 = 44;
const BYTES: u64 = (1 << BYTES_BITS) - 1;
const ROOM: usize = BYTES_BITS as usize / 8;
const NONE_LEFT: u64 = 1;

/// A power of two, so that a row's number needs no check; one row for each rotation, and one more for each that
/// falls with a rising one before it: as many as there are LMS rotations, which are half of all at most.
const ROWS: usize = 1 << 21;

/// Rows that are read before others are written. That many loads need not wait to see where the stores go.
const BATCH: usize = 64;

/// How many LMS rotations ahead the bytes before an LMS rotation are fetched.
const FETCHED: usize = 24;

/// Writes the last bytes of all rotations, and returns the rank of the block itself. All LMS rotations are given, sorted.
pub(super) fn induce(block: &[u8], counts: &Counts, lms: &[u64], last: &mut [u8], rows: &mut Vec<u64>) -> usize {
    if rows.is_empty() {
        // Zeros from the system: pages that are not written take no memory.
        *rows = vec![0; ROWS];
    }
    let Some(rows) = rows.first_chunk_mut::<ROWS>() else { return 0 };
    let before = Before { block, origin: 0 };
    let mut scan = Scan { before, starts: starts(counts), last, rows, turning: [0; 257] };
    scan.up(lms);
    scan.down(counts);
    scan.before.origin
}

/// The bytes before rotations, from the block.
struct Before<'a> {
    block: &'a [u8],
    /// The rank of the block itself, once it has been met.
    origin: usize,
}

impl Before<'_> {
    /// The word of the rotation that begins at `position`. The block's beginning is passed in no word: so it is
    /// always asked here for what is before it.
    #[inline(always)]
    fn word(&self, position: usize) -> u64 {
        let position = if position == 0 { self.block.len() } else { position };
        if let Some(bytes) = position.checked_sub(8).and_then(|from| self.block[from..].first_chunk()) {
            const ONE: u64 = 1 << (8 * ROOM);
            return ((position - ROOM) as u64) << BYTES_BITS | ONE | u64::from_be_bytes(*bytes) & (ONE - 1);
        }
        let from = position.saturating_sub(ROOM);
        let bytes = self.block[from..position].iter().fold(NONE_LEFT, |bytes, byte| bytes << 8 | u64::from(*byte));
        (from as u64) << BYTES_BITS | bytes
    }

    /// The same for a rotation of this rank, none of whose bytes are left in its word.
    #[cold]
    #[inline(never)]
    fn refill(&mut self, word: u64, rank: usize) -> u64 {
        let position = (word >> BYTES_BITS) as usize;
        if position == 0 {
            self.origin = rank;
        }
        self.word(position)
    }
}

/// The word of the rotation that begins a byte earlier.
#[inline(always)]
fn earlier(word: u64) -> u64 {
    word & !BYTES | (word & BYTES) >> 8
}

/// The byte before the rotation.
#[inline(always)]
fn byte(word: u64) -> usize {
    usize::from(word as u8)
}

struct Scan<'a> {
    before: Before<'a>,
    starts: Counts,
    last: &'a mut [u8],
    /// By rank; behind these, those that fall with a rising one before, in the order of their ranks.
    rows: &'a mut [u64; ROWS],
    /// For each first byte, where the latter begin.
    turning: [u32; 257],
}

/// The next row of each queue. Neighbours in rank often have the same byte before them; so the queue that was
/// written last is kept apart, in registers.
struct Queues {
    next: [u32; 257],
    queue: usize,
    row: u32,
}

impl Queues {
    /// Whose queue begins at which row.
    fn new(begin: impl Fn(usize) -> u32) -> Self {
        Self { next: std::array::from_fn(&begin), queue: 0, row: begin(0) }
    }

    #[inline(always)]
    fn of(&mut self, queue: usize) -> &mut u32 {
        if queue != self.queue {
            self.next[self.queue] = self.row;
            self.row = self.next[queue];
            self.queue = queue;
        }
        &mut self.row
    }

    #[inline(always)]
    fn get(&self, queue: usize) -> usize {
        (if queue == self.queue { self.row } else { self.next[queue] }) as usize
    }
}

/// The queue of those that fall with a rising one before.
const TURNING: usize = 256;

impl Scan<'_> {
    /// Ranks all that fall.
    fn up(&mut self, lms: &[u64]) {
        let n = self.last.len() as u32;
        let mut queues = Queues::new(|byte| self.starts.get(byte).copied().unwrap_or(n));
        let mut lms = lms;
        for first in 0..256 {
            self.turning[first] = queues.get(TURNING) as u32;
            let mut rank = self.starts[first] as usize;
            while let some @ 1.. = (queues.get(first) - rank).min(BATCH) {
                let mut batch = [0; BATCH];
                for (word, rank) in batch[..some].iter_mut().zip(rank..) {
                    *word = self.read(rank);
                }
                rank += some;
                for &word in &batch[..some] {
                    let falls = byte(word) >= first;
                    let row = queues.of(if falls { byte(word) } else { TURNING });
                    self.rows[*row as usize % ROWS] = if falls { earlier(word) } else { word };
                    *row += 1;
                }
            }
            while let Some((&rotation, rest)) = lms.split_first()
                && usize::from(self.before.block[position(rotation)]) == first
            {
                if let Some(&ahead) = rest.get(FETCHED) {
                    cpu::prefetch(self.before.block, position(ahead).saturating_sub(1));
                }
                let word = self.before.word(position(rotation));
                let row = queues.of(byte(word));
                self.rows[*row as usize % ROWS] = earlier(word);
                *row += 1;
                lms = rest;
            }
        }
        self.turning[256] = queues.get(TURNING) as u32;
    }

    /// Ranks all that rise.
    fn down(&mut self, counts: &Counts) {
        // Above the next row.
        let ends = |byte: usize| self.starts.get(byte).zip(counts.get(byte)).map_or(0, |(start, count)| start + count);
        let mut queues = Queues::new(ends);
        for first in (0..256).rev() {
            let mut end = (self.starts[first] + counts[first]) as usize;
            while let some @ 1.. = (end - queues.get(first)).min(BATCH) {
                let mut batch = [0; BATCH];
                for (word, down) in batch[..some].iter_mut().zip(1..) {
                    *word = self.read(end - down);
                }
                end -= some;
                for &word in batch[..some].iter().filter(|word| byte(**word) <= first) {
                    self.write_down(&mut queues, word);
                }
            }
            for row in (self.turning[first]..self.turning[first + 1]).rev() {
                self.write_down(&mut queues, self.rows[row as usize % ROWS]);
            }
        }
    }

    /// Reads what was written at this rank, and writes its byte.
    #[inline(always)]
    fn read(&mut self, rank: usize) -> u64 {
        let mut word = self.rows[rank % ROWS];
        if word & BYTES == NONE_LEFT {
            word = self.before.refill(word, rank);
        }
        if let Some(last) = self.last.get_mut(rank) {
            *last = word as u8;
        }
        word
    }

    #[inline(always)]
    fn write_down(&mut self, queues: &mut Queues, word: u64) {
        let row = queues.of(byte(word));
        *row -= 1;
        self.rows[*row as usize % ROWS] = earlier(word);
    }
}
