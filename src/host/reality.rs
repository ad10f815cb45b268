//! Checks whether the directories of a mount tree hold its data now: they exist on this host, and the filesystems that
//! should be mounted there are mounted. It changes nothing, and never opens the files in a volume.

use std::io::{self, ErrorKind as IoKind};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::member::{printable, printable_path};
use crate::mountinfo;

use super::inventory::{MountKind, Volume};
use super::mounts::{MountTree, TreeMount};
use super::option_volume;

/// Returns every reason why the tree's directories may not hold its data, each with a hint.
///
/// # Errors
/// The table of mounts cannot be read.
pub fn obstacles(tree: &MountTree, volumes: &[Volume]) -> Result<Vec<Error>> {
    Ok(check(tree, volumes, &mountinfo::mounted()?, &mountinfo::in_fstab()))
}

fn check(tree: &MountTree, volumes: &[Volume], mounted: &[PathBuf], in_fstab: &[PathBuf]) -> Vec<Error> {
    tree.mounts.iter().filter_map(|mount| check_mount(mount, volumes, mounted, in_fstab).err()).collect()
}

fn check_mount(mount: &TreeMount, volumes: &[Volume], mounted: &[PathBuf], in_fstab: &[PathBuf]) -> Result<()> {
    if mount.left_out.is_some() {
        return Ok(());
    }
    match &mount.kind {
        // A nested tmpfs is archived as an empty directory, like by a helper container with `--volumes-from`.
        MountKind::Tmpfs => return Ok(()),
        MountKind::Other(name) => {
            return Err(Error::refused(format!(
                "{} is a mount of type '{}', which is not supported",
                printable_path(Path::new(&mount.destination)),
                printable(name.as_bytes())
            ))
            .hint("archive its content with the tool that manages such mounts"));
        }
        MountKind::Volume { name, driver } if driver != "local" => {
            return Err(Error::refused(format!(
                "volume '{name}' has the volume driver '{driver}': its files may be on another machine"
            ))
            .hint("archive it with the tools of that volume driver, or from inside a container with the documented tar command"));
        }
        MountKind::Volume { name, .. } => {
            if let Some(volume) = volumes.iter().find(|volume| &volume.name == name) {
                option_volume::in_memory(volume).map_or(Ok(()), Err)?;
                device_is_here(volume, mounted)?;
            }
        }
        MountKind::Bind => {}
    }
    let source = canonical(&mount.source)?;
    if let Some(point) = in_fstab.iter().find(|point| source.starts_with(point) && !mounted.contains(point)) {
        return Err(Error::refused(format!(
            "{} belongs on the filesystem that /etc/fstab mounts at {}, which is not mounted",
            printable_path(&mount.source),
            printable_path(point)
        ))
        .hint(format!("mount {}", printable_path(point))));
    }
    Ok(())
}

/// Checks that a `local` volume with options is mounted, or that its device is on this host.
fn device_is_here(volume: &Volume, mounted: &[PathBuf]) -> Result<()> {
    let Some(filesystem) = option_volume::filesystem(&volume.driver, &volume.options) else { return Ok(()) };
    if volume.filesystem.is_some() || mounted.contains(&canonical(&volume.mountpoint)?) {
        return Ok(());
    }
    Err(Error::refused(format!(
        "volume '{}' ({}) is a filesystem that is not mounted at {}, and voltar does not mount it: its device is \
         that of another host, or the engine is rootless",
        volume.name,
        filesystem.describe(),
        printable_path(&volume.mountpoint)
    ))
    .hint(format!(
        "mount it there by hand: `{}`, with its device on this host",
        filesystem.command(&volume.mountpoint)
    )))
}

/// Resolves symbolic links, because the table of mounts has canonical paths.
fn canonical(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(|cause| not_resolved(path, cause))
}

