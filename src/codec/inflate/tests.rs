//! Streams of several encoders, made by hand, and damaged: the output and the verdict are those of zlib-rs.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use libdeflater::{CompressionLvl, Compressor};
use proptest::prelude::*;
use proptest::sample::Index;

use super::decoder::{Decoder, Output, ROOM};
use super::finder::{self, Start};
use super::stream::{Sizes, Stream};
use super::symbol::WINDOW;
use super::{Stop, bits::Bits};
use crate::codec::format::{Damage, Fault};
use crate::codec::source::Source;
use crate::ordered::Pool;

/// Sizes with which a short stream has many spans, and jobs stop for each reason.
const SMALL: Sizes = Sizes { alone: 100, span: 3000, behind: 500, most: 40_000, threads: 2, piece: 777 };

/// The most that a test decodes.
const MOST: usize = 4 << 20;

/// What a stream decodes to, and how it ends: behind so many bytes, or as damage.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    content: Vec<u8>,
    end: Result<u64, Verdict>,
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    CutShort,
    Corrupt,
}

fn by_zlib(stream: &[u8]) -> Outcome {
    let mut decoder = Decompress::new(false);
    let mut content = vec![0; MOST];
    let status = decoder.decompress(stream, &mut content, FlushDecompress::None);
    content.truncate(decoder.total_out() as usize);
    let end = match status {
        Ok(Status::StreamEnd) => Ok(decoder.total_in()),
        Ok(Status::Ok | Status::BufError) => Err(Verdict::CutShort),
        Err(_) => Err(Verdict::Corrupt),
    };
    Outcome { content, end }
}

fn read(stream: &[u8], sizes: Sizes, jobs: usize) -> (Outcome, Stream) {
    let mut source = Source::new(stream);
    let mut reader = Stream::new(&Pool::new(jobs).unwrap(), sizes);
    reader.begin(0);
    let (mut content, mut buffer) = (Vec::new(), [0; 5000]);
    let end = loop {
        match reader.read(&mut source, &mut buffer) {
            Ok(0) => {
                let expected = (crc32fast::hash(&content), content.len() as u32);
                assert_eq!(reader.totals(), expected);
                assert_eq!(reader.consumed(), source.offset());
                break Ok(source.offset());
            }
            Ok(count) => content.extend_from_slice(&buffer[..count]),
            Err(error) => {
                let damage = error.get_ref().unwrap().downcast_ref::<Damage>().unwrap();
                break Err(if damage.what == Fault::EndsInBlock {
                    assert_eq!(damage.offset, stream.len() as u64);
                    Verdict::CutShort
                } else {
                    assert!(damage.offset < stream.len() as u64);
                    Verdict::Corrupt
                });
            }
        }
    };
    (Outcome { content, end }, reader)
}

/// Compares without printing what was compared.
#[track_caller]
fn assert_same(found: &Outcome, expected: &Outcome) {
    assert_eq!((found.content.len(), &found.end), (expected.content.len(), &expected.end));
    assert!(found.content == expected.content);
}

#[track_caller]
fn check(stream: &[u8], sizes: Sizes, jobs: usize) -> Stream {
    let (found, reader) = read(stream, sizes, jobs);
    assert_same(&found, &by_zlib(stream));
    reader
}

/// Bits of a stream that is made by hand.
#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    count: usize,
}

impl Writer {
    fn put(&mut self, bits: u64, count: u32) -> &mut Self {
        for at in 0..count {
            if self.count.is_multiple_of(8) {
                self.bytes.push(0);
            }
            self.bytes[self.count / 8] |= ((bits.checked_shr(at).unwrap_or(0) & 1) as u8) << (self.count % 8);
            self.count += 1;
        }
        self
    }

    /// Puts a codeword, of which the first bit is the highest.
    fn code(&mut self, code: u64, count: u32) -> &mut Self {
        self.put(code.reverse_bits() >> (64 - count), count)
    }

