//! The attributes in which a member and an entry of the tree differ, but for content.

use std::collections::BTreeSet;

use crate::acl::Acl;
use crate::difference::Attribute;
use crate::ids::IdMap;
use crate::member::{Kind, Member, Metadata, RelPath, Timestamp, printable};
use crate::volume::walk::Entry;
use crate::xattrs::{ACCESS_ACL, Class, DEFAULT_ACL, Xattrs};

/// Adds the attributes in which `member` differs from `entry`, whose ids on disk are mapped by `ids`.
pub(super) fn differences(member: &Member, entry: &Entry, ids: &IdMap, attributes: &mut Vec<Attribute>) {
    let mut add = |name, archive: String, volume: String| {
        attributes.push(Attribute { name, values: Some((archive, volume)) });
    };
    match (&member.kind, &entry.kind) {
        (Kind::File { size: archive }, Kind::File { size: volume }) => {
            if archive != volume {
                add("size", archive.to_string(), volume.to_string());
            }
        }
        (Kind::Symlink { target: archive }, Kind::Symlink { target: volume }) => {
            if archive != volume {
                add("target", quoted(archive), quoted(volume));
            }
        }
        (Kind::CharDevice { major: a, minor: b }, Kind::CharDevice { major: c, minor: d })
        | (Kind::BlockDevice { major: a, minor: b }, Kind::BlockDevice { major: c, minor: d }) => {
            if (a, b) != (c, d) {
                add("device", format!("{a}:{b}"), format!("{c}:{d}"));
            }
        }
        (Kind::Directory, Kind::Directory) | (Kind::Fifo, Kind::Fifo) => {}
        (archive, volume) => {
            attributes.push(kind(archive, name_of(volume)));
            return;
        }
    }
    let (archive, volume) = (&member.metadata, &entry.metadata);
    // Linux has no mode for symbolic links.
    if archive.mode != volume.mode && !matches!(member.kind, Kind::Symlink { .. }) {
        add("mode", format!("{:04o}", archive.mode), format!("{:04o}", volume.mode));
    }
    match ids.to_container(volume) {
        Ok(volume) if (archive.uid, archive.gid) == (volume.uid, volume.gid) => {}
        Ok(volume) => add("owner", owner(archive), owner(&volume)),
        Err(unmapped) => {
            add("owner", owner(archive), format!("{} {} of the host", unmapped.kind, unmapped.id));
        }
    }
    if !is_same_time(archive.mtime, volume.mtime) {
        let has_fraction = archive.mtime.nanoseconds != 0;
        add("mtime", time(archive.mtime, has_fraction), time(volume.mtime, has_fraction));
    }
}

/// Adds each extended attribute that only one side has, or that has another value there: those that belong to the file.
pub(super) fn xattrs(archive: &Xattrs, volume: &Xattrs, attributes: &mut Vec<Attribute>) {
    let names = archive.iter().chain(volume.iter()).map(|(name, _)| name).filter(|name| Class::of(name) == Class::File);
    for name in names.collect::<BTreeSet<_>>() {
        let [archive, volume] = [archive, volume].map(|side| xattr(name, side.get(name)));
        if archive != volume {
            let [archive, volume] = [archive, volume].map(|value| shown(name, value));
            attributes.push(Attribute { name: "xattr", values: Some((archive, volume)) });
        }
    }
}

/// The value of an extended attribute, to be compared.
#[derive(PartialEq, Eq)]
enum Value {
    None,
    Acl(Acl),
    Bytes(Vec<u8>),
}

fn xattr(name: &[u8], value: Option<&[u8]>) -> Value {
    let Some(value) = value else { return Value::None };
    let is_acl = name == ACCESS_ACL || name == DEFAULT_ACL;
    match Acl::from_xattr(value).filter(|_| is_acl) {
        // The kernel keeps only the mode.
        Some(acl) if name == ACCESS_ACL && acl.is_minimal() => Value::None,
        Some(acl) => Value::Acl(acl),
        None => Value::Bytes(value.to_vec()),
    }
}

fn shown(name: &[u8], value: Value) -> String {
    const MOST: usize = 100;
    let (name, value) = match value {
        Value::None => return format!("no '{}'", printable(name)),
        Value::Acl(acl) => (name, acl.to_text().trim_end().replace('\n', ",").into_bytes()),
        Value::Bytes(value) => (name, value),
    };
    let more = if value.len() > MOST { "…" } else { "" };
    format!("'{}' = '{}{more}'", printable(name), printable(&value[..value.len().min(MOST)]))
}

/// Returns the difference of two kinds.
pub(super) fn kind(archive: &Kind, volume: &str) -> Attribute {
    Attribute { name: "kind", values: Some((name_of(archive).to_owned(), volume.to_owned())) }
}

/// Returns the difference of the content of two files.
pub(super) fn content() -> Attribute {
    Attribute { name: "content", values: None }
}

/// Returns the difference of a hard link that is a file of its own in the tree.
pub(super) fn not_linked(target: &RelPath) -> Attribute {
    link(format!("of '{target}'"), "none".to_owned())
}

/// Returns the difference of a file that is a hard link in the tree.
pub(super) fn linked(other: &RelPath) -> Attribute {
    link("none".to_owned(), format!("of '{other}'"))
}

fn link(archive: String, volume: String) -> Attribute {
    Attribute { name: "link", values: Some((archive, volume)) }
}

fn name_of(kind: &Kind) -> &'static str {
    match kind {
        Kind::File { .. } => "file",
        Kind::Directory => "directory",
        Kind::Symlink { .. } => "symbolic link",
        Kind::HardLink { .. } => "hard link",
        Kind::Fifo => "FIFO",
        Kind::CharDevice { .. } => "character device",
        Kind::BlockDevice { .. } => "block device",
    }
}

fn quoted(target: &[u8]) -> String {
    format!("'{}'", printable(target))
}

fn owner(metadata: &Metadata) -> String {
    format!("{}:{}", metadata.uid, metadata.gid)
}

/// Compares seconds where the archive has no more.
fn is_same_time(archive: Timestamp, volume: Timestamp) -> bool {
    archive.seconds == volume.seconds && (archive.nanoseconds == 0 || archive.nanoseconds == volume.nanoseconds)
}

fn time(time: Timestamp, has_fraction: bool) -> String {
    let nanoseconds = if has_fraction { time.nanoseconds.cast_signed() } else { 0 };
    let known = jiff::Timestamp::new(time.seconds, nanoseconds);
    known.map_or_else(|_| format!("@{}", time.seconds), |time| time.to_string())
}
