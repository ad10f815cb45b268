//! The bits of a deflate stream (RFC 1951, section 3.1.1): the first one is the lowest of the first byte.

/// Appends bits to bytes.
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits that are not in `bytes` yet, the first one lowest.
    pending: u64,
    count: u32,
}

impl BitWriter {
    /// The number of bits that can be put after a [`BitWriter::flush`], which leaves at most seven.
    pub(super) const ROOM: u32 = 64 - 8;

    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), pending: 0, count: 0 }
    }

    /// Puts the low `count` bits of `bits`, whose other bits are 0. At most [`BitWriter::ROOM`] bits fit between two calls of
    /// [`BitWriter::flush`].
    #[inline]
    pub(super) fn put(&mut self, bits: u64, count: u32) {
        self.pending |= bits << self.count;
        self.count += count;
    }

    /// Moves all whole bytes out of the pending bits.
    #[inline]
    pub(super) fn flush(&mut self) {
        let whole = self.count / 8;
        // Eight bytes are appended and some taken back, which costs less than a number of bytes that varies.
        let end = self.bytes.len() + whole as usize;
        self.bytes.extend_from_slice(&self.pending.to_le_bytes());
        self.bytes.truncate(end);
        self.pending >>= whole * 8;
        self.count %= 8;
    }

    /// Fills the last byte with zeros and appends `bytes`.
    pub(super) fn put_bytes(&mut self, bytes: &[u8]) {
        self.flush();
        self.count = self.count.next_multiple_of(8);
        self.flush();
        self.bytes.extend_from_slice(bytes);
    }

    /// Returns the bytes, the last one filled with zeros.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.put_bytes(&[]);
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_fill_bytes_from_the_lowest_one() {
        let mut bits = BitWriter::with_capacity(0);
        bits.put(0b1, 1);
        bits.put(0b10, 2);
        bits.flush();
        bits.put((1 << 56) - 1, BitWriter::ROOM);
        bits.flush();
        bits.put_bytes(b"x");
        bits.put(0b11, 2);
        assert_eq!(bits.finish(), [0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x07, b'x', 0b11]);
    }
}
