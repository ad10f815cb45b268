//! The campaign: voltar is killed before each system call that changes a disk, or that call fails, and nothing may be lost.
//!
//! `cargo test --test campaign` tries a sample; `VOLTAR_CAMPAIGN=all` tries all points. tests/README.md has the variables.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a campaign that cannot continue fails")]
#![allow(clippy::print_stdout, reason = "the table is its result")]

#[path = "../common/mod.rs"]
mod common;

#[path = "../host/fake_engine.rs"]
mod fake_engine;

mod archives;
mod bench;
mod calls;
mod recorder;
mod scenario;
mod sets;
mod table;
mod trace;
mod world;

use libtest_mimic::Arguments;

use common::skip;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let Some((trace::LAUNCH, command)) = args.split_first().map(|(first, rest)| (first.as_str(), rest)) {
        trace::launch(command);
    }
    skip::run(&Arguments::from_args(), table::trials(), table::print);
}
