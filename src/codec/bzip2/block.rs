//! Encoding and decoding of one bzip2 block, without regard to streams. This module compares checksums and expands
//! runs; the stages between are in `encode` and `decode`.

use std::cell::RefCell;
use std::io;

use ::bzip2::bufread::BzDecoder;

use super::bits::{BitReader, BitString, MAGIC_BITS};
use super::block_size::BlockSize;
use super::crc::Crc;
use super::rle::{Block, Expander, NoCount, max_block};
use super::{decode, encode};

/// The length in bytes of a stream header: `BZh` and the digit of the block size.
pub(super) const HEADER_BYTES: usize = 4;

/// The length in bits of a block magic and the checksum of the block.
const BLOCK_HEADER_BITS: usize = MAGIC_BITS + 32;

/// The length in bits of an end-of-stream magic and the checksum of the stream.
pub(super) const END_BITS: usize = MAGIC_BITS + 32;

/// The maximum length of a block in bytes: 900,000 symbols of 20 bits, 32,767 selectors of 6 bits, and six code tables
/// are 2.3 MB. The format has no limit for the changes from one code length to the next, but no encoder changes a
/// length up and down again.
pub(super) const MAX_BYTES: usize = 3 << 20;

/// The minimum length of a block in bits: a magic, a checksum, the flag of a randomised block, an origin pointer, a
/// byte map with one byte, the numbers of tables and selectors, one selector, and two code tables of three symbols.
pub(super) const MIN_BITS: usize = BLOCK_HEADER_BITS + 1 + 24 + 32 + 3 + 15 + 1 + 2 * (5 + 3);

/// Blocks of at least this many bytes of content are not kept expanded. An ordinary block has 900,000 bytes; in the
/// worst case, a block of 26 bytes expands to 47 million.
const MAX_KEPT: usize = 4 << 20;

/// Runs are expanded in chunks of this many bytes.
const CHUNK: usize = 64 << 10;

thread_local! {
    // Megabytes for each thread: to allocate them for each block would take as long as sorting it.
    static ENCODING: RefCell<encode::Buffers> = RefCell::default();
    static DECODING: RefCell<decode::Buffers> = RefCell::default();
}

/// An encoded block.
pub(super) struct Encoded {
    /// The bits of the block from its magic on.
    bits: BitString,
    /// The checksum of the content.
    pub(super) crc: u32,
}

impl Encoded {
    /// Returns whether the block can be decoded to content with the checksum of the input, by a decoder that shares no code
    /// with this module.
    pub(super) fn can_be_read_back(&self, block_size: BlockSize) -> bool {
        let mut stream = BitString::default();
        stream.begin_stream(block_size);
        self.append_to(&mut stream);
        stream.end_stream(self.crc);
        // It compares the checksum of the block, that of the input, with that of the content.
        io::copy(&mut BzDecoder::new(&stream.into_bytes()[..]), &mut io::sink()).is_ok()
    }

    /// Appends the block to the bits of a stream.
    pub(super) fn append_to(&self, bits: &mut BitString) {
        bits.append_string(&self.bits);
    }
}

/// Encodes a block.
pub(super) fn encode(block: &Block) -> Encoded {
    let bits = ENCODING.with_borrow_mut(|buffers| encode::encode(&block.text, block.crc, buffers));
    Encoded { bits, crc: block.crc }
}

/// The error if bits are not those of a block, or the checksum is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NotABlock;

/// A decoded block whose checksum is right.
pub(super) struct Decoded {
    /// The checksum of the content.
    pub(super) crc: u32,
    content: Content,
}

enum Content {
    /// The content, and the position up to which it was read.
    Expanded { bytes: Vec<u8>, at: usize },
    /// For content that is too large to keep: the text whose runs are expanded again as it is read.
    Runs { text: Vec<u8>, expander: Expander },
}

impl Decoded {
    /// Reads the next bytes of the content into `out`. Returns 0 at the end.
    pub(super) fn read(&mut self, out: &mut [u8]) -> usize {
        match &mut self.content {
            Content::Expanded { bytes, at } => {
                let rest = bytes.get(*at..).unwrap_or_default();
                let count = rest.len().min(out.len());
                if let (Some(to), Some(from)) = (out.get_mut(..count), rest.get(..count)) {
                    to.copy_from_slice(from);
                }
                *at += count;
                count
            }
            // There is no error, because `expand` has expanded the same text to its end.
            Content::Runs { text, expander } => expander.read(text, out).unwrap_or_default(),
        }
    }
}

