//! Reads a stream in order, of which spans are decoded ahead.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crc32fast::Hasher;

use super::Stop;
use super::decoder::Decoder;
use super::span::Span;
use super::symbol::WINDOW;
use crate::codec::format::{Damage, Fault};
use crate::codec::source::Source;
use crate::ordered::{Ordered, Pool};

/// How a stream is divided.
#[derive(Debug, Clone, Copy)]
pub(in crate::codec) struct Sizes {
    /// The compressed bytes at the start of a stream that the thread which reads decodes. Shorter streams would end before
    /// jobs for others pay.
    pub(super) alone: u64,
    /// The compressed bytes of a span: so many that the search for its first block takes little of the time.
    pub(super) span: usize,
    /// The compressed bytes behind a span in which its last block must end. Encoders end a block after some 10 to 200 KiB.
    pub(super) behind: usize,
    /// The most bytes that a job decompresses. Each can take three bytes in memory: bytes of zeros take a thousandth of that in
    /// a file.
    pub(super) most: usize,
    /// The fewest threads that decode spans ahead. Two would save nothing: with markers, and a search, decoding takes each of
    /// them half as long again, and the thread that reads needs one of two cores.
    pub(super) threads: usize,
    /// The bytes that the thread which reads decodes at a time. It is a part of the cache of a core.
    pub(super) piece: usize,
}

impl Sizes {
    pub(in crate::codec) const DEFAULT: Self =
        Self { alone: 1 << 20, span: 512 << 10, behind: 64 << 10, most: 2 << 20, threads: 3, piece: 256 << 10 };

    /// Returns the compressed bytes of the next span of a stream of which `compressed` bytes were `decoded` to so many: its
    /// output is half of the most, unless the stream changes.
    fn next_span(&self, compressed: u64, decoded: u64) -> usize {
        let length = (self.most as u64 / 2).saturating_mul(compressed) / decoded.max(1);
        usize::try_from(length).unwrap_or(usize::MAX).clamp(self.span / 16 + 1, self.span)
    }
}

/// A raw DEFLATE stream that begins at the start of a source. The buffers are used again for the next stream.
pub(in crate::codec) struct Stream {
    sizes: Sizes,
    pool: Pool,
    /// The bit of the file at which the stream begins, and that up to which spans follow each other.
    start: u64,
    at: u64,
    /// The decoder at this bit.
    decoder: Decoder,
    /// The last bytes before this bit, and the number of all bytes of the stream before it.
    window: Vec<u8>,
    decoded: u64,
    /// Why nothing is decoded from there on.
    stop: Option<Stop>,
    /// The bits at which the spans begin that are decoded ahead, and the bit up to which there are such spans.
    begins: VecDeque<u64>,
    ahead_to: u64,
    ahead: Ordered<(Span, bool)>,
    /// The first of them, when it has been decoded.
    found: Option<Span>,
    /// What was decoded and not yet read, each with the byte of the file at which it ends. Those that are not here are in
    /// `resolving`.
    ready: VecDeque<(Option<Span>, u64)>,
    resolving: Ordered<Span>,
    /// The span that is being read, and how much of it was read.
    current: Option<Span>,
    read: usize,
    /// The byte of the file at which it ends; the checksum and the length of the stream up to there.
    consumed: u64,
    crc: Hasher,
    spare: Vec<Span>,
    was_ahead: bool,
    /// The number of spans that were submitted, and that were taken; and that of those which were decoded.
    submitted: u64,
    taken: u64,
    finished: Arc<AtomicU64>,
    /// The number of spans that were decoded ahead and used, and that of those which were not.
    #[cfg(test)]
    pub(super) appended: u64,
    #[cfg(test)]
    pub(super) dropped: u64,
}

