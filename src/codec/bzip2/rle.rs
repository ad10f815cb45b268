//! The first run-length stage of bzip2: a run of 4 to 255 equal bytes is encoded as four of them and a count of the
//! others. It runs before the input is cut into blocks, because the limit of a block applies to the *output* of this
//! stage, which can be longer than the input (4 bytes become 5) or 51 times shorter. Blocks end at exactly the same
//! byte as those of bzip2.

use std::mem;

use wide::u8x16;

use super::block_size::BlockSize;
use super::crc::Crc;

/// Longer runs are split.
const MAX_RUN: u8 = 255;

/// Returns the number of bytes with which a block of this size is full, as in bzip2. The run that fills the block can
/// exceed it by four bytes, for which bzip2 has room.
pub(super) const fn block_limit(block_size: BlockSize) -> usize {
    max_block(block_size) - 19
}

/// Returns the maximum length in bytes of the text of a block of this size, written by any encoder.
pub(super) const fn max_block(block_size: BlockSize) -> usize {
    block_size.bytes()
}

/// The bytes that are examined at once for short runs: one bit of a word for each.
const WINDOW: usize = 64;

/// The most bytes that become of a window, each run of four bytes five of them, and of those that are copied behind it.
const MARGIN: usize = WINDOW + WINDOW / 4 + WINDOW;

/// The bytes of text that are written beside the block before they are appended to it.
const BATCH: usize = 8 << 10;

/// Encodes the runs of the input and cuts it into blocks.
pub(super) struct Cutter {
    limit: usize,
    block: Vec<u8>,
    /// Where the text of short runs is written.
    short_runs: Vec<u8>,
    /// The byte and the length of the run at the end of the input so far, which the next byte can extend.
    run_byte: u8,
    run: u8,
    crc: Crc,
}

/// A block after the first run-length stage.
pub(super) struct Block {
    /// The output of the stage, which is not empty.
    pub(super) text: Vec<u8>,
    /// The checksum of the input of the stage.
    pub(super) crc: u32,
}

impl Cutter {
    pub(super) fn new(block_size: BlockSize) -> Self {
        Self {
            limit: block_limit(block_size),
            block: Vec::new(),
            short_runs: Vec::new(),
            run_byte: 0,
            run: 0,
            crc: Crc::new(),
        }
    }

    /// Adds input to the block until it is full, and returns the number of bytes added. If it is less than the length
    /// of `input`, the block is full.
    pub(super) fn push(&mut self, input: &[u8]) -> usize {
        if self.block.capacity() == 0 {
            self.block.reserve_exact(self.limit + 4);
        }
        let mut rest = input;
        while let [byte, after @ ..] = rest {
            if self.run > 0 && *byte == self.run_byte && self.run < MAX_RUN {
                let room = rest.len().min((MAX_RUN - self.run).into());
                let longer = equal(&rest[..room], *byte);
                self.run += longer as u8;
                rest = rest.get(longer..).unwrap_or_default();
                continue;
            }
            self.end_run();
            if self.block.len() >= self.limit {
                break;
            }
            let taken = self.short_runs(rest);
            if taken > 0 {
                rest = &rest[taken..];
                continue;
            }
            // A run that begins before the limit is added completely, so only bytes before the limit are examined here.
            let room = rest.len().min(self.limit - self.block.len());
            let (plain, left) = rest.split_at(plain(&rest[..room]));
            if plain.is_empty() {
                self.run_byte = *byte;
                self.run = 1;
                rest = after;
            } else {
                self.block.extend_from_slice(plain);
                rest = left;
            }
        }
        let taken = input.len() - rest.len();
        self.crc.update(input.get(..taken).unwrap_or_default());
        taken
    }

    /// Adds input up to the first run that may be longer than a window, or as far as there is room for what becomes of a
    /// window, and returns the number of bytes added. Database pages have a short run in every 30 bytes.
    fn short_runs(&mut self, input: &[u8]) -> usize {
        self.short_runs.resize(BATCH, 0);
        let room = BATCH.min(self.limit - self.block.len());
        let (taken, written) = encode_short_runs(input, &mut self.short_runs[..room]);
        self.block.extend_from_slice(&self.short_runs[..written]);
        taken
    }

