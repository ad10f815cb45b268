//! Whether an archive holds a whole tree or what has changed since a full archive, and which one.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::retention::Within;
use crate::error::{Error, Result};
use crate::manifest::{ArchiveRecord, Base, FileRecord};
use crate::resolve::Target;
use crate::store::{Listed, Location, SetName};

/// How often everything is archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FullEvery {
    /// Once in so many sets.
    Sets(u32),
    /// Once this time has passed.
    Time(Within),
}

impl FullEvery {
    /// Parses a number of sets, or a time such as `7d`.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(text: &str) -> Result<Self> {
        match text.parse::<u32>() {
            Ok(0) => Err(Error::usage("a full archive every 0 sets: it is a number from 1, or a time such as 7d")),
            Ok(count) => Ok(Self::Sets(count)),
            Err(_) => Within::parse(text).map(Self::Time),
        }
    }

    /// Returns whether a set that begins `now` is to be full, if there are `later` sets since a full one of the time `full`,
    /// with that one. A run every night does not begin to the second: the last twenty-fourth of the time does not count.
    fn is_due(self, full: Timestamp, later: usize, now: Timestamp) -> bool {
        match self {
            Self::Sets(count) => later >= count as usize,
            Self::Time(within) => {
                let Some(end) = within.after(full.to_zoned(TimeZone::UTC).datetime()) else { return false };
                let Ok(end) = end.to_zoned(TimeZone::UTC) else { return false };
                let (whole, passed) = (end.timestamp().duration_since(full), now.duration_since(full));
                passed >= whole - whole / 24
            }
        }
    }
}

/// The full archives that those of a new set can be based on.
#[derive(Debug, Clone)]
pub struct FullArchives {
    archives: Vec<Full>,
    /// Why none of them is used.
    unused: Option<String>,
}

/// A full archive with an index.
#[derive(Debug, Clone, PartialEq)]
pub struct Full {
    /// Its set.
    pub set: SetName,
    /// What the set says of it.
    pub record: ArchiveRecord,
    /// Its file.
    pub file: FileRecord,
    /// Its index.
    pub index: Location,
}

impl FullArchives {
    /// Returns the newest full archive of each name in complete `sets`, from old to new, unless it is time for another one, in a
    /// set of the name `now`.
    #[must_use]
    pub fn of(sets: &[Listed], every: FullEvery, now: SetName) -> Self {
        let complete: Vec<_> = sets.iter().filter_map(|listed| Some((listed.name, listed.complete()?))).collect();
        let mut archives: Vec<Full> = Vec::new();
        for (later, (set, content)) in complete.iter().rev().enumerate() {
            for (record, index) in content.indexes() {
                let is_known = archives.iter().any(|full| full.record.name == record.name);
                if let (false, Some(file)) = (is_known, record.full().cloned()) {
                    let full = Full { set: *set, record: record.clone(), file, index };
                    archives.push(full);
                }
            }
            archives.retain(|full| full.set != *set || !every.is_due(set.time(), later + 1, now.time()));
        }
        let unused =
            sets.iter().any(|listed| listed.name > now).then(|| "the clock of this host was set back".to_owned());
        Self { archives, unused }
    }

    /// Returns the full archive that an archive of `target` can be based on.
    ///
    /// # Errors
    /// There is one that cannot be used: why.
    pub(super) fn find(&self, target: &Target, xattrs: bool) -> Result<Option<&Full>, String> {
        let Some(full) = self.archives.iter().find(|full| full.record.name == target.archive) else { return Ok(None) };
        let sources: Vec<_> = target.tree.mounts.iter().map(crate::host::mounts::TreeMount::name).collect();
        if let Some(why) = &self.unused {
            return Err(why.clone());
        }
        if full.record.sources != sources || full.record.path != target.tree.path.to_string() {
            return Err(format!("the set of {} has it of other volumes", full.set));
        }
        if full.record.xattrs != xattrs {
            let has = if xattrs { "has no extended attributes" } else { "has extended attributes" };
            return Err(format!("the one of {} {has}", full.set));
        }
        Ok(Some(full))
    }
}

#[cfg(test)]
impl FullArchives {
    /// Returns these full archives, none of which is too old.
    pub(super) fn from_archives(archives: Vec<Full>) -> Self {
        Self { archives, unused: None }
    }
}

impl Full {
    /// Returns what the manifest of a set says of it, if that has changes since.
    #[must_use]
    pub(crate) fn base(&self) -> Base {
        Base { set: self.set.to_string(), archive: self.file.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_archive_is_due_after_a_time_or_a_number_of_sets() {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let full = time("2026-11-01T02:00:10Z");
        let week = FullEvery::parse("7d").unwrap();
        assert!(!week.is_due(full, 1, time("2026-11-07T02:05:00Z")));
        assert!(week.is_due(full, 1, time("2026-11-08T02:00:00Z")), "the timer was early by ten seconds");
        assert!(FullEvery::parse("1m").unwrap().is_due(full, 1, time("2026-12-01T02:00:00Z")));
        let third = FullEvery::parse("3").unwrap();
        assert!(!third.is_due(full, 2, full) && third.is_due(full, 3, full));
        for wrong in ["0", "", "x", "-1"] {
            FullEvery::parse(wrong).unwrap_err();
        }
    }
}
