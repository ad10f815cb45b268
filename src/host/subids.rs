//! The maps of ids that follow from subuid(5) and subgid(5): that of an engine with userns-remap (moby's `pkg/idtools`),
//! and that of a rootless engine (`RootlessKit`).

use std::fs::File;
use std::io;
use std::path::Path;

use crate::ids::{IdMap, IdRange};

/// The size limit of a file, in bytes.
const MOST_BYTES: u64 = 4 << 20;

/// The user and the group on this host that are root in containers, as (uid, gid).
pub(super) type ContainerRoot = (u32, u32);

/// The subordinate ids of the users of a host.
#[derive(Debug, Default)]
pub(super) struct SubIds {
    uids: Vec<Range>,
    gids: Vec<Range>,
    /// The names of users, by their ids.
    names: Vec<(u32, String)>,
}

/// A line of one of the files.
#[derive(Debug)]
struct Range {
    /// The name or the number of a user.
    owner: String,
    first: u32,
    count: u32,
}

impl SubIds {
    /// Reads the files of the host whose root directory is at `root` here.
    ///
    /// # Errors
    /// A file cannot be read.
    pub(super) fn of_host(root: &Path) -> io::Result<Self> {
        let root = File::open(root)?;
        let read = |path: &str| super::rooted::read(&root, Path::new(path), MOST_BYTES);
        Ok(Self::parse(&read("etc/subuid")?, &read("etc/subgid")?, &read("etc/passwd").unwrap_or_default()))
    }

    /// Parses the files. Lines that are malformed belong to no user.
    pub(super) fn parse(users: &str, groups: &str, passwd: &str) -> Self {
        let ranges = |text: &str| text.lines().filter_map(Range::parse).collect();
        let name = |line: &str| {
            let mut fields = line.split(':');
            let (name, uid) = (fields.next()?, fields.nth(1)?);
            Some((uid.parse().ok()?, name.to_owned()))
        };
        Self { uids: ranges(users), gids: ranges(groups), names: passwd.lines().filter_map(name).collect() }
    }

    /// Returns the map of an engine with userns-remap, and the user whose ranges it has. The engine maps the ids of
    /// containers to all ranges of that user, in the order of the files; it keeps the name of the user to itself, but
    /// names its root directory after the first ids.
    ///
    /// # Errors
    /// The reason why there is no such map.
    pub(super) fn remapped(&self, root: ContainerRoot) -> Result<(IdMap, String), String> {
        let (uid, gid) = root;
        let users = begin_at(&self.uids, uid);
        let groups = begin_at(&self.gids, gid);
        let none = |file: &str, id: u32| format!("/etc/{file} has no user whose ids begin at {id}");
        let (Some(user), Some(group)) = (users.first(), groups.first()) else {
            return Err(if users.is_empty() { none("subuid", uid) } else { none("subgid", gid) });
        };
        // An entry by number and one by name are the same user's; others with the same ids would not be.
        let both = users.iter().find(|user| groups.contains(user));
        let (user, group) = both.map_or((user, group), |both| (both, both));
        let map = |user: &str, group: &str| {
            IdMap::new(consecutive(&self.uids, &[user], Vec::new()), consecutive(&self.gids, &[group], Vec::new()))
                .map_err(|bad| format!("the ids of user '{user}' in /etc/subuid and /etc/subgid are no map: {bad}"))
        };
        let found = map(user, group)?;
        let mut others = users.iter().flat_map(|user| groups.iter().map(move |group| (user, group)));
        if both.is_none() && others.any(|(user, group)| map(user, group).as_ref() != Ok(&found)) {
            return Err(format!("in /etc/subuid and /etc/subgid the ids of several users begin at {uid} and {gid}"));
        }
        Ok((found, (*user).to_owned()))
    }

    /// Returns the map of a rootless engine: the user's own ids are root's, and the ranges of that user follow.
    ///
    /// # Errors
    /// The reason why there is no such map.
    pub(super) fn rootless(&self, (uid, gid): ContainerRoot) -> Result<IdMap, String> {
        let number = uid.to_string();
        let name = self.names.iter().find(|(of, _)| *of == uid).map(|(_, name)| name.as_str());
        let owners = [Some(number.as_str()), name].into_iter().flatten().collect::<Vec<_>>();
        let own = |host: u32| vec![IdRange { container: 0, host, count: 1 }];
        let (uids, gids) = (consecutive(&self.uids, &owners, own(uid)), consecutive(&self.gids, &owners, own(gid)));
        if uids.len() < 2 || gids.len() < 2 {
            let file = if uids.len() < 2 { "subuid" } else { "subgid" };
            return Err(format!("/etc/{file} has no ids of user {}", name.unwrap_or(&number)));
        }
        IdMap::new(uids, gids)
            .map_err(|bad| format!("the ids of user {uid} in /etc/subuid and /etc/subgid are no map: {bad}"))
    }
}

impl Range {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.trim().split(':');
        let range = Self {
            owner: fields.next()?.to_owned(),
            first: fields.next()?.parse().ok()?,
            count: fields.next()?.parse().ok()?,
        };
        fields.next().is_none().then_some(range)
    }
}

