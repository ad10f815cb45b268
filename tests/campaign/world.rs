//! What the campaign acts on: a data root with a few volumes and bind mounts, archives of their new content, and the old
//! content in place. It is at the same path for every point, since the data root holds absolute paths.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::statvfs::statvfs;
use tempfile::TempDir;

use crate::common::data_root::DataRoot;
use crate::common::is_root;
use crate::common::mounted::Mounted;
use crate::common::snapshot::TreeSnapshot;
use crate::common::tool::Tool;
use crate::common::tree::{Node, build, dir, fifo, file, hard_link, link, socket, sparse};
use crate::fake_engine::{FakeEngine, Known};

/// What is mounted in a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mount {
    /// A volume: exchanged.
    Volume,
    /// A volume whose directory has an extended attribute, which no new directory would have: its entries are moved.
    Marked,
    /// A directory of the host: its entries are moved.
    Bind,
    /// A file of the host, mounted in the tree of the mount before it.
    File,
    /// A volume that does not exist, and no container either.
    Created,
}

/// What voltar asks for containers and volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Host {
    /// The files in the data root: no container is running.
    DataRoot,
    /// The fake engine: all containers are running.
    Engine,
}

/// The compose project of the volumes.
const PROJECT: &str = "p";

/// The extended attribute of [`Mount::Marked`].
const NOTE: (&str, &str) = ("user.note", "kept");

/// A live tree or file.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) name: String,
    pub(crate) mount: Mount,
    /// Below the world.
    path: PathBuf,
    pub(crate) old: TreeSnapshot,
    pub(crate) new: TreeSnapshot,
}

/// The state of a live tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    Old,
    New,
    /// The differences from both.
    Neither(String),
}

/// A world, and the copy from which it is made again for each point.
pub(crate) struct World {
    /// Dropped first.
    disk: Option<Mounted>,
    scratch: TempDir,
    pub(crate) lives: Vec<Live>,
    /// All paths outside of the live trees, before anything is run.
    outside: BTreeSet<PathBuf>,
    engine: Option<(FakeEngine, Known)>,
    /// What is wrong with a tree on which a container was started.
    started_on: Arc<Mutex<Vec<String>>>,
}

/// What a world is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Medium {
    /// The filesystem of the scratch directory.
    Scratch,
    /// A filesystem in memory with these limits.
    Limited(&'static str),
    /// ext4 in an image of so many bytes.
    Image(u64),
}

fn mount_image(image: &Path, at: &Path) -> Mounted {
    Tool::new("mount").args(["-o", "loop"]).args([image, at]).ok();
    Mounted(at.to_owned())
}

const IMAGE: &str = "image";

/// What is left on a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    /// Bytes, and as many files as it can hold.
    Bytes(u64),
    /// Inodes.
    Files(u64),
}

const DISK: &str = "disk";

/// The name of the directory that fills the disk.
const BALLAST: &str = "ballast";

/// Returns a directory in memory where there is one: then syncs take no time.
fn scratch() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = tempfile::Builder::new().prefix("voltar-campaign-").tempdir_in(memory);
    let scratch = made.unwrap_or_else(|_| tempfile::tempdir().expect("a scratch directory"));
    // The path without symbolic links, as the kernel shows it.
    assert_eq!(scratch.path().canonicalize().expect("its path"), scratch.path());
    scratch
}

