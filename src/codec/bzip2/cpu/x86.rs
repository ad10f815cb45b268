//! What x86-64 CPUs have. All of `unsafe` here rests on one thing: values of [`Modern`] and [`Newest`] are only made
//! by their `detect`, so where there is one, its instructions were found on this CPU.

#![allow(unsafe_code, reason = "calls of functions whose CPU features were found at run time")]

use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch, _pdep_u64};

use super::registers::Registers;
use super::{Cpu, Kernel};
use crate::codec::bzip2::mtf::OnTimeLine;

/// A CPU of the level x86-64-v3 (Intel from 2013, AMD from 2017 on).
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
    type Ranks = OnTimeLine;

    #[inline(always)]
    fn select(self, word: u64, below: u32) -> u32 {
        // SAFETY: the instruction is one of BMI2, and a value of this type exists only where it was found.
        let bit = unsafe { _pdep_u64(1 << (below % 64), word) };
        bit.trailing_zeros() % 64
    }
}

pub(super) fn run_modern<K: Kernel>(kernel: K, cpu: Modern) -> K::Output {
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
    fn run<K: Kernel>(kernel: K, cpu: Modern) -> K::Output {
        kernel.run(cpu)
    }
    // SAFETY: all these features were found, or there were no `cpu`.
    unsafe { run(kernel, cpu) }
}

/// One that also permutes 64 bytes in an instruction (Intel from 2019, AMD from 2022 on).
#[derive(Clone, Copy)]
pub(super) struct Newest(Modern);

impl Newest {
    pub(super) fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vbmi");
        Modern::detect().filter(|_| found).map(Self)
    }
}

impl Cpu for Newest {
    type Ranks = Registers;

    #[inline(always)]
    fn select(self, word: u64, below: u32) -> u32 {
        self.0.select(word, below)
    }
}

pub(super) fn run_newest<K: Kernel>(kernel: K, cpu: Newest) -> K::Output {
    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512vl,avx512vbmi")]
    fn run<K: Kernel>(kernel: K, cpu: Newest) -> K::Output {
        kernel.run(cpu)
    }
    // SAFETY: all these features were found, or there were no `cpu`.
    unsafe { run(kernel, cpu) }
}

#[inline(always)]
pub(super) fn fetch<T>(item: &T) {
    // SAFETY: every x86-64 has the instruction, and it is a hint, which changes nothing but what is in the caches.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(item).cast()) }
}
