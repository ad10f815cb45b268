//! `openat2`, as often as the kernel asks for it. Nothing is opened beyond what `resolve` permits, whatever is renamed meanwhile.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::OpenHow;

/// Opens `path` below `directory`.
///
/// # Errors
/// Those of openat2(2); `EAGAIN` if a rename has raced with each of many attempts.
pub(crate) fn openat2(directory: impl AsFd, path: &Path, how: OpenHow) -> Result<OwnedFd, Errno> {
    retry_again(|| nix::fcntl::openat2(&directory, path, how))
}

/// `openat2` returns `EAGAIN` when a rename raced with it; the kernel asks to try again.
fn retry_again<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    let mut tries = 0;
    loop {
        match call() {
            Err(Errno::EAGAIN | Errno::EINTR) if tries < 100 => tries += 1,
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_that_a_rename_raced_with_is_repeated_but_not_forever() {
        for again in [Errno::EAGAIN, Errno::EINTR] {
            let mut left = 3;
            let call = || if left == 0 { Ok(()) } else { Err(again).inspect_err(|_| left -= 1) };
            retry_again(call).unwrap();
            let mut calls = 0;
            let always = || -> Result<(), Errno> {
                calls += 1;
                assert!(calls < 1000, "it never ends");
                Err(again)
            };
            assert_eq!(retry_again(always), Err(again));
            assert!(calls > 10);
        }
        let mut calls = 0;
        let denied = || -> Result<(), Errno> {
            calls += 1;
            Err(Errno::EACCES)
        };
        assert_eq!((retry_again(denied), calls), (Err(Errno::EACCES), 1));
    }
}
