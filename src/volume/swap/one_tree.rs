//! Swaps one tree, and makes the old one live again: what the record says of it is the caller's to begin and to end.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::fsync;

use super::strangers::{Stranger, give_back, set_aside, set_aside_there};
use crate::error::{Cause, Error, Result};
use crate::identity::Identity;
use crate::member::RelPath;
use crate::volume::beneath::{names, open_path};
use crate::volume::live::Way;
use crate::volume::own_names::{OwnNames, record_kept};
use crate::volume::part::{SetAside, move_parts};
use crate::volume::remove::RemovalTime;
use crate::volume::restore_record::{PREVIOUS, Phase, RestoreRecord, TreeRecord};
use crate::volume::staging::{OLD, Staging, TREE, restore_root, restore_root_time, set_root_xattrs};
use crate::volume::{metadata, rename};

/// Exchanges the staged tree and the live one, and looks whether it was the expected one.
pub(super) fn exchange_checked(staging: &Staging, expected: Identity) -> Result<()> {
    let live = staging.live();
    let replaced = || {
        staging
            .failed("cannot swap the new tree with", "it was replaced meanwhile")
            .hint("who else can write to the directory that holds it? Then restore again")
    };
    if live.named_id() != Ok(expected.id) {
        return Err(replaced());
    }
    exchange(staging)?;
    if staging.identity_of(TREE)?.is_none_or(|found| found.id != expected.id) {
        exchange(staging)?;
        return Err(replaced());
    }
    sync_exchange(staging)
}

fn exchange(staging: &Staging) -> Result<()> {
    let failed = |errno: Errno| staging.failed("cannot swap the new tree with", errno);
    let (holder, name) = staging.live().holder().ok_or_else(|| failed(Errno::EBUSY))?;
    rename::exchange(staging.directory(), TREE, holder, name).map_err(failed)
}

fn sync_exchange(staging: &Staging) -> Result<()> {
    staging.sync()?;
    fsync(staging.beside()?).map_err(|errno| staging.failed("cannot sync the directory that holds", errno))
}

pub(super) fn move_entries(staging: &Staging, record: &mut RestoreRecord, index: usize, own: &OwnNames) -> Result<()> {
    let (live, old, tree) = (staging.live().handle(), staging.open(OLD)?, staging.open(TREE)?);
    move_all(staging, live, &old, own, None)?;
    enter(staging, record, index, Phase::In)?;
    move_all(staging, &tree, live, own, None)?;
    let entry = &record.content.trees[index];
    restore_root(staging.live(), entry.root_after.into())?;
    entry.root_xattrs.as_ref().map_or(Ok(()), |root| set_root_xattrs(staging.live(), &root.after()))?;
    sync_entries(staging)
}

/// How making an old tree live again has failed.
pub(super) enum NotUndone {
    /// It is live and complete, but this may not be on disk yet.
    Unsynced(Error),
    /// It is not.
    NotOld(Error),
}

impl From<Error> for NotUndone {
    fn from(error: Error) -> Self {
        Self::NotOld(error)
    }
}

/// Makes the old tree live again, and returns what had to be moved aside for that.
pub(super) fn undo(
    staging: &Staging,
    record: &mut RestoreRecord,
    index: usize,
    own: &OwnNames,
) -> Result<Vec<Stranger>, NotUndone> {
    let strangers = match record.content.trees[index].phase {
        Phase::Staged | Phase::Settled => return Ok(Vec::new()),
        Phase::Exchange => undo_exchange(staging, record, index)?,
        Phase::In | Phase::Out => undo_entries(staging, record, index, own)?,
    };
    // Left to the caller to save.
    record.content.trees[index].phase = Phase::Staged;
    Ok(strangers)
}

