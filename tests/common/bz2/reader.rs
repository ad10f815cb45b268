//! A decoder that reads bzip2 files bit by bit, as the format is described. It refuses what bzip2 1.0.8 refuses,
//! where the description leaves a choice: unassigned codewords are valid if they do not occur, code lengths may
//! be oversubscribed, unused selectors are skipped, and bytes after the last stream are ignored.

use std::collections::BTreeMap;

use super::bits::Bits;
use super::code::{Codeword, codewords};
use super::map::SymbolMap;
use super::{
    BLOCK_MAGIC, END_MAGIC, GROUP, MAGIC_BITS, MAX_CODE_LENGTH, block_limit, checksum, randomise, runs, sort, symbols,
};

/// The content and structure of a file.
pub struct Reading {
    /// The content of all blocks before the end or the damage.
    pub bytes: Vec<u8>,
    /// The parsed blocks, with the levels of their streams.
    pub blocks: Vec<(u8, ParsedBlock)>,
    /// How the file ends.
    pub end: End,
}

/// How a file ends, according to the reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// With a complete stream.
    Complete,
    /// With bytes that belong to no stream, from this offset on.
    Garbage(usize),
    /// With an error, at this bit.
    Refused(usize, Refusal),
}

/// Why a file is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The file does not begin with a bzip2 header.
    NoHeader,
    /// The file ends within a header that begins there, within a magic, or before the checksum after it.
    Cut,
    /// The file ends within the block that begins there.
    CutBlock,
    /// There is no magic.
    NoMagic,
    /// The block that begins there is invalid.
    Block(Defect),
    /// The checksum of the stream that ends there is wrong.
    StreamChecksum,
}

/// What is invalid in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// The origin pointer is out of range.
    Origin,
    /// The symbol map is empty.
    Map,
    /// There are fewer than two tables or more than six.
    Tables,
    /// There are no selectors, too few, or one for a table that does not exist.
    Selectors,
    /// A code length is not in 1 to 20.
    CodeLengths,
    /// The data has an unassigned codeword.
    Codeword,
    /// The block has more bytes than its level allows.
    Long,
    /// The count after the last four equal bytes is missing.
    Count,
    /// The checksum of the content is wrong.
    Checksum,
}

/// A parsed block.
#[derive(Debug)]
pub struct ParsedBlock {
    /// The stored checksum.
    pub checksum: u32,
    /// Whether the block is randomised.
    pub randomised: bool,
    /// The origin pointer.
    pub origin: usize,
    /// The byte values of the map.
    pub values: Vec<u8>,
    /// The code lengths of each table.
    pub tables: Vec<Vec<u8>>,
    /// The table of each group.
    pub selectors: Vec<usize>,
    /// All symbols but the one that ends the block.
    pub symbols: Vec<u16>,
    /// The last column.
    pub column: Vec<u8>,
    /// The decoded content.
    pub content: Vec<u8>,
    /// The length in bits.
    pub length: usize,
}

/// Decodes a file.
pub fn read(file: &[u8]) -> Reading {
    let mut reading = Reading { bytes: Vec::new(), blocks: Vec::new(), end: End::Complete };
    let mut bits = Cursor { bytes: file, at: 0 };
    if let Err((at, refusal)) = streams(&mut bits, &mut reading) {
        reading.end = End::Refused(at, refusal);
    }
    reading
}

/// Decodes the block at the beginning of a string of bits. The checksum is not compared.
pub fn block(bits: &Bits, level: u8) -> Result<ParsedBlock, Refusal> {
    let bytes = bits.bytes();
    let parsed = Cursor { bytes: &bytes, at: MAGIC_BITS }.block(level)?;
    // The padding of the last byte is not part of the block.
    if parsed.length > bits.len() { Err(Refusal::CutBlock) } else { Ok(parsed) }
}

fn streams(bits: &mut Cursor<'_>, reading: &mut Reading) -> Result<(), (usize, Refusal)> {
    let mut first = true;
    while first || bits.at < bits.bytes.len() * 8 {
        let level = match bits.bytes[bits.at / 8..] {
            [b'B', b'Z', b'h', digit @ b'1'..=b'9', ..] => digit - b'0',
            _ if first => return Err((bits.at, Refusal::NoHeader)),
            [b'B'] | [b'B', b'Z'] | [b'B', b'Z', b'h'] => return Err((bits.at, Refusal::Cut)),
            _ => {
                reading.end = End::Garbage(bits.at / 8);
                return Ok(());
            }
        };
        first = false;
        bits.at += 32;
        stream(bits, level, reading)?;
        bits.at = bits.at.next_multiple_of(8);
    }
    Ok(())
}

fn stream(bits: &mut Cursor<'_>, level: u8, reading: &mut Reading) -> Result<(), (usize, Refusal)> {
    let mut checksums = Vec::new();
    loop {
        let start = bits.at;
        match bits.take(MAGIC_BITS).ok_or((start, Refusal::Cut))? {
            BLOCK_MAGIC => {
                let parsed = bits.block(level).map_err(|refusal| (start, refusal))?;
                if checksum::of(&parsed.content) != parsed.checksum {
                    return Err((start, Refusal::Block(Defect::Checksum)));
                }
                checksums.push(parsed.checksum);
                reading.bytes.extend_from_slice(&parsed.content);
                reading.blocks.push((level, parsed));
            }
            END_MAGIC => {
                let stored = bits.take(32).ok_or((start, Refusal::Cut))?;
                let right = stored == u64::from(checksum::of_stream(checksums));
                return if right { Ok(()) } else { Err((start, Refusal::StreamChecksum)) };
            }
            _ => return Err((start, Refusal::NoMagic)),
        }
    }
}

