//! Everything that voltar prints, for people or as JSON, and the only module that prints. Results go to
//! standard output; progress, remarks, warnings and errors to standard error (as JSON, all of it goes to
//! standard output). A [`Report`] decides nothing about the work itself: it counts warnings, passes on
//! the wish to stop, and puts up with a reader who has gone.
//!
//! With `-q` there are only errors and warnings, since both show in the exit status, and what `list` and
//! `plan` were asked for. See [`json`] for the objects of `--json`.

mod base64;
pub mod json;
mod output;
pub mod plan;
mod progress;
mod text;

use std::io::{self, IsTerminal as _, Write};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressDrawTarget};
use serde::Serialize;

use crate::archive::listing::{self, Lister};
use crate::error::{Error, ErrorKind, Result};
use crate::member::printable;
use crate::monitor::{Event, Monitor, Stage};
use json::Object;
use output::{Broken, Output};
use progress::{Pace, Progress};
use text::Row;

/// Lines on a terminal are held back no longer than this while bars are drawn: each time they are let
/// out, all bars are taken away and drawn anew.
const LONGEST_HOLD: Duration = Duration::from_millis(50);

/// What standard output is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Text for people.
    Human,
    /// One JSON object a line for everything that happens: see [`json`].
    JsonEvents,
    /// The one document that is given to [`Report::document`]; all else is text on standard error.
    JsonDocument,
}

/// How much is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// Errors, warnings, and results that were asked for.
    Quiet,
    /// Also remarks, progress and the closing table.
    Normal,
    /// Also the name of each member.
    Verbose,
}

/// How a run is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// What standard output is to hold.
    pub format: Format,
    /// How much is printed.
    pub verbosity: Verbosity,
    /// Whether progress is shown: as bars where standard error is a terminal, else in lines.
    pub progress: bool,
}

/// Prints what operations report, and counts what went wrong.
pub struct Report {
    options: Options,
    cancel: Arc<AtomicBool>,
    issues: AtomicU64,
    inner: Mutex<Inner>,
}

struct Inner {
    stdout: Output,
    /// Whether standard output is a terminal: then lines are let out at once, or nearly so.
    terminal: bool,
    /// Whether it was reported that standard output is broken.
    loss_reported: bool,
    flushed_at: Instant,
    stderr: Box<dyn Write + Send>,
    progress: Progress,
    lister: Lister,
    rows: Vec<Row>,
    began: Option<Instant>,
}

impl Report {
    /// A report on standard output and standard error. Once `cancel` is set, operations stop.
    #[must_use]
    pub fn new(options: Options, cancel: Arc<AtomicBool>) -> Self {
        let bars = io::stderr().is_terminal().then(ProgressDrawTarget::stderr);
        let terminal = io::stdout().is_terminal();
        Self::on(options, cancel, Box::new(io::stdout()), terminal, Box::new(io::stderr()), bars)
    }

    /// A report on any sinks; bars are drawn on `bars`, if that is there.
    fn on(
        options: Options,
        cancel: Arc<AtomicBool>,
        stdout: Box<dyn Write + Send>,
        terminal: bool,
        stderr: Box<dyn Write + Send>,
        bars: Option<ProgressDrawTarget>,
    ) -> Self {
        let shown = options.progress && options.verbosity != Verbosity::Quiet;
        let (pace, bars) = match (shown, options.format, bars) {
            (false, _, _) => (Pace::Never, None),
            (true, Format::JsonEvents, _) => (Pace::EverySecond, None),
            (true, _, Some(target)) => (Pace::Never, Some(MultiProgress::with_draw_target(target))),
            (true, _, None) => (Pace::Readable, None),
        };
        let inner = Inner {
            stdout: Output::new(stdout),
            terminal,
            loss_reported: false,
            flushed_at: Instant::now(),
            stderr,
            progress: Progress::new(pace, bars),
            lister: Lister::default(),
            rows: Vec::new(),
            began: None,
        };
        Self { options, cancel, issues: AtomicU64::new(0), inner: Mutex::new(inner) }
    }

