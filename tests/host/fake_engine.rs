//! A fake engine: a thread that serves the part of Docker's API 1.41 that voltar uses on a Unix socket, with
//! faults where a test sets them. Its state is which containers are running, and since when, and which volumes there are.

#![allow(dead_code, reason = "each test crate uses its own part")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::Duration;

use serde_json::{Value, json};

/// A fault in the answer to the requests for one path.
#[derive(Clone)]
pub(crate) enum Fault {
    /// Another status and body.
    Answer(u16, String),
    /// One byte at a time.
    Trickle,
    /// The headers and half the body.
    Truncate,
    /// No answer until the client closes the connection.
    Hang,
    /// The headers, and half a body of this many bytes, of which the rest does not come.
    Stall(usize),
    /// A body without end that repeats this text.
    Endless(&'static str),
    /// For a stop: the container runs on for this time, as one that shuts down, and is stopped when the answer comes.
    /// Closing the connection changes nothing.
    Slow(Duration),
}

#[derive(Default)]
struct Inner {
    version: String,
    info: Value,
    containers: BTreeMap<String, Value>,
    volumes: Vec<Value>,
    /// By path without the API version.
    faults: BTreeMap<String, Fault>,
    /// The exit status of the containers whose process exits as soon as it is started.
    exits: BTreeMap<String, i64>,
    requests: Vec<String>,
    lists_no_mounts: bool,
    /// How many requests are being answered.
    in_progress: usize,
    on_start: Option<OnStart>,
}

/// What happens before a container is started; it gets the container's id.
type OnStart = Box<dyn Fn(&str) + Send>;

/// What an engine knows at one moment.
#[derive(Clone)]
pub(crate) struct Known {
    containers: BTreeMap<String, Value>,
    volumes: Vec<Value>,
}

pub(crate) struct FakeEngine {
    inner: Arc<Mutex<Inner>>,
    socket: PathBuf,
    root: PathBuf,
    _dir: tempfile::TempDir,
}

impl FakeEngine {
    /// Starts an engine whose highest API version is `api`.
    pub(crate) fn new(api: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().to_owned();
        Self::serve(api, dir, root)
    }

    /// Starts an engine with a running container of CVAT, and its volume `cvat_cvat_data` with one file.
    pub(crate) fn with_cvat_data() -> Self {
        let this = Self::new("1.41");
        this.add_container("aaaaaaaaaaaaaaaa", "cvat", "cvat_cvat_data", "/home/django/data");
        this.add_volume("cvat", "cvat_data");
        let data = this.volume("cvat_cvat_data");
        std::fs::create_dir_all(&data).unwrap();
        std::fs::write(data.join("file"), "x").unwrap();
        this
    }

    /// Starts an engine whose data root is elsewhere.
    pub(crate) fn of_root(api: &str, root: &Path) -> Self {
        Self::serve(api, tempfile::tempdir().unwrap(), root.to_owned())
    }

