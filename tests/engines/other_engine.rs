//! Engines that are started for the tests.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tempfile::TempDir;

use crate::common::skip::Needs;
use crate::common::tool::{Running, Tool};
use crate::{cvat, mapped_ids, podman, rootless, stack};

/// A test's name and its body.
pub type Test = (&'static str, fn(&OtherEngine));

/// A kind of engine.
pub struct Kind {
    /// Its name, for the names of tests.
    pub name: &'static str,
    /// The beginning of what voltar calls it.
    pub called: &'static str,
    /// What it needs besides root and the engine of this machine, which has the image.
    pub needs: &'static [Needs],
    /// Starts it: bash, in namespaces of its own, with the scratch directory as `$1`, and what [`docker_26`] has unpacked as
    /// `$2`. It must end with `exec`.
    pub script: &'static str,
    /// The signal that ends it.
    pub end: Signal,
    /// Its socket, in the scratch directory.
    pub socket: &'static str,
    /// Its root directory, in the scratch directory.
    pub root: &'static str,
    /// The user and the group on this host of the ids 0 and 1 of containers.
    pub ids: [(u32, u32); 2],
    /// Whether its containers can be created with `--userns=host`.
    pub has_host_ids: bool,
    /// Whether compose v2 is in its mount namespace.
    pub has_compose: bool,
    /// The images that it gets from the engine of this machine.
    pub images: &'static [&'static str],
    /// Its tests.
    pub tests: &'static [&'static [Test]],
}

/// The kinds of engines that the tests run on.
pub const KINDS: &[&Kind] = &[&REMAPPED, &ROOTLESS, &DOCKER_26, &PODMAN, &ROOTLESS_PODMAN];

/// Where Docker 26 and compose v2 are unpacked, once for all runs.
const DOCKER_26_TREE: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/docker-26");

/// What all scripts begin with: no network and mounts of others, and a copy of `/etc` that can be changed.
const ISOLATED: &str = r#"
    scratch=$1
    ip link set lo up
    mount --make-rprivate /
    mkdir -p "$scratch"/{upper,below,exec}
    mount -t overlay overlay -o "lowerdir=/etc,upperdir=$scratch/upper,workdir=$scratch/below" /etc
    echo '{}' >"$scratch/daemon.json"
    alone="--config-file $scratch/daemon.json --bridge=none --iptables=false --ip6tables=false --storage-driver vfs"
"#;

/// An engine with userns-remap, with several ranges, of which the second one is below the first.
pub const REMAPPED: Kind = Kind {
    name: "remapped",
    called: "Docker 20.",
    needs: &[],
    script: r#"
        getent passwd dockremap >/dev/null || useradd --system --user-group --shell /bin/false dockremap
        printf 'other:100000:65536\ndockremap:200000:65536\ndockremap:190000:10\n' >/etc/subuid
        printf 'dockremap:300000:65536\n' >/etc/subgid
        exec dockerd $alone --userns-remap=default --data-root "$scratch/root" --exec-root "$scratch/exec" \
            --pidfile "$scratch/pid" -H "unix://$scratch/docker.sock"
    "#,
    end: Signal::SIGTERM,
    socket: "docker.sock",
    root: "root/200000.300000",
    ids: [(200_000, 300_000), (200_001, 300_001)],
    has_host_ids: true,
    has_compose: false,
    images: &["ubuntu"],
    tests: &[mapped_ids::TESTS, mapped_ids::OF_DOCKER],
};

/// A rootless engine, as `dockerd-rootless.sh` starts it.
pub const ROOTLESS: Kind = Kind {
    name: "rootless",
    called: "Docker 20.",
    needs: &[Needs::Program("rootlesskit"), Needs::Program("newuidmap"), Needs::Program("setpriv")],
    script: r#"
        useradd --no-create-home --uid 4321 --user-group voltar-rootless
        printf 'voltar-rootless:400000:65536\nvoltar-rootless:390000:10\n' >/etc/subuid
        printf 'voltar-rootless:500000:65536\n' >/etc/subgid
        mkdir -p "$scratch"/{home,run}
        chown voltar-rootless: "$scratch"/{home,run}
        chmod 700 "$scratch/run"
        export HOME=$scratch/home XDG_RUNTIME_DIR=$scratch/run alone scratch
        exec setpriv --reuid=4321 --regid=4321 --clear-groups \
            rootlesskit --net=host --copy-up=/etc --copy-up=/run --state-dir="$scratch/run/rootlesskit" bash -c '
                rm -f /run/docker /run/containerd /run/xtables.lock
                exec dockerd --rootless $alone --exec-opt native.cgroupdriver=cgroupfs \
                    --data-root "$HOME/.local/share/docker" --exec-root "$XDG_RUNTIME_DIR/docker" \
                    --pidfile "$XDG_RUNTIME_DIR/docker.pid" -H "unix://$XDG_RUNTIME_DIR/docker.sock"'
    "#,
    end: Signal::SIGTERM,
    socket: "run/docker.sock",
    root: "home/.local/share/docker",
    ids: [(4321, 4321), (400_000, 500_000)],
    has_host_ids: false,
    has_compose: false,
    images: &["ubuntu"],
    tests: &[mapped_ids::TESTS, mapped_ids::OF_DOCKER, rootless::TESTS],
};

