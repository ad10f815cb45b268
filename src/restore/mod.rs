//! Restore, told from start to end: find the archives and where they go, clean up after a run that was
//! killed, look into each archive, stop what runs, lay everything out beside the live trees, look again that
//! nothing runs, swap all trees or none, remove what was replaced, start again what was stopped.

mod behind;
pub mod stage;

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};
use crate::host::containers::Stopped;
use crate::host::{Host, Inventory, MountKind, State};
use crate::layout::Layout;
use crate::member::RelPath;
use crate::monitor::{Event, Monitor, Stage};
use crate::mountinfo;
use crate::ordered::Pool;
use crate::places::{Piece, Place, clean_up, pieces};
use crate::plan::{self, Running, free_bytes, in_use, obstacles, unreal};
use crate::resolve::{Selection, Target, resolve};
use crate::stored::{archive_name, archives_in};
use crate::together;
use crate::volume::atomic::{self, Ready};
use crate::volume::swap::{Staging, Swapped, Way};
use stage::{Job, Mode, Staged, check, check_prefix, stage};

/// What a restore is asked to do.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which archives there can be.
    pub layout: Layout,
    /// Which of them.
    pub selection: Selection,
    /// Directories with archives, or single archives.
    pub sources: Vec<PathBuf>,
    /// How members are brought in.
    pub mode: Mode,
    /// Keep the trees that are replaced.
    pub keep_previous: bool,
    /// What is done about containers that run; they are never allowed.
    pub running: Running,
    /// Take empty archives for real ones.
    pub allow_empty: bool,
}

/// Carries out the restore that `request` asks for.
///
/// # Errors
/// On every error the volumes are what they were, and the containers that were stopped run again. Only
/// [`Mode::Merge`] and [`Mode::InPlace`] can fail halfway; the error says so.
pub fn restore(request: &Request, host: &dyn Host, state_dir: &Path, pool: &Pool, monitor: &dyn Monitor) -> Result<()> {
    let found = find(request)?;
    let inventory = host.inventory()?;
    for note in &inventory.notes {
        monitor.note(note);
    }
    let mut selection = request.selection.clone();
    selection.only = found.iter().map(|(name, _)| name.clone()).collect();
    let resolution = resolve(&request.layout, &inventory, &selection)?;
    let targets = &resolution.targets;
    let mut refusals = obstacles(&inventory);
    for target in targets {
        refusals.extend(unreal(target, &inventory)?);
    }
    refusals.extend(in_use(targets.iter(), request.running));
    let mut errors: Vec<Error> = refusals.iter().map(Error::from).collect();
    errors.extend(targets.iter().flat_map(|target| unwritable(target, request.mode)));
    Error::none_of(errors)?;
    let mut jobs = jobs(request, &found, targets)?;
    for job in &jobs {
        clean_up(&job.archive, &job.pieces, &[Way::Exchange], monitor)?;
    }
    together::all(&jobs, monitor, |job, monitor| fit(job, targets, pool, monitor))?
        .into_iter()
        .zip(&mut jobs)
        .for_each(|(prefix, job)| job.prefix = prefix);
    check_space(&jobs, request.mode)?;
    if request.mode != Mode::Replace {
        // Nothing can be taken back later: the archives must be whole.
        together::all(&jobs, monitor, |job, monitor| check(job, pool, monitor))?;
    }

    let users = plan::users(targets.iter());
    let stopped = Stopped::stop(host, state_dir, &users.iter().collect::<Vec<_>>(), monitor)?;
    check_idle(targets, &host.inventory()?)?;
    for job in &jobs {
        clean_up(&job.archive, &job.pieces, &[Way::Entries], monitor)?;
    }
    let staged = together::all(&jobs, monitor, |job, monitor| stage(job, request.mode, pool, monitor));
    let staged = staged.map_err(|error| tell_mix(error, request.mode))?;
    check_idle(targets, &host.inventory()?).map_err(|error| tell_mix(error, request.mode))?;
    monitor.check_cancelled()?;
    replace(staged, request.keep_previous, monitor)?;
    stopped.start_again()
}

