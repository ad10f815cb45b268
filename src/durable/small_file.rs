//! Reading small files that somebody else may have written: a FIFO is not waited for, a device is not read, and no more is
//! read than such a file can have. A pipe that this process was started with is waited for, until the run is cancelled.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use nix::errno::Errno;
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::monitor::Monitor;

/// Names of the files that a process has open, and a process substitution of a shell (`<(COMMAND)`).
const OWN_FILES: [&str; 3] = ["/dev/stdin", "/dev/fd", "/proc/self/fd"];

/// Returns the content of the file at `path`, whose symbolic links are followed.
///
/// # Errors
/// Those of the system calls; it is no regular file, or has more than `most` bytes.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_open(&open(path, 0)?, most)
}

/// Returns the content of the file at `path`; or what comes through it to its end, if that names a pipe that this process
/// was started with. The wait for it ends once `monitor` is cancelled. Returns also the status of the file that was read.
///
/// # Errors
/// As [`read`]; `InvalidInput` if it is neither.
pub(crate) fn read_waiting(path: &Path, most: u64, monitor: &dyn Monitor) -> io::Result<(Vec<u8>, Metadata)> {
    let file = open_any(path, 0)?;
    let status = file.metadata()?;
    let is_own_pipe = status.file_type().is_fifo() && OWN_FILES.iter().any(|own| path.starts_with(own));
    let content =
        if is_own_pipe { read_all(Waiting { pipe: &file, monitor }, most) } else { read_open(&regular(file)?, most) };
    Ok((content?, status))
}

/// Opens the file at `path`, unless that is a symbolic link.
///
/// # Errors
/// Those of the system calls; `ELOOP` for a symbolic link. It is no regular file.
pub(crate) fn open_itself(path: &Path) -> io::Result<File> {
    open(path, O_NOFOLLOW)
}

/// Opens the file at `path` in order to lock it, unless that is a symbolic link: for writing too if that is allowed, since on
/// NFS only such a file can be locked exclusively (flock(2)).
///
/// # Errors
/// As [`open_itself`].
pub(crate) fn open_to_lock(path: &Path) -> io::Result<File> {
    let flags = O_NONBLOCK | O_NOFOLLOW;
    match OpenOptions::new().read(true).write(true).custom_flags(flags).open(path) {
        Err(cause) if matches!(cause.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem) => {
            open_itself(path)
        }
        other => regular(other?),
    }
}

fn open(path: &Path, flags: i32) -> io::Result<File> {
    regular(open_any(path, flags)?)
}

fn open_any(path: &Path, flags: i32) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(O_NONBLOCK | flags).open(path)
}

fn regular(file: File) -> io::Result<File> {
    let is_regular = file.metadata()?.is_file();
    if is_regular { Ok(file) } else { Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")) }
}

/// A pipe whose writers are waited for.
struct Waiting<'a> {
    pipe: &'a File,
    monitor: &'a dyn Monitor,
}

impl io::Read for Waiting<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            self.monitor.check_cancelled()?;
            match poll(&mut [PollFd::new(self.pipe.as_fd(), PollFlags::POLLIN)], PollTimeout::from(100_u8)) {
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return self.pipe.read(out),
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

/// Returns the content of an open file.
///
/// # Errors
/// Those of the system calls, or it has more than `most` bytes.
pub(crate) fn read_open(file: &File, most: u64) -> io::Result<Vec<u8>> {
    read_all(file, most)
}

fn read_all(reader: impl io::Read, most: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    reader.take(most + 1).read_to_end(&mut content)?;
    if content.len() as u64 > most {
        return Err(io::Error::other(format!("it has more than {most} bytes")));
    }
    Ok(content)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_no_small_file_is_neither_waited_for_nor_read_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), "text").unwrap();
        symlink("file", at("link")).unwrap();
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        File::create(at("large")).unwrap().set_len(1 << 40).unwrap();
        assert_eq!((read(&at("file"), 4).unwrap(), read(&at("link"), 4).unwrap()), (b"text".into(), b"text".into()));
        assert_eq!(read(&at("file"), 3).unwrap_err().to_string(), "it has more than 3 bytes");
        assert_eq!(read(&at("large"), 1000).unwrap_err().to_string(), "it has more than 1000 bytes");
        for other in [at("fifo"), dir.path().to_owned(), "/dev/zero".into()] {
            assert_eq!(read(&other, 4).unwrap_err().to_string(), "not a regular file");
        }
        open_itself(&at("file")).unwrap();
        assert_eq!(open_itself(&at("link")).unwrap_err().raw_os_error(), Some(nix::libc::ELOOP));
    }
}
