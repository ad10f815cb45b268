//! Runs a kernel with the instructions that this CPU has beyond those the program was built for. The kernels
//! are plain safe Rust; compiled again with these features, the compiler counts bits in one instruction
//! instead of twelve. The two files below hold the crate's only `unsafe`: a CPU without the features would meet
//! instructions it does not know, so they are asked for at run time before each call; and what plain Rust
//! never compiles to is called by name.

#[cfg(target_arch = "x86_64")]
mod registers;
#[cfg(target_arch = "x86_64")]
mod x86;

use super::mtf::{OnTimeLine, Used};

/// Something to be run.
pub(super) trait Kernel {
    /// What comes out.
    type Output;

    /// Whether it gains by registers of 512 bits: if it does not, it may well lose.
    const WIDE: bool = false;

    /// To have any effect, it and all it calls must be `#[inline(always)]`.
    fn run<C: Cpu>(self, cpu: C) -> Self::Output;
}

/// What kernels ask of a CPU by name, because no plain Rust compiles to it.
pub(super) trait Cpu: Copy {
    /// How bytes are best kept by rank.
    type Ranks: Ranks<Self>;

    /// The place of the set bit of `word` that has `below` set bits below it; anything if there is none.
    fn select(self, word: u64, below: u32) -> u32;
}

/// Bytes, ranked by how recently they came.
pub(super) trait Ranks<C> {
    /// As if all bytes in use, one at least, had come in descending order: so the least has rank 0.
    fn new(used: &Used, cpu: C) -> Self;

    /// The byte of rank 0.
    fn front(&self) -> u8;

    /// Moves the byte of this rank, which is above 0 and below the number of bytes in use, to the front.
    fn take(&mut self, rank: u8, cpu: C) -> u8;
}

/// Runs `kernel` as fast as this CPU can.
pub(super) fn run<K: Kernel>(kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    {
        if K::WIDE
            && let Some(cpu) = x86::Newest::detect()
        {
            return x86::run_newest(kernel, cpu);
        }
        if let Some(cpu) = x86::Modern::detect() {
            return x86::run_modern(kernel, cpu);
        }
    }
    kernel.run(Plain)
}

/// What comes of `kernel` on each kind of CPU that this one can pass for.
#[cfg(test)]
pub(super) fn run_on_all<K: Kernel + Clone>(kernel: &K) -> Vec<K::Output> {
    let mut outputs = vec![kernel.clone().run(Plain)];
    #[cfg(target_arch = "x86_64")]
    {
        outputs.extend(x86::Modern::detect().map(|cpu| x86::run_modern(kernel.clone(), cpu)));
        outputs.extend(x86::Newest::detect().map(|cpu| x86::run_newest(kernel.clone(), cpu)));
    }
    outputs
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
    type Ranks = OnTimeLine;

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
        fn the_bit_is_selected_on_every_cpu(a in any::<u64>(), b in any::<u64>(), sparse in any::<bool>()) {
            let word = if sparse { a & b } else { a };
            let bits: Vec<u32> = (0..64).filter(|bit| word >> bit & 1 == 1).collect();
            for (below, &bit) in (0..).zip(&bits) {
                prop_assert!(run_on_all(&Select(word, below)).into_iter().all(|found| found == bit));
            }
        }

        #[test]
        fn a_bit_that_is_not_there_is_none_to_panic_of(word in any::<u64>(), below in 0..64_u32) {
            prop_assert!(run_on_all(&Select(word, below)).into_iter().all(|found| found < 64));
        }
    }
}
