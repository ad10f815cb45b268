//! The parts of an engine's answers about containers that are needed here, as serde reads them.
//!
//! bollard's own models are stricter than engines are: they know a fixed set of states, of types and of modes, and refuse the
//! complete list for one that they do not know. Podman has states of its own (`stopped`, `initialized`, `configured`), and
//! fields that are not needed may hold anything.

use std::collections::HashMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// An element of the list of containers.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::host) struct ContainerSummary {
    pub(super) id: Option<String>,
    pub(super) names: Option<Vec<String>>,
    pub(super) image: Option<String>,
    pub(super) state: Option<String>,
    pub(super) labels: Option<HashMap<String, String>>,
    pub(super) mounts: Option<Vec<MountPoint>>,
}

/// The answer to an inspection of a container.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::host) struct ContainerInspectResponse {
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    /// The id of its image.
    pub(super) image: Option<String>,
    pub(super) created: Option<String>,
    pub(super) state: Option<ContainerState>,
    pub(super) host_config: Option<HostConfig>,
    pub(super) config: Option<ContainerConfig>,
    pub(super) mounts: Option<Vec<MountPoint>>,
}

/// The answer of Podman's own API to an inspection of a container, whose other parts are not as Docker's.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::host) struct PodmanInspectResponse {
    pub(super) host_config: Option<PodmanHostConfig>,
}

/// What Podman's own API says of a container's host.
#[derive(Debug, Default, Deserialize)]
pub(super) struct PodmanHostConfig {
    /// The map of ids of the container, if it has one of its own.
    #[serde(rename = "IDMappings")]
    pub(super) id_mappings: Option<IgnoredAny>,
}

/// The state of an inspected container. Its `Status` is left out: these fields decide.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ContainerState {
    pub(super) running: Option<bool>,
    pub(super) paused: Option<bool>,
    pub(super) restarting: Option<bool>,
    pub(super) pid: Option<i64>,
    pub(super) exit_code: Option<i64>,
    pub(super) started_at: Option<String>,
    pub(super) health: Option<Health>,
}

/// The result of the health checks of a container.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Health {
    pub(super) status: Option<String>,
}

/// What the host adds to a container.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HostConfig {
    pub(super) links: Option<Vec<String>>,
    pub(super) volumes_from: Option<Vec<String>>,
    pub(super) network_mode: Option<String>,
    pub(super) pid_mode: Option<String>,
    pub(super) ipc_mode: Option<String>,
    pub(super) userns_mode: Option<String>,
    pub(super) tmpfs: Option<HashMap<String, String>>,
    pub(super) mounts: Option<Vec<RequestedMount>>,
    pub(super) auto_remove: Option<bool>,
}

/// A mount as it was requested when the container was created.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct RequestedMount {
    pub(super) target: Option<String>,
    pub(super) volume_options: Option<VolumeOptions>,
    pub(super) bind_options: Option<BindOptions>,
}

/// What a requested mount says of a directory of the host.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct BindOptions {
    pub(super) non_recursive: Option<bool>,
}

/// What a requested mount says of its volume.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct VolumeOptions {
    pub(super) subpath: Option<String>,
}

/// What does not depend on the host.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct ContainerConfig {
    pub(super) image: Option<String>,
    pub(super) labels: Option<HashMap<String, String>>,
    pub(super) env: Option<Vec<String>>,
    pub(super) stop_timeout: Option<i64>,
    pub(super) healthcheck: Option<HealthConfig>,
}

/// The health check of a container; times are in nanoseconds, and 0 stands for the engine's default.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HealthConfig {
    pub(super) interval: Option<i64>,
    pub(super) retries: Option<i64>,
    pub(super) start_period: Option<i64>,
}

/// A mount of a container.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct MountPoint {
    #[serde(rename = "Type")]
    pub(super) typ: Option<String>,
    pub(super) name: Option<String>,
    pub(super) source: Option<String>,
    pub(super) destination: Option<String>,
    pub(super) driver: Option<String>,
    #[serde(rename = "RW")]
    pub(super) rw: Option<bool>,
}
