//! The CVAT-like stack: created and filled once, reset for every test, and removed at the end.

use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use tempfile::TempDir;

pub use crate::common::data_root::layout;
use crate::common::engine::{PROJECTS, docker};
use crate::common::snapshot::TreeSnapshot;
use crate::common::tool::{Tool, installed};

/// A test's name and its body, which gets a stopped stack in its initial state.
pub type Test = (&'static str, fn(&Stack));

/// The volumes in the guide's archives, without the prefix of the project.
pub const VOLUMES: [&str; 2] = ["cvat_db", "cvat_data"];

const PROJECT: &str = PROJECTS[0];
const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e");

static STACK: Mutex<Option<Stack>> = Mutex::new(None);

/// The stack, with a working directory for the administrator.
pub struct Stack {
    scratch: TempDir,
    rows: String,
    /// Serializes test runs of several checkouts on one engine.
    _turn: Flock<File>,
}

/// Runs `body` with the stopped stack in its initial state. The first call creates the stack.
pub fn with(body: fn(&Stack)) {
    // A failed test has released the lock, but poisoned it.
    let mut stack = STACK.lock().unwrap_or_else(PoisonError::into_inner);
    let stack = stack.get_or_insert_with(Stack::up);
    stack.reset();
    body(stack);
}

/// Removes everything except the images, which the next run uses again.
pub fn take_down() {
    let stack = STACK.lock().unwrap_or_else(PoisonError::into_inner).take();
    if stack.is_some() {
        // Before `stack` is dropped, which releases the lock.
        remove_everything();
    }
}

#[allow(clippy::unused_self, reason = "its containers may be used only while the stack is locked")]
impl Stack {
    fn up() -> Self {
        let turn = File::create(std::env::temp_dir().join("voltar-e2e.lock")).unwrap();
        let turn = Flock::lock(turn, FlockArg::LockExclusive).unwrap();
        Tool::new("bash").arg(format!("{DIRECTORY}/images.sh")).ok();
        remove_everything();
        let stack = Self { scratch: tempfile::tempdir().unwrap(), rows: String::new(), _turn: turn };
        stack.compose(&["up", "-d"]);
        wait_for_database();
        let sql =
            Tool::new("python3").args([&format!("{DIRECTORY}/populate.py"), "sql", "--megabytes", "2"]).ok().stdout;
        Tool::new("docker")
            .args(["exec", "-i", "cvat_db", "psql", "-q", "-v", "ON_ERROR_STOP=1", "-U", "root", "cvat"])
            .input(sql)
            .ok();
        let rows = rows();
        stack.stop();
        Tool::new("python3")
            .args([&format!("{DIRECTORY}/populate.py"), "media", "--megabytes", "16"])
            .arg(stack.volume("cvat_data"))
            .ok();
        for volume in VOLUMES {
            copy(&stack.volume(volume), &stack.initial_state(volume));
        }
        Self { rows, ..stack }
    }

    fn reset(&self) {
        self.compose(&["up", "--no-start"]);
        self.stop();
        for volume in VOLUMES {
            let data = self.volume(volume);
            // Also removes what an interrupted restore left beside the tree.
            for entry in fs::read_dir(data.parent().unwrap()).unwrap() {
                let path = entry.unwrap().path();
                if path != data {
                    drop(fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path)));
                }
            }
            if data.exists() {
                empty(&data);
            } else {
                fs::create_dir(&data).unwrap();
            }
            copy(&self.initial_state(volume), &data);
        }
        for directory in ["work", "state"] {
            let directory = self.scratch.path().join(directory);
            drop(fs::remove_dir_all(&directory));
            fs::create_dir(&directory).unwrap();
        }
    }

    fn initial_state(&self, volume: &str) -> PathBuf {
        self.scratch.path().join("first").join(volume)
    }

    /// Returns the administrator's working directory, which contains `backup`.
    pub fn work(&self) -> PathBuf {
        self.scratch.path().join("work")
    }

    /// Returns a path in the working directory.
    pub fn at(&self, name: &str) -> PathBuf {
        self.work().join(name)
    }

    /// Returns the names in the archive directory, sorted; none if it does not exist.
    pub fn archives(&self) -> Vec<String> {
        names(&self.at("backup"))
    }

    /// Returns the mountpoint of a volume of the stack.
    pub fn volume(&self, name: &str) -> PathBuf {
        mountpoint(&format!("{PROJECT}_{name}"))
    }

    /// Runs the stack's compose command and fails unless it succeeds.
    pub fn compose(&self, args: &[&str]) {
        compose(PROJECT, &["docker-compose.yml"], args);
    }

    /// Starts all containers and waits for the database.
    pub fn start(&self) {
        self.compose(&["start"]);
        wait_for_database();
    }

    /// Stops all containers.
    pub fn stop(&self) {
        self.compose(&["stop"]);
    }

    /// Returns the stack's running containers, sorted.
    pub fn running(&self) -> Vec<String> {
        let filter = format!("label=com.docker.compose.project={PROJECT}");
        let mut names: Vec<String> =
            docker(["ps", "--filter", &filter, "--format", "{{.Names}}"]).lines().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// Returns a snapshot of a volume.
    pub fn snapshot(&self, volume: &str) -> TreeSnapshot {
        TreeSnapshot::of(&self.volume(volume))
    }

    /// Returns snapshots of both volumes in the guide's archives.
    pub fn snapshots(&self) -> [TreeSnapshot; 2] {
        VOLUMES.map(|volume| self.snapshot(volume))
    }

    /// Fails unless both volumes are unchanged.
    #[track_caller]
    pub fn assert_unchanged(&self, before: &[TreeSnapshot; 2]) {
        for (before, volume) in before.iter().zip(VOLUMES) {
            before.assert_same(&self.snapshot(volume), &format!("{volume}, which should not have changed"));
        }
    }

    /// Starts the stack and fails unless the database has the rows it was filled with.
    #[track_caller]
    pub fn assert_database_is_intact(&self) {
        self.start();
        assert_eq!(rows(), self.rows, "the database's rows");
    }

    /// Returns a voltar command in the working directory.
    pub fn voltar(&self, args: &[&str]) -> Tool {
        Tool::voltar().dir(self.work()).env("VOLTAR_STATE_DIR", self.scratch.path().join("state")).args(args)
    }

    /// Runs the guide's backup commands, as printed there.
    pub fn documented_backup(&self) {
        for line in [
            "mkdir backup",
            "docker run --rm --name temp_backup --volumes-from cvat_db -v $(pwd)/backup:/backup ubuntu \
             tar -cjvf /backup/cvat_db.tar.bz2 /var/lib/postgresql/data",
            "docker run --rm --name temp_backup --volumes-from cvat -v $(pwd)/backup:/backup ubuntu \
             tar -cjvf /backup/cvat_data.tar.bz2 /home/django/data",
        ] {
            Tool::shell(line).dir(self.work()).ok();
        }
    }

    /// Runs the guide's restore commands, as printed there.
    pub fn documented_restore(&self) {
        for line in [
            "docker run --rm --name temp_backup --volumes-from cvat_db -v $(pwd):/backup ubuntu \
             bash -c \"cd /var/lib/postgresql/data && tar -xvf /backup/cvat_db.tar.bz2 --strip 4\"",
            "docker run --rm --name temp_backup --volumes-from cvat -v $(pwd):/backup ubuntu \
             bash -c \"cd /home/django/data && tar -xvf /backup/cvat_data.tar.bz2 --strip 3\"",
        ] {
            Tool::shell(line).dir(self.at("backup")).ok();
        }
    }

    /// Empties both volumes and keeps their root directories.
    pub fn empty_volumes(&self) {
        for volume in VOLUMES {
            empty(&self.volume(volume));
        }
    }
}

