//! The engine as a source of inventories, through bollard. Only this module is asynchronous, and its
//! interface is not: it holds a runtime of one thread. Every call ends within a time limit, and every answer has a
//! limited size.
//!
//! The paths in an engine's answers are paths of the engine's machine, and there of its mount namespace. Files below its
//! root directory show whether that is this machine, and the process that listens on its socket whether that is this
//! mount namespace; if they do not, the inventory has an obstacle.
//!
//! A signal interrupts a call at once, with one exception: a container for which a stop was requested must run again, so
//! that its start is not interrupted (`stops`).

mod address;
mod answers;
mod client;
mod context;
pub(super) mod convert;
mod exec;
mod fault;
mod id_maps;
mod limited;
mod locality;
mod mount_view;
mod product;
mod stops;
mod transport;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::Docker;
use bollard::models::{SystemInfo, VolumeCreateRequest};
use bollard::query_parameters::{ListVolumesOptions, RemoveVolumeOptions, StartContainerOptions};
use futures_util::StreamExt as _;
use futures_util::stream::{self, FuturesUnordered};

use crate::error::{Error, ErrorKind, Result};
use crate::member::printable;
use crate::monitor::Monitor;

use super::inventory::{
    Container, ContainerState, Execution, Host, Inventory, MountKind, NewVolume, StopOutcome, UserNamespace, Volume,
};
use super::parse::{self, VolumeSource};
use super::places;
use address::{Address, local_socket};
use answers::ContainerSummary;
use client::{Client, REQUEST_LIMIT};
use context::Configuration;
use convert::{container_state, name_of, process_of};
use fault::{Answer, within};
use product::Product;
use stops::Stops;
use transport::{Peer, Transport};

/// The time limit for connecting. A healthy daemon answers in milliseconds.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// The most containers of an engine, each of which costs a request. The largest hosts have a few thousand.
const MOST_CONTAINERS: usize = 20_000;
/// The most inspections at the same time. With more, 500 take no less time on two cores.
const INSPECTIONS: usize = 16;

/// A connection to a Docker engine.
pub struct Engine<'a> {
    client: Client<'a>,
    runtime: tokio::runtime::Runtime,
    version: String,
    peer: Peer,
    stops: Stops,
}

/// An inspected container, and its first process.
type Inspected = (Container, Option<i32>);

/// What an engine lists.
struct Listed {
    inventory: Inventory,
    /// Those of its containers about which the list did not say enough: they were inspected, and are complete.
    inspected: Vec<Inspected>,
    info: SystemInfo,
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
            Ok(Opened { docker, transport, product, version }) => {
                let client = Client { docker, transport, product, address, monitor };
                Ok(Self { client, runtime, version, peer, stops: Stops::default() })
            }
            Err(fault) => {
                // Dropping the runtime would wait for a thread that waits for a name server.
                runtime.shutdown_background();
                Err(fault.into_error("cannot reach the Docker engine", &address))
            }
        }
    }

    /// Inspects containers, and returns them with their first processes; those that do not exist any more are left out.
    async fn inspect(&self, ids: &[String], sources: &BTreeMap<String, VolumeSource>) -> Result<Vec<Inspected>> {
        let inspections = ids.iter().map(|id| self.client.inspect(id, Some(self.client.monitor)));
        let mut inspections = stream::iter(inspections).buffered(INSPECTIONS);
        let mut containers = Vec::with_capacity(ids.len());
        while let Some(inspected) = inspections.next().await {
            if let Some(inspected) = inspected? {
                containers.push((convert::container(&inspected, sources)?, process_of(&inspected)));
            }
        }
        Ok(containers)
    }

    async fn list_volumes(&self) -> Result<Vec<Volume>> {
        let request = self.client.docker.list_volumes(None::<ListVolumesOptions>);
        let listed = self.client.run("cannot list volumes", request).await?;
        listed.volumes.unwrap_or_default().iter().map(convert::volume).collect()
    }

    async fn list_containers(&self) -> Result<Vec<ContainerSummary>> {
        let listed = self.client.list_containers().await?;
        if listed.len() > MOST_CONTAINERS {
            return Err(Error::new(
                ErrorKind::Failed,
                format!("cannot list containers through {}: more than {MOST_CONTAINERS}", self.client.address),
            ));
        }
        Ok(listed)
    }

    /// Adds the map of ids of the engine's containers.
    fn map_ids(&self, inventory: &mut Inventory, info: &SystemInfo, inspected: &[Inspected]) {
        let is_mapped = |container: &Container| container.user_namespace == UserNamespace::OfEngine;
        let mapped = inspected.iter().filter(|(container, _)| is_mapped(container));
        let processes = id_maps::Processes {
            engine: mount_view::engine(&self.client.address, self.peer.pid()).id(),
            user: self.peer.uid(),
            containers: &mapped.filter_map(|(_, process)| *process).collect::<Vec<_>>(),
        };
        match id_maps::find(&self.client.address, info, &processes) {
            Ok(mapped) => inventory.map_ids(&mapped),
            Err(obstacle) => inventory.obstacles.push(obstacle),
        }
    }

    /// Returns the volumes and containers of the lists.
    async fn listed(&self) -> Result<Listed> {
        let info = self.client.run("cannot ask about the engine", self.client.docker.info()).await?;
        let mut volumes = self.list_volumes().await?;
        let volume_sources = parse::sources(&volumes);
        let (mut containers, mut unknown) = (Vec::new(), Vec::new());
        for summary in self.list_containers().await? {
            match convert::listed(&summary, &volume_sources)? {
                Some(container) => containers.push(container),
                None => unknown.push(parse::id(summary.id.as_deref().unwrap_or_default())?),
            }
        }
        let inspected = self.inspect(&unknown, &volume_sources).await?;
        containers.extend(inspected.iter().map(|(container, _)| container.clone()));
        let root = info.docker_root_dir.as_deref().map(Path::new).filter(|root| root.is_absolute());
        let address = &self.client.address;
        let seen = mount_view::compare(address, self.peer.pid(), root, &sources(&containers, &volumes));
        let mut obstacles = locality::obstacles(address, &info, &locality::Facts::gather(&info));
        obstacles.extend(seen.obstacle);
        if obstacles.is_empty() {
            places::of_volumes(&mut volumes);
            places::of_mounts(&mut containers, &volumes);
        }
        let notes = seen.note.into_iter().collect();
        let inventory = Inventory { containers, volumes, notes, obstacles, ..Inventory::default() };
        Ok(Listed { inventory, inspected, info })
    }

    /// Returns the monitor that interrupts a look at a container: none if the container was stopped and must run again.
    fn interruption(&self, id: &str) -> Option<&dyn Monitor> {
        if self.stops.contain(id) { None } else { Some(self.client.monitor) }
    }

    async fn stop_one(&self, id: &str) -> Result<StopOutcome> {
        self.stops.stop(&self.client, &parse::id(id)?).await
    }

    async fn start_one(&self, id: &str) -> Result<()> {
        let id = parse::id(id)?;
        let monitor = self.interruption(&id);
        let name = name_of(&self.client.present(&id, monitor).await?)?;
        self.stops.settle(&self.client, &id).await?;
        let request = self.client.docker.start_container(&id, None::<StartContainerOptions>);
        self.client.finish(&format!("cannot start container '{name}'"), monitor, request).await
    }
}

