//! The members of a full archive that an archive of changes supersedes: those that are gone, and those that it has anew.

use std::collections::HashSet;
use std::io::{self, BufRead as _, BufReader, Read as _};

use super::input::{Decoding, Interruptible, located};
use crate::archive::reader::TarReader;
use crate::error::{Error, ErrorKind, Result};
use crate::limits::{LONGEST_NAME, MOST_CHANGES};
use crate::member::{RelPath, StepHasher};
use crate::monitor::Monitor;
use crate::store::Location;

/// The superseded members, by the hashes of their names.
pub(super) struct Superseded {
    /// How many names there can be.
    most: u64,
    hasher: StepHasher,
    /// With all that lies below.
    gone: HashSet<u64>,
    /// With nothing else.
    anew: HashSet<u64>,
}

impl Superseded {
    /// Reads the paths that are gone, below `prefix`, and the names of all members of the archive of changes.
    pub(super) fn read(
        gone: &Location,
        prefix: &RelPath,
        changes: &Location,
        decoding: &Decoding,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        let mut this = Self::with_most(MOST_CHANGES);
        this.read_gone(gone, prefix, monitor)?;
        this.read_names(changes, decoding, monitor)?;
        Ok(this)
    }

    fn with_most(most: u64) -> Self {
        let (gone, anew) = (HashSet::new(), HashSet::new());
        Self { most, hasher: StepHasher::default(), gone, anew }
    }

    /// Checks that there are not too many names in `location`.
    fn check(&self, location: &Location) -> Result<()> {
        let names = self.gone.len() as u64 + self.anew.len() as u64;
        if names <= self.most {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Damaged, format!("'{location}' has more than {} changes", self.most)))
    }

    fn read_gone(&mut self, gone: &Location, prefix: &RelPath, monitor: &dyn Monitor) -> Result<()> {
        let failed = |cause: String| Error::failed_at("cannot read", gone.path(), cause);
        let mut reader = BufReader::with_capacity(64 << 10, gone.open(monitor)?.reader);
        let mut path = Vec::new();
        loop {
            path.clear();
            let most = LONGEST_NAME as u64 + 1;
            reader.by_ref().take(most).read_until(0, &mut path).map_err(|e| located(gone, &e, None))?;
            match path.pop() {
                None => return Ok(()),
                Some(0) => {}
                Some(_) => return Err(failed("it is cut off, or a path is too long".to_owned())),
            }
            let path = RelPath::parse(&path).map_err(|bad| failed(bad.to_string()))?;
            let hash = self.hash(&prefix.concat(&path));
            self.gone.extend(hash);
            self.check(gone)?;
        }
    }

    fn read_names(&mut self, changes: &Location, decoding: &Decoding, monitor: &dyn Monitor) -> Result<()> {
        let failed = |e: io::Error| located(changes, &e, None);
        let decompressor = decoding.decompressor(changes.open(monitor)?.reader).map_err(failed)?;
        let mut tar = TarReader::new(Interruptible { decompressor, monitor });
        while let Some(stored) = tar.next_member().map_err(failed)? {
            // What no volume can hold is refused when it is extracted.
            let hash = RelPath::parse(&stored.name).ok().and_then(|name| self.hash(&name));
            self.anew.extend(hash);
            self.check(changes)?;
        }
        Ok(())
    }

    fn hash(&self, name: &RelPath) -> Option<u64> {
        self.hasher.of_steps(name).last()
    }

    /// Returns whether a member of the full archive is superseded.
    pub(super) fn contains(&self, name: &[u8]) -> bool {
        let Ok(name) = RelPath::parse(name) else { return false };
        let mut last = None;
        for hash in self.hasher.of_steps(&name) {
            if self.gone.contains(&hash) {
                return true;
            }
            last = Some(hash);
        }
        last.is_some_and(|hash| self.anew.contains(&hash))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::monitor::Collector;

    fn read(text: &[u8], most: u64) -> Result<Superseded> {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("one.gone");
        fs::write(&file, text).unwrap();
        let mut superseded = Superseded::with_most(most);
        let prefix = RelPath::parse(b"srv/data").unwrap();
        superseded.read_gone(&Location::new(file), &prefix, &Collector::default()).map(|()| superseded)
    }

    #[test]
    fn what_is_gone_is_superseded_with_all_below_it() {
        let superseded = read(b"a/b\0c\0", 2).unwrap();
        for (name, is_gone) in [
            ("srv/data/a/b", true),
            ("srv/data/a/b/d", true),
            ("./srv/data/c/", true),
            ("srv/data/a", false),
            ("srv/data/a/bb", false),
            ("srv/data/d/c", false),
            ("a/b", false),
        ] {
            assert_eq!(superseded.contains(name.as_bytes()), is_gone, "{name}");
        }
        assert!(!read(b"", 0).unwrap().contains(b"srv/data"));
    }

    #[test]
    fn a_list_that_no_backup_writes_is_refused() {
        for (text, most, why) in [
            (&b"a/b\0c"[..], 9, "it is cut off, or a path is too long"),
            (b"a\0b\0c\0", 2, "has more than 2 changes"),
            (b"a/../b\0", 9, "the name holds '..'"),
            (&vec![b'a'; LONGEST_NAME + 2], 9, "it is cut off, or a path is too long"),
        ] {
            let error = read(text, most).err().unwrap().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