const IMAGES: &[&str] = &["ubuntu", "voltar-test-postgres:15"];
const HOST_IDS: [(u32, u32); 2] = [(0, 0), (1, 1)];

/// Docker 26 with compose v2: the packages of Debian trixie, mounted above `/usr`.
pub const DOCKER_26: Kind = Kind {
    name: "docker_26",
    called: "Docker 26.",
    needs: &[Needs::PostgreSql, Needs::Program("nsenter"), Needs::Program("python3"), Needs::Prepared(docker_26)],
    script: r#"
        cd "$2"
        mount -t overlay overlay -o lowerdir=usr:/usr /usr
        # Not those of /usr/local.
        export PATH=/usr/sbin:/usr/bin:/sbin:/bin
        exec dockerd $alone --data-root "$scratch/root" --exec-root "$scratch/exec" --pidfile "$scratch/pid" \
            -H "unix://$scratch/docker.sock"
    "#,
    end: Signal::SIGTERM,
    socket: "docker.sock",
    root: "root",
    ids: HOST_IDS,
    has_host_ids: true,
    has_compose: true,
    images: IMAGES,
    tests: &[stack::TESTS, stack::OF_DOCKER, cvat::TESTS],
};

/// Root's Podman, which answers Docker's API. The script `podman` in the scratch directory runs it on the same files.
pub const PODMAN: Kind = Kind {
    name: "podman",
    called: "Podman 4.",
    needs: &[Needs::PostgreSql, Needs::Program("nsenter"), Needs::Program("podman")],
    script: r#"
        mkdir -p /etc/containers
        # The defaults are above what a container of this machine's user may have.
        printf '[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
' >/etc/containers/containers.conf
        printf 'containers:600000:65536000
' | tee /etc/subuid >/etc/subgid
        cat >"$scratch/podman" <<END
#!/bin/sh
exec podman --runtime /usr/sbin/runc --storage-driver vfs --cgroup-manager cgroupfs --events-backend none \
    --root $scratch/root --runroot $scratch/exec/run --tmpdir $scratch/exec/tmp --volumepath $scratch/root/volumes "\$@"
END
        chmod 755 "$scratch/podman"
        # It has no daemon: its containers, and the process that watches each, end with this namespace.
        export scratch
        exec unshare --pid --fork --kill-child bash -c '
            mount -t proc proc /proc
            exec "$scratch/podman" system service --time=0 "unix://$scratch/podman.sock"'
    "#,
    end: Signal::SIGKILL,
    socket: "podman.sock",
    root: "root",
    ids: HOST_IDS,
    has_host_ids: true,
    has_compose: false,
    images: IMAGES,
    tests: &[stack::TESTS, podman::TESTS],
};

/// The Podman of a user, whose containers are in its user namespace.
pub const ROOTLESS_PODMAN: Kind = Kind {
    name: "rootless_podman",
    called: "Podman 4.",
    needs: &[Needs::Program("podman"), Needs::Program("newuidmap"), Needs::Program("setpriv")],
    script: r#"
        useradd --no-create-home --uid 4322 --user-group voltar-podman
        printf 'voltar-podman:400000:65536
' >/etc/subuid
        printf 'voltar-podman:500000:65536
' >/etc/subgid
        mkdir -p /etc/containers "$scratch"/{home,run}
        printf '[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
' >/etc/containers/containers.conf
        chown voltar-podman: "$scratch"/{home,run}
        chmod 700 "$scratch/run"
        export HOME=$scratch/home XDG_RUNTIME_DIR=$scratch/run
        # What --kill-child has set is lost with the change of ids.
        exec unshare --pid --fork --kill-child bash -c '
            mount -t proc proc /proc
            exec setpriv --pdeathsig KILL --reuid=4322 --regid=4322 --clear-groups podman --runtime /usr/sbin/runc --storage-driver vfs \
                --cgroup-manager cgroupfs --events-backend none system service --time=0 "unix://$XDG_RUNTIME_DIR/podman.sock"'
    "#,
    end: Signal::SIGKILL,
    socket: "run/podman.sock",
    root: "home/.local/share/containers/storage",
    ids: [(4322, 4322), (400_000, 500_000)],
    has_host_ids: false,
    has_compose: false,
    images: &["ubuntu"],
    tests: &[mapped_ids::TESTS],
};

