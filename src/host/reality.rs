//! Whether a mount's content is really where the engine says, so that no empty folder is taken for the
//! data. Looks at the disk; changes nothing.

use super::mounts::{MountTree, TreeMount};
use super::{MountKind, Volume};
use crate::error::Error;
use crate::mountinfo::MountPoints;

/// Why the tree's mounts cannot be read or written here; empty where they can.
#[must_use]
pub fn obstacles(tree: &MountTree, volumes: &[Volume]) -> Vec<Error> {
    let mounted = match MountPoints::read() {
        Ok(mounted) => mounted,
        Err(error) => return vec![error],
    };
    tree.mounts.iter().filter_map(|mount| obstacle(mount, volumes, &mounted)).collect()
}

/// The mounts that a restore cannot write to.
pub fn read_only(tree: &MountTree) -> Vec<&TreeMount> {
    tree.mounts.iter().filter(|mount| mount.read_only && mount.kind != MountKind::Tmpfs).collect()
}

fn obstacle(mount: &TreeMount, volumes: &[Volume], mounted: &MountPoints) -> Option<Error> {
    let source = mount.source.display();
    match &mount.kind {
        MountKind::Tmpfs => return None,
        MountKind::Other(kind) => {
            return Some(
                Error::refused(format!("'{}' is a mount of type '{kind}', which voltar does not know", mount.destination))
                    .hint("archive it with the documented helper container"),
            );
        }
        MountKind::Volume { name, driver } if driver != "local" => {
            return Some(
                Error::refused(format!("volume '{name}' belongs to the driver '{driver}', not to the engine itself"))
                    .hint("what lies at its mountpoint may be empty or elsewhere: archive it with the driver's own means, or through a helper container"),
            );
        }
        MountKind::Volume { name, .. } => {
            let options = volumes.iter().find(|volume| volume.name == *name).map(|volume| &volume.options);
            let mounts_something =
                options.is_some_and(|options| ["type", "device", "o"].iter().any(|key| options.contains_key(*key)));
            // The volume's own folder counts: a Subpath lies below it.
            let root = volumes.iter().find(|volume| volume.name == *name).map_or(&mount.source, |v| &v.mountpoint);
            let at = root.canonicalize().unwrap_or_else(|_| root.clone());
            if mounts_something && !mounted.is_mount_point(&at) {
                let device = options.and_then(|options| options.get("device")).map_or("its device", String::as_str);
                return Some(
                    Error::refused(format!(
                        "volume '{name}' has mount options and is not mounted now: '{source}' is only the empty folder for '{device}'"
                    ))
                    .hint("it is mounted while a container uses it: start one and use --allow-running, or mount it there by hand"),
                );
            }
        }
        MountKind::Bind => {}
    }
    let path = mount.source.join(mount.beneath.as_path());
    match path.metadata() {
        Ok(_) => None,
        Err(e) => {
            let error = Error::failed("cannot find the mount's content at", path.as_os_str().as_encoded_bytes(), e);
            Some(error.hint(
                "is the engine on another machine, or does voltar run inside a container? It must run on the Docker host, as root",
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::RelPath;
    use std::collections::BTreeMap;
    use std::path::Path;

    fn volume(at: &Path, driver: &str, options: &[(&str, &str)]) -> (MountTree, Vec<Volume>) {
        let volume = Volume {
            name: "v".into(),
            driver: driver.into(),
            mountpoint: at.into(),
            options: options.iter().map(|&(k, v)| (k.into(), v.into())).collect::<BTreeMap<_, _>>(),
            project: None,
            compose_name: None,
        };
        (super::super::mounts::single(&volume, &RelPath::parse(b"data").unwrap()), vec![volume])
    }

    fn messages(at: &Path, driver: &str, options: &[(&str, &str)]) -> String {
        let (tree, volumes) = volume(at, driver, options);
        obstacles(&tree, &volumes).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_not_the_data_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(messages(dir.path(), "local", &[]), "");
        assert!(messages(dir.path(), "rclone", &[]).contains("driver 'rclone'"));
        let options = [("type", "nfs"), ("device", ":/export")];
        assert!(messages(dir.path(), "local", &options).contains("is not mounted now"));
        // Mounted, an option volume is a volume like any other; /proc is mounted everywhere.
        assert_eq!(messages(Path::new("/proc"), "local", &options), "");
        assert_eq!(messages(dir.path(), "local", &[("size", "1g")]), "");
        assert!(messages(&dir.path().join("no"), "local", &[]).contains("No such file"));
    }
}