    /// Ends the block and returns it. Returns `None` if it is empty.
    pub(super) fn take(&mut self) -> Option<Block> {
        self.end_run();
        let crc = mem::replace(&mut self.crc, Crc::new()).value();
        (!self.block.is_empty()).then(|| Block { text: mem::take(&mut self.block), crc })
    }

    fn end_run(&mut self) {
        let bytes = [self.run_byte; 4];
        match self.run {
            0 => {}
            1..=3 => self.block.extend(bytes.iter().take(self.run.into())),
            4.. => {
                self.block.extend_from_slice(&bytes);
                self.block.push(self.run - 4);
            }
        }
        self.run = 0;
    }
}

/// Encodes input until a run begins that may be longer than a window, or there is less room in `text` than [`MARGIN`], or
/// less input than two windows. Returns the lengths of what was encoded and of the text.
fn encode_short_runs(input: &[u8], text: &mut [u8]) -> (usize, usize) {
    let (mut taken, mut written) = (0, 0);
    while let Some(bytes) = input[taken..].first_chunk::<{ 2 * WINDOW }>()
        && let Some(text) = text[written..].first_chunk_mut::<MARGIN>()
    {
        // Bit k says that byte k equals the next one; `left` bits are known.
        let (mut equal, mut left) = (equal_to_next(bytes), WINDOW);
        let (mut from, mut to) = (0, 0);
        // Less than three bits do not tell a run of four.
        while left >= 3 {
            let four = equal & equal >> 1 & equal >> 2;
            // Where no run begins, it may with the last two bytes.
            let plain = if four == 0 { left - 2 } else { four.trailing_zeros() as usize };
            // What is copied behind the plain bytes and four bytes of a run is written over.
            text[to..to + WINDOW].copy_from_slice(&bytes[from..from + WINDOW]);
            if four == 0 {
                (from, to) = (from + plain, to + plain);
                break;
            }
            let run = (equal >> plain).trailing_ones() as usize + 1;
            if plain + run > left {
                return (taken + from + plain, written + to + plain);
            }
            text[to + plain + 4] = (run - 4) as u8;
            (from, to) = (from + plain + run, to + plain + 5);
            left -= plain + run;
            equal = equal.checked_shr((plain + run) as u32).unwrap_or_default();
        }
        (taken, written) = (taken + from, written + to);
    }
    (taken, written)
}

/// Returns a word whose bit k says whether byte k equals the next one.
fn equal_to_next(bytes: &[u8; 2 * WINDOW]) -> u64 {
    let mut equal = 0;
    for sixteen in (0..WINDOW).step_by(16) {
        let (these, next) = (&bytes[sixteen..sixteen + 17], sixteen as u32);
        if let (Some(these), Some(after)) = (these.first_chunk::<16>(), these.last_chunk::<16>()) {
            equal |= u64::from(u8x16::new(*these).simd_eq(u8x16::new(*after)).to_bitmask()) << next;
        }
    }
    equal
}

/// Returns the number of bytes before the first run of four; if there is none, before the last run, which more input
/// can extend.
fn plain(bytes: &[u8]) -> usize {
    find_run(bytes).unwrap_or_else(|| {
        let unfinished = bytes.iter().rev().take_while(|byte| Some(*byte) == bytes.last()).count();
        bytes.len() - unfinished
    })
}

/// Returns the number of leading bytes that are equal to `byte`.
#[inline(always)]
pub(super) fn equal(bytes: &[u8], byte: u8) -> usize {
    let (sixteens, rest) = bytes.as_chunks::<16>();
    for (sixteen, from) in sixteens.iter().zip((0..).step_by(16)) {
        let same = u8x16::new(*sixteen).simd_eq(u8x16::splat(byte)).to_bitmask().trailing_ones();
        if same < 16 {
            return from + same as usize;
        }
    }
    sixteens.len() * 16 + rest.iter().take_while(|next| **next == byte).count()
}

/// Undoes the stage incrementally.
#[derive(Debug, Default, Clone)]
pub(super) struct Expander {
    /// The position in the block.
    at: usize,
    /// The number of bytes that are copied next.
    plain: usize,
    /// Whether they end with four equal bytes, after which there is a count in the block.
    counted: bool,
    /// How often `byte` is repeated then.
    repeat: usize,
    byte: u8,
}