/// Unpacks Docker 26.
fn docker_26() -> Result<(), String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engines/docker-26.sh");
    let outcome = Tool::new("bash").args([script, DOCKER_26_TREE]).run();
    if outcome.status.success() {
        return Ok(());
    }
    let why = outcome.text();
    Err(format!("Docker 26 cannot be fetched: {}", why.lines().next_back().unwrap_or_default()))
}

/// A running engine, with the image `ubuntu`. Dropping it stops it and all its containers.
pub struct OtherEngine {
    kind: &'static Kind,
    scratch: TempDir,
    process: Running,
}

static ENGINE: Mutex<Option<OtherEngine>> = Mutex::new(None);

/// Runs `body` with an engine of this kind, without containers and volumes.
pub fn with(kind: &'static Kind, body: fn(&OtherEngine)) {
    // A failed test has released the lock, but poisoned it.
    let mut engine = ENGINE.lock().unwrap_or_else(PoisonError::into_inner);
    if engine.as_ref().is_some_and(|engine| engine.kind.name != kind.name) {
        *engine = None;
    }
    let engine = engine.get_or_insert_with(|| OtherEngine::start(kind));
    engine.reset();
    body(engine);
}

/// Stops the engine.
pub fn take_down() {
    drop(ENGINE.lock().unwrap_or_else(PoisonError::into_inner).take());
}

impl OtherEngine {
    fn start(kind: &'static Kind) -> Self {
        Tool::new("bash").arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/images.sh")).ok();
        let scratch = tempfile::tempdir().unwrap();
        // The user of a rootless engine must reach its directories.
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let log = scratch.path().join("log");
        let script = format!("{ISOLATED}{}", kind.script);
        let process = Tool::new("unshare")
            .args(["--net", "--mount", "bash", "-euc", &script, "bash"])
            .arg(scratch.path())
            .arg(DOCKER_26_TREE)
            .env_remove("DOCKER_HOST")
            .spawn(&log);
        let mut engine = Self { kind, scratch, process };
        let begin = Instant::now();
        while !engine.command(["version"]).run().status.success() {
            let is_coming = begin.elapsed() < Duration::from_secs(60) && !engine.process.has_ended();
            assert!(is_coming, "the {} engine does not come up:\n{}", kind.name, fs::read_to_string(&log).unwrap());
            std::thread::sleep(Duration::from_millis(200));
        }
        let image = engine.scratch.path().join("image.tar");
        let save = Tool::new("docker").args(["save", "--output"]).arg(&image).args(kind.images);
        save.env_remove("DOCKER_HOST").ok();
        engine.command(["load", "--quiet", "--input"]).arg(&image).ok();
        engine
    }

    fn reset(&self) {
        self.remove_containers();
        for volume in self.docker(["volume", "ls", "--quiet"]).lines() {
            // A failed test may leave files that a rootless engine cannot remove.
            Tool::new("find").arg(self.volume(volume)).args(["-mindepth", "1", "-delete"]).run();
            self.docker(["volume", "rm", volume]);
        }
        for directory in ["archives", "again", "other", "state"] {
            drop(fs::remove_dir_all(self.at(directory)));
        }
    }

    fn remove_containers(&self) {
        for container in self.command(["ps", "--all", "--quiet"]).run().answer().lines() {
            self.command(["rm", "--force", container]).run();
        }
    }

