//! The output of voltar, as text or as JSON; no other module prints. Results go to standard output; progress, notes,
//! warnings and errors go to standard error. With `--json` everything goes to standard output, and where that receives an archive, everything goes to
//! standard error. A [`Report`] also counts
//! warnings, passes on cancellation, and stops printing when the reader of standard output has closed the pipe.
//!
//! With `-q` only errors and warnings are printed, since both determine the exit status, and the results of `list`,
//! `plan` and `verify --against-volume`. See [`json`] for the objects of `--json`.

mod base64;
mod database;
pub mod extraction;
pub mod json;
mod line;
pub mod metrics;
mod output;
pub mod plan;
mod progress;
pub mod sets;
mod text;

use std::io::{self, IsTerminal as _, Write};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::ProgressDrawTarget;
use serde::Serialize;

use crate::archive::listing::{self, Lister};
use crate::error::{Error, ErrorKind, Result};
use crate::member::{printable, printable_path};
use crate::monitor::{Event, Monitor, Stage};
use crate::units;
use json::Object;
use output::{Broken, Output};
use progress::{Counters, Pace, Progress, Screen};
use text::Row;

/// The longest time for which lines are buffered while bars are drawn on a terminal. Lines are buffered because each
/// flush clears and redraws all bars.
const LONGEST_BUFFERING: Duration = Duration::from_millis(50);

/// The content of standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text for people.
    Human,
    /// One JSON object per line for each event: see [`json`].
    JsonEvents,
    /// The one document that is given to [`Report::document`]; everything else is text on standard error.
    JsonDocument,
}

/// How much is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// Errors, warnings, and the results of `list` and `plan`.
    Quiet,
    /// Also notes, progress and the summary table.
    Normal,
    /// Also the name of each member.
    Verbose,
}

/// The options of a [`Report`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// The content of standard output.
    pub format: Format,
    /// How much is printed.
    pub verbosity: Verbosity,
    /// Whether progress is shown: as bars if standard error is a terminal, else as lines.
    pub progress: bool,
    /// Whether standard output receives an archive, so that everything that is printed goes to standard error.
    pub stdout_is_archive: bool,
}

/// A monitor that prints the events of operations and counts their issues.
pub struct Report {
    options: Options,
    counters: Counters,
    inner: Mutex<Inner>,
}

struct Inner {
    stdout: Output,
    /// Whether standard output is a terminal, so that lines are flushed at once or after [`LONGEST_BUFFERING`].
    terminal: bool,
    /// Whether an error of standard output was reported.
    loss_reported: bool,
    flushed_at: Instant,
    stderr: Box<dyn Write + Send>,
    progress: Progress,
    lister: Lister,
    rows: Vec<Row>,
    /// The names of the containers that were started after they had been stopped.
    started_again: Vec<String>,
    began: Option<Instant>,
    /// How long the operation took, once it is over.
    took: Option<Duration>,
}

impl Report {
    /// Returns a report on standard output and standard error. Once `cancel` is set, operations stop.
    #[must_use]
    pub fn new(options: Options, cancel: Arc<AtomicBool>) -> Self {
        let screen = io::stderr().is_terminal().then(|| Screen {
            target: ProgressDrawTarget::stderr(),
            columns: Box::new(|| usize::from(console::Term::stderr().size().1)),
        });
        let (stdout, terminal): (Box<dyn Write + Send>, bool) = if options.stdout_is_archive {
            (Box::new(io::stderr()), io::stderr().is_terminal())
        } else {
            (Box::new(io::stdout()), io::stdout().is_terminal())
        };
        Self::on(options, cancel, stdout, terminal, Box::new(io::stderr()), screen)
    }