/// A position in a file.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn bit(&mut self) -> Option<bool> {
        let bit = self.bytes.get(self.at / 8)? >> (7 - self.at % 8) & 1 == 1;
        self.at += 1;
        Some(bit)
    }

    fn take(&mut self, count: usize) -> Option<u64> {
        (0..count).try_fold(0, |value, _| Some(value << 1 | u64::from(self.bit()?)))
    }

    /// Reads `count` bits of a block.
    fn field(&mut self, count: usize) -> Result<u64, Refusal> {
        self.take(count).ok_or(Refusal::CutBlock)
    }

    /// Reads a block after its magic.
    fn block(&mut self, level: u8) -> Result<ParsedBlock, Refusal> {
        let start = self.at - MAGIC_BITS;
        let limit = block_limit(level);
        let checksum = self.field(32)? as u32;
        let randomised = self.field(1)? == 1;
        let origin = self.field(24)? as usize;
        let values = self.map()?;
        let table_count = self.field(3)? as usize;
        check(Defect::Tables, (2..=6).contains(&table_count))?;
        let selectors = self.selectors(table_count)?;
        let tables = (0..table_count).map(|_| self.code_lengths(values.len() + 2)).collect::<Result<Vec<_>, _>>()?;
        let symbols = self.symbols(&tables, &selectors, symbols::end(values.len()))?;
        let column = symbols::decode(&symbols, &values, limit).ok_or(Refusal::Block(Defect::Long))?;
        check(Defect::Origin, origin < column.len())?;
        let mut bytes = sort::unsort(&column, origin);
        if randomised {
            randomise::flip(&mut bytes);
        }
        let content = runs::decode(&bytes).ok_or(Refusal::Block(Defect::Count))?;
        let length = self.at - start;
        Ok(ParsedBlock { checksum, randomised, origin, values, tables, selectors, symbols, column, content, length })
    }

    fn map(&mut self) -> Result<Vec<u8>, Refusal> {
        let groups = self.field(16)? as u16;
        let rows = (0..groups.count_ones()).map(|_| Ok(self.field(16)? as u16)).collect::<Result<_, _>>()?;
        let values = SymbolMap { groups, rows }.values();
        check(Defect::Map, !values.is_empty())?;
        Ok(values)
    }

    fn selectors(&mut self, table_count: usize) -> Result<Vec<usize>, Refusal> {
        let count = self.field(15)?;
        check(Defect::Selectors, count > 0)?;
        let mut list: Vec<usize> = (0..table_count).collect();
        let mut selectors = Vec::new();
        for _ in 0..count {
            let mut number = 0;
            while self.field(1)? == 1 {
                number += 1;
                check(Defect::Selectors, number < table_count)?;
            }
            list[..=number].rotate_right(1);
            selectors.push(list[0]);
        }
        Ok(selectors)
    }

    fn code_lengths(&mut self, symbol_count: usize) -> Result<Vec<u8>, Refusal> {
        let mut lengths = Vec::new();
        let mut length = self.field(5)?;
        while lengths.len() < symbol_count {
            check(Defect::CodeLengths, (1..=u64::from(MAX_CODE_LENGTH)).contains(&length))?;
            match self.field(1)? {
                0 => lengths.push(length as u8),
                _ if self.field(1)? == 0 => length += 1,
                _ => length -= 1,
            }
        }
        Ok(lengths)
    }

    /// Decodes all symbols before `end`.
    fn symbols(&mut self, tables: &[Vec<u8>], selectors: &[usize], end: u16) -> Result<Vec<u16>, Refusal> {
        let codes: Vec<BTreeMap<Codeword, u16>> = tables
            .iter()
            .map(|lengths| {
                codewords(lengths)
                    .into_iter()
                    .zip(0..)
                    .filter_map(|(codeword, symbol)| Some((codeword?, symbol)))
                    .collect()
            })
            .collect();
        let mut symbols = Vec::new();
        for &selector in selectors {
            for _ in 0..GROUP {
                match self.symbol(&codes[selector])? {
                    symbol if symbol == end => return Ok(symbols),
                    symbol => symbols.push(symbol),
                }
            }
        }
        Err(Refusal::Block(Defect::Selectors))
    }

    fn symbol(&mut self, code: &BTreeMap<Codeword, u16>) -> Result<u16, Refusal> {
        let mut value = 0;
        for length in 1..=MAX_CODE_LENGTH {
            value = value << 1 | self.field(1)?;
            if let Some(&symbol) = code.get(&(value, length)) {
                return Ok(symbol);
            }
        }
        Err(Refusal::Block(Defect::Codeword))
    }
}

fn check(defect: Defect, holds: bool) -> Result<(), Refusal> {
    if holds { Ok(()) } else { Err(Refusal::Block(defect)) }
}
