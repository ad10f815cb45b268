//! The command line as clap structs: raw arguments and their help. Nothing is looked up or opened
//! here, no variable is read, and whether a request can be carried out is for the plan to say.

#![allow(clippy::struct_excessive_bools, reason = "a switch of the command line is a bool")]
#![allow(
    clippy::doc_markdown,
    rustdoc::bare_urls,
    reason = "these comments are the help, where backticks would be noise"
)]

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use voltar::check::Check;
use voltar::codec::Level;

use crate::hooks::Hooks;

mod after_help;

use after_help::{
    BACKUP_EXAMPLES, COMPLETIONS_EXAMPLES, ENVIRONMENT, EXIT_STATUS, HOOKS, LAYOUT_EXAMPLES, LIST_EXAMPLES,
    MAIN_EXAMPLES, MAN_EXAMPLES, PLAN_EXAMPLES, PLAN_EXIT_STATUS, PRUNE_EXAMPLES, RESTORE_EXAMPLES, RESUME_EXAMPLES,
    SETS_EXAMPLES, VERIFY_EXAMPLES,
};

/// What goes below the options of a command's help.
macro_rules! after {
    ($examples:expr) => {
        after!($examples, EXIT_STATUS)
    };
    ($examples:expr, $status:expr) => {
        format!("{}\n\n{}\n\n{}", $examples, $status, ENVIRONMENT)
    };
}

/// Archives Docker volumes as tar, and restores them.
///
/// voltar does natively what CVAT's backup guide does with helper containers: the same archives with
/// the same paths, so that what one writes the other restores. Other compose stacks are described in a
/// layout file. It needs to run as root on the Docker host.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(name = "voltar", version, max_term_width = 100, arg_required_else_help = true)]
#[command(disable_help_subcommand = true, after_help = after!(MAIN_EXAMPLES))]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What every command understands.
    #[command(flatten)]
    pub common: Common,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub(crate) enum Command {
    /// Show what would be archived, from where, and how big it is.
    ///
    /// Shows for every archive the container, the path, the mounts that make up the tree, who uses
    /// them, files and bytes, and every reason why a backup would be refused. It takes the options of
    /// `backup`, shows what a backup with them would do, and writes nothing.
    #[command(after_help = after!(PLAN_EXAMPLES, PLAN_EXIT_STATUS))]
    Plan(Backup),

    /// Archive the volumes, one archive per entry of the layout.
    ///
    /// Writes the archives into DIR, named as the guide names them. An archive appears under its name only when
    /// it is complete and on disk. It is refused while containers that use the volumes are
    /// running, unless --stop or --allow-running is given.
    #[command(after_help = after!(format!("{BACKUP_EXAMPLES}\n\n{HOOKS}")))]
    Backup(Backup),

    /// List the sets that `backup --into` has made.
    ///
    /// Prints a line for each: whether it is complete, how large it is, how many warnings its backup had, and when it was
    /// verified last. `restore`, `verify` and `list` take such a set, or DIR for the newest complete one.
    #[command(after_help = after!(SETS_EXAMPLES))]
    Sets(Sets),

    /// Remove sets that are not to be kept.
    ///
    /// The options have the names and the meaning of those of `restic forget`: what any of them keeps is kept. Days and so on
    /// are counted only if they have a complete set, so that missed nights destroy nothing. The newest complete set always
    /// stays, and so does what is not a complete set.
    #[command(after_help = after!(PRUNE_EXAMPLES))]
    Prune(Prune),

    /// Read archives to their end and check that they are complete.
    ///
    /// Checks every checksum and the structure of the tar stream, and prints members, bytes and time for
    /// each archive. Damage is located: archive, offset, last good member. No engine is needed, unless the
    /// archives are compared with their volumes.
    #[command(after_help = after!(VERIFY_EXAMPLES))]
    Verify(Verify),

    /// List an archive's members as `tar -tvf` does.
    ///
    /// Prints one line a member, equal to what GNU tar prints, in local time. The compression is
    /// detected by the file's first bytes, not by its name. No engine is needed.
    #[command(after_help = after!(LIST_EXAMPLES))]
    List(List),

    /// Restore archives into the volumes.
    ///
    /// Each volume becomes exactly what its archive holds: the tree is extracted and checked beside the
    /// live one and then swapped with it, so that after an error or a crash the volume is either as it
    /// was or completely restored. An archive of another path is refused before anything is changed.
    /// Containers that use the volumes must be stopped, or --stop given.
    #[command(after_help = after!(RESTORE_EXAMPLES))]
    Restore(Restore),

    /// Complete or undo an interrupted restore, and start the containers that were left stopped.
    ///
    /// `--stop` starts containers again however the run ends, except after a `kill -9` or a power cut. What
    /// it stopped is recorded on disk; this starts exactly those. A volume whose restore was interrupted becomes
    /// the old tree or the new one.
    #[command(after_help = after!(RESUME_EXAMPLES))]
    Resume,

    /// Print a layout for another stack than CVAT: TOML, ready to save.
    ///
    /// Describes one compose project or, if there is none, the containers: one entry for each volume, and for each
    /// directory of the host that a container can write. Comments say what each one is, and what is left out. --only
    /// selects entries by name.
    #[command(after_help = after!(LAYOUT_EXAMPLES))]
    Layout,

    /// Print the completion script of a shell.
    ///
    /// The script completes commands, options and their values. The Debian package installs those of bash, fish and zsh.
    #[command(after_help = after!(COMPLETIONS_EXAMPLES))]
    Completions(Completions),

    /// Write the man pages into a directory.
    ///
    /// Writes voltar.1, and a page for each command. The Debian package installs them.
    #[command(after_help = after!(MAN_EXAMPLES))]
    Man(Man),
}

