//! Parallel reading of any bzip2 file, including files of a single stream.
//!
//! A block can begin at any bit, and the format does not record where it ends. But it begins with a block magic of 48
//! bits, and the last block of a stream is followed by an end-of-stream magic. The [`Finder`] proposes a candidate from
//! each magic to the next one, and workers decode the candidates speculatively. Then this module processes the
//! candidates in order and confirms them. After each block there must be a magic. If it is a block magic, its candidate
//! must be a block up to its last bit, with the right checksum. Otherwise there is a magic inside the block, or the
//! file is damaged. The block is then decoded here, from its first bit on, and reading continues after its end.
//! Candidates that begin inside the block are dropped. So a false candidate costs time and never correctness.

use std::collections::VecDeque;
use std::io::{self, Read};

use super::bits::{self, Magic};
use super::block::{self, Beginning, Decoded, NotABlock};
use super::block_size::BlockSize;
use super::crc;
use super::finder::{Candidate, Finder};
use crate::codec::format::{Damage, Fault};
use crate::codec::source::Source;
use crate::ordered::{Ordered, Pool};

/// Reads the content of a bzip2 file.
pub(in crate::codec) struct Reader<R> {
    finder: Finder<R>,
    /// The candidates in order, and whether each was submitted to `decoding`.
    candidates: VecDeque<(Candidate, bool)>,
    decoding: Ordered<Result<Decoded, NotABlock>>,
    /// The bit up to which everything is confirmed.
    at: u64,
    block_size: BlockSize,
    /// The checksum of the stream up to `at`.
    crc: u32,
    /// The block that is being read.
    current: Option<Decoded>,
    /// Whether the end of the last stream was reached.
    done: bool,
    garbage: Option<u64>,
}

impl<R: Read> Reader<R> {
    /// Returns a reader of `source`, which begins with a stream header of this block size.
    pub(in crate::codec) fn new(source: Source<R>, block_size: BlockSize, pool: &Pool) -> Self {
        Self {
            finder: Finder::new(source, block_size),
            candidates: VecDeque::new(),
            decoding: Ordered::new(pool),
            at: block::HEADER_BYTES as u64 * 8,
            block_size,
            crc: 0,
            current: None,
            done: false,
            garbage: None,
        }
    }

    pub(in crate::codec) fn compressed_bytes(&self) -> u64 {
        self.at.div_ceil(8)
    }

    pub(in crate::codec) fn trailing_garbage(&self) -> Option<u64> {
        self.garbage
    }

