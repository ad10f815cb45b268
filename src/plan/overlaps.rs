//! Archives that share files: a nested mount with an archive of its own is left to that one, and what cannot be separated
//! is refused.

use crate::error::Error;
use crate::host::mounts::LeftOut;
use crate::live_mounts::LiveMount;
use crate::resolve::Target;

/// Leaves each nested mount of `targets` that is the root of another one, or of one of `others`, to that one; returns
/// notes that say so.
pub(super) fn leave_nested(targets: &mut [Target], others: &[Target]) -> Vec<String> {
    let roots: Vec<_> = targets
        .iter()
        .chain(others)
        .filter_map(|target| Some((target.archive.clone(), target.tree.root()?.clone())))
        .collect();
    let mut notes = Vec::new();
    for target in targets {
        let path = target.tree.path.clone();
        for mount in target.tree.mounts.iter_mut().filter(|mount| !mount.at.is_root()) {
            let owner = roots.iter().find(|(archive, root)| *archive != target.archive && mount.same_source(root));
            if let Some((archive, _)) = owner {
                mount.left_out = Some(LeftOut::Archive(archive.clone()));
                notes.push(format!(
                    "{}: '/{}' is another volume, which is left to the archive {archive}",
                    target.archive,
                    path.concat(&mount.at)
                ));
            }
        }
    }
    notes
}

/// Returns a refusal for each two archives that hold the same files: restoring one would overwrite the other.
pub(super) fn between<'a>(archives: impl Iterator<Item = (&'a str, &'a [LiveMount])>) -> Vec<Error> {
    let archives: Vec<_> = archives.collect();
    let mut refusals = Vec::new();
    for (i, (name, mounts)) in archives.iter().enumerate() {
        for (other, theirs) in archives.iter().take(i) {
            let shared =
                mounts.iter().find_map(|mount| Some((mount, theirs.iter().find(|their| share(mount, their))?)));
            if let Some((mount, their)) = shared {
                refusals.push(
                    Error::refused(format!(
                        "the archives {other} and {name} would hold the same files: {}",
                        relation(their, mount)
                    ))
                    .hint(format!("select one of them with --only (--only {other})")),
                );
            }
        }
    }
    refusals
}

/// Returns a refusal of an archive whose mounts are one directory at several paths, or one inside another.
pub(super) fn within(archive: &str, mounts: &[LiveMount]) -> Option<Error> {
    let shared = mounts
        .iter()
        .enumerate()
        .find_map(|(i, mount)| Some((mounts.iter().take(i).find(|earlier| share(mount, earlier))?, mount)));
    let (first, second) = shared?;
    Some(
        Error::refused(format!(
            "{archive}: '{}' and '{}' of the tree are the same files: {}",
            first.at,
            second.at,
            relation(first, second)
        ))
        .hint("restore with --merge, which writes them one after the other"),
    )
}

fn share(one: &LiveMount, other: &LiveMount) -> bool {
    one.holds(&other.lineage) || other.holds(&one.lineage)
}

fn relation(one: &LiveMount, other: &LiveMount) -> String {
    let (one_path, other_path) = (one.path.display(), other.path.display());
    match (one.holds(&other.lineage), other.holds(&one.lineage)) {
        (true, true) => format!("both are '{one_path}'"),
        (true, false) => format!("'{other_path}' is inside '{one_path}'"),
        (false, _) => format!("'{one_path}' is inside '{other_path}'"),
    }
}
