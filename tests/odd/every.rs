//! Small files, cut at every byte or with every bit flipped.

use voltar::codec::Fault;

use crate::common::bz2::bits::Bits;
use crate::common::bz2::block::{Block, seal};
use crate::common::bz2::code::CodeTable;
use crate::common::bz2::ours::{self, End, Outcome, POOLS};
use crate::common::bz2::stream::Stream;
use crate::common::bz2::{MAGIC_BITS, agree, reader};

/// Returns two streams of three blocks, with runs, two different codes, and an unused selector.
fn streams() -> [Stream; 2] {
    let mut first = Block::of(b"abcdeaaaaaaaaabb");
    first.selectors.push(1);
    let second = Block::of(b"abcdecdebcdeedcba");
    let second = second.coded_by(vec![CodeTable::new(&[2, 2, 3, 3, 4, 4, 4]), CodeTable::flat(7)]);
    [Stream::of(1, [&first, &second]), Stream::of(9, [&Block::of(b"of another stream")])]
}

const CONTENTS: [&[u8]; 3] = [b"abcdeaaaaaaaaabb", b"abcdecdebcdeedcba", b"of another stream"];

/// Cuts the file at every byte: all complete blocks are delivered, and the cut is reported.
pub fn cut() {
    let streams = streams();
    let file = streams.iter().flat_map(Stream::bytes).collect::<Vec<_>>();
    for length in 0..=file.len() {
        let expected = when_cut(&streams, length);
        for pool in POOLS.iter() {
            assert_eq!(ours::decompress(&file[..length], pool, &[100]), expected, "cut to {length}");
        }
        agree::on(&file[..length]);
    }
}

/// Returns the expected outcome of the first `length` bytes of the file.
fn when_cut(streams: &[Stream; 2], length: usize) -> Outcome {
    let mut contents = CONTENTS.iter();
    let mut bytes = Vec::new();
    let cut = |what| End::damaged(length, what);
    let mut begin = 0;
    for stream in streams {
        let there = (length - begin) * 8;
        if there == 0 && begin > 0 {
            return Outcome { bytes, end: End::Complete };
        }
        if there < 32 {
            let first = if length == 0 { Fault::Empty } else { Fault::Unknown };
            let end = if begin == 0 { End::damaged(0, first) } else { cut(Fault::EndsInHeader) };
            return Outcome { bytes, end };
        }
        for n in 0..stream.blocks.len() {
            if there < stream.magic_offset(n) + MAGIC_BITS {
                return Outcome { bytes, end: cut(Fault::EndsBeforeMagic) };
            }
            if there < stream.magic_offset(n + 1) {
                return Outcome { bytes, end: cut(Fault::EndsInBlock) };
            }
            bytes.extend_from_slice(contents.next().unwrap());
        }
        if there < stream.magic_offset(stream.blocks.len()) + MAGIC_BITS + 32 {
            return Outcome { bytes, end: cut(Fault::EndsBeforeMagic) };
        }
        begin += stream.bytes().len();
    }
    Outcome { bytes, end: End::Complete }
}

/// Flips every bit of the file: all three decoders must agree on the result.
pub fn flipped() {
    let file = Bits::of(&streams().iter().flat_map(Stream::bytes).collect::<Vec<_>>());
    for at in 0..file.len() {
        let mut file = file.clone();
        file.flip(at);
        agree::on(&file.bytes());
    }
}

/// Flips every bit of each block and corrects the checksum, so that the checksum does not hide the error. Many of
/// these blocks are valid and have another content.
pub fn flipped_and_sealed() {
    let [stream, _] = streams();
    let mut good = 0;
    for n in 0..stream.blocks.len() {
        for at in MAGIC_BITS + 32..stream.blocks[n].len() {
            let mut stream = stream.clone();
            stream.blocks[n].flip(at);
            good += usize::from(reader::block(&stream.blocks[n], 1).is_ok());
            stream.blocks[n] = seal(stream.blocks[n].clone(), 1);
            agree::on(&stream.bytes());
        }
    }
    assert!(good > 50, "only {good} valid blocks: the checksums are not corrected");
}
