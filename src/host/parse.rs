//! What the engine's answers and Docker's own files have in common, made into values. Both are taken for
//! hostile until they have passed here; neither is fetched here.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::member::{RelPath, printable};

use super::inventory::{Mount, MountKind};

/// Compose's labels, by which its containers and volumes are known.
pub(super) const PROJECT: &str = "com.docker.compose.project";
const SERVICE: &str = "com.docker.compose.service";
pub(super) const VOLUME: &str = "com.docker.compose.volume";
const ONE_OFF: &str = "com.docker.compose.oneoff";
const DEPENDS_ON: &str = "com.docker.compose.depends_on";

/// The compose service a container stands for. One made by `compose run` carries the label as well, but
/// is only a guest of the service.
pub(super) fn service<'a>(label: impl Fn(&str) -> Option<&'a String>) -> Option<String> {
    let one_off = label(ONE_OFF).is_some_and(|value| value.eq_ignore_ascii_case("true"));
    label(SERVICE).filter(|_| !one_off).cloned()
}

/// How one container leans on others.
#[derive(Debug, Default)]
pub(super) struct Ties<'a> {
    pub(super) links: &'a [String],
    pub(super) volumes_from: &'a [String],
    /// Network, process and IPC mode: each may be `container:<name or id>`.
    pub(super) modes: [Option<&'a str>; 3],
}

/// Names, services or ids of the containers it needs.
pub(super) fn depends_on<'a>(label: impl Fn(&str) -> Option<&'a String>, ties: &Ties<'_>) -> Vec<String> {
    // "db:service_started:false,redis:service_healthy:true"
    let services = label(DEPENDS_ON).map(String::as_str).unwrap_or_default().split(',');
    // "/cvat_db:/cvat/db" and "cvat_db:ro"
    let others = ties.links.iter().chain(ties.volumes_from).map(String::as_str);
    let modes = ties.modes.iter().flatten().filter_map(|mode| mode.strip_prefix("container:"));
    let mut needed: Vec<String> = Vec::new();
    for reference in services.chain(others) {
        let name = reference.split(':').next().unwrap_or_default();
        needed.push(name.trim().trim_start_matches('/').to_owned());
    }
    needed.extend(modes.map(str::to_owned));
    needed.retain(|name| !name.is_empty());
    needed.sort();
    needed.dedup();
    needed
}

/// A mount as either source tells of it.
#[derive(Debug, Default)]
pub(super) struct RawMount<'a> {
    pub(super) kind: &'a str,
    pub(super) name: &'a str,
    pub(super) driver: &'a str,
    pub(super) source: &'a str,
    pub(super) destination: &'a str,
    /// A part of the volume (`--mount …,volume-subpath=…`).
    pub(super) subpath: &'a str,
    pub(super) writable: bool,
}

/// Checks a mount. `mountpoints` knows where volumes lie; it is believed before the mount's own word,
/// which some engines leave empty.
pub(super) fn mount(container: &str, raw: &RawMount<'_>, mountpoints: &BTreeMap<String, PathBuf>) -> Result<Mount> {
    let kind = match raw.kind {
        // Files written by old engines leave the type out.
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
        MountKind::Volume { name, .. } if mountpoints.contains_key(name) => {
            // Empty: a plugin that gives no mountpoint until something uses the volume.
            mountpoints.get(name).filter(|at| !at.as_os_str().is_empty()).cloned()
        }
        MountKind::Volume { .. } | MountKind::Bind | MountKind::Other(_) if raw.source.is_empty() => None,
        MountKind::Volume { .. } | MountKind::Bind => Some(absolute(container, "source", raw.source)?),
        MountKind::Other(_) => absolute(container, "source", raw.source).ok(),
    };
    let subpath = RelPath::parse(raw.subpath.as_bytes()).map_err(|bad| {
        nonsense(container, &format!("volume subpath '{}': {bad}", printable(raw.subpath.as_bytes())))
    })?;
    Ok(Mount {
        destination: destination(container, raw.destination)?,
        source: source.map(|source| if subpath.is_root() { source } else { source.join(subpath.as_path()) }),
        kind,
        read_only: !raw.writable,
    })
}

/// Where a container sees a mount: absolute, without doubled slashes, `.` or a slash at its end.
pub(super) fn destination(container: &str, destination: &str) -> Result<String> {
    let path = absolute(container, "destination", destination)?;
    path.into_os_string().into_string().map_err(|_| nonsense(container, "a mount destination is not UTF-8"))
}

