//! A fake host, for the tests of stopping and starting.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::host::inventory::{Container, ContainerState, Dependency, Execution, Host, Inventory, State, StopOutcome};

use super::stop_record::records;

pub(super) fn container(name: &str, second: u32, depends_on: &[&str]) -> Container {
    Container {
        id: format!("id{name}"),
        name: name.to_owned(),
        state: State::Running,
        created: format!("2026-01-01T00:00:{second:02}Z"),
        started: "2026-01-02T00:00:00Z".to_owned(),
        depends_on: depends_on.iter().map(|&on| Dependency { on: on.to_owned(), healthy: false }).collect(),
        ..Container::default()
    }
}

/// The states of a container after it was started, by the number of earlier looks at it.
type AfterStart = Box<dyn Fn(usize) -> ContainerState + Sync>;

/// A fake host that records its calls. The calls listed in `fail` fail.
#[derive(Default)]
pub(super) struct FakeHost {
    pub(super) calls: Mutex<Vec<String>>,
    pub(super) fail: Vec<String>,
    /// Whether the run is interrupted while a command is run in a container.
    pub(super) interrupted: bool,
    /// The states of the containers, by id.
    pub(super) states: Mutex<BTreeMap<String, ContainerState>>,
    /// The containers that end by themselves when another one is stopped: (its id, theirs).
    pub(super) ends_meanwhile: Vec<(&'static str, &'static str)>,
    /// The states of each container after it was started, instead of one that keeps running.
    pub(super) after_start: Option<AfterStart>,
    /// The number of looks at each container since it was started, by id.
    pub(super) looks_after_start: Mutex<BTreeMap<String, usize>>,
    /// How the commands end that are run in containers, in their order.
    pub(super) executions: Mutex<VecDeque<Execution>>,
    /// The directory in which the record must exist at each stop.
    pub(super) state_dir: Option<PathBuf>,
}

impl FakeHost {
    /// Returns a host with these containers.
    pub(super) fn of(containers: &[Container]) -> Self {
        let state = |one: &Container| ContainerState {
            state: one.state,
            started: one.started.clone(),
            ..ContainerState::default()
        };
        let states = containers.iter().map(|one| (one.id.clone(), state(one))).collect();
        Self { states: Mutex::new(states), ..Self::default() }
    }

    pub(super) fn failing(self, fail: &[&str]) -> Self {
        Self { fail: fail.iter().map(|&call| call.to_owned()).collect(), ..self }
    }

    /// Sets the state of a container.
    pub(super) fn set(&self, id: &str, state: ContainerState) {
        self.states.lock().unwrap().insert(id.to_owned(), state);
    }

    /// Removes a container.
    pub(super) fn remove(&self, id: &str) {
        self.states.lock().unwrap().remove(id);
    }

    fn call(&self, call: String) -> Result<()> {
        let failed = self.fail.contains(&call);
        let error = Error::refused(format!("cannot {call}"));
        self.calls.lock().unwrap().push(call);
        if failed { Err(error) } else { Ok(()) }
    }

    pub(super) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }

    /// Changes the state of a container, unless it does not exist; returns whether it was changed.
    fn change(&self, id: &str, to: State) -> bool {
        let mut states = self.states.lock().unwrap();
        let Some(now) = states.get_mut(id) else { return false };
        std::mem::replace(&mut now.state, to) != to
    }
}

impl FakeHost {
    fn stop_one(&self, id: &str) -> Result<StopOutcome> {
        for (_, other) in self.ends_meanwhile.iter().filter(|(stopped, _)| *stopped == id) {
            self.change(other, State::Stopped);
        }
        // The engine may carry out a stop although the request fails.
        let was_running = self.change(id, State::Stopped);
        self.call(format!("stop {id}"))?;
        Ok(if was_running { StopOutcome::Stopped } else { StopOutcome::WasStopped })
    }
}

impl Host for FakeHost {
    fn describe(&self) -> String {
        "fake".to_owned()
    }

    fn inventory(&self) -> Result<Inventory> {
        Ok(Inventory::default())
    }

    fn state(&self, id: &str) -> Result<Option<ContainerState>> {
        if let (Some(after_start), Some(looks)) =
            (&self.after_start, self.looks_after_start.lock().unwrap().get_mut(id))
        {
            *looks += 1;
            return Ok(Some(after_start(*looks - 1)));
        }
        Ok(self.states.lock().unwrap().get(id).cloned())
    }

    fn stop(&self, ids: &[&str], ended: &mut dyn FnMut(&str, Result<StopOutcome>)) {
        if let Some(dir) = &self.state_dir {
            let record = std::fs::read_to_string(&records(dir).unwrap()[0]).unwrap();
            for id in ids {
                assert!(record.contains(id), "the record is on disk before the container is stopped");
            }
        }
        for id in ids {
            ended(id, self.stop_one(id));
        }
    }

    fn execute(&self, id: &str, command: &str, _limit: Duration) -> Result<Execution> {
        self.call(format!("execute {id} {command}"))?;
        if self.interrupted {
            return Err(Error::interrupted());
        }
        Ok(self.executions.lock().unwrap().pop_front().unwrap())
    }

    fn start(&self, ids: &[&str], requested: &mut dyn FnMut(&str, Result<()>)) {
        for id in ids {
            let outcome = self.call(format!("start {id}"));
            if outcome.is_ok() {
                self.change(id, State::Running);
                self.looks_after_start.lock().unwrap().insert((*id).to_owned(), 0);
            }
            requested(id, outcome);
        }
    }
}

pub(super) fn pair() -> [Container; 2] {
    [container("db", 1, &[]), container("web", 2, &["db"])]
}

pub(super) fn refs(containers: &[Container]) -> Vec<&Container> {
    containers.iter().collect()
}