    /// Reads the next bytes of the content into `out`, which is not empty. Returns 0 at the end of the last stream.
    pub(in crate::codec) fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while !self.done {
            if let Some(current) = &mut self.current {
                let count = current.read(out);
                if count > 0 {
                    return Ok(count);
                }
            }
            self.current = self.next_block()?;
            self.done = self.current.is_none();
        }
        Ok(0)
    }

    /// Advances to the next block and returns it. Returns `None` at the end of the last stream.
    fn next_block(&mut self) -> io::Result<Option<Decoded>> {
        loop {
            self.read_ahead();
            let Some((candidate, submitted)) = self.candidates.pop_front() else { return Err(self.no_magic()) };
            let decoded = if submitted { self.decoding.take() } else { None };
            if candidate.start < self.at {
                continue;
            }
            if candidate.start > self.at {
                return Err(self.no_magic());
            }
            match candidate.magic {
                Magic::Block => {
                    let decoded = match decoded {
                        Some(Ok(decoded)) if candidate.block_size == self.block_size => {
                            self.at = candidate.end;
                            decoded
                        }
                        _ => self.decode_here()?,
                    };
                    self.crc = crc::combine(self.crc, decoded.crc);
                    self.release();
                    return Ok(Some(decoded));
                }
                Magic::End => {
                    if !self.end_stream()? {
                        return Ok(None);
                    }
                    self.release();
                }
            }
        }
    }

    /// Submits candidates until the queue is full.
    fn read_ahead(&mut self) {
        while self.decoding.has_room() && self.candidates.len() < self.decoding.window() {
            let Some(candidate) = self.finder.next() else { return };
            let submit = candidate.may_be_block();
            if submit {
                let (bytes, from) = self.window_from(candidate.start);
                let to = from + (candidate.end - candidate.start) as usize;
                let bytes = bytes.get(..to.div_ceil(8)).unwrap_or_default().to_vec();
                let block_size = candidate.block_size;
                self.decoding.submit(move || block::decode(&bytes, from, to, block_size));
            }
            self.candidates.push_back((candidate, submit));
        }
    }

    /// Decodes the block at `self.at` on this thread, and finds its end.
    fn decode_here(&mut self) -> io::Result<Decoded> {
        self.finder.set_block_size(self.block_size);
        // One byte more, because a block can begin within a byte.
        self.fill(block::MAX_BYTES + 1);
        let (window, from) = self.window_from(self.at);
        let bytes = window.get(..block::MAX_BYTES + 1).unwrap_or(window);
        match block::decode_beginning(bytes, from, bytes.len() * 8, self.block_size) {
            Ok(Beginning::Block(decoded, end)) => {
                self.at += (end - from) as u64;
                Ok(decoded)
            }
            // The block has more bits than the file, and no other magic begins in the rest of the file: it is cut
            // short.
            Ok(Beginning::Cut) if bytes.len() == window.len() && bits::find_magic(bytes, from + 1).is_none() => {
                Err(self.finder.source.cut_short(Fault::EndsInBlock))
            }
            Ok(Beginning::Cut) | Err(NotABlock) => Err(self.damage(Fault::Block)),
        }
    }

    /// Compares the checksum of the stream, and skips the end-of-stream magic at `self.at` and the header of the next
    /// stream. Returns false if there is no next stream.
    fn end_stream(&mut self) -> io::Result<bool> {
        self.fill(block::END_BITS / 8 + 1 + block::HEADER_BYTES);
        let (window, from) = self.window_from(self.at);
        if from + block::END_BITS > window.len() * 8 {
            return Err(self.finder.source.cut_short(Fault::EndsBeforeMagic));
        }
        if bits::read(window, from + bits::MAGIC_BITS, 32) != u64::from(self.crc) {
            return Err(self.damage(Fault::StreamChecksum));
        }
        let header = (from + block::END_BITS).div_ceil(8);
        let block_size = match window.get(header..).unwrap_or_default() {
            [b'B', b'Z', b'h', digit, ..] => BlockSize::from_digit(*digit),
            // A part of a header is no trailing garbage: the file is cut short, also according to bzip2.
            [b'B'] | [b'B', b'Z'] | [b'B', b'Z', b'h'] => {
                return Err(self.finder.source.cut_short(Fault::EndsInHeader));
            }
            _ => None,
        };
        self.at += (header * 8 - from) as u64;
        let Some(block_size) = block_size else {
            if let Some(error) = self.finder.source.take_error() {
                return Err(error);
            }
            let end = self.at / 8;
            self.garbage = (self.finder.source.end() > end).then_some(end);
            return Ok(false);
        };
        self.at += block::HEADER_BYTES as u64 * 8;
        self.block_size = block_size;
        self.crc = 0;
        Ok(true)
    }

    /// Returns the error if there is no magic at `self.at`.
    fn no_magic(&mut self) -> io::Error {
        self.fill(bits::MAGIC_BITS / 8 + 1);
        let (window, from) = self.window_from(self.at);
        if from + bits::MAGIC_BITS > window.len() * 8 {
            self.finder.source.cut_short(Fault::EndsBeforeMagic)
        } else {
            self.damage(Fault::NoBlock)
        }
    }

    fn damage(&self, what: Fault) -> io::Error {
        Damage::error(self.at / 8, what)
    }

    /// Reads until the window has `count` bytes from `self.at` on, if the file has them.
    fn fill(&mut self, count: usize) {
        let before = (self.at / 8 - self.finder.source.offset()) as usize;
        self.finder.source.fill(before + count);
    }

    /// Returns the window from the byte with bit `at` on, and the index of the bit in that byte.
    fn window_from(&self, at: u64) -> (&[u8], usize) {
        let source = &self.finder.source;
        let before = (at / 8).saturating_sub(source.offset()) as usize;
        (source.window().get(before..).unwrap_or_default(), (at % 8) as usize)
    }

    /// Skips the bytes of the window that are confirmed.
    fn release(&mut self) {
        let source = &mut self.finder.source;
        source.skip((self.at / 8).saturating_sub(source.offset()) as usize);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::codec::{Compressor, Format};

    /// Decodes a file with a block size in its header that is not the true one. The finder assumes that of the header,
    /// as it does if block data happens to end in the bytes of a stream header.
    fn decode(header: BlockSize, truth: BlockSize) -> io::Result<Vec<u8>> {
        let pool = Pool::new(2).unwrap();
        let mut compressor = Compressor::new(Vec::new(), Format::Bzip2.into(), &pool);
        compressor.write_all(&input()).unwrap();
        let mut file = compressor.finish().unwrap();
        file[3] = header.digit();
        let mut reader = Reader::new(Source::new(&file[..]), truth, &pool);
        reader.finder.source.fill(1);
        let (mut output, mut buffer) = (Vec::new(), vec![0; 70_000]);
        loop {
            match reader.read(&mut buffer)? {
                0 => return Ok(output),
                count => output.extend_from_slice(&buffer[..count]),
            }
        }
    }

    fn input() -> Vec<u8> {
        (0..2_000_000_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect()
    }

    #[test]
    fn a_wrong_level_is_corrected() {
        let low = BlockSize::new(1).unwrap();
        assert!(decode(low, BlockSize::LARGEST).unwrap() == input());
        // A block that is too long for the true block size is damage, even if the assumed one allows it.
        assert!(decode(BlockSize::LARGEST, low).is_err());
    }
}
