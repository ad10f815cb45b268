//! Sparse members (`tar -S`; bsdtar writes them unasked): only the segments of a file that hold data are stored, with a map
//! that says where they lie. There are four forms ("Storing Sparse Files" in GNU tar's manual):
//!
//! * old GNU: type `S`; four entries in the header, 21 in each block that follows it;
//! * pax 0.0: a pair of records `GNU.sparse.offset`, `GNU.sparse.numbytes` for each entry;
//! * pax 0.1: one record `GNU.sparse.map`, with all numbers separated by commas;
//! * pax 1.0: the map precedes the data, as decimal lines.

use crate::archive::{BLOCK, number};

/// The most segments of one member: its map takes 16 MiB of memory. A disk image has a few thousand.
pub(super) const MOST_SEGMENTS: usize = 1 << 20;

/// A part of a file that is stored: its offset and its length in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment {
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// The map of a sparse file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Map {
    segments: Vec<Segment>,
}

/// Where the next byte of a sparse file comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// This many bytes are zero.
    Hole(u64),
    /// This many bytes are stored.
    Data(u64),
    /// The file ends.
    End,
}

/// The position in a sparse file that is being read.
#[derive(Debug)]
pub(super) struct Position {
    segments: std::vec::IntoIter<Segment>,
    current: Option<Segment>,
    at: u64,
    size: u64,
}

impl Map {
    /// Returns how many bytes of memory it takes.
    pub(super) fn held(&self) -> usize {
        size_of_val(&self.segments[..])
    }

    /// Appends a segment.
    pub(super) fn push(&mut self, offset: u64, length: u64) -> Result<(), String> {
        if self.segments.len() == MOST_SEGMENTS {
            return Err(format!("a sparse file of more than {MOST_SEGMENTS} segments"));
        }
        self.segments.push(Segment { offset, length });
        Ok(())
    }

    /// Appends the entries of a header or of a block that follows it: those before the first one that is empty. Returns how
    /// many there are.
    pub(super) fn push_entries(&mut self, entries: &[u8]) -> Result<usize, String> {
        let before = self.segments.len();
        for entry in entries.chunks_exact(24) {
            let (offset, length) = entry.split_at(12);
            if length[0] == 0 {
                break;
            }
            let number = |field: &[u8]| number::read(field).and_then(|number| u64::try_from(number).ok());
            let pair = number(offset).zip(number(length));
            let (offset, length) = pair.ok_or("an unreadable map of a sparse file")?;
            self.push(offset, length)?;
        }
        Ok(self.segments.len() - before)
    }

    /// Parses the numbers of pax 0.1.
    pub(super) fn of_list(list: &str) -> Result<Self, String> {
        let malformed = || "a malformed map of a sparse file".to_owned();
        let mut map = Self::default();
        let mut numbers = list.split(',').map(|number| number.parse::<u64>().map_err(|_| malformed()));
        while let Some(offset) = numbers.next() {
            map.push(offset?, numbers.next().ok_or_else(malformed)??)?;
        }
        Ok(map)
    }

    /// Begins to read a file of `size` bytes, of which `stored` are in the archive.
    ///
    /// # Errors
    /// The segments overlap, are out of order or exceed the file, or their lengths are not those of what is stored.
    pub(super) fn begin(self, size: u64, stored: u64) -> Result<Position, String> {
        let wrong = || "a map of a sparse file that does not fit the file".to_owned();
        let (mut end, mut total) = (0, 0_u64);
        for Segment { offset, length } in &self.segments {
            let next = offset.checked_add(*length).filter(|next| *offset >= end && *next <= size);
            end = next.ok_or_else(wrong)?;
            total += length;
        }
        if total != stored {
            return Err(wrong());
        }
        Ok(Position { segments: self.segments.into_iter(), current: None, at: 0, size })
    }
}

impl Position {
    /// Returns what comes next.
    pub(super) fn next(&mut self) -> Next {
        while self.current.is_none_or(|segment| segment.offset + segment.length <= self.at) {
            match self.segments.next() {
                Some(segment) => self.current = Some(segment),
                None if self.at < self.size => return Next::Hole(self.size - self.at),
                None => return Next::End,
            }
        }
        match self.current {
            Some(Segment { offset, .. }) if self.at < offset => Next::Hole(offset - self.at),
            Some(Segment { offset, length }) => Next::Data(offset + length - self.at),
            None => Next::End,
        }
    }

    /// Goes on by `count` bytes.
    pub(super) fn advance(&mut self, count: u64) {
        self.at += count;
    }

    /// Returns how many bytes are left.
    pub(super) fn left(&self) -> u64 {
        self.size - self.at
    }
}

/// Parses the map of pax 1.0, of which blocks are added one by one.
#[derive(Debug, Default)]
pub(super) struct LeadingMap {
    numbers: Vec<u64>,
    digits: Vec<u8>,
}

