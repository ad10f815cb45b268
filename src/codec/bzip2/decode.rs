//! Decodes the bits of one block to its text, the output of the first run-length stage: Huffman codewords,
//! move-to-front ranks, and the inverse Burrows-Wheeler transform. `block` expands the runs of the text.

use super::bits::{BitReader, MAGIC_BITS};
use super::bwt::{self, Inverse};
use super::cpu::{self, Cpu, Kernel};
use super::huffman::decode::{NoCodeword, Table};
use super::huffman::{GROUP, MAX_LENGTH, MAX_SYMBOLS, MAX_TABLES};
use super::mtf::{self, RUN_B, Ranks, RegisterRanks, TimelineRanks, Used};
use super::randomise;

/// A digit of a run length with this weight or a greater one is an error, as in bzip2, whose integers it could
/// overflow. No block has runs this long.
const MAX_RUN_WEIGHT: usize = 2 << 20;

/// The reason why bits are not a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The bits end before the block is complete.
    Cut,
    /// The bits are not valid in a block.
    Invalid,
}

/// Buffers that are reused for each block.
#[derive(Default)]
pub(super) struct Buffers {
    last: Vec<u8>,
    inverse: Inverse,
}

/// Decodes the block whose magic is at the position of `reader`, and leaves `reader` at the end of the block. Returns
/// the stored checksum, and the text, which has `limit` bytes at most.
pub(super) fn decode<'a>(
    reader: &mut BitReader<'_>,
    limit: usize,
    buffers: &'a mut Buffers,
) -> Result<(u32, &'a [u8]), Fault> {
    reader.take(MAGIC_BITS as u32);
    let crc = reader.take(32) as u32;
    let randomised = reader.take(1) == 1;
    let origin = reader.take(24) as usize;
    let used = used(reader);
    let tables = reader.take(3) as usize;
    let count = reader.take(15) as usize;
    if reader.is_cut() {
        return Err(Fault::Cut);
    }
    let different = used.iter().filter(|used| **used).count();
    if different == 0 || !(2..=MAX_TABLES).contains(&tables) || count == 0 {
        return Err(Fault::Invalid);
    }
    let selectors = selectors(reader, count, tables)?;
    let tables = (0..tables).map(|_| lengths(reader, different + 2)).collect::<Result<Vec<_>, _>>()?;
    let tables: Vec<Table> = tables.iter().map(|lengths| Table::new(&lengths[..different + 2])).collect();

    buffers.last.resize(limit + SLACK, 0);
    let last = &mut buffers.last[..];
    let symbols = Symbols { reader, selectors: &selectors, tables: &tables, used: &used, last, limit };
    // At the end of the bits, a codeword may be invalid only because it is cut.
    let (len, counts) = cpu::run(symbols)
        .map_err(|Invalid| if reader.runs_out(MAX_LENGTH.into()) { Fault::Cut } else { Fault::Invalid })?;
    if origin >= len {
        return Err(Fault::Invalid);
    }
    let last = &buffers.last[..len];
    let text = buffers.inverse.text(last, &counts, origin);
    if randomised {
        randomise::undo(text);
    }
    Ok((crc, text))
}

/// Runs are written in chunks of this many bytes, the last of which can extend beyond the run.
const SLACK: usize = 32;

/// Reads the map of the bytes in use: a flag for each group of sixteen byte values, and then sixteen flags for each
/// group in use.
fn used(reader: &mut BitReader<'_>) -> Used {
    let mut used = [false; 256];
    let groups = reader.take(16);
    for (group, bytes) in used.chunks_mut(16).enumerate() {
        if groups >> (15 - group) & 1 == 1 {
            let flags = reader.take(16);
            for (at, used) in bytes.iter_mut().enumerate() {
                *used = flags >> (15 - at) & 1 == 1;
            }
        }
    }
    used
}

/// Reads the selectors, and returns the table of each group of symbols. A selector is the move-to-front rank of a
/// table, in unary.
fn selectors(reader: &mut BitReader<'_>, count: usize, tables: usize) -> Result<Vec<u8>, Fault> {
    let mut recent: [u8; MAX_TABLES] = std::array::from_fn(|table| table as u8);
    (0..count)
        .map(|_| {
            let rank = reader.take_ones(tables).ok_or(Fault::Invalid)?;
            if reader.is_cut() {
                return Err(Fault::Cut);
            }
            recent[..=rank].rotate_right(1);
            Ok(recent[0])
        })
        .collect()
}

