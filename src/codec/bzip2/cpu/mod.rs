//! Runs a kernel with the instructions that the CPU has beyond those the program was built for.
//!
//! A kernel is plain safe Rust that is compiled once for each CPU variant; with the features of `X86_64V3`, for
//! example, the compiler counts set bits in one instruction instead of twelve. The variant is detected at run time
//! before each call, because an unsupported instruction stops the program. What the compiler never generates from
//! plain Rust (`pdep`, byte permutations, prefetches) is a method of the variant. The `unsafe` code of the crate is in
//! `x86`, and nowhere else.
//!
//! This module does not depend on any kernel: kernels are type parameters.

mod kernel;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

pub(super) use kernel::{ByteRegisters, Cpu, Kernel};
use portable::Portable;

/// Runs `kernel` on the best variant of this CPU.
pub(super) fn run<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    {
        if K::WIDE
            && let Some(cpu) = x86::Avx512Vbmi::detect()
        {
            return cpu.run(kernel);
        }
        if let Some(cpu) = x86::X86_64V3::detect() {
            return cpu.run(kernel);
        }
    }
    kernel.run(Portable)
}

/// Runs `kernel` on every variant that this CPU supports.
#[cfg(test)]
pub(super) fn run_on_all<K: Kernel + Clone>(kernel: &K) -> Vec<K::Output> {
    let mut outputs = vec![kernel.clone().run(Portable)];
    #[cfg(target_arch = "x86_64")]
    {
        outputs.extend(x86::X86_64V3::detect().map(|cpu| cpu.run(kernel.clone())));
        outputs.extend(x86::Avx512Vbmi::detect().map(|cpu| cpu.run(kernel.clone())));
    }
    outputs
}

/// Prefetches the cache line of the item at `index`, if there is such an item.
#[inline(always)]
pub(super) fn prefetch<T>(items: &[T], index: usize) {
    if let Some(item) = items.get(index) {
        #[cfg(target_arch = "x86_64")]
        x86::prefetch(item);
        #[cfg(not(target_arch = "x86_64"))]
        let _ = item;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone)]
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
        fn every_variant_selects_the_bit(a in any::<u64>(), b in any::<u64>(), sparse in any::<bool>()) {
            let word = if sparse { a & b } else { a };
            let bits: Vec<u32> = (0..64).filter(|bit| word >> bit & 1 == 1).collect();
            for (below, &bit) in (0..).zip(&bits) {
                prop_assert!(run_on_all(&Select(word, below)).into_iter().all(|found| found == bit));
            }
        }

        #[test]
        fn a_missing_bit_does_not_panic(word in any::<u64>(), below in 0..64_u32) {
            prop_assert!(run_on_all(&Select(word, below)).into_iter().all(|found| found < 64));
        }
    }
}