impl LeadingMap {
    /// Reads the next block; returns the map once it is complete. The rest of that block is padding.
    pub(super) fn block(&mut self, block: &[u8; BLOCK]) -> Result<Option<Map>, String> {
        let malformed = || "a malformed map of a sparse file".to_owned();
        for &byte in block {
            match byte {
                b'0'..=b'9' if self.digits.len() < 20 => self.digits.push(byte),
                b'\n' => {
                    let digits = std::mem::take(&mut self.digits);
                    let number = std::str::from_utf8(&digits).ok().and_then(|digits| digits.parse().ok());
                    self.numbers.push(number.ok_or_else(malformed)?);
                }
                _ => return Err(malformed()),
            }
            let count = self.numbers.first().copied().unwrap_or_default();
            if count > MOST_SEGMENTS as u64 {
                return Err(format!("a sparse file of more than {MOST_SEGMENTS} segments"));
            }
            if !self.numbers.is_empty() && self.numbers.len() as u64 == 1 + 2 * count {
                let mut map = Map::default();
                for pair in self.numbers[1..].chunks_exact(2) {
                    map.push(pair[0], pair[1])?;
                }
                return Ok(Some(map));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn map(segments: &[(u64, u64)]) -> Map {
        let segments = segments.iter().map(|&(offset, length)| Segment { offset, length }).collect();
        Map { segments }
    }

    fn walk(mut position: Position) -> Vec<Next> {
        let mut steps = Vec::new();
        loop {
            let next = position.next();
            match next {
                Next::Hole(count) | Next::Data(count) => position.advance(count),
                Next::End => return steps,
            }
            steps.push(next);
        }
    }

    #[test]
    fn holes_and_segments_take_turns() {
        use Next::{Data, Hole};
        let steps = |segments: &[(u64, u64)], size| {
            let stored = segments.iter().map(|segment| segment.1).sum();
            map(segments).begin(size, stored).map(walk)
        };
        assert_eq!(
            steps(&[(5, 2), (7, 1), (10, 5)], 20),
            Ok(vec![Hole(5), Data(2), Data(1), Hole(2), Data(5), Hole(5)])
        );
        assert_eq!(steps(&[], 9), Ok(vec![Hole(9)]));
        // GNU tar ends a map with an empty segment at the end of the file.
        assert_eq!(steps(&[(0, 3), (9, 0)], 9), Ok(vec![Data(3), Hole(6)]));
        assert_eq!(steps(&[], 0), Ok(vec![]));
        for wrong in [&[(5, 2), (6, 1)][..], &[(5, 5)], &[(u64::MAX, 1)], &[(3, 1), (1, 1)]] {
            assert!(steps(wrong, 9).is_err(), "{wrong:?}");
        }
        assert!(map(&[(0, 3)]).begin(9, 4).is_err(), "more is stored");
    }

    #[test]
    fn maps_are_parsed() {
        assert_eq!(Map::of_list("0,3,9,1"), Ok(map(&[(0, 3), (9, 1)])));
        for wrong in ["", "1", "1,2,3", "1,x", "-1,2", "1,2,"] {
            assert!(Map::of_list(wrong).is_err(), "{wrong}");
        }
        let mut block = [0; BLOCK];
        block[..9].copy_from_slice(b"2\n0\n3\n9\n1");
        let mut leading = LeadingMap::default();
        assert!(leading.block(&block).is_err(), "NUL in a number");
        let mut leading = LeadingMap::default();
        let digits = [&b"2\n0\n3\n9\n"[..], &[b'0'; BLOCK - 8]].concat();
        assert!(leading.block(&digits.try_into().unwrap()).is_err(), "too many digits");
        for (zeros, is_read) in [(19, true), (20, false)] {
            let one = [&vec![b'0'; zeros][..], &b"1\n5\n7\n"[..], &vec![0; BLOCK - zeros - 6]].concat();
            let read = LeadingMap::default().block(&one.try_into().unwrap());
            assert_eq!(read.is_ok_and(|read| read == Some(map(&[(5, 7)]))), is_read, "{zeros} zeros");
        }
        let mut leading = LeadingMap::default();
        let padded = [&b"0\n"[..], &[0; BLOCK - 2]].concat();
        assert_eq!(leading.block(&padded.try_into().unwrap()), Ok(Some(map(&[]))));
        let mut leading = LeadingMap::default();
        let begin = [&b"200\n".repeat(BLOCK / 4)[..]].concat();
        assert_eq!(leading.block(&begin.try_into().unwrap()), Ok(None));
        // The number of segments comes first, and is refused before any is held.
        let number = |count: usize| {
            let mut block = [b'1'; BLOCK];
            let digits = format!("{count}\n");
            block[..digits.len()].copy_from_slice(digits.as_bytes());
            block[BLOCK - 1] = b'\n';
            block[digits.len()..].as_chunks_mut::<2>().0.fill(*b"1\n");
            LeadingMap::default().block(&block)
        };
        assert_eq!(number(MOST_SEGMENTS), Ok(None));
        assert!(number(MOST_SEGMENTS + 1).unwrap_err().contains("more than 1048576 segments"));
    }

    proptest! {
        #[test]
        fn any_block_is_read_or_refused(blocks in prop::collection::vec(prop::array::uniform32(any::<u8>()), 16)) {
            let block: [u8; BLOCK] = blocks.concat().try_into().unwrap();
            LeadingMap::default().block(&block).map(drop).unwrap_or_default();
            Map::default().push_entries(&block).map(drop).unwrap_or_default();
        }
    }
}