/// Decodes the block that consists of exactly the bits `from..to` of `bytes`.
pub(super) fn decode(bytes: &[u8], from: usize, to: usize, block_size: BlockSize) -> Result<Decoded, NotABlock> {
    match decode_beginning(bytes, from, to, block_size)? {
        Beginning::Block(decoded, end) if end == to => Ok(decoded),
        Beginning::Block(..) | Beginning::Cut => Err(NotABlock),
    }
}

/// What a string of bits begins with.
pub(super) enum Beginning {
    /// A complete block, and the bit at which it ends.
    Block(Decoded, usize),
    /// The bits end before a block is complete.
    Cut,
}

/// Decodes the block with which the bits `from..to` of `bytes` begin.
pub(super) fn decode_beginning(
    bytes: &[u8],
    from: usize,
    to: usize,
    block_size: BlockSize,
) -> Result<Beginning, NotABlock> {
    let mut reader = BitReader::new(bytes, from, to);
    DECODING.with_borrow_mut(|buffers| match decode::decode(&mut reader, max_block(block_size), buffers) {
        Ok((crc, text)) => Ok(Beginning::Block(expand(text, crc)?, reader.at())),
        Err(decode::Fault::Cut) => Ok(Beginning::Cut),
        Err(decode::Fault::Invalid) => Err(NotABlock),
    })
}

/// Expands the runs of a block and compares the checksum with the stored one. If the content is too large to keep, the
/// result has the text instead.
fn expand(text: &[u8], stored: u32) -> Result<Decoded, NotABlock> {
    let mut crc = Crc::new();
    let mut expander = Expander::default();
    let mut bytes = Vec::with_capacity(text.len() + 2 * CHUNK);
    let content = loop {
        let from = bytes.len();
        if from >= MAX_KEPT {
            drop(bytes);
            let mut chunk = vec![0; CHUNK];
            while let count @ 1.. = expander.read(text, &mut chunk)? {
                crc.update(&chunk[..count]);
            }
            break Content::Runs { text: text.to_vec(), expander: Expander::default() };
        }
        if bytes.capacity() < from + CHUNK {
            bytes.reserve_exact(from.clamp(CHUNK, MAX_KEPT + CHUNK - from));
        }
        bytes.resize(from + CHUNK, 0);
        let count = expander.read(text, &mut bytes[from..])?;
        bytes.truncate(from + count);
        crc.update(&bytes[from..]);
        if count == 0 {
            break Content::Expanded { bytes, at: 0 };
        }
    };
    if crc.value() == stored { Ok(Decoded { crc: stored, content }) } else { Err(NotABlock) }
}