/// The error if the count after four equal bytes is missing at the end of a block. No encoder writes such a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NoCount;

impl Expander {
    /// Expands the next bytes of `block` to `out`. Returns 0 at its end. `block` must be the same in all calls.
    #[inline(always)]
    pub(super) fn read(&mut self, block: &[u8], out: &mut [u8]) -> Result<usize, NoCount> {
        let mut done = 0;
        while done < out.len() {
            let room = out.len() - done;
            if self.plain > 0 {
                let len = self.plain.min(room);
                copy(&block[self.at..], &mut out[done..], len);
                self.at += len;
                self.plain -= len;
                done += len;
            } else if self.counted {
                self.counted = false;
                self.byte = block[self.at - 1];
                self.repeat = usize::from(*block.get(self.at).ok_or(NoCount)?);
                self.at += 1;
            } else if self.repeat > 0 {
                let len = self.repeat.min(room);
                out[done..done + len].fill(self.byte);
                self.repeat -= len;
                done += len;
            } else {
                let rest = &block[self.at..];
                if rest.is_empty() {
                    break;
                }
                match find_run(rest) {
                    Some(run) => (self.plain, self.counted) = (run + 4, true),
                    None => self.plain = rest.len(),
                }
            }
        }
        Ok(done)
    }
}

/// Copies `len` bytes. Most copies are short: then sixteen bytes are copied in one register, if both slices have as
/// many.
#[inline(always)]
fn copy(from: &[u8], to: &mut [u8], len: usize) {
    if len <= 16
        && let (Some(from), Some(to)) = (from.first_chunk::<16>(), to.first_chunk_mut::<16>())
    {
        *to = *from;
    } else {
        to[..len].copy_from_slice(&from[..len]);
    }
}

