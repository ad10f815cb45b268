//! The engine as a source of inventories, through bollard. Only this module is asynchronous, and its
//! interface is not: it holds a runtime of one thread. Every call ends within a time limit, and every answer has a
//! limited size.
//!
//! The paths in an engine's answers are paths of the engine's machine, and there of its mount namespace. Files below its
//! root directory show whether that is this machine, and the process that listens on its socket whether that is this
//! mount namespace; if they do not, the inventory has an obstacle.
//!
//! A signal interrupts a call at once, with one exception: a container that [`Engine::stop`] was called for must run
//! again, so [`Engine::start`] is not interrupted for it. An interrupted stop goes on in the engine, which starts no
//! container that is still running; so the start waits until that stop has ended.

mod address;
mod context;
pub(super) mod convert;
mod fault;
mod limited;
mod locality;
mod mount_view;
mod stops;
mod transport;

use std::collections::{BTreeSet, HashMap};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerInspectResponse, VolumeCreateRequest};
use bollard::query_parameters::{
    InspectContainerOptions, ListContainersOptions, ListVolumesOptions, RemoveVolumeOptions, StartContainerOptions,
    StopContainerOptions,
};

use crate::error::{Error, ErrorKind, Result};
use crate::member::printable;
use crate::monitor::Monitor;

use super::inventory::{Container, ContainerState, Host, Inventory, MountKind, NewVolume, State, StopOutcome, Volume};
use super::{parse, places};
use address::{Address, local_socket};
use context::Configuration;
use convert::{container_state, name_of, state_of};
use fault::{Answer, Fault, within};
use stops::{Pending, Stops};
use transport::Peer;

/// The time limit for connecting. A healthy daemon answers in milliseconds.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// The time limit of one request: enough for a busy host with hundreds of containers.
const REQUEST_LIMIT: Duration = Duration::from_secs(120);
/// The most containers of an engine, each of which costs a request. The largest hosts have a few thousand.
const MOST_CONTAINERS: usize = 20_000;
/// The time before the engine kills a container that it stops, unless the container has its own timeout.
const DEFAULT_GRACE: Duration = Duration::from_secs(10);
/// The time that a stop may take in addition to the container's stop timeout: unmounting, networks, slow disks.
const STOP_SLACK: Duration = Duration::from_secs(300);
/// The same once the run was interrupted, when somebody waits for its end.
const INTERRUPTED_STOP_SLACK: Duration = Duration::from_secs(5);
/// The time limit for stopping a container that has an unlimited stop timeout.
const ENDLESS: Duration = Duration::from_secs(7 * 24 * 3600);

/// A connection to a Docker engine.
pub struct Engine<'a> {
    docker: Docker,
    runtime: tokio::runtime::Runtime,
    address: Address,
    version: String,
    peer: Peer,
    stops: Stops,
    monitor: &'a dyn Monitor,
}

impl<'a> Engine<'a> {
    /// Connects to `addr` (`--docker`), else to `DOCKER_HOST`, else to the local socket. Once `monitor` is cancelled, calls
    /// end with [`Error::interrupted`].
    ///
    /// # Errors
    /// The address is malformed, no engine answers there within the time limit, or none is given and the current Docker
    /// context names another engine than the local one.
    pub fn connect(addr: Option<&str>, monitor: &'a dyn Monitor) -> Result<Self> {
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
        let peer = Peer::default();
        match runtime.block_on(within(CONNECT_LIMIT, Some(monitor), open(&address, peer.clone()))) {
            Ok((docker, version)) => {
                Ok(Self { docker, runtime, address, version, peer, stops: Stops::default(), monitor })
            }
            Err(fault) => {
                // Dropping the runtime would wait for a thread that waits for a name server.
                runtime.shutdown_background();
                Err(fault.into_error("cannot reach the Docker engine", &address))
            }
        }
    }

    /// Runs one request to its end, unless the run is cancelled.
    fn run<T>(&self, what: &str, request: impl Future<Output = Answer<T>>) -> Result<T> {
        self.finish(what, REQUEST_LIMIT, Some(self.monitor), request)
    }

    /// Runs one request to its end, unless `monitor` is cancelled.
    fn finish<T>(
        &self,
        what: &str,
        limit: Duration,
        monitor: Option<&dyn Monitor>,
        request: impl Future<Output = Answer<T>>,
    ) -> Result<T> {
        let answer = self.runtime.block_on(within(limit, monitor, request));
        answer.map_err(|fault| fault.into_error(what, &self.address))
    }

