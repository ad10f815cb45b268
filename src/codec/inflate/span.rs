//! Decodes a span of a stream, from a known position, or from the first block that is found in it.

use crc32fast::Hasher;

use super::Stop;
use super::decoder::{Decoder, Output, ROOM};
use super::finder::{self, Start};
use super::symbol::{MARKER, Symbol, WINDOW};

/// The symbols after which a decoder looks whether it still needs markers.
const STEP: usize = 64 << 10;

/// The most symbols that may be decoded from positions which turn out to be no blocks, before a search gives up: a stream can
/// be made to have many.
const MOST_IN_VAIN: usize = 1 << 20;

/// What was decoded of a span. Its buffers are used again.
pub(super) struct Span {
    /// The compressed bytes, and the bit of the file at which they begin.
    pub(super) input: Vec<u8>,
    pub(super) base: u64,
    /// Where in the input the output begins.
    pub(super) start: Start,
    /// The bit at which it ends, and the decoder there.
    pub(super) at: usize,
    pub(super) decoder: Decoder,
    pub(super) stop: Stop,
    /// [`WINDOW`] markers, and the symbols that were decoded with them.
    wide: Buffer<u16>,
    /// The same without markers, as soon as the window before them is known.
    resolved: Vec<u8>,
    /// The window before them, and the bytes that were decoded without markers.
    narrow: Buffer<u8>,
    /// The checksum of what is resolved, and of all.
    crc: Hasher,
}

struct Buffer<T> {
    symbols: Vec<T>,
    to: usize,
}

impl<T: Symbol> Buffer<T> {
    const EMPTY: Self = Self { symbols: Vec::new(), to: WINDOW };

    /// Grows so that there is room for `count` symbols, and [`ROOM`].
    fn reserve(&mut self, count: usize) {
        let length = self.to + count + ROOM;
        if self.symbols.len() < length {
            self.symbols.resize(length, T::default());
        }
    }

    fn decoded(&self) -> usize {
        self.to - WINDOW
    }

    /// Returns the last [`WINDOW`] symbols.
    fn window(&self) -> &[T] {
        self.symbols.get(self.to - WINDOW..self.to).unwrap_or_default()
    }
}

impl Span {
    pub(super) fn new() -> Self {
        Self {
            input: Vec::new(),
            base: 0,
            start: Start { first: 0, last: 0 },
            at: 0,
            decoder: Decoder::new(),
            stop: Stop::Block,
            wide: Buffer::EMPTY,
            resolved: Vec::new(),
            narrow: Buffer::EMPTY,
            crc: Hasher::new(),
        }
    }

    fn clear(&mut self) {
        (self.wide.to, self.narrow.to) = (WINDOW, WINDOW);
        self.crc = Hasher::new();
    }

    /// Decodes, up to `limit` symbols, from the first block that is found from bit `from` of `self.input` on up to the first that
    /// begins at or behind bit `until`. Returns false if none is found.
    pub(super) fn search(&mut self, from: usize, until: usize, limit: usize) -> bool {
        self.clear();
        if self.wide.symbols.is_empty() {
            self.wide.symbols.extend(MARKER..=MARKER + (WINDOW - 1) as u16);
        }
        let (mut from, mut in_vain) = (from, 0);
        while let Some(start) = finder::find(&self.input, from, until) {
            (self.start, self.at, self.wide.to) = (start, start.last, WINDOW);
            self.decoder.reset();
            if self.with_markers(until, limit) {
                return true;
            }
            in_vain += self.wide.decoded();
            if in_vain > MOST_IN_VAIN {
                break;
            }
            from = start.last + 1;
        }
        false
    }

    /// Decodes from `self.start` on, with markers, and without as soon as no match can refer to one. Returns false if there is no
    /// block, or none behind it.
    fn with_markers(&mut self, until: usize, limit: usize) -> bool {
        let mut blocks = 0;
        // Behind the last marker.
        let mut known_from = WINDOW;
        loop {
            let before = self.wide.to;
            let room = STEP.min(limit.saturating_sub(self.wide.decoded()));
            self.wide.reserve(room);
            let mut out =
                Output { symbols: &mut self.wide.symbols, floor: 0, to: self.wide.to, limit: self.wide.to + room };
            let next_block = self.at + 1;
            self.stop = self.decoder.decode(&self.input, &mut self.at, next_block, &mut out);
            self.wide.to = out.to;
            match self.stop {
                Stop::Block => blocks += 1,
                Stop::Corrupt if blocks == 0 || blocks == 1 && self.decoder.is_between_blocks() => return false,
                Stop::Output => {}
                Stop::Input | Stop::End | Stop::Corrupt => return true,
            }
            if self.stop == Stop::Block && self.at >= until || self.wide.decoded() >= limit {
                return true;
            }
            if let Some(marker) = last_marker(&self.wide.symbols[before..self.wide.to]) {
                known_from = before + marker + 1;
            }
            if blocks > 1 && self.wide.to - known_from >= WINDOW {
                self.narrow.reserve(0);
                for (to, symbol) in self.narrow.symbols.iter_mut().zip(self.wide.window()) {
                    *to = *symbol as u8;
                }
                self.known(until, limit.saturating_sub(self.wide.decoded()), 0);
                return true;
            }
        }
    }

