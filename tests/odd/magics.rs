//! Magics inside the data of blocks, which a block finder must not take for boundaries.
//!
//! Each of them is tested at all bit offsets within a byte, because their blocks are.

use voltar::codec::Fault;

use crate::common::bz2::bits::Bits;
use crate::common::bz2::block::Block;
use crate::common::bz2::code::{self, CodeTable};
use crate::common::bz2::inputs::noise;
use crate::common::bz2::map::SymbolMap;
use crate::common::bz2::ours::End;
use crate::common::bz2::planted::{self, filler, magic, shift, spell};
use crate::common::bz2::stream::Stream;
use crate::common::bz2::symbols::{self, RUN_A};
use crate::common::bz2::{BLOCK_MAGIC, END_MAGIC, MAGIC_BITS};
use crate::file::{Files, Odd};

pub const FILES: Files = &[
    ("a_magic_among_the_symbols", among_symbols),
    ("a_magic_in_the_map", in_map),
    ("a_magic_among_the_selectors", among_selectors),
    ("a_magic_among_the_code_lengths", among_code_lengths),
    ("nothing_but_magics", nothing_but_magics),
    ("a_magic_that_overlaps_the_next_one", overlapping),
    ("a_header_of_another_level_among_the_symbols", header_of_another_level),
    ("a_complete_stream_among_the_symbols", complete_stream),
    ("a_complete_block_among_the_symbols", complete_block),
    ("a_complete_block_in_a_damaged_one", complete_block_in_a_damaged_one),
    ("a_file_cut_after_a_magic_among_the_symbols", cut_after_a_magic),
];

/// Returns a block with these bits among its symbols.
fn block_around(planted: &Bits) -> Block {
    planted::block([filler(200, 1), spell(planted).unwrap(), filler(300, 2)].concat()).sealed()
}

/// Returns the files of a block that contains the magic `planted`, with the content that the reader of these
/// tests decodes.
fn good(block: &Block, planted: u64) -> Odd {
    let bits = block.bits();
    assert!(bits.find(planted).iter().any(|&at| at > 0), "no magic planted");
    Odd::good(9, block, &block.content())
}

/// Plants either magic in the symbols of a block.
fn among_symbols() -> Odd {
    Odd::all([BLOCK_MAGIC, END_MAGIC].map(|planted| good(&block_around(&magic(planted)), planted)))
}

/// Plants either magic in the 256 bits of the symbol map, which then has the values that the magic encodes, and
/// some more.
fn in_map() -> Odd {
    Odd::all([BLOCK_MAGIC, END_MAGIC].into_iter().flat_map(|planted| {
        [0, 5, 100, 208].map(|at| {
            let mut rows = Bits::of(&[0x10; 32]);
            rows.set(at..at + MAGIC_BITS, planted);
            let map = SymbolMap { groups: 0xffff, rows: (0..16).map(|n| rows.value(n * 16, 16) as u16).collect() };
            let end = symbols::end(map.values().len());
            good(&Block::of_symbols(map, vec![9, 2, 5, RUN_A, end]).sealed(), planted)
        })
    }))
}

/// Plants either magic in the selectors, which are unary: as many ones as the number says, and a zero. Neither
/// magic has four ones in a row, so four codes are enough.
fn among_selectors() -> Odd {
    Odd::all([BLOCK_MAGIC, END_MAGIC].map(|planted| {
        let bits: Vec<bool> = magic(planted).iter().collect();
        // If the last bit is a one, its selector adds the zero.
        let spelled = bits.split_inclusive(|&bit| !bit).map(|ones| ones.iter().filter(|&&bit| bit).count() as u8);
        let mut block = Block::of(b"selected").coded_by(vec![CodeTable::flat(8); 4]);
        block.selectors = spelled.collect();
        good(&block.sealed(), planted)
    }))
}

/// Plants either magic in the code lengths: 10 is a step up, 11 a step down, and 0 ends a symbol. From 10 on,
/// neither magic leaves the range of code lengths. No selector uses that code.
fn among_code_lengths() -> Odd {
    Odd::all([BLOCK_MAGIC, END_MAGIC].map(|planted| {
        let content = noise(100, 60, 4);
        let mut block = Block::of(&content);
        let count = block.map.values().len() + 2;
        let mut stored = Bits::default();
        stored.push(10, 5);
        stored.append(&magic(planted));
        // Counts the symbols that the magic ends, and whether its last step lacks a bit. The remaining symbols
        // have no steps.
        let (mut symbols, mut open, mut steps) = (0, false, magic(planted).iter().collect::<Vec<_>>().into_iter());
        while let Some(bit) = steps.next() {
            if bit {
                open = steps.next().is_none();
            } else {
                symbols += 1;
            }
        }
        stored.push(0, usize::from(open));
        stored.push(0, count - symbols);
        block.tables[1].stored = stored;
        good(&block.sealed(), planted)
    }))
}

