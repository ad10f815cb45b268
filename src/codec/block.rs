//! One bzip2 block: bytes in, bits out, and back. Pure functions; no threads, no files, no streams of
//! blocks. The work is done by the `bzip2` crate, which knows whole streams only: so an encoded block
//! is cut out of a stream of one block, and for decoding it is put into one.

use std::ops::RangeInclusive;

use bzip2::{Action, Compress, Compression, Decompress, Status};

use super::bits::{self, BitString, MARK_BITS, Mark};
use super::format::Level;
use super::rle;

/// `BZh` and the level's digit.
pub(super) const HEADER_BYTES: usize = 4;

/// A block's mark and its checksum.
const BLOCK_HEADER_BITS: usize = MARK_BITS + 32;

/// The mark that ends a stream, and the stream's checksum.
pub(super) const END_BITS: usize = MARK_BITS + 32;

/// No block has more: 900,000 symbols of 20 bits, 32,767 selectors of 6, and six code tables make
/// 2.3 MB. The format would let a code table's deltas go up and down for ever, but no encoder does.
pub(super) const MAX_BYTES: usize = 3 << 20;

/// No block has less: a mark, a checksum, an origin, a map with one byte in it, one selector and two
/// code tables of three symbols.
pub(super) const MIN_BITS: usize = BLOCK_HEADER_BITS + 1 + 24 + 32 + 3 + 15 + 1 + 2 * (5 + 3);

/// A worker keeps at most this much output of a block; an ordinary one has 900,000 bytes, and the
/// worst of 26 bytes has 47 million.
const MAX_KEPT: usize = 4 << 20;

/// A block as it stands in a stream, from its mark on.
pub(super) struct Encoded {
    stream: Vec<u8>,
    end: usize,
    /// The checksum of what the block holds.
    pub(super) crc: u32,
}

impl Encoded {
    /// Appends the block to a stream.
    pub(super) fn append_to(&self, bits: &mut BitString) {
        bits.append(&self.stream, HEADER_BYTES * 8, self.end);
    }
}

/// Encodes a block that [`rle::Cutter`] filled.
pub(super) fn encode(block: &[u8], level: Level) -> Encoded {
    let mut coder = Compress::new(Compression::new(level.get().into()), 0);
    let mut stream = Vec::with_capacity(block.len() + block.len() / 50 + 1000);
    let mut buffer = Vec::with_capacity(64 << 10);
    rle::expand(block, |piece| {
        if buffer.len() + piece.len() > buffer.capacity() {
            compress(&mut coder, &buffer, &mut stream, Action::Run);
            buffer.clear();
        }
        if piece.len() > buffer.capacity() {
            compress(&mut coder, piece, &mut stream, Action::Run);
        } else {
            buffer.extend_from_slice(piece);
        }
    });
    compress(&mut coder, &buffer, &mut stream, Action::Run);
    compress(&mut coder, &[], &mut stream, Action::Finish);

    let crc = bits::read(&stream, HEADER_BYTES * 8 + MARK_BITS, 32) as u32;
    // The stream is filled up to a whole byte after its checksum, which is that of its only block.
    let Some(end) = (0..8).filter_map(|pad| (stream.len() * 8).checked_sub(END_BITS + pad)).find(|&end| {
        bits::mark_at(&stream, end) == Some(Mark::End) && bits::read(&stream, end + MARK_BITS, 32) == u64::from(crc)
    }) else {
        unreachable!("one block became more than one")
    };
    Encoded { stream, end, crc }
}

fn compress(coder: &mut Compress, mut input: &[u8], output: &mut Vec<u8>, action: Action) {
    loop {
        let before = coder.total_in();
        // The crate's only error is a wrong order of actions.
        let status = coder.compress_vec(input, output, action).unwrap_or_else(|e| unreachable!("{e}"));
        input = input.get((coder.total_in() - before) as usize..).unwrap_or_default();
        match action {
            Action::Finish if status != Status::StreamEnd => output.reserve(64 << 10),
            Action::Run if !input.is_empty() => output.reserve(64 << 10),
            Action::Finish | Action::Run | Action::Flush => break,
        }
    }
}

/// The bits are not those of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotABlock;

/// A block that was decoded and whose checksum is right.
pub(super) struct Decoded {
    /// The checksum of what it holds.
    pub(super) crc: u32,
    content: Content,
}

enum Content {
    Whole { bytes: Vec<u8>, at: usize },
    // Too much to keep: a decoder that has been through it once and stands at its beginning again.
    Again(Box<OneBlock>),
}

impl Decoded {
    /// Reads on in what the block holds; 0 at its end.
    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, NotABlock> {
        match &mut self.content {
            Content::Whole { bytes, at } => {
                let rest = bytes.get(*at..).unwrap_or_default();
                let count = rest.len().min(out.len());
                if let (Some(to), Some(from)) = (out.get_mut(..count), rest.get(..count)) {
                    to.copy_from_slice(from);
                }
                *at += count;
                Ok(count)
            }
            Content::Again(decoder) => decoder.read(out),
        }
    }
}

