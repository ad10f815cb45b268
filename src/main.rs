//! Parse, plan, run, report, exit status: the program's table of contents.

mod around_backup;
mod cli;
mod config;
mod hooks;
mod manual;
mod request;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::geteuid;
use serde::Serialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::around_backup::Ended;
use crate::cli::{Cli, Command, Common};
use voltar::archive::listing::Line;
use voltar::error::{Error, ErrorKind, Result};
use voltar::filesystem::Access;
use voltar::host::Host;
use voltar::host::containers::{leftovers, state_dir};
use voltar::host::data_root::DataRoot;
use voltar::host::engine::Engine;
use voltar::monitor::Monitor as _;
use voltar::ordered::Pool;
use voltar::plan;
use voltar::plan::backup::{BackupRequest, Estimate};
use voltar::plan::facts::{LiveMounts, ThisHost};
use voltar::recorder::Recorder;
use voltar::report::Report;
use voltar::report::extraction::{ExtractionDocument, extraction_text};
use voltar::report::plan::{BackupDocument, RestoreDocument, backup_text, restore_text};
use voltar::report::sets::{PruningDocument, SetsDocument, pruning_text, sets_text};
use voltar::store::{self, Sets};
use voltar::verify::Decoders;
use voltar::{backup, backup_into, discover, list, prune, restore, restore_to, resume, verify};

fn main() -> ExitCode {
    let began = Instant::now();
    let mut cli = Cli::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let signals = Signals::default();
    let report = Report::new(request::report(&cli), Arc::clone(&signals.cancel));
    let recorder = Recorder::new(&report);
    // A panic has unwound by then: temporary files are gone and containers run again.
    let result = catch_unwind(AssertUnwindSafe(|| signals.watch().and_then(|()| run(&mut cli, &report, &recorder))));
    let result = result.unwrap_or_else(|_| Err(bug()));
    let exit = match &result {
        Ok(Outcome::Done) if report.issues() == 0 => 0,
        Ok(Outcome::Done | Outcome::WouldBeRefused | Outcome::Differs) => 1,
        Err(error) => {
            report.error(error);
            match error.kind() {
                // As a shell reports a program that SIGINT ended.
                ErrorKind::Interrupted => 130,
                // EX_TEMPFAIL of sysexits.h.
                ErrorKind::Busy => 75,
                _ => 2,
            }
        }
    };
    let (error, signal) = (result.as_ref().err(), &*signals.latest);
    let exit = Ended { report: &report, recorder: &recorder, began, exit, error, signal }.follow_up(&cli);
    ExitCode::from(report.finish(exit))
}

fn bug() -> Error {
    Error::new(ErrorKind::Failed, "stopped by a bug in voltar itself (the lines above say where)")
        .hint("no archive has its name and no volume was swapped by it; please report it with those lines")
}

/// How a command ended that did not fail.
enum Outcome {
    Done,
    WouldBeRefused,
    Differs,
}

impl Outcome {
    fn of_plan(refusals: &[Error]) -> Self {
        if refusals.is_empty() { Self::Done } else { Self::WouldBeRefused }
    }
}

