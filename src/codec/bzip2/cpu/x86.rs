//! x86-64 CPUs. All `unsafe` code in this file relies on one invariant: only `detect` creates a value of [`X86_64V3`]
//! or [`Avx512Vbmi`], so wherever there is such a value, the CPU has the instructions.

#![allow(unsafe_code, reason = "instructions whose CPU features are detected at run time")]

use std::arch::x86_64::{
    __m512i, _MM_HINT_T0, _mm_cvtsi128_si32, _mm_prefetch, _mm512_castsi512_si128, _mm512_loadu_si512,
    _mm512_mask_mov_epi8, _mm512_permutex2var_epi8, _mm512_permutexvar_epi8, _mm512_set1_epi8, _pdep_u64,
};

use super::kernel::{ByteRegisters, Cpu, Kernel, NoByteRegisters};

/// A CPU of the level x86-64-v3: AVX2, BMI1, BMI2, LZCNT and POPCNT (Intel since 2013, AMD since 2017).
#[derive(Clone, Copy)]
pub(super) struct X86_64V3(());

impl X86_64V3 {
    pub(super) fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("bmi1")
            && is_x86_feature_detected!("bmi2")
            && is_x86_feature_detected!("lzcnt")
            && is_x86_feature_detected!("popcnt");
        found.then_some(Self(()))
    }

    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt")]
        fn run<K: Kernel>(kernel: K, cpu: X86_64V3) -> K::Output {
            kernel.run(cpu)
        }
        // SAFETY: only `detect` creates a `self`, after it found all these features.
        unsafe { run(kernel, self) }
    }
}

impl Cpu for X86_64V3 {
    type ByteRegisters = NoByteRegisters;

    #[inline(always)]
    fn select(self, word: u64, below: u32) -> u32 {
        // SAFETY: the instruction is one of BMI2, which `detect` found.
        let bit = unsafe { _pdep_u64(1 << (below % 64), word) };
        bit.trailing_zeros() % 64
    }

    #[inline(always)]
    fn byte_registers(self) -> Option<NoByteRegisters> {
        None
    }
}

/// A CPU of the level x86-64-v3 that also permutes 64 bytes in one instruction: AVX-512 F, BW, VL and VBMI (Intel
/// since 2019, AMD since 2022).
#[derive(Clone, Copy)]
pub(super) struct Avx512Vbmi(X86_64V3);

impl Avx512Vbmi {
    pub(super) fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("avx512vbmi");
        X86_64V3::detect().filter(|_| found).map(Self)
    }

    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt,popcnt,avx512f,avx512bw,avx512vl,avx512vbmi")]
        fn run<K: Kernel>(kernel: K, cpu: Avx512Vbmi) -> K::Output {
            kernel.run(cpu)
        }
        // SAFETY: only `detect` creates a `self`, after it found all these features.
        unsafe { run(kernel, self) }
    }
}

impl Cpu for Avx512Vbmi {
    type ByteRegisters = Self;

    #[inline(always)]
    fn select(self, word: u64, below: u32) -> u32 {
        self.0.select(word, below)
    }

    #[inline(always)]
    fn byte_registers(self) -> Option<Self> {
        Some(self)
    }
}

impl ByteRegisters for Avx512Vbmi {
    type Register = __m512i;

    #[inline(always)]
    fn load(self, bytes: [u8; 64]) -> __m512i {
        // SAFETY: it reads 64 bytes at any alignment, and the array has 64; `detect` found AVX-512 F.
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    }

    #[inline(always)]
    fn splat(self, byte: u8) -> __m512i {
        // SAFETY: it accesses no memory, and `detect` found AVX-512 F.
        unsafe { _mm512_set1_epi8(byte.cast_signed()) }
    }

    #[inline(always)]
    fn permute(self, indices: __m512i, from: __m512i) -> __m512i {
        // SAFETY: it accesses no memory, and `detect` found AVX-512 VBMI.
        unsafe { _mm512_permutexvar_epi8(indices, from) }
    }

    #[inline(always)]
    fn permute_two(self, indices: __m512i, low: __m512i, high: __m512i) -> __m512i {
        // SAFETY: it accesses no memory, and `detect` found AVX-512 VBMI.
        unsafe { _mm512_permutex2var_epi8(low, indices, high) }
    }

    #[inline(always)]
    fn blend(self, base: __m512i, mask: u64, other: __m512i) -> __m512i {
        // SAFETY: it accesses no memory, and `detect` found AVX-512 BW.
        unsafe { _mm512_mask_mov_epi8(base, mask, other) }
    }

    #[inline(always)]
    fn first(self, register: __m512i) -> u8 {
        // SAFETY: they access no memory, and `detect` found AVX-512 F.
        unsafe { _mm_cvtsi128_si32(_mm512_castsi512_si128(register)).cast_unsigned() as u8 }
    }
}

/// Prefetches the cache line of `item`.
#[inline(always)]
pub(super) fn prefetch<T>(item: &T) {
    // SAFETY: every x86-64 CPU has the instruction, and it has no effect except on the caches.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(item).cast()) }
}
