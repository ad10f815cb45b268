//! The bits of a stream, each byte from its lowest bit on.

use super::Stop;

/// Bits of a slice from a position on. It is for headers; the loop of a block has its own.
pub(super) struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Bits<'a> {
    /// Returns the bits from bit `at` on.
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        Self { bytes, at }
    }

    /// Returns the position in bits.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// Returns the next bits, 57 of them at least; those behind the end are 0.
    pub(super) fn peek(&self) -> u64 {
        load_to_end(self.bytes, self.at / 8) >> (self.at % 8)
    }

    /// Skips `count` bits.
    pub(super) fn skip(&mut self, count: u32) -> Result<(), Stop> {
        let at = self.at + count as usize;
        if at > self.bytes.len() * 8 {
            return Err(Stop::Input);
        }
        self.at = at;
        Ok(())
    }

    /// Returns the next `count` bits, 32 at most, and skips them.
    pub(super) fn take(&mut self, count: u32) -> Result<u32, Stop> {
        let bits = self.peek() & ((1 << count) - 1);
        self.skip(count)?;
        Ok(bits as u32)
    }

    /// Skips the bits up to the next byte.
    pub(super) fn align(&mut self) {
        self.at = self.at.next_multiple_of(8);
    }
}

/// Returns the eight bytes at `at`; 0 if they are not all there.
#[inline(always)]
pub(super) fn load(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |word| u64::from_le_bytes(*word))
}

/// Returns the eight bytes at `at`. Those behind the end are 0.
#[inline]
pub(super) fn load_to_end(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or_default();
    if let Some(word) = rest.first_chunk() {
        return u64::from_le_bytes(*word);
    }
    rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}
