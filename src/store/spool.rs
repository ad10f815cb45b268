//! Archives that were written to a directory of this host first, and go from there to the commands that receive them: so
//! containers need not wait for a target that is slower than the disk.

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use super::command::{self, CommandArchive, CommandLine};
use super::location::Location;
use crate::error::{Error, Result, carried};
use crate::member::printable_path;
use crate::monitor::Monitor;
use crate::units;

/// The number of bytes that are read at once.
const PIECE: usize = 1 << 20;

/// Gives the archive `name` in `file` to its command, and removes the file once the command has succeeded.
///
/// # Errors
/// The file cannot be read, the command fails, or the run is cancelled: the file stays, and the error says so.
pub(super) fn deliver(template: &str, name: &str, file: &Path, monitor: &dyn Monitor) -> Result<()> {
    let file_name = file.file_name().unwrap_or_default().to_string_lossy();
    let command = CommandLine::new(template, name, &file_name);
    send(&command, file, monitor).map_err(|error| {
        let (shown, line) = (printable_path(file), command.line());
        Error::new(error.kind(), format!("{error}; the archive stays in '{shown}'"))
            .hint(format!("`({line}) <{shown}` delivers it; then remove it, or the next backup needs --overwrite"))
    })?;
    if let Err(cause) = fs::remove_file(file) {
        monitor.issue(name, format!("delivered, but '{}' cannot be removed: {cause}", printable_path(file)));
    }
    Ok(())
}

fn send(command: &CommandLine, file: &Path, monitor: &dyn Monitor) -> Result<()> {
    monitor.check_cancelled()?;
    let mut opened = Location::new(file).open(monitor)?;
    let length = opened.bytes.map_or_else(String::new, |bytes| format!(" {}", units::bytes(bytes)));
    monitor.note(&format!("{}: delivering{length}", command.archive()));
    let mut archive = CommandArchive::start(command)?;
    let mut piece = vec![0; PIECE];
    let failed = |e: &io::Error, error: Error| monitor.cause(carried::<Error>(e).cloned().unwrap_or(error));
    loop {
        let count =
            opened.reader.read(&mut piece).map_err(|e| failed(&e, Error::failed_at("cannot read", file, &e)))?;
        if count == 0 {
            return command::deliver(vec![archive], monitor);
        }
        archive.write(&piece[..count], monitor).map_err(|e| failed(&e, command.failed(&e)))?;
    }
}
