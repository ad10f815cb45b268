//! The limits of archives, for both sides: what is written can be read and restored. Whatever an archive or a tree holds,
//! memory and time stay in proportion to the length of the stream and to what lies on disk.
//!
//! A member beyond a limit is left out, by a backup as by a restore, and is an issue; all other members are not affected.
//! The limits are those of names in the archive, the prefix included, so that the members that a backup stores are those
//! that a restore accepts.

use std::fmt;

use crate::member::RelPath;

/// The longest name in a header, and the longest record of an extended header, in bytes: what the reader of a stream keeps
/// of one. It is far beyond [`LONGEST_NAME`], so that `list` prints in full what other programs have written.
pub const LONGEST_RECORD: u64 = 1 << 20;

/// The longest name of a member, in bytes: 16 times `PATH_MAX`. Longer paths than `PATH_MAX` exist, since programs can
/// create files relative to a directory; those that are extracted at the same time are held in memory.
pub const LONGEST_NAME: usize = 64 << 10;

/// The most components of a name. No path of one system call has more: `PATH_MAX` is 4,096, with a slash after each. Opening
/// a directory takes time in proportion to it.
pub const DEEPEST: usize = 2048;

/// The longest component of a name, in bytes: `NAME_MAX`, which the filesystems of Linux share.
pub const LONGEST_COMPONENT: usize = 255;

/// The longest target of a symbolic link, in bytes: `PATH_MAX` without the final NUL, for `symlink(2)`.
pub const LONGEST_TARGET: usize = 4095;

/// The most members of an archive of changes, and paths that are gone, together: reading it keeps 8 bytes of each, in a table
/// of up to twice that.
pub(crate) const MOST_CHANGES: u64 = 32 << 20;

/// The number of trees beyond a limit that are named in messages, for each archive. The others are counted.
pub(crate) const NAMED: u64 = 10;

/// The limit that a member exceeds, with its own value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Excess {
    /// [`LONGEST_RECORD`], in bytes.
    Record(u64),
    /// [`LONGEST_NAME`], in bytes.
    Name(usize),
    /// [`DEEPEST`], in components.
    Depth(usize),
    /// [`LONGEST_COMPONENT`], in bytes.
    Component(usize),
    /// [`LONGEST_TARGET`], in bytes.
    Target(usize),
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Record(bytes) => write!(f, "a header of {bytes} bytes, the limit is {LONGEST_RECORD}"),
            Self::Name(bytes) => write!(f, "a name of {bytes} bytes, the limit is {LONGEST_NAME}"),
            Self::Depth(depth) => write!(f, "a name of {depth} components, the limit is {DEEPEST}"),
            Self::Component(bytes) => write!(f, "a component of {bytes} bytes, the limit is {LONGEST_COMPONENT}"),
            Self::Target(bytes) => write!(f, "a link target of {bytes} bytes, the limit is {LONGEST_TARGET}"),
        }
    }
}

/// The measures of a name to which the limits apply.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extent {
    /// Its length in bytes, with a slash between components.
    pub bytes: usize,
    /// The number of its components.
    pub components: usize,
    /// The length of its longest component, in bytes.
    pub longest: usize,
}

impl Extent {
    /// Returns the extent of `name`.
    #[must_use]
    pub fn of(name: &RelPath) -> Self {
        let extent = Self { bytes: name.as_bytes().len(), ..Self::default() };
        name.components().fold(extent, |extent, component| Self {
            components: extent.components + 1,
            longest: extent.longest.max(component.len()),
            ..extent
        })
    }

    /// Returns the limit that a name of this extent exceeds; `None` if it is within all.
    #[must_use]
    pub fn excess(self) -> Option<Excess> {
        if self.components > DEEPEST {
            Some(Excess::Depth(self.components))
        } else if self.bytes > LONGEST_NAME {
            Some(Excess::Name(self.bytes))
        } else {
            (self.longest > LONGEST_COMPONENT).then_some(Excess::Component(self.longest))
        }
    }
}

/// Returns the limit that `name` exceeds; `None` if it is within all.
#[must_use]
pub fn excess(name: &RelPath) -> Option<Excess> {
    Extent::of(name).excess()
}

/// Returns the limit that the target of a symbolic link exceeds.
#[must_use]
pub fn target_excess(target: &[u8]) -> Option<Excess> {
    (target.len() > LONGEST_TARGET).then_some(Excess::Target(target.len()))
}

/// The members of an archive that are beyond a limit. Messages name the first trees of them, each by its top.
#[derive(Debug, Default)]
pub(crate) struct Skipped {
    count: u64,
    named: u64,
    /// The top of the last tree that was named.
    top: Option<RelPath>,
}

impl Skipped {
    /// Counts a member, and returns the name that a message gives; `None` if it lies in the tree that was named last, or if
    /// enough were named.
    pub(crate) fn add(&mut self, name: &RelPath, excess: Excess) -> Option<RelPath> {
        self.count += 1;
        let is_below = |top: &RelPath| top.is_above(name);
        if self.named == NAMED || self.top.as_ref().is_some_and(is_below) {
            return None;
        }
        self.named += 1;
        let top = match excess {
            Excess::Depth(_) => name.first(DEEPEST),
            Excess::Record(_) | Excess::Name(_) | Excess::Component(_) | Excess::Target(_) => name.clone(),
        };
        self.top = Some(top.clone());
        Some(top)
    }

    /// Returns how many members there are; `None` if each was named.
    pub(crate) fn count(&self) -> Option<u64> {
        (self.count > self.named).then_some(self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> RelPath {
        RelPath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn each_limit_has_two_sides() {
        let deep = |depth: usize| name(&vec!["d"; depth].join("/"));
        assert_eq!(excess(&deep(DEEPEST)), None);
        assert_eq!(excess(&deep(DEEPEST + 1)), Some(Excess::Depth(DEEPEST + 1)));
        let component = |bytes: usize| name(&format!("a/{}", "c".repeat(bytes)));
        assert_eq!(excess(&component(LONGEST_COMPONENT)), None);
        assert_eq!(excess(&component(LONGEST_COMPONENT + 1)), Some(Excess::Component(LONGEST_COMPONENT + 1)));
        let rest =
            |bytes: usize| name(&format!("{}{}", format!("{}/", "n".repeat(127)).repeat(511), "x".repeat(bytes)));
        assert_eq!(excess(&rest(128)), None);
        assert_eq!(excess(&rest(129)), Some(Excess::Name(LONGEST_NAME + 1)));
        assert_eq!(target_excess(&[b't'; LONGEST_TARGET]), None);
        assert_eq!(target_excess(&[b't'; LONGEST_TARGET + 1]), Some(Excess::Target(LONGEST_TARGET + 1)));
    }

    #[test]
    fn a_tree_is_named_once_and_many_are_counted() {
        let mut skipped = Skipped::default();
        let deep = |top: &str, more: usize| name(&format!("{top}{}", "/d".repeat(DEEPEST - 1 + more)));
        let top = skipped.add(&deep("a", 1), Excess::Depth(0)).unwrap();
        assert_eq!(top, deep("a", 0));
        assert_eq!(skipped.count(), None);
        for more in 2..50 {
            assert_eq!(skipped.add(&deep("a", more), Excess::Depth(0)), None);
        }
        assert_eq!(skipped.count(), Some(49));
        let named = (0..100).filter_map(|one| skipped.add(&deep(&format!("b{one}"), 1), Excess::Depth(0)));
        assert_eq!(named.count() as u64, NAMED - 1);
    }
}
