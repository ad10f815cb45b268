//! Backup, told from start to end: clean up after a run that was killed, plan, stop what runs, write every archive under a temporary name, look
//! whether anything was started meanwhile, give all archives their names, start again what was stopped.

use std::fs::{DirBuilder, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use crate::archiver;
use crate::error::{Error, Result};
use crate::host::containers::Stopped;
use crate::host::{Container, Host, Inventory, State};
use crate::member::printable;
use crate::monitor::{Event, Monitor, Stage};
use crate::ordered::Pool;
use crate::places::clean_up_idle;
use crate::plan::{Plan, Request, Running, plan, unreal};
use crate::resolve::survey;
use crate::together;
use crate::volume::atomic;

/// Plans the backup that `request` asks for and carries it out.
///
/// # Errors
/// On every error no archive has its name, and the containers that were stopped run again.
pub fn backup(request: &Request, host: &dyn Host, state_dir: &Path, pool: &Pool, monitor: &dyn Monitor) -> Result<()> {
    tidy(&request.directory, monitor)?;
    let resolution = survey(&request.layout, &host.inventory()?, &request.selection)?;
    clean_up_idle(&resolution.targets, monitor)?;
    let plan = plan(request, host, pool, monitor)?;
    for note in &plan.notes {
        monitor.note(note);
    }
    plan.check()?;
    tell_left_out(&plan, monitor);
    let running: Vec<Container> = plan.users().into_iter().filter(|user| user.state == State::Running).collect();
    if request.running == Running::Allow && !running.is_empty() {
        for user in &running {
            let name = printable(user.name.as_bytes());
            monitor
                .issue("", format!("'{name}' is running while its data is archived: the archive may mix old and new"));
        }
    }
    let to_stop: Vec<&Container> = if request.running == Running::Stop { running.iter().collect() } else { Vec::new() };
    let stopped = Stopped::stop(host, state_dir, &to_stop, monitor)?;
    if stopped.count() > 0 {
        check_still_there(&plan, &host.inventory()?)?;
    }
    write_all(&plan, request, pool, monitor, || {
        if request.running == Running::Allow { Ok(()) } else { tell_started_meanwhile(&plan, host, monitor) }
    })?;
    stopped.start_again()
}

fn write_all(
    plan: &Plan,
    request: &Request,
    pool: &Pool,
    monitor: &dyn Monitor,
    before_commit: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let made = make_directory(&request.directory)?;
    let jobs = plan.jobs(request.allow_empty);
    let written =
        together::all(&jobs, monitor, |job, monitor| archiver::write(job, request.compression, pool, monitor));
    let result = written.and_then(|written| {
        before_commit()?;
        monitor.check_cancelled()?;
        let (files, summaries): (Vec<_>, Vec<_>) = written.into_iter().unzip();
        atomic::commit(files, request.overwrite)?;
        for (summary, job) in summaries.iter().zip(&jobs) {
            monitor.event(&Event::Finished { stage: Stage::Archiving, summary, at: &job.target });
        }
        Ok(())
    });
    if result.is_err() && made {
        // It was ours and is empty again, or it is not and stays.
        std::fs::remove_dir(&request.directory).unwrap_or_default();
    }
    result
}

/// Makes the directory for the archives; true where it was not there before.
fn make_directory(directory: &Path) -> Result<bool> {
    let failed = |e: std::io::Error| Error::failed("cannot create the directory", directory.as_os_str().as_bytes(), e);
    if directory.is_dir() {
        return Ok(false);
    }
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    if let Some(parent) = directory.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        File::open(parent).and_then(|parent| parent.sync_all()).map_err(failed)?;
    }
    Ok(true)
}

/// Removes what an earlier run left when it was killed.
fn tidy(directory: &Path, monitor: &dyn Monitor) -> Result<()> {
    for removed in atomic::remove_leftovers(directory)? {
        monitor.note(&format!("removed '{}', left by a run that was killed", removed.display()));
    }
    Ok(())
}

fn tell_left_out(plan: &Plan, monitor: &dyn Monitor) {
    if !plan.left_out.is_empty() {
        monitor.note(&format!("left out: {} (--all adds them)", plan.left_out.join(", ")));
    }
}

/// A volume with mount options is only there while a container uses it: stopping the last one unmounts it.
fn check_still_there(plan: &Plan, inventory: &Inventory) -> Result<()> {
    for planned in &plan.archives {
        if let Some(refusal) = unreal(&planned.target, inventory)?.first() {
            return Err(Error::from(refusal));
        }
    }
    Ok(())
}

fn tell_started_meanwhile(plan: &Plan, host: &dyn Host, monitor: &dyn Monitor) -> Result<()> {
    let now = host.inventory()?;
    for user in plan.users() {
        let runs = now.containers.iter().any(|container| container.id == user.id && container.state == State::Running);
        if runs {
            monitor.issue(
                "",
                format!("'{}' was started while its data was archived: the archive may mix old and new", user.name),
            );
        }
    }
    Ok(())
}
