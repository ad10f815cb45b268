//! Helpers of the black-box tests: trees to archive, snapshots to compare, commands to run, and checks of what
//! this machine provides. Each test crate uses a part of them.

#![allow(dead_code, reason = "each test crate uses its own part")]
#![allow(unreachable_pub, reason = "a test crate exports nothing; `pub` reads better than `pub(crate)`")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a failing helper fails the test")]
#![allow(clippy::print_stderr, reason = "skipped tests are reported")]

pub mod archive;
pub mod bz2;
pub mod data_root;
pub mod engine;
pub mod hostile;
pub mod mounted;
pub mod projects;
pub mod skip;
pub mod snapshot;
pub mod tool;
pub mod tree;

/// Returns whether the tests run as root, which setting owners and creating devices requires.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
