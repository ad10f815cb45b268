//! Compresses with the encoder for what hardly compresses: two independent decoders return the content.
#![no_main]

use std::io::Read as _;

use flate2::bufread::DeflateDecoder;
use libdeflater::Decompressor;
use libfuzzer_sys::fuzz_target;
use voltar::internals::deflate;

/// A block of the encoder and a part of one: repeated, inputs of the fuzzer reach beyond the first block.
const LARGE: usize = 200 << 10;

fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    let [times, rest @ ..] = bytes else { return };
    if *times >= 0xf0 && !rest.is_empty() {
        check(&rest.iter().copied().cycle().take(LARGE).collect::<Vec<u8>>());
    }
});

fn check(content: &[u8]) {
    let stream = deflate(content);
    let mut decoder = DeflateDecoder::new(&stream[..]);
    let mut decoded = Vec::new();
    decoder.read_to_end(&mut decoded).unwrap();
    assert!(decoded == content && decoder.total_in() == stream.len() as u64);
    let mut decoded = vec![0; content.len()];
    let length = Decompressor::new().deflate_decompress(&stream, &mut decoded).unwrap();
    assert!(length == content.len() && decoded == content);
}
