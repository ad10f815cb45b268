//! Swaps and recoveries of real trees, in both ways, ended at each step as by `kill -9`.

use std::fs::{self, create_dir, read_to_string, write};
use std::io::Write as _;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::*;
use crate::error::ErrorKind;
use crate::member::{Metadata, RelPath, Timestamp};
use crate::monitor::{CancelledAfter, Collector};
use crate::volume::restore_record::{self, records};
use crate::volume::staging::{OLD, TREE, restore_root};

fn is_old() -> Recovered {
    Recovered::Old { strangers: Vec::new() }
}

fn is_new() -> Recovered {
    Recovered::New { kept: None }
}

const WAYS: [Way; 2] = [Way::Exchange, Way::Entries];

/// A tree of a volume or of a bind mount, and the state directory.
struct Scene {
    dir: tempfile::TempDir,
    way: Way,
}

fn scene(way: Way) -> Scene {
    let dir = tempfile::tempdir().unwrap();
    let scene = Scene { dir, way };
    create_dir(scene.at("holder")).unwrap();
    create_dir(scene.live()).unwrap();
    write(scene.live().join("both"), "old").unwrap();
    write(scene.live().join("gone"), "old").unwrap();
    let (live, old) = (scene.open(), Timestamp { seconds: 1_000_000_000, nanoseconds: 0 });
    restore_root(&live, Metadata { mtime: old, ..metadata::of_open(live.handle()).unwrap() }).unwrap();
    scene
}

impl Scene {
    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn live(&self) -> PathBuf {
        self.at("holder/_data")
    }

    fn state(&self) -> PathBuf {
        self.at("state")
    }

    fn open(&self) -> Arc<Live> {
        Arc::new(Live::open(&self.live(), &RelPath::root(), self.way).unwrap())
    }

    fn begin(&self) -> Result<Restoration> {
        Restoration::begin(&self.state(), &[("data".to_owned(), self.open())])
    }

    fn staged(&self) -> Restoration {
        let restoration = self.begin().unwrap();
        fill(&restoration.stagings[0]);
        restoration
    }

    /// Recovers as the next run does.
    fn recover(&self) -> Option<Recovered> {
        let path = records(&self.state()).unwrap().into_iter().next()?;
        let mut record = RestoreRecord::take_over(&path).unwrap().unwrap();
        let live = self.open();
        assert!(record.content.concerns(&record.content.trees[0], &live), "it is found by the live tree");
        let recovered = recover(&mut record, 0, &live, &self.state(), &RemovalTime::unlimited()).unwrap();
        record.remove().unwrap();
        Some(recovered)
    }

    fn names(&self) -> Vec<String> {
        names_in(&self.live())
    }

    fn assert_old(&self) {
        let live = self.open();
        assert_eq!(metadata::of_open(live.handle()).unwrap().mtime.seconds, 1_000_000_000, "the root's own time");
        assert_eq!(read_to_string(self.live().join("both")).unwrap(), "old");
        assert_eq!(self.names(), ["both", "gone"]);
        assert_eq!(names_in(&self.at("holder")), ["_data"]);
    }

    fn assert_new(&self) {
        assert_eq!(read_to_string(self.live().join("both")).unwrap(), "new");
        assert_eq!(self.names(), ["both", "fresh"]);
        assert_eq!(names_in(&self.at("holder")), ["_data"]);
    }
}

