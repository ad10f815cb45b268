//! Keeps large reads and writes from evicting other data from the host's page cache. Pages are dropped once they have
//! been read. Writeback of written pages starts early, which leaves little for the final sync, and the pages are
//! dropped when they are clean. All of this is advice (`posix_fadvise(2)`): results do not depend on it.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// The number of written bytes after which writeback of a file is started and its clean pages are dropped.
const STEP: u64 = 8 << 20;

/// The number of bytes, and of files, written after a complete file before its pages are dropped for the second time.
const RECENT: (u64, usize) = (32 << 20, 64);

/// Drops the clean pages of `file` and starts writeback of the dirty ones (`mm/fadvise.c` of Linux). A second call
/// after writeback drops those too.
pub(crate) fn drop_written(file: impl AsFd) {
    posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap_or_default();
}

/// Advises the kernel that `file` will be read from start to end.
pub(crate) fn read_in_order(file: impl AsFd) {
    posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_SEQUENTIAL).unwrap_or_default();
}

/// Drops the clean pages of `length` bytes of `file` from `from` on.
pub(crate) fn drop_range(file: impl AsFd, from: u64, length: u64) {
    let (from, length) = (from.cast_signed(), length.cast_signed());
    posix_fadvise(file, from, length, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap_or_default();
}

/// A file that is read once, from start to end.
#[derive(Debug)]
pub(crate) struct ReadOnce {
    file: File,
    read: u64,
    dropped: u64,
}

/// The number of bytes read after which they are dropped from the page cache.
pub(crate) const READ_STEP: u64 = 8 << 20;

impl ReadOnce {
    /// Returns a reader of `file`, and advises the kernel that it will be read sequentially.
    #[must_use]
    pub(crate) fn new(file: File) -> Self {
        read_in_order(&file);
        Self { file, read: 0, dropped: 0 }
    }

    /// Returns the file.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    fn drop_read(&mut self) {
        drop_range(&self.file, self.dropped, self.read - self.dropped);
        self.dropped = self.read;
    }
}

impl Read for ReadOnce {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let got = self.file.read(buf)?;
        self.read += got as u64;
        if self.read - self.dropped >= READ_STEP {
            self.drop_read();
        }
        Ok(got)
    }
}

impl Drop for ReadOnce {
    fn drop(&mut self) {
        if self.read > self.dropped {
            self.drop_read();
        }
    }
}

/// A counter of the bytes written to a file that starts writeback after each step.
#[derive(Debug, Default)]
pub(crate) struct Writeback(u64);

impl Writeback {
    /// Adds `bytes` written bytes.
    pub(crate) fn wrote(&mut self, file: impl AsFd, bytes: u64) {
        self.0 += bytes;
        if self.0 >= STEP {
            drop_written(file);
            self.0 = 0;
        }
    }
}

/// The most recent complete files, in the order in which they were written. The pages of the oldest are probably clean,
/// and are dropped.
#[derive(Debug, Default)]
pub(crate) struct RecentFiles {
    files: VecDeque<(File, u64)>,
    bytes: u64,
}

impl RecentFiles {
    /// Adds a complete file of `bytes` bytes.
    pub(crate) fn add(&mut self, file: File, bytes: u64) {
        drop_written(&file);
        self.files.push_back((file, bytes));
        self.bytes += bytes;
        while self.bytes > RECENT.0 || self.files.len() > RECENT.1 {
            let Some((oldest, bytes)) = self.files.pop_front() else { return };
            drop_written(oldest);
            self.bytes -= bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_open_files_is_bounded() {
        let file = || tempfile::tempfile().unwrap();
        let mut recent = RecentFiles::default();
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
