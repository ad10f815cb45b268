//! Decompresses arbitrary bytes, in any format: no panic, and no end of file after an error.
#![no_main]

use std::io::{self, Read as _};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use voltar::codec::Decompressor;
use voltar::internals::tar_likeness;
use voltar::ordered::Pool;

static POOL: LazyLock<Pool> = LazyLock::new(|| Pool::new(2).unwrap());

fuzz_target!(|file: &[u8]| {
    let Ok(mut decompressor) = Decompressor::with_plain(file, tar_likeness, &POOL) else { return };
    if io::copy(&mut (&mut decompressor).take(64 << 20), &mut io::sink()).is_err() {
        assert!(decompressor.read(&mut [0]).is_err());
    }
    assert!(decompressor.compressed_bytes() <= file.len() as u64);
});
