//! A synthetic Docker data root: containers and volumes as the engine keeps them on disk, with no engine.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

/// A builder for a data root.
pub struct DataRoot {
    root: PathBuf,
}

/// Makes a data root `docker` with the volume `x` of a stopped container, mounted at `/srv/x`, its layout `x.toml` and a
/// directory `backup`; returns the volume's directory.
pub fn one_volume(scratch: &Path) -> PathBuf {
    let data_root = DataRoot::new(&scratch.join("docker"));
    let live = data_root.volume("x");
    data_root.container("x").mount("x", "/srv/x").write();
    layout(&scratch.join("x.toml"), "x", "x", "/srv/x");
    fs::create_dir(scratch.join("backup")).expect("a directory for archives");
    live
}

/// A builder for a container of a [`DataRoot`]; [`Container::write`] writes its files.
pub struct Container<'a> {
    data_root: &'a DataRoot,
    name: String,
    running: bool,
    environment: Vec<String>,
    labels: Map<String, Value>,
    mounts: Map<String, Value>,
}

impl DataRoot {
    /// Creates an empty data root at `root`.
    pub fn new(root: &Path) -> Self {
        for directory in ["containers", "volumes"] {
            fs::create_dir_all(root.join(directory)).expect("a data root's directories");
        }
        Self { root: root.to_owned() }
    }

    /// Returns the path of the data root.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Returns the mountpoint of the volume `name`, which may not exist yet.
    pub fn data(&self, name: &str) -> PathBuf {
        self.root.join("volumes").join(name).join("_data")
    }

    /// Creates an empty volume and returns its mountpoint.
    pub fn volume(&self, name: &str) -> PathBuf {
        let data = self.data(name);
        fs::create_dir_all(&data).expect("a volume");
        data
    }

    /// Sets the driver options of a volume, as `docker volume create -o` does.
    pub fn options(&self, name: &str, mount_type: &str, device: &str, options: &str) {
        let text = json!({"MountType": mount_type, "MountOpts": options, "MountDevice": device, "Quota": {"Size": 0}});
        fs::write(self.root.join("volumes").join(name).join("opts.json"), text.to_string()).expect("opts.json");
    }

    /// Begins a stopped container without mounts.
    pub fn container(&self, name: &str) -> Container<'_> {
        Container {
            data_root: self,
            name: name.to_owned(),
            running: false,
            environment: Vec::new(),
            labels: Map::new(),
            mounts: Map::new(),
        }
    }
}

impl Container<'_> {
    /// Sets its state to running.
    #[must_use]
    pub fn running(mut self) -> Self {
        self.running = true;
        self
    }

    /// Adds an environment variable, as `NAME=value`.
    #[must_use]
    pub fn environment(mut self, variable: &str) -> Self {
        self.environment.push(variable.to_owned());
        self
    }

    /// Adds a label.
    #[must_use]
    pub fn label(mut self, name: &str, value: &str) -> Self {
        self.labels.insert(name.to_owned(), json!(value));
        self
    }

    /// Mounts a volume.
    #[must_use]
    pub fn mount(mut self, volume: &str, at: &str) -> Self {
        let source = self.data_root.data(volume);
        self.mounts.insert(
            at.to_owned(),
            json!({
                "Source": source.to_str().expect("a plain path"), "Destination": at, "RW": true, "Name": volume,
                "Driver": "local", "Type": "volume", "Relabel": "rw",
                "Spec": {"Type": "volume", "Source": volume, "Target": at}, "SkipMountpointCreation": false,
            }),
        );
        self
    }

    /// Mounts a directory of a volume (`volume-subpath`).
    #[must_use]
    pub fn mount_part(self, volume: &str, subpath: &str, at: &str) -> Self {
        let mut this = self.mount(volume, at);
        this.mounts[at]["Spec"]["VolumeOptions"] = json!({"Subpath": subpath});
        this
    }

    /// Mounts a volume read-only.
    #[must_use]
    pub fn mount_read_only(self, volume: &str, at: &str) -> Self {
        let mut this = self.mount(volume, at);
        this.mounts[at]["RW"] = json!(false);
        this
    }

    /// Mounts a directory of the host.
    #[must_use]
    pub fn bind(mut self, source: &Path, at: &str) -> Self {
        let source = source.to_str().expect("a plain path");
        self.mounts.insert(
            at.to_owned(),
            json!({
                "Source": source, "Destination": at, "RW": true, "Name": "", "Driver": "", "Type": "bind",
                "Relabel": "rw", "Propagation": "rprivate", "Spec": {"Type": "bind", "Source": source, "Target": at},
                "SkipMountpointCreation": false,
            }),
        );
        self
    }

    /// Mounts a directory of the host without the filesystems mounted below it.
    #[must_use]
    pub fn bind_non_recursive(self, source: &Path, at: &str) -> Self {
        let mut this = self.bind(source, at);
        this.mounts[at]["Spec"]["BindOptions"] = json!({"NonRecursive": true});
        this
    }

    /// Writes its `config.v2.json`, including fields that voltar ignores, as engine 20.10 does.
    pub fn write(self) {
        let id = id(&self.name);
        let directory = self.data_root.root.join("containers").join(&id);
        let config = json!({
            "StreamConfig": {},
            "State": {"Running": self.running, "Paused": false, "Restarting": false, "Dead": false, "ExitCode": 0},
            "ID": id,
            "Created": "2021-09-01T08:00:00.000000001Z",
            "Managed": false,
            "Path": "bash",
            "Args": [],
            "Config": {"Hostname": &id[..12], "Image": "ubuntu", "Env": self.environment, "Labels": self.labels},
            "Image": "sha256:ef92ab80c637",
            "Name": format!("/{}", self.name),
            "Driver": "overlay2",
            "OS": "linux",
            "MountPoints": self.mounts,
        });
        fs::create_dir_all(&directory).expect("a container's directory");
        fs::write(directory.join("config.v2.json"), config.to_string()).expect("config.v2.json");
    }
}

/// Returns an id of 64 hexadecimal digits that depends only on the name.
fn id(name: &str) -> String {
    let digit = |nibble: u8| char::from_digit(u32::from(nibble), 16).expect("a nibble");
    name.bytes().cycle().take(32).flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Writes a layout file of one archive.
pub fn layout(at: &Path, name: &str, container: &str, path: &str) {
    let text = format!("[[archive]]\nname = {name:?}\ncontainer = {container:?}\npath = {path:?}\n");
    fs::write(at, text).expect("a layout file");
}
