//! The memory that a decoder may take for what a file refers back to: its window or dictionary, whose size the file states.

use nix::sys::sysinfo::sysinfo;

use super::format::{Damage, Fault};

/// Up to this size in bytes any window is decoded: what zstd accepts without an option, and more than `xz -9` needs.
const ALWAYS: u64 = 128 << 20;

/// Larger ones are decoded where they are no more than this part of the machine's memory.
const PART: u64 = 8;

/// The largest window of either format that is decoded anywhere: that of `zstd --long=31`.
const LARGEST: u64 = 2 << 30;

/// Returns the size in bytes up to which windows are decoded on this machine.
pub(super) fn limit() -> u64 {
    let memory = sysinfo().map_or(0, |info| info.ram_total());
    (memory / PART).clamp(ALWAYS, LARGEST)
}

/// Refuses a window of `needed` bytes, stated at `offset` of a file, that is larger than the limit.
pub(super) fn check(needed: u64, offset: u64) -> std::io::Result<()> {
    let limit = limit();
    if needed > limit { Err(Damage::error(offset, Fault::Window { needed: Some(needed), limit })) } else { Ok(()) }
}
