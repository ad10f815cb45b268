//! Odd files of valid blocks: several streams, empty streams, headers, ends, and trailing bytes.

use voltar::codec::Fault;

use crate::common::bz2::bits::Bits;
use crate::common::bz2::block::Block;
use crate::common::bz2::inputs::noise;
use crate::common::bz2::ours::End;
use crate::common::bz2::stream::{Stream, ordinary};
use crate::common::bz2::{BLOCK_MAGIC, END_MAGIC, MAGIC_BITS};
use crate::file::{Files, Odd};

pub const FILES: Files = &[
    ("empty_streams", empty_streams),
    ("streams_of_all_levels", all_levels),
    ("many_blocks_of_one_byte", many_blocks),
    ("many_streams_of_one_byte", many_streams),
    ("a_last_byte_filled_up_with_ones", padding_of_ones),
    ("garbage_after_the_last_stream", garbage),
    ("a_header_that_is_not_complete", cut_header),
    ("a_header_and_no_stream", header_without_stream),
    ("first_bytes_of_no_bzip2_file", unknown),
    ("a_stream_without_its_end", missing_end),
    ("a_damaged_magic", damaged_magic),
    ("a_damaged_stream_before_a_good_one", damage_before_a_good_stream),
];

/// Builds streams without blocks, whose checksum is 0: alone, repeated, and between others. bzip2 writes one for
/// an empty file.
fn empty_streams() -> Odd {
    let empty = Stream::of(9, []).bytes();
    assert_eq!(empty, b"BZh9\x17\x72\x45\x38\x50\x90\0\0\0\0");
    let full = ordinary(b"full");
    let wrong = Stream { checksum: Some(1), ..Stream::of(9, []) };
    Odd::all([
        Odd::complete(empty.clone(), b""),
        Odd::complete(empty.repeat(3), b""),
        Odd::complete([&full[..], &empty, &empty, &full, &empty].concat(), b"fullfull"),
        Odd::complete([&empty[..], &full].concat(), b"full"),
        Odd::ends(wrong.bytes(), b"", End::damaged(4, Fault::StreamChecksum)),
    ])
}

/// Builds streams of all levels, rising and falling. A stream's own level limits its blocks: after one of level 1
/// comes a block of 150,000 bytes at level 2, and the reverse.
fn all_levels() -> Odd {
    let (mut file, mut content) = (Vec::new(), Vec::new());
    for level in (1..=9).chain((1..=9).rev()) {
        let length = if level == 2 { 150_000 } else { 1000 };
        let held = noise(length, 4, level.into());
        file.extend(Stream::of(level, [&Block::of(&held), &Block::of(b"and another")]).bytes());
        content.extend([&held[..], b"and another"].concat());
    }
    Odd::complete(file, &content)
}

/// Builds a stream of 500 blocks of one byte, many more than there are workers, at all bit offsets within a byte.
fn many_blocks() -> Odd {
    let blocks: Vec<Block> = (0..500_u16).map(|n| Block::of(&[n as u8])).collect();
    let content: Vec<u8> = (0..500_u16).map(|n| n as u8).collect();
    Odd::complete(Stream::of(1, &blocks).bytes(), &content)
}

/// Builds 500 streams of one byte.
fn many_streams() -> Odd {
    let file = (0..500_u16).flat_map(|n| ordinary(&[n as u8])).collect();
    Odd::complete(file, &(0..500_u16).map(|n| n as u8).collect::<Vec<_>>())
}

/// Fills the last byte of a stream with ones. bzip2 writes zeros there and accepts any bits.
fn padding_of_ones() -> Odd {
    let contents: Vec<String> = (0..12).map(|n| "x".repeat(n % 4) + &n.to_string()).collect();
    let streams: Vec<Stream> = contents
        .iter()
        .map(|content| Stream { padding: true, ..Stream::of(9, [&Block::of(content.as_bytes())]) })
        .collect();
    assert!(streams.iter().any(|stream| stream.bytes().last().unwrap() & 0x7f == 0x7f));
    let file = streams.iter().flat_map(Stream::bytes).collect();
    Odd::complete(file, contents.concat().as_bytes())
}

/// Adds bytes after the last stream that do not begin another one. They are ignored and their offset is reported;
/// bzip2 warns, and the crate fails. A stream after garbage is garbage too.
fn garbage() -> Odd {
    let stream = ordinary(b"before");
    let (block_magic, end_magic) = (&Stream::of(9, [&Block::of(b"x")]).bytes()[4..], &Stream::of(9, []).bytes()[4..]);
    let zeros = vec![0; 5000];
    let garbage: [&[u8]; 15] = [
        b"\0",
        b"\n",
        b"BZh0",
        b"BZh:",
        b"BZ0",
        b"Bz",
        b"Bx",
        b"BZhx",
        b"bZh9",
        b" BZh9",
        &zeros,
        b"\x1f\x8b\x08",
        block_magic,
        end_magic,
        &[b"..", &stream[..]].concat(),
    ];
    Odd::all(garbage.map(|garbage| Odd::ends([&stream[..], garbage].concat(), b"before", End::Garbage(stream.len()))))
}

