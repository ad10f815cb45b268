//! Arguments into requests: what the operations are asked to do. Reads the layout file; touches nothing else.

use std::collections::BTreeMap;

use crate::cli::{self, Cli, Command, Common, Keep, Progress};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use voltar::backup_into::SetRequest;
use voltar::codec::{Format, Level};
use voltar::error::{Error, Result};
use voltar::exclude::{Exclude, Pattern};
use voltar::layout::Layout;
use voltar::member::{RelPath, printable};
use voltar::monitor::Monitor;
use voltar::plan::Running;
use voltar::plan::backup::BackupRequest;
use voltar::plan::changes::{FullArchives, FullEvery};
use voltar::plan::comparison::ComparisonRequest;
use voltar::plan::extraction::ExtractionRequest;
use voltar::plan::restore::{Mode, RestoreRequest};
use voltar::plan::retention::{Policy, Within};
use voltar::prune::PruneRequest;
use voltar::report::{self, Verbosity};
use voltar::resolve::Selection;
use voltar::store::{Directory, NewSet, SetName, Sets, Sink};

/// Loads the layout that was chosen.
pub(crate) fn layout(common: &Common, monitor: &dyn Monitor) -> Result<Layout> {
    Layout::load(common.layout.as_deref().unwrap_or("cvat"), monitor)
}

pub(crate) fn selection(common: &Common, layout: &Layout) -> Result<Selection> {
    let mut volumes = BTreeMap::new();
    for (archive, volume) in &common.volume {
        if let Some(other) = volumes.insert(archive.clone(), volume.clone()) {
            return Err(Error::usage(format!("--volume gives '{archive}' two volumes: '{other}' and '{volume}'")));
        }
    }
    Ok(Selection {
        only: common.only.clone(),
        all: common.all,
        project: common.project.clone().or_else(|| layout.project.clone()),
        volumes,
    })
}

/// Parses the patterns of `--exclude`, but for the names of sets.
fn exclude(patterns: &[OsString]) -> Result<Exclude> {
    let parse = |text: &OsString| {
        Pattern::parse(text.as_bytes()).map_err(|bad| {
            Error::usage(format!("--exclude '{}': {bad}", printable(text.as_bytes())))
                .hint("patterns are those of `tar --exclude`")
        })
    };
    Ok(Exclude::new(patterns.iter().filter(|text| !is_set(text)).map(parse).collect::<Result<_>>()?))
}

/// Returns whether a pattern is the name of a set.
fn is_set(text: &OsString) -> bool {
    text.as_bytes().starts_with(b"@")
}

/// Returns the layout without what the named sets of patterns match.
fn without_sets(layout: Layout, patterns: &[OsString]) -> Result<Layout> {
    patterns.iter().filter(|text| is_set(text)).try_fold(layout, |layout, set| without(set, &layout))
}

/// Parses a path in an archive, which `option` gives.
fn path(option: &str, text: &OsString) -> Result<RelPath> {
    RelPath::parse(text.as_bytes())
        .map_err(|bad| Error::usage(format!("{option} '{}': {bad}", printable(text.as_bytes()))))
}

pub(crate) fn comparison(common: &Common, arguments: &cli::Verify, monitor: &dyn Monitor) -> Result<ComparisonRequest> {
    let layout = without_sets(layout(common, monitor)?, &arguments.exclude)?;
    Ok(ComparisonRequest {
        selection: selection(common, &layout)?,
        layout,
        sources: arguments.sources.clone(),
        from: arguments.from.as_ref().map(|from| path("--from", from)).transpose()?,
        exclude: exclude(&arguments.exclude)?,
    })
}

