//! POSIX access control lists, in the kernel's form (`linux/posix_acl_xattr.h`) and as text (`acl(5)`, "ACL TEXT FORMS"),
//! as GNU tar, star and bsdtar write them. In memory users and groups are numbers: a name is that of another host.

use std::fmt::Write as _;

/// The version of the kernel's form (`POSIX_ACL_XATTR_VERSION`).
const VERSION: u32 = 2;
/// What the kernel's form has as the id of an entry that is not of one user or group (`ACL_UNDEFINED_ID`).
const NO_ID: u32 = u32::MAX;
/// The length of the kernel's header and of each entry, in bytes.
const HEADER: usize = 4;
const ENTRY: usize = 8;

/// Whom an entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    /// The owner.
    Owner,
    /// The user with this id.
    User(u32),
    /// The file's group.
    OwningGroup,
    /// The group with this id.
    Group(u32),
    /// The most that users, groups and the file's group are granted.
    Mask,
    /// All others.
    Other,
}

/// An ACL: whom it is about, with the permissions (`rwx`, 0 to 7), in the kernel's order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Acl(Vec<(Who, u16)>);

/// An ACL in text, and how many of its entries were left out since they name a user or group without its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Parsed {
    pub(crate) acl: Acl,
    pub(crate) named: usize,
}

impl Acl {
    /// Parses the value of an extended attribute. `None` if it is malformed.
    pub(crate) fn from_xattr(value: &[u8]) -> Option<Self> {
        let (version, entries) = value.split_first_chunk::<HEADER>()?;
        let (entries, rest) = entries.as_chunks::<ENTRY>();
        if u32::from_le_bytes(*version) != VERSION || !rest.is_empty() {
            return None;
        }
        let parse = |&[tag0, tag1, perm0, perm1, id @ ..]: &[u8; ENTRY]| {
            let id = u32::from_le_bytes(id);
            let who = match u16::from_le_bytes([tag0, tag1]) {
                0x01 => Who::Owner,
                0x02 if id != NO_ID => Who::User(id),
                0x04 => Who::OwningGroup,
                0x08 if id != NO_ID => Who::Group(id),
                0x10 => Who::Mask,
                0x20 => Who::Other,
                _ => return None,
            };
            let permissions = u16::from_le_bytes([perm0, perm1]);
            (permissions <= 7).then_some((who, permissions))
        };
        Self::sorted(entries.iter().map(parse).collect::<Option<_>>()?)
    }

    /// Returns the value of the extended attribute.
    pub(crate) fn to_xattr(&self) -> Vec<u8> {
        let mut value = VERSION.to_le_bytes().to_vec();
        for &(who, permissions) in &self.0 {
            let (tag, id) = match who {
                Who::Owner => (0x01_u16, NO_ID),
                Who::User(id) => (0x02, id),
                Who::OwningGroup => (0x04, NO_ID),
                Who::Group(id) => (0x08, id),
                Who::Mask => (0x10, NO_ID),
                Who::Other => (0x20, NO_ID),
            };
            value.extend(tag.to_le_bytes());
            value.extend(permissions.to_le_bytes());
            value.extend(id.to_le_bytes());
        }
        value
    }

    /// Returns whether it says no more than a mode.
    pub(crate) fn is_minimal(&self) -> bool {
        self.0.iter().all(|(who, _)| matches!(who, Who::Owner | Who::OwningGroup | Who::Other))
    }