    /// Inspects a container; returns `None` if it does not exist.
    fn inspect(&self, id: &str, monitor: Option<&dyn Monitor>) -> Result<Option<ContainerInspectResponse>> {
        let request = self.docker.inspect_container(id, None::<InspectContainerOptions>);
        let what = format!("cannot inspect container {}", short(id));
        match self.runtime.block_on(within(REQUEST_LIMIT, monitor, request)) {
            Ok(found) => Ok(Some(found)),
            // The container was removed since it was listed.
            Err(Fault::Engine(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. })) => Ok(None),
            Err(fault) => Err(fault.into_error(&what, &self.address)),
        }
    }

    /// Inspects a container that must exist.
    fn present(&self, id: &str, monitor: Option<&dyn Monitor>) -> Result<ContainerInspectResponse> {
        self.inspect(id, monitor)?
            .ok_or_else(|| Error::refused(format!("container {} does not exist any more", short(id))))
    }

    /// Waits until the engine has ended a stop that was interrupted here: until then it would not start the container,
    /// which still runs, and would stop it afterwards.
    fn await_pending_stop(&self, id: &str, pending: Pending) -> Result<()> {
        let Pending { mut request, limit } = pending;
        let name = name_of(&self.present(id, None)?)?;
        if !request.is_finished() {
            self.monitor
                .note(&format!("container '{name}' is being stopped, and is started again once that has ended"));
        }
        let ended = self.runtime.block_on(async { tokio::time::timeout(limit, &mut request).await.is_ok() });
        if ended || state_of(&self.present(id, None)?) == State::Stopped {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Failed,
            format!("container '{name}' still runs, but the engine was asked to stop it and has not answered"),
        ))
    }
}

impl std::fmt::Debug for Engine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("address", &self.address).field("version", &self.version).finish_non_exhaustive()
    }
}

impl Host for Engine<'_> {
    fn describe(&self) -> String {
        format!("Docker {} at {}", self.version, self.address)
    }

    fn address(&self) -> String {
        self.address.to_string()
    }

    fn inventory(&self) -> Result<Inventory> {
        let info = self.run("cannot ask about the engine", self.docker.info())?;
        let volumes = self.run("cannot list volumes", self.docker.list_volumes(None::<ListVolumesOptions>))?;
        let volumes =
            volumes.volumes.unwrap_or_default().iter().map(convert::volume).collect::<Result<Vec<Volume>>>()?;
        let sources_of_volumes = parse::sources(&volumes);

        let all = ListContainersOptions { all: true, ..ListContainersOptions::default() };
        let listed = self.run("cannot list containers", self.docker.list_containers(Some(all)))?;
        if listed.len() > MOST_CONTAINERS {
            return Err(Error::new(
                ErrorKind::Failed,
                format!("cannot list containers through {}: more than {MOST_CONTAINERS}", self.address),
            ));
        }
        let mut containers = Vec::with_capacity(listed.len());
        for summary in listed {
            let id = parse::id(summary.id.as_deref().unwrap_or_default())?;
            if let Some(inspected) = self.inspect(&id, Some(self.monitor))? {
                containers.push(convert::container(&inspected, &sources_of_volumes)?);
            }
        }
        let root = info.docker_root_dir.as_deref().map(Path::new).filter(|root| root.is_absolute());
        let seen = mount_view::compare(&self.address, self.peer.pid(), root, &sources(&containers, &volumes));
        let mut obstacles = locality::obstacles(&self.address, &info, &locality::Facts::gather(&info));
        obstacles.extend(seen.obstacle);
        let notes = seen.note.into_iter().collect();
        let mut inventory = Inventory { containers, volumes, notes, obstacles, ..Inventory::default() };
        if inventory.obstacles.is_empty() {
            places::find(&mut inventory);
        }
        Ok(inventory)
    }

    fn state(&self, container_id: &str) -> Result<Option<ContainerState>> {
        let id = parse::id(container_id)?;
        // What was stopped must run again: looking at it is not interrupted.
        let monitor = if self.stops.contain(&id) { None } else { Some(self.monitor) };
        if let Some(pending) = self.stops.take_pending(&id) {
            self.await_pending_stop(&id, pending)?;
        }
        Ok(self.inspect(&id, monitor)?.as_ref().map(container_state))
    }

    fn stop(&self, container_id: &str) -> Result<StopOutcome> {
        let id = parse::id(container_id)?;
        self.stops.record(&id);
        let before = self.present(&id, Some(self.monitor))?;
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
        self.monitor.check_cancelled()?;
        let grace = grace(before.config.as_ref().and_then(|config| config.stop_timeout));
        let limit = stop_limit(grace);
        let mut request = {
            let docker = self.docker.clone().with_timeout(limit);
            let id = id.clone();
            // Without `t` and `signal` the container's own timeout and signal apply.
            self.runtime.spawn(async move { docker.stop_container(&id, None::<StopContainerOptions>).await })
        };
        let joined = async { (&mut request).await.unwrap_or_else(|panic| Err(std::io::Error::other(panic).into())) };
        match self.runtime.block_on(within(limit, Some(self.monitor), joined)) {
            Ok(()) => {}
            Err(Fault::Interrupted) => {
                let limit = grace.saturating_add(INTERRUPTED_STOP_SLACK);
                self.stops.interrupted(&id, Pending { request, limit });
                return Err(Error::interrupted());
            }
            Err(fault) => return Err(fault.into_error(&format!("cannot stop container '{name}'"), &self.address)),
        }
        match state_of(&self.present(&id, Some(self.monitor))?) {
            State::Stopped => Ok(StopOutcome::Stopped),
            State::Running | State::Paused => {
                Err(Error::refused(format!("container '{name}' was stopped and runs again"))
                    .hint("something else starts it (an orchestrator, another operator); stop that first"))
            }
        }
    }

    fn start(&self, container_id: &str) -> Result<()> {
        let id = parse::id(container_id)?;
        let monitor = if self.stops.contain(&id) { None } else { Some(self.monitor) };
        let name = name_of(&self.present(&id, monitor)?)?;
        if let Some(pending) = self.stops.take_pending(&id) {
            self.await_pending_stop(&id, pending)?;
        }
        let what = format!("cannot start container '{name}'");
        let request = self.docker.start_container(&id, None::<StartContainerOptions>);
        self.finish(&what, REQUEST_LIMIT, monitor, request)
    }

    fn create_volume(&self, volume: &NewVolume) -> Result<Volume> {
        let name = printable(volume.name.as_bytes());
        let labels: HashMap<String, String> = volume.labels.clone().into_iter().collect();
        let config = VolumeCreateRequest {
            name: Some(volume.name.clone()),
            driver: Some("local".to_owned()),
            labels: Some(labels.clone()),
            ..VolumeCreateRequest::default()
        };
        // Once it is asked for, the answer says whether there is a volume to be removed again.
        let what = format!("cannot create volume '{name}'");
        let answer = self.finish(&what, REQUEST_LIMIT, None, self.docker.create_volume(config))?;
        let created = convert::volume(&answer)?;
        // The engine answers a request for a volume that exists with that one.
        if created.name != volume.name
            || created.driver != "local"
            || answer.labels != labels
            || !created.options.is_empty()
        {
            return Err(Error::refused(format!("{what}: there is one already")));
        }
        Ok(created)
    }

    fn remove_volume(&self, name: &str) -> Result<()> {
        let what = format!("cannot remove volume '{}'", printable(name.as_bytes()));
        let request = self.docker.remove_volume(name, None::<RemoveVolumeOptions>);
        self.finish(&what, REQUEST_LIMIT, None, request)
    }
}