fn names_in(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Makes the new tree.
fn fill(staging: &Staging) {
    let root = staging.root().unwrap();
    for name in ["both", "fresh"] {
        let flags = OFlag::O_CREAT | OFlag::O_WRONLY;
        nix::unistd::write(openat(&root, name, flags, Mode::S_IRWXU).unwrap(), b"new").unwrap();
    }
}

/// What `kill -9` leaves: everything as it is, and no lock.
fn die(mut restoration: Restoration) {
    drop(restoration.record.take());
}

#[test]
fn a_finished_swap_leaves_only_the_new_tree() {
    for way in WAYS {
        let scene = scene(way);
        let (finished, removed) =
            scene.staged().swap(false, &Collector::default()).unwrap().finish(&RemovalTime::unlimited());
        removed.unwrap();
        assert!(matches!(&finished[..], [Finished { old: Old::Removed, error: None, .. }]), "{finished:?}");
        scene.assert_new();
        assert_eq!(scene.recover(), None);
    }
}

#[test]
fn one_that_is_dropped_leaves_only_the_old_tree() {
    for way in WAYS {
        let scene = scene(way);
        drop(scene.staged());
        scene.assert_old();
        drop(scene.begin().unwrap());
        scene.assert_old();
        assert!(
            scene
                .begin()
                .unwrap()
                .swap(true, &Collector::default())
                .unwrap()
                .finish(&RemovalTime::unlimited())
                .0
                .is_empty(),
            "no member, no new tree"
        );
        scene.assert_old();
        assert_eq!(scene.recover(), None);
    }
}

#[test]
fn the_previous_tree_is_kept_and_no_later_restore_touches_it() {
    for way in WAYS {
        let scene = scene(way);
        let (mut finished, _) =
            scene.staged().swap(true, &Collector::default()).unwrap().finish(&RemovalTime::unlimited());
        let Old::Kept(kept) = finished.remove(0).old else { panic!() };
        assert_eq!(read_to_string(kept.join("gone")).unwrap(), "old");
        assert_eq!(
            fs::metadata(&kept).unwrap().modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(),
            1_000_000_000
        );
        scene.staged().swap(false, &Collector::default()).unwrap().finish(&RemovalTime::unlimited()).1.unwrap();
        assert!(kept.join("gone").exists());
        assert_eq!(read_to_string(scene.live().join("both")).unwrap(), "new");
    }
}

#[test]
fn what_is_named_like_a_kept_tree_is_the_users() {
    let scene = scene(Way::Entries);
    for name in [".voltar-previous-1", ".voltar-restore", ".voltar-restore-1-1"] {
        write(scene.live().join(name), "the user's").unwrap();
    }
    scene.staged().swap(false, &Collector::default()).unwrap().finish(&RemovalTime::unlimited()).1.unwrap();
    assert_eq!(scene.names(), ["both", "fresh"], "replaced like all else");
}

#[test]
fn a_second_restore_is_refused_while_one_is_in_progress() {
    for way in WAYS {
        let scene = scene(way);
        let first = scene.staged();
        assert!(scene.begin().unwrap_err().to_string().ends_with("is in progress"));
        let path = records(&scene.state()).unwrap().remove(0);
        assert!(RestoreRecord::take_over(&path).unwrap().is_none());
        drop(first);
        scene.assert_old();
    }
}

#[test]
fn trees_in_one_directory_are_replaced_together() {
    let dir = tempfile::tempdir().unwrap();
    let open = |name: &str| {
        create_dir(dir.path().join(name)).unwrap();
        let live = Live::open(dir.path(), &RelPath::parse(name.as_bytes()).unwrap(), Way::Exchange).unwrap();
        (name.to_owned(), Arc::new(live))
    };
    let restoration = Restoration::begin(&dir.path().join("state"), &["a", "b", "c"].map(open)).unwrap();
    restoration.stagings.iter().for_each(fill);
    let (finished, _) = restoration.swap(true, &Collector::default()).unwrap().finish(&RemovalTime::unlimited());
    assert!(finished.iter().all(|tree| matches!(tree.old, Old::Kept(_))), "{finished:?}");
    for name in ["a", "b", "c"] {
        assert_eq!(names_in(&dir.path().join(name)), ["both", "fresh"]);
    }
}

#[test]
fn a_restore_killed_while_staging_leaves_the_old_tree() {
    for way in WAYS {
        let scene = scene(way);
        die(scene.staged());
        assert_eq!(scene.recover(), Some(is_old()));
        scene.assert_old();
        // Killed before the record had the staging directory.
        let mut restoration = scene.begin().unwrap();
        let record = restoration.record.as_mut().unwrap();
        record.content.trees[0].staging = None;
        record.save().unwrap();
        die(restoration);
        assert_eq!(scene.recover(), Some(is_old()));
        scene.assert_old();
    }
}

#[test]
fn a_restore_killed_before_all_trees_were_swapped_is_undone() {
    for way in WAYS {
        for exchanged in [false, true] {
            let scene = scene(way);
            let mut restoration = scene.staged();
            restoration.prepare(false, &Collector::default()).unwrap();
            if exchanged {
                restoration.swap_all().unwrap();
                record_as_half(&mut restoration);
                assert_eq!(read_to_string(scene.live().join("both")).unwrap(), "new");
                // A backup would archive it in the middle of the restore.
                let live = scene.open();
                assert_eq!(restore_record::unfinished(&scene.state(), &[&live]).unwrap().len(), 1);
            }
            die(restoration);
            assert_eq!(scene.recover(), Some(is_old()));
            scene.assert_old();
        }
    }
}

/// What a panic in the middle of a swap leaves.
#[test]
fn a_drop_in_the_middle_of_a_swap_removes_neither_tree() {
    for way in WAYS {
        let scene = scene(way);
        let restoration = half_swapped(&scene);
        drop(restoration);
        assert_eq!(scene.recover(), Some(is_old()));
        scene.assert_old();
    }
}

#[test]
fn a_restore_killed_after_all_trees_were_swapped_is_completed() {
    for way in WAYS {
        let scene = scene(way);
        drop(scene.staged().swap(false, &Collector::default()).unwrap());
        assert_eq!(scene.recover(), Some(is_new()));
        scene.assert_new();
        assert_eq!(scene.recover(), None);
    }
}

/// Containers run by then: the root's metadata is theirs.
fn assert_left(scene: &Scene, error: &Error, recovered: &Recovered) {
    let text = error.to_string();
    assert!(text.starts_with("cannot remove all of '") && text.ends_with("': the run was interrupted"), "{text}");
    let path = text.split('\'').nth(1).unwrap();
    assert!(Path::new(path).is_dir(), "{text}");
    let live = scene.open();
    assert_eq!(restore_record::unfinished(&scene.state(), &[&live]).unwrap(), [], "it can be archived and used");
    let mut theirs = metadata::of_open(live.handle()).unwrap();
    (theirs.mode, theirs.mtime.seconds) = (theirs.mode ^ 0o020, 1_100_000_000);
    restore_root(&live, theirs.clone()).unwrap();
    assert_eq!(scene.recover().as_ref(), Some(recovered));
    assert_eq!(metadata::of_open(scene.open().handle()).unwrap(), theirs);
    assert_eq!(names_in(&scene.at("holder")), ["_data"]);
    assert_eq!(scene.recover(), None);
}

#[test]
fn a_cancelled_run_leaves_what_it_has_replaced_on_record() {
    for way in WAYS {
        let mut checks = 0;
        loop {
            let scene = scene(way);
            let swapped = scene.staged().swap(false, &Collector::default()).unwrap();
            let monitor = CancelledAfter::checks(checks);
            let (finished, removed) = swapped.finish(&RemovalTime::ending_with(&monitor));
            removed.unwrap();
            let [Finished { archive, old: Old::Removed, error }] = &finished[..] else { panic!("{finished:?}") };
            assert_eq!(
                (archive.as_str(), read_to_string(scene.live().join("both")).unwrap().as_str()),
                ("data", "new")
            );
            let Some(error) = error else {
                scene.assert_new();
                break;
            };
            assert_left(&scene, error, &is_new());
            scene.assert_new();
            checks += 1;
        }
        assert!(checks >= 3, "{checks}");
        // One that is kept has nothing that takes time.
        let scene = scene(way);
        let swapped = scene.staged().swap(true, &Collector::default()).unwrap();
        let (finished, _) = swapped.finish(&RemovalTime::ending_with(&CancelledAfter::checks(0)));
        assert!(matches!(&finished[..], [Finished { old: Old::Kept(_), error: None, .. }]), "{finished:?}");
    }
}

#[test]
fn a_cancelled_run_leaves_what_it_has_staged_on_record() {
    for way in WAYS {
        let mut checks = 0;
        loop {
            let scene = scene(way);
            let mut restoration = scene.staged();
            restoration.prepare(false, &Collector::default()).unwrap();
            let monitor = CancelledAfter::checks(checks);
            let error = restoration.undone(Error::interrupted(), &RemovalTime::ending_with(&monitor));
            drop(restoration);
            let SwapError::Undone(error) = error else { panic!("{error:?}") };
            assert_eq!(read_to_string(scene.live().join("both")).unwrap(), "old");
            let Some(left) = error.others().first() else {
                scene.assert_old();
                break;
            };
            assert!(left.advice().unwrap().contains("`voltar resume`"), "{left:?}");
            assert_left(&scene, left, &is_old());
            checks += 1;
        }
        assert!(checks >= 3, "{checks}");
    }
}

#[test]
fn a_run_that_is_cancelled_while_the_new_tree_is_synced_changes_nothing() {
    for way in WAYS {
        let scene = scene(way);
        let SwapError::Undone(error) = scene.staged().swap(false, &CancelledAfter::checks(0)).unwrap_err() else {
            panic!()
        };
        assert_eq!((error.kind(), error.others().len()), (ErrorKind::Interrupted, 0), "{error:?}");
        scene.assert_old();
        assert_eq!(scene.recover(), None);
    }
}

#[test]
fn moves_killed_at_any_entry_are_undone() {
    for (phase, is_back) in [(Phase::Out, false), (Phase::In, false), (Phase::In, true)] {
        for moved in 0..=2 {
            let scene = scene(Way::Entries);
            let mut restoration = scene.staged();
            restoration.prepare(false, &Collector::default()).unwrap();
            let staging = &restoration.stagings[0];
            let staged = scene.live().join(staging.name());
            let (live, old, tree) = (scene.live(), staged.join(OLD), staged.join(TREE));
            let steps = match (phase, is_back) {
                (Phase::Out, _) => vec![(&live, &old, moved)],
                (_, false) => vec![(&live, &old, 2), (&tree, &live, moved)],
                (_, true) => vec![(&live, &old, 2), (&tree, &live, 2), (&live, &tree, moved)],
            };
            for (from, to, count) in steps {
                let mut names = names_in(from);
                names.retain(|name| !name.starts_with(".voltar"));
                for name in names.iter().take(count) {
                    fs::rename(from.join(name), to.join(name)).unwrap();
                }
            }
            let record = restoration.record.as_mut().unwrap();
            record.content.trees[0].phase = phase;
            record.save().unwrap();
            die(restoration);
            assert_eq!(scene.recover(), Some(is_old()), "{phase:?} {is_back} {moved}");
            scene.assert_old();
        }
    }
}

#[test]
fn a_live_tree_that_was_replaced_meanwhile_is_not_swapped() {
    let scene = scene(Way::Exchange);
    let restoration = scene.staged();
    fs::rename(scene.live(), scene.at("holder/moved")).unwrap();
    create_dir(scene.live()).unwrap();
    write(scene.live().join("strange"), "").unwrap();
    let SwapError::Undone(error) = restoration.swap(false, &Collector::default()).unwrap_err() else { panic!() };
    assert!(error.to_string().ends_with("it was replaced meanwhile"), "{error}");
    assert_eq!(scene.names(), ["strange"]);
    assert_eq!(names_in(&scene.at("holder")), ["_data", "moved"]);
    assert_eq!(read_to_string(scene.at("holder/moved/gone")).unwrap(), "old");
}

#[test]
fn a_swap_that_can_neither_be_completed_nor_undone_keeps_all_parts() {
    let scene = scene(Way::Entries);
    let restoration = half_swapped(&scene);
    let record = records(&scene.state()).unwrap().remove(0);
    let staged = scene.live().join(restoration.stagings[0].name());
    // As a disk that fails: the record cannot be written any more.
    fs::rename(scene.state(), scene.at("failed")).unwrap();
    let SwapError::NotWhole(error) = restoration.undone_after(Error::refused("a disk"), &RemovalTime::unlimited())
    else {
        panic!()
    };
    let [undo] = error.others() else { panic!("{error:?}") };
    assert!(undo.to_string().contains("cannot make the old tree live again in"), "{undo}");
    for part in [OLD, TREE] {
        assert!(undo.to_string().contains(&format!("'{}'", staged.join(part).display())), "{undo}");
    }
    assert_eq!(names_in(&staged.join(OLD)), ["both", "gone"]);
    assert_eq!(names_in(&staged.join(TREE)), ["both", "fresh"]);
    // The disk is replaced; the record was on it.
    fs::rename(scene.at("failed"), scene.state()).unwrap();
    assert!(record.exists());
    assert_eq!(scene.recover(), Some(is_old()));
    scene.assert_old();
}

/// The record does not say yet that all trees are swapped.
fn record_as_half(restoration: &mut Restoration) {
    let record = restoration.record.as_mut().unwrap();
    record.content.swapped = false;
    record.save().unwrap();
}

/// All entries are moved, and the record does not say yet that all trees are.
fn half_swapped(scene: &Scene) -> Restoration {
    let mut restoration = scene.staged();
    restoration.prepare(false, &Collector::default()).unwrap();
    restoration.swap_all().unwrap();
    record_as_half(&mut restoration);
    restoration
}

#[test]
fn what_is_undone_and_cannot_be_removed_stays_on_record() {
    let scene = scene(Way::Entries);
    let mut restoration = scene.staged();
    restoration.prepare(false, &Collector::default()).unwrap();
    fs::rename(scene.state(), scene.at("failed")).unwrap();
    // The old entries move out and back again; the record already says so.
    let SwapError::Undone(error) = restoration.swap_prepared(&RemovalTime::unlimited()).unwrap_err() else { panic!() };
    let [left] = error.others() else { panic!("{error:?}") };
    assert!(left.advice().unwrap().contains("`voltar resume`"), "{left:?}");
    assert_eq!(scene.names().iter().filter(|name| !name.starts_with(".voltar")).count(), 2);
    fs::rename(scene.at("failed"), scene.state()).unwrap();
    assert_eq!(scene.recover(), Some(is_old()));
    scene.assert_old();
}

/// Undone, the staging directory is needed no more: wherever removing it ends, the old tree is whole.
#[test]
fn a_run_killed_while_it_removes_what_is_undone_leaves_the_old_tree() {
    for recovers in [false, true] {
        for removed in [vec![OLD], vec![TREE], vec![OLD, TREE], vec![]] {
            let scene = scene(Way::Entries);
            let mut restoration = half_swapped(&scene);
            let undoing = restoration.undo_all();
            assert!(undoing.not_old.is_empty() && undoing.unsynced.is_empty());
            let staged = scene.live().join(restoration.stagings[0].name());
            if !recovers {
                // As `release` begins.
                restoration.record.as_mut().unwrap().save().unwrap();
                for name in &removed {
                    fs::remove_dir_all(staged.join(name)).unwrap();
                }
                if removed.is_empty() {
                    fs::remove_dir_all(&staged).unwrap();
                }
            }
            die(restoration);
            assert_eq!(scene.recover(), Some(is_old()), "{removed:?}");
            if !removed.is_empty() || recovers {
                scene.assert_old();
            }
        }
    }
}

/// The record cannot be removed: the staging directory is.
#[test]
fn a_run_killed_between_its_last_two_steps_names_the_right_tree() {
    for way in WAYS {
        for (swapped, has_member) in [(true, true), (true, false), (false, true)] {
            let scene = scene(way);
            let mut restoration = if has_member { scene.staged() } else { scene.begin().unwrap() };
            restoration.prepare(false, &Collector::default()).unwrap();
            restoration.swap_all().unwrap();
            let path = records(&scene.state()).unwrap().remove(0);
            if swapped {
                let text = fs::read(&path).unwrap();
                let (record, stagings) = (restoration.record.take(), std::mem::take(&mut restoration.stagings));
                Swapped { state_dir: scene.state(), record, stagings }.finish(&RemovalTime::unlimited()).1.unwrap();
                fs::write(&path, text).unwrap();
            } else {
                record_as_half(&mut restoration);
                drop(restoration.undo_all());
                restoration.record.as_mut().unwrap().save().unwrap();
                restoration.stagings[0].discard(&RemovalTime::unlimited()).unwrap();
                die(restoration);
            }
            let expected = if swapped && has_member { is_new() } else { is_old() };
            assert_eq!(scene.recover(), Some(expected), "{way:?} {swapped} {has_member}");
        }
    }
}

#[test]
fn what_somebody_else_has_made_in_the_way_is_moved_aside() {
    // Where entries move, at each step; a stranger has the name of an old entry, of a new one, or of both.
    for (phase, moved_in) in [(Phase::Out, 0), (Phase::In, 0), (Phase::In, 2)] {
        let scene = scene(Way::Entries);
        let mut restoration = scene.staged();
        restoration.prepare(false, &Collector::default()).unwrap();
        let staged = scene.live().join(restoration.stagings[0].name());
        for name in ["both", "gone"] {
            fs::rename(scene.live().join(name), staged.join(OLD).join(name)).unwrap();
        }
        for name in ["both", "fresh"].iter().take(moved_in) {
            fs::rename(staged.join(TREE).join(name), scene.live().join(name)).unwrap();
        }
        write(scene.live().join("gone"), "a stranger's").unwrap();
        if moved_in == 0 {
            create_dir(scene.live().join("both")).unwrap();
            write(scene.live().join("both/file"), "a stranger's").unwrap();
        }
        let record = restoration.record.as_mut().unwrap();
        record.content.trees[0].phase = phase;
        record.save().unwrap();
        die(restoration);
        let Some(Recovered::Old { strangers }) = scene.recover() else { panic!() };
        // One that is in no other entry's way is not known from the new tree's.
        let expected = match (phase, moved_in) {
            (Phase::Out, _) => &["both", "gone"][..],
            (_, 0) => &["both"],
            _ => &[],
        };
        let mut was: Vec<_> = strangers.iter().map(|stranger| stranger.was.to_str().unwrap()).collect();
        was.sort_unstable();
        assert_eq!(was, expected, "{phase:?} {moved_in}");
        for stranger in strangers {
            let at = scene.live().join(&stranger.is);
            assert!(stranger.is.to_str().unwrap().starts_with(".voltar-stranger-"), "{stranger:?}");
            let file = if at.is_dir() { at.join("file") } else { at.clone() };
            assert_eq!(read_to_string(file).unwrap(), "a stranger's");
            if at.is_dir() { fs::remove_dir_all(at).unwrap() } else { fs::remove_file(at).unwrap() }
        }
        let live = scene.open();
        restore_root(
            &live,
            Metadata {
                mtime: Timestamp { seconds: 1_000_000_000, nanoseconds: 0 },
                ..metadata::of_open(live.handle()).unwrap()
            },
        )
        .unwrap();
        scene.assert_old();
    }
}

#[test]
fn what_has_taken_the_place_of_an_exchanged_tree_is_moved_aside() {
    for is_there in [true, false] {
        let scene = scene(Way::Exchange);
        let mut restoration = half_swapped(&scene);
        fs::rename(scene.live(), scene.at("moved")).unwrap();
        if is_there {
            create_dir(scene.live()).unwrap();
            write(scene.live().join("file"), "a stranger's").unwrap();
            let live = scene.open();
            assert_eq!(restore_record::unfinished(&scene.state(), &[&live]).unwrap().len(), 1);
            die(restoration);
            let Some(Recovered::Old { strangers }) = scene.recover() else { panic!() };
            assert_eq!(strangers.len(), 1);
            let aside = scene.at("holder").join(&strangers[0].is);
            assert_eq!(read_to_string(aside.join("file")).unwrap(), "a stranger's");
            fs::remove_dir_all(aside).unwrap();
        } else {
            // The mount's source is missing, so only the run itself can undo it.
            assert!(restoration.undo_all().not_old.is_empty());
            drop(restoration);
        }
        scene.assert_old();
        assert_eq!(read_to_string(scene.at("moved/fresh")).unwrap(), "new", "others have moved it, and have it");
    }
}

#[test]
fn a_name_for_the_kept_tree_that_was_taken_meanwhile_is_not_used() {
    for way in WAYS {
        let scene = scene(way);
        let mut restoration = scene.staged();
        restoration.prepare(true, &Collector::default()).unwrap();
        let name = restoration.record.as_ref().unwrap().content.trees[0].keep.clone().unwrap();
        let beside = if way == Way::Exchange { scene.at("holder") } else { scene.live() };
        let swapped = restoration.swap_prepared(&RemovalTime::unlimited()).unwrap();
        create_dir(beside.join(&name)).unwrap();
        let (mut finished, removed) = swapped.finish(&RemovalTime::unlimited());
        removed.unwrap();
        let Old::Kept(kept) = finished.remove(0).old else { panic!("{finished:?}") };
        assert_ne!(kept, beside.join(name));
        assert_eq!(read_to_string(kept.join("gone")).unwrap(), "old");
    }
}

/// Killed after the old tree has its name, and before the staging directory is removed.
#[test]
fn a_tree_that_was_kept_before_the_kill_is_named_afterwards() {
    for way in WAYS {
        let scene = scene(way);
        let mut restoration = scene.staged();
        restoration.prepare(true, &Collector::default()).unwrap();
        let swapped = restoration.swap_prepared(&RemovalTime::unlimited()).unwrap();
        let record = swapped.record.as_ref().unwrap();
        let entry = record.content.trees[0].clone();
        let kept =
            one_tree::keep(&swapped.stagings[0], &entry, if way == Way::Exchange { TREE } else { OLD }, &scene.state());
        let kept = kept.unwrap().unwrap();
        drop(swapped);
        assert_eq!(scene.recover(), Some(Recovered::New { kept: Some(kept.clone()) }));
        assert_eq!(read_to_string(kept.join("gone")).unwrap(), "old");
        assert_eq!(
            fs::metadata(&kept).unwrap().modified().unwrap(),
            std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000)
        );
    }
}

