//! The codec from outside: against the `bzip2` crate as the oracle, with damaged and hostile files, and against
//! other tools. A trial whose tool is missing is reported as ignored; with `VOLTAR_REQUIRE_TOOLS=1` it fails.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test")]
#![allow(clippy::unnecessary_wraps, reason = "trials are functions of one type")]

mod common;

use std::io::{self, Read, Write};
use std::process::{Command, ExitCode, Stdio};

use libtest_mimic::{Arguments, Failed, Trial};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use voltar::codec::{Compression, Compressor, Damage, Decompressor, Fault, Format, Level};
use voltar::internals::tar_likeness;
use voltar::ordered::Pool;
use voltar::pieces::WritePiece;

use common::skip::with_tool;

type Check = Result<(), Failed>;

fn main() -> ExitCode {
    if std::env::var_os("CODEC_BOMB").is_some() {
        return bomb();
    }
    let mut trials: Vec<Trial> = [
        ("our_blocks_are_those_of_bzip2_and_not_larger", same_blocks_as_bzip2 as fn() -> Check),
        ("blocks_are_cut_where_bzip2_cuts_them_on_both_sides_of_the_limit", cut_at_the_limit),
        ("any_number_of_threads_gives_the_same_file", threads_do_not_matter),
        ("every_format_round_trips_through_ragged_writes_and_short_reads", round_trips),
        ("no_input_is_a_valid_empty_file", no_input),
        ("a_dropped_compressor_leaves_no_valid_file", dropped_is_not_finished),
        ("a_failed_write_is_never_followed_by_an_end", failed_write_poisons),
        ("valid_cut_and_flipped_files_decode_as_with_the_oracle", decodes_as_the_oracle),
        ("streams_of_different_levels_and_empty_ones_are_one_file", concatenated_streams),
        ("trailing_garbage_is_reported_and_ignored", trailing_garbage),
        ("a_damaged_block_is_located_and_what_precedes_it_delivered", damage_is_located),
        ("a_cut_file_is_called_cut", cut_files),
        ("a_missing_block_shows_in_the_stream_checksum", missing_block),
        ("a_block_that_has_lost_its_end_is_damaged_not_cut", endless_block),
        ("an_overlong_block_is_refused", overlong_block),
        ("magics_inside_blocks_are_not_taken_for_boundaries", planted_magics),
        ("randomised_blocks_of_old_bzip2_are_read", randomised_block),
        ("read_errors_pass_through_after_the_data_before_them", read_errors),
        ("empty_and_unknown_files_are_refused_clearly", refused),
        ("gzip_and_zstd_damage_is_located", member_damage),
        ("members_of_any_kind_follow_each_other", mixed_members),
        ("independent_decoders_find_what_ours_find", independent),
        ("xz_streams_follow_each_other_and_damage_is_found", xz_streams),
        ("zeros_after_gzip_are_ignored_in_silence", zeros_after_gzip),
        ("a_window_that_does_not_fit_in_memory_is_named", too_large_windows),
        ("bombs_do_not_fill_memory", bombs),
        ("progress_ends_at_the_size_of_the_file", progress),
    ]
    .into_iter()
    .map(|(name, check)| Trial::test(name, check))
    .collect();
    trials.extend(tool_trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

// ------------------------------------------------------------------ inputs, helpers

/// Returns a configuration that prints seeds and does not write them to files beside the sources.
fn cases(count: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(count) }
}

fn pool(jobs: usize) -> Pool {
    Pool::new(jobs).unwrap()
}

fn compression(format: Format, level: u8) -> Compression {
    Compression::new(format, Level::new(level)).unwrap()
}

fn compress_with(input: &[u8], format: Format, at: u8, jobs: usize) -> Vec<u8> {
    let mut compressor = Compressor::new(Vec::new(), compression(format, at), &pool(jobs));
    compressor.write_all(input).unwrap();
    compressor.finish().unwrap()
}

fn bzip2(input: &[u8], at: u8) -> Vec<u8> {
    compress_with(input, Format::Bzip2, at, 2)
}

/// The delivered bytes, the error, and the offset of trailing garbage.
struct Outcome {
    bytes: Vec<u8>,
    error: Option<io::Error>,
    garbage: Option<u64>,
}

impl Outcome {
    fn damage(&self) -> Option<&Damage> {
        let error = self.error.as_ref()?;
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
        error.get_ref()?.downcast_ref()
    }

    fn fault(&self) -> Option<&Fault> {
        self.damage().map(|damage| &damage.what)
    }
}

fn decompress(file: impl Read) -> Outcome {
    decompress_with(file, &pool(2))
}

fn decompress_with(file: impl Read, pool: &Pool) -> Outcome {
    let mut bytes = Vec::new();
    match Decompressor::with_plain(file, tar_likeness, pool) {
        Err(error) => Outcome { bytes, error: Some(error), garbage: None },
        Ok(mut decompressor) => {
            let error = decompressor.read_to_end(&mut bytes).err();
            if error.is_some() {
                assert!(decompressor.read(&mut [0]).is_err(), "an end after an error");
            }
            Outcome { bytes, error, garbage: decompressor.trailing_garbage() }
        }
    }
}

/// Decodes a file with the oracle. Returns all delivered bytes, and whether it reached the end. (Its `Read` loses
/// what it decoded in the call that fails.)
fn oracle(file: &[u8]) -> (Vec<u8>, bool) {
    let (mut bytes, mut rest) = (Vec::new(), file);
    while !rest.is_empty() {
        let mut stream = bzip2::Decompress::new(false);
        loop {
            bytes.reserve(1 << 16);
            let (taken, given) = (stream.total_in(), stream.total_out());
            let status = stream.decompress_vec(rest, &mut bytes);
            rest = &rest[(stream.total_in() - taken) as usize..];
            match status {
                Ok(bzip2::Status::StreamEnd) => break,
                Ok(_) if stream.total_in() > taken || stream.total_out() > given => {}
                Ok(_) | Err(_) => return (bytes, false),
            }
        }
    }
    (bytes, true)
}

/// Returns random bytes in which no byte repeats the one before.
fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut previous = 0;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 8) as u8
    };
    (0..len)
        .map(|_| {
            let mut byte = next();
            while byte == previous {
                byte = next();
            }
            previous = byte;
            byte
        })
        .collect()
}