/// Runs a compose command on files of this directory, or on others by their absolute paths. It must succeed.
pub fn compose(project: &str, files: &[&str], args: &[&str]) {
    compose_command(project, files, args).ok();
}

/// Returns a compose command on files of this directory, or on others by their absolute paths.
pub fn compose_command(project: &str, files: &[&str], args: &[&str]) -> Tool {
    // Compose v2 is a plug-in of docker, v1 is a separate program.
    let command =
        if installed("docker-compose") { Tool::new("docker-compose") } else { Tool::new("docker").arg("compose") };
    let files = files.iter().map(|file| Path::new(DIRECTORY).join(file));
    let files = files.flat_map(|file| ["-f".into(), file.into_os_string()]);
    command.args(["-p", project]).args(files).args(args)
}

/// Returns the mountpoint of a volume.
pub fn mountpoint(volume: &str) -> PathBuf {
    docker(["volume", "inspect", "--format", "{{.Mountpoint}}", volume]).into()
}

/// Returns the names in a directory, sorted; none if it does not exist.
pub fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| voltar::member::printable(entry.unwrap().file_name().as_bytes())).collect();
    names.sort();
    names
}

/// Removes the content of a directory.
pub fn empty(directory: &Path) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            fs::remove_dir_all(&path).unwrap();
        } else {
            fs::remove_file(&path).unwrap();
        }
    }
}

/// Copies a tree with all attributes, including those of its root.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    Tool::new("cp").arg("-a").arg(from.join(".")).arg(to).ok();
}

