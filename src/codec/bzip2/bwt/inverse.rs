//! The inverse transform. The last bytes of the sorted rotations are known, and so are the first ones: the same bytes,
//! sorted. The n-th occurrence of a byte in the first column belongs to the n-th in the last one, which gives the row
//! of the rotation that begins one byte later. From the row of the block itself, a chain of rows leads through all its
//! bytes.
//!
//! Each step of the chain waits for memory. So the chain is cut at up to 256 rows all over the block, and [`LANES`]
//! segments are followed in turn, which keeps as many loads in flight on one core. Then the segments are joined. The
//! rows where the chain is cut lead to a sink, which leads to itself. So a segment can be followed beyond its end,
//! which is checked only once for [`ROUND`] bytes. In data that compresses well, most bytes are in long runs, whose
//! rows are adjacent and are linked sixteen at a time.

use super::bytes::Counts;
use super::counting::Heads;
use crate::codec::bzip2::BlockSize;
use crate::codec::bzip2::rle::max_block;

/// A power of two, so that a row number modulo this needs no bounds check.
const ROWS: usize = 1 << 20;
const _: () = assert!(max_block(BlockSize::LARGEST) < ROWS);

/// A row is a word, with the number of the next row above this many bits, and the first byte of the row in the low
/// ones.
const NEXT: u32 = 12;

/// The row to which the rows at the cuts, and the sink itself, lead. It is beyond the rows of any block.
const SINK: u32 = ROWS as u32 - 1;

/// The number of segments that are followed in turn.
const LANES: usize = 16;

/// Bytes of a segment that are followed before its end is checked.
const ROUND: usize = 64;

/// The number of adjacent bytes that are linked together if they are equal.
const RUN: usize = 16;

/// The average length of a segment in bytes, and the maximum number of segments.
const SEGMENT: usize = 2048;
const MAX_SEGMENTS: usize = 256;

/// Buffers that are reused for each block.
#[derive(Default)]
pub(in crate::codec::bzip2) struct Inverse {
    rows: Vec<u32>,
    rounds: Vec<[u8; ROUND]>,
    segments: Vec<Segment>,
    text: Vec<u8>,
}

/// The text from one row at which the chain is cut to the next one.
struct Segment {
    /// The row at which the segment begins.
    start: usize,
    /// The word of this row before the cut.
    word: u32,
    /// The indices in `Inverse::rounds` of its bytes, which fill all rounds but the last one.
    rounds: Vec<u32>,
    /// Its length in bytes.
    len: usize,
    /// The row at which the segment after it begins.
    next: usize,
}

impl Inverse {
    /// Returns the block whose sorted rotations end with the bytes `last`, and whose own rank is `origin`. `counts` are
    /// those of `last`. Any bytes give some block of the same length.
    pub(in crate::codec::bzip2) fn text(&mut self, last: &[u8], counts: &Counts, origin: usize) -> &mut [u8] {
        let n = last.len();
        self.rows.resize(ROWS, 0);
        self.text.clear();
        let Self { rows, rounds, segments, text } = self;
        let Some(rows) = rows.first_chunk_mut::<ROWS>() else { return text };
        link(last, counts, rows);
        let count = (n / SEGMENT).min(MAX_SEGMENTS);
        if count < LANES {
            let mut word = rows[origin % ROWS];
            text.extend(last.iter().map(|_| {
                let byte = word as u8;
                word = after(rows, word);
                byte
            }));
            return text;
        }

        segments.clear();
        segments.extend((0..count).map(|segment| Segment::at(segment * n / count)));
        if let Err(index) = segments.binary_search_by_key(&origin, |segment| segment.start) {
            segments.insert(index, Segment::at(origin));
        }
        rows[SINK as usize] = SINK << NEXT;
        for segment in segments.iter_mut() {
            let row = &mut rows[segment.start % ROWS];
            segment.word = std::mem::replace(row, SINK << NEXT);
        }
        follow(rows, segments, rounds);
        join(segments, rounds, origin, n, text);
        text
    }
}

impl Segment {
    fn at(start: usize) -> Self {
        Self { start, word: 0, rounds: Vec::new(), len: 0, next: start }
    }
}

