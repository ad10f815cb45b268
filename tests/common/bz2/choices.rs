//! Choices that input bytes determine. The bytes come from a fuzzer, which learns which of them matter, or from a
//! random generator. After the last byte every choice is the first one, so that all loops end.

/// The bytes that determine the choices.
pub struct Choices<'a>(&'a [u8]);

impl<'a> Choices<'a> {
    /// Creates choices from these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Returns whether all bytes are used.
    pub fn used_up(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns any byte.
    pub fn byte(&mut self) -> u8 {
        let (&byte, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        byte
    }

    /// Returns a number below `end`, which is at least one.
    pub fn below(&mut self, end: usize) -> usize {
        let mut value = usize::from(self.byte());
        // Small ranges take one byte, so that a small change of the input has a small effect.
        let mut most = 256;
        while most < end {
            value = value << 8 | usize::from(self.byte());
            most <<= 8;
        }
        value % end
    }

    /// Returns true in one of `cases` cases, and false after the last byte.
    pub fn one_in(&mut self, cases: usize) -> bool {
        self.below(cases) == cases - 1
    }

    /// Returns one of these values.
    pub fn of<T: Clone>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())].clone()
    }

    /// Returns up to `most` bytes of the input.
    pub fn bytes(&mut self, most: usize) -> &'a [u8] {
        let count = self.below(most + 1).min(self.0.len());
        let (bytes, rest) = self.0.split_at(count);
        self.0 = rest;
        bytes
    }
}
