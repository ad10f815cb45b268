//! The engine as a source of knowledge, through bollard. The only place where anything is asynchronous,
//! and none of it shows: a runtime of one thread lives inside, and every call ends within a time limit.
//!
//! What the engine says of paths is true on the engine's machine. Whether that is this one is asked of the
//! files under its root directory; an engine that cannot prove it is an obstacle, not an assumption.

use std::collections::{BTreeMap, HashMap};
use std::error::Error as _;
use std::future::Future;
use std::io::ErrorKind as IoKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, MountPoint, SystemInfo, Volume as EngineVolume};
use bollard::query_parameters::{
    InspectContainerOptions, ListContainersOptions, ListVolumesOptions, StartContainerOptions, StopContainerOptions,
};
use bollard::{API_DEFAULT_VERSION, Docker};

use crate::error::ErrorKind::Failed;
use crate::error::{Error, Result, without_errno};
use crate::member::printable;

use super::inventory::{Container, Host, Inventory, Mount, MountKind, State, Volume};
use super::parse::{self, PROJECT, RawMount, Ties, VOLUME};

/// A daemon answers in milliseconds, or something is wrong with it.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// A busy host with hundreds of containers may take its time.
const REQUEST_LIMIT: Duration = Duration::from_secs(120);
/// What the engine itself waits for a container before it kills it, unless the container says otherwise.
const DEFAULT_STOP_SECONDS: u64 = 10;
/// How long an engine may take beyond a container's own stop timeout: unmounting, networks, slow disks.
const STOP_SLACK: Duration = Duration::from_secs(300);
/// For a container that asks never to be killed.
const ENDLESS: Duration = Duration::from_secs(7 * 24 * 3600);
/// A connection to a Docker engine.
pub struct Engine {
    docker: Docker,
    runtime: tokio::runtime::Runtime,
    address: Address,
    version: String,
}

impl Engine {
    /// Connects to `addr` (`--docker`), else to `DOCKER_HOST`, else to the local socket.
    pub fn connect(addr: Option<&str>) -> Result<Self> {
        let from_environment = std::env::var("DOCKER_HOST").ok();
        let given = addr.or(from_environment.as_deref()).filter(|addr| !addr.is_empty());
        let address = match given {
            Some(addr) => Address::parse(addr)?,
            None => Address::Unix(local_socket(std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from))),
        };
        let tls = std::env::var_os("DOCKER_TLS_VERIFY").is_some_and(|value| !value.is_empty());
        if let (Address::Tcp(_), true) = (&address, tls) {
            return Err(Error::refused(format!("cannot talk TLS to {address} (DOCKER_TLS_VERIFY is set)"))
                .hint("run voltar on the Docker host itself, through its local socket"));
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|cause| Error::failed("cannot connect to", address.to_string(), cause))?;
        let (docker, version) = runtime.block_on(open(&address))?;
        Ok(Self { docker, runtime, address, version })
    }

    /// Runs one request to its end. bollard's own limit does not cover an answer that never ends.
    fn run<T>(&self, what: &str, limit: Duration, request: impl Future<Output = Answer<T>>) -> Result<T> {
        self.runtime.block_on(within(limit, request)).map_err(|fault| fault.into_error(what, &self.address))
    }

    fn inspect(&self, id: &str) -> Result<Option<ContainerInspectResponse>> {
        let request = self.docker.inspect_container(id, None::<InspectContainerOptions>);
        let what = format!("cannot inspect container {}", short(id));
        match self.runtime.block_on(within(REQUEST_LIMIT, request)) {
            Ok(found) => Ok(Some(found)),
            // It vanished between the list and the question.
            Err(Fault::Engine(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. })) => Ok(None),
            Err(fault) => Err(fault.into_error(&what, &self.address)),
        }
    }

    fn present(&self, id: &str) -> Result<ContainerInspectResponse> {
        self.inspect(id)?.ok_or_else(|| Error::refused(format!("container {} does not exist any more", short(id))))
    }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("address", &self.address).field("version", &self.version).finish_non_exhaustive()
    }
}

impl Host for Engine {
    fn describe(&self) -> String {
        format!("Docker {} at {}", self.version, self.address)
    }

    fn address(&self) -> String {
        self.address.to_string()
    }

