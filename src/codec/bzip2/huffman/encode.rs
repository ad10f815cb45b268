//! Chooses tables for a block's symbols, and writes both.

use super::lengths::{LIMIT, lengths};
use super::{GROUP, Lengths, MAX_LENGTH, MAX_SYMBOLS, MAX_TABLES};
use crate::codec::bzip2::bits::{BitString, BitWriter};
use crate::codec::bzip2::cpu::{self, Cpu, Kernel};

/// Rounds of choosing tables for groups, and making tables of the groups that chose them.
const ROUNDS: usize = 3;

/// In blocks of more groups than that, all rounds but the last look at one group in so many.
const LONG: usize = 4000;
const PART: usize = 8;

/// A power of two above the number of symbols: then a symbol needs no check to be an index.
const SLOTS: usize = 512;
type Counts = [u32; SLOTS];

/// Appends tables, selectors and coded symbols to `bits`. `frequencies` says for each symbol of the alphabet how often
/// it is in `symbols`; the last one is the end symbol, which is there once, at the end.
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
            // Tables can be found on a part of a long block; only what is written last is chosen on all of it.
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

/// As many tables as pay for themselves, by bzip2's experience.
fn tables_for(symbols: usize) -> usize {
    match symbols {
        0..200 => 2,
        200..600 => 3,
        600..1200 => 4,
        1200..2400 => 5,
        _ => MAX_TABLES,
    }
}

/// To begin with, each table is for a part of the alphabet, all of which occur about equally often together.
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
        // Alternate ones give back the symbol with which they went over their share.
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

/// Chooses the table that codes each group in the fewest bits, and counts what each table has to code; looks only at
/// one group in so many.
#[inline(always)]
fn select(symbols: &[u16], tables: &[Lengths], part: usize, selectors: &mut [u8]) -> [Counts; MAX_TABLES] {
    // The lengths that a symbol has in all tables, ten bits each: a group's sum is at most 50 · 20.
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
        // The cost above the table: so the least is that of the first of the cheapest tables.
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

/// Selectors are moved to front, and the ranks written in ones.
fn put_selectors(selectors: &[u8], bits: &mut BitString) {
    let mut recent: [u8; MAX_TABLES] = std::array::from_fn(|table| table as u8);
    for &selector in selectors {
        let rank = recent.iter().position(|&table| table == selector).unwrap_or_default();
        recent[..=rank].rotate_right(1);
        bits.push((1 << (rank + 1)) - 2, rank as u32 + 1);
    }
}

/// The first length in five bits, then from each to the next in steps of one.
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

/// Codes in ascending order of length, and then of symbol.
fn codes(lengths: &Lengths, alphabet: usize) -> [u32; SLOTS] {
    let mut codes = [0; SLOTS];
    let mut next = 0;
    for length in 1..=MAX_LENGTH {
        for (code, _) in codes.iter_mut().zip(&lengths[..alphabet]).filter(|(_, l)| **l == length) {
            *code = next << 5 | u32::from(length);
            next += 1;
        }
        next <<= 1;
    }
    codes
}

/// Codes that are written together.
const AT_ONCE: usize = 3;
const _: () = assert!(AT_ONCE as u32 * LIMIT as u32 <= BitWriter::ROOM);

#[inline(always)]
fn put_symbols(symbols: &[u16], selectors: &[u8], tables: &[Lengths], alphabet: usize, bits: &mut BitString) {
    let mut all = [[0; SLOTS]; MAX_TABLES];
    for (codes_of, table) in all.iter_mut().zip(tables) {
        *codes_of = codes(table, alphabet);
    }
    let mut writer = bits.writer(symbols.len() * 2);
    for (group, &selector) in symbols.chunks(GROUP).zip(selectors) {
        let codes = &all[usize::from(selector) % MAX_TABLES];
        for some in group.chunks(AT_ONCE) {
            for &symbol in some {
                let code = codes[usize::from(symbol) % SLOTS];
                writer.push(u64::from(code >> 5), code & 31);
            }
            writer.spill();
        }
    }
    writer.finish();
}