impl World {
    /// Makes a world with an archive for each of `archives`, which is a list of mounts: the first one is the tree's root. No
    /// archive holds the `sockets` that the old content has on request. It is on this `medium`, and voltar asks this `host`.
    pub(crate) fn new(archives: &[&[Mount]], sockets: bool, medium: Medium, host: Host) -> Self {
        let scratch = scratch();
        let disk = scratch.path().join(DISK);
        fs::create_dir(&disk).expect("a directory");
        let mounted = match medium {
            Medium::Scratch => None,
            Medium::Limited(limits) => Some(Mounted::memory(&disk, limits)),
            Medium::Image(bytes) => {
                let image = scratch.path().join(IMAGE);
                fs::File::create(&image).and_then(|file| file.set_len(bytes)).expect("an image");
                Tool::new("mkfs.ext4").args(["-q", "-J", "size=4", "-E", "lazy_itable_init=0"]).arg(&image).ok();
                Some(mount_image(&image, &disk))
            }
        };
        let root = disk.join("world");
        let data_root = DataRoot::new(&root.join("docker"));
        fs::create_dir_all(root.join("bound")).expect("a directory");
        // The source of a volume shows that the data root was not moved.
        data_root.volume("other");
        let mut layout = if host == Host::Engine { format!("project = {PROJECT:?}\n") } else { String::new() };
        let mut lives = Vec::new();
        for (number, mounts) in archives.iter().enumerate() {
            let name = ["one", "two", "three"][number];
            let mut container = data_root.container(name).mount("other", "/other");
            writeln!(layout, "[[archive]]\nname = {name:?}\ncontainer = {name:?}\npath = \"/srv/{name}\"")
                .expect("a string");
            if host == Host::Engine {
                writeln!(layout, "volume = {name:?}").expect("a string");
            }
            for mount in *mounts {
                let at = format!("/srv/{name}");
                let live = match mount {
                    Mount::Volume | Mount::Marked | Mount::Created => {
                        let volume = format!("{PROJECT}_{name}");
                        container = container.mount(&volume, &at);
                        data_root.volume(&volume)
                    }
                    Mount::Bind => {
                        let bound = root.join("bound").join(name);
                        container = container.bind(&bound, &at);
                        bound
                    }
                    Mount::File => {
                        let bound = root.join("bound").join(format!("{name}-file"));
                        container = container.bind(&bound, &format!("{at}/{MOUNTPOINT}"));
                        bound
                    }
                };
                let has_file = mounts.contains(&Mount::File);
                let content = |is_new: bool| match mount {
                    Mount::File => vec![single(name, is_new)],
                    _ => tree(number, is_new, has_file, sockets),
                };
                make(&live, *mount, &content(true));
                let path = live.strip_prefix(&root).expect("below the world").to_owned();
                let new = TreeSnapshot::of(&live);
                lives
                    .push((Live { name: name.to_owned(), mount: *mount, path, old: new.clone(), new }, content(false)));
            }
            container.write();
        }
        fs::write(root.join("layout.toml"), layout).expect("a layout");
        let mut this = Self {
            disk: mounted,
            scratch,
            lives: Vec::new(),
            outside: BTreeSet::new(),
            engine: None,
            started_on: Arc::default(),
        };
        this.voltar(&["backup", "backup", "--format", "tar"]).ok();
        for (mut live, old) in lives {
            let at = this.at(&live.path);
            if live.mount == Mount::Created {
                fs::remove_dir_all(at.parent().expect("a directory")).expect("removing");
                this.lives.push(live);
                continue;
            }
            if live.mount == Mount::File { fs::remove_file(&at) } else { fs::remove_dir_all(&at) }.expect("removing");
            make(&at, live.mount, &old);
            if live.mount == Mount::Marked {
                Tool::new("setfattr").args(["-n", NOTE.0, "-v", NOTE.1]).arg(&at).ok();
            }
            live.old = TreeSnapshot::of(&at);
            this.lives.push(live);
        }
        this.outside = this.outside();
        if host == Host::Engine {
            this.engine = Some(this.start_engine());
        }
        copy(&this.root(), &this.pristine());
        this.reset();
        this
    }