    fn inventory(&self) -> Result<Inventory> {
        let info = self.run("cannot ask about the engine", REQUEST_LIMIT, self.docker.info())?;
        let volumes =
            self.run("cannot list volumes", REQUEST_LIMIT, self.docker.list_volumes(None::<ListVolumesOptions>))?;
        let volumes = volumes.volumes.unwrap_or_default().iter().map(volume).collect::<Result<Vec<Volume>>>()?;
        let mountpoints = volumes.iter().map(|volume| (volume.name.clone(), volume.mountpoint.clone())).collect();

        let all = ListContainersOptions { all: true, ..ListContainersOptions::default() };
        let listed = self.run("cannot list containers", REQUEST_LIMIT, self.docker.list_containers(Some(all)))?;
        let mut containers = Vec::with_capacity(listed.len());
        for summary in listed {
            let id = parse::id(summary.id.as_deref().unwrap_or_default())?;
            if let Some(inspected) = self.inspect(&id)? {
                containers.push(container(&inspected, &mountpoints)?);
            }
        }
        Ok(Inventory {
            containers,
            volumes,
            obstacles: obstacles(&self.address, &info, &Facts::gather(&info)),
            ..Inventory::default()
        })
    }

    fn stop(&self, container_id: &str) -> Result<()> {
        let before = self.present(&parse::id(container_id)?)?;
        let name = name_of(&before)?;
        let state = state_of(&before);
        match state {
            State::Stopped => return Ok(()),
            State::Paused => {
                return Err(Error::refused(format!("container '{name}' is paused"))
                    .hint(format!("`docker unpause {name}` or `docker stop {name}` first")));
            }
            State::Running => {}
        }
        let limit = stop_limit(before.config.as_ref().and_then(|config| config.stop_timeout));
        // Neither `t` nor `signal`: the container's own hold.
        let docker = self.docker.clone().with_timeout(limit);
        let what = format!("cannot stop container '{name}'");
        self.run(&what, limit, docker.stop_container(container_id, None::<StopContainerOptions>))?;
        match state_of(&self.present(container_id)?) {
            State::Stopped => Ok(()),
            State::Running | State::Paused => {
                Err(Error::refused(format!("container '{name}' was stopped and runs again"))
                    .hint("something else starts it (an orchestrator, another operator); stop that first"))
            }
        }
    }

    fn start(&self, container_id: &str) -> Result<()> {
        let id = parse::id(container_id)?;
        let name = name_of(&self.present(&id)?)?;
        let what = format!("cannot start container '{name}'");
        self.run(&what, REQUEST_LIMIT, self.docker.start_container(&id, None::<StartContainerOptions>))
    }
}

// -- the connection ----------------------------------------------------------------------------------

type Answer<T> = std::result::Result<T, bollard::errors::Error>;

enum Fault {
    Engine(bollard::errors::Error),
    TooSlow(Duration),
}

async fn within<T>(limit: Duration, request: impl Future<Output = Answer<T>>) -> std::result::Result<T, Fault> {
    match tokio::time::timeout(limit, request).await {
        Ok(Err(bollard::errors::Error::RequestTimeoutError)) | Err(_) => Err(Fault::TooSlow(limit)),
        Ok(answer) => answer.map_err(Fault::Engine),
    }
}

impl Fault {
    fn into_error(self, what: &str, address: &Address) -> Error {
        use bollard::errors::Error as Docker;
        let say = |cause: &str| {
            let cause = cause.trim().lines().next().unwrap_or_default();
            format!("{what} through {address}: {}", printable(cause.as_bytes()))
        };
        match self {
            Self::TooSlow(limit) => {
                Error::new(Failed, say(&format!("no complete answer within {} s", limit.as_secs())))
                    .hint("is the daemon hanging? See `docker info` and its log (`journalctl -u docker`)")
            }
            Self::Engine(Docker::DockerResponseServerError { status_code, message }) => {
                let said = if message.trim().is_empty() { format!("HTTP status {status_code}") } else { message };
                Error::new(Failed, say(&said))
            }
            Self::Engine(error) => match io_cause(&error) {
                Some((kind, cause)) => Error::new(Failed, say(without_errno(&cause))).hint(address.advice(kind)),
                None => Error::new(Failed, say(&format!("not what an engine would answer ({error})")))
                    .hint("is it a Docker engine that listens there?"),
            },
        }
    }
}

