//! The metadata of the directories that an archive describes, until it can be applied: whatever is created in a directory
//! changes its time. Each directory is held once, by its name and the directory above, so that memory is in proportion to
//! the directories on disk, however long their paths are and however often an archive describes them.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use crate::member::{Metadata, RelPath};

/// The directories, as a tree.
#[derive(Debug, Default)]
pub(super) struct Described {
    /// Each after the one above it. The root, which is above the first ones, is not among them.
    directories: Vec<Directory>,
    root: Option<Metadata>,
    /// All names, one after the other.
    names: Vec<u8>,
    /// The index of each directory by a hash of the index above and its name; the next free hash after a collision.
    index: HashMap<u64, u32>,
    state: RandomState,
}

#[derive(Debug)]
struct Directory {
    /// The index of the directory above; [`ROOT`] for the root.
    above: u32,
    /// Where its name lies in `names`.
    name: (usize, usize),
    /// `None` for a directory on the way to others.
    metadata: Option<Metadata>,
}

const ROOT: u32 = u32::MAX;

impl Described {
    /// Sets the metadata of a directory; its last description counts.
    pub(super) fn set(&mut self, path: &RelPath, metadata: Metadata) {
        let mut at = ROOT;
        for name in path.components() {
            at = self.below(at, name);
        }
        match self.directories.get_mut(at as usize) {
            Some(directory) => directory.metadata = Some(metadata),
            None => self.root = Some(metadata),
        }
    }

    /// Returns the index of `name` in the directory `above`.
    fn below(&mut self, above: u32, name: &[u8]) -> u32 {
        let mut hash = self.state.hash_one((above, name));
        while let Some(&found) = self.index.get(&hash) {
            let directory = &self.directories[found as usize];
            if directory.above == above && self.name(directory) == name {
                return found;
            }
            hash = hash.wrapping_add(1);
        }
        let from = self.names.len();
        self.names.extend_from_slice(name);
        // A filesystem of 2^32 directories takes more memory than an address space of this process has names for.
        let index = self.directories.len() as u32;
        self.directories.push(Directory { above, name: (from, self.names.len()), metadata: None });
        self.index.insert(hash, index);
        index
    }

    fn name(&self, directory: &Directory) -> &[u8] {
        &self.names[directory.name.0..directory.name.1]
    }

    fn path<'a>(&'a self, mut directory: &'a Directory) -> RelPath {
        let mut names = vec![self.name(directory)];
        while let Some(above) = self.directories.get(directory.above as usize) {
            names.push(self.name(above));
            directory = above;
        }
        names.reverse();
        // They are components of valid paths.
        RelPath::parse(&names.join(&b'/')).unwrap_or_default()
    }

    /// Returns the directories that were described, each after those below it.
    pub(super) fn deepest_first(&self) -> impl Iterator<Item = (RelPath, Metadata)> {
        let described =
            self.directories.iter().rev().filter_map(|directory| Some((directory, directory.metadata.clone()?)));
        let below = described.map(|(directory, metadata)| (self.path(directory), metadata));
        below.chain(self.root.clone().map(|metadata| (RelPath::root(), metadata)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn of(mode: u32) -> Metadata {
        Metadata { mode, ..Metadata::default() }
    }

    proptest! {
        #[test]
        fn the_last_description_of_each_directory_is_returned(
            names in prop::collection::vec(prop::collection::vec(prop::sample::select(vec!["a", "b", "ab"]), 0..5), 0..40),
        ) {
            let (mut described, mut expected) = (Described::default(), BTreeMap::new());
            for (mode, names) in (0..).zip(&names) {
                let path = RelPath::parse(names.join("/").as_bytes()).unwrap();
                described.set(&path, of(mode));
                expected.insert(path, of(mode));
            }
            let found: Vec<_> = described.deepest_first().collect();
            for (at, (path, _)) in found.iter().enumerate() {
                prop_assert!(!found[..at].iter().any(|(before, _)| before.is_above(path)), "{path:?}");
            }
            prop_assert_eq!(found.len(), expected.len());
            prop_assert_eq!(found.into_iter().collect::<BTreeMap<_, _>>(), expected);
        }
    }

    #[test]
    fn a_path_that_is_described_again_takes_no_memory() {
        let deep = RelPath::parse(&b"d/".repeat(2000)).unwrap();
        let mut described = Described::default();
        for mode in 0..100 {
            described.set(&deep, of(mode));
        }
        assert_eq!((described.directories.len(), described.names.len(), described.index.len()), (2000, 2000, 2000));
        assert_eq!(described.deepest_first().collect::<Vec<_>>(), [(deep, of(99))]);
    }
}
