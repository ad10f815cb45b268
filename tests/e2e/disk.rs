//! A small disk of its own: an ext4 file system in a file, mounted, so that it can be filled to the last block.

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
        File::create(&image).unwrap().set_len(megabytes << 20).unwrap();
        // No blocks kept back for root, who the tests are; a journal would take most of a small disk.
        Tool::new("mkfs.ext4").args(["-q", "-m", "0", "-O", "^has_journal"]).arg(&image).ok();
        fs::create_dir(scratch.path().join("disk")).unwrap();
        Tool::new("mount").args(["-o", "loop"]).arg(&image).arg(scratch.path().join("disk")).ok();
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
        let unmount = |path: &Path| Tool::new("umount").arg(path).run().status.success();
        if !unmount(&self.path()) {
            // Whatever still holds it (a process that a failed test left) must not keep the mount alive.
            Tool::new("umount").arg("--lazy").arg(self.path()).run();
        }
    }
}
