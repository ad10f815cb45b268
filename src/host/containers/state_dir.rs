//! The directory that holds the records of stopped containers.

use std::path::PathBuf;

/// The environment variable that names another directory for the records, for users who are not root.
pub(super) const STATE_DIR_VARIABLE: &str = "VOLTAR_STATE_DIR";

const DEFAULT_STATE_DIR: &str = "/var/lib/voltar";

/// Returns the directory that holds the records of stopped containers: `VOLTAR_STATE_DIR`, else
/// `/var/lib/voltar`.
#[must_use]
pub fn state_dir() -> PathBuf {
    match std::env::var_os(STATE_DIR_VARIABLE) {
        Some(dir) if !dir.is_empty() => dir.into(),
        _ => DEFAULT_STATE_DIR.into(),
    }
}
