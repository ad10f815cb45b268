//! Lists the members of an archive in the order in which they are stored.

use std::ops::ControlFlow;

use crate::archive::reader::Stored;
use crate::archive_file::ArchiveFile;
use crate::error::Result;
use crate::member::quotable;
use crate::monitor::Monitor;
use crate::ordered::Pool;
use crate::store::Location;

/// Calls `print` for every member until it returns `Break`. Otherwise the archive is read to its end, so that damage
/// is reported.
///
/// # Errors
/// The archive cannot be read, or is damaged.
pub fn list(
    location: &Location,
    pool: &Pool,
    monitor: &dyn Monitor,
    mut print: impl FnMut(&Stored) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let mut archive = ArchiveFile::open(location, pool, monitor)?;
    while let Some(stored) = archive.next_member(monitor)? {
        if let Some(excess) = stored.excess {
            let (archive, name) = (archive.name(), quotable(&stored.name));
            monitor.issue(archive, format!("'{name}' is listed by the beginning of its name or link: it has {excess}"));
        }
        if print(&stored)?.is_break() {
            return Ok(());
        }
    }
    Ok(())
}
