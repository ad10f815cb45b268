//! Entry points for fuzz targets: bytes in, a value or an error out, without access to disk or network.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

use super::data_root;
use super::engine;
use super::inventory::{Container, Volume};

/// Parses the engine's answer to an inspection of a container.
///
/// # Errors
/// The bytes are not such an answer, or it holds a name, an id or a path that is refused.
pub fn engine_container(inspect: &[u8]) -> Result<Container> {
    engine::convert::container(&json("inspect", inspect)?, &BTreeMap::new())
}

/// Parses a container of the engine's list of containers; `None` if it does not say what voltar needs.
///
/// # Errors
/// The bytes are not such a container, or it holds a name, an id or a path that is refused.
pub fn engine_listed(summary: &[u8]) -> Result<Option<Container>> {
    engine::convert::listed(&json("container", summary)?, &BTreeMap::new())
}

/// Parses a volume of the engine's volume list.
///
/// # Errors
/// The bytes are not such a volume, or it holds a name or a path that is refused.
pub fn engine_volume(volume: &[u8]) -> Result<Volume> {
    engine::convert::volume(&json("volume", volume)?)
}

/// Parses the `config.v2.json` and `hostconfig.json` of a container of a data root that was moved.
///
/// # Errors
/// The bytes are not such files, or they hold a name, an id or a path that is refused.
pub fn stored_container(config: &[u8], host_config: &[u8]) -> Result<Container> {
    let config = json("config.v2.json", config)?;
    let host_config = json("hostconfig.json", host_config)?;
    data_root::moved_container(Path::new("/rescued/var/lib/docker"), config, host_config)
}

/// Parses the `opts.json` of a volume of a data root.
///
/// # Errors
/// The bytes are not such a file.
pub fn stored_volume_options(options: &[u8]) -> Result<BTreeMap<String, String>> {
    json("opts.json", options).map(data_root::volumes::VolumeOptions::into_map)
}

fn json<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|cause| Error::failed("cannot parse", what, cause))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn an_engines_answers_are_parsed() {
        let container = engine_container(br#"{"Id":"ab","Name":"/web","Mounts":null}"#).unwrap();
        assert_eq!(container.name, "web");
        assert!(engine_container(br#"{"Id":"ab","Name":"/web\u0007"}"#).is_err());
        let listed = engine_listed(br#"{"Id":"ab","Names":["/web"],"State":"running","Mounts":[]}"#).unwrap();
        assert_eq!(listed.unwrap().name, "web");
        let error = engine_container(b"[").unwrap_err().to_string();
        assert!(error.starts_with("cannot parse 'inspect': EOF"), "{error}");
        let quoted = engine_volume(
            br#"{"Name":"v","Driver":"local","Mountpoint":"/v","Labels":{},"Options":{},"Scope":"\u001b[2J"}"#,
        );
        let error = quoted.unwrap_err().to_string();
        assert!(error.contains("\\033[2J") && !error.contains('\u{1b}'), "{error}");
        let volume =
            br#"{"Name":"v","Driver":"local","Mountpoint":"/v/_data","Labels":{},"Scope":"local","Options":{}}"#;
        assert_eq!(engine_volume(volume).unwrap().mountpoint, PathBuf::from("/v/_data"));
    }

    #[test]
    fn the_files_of_a_data_root_are_parsed() {
        let config = br#"{"ID":"ab","Name":"/web","State":{"Running":true,"Pid":1},"MountPoints":{
            "/data":{"Type":"volume","Name":"v","Driver":"local","Source":"/var/lib/docker/volumes/v/_data"},
            "/srv":{"Type":"bind","Source":"/srv"}}}"#;
        let container = stored_container(config, b"{}").unwrap();
        let sources: Vec<_> = container.mounts.iter().map(|mount| mount.source.clone()).collect();
        let rescued = PathBuf::from("/rescued");
        assert_eq!(sources, [Some(rescued.join("var/lib/docker/volumes/v/_data")), Some(rescued.join("srv"))]);
        assert!(stored_container(config, b"null").is_err());
        let options = stored_volume_options(br#"{"MountType":"nfs"}"#).unwrap();
        assert_eq!(options.get("type").map(String::as_str), Some("nfs"));
    }
}
