//! The plan of a restore into a directory: which archive goes where, without an engine.

use std::path::PathBuf;

use super::facts::Facts;
use super::prefix;
use super::restore::one_archive;
use super::sources::{Sources, Strangers, find};
use crate::error::{Error, ErrorKind, Result};
use crate::extractor::Input;
use crate::layout::Layout;
use crate::member::RelPath;
use crate::resolve::Selection;
use crate::store::Location;

/// The arguments of a restore into a directory.
#[derive(Debug, Clone)]
pub struct ExtractionRequest {
    /// The paths of the archives.
    pub layout: Layout,
    /// Which archives are restored; all if there are none.
    pub only: Vec<String>,
    /// Directories with archives, or single archives.
    pub sources: Vec<PathBuf>,
    /// The directory that is made.
    pub directory: PathBuf,
    /// The directory in the archives whose content is restored; `None` for the path of the layout, or all of an archive that
    /// is not in it.
    pub from: Option<RelPath>,
    /// The paths that are restored: below the root of the tree, or as an archive lists them; all if there are none.
    pub paths: Vec<RelPath>,
    /// Whether empty archives are accepted.
    pub allow_empty: bool,
    /// Whether archives without an end are accepted.
    pub allow_truncated_end: bool,
}

/// The plan of a restore into a directory.
#[derive(Debug, Clone)]
pub struct ExtractionPlan {
    /// The directory that is made.
    pub directory: PathBuf,
    /// Notes on the archives.
    pub notes: Vec<String>,
    /// The archives.
    pub archives: Vec<PlannedExtraction>,
    /// The archives of the sources that are not in the layout, if all of a source is restored.
    pub foreign: Vec<Location>,
    /// The reasons to refuse; empty if the restore can be done.
    pub refusals: Vec<Error>,
}

/// One archive of an [`ExtractionPlan`].
#[derive(Debug, Clone)]
pub struct PlannedExtraction {
    /// The archive.
    pub input: Input,
    /// Its length in bytes; `None` if unknown.
    pub archive_bytes: Option<u64>,
    /// The name of its directory in the directory that is made; `None` if there are no others.
    pub name: Option<String>,
}

impl ExtractionPlan {
    /// Returns where the tree of an archive will be.
    #[must_use]
    pub fn at(&self, planned: &PlannedExtraction) -> PathBuf {
        planned.name.as_ref().map_or_else(|| self.directory.clone(), |name| self.directory.join(name))
    }
}

/// Plans a restore into a directory.
///
/// # Errors
/// The sources hold no archive, or the run was interrupted.
pub fn plan(request: &ExtractionRequest, facts: &dyn Facts) -> Result<ExtractionPlan> {
    let selection = Selection { only: request.only.clone(), ..Selection::default() };
    let Sources { archives: found, mut notes, foreign, .. } =
        find(&request.layout, &selection, &request.sources, Strangers::Accept, facts)?;
    one_archive(&request.paths, &found)?;
    let mut refusals: Vec<Error> = facts.check_new_directory(&request.directory).err().into_iter().collect();
    let mut archives = Vec::new();
    for (name, location) in &found {
        if found.len() > 1 && RelPath::root().join(name.as_bytes()).is_err() {
            return Err(Error::usage(format!("'{location}': no directory can have the name '{name}'")));
        }
        let spec = request.layout.archive(name);
        let (path, others) = match spec {
            Some(spec) => {
                let others = spec.alternatives.iter().map(|one| one.path.clone()).collect();
                (spec.path.clone(), others)
            }
            None => (RelPath::root(), Vec::new()),
        };
        let input = Input {
            allow_empty: request.allow_empty,
            allow_truncated_end: request.allow_truncated_end,
            ..Input::new(name, location, &path)
        };
        let from = (request.from.as_ref(), &request.layout);
        let input = prefix::fitting(&input, &others, from, facts, &mut notes).and_then(|input| {
            let parts = facts.parts(&input, &request.paths)?;
            Ok(Input { parts, ..input })
        });
        match input {
            Ok(input) => archives.push(PlannedExtraction {
                input,
                archive_bytes: facts.archive_bytes(location),
                name: (found.len() > 1).then(|| name.clone()),
            }),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
            Err(error) => refusals.push(error),
        }
    }
    Ok(ExtractionPlan { directory: request.directory.clone(), notes, archives, foreign, refusals })
}
