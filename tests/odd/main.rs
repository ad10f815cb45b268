//! Odd bzip2 files: what public collections of them exercise, made here field by field, and what no encoder
//! would write but bzip2 reads. Each file says what must become of it; that is compared with what we make of
//! it, however it is read, and with what three others do: the reader of these tests, the `bzip2` crate, and
//! the tools that are installed. A trial whose tool is missing is listed as ignored; with
//! `VOLTAR_REQUIRE_TOOLS=1` it fails.
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

/// All odd files, by name.
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
        trial("every_bit_of_a_file_turned_over", every::flipped),
        trial("every_bit_of_a_block_turned_over_with_the_right_checksum", every::flipped_and_sealed),
        trial("what_fuzzing_has_kept", chance::corpus),
        Trial::test("files_by_chance", chance::any_file),
        Trial::test("planted_files_by_chance", chance::planted_file),
        Trial::test("contents_by_chance", chance::any_content),
    ]);
    trials.extend(tools::trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A trial that fails by panicking.
fn trial(name: &str, check: impl FnOnce() + Send + 'static) -> Trial {
    Trial::test(name, || {
        check();
        Ok(())
    })
}

/// Writes the small ones, the first variant of each: a corpus wants many files, and short ones.
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
