//! Choices made by bytes that come from somewhere else: from a fuzzer, which learns which of them matter, or
//! from chance. When the bytes are used up, every choice is the first one, so that all comes to an end.

/// Bytes to choose by.
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// All choices are in these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Whether there are none left.
    pub fn used_up(&self) -> bool {
        self.0.is_empty()
    }

    /// Any byte.
    pub fn byte(&mut self) -> u8 {
        let (&byte, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        byte
    }

    /// Any number below `end`, which is at least one.
    pub fn below(&mut self, end: usize) -> usize {
        let mut value = usize::from(self.byte());
        // Numbers that fit into one byte take one: small changes stay small.
        let mut most = 256;
        while most < end {
            value = value << 8 | usize::from(self.byte());
            most <<= 8;
        }
        value % end
    }

    /// True in one of so many cases, and not when nothing is left.
    pub fn one_in(&mut self, cases: usize) -> bool {
        self.below(cases) == cases - 1
    }

    /// One of these.
    pub fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    /// Up to `most` bytes, as far as there are any.
    pub fn bytes(&mut self, most: usize) -> &'a [u8] {
        let count = self.below(most + 1).min(self.0.len());
        let (bytes, rest) = self.0.split_at(count);
        self.0 = rest;
        bytes
    }
}
