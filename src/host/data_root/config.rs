//! The structure of `config.v2.json` and `hostconfig.json`, as far as voltar uses it. Their content is untrusted until
//! [`StoredContainer::new`] and [`parse`] have checked it.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::error::Result;
use crate::host::parse;

/// A container as its files describe it, with a name and an id that are safe to use.
pub(super) struct StoredContainer {
    /// The name without its leading slash.
    pub(super) name: String,
    pub(super) config: Config,
    pub(super) host: HostConfig,
}

impl StoredContainer {
    /// Checks the name and the id of a container.
    pub(super) fn new(config: Config, host: HostConfig) -> Result<Self> {
        let name = parse::text("container", config.name.trim_start_matches('/'))?;
        parse::id(&config.id)?;
        Ok(Self { name, config, host })
    }
}

/// The content of `config.v2.json`. Go writes `null` for an empty map or list.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::host) struct Config {
    #[serde(rename = "ID")]
    pub(super) id: String,
    pub(super) name: String,
    pub(super) created: Option<String>,
    #[serde(default)]
    pub(super) hostname_path: String,
    #[serde(default)]
    pub(super) state: StoredState,
    #[serde(default, rename = "Image")]
    pub(super) image_id: String,
    #[serde(default, rename = "Config")]
    pub(super) image: ImageConfig,
    pub(super) mount_points: Option<BTreeMap<String, MountPoint>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct StoredState {
    pub(super) running: bool,
    pub(super) paused: bool,
    pub(super) restarting: bool,
    pub(super) started_at: String,
    pub(super) pid: i64,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct ImageConfig {
    pub(super) image: Option<String>,
    pub(super) env: Option<Vec<String>>,
    pub(super) labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct MountPoint {
    #[serde(rename = "Type")]
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) source: String,
    pub(super) destination: String,
    pub(super) driver: String,
    #[serde(rename = "RW")]
    pub(super) rw: bool,
    pub(super) spec: MountSpec,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct MountSpec {
    pub(super) volume_options: Option<MountVolumeOptions>,
    pub(super) bind_options: Option<MountBindOptions>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct MountBindOptions {
    pub(super) non_recursive: bool,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct MountVolumeOptions {
    pub(super) subpath: String,
}

/// The content of `hostconfig.json`.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
pub(in crate::host) struct HostConfig {
    pub(super) links: Option<Vec<String>>,
    pub(super) volumes_from: Option<Vec<String>>,
    pub(super) network_mode: String,
    pub(super) pid_mode: String,
    pub(super) ipc_mode: String,
    pub(super) userns_mode: String,
    pub(super) auto_remove: bool,
    pub(super) tmpfs: Option<BTreeMap<String, String>>,
}
