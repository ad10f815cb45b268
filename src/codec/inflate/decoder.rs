//! The decoder of a raw DEFLATE stream. It stops where input or room for output ends, between any two symbols, and continues
//! there.

use super::Stop;
use super::bits::{Bits, load, load_to_end};
use super::header::Lengths;
use super::symbol::{MARGIN, Symbol, copy_match};
use super::tables::{DISTANCE_BITS, LITERAL_BITS, Tables};

/// The longest match.
const MAX_LENGTH: usize = 258;

/// The symbols that a buffer has room for behind the limit of the output.
pub(super) const ROOM: usize = MAX_LENGTH + MARGIN;

/// The input that an iteration of the fast loop can load.
const INPUT_MARGIN: usize = 32;

/// The symbols of a block that are decoded one at a time: the tables of the fast loop take longer to build than they save in
/// shorter blocks.
const SHORT: usize = 256;

/// The symbols that one entry can decide on.
const MOST_IN_ENTRY: usize = 3;

/// A decoder, with the block in which it is.
pub(super) struct Decoder {
    block: Block,
    is_last: bool,
    tables: Box<Tables>,
    /// Whether the tables are those of the fixed codes.
    is_fixed: bool,
}

/// What the decoder expects next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Block {
    Header,
    Stored { left: usize },
    Coded,
    End,
}

impl Decoder {
    /// Returns a decoder of a stream from the start of a block on.
    pub(super) fn new() -> Self {
        Self { block: Block::Header, is_last: false, tables: Tables::new(), is_fixed: false }
    }

    /// Begins with a block.
    pub(super) fn reset(&mut self) {
        (self.block, self.is_last) = (Block::Header, false);
    }

    /// Returns whether it is between two blocks.
    pub(super) fn is_between_blocks(&self) -> bool {
        self.block == Block::Header
    }

    /// Decodes from bit `at` of `input` to position `to` of `out`, and moves both on. `out` holds the symbols before it from
    /// `floor` on, and has [`ROOM`] behind `limit`; the decoder stops behind `limit` when it is reached, or at the first block
    /// that begins at or behind bit `until`. Whatever it returns, it can continue there; [`Stop::Corrupt`] is returned again.
    pub(super) fn decode<T: Symbol>(
        &mut self,
        input: &[u8],
        at: &mut usize,
        until: usize,
        out: &mut Output<'_, T>,
    ) -> Stop {
        loop {
            let step = match self.block {
                Block::End => return Stop::End,
                Block::Header if *at >= until => return Stop::Block,
                Block::Header => self.begin_block(input, at),
                Block::Stored { left } => self.stored(input, at, left, out),
                Block::Coded => self.coded(input, at, out),
            };
            if let Err(stop) = step {
                return stop;
            }
        }
    }

    fn begin_block(&mut self, input: &[u8], at: &mut usize) -> Result<(), Stop> {
        let mut bits = Bits::new(input, *at);
        let is_last = bits.take(1)? == 1;
        let block = match bits.take(2)? {
            0 => {
                bits.align();
                let (length, complement) = (bits.take(16)?, bits.take(16)?);
                if length != !complement & 0xffff {
                    return Err(Stop::Corrupt);
                }
                Block::Stored { left: length as usize }
            }
            1 => {
                if !self.is_fixed {
                    let lengths = Lengths::fixed();
                    self.tables.build(lengths.literals(), lengths.distances())?;
                    self.is_fixed = true;
                }
                Block::Coded
            }
            2 => {
                let lengths = Lengths::read(&mut bits)?;
                self.is_fixed = false;
                self.tables.build(lengths.literals(), lengths.distances())?;
                Block::Coded
            }
            _ => return Err(Stop::Corrupt),
        };
        (self.block, self.is_last, *at) = (block, is_last, bits.at());
        Ok(())
    }

    fn end_block(&mut self) {
        self.block = if self.is_last { Block::End } else { Block::Header };
    }

    fn stored<T: Symbol>(
        &mut self,
        input: &[u8],
        at: &mut usize,
        left: usize,
        out: &mut Output<'_, T>,
    ) -> Result<(), Stop> {
        let bytes = input.get(*at / 8..).unwrap_or_default();
        let count = left.min(bytes.len()).min(out.limit.saturating_sub(out.to));
        for (to, byte) in out.symbols[out.to..out.to + count].iter_mut().zip(bytes) {
            *to = T::of(*byte);
        }
        out.to += count;
        *at += count * 8;
        self.block = Block::Stored { left: left - count };
        if left == count {
            self.end_block();
            Ok(())
        } else if count == bytes.len() {
            Err(Stop::Input)
        } else {
            Err(Stop::Output)
        }
    }

    fn coded<T: Symbol>(&mut self, input: &[u8], at: &mut usize, out: &mut Output<'_, T>) -> Result<(), Stop> {
        let is_packed = self.tables.is_packed();
        let least = if is_packed { MOST_IN_ENTRY } else { SHORT };
        let ended = is_packed && fast(&self.tables, input, at, out) || careful(&self.tables, input, at, out, least)?;
        if ended {
            self.end_block();
        } else {
            self.tables.pack();
        }
        Ok(())
    }
}

/// Where symbols are written.
pub(super) struct Output<'a, T> {
    pub(super) symbols: &'a mut [T],
    /// No match refers to symbols before this one.
    pub(super) floor: usize,
    pub(super) to: usize,
    pub(super) limit: usize,
}

