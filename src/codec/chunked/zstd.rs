//! Frames of Zstandard files (RFC 8878).

use std::cell::RefCell;
use std::io::{self, Read as _};

use ruzstd::decoding::StreamingDecoder;
use zstd::bulk::{Compressor, Decompressor};
use zstd::zstd_safe::{compress_bound, find_frame_compressed_size, get_frame_content_size};

use super::Whole;
use crate::codec::format::Level;

/// Input bytes of one frame. At this size independent frames are as short as one that has all its input as window, within
/// half a percent.
pub(super) const CHUNK: usize = 4 << 20;

/// Shorter frames are decoded one after the other: handing them to a thread would take longer.
const LEAST: usize = 64 << 10;

thread_local! {
    /// New ones clear megabytes of tables.
    static COMPRESSOR: RefCell<Option<(Level, Compressor<'static>)>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Returns a frame that holds `chunk`, its length and a checksum.
pub(super) fn encode(chunk: &[u8], level: Level) -> io::Result<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|kept| {
        let (_, compressor) = match kept {
            Some(same) if same.0 == level => same,
            other => {
                let mut compressor = Compressor::new(level.get().into())?;
                compressor.include_checksum(true)?;
                other.insert((level, compressor))
            }
        };
        compressor.compress(chunk)
    })
}

/// The most bytes of a frame of `content` bytes.
pub(super) fn most(content: usize) -> usize {
    compress_bound(content)
}

/// Returns the lengths of the frame at the start of these bytes, if all of it is there, it states how much it holds, and that
/// is as much as is worth a thread.
pub(super) fn whole(bytes: &[u8]) -> Option<Whole> {
    let content = usize::try_from(get_frame_content_size(bytes).ok()??).ok()?;
    if !(LEAST..=CHUNK).contains(&content) {
        return None;
    }
    let length = find_frame_compressed_size(bytes).ok()?;
    (length <= most(content)).then_some(Whole { length, content })
}

/// Returns the content of a frame that [`whole`] has found; `None` if it is damaged.
pub(super) fn decode(frame: &[u8], content: usize) -> Option<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|kept| {
        if kept.is_none() {
            *kept = Some(Decompressor::new().ok()?);
        }
        let chunk = kept.as_mut()?.decompress(frame, content).ok()?;
        (chunk.len() == content).then_some(chunk)
    })
}

/// The same, by a decoder that shares no code with the encoder.
pub(super) fn decode_independently(frame: &[u8], content: usize) -> Option<Vec<u8>> {
    let mut chunk = Vec::with_capacity(content);
    let mut decoder = StreamingDecoder::new(frame).ok()?;
    decoder.by_ref().take(content as u64 + 1).read_to_end(&mut chunk).ok()?;
    (decoder.into_inner().is_empty() && chunk.len() == content).then_some(chunk)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_that_are_worth_a_thread_are_found_and_decoded_by_both_decoders() {
        for (bytes, is_found) in [(LEAST - 1, false), (LEAST, true), (300_000, true), (CHUNK, true), (CHUNK + 1, false)]
        {
            let content: Vec<u8> = (0..bytes as u32).map(|n| (n.wrapping_mul(n) >> 13) as u8).collect();
            let frame = encode(&content, Level::new(3).unwrap()).unwrap();
            let longer = [&frame[..], b"rest"].concat();
            assert_eq!(whole(&longer), is_found.then_some(Whole { length: frame.len(), content: bytes }));
            assert_eq!(whole(&frame[..frame.len() - 1]), None);
            assert!(
                decode(&frame, bytes).unwrap() == content && decode_independently(&frame, bytes).unwrap() == content
            );
            assert!(decode(&frame, bytes + 1).is_none() && decode_independently(&longer, bytes).is_none());
        }
    }
}
