//! Odd blocks: origin pointers, symbol maps, ends, runs, sizes, checksums.

use voltar::codec::Fault;

use crate::common::bz2::block::Block;
use crate::common::bz2::map::SymbolMap;
use crate::common::bz2::ours::End;
use crate::common::bz2::stream::Stream;
use crate::common::bz2::symbols::{RUN_A, RUN_B};
use crate::common::bz2::{checksum, inputs, randomise, runs, sort, symbols};
use crate::file::{Files, Odd};

pub const FILES: Files = &[
    ("every_origin_pointer", every_origin),
    ("an_origin_pointer_to_nothing", origin_out_of_range),
    ("a_column_that_is_no_transform", column_of_several_cycles),
    ("a_block_that_repeats_itself", periodic),
    ("values_in_the_map_that_never_occur", unused_values),
    ("an_empty_map", empty_map),
    ("one_value_alone", one_value),
    ("a_block_without_its_end", no_end),
    ("a_block_that_ends_before_its_symbols", end_in_the_middle),
    ("an_empty_block", empty_block),
    ("counts_of_runs_up_to_255", counts),
    ("four_equal_bytes_and_no_count", missing_count),
    ("a_run_across_the_border_of_blocks", run_across_blocks),
    ("a_block_as_long_as_its_level_allows", longest_block),
    ("a_block_longer_than_its_level_allows", too_long_block),
    ("the_most_a_block_can_hold", most_content),
    ("runs_longer_than_any_block", overflowing_runs),
    ("a_wrong_checksum", wrong_checksum),
    ("randomised_blocks", randomised),
];

/// Builds a block for every origin pointer. The pointer selects one of the sorted rotations, so each value gives
/// a different content.
fn every_origin() -> Odd {
    let content = b"origin";
    let mut rotations: Vec<Vec<u8>> = (0..content.len()).map(|n| [&content[n..], &content[..n]].concat()).collect();
    rotations.sort();
    Odd::all(rotations.iter().enumerate().map(|(n, rotation)| {
        let block = Block { checksum: checksum::of(rotation), origin: n as u32, ..Block::of(content) };
        Odd::good(9, &block, rotation)
    }))
}

/// Builds blocks whose origin pointer is past the end: by one, near the size limits, and by the largest 24-bit
/// number.
fn origin_out_of_range() -> Odd {
    let pointers =
        [(9, 6), (9, 7), (1, 99_999), (1, 100_000), (1, 100_010), (9, 899_999), (9, 900_011), (9, 0xff_ffff)];
    Odd::all(pointers.map(|(level, origin)| Odd::bad(level, &Block { origin, ..Block::of(b"origin") })))
}

/// Builds columns that no transform produces. The inverse transform then follows a cycle shorter than the column
/// and repeats it; the content is still as long as the column.
fn column_of_several_cycles() -> Odd {
    // The column is sorted, so each byte leads to itself. Three equal bytes need no count.
    let alone = |origin: u32, content: &[u8]| {
        let block = Block { checksum: checksum::of(content), ..Block::of_column(b"abc", origin) };
        Odd::good(9, &block, content)
    };
    // The second and third bytes are swapped: two cycles of length one, and one of length two.
    let swapped = |origin: u32, content: &[u8]| {
        let block = Block { checksum: checksum::of(content), ..Block::of_column(b"acb", origin) };
        Odd::good(9, &block, content)
    };
    Odd::all([
        alone(0, b"aaa"),
        alone(1, b"bbb"),
        alone(2, b"ccc"),
        swapped(0, b"aaa"),
        swapped(1, b"bcb"),
        swapped(2, b"cbc"),
        // A long column with short and long cycles.
        long_cycles(1),
        long_cycles(700),
    ])
}

fn long_cycles(origin: u32) -> Odd {
    let column = inputs::noise(1000, 250, 5);
    let content = runs::decode(&sort::unsort(&column, origin as usize)).unwrap();
    let block = Block { checksum: checksum::of(&content), ..Block::of_column(&column, origin) };
    Odd::good(9, &block, &content)
}

