//! voltar on a real engine with a CVAT-like stack: interchange with the documented commands, verbatim; every
//! refusal; containers that are stopped and started again; and interrupted runs.
//!
//! CVAT's compose files fix the names of containers, so there is one stack, and the tests run one at a time. They
//! are skipped on a host that has a CVAT of its own.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]
#![allow(unreachable_pub, reason = "a test crate exports nothing; `pub` reads better than `pub(crate)`")]

#[path = "../common/mod.rs"]
mod common;
mod containers;
mod disk;
mod enterprise;
mod filesystems;
mod interchange;
mod interruptions;
mod newcomer;
mod parts;
mod postgres;
mod projects;
mod refusals;
mod sets;
mod stack;

use common::skip::{Needs, run, test};
use libtest_mimic::Arguments;

fn main() {
    let mut args = Arguments::from_args();
    args.test_threads = Some(1);
    let tests = [
        interchange::TESTS,
        refusals::TESTS,
        postgres::TESTS,
        filesystems::TESTS,
        enterprise::TESTS,
        containers::TESTS,
        interruptions::TESTS,
        newcomer::TESTS,
        projects::TESTS,
        parts::TESTS,
        sets::TESTS,
    ]
    .into_iter()
    .flatten()
    .map(|(name, body)| {
        let needs = [Needs::Root, Needs::Engine, Needs::PostgreSql, Needs::Program("python3"), Needs::NoCvat];
        let more = if name.contains("btrfs") { &[Needs::Program("mkfs.btrfs")][..] } else { &[] };
        test(name, &[&needs, more].concat(), || stack::with(*body))
    })
    .collect();
    run(&args, tests, stack::take_down);
}