    /// How many issues there were so far; one is enough for exit status 1.
    #[must_use]
    pub fn issues(&self) -> u64 {
        self.issues.load(Ordering::Relaxed)
    }

    /// Reports why something was not done: all reasons, where several were found.
    pub fn error(&self, error: &Error) {
        self.one_error(error);
        for other in error.others() {
            self.error(other);
        }
    }

    fn one_error(&self, error: &Error) {
        let mut inner = self.lock();
        if self.options.format == Format::JsonEvents {
            inner.object(&Object::error(error));
            inner.flush();
            if inner.stdout.broken().is_none() {
                return;
            }
            // The stream has no reader any more; standard error may still have one.
        }
        inner.stderr_line(&text::error(error));
    }

    /// Prints a result as it stands, line ends included; the caller has made names in it printable.
    /// Returns `Break` when standard output has no reader any more.
    pub fn text(&self, text: &str) -> Result<ControlFlow<()>> {
        let mut inner = self.lock();
        for line in text.lines() {
            inner.stdout_line(line);
        }
        inner.reception()
    }

    /// Prints a member as `tar -tvf` does, or as a `listed` object. Returns `Break` when standard output has no
    /// reader any more.
    pub fn listed(&self, line: &listing::Line<'_>) -> Result<ControlFlow<()>> {
        let mut inner = self.lock();
        match self.options.format {
            Format::JsonEvents => inner.object(&Object::listed(line)),
            Format::Human | Format::JsonDocument => {
                let text = inner.lister.line(line);
                inner.stdout_line(&text);
            }
        }
        inner.reception()
    }

    /// Prints the one document of [`Format::JsonDocument`].
    pub fn document(&self, document: &impl Serialize) -> Result<()> {
        let text = json::line(document)
            .map_err(|error| Error::new(ErrorKind::Failed, format!("cannot write as JSON: {error}")))?;
        let mut inner = self.lock();
        inner.stdout_line(&text);
        inner.flush();
        inner.reception().map(|_| ())
    }

