//! What would be done, decided before anything is: which archives, from which mounts, how big, and every
//! reason why not. A plan is a value: `voltar plan` prints it, `voltar backup` carries it out. Writes nothing.

pub mod measure;

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use nix::sys::statvfs::statvfs;
use nix::unistd::{AccessFlags, access};

use crate::archiver::{Expected, Job};
use crate::codec::Compression;
use crate::error::{Error, Result};
use crate::host::mounts::{MountTree, TreeMount};
use crate::host::{Container, Host, Inventory, MountKind, State, reality};
use crate::layout::Layout;
use crate::monitor::Monitor;
use crate::ordered::Pool;
use crate::places::unfinished;
use crate::resolve::{Selection, Target, survey};
use crate::stored;
use crate::volume::{Graft, Grafted};
use measure::{Measured, measure};

/// What a backup is asked to do.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which archives there can be.
    pub layout: Layout,
    /// Which of them.
    pub selection: Selection,
    /// Where the archives go.
    pub directory: PathBuf,
    /// How they are compressed.
    pub compression: Compression,
    /// What is done about containers that run.
    pub running: Running,
    /// Replace archives that exist.
    pub overwrite: bool,
    /// Take empty trees for real ones.
    pub allow_empty: bool,
}

/// What is done about running containers that use the volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Running {
    /// Nothing is archived or restored.
    Refuse,
    /// They are stopped, and started again afterwards.
    Stop,
    /// They go on; the archive may mix old and new.
    Allow,
}

/// What a backup would do.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Where the knowledge comes from.
    pub source: String,
    /// Remarks on that.
    pub notes: Vec<String>,
    /// The archives, in the layout's order.
    pub archives: Vec<Planned>,
    /// Archives that this host could give but nobody asked for.
    pub left_out: Vec<String>,
    /// Where they go.
    pub directory: PathBuf,
    /// Bytes free there, if that can be told.
    pub free_bytes: Option<u64>,
    /// Why it would not be done. Empty: it would.
    pub refusals: Vec<Refusal>,
}

/// One archive of a plan.
#[derive(Debug, Clone)]
pub struct Planned {
    /// Which container and mounts.
    pub target: Target,
    /// The archive file.
    pub file: PathBuf,
    /// The tree in figures; `None` where it cannot be walked.
    pub measured: Option<Measured>,
}

/// A reason why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// One line.
    pub message: String,
    /// The way out.
    pub hint: Option<String>,
}

impl From<&Error> for Refusal {
    fn from(error: &Error) -> Self {
        Self { message: error.to_string(), hint: error.advice().map(str::to_owned) }
    }
}

impl From<&Refusal> for Error {
    fn from(refusal: &Refusal) -> Self {
        let error = Self::refused(&refusal.message);
        match &refusal.hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }
}

/// Archives that are estimated at up to this many percent over the free space are tried: an estimate is no
/// promise, and a disk that does fill up costs nothing but the time.
const MARGIN: u64 = 2;

/// Plans a backup.
///
/// # Errors
/// Only where nothing can be said at all: the host does not answer, the layout fits nothing here.
pub fn plan(request: &Request, host: &dyn Host, pool: &Pool, monitor: &dyn Monitor) -> Result<Plan> {
    let inventory = host.inventory()?;
    let resolution = survey(&request.layout, &inventory, &request.selection)?;
    let mut refusals = obstacles(&inventory);
    refusals.extend(resolution.problems.iter().map(Refusal::from));
    let mut archives = Vec::new();
    for target in resolution.targets {
        let file = request.directory.join(stored::file_name(&target.archive, request.compression.format));
        let reasons = unreal(&target, &inventory)?;
        let mut measured = None;
        if reasons.is_empty() {
            match measure(&grafts(&target.tree), request.compression, pool, monitor) {
                Ok(figures) => {
                    measured = Some(figures);
                    refusals.extend(too_empty(&target, &figures, request.allow_empty));
                }
                Err(error) if monitor.cancelled() => return Err(error),
                Err(error) => refusals.push(Refusal::from(&error.within(&target.archive))),
            }
        }
        refusals.extend(reasons);
        refusals.extend(unfinished(&target.tree).into_iter().map(|e| Refusal::from(&e.within(&target.archive))));
        refusals.extend(taken(&target, &file, request));
        archives.push(Planned { target, file, measured });
    }
    refusals.extend(in_use(archives.iter().map(|planned| &planned.target), request.running));
    let free_bytes = free_bytes(&request.directory);
    refusals.extend(directory_troubles(&archives, &request.directory, free_bytes));
    Ok(Plan {
        source: host.describe(),
        notes: inventory.notes,
        archives,
        left_out: resolution.left_out,
        directory: request.directory.clone(),
        free_bytes,
        refusals,
    })
}

