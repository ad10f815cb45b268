//! Leaves the host's page cache to those who need it: what is written goes to the disk soon, which also leaves
//! little for the last sync, and is forgotten then, so that the same memory serves again and again. All of it is
//! advice: a filesystem that takes none works the same.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::AsFd;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// What is written to a file is let go of in steps of this many bytes.
const STEP: u64 = 8 << 20;

/// So many bytes, in so many files, are written before one that is whole is let go of for the second time.
const RECENT: (u64, usize) = (32 << 20, 64);

/// Has the kernel forget what of `file` is on the disk; all else it begins to write there (`mm/fadvise.c` of Linux),
/// so that asked again it forgets that too.
pub(super) fn let_go(file: impl AsFd) {
    posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap_or_default();
}

/// How much was written to a file since it was let go of.
#[derive(Debug, Default)]
pub(super) struct Passing(u64);

impl Passing {
    /// Takes note of so many bytes more.
    pub(super) fn wrote(&mut self, file: impl AsFd, bytes: u64) {
        self.0 += bytes;
        if self.0 >= STEP {
            let_go(file);
            self.0 = 0;
        }
    }
}

/// Whole files, the one written last at the end: by the time they leave, they may be on the disk.
#[derive(Debug, Default)]
pub(super) struct Recent {
    files: VecDeque<(File, u64)>,
    bytes: u64,
}

impl Recent {
    /// Takes a file that is written, and so many bytes long.
    pub(super) fn add(&mut self, file: File, bytes: u64) {
        let_go(&file);
        self.files.push_back((file, bytes));
        self.bytes += bytes;
        while self.bytes > RECENT.0 || self.files.len() > RECENT.1 {
            let Some((oldest, bytes)) = self.files.pop_front() else { return };
            let_go(oldest);
            self.bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_files_are_held() {
        let file = || tempfile::tempfile().unwrap();
        let mut recent = Recent::default();
        for _ in 0..100 {
            recent.add(file(), 1);
            assert!(recent.files.len() <= RECENT.1);
        }
        assert_eq!((recent.files.len(), recent.bytes), (RECENT.1, RECENT.1 as u64));
        recent.add(file(), RECENT.0);
        assert_eq!((recent.files.len(), recent.bytes), (1, RECENT.0));
        recent.add(file(), RECENT.0 + 1);
        assert_eq!((recent.files.len(), recent.bytes), (0, 0));
    }
}