/// Decodes symbols as long as neither input nor room can end in an iteration, and they are valid. Returns whether it has met the
/// end of the block.
#[expect(clippy::too_many_lines, reason = "one loop, whose variables are in registers")]
fn fast<T: Symbol>(tables: &Tables, input: &[u8], at: &mut usize, out: &mut Output<'_, T>) -> bool {
    let last_load = input.len().saturating_sub(INPUT_MARGIN);
    let limit = out.limit.min(out.symbols.len().saturating_sub(ROOM));
    let (symbols, floor, mut to) = (&mut *out.symbols, out.floor, out.to);
    let mut next = *at / 8;
    if next >= last_load || to >= limit {
        return false;
    }
    // `stream` has the bits before the byte `next`: their number is that of the six lowest bits of `count`, whose other bits mean
    // nothing, so that entries can be subtracted as they are. The bits above those are 0 or those that follow.
    let mut stream = load(input, next) >> (*at % 8);
    let mut count = 56 - (*at % 8) as u32;
    next += 7;
    macro_rules! refill {
        () => {
            stream |= load(input, next) << (count & 63);
            next += 7 - (count >> 3 & 7) as usize;
            count |= 56;
        };
    }
    macro_rules! consume {
        ($entry:expr) => {
            stream >>= $entry & 63;
            count = count.wrapping_sub($entry);
        };
    }
    refill!();
    let mut packed = tables.packed(stream);
    // Where the entry began that is being decoded, and its output: what is not valid is left to the careful loop.
    let mut begin;
    let has_ended = loop {
        begin = (next, count, to);
        if next >= last_load || to >= limit {
            break false;
        }
        // The literals of an entry are written also where there are none: that costs less than a branch.
        T::put(symbols, to, packed.bytes());
        if packed.is_literals() {
            to += packed.literals();
            consume!(packed.entry().0);
            packed = tables.packed(stream);
            T::put(symbols, to, packed.bytes());
            if packed.is_literals() {
                to += packed.literals();
                consume!(packed.entry().0);
                packed = tables.packed(stream);
                T::put(symbols, to, packed.bytes());
                if packed.is_literals() {
                    to += packed.literals();
                    consume!(packed.entry().0);
                    packed = tables.packed(stream);
                    refill!();
                    continue;
                }
            }
        }
        // Two entries have consumed 22 of at least 56 bits: codewords and their extra bits, 20 at most, are there.
        begin = (next, count, to);
        to += packed.literals();
        let mut entry = packed.entry();
        if entry.is_exceptional() {
            if entry.is_subtable() {
                consume!(LITERAL_BITS);
                entry = tables.literal_below(entry, stream);
            }
            if entry.literals() > 0 {
                T::put(symbols, to, entry.bytes());
                to += 1;
                consume!(entry.0);
                refill!();
                packed = tables.packed(stream);
                continue;
            }
            if entry.is_exceptional() {
                if entry.is_end() {
                    count = count.wrapping_sub(entry.0);
                    begin = (next, count, to);
                    break true;
                }
                break false;
            }
        }
        let length = entry.value(stream);
        consume!(entry.0);
        refill!();
        entry = tables.distance(stream);
        if entry.is_exceptional() {
            if entry.is_subtable() {
                consume!(DISTANCE_BITS);
                entry = tables.distance_below(entry, stream);
            }
            if entry.is_exceptional() {
                break false;
            }
        }
        let distance = entry.value(stream);
        if distance > to - floor {
            break false;
        }
        consume!(entry.0);
        refill!();
        packed = tables.packed(stream);
        copy_match(symbols, to, distance, length);
        to += length;
    };
    out.to = begin.2;
    *at = begin.0 * 8 - (begin.1 & 63) as usize;
    has_ended
}

/// The same, for one symbol at a time: `least` symbols, and those at the end of the input or of the room.
fn careful<T: Symbol>(
    tables: &Tables,
    input: &[u8],
    at: &mut usize,
    out: &mut Output<'_, T>,
    least: usize,
) -> Result<bool, Stop> {
    let end = input.len() * 8;
    let enough = input.len().saturating_sub(INPUT_MARGIN + 8);
    for symbols in 0.. {
        if out.to >= out.limit {
            return Err(Stop::Output);
        }
        // The fast loop continues where there is input for it, behind the entry that it has left to this one.
        if symbols >= least && *at / 8 < enough {
            return Ok(false);
        }
        let mut after = *at;
        let stream = load_to_end(input, after / 8) >> (after % 8);
        let mut consume = |bits: u32| {
            after += bits as usize;
            if after > end { Err(Stop::Input) } else { Ok(after) }
        };
        let mut entry = tables.single(stream);
        let mut used = 0;
        if entry.is_subtable_of_literals() {
            consume(LITERAL_BITS)?;
            used = LITERAL_BITS;
            entry = tables.literal_below(entry, stream >> used);
        }
        let behind = consume(entry.bits())?;
        if entry.literals() > 0 {
            T::put(out.symbols, out.to, entry.bytes());
            out.to += 1;
            *at = behind;
            continue;
        }
        if entry.is_exceptional() {
            if entry.is_end() {
                *at = behind;
                return Ok(true);
            }
            return Err(Stop::Corrupt);
        }
        let length = entry.value(stream >> used);
        let stream = load_to_end(input, behind / 8) >> (behind % 8);
        let mut entry = tables.distance(stream);
        let mut used = 0;
        if entry.is_subtable() {
            consume(DISTANCE_BITS)?;
            used = DISTANCE_BITS;
            entry = tables.distance_below(entry, stream >> used);
        }
        let behind = consume(entry.bits())?;
        if entry.is_exceptional() {
            return Err(Stop::Corrupt);
        }
        let distance = entry.value(stream >> used);
        if distance > out.to - out.floor {
            return Err(Stop::Corrupt);
        }
        copy_match(out.symbols, out.to, distance, length);
        out.to += length;
        *at = behind;
    }
    Ok(false)
}