/// Returns text-like, compressible bytes.
fn text(len: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(len + 40);
    let mut n = 7_u32;
    while text.len() < len {
        n = n.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        writeln!(text, "frame_{:06} label={} {}", n >> 20, n >> 29, "..".repeat((n >> 27) as usize % 9)).unwrap();
    }
    text.truncate(len);
    text
}

/// A reader that returns 1 to 10 bytes at a time.
struct ShortReader<'a>(&'a [u8], u8);

impl Read for ShortReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.1 = self.1.wrapping_mul(29).wrapping_add(17);
        let count = usize::from(self.1 % 10 + 1).min(out.len());
        self.0.read(&mut out[..count])
    }
}

/// A string of bits.
#[derive(Default, Clone)]
struct Bits(Vec<bool>);

impl Bits {
    fn push(&mut self, value: u64, count: u32) {
        self.0.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
    }

    fn of(bytes: &[u8]) -> Self {
        let mut bits = Self::default();
        for &byte in bytes {
            bits.push(byte.into(), 8);
        }
        bits
    }

    fn value(&self, from: usize, count: usize) -> u64 {
        self.0[from..from + count].iter().fold(0, |value, &bit| value << 1 | u64::from(bit))
    }

    fn find(&self, magic: u64) -> Vec<usize> {
        (0..self.0.len().saturating_sub(47)).filter(|&at| self.value(at, 48) == magic).collect()
    }

    fn bytes(&self) -> Vec<u8> {
        self.0
            .chunks(8)
            .map(|bits| bits.iter().enumerate().fold(0, |byte, (n, &bit)| byte | u8::from(bit) << (7 - n)))
            .collect()
    }
}

const BLOCK_MAGIC: u64 = 0x3141_5926_5359;
const END_MAGIC: u64 = 0x1772_4538_5090;

/// Returns the bzip2 checksum.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 })
    })
}

/// Makes a stream of a block's bits and corrects the checksums. Returns the stream and its content.
fn stream_around(block: &Bits, at: u8) -> (Vec<u8>, Vec<u8>) {
    let stream = |crc: u32| {
        let mut bits = Bits::of(&[b'B', b'Z', b'h', b'0' + at]);
        bits.push(BLOCK_MAGIC, 48);
        bits.push(crc.into(), 32);
        bits.0.extend(&block.0[80..]);
        bits.push(END_MAGIC, 48);
        bits.push(crc.into(), 32);
        bits.bytes()
    };
    // The oracle delivers what it decoded before it compares checksums.
    let content = oracle(&stream(0)).0;
    assert!(!content.is_empty());
    let stream = stream(crc(&content));
    assert!(oracle(&stream) == (content.clone(), true));
    (stream, content)
}

/// Returns a block of these six-bit symbols (not 63, which ends it). 62 byte values make 64 symbols, and each
/// symbol's codeword is its number.
fn block_of_symbols(symbols: &[u8]) -> Bits {
    let mut block = Bits::default();
    block.push(BLOCK_MAGIC, 48);
    block.push(0, 32 + 1 + 24);
    block.push(0b1111_0000_0000_0000, 16);
    for map in [0xffff, 0xffff, 0xffff, 0xfffc] {
        block.push(map, 16);
    }
    block.push(2, 3);
    let selectors = (symbols.len() + 1).div_ceil(50);
    block.push(selectors as u64, 15);
    (0..selectors).for_each(|_| block.push(0, 1));
    for _ in 0..2 {
        block.push(6, 5);
        block.push(0, 32);
        block.push(0, 32);
    }
    for &symbol in symbols {
        block.push(symbol.into(), 6);
    }
    block.push(63, 6);
    block
}

/// Splits 48 bits into eight symbols.
fn symbols_of(bits: u64) -> impl Iterator<Item = u8> {
    (0..8).rev().map(move |n| (bits >> (6 * n) & 63) as u8)
}

// ------------------------------------------------------------------ compressing

fn encode_with_oracle(input: &[u8], at: u8) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(at.into()));
    encoder.write_all(input).unwrap();
    encoder.finish().unwrap()
}

/// Returns the beginning of each block: checksum, origin pointer, symbol map. The content determines these; the
/// code tables are the encoder's choice.
fn blocks(file: &[u8]) -> Vec<Vec<bool>> {
    let bits = Bits::of(file);
    let end = |at: usize| {
        let groups = bits.value(at + 48 + 32 + 25, 16).count_ones() as usize;
        at + 48 + 32 + 25 + 16 + 16 * groups
    };
    bits.find(BLOCK_MAGIC).into_iter().map(|at| bits.0[at..end(at)].to_vec()).collect()
}

/// Fails unless both files have equal blocks. Ours may be larger by half a percent and some bytes per block.
fn check_against_bzip2s(ours: &[u8], theirs: &[u8], what: &str) {
    assert!(blocks(ours) == blocks(theirs), "{what}");
    let limit = theirs.len() + theirs.len() / 200 + 20 * blocks(theirs).len();
    assert!(ours.len() <= limit, "{what}: {} bytes, and bzip2's are {}", ours.len(), theirs.len());
    assert_eq!(ours.first_chunk::<4>(), theirs.first_chunk::<4>());
}