/// Builds periodic blocks. Several rotations are equal, and any of them may be the origin.
fn periodic() -> Odd {
    let content = b"again and ".repeat(30);
    let good = |origin| Odd::good(9, &Block { origin, ..Block::of(&content) }, &content);
    let first = Block::of(&content).origin;
    Odd::all([good(first), good(first + 1), good(first + 29)])
}

/// Builds maps with values, and groups of sixteen values, that do not occur in the block.
fn unused_values() -> Odd {
    let content = b"a map of more";
    let column = sort::sort(content);
    let with = |map: SymbolMap| {
        let symbols = symbols::encode(&column.0, &map.values());
        let block = Block { origin: column.1, checksum: checksum::of(content), ..Block::of_symbols(map, symbols) };
        Odd::good(9, &block, content)
    };
    let mut with_empty_groups = SymbolMap::of(content);
    // Two empty groups before that of the space, one after it, four at the end.
    with_empty_groups.groups |= 0xd00f;
    with_empty_groups.rows.splice(0..0, [0; 2]);
    with_empty_groups.rows.insert(3, 0);
    with_empty_groups.rows.extend([0; 4]);
    Odd::all([with(SymbolMap::of(&[content, &b"xyz\0\xff"[..]].concat())), with(with_empty_groups)])
}

/// Builds maps without values: no groups, or groups without a value.
fn empty_map() -> Odd {
    let bad = |map| Odd::bad(9, &Block::of_symbols(map, vec![RUN_A, symbols::end(0)]));
    Odd::all([
        bad(SymbolMap { groups: 0, rows: Vec::new() }),
        bad(SymbolMap { groups: 0xffff, rows: vec![0; 16] }),
        bad(SymbolMap { groups: 1, rows: vec![0] }),
    ])
}

/// Builds blocks of one byte value, the first or the last, which have the smallest alphabet: the two run symbols
/// and the end. The runs are shorter than a count needs, as long as a count can encode, and longer.
fn one_value() -> Odd {
    Odd::all([0, 255].into_iter().flat_map(|value| {
        [1, 2, 3, 4, 5, 255, 256, 258, 259, 1000, 70_000].map(|length| {
            let content = vec![value; length];
            // Without counts all rotations are equal; with counts they differ.
            Odd::good(9, &Block::of(&content), &content)
        })
    }))
}

/// Builds a block without its end symbol: the decoder reads on into the next block magic until the data is
/// invalid.
fn no_end() -> Odd {
    let content = inputs::noise(3 * 50 - 20, 200, 3);
    let mut block = Block::of(&content);
    block.symbols.pop();
    // Enough selectors for a decoder to read much further.
    let mut longer = block.clone();
    longer.selectors = vec![0; 18_002];
    Odd::all([Odd::bad(9, &block), Odd::bad(9, &longer)])
}

/// Builds a block with data after its end symbol, so that no magic follows the block. The data is further
/// symbols, or single bits: a few that are no symbol, or many.
fn end_in_the_middle() -> Odd {
    let content = b"an early end";
    let stray = |count: usize, bit: bool| {
        let mut bits = Block::of(content).bits();
        let end = bits.len();
        (0..count).for_each(|_| bits.push(bit.into(), 1));
        let stream = Stream::of_bits(9, vec![bits]);
        Odd::ends(stream.bytes(), content, End::damaged((32 + end) / 8, Fault::NoBlock))
    };
    let mut block = Block::of(content);
    let end = 32 + block.bits().len();
    block.symbols.extend([2, 2, 3]);
    let symbols = Odd::ends(Stream::of(9, [&block]).bytes(), content, End::damaged(end / 8, Fault::NoBlock));
    Odd::all(
        [1, 2, 3, 7, 8, 9, 1000]
            .into_iter()
            .flat_map(|count| [stray(count, false), stray(count, true)])
            .chain([symbols]),
    )
}

/// Builds a block of nothing but the end symbol: it has no bytes for the origin pointer. The checksum of no bytes
/// is 0.
fn empty_block() -> Odd {
    let block = Block::of_symbols(SymbolMap::of(b"a"), vec![symbols::end(1)]);
    assert_eq!(checksum::of(b""), block.checksum);
    Odd::bad(9, &block)
}

