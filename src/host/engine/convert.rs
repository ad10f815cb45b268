//! Checks the answers of the engine, which are untrusted, and converts them into values.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::models::Volume as EngineVolume;

use crate::error::Result;
use crate::host::inventory::{
    Container, ContainerState, Health, HealthStatus, Mount, PROJECT, State, UserNamespace, VOLUME, Volume,
};
use crate::host::parse::{self, RawMount, References, VolumeSource};
use crate::host::{mount_options, option_volume};
use crate::ids::IdMap;

use super::answers::{ContainerInspectResponse, ContainerSummary, HealthConfig, MountPoint};

/// The time before the engine kills a container that it stops, unless the container has its own timeout.
const DEFAULT_STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// The time between two health checks, unless the container has its own.
const DEFAULT_HEALTH_INTERVAL: Duration = Duration::from_secs(30);
/// The number of health checks that must fail one after the other, unless the container has its own.
const DEFAULT_HEALTH_RETRIES: u32 = 3;

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
        ids: IdMap::default(),
        name,
    })
}

/// Converts an element of the list of containers, which lacks much of what an inspection has. `None` if it does not have
/// what decides whether a container is to be inspected: some versions of Podman list no mounts.
pub(in crate::host) fn listed(
    answer: &ContainerSummary,
    volumes: &BTreeMap<String, VolumeSource>,
) -> Result<Option<Container>> {
    // A container has further names, with a second slash, from links of other containers.
    let own = |name: &&String| name.trim_start_matches('/').split('/').count() == 1;
    let name = answer.names.iter().flatten().find(own);
    let state = match answer.state.as_deref() {
        Some("running" | "restarting") => Some(State::Running),
        Some("paused") => Some(State::Paused),
        Some("created" | "exited" | "dead" | "removing") => Some(State::Stopped),
        // Podman has others too (`stopped`, `stopping`, `initialized`, `configured`): an inspection tells.
        Some(_) | None => None,
    };
    let (Some(name), Some(state), Some(points)) = (name, state, &answer.mounts) else { return Ok(None) };
    let name = parse::text("container", name.trim_start_matches('/'))?;
    let label = |key: &str| answer.labels.as_ref().and_then(|labels| labels.get(key));
    let mut mounts = Vec::new();
    for point in points {
        mounts.push(parse::mount(&name, &raw_mount(point, ""), volumes)?);
    }
    Ok(Some(Container {
        id: parse::id(answer.id.as_deref().unwrap_or_default())?,
        image: answer.image.clone().unwrap_or_default(),
        project: label(PROJECT).cloned(),
        service: parse::service(label),
        state,
        one_off: parse::one_off(label),
        swarm_service: parse::swarm_service(label),
        mounts,
        name,
        ..Container::default()
    }))
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
        image_id: answer.image.clone().unwrap_or_default(),
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
        user_namespace: match host.and_then(|host| host.userns_mode.as_deref()) {
            None | Some("") => UserNamespace::OfEngine,
            Some("host") => UserNamespace::OfHost,
            Some(_) => UserNamespace::Own,
        },
        ids: IdMap::default(),
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
    let mut requested = answer.host_config.iter().filter_map(|host| host.mounts.as_ref()).flatten();
    let requested = requested.find(|mount| mount.target.as_deref().is_some_and(same));
    let subpath = requested.and_then(|mount| mount.volume_options.as_ref()?.subpath.as_deref());
    let non_recursive = requested.and_then(|mount| mount.bind_options.as_ref()?.non_recursive);
    let raw = raw_mount(point, subpath.unwrap_or_default());
    parse::mount(container, &RawMount { non_recursive: non_recursive.unwrap_or(false), ..raw }, volumes)
}

