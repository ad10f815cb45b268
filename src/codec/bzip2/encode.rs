//! Encodes the text of one block, which is the output of the first run-length stage, to bits.

use super::bits::{BitString, MAGIC_BITS, Magic};
use super::bwt;
use super::huffman;
use super::mtf::{self, Used};

/// Buffers that are reused for each block.
#[derive(Default)]
pub(super) struct Buffers {
    sorting: bwt::Buffers,
    last: Vec<u8>,
    symbols: Vec<u16>,
}

/// Encodes a block of this text, which is not empty. `crc` is the checksum of the content that the text expands to.
pub(super) fn encode(text: &[u8], crc: u32, buffers: &mut Buffers) -> BitString {
    let counts = bwt::counts(text);
    let used = counts.map(|count| count > 0);
    buffers.last.resize(text.len(), 0);
    let last = &mut buffers.last[..];
    let origin = bwt::transform(text, &counts, last, &mut buffers.sorting);
    let frequencies = mtf::encode(last, &used, &mut buffers.symbols);

    let mut bits = BitString::with_capacity(text.len() + text.len() / 50 + 4096);
    bits.push(Magic::Block.value(), MAGIC_BITS as u32);
    bits.push(crc.into(), 32);
    // The flag of randomised blocks.
    bits.push(0, 1);
    bits.push(origin as u64, 24);
    put_used(&used, &mut bits);
    huffman::encode::encode(&buffers.symbols, &frequencies[..mtf::alphabet(&used)], &mut bits);
    bits
}

/// Writes the map of the bytes in use: a flag for each group of sixteen byte values, and then sixteen flags for each
/// group in use.
fn put_used(used: &Used, bits: &mut BitString) {
    let groups = used.chunks(16).map(|group| group.contains(&true));
    let flags = |flags: &mut dyn Iterator<Item = bool>| flags.fold(0, |all, flag| all << 1 | u64::from(flag));
    bits.push(flags(&mut groups.clone()), 16);
    for (group, any) in used.chunks(16).zip(groups) {
        if any {
            bits.push(flags(&mut group.iter().copied()), 16);
        }
    }
}
