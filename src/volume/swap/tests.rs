//! Swaps and recoveries of real trees, in both ways, ended at each step as by `kill -9`.

use std::fs::{self, create_dir, read_to_string, write};
use std::io::Write as _;

use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

use super::*;
use crate::member::{Metadata, RelPath, Timestamp};
use crate::volume::restore_record::{self, records};
use crate::volume::staging::{OLD, TREE, restore_root};

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
        let recovered = recover(&mut record, 0, &live, &self.state()).unwrap();
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
        let finished = scene.staged().swap(false).unwrap().finish();
        assert!(matches!(&finished[..], [Finished { old: Ok(None), .. }]), "{finished:?}");
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
        assert!(scene.begin().unwrap().swap(true).unwrap().finish().is_empty(), "no member, no new tree");
        scene.assert_old();
        assert_eq!(scene.recover(), None);
    }
}

#[test]
fn the_previous_tree_is_kept_and_no_later_restore_touches_it() {
    for way in WAYS {
        let scene = scene(way);
        let mut finished = scene.staged().swap(true).unwrap().finish();
        let kept = finished.remove(0).old.unwrap().unwrap();
        assert_eq!(read_to_string(kept.join("gone")).unwrap(), "old");
        assert_eq!(
            fs::metadata(&kept).unwrap().modified().unwrap().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs(),
            1_000_000_000
        );
        scene.staged().swap(false).unwrap().finish();
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
    scene.staged().swap(false).unwrap().finish();
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
fn two_trees_in_one_directory_are_replaced_together() {
    let dir = tempfile::tempdir().unwrap();
    let open = |name: &str| {
        create_dir(dir.path().join(name)).unwrap();
        let live = Live::open(dir.path(), &RelPath::parse(name.as_bytes()).unwrap(), Way::Exchange).unwrap();
        (name.to_owned(), Arc::new(live))
    };
    let restoration = Restoration::begin(&dir.path().join("state"), &[open("a"), open("b")]).unwrap();
    restoration.stagings.iter().for_each(fill);
    let finished = restoration.swap(true).unwrap().finish();
    assert!(finished.iter().all(|tree| matches!(tree.old, Ok(Some(_)))), "{finished:?}");
    for name in ["a", "b"] {
        assert_eq!(names_in(&dir.path().join(name)), ["both", "fresh"]);
    }
}

#[test]
fn a_restore_killed_while_staging_leaves_the_old_tree() {
    for way in WAYS {
        let scene = scene(way);
        die(scene.staged());
        assert_eq!(scene.recover(), Some(Recovered::Old));
        scene.assert_old();
        // Killed before the record had the staging directory.
        let mut restoration = scene.begin().unwrap();
        let record = restoration.record.as_mut().unwrap();
        record.content.trees[0].staging = None;
        record.save().unwrap();
        die(restoration);
        assert_eq!(scene.recover(), Some(Recovered::Old));
        scene.assert_old();
    }
}

#[test]
fn a_restore_killed_before_all_trees_were_swapped_is_undone() {
    for way in WAYS {
        for exchanged in [false, true] {
            let scene = scene(way);
            let mut restoration = scene.staged();
            restoration.prepare(false).unwrap();
            if exchanged {
                restoration.swap_all().unwrap();
                let record = restoration.record.as_mut().unwrap();
                record.content.swapped = false;
                record.save().unwrap();
                assert_eq!(read_to_string(scene.live().join("both")).unwrap(), "new");
                // A backup would archive it in the middle of the restore.
                let live = scene.open();
                assert_eq!(restore_record::unfinished(&scene.state(), &[&live]).unwrap().len(), 1);
            }
            die(restoration);
            assert_eq!(scene.recover(), Some(Recovered::Old));
            scene.assert_old();
        }
    }
}

/// What a panic in the middle of a swap leaves.
#[test]
fn a_drop_in_the_middle_of_a_swap_removes_neither_tree() {
    for way in WAYS {
        let scene = scene(way);
        let mut restoration = scene.staged();
        restoration.prepare(false).unwrap();
        restoration.swap_all().unwrap();
        restoration.record.as_mut().unwrap().content.swapped = false;
        restoration.record.as_mut().unwrap().save().unwrap();
        drop(restoration);
        assert_eq!(scene.recover(), Some(Recovered::Old));
        scene.assert_old();
    }
}

#[test]
fn a_restore_killed_after_all_trees_were_swapped_is_completed() {
    for way in WAYS {
        let scene = scene(way);
        drop(scene.staged().swap(false).unwrap());
        assert_eq!(scene.recover(), Some(Recovered::New));
        scene.assert_new();
        assert_eq!(scene.recover(), None);
    }
}

#[test]
fn moves_killed_at_any_entry_are_undone() {
    for phase in [Phase::Out, Phase::In, Phase::Back] {
        for moved in 0..=2 {
            let scene = scene(Way::Entries);
            let mut restoration = scene.staged();
            restoration.prepare(false).unwrap();
            let staging = &restoration.stagings[0];
            let staged = scene.live().join(staging.name());
            let (live, old, tree) = (scene.live(), staged.join(OLD), staged.join(TREE));
            let steps = match phase {
                Phase::Out => vec![(&live, &old, moved)],
                Phase::In => vec![(&live, &old, 2), (&tree, &live, moved)],
                _ => vec![(&live, &old, 2), (&tree, &live, 2), (&live, &tree, moved)],
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
            assert_eq!(scene.recover(), Some(Recovered::Old), "{phase:?} {moved}");
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
    let SwapError::Undone(error) = restoration.swap(false).unwrap_err() else { panic!() };
    assert!(error.to_string().ends_with("it was replaced meanwhile"), "{error}");
    assert_eq!(scene.names(), ["strange"]);
    assert_eq!(names_in(&scene.at("holder")), ["_data", "moved"]);
    assert_eq!(read_to_string(scene.at("holder/moved/gone")).unwrap(), "old");
}

#[test]
fn a_swap_that_can_neither_be_completed_nor_undone_keeps_all_parts() {
    let scene = scene(Way::Entries);
    let mut restoration = scene.staged();
    restoration.prepare(false).unwrap();
    let record = records(&scene.state()).unwrap().remove(0);
    let staged = scene.live().join(restoration.stagings[0].name());
    // As a disk that fails: the record cannot be written any more.
    fs::rename(scene.state(), scene.at("failed")).unwrap();
    let SwapError::NotWhole(error) = restoration.swap_prepared().unwrap_err() else { panic!() };
    let [undo] = error.others() else { panic!("{error:?}") };
    assert!(undo.to_string().contains("cannot make the old tree live again in"), "{undo}");
    assert_eq!(names_in(&staged.join(OLD)), ["both", "gone"]);
    assert_eq!(names_in(&staged.join(TREE)), ["both", "fresh"]);
    // The disk is replaced; the record was on it.
    fs::rename(scene.at("failed"), scene.state()).unwrap();
    assert!(record.exists());
    assert_eq!(scene.recover(), Some(Recovered::Old));
    scene.assert_old();
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
        assert_eq!(scene.recover(), Some(Recovered::Old));
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
    restoration.prepare(false).unwrap();
    let name = restoration.stagings[0].name().to_owned();
    die(restoration);
    fs::rename(scene.live().join(&name), scene.at("moved")).unwrap();
    let path = records(&scene.state()).unwrap().remove(0);
    let mut record = RestoreRecord::take_over(&path).unwrap().unwrap();
    let error = recover(&mut record, 0, &scene.open(), &scene.state()).unwrap_err();
    assert!(error.to_string().contains("its staging directory '.voltar-restore-"), "{error}");
    assert!(path.exists());
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
    staged().swap(false).unwrap().finish();
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
        restoration.prepare(false).unwrap();
        restoration.swap_all().unwrap();
        assert_eq!(attributes(), new);
        restoration
    };
    let mut restoration = swapped();
    let record = restoration.record.as_mut().unwrap();
    record.content.swapped = false;
    record.save().unwrap();
    die(restoration);
    assert_eq!(scene.recover(), Some(Recovered::Old));
    assert_eq!(attributes(), old);
    scene.assert_old();
    die(swapped());
    assert_eq!(scene.recover(), Some(Recovered::New));
    assert_eq!(attributes(), new);
    scene.staged().swap(false).unwrap().finish();
    assert_eq!(attributes(), new, "an archive that says nothing of them leaves them");
}