fn run(cli: &mut Cli, report: &Report, recorder: &Recorder<'_>) -> Result<Outcome> {
    raise_file_limit();
    config::with_config(cli, report)?;
    let cli = &*cli;
    let common = &cli.common;
    let pool = Pool::new(common.jobs.map_or_else(all_cores, usize::from))?;
    let state_dir = state_dir();
    if !matches!(cli.command, Command::Resume | Command::Completions(_) | Command::Man(_)) {
        report_leftovers(&state_dir, report);
    }
    match &cli.command {
        Command::Plan(arguments) => return plan_backup(common, arguments, &state_dir, &pool, report),
        Command::Backup(arguments) if arguments.dry_run => {
            return plan_backup(common, arguments, &state_dir, &pool, report);
        }
        Command::Restore(arguments @ cli::Restore { to: Some(to), dry_run: true, .. }) => {
            return plan_extraction(common, arguments, to, &state_dir, &pool, report);
        }
        Command::Restore(arguments) if arguments.dry_run => {
            return plan_restore(common, arguments, &state_dir, &pool, report);
        }
        Command::Backup(arguments @ cli::Backup { into: Some(into), .. }) => {
            let request = request::set(common, arguments, into, report)?;
            around_backup::before(arguments, report)?;
            let host = host(common, report)?;
            report.note(&host.describe());
            backup_into::backup_into(&request, &*host, &state_dir, &pool, recorder)?;
        }
        Command::Backup(arguments) => {
            let request = request::backup(common, arguments, report)?;
            around_backup::before(arguments, report)?;
            let host = host(common, report)?;
            report.note(&host.describe());
            backup::backup(&request, &*host, &state_dir, &pool, recorder)?;
        }
        Command::Restore(arguments @ cli::Restore { to: Some(to), .. }) => {
            let request = request::extraction(common, arguments, to, report)?;
            restore_to::restore_to(&request, &state_dir, &pool, report)?;
        }
        Command::Restore(arguments) => {
            let request = request::restore(common, arguments, report)?;
            let host = host(common, report)?;
            report.note(&host.describe());
            restore::restore(&request, &*host, &state_dir, &pool, report)?;
        }
        Command::Verify(arguments) if arguments.against_volume => {
            let request = request::comparison(common, arguments, report)?;
            let host = host(common, report)?;
            report.note(&host.describe());
            let differences =
                verify::against_volumes(&request, &*host, &state_dir, &pool, report, &|error| report.error(error))?;
            return Ok(if differences == 0 { Outcome::Done } else { Outcome::Differs });
        }
        Command::Verify(arguments) => {
            store::complete(&arguments.sources, report)?;
            let selected = store::select(&arguments.sources, &common.only)?;
            selected.notes.iter().for_each(|note| report.note(note));
            let decoders = if arguments.paranoid { Decoders::Independent } else { Decoders::Parallel(&pool) };
            verify::verify(&selected.archives, decoders, report, &|error| report.error(error))?;
            selected.check_indexes(report)?;
            selected.record_verified(report);
        }
        Command::List(arguments) => {
            let archive = store::single(&arguments.archive, &common.only)?;
            list::list(&archive, &pool, report, |stored| report.listed(&Line::new(stored, &stored.listed_kind())))?;
        }
        Command::Sets(arguments) => {
            let sets = Sets::new(&arguments.directory).list()?;
            show(common, report, &SetsDocument::new(&sets), &sets_text(&sets))?;
        }
        Command::Prune(arguments) if arguments.dry_run => {
            let request = request::prune(arguments)?;
            let pruning = prune::judge(&request.sets, &request.policy)?;
            show(common, report, &PruningDocument::new(&pruning), &pruning_text(&pruning))?;
        }
        Command::Prune(arguments) => prune::prune(&request::prune(arguments)?, report)?,
        Command::Layout if common.json => {
            return Err(Error::usage("a layout is TOML: `voltar layout` has no --json"));
        }
        Command::Layout => {
            let host = host(common, report)?;
            report.text(&discover::discover(&*host, common.project.as_deref(), &common.only)?).map(drop)?;
        }
        Command::Completions(_) | Command::Man(_) if common.json => {
            return Err(Error::usage("completions and man pages have no --json"));
        }
        Command::Completions(arguments) => report.text(&manual::completions(arguments.shell)).map(drop)?,
        Command::Man(arguments) => manual::write_pages(&arguments.directory)?,
        Command::Resume => {
            let layout = request::layout(common, report)?;
            let selection = request::selection(common, &layout)?;
            resume::resume(&layout, &selection, &*host(common, report)?, &state_dir, report)?;
        }
    }
    Ok(Outcome::Done)
}

