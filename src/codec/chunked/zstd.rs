//! Frames of Zstandard files (RFC 8878).

use std::cell::RefCell;
use std::io::{self, Read as _};
use std::ops::RangeInclusive;

use ::zstd::bulk::{Compressor, Decompressor};
use ::zstd::zstd_safe::{CParameter, compress_bound, find_frame_compressed_size, get_frame_content_size};
use ruzstd::decoding::StreamingDecoder;

use super::chunk::{Chunked, Whole};
use crate::codec::deflate;
use crate::codec::format::Level;

/// Input bytes of one frame. At this size independent frames are as short as one that has all its input as window, within
/// half a percent.
const CHUNK: usize = 4 << 20;

/// At these levels no time is spent on a quarter of a percent that the level's own search gains of data that hardly
/// compresses. Lower ones are as fast; who asks for more gets it.
const THRIFTY_LEVELS: RangeInclusive<u8> = 3..=6;

/// Shorter frames are decoded one after the other: handing them to a thread would take longer.
const LEAST: usize = 64 << 10;

pub(in crate::codec) const ZSTD: Chunked = Chunked { size: CHUNK, most, encode, whole, decode, decode_independently };

thread_local! {
    /// New ones clear megabytes of tables.
    static BY_LEVEL: RefCell<Option<(Level, Compressor<'static>)>> = const { RefCell::new(None) };
    static HASTY: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

/// Returns a frame that holds `chunk`, its length and a checksum.
fn encode(chunk: &[u8], level: Level) -> io::Result<Vec<u8>> {
    if THRIFTY_LEVELS.contains(&level.get()) && deflate::hardly_compresses(chunk) {
        return HASTY.with_borrow_mut(|kept| kept_or(kept, hasty)?.compress(chunk));
    }
    BY_LEVEL.with_borrow_mut(|kept| {
        kept.take_if(|(kept, _)| *kept != level);
        kept_or(kept, || Ok((level, compressor(level.get().into())?)))?.1.compress(chunk)
    })
}

fn kept_or<T>(kept: &mut Option<T>, new: impl FnOnce() -> io::Result<T>) -> io::Result<&mut T> {
    Ok(match kept {
        Some(kept) => kept,
        None => kept.insert(new()?),
    })
}

fn compressor(level: i32) -> io::Result<Compressor<'static>> {
    let mut compressor = Compressor::new(level)?;
    compressor.include_checksum(true)?;
    Ok(compressor)
}

/// Returns a compressor that searches as level 2 does, at fewer and fewer places the longer it finds nothing; but in all of a
/// chunk, and in tables that fit into the cache of a core.
fn hasty() -> io::Result<Compressor<'static>> {
    let mut compressor = compressor(2)?;
    for parameter in [CParameter::WindowLog(CHUNK.ilog2()), CParameter::HashLog(16), CParameter::MinMatch(5)] {
        compressor.set_parameter(parameter)?;
    }
    Ok(compressor)
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
        encoder.set_parameter(CParameter::WindowLog(27)).unwrap();
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

    #[test]
    fn no_time_is_spent_on_what_hardly_compresses_but_where_it_is_asked_for() {
        // Bytes with an entropy of 7.6 bits, of which some repeat, and text.
        let mut state = 1_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        let mut hard: Vec<u8> = (0..1 << 20).map(|_| random() | random() & 3).collect();
        for at in (300_000..hard.len() - 60).step_by(2000) {
            hard.copy_within(at - 299_000..at - 298_940, at);
        }
        let easy: Vec<u8> =
            (0..100_000_u64).flat_map(|n| format!("line {} of the text\n", n * n % 1009).into_bytes()).collect();
        for (content, is_hard) in [(&hard, true), (&easy, false)] {
            let frames: Vec<_> = (1..=7).map(|level| encode(content, Level::new(level).unwrap()).unwrap()).collect();
            // From level 3 to level 6.
            assert_eq!(frames[2..6].windows(2).all(|pair| pair[0] == pair[1]), is_hard);
            assert!(frames[5] != frames[6] && frames[1] != frames[2]);
            assert!(!is_hard || frames[2].len() * 100 < frames[6].len() * 101 && frames[2].len() < content.len());
            for frame in frames {
                assert!(decode(&frame, content.len()).unwrap() == *content);
                assert!(decode_independently(&frame, content.len()).unwrap() == *content);
            }
        }
    }
}
