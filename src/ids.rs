//! User and group ids as containers see them, and as files on this host have them. They differ where containers run in a
//! user namespace (`user_namespaces(7)`): an engine with userns-remap, and a rootless engine. Archives hold the ids that
//! containers see.

use std::fmt;
use std::sync::Arc;

use crate::error::Error;
use crate::member::Metadata;
use crate::xattrs::Xattrs;

/// The most ranges of a map, for user ids and for group ids each: the kernel's limit (`UID_GID_MAP_MAX_EXTENTS`).
const MOST_RANGES: usize = 340;
/// The number of valid ids: the last of 32 bits, `(uid_t) -1`, stands for "no id".
const ALL_IDS: u32 = u32::MAX;

/// Consecutive ids of a container, and the consecutive ids of the host that they are mapped to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdRange {
    /// The first id in the container.
    pub container: u32,
    /// The first id on the host.
    pub host: u32,
    /// The number of ids.
    pub count: u32,
}

/// A map between the ids of a container and those of the host. The default maps each id to itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdMap(Option<Arc<Ranges>>);

#[derive(Debug, PartialEq, Eq)]
struct Ranges {
    uids: Vec<IdRange>,
    gids: Vec<IdRange>,
}

/// Whether an id is that of a user or of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdKind {
    /// A user id.
    Uid,
    /// A group id.
    Gid,
}

impl fmt::Display for IdKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Uid => "uid",
            Self::Gid => "gid",
        })
    }
}

/// An id that a map does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmapped {
    /// Whether it is a user id or a group id.
    pub kind: IdKind,
    /// The id.
    pub id: u32,
    /// The ids that the map has on that side: "200000-265535".
    pub mapped: String,
}

impl Unmapped {
    /// Returns the error of a file on disk, and of as many `more` files, that has this id.
    pub(crate) fn on_disk(&self, path: impl fmt::Display, more: u64) -> Error {
        let Self { kind, id, mapped } = self;
        let likewise = if more == 0 { String::new() } else { format!(" (and {more} more like it)") };
        Error::refused(format!("'{path}' belongs to {kind} {id}, which has no id in the container{likewise}")).hint(format!(
            "a container sees 65534 (nobody) there, and `tar` in it would store that; if this is the container's, change the \
             owner (chown) to one of the {kind}s {mapped}"
        ))
    }

    /// Returns the error of a member of an archive that has this id.
    pub(crate) fn in_archive(&self, path: impl fmt::Display) -> Error {
        let Self { kind, id, mapped } = self;
        let file = match kind {
            IdKind::Uid => "/etc/subuid",
            IdKind::Gid => "/etc/subgid",
        };
        Error::refused(format!("'{path}' belongs to {kind} {id} in the archive, which has no id on this host"))
            .hint(format!("the engine maps the {kind}s {mapped} of containers: give it more in {file} and restart it"))
    }
}

/// The reason why ranges are no map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadIdMap {
    /// There is no range.
    Empty,
    /// There are more ranges than the kernel accepts.
    TooMany,
    /// A range has no ids, or reaches beyond the last valid id.
    Range(IdRange),
    /// A range has ids of an earlier one.
    Overlap(IdRange),
    /// A line is not three numbers.
    Malformed,
}

impl fmt::Display for BadIdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |IdRange { container, host, count }: &IdRange| format!("{container} {host} {count}");
        match self {
            Self::Empty => f.write_str("it maps no id"),
            Self::TooMany => write!(f, "it has more than {MOST_RANGES} ranges"),
            Self::Range(range) => write!(f, "its range '{}' is empty or has ids beyond the last one", show(range)),
            Self::Overlap(range) => write!(f, "its range '{}' overlaps an earlier one", show(range)),
            Self::Malformed => f.write_str("a line is not three numbers"),
        }
    }
}

impl std::error::Error for BadIdMap {}

impl IdMap {
    /// Returns the map that consists of these ranges.
    ///
    /// # Errors
    /// The ranges of the users or of the groups are not such as the kernel would accept.
    pub fn new(uids: Vec<IdRange>, gids: Vec<IdRange>) -> Result<Self, BadIdMap> {
        check(&uids)?;
        check(&gids)?;
        let is_identity = |ranges: &[IdRange]| matches!(ranges, [IdRange { container: 0, host: 0, count: ALL_IDS }]);
        if is_identity(&uids) && is_identity(&gids) {
            return Ok(Self::default());
        }
        Ok(Self(Some(Arc::new(Ranges { uids, gids }))))
    }

