//! Keeps large reads and writes from evicting what the host has in its page cache. Pages that were read once are
//! dropped. Writeback of written pages starts early, which leaves little for the final sync, and they are dropped when
//! they are clean. All of it is advice (`posix_fadvise(2)`): a filesystem that ignores it works the same.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;

use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

/// Writeback of a file is started, and its clean pages are dropped, in steps of this many bytes.
const STEP: u64 = 8 << 20;

/// A complete file's pages are dropped for the second time after so many bytes, or so many files, were written.
const RECENT: (u64, usize) = (32 << 20, 64);

/// Drops the clean pages of `file` and starts writeback of the dirty ones (`mm/fadvise.c` of Linux), so that a second
/// call drops those too.
pub(crate) fn drop_written(file: impl AsFd) {
    posix_fadvise(file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap_or_default();
}

/// A file that is read once, from start to end.
#[derive(Debug)]
pub struct ReadOnce {
    file: File,
    read: u64,
    dropped: u64,
}

/// What was read is dropped from the page cache in steps of this many bytes.
const READ_STEP: u64 = 8 << 20;

impl ReadOnce {
    /// Reads `file`, and advises the kernel that it will be read in order.
    #[must_use]
    pub fn new(file: File) -> Self {
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_SEQUENTIAL).unwrap_or_default();
        Self { file, read: 0, dropped: 0 }
    }

    /// The file.
    pub fn file(&self) -> &File {
        &self.file
    }

    fn drop_read(&mut self) {
        let (from, len) = (self.dropped.cast_signed(), (self.read - self.dropped).cast_signed());
        posix_fadvise(&self.file, from, len, PosixFadviseAdvice::POSIX_FADV_DONTNEED).unwrap_or_default();
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

/// Counts what is written to a file, and starts writeback after each step.
#[derive(Debug, Default)]
pub(crate) struct Writeback(u64);

impl Writeback {
    /// Counts so many more bytes.
    pub(crate) fn wrote(&mut self, file: impl AsFd, bytes: u64) {
        self.0 += bytes;
        if self.0 >= STEP {
            drop_written(file);
            self.0 = 0;
        }
    }
}

/// Complete files in the order they were written: by the time one leaves, its pages are probably clean.
#[derive(Debug, Default)]
pub(crate) struct RecentFiles {
    files: VecDeque<(File, u64)>,
    bytes: u64,
}

impl RecentFiles {
    /// Takes a complete file that is so many bytes long.
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
    fn few_files_are_held() {
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