impl Plan {
    /// All reasons against it as one error.
    pub fn check(&self) -> Result<()> {
        Error::none_of(self.refusals.iter().map(Error::from).collect())
    }

    /// What has to be written.
    pub fn jobs(&self, allow_empty: bool) -> Vec<Job> {
        let job = |planned: &Planned| Job {
            archive: planned.target.archive.clone(),
            prefix: planned.target.tree.path.clone(),
            grafts: grafts(&planned.target.tree),
            target: planned.file.clone(),
            expected_bytes: planned.measured.map(|measured| measured.stream_bytes),
            expected: expected(&planned.target.tree, allow_empty),
        };
        self.archives.iter().map(job).collect()
    }

    /// All containers that use what is to be archived, each once.
    pub fn users(&self) -> Vec<Container> {
        users(self.archives.iter().map(|planned| &planned.target))
    }
}

/// The containers that use any of the targets' volumes, each once.
pub fn users<'a>(targets: impl Iterator<Item = &'a Target>) -> Vec<Container> {
    let mut users: Vec<Container> = Vec::new();
    for container in targets.flat_map(|target| &target.users) {
        if users.iter().all(|known| known.id != container.id) {
            users.push(container.clone());
        }
    }
    users
}

/// The mounts of a tree as pieces to walk.
pub fn grafts(tree: &MountTree) -> Vec<Graft> {
    let graft = |mount: &TreeMount| Graft {
        at: mount.at.clone(),
        content: match mount.kind {
            MountKind::Tmpfs => Grafted::Empty,
            MountKind::Volume { .. } | MountKind::Bind | MountKind::Other(_) => Grafted::Host(mount.root()),
        },
    };
    tree.mounts.iter().map(graft).collect()
}

/// Why nothing on this host can be trusted to be the engine's.
pub fn obstacles(inventory: &Inventory) -> Vec<Refusal> {
    inventory.obstacles.iter().map(|message| Refusal { message: message.clone(), hint: None }).collect()
}

/// Why the mounts of a target are not really there.
pub fn unreal(target: &Target, inventory: &Inventory) -> Result<Vec<Refusal>> {
    let reasons = reality::obstacles(&target.tree, &inventory.volumes)?;
    Ok(reasons.into_iter().map(|error| Refusal::from(&error.within(&target.archive))).collect())
}

/// Why running containers forbid it.
pub fn in_use<'a>(targets: impl Iterator<Item = &'a Target>, running: Running) -> Vec<Refusal> {
    let users = users(targets);
    let named = |state: State| -> Vec<&str> {
        users.iter().filter(|user| user.state == state).map(|user| user.name.as_str()).collect()
    };
    let (active, paused) = (named(State::Running), named(State::Paused));
    let mut refusals = Vec::new();
    if running == Running::Refuse && !active.is_empty() {
        refusals.push(Refusal {
            message: format!("containers that use these volumes are running: {}", active.join(", ")),
            hint: Some("stop them, or let voltar stop them and start them again: --stop".to_owned()),
        });
    }
    if running != Running::Allow && !paused.is_empty() {
        refusals.push(Refusal {
            message: format!("containers that use these volumes are paused: {}", paused.join(", ")),
            hint: Some("a paused container cannot be brought back as it was: unpause or stop it first".to_owned()),
        });
    }
    let passing = users.iter().filter(|user| user.auto_remove && user.state == State::Running);
    let passing: Vec<&str> = passing.map(|user| user.name.as_str()).collect();
    if running == Running::Stop && !passing.is_empty() {
        refusals.push(Refusal {
            message: format!("containers that use these volumes go when they stop (--rm): {}", passing.join(", ")),
            hint: Some("voltar could not start them again: let them end, or stop them yourself".to_owned()),
        });
    }
    refusals
}

