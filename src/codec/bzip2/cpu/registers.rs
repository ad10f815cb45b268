//! A list of 256 bytes in four registers of 64. Its bytes are dealt to them in turn, so that the one before a byte is
//! mostly in another register at the same place: to move all bytes up to a rank on by one is then four copies under
//! a mask, and only the first register takes its bytes from one place lower in the last.

#![allow(unsafe_code, reason = "instructions that were found at run time")]

use std::arch::x86_64::{
    __m512i, _mm_cvtsi128_si32, _mm512_castsi512_si128, _mm512_loadu_si512, _mm512_mask_mov_epi8,
    _mm512_permutex2var_epi8, _mm512_permutexvar_epi8, _mm512_set1_epi8,
};

use super::Ranks;
use super::x86::Newest;
use crate::codec::bzip2::mtf::Used;

const REGISTERS: usize = 4;
const PLACES: usize = 64;

/// For each rank: the places of each register that are of this rank or lower ones.
static UP_TO: [[u64; REGISTERS]; 256] = up_to();

const fn up_to() -> [[u64; REGISTERS]; 256] {
    let mut masks = [[0; REGISTERS]; 256];
    let mut rank = 0;
    while rank < masks.len() {
        let mut lower = 0;
        while lower <= rank {
            masks[rank][lower % REGISTERS] |= 1 << (lower / REGISTERS);
            lower += 1;
        }
        rank += 1;
    }
    masks
}

#[derive(Clone, Copy)]
pub(in crate::codec::bzip2) struct Registers {
    /// Rank `REGISTERS * place + n` is at this place of the n-th.
    bytes: [__m512i; REGISTERS],
    /// For each place, the one before it.
    before: __m512i,
    front: u8,
}

impl Ranks<Newest> for Registers {
    #[inline(always)]
    fn new(used: &Used, cpu: Newest) -> Self {
        let mut bytes = [[0; PLACES]; REGISTERS];
        let ranked = (0..=255).filter(|byte| used[usize::from(*byte)]);
        for (rank, byte) in ranked.enumerate() {
            bytes[rank % REGISTERS][rank / REGISTERS] = byte;
        }
        let before = std::array::from_fn(|place| (place as u8).wrapping_sub(1));
        Self { bytes: bytes.map(|bytes| load(bytes, cpu)), before: load(before, cpu), front: bytes[0][0] }
    }

    #[inline(always)]
    fn front(&self) -> u8 {
        self.front
    }

    #[inline(always)]
    fn take(&mut self, rank: u8, _: Newest) -> u8 {
        let [a, b, c, d] = self.bytes;
        // SAFETY: a `Newest` was found to have these instructions, and none of them touches memory.
        unsafe {
            // Of two registers together, the places of the second one are the upper 64.
            let place = _mm512_set1_epi8((rank >> 2 | (rank & 1) << 6).cast_signed());
            let (low, high) = (_mm512_permutex2var_epi8(a, place, b), _mm512_permutex2var_epi8(c, place, d));
            let in_high = (u64::from(rank) >> 1 & 1).wrapping_neg();
            let byte = _mm512_mask_mov_epi8(low, in_high, high);
            let up_to = |register: usize| UP_TO[usize::from(rank)][register];
            let first = _mm512_mask_mov_epi8(a, up_to(0), _mm512_permutexvar_epi8(self.before, d));
            self.bytes = [
                _mm512_mask_mov_epi8(first, 1, byte),
                _mm512_mask_mov_epi8(b, up_to(1), a),
                _mm512_mask_mov_epi8(c, up_to(2), b),
                _mm512_mask_mov_epi8(d, up_to(3), c),
            ];
            self.front = _mm_cvtsi128_si32(_mm512_castsi512_si128(byte)).cast_unsigned() as u8;
        }
        self.front
    }
}

#[inline(always)]
fn load(bytes: [u8; PLACES], _: Newest) -> __m512i {
    // SAFETY: it reads 64 bytes from anywhere, and there are so many; a `Newest` was found to have the instruction.
    unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
}
