//! Files by chance, and those that fuzzing has kept. Fuzzing asks the same questions of more files, see
//! `fuzz/run`.

use std::fs;
use std::path::PathBuf;

use libtest_mimic::Failed;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::common::bz2::choices::Choices;
use crate::common::bz2::{agree, any, inputs, planted};

/// Seeds are printed, not kept in files beside the sources.
fn cases(count: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(count) }
}

/// What a target asks of its bytes: it fails by panicking.
type Question = fn(&[u8]);

/// The targets of `fuzz/` as far as they are about bzip2.
const TARGETS: [(&str, Question); 3] =
    [("decode", agree::on_choices), ("finder", agree::on_planted), ("roundtrip", agree::on_round_trip)];

/// Files put together by chance from the format's parts.
pub fn any_file() -> Result<(), Failed> {
    let bytes = prop::collection::vec(any::<u8>(), 0..600);
    TestRunner::new(cases(400)).run(&bytes, |bytes| {
        agree::on(&any::file(&mut Choices::new(&bytes)));
        Ok(())
    })?;
    Ok(())
}

/// Files with marks and whole blocks where none are meant.
pub fn planted_file() -> Result<(), Failed> {
    let bytes = prop::collection::vec(any::<u8>(), 0..300);
    TestRunner::new(cases(200)).run(&bytes, |bytes| {
        agree::on(&planted::any_file(&mut Choices::new(&bytes)));
        Ok(())
    })?;
    Ok(())
}

/// Contents by instruction.
pub fn any_content() -> Result<(), Failed> {
    let bytes = prop::collection::vec(any::<u8>(), 0..60);
    TestRunner::new(cases(40)).run(&bytes, |bytes| {
        agree::on_content(&inputs::by_instruction(&mut Choices::new(&bytes), 400_000), 1);
        Ok(())
    })?;
    Ok(())
}

/// What fuzzing has found worth keeping.
pub fn corpus() {
    let fuzz = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    // A published crate has none.
    if !fuzz.is_dir() {
        println!("skipped: no {}", fuzz.display());
        return;
    }
    for (target, ask) in TARGETS {
        for entry in fs::read_dir(fuzz.join("corpus").join(target)).unwrap() {
            let path = entry.unwrap().path();
            println!("{}", path.display());
            ask(&fs::read(&path).unwrap());
        }
    }
}