    /// Starts an engine that has the volumes which exist, and a running container for each.
    fn start_engine(&self) -> (FakeEngine, Known) {
        let engine = FakeEngine::of_root("1.41", &self.at("docker"));
        for live in self.lives.iter().filter(|live| live.mount != Mount::Created) {
            let volume = format!("{PROJECT}_{}", live.name);
            engine.add_volume(PROJECT, &live.name);
            engine.add_container(&live.name.repeat(16), &live.name, &volume, &format!("/srv/{}", live.name));
        }
        let started_on = Arc::clone(&self.started_on);
        let expected: Vec<_> = self.lives.iter().map(|live| (self.at(&live.path), live.clone())).collect();
        engine.on_start(move |id| {
            for (path, live) in expected.iter().filter(|(_, live)| live.name.repeat(16) == id) {
                let now = without_own(path);
                let is = |one: &TreeSnapshot| one.clone().without_root().diff(&now.clone().without_root()).is_empty();
                if !is(&live.old) && !is(&live.new) {
                    started_on.lock().expect("no panic here").push(live.name.clone());
                }
            }
        });
        let known = engine.known();
        (engine, known)
    }

    /// Waits until the engine has answered all requests, and checks that it started no container on half a tree.
    pub(crate) fn check_started(&self) -> Result<(), String> {
        let Some((engine, _)) = &self.engine else { return Ok(()) };
        engine.settle();
        match self.started_on.lock().expect("no panic here").pop() {
            Some(name) => Err(format!("container {name} was started while its tree was neither old nor new")),
            None => Ok(()),
        }
    }

