//! What is done around a backup: the hooks of its configuration, and the file of metrics.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use voltar::error::{Error, Result};
use voltar::monitor::Monitor as _;
use voltar::recorder::{Recorded, Recorder};
use voltar::report::Report;
use voltar::report::metrics::{self, Metrics};

use crate::cli::{Backup, Cli, Command};
use crate::hooks::{Ending, When};
use crate::{config, request};

/// Checks that what is done around a backup can be done.
///
/// # Errors
/// The file of metrics cannot be written.
pub(crate) fn check(arguments: &Backup) -> Result<()> {
    arguments.metrics.as_deref().map_or(Ok(()), metrics::check)
}

/// Runs the hook before a backup, after [`check`].
///
/// # Errors
/// As [`check`]; the hook fails, or the run is cancelled meanwhile. Then the backup must not begin.
pub(crate) fn before(arguments: &Backup, report: &Report) -> Result<()> {
    check(arguments)?;
    announce(arguments, When::Before, report);
    arguments.hooks.run(When::Before, None, &|| report.cancelled()).map_err(|error| {
        let message = format!("{error}; the backup was not begun");
        Error::new(error.kind(), message)
    })
}

/// A run that has ended, but for what follows it.
pub(crate) struct Ended<'a> {
    pub report: &'a Report,
    pub recorder: &'a Recorder<'a>,
    /// When it began.
    pub began: Instant,
    /// The exit status so far.
    pub exit: u8,
    pub error: Option<&'a Error>,
    /// Is set by each signal.
    pub signal: &'a AtomicBool,
}

impl Ended<'_> {
    /// Runs the hooks after a backup, and writes the file of metrics. Returns the exit status. What fails here is a warning.
    pub(crate) fn follow_up(mut self, cli: &Cli) -> u8 {
        let Command::Backup(arguments) = &cli.command else { return self.exit };
        if arguments.dry_run || (arguments.hooks.is_empty() && arguments.metrics.is_none()) {
            return self.exit;
        }
        self.report.operation_ended();
        if !self.is_made() {
            // It was obeyed, or came too late to change anything. Only a further one is for the hooks.
            self.signal.store(false, Ordering::Relaxed);
        }
        let recorded = self.recorder.recorded();
        let when = if self.is_made() { When::After } else { When::Failed };
        for when in [when, When::Finally] {
            self.hook(when, arguments, &recorded);
        }
        if let Some(path) = &arguments.metrics {
            self.write_metrics(path, cli, &recorded);
        }
        self.exit
    }

    fn is_made(&self) -> bool {
        self.exit <= 1
    }

    fn warn(&mut self, error: &Error) {
        self.report.issue("", error.with_hint());
        self.exit = self.exit.max(1);
    }

    fn hook(&mut self, when: When, arguments: &Backup, recorded: &Recorded) {
        let ending = Ending {
            status: self.exit,
            error: self.error.map(text).unwrap_or_default(),
            warnings: self.report.issues(),
            set: self.is_made().then(|| place(arguments, recorded)).flatten(),
            downtime: recorded.downtime,
            bytes: self.is_made().then(|| recorded.archives.iter().map(|archive| archive.file_bytes).sum()),
        };
        announce(arguments, when, self.report);
        let is_interrupted = || self.signal.swap(false, Ordering::Relaxed);
        if let Err(error) = arguments.hooks.run(when, Some(&ending), &is_interrupted) {
            self.warn(&error);
        }
    }

    fn write_metrics(&mut self, path: &Path, cli: &Cli, recorded: &Recorded) {
        let name = cli.common.config.as_deref().map_or_else(|| "backup".to_owned(), config::name_of);
        // Of containers that do not run again it is not known how long they are stopped.
        let downtime = recorded.downtime.or(recorded.stopped.is_empty().then_some(Duration::ZERO));
        let metrics = Metrics {
            name: &name,
            ended: Timestamp::now(),
            exit: self.exit,
            duration: self.began.elapsed(),
            downtime,
            warnings: self.report.issues(),
            archives: &recorded.archives,
        };
        if let Err(error) = metrics.write(path, self.report) {
            // It may be why the backup was not begun.
            let was_said = self.error.is_some_and(|said| said.to_string() == error.to_string());
            if !was_said {
                self.warn(&error);
            }
        }
    }
}

fn announce(arguments: &Backup, when: When, report: &Report) {
    if arguments.hooks.line(when).is_some() {
        report.note(&format!("running hook '{when}'"));
    }
}

/// Returns the absolute path of the set that was made, or of the directory of the archives.
fn place(arguments: &Backup, recorded: &Recorded) -> Option<PathBuf> {
    let path = recorded.set.clone().or_else(|| request::directory(arguments))?;
    Some(std::path::absolute(&path).unwrap_or(path))
}

/// Returns the text of an error and of those that were found with it, a line each.
fn text(error: &Error) -> String {
    std::iter::once(error.to_string()).chain(error.others().iter().map(text)).collect::<Vec<_>>().join("\n")
}