    /// Returns its kind.
    pub fn kind(&self) -> &'static Kind {
        self.kind
    }

    /// Returns a path in the scratch directory.
    pub fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Returns its root directory.
    pub fn root(&self) -> PathBuf {
        self.at(self.kind.root)
    }

    /// Returns the address of its socket.
    pub fn address(&self) -> String {
        format!("unix://{}", self.at(self.kind.socket).display())
    }

    /// Returns a `docker` command on this engine.
    pub fn command<A: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Tool {
        Tool::new("docker").env("DOCKER_HOST", self.address()).args(args)
    }

    /// Runs `docker` on this engine, which must succeed, and returns its standard output.
    #[track_caller]
    pub fn docker<A: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = A>) -> String {
        self.command(args).ok().answer()
    }

    /// Returns the mountpoint of a volume.
    pub fn volume(&self, name: &str) -> PathBuf {
        self.docker(["volume", "inspect", "--format", "{{.Mountpoint}}", name]).into()
    }

    /// Returns a voltar command on this engine, with the layout of one archive.
    pub fn voltar(&self, args: &[impl AsRef<std::ffi::OsStr>]) -> Tool {
        self.without_engine(args).args(["--docker", &self.address()])
    }

    /// Returns a voltar command with the layout of one archive, but without an engine.
    pub fn without_engine(&self, args: &[impl AsRef<std::ffi::OsStr>]) -> Tool {
        self.any_voltar(args).arg("--layout").arg(self.at("layout.toml"))
    }

    /// Returns a voltar command on this engine, with the built-in layout.
    pub fn voltar_alone(&self, args: &[impl AsRef<std::ffi::OsStr>]) -> Tool {
        self.any_voltar(args).args(["--docker", &self.address()])
    }

    fn any_voltar(&self, args: &[impl AsRef<std::ffi::OsStr>]) -> Tool {
        Tool::voltar().args(args).env("VOLTAR_STATE_DIR", self.at("state")).dir(self.scratch.path())
    }

    /// Returns the same command in the mount namespace of the engine, where `/etc` is its own.
    pub fn inside(&self, args: &[impl AsRef<std::ffi::OsStr>]) -> Tool {
        let tool = self.host(env!("CARGO_BIN_EXE_voltar")).args(args);
        tool.arg("--layout").arg(self.at("layout.toml")).env("VOLTAR_STATE_DIR", self.at("state"))
    }

    /// Returns a command in the namespaces of the engine.
    pub fn host(&self, program: &str) -> Tool {
        let namespace = |option: &str, kind: &str| format!("--{option}=/proc/{}/ns/{kind}", self.process.pid());
        let namespaces = [namespace("mount", "mnt"), namespace("net", "net"), namespace("pid", "pid_for_children")];
        Tool::new("nsenter").args(namespaces).args(["--", program])
    }

    /// Returns a line of bash in the namespaces of the engine, where `docker` is its own, in `directory`.
    pub fn shell(&self, directory: &Path, line: &str) -> Tool {
        let line = format!("cd \"$0\"\n{line}");
        let bash = self.host("bash").args(["-euo", "pipefail", "-c", &line]).arg(directory);
        bash.env("DOCKER_HOST", self.address()).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
    }

    /// Runs compose v2 on a file; it must succeed.
    pub fn compose(&self, project: &str, file: &str, args: &[&str]) {
        self.compose_command(project, file, args).ok();
    }

    /// Returns a command of compose v2 on a file.
    pub fn compose_command(&self, project: &str, file: &str, args: &[&str]) -> Tool {
        let line = format!("docker compose --project-name {project} --file {file} {}", args.join(" "));
        self.shell(self.scratch.path(), &line)
    }

    /// Returns the path of a file of this directory.
    pub fn file(name: &str) -> String {
        format!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/engines/{}"), name)
    }

    /// Writes the layout of `container`, whose archive has its path `/data`.
    pub fn layout(&self, container: &str) {
        let text = format!("[[archive]]\nname = \"data\"\ncontainer = {container:?}\npath = \"/data\"\n");
        fs::write(self.at("layout.toml"), text).unwrap();
    }

    /// Returns the path of the archive that voltar writes to the directory `archives`.
    pub fn archive(&self) -> PathBuf {
        self.at("archives/data.tar")
    }
}

impl Drop for OtherEngine {
    fn drop(&mut self) {
        // The last act of an engine is to stop its containers.
        self.process.signal(self.kind.end);
        let begin = Instant::now();
        while !self.process.has_ended() && begin.elapsed() < Duration::from_secs(30) {
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Copies a directory with all attributes.
pub fn copy(from: &Path, to: &Path) {
    Tool::new("cp").arg("-a").arg(from).arg(to).ok();
}