    /// Checks that the containers which were running at the beginning are.
    pub(crate) fn check_running(&self) -> Result<(), String> {
        let Some((engine, _)) = &self.engine else { return Ok(()) };
        let running = engine.running();
        let is_stopped = |live: &&Live| live.mount != Mount::Created && !running.contains(&live.name);
        match self.lives.iter().find(is_stopped) {
            Some(live) => Err(format!("container {} is not running any more", live.name)),
            None => Ok(()),
        }
    }

    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.mountpoint().join("world")
    }

    /// The directory that holds the world, and nothing else before it is filled.
    fn mountpoint(&self) -> PathBuf {
        self.scratch.path().join(DISK)
    }

    /// Unmounts the disk, and returns the content of its image.
    pub(crate) fn take_image(&mut self) -> Vec<u8> {
        self.disk = None;
        fs::read(self.scratch.path().join(IMAGE)).expect("the image")
    }

    /// Unmounts the disk.
    pub(crate) fn unmount(&mut self) {
        self.disk = None;
    }

    /// Mounts the disk that is the file at `image`.
    pub(crate) fn mount(&mut self, image: &Path) {
        self.disk = Some(mount_image(image, &self.mountpoint()));
    }

    /// Makes what is on record a matter of another start of the machine: after a power cut devices have other numbers.
    pub(crate) fn restart(&self) {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").expect("the start of the machine");
        let Ok(records) = fs::read_dir(self.at("state")) else { return };
        for record in records {
            let path = record.expect("an entry").path();
            let text = fs::read_to_string(&path).expect("a record");
            if text.contains(boot.trim()) {
                fs::write(&path, text.replace(boot.trim(), "an earlier start")).expect("a record");
            }
        }
    }

    /// Leaves as much room on the disk, until [`World::empty`].
    pub(crate) fn fill(&self, room: Room) {
        let ballast = self.mountpoint().join(BALLAST);
        fs::create_dir(&ballast).expect("a directory");
        let status = statvfs(&ballast).expect("the disk");
        match room {
            Room::Bytes(left) => {
                let free = status.blocks_available() * status.fragment_size();
                let file = fs::File::create(ballast.join("bytes")).expect("a file");
                let length = i64::try_from(free.saturating_sub(left)).expect("a small disk");
                fallocate(&file, FallocateFlags::empty(), 0, length).expect("filling the disk");
            }
            Room::Files(left) => {
                for number in left..status.files_available() {
                    fs::File::create(ballast.join(number.to_string())).expect("a file");
                }
            }
        }
    }

    /// Makes room again.
    pub(crate) fn empty(&self) {
        fs::remove_dir_all(self.mountpoint().join(BALLAST)).expect("removing");
    }

    fn pristine(&self) -> PathBuf {
        self.scratch.path().join("pristine")
    }

    pub(crate) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        self.root().join(path)
    }

    /// Takes what is there now as the new content, but for the roots of trees, whose times depend on the run.
    pub(crate) fn take_as_new(&mut self) {
        let now: Vec<_> = self.lives.iter().map(|live| self.now(live)).collect();
        self.lives.iter_mut().zip(now).for_each(|(live, now)| live.new = now);
    }

    /// Takes everything as it is now as what each point begins with.
    pub(crate) fn take_as_old(&mut self) {
        let now: Vec<_> = self.lives.iter().map(|live| self.now(live)).collect();
        self.lives.iter_mut().zip(now).for_each(|(live, now)| live.old = now);
        fs::remove_dir_all(self.pristine()).expect("removing");
        self.outside = self.outside();
        copy(&self.root(), &self.pristine());
    }

    /// Makes everything as it was.
    pub(crate) fn reset(&self) {
        if self.root().exists() {
            fs::remove_dir_all(self.root()).expect("removing the world");
        }
        copy(&self.pristine(), &self.root());
        if let Some((engine, known)) = &self.engine {
            engine.set_known(known);
        }
    }

    /// Returns the arguments that say where containers and volumes are.
    fn host(&self) -> [String; 4] {
        let (option, host) = match &self.engine {
            Some((engine, _)) => ("--docker", engine.address()),
            None => ("--data-root", "docker".to_owned()),
        };
        [option.to_owned(), host, "--layout".to_owned(), "layout.toml".to_owned()]
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_voltar"));
        command.args(args).args(self.host()).current_dir(self.root());
        command.env("VOLTAR_STATE_DIR", self.at("state")).env("TZ", "UTC");
        command
    }

    pub(crate) fn voltar(&self, args: &[&str]) -> Tool {
        let tool = Tool::voltar().dir(self.root()).env("VOLTAR_STATE_DIR", self.at("state"));
        tool.args(args).args(self.host())
    }

    /// Returns a live tree as it is, without what voltar has left in it. Its root has another time while anything is left.
    pub(crate) fn now(&self, live: &Live) -> TreeSnapshot {
        without_own(&self.at(&live.path))
    }

    /// Compares a live tree with the old content and the new. With `strict` its root counts too.
    pub(crate) fn state(&self, live: &Live, strict: bool) -> State {
        let path = self.at(&live.path);
        if live.mount == Mount::Created && !path.parent().is_some_and(Path::exists) {
            return State::Old;
        }
        if !path.exists() {
            return State::Neither(format!("{} does not exist", live.path.display()));
        }
        if live.mount == Mount::Marked && !has_note(&path) {
            return State::Neither(format!("{} has lost its extended attribute", live.path.display()));
        }
        let now = self.now(live);
        let diff = |expected: &TreeSnapshot| {
            let strict = strict || live.mount == Mount::File;
            if strict { expected.diff(&now) } else { expected.clone().without_root().diff(&now.clone().without_root()) }
        };
        let (from_old, from_new) = (diff(&live.old), diff(&live.new));
        if from_old.is_empty() && live.mount != Mount::Created {
            State::Old
        } else if from_new.is_empty() {
            State::New
        } else {
            let show = |lines: Vec<String>| lines.into_iter().take(6).collect::<Vec<_>>().join("; ");
            State::Neither(format!("{}: from old: {}\n    from new: {}", live.name, show(from_old), show(from_new)))
        }
    }

    /// Returns the differences from the new content whose names are not in `text`.
    pub(crate) fn unnamed(&self, live: &Live, text: &str, strict: bool) -> Vec<String> {
        if !self.at(&live.path).exists() {
            return vec![format!("{} does not exist", live.name)];
        }
        let (expected, now) = (live.new.clone(), self.now(live));
        let strict = strict || live.mount == Mount::File;
        let lines = if strict { expected.diff(&now) } else { expected.without_root().diff(&now.without_root()) };
        let is_named = |line: &String| line.split(": ").next().is_some_and(|name| name != "." && text.contains(name));
        lines.into_iter().filter(|line| !is_named(line)).collect()
    }

    /// Returns everything outside of the live trees, and what voltar has left in them.
    fn outside(&self) -> BTreeSet<PathBuf> {
        let mut found = BTreeSet::new();
        self.visit(Path::new(""), &mut found);
        found
    }

    fn visit(&self, directory: &Path, found: &mut BTreeSet<PathBuf>) {
        let live = self.lives.iter().find(|live| live.path == directory);
        for entry in fs::read_dir(self.at(directory)).expect("a directory") {
            let entry = entry.expect("an entry");
            let path = directory.join(entry.file_name());
            let is_own = entry.file_name().as_bytes().starts_with(b".voltar-");
            if live.is_none() || is_own {
                if entry.file_type().expect("its type").is_dir() && !is_own {
                    self.visit(&path, found);
                }
                found.insert(path);
            }
        }
    }

    /// Returns what was not there before: leftovers, unless they are what was asked for.
    pub(crate) fn added(&self) -> Vec<PathBuf> {
        let created =
            |path: &Path| self.lives.iter().any(|live| live.mount == Mount::Created && live.path.starts_with(path));
        // Made by the first run that needs it.
        let is_expected = |path: &Path| path == Path::new("state") || created(path);
        self.outside().difference(&self.outside).filter(|path| !is_expected(path)).cloned().collect()
    }

    /// Returns what was there before and is not any more.
    pub(crate) fn removed(&self) -> Vec<PathBuf> {
        self.outside.difference(&self.outside()).cloned().collect()
    }

    /// Returns the kept trees of a live one.
    pub(crate) fn kept(&self, live: &Live) -> Vec<TreeSnapshot> {
        let path = self.at(&live.path);
        let beside = match live.mount {
            Mount::Volume | Mount::File | Mount::Created => path.parent().expect("a directory").to_owned(),
            Mount::Bind | Mount::Marked => path,
        };
        let is_dir = live.mount != Mount::File;
        let names = own_names(&beside).into_iter().filter(|name| name.starts_with(".voltar-previous-"));
        let paths = names.map(|name| beside.join(name));
        paths.filter(|path| path.is_dir() == is_dir).map(|path| TreeSnapshot::of(&path)).collect()
    }

    /// Returns the content of the archives in `directory` that have their names, by file name.
    pub(crate) fn archives(&self, directory: &str) -> Vec<(String, Vec<u8>)> {
        let Ok(entries) = fs::read_dir(self.at(directory)) else { return Vec::new() };
        let mut archives: Vec<_> = entries
            .map(|entry| entry.expect("an entry").path())
            .map(|path| (path.file_name().expect("a name").to_string_lossy().into_owned(), path))
            .filter(|(name, _)| !name.starts_with('.'))
            .map(|(name, path)| (name, fs::read(path).expect("an archive")))
            .collect();
        archives.sort();
        archives
    }
}

