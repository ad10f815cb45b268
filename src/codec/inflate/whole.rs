//! Reads a whole stream in memory.

use std::io;

use super::stream::{Sizes, Stream};
use crate::codec::source::Source;
use crate::ordered::Pool;

/// Reads a raw stream for fuzz targets, in spans of `span` bytes, up to `most` bytes of content. Returns the content, and the
/// offset at which it ends or its error; `None` if it is longer.
pub fn read(stream: &[u8], span: usize, most: usize, pool: &Pool) -> (Vec<u8>, Option<io::Result<u64>>) {
    let sizes = Sizes { alone: span as u64, span, behind: span, most: 20 * span, threads: 2, piece: 2 * span };
    let (mut source, mut reader) = (Source::new(stream), Stream::new(pool, sizes));
    reader.begin(0);
    let (mut content, mut buffer) = (Vec::new(), [0; 5000]);
    while content.len() < most {
        match reader.read(&mut source, &mut buffer) {
            Ok(0) => return (content, Some(Ok(source.offset()))),
            Ok(count) => content.extend_from_slice(&buffer[..count]),
            Err(error) => return (content, Some(Err(error))),
        }
    }
    (content, None)
}
