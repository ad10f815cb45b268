//! bzip2, coded block by block: `rle` cuts the input where bzip2 would, `block` turns one block into
//! bits and back, `bits` splices them and finds the marks between them.

mod bits;
mod block;
mod bwt;
mod cpu;
mod crc;
mod decode;
mod encode;
mod finder;
mod huffman;
mod mtf;
mod randomise;
mod reader;
mod rle;
mod writer;

pub(super) use reader::Reader;
pub(super) use writer::Writer;