fn has_note(path: &Path) -> bool {
    let mut value = Vec::with_capacity(64);
    let got = rustix::fs::getxattr(path, NOTE.0, rustix::buffer::spare_capacity(&mut value));
    got.is_ok() && value == NOTE.1.as_bytes()
}

/// Returns a tree without what voltar has left in it.
fn without_own(path: &Path) -> TreeSnapshot {
    own_names(path).iter().fold(TreeSnapshot::of(path), |now, name| now.without(name))
}

/// Returns the names in a directory that only voltar gives.
fn own_names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(".voltar-")).collect()
}

/// Copies a tree with everything that belongs to it.
fn copy(from: &Path, to: &Path) {
    Tool::new("cp").args(["-a", "-T"]).args([from, to]).ok();
    debug_assert_eq!(fs::metadata(from).map(|one| one.mtime()).ok(), fs::metadata(to).map(|one| one.mtime()).ok());
}

/// The name of the single file in the tree.
const MOUNTPOINT: &str = "config";

/// The single file of an archive, in the directory that holds it.
fn single(archive: &str, is_new: bool) -> Node {
    let name = format!("{archive}-file");
    if is_new {
        file(name, "the new configuration").mode(0o640).mtime(1_000_000_100, 0)
    } else {
        file(name, "the old one").mode(0o604).mtime(1_100_000_100, 123)
    }
}