impl Stream {
    pub(in crate::codec) fn new(pool: &Pool, sizes: Sizes) -> Self {
        Self {
            sizes,
            pool: pool.clone(),
            start: 0,
            at: 0,
            decoder: Decoder::new(),
            window: vec![0; WINDOW],
            decoded: 0,
            stop: None,
            begins: VecDeque::new(),
            ahead_to: 0,
            ahead: Ordered::new(pool),
            found: None,
            ready: VecDeque::new(),
            resolving: Ordered::new(pool),
            current: None,
            read: 0,
            consumed: 0,
            crc: Hasher::new(),
            spare: Vec::new(),
            was_ahead: false,
            submitted: 0,
            taken: 0,
            finished: Arc::default(),
            #[cfg(test)]
            appended: 0,
            #[cfg(test)]
            dropped: 0,
        }
    }

    /// Begins a stream at byte `offset` of the file.
    pub(in crate::codec) fn begin(&mut self, offset: u64) {
        (self.start, self.at, self.ahead_to) = (offset * 8, offset * 8, offset * 8);
        self.decoder.reset();
        (self.decoded, self.stop, self.consumed, self.crc) = (0, None, offset, Hasher::new());
        // What is decoded behind the last stream is not needed, and not waited for.
        if !self.begins.is_empty() {
            self.begins.clear();
            self.ahead = Ordered::new(&self.pool);
            (self.submitted, self.taken, self.finished) = (0, 0, Arc::default());
        }
        self.found = None;
    }

    /// Returns whether a stream was so long that `threads` threads would share its decoding.
    pub(in crate::codec) fn is_parallel(&self, threads: usize) -> bool {
        self.was_ahead && threads >= self.sizes.threads
    }

    /// Returns the byte of the file at which the span ends that is being read.
    pub(in crate::codec) fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Returns the checksum of the stream, which was read to its end, and its length modulo 2³².
    pub(in crate::codec) fn totals(&self) -> (u32, u32) {
        (self.crc.clone().finalize(), self.decoded as u32)
    }

