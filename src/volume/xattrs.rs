//! Reads and sets the extended attributes of objects that are open. The kernel takes no handle that was opened with `O_PATH`
//! for that, but its name in procfs, which leads to the open object itself, be it a symbolic link.

use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use rustix::buffer::spare_capacity;
use rustix::fs::{
    XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr, getxattr, listxattr, removexattr, setxattr,
};
use rustix::io::Errno;

use super::beneath::procfs;
use crate::xattrs::{ACCESS_ACL, Class, DEFAULT_ACL, LONGEST_VALUE, Xattrs};

/// An open object.
#[derive(Debug)]
pub(crate) enum Object<'a> {
    /// A file or directory.
    Open(BorrowedFd<'a>),
    /// Anything, by the name of an `O_PATH` handle in procfs.
    Path(PathBuf, PhantomData<&'a OwnedFd>),
}

/// Attributes that could not be set: names and reasons.
pub(crate) type NotSet = Vec<(Vec<u8>, Errno)>;

impl<'a> Object<'a> {
    /// A file or directory.
    pub(crate) fn open(handle: &'a impl AsFd) -> Self {
        Self::Open(handle.as_fd())
    }

    /// What was opened with `O_PATH`.
    pub(crate) fn path(handle: &'a OwnedFd) -> Self {
        Self::Path(procfs(handle), PhantomData)
    }

    /// Returns the names of its attributes, sorted; none where the filesystem has no attributes.
    ///
    /// # Errors
    /// Those of the system call.
    pub(crate) fn names(&self) -> Result<Vec<Vec<u8>>, Errno> {
        let list = read(|buffer| match self {
            Self::Open(handle) => flistxattr(handle, spare_capacity(buffer)),
            Self::Path(path, _) => listxattr(path, spare_capacity(buffer)),
        });
        let list = match list {
            Err(Errno::NOTSUP | Errno::NOSYS) => return Ok(Vec::new()),
            other => other?,
        };
        let mut names: Vec<_> =
            list.split(|&byte| byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// Returns the value of an attribute; `None` if there is none of this name.
    ///
    /// # Errors
    /// Those of the system call.
    pub(crate) fn value(&self, name: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
        let value = read(|buffer| match self {
            Self::Open(handle) => fgetxattr(handle, name, spare_capacity(buffer)),
            Self::Path(path, _) => getxattr(path, name, spare_capacity(buffer)),
        });
        match value {
            // NFS and others list ACLs whether there are any or not.
            Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Returns all attributes that are archived and restored.
    ///
    /// # Errors
    /// Those of the system calls.
    pub(crate) fn all(&self) -> Result<Xattrs, Errno> {
        let mut all = Vec::new();
        for name in self.names()?.into_iter().filter(|name| Class::of(name).is_archived()) {
            all.extend(self.value(&name)?.map(|value| (name, value)));
        }
        Ok(all.into_iter().collect())
    }

    /// Gives the object these attributes. What could not be set is returned.
    pub(crate) fn set(&self, xattrs: &Xattrs) -> NotSet {
        let mut not_set = NotSet::new();
        for (name, value) in xattrs.iter().filter(|(name, _)| Class::of(name).is_archived()) {
            let set = match self {
                Self::Open(handle) => fsetxattr(handle, name, value, XattrFlags::empty()),
                Self::Path(path, _) => setxattr(path, name, value, XattrFlags::empty()),
            };
            not_set.extend(set.err().map(|errno| (name.to_vec(), errno)));
        }
        not_set
    }

    /// Removes the ACLs that are not among `xattrs`, such as what a new file has inherited, if anything is known.
    pub(crate) fn remove_other_acls(&self, xattrs: &Xattrs) -> NotSet {
        let known = xattrs.is_known().then_some([ACCESS_ACL, DEFAULT_ACL]);
        self.remove(known.iter().flatten().copied().filter(|name| xattrs.get(name).is_none()))
    }

    /// Removes all attributes that are archived and restored, but are not among `xattrs`.
    ///
    /// # Errors
    /// Those of the system calls.
    pub(crate) fn remove_others(&self, xattrs: &Xattrs) -> Result<NotSet, Errno> {
        let names = self.names()?;
        Ok(self.remove(
            names.iter().map(Vec::as_slice).filter(|name| Class::of(name).is_archived() && xattrs.get(name).is_none()),
        ))
    }

    fn remove<'n>(&self, names: impl Iterator<Item = &'n [u8]>) -> NotSet {
        let removed = names.map(|name| {
            let removed = match self {
                Self::Open(handle) => fremovexattr(handle, name),
                Self::Path(path, _) => removexattr(path, name),
            };
            (name, removed)
        });
        let failed = |(name, removed): (&[u8], Result<(), Errno>)| match removed {
            Ok(()) | Err(Errno::NODATA | Errno::NOTSUP | Errno::NOSYS) => None,
            Err(errno) => Some((name.to_vec(), errno)),
        };
        removed.filter_map(failed).collect()
    }
}

/// Reads a list or value, with a larger buffer if it does not fit into one of some bytes.
fn read(call: impl Fn(&mut Vec<u8>) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    // Most files have no attributes, or a label.
    let mut buffer = Vec::with_capacity(256);
    match call(&mut buffer) {
        Err(Errno::RANGE) => {
            buffer.reserve(LONGEST_VALUE);
            call(&mut buffer)?;
        }
        other => {
            other?;
        }
    }
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_attributes_that_are_not_wanted_are_removed() {
        let file = OwnedFd::from(tempfile::tempfile().unwrap());
        let object = Object::open(&file);
        let some = |names: &[&[u8]]| -> Xattrs { names.iter().map(|name| (name.to_vec(), b"v".to_vec())).collect() };
        if !object.set(&some(&[b"user.a", b"user.b"])).is_empty() {
            eprintln!("skipped: no extended attributes here");
            return;
        }
        assert_eq!(object.remove_others(&some(&[b"user.a", b"user.c"])), Ok(NotSet::new()));
        assert_eq!(object.all(), Ok(some(&[b"user.a"])));
    }
}
