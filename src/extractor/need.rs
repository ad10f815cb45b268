//! What the tree in an archive takes on a filesystem. Only reading the archive to its end tells it.

use std::io;

use crate::archive_file::ArchiveFile;
use crate::error::Result;
use crate::member::{Kind, Member};
use crate::monitor::{Event, Monitor};
use crate::volume::content::taken_bytes;

/// The room that a tree takes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Need {
    /// The bytes of the blocks of its files. Blocks of zeros take none.
    pub bytes: u64,
    /// The number of its files and directories; hard links take none.
    pub inodes: u64,
}

/// Returns what one member takes; a file's content is read from `archive`.
pub(super) fn of_member(
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
pub(super) struct Quiet<'a> {
    pub(super) monitor: &'a dyn Monitor,
    pub(super) shown: bool,
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
