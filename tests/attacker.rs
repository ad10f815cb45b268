//! An application that exchanges directories, files and links while voltar works on its volumes: in the tree, on the way
//! to it, in place of the mount source, and in place of the staging directory. It has its volumes and nothing else of the
//! host, as a container or a user has; a file outside must be neither read nor changed.
//!
//! `VOLTAR_ATTACK_ROUNDS` is the number of exchanges (100,000).

#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]
#![allow(clippy::print_stdout, reason = "how much was attacked is the result")]

mod common;

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, lchown, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use common::data_root::DataRoot;
use common::skip::{Needs, run, test};
use common::tool::{Outcome, Tool};
use libtest_mimic::Arguments;
use nix::fcntl::{RenameFlags, renameat2};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, mkfifo, setfsgid, setfsuid};
use tempfile::TempDir;

fn main() {
    use Needs::{Program, Root};
    let tests = vec![
        test("nothing_outside_is_read_or_changed", &[Root], || attack(false)),
        test("nothing_outside_is_read_or_changed_without_openat2", &[Root, Program("python3")], || attack(true)),
    ];
    run(&Arguments::from_args(), tests, || {});
}

const SECRET: &str = "the secret of the host";
const USER: u32 = 1000;

/// Runs a program in which openat2(2) fails as on kernels before 5.6: number 437 on every architecture.
const WITHOUT_OPENAT2: &str = r#"
import ctypes, os, struct, sys
program = b"".join(struct.pack("HBBI", *i) for i in [(0x20, 0, 0, 0), (0x15, 0, 1, 437), (6, 0, 0, 0x50000 | 38), (6, 0, 0, 0x7fff0000)])
buffer = ctypes.create_string_buffer(program)
class Filter(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("program", ctypes.c_void_p)]
libc = ctypes.CDLL(None, use_errno=True)
assert libc.prctl(38, 1, 0, 0, 0) == 0
assert libc.prctl(22, 2, ctypes.byref(Filter(4, ctypes.addressof(buffer)))) == 0, os.strerror(ctypes.get_errno())
os.execv(sys.argv[1], sys.argv[1:])
"#;

/// A volume that is archived as a whole, one of which a directory is, and a bind mount; a file outside of them.
struct World {
    scratch: TempDir,
    /// The directories whose entries the attacker exchanges.
    places: Vec<Place>,
    without_openat2: bool,
}

/// A directory that the attacker can write to, and pairs of names in it that he exchanges.
#[derive(Clone)]
struct Place {
    directory: PathBuf,
    pairs: Vec<(&'static str, &'static str)>,
    /// Whether he also puts links in the place of staging directories.
    staging: bool,
}