pub(crate) fn backup(common: &Common, arguments: &cli::Backup, monitor: &dyn Monitor) -> Result<BackupRequest> {
    let is_kept = arguments.keep != Keep::default();
    let is_for_sets = is_kept || arguments.full_every.is_some() || arguments.two_pass;
    if arguments.into.is_none() && is_for_sets {
        return Err(Error::usage("--keep-…, --full-every and --two-pass are for sets").hint("give --into DIR too"));
    }
    let exclude = exclude(&arguments.exclude)?;
    let layout = without_sets(layout(common, monitor)?, &arguments.exclude)?;
    Ok(BackupRequest {
        selection: selection(common, &layout)?,
        layout,
        sink: sink(arguments),
        format: arguments.format.map(|format| match format {
            cli::Format::Bz2 => Format::Bzip2,
            cli::Format::Gz => Format::Gzip,
            cli::Format::Zst => Format::Zstd,
            cli::Format::Tar => Format::Plain,
        }),
        level: arguments.level.and_then(Level::new),
        checked: arguments.paranoid,
        running: if arguments.allow_running { Running::Allow } else { running(arguments.stop) },
        overwrite: arguments.overwrite,
        allow_empty: arguments.allow_empty,
        allow_outside_links: arguments.allow_outside_links,
        exclude,
        xattrs: arguments.xattrs,
        since: None,
        two_pass: arguments.two_pass,
        wait: wait(arguments.wait.as_deref())?,
    })
}

/// Returns what a set that is made now could be based on. A backup finds it out itself, once it has the lock of the sets.
pub(crate) fn since(arguments: &cli::Backup) -> Result<Option<FullArchives>> {
    let (Some(into), Some(every)) = (&arguments.into, full_every(arguments)?) else { return Ok(None) };
    let sets = if into.exists() { Sets::new(into).list()? } else { Vec::new() };
    Ok(Some(FullArchives::of(&sets, every, SetName::at(Timestamp::now()))))
}

fn full_every(arguments: &cli::Backup) -> Result<Option<FullEvery>> {
    let every = arguments.full_every.as_deref().map(FullEvery::parse).transpose();
    every.map_err(|error| error.within("--full-every"))
}

/// Returns the layout without what a named set of patterns matches.
fn without(set: &OsString, layout: &Layout) -> Result<Layout> {
    if set != "@caches" {
        let shown = printable(set.as_bytes());
        return Err(Error::usage(format!("--exclude '{shown}': there is no set of this name, only @caches"))
            .hint(format!("a name that begins with @ is matched by '[@]{}'", &shown[1..])));
    }
    layout.without_caches().ok_or_else(|| {
        Error::usage("--exclude '@caches': the layout does not say what can be rebuilt")
            .hint("give an entry of it `caches = [PATTERN, …]`, or --exclude PATTERN")
    })
}

/// Where the archives of a backup go.
fn sink(arguments: &cli::Backup) -> Sink {
    match (&arguments.to_command, &arguments.into) {
        (Some(command), _) => match &arguments.spool {
            Some(spool) => Sink::Spool { directory: Directory::new(spool), command: command.clone() },
            None => Sink::Command(command.clone()),
        },
        (None, Some(sets)) => Sink::Set(NewSet::new(Sets::new(sets), Timestamp::now())),
        (None, None) => Sink::at(arguments.dir.as_deref().unwrap_or(Path::new("backup"))),
    }
}

/// Returns the directory of the archives of a backup, if they are in one that is no set.
pub(crate) fn directory(arguments: &cli::Backup) -> Option<PathBuf> {
    match sink(arguments) {
        Sink::Set(_) | Sink::Spool { .. } => None,
        other => other.path(),
    }
}

/// Returns the request of `backup --into`.
pub(crate) fn set(common: &Common, arguments: &cli::Backup, into: &Path, monitor: &dyn Monitor) -> Result<SetRequest> {
    Ok(SetRequest {
        backup: backup(common, arguments, monitor)?,
        sets: Sets::new(into),
        keep: policy(&arguments.keep)?,
        full_every: full_every(arguments)?,
    })
}

pub(crate) fn prune(arguments: &cli::Prune) -> Result<PruneRequest> {
    let policy = policy(&arguments.keep)?;
    if policy.is_empty() {
        return Err(Error::usage("nothing says which sets are kept").hint("give one of --keep-last, --keep-daily, …"));
    }
    Ok(PruneRequest { sets: Sets::new(&arguments.into), policy, wait: wait(arguments.wait.as_deref())? })
}

fn policy(keep: &cli::Keep) -> Result<Policy> {
    Ok(Policy {
        last: keep.last.unwrap_or(0),
        hourly: keep.hourly.unwrap_or(0),
        daily: keep.daily.unwrap_or(0),
        weekly: keep.weekly.unwrap_or(0),
        monthly: keep.monthly.unwrap_or(0),
        yearly: keep.yearly.unwrap_or(0),
        within: keep.within.as_deref().map(Within::parse).transpose()?,
    })
}

