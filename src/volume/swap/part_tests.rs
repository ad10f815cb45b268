//! Tests of replacing parts of a tree: at every moment at which a run can be killed, and after every error.

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::monitor::Collector;
use crate::volume::live::Live;
use crate::volume::part::move_parts;
use crate::volume::restore_record::records;
use crate::volume::staging::{OLD, TREE};

fn path(name: &str) -> RelPath {
    RelPath::parse(name.as_bytes()).unwrap()
}

/// A live tree of which `a/old` is replaced, `a/new` is new, and the rest stays.
struct World {
    scratch: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let live = scratch.path().join("data/_data");
        for (name, content) in [("a/old/file", "old"), ("a/kept", "kept"), ("b", "kept")] {
            fs::create_dir_all(live.join(name).parent().unwrap()).unwrap();
            fs::write(live.join(name), content).unwrap();
        }
        Self { scratch }
    }

    fn live(&self) -> std::path::PathBuf {
        self.scratch.path().join("data/_data")
    }

    fn open(&self) -> Arc<Live> {
        Arc::new(Live::open(&self.live(), &RelPath::root(), Way::Exchange).unwrap())
    }

    fn state(&self) -> std::path::PathBuf {
        self.scratch.path().join("state")
    }

    fn staged(&self) -> Restoration {
        let live = self.open();
        let paths = vec![vec![path("a/old"), path("a/new/deep")]];
        let this = Restoration::begin_parts(&self.state(), &[("data".to_owned(), Arc::clone(&live))], &paths).unwrap();
        let staging = this.staging(&live).unwrap();
        drop(staging.root().unwrap());
        let tree = self.live().join(staging.name()).join(TREE);
        fs::create_dir_all(tree.join("a/new")).unwrap();
        fs::write(tree.join("a/old"), "new").unwrap();
        fs::write(tree.join("a/new/deep"), "new").unwrap();
        this
    }

    #[track_caller]
    fn is(&self, new: bool) {
        let read = |name: &str| fs::read_to_string(self.live().join(name)).ok();
        let kept = Some("kept".to_owned());
        assert_eq!((read("a/kept"), read("b")), (kept.clone(), kept));
        let expected = if new { (Some("new"), None, Some("new")) } else { (None, Some("old"), None) };
        let found = (read("a/old"), read("a/old/file"), read("a/new/deep"));
        assert_eq!((found.0.as_deref(), found.1.as_deref(), found.2.as_deref()), expected);
        let left = fs::read_dir(self.live()).unwrap().count();
        assert_eq!((left, records(&self.state()).unwrap().len()), (2, 0), "something is left");
    }
}

fn times(path: &Path) -> Vec<(i64, i64)> {
    use std::os::unix::fs::MetadataExt as _;
    let time = |path: &Path| path.metadata().map(|status| (status.mtime(), status.mtime_nsec())).unwrap();
    vec![time(path), time(&path.join("a"))]
}

#[test]
fn parts_are_replaced_and_their_directories_keep_their_times() {
    let world = World::new();
    let before = times(&world.live());
    world.staged().swap(false, &Collector::default()).unwrap().finish(&RemovalTime::unlimited()).1.unwrap();
    world.is(true);
    assert_eq!(times(&world.live()), before);
    let world = World::new();
    let before = times(&world.live());
    drop(world.staged());
    world.is(false);
    assert_eq!(times(&world.live()), before);
}

