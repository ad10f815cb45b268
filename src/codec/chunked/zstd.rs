//! Frames of Zstandard files (RFC 8878).

use std::cell::RefCell;
use std::io::{self, Read as _};

use ::zstd::bulk::{Compressor, Decompressor};
use ::zstd::zstd_safe::{compress_bound, find_frame_compressed_size, get_frame_content_size};
use ruzstd::decoding::StreamingDecoder;

use super::chunk::{Chunked, Whole};
use crate::codec::format::Level;

/// Input bytes of one frame. At this size independent frames are as short as one that has all its input as window, within
/// half a percent.
const CHUNK: usize = 4 << 20;

/// Shorter frames are decoded one after the other: handing them to a thread would take longer.
const LEAST: usize = 64 << 10;

pub(in crate::codec) const ZSTD: Chunked = Chunked { size: CHUNK, most, encode, whole, decode, decode_independently };

thread_local! {
    /// New ones clear megabytes of tables.
    static COMPRESSOR: RefCell<Option<(Level, Compressor<'static>)>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Returns a frame that holds `chunk`, its length and a checksum.
fn encode(chunk: &[u8], level: Level) -> io::Result<Vec<u8>> {
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
fn most(content: usize) -> usize {
    compress_bound(content)
}

/// Returns the lengths of the frame at the start of these bytes, if all of it is there, it states how much it holds, and that
/// is as much as is worth a thread.
fn whole(bytes: &[u8]) -> Option<Whole> {
    let content = usize::try_from(get_frame_content_size(bytes).ok()??).ok()?;
    if !(LEAST..=CHUNK).contains(&content) {
        return None;
    }
    let length = find_frame_compressed_size(bytes).ok()?;
    (length <= most(content)).then_some(Whole { length, content })
}

/// Returns the size in bytes of the window that the header of a frame states (RFC 8878, section 3.1.1.1): 0 if the header is
/// not all there, or that of a skippable frame.
pub(super) fn window(header: &[u8]) -> u64 {
    let [0x28, 0xb5, 0x2f, 0xfd, descriptor, rest @ ..] = header else { return 0 };
    let is_single_segment = descriptor & 0x20 != 0;
    match rest {
        // The window is the whole content.
        _ if is_single_segment => get_frame_content_size(header).ok().flatten().unwrap_or(0),
        [window, ..] => {
            let base = 1_u64 << (10 + (window >> 3));
            base + base / 8 * u64::from(window & 7)
        }
        [] => 0,
    }
}

/// Returns the content of a frame that [`whole`] has found; `None` if it is damaged.
fn decode(frame: &[u8], content: usize) -> Option<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|kept| {
        if kept.is_none() {
            *kept = Some(Decompressor::new().ok()?);
        }
        let chunk = kept.as_mut()?.decompress(frame, content).ok()?;
        (chunk.len() == content).then_some(chunk)
    })
}

/// The same, by a decoder that shares no code with the encoder.
fn decode_independently(frame: &[u8], content: usize) -> Option<Vec<u8>> {
    let mut chunk = Vec::with_capacity(content);
    let mut decoder = StreamingDecoder::new(frame).ok()?;
    decoder.by_ref().take(content as u64 + 1).read_to_end(&mut chunk).ok()?;
    (decoder.into_inner().is_empty() && chunk.len() == content).then_some(chunk)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn windows_are_those_of_the_headers() {
        let mut encoder = ::zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
        encoder.set_parameter(::zstd::zstd_safe::CParameter::WindowLog(27)).unwrap();
        // Flushed, or the header would state the length of the content instead.
        encoder.write_all(b"content").unwrap();
        encoder.flush().unwrap();
        assert_eq!(window(&encoder.finish().unwrap()), 128 << 20);
        assert_eq!(window(&encode(&vec![7; 300_000], Level::new(3).unwrap()).unwrap()), 300_000);
        assert_eq!(window(b"\x28\xb5\x2f\xfd\0\xff"), (1 << 41) + (7 << 38));
        assert_eq!(window(b"\x28\xb5\x2f\xfd"), 0);
        assert_eq!(window(b"\x50\x2a\x4d\x18\x01\0\0\0\0"), 0);
    }

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
