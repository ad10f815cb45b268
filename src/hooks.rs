//! Hooks: commands of a configuration file that run before and after a backup. A hook is a process group of its own, whose
//! output goes to standard error, so that standard output holds nothing but an archive or JSON.

use std::fmt;
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::Deserialize;
use voltar::error::{Error, ErrorKind, Result};
use voltar::process_group::{self, ProcessGroup};

/// The interval at which a hook that runs is looked at.
const INTERVAL: Duration = Duration::from_millis(20);

/// The length at which the value of a variable is cut, in bytes. The kernel runs no command with a longer one than 128 KiB
/// (`MAX_ARG_STRLEN`), and an error can name thousands of files.
const LONGEST_VALUE: usize = 16 << 10;

/// When a hook runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// Before anything else of the backup.
    Before,
    /// After the backup was made.
    After,
    /// After it was not made.
    Failed,
    /// At the end, in any case.
    Finally,
}

/// The hooks of a configuration: a command line for each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Hooks {
    before: Option<String>,
    after: Option<String>,
    failed: Option<String>,
    #[serde(rename = "finally")]
    last: Option<String>,
    /// The path of the configuration.
    #[serde(skip)]
    pub config: PathBuf,
}

/// What a hook at the end is told of the run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ending {
    /// The exit status so far.
    pub status: u8,
    /// The text of the error; empty if there is none.
    pub error: String,
    pub warnings: u64,
    /// The set or the directory of the archives, if one was made.
    pub set: Option<PathBuf>,
    /// How long containers were stopped, if they were.
    pub downtime: Option<Duration>,
    /// The length of all archives, if they were made.
    pub bytes: Option<u64>,
}

/// The variables that only some hooks have: those of the environment of this process mean nothing to a hook.
const VARIABLES: [&str; 6] =
    ["VOLTAR_STATUS", "VOLTAR_ERROR", "VOLTAR_WARNINGS", "VOLTAR_SET", "VOLTAR_DOWNTIME_SECONDS", "VOLTAR_BYTES"];

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Before => "before",
            Self::After => "after",
            Self::Failed => "failed",
            Self::Finally => "finally",
        })
    }
}

impl Hooks {
    /// Returns whether there is no hook.
    pub(crate) fn is_empty(&self) -> bool {
        [When::Before, When::After, When::Failed, When::Finally].into_iter().all(|when| self.line(when).is_none())
    }

    /// Returns the command line of a hook.
    pub(crate) fn line(&self, when: When) -> Option<&str> {
        match when {
            When::Before => self.before.as_deref(),
            When::After => self.after.as_deref(),
            When::Failed => self.failed.as_deref(),
            When::Finally => self.last.as_deref(),
        }
    }

    /// Runs a hook to its end, or kills it once `is_interrupted` returns true. Nothing happens if there is none.
    ///
    /// # Errors
    /// It cannot be started, fails, or was killed by `is_interrupted`.
    pub(crate) fn run(&self, when: When, ending: Option<&Ending>, is_interrupted: &dyn Fn() -> bool) -> Result<()> {
        let Some(line) = self.line(when) else { return Ok(()) };
        let mut command = Command::new("/bin/sh");
        command.args(["-c", line]).env("VOLTAR_HOOK", when.to_string()).env("VOLTAR_CONFIG", &self.config);
        for variable in VARIABLES {
            command.env_remove(variable);
        }
        if let Some(ending) = ending {
            command.envs(ending.variables());
        }
        match run(command, is_interrupted).map_err(|e| Error::failed("cannot run hook", when.to_string(), e))? {
            None => Err(Error::new(ErrorKind::Interrupted, format!("interrupted: hook '{when}' was killed"))),
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(Error::new(ErrorKind::Failed, format!("hook '{when}' failed: {}", described(status)))),
        }
    }
}

