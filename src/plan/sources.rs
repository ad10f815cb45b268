//! The archives of a restore or a comparison: those of a directory that the layout names, and single files.

use std::cmp::Ordering;
use std::path::PathBuf;

use super::facts::Facts;
use crate::error::{Error, Result};
use crate::layout::Layout;
use crate::manifest::Manifest;
use crate::resolve::Selection;
use crate::store::{ChosenSet, Location, Source};

/// An archive with its name in the layout.
pub(super) type Named = (String, Location);

/// The archives of all sources.
pub(super) struct Sources {
    /// Those that are restored.
    pub(super) archives: Vec<Named>,
    /// Notes on those that are not.
    pub(super) notes: Vec<String>,
    /// Those that are not in the layout, if all archives are wanted.
    pub(super) foreign: Vec<Location>,
    /// What is known of the sets that hold them.
    pub(super) manifests: Vec<Manifest>,
}

/// What is done about a single archive whose name the layout does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strangers {
    /// Its volume is not known, so it is refused.
    Refuse,
    /// It needs no volume.
    Accept,
}

/// Finds the archives in `sources`, by the layout's names.
///
/// # Errors
/// The sources hold no archive of the layout, none of a selected name, or two of one name.
pub(super) fn find(
    layout: &Layout,
    selection: &Selection,
    sources: &[PathBuf],
    strangers: Strangers,
    facts: &dyn Facts,
) -> Result<Sources> {
    let mut found: Vec<Named> = Vec::new();
    let mut notes = Vec::new();
    let mut foreign = Vec::new();
    let mut manifests = Vec::new();
    let known = |name: &str| layout.archive(name).is_some();
    for source in sources {
        let archives = match facts.source(source)? {
            // A single file may have any name; --only then selects the archive.
            Source::Archive(location) => {
                found.push(named(location, layout, selection, sources.len() == 1, strangers)?);
                continue;
            }
            Source::Directory(archives) => archives,
            Source::Set(chosen) => {
                let ChosenSet { set, notes: how } = *chosen;
                notes.extend(how);
                manifests.push(set.manifest().clone());
                set.archives()
            }
        };
        let archives = archives.into_iter().map(|location| (location.name(), location));
        let (named, others): (Vec<Named>, Vec<Named>) = archives.partition(|(name, _)| known(name));
        foreign.extend(others.into_iter().map(|(_, location)| location));
        let named = named.into_iter().filter(|(name, _)| selection.wants(name)).collect();
        found.extend(newest(named, facts, &mut notes)?);
    }
    for (i, (name, location)) in found.iter().enumerate() {
        if let Some((_, other)) = found.iter().take(i).find(|(other, _)| other == name) {
            return Err(two_archives(name, other, location));
        }
    }
    let listed = sources.iter().map(|source| format!("'{}'", source.display())).collect::<Vec<_>>().join(", ");
    if let Some(missing) = selection.only.iter().find(|only| found.iter().all(|(name, _)| name != *only)) {
        let error = Error::usage(format!("no archive for {missing} in {listed}"));
        return Err(error.hint(
            what_is_there(&foreign, Some(missing))
                .unwrap_or_else(|| format!("the layout '{}' has: {}", layout.name, layout.names().join(", "))),
        ));
    }
    if found.is_empty() {
        let error = Error::usage(format!("no archive of the layout '{}' in {listed}", layout.name));
        return Err(error.hint(what_is_there(&foreign, None).unwrap_or_else(|| {
            format!(
                "looked for {}, each with .tar.bz2, .tar.gz, .tar.zst or .tar; `voltar layout` prints a layout of another stack",
                layout.names().join(", ")
            )
        })));
    }
    if !selection.only.is_empty() && !foreign.is_empty() {
        notes.push(format!("not in the layout '{}', and skipped: {}", layout.name, listed_shortly(&foreign)));
        foreign.clear();
    }
    Ok(Sources { archives: found, notes, foreign, manifests })
}

/// Returns a single archive with its name in the layout.
fn named(
    location: Location,
    layout: &Layout,
    selection: &Selection,
    is_alone: bool,
    strangers: Strangers,
) -> Result<Named> {
    let name = match (&selection.only[..], location.name()) {
        ([only], _) if is_alone => only.clone(),
        (_, name) if layout.archive(&name).is_some() && selection.wants(&name) => name,
        ([], name) if strangers == Strangers::Accept => name,
        _ if location.is_stream() => {
            return Err(Error::usage(format!("{location} holds one archive, and nothing says which"))
                .hint(format!("say it with --only: {}", layout.names().join(", "))));
        }
        (_, name) if layout.archive(&name).is_some() => {
            let selected = selection.only.join(",");
            return Err(Error::usage(format!(
                "'{location}' is the archive {name}, which --only {selected} leaves out"
            ))
            .hint(format!("leave out the file, or restore it too: --only {selected},{name}")));
        }
        (_, name) => {
            let layout_name = &layout.name;
            return Err(Error::usage(format!("'{location}': the layout '{layout_name}' has no archive '{name}'"))
                .hint(format!("say with --only which one it is: {}", layout.names().join(", "))));
        }
    };
    let location = if location.is_stream() { location.named(&name) } else { location };
    Ok((name, location))
}

/// Returns a hint that names the archives of a source that are not in the layout; `None` if there is none.
fn what_is_there(foreign: &[Location], missing: Option<&str>) -> Option<String> {
    let first = foreign.first()?;
    let name = missing.unwrap_or("NAME");
    Some(format!(
        "there is {}; `--only {name} {first}` says which archive of the layout a file is, --layout FILE describes another \
         stack",
        listed_shortly(foreign)
    ))
}

/// Lists the paths of archives, or the first of many.
fn listed_shortly(archives: &[Location]) -> String {
    const MOST: usize = 5;
    let listed: Vec<String> = archives.iter().take(MOST).map(|location| format!("'{location}'")).collect();
    match archives.len().saturating_sub(MOST) {
        0 => listed.join(", "),
        more => format!("{} and {more} more", listed.join(", ")),
    }
}

fn two_archives(name: &str, one: &Location, other: &Location) -> Error {
    Error::usage(format!("two archives for {name}: '{one}' and '{other}'")).hint("name the one to restore")
}

/// Keeps the newest of the archives of a directory that have one name, in several formats.
///
/// # Errors
/// Two of one name have the same time.
fn newest(archives: Vec<Named>, facts: &dyn Facts, notes: &mut Vec<String>) -> Result<Vec<Named>> {
    let mut kept: Vec<Named> = Vec::new();
    for (name, location) in archives {
        let Some((_, other)) = kept.iter_mut().find(|(earlier, _)| *earlier == name) else {
            kept.push((name, location));
            continue;
        };
        let older = match facts.modified(&location).cmp(&facts.modified(other)) {
            Ordering::Greater => std::mem::replace(other, location),
            Ordering::Less => location,
            Ordering::Equal => return Err(two_archives(&name, other, &location)),
        };
        notes.push(format!("{name}: '{other}' is used, which is newer than '{older}'"));
    }
    Ok(kept)
}
