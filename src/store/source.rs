//! The archives at the paths on a command line.

use std::io;
use std::path::{Path, PathBuf};

use super::directory::Directory;
use super::location::Location;
use super::set::Set;
use super::sets::{Listed, Sets};
use crate::durable::commit;
use crate::durable::leftovers::Recovered;
use crate::error::{Error, ErrorKind, Result};
use crate::member::printable_path;
use crate::monitor::Monitor;

/// The source of archives at a path of the command line.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// The archives of a directory.
    Directory(Vec<Location>),
    /// A set.
    Set(Box<ChosenSet>),
    /// A single archive.
    Archive(Location),
}

/// A set that is read.
#[derive(Debug, Clone, PartialEq)]
pub struct ChosenSet {
    /// The set; it is complete.
    pub set: Set,
    /// How it was chosen, if it is the newest one of a directory.
    pub notes: Vec<String>,
}

impl Source {
    /// Returns the source at `path`: an archive, a set, a directory of archives, or the newest complete set of a directory
    /// of sets.
    ///
    /// # Errors
    /// `path` does not exist, or is a directory that cannot be listed; the set in it is not complete; it holds both archives
    /// and sets.
    pub fn at(path: &Path) -> Result<Self> {
        let location = Location::at(path);
        if location.is_stream() {
            return Ok(Self::Archive(location));
        }
        let status = path.metadata().map_err(|e| Error::failed_at("cannot open", path, e))?;
        if !status.is_dir() {
            return Ok(Self::Archive(location));
        }
        if let Some(set) = Set::open(path)? {
            set.check()?;
            return Ok(Self::Set(Box::new(ChosenSet { set, notes: Vec::new() })));
        }
        let archives = Directory::new(path).archives()?;
        let sets = Sets::new(path).list()?;
        match newest(path, sets)? {
            None => Ok(Self::Directory(archives)),
            Some(newest) if archives.is_empty() => Ok(Self::Set(Box::new(newest))),
            Some(ChosenSet { set, .. }) => {
                Err(Error::usage(format!("'{}' holds archives, and sets too: name one of them", printable_path(path)))
                    .hint(format!("the newest set is {}", printable_path(set.path()))))
            }
        }
    }

    /// Returns the archives.
    fn into_archives(self) -> Vec<Location> {
        match self {
            Self::Directory(archives) => archives,
            Self::Set(chosen) => chosen.set.archives(),
            Self::Archive(location) => vec![location],
        }
    }
}

/// Chooses the newest complete one of the sets of a directory; `None` if there is no set.
///
/// # Errors
/// None of them is complete, or a later one may be, which cannot be read now: an older one is not what was asked for.
fn newest(directory: &Path, sets: Vec<Listed>) -> Result<Option<ChosenSet>> {
    let mut broken = Vec::new();
    for listed in sets.into_iter().rev() {
        let is_unread = listed.is_unread();
        match listed.set {
            Ok(set) => {
                let name = listed.name;
                let notes = broken.iter().map(|error| format!("'{name}' is used, and not a later one: {error}"));
                let notes =
                    notes.chain([format!("the newest set in '{}' is {name}", printable_path(directory))]).collect();
                return Ok(Some(ChosenSet { set, notes }));
            }
            Err(error) if is_unread => {
                let what = format!("'{}' may be the newest complete set", printable_path(&listed.path));
                return Err(error.within(what).hint("fix the cause, or name the set that is wanted"));
            }
            Err(error) => broken.push(error),
        }
    }
    let what = format!("no set in '{}' is complete", printable_path(directory));
    if broken.is_empty() { Ok(None) } else { Err(broken.remove(0).within(what).and(broken)) }
}

/// Completes the backups into the directories of `sources` that were killed while their archives got their names, and
/// reports each archive that gets it.
///
/// # Errors
/// A directory cannot be listed, or an archive cannot get its name.
pub fn complete(sources: &[PathBuf], monitor: &dyn Monitor) -> Result<()> {
    for source in sources.iter().filter(|source| !Location::at(source).is_stream() && source.is_dir()) {
        Recovered { named: commit::complete(source)?.named, ..Recovered::default() }.report(monitor);
    }
    Ok(())
}

