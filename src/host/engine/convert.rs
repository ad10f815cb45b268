//! Checks the answers of the engine, which are untrusted, and converts them into values.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use bollard::models::{ContainerInspectResponse, MountPoint, Volume as EngineVolume};

use crate::error::Result;
use crate::host::inventory::{Container, ContainerState, Mount, PROJECT, State, VOLUME, Volume};
use crate::host::parse::{self, RawMount, References, VolumeSource};
use crate::host::{mount_options, option_volume};

/// Converts a volume of the volume list.
pub(in crate::host) fn volume(answer: &EngineVolume) -> Result<Volume> {
    let name = parse::text("volume", &answer.name)?;
    // A plugin may report no mountpoint until a container uses the volume.
    let mountpoint = match answer.mountpoint.as_str() {
        "" => PathBuf::new(),
        at => parse::absolute(&format!("volume '{name}'"), "mountpoint", at)?,
    };
    let options: BTreeMap<_, _> = answer.options.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    let driver = parse::text("volume driver", &answer.driver)?;
    Ok(Volume {
        filesystem: option_volume::filesystem(&driver, &options),
        driver,
        mountpoint,
        project: answer.labels.get(PROJECT).cloned(),
        compose_name: answer.labels.get(VOLUME).cloned(),
        bound: mount_options::bind_device(&options).map(Path::to_owned),
        options,
        place: None,
        name,
    })
}

/// Converts the answer to an inspection; `volumes` are those of the volume list.
pub(in crate::host) fn container(
    answer: &ContainerInspectResponse,
    volumes: &BTreeMap<String, VolumeSource>,
) -> Result<Container> {
    let name = name_of(answer)?;
    let config = answer.config.as_ref();
    let labels = config.and_then(|config| config.labels.as_ref());
    let label = |key: &str| labels.and_then(|labels: &HashMap<String, String>| labels.get(key));
    let host = answer.host_config.as_ref();
    let references = References {
        links: host.and_then(|host| host.links.as_deref()).unwrap_or_default(),
        volumes_from: host.and_then(|host| host.volumes_from.as_deref()).unwrap_or_default(),
        modes: [
            host.and_then(|host| host.network_mode.as_deref()),
            host.and_then(|host| host.pid_mode.as_deref()),
            host.and_then(|host| host.ipc_mode.as_deref()),
        ],
    };
    let mut mounts = Vec::new();
    for point in answer.mounts.iter().flatten() {
        mounts.push(mount(&name, answer, point, volumes)?);
    }
    // The engine reports `--mount type=tmpfs` in `Mounts`, but `--tmpfs` in `HostConfig.Tmpfs`.
    for at in host.and_then(|host| host.tmpfs.as_ref()).into_iter().flat_map(HashMap::keys) {
        let destination = parse::destination(&name, at)?;
        if !mounts.iter().any(|mount| mount.destination == destination) {
            mounts.push(Mount::tmpfs(destination));
        }
    }
    mounts.sort_by(|a, b| a.destination.cmp(&b.destination));
    Ok(Container {
        id: parse::id(answer.id.as_deref().unwrap_or_default())?,
        image: config.and_then(|config| config.image.clone()).unwrap_or_default(),
        project: label(PROJECT).cloned(),
        service: parse::service(label),
        state: state_of(answer),
        created: answer.created.clone().unwrap_or_default(),
        started: container_state(answer).started,
        depends_on: parse::depends_on(label, &references),
        environment: config.and_then(|config| config.env.clone()).unwrap_or_default(),
        auto_remove: host.and_then(|host| host.auto_remove).unwrap_or_default(),
        one_off: parse::one_off(label),
        swarm_service: parse::swarm_service(label),
        mounts,
        name,
    })
}

fn mount(
    container: &str,
    answer: &ContainerInspectResponse,
    point: &MountPoint,
    volumes: &BTreeMap<String, VolumeSource>,
) -> Result<Mount> {
    let destination = point.destination.as_deref().unwrap_or_default();
    // `HostConfig.Mounts` holds the target as the user wrote it, not normalised.
    let same =
        |target: &str| parse::destination(container, target).ok() == parse::destination(container, destination).ok();
    let requested = answer.host_config.iter().filter_map(|host| host.mounts.as_ref()).flatten();
    let subpath = requested
        .filter(|mount| mount.target.as_deref().is_some_and(same))
        .find_map(|mount| mount.volume_options.as_ref()?.subpath.as_deref());
    let raw = RawMount {
        kind: point.typ.as_deref().unwrap_or_default(),
        name: point.name.as_deref().unwrap_or_default(),
        driver: point.driver.as_deref().unwrap_or_default(),
        source: point.source.as_deref().unwrap_or_default(),
        destination,
        subpath: subpath.unwrap_or_default(),
        writable: point.rw.unwrap_or(true),
    };
    parse::mount(container, &raw, volumes)
}

/// Returns the name of an inspected container without its leading slash.
pub(super) fn name_of(answer: &ContainerInspectResponse) -> Result<String> {
    parse::text("container", answer.name.as_deref().unwrap_or_default().trim_start_matches('/'))
}

/// Returns the state of an inspected container.
pub(super) fn state_of(answer: &ContainerInspectResponse) -> State {
    let state = answer.state.as_ref();
    let flag = |flag: Option<bool>| flag.unwrap_or_default();
    if state.is_some_and(|state| flag(state.paused)) {
        State::Paused
    } else if state.is_some_and(|state| flag(state.running) || flag(state.restarting)) {
        State::Running
    } else {
        State::Stopped
    }
}

