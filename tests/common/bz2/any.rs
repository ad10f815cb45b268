//! Random files, built from the parts of the format so that many of them are valid. Their checksums are right,
//! which random bytes would never achieve.

use super::bits::Bits;
use super::block::{Block, seal};
use super::choices::Choices;
use super::code::CodeTable;
use super::map::SymbolMap;
use super::stream::Stream;
use super::{GROUP, MAGIC_BITS, MAX_CODE_LENGTH, symbols};

/// Returns a file that the choices generate.
pub fn file(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut file = Vec::new();
    for _ in 0..=choices.below(3) {
        file.extend(stream(choices).bytes());
    }
    match choices.below(8) {
        1 => file.truncate(choices.below(file.len())),
        2 => file.extend(choices.bytes(20)),
        // An incomplete header, or a header alone.
        3 => file.extend_from_slice(&b"BZh9"[..=choices.below(4)]),
        4 => {
            let mut bits = Bits::of(&file);
            bits.flip(choices.below(bits.len()));
            file = bits.bytes();
        }
        _ => {}
    }
    file
}

fn stream(choices: &mut Choices<'_>) -> Stream {
    // Mostly small levels, whose limit is reached sooner.
    let level = if choices.one_in(4) { 1 + choices.below(9) as u8 } else { 1 };
    let blocks = (0..choices.below(4)).map(|_| bits(choices, level)).collect();
    Stream {
        checksum: choices.one_in(16).then_some(0xdead_beef),
        padding: choices.one_in(4),
        ..Stream::of_bits(level, blocks)
    }
}

/// Returns a block, mostly with the right checksum, if it can be decoded.
fn bits(choices: &mut Choices<'_>, level: u8) -> Bits {
    let mut bits = block(choices).bits();
    // Keeps the magic, without which no decoder finds the block.
    for _ in 0..choices.of(&[0, 0, 0, 1, 3]) {
        bits.flip(MAGIC_BITS + choices.below(bits.len() - MAGIC_BITS));
    }
    let mut bits = seal(bits, level);
    if choices.one_in(16) {
        bits.flip(MAGIC_BITS + choices.below(bits.len() - MAGIC_BITS));
    }
    bits
}

fn block(choices: &mut Choices<'_>) -> Block {
    let mut block = match choices.below(4) {
        0 => Block::of(choices.bytes(300)),
        1 => Block::of_runs(choices.bytes(300)),
        2 => {
            let column = choices.bytes(300);
            Block::of_column(column, choices.below(column.len().max(1)) as u32)
        }
        _ => of_symbols(choices),
    };
    // The code tables do not depend on the symbols.
    block.tables = (0..choices.of(&[2, 3, 4, 5, 6, 2, 6, 1, 7, 0])).map(|_| table(choices, &block)).collect();
    let most = block.tables.len().clamp(1, 6);
    for selector in &mut block.selectors {
        *selector = choices.below(most) as u8;
    }
    match choices.below(8) {
        1 => block.selectors.extend((0..choices.below(40)).map(|_| 0)),
        2 => block.selectors.extend((0..choices.of(&[17_990, 18_002, 32_700])).map(|_| 0)),
        3 => block.selectors.push(most as u8),
        4 => drop(block.selectors.pop()),
        _ => {}
    }
    match choices.below(8) {
        1 => block.origin = choices.below(400) as u32,
        2 => block.origin = (choices.below(256) << 16) as u32,
        3 => block.randomised = true,
        // Values that do not occur.
        4 => block.map = SymbolMap::of(&[&block.map.values(), choices.bytes(16)].concat()),
        _ => {}
    }
    block
}

/// Returns a block of random symbols with runs.
fn of_symbols(choices: &mut Choices<'_>) -> Block {
    let map = match choices.below(3) {
        0 => SymbolMap::of(&[choices.byte()]),
        1 => SymbolMap::of(choices.bytes(20)),
        _ => SymbolMap::of(&(0..=255).collect::<Vec<_>>()),
    };
    let end = symbols::end(map.values().len());
    let mut all = Vec::new();
    for _ in 0..choices.below(200) {
        if choices.one_in(20) {
            all.extend(symbols::run(choices.of(&[1, 2, 255, 99_000, 100_000, 100_001, 900_000, 1 << 21, 1 << 40])));
        } else {
            all.push(choices.below(usize::from(end)) as u16);
        }
    }
    if !choices.one_in(16) {
        all.push(end);
    }
    Block { origin: choices.below(all.len().max(1)) as u32, ..Block::of_symbols(map, all) }
}

fn table(choices: &mut Choices<'_>, block: &Block) -> CodeTable {
    let count = block.map.values().len() + 2;
    match choices.below(5) {
        0 => CodeTable::flat(count),
        // Each codeword one bit longer than the one before, up to the limit.
        1 => CodeTable::new(
            &(1..=MAX_CODE_LENGTH).chain(std::iter::repeat(MAX_CODE_LENGTH)).take(count).collect::<Vec<_>>(),
        ),
        // An oversubscribed or an incomplete code.
        2 => CodeTable::new(&vec![1 + choices.below(20) as u8; count]),
        3 => CodeTable::new(&(0..count).map(|_| 1 + choices.below(20) as u8).collect::<Vec<_>>()),
        // Valid code lengths, stored with needless steps that sometimes leave the range.
        _ => {
            let most = if choices.one_in(8) { 24 } else { 20 };
            let flat = CodeTable::flat(count).lengths[0];
            let mut by_way_of = || vec![1 + choices.below(most) as u8, flat];
            let stops: Vec<_> = (0..count).map(|n| if n < 2 * GROUP { by_way_of() } else { vec![flat] }).collect();
            CodeTable::through(&stops)
        }
    }
}
