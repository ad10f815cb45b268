//! voltar archives Docker volumes as tar, natively: it asks the engine where each volume lies on the host
//! and reads and writes the files itself.
//!
//! # The flow
//!
//! ```text
//! arguments ─▶ request ─▶ plan ─▶ backup ─▶ archiver ─▶ archive::writer ─▶ codec ─▶ store ─▶ committed
//!                          ▲
//!            layout, host ─┴▶ restore ─▶ store ─▶ codec ─▶ archive::reader ─▶ extractor ─▶ volume::swap
//! ```
//!
//! [`layout`] defines which paths of which containers make up which archive, [`host`] reports the containers and volumes
//! that exist, and [`resolve`] combines the two. [`plan`] holds every reason to refuse, and is made before anything is
//! written. [`backup`], [`restore`], [`verify`] and [`list`] are one operation each. They report to a
//! [`monitor::Monitor`]; [`report`] is the one that prints.
//!
//! # What is stable
//!
//! The command line, its exit statuses and its JSON are the interface that voltar keeps; README.md describes them.
//! The library follows semantic versioning, which before 1.0 means that a minor version may change it. The operations
//! ([`backup`], [`restore`], [`verify`], [`list`], [`resume`]), the plans and the [`codec`] are meant to be called;
//! [`archive`] and [`host`] are public because their values occur there.
//!
//! # What is trusted
//!
//! The caller is root. The engine's answers, Docker's files, layout files and archives are hostile until
//! parsed: bad input is an error, never a panic and never a change on disk. The trees in volumes are written
//! by applications and are as hostile as archives: they are only walked and changed beneath open handles,
//! and no symbolic link in them is ever followed. What is restored is staged beside the live tree and
//! becomes live in one step, after all of it was read, checked and synced.

pub mod archive;
pub mod backup;
pub mod backup_into;
pub mod check;
pub mod codec;
pub mod difference;
pub mod digest;
pub mod discover;
pub mod error;
pub mod exclude;
pub mod filesystem;
pub mod host;
pub mod identity;
pub mod ids;
pub mod layout;
pub mod limits;
pub mod list;
pub mod manifest;
pub mod member;
pub mod monitor;
pub mod ordered;
pub mod pieces;
pub mod plan;
pub mod postgres;
pub mod process_group;
pub mod prune;
pub mod recorder;
pub mod report;
pub mod resolve;
pub mod restore;
pub mod restore_to;
pub mod resume;
pub mod store;
pub mod text_file;
pub mod touched;
pub mod units;
pub mod verify;
pub mod xattrs;

mod acl;
mod apart;
mod archive_file;
mod archiver;
mod batch;
mod compare;
mod durable;
mod extractor;
mod holes;
mod index;
mod live_mounts;
mod mapped_xattrs;
mod mountinfo;
mod new_volumes;
mod openat2;
mod recovery;
mod renameat2;
mod together;
mod volume;
mod volume_locks;

/// Entry points for the tests and fuzz targets of this repository. Not part of the interface: they change without
/// notice.
#[doc(hidden)]
pub mod internals {
    pub use crate::archive_file::tar_likeness;
    pub use crate::codec::deflate::compress as deflate;
    pub use crate::codec::inflate::read as inflate;
    pub use crate::host::containers::parse_stop_record;
    pub use crate::host::fuzz as host;
    pub use crate::index::check as parse_index;
    pub use crate::volume::live::Live;
    pub use crate::volume::restore_record::parse_restore_record;
    pub use crate::volume::swap::{Restoration, SwapError};
    pub use crate::volume_locks::is_lock_record;
}
