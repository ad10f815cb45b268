//! Docker's own files as a source of knowledge: a host whose daemon does not start, or the disk of one
//! that is no more. Reads `containers/` and `volumes/` and nothing else; the labels of volumes lie in a
//! database of the daemon's that is left alone, so their names have to do.
//!
//! What the files say was true where and when they were written. Paths are carried over to where the data
//! root lies now, and a container counts as running only if its process is alive on this machine.

use std::collections::BTreeMap;
use std::io::{ErrorKind as IoKind, Read as _};
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;
use serde::de::DeserializeOwned;
use walkdir::WalkDir;

use crate::error::{Error, Result};
use crate::member::printable;

use super::inventory::{Container, Host, Inventory, Mount, MountKind, State, Volume};
use super::parse::{self, PROJECT, RawMount, Ties};

/// The files read here are a few kilobytes; a larger one is no file of Docker's.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// A Docker data root that is read without an engine.
#[derive(Debug)]
pub struct DataRoot {
    dir: PathBuf,
    /// As the user wrote it.
    shown: String,
    /// Where living processes are listed; a directory of their own for tests.
    proc: PathBuf,
}

impl DataRoot {
    /// Takes `dir` for a data root, if it looks like one.
    pub fn open(dir: &Path) -> Result<Self> {
        let shown = printable(dir.as_os_str().as_encoded_bytes());
        let dir = dir.canonicalize().map_err(|cause| unreadable(dir, &cause))?;
        for part in ["containers", "volumes"] {
            let found = dir.join(part).metadata();
            match found {
                Ok(found) if found.is_dir() => {}
                Err(cause) if cause.kind() == IoKind::PermissionDenied => return Err(unreadable(&dir, &cause)),
                Ok(_) | Err(_) => {
                    return Err(Error::usage(format!("{shown} is no Docker data root: it has no directory '{part}'"))
                        .hint("a data root is a directory like /var/lib/docker (`docker info` names it)"));
                }
            }
        }
        Ok(Self { dir, shown, proc: PathBuf::from("/proc") })
    }

    fn volumes(&self) -> Result<Vec<Volume>> {
        let mut volumes = Vec::new();
        for dir in directories(&self.dir.join("volumes"))? {
            let Some(name) = dir.file_name().and_then(|name| name.to_str()) else { continue };
            let options: Option<VolumeOptions> = read_json(&dir.join("opts.json"))?;
            volumes.push(Volume {
                name: parse::text("volume", name)?,
                driver: "local".to_owned(),
                mountpoint: dir.join("_data"),
                options: options.map(VolumeOptions::into_map).unwrap_or_default(),
                project: None,
                compose_name: None,
            });
        }
        Ok(volumes)
    }

    fn stored(&self, notes: &mut Vec<String>) -> Result<Vec<Stored>> {
        let mut stored = Vec::new();
        for dir in directories(&self.dir.join("containers"))? {
            let file = dir.join("config.v2.json");
            let Some(config) = read_json::<Config>(&file)? else {
                // The daemon passes over such a directory too.
                notes.push(format!("{} has no config.v2.json; passed over", show(&dir)));
                continue;
            };
            let host: HostConfig = read_json(&dir.join("hostconfig.json"))?.unwrap_or_default();
            let name = config.name.trim_start_matches('/').to_owned();
            let checked = parse::text("container", &name).and_then(|_| parse::id(&config.id));
            checked.map_err(|error| error.within(format!("cannot read '{}'", show(&file))))?;
            stored.push(Stored { name, config, host, file });
        }
        Ok(stored)
    }

