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
//! `layout` says which paths of which containers make up which archive, `host` what containers and volumes
//! there are, and `resolve` brings the two together. `plan` holds every reason to refuse and runs before
//! anything is written. `backup`, `restore`, `verify` and `list` are one operation each and tell their own
//! story. Whatever they have to say goes to a [`monitor::Monitor`]; only [`report`] prints.
//!
//! # What is trusted
//!
//! The caller is root. The engine's answers, Docker's files, layout files and archives are hostile until
//! parsed: bad input is an error, never a panic and never a change on disk. The trees in volumes are written
//! by applications and are as hostile as archives: they are only walked and changed beneath open handles,
//! and no symbolic link in them is ever followed. What is restored is staged beside the live tree and
//! becomes live in one step, after all of it was read, checked and synced.

pub mod archive;
pub mod archive_file;
pub mod archiver;
pub mod backup;
pub mod batch;
pub mod cli;
pub mod codec;
pub mod durable;
pub mod error;
pub mod extractor;
pub mod host;
pub mod layout;
pub mod list;
pub mod live_mounts;
pub mod member;
pub mod monitor;
pub mod mountinfo;
pub mod ordered;
pub mod plan;
pub mod recovery;
pub mod report;
pub mod resolve;
pub mod restore;
pub mod resume;
pub mod store;
pub mod together;
pub mod units;
pub mod verify;
pub mod volume;
