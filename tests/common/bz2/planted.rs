//! Blocks with arbitrary bits in their data: magics, headers, complete streams. Their code has a codeword for
//! nearly every string of bits, so symbols can spell any of them.

use super::bits::Bits;
use super::block::{Block, seal};
use super::choices::Choices;
use super::code::{self, CodeTable};
use super::map::SymbolMap;
use super::stream::Stream;
use super::{BLOCK_MAGIC, END_MAGIC, MAGIC_BITS};

/// The number of byte values in these blocks.
const VALUES: u8 = 76;

/// The symbol with a codeword of seven bits; the symbols before it, down to 2, have six.
const SEVEN_BITS: u16 = 65;

/// The symbol that ends a block. Its codeword is twenty ones.
const END: u16 = VALUES as u16 + 1;

/// Returns the code: 63 codewords of six bits, one each of seven to nineteen, two of twenty. The run digits have
/// the longest ones, so that planted bits rarely decode to long runs.
pub fn code() -> CodeTable {
    let mut lengths = vec![19, 20];
    lengths.extend([6; 63]);
    lengths.extend(7..=18);
    lengths.push(20);
    CodeTable::new(&lengths)
}

/// Returns the symbols that spell these bits; `None` if they contain twenty ones, which would end the block.
pub fn spell(bits: &Bits) -> Option<Vec<u16>> {
    let symbols = code::spell(&code().lengths, bits);
    (!symbols.contains(&END)).then_some(symbols)
}

/// Returns symbols without a planted pattern.
pub fn filler(count: usize, seed: usize) -> Vec<u16> {
    (0..count).map(|n| 2 + u16::try_from((n * 7 + n / 60 * 13 + seed * 31) % 63).unwrap()).collect()
}

/// Returns symbols that shift what follows by `bits` bits, modulo 8.
pub fn shift(bits: usize) -> Vec<u16> {
    vec![SEVEN_BITS; (8 - bits % 8) % 8]
}

/// Returns a block of these symbols, with its end symbol.
pub fn block(mut symbols: Vec<u16>) -> Block {
    symbols.push(END);
    let values: Vec<u8> = (b' '..b' ' + VALUES).collect();
    let block = Block::of_symbols(SymbolMap::of(&values), symbols).coded_by(vec![code(), code()]);
    Block { origin: 1, ..block }
}

/// Returns the bits of a magic.
pub fn magic(value: u64) -> Bits {
    let mut bits = Bits::default();
    bits.push(value, MAGIC_BITS);
    bits
}

/// Returns a block with planted decoys, as the choices generate it.
pub fn any(choices: &mut Choices<'_>) -> Block {
    let mut symbols = Vec::new();
    for seed in 0..=choices.below(8) {
        let most = choices.of(&[6, 60, 600, 3000]);
        let length = 1 + choices.below(most);
        symbols.extend(filler(length, seed));
        let eighth = choices.below(8);
        symbols.extend(shift(eighth));
        symbols.extend(spell(&any_decoy(choices)).unwrap_or_default());
    }
    let length = choices.below(40);
    symbols.extend(filler(length, 9));
    block(symbols)
}

/// Returns the bits of a decoy.
fn any_decoy(choices: &mut Choices<'_>) -> Bits {
    let level = 1 + choices.below(9) as u8;
    let content = [b"decoy", choices.bytes(8)].concat();
    match choices.below(8) {
        0 => magic(BLOCK_MAGIC),
        1 => magic(END_MAGIC),
        // The end of a stream, and the header of another one with its first magic.
        2 => Stream::of(level, [&Block::of(&content)]).bits(),
        3 => Stream::of_bits(level, Vec::new()).bits(),
        4 => {
            let mut header = Bits::of(&[b'B', b'Z', b'h', b'0' + level]);
            header.append(&magic(BLOCK_MAGIC));
            header
        }
        // A valid block, or one that lacks some bits.
        5 => Block::of(&content).bits(),
        6 => {
            let bits = Block::of(&content).bits();
            bits.slice(0..bits.len() - 1 - choices.below(16))
        }
        // Overlapping magics: the last three bits of a block magic are the first of the next.
        _ => {
            let mut magics = magic(BLOCK_MAGIC).slice(0..MAGIC_BITS - 3);
            magics.append(&magic(BLOCK_MAGIC));
            magics
        }
    }
}

/// Returns a file of several streams with planted and ordinary blocks, and sometimes garbage between or after
/// them.
pub fn any_file(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut file = Vec::new();
    for _ in 0..=choices.below(4) {
        let level = 1 + choices.below(9) as u8;
        let mut bits: Vec<Bits> = (0..choices.below(5)).map(|_| any_block(choices, level)).collect();
        if choices.one_in(8)
            && let Some(last) = bits.last_mut()
        {
            last.flip(choices.below(last.len()));
        }
        file.extend(Stream::of_bits(level, bits).bytes());
        if choices.one_in(6) {
            file.extend(any_decoy(choices).bytes());
        }
        if choices.one_in(6) {
            file.extend(choices.bytes(12));
        }
    }
    if choices.one_in(8) {
        file.truncate(4 + choices.below(file.len() - 3));
    }
    file
}

/// Returns a block with planted decoys, or an ordinary one.
fn any_block(choices: &mut Choices<'_>, level: u8) -> Bits {
    if choices.one_in(3) {
        Block::of(&[b"ordinary", choices.bytes(40)].concat()).bits()
    } else {
        seal(any(choices).bits(), level)
    }
}