    /// Returns the text that GNU tar writes, with numbers: an entry a line.
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        for &(who, permissions) in &self.0 {
            // Writing to a String cannot fail.
            match who {
                Who::Owner => text.push_str("user::"),
                Who::User(id) => write!(text, "user:{id}:").unwrap_or_default(),
                Who::OwningGroup => text.push_str("group::"),
                Who::Group(id) => write!(text, "group:{id}:").unwrap_or_default(),
                Who::Mask => text.push_str("mask::"),
                Who::Other => text.push_str("other::"),
            }
            for (bit, letter) in [(4, 'r'), (2, 'w'), (1, 'x')] {
                text.push(if permissions & bit == 0 { '-' } else { letter });
            }
            text.push('\n');
        }
        text
    }

    /// Parses text: entries are lines or separated by commas. The number of a user or group stands in the place of its
    /// name, or behind the permissions. The only name that has one number everywhere is that of root. `None` if it is
    /// malformed.
    pub(crate) fn from_text(text: &[u8]) -> Option<Parsed> {
        let text = std::str::from_utf8(text).ok()?;
        let (mut entries, mut named) = (Vec::new(), 0);
        for entry in text.split(['\n', ',']).map(str::trim).filter(|entry| !entry.is_empty()) {
            let fields: Vec<&str> = entry.split(':').collect();
            // "other:r-x" and "mask:rwx" are short for "other::r-x" and "mask::rwx".
            let (tag, qualifier, permissions, number) = match *fields.as_slice() {
                [tag @ ("mask" | "m" | "other" | "o"), permissions] => (tag, "", permissions, None),
                [tag, qualifier, permissions] => (tag, qualifier, permissions, None),
                [tag, qualifier, permissions, number] => (tag, qualifier, permissions, Some(number)),
                _ => return None,
            };
            let permissions = letters(permissions)?;
            let id = match number {
                Some(number) => Some(id(number)?),
                None if qualifier == "root" => Some(0),
                None => id(qualifier),
            };
            let who = match (tag, qualifier) {
                ("user" | "u", "") => Some(Who::Owner),
                ("group" | "g", "") => Some(Who::OwningGroup),
                ("mask" | "m", "") => Some(Who::Mask),
                ("other" | "o", "") => Some(Who::Other),
                ("user" | "u", _) => id.map(Who::User),
                ("group" | "g", _) => id.map(Who::Group),
                _ => return None,
            };
            match who {
                Some(who) => entries.push((who, permissions)),
                None => named += 1,
            }
        }
        Some(Parsed { acl: Self::sorted(entries)?, named })
    }

    /// Returns the ACL with other ids. An entry whose id is not mapped is left out, and counted.
    pub(crate) fn translate(
        &self,
        user: impl Fn(u32) -> Option<u32>,
        group: impl Fn(u32) -> Option<u32>,
    ) -> Option<(Self, usize)> {
        let translate = |&(who, permissions): &(Who, u16)| {
            let who = match who {
                Who::User(id) => Who::User(user(id)?),
                Who::Group(id) => Who::Group(group(id)?),
                who @ (Who::Owner | Who::OwningGroup | Who::Mask | Who::Other) => who,
            };
            Some((who, permissions))
        };
        let translated: Vec<_> = self.0.iter().filter_map(translate).collect();
        let left_out = self.0.len() - translated.len();
        Some((Self::sorted(translated)?, left_out))
    }

    /// Checks entries as the kernel does (`posix_acl_valid`), and orders them. A default ACL may be empty: then there is
    /// none.
    fn sorted(mut entries: Vec<(Who, u16)>) -> Option<Self> {
        entries.sort_unstable();
        let is_unique = entries.windows(2).all(|pair| pair[0].0 != pair[1].0);
        let has = |wanted| entries.iter().any(|&(who, _)| who == wanted);
        let is_long = entries.iter().any(|(who, _)| matches!(who, Who::User(_) | Who::Group(_)));
        let is_valid =
            is_unique && has(Who::Owner) && has(Who::OwningGroup) && has(Who::Other) && (!is_long || has(Who::Mask));
        is_valid.then_some(Self(entries))
    }
}

/// Parses "rwx", with "-" for what is not granted. Letters may also be missing, as in "r".
fn letters(text: &str) -> Option<u16> {
    let mut permissions = 0;
    for letter in text.bytes() {
        permissions |= match letter {
            b'r' if permissions & 4 == 0 => 4,
            b'w' if permissions & 2 == 0 => 2,
            b'x' if permissions & 1 == 0 => 1,
            b'-' => 0,
            _ => return None,
        };
    }
    (!text.is_empty() && text.len() <= 3).then_some(permissions)
}