fn undo_exchange(staging: &Staging, record: &RestoreRecord, index: usize) -> Result<Vec<Stranger>, NotUndone> {
    let entry = &record.content.trees[index];
    let failed = |errno: Errno| staging.failed("cannot swap the old tree with", errno);
    let (holder, name) = staging.live().holder().ok_or_else(|| failed(Errno::EBUSY))?;
    let (named, staged) = (staging.named_identity()?, staging.identity_of(TREE)?);
    let is = |found: Option<Identity>, recorded: Option<Identity>| {
        found.zip(recorded).is_some_and(|(found, recorded)| record.content.is(&recorded, &found))
    };
    let (old, new) = (Some(entry.live), entry.tree);
    if is(named, new) && staged.is_some() {
        // What is staged is the old tree, or what was in its place when the two were exchanged.
        exchange(staging)?;
    } else if is(staged, old) && named.is_some() {
        exchange(staging)?;
        set_aside(staging, staging.directory(), OsStr::new(TREE)).map_err(failed)?;
    } else if is(staged, old) {
        rename::move_to(staging.directory(), TREE, holder, name).map_err(failed)?;
    } else if is(named, new) || (staged.is_some() && !is(staged, new)) {
        return Err(staging.failed("cannot find the old tree of", "it was moved").into());
    }
    // Else nothing was exchanged, or that is undone.
    sync_exchange(staging).map_err(NotUndone::Unsynced)?;
    Ok(give_back(staging, holder)?)
}

fn undo_entries(
    staging: &Staging,
    record: &mut RestoreRecord,
    index: usize,
    own: &OwnNames,
) -> Result<Vec<Stranger>, NotUndone> {
    let (live, old, tree) = (staging.live().handle(), staging.open(OLD)?, staging.open(TREE)?);
    let mut strangers = Vec::new();
    if record.content.trees[index].phase == Phase::In {
        move_all(staging, live, &tree, own, Some(&mut strangers))?;
        enter(staging, record, index, Phase::Out)?;
    }
    move_all(staging, &old, live, own, Some(&mut strangers))?;
    strangers.extend(give_back(staging, live)?);
    let entry = &record.content.trees[index];
    restore_root(staging.live(), entry.root_before.into())?;
    entry.root_xattrs.as_ref().map_or(Ok(()), |root| set_root_xattrs(staging.live(), &root.before()))?;
    sync_entries(staging).map_err(NotUndone::Unsynced)?;
    Ok(strangers)
}

/// What became of a tree that was replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Old {
    /// It was removed, at least in part.
    Removed,
    /// It is kept at this path.
    Kept(PathBuf),
    /// It is still in the staging directory, at this path.
    Staged(PathBuf),
}

/// Removes the replaced tree, or keeps it; then the staging directory. The new tree is live, whatever fails here.
pub(super) fn finish(
    staging: &Staging,
    entry: &TreeRecord,
    state_dir: &Path,
    time: &RemovalTime<'_>,
) -> (Old, Result<()>) {
    let old = match (entry.phase, entry.way) {
        (Phase::Staged | Phase::Settled, _) => return (Old::Removed, staging.discard(time)),
        (_, Way::Exchange) => TREE,
        (_, Way::Entries) => OLD,
    };
    match keep(staging, entry, old, state_dir) {
        Ok(Some(path)) => (Old::Kept(path), staging.discard(time)),
        Ok(None) => (Old::Removed, staging.discard(time)),
        Err(error) => (Old::Staged(staging.path().join(old)), Err(error)),
    }
}

/// Moves the replaced tree to where it is kept, if it is, and returns its path.
pub(super) fn keep(staging: &Staging, entry: &TreeRecord, old: &str, state_dir: &Path) -> Result<Option<PathBuf>> {
    let Some(name) = &entry.keep else { return Ok(None) };
    let failed = |errno: Errno| staging.failed("cannot keep the previous tree of", errno);
    let (beside, directory) = (staging.beside()?, staging.beside_path());
    let Some(identity) = staging.identity_of(old)? else {
        // A run that was killed has kept it.
        if !OwnNames::on_record(state_dir)?.contains(beside, OsStr::new(name)) {
            return Ok(None);
        }
        if entry.way == Way::Entries {
            restore_root_time(staging.live(), entry.root_after.mtime())?;
        }
        return Ok(Some(directory.join(name)));
    };
    if entry.way == Way::Entries {
        let root = staging.open(old)?;
        metadata::apply(&root, &entry.root_before.into())
            .map(drop)
            .map_err(|(operation, errno)| staging.failed(operation, errno))?;
    }
    // Somebody else may have taken the name since it was free.
    for name in std::iter::once(Ok(name.clone())).chain(std::iter::repeat_with(|| free_name(staging, &mut Vec::new())))
    {
        let name = name?;
        // On record before it has its name: no backup may find it as the user's.
        let _locked = record_kept(state_dir, beside, directory, &name, identity)?;
        match staging.keeping_time(|| rename::move_to(staging.directory(), old, beside, &name)) {
            Err(Errno::EEXIST) => {}
            moved => return moved.map_err(failed).map(|()| Some(directory.join(name))),
        }
    }
    Err(failed(Errno::EEXIST))
}

