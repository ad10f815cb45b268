//! Small disks: ext4 file systems in mounted image files, which a test can fill completely or make fail.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::common::tool::Tool;

/// A small file system, unmounted when dropped.
pub struct SmallDisk {
    scratch: TempDir,
}

impl SmallDisk {
    /// Creates an empty file system of about `megabytes`.
    pub fn new(megabytes: u64) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let image = scratch.path().join("image");
        mount_new(&image, megabytes, &scratch.path().join("disk"));
        Self { scratch }
    }

    /// Returns its mountpoint.
    pub fn path(&self) -> PathBuf {
        self.scratch.path().join("disk")
    }

    /// Writes until the disk is full.
    pub fn fill(&self) {
        let mut filler = File::create(self.path().join("filler")).unwrap();
        while filler.write_all(&[1; 4096]).is_ok() {}
        // Delayed allocation could promise the same blocks twice, so write the filler out. What does not fit is
        // lost.
        drop(filler.sync_all());
    }

    /// Returns the files on the disk, except the filler and what mkfs created.
    pub fn files(&self) -> Vec<String> {
        let own = ["lost+found", "filler"];
        crate::stack::names(&self.path()).into_iter().filter(|name| !own.contains(&name.as_str())).collect()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        unmount(&self.path());
    }
}

/// A disk that fails after a few megabytes, until it is repaired. Unmounted when dropped.
pub struct FailingDisk {
    scratch: TempDir,
}

impl FailingDisk {
    /// Creates an empty file system that can store about eight megabytes.
    pub fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let memory = scratch.path().join("memory");
        fs::create_dir(&memory).unwrap();
        Tool::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "memory"]).arg(&memory).ok();
        // The image is larger than the tmpfs that holds it.
        mount_new(&memory.join("image"), 256, &scratch.path().join("disk"));
        Self { scratch }
    }

    /// Returns its mountpoint.
    pub fn path(&self) -> PathBuf {
        self.scratch.path().join("disk")
    }

    /// Enlarges the tmpfs, so that writes succeed again.
    pub fn repair(&self) {
        Tool::new("mount").args(["-o", "remount,size=512m"]).arg(self.scratch.path().join("memory")).ok();
    }
}

impl Drop for FailingDisk {
    fn drop(&mut self) {
        unmount(&self.path());
        unmount(&self.scratch.path().join("memory"));
    }
}

fn mount_new(image: &Path, megabytes: u64, at: &Path) {
    File::create(image).unwrap().set_len(megabytes << 20).unwrap();
    // No blocks reserved for root, which the tests run as; a journal would fill most of a small disk.
    Tool::new("mkfs.ext4").args(["-q", "-m", "0", "-O", "^has_journal"]).arg(image).ok();
    fs::create_dir(at).unwrap();
    Tool::new("mount").args(["-o", "loop"]).arg(image).arg(at).ok();
}

fn unmount(path: &Path) {
    if !Tool::new("umount").arg(path).run().status.success() {
        // Detach the mount even if a process of a failed test still uses it.
        Tool::new("umount").arg("--lazy").arg(path).run();
    }
}