/// Options of every command; they may stand before its name and after it.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct Common {
    /// Only these archives of the layout, separated by commas; may be given more than once.
    #[arg(long, global = true, value_name = "NAME", value_delimiter = ',', help_heading = "Which archives")]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub only: Vec<String>,

    /// Also the archives that the guide leaves out, if they exist: cvat_logs, the caches, cvat_keys before CVAT 2.2.
    #[arg(long, global = true, help_heading = "Which archives")]
    pub all: bool,

    /// Which container paths make up which archive: the name of a built-in layout, or a TOML file [default: cvat]
    #[arg(long, global = true, value_name = "NAME|FILE", help_heading = "Which archives")]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub layout: Option<String>,

    /// The layout, and the options of backup, of a file: /etc/voltar/NAME.toml, or FILE. Options that are given override it.
    #[arg(long, global = true, value_name = "NAME|FILE", help_heading = "Which archives")]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub config: Option<String>,

    /// The compose project, if more than one has these volumes.
    #[arg(long, global = true, value_name = "NAME", help_heading = "Which archives")]
    pub project: Option<String>,

    /// The archive NAME is the volume with this full name; may be given more than once.
    #[arg(long, global = true, value_name = "NAME=VOLUME", value_parser = assignment, help_heading = "Which archives")]
    pub volume: Vec<(String, String)>,

    /// The engine's address, such as unix:///run/docker.sock [default: DOCKER_HOST, then the local socket]
    #[arg(long, global = true, value_name = "ADDR", help_heading = "Where the volumes are")]
    pub docker: Option<String>,

    /// Use no engine: read containers and volumes from Docker's own files below DIR (/var/lib/docker).
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "docker")]
    #[arg(help_heading = "Where the volumes are")]
    pub data_root: Option<PathBuf>,

    /// Worker threads, shared by all archives [default: all cores]
    #[arg(short, long, global = true, value_name = "N", help_heading = "How")]
    pub jobs: Option<NonZeroUsize>,

    /// Print the name of every member, as `tar -v` does.
    #[arg(short, long, global = true, help_heading = "Output")]
    pub verbose: bool,

    /// Print only errors and warnings (and what list and plan were asked for).
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Output")]
    pub quiet: bool,

    /// Print each event as a JSON object on one line; plan and --dry-run print one document.
    #[arg(long, global = true, help_heading = "Output")]
    pub json: bool,

    /// Show progress: bars on a terminal, a few plain lines elsewhere; or none.
    #[arg(long, global = true, value_name = "auto|never", default_value = "auto", help_heading = "Output")]
    #[arg(hide_possible_values = true, value_parser = clap::value_parser!(Progress))]
    pub progress: Progress,
}

/// When progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Progress {
    /// Bars on a terminal, plain lines elsewhere.
    Auto,
    /// Not at all.
    Never,
}

