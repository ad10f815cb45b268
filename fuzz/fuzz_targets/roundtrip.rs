//! Compresses with one worker and with several, in pieces of any size: three independent decoders return the
//! content.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "each target uses a part of it")]
#[path = "../../tests/common/bz2/mod.rs"]
mod bz2;

fuzz_target!(|bytes: &[u8]| bz2::agree::on_round_trip(bytes));
