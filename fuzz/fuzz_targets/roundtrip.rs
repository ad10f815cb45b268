//! What is compressed comes back, from our decoder and from the `bzip2` crate's.
#![no_main]

use std::io::{Read as _, Write as _};
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use voltar::codec::{Compression, Compressor, Decompressor, Format, Level};
use voltar::ordered::Pool;

static POOL: LazyLock<Pool> = LazyLock::new(|| Pool::new(2).unwrap());

fuzz_target!(|runs: Vec<(u8, u16)>| {
    let input: Vec<u8> = runs.iter().flat_map(|&(byte, run)| std::iter::repeat_n(byte, run.into())).collect();
    let mut compressor = Compressor::new(Vec::new(), Compression::new(Format::Bzip2, Level::new(1).unwrap()), &POOL);
    compressor.write_all(&input).unwrap();
    let file = compressor.finish().unwrap();

    let mut theirs = Vec::new();
    bzip2::read::BzDecoder::new(&file[..]).read_to_end(&mut theirs).unwrap();
    assert!(theirs == input);

    let mut output = Vec::new();
    Decompressor::new(&file[..], &POOL).unwrap().read_to_end(&mut output).unwrap();
    assert!(output == input);
});
