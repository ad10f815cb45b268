//! The progress of each archive and of all together: lines that are redrawn on a terminal, occasional lines elsewhere. This
//! module counts and draws; the caller prints a line when one is due.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::monitor::{Phase, Stage};
use crate::report::line::{bar, fit, shortened};
use crate::report::text;
use crate::units;

/// The interval at which lines are redrawn. They are redrawn even if no bytes were added, so that the rate and the time
/// stay current.
const REDRAW: Duration = Duration::from_millis(200);

/// The columns of an archive's name, if there are as many.
const NAME: usize = 14;

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

/// A terminal on which lines are redrawn.
pub(crate) struct Screen {
    pub(crate) target: ProgressDrawTarget,
    /// The present number of its columns, which the user may change.
    pub(crate) columns: Box<dyn Fn() -> usize + Send + Sync>,
}

/// What other parts of the report count.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters {
    pub(crate) members: Arc<AtomicU64>,
    pub(crate) warnings: Arc<AtomicU64>,
    pub(crate) cancelled: Arc<AtomicBool>,
}

/// The progress of one archive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct State {
    pub(crate) stage: Stage,
    pub(crate) done: u64,
    pub(crate) total: Option<u64>,
    pub(crate) elapsed: Duration,
}

impl State {
    /// Returns the time until the end at the rate so far; `None` as long as that is not known.
    fn left(&self) -> Option<Duration> {
        let (done, total) = (self.done, self.total?);
        #[allow(clippy::cast_precision_loss, reason = "two units of it are shown")]
        let share = (total.saturating_sub(done)) as f64 / done as f64;
        (done > 0 && self.elapsed >= Duration::from_secs(1) && done < total).then(|| self.elapsed.mul_f64(share))
    }

    fn size(&self) -> String {
        let done = units::bytes(self.done);
        self.total.map_or(done.clone(), |total| format!("{done} of {}", units::bytes(total)))
    }

    fn percent(&self) -> String {
        self.total.map_or(String::new(), |total| format!("{:>3} %", text::percent(self.done, total)))
    }
}

#[derive(Debug)]
struct Work {
    name: String,
    verb: &'static str,
    stage: Stage,
    done: u64,
    total: Option<u64>,
    began: Instant,
    reported_at: Instant,
    reported_bytes: u64,
    lines: u32,
}

impl Work {
    fn state(&self) -> State {
        State { stage: self.stage, done: self.done, total: self.total, elapsed: self.began.elapsed() }
    }

    /// Returns the line of this archive: its name, and what fits of the rest.
    fn line(&self, columns: usize) -> String {
        let state = self.state();
        let name = shortened(&self.name, NAME.min(columns / 3));
        let mut parts = [
            (0, format!("{name:<width$}", width = NAME.min(columns / 3))),
            (4, format!("{:9}", self.verb)),
            (1, state.percent()),
            (2, state.size()),
            (5, units::rate(state.done, state.elapsed)),
            (3, state.left().map_or(String::new(), |left| format!("{} left", units::duration(left)))),
        ];
        if let Some(total) = self.total {
            let room = columns.saturating_sub(fit(&parts, columns).chars().count() + 2);
            if let Some(bar) = bar(self.done, total, room) {
                parts[1].1 += "  ";
                parts[1].1 += &bar;
            }
        }
        fit(&parts, columns)
    }
}

/// The progress of all archives together.
#[derive(Debug, Default)]
struct Totals {
    phase: Option<Phase>,
    stage: Option<Stage>,
    done: u64,
    total: u64,
    /// Whether the total of an archive is not known.
    open: bool,
    written: u64,
    began: Option<Instant>,
    stage_began: Option<Instant>,
    members_before: u64,
}

