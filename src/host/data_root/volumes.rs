//! The volumes of a data root.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::error::Result;
use crate::host::inventory::Volume;
use crate::host::parse;

use super::files::{directories, read_json};

/// Reads the volumes below `root`. A directory whose name is not UTF-8 is not a volume.
pub(super) fn volumes(root: &Path) -> Result<Vec<Volume>> {
    let mut volumes = Vec::new();
    for dir in directories(&root.join("volumes"))? {
        let Some(name) = dir.file_name().and_then(|name| name.to_str()) else { continue };
        let options: Option<VolumeOptions> = read_json(&dir.join("opts.json"))?;
        volumes.push(Volume {
            name: parse::text("volume", name)?,
            driver: "local".to_owned(),
            mountpoint: dir.join("_data"),
            options: options.map(VolumeOptions::into_map).unwrap_or_default(),
            project: None,
            compose_name: None,
            place: None,
            bound: None,
            filesystem: None,
        });
    }
    Ok(volumes)
}

/// The structure of a volume's `opts.json`.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(in crate::host) struct VolumeOptions {
    #[serde(rename = "MountType")]
    kind: String,
    #[serde(rename = "MountOpts")]
    options: String,
    #[serde(rename = "MountDevice")]
    device: String,
}

impl VolumeOptions {
    /// Returns the options by their names on the command line and in the engine's answers.
    pub(in crate::host) fn into_map(self) -> BTreeMap<String, String> {
        [("type", self.kind), ("o", self.options), ("device", self.device)]
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }
}
