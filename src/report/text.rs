//! Text for people, as plain strings: messages, the lines about an archive, the summary table. Names in messages are
//! already escaped. Control characters that remain are escaped here; other text is unchanged.

use std::path::Path;
use std::time::Duration;

use crate::difference::{Difference, Differences, What};
use crate::error::Error;
use crate::member::{printable_path, printable_text};
use crate::monitor::{Phase, Stage, Summary};
use crate::units;

/// Returns the verb of a stage: in progress, and done.
pub(crate) fn verbs(stage: Stage) -> (&'static str, &'static str) {
    match stage {
        Stage::Archiving => ("archiving", "archived"),
        Stage::Checking => ("checking", "checked"),
        Stage::Restoring => ("restoring", "restored"),
        Stage::Comparing => ("comparing", "compared"),
    }
}

/// Returns the verb of a phase.
pub(crate) fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Stopping => "stopping",
        Phase::Archiving => "archiving",
        Phase::Checking => "checking",
        Phase::Restoring => "restoring",
        Phase::Syncing => "syncing",
        Phase::Committing => "committing",
        Phase::Swapping => "swapping",
        Phase::Starting => "starting",
    }
}

/// Escapes the characters that [`printable`] escapes, except backslashes, because names in the text are escaped
/// already. Newlines are kept, and lines after the first are indented.
pub(crate) fn safe(text: &str) -> String {
    text.trim_end().split('\n').map(printable_text).collect::<Vec<_>>().join("\n  ")
}

/// Formats an error: `voltar: …`, and the hint, if it is wanted, on a separate line.
pub(crate) fn error(error: &Error, with_hint: bool) -> String {
    let message = format!("voltar: {}", safe(&error.to_string()));
    match error.advice().filter(|_| with_hint) {
        Some(hint) => format!("{message}\nhint: {}", safe(hint)),
        None => message,
    }
}

/// Formats a warning: `voltar: warning: cvat_data: …`.
pub(crate) fn warning(archive: &str, message: &str) -> String {
    let colon = if archive.is_empty() { "" } else { ": " };
    format!("voltar: warning: {}{colon}{}", safe(archive), safe(message))
}

/// Formats a difference: `cvat_data: 'data/42': mode 0644 in the archive, 0600 in the volume; content differs`.
pub(crate) fn difference(archive: &str, difference: &Difference) -> String {
    let Difference { path, is_directory, what } = difference;
    let all = if *is_directory { ", with all that it holds" } else { "" };
    let what = match what {
        What::OnlyInArchive => format!("only in the archive{all}"),
        What::OnlyInVolume => format!("only in the volume{all}"),
        What::Attributes(attributes) => {
            let each = attributes.iter().map(|attribute| match &attribute.values {
                Some((archive, volume)) => {
                    format!("{} {archive} in the archive, {volume} in the volume", attribute.name)
                }
                None => format!("{} differs", attribute.name),
            });
            each.collect::<Vec<_>>().join("; ")
        }
    };
    format!("{}: '{path}': {what}", safe(archive))
}

/// Formats the number of differences: `cvat_data: 3 differences: 1 only in the archive, 2 differ`.
pub(crate) fn compared(archive: &str, differences: &Differences) -> String {
    let archive = safe(archive);
    let Differences { only_in_archive, only_in_volume, differing, unlisted } = *differences;
    let counts =
        [(only_in_archive, "only in the archive"), (only_in_volume, "only in the volume"), (differing, "in both")];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let counts: Vec<_> = counts.map(|(count, what)| format!("{} {what}", units::count(*count))).collect();
    let unlisted = if unlisted > 0 { format!(" ({} are not listed)", units::count(unlisted)) } else { String::new() };
    match differences.total() {
        0 => format!("{archive}: the volume is equal to the archive"),
        1 => format!("{archive}: 1 difference: {}", counts.join(", ")),
        n => format!("{archive}: {} differences: {}{unlisted}", units::count(n), counts.join(", ")),
    }
}