    /// Closes the report: the table of what was done, or the `done` object. Returns the exit status,
    /// which is `exit` unless something that was printed has been lost.
    #[must_use]
    pub fn finish(&self, exit: u8) -> u8 {
        let mut inner = self.lock();
        inner.progress.finish_all();
        match self.options.format {
            Format::JsonEvents => inner.object(&Object::Done { exit, issues: self.issues() }),
            Format::Human if self.options.verbosity != Verbosity::Quiet => {
                let elapsed = inner.began.map(|began| began.elapsed()).unwrap_or_default();
                // What was written or restored is taken back when the run fails; what was read was read.
                let rows = std::mem::take(&mut inner.rows);
                let (rows, _): (Vec<_>, Vec<_>) =
                    rows.into_iter().partition(|row| exit < 2 || row.stage == Stage::Checking);
                if !rows.is_empty() {
                    for line in text::table(&rows, elapsed) {
                        inner.stdout_line(&line);
                    }
                }
            }
            Format::Human | Format::JsonDocument => {}
        }
        inner.flush();
        match inner.reception() {
            Ok(_) => exit,
            Err(error) => {
                inner.stderr_line(&text::error(&error));
                exit.max(1)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A thread that panicked while it printed leaves nothing here that the others could not go on with.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn human(&self, inner: &mut Inner, event: &Event<'_>) {
        let quiet = self.options.verbosity == Verbosity::Quiet;
        let progress = !quiet && self.options.progress;
        match event {
            Event::Issue(issue) => inner.stderr_line(&text::warning(&issue.archive, &issue.message)),
            Event::Member { name, .. } => {
                // The document has standard output for itself.
                if self.options.format == Format::Human {
                    inner.stdout_line(&printable(name));
                }
            }
            Event::Started { archive, stage, total_bytes } if progress && !inner.progress.has_bars() => {
                inner.stderr_line(&text::started(archive, *stage, *total_bytes));
            }
            Event::Finished { stage, summary, at } if progress => {
                inner.stderr_line(&text::finished(*stage, summary, at));
            }
            Event::Note(note) if !quiet => inner.stderr_line(&text::safe(note)),
            Event::ContainerStopped(name) if !quiet => {
                inner.stderr_line(&format!("stopped container {}", text::safe(name)));
            }
            Event::ContainerStarted(name) if !quiet => {
                inner.stderr_line(&format!("started container {}", text::safe(name)));
            }
            Event::Started { .. }
            | Event::Advanced { .. }
            | Event::Finished { .. }
            | Event::Note(_)
            | Event::ContainerStopped(_)
            | Event::ContainerStarted(_) => {}
        }
    }
}

impl Monitor for Report {
    fn event(&self, event: &Event<'_>) {
        if matches!(event, Event::Issue(_)) {
            self.issues.fetch_add(1, Ordering::Relaxed);
        }
        // There may be millions of these, from all threads.
        if matches!(event, Event::Member { .. }) && self.options.verbosity != Verbosity::Verbose {
            return;
        }
        let mut inner = self.lock();
        let json = self.options.format == Format::JsonEvents;
        let quiet_json = json && self.options.verbosity == Verbosity::Quiet;
        if let Event::Finished { summary, .. } = event {
            inner.progress.finish(&summary.archive);
        }
        if !json {
            self.human(&mut inner, event);
        } else if (!quiet_json || matches!(event, Event::Issue(_)))
            && let Some(object) = Object::of(event)
        {
            inner.object(&object);
        }
        match event {
            Event::Started { archive, stage, total_bytes } => {
                inner.began.get_or_insert_with(Instant::now);
                inner.progress.start(archive, *stage, *total_bytes);
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
                inner.flush_held();
            }
            Event::Finished { stage, summary, at } => {
                // One row an archive file: a check before a restore is not worth a second.
                inner.rows.retain(|row| row.at != *at);
                inner.rows.push(Row { stage: *stage, summary: (*summary).clone(), at: at.to_path_buf() });
                inner.flush();
            }
            Event::Member { .. } => {}
            Event::Note(_) | Event::Issue(_) | Event::ContainerStopped(_) | Event::ContainerStarted(_) => {
                inner.flush();
            }
        }
    }

    fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }
}

impl Inner {
    fn object(&mut self, object: &Object<'_>) {
        // Strings and numbers under names: there is nothing in it that JSON could not hold.
        let line = json::line(object).unwrap_or_else(|error| format!(r#"{{"event":"error","message":"{error}"}}"#));
        self.stdout_line(&line);
    }

    fn stdout_line(&mut self, line: &str) {
        self.stdout.line(line);
        self.flush_held();
    }

    /// Lets out what is held where it has been held long enough.
    fn flush_held(&mut self) {
        let at_once = self.terminal && (!self.progress.has_bars() || self.flushed_at.elapsed() >= LONGEST_HOLD);
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

    /// Prints on standard error, after all that was printed before on standard output: both may be
    /// the same file.
    fn stderr_line(&mut self, line: &str) {
        self.flush();
        let Self { stderr, progress, .. } = self;
        // An error of standard error cannot be reported anywhere.
        progress.suspend(|| stderr.write_all(format!("{line}\n").as_bytes()).unwrap_or_default());
    }

    /// Whether standard output still takes data. A loss is reported once.
    fn reception(&mut self) -> Result<ControlFlow<()>> {
        match self.stdout.broken() {
            None => Ok(ControlFlow::Continue(())),
            Some(Broken::Failed(error)) if !self.loss_reported => {
                let error = Error::failed("cannot write", "standard output", error);
                self.loss_reported = true;
                Err(error)
            }
            Some(Broken::ReaderGone | Broken::Failed(_)) => Ok(ControlFlow::Break(())),
        }
    }
}

#[cfg(test)]
mod tests;