    /// Puts the header of a last block with codewords of these lengths, which are stated in four bits each.
    fn dynamic(&mut self, literals: &[u8], distances: &[u8]) -> &mut Self {
        self.put(0b101, 3).put(literals.len() as u64 - 257, 5).put(distances.len() as u64 - 1, 5).put(15, 4);
        for symbol in [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15] {
            self.put(if symbol < 16 { 4 } else { 0 }, 3);
        }
        for length in literals.iter().chain(distances) {
            self.code((*length).into(), 4);
        }
        self
    }

    fn stored(&mut self, content: &[u8], is_last: bool) -> &mut Self {
        self.put(u64::from(is_last), 3);
        self.count = self.count.next_multiple_of(8);
        self.put(content.len() as u64, 16).put(!content.len() as u64 & 0xffff, 16);
        self.bytes.extend_from_slice(content);
        self.count += 8 * content.len();
        self
    }
}

/// Content of several kinds.
fn content(kind: usize, seed: u32, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    let words = ["to be ", "or not ", "to be, ", "that is ", "the question: ", "whether ", "'tis ", "nobler ", "\n"];
    let mut content = Vec::with_capacity(length + 600);
    while content.len() < length {
        let number = next();
        match kind {
            0 => content.extend_from_slice(words[number as usize % words.len()].as_bytes()),
            1 => content.extend_from_slice(&number.to_le_bytes()),
            // Bytes that hardly compress, with few matches.
            2 => content.push((number.count_ones() * 8 + (number & 7)) as u8),
            3 => content.resize(content.len() + number as usize % 600, (number >> 24) as u8),
            // Matches of any length at distances up to the window.
            _ => {
                content.extend_from_slice(&number.to_le_bytes());
                let distance = if number.trailing_zeros() >= 2 { WINDOW } else { number as usize >> 2 & 0x7fff };
                if let Some(from) = content.len().checked_sub(distance.max(1)) {
                    for at in from..from + (number as usize >> 20) % 300 {
                        content.push(content[at]);
                    }
                }
            }
        }
    }
    content.truncate(length);
    content
}

/// Compresses by `encoder`: libdeflate's levels 0 to 12, those of zlib-rs, and those with blocks that end after some bytes.
fn compressed(content: &[u8], encoder: usize) -> Vec<u8> {
    let level = encoder % 13;
    if encoder < 13 {
        let mut encoder = Compressor::new(CompressionLvl::new(i32::try_from(level).unwrap()).unwrap());
        let mut stream = vec![0; encoder.deflate_compress_bound(content.len())];
        let length = encoder.deflate_compress(content, &mut stream).unwrap();
        stream.truncate(length);
        return stream;
    }
    let mut deflate = Compress::new(Compression::new(level.min(9) as u32), false);
    let mut stream = Vec::with_capacity(content.len() * 3 + 1000);
    let pieces = if encoder < 26 { content.len().max(1) } else { 100 + level * 700 };
    for (number, piece) in content.chunks(pieces).enumerate() {
        let flush = if number.is_multiple_of(2) { FlushCompress::Sync } else { FlushCompress::Partial };
        deflate.compress_vec(piece, &mut stream, flush).unwrap();
    }
    assert_eq!(deflate.compress_vec(&[], &mut stream, FlushCompress::Finish).unwrap(), Status::StreamEnd);
    stream
}

const KINDS: usize = 5;
const ENCODERS: usize = 39;

fn jobs() -> impl Strategy<Value = usize> {
    prop::sample::select(vec![1, 2, 7])
}