#[test]
fn a_staging_directory_that_others_put_there_is_never_entered() {
    for way in WAYS {
        let scene = scene(way);
        let restoration = scene.staged();
        let name = restoration.stagings[0].name().to_owned();
        die(restoration);
        let beside = if way == Way::Exchange { scene.at("holder") } else { scene.live() };
        fs::rename(beside.join(&name), scene.at("moved")).unwrap();
        let host = scene.at("host");
        create_dir(&host).unwrap();
        write(host.join("file"), "x").unwrap();
        std::os::unix::fs::symlink(&host, beside.join(&name)).unwrap();
        assert_eq!(scene.recover(), Some(is_old()));
        assert_eq!(names_in(&host), ["file"]);
        fs::remove_file(beside.join(&name)).unwrap();
        create_dir(beside.join(&name)).unwrap();
        write(beside.join(&name).join("file"), "x").unwrap();
        assert_eq!(scene.recover(), None, "the record is gone");
        assert_eq!(names_in(&beside.join(&name)), ["file"]);
    }
}

#[test]
fn a_half_restored_tree_without_its_staging_directory_is_named() {
    let scene = scene(Way::Entries);
    let mut restoration = scene.staged();
    restoration.prepare(false, &Collector::default()).unwrap();
    let name = restoration.stagings[0].name().to_owned();
    die(restoration);
    fs::rename(scene.live().join(&name), scene.at("moved")).unwrap();
    let path = records(&scene.state()).unwrap().remove(0);
    let mut record = RestoreRecord::take_over(&path).unwrap().unwrap();
    let error = recover(&mut record, 0, &scene.open(), &scene.state(), &RemovalTime::unlimited()).unwrap_err();
    assert!(error.to_string().contains("its staging directory '.voltar-restore-"), "{error}");
    assert!(path.exists());
}