    fn serve(api: &str, dir: tempfile::TempDir, root: PathBuf) -> Self {
        let socket = dir.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let uname = nix::sys::utsname::uname().unwrap();
        let inner = Inner {
            version: api.to_owned(),
            info: json!({
                "ID": "ABCD", "DockerRootDir": root, "ServerVersion": "20.10.24",
                "Name": uname.nodename().to_str(), "KernelVersion": uname.release().to_str(),
                "SecurityOptions": ["name=seccomp,profile=default"],
            }),
            ..Inner::default()
        };
        let inner = Arc::new(Mutex::new(inner));
        let shared = Arc::clone(&inner);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                shared.lock().unwrap().in_progress += 1;
                std::thread::spawn(move || {
                    // The client may close the connection early.
                    serve(&shared, stream).unwrap_or_default();
                    shared.lock().unwrap().in_progress -= 1;
                });
            }
        });
        Self { inner, socket, root, _dir: dir }
    }

    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.root.clone()
    }

    /// Returns the mountpoint of a volume, which need not exist.
    pub(crate) fn volume(&self, name: &str) -> PathBuf {
        self.root().join("volumes").join(name).join("_data")
    }

    pub(crate) fn set_info(&self, key: &str, value: Value) {
        self.inner.lock().unwrap().info[key] = value;
    }

    pub(crate) fn add_volume(&self, project: &str, name: &str) {
        self.add_volume_with(project, name, &Value::Null);
    }

    /// Adds a volume with mount options.
    pub(crate) fn add_volume_with(&self, project: &str, name: &str, options: &Value) {
        let full = format!("{project}_{name}");
        self.inner.lock().unwrap().volumes.push(json!({
            "Name": full, "Driver": "local", "Mountpoint": self.volume(&full),
            "Labels": {"com.docker.compose.project": project, "com.docker.compose.volume": name},
            "Options": options, "Scope": "local", "CreatedAt": "2026-01-01T00:00:00Z",
        }));
    }

    /// Adds a running container with one volume.
    pub(crate) fn add_container(&self, id: &str, name: &str, volume: &str, destination: &str) {
        let container = json!({
            "Id": id, "Name": format!("/{name}"), "Created": "2026-01-01T00:00:00Z",
            "State": {"Status": "running", "Running": true, "Paused": false, "Restarting": false},
            "HostConfig": {"AutoRemove": false, "NetworkMode": "default"},
            "Config": {"Image": "fake", "Env": [], "Labels": {}},
            "Mounts": [{"Type": "volume", "Name": volume, "Driver": "local", "Destination": destination, "RW": true,
                        "Source": self.volume(volume)}],
        });
        self.inner.lock().unwrap().containers.insert(id.to_owned(), container);
    }

    pub(crate) fn remove_container(&self, id: &str) {
        self.inner.lock().unwrap().containers.remove(id);
    }

    pub(crate) fn set_state(&self, id: &str, key: &str, value: bool) {
        self.inner.lock().unwrap().containers.get_mut(id).unwrap()["State"][key] = json!(value);
    }

    /// Sets the first process of a container.
    pub(crate) fn set_process(&self, id: &str, pid: u32) {
        self.inner.lock().unwrap().containers.get_mut(id).unwrap()["State"]["Pid"] = json!(pid);
    }

    pub(crate) fn set_stop_timeout(&self, id: &str, seconds: u64) {
        self.inner.lock().unwrap().containers.get_mut(id).unwrap()["Config"]["StopTimeout"] = json!(seconds);
    }

    pub(crate) fn set_labels(&self, id: &str, labels: Value) {
        self.inner.lock().unwrap().containers.get_mut(id).unwrap()["Config"]["Labels"] = labels;
    }

    pub(crate) fn set_environment(&self, id: &str, variables: &[&str]) {
        self.inner.lock().unwrap().containers.get_mut(id).unwrap()["Config"]["Env"] = json!(variables);
    }

    /// Makes the process of a container exit as soon as it is started.
    pub(crate) fn exits_at_once(&self, id: &str, status: i64) {
        self.inner.lock().unwrap().exits.insert(id.to_owned(), status);
    }

    /// Makes the list of containers lack their mounts, as that of some versions of Podman does.
    pub(crate) fn lists_no_mounts(&self) {
        self.inner.lock().unwrap().lists_no_mounts = true;
    }

    pub(crate) fn fault(&self, path: &str, fault: Fault) {
        self.inner.lock().unwrap().faults.insert(path.to_owned(), fault);
    }

    pub(crate) fn repair(&self, path: &str) {
        self.inner.lock().unwrap().faults.remove(path);
    }

    /// Returns what it knows, for [`FakeEngine::set_known`].
    pub(crate) fn known(&self) -> Known {
        let inner = self.inner.lock().unwrap();
        Known { containers: inner.containers.clone(), volumes: inner.volumes.clone() }
    }

    pub(crate) fn set_known(&self, known: &Known) {
        let Known { containers, volumes } = known.clone();
        let mut inner = self.inner.lock().unwrap();
        (inner.containers, inner.volumes) = (containers, volumes);
    }

    /// Returns the names of the containers that are running.
    pub(crate) fn running(&self) -> Vec<String> {
        let inner = self.inner.lock().unwrap();
        let running = inner.containers.values().filter(|container| container["State"]["Running"] == json!(true));
        running.map(|container| container["Name"].as_str().unwrap().trim_start_matches('/').to_owned()).collect()
    }

    pub(crate) fn has_volume(&self, name: &str) -> bool {
        self.inner.lock().unwrap().volumes.iter().any(|volume| volume["Name"] == name)
    }

    /// Calls `hook` with the id of each container before it is started.
    pub(crate) fn on_start(&self, hook: impl Fn(&str) + Send + 'static) {
        self.inner.lock().unwrap().on_start = Some(Box::new(hook));
    }

    /// Waits until all requests are answered that clients have sent before they ended.
    pub(crate) fn settle(&self) {
        // Connections are accepted in their order.
        let mut last = UnixStream::connect(&self.socket).unwrap();
        last.write_all(b"GET /version HTTP/1.1\r\n\r\n").unwrap();
        last.read_to_end(&mut Vec::new()).unwrap();
        while self.inner.lock().unwrap().in_progress > 0 {
            sleep(Duration::from_millis(1));
        }
    }

    /// Returns the POST requests so far, as `POST /containers/x/stop?t=1`.
    pub(crate) fn commands(&self) -> Vec<String> {
        let inner = self.inner.lock().unwrap();
        inner.requests.iter().filter(|request| request.starts_with("POST")).cloned().collect()
    }

    /// Returns all requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.inner.lock().unwrap().requests.clone()
    }
}

