//! Renders the plan of a restore into a directory as text for people, and as one JSON document.

use std::fmt::Write as _;

use serde::Serialize;

use crate::member::printable_path;
use crate::plan::extraction::ExtractionPlan;
use crate::report::plan::{Refusal, UNKNOWN, refusals, selected};
use crate::report::text::safe;
use crate::units;

/// Returns the plan of a restore into a directory as text of complete lines.
#[must_use]
pub fn extraction_text(plan: &ExtractionPlan) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    write_extraction(&mut text, plan).unwrap_or_default();
    text
}

fn write_extraction(text: &mut String, plan: &ExtractionPlan) -> std::fmt::Result {
    plan.notes.iter().try_for_each(|note| writeln!(text, "note: {}", safe(note)))?;
    for planned in &plan.archives {
        let length = planned.archive_bytes.map_or(format!("length {UNKNOWN}"), units::bytes);
        let at = plan.at(planned);
        writeln!(
            text,
            "{} <- {} ({length})\n  directory  {}",
            safe(&planned.input.archive),
            planned.input.location,
            printable_path(&at)
        )?;
        selected(text, &planned.input, &planned.input.path)?;
    }
    for location in &plan.foreign {
        writeln!(text, "not restored: {location}, which is not in the layout")?;
    }
    refusals(text, "A restore", &plan.refusals)
}

/// The plan of a restore into a directory as one JSON document. Fields may be added, but a field never changes its meaning.
#[derive(Serialize)]
pub struct ExtractionDocument<'a> {
    directory: String,
    notes: &'a [String],
    archives: Vec<Planned<'a>>,
    /// The archives of the sources that are not in the layout.
    not_restored: Vec<String>,
    refusals: Vec<Refusal<'a>>,
}

#[derive(Serialize)]
struct Planned<'a> {
    name: &'a str,
    file: String,
    directory: String,
    prefix: String,
    skips_others: bool,
    /// The paths in the tree that are restored; all of it if there are none.
    paths: Vec<String>,
    archive_bytes: Option<u64>,
}

impl<'a> ExtractionDocument<'a> {
    /// Returns the document of a plan.
    #[must_use]
    pub fn new(plan: &'a ExtractionPlan) -> Self {
        let archives = plan.archives.iter().map(|planned| Planned {
            name: &planned.input.archive,
            file: planned.input.location.to_string(),
            directory: printable_path(&plan.at(planned)),
            prefix: planned.input.prefix.to_string(),
            skips_others: planned.input.selected,
            paths: planned.input.parts.paths().map(ToString::to_string).collect(),
            archive_bytes: planned.archive_bytes,
        });
        Self {
            directory: printable_path(&plan.directory),
            notes: &plan.notes,
            archives: archives.collect(),
            not_restored: plan.foreign.iter().map(ToString::to_string).collect(),
            refusals: plan.refusals.iter().map(Refusal::new).collect(),
        }
    }
}
