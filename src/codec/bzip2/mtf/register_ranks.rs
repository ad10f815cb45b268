//! Decoding with a list of 256 bytes in four registers of 64.
//!
//! Ranks are distributed round-robin: rank 4·p + r is at position p of register r. So the byte before another one in
//! the list is in the previous register at the same position, and only the first register takes its bytes from the last
//! one, one position lower. To shift all bytes up to a rank by one is four masked copies.

use super::alphabet::Used;
use super::ranks::Ranks;
use crate::codec::bzip2::cpu::ByteRegisters;

const REGISTERS: usize = 4;
const POSITIONS: usize = 64;

/// For each rank, a mask of the positions of each register that have this rank or a lower one.
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

/// A move-to-front list in registers, for CPUs with 64-byte registers.
#[derive(Clone, Copy)]
pub(in crate::codec::bzip2) struct RegisterRanks<C: ByteRegisters> {
    cpu: C,
    bytes: [C::Register; REGISTERS],
    /// For each position, the one before it.
    before: C::Register,
    front: u8,
}

impl<C: ByteRegisters> RegisterRanks<C> {
    /// Begins with the bytes in use, of which there is one at least, in ascending order.
    #[inline(always)]
    pub(in crate::codec::bzip2) fn new(used: &Used, cpu: C) -> Self {
        let mut bytes = [[0; POSITIONS]; REGISTERS];
        let ranked = (0..=255).filter(|byte| used[usize::from(*byte)]);
        for (rank, byte) in ranked.enumerate() {
            bytes[rank % REGISTERS][rank / REGISTERS] = byte;
        }
        let before = std::array::from_fn(|position| (position as u8).wrapping_sub(1));
        Self { cpu, bytes: bytes.map(|bytes| cpu.load(bytes)), before: cpu.load(before), front: bytes[0][0] }
    }
}

impl<C: ByteRegisters> Ranks for RegisterRanks<C> {
    #[inline(always)]
    fn front(&self) -> u8 {
        self.front
    }

    #[inline(always)]
    fn take(&mut self, rank: u8) -> u8 {
        let Self { cpu, bytes: [a, b, c, d], before, .. } = *self;
        // In a pair of registers, positions from 64 on are those of the second one.
        let index = cpu.splat(rank >> 2 | (rank & 1) << 6);
        let (low, high) = (cpu.permute_two(index, a, b), cpu.permute_two(index, c, d));
        let in_high = (u64::from(rank) >> 1 & 1).wrapping_neg();
        let byte = cpu.blend(low, in_high, high);
        let up_to = |register: usize| UP_TO[usize::from(rank)][register];
        let first = cpu.blend(a, up_to(0), cpu.permute(before, d));
        self.bytes = [
            cpu.blend(first, 1, byte),
            cpu.blend(b, up_to(1), a),
            cpu.blend(c, up_to(2), b),
            cpu.blend(d, up_to(3), c),
        ];
        self.front = cpu.first(byte);
        self.front
    }
}
