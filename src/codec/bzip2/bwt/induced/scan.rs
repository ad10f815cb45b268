//! Computes the ranks of all rotations from the sorted LMS rotations.
//!
//! Among the rotations with the same first byte, those of type L come before those of type S. A rotation of type L is
//! greater than the one that begins a byte later, so a scan through the ranks upwards meets that one first. The next
//! free rank of type L in the bucket of its first byte is then its rank. This scan begins with the LMS rotations and
//! ranks all rotations of type L. It also finds the LML rotations ("leftmost L"), which are of type L and follow one of
//! type S. A scan downwards begins with these and ranks all rotations of type S, including the LMS rotations.
//!
//! A scan writes an entry for each rank. If this were the position of the rotation, the byte before it would have to be
//! read from the block, which is a cache miss each time. Instead, an entry has the bytes before the rotation, as many
//! as there is room for. Entries of the same bucket are written one after the other, and read in this order: they are
//! 256 queues.

use super::key::position;
use crate::codec::bzip2::bwt::bytes::Counts;
use crate::codec::bzip2::bwt::counting::starts;
use crate::codec::bzip2::cpu;

/// The number of low bits of an entry that hold the bytes before the rotation: the nearest one is lowest, and above the
/// farthest one is a one bit. The bits above are the position of the farthest byte.
const BYTES_BITS: u32 = 44;
const BYTES: u64 = (1 << BYTES_BITS) - 1;
/// The number of bytes that an entry has room for.
const ROOM: usize = BYTES_BITS as usize / 8;
/// The low bits of an entry without bytes.
const NONE_LEFT: u64 = 1;

/// A power of two, so that a row number modulo this needs no bounds check. There is a row for each rotation, and one
/// for each LML rotation. There are as many of these as LMS rotations, which are half of all rotations at most.
const ROWS: usize = 1 << 21;

/// The number of rows that are read before any is written, so that these loads do not wait for the addresses of stores.
const BATCH: usize = 64;

/// How many LMS rotations in advance the bytes before a rotation are prefetched.
const FETCHED: usize = 24;

/// Writes the last bytes of the sorted rotations to `last`, and returns the rank of the block itself. `lms` are all LMS
/// rotations in order.
pub(super) fn induce(block: &[u8], counts: &Counts, lms: &[u64], last: &mut [u8], rows: &mut Vec<u64>) -> usize {
    if rows.is_empty() {
        // Zero pages of the operating system, which take no memory until they are written.
        *rows = vec![0; ROWS];
    }
    let Some(rows) = rows.first_chunk_mut::<ROWS>() else { return 0 };
    let before = Before { block, origin: 0 };
    let mut scan = Scan { before, starts: starts(counts), last, rows, lml: [0; 257] };
    scan.up(lms);
    scan.down(counts);
    scan.before.origin
}

/// Reads the bytes before rotations from the block.
struct Before<'a> {
    block: &'a [u8],
    /// The rank of the block itself, once it is known.
    origin: usize,
}

impl Before<'_> {
    /// Returns the entry of the rotation that begins at `position`. The bytes of an entry never extend across the
    /// beginning of the block, so that [`Before::refill`] is called for the rotation at position 0.
    #[inline(always)]
    fn entry(&self, position: usize) -> u64 {
        let position = if position == 0 { self.block.len() } else { position };
        if let Some(bytes) = position.checked_sub(8).and_then(|from| self.block[from..].first_chunk()) {
            const ONE: u64 = 1 << (8 * ROOM);
            return ((position - ROOM) as u64) << BYTES_BITS | ONE | u64::from_be_bytes(*bytes) & (ONE - 1);
        }
        let from = position.saturating_sub(ROOM);
        let bytes = self.block[from..position].iter().fold(NONE_LEFT, |bytes, byte| bytes << 8 | u64::from(*byte));
        (from as u64) << BYTES_BITS | bytes
    }

    /// Returns the entry of the rotation of this rank, whose old entry has no bytes left.
    #[cold]
    #[inline(never)]
    fn refill(&mut self, entry: u64, rank: usize) -> u64 {
        let position = (entry >> BYTES_BITS) as usize;
        if position == 0 {
            self.origin = rank;
        }
        self.entry(position)
    }
}

/// Returns the entry of the rotation that begins one byte earlier.
#[inline(always)]
fn earlier(entry: u64) -> u64 {
    entry & !BYTES | (entry & BYTES) >> 8
}

/// Returns the byte before the rotation, which is the first byte of the rotation that begins one byte earlier.
#[inline(always)]
fn byte(entry: u64) -> usize {
    usize::from(entry as u8)
}

