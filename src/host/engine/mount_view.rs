//! Compares the paths of this process with those of the engine.
//!
//! An engine names directories by their paths in its own mount namespace and below its own root directory. The same paths
//! are other directories for a voltar that runs in a container, in a systemd unit with private mounts or in a chroot, even
//! if the engine's data root is mounted there at its usual path. What is archived or restored then is not the volume.
//!
//! *The engine's process.* The peer of the Unix socket is the process that called listen(2) (`SO_PEERCRED`, unix(7)).
//! * Usually that is the engine.
//! * With socket activation (`docker.socket`), it is process 1, which has passed the socket on to the engine. Then the
//!   engine's own PID file names it. An engine without one (Podman; `--pidfile`) is taken to have the mounts of process 1,
//!   as a unit has without options for its mounts.
//! * It is 0 if the process is in a PID namespace that is not visible here: voltar is in a container, and the engine is
//!   not. Nothing can be compared, so that is refused.
//! * A proxy that listens instead of the engine is compared in its place. What it forwards to is not known here; there
//!   remains what [`super::locality`] proves: the engine's id or, before version 23, its host name and kernel.
//!
//! A TCP connection does not tell its peer. The process that the local PID file names is compared if there is one; else
//! there remains the engine's id, which proves that the data root is the engine's, but nothing of bind mounts.
//!
//! *The view.* A mount has an ID that is unique on the machine, and belongs to one namespace (proc(5)). So if
//! the same mount is at `/` for both processes, their namespace and their root directory are the same. Unlike
//! `/proc/PID/ns/mnt`, the table is readable for users other than root, and reflects chroot(2). Otherwise each directory
//! is compared by device and inode, and so is everything that is mounted below it.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::unistd::geteuid;

use crate::error::Cause;
use crate::host::rooted;
use crate::identity::FileId;
use crate::member::printable_path;
use crate::mountinfo::{self, Table};

use super::address::Address;

/// The PID file of `dockerd`, unless it is configured.
const PID_FILE: &str = "/var/run/docker.pid";
/// How many paths a message names.
const NAMED: usize = 3;

/// The result of a comparison.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Why the engine's paths must not be used here.
    pub(super) obstacle: Option<String>,
    /// What could not be compared, and is not refused.
    pub(super) note: Option<String>,
}

/// Compares the view of the engine at `address`, on whose socket process `peer` listens, with that of this process.
/// `root` is the engine's data root, and `sources` are the directories and files that it mounts into containers.
pub(super) fn compare(address: &Address, peer: i32, root: Option<&Path>, sources: &BTreeSet<PathBuf>) -> Seen {
    let obstacle = |obstacle: String| Seen { obstacle: Some(obstacle), note: None };
    let engine = match engine(address, peer) {
        Process::Id(pid) => pid,
        Process::Hidden => {
            return obstacle(format!(
                "the engine at {address} is outside of the PID namespace of voltar, as for a voltar in a container, so \
                 that it is not known whether its paths are those of voltar: run voltar on the host itself"
            ));
        }
        Process::Unknown => return Seen::default(),
    };
    let tables = mountinfo::table_of("self").and_then(|ours| Ok((ours, mountinfo::table_of(&engine.to_string())?)));
    let (ours, theirs) = match tables {
        Ok(tables) => tables,
        // `/proc` may hide the processes of other users (hidepid). A plan without root has always been possible, and root
        // alone reads what is in volumes.
        Err(cause) if !geteuid().is_root() => {
            return Seen {
                obstacle: None,
                note: Some(format!(
                    "only root can check that the paths of the engine at {address} are those of voltar ({})",
                    Cause::from(&cause)
                )),
            };
        }
        Err(cause) => return obstacle(not_compared(address, engine, &cause)),
    };
    if ours.root_id().is_some() && ours.root_id() == theirs.root_id() {
        return Seen::default();
    }
    let theirs_root = match File::open(format!("/proc/{engine}/root")) {
        Ok(directory) => directory,
        Err(cause) => return obstacle(not_compared(address, engine, &cause)),
    };
    // The call may be missing (before Linux 5.6) or denied (a seccomp filter).
    if let Err(cause) = identity_in(&theirs_root, Path::new("/")) {
        return obstacle(not_compared(address, engine, &cause));
    }
    let compared = to_compare(root, sources, &[&ours, &theirs]);
    let different = different(&theirs_root, &compared);
    if different.is_empty() {
        return Seen::default();
    }
    let mut paths: Vec<String> = different.iter().take(NAMED).map(|path| printable_path(path)).collect();
    if different.len() > NAMED {
        paths.push(format!("{} more", different.len() - NAMED));
    }
    obstacle(format!(
        "the engine at {address} (process {engine}) is in another mount namespace than voltar, where other files are at {}: \
         run voltar on the host itself, or in that namespace (`nsenter -t {engine} -m voltar …`)",
        paths.join(", ")
    ))
}