    /// Parses the `uid_map` and the `gid_map` of a process, as `/proc/PID` has them.
    ///
    /// # Errors
    /// A line is not three numbers; or as [`Self::new`].
    pub fn parse(uid_map: &str, gid_map: &str) -> Result<Self, BadIdMap> {
        Self::new(parse(uid_map)?, parse(gid_map)?)
    }

    /// Returns whether it maps each id to itself.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.0.is_none()
    }

    /// Returns whether users and groups have one range each.
    pub(crate) fn is_single(&self) -> bool {
        self.0.as_ref().is_none_or(|ranges| ranges.uids.len() == 1 && ranges.gids.len() == 1)
    }

    /// Returns the number of mapped ids, users and groups together.
    pub(crate) fn len(&self) -> u64 {
        let count = |ranges: &[IdRange]| ranges.iter().map(|range| u64::from(range.count)).sum::<u64>();
        self.0.as_ref().map_or(2 * u64::from(ALL_IDS), |ranges| count(&ranges.uids) + count(&ranges.gids))
    }

    /// Returns the metadata that a container sees of a file that has `metadata` on disk. Extended attributes, which may have
    /// ids too, are left to the caller.
    ///
    /// # Errors
    /// Its user or its group has no id in the container, which would see 65534 ("nobody").
    pub fn to_container(&self, metadata: &Metadata) -> Result<Metadata, Unmapped> {
        self.translate(metadata, |range| (range.host, range.container))
    }

    /// Returns the metadata on disk of a file of which a container sees `metadata`.
    ///
    /// # Errors
    /// Its user or its group has no id on this host.
    pub fn to_host(&self, metadata: &Metadata) -> Result<Metadata, Unmapped> {
        self.translate(metadata, |range| (range.container, range.host))
    }

    /// Returns the user id that a container sees of the user `id` of this host.
    pub(crate) fn user_to_container(&self, id: u32) -> Option<u32> {
        self.user(id, |range| (range.host, range.container))
    }

    /// Returns the group id that a container sees of the group `id` of this host.
    pub(crate) fn group_to_container(&self, id: u32) -> Option<u32> {
        self.group(id, |range| (range.host, range.container))
    }

    /// Returns the user id on this host of the user `id` of a container.
    pub(crate) fn user_to_host(&self, id: u32) -> Option<u32> {
        self.user(id, |range| (range.container, range.host))
    }

    /// Returns the group id on this host of the group `id` of a container.
    pub(crate) fn group_to_host(&self, id: u32) -> Option<u32> {
        self.group(id, |range| (range.container, range.host))
    }

    fn user(&self, id: u32, sides: fn(&IdRange) -> (u32, u32)) -> Option<u32> {
        let Some(ranges) = &self.0 else { return Some(id) };
        translate(&ranges.uids, IdKind::Uid, id, sides).ok()
    }

    fn group(&self, id: u32, sides: fn(&IdRange) -> (u32, u32)) -> Option<u32> {
        let Some(ranges) = &self.0 else { return Some(id) };
        translate(&ranges.gids, IdKind::Gid, id, sides).ok()
    }

    fn translate(&self, metadata: &Metadata, sides: fn(&IdRange) -> (u32, u32)) -> Result<Metadata, Unmapped> {
        let Some(ranges) = &self.0 else { return Ok(metadata.clone()) };
        Ok(Metadata {
            uid: translate(&ranges.uids, IdKind::Uid, metadata.uid, sides)?,
            gid: translate(&ranges.gids, IdKind::Gid, metadata.gid, sides)?,
            mode: metadata.mode,
            mtime: metadata.mtime,
            xattrs: Xattrs::default(),
        })
    }

    /// Returns the ids on the host of the container's root, as (uid, gid); `None` if the ids are the same or not mapped.
    #[must_use]
    pub fn container_root(&self) -> Option<(u32, u32)> {
        let root = self.to_host(&Metadata::default()).ok()?;
        (!self.is_identity()).then_some((root.uid, root.gid))
    }
}

/// Shows what is mapped: "uids 0-65535 are 200000-265535, gids likewise".
impl fmt::Display for IdMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(ranges) = &self.0 else { return f.write_str("all ids are the same") };
        let show = |ranges: &[IdRange]| {
            let one = |range: &IdRange| {
                let is = if range.count == 1 { "is" } else { "are" };
                format!("{} {is} {}", ids(range.container, range.count), ids(range.host, range.count))
            };
            enumerated(ranges.iter().map(one))
        };
        let (uids, gids) = (show(&ranges.uids), show(&ranges.gids));
        write!(f, "uids {uids}, gids {}", if uids == gids { "likewise" } else { &gids })
    }
}

