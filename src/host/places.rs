//! Finds the sources of mounts on this machine, so that two names of one directory are recognised. It opens nothing for
//! reading.

use std::collections::BTreeMap;
use std::path::Path;

use super::inventory::{Container, Inventory, MountKind, Place, Volume};
use super::option_volume;
use crate::identity::lineage;

/// Adds to all volumes and mounts where their sources are.
pub(super) fn find(inventory: &mut Inventory) {
    of_volumes(&mut inventory.volumes);
    of_mounts(&mut inventory.containers, &inventory.volumes);
}

/// Adds to volumes where they are.
///
/// Those that the engine mounts are left out: they are filesystems of their own, of servers that may not answer, and are known by
/// their names.
pub(super) fn of_volumes(volumes: &mut [Volume]) {
    for volume in volumes.iter_mut().filter(|volume| !option_volume::is_mounted_by_the_engine(volume)) {
        volume.place = volume.source().and_then(of);
    }
}

/// Adds to the mounts of containers where their sources are; `volumes` have their places.
pub(super) fn of_mounts(containers: &mut [Container], volumes: &[Volume]) {
    let of_volume: BTreeMap<&str, &Option<Place>> =
        volumes.iter().map(|volume| (volume.name.as_str(), &volume.place)).collect();
    for mount in containers.iter_mut().flat_map(|container| &mut container.mounts) {
        mount.place = match &mount.kind {
            MountKind::Volume { name, .. } => of_volume.get(name.as_str()).and_then(|&place| place.clone()),
            MountKind::Bind => mount.source.as_deref().and_then(of),
            MountKind::Tmpfs | MountKind::Other(_) => None,
        };
    }
}

/// Returns where the file or directory at `path` is; `None` if it is not found.
fn of(path: &Path) -> Option<Place> {
    let canonical = path.canonicalize().ok()?;
    let lineage = lineage(&canonical).ok()?;
    Some(Place { path: canonical, lineage })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Mount;
    use crate::host::mounts::{tree, users};
    use crate::member::RelPath;

    fn bind(source: &Path, read_only: bool) -> Mount {
        Mount {
            destination: "/data".to_owned(),
            source: Some(source.to_owned()),
            subpath: RelPath::root(),
            kind: MountKind::Bind,
            read_only,
            non_recursive: false,
            place: None,
        }
    }

    #[test]
    fn a_volume_has_a_place_unless_the_engine_mounts_it() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().canonicalize().unwrap();
        let device = here.to_str().unwrap();
        for (driver, options, has_place) in [
            ("local", &[][..], true),
            ("local", &[("o", "size=1g")], true),
            ("local", &[("type", "none"), ("o", "bind"), ("device", device)], true),
            ("plugin", &[("type", "nfs"), ("device", ":/srv")], true),
            ("local", &[("type", "nfs"), ("device", ":/srv")], false),
            ("local", &[("type", "tmpfs")], false),
            ("local", &[("device", "/dev/sdz1")], false),
        ] {
            let mut volumes = [Volume {
                driver: driver.to_owned(),
                mountpoint: here.clone(),
                bound: Some(here.clone()),
                options: options.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect(),
                ..Volume::default()
            }];
            of_volumes(&mut volumes);
            let place = volumes[0].place.as_ref().map(|place| &place.path);
            assert_eq!(place, has_place.then_some(&here), "{driver} {options:?}");
        }
    }

    #[test]
    fn a_directory_is_recognised_by_any_of_its_names() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["data/media", "other"] {
            std::fs::create_dir_all(at(name)).unwrap();
        }
        std::os::unix::fs::symlink("data", at("link")).unwrap();
        let container = |name: &str, source: &Path, read_only| Container {
            id: name.to_owned(),
            name: name.to_owned(),
            mounts: vec![bind(source, read_only)],
            ..Container::default()
        };
        let mut inventory = Inventory {
            containers: vec![
                container("owner", &at("data"), false),
                container("through a link", &at("link"), true),
                container("inside, through a link", &at("link/media"), true),
                container("above", dir.path(), false),
                container("above, reading", dir.path(), true),
                container("other", &at("other"), false),
            ],
            ..Inventory::default()
        };
        find(&mut inventory);
        let names = |path: &[u8]| -> Vec<String> {
            let tree = tree(&inventory.containers[0], &RelPath::parse(path).unwrap()).unwrap();
            users(&inventory, &tree).iter().map(|user| user.name.clone()).collect()
        };
        assert_eq!(names(b"data"), ["owner", "through a link", "inside, through a link", "above"]);
        assert_eq!(names(b"data/media"), ["owner", "through a link", "inside, through a link", "above"]);
        assert_eq!(names(b"data/none"), ["owner", "through a link", "above"]);
    }
}