fn sizes() -> impl Strategy<Value = Sizes> {
    (0..2000_u64, 200..20_000_usize, 0..5000_usize, 1000..200_000_usize, 1..100_000_usize)
        .prop_map(|(alone, span, behind, most, piece)| Sizes { alone, span, behind, most, threads: 2, piece })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn streams_of_any_encoder_are_read(
        (kind, seed, length) in (0..KINDS, any::<u32>(), 0..300_000_usize),
        encoder in 0..ENCODERS,
        sizes in sizes(),
        jobs in jobs(),
    ) {
        let content = content(kind, seed, length);
        let stream = [compressed(&content, encoder), b"rest".to_vec()].concat();
        let (outcome, _) = read(&stream, sizes, jobs);
        prop_assert_eq!(outcome.end, Ok(stream.len() as u64 - 4));
        prop_assert!(outcome.content == content);
    }

    #[test]
    fn damaged_streams_are_read_up_to_the_damage(
        (kind, seed, length) in (0..KINDS, any::<u32>(), 0..200_000_usize),
        encoder in 0..ENCODERS,
        (at, bit, is_cut) in (any::<Index>(), 0..8_u8, any::<bool>()),
        sizes in sizes(),
        jobs in jobs(),
    ) {
        let mut stream = compressed(&content(kind, seed, length), encoder);
        let at = at.index(stream.len());
        if is_cut {
            stream.truncate(at);
        } else {
            stream[at] ^= 1 << bit;
        }
        check(&stream, sizes, jobs);
    }

    /// Headers near to valid ones: numbers of codewords, and lengths that are mostly those of a complete code.
    #[test]
    fn codes_are_refused_as_by_zlib(
        (literals, distances) in (0..32_u64, 0..32_u64),
        precode in prop::collection::vec(prop::sample::select(vec![0, 2, 3, 3, 3, 4, 4, 5, 1, 7]), 4..20),
        rest in prop::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut writer = Writer::default();
        writer.put(0b100, 3).put(literals, 5).put(distances, 5).put(precode.len() as u64 - 4, 4);
        for length in &precode { writer.put(*length, 3); }
        for byte in &rest { writer.put((*byte).into(), 8); }
        check(&writer.bytes, SMALL, 1);
    }

    /// The same with a code for code lengths of 16 codewords of 4 bits, so that all lengths can be stated.
    #[test]
    fn lengths_of_codewords_are_refused_as_by_zlib(
        spaces in prop::collection::vec((0..30_usize, 1..16_u8), 1..40),
        distances in prop::collection::vec(0..16_u8, 1..31),
        is_completed in any::<bool>(),
        rest in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let mut lengths = vec![0; 257];
        for (at, (skip, length)) in spaces.iter().enumerate() {
            lengths[(at * 6 + skip) % 256] = *length;
        }
        lengths[256] = 15;
        if is_completed {
            complete(&mut lengths);
        }
        let mut writer = Writer::default();
        writer.dynamic(&lengths, &distances);
        for byte in &rest { writer.put((*byte).into(), 8); }
        check(&writer.bytes, SMALL, 1);
    }
}

/// Changes lengths of codewords until they are those of a complete code, if that is possible.
fn complete(lengths: &mut [u8]) {
    let space =
        |lengths: &[u8]| lengths.iter().filter(|length| **length > 0).map(|length| 1 << 15 >> length).sum::<i32>();
    for _ in 0..10_000 {
        let free = (1 << 15) - space(lengths);
        let Some(at) = (match free {
            0 => return,
            1.. => lengths.iter().position(|length| *length > 1 && 1 << 15 >> length <= free),
            _ => lengths.iter().rposition(|length| *length > 0 && *length < 15),
        }) else {
            return;
        };
        if free > 0 { lengths[at] -= 1 } else { lengths[at] += 1 }
    }
}

/// Returns the bits at which the blocks of a stream begin, each with its type.
fn blocks(stream: &[u8]) -> Vec<(usize, u64)> {
    let (mut decoder, mut at, mut blocks) = (Decoder::new(), 0, Vec::new());
    let mut symbols = vec![0_u8; MOST + ROOM];
    let mut out = Output { symbols: &mut symbols, floor: 0, to: 0, limit: MOST };
    loop {
        blocks.push((at, Bits::new(stream, at).peek() & 7));
        let next = at + 1;
        match decoder.decode(stream, &mut at, next, &mut out) {
            Stop::Block => {}
            stop => {
                assert_eq!(stop, Stop::End);
                return blocks;
            }
        }
    }
}

#[test]
fn each_block_that_is_searched_for_is_found() {
    let (mut coded, mut stored) = (0, 0);
    for encoder in 0..ENCODERS {
        for kind in 0..KINDS {
            let stream = compressed(&content(kind, 7, 200_000), encoder);
            for (at, beginning) in blocks(&stream) {
                let found = finder::find(&stream, at, at + 11);
                match beginning {
                    0b100 => {
                        assert_eq!(found, Some(Start { first: at, last: at }), "{encoder} {kind}");
                        coded += 1;
                    }
                    0b000 => {
                        let found = found.unwrap();
                        assert!(found.first <= at && at <= found.last, "{encoder} {kind}: {found:?} {at}");
                        stored += 1;
                    }
                    _ => {}
                }
            }
        }
    }
    assert!(coded > 100 && stored > 100, "{coded} {stored}");
}

