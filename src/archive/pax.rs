//! Writes the pax extended header of a member (POSIX.1-2001): what a GNU header cannot hold. The records are those of GNU
//! tar's `--format=posix --xattrs --acls`, in a fixed order.

use crate::acl::Acl;
use crate::member::{Metadata, RelPath, Timestamp};
use crate::xattrs::{ACCESS_ACL, DEFAULT_ACL};

/// Returns the records of the metadata that the header of a member cannot hold: fractions of a second and extended
/// attributes. None are needed for most of what an archive of whole seconds holds.
pub(super) fn records(metadata: &Metadata) -> Vec<u8> {
    let mut records = Vec::new();
    if metadata.mtime.nanoseconds > 0 {
        push(&mut records, b"mtime", time(metadata.mtime).as_bytes());
    }
    let xattrs = &metadata.xattrs;
    let acls = xattrs.iter().filter(|(name, _)| is_acl(name));
    for (name, value) in acls.chain(xattrs.iter().filter(|(name, _)| !is_acl(name))) {
        let (key, value) = record(name, value);
        push(&mut records, &key, &value);
    }
    records
}

/// Returns the length of the record of an extended attribute, in bytes.
pub(crate) fn record_length(name: &[u8], value: &[u8]) -> usize {
    let (key, value) = record(name, value);
    length(&key, &value)
}

/// Returns the name of the member that holds the records of another one, as that of GNU tar's `--pax-option=
/// exthdr.name=%d/PaxHeaders/%f`. Only a tar that does not know the format creates a file of this name.
pub(super) fn header_name(path: &RelPath) -> Vec<u8> {
    let (directory, name) = path
        .split_last()
        .map_or((RelPath::root(), Vec::new()), |(directory, name)| (directory, name.as_encoded_bytes().to_vec()));
    let directory = if directory.is_root() { b"." } else { directory.as_bytes() };
    [directory, b"/PaxHeaders/", &name].concat()
}

fn is_acl(name: &[u8]) -> bool {
    name == ACCESS_ACL || name == DEFAULT_ACL
}

/// Returns key and value. An ACL is text with numbers, which every tar reads that restores ACLs.
fn record(name: &[u8], value: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let text = if is_acl(name) { Acl::from_xattr(value).map(|acl| acl.to_text()) } else { None };
    if let Some(text) = text {
        let key = if name == ACCESS_ACL { &b"SCHILY.acl.access"[..] } else { b"SCHILY.acl.default" };
        return (key.to_vec(), text.into_bytes());
    }
    let mut key = b"SCHILY.xattr.".to_vec();
    for &byte in name {
        match byte {
            // The key ends with the first `=`.
            b'=' => key.extend(b"%3D"),
            b'%' => key.extend(b"%25"),
            other => key.push(other),
        }
    }
    (key, value.to_vec())
}

fn push(records: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    records.extend(format!("{} ", length(key, value)).into_bytes());
    records.extend([key, b"=", value, b"\n"].concat());
}

/// The length of a record, which includes its own digits.
fn length(key: &[u8], value: &[u8]) -> usize {
    let rest = key.len() + value.len() + b" =\n".len();
    let digits = |number: usize| number.to_string().len();
    // One more digit may make the length one digit longer.
    let length = rest + digits(rest);
    rest + digits(length)
}

