//! Parse, plan, run, report, exit status: the program's table of contents.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::geteuid;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use voltar::archive::listing::Line;
use voltar::cli::{self, Cli, Command, Common, Progress};
use voltar::codec::{Compression, Format, Level};
use voltar::error::{Error, ErrorKind, Result};
use voltar::host::Host;
use voltar::host::containers::{leftovers, state_dir};
use voltar::host::data_root::DataRoot;
use voltar::host::engine::Engine;
use voltar::layout::Layout;
use voltar::monitor::Monitor as _;
use voltar::ordered::Pool;
use voltar::plan::{self, Running};
use voltar::report::{self, Report, Verbosity};
use voltar::resolve::Selection;
use voltar::restore::{self, stage::Mode};
use voltar::{backup, list, resume, stored, verify};

fn main() -> ExitCode {
    let cli = Cli::read(std::env::args_os()).unwrap_or_else(|error| error.exit());
    let cancel = Arc::new(AtomicBool::new(false));
    let report = Report::new(report_options(&cli), Arc::clone(&cancel));
    // A panic has unwound by then: temporary files are gone and containers run again.
    let result = catch_unwind(AssertUnwindSafe(|| watch_signals(&cancel).and_then(|()| run(&cli, &report))));
    let exit = match result.unwrap_or_else(|_| Err(bug())) {
        Ok(Outcome::Done) if report.issues() == 0 => 0,
        Ok(Outcome::Done | Outcome::WouldBeRefused) => 1,
        Err(error) => {
            report.error(&error);
            2
        }
    };
    ExitCode::from(report.finish(exit))
}

fn bug() -> Error {
    Error::new(ErrorKind::Failed, "stopped by a bug in voltar itself (the lines above say where)")
        .hint("nothing was put in place; please report it with those lines")
}

/// How a command ended that did not fail.
enum Outcome {
    Done,
    WouldBeRefused,
}

fn run(cli: &Cli, report: &Report) -> Result<Outcome> {
    raise_file_limit();
    let common = &cli.common;
    let pool = Pool::new(common.jobs.map_or_else(all_cores, usize::from))?;
    let state_dir = state_dir();
    if !matches!(cli.command, Command::Resume) {
        tell_leftovers(&state_dir, report);
    }
    match &cli.command {
        Command::Plan(arguments) => {
            let request = backup_request(common, arguments)?;
            let plan = plan::plan(&request, &*host(common)?, &pool, report)?;
            if common.json {
                report.document(&report::plan::Document::new(&plan))?;
            } else if report.text(&report::plan::text(&plan))?.is_break() {
                return Ok(Outcome::Done);
            }
            return Ok(if plan.refusals.is_empty() { Outcome::Done } else { Outcome::WouldBeRefused });
        }
        Command::Backup(arguments) => {
            let request = backup_request(common, arguments)?;
            let host = host(common)?;
            report.note(&host.describe());
            backup::backup(&request, &*host, &state_dir, &pool, report)?;
        }
        Command::Restore(arguments) => {
            let request = restore_request(common, arguments)?;
            let host = host(common)?;
            report.note(&host.describe());
            restore::restore(&request, &*host, &state_dir, &pool, report)?;
        }
        Command::Verify(arguments) => {
            let archives = stored::select(&arguments.from, &common.only)?;
            verify::verify(&archives, &pool, report, &|error| report.error(error))?;
        }
        Command::List(arguments) => list::list(&arguments.archive, &pool, report, |stored| {
            report.listed(&Line {
                name: &stored.name,
                kind: &stored.listed_kind(),
                metadata: &stored.metadata,
                link: &stored.link,
                uname: &stored.uname,
                gname: &stored.gname,
            })
        })?,
        Command::Resume => {
            let layout = Layout::load(&common.layout)?;
            resume::resume(&layout, &selection(common), &*host(common)?, &state_dir, report)?;
        }
    }
    Ok(Outcome::Done)
}

fn host(common: &Common) -> Result<Box<dyn Host>> {
    Ok(match &common.data_root {
        Some(directory) => Box::new(DataRoot::open(directory)?),
        None => Box::new(Engine::connect(common.docker.as_deref())?),
    })
}

fn selection(common: &Common) -> Selection {
    Selection { only: common.only.clone(), all: common.all, project: common.project.clone() }
}

fn backup_request(common: &Common, arguments: &cli::Backup) -> Result<plan::Request> {
    Ok(plan::Request {
        layout: Layout::load(&common.layout)?,
        selection: selection(common),
        directory: arguments.dir.clone(),
        compression: Compression {
            format: match arguments.format {
                cli::Format::Bz2 => Format::Bzip2,
                cli::Format::Gz => Format::Gzip,
                cli::Format::Zst => Format::Zstd,
                cli::Format::Tar => Format::Plain,
            },
            level: Level::new(arguments.level).unwrap_or_default(),
            checked: arguments.paranoid,
        },
        running: match (arguments.stop, arguments.allow_running) {
            (true, _) => Running::Stop,
            (false, true) => Running::Allow,
            (false, false) => Running::Refuse,
        },
        overwrite: arguments.overwrite,
        allow_empty: arguments.allow_empty,
    })
}

fn restore_request(common: &Common, arguments: &cli::Restore) -> Result<restore::Request> {
    Ok(restore::Request {
        layout: Layout::load(&common.layout)?,
        selection: selection(common),
        sources: arguments.from.clone(),
        mode: match (arguments.merge, arguments.in_place) {
            (true, _) => Mode::Merge,
            (false, true) => Mode::InPlace,
            (false, false) => Mode::Replace,
        },
        keep_previous: arguments.keep_previous,
        running: if arguments.stop { Running::Stop } else { Running::Refuse },
        allow_empty: arguments.allow_empty,
    })
}

fn report_options(cli: &Cli) -> report::Options {
    report::Options {
        format: match (cli.common.json, &cli.command) {
            (false, _) => report::Format::Human,
            (true, Command::Plan(_)) => report::Format::JsonDocument,
            (true, _) => report::Format::JsonEvents,
        },
        verbosity: match (cli.common.quiet, cli.common.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, true) => Verbosity::Verbose,
            (false, false) => Verbosity::Normal,
        },
        progress: cli.common.progress == Progress::Auto,
    }
}

/// The first signal asks the operation to stop; what it stopped must run again before the process may end, so
/// further ones change nothing.
fn watch_signals(cancel: &Arc<AtomicBool>) -> Result<()> {
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(cancel))
            .map_err(|e| Error::failed("cannot watch for", "signals", e))?;
    }
    Ok(())
}

fn tell_leftovers(state_dir: &Path, report: &Report) {
    match leftovers(state_dir) {
        Ok(leftovers) => {
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
        Err(error) if geteuid().is_root() => report.issue("", error.to_string()),
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
