//! Which filesystems are mounted on this host, and which should be: `/proc/self/mountinfo` (proc(5)) and
//! `/etc/fstab` (fstab(5)). It judges nothing.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The mount points of this process's mount namespace, `/` not counted.
pub fn mounted() -> Result<Vec<PathBuf>> {
    let table = "/proc/self/mountinfo";
    let text = std::fs::read(table).map_err(|e| Error::failed("cannot read", table, e))?;
    Ok(mount_points(&text, 4))
}

/// The mount points that `/etc/fstab` names. Only an aid: a host need not have one.
#[must_use]
pub fn in_fstab() -> Vec<PathBuf> {
    mount_points(&std::fs::read("/etc/fstab").unwrap_or_default(), 1)
}

/// What is mounted below `path`, itself not counted.
pub fn below<'a>(mounted: &'a [PathBuf], path: &'a Path) -> impl Iterator<Item = &'a Path> {
    mounted.iter().map(PathBuf::as_path).filter(move |point| *point != path && point.starts_with(path))
}

/// The column of a table like `mountinfo` or `fstab` that holds mount points.
fn mount_points(table: &[u8], column: usize) -> Vec<PathBuf> {
    table
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.trim_ascii_start().starts_with(b"#"))
        .filter_map(|line| line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty()).nth(column))
        .map(|field| PathBuf::from(OsString::from_vec(unescape(field))))
        // In fstab, swap has "none" here; and "/" is always mounted.
        .filter(|point| point.is_absolute() && point.parent().is_some())
        .collect()
}

/// The kernel writes space, tab, newline and backslash as `\ooo`.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, after)) = rest.split_first() {
        let octal = match after {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] if first == b'\\' => {
                Some((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'))
            }
            _ => None,
        };
        plain.push(octal.unwrap_or(first));
        rest = if octal.is_some() { after.get(3..).unwrap_or_default() } else { after };
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_tables_are_read_with_their_escapes() {
        let mountinfo = b"36 35 98:0 /mnt1 /mnt\\0402/a\\134b rw,noatime shared:1 - ext3 /dev/root rw\n\
                          22 1 0:1 / / rw - ext4 /dev/vda rw\n\nbroken\n";
        assert_eq!(mount_points(mountinfo, 4), [PathBuf::from("/mnt 2/a\\b")]);
        let fstab = b"# comment /x\n  UUID=1 / ext4 defaults 0 1\nnas:/srv\t/srv/media\tnfs defaults\nx none swap sw\n";
        assert_eq!(mount_points(fstab, 1), [PathBuf::from("/srv/media")]);
        assert_eq!(unescape(b"\\04"), b"\\04");
        assert_eq!(unescape(b"\\777"), b"\\777");
    }

    #[test]
    fn a_mount_point_is_not_below_itself() {
        let mounted = [PathBuf::from("/srv/data"), PathBuf::from("/srv/data2")];
        assert_eq!(below(&mounted, Path::new("/srv/data")).count(), 0);
        assert_eq!(below(&mounted, Path::new("/srv")).count(), 2);
        assert_eq!(below(&mounted, Path::new("/sr")).count(), 0);
    }
}
