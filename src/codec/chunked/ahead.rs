//! Decodes, on a pool, chunks that follow each other and are found whole.

use std::collections::VecDeque;
use std::io::Read;

use super::chunk::Chunked;
use crate::codec::source::Source;
use crate::ordered::{Ordered, Pool};

/// The chunks at the start of a source that are being decoded.
pub(super) struct Ahead {
    decoding: Ordered<Option<Vec<u8>>>,
    /// Their encoded lengths in bytes. The source still has these bytes.
    lengths: VecDeque<usize>,
    /// The content of the last chunk that was decoded, and how much of it was read. The source is behind that chunk.
    content: Vec<u8>,
    read: usize,
}

impl Ahead {
    pub(super) fn new(pool: &Pool) -> Self {
        Self { decoding: Ordered::new(pool), lengths: VecDeque::new(), content: Vec::new(), read: 0 }
    }

    /// Returns whether any chunk was decoded here.
    pub(super) fn has_decoded(&self) -> bool {
        !self.content.is_empty()
    }

    /// Reads the next bytes of the content into `out`, which is not empty. Returns `None` if the source is at its end, or at
    /// what must be decoded as a stream, also because it is damaged: then no chunk behind that is being decoded.
    pub(super) fn read<R: Read>(&mut self, source: &mut Source<R>, format: &Chunked, out: &mut [u8]) -> Option<usize> {
        while self.read == self.content.len() {
            self.submit(source, format);
            // Also that of the chunk which has been read: of a few bytes, or none.
            let content = self.decoding.take()?;
            let Some(content) = content else {
                self.decoding.abandon();
                self.lengths.clear();
                return None;
            };
            source.skip(self.lengths.pop_front().unwrap_or_default());
            (self.content, self.read) = (content, 0);
        }
        let rest = self.content.get(self.read..).unwrap_or_default();
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        self.read += count;
        Some(count)
    }

    /// Submits the chunks that follow those which are being decoded, as far as there is room.
    fn submit<R: Read>(&mut self, source: &mut Source<R>, format: &Chunked) {
        let mut begin: usize = self.lengths.iter().sum();
        while self.decoding.has_room() {
            let rest = source.fill(begin + (format.most)(format.size)).get(begin..).unwrap_or_default();
            let Some(found) = (format.whole)(rest) else { return };
            let (chunk, decode) = (rest[..found.length].to_vec(), format.decode);
            self.decoding.submit(move || decode(&chunk, found.content));
            self.lengths.push_back(found.length);
            begin += found.length;
        }
    }
}
