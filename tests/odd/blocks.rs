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

/// The pointer says which of the sorted rotations is the block, so each of them gives one: the first one,
/// the last one, and those between.
fn every_origin() -> Odd {
    let word = b"origin";
    let mut rotations: Vec<Vec<u8>> = (0..word.len()).map(|n| [&word[n..], &word[..n]].concat()).collect();
    rotations.sort();
    Odd::all(rotations.iter().enumerate().map(|(n, rotation)| {
        let block = Block { checksum: checksum::of(rotation), origin: n as u32, ..Block::of(word) };
        Odd::good(9, &block, rotation)
    }))
}

/// One behind the last, and further out: up to the largest number of 24 bits, and around the sizes of blocks.
fn origin_out_of_range() -> Odd {
    let pointers =
        [(9, 6), (9, 7), (1, 99_999), (1, 100_000), (1, 100_010), (9, 899_999), (9, 900_011), (9, 0xff_ffff)];
    Odd::all(pointers.map(|(level, origin)| Odd::bad(level, &Block { origin, ..Block::of(b"origin") })))
}

/// Any column can be walked through, even if sorting no block gives it. Then the walk comes back to where it
/// began before it has been everywhere, and goes round again. What comes out has as many bytes as the column.
fn column_of_several_cycles() -> Odd {
    // Sorted already: each byte leads to itself. So many are no run that needs a count.
    let alone = |origin: u32, content: &[u8]| {
        let block = Block { checksum: checksum::of(content), ..Block::of_column(b"abc", origin) };
        Odd::good(9, &block, content)
    };
    // The second and the third change places, so two ways go round in one step and one in two.
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
        // Long, with short ways round and long ones.
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

/// The same comes from blocks that are really there: all rotations of one that repeats itself come several
/// times, and any of the equal ones may be the origin.
fn periodic() -> Odd {
    let content = b"again and ".repeat(30);
    let good = |origin| Odd::good(9, &Block { origin, ..Block::of(&content) }, &content);
    let first = Block::of(&content).origin;
    Odd::all([good(first), good(first + 1), good(first + 29)])
}

/// The map may say more than what occurs: values that never do, and groups of sixteen without one.
fn unused_values() -> Odd {
    let content = b"a map of more";
    let column = sort::sort(content);
    let with = |map: SymbolMap| {
        let symbols = symbols::encode(&column.0, &map.values());
        let block = Block { origin: column.1, checksum: checksum::of(content), ..Block::of_symbols(map, symbols) };
        Odd::good(9, &block, content)
    };
    let mut with_empty_groups = SymbolMap::of(content);
    // Two before that of the space, one behind it, four in the end.
    with_empty_groups.groups |= 0xd00f;
    with_empty_groups.rows.splice(0..0, [0; 2]);
    with_empty_groups.rows.insert(3, 0);
    with_empty_groups.rows.extend([0; 4]);
    Odd::all([with(SymbolMap::of(&[content, &b"xyz\0\xff"[..]].concat())), with(with_empty_groups)])
}

/// No values: no groups, or none with any in it.
fn empty_map() -> Odd {
    let bad = |map| Odd::bad(9, &Block::of_symbols(map, vec![RUN_A, symbols::end(0)]));
    Odd::all([
        bad(SymbolMap { groups: 0, rows: Vec::new() }),
        bad(SymbolMap { groups: 0xffff, rows: vec![0; 16] }),
        bad(SymbolMap { groups: 1, rows: vec![0] }),
    ])
}

/// The smallest alphabet has three symbols: two for runs, and the end. The value is the first one of all, or
/// the last one. Runs of 1 to 3 in the first stage; of 4, and of as many as a count can say; longer ones.
fn one_value() -> Odd {
    Odd::all([0, 255].into_iter().flat_map(|value| {
        [1, 2, 3, 4, 5, 255, 256, 258, 259, 1000, 70_000].map(|length| {
            let content = vec![value; length];
            // All rotations are equal to the eye of the sorter only where no counts are between.
            Odd::good(9, &Block::of(&content), &content)
        })
    }))
}

/// Without the symbol that ends it, the block goes on in the magic of the next one, until that makes no sense.
fn no_end() -> Odd {
    let content = inputs::noise(3 * 50 - 20, 200, 3);
    let mut block = Block::of(&content);
    block.symbols.pop();
    // The same with enough selectors to go on for long.
    let mut longer = block.clone();
    longer.selectors = vec![0; 18_002];
    Odd::all([Odd::bad(9, &block), Odd::bad(9, &longer)])
}

/// The end comes first, and symbols after it: the block is good, but behind it there is no magic. The same
/// with bits that are no symbols, one to seven of them, or many.
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

/// The end alone: no bytes, and so nothing the origin could point to. The checksum of nothing would be 0.
fn empty_block() -> Odd {
    let block = Block::of_symbols(SymbolMap::of(b"a"), vec![symbols::end(1)]);
    assert_eq!(checksum::of(b""), block.checksum);
    Odd::bad(9, &block)
}

/// bzip2 writes counts of up to 251, so that no run is longer than 255. A byte can say 255, which makes 259.
/// Then the next byte begins a new run, though it may be the same; and a count may be any byte, the run's
/// own as well.
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

/// A block that ends with four equal bytes, where a count has to follow. It might be taken for none, or for
/// the first byte of the next block, but bzip2 refuses it, and so do we. Three are no run, and five bytes
/// are one with its count.
fn missing_count() -> Odd {
    let of = |bytes: &[u8]| Block::of_runs(bytes);
    let good =
        |bytes: &[u8], content: &[u8]| Odd::good(9, &Block { checksum: checksum::of(content), ..of(bytes) }, content);
    // The checksum is that of the four bytes alone.
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

/// A run ends with its block: what follows in the next one is a run of its own, and no count.
fn run_across_blocks() -> Odd {
    let halves = [(&b"xaaa"[..], &b"aaay"[..]), (b"xaaaa", b"aaaay"), (b"aaa", b"\x05\x05\x05"), (b"aaaa", b"aaaa")];
    Odd::all(halves.map(|(one, other)| {
        let file = Stream::of(9, [&Block::of(one), &Block::of(other)]).bytes();
        Odd::complete(file, &[one, other].concat())
    }))
}

/// A block of one value, so long behind the first run-length stage: groups of four and a count, which is
/// that value again.
fn block_of_length(value: u8, length: usize) -> (Block, Vec<u8>) {
    let mut symbols = symbols::run(length as u128);
    symbols.push(symbols::end(1));
    let content = runs::decode(&vec![value; length]).unwrap();
    (Block { checksum: checksum::of(&content), ..Block::of_symbols(SymbolMap::of(&[value]), symbols) }, content)
}

/// 100,000 bytes for each level: bzip2 stops 19 before that, others do not, and all can read it. All levels
/// have their own limit.
fn longest_block() -> Odd {
    Odd::all([1, 2, 9].into_iter().flat_map(|level| {
        let limit = 100_000 * usize::from(level);
        // Not a multiple of five and one less, which would lack its last count.
        [limit - 2, limit].map(|length| {
            let (block, content) = block_of_length(0, length);
            Odd::good(level, &block, &content)
        })
    }))
}

/// One byte more; or what would be right for the next level. The last symbol before the end is the one that
/// is too much, or it is a run.
fn too_long_block() -> Odd {
    let run = |level: u8, length: usize| Odd::bad(level, &block_of_length(0, length).0);
    // All but one are a run, then single bytes.
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

/// 900,000 bytes that are 180,000 runs of 259: 46 million bytes from a few more than sixty. What comes out
/// is not kept whole, but streamed.
fn most_content() -> Odd {
    let (block, content) = block_of_length(255, 900_000);
    assert_eq!(content.len(), 46_620_000);
    Odd::complete(Stream::of(9, [&block]).bytes(), &content)
}

/// Runs whose lengths have so many digits that counting them overflows, first the block, then 21 digits,
/// which bzip2 counts to, then numbers of 32 and 64 bits. What is left of them would be five, which the
/// checksum says.
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

/// Each bit of a block's checksum counts: the block is refused, and nothing of it is delivered. The same
/// for the stream's, but by then everything is delivered. If a stream's is right for the wrong ones of its
/// blocks, that makes it no better.
fn wrong_checksum() -> Odd {
    let content = b"what is checked";
    let right = Block::of(content);
    let block = |bit: u32| Block { checksum: right.checksum ^ 1 << bit, ..right.clone() };
    let stream = |bit: u32| {
        let stream = Stream { checksum: Some(right.checksum ^ 1 << bit), ..Stream::of(9, [&right]) };
        Odd::ends(stream.bytes(), content, End::damaged(stream.magic_offset(1) / 8, Fault::StreamChecksum))
    };
    // The stream's checksum turns with each block: the same two in another order are another stream.
    let (one, two) = (Block::of(b"one"), Block::of(b"two"));
    let swapped =
        Stream { checksum: Some(checksum::of_stream([two.checksum, one.checksum])), ..Stream::of(9, [&one, &two]) };
    let swapped =
        Odd::ends(swapped.bytes(), b"onetwo", End::damaged(swapped.magic_offset(2) / 8, Fault::StreamChecksum));
    Odd::all((0..32).flat_map(|bit| [Odd::bad(9, &block(bit)), stream(bit)]).chain([swapped]))
}

/// bzip2 up to 0.9.0 turned over the lowest bit of some bytes, the first of them number 617, in blocks that
/// it could not sort. The bytes are those behind the first run-length stage: a count may be among them, and
/// runs are runs after the bits have been turned back. The distances begin anew after 512 of them.
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
    // The 512 distances take 250,000 bytes and more.
    files.push(good(9, &inputs::noise(400_000, 256, 9)));
    Odd::all(files)
}