fn same_blocks_as_bzip2() -> Check {
    let mixed = [noise(150_000, 1), vec![0; 300_000], text(400_000), vec![b'x'; 777]].concat();
    for input in [&[][..], b"a", &noise(250_000, 2), &text(450_000), &mixed] {
        for at in [1, 2, 9] {
            let what = format!("{} bytes at level {at}", input.len());
            check_against_bzip2s(&bzip2(input, at), &encode_with_oracle(input, at), &what);
        }
    }
    // Rotations of equal bytes are equal, so the origin pointer may differ.
    let sevens = vec![7; 7_000_000];
    assert!(bzip2(&sevens, 9).len() <= encode_with_oracle(&sevens, 9).len() + 20);
    Ok(())
}

fn cut_at_the_limit() -> Check {
    const LIMIT: usize = 99_981;
    for before in LIMIT - 7..=LIMIT + 1 {
        for run in [1, 3, 4, 5, 255, 256, 260] {
            let mut input = noise(before, 3);
            input.extend(std::iter::repeat_n(!input[before - 1], run));
            input.extend(noise(40, 4));
            let file = bzip2(&input, 1);
            check_against_bzip2s(&file, &encode_with_oracle(&input, 1), &format!("a run of {run} after {before}"));
            assert!(decompress(&file[..]).bytes == input);
        }
    }
    // Two full blocks; one byte more needs a third.
    assert_eq!(Bits::of(&bzip2(&noise(2 * LIMIT, 5), 1)).find(BLOCK_MAGIC).len(), 2);
    assert_eq!(Bits::of(&bzip2(&noise(2 * LIMIT + 1, 5), 1)).find(BLOCK_MAGIC).len(), 3);
    // Runs of four bytes: 4/5 of the limit in input bytes fill a block.
    let fours: Vec<u8> = (0..LIMIT).map(|n| (n / 4) as u8).collect();
    check_against_bzip2s(&bzip2(&fours, 1), &encode_with_oracle(&fours, 1), "runs of four");
    Ok(())
}

fn threads_do_not_matter() -> Check {
    let input = [text(1_500_000), noise(1_000_000, 6), vec![0; 2_000_000]].concat();
    for format in [Format::Bzip2, Format::Gzip, Format::Zstd] {
        let file = compress_with(&input, format, 2, 1);
        for jobs in [2, 3, 7] {
            assert!(compress_with(&input, format, 2, jobs) == file, "{format} with {jobs}");
            let outcome = decompress_with(&file[..], &pool(jobs));
            assert!(outcome.error.is_none() && outcome.bytes == input, "{format} with {jobs}");
        }
    }
    Ok(())
}

fn any_input() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        (0..3000_usize, any::<u32>()).prop_map(|(len, seed)| noise(len, seed)),
        (any::<u8>(), prop_oneof![0..12_usize, 250..260_usize, 0..300_000_usize])
            .prop_map(|(byte, len)| vec![byte; len]),
        (0..40_000_usize).prop_map(text),
        prop::collection::vec(0_u8..2, 0..2000),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn round_trips() -> Check {
    let pool = pool(2);
    let formats = prop::sample::select(vec![Format::Bzip2, Format::Bzip2, Format::Gzip, Format::Zstd]);
    let inputs = (any_input(), formats, 1..=9_u8, any::<bool>(), prop::collection::vec(1..100_000_usize, 1..20));
    TestRunner::new(cases(60)).run(&inputs, |(input, format, at, checked, pieces)| {
        let compression = compression(format, at).checked(checked);
        let mut compressor = Compressor::new(Vec::new(), compression, &pool);
        let (mut rest, mut pieces) = (&input[..], pieces.iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(*pieces.next().unwrap()));
            compressor.write_all(now)?;
            rest = later;
        }
        let file = compressor.finish()?;
        let mut decompressor = Decompressor::new(ShortReader(&file, 1), &pool)?;
        prop_assert_eq!(decompressor.format(), Some(format));
        let (mut bytes, mut buffer) = (Vec::new(), vec![0; 50_000]);
        loop {
            let size = *pieces.next().unwrap() % buffer.len() + 1;
            match decompressor.read(&mut buffer[..size])? {
                0 => break,
                count => bytes.extend_from_slice(&buffer[..count]),
            }
        }
        prop_assert!(bytes == input);
        prop_assert_eq!(decompressor.compressed_bytes(), file.len() as u64);
        Ok(())
    })?;
    Ok(())
}

fn no_input() -> Check {
    assert_eq!(bzip2(&[], 9), b"BZh9\x17\x72\x45\x38\x50\x90\0\0\0\0");
    for format in [Format::Bzip2, Format::Gzip, Format::Zstd] {
        let outcome = decompress(&compress_with(&[], format, 9, 1)[..]);
        assert!(outcome.error.is_none() && outcome.bytes.is_empty() && outcome.garbage.is_none(), "{format}");
    }
    assert!(compress_with(b"as it is", Format::Plain, 9, 1) == b"as it is");
    Ok(())
}

fn dropped_is_not_finished() -> Check {
    for input in [vec![], text(1_000_000)] {
        let mut file = Vec::new();
        let mut compressor = Compressor::new(&mut file, compression(Format::Bzip2, 1), &pool(2));
        compressor.write_all(&input)?;
        drop(compressor);
        assert!(decompress(&file[..]).error.is_some());
        assert!(Bits::of(&file).find(END_MAGIC).is_empty());
    }
    Ok(())
}