    fn container(&self, stored: &Stored, places: &Places<'_>, notes: &mut Vec<String>) -> Result<Container> {
        let Stored { name, config, host, .. } = stored;
        let empty = BTreeMap::new();
        let labels = config.image.labels.as_ref().unwrap_or(&empty);
        let label = |key: &str| labels.get(key);
        let ties = Ties {
            links: host.links.as_deref().unwrap_or_default(),
            volumes_from: host.volumes_from.as_deref().unwrap_or_default(),
            modes: [Some(&host.network_mode), Some(&host.pid_mode), Some(&host.ipc_mode)],
        };
        let mut mounts = Vec::new();
        for (destination, point) in config.mount_points.iter().flatten() {
            mounts.push(places.mount(name, destination, point)?);
        }
        for at in host.tmpfs.iter().flatten().map(|(at, _)| at) {
            let destination = parse::destination(name, at)?;
            if !mounts.iter().any(|mount: &Mount| mount.destination == destination) {
                mounts.push(Mount { destination, source: None, kind: MountKind::Tmpfs, read_only: false });
            }
        }
        mounts.sort_by(|a, b| a.destination.cmp(&b.destination));
        Ok(Container {
            id: config.id.clone(),
            name: name.clone(),
            image: config.image.image.clone().unwrap_or_default(),
            project: label(PROJECT).cloned(),
            service: parse::service(label),
            state: self.state(name, config, notes),
            created: config.created.clone().unwrap_or_default(),
            depends_on: parse::depends_on(label, &ties),
            environment: config.image.env.clone().unwrap_or_default(),
            mounts,
            auto_remove: host.auto_remove,
        })
    }

    /// A file that says "running" speaks of the moment it was written; the process tells of now.
    fn state(&self, name: &str, config: &Config, notes: &mut Vec<String>) -> State {
        let was_running = config.state.running || config.state.restarting;
        if !was_running {
            return State::Stopped;
        }
        match (self.is_alive(config.state.pid, &config.id), config.state.paused) {
            (true, true) => State::Paused,
            (true, false) => State::Running,
            (false, _) => {
                notes.push(format!(
                    "container '{name}' was running when these files were written: its data may be as after a crash"
                ));
                State::Stopped
            }
        }
    }

    /// Whether the process is this container's and not a later one of the same number: its control groups
    /// name the container, and where they are hidden (cgroup v2 shows `0::/…`) its mounts do, for
    /// Docker mounts `containers/<id>/hostname` into each.
    fn is_alive(&self, pid: i64, id: &str) -> bool {
        pid > 0
            && ["cgroup", "mountinfo"].iter().any(|file| {
                let content = std::fs::read(self.proc.join(pid.to_string()).join(file)).unwrap_or_default();
                content.windows(id.len()).any(|window| window == id.as_bytes())
            })
    }

    fn obstacles(&self) -> Vec<String> {
        let name = self.dir.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let remapped = name.split_once('.').is_some_and(|(uid, gid)| number(uid) && number(gid));
        let mut obstacles = Vec::new();
        if remapped {
            obstacles.push(format!(
                "{} is the data root of an engine with userns-remap: the owners of files in volumes are shifted, which is \
                 not supported yet; use the documented tar commands",
                self.shown
            ));
        }
        if self.dir.ends_with(".local/share/docker") {
            obstacles.push(format!(
                "{} is the data root of a rootless engine: the owners of files in volumes are shifted, which is not \
                 supported yet; use the documented tar commands",
                self.shown
            ));
        }
        obstacles
    }
}

impl Host for DataRoot {
    fn describe(&self) -> String {
        format!("Docker's files in {}, without an engine", self.shown)
    }

    fn address(&self) -> String {
        show(&self.dir)
    }

    fn inventory(&self) -> Result<Inventory> {
        let mut notes = Vec::new();
        let volumes = self.volumes()?;
        let stored = self.stored(&mut notes)?;
        let places = Places {
            mountpoints: volumes.iter().map(|volume| (volume.name.clone(), volume.mountpoint.clone())).collect(),
            root: &self.dir,
            origin: Origin::of(&self.dir, &stored),
        };
        let mut containers = Vec::with_capacity(stored.len());
        for one in &stored {
            let container = self.container(one, &places, &mut notes);
            containers.push(container.map_err(|error| error.within(format!("cannot read '{}'", show(&one.file))))?);
        }
        Ok(Inventory { containers, volumes, labels_unknown: true, notes, obstacles: self.obstacles() })
    }

    fn stop(&self, _: &str) -> Result<()> {
        Err(no_engine("stop"))
    }

    fn start(&self, _: &str) -> Result<()> {
        Err(no_engine("start"))
    }
}

fn no_engine(verb: &str) -> Error {
    Error::refused(format!("cannot {verb} containers: with --data-root there is no engine to ask"))
        .hint(format!("leave out --data-root, or {verb} them yourself"))
}

// -- where things lie now ----------------------------------------------------------------------------

