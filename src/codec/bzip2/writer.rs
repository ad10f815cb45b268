//! Writing of a bzip2 stream. The input is cut into blocks, which are encoded in parallel, and their bits are spliced
//! in order.

use std::io;
use std::mem;

use super::bits::BitString;
use super::block::{self, Encoded};
use super::block_size::BlockSize;
use super::crc;
use super::rle::Cutter;
use crate::codec::format::{Compression, NotReadBack};
use crate::ordered::{Ordered, Pool};
use crate::pieces::WritePiece;

/// Writes one stream.
pub(in crate::codec) struct Writer {
    cutter: Cutter,
    block_size: BlockSize,
    checked: bool,
    encoding: Ordered<Result<Encoded, NotReadBack>>,
    /// The bits of the stream that are not yet written.
    stream: BitString,
    /// The checksum of the stream up to the last spliced block.
    crc: u32,
}

impl Writer {
    pub(in crate::codec) fn new(compression: Compression, pool: &Pool) -> Self {
        let block_size = BlockSize::of_level(compression.level());
        let mut stream = BitString::default();
        stream.begin_stream(block_size);
        Self {
            cutter: Cutter::new(block_size),
            block_size,
            checked: compression.is_checked(),
            encoding: Ordered::new(pool),
            stream,
            crc: 0,
        }
    }

    pub(in crate::codec) fn write(&mut self, mut input: &[u8], to: &mut impl WritePiece) -> io::Result<()> {
        loop {
            let taken = self.cutter.push(input);
            input = input.get(taken..).unwrap_or_default();
            if input.is_empty() {
                return Ok(());
            }
            self.end_block(to)?;
        }
    }

    fn end_block(&mut self, to: &mut impl WritePiece) -> io::Result<()> {
        let Some(block) = self.cutter.take() else { return Ok(()) };
        if !self.encoding.has_room() {
            self.splice_oldest(to)?;
        }
        let (block_size, checked) = (self.block_size, self.checked);
        self.encoding.submit(move || {
            let encoded = block::encode(&block);
            if checked && !encoded.can_be_read_back(block_size) { Err(NotReadBack) } else { Ok(encoded) }
        });
        Ok(())
    }

    /// Splices and writes the oldest block in flight. Returns false if there is none.
    fn splice_oldest(&mut self, to: &mut impl WritePiece) -> io::Result<bool> {
        let Some(block) = self.encoding.take() else { return Ok(false) };
        let block = block.map_err(io::Error::other)?;
        self.crc = crc::combine(self.crc, block.crc);
        block.append_to(&mut self.stream);
        to.write_piece(self.stream.take_bytes())?;
        Ok(true)
    }

    pub(in crate::codec) fn finish(&mut self, to: &mut impl WritePiece) -> io::Result<()> {
        self.end_block(to)?;
        while self.splice_oldest(to)? {}
        let mut stream = mem::take(&mut self.stream);
        stream.end_stream(self.crc);
        to.write_piece(stream.into_bytes())
    }
}
