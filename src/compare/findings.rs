//! What a comparison has seen and found.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;

use crate::difference::{Attribute, Difference, Differences, What};
use crate::member::{Kind, Member, RelPath};

/// How many differences of an archive are listed; the others are only counted.
const LISTED: usize = 100;

/// The paths that both the archive and the tree have, as hashes with a random key: each with whether its member differs.
#[derive(Debug, Default)]
pub(super) struct Seen {
    state: RandomState,
    hashes: HashMap<u64, bool>,
}

impl Seen {
    /// Adds a member; returns whether an earlier one of the same path differed.
    pub(super) fn insert(&mut self, path: &RelPath, differs: bool) -> Option<bool> {
        let before = self.hashes.insert(self.state.hash_one(path), differs);
        // Directories on the way need no members of their own: a restore makes them.
        let mut path = path.clone();
        while let Some((parent, _)) = path.split_last() {
            let hash = self.state.hash_one(&parent);
            if self.hashes.contains_key(&hash) {
                break;
            }
            self.hashes.insert(hash, false);
            path = parent;
        }
        before
    }

    pub(super) fn contains(&self, path: &RelPath) -> bool {
        self.hashes.contains_key(&self.state.hash_one(path))
    }
}

/// The differences that were found: all are counted, and the first are listed.
#[derive(Debug, Default)]
pub(super) struct Findings {
    listed: Vec<Difference>,
    counts: Differences,
    /// The last directory that only the archive has: what lies in it is no difference of its own.
    missing: Option<RelPath>,
    /// How many such findings each directory has, by a hash with a random key.
    absent_in: HashMap<u64, u64>,
    state: RandomState,
}

impl Findings {
    /// Adds a member that the tree does not have.
    pub(super) fn only_in_archive(&mut self, member: &Member) {
        let is_covered = self.missing.as_ref().is_some_and(|missing| member.path.strip_prefix(missing).is_some());
        if is_covered || self.listed.iter().any(|listed| listed.path == member.path) {
            return;
        }
        let is_directory = member.kind == Kind::Directory;
        if is_directory {
            self.missing = Some(member.path.clone());
        }
        if let Some((parent, _)) = member.path.split_last() {
            *self.absent_in.entry(self.state.hash_one(&parent)).or_default() += 1;
        }
        self.add(Difference { path: member.path.clone(), is_directory, what: What::OnlyInArchive });
    }

    /// Removes what the tree does not have in a directory that a later member replaces (`tar -r`).
    pub(super) fn replaced(&mut self, directory: &RelPath) {
        if self.absent_in.is_empty() {
            return;
        }
        if let Some(count) = self.absent_in.remove(&self.state.hash_one(directory)) {
            self.counts.only_in_archive -= count;
            self.listed.retain(|listed| {
                let is_in = listed.path.split_last().is_some_and(|(parent, _)| parent == *directory);
                !(is_in && listed.what == What::OnlyInArchive)
            });
        }
    }

    /// Adds the attributes in which a member differs; if there are none, it does not.
    pub(super) fn attributes(&mut self, path: &RelPath, attributes: Vec<Attribute>) {
        if !attributes.is_empty() {
            self.add(Difference { path: path.clone(), is_directory: false, what: What::Attributes(attributes) });
        }
    }

    /// Removes the attributes of an earlier member of this path.
    pub(super) fn retract(&mut self, path: &RelPath) {
        self.counts.differing = self.counts.differing.saturating_sub(1);
        self.listed.retain(|listed| listed.path != *path);
    }

    pub(super) fn add(&mut self, difference: Difference) {
        let count = match difference.what {
            What::OnlyInArchive => &mut self.counts.only_in_archive,
            What::OnlyInVolume => &mut self.counts.only_in_volume,
            What::Attributes(_) => &mut self.counts.differing,
        };
        *count += 1;
        if self.listed.len() < LISTED {
            self.listed.push(difference);
        }
    }

    /// Returns what is listed, by path, and the counts.
    pub(super) fn sorted(mut self) -> (Vec<Difference>, Differences) {
        self.listed.sort_by(|a, b| a.path.components().cmp(b.path.components()));
        let unlisted = self.counts.total() - self.listed.len() as u64;
        (self.listed, Differences { unlisted, ..self.counts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::Metadata;

    fn path(name: &str) -> RelPath {
        RelPath::parse(name.as_bytes()).unwrap()
    }

    fn member(name: &str, kind: Kind) -> Member {
        Member { path: path(name), kind, metadata: Metadata::default() }
    }

    #[test]
    fn what_lies_in_a_missing_directory_is_no_difference_of_its_own() {
        let mut findings = Findings::default();
        for (name, kind) in
            [("a", Kind::Directory), ("a/b", Kind::Directory), ("a/b/c", Kind::Fifo), ("ab", Kind::Fifo)]
        {
            findings.only_in_archive(&member(name, kind));
        }
        let (listed, counts) = findings.sorted();
        assert_eq!(listed.iter().map(|one| one.path.to_string()).collect::<Vec<_>>(), ["a", "ab"]);
        assert_eq!((counts.only_in_archive, counts.unlisted), (2, 0));
    }

    #[test]
    fn what_lies_in_a_directory_that_was_replaced_is_none() {
        let mut findings = Findings::default();
        findings.only_in_archive(&member("a", Kind::Fifo));
        for i in 0..=LISTED {
            findings.only_in_archive(&member(&format!("b/{i:09}"), Kind::Fifo));
        }
        findings.only_in_archive(&member("bc/d", Kind::Fifo));
        for replaced in ["b", "c", "b"] {
            findings.replaced(&path(replaced));
        }
        let (listed, counts) = findings.sorted();
        assert_eq!(listed.iter().map(|one| one.path.to_string()).collect::<Vec<_>>(), ["a"]);
        assert_eq!((counts.only_in_archive, counts.unlisted), (2, 1));
    }

    #[test]
    fn all_are_counted_and_the_first_are_listed() {
        for count in [LISTED, LISTED + 1] {
            let mut findings = Findings::default();
            for i in 0..count {
                findings.only_in_archive(&member(&format!("{i:09}"), Kind::Fifo));
            }
            let (listed, counts) = findings.sorted();
            assert_eq!(
                (listed.len(), counts.total(), counts.unlisted),
                (LISTED, count as u64, (count - LISTED) as u64)
            );
        }
    }

    #[test]
    fn the_last_member_of_a_path_counts() {
        let (mut seen, mut findings) = (Seen::default(), Findings::default());
        let differs = || vec![Attribute { name: "content", values: None }];
        assert_eq!(seen.insert(&path("a/b"), true), None);
        findings.attributes(&path("a/b"), differs());
        assert!(seen.contains(&path("a")) && !seen.contains(&path("b")));
        assert_eq!(seen.insert(&path("a/b"), false), Some(true));
        findings.retract(&path("a/b"));
        assert_eq!(findings.sorted(), (Vec::new(), Differences::default()));
    }
}