/// The operating system's reason, below however many layers of clients.
fn io_cause(error: &bollard::errors::Error) -> Option<(IoKind, String)> {
    // Told as it is, this one hides itself from the chain of causes.
    if let bollard::errors::Error::IOError { err } = error {
        return Some((err.kind(), err.to_string()));
    }
    let mut cause = error.source();
    while let Some(inner) = cause {
        cause = inner.source();
        // An error that wraps another one has that other's kind, and more words.
        if let Some(io) =
            inner.downcast_ref::<std::io::Error>().filter(|io| io.raw_os_error().is_some() || cause.is_none())
        {
            return Some((io.kind(), io.to_string()));
        }
    }
    None
}

/// bollard 0.21 leaves the version out of its paths, and an engine answers those in the highest version it
/// knows, be it 20.10 or later. Negotiated all the same: bollard suits some requests to what was agreed.
async fn open(address: &Address) -> Result<(Docker, String)> {
    let opened = async {
        let docker = client(address)?.negotiate_version().await?;
        let version = docker.version().await?.version;
        Ok((docker.with_timeout(REQUEST_LIMIT), version.unwrap_or_else(|| "(unknown)".to_owned())))
    };
    match within(CONNECT_LIMIT, opened).await {
        Ok((docker, version)) => Ok((docker, printable(version.as_bytes()))),
        Err(fault) => Err(fault.into_error("cannot reach the Docker engine", address)),
    }
}

fn client(address: &Address) -> Answer<Docker> {
    match address {
        Address::Unix(socket) => {
            // bollard would call a socket that it may not look at missing.
            std::fs::metadata(socket)?;
            Docker::connect_with_unix(&socket.to_string_lossy(), CONNECT_LIMIT.as_secs(), API_DEFAULT_VERSION)
        }
        Address::Tcp(host) => Docker::connect_with_http(host, CONNECT_LIMIT.as_secs(), API_DEFAULT_VERSION),
    }
}

/// Where an engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Address {
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
}

impl Address {
    fn parse(addr: &str) -> Result<Self> {
        let shown = printable(addr.as_bytes());
        let bad = |reason: &str| {
            Error::usage(format!("'{shown}' is no engine's address: {reason}"))
                .hint("write unix:///path/to/docker.sock or tcp://host:port")
        };
        if let Some(path) = addr.strip_prefix("unix://").or_else(|| addr.starts_with('/').then_some(addr)) {
            return if path.starts_with('/') && !path.contains('\0') {
                Ok(Self::Unix(path.into()))
            } else {
                Err(bad("the socket's path is not absolute"))
            };
        }
        if let Some(host) = addr.strip_prefix("tcp://").or_else(|| addr.strip_prefix("http://")) {
            let host = host.trim_end_matches('/');
            let (name, port) = match host.rsplit_once(':') {
                // The colons of an IPv6 address are within brackets.
                Some((name, port)) if !port.contains(']') => (name, port),
                _ => (host, "2375"),
            };
            let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
            return if name.is_empty() || !name.chars().all(fine) || port.parse::<u16>().is_err() {
                Err(bad("it has no host, or no port that is a number"))
            } else {
                Ok(Self::Tcp(format!("{name}:{port}")))
            };
        }
        match addr.split_once("://") {
            Some(("ssh", _)) => {
                Err(Error::refused(format!("cannot work through {shown}: the volumes are on that machine"))
                    .hint("run voltar there (`ssh HOST voltar …`)"))
            }
            Some((scheme, _)) => Err(bad(&format!("{scheme}:// is not supported"))),
            None => Err(bad("it has no scheme")),
        }
    }

    fn advice(&self, kind: IoKind) -> String {
        match (self, kind) {
            (_, IoKind::PermissionDenied) => {
                "run voltar as root (sudo), or as a member of the group 'docker'".to_owned()
            }
            (Self::Unix(_), _) => "is the Docker daemon running (`systemctl start docker`)? Without one, --data-root \
                                   /var/lib/docker reads Docker's own files"
                .to_owned(),
            (Self::Tcp(_), _) => "is the address right, and the Docker daemon there running?".to_owned(),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", printable(path.as_os_str().as_encoded_bytes())),
            Self::Tcp(host) => write!(f, "tcp://{host}"),
        }
    }
}

