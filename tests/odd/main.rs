//! Odd bzip2 files, built field by field: what public collections of odd files exercise, and files that no
//! encoder writes but bzip2 reads. Each file has an expected outcome. It is compared with that of the codec under
//! test, of the reader of these tests, of the `bzip2` crate, and of the installed tools. A trial whose tool is
//! missing is reported as ignored; with `VOLTAR_REQUIRE_TOOLS=1` it fails.
//!
//! `VOLTAR_ODD_FILES=DIRECTORY cargo test --test odd` writes the files there instead, as seeds for fuzzing.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "a test")]
#![allow(unreachable_pub, reason = "a test crate exports nothing; `pub` reads better than `pub(crate)`")]

mod blocks;
mod chance;
mod check;
mod codes;
#[path = "../common/mod.rs"]
mod common;
mod compressing;
mod every;
mod file;
mod magics;
mod streams;
mod tools;

use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// Returns all odd files, by name.
fn files() -> impl Iterator<Item = (&'static str, fn() -> file::Odd)> {
    [codes::FILES, blocks::FILES, streams::FILES, magics::FILES].into_iter().flatten().copied()
}

fn main() -> ExitCode {
    if let Some(directory) = std::env::var_os("VOLTAR_ODD_FILES") {
        write_files(directory.as_ref());
        return ExitCode::SUCCESS;
    }
    let mut trials: Vec<Trial> = files().map(|(name, make)| trial(name, move || check::odd(&make()))).collect();
    trials.extend(
        compressing::CONTENTS
            .iter()
            .map(|(name, make)| trial(&format!("compressing_{name}"), || compressing::content(&make()))),
    );
    trials.extend([
        trial("a_file_cut_at_every_byte", every::cut),
        trial("every_bit_of_a_file_flipped", every::flipped),
        trial("every_bit_of_a_block_flipped_with_the_right_checksum", every::flipped_and_sealed),
        trial("what_fuzzing_has_kept", chance::corpus),
        Trial::test("files_by_chance", chance::any_file),
        Trial::test("planted_files_by_chance", chance::planted_file),
        Trial::test("contents_by_chance", chance::any_content),
    ]);
    trials.extend(tools::trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// Returns a trial that fails by panicking.
fn trial(name: &str, check: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, || {
        check();
        Ok(())
    })
}

/// Writes the first variant of each file that is small enough for a corpus.
fn write_files(directory: &Path) {
    const MAX: usize = 4096;
    std::fs::create_dir_all(directory).unwrap();
    for (name, make) in files() {
        let (file, _) = &make().variants[0];
        if file.len() <= MAX {
            std::fs::write(directory.join(name), file).unwrap();
        }
    }
}
