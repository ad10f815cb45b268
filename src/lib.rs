//! voltar archives Docker volumes as tar, natively.

pub mod archive;
pub mod cli;
pub mod codec;
pub mod error;
pub mod host;
pub mod member;
pub mod monitor;
pub mod ordered;
pub mod report;
