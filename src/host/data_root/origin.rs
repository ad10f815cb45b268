//! The path of the data root when its files were written, and the mount sources that follow from it.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::error::Result;
use crate::host::inventory::{Mount, MountKind};
use crate::host::parse::{self, RawMount, VolumeSource};

use super::config::{MountPoint, StoredContainer};

/// The original path of the data root, compared with its present path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// The data root was not moved: the paths in its files are paths of this host.
    Here,
    /// The data root was at `root` of another host, whose `/` is at `prefix` here if that follows from the paths.
    Moved { root: PathBuf, prefix: Option<PathBuf> },
    /// No file holds the original path.
    Unknown,
}

impl Origin {
    /// Compares the original path `root` with the present path `dir`, which is canonical.
    pub(super) fn new(dir: &Path, root: Option<PathBuf>) -> Self {
        match root {
            Some(root) if root.canonicalize().is_ok_and(|root| root == dir) => Self::Here,
            Some(root) => Self::moved(dir, root),
            None => Self::Unknown,
        }
    }

    /// Returns the origin of a data root that was moved from `root` to `dir`.
    pub(super) fn moved(dir: &Path, root: PathBuf) -> Self {
        let below = root.strip_prefix("/").unwrap_or(&root);
        let depth = below.components().count();
        let prefix = dir.ends_with(below).then(|| dir.ancestors().nth(depth).map(Path::to_path_buf)).flatten();
        Self::Moved { root, prefix }
    }

    /// Returns the present path of the original host's root directory; that of this host if it is not known.
    pub(super) fn host(&self) -> &Path {
        match self {
            Self::Moved { prefix: Some(prefix), .. } => prefix,
            Self::Here | Self::Moved { prefix: None, .. } | Self::Unknown => Path::new("/"),
        }
    }

    /// Returns the present path of a path of the original host.
    pub(super) fn find(&self, dir: &Path, path: &Path) -> Option<PathBuf> {
        match self {
            Self::Here => Some(path.to_path_buf()),
            Self::Moved { root, prefix } => match (path.strip_prefix(root), prefix) {
                (Ok(below), _) => Some(joined(dir, below)),
                (Err(_), Some(prefix)) => Some(joined(prefix, path.strip_prefix("/").unwrap_or(path))),
                (Err(_), None) => None,
            },
            Self::Unknown => None,
        }
    }
}

/// Joins two paths. An empty second one leaves no slash at the end, as [`Path::join`] does.
fn joined(directory: &Path, path: &Path) -> PathBuf {
    directory.components().chain(path.components()).collect()
}

/// The values from which the mount sources of containers are computed.
pub(super) struct Sources<'a> {
    /// The sources of the data root's volumes, by volume name.
    pub(super) volumes: BTreeMap<String, VolumeSource>,
    /// The present path of the data root.
    pub(super) root: &'a Path,
    pub(super) origin: Origin,
}

impl Sources<'_> {
    /// Converts a mount of a container; its source is the present path.
    pub(super) fn mount(&self, container: &str, destination: &str, point: &MountPoint) -> Result<Mount> {
        let raw = RawMount {
            kind: &point.kind,
            name: &point.name,
            driver: &point.driver,
            source: &point.source,
            destination: if point.destination.is_empty() { destination } else { &point.destination },
            subpath: point.spec.volume_options.as_ref().map(|options| &options.subpath[..]).unwrap_or_default(),
            non_recursive: point.spec.bind_options.as_ref().is_some_and(|options| options.non_recursive),
            writable: point.rw,
        };
        let mount = parse::mount(container, &raw, &self.volumes)?;
        let in_data_root = matches!(&mount.kind, MountKind::Volume { name, .. } if self.volumes.contains_key(name));
        if in_data_root {
            return Ok(mount);
        }
        Ok(Mount { source: mount.source.and_then(|source| self.origin.find(self.root, &source)), ..mount })
    }
}

/// Returns the original path of the data root: the part before `volumes/<name>/_data` in the source of a local volume,
/// or before `containers/<id>/hostname` in `HostnamePath`, in `config.v2.json`.
pub(super) fn original_root(stored: &StoredContainer) -> Option<PathBuf> {
    let config = &stored.config;
    let volumes = config.mount_points.iter().flatten().map(|(_, point)| point);
    let of_volume = volumes
        .filter(|point| matches!(&point.driver[..], "" | "local"))
        .find_map(|point| strip_suffix(&point.source, &["volumes", &point.name, "_data"]));
    let of_container = || strip_suffix(&config.hostname_path, &["containers", &config.id, "hostname"]);
    of_volume.or_else(of_container)
}

/// Removes trailing components from an absolute path without `..`; returns `None` if it does not end with them.
fn strip_suffix(path: &str, suffix: &[&str]) -> Option<PathBuf> {
    let mut path = Path::new(path);
    let clean = path.is_absolute() && !path.components().any(|component| component == Component::ParentDir);
    if !clean || suffix.iter().any(|name| name.is_empty()) {
        return None;
    }
    for name in suffix.iter().rev() {
        path = path.parent().filter(|_| path.ends_with(name))?;
    }
    Some(path.to_path_buf())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_a_moved_root_are_translated() {
        let find = |dir: &str, root: &str, path: &str| {
            Origin::moved(Path::new(dir), PathBuf::from(root)).find(Path::new(dir), Path::new(path))
        };
        let disk = find("/mnt/var/lib/docker", "/var/lib/docker", "/srv/share");
        assert_eq!(disk, Some(PathBuf::from("/mnt/srv/share")));
        let root = find("/mnt/var/lib/docker", "/var/lib/docker", "/").unwrap();
        assert_eq!(root.as_os_str(), "/mnt", "no slash at the end");
        let copy = |path: &str| find("/mnt/copy", "/var/lib/docker", path);
        assert_eq!(copy("/var/lib/docker/volumes"), Some(PathBuf::from("/mnt/copy/volumes")));
        assert_eq!(copy("/srv/share"), None);
        assert_eq!(Origin::Unknown.find(Path::new("/mnt"), Path::new("/srv")), None);
    }

    #[test]
    fn a_suffix_is_stripped_from_clean_absolute_paths_only() {
        let strip = |path: &str| strip_suffix(path, &["volumes", "db", "_data"]);
        assert_eq!(strip("/var/lib/docker/volumes/db/_data"), Some(PathBuf::from("/var/lib/docker")));
        for other in ["volumes/db/_data", "/x/../volumes/db/_data", "/volumes/db2/_data", "/_data", "/", ""] {
            assert_eq!(strip(other), None, "{other}");
        }
        assert_eq!(strip_suffix("/volumes//_data", &["volumes", "", "_data"]), None);
    }
}
