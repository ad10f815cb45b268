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

/// A test's name and its body.
pub type Test = (&'static str, fn(&OtherEngine));

/// A kind of engine.
pub struct Kind {
    /// Its name, for the names of tests.
    pub name: &'static str,
    /// What it needs besides root and the engine of this machine, which has the image.
    pub needs: &'static [Needs],
    /// Starts it: bash, in namespaces of its own, with the scratch directory as `$1`. It must end with `exec`.
    pub script: &'static str,
    /// Its socket, in the scratch directory.
    pub socket: &'static str,
    /// Its root directory, in the scratch directory.
    pub root: &'static str,
    /// The user and the group on this host of the ids 0 and 1 of containers.
    pub ids: [(u32, u32); 2],
    /// Whether its containers can be created with `--userns=host`.
    pub has_host_ids: bool,
}

/// The kinds of engines that the tests run on.
pub const KINDS: &[&Kind] = &[&REMAPPED, &ROOTLESS];

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
    needs: &[],
    script: r#"
        getent passwd dockremap >/dev/null || useradd --system --user-group --shell /bin/false dockremap
        printf 'other:100000:65536\ndockremap:200000:65536\ndockremap:190000:10\n' >/etc/subuid
        printf 'dockremap:300000:65536\n' >/etc/subgid
        exec dockerd $alone --userns-remap=default --data-root "$scratch/root" --exec-root "$scratch/exec" \
            --pidfile "$scratch/pid" -H "unix://$scratch/docker.sock"
    "#,
    socket: "docker.sock",
    root: "root/200000.300000",
    ids: [(200_000, 300_000), (200_001, 300_001)],
    has_host_ids: true,
};

/// A rootless engine, as `dockerd-rootless.sh` starts it.
pub const ROOTLESS: Kind = Kind {
    name: "rootless",
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
    socket: "run/docker.sock",
    root: "home/.local/share/docker",
    ids: [(4321, 4321), (400_000, 500_000)],
    has_host_ids: false,
};

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
        Tool::new("docker").args(["save", "--output"]).arg(&image).arg("ubuntu").env_remove("DOCKER_HOST").ok();
        engine.command(["load", "--quiet", "--input"]).arg(&image).ok();
        engine
    }

    fn reset(&self) {
        for container in self.docker(["ps", "--all", "--quiet"]).lines() {
            self.docker(["rm", "--force", container]);
        }
        for volume in self.docker(["volume", "ls", "--quiet"]).lines() {
            // A failed test may leave files that a rootless engine cannot remove.
            Tool::new("find").arg(self.volume(volume)).args(["-mindepth", "1", "-delete"]).run();
            self.docker(["volume", "rm", volume]);
        }
        for directory in ["archives", "state"] {
            drop(fs::remove_dir_all(self.at(directory)));
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
        let tool = Tool::voltar().args(args).arg("--layout").arg(self.at("layout.toml"));
        tool.env("VOLTAR_STATE_DIR", self.at("state")).dir(self.scratch.path())
    }

    /// Returns the same command in the mount namespace of the engine, where `/etc` is its own.
    pub fn inside(&self, args: &[impl AsRef<std::ffi::OsStr>]) -> Tool {
        let namespace = format!("--mount=/proc/{}/ns/mnt", self.process.pid());
        let tool = Tool::new("nsenter").args([&namespace[..], "--", env!("CARGO_BIN_EXE_voltar")]).args(args);
        tool.arg("--layout").arg(self.at("layout.toml")).env("VOLTAR_STATE_DIR", self.at("state"))
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
        // Its last act is to stop its containers.
        self.process.signal(Signal::SIGTERM);
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