fn not_resolved(path: &Path, cause: io::Error) -> Error {
    match cause.kind() {
        IoKind::NotFound | IoKind::NotADirectory => {
            Error::refused(format!("{} does not exist on this host", printable_path(path)))
                .hint("is the engine on another machine, or was the directory moved?")
        }
        IoKind::PermissionDenied => Error::failed_at("cannot read", path, cause).hint("run voltar as root (sudo)"),
        _ => Error::failed_at("cannot read", path, cause),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::mounts::tree_of_volume;
    use crate::member::RelPath;

    fn volume(at: &Path, options: &[(&str, &str)]) -> Volume {
        Volume {
            name: "cvat_data".to_owned(),
            driver: "local".to_owned(),
            mountpoint: at.to_owned(),
            options: options.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect(),
            ..Volume::default()
        }
    }

    fn verdict(volume: &Volume, mounted: &[PathBuf], in_fstab: &[PathBuf]) -> Vec<String> {
        let tree = tree_of_volume(volume, &RelPath::parse(b"data").unwrap()).unwrap();
        check(&tree, std::slice::from_ref(volume), mounted, in_fstab)
            .iter()
            .map(|error| {
                assert!(error.advice().is_some(), "a hint: {error}");
                error.to_string()
            })
            .collect()
    }

    #[test]
    fn a_directory_that_exists_is_not_an_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        assert!(verdict(&volume(dir.path(), &[]), &[], &[]).is_empty());
        let tree = tree_of_volume(&volume(dir.path(), &[]), &RelPath::parse(b"data").unwrap()).unwrap();
        assert!(obstacles(&tree, &[]).unwrap().is_empty());
    }

    #[test]
    fn a_missing_mountpoint_is_refused() {
        assert_eq!(verdict(&volume(Path::new("/no/such"), &[]), &[], &[]), ["/no/such does not exist on this host"]);
    }

    #[test]
    fn only_where_root_could_read_it_is_root_proposed() {
        let advice = |kind: IoKind| {
            let error = not_resolved(Path::new("/volumes/a"), kind.into());
            error.advice().map(ToOwned::to_owned).unwrap_or_default()
        };
        assert_eq!(advice(IoKind::PermissionDenied), "run voltar as root (sudo)");
        assert_eq!(advice(IoKind::StaleNetworkFileHandle), "");
    }

    #[test]
    fn other_drivers_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let plugin = Volume { driver: "rexray/ebs".to_owned(), ..volume(dir.path(), &[]) };
        assert_eq!(
            verdict(&plugin, &[], &[]),
            ["volume 'cvat_data' has the volume driver 'rexray/ebs': its files may be on another machine"]
        );
    }

    #[test]
    fn the_device_of_a_volume_is_on_this_host_or_it_is_mounted() {
        let dir = tempfile::tempdir().unwrap();
        let point = dir.path().canonicalize().unwrap();
        let moved = volume(&point, &[("type", "ext4"), ("device", "/dev/sdb1")]);
        assert_eq!(
            verdict(&moved, &[], &[]),
            [format!(
                "volume 'cvat_data' (type=ext4, device=/dev/sdb1) is a filesystem that is not mounted at {}, and \
                 voltar does not mount it: its device is that of another host, or the engine is rootless",
                point.display()
            )]
        );
        assert!(verdict(&moved, std::slice::from_ref(&point), &[]).is_empty());
        let filesystem = option_volume::filesystem("local", &moved.options);
        assert!(verdict(&Volume { filesystem, ..moved }, &[], &[]).is_empty());
        // A volume with only a size limit is not a mount.
        assert!(verdict(&volume(&point, &[("o", "size=10G")]), &[], &[]).is_empty());
        let memory = volume(&point, &[("type", "tmpfs"), ("device", "tmpfs")]);
        for mounted in [&[][..], std::slice::from_ref(&point)] {
            assert!(verdict(&memory, mounted, &[])[0].starts_with("volume 'cvat_data' is in memory (type=tmpfs)"));
        }
    }

    #[test]
    fn a_link_to_the_mountpoint_is_resolved() {
        let dir = tempfile::tempdir().unwrap();
        let point = dir.path().canonicalize().unwrap().join("real");
        std::fs::create_dir(&point).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&point, &link).unwrap();
        assert!(verdict(&volume(&link, &[("device", "/x")]), &[point], &[]).is_empty());
    }

    #[test]
    fn a_filesystem_in_fstab_must_be_mounted() {
        let dir = tempfile::tempdir().unwrap();
        let point = dir.path().canonicalize().unwrap();
        let media = point.join("media");
        std::fs::create_dir(&media).unwrap();
        let listed = [point.clone()];
        assert_eq!(verdict(&volume(&media, &[]), &[], &listed).len(), 1);
        assert!(verdict(&volume(&media, &[]), &listed, &listed).is_empty());
    }

    #[test]
    fn unknown_mounts_are_refused_and_a_nested_tmpfs_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut tree = tree_of_volume(&volume(dir.path(), &[]), &RelPath::parse(b"data").unwrap()).unwrap();
        tree.mounts[0].kind = MountKind::Other("cluster".to_owned());
        assert_eq!(
            check(&tree, &[], &[], &[])[0].to_string(),
            "/data is a mount of type 'cluster', which is not supported"
        );
        tree.mounts[0].kind = MountKind::Tmpfs;
        tree.mounts[0].source = PathBuf::new();
        assert!(check(&tree, &[], &[], &[]).is_empty());
    }
}
