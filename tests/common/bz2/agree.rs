//! Compares three decoders that share no code: the codec under test, the reader of this module, and the `bzip2`
//! crate.

use voltar::codec::Fault;
use voltar::ordered::Pool;

use super::bits::Bits;
use super::choices::Choices;
use super::ours::{self, POOLS};
use super::reader::{self, Refusal};
use super::{BLOCK_MAGIC, END_MAGIC, GROUP, MAX_CODE_LENGTH, any, block_limit, inputs, oracle, planted};

/// Files with a larger content take too long.
const MAX_CONTENT: usize = 8 << 20;

/// Fails unless all decoders agree on the file. Files with more than `MAX_CONTENT` bytes of content are skipped.
pub fn on(file: &[u8]) {
    on_with(file, POOLS.iter());
}

/// Fails unless all decoders agree on the file; runs the codec under test on these pools only.
pub fn on_with<'a>(file: &[u8], pools: impl IntoIterator<Item = &'a Pool>) {
    // The crate goes first, because it stops at the limit.
    let Some(theirs) = oracle::decompress(file, MAX_CONTENT) else { return };
    let truth = reader::read(file);
    match (&truth.end, theirs.end) {
        (reader::End::Complete, oracle::End::Complete) => {
            assert!(theirs.bytes == truth.bytes, "the crate reads other bytes");
        }
        (reader::End::Garbage(here), oracle::End::Garbage(there)) => {
            assert_eq!(*here, there, "the crate sees other garbage");
            assert!(theirs.bytes == truth.bytes, "the crate reads other bytes");
        }
        // The crate delivers the beginning of a damaged block.
        (reader::End::Refused(..), oracle::End::Refused) => {
            assert!(theirs.bytes.starts_with(&truth.bytes), "the crate reads other bytes before the damage");
        }
        (truth, theirs) => panic!("the reader says {truth:?}, the crate {theirs:?}"),
    }
    for pool in pools {
        let ours = ours::decompress(file, pool, &[1 << 16]);
        assert!(ours.bytes == truth.bytes, "we read other bytes with {} workers: {:?}", pool.jobs(), ours.end);
        assert!(same_end(file, &truth.end, &ours.end), "the reader says {:?}, we say {:?}", truth.end, ours.end);
    }
}

/// Returns whether the codec under test reports the same end of the file as the reader.
fn same_end(file: &[u8], truth: &reader::End, ours: &ours::End) -> bool {
    let (at, refusal) = match *truth {
        reader::End::Complete => return *ours == ours::End::Complete,
        reader::End::Garbage(at) => return *ours == ours::End::Garbage(at),
        reader::End::Refused(at, refusal) => (at, refusal),
    };
    let damaged = |what| ours::End::damaged(at / 8, what);
    let cut = |what| ours::End::damaged(file.len(), what);
    match refusal {
        Refusal::NoHeader => *ours == damaged(if file.is_empty() { Fault::Empty } else { Fault::Unknown }),
        Refusal::Cut => *ours == cut(Fault::EndsInHeader) || *ours == cut(Fault::EndsBeforeMagic),
        Refusal::NoMagic => *ours == damaged(Fault::NoBlock),
        Refusal::StreamChecksum => *ours == damaged(Fault::StreamChecksum),
        // A block that is both invalid and cut may be reported as either. If a magic follows, the file is not cut
        // within this block.
        Refusal::CutBlock | Refusal::Block(_) => {
            *ours == damaged(Fault::Block) || (*ours == cut(Fault::EndsInBlock) && !magic_after(file, at))
        }
    }
}

/// Returns whether a magic begins after the bit `at`.
fn magic_after(file: &[u8], at: usize) -> bool {
    let bits = Bits::of(&file[at / 8..]);
    let magics = [bits.find(BLOCK_MAGIC), bits.find(END_MAGIC)].concat();
    magics.into_iter().any(|magic| magic > at % 8)
}

/// Checks a bzip2 file, or the file that other bytes generate.
pub fn on_choices(bytes: &[u8]) {
    match bytes {
        [b'B', b'Z', b'h', ..] => on(bytes),
        _ => on(&any::file(&mut Choices::new(bytes))),
    }
}

/// Checks the file that the bytes generate, with magics inside the data of its blocks.
pub fn on_planted(bytes: &[u8]) {
    on(&planted::any_file(&mut Choices::new(bytes)));
}

/// Checks a round trip of the content that the bytes generate, at a generated level.
pub fn on_round_trip(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    // Mostly small contents, which are fast; sometimes more than a block.
    let most = choices.of(&[300, 300, 2_000, 2_000, 2_000, 10_000, 10_000, 130_000]);
    // Mostly small blocks, so that there are more of them.
    let level = choices.of(&[1, 1, 1, 2, 3, 9]);
    on_content(&inputs::by_instruction(&mut choices, most), level);
}

/// Checks that a content compresses to the same file however it is written and with any number of workers, that
/// the file is plain, and that all decoders return the content.
pub fn on_content(content: &[u8], level: u8) {
    let [one, three] = &*POOLS;
    let file = ours::compress(content, level, one, &[content.len()]);
    assert!(ours::compress(content, level, three, &[1, 70_000, 13]) == file, "the file depends on how it is written");
    let reading = reader::read(&file);
    assert_eq!(reading.end, reader::End::Complete);
    assert!(reading.bytes == content, "the reader reads other bytes");
    plain(&reading);
    let theirs = oracle::decompress(&file, usize::MAX).unwrap();
    assert!(
        theirs == oracle::OracleOutcome { bytes: reading.bytes, end: oracle::End::Complete },
        "the crate reads other bytes"
    );
    for pool in [one, three] {
        let ours = ours::decompress(&file, pool, &[1 << 16]);
        assert!(ours == ours::Outcome { bytes: theirs.bytes.clone(), end: ours::End::Complete }, "we read other bytes");
    }
}

/// Checks that a file uses only what bzip2 itself writes. Some readers require complete codes, no unused
/// selectors, and maps without unused values.
fn plain(file: &reader::Reading) {
    for (level, block) in &file.blocks {
        assert!(!block.randomised);
        assert!(block.column.len() <= block_limit(*level) - 15, "{} bytes", block.column.len());
        let mut occur = block.column.clone();
        occur.sort_unstable();
        occur.dedup();
        assert_eq!(block.values, occur);
        // The end symbol counts too.
        assert_eq!(block.selectors.len(), (block.symbols.len() + 1).div_ceil(GROUP));
        for lengths in &block.tables {
            let codewords: u64 = lengths.iter().map(|&length| 1 << (MAX_CODE_LENGTH - length)).sum();
            assert_eq!(codewords, 1 << MAX_CODE_LENGTH, "an oversubscribed or incomplete code: {lengths:?}");
        }
    }
}
