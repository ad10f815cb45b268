//! Reads gzip members (RFC 1952) of any encoder as streams.

use std::io::{self, Read};

use crate::codec::format::{Damage, Fault};
use crate::codec::inflate::{Sizes, Stream};
use crate::codec::source::Source;
use crate::ordered::Pool;

/// The checksum and the length of the content.
const TRAILER: usize = 8;

/// A member, and then the next one.
pub(super) struct Member {
    stream: Stream,
}

impl Member {
    pub(super) fn new(pool: &Pool) -> Self {
        Self { stream: Stream::new(pool, Sizes::DEFAULT) }
    }

    pub(super) fn is_parallel(&self, threads: usize) -> bool {
        self.stream.is_parallel(threads)
    }

    /// Returns the offset in the file of the end of what was read, or of a part of it that is being read.
    pub(super) fn consumed(&self) -> u64 {
        self.stream.consumed()
    }

    /// Begins the member at the start of `source`.
    pub(super) fn begin<R: Read>(&mut self, source: &mut Source<R>) -> io::Result<()> {
        skip_header(source)?;
        self.stream.begin(source.offset());
        Ok(())
    }

    /// Reads the next bytes of the content into `out`. Returns 0 at its end; `source` is then behind the member.
    pub(super) fn read<R: Read>(&mut self, source: &mut Source<R>, out: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(source, out)?;
        if count > 0 {
            return Ok(count);
        }
        let Some(trailer) = source.fill(TRAILER).first_chunk::<TRAILER>() else {
            return Err(source.cut_short(Fault::EndsInBlock));
        };
        let (crc, length) = self.stream.totals();
        if u64::from_le_bytes(*trailer) != u64::from(crc) | u64::from(length) << 32 {
            let what = "the checksum or the length of a gzip member is wrong";
            return Err(Damage::error(source.offset(), Fault::Other(what.to_owned())));
        }
        source.skip(TRAILER);
        Ok(0)
    }
}

/// The flags of a header: that its fields have a checksum, an extra field, a name, a comment; and those that must not be set.
const CHECKSUM: u8 = 2;
const EXTRA: u8 = 4;
const NAME: u8 = 8;
const COMMENT: u8 = 16;
const RESERVED: u8 = 0xe0;

/// The most bytes of a name or a comment, as the other decoders of this crate have it.
const LONGEST_TEXT: usize = (64 << 10) - 1;

/// Skips the header of a member (section 2.3).
fn skip_header<R: Read>(source: &mut Source<R>) -> io::Result<()> {
    let mut end = 10;
    let header = bytes(source, end)?;
    let (method, flags) = (header[2], header[3]);
    if method != 8 || flags & RESERVED != 0 {
        return Err(invalid(source));
    }
    if flags & EXTRA != 0 {
        end += 2;
        let header = bytes(source, end)?;
        end += usize::from(u16::from_le_bytes([header[end - 2], header[end - 1]]));
        bytes(source, end)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let rest = source.fill(end + 1).get(end..).unwrap_or_default();
            let nul = match rest.iter().position(|byte| *byte == 0) {
                None => source.fill(end + LONGEST_TEXT + 1).iter().skip(end).position(|byte| *byte == 0),
                found => found,
            };
            match nul {
                Some(length) if length <= LONGEST_TEXT => end += length + 1,
                Some(_) => return Err(invalid(source)),
                None => {
                    // There is none, or not as far as there may be one.
                    bytes(source, end + LONGEST_TEXT + 1)?;
                    return Err(invalid(source));
                }
            }
        }
    }
    if flags & CHECKSUM != 0 {
        let header = bytes(source, end + 2)?;
        let stated = u16::from_le_bytes([header[end], header[end + 1]]);
        if crc32fast::hash(&header[..end]) as u16 != stated {
            return Err(invalid(source));
        }
        end += 2;
    }
    source.skip(end);
    Ok(())
}

/// Returns the first `count` bytes of `source`, or more.
fn bytes<R: Read>(source: &mut Source<R>, count: usize) -> io::Result<&[u8]> {
    if source.fill(count).len() < count {
        return Err(source.cut_short(Fault::EndsInBlock));
    }
    Ok(source.window())
}

fn invalid<R>(source: &Source<R>) -> io::Error {
    Damage::error(source.offset(), Fault::Other("invalid gzip header".to_owned()))
}

#[cfg(test)]
mod tests {
    use flate2::bufread::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_or_a_comment_is_as_long_as_flate2_accepts() {
        for flag in [NAME, COMMENT] {
            for (length, is_valid) in [(LONGEST_TEXT, true), (LONGEST_TEXT + 1, false)] {
                let mut header = vec![0x1f, 0x8b, 8, flag, 0, 0, 0, 0, 0, 3];
                header.resize(10 + length, b'n');
                header.push(0);
                assert_eq!(skip_header(&mut Source::new(&header[..])).is_ok(), is_valid);
                assert_eq!(GzDecoder::new(&header[..]).header().is_some(), is_valid);
            }
        }
    }

    proptest! {
        /// Headers with any fields, cut and changed: the content begins where flate2 finds it, or both refuse them.
        #[test]
        fn a_header_is_as_long_as_flate2_finds_it(
            flags in prop_oneof![0..32_u8, any::<u8>()],
            method in prop_oneof![9 => Just(8_u8), 1 => any::<u8>()],
            rest in prop::collection::vec(prop_oneof![Just(0_u8), 0..9_u8, any::<u8>()], 0..60),
            has_checksum in any::<bool>(),
        ) {
            let mut header = vec![0x1f, 0x8b, method, flags, 0, 0, 0, 0, 0, 3];
            header.extend(&rest);
            let mut plain = header.clone();
            plain[3] &= !CHECKSUM;
            let mut source = Source::new(&plain[..]);
            if has_checksum && flags & CHECKSUM != 0 && skip_header(&mut source).is_ok() {
                header.truncate(source.offset() as usize);
                let crc = crc32fast::hash(&header) as u16;
                header.extend(crc.to_le_bytes());
                header.extend(b"content");
            }
            let mut source = Source::new(&header[..]);
            let found = skip_header(&mut source);
            let decoder = GzDecoder::new(&header[..]);
            prop_assert_eq!(found.is_ok(), decoder.header().is_some(), "{:?}", found);
            if found.is_ok() {
                prop_assert_eq!(source.window(), *decoder.get_ref());
            }
        }
    }
}
