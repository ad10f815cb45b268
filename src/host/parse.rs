//! Checks and conversions that the engine's answers and Docker's own files have in common. Both are untrusted.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::member::{RelPath, printable};

use super::inventory::{Dependency, Mount, MountKind, Volume};
use super::mount_options;

const SERVICE: &str = "com.docker.compose.service";
const ONE_OFF: &str = "com.docker.compose.oneoff";
const SWARM_SERVICE: &str = "com.docker.swarm.service.name";
const SWARM_SERVICE_ID: &str = "com.docker.swarm.service.id";
const SWARM_TASK: &str = "com.docker.swarm.task.id";
const DEPENDS_ON: &str = "com.docker.compose.depends_on";

/// Returns the compose service that a container is an instance of. A container created by `compose run` has
/// the label of the service, but is not an instance of it.
pub(super) fn service<'a>(label: impl Fn(&str) -> Option<&'a String>) -> Option<String> {
    label(SERVICE).filter(|_| !one_off(&label)).cloned()
}

/// Returns whether `compose run` created a container for one command.
pub(super) fn one_off<'a>(label: impl Fn(&str) -> Option<&'a String>) -> bool {
    label(ONE_OFF).is_some_and(|value| value.eq_ignore_ascii_case("true"))
}

/// Returns the swarm service whose task a container is: its name, or what else its labels hold to find it by.
pub(super) fn swarm_service<'a>(label: impl Fn(&str) -> Option<&'a String>) -> Option<String> {
    [SWARM_SERVICE, SWARM_SERVICE_ID, SWARM_TASK].iter().find_map(|key| label(key)).cloned()
}

/// The references of one container to others, apart from labels.
#[derive(Debug, Default)]
pub(super) struct References<'a> {
    pub(super) links: &'a [String],
    pub(super) volumes_from: &'a [String],
    /// Network, process and IPC mode: each may be `container:<name or id>`.
    pub(super) modes: [Option<&'a str>; 3],
}

/// Returns the containers that one depends on, each once.
pub(super) fn depends_on<'a>(
    label: impl Fn(&str) -> Option<&'a String>,
    references: &References<'_>,
) -> Vec<Dependency> {
    let mut needed: BTreeMap<String, bool> = BTreeMap::new();
    let mut add = |on: &str, healthy: bool| {
        let on = on.trim().trim_start_matches('/');
        if !on.is_empty() {
            *needed.entry(on.to_owned()).or_default() |= healthy;
        }
    };
    // Like "db:service_started:false,redis:service_healthy:true".
    for reference in label(DEPENDS_ON).map(String::as_str).unwrap_or_default().split(',') {
        let mut fields = reference.split(':');
        let service = fields.next().unwrap_or_default();
        add(service, fields.next() == Some("service_healthy"));
    }
    // Like "/cvat_db:/cvat/db", and "cvat_db:ro".
    for reference in references.links.iter().chain(references.volumes_from) {
        add(reference.split(':').next().unwrap_or_default(), false);
    }
    for other in references.modes.iter().flatten().filter_map(|mode| mode.strip_prefix("container:")) {
        add(other, false);
    }
    needed.into_iter().map(|(on, healthy)| Dependency { on, healthy }).collect()
}

/// A mount as the engine or the file of a container reports it, not yet checked.
#[derive(Debug, Default)]
pub(super) struct RawMount<'a> {
    pub(super) kind: &'a str,
    pub(super) name: &'a str,
    pub(super) driver: &'a str,
    pub(super) source: &'a str,
    pub(super) destination: &'a str,
    /// A directory in the volume (`--mount …,volume-subpath=…`).
    pub(super) subpath: &'a str,
    /// Whether filesystems below the source are not mounted with it (`--mount …,bind-nonrecursive`).
    pub(super) non_recursive: bool,
    pub(super) writable: bool,
}

/// What a volume adds to the mounts of containers.
#[derive(Debug, Default, Clone)]
pub(super) struct VolumeSource {
    /// The directory that holds its files; `None` if the path is not known.
    path: Option<PathBuf>,
    read_only: bool,
}

/// Returns the sources of volumes, by name.
pub(super) fn sources(volumes: &[Volume]) -> BTreeMap<String, VolumeSource> {
    let source = |volume: &Volume| VolumeSource {
        // A plugin may report no mountpoint until a container uses the volume.
        path: volume.source().filter(|path| !path.as_os_str().is_empty()).map(Path::to_owned),
        read_only: mount_options::is_read_only(&volume.options),
    };
    volumes.iter().map(|volume| (volume.name.clone(), source(volume))).collect()
}

