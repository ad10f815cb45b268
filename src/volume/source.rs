//! Opens the source of a mount. Its path is the administrator's, who may have symbolic links in it; but a directory on
//! the way can belong to a user, who could lead root elsewhere with a link of his own. A link is followed if only root can
//! have made it, or if it leads to a directory of the same owner, which that user could have named as well (Apache calls
//! this `SymLinksIfOwnerMatch`).

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, open, readlinkat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat};
use nix::unistd::geteuid;

use super::beneath::open_path;
use super::metadata::file_type;
use crate::error::Cause;

/// As many symbolic links as the kernel follows in one path (`path_resolution(7)`).
const MAX_LINKS: usize = 40;

/// The source of a mount, as an `O_PATH` handle.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) handle: OwnedFd,
    /// Whether the last component of its path is a symbolic link.
    pub(super) is_link: bool,
}

/// A link that was followed and whose target is not reached yet.
struct Followed {
    link: PathBuf,
    by: Who,
    /// How many components are left when its target is reached.
    left: usize,
}

/// Opens the file or directory at the absolute path `path`.
pub(super) fn open_source(path: &Path) -> Result<Source, Cause> {
    let mut names: Vec<OsString> = components(path);
    let mut current = root()?;
    let mut shown = PathBuf::from("/");
    let mut followed: Vec<Followed> = Vec::new();
    let (mut links, mut is_link) = (0, false);
    while let Some(name) = names.pop() {
        let next = open_path(&current, &name)?;
        let status = fstat(&next)?;
        if file_type(&status) != SFlag::S_IFLNK {
            current = next;
            shown = if name == ".." { shown.parent().unwrap_or(&shown).to_owned() } else { shown.join(&name) };
            while let Some(last) = followed.pop_if(|last| last.left == names.len()) {
                check_owner(&last, &status)?;
            }
            continue;
        }
        links += 1;
        if links > MAX_LINKS {
            return Err(Errno::ELOOP.into());
        }
        is_link |= names.is_empty();
        let by = who_can_change(&status, &fstat(&current)?);
        if by != Who::Root {
            followed.push(Followed { link: shown.join(&name), by, left: names.len() });
        }
        let target = PathBuf::from(readlinkat(&next, OsStr::new(""))?);
        if target.is_absolute() {
            (current, shown) = (root()?, PathBuf::from("/"));
        }
        names.extend(components(&target));
    }
    Ok(Source { handle: current, is_link })
}

/// The names in `path`, the last one first.
fn components(path: &Path) -> Vec<OsString> {
    let names = path.as_os_str().as_bytes().split(|&byte| byte == b'/');
    names
        .filter(|name| !name.is_empty() && *name != b".")
        .rev()
        .map(|name| OsStr::from_bytes(name).to_owned())
        .collect()
}

#[allow(clippy::disallowed_methods, reason = "the root directory is where every path begins")]
fn root() -> Result<OwnedFd, Errno> {
    open("/", OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC, Mode::empty())
}

/// Who can put another link in the place of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    /// Only root, or the user of this process.
    Root,
    /// The user with this id.
    User(u32),
    /// All users that can write to the directory.
    Several,
}

fn who_can_change(link: &FileStat, directory: &FileStat) -> Who {
    let user = |uid: u32| if uid == 0 || uid == geteuid().as_raw() { Who::Root } else { Who::User(uid) };
    // In a sticky directory others cannot rename what is not theirs.
    let is_closed = directory.st_mode & 0o022 == 0 || directory.st_mode & nix::libc::S_ISVTX != 0;
    match user(directory.st_uid) {
        Who::Root if is_closed => user(link.st_uid),
        Who::User(owner) if is_closed => Who::User(owner),
        Who::Root | Who::User(_) | Who::Several => Who::Several,
    }
}