/// Moves all entries of the directory `from` but those of voltar's own, or the parts that are replaced. With `strangers`,
/// what is in their way in the live tree is set aside: those that have their new names already are added.
fn move_all(
    staging: &Staging,
    from: &OwnedFd,
    to: &OwnedFd,
    own: &OwnNames,
    mut strangers: Option<&mut Vec<Stranger>>,
) -> Result<()> {
    let live = staging.live().handle();
    if !staging.parts().is_empty() {
        let mut aside = strangers.as_mut().map(|strangers| {
            |holder: &OwnedFd, path: &RelPath| set_aside_there(holder, path).map(|stranger| strangers.push(stranger))
        });
        let aside = aside.as_mut().map(|aside| aside as SetAside<'_>);
        let moved = move_parts(staging.live(), from, to, staging.parts(), aside);
        return moved.map_err(|cause| staging.failed("cannot move the restored parts of", cause));
    }
    let failed = |cause: Cause| staging.failed("cannot list the entries of", cause);
    for name in names(from).map_err(|errno| failed(errno.into()))? {
        if name == staging.name() || own.contains(from, &name) {
            continue;
        }
        let mut moved = rename::move_to(from, &name, to, &name);
        if moved == Err(Errno::EEXIST) && strangers.is_some() {
            moved = set_aside(staging, live, &name);
            if moved.is_ok() && !std::ptr::eq(live, from) {
                moved = rename::move_to(from, &name, to, &name);
            }
        }
        moved.map_err(|errno| staging.failed(&format!("cannot move '{}' of", name.display()), errno))?;
    }
    Ok(())
}

/// Notes in the record that the next step of moving entries begins.
fn enter(staging: &Staging, record: &mut RestoreRecord, index: usize, phase: Phase) -> Result<()> {
    // What was moved is on disk before the record says so.
    sync_entries(staging)?;
    record.content.trees[index].phase = phase;
    record.save()
}

fn sync_entries(staging: &Staging) -> Result<()> {
    for directory in [staging.live().handle(), &staging.open(OLD)?, &staging.open(TREE)?] {
        fsync(directory).map_err(|errno| staging.failed("cannot sync", errno))?;
    }
    Ok(())
}

/// Returns a name for the kept tree that nothing has yet, and adds it to those that are `taken`.
pub(super) fn free_name(staging: &Staging, taken: &mut Vec<String>) -> Result<String> {
    let beside = staging.beside()?;
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let names = (0..100).map(|i| if i == 0 { format!("{PREVIOUS}{now}") } else { format!("{PREVIOUS}{now}-{i}") });
    let is_free = |name: &String| !taken.contains(name) && open_path(beside, name).err() == Some(Errno::ENOENT);
    let name = names.into_iter().find(is_free);
    let name = name.ok_or_else(|| staging.failed("cannot keep the previous tree of", Errno::EEXIST))?;
    taken.push(name.clone());
    Ok(name)
}

/// Says which tree is where, for a restore that is neither complete nor undone.
pub(super) fn whereabouts(staging: &Staging, record: &RestoreRecord, index: usize) -> String {
    let entry = &record.content.trees[index];
    let (live, tree, old) = (&entry.path, staging.path().join(TREE), staging.path().join(OLD));
    let (tree, old) = (tree.display(), old.display());
    match entry.phase {
        Phase::Staged | Phase::Settled => format!("'{live}' is the old tree"),
        Phase::Exchange => {
            let named = staging.named_identity().ok().flatten();
            let is = |recorded: Identity| named.is_some_and(|named| record.content.is(&recorded, &named));
            if is(entry.live) {
                format!("'{live}' is the old tree, '{tree}' the new one")
            } else if entry.tree.is_some_and(is) {
                format!("'{live}' is the new tree, '{tree}' the old one")
            } else {
                format!("'{live}' is neither tree; what was staged is '{tree}'")
            }
        }
        Phase::Out => format!("the entries of the old tree are in '{live}' and '{old}', the new tree is '{tree}'"),
        Phase::In => format!("the old tree is '{old}', the entries of the new one are in '{live}' and '{tree}'"),
    }
}