/// Checks and converts a mount. The source of its volume takes precedence over that of the mount, which some engines
/// leave empty.
pub(super) fn mount(container: &str, raw: &RawMount<'_>, volumes: &BTreeMap<String, VolumeSource>) -> Result<Mount> {
    let kind = match raw.kind {
        // Files written by old engines have no type.
        "volume" | "" if !raw.name.is_empty() => MountKind::Volume {
            name: text("volume", raw.name)?,
            driver: text("volume driver", if raw.driver.is_empty() { "local" } else { raw.driver })?,
        },
        "bind" | "" => MountKind::Bind,
        "tmpfs" => MountKind::Tmpfs,
        other => MountKind::Other(text("mount type", other)?),
    };
    let source = match &kind {
        MountKind::Tmpfs => None,
        MountKind::Volume { name, .. } if volumes.contains_key(name) => {
            volumes.get(name).and_then(|volume| volume.path.clone())
        }
        MountKind::Volume { .. } | MountKind::Bind | MountKind::Other(_) if raw.source.is_empty() => None,
        MountKind::Volume { .. } | MountKind::Bind => Some(absolute(container, "mount source", raw.source)?),
        MountKind::Other(_) => absolute(container, "mount source", raw.source).ok(),
    };
    let subpath = RelPath::parse(raw.subpath.as_bytes()).map_err(|bad| {
        malformed(container, &format!("volume subpath '{}': {bad}", printable(raw.subpath.as_bytes())))
    })?;
    Ok(Mount {
        destination: destination(container, raw.destination)?,
        source,
        subpath,
        kind,
        read_only: !raw.writable || volumes.get(raw.name).is_some_and(|volume| volume.read_only),
        non_recursive: raw.non_recursive,
        place: None,
    })
}

/// Checks and normalises the mountpoint of a mount in a container: absolute, without doubled slashes, `.` or a
/// trailing slash.
pub(super) fn destination(container: &str, destination: &str) -> Result<String> {
    let path = absolute(container, "mount destination", destination)?;
    path.into_os_string().into_string().map_err(|_| malformed(container, "a mount destination is not UTF-8"))
}

/// Checks and normalises an absolute path without `..`.
pub(super) fn absolute(subject: &str, what: &str, path: &str) -> Result<PathBuf> {
    let bad = |reason: &str| malformed(subject, &format!("{what} '{}' {reason}", printable(path.as_bytes())));
    if !path.starts_with('/') {
        return Err(bad("is not absolute"));
    }
    if path.contains('\0') {
        return Err(bad("holds a NUL byte"));
    }
    if Path::new(path).components().any(|component| component == Component::ParentDir) {
        return Err(bad("holds '..'"));
    }
    Ok(Path::new(path).components().collect())
}

/// Checks a name, which is only printed and compared: it must not be empty or hold control characters.
pub(super) fn text(what: &str, text: &str) -> Result<String> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(malformed("the engine", &format!("{what} '{}' is not a valid name", printable(text.as_bytes()))));
    }
    Ok(text.to_owned())
}

/// Checks a container id, which becomes part of a URL and of a path.
pub(super) fn id(id: &str) -> Result<String> {
    if id.is_empty() || id.len() > 128 || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(malformed("the engine", &format!("'{}' is not a container id", printable(id.as_bytes()))));
    }
    Ok(id.to_owned())
}

