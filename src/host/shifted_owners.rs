//! The obstacle of engines that shift the owners of files (userns-remap, rootless).

/// Returns the obstacle; `engine` names the engine and the feature that shifts the owners.
pub(super) fn obstacle(engine: &str) -> String {
    format!(
        "{engine}: the owners of files in volumes are shifted, which is not supported yet; use the documented tar commands"
    )
}
