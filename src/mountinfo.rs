//! Which filesystems are mounted where on this host, from `/proc/self/mountinfo` (proc(5)).

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The mount points of this process's mount namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MountPoints(Vec<PathBuf>);

impl MountPoints {
    /// Reads them as they are now.
    pub fn read() -> Result<Self> {
        let path = "/proc/self/mountinfo";
        let text = std::fs::read(path).map_err(|e| Error::failed("cannot read", path, e))?;
        Ok(Self::parse(&text))
    }

    /// Reads the text of a `mountinfo` file; lines of another form are passed over.
    #[must_use]
    pub fn parse(text: &[u8]) -> Self {
        let mount_point = |line: &[u8]| Some(PathBuf::from(unescape(line.split(|&b| b == b' ').nth(4)?)));
        Self(text.split(|&b| b == b'\n').filter_map(mount_point).collect())
    }

    /// Whether something is mounted exactly on `path`, which must be free of links and absolute.
    #[must_use]
    pub fn is_mount_point(&self, path: &Path) -> bool {
        self.0.iter().any(|mounted| mounted == path)
    }

    /// What is mounted below `path`, itself not counted.
    pub fn below<'a>(&'a self, path: &'a Path) -> impl Iterator<Item = &'a Path> {
        self.0.iter().map(PathBuf::as_path).filter(move |mounted| *mounted != path && mounted.starts_with(path))
    }
}

/// The kernel writes space, tab, newline and backslash in names as three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut name = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let escaped = match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => {
                Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
            }
            _ => None,
        };
        name.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { tail.get(3..).unwrap_or_default() } else { tail };
    }
    OsString::from_vec(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_with_spaces_are_found() {
        let points = MountPoints::parse(
            b"22 1 254:0 / / rw - ext4 /dev/vda rw\n30 22 0:5 / /srv/my\\040data rw - nfs a:/b rw\nshort line\n",
        );
        assert!(points.is_mount_point(Path::new("/srv/my data")));
        assert!(!points.is_mount_point(Path::new("/srv")));
        assert_eq!(points.below(Path::new("/srv")).collect::<Vec<_>>(), [Path::new("/srv/my data")]);
        assert_eq!(points.below(Path::new("/srv/my data")).count(), 0);
        assert_eq!(points.below(Path::new("/sr")).count(), 0);
    }
}
