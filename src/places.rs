//! Where the mounts of a tree are replaced on this host and how, and what interrupted restores left there.
//! Lays nothing out itself.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::host::mounts::{MountTree, TreeMount};
use crate::host::{MountKind, State};
use crate::member::RelPath;
use crate::monitor::Monitor;
use crate::mountinfo;
use crate::resolve::Target;
use crate::volume::swap::{Live, Recovered, Way, is_unfinished, recover};

/// One mount of the tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Where in the tree.
    pub at: RelPath,
    /// What it is on the host.
    pub place: Place,
}

/// What a mount is on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A directory.
    Tree(Live),
    /// A single file.
    File(PathBuf),
}

/// The mounts of a tree that have content on this host; the root's comes first.
pub fn pieces(tree: &MountTree) -> Result<Vec<Piece>> {
    let mounted = mountinfo::mounted()?;
    tree.mounts.iter().filter(|mount| mount.kind != MountKind::Tmpfs).map(|mount| piece(mount, &mounted)).collect()
}

/// Beside a bind mount's source lies somebody else's directory, and a mount point cannot be renamed: there the
/// entries move.
fn piece(mount: &TreeMount, mounted: &[PathBuf]) -> Result<Piece> {
    let path = mount.root();
    let path = path.canonicalize().map_err(|e| Error::failed("cannot find", path.as_os_str().as_bytes(), e))?;
    if path.is_file() {
        return Ok(Piece { at: mount.at.clone(), place: Place::File(path) });
    }
    let ours = matches!(mount.kind, MountKind::Volume { .. }) || !mount.beneath.is_root();
    let way = if ours && !mounted.contains(&path) { Way::Exchange } else { Way::Entries };
    Ok(Piece { at: mount.at.clone(), place: Place::Tree(Live { path, way }) })
}

/// Completes or undoes what killed restores left at `pieces`, but only by one of `ways`: an exchange is
/// cleaned up outside of the live tree at any time, moved entries only while nobody uses them.
pub fn clean_up(archive: &str, pieces: &[Piece], ways: &[Way], monitor: &dyn Monitor) -> Result<()> {
    for piece in pieces {
        let Place::Tree(live) = &piece.place else { continue };
        if !ways.contains(&live.way) {
            continue;
        }
        let state = match recover(live).map_err(|error| error.within(archive))? {
            None => continue,
            Some(Recovered::Old) => "it holds the content from before that run",
            Some(Recovered::New) => "it holds the content which that run restored",
        };
        monitor.note(&format!(
            "{archive}: cleaned up after a restore into '{}' that was interrupted; {state}",
            live.path.display()
        ));
    }
    Ok(())
}

/// Cleans up at all targets that no container is using.
pub fn clean_up_idle(targets: &[Target], monitor: &dyn Monitor) -> Result<()> {
    for target in targets.iter().filter(|target| target.users.iter().all(|user| user.state == State::Stopped)) {
        // What cannot be found now is the plan's to tell.
        let Ok(pieces) = pieces(&target.tree) else { continue };
        clean_up(&target.archive, &pieces, &[Way::Exchange, Way::Entries], monitor)?;
    }
    Ok(())
}

/// Mounts whose content is half old and half new, because a restore was killed while its entries moved.
pub fn unfinished(tree: &MountTree) -> Vec<Error> {
    let Ok(pieces) = pieces(tree) else { return Vec::new() };
    let lives = pieces.into_iter().filter_map(|piece| match piece.place {
        Place::Tree(live) => Some(live),
        Place::File(_) => None,
    });
    lives.filter(|live| live.way == Way::Entries && is_unfinished(live)).map(|live| half(&live.path)).collect()
}

fn half(path: &Path) -> Error {
    Error::refused(format!("a restore into '{}' was interrupted or is still at work", path.display()))
        .hint("stop the containers that use it; then `voltar resume` completes or undoes that restore")
}
