//! The pax records of extended attributes: those of star, which GNU tar and bsdtar write too, and bsdtar's own, which it
//! writes besides, or instead (`--options pax:xattrheader=LIBARCHIVE`). ACLs come as text, and from GNU tar's `--xattrs` in
//! the kernel's form besides, which has numbers for all users and groups.

use std::collections::BTreeMap;

use super::libarchive_text::{base64_decoded, url_decoded};
use crate::acl::{Acl, Parsed};
use crate::limits::LONGEST_RECORD;
use crate::member::printable;
use crate::xattrs::{ACCESS_ACL, Class, DEFAULT_ACL, LONGEST_NAME, LONGEST_VALUE, Xattrs};

const STAR: &[u8] = b"SCHILY.xattr.";
const BSDTAR: &[u8] = b"LIBARCHIVE.xattr.";

/// The most reasons that are kept of one member.
const MOST_REASONS: usize = 3;

/// The records of one member.
#[derive(Debug, Clone, Default)]
pub(super) struct XattrRecords {
    /// By name, as in the archive.
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    /// Those of bsdtar's own records: the others are preferred.
    of_bsdtar: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The texts of ACLs, by the names that their values will have.
    texts: BTreeMap<&'static [u8], Vec<u8>>,
    bytes: usize,
    bad: Reasons,
}

/// The first reasons why something is left out, and the number of the others.
#[derive(Debug, Clone, Default)]
struct Reasons {
    first: Vec<String>,
    others: usize,
}

impl XattrRecords {
    /// Takes a record, if it is one of extended attributes.
    pub(super) fn set(&mut self, key: &[u8], value: &[u8]) {
        let text_of = match key {
            b"SCHILY.acl.access" => Some(ACCESS_ACL),
            b"SCHILY.acl.default" => Some(DEFAULT_ACL),
            b"SCHILY.acl.ace" => return self.bad.add(|| "its ACL is one of NFSv4".to_owned()),
            _ => None,
        };
        let (name, of_bsdtar) = (key.strip_prefix(STAR), key.strip_prefix(BSDTAR));
        if text_of.is_none() && name.is_none() && of_bsdtar.is_none() {
            return;
        }
        // Several extended headers may precede a member.
        self.bytes += key.len() + value.len();
        if self.bytes as u64 > LONGEST_RECORD {
            return self.bad.add(|| format!("its extended attributes have more than {LONGEST_RECORD} bytes"));
        }
        if let Some(acl) = text_of {
            self.texts.insert(acl, value.to_vec());
        } else if let Some(name) = name {
            self.values.insert(decoded(name), value.to_vec());
        } else if let Some(name) = of_bsdtar {
            match base64_decoded(value) {
                Some(value) => drop(self.of_bsdtar.insert(url_decoded(name), value)),
                None => self.bad.add(|| format!("its '{}' is malformed", shortened(key))),
            }
        }
    }

    /// Notes a record that was too long to be read, if it is one of extended attributes.
    pub(super) fn leave_out(&mut self, key: &[u8], bytes: u64) {
        if key.starts_with(STAR) || key.starts_with(BSDTAR) || key.starts_with(b"SCHILY.acl.") {
            self.bad.add(|| format!("its '{}' has {bytes} bytes", shortened(key)));
        }
    }

    /// Returns the attributes, and what is left out: each as part of a message.
    pub(super) fn finish(self) -> (Xattrs, Vec<String>) {
        let Self { mut values, of_bsdtar, texts, mut bad, .. } = self;
        for (name, value) in of_bsdtar {
            values.entry(name).or_insert(value);
        }
        if values.is_empty() && texts.is_empty() {
            return (Xattrs::default(), bad.finish());
        }
        let mut sound: BTreeMap<_, _> =
            values.into_iter().filter(|(name, value)| bad.unless_unsound(name, value)).collect();
        for (name, text) in texts {
            if sound.contains_key(name) {
                continue;
            }
            match Acl::from_text(&text) {
                // bsdtar writes an empty one where there is none.
                None if text.is_empty() => {}
                None => bad.add(|| format!("its ACL '{}' is malformed", shortened(&text))),
                Some(Parsed { acl, named }) => {
                    if named > 0 {
                        bad.add(|| {
                            format!(
                                "its ACL has {named} entries without a number: '{}'",
                                shortened(text.trim_ascii_end())
                            )
                        });
                    }
                    sound.insert(name.to_vec(), acl.to_xattr());
                }
            }
        }
        (sound.into_iter().collect(), bad.finish())
    }
}

