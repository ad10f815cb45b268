//! The members of a full archive that an archive of changes supersedes: those that are gone, and those that it has anew.

use std::collections::HashSet;
use std::io::{self, BufRead as _, BufReader, Read as _};

use super::input::{Decoding, Interruptible, located};
use crate::archive::reader::TarReader;
use crate::error::{Error, Result};
use crate::limits::LONGEST_NAME;
use crate::member::{RelPath, StepHasher};
use crate::monitor::Monitor;
use crate::store::Location;

/// The superseded members, by the hashes of their names.
#[derive(Default)]
pub(super) struct Superseded {
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
        let mut this = Self::default();
        this.read_gone(gone, prefix, monitor)?;
        this.read_names(changes, decoding, monitor)?;
        Ok(this)
    }

    fn read_gone(&mut self, gone: &Location, prefix: &RelPath, monitor: &dyn Monitor) -> Result<()> {
        let failed = |cause: String| Error::failed_at("cannot read", gone.path(), cause);
        let mut reader = BufReader::with_capacity(64 << 10, gone.open(monitor)?.reader);
        let mut path = Vec::new();
        loop {
            path.clear();
            let most = LONGEST_NAME as u64 + 1;
            reader.by_ref().take(most).read_until(0, &mut path).map_err(|e| failed(e.to_string()))?;
            match path.pop() {
                None => return Ok(()),
                Some(0) => {}
                Some(_) => return Err(failed("it is cut off, or a path is too long".to_owned())),
            }
            let path = RelPath::parse(&path).map_err(|bad| failed(bad.to_string()))?;
            let hash = self.hash(&prefix.concat(&path));
            self.gone.extend(hash);
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
