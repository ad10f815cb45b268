//! Reads gzip members (RFC 1952) of any encoder as streams.

use std::io::{self, Read};

use flate2::bufread::GzDecoder;

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

    pub(super) fn is_parallel(&self) -> bool {
        self.stream.is_parallel()
    }

    /// Returns the offset in the file of the end of what was read, or of a part of it that is being read.
    pub(super) fn consumed(&self) -> u64 {
        self.stream.consumed()
    }

    /// Begins the member at the start of `source`.
    pub(super) fn begin<R: Read>(&mut self, source: &mut Source<R>) -> io::Result<()> {
        let mut decoder = GzDecoder::new(&mut *source);
        if decoder.header().is_none() {
            // The error of the header.
            let error = decoder.read(&mut [0]).err().unwrap_or_else(|| io::ErrorKind::InvalidData.into());
            return Err(if source.failed() { error } else { Damage::of_decoder(source.offset(), &error) });
        }
        drop(decoder);
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
            return Err(source.take_error().unwrap_or_else(|| Damage::error(source.end(), Fault::EndsInBlock)));
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