/// Where the data root was when its files were written, seen from where it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    /// It has not moved: paths of the host hold as they are.
    Here,
    /// It was at `root` of a host whose `/` is `prefix` now, if that can be told.
    Moved { root: PathBuf, prefix: Option<PathBuf> },
    /// No file says.
    Unknown,
}

impl Origin {
    fn of(dir: &Path, stored: &[Stored]) -> Self {
        let Some(root) = stored.iter().find_map(Stored::original_root) else { return Self::Unknown };
        if root.canonicalize().is_ok_and(|root| root == dir) {
            return Self::Here;
        }
        let below = root.strip_prefix("/").unwrap_or(&root);
        let depth = below.components().count();
        let prefix = dir.ends_with(below).then(|| dir.ancestors().nth(depth).map(Path::to_path_buf)).flatten();
        Self::Moved { root, prefix }
    }

    /// Where a path of the original host is found here.
    fn find(&self, dir: &Path, path: &Path) -> Option<PathBuf> {
        match self {
            Self::Here => Some(path.to_path_buf()),
            Self::Moved { root, prefix } => match (path.strip_prefix(root), prefix) {
                (Ok(below), _) => Some(dir.join(below)),
                (Err(_), Some(prefix)) => Some(prefix.join(path.strip_prefix("/").unwrap_or(path))),
                (Err(_), None) => None,
            },
            Self::Unknown => None,
        }
    }
}

struct Places<'a> {
    mountpoints: BTreeMap<String, PathBuf>,
    root: &'a Path,
    origin: Origin,
}

impl Places<'_> {
    fn mount(&self, container: &str, destination: &str, point: &MountPoint) -> Result<Mount> {
        let raw = RawMount {
            kind: &point.kind,
            name: &point.name,
            driver: &point.driver,
            source: &point.source,
            destination: if point.destination.is_empty() { destination } else { &point.destination },
            subpath: point.spec.volume_options.as_ref().map(|options| &options.subpath[..]).unwrap_or_default(),
            writable: point.rw,
        };
        let mount = parse::mount(container, &raw, &self.mountpoints)?;
        let is_here = matches!(&mount.kind, MountKind::Volume { name, .. } if self.mountpoints.contains_key(name));
        if is_here {
            return Ok(mount);
        }
        Ok(Mount { source: mount.source.and_then(|source| self.origin.find(self.root, &source)), ..mount })
    }
}

// -- the files ---------------------------------------------------------------------------------------

struct Stored {
    name: String,
    config: Config,
    host: HostConfig,
    file: PathBuf,
}

impl Stored {
    /// The data root as the daemon wrote it down: around a local volume's directory, or around the
    /// container's own files.
    fn original_root(&self) -> Option<PathBuf> {
        let volumes = self.config.mount_points.iter().flatten().map(|(_, point)| point);
        let around_volume = volumes
            .filter(|point| matches!(&point.driver[..], "" | "local"))
            .find_map(|point| strip_suffix(&point.source, &["volumes", &point.name, "_data"]));
        let around_own = || strip_suffix(&self.config.hostname_path, &["containers", &self.config.id, "hostname"]);
        around_volume.or_else(around_own)
    }
}

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