impl Reasons {
    fn add(&mut self, reason: impl FnOnce() -> String) {
        if self.first.len() < MOST_REASONS { self.first.push(reason()) } else { self.others += 1 }
    }

    /// Returns whether a file can have the attribute; otherwise adds why not, unless it belongs to the host.
    fn unless_unsound(&mut self, name: &[u8], value: &[u8]) -> bool {
        let shown = || shortened(name);
        if name.is_empty() || name.len() > LONGEST_NAME || name.contains(&0) {
            self.add(|| format!("its extended attribute '{}' has a name that is not possible", shown()));
        } else if value.len() > LONGEST_VALUE {
            self.add(|| format!("its extended attribute '{}' has {} bytes", shown(), value.len()));
        } else if (name == ACCESS_ACL || name == DEFAULT_ACL) && Acl::from_xattr(value).is_none() {
            self.add(|| format!("its '{}' is malformed", shown()));
        } else {
            match Class::of(name) {
                Class::File | Class::Layer => return true,
                Class::Host => {}
                Class::Unknown => {
                    self.add(|| format!("its extended attribute '{}' is of an unknown namespace", shown()));
                }
            }
        }
        false
    }

    fn finish(self) -> Vec<String> {
        let Self { mut first, others } = self;
        if others > 0 {
            first.push(format!("{others} more of its extended attributes cannot be restored"));
        }
        first
    }
}

/// Returns the begin of text from an archive, printable.
fn shortened(text: &[u8]) -> String {
    const MOST: usize = 100;
    if text.len() <= MOST { printable(text) } else { format!("{}…", printable(&text[..MOST])) }
}

