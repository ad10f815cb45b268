//! What the tree in an archive takes on a filesystem. Only reading the archive to its end tells it.

use std::io;

use super::check::{check_end, check_not_empty};
use super::fit::{fit, to_host};
use super::input::Input;
use super::mode::Mode;
use super::parts::Relation;
use crate::archive_file::ArchiveFile;
use crate::error::Result;
use crate::ids::IdMap;
use crate::member::{Kind, Member, RelPath};
use crate::monitor::{Event, Monitor, Stage};
use crate::ordered::Pool;
use crate::volume::content::taken_bytes;

/// The room that a tree takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Need {
    /// The bytes of the blocks of its files. Blocks of zeros take none.
    pub bytes: u64,
    /// The number of its files and directories; hard links take none.
    pub inodes: u64,
}

/// Reads an archive to its end without extracting it, and returns what it needs in each of the mounts at `mounts`, where
/// files take room in units of so many bytes; `None` for a mount that is not restored. A file that a later member replaces
/// (`tar -r`) counts for each of its members: the sum is an upper bound then. To know which files are replaced takes a table
/// of all paths with their sizes, in proportion to the archive. It is checked like everything that
/// is extracted. Its progress is reported if it is `shown`.
///
/// # Errors
/// As [`check`](super::check()).
pub(crate) fn need(
    input: &Input,
    ids: &IdMap,
    mounts: &[(&RelPath, Option<u64>)],
    shown: bool,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<Vec<Need>> {
    // Extracting the archive reports its issues.
    let monitor = &Quiet { monitor, shown };
    let mut archive = input.open(pool, monitor)?;
    archive.started(Stage::Checking, monitor);
    let mut needs = vec![Need::default(); mounts.len()];
    let (mut members, mut buffer) = (0_u64, Vec::new());
    while let Some(stored) = archive.next_member(monitor)? {
        let Some(member) = fit(input, &stored)?.member() else { continue };
        if input.parts.relation(&member.path) != Relation::Inside {
            continue;
        }
        to_host(&member, ids).map_err(|error| error.within(&input.archive))?;
        members += u64::from(!member.path.is_root() || member.is_one_file());
        let holding = mounts.iter().enumerate().filter(|(_, (at, _))| member.path.strip_prefix(at).is_some());
        let deepest = holding.max_by_key(|(_, (at, _))| at.as_bytes().len());
        let Some((index, (_, Some(block)))) = deepest else { continue };
        let more = of_member(&member, *block, &mut archive, &mut buffer, monitor)?;
        needs[index].bytes = needs[index].bytes.saturating_add(more.bytes);
        needs[index].inodes += more.inodes;
    }
    check_end(input, &archive, Mode::Replace)?;
    check_not_empty(input, members)?;
    let at = archive.location().path();
    monitor.event(&Event::Finished { stage: Stage::Checking, summary: &archive.summary(), at });
    Ok(needs)
}

/// Returns what one member takes; a file's content is read from `archive`.
fn of_member(
    member: &Member,
    block: u64,
    archive: &mut ArchiveFile<'_>,
    buffer: &mut Vec<u8>,
    monitor: &dyn Monitor,
) -> Result<Need> {
    let bytes = match member.kind {
        Kind::HardLink { .. } => return Ok(Need::default()),
        Kind::File { size } => {
            let taken = taken_bytes(&mut archive.content(monitor), size, buffer);
            taken.map_err(|cause: io::Error| archive.located(&cause))?
        }
        Kind::Directory | Kind::Symlink { .. } | Kind::Fifo | Kind::CharDevice { .. } | Kind::BlockDevice { .. } => 0,
    };
    Ok(Need { bytes: bytes.checked_next_multiple_of(block).unwrap_or(u64::MAX), inodes: 1 })
}

/// A monitor that receives no issues and notes, and the progress only if it is shown.
struct Quiet<'a> {
    monitor: &'a dyn Monitor,
    shown: bool,
}

impl Monitor for Quiet<'_> {
    fn event(&self, event: &Event<'_>) {
        if self.shown && !matches!(event, Event::Issue(_) | Event::Note(_)) {
            self.monitor.event(event);
        }
    }

    fn cancelled(&self) -> bool {
        self.monitor.cancelled()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::CancelledAfter;
    use std::sync::atomic::{AtomicU32, Ordering};

    /// Counts issues and notes, and other events.
    #[derive(Default)]
    struct Counter([AtomicU32; 2]);

    impl Monitor for Counter {
        fn event(&self, event: &Event<'_>) {
            let is_progress = !matches!(event, Event::Issue(_) | Event::Note(_));
            self.0[usize::from(is_progress)].fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn an_interrupted_run_reads_no_archive_to_its_end() {
        assert!(Quiet { monitor: &CancelledAfter::checks(0), shown: false }.cancelled());
        assert!(!Quiet { monitor: &Counter::default(), shown: true }.cancelled());
    }

    /// The archive is read again when it is extracted: that reports.
    #[test]
    fn what_is_read_twice_is_reported_once() {
        for (shown, progress) in [(true, 1), (false, 0)] {
            let counter = Counter::default();
            let quiet = Quiet { monitor: &counter, shown };
            quiet.note("a note");
            quiet.issue("data", "an issue".to_owned());
            quiet.event(&Event::Written { bytes: 1 });
            assert_eq!(counter.0.map(AtomicU32::into_inner), [0, progress]);
        }
    }
}