/// What a tree must hold: a cluster, where PostgreSQL's image keeps its data.
fn expected(tree: &MountTree, allow_empty: bool) -> Expected {
    match (allow_empty, tree.path.as_bytes() == b"var/lib/postgresql/data") {
        (true, _) => Expected::Anything,
        (false, true) => Expected::Database,
        (false, false) => Expected::Members,
    }
}

fn too_empty(target: &Target, measured: &Measured, allow_empty: bool) -> Option<Refusal> {
    let what = expected(&target.tree, allow_empty).missing(measured.members, measured.database)?;
    Some(Refusal {
        message: format!("{}: '/{}' {what}", target.archive, target.tree.path),
        hint: Some("is this the right volume? --allow-empty archives it all the same".to_owned()),
    })
}

fn taken(target: &Target, file: &Path, request: &Request) -> Option<Refusal> {
    let there = file.symlink_metadata().ok()?;
    if there.is_file() && request.overwrite {
        return None;
    }
    Some(Refusal {
        message: format!("{}: '{}' exists already", target.archive, file.display()),
        hint: Some(if there.is_file() {
            "--overwrite replaces it once the new one is whole; or name another directory".to_owned()
        } else {
            "it is no regular file: remove it or name another directory".to_owned()
        }),
    })
}

/// The nearest directory on the way to `path` that exists.
fn existing(path: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    absolute.ancestors().find(|ancestor| ancestor.exists()).and_then(|ancestor| ancestor.canonicalize().ok())
}

/// Bytes that can still be written below `path`.
pub fn free_bytes(path: &Path) -> Option<u64> {
    let status = statvfs(&existing(path)?).ok()?;
    Some(status.blocks_available() * status.fragment_size())
}

fn directory_troubles(archives: &[Planned], directory: &Path, free_bytes: Option<u64>) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    let Some(existing) = existing(directory) else { return refusals };
    if !existing.is_dir() {
        refusals.push(Refusal { message: format!("'{}' is not a directory", directory.display()), hint: None });
    } else if let Err(e) = access(&existing, AccessFlags::W_OK | AccessFlags::X_OK) {
        let error = Error::failed("cannot write to", existing.as_os_str().as_bytes(), e);
        refusals.push(Refusal::from(&error));
    }
    for planned in archives {
        for mount in &planned.target.tree.mounts {
            let source = mount.source.canonicalize().unwrap_or_else(|_| mount.source.clone());
            if mount.kind != MountKind::Tmpfs && source.is_dir() && existing.starts_with(&source) {
                refusals.push(Refusal {
                    message: format!(
                        "{}: '{}' lies inside what is to be archived ('{}')",
                        planned.target.archive,
                        directory.display(),
                        source.display()
                    ),
                    hint: Some("name a directory outside of the volume".to_owned()),
                });
            }
        }
    }
    let wanted: u64 = archives.iter().filter_map(|planned| planned.measured).map(|m| m.archive_bytes).sum();
    if let Some(free) = free_bytes
        && wanted > free.saturating_add(free * MARGIN / 100)
    {
        refusals.push(Refusal {
            message: format!(
                "too little space at '{}': the archives will take about {}, and {} are free",
                directory.display(),
                crate::units::bytes(wanted),
                crate::units::bytes(free)
            ),
            hint: Some("make room, name another directory, or take fewer archives with --only".to_owned()),
        });
    }
    refusals
}