/// An administrator has exchanged the two again, and perhaps removed what was staged.
#[test]
fn an_old_tree_that_was_put_back_by_hand_stays() {
    for swapped in [false, true] {
        for is_removed in [false, true] {
            let scene = scene(Way::Exchange);
            let restoration = if swapped {
                let mut swapped = scene.staged().swap(false, &Collector::default()).unwrap();
                Restoration {
                    state_dir: scene.state(),
                    record: swapped.record.take(),
                    stagings: std::mem::take(&mut swapped.stagings),
                    own: OwnNames::default(),
                }
            } else {
                half_swapped(&scene)
            };
            let staged = scene.at("holder").join(restoration.stagings[0].name());
            die(restoration);
            fs::rename(scene.live(), scene.at("new")).unwrap();
            fs::rename(staged.join(TREE), scene.live()).unwrap();
            fs::rename(scene.at("new"), staged.join(TREE)).unwrap();
            if is_removed {
                fs::remove_dir_all(staged).unwrap();
            }
            assert_eq!(scene.recover(), Some(is_old()), "{swapped} {is_removed}");
            scene.assert_old();
        }
    }
}

#[test]
fn an_exchange_whose_old_tree_was_moved_away_is_not_reported_as_undone() {
    for is_there in [false, true] {
        let scene = scene(Way::Exchange);
        let mut restoration = half_swapped(&scene);
        let staged = scene.at("holder").join(restoration.stagings[0].name());
        fs::rename(staged.join(TREE), scene.at("moved")).unwrap();
        if is_there {
            // The new tree was moved, too, and something else is where each of them was.
            fs::rename(scene.live(), scene.at("new")).unwrap();
            create_dir(scene.live()).unwrap();
            create_dir(staged.join(TREE)).unwrap();
        }
        let undoing = restoration.undo_all();
        let [error] = &undoing.not_old[..] else { panic!("{:?}", undoing.not_old) };
        assert!(error.to_string().contains("it was moved; "), "{error}");
        assert_eq!(read_to_string(scene.at("moved/gone")).unwrap(), "old");
        die(restoration);
    }
}