fn serve(shared: &Mutex<Inner>, mut stream: UnixStream) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header)?;
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if header.trim().is_empty() {
            break;
        }
    }
    let mut sent = Vec::new();
    reader.take(length).read_to_end(&mut sent)?;

    let mut fields = request.split_whitespace();
    let (method, target) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
    // A path may begin with the API version that the client requests.
    let versioned = target.strip_prefix("/v").filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let (version, path) = match versioned.and_then(|rest| rest.split_once('/')) {
        Some((version, path)) => (Some(version.to_owned()), format!("/{path}")),
        None => (None, target.to_owned()),
    };
    let bare = path.split('?').next().unwrap_or_default().to_owned();
    let (status, body, fault) = {
        let mut inner = shared.lock().unwrap();
        inner.requests.push(format!("{method} {path}"));
        let fault = inner.faults.get(&bare).cloned();
        if let Some(Fault::Slow(time)) = fault {
            drop(inner);
            sleep(time);
            inner = shared.lock().unwrap();
        }
        let (status, body) = match fault {
            // It never comes to that.
            Some(Fault::Hang) => (500, String::new()),
            _ => inner.answer(method, version.as_deref(), &bare, &sent),
        };
        (status, body, fault)
    };
    let (status, body) = match &fault {
        Some(Fault::Answer(status, body)) => (*status, body.clone()),
        _ => (status, body),
    };
    let answer = match status {
        // These have neither a body nor a Content-Length.
        204 | 304 => format!("HTTP/1.1 {status} X\r\nConnection: close\r\n\r\n"),
        _ => format!(
            "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        ),
    };
    match fault {
        Some(Fault::Hang) => {
            sleep(Duration::from_secs(60));
            Ok(())
        }
        Some(Fault::Truncate) => stream.write_all(&answer.as_bytes()[..answer.len() - body.len() / 2]),
        Some(Fault::Trickle) => answer.as_bytes().iter().try_for_each(|byte| {
            stream.write_all(&[*byte])?;
            stream.flush()
        }),
        Some(Fault::Stall(length)) => {
            stream.write_all(format!("HTTP/1.1 200 X\r\nContent-Length: {length}\r\n\r\n").as_bytes())?;
            stream.write_all(&vec![b' '; length / 2])?;
            sleep(Duration::from_secs(60));
            Ok(())
        }
        Some(Fault::Endless(text)) => {
            stream.write_all(b"HTTP/1.1 200 X\r\nConnection: close\r\n\r\n[")?;
            let chunk = text.repeat((64 << 10) / text.len());
            loop {
                stream.write_all(chunk.as_bytes())?;
            }
        }
        Some(Fault::Answer(..) | Fault::Slow(_)) | None => stream.write_all(answer.as_bytes()),
    }
}

impl Inner {
    /// Returns the element of the list for a container.
    fn summary(&self, container: &Value) -> Value {
        let flag = |flag: &str| container["State"][flag] == json!(true);
        let state = match (flag("Paused"), flag("Restarting"), flag("Running")) {
            (true, _, _) => "paused",
            (_, true, _) => "restarting",
            (_, _, true) => "running",
            (false, false, false) => "exited",
        };
        json!({
            "Id": container["Id"], "Names": ["/linking/alias", container["Name"]], "Image": container["Config"]["Image"],
            "Labels": container["Config"]["Labels"], "State": state,
            "Mounts": if self.lists_no_mounts { Value::Null } else { container["Mounts"].clone() },
        })
    }

