//! bzip2, encoded and decoded in parallel, block by block.
//!
//! This overview is for readers who know bzip2; it describes how the stages are made fast. `benches/` measures the
//! results.
//!
//! # Streams
//!
//! A bzip2 stream is a header, blocks at any bit offset, an end-of-stream magic, and a checksum of the checksums of the
//! blocks.
//!
//! *Writing* (`writer`): the first run-length stage (`rle`) runs on the writing thread, before the input is cut
//! into blocks, so that each block is as full as bzip2 fills it. The blocks are encoded in parallel (`block`,
//! `encode`), and their bits are spliced into one stream (`bits`).
//!
//! *Reading* (`reader`): each block begins with a magic of 48 bits. `finder` searches for it at every bit offset, and
//! the bits between two magics are a candidate, which is decoded speculatively. A magic can occur inside a block by
//! chance or by design. Therefore `reader` goes through the file in order, and decodes a candidate again from the end
//! of the block before it if it did not decode to its very last bit. A false candidate costs time and never
//! correctness. All checksums are compared in order.
//!
//! # Encoding a block
//!
//! 1. `bwt`: the Burrows-Wheeler transform. All rotations of the block are sorted.
//! 2. `mtf`: move to front.
//! 3. `huffman`: groups of fifty symbols choose among two to six code tables. Six sums of ten bits fit in a 64-bit
//!    word, so the cost of a group with all tables is one addition for each symbol. In long blocks, all rounds but the
//!    last use an eighth of the groups. Codewords have 16 bits at most, so that three of them fit in a word with the
//!    bits that are not yet written.
//!
//! A checked compressor decodes each block before it is written, and compares the checksum with that of the input. This
//! detects memory errors, and bugs of this module.
//!
//! # Decoding a block
//!
//! Codewords, ranks and runs are decoded in one loop (`decode`). A codeword is one table lookup, and the CPU executes
//! the next lookup while it still computes the last rank. The loop contains no call, so that its state stays in
//! registers. An over-full or under-full set of code lengths is decoded as bzip2 does (`huffman::decode`). The inverse
//! transform follows (`bwt::inverse`). Last, runs are expanded and the checksum is compared. A block can expand
//! from 26 bytes to 47 million: beyond four megabytes only the block is kept, and it is expanded again as it is read.
//!
//! # Limits
//!
//! * Sorting: `bwt::radix` stops after it has compared eight bytes for each byte of the block; `bwt::induced`, after it
//!   has sorted as many tied rotations as the block has bytes, or after 128 sweeps. `bwt::suffix` is linear.
//! * Memory: a worker has up to 40 MB of buffers, which are reused for the next block. [`crate::ordered`] limits the
//!   number of blocks in flight.
//! * Malformed input: all lengths are checked before they are used. Each index is checked by the compiler, or is below
//!   the size of its table by construction. `cpu::x86` has the only `unsafe` code of the crate.

mod bits;
mod block;
mod block_size;
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

pub(super) use block_size::BlockSize;
pub(super) use reader::Reader;
pub(super) use writer::Writer;
