//! Reading of gzip members and Zstandard frames. Those that are found whole are decoded on a pool, in order; the others are
//! decoded as a stream. This module continues with the next member or frame, and reports the offset of damage.

use std::io::{self, BufRead as _, Read};

use ::zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, Operation as _};

use super::ahead::Ahead;
use super::chunk::Chunked;
use super::gzip::GZIP;
use super::member::Member;
use super::zstd;
use super::zstd::ZSTD;
use crate::codec::format::{Damage, Format};
use crate::codec::next::{Next, next};
use crate::codec::source::Source;
use crate::codec::window;
use crate::ordered::Pool;

/// The largest window that the decoder knows: that of `zstd --long=31`. Which are decoded is decided before.
const ZSTD_WINDOW_LOG_MAX: u32 = 31;

/// Reads the content of a gzip or zstd file.
pub(in crate::codec) struct Reader<R> {
    state: State<R>,
    /// What reads all gzip members.
    member: Member,
    /// The decoder of all zstd frames: a new one takes longer than a small frame.
    zstd: Option<ZstdDecoder<'static>>,
    ahead: Ahead,
    garbage: Option<u64>,
}

/// Where the reader is: before a member of this format, in a member, or at the end. Members that are decoded ahead are behind
/// the start of the source.
enum State<R> {
    Between(Source<R>, Format),
    Gzip(Source<R>),
    Zstd(Source<R>),
    Ended { compressed_bytes: u64 },
}

impl<R: Read> Reader<R> {
    /// Returns a reader of `source`, which begins with a gzip member or a zstd frame.
    pub(in crate::codec) fn new(source: Source<R>, format: Format, pool: &Pool) -> Self {
        let state = State::Between(source, format);
        Self { state, member: Member::new(pool), zstd: None, ahead: Ahead::new(pool), garbage: None }
    }

    pub(in crate::codec) fn compressed_bytes(&self) -> u64 {
        match &self.state {
            State::Between(source, _) | State::Zstd(source) => source.offset(),
            State::Gzip(_) => self.member.consumed(),
            State::Ended { compressed_bytes } => *compressed_bytes,
        }
    }

    pub(in crate::codec) fn trailing_garbage(&self) -> Option<u64> {
        self.garbage
    }

    /// Returns whether `threads` threads would share the decoding of what was read.
    pub(in crate::codec) fn is_parallel(&self, threads: usize) -> bool {
        (threads > 1 && self.ahead.has_decoded()) || self.member.is_parallel(threads)
    }

    /// Reads the next bytes of the content into `out`, which is not empty. Returns 0 at the end of the last member.
    pub(in crate::codec) fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            let (read, source) = match &mut self.state {
                State::Ended { .. } => return Ok(0),
                State::Between(source, format) => {
                    if let Some(count) = self.ahead.read(source, chunked(*format), out) {
                        return Ok(count);
                    }
                    self.begin()?;
                    continue;
                }
                State::Gzip(source) => {
                    let count = self.member.read(source, out)?;
                    if count > 0 {
                        return Ok(count);
                    }
                    self.end_member();
                    continue;
                }
                State::Zstd(source) => (read_frame(self.zstd.as_mut(), source, out), &*source),
            };
            match read {
                Ok((count, at_end)) => {
                    if at_end {
                        self.end_member();
                    }
                    if count > 0 {
                        return Ok(count);
                    }
                }
                Err(error) if source.failed() => return Err(error),
                Err(error) => return Err(Damage::of_decoder(source.offset(), &error)),
            }
        }
    }

    fn end_member(&mut self) {
        let ended = State::Ended { compressed_bytes: self.compressed_bytes() };
        self.state = match std::mem::replace(&mut self.state, ended) {
            State::Gzip(source) => State::Between(source, Format::Gzip),
            State::Zstd(source) => State::Between(source, Format::Zstd),
            other @ (State::Between(..) | State::Ended { .. }) => other,
        };
    }

    /// Begins the next member. If there is none, the reader is at the end.
    fn begin(&mut self) -> io::Result<()> {
        let ended = State::Ended { compressed_bytes: self.compressed_bytes() };
        let State::Between(mut source, format) = std::mem::replace(&mut self.state, ended) else { return Ok(()) };
        match next(&mut source, format)? {
            Next::End { garbage } => self.garbage = garbage,
            Next::Member if format == Format::Gzip => {
                self.member.begin(&mut source)?;
                self.state = State::Gzip(source);
            }
            Next::Member => {
                window::check(zstd::window(source.window()), source.offset())?;
                if self.zstd.is_none() {
                    let decoder = self.zstd.insert(ZstdDecoder::new()?);
                    decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX))?;
                }
                self.state = State::Zstd(source);
            }
        }
        Ok(())
    }
}

fn chunked(format: Format) -> &'static Chunked {
    if format == Format::Gzip { &GZIP } else { &ZSTD }
}

/// Reads the next bytes of a zstd frame into `out`. Returns their number, and whether they are its last; the next frame is then
/// read with the same decoder.
fn read_frame<R: Read>(
    decoder: Option<&mut ZstdDecoder<'static>>,
    source: &mut Source<R>,
    out: &mut [u8],
) -> io::Result<(usize, bool)> {
    let decoder = decoder.ok_or_else(|| io::Error::other("a zstd frame was not begun"))?;
    loop {
        let window = source.fill_buf()?;
        let at_end = window.is_empty();
        let status = decoder.run_on_buffers(window, out)?;
        source.consume(status.bytes_read);
        if status.bytes_written > 0 || status.remaining == 0 {
            return Ok((status.bytes_written, status.remaining == 0));
        }
        if at_end {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
}