/// Arguments of `backup` and `plan`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct Backup {
    /// The directory for the archives, created if it does not exist; or - to write one archive to standard output
    /// [default: backup]
    #[arg(value_name = "DIR|-")]
    pub dir: Option<PathBuf>,

    /// Run CMD once per archive and write the archive to its standard input. {file} in CMD stands for the archive's file
    /// name, as VOLTAR_FILE and VOLTAR_ARCHIVE do in its environment. If anything fails, every command is killed before it
    /// sees the end of its input.
    #[arg(long, value_name = "CMD", conflicts_with = "dir")]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    pub to_command: Option<String>,

    /// With --to-command, for a target that is slower than the disk: write the archives to DIR, start the containers, and only
    /// then give each archive to CMD, and remove it. What could not be delivered stays in DIR.
    #[arg(long, value_name = "DIR", requires = "to_command")]
    pub spool: Option<PathBuf>,

    /// Make a set in DIR: a directory named by the time, such as 2026-11-25T02-00-00Z, with the archives, SHA256SUMS, and
    /// voltar.json, which says what is in it. It appears when it is complete.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["dir", "overwrite", "to_command"])]
    pub into: Option<PathBuf>,

    /// With --into: archive everything only once in TIME, such as 7d, or in so many sets; in between, what has changed since.
    /// Databases are always archived as a whole. A set of changes is restored like any other one, and needs the full one.
    #[arg(long, value_name = "TIME|SETS")]
    pub full_every: Option<String>,

    /// With --into and --stop: archive everything but databases before containers are stopped, and then, while they are, only
    /// what has changed since. The set holds both parts; a restore puts them together.
    #[arg(long, conflicts_with = "allow_running")]
    pub two_pass: bool,

    /// Wait so long for another backup that reads the same volumes, or for a run that uses the DIR of --into, instead of giving
    /// up at once: 10m, 2h.
    #[arg(long, value_name = "TIME")]
    pub wait: Option<String>,

    /// Print what would be done, and every reason against it; change nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,

    /// Stop every running container that uses the volumes, and start them again afterwards. With =project, every container of
    /// their compose project: also those that reach a database only over the network.
    #[arg(long, value_name = "project", num_args = 0..=1, require_equals = true, default_missing_value = "users")]
    #[arg(hide_possible_values = true)]
    pub stop: Option<Stop>,

    /// Archive although containers are running: the archive may hold files in the middle of a change.
    #[arg(long, conflicts_with = "stop")]
    pub allow_running: bool,

    /// Replace archives that exist.
    #[arg(long)]
    pub overwrite: bool,

    /// How hard to compress, 1 (fast) to 9 (small), with zst to 19. By default that of the format's own tool: bz2 9, gz 6,
    /// zst 3.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=i64::from(Level::MAX)))]
    pub level: Option<u8>,

    /// Decompress each block again before it is written, and compare: for computers whose memory is not trusted.
    #[arg(long)]
    pub paranoid: bool,

    /// The archives' compression: bz2, gz, zst, or tar for none. By default that of the guide of this CVAT: bz2 up to 2.1,
    /// gz later; bz2 for other stacks.
    #[arg(long, value_name = "bz2|gz|zst|tar", hide_possible_values = true)]
    pub format: Option<Format>,

    /// Archive trees that are empty, or a database without PG_VERSION.
    #[arg(long)]
    pub allow_empty: bool,

    /// Archive a PostgreSQL cluster although links of its pg_tblspc, or its pg_wal, lead to what is not archived with it.
    #[arg(long)]
    pub allow_outside_links: bool,

    /// Archive extended attributes, ACLs and capabilities too, and times with fractions of a second, as `tar --xattrs --acls`
    /// does; other programs skip what they do not know. A restore needs no option.
    #[arg(long)]
    pub xattrs: bool,

    /// Leave out the members that match, as `tar --exclude` does: the pattern is compared with the whole name and with
    /// every end of it after a slash, and wildcards match slashes; may be given more than once. @caches stands for what the
    /// application rebuilds by itself, as the layout knows it (cvat: cache and temporary files).
    #[arg(long, value_name = "PATTERN")]
    pub exclude: Vec<OsString>,

    /// Write figures of the run to FILE at its end, for the textfile collector of Prometheus' node exporter: times, exit
    /// status, warnings, downtime, and the length of each archive.
    #[arg(long, value_name = "FILE.prom")]
    pub metrics: Option<PathBuf>,

    /// Which sets in DIR are kept; all, if none of these is given.
    #[command(flatten)]
    pub keep: Keep,

    /// Only a configuration file has hooks.
    #[arg(skip)]
    pub hooks: Hooks,
}

/// Which sets are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
#[command(next_help_heading = "Which sets are kept")]
pub(crate) struct Keep {
    /// Keep the N newest sets.
    #[arg(long = "keep-last", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub last: Option<u32>,

