//! Extended attributes as values (`xattr(7)`), in the kernel's form, and which of them belong to a file rather than to its
//! host or its filesystem. Only those are archived and restored.

use std::collections::BTreeMap;
use std::sync::Arc;

/// The attribute that holds the ACL of a file.
pub(crate) const ACCESS_ACL: &[u8] = b"system.posix_acl_access";
/// The attribute that holds the ACL which entries of a directory inherit.
pub(crate) const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";
/// The attribute that holds the capabilities of a program.
pub(crate) const CAPABILITY: &[u8] = b"security.capability";

/// The longest name of an attribute, in bytes (`XATTR_NAME_MAX`).
pub(crate) const LONGEST_NAME: usize = 255;
/// The longest value of an attribute, and the longest list of the names of a file's attributes, in bytes
/// (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX`).
pub(crate) const LONGEST_VALUE: usize = 64 << 10;

/// Attributes of the `security` namespace that the host computes or assigns: the labels of SELinux and Smack, and the
/// checksums of IMA and EVM, which hold for one inode. A new file has those of the directory that it is created in.
const OF_THE_HOST: [&[u8]; 4] = [b"security.selinux", b"security.SMACK64", b"security.ima", b"security.evm"];

/// What engines and filesystems set by themselves: names that end with a dot are the begins of names. They are those of
/// overlayfs, fuse-overlayfs, Podman, `GlusterFS` and Lustre, and the second form that XFS shows of an ACL.
const OF_A_FILESYSTEM: [&[u8]; 13] = [
    b"trusted.overlay.",
    b"user.overlay.",
    b"user.fuseoverlayfs.",
    b"user.containers.",
    b"trusted.glusterfs.",
    b"trusted.afr.",
    b"trusted.gfid",
    b"trusted.lov",
    b"trusted.lma",
    b"trusted.link",
    b"trusted.fid",
    b"trusted.SGI_ACL_FILE",
    b"trusted.SGI_ACL_DEFAULT",
];

/// Whose an attribute is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// The file's: archived with `--xattrs`, restored, and missed where it is neither.
    File,
    /// The file's, but set by an engine or a filesystem: archived and restored, not missed.
    Layer,
    /// The host's: neither archived nor restored.
    Host,
    /// One of a namespace that Linux does not have, or that belongs to a filesystem: neither archived nor restored.
    Unknown,
}

impl Class {
    /// Returns whose the attribute `name` is.
    #[must_use]
    pub(crate) fn of(name: &[u8]) -> Self {
        let begins = |with: &[u8]| name.len() > with.len() && name.starts_with(with);
        if name == ACCESS_ACL || name == DEFAULT_ACL {
            Self::File
        } else if OF_THE_HOST.iter().any(|host| name.starts_with(host)) {
            Self::Host
        } else if OF_A_FILESYSTEM.iter().any(|&layer| name == layer || layer.ends_with(b".") && name.starts_with(layer))
        {
            Self::Layer
        } else if begins(b"user.") || begins(b"trusted.") || begins(b"security.") {
            Self::File
        } else {
            Self::Unknown
        }
    }

    /// Returns whether attributes of this class are archived and restored.
    #[must_use]
    pub(crate) fn is_archived(self) -> bool {
        match self {
            Self::File | Self::Layer => true,
            Self::Host | Self::Unknown => false,
        }
    }
}

/// The extended attributes of a file: names and values, in the order of the names. By default nothing is known of them,
/// which is not the same as that there are none: most archives do not say.
///
/// ```
/// use voltar::xattrs::Xattrs;
///
/// let xattrs: Xattrs = [(b"user.note".to_vec(), b"hello".to_vec())].into_iter().collect();
/// assert_eq!(xattrs.get(b"user.note"), Some(&b"hello"[..]));
/// assert_eq!((xattrs.is_known(), Xattrs::default().is_known()), (true, false));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Xattrs(Option<Arc<BTreeMap<Vec<u8>, Vec<u8>>>>);

impl Xattrs {
    /// Returns whether they are known, be it that there are none.
    #[must_use]
    pub fn is_known(&self) -> bool {
        self.0.is_some()
    }

    /// Returns whether there are none, or none are known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(|map| map.is_empty())
    }

    /// Returns names and values, in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().flat_map(|map| map.iter()).map(|(name, value)| (&name[..], &value[..]))
    }

    /// Returns the value of the attribute `name`.
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.0.as_ref()?.get(name).map(Vec::as_slice)
    }

    /// Returns the length of all names and values, in bytes.
    #[must_use]
    pub(crate) fn bytes(&self) -> usize {
        self.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

/// The attributes with these names and values. If a name occurs twice, the last value counts.
impl FromIterator<(Vec<u8>, Vec<u8>)> for Xattrs {
    fn from_iter<I: IntoIterator<Item = (Vec<u8>, Vec<u8>)>>(attributes: I) -> Self {
        Self(Some(Arc::new(attributes.into_iter().collect())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_whose_an_attribute_is() {
        for (name, class) in [
            ("user.note", Class::File),
            ("user.DOSATTRIB", Class::File),
            ("trusted.note", Class::File),
            ("security.capability", Class::File),
            ("security.NTACL", Class::File),
            ("system.posix_acl_access", Class::File),
            ("system.posix_acl_default", Class::File),
            ("trusted.overlay.opaque", Class::Layer),
            ("user.containers.override_stat", Class::Layer),
            ("trusted.SGI_ACL_FILE", Class::Layer),
            ("trusted.link", Class::Layer),
            ("trusted.links", Class::File),
            ("security.selinux", Class::Host),
            ("security.SMACK64EXEC", Class::Host),
            ("security.ima", Class::Host),
            ("security.evm", Class::Host),
            ("system.nfs4_acl", Class::Unknown),
            ("btrfs.compression", Class::Unknown),
            ("com.apple.quarantine", Class::Unknown),
            ("user.", Class::Unknown),
            ("user", Class::Unknown),
            ("", Class::Unknown),
        ] {
            assert_eq!(Class::of(name.as_bytes()), class, "{name}");
        }
    }

    #[test]
    fn none_is_not_the_same_as_unknown() {
        let none = Xattrs::from_iter([]);
        assert!(none.is_known() && none.is_empty() && none != Xattrs::default());
        let pair = |value: &str| (b"user.a".to_vec(), value.as_bytes().to_vec());
        let twice: Xattrs = [pair("x"), pair("yz")].into_iter().collect();
        assert_eq!((twice.get(b"user.a"), twice.bytes()), (Some(&b"yz"[..]), 8));
    }
}
