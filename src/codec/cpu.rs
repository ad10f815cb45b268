//! Runs a kernel with the instructions that this CPU has beyond those the program was built for. The kernels
//! are plain safe Rust; compiled a second time with these features, the compiler counts bits in one instruction
//! instead of twelve. This file holds the crate's only `unsafe`: a CPU without the features would meet
//! instructions it does not know, so they are asked for at run time before each call; and to have memory fetched
//! ahead of its use takes an instruction that safe Rust has no name for.

/// Something to be run.
pub(super) trait Kernel {
    /// What comes out.
    type Output;

    /// To have any effect, it and all it calls must be `#[inline(always)]`.
    fn run<C: Cpu>(self, cpu: C) -> Self::Output;
}

/// What kernels ask of a CPU by name, because no plain Rust compiles to it.
pub(super) trait Cpu: Copy {
    /// The place of the set bit of `word` that has `below` set bits below it; anything if there is none.
    fn select(self, word: u64, below: u32) -> u32;
}

/// Runs `kernel` as fast as this CPU can.
pub(super) fn run<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    if let Some(cpu) = x86::Modern::detect() {
        return x86::run(kernel, cpu);
    }
    kernel.run(Plain)
}

/// Has the cache line fetched that the item at `index` is in, if there is one: for who will ask for it soon.
#[inline(always)]
pub(super) fn fetch<T>(items: &[T], index: usize) {
    if let Some(item) = items.get(index) {
        #[cfg(target_arch = "x86_64")]
        x86::fetch(item);
        #[cfg(not(target_arch = "x86_64"))]
        let _ = item;
    }
}

/// Every CPU.
#[derive(Clone, Copy)]
struct Plain;

impl Cpu for Plain {
    #[inline(always)]
    fn select(self, word: u64, below: u32) -> u32 {
        // Bits are counted in each byte, then in all bytes up to each; so the byte is found that has the bit.
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
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "calls of functions whose CPU features were found at run time")]
mod x86 {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch, _pdep_u64};

    use super::{Cpu, Kernel};

    /// A CPU of the level x86-64-v3 (Intel from 2013, AMD from 2017 on). There is none without [`Modern::detect`].
    #[derive(Clone, Copy)]
    pub(super) struct Modern(());

    impl Modern {
        pub(super) fn detect() -> Option<Self> {
            let found = is_x86_feature_detected!("avx2")
                && is_x86_feature_detected!("bmi1")
                && is_x86_feature_detected!("bmi2")
                && is_x86_feature_detected!("lzcnt")
                && is_x86_feature_detected!("popcnt");
            found.then_some(Self(()))
        }
    }

    impl Cpu for Modern {
        #[inline(always)]
        fn select(self, word: u64, below: u32) -> u32 {
            // SAFETY: the instruction is one of BMI2, and a value of this type exists only where it was found.
            let bit = unsafe { _pdep_u64(1 << (below % 64), word) };
            bit.trailing_zeros() % 64
        }
    }

    #[inline(always)]
    pub(super) fn fetch<T>(item: &T) {
        // SAFETY: every x86-64 has the instruction, and it is a hint, which changes nothing but what is in the caches.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(item).cast()) }
    }

    pub(super) fn run<K: Kernel>(kernel: K, cpu: Modern) -> K::Output {
        // SAFETY: all these features were found, or there were no `cpu`.
        unsafe { run_modern(kernel, cpu) }
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn run_modern<K: Kernel>(kernel: K, cpu: Modern) -> K::Output {
        kernel.run(cpu)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    struct Select(u64, u32);

    impl Kernel for Select {
        type Output = u32;

        #[inline(always)]
        fn run<C: Cpu>(self, cpu: C) -> u32 {
            cpu.select(self.0, self.1)
        }
    }

    proptest! {
        #[test]
        fn the_bit_is_selected_on_every_cpu(a in any::<u64>(), b in any::<u64>(), sparse in any::<bool>()) {
            let word = if sparse { a & b } else { a };
            let bits: Vec<u32> = (0..64).filter(|bit| word >> bit & 1 == 1).collect();
            for (below, &bit) in (0..).zip(&bits) {
                prop_assert_eq!(Plain.select(word, below), bit);
                prop_assert_eq!(run(Select(word, below)), bit);
            }
        }

        #[test]
        fn a_bit_that_is_not_there_is_none_to_panic_of(word in any::<u64>(), below in 0..64_u32) {
            prop_assert!(Plain.select(word, below) < 64);
            prop_assert!(run(Select(word, below)) < 64);
        }
    }
}
