//! Detached mounts: filesystems that are mounted at no path, so that nobody else can reach them or act on them. The handle
//! is all that holds one: it is gone with the process, however that ends.
//!
//! An engine mounts a volume with options only while a container uses it, and unmounts it with the last one. So a volume
//! that is mounted is held by a copy of its mount, and one that is not is mounted here.

use std::io::Read;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::openat;
use nix::sys::stat::{Mode, fstat};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
    open_tree,
};

use super::beneath::DIRECTORY;
use super::live::mount_id;
use super::metadata::is_directory;
use super::source::{Source, open_source};
use crate::error::Cause;
use crate::filesystem::request::{Parameter, Request};
use crate::filesystem::{Access, Filesystem};
use crate::member::printable;

/// Copies the mount of a handle, without those below it.
const COPY: OpenTreeFlags =
    OpenTreeFlags::OPEN_TREE_CLONE.union(OpenTreeFlags::OPEN_TREE_CLOEXEC).union(OpenTreeFlags::AT_EMPTY_PATH);

/// The longest list of messages that is read of the kernel, in bytes.
const MAX_MESSAGES: usize = 4096;

/// Mounts a filesystem at no path, and returns a handle of its root directory.
///
/// # Errors
/// The kernel's, with its message where it has one; or the kernel has no detached mounts (Linux 5.2).
pub(crate) fn mount(filesystem: &Filesystem, access: Access) -> Result<OwnedFd, Cause> {
    let request = Request::new(filesystem, access, first_address)?;
    let context = fsopen(&*request.kind, FsOpenFlags::FSOPEN_CLOEXEC).map_err(|errno| match errno {
        Errno::NODEV => format!("the kernel has no filesystem '{}'", request.kind).into(),
        errno => cause(errno),
    })?;
    let configured = request.parameters.iter().try_for_each(|parameter| match parameter {
        Parameter::Flag(word) => fsconfig_set_flag(&context, &**word),
        Parameter::Text(key, value) => fsconfig_set_string(&context, &**key, &**value),
    });
    let mounted = configured
        .and_then(|()| fsconfig_create(&context))
        .and_then(|()| fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, request.attributes));
    match mounted {
        Ok(mount) => root_of(&mount),
        Err(errno) => Err(explained(std::fs::File::from(context), errno, &request)),
    }
}

/// Returns a handle that holds the mount at `mountpoint`, whoever unmounts it there; `None` if nothing is mounted there.
///
/// # Errors
/// Those of the system calls.
pub(crate) fn hold(mountpoint: &Path) -> Result<Option<OwnedFd>, Cause> {
    let Source { handle, .. } = open_source(mountpoint)?;
    let holder = openat(&handle, "..", DIRECTORY, Mode::empty())?;
    if mount_id(&handle)? == mount_id(&holder)? {
        return Ok(None);
    }
    copy(&handle).map(Some)
}

/// Returns a handle of a copy of the mount that `root` was opened through, without the mounts below it. Its root is that
/// of `root`.
///
/// # Errors
/// Those of the system calls.
pub(crate) fn copy(root: &OwnedFd) -> Result<OwnedFd, Cause> {
    match open_tree(root, "", COPY) {
        Ok(copied) => root_of(&copied),
        // The kernel has no such call, or a filter denies it. An open directory keeps its filesystem mounted as well, as
        // long as nobody unmounts it otherwise than lazily, which engines do.
        Err(Errno::NOSYS | Errno::PERM) => root_of(root),
        Err(errno) => Err(cause(errno)),
    }
}

/// Returns a handle of the directory at `source`, through which no mount below it is seen; `None` if it is a file.
///
/// # Errors
/// Those of the system calls, or the kernel has no detached mounts.
pub(crate) fn alone(source: &Path) -> Result<Option<OwnedFd>, Cause> {
    let Source { handle, .. } = open_source(source)?;
    if !is_directory(&fstat(&handle)?) {
        return Ok(None);
    }
    let copied = open_tree(&handle, "", COPY).map_err(cause)?;
    root_of(&copied).map(Some)
}

/// Opens the directory that an `O_PATH` handle refers to.
fn root_of(mount: &OwnedFd) -> Result<OwnedFd, Cause> {
    Ok(openat(mount, ".", DIRECTORY, Mode::empty())?)
}

fn first_address(host: &str) -> std::io::Result<IpAddr> {
    let found = (host, 0).to_socket_addrs()?.next();
    found.map(|address| address.ip()).ok_or_else(|| std::io::Error::other("it has no address"))
}

/// Adds the last message that the kernel has left in a context, if it shows no value of the request: that can be a
/// password. Each message begins with its level and a space, and is returned by a read of its own.
fn explained(mut context: impl Read, errno: Errno, request: &Request) -> Cause {
    let (mut message, mut last) = ([0; 512], None);
    let mut read = 0;
    while let Ok(length @ 1..) = context.read(&mut message) {
        read += length;
        let text = String::from_utf8_lossy(&message[..length]);
        let text = text.trim().trim_start_matches(['e', 'w', 'i']).trim();
        let has_value = |parameter: &Parameter| match parameter {
            // A source can have a password too: `//user:password@host/share`.
            Parameter::Text(key, value) => {
                (key != "source" || value.contains('@')) && !value.is_empty() && text.contains(&**value)
            }
            Parameter::Flag(_) => false,
        };
        if !text.is_empty() && !request.parameters.iter().any(has_value) {
            last = Some(printable(text.as_bytes()));
        }
        if read > MAX_MESSAGES {
            break;
        }
    }
    let Some(last) = last else { return cause(errno) };
    format!("{} ({last})", cause(errno)).into()
}

