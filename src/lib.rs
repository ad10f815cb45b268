//! voltar archives Docker volumes as tar, natively.

pub mod archive;
pub mod backup;
pub mod cli;
pub mod codec;
pub mod error;
pub mod host;
pub mod layout;
pub mod list;
pub mod member;
pub mod monitor;
pub mod mountinfo;
pub mod ordered;
pub mod plan;
pub mod report;
pub mod resolve;
pub mod restore;
pub mod stored;
pub mod together;
pub mod units;
pub mod verify;
pub mod volume;
