//! Odd code tables and selectors.

use crate::common::bz2::GROUP;
use crate::common::bz2::block::Block;
use crate::common::bz2::code::CodeTable;
use crate::common::bz2::inputs::noise;
use crate::file::{Files, Odd};

pub const FILES: Files = &[
    ("a_code_with_unassigned_codewords", unassigned_codewords),
    ("an_unassigned_codeword_in_the_data", unassigned_codeword_in_the_data),
    ("a_code_with_more_code_lengths_than_codewords", more_code_lengths_than_codewords),
    ("a_code_in_which_the_end_has_no_codeword", no_codeword_for_the_end),
    ("codewords_of_every_length_from_1_to_20", every_length),
    ("all_258_symbols_at_one_code_length", all_symbols_at_one_length),
    ("code_lengths_by_detours", detours),
    ("code_lengths_by_detours_of_nearly_3_megabytes", long_detours),
    ("code_lengths_by_detours_of_more_than_3_megabytes", too_long_detours),
    ("code_lengths_out_of_bounds", code_lengths_out_of_bounds),
    ("a_senseless_code_that_nothing_uses", senseless_unused_code),
    ("six_codes_in_turn", six_codes),
    ("no_codes_one_or_seven", too_few_or_many_codes),
    ("the_end_at_the_last_position_of_a_group_and_at_the_first", end_at_a_group_border),
    ("selectors_that_nothing_needs", unused_selectors),
    ("a_selector_for_a_code_that_is_not_there", selector_out_of_range),
    ("no_selectors_or_too_few", too_few_selectors),
];

/// Five byte values, so seven symbols.
const CONTENT: &[u8] = b"abcdeabcdedcba";

fn block(table: CodeTable) -> Block {
    Block::of(CONTENT).coded_by(vec![table.clone(), table])
}

/// Builds codes with unassigned codewords: seven symbols at code lengths that have room for more. bzip2 never
/// writes such codes, some old programs do, and stricter readers refuse them. The block is valid, because no
/// unassigned codeword occurs.
fn unassigned_codewords() -> Odd {
    let lengths: [&[u8]; 4] = [&[3; 7], &[4; 7], &[20; 7], &[2, 3, 7, 7, 7, 20, 19]];
    Odd::all(lengths.map(|lengths| Odd::good(9, &block(CodeTable::new(lengths)), CONTENT)))
}

/// Builds a block with an unassigned codeword in its data: the table assigns 0000 to 0110, and the data has a
/// codeword that begins with 111. A decoder can stop after twenty bits, the longest code length.
fn unassigned_codeword_in_the_data() -> Odd {
    let as_stored = CodeTable::new(&[4; 7]);
    let as_written = CodeTable { lengths: vec![3, 3, 3, 3, 3, 4, 3], ..as_stored };
    Odd::bad(9, &block(as_written))
}

/// Builds codes whose code lengths are oversubscribed. Codewords are assigned by code length, then by symbol,
/// until none is left. bzip2 does not check this, so a block that uses only assigned codewords is valid.
fn more_code_lengths_than_codewords() -> Odd {
    // One value: the run digits 1 and 2, and the end. Two symbols have codewords of one bit, which leaves none
    // for the third.
    let ones = Block::of(b"a").coded_by(vec![CodeTable::new(&[1, 2, 1]); 2]);
    let late = Block::of(&[b'a'; 2]).coded_by(vec![CodeTable::new(&[20, 1, 1]); 2]);
    // A codeword of seven bits leaves 254 of eight bits for 257 symbols.
    let all: Vec<u8> = (0..=252).collect();
    let mut first_256 = Block::of(&all).coded_by(vec![CodeTable::new(&[8; 256]); 2]);
    // The map has 256 values, so the end is symbol 257. Its codeword is one bit shorter than the others, so it is
    // assigned.
    first_256.map = crate::common::bz2::map::SymbolMap::of(&(0..=255).collect::<Vec<_>>());
    *first_256.symbols.last_mut().unwrap() = 257;
    let mut lengths = vec![8; 258];
    lengths[257] = 7;
    let crowded = first_256.coded_by(vec![CodeTable::new(&lengths); 2]);
    Odd::all([Odd::good(9, &ones, b"a"), Odd::good(9, &late, b"aa"), Odd::good(9, &crowded, &all)])
}

