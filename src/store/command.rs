//! Commands as the destinations of archives: each archive is written to the standard input of its own command. A command
//! sees the end of its input only when all archives of the run are complete, and is killed before that otherwise.

use std::fmt;
use std::io::{self, PipeReader, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::process::{ChildStdin, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::PollFlags;

use super::held_back::HeldBack;
use super::waiting::{PIECE, ready};
use crate::error::{Cause, Error, ErrorKind, Result, carried};
use crate::member::printable;
use crate::monitor::{Event, Monitor};
use crate::process_group::{self, ProcessGroup};

/// What stands for the archive's file name in a command line.
pub(super) const FILE: &str = "{file}";

/// The length at which a line of a command's output is cut.
const LONGEST_LINE: usize = 4096;

/// A command that receives one archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine {
    archive: String,
    file: String,
    line: String,
}

impl CommandLine {
    /// Returns the command of the archive `archive`, whose file name is `file`: `template`, in which `{file}` stands for
    /// that name.
    pub(super) fn new(template: &str, archive: &str, file: &str) -> Self {
        let line = template.replace(FILE, &quoted(file));
        Self { archive: archive.to_owned(), file: file.to_owned(), line }
    }

    /// Returns the command line as the shell is given it.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    /// Returns the name of the archive.
    pub(super) fn archive(&self) -> &str {
        &self.archive
    }

    /// Returns the file name of the archive, which identifies it in events.
    pub(super) fn file(&self) -> &Path {
        Path::new(&self.file)
    }

    /// Returns the error of this command's archive.
    pub(super) fn failed(&self, cause: impl Into<Cause>) -> Error {
        Error::failed(&format!("{}: cannot write to the command", self.archive), &self.line, cause)
    }
}

impl fmt::Display for CommandLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", printable(self.line.as_bytes()))
    }
}

/// Quotes a word for the shell, if it needs it.
pub(super) fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-+@%:,=/".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A running command and the archive that is written to it. Dropping it before it has ended kills the command, which does
/// not see the end of its input.
#[derive(Debug)]
pub(super) struct CommandArchive {
    command: CommandLine,
    group: ProcessGroup,
    /// `None` once the command was given the end of its input.
    stdin: Option<ChildStdin>,
    /// What the command prints, on both of its streams; `None` once it has closed them.
    output: Option<PipeReader>,
    line: Vec<u8>,
    held: HeldBack,
}

impl CommandArchive {
    /// Starts a command.
    ///
    /// # Errors
    /// The shell cannot be started.
    pub(super) fn start(command: &CommandLine) -> Result<Self> {
        let failed = |e: io::Error| Error::failed("cannot run", &command.line, e);
        let (output, printed) = io::pipe().map_err(failed)?;
        let mut shell = std::process::Command::new("/bin/sh");
        shell
            .args(["-c", &command.line])
            .env("VOLTAR_ARCHIVE", &command.archive)
            .env("VOLTAR_FILE", &command.file)
            .stdin(Stdio::piped())
            .stdout(printed.try_clone().map_err(failed)?)
            .stderr(printed);
        let mut group = ProcessGroup::spawn(&mut shell).map_err(failed)?;
        let stdin = group.take_stdin();
        let (line, held) = (Vec::new(), HeldBack::default());
        Ok(Self { command: command.clone(), group, stdin, output: Some(output), line, held })
    }

    pub(super) fn write(&mut self, bytes: &[u8], monitor: &dyn Monitor) -> io::Result<()> {
        let mut held = std::mem::take(&mut self.held);
        let written = held.push(bytes, |bytes| self.send(bytes, monitor));
        self.held = held;
        written
    }

    pub(super) fn bytes(&self) -> u64 {
        self.held.total()
    }

    /// Writes what was held back, but leaves the input open.
    fn release(&mut self, monitor: &dyn Monitor) -> Result<()> {
        let mut held = std::mem::take(&mut self.held);
        let released = held.release(|bytes| self.send(bytes, monitor));
        self.held = held;
        released.map_err(|e| monitor.cause(carried(&e).cloned().unwrap_or_else(|| self.command.failed(&e))))?;
        if self.group.has_ended() {
            return Err(self.ended_early(monitor));
        }
        Ok(())
    }

    /// Writes the first of `bytes` once the command reads, and passes on what it prints meanwhile.
    fn send(&mut self, bytes: &[u8], monitor: &dyn Monitor) -> io::Result<usize> {
        loop {
            monitor.check_cancelled()?;
            let Some(stdin) = &mut self.stdin else { return Err(io::ErrorKind::BrokenPipe.into()) };
            let input = (stdin.as_fd(), PollFlags::POLLOUT);
            let [takes, prints] = match &self.output {
                Some(output) => ready([input, (output.as_fd(), PollFlags::POLLIN)])?,
                None => ready([input])?.map(|takes| [takes, false])[0],
            };
            let written = takes.then(|| stdin.write(&bytes[..bytes.len().min(PIECE)]));
            if prints {
                self.pass_on(monitor)?;
            }
            match written {
                None => {}
                Some(Err(e)) if e.kind() == io::ErrorKind::BrokenPipe => return Err(self.ended_early(monitor).into()),
                Some(result) => return result,
            }
        }
    }

