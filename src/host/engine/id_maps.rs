//! Finds the map between the ids that an engine's containers see and those that files on this host have.
//!
//! *A rootless engine* runs in a user namespace, and so do all its containers. The map of the process that listens on the
//! socket is the map.
//!
//! *An engine with userns-remap* runs in the initial user namespace, and puts its containers into another one. It computes
//! their map when it starts, from `/etc/subuid` and `/etc/subgid`, and names its root directory after the first ids. The
//! same files are read here; the directory's name tells whose ranges these are, and whether they are still those of the
//! engine. `/proc/PID/uid_map` of a container is less reliable: its first process can enter another user namespace below
//! that of the container, in which it can exchange ids. So it is used only where the files do not help, and only if it is
//! a single range that begins with the ids of the directory: that can lack ids, but exchanges none.

use std::fs::File;
use std::io;
use std::path::Path;

use bollard::models::SystemInfo;
use nix::unistd::geteuid;

use crate::durable::small_file;
use crate::error::Cause;
use crate::host::inventory::{MappedBy, MappedIds};
use crate::host::subids::{ContainerRoot, SubIds, container_root};
use crate::ids::IdMap;
use crate::member::printable;

use super::address::Address;

/// The size limit of a map, in bytes: 340 lines of three numbers, in columns of ten characters each.
const MOST_BYTES: u64 = 64 << 10;

/// The processes of an engine.
#[derive(Debug)]
pub(super) struct Processes<'a> {
    /// Its own, if that is known.
    pub(super) engine: Option<i32>,
    /// The user of the one that listens on its socket.
    pub(super) user: u32,
    /// The first one of each running container.
    pub(super) containers: &'a [i32],
}

/// Returns the map of the engine at `address`.
///
/// # Errors
/// The reason why the map is not known: its archives would have wrong owners.
pub(super) fn find(address: &Address, info: &SystemInfo, processes: &Processes<'_>) -> Result<MappedIds, String> {
    let has =
        |name: &str| info.security_options.iter().flatten().any(|option| option.split(',').any(|part| part == name));
    let (is_rootless, is_remapped) = (has("name=rootless"), has("name=userns"));
    let own = match processes.engine {
        Some(pid) => map_of_process(pid).map_err(|cause| {
            format!(
                "the map of ids of the engine at {address} (process {pid}) cannot be read ({}): run voltar as root on the \
                 host itself",
                Cause::from(cause)
            )
        })?,
        None => IdMap::default(),
    };
    match (is_remapped, own.is_identity()) {
        // In the user namespace of a rootless engine, the ids of this process are those of its containers.
        (false, true) if is_rootless && is_initial_namespace() => Err(format!(
            "the engine at {address} is rootless, but the process that listens there is in no user namespace, so that the \
             ids of its containers are not known: connect to the engine's own socket"
        )),
        // What it reports decides where root writes. In a user namespace that is limited to directories of its own ids.
        (_, true) if processes.user != 0 && geteuid().is_root() => Err(format!(
            "the process that listens at {address} is of user {}, and its answers would decide which directories root reads \
             and writes: connect to the engine's own socket",
            processes.user
        )),
        (false, _) => Ok(MappedIds { ids: own, by: MappedBy::Engine }),
        (true, false) => Err(format!(
            "the engine at {address} runs with userns-remap in a user namespace of its own, which is not supported: use the \
             documented tar commands"
        )),
        (true, true) => {
            let ids = remapped(info, processes).map_err(|why| {
                format!(
                    "the engine at {address} runs with userns-remap, but the ids of its containers are not known: {why}"
                )
            })?;
            Ok(MappedIds { ids, by: MappedBy::Containers })
        }
    }
}

fn remapped(info: &SystemInfo, processes: &Processes<'_>) -> Result<IdMap, String> {
    let directory = info.docker_root_dir.as_deref().unwrap_or_default();
    let root = container_root(Path::new(directory))
        .ok_or_else(|| format!("its root directory {} has no ids in its name", printable(directory.as_bytes())))?;
    let theirs = processes.engine.map(|pid| SubIds::of_host(Path::new(&format!("/proc/{pid}/root"))));
    let subids = match theirs {
        Some(Ok(theirs)) => Ok(theirs),
        // Only root can look there. Elsewhere, `mount_view` tells whether its mounts are those of voltar.
        Some(Err(_)) | None => SubIds::of_host(Path::new("/")),
    };
    let from_files = match subids {
        Ok(subids) => subids.remapped(root).map(|(map, _)| map),
        Err(cause) => Err(format!("/etc/subuid or /etc/subgid cannot be read: {}", Cause::from(cause))),
    };
    from_files.or_else(|why| {
        let maps = processes.containers.iter().filter_map(|pid| map_of_process(*pid).ok());
        maps.filter(|map| is_plain(map, root)).max_by_key(IdMap::len).ok_or(why)
    })
}