/// The socket of the system's daemon; a rootless one's where there is no other.
fn local_socket(runtime_dir: Option<PathBuf>) -> PathBuf {
    let system = ["/var/run/docker.sock", "/run/docker.sock"].map(PathBuf::from);
    let rootless = runtime_dir.map(|dir| dir.join("docker.sock"));
    let fallback = PathBuf::from("/var/run/docker.sock");
    // `symlink_metadata`: a socket that is there but out of reach is reported as such.
    system.into_iter().chain(rootless).find(|path| path.symlink_metadata().is_ok()).unwrap_or(fallback)
}

// -- is it this machine? -----------------------------------------------------------------------------

/// What this machine has to say about an engine's claim to be here.
#[derive(Debug, Clone, Default)]
struct Facts {
    /// Content of `<DockerRootDir>/engine-id`.
    engine_id: Option<String>,
    root_dir_exists: bool,
    host_name: String,
    kernel: String,
}

impl Facts {
    fn gather(info: &SystemInfo) -> Self {
        let uname = nix::sys::utsname::uname().ok();
        let text = |text: Option<&std::ffi::OsStr>| text.unwrap_or_default().to_string_lossy().into_owned();
        let root = info.docker_root_dir.as_deref().map(Path::new).filter(|root| root.is_absolute());
        Self {
            engine_id: root
                .and_then(|root| std::fs::read_to_string(root.join("engine-id")).ok())
                .map(|id| id.trim().to_owned())
                .filter(|id| !id.is_empty()),
            root_dir_exists: root.is_some_and(Path::is_dir),
            host_name: text(uname.as_ref().map(nix::sys::utsname::UtsName::nodename)),
            kernel: text(uname.as_ref().map(nix::sys::utsname::UtsName::release)),
        }
    }
}

fn obstacles(address: &Address, info: &SystemInfo, facts: &Facts) -> Vec<String> {
    let mut obstacles = Vec::new();
    let root = printable(info.docker_root_dir.as_deref().unwrap_or_default().as_bytes());
    if !is_local(address, info, facts) {
        let name = printable(info.name.as_deref().unwrap_or("unknown").as_bytes());
        obstacles.push(format!(
            "the engine at {address} is not known to be on this machine (it calls itself '{name}' and keeps its files in \
             {root}): its volumes may be elsewhere, so run voltar there, through the local socket"
        ));
    }
    let options = info.security_options.iter().flatten();
    for option in options {
        let named = |name: &str| option.split(',').any(|part| part == name);
        if named("name=userns") {
            obstacles.push(format!(
                "the engine at {address} runs with userns-remap: the owners of files in volumes are shifted, which is not \
                 supported yet; use the documented tar commands"
            ));
        }
        if named("name=rootless") {
            obstacles.push(format!(
                "the engine at {address} is rootless: the owners of files in volumes are shifted, which is not supported \
                 yet; use the documented tar commands"
            ));
        }
    }
    obstacles
}

fn is_local(address: &Address, info: &SystemInfo, facts: &Facts) -> bool {
    let claimed = info.id.as_deref().unwrap_or_default();
    match (&facts.engine_id, address) {
        (Some(here), _) => here == claimed,
        // A port may lead anywhere, and an engine before 23.0 has no file that would prove it.
        (None, Address::Tcp(_)) => false,
        // So may a socket (a tunnel, a virtual machine), but not with our kernel, our name and our directory.
        (None, Address::Unix(_)) => {
            facts.root_dir_exists
                && info.name.as_deref() == Some(&facts.host_name)
                && info.kernel_version.as_deref() == Some(&facts.kernel)
        }
    }
}

// -- answers into values -----------------------------------------------------------------------------

fn volume(answer: &EngineVolume) -> Result<Volume> {
    let name = parse::text("volume", &answer.name)?;
    // A plugin may give no mountpoint until something uses the volume.
    let mountpoint = match answer.mountpoint.as_str() {
        "" => PathBuf::new(),
        at => parse::absolute(&format!("volume '{name}'"), "point", at)?,
    };
    Ok(Volume {
        driver: parse::text("volume driver", &answer.driver)?,
        mountpoint,
        options: answer.options.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        project: answer.labels.get(PROJECT).cloned(),
        compose_name: answer.labels.get(VOLUME).cloned(),
        name,
    })
}