/// Builds blocks whose end symbol has no codeword, so that they end only when the selectors are used up. Nine
/// symbols of three bits: all eight codewords are assigned, so any bits decode to symbols.
fn no_codeword_for_the_end() -> Odd {
    let block = Block::of(b"abcdefgfedcba").coded_by(vec![CodeTable::new(&[3; 9]); 2]);
    let ones = Block::of(b"a").coded_by(vec![CodeTable::new(&[1; 3]); 2]);
    Odd::all([Odd::bad(9, &block), Odd::bad(9, &ones)])
}

/// Builds a code with codewords of 1, 2, 3 … 19, 20 and 20 bits, each of which occurs. The end symbol has the
/// shortest or the longest one. bzip2 writes up to 17 bits, and up to 20 before 1.0.3.
fn every_length() -> Odd {
    // 19 values, so 21 symbols: all move-to-front ranks and both run digits occur.
    let column: Vec<u8> = (0..19).chain((0..19).rev()).chain([7, 7, 7]).collect();
    let rising: Vec<u8> = (1..=20).chain([20]).collect();
    let falling: Vec<u8> = rising.iter().rev().copied().collect();
    let good = |lengths: &[u8]| {
        let block = Block::of_column(&column, 0).coded_by(vec![CodeTable::new(lengths); 2]).sealed();
        assert!((0..21).all(|symbol| block.symbols.contains(&symbol)), "{:?}", block.symbols);
        Odd::good(9, &block, &block.content())
    };
    Odd::all([good(&rising), good(&falling)])
}

/// Builds blocks of all 258 symbols, with codewords of nine bits or of twenty.
fn all_symbols_at_one_length() -> Odd {
    let content: Vec<u8> = (0..=255).chain((0..=255).rev()).collect();
    let block = |length| Block::of(&content).coded_by(vec![CodeTable::new(&[length; 258]); 2]);
    Odd::all([Odd::good(9, &block(9), &content), Odd::good(9, &block(20), &content)])
}

/// Builds valid code lengths that are stored with needless steps, up to 20 and down to 1.
fn detours() -> Odd {
    let all: Vec<u8> = [20, 1].repeat(3);
    let stops = |length: u8| [&all[..], &[length]].concat();
    let every_time = CodeTable::through(&[2, 2, 3, 4, 4, 4, 4].map(stops));
    let last_only: Vec<_> = (0..7).map(|n| if n == 6 { stops(3) } else { vec![3] }).collect();
    Odd::all([every_time, CodeTable::through(&last_only)].map(|table| Odd::good(9, &block(table), CONTENT)))
}

fn block_with_detours(bytes: usize) -> Block {
    // Up and down again is 38 steps of two bits.
    let way: Vec<u8> = [20, 1].repeat(bytes * 8 / 2 / 38);
    let mut stops = vec![vec![3]; 7];
    stops[3] = [&way[..], &[3]].concat();
    Block::of(CONTENT).coded_by(vec![CodeTable::through(&stops), CodeTable::flat(7)])
}

/// Stores code lengths with so many steps that the block is larger than any useful one, but below our limit of 3
/// MiB.
fn long_detours() -> Odd {
    Odd::good(9, &block_with_detours(2_900_000), CONTENT)
}

/// Exceeds our limit of 3 MiB for the bits of a block, which bounds the memory of the decoder. The format has no
/// such limit, so bzip2 accepts the block.
fn too_long_detours() -> Odd {
    Odd::bad(9, &block_with_detours(3_300_000)).refused_by_us_alone()
}

/// Builds code lengths of 0 or above 20. They are refused even if the next step leads back, and in a code that no
/// selector uses.
fn code_lengths_out_of_bounds() -> Odd {
    let first = |length: u8| vec![vec![length, 3], vec![3], vec![3], vec![3], vec![3], vec![3], vec![3]];
    let last = |length: u8| vec![vec![3], vec![3], vec![3], vec![3], vec![3], vec![3], vec![length, 3]];
    let ways = [first(0), first(21), first(31), last(0), last(21)];
    Odd::all(ways.iter().flat_map(|way| {
        let (bad, good) = (CodeTable::through(way), CodeTable::flat(7));
        [vec![bad.clone(), good.clone()], vec![good, bad]]
            .map(|tables| Odd::bad(9, &Block::of(CONTENT).coded_by(tables)))
    }))
}