/// Nothing has changed the live root, so its metadata is that of its users.
#[test]
fn the_recovery_of_an_exchange_leaves_the_metadata_of_the_live_root() {
    let mode = |path: &Path| std::os::unix::fs::MetadataExt::mode(&path.metadata().unwrap()) & 0o7777;
    for begun in [false, true] {
        let scene = scene(Way::Exchange);
        let mut restoration = scene.staged();
        if begun {
            restoration.prepare(false, &Collector::default()).unwrap();
        }
        let staged = scene.at("holder").join(restoration.stagings[0].name());
        die(restoration);
        fs::remove_dir_all(staged).unwrap();
        let changed = mode(&scene.live()) ^ 0o020;
        fs::set_permissions(scene.live(), std::os::unix::fs::PermissionsExt::from_mode(changed)).unwrap();
        assert_eq!(scene.recover(), Some(is_old()));
        assert_eq!(mode(&scene.live()), changed);
    }
}

#[test]
fn the_name_of_a_kept_tree_is_one_that_nothing_has() {
    let scene = scene(Way::Entries);
    let restoration = scene.staged();
    // The names of one second follow each other; more than one second cannot begin at each of these.
    for _ in 0..5 {
        let name = free_name(&restoration.stagings[0], &mut Vec::new()).unwrap();
        create_dir(scene.live().join(name)).unwrap();
    }
}