impl World {
    fn new(without_openat2: bool) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let at = |name: &str| scratch.path().join(name);
        fs::set_permissions(scratch.path(), fs::Permissions::from_mode(0o711)).unwrap();
        fs::create_dir_all(at("host/media")).unwrap();
        for name in ["host/secret", "host/file", "host/media/secret"] {
            fs::write(at(name), SECRET).unwrap();
            fs::set_permissions(at(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        let docker = DataRoot::new(&at("docker"));
        let (whole, part, bound) = (docker.volume("whole"), docker.volume("part"), at("home/data"));
        docker.container("web").mount("whole", "/whole").mount("part", "/part").bind(&bound, "/bound").write();
        let entries = [("whole", "/whole"), ("part", "/part/app/media"), ("bound", "/bound")];
        let layout: String =
            entries.map(|(n, p)| format!("[[archive]]\nname='{n}'\ncontainer='web'\npath='{p}'\n")).concat();
        fs::write(at("layout.toml"), layout).unwrap();
        for tree in [&whole, &part.join("app/media"), &bound] {
            fs::create_dir_all(tree.join("media")).unwrap();
            for n in 0..300 {
                fs::write(tree.join(format!("media/file {n}")), format!("{n}").repeat(n)).unwrap();
            }
            fs::write(tree.join("file"), "the user's").unwrap();
            mkfifo(&tree.join("fifo"), Mode::S_IRWXU).unwrap();
            symlink(at("host/media"), tree.join("media-link")).unwrap();
            symlink(at("host/file"), tree.join("file-link")).unwrap();
            symlink(at("host/secret"), tree.join("fifo-link")).unwrap();
        }
        symlink(at("host"), part.join("app/away")).unwrap();
        symlink(at("host"), part.join("app-link")).unwrap();
        symlink(at("host"), at("home/data-link")).unwrap();
        for owned in [at("home"), whole.clone(), part.clone()] {
            give_to_user(&owned);
        }
        let inside =
            vec![("media", "media-link"), ("file", "file-link"), ("fifo", "fifo-link"), ("media", "file-link")];
        let places = vec![
            Place { directory: whole, pairs: inside.clone(), staging: false },
            Place { directory: part.join("app/media"), pairs: inside.clone(), staging: false },
            Place { directory: part.join("app"), pairs: vec![("media", "away")], staging: true },
            Place { directory: part, pairs: vec![("app", "app-link")], staging: false },
            Place { directory: bound, pairs: inside, staging: true },
            Place { directory: at("home"), pairs: vec![("data", "data-link")], staging: false },
        ];
        Self { scratch, places, without_openat2 }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn voltar(&self, command: &str, args: &[&str]) -> Tool {
        let program = env!("CARGO_BIN_EXE_voltar");
        let tool = if self.without_openat2 {
            Tool::new("python3").args(["-c", WITHOUT_OPENAT2, program])
        } else {
            Tool::new(program)
        };
        let tool = tool.dir(self.scratch.path()).env("VOLTAR_STATE_DIR", self.at("state"));
        tool.args([command, "--data-root", "docker", "--layout", "layout.toml"]).args(args)
    }

    /// What of the host the attacker aims at.
    fn outside(&self) -> Vec<(String, u32, u32, i64, String)> {
        let describe = |name: &str| {
            let status = fs::symlink_metadata(self.at(name)).unwrap();
            let content = if status.is_dir() {
                let names = fs::read_dir(self.at(name)).unwrap().map(|entry| entry.unwrap().file_name());
                let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
                names.sort();
                names.join(" ")
            } else {
                fs::read_to_string(self.at(name)).unwrap()
            };
            (name.to_owned(), status.mode(), status.uid(), status.mtime(), content)
        };
        ["host", "host/media", "host/secret", "host/file", "host/media/secret"]
            .iter()
            .map(|name| describe(name))
            .collect()
    }
}

/// Nothing that voltar wrote to `directory` holds the secret.
fn assert_secret_is_kept(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten() {
        let archive = fs::read(entry.unwrap().path()).unwrap();
        let found = archive.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
        assert!(!found, "an archive holds the secret");
    }
}

fn give_to_user(path: &Path) {
    lchown(path, Some(USER), Some(USER)).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give_to_user(&entry.unwrap().path());
        }
    }
}

/// The attacker's threads. They have the rights of an ordinary user.
struct Attacker {
    ended: Arc<AtomicBool>,
    rounds: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl Attacker {
    fn begin(world: &World) -> Self {
        let (ended, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let host = world.at("host");
        let begin = |place: Place| {
            let (ended, rounds, host) = (Arc::clone(&ended), Arc::clone(&rounds), host.clone());
            std::thread::spawn(move || {
                // For this thread alone; with it go the capabilities that override permissions.
                setfsgid(Gid::from_raw(USER));
                setfsuid(Uid::from_raw(USER));
                while !ended.load(Ordering::Relaxed) {
                    rounds.fetch_add(place.exchange(&host), Ordering::Relaxed);
                }
            })
        };
        let threads = world.places.iter().cloned().map(begin).collect();
        Self { ended, rounds, threads }
    }

    fn end(self) -> u64 {
        self.ended.store(true, Ordering::Relaxed);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
        self.rounds.load(Ordering::Relaxed)
    }
}

impl Place {
    /// Exchanges each pair once; returns how many exchanges succeeded.
    fn exchange(&self, host: &Path) -> u64 {
        // The directory itself may have another name at this moment.
        let Ok(directory) = File::open(&self.directory) else {
            std::thread::sleep(Duration::from_micros(20));
            return 0;
        };
        let mut rounds = 0;
        for (one, other) in &self.pairs {
            let done = renameat2(&directory, *one, &directory, *other, RenameFlags::RENAME_EXCHANGE);
            rounds += u64::from(done.is_ok());
        }
        if self.staging {
            for entry in fs::read_dir(&self.directory).into_iter().flatten().flatten() {
                let name = entry.file_name();
                if !name.to_string_lossy().starts_with(".voltar-restore-") {
                    continue;
                }
                let moved = format!("moved {}", name.display());
                let done = renameat2(&directory, &*name, &directory, &*moved, RenameFlags::RENAME_NOREPLACE);
                if done.is_ok() {
                    nix::unistd::symlinkat(host, directory.as_fd(), &*name).unwrap_or_default();
                    std::thread::sleep(Duration::from_millis(1));
                    nix::unistd::unlinkat(directory.as_fd(), &*name, nix::unistd::UnlinkatFlags::NoRemoveDir)
                        .unwrap_or_default();
                    let back = renameat2(&directory, &*moved, &directory, &*name, RenameFlags::RENAME_NOREPLACE);
                    rounds += 1 + u64::from(back.is_ok());
                }
            }
        }
        rounds
    }
}

fn attack(without_openat2: bool) {
    let wanted = std::env::var("VOLTAR_ATTACK_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(100_000);
    let world = World::new(without_openat2);
    let format = ["--format", "tar"];
    world.voltar("backup", &["archives"]).args(format).ok();
    let outside = world.outside();
    let mut outcomes = [0_u32; 3];
    let (mut rounds, mut runs) = (0, 0);
    let commands: [&[&str]; 6] = [
        &["backup", "again", "--overwrite", "--format", "tar"],
        &["restore", "archives"],
        &["restore", "archives", "--keep-previous"],
        &["restore", "archives", "--merge"],
        &["restore", "archives", "--in-place"],
        &["resume"],
    ];
    while rounds < wanted || runs < 3 * commands.len() {
        for (i, command) in commands.iter().enumerate() {
            for only in ["whole", "part", "bound"] {
                let attacker = Attacker::begin(&world);
                let mut tool = world.voltar(command[0], &command[1..]);
                if command[0] != "resume" {
                    tool = tool.args(["--only", only]);
                }
                // Half of the plain restores are killed, and recovered by what comes next.
                if i == 1 && runs % 2 == 0 {
                    let running = tool.spawn(&world.at("log"));
                    std::thread::sleep(Duration::from_millis(u64::try_from(runs % 40).unwrap()));
                    running.signal(Signal::SIGKILL);
                    running.wait();
                } else {
                    let outcome: Outcome = tool.run();
                    let code = outcome.status.code().unwrap_or(101);
                    let text = outcome.text();
                    assert!((0..3).contains(&code) && !text.contains("panicked"), "{command:?} {only}: {code}: {text}");
                    outcomes[usize::try_from(code).unwrap()] += 1;
                }
                rounds += attacker.end();
                assert_eq!(world.outside(), outside, "{command:?} {only}");
                assert_secret_is_kept(&world.at("again"));
                runs += 1;
                tidy(&world);
            }
        }
    }
    let [done, warned, refused] = outcomes;
    println!("{rounds} exchanges during {runs} runs; status 0: {done}, 1: {warned}, 2: {refused}");
    assert!(done + warned > 0 && refused > 0, "both must happen, or the attack tests nothing");
}

/// Puts the directories back where the next run finds them, and removes what the attacker and kept trees have left.
fn tidy(world: &World) {
    let at = |name: &str| world.at(name);
    let swap_back = |directory: &Path, one: &str, other: &str| {
        let is_link = |name: &str| directory.join(name).symlink_metadata().is_ok_and(|status| status.is_symlink());
        if is_link(one) && directory.join(other).symlink_metadata().is_ok() && !is_link(other) {
            let directory = File::open(directory).unwrap();
            renameat2(&directory, one, &directory, other, RenameFlags::RENAME_EXCHANGE).unwrap();
        }
    };
    swap_back(&at("home"), "data", "data-link");
    let part = at("docker/volumes/part/_data");
    swap_back(&part, "app", "app-link");
    swap_back(&part.join("app"), "media", "away");
    for directory in [at("home/data"), part.join("app"), at("docker/volumes/whole")] {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_empty = || fs::read_dir(entry.path()).is_ok_and(|mut entries| entries.next().is_none());
            if name.starts_with(".voltar-previous-") {
                fs::remove_dir_all(entry.path()).unwrap();
            } else if name.starts_with("moved ") && is_empty() {
                fs::remove_dir(entry.path()).unwrap();
            }
        }
    }
    chown(at("home"), Some(USER), Some(USER)).unwrap();
}