    /// Decodes, up to `limit` bytes, with the window at the start of `self.narrow`, of which the bytes from `floor` on are known.
    fn known(&mut self, until: usize, limit: usize, floor: usize) {
        loop {
            // It doubles, but to a multiple of what a block has.
            let room = limit.saturating_sub(self.narrow.decoded());
            self.narrow.reserve(room.min(self.narrow.decoded().max(4 * STEP)));
            let Buffer { symbols, to } = &mut self.narrow;
            let before = *to;
            let end = (before + room).min(symbols.len() - ROOM);
            let mut out = Output { symbols, floor, to: before, limit: end };
            self.stop = self.decoder.decode(&self.input, &mut self.at, until, &mut out);
            *to = out.to;
            self.crc.update(&symbols[before..*to]);
            if self.stop != Stop::Output || *to - before >= room {
                return;
            }
        }
    }

    /// Decodes with a known window, in place of what it holds: up to `limit` bytes of `input` from bit `at` on.
    pub(super) fn decode(&mut self, input: &[u8], at: usize, until: usize, limit: usize, window: &[u8], known: usize) {
        self.clear();
        self.narrow.reserve(limit);
        let unknown = WINDOW - known;
        self.narrow.symbols[unknown..WINDOW].copy_from_slice(&window[unknown..]);
        let mut out =
            Output { symbols: &mut self.narrow.symbols, floor: WINDOW - known, to: WINDOW, limit: WINDOW + limit };
        (self.start, self.at) = (Start { first: at, last: at }, at);
        self.stop = self.decoder.decode(input, &mut self.at, until, &mut out);
        self.narrow.to = out.to;
        self.crc.update(&self.narrow.symbols[WINDOW..self.narrow.to]);
    }

    /// Returns the number of bytes that were decoded.
    pub(super) fn length(&self) -> usize {
        self.wide.decoded() + self.narrow.decoded()
    }

    /// Replaces `window`, the bytes before the span, by the last bytes of the span.
    pub(super) fn move_window(&self, window: &mut [u8]) {
        if self.stop == Stop::End {
            // Nothing follows.
        } else if self.narrow.to > WINDOW {
            window.copy_from_slice(self.narrow.window());
        } else if self.wide.to > WINDOW {
            Bytes::new(window).replace(self.wide.window(), window);
        }
    }

    /// Returns whether there are markers to [`resolve`](Self::resolve).
    pub(super) fn has_markers(&self) -> bool {
        self.wide.decoded() > 0
    }

    /// Replaces the markers by the bytes of the `window` before the span.
    pub(super) fn resolve(&mut self, window: &[u8]) {
        let count = self.wide.decoded();
        if self.resolved.len() < count {
            self.resolved.resize(count, 0);
        }
        let resolved = &mut self.resolved[..count];
        Bytes::new(window).replace(&self.wide.symbols[WINDOW..self.wide.to], resolved);
        let mut crc = Hasher::new();
        crc.update(resolved);
        crc.combine(&self.crc);
        self.crc = crc;
    }

    /// Returns the bytes of the span from `from` on, as far as they follow each other in memory.
    pub(super) fn bytes(&self, from: usize) -> &[u8] {
        let wide = self.wide.decoded();
        if from < wide {
            return self.resolved.get(from..wide).unwrap_or_default();
        }
        self.narrow.symbols.get(WINDOW + from - wide..self.narrow.to).unwrap_or_default()
    }

    pub(super) fn crc(&self) -> &Hasher {
        &self.crc
    }
}

/// The symbols that are searched for markers at a time.
const CHUNK: usize = 32;

/// Returns the index of the last marker.
fn last_marker(symbols: &[u16]) -> Option<usize> {
    let is_marker = |symbol: &u16| *symbol >= MARKER;
    let mut end = symbols.len();
    for chunk in symbols.rchunks(CHUNK) {
        if chunk.iter().fold(0, |all, symbol| all | symbol) >= MARKER {
            return symbols[..end].iter().rposition(is_marker);
        }
        end -= chunk.len();
    }
    None
}

/// The byte that each symbol stands for.
struct Bytes([u8; 1 << 16]);

impl Bytes {
    #[expect(clippy::large_stack_arrays, reason = "threads have room for it, and any symbol is an index")]
    fn new(window: &[u8]) -> Self {
        let mut bytes = [0; 1 << 16];
        for (symbol, byte) in (0..MARKER).zip(&mut bytes) {
            *byte = symbol as u8;
        }
        let from = usize::from(MARKER);
        bytes[from..from + window.len()].copy_from_slice(window);
        Self(bytes)
    }

    /// Writes the bytes of `symbols` to `to`, which is as long.
    fn replace(&self, symbols: &[u16], to: &mut [u8]) {
        let (chunks, rest) = symbols.as_chunks::<CHUNK>();
        let (to_chunks, to_rest) = to.as_chunks_mut::<CHUNK>();
        for (chunk, to) in chunks.iter().zip(to_chunks) {
            if chunk.iter().fold(0, |all, symbol| all | symbol) < MARKER {
                for (to, symbol) in to.iter_mut().zip(chunk) {
                    *to = *symbol as u8;
                }
            } else {
                self.replace_each(chunk, to);
            }
        }
        self.replace_each(rest, to_rest);
    }

    fn replace_each(&self, symbols: &[u16], to: &mut [u8]) {
        for (to, symbol) in to.iter_mut().zip(symbols) {
            *to = self.0[usize::from(*symbol)];
        }
    }
}