/// Returns the state of an inspected container and of its last run.
pub(super) fn container_state(answer: &ContainerInspectResponse) -> ContainerState {
    let state = answer.state.as_ref();
    ContainerState {
        state: state_of(answer),
        restarting: state.and_then(|state| state.restarting).unwrap_or_default(),
        started: state.and_then(|state| state.started_at.clone()).unwrap_or_default(),
        exit_status: state.and_then(|state| state.exit_code).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn inspected(json: &str) -> Result<Container> {
        let answer: ContainerInspectResponse = serde_json::from_str(json).unwrap();
        let db =
            Volume { name: "cvat_cvat_db".to_owned(), mountpoint: "/v/cvat_cvat_db/_data".into(), ..Volume::default() };
        container(&answer, &parse::sources(&[db]))
    }

    #[test]
    fn an_inspected_container_becomes_a_value() {
        let container = inspected(
            r#"{"Id":"0123abcd","Name":"/cvat_db","Created":"2026-01-01T00:00:00.5Z",
                "State":{"Running":false,"Restarting":true,"StartedAt":"2026-01-02T00:00:00Z"},
                "HostConfig":{"Links":["/cvat_redis:/cvat/redis"],"NetworkMode":"container:ffff","AutoRemove":true,
                    "Tmpfs":{"/run":"size=1m"},
                    "Mounts":[{"Type":"volume","Target":"/sub/","VolumeOptions":{"Subpath":"a/b"}}]},
                "Config":{"Image":"postgres:10-alpine","Env":["PGDATA=/x"],"Labels":{
                    "com.docker.compose.project":"cvat","com.docker.compose.service":"db",
                    "com.docker.compose.depends_on":"opa:service_started:false"}},
                "Mounts":[
                    {"Type":"volume","Name":"cvat_cvat_db","Source":"/old","Destination":"/sub","Driver":"local","RW":true},
                    {"Type":"bind","Source":"/srv","Destination":"/share/","RW":false}]}"#,
        )
        .unwrap();
        assert_eq!((&container.name[..], &container.image[..]), ("cvat_db", "postgres:10-alpine"));
        assert_eq!((container.project.as_deref(), container.service.as_deref()), (Some("cvat"), Some("db")));
        assert_eq!(container.state, State::Running, "restarting counts as running");
        assert_eq!(container.started, "2026-01-02T00:00:00Z");
        assert!(container.auto_remove && !container.one_off);
        assert_eq!(container.swarm_service, None);
        assert_eq!(container.depends_on, ["cvat_redis", "ffff", "opa"]);
        let mounts: Vec<(&str, Option<&str>, bool)> = container
            .mounts
            .iter()
            .map(|mount| (&mount.destination[..], mount.source.as_deref().and_then(Path::to_str), mount.read_only))
            .collect();
        assert_eq!(
            mounts,
            [("/run", None, false), ("/share", Some("/srv"), true), ("/sub", Some("/v/cvat_cvat_db/_data"), false)]
        );
        assert_eq!(container.mounts[2].subpath.as_bytes(), b"a/b");
    }

    #[test]
    fn paused_is_neither_running_nor_stopped() {
        let state = |state: &str| inspected(&format!(r#"{{"Id":"ab","Name":"/c","State":{state}}}"#)).unwrap().state;
        assert_eq!(state(r#"{"Running":true,"Paused":true}"#), State::Paused);
        assert_eq!(state(r#"{"Running":true}"#), State::Running);
        assert_eq!(state(r#"{"Running":false,"Dead":true}"#), State::Stopped);
    }

    #[test]
    fn the_last_run_is_converted() {
        let json = r#"{"State":{"Running":true,"Restarting":true,"ExitCode":7,"StartedAt":"2026-01-02T00:00:00Z"}}"#;
        let expected = ContainerState {
            state: State::Running,
            restarting: true,
            started: "2026-01-02T00:00:00Z".to_owned(),
            exit_status: 7,
        };
        assert_eq!(container_state(&serde_json::from_str(json).unwrap()), expected);
        assert_eq!(container_state(&ContainerInspectResponse::default()), ContainerState::default());
    }

    #[test]
    fn hostile_answers_are_errors() {
        for (json, message) in [
            (r#"{"Id":"../x","Name":"/c"}"#, "the engine: '../x' is not a container id"),
            (r#"{"Id":"ab","Name":"/"}"#, "the engine: container '' is not a valid name"),
            (r#"{"Id":"ab","Name":"/c\u001b[2J"}"#, "the engine: container 'c\\033[2J' is not a valid name"),
            (
                r#"{"Id":"ab","Name":"/c","Mounts":[{"Type":"bind","Source":"../etc","Destination":"/x"}]}"#,
                "c: mount source '../etc' is not absolute",
            ),
            (
                r#"{"Id":"ab","Name":"/c","Mounts":[{"Type":"bind","Source":"/etc","Destination":"/x/../y"}]}"#,
                "c: mount destination '/x/../y' holds '..'",
            ),
        ] {
            assert_eq!(inspected(json).unwrap_err().to_string(), message);
        }
        let odd = EngineVolume {
            name: "v".into(),
            driver: "local".into(),
            mountpoint: "v/_data".into(),
            ..EngineVolume::default()
        };
        assert_eq!(volume(&odd).unwrap_err().to_string(), "volume 'v': mountpoint 'v/_data' is not absolute");
    }
}
