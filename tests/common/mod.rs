//! What the black-box tests share: trees to archive, snapshots to compare, commands to run, and the
//! knowledge of what this machine can do. Each test crate uses a part of it.

#![allow(dead_code, reason = "each test crate uses its own part")]
#![allow(unreachable_pub, reason = "a test crate exports nothing; `pub` reads better than `pub(crate)`")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a helper that fails fails the test, loudly")]
#![allow(clippy::print_stderr, reason = "skipped tests are named")]

pub mod archive;
pub mod bz2;
pub mod data_root;
pub mod engine;
pub mod hostile;
pub mod skip;
pub mod snapshot;
pub mod tool;
pub mod tree;

/// Whether the tests run as root: only then can they make owners and devices.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
