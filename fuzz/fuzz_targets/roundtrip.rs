//! What is compressed comes back, and the file is the one the `bzip2` crate writes.
#![no_main]

use std::io::{Read as _, Write as _};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use voltar::codec::{Compressor, Decompressor, Format, Level};
use voltar::ordered::Pool;

static POOL: LazyLock<Pool> = LazyLock::new(|| Pool::new(2).unwrap());

fuzz_target!(|runs: Vec<(u8, u16)>| {
    let input: Vec<u8> = runs.iter().flat_map(|&(byte, run)| std::iter::repeat_n(byte, run.into())).collect();
    let mut compressor = Compressor::new(Vec::new(), Format::Bzip2, Level::new(1).unwrap(), &POOL);
    compressor.write_all(&input).unwrap();
    let file = compressor.finish().unwrap();

    let mut theirs = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::new(1));
    theirs.write_all(&input).unwrap();
    assert!(file == theirs.finish().unwrap());

    let mut output = Vec::new();
    Decompressor::new(&file[..], &POOL).unwrap().read_to_end(&mut output).unwrap();
    assert!(output == input);
});