fn malformed(subject: &str, what: &str) -> Error {
    Error::new(ErrorKind::Failed, format!("{}: {what}", printable(subject.as_bytes())))
        .hint("check the container with `docker inspect`, and the log of the daemon (`journalctl -u docker`)")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn dependencies_come_from_labels_links_volumes_and_modes() {
        let labels = labels(&[(DEPENDS_ON, "db:service_started:false,redis:service_healthy:true")]);
        let links = ["/cvat_opa:/cvat/opa".to_owned()];
        let volumes_from = ["cvat_db:ro".to_owned(), "db".to_owned()];
        let references = References {
            links: &links,
            volumes_from: &volumes_from,
            modes: [Some("container:0123abc"), Some("host"), None],
        };
        let needed = depends_on(|key| labels.get(key), &references);
        let shown: Vec<(&str, bool)> = needed.iter().map(|one| (&one.on[..], one.healthy)).collect();
        assert_eq!(
            shown,
            [("0123abc", false), ("cvat_db", false), ("cvat_opa", false), ("db", false), ("redis", true)]
        );
        assert!(depends_on(|_| None, &References::default()).is_empty());
    }

    #[test]
    fn a_one_off_container_is_not_an_instance_of_its_service() {
        let regular = labels(&[(SERVICE, "db"), (ONE_OFF, "False")]);
        let one_off = labels(&[(SERVICE, "db"), (ONE_OFF, "True")]);
        assert_eq!(service(|key| regular.get(key)), Some("db".to_owned()));
        assert_eq!(service(|key| one_off.get(key)), None);
    }

    #[test]
    fn a_swarm_task_has_a_service_and_a_one_off_container_a_label() {
        let task = labels(&[(SWARM_SERVICE, "stack_db"), (SWARM_SERVICE_ID, "0abc"), (SWARM_TASK, "1def")]);
        assert_eq!(swarm_service(|key| task.get(key)), Some("stack_db".to_owned()));
        let unnamed = labels(&[(SWARM_SERVICE_ID, "0abc"), (SWARM_TASK, "1def")]);
        assert_eq!(swarm_service(|key| unnamed.get(key)), Some("0abc".to_owned()));
        assert_eq!(swarm_service(|_| None), None);
        for (value, expected) in [("True", true), ("true", true), ("False", false)] {
            let labels = labels(&[(ONE_OFF, value)]);
            assert_eq!(one_off(|key| labels.get(key)), expected, "{value}");
        }
        assert!(!one_off(|_| None));
    }

    fn read(raw: &RawMount<'_>) -> std::result::Result<Mount, String> {
        let data = Volume { name: "data".to_owned(), mountpoint: "/moved/data/_data".into(), ..Volume::default() };
        let known = sources(&[data]);
        mount("web", raw, &known).map_err(|error| error.to_string())
    }

    const BIND: RawMount<'_> = RawMount {
        kind: "bind",
        name: "",
        driver: "",
        source: "/srv//a/",
        destination: "/data/./b/",
        subpath: "",
        non_recursive: false,
        writable: true,
    };

    #[test]
    fn mounts_are_normalised() {
        let bind = read(&BIND).unwrap();
        assert_eq!(bind.destination, "/data/b");
        assert_eq!(bind.source.unwrap().as_os_str(), "/srv/a");
        assert!(!bind.read_only && read(&RawMount { writable: false, ..BIND }).unwrap().read_only);
    }

    #[test]
    fn the_mountpoint_of_a_volume_comes_from_the_volume_list() {
        let volume = RawMount { kind: "volume", name: "data", driver: "local", source: "/old/_data", ..BIND };
        assert_eq!(read(&volume).unwrap().source.unwrap(), Path::new("/moved/data/_data"));
        let unknown = read(&RawMount { name: "other", driver: "", ..volume }).unwrap();
        assert_eq!(unknown.source.unwrap(), Path::new("/old/_data"));
        assert_eq!(unknown.kind, MountKind::Volume { name: "other".to_owned(), driver: "local".to_owned() });
    }

    #[test]
    fn a_subpath_is_below_the_volume() {
        let volume = RawMount { kind: "volume", name: "data", subpath: "a//b", ..BIND };
        let mount = read(&volume).unwrap();
        assert_eq!(
            (mount.source.unwrap().as_path(), mount.subpath.as_bytes()),
            (Path::new("/moved/data/_data"), &b"a/b"[..])
        );
        let error = read(&RawMount { subpath: "../../etc", ..volume }).unwrap_err();
        assert_eq!(error, "web: volume subpath '../../etc': the name holds '..'");
    }

    #[test]
    fn relative_paths_and_dot_dot_are_errors() {
        for (raw, message) in [
            (RawMount { source: "srv", ..BIND }, "web: mount source 'srv' is not absolute"),
            (RawMount { source: "/srv/../etc", ..BIND }, "web: mount source '/srv/../etc' holds '..'"),
            (RawMount { destination: "/a/..", ..BIND }, "web: mount destination '/a/..' holds '..'"),
            (RawMount { destination: "", ..BIND }, "web: mount destination '' is not absolute"),
            (RawMount { source: "/a\0b", ..BIND }, "web: mount source '/a\\000b' holds a NUL byte"),
        ] {
            assert_eq!(read(&raw).unwrap_err(), message);
        }
    }

    #[test]
    fn a_mount_of_unknown_type_keeps_its_type() {
        let other = read(&RawMount { kind: "npipe", source: r"\\.\pipe\x", ..BIND }).unwrap();
        assert_eq!((other.kind, other.source), (MountKind::Other("npipe".to_owned()), None));
        assert_eq!(read(&RawMount { kind: "tmpfs", source: "", ..BIND }).unwrap().kind, MountKind::Tmpfs);
        assert_eq!(read(&RawMount { source: "", ..BIND }).unwrap().source, None);
    }

    #[test]
    fn a_mount_is_that_of_a_volume_if_it_names_one() {
        let of = |kind, name| read(&RawMount { kind, name, ..BIND }).unwrap().kind;
        let volume = MountKind::Volume { name: "data".to_owned(), driver: "local".to_owned() };
        assert_eq!([of("", "data"), of("volume", "data")], [volume.clone(), volume]);
        assert_eq!([of("", ""), of("volume", "")], [MountKind::Bind, MountKind::Other("volume".to_owned())]);
    }

    #[test]
    fn ids_cannot_change_the_path_of_a_url() {
        assert!(id("0123abcdef").is_ok() && id(&"a".repeat(128)).is_ok());
        for bad in ["", "../info", "a?b", &"a".repeat(129)] {
            assert!(id(bad).is_err(), "{bad}");
        }
    }
}
