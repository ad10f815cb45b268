//! Reading small files that somebody else may have written: a FIFO is not waited for, a device is not read, and no more is
//! read than such a file can have.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use nix::libc::{O_NOFOLLOW, O_NONBLOCK};

/// Returns the content of the file at `path`, whose symbolic links are followed.
///
/// # Errors
/// Those of the system calls; it is no regular file, or has more than `most` bytes.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_open(&open(path, 0)?, most)
}

/// Opens the file at `path`, unless that is a symbolic link.
///
/// # Errors
/// Those of the system calls; `ELOOP` for a symbolic link. It is no regular file.
pub(crate) fn open_itself(path: &Path) -> io::Result<File> {
    open(path, O_NOFOLLOW)
}

fn open(path: &Path, flags: i32) -> io::Result<File> {
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK | flags).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no regular file")) }
}

/// Returns the content of an open file.
///
/// # Errors
/// Those of the system calls, or it has more than `most` bytes.
pub(crate) fn read_open(file: &File, most: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.take(most + 1).read_to_end(&mut content)?;
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
            assert_eq!(read(&other, 4).unwrap_err().to_string(), "it is no regular file");
        }
        open_itself(&at("file")).unwrap();
        assert_eq!(open_itself(&at("link")).unwrap_err().raw_os_error(), Some(nix::libc::ELOOP));
    }
}