/// The archives to be restored, by the layout's names.
fn find(request: &Request) -> Result<Vec<(String, PathBuf)>> {
    let mut found: Vec<(String, PathBuf)> = Vec::new();
    let wanted =
        |name: &str| request.selection.only.is_empty() || request.selection.only.iter().any(|only| only == name);
    let known = |name: &str| request.layout.archives.iter().any(|spec| spec.name == name);
    for source in &request.sources {
        if source.is_dir() {
            let archives = archives_in(source)?.into_iter().map(|path| (archive_name(&path), path));
            found.extend(archives.filter(|(name, _)| known(name) && wanted(name)));
            continue;
        }
        if let Err(e) = source.metadata() {
            return Err(Error::failed("cannot open", source.as_os_str().as_bytes(), e));
        }
        // A single file may have any name; then --only says which archive it is.
        let name = match (&request.selection.only[..], archive_name(source)) {
            ([only], _) if request.sources.len() == 1 => only.clone(),
            (_, name) if known(&name) && wanted(&name) => name,
            (_, name) => {
                return Err(Error::usage(format!(
                    "'{}': the layout '{}' has no archive '{name}'",
                    source.display(),
                    request.layout.name
                ))
                .hint(format!("say with --only which one it is: {}", names(&request.layout))));
            }
        };
        found.push((name, source.clone()));
    }
    let sources = || request.sources.iter().map(|s| format!("'{}'", s.display())).collect::<Vec<_>>().join(", ");
    for (i, (name, path)) in found.iter().enumerate() {
        if let Some((_, other)) = found.iter().take(i).find(|(other, _)| other == name) {
            return Err(Error::usage(format!(
                "two archives for {name}: '{}' and '{}'",
                other.display(),
                path.display()
            ))
            .hint("name the one to restore"));
        }
    }
    if let Some(missing) = request.selection.only.iter().find(|only| found.iter().all(|(name, _)| name != *only)) {
        let error = Error::usage(format!("no archive for {missing} in {}", sources()));
        return Err(error.hint(format!("the layout '{}' has: {}", request.layout.name, names(&request.layout))));
    }
    if found.is_empty() {
        let error = Error::usage(format!("no archive of the layout '{}' in {}", request.layout.name, sources()));
        return Err(
            error.hint(format!("looked for {}, each with .tar.bz2, .tar.gz, .tar.zst or .tar", names(&request.layout)))
        );
    }
    Ok(found)
}

