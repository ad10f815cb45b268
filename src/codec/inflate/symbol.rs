//! What a decoder writes: bytes, or bytes of which some are not yet known.

/// The bytes before a byte that a match can refer to.
pub(super) const WINDOW: usize = 32 << 10;

/// The symbols that [`copy_match`] copies at a time.
const CHUNK: usize = 16;

/// The symbols beyond the end of a match, or of literals, that are overwritten with anything.
pub(super) const MARGIN: usize = 2 * CHUNK;

/// The first marker. Marker `MARKER + n` stands for byte `n` of the [`WINDOW`] bytes before a span.
pub(super) const MARKER: u16 = 256;

/// A byte of the output (`u8`), or a byte or a marker (`u16`).
pub(super) trait Symbol: Copy + Default + Send + 'static {
    fn of(byte: u8) -> Self;

    /// Writes the three lowest bytes of `literals` at `at`, and anything behind them.
    fn put(out: &mut [Self], at: usize, literals: u32);
}

impl Symbol for u8 {
    #[inline(always)]
    fn of(byte: u8) -> Self {
        byte
    }

    #[inline(always)]
    fn put(out: &mut [Self], at: usize, literals: u32) {
        if let Some(to) = out.get_mut(at..).and_then(<[Self]>::first_chunk_mut) {
            *to = literals.to_le_bytes();
        }
    }
}

impl Symbol for u16 {
    #[inline(always)]
    fn of(byte: u8) -> Self {
        byte.into()
    }

    #[inline(always)]
    fn put(out: &mut [Self], at: usize, literals: u32) {
        if let Some(to) = out.get_mut(at..).and_then(<[Self]>::first_chunk_mut) {
            *to = literals.to_le_bytes().map(Self::from);
        }
    }
}

/// Copies `length` symbols to `at` from `distance` before it, which they can overlap. Up to [`MARGIN`] symbols behind them are
/// overwritten.
#[inline(always)]
pub(super) fn copy_match<T: Symbol>(out: &mut [T], at: usize, distance: usize, length: usize) {
    let end = at + length;
    let (mut from, mut to) = (at - distance, at);
    if distance < CHUNK {
        let Some(mut period) = chunk(out, from) else { return };
        if distance == 1 {
            period = [period[0]; CHUNK];
            loop {
                put_chunk(out, to, period);
                to += CHUNK;
                if to >= end {
                    return;
                }
            }
        }
        // The symbols of the first period are there. What is copied behind a period is overwritten by the next one.
        while to - from < CHUNK {
            put_chunk(out, to, period);
            to += distance;
        }
        if to >= end {
            return;
        }
    } else {
        copy_chunk(out, from, to);
        (from, to) = (from + CHUNK, to + CHUNK);
    }
    // Most matches are short: fewer branches depend on their length.
    copy_chunk(out, from, to);
    (from, to) = (from + CHUNK, to + CHUNK);
    while to < end {
        copy_chunk(out, from, to);
        (from, to) = (from + CHUNK, to + CHUNK);
    }
}

#[inline(always)]
fn copy_chunk<T: Symbol>(out: &mut [T], from: usize, to: usize) {
    if let Some(symbols) = chunk(out, from) {
        put_chunk(out, to, symbols);
    }
}

#[inline(always)]
fn chunk<T: Symbol>(out: &[T], from: usize) -> Option<[T; CHUNK]> {
    out.get(from..)?.first_chunk().copied()
}

#[inline(always)]
fn put_chunk<T: Symbol>(out: &mut [T], to: usize, symbols: [T; CHUNK]) {
    if let Some(to) = out.get_mut(to..).and_then(<[T]>::first_chunk_mut) {
        *to = symbols;
    }
}