/// An absolute path without `..`, normalised.
pub(super) fn absolute(subject: &str, what: &str, path: &str) -> Result<PathBuf> {
    let bad = |reason: &str| nonsense(subject, &format!("mount {what} '{}' {reason}", printable(path.as_bytes())));
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

/// A name that is shown and compared: anything but control characters.
pub(super) fn text(what: &str, text: &str) -> Result<String> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err(nonsense("the engine", &format!("{what} '{}' is no name", printable(text.as_bytes()))));
    }
    Ok(text.to_owned())
}

/// An id becomes part of a URL and of a path.
pub(super) fn id(id: &str) -> Result<String> {
    if id.is_empty() || id.len() > 128 || !id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(nonsense("the engine", &format!("'{}' is no container id", printable(id.as_bytes()))));
    }
    Ok(id.to_owned())
}

fn nonsense(subject: &str, what: &str) -> Error {
    Error::new(ErrorKind::Failed, format!("{}: {what}", printable(subject.as_bytes())))
        .hint("the engine's word cannot be relied on here; check the container with `docker inspect`")
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
        let ties =
            Ties { links: &links, volumes_from: &volumes_from, modes: [Some("container:0123abc"), Some("host"), None] };
        assert_eq!(depends_on(|key| labels.get(key), &ties), ["0123abc", "cvat_db", "cvat_opa", "db", "redis"]);
        assert!(depends_on(|_| None, &Ties::default()).is_empty());
    }

    #[test]
    fn a_one_off_container_is_not_its_service() {
        let regular = labels(&[(SERVICE, "db"), (ONE_OFF, "False")]);
        let one_off = labels(&[(SERVICE, "db"), (ONE_OFF, "True")]);
        assert_eq!(service(|key| regular.get(key)), Some("db".to_owned()));
        assert_eq!(service(|key| one_off.get(key)), None);
    }

    fn read(raw: &RawMount<'_>) -> std::result::Result<Mount, String> {
        let known = BTreeMap::from([("data".to_owned(), PathBuf::from("/moved/data/_data"))]);
        mount("web", raw, &known).map_err(|error| error.to_string())
    }

    const BIND: RawMount<'_> = RawMount {
        kind: "bind",
        name: "",
        driver: "",
        source: "/srv//a/",
        destination: "/data/./b/",
        subpath: "",
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
    fn a_volume_lies_where_the_volume_list_says() {
        let volume = RawMount { kind: "volume", name: "data", driver: "local", source: "/old/_data", ..BIND };
        assert_eq!(read(&volume).unwrap().source.unwrap(), Path::new("/moved/data/_data"));
        let unknown = read(&RawMount { name: "other", driver: "", ..volume }).unwrap();
        assert_eq!(unknown.source.unwrap(), Path::new("/old/_data"));
        assert_eq!(unknown.kind, MountKind::Volume { name: "other".to_owned(), driver: "local".to_owned() });
    }

    #[test]
    fn a_subpath_is_a_part_of_the_volume_and_never_outside() {
        let volume = RawMount { kind: "volume", name: "data", subpath: "a//b", ..BIND };
        assert_eq!(read(&volume).unwrap().source.unwrap(), Path::new("/moved/data/_data/a/b"));
        let error = read(&RawMount { subpath: "../../etc", ..volume }).unwrap_err();
        assert_eq!(error, "web: volume subpath '../../etc': the name holds '..'");
    }

    #[test]
    fn paths_that_lead_elsewhere_are_errors() {
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
    fn what_is_not_known_keeps_its_word() {
        let other = read(&RawMount { kind: "npipe", source: r"\\.\pipe\x", ..BIND }).unwrap();
        assert_eq!((other.kind, other.source), (MountKind::Other("npipe".to_owned()), None));
        assert_eq!(read(&RawMount { kind: "tmpfs", source: "", ..BIND }).unwrap().kind, MountKind::Tmpfs);
        assert_eq!(read(&RawMount { source: "", ..BIND }).unwrap().source, None);
    }

    #[test]
    fn ids_cannot_leave_their_place_in_a_url() {
        assert!(id("0123abcdef").is_ok());
        for bad in ["", "../info", "a?b", &"a".repeat(129)] {
            assert!(id(bad).is_err(), "{bad}");
        }
    }
}