/// The state of a scan through all ranks.
struct Scan<'a> {
    before: Before<'a>,
    starts: Counts,
    last: &'a mut [u8],
    /// The entries by rank, and after them those of the LML rotations, in the order of their ranks.
    rows: &'a mut [u64; ROWS],
    /// For each first byte, the row at which its LML rotations begin.
    lml: [u32; 257],
}

/// The next row of each queue: one for each byte, and [`LML`]. Rotations of adjacent ranks often have the same byte
/// before them, so the last queue that was written is kept in registers.
struct Queues {
    next: [u32; 257],
    queue: usize,
    row: u32,
}

impl Queues {
    /// Returns queues that begin at the rows that `begin` returns.
    fn new(begin: impl Fn(usize) -> u32) -> Self {
        Self { next: std::array::from_fn(&begin), queue: 0, row: begin(0) }
    }

    /// Returns the next row of a queue, for the caller to advance.
    #[inline(always)]
    fn row_of(&mut self, queue: usize) -> &mut u32 {
        if queue != self.queue {
            self.next[self.queue] = self.row;
            self.row = self.next[queue];
            self.queue = queue;
        }
        &mut self.row
    }

    /// Returns the next row of a queue.
    #[inline(always)]
    fn get(&self, queue: usize) -> usize {
        (if queue == self.queue { self.row } else { self.next[queue] }) as usize
    }
}

/// The queue of the LML rotations.
const LML: usize = 256;

impl Scan<'_> {
    /// Ranks all rotations of type L.
    fn up(&mut self, lms: &[u64]) {
        let n = self.last.len() as u32;
        let mut queues = Queues::new(|byte| self.starts.get(byte).copied().unwrap_or(n));
        let mut lms = lms;
        for first in 0..256 {
            self.lml[first] = queues.get(LML) as u32;
            let mut rank = self.starts[first] as usize;
            while let some @ 1.. = (queues.get(first) - rank).min(BATCH) {
                let mut batch = [0; BATCH];
                for (entry, rank) in batch[..some].iter_mut().zip(rank..) {
                    *entry = self.read(rank);
                }
                rank += some;
                for &entry in &batch[..some] {
                    // The rotation that begins one byte earlier is of type L, or this one is LML.
                    let is_l = byte(entry) >= first;
                    let row = queues.row_of(if is_l { byte(entry) } else { LML });
                    self.rows[*row as usize % ROWS] = if is_l { earlier(entry) } else { entry };
                    *row += 1;
                }
            }
            while let Some((&rotation, rest)) = lms.split_first()
                && usize::from(self.before.block[position(rotation)]) == first
            {
                if let Some(&later) = rest.get(FETCHED) {
                    cpu::prefetch(self.before.block, position(later).saturating_sub(1));
                }
                let entry = self.before.entry(position(rotation));
                let row = queues.row_of(byte(entry));
                self.rows[*row as usize % ROWS] = earlier(entry);
                *row += 1;
                lms = rest;
            }
        }
        self.lml[256] = queues.get(LML) as u32;
    }

    /// Ranks all rotations of type S.
    fn down(&mut self, counts: &Counts) {
        // Queues grow downwards: what is stored is the row above the next one.
        let ends = |byte: usize| self.starts.get(byte).zip(counts.get(byte)).map_or(0, |(start, count)| start + count);
        let mut queues = Queues::new(ends);
        for first in (0..256).rev() {
            let mut end = (self.starts[first] + counts[first]) as usize;
            while let some @ 1.. = (end - queues.get(first)).min(BATCH) {
                let mut batch = [0; BATCH];
                for (entry, down) in batch[..some].iter_mut().zip(1..) {
                    *entry = self.read(end - down);
                }
                end -= some;
                for &entry in batch[..some].iter().filter(|entry| byte(**entry) <= first) {
                    self.write_down(&mut queues, entry);
                }
            }
            for row in (self.lml[first]..self.lml[first + 1]).rev() {
                self.write_down(&mut queues, self.rows[row as usize % ROWS]);
            }
        }
    }

    /// Reads the entry of this rank, and writes the byte before the rotation to `last`.
    #[inline(always)]
    fn read(&mut self, rank: usize) -> u64 {
        let mut entry = self.rows[rank % ROWS];
        if entry & BYTES == NONE_LEFT {
            entry = self.before.refill(entry, rank);
        }
        if let Some(last) = self.last.get_mut(rank) {
            *last = entry as u8;
        }
        entry
    }

    /// Writes the entry of the rotation that begins one byte earlier, to a queue that grows downwards.
    #[inline(always)]
    fn write_down(&mut self, queues: &mut Queues, entry: u64) {
        let row = queues.row_of(byte(entry));
        *row -= 1;
        self.rows[*row as usize % ROWS] = earlier(entry);
    }
}
