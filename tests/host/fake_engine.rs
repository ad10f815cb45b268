//! A fake engine: a thread that serves the part of Docker's API 1.41 that voltar uses on a Unix socket, with
//! faults where a test sets them. Its only state is which containers are running, and since when.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
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
}

pub(crate) struct FakeEngine {
    inner: Arc<Mutex<Inner>>,
    socket: PathBuf,
    _dir: tempfile::TempDir,
}

impl FakeEngine {
    /// Starts an engine whose highest API version is `api`.
    pub(crate) fn new(api: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("docker.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let uname = nix::sys::utsname::uname().unwrap();
        let inner = Inner {
            version: api.to_owned(),
            info: json!({
                "ID": "ABCD", "DockerRootDir": dir.path(), "ServerVersion": "20.10.24",
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
                std::thread::spawn(move || {
                    // The client may close the connection early.
                    serve(&shared, stream).unwrap_or_default();
                });
            }
        });
        Self { inner, socket, _dir: dir }
    }

    pub(crate) fn address(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.socket.parent().unwrap().to_owned()
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

    #[allow(dead_code, reason = "used by tests/postgres.rs")]
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
    reader.take(length).read_to_end(&mut Vec::new())?;

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
            std::thread::sleep(time);
            inner = shared.lock().unwrap();
        }
        let (status, body) = match fault {
            // It never comes to that.
            Some(Fault::Hang) => (500, String::new()),
            _ => inner.answer(method, version.as_deref(), &bare),
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
            std::thread::sleep(Duration::from_secs(60));
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
            std::thread::sleep(Duration::from_secs(60));
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

    fn answer(&mut self, method: &str, version: Option<&str>, path: &str) -> (u16, String) {
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
            _ => (404, json!({"message": "page not found"}).to_string()),
        }
    }
}
