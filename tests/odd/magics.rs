//! Magics where none are meant: a reader that looks for them must not believe them.
//!
//! All of them are tried at each bit of a byte, since the blocks they are in are.

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

/// A block with these bits among its symbols.
fn block_around(planted: &Bits) -> Block {
    planted::block([filler(200, 1), spell(planted).unwrap(), filler(300, 2)].concat()).sealed()
}

/// A block that holds what the reader of these tests finds in it, and has a magic somewhere.
fn good(block: &Block, planted: u64) -> Odd {
    let bits = block.bits();
    assert!(bits.find(planted).iter().any(|&at| at > 0), "no magic planted");
    Odd::good(9, block, &block.content())
}

/// Either magic in a block's data.
fn among_symbols() -> Odd {
    Odd::all([BLOCK_MAGIC, END_MAGIC].map(|planted| good(&block_around(&magic(planted)), planted)))
}

/// In the 256 bits that say which values there are. The values are those that the magic makes, and some.
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

/// A selector is as many ones as its number says, and a zero. Magics have no four ones in a row, so four
/// codes are enough to spell them.
fn among_selectors() -> Odd {
    Odd::all([BLOCK_MAGIC, END_MAGIC].map(|planted| {
        let bits: Vec<bool> = magic(planted).iter().collect();
        // A last one gets its zero.
        let spelled = bits.split_inclusive(|&bit| !bit).map(|ones| ones.iter().filter(|&&bit| bit).count() as u8);
        let mut block = Block::of(b"selected").coded_by(vec![CodeTable::flat(8); 4]);
        block.selectors = spelled.collect();
        good(&block.sealed(), planted)
    }))
}

/// Steps up are 10, steps down 11, and 0 ends a symbol's. From 10 on, neither magic leads out of bounds. No
/// selector is for that code.
fn among_code_lengths() -> Odd {
    Odd::all([BLOCK_MAGIC, END_MAGIC].map(|planted| {
        let content = noise(100, 60, 4);
        let mut block = Block::of(&content);
        let count = block.map.values().len() + 2;
        let mut stored = Bits::default();
        stored.push(10, 5);
        stored.append(&magic(planted));
        // What is a step already, and then no step for all other symbols.
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

/// A thousand of them side by side, so that most guesses are shorter than any block; and with room for one
/// between them.
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

/// The last 45 bits of a block and the first three of what follows are a magic: a block's ends with 001, and
/// both magics begin with 00, one of them with 001. Who goes on looking behind the first misses the true one.
fn overlapping() -> Odd {
    let mut last = Bits::default();
    last.push(BLOCK_MAGIC >> 3, MAGIC_BITS - 3);
    // The block's end is 1101011, as those 45 bits end, and which they are nowhere else.
    let lengths = [&[7; 107][..], &[8; 40], &[7]].concat();
    let end = symbols::end(146);
    // Where the codewords before begin has to be found out: only there the last one is the end.
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
    let symbols = [vec![7; 100], spelled.expect("some way to spell it")].concat();
    let map = SymbolMap::of(&(40..186).collect::<Vec<_>>());
    let block = Block::of_symbols(map, symbols).coded_by(vec![CodeTable::new(&lengths); 2]).sealed();
    let odd = Odd::good(9, &block, &block.content());
    // The magic of the block behind it is where it should be, and another one three bits before.
    let magics = Bits::of(&odd.variants[0].0).find(BLOCK_MAGIC);
    assert!(magics.windows(2).any(|two| two[1] - two[0] == MAGIC_BITS - 3), "{magics:?}");
    odd
}

/// The header of a stream of level 1 and a block's magic, at the beginning of a byte, in a block of level 9:
/// the blocks after it are longer than level 1 allows.
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

/// The end of the stream, a whole one with header and checksums, and the beginning of a third: the reader
/// that believes the first two magics delivers something else, and all checksums are right.
fn complete_stream() -> Odd {
    let mut planted = Stream::of(9, []).bits().slice(32..32 + 80);
    planted.append(&Stream::of(9, [&Block::of(b"a decoy")]).bits());
    planted.append(&Bits::of(b"BZh9"));
    planted.append(&magic(BLOCK_MAGIC));
    good(&block_around(&planted), END_MAGIC)
}

/// A good block with a magic before it and behind it, so that the guess of it is good to the last bit. It has
/// to be thrown away all the same. Also twenty of them, more than are decoded ahead at a time.
fn complete_block() -> Odd {
    Odd::all([1, 20].map(|count| {
        let mut planted = Bits::default();
        (0..count).for_each(|_| planted.append(&Block::of(b"a decoy").bits()));
        planted.append(&magic(BLOCK_MAGIC));
        good(&block_around(&planted), BLOCK_MAGIC)
    }))
}

/// The same where the block around it is damaged: the one within is good, but it is not part of the file.
fn complete_block_in_a_damaged_one() -> Odd {
    let mut planted = Block::of(b"a decoy").bits();
    planted.append(&magic(BLOCK_MAGIC));
    let around = block_around(&planted);
    Odd::bad(9, &Block { checksum: around.checksum ^ 1, ..around })
}

/// The file ends in the middle of a block, which would be a plain case of a cut file, but for a magic in what
/// is there of it. It is damaged, all we can say is where that block begins.
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