impl From<NoCount> for NotABlock {
    fn from(_: NoCount) -> Self {
        Self
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::rle;
    use super::*;

    fn cut(input: &[u8], block_size: BlockSize) -> Block {
        let mut cutter = rle::Cutter::new(block_size);
        assert_eq!(cutter.push(input), input.len());
        cutter.take().unwrap()
    }

    fn bits_of(encoded: &Encoded) -> (Vec<u8>, usize) {
        let mut bits = BitString::default();
        encoded.append_to(&mut bits);
        (bits.into_bytes(), encoded.bits.len())
    }

    fn read_all(mut decoded: Decoded) -> Vec<u8> {
        let mut all = Vec::new();
        let mut buffer = vec![0; 100_000];
        loop {
            match decoded.read(&mut buffer) {
                0 => return all,
                count => all.extend_from_slice(&buffer[..count]),
            }
        }
    }

    #[test]
    fn the_shortest_block_is_not_below_the_minimum() {
        let (_, len) = bits_of(&encode(&cut(b"a", BlockSize::LARGEST)));
        assert!(len >= MIN_BITS, "{len}");
    }

    #[test]
    fn a_block_that_was_damaged_in_the_encoder_cannot_be_read_back() {
        let block = cut(b"An error in memory that nothing else would detect.", BlockSize::LARGEST);
        assert!(encode(&block).can_be_read_back(BlockSize::LARGEST));
        for at in 0..block.text.len() {
            let mut damaged = Block { text: block.text.clone(), ..block };
            damaged.text[at] ^= 1;
            assert!(!encode(&damaged).can_be_read_back(BlockSize::LARGEST));
        }
    }

    #[test]
    fn blocks_of_lengths_near_all_limits() {
        for block_size in [BlockSize::new(1).unwrap(), BlockSize::LARGEST] {
            let limit = rle::block_limit(block_size);
            for len in [1, 2, 3, 49, 50, 51, limit - 1, limit] {
                // Without runs of four, so that the block is as long as the input: random, in pairs, and periodic with
                // one exception.
                let noise: Vec<u8> =
                    (0..len as u64).map(|n| (n.wrapping_mul(n).wrapping_mul(0x9E37_79B9) >> 13) as u8).collect();
                let pairs: Vec<u8> = (0..len).map(|n| (n / 2 % 2) as u8).collect();
                let period: Vec<u8> = (0..len).map(|n| u8::from(n % 3 == 0) + u8::from(n == len / 2)).collect();
                for input in [noise, pairs, period] {
                    let (bytes, bits) = bits_of(&encode(&cut(&input, block_size)));
                    assert!(read_all(decode(&bytes, 0, bits, block_size).unwrap()) == input, "{len} bytes");
                }
            }
        }
    }

    #[test]
    fn a_block_of_zeros_is_expanded_again_instead_of_kept() {
        let zeros = vec![0; 40_000_000];
        let (bytes, len) = bits_of(&encode(&cut(&zeros, BlockSize::LARGEST)));
        let decoded = decode(&bytes, 0, len, BlockSize::LARGEST).unwrap();
        assert!(matches!(decoded.content, Content::Runs { .. }));
        assert!(read_all(decoded) == zeros);
        let Beginning::Block(decoded, _) = decode_beginning(&bytes, 0, bytes.len() * 8, BlockSize::LARGEST).unwrap()
        else {
            panic!("cut")
        };
        assert!(read_all(decoded) == zeros);
    }

    #[test]
    fn blocks_below_the_limit_are_kept_expanded() {
        for (len, kept) in [(MAX_KEPT - 1, true), (MAX_KEPT, false), (MAX_KEPT + 1, false)] {
            let zeros = vec![0; len];
            let (bytes, bits) = bits_of(&encode(&cut(&zeros, BlockSize::LARGEST)));
            let decoded = decode(&bytes, 0, bits, BlockSize::LARGEST).unwrap();
            assert_eq!(matches!(decoded.content, Content::Expanded { .. }), kept);
            assert!(read_all(decoded) == zeros);
        }
    }

    #[test]
    fn a_block_too_large_for_its_level_is_refused() {
        let input: Vec<u8> = (0..150_000_u32).map(|n| (n.wrapping_mul(n) >> 7) as u8).collect();
        let (bytes, len) = bits_of(&encode(&cut(&input, BlockSize::LARGEST)));
        assert!(decode(&bytes, 0, len, BlockSize::new(2).unwrap()).is_ok());
        assert!(decode(&bytes, 0, len, BlockSize::new(1).unwrap()).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn a_block_decodes_with_its_end_known_and_unknown(
            input in prop::collection::vec(0_u8..9, 1..5000),
            shift in 0..8_u32,
            after in prop::collection::vec(any::<u8>(), 0..30),
        ) {
            let encoded = encode(&cut(&input, BlockSize::LARGEST));
            let len = encoded.bits.len();
            let mut bits = BitString::default();
            bits.push(0, shift);
            let from = shift as usize;
            encoded.append_to(&mut bits);
            for byte in &after {
                bits.push((*byte).into(), 8);
            }
            let bytes = bits.into_bytes();

            let decoded = decode(&bytes, from, from + len, BlockSize::LARGEST).unwrap();
            prop_assert_eq!(decoded.crc, encoded.crc);
            prop_assert_eq!(read_all(decoded), &input[..]);

            let beginning = decode_beginning(&bytes, from, bytes.len() * 8, BlockSize::LARGEST).unwrap();
            let Beginning::Block(decoded, end) = beginning else { panic!("cut") };
            prop_assert_eq!(end, from + len);
            prop_assert_eq!(decoded.crc, encoded.crc);
            prop_assert_eq!(read_all(decoded), &input[..]);

            // With one bit less or more, the bits are not a block. Without the last bytes, the block is cut.
            prop_assert!(decode(&bytes, from, from + len - 1, BlockSize::LARGEST).is_err());
            if !after.is_empty() {
                prop_assert!(decode(&bytes, from, from + len + 1, BlockSize::LARGEST).is_err());
            }
            let short = &bytes[..(from + len) / 8 - 1];
            prop_assert!(matches!(decode_beginning(short, from, short.len() * 8, BlockSize::LARGEST), Ok(Beginning::Cut)));
        }
    }
}