fn not_compared(address: &Address, engine: i32, cause: &io::Error) -> String {
    let cause = Cause::from(cause);
    format!(
        "the paths of the engine at {address} (process {engine}) cannot be compared with those of voltar ({cause}): run \
         voltar as root on the host itself"
    )
}

/// The process whose view is that of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Process {
    Id(i32),
    /// It has no id in the PID namespace of this process.
    Hidden,
    /// Nothing tells which process it is.
    Unknown,
}

impl Process {
    pub(super) fn id(self) -> Option<i32> {
        match self {
            Self::Id(pid) => Some(pid),
            Self::Hidden | Self::Unknown => None,
        }
    }
}

/// Returns the process of the engine at `address`, on whose socket process `peer` listens.
pub(super) fn engine(address: &Address, peer: i32) -> Process {
    process(address, peer, || pid_file(Path::new(PID_FILE)))
}

fn process(address: &Address, peer: i32, pid_file: impl FnOnce() -> Option<i32>) -> Process {
    match (address, peer) {
        (Address::Unix(_), 0) => Process::Hidden,
        (Address::Unix(_), 1) => Process::Id(pid_file().unwrap_or(1)),
        (Address::Unix(_), peer) => Process::Id(peer),
        (Address::Tcp(_), _) => pid_file().map_or(Process::Unknown, Process::Id),
    }
}

/// Returns the process in the engine's PID file; `None` if there is none, or if it is stale.
fn pid_file(path: &Path) -> Option<i32> {
    let pid: i32 = std::fs::read_to_string(path).ok()?.trim().parse().ok()?;
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    (name.trim_end() == "dockerd").then_some(pid)
}

/// Returns the paths that must be the same for both processes: the data root, the sources, and what is mounted below the
/// sources in either table. In the data root the engine mounts much else, such as the root directories of containers; of
/// that, only what is mounted below a volume counts.
fn to_compare(root: Option<&Path>, sources: &BTreeSet<PathBuf>, tables: &[&Table]) -> BTreeSet<PathBuf> {
    let mounted: Vec<PathBuf> = tables.iter().flat_map(|table| table.mounted()).collect();
    let below_root = |path: &Path| root.is_some_and(|root| path != root && path.starts_with(root));
    let mut paths: BTreeSet<PathBuf> = sources.clone();
    paths.extend(root.map(Path::to_owned));
    for source in sources {
        let canonical = source.canonicalize().unwrap_or_else(|_| source.clone());
        for source in [source, &canonical] {
            let nested = mountinfo::below(&mounted, source).filter(|point| below_root(source) || !below_root(point));
            paths.extend(nested.map(Path::to_owned));
        }
    }
    paths
}

