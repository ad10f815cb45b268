//! bzip2's first run-length stage, run ahead of the cut into blocks: a run of 4 to 255 equal bytes
//! becomes four of them and a count. Blocks are limited by what comes *out* of this stage, which may
//! be longer than the input (4 bytes become 5) or 51 times shorter; so only here is it known where a
//! block ends. The cut falls where bzip2's own falls, to the byte.

use std::mem;

use super::format::Level;

/// Longer runs are several.
const MAX_RUN: u8 = 255;

/// A block is full once it holds this many bytes: bzip2's own limit. The run that fills it may go
/// over by four bytes, for which bzip2 keeps room.
pub(super) const fn block_limit(level: Level) -> usize {
    100_000 * level.get() as usize - 19
}

/// Fills blocks.
pub(super) struct Cutter {
    limit: usize,
    block: Vec<u8>,
    /// The run at the end of the input so far, which the next byte may lengthen.
    run_byte: u8,
    run: u8,
}

impl Cutter {
    pub(super) fn new(level: Level) -> Self {
        Self { limit: block_limit(level), block: Vec::new(), run_byte: 0, run: 0 }
    }

    /// Takes in `input` as far as the block has room for it, and says how far that is. If that is not
    /// to the end, the block is full.
    pub(super) fn push(&mut self, input: &[u8]) -> usize {
        if self.block.capacity() == 0 {
            self.block.reserve_exact(self.limit + 4);
        }
        let mut rest = input;
        while let [byte, after @ ..] = rest {
            if self.run > 0 && *byte == self.run_byte && self.run < MAX_RUN {
                let longer = rest.iter().take((MAX_RUN - self.run).into()).take_while(|&b| b == byte).count();
                self.run += longer as u8;
                rest = rest.get(longer..).unwrap_or_default();
                continue;
            }
            self.end_run();
            if self.block.len() >= self.limit {
                break;
            }
            // Bytes that differ from their successors are runs of one, and most data is made of them.
            let room = self.limit - self.block.len();
            let singles = singles(rest, room - 1);
            if let Some((run, left)) = rest.split_at_checked(singles)
                && singles > 0
            {
                self.block.extend_from_slice(run);
                rest = left;
            } else {
                self.run_byte = *byte;
                self.run = 1;
                rest = after;
            }
        }
        input.len() - rest.len()
    }

    /// Ends the block and begins the next one; `None` if nothing came in.
    pub(super) fn take(&mut self) -> Option<Vec<u8>> {
        self.end_run();
        (!self.block.is_empty()).then(|| mem::take(&mut self.block))
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

/// How many bytes at the beginning of `bytes` differ from their successors; at most `max`.
fn singles(bytes: &[u8], max: usize) -> usize {
    const LOW: u64 = u64::MAX / 255;
    const HIGH: u64 = LOW << 7;
    let mut count = 0;
    let mut rest = bytes;
    while count + 8 <= max
        && let Some((here, [next, ..])) = rest.split_first_chunk::<8>()
    {
        let here = u64::from_le_bytes(*here);
        let differing = here ^ (here >> 8 | u64::from(*next) << 56);
        // The lowest byte of `differing` that is zero, if there is one, marked at its high bit.
        let equal = differing.wrapping_sub(LOW) & !differing & HIGH;
        count += equal.trailing_zeros() as usize / 8;
        if equal != 0 {
            break;
        }
        rest = rest.get(8..).unwrap_or_default();
    }
    count
}

/// Undoes the stage: gives `sink` the input again, in pieces.
pub(super) fn expand(block: &[u8], mut sink: impl FnMut(&[u8])) {
    let mut rest = block;
    while let Some(at) = rest.windows(4).position(|four| matches!(four, [a, b, c, d] if a == b && b == c && c == d)) {
        let (plain, counted) = rest.split_at(at + 4);
        sink(plain);
        let Some((&count, after)) = counted.split_first() else { return };
        if let Some(&byte) = plain.last() {
            sink([byte; MAX_RUN as usize].get(..count.into()).unwrap_or_default());
        }
        rest = after;
    }
    sink(rest);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The blocks of `input`, given in pieces of `piece` bytes.
    fn cut(input: &[u8], limit: usize, piece: usize) -> Vec<Vec<u8>> {
        let mut cutter = Cutter { limit, ..Cutter::new(Level::BEST) };
        let mut blocks = Vec::new();
        for mut piece in input.chunks(piece) {
            loop {
                piece = &piece[cutter.push(piece)..];
                if piece.is_empty() {
                    break;
                }
                blocks.extend(cutter.take());
            }
        }
        blocks.extend(cutter.take());
        blocks
    }

    fn expanded(block: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        expand(block, |piece| bytes.extend_from_slice(piece));
        bytes
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
        // What comes out is as long as what goes in: ten fill a block of ten, the eleventh opens another.
        assert_eq!(cut(b"abcdefghij", 10, 3).len(), 1);
        assert_eq!(cut(b"abcdefghijk", 10, 3), [&b"abcdefghij"[..], b"k"]);
        // With nine in it, a whole run still goes in; it may take the block four over its limit.
        assert_eq!(cut(b"abcdefghiXXXXXz", 10, 99), [&b"abcdefghiXXXX\x01"[..], b"z"]);
        // With ten in it, none.
        assert_eq!(cut(b"abcdefghijXXXXX", 10, 99), [&b"abcdefghij"[..], b"XXXX\x01"]);
        // A run of 256 is cut at 255.
        let mut long = b"abcdefghi".to_vec();
        long.extend([b'X'; 256]);
        assert_eq!(cut(&long, 10, 99), [&b"abcdefghiXXXX\xfb"[..], b"X"]);
    }

    #[test]
    fn the_limit_is_that_of_bzip2() {
        assert_eq!(block_limit(Level::BEST), 899_981);
        assert_eq!(block_limit(Level::new(1).unwrap()), 99_981);
    }

    proptest! {
        #[test]
        fn what_is_cut_expands_to_the_input(
            runs in prop::collection::vec((0_u8..4, prop_oneof![1..6_usize, 250..260_usize, Just(600)]), 0..80),
            limit in 5..400_usize,
            piece in 1..700_usize,
        ) {
            let input: Vec<u8> = runs.iter().flat_map(|&(byte, run)| std::iter::repeat_n(byte, run)).collect();
            let blocks = cut(&input, limit, piece);
            prop_assert!(blocks.iter().all(|block| block.len() <= limit + 4));
            prop_assert!(blocks.iter().rev().skip(1).all(|block| block.len() >= limit));
            prop_assert_eq!(blocks.iter().flat_map(|block| expanded(block)).collect::<Vec<_>>(), input.clone());
            prop_assert_eq!(blocks, cut(&input, limit, usize::MAX));
        }

        #[test]
        fn singles_are_counted_to_the_byte(bytes in prop::collection::vec(0_u8..20, 0..60), max in 0..70_usize) {
            let expected = bytes.windows(2).take_while(|pair| pair[0] != pair[1]).count().min(max);
            let found = singles(&bytes, max);
            // In steps of eight it may stop early, but never late.
            prop_assert!(found <= expected && expected < found + 8 + 8);
        }
    }
}
