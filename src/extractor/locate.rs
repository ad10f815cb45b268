//! Finds in an archive what `--path` names: a path below the root of the tree, or a name as the archive has it.

use super::fit::fit;
use super::input::Input;
use super::parts::Parts;
use crate::error::{Error, Result};
use crate::member::RelPath;
use crate::monitor::Monitor;
use crate::ordered::Pool;

/// Something that the user has named, and what it can be in the tree.
struct Wanted<'a> {
    given: &'a RelPath,
    candidates: Vec<Candidate>,
}

struct Candidate {
    path: RelPath,
    found: bool,
}

/// Returns the parts of the tree that `given` names. The archive is read until all of them are found. One that can be read
/// only once is not read: it is found out later whether it holds them.
///
/// # Errors
/// The archive holds nothing at one of them, or it can be two parts; or the archive cannot be read.
pub(crate) fn locate(input: &Input, given: &[RelPath], pool: &Pool, monitor: &dyn Monitor) -> Result<Parts> {
    if given.is_empty() {
        return Ok(Parts::default());
    }
    let mut wanted: Vec<Wanted<'_>> = given.iter().map(|given| Wanted::new(given, &input.prefix)).collect();
    if let Some(whole) = wanted.iter().find(|wanted| wanted.candidates.iter().any(|one| one.path.is_root())) {
        return Err(Error::usage(format!("--path '{}' is the whole tree of {}", whole.given, input.archive))
            .hint("leave it out to restore the whole archive"));
    }
    if input.location.is_stream() {
        let first = |wanted: &Wanted<'_>| wanted.candidates.first().map(|candidate| candidate.path.clone());
        return Ok(Parts::new(wanted.iter().filter_map(first).collect()));
    }
    let mut archive = input.open(pool, monitor)?;
    while !wanted.iter().all(Wanted::is_settled)
        && let Some(stored) = archive.next_member(monitor)?
    {
        let Some(member) = fit(input, &stored)?.member() else { continue };
        let candidates = wanted.iter_mut().flat_map(|wanted| &mut wanted.candidates);
        for candidate in candidates.filter(|candidate| member.path.strip_prefix(&candidate.path).is_some()) {
            candidate.found = true;
        }
    }
    wanted.iter().map(|wanted| wanted.part(input)).collect::<Result<_>>().map(Parts::new)
}

impl<'a> Wanted<'a> {
    /// A name as listed comes first.
    fn new(given: &'a RelPath, prefix: &RelPath) -> Self {
        let listed = given.strip_prefix(prefix).filter(|path| path != given);
        let paths = listed.into_iter().chain([given.clone()]);
        Self { given, candidates: paths.map(|path| Candidate { path, found: false }).collect() }
    }

    /// Whether the rest of the archive makes no difference.
    fn is_settled(&self) -> bool {
        self.candidates.iter().all(|candidate| candidate.found)
    }

    fn part(&self, input: &Input) -> Result<RelPath> {
        let found: Vec<&RelPath> =
            self.candidates.iter().filter(|candidate| candidate.found).map(|candidate| &candidate.path).collect();
        match found[..] {
            [] => Err(input.holds_no(self.given)),
            [path] => Ok(path.clone()),
            [listed, path, ..] => Err(Error::refused(format!(
                "--path '{}' can be two things in '{}': '{listed}' or '{path}' in the tree of {}",
                self.given, input.location, input.archive
            ))
            .hint(format!("say '{listed}' for the first, '{}' for the second", input.prefix.concat(path)))),
        }
    }
}