/// Returns those of the absolute `paths` that are other files below the root directory `theirs` than here.
fn different(theirs: impl AsFd, paths: &BTreeSet<PathBuf>) -> Vec<&Path> {
    let same = |path: &Path| match (identity_in(&theirs, path), identity(path)) {
        (Ok(theirs), Ok(ours)) => theirs == ours,
        // Neither can read or write it; `reality` refuses a source that does not exist.
        (Err(theirs), Err(ours)) => is_missing(&theirs) && is_missing(&ours),
        (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
    };
    paths.iter().map(PathBuf::as_path).filter(|path| !same(path)).collect()
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn identity(path: &Path) -> io::Result<FileId> {
    let found = path.metadata()?;
    Ok(FileId { device: found.dev(), inode: found.ino() })
}

/// Returns the id of the file at `path` below the root directory `root`.
fn identity_in(root: impl AsFd, path: &Path) -> io::Result<FileId> {
    Ok(FileId::of_open(rooted::open(root, path, OFlag::O_PATH)?)?)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{Read as _, Write as _};
    use std::os::unix::fs::symlink;
    use std::os::unix::process::CommandExt as _;
    use std::process::{Command, Stdio};

    use super::*;

    fn paths(paths: &[&Path]) -> BTreeSet<PathBuf> {
        paths.iter().map(|&path| path.to_owned()).collect()
    }

    fn unix() -> Address {
        Address::Unix("/run/x.sock".into())
    }

    #[test]
    fn a_process_with_the_same_mounts_needs_no_comparison() {
        let own = std::process::id().try_into().unwrap();
        assert_eq!(compare(&unix(), own, None, &paths(&[Path::new("/proc/self")])), Seen::default());
    }

    #[test]
    fn the_engine_is_the_peer_or_what_process_1_has_started() {
        let tcp = Address::Tcp("127.0.0.1:2375".to_owned());
        for (address, peer, in_file, expected) in [
            (&unix(), 7, Some(8), Process::Id(7)),
            (&unix(), 1, Some(8), Process::Id(8)),
            (&unix(), 1, None, Process::Id(1)),
            (&unix(), 0, Some(8), Process::Hidden),
            (&tcp, 0, Some(8), Process::Id(8)),
            (&tcp, 0, None, Process::Unknown),
        ] {
            assert_eq!(process(address, peer, || in_file), expected, "{address} {peer} {in_file:?}");
        }
    }

    #[test]
    fn a_pid_file_that_names_another_program_is_stale() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("docker.pid");
        for content in [std::process::id().to_string(), i32::MAX.to_string(), "x".to_owned(), String::new()] {
            fs::write(&file, content).unwrap();
            assert_eq!(pid_file(&file), None);
        }
        assert_eq!(pid_file(&dir.path().join("none")), None);
        // The name of a process is that of the link to its program. It has that name once it runs the program, which may be
        // later than the return of `spawn`: the answer of `cat` says so.
        let program = dir.path().join("dockerd");
        symlink("/bin/cat", &program).unwrap();
        let mut running = Command::new(&program);
        let mut running = running.arg0("cat").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        running.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        running.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        fs::write(&file, format!("{}\n", running.id())).unwrap();
        let found = pid_file(&file);
        running.kill().and_then(|()| running.wait()).unwrap();
        assert_eq!(found, running.id().try_into().ok());
    }

    #[test]
    fn only_a_path_that_is_missing_on_both_sides_is_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let (missing, endless) = (dir.path().join("missing"), dir.path().join("endless"));
        symlink(&endless, &endless).unwrap();
        let both = paths(&[&missing, &endless]);
        assert_eq!(different(File::open("/").unwrap(), &both), [&endless]);
        assert_eq!(different(File::open(dir.path()).unwrap(), &both), [&endless], "it is missing there only");
    }

    #[test]
    fn an_engine_that_cannot_be_compared_is_an_obstacle() {
        let seen = compare(&unix(), 0, None, &BTreeSet::new());
        assert!(seen.obstacle.unwrap().contains("run voltar on the host itself"));
        // No process has this id: the kernel's limit is 2^22.
        let seen = compare(&unix(), i32::MAX, None, &BTreeSet::new());
        if geteuid().is_root() {
            assert!(seen.obstacle.unwrap().contains("cannot be compared with those of voltar (No such file"));
        } else {
            assert!(seen.obstacle.is_none() && seen.note.unwrap().contains("only root"));
        }
    }

    #[test]
    fn the_same_path_below_another_root_directory_is_another_file() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        fs::create_dir(&real).unwrap();
        let here = paths(&[&real]);
        assert!(different(File::open("/").unwrap(), &here).is_empty());
        // There, the path is missing; then another directory; then a link that leads to the right path, but only there.
        let other = dir.path().join("other");
        fs::create_dir(&other).unwrap();
        let root = || File::open(&other).unwrap();
        assert_eq!(different(root(), &here), [&real]);
        let there = other.join(real.strip_prefix("/").unwrap());
        fs::create_dir_all(there.parent().unwrap()).unwrap();
        symlink(&real, other.join("link")).unwrap();
        symlink("/link", &there).unwrap();
        assert_eq!(different(root(), &here), [&real], "the link does not lead out of the other root");
        fs::remove_file(&there).unwrap();
        fs::create_dir(&there).unwrap();
        assert_eq!(different(root(), &here), [&real]);
        let missing = dir.path().join("missing");
        assert!(different(root(), &paths(&[&missing])).is_empty());
    }

    #[test]
    fn what_is_mounted_below_a_source_is_compared_too() {
        let table = |points: &[&str]| {
            let lines: Vec<String> = points.iter().map(|point| format!("1 1 0:1 / {point} rw - x x rw")).collect();
            Table::of(lines.join("\n").as_bytes())
        };
        let ours = table(&["/", "/v/volumes/a/_data/n", "/v/overlay2/x"]);
        let theirs = table(&["/", "/srv/media", "/tmp"]);
        let sources = paths(&[Path::new("/v/volumes/a/_data"), Path::new("/srv")]);
        let compared = to_compare(Some(Path::new("/v")), &sources, &[&ours, &theirs]);
        let expected = ["/srv", "/srv/media", "/v", "/v/volumes/a/_data", "/v/volumes/a/_data/n"];
        assert_eq!(compared, paths(&expected.map(Path::new)));
        let root = paths(&[Path::new("/v")]);
        assert_eq!(to_compare(Some(Path::new("/v")), &root, &[&ours, &theirs]), root, "a container may mount it");
        let everything = to_compare(Some(Path::new("/v")), &paths(&[Path::new("/")]), &[&ours, &theirs]);
        assert_eq!(everything, paths(&["/", "/srv/media", "/tmp", "/v"].map(Path::new)));
    }
}