impl Totals {
    /// Begins an archive. An archive is checked and then restored: what was counted until then is not part of it.
    fn start(&mut self, stage: Stage, total: Option<u64>, members: u64) {
        if self.stage.replace(stage) != Some(stage) {
            let (phase, began) = (self.phase, self.began);
            let stage_began = Some(Instant::now());
            *self = Self { phase, stage: Some(stage), began, stage_began, members_before: members, ..Self::default() };
        }
        self.total += total.unwrap_or_default();
        self.open |= total.is_none();
    }

    fn state(&self, stage: Stage) -> State {
        let elapsed = self.stage_began.map(|began| began.elapsed()).unwrap_or_default();
        State { stage, done: self.done, total: (!self.open).then_some(self.total), elapsed }
    }

    /// Returns the line of what the run does, and for how long.
    fn time_line(&self, counters: &Counters, columns: usize) -> String {
        let phase = match (counters.cancelled.load(Ordering::Relaxed), self.phase, self.stage) {
            (true, ..) => "interrupting",
            (false, Some(phase), _) => text::phase(phase),
            (false, None, Some(stage)) => text::verbs(stage).0,
            (false, None, None) => "",
        };
        let state = self.stage.map(|stage| self.state(stage));
        let elapsed = self.began.map(|began| units::duration(began.elapsed())).unwrap_or_default();
        let warnings = match counters.warnings.load(Ordering::Relaxed) {
            0 => String::new(),
            1 => "1 warning".to_owned(),
            count => format!("{} warnings", units::count(count)),
        };
        let parts = [
            (5, "total".to_owned()),
            (0, phase.to_owned()),
            (1, state.map(|state| state.percent()).unwrap_or_default()),
            (4, format!("{elapsed} elapsed")),
            (
                2,
                state
                    .and_then(|state| state.left())
                    .map_or(String::new(), |left| format!("{} left", units::duration(left))),
            ),
            (3, warnings),
        ];
        fit(&parts, columns)
    }

    /// Returns the line of what was done so far.
    fn work_line(&self, counters: &Counters, columns: usize) -> String {
        let Some(state) = self.stage.map(|stage| self.state(stage)) else { return String::new() };
        let members = counters.members.load(Ordering::Relaxed).saturating_sub(self.members_before);
        let written = if self.written > 0 { format!("{} written", units::bytes(self.written)) } else { String::new() };
        let parts = [
            (0, state.size()),
            (1, written),
            (2, format!("{} member{}", units::count(members), if members == 1 { "" } else { "s" })),
            (3, units::rate(state.done, state.elapsed)),
        ];
        fit(&parts, columns)
    }
}

struct Lines {
    all: MultiProgress,
    columns: Arc<dyn Fn() -> usize + Send + Sync>,
    /// The lines about all archives, once there are some.
    totals: Vec<ProgressBar>,
}

impl Lines {
    /// Adds a line above those about all archives. `text` returns it, given the number of columns.
    fn add(&mut self, above: bool, text: impl Fn(usize) -> String + Clone + Send + Sync + 'static) -> ProgressBar {
        let columns = Arc::clone(&self.columns);
        let draw = move |_: &ProgressState, to: &mut dyn std::fmt::Write| {
            // A line that fills the last column makes some terminals begin another one.
            let line = text(columns().saturating_sub(1));
            // An error while drawing a line is ignored.
            to.write_str(&line).unwrap_or_default();
        };
        let style = ProgressStyle::with_template("{line}").unwrap_or_else(|_| ProgressStyle::default_bar());
        // Hidden until it is added: what it draws before would stay on the screen.
        let line =
            ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()).with_style(style.with_key("line", draw));
        let line = match self.totals.first().filter(|_| above) {
            Some(first) => self.all.insert_before(first, line),
            None => self.all.add(line),
        };
        line.tick();
        line.enable_steady_tick(REDRAW);
        line
    }

    fn remove(&self, line: &ProgressBar) {
        line.finish_and_clear();
        self.all.remove(line);
    }
}

