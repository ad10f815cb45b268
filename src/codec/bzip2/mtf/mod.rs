//! Move to front: each byte is encoded as its rank by how recently it occurred, and decoded from it. Runs of rank 0 are
//! coded in two symbols of their own, as the digits of their length.
//!
//! # Encoding on a timeline
//!
//! The textbook method keeps a list of bytes in order of rank and moves each byte to the front, which shifts 128 bytes
//! for each input byte where data hardly compresses. The timeline shifts nothing. It has 1024 slots, one bit each in 16
//! words of 64. A byte sets the bit of the next slot and clears that of the slot where it occurred before. Its rank is
//! the number of bits set after the old slot: those in the same word, counted by one instruction, and those in all
//! later words. The counts of later bits are kept for all 16 words in the 16 bytes of one register, and one subtraction
//! updates them. When the timeline is full, its set bits, of which there are 256 at most, are compacted to its start.
//!
//! # Decoding
//!
//! On the timeline, decoding uses the same register the other way round. One comparison of sixteen bytes finds the word
//! that holds the slot of a given rank, and one `pdep` finds the bit in that word.
//!
//! On CPUs that permute bytes in 512-bit registers (AVX-512 VBMI), decoding uses a list, in four registers
//! ([`RegisterRanks`]). Consecutive ranks are in different registers at the same position, so to shift all lower ranks
//! by one is a masked copy from each register to the next.

mod alphabet;
mod encode;
mod ranks;
mod register_ranks;
mod timeline;
mod timeline_ranks;

pub(super) use alphabet::{RUN_B, Used, alphabet};
pub(super) use encode::encode;
pub(super) use ranks::Ranks;
pub(super) use register_ranks::RegisterRanks;
pub(super) use timeline_ranks::TimelineRanks;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::cpu::{self, Cpu, Kernel};
    use super::alphabet::RUN_A;
    use super::*;

    fn used(bytes: &[u8]) -> Used {
        let mut used = [false; 256];
        for &byte in bytes {
            used[usize::from(byte)] = true;
        }
        used
    }

    /// The textbook method, with a list.
    fn plain(bytes: &[u8]) -> Vec<u16> {
        let used = used(bytes);
        let mut list: Vec<u8> = (0..=255).filter(|byte| used[usize::from(*byte)]).collect();
        let mut symbols = Vec::new();
        let mut run = 0_usize;
        let end_run = |run: &mut usize, symbols: &mut Vec<u16>| {
            while *run > 0 {
                symbols.push(if *run % 2 == 1 { RUN_A } else { RUN_B });
                *run = (*run - 1) / 2;
            }
        };
        for &byte in bytes {
            let rank = list.iter().position(|&b| b == byte).unwrap();
            if rank == 0 {
                run += 1;
                continue;
            }
            end_run(&mut run, &mut symbols);
            list[..=rank].rotate_right(1);
            symbols.push(rank as u16 + 1);
        }
        end_run(&mut run, &mut symbols);
        symbols.push(list.len() as u16 + 1);
        symbols
    }

    #[derive(Clone)]
    struct Back<'a>(&'a Used, &'a [u16]);

    impl Kernel for Back<'_> {
        type Output = Vec<u8>;

        #[inline(always)]
        fn run<C: Cpu>(self, cpu: C) -> Vec<u8> {
            match cpu.byte_registers() {
                Some(registers) => self.decode(RegisterRanks::new(self.0, registers)),
                None => self.decode(TimelineRanks::new(self.0, cpu)),
            }
        }
    }

    impl Back<'_> {
        #[inline(always)]
        fn decode(&self, mut ranks: impl Ranks) -> Vec<u8> {
            let mut bytes = Vec::new();
            let (mut run, mut weight) = (0, 1);
            for &symbol in self.1 {
                if symbol <= RUN_B {
                    run += weight << symbol;
                    weight *= 2;
                    continue;
                }
                bytes.extend(std::iter::repeat_n(ranks.front(), run));
                (run, weight) = (0, 1);
                if usize::from(symbol) + 1 < alphabet(self.0) {
                    bytes.push(ranks.take((symbol - 1) as u8));
                    assert_eq!(bytes.last(), Some(&ranks.front()));
                }
            }
            bytes
        }
    }

    fn check(bytes: &[u8]) {
        let mut symbols = vec![9; 3];
        let used = used(bytes);
        let counts = encode(bytes, &used, &mut symbols);
        assert!(symbols == plain(bytes));
        for (symbol, &count) in (0..).zip(&counts) {
            assert_eq!(symbols.iter().filter(|s| **s == symbol).count(), count as usize);
        }
        assert!(cpu::run_on_all(&Back(&used, &symbols)).into_iter().all(|back| back == bytes));
    }

    #[test]
    fn all_bytes_in_any_order() {
        // Each byte in turn has the highest rank, for several lengths of the timeline.
        for of in [1, 2, 63, 64, 65, 128, 129, 192, 255, 256_usize] {
            let up: Vec<u8> = (0..3000).map(|n| (n % of) as u8).collect();
            check(&up);
            let down: Vec<u8> = up.iter().map(|&byte| (of - 1) as u8 - byte).collect();
            check(&down);
        }
    }

    proptest! {
        #[test]
        fn ranks_of_any_bytes(bytes in prop::collection::vec(any::<u8>(), 1..6000)) {
            check(&bytes);
        }

        #[test]
        fn ranks_of_skewed_bytes(
            bytes in prop::collection::vec((any::<u8>(), any::<u8>(), 1..7_usize), 1..3000),
            mask in any::<u8>(),
        ) {
            let bytes: Vec<u8> = bytes.iter().flat_map(|&(a, b, n)| std::iter::repeat_n(a & b & mask, n)).collect();
            check(&bytes);
        }
    }
}
