//! Small disks of their own: an ext4 file system in a file, mounted, so that it can be filled to the last block, or
//! made to fail.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::common::tool::Tool;

/// A small file system. Unmounted when dropped.
pub struct SmallDisk {
    scratch: TempDir,
}

impl SmallDisk {
    /// An empty one of about `megabytes`.
    pub fn new(megabytes: u64) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let image = scratch.path().join("image");
        mount_new(&image, megabytes, &scratch.path().join("disk"));
        Self { scratch }
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.scratch.path().join("disk")
    }

    /// Writes until nothing more fits.
    pub fn fill(&self) {
        let mut filler = File::create(self.path().join("filler")).unwrap();
        while filler.write_all(&[1; 4096]).is_ok() {}
        // Delayed allocation would promise the same blocks twice; and what it could not place is gone.
        drop(filler.sync_all());
    }

    /// Everything on it but what was there from the start and what filled it.
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

/// A disk that takes a few megabytes and fails then, until it is repaired. Unmounted when dropped.
pub struct FailingDisk {
    scratch: TempDir,
}

impl FailingDisk {
    /// An empty one, for about eight megabytes.
    pub fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let memory = scratch.path().join("memory");
        fs::create_dir(&memory).unwrap();
        Tool::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "memory"]).arg(&memory).ok();
        // The image is larger than the memory that holds it.
        mount_new(&memory.join("image"), 256, &scratch.path().join("disk"));
        Self { scratch }
    }

    /// Where it is mounted.
    pub fn path(&self) -> PathBuf {
        self.scratch.path().join("disk")
    }

    /// From now on it takes everything.
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
    // No blocks kept back for root, who the tests are; a journal would take most of a small disk.
    Tool::new("mkfs.ext4").args(["-q", "-m", "0", "-O", "^has_journal"]).arg(image).ok();
    fs::create_dir(at).unwrap();
    Tool::new("mount").args(["-o", "loop"]).arg(image).arg(at).ok();
}

fn unmount(path: &Path) {
    if !Tool::new("umount").arg(path).run().status.success() {
        // Whatever still holds it (a process that a failed test left) must not keep the mount alive.
        Tool::new("umount").arg("--lazy").arg(path).run();
    }
}