/// Builds runs with every kind of count. bzip2 writes counts up to 251 (runs of 255 bytes), but a count of 255 is
/// valid (259 bytes). The next byte starts a new run even if it is equal, and a count may equal the byte of its
/// run.
fn counts() -> Odd {
    let good = |bytes: &[u8], content: &[u8]| {
        let block = Block { checksum: checksum::of(content), ..Block::of_runs(bytes) };
        Odd::good(9, &block, content)
    };
    let mut files = Vec::new();
    for count in [0, 1, 3, 4, 97, 250, 251, 252, 254, 255] {
        files.push(good(&[97, 97, 97, 97, count], &vec![97; 4 + usize::from(count)]));
        let longer: Vec<u8> = [vec![98], vec![97; 4 + usize::from(count)], vec![97; 3], vec![99]].concat();
        files.push(good(&[98, 97, 97, 97, 97, count, 97, 97, 97, 99], &longer));
        let twice = vec![97; 2 * (4 + usize::from(count))];
        files.push(good(&[97, 97, 97, 97, count, 97, 97, 97, 97, count], &twice));
    }
    Odd::all(files)
}

/// Builds blocks that end with four equal bytes where the count must follow. bzip2 refuses them rather than
/// assume a count of 0 or read it from the next block. Three equal bytes, and four with a count, are valid.
fn missing_count() -> Odd {
    let of = |bytes: &[u8]| Block::of_runs(bytes);
    let good =
        |bytes: &[u8], content: &[u8]| Odd::good(9, &Block { checksum: checksum::of(content), ..of(bytes) }, content);
    // The checksum of the bytes without the missing count.
    let bad = |bytes: &[u8]| Odd::bad(9, &Block { checksum: checksum::of(bytes), ..of(bytes) });
    Odd::all([
        bad(b"aaaa"),
        bad(b"xaaaa"),
        bad(b"aaaa\0aaaa"),
        bad(b"\0\0\0\0"),
        good(b"aaa", b"aaa"),
        good(b"aaaa\0", b"aaaa"),
        good(b"aaaa\0aaa", b"aaaaaaa"),
        good(b"\0\0\0\0\0", b"\0\0\0\0"),
    ])
}

/// Splits a run between two blocks: each part is a run of its own, and the second does not begin with a count.
fn run_across_blocks() -> Odd {
    let halves = [(&b"xaaa"[..], &b"aaay"[..]), (b"xaaaa", b"aaaay"), (b"aaa", b"\x05\x05\x05"), (b"aaaa", b"aaaa")];
    Odd::all(halves.map(|(one, other)| {
        let file = Stream::of(9, [&Block::of(one), &Block::of(other)]).bytes();
        Odd::complete(file, &[one, other].concat())
    }))
}

/// Returns a block of one value that has `length` bytes after the initial run-length encoding, and its content.
/// It is groups of four bytes and a count, which is that value too.
fn block_of_length(value: u8, length: usize) -> (Block, Vec<u8>) {
    let mut symbols = symbols::run(length as u128);
    symbols.push(symbols::end(1));
    let content = runs::decode(&vec![value; length]).unwrap();
    (Block { checksum: checksum::of(&content), ..Block::of_symbols(SymbolMap::of(&[value]), symbols) }, content)
}

/// Builds blocks of the largest size of their level, 100,000 bytes per level. bzip2 stops 19 bytes before it,
/// other encoders do not.
fn longest_block() -> Odd {
    Odd::all([1, 2, 9].into_iter().flat_map(|level| {
        let limit = 100_000 * usize::from(level);
        // Not one less than a multiple of five: the last count would be missing.
        [limit - 2, limit].map(|length| {
            let (block, content) = block_of_length(0, length);
            Odd::good(level, &block, &content)
        })
    }))
}