fn container(answer: &ContainerInspectResponse, mountpoints: &BTreeMap<String, PathBuf>) -> Result<Container> {
    let name = name_of(answer)?;
    let config = answer.config.as_ref();
    let labels = config.and_then(|config| config.labels.as_ref());
    let label = |key: &str| labels.and_then(|labels: &HashMap<String, String>| labels.get(key));
    let host = answer.host_config.as_ref();
    let ties = Ties {
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
        mounts.push(mount(&name, answer, point, mountpoints)?);
    }
    // `--tmpfs` is told of elsewhere than `--mount type=tmpfs`.
    for at in host.and_then(|host| host.tmpfs.as_ref()).into_iter().flat_map(HashMap::keys) {
        let destination = parse::destination(&name, at)?;
        if !mounts.iter().any(|mount| mount.destination == destination) {
            mounts.push(Mount { destination, source: None, kind: MountKind::Tmpfs, read_only: false });
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
        depends_on: parse::depends_on(label, &ties),
        environment: config.and_then(|config| config.env.clone()).unwrap_or_default(),
        auto_remove: host.and_then(|host| host.auto_remove).unwrap_or_default(),
        mounts,
        name,
    })
}

fn mount(
    container: &str,
    answer: &ContainerInspectResponse,
    point: &MountPoint,
    mountpoints: &BTreeMap<String, PathBuf>,
) -> Result<Mount> {
    let destination = point.destination.as_deref().unwrap_or_default();
    // The mount's target stands there as the user wrote it.
    let same =
        |target: &str| parse::destination(container, target).ok() == parse::destination(container, destination).ok();
    let asked_for = answer.host_config.iter().filter_map(|host| host.mounts.as_ref()).flatten();
    let subpath = asked_for
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
    parse::mount(container, &raw, mountpoints)
}

fn name_of(answer: &ContainerInspectResponse) -> Result<String> {
    parse::text("container", answer.name.as_deref().unwrap_or_default().trim_start_matches('/'))
}

