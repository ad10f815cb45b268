//! Checking that an application works, after its containers were started: a command in one of them tells.

use std::fmt;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::error::ErrorKind;
use crate::host::inventory::{Execution, Host, State};
use crate::member::printable;
use crate::monitor::Monitor;
use crate::units;

/// The time between the end of a command that has failed and its repetition.
const INTERVAL: Duration = Duration::from_secs(2);
/// How often a wait looks whether the run was cancelled.
const CANCEL_CHECK: Duration = Duration::from_millis(50);
/// The most characters of what a command has printed that are reported.
const MOST_CHARACTERS: usize = 200;

/// A command in one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerCheck {
    /// The id of the container.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The command.
    pub command: String,
}

impl fmt::Display for ContainerCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, printable(self.command.as_bytes()))
    }
}

/// Runs each command until it succeeds, because an application may take minutes to start; all of them at most for `limit`.
/// One that has not succeeded by then is an issue, because it does not undo what was done: `done` says what is complete.
pub fn run_checks(host: &dyn Host, checks: &[ContainerCheck], limit: Duration, done: &str, monitor: &dyn Monitor) {
    let begun = Instant::now();
    for check in checks {
        match until_it_succeeds(host, check, limit.saturating_sub(begun.elapsed()), monitor) {
            Ok(()) => monitor.note(&format!("the check '{check}' has succeeded")),
            Err(why) => monitor.issue(
                "",
                format!("{done}, but the check '{check}' has not succeeded: {why} (see `docker logs {}`)", check.name),
            ),
        }
    }
}

/// Repeats a command until it succeeds, its container is not running, or the time is over. The error says how it has failed
/// last.
fn until_it_succeeds(
    host: &dyn Host,
    check: &ContainerCheck,
    limit: Duration,
    monitor: &dyn Monitor,
) -> Result<(), String> {
    let begun = Instant::now();
    let mut is_announced = false;
    loop {
        match host.state(&check.id) {
            Ok(Some(now)) if now.state == State::Running => {}
            Ok(Some(_)) => return Err("the container is not running".to_owned()),
            Ok(None) => return Err("the container does not exist any more".to_owned()),
            Err(error) => return Err(error.to_string()),
        }
        let left = limit.saturating_sub(begun.elapsed()).max(INTERVAL);
        let why = match host.execute(&check.id, &check.command, left) {
            Ok(Execution { status: 0, .. }) => return Ok(()),
            Ok(failed) => describe(&failed),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Err("the run was interrupted".to_owned()),
            Err(error) => error.to_string(),
        };
        let left = limit.saturating_sub(begun.elapsed());
        if left <= INTERVAL {
            return Err(why);
        }
        if !std::mem::replace(&mut is_announced, true) {
            monitor.note(&format!("the check '{check}' is repeated for up to {}: {why}", units::duration(left)));
        }
        let pause = Instant::now();
        while pause.elapsed() < INTERVAL {
            if monitor.cancelled() {
                return Err(format!("the run was interrupted, and before {why}"));
            }
            sleep(CANCEL_CHECK);
        }
    }
}

/// Returns the exit status of a command, and the last line that it has printed.
fn describe(failed: &Execution) -> String {
    let output = String::from_utf8_lossy(&failed.output);
    let last = output.lines().rev().map(str::trim).find(|line| !line.is_empty());
    let shown = |line: &str| printable(line.chars().take(MOST_CHARACTERS).collect::<String>().as_bytes());
    let output = last.map_or_else(|| "nothing printed".to_owned(), |line| format!("'{}'", shown(line)));
    format!("exit status {}, {output}", failed.status)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::super::fake_host::{FakeHost, pair};
    use super::*;
    use crate::host::inventory::ContainerState;
    use crate::monitor::Collector;

    fn check(command: &str) -> ContainerCheck {
        ContainerCheck { id: "iddb".to_owned(), name: "db".to_owned(), command: command.to_owned() }
    }

    fn execution(status: i64, output: &str) -> Execution {
        Execution { status, output: output.as_bytes().to_owned() }
    }

    /// Runs the check `it's up`, whose command ends so, one after the other.
    fn run(host: &FakeHost, limit: Duration) -> (Vec<String>, Vec<String>) {
        let monitor = Collector::default();
        run_checks(host, &[check("it's up")], limit, "restored", &monitor);
        (monitor.notes(), monitor.issues().into_iter().map(|issue| issue.message).collect())
    }

    fn host(executions: &[Execution]) -> FakeHost {
        FakeHost { executions: Mutex::new(executions.to_vec().into()), ..FakeHost::of(&pair()) }
    }

    #[test]
    fn a_command_that_succeeds_is_run_once() {
        let host = host(&[execution(0, "fine\n"), execution(1, "")]);
        let (notes, issues) = run(&host, Duration::MAX);
        assert_eq!((&notes[..], &issues[..]), (&["the check 'db: it's up' has succeeded".to_owned()][..], &[][..]));
        assert_eq!(host.calls(), ["execute iddb it's up"]);
    }

    #[test]
    fn a_command_is_repeated_until_it_succeeds() {
        let host = host(&[execution(1, "starting\n\x1b[1m\n\n"), execution(0, "")]);
        let begun = Instant::now();
        let (notes, issues) = run(&host, Duration::from_secs(60));
        assert!(begun.elapsed() >= INTERVAL);
        assert!(issues.is_empty(), "{issues:?}");
        assert!(notes[0].starts_with("the check 'db: it's up' is repeated for up to "), "{notes:?}");
        assert!(notes[0].ends_with(": exit status 1, '\\033[1m'"), "{notes:?}");
        assert_eq!(notes.len(), 2);
    }

    #[test]
    fn one_that_does_not_succeed_in_time_is_an_issue() {
        let host = host(&[execution(7, "")]);
        let (notes, issues) = run(&host, Duration::from_secs(1));
        assert!(notes.is_empty(), "{notes:?}");
        assert_eq!(
            issues,
            [
                "restored, but the check 'db: it's up' has not succeeded: exit status 7, nothing printed (see `docker logs db`)"
            ]
        );
    }

    #[test]
    fn a_command_that_cannot_be_run_is_repeated_unless_the_run_is_interrupted() {
        let host = host(&[]).failing(&["execute iddb it's up"]);
        let (notes, issues) = run(&host, INTERVAL + Duration::from_millis(500));
        assert!(notes[0].contains("is repeated for up to ") && host.calls().len() == 2, "{notes:?}");
        assert!(issues[0].contains("has not succeeded: cannot execute iddb it's up"), "{issues:?}");

        let host = FakeHost { interrupted: true, ..FakeHost::of(&pair()) };
        let (notes, issues) = run(&host, Duration::from_secs(60));
        assert!(issues[0].contains("has not succeeded: the run was interrupted"), "{issues:?}");
        assert!(notes.is_empty() && host.calls().len() == 1, "{notes:?}");
    }

    #[test]
    fn nothing_is_run_in_a_container_that_is_not_running() {
        let host = host(&[]);
        host.set("iddb", ContainerState::default());
        let (_, issues) = run(&host, Duration::from_secs(60));
        assert!(issues[0].contains("has not succeeded: the container is not running ("), "{issues:?}");
        host.remove("iddb");
        let (_, issues) = run(&host, Duration::from_secs(60));
        assert!(issues[0].contains("has not succeeded: the container does not exist any more ("), "{issues:?}");
        assert!(host.calls().is_empty());
    }
}