    /// Returns a report on these writers; progress is drawn on `screen`, if there is one.
    fn on(
        options: Options,
        cancel: Arc<AtomicBool>,
        stdout: Box<dyn Write + Send>,
        terminal: bool,
        stderr: Box<dyn Write + Send>,
        screen: Option<Screen>,
    ) -> Self {
        let shown = options.progress && options.verbosity != Verbosity::Quiet;
        let (pace, screen) = match (shown, options.format, screen) {
            (false, _, _) => (Pace::Never, None),
            (true, Format::JsonEvents, _) => (Pace::EverySecond, None),
            (true, _, Some(screen)) => (Pace::Never, Some(screen)),
            (true, _, None) => (Pace::Readable, None),
        };
        let counters = Counters { cancelled: cancel, ..Counters::default() };
        let inner = Inner {
            stdout: Output::new(stdout),
            terminal,
            loss_reported: false,
            flushed_at: Instant::now(),
            stderr,
            progress: Progress::new(pace, screen, counters.clone()),
            lister: Lister::default(),
            rows: Vec::new(),
            started_again: Vec::new(),
            began: None,
            took: None,
        };
        Self { options, counters, inner: Mutex::new(inner) }
    }

    /// Returns the number of issues so far; one is enough for exit status 1.
    #[must_use]
    pub fn issues(&self) -> u64 {
        self.counters.warnings.load(Ordering::Relaxed)
    }

    /// Prints an error, and all others that were found with it. A hint that several have in a row is printed once.
    pub fn error(&self, error: &Error) {
        let mut errors = vec![error];
        flatten(error, &mut errors);
        for (index, error) in errors.iter().enumerate() {
            let repeated = errors.get(index + 1).is_some_and(|next| next.advice() == error.advice());
            self.one_error(error, !repeated);
        }
    }

    fn one_error(&self, error: &Error, with_hint: bool) {
        let mut inner = self.lock();
        let with_containers;
        let error = if error.kind() == ErrorKind::Interrupted && !inner.started_again.is_empty() {
            let names = inner.started_again.join(", ");
            with_containers = Error::new(error.kind(), format!("{error}; containers started again: {names}"));
            &with_containers
        } else {
            error
        };
        if self.options.format == Format::JsonEvents {
            inner.object(&Object::error(error));
            inner.flush();
            if inner.stdout.broken().is_none() {
                return;
            }
            // Standard output is closed or broken, but standard error may not be.
        }
        inner.stderr_line(&text::error(error, with_hint));
    }

    /// Prints a result unchanged; the caller has escaped the names in it. Returns `Break` once standard output is
    /// closed.
    ///
    /// # Errors
    /// Standard output cannot be written; this is returned once.
    pub fn text(&self, text: &str) -> Result<ControlFlow<()>> {
        let mut inner = self.lock();
        for line in text.lines() {
            inner.stdout_line(line);
        }
        inner.check_stdout()
    }

    /// Prints a member as `tar -tvf` does, or as a `listed` object. Returns `Break` once standard output is closed.
    ///
    /// # Errors
    /// Standard output cannot be written; this is returned once.
    pub fn listed(&self, line: &listing::Line<'_>) -> Result<ControlFlow<()>> {
        let mut inner = self.lock();
        match self.options.format {
            Format::JsonEvents => inner.object(&Object::listed(line)),
            Format::Human | Format::JsonDocument => {
                let text = inner.lister.line(line);
                inner.stdout_line(&text);
            }
        }
        inner.check_stdout()
    }

    /// Prints the one document of [`Format::JsonDocument`].
    ///
    /// # Errors
    /// The document cannot be serialized, or standard output cannot be written.
    pub fn document(&self, document: &impl Serialize) -> Result<()> {
        let text = json::line(document)
            .map_err(|error| Error::new(ErrorKind::Failed, format!("cannot write as JSON: {error}")))?;
        let mut inner = self.lock();
        inner.stdout_line(&text);
        inner.flush();
        inner.check_stdout().map(|_| ())
    }

    /// Ends the display of progress, and the time that the summary table counts: the operation is over, and others may print
    /// until [`Self::finish`].
    pub fn operation_ended(&self) {
        let mut inner = self.lock();
        inner.took = inner.began.map(|began| began.elapsed());
        inner.progress.finish_all();
        inner.flush();
    }

