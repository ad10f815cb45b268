//! Reads a small file of a tree, which others may write at the same time.

use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;

use super::OpenTree;
use super::live::{Live, LiveKind, Way};
use crate::member::RelPath;

impl OpenTree {
    /// Returns the first `most` bytes of the regular file at `path`; `None` if there is none, if a symbolic link is on the
    /// way to it, or if it cannot be read.
    pub(crate) fn beginning_of(&self, path: &RelPath, most: u64) -> Option<Vec<u8>> {
        let (mount, below): (&Arc<Live>, RelPath) = self
            .mounts
            .iter()
            .filter_map(|mount| Some((mount, path.strip_prefix(&mount.at)?)))
            .min_by_key(|(_, below)| below.components().count())
            .and_then(|(mount, below)| Some((mount.content.live()?, below)))?;
        let file = Live::in_filesystem(mount.handle(), mount.path(), &below, Way::Entries).ok()?;
        if file.kind() != LiveKind::File {
            return None;
        }
        let mut content = Vec::new();
        File::from(file.handle().try_clone().ok()?).take(most).read_to_end(&mut content).ok()?;
        Some(content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    use nix::sys::stat::Mode;

    #[test]
    fn only_a_regular_file_is_read_and_only_its_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join("tree").join(name);
        std::fs::create_dir_all(at("a")).unwrap();
        std::fs::write(at("a/file"), "0123456789").unwrap();
        std::fs::write(dir.path().join("outside"), "secret").unwrap();
        symlink("file", at("a/link")).unwrap();
        symlink("../../outside", at("a/out")).unwrap();
        symlink("a", at("b")).unwrap();
        nix::unistd::mkfifo(&at("a/fifo"), Mode::S_IRWXU).unwrap();
        let tree = OpenTree::of_directory(&dir.path().join("tree"), Way::Exchange);
        let read = |path: &str, most| tree.beginning_of(&RelPath::parse(path.as_bytes()).unwrap(), most);
        assert_eq!((read("a/file", 4), read("a/file", 99)), (Some(b"0123".to_vec()), Some(b"0123456789".to_vec())));
        for none in ["a/link", "a/out", "b/file", "a/fifo", "a", "", "a/none", "none/file"] {
            assert_eq!(read(none, 99), None, "{none}");
        }
        let one_file = OpenTree::of_directory(&dir.path().join("outside"), Way::Exchange);
        assert_eq!(one_file.beginning_of(&RelPath::root(), 99), None, "a mounted file is no file of a tree");
    }
}