impl std::fmt::Debug for Engine<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine")
            .field("address", &self.client.address)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl Host for Engine<'_> {
    fn describe(&self) -> String {
        format!("{} {} at {}", self.client.product, self.version, self.client.address)
    }

    fn address(&self) -> String {
        self.client.address.to_string()
    }

    fn inventory(&self) -> Result<Inventory> {
        self.inventory_of(&|listed| listed.containers.iter().map(|container| container.id.clone()).collect())
    }

    fn inventory_of(&self, selected: &dyn Fn(&Inventory) -> BTreeSet<String>) -> Result<Inventory> {
        self.runtime.block_on(async {
            let Listed { mut inventory, mut inspected, info } = self.listed().await?;
            let complete: BTreeSet<String> = inspected.iter().map(|(container, _)| container.id.clone()).collect();
            let selected = selected(&inventory);
            let mut wanted = Vec::new();
            for container in std::mem::take(&mut inventory.containers) {
                match (complete.contains(&container.id), selected.contains(&container.id)) {
                    (true, _) => {}
                    (false, true) => wanted.push(container.id),
                    (false, false) => inventory.others.push(container),
                }
            }
            inspected.extend(self.inspect(&wanted, &parse::sources(&inventory.volumes)).await?);
            inventory.containers = inspected.iter().map(|(container, _)| container.clone()).collect();
            self.map_ids(&mut inventory, &info, &inspected);
            inventory.distrust_filesystems();
            if inventory.obstacles.is_empty() {
                places::of_mounts(&mut inventory.containers, &inventory.volumes);
            }
            Ok(inventory)
        })
    }

    fn state(&self, container_id: &str) -> Result<Option<ContainerState>> {
        let id = parse::id(container_id)?;
        self.runtime.block_on(async {
            self.stops.settle(&self.client, &id).await?;
            Ok(self.client.inspect(&id, self.interruption(&id)).await?.as_ref().map(container_state))
        })
    }

    fn stop(&self, container_ids: &[&str], ended: &mut dyn FnMut(&str, Result<StopOutcome>)) {
        self.runtime.block_on(async {
            let stops = container_ids.iter().copied().map(async |id| (id, self.stop_one(id).await));
            let mut stops: FuturesUnordered<_> = stops.collect();
            while let Some((id, outcome)) = stops.next().await {
                ended(id, outcome);
            }
        });
    }

    fn start(&self, container_ids: &[&str], requested: &mut dyn FnMut(&str, Result<()>)) {
        self.runtime.block_on(async {
            let starts = container_ids.iter().copied().map(async |id| (id, self.start_one(id).await));
            let mut starts: FuturesUnordered<_> = starts.collect();
            while let Some((id, outcome)) = starts.next().await {
                requested(id, outcome);
            }
        });
    }

    fn execute(&self, container_id: &str, command: &str, limit: Duration) -> Result<Execution> {
        self.runtime.block_on(self.client.execute(container_id, command, limit))
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
        let request = self.client.docker.create_volume(config);
        let answer = self.runtime.block_on(self.client.finish(&what, None, request))?;
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
        let request = self.client.docker.remove_volume(name, None::<RemoveVolumeOptions>);
        self.runtime.block_on(self.client.finish(&what, None, request))
    }
}

/// A connection that has answered.
struct Opened {
    docker: Docker,
    transport: Transport,
    product: Product,
    version: String,
}

/// Connects to the engine, and asks what it is.
///
/// bollard 0.21 omits the API version from its paths, and an engine answers such requests in the highest version that
/// it supports. The version is negotiated nevertheless, because bollard adapts some requests to it.
async fn open(address: &Address, peer: Peer) -> Answer<Opened> {
    let transport = Transport::to(address, peer).await?;
    let docker = transport.client(CONNECT_LIMIT)?.negotiate_version().await?;
    let answer = docker.version().await?;
    let product = Product::of(&answer);
    let docker = docker.with_timeout(REQUEST_LIMIT);
    let version = answer.version.map_or_else(|| "(unknown)".to_owned(), |version| printable(version.as_bytes()));
    Ok(Opened { docker, transport, product, version })
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
