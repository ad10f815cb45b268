//! The directory that holds voltar's records: which containers are stopped, and which trees are being replaced.

use std::path::PathBuf;

/// The environment variable that names another directory for the records, for users who are not root.
const VARIABLE: &str = "VOLTAR_STATE_DIR";

const DEFAULT: &str = "/var/lib/voltar";

/// What to do where the directory cannot be written.
pub(crate) const HINT: &str = "run voltar as root, or set VOLTAR_STATE_DIR to a directory that only you can write";

/// Returns the directory that holds voltar's records: `VOLTAR_STATE_DIR`, else `/var/lib/voltar`.
#[must_use]
pub fn state_dir() -> PathBuf {
    match std::env::var_os(VARIABLE) {
        Some(dir) if !dir.is_empty() => dir.into(),
        _ => DEFAULT.into(),
    }
}
