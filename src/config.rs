//! Configuration files: a layout, and what every backup of it is to do. An option of the command line overrides the file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::ValueEnum as _;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::cli::{self, Backup, Cli, Command, Keep, Stop};
use crate::hooks::Hooks;
use voltar::codec::Level;
use voltar::error::{Error, Result};
use voltar::member::{printable, printable_path};
use voltar::monitor::Monitor;
use voltar::text_file::{TextFile, line_and_reason};

/// The directory of the files that a bare name stands for.
const DIRECTORY: &str = "/etc/voltar";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// As `--layout`. A file that describes archives is its own layout.
    layout: Option<String>,
    project: Option<String>,
    archive: Option<IgnoredAny>,
    #[serde(rename = "check")]
    _check: Option<IgnoredAny>,
    #[serde(default)]
    backup: BackupTable,
    #[serde(default)]
    hooks: Hooks,
}

/// The options of `backup`, by their names.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[allow(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
struct BackupTable {
    into: Option<PathBuf>,
    only: Vec<String>,
    all: bool,
    stop: Option<StopValue>,
    format: Option<String>,
    level: Option<u8>,
    paranoid: bool,
    xattrs: bool,
    exclude: Vec<String>,
    full_every: Option<FullEveryValue>,
    two_pass: bool,
    wait: Option<String>,
    keep_last: Option<u32>,
    keep_hourly: Option<u32>,
    keep_daily: Option<u32>,
    keep_weekly: Option<u32>,
    keep_monthly: Option<u32>,
    keep_yearly: Option<u32>,
    keep_within: Option<String>,
    metrics: Option<PathBuf>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum StopValue {
    Users(bool),
    Project(String),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum FullEveryValue {
    Sets(u32),
    Time(String),
}

/// Adds what the configuration file says to the request of the command line. Its hooks are there also after an error in other
/// parts of it.
///
/// # Errors
/// The file cannot be read, or is not a configuration; it has hooks, and somebody else could have written them.
pub(crate) fn with_config(cli: &mut Cli, monitor: &dyn Monitor) -> Result<()> {
    let Some(argument) = &cli.common.config else { return Ok(()) };
    let path = path_of(argument);
    let shown = printable_path(&path);
    let file =
        TextFile::read(&path, monitor).map_err(|cause| Error::failed_at("cannot read configuration", &path, &cause))?;
    let mut config = parse(&file.text).map_err(|error| error.within(format!("configuration '{shown}'")))?;
    if !config.hooks.is_empty() {
        file.check_trusted(&path).map_err(|error| error.within(format!("configuration '{shown}', [hooks]")))?;
        config.hooks.config = std::path::absolute(&path).unwrap_or_else(|_| path.clone());
    }
    let common = &mut cli.common;
    if common.layout.is_none() {
        let own = || path.to_string_lossy().into_owned();
        common.layout = if config.archive.is_some() { Some(own()) } else { config.layout };
    }
    common.project = common.project.take().or(config.project);
    if let Command::Backup(arguments) | Command::Plan(arguments) = &mut cli.command {
        arguments.hooks = config.hooks;
        if common.only.is_empty() && !common.all {
            common.only.clone_from(&config.backup.only);
            common.all = config.backup.all;
        }
        fill(arguments, config.backup).map_err(|error| error.within(format!("configuration '{shown}', [backup]")))?;
    }
    Ok(())
}

/// Gives `arguments` what the command line leaves open.
fn fill(arguments: &mut Backup, table: BackupTable) -> Result<()> {
    // What is kept in one directory need not be what is kept in another one.
    if arguments.into.is_none() && arguments.dir.is_none() && arguments.to_command.is_none() {
        arguments.into = table.into;
        let keep = &mut arguments.keep;
        let is_open = *keep == Keep::default();
        if is_open && arguments.into.is_some() {
            *keep = Keep {
                last: table.keep_last,
                hourly: table.keep_hourly,
                daily: table.keep_daily,
                weekly: table.keep_weekly,
                monthly: table.keep_monthly,
                yearly: table.keep_yearly,
                within: table.keep_within,
            };
        }
        arguments.wait = arguments.wait.take().or(table.wait);
        arguments.two_pass |= table.two_pass && arguments.into.is_some();
        let full_every = table.full_every.map(|every| match every {
            FullEveryValue::Sets(count) => count.to_string(),
            FullEveryValue::Time(time) => time,
        });
        arguments.full_every = arguments.full_every.take().or(full_every);
    }
    if arguments.stop.is_none() && !arguments.allow_running {
        arguments.stop = match table.stop {
            None | Some(StopValue::Users(false)) => None,
            Some(StopValue::Users(true)) => Some(Stop::Users),
            Some(StopValue::Project(word)) if word == "project" => Some(Stop::Project),
            Some(StopValue::Project(word)) => return Err(unknown("stop", &word, "true, false or \"project\"")),
        };
    }
    if let (None, Some(word)) = (arguments.format, table.format) {
        let format = cli::Format::from_str(&word, false);
        arguments.format = Some(format.map_err(|_| unknown("format", &word, "bz2, gz, zst or tar"))?);
    }
    if let (None, Some(level)) = (arguments.level, table.level) {
        Level::new(level).ok_or_else(|| unknown("level", &level.to_string(), "a number from 1"))?;
        arguments.level = Some(level);
    }
    arguments.paranoid |= table.paranoid;
    arguments.xattrs |= table.xattrs;
    arguments.exclude.extend(table.exclude.into_iter().map(OsString::from));
    arguments.metrics = arguments.metrics.take().or(table.metrics);
    Ok(())
}

fn unknown(key: &str, value: &str, known: &str) -> Error {
    Error::usage(format!("{key} is '{}', and can be {known}", printable(value.as_bytes())))
}

fn parse(text: &str) -> Result<Config> {
    toml::from_str(text).map_err(|error| {
        let (line, reason) = line_and_reason(text, &error);
        let invalid = Error::usage(format!("line {line}: {}", printable(reason.as_bytes())));
        match nearest(reason) {
            Some(known) => invalid.hint(format!("did you mean `{known}`?")),
            None => invalid,
        }
    })
}

/// Returns the known key that is most like the one that serde does not know: "unknown field `kep`, expected one of `keep`, …".
fn nearest(reason: &str) -> Option<&str> {
    let mut quoted = reason.strip_prefix("unknown field ")?.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    let alike = |known: &&str| strsim::jaro_winkler(unknown, known);
    quoted.max_by(|a, b| alike(a).total_cmp(&alike(b))).filter(|known| alike(known) > 0.7)
}

/// Returns the name of the configuration that an argument of `--config` stands for.
pub(crate) fn name_of(argument: &str) -> String {
    path_of(argument).file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Returns the path of the file that an argument of `--config` stands for.
fn path_of(argument: &str) -> PathBuf {
    let is_path = argument.contains(['/', '.']);
    if is_path { PathBuf::from(argument) } else { Path::new(DIRECTORY).join(format!("{argument}.toml")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hooks::When;
    use voltar::monitor::Collector;

    fn read(line: &str, config: &str) -> Result<Cli> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.toml");
        std::fs::write(&path, config).unwrap();
        let words = line.split(' ').map(OsString::from).chain(["--config".into(), path.into()]);
        let mut cli = Cli::read(words).unwrap();
        with_config(&mut cli, &Collector::default()).map(|()| cli)
    }

    fn backup(line: &str, config: &str) -> Backup {
        match read(line, config).unwrap().command {
            Command::Backup(arguments) | Command::Plan(arguments) => arguments,
            other => panic!("{other:?}"),
        }
    }

    const NIGHTLY: &str = "[backup]\ninto = '/srv'\nstop = true\nformat = 'zst'\nlevel = 7\nkeep_daily = 7\n\
                           exclude = ['*.tmp']\nwait = '1m'\nmetrics = 'x.prom'\n";

    #[test]
    fn an_option_overrides_the_file() {
        let of_file = backup("voltar backup", NIGHTLY);
        let same = "voltar backup --into /srv --stop --format zst --level 7 --keep-daily 7 --exclude *.tmp --wait 1m \
                    --metrics x.prom";
        assert_eq!(of_file, backup(same, ""));
        let other = backup("voltar plan --stop=project --format gz --level 1 --keep-last 3 --wait 2m", NIGHTLY);
        assert_eq!((other.stop, other.format, other.level), (Some(Stop::Project), Some(cli::Format::Gz), Some(1)));
        assert_eq!(other.keep, Keep { last: Some(3), ..Keep::default() });
        assert_eq!((other.into, other.wait.as_deref()), (Some("/srv".into()), Some("2m")));
        assert_eq!(backup("voltar backup --allow-running", NIGHTLY).stop, None);
    }

    #[test]
    fn nothing_is_removed_elsewhere_than_the_file_says() {
        for line in ["voltar backup --into /other", "voltar backup /other", "voltar backup --to-command cat"] {
            assert_eq!(backup(line, NIGHTLY).keep, Keep::default(), "{line}");
        }
        assert_eq!(backup("voltar backup /other", NIGHTLY).into, None);
    }

    #[test]
    fn a_file_has_a_layout_or_is_one() {
        let common = |line: &str, config: &str| read(line, config).unwrap().common;
        let archive = "project = 'p'\n[[archive]]\nname = 'x'\n[backup]\nonly = ['x']\n";
        let own = common("voltar backup", archive);
        assert!(own.layout.unwrap().ends_with("/x.toml"));
        assert_eq!((own.project.as_deref(), own.only), (Some("p"), vec!["x".to_owned()]));
        assert_eq!(common("voltar restore", archive).only, Vec::<String>::new());
        assert_eq!(common("voltar restore", "layout = 'cvat'").layout.as_deref(), Some("cvat"));
        assert_eq!(common("voltar restore --layout y", archive).layout.as_deref(), Some("y"));
    }

    #[test]
    fn what_is_not_known_is_an_error_with_what_is_meant() {
        for (config, expected, hint) in [
            ("[backup]\ninto = 'x'\nkeep_dayly = 7", "line 3: unknown field `keep_dayly`", Some("`keep_daily`")),
            ("\nbackups = 1", "line 2: unknown field `backups`", Some("`backup`")),
            ("[backup]\nzzz = 1", "line 2: unknown field `zzz`", None),
            ("[backup]\nformat = 'rar'", "format is 'rar', and can be bz2, gz, zst or tar", None),
            ("[backup]\nstop = 'all'", "stop is 'all', and can be true, false or", None),
            ("[backup]\nlevel = 0", "level is '0', and can be a number from 1", None),
            ("[backup]\nkeep_last = -1", "line 2: invalid value: integer `-1`", None),
            ("[hooks]\nafter = 'x'\nfinaly = 'x'", "line 3: unknown field `finaly`", Some("`finally`")),
            ("[hooks]\nafter = ['x']", "line 2: invalid type: sequence, expected a string", None),
            ("[hook]", "line 1: unknown field `hook`", Some("`hooks`")),
            ("x", "line 1: ", None),
        ] {
            let error = read("voltar backup", config).unwrap_err();
            assert!(error.to_string().contains(expected), "{config}: {error}");
            assert_eq!(hint.is_some(), error.advice().is_some(), "{config}: {error}");
            assert!(hint.is_none_or(|hint| error.advice().is_some_and(|advice| advice.contains(hint))), "{config}");
        }
        let mut cli = Cli::read("voltar plan --config nothing".split(' ')).unwrap();
        let missing = with_config(&mut cli, &Collector::default());
        let expected = "cannot read configuration '/etc/voltar/nothing.toml': No such file or directory";
        assert_eq!(missing.unwrap_err().to_string(), expected);
    }

    #[test]
    fn hooks_are_kept_after_an_error_in_the_options() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.toml");
        std::fs::write(&path, "[backup]\nformat = 'rar'\n[hooks]\nfinally = 'true'").unwrap();
        let words = ["voltar".into(), "backup".into(), "--config".into(), path.clone().into_os_string()];
        let mut cli = Cli::read(words).unwrap();
        with_config(&mut cli, &Collector::default()).unwrap_err();
        let Command::Backup(arguments) = cli.command else { panic!() };
        assert_eq!((arguments.hooks.line(When::Finally), &arguments.hooks.config), (Some("true"), &path));
    }

    #[test]
    fn a_configuration_has_the_name_of_its_file() {
        for (argument, name) in [("nightly", "nightly"), ("/srv/x.toml", "x"), ("./a.b.toml", "a.b"), ("..", "")] {
            assert_eq!(name_of(argument), name);
        }
    }
}
