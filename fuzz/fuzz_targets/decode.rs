//! Decodes a file with our decoder, the reader of the tests and the `bzip2` crate: all deliver the same bytes, or
//! all refuse it. Input without a bzip2 header generates a file with right checksums, which mutation alone never
//! finds.
#![no_main]

use libfuzzer_sys::fuzz_target;

#[allow(dead_code, reason = "each target uses a part of it")]
#[path = "../../tests/common/bz2/mod.rs"]
mod bz2;

fuzz_target!(|bytes: &[u8]| bz2::agree::on_choices(bytes));
