//! Odd files with their expected outcomes.

use voltar::codec::Fault;

use crate::common::bz2::bits::Bits;
use crate::common::bz2::block::Block;
use crate::common::bz2::ours::{End, Outcome};
use crate::common::bz2::stream::Stream;

/// Blocks with more bits or a larger content are tested at one bit offset only.
const LARGE: usize = 200_000;

/// A file that is odd in one way, in several variants.
pub struct Odd {
    /// Each variant of the file with its expected outcome.
    pub variants: Vec<(Vec<u8>, Outcome)>,
    /// Whether we refuse the file on purpose, although bzip2 accepts it.
    pub refused_by_us_alone: bool,
}

impl Odd {
    /// Returns a file that is valid to its end.
    pub fn complete(file: Vec<u8>, content: &[u8]) -> Self {
        Self::ends(file, content, End::Complete)
    }

    /// Returns a file that delivers `content` and then ends with `end`.
    pub fn ends(file: Vec<u8>, content: &[u8], end: End) -> Self {
        let outcome = Outcome { bytes: content.to_vec(), end };
        Self { variants: vec![(file, outcome)], refused_by_us_alone: false }
    }

    /// Returns files with a valid block that holds `content`.
    #[track_caller]
    pub fn good(level: u8, block: &Block, content: &[u8]) -> Self {
        Self::good_bits(level, &block.bits(), content)
    }

    /// Returns files with a valid block that holds `content`, given as bits.
    #[track_caller]
    pub fn good_bits(level: u8, block: &Bits, content: &[u8]) -> Self {
        assert!(!content.is_empty());
        let offsets = if block.len().max(content.len()) > LARGE { 1 } else { 8 };
        Self::between_others(level, block, offsets, |_, before, after| Outcome {
            bytes: [before, content, after].concat(),
            end: End::Complete,
        })
    }

    /// Returns files with a block that must be refused and delivers nothing.
    pub fn bad(level: u8, block: &Block) -> Self {
        Self::bad_bits(level, &block.bits())
    }

    /// Returns files with a block, given as bits, that must be refused.
    pub fn bad_bits(level: u8, block: &Bits) -> Self {
        let offsets = if block.len() > LARGE { 1 } else { 8 };
        Self::between_others(level, block, offsets, |stream, before, _| Outcome {
            bytes: before.to_vec(),
            end: End::damaged(stream.magic_offset(1) / 8, Fault::Block),
        })
    }

    /// Joins the variants of several files.
    pub fn all(files: impl IntoIterator<Item = Self>) -> Self {
        let variants = files.into_iter().flat_map(|odd| odd.variants).collect();
        Self { variants, refused_by_us_alone: false }
    }

    /// Flags the file as refused on purpose.
    #[must_use]
    pub fn refused_by_us_alone(self) -> Self {
        Self { refused_by_us_alone: true, ..self }
    }

    /// Puts the block between two ordinary ones, at each of the first `offsets` bit offsets within a byte.
    fn between_others(
        level: u8,
        block: &Bits,
        offsets: usize,
        outcome: impl Fn(&Stream, &[u8], &[u8]) -> Outcome,
    ) -> Self {
        let (before, after) = (b"the block before it".as_slice(), b"the block after it".as_slice());
        let variant = |offset: usize| {
            let mut first = Block::of(before);
            // Unused selectors, of one bit each, shift the block.
            let missing = (16 + offset - (32 + first.bits().len()) % 8) % 8;
            first.selectors.extend(vec![0; missing]);
            let stream = Stream::of_bits(level, vec![first.bits(), block.clone(), Block::of(after).bits()]);
            assert_eq!(stream.magic_offset(1) % 8, offset);
            let outcome = outcome(&stream, before, after);
            (stream.bytes(), outcome)
        };
        Self { variants: (0..offsets).map(variant).collect(), refused_by_us_alone: false }
    }
}

/// The files of a module, by name.
pub type Files = &'static [(&'static str, fn() -> Odd)];
