//! Decodes files with magics planted inside the data of their blocks, wherever the format has room for them:
//! three decoders agree.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "each target uses a part of it")]
#[path = "../../tests/common/bz2/mod.rs"]
mod bz2;

fuzz_target!(|bytes: &[u8]| bz2::agree::on_planted(bytes));