/// Plants magics side by side, so that most candidates are shorter than any block, and magics with room for a
/// block between them.
fn nothing_but_magics() -> Odd {
    Odd::all([0, 100].map(|between| {
        let one = |n: usize| {
            let magic = magic(if n.is_multiple_of(3) { END_MAGIC } else { BLOCK_MAGIC });
            [spell(&magic).unwrap(), filler(between, n)].concat()
        };
        let count = if between == 0 { 1000 } else { 300 };
        good(&planted::block((0..count).flat_map(one).collect()).sealed(), BLOCK_MAGIC)
    }))
}

/// Ends a block with 45 bits that form a block magic together with the first three bits of the next one, because
/// the block magic begins and ends with 001. A finder that continues after the first match misses the true magic.
fn overlapping() -> Odd {
    let mut last = Bits::default();
    last.push(BLOCK_MAGIC >> 3, MAGIC_BITS - 3);
    // The end symbol's codeword is 1101011, the last bits of those 45. It occurs nowhere else in them.
    let lengths = [&[7; 107][..], &[8; 40], &[7]].concat();
    let end = symbols::end(146);
    // Tries all alignments of the codewords before: only in the right one the last codeword is the end symbol.
    let beginnings = (0..8_usize).flat_map(|count| (0..1_u64 << count).map(move |before| (before, count)));
    let spelled = beginnings.into_iter().find_map(|(before, count)| {
        let mut bits = Bits::default();
        bits.push(before, count);
        bits.append(&last);
        let symbols = code::spell(&lengths, &bits);
        let length: usize = symbols.iter().map(|&symbol| usize::from(lengths[usize::from(symbol)])).sum();
        (length == bits.len() && symbols.iter().position(|&symbol| symbol == end) == Some(symbols.len() - 1))
            .then_some(symbols)
    });
    let symbols = [vec![7; 100], spelled.expect("an alignment that ends the block")].concat();
    let map = SymbolMap::of(&(40..186).collect::<Vec<_>>());
    let block = Block::of_symbols(map, symbols).coded_by(vec![CodeTable::new(&lengths); 2]).sealed();
    let odd = Odd::good(9, &block, &block.content());
    // The magic of the next block is at its position; the planted one starts 45 bits before it.
    let magics = Bits::of(&odd.variants[0].0).find(BLOCK_MAGIC);
    assert!(magics.windows(2).any(|two| two[1] - two[0] == MAGIC_BITS - 3), "{magics:?}");
    odd
}

/// Plants the header of a level 1 stream and a block magic, at a byte boundary, in a block of level 9. The blocks
/// after it are longer than level 1 allows.
fn header_of_another_level() -> Odd {
    let mut header = Bits::of(b"BZh1");
    header.append(&magic(BLOCK_MAGIC));
    let long = noise(150_000, 256, 6);
    Odd::all((0..8).map(|offset| {
        let around = planted::block([filler(200, 1), shift(offset), spell(&header).unwrap(), filler(9, 2)].concat());
        let around = around.sealed();
        let file = Stream::of(9, [&around, &Block::of(&long), &around]).bytes();
        Odd::complete(file, &[around.content(), long.clone(), around.content()].concat())
    }))
}

/// Plants the end of the stream, a complete stream with header and checksums, and the beginning of a third. A
/// reader that accepts the planted magics delivers another content, and all checksums match.
fn complete_stream() -> Odd {
    let mut planted = Stream::of(9, []).bits().slice(32..32 + 80);
    planted.append(&Stream::of(9, [&Block::of(b"a decoy")]).bits());
    planted.append(&Bits::of(b"BZh9"));
    planted.append(&magic(BLOCK_MAGIC));
    good(&block_around(&planted), END_MAGIC)
}

/// Plants a complete block between two magics, so that its candidate is valid to the last bit and must still be
/// discarded. Also twenty of them, more than are decoded ahead at a time.
fn complete_block() -> Odd {
    Odd::all([1, 20].map(|count| {
        let mut planted = Bits::default();
        (0..count).for_each(|_| planted.append(&Block::of(b"a decoy").bits()));
        planted.append(&magic(BLOCK_MAGIC));
        good(&block_around(&planted), BLOCK_MAGIC)
    }))
}

/// Plants a valid block in a damaged one: it is not part of the file.
fn complete_block_in_a_damaged_one() -> Odd {
    let mut planted = Block::of(b"a decoy").bits();
    planted.append(&magic(BLOCK_MAGIC));
    let around = block_around(&planted);
    Odd::bad(9, &Block { checksum: around.checksum ^ 1, ..around })
}

/// Cuts the file within a block, before and after a planted magic. After it, the decoder cannot distinguish a cut
/// block from a damaged one, so it reports damage at the beginning of the block.
fn cut_after_a_magic() -> Odd {
    let block = block_around(&magic(BLOCK_MAGIC));
    let stream = Stream::of(9, [&Block::of(b"whole"), &block]);
    let (start, planted) = (stream.magic_offset(1), stream.bits().find(BLOCK_MAGIC)[2]);
    let file = stream.bytes();
    let cut = |length: usize, end| Odd::ends(file[..length].to_vec(), b"whole", end);
    Odd::all([
        cut(planted / 8, End::damaged(planted / 8, Fault::EndsInBlock)),
        cut(planted / 8 + 60, End::damaged(start / 8, Fault::Block)),
    ])
}
