//! Chooses the code tables for the symbols of a block, and writes tables, selectors and codewords.

use super::lengths::{LIMIT, lengths};
use super::{GROUP, Lengths, MAX_LENGTH, MAX_SYMBOLS, MAX_TABLES};
use crate::codec::bzip2::bits::{BitString, BitWriter};
use crate::codec::bzip2::cpu::{self, Cpu, Kernel};

/// Rounds in which each group selects the cheapest table, and each table is computed from the groups that selected it.
const ROUNDS: usize = 3;

/// In blocks of more groups than `LONG`, all rounds but the last use one of `PART` groups.
const LONG: usize = 4000;
const PART: usize = 8;

/// A power of two above the number of symbols: the index `symbol % SLOTS` needs no bounds check.
const SLOTS: usize = 512;
type Counts = [u32; SLOTS];

/// Appends code tables, selectors and codewords to `bits`. `frequencies` has the number of occurrences in `symbols` of
/// each symbol of the alphabet. The last one is the end symbol, which occurs once, at the end.
pub(in crate::codec::bzip2) fn encode(symbols: &[u16], frequencies: &[u32], bits: &mut BitString) {
    cpu::run(Encode { symbols, frequencies, bits });
}

struct Encode<'a> {
    symbols: &'a [u16],
    frequencies: &'a [u32],
    bits: &'a mut BitString,
}

impl Kernel for Encode<'_> {
    type Output = ();

    #[inline(always)]
    fn run<C: Cpu>(self, _: C) {
        let Self { symbols, frequencies, bits } = self;
        let alphabet = frequencies.len();
        let count = tables_for(symbols.len());
        let mut tables = first_tables(frequencies, count);
        let tables = &mut tables[..count];
        let mut selectors = vec![0_u8; symbols.len().div_ceil(GROUP)];
        for round in (0..ROUNDS).rev() {
            // A part of a long block is enough to find good tables. Only the last round, whose result is written, uses
            // all groups.
            let part = if round > 0 && selectors.len() > LONG { PART } else { 1 };
            let counts = select(symbols, tables, part, &mut selectors);
            for (table, counts) in tables.iter_mut().zip(&counts) {
                *table = lengths(&counts[..alphabet]);
            }
        }

        bits.push(count as u64, 3);
        bits.push(selectors.len() as u64, 15);
        put_selectors(&selectors, bits);
        for table in tables.iter() {
            put_lengths(&table[..alphabet], bits);
        }
        put_symbols(symbols, &selectors, tables, alphabet, bits);
    }
}

/// Returns the number of code tables for so many symbols, the same as in bzip2.
fn tables_for(symbols: usize) -> usize {
    match symbols {
        0..200 => 2,
        200..600 => 3,
        600..1200 => 4,
        1200..2400 => 5,
        _ => MAX_TABLES,
    }
}

/// Returns the initial tables. Each is for a range of the alphabet, and all ranges have about the same total frequency.
fn first_tables(frequencies: &[u32], count: usize) -> [Lengths; MAX_TABLES] {
    let mut tables = [[0; MAX_SYMBOLS]; MAX_TABLES];
    let mut left: u32 = frequencies.iter().sum();
    let mut from = 0;
    for (index, table) in tables[..count].iter_mut().enumerate() {
        let share = left / (count - index) as u32;
        let mut taken = 0;
        let mut to = from;
        while to < frequencies.len() && (taken < share || to == from) {
            taken += frequencies[to];
            to += 1;
        }
        // Every second range leaves the symbol that exceeded its share to the next range, as in bzip2.
        if to > from + 1 && index != 0 && index != count - 1 && index % 2 == 1 {
            to -= 1;
            taken -= frequencies[to];
        }
        for (symbol, length) in table[..frequencies.len()].iter_mut().enumerate() {
            *length = if (from..to).contains(&symbol) { 1 } else { 15 };
        }
        from = to;
        left -= taken;
    }
    tables
}

