//! Opens paths below another root directory, as the processes that have it do: that of an engine in another mount
//! namespace, or that of a disk which is mounted here.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{OFlag, OpenHow, ResolveFlag};

use crate::durable::small_file;
use crate::openat2::openat2;

/// Opens `path` below the root directory `root`. Without `RESOLVE_IN_ROOT`, a symbolic link with an absolute target would
/// lead back to the root directory of this process.
pub(super) fn open(root: impl AsFd, path: &Path, flags: OFlag) -> io::Result<OwnedFd> {
    let how = OpenHow::new().flags(flags | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_IN_ROOT);
    Ok(openat2(root, path, how)?)
}

/// Returns the content of the small text file at `path` below `root`.
pub(super) fn read(root: impl AsFd, path: &Path, most: u64) -> io::Result<String> {
    let file = File::from(open(root, path, OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_NOCTTY)?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    Ok(String::from_utf8_lossy(&small_file::read_open(&file, most)?).into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_lead_below_the_other_root() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/real"), "text").unwrap();
        symlink("/etc/real", dir.path().join("etc/link")).unwrap();
        symlink("/etc/passwd", dir.path().join("etc/passwd")).unwrap();
        let read = |path: &str, most| read(File::open(dir.path()).unwrap(), Path::new(path), most);
        assert_eq!(read("/etc/link", 4).unwrap(), "text");
        assert_eq!(read("../../etc/real", 4).unwrap(), "text");
        assert!(read("etc/real", 3).is_err());
        assert_eq!(read("etc/passwd", 1 << 20).unwrap_err().raw_os_error(), Some(nix::libc::ELOOP));
        assert_eq!(read("etc", 4).unwrap_err().to_string(), "it is no regular file");
    }

    #[test]
    fn a_fifo_without_a_writer_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        nix::unistd::mkfifo(&dir.path().join("hostname"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = read(File::open(dir.path()).unwrap(), Path::new("/hostname"), 4).unwrap_err();
        assert_eq!(error.to_string(), "it is no regular file");
    }

    #[test]
    fn a_path_is_opened_with_all_flags() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let root = File::open(dir.path()).unwrap();
        assert_eq!(
            open(&root, Path::new("file"), OFlag::O_DIRECTORY).unwrap_err().raw_os_error(),
            Some(nix::libc::ENOTDIR)
        );
        let opened = open(&root, Path::new("file"), OFlag::O_PATH).unwrap();
        let flags = nix::fcntl::fcntl(&opened, nix::fcntl::FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags, nix::libc::FD_CLOEXEC);
    }
}