fn failed_write_poisons() -> Check {
    /// A writer that is full once and then has room again.
    struct FullOnce(Vec<u8>, bool);
    impl Write for FullOnce {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.len() > 50_000 && !std::mem::replace(&mut self.1, true) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0.write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    impl WritePiece for FullOnce {}
    for format in [Format::Bzip2, Format::Gzip, Format::Zstd] {
        let mut compressor = Compressor::new(FullOnce(Vec::new(), false), compression(format, 1), &pool(1));
        let error = (0..60).find_map(|n| compressor.write_all(&noise(1_000_000, n)).err()).unwrap();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{format}");
        assert!(compressor.write(b"more").is_err());
        assert!(compressor.finish().is_err());
    }
    Ok(())
}

// ------------------------------------------------------------------ decompressing

/// Compares bytes and end with the oracle. The oracle also delivers the beginning of a damaged block, and it
/// takes trailing garbage for damage.
fn check_against_oracle(file: &[u8], pool: &Pool) -> Result<(), TestCaseError> {
    let ours = decompress_with(file, pool);
    let (bytes, complete) = oracle(file);
    prop_assert!(bytes.starts_with(&ours.bytes));
    if ours.garbage.is_some() {
        prop_assert!(!complete && ours.bytes == bytes);
    } else {
        prop_assert_eq!(ours.error.is_none(), complete, "{:?}", ours.error);
        prop_assert!(!complete || ours.bytes == bytes);
    }
    if ours.error.is_some() {
        prop_assert!(ours.damage().is_some());
    }
    Ok(())
}

fn decodes_as_the_oracle() -> Check {
    let pool = pool(2);
    // Small blocks of level 1, so that there are several block boundaries.
    let file = [bzip2(&[text(230_000), vec![0; 3_000_000]].concat(), 1), bzip2(b"a second stream", 5)].concat();
    // Every length near the ends of both streams.
    let second = file.len() - bzip2(b"a second stream", 5).len();
    for len in (4..40).chain(second - 30..second + 30).chain(file.len() - 30..file.len()) {
        check_against_oracle(&file[..len], &pool).map_err(|e| format!("cut to {len}: {e}"))?;
    }
    let damage = (any::<prop::sample::Index>(), any::<bool>(), 0..8_u8);
    TestRunner::new(cases(300)).run(&damage, |(at, cut, bit)| {
        let mut file = file.clone();
        let at = 4 + at.index(file.len() - 4);
        if cut {
            file.truncate(at);
        } else {
            file[at] ^= 1 << bit;
        }
        check_against_oracle(&file, &pool)
    })?;
    Ok(())
}

fn concatenated_streams() -> Check {
    let (empty, content) = (bzip2(&[], 3), [text(300_000), b"b".to_vec(), noise(950_000, 7)]);
    let file =
        [&empty[..], &empty, &bzip2(&content[0], 1), &bzip2(&content[1], 9), &empty, &bzip2(&content[2], 4), &empty]
            .concat();
    let outcome = decompress(&file[..]);
    assert!(outcome.error.is_none() && outcome.garbage.is_none());
    assert!(outcome.bytes == content.concat());
    Ok(())
}

fn trailing_garbage() -> Check {
    let input = text(250_000);
    for format in [Format::Bzip2, Format::Gzip, Format::Zstd] {
        let file = compress_with(&input, format, 1, 2);
        // Short, longer than any block, and with magics.
        for garbage in [
            b"\0".to_vec(),
            b"garbage".to_vec(),
            vec![0; 9_000_000],
            b"..1AY&SY....\x17\x72\x45\x38\x50\x90...".to_vec(),
        ] {
            let outcome = decompress(&[&file[..], &garbage].concat()[..]);
            assert!(outcome.error.is_none() && outcome.bytes == input, "{format}");
            // As gzip does.
            let ignored = format == Format::Gzip && garbage.iter().all(|byte| *byte == 0);
            assert_eq!(outcome.garbage, (!ignored).then_some(file.len() as u64), "{format}");
        }
        // A complete stream after garbage is garbage too.
        let outcome = decompress(&[&file[..], b"..", &file].concat()[..]);
        assert!(outcome.error.is_none() && outcome.bytes == input && outcome.garbage.is_some(), "{format}");
        // The possible beginning of another stream is not garbage.
        let begun = &file[..1];
        let outcome = decompress(&[&file[..], begun].concat()[..]);
        assert_eq!(outcome.fault(), Some(&Fault::EndsInHeader), "{format}");
        assert!(outcome.bytes == input);
    }
    Ok(())
}

fn damage_is_located() -> Check {
    let input = noise(1_000_000, 8);
    let file = bzip2(&input, 1);
    let magics = Bits::of(&file).find(BLOCK_MAGIC);
    assert_eq!(magics.len(), 11);
    for (n, magic) in magics.iter().enumerate() {
        // The checksum, and the middle of the block.
        let next = magics.get(n + 1).copied().unwrap_or(file.len() * 8 - 100);
        for at in [magic / 8 + 8, (magic + next) / 16] {
            let mut file = file.clone();
            file[at] ^= 0x10;
            let outcome = decompress(&file[..]);
            let damage = outcome.damage().unwrap();
            assert_eq!(*damage, Damage { offset: (magic / 8) as u64, what: Fault::Block }, "block {n}");
            assert!(outcome.bytes == input[..n * 99_981], "block {n}");
        }
        // In the magic itself: the block before it is valid.
        let mut file = file.clone();
        file[magic / 8 + 3] ^= 0x10;
        let outcome = decompress(&file[..]);
        assert_eq!(outcome.fault(), Some(&Fault::NoBlock), "block {n}");
        assert!(outcome.damage().unwrap().offset.abs_diff((magic / 8) as u64) <= 1, "block {n}");
        assert!(outcome.bytes == input[..n * 99_981], "block {n}");
    }
    Ok(())
}

fn cut_files() -> Check {
    let input = noise(250_000, 9);
    let file = bzip2(&input, 1);
    let (end, last) = (Bits::of(&file).find(END_MAGIC)[0], Bits::of(&file).find(BLOCK_MAGIC)[2]);
    let expect = |len: usize, delivered: usize, what: Fault| {
        let outcome = decompress(&file[..len]);
        assert_eq!(outcome.damage(), Some(&Damage { offset: len as u64, what }), "cut to {len}");
        assert_eq!(outcome.bytes.len(), delivered, "cut to {len}");
        assert!(input.starts_with(&outcome.bytes));
    };
    for len in end.div_ceil(8)..file.len() {
        expect(len, 250_000, Fault::EndsBeforeMagic);
    }
    for len in [end / 8 - 1, end / 8 - 1000, last / 8 + 20] {
        expect(len, 2 * 99_981, Fault::EndsInBlock);
    }
    for len in last.div_ceil(8)..last / 8 + 6 {
        expect(len, 2 * 99_981, Fault::EndsBeforeMagic);
    }
    expect(4, 0, Fault::EndsBeforeMagic);
    Ok(())
}

fn endless_block() -> Check {
    // Without its end symbol, the block extends over the end-of-stream magic to the end of the file. It is
    // damaged, not cut, because the magic follows.
    let mut block = block_of_symbols(&[5; 10]);
    let end_symbol = block.0.len() - 6;
    block.0[end_symbol] = false;
    let mut file = Bits::of(b"BZh9");
    file.0.extend(block.0);
    file.push(END_MAGIC, 48);
    file.push(0, 32);
    assert_eq!(decompress(&file.bytes()[..]).damage(), Some(&Damage { offset: 4, what: Fault::Block }));
    Ok(())
}

fn missing_block() -> Check {
    let file = Bits::of(&bzip2(&noise(250_000, 10), 1));
    let magics = file.find(BLOCK_MAGIC);
    let mut without = Bits(file.0[..magics[1]].to_vec());
    without.0.extend(&file.0[magics[2]..]);
    assert_eq!(decompress(&without.bytes()[..]).fault(), Some(&Fault::StreamChecksum));
    Ok(())
}

fn overlong_block() -> Check {
    // A code table of endless steps up and down, which are valid.
    let mut block = block_of_symbols(&[5]);
    block.0.truncate(48 + 32 + 25 + 80 + 3 + 15 + 1 + 5);
    for _ in 0..40_000_000 / 4 {
        block.push(0b1011, 4);
    }
    let mut file = Bits::of(b"BZh9");
    file.0.extend(block.0);
    let file = file.bytes();
    let outcome = decompress(&file[..]);
    assert_eq!(outcome.damage(), Some(&Damage { offset: 4, what: Fault::Block }));
    // No magic at all.
    let outcome = decompress((&b"BZh9"[..]).chain(io::repeat(0x55).take(1 << 40)));
    assert_eq!(outcome.damage(), Some(&Damage { offset: 4, what: Fault::NoBlock }));
    Ok(())
}

fn planted_magics() -> Check {
    let filler = |len: usize| (0..len).map(|n| (n * 7 % 60 + 2) as u8);
    // A block magic; an end-of-stream magic; nothing but magics; magics with room for a block between them.
    let one: Vec<u8> = filler(333).chain(symbols_of(BLOCK_MAGIC)).chain(filler(500)).collect();
    let end: Vec<u8> = filler(334).chain(symbols_of(END_MAGIC)).chain(filler(500)).collect();
    let dense: Vec<u8> = (0..50_000).flat_map(|_| symbols_of(BLOCK_MAGIC)).collect();
    let spaced: Vec<u8> = (0..400)
        .flat_map(|n| symbols_of(if n % 3 == 0 { END_MAGIC } else { BLOCK_MAGIC }).chain(filler(700 + n)))
        .collect();
    // A magic right before the end of the block, next to the true one.
    let last: Vec<u8> = filler(77).chain(symbols_of(BLOCK_MAGIC)).collect();
    for (name, symbols) in [("one", one), ("end", end), ("dense", dense), ("spaced", spaced), ("last", last)] {
        let block = block_of_symbols(&symbols);
        let planted = block.find(BLOCK_MAGIC).len() + block.find(END_MAGIC).len() - 1;
        assert!(planted > 0, "{name}");
        let (stream, content) = stream_around(&block, 9);
        let around = bzip2(&text(250_000), 1);
        let file = [&around[..], &stream, &stream, &around].concat();
        let outcome = decompress(&file[..]);
        assert!(outcome.error.is_none(), "{name}: {:?}", outcome.error);
        assert!(outcome.bytes == [&text(250_000)[..], &content, &content, &text(250_000)].concat(), "{name}");
        // A cut is still reported.
        let outcome = decompress(&file[..around.len() + stream.len() - 15]);
        assert!(outcome.error.is_some() && outcome.bytes == text(250_000), "{name}");
    }
    Ok(())
}

fn randomised_block() -> Check {
    // No neighbours differ only in their lowest bit, so flips make no runs.
    let input: Vec<u8> = (0..60_000_u32).map(|n| (n * 6 + (n >> 6) * 2) as u8).collect();
    let file = Bits::of(&bzip2(&input, 1));
    let mut block = Bits(file.0[32..file.find(END_MAGIC)[0]].to_vec());
    assert!(!block.0[80]);
    block.0[80] = true;
    let (stream, content) = stream_around(&block, 1);
    assert!(content != input && content.len() == input.len());
    let outcome = decompress(&stream[..]);
    assert!(outcome.error.is_none() && outcome.bytes == content);
    Ok(())
}

#[derive(Debug)]
struct Unplugged;

impl std::fmt::Display for Unplugged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("unplugged")
    }
}

