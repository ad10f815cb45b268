//! The checksum of bzip2: CRC-32 with the polynomial 0x04C11DB7, most significant bit first. The CRC-32 of gzip and zip
//! is the same with all bits in reverse order, and the crate `crc32fast` computes that one with special instructions of
//! many CPUs. So this module reverses the bits of each input byte, and those of the resulting checksum.

use super::cpu::{self, Cpu, Kernel};

/// A running checksum.
#[derive(Debug, Clone)]
pub(super) struct Crc(crc32fast::Hasher);

impl Crc {
    pub(super) fn new() -> Self {
        Self(crc32fast::Hasher::new())
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        let mut reversed = [0; 1024];
        for bytes in bytes.chunks(reversed.len()) {
            let reversed = &mut reversed[..bytes.len()];
            cpu::run(Reverse { bytes, reversed });
            self.0.update(reversed);
        }
    }

    pub(super) fn value(self) -> u32 {
        self.0.finalize().reverse_bits()
    }
}

/// Reverses the bits of each byte.
struct Reverse<'a> {
    bytes: &'a [u8],
    reversed: &'a mut [u8],
}

impl Kernel for Reverse<'_> {
    type Output = ();

    #[inline(always)]
    fn run<C: Cpu>(self, _: C) {
        for (reversed, byte) in self.reversed.iter_mut().zip(self.bytes) {
            *reversed = byte.reverse_bits();
        }
    }
}

/// Returns the checksum of a stream after a block with the checksum `block`. `stream` is that of the stream before it.
pub(super) fn combine(stream: u32, block: u32) -> u32 {
    stream.rotate_left(1) ^ block
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(bytes: &[u8]) -> u32 {
        let mut crc = Crc::new();
        crc.update(bytes);
        crc.value()
    }

    #[test]
    fn the_check_value_is_that_of_the_catalogue() {
        // CRC-32/BZIP2 in the Catalogue of Parametrised CRC Algorithms.
        assert_eq!(of(b"123456789"), 0xFC89_1918);
        assert_eq!(of(b""), 0);
    }

    proptest! {
        #[test]
        fn all_splits_agree_with_bit_by_bit(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0..200_usize) {
            let mut plain = u32::MAX;
            for byte in &bytes {
                plain ^= u32::from(*byte) << 24;
                for _ in 0..8 {
                    plain = (plain << 1) ^ if plain >> 31 == 1 { 0x04C1_1DB7 } else { 0 };
                }
            }
            prop_assert_eq!(of(&bytes), !plain);
            let (a, b) = bytes.split_at(cut.min(bytes.len()));
            let mut crc = Crc::new();
            crc.update(a);
            crc.update(b);
            prop_assert_eq!(crc.value(), !plain);
        }
    }
}
