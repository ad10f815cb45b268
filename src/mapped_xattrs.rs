//! Extended attributes that hold user and group ids, with the ids that containers see and those on disk: ACLs, and the
//! capabilities of a program, which are those of one user namespace (`capabilities(7)`, "Namespaced file capabilities").

use crate::acl::Acl;
use crate::ids::IdMap;
use crate::xattrs::{ACCESS_ACL, CAPABILITY, DEFAULT_ACL, Xattrs};

/// The revisions of the value of `security.capability` (`linux/capability.h`), and their lengths: for the initial user
/// namespace, and for the one whose root user is given at the end.
const REVISION_2: u8 = 2;
const LENGTH_2: usize = 20;
const REVISION_3: u8 = 3;
const LENGTH_3: usize = 24;

/// Returns the attributes that a container sees of a file that has `xattrs` on disk, and what it does not see: each as
/// part of a message.
pub(crate) fn to_container(ids: &IdMap, xattrs: &Xattrs) -> (Xattrs, Vec<String>) {
    let (user, group) = (|id| ids.user_to_container(id), |id| ids.group_to_container(id));
    translate(ids, xattrs, user, group, "in the container")
}

/// Returns the attributes on disk of a file of which a container sees `xattrs`, and what cannot be on disk: each as part
/// of a message.
pub(crate) fn to_host(ids: &IdMap, xattrs: &Xattrs) -> (Xattrs, Vec<String>) {
    translate(ids, xattrs, |id| ids.user_to_host(id), |id| ids.group_to_host(id), "on this host")
}

fn translate(
    ids: &IdMap,
    xattrs: &Xattrs,
    user: impl Fn(u32) -> Option<u32>,
    group: impl Fn(u32) -> Option<u32>,
    side: &str,
) -> (Xattrs, Vec<String>) {
    if ids.is_identity() || xattrs.is_empty() {
        return (xattrs.clone(), Vec::new());
    }
    let mut left_out = Vec::new();
    let mut one = |name: &[u8], value: &[u8]| match name {
        ACCESS_ACL | DEFAULT_ACL => {
            let Some((acl, unmapped)) = Acl::from_xattr(value).and_then(|acl| acl.translate(&user, &group)) else {
                left_out.push("its ACL is malformed".to_owned());
                return None;
            };
            if unmapped > 0 {
                left_out.push(format!("its ACL has {unmapped} entries for users or groups that have no id {side}"));
            }
            Some(acl.to_xattr())
        }
        CAPABILITY => {
            let translated = capability(value, &user);
            if translated.is_none() {
                left_out.push(format!("its capabilities are of a user namespace whose root has no id {side}"));
            }
            translated
        }
        _ => Some(value.to_vec()),
    };
    let xattrs = xattrs.iter().filter_map(|(name, value)| Some((name.to_vec(), one(name, value)?))).collect();
    (xattrs, left_out)
}

/// Returns the capabilities for the namespace whose root has another id. Without an id they are those of the namespace
/// in which they are read: of the container in an archive, of the host on disk.
fn capability(value: &[u8], user: impl Fn(u32) -> Option<u32>) -> Option<Vec<u8>> {
    let root = match (value.get(3)?, value.len()) {
        (&REVISION_2, LENGTH_2) => 0,
        (&REVISION_3, LENGTH_3) => u32::from_le_bytes(*value.last_chunk()?),
        _ => return None,
    };
    let root = user(root)?;
    let mut translated = value[..LENGTH_2].to_vec();
    translated[3] = if root == 0 { REVISION_2 } else { REVISION_3 };
    if root != 0 {
        translated.extend(root.to_le_bytes());
    }
    Some(translated)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::IdRange;

    /// A map as of userns-remap.
    fn ids() -> IdMap {
        let ranges = || vec![IdRange { container: 0, host: 200_000, count: 1000 }];
        IdMap::new(ranges(), ranges()).unwrap()
    }

    fn acl(text: &str) -> Vec<u8> {
        Acl::from_text(text.as_bytes()).unwrap().acl.to_xattr()
    }

    fn xattrs(attributes: &[(&[u8], Vec<u8>)]) -> Xattrs {
        attributes.iter().map(|(name, value)| (name.to_vec(), value.clone())).collect()
    }

    /// `cap_net_raw+ep`, as `setcap` writes it.
    fn net_raw(root: Option<u32>) -> Vec<u8> {
        let mut value = vec![1, 0, 0, if root.is_some() { 3 } else { 2 }, 0, 0x20];
        value.resize(LENGTH_2, 0);
        value.extend(root.iter().flat_map(|root| root.to_le_bytes()));
        value
    }

    #[test]
    fn ids_of_acls_are_mapped_like_owners() {
        let inside = xattrs(&[
            (ACCESS_ACL, acl("user::rwx,user:70:rwx,group::r-x,group:7:r--,mask::rwx,other::---")),
            (b"user.note", b"x".to_vec()),
        ]);
        let on_disk = xattrs(&[
            (ACCESS_ACL, acl("user::rwx,user:200070:rwx,group::r-x,group:200007:r--,mask::rwx,other::---")),
            (b"user.note", b"x".to_vec()),
        ]);
        assert_eq!(to_host(&ids(), &inside), (on_disk.clone(), vec![]));
        assert_eq!(to_container(&ids(), &on_disk), (inside.clone(), vec![]));
        assert_eq!(to_host(&IdMap::default(), &inside), (inside, vec![]));
    }

    #[test]
    fn an_id_that_is_not_mapped_is_left_out_and_named() {
        let some = |text| xattrs(&[(DEFAULT_ACL, acl(text))]);
        let (mapped, left_out) = to_container(
            &ids(),
            &some("user::rwx,user:70:rwx,user:200001:r--,group::r-x,group:9:r--,mask::rwx,other::---"),
        );
        assert_eq!(mapped, some("user::rwx,user:1:r--,group::r-x,mask::rwx,other::---"));
        assert_eq!(left_out, ["its ACL has 2 entries for users or groups that have no id in the container"]);
        let (mapped, left_out) = to_host(&ids(), &some("user::rwx,user:1000:rwx,group::r-x,mask::rwx,other::---"));
        assert_eq!(mapped, some("user::rwx,group::r-x,mask::rwx,other::---"));
        assert_eq!(left_out, ["its ACL has 1 entries for users or groups that have no id on this host"]);
    }

    /// Capabilities for the host's own namespace would be more than a container can give.
    #[test]
    fn capabilities_are_those_of_the_containers_namespace() {
        let some = |value: Vec<u8>| xattrs(&[(CAPABILITY, value)]);
        assert_eq!(to_host(&ids(), &some(net_raw(None))), (some(net_raw(Some(200_000))), vec![]));
        assert_eq!(to_container(&ids(), &some(net_raw(Some(200_000)))), (some(net_raw(None)), vec![]));
        assert_eq!(to_host(&ids(), &some(net_raw(Some(9)))), (some(net_raw(Some(200_009))), vec![]));
        let (mapped, left_out) = to_container(&ids(), &some(net_raw(None)));
        assert!(mapped.is_empty() && left_out.len() == 1, "the host's own: {mapped:?}");
        for malformed in [&b""[..], b"\x01\0\0\x02", &[3; 25], &[2; 24], &[1; 12]] {
            let (mapped, left_out) = to_host(&ids(), &some(malformed.to_vec()));
            assert!(mapped.is_empty() && left_out.len() == 1, "{malformed:?}");
        }
    }
}