/// Returns the position of the first run of four equal bytes.
fn find_run(bytes: &[u8]) -> Option<usize> {
    let equal = |a: &[u8; 16], b: &[u8; 16]| u8x16::new(*a).simd_eq(u8x16::new(*b));
    let mut from = 0;
    while let Some(chunk) = bytes.get(from..).and_then(<[u8]>::first_chunk::<19>)
        && let ([a @ .., _, _, _], [_, b @ .., _, _], [_, _, c @ .., _], [_, _, _, d @ ..]) =
            (chunk, chunk, chunk, chunk)
    {
        let begins = (equal(a, b) & equal(b, c) & equal(c, d)).to_bitmask();
        if begins != 0 {
            return Some(from + begins.trailing_zeros() as usize);
        }
        from += 16;
    }
    let rest = bytes.get(from..)?;
    rest.windows(4).position(|four| four.iter().all(|byte| *byte == four[0])).map(|at| from + at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the texts of the blocks of `input`, which is added in chunks of `chunk` bytes.
    fn cut(input: &[u8], limit: usize, chunk: usize) -> Vec<Vec<u8>> {
        let mut cutter = Cutter { limit, ..Cutter::new(BlockSize::LARGEST) };
        let mut blocks = Vec::new();
        for mut chunk in input.chunks(chunk) {
            loop {
                chunk = &chunk[cutter.push(chunk)..];
                if chunk.is_empty() {
                    break;
                }
                blocks.extend(cutter.take());
            }
        }
        blocks.extend(cutter.take());
        for block in &blocks {
            let mut crc = Crc::new();
            crc.update(&expanded(&block.text));
            assert_eq!(block.crc, crc.value());
        }
        blocks.into_iter().map(|block| block.text).collect()
    }

    /// The same, run by run.
    fn cut_simply(input: &[u8], limit: usize) -> Vec<Vec<u8>> {
        let mut blocks = vec![Vec::new()];
        let mut rest = input;
        while let [byte, ..] = rest {
            let run = rest.iter().take(255).take_while(|next| *next == byte).count();
            if blocks[blocks.len() - 1].len() >= limit {
                blocks.push(Vec::new());
            }
            let block = blocks.last_mut().unwrap();
            block.extend(vec![*byte; run.min(4)]);
            block.extend(run.checked_sub(4).map(|more| more as u8));
            rest = &rest[run..];
        }
        blocks.retain(|block| !block.is_empty());
        blocks
    }

    fn read(block: &[u8], chunk: usize) -> Result<Vec<u8>, NoCount> {
        let mut expander = Expander::default();
        let mut bytes = Vec::new();
        let mut buffer = vec![0; chunk];
        loop {
            match expander.read(block, &mut buffer)? {
                0 => return Ok(bytes),
                count => bytes.extend_from_slice(&buffer[..count]),
            }
        }
    }

    fn expanded(block: &[u8]) -> Vec<u8> {
        read(block, 1 << 16).unwrap()
    }

    #[test]
    fn runs_become_four_and_a_count() {
        let one = |input: &[u8]| cut(input, 1000, 7).concat();
        assert_eq!(one(b"aaa"), b"aaa");
        assert_eq!(one(b"aaaa"), b"aaaa\0");
        assert_eq!(one(b"aaaab"), b"aaaa\0b");
        assert_eq!(one(&[7; 255]), [7, 7, 7, 7, 251]);
        assert_eq!(one(&[7; 256]), [7, 7, 7, 7, 251, 7]);
        assert_eq!(one(&[7; 259]), [7, 7, 7, 7, 251, 7, 7, 7, 7, 0]);
        assert_eq!(one(b""), b"");
    }

    #[test]
    fn a_block_is_full_at_its_limit_and_not_before() {
        // Without runs, the output is as long as the input: ten bytes fill a block of ten, the eleventh begins another.
        assert_eq!(cut(b"abcdefghij", 10, 3).len(), 1);
        assert_eq!(cut(b"abcdefghijk", 10, 3), [&b"abcdefghij"[..], b"k"]);
        // After nine bytes, a complete run is still added, which can exceed the limit by four.
        assert_eq!(cut(b"abcdefghiXXXXXz", 10, 99), [&b"abcdefghiXXXX\x01"[..], b"z"]);
        // After ten bytes, none is added.
        assert_eq!(cut(b"abcdefghijXXXXX", 10, 99), [&b"abcdefghij"[..], b"XXXX\x01"]);
        // A run of 256 is split after 255.
        let mut long = b"abcdefghi".to_vec();
        long.extend([b'X'; 256]);
        assert_eq!(cut(&long, 10, 99), [&b"abcdefghiXXXX\xfb"[..], b"X"]);
    }

    #[test]
    fn the_limit_is_that_of_bzip2() {
        assert_eq!(block_limit(BlockSize::LARGEST), 899_981);
        assert_eq!(block_limit(BlockSize::new(1).unwrap()), 99_981);
    }

    proptest! {
        #[test]
        fn blocks_expand_to_the_input(
            runs in prop::collection::vec(
                (0_u8..4, prop_oneof![6 => 1..6_usize, 2 => 6..70_usize, 1 => 250..260_usize, 1 => Just(600)]),
                0..150,
            ),
            limit in prop_oneof![5..400_usize, 400..4000_usize],
            chunk in 1..2000_usize,
        ) {
            let input: Vec<u8> = runs.iter().flat_map(|&(byte, run)| std::iter::repeat_n(byte, run)).collect();
            let blocks = cut(&input, limit, chunk);
            prop_assert!(blocks.iter().all(|block| block.len() <= limit + 4));
            prop_assert!(blocks.iter().rev().skip(1).all(|block| block.len() >= limit));
            prop_assert_eq!(blocks.iter().flat_map(|block| expanded(block)).collect::<Vec<_>>(), input.clone());
            prop_assert_eq!(&blocks, &cut_simply(&input, limit));
            prop_assert_eq!(blocks, cut(&input, limit, usize::MAX));
        }

        #[test]
        fn expansion_is_the_same_in_chunks(block in prop::collection::vec(0_u8..2, 0..300), chunk in 1..70_usize) {
            let mut expected = Ok(Vec::new());
            let mut rest = &block[..];
            while let [byte, after @ ..] = rest {
                if let Ok(expected) = &mut expected {
                    expected.push(*byte);
                }
                if after.len() >= 3 && after[..3] == [*byte; 3] {
                    if let [_, _, _, count, ..] = after && let Ok(expected) = &mut expected {
                        expected.extend(vec![*byte; 3 + usize::from(*count)]);
                        rest = &after[4..];
                        continue;
                    }
                    expected = Err(NoCount);
                    break;
                }
                rest = after;
            }
            prop_assert_eq!(read(&block, chunk), expected);
        }
    }
}