/// Parses the time of `--wait`.
fn wait(text: Option<&str>) -> Result<Duration> {
    text.map_or(Ok(Duration::ZERO), |text| time("--wait", text))
}

fn time(option: &str, text: &str) -> Result<Duration> {
    let parsed = text.parse::<SignedDuration>().ok().and_then(|time| Duration::try_from(time).ok());
    parsed.ok_or_else(|| Error::usage(format!("{option} '{}' is no time such as 10m or 2h", text.escape_debug())))
}

pub(crate) fn restore(common: &Common, arguments: &cli::Restore, monitor: &dyn Monitor) -> Result<RestoreRequest> {
    let from = arguments.from.as_ref().map(|from| path("--from", from)).transpose()?;
    let layout = layout(common, monitor)?;
    let checks = if arguments.check.is_empty() { layout.checks.clone() } else { arguments.check.clone() };
    Ok(RestoreRequest {
        selection: selection(common, &layout)?,
        layout,
        sources: arguments.sources.clone(),
        from,
        paths: paths(&arguments.path)?,
        create_volumes: arguments.create_volumes,
        mode: match (arguments.merge, arguments.in_place) {
            (true, _) => Mode::Merge,
            (false, true) => Mode::InPlace,
            (false, false) => Mode::Replace,
        },
        keep_previous: arguments.keep_previous,
        skip_read_only: arguments.skip_read_only,
        running: running(arguments.stop),
        allow_empty: arguments.allow_empty,
        allow_truncated_end: arguments.allow_truncated_end,
        force_version: arguments.force_version,
        checks,
        check_limit: time("--check-within", &arguments.check_within)?,
    })
}

/// Parses the paths of `--path`.
fn paths(given: &[OsString]) -> Result<Vec<RelPath>> {
    given.iter().map(|given| path("--path", given)).collect()
}

/// Returns the request of `restore --to DIR`.
pub(crate) fn extraction(
    common: &Common,
    arguments: &cli::Restore,
    to: &Path,
    monitor: &dyn Monitor,
) -> Result<ExtractionRequest> {
    Ok(ExtractionRequest {
        layout: layout(common, monitor)?,
        only: common.only.clone(),
        sources: arguments.sources.clone(),
        directory: to.to_owned(),
        from: arguments.from.as_ref().map(|from| path("--from", from)).transpose()?,
        paths: paths(&arguments.path)?,
        allow_empty: arguments.allow_empty,
        allow_truncated_end: arguments.allow_truncated_end,
    })
}

fn running(stop: Option<cli::Stop>) -> Running {
    match stop {
        None => Running::Refuse,
        Some(cli::Stop::Users) => Running::Stop,
        Some(cli::Stop::Project) => Running::StopProject,
    }
}

pub(crate) fn report(cli: &Cli) -> report::Options {
    report::Options {
        format: match (cli.common.json, is_plan(&cli.command)) {
            (false, _) => report::Format::Human,
            (true, true) => report::Format::JsonDocument,
            (true, false) => report::Format::JsonEvents,
        },
        verbosity: match (cli.common.quiet, cli.common.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, true) => Verbosity::Verbose,
            (false, false) => Verbosity::Normal,
        },
        progress: cli.common.progress == Progress::Auto,
        stdout_is_archive: is_archive(&cli.command),
    }
}

/// Whether the command writes an archive to standard output.
fn is_archive(command: &Command) -> bool {
    matches!(command, Command::Backup(arguments) if !arguments.dry_run && sink(arguments) == Sink::Stdout)
}

/// Whether the command prints a document instead of carrying out anything.
fn is_plan(command: &Command) -> bool {
    match command {
        Command::Plan(_) | Command::Sets(_) => true,
        Command::Backup(arguments) => arguments.dry_run,
        Command::Restore(arguments) => arguments.dry_run,
        Command::Prune(arguments) => arguments.dry_run,
        Command::Verify(_)
        | Command::List(_)
        | Command::Resume
        | Command::Layout
        | Command::Completions(_)
        | Command::Man(_) => false,
    }
}