fn make(live: &Path, mount: Mount, nodes: &[Node]) {
    build(if mount == Mount::File { live.parent().expect("a directory") } else { live }, nodes);
}

/// Returns content of each kind, in which the same names are something else. The first archive holds the most.
fn tree(number: usize, is_new: bool, has_file: bool, sockets: bool) -> Vec<Node> {
    let owner = |node: Node, uid, gid| if is_root() { node.owner(uid, gid) } else { node };
    // Without root, what is closed could not be removed for the next point.
    let closed = |mode| if is_root() { mode } else { mode | 0o700 };
    let mut nodes = if is_new {
        vec![
            owner(dir("").mode(0o2750).mtime(1_000_000_000, 0), 999, 998),
            owner(file("both", "new").mode(0o4755).mtime(1_000_000_001, 0), 1000, 70),
            dir("changed").mode(0o700).mtime(1_000_000_003, 0),
            file("changed/inside", "a directory that was a file").mode(0o600).mtime(1_000_000_004, 0),
            link("link", "/etc/passwd").mtime(1_000_000_005, 0),
            file("empty", "").mode(0o644).mtime(1_000_000_006, 0),
        ]
    } else {
        vec![
            owner(dir("").mode(0o1777).mtime(1_100_000_000, 987_654_321), 70, 71),
            file("both", "old").mode(0o600).mtime(1_100_000_001, 5),
            file("changed", "a file").mode(0o644).mtime(1_100_000_003, 6),
            link("link", "elsewhere").mtime(1_100_000_004, 7),
            dir("old only").mode(closed(0o500)).mtime(1_100_000_005, 8),
        ]
    };
    if sockets && !is_new {
        nodes.push(socket("socket").mode(0o777).mtime(1_100_000_007, 10));
    }
    if number == 0 {
        let more = if is_new {
            vec![
                hard_link("changed/hard", "both"),
                fifo("fifo").mode(0o622).mtime(1_000_000_007, 0),
                sparse("sparse", &[(700_000, b"data")], 1_500_000).mode(0o644).mtime(1_000_000_008, 0),
                dir("deep").mode(0o755).mtime(1_000_000_009, 0),
                dir("deep/er").mode(closed(0o555)).mtime(1_000_000_010, 0),
                file("deep/er/file", vec![b'n'; 70_000]).mode(0o444).mtime(1_000_000_011, 0),
                file("unreadable", "x").mode(0o200).mtime(1_000_000_012, 0),
            ]
        } else {
            vec![
                hard_link("hard", "both"),
                dir("deep").mode(0o711).mtime(1_100_000_010, 11),
                file("deep/file", vec![b'o'; 5_000]).mode(0o640).mtime(1_100_000_011, 12),
            ]
        };
        nodes.extend(more);
    }
    if has_file {
        // As Docker makes it.
        nodes.push(file(MOUNTPOINT, "").mode(0o755).mtime(0, 0));
    }
    if !is_root() {
        // Without root, what cannot be read cannot be archived.
        nodes.retain(|node| !format!("{node:?}").starts_with("unreadable"));
    }
    nodes
}
