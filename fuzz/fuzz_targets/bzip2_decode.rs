//! Whatever the bytes: our parallel decoder and the `bzip2` crate deliver the same, or both refuse.
#![no_main]

use std::io::Read as _;
use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use voltar::codec::{Decompressor, Format};
use voltar::ordered::Pool;

static POOL: LazyLock<Pool> = LazyLock::new(|| Pool::new(2).unwrap());

/// Larger outputs only take time.
const MAX_OUTPUT: usize = 64 << 20;

fuzz_target!(|file: &[u8]| {
    if Format::detect(file) != Some(Format::Bzip2) {
        return;
    }
    let (mut theirs, mut rest, mut whole) = (Vec::new(), file, true);
    while whole && !rest.is_empty() {
        let mut stream = bzip2::Decompress::new(false);
        loop {
            theirs.reserve(1 << 16);
            let (taken, given) = (stream.total_in(), stream.total_out());
            let status = stream.decompress_vec(rest, &mut theirs);
            rest = &rest[(stream.total_in() - taken) as usize..];
            match status {
                Ok(bzip2::Status::StreamEnd) => break,
                Ok(_) if stream.total_in() > taken || stream.total_out() > given => {}
                Ok(_) | Err(_) => {
                    whole = false;
                    break;
                }
            }
        }
        if theirs.len() > MAX_OUTPUT {
            return;
        }
    }
    let mut ours = Vec::new();
    let mut decompressor = Decompressor::new(file, &POOL).unwrap();
    let result = decompressor.read_to_end(&mut ours);
    assert!(theirs.starts_with(&ours));
    // What we call trailing garbage is damage to the crate.
    if decompressor.trailing_garbage().is_some() {
        assert!(result.is_ok() && !whole && ours == theirs);
    } else {
        assert_eq!(result.is_ok(), whole);
        assert!(!whole || ours == theirs);
    }
});