/// Cuts the file within the header of another stream.
fn cut_header() -> Odd {
    let stream = ordinary(b"before");
    Odd::all([&b"B"[..], b"BZ", b"BZh"].map(|begun| {
        let file = [&stream[..], begun].concat();
        let end = End::damaged(file.len(), Fault::EndsInHeader);
        Odd::ends(file, b"before", end)
    }))
}

/// Builds a complete header without a magic after it, because the file ends or other bytes follow. After a valid
/// stream this is damage, not garbage.
fn header_without_stream() -> Odd {
    let stream = ordinary(b"before");
    let of = |before: &[u8], content: &[u8]| {
        let begin = [before, b"BZh5"].concat();
        let cut = Odd::ends(begin.clone(), content, End::damaged(begin.len(), Fault::EndsBeforeMagic));
        let other = [&begin[..], b"nothing"].concat();
        let none = Odd::ends(other, content, End::damaged(begin.len(), Fault::NoBlock));
        let again = Odd::ends([&begin[..], &stream].concat(), content, End::damaged(begin.len(), Fault::NoBlock));
        [cut, none, again]
    };
    Odd::all(of(b"", b"").into_iter().chain(of(&stream, b"before")))
}

/// Builds files that do not begin as a bzip2 file: too short, with an invalid level, in the format of bzip2's
/// predecessor, or with a byte before the header.
fn unknown() -> Odd {
    let refused = |file: &[u8], what| Odd::ends(file.to_vec(), b"", End::damaged(0, what));
    let none = |file: &[u8]| refused(file, Fault::Unknown);
    let mut no_level = ordinary(b"level");
    no_level[3] = b'0';
    let mut old = no_level.clone();
    old[2] = b'0';
    let late = [b"\0", &ordinary(b"late")[..]].concat();
    Odd::all([
        refused(b"", Fault::Empty),
        none(b"B"),
        none(b"BZ"),
        none(b"BZh"),
        none(b"BZh0"),
        none(b"BZh:"),
        none(&no_level),
        none(&old),
        none(&late),
    ])
}

/// Ends the file after a block, begins another stream there, or moves the end-of-stream magic by some bits.
fn missing_end() -> Odd {
    let block = Block::of(b"whole").bits();
    let mut bits = Bits::of(b"BZh9");
    bits.append(&block);
    let end = bits.len();
    let with = |more: &Bits| {
        let mut bits = bits.clone();
        bits.append(more);
        bits.bytes()
    };
    let cut = with(&Bits::default());
    let length = cut.len();
    let other = with(&Bits::of(&ordinary(b"other")));
    let mut late = Bits::default();
    late.push(0, 3);
    late.push(END_MAGIC, MAGIC_BITS);
    let mut early = Bits::default();
    early.push(END_MAGIC, MAGIC_BITS - 1);
    early.push(0, 100);
    Odd::all([
        Odd::ends(cut, b"whole", End::damaged(length, Fault::EndsBeforeMagic)),
        Odd::ends(other, b"whole", End::damaged(end / 8, Fault::NoBlock)),
        Odd::ends(with(&late), b"whole", End::damaged(end / 8, Fault::NoBlock)),
        Odd::ends(with(&early), b"whole", End::damaged(end / 8, Fault::NoBlock)),
    ])
}

/// Flips single bits of each magic: the blocks before it are delivered. The block finder must not skip to the
/// next magic.
fn damaged_magic() -> Odd {
    let blocks = [Block::of(b"one"), Block::of(b"two"), Block::of(b"three")];
    let stream = Stream::of(9, &blocks);
    let contents = [&b""[..], b"one", b"onetwo", b"onetwothree"];
    let damaged = |n: usize, bit: usize| {
        let mut bits = stream.bits();
        let magic = stream.magic_offset(n);
        assert_eq!(bits.value(magic, MAGIC_BITS), if n < 3 { BLOCK_MAGIC } else { END_MAGIC });
        bits.flip(magic + bit);
        Odd::ends(bits.bytes(), contents[n], End::damaged(magic / 8, Fault::NoBlock))
    };
    Odd::all((0..4).flat_map(|n| (0..MAGIC_BITS).step_by(5).map(move |bit| (n, bit))).map(|(n, bit)| damaged(n, bit)))
}

/// Puts a valid stream after a damaged one. It is not delivered, because its position in the content is unknown.
fn damage_before_a_good_stream() -> Odd {
    let good = ordinary(b"good");
    let mut block = Block::of(b"damaged");
    block.checksum ^= 1;
    let damaged = Stream::of(9, [&Block::of(b"so far "), &block]);
    let end = End::damaged(damaged.magic_offset(1) / 8, Fault::Block);
    let wrong = Stream { checksum: Some(0), ..Stream::of(9, [&Block::of(b"so far ")]) };
    let wrong_end = End::damaged(wrong.magic_offset(1) / 8, Fault::StreamChecksum);
    Odd::all([
        Odd::ends([damaged.bytes(), good.clone()].concat(), b"so far ", end),
        Odd::ends([wrong.bytes(), good].concat(), b"so far ", wrong_end),
    ])
}