    /// Passes on what the command has printed; there is something.
    fn pass_on(&mut self, monitor: &dyn Monitor) -> io::Result<()> {
        let Some(output) = &mut self.output else { return Ok(()) };
        let mut piece = [0; LONGEST_LINE];
        let count = output.read(&mut piece)?;
        if count == 0 {
            self.output = None;
        }
        for &byte in &piece[..count] {
            if byte == b'\n' || self.line.len() == LONGEST_LINE {
                self.print_line(monitor);
            }
            if byte != b'\n' {
                self.line.push(byte);
            }
        }
        if count == 0 && !self.line.is_empty() {
            self.print_line(monitor);
        }
        Ok(())
    }

    fn print_line(&mut self, monitor: &dyn Monitor) {
        let line = String::from_utf8_lossy(&self.line);
        monitor.event(&Event::CommandOutput { archive: &self.command.archive, line: line.trim_end() });
        self.line.clear();
    }

    /// Passes on what the command has printed so far.
    fn pass_on_all(&mut self, monitor: &dyn Monitor) {
        let nothing_is_left = |output: &PipeReader| !matches!(ready([(output.as_fd(), PollFlags::POLLIN)]), Ok([true]));
        while let Some(output) = &self.output {
            if nothing_is_left(output) || self.pass_on(monitor).is_err() {
                break;
            }
        }
        if !self.line.is_empty() {
            self.print_line(monitor);
        }
    }

    /// Returns the error of a command that has stopped reading.
    fn ended_early(&mut self, monitor: &dyn Monitor) -> Error {
        // It has closed its input, and is about to end.
        self.group.wait_a_moment();
        self.pass_on_all(monitor);
        let cause = if self.group.has_ended() {
            match self.group.reap() {
                Ok(status) => format!("it ended before the archive was complete: {status}"),
                Err(e) => e.to_string(),
            }
        } else {
            "it has closed its input before the archive was complete".to_owned()
        };
        self.command.failed(cause)
    }
}

impl Drop for CommandArchive {
    fn drop(&mut self) {
        kill(std::slice::from_mut(self));
    }
}

/// Kills the commands that have not ended. None of them sees the end of an input that was not closed.
fn kill(archives: &mut [CommandArchive]) {
    process_group::kill(&mut archives.iter_mut().map(|archive| &mut archive.group).collect::<Vec<_>>());
}

/// Gives all commands the end of their archives, or none, and waits until they have ended.
///
/// # Errors
/// A command ended before: then none has seen the end. Or one fails afterwards: the error names those that have received
/// their archives.
pub(super) fn deliver(mut archives: Vec<CommandArchive>, monitor: &dyn Monitor) -> Result<()> {
    let complete = archives.iter_mut().try_for_each(|archive| archive.release(monitor));
    if let Err(error) = complete.and_then(|()| monitor.check_cancelled()) {
        kill(&mut archives);
        for archive in &mut archives {
            archive.pass_on_all(monitor);
        }
        return Err(error);
    }
    for archive in &mut archives {
        archive.stdin = None;
    }
    let waited = archives.iter_mut().try_for_each(|archive| wait(archive, monitor));
    if waited.is_err() {
        kill(&mut archives);
    }
    for archive in &mut archives {
        archive.pass_on_all(monitor);
    }
    outcome(&archives, waited.is_err(), monitor)
}

/// Waits until a command has ended, and passes on what it prints.
fn wait(archive: &mut CommandArchive, monitor: &dyn Monitor) -> Result<()> {
    while !archive.group.has_ended() {
        monitor.check_cancelled()?;
        let printed = match &archive.output {
            Some(output) => matches!(ready([(output.as_fd(), PollFlags::POLLIN)]), Ok([true])),
            None => false,
        };
        if printed {
            archive.pass_on(monitor).ok();
        } else if archive.output.is_none() {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    archive.group.reap().map_err(|e| archive.command.failed(e))?;
    Ok(())
}

fn outcome(archives: &[CommandArchive], was_cancelled: bool, monitor: &dyn Monitor) -> Result<()> {
    let (delivered, failed): (Vec<_>, Vec<_>) =
        archives.iter().partition(|archive| archive.group.status().is_some_and(|status| status.success()));
    let Some(first) = failed.first() else {
        for archive in &delivered {
            let CommandLine { archive, .. } = &archive.command;
            monitor.note(&format!("{archive}: delivered; its command has ended with status 0"));
        }
        return Ok(());
    };
    let names = |archives: &[&CommandArchive]| {
        archives.iter().map(|archive| archive.command.archive.as_str()).collect::<Vec<_>>().join(", ")
    };
    let so_far = match &delivered[..] {
        // The error is that of the only archive.
        [] if failed.len() == 1 => String::new(),
        [] => "; no archive was delivered".to_owned(),
        delivered => format!("; delivered: {}; not delivered: {}", names(delivered), names(&failed)),
    };
    if was_cancelled {
        return Err(Error::new(ErrorKind::Interrupted, format!("interrupted while commands completed{so_far}")));
    }
    let status = first.group.status().map_or_else(|| Errno::ESRCH.desc().to_owned(), |status| status.to_string());
    let cause = format!("{status}{so_far}");
    Err(Error::failed(&format!("{}: the command failed", first.command.archive), &first.command.line, cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_is_one_word_of_the_shell() {
        let line = |template: &str, file: &str| CommandLine::new(template, "a", file).line;
        assert_eq!(line("rclone rcat r:x/{file}", "cvat_db.tar.bz2"), "rclone rcat r:x/cvat_db.tar.bz2");
        assert_eq!(line("cat > {file}", "it's; rm -rf x"), r"cat > 'it'\''s; rm -rf x'");
        assert_eq!(line("cat", "x"), "cat");
        assert_eq!(quoted(""), "''");
    }
}
