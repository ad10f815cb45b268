//! What runs that were killed have left among the files that they wrote.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use super::atomic_file::is_temporary;
use super::commit::complete;
use super::locked_file;
use crate::error::{Error, Result};
use crate::member::printable_path;
use crate::monitor::Monitor;

/// What was done with the files and directories of runs that were killed.
#[derive(Debug, Default)]
#[must_use = "what is left is to be reported"]
pub(crate) struct Recovered {
    /// They were complete, and have got their names.
    pub(crate) named: Vec<PathBuf>,
    /// They were not, and are removed.
    pub(crate) removed: Vec<PathBuf>,
    /// Why others are not.
    pub(crate) left: Vec<Error>,
}

impl Recovered {
    /// Reports each of them.
    pub(crate) fn report(self, monitor: &dyn Monitor) {
        for named in self.named {
            monitor.note(&format!("'{}' is of a run that was killed after it was complete", printable_path(&named)));
        }
        for removed in self.removed {
            monitor.note(&format!("removed '{}', a leftover of a run that was killed", printable_path(&removed)));
        }
        for error in self.left {
            monitor.issue("", error.with_hint());
        }
    }
}

/// Completes what killed runs have begun in `directory`, and removes their temporary files.
///
/// # Errors
/// The directory exists and cannot be listed, or files cannot get their names.
pub(crate) fn recover(directory: &Path) -> Result<Recovered> {
    let completed = complete(directory)?;
    let mut recovered = Recovered { named: completed.named, ..Recovered::default() };
    // The files that another process has just replaced have temporary names too.
    if completed.in_progress {
        return Ok(recovered);
    }
    let failed = |e: io::Error| Error::failed_at("cannot list", directory, e);
    let entries = match fs::read_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(recovered),
        other => other.map_err(failed)?,
    };
    for entry in entries {
        let entry = entry.map_err(failed)?;
        let ours = is_temporary(&entry.file_name()) && entry.file_type().is_ok_and(|kind| kind.is_file());
        if !ours {
            continue;
        }
        let path = entry.path();
        match locked_file::remove_leftover(&path) {
            Ok(true) => recovered.removed.push(path),
            Ok(false) => {}
            // Another user's, whose next run removes it.
            Err(cause) if cause.kind() == io::ErrorKind::PermissionDenied && !geteuid().is_root() => {}
            Err(cause) => recovered.left.push(Error::failed_at("cannot remove", &path, cause).hint(locked_file::HINT)),
        }
    }
    Ok(recovered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::durable::atomic_file::AtomicFile;

    #[test]
    fn leftovers_of_killed_writers_are_removed_and_other_files_stay() {
        let dir = tempfile::tempdir().unwrap();
        let locked = AtomicFile::create(&dir.path().join("a")).unwrap();
        let left = dir.path().join(".b.tar.1.voltar-tmp");
        fs::write(&left, "half").unwrap();
        fs::write(dir.path().join("b.voltar-tmp"), "a user's").unwrap();
        let recovered = recover(dir.path()).unwrap();
        assert!(
            recovered.named.is_empty() && recovered.removed == [left] && recovered.left.is_empty(),
            "{recovered:?}"
        );
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        drop(locked);
        let recovered = recover(&dir.path().join("missing")).unwrap();
        assert!(recovered.removed.is_empty() && recovered.left.is_empty());
    }
}
