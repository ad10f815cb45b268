//! Swaps one tree, and makes the old one live again: what the record says of it is the caller's to begin and to end.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::openat;
use nix::sys::stat::Mode;
use nix::unistd::fsync;

use crate::error::{Cause, Result};
use crate::identity::Identity;
use crate::volume::beneath::{DIRECTORY, names, open_path};
use crate::volume::live::Way;
use crate::volume::own_names::{OwnNames, record_kept};
use crate::volume::restore_record::{PREVIOUS, Phase, RestoreRecord, TreeRecord};
use crate::volume::staging::{OLD, Staging, TREE, restore_root, set_root_xattrs};
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
    move_all(staging, live, &old, own)?;
    enter(staging, record, index, Phase::In)?;
    move_all(staging, &tree, live, own)?;
    sync_entries(staging)?;
    let entry = &record.content.trees[index];
    restore_root(staging.live(), entry.root_after.into())?;
    entry.root_xattrs.as_ref().map_or(Ok(()), |root| set_root_xattrs(staging.live(), &root.after()))
}

/// Makes the old tree live again.
pub(super) fn undo(staging: &Staging, record: &mut RestoreRecord, index: usize, own: &OwnNames) -> Result<()> {
    let entry = record.content.trees[index].clone();
    match entry.phase {
        Phase::Staged | Phase::Settled => return Ok(()),
        Phase::Exchange => {
            // The staged name holds the old tree if the exchange has happened.
            let staged = staging.identity_of(TREE)?;
            if staged.is_some_and(|found| record.content.is(&entry.live, &found)) {
                if staging.live().named_id().ok() != entry.tree.map(|tree| tree.id) {
                    return Err(staging.failed("cannot swap the old tree with", "it was replaced meanwhile"));
                }
                exchange(staging)?;
                sync_exchange(staging)?;
            }
        }
        Phase::In | Phase::Back | Phase::Out => {
            let (live, old, tree) = (staging.live().handle(), staging.open(OLD)?, staging.open(TREE)?);
            if entry.phase != Phase::Out {
                enter(staging, record, index, Phase::Back)?;
                move_all(staging, live, &tree, own)?;
            }
            enter(staging, record, index, Phase::Out)?;
            move_all(staging, &old, live, own)?;
            sync_entries(staging)?;
            restore_root(staging.live(), entry.root_before.into())?;
            entry.root_xattrs.as_ref().map_or(Ok(()), |root| set_root_xattrs(staging.live(), &root.before()))?;
        }
    }
    // Not saved: what is on disk leads to the same tree, and the record is removed next.
    record.content.trees[index].phase = Phase::Staged;
    Ok(())
}

/// Removes the replaced tree, or keeps it and returns where; then the staging directory.
pub(super) fn finish(staging: &Staging, entry: &TreeRecord, state_dir: &Path) -> Result<Option<PathBuf>> {
    let (old, root) = match (entry.phase, entry.way) {
        (Phase::Staged | Phase::Settled, _) => return staging.discard(entry.root_before.into()).map(|()| None),
        (_, Way::Exchange) => (TREE, entry.root_before),
        (_, Way::Entries) => (OLD, entry.root_after),
    };
    let mut kept = None;
    if let Some(name) = &entry.keep
        && let Some(identity) = staging.identity_of(old)?
    {
        // On record before it has its name: no backup may find it as the user's.
        record_kept(state_dir, name, identity)?;
        let beside = staging.beside()?;
        rename::move_to(staging.directory(), old, beside, name)
            .map_err(|errno| staging.failed("cannot keep the previous tree of", errno))?;
        if entry.way == Way::Entries {
            let directory = openat(beside, name.as_str(), DIRECTORY, Mode::empty())
                .map_err(|errno| staging.failed("cannot open the previous tree of", errno))?;
            metadata::apply(&directory, &entry.root_before.into())
                .map(drop)
                .map_err(|(operation, errno)| staging.failed(operation, errno))?;
        }
        let directory = match entry.way {
            Way::Exchange => staging.live().path().parent().unwrap_or(Path::new("/")),
            Way::Entries => staging.live().path(),
        };
        kept = Some(directory.join(name));
    }
    staging.discard(root.into())?;
    Ok(kept)
}

/// Moves all entries of the directory `from` but those of voltar's own.
fn move_all(staging: &Staging, from: &OwnedFd, to: &OwnedFd, own: &OwnNames) -> Result<()> {
    let failed = |cause: Cause| staging.failed("cannot list the entries of", cause);
    for name in names(from).map_err(|errno| failed(errno.into()))? {
        if name == staging.name() || own.contains(from, &name) {
            continue;
        }
        rename::move_to(from, &name, to, &name)
            .map_err(|errno| staging.failed(&format!("cannot move '{}' of", name.display()), errno))?;
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