/// Decodes the block that bits `from..to` of `bytes` are, all of them.
pub(super) fn decode(bytes: &[u8], from: usize, to: usize, level: Level) -> Result<Decoded, NotABlock> {
    if to - from < MIN_BITS {
        return Err(NotABlock);
    }
    let crc = bits::read(bytes, from + MARK_BITS, 32);
    let mut stream = stream_of(bytes, from, to, level);
    stream.push(Mark::End.value(), MARK_BITS as u32);
    stream.push(crc, 32);
    let mut decoder = OneBlock::new(stream.into_bytes());
    let content = decoder.content()?;
    // The end mark was found where it was put, not before.
    if !decoder.ended || decoder.fed() < decoder.stream.len() {
        return Err(NotABlock);
    }
    Ok(Decoded { crc: crc as u32, content })
}

/// What a string of bits begins with.
pub(super) enum Beginning {
    /// A whole block, whose end is at one of these bits of the string.
    Block(Decoded, RangeInclusive<usize>),
    /// What may be the beginning of a block; more bits are needed to tell.
    Cut,
}

/// Decodes the block that begins at bit `from` of `bytes` and ends nobody knows where.
pub(super) fn decode_beginning(bytes: &[u8], from: usize, level: Level) -> Result<Beginning, NotABlock> {
    // Shifted to whole bytes, the string may have some bits more at its end than it really has. If
    // they are taken for bits of the block, that is no sign of damage yet.
    let end = bytes.len() * 8;
    let whole = end - (end - from) % 8;
    decode_until(bytes, from, end, level).or_else(|NotABlock| decode_until(bytes, from, whole, level))
}

fn decode_until(bytes: &[u8], from: usize, to: usize, level: Level) -> Result<Beginning, NotABlock> {
    let crc = bits::read(bytes, from + MARK_BITS, 32) as u32;
    let mut decoder = OneBlock::new(stream_of(bytes, from, to, level).into_bytes());
    let Some(used) = decoder.feed_block_only()? else { return Ok(Beginning::Cut) };
    // From here on there is no more input than the block's own.
    decoder.stream.truncate(used);
    let content = decoder.content()?;
    let end = from + used * 8 - HEADER_BYTES * 8;
    Ok(Beginning::Block(Decoded { crc, content }, end - 7..=end))
}

fn stream_of(bytes: &[u8], from: usize, to: usize, level: Level) -> BitString {
    let mut stream = BitString::with_capacity(HEADER_BYTES + (to - from) / 8 + END_BITS / 8 + 2);
    stream.bytes_mut().extend_from_slice(&[b'B', b'Z', b'h', level.digit()]);
    stream.append(bytes, from, to);
    stream
}

/// The crate's decoder on a stream of one block.
struct OneBlock {
    stream: Vec<u8>,
    decoder: Decompress,
    /// The end mark was reached, and the checksums are right.
    ended: bool,
}

impl OneBlock {
    fn new(stream: Vec<u8>) -> Self {
        Self { stream, decoder: Decompress::new(false), ended: false }
    }

    fn fed(&self) -> usize {
        self.decoder.total_in() as usize
    }

    /// 0 where the stream is at its end or the input is used up; before that the checksum was compared.
    fn read(&mut self, out: &mut [u8]) -> Result<usize, NotABlock> {
        if self.ended {
            return Ok(0);
        }
        let before = self.decoder.total_out();
        let input = self.stream.get(self.fed()..).unwrap_or_default();
        let status = self.decoder.decompress(input, out).map_err(|_| NotABlock)?;
        self.ended = status == Status::StreamEnd;
        Ok((self.decoder.total_out() - before) as usize)
    }

    /// Everything the block holds, its checksum compared.
    fn content(&mut self) -> Result<Content, NotABlock> {
        let mut bytes = Vec::with_capacity(1 << 20);
        while !self.ended && bytes.len() < MAX_KEPT {
            let (before, fed) = (bytes.len(), self.fed());
            let input = self.stream.get(fed..).unwrap_or_default();
            let status = self.decoder.decompress_vec(input, &mut bytes).map_err(|_| NotABlock)?;
            self.ended = status == Status::StreamEnd;
            if bytes.len() == bytes.capacity() {
                bytes.reserve_exact(bytes.len().min(MAX_KEPT - bytes.len()));
            } else if bytes.len() == before && self.fed() == fed {
                // No more input, though there is room for output.
                break;
            }
        }
        if bytes.len() < MAX_KEPT {
            // A block is never empty: then it was not one, or not whole.
            return if bytes.is_empty() { Err(NotABlock) } else { Ok(Content::Whole { bytes, at: 0 }) };
        }
        drop(bytes);
        let mut scratch = [0; 16 << 10];
        while self.read(&mut scratch)? > 0 {}
        // Up to where output begins: the rest is cheap, and the consumer's thread will do it.
        let mut again = Self::new(self.stream.clone());
        again.read(&mut [])?;
        Ok(Content::Again(Box::new(again)))
    }