fn names(layout: &Layout) -> String {
    layout.archives.iter().map(|spec| spec.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// What stands against writing into a target's mounts.
fn unwritable(target: &Target, mode: Mode) -> Vec<Error> {
    let mut errors: Vec<Error> = target
        .tree
        .read_only()
        .map(|mount| {
            Error::refused(format!("{}: '{}' is mounted read-only", target.archive, mount.destination))
                .hint("restore through a container that mounts it read-write (a layout file can name it)")
        })
        .collect();
    if mode == Mode::Merge {
        return errors;
    }
    let mounted = match mountinfo::mounted() {
        Ok(mounted) => mounted,
        Err(error) => {
            errors.push(error);
            return errors;
        }
    };
    for mount in target.tree.mounts.iter().filter(|mount| mount.kind != MountKind::Tmpfs) {
        let source = mount.root();
        for below in mountinfo::below(&mounted, &source) {
            errors.push(
                Error::refused(format!(
                    "{}: a filesystem of this host is mounted at '{}', inside '{}'",
                    target.archive,
                    below.display(),
                    source.display()
                ))
                .hint("replacing the directory would take that filesystem with it: unmount it, or use --merge"),
            );
        }
    }
    errors
}

fn jobs(request: &Request, found: &[(String, PathBuf)], targets: &[Target]) -> Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for target in targets {
        let Some((_, file)) = found.iter().find(|(name, _)| *name == target.archive) else { continue };
        jobs.push(Job {
            archive: target.archive.clone(),
            file: file.clone(),
            prefix: target.tree.path.clone(),
            pieces: pieces(&target.tree).map_err(|error| error.within(&target.archive))?,
            allow_empty: request.allow_empty,
        });
    }
    Ok(jobs)
}

/// The path that the archive was made of: the layout's, or where the container is gone one of its other ones.
fn fit(job: &Job, targets: &[Target], pool: &Pool, monitor: &dyn Monitor) -> Result<RelPath> {
    let others = targets.iter().find(|target| target.archive == job.archive).map(|t| &t.alternative_paths[..]);
    let Err(error) = check_prefix(job, pool, monitor) else { return Ok(job.prefix.clone()) };
    if error.kind() == ErrorKind::Refused {
        for path in others.unwrap_or_default() {
            let other = Job { prefix: path.clone(), ..job.clone() };
            if check_prefix(&other, pool, monitor).is_ok() {
                return Ok(path.clone());
            }
        }
    }
    Err(error)
}

/// Content rarely takes less room than its archive; where even that is not free, nothing is begun.
fn check_space(jobs: &[Job], mode: Mode) -> Result<()> {
    if mode != Mode::Replace {
        return Ok(());
    }
    for job in jobs {
        let Some(Piece { place: Place::Tree(live), .. }) = job.pieces.first() else { continue };
        let wanted = job.file.metadata().map(|status| status.len()).unwrap_or_default();
        if let Some(free) = free_bytes(&live.path)
            && wanted > free
        {
            return Err(Error::refused(format!(
                "{}: too little space beside '{}': the archive alone takes {}, and {} are free",
                job.archive,
                live.path.display(),
                crate::units::bytes(wanted),
                crate::units::bytes(free)
            ))
            .hint("make room, or restore with --in-place, which needs no room for a second copy"));
        }
    }
    Ok(())
}

/// `restart: always` and a restarted engine can start a container at any moment.
fn check_idle(targets: &[Target], now: &Inventory) -> Result<()> {
    let users = plan::users(targets.iter());
    let started: Vec<&str> = now
        .containers
        .iter()
        .filter(|container| container.state != State::Stopped)
        .filter(|container| {
            users.iter().any(|user| user.id == container.id)
                || targets.iter().any(|target| {
                    crate::host::mounts::users(now, &target.tree).iter().any(|user| user.id == container.id)
                })
        })
        .map(|container| container.name.as_str())
        .collect();
    if started.is_empty() {
        return Ok(());
    }
    Err(Error::refused(format!("containers that use these volumes were started meanwhile: {}", started.join(", ")))
        .hint("stop them, and what starts them, then restore again"))
}

/// Makes all staged trees live, or none.
fn replace(staged: Vec<Staged>, keep_previous: bool, monitor: &dyn Monitor) -> Result<()> {
    let mut swapped: Vec<(String, Swapped)> = Vec::new();
    let mut files: Vec<Ready> = Vec::new();
    let mut done = Vec::new();
    let mut waiting: Vec<(String, Staging)> = Vec::new();
    for Staged { trees, files: singles, summary, file } in staged {
        waiting.extend(trees.into_iter().map(|tree| (summary.archive.clone(), tree)));
        files.extend(singles);
        done.push((summary, file));
    }
    for (archive, tree) in waiting {
        match tree.swap(keep_previous) {
            Ok(tree) => swapped.push((archive, tree)),
            Err(error) => return Err(take_back(swapped, error.within(archive))),
        }
    }
    if let Err(error) = atomic::commit(files, true) {
        return Err(take_back(swapped, error));
    }
    for (archive, tree) in swapped {
        match tree.finish() {
            Ok(None) => {}
            Ok(Some(kept)) => monitor.note(&format!("{archive}: the previous content is kept in '{}'", kept.display())),
            // The new tree is live and whole; only the old one is in the way.
            Err(error) => {
                monitor.issue(&archive, format!("restored, but the previous content is still there: {error}"));
            }
        }
    }
    for (summary, file) in &done {
        monitor.event(&Event::Finished { stage: Stage::Restoring, summary, at: file });
    }
    Ok(())
}

fn take_back(swapped: Vec<(String, Swapped)>, error: Error) -> Error {
    let undone: Vec<Error> =
        swapped.into_iter().rev().filter_map(|(archive, tree)| tree.undo().err().map(|e| e.within(archive))).collect();
    error.and(undone)
}

fn tell_mix(error: Error, mode: Mode) -> Error {
    if mode == Mode::Replace {
        return error;
    }
    error
        .within("stopped halfway, the volume is now a mix of old and restored files")
        .hint("mend the cause and run the same command again: it lays everything out anew")
}
