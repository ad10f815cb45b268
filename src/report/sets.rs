//! The sets of a directory, and which of them are kept: as text for people, and as JSON documents.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::text::{safe, widths};
use crate::prune::{Judged, Pruning};
use crate::store::{Listed, Set};
use crate::units;

/// Formats sets as a table, the newest one last.
#[must_use]
pub fn sets_text(sets: &[Listed]) -> String {
    if sets.is_empty() {
        return "there is no set\n".to_owned();
    }
    let mut rows = vec![["set", "archives", "size", "since", "warnings", "verified"].map(str::to_owned)];
    let mut reasons = Vec::new();
    for listed in sets {
        let name = listed.name.to_string();
        match &listed.set {
            Ok(set) => rows.push([
                name,
                set.manifest().archives.len().to_string(),
                units::bytes(set.manifest().bytes()),
                since(set),
                set.manifest().warning_count.to_string(),
                listed.verified.map_or_else(|| "never".to_owned(), local),
            ]),
            Err(error) => {
                let unknown = || "-".to_owned();
                rows.push([name, "incomplete".to_owned(), unknown(), unknown(), unknown(), unknown()]);
                reasons.push(safe(&error.to_string()));
            }
        }
    }
    let text = table(&rows);
    if reasons.is_empty() { text } else { format!("{text}\n{}\n", reasons.join("\n")) }
}

/// Returns the sets since which a set has the changes; `full` if it stands on its own.
fn since(set: &Set) -> String {
    let bases: Vec<&str> = set.manifest().bases().into_iter().collect();
    if bases.is_empty() { "full".to_owned() } else { bases.join(", ") }
}

/// Formats which sets a prune removes, and why the others stay.
#[must_use]
pub fn pruning_text(pruning: &Pruning) -> String {
    let mut rows = vec![["set", "size", "kept"].map(str::to_owned)];
    for Judged { name, bytes, reasons } in &pruning.sets {
        let why = match &reasons[..] {
            [] => "no, would be removed".to_owned(),
            reasons => reasons.iter().map(|reason| reason.word()).collect::<Vec<_>>().join(", "),
        };
        rows.push([name.to_string(), units::bytes(*bytes), why]);
    }
    for listed in &pruning.incomplete {
        rows.push([listed.name.to_string(), "-".to_owned(), "incomplete, and stays".to_owned()]);
    }
    let removed = pruning.sets.iter().filter(|judged| judged.reasons.is_empty());
    let (count, bytes) = removed.fold((0_u64, 0), |(count, bytes), judged| (count + 1, bytes + judged.bytes));
    format!("{}\n{} of {} sets would be removed: {}\n", table(&rows), count, pruning.sets.len(), units::bytes(bytes))
}

/// Formats rows in columns; the last column is not filled up.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let widths = widths(rows);
    let line = |row: &[String; N]| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    rows.iter().map(line).collect()
}

/// Formats a time in the zone of this host, to the minute.
fn local(time: Timestamp) -> String {
    time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string()
}

/// The JSON document of `voltar sets`.
#[derive(Serialize)]
pub struct SetsDocument<'a> {
    sets: Vec<OneSet<'a>>,
}

#[derive(Serialize)]
struct OneSet<'a> {
    name: String,
    path: String,
    complete: bool,
    /// Why it is not complete.
    error: Option<String>,
    started: Option<Timestamp>,
    completed: Option<Timestamp>,
    archives: Vec<&'a str>,
    /// The sets that it needs, because it has the changes since them.
    bases: Vec<&'a str>,
    bytes: Option<u64>,
    downtime_seconds: Option<f64>,
    warnings: &'a [String],
    warning_count: Option<u64>,
    verified: Option<Timestamp>,
}

impl<'a> SetsDocument<'a> {
    /// Returns the document of `sets`.
    #[must_use]
    pub fn new(sets: &'a [Listed]) -> Self {
        Self { sets: sets.iter().map(OneSet::new).collect() }
    }
}

impl<'a> OneSet<'a> {
    fn new(listed: &'a Listed) -> Self {
        let manifest = listed.complete().map(Set::manifest);
        Self {
            name: listed.name.to_string(),
            path: listed.path.to_string_lossy().into_owned(),
            complete: manifest.is_some(),
            error: listed.set.as_ref().err().map(ToString::to_string),
            started: manifest.map(|manifest| manifest.started),
            completed: manifest.map(|manifest| manifest.completed),
            archives: manifest
                .map(|manifest| manifest.archives.iter().map(|archive| archive.name.as_str()).collect())
                .unwrap_or_default(),
            bases: manifest.map(|manifest| manifest.bases().into_iter().collect()).unwrap_or_default(),
            bytes: manifest.map(crate::manifest::Manifest::bytes),
            downtime_seconds: manifest.and_then(|manifest| manifest.downtime_seconds),
            warnings: manifest.map(|manifest| manifest.warnings.as_slice()).unwrap_or_default(),
            warning_count: manifest.map(|manifest| manifest.warning_count),
            verified: listed.verified,
        }
    }
}

/// The JSON document of `voltar prune --dry-run`.
#[derive(Serialize)]
pub struct PruningDocument {
    sets: Vec<JudgedSet>,
    incomplete: Vec<String>,
}

#[derive(Serialize)]
struct JudgedSet {
    name: String,
    bytes: u64,
    removed: bool,
    reasons: Vec<&'static str>,
}

impl PruningDocument {
    /// Returns the document of `pruning`.
    #[must_use]
    pub fn new(pruning: &Pruning) -> Self {
        let judged = |judged: &Judged| JudgedSet {
            name: judged.name.to_string(),
            bytes: judged.bytes,
            removed: judged.reasons.is_empty(),
            reasons: judged.reasons.iter().map(|reason| reason.word()).collect(),
        };
        Self {
            sets: pruning.sets.iter().map(judged).collect(),
            incomplete: pruning.incomplete.iter().map(|listed| listed.name.to_string()).collect(),
        }
    }
}
