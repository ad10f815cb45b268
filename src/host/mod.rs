//! What the host knows: containers, their mounts, and volumes, from the engine or from Docker's own
//! files. Everything below is a value; [`engine`] and [`data_root`] ask the outside, [`reality`] looks
//! whether what they say is so here, and [`containers`] stops and starts. Nothing here reads a volume's
//! files.

pub mod containers;
pub mod data_root;
pub mod engine;
pub mod mounts;
mod parse;
pub mod reality;

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::error::Result;

/// Whether a container's processes may be writing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// No process.
    #[default]
    Stopped,
    /// Running, or about to (restarting).
    Running,
    /// Frozen in the middle of whatever it was doing.
    Paused,
}

/// Where a mount's content comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountKind {
    /// A named or anonymous volume.
    Volume {
        /// The volume's name.
        name: String,
        /// `local`, or a plugin's name.
        driver: String,
    },
    /// A directory or file of the host.
    Bind,
    /// Memory that goes with the container.
    Tmpfs,
    /// Anything voltar does not know (npipe, cluster, image …), by the engine's word.
    Other(String),
}

/// One mount of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where the container sees it: absolute, normalised.
    pub destination: String,
    /// Where its content lies on the host; `None` where that is not known here.
    pub source: Option<PathBuf>,
    /// What it is.
    pub kind: MountKind,
    /// Mounted read-only.
    pub read_only: bool,
}

/// One container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Container {
    /// The engine's id.
    pub id: String,
    /// Its name without the leading slash.
    pub name: String,
    /// The image's name as the container was created with.
    pub image: String,
    /// Its compose project.
    pub project: Option<String>,
    /// Its compose service.
    pub service: Option<String>,
    /// Whether it runs.
    pub state: State,
    /// When it was created, as an RFC 3339 text or empty; orders containers of one project.
    pub created: String,
    /// Names or services of containers that this one needs.
    pub depends_on: Vec<String>,
    /// Environment variables of its image and its own, as `NAME=value`.
    pub environment: Vec<String>,
    /// The engine deletes it when it stops (`--rm`): whoever stops it cannot start it again.
    pub auto_remove: bool,
    /// Its mounts.
    pub mounts: Vec<Mount>,
}

/// One volume.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Volume {
    /// Its full name (`cvat_cvat_data`).
    pub name: String,
    /// `local`, or a plugin's name.
    pub driver: String,
    /// Where the engine says it lies.
    pub mountpoint: PathBuf,
    /// The driver's options (`type`, `device`, `o` for `local`).
    pub options: BTreeMap<String, String>,
    /// Its compose project.
    pub project: Option<String>,
    /// Its name in the compose file (`cvat_data`).
    pub compose_name: Option<String>,
}

/// Everything known of a host at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inventory {
    /// All containers, stopped ones too.
    pub containers: Vec<Container>,
    /// All volumes.
    pub volumes: Vec<Volume>,
    /// The volumes' labels could not be read: their names (`<project>_<volume>`) have to do.
    pub labels_unknown: bool,
    /// What the user should hear about how this was learned, each one line.
    pub notes: Vec<String>,
    /// Why nothing of this may be relied on for reading and writing files here (a remote daemon, shifted
    /// ids …), each with its way out; empty for a local host.
    pub obstacles: Vec<String>,
}

/// A source of that knowledge.
pub trait Host: Sync {
    /// One line that says where the knowledge comes from: `Docker 20.10.24 at unix:///var/run/docker.sock`.
    fn describe(&self) -> String;

    /// Where it is, and nothing that changes with an upgrade: `unix:///var/run/docker.sock`.
    fn address(&self) -> String {
        self.describe()
    }

    /// The host as it is now.
    fn inventory(&self) -> Result<Inventory>;

    /// Stops a container with its own stop signal and timeout, and returns when it has stopped.
    fn stop(&self, container_id: &str) -> Result<()>;

    /// Starts a container.
    fn start(&self, container_id: &str) -> Result<()>;
}
