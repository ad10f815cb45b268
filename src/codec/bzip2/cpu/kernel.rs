//! The interface of a kernel, and the operations that a CPU variant offers to it.

/// A computation that is compiled once for each CPU variant.
pub(in crate::codec::bzip2) trait Kernel {
    /// The result of the kernel.
    type Output;

    /// Whether the kernel is faster with 512-bit registers. Other kernels can be slower with them, because some CPUs
    /// lower their clock rate.
    const WIDE: bool = false;

    /// Runs the kernel. The method and everything it calls must be `#[inline(always)]`: only what is inlined into
    /// the function with the CPU features is compiled with them.
    fn run<C: Cpu>(self, cpu: C) -> Self::Output;
}

/// The operations of a CPU that the compiler does not generate from plain Rust.
pub(in crate::codec::bzip2) trait Cpu: Copy {
    /// The 64-byte registers of the CPU; [`NoByteRegisters`] if it has none.
    type ByteRegisters: ByteRegisters;

    /// Returns the index of the set bit of `word` that has `below` set bits below it. If there is no such bit, the
    /// result is any number below 64.
    fn select(self, word: u64, below: u32) -> u32;

    /// Returns the 64-byte registers, if the CPU has any.
    fn byte_registers(self) -> Option<Self::ByteRegisters>;
}

/// Permutations of bytes in 64-byte registers.
pub(in crate::codec::bzip2) trait ByteRegisters: Copy {
    /// A register.
    type Register: Copy;

    /// Loads 64 bytes.
    fn load(self, bytes: [u8; 64]) -> Self::Register;

    /// Copies `byte` to all 64 positions.
    fn splat(self, byte: u8) -> Self::Register;

    /// Returns for each byte of `indices` the byte of `from` at that position, modulo 64.
    fn permute(self, indices: Self::Register, from: Self::Register) -> Self::Register;

    /// Returns for each byte of `indices` the byte at that position, modulo 128: in `low` from 0 to 63, in `high` from
    /// 64 to 127.
    fn permute_two(self, indices: Self::Register, low: Self::Register, high: Self::Register) -> Self::Register;

    /// Returns `base` with the bytes of `other` at the positions whose bits are set in `mask`.
    fn blend(self, base: Self::Register, mask: u64, other: Self::Register) -> Self::Register;

    /// Returns the byte at position 0.
    fn first(self, register: Self::Register) -> u8;
}

/// The type for CPUs without 64-byte registers, which has no value.
#[derive(Clone, Copy)]
pub(in crate::codec::bzip2) enum NoByteRegisters {}

impl ByteRegisters for NoByteRegisters {
    type Register = ();

    fn load(self, _: [u8; 64]) {
        match self {}
    }

    fn splat(self, _: u8) {
        match self {}
    }

    fn permute(self, (): (), (): ()) {
        match self {}
    }

    fn permute_two(self, (): (), (): (), (): ()) {
        match self {}
    }

    fn blend(self, (): (), _: u64, (): ()) {
        match self {}
    }

    fn first(self, (): ()) -> u8 {
        match self {}
    }
}
