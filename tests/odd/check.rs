//! The checks of each odd file.

use voltar::codec::Damage;
use voltar::ordered::Pool;

use crate::common::bz2::ours::{self, End, Outcome, POOLS, Pieces};
use crate::common::bz2::stream::ordinary;
use crate::common::bz2::{oracle, reader};
use crate::file::Odd;

/// Larger files and contents are read in large pieces only.
const LARGE: usize = 100_000;

/// Checks all variants of a file with all decoders.
pub fn odd(odd: &Odd) {
    for (n, (file, expected)) in odd.variants.iter().enumerate() {
        let context = format!("variant {n}");
        we_read_it(file, expected, &context);
        others_read_it(file, expected, odd.refused_by_us_alone, &context);
    }
}

/// Decodes the file with the codec under test, in different pieces and with different numbers of workers.
fn we_read_it(file: &[u8], expected: &Outcome, context: &str) {
    let large = expected.bytes.len() > LARGE || file.len() > LARGE;
    for pool in POOLS.iter() {
        same(&ours::decompress(file, pool, &[1 << 16]), expected, pool, context);
        if !large {
            let sizes: [&[usize]; 3] = [&[1], &[0, 7, 0, 0, 1000, 1], &[1 << 20]];
            for sizes in sizes {
                same(&ours::decompress(file, pool, sizes), expected, pool, &format!("{context}, reads of {sizes:?}"));
                let sizes: Vec<usize> = sizes.iter().copied().filter(|&size| size > 0).collect();
                let pieces = ours::from_reader(Pieces::new(file, &sizes), file.len(), pool, &[999]);
                same(&pieces, expected, pool, &format!("{context}, in pieces of {sizes:?}"));
            }
        }
        // The file between two other streams.
        let (before, after) = (ordinary(b"the stream before it"), ordinary(b"the stream after it"));
        let outcome = ours::decompress(&[&before, file, &after].concat(), pool, &[1 << 16]);
        if let Some(expected) = among_others(expected, before.len()) {
            same(&outcome, &expected, pool, &format!("{context}, among others"));
        }
    }
}

/// Returns the expected outcome of a file between two other streams; `None` for a cut file, where it depends on
/// the bytes that follow.
fn among_others(alone: &Outcome, before: usize) -> Option<Outcome> {
    let (mut bytes, mut after) = (b"the stream before it".to_vec(), Vec::new());
    bytes.extend_from_slice(&alone.bytes);
    let end = match &alone.end {
        End::Complete => {
            after.extend_from_slice(b"the stream after it");
            End::Complete
        }
        End::Garbage(at) => End::Garbage(at + before),
        End::Damaged(damage) if is_cut(damage) => return None,
        End::Damaged(damage) => End::damaged(damage.offset as usize + before, damage.what.clone()),
    };
    bytes.extend(after);
    Some(Outcome { bytes, end })
}

fn is_cut(damage: &Damage) -> bool {
    use voltar::codec::Fault;
    !matches!(damage.what, Fault::Block | Fault::NoBlock | Fault::StreamChecksum)
}

#[track_caller]
fn same(outcome: &Outcome, expected: &Outcome, pool: &Pool, context: &str) {
    let workers = pool.jobs();
    assert_eq!(outcome.end, expected.end, "{context}, {workers} workers");
    let (length, due) = (outcome.bytes.len(), expected.bytes.len());
    assert!(outcome.bytes == expected.bytes, "{context}, {workers} workers: {length} bytes, not the expected {due}");
}

/// Decodes the file with the reader of these tests and with the `bzip2` crate.
fn others_read_it(file: &[u8], expected: &Outcome, refused_by_us_alone: bool, context: &str) {
    let (reading, theirs) = (reader::read(file), oracle::decompress(file, usize::MAX).unwrap());
    if refused_by_us_alone {
        assert_eq!((reading.end, theirs.end), (reader::End::Complete, oracle::End::Complete), "{context}");
        assert!(theirs.bytes == reading.bytes && reading.bytes.starts_with(&expected.bytes), "{context}");
        return;
    }
    assert!(reading.bytes == expected.bytes, "{context}: {:?}", reading.end);
    match &expected.end {
        End::Complete => {
            assert_eq!((reading.end, theirs.end), (reader::End::Complete, oracle::End::Complete), "{context}");
        }
        End::Garbage(at) => {
            assert_eq!((reading.end, theirs.end), (reader::End::Garbage(*at), oracle::End::Garbage(*at)), "{context}");
        }
        End::Damaged(damage) => {
            let reader::End::Refused(at, _) = reading.end else { panic!("{context}: the reader accepts it") };
            assert_eq!(theirs.end, oracle::End::Refused, "{context}");
            // For a cut file, the reader reports where the incomplete part begins.
            assert!(is_cut(damage) || damage.offset == at as u64 / 8, "{context}: the reader stops at bit {at}");
            // The crate delivers the beginning of a damaged block.
            assert!(theirs.bytes.starts_with(&expected.bytes), "{context}");
            return;
        }
    }
    assert!(theirs.bytes == expected.bytes, "{context}: the crate reads other bytes");
}