/// `config.v2.json`, as far as it is of interest. Go writes `null` for what is empty.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    #[serde(rename = "ID")]
    id: String,
    name: String,
    created: Option<String>,
    #[serde(default)]
    hostname_path: String,
    #[serde(default)]
    state: StoredState,
    #[serde(default, rename = "Config")]
    image: ImageConfig,
    mount_points: Option<BTreeMap<String, MountPoint>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct StoredState {
    running: bool,
    paused: bool,
    restarting: bool,
    pid: i64,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct ImageConfig {
    image: Option<String>,
    env: Option<Vec<String>>,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct MountPoint {
    #[serde(rename = "Type")]
    kind: String,
    name: String,
    source: String,
    destination: String,
    driver: String,
    #[serde(rename = "RW")]
    rw: bool,
    spec: MountSpec,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct MountSpec {
    volume_options: Option<MountVolumeOptions>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct MountVolumeOptions {
    subpath: String,
}

/// `hostconfig.json`.
#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct HostConfig {
    links: Option<Vec<String>>,
    volumes_from: Option<Vec<String>>,
    network_mode: String,
    pid_mode: String,
    ipc_mode: String,
    auto_remove: bool,
    tmpfs: Option<BTreeMap<String, String>>,
}

/// A volume's `opts.json`.
#[derive(Deserialize, Default)]
#[serde(default)]
struct VolumeOptions {
    #[serde(rename = "MountType")]
    kind: String,
    #[serde(rename = "MountOpts")]
    options: String,
    #[serde(rename = "MountDevice")]
    device: String,
}

impl VolumeOptions {
    /// Under the names they have on the command line and in the engine's answers.
    fn into_map(self) -> BTreeMap<String, String> {
        [("type", self.kind), ("o", self.options), ("device", self.device)]
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (key.to_owned(), value))
            .collect()
    }
}

/// The directories in a directory, by name. Symbolic links are not followed.
fn directories(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut directories = Vec::new();
    for entry in WalkDir::new(dir).min_depth(1).max_depth(1).sort_by_file_name() {
        let entry = entry.map_err(|error| match error.io_error() {
            Some(cause) => unreadable(dir, cause),
            None => Error::failed("cannot read", dir.as_os_str().as_encoded_bytes(), &error),
        })?;
        if entry.file_type().is_dir() {
            directories.push(entry.into_path());
        }
    }
    Ok(directories)
}

/// `None` where there is no such file.
fn read_json<T: DeserializeOwned>(file: &Path) -> Result<Option<T>> {
    let mut text = Vec::new();
    match std::fs::File::open(file).and_then(|open| open.take(MAX_FILE_BYTES).read_to_end(&mut text)) {
        Ok(_) => {}
        Err(cause) if cause.kind() == IoKind::NotFound => return Ok(None),
        Err(cause) => return Err(unreadable(file, &cause)),
    }
    serde_json::from_slice(&text).map(Some).map_err(|cause| {
        Error::failed("cannot read", file.as_os_str().as_encoded_bytes(), cause)
            .hint("the file is damaged; moved away with its directory, voltar (and Docker) does without that container or volume")
    })
}

fn unreadable(path: &Path, cause: &std::io::Error) -> Error {
    let error = Error::failed("cannot read", path.as_os_str().as_encoded_bytes(), cause);
    if cause.kind() == IoKind::PermissionDenied { error.hint("run voltar as root (sudo)") } else { error }
}

fn show(path: &Path) -> String {
    printable(path.as_os_str().as_encoded_bytes())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::error::ErrorKind;

    const ID: &str = "0123456789abcdef";

    /// A data root below `dir` with one container that has the given fields, and one volume.
    fn data_root(dir: &Path, fields: &Value) -> PathBuf {
        let root = dir.join("var/lib/docker");
        let mut config = json!({"ID": ID, "Name": "/cvat_db", "State": {}, "Config": {"Labels": null}});
        if let (Some(config), Some(fields)) = (config.as_object_mut(), fields.as_object()) {
            config.extend(fields.clone());
        }
        write(&root.join("containers").join(ID).join("config.v2.json"), &config.to_string());
        write(&root.join("volumes/cvat_cvat_db/_data/PG_VERSION"), "10\n");
        root
    }

    fn write(file: &Path, text: &str) {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    fn point(kind: &str, name: &str, source: &str) -> Value {
        json!({"Type": kind, "Name": name, "Driver": if kind == "volume" { "local" } else { "" }, "Source": source, "RW": true})
    }

    fn mounts(original: &str) -> Value {
        json!({"MountPoints": {
            "/db": point("volume", "cvat_cvat_db", &format!("{original}/volumes/cvat_cvat_db/_data")),
            "/share": point("bind", "", "/srv/share"),
            "/spy": point("bind", "", &format!("{original}/volumes")),
        }})
    }

    fn sources(root: &Path) -> Vec<Option<PathBuf>> {
        let inventory = DataRoot::open(root).unwrap().inventory().unwrap();
        inventory.containers[0].mounts.iter().map(|mount| mount.source.clone()).collect()
    }

    #[test]
    fn the_bundled_data_root_is_read() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/data-root");
        let inventory = DataRoot::open(&dir).unwrap().inventory().unwrap();
        let names: Vec<&str> = inventory.containers.iter().map(|container| container.name.as_str()).collect();
        assert_eq!(names, ["cvat_db", "cvat"]);
        let [db, cvat] = &inventory.containers[..] else { panic!("two containers") };
        assert_eq!((db.project.as_deref(), db.service.as_deref()), (Some("cvat"), Some("cvat_db")));
        assert_eq!((db.state, &db.image[..]), (State::Stopped, "postgres:10-alpine"));
        assert!(db.environment.contains(&"PG_MAJOR=10".to_owned()));
        let real = dir.canonicalize().unwrap();
        assert_eq!(db.mounts[0].source, Some(real.join("volumes/cvat_cvat_db/_data")));
        assert_eq!(cvat.mounts.len(), 3);
        assert_eq!(inventory.volumes.len(), 4);
        assert!(inventory.labels_unknown && inventory.notes.is_empty() && inventory.obstacles.is_empty());
    }

    #[test]
    fn binds_hold_where_the_root_has_not_moved() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().canonicalize().unwrap().join("var/lib/docker");
        let root = data_root(dir.path(), &mounts(here.to_str().unwrap()));
        assert_eq!(
            sources(&root),
            [Some(here.join("volumes/cvat_cvat_db/_data")), Some("/srv/share".into()), Some(here.join("volumes"))]
        );
    }

    #[test]
    fn binds_of_a_rescued_disk_lie_on_that_disk() {
        let dir = tempfile::tempdir().unwrap();
        let root = data_root(dir.path(), &mounts("/var/lib/docker"));
        let disk = dir.path().canonicalize().unwrap();
        assert_eq!(
            sources(&root),
            [
                Some(disk.join("var/lib/docker/volumes/cvat_cvat_db/_data")),
                Some(disk.join("srv/share")),
                Some(disk.join("var/lib/docker/volumes"))
            ]
        );
    }

    #[test]
    fn binds_of_a_copied_root_are_not_known() {
        let dir = tempfile::tempdir().unwrap();
        let root = data_root(dir.path(), &mounts("/srv/docker"));
        let here = root.canonicalize().unwrap();
        assert_eq!(sources(&root), [Some(here.join("volumes/cvat_cvat_db/_data")), None, Some(here.join("volumes"))]);
        let inventory = DataRoot::open(&root).unwrap().inventory().unwrap();
        let path = crate::member::RelPath::parse(b"share").unwrap();
        let error = crate::host::mounts::tree(&inventory.containers[0], &path).unwrap_err();
        assert!(error.to_string().ends_with("where that lies on this host is not known"));
    }

    #[test]
    fn a_containers_own_files_tell_the_root_as_well() {
        let dir = tempfile::tempdir().unwrap();
        let root = data_root(
            dir.path(),
            &json!({
                "HostnamePath": format!("/var/lib/docker/containers/{ID}/hostname"),
                "MountPoints": {"/share": point("bind", "", "/srv/share")},
            }),
        );
        assert_eq!(sources(&root), [Some(dir.path().canonicalize().unwrap().join("srv/share"))]);
        let root = data_root(dir.path(), &json!({"MountPoints": {"/share": point("bind", "", "/srv/share")}}));
        assert_eq!(sources(&root), [None], "no file says where it was");
    }

    fn state(running: &Value, cgroup: Option<&str>) -> (State, Vec<String>) {
        let dir = tempfile::tempdir().unwrap();
        let root = data_root(dir.path(), &json!({"State": running}));
        if let Some(text) = cgroup {
            write(&dir.path().join("proc/42/cgroup"), "0::/\n");
            write(&dir.path().join("proc/42/mountinfo"), text);
        }
        let root = DataRoot { proc: dir.path().join("proc"), ..DataRoot::open(&root).unwrap() };
        let inventory = root.inventory().unwrap();
        (inventory.containers[0].state, inventory.notes)
    }

    #[test]
    fn only_a_living_process_is_a_running_container() {
        let running = json!({"Running": true, "Pid": 42});
        let own = format!("1 2 8:1 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw - ext4 /dev/sda rw");
        assert_eq!(state(&running, Some(&own)), (State::Running, vec![]));
        let crashed = "container 'cvat_db' was running when these files were written: its data may be as after a crash";
        assert_eq!(state(&running, None), (State::Stopped, vec![crashed.to_owned()]));
        assert_eq!(state(&running, Some("somebody else's")), (State::Stopped, vec![crashed.to_owned()]));
        assert_eq!(state(&json!({"Running": false, "Pid": 42}), Some(&own)), (State::Stopped, vec![]));
        assert_eq!(state(&json!({"Running": true, "Paused": true, "Pid": 42}), Some(&own)).0, State::Paused);
    }

    #[test]
    fn volume_options_and_subpaths_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut db = point("volume", "cvat_cvat_db", "/var/lib/docker/volumes/cvat_cvat_db/_data");
        db["Spec"] = json!({"VolumeOptions": {"Subpath": "pg/10"}});
        let root = data_root(dir.path(), &json!({"MountPoints": {"/db": db}}));
        write(
            &root.join("volumes/cvat_cvat_db/opts.json"),
            r#"{"MountType":"nfs","MountOpts":"addr=nas","MountDevice":":/srv","Quota":{"Size":0}}"#,
        );
        let inventory = DataRoot::open(&root).unwrap().inventory().unwrap();
        let options: Vec<String> =
            inventory.volumes[0].options.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(options, ["device=:/srv", "o=addr=nas", "type=nfs"]);
        assert!(inventory.containers[0].mounts[0].source.as_ref().unwrap().ends_with("_data/pg/10"));
    }

    #[test]
    fn hostconfig_tells_of_dependencies_and_memory() {
        let dir = tempfile::tempdir().unwrap();
        let root = data_root(dir.path(), &json!({}));
        write(
            &root.join("containers").join(ID).join("hostconfig.json"),
            r#"{"Links":["/redis:/x/redis"],"VolumesFrom":null,"NetworkMode":"container:ffff","Tmpfs":{"/run":""},"AutoRemove":true}"#,
        );
        let container = DataRoot::open(&root).unwrap().inventory().unwrap().containers.remove(0);
        assert_eq!(container.depends_on, ["ffff", "redis"]);
        assert_eq!(container.mounts[0].kind, MountKind::Tmpfs);
        assert!(container.auto_remove);
    }

    #[test]
    fn shifted_ids_are_an_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        for (name, obstacles) in [("100000.100000", 1), ("docker.old", 0), ("1.", 0), ("home/.local/share/docker", 1)] {
            let root = dir.path().join(name);
            std::fs::create_dir_all(root.join("containers")).unwrap();
            std::fs::create_dir_all(root.join("volumes")).unwrap();
            let found = DataRoot::open(&root).unwrap().inventory().unwrap().obstacles;
            assert_eq!(found.len(), obstacles, "{name}: {found:?}");
        }
    }

    #[test]
    fn what_is_no_data_root_is_a_usage_error() {
        let dir = tempfile::tempdir().unwrap();
        let error = DataRoot::open(dir.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().ends_with("is no Docker data root: it has no directory 'containers'"), "{error}");
        let error = DataRoot::open(Path::new("/no/such")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read '/no/such': No such file or directory");
    }

    #[test]
    fn damaged_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = data_root(dir.path(), &json!({}));
        let inventory = || DataRoot::open(&root).unwrap().inventory();
        let config = root.join("containers").join(ID).join("config.v2.json");
        write(&config, "{\"ID\":");
        let error = inventory().unwrap_err();
        assert!(error.to_string().contains("config.v2.json': EOF while parsing"), "{error}");
        write(&config, r#"{"ID":"../..","Name":"/x"}"#);
        assert!(inventory().unwrap_err().to_string().ends_with("'../..' is no container id"));
        write(&config, r#"{"ID":"ab","Name":"/x","MountPoints":{"/a/../b":{"Type":"bind","Source":"/x"}}}"#);
        let error = inventory().unwrap_err().to_string();
        assert!(error.contains("config.v2.json") && error.ends_with("holds '..'"), "{error}");
        std::fs::remove_file(&config).unwrap();
        assert!(inventory().unwrap().notes[0].ends_with("has no config.v2.json; passed over"));
        write(&root.join("volumes/cvat_cvat_db/opts.json"), "garbage");
        assert!(inventory().unwrap_err().to_string().contains("opts.json"));
    }

    #[test]
    fn nothing_is_stopped_or_started_without_an_engine() {
        let dir = tempfile::tempdir().unwrap();
        let root = DataRoot::open(&data_root(dir.path(), &json!({}))).unwrap();
        for error in [root.stop("x").unwrap_err(), root.start("x").unwrap_err()] {
            assert!(error.to_string().ends_with("with --data-root there is no engine to ask"));
            assert!(error.advice().is_some());
        }
    }
}
