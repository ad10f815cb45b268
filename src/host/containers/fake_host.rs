//! A fake host, for the tests of stopping and starting.

use std::path::PathBuf;
use std::sync::Mutex;

use crate::error::{Error, Result};
use crate::host::inventory::{Container, Host, Inventory, State};

use super::stop_record::records;

pub(super) fn container(name: &str, second: u32, depends_on: &[&str]) -> Container {
    Container {
        id: format!("id{name}"),
        name: name.to_owned(),
        state: State::Running,
        created: format!("2026-01-01T00:00:{second:02}Z"),
        depends_on: depends_on.iter().map(|&name| name.to_owned()).collect(),
        ..Container::default()
    }
}

/// A fake host that records its calls. The calls listed in `fail` fail.
#[derive(Default)]
pub(super) struct FakeHost {
    pub(super) calls: Mutex<Vec<String>>,
    pub(super) fail: Vec<String>,
    pub(super) containers: Vec<Container>,
    /// The directory in which the record must exist at each stop.
    pub(super) state_dir: Option<PathBuf>,
}

impl FakeHost {
    pub(super) fn failing(fail: &[&str]) -> Self {
        Self { fail: fail.iter().map(|&call| call.to_owned()).collect(), ..Self::default() }
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
}

impl Host for FakeHost {
    fn describe(&self) -> String {
        "fake".to_owned()
    }

    fn inventory(&self) -> Result<Inventory> {
        Ok(Inventory { containers: self.containers.clone(), ..Inventory::default() })
    }

    fn stop(&self, id: &str) -> Result<()> {
        if let Some(dir) = &self.state_dir {
            let record = std::fs::read_to_string(&records(dir).unwrap()[0]).unwrap();
            assert!(record.contains(id), "the record is on disk before the container is stopped");
        }
        self.call(format!("stop {id}"))
    }

    fn start(&self, id: &str) -> Result<()> {
        self.call(format!("start {id}"))
    }
}

pub(super) fn pair() -> [Container; 2] {
    [container("db", 1, &[]), container("web", 2, &["db"])]
}

pub(super) fn refs(containers: &[Container]) -> Vec<&Container> {
    containers.iter().collect()
}