/// The progress of all archives.
pub(crate) struct Progress {
    pace: Pace,
    lines: Option<Lines>,
    counters: Counters,
    totals: Arc<Mutex<Totals>>,
    archives: HashMap<String, (Arc<Mutex<Work>>, Option<ProgressBar>)>,
}

impl Progress {
    pub(crate) fn new(pace: Pace, screen: Option<Screen>, counters: Counters) -> Self {
        let lines = screen.map(|Screen { target, columns }| Lines {
            all: MultiProgress::with_draw_target(target),
            columns: columns.into(),
            totals: Vec::new(),
        });
        Self { pace, lines, counters, totals: Arc::default(), archives: HashMap::new() }
    }

    /// Returns whether lines are redrawn, so that other output to the terminal needs [`Progress::suspend`].
    pub(crate) fn has_lines(&self) -> bool {
        self.lines.is_some()
    }

    pub(crate) fn start(&mut self, archive: &str, stage: Stage, total: Option<u64>) {
        self.remove(archive);
        lock(&self.totals).start(stage, total, self.counters.members.load(Ordering::Relaxed));
        self.show_totals();
        let now = Instant::now();
        let (name, verb) = (text::safe(archive), text::verbs(stage).0);
        let work =
            Work { name, verb, stage, done: 0, total, began: now, reported_at: now, reported_bytes: 0, lines: 0 };
        let work = Arc::new(Mutex::new(work));
        let shown = Arc::clone(&work);
        let line = self.lines.as_mut().map(|lines| lines.add(true, move |columns| lock(&shown).line(columns)));
        self.archives.insert(archive.to_owned(), (work, line));
    }

    /// Shows what the run, or the work on one archive, does now.
    pub(crate) fn phase(&mut self, archive: &str, phase: Phase) {
        if let Some((work, _)) = self.archives.get(archive) {
            lock(work).verb = text::phase(phase);
        } else if archive.is_empty() {
            lock(&self.totals).phase = Some(phase);
            self.show_totals();
        }
    }

    fn show_totals(&mut self) {
        lock(&self.totals).began.get_or_insert_with(Instant::now);
        let Some(lines) = &mut self.lines else { return };
        if !lines.totals.is_empty() {
            return;
        }
        let (totals, counters) = (Arc::clone(&self.totals), self.counters.clone());
        let time = lines.add(false, move |columns| lock(&totals).time_line(&counters, columns));
        let (totals, counters) = (Arc::clone(&self.totals), self.counters.clone());
        let work = lines.add(false, move |columns| lock(&totals).work_line(&counters, columns));
        lines.totals = vec![time, work];
    }

    /// Adds bytes; returns the progress to report if a line is due.
    pub(crate) fn advance(&mut self, archive: &str, bytes: u64) -> Option<State> {
        let (work, _) = self.archives.get(archive)?;
        let mut totals = lock(&self.totals);
        totals.done = totals.done.saturating_add(bytes);
        let mut work = lock(work);
        work.done = work.done.saturating_add(bytes);
        let due = self.pace.is_due(work.reported_at.elapsed(), work.lines, work.reported_bytes, work.done, work.total);
        due.then(|| {
            work.reported_at = Instant::now();
            work.reported_bytes = work.done;
            work.lines += 1;
            work.state()
        })
    }

    /// Adds bytes that were written.
    pub(crate) fn wrote(&mut self, bytes: u64) {
        lock(&self.totals).written += bytes;
    }

    pub(crate) fn finish(&mut self, archive: &str) {
        self.remove(archive);
    }

    fn remove(&mut self, archive: &str) {
        if let Some((_, Some(line))) = self.archives.remove(archive)
            && let Some(lines) = &self.lines
        {
            lines.remove(&line);
        }
    }

    /// Clears all lines at the end of a run.
    pub(crate) fn finish_all(&mut self) {
        let archives: Vec<_> = self.archives.keys().cloned().collect();
        for archive in archives {
            self.remove(&archive);
        }
        if let Some(lines) = &mut self.lines {
            for line in std::mem::take(&mut lines.totals) {
                lines.remove(&line);
            }
        }
    }