#[test]
fn a_stored_block_begins_at_any_of_the_zeros_before_its_length() {
    let stored = |fill: u64, bits: u32| {
        let mut writer = Writer::default();
        writer.put(0xff, 8).put(fill, bits).stored(b"content", false);
        finder::find(&writer.bytes, 0, writer.count)
    };
    // Three bits of zeros or more, up to bit 16, or up to bit 24 where the beginning does not fit before that.
    assert_eq!(stored(0, 0), Some(Start { first: 8, last: 13 }));
    assert_eq!(stored(0b11111, 5), Some(Start { first: 13, last: 13 }));
    assert_eq!(stored(0b11_1111, 6), Some(Start { first: 14, last: 21 }));
    assert_eq!(stored(0b01_1111, 6), Some(Start { first: 14, last: 21 }));
    // The start lies within the bits that are searched.
    let mut writer = Writer::default();
    writer.stored(&[], false).stored(&[], false);
    assert_eq!(finder::find(&writer.bytes, 0, 5), None);
    assert_eq!(finder::find(&writer.bytes, 0, 6), Some(Start { first: 0, last: 5 }));
    assert_eq!(finder::find(&writer.bytes, 30, 1000), Some(Start { first: 40, last: 45 }));
}

/// A tar archive holds streams that were compressed: as stored blocks, the bits at which their blocks begin are found.
#[test]
fn blocks_within_stored_blocks_are_not_used() {
    let inner = compressed(&content(0, 3, 400_000), 31);
    let mut writer = Writer::default();
    writer.stored(&content(1, 1, 40_000), false);
    for piece in inner.repeat(3).chunks(50_000) {
        writer.stored(piece, false);
    }
    writer.stored(&[], true);
    let sizes = Sizes { span: 2000, ..SMALL };
    for jobs in [1, 2, 7] {
        let reader = check(&writer.bytes, sizes, jobs);
        assert!(jobs == 1 || reader.dropped > 0, "{}", reader.dropped);
    }
}

#[test]
fn spans_are_decoded_ahead_and_appended() {
    for (kind, encoder) in [(0, 6), (2, 6), (4, 19), (1, 19), (3, 32)] {
        let stream = compressed(&content(kind, 5, 2_000_000), encoder);
        let sizes = Sizes { span: stream.len() / 30, ..SMALL };
        // Where a job stops in a block, because of its input or its output, the thread that reads continues.
        for behind in [100_000, 10] {
            // On a busy machine the thread that reads can be the first at most of the spans.
            let is_used = || {
                let reader = check(&stream, Sizes { most: 400_000, behind, ..sizes }, 2);
                reader.appended > 2 && reader.is_parallel(2) && !reader.is_parallel(1)
            };
            assert!((0..50).any(|_| is_used()), "{kind} {encoder} {behind}");
        }
        check(&stream, Sizes { most: 50_000, behind: 100_000, ..sizes }, 2);
    }
    assert!(!check(&compressed(&content(0, 5, 100), 6), SMALL, 2).is_parallel(7));
}

#[test]
fn zeros_that_take_a_thousandth_are_read() {
    let stream = compressed(&vec![0; 3_000_000], 12);
    check(&stream, Sizes { alone: 10, span: 100, ..SMALL }, 2);
}

#[test]
fn a_reader_is_used_for_one_stream_after_the_other() {
    let streams: Vec<Vec<u8>> = [(0, 300_000), (2, 10), (1, 300_000), (4, 0)]
        .map(|(kind, length)| compressed(&content(kind, 9, length), 6))
        .into();
    let file = streams.concat();
    let mut source = Source::new(&file[..]);
    let mut reader = Stream::new(&Pool::new(2).unwrap(), SMALL);
    for stream in &streams {
        reader.begin(source.offset());
        let (mut content, mut buffer) = (Vec::new(), vec![0; 70_000]);
        loop {
            match reader.read(&mut source, &mut buffer).unwrap() {
                0 => break,
                count => content.extend_from_slice(&buffer[..count]),
            }
        }
        assert!(content == by_zlib(stream).content);
        assert_eq!(reader.totals().0, crc32fast::hash(&content));
    }
    assert_eq!(source.offset(), file.len() as u64);
}

