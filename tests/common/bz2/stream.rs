//! Streams, and files of several.

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
    /// Another checksum than the right one.
    pub checksum: Option<u32>,
    /// What the last byte is filled up with.
    pub padding: bool,
}

impl Stream {
    /// A stream of blocks.
    pub fn of<'a>(level: u8, blocks: impl IntoIterator<Item = &'a Block>) -> Self {
        Self::of_bits(level, blocks.into_iter().map(Block::bits).collect())
    }

    /// A stream of blocks that are bits already.
    pub fn of_bits(level: u8, blocks: Vec<Bits>) -> Self {
        Self { digit: b'0' + level, blocks, checksum: None, padding: false }
    }

    /// Where its magic begins: that of block `n`, or behind the last one the magic of the end. In bits.
    pub fn magic_offset(&self, n: usize) -> usize {
        32 + self.blocks[..n].iter().map(Bits::len).sum::<usize>()
    }

    /// The same, as damage is told: the byte in which it begins.
    pub fn byte_of_magic(&self, n: usize) -> u64 {
        (self.magic_offset(n) / 8) as u64
    }

    /// All of it, filled up to a whole byte.
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

    /// The same in bytes.
    pub fn bytes(&self) -> Vec<u8> {
        self.bits().bytes()
    }
}

/// An ordinary file: one stream of one block.
pub fn ordinary(content: &[u8]) -> Vec<u8> {
    Stream::of(9, [&Block::of(content)]).bytes()
}
