//! Reading by decoders that share no code with the encoders of this crate, nor with its own decoders: libbz2-rs, zlib-rs and
//! ruzstd. They are slower, and run on one thread.

use std::io::{self, Read};

use ::bzip2::bufread::BzDecoder;
use flate2::bufread::GzDecoder;
use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

use super::format::{Damage, Fault, Format};
use super::next::{Next, next};
use super::source::Source;
use super::window;

/// Reads the content of a bzip2, gzip or zstd file.
pub(super) struct Reader<R: Read> {
    state: State<R>,
    format: Format,
    garbage: Option<u64>,
}

/// Where the reader is: before a member, in one, or at the end.
enum State<R: Read> {
    Between(Source<R>),
    In(Box<Member<R>>),
    Ended { compressed_bytes: u64 },
}

/// The decoder of a stream, member or frame.
#[expect(clippy::large_enum_variant, reason = "there is one, in a box")]
enum Member<R: Read> {
    Bzip2(BzDecoder<Source<R>>),
    Gzip(GzDecoder<Source<R>>),
    Zstd(StreamingDecoder<Source<R>, FrameDecoder>),
}

impl<R: Read> Reader<R> {
    /// Returns a reader of `source`, which begins with the magic of `format`.
    pub(super) fn new(source: Source<R>, format: Format) -> Self {
        Self { state: State::Between(source), format, garbage: None }
    }

    pub(super) fn compressed_bytes(&self) -> u64 {
        match &self.state {
            State::Between(source) => source.offset(),
            State::In(member) => member.source().offset(),
            State::Ended { compressed_bytes } => *compressed_bytes,
        }
    }

    pub(super) fn trailing_garbage(&self) -> Option<u64> {
        self.garbage
    }

    /// Reads the next bytes of the content into `out`, which is not empty. Returns 0 at the end of the last member.
    pub(super) fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let ended = State::Ended { compressed_bytes: self.compressed_bytes() };
            match std::mem::replace(&mut self.state, ended) {
                State::Ended { .. } => return Ok(0),
                State::Between(mut source) => match next(&mut source, self.format)? {
                    Next::Member => self.begin(source)?,
                    Next::End { garbage } => self.garbage = garbage,
                },
                State::In(mut member) => match member.read(out) {
                    Ok(0) => self.state = State::Between(member.end()?),
                    Ok(count) => {
                        self.state = State::In(member);
                        return Ok(count);
                    }
                    Err(error) if member.source().failed() => return Err(error),
                    Err(error) => return Err(Damage::of_decoder(member.source().offset(), &error)),
                },
            }
        }
    }

    fn begin(&mut self, source: Source<R>) -> io::Result<()> {
        let member = match self.format {
            Format::Bzip2 => Member::Bzip2(BzDecoder::new(source)),
            Format::Gzip => Member::Gzip(GzDecoder::new(source)),
            Format::Zstd => {
                if let [0x50..=0x5f, 0x2a, 0x4d, 0x18, a, b, c, d, ..] = *source.window() {
                    self.state = State::Between(skip_frame(source, u32::from_le_bytes([a, b, c, d]))?);
                    return Ok(());
                }
                let at = source.offset();
                let decoder = StreamingDecoder::new_with_max_window_size(source, window::limit());
                Member::Zstd(decoder.map_err(|error| Damage::error(at, Fault::Other(error.to_string())))?)
            }
            Format::Plain => return Err(io::Error::other("what is not compressed has no members")),
        };
        self.state = State::In(Box::new(member));
        Ok(())
    }
}

impl<R: Read> Member<R> {
    fn source(&self) -> &Source<R> {
        match self {
            Self::Bzip2(decoder) => decoder.get_ref(),
            Self::Gzip(decoder) => decoder.get_ref(),
            Self::Zstd(decoder) => decoder.get_ref(),
        }
    }

    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Bzip2(decoder) => decoder.read(out),
            Self::Gzip(decoder) => decoder.read(out),
            Self::Zstd(decoder) => decoder.read(out),
        }
    }

    /// Returns the source after the member, of which all was read.
    fn end(self) -> io::Result<Source<R>> {
        Ok(match self {
            Self::Bzip2(decoder) => decoder.into_inner(),
            Self::Gzip(decoder) => decoder.into_inner(),
            Self::Zstd(decoder) => {
                let (source, decoder) = decoder.into_parts();
                // ruzstd leaves the comparison to its caller.
                if let Some(stated) = decoder.get_checksum_from_data()
                    && decoder.get_calculated_checksum() != Some(stated)
                {
                    return Err(Damage::error(
                        source.offset(),
                        Fault::Other("the checksum of a frame is wrong".to_owned()),
                    ));
                }
                source
            }
        })
    }
}

/// Skips a skippable frame with so many bytes after its header (RFC 8878, section 3.1.2).
fn skip_frame<R: Read>(mut source: Source<R>, length: u32) -> io::Result<Source<R>> {
    let mut left = 8 + length as usize;
    while left > 0 {
        let there = source.fill(1).len().min(left);
        if there == 0 {
            return Err(source.cut_short(Fault::EndsInBlock));
        }
        source.skip(there);
        left -= there;
    }
    Ok(source)
}