    /// Keep the newest set of each of the last N hours that have one.
    #[arg(long = "keep-hourly", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub hourly: Option<u32>,

    /// Keep the newest set of each of the last N days that have one.
    #[arg(long = "keep-daily", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub daily: Option<u32>,

    /// Keep the newest set of each of the last N weeks that have one.
    #[arg(long = "keep-weekly", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub weekly: Option<u32>,

    /// Keep the newest set of each of the last N months that have one.
    #[arg(long = "keep-monthly", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub monthly: Option<u32>,

    /// Keep the newest set of each of the last N years that have one.
    #[arg(long = "keep-yearly", value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub yearly: Option<u32>,

    /// Keep all sets that are at most so much older than the newest one: 30d, 1y6m, 36h.
    #[arg(long = "keep-within", value_name = "TIME")]
    pub within: Option<String>,
}

/// Which containers are stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stop {
    /// Those that use the volumes.
    #[value(hide = true)]
    Users,
    /// All of the compose project.
    Project,
}

/// How archives are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// bzip2.
    Bz2,
    /// gzip.
    Gz,
    /// Zstandard.
    Zst,
    /// Not at all.
    Tar,
}

/// Arguments of `sets`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct Sets {
    /// The directory that holds the sets.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}

/// Arguments of `prune`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct Prune {
    /// The directory that holds the sets.
    #[arg(value_name = "DIR")]
    pub into: PathBuf,

    /// Print which sets would be removed, and why the others stay; change nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,

    /// Wait so long for another run that uses DIR, instead of giving up at once: 10m, 2h.
    #[arg(long, value_name = "TIME")]
    pub wait: Option<String>,

    /// Which sets are kept: at least one of these.
    #[command(flatten)]
    pub keep: Keep,
}

/// Arguments of `verify`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct Verify {
    /// A directory that holds archives, a set or a directory of sets, or archive files; - reads an archive from standard
    /// input.
    #[arg(value_name = "DIR|FILE|-", default_value = "backup")]
    pub sources: Vec<PathBuf>,

    /// Also compare each archive with its volume, member by member, and list what differs. Nothing is stopped or changed;
    /// what running containers change meanwhile differs. The exit status is 1 if something differs.
    #[arg(long)]
    pub against_volume: bool,

    /// Decompress by libraries that share no code with those that compress, on one core.
    #[arg(long, conflicts_with = "against_volume")]
    pub paranoid: bool,

    /// With --against-volume: compare what lies below this directory of the archive, as `restore --from` restores it.
    #[arg(long, value_name = "PREFIX", requires = "against_volume")]
    pub from: Option<OsString>,

    /// With --against-volume: the archive need not hold what matches, as after `backup --exclude`; may be given more than
    /// once.
    #[arg(long, value_name = "PATTERN", requires = "against_volume")]
    pub exclude: Vec<OsString>,
}

/// Arguments of `list`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct List {
    /// The archive file; a directory or set that holds one, or of which --only selects one; - reads it from standard input.
    #[arg(value_name = "ARCHIVE")]
    pub archive: PathBuf,
}