/// Connects to the engine and returns its version.
///
/// bollard 0.21 omits the API version from its paths, and an engine answers such requests in the highest version that
/// it supports. The version is negotiated nevertheless, because bollard adapts some requests to it.
async fn open(address: &Address, peer: Peer) -> Answer<(Docker, String)> {
    let docker = transport::client(address, CONNECT_LIMIT, peer).await?.negotiate_version().await?;
    let version = docker.version().await?.version;
    let version = version.map_or_else(|| "(unknown)".to_owned(), |version| printable(version.as_bytes()));
    Ok((docker.with_timeout(REQUEST_LIMIT), version))
}

/// Returns the paths of this machine at which the content of volumes and mounts should be. Volumes of other drivers than
/// `local` are refused wherever they are.
fn sources(containers: &[Container], volumes: &[Volume]) -> BTreeSet<PathBuf> {
    let local = |kind: &MountKind| match kind {
        MountKind::Volume { driver, .. } => driver == "local",
        MountKind::Bind => true,
        MountKind::Tmpfs | MountKind::Other(_) => false,
    };
    let mounts = containers.iter().flat_map(|container| &container.mounts).filter(|mount| local(&mount.kind));
    let of_mounts = mounts.filter_map(|mount| mount.source.clone());
    let of_volumes = volumes.iter().filter(|volume| volume.driver == "local").map(|volume| volume.mountpoint.clone());
    of_mounts.chain(of_volumes).filter(|path| path.is_absolute()).collect()
}

/// Returns the time before the engine kills a container that it stops.
fn grace(stop_timeout: Option<i64>) -> Duration {
    match stop_timeout.map(u64::try_from) {
        None => DEFAULT_GRACE,
        Some(Ok(seconds)) => Duration::from_secs(seconds).min(ENDLESS),
        // A negative timeout means no limit.
        Some(Err(_)) => ENDLESS,
    }
}

/// Returns the time limit for stopping a container, which is longer than the engine waits for the container: a database
/// may need long to shut down.
fn stop_limit(grace: Duration) -> Duration {
    (grace + STOP_SLACK).min(ENDLESS)
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
        let limit = |stop_timeout| stop_limit(grace(stop_timeout));
        assert!(limit(None) > Duration::from_secs(10));
        assert!(limit(Some(3600)) > Duration::from_secs(3600));
        assert_eq!(limit(Some(-1)), ENDLESS);
        assert_eq!(limit(Some(i64::MAX)), ENDLESS);
    }
}