fn raw_mount<'a>(point: &'a MountPoint, subpath: &'a str) -> RawMount<'a> {
    RawMount {
        non_recursive: false,
        kind: point.typ.as_deref().unwrap_or_default(),
        name: point.name.as_deref().unwrap_or_default(),
        driver: point.driver.as_deref().unwrap_or_default(),
        source: point.source.as_deref().unwrap_or_default(),
        destination: point.destination.as_deref().unwrap_or_default(),
        subpath,
        writable: point.rw.unwrap_or(true),
    }
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

/// Returns the time before the engine kills an inspected container that it stops; `None` if there is no limit.
pub(super) fn stop_timeout(answer: &ContainerInspectResponse) -> Option<Duration> {
    match answer.config.as_ref().and_then(|config| config.stop_timeout) {
        None => Some(DEFAULT_STOP_TIMEOUT),
        // A negative timeout means no limit.
        Some(seconds) => u64::try_from(seconds).ok().map(Duration::from_secs),
    }
}

/// Returns the health of an inspected container; `None` if it has no health check.
fn health(answer: &ContainerInspectResponse) -> Option<Health> {
    let status = match answer.state.as_ref()?.health.as_ref()?.status.as_deref()? {
        "starting" => HealthStatus::Starting,
        "healthy" => HealthStatus::Healthy,
        "unhealthy" => HealthStatus::Unhealthy,
        // `none`, or empty.
        _ => return None,
    };
    let check = answer.config.as_ref().and_then(|config| config.healthcheck.as_ref());
    let nanoseconds = |of: fn(&HealthConfig) -> Option<i64>| {
        let given = check.and_then(of).and_then(|value| u64::try_from(value).ok());
        given.filter(|value| *value > 0).map(Duration::from_nanos)
    };
    let retries = check.and_then(|check| check.retries).and_then(|retries| u32::try_from(retries).ok());
    let retries = retries.filter(|retries| *retries > 0).unwrap_or(DEFAULT_HEALTH_RETRIES);
    let interval = nanoseconds(|check| check.interval).unwrap_or(DEFAULT_HEALTH_INTERVAL);
    let start_period = nanoseconds(|check| check.start_period).unwrap_or_default();
    Some(Health { status, limit: start_period.saturating_add(interval.saturating_mul(retries)) })
}

/// Returns the first process of an inspected container; `None` if it has none.
pub(super) fn process_of(answer: &ContainerInspectResponse) -> Option<i32> {
    let pid = answer.state.as_ref()?.pid.and_then(|pid| i32::try_from(pid).ok());
    pid.filter(|pid| *pid > 0)
}

/// Returns the state of an inspected container and of its last run.
pub(super) fn container_state(answer: &ContainerInspectResponse) -> ContainerState {
    let state = answer.state.as_ref();
    ContainerState {
        state: state_of(answer),
        restarting: state.and_then(|state| state.restarting).unwrap_or_default(),
        started: state.and_then(|state| state.started_at.clone()).unwrap_or_default(),
        exit_status: state.and_then(|state| state.exit_code).unwrap_or_default(),
        stop_timeout: stop_timeout(answer),
        health: health(answer),
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
                    "Mounts":[{"Type":"volume","Target":"/sub/","VolumeOptions":{"Subpath":"a/b"}},
                        {"Type":"bind","Target":"/share","BindOptions":{"NonRecursive":true}}]},
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
        let depends_on: Vec<&str> = container.depends_on.iter().map(|other| &other.on[..]).collect();
        assert_eq!(depends_on, ["cvat_redis", "ffff", "opa"]);
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
        let non_recursive: Vec<bool> = container.mounts.iter().map(|mount| mount.non_recursive).collect();
        assert_eq!(non_recursive, [false, true, false]);
    }

    #[test]
    fn a_container_that_does_not_run_has_no_process() {
        let process = |pid: i64| process_of(&serde_json::from_str(&format!(r#"{{"State":{{"Pid":{pid}}}}}"#)).unwrap());
        assert_eq!([process(7), process(0), process(-1), process(1 << 40)], [Some(7), None, None, None]);
    }

    /// A start would not bring such containers back as they were.
    #[test]
    fn a_listed_container_of_a_service_or_of_one_run_is_marked() {
        let marks = |labels: &str| {
            let json = format!(
                r#"{{"Id":"83be","Names":["/c"],"Image":"i","State":"exited","Mounts":[],"Labels":{{{labels}}}}}"#
            );
            let container = listed(&serde_json::from_str(&json).unwrap(), &BTreeMap::new()).unwrap().unwrap();
            assert_eq!(container.image, "i");
            (container.one_off, container.swarm_service)
        };
        assert_eq!(marks(""), (false, None));
        assert_eq!(marks(r#""com.docker.compose.oneoff":"True""#), (true, None));
        assert_eq!(marks(r#""com.docker.swarm.service.name":"web""#), (false, Some("web".to_owned())));
    }

    /// Recorded from Docker 20.10, and shortened.
    #[test]
    fn a_listed_container_becomes_a_value() {
        let listed = |json: &str| listed(&serde_json::from_str(json).unwrap(), &BTreeMap::new());
        let docker = r#"{"Id":"83be","Names":["/web/db","/stack_db_1"],"Image":"ubuntu","Created":1795642414,"State":"running",
            "Labels":{"com.docker.compose.project":"stack","com.docker.compose.service":"db"},
            "HostConfig":{"NetworkMode":"none"},
            "Mounts":[{"Type":"volume","Name":"v","Source":"/var/lib/docker/volumes/v/_data","Destination":"/data",
                       "Driver":"local","Mode":"z","RW":true,"Propagation":""},
                      {"Type":"bind","Source":"/srv","Destination":"/share","Mode":"ro","RW":false}]}"#;
        let container = listed(docker).unwrap().unwrap();
        assert_eq!((&container.name[..], &container.id[..]), ("stack_db_1", "83be"));
        assert_eq!((container.project.as_deref(), container.service.as_deref()), (Some("stack"), Some("db")));
        assert_eq!(container.state, State::Running);
        let mounts: Vec<(&str, bool)> =
            container.mounts.iter().map(|mount| (&mount.destination[..], mount.read_only)).collect();
        assert_eq!(mounts, [("/data", false), ("/share", true)]);
        for (state, expected) in [("exited", State::Stopped), ("paused", State::Paused), ("restarting", State::Running)]
        {
            let container = listed(&docker.replace(r#""running""#, &format!("{state:?}"))).unwrap().unwrap();
            assert_eq!(container.state, expected, "{state}");
        }
        // Some versions of Podman list no mounts, and a container that is being removed may have no name: they are to be inspected.
        for unknown in [
            r#"{"Id":"83be","Names":["/a"],"State":"running","Mounts":null}"#,
            r#"{"Id":"83be","Names":["/a"],"State":"running"}"#,
            r#"{"Id":"83be","Names":null,"State":"running","Mounts":[]}"#,
            r#"{"Id":"83be","Names":["/a"],"Mounts":[]}"#,
            r#"{"Id":"83be","Names":["/a"],"State":"stopped","Mounts":[]}"#,
            r#"{"Id":"83be","Names":["/a"],"State":"initialized","Mounts":[],"Ports":7,"SizeRw":"x","Config":null}"#,
            r#"{"Id":"83be","Names":["/a"],"State":"configured","Mounts":[]}"#,
        ] {
            assert_eq!(listed(unknown).unwrap(), None, "{unknown}");
        }
        let hostile = docker.replace("/share", "/../share");
        assert_eq!(listed(&hostile).unwrap_err().to_string(), "stack_db_1: mount destination '/../share' holds '..'");
    }

    /// Recorded from Podman 4.3.1, and shortened: a container that was initialized has a process, and does not run.
    #[test]
    fn the_flags_of_a_state_decide_and_not_its_name() {
        let json = |state: &str| format!(r#"{{"Id":"ab","Name":"/c","Mounts":null,"State":{state}}}"#);
        let initialized =
            r#"{"Status":"initialized","Running":false,"Paused":false,"Pid":20626,"Health":{"Status":"","Log":null}}"#;
        assert_eq!(inspected(&json(initialized)).unwrap().state, State::Stopped);
        let stopping = r#"{"Status":"stopping","Running":true}"#;
        assert_eq!(inspected(&json(stopping)).unwrap().state, State::Running);
    }

    #[test]
    fn a_container_with_a_map_of_its_own_is_known() {
        let modes = ["", "host", "private", "keep-id", "auto", "container:ab"].map(|mode| {
            let json = format!(r#"{{"Id":"ab","Name":"/c","HostConfig":{{"UsernsMode":"{mode}"}}}}"#);
            inspected(&json).unwrap().user_namespace
        });
        let own = UserNamespace::Own;
        assert_eq!(modes, [UserNamespace::OfEngine, UserNamespace::OfHost, own, own, own, own]);
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
            stop_timeout: Some(Duration::from_secs(10)),
            health: None,
        };
        assert_eq!(container_state(&serde_json::from_str(json).unwrap()), expected);
        let unknown = container_state(&ContainerInspectResponse::default());
        assert_eq!(ContainerState { stop_timeout: None, ..unknown }, ContainerState::default());
    }

    #[test]
    fn the_stop_timeout_is_that_of_the_container_or_ten_seconds() {
        let timeout = |config: &str| {
            let answer = serde_json::from_str(&format!(r#"{{"Config":{config}}}"#)).unwrap();
            stop_timeout(&answer).map(|timeout| timeout.as_secs())
        };
        assert_eq!(timeout("{}"), Some(10));
        assert_eq!(timeout(r#"{"StopTimeout":0}"#), Some(0));
        assert_eq!(timeout(r#"{"StopTimeout":3600}"#), Some(3600));
        assert_eq!(timeout(r#"{"StopTimeout":-1}"#), None);
    }

    #[test]
    fn the_health_has_the_limit_of_its_check() {
        let health = |state: &str, check: &str| {
            let json = format!(r#"{{"State":{state},"Config":{{"Healthcheck":{check}}}}}"#);
            health(&serde_json::from_str(&json).unwrap()).map(|health| (health.status, health.limit.as_secs()))
        };
        let starting = r#"{"Health":{"Status":"starting"}}"#;
        let check = r#"{"Interval":2000000000,"Retries":5,"StartPeriod":7000000000}"#;
        assert_eq!(health(starting, check), Some((HealthStatus::Starting, 17)));
        // 0 stands for the default of the engine.
        assert_eq!(health(starting, r#"{"Interval":0,"Retries":0}"#), Some((HealthStatus::Starting, 90)));
        assert_eq!(health(r#"{"Health":{"Status":"healthy"}}"#, "null"), Some((HealthStatus::Healthy, 90)));
        assert_eq!(health(r#"{"Health":{"Status":"unhealthy"}}"#, check), Some((HealthStatus::Unhealthy, 17)));
        for none in [r#"{"Health":{"Status":"none"}}"#, r#"{"Health":{"Status":""}}"#, r#"{"Health":null}"#, "{}"] {
            assert_eq!(health(none, check), None, "{none}");
        }
        let hostile = r#"{"Interval":9223372036854775807,"Retries":9223372036854775807,"StartPeriod":-1}"#;
        assert!(health(starting, hostile).is_some());
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