#[test]
fn strangers_of_one_name_are_all_given_back() {
    let scene = scene(Way::Entries);
    let restoration = scene.staged();
    let (staging, live) = (&restoration.stagings[0], scene.open());
    for content in ["1", "2", "3"] {
        write(scene.live().join("one"), content).unwrap();
        strangers::set_aside(staging, live.handle(), "one".as_ref()).unwrap();
    }
    assert_eq!(fs::symlink_metadata(scene.live().join("one")).unwrap_err().kind(), std::io::ErrorKind::NotFound);
    let given_back = strangers::give_back(staging, live.handle()).unwrap();
    let content = |stranger: &Stranger| read_to_string(scene.live().join(&stranger.is)).unwrap();
    let mut contents: Vec<_> = given_back.iter().map(content).collect();
    contents.sort_unstable();
    assert_eq!(contents, ["1", "2", "3"]);
    // The user finds it by this message only.
    let message = moved_aside(&given_back[0], &restoration.record.as_ref().unwrap().content.trees[0]);
    for part in ["'one' was", &format!("now '{}' in", given_back[0].is.display()), "_data'"] {
        assert!(message.contains(part), "{message}");
    }
    drop(restoration);
    for stranger in given_back {
        fs::remove_file(scene.live().join(stranger.is)).unwrap();
    }
    assert_eq!(names_in(&scene.live()), ["both", "gone"]);
}