/// Arguments of `restore`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct Restore {
    /// A directory that holds archives, a set or a directory of sets, or archive files; - reads an archive from standard
    /// input.
    #[arg(value_name = "DIR|FILE|-", default_value = "backup")]
    pub sources: Vec<PathBuf>,

    /// Print what would be done, and every reason against it; change nothing.
    #[arg(short = 'n', long)]
    pub dry_run: bool,

    /// Stop every running container that uses the volumes, and start them again afterwards. With =project, every container of
    /// their compose project: also those that reach a database only over the network.
    #[arg(long, value_name = "project", num_args = 0..=1, require_equals = true, default_missing_value = "users")]
    #[arg(hide_possible_values = true)]
    pub stop: Option<Stop>,

    /// Extract over the live files, as `tar -x` does, and keep files that the archive does not name.
    #[arg(long, conflicts_with_all = ["in_place", "keep_previous"])]
    pub merge: bool,

    /// Write over the live files, for volumes too large to stage; the whole archive is checked first.
    #[arg(long, conflicts_with = "keep_previous")]
    pub in_place: bool,

    /// Keep the tree that was replaced, and print where it is.
    #[arg(long)]
    pub keep_previous: bool,

    /// Leave volumes that are mounted read-only below the path as they are, and count what is not restored.
    #[arg(long)]
    pub skip_read_only: bool,

    /// Create the volumes that do not exist, as compose would: on a new host, or after `docker compose down -v`. The
    /// project is that of the layout or of --project.
    #[arg(long)]
    pub create_volumes: bool,

    /// Restore what lies below this directory of the archive, and skip the rest: `.` for an archive of `tar -C DIR .`,
    /// `data` for one that begins with `data/`.
    #[arg(long, value_name = "PREFIX")]
    pub from: Option<OsString>,

    /// Restore only PATH, with all that lies below it, and leave everything else as it is: a path below the volume's root, or
    /// a name as `list` prints it; may be given more than once. What is at PATH is replaced; with --merge it is merged.
    #[arg(long, value_name = "PATH", conflicts_with = "in_place")]
    pub path: Vec<OsString>,

    /// Restore into the directory DIR instead of the volumes: it must be new or empty, no engine is needed, and nothing is
    /// stopped. Several archives go to DIR/NAME each.
    #[arg(long, value_name = "DIR")]
    #[arg(conflicts_with_all = ["stop", "merge", "in_place", "keep_previous", "skip_read_only", "create_volumes", "check"])]
    pub to: Option<PathBuf>,

    /// Run COMMAND with the shell of a container, named or of a compose service, after the containers were started, until it
    /// succeeds: `cvat_server: python manage.py health_check`. The exit status is 1 if it does not. May be given more than
    /// once, and overrides those of the layout.
    #[arg(long, value_name = "SERVICE: COMMAND", value_parser = Check::parse)]
    pub check: Vec<Check>,

    /// Repeat the checks for so long in all: 90s, 10m.
    #[arg(long, value_name = "TIME", default_value = "5m")]
    pub check_within: String,

    /// Restore archives that hold no data.
    #[arg(long)]
    pub allow_empty: bool,

    /// Restore archives that end after a complete member, without the end-of-archive marker: more members may be missing.
    #[arg(long)]
    pub allow_truncated_end: bool,

    /// Restore a PostgreSQL cluster although the volume, or the container's image, is of another major version: the server
    /// of another one does not start on it.
    #[arg(long)]
    pub force_version: bool,
}

/// Arguments of `completions`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct Completions {
    /// The shell.
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct Man {
    /// The directory, created if it does not exist.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}

/// Parses `NAME=VOLUME`.
fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, volume)) if !name.is_empty() && !volume.is_empty() => Ok((name.to_owned(), volume.to_owned())),
        _ => Err("it reads NAME=VOLUME: an archive of the layout and the full name of its volume".to_owned()),
    }
}

impl Cli {
    /// Reads the command line; the error prints itself and knows its exit status (2; 0 for `--help`).
    ///
    /// # Errors
    /// Whatever makes no sense as a request.
    pub(crate) fn read<I, T>(arguments: I) -> Result<Self, clap::Error>
    where
        I: IntoIterator<Item = T>,
        T: Into<OsString> + Clone,
    {
        let cli = Self::try_parse_from(arguments)?;
        // clap sees a conflict only where both options stand on the same side of the command's name.
        let common = &cli.common;
        let has_check = matches!(&cli.command, Command::Restore(restore) if !restore.check.is_empty());
        for (conflict, one, other) in [
            (common.verbose && common.quiet, "--verbose", "--quiet"),
            (common.docker.is_some() && common.data_root.is_some(), "--docker <ADDR>", "--data-root <DIR>"),
            (has_check && common.data_root.is_some(), "--check <SERVICE: COMMAND>", "--data-root <DIR>"),
        ] {
            if conflict {
                let message = format!("the argument '{one}' cannot be used with '{other}'");
                return Err(Self::command().error(ErrorKind::ArgumentConflict, message));
            }
        }
        if let Command::Plan(backup) | Command::Backup(backup) = &cli.command
            && backup.overwrite
        {
            let nothing = if backup.dir.as_ref().is_some_and(|dir| dir.as_os_str() == "-") {
                "'-': standard output has nothing to overwrite"
            } else if backup.to_command.is_some() && backup.spool.is_none() {
                "'--to-command <CMD>', unless with '--spool <DIR>'"
            } else {
                return Ok(cli);
            };
            let message = format!("the argument '--overwrite' cannot be used with {nothing}");
            return Err(Self::command().error(ErrorKind::ArgumentConflict, message));
        }
        Ok(cli)
    }
}

#[cfg(test)]
mod tests;
