//! Files by chance, and those that fuzzing has kept. Fuzzing asks the same questions of more files, see
//! `fuzz/run`.

use std::fs;
use std::path::PathBuf;

use libtest_mimic::Failed;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::common::bz2::choices::Choices;
use crate::common::bz2::{agree, inputs};

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
    by_chance(400, 600, agree::on_choices)
}

/// Files with magics and whole blocks where none are meant.
pub fn planted_file() -> Result<(), Failed> {
    by_chance(200, 300, agree::on_planted)
}

/// Contents by instruction.
pub fn any_content() -> Result<(), Failed> {
    by_chance(40, 60, |bytes| agree::on_content(&inputs::by_instruction(&mut Choices::new(bytes), 400_000), 1))
}

/// Asks `question` of so many strings of fewer than `end` bytes.
fn by_chance(count: u32, end: usize, question: Question) -> Result<(), Failed> {
    TestRunner::new(cases(count)).run(&prop::collection::vec(any::<u8>(), 0..end), |bytes| {
        question(&bytes);
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