#[test]
fn a_single_file_is_replaced_and_undone_like_a_tree() {
    let dir = tempfile::tempdir().unwrap();
    let (path, state) = (dir.path().join("file"), dir.path().join("state"));
    write(&path, "old").unwrap();
    let live = Arc::new(Live::open(&path, &RelPath::root(), Way::Entries).unwrap());
    assert_eq!((live.kind(), live.way()), (LiveKind::File, Way::Exchange));
    let staged = || {
        let restoration = Restoration::begin(&state, &[("data".to_owned(), Arc::clone(&live))]).unwrap();
        restoration.stagings[0].new_file().unwrap().write_all(b"new").unwrap();
        restoration
    };
    drop(staged());
    assert_eq!(read_to_string(&path).unwrap(), "old");
    staged().swap(false, &Collector::default()).unwrap().finish(&RemovalTime::unlimited()).1.unwrap();
    assert_eq!(read_to_string(&path).unwrap(), "new");
    assert_eq!(names_in(dir.path()), ["file", "state"]);
}

/// The attributes of a root that stays are a part of the old tree and of the new one.
#[test]
fn the_attributes_of_a_root_that_stays_are_swapped_and_undone() {
    use crate::volume::xattrs::Object;
    use crate::xattrs::Xattrs;

    let scene = scene(Way::Entries);
    let attributes = || Object::open(scene.open().handle()).all().unwrap();
    let some = |attributes: &[(&str, &str)]| -> Xattrs {
        attributes.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
    };
    let old = some(&[("user.note", "old"), ("user.more", "m")]);
    let new = some(&[("user.note", "new"), ("user.other", "\n")]);
    if !Object::open(scene.open().handle()).set(&old).is_empty() {
        eprintln!("skipped: no extended attributes here");
        return;
    }
    let swapped = || {
        let mut restoration = scene.staged();
        restoration.stagings[0].note_root_xattrs(&new).unwrap();
        restoration.prepare(false, &Collector::default()).unwrap();
        restoration.swap_all().unwrap();
        assert_eq!(attributes(), new);
        restoration
    };
    let mut restoration = swapped();
    record_as_half(&mut restoration);
    die(restoration);
    assert_eq!(scene.recover(), Some(is_old()));
    assert_eq!(attributes(), old);
    scene.assert_old();
    die(swapped());
    assert_eq!(scene.recover(), Some(is_new()));
    assert_eq!(attributes(), new);
    scene.staged().swap(false, &Collector::default()).unwrap().finish(&RemovalTime::unlimited()).1.unwrap();
    assert_eq!(attributes(), new, "an archive that says nothing of them leaves them");
}