fn translate(ranges: &[IdRange], kind: IdKind, id: u32, sides: fn(&IdRange) -> (u32, u32)) -> Result<u32, Unmapped> {
    let found = ranges.iter().find_map(|range| {
        let (from, to) = sides(range);
        id.checked_sub(from).filter(|offset| *offset < range.count).map(|offset| to + offset)
    });
    found.ok_or_else(|| {
        let mapped = enumerated(ranges.iter().map(|range| ids(sides(range).0, range.count)));
        Unmapped { kind, id, mapped }
    })
}

/// Lists the first ranges, which are all of an ordinary map.
fn enumerated(ranges: impl ExactSizeIterator<Item = String>) -> String {
    const SHOWN: usize = 3;
    let more = ranges.len().saturating_sub(SHOWN);
    let mut shown: Vec<String> = ranges.take(SHOWN).collect();
    if more > 0 {
        shown.push(format!("{more} more ranges"));
    }
    shown.join(", ")
}

fn ids(first: u32, count: u32) -> String {
    if count == 1 { first.to_string() } else { format!("{first}-{}", first + (count - 1)) }
}

fn check(ranges: &[IdRange]) -> Result<(), BadIdMap> {
    match ranges.len() {
        0 => return Err(BadIdMap::Empty),
        1..=MOST_RANGES => {}
        _ => return Err(BadIdMap::TooMany),
    }
    let overlap = |a: u32, a_count: u32, b: u32, b_count: u32| a < b + b_count && b < a + a_count;
    for (i, range) in ranges.iter().enumerate() {
        let ends = |first: u32| first.checked_add(range.count).is_some();
        if range.count == 0 || !ends(range.container) || !ends(range.host) {
            return Err(BadIdMap::Range(*range));
        }
        let clashes = |earlier: &IdRange| {
            overlap(earlier.container, earlier.count, range.container, range.count)
                || overlap(earlier.host, earlier.count, range.host, range.count)
        };
        if ranges.iter().take(i).any(clashes) {
            return Err(BadIdMap::Overlap(*range));
        }
    }
    Ok(())
}

