//! The codec under test, through its public interface.

use std::io::{self, Read, Write as _};
use std::sync::LazyLock;

use voltar::codec::{Compression, Compressor, Damage, Decompressor, Fault, Format, Level};
use voltar::ordered::Pool;

/// Pools of one worker and of several.
pub static POOLS: LazyLock<[Pool; 2]> = LazyLock::new(|| [1, 3].map(|jobs| Pool::new(jobs).unwrap()));

/// The delivered bytes, and how the file ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// All delivered bytes.
    pub bytes: Vec<u8>,
    /// How the file ends.
    pub end: End,
}

/// How a file ends, according to the codec.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With a complete stream.
    Complete,
    /// With bytes that belong to no stream, from this offset on.
    Garbage(usize),
    /// With an error.
    Damaged(Damage),
}

impl End {
    /// Returns the end of a file with damage at `offset`.
    pub fn damaged(offset: usize, what: Fault) -> Self {
        Self::Damaged(Damage { offset: offset as u64, what })
    }
}

/// Decompresses a file with reads of these sizes, repeated.
pub fn decompress(file: &[u8], pool: &Pool, sizes: &[usize]) -> Outcome {
    from_reader(file, file.len(), pool, sizes)
}

/// Decompresses the `length` bytes that a reader returns.
pub fn from_reader(file: impl Read, length: usize, pool: &Pool, sizes: &[usize]) -> Outcome {
    let mut bytes = Vec::new();
    let mut decompressor = match Decompressor::new(file, pool) {
        Ok(decompressor) => decompressor,
        Err(error) => return Outcome { bytes, end: End::Damaged(damage(&error)) },
    };
    let mut buffer = vec![0; sizes.iter().copied().max().unwrap()];
    let mut before = 0;
    for &size in sizes.iter().cycle() {
        let read = decompressor.read(&mut buffer[..size]);
        let compressed = decompressor.compressed_bytes() as usize;
        assert!(before <= compressed && compressed <= length, "{compressed} of {length} bytes, after {before}");
        before = compressed;
        match read {
            Ok(0) if size > 0 => break,
            Ok(count) => bytes.extend_from_slice(&buffer[..count]),
            Err(error) => {
                assert!(decompressor.read(&mut [0]).is_err(), "an end after an error");
                return Outcome { bytes, end: End::Damaged(damage(&error)) };
            }
        }
    }
    assert_eq!(decompressor.read(&mut [0]).unwrap(), 0, "something after the end");
    let garbage = decompressor.trailing_garbage().map(|at| at as usize);
    assert_eq!(before, garbage.unwrap_or(length));
    Outcome { bytes, end: garbage.map_or(End::Complete, End::Garbage) }
}

/// Returns the damage that an error reports. In memory there are no other errors.
fn damage(error: &io::Error) -> Damage {
    assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{error}");
    error.get_ref().and_then(|inner| inner.downcast_ref::<Damage>()).unwrap_or_else(|| panic!("{error}")).clone()
}

/// Compresses `content`, written in pieces of these sizes.
pub fn compress(content: &[u8], level: u8, pool: &Pool, sizes: &[usize]) -> Vec<u8> {
    let mut compressor = Compressor::new(Vec::new(), Compression::new(Format::Bzip2, Level::new(level)).unwrap(), pool);
    let mut rest = content;
    for &size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, later) = rest.split_at(size.clamp(1, rest.len()));
        compressor.write_all(piece).unwrap();
        rest = later;
    }
    compressor.finish().unwrap()
}

/// A reader that returns its bytes in pieces of these sizes.
pub struct Pieces<'a> {
    bytes: &'a [u8],
    sizes: std::iter::Cycle<std::slice::Iter<'a, usize>>,
}

impl<'a> Pieces<'a> {
    /// Creates a reader. No size may be zero, which would mean the end.
    pub fn new(bytes: &'a [u8], sizes: &'a [usize]) -> Self {
        Self { bytes, sizes: sizes.iter().cycle() }
    }
}

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let size = self.sizes.next().copied().unwrap_or(1).min(out.len());
        self.bytes.read(&mut out[..size])
    }
}
