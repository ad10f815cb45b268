//! Content of which the beginning is recorded while it is read.

use std::io::{self, Read};

use crate::holes::ReadHoles;

/// A reader that keeps the first bytes that are read through it.
pub(super) struct Recorded<'a, R> {
    content: &'a mut R,
    beginning: Vec<u8>,
    most: usize,
}

impl<'a, R: ReadHoles> Recorded<'a, R> {
    /// Keeps at most `most` bytes.
    pub(super) fn new(content: &'a mut R, most: usize) -> Self {
        Self { content, beginning: Vec::new(), most }
    }

    /// Reads as much as is kept.
    pub(super) fn read_beginning(&mut self) -> io::Result<()> {
        let mut piece = [0; 64];
        while self.beginning.len() < self.most && (self.skip_hole() > 0 || self.read(&mut piece)? > 0) {}
        Ok(())
    }

    /// Returns what is kept.
    pub(super) fn beginning(self) -> Vec<u8> {
        self.beginning
    }
}

impl<R: ReadHoles> Read for Recorded<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = self.content.read(buf)?;
        let room = self.most.saturating_sub(self.beginning.len());
        self.beginning.extend(buf.iter().take(count.min(room)));
        Ok(count)
    }
}

impl<R: ReadHoles> ReadHoles for Recorded<'_, R> {
    fn skip_hole(&mut self) -> u64 {
        let skipped = self.content.skip_hole();
        let room = self.most.saturating_sub(self.beginning.len());
        // A hole reads as zeros.
        let zeros = usize::try_from(skipped).unwrap_or(room).min(room);
        self.beginning.resize(self.beginning.len() + zeros, 0);
        skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Content of text, then a hole, then text.
    struct Sparse(Vec<&'static [u8]>);

    impl Read for Sparse {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            match self.0.first_mut() {
                Some(piece) if !piece.is_empty() => piece.read(buf),
                Some(_) | None => Ok(0),
            }
        }
    }

    impl ReadHoles for Sparse {
        fn skip_hole(&mut self) -> u64 {
            let is_hole = self.0.len() > 1 && self.0[0].is_empty();
            if is_hole {
                self.0.remove(0);
            }
            if is_hole { 3 } else { 0 }
        }
    }

    #[test]
    fn the_beginning_is_kept_with_the_zeros_of_holes() {
        let content = || Sparse(vec![b"ab", b"cdefgh"]);
        for (most, expected) in [(1, &b"a"[..]), (4, b"ab\0\0"), (7, b"ab\0\0\0cd"), (99, b"ab\0\0\0cdefgh")] {
            let mut content = content();
            let mut recorded = Recorded::new(&mut content, most);
            recorded.read_beginning().unwrap();
            assert_eq!(recorded.beginning(), expected);
        }
    }

    /// A reader of one byte at a time, as where a piece that was decompressed ends.
    struct Slow<'a>(&'a [u8]);

    impl Read for Slow<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.0.read(&mut buf[..1])
        }
    }

    impl ReadHoles for Slow<'_> {
        fn skip_hole(&mut self) -> u64 {
            0
        }
    }

    #[test]
    fn the_beginning_is_kept_however_little_a_read_returns() {
        for (most, expected) in [(2, &b"ab"[..]), (9, b"abcdef")] {
            let mut content = Slow(b"abcdef");
            let mut recorded = Recorded::new(&mut content, most);
            recorded.read_beginning().unwrap();
            assert_eq!(recorded.beginning(), expected);
        }
    }

    #[test]
    fn all_of_the_content_passes() {
        let mut passed = Vec::new();
        let mut content = &[7_u8; 1000][..];
        let mut recorded = Recorded::new(&mut content, 63);
        recorded.read_to_end(&mut passed).unwrap();
        assert_eq!((passed.len(), recorded.beginning().len()), (1000, 63));
    }
}