/// Parses a user or group id: digits only, and one that exists.
fn id(text: &str) -> Option<u32> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then_some(())?;
    text.parse().ok().filter(|&id| id != NO_ID)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LONG: &str = "user::rw-\nuser:1234:rwx\ngroup::r--\ngroup:1:r--\nmask::rwx\nother::---\n";

    fn parse(text: &str) -> Option<(String, usize)> {
        Acl::from_text(text.as_bytes()).map(|Parsed { acl, named }| (acl.to_text(), named))
    }

    #[test]
    fn the_kernels_form_is_that_of_the_header_file() {
        // What getfattr shows after `setfacl -m u:1234:rwx,g:daemon:r` on a file of mode 0640.
        let value = b"\x02\0\0\0\x01\0\x06\0\xff\xff\xff\xff\x02\0\x07\0\xd2\x04\0\0\x04\0\x04\0\xff\xff\xff\xff\
            \x08\0\x04\0\x01\0\0\0\x10\0\x07\0\xff\xff\xff\xff\x20\0\0\0\xff\xff\xff\xff";
        let acl = Acl::from_xattr(value).unwrap();
        assert_eq!(acl.to_text(), LONG);
        assert_eq!(acl.to_xattr(), value);
    }

    #[test]
    fn the_texts_of_all_tars_are_read() {
        for text in [
            LONG,
            "user::rw-,group::r--,other::---,user:1234:rwx,group:daemon:r--:1,mask::rwx",
            "u::rw,u:nobody:rwx:1234,g::r,g:1:r--,m:rwx,o:---",
            "user::rw-\n user:1234:rwx \n\ngroup::r--\ngroup:1:r--\nmask:rwx\nother:---",
        ] {
            assert_eq!(parse(text), Some((LONG.to_owned(), 0)), "{text}");
        }
        assert_eq!(
            parse("user::rw-,user:root:r--,group::r--,mask::r--,other::---").unwrap().0.lines().nth(1),
            Some("user:0:r--")
        );
    }

    /// The names of another host grant nothing here.
    #[test]
    fn an_entry_without_a_number_is_left_out() {
        let text = "user::rw-\nuser:1234:rwx\nuser:daemon:rwx\ngroup::r--\ngroup:1:r--\nmask::rwx\nother::---\n";
        assert_eq!(parse(text), Some((LONG.to_owned(), 1)));
        let text = "user::rw-\nuser:4294967295:rwx\ngroup::r--\nmask::rwx\nother::---\n";
        assert_eq!(parse(text).unwrap().1, 1, "(uid_t) -1 is no user");
    }

    #[test]
    fn malformed_texts_are_no_acl() {
        for text in [
            "",
            "user::rw-",
            "user::rw-,group::r--",
            "user::rw-,group::r--,other::---,other::---",
            "user::rw-,user:1:r--,user:1:r--,group::r--,mask::rwx,other::---",
            "user::rw-,user:1:r--,group::r--,other::---",
            "user::rwz,group::r--,other::---",
            "user::rr-,group::r--,other::---",
            "user::rwxr,group::r--,other::---",
            "user::,group::r--,other::---",
            "owner::rwx,group::r--,other::---",
            "user::rwx:1:2,group::r--,other::---",
            "user:1:rwx:x,user::rwx,group::r--,mask::rwx,other::---",
            "mask:1:rwx,user::rwx,group::r--,other::---",
            "user::rwx,group::r--,other",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert!(Acl::from_text(b"user::rwx,group::r-x,other::r-x,\xff").is_none());
    }

    #[test]
    fn malformed_values_are_no_acl() {
        let value = Acl::from_text(LONG.as_bytes()).unwrap().acl.to_xattr();
        for end in 0..value.len() {
            assert_eq!(Acl::from_xattr(&value[..end]), None, "{end}");
        }
        for (at, byte) in [(0, 1), (4, 3), (6, 8), (12, 1), (16, 0xff)] {
            let mut changed = value.clone();
            changed[at] = byte;
            if at == 16 {
                changed[16..20].fill(0xff);
            }
            assert_eq!(Acl::from_xattr(&changed), None, "{at}");
        }
    }

    #[test]
    fn ids_without_another_are_left_out() {
        let acl = Acl::from_text(LONG.as_bytes()).unwrap().acl;
        let (translated, left_out) = acl.translate(|uid| uid.checked_sub(2000), |gid| Some(gid + 7)).unwrap();
        assert_eq!(left_out, 1);
        assert_eq!(translated.to_text(), "user::rw-\ngroup::r--\ngroup:8:r--\nmask::rwx\nother::---\n");
    }

    proptest! {
        #[test]
        fn text_and_value_say_the_same(users in prop::collection::btree_map(0..u32::MAX, 0..8_u16, 0..9), groups in prop::collection::btree_map(0..u32::MAX, 0..8_u16, 0..9)) {
            let mut entries = vec![(Who::Owner, 7), (Who::OwningGroup, 5), (Who::Mask, 4), (Who::Other, 0)];
            entries.extend(users.into_iter().map(|(id, permissions)| (Who::User(id), permissions)));
            entries.extend(groups.into_iter().map(|(id, permissions)| (Who::Group(id), permissions)));
            let acl = Acl::sorted(entries).unwrap();
            prop_assert_eq!(Acl::from_xattr(&acl.to_xattr()), Some(acl.clone()));
            prop_assert_eq!(Acl::from_text(acl.to_text().as_bytes()), Some(Parsed { acl, named: 0 }));
        }

        #[test]
        fn no_input_panics(bytes in prop::collection::vec(any::<u8>(), 0..99), text in "([ugmo]|user|group|mask|other|:|,|\n|[rwx-]|[0-9]){0,40}") {
            Acl::from_xattr(&bytes);
            Acl::from_text(&bytes);
            Acl::from_text(text.as_bytes());
        }
    }
}