/// Returns the name in a record's key. In keys a `=` is `%3D` and a `%` is `%25`, as GNU tar has it.
fn decoded(name: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, after) = match rest {
            [b'%', b'3', b'D', after @ ..] => (b'=', after),
            [b'%', b'2', b'5', after @ ..] => (b'%', after),
            _ => (byte, after),
        };
        decoded.push(byte);
        rest = after;
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finish(records: &[(&str, &[u8])]) -> (Vec<(String, Vec<u8>)>, Vec<String>) {
        let mut read = XattrRecords::default();
        for (key, value) in records {
            read.set(key.as_bytes(), value);
        }
        let (xattrs, bad) = read.finish();
        (xattrs.iter().map(|(name, value)| (printable(name), value.to_vec())).collect(), bad)
    }

    const TEXT: &[u8] = b"user::rwx\nuser:daemon:rwx\ngroup::r-x\nmask::rwx\nother::r-x\n";

    #[test]
    fn the_records_of_a_member_have_a_limit_together() {
        let one = ("SCHILY.xattr.user.a", &[0; 1000][..]);
        let left = LONGEST_RECORD as usize - one.0.len() - one.1.len() - "SCHILY.xattr.user.b".len();
        for (bytes, expected) in [(left, (1, 0)), (left + 1, (1, 1))] {
            let other = vec![0; bytes];
            let (xattrs, bad) = finish(&[one, ("SCHILY.xattr.user.b", &other)]);
            // This one is longer than a value can be, which is found later.
            assert_eq!((xattrs.len(), bad.iter().filter(|why| why.contains("have more than")).count()), expected);
        }
    }

    #[test]
    fn an_acl_in_the_kernels_form_is_preferred_to_its_text() {
        let value = Acl::from_text(b"user::rwx,user:1:rwx,group::r-x,mask::rwx,other::r-x").unwrap().acl.to_xattr();
        let name = "system.posix_acl_access".to_owned();
        for both in [
            [("SCHILY.acl.access", TEXT), ("SCHILY.xattr.system.posix_acl_access", &value)],
            [("SCHILY.xattr.system.posix_acl_access", &value), ("SCHILY.acl.access", TEXT)],
        ] {
            assert_eq!(finish(&both), (vec![(name.clone(), value.clone())], vec![]));
        }
        let (xattrs, bad) = finish(&[("SCHILY.acl.access", TEXT)]);
        assert_eq!(xattrs.len(), 1);
        assert_eq!(bad.len(), 1);
        assert!(
            bad[0].starts_with("its ACL has 1 entries without a number: 'user::rwx\\nuser:daemon:rwx\\n"),
            "{bad:?}"
        );
    }

    #[test]
    fn names_are_decoded_as_by_gnu_tar() {
        let (xattrs, bad) = finish(&[("SCHILY.xattr.user.a%3Db%25c%41%", b"v=\n")]);
        assert_eq!((xattrs, bad), (vec![("user.a=b%c%41%".to_owned(), b"v=\n".to_vec())], vec![]));
    }

    #[test]
    fn records_of_bsdtar_count_where_there_is_no_other() {
        let attribute = |value: &[u8]| vec![("user.ä b=".to_owned().into_bytes(), value.to_vec())];
        let found = |records: &[(&str, &[u8])]| {
            let mut read = XattrRecords::default();
            for (key, value) in records {
                read.set(key.as_bytes(), value);
            }
            let (xattrs, bad) = read.finish();
            (xattrs.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect::<Vec<_>>(), bad)
        };
        let (own, star) =
            (("LIBARCHIVE.xattr.user.%C3%A4%20b%3D", &b"b3du"[..]), ("SCHILY.xattr.user.ä b%3D", &b"star"[..]));
        assert_eq!(found(&[own]), (attribute(b"own"), vec![]));
        for both in [[own, star], [star, own]] {
            assert_eq!(found(&both), (attribute(b"star"), vec![]));
        }
        let (xattrs, bad) = found(&[("LIBARCHIVE.xattr.user.a", b"b3d!")]);
        assert_eq!((xattrs, bad), (vec![], vec!["its 'LIBARCHIVE.xattr.user.a' is malformed".to_owned()]));
    }

    #[test]
    fn what_no_file_can_have_is_left_out_and_named() {
        let long_name = format!("SCHILY.xattr.user.{}", "n".repeat(251));
        for (key, length, why) in [
            ("SCHILY.xattr.", 1, "its extended attribute '' has a name that is not possible"),
            (&long_name, 1, "has a name that is not possible"),
            ("SCHILY.xattr.user.a\0b", 1, "'user.a\\000b' has a name that is not possible"),
            ("SCHILY.xattr.user.a", LONGEST_VALUE + 1, "its extended attribute 'user.a' has 65537 bytes"),
            ("SCHILY.xattr.com.apple.x", 1, "its extended attribute 'com.apple.x' is of an unknown namespace"),
            ("SCHILY.xattr.system.posix_acl_default", 1, "its 'system.posix_acl_default' is malformed"),
            ("SCHILY.acl.default", 1, "its ACL 'x' is malformed"),
            ("SCHILY.acl.ace", 1, "its ACL is one of NFSv4"),
        ] {
            let (xattrs, bad) = finish(&[(key, &b"x".repeat(length))]);
            assert!(xattrs.is_empty() && bad.len() == 1 && bad[0].contains(why), "{key}: {xattrs:?} {bad:?}");
        }
        let longest = format!("SCHILY.xattr.user.{}", "n".repeat(250));
        let (xattrs, bad) = finish(&[(&longest, &b"x".repeat(LONGEST_VALUE))]);
        assert_eq!((xattrs.len(), bad.len()), (1, 0));
        assert_eq!(
            finish(&[("SCHILY.xattr.security.selinux", b"l"), ("RHT.security.selinux", b"l")]),
            (vec![], vec![])
        );
    }

    #[test]
    fn an_acl_without_names_is_no_reason_to_warn_and_an_empty_one_is_none() {
        let (xattrs, bad) = finish(&[("SCHILY.acl.access", b"user::rwx,user:7:rwx,group::r-x,mask::rwx,other::r-x")]);
        assert_eq!((xattrs.len(), bad), (1, vec![]));
        assert_eq!(finish(&[("SCHILY.acl.access", b""), ("SCHILY.acl.default", b"")]), (vec![], vec![]));
    }

    #[test]
    fn only_what_is_too_long_of_extended_attributes_is_named() {
        let left_out = |key: &str| {
            let mut read = XattrRecords::default();
            read.leave_out(key.as_bytes(), 1 << 21);
            read.finish().1
        };
        for key in ["SCHILY.xattr.user.a", "SCHILY.acl.access"] {
            assert_eq!(left_out(key), [format!("its '{key}' has 2097152 bytes")]);
        }
        assert!(left_out("comment").is_empty());
    }

    #[test]
    fn many_records_take_no_more_memory_than_one_header() {
        let value = b"x".repeat(LONGEST_VALUE - 100);
        let names: Vec<_> = (0..1000).map(|number| format!("SCHILY.xattr.user.{number}")).collect();
        let records: Vec<_> = names.iter().map(|name| (&**name, &value[..])).collect();
        let (xattrs, bad) = finish(&records);
        assert_eq!((xattrs.len(), bad.len()), (16, MOST_REASONS + 1));
        assert_eq!(bad[3], "981 more of its extended attributes cannot be restored");
    }
}
