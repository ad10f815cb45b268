//! The variant for any CPU, in plain Rust.

use super::kernel::{Cpu, NoByteRegisters};

/// The instructions that the program was built for.
#[derive(Clone, Copy)]
pub(super) struct Portable;

impl Cpu for Portable {
    type ByteRegisters = NoByteRegisters;

    #[inline(always)]
    fn select(self, word: u64, below: u32) -> u32 {
        // Counts the set bits of each byte, and sums them up to each byte. The sums give the byte that has the bit.
        const LOW: u64 = u64::MAX / 255;
        let pairs = word - ((word >> 1) & (LOW * 0x55));
        let nibbles = (pairs & (LOW * 0x33)) + ((pairs >> 2) & (LOW * 0x33));
        let counts = (nibbles + (nibbles >> 4)) & (LOW * 0x0F);
        let sums = counts.wrapping_mul(LOW);
        let before = (0..7).take_while(|byte| (sums >> (8 * byte)) as u8 <= below as u8).count() as u32;
        let skipped = if before == 0 { 0 } else { (sums >> (8 * (before - 1))) as u8 };
        let mut byte = (word >> (8 * before)) as u8;
        for _ in u32::from(skipped)..below {
            byte &= byte.wrapping_sub(1);
        }
        (8 * before + byte.trailing_zeros()) % 64
    }

    #[inline(always)]
    fn byte_registers(self) -> Option<NoByteRegisters> {
        None
    }
}
