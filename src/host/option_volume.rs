//! `local` volumes with mount options (`type`, `device`, `o`). The engine mounts them only while a container uses them;
//! until then their mountpoint is an empty directory.

use crate::error::Error;
use crate::member::printable;

use super::inventory::Volume;
use super::secrets::{mask_device, mask_options};

/// Returns whether the engine mounts something on the mountpoint of this `local` volume.
#[must_use]
pub(crate) fn has_mount_options(volume: &Volume) -> bool {
    volume.driver == "local" && ["type", "device", "o"].iter().any(|key| !option(volume, key).is_empty())
}

/// Returns the refusal of a volume that is not mounted, now or once containers are stopped: `why` says which.
#[must_use]
pub(crate) fn not_mounted(volume: &Volume, why: &str) -> Error {
    let (device, options) = (mask_device(option(volume, "device")), mask_options(option(volume, "o")));
    let given: Vec<String> = [("type", option(volume, "type")), ("device", &*device), ("o", &*options)]
        .iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(key, value)| format!("{key}={}", printable(value.as_bytes())))
        .collect();
    Error::refused(format!(
        "volume '{}' ({}) is mounted only while a container uses it, and {why}",
        volume.name,
        given.join(", ")
    ))
    .hint(format!(
        "keep one container that uses it alive while voltar runs (`docker run -d -v {}:/x IMAGE sleep infinity`; \
         for a backup, with --allow-running), or mount it there by hand",
        volume.name
    ))
}

fn option<'a>(volume: &'a Volume, key: &str) -> &'a str {
    volume.options.get(key).map(String::as_str).unwrap_or_default()
}