fn state_of(answer: &ContainerInspectResponse) -> State {
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

/// Longer than the engine waits for the container: the client must not give up on a database that takes
/// its time to shut down.
fn stop_limit(stop_timeout: Option<i64>) -> Duration {
    match stop_timeout.map(u64::try_from) {
        None => Duration::from_secs(DEFAULT_STOP_SECONDS) + STOP_SLACK,
        Some(Ok(seconds)) => Duration::from_secs(seconds).saturating_add(STOP_SLACK).min(ENDLESS),
        // Negative: wait as long as it takes.
        Some(Err(_)) => ENDLESS,
    }
}

/// Ids as `docker ps` shows them.
fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let parse =
            |addr: &str| Address::parse(addr).map(|address| address.to_string()).map_err(|error| error.to_string());
        assert_eq!(parse("unix:///run/x.sock"), Ok("unix:///run/x.sock".to_owned()));
        assert_eq!(parse("/run/x.sock"), Ok("unix:///run/x.sock".to_owned()));
        assert_eq!(parse("tcp://nas:2375/"), Ok("tcp://nas:2375".to_owned()));
        assert_eq!(parse("http://127.0.0.1"), Ok("tcp://127.0.0.1:2375".to_owned()));
        assert_eq!(parse("tcp://[::1]"), Ok("tcp://[::1]:2375".to_owned()));
        for bad in ["unix://run/x", "tcp://", "tcp://h:x", "tcp://h/p:1", "npipe:////./pipe/d", "docker.sock", "fd://"]
        {
            assert!(parse(bad).unwrap_err().contains("is no engine's address"), "{bad}");
        }
        let error = Address::parse("ssh://root@nas").unwrap_err();
        assert_eq!(error.to_string(), "cannot work through ssh://root@nas: the volumes are on that machine");
        assert!(error.advice().unwrap().contains("run voltar there"));
    }

    #[test]
    fn a_rootless_socket_is_the_last_resort() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("docker.sock"), "").unwrap();
        let system = Path::new("/var/run/docker.sock");
        let expected = if system.exists() { system.to_owned() } else { dir.path().join("docker.sock") };
        assert_eq!(local_socket(Some(dir.path().to_owned())), expected);
    }

    fn info(id: &str) -> SystemInfo {
        SystemInfo {
            id: Some(id.to_owned()),
            name: Some("vm".to_owned()),
            kernel_version: Some("6.1".to_owned()),
            docker_root_dir: Some("/var/lib/docker".to_owned()),
            ..SystemInfo::default()
        }
    }

    fn here() -> Facts {
        Facts { engine_id: None, root_dir_exists: true, host_name: "vm".to_owned(), kernel: "6.1".to_owned() }
    }

    #[test]
    fn an_engine_must_prove_that_it_is_here() {
        let unix = Address::Unix("/var/run/docker.sock".into());
        let tcp = Address::Tcp("127.0.0.1:2375".to_owned());
        let known = |id: &str| Facts { engine_id: Some(id.to_owned()), ..here() };
        assert!(is_local(&unix, &info("A"), &known("A")) && is_local(&tcp, &info("A"), &known("A")));
        assert!(!is_local(&unix, &info("A"), &known("B")) && !is_local(&tcp, &info("A"), &known("B")));
        assert!(is_local(&unix, &info("A"), &here()));
        assert!(!is_local(&tcp, &info("A"), &here()));
        assert!(!is_local(&unix, &info("A"), &Facts { root_dir_exists: false, ..here() }));
        assert!(!is_local(&unix, &info("A"), &Facts { host_name: "laptop".to_owned(), ..here() }));
        assert!(!is_local(&unix, &info("A"), &Facts { kernel: "6.2".to_owned(), ..here() }));
        assert!(obstacles(&unix, &info("A"), &here()).is_empty());
        assert!(obstacles(&tcp, &info("A"), &here())[0].contains("run voltar there"));
    }

    #[test]
    fn shifted_ids_are_an_obstacle() {
        let unix = Address::Unix("/var/run/docker.sock".into());
        for (option, word) in [("name=userns", "userns-remap"), ("name=rootless", "rootless")] {
            let options = vec!["name=seccomp,profile=default".to_owned(), option.to_owned()];
            let shifted = SystemInfo { security_options: Some(options), ..info("A") };
            let found = obstacles(&unix, &shifted, &here());
            assert!(found.len() == 1 && found[0].contains(word), "{found:?}");
        }
    }

    #[test]
    fn the_client_outwaits_the_container() {
        assert!(stop_limit(None) > Duration::from_secs(10));
        assert!(stop_limit(Some(3600)) > Duration::from_secs(3600));
        assert_eq!(stop_limit(Some(-1)), ENDLESS);
        assert_eq!(stop_limit(Some(i64::MAX)), ENDLESS);
    }

    fn inspected(json: &str) -> Result<Container> {
        let answer: ContainerInspectResponse = serde_json::from_str(json).unwrap();
        container(&answer, &BTreeMap::from([("cvat_cvat_db".to_owned(), PathBuf::from("/v/cvat_cvat_db/_data"))]))
    }

    #[test]
    fn an_inspected_container_becomes_a_value() {
        let container = inspected(
            r#"{"Id":"0123abcd","Name":"/cvat_db","Created":"2026-01-01T00:00:00.5Z",
                "State":{"Running":false,"Restarting":true},
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
        assert_eq!(container.state, State::Running, "about to run counts");
        assert!(container.auto_remove);
        assert_eq!(container.depends_on, ["cvat_redis", "ffff", "opa"]);
        let mounts: Vec<(&str, Option<&str>, bool)> = container
            .mounts
            .iter()
            .map(|mount| (&mount.destination[..], mount.source.as_deref().and_then(Path::to_str), mount.read_only))
            .collect();
        assert_eq!(
            mounts,
            [("/run", None, false), ("/share", Some("/srv"), true), ("/sub", Some("/v/cvat_cvat_db/_data/a/b"), false)]
        );
    }

    #[test]
    fn paused_is_neither_running_nor_stopped() {
        let state = |state: &str| inspected(&format!(r#"{{"Id":"ab","Name":"/c","State":{state}}}"#)).unwrap().state;
        assert_eq!(state(r#"{"Running":true,"Paused":true}"#), State::Paused);
        assert_eq!(state(r#"{"Running":true}"#), State::Running);
        assert_eq!(state(r#"{"Running":false,"Dead":true}"#), State::Stopped);
    }

    #[test]
    fn hostile_answers_are_errors() {
        for (json, message) in [
            (r#"{"Id":"../x","Name":"/c"}"#, "the engine: '../x' is no container id"),
            (r#"{"Id":"ab","Name":"/"}"#, "the engine: container '' is no name"),
            (r#"{"Id":"ab","Name":"/c\u001b[2J"}"#, "the engine: container 'c\\033[2J' is no name"),
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
        assert_eq!(volume(&odd).unwrap_err().to_string(), "volume 'v': mount point 'v/_data' is not absolute");
    }
}