/// Formats the start of a stage: `cvat_data: archiving 12.3 GiB`.
pub(crate) fn started(archive: &str, stage: Stage, total_bytes: Option<u64>) -> String {
    let size = total_bytes.map(|total| format!(" {}", units::bytes(total))).unwrap_or_default();
    format!("{}: {}{size}", safe(archive), verbs(stage).0)
}

/// Formats the progress of a stage: `cvat_data: archiving 4.20 GiB of 12.3 GiB (34 %), 48.8 MiB/s`.
pub(crate) fn advanced(archive: &str, stage: Stage, done: u64, total: Option<u64>, elapsed: Duration) -> String {
    let of = match total {
        Some(total) => {
            format!(" of {} ({} %)", units::bytes(total), percent(done, total))
        }
        None => String::new(),
    };
    let rate = units::rate(done, elapsed);
    format!("{}: {} {}{of}, {rate}", safe(archive), verbs(stage).0, units::bytes(done))
}

/// Returns the completed share in percent, at most 100.
pub(crate) fn percent(done: u64, total: u64) -> u64 {
    let percent = u128::from(done.min(total)) * 100 / u128::from(total.max(1));
    u64::try_from(percent).unwrap_or(100)
}

/// Formats the end of a stage: `cvat_data: archived 12.3 GiB in 4 min 05 s (backup/cvat_data.tar.bz2, 11.8 GiB)`.
pub(crate) fn finished(stage: Stage, summary: &Summary, at: &Path) -> String {
    format!(
        "{}: {} {} in {} ({}, {})",
        safe(&summary.archive),
        verbs(stage).1,
        units::bytes(summary.stream_bytes),
        units::duration(summary.elapsed),
        printable_path(at),
        units::bytes(summary.file_bytes),
    )
}

/// One row of the summary table.
pub(crate) struct Row {
    pub(crate) stage: Stage,
    pub(crate) summary: Summary,
    pub(crate) at: std::path::PathBuf,
}

/// Returns the width of each column of a table, in characters.
pub(crate) fn widths<const N: usize>(rows: &[[String; N]]) -> [usize; N] {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.chars().count().max(*width);
        }
    }
    widths
}

/// Returns the lines of the summary table: one per archive, and a total if there are several. `elapsed` is the time of
/// the total, which is less than the sum of the times if archives were processed in parallel.
pub(crate) fn table(rows: &[Row], elapsed: Duration) -> Vec<String> {
    let ambiguous = |row: &Row| rows.iter().filter(|other| other.summary.archive == row.summary.archive).count() > 1;
    let mut cells = vec![["archive", "members", "size", "compressed", "time", "rate"].map(str::to_owned)];
    let line = |name: String, members, size, file_bytes, time| {
        [
            name,
            units::count(members),
            units::bytes(size),
            units::bytes(file_bytes),
            units::duration(time),
            units::rate(size, time),
        ]
    };
    for row in rows {
        let summary = &row.summary;
        let name = if ambiguous(row) { printable_path(&row.at) } else { safe(&summary.archive) };
        cells.push(line(name, summary.members, summary.stream_bytes, summary.file_bytes, summary.elapsed));
    }
    if rows.len() > 1 {
        let sum = |field: fn(&Summary) -> u64| rows.iter().map(|row| field(&row.summary)).sum();
        let (members, size) = (sum(|s| s.members), sum(|s| s.stream_bytes));
        cells.push(line("total".to_owned(), members, size, sum(|s| s.file_bytes), elapsed));
    }
    let widths = widths(&cells);
    let lines = cells.iter().map(|row| {
        let mut line = format!("{:<width$}", row[0], width = widths[0]);
        for (cell, width) in row.iter().zip(widths).skip(1) {
            line.extend(["  ", &format!("{cell:>width$}")]);
        }
        line
    });
    lines.collect()
}
