//! An encoder of deflate (RFC 1951) for data that hardly compresses, such as JPEG images and videos.
//!
//! A general encoder searches such data for repetitions at each byte, and finds next to none. This one looks at one earlier
//! place for each place, at fewer and fewer places the longer it finds nothing, and gains by the Huffman code of the bytes
//! what there is to gain: a few percent, at several times the speed. [`hardly_compresses`] says for which data that is.

mod bits;
mod block;
mod matches;
mod symbols;

use bits::BitWriter;
use block::Block;
use matches::Matches;

/// Input bytes of a block. Each has a Huffman code of its own, whose description takes about a hundred bytes.
const BLOCK: usize = 128 << 10;

/// The samples by which data is judged, their number and their length in bytes: 1/16 of a piece of 1 MiB.
const SAMPLES: usize = 4;
const SAMPLE: usize = 16 << 10;

/// Compresses `input` to a complete deflate stream. It depends on the input alone.
pub fn compress(input: &[u8]) -> Vec<u8> {
    let mut bits = BitWriter::with_capacity(input.len() + input.len() / 64 + 64);
    let mut matches = Matches::new(input);
    let mut start = 0;
    loop {
        let end = input.len().min(start + BLOCK);
        let block = Block::new(&input[start..end], matches.up_to(end));
        block.write(end == input.len(), &mut bits);
        if end == input.len() {
            return bits.finish();
        }
        start = end;
    }
}

/// Returns whether `input` hardly becomes shorter, judged by samples: to more than nine tenths. Input that is hardly longer than
/// the samples is not worth the question.
pub(super) fn hardly_compresses(input: &[u8]) -> bool {
    if input.len() < 2 * SAMPLES * SAMPLE {
        return false;
    }
    let starts = (0..SAMPLES).map(|n| n * (input.len() - SAMPLE) / (SAMPLES - 1));
    let bits: u64 = starts
        .map(|start| {
            let sample = &input[start..start + SAMPLE];
            Block::new(sample, Matches::new(sample).up_to(SAMPLE)).bits()
        })
        .sum();
    bits > (SAMPLES * SAMPLE) as u64 * 8 * 9 / 10
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::bufread::DeflateDecoder;
    use proptest::prelude::*;

    use super::*;

    fn decompress(stream: &[u8]) -> Vec<u8> {
        let (mut content, mut decoder) = (Vec::new(), DeflateDecoder::new(stream));
        decoder.read_to_end(&mut content).unwrap();
        assert_eq!(decoder.total_in(), stream.len() as u64, "bytes after the stream");
        content
    }

    /// Bytes that do not repeat, the same at each call.
    fn noise(bytes: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        };
        (0..bytes).map(|_| next()).collect()
    }

    #[test]
    fn sizes_around_blocks_and_stored_parts_are_restored() {
        for length in [0, 1, 2, 3, 4, 7, 8, 9, 65_535, 65_536, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5] {
            for content in [noise(length), vec![0; length], (0..length).map(|n| (n / 3) as u8 & 15).collect()] {
                assert_eq!(decompress(&compress(&content)), content, "{length}");
            }
        }
    }

    #[test]
    fn noise_grows_by_the_headers_of_stored_blocks_alone() {
        let content = noise(1 << 20);
        let stored = (content.len().div_ceil(BLOCK)) * 3 * 5;
        assert!(compress(&content).len() <= content.len() + stored);
    }

    #[test]
    fn what_repeats_at_the_largest_distance_is_found() {
        let mut content = noise(32 << 10);
        content.extend_from_within(..);
        let length = compress(&content).len();
        assert!(length < 36 << 10, "{length}");
        assert_eq!(decompress(&compress(&content)), content);
    }

    #[test]
    fn samples_tell_noise_from_text() {
        assert!(hardly_compresses(&noise(1 << 20)));
        let text: Vec<u8> = (0..1 << 20).map(|n: u32| b"abcdefgh"[(n.wrapping_mul(n) >> 7) as usize % 8]).collect();
        assert!(!hardly_compresses(&text));
        assert!(!hardly_compresses(&noise(1000)));
    }

    proptest! {
        #[test]
        fn what_is_compressed_is_restored(
            parts in prop::collection::vec((prop::collection::vec(any::<u8>(), 1..40), 1..3000_usize), 0..60),
        ) {
            let content: Vec<u8> = parts.iter().flat_map(|(bytes, times)| bytes.repeat(times % 97)).collect();
            prop_assert_eq!(decompress(&compress(&content)), content);
        }
    }
}