impl std::error::Error for Unplugged {}

struct Failing;

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::new(io::ErrorKind::TimedOut, Unplugged))
    }
}

fn read_errors() -> Check {
    let input = noise(2_500_000, 12);
    for format in [Format::Bzip2, Format::Gzip, Format::Zstd, Format::Plain] {
        let mut input = input.clone();
        if format == Format::Plain {
            input[257..262].copy_from_slice(b"ustar");
        }
        let file = compress_with(&input, format, 1, 2);
        // At the beginning, between and within blocks, and at the end, where another stream could follow.
        for len in [0, 3, 9, 600, 100_000, file.len() / 2, file.len() - 1, file.len()] {
            let outcome = decompress(file[..len].chain(Failing));
            let error = outcome.error.unwrap();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{format} {len}: {error}");
            assert!(error.get_ref().unwrap().is::<Unplugged>());
            assert!(input.starts_with(&outcome.bytes));
            if format == Format::Bzip2 {
                let blocks = Bits::of(&file[..len]).find(BLOCK_MAGIC).len() + usize::from(len >= file.len() - 10);
                assert_eq!(outcome.bytes.len(), (99_981 * blocks.saturating_sub(1)).min(input.len()), "{len}");
            }
        }
    }
    Ok(())
}

fn refused() -> Check {
    let text = |file: &[u8]| decompress(file).damage().unwrap().to_string();
    assert_eq!(text(b""), "the file is empty");
    assert_eq!(text(b"no archive"), "the file is neither bzip2, gzip, zstd, xz nor tar");
    assert_eq!(
        text(b"BZh91AY&S_"),
        "damaged at byte 4: neither a block magic nor an end-of-stream magic where one must be"
    );
    Ok(())
}