/// Returns whether a map consists of single ranges that begin with the container's root.
fn is_plain(map: &IdMap, root: ContainerRoot) -> bool {
    map.is_single() && map.container_root() == Some(root)
}

/// Returns the map between the ids in the user namespace of a process and those in that of this process.
fn map_of_process(pid: i32) -> io::Result<IdMap> {
    let theirs = maps_of(&pid.to_string())?;
    // For a process of the own namespace the kernel shows the ids of the namespace above it (`user_namespaces(7)`).
    let namespace = |process: &str| std::fs::read_link(format!("/proc/{process}/ns/user"));
    let is_same = match (namespace("self"), namespace(&pid.to_string())) {
        (Ok(own), Ok(theirs)) => own == theirs,
        // Only root can look there.
        (Err(_), _) | (_, Err(_)) => maps_of("self")? == theirs,
    };
    if is_same {
        return Ok(IdMap::default());
    }
    IdMap::parse(&theirs.0, &theirs.1).map_err(io::Error::other)
}

/// Returns whether this process is in the initial user namespace, which has all ids.
fn is_initial_namespace() -> bool {
    maps_of("self").is_ok_and(|(uids, gids)| IdMap::parse(&uids, &gids).is_ok_and(|map| map.is_identity()))
}

/// Returns the `uid_map` and the `gid_map` of a process: its id, or `self`.
fn maps_of(process: &str) -> io::Result<(String, String)> {
    let read = |file: &str| -> io::Result<String> {
        let bytes = small_file::read_open(&File::open(format!("/proc/{process}/{file}"))?, MOST_BYTES)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    Ok((read("uid_map")?, read("gid_map")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(option: &str, root: &str) -> SystemInfo {
        SystemInfo {
            security_options: Some(vec!["name=seccomp,profile=default".to_owned(), option.to_owned()]),
            docker_root_dir: Some(root.to_owned()),
            ..SystemInfo::default()
        }
    }

    fn found(engine: Option<i32>, info: &SystemInfo) -> Result<MappedIds, String> {
        found_of_user(engine, 0, info)
    }

    fn found_of_user(engine: Option<i32>, user: u32, info: &SystemInfo) -> Result<MappedIds, String> {
        find(&Address::Unix("/run/x.sock".into()), info, &Processes { engine, user, containers: &[] })
    }

    fn own() -> Option<i32> {
        std::process::id().try_into().ok()
    }

    #[test]
    fn an_engine_of_the_same_user_namespace_has_the_same_ids() {
        for engine in [own(), None] {
            let mapped = found(engine, &info("name=cgroupns", "/var/lib/docker")).unwrap();
            assert!(mapped.ids.is_identity());
        }
    }

    #[test]
    fn an_engine_whose_map_is_not_known_is_an_obstacle() {
        let error = found(own(), &info("name=rootless", "/home/u/.local/share/docker")).unwrap_err();
        assert!(error.contains("is rootless, but the process that listens there is in no user namespace"), "{error}");
        let error = found(own(), &info("name=userns", "/var/lib/docker")).unwrap_err();
        assert!(error.ends_with("not known: its root directory /var/lib/docker has no ids in its name"), "{error}");
        let error = found(own(), &info("name=userns", "/var/lib/docker/4294967294.7")).unwrap_err();
        assert!(error.contains("/etc/subuid"), "{error}");
        // No process has this id: the kernel's limit is 2^22.
        let error = found(Some(i32::MAX), &info("name=cgroupns", "/")).unwrap_err();
        assert!(error.contains("cannot be read (No such file or directory)"), "{error}");
    }

    #[test]
    fn root_does_not_believe_an_engine_of_another_user() {
        let mapped = found_of_user(own(), 1000, &info("name=cgroupns", "/var/lib/docker"));
        if geteuid().is_root() {
            assert!(mapped.unwrap_err().contains("is of user 1000, and its answers would decide"));
        } else {
            assert!(mapped.unwrap().ids.is_identity());
        }
    }

    #[test]
    fn a_map_that_could_exchange_ids_is_not_taken_from_a_container() {
        let map = |text: &str| IdMap::parse(text, text).unwrap();
        assert!(is_plain(&map("0 5 100"), (5, 5)) && is_plain(&map("0 5 1"), (5, 5)));
        for other in ["0 6 100", "1 5 100", "0 5 1\n1 7 1\n2 6 1"] {
            assert!(!is_plain(&map(other), (5, 5)), "{other}");
        }
        let exchanged = IdMap::parse("0 5 9", "0 5 1\n1 7 1\n2 6 1").unwrap();
        assert!(!is_plain(&exchanged, (5, 5)));
    }
}