/// Selects for each group the table that codes it in the fewest bits, and counts the symbols that each table codes.
/// Uses one of `part` groups.
#[inline(always)]
fn select(symbols: &[u16], tables: &[Lengths], part: usize, selectors: &mut [u8]) -> [Counts; MAX_TABLES] {
    // The code lengths of a symbol in all tables, ten bits each: the sum of a group is at most 50 · 20.
    const BITS: usize = 10;
    let mut costs = [0_u64; SLOTS];
    for (index, table) in tables.iter().enumerate() {
        for (cost, &length) in costs.iter_mut().zip(table) {
            *cost |= u64::from(length) << (BITS * index);
        }
    }
    let mut counts = [[0; SLOTS]; MAX_TABLES];
    let mut choose = |group: &[u16], selector: &mut u8| {
        let mut sums = [0; 2];
        for pair in group.chunks(2) {
            for (sum, &symbol) in sums.iter_mut().zip(pair) {
                *sum += costs[usize::from(symbol) % SLOTS];
            }
        }
        let sums = sums[0] + sums[1];
        // The table is in the low bits, so that the minimum is the first of the cheapest tables.
        let cost = |table: usize| (sums >> (BITS * table) & ((1 << BITS) - 1)) << 3 | table as u64;
        let best = (1..tables.len()).fold(cost(0), |best, table| best.min(cost(table))) as usize & 7;
        *selector = best as u8;
        let counts = &mut counts[best % MAX_TABLES];
        for &symbol in group {
            counts[usize::from(symbol) % SLOTS] += 1;
        }
    };
    let (groups, rest) = symbols.as_chunks::<GROUP>();
    for (group, selector) in groups.iter().zip(selectors.iter_mut()).step_by(part) {
        choose(group, selector);
    }
    if let (false, Some(selector)) = (rest.is_empty(), selectors.last_mut()) {
        choose(rest, selector);
    }
    counts
}

/// Writes the selectors as move-to-front ranks in unary.
fn put_selectors(selectors: &[u8], bits: &mut BitString) {
    let mut recent: [u8; MAX_TABLES] = std::array::from_fn(|table| table as u8);
    for &selector in selectors {
        let rank = recent.iter().position(|&table| table == selector).unwrap_or_default();
        recent[..=rank].rotate_right(1);
        bits.push((1 << (rank + 1)) - 2, rank as u32 + 1);
    }
}

/// Writes the code lengths of a table: the first one in five bits, and each change to the next in steps of one.
fn put_lengths(lengths: &[u8], bits: &mut BitString) {
    let Some(&first) = lengths.first() else { return };
    bits.push(first.into(), 5);
    let mut current = first;
    for &length in lengths {
        while current != length {
            let up = current < length;
            bits.push(if up { 0b10 } else { 0b11 }, 2);
            current = if up { current + 1 } else { current - 1 };
        }
        bits.push(0, 1);
    }
}

/// Returns the canonical codeword of each symbol, with its length in the low five bits. Codewords ascend by length, and
/// then by symbol.
fn codewords(lengths: &Lengths, alphabet: usize) -> [u32; SLOTS] {
    let mut codewords = [0; SLOTS];
    let mut next = 0;
    for length in 1..=MAX_LENGTH {
        for (codeword, _) in codewords.iter_mut().zip(&lengths[..alphabet]).filter(|(_, l)| **l == length) {
            *codeword = next << 5 | u32::from(length);
            next += 1;
        }
        next <<= 1;
    }
    codewords
}

/// Codewords that are pushed before the writer spills.
const AT_ONCE: usize = 3;
const _: () = assert!(AT_ONCE as u32 * LIMIT as u32 <= BitWriter::ROOM);

/// Writes the codewords of all symbols.
#[inline(always)]
fn put_symbols(symbols: &[u16], selectors: &[u8], tables: &[Lengths], alphabet: usize, bits: &mut BitString) {
    let mut all = [[0; SLOTS]; MAX_TABLES];
    for (slot, table) in all.iter_mut().zip(tables) {
        *slot = codewords(table, alphabet);
    }
    let mut writer = bits.writer(symbols.len() * 2);
    for (group, &selector) in symbols.chunks(GROUP).zip(selectors) {
        let codewords = &all[usize::from(selector) % MAX_TABLES];
        for some in group.chunks(AT_ONCE) {
            for &symbol in some {
                let codeword = codewords[usize::from(symbol) % SLOTS];
                writer.push(u64::from(codeword >> 5), codeword & 31);
            }
            writer.spill();
        }
    }
    writer.finish();
}
