//! Whatever the file: our decoder, the plain one of the tests and the `bzip2` crate deliver the same, or all refuse it. What
//! does not begin like a bzip2 file chooses how one is made, with right checksums, which mutation alone never finds.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "each target uses a part of it")]
#[path = "../../tests/common/bz2/mod.rs"]
mod bz2;

fuzz_target!(|bytes: &[u8]| bz2::agree::on_choices(bytes));
