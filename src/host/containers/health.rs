//! Waiting for the health of a container before those that need it are started (`condition: service_healthy`).

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::host::inventory::{ContainerState, HealthStatus, Host, State};
use crate::monitor::Monitor;

use super::stop_record::Entry;

/// The longest wait for the health of a container. Its dependents must run again, and their restart policies retry.
const LONGEST: Duration = Duration::from_secs(60);
/// The time between two looks at the containers.
const INTERVAL: Duration = Duration::from_millis(100);

/// A container whose health is awaited.
struct Awaited<'a> {
    entry: &'a Entry,
    started: Instant,
    /// The names of the containers that are started afterwards.
    dependents: Vec<&'a str>,
    announced: bool,
}

/// Waits until those of the `started` containers are healthy that `dependents` need, each since its start for as long as its
/// checks may take. One that does not become healthy is an issue: its dependents must be started nevertheless. The wait ends
/// once the run is cancelled.
pub(super) fn await_healthy<'a>(
    host: &dyn Host,
    started: impl Iterator<Item = (&'a Entry, Instant)>,
    dependents: &[&'a Entry],
    monitor: &dyn Monitor,
) {
    let mut awaited: Vec<Awaited<'a>> = Vec::new();
    for (entry, started) in started {
        let names = dependents.iter().filter(|dependent| dependent.must_be_healthy.contains(&entry.id));
        let dependents: Vec<&str> = names.map(|dependent| dependent.name.as_str()).collect();
        if !dependents.is_empty() {
            awaited.push(Awaited { entry, started, dependents, announced: false });
        }
    }
    loop {
        // One that does not run any more is reported when all have been started.
        awaited.retain_mut(|one| {
            let now = host.state(&one.entry.id).ok().flatten();
            now.is_some_and(|now| now.state == State::Running && one.is_to_be_awaited(&now, monitor))
        });
        if awaited.is_empty() {
            return;
        }
        if monitor.cancelled() {
            for Awaited { entry, .. } in &awaited {
                monitor.note(&format!("not waiting any longer until container '{}' is healthy", entry.name));
            }
            return;
        }
        sleep(INTERVAL);
    }
}

impl Awaited<'_> {
    /// Returns whether the container may still become healthy in time.
    fn is_to_be_awaited(&mut self, now: &ContainerState, monitor: &dyn Monitor) -> bool {
        let Some(health) = now.health else { return false };
        let (name, dependents) = (&self.entry.name, self.dependents.join("', '"));
        let limit = health.limit.min(LONGEST);
        let why = match health.status {
            HealthStatus::Healthy => return false,
            HealthStatus::Unhealthy => "is unhealthy".to_owned(),
            HealthStatus::Starting if self.started.elapsed() >= limit => {
                format!("is not healthy {} s after its start", limit.as_secs())
            }
            HealthStatus::Starting => {
                if !std::mem::replace(&mut self.announced, true) {
                    monitor.note(&format!(
                        "waiting up to {} s until container '{name}' is healthy, before '{dependents}' is started",
                        limit.as_secs()
                    ));
                }
                return true;
            }
        };
        monitor.issue(
            "",
            format!(
                "container '{name}' {why}: '{dependents}', which needs that, is started nevertheless (`docker inspect \
                 {name}` shows its checks)"
            ),
        );
        false
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::super::fake_host::{FakeHost, container, refs};
    use super::super::stopped::Stopped;
    use super::*;
    use crate::host::inventory::{Container, Dependency, Health};
    use crate::monitor::{Collector, Event};

    /// Returns a database and a web server that is started once the database is healthy.
    fn pair() -> [Container; 2] {
        let needs = Dependency { on: "db".to_owned(), healthy: true };
        [container("db", 1, &[]), Container { depends_on: vec![needs], ..container("web", 2, &[]) }]
    }

    fn health(status: HealthStatus) -> ContainerState {
        let limit = Duration::from_millis(800);
        ContainerState { state: State::Running, health: Some(Health { status, limit }), ..ContainerState::default() }
    }

    /// Stops the pair and starts it again on a host where the database has these states after its start. Returns the host's
    /// calls, each with the number of the state at that time.
    fn start(
        states: impl Fn(usize) -> ContainerState + Sync + 'static,
        monitor: &dyn Monitor,
    ) -> (Vec<String>, Duration) {
        let dir = tempfile::tempdir().unwrap();
        let containers = pair();
        let host = FakeHost { after_start: Some(Box::new(states)), ..FakeHost::of(&containers) };
        let stopped = Stopped::stop(&host, dir.path(), &refs(&containers), monitor).unwrap();
        let begin = Instant::now();
        stopped.start_again().unwrap();
        (host.calls(), begin.elapsed())
    }

    const CALLS: [&str; 4] = ["stop idweb", "stop iddb", "start iddb", "start idweb"];

    #[test]
    fn dependents_are_started_once_it_is_healthy() {
        let monitor = Collector::default();
        let states = |look| health(if look < 4 { HealthStatus::Starting } else { HealthStatus::Healthy });
        let (calls, took) = start(states, &monitor);
        assert_eq!(calls, CALLS);
        assert!(took >= INTERVAL * 4, "{took:?}");
        assert_eq!(monitor.issues(), []);
        assert_eq!(monitor.notes(), ["waiting up to 0 s until container 'db' is healthy, before 'web' is started"]);
    }

    #[test]
    fn dependents_are_started_although_it_does_not_become_healthy() {
        for (status, why, least) in [
            (HealthStatus::Starting, "is not healthy 0 s after its start", Duration::from_millis(800)),
            (HealthStatus::Unhealthy, "is unhealthy", Duration::ZERO),
        ] {
            let monitor = Collector::default();
            let (calls, took) = start(move |_| health(status), &monitor);
            assert_eq!(calls, CALLS);
            assert!(took >= least && took < least + Duration::from_millis(600), "{took:?}");
            let expected = format!(
                "container 'db' {why}: 'web', which needs that, is started nevertheless (`docker inspect db` shows its \
                 checks)"
            );
            assert_eq!(monitor.issues()[0].message, expected);
        }
    }

    #[test]
    fn what_has_no_health_check_is_not_awaited() {
        let monitor = Collector::default();
        let (calls, took) = start(|_| ContainerState { health: None, ..health(HealthStatus::Starting) }, &monitor);
        assert_eq!(calls, CALLS);
        assert!(took < INTERVAL && monitor.issues().is_empty(), "{took:?}");
    }

    #[test]
    fn a_signal_ends_the_wait_and_not_the_start() {
        /// A monitor that is cancelled once a wait has begun.
        #[derive(Default)]
        struct Signalled(AtomicBool, Collector);
        impl Monitor for Signalled {
            fn event(&self, event: &Event<'_>) {
                self.1.event(event);
                self.0.fetch_or(matches!(event, Event::Note(_)), Ordering::Relaxed);
            }

            fn cancelled(&self) -> bool {
                self.0.load(Ordering::Relaxed)
            }
        }
        let monitor = Signalled::default();
        let (calls, took) = start(|_| health(HealthStatus::Starting), &monitor);
        assert_eq!(calls, CALLS);
        assert!(took < Duration::from_millis(500), "{took:?}");
        assert_eq!(monitor.1.notes()[1], "not waiting any longer until container 'db' is healthy");
    }
}
