//! Filesystems that are mounted for a test.

use std::path::{Path, PathBuf};

use super::tool::Tool;

/// A mounted filesystem, unmounted when dropped.
#[derive(Debug)]
pub struct Mounted(pub PathBuf);

impl Mounted {
    /// Mounts a filesystem in memory, which has these limits (tmpfs(5)).
    pub fn memory(at: &Path, options: &str) -> Self {
        Tool::new("mount").args(["-t", "tmpfs", "-o", options, "none"]).arg(at).ok();
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if !Tool::new("umount").arg(&self.0).run().status.success() {
            Tool::new("umount").arg("--lazy").arg(&self.0).run();
        }
    }
}
