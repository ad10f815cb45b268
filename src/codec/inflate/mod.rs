//! DEFLATE (RFC 1951), decoded in parallel.
//!
//! A block of a stream can begin at any bit, refers to up to 32 KiB before it, and states neither its length nor where the next
//! one begins. Nevertheless a stream is decoded by several threads, as Kerbiriou and Chikhi ("Parallel decompression of gzip-
//! compressed files and random access to DNA sequences", 2019) and Knespel and Brunst ("Rapidgzip: Parallel Decompression and
//! Seeking in Gzip Files Using Cache Prefetching", 2023) have shown:
//!
//! 1. The compressed bytes are cut into spans. In each, a job searches for the first bit at which a block can begin (`finder`).
//! 2. It decodes from there up to the first block that begins behind the span (`span`). The 32 KiB before it are not known: the
//!    output has 16 bits for each byte, and a marker for each byte of that window. When the last 32 KiB of the output have no
//!    marker, the rest is decoded to bytes.
//! 3. `stream` appends spans to each other. A span is used only if it begins at the bit at which the one before ended; otherwise
//!    the stream is decoded there by the thread that reads. So whatever a search has found, the output is that of a decoder which
//!    reads from the start.
//! 4. The last 32 KiB of a span become known as soon as those of the one before are, which takes a few microseconds. Further
//!    jobs replace all markers, and compute the checksums of spans, which are combined.
//!
//! With one or two threads the thread that reads decodes the whole stream: markers and the search would cost what the second
//! thread gains.
//!
//! `decoder` decodes to bytes and to markers by the same code, with `tables`, `header` and `bits`.

mod bits;
mod decoder;
mod finder;
mod header;
mod span;
mod stream;
mod symbol;
mod tables;
#[cfg(test)]
mod tests;
mod whole;

pub(super) use stream::{Sizes, Stream};
pub use whole::read;

/// The stream is damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Corrupt;

/// Why a decoder stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    /// The input ends.
    Input,
    /// The limit of the output is reached.
    Output,
    /// A block begins at or behind the bit up to which it was to decode.
    Block,
    /// The stream ends here.
    End,
    /// What follows is not valid.
    Corrupt,
}

impl From<Corrupt> for Stop {
    fn from(Corrupt: Corrupt) -> Self {
        Self::Corrupt
    }
}
