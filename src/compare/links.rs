//! Files of the live tree with several names, of which the archive has two as files of their own.

use std::collections::HashMap;

use crate::identity::FileId;
use crate::member::{Kind, Member, RelPath};
use crate::volume::walk::Entry;

/// The files that members were compared with and that have further names, by their inodes, each with the name of its member
/// and the number of names to come.
#[derive(Debug, Default)]
pub(super) struct LiveLinks(HashMap<FileId, (RelPath, u64)>);

impl LiveLinks {
    /// Returns the name of an earlier member of its own that is the same file in the live tree as `entry`.
    ///
    /// GNU tar stores only regular files and symbolic links as hard links, so a second name of another kind is none here.
    pub(super) fn other_name(&mut self, member: &Member, entry: &Entry) -> Option<RelPath> {
        if entry.inode.nlink < 2 || !matches!(member.kind, Kind::File { .. } | Kind::Symlink { .. }) {
            return None;
        }
        let (first, _) = self.0.entry(entry.inode.id).or_insert_with(|| (member.path.clone(), entry.inode.nlink - 1));
        let other = (*first != member.path).then(|| first.clone());
        if other.is_some() {
            self.linked(entry);
        }
        other
    }

    /// Notes that a further name of the file was found. Memory holds only files with names to come.
    pub(super) fn linked(&mut self, entry: &Entry) {
        if let Some((_, left)) = self.0.get_mut(&entry.inode.id) {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.0.remove(&entry.inode.id);
            }
        }
    }
}
