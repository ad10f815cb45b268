//! Streams, and files of one or more streams.

use super::bits::Bits;
use super::block::Block;
use super::{END_MAGIC, MAGIC_BITS, checksum};

/// A stream to be written.
#[derive(Debug, Clone)]
pub struct Stream {
    /// The last character of the header, which is the level.
    pub digit: u8,
    /// The blocks, each from its magic on.
    pub blocks: Vec<Bits>,
    /// The stored checksum; the right one if `None`.
    pub checksum: Option<u32>,
    /// The bit that pads the last byte.
    pub padding: bool,
}

impl Stream {
    /// Creates a stream of blocks.
    pub fn of<'a>(level: u8, blocks: impl IntoIterator<Item = &'a Block>) -> Self {
        Self::of_bits(level, blocks.into_iter().map(Block::bits).collect())
    }

    /// Creates a stream of blocks that are given as bits.
    pub fn of_bits(level: u8, blocks: Vec<Bits>) -> Self {
        Self { digit: b'0' + level, blocks, checksum: None, padding: false }
    }

    /// Returns the bit offset of the magic of block `n`, or of the end-of-stream magic after the last block.
    pub fn magic_offset(&self, n: usize) -> usize {
        32 + self.blocks[..n].iter().map(Bits::len).sum::<usize>()
    }

    /// Returns the bits of the stream, padded to a byte boundary.
    pub fn bits(&self) -> Bits {
        let mut bits = Bits::of(&[b'B', b'Z', b'h', self.digit]);
        for block in &self.blocks {
            bits.append(block);
        }
        let checksums = self.blocks.iter().map(|block| block.value(MAGIC_BITS, 32) as u32);
        bits.push(END_MAGIC, MAGIC_BITS);
        bits.push(self.checksum.unwrap_or_else(|| checksum::of_stream(checksums)).into(), 32);
        bits.pad(self.padding);
        bits
    }

    /// Returns the stream as bytes.
    pub fn bytes(&self) -> Vec<u8> {
        self.bits().bytes()
    }
}

/// Returns a file of one stream of one block.
pub fn ordinary(content: &[u8]) -> Vec<u8> {
    Stream::of(9, [&Block::of(content)]).bytes()
}
