//! What a run has done so far, collected from its events: for the manifest of a set, the file of metrics and the hooks.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

use crate::monitor::{Event, Monitor, Stage, Summary};

/// The most warnings of a run that are kept as text: a tree can have millions of sockets.
const MOST_WARNINGS: usize = 1000;

/// A monitor that records what a run does, and passes everything on.
pub struct Recorder<'a> {
    monitor: &'a dyn Monitor,
    recorded: Mutex<Recorded>,
}

/// What was recorded of a run.
#[derive(Debug, Clone, Default)]
pub struct Recorded {
    /// The first warnings.
    pub warnings: Vec<String>,
    /// The number of all warnings.
    pub warning_count: u64,
    /// The names of the containers that were stopped, and when.
    pub stopped: Vec<(String, Timestamp)>,
    /// The names of the containers that were started again, and when.
    pub started: Vec<(String, Timestamp)>,
    /// The time from the first stop to the last start, once all containers run again.
    pub downtime: Option<Duration>,
    /// The archives that were written. They are there only if the run succeeds.
    pub archives: Vec<Summary>,
    /// The path of the set that was made.
    pub set: Option<PathBuf>,
}

impl<'a> Recorder<'a> {
    /// Returns a recorder that passes events on to `monitor`.
    #[must_use]
    pub fn new(monitor: &'a dyn Monitor) -> Self {
        Self { monitor, recorded: Mutex::default() }
    }

    /// Returns what was recorded so far.
    #[must_use]
    pub fn recorded(&self) -> Recorded {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Monitor for Recorder<'_> {
    fn event(&self, event: &Event<'_>) {
        match event {
            Event::Issue(issue) => {
                let mut recorded = self.lock();
                recorded.warning_count += 1;
                if recorded.warnings.len() < MOST_WARNINGS {
                    recorded.warnings.push(issue.to_string());
                }
            }
            Event::ContainerStopped(name) => self.lock().stopped.push(((*name).to_owned(), Timestamp::now())),
            Event::ContainerStarted(name) => self.lock().started.push(((*name).to_owned(), Timestamp::now())),
            Event::Downtime(time) => self.lock().downtime = Some(*time),
            Event::Finished { stage: Stage::Archiving, summary, .. } => self.lock().archives.push((*summary).clone()),
            Event::SetMade(path) => self.lock().set = Some((*path).to_owned()),
            // There may be millions of these: no lock for them.
            _ => {}
        }
        self.monitor.event(event);
    }

    fn cancelled(&self) -> bool {
        self.monitor.cancelled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::Collector;

    #[test]
    fn what_happens_is_recorded_and_passed_on() {
        let collector = Collector::default();
        let recorder = Recorder::new(&collector);
        for number in 0..=MOST_WARNINGS {
            recorder.issue("a", number.to_string());
        }
        recorder.event(&Event::ContainerStopped("web"));
        recorder.event(&Event::Downtime(Duration::from_secs(3)));
        recorder.note("a note");
        let Recorded { warnings, warning_count, stopped, downtime, .. } = recorder.recorded();
        assert_eq!((warnings.len(), warning_count), (MOST_WARNINGS, MOST_WARNINGS as u64 + 1));
        assert_eq!((warnings[1].as_str(), stopped[0].0.as_str()), ("a: 1", "web"));
        assert_eq!((downtime, collector.downtime()), (Some(Duration::from_secs(3)), downtime));
        assert_eq!((collector.issues().len(), collector.notes()), (MOST_WARNINGS + 1, vec!["a note".to_owned()]));
    }
}
