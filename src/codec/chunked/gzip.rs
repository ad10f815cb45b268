//! Members of gzip files (RFC 1952).
//!
//! voltar states the length of each member that it writes in the extra field of its header (section 2.3.1.1), which other
//! readers skip: with it, members are found and decompressed in parallel.

use std::cell::RefCell;
use std::io;

use flate2::{Decompress, FlushDecompress, Status};
use libdeflater::{CompressionLvl, Compressor};

use super::chunk::{Chunked, Whole};
use crate::codec::deflate;
use crate::codec::format::Level;

/// Input bytes of one member. Each begins with an empty dictionary, which costs about a quarter of a percent at this size.
const CHUNK: usize = 1 << 20;

/// At these levels no time is spent on a percent that better encoders gain of data that hardly compresses. Who asks for more
/// gets it.
const THRIFTY_LEVELS: u8 = 6;

/// Magic, method and flags: there is an extra field. No modification time and an unknown operating system (255), so that the
/// same input gives the same file.
const FIXED: [u8; 10] = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 255];

/// The extra field has one subfield, of four bytes: the length of the member in bytes.
const EXTRA: [u8; 6] = [8, 0, b'V', b'L', 4, 0];

const LENGTH_AT: usize = FIXED.len() + EXTRA.len();
const HEADER: usize = LENGTH_AT + 4;

/// The checksum and the length of the content.
const TRAILER: usize = 8;

pub(in crate::codec) const GZIP: Chunked =
    Chunked { size: CHUNK, most, encode, whole, decode, decode_independently: decode };

thread_local! {
    /// A new compressor clears a megabyte of tables.
    static COMPRESSOR: RefCell<Option<(Level, Compressor)>> = const { RefCell::new(None) };
}

/// Returns a member that holds `chunk`.
fn encode(chunk: &[u8], level: Level) -> io::Result<Vec<u8>> {
    let mut member = Vec::with_capacity(HEADER + TRAILER + chunk.len() / 2);
    member.extend_from_slice(&FIXED);
    member.extend_from_slice(&EXTRA);
    member.extend_from_slice(&[0; HEADER - LENGTH_AT]);
    if level.get() <= THRIFTY_LEVELS && deflate::hardly_compresses(chunk) {
        member.append(&mut deflate::compress(chunk));
    } else {
        deflate_at(level, chunk, &mut member)?;
    }
    member.extend_from_slice(&crc32fast::hash(chunk).to_le_bytes());
    member.extend_from_slice(&(chunk.len() as u32).to_le_bytes());
    let length = (member.len() as u32).to_le_bytes();
    member[LENGTH_AT..HEADER].copy_from_slice(&length);
    Ok(member)
}

/// Appends `chunk` as a deflate stream.
fn deflate_at(level: Level, chunk: &[u8], to: &mut Vec<u8>) -> io::Result<()> {
    COMPRESSOR.with_borrow_mut(|kept| {
        let (_, compressor) = match kept {
            Some(same) if same.0 == level => same,
            other => {
                let number = CompressionLvl::new(level.get().into());
                let number = number.map_err(|_| io::Error::other(format!("gzip has no level {level}")))?;
                other.insert((level, Compressor::new(number)))
            }
        };
        let from = to.len();
        to.resize(from + compressor.deflate_compress_bound(chunk.len()), 0);
        let length = compressor.deflate_compress(chunk, &mut to[from..]).map_err(io::Error::other)?;
        to.truncate(from + length);
        Ok(())
    })
}

/// Returns the lengths of the member at the start of these bytes, if all of it is there and it was written here. They are
/// what it states: [`decode`] finds out.
fn whole(bytes: &[u8]) -> Option<Whole> {
    let rest = bytes.strip_prefix(&FIXED)?.strip_prefix(&EXTRA)?;
    let length = u32::from_le_bytes(*rest.first_chunk()?) as usize;
    let content = bytes.get(HEADER..length)?.last_chunk::<4>()?;
    let content = u32::from_le_bytes(*content) as usize;
    (content <= CHUNK && length <= most(CHUNK)).then_some(Whole { length, content })
}

/// The most bytes of a member of `content` bytes, all of it in stored blocks.
const fn most(content: usize) -> usize {
    HEADER + content + (content / 4096 + 1) * 8 + TRAILER
}

/// Returns the content of a member that [`whole`] has found; `None` if it is damaged, or not all of these bytes are one member.
/// Its decoder shares no code with the encoders.
fn decode(member: &[u8], content: usize) -> Option<Vec<u8>> {
    let (stream, trailer) = member.get(HEADER..)?.split_last_chunk::<TRAILER>()?;
    let mut chunk = Vec::with_capacity(content);
    let mut decoder = Decompress::new(false);
    let status = decoder.decompress_vec(stream, &mut chunk, FlushDecompress::Finish).ok()?;
    let ends_there = status == Status::StreamEnd && decoder.total_in() == stream.len() as u64;
    let expected = u64::from_le_bytes(*trailer);
    let found = u64::from(crc32fast::hash(&chunk)) | (chunk.len() as u64) << 32;
    (ends_there && found == expected && chunk.len() == content).then_some(chunk)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::bufread::GzDecoder;

    use super::*;

    fn member() -> Vec<u8> {
        encode(b"to be or not to be, to be or not to be", Level::new(6).unwrap()).unwrap()
    }

    #[test]
    fn a_member_states_its_length_and_other_readers_read_it() {
        let member = member();
        let longer = [&member[..], &member[..]].concat();
        assert_eq!(whole(&longer), Some(Whole { length: member.len(), content: 38 }));
        assert_eq!(whole(&member[..member.len() - 1]), None);
        assert_eq!(decode(&member, 38).unwrap(), b"to be or not to be, to be or not to be");
        let mut content = String::new();
        GzDecoder::new(&member[..]).read_to_string(&mut content).unwrap();
        assert_eq!(content, "to be or not to be, to be or not to be");
    }

    #[test]
    fn a_member_that_is_not_as_it_states_is_not_decoded() {
        let member = member();
        for bit in HEADER * 8..member.len() * 8 {
            let mut damaged = member.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // The bits that fill the last byte of the stream mean nothing.
            let content = decode(&member, 38);
            assert!(decode(&damaged, 38).is_none_or(|other| Some(other) == content), "bit {bit}");
        }
        // Two members that state to be one: the first would hide the second.
        let mut hidden = [&member[..], &member[..]].concat();
        let length = (hidden.len() as u32).to_le_bytes();
        hidden[LENGTH_AT..HEADER].copy_from_slice(&length);
        let found = whole(&hidden).unwrap();
        assert!(decode(&hidden, found.content).is_none());
        // A content, and a length, that no member of ours has.
        for (at, value) in [(member.len() - 4, CHUNK as u32 + 1), (LENGTH_AT, most(CHUNK) as u32 + 1), (LENGTH_AT, 3)] {
            let mut large = member.clone();
            large[at..at + 4].copy_from_slice(&value.to_le_bytes());
            large.resize(2 * CHUNK, 0);
            assert!(whole(&large).is_none_or(|found| found.content == 0), "{at} {value}");
        }
    }

    #[test]
    fn no_member_is_longer_than_the_most() {
        let noise: Vec<u8> =
            (0..CHUNK as u32).map(|n| (n.wrapping_mul(2_654_435_761).rotate_left(n % 31) >> 9) as u8).collect();
        for level in [1, 6, 9] {
            for content in [&noise[..], &noise[..1], &[]] {
                let length = encode(content, Level::new(level).unwrap()).unwrap().len();
                assert!(length <= most(content.len()), "{length}");
            }
        }
    }
}