    fn answer(&mut self, method: &str, version: Option<&str>, path: &str, sent: &[u8]) -> (u16, String) {
        let minor = |version: &str| version.split_once('.').and_then(|(_, minor)| minor.parse::<u32>().ok());
        if let Some(version) = version.filter(|version| minor(version) > minor(&self.version)) {
            let message =
                format!("client version {version} is too new. Maximum supported API version is {}", self.version);
            return (400, json!({"message": message}).to_string());
        }
        let parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        match (method, &parts[..]) {
            ("GET", ["version"]) => (200, json!({"Version": "20.10.24", "ApiVersion": self.version}).to_string()),
            ("GET", ["info"]) => (200, self.info.to_string()),
            ("GET", ["volumes"]) => (200, json!({"Volumes": self.volumes, "Warnings": null}).to_string()),
            ("GET", ["containers", "json"]) => {
                let listed: Vec<Value> = self.containers.values().map(|container| self.summary(container)).collect();
                (200, json!(listed).to_string())
            }
            ("GET", ["containers", id, "json"]) => match self.containers.get(*id) {
                Some(container) => (200, container.to_string()),
                None => (404, json!({"message": format!("No such container: {id}")}).to_string()),
            },
            ("POST", ["containers", id, verb @ ("stop" | "start")]) => match self.containers.get_mut(*id) {
                Some(container) => {
                    let run = *verb == "start";
                    if let Some(hook) = self.on_start.as_ref().filter(|_| run) {
                        hook(id);
                    }
                    let already = container["State"]["Running"] == json!(run);
                    container["State"]["Running"] = json!(run);
                    if run {
                        container["State"]["StartedAt"] = json!(jiff::Timestamp::now().to_string());
                    }
                    if let Some(status) = self.exits.get(*id).filter(|_| run) {
                        container["State"]["Running"] = json!(false);
                        container["State"]["ExitCode"] = json!(status);
                    }
                    (if already { 304 } else { 204 }, String::new())
                }
                None => (404, json!({"message": format!("No such container: {id}")}).to_string()),
            },
            ("POST", ["volumes", "create"]) => self.create_volume(sent),
            ("DELETE", ["volumes", name]) => self.remove_volume(name),
            _ => (404, json!({"message": "page not found"}).to_string()),
        }
    }

    /// An engine answers a request for a volume that exists with that one.
    fn create_volume(&mut self, sent: &[u8]) -> (u16, String) {
        let asked: Value = serde_json::from_slice(sent).unwrap();
        let name = asked["Name"].as_str().unwrap();
        if let Some(volume) = self.volumes.iter().find(|volume| volume["Name"] == name) {
            return (201, volume.to_string());
        }
        let mountpoint = self.directory(name).join("_data");
        if let Err(error) = fs::create_dir_all(&mountpoint) {
            return (500, json!({"message": format!("create {name}: {error}")}).to_string());
        }
        let volume = json!({
            "Name": name, "Driver": asked["Driver"], "Mountpoint": mountpoint, "Labels": asked["Labels"],
            "Options": null, "Scope": "local", "CreatedAt": "2026-01-01T00:00:00Z",
        });
        self.volumes.push(volume.clone());
        (201, volume.to_string())
    }

    fn remove_volume(&mut self, name: &str) -> (u16, String) {
        let uses = |container: &Value| {
            container["Mounts"].as_array().is_some_and(|mounts| mounts.iter().any(|mount| mount["Name"] == name))
        };
        if self.containers.values().any(uses) {
            return (409, json!({"message": "volume is in use"}).to_string());
        }
        let Some(at) = self.volumes.iter().position(|volume| volume["Name"] == name) else {
            return (404, json!({"message": format!("get {name}: no such volume")}).to_string());
        };
        if let Err(error) = fs::remove_dir_all(self.directory(name)) {
            return (500, json!({"message": format!("remove {name}: {error}")}).to_string());
        }
        self.volumes.remove(at);
        (204, String::new())
    }

    fn directory(&self, name: &str) -> PathBuf {
        Path::new(self.info["DockerRootDir"].as_str().unwrap()).join("volumes").join(name)
    }
}