fn check_owner(followed: &Followed, target: &FileStat) -> Result<(), Cause> {
    let who = match followed.by {
        Who::Root => return Ok(()),
        Who::User(uid) if uid == target.st_uid => return Ok(()),
        Who::User(uid) => format!("user {uid}"),
        Who::Several => "users other than root".to_owned(),
    };
    let (link, uid) = (followed.link.display(), target.st_uid);
    Err(format!("{who} can change the symbolic link '{link}', which leads to a file or directory of user {uid}").into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{FileId, lineage};
    use std::fs::{File, Permissions, create_dir_all, set_permissions};
    use std::os::unix::fs::{PermissionsExt as _, chown, lchown, symlink};

    #[test]
    fn paths_lead_where_the_kernel_finds_them() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        create_dir_all(at("a/b/c")).unwrap();
        symlink("a/b", at("link")).unwrap();
        symlink(at("link"), at("absolute")).unwrap();
        symlink("../b/./c/", at("a/b/up")).unwrap();
        symlink("loop", at("loop")).unwrap();
        for (name, is_link) in
            [("a//b/", false), ("link", true), ("absolute/c", false), ("link/up", true), ("link/up/..", false)]
        {
            let source = open_source(&at(name)).unwrap();
            assert_eq!(
                (FileId::of_open(&source.handle).unwrap(), source.is_link),
                (lineage(&at(name)).unwrap()[0], is_link),
                "{name}"
            );
        }
        // The kernel follows 40 links, and so does this.
        symlink("a", at("0")).unwrap();
        for number in 1..=40 {
            symlink((number - 1).to_string(), at(&number.to_string())).unwrap();
        }
        for (name, is_found) in [("39", true), ("40", false)] {
            assert_eq!((open_source(&at(name)).is_ok(), at(name).exists()), (is_found, is_found), "{name}");
        }
        for (name, why) in [("loop", Errno::ELOOP), ("none", Errno::ENOENT), ("a/none/x", Errno::ENOENT)] {
            assert_eq!(open_source(&at(name)).unwrap_err().to_string(), why.desc(), "{name}");
        }
    }

    #[test]
    fn a_link_of_another_user_is_followed_only_to_a_directory_of_his() {
        if !geteuid().is_root() {
            eprintln!("skipped: needs root");
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        create_dir_all(at("home/data")).unwrap();
        create_dir_all(at("host")).unwrap();
        for name in ["home", "home/data"] {
            chown(at(name), Some(1000), Some(1000)).unwrap();
        }
        let link = |name: &str, target: &Path| {
            symlink(target, at(name)).unwrap();
            lchown(at(name), Some(1000), Some(1000)).unwrap();
        };
        link("home/own", &at("home/data"));
        link("home/hosts", &at("host"));
        link("home/through", Path::new("hosts"));
        symlink(at("host"), at("home/moved")).unwrap();
        open_source(&at("home/own")).unwrap();
        for name in ["home/hosts", "home/through", "home/moved"] {
            let error = open_source(&at(name)).unwrap_err().to_string();
            assert!(error.contains("can change the symbolic link"), "{name}: {error}");
        }
        symlink(at("host"), at("roots")).unwrap();
        open_source(&at("roots")).unwrap();
        // Whoever can write to a directory can put another link there, unless it is sticky.
        let who_can_change = |mode: u32, owner: u32, links_owner: u32| {
            chown(at("home"), Some(owner), Some(1000)).unwrap();
            lchown(at("home/moved"), Some(links_owner), Some(1000)).unwrap();
            set_permissions(at("home"), Permissions::from_mode(mode)).unwrap();
            super::who_can_change(
                &fstat(open_path(File::open(at("home")).unwrap(), "moved").unwrap()).unwrap(),
                &fstat(File::open(at("home")).unwrap()).unwrap(),
            )
        };
        for (mode, owner, links_owner, expected) in [
            (0o755, 0, 0, Who::Root),
            (0o755, 0, 1000, Who::User(1000)),
            (0o1777, 0, 0, Who::Root),
            (0o1777, 0, 1000, Who::User(1000)),
            (0o775, 0, 0, Who::Several),
            (0o757, 0, 0, Who::Several),
            (0o755, 1000, 0, Who::User(1000)),
            (0o1777, 1000, 0, Who::User(1000)),
            (0o775, 1000, 1000, Who::Several),
        ] {
            assert_eq!(who_can_change(mode, owner, links_owner), expected, "{mode:o} {owner} {links_owner}");
        }
    }
}