/// Reads the code lengths of a table: the first length, and for each symbol the steps up or down from the previous one.
fn lengths(reader: &mut BitReader<'_>, symbols: usize) -> Result<[u8; MAX_SYMBOLS], Fault> {
    let mut lengths = [0; MAX_SYMBOLS];
    let mut length = reader.take(5) as u8;
    for slot in &mut lengths[..symbols] {
        loop {
            if reader.is_cut() {
                return Err(Fault::Cut);
            }
            if !(1..=MAX_LENGTH).contains(&length) {
                return Err(Fault::Invalid);
            }
            match reader.take_ones(2) {
                Some(0) => break,
                Some(_) => length += 1,
                None => {
                    reader.take(2);
                    length -= 1;
                }
            }
        }
        *slot = length;
    }
    Ok(lengths)
}

/// The error if the symbols are not valid in a block.
struct Invalid;

/// Codewords that are decoded for each refill of the reader's window.
const AT_ONCE: usize = 2;
const _: () = assert!(AT_ONCE * MAX_LENGTH as usize <= BitReader::WINDOW && GROUP.is_multiple_of(AT_ONCE));

/// Decodes symbols to bytes: codewords, runs and ranks in one loop, so that the CPU can look up the next codeword while
/// it still computes the last rank.
struct Symbols<'a, 'r> {
    reader: &'a mut BitReader<'r>,
    selectors: &'a [u8],
    tables: &'a [Table],
    used: &'a Used,
    last: &'a mut [u8],
    limit: usize,
}

impl Kernel for Symbols<'_, '_> {
    type Output = Result<(usize, bwt::Counts), Invalid>;

    const WIDE: bool = true;

    #[inline(always)]
    fn run<C: Cpu>(mut self, cpu: C) -> Self::Output {
        // A local copy, which the compiler keeps in registers.
        let mut reader = self.reader.clone();
        let decoded = match cpu.byte_registers() {
            Some(registers) => self.decode(&mut reader, RegisterRanks::new(self.used, registers)),
            None => self.decode(&mut reader, TimelineRanks::new(self.used, cpu)),
        };
        *self.reader = reader;
        decoded
    }
}

impl Symbols<'_, '_> {
    #[inline(always)]
    fn decode(&mut self, reader: &mut BitReader<'_>, mut ranks: impl Ranks) -> Result<(usize, bwt::Counts), Invalid> {
        let Self { selectors, tables, used, ref mut last, limit, .. } = *self;
        let end = mtf::alphabet(used) as u16 - 1;
        let mut len = 0;
        let mut counts = [0; 256];
        let (mut run, mut weight) = (0, 1);
        for &selector in selectors {
            let Some(table) = tables.get(usize::from(selector)) else { return Err(Invalid) };
            for at in 0..GROUP {
                if at % AT_ONCE == 0 {
                    reader.refill();
                }
                let (symbol, length) = table.read(reader.window()).map_err(|NoCodeword| Invalid)?;
                reader.consume(length);
                if symbol <= RUN_B {
                    if weight >= MAX_RUN_WEIGHT {
                        return Err(Invalid);
                    }
                    run += weight << symbol;
                    weight *= 2;
                    continue;
                }
                if run > 0 {
                    if run > limit - len {
                        return Err(Invalid);
                    }
                    fill(last, len, run, ranks.front());
                    counts[usize::from(ranks.front())] += run as u32;
                    len += run;
                    (run, weight) = (0, 1);
                }
                if symbol == end {
                    return if reader.is_cut() { Err(Invalid) } else { Ok((len, counts)) };
                }
                if len >= limit {
                    return Err(Invalid);
                }
                let byte = ranks.take((symbol - 1) as u8);
                counts[usize::from(byte)] += 1;
                last[len] = byte;
                len += 1;
            }
            if reader.is_cut() {
                return Err(Invalid);
            }
        }
        Err(Invalid)
    }
}

/// Writes a run of `len` bytes in chunks of fixed size. Most runs are short, and this needs no call, which would save
/// all vector registers to memory.
#[inline(always)]
fn fill(last: &mut [u8], from: usize, len: usize, byte: u8) {
    for from in (from..from + len).step_by(SLACK) {
        if let Some(chunk) = last.get_mut(from..).and_then(<[u8]>::first_chunk_mut::<SLACK>) {
            *chunk = [byte; SLACK];
        }
    }
}