    /// Runs `print` while the lines are cleared.
    pub(crate) fn suspend<R>(&self, print: impl FnOnce() -> R) -> R {
        match &self.lines {
            Some(lines) => lines.all.suspend(print),
            None => print(),
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
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

    fn ago(seconds: u64) -> Instant {
        Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap()
    }

    fn work(name: &str, total: Option<u64>) -> Work {
        Work {
            name: name.to_owned(),
            verb: "archiving",
            stage: Stage::Archiving,
            done: 25 << 20,
            total,
            began: ago(10),
            reported_at: ago(10),
            reported_bytes: 0,
            lines: 0,
        }
    }

    #[test]
    fn the_line_of_an_archive_fits_every_terminal() {
        let known = work("cvat_data", Some(100 << 20));
        assert_eq!(
            known.line(99),
            "cvat_data       archiving  [====>            ]   25 %  25.0 MiB of 100 MiB  2.50 MiB/s  30.0 s left"
        );
        assert_eq!(known.line(59), "cvat_data        25 %  25.0 MiB of 100 MiB  30.0 s left");
        assert_eq!(known.line(30), "cvat_data    25 %");
        let long = work("postgres_of_the_very_long_project_db", Some(100 << 20));
        assert!(long.line(59).starts_with("postgr…ject_db  "), "{}", long.line(59));
        let unknown = work("cvat_data", None);
        assert_eq!(unknown.line(59), "cvat_data       archiving  25.0 MiB  2.50 MiB/s");
        for columns in 0..120 {
            for work in [&known, &long, &unknown] {
                assert!(work.line(columns).chars().count() <= columns, "{columns}: {}", work.line(columns));
            }
        }
    }

    #[test]
    fn the_lines_of_all_archives_fit_every_terminal() {
        let counters = Counters::default();
        counters.members.store(1_234_567, Ordering::Relaxed);
        counters.warnings.store(2, Ordering::Relaxed);
        let totals = Totals {
            stage: Some(Stage::Archiving),
            done: 3 << 30,
            total: 12 << 30,
            written: 2 << 30,
            began: Some(ago(70)),
            stage_began: Some(ago(60)),
            ..Totals::default()
        };
        assert_eq!(
            totals.time_line(&counters, 79),
            "total  archiving   25 %  1 min 10 s elapsed  3 min 00 s left  2 warnings"
        );
        assert_eq!(totals.time_line(&counters, 59), "archiving   25 %  3 min 00 s left  2 warnings");
        assert_eq!(
            totals.work_line(&counters, 79),
            "3.00 GiB of 12.0 GiB  2.00 GiB written  1,234,567 members  51.2 MiB/s"
        );
        assert_eq!(totals.work_line(&counters, 59), "3.00 GiB of 12.0 GiB  2.00 GiB written  1,234,567 members");
        for columns in 0..120 {
            for line in [totals.time_line(&counters, columns), totals.work_line(&counters, columns)] {
                assert!(line.chars().count() <= columns, "{columns}: {line}");
            }
        }
        counters.cancelled.store(true, Ordering::Relaxed);
        assert!(totals.time_line(&counters, 79).starts_with("total  interrupting "));
    }

    #[test]
    fn what_is_checked_before_it_is_restored_is_not_part_of_the_total() {
        let mut totals = Totals::default();
        totals.start(Stage::Checking, Some(10), 0);
        totals.start(Stage::Checking, Some(20), 0);
        totals.done = 30;
        assert_eq!(totals.state(Stage::Checking).percent(), "100 %");
        totals.start(Stage::Restoring, Some(10), 5);
        totals.start(Stage::Restoring, None, 5);
        assert_eq!((totals.done, totals.members_before), (0, 5));
        assert_eq!(totals.state(Stage::Restoring).percent(), "");
    }
}