/// Waits until `done` returns true, for up to a minute.
#[track_caller]
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(60), "waited a minute for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until the database answers queries.
#[track_caller]
pub fn wait_for_database() {
    wait_until("the database", || {
        let query = ["exec", "cvat_db", "psql", "-U", "root", "-c", "SELECT 1", "cvat"];
        let answers = Tool::new("docker").args(query).run().status.success();
        if !answers {
            std::thread::sleep(Duration::from_millis(200));
        }
        answers
    });
}

/// Returns the result of a database query.
#[track_caller]
pub fn query(sql: &str) -> String {
    docker(["exec", "cvat_db", "psql", "-At", "-U", "root", "-c", sql, "cvat"])
}

/// Returns the number and a checksum of the rows of every table.
#[track_caller]
pub fn rows() -> String {
    let tables = ["engine_task", "engine_job", "engine_label", "engine_labeledshape", "engine_attributeval"];
    tables
        .map(|table| {
            let digest = query(&format!("SELECT count(*), md5(string_agg(t::text, '|' ORDER BY id)) FROM {table} t"));
            format!("{table} {digest}")
        })
        .join("\n")
}

/// Removes all containers and volumes of the tests' projects, including those of earlier runs.
fn remove_everything() {
    for project in PROJECTS {
        // Single containers have the project in their name, those of compose files have a label.
        for filter in [format!("name=^/{project}-"), format!("label=com.docker.compose.project={project}")] {
            for container in docker(["ps", "--all", "--quiet", "--filter", &filter]).lines() {
                docker(["rm", "--force", container]);
            }
        }
        for volume in docker(["volume", "ls", "--quiet", "--filter", &format!("name=^{project}_")]).lines() {
            docker(["volume", "rm", volume]);
        }
    }
}

/// The end of a container's script: it waits for signals.
pub const WAIT: &str = "while :; do sleep 3600 & wait $!; done";

/// A container outside the stack, removed when dropped.
pub struct Container(String);

impl Container {
    /// Runs `docker create` with these options and a process that waits for SIGTERM.
    pub fn create(name: &str, options: &[&str]) -> Self {
        Self::with_script(name, options, &format!("trap 'exit 0' TERM; {WAIT}"))
    }

    /// Runs `docker create` with these options and a process that runs `script`.
    pub fn with_script(name: &str, options: &[&str], script: &str) -> Self {
        Self::of_image("ubuntu", name, options, script)
    }

    /// The same, from another image.
    pub fn of_image(image: &str, name: &str, options: &[&str], script: &str) -> Self {
        let name = format!("{PROJECT}-{name}");
        let fixed = ["create", "--network", "none", "--name", &name];
        docker(fixed.into_iter().chain(options.iter().copied()).chain([image, "bash", "-c", script]));
        Self(name)
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Starts it.
    pub fn start(&self) {
        docker(["start", &self.0]);
    }

    /// Checks the content of a file in the running container.
    pub fn assert_sees(&self, path: &str, content: &str) {
        assert_eq!(docker(["exec", &self.0, "cat", path]), content);
    }

    /// Returns whether it is running.
    pub fn is_running(&self) -> bool {
        docker(["inspect", "--format", "{{.State.Running}}", &self.0]) == "true"
    }

    /// Returns the time of its last start.
    pub fn started(&self) -> String {
        docker(["inspect", "--format", "{{.State.StartedAt}}", &self.0])
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        Tool::new("docker").args(["rm", "--force", &self.0]).run();
    }
}

/// A volume outside the stack, removed when dropped.
pub struct Volume(String);

impl Volume {
    /// Runs `docker volume create` with these options.
    pub fn create(name: &str, options: &[&str]) -> Self {
        let name = format!("{PROJECT}_{name}");
        docker(["volume", "create"].into_iter().chain(options.iter().copied()).chain([name.as_str()]));
        Self(name)
    }

    /// Creates a volume that the engine mounts as long as a container uses it: an overlay in `directory`, above the
    /// files in `directory/lower`.
    pub fn overlay(name: &str, directory: &Path) -> Self {
        for layer in ["lower", "upper", "work"] {
            fs::create_dir_all(directory.join(layer)).unwrap();
        }
        let at = directory.display();
        let layers = format!("o=lowerdir={at}/lower,upperdir={at}/upper,workdir={at}/work");
        Self::create(name, &["-o", "type=overlay", "-o", "device=overlay", "-o", &layers])
    }

    /// Creates a volume that is bound to `directory`.
    pub fn bound(name: &str, directory: &Path) -> Self {
        let device = format!("device={}", directory.display());
        Self::create(name, &["-o", "type=none", "-o", "o=bind", "-o", &device])
    }

    /// Returns its name.
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Returns its mountpoint.
    pub fn path(&self) -> PathBuf {
        mountpoint(&self.0)
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        Tool::new("docker").args(["volume", "rm", &self.0]).run();
    }
}