#[test]
fn matches_reach_back_to_the_start_and_not_before_it() {
    for (distance, is_valid) in [(1, true), (2, true), (3, false), (4, false)] {
        let mut writer = Writer::default();
        // Fixed codes: two literals, a match of three bytes, the end of the block.
        writer.put(0b011, 3).code(0x30 + 65, 8).code(0x30 + 66, 8).code(1, 7).code(distance - 1, 5).code(0, 7);
        let reader = read(&writer.bytes, SMALL, 1).0;
        assert_eq!(reader.end.is_ok(), is_valid, "{distance}");
        check(&writer.bytes, SMALL, 1);
    }
    // In a span that is decoded ahead, of a stream without what the span refers to.
    let mut deflate = Compress::new(Compression::new(6), false);
    let mut stream = Vec::with_capacity(200_000);
    let content = content(4, 1, 120_000);
    deflate.compress_vec(&content[..60_000], &mut stream, FlushCompress::Sync).unwrap();
    let second = stream.len();
    deflate.compress_vec(&content[60_000..], &mut stream, FlushCompress::Sync).unwrap();
    let mut writer = Writer::default();
    for _ in 0..200 {
        writer.stored(b"x", false);
    }
    let stream = [&writer.bytes[..], &stream[second..]].concat();
    assert_eq!(by_zlib(&stream).end, Err(Verdict::Corrupt));
    check(&stream, Sizes { alone: 0, span: 30_000, behind: 100_000, ..SMALL }, 2);
}

#[test]
fn a_block_has_286_literals_and_lengths_and_30_distances_at_most() {
    for (literals, distances, is_valid) in [(286, 30, true), (287, 30, false), (286, 31, false), (288, 32, false)] {
        let (mut literals, mut distances) = (vec![0; literals], vec![0; distances]);
        (literals[65], literals[256], distances[0]) = (1, 1, 1);
        let mut writer = Writer::default();
        writer.dynamic(&literals, &distances).code(0, 1).code(1, 1);
        check(&writer.bytes, SMALL, 1);
        assert_eq!(by_zlib(&writer.bytes).end.is_ok(), is_valid);
    }
}

/// Literals and the length behind them share an entry of the fast loop.
#[test]
fn literals_before_a_wrong_distance_are_returned_once() {
    let (mut literals, mut distances) = (vec![0; 258], vec![0; 30]);
    (literals[65], literals[256], literals[257], distances[0], distances[29]) = (1, 2, 2, 1, 1);
    let mut writer = Writer::default();
    writer.dynamic(&literals, &distances);
    for _ in 0..1001 {
        writer.code(0, 1);
    }
    writer.code(0b11, 2).code(1, 1).put(0, 2000);
    let outcome = by_zlib(&writer.bytes);
    assert!(outcome.content == [65; 1001] && outcome.end == Err(Verdict::Corrupt));
    check(&writer.bytes, SMALL, 1);
}

#[test]
fn symbols_that_stand_for_nothing_are_damage() {
    for (code, count) in [(0b1100_0110, 8), (0b1100_0111, 8)] {
        let mut writer = Writer::default();
        writer.put(0b011, 3).code(0x30, 8).code(code, count).put(0, 40);
        check(&writer.bytes, SMALL, 1);
    }
    for distance in [30, 31] {
        let mut writer = Writer::default();
        writer.put(0b011, 3).code(0x30, 8).code(1, 7).code(distance, 5).put(0, 40);
        check(&writer.bytes, SMALL, 1);
    }
    // A type of block that does not exist, and lengths of a stored block that differ.
    check(&[0b111, 0, 0, 0], SMALL, 1);
    check(&[0b001, 1, 0, 0xfe, 0xfe, 0], SMALL, 1);
}