fn plan_backup(
    common: &Common,
    arguments: &cli::Backup,
    state_dir: &Path,
    pool: &Pool,
    report: &Report,
) -> Result<Outcome> {
    let mounts = LiveMounts::new(state_dir, Access::ReadOnly);
    let facts = ThisHost::new(&mounts, pool, report);
    let request = BackupRequest { since: request::since(arguments)?, ..request::backup(common, arguments, report)? };
    around_backup::check(arguments)?;
    let host = host(common, report)?;
    let plan = plan::backup::plan(&request, host.describe(), &request.inventory(&*host)?, &facts, Estimate::Always)?;
    show(common, report, &BackupDocument::new(&plan), &backup_text(&plan))?;
    Ok(Outcome::of_plan(&plan.refusals))
}

fn plan_restore(
    common: &Common,
    arguments: &cli::Restore,
    state_dir: &Path,
    pool: &Pool,
    report: &Report,
) -> Result<Outcome> {
    let mounts = LiveMounts::new(state_dir, Access::ReadWrite);
    let facts = ThisHost::new(&mounts, pool, report);
    let request = request::restore(common, arguments, report)?;
    let host = host(common, report)?;
    let plan = plan::restore::plan(&request, host.describe(), &request.inventory(&*host)?, &facts)?.estimate(&facts);
    show(common, report, &RestoreDocument::new(&plan), &restore_text(&plan))?;
    Ok(Outcome::of_plan(&plan.refusals))
}

fn plan_extraction(
    common: &Common,
    arguments: &cli::Restore,
    to: &Path,
    state_dir: &Path,
    pool: &Pool,
    report: &Report,
) -> Result<Outcome> {
    let mounts = LiveMounts::new(state_dir, Access::ReadOnly);
    let request = request::extraction(common, arguments, to, report)?;
    let plan = plan::extraction::plan(&request, &ThisHost::new(&mounts, pool, report))?;
    show(common, report, &ExtractionDocument::new(&plan), &extraction_text(&plan))?;
    Ok(Outcome::of_plan(&plan.refusals))
}

/// Prints a plan in the form that was asked for.
fn show(common: &Common, report: &Report, document: &impl Serialize, text: &str) -> Result<()> {
    if common.json { report.document(document) } else { report.text(text).map(|_| ()) }
}

fn host<'a>(common: &Common, report: &'a Report) -> Result<Box<dyn Host + 'a>> {
    Ok(match &common.data_root {
        Some(directory) => Box::new(DataRoot::open(directory)?),
        None => Box::new(Engine::connect(common.docker.as_deref(), report)?),
    })
}

/// What signals have asked for. The first one asks the operation to stop; what it stopped must run again before the process
/// may end, so further ones change nothing but that they end a hook.
#[derive(Default)]
struct Signals {
    /// Is set by the first signal, and stays so.
    cancel: Arc<AtomicBool>,
    /// Is set by each signal, until somebody has taken notice of it.
    latest: Arc<AtomicBool>,
}

impl Signals {
    fn watch(&self) -> Result<()> {
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            for flag in [&self.cancel, &self.latest] {
                signal_hook::flag::register(signal, Arc::clone(flag))
                    .map_err(|e| Error::failed("cannot watch for", "signals", e))?;
            }
        }
        Ok(())
    }
}

fn report_leftovers(state_dir: &Path, report: &Report) {
    match leftovers(state_dir) {
        Ok((leftovers, unreadable)) => {
            for error in unreadable {
                report.issue("", error.with_hint());
            }
            for leftover in leftovers {
                report.note(&format!(
                    "a run was interrupted at {} and left these containers of {} stopped: {}; `voltar resume` starts them",
                    leftover.when,
                    leftover.engine,
                    leftover.names.join(", ")
                ));
            }
        }
        // Only root may look there, and only root stops containers.
        Err(error) if geteuid().is_root() => report.issue("", error.with_hint()),
        Err(_) => {}
    }
}

/// Deep trees take a handle a level; the usual soft limit of 1,024 is low.
fn raise_file_limit() {
    if let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE) {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap_or_default();
    }
}

fn all_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