/// Returns a time as a decimal number. `timespec` counts nanoseconds forward: -2 s + 500,000,000 ns is -1.5.
fn time(time: Timestamp) -> String {
    let (sign, seconds, nanoseconds) = if time.seconds < 0 && time.nanoseconds > 0 {
        ("-", (time.seconds + 1).unsigned_abs(), 1_000_000_000 - time.nanoseconds)
    } else {
        (if time.seconds < 0 { "-" } else { "" }, time.seconds.unsigned_abs(), time.nanoseconds)
    };
    let text = format!("{sign}{seconds}.{nanoseconds:09}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xattrs::Xattrs;

    #[test]
    fn lengths_include_their_own_digits() {
        for (value, expected) in [(0, 6), (3, 9), (4, 11), (91, 98), (92, 99), (93, 101), (991, 999), (992, 1001)] {
            let mut records = Vec::new();
            push(&mut records, b"ab", &vec![b'v'; value]);
            assert_eq!((records.len(), length(b"ab", &vec![b'v'; value])), (expected, expected), "{value}");
            assert!(records.starts_with(format!("{expected} ab=").as_bytes()), "{value}");
        }
    }

    /// What GNU tar 1.34 writes.
    #[test]
    fn times_are_written_as_by_gnu_tar() {
        for (seconds, nanoseconds, expected) in [
            (1_577_836_800, 123_456_789, "1577836800.123456789"),
            (5, 500_000_000, "5.5"),
            (0, 1, "0.000000001"),
            (-2, 0, "-2"),
            (-1, 500_000_000, "-0.5"),
            (-2, 500_000_000, "-1.5"),
            (-2, 999_999_999, "-1.000000001"),
        ] {
            assert_eq!(time(Timestamp { seconds, nanoseconds }), expected);
        }
    }

    #[test]
    fn records_have_a_fixed_order() {
        let acl = Acl::from_text(b"user::rwx,user:7:rwx,group::r-x,mask::rwx,other::r-x").unwrap().acl;
        let attributes = [("user.b", &b"\n"[..]), ("user.a=%", b"")].map(|(n, v)| (n.as_bytes().to_vec(), v.to_vec()));
        let acls = [(DEFAULT_ACL.to_vec(), acl.to_xattr()), (ACCESS_ACL.to_vec(), b"malformed".to_vec())];
        let xattrs = attributes.into_iter().chain(acls).collect();
        let mtime = Timestamp { seconds: 1, nanoseconds: 20 };
        let text = records(&Metadata { mtime, xattrs, ..Metadata::default() });
        let expected = "21 mtime=1.00000002\n\
            55 SCHILY.xattr.system.posix_acl_access=malformed\n"
            .to_owned()
            + "81 SCHILY.acl.default=user::rwx\nuser:7:rwx\ngroup::r-x\nmask::rwx\nother::r-x\n\n\
            30 SCHILY.xattr.user.a%3D%25=\n\
            23 SCHILY.xattr.user.b=\n\n";
        let shown = |text: &[u8]| {
            text.split(|&b| b == b'\n').map(|line| String::from_utf8_lossy(line).into_owned()).collect::<Vec<_>>()
        };
        let without_lengths = |lines: Vec<String>| {
            lines
                .into_iter()
                .map(|line| line.trim_start_matches(|c: char| c.is_ascii_digit()).to_owned())
                .collect::<Vec<_>>()
        };
        assert_eq!(without_lengths(shown(&text)), without_lengths(shown(expected.as_bytes())));
        assert_eq!(records(&Metadata::default()), b"");
        let known = Metadata { xattrs: Xattrs::from_iter([]), ..Metadata::default() };
        assert_eq!(records(&known), b"", "a member without attributes has no extended header");
    }

    #[test]
    fn only_an_acl_is_written_as_text() {
        let value = Acl::from_text(b"user::rwx,group::r-x,other::r-x").unwrap().acl.to_xattr();
        let (key, stored) = record(b"user.copy_of_an_acl", &value);
        assert_eq!((&key[..], stored), (&b"SCHILY.xattr.user.copy_of_an_acl"[..], value));
    }

    #[test]
    fn the_header_is_named_after_its_member() {
        for (path, expected) in [("a/b/c", "a/b/PaxHeaders/c"), ("a", "./PaxHeaders/a"), ("", "./PaxHeaders/")] {
            assert_eq!(header_name(&RelPath::parse(path.as_bytes()).unwrap()), expected.as_bytes());
        }
    }
}