    /// Feeds the decoder up to the last byte that has bits of the block in it, and returns how many
    /// bytes that is; `None` if the stream ends before.
    fn feed_block_only(&mut self) -> Result<Option<usize>, NotABlock> {
        loop {
            let fed = self.fed();
            // From eight bytes on, the decoder would take in more than it needs.
            let piece = self.stream.get(fed..self.stream.len().min(fed + 7)).unwrap_or_default();
            // Without room for output it stops once it has the block, and leaves the rest of the input.
            self.decoder.decompress(piece, &mut []).map_err(|_| NotABlock)?;
            if piece.is_empty() || self.fed() - fed < piece.len() {
                break;
            }
        }
        // Either it has a block, or there is no more input; the next byte of output tells.
        let used = self.fed();
        let has_block = used < self.stream.len() || Self::new(self.stream.clone()).read(&mut [0])? > 0;
        Ok(has_block.then_some(used))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(input: &[u8], level: Level) -> Vec<u8> {
        let mut cutter = rle::Cutter::new(level);
        assert_eq!(cutter.push(input), input.len());
        cutter.take().unwrap()
    }

    fn bits_of(encoded: &Encoded) -> (Vec<u8>, usize) {
        let mut bits = BitString::default();
        encoded.append_to(&mut bits);
        (bits.into_bytes(), encoded.end - HEADER_BYTES * 8)
    }

    fn read_all(mut decoded: Decoded) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buffer = vec![0; 100_000];
        loop {
            match decoded.read(&mut buffer).unwrap() {
                0 => return all,
                count => all.extend_from_slice(&buffer[..count]),
            }
        }
    }

    #[test]
    fn the_smallest_block_is_not_below_the_minimum() {
        let (_, len) = bits_of(&encode(b"a", Level::BEST));
        assert!(len >= MIN_BITS, "{len}");
    }

    #[test]
    fn a_block_of_zeros_is_decoded_again_instead_of_kept() {
        let zeros = vec![0; 40_000_000];
        let (bytes, len) = bits_of(&encode(&cut(&zeros, Level::BEST), Level::BEST));
        let decoded = decode(&bytes, 0, len, Level::BEST).unwrap();
        assert!(matches!(decoded.content, Content::Again(_)));
        assert!(read_all(decoded) == zeros);
        let Beginning::Block(decoded, _) = decode_beginning(&bytes, 0, Level::BEST).unwrap() else { panic!("cut") };
        assert!(read_all(decoded) == zeros);
    }

    #[test]
    fn what_a_worker_keeps_is_limited_on_both_sides_of_the_limit() {
        for (len, kept) in [(MAX_KEPT - 1, true), (MAX_KEPT, false), (MAX_KEPT + 1, false)] {
            let zeros = vec![0; len];
            let (bytes, bits) = bits_of(&encode(&cut(&zeros, Level::BEST), Level::BEST));
            let decoded = decode(&bytes, 0, bits, Level::BEST).unwrap();
            assert_eq!(matches!(decoded.content, Content::Whole { .. }), kept);
            assert!(read_all(decoded) == zeros);
        }
    }

    #[test]
    fn a_block_too_large_for_its_level_is_none() {
        let input: Vec<u8> = (0..150_000_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
        let (bytes, len) = bits_of(&encode(&cut(&input, Level::BEST), Level::BEST));
        assert!(decode(&bytes, 0, len, Level::new(2).unwrap()).is_ok());
        assert!(decode(&bytes, 0, len, Level::new(1).unwrap()).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_block_decodes_with_its_end_known_and_unknown(
            input in prop::collection::vec(0_u8..9, 1..5000),
            shift in 0..8_u32,
            after in prop::collection::vec(any::<u8>(), 0..30),
        ) {
            let encoded = encode(&cut(&input, Level::BEST), Level::BEST);
            let len = encoded.end - HEADER_BYTES * 8;
            let mut bits = BitString::default();
            bits.push(0, shift);
            let from = shift as usize;
            encoded.append_to(&mut bits);
            for byte in &after {
                bits.push((*byte).into(), 8);
            }
            let bytes = bits.into_bytes();

            let decoded = decode(&bytes, from, from + len, Level::BEST).unwrap();
            prop_assert_eq!(decoded.crc, encoded.crc);
            prop_assert_eq!(read_all(decoded), &input[..]);

            let Beginning::Block(decoded, end) = decode_beginning(&bytes, from, Level::BEST).unwrap() else {
                panic!("cut")
            };
            prop_assert!(end.contains(&(from + len)));
            prop_assert_eq!(decoded.crc, encoded.crc);
            prop_assert_eq!(read_all(decoded), &input[..]);

            // One bit short or long is no block; cut by whole bytes, it may still become one.
            prop_assert!(decode(&bytes, from, from + len - 1, Level::BEST).is_err());
            if !after.is_empty() {
                prop_assert!(decode(&bytes, from, from + len + 1, Level::BEST).is_err());
            }
            let short = &bytes[..(from + len) / 8 - 1];
            prop_assert!(matches!(decode_beginning(short, from, Level::BEST), Ok(Beginning::Cut)));
        }
    }
}
