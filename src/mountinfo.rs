//! The mountpoints of this host: `/proc/self/mountinfo` (proc(5)) has the mounted ones, and `/etc/fstab` (fstab(5))
//! those that should be mounted.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Returns the mountpoints in this process's mount namespace, except `/`.
///
/// # Errors
/// `/proc/self/mountinfo` cannot be read.
pub(crate) fn mounted() -> Result<Vec<PathBuf>> {
    let table = table_of("self").map_err(|e| Error::failed("cannot read", "/proc/self/mountinfo", e))?;
    Ok(table.mounted())
}

/// A table of mounts, as `/proc/PID/mountinfo` has it.
pub(crate) struct Table(Vec<u8>);

/// Reads the table of a process: its id, or `self`.
pub(crate) fn table_of(process: &str) -> io::Result<Table> {
    std::fs::read(format!("/proc/{process}/mountinfo")).map(Table)
}

impl Table {
    #[cfg(test)]
    pub(crate) fn of(text: &[u8]) -> Self {
        Self(text.to_vec())
    }

    /// Returns the mountpoints, except `/`.
    pub(crate) fn mounted(&self) -> Vec<PathBuf> {
        mountpoints(&self.0, 4)
    }

    /// Returns the ID of the mount at `/`; `None` if the root directory of the process is not a mountpoint (chroot).
    pub(crate) fn root_id(&self) -> Option<u64> {
        let lines = self.0.split(|&byte| byte == b'\n');
        let mut at_root = lines.filter_map(|line| {
            let fields: Vec<&[u8]> = line.split(u8::is_ascii_whitespace).take(5).collect();
            (fields.get(4) == Some(&&b"/"[..])).then(|| fields[0])
        });
        // Of several mounts on top of each other the last one is visible.
        std::str::from_utf8(at_root.next_back()?).ok()?.parse().ok()
    }
}

/// Returns the mountpoints in `/etc/fstab`, except `/`; none if the file cannot be read.
#[must_use]
pub(crate) fn in_fstab() -> Vec<PathBuf> {
    mountpoints(&std::fs::read("/etc/fstab").unwrap_or_default(), 1)
}

/// Returns the mountpoints below `path`, except `path` itself.
pub(crate) fn below<'a>(mounted: &'a [PathBuf], path: &'a Path) -> impl Iterator<Item = &'a Path> {
    mounted.iter().map(PathBuf::as_path).filter(move |point| *point != path && point.starts_with(path))
}

/// Returns the mountpoints in a column of a table like `mountinfo` or `fstab`.
fn mountpoints(table: &[u8], column: usize) -> Vec<PathBuf> {
    table
        .split(|&byte| byte == b'\n')
        .filter(|line| !line.trim_ascii_start().starts_with(b"#"))
        .filter_map(|line| line.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty()).nth(column))
        .map(|field| PathBuf::from(OsString::from_vec(unescape(field))))
        // Swap has "none" as its mountpoint in fstab; "/" is always mounted.
        .filter(|point| point.is_absolute() && point.parent().is_some())
        .collect()
}

/// Decodes space, tab, newline and backslash, which the kernel writes as `\ooo`.
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
        assert_eq!(mountpoints(mountinfo, 4), [PathBuf::from("/mnt 2/a\\b")]);
        let fstab = b"# comment /x\n  UUID=1 / ext4 defaults 0 1\nnas:/srv\t/srv/media\tnfs defaults\nx none swap sw\n";
        assert_eq!(mountpoints(fstab, 1), [PathBuf::from("/srv/media")]);
        assert_eq!(unescape(b"\\04"), b"\\04");
        assert_eq!(unescape(b"\\777"), b"\\777");
    }

    #[test]
    fn the_root_is_the_last_mount_at_the_root() {
        let table = |text: &str| Table::of(text.as_bytes());
        let rows =
            "1 1 0:2 / / rw - rootfs rootfs rw\n27 1 254:0 / / rw - ext4 /dev/vda rw\n36 27 0:5 / /proc rw - x x\n";
        assert_eq!(table(rows).root_id(), Some(27));
        assert_eq!(table("36 27 0:5 / /proc rw - proc proc rw\n\nbroken\n").root_id(), None);
    }

    #[test]
    fn a_mountpoint_is_not_below_itself() {
        let mounted = [PathBuf::from("/srv/data"), PathBuf::from("/srv/data2")];
        assert_eq!(below(&mounted, Path::new("/srv/data")).count(), 0);
        assert_eq!(below(&mounted, Path::new("/srv")).count(), 2);
        assert_eq!(below(&mounted, Path::new("/sr")).count(), 0);
    }
}
