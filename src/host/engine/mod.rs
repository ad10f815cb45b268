//! The engine as a source of inventories, through bollard. Only this module is asynchronous, and its
//! interface is not: it holds a runtime of one thread, and every call ends within a time limit.
//!
//! The paths in an engine's answers are paths of the engine's machine. Files below its root directory show whether
//! that is this machine; if they do not, the inventory has an obstacle.

mod address;
mod context;
pub(super) mod convert;
mod fault;
mod locality;

use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

use bollard::models::ContainerInspectResponse;
use bollard::query_parameters::{
    InspectContainerOptions, ListContainersOptions, ListVolumesOptions, StartContainerOptions, StopContainerOptions,
};
use bollard::{API_DEFAULT_VERSION, Docker};

use crate::error::{Error, Result};
use crate::member::printable;

use super::inventory::{ContainerState, Host, Inventory, State, StopOutcome, Volume};
use super::parse;
use address::{Address, local_socket};
use context::Configuration;
use convert::{container_state, name_of, state_of};
use fault::{Answer, Fault, within};

/// The time limit for connecting. A healthy daemon answers in milliseconds.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// The time limit of one request: enough for a busy host with hundreds of containers.
const REQUEST_LIMIT: Duration = Duration::from_secs(120);
/// The time in seconds before the engine kills a container that it stops, unless the container has its own timeout.
const DEFAULT_STOP_SECONDS: u64 = 10;
/// The time that a stop may take in addition to the container's stop timeout: unmounting, networks, slow disks.
const STOP_SLACK: Duration = Duration::from_secs(300);
/// The time limit for stopping a container that has an unlimited stop timeout.
const ENDLESS: Duration = Duration::from_secs(7 * 24 * 3600);

/// A connection to a Docker engine.
pub struct Engine {
    docker: Docker,
    runtime: tokio::runtime::Runtime,
    address: Address,
    version: String,
}

impl Engine {
    /// Connects to `addr` (`--docker`), else to `DOCKER_HOST`, else to the local socket.
    ///
    /// # Errors
    /// The address is malformed, no engine answers there within the time limit, or none is given and the current Docker
    /// context names another engine than the local one.
    pub fn connect(addr: Option<&str>) -> Result<Self> {
        let from_environment = std::env::var("DOCKER_HOST").ok();
        let given = addr.or(from_environment.as_deref()).filter(|addr| !addr.is_empty());
        let address = if let Some(addr) = given {
            Address::parse(addr)?
        } else {
            let socket = local_socket(std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from));
            Configuration::of_this_process().check(&socket)?;
            Address::Unix(socket)
        };
        let tls = std::env::var_os("DOCKER_TLS_VERIFY").is_some_and(|value| !value.is_empty());
        if let (Address::Tcp(_), true) = (&address, tls) {
            return Err(Error::refused(format!(
                "cannot connect to {address} with TLS (DOCKER_TLS_VERIFY is set): not supported"
            ))
            .hint("run voltar on the Docker host itself, through its local socket"));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|cause| Error::failed("cannot connect to", address.to_string(), cause))?;
        let (docker, version) = runtime.block_on(open(&address))?;
        Ok(Self { docker, runtime, address, version })
    }

    /// Runs one request to its end.
    fn run<T>(&self, what: &str, limit: Duration, request: impl Future<Output = Answer<T>>) -> Result<T> {
        self.runtime.block_on(within(limit, request)).map_err(|fault| fault.into_error(what, &self.address))
    }

    /// Inspects a container; returns `None` if it does not exist.
    fn inspect(&self, id: &str) -> Result<Option<ContainerInspectResponse>> {
        let request = self.docker.inspect_container(id, None::<InspectContainerOptions>);
        let what = format!("cannot inspect container {}", short(id));
        match self.runtime.block_on(within(REQUEST_LIMIT, request)) {
            Ok(found) => Ok(Some(found)),
            // The container was removed since it was listed.
            Err(Fault::Engine(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. })) => Ok(None),
            Err(fault) => Err(fault.into_error(&what, &self.address)),
        }
    }

    /// Inspects a container that must exist.
    fn present(&self, id: &str) -> Result<ContainerInspectResponse> {
        self.inspect(id)?.ok_or_else(|| Error::refused(format!("container {} does not exist any more", short(id))))
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("address", &self.address).field("version", &self.version).finish_non_exhaustive()
    }
}

impl Host for Engine {
    fn describe(&self) -> String {
        format!("Docker {} at {}", self.version, self.address)
    }

    fn address(&self) -> String {
        self.address.to_string()
    }

