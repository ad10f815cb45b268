//! voltar on engines of other kinds than that of this machine, started for the tests: with userns-remap, rootless, Docker
//! 26 with compose v2, and Podman. Archives must equal those of the documented commands on the same engine.
//!
//! Each engine has network and mount namespaces of its own, so that the engine of this machine and its network are
//! unharmed. Its image comes from that engine. One engine runs at a time.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]
#![allow(unreachable_pub, reason = "a test crate exports nothing; `pub` reads better than `pub(crate)`")]

#[path = "../common/mod.rs"]
mod common;
mod cvat;
mod mapped_ids;
mod other_engine;
mod podman;
mod rootless;
mod stack;

use common::skip::{Needs, run, test};
use libtest_mimic::Arguments;

fn main() {
    let mut args = Arguments::from_args();
    args.test_threads = Some(1);
    let mut tests = Vec::new();
    for kind in other_engine::KINDS {
        let needs = [
            &[Needs::Root, Needs::Engine, Needs::GnuTar, Needs::Program("unshare"), Needs::Program("ip")][..],
            kind.needs,
        ]
        .concat();
        for (name, body) in kind.tests.iter().copied().flatten() {
            tests.push(test(&format!("{}::{name}", kind.name), &needs, || other_engine::with(kind, *body)));
        }
    }
    run(&args, tests, other_engine::take_down);
}