/// Builds blocks that exceed their level's limit, by one byte or by a level. The last symbol that exceeds it is a
/// byte or a run.
fn too_long_block() -> Odd {
    let run = |level: u8, length: usize| Odd::bad(level, &block_of_length(0, length).0);
    // A run of all bytes but one, then single bytes.
    let single = |level: u8| {
        let mut symbols = symbols::run(100_000 * u128::from(level) - 1);
        symbols.extend([2, 2, symbols::end(2)]);
        Odd::bad(level, &Block::of_symbols(SymbolMap::of(b"ab"), symbols))
    };
    Odd::all([
        run(1, 100_001),
        run(1, 200_000),
        run(2, 200_001),
        run(8, 900_000),
        run(9, 900_001),
        single(1),
        single(9),
    ])
}

/// Builds the block with the largest content: 180,000 runs of 259 bytes, 46 MB from about sixty bytes. The
/// decoder must stream it, not hold it in memory.
fn most_content() -> Odd {
    let (block, content) = block_of_length(255, 900_000);
    assert_eq!(content.len(), 46_620_000);
    Odd::complete(Stream::of(9, [&block]).bytes(), &content)
}

/// Builds runs whose lengths overflow: the block's limit, the 21 digits up to which bzip2 counts, then 32-bit and
/// 64-bit integers. A length that wraps around would be five, which the checksum confirms.
fn overflowing_runs() -> Odd {
    let bad = |digits: Vec<u16>| {
        let symbols = [&digits[..], &[symbols::end(1)]].concat();
        let block = Block { checksum: checksum::of(b"aaaaa"), ..Block::of_symbols(SymbolMap::of(b"a"), symbols) };
        Odd::bad(9, &block)
    };
    let lengths = [900_001, 1 << 20, (1 << 21) - 1, 1 << 21, (1 << 24) + 6, (1 << 32) + 6, (1 << 64) + 6];
    let long = [20, 21, 22, 32, 64, 65, 1000].map(|count| vec![RUN_B; count]);
    Odd::all(lengths.into_iter().map(symbols::run).chain(long).map(bad))
}

/// Flips each bit of a block checksum, which delivers nothing of the block, and of a stream checksum, which
/// delivers all blocks. A stream checksum computed from wrong block checksums does not make the stream valid.
fn wrong_checksum() -> Odd {
    let content = b"what is checked";
    let right = Block::of(content);
    let block = |bit: u32| Block { checksum: right.checksum ^ 1 << bit, ..right.clone() };
    let stream = |bit: u32| {
        let stream = Stream { checksum: Some(right.checksum ^ 1 << bit), ..Stream::of(9, [&right]) };
        Odd::ends(stream.bytes(), content, End::damaged(stream.magic_offset(1) / 8, Fault::StreamChecksum))
    };
    // The stream checksum depends on the order of the blocks.
    let (one, two) = (Block::of(b"one"), Block::of(b"two"));
    let swapped =
        Stream { checksum: Some(checksum::of_stream([two.checksum, one.checksum])), ..Stream::of(9, [&one, &two]) };
    let swapped =
        Odd::ends(swapped.bytes(), b"onetwo", End::damaged(swapped.magic_offset(2) / 8, Fault::StreamChecksum));
    Odd::all((0..32).flat_map(|bit| [Odd::bad(9, &block(bit)), stream(bit)]).chain([swapped]))
}

/// Builds randomised blocks. bzip2 up to 0.9.0 flipped the lowest bit of some bytes (the first is byte 617) of
/// blocks that it could not sort. It did so after the initial run-length encoding, so counts may be flipped too.
/// The 512 distances repeat.
fn randomised() -> Odd {
    let good = |level: u8, content: &[u8]| {
        let block = Block::randomised(content);
        assert!(block.randomised);
        Odd::good(level, &block, content)
    };
    let mut files = vec![good(9, b"too short for any bit to be turned over")];
    for length in [616, 617, 618, 619, 1337, 1338, 5000] {
        let noise = inputs::noise(length, 256, 8);
        let mut flipped = noise.clone();
        randomise::flip(&mut flipped);
        assert_eq!(noise == flipped, length < 618, "{length}");
        files.push(good(1, &noise));
        files.push(good(1, &vec![b'a'; length * 51]));
        files.push(good(1, &vec![b'a'; length / 2]));
    }
    // The 512 distances span more than 250,000 bytes.
    files.push(good(9, &inputs::noise(400_000, 256, 9)));
    Odd::all(files)
}