impl Ending {
    fn variables(&self) -> Vec<(&'static str, std::ffi::OsString)> {
        let values = [
            Some(self.status.to_string().into()),
            Some(for_environment(&self.error).into()),
            Some(self.warnings.to_string().into()),
            self.set.as_ref().map(|path| path.clone().into_os_string()),
            self.downtime.map(|time| format!("{:.3}", time.as_secs_f64()).into()),
            self.bytes.map(|bytes| bytes.to_string().into()),
        ];
        VARIABLES.into_iter().zip(values).filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// Returns text as the value of a variable: a hook that reports a failure must start whatever the text is.
fn for_environment(text: &str) -> String {
    let text = text.replace('\0', "\\0");
    match (0..=LONGEST_VALUE).rev().find(|&at| text.is_char_boundary(at)) {
        Some(end) if end < text.len() => format!("{} …", &text[..end]),
        _ => text,
    }
}

/// Runs a command to its end; `None` if it was killed because of `is_interrupted`.
fn run(mut command: Command, is_interrupted: &dyn Fn() -> bool) -> io::Result<Option<ExitStatus>> {
    if is_interrupted() {
        return Ok(None);
    }
    command.stdin(Stdio::null()).stdout(io::stderr().as_fd().try_clone_to_owned()?);
    let mut group = ProcessGroup::spawn(&mut command)?;
    while !group.has_ended() {
        if is_interrupted() {
            process_group::kill(&mut [&mut group]);
            return Ok(None);
        }
        sleep(INTERVAL);
    }
    group.reap().map(Some)
}

/// Formats how a command ended that did not succeed.
fn described(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(number)) => match Signal::try_from(number) {
            Ok(signal) => format!("killed by {signal}"),
            Err(_) => format!("killed by signal {number}"),
        },
        (None, None) => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;
    use std::time::Instant;

    fn hooks(line: &str) -> Hooks {
        Hooks { before: Some(line.to_owned()), ..Hooks::default() }
    }

    fn run(line: &str) -> Result<()> {
        hooks(line).run(When::Before, None, &|| false)
    }

    #[test]
    fn a_failure_says_how_the_command_ended() {
        run("true").unwrap();
        Hooks::default().run(When::After, None, &|| true).unwrap();
        let text = |line: &str| run(line).unwrap_err().to_string();
        assert_eq!(text("exit 3"), "hook 'before' failed: exit status 3");
        assert_eq!(text("kill -KILL $$"), "hook 'before' failed: killed by SIGKILL");
        assert_eq!(text("kill -40 $$"), "hook 'before' failed: killed by signal 40");
        assert!(run("a\0b").unwrap_err().to_string().starts_with("cannot run hook 'before': "));
    }

    #[test]
    fn all_processes_of_an_interrupted_hook_are_killed() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        // Neither the shell nor what it has started obeys SIGTERM.
        let line = format!("trap '' TERM; sleep 60 & echo $! > {}.new; mv {0}.new {0}; wait", at("pid"));
        let is_started = || dir.path().join("pid").exists();
        let begun = Instant::now();
        let error = hooks(&line).run(When::Before, None, &is_started).unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (ErrorKind::Interrupted, "interrupted: hook 'before' was killed")
        );
        assert!(begun.elapsed() < Duration::from_secs(30));
        let pid = fs::read_to_string(at("pid")).unwrap();
        let stat = Path::new("/proc").join(pid.trim()).join("stat");
        // It may still be a zombie of whoever adopts it.
        let is_gone = || fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
        while !is_gone() && begun.elapsed() < Duration::from_secs(30) {
            sleep(INTERVAL);
        }
        assert!(is_gone());
    }

    #[test]
    fn what_is_not_known_is_not_in_the_environment() {
        // More than the kernel takes.
        let ending = Ending { error: format!("a\0{}", "ä".repeat(1 << 17)), ..Ending::default() };
        let names: Vec<_> = ending.variables().into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["VOLTAR_STATUS", "VOLTAR_ERROR", "VOLTAR_WARNINGS"]);
        let line = format!("test -z \"${{VOLTAR_SET+x}}\" && test ${{#VOLTAR_ERROR}} -gt {}", LONGEST_VALUE / 2);
        hooks(&line).run(When::Before, Some(&ending), &|| false).unwrap();
    }
}