fn parse(text: &str) -> Result<Vec<IdRange>, BadIdMap> {
    let mut ranges = Vec::new();
    for line in text.lines() {
        let mut numbers = line.split_ascii_whitespace().map(|number| number.parse().map_err(|_| BadIdMap::Malformed));
        let mut next = || numbers.next().unwrap_or(Err(BadIdMap::Malformed));
        ranges.push(IdRange { container: next()?, host: next()?, count: next()? });
        if numbers.next().is_some() {
            return Err(BadIdMap::Malformed);
        }
        if ranges.len() > MOST_RANGES {
            return Err(BadIdMap::TooMany);
        }
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(container: u32, host: u32, count: u32) -> IdRange {
        IdRange { container, host, count }
    }

    fn owner(uid: u32, gid: u32) -> Metadata {
        Metadata { uid, gid, mode: 0o4755, ..Metadata::default() }
    }

    #[test]
    fn users_and_groups_have_maps_of_their_own() {
        let map =
            IdMap::new(vec![range(0, 200_000, 65_536), range(65_536, 150_000, 10)], vec![range(0, 300_000, 1000)])
                .unwrap();
        for (host, container) in
            [((200_000, 300_000), (0, 0)), ((200_999, 300_999), (999, 999)), ((150_009, 300_001), (65_545, 1))]
        {
            let (host, container) = (owner(host.0, host.1), owner(container.0, container.1));
            assert_eq!(map.to_container(&host), Ok(container.clone()));
            assert_eq!(map.to_host(&container), Ok(host));
        }
        let unmapped = |kind, id, mapped: &str| Unmapped { kind, id, mapped: mapped.to_owned() };
        let uids = "200000-265535, 150000-150009";
        assert_eq!(map.to_container(&owner(0, 300_000)), Err(unmapped(IdKind::Uid, 0, uids)));
        assert_eq!(map.to_container(&owner(265_536, 300_000)), Err(unmapped(IdKind::Uid, 265_536, uids)));
        assert_eq!(map.to_container(&owner(200_000, 301_000)), Err(unmapped(IdKind::Gid, 301_000, "300000-300999")));
        assert_eq!(map.to_host(&owner(65_546, 0)), Err(unmapped(IdKind::Uid, 65_546, "0-65535, 65536-65545")));
        assert_eq!(map.to_host(&owner(0, 1000)), Err(unmapped(IdKind::Gid, 1000, "0-999")));
        assert_eq!(map.container_root(), Some((200_000, 300_000)));
        assert_eq!(
            map.to_string(),
            "uids 0-65535 are 200000-265535, 65536-65545 are 150000-150009, gids 0-999 are 300000-300999"
        );
    }

    #[test]
    fn the_initial_user_namespace_maps_each_id_to_itself() {
        let all = "         0          0 4294967295\n";
        let map = IdMap::parse(all, all).unwrap();
        assert!(map.is_identity() && map == IdMap::default() && map.container_root().is_none());
        assert_eq!(map.to_host(&owner(u32::MAX - 1, 7)), Ok(owner(u32::MAX - 1, 7)));
        assert!(!IdMap::parse("0 0 65536", all).unwrap().is_identity(), "other ids are not mapped");
    }

    #[test]
    fn a_rootless_engine_maps_its_user_to_root() {
        let text = "0 1000 1\n1 100000 65536\n";
        let map = IdMap::parse(text, text).unwrap();
        assert_eq!(map.to_container(&owner(1000, 100_000)), Ok(owner(0, 1)));
        assert_eq!(map.to_string(), "uids 0 is 1000, 1-65536 are 100000-165535, gids likewise");
    }

    #[test]
    fn what_the_kernel_would_not_accept_is_no_map() {
        let map = |text: &str| IdMap::parse(text, "0 0 1").map(|_| ());
        assert_eq!(map(""), Err(BadIdMap::Empty));
        for (container, host, count) in [(0, 0, 0), (1, 0, u32::MAX), (0, 1, u32::MAX), (u32::MAX, 0, 1)] {
            let expected = Err(BadIdMap::Range(range(container, host, count)));
            assert_eq!(map(&format!("{container} {host} {count}")), expected);
        }
        assert_eq!(map("0 0 4294967295"), Ok(()));
        assert_eq!(map("0 5 10\n9 100 1"), Err(BadIdMap::Overlap(range(9, 100, 1))));
        assert_eq!(map("0 5 10\n10 14 1"), Err(BadIdMap::Overlap(range(10, 14, 1))));
        assert_eq!(map("0 5 10\n10 15 1"), Ok(()));
        for malformed in ["0 0", "0 0 1 1", "x 0 1", "-1 0 1", "0 0 4294967296", "0:0:1", "\n"] {
            assert_eq!(map(malformed), Err(BadIdMap::Malformed), "{malformed}");
        }
        let lines = |count: u32| (0..count).map(|i| format!("{i} {i} 1")).collect::<Vec<_>>().join("\n");
        assert_eq!((map(&lines(340)), map(&lines(341))), (Ok(()), Err(BadIdMap::TooMany)));
        let ranges = |count: u32| (0..count).map(|i| range(i, i, 1)).collect();
        assert_eq!(IdMap::new(ranges(341), ranges(1)), Err(BadIdMap::TooMany));
        assert_eq!(IdMap::new(ranges(1), ranges(0)), Err(BadIdMap::Empty));
        let many = IdMap::new(ranges(5), ranges(1)).unwrap();
        assert_eq!(many.to_host(&owner(9, 0)).unwrap_err().mapped, "0, 1, 2, 2 more ranges");
    }

    /// Ranges as an engine lays them out, in any order on the host.
    fn ranges() -> impl Strategy<Value = Vec<IdRange>> {
        let piece = (1..100_000_u32, 0..1000_u32);
        prop::collection::vec(piece, 1..12).prop_flat_map(|pieces| {
            let (mut container, mut host, mut ranges) = (0, 0, Vec::new());
            for (count, gap) in pieces {
                host += gap;
                ranges.push(range(container, host, count));
                (container, host) = (container + count, host + count);
            }
            Just(ranges).prop_shuffle()
        })
    }

    proptest! {
        #[test]
        fn each_id_is_that_of_one_other(uids in ranges(), gids in ranges(), uid in 0..1_500_000_u32, gid in 0..1_500_000_u32) {
            let map = IdMap::new(uids, gids).unwrap();
            let id = owner(uid, gid);
            if let Ok(host) = map.to_host(&id) {
                prop_assert_eq!(map.to_container(&host), Ok(id.clone()));
            }
            if let Ok(container) = map.to_container(&id) {
                prop_assert_eq!(map.to_host(&container), Ok(id));
            }
        }

        #[test]
        fn no_map_panics(lines in prop::collection::vec(any::<(u32, u32, u32)>(), 0..9), uid in any::<u32>()) {
            let ranges: Vec<_> = lines.into_iter().map(|(container, host, count)| range(container, host, count)).collect();
            if let Ok(map) = IdMap::new(ranges, vec![range(0, 0, 1)]) {
                prop_assert!(map.to_host(&owner(uid, 0)).is_ok_and(|it| map.to_container(&it).is_ok()) || map.to_host(&owner(uid, 0)).is_err());
                prop_assert!(!map.to_string().is_empty());
            }
        }
    }
}
