//! The extended attributes of directories, each set of them once: most directories of a tree have the same ACL. They are
//! kept until the end, since what is created in a directory would inherit its ACL.

use std::collections::HashSet;

use crate::xattrs::Xattrs;

/// The sets of attributes.
#[derive(Debug, Default)]
pub(super) struct SharedXattrs {
    sets: HashSet<Xattrs>,
    bytes: usize,
}

/// There are more attributes of directories than are kept.
pub(super) struct TooMany;

impl SharedXattrs {
    /// The most bytes that are kept: an archive may have any number of directories.
    const MOST: usize = 32 << 20;
    /// What a set of attributes takes besides names and values.
    const EACH: usize = 256;

    /// Replaces attributes by those of an earlier directory that has the same, and drops them if they are too many.
    pub(super) fn share(&mut self, xattrs: &mut Xattrs) -> Result<(), TooMany> {
        if !xattrs.is_known() {
            return Ok(());
        }
        if let Some(same) = self.sets.get(xattrs) {
            *xattrs = same.clone();
            return Ok(());
        }
        self.bytes += xattrs.bytes() + Self::EACH;
        if self.bytes > Self::MOST {
            self.bytes = Self::MOST;
            *xattrs = Xattrs::default();
            return Err(TooMany);
        }
        self.sets.insert(xattrs.clone());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive may have any number of directories, each with as many attributes as the kernel takes.
    #[test]
    fn the_attributes_of_directories_take_bounded_memory() {
        let mut kept = SharedXattrs::default();
        let acl = |number: usize| -> Xattrs {
            [(b"system.posix_acl_default".to_vec(), [number.to_le_bytes().as_slice(), &vec![0; 50_000]].concat())]
                .into_iter()
                .collect()
        };
        for _ in 0..1000 {
            assert!(kept.share(&mut acl(0)).is_ok(), "all have the same");
        }
        assert!(kept.share(&mut Xattrs::default()).is_ok());
        let fit = (1..10_000).take_while(|&number| kept.share(&mut acl(number)).is_ok()).count();
        let each = acl(0).bytes() + SharedXattrs::EACH;
        assert_eq!(fit + 1, SharedXattrs::MOST / each);
        // What is left is filled to the last byte.
        let name = b"user.a".to_vec();
        let left = SharedXattrs::MOST - (fit + 1) * each - SharedXattrs::EACH - name.len();
        let last = |bytes| -> Xattrs { [(name.clone(), vec![0; bytes])].into_iter().collect() };
        let mut kept_to_the_end = SharedXattrs { sets: kept.sets.clone(), bytes: (fit + 1) * each };
        assert!(kept_to_the_end.share(&mut last(left)).is_ok());
        assert!(kept_to_the_end.share(&mut last(left + 1)).is_err());
        let mut dropped = acl(20_000);
        assert!(kept.share(&mut dropped).is_err() && !dropped.is_known());
        assert!(kept.share(&mut acl(0)).is_ok(), "those that are kept already are set");
    }
}