/// Returns the owners whose first range begins at `id`.
fn begin_at(ranges: &[Range], id: u32) -> Vec<&str> {
    let is_first = |(i, range): &(usize, &Range)| ranges.iter().take(*i).all(|earlier| earlier.owner != range.owner);
    let first = ranges.iter().enumerate().filter(is_first).map(|(_, range)| range);
    first.filter(|range| range.first == id).map(|range| range.owner.as_str()).collect()
}

/// Returns `map` with the ranges of these owners, whose ids in containers follow one another.
fn consecutive(ranges: &[Range], owners: &[&str], mut map: Vec<IdRange>) -> Vec<IdRange> {
    for range in ranges.iter().filter(|range| owners.contains(&range.owner.as_str())) {
        // Where the sum is too large, the range is not valid either.
        let container = map.last().map_or(0, |last: &IdRange| last.container.saturating_add(last.count));
        map.push(IdRange { container, host: range.first, count: range.count });
    }
    map
}

/// Returns the ids in the name of the root directory of an engine with userns-remap: `200000.200000`.
pub(super) fn container_root(directory: &Path) -> Option<ContainerRoot> {
    let (uid, gid) = directory.file_name()?.to_str()?.split_once('.')?;
    // `parse` accepts a sign.
    let id = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten();
    Some((id(uid)?, id(gid)?)).filter(|ids| *ids != (0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subids(users: &str, groups: &str) -> SubIds {
        SubIds::parse(users, groups, "root:x:0:0::/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n")
    }

    fn shown<E>(map: Result<IdMap, E>) -> Result<String, E> {
        map.map(|map| map.to_string())
    }

    #[test]
    fn a_remapped_engine_has_all_ranges_of_its_user_in_order() {
        let files = subids(
            "alice:100000:65536\ndockremap:200000:65536\nbroken\ndockremap:150000:10\n",
            "# x\ndockremap:300000:65536\n alice:100000:65536\n",
        );
        let (map, user) = files.remapped((200_000, 300_000)).unwrap();
        assert_eq!(user, "dockremap");
        assert_eq!(
            map.to_string(),
            "uids 0-65535 are 200000-265535, 65536-65545 are 150000-150009, gids 0-65535 are 300000-365535"
        );
        assert_eq!(files.remapped((100_000, 100_000)).unwrap().1, "alice", "also for --userns-remap=alice");
        let none = |file: &str, id: u32| Err(format!("/etc/{file} has no user whose ids begin at {id}"));
        assert_eq!(files.remapped((150_000, 300_000)), none("subuid", 150_000), "a later range");
        assert_eq!(files.remapped((200_000, 300_001)), none("subgid", 300_001));
    }

    #[test]
    fn users_whose_ids_begin_alike_are_told_apart() {
        let remapped = |users: &str, groups: &str| {
            subids(users, groups).remapped((5, 5)).map(|(map, user)| (map.to_string(), user))
        };
        let alike = Ok(("uids 0-9 are 5-14, gids likewise".to_owned(), "a".to_owned()));
        assert_eq!(remapped("a:5:10\nb:5:20", "a:5:10"), alike, "b has no groups");
        assert_eq!(remapped("a:5:10\n1000:5:10", "b:5:10"), alike, "all have the same ids");
        let several = remapped("a:5:10\nb:5:20", "c:5:10").unwrap_err();
        assert_eq!(several, "in /etc/subuid and /etc/subgid the ids of several users begin at 5 and 5");
        let overlapping = remapped("a:5:10\na:10:10", "a:5:10").unwrap_err();
        assert!(overlapping.ends_with("are no map: its range '10 10 10' overlaps an earlier one"), "{overlapping}");
        assert!(remapped("a:5:0", "a:5:1").unwrap_err().contains("is empty"));
        assert!(remapped("a:5:4294967295", "a:5:1").unwrap_err().contains("beyond the last one"));
        assert!(remapped(&"a:5:1\n".repeat(341), "a:5:1").unwrap_err().ends_with("it has more than 340 ranges"));
    }

    #[test]
    fn a_rootless_engine_has_its_users_own_id_and_then_the_ranges() {
        let files = subids("bob:1:9\nalice:100000:65536\n1000:500000:5", "alice:200000:65536");
        assert_eq!(
            shown(files.rootless((1000, 7))),
            Ok("uids 0 is 1000, 1-65536 are 100000-165535, 65537-65541 are 500000-500004, gids 0 is 7, \
                1-65536 are 200000-265535"
                .to_owned())
        );
        assert_eq!(shown(files.rootless((1001, 7))), Err("/etc/subuid has no ids of user 1001".to_owned()));
        assert_eq!(
            shown(subids("alice:5:5", "").rootless((1000, 7))),
            Err("/etc/subgid has no ids of user alice".to_owned())
        );
        assert!(subids("alice:1000:5", "alice:5:5").rootless((1000, 7)).unwrap_err().contains("overlaps"));
    }

    #[test]
    fn a_root_directory_is_named_after_the_ids_of_root() {
        let root = |path: &str| container_root(Path::new(path));
        assert_eq!(root("/var/lib/docker/200000.300000"), Some((200_000, 300_000)));
        for other in ["/var/lib/docker", "/1.", "/.1", "/+1.+1", "/1.2.3", "/0.0", "/docker.old", "/4294967296.0", "/"]
        {
            assert_eq!(root(other), None, "{other}");
        }
    }
}