fn cause(errno: Errno) -> Cause {
    nix::errno::Errno::from_raw(errno.raw_os_error()).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::unistd::geteuid;
    use std::fs::{create_dir_all, write};

    fn overlay(dir: &Path) -> Filesystem {
        for name in ["lower", "upper", "work"] {
            create_dir_all(dir.join(name)).unwrap();
        }
        write(dir.join("lower/file"), "below").unwrap();
        let dir = dir.display();
        Filesystem {
            kind: "overlay".to_owned(),
            device: "overlay".to_owned(),
            options: format!("lowerdir={dir}/lower,upperdir={dir}/upper,workdir={dir}/work"),
        }
    }

    fn names(root: &OwnedFd) -> Vec<String> {
        let names = super::super::beneath::names(root).unwrap();
        names.iter().map(|name| name.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_filesystem_is_mounted_at_no_path() {
        if !geteuid().is_root() {
            eprintln!("skipped: needs root");
            return;
        }
        // An overlay cannot be made of another one.
        let disk = tempfile::tempdir_in("/dev/shm").unwrap();
        let filesystem = overlay(disk.path());
        let table = || std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let before = table();
        let root = mount(&filesystem, Access::ReadWrite).unwrap();
        assert_eq!((names(&root), table()), (vec!["file".to_owned()], before));
        let flags = nix::fcntl::OFlag::O_CREAT | nix::fcntl::OFlag::O_WRONLY;
        let create = |root: &OwnedFd, name: &str| openat(root, name, flags, Mode::S_IRWXU).map(drop);
        create(&root, "new").unwrap();
        assert!(disk.path().join("upper/new").exists());
        drop(root);
        let root = mount(&filesystem, Access::ReadOnly).unwrap();
        assert_eq!(create(&root, "newer"), Err(nix::errno::Errno::EROFS));
    }

    #[test]
    fn a_mount_is_held_and_what_is_none_is_not() {
        if !geteuid().is_root() {
            eprintln!("skipped: needs root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        assert!(hold(dir.path()).unwrap().is_none());
        let held = hold(Path::new("/proc")).unwrap().unwrap();
        assert!(names(&held).contains(&"self".to_owned()));
        // Without the mounts below it.
        let root = hold(Path::new("/")).unwrap();
        assert!(root.is_none(), "the root directory has no holder");
        let root = copy(&openat(&held, "/", DIRECTORY, Mode::empty()).unwrap()).unwrap();
        let proc = openat(&root, "proc", DIRECTORY, Mode::empty()).unwrap();
        assert_eq!(names(&proc), Vec::<String>::new());
    }

    /// The messages of a context.
    struct Messages<'a> {
        left: Box<dyn Iterator<Item = &'a str> + 'a>,
        reads: usize,
    }

    impl Read for Messages<'_> {
        fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
            self.reads += 1;
            assert!(self.reads < 1000, "it never ends");
            let text = self.left.next().unwrap_or_default();
            buf[..text.len()].copy_from_slice(text.as_bytes());
            Ok(text.len())
        }
    }

    #[test]
    fn the_kernels_last_message_is_shown_unless_it_has_a_value_that_may_be_a_password() {
        let filesystem = Filesystem {
            kind: "cifs".to_owned(),
            device: "//192.0.2.7/cvat".to_owned(),
            options: "soft,password=s3c\u{1}ret,domain=,uid=1000".to_owned(),
        };
        let request = Request::new(&filesystem, Access::ReadOnly, first_address).unwrap();
        let explained = |messages: &[&str]| {
            let messages = Messages { left: Box::new(messages.iter().copied()), reads: 0 };
            explained(messages, Errno::INVAL, &request).to_string()
        };
        assert_eq!(explained(&[]), "Invalid argument");
        assert_eq!(explained(&["e \n"]), "Invalid argument");
        assert_eq!(
            explained(&["w cifs: a\n", "e cifs: no \u{1b} dialect\n"]),
            "Invalid argument (cifs: no \\033 dialect)"
        );
        assert_eq!(
            explained(&["e cifs: //192.0.2.7/cvat is soft\n"]),
            "Invalid argument (cifs: //192.0.2.7/cvat is soft)"
        );
        assert_eq!(explained(&["i cifs: a\n", "e cifs: bad value 's3c\u{1}ret'\n"]), "Invalid argument (cifs: a)");
        let endless = Messages { left: Box::new(std::iter::repeat("e again!\n")), reads: 0 };
        assert_eq!(super::explained(endless, Errno::INVAL, &request).to_string(), "Invalid argument (again!)");
        let device = "//cvat:s3cret@192.0.2.7/cvat".to_owned();
        let request = Filesystem { kind: "fuse".to_owned(), device, options: String::new() };
        let request = Request::new(&request, Access::ReadOnly, first_address).unwrap();
        let message = &b"e fuse: cannot open //cvat:s3cret@192.0.2.7/cvat\n"[..];
        assert_eq!(super::explained(message, Errno::INVAL, &request).to_string(), "Invalid argument");
    }

    #[test]
    fn failures_say_why_and_show_no_password() {
        let mount = |kind: &str, options: &str| {
            let filesystem = Filesystem {
                kind: kind.to_owned(),
                device: "/nonexistent/disk".to_owned(),
                options: options.to_owned(),
            };
            mount(&filesystem, Access::ReadOnly).unwrap_err().to_string()
        };
        if !geteuid().is_root() {
            assert_eq!(mount("ext4", ""), "Operation not permitted");
            eprintln!("skipped: the rest needs root");
            return;
        }
        assert_eq!(mount("nosuchfs", ""), "the kernel has no filesystem 'nosuchfs'");
        assert!(mount("ext4", "").starts_with("No such file or directory"));
        let error = mount("ext4", "password=s3cret");
        assert!(error.starts_with("Invalid argument") && !error.contains("s3cret"), "{error}");
    }
}
