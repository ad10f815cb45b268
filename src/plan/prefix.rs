//! The prefix of an archive's members: the path of the layout, another path of the stack, or the directory that the user
//! names. What does not fit is refused, with the option that would restore it.

use super::facts::Facts;
use crate::error::{Error, ErrorKind, Result};
use crate::extractor::{Input, Origin};
use crate::layout::Layout;
use crate::member::RelPath;

/// Returns the input with the prefix that its archive was made with; `other_paths` are those of other generations of the
/// stack that can be meant.
///
/// # Errors
/// No member, or not all of the first ones, lie below the prefix; or the archive cannot be read.
pub(super) fn fitting(
    input: &Input,
    other_paths: &[RelPath],
    (from, layout): (Option<&RelPath>, &Layout),
    facts: &dyn Facts,
    notes: &mut Vec<String>,
) -> Result<Input> {
    match from {
        Some(from) => selected(input, from, facts, notes),
        None => of_layout(input, other_paths, layout, facts),
    }
}

/// Returns the input with the directory that the user names as its prefix.
fn selected(input: &Input, from: &RelPath, facts: &dyn Facts, notes: &mut Vec<String>) -> Result<Input> {
    let Input { archive, location, path, .. } = input;
    let is_above = path != from && path.strip_prefix(from).is_some();
    if is_above && facts.check_prefix(input).is_ok() {
        // Among archives of several kinds, this one is that of the layout's path, which it would hold a second time.
        notes.push(format!("{archive}: '{location}' is the archive of '/{path}', and needs no --from"));
        return Ok(input.clone());
    }
    let input = Input { prefix: from.clone(), selected: true, ..input.clone() };
    let Err(error) = facts.check_prefix(&input) else { return Ok(input) };
    let Ok(Some(origin)) = facts.origin(location, path) else { return Err(error) };
    if error.kind() != ErrorKind::Refused || origin.root == *from {
        return Err(error);
    }
    Err(error.hint(proposal(&origin, &input)))
}

/// Returns the input with the layout's path as its prefix or, if the container is gone, one of its other paths.
fn of_layout(input: &Input, other_paths: &[RelPath], layout: &Layout, facts: &dyn Facts) -> Result<Input> {
    let Err(error) = facts.check_prefix(input) else { return Ok(input.clone()) };
    if error.kind() != ErrorKind::Refused {
        return Err(error);
    }
    for path in other_paths {
        let other = Input { prefix: path.clone(), ..input.clone() };
        if facts.check_prefix(&other).is_ok() {
            return Ok(other);
        }
    }
    Err(with_way_out(error, input, layout, facts))
}

/// Returns the refusal of an archive of another path, with the option that would restore it as its hint.
fn with_way_out(error: Error, input: &Input, layout: &Layout, facts: &dyn Facts) -> Error {
    let Input { archive, location, path, .. } = input;
    let Ok(Some(origin)) = facts.origin(location, path) else { return error };
    let mut owners = layout.archives.iter().filter(|spec| {
        spec.name != *archive
            && (spec.path == origin.root || spec.alternatives.iter().any(|one| one.path == origin.root))
    });
    if let Some(owner) = owners.next() {
        return error.hint(format!(
            "that is the path of the archive {0}: `--only {0} {location}` restores it as that one",
            owner.name
        ));
    }
    error.hint(proposal(&origin, input))
}

/// Returns the option that restores an archive of this origin.
fn proposal(origin: &Origin, Input { location, path, .. }: &Input) -> String {
    let from = if origin.holds_path { path } else { origin.trees.first().unwrap_or(&origin.root) };
    if !from.is_quoted_in_full() {
        return format!(
            "`--from PREFIX` restores what lies below a path in it (`voltar list {location}` shows the members)"
        );
    }
    if !origin.holds_path && !origin.trees.is_empty() {
        let trees: Vec<String> = origin.trees.iter().map(|tree| format!("'{tree}'")).collect();
        return format!(
            "it holds {}: `--from {from}` restores what lies below one of them to '/{path}', and skips the rest; `--from .` \
             restores all",
            trees.join(", ")
        );
    }
    if from.is_root() {
        return format!(
            "`--from .` restores all that it holds to '/{path}' (`voltar list {location}` shows the members)"
        );
    }
    format!(
        "`--from {from}` restores what lies below '{from}' to '/{path}', and skips the rest (`voltar list {location}` shows \
         the members)"
    )
}
