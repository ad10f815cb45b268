//! The inverse transform. The last bytes of the sorted rotations are known, and so are the first ones: the same bytes,
//! sorted. The n-th occurrence of a byte in the first column belongs to the n-th in the last one, which gives the row of
//! the rotation that begins one byte later. From the row of the block itself, a chain of rows leads through all its bytes.
//!
//! Each step of the chain waits for memory. So the chain is cut at up to 256 rows all over the block, and [`LANES`] pieces
//! are followed in turn, which keeps as many loads in flight on one core. Then the pieces are joined. The rows where the
//! chain is cut lead to a sink, which leads to itself, so that a piece can be followed beyond its end, and the check for
//! the end is needed only once in a while. In data that compresses well, most bytes are in long runs, whose rows are
//! neighbours and are linked sixteen at a time.

use super::bytes::Counts;
use super::counting::Heads;
use crate::codec::bzip2::rle::max_block;
use crate::codec::format::Level;

/// A power of two, so that a row's number needs no check in a table of so many.
const ROWS: usize = 1 << 20;
const _: () = assert!(max_block(Level::BEST) < ROWS);

/// A row in a word: the next row's number above its own first byte.
const NEXT: u32 = 12;

/// The row after those at which pieces begin, and after itself; no block has it.
const SINK: u32 = ROWS as u32 - 1;

/// Pieces that are followed in turn.
const LANES: usize = 16;

/// Bytes of a piece that are followed until the next look whether it has come to its end.
const ROUND: usize = 64;

/// Bytes that are linked together if they are all the same.
const RUN: usize = 16;

/// Bytes of a piece, on average, and how many pieces there are at most.
const PIECE: usize = 2048;
const MAX_PIECES: usize = 256;

/// What is needed again for each block.
#[derive(Default)]
pub(in crate::codec::bzip2) struct Inverse {
    rows: Vec<u32>,
    rounds: Vec<[u8; ROUND]>,
    pieces: Vec<Piece>,
    text: Vec<u8>,
}

/// The text from one row at which the chain is cut to the next one.
struct Piece {
    start: usize,
    /// The word that row had before.
    word: u32,
    /// Where in `rounds` its bytes are; of the last round, only some are.
    rounds: Vec<u32>,
    len: usize,
    /// The row that begins the piece after it.
    next: usize,
}

impl Inverse {
    /// The block whose sorted rotations end with these bytes, which occur so often; the rotation numbered `origin`
    /// is the block. Every order of bytes gives some block of this length.
    pub(in crate::codec::bzip2) fn text(&mut self, last: &[u8], counts: &Counts, origin: usize) -> &mut [u8] {
        let n = last.len();
        self.rows.resize(ROWS, 0);
        self.text.clear();
        let Self { rows, rounds, pieces, text } = self;
        let Some(rows) = rows.first_chunk_mut::<ROWS>() else { return text };
        link(last, counts, rows);
        let count = (n / PIECE).min(MAX_PIECES);
        if count < LANES {
            let mut word = rows[origin % ROWS];
            text.extend(last.iter().map(|_| {
                let byte = word as u8;
                word = after(rows, word);
                byte
            }));
            return text;
        }

        pieces.clear();
        pieces.extend((0..count).map(|piece| Piece::at(piece * n / count)));
        if let Err(index) = pieces.binary_search_by_key(&origin, |piece| piece.start) {
            pieces.insert(index, Piece::at(origin));
        }
        rows[SINK as usize] = SINK << NEXT;
        for piece in pieces.iter_mut() {
            let row = &mut rows[piece.start % ROWS];
            piece.word = std::mem::replace(row, SINK << NEXT);
        }
        follow(rows, pieces, rounds);
        join(pieces, rounds, origin, n, text);
        text
    }
}

impl Piece {
    fn at(start: usize) -> Self {
        Self { start, word: 0, rounds: Vec::new(), len: 0, next: start }
    }
}

fn link(last: &[u8], counts: &Counts, rows: &mut [u32; ROWS]) {
    let mut heads = Heads::new(counts);
    let word = |row: u32, byte: u8| row << NEXT | u32::from(byte);
    let one = |heads: &mut Heads, rows: &mut [u32; ROWS], row: u32, byte: u8| {
        rows[heads.take(usize::from(byte)) % ROWS] = word(row, byte);
    };
    let (some, rest) = last.as_chunks::<RUN>();
    for (bytes, row) in some.iter().zip((0..).step_by(RUN)) {
        // Where much repeats, most bytes are in long runs: their rows are neighbours.
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

/// The row after one that has this word.
#[inline(always)]
fn after(rows: &[u32; ROWS], word: u32) -> u32 {
    rows[(word >> NEXT) as usize]
}

fn is_sunk(word: u32) -> bool {
    word >> NEXT == SINK
}

/// Reads all pieces.
fn follow(rows: &[u32; ROWS], pieces: &mut [Piece], rounds: &mut Vec<[u8; ROUND]>) {
    let mut lanes: [usize; LANES] = std::array::from_fn(|lane| lane);
    let mut words: [u32; LANES] = std::array::from_fn(|lane| pieces[lane].word);
    let mut waiting = LANES;
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
            let Some(piece) = pieces.get_mut(lanes[lane]) else { continue };
            piece.rounds.push((used + lane) as u32);
            if !is_sunk(words[lane]) {
                piece.len += ROUND;
                continue;
            }
            // Somewhere in this round the piece came to its end.
            let mut word = begun[lane];
            loop {
                piece.len += 1;
                let next = after(rows, word);
                if is_sunk(next) {
                    break;
                }
                word = next;
            }
            piece.next = (word >> NEXT) as usize;
            lanes[lane] = waiting;
            match pieces.get(waiting) {
                Some(next) => words[lane] = next.word,
                None => running -= 1,
            }
            waiting += 1;
        }
        used += LANES;
    }
}

/// Puts the pieces together, from the row `origin` on.
fn join(pieces: &[Piece], rounds: &[[u8; ROUND]], origin: usize, n: usize, text: &mut Vec<u8>) {
    let mut start = origin;
    // In a block that repeats itself, the chain is a circle that is shorter than the block.
    while text.len() < n {
        let Ok(found) = pieces.binary_search_by_key(&start, |piece| piece.start) else { return };
        let piece = &pieces[found];
        let mut left = piece.len.min(n - text.len());
        for &round in &piece.rounds {
            let bytes = &rounds[round as usize];
            if left >= ROUND {
                // No call, since the length is known.
                text.extend_from_slice(bytes);
            } else {
                text.extend_from_slice(&bytes[..left]);
            }
            left = left.saturating_sub(ROUND);
        }
        start = piece.next;
    }
}