fn member_damage() -> Check {
    let pool = pool(1);
    let input = [text(1_200_000), noise(4_000, 13)].concat();
    for format in [Format::Gzip, Format::Zstd] {
        let file = compress_with(&input, format, 3, 2);
        let cut = TestRunner::new(cases(100)).run(&any::<prop::sample::Index>(), |at| {
            let len = at.index(file.len() - 4) + 4;
            // The gzip file has two members, and a cut between them is not detectable.
            let outcome = decompress_with(&file[..len], &pool);
            prop_assert!(outcome.damage().is_some() || outcome.bytes.len() == 1 << 20);
            prop_assert!(input.starts_with(&outcome.bytes));
            if let Some(damage) = outcome.damage() {
                prop_assert_eq!(damage.offset, len as u64);
            }
            Ok(())
        });
        cut.map_err(|e| format!("{format}: {e}"))?;
        let flipped = TestRunner::new(cases(100)).run(&(any::<prop::sample::Index>(), 0..8_u8), |(at, bit)| {
            let mut file = file.clone();
            let at = at.index(file.len() - 20) + 20;
            file[at] ^= 1 << bit;
            let outcome = decompress_with(&file[..], &pool);
            // Headers have unused bytes; what is delivered without an error must be right.
            prop_assert!(outcome.error.is_some() || outcome.garbage.is_some() || outcome.bytes == input);
            Ok(())
        });
        flipped.map_err(|e| format!("{format}: {e}"))?;
    }
    Ok(())
}

/// Members that are decoded in parallel, as streams, and empty ones, in any order.
fn mixed_members() -> Check {
    for format in [Format::Gzip, Format::Zstd] {
        let parallel = compress_with(&[text(2_500_000), noise(9_000_000, 16)].concat(), format, 3, 2);
        let (short, empty) = (compress_with(b"a few bytes", format, 3, 1), compress_with(b"", format, 3, 1));
        let foreign = match format {
            Format::Gzip => {
                let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
                encoder.write_all(&text(3_000_000))?;
                encoder.finish()?
            }
            _ => zstd::stream::encode_all(&text(30_000_000)[..], 1)?,
        };
        let members = [&parallel, &short, &empty, &foreign];
        let strategy = prop::collection::vec(prop::sample::select(vec![0, 1, 2, 3]), 1..6);
        let contents = members.map(|member| decompress(&member[..]).bytes);
        TestRunner::new(cases(12))
            .run(&(strategy, 1..4_usize), |(order, jobs)| {
                let file: Vec<u8> = order.iter().flat_map(|at| members[*at].iter().copied()).collect();
                let outcome = decompress_with(&file[..], &pool(jobs));
                prop_assert!(outcome.error.is_none() && outcome.garbage.is_none(), "{:?}", outcome.error);
                prop_assert!(
                    outcome.bytes == order.iter().flat_map(|at| contents[*at].iter().copied()).collect::<Vec<u8>>()
                );
                Ok(())
            })
            .map_err(|e| format!("{format}: {e}"))?;
    }
    Ok(())
}

