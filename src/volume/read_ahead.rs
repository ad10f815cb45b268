//! Reads a large file ahead, in pieces that are read at the same time and returned in order: neither the latency of the
//! disk nor the copy out of the page cache delays who takes them.

use std::fs::File;
use std::io;
use std::sync::Arc;

use rustix::buffer::spare_capacity;
use rustix::io::{pread, retry_on_intr};

use crate::digest::{Digest, OfPieces};
use crate::durable::page_cache::{READ_STEP, drop_range, drop_written, read_in_order};
use crate::ordered::{Ordered, Pool};

/// Bytes of a piece: passing it between threads takes little of the time in which it is copied.
pub(super) const PIECE: usize = 256 << 10;

/// A file of which the pieces are being read.
pub(super) struct ReadAhead {
    file: Arc<File>,
    reading: Ordered<Piece>,
    /// The offset of the next piece to be read, and that after the last one.
    next: u64,
    end: u64,
    /// Why the file could not be read behind what was returned.
    failed: Option<io::Error>,
    /// The digest of what was returned, if it is wanted.
    digest: Option<OfPieces>,
}

struct Piece {
    bytes: Vec<u8>,
    digest: Option<Digest>,
    /// Whether the file ended in it, or could not be read.
    ended: bool,
    failed: Option<io::Error>,
}

impl ReadAhead {
    /// Begins to read the first `size` bytes of `file`, on the threads of `pool`, which also compute the digest if it
    /// `is_digested`.
    pub(super) fn new(file: File, size: u64, is_digested: bool, pool: &Pool) -> Self {
        read_in_order(&file);
        let digest = is_digested.then(OfPieces::default);
        Self { file: Arc::new(file), reading: Ordered::new(pool), next: 0, end: size, failed: None, digest }
    }

    /// Returns the digest of all that was returned.
    pub(super) fn digest(&self) -> Option<Digest> {
        self.digest.clone().map(OfPieces::finish)
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Returns the next piece; an empty one at the end.
    pub(super) fn next(&mut self) -> io::Result<Vec<u8>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        while self.next < self.end && self.reading.has_room() {
            let length = usize::try_from(self.end - self.next).map_or(PIECE, |left| left.min(PIECE));
            let (file, offset, is_digested) = (Arc::clone(&self.file), self.next, self.digest.is_some());
            self.reading.submit(move || read(&file, offset, length, is_digested));
            self.next += length as u64;
        }
        let Some(piece) = self.reading.take() else { return Ok(Vec::new()) };
        if let (Some(all), Some(of_piece)) = (&mut self.digest, piece.digest) {
            all.add(of_piece);
        }
        if piece.ended {
            // What lies behind is read no more, also if the file has grown again.
            self.reading.abandon();
            self.next = self.end;
            self.failed = piece.failed;
            if piece.bytes.is_empty() {
                return self.failed.take().map_or(Ok(piece.bytes), Err);
            }
        }
        Ok(piece.bytes)
    }
}

impl Drop for ReadAhead {
    fn drop(&mut self) {
        // Nothing of the tree is being read once its archive is written or has failed.
        self.reading.abandon();
        drop_written(&self.file);
    }
}

fn read(file: &File, offset: u64, length: usize, is_digested: bool) -> Piece {
    let mut bytes = Vec::with_capacity(length);
    let mut failed = None;
    while bytes.len() < length {
        let at = offset + bytes.len() as u64;
        match retry_on_intr(|| pread(file, spare_capacity(&mut bytes), at)) {
            Ok(0) => break,
            Ok(_) => {}
            Err(e) => {
                failed = Some(e.into());
                break;
            }
        }
    }
    let ended = bytes.len() < length;
    // A vector may have more room than it was asked for.
    bytes.truncate(length);
    // Fewer bytes than a step are being read, so all of the step before the last one has been.
    if offset.is_multiple_of(READ_STEP) && offset >= 2 * READ_STEP {
        drop_range(file, offset - 2 * READ_STEP, READ_STEP);
    }
    let digest = is_digested.then(|| Digest::of(&bytes));
    Piece { bytes, digest, ended, failed }
}

#[cfg(test)]
mod tests {
    use std::io::{Seek as _, Write as _};

    use super::*;

    fn all(ahead: &mut ReadAhead) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            match ahead.next().unwrap() {
                piece if piece.is_empty() => return all,
                piece => all.extend(piece),
            }
        }
    }

    #[test]
    fn pieces_follow_each_other_up_to_the_size_or_the_end() {
        let content: Vec<u8> = (0..(17 << 20) + 5_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        // Where the handle is does not matter.
        file.rewind().unwrap();
        let pool = Pool::new(3).unwrap();
        for size in [0, 1, PIECE, PIECE + 1, content.len() - 1, content.len(), content.len() + 3 * PIECE] {
            let mut ahead = ReadAhead::new(file.try_clone().unwrap(), size as u64, false, &pool);
            assert!(all(&mut ahead) == content[..size.min(content.len())], "{size}");
            assert!(ahead.next().unwrap().is_empty());
        }
    }

    #[test]
    fn nothing_is_read_behind_the_end_of_a_file_that_shrank() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(100 * PIECE as u64).unwrap();
        let mut ahead = ReadAhead::new(file.try_clone().unwrap(), 100 * PIECE as u64, false, &Pool::new(2).unwrap());
        assert_eq!(ahead.next().unwrap().len(), PIECE);
        file.set_len(0).unwrap();
        let rest = all(&mut ahead);
        file.set_len(100 * PIECE as u64).unwrap();
        assert!(rest.len() < 99 * PIECE && ahead.next().unwrap().is_empty());
    }
}
