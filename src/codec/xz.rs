//! Reading of xz files, by `lzma-rust2`. This module reports the offset of damage, and what does not fit in memory.

use std::io::{self, Read};

use lzma_rust2::XzReader;

use super::format::{Damage, Fault};
use super::source::Source;
use super::window;

/// Returns whether these are the first bytes of an xz file.
pub(super) fn is_magic(first_bytes: &[u8]) -> bool {
    first_bytes.starts_with(b"\xfd7zXZ\0")
}

/// Reads the content of an xz file, of one or more streams.
pub(super) struct Reader<R: Read> {
    decoder: XzReader<Source<R>>,
    /// What the decoder may take, in bytes.
    limit: u64,
}

impl<R: Read> Reader<R> {
    /// Returns a reader of `source`, which begins with a stream.
    pub(super) fn new(source: Source<R>) -> Self {
        let limit = window::limit();
        let kibibytes = u32::try_from(limit >> 10).unwrap_or(u32::MAX);
        Self { decoder: XzReader::new_mem_limit(source, true, kibibytes), limit }
    }

    pub(super) fn compressed_bytes(&self) -> u64 {
        self.decoder.inner().offset()
    }

    /// Reads the next bytes of the content into `out`, which is not empty. Returns 0 at the end of the last stream.
    pub(super) fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.decoder.read(out).map_err(|error| {
            if self.decoder.inner().failed() {
                return error;
            }
            let offset = self.compressed_bytes();
            if error.kind() == io::ErrorKind::OutOfMemory {
                return Damage::error(offset, Fault::Window { needed: None, limit: self.limit });
            }
            Damage::of_decoder(offset, &error)
        })
    }
}
