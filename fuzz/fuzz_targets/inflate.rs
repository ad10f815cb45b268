//! Decodes streams of DEFLATE, arbitrary, compressed, and damaged, in spans of any size: the content and the verdict are those of
//! zlib-rs.
#![no_main]

use std::io::ErrorKind;
use std::sync::LazyLock;

use flate2::{Decompress, FlushDecompress, Status};
use libdeflater::{CompressionLvl, Compressor};
use libfuzzer_sys::fuzz_target;
use voltar::codec::{Damage, Fault};
use voltar::internals::inflate;
use voltar::ordered::Pool;

static POOLS: LazyLock<[Pool; 2]> = LazyLock::new(|| [1, 3].map(|jobs| Pool::new(jobs).unwrap()));

/// The most that is decoded.
const MOST: usize = 1 << 20;

fuzz_target!(|bytes: &[u8]| {
    let [how, span, level, at, rest @ ..] = bytes else { return };
    let mut stream = rest.to_vec();
    if how & 1 != 0 && !rest.is_empty() {
        // So much that spans follow each other, of changing content.
        let content: Vec<u8> = (0..200_000 / rest.len() + 1)
            .flat_map(|round| rest.iter().map(move |byte| byte.wrapping_mul(round as u8 | 1)))
            .collect();
        let mut compressor = Compressor::new(CompressionLvl::new(i32::from(level % 13)).unwrap());
        stream = vec![0; compressor.deflate_compress_bound(content.len())];
        let length = compressor.deflate_compress(&content, &mut stream).unwrap();
        stream.truncate(length);
    }
    if how & 2 != 0 && !stream.is_empty() {
        let at = usize::from(*at) * stream.len() / 256;
        stream[at] ^= 1 << (how >> 5);
    }
    let pool = &POOLS[usize::from(how >> 2 & 1)];
    check(&stream, 100 + usize::from(*span) * 20, pool);
});

fn check(stream: &[u8], span: usize, pool: &Pool) {
    let mut decoder = Decompress::new(false);
    let mut expected = vec![0; MOST + 1];
    let status = decoder.decompress(stream, &mut expected, FlushDecompress::None);
    expected.truncate(decoder.total_out() as usize);
    if expected.len() > MOST {
        return;
    }
    let (content, end) = inflate(stream, span, usize::MAX, pool);
    assert!(content == expected);
    match (end.unwrap(), status) {
        (Ok(end), Ok(Status::StreamEnd)) => assert_eq!(end, decoder.total_in()),
        (Err(error), status) => {
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            let damage = error.get_ref().unwrap().downcast_ref::<Damage>().unwrap();
            match status {
                Ok(Status::Ok | Status::BufError) => assert_eq!(damage.what, Fault::EndsInBlock),
                Err(_) => assert_ne!(damage.what, Fault::EndsInBlock),
                Ok(Status::StreamEnd) => panic!("{damage}"),
            }
        }
        (Ok(end), status) => panic!("{end}, {status:?}"),
    }
}