/// Files that are right, cut, damaged, or followed by others: both ways to read them agree on what is complete.
fn independent() -> Check {
    let read = |file: &[u8]| {
        let mut bytes = Vec::new();
        let mut decompressor = Decompressor::independent(file, tar_likeness)?;
        decompressor.read_to_end(&mut bytes)?;
        Ok::<_, io::Error>((bytes, decompressor.trailing_garbage()))
    };
    let input = [text(1_200_000), noise(300_000, 17)].concat();
    for format in [Format::Bzip2, Format::Gzip, Format::Zstd] {
        let file = compress_with(&input, format, 1, 2);
        let skippable = [&b"\x57\x2a\x4d\x18\x05\0\0\0abcde"[..], &file].concat();
        let (two, followed) = ([&file[..], &file].concat(), [&file[..], b"rest"].concat());
        assert!(read(&two).unwrap() == (input.repeat(2), None), "{format}");
        assert!(read(&followed).unwrap() == (input.clone(), Some(file.len() as u64)), "{format}");
        assert!(format != Format::Zstd || read(&skippable).unwrap() == (input.clone(), None));
        let changed = (any::<prop::sample::Index>(), 0..8_u8, any::<bool>());
        TestRunner::new(cases(30))
            .run(&changed, |(at, bit, is_cut)| {
                let mut file = file.clone();
                let at = at.index(file.len() - 20) + 20;
                if is_cut {
                    file.truncate(at);
                } else {
                    file[at] ^= 1 << bit;
                }
                let ours = decompress(&file[..]);
                match read(&file) {
                    Ok((bytes, _)) => prop_assert!(ours.error.is_none() && ours.bytes == bytes, "{:?}", ours.error),
                    // They return content before they have compared its checksum.
                    Err(_) => prop_assert!(ours.error.is_some()),
                }
                Ok(())
            })
            .map_err(|e| format!("{format}: {e}"))?;
    }
    assert!(read(b"neither").is_err());
    Ok(())
}

fn xz_streams() -> Check {
    // The content `to be or not to be`, by `xz -9`.
    const STREAM: &[u8] = b"\
        \xfd\x37\x7a\x58\x5a\x00\x00\x04\xe6\xd6\xb4\x46\x02\x00\x21\x01\x1c\x00\x00\x00\x10\xcf\x58\xcc\x01\
        \x00\x11\x74\x6f\x20\x62\x65\x20\x6f\x72\x20\x6e\x6f\x74\x20\x74\x6f\x20\x62\x65\x00\x00\x00\xc5\xbd\
        \x07\xeb\x9a\x3c\x57\xa5\x00\x01\x2a\x12\x4b\x08\x54\xbc\x1f\xb6\xf3\x7d\x01\x00\x00\x00\x00\x04\x59\
        \x5a";
    let content = &b"to be or not to be"[..];
    assert!(decompress(STREAM).error.is_none() && decompress(STREAM).bytes == content);
    // Streams are padded by groups of four zeros.
    let two = [STREAM, &[0; 4], STREAM].concat();
    assert!(decompress(&two[..]).error.is_none() && decompress(&two[..]).bytes == content.repeat(2));
    for length in 6..STREAM.len() {
        let outcome = decompress(&STREAM[..length]);
        assert!(outcome.damage().is_some(), "{length}");
    }
    for bit in 48..STREAM.len() * 8 {
        let mut damaged = STREAM.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let outcome = decompress(&damaged[..]);
        assert!(outcome.error.is_some() || outcome.bytes == content, "bit {bit}");
    }
    Ok(())
}

fn zeros_after_gzip() -> Check {
    let file = compress_with(b"content", Format::Gzip, 6, 1);
    for zeros in [1, 512, 10_000_000] {
        let mut padded = [&file[..], &vec![0; zeros]].concat();
        let outcome = decompress(&padded[..]);
        assert!(outcome.error.is_none() && outcome.garbage.is_none() && outcome.bytes == b"content", "{zeros}");
        padded.push(b'x');
        assert_eq!(decompress(&padded[..]).garbage, Some(file.len() as u64), "{zeros}");
    }
    Ok(())
}

fn too_large_windows() -> Check {
    // A frame that states a window of 4 TiB, after one that states none.
    let first = compress_with(b"content", Format::Zstd, 3, 1);
    let file = [&first[..], &[0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xff, 0x01, 0, 0, b'x']].concat();
    let outcome = decompress(&file[..]);
    assert_eq!(outcome.bytes, b"content");
    let damage = outcome.damage().unwrap();
    assert_eq!(damage.offset, first.len() as u64);
    assert!(matches!(damage.what, Fault::Window { needed: Some(_), limit } if limit >= 128 << 20), "{damage:?}");
    assert!(damage.to_string().starts_with("its decompression takes 3932160 MiB of memory, and at most "), "{damage}");
    Ok(())
}

fn progress() -> Check {
    let file = bzip2(&noise(1_000_000, 14), 1);
    let mut decompressor = Decompressor::new(&file[..], &pool(2))?;
    let (mut buffer, mut before) = (vec![0; 60_000], 0);
    while decompressor.read(&mut buffer)? > 0 {
        assert!(decompressor.compressed_bytes() >= before);
        before = decompressor.compressed_bytes();
    }
    assert_eq!(decompressor.compressed_bytes(), file.len() as u64);
    Ok(())
}

// ------------------------------------------------------------------ memory

const BOMBS: usize = 20;

/// Measures the peak memory in a separate process.
fn bombs() -> Check {
    let output = Command::new(std::env::current_exe()?).env("CODEC_BOMB", "1").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let peak: u64 = text.trim().parse().map_err(|e| format!("{text}: {e}"))?;
    // Six blocks in flight of four megabytes each; a single bomb decompresses to 46 MB.
    if peak > 80_000 { Err(format!("{peak} kB at its peak").into()) } else { Ok(()) }
}

/// A reader that repeats the same bytes.
struct Repeat {
    bytes: Vec<u8>,
    at: usize,
    times: usize,
}

impl Read for Repeat {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.bytes.len() && self.times > 1 {
            (self.at, self.times) = (0, self.times - 1);
        }
        let count = (&self.bytes[self.at..]).read(out)?;
        self.at += count;
        Ok(count)
    }
}