    fn inventory(&self) -> Result<Inventory> {
        let info = self.run("cannot ask about the engine", REQUEST_LIMIT, self.docker.info())?;
        let volumes =
            self.run("cannot list volumes", REQUEST_LIMIT, self.docker.list_volumes(None::<ListVolumesOptions>))?;
        let volumes =
            volumes.volumes.unwrap_or_default().iter().map(convert::volume).collect::<Result<Vec<Volume>>>()?;
        let mountpoints = volumes.iter().map(|volume| (volume.name.clone(), volume.mountpoint.clone())).collect();

        let all = ListContainersOptions { all: true, ..ListContainersOptions::default() };
        let listed = self.run("cannot list containers", REQUEST_LIMIT, self.docker.list_containers(Some(all)))?;
        let mut containers = Vec::with_capacity(listed.len());
        for summary in listed {
            let id = parse::id(summary.id.as_deref().unwrap_or_default())?;
            if let Some(inspected) = self.inspect(&id)? {
                containers.push(convert::container(&inspected, &mountpoints)?);
            }
        }
        Ok(Inventory {
            containers,
            volumes,
            obstacles: locality::obstacles(&self.address, &info, &locality::Facts::gather(&info)),
            ..Inventory::default()
        })
    }

    fn state(&self, container_id: &str) -> Result<Option<ContainerState>> {
        Ok(self.inspect(&parse::id(container_id)?)?.as_ref().map(container_state))
    }

    fn stop(&self, container_id: &str) -> Result<StopOutcome> {
        let before = self.present(&parse::id(container_id)?)?;
        let name = name_of(&before)?;
        let state = state_of(&before);
        match state {
            State::Stopped => return Ok(StopOutcome::WasStopped),
            State::Paused => {
                return Err(Error::refused(format!("container '{name}' is paused"))
                    .hint(format!("`docker unpause {name}` or `docker stop {name}` first")));
            }
            State::Running => {}
        }
        let limit = stop_limit(before.config.as_ref().and_then(|config| config.stop_timeout));
        // Without `t` and `signal` the container's own timeout and signal apply.
        let docker = self.docker.clone().with_timeout(limit);
        let what = format!("cannot stop container '{name}'");
        self.run(&what, limit, docker.stop_container(container_id, None::<StopContainerOptions>))?;
        match state_of(&self.present(container_id)?) {
            State::Stopped => Ok(StopOutcome::Stopped),
            State::Running | State::Paused => {
                Err(Error::refused(format!("container '{name}' was stopped and runs again"))
                    .hint("something else starts it (an orchestrator, another operator); stop that first"))
            }
        }
    }

    fn start(&self, container_id: &str) -> Result<()> {
        let id = parse::id(container_id)?;
        let name = name_of(&self.present(&id)?)?;
        let what = format!("cannot start container '{name}'");
        self.run(&what, REQUEST_LIMIT, self.docker.start_container(&id, None::<StartContainerOptions>))
    }
}

/// Connects to the engine and returns its version.
///
/// bollard 0.21 omits the API version from its paths, and an engine answers such requests in the highest version that
/// it supports. The version is negotiated nevertheless, because bollard adapts some requests to it.
async fn open(address: &Address) -> Result<(Docker, String)> {
    let opened = async {
        let docker = client(address)?.negotiate_version().await?;
        let version = docker.version().await?.version;
        Ok((docker.with_timeout(REQUEST_LIMIT), version.unwrap_or_else(|| "(unknown)".to_owned())))
    };
    match within(CONNECT_LIMIT, opened).await {
        Ok((docker, version)) => Ok((docker, printable(version.as_bytes()))),
        Err(fault) => Err(fault.into_error("cannot reach the Docker engine", address)),
    }
}

fn client(address: &Address) -> Answer<Docker> {
    match address {
        Address::Unix(socket) => {
            // bollard reports a socket in an inaccessible directory as missing; metadata(2) returns the right error.
            std::fs::metadata(socket)?;
            Docker::connect_with_unix(&socket.to_string_lossy(), CONNECT_LIMIT.as_secs(), API_DEFAULT_VERSION)
        }
        Address::Tcp(host) => Docker::connect_with_http(host, CONNECT_LIMIT.as_secs(), API_DEFAULT_VERSION),
    }
}

/// Returns the time limit for stopping a container, which is longer than the engine waits for the container: a database
/// may need long to shut down.
fn stop_limit(stop_timeout: Option<i64>) -> Duration {
    match stop_timeout.map(u64::try_from) {
        None => Duration::from_secs(DEFAULT_STOP_SECONDS) + STOP_SLACK,
        Some(Ok(seconds)) => Duration::from_secs(seconds).saturating_add(STOP_SLACK).min(ENDLESS),
        // A negative timeout means no limit.
        Some(Err(_)) => ENDLESS,
    }
}

/// Returns an id as shortened by `docker ps`.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_waits_longer_than_the_engine() {
        assert!(stop_limit(None) > Duration::from_secs(10));
        assert!(stop_limit(Some(3600)) > Duration::from_secs(3600));
        assert_eq!(stop_limit(Some(-1)), ENDLESS);
        assert_eq!(stop_limit(Some(i64::MAX)), ENDLESS);
    }
}