#[test]
fn parts_killed_after_any_move_are_undone_or_completed() {
    for moved_out in 0..=2 {
        for moved_in in 0..=2 {
            if moved_out < 2 && moved_in > 0 {
                continue;
            }
            for swapped in [false, true] {
                if swapped && moved_in < 2 {
                    continue;
                }
                let world = World::new();
                let before = times(&world.live());
                let mut killed = world.staged();
                killed.prepare(false, &Collector::default()).unwrap();
                let mut record = killed.record.take().unwrap();
                let staging = &killed.stagings[0];
                let parts = staging.parts().to_vec();
                assert_eq!(parts.len(), 2);
                let open = |name: &str| -> OwnedFd { staging.open(name).unwrap() };
                let live = Arc::clone(staging.live());
                move_parts(&live, live.handle(), &open(OLD), &parts[..moved_out], None).unwrap();
                if moved_out == 2 {
                    record.content.trees[0].phase = Phase::In;
                    move_parts(&live, &open(TREE), live.handle(), &parts[..moved_in], None).unwrap();
                }
                record.content.swapped = swapped;
                record.save().unwrap();
                drop(record);
                killed.stagings.clear();
                drop(killed);
                let file = records(&world.state()).unwrap().remove(0);
                let mut record = RestoreRecord::take_over(&file).unwrap().unwrap();
                recover(&mut record, 0, &world.open(), &world.state(), &RemovalTime::unlimited()).unwrap();
                record.remove().unwrap();
                world.is(swapped);
                assert_eq!(times(&world.live()), before, "{moved_out} {moved_in} {swapped}");
            }
        }
    }
}

#[test]
fn what_was_made_meanwhile_is_not_replaced() {
    let world = World::new();
    let staged = world.staged();
    // Somebody makes what was not there.
    fs::write(world.live().join("a/new"), "stranger").unwrap();
    let Err(SwapError::Undone(error)) = staged.swap(false, &Collector::default()) else { panic!("swapped") };
    assert!(error.to_string().ends_with("was made meanwhile"), "{error}");
    assert_eq!(fs::read_to_string(world.live().join("a/new")).unwrap(), "stranger");
    fs::remove_file(world.live().join("a/new")).unwrap();
    world.is(false);
}

/// A container makes `a/old` after the old one has moved out, and is killed; or runs on, and the new one cannot move in.
#[test]
fn what_somebody_else_has_made_in_the_way_of_a_part_is_moved_aside() {
    for (phase, moved_in) in [(Phase::Out, 0), (Phase::In, 0), (Phase::In, 2)] {
        let world = World::new();
        let before = times(&world.live());
        let mut killed = world.staged();
        killed.prepare(false, &Collector::default()).unwrap();
        let mut record = killed.record.take().unwrap();
        let staging = &killed.stagings[0];
        let live = Arc::clone(staging.live());
        move_parts(&live, live.handle(), &staging.open(OLD).unwrap(), staging.parts(), None).unwrap();
        move_parts(&live, &staging.open(TREE).unwrap(), live.handle(), &staging.parts()[..moved_in], None).unwrap();
        if moved_in == 2 {
            // The new one is replaced: it is not known from a stranger, and goes with the new tree.
            fs::remove_file(world.live().join("a/old")).unwrap();
        }
        fs::write(world.live().join("a/old"), "a stranger's").unwrap();
        record.content.trees[0].phase = phase;
        record.save().unwrap();
        drop(record);
        killed.stagings.clear();
        drop(killed);
        let file = records(&world.state()).unwrap().remove(0);
        let mut record = RestoreRecord::take_over(&file).unwrap().unwrap();
        let Recovered::Old { strangers } =
            recover(&mut record, 0, &world.open(), &world.state(), &RemovalTime::unlimited()).unwrap()
        else {
            panic!("not undone")
        };
        assert_eq!(strangers.len(), usize::from(moved_in == 0), "{phase:?} {moved_in}: {strangers:?}");
        for stranger in strangers {
            assert_eq!(stranger.was, "a/old");
            let is = world.live().join("a").join(stranger.is);
            assert_eq!(fs::read_to_string(&is).unwrap(), "a stranger's");
            // Its name has changed the time of the directory, and so does removing it.
            assert_eq!(times(&world.live()), before);
            fs::remove_file(is).unwrap();
        }
        record.remove().unwrap();
        world.is(false);
    }
}

#[test]
fn what_parts_replace_is_kept_under_its_path() {
    let world = World::new();
    world.staged().swap(true, &Collector::default()).unwrap().finish(&RemovalTime::unlimited()).1.unwrap();
    let kept = fs::read_dir(world.live()).unwrap().map(|entry| entry.unwrap().path());
    let kept =
        kept.into_iter().find(|path| path.file_name().unwrap().to_string_lossy().starts_with(".voltar-previous-"));
    assert_eq!(fs::read_to_string(kept.unwrap().join("a/old/file")).unwrap(), "old");
}
