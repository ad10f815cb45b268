//! voltar archives Docker volumes as tar, natively.

pub mod archive;
pub mod backup;
pub mod cli;
pub mod codec;
pub mod error;
pub mod host;
pub mod layout;
pub mod member;
pub mod monitor;
pub mod mountinfo;
pub mod ordered;
pub mod resolve;