    /// Ends the report with the summary table or the `done` object. Returns the exit status: `exit`, or at least 1 if
    /// output could not be written.
    #[must_use]
    pub fn finish(&self, exit: u8) -> u8 {
        let mut inner = self.lock();
        inner.progress.finish_all();
        match self.options.format {
            Format::JsonEvents => inner.object(&Object::Done { exit, issues: self.issues() }),
            Format::Human if self.options.verbosity != Verbosity::Quiet => {
                let elapsed = inner.took.or_else(|| inner.began.map(|began| began.elapsed())).unwrap_or_default();
                // A failed run is rolled back, so that nothing was archived or restored; what was checked was checked.
                let rows = std::mem::take(&mut inner.rows);
                let (rows, _): (Vec<_>, Vec<_>) = rows
                    .into_iter()
                    .partition(|row| exit < 2 || matches!(row.stage, Stage::Checking | Stage::Comparing));
                if !rows.is_empty() {
                    for line in text::table(&rows, elapsed) {
                        inner.stdout_line(&line);
                    }
                }
            }
            Format::Human | Format::JsonDocument => {}
        }
        inner.flush();
        match inner.check_stdout() {
            Ok(_) => exit,
            Err(error) => {
                inner.stderr_line(&text::error(&error, true));
                exit.max(1)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic while printing leaves this state usable, so a poisoned lock is not an error.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn human(&self, inner: &mut Inner, event: &Event<'_>) {
        let quiet = self.options.verbosity == Verbosity::Quiet;
        let progress = !quiet && self.options.progress;
        match event {
            Event::Issue(issue) => inner.stderr_line(&text::warning(&issue.archive, &issue.message)),
            Event::Member { name, .. } => {
                // With `JsonDocument` only the document goes to standard output.
                if self.options.format == Format::Human {
                    inner.stdout_line(&printable(name));
                }
            }
            Event::Started { archive, stage, total_bytes } if progress && !inner.progress.has_lines() => {
                inner.stderr_line(&text::started(archive, *stage, *total_bytes));
            }
            Event::Finished { stage, summary, at } if progress => {
                inner.stderr_line(&text::finished(*stage, summary, at));
            }
            // Also if quiet: a command fails with a reason.
            Event::CommandOutput { archive, line } => {
                inner.stderr_line(&format!("{}: {}", text::safe(archive), text::safe(line)));
            }
            // Results, like those of `list`.
            Event::Difference { archive, difference } => inner.stdout_line(&text::difference(archive, difference)),
            Event::Compared { archive, differences } => inner.stdout_line(&text::compared(archive, differences)),
            Event::Note(note) if !quiet => inner.stderr_line(&text::safe(note)),
            Event::ContainerStopping { name, timeout } if !quiet => {
                let limit = timeout.map(|timeout| format!(" (up to {} s)", timeout.as_secs())).unwrap_or_default();
                inner.stderr_line(&format!("stopping container {}{limit}", text::safe(name)));
            }
            Event::ContainerStopped(name) if !quiet => {
                inner.stderr_line(&format!("stopped container {}", text::safe(name)));
            }
            Event::ContainerStarted(name) if !quiet => {
                inner.stderr_line(&format!("started container {}", text::safe(name)));
            }
            Event::Downtime(time) if !quiet => {
                inner.stderr_line(&format!("containers were stopped for {}", units::duration(*time)));
            }
            Event::SetMade(path) if !quiet => {
                inner.stderr_line(&format!("made the set '{}'", printable_path(path)));
            }
            Event::Phase { .. }
            | Event::Started { .. }
            | Event::Advanced { .. }
            | Event::Written { .. }
            | Event::Finished { .. }
            | Event::Note(_)
            | Event::ContainerStopping { .. }
            | Event::ContainerStopped(_)
            | Event::ContainerStarted(_)
            | Event::Downtime(_)
            | Event::SetMade(_) => {}
        }
    }
}

impl Monitor for Report {
    fn event(&self, event: &Event<'_>) {
        if matches!(event, Event::Issue(_)) {
            self.counters.warnings.fetch_add(1, Ordering::Relaxed);
        }
        // There may be millions of these, from all threads: do not lock for them.
        if matches!(event, Event::Member { .. }) {
            self.counters.members.fetch_add(1, Ordering::Relaxed);
            if self.options.verbosity != Verbosity::Verbose {
                return;
            }
        }
        let mut inner = self.lock();
        let json = self.options.format == Format::JsonEvents;
        let quiet_json = json && self.options.verbosity == Verbosity::Quiet;
        if let Event::Finished { summary, .. } = event {
            inner.progress.finish(&summary.archive);
        }
        if !json {
            self.human(&mut inner, event);
        } else if (!quiet_json || is_result(event) || matches!(event, Event::Issue(_) | Event::CommandOutput { .. }))
            && let Some(object) = Object::of(event)
        {
            inner.object(&object);
        }
        match event {
            Event::Phase { archive, phase } => {
                inner.progress.phase(archive, *phase);
                inner.flush();
            }
            Event::Written { bytes } => inner.progress.wrote(*bytes),
            Event::Started { archive, stage, total_bytes } => {
                inner.began.get_or_insert_with(Instant::now);
                inner.progress.start(archive, *stage, *total_bytes);
                // Whoever reads the events follows the run by them.
                inner.flush();
            }
            Event::Advanced { archive, bytes } => {
                if let Some(state) = inner.progress.advance(archive, *bytes) {
                    if json {
                        inner.object(&Object::progress(archive, state.stage, state.done, state.total));
                        inner.flush();
                    } else {
                        let line = text::advanced(archive, state.stage, state.done, state.total, state.elapsed);
                        inner.stderr_line(&line);
                    }
                }
                inner.flush_if_due();
            }
            Event::Finished { stage, summary, at } => {
                // One row per archive file: a restore replaces the row of its preceding check.
                inner.rows.retain(|row| row.at != *at);
                inner.rows.push(Row { stage: *stage, summary: (*summary).clone(), at: at.to_path_buf() });
                inner.flush();
            }
            Event::Member { .. } => {}
            Event::ContainerStarted(name) => {
                inner.started_again.push((*name).to_owned());
                inner.flush();
            }
            Event::Note(_)
            | Event::Issue(_)
            | Event::CommandOutput { .. }
            | Event::Difference { .. }
            | Event::Compared { .. }
            | Event::ContainerStopping { .. }
            | Event::ContainerStopped(_)
            | Event::Downtime(_)
            | Event::SetMade(_) => {
                inner.flush();
            }
        }
    }

    fn cancelled(&self) -> bool {
        self.counters.cancelled.load(Ordering::Relaxed)
    }
}

impl Inner {
    fn object(&mut self, object: &Object<'_>) {
        // Serializing cannot fail: an object has only strings and numbers.
        let line = json::line(object).unwrap_or_else(|error| {
            format!(r#"{{"version":1,"event":"error","code":"failed","message":"{error}","hint":null}}"#)
        });
        self.stdout_line(&line);
    }

    fn stdout_line(&mut self, line: &str) {
        self.stdout.line(line);
        self.flush_if_due();
    }

    /// Flushes standard output if its buffer is full, or on a terminal if the lines are due.
    fn flush_if_due(&mut self) {
        let at_once = self.terminal && (!self.progress.has_lines() || self.flushed_at.elapsed() >= LONGEST_BUFFERING);
        if at_once || self.stdout.is_full() {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let Self { stdout, progress, terminal, .. } = self;
        if *terminal {
            progress.suspend(|| stdout.flush());
        } else {
            stdout.flush();
        }
        self.flushed_at = Instant::now();
    }

    /// Prints on standard error, after flushing standard output: both may be the same file, and the order must be kept.
    fn stderr_line(&mut self, line: &str) {
        self.flush();
        let Self { stderr, progress, .. } = self;
        // An error of standard error cannot be reported.
        progress.suspend(|| stderr.write_all(format!("{line}\n").as_bytes()).unwrap_or_default());
    }

    /// Returns whether standard output can still be written. A write error is returned once.
    fn check_stdout(&mut self) -> Result<ControlFlow<()>> {
        match self.stdout.broken() {
            None => Ok(ControlFlow::Continue(())),
            Some(Broken::Failed(error)) if !self.loss_reported => {
                let error = Error::failed("cannot write", "standard output", error);
                self.loss_reported = true;
                Err(error)
            }
            Some(Broken::PipeClosed | Broken::Failed(_)) => Ok(ControlFlow::Break(())),
        }
    }
}

/// Returns whether the event is a result, which is also printed with `-q`.
fn is_result(event: &Event<'_>) -> bool {
    matches!(event, Event::Difference { .. } | Event::Compared { .. })
}

/// Adds the errors that were found with `error`, and those that were found with them.
fn flatten<'a>(error: &'a Error, errors: &mut Vec<&'a Error>) {
    for other in error.others() {
        errors.push(other);
        flatten(other, errors);
    }
}

#[cfg(test)]
mod tests;