/// Computes all rows.
fn link(last: &[u8], counts: &Counts, rows: &mut [u32; ROWS]) {
    let mut heads = Heads::new(counts);
    let word = |row: u32, byte: u8| row << NEXT | u32::from(byte);
    let one = |heads: &mut Heads, rows: &mut [u32; ROWS], row: u32, byte: u8| {
        rows[heads.take(usize::from(byte)) % ROWS] = word(row, byte);
    };
    let (some, rest) = last.as_chunks::<RUN>();
    for (bytes, row) in some.iter().zip((0..).step_by(RUN)) {
        // In repetitive data, most bytes are in long runs, whose rows are adjacent.
        let byte = bytes[0];
        if byte == bytes[RUN - 1]
            && *bytes == [byte; RUN]
            && let Some(run) = heads.take_run(usize::from(byte), RUN as u16)
            && let Some(run) = rows.get_mut(run..).and_then(<[u32]>::first_chunk_mut::<RUN>)
        {
            for (slot, row) in run.iter_mut().zip(row..) {
                *slot = word(row, byte);
            }
        } else {
            for (&byte, row) in bytes.iter().zip(row..) {
                one(&mut heads, rows, row, byte);
            }
        }
    }
    for (&byte, row) in rest.iter().zip((some.len() * RUN) as u32..) {
        one(&mut heads, rows, row, byte);
    }
}

/// Returns the word of the row after the one that has this word.
#[inline(always)]
fn after(rows: &[u32; ROWS], word: u32) -> u32 {
    rows[(word >> NEXT) as usize]
}

/// Returns whether the row with this word leads to the sink: it is at a cut, or is the sink.
fn leads_to_sink(word: u32) -> bool {
    word >> NEXT == SINK
}

/// Reads the bytes of all segments.
fn follow(rows: &[u32; ROWS], segments: &mut [Segment], rounds: &mut Vec<[u8; ROUND]>) {
    let mut lanes: [usize; LANES] = std::array::from_fn(|lane| lane);
    let mut words: [u32; LANES] = std::array::from_fn(|lane| segments[lane].word);
    let mut pending = LANES;
    let mut running = LANES;
    let mut used = 0;
    while running > 0 {
        if rounds.len() < used + LANES {
            rounds.resize(2 * used + 4 * LANES, [0; ROUND]);
        }
        let Some(out) = rounds[used..].first_chunk_mut::<LANES>() else { return };
        let begun = words;
        #[allow(clippy::needless_range_loop, reason = "all lanes take a step, then all take the next")]
        for step in 0..ROUND {
            for lane in 0..LANES {
                out[lane][step] = words[lane] as u8;
                words[lane] = after(rows, words[lane]);
            }
        }
        for lane in 0..LANES {
            let Some(segment) = segments.get_mut(lanes[lane]) else { continue };
            segment.rounds.push((used + lane) as u32);
            if !leads_to_sink(words[lane]) {
                segment.len += ROUND;
                continue;
            }
            // The segment ends within this round.
            let mut word = begun[lane];
            loop {
                segment.len += 1;
                let next = after(rows, word);
                if leads_to_sink(next) {
                    break;
                }
                word = next;
            }
            segment.next = (word >> NEXT) as usize;
            lanes[lane] = pending;
            match segments.get(pending) {
                Some(next) => words[lane] = next.word,
                None => running -= 1,
            }
            pending += 1;
        }
        used += LANES;
    }
}

/// Joins the segments, beginning at the row `origin`.
fn join(segments: &[Segment], rounds: &[[u8; ROUND]], origin: usize, n: usize, text: &mut Vec<u8>) {
    let mut start = origin;
    // In a periodic block, the chain is a cycle that is shorter than the block, and is followed several times.
    while text.len() < n {
        let Ok(found) = segments.binary_search_by_key(&start, |segment| segment.start) else { return };
        let segment = &segments[found];
        let mut left = segment.len.min(n - text.len());
        for &round in &segment.rounds {
            let bytes = &rounds[round as usize];
            if left >= ROUND {
                // The length is constant, so this is compiled without a call.
                text.extend_from_slice(bytes);
            } else {
                text.extend_from_slice(&bytes[..left]);
            }
            left = left.saturating_sub(ROUND);
        }
        start = segment.next;
    }
}