/// Builds unused codes that are oversubscribed or incomplete. A decoder need not reject a code that no selector
/// uses.
fn senseless_unused_code() -> Odd {
    let senseless: [&[u8]; 3] = [&[1; 7], &[20; 7], &[1, 20, 1, 20, 1, 20, 1]];
    let mut tables = vec![CodeTable::flat(7)];
    tables.extend(senseless.map(CodeTable::new));
    Odd::good(9, &Block::of(CONTENT).coded_by(tables), CONTENT)
}

/// Builds a block with six different codes, in an order in which every move-to-front selector number occurs.
fn six_codes() -> Odd {
    let content = noise(40 * GROUP, 8, 1);
    let tables: Vec<_> = (0..6_usize)
        .map(|table| {
            // One bit more for some symbols than for others.
            let lengths: Vec<u8> = (0..10).map(|symbol| if (symbol + table) % 5 < 3 { 4 } else { 3 }).collect();
            CodeTable::new(&lengths)
        })
        .collect();
    let block = Block::of(&content).coded_by(tables);
    let groups = noise(block.selectors.len(), 6, 4);
    let block = block.with_tables_for_groups(&groups);
    assert!((0..6).all(|number| block.selectors.contains(&number)), "{:?}", block.selectors);
    Odd::good(9, &block, &content)
}

/// Builds blocks with too few or too many codes. The number of codes is 2 to 6 and stored in three bits, so 0, 1
/// and 7 can be stored too.
fn too_few_or_many_codes() -> Odd {
    Odd::all([0, 1, 7].map(|count| Odd::bad(9, &Block::of(CONTENT).coded_by(vec![CodeTable::flat(7); count]))))
}

/// Places the end symbol at the border of two groups of fifty symbols. The 50th needs one selector, the 51st two,
/// and so on; one selector less is an error.
fn end_at_a_group_border() -> Odd {
    let content = |symbols: usize| (0..symbols).map(|n| b"abc"[n % 3]).collect::<Vec<_>>();
    let of = |symbols: usize, selectors: usize| {
        // As a column: no value follows itself, so each byte is one symbol.
        let column = content(symbols - 1);
        let mut block = Block { origin: 1, ..Block::of_column(&column, 0) }.sealed();
        assert_eq!(block.symbols.len(), symbols);
        let decoded = block.content();
        block.selectors = vec![0; selectors];
        if selectors * GROUP < symbols { Odd::bad(9, &block) } else { Odd::good(9, &block, &decoded) }
    };
    Odd::all(
        [(50, 1), (51, 2), (51, 1), (100, 2), (101, 3), (101, 2)].map(|(symbols, selectors)| of(symbols, selectors)),
    )
}

/// Adds selectors that no group uses; they are read and ignored. A block needs at most 18,001, bzip2 stores at
/// most 18,002, and the 15-bit count allows 32,767. lbzip2 once rounded the count up.
fn unused_selectors() -> Odd {
    Odd::all([2, 3, 18_000, 18_001, 18_002, 18_003, 32_767].map(|count| {
        let mut block = Block::of(CONTENT);
        block.selectors = vec![0; count];
        // Not all selectors are zero.
        block.selectors[count - 1] = 1;
        Odd::good(9, &block, CONTENT)
    }))
}

/// Builds selectors for a code that does not exist: number 2 of two codes, or 6 of six. They are refused even
/// where no group uses them.
fn selector_out_of_range() -> Odd {
    let bad = |count: usize, at: usize, codes: usize| {
        let mut block = Block::of(CONTENT).coded_by(vec![CodeTable::flat(7); codes]);
        block.selectors = vec![0; count];
        block.selectors[at] = codes as u8;
        Odd::bad(9, &block)
    };
    Odd::all([bad(1, 0, 2), bad(1, 0, 6), bad(2, 1, 2), bad(2, 1, 6), bad(32_767, 32_766, 2), bad(32_767, 18_002, 6)])
}

/// Builds blocks with no selectors, or with fewer than the symbols need.
fn too_few_selectors() -> Odd {
    let block = Block::of(&noise(2 * GROUP, 200, 2));
    assert_eq!(block.selectors.len(), 3);
    Odd::all([0, 1, 2].map(|count| {
        let selectors = block.selectors[..count].to_vec();
        Odd::bad(9, &Block { selectors, ..block.clone() })
    }))
}