    /// Reads the next bytes of the stream into `out`. Returns 0 at its end, and `source` begins behind it.
    pub(in crate::codec) fn read<R: Read>(&mut self, source: &mut Source<R>, out: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(current) = &self.current {
                let rest = current.bytes(self.read);
                let count = rest.len().min(out.len());
                if count > 0 {
                    out[..count].copy_from_slice(&rest[..count]);
                    self.read += count;
                    return Ok(count);
                }
            }
            let read = self.current.take();
            self.spare.extend(read);
            while self.stop.is_none() && self.needs_more() {
                self.advance(source);
            }
            let Some((span, end)) = self.ready.pop_front() else { return self.end(source) };
            let Some(span) = span.or_else(|| self.resolving.take()) else { continue };
            self.crc.combine(span.crc());
            (self.current, self.read, self.consumed) = (Some(span), 0, end);
        }
    }

    /// Returns whether more must be decoded before something is read.
    fn needs_more(&self) -> bool {
        match self.ready.front() {
            None => true,
            Some((Some(_), _)) => false,
            // Jobs that replace markers wait behind those that decode spans.
            Some((None, _)) => self.ready.len() < self.resolving.window() / 2,
        }
    }

    /// Returns what the end of what was decoded means.
    fn end<R: Read>(&self, source: &mut Source<R>) -> io::Result<usize> {
        match self.stop {
            Some(Stop::End) => Ok(0),
            Some(Stop::Input) => Err(source.cut_short(Fault::EndsInBlock)),
            _ => Err(Damage::error(self.at / 8, Fault::Other("corrupt deflate stream".to_owned()))),
        }
    }

    /// Decodes the next span, or a part of it.
    fn advance<R: Read>(&mut self, source: &mut Source<R>) {
        self.submit(source);
        while self.found.is_none() && self.begins.front().is_some_and(|begin| *begin <= self.at) {
            self.begins.pop_front();
            self.taken += 1;
            match self.ahead.take() {
                Some((span, true)) => self.found = Some(span),
                Some((span, false)) => self.spare.push(span),
                None => {}
            }
        }
        let begins = self.found.as_ref().map(|span| span.base + span.start.first as u64);
        if begins.is_some_and(|first| first <= self.at)
            && let Some(span) = self.found.take()
        {
            // A marker stands for a byte of a full window.
            let follows = self.at <= span.base + span.start.last as u64 && self.decoded >= WINDOW as u64;
            let follows = follows && self.decoder.is_between_blocks();
            #[cfg(test)]
            {
                self.appended += u64::from(follows);
                self.dropped += u64::from(!follows);
            }
            if follows {
                self.append(source, span);
            } else {
                self.spare.push(span);
            }
            return;
        }
        let until = begins.or_else(|| self.begins.front().copied()).unwrap_or(u64::MAX);
        self.decode_here(source, until);
    }

    /// Decodes a piece on this thread, or less: up to the first block that begins at or behind bit `until`.
    fn decode_here<R: Read>(&mut self, source: &mut Source<R>, until: u64) {
        let mut span = self.spare.pop().unwrap_or_else(Span::new);
        std::mem::swap(&mut span.decoder, &mut self.decoder);
        let base = source.offset() * 8;
        span.base = base;
        let (at, until) = ((self.at - base) as usize, usize::try_from(until - base).unwrap_or(usize::MAX));
        let known = self.decoded.min(WINDOW as u64) as usize;
        span.decode(source.window(), at, until, self.sizes.piece, &self.window, known);
        if span.stop == Stop::Input && source.more() {
            span.stop = Stop::Block;
        }
        let ends_in_input = span.stop == Stop::Input;
        self.append(source, span);
        if ends_in_input {
            self.stop = Some(Stop::Input);
        }
    }

    /// Appends a span that begins where the last one ended.
    fn append<R: Read>(&mut self, source: &mut Source<R>, mut span: Span) {
        std::mem::swap(&mut span.decoder, &mut self.decoder);
        self.at = span.base + span.at as u64;
        self.decoded += span.length() as u64;
        if matches!(span.stop, Stop::End | Stop::Corrupt) {
            self.stop = Some(span.stop);
        }
        let end = if span.stop == Stop::End { self.at.div_ceil(8) } else { self.at / 8 };
        source.skip((end - source.offset()) as usize);
        if span.has_markers() {
            let before = self.window.clone();
            span.move_window(&mut self.window);
            self.resolving.submit(move || {
                span.resolve(&before);
                span
            });
            self.ready.push_back((None, end));
        } else {
            span.move_window(&mut self.window);
            self.ready.push_back((Some(span), end));
        }
    }

    /// Submits the spans that follow those which are being decoded, as far as there is room.
    fn submit<R: Read>(&mut self, source: &mut Source<R>) {
        let compressed = (self.at - self.start) / 8;
        if compressed < self.sizes.alone {
            return;
        }
        self.was_ahead = true;
        if self.pool.jobs() < self.sizes.threads {
            return;
        }
        let most = self.sizes.most;
        while self.ahead.has_room() {
            let begin = self.ahead_to.max(self.at);
            let length = self.sizes.next_span(compressed, self.decoded);
            let before = (begin / 8 - source.offset()) as usize;
            let bytes = source.fill(before + length + self.sizes.behind).get(before..).unwrap_or_default();
            if bytes.is_empty() {
                return;
            }
            let bytes = &bytes[..bytes.len().min(length + self.sizes.behind)];
            let mut span = self.spare.pop().unwrap_or_else(Span::new);
            span.base = begin / 8 * 8;
            span.input.clear();
            span.input.extend_from_slice(bytes);
            let from = (begin % 8) as usize;
            let until = length.min(bytes.len()) * 8;
            let finished = Arc::clone(&self.finished);
            self.ahead.submit(move || {
                let found = span.search(from, until, most);
                finished.fetch_add(1, Ordering::Relaxed);
                (span, found)
            });
            self.begins.push_back(begin);
            self.ahead_to = begin / 8 * 8 + until as u64;
            self.submitted += 1;
            // Where the thread that reads would wait for the others it takes its turn: it knows the window, so it needs no
            // markers.
            let would_wait = self.finished.load(Ordering::Relaxed) <= self.taken;
            if would_wait && self.submitted.is_multiple_of(self.pool.jobs() as u64) {
                self.ahead_to += length as u64 * 8;
            }
        }
    }
}