fn bomb() -> ExitCode {
    // The largest content of one block, in the smallest file.
    let zeros = 899_980 / 5 * 255;
    let pool = pool(2);
    let mut compressor = Compressor::new(Vec::new(), compression(Format::Bzip2, 9), &pool);
    for _ in 0..BOMBS {
        io::copy(&mut io::repeat(0).take(zeros as u64), &mut compressor).unwrap();
    }
    let file = compressor.finish().unwrap();
    let mut decompressor = Decompressor::new(&file[..], &pool).unwrap();
    let length = io::copy(&mut decompressor, &mut io::sink()).unwrap();
    assert_eq!(length, (BOMBS * zeros) as u64);
    // A file much larger than what the decoder may buffer.
    let empty = b"BZh9\x17\x72\x45\x38\x50\x90\0\0\0\0".repeat(5000);
    let mut decompressor = Decompressor::new(Repeat { bytes: empty, at: 0, times: 1500 }, &pool).unwrap();
    assert_eq!(io::copy(&mut decompressor, &mut io::sink()).unwrap(), 0);
    assert_eq!(decompressor.compressed_bytes(), 1500 * 5000 * 14);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    println!("{}", peak.trim().trim_end_matches(" kB"));
    ExitCode::SUCCESS
}

// ------------------------------------------------------------------ tools

/// Feeds `input` to a command and returns its output; fails with its error output.
fn run(command: &[&str], input: &[u8]) -> Result<Vec<u8>, Failed> {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let feeder = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output()?;
    // A command that fails stops reading. Its error output is more useful than our broken pipe.
    feeder.join().unwrap().ok();
    if output.status.success() {
        Ok(output.stdout)
    } else {
        Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)).into())
    }
}

const PYTHON: [&str; 2] =
    ["-c", "import bz2, sys; sys.stdout.buffer.write(getattr(bz2, sys.argv[1])(sys.stdin.buffer.read()))"];

fn tool_trials() -> Vec<Trial> {
    let reads: [(&str, Format, Vec<&'static str>); 9] = [
        ("bzip2", Format::Bzip2, vec!["bzip2", "-dc"]),
        ("lbzip2", Format::Bzip2, vec!["lbzip2", "-dc"]),
        ("pbzip2", Format::Bzip2, vec!["pbzip2", "-dc"]),
        ("python3", Format::Bzip2, vec!["python3", PYTHON[0], PYTHON[1], "decompress"]),
        ("gzip", Format::Gzip, vec!["gzip", "-dc"]),
        ("pigz", Format::Gzip, vec!["pigz", "-dc"]),
        ("busybox", Format::Gzip, vec!["busybox", "gunzip", "-c"]),
        ("igzip", Format::Gzip, vec!["igzip", "-dc"]),
        ("zstd", Format::Zstd, vec!["zstd", "-dc"]),
    ];
    let writes: [(&str, Option<Format>, Vec<&'static str>); 12] = [
        ("bzip2", Some(Format::Bzip2), vec!["bzip2", "-9c"]),
        ("lbzip2", Some(Format::Bzip2), vec!["lbzip2", "-1c"]),
        ("pbzip2", Some(Format::Bzip2), vec!["pbzip2", "-c", "-1"]),
        ("python3", Some(Format::Bzip2), vec!["python3", PYTHON[0], PYTHON[1], "compress"]),
        ("gzip", Some(Format::Gzip), vec!["gzip", "-c"]),
        ("zstd", Some(Format::Zstd), vec!["zstd", "-c"]),
        ("zstd_--long=27", Some(Format::Zstd), vec!["zstd", "-c", "--long=27"]),
        ("zstd_--long=31", Some(Format::Zstd), vec!["zstd", "-c", "--long=31"]),
        ("pigz", Some(Format::Gzip), vec!["pigz", "-c"]),
        ("xz", None, vec!["xz", "-c", "-1"]),
        ("xz_of_many_blocks", None, vec!["xz", "-c", "-1", "-T2", "--block-size=1MiB", "--check=sha256"]),
        ("xz_with_a_filter", None, vec!["xz", "-c", "--x86", "--lzma2=preset=0"]),
    ];
    let mut trials = Vec::new();
    for (tool, format, command) in reads {
        trials.push(with_tool(tool, format!("{tool}_reads_ours"), move || {
            for input in [vec![], b"x".to_vec(), [text(1_300_000), vec![0; 9_000_000], noise(1_000_000, 15)].concat()] {
                for at in [1, 9] {
                    if run(&command, &compress_with(&input, format, at, 2))? != input {
                        return Err(format!("{} bytes at level {at} came back changed", input.len()).into());
                    }
                }
            }
            Ok(())
        }));
    }
    for (name, format, command) in writes {
        let tool = command[0];
        trials.push(with_tool(tool, format!("we_read_what_{name}_writes"), move || {
            for input in [vec![], b"x".to_vec(), [text(1_300_000), vec![0; 9_000_000], noise(1_000_000, 15)].concat()] {
                let file = run(&command, &input)?;
                assert_eq!(Format::detect(&file, tar_likeness), format);
                let outcome = decompress(&file[..]);
                if let Some(error) = outcome.error {
                    return Err(format!("{} bytes: {error}", input.len()).into());
                }
                assert!(outcome.bytes == input && outcome.garbage.is_none());
            }
            Ok(())
        }));
    }
    trials.push(with_tool("bzip2", "bzip2_writes_the_same_blocks", || {
        let input = [text(1_300_000), vec![0; 9_000_000], noise(1_000_000, 15)].concat();
        for (level, at) in [("-9c", 9), ("-3c", 3)] {
            check_against_bzip2s(&bzip2(&input, at), &run(&["bzip2", level], &input)?, level);
        }
        Ok(())
    }));
    for tool in ["bzip2", "lbzip2", "pbzip2"] {
        trials.push(with_tool(tool, format!("{tool}_-t_accepts_ours"), move || {
            run(&[tool, "-t"], &bzip2(&[text(2_300_000), vec![0; 9_000_000]].concat(), 9)).map(drop)
        }));
    }
    trials
}
