//! `local` volumes with mount options (`type`, `device`, `o`). The engine mounts them only while a container uses them;
//! until then their mountpoint is an empty directory.

use crate::error::Error;
use crate::member::printable;

use super::inventory::Volume;
use super::mount_options::bind_device;
use super::secrets::{mask_device, mask_options};

/// Returns whether the engine mounts a filesystem on the mountpoint of this `local` volume. Options without a type and a
/// device, such as a size limit, need no mount (`volume/local` of the engine, `needsMount`).
#[must_use]
pub(crate) fn has_mount_options(volume: &Volume) -> bool {
    volume.driver == "local"
        && bind_device(&volume.options).is_none()
        && ["type", "device"].iter().any(|key| !option(volume, key).is_empty())
}

/// Returns the refusal of a volume in memory.
#[must_use]
pub(crate) fn in_memory(volume: &Volume) -> Option<Error> {
    (volume.driver == "local" && option(volume, "type") == "tmpfs").then(|| {
        Error::refused(format!(
            "volume '{}' is in memory (type=tmpfs): its content is gone with the last container that uses it",
            volume.name
        ))
        .hint("use a volume without type=tmpfs, or select other archives with --only")
    })
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
