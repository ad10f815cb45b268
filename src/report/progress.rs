//! The progress of each archive: bars on a terminal, occasional lines elsewhere. This module counts bytes and draws
//! bars; the caller prints a line when one is due.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

use crate::monitor::Stage;
use crate::report::text;
use crate::units;

/// The interval at which bars are redrawn. They are redrawn even if no bytes were added, so that the rate and the time
/// stay current.
const REDRAW: Duration = Duration::from_millis(200);

/// The pace of lines about an archive in progress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    Never,
    /// One line a second, for programs.
    EverySecond,
    /// For logs: at most one line a minute, and only after another tenth of the total. If the total is unknown, the
    /// interval doubles with each line, up to an hour.
    Readable,
}

impl Pace {
    /// Returns whether a line is due, `since` after the previous one. `lines` is the number of lines so far, `reported`
    /// the bytes in the last one.
    fn is_due(self, since: Duration, lines: u32, reported: u64, done: u64, total: Option<u64>) -> bool {
        const MINUTE: Duration = Duration::from_secs(60);
        match (self, total) {
            (Self::Never, _) => false,
            (Self::EverySecond, _) => since >= Duration::from_secs(1),
            (Self::Readable, Some(total)) => {
                since >= MINUTE && text::percent(done, total) / 10 > text::percent(reported, total) / 10
            }
            (Self::Readable, None) => since >= (MINUTE * 2_u32.pow(lines.min(6))).min(MINUTE * 60),
        }
    }
}

/// The progress of one archive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct State {
    pub(crate) stage: Stage,
    pub(crate) done: u64,
    pub(crate) total: Option<u64>,
    pub(crate) elapsed: Duration,
}

struct Work {
    stage: Stage,
    done: u64,
    total: Option<u64>,
    began: Instant,
    reported_at: Instant,
    reported_bytes: u64,
    lines: u32,
    bar: Option<ProgressBar>,
}

/// The progress of all archives.
pub(crate) struct Progress {
    pace: Pace,
    bars: Option<MultiProgress>,
    archives: HashMap<String, Work>,
}

impl Progress {
    pub(crate) fn new(pace: Pace, bars: Option<MultiProgress>) -> Self {
        Self { pace, bars, archives: HashMap::new() }
    }

    /// Returns whether bars are drawn, so that other output to the terminal needs [`Progress::suspend`].
    pub(crate) fn has_bars(&self) -> bool {
        self.bars.is_some()
    }

    pub(crate) fn start(&mut self, archive: &str, stage: Stage, total: Option<u64>) {
        self.finish(archive);
        let bar = self.bars.as_ref().map(|bars| {
            // The style comes first: adding a bar draws it.
            let bar = ProgressBar::no_length().with_style(style(total.is_some()));
            bar.set_prefix(text::safe(archive));
            bar.set_message(text::verbs(stage).0);
            if let Some(total) = total {
                bar.set_length(total);
            }
            let bar = bars.add(bar);
            bar.enable_steady_tick(REDRAW);
            bar
        });
        let now = Instant::now();
        let work = Work { stage, done: 0, total, began: now, reported_at: now, reported_bytes: 0, lines: 0, bar };
        self.archives.insert(archive.to_owned(), work);
    }

    /// Adds bytes; returns the progress to report if a line is due.
    pub(crate) fn advance(&mut self, archive: &str, bytes: u64) -> Option<State> {
        let work = self.archives.get_mut(archive)?;
        work.done = work.done.saturating_add(bytes);
        if let Some(bar) = &work.bar {
            bar.inc(bytes);
        }
        let due = self.pace.is_due(work.reported_at.elapsed(), work.lines, work.reported_bytes, work.done, work.total);
        due.then(|| {
            work.reported_at = Instant::now();
            work.reported_bytes = work.done;
            work.lines += 1;
            State { stage: work.stage, done: work.done, total: work.total, elapsed: work.began.elapsed() }
        })
    }

    pub(crate) fn finish(&mut self, archive: &str) {
        if let Some(Work { bar: Some(bar), .. }) = self.archives.remove(archive) {
            bar.finish_and_clear();
            if let Some(bars) = &self.bars {
                bars.remove(&bar);
            }
        }
    }

    /// Clears all bars at the end of a run.
    pub(crate) fn finish_all(&mut self) {
        let archives: Vec<_> = self.archives.keys().cloned().collect();
        for archive in archives {
            self.finish(&archive);
        }
    }

    /// Runs `print` while the bars are cleared.
    pub(crate) fn suspend<R>(&self, print: impl FnOnce() -> R) -> R {
        match &self.bars {
            Some(bars) => bars.suspend(print),
            None => print(),
        }
    }
}

fn style(known_total: bool) -> ProgressStyle {
    let template = if known_total {
        "{prefix:14} {msg:9} [{wide_bar}] {percent:>3} % {size} {rate:>10} {left}"
    } else {
        "{prefix:14} {msg:9} {size} {rate:>10} {time}"
    };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("=> ")
        .with_key("size", |state: &ProgressState, to: &mut dyn std::fmt::Write| {
            let done = units::bytes(state.pos());
            put(to, &state.len().map_or(done.clone(), |total| format!("{done} of {}", units::bytes(total))));
        })
        .with_key("rate", |state: &ProgressState, to: &mut dyn std::fmt::Write| {
            #[allow(clippy::cast_sign_loss, reason = "a rate is positive")]
            let rate = state.per_sec().round() as u64;
            put(to, &format!("{}/s", units::bytes(rate)));
        })
        .with_key("left", |state: &ProgressState, to: &mut dyn std::fmt::Write| {
            let known = state.pos() > 0 && state.eta() > Duration::ZERO;
            put(to, &if known { format!("{} left", units::duration(state.eta())) } else { String::new() });
        })
        .with_key("time", |state: &ProgressState, to: &mut dyn std::fmt::Write| {
            put(to, &units::duration(state.elapsed()));
        })
}

/// Writes `text`; an error while drawing a bar is ignored.
fn put(to: &mut dyn std::fmt::Write, text: &str) {
    to.write_str(text).unwrap_or_default();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(since: u64, lines: u32, reported: u64, done: u64, total: Option<u64>) -> bool {
        Pace::Readable.is_due(Duration::from_secs(since), lines, reported, done, total)
    }

    #[test]
    fn a_line_needs_a_minute_and_another_tenth() {
        assert!(due(60, 0, 0, 10, Some(100)));
        assert!(!due(59, 0, 0, 90, Some(100)));
        assert!(!due(3600, 0, 10, 19, Some(100)));
        assert!(due(60, 1, 19, 20, Some(100)));
        assert!(!due(60, 0, 0, 0, Some(0)));
    }

    #[test]
    fn without_a_total_the_interval_doubles() {
        assert!(due(60, 0, 0, 1, None) && !due(59, 0, 0, 1, None));
        assert!(due(240, 2, 0, 1, None) && !due(239, 2, 0, 1, None));
        assert!(due(3600, 40, 0, 1, None) && !due(3599, 40, 0, 1, None));
    }

    #[test]
    fn programs_get_a_line_every_second() {
        let due = |since| Pace::EverySecond.is_due(Duration::from_millis(since), 9, 5, 5, Some(5));
        assert!(due(1000) && !due(999));
        assert!(!Pace::Never.is_due(Duration::MAX, 0, 0, 1, None));
    }
}