/// The archives that are read to their end.
#[derive(Debug)]
pub struct Selected {
    /// The archives.
    pub archives: Vec<Location>,
    /// The sets of which they are all.
    pub sets: Vec<Set>,
    /// How sets were chosen.
    pub notes: Vec<String>,
}

impl Selected {
    /// Checks the digests of the indexes in the sets: later backups need them.
    ///
    /// # Errors
    /// One cannot be read, or is damaged.
    pub fn check_indexes(&self, monitor: &dyn Monitor) -> Result<()> {
        self.sets.iter().flat_map(Set::indexes).try_for_each(|(_, index)| {
            let copied = io::copy(&mut index.open(monitor)?.reader, &mut io::sink());
            copied.map(|_| ()).map_err(|e| Error::new(ErrorKind::Damaged, format!("'{index}': {e}")))
        })
    }

    /// Records in each set that it was verified, once all archives were read without an error.
    pub fn record_verified(&self, monitor: &dyn Monitor) {
        for set in &self.sets {
            if let Err(error) = set.verified() {
                monitor.note(&format!("it is not recorded that the set was verified: {error}"));
            }
        }
    }
}

/// Returns the archives of all `sources`; those of a set must have their digests. If `only` is not empty, it selects the
/// archives of directories by name; archives that `sources` names as files are always included.
///
/// # Errors
/// A directory cannot be listed, there is no archive at all, or standard input is named twice.
pub fn select(sources: &[PathBuf], only: &[String]) -> Result<Selected> {
    let mut selected = Selected { archives: Vec::new(), sets: Vec::new(), notes: Vec::new() };
    let is_wanted = |archive: &Location| is_wanted(archive, only);
    for source in sources {
        let location = Location::at(source);
        if location.is_stream() || !source.is_dir() {
            // A file that does not exist is reported when it is opened, so that the other archives are still read.
            selected.archives.push(location);
            continue;
        }
        match Source::at(source)? {
            Source::Set(chosen) => {
                let ChosenSet { set, notes } = *chosen;
                selected.archives.extend(set.archives_with_digests().into_iter().filter(is_wanted));
                selected.notes.extend(notes);
                selected.sets.extend(only.is_empty().then_some(set));
            }
            other => selected.archives.extend(other.into_archives().into_iter().filter(is_wanted)),
        }
    }
    if selected.archives.iter().filter(|location| location.is_stream()).count() > 1 {
        return Err(Error::usage("standard input holds one archive: `-` can be given once"));
    }
    if selected.archives.is_empty() {
        let list = sources.iter().map(|source| format!("'{}'", source.display())).collect::<Vec<_>>().join(", ");
        return Err(Error::usage(format!("there is no archive in {list}")));
    }
    Ok(selected)
}

/// Returns whether `only` selects an archive: if it is empty, it selects all.
fn is_wanted(archive: &Location, only: &[String]) -> bool {
    only.is_empty() || only.contains(&archive.name())
}

/// Returns the only archive at `path`: that in a file, or in a directory the one that `only` names or that is alone.
///
/// # Errors
/// There are several, or none; the directory cannot be listed.
pub fn single(path: &Path, only: &[String]) -> Result<Location> {
    let location = Location::at(path);
    if location.is_stream() || !path.is_dir() {
        return Ok(location);
    }
    let archives = Source::at(path)?.into_archives();
    let names = archives.iter().map(Location::name).collect::<Vec<_>>().join(", ");
    let mut wanted = archives.into_iter().filter(|archive| is_wanted(archive, only));
    match (wanted.next(), wanted.next()) {
        (Some(one), None) => Ok(one),
        (Some(_), Some(_)) => Err(Error::usage(format!("'{}' holds several archives: {names}", printable_path(path)))
            .hint("choose one with --only NAME")),
        (None, _) if names.is_empty() => {
            Err(Error::usage(format!("there is no archive in '{}'", printable_path(path))))
        }
        (None, _) => Err(Error::usage(format!("no archive for {} in '{}'", only.join(", "), printable_path(path)))
            .hint(format!("there is {names}"))),
    }
}
