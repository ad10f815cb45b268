//! The containers, mounts and volumes of a host, reported by the engine or read from Docker's own files.
//!
//! [`inventory`] holds the values. [`engine`] and [`data_root`] produce them, [`mounts`] computes mount trees
//! from them, [`reality`] checks that those trees exist on this machine, and [`containers`] stops and starts
//! containers. None of them reads the files in a volume.

pub mod containers;
pub mod data_root;
pub mod engine;
#[doc(hidden)]
pub mod fuzz;
pub mod inventory;
mod mount_options;
pub mod mounts;
pub(crate) mod option_volume;
mod parse;
mod places;
pub mod reality;
mod rooted;
mod subids;

pub(crate) use inventory::no_engine_for;
pub use inventory::{
    Container, ContainerState, Dependency, Execution, Health, HealthStatus, Host, Inventory, Mount, MountKind,
    NewVolume, Place, State, StopOutcome, UserNamespace, Volume,
};
