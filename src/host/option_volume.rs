//! `local` volumes with mount options (`type`, `device`, `o`). The engine mounts them only while a container uses them;
//! until then their mountpoint is an empty directory.

use std::collections::BTreeMap;

use crate::error::Error;
use crate::filesystem::Filesystem;

use super::inventory::Volume;
use super::mount_options::bind_device;

/// Returns the filesystem that the engine mounts on the mountpoint of a `local` volume with these options. Options without
/// a type and a device, such as a size limit, need no mount (`volume/local` of the engine, `needsMount`); a volume that
/// is bound to a directory needs none here.
#[must_use]
pub(super) fn filesystem(driver: &str, options: &BTreeMap<String, String>) -> Option<Filesystem> {
    let option = |key: &str| options.get(key).cloned().unwrap_or_default();
    let filesystem = Filesystem { kind: option("type"), device: option("device"), options: option("o") };
    let is_needed = !(filesystem.kind.is_empty() && filesystem.device.is_empty());
    (driver == "local" && is_needed && bind_device(options).is_none()).then_some(filesystem)
}

/// Returns whether the engine mounts a filesystem on the mountpoint of a volume.
#[must_use]
pub(super) fn is_mounted_by_the_engine(volume: &Volume) -> bool {
    filesystem(&volume.driver, &volume.options).is_some()
}

/// Returns the refusal of a volume in memory.
#[must_use]
pub(crate) fn in_memory(volume: &Volume) -> Option<Error> {
    (filesystem(&volume.driver, &volume.options)?.kind == "tmpfs").then(|| {
        Error::refused(format!(
            "volume '{}' is in memory (type=tmpfs): its content is gone with the last container that uses it",
            volume.name
        ))
        .hint("use a volume without type=tmpfs, or select other archives with --only")
    })
}
