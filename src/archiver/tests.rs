#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::TempDir;

use super::read_ahead::{Batches, read_small};
use super::*;
use crate::batch::{DIRECTORIES, MEMBERS, SMALL};
use crate::codec::Format;
use crate::digest::Digest;
use crate::error::ErrorKind;
use crate::exclude::Exclude;
use crate::index::{self, IndexWriter, State};
use crate::member::Timestamp;
use crate::monitor::Collector;
use crate::store::{Destination, Location};
use crate::volume::live::Way;

/// Directories with small files, and some that are not read ahead.
fn tree() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for directory in 0..12 {
        let at = dir.path().join(format!("directory {directory:02}"));
        fs::create_dir(&at).unwrap();
        for file in 0..directory * 8 {
            fs::write(at.join(format!("file {file:02}")), vec![b'x'; file * 97]).unwrap();
        }
    }
    for (name, size) in [("large", SMALL + 1), ("not large", SMALL), ("other", SMALL)] {
        File::create(dir.path().join(name)).unwrap().set_len(size).unwrap();
    }
    fs::hard_link(dir.path().join("directory 01/file 03"), dir.path().join("hard")).unwrap();
    symlink("large", dir.path().join("link")).unwrap();
    dir
}

fn job(target: &Path) -> Job {
    Job {
        archive: "x".to_owned(),
        prefix: RelPath::parse(b"srv/x").unwrap(),
        destination: Destination::File(target.to_owned()),
        expected_bytes: None,
        expected: Expected::Anything,
        exclude: Exclude::default(),
        xattrs: false,
        compression: Format::Plain.into(),
        scope: Scope::All,
        is_first_pass: false,
    }
}

/// Attributes are counted, and no digests are wanted.
const READING: Reading = Reading { look: Look::Count, is_digested: false };

fn walk(tree: &Path) -> Walk<'static> {
    Walk::new(&OpenTree::of_directory(tree, Way::Exchange)).unwrap()
}

fn path(item: &WalkItem) -> RelPath {
    match item {
        WalkItem::Read(entry, _) | WalkItem::Examined(entry, _) | WalkItem::Found(Found::Entry(entry)) => {
            entry.path.clone()
        }
        WalkItem::Found(
            Found::Socket(path)
            | Found::Own(path)
            | Found::Unreadable { path, .. }
            | Found::Beyond { path, .. }
            | Found::Changed(path)
            | Found::Gone(path),
        ) => path.clone(),
        WalkItem::Found(Found::Excluded) => panic!("nothing is excluded"),
    }
}

/// Returns the tar stream of `items` and the issues.
fn archived(items: impl Iterator<Item = WalkItem>) -> (Vec<u8>, Vec<String>) {
    let (job, monitor) = (job(Path::new("")), Collector::default());
    let mut archiver = Archiver {
        job: &job,
        monitor: &monitor,
        ids: &IdMap::default(),
        tar: TarWriter::new(Vec::new(), job.prefix.clone()),
        links: Links::default(),
        files: Pool::for_files().unwrap(),
        members: 0,
        excluded: 0,
        look: Look::Count,
        plain: Plain::default(),
        beyond: 0,
        changed: 0,
        one_file: false,
        database: false,
        clusters: Clusters::default(),
        beside: Beside::Nothing,
        unchanged: Vec::new(),
        tree: TreeTotals::default(),
    };
    for item in items {
        archiver.take(item).unwrap();
    }
    let (stream, _) = archiver.tar.finish().unwrap();
    (stream, monitor.issues().into_iter().map(|issue| issue.message).collect())
}

#[test]
fn what_changes_after_the_walk_is_archived_as_if_it_had_not_been_read_ahead() {
    let dir = tree();
    let at = |name: &str| dir.path().join(name);
    let found: Vec<_> = walk(dir.path()).map(Result::unwrap).collect();
    let batches: Vec<_> = Batches(Some(walk(dir.path()))).collect();

    fs::remove_file(at("directory 03/file 01")).unwrap();
    fs::write(at("directory 03/file 02"), "").unwrap();
    fs::write(at("directory 03/file 03"), vec![b'y'; 10_000]).unwrap();
    fs::write(at("directory 03/file 04"), vec![b'y'; 3 * PIECE]).unwrap();
    // Their total exceeds the limit of a batch.
    for file in 0..10 {
        fs::write(at(&format!("directory 11/file {file:02}")), vec![b'z'; SMALL as usize]).unwrap();
    }
    fs::remove_file(at("directory 05/file 00")).unwrap();
    symlink("elsewhere", at("directory 05/file 00")).unwrap();
    fs::remove_file(at("directory 05/file 01")).unwrap();
    fs::create_dir(at("directory 05/file 01")).unwrap();
    fs::hard_link(at("directory 05/file 02"), at("directory 05/new")).unwrap();
    fs::rename(at("directory 07"), at("directory 07, moved")).unwrap();
    fs::remove_dir_all(at("directory 09")).unwrap();

    let (stream, issues) = archived(found.into_iter().map(WalkItem::Found));
    let read_ahead: Vec<_> =
        batches.into_iter().flat_map(|batch| read_small(batch, READING)).map(Result::unwrap).collect();
    let left = read_ahead
        .iter()
        .filter(|item| matches!(item, WalkItem::Found(Found::Entry(Entry { kind: Kind::File { .. }, .. }))));
    let left: Vec<_> = left.map(|item| path(item).to_string()).collect();
    for grown in ["directory 03/file 04", "directory 11/file 09"] {
        assert!(left.iter().any(|name| name == grown), "there is no room for '{grown}': {left:?}");
    }
    assert!(left.len() < 50, "{left:?}");
    let (same_stream, same_issues) = archived(read_ahead.into_iter());
    assert_eq!(same_issues, issues);
    assert!(same_stream == stream, "the streams differ");
    let reported = |what: &str| issues.iter().filter(|issue| issue.contains(what)).count();
    assert_eq!((reported("vanished before"), reported("was replaced before")), (1 + 9 * 8, 2), "{issues:#?}");
}

#[test]
fn entries_keep_the_order_of_the_walk_and_only_small_files_are_read() {
    let dir = tree();
    let mut seen = Vec::new();
    for_each_read_ahead(walk(dir.path()), READING, &Pool::for_files().unwrap(), |one| {
        seen.push(one?);
        Ok(())
    })
    .unwrap();
    let walked: Vec<_> = walk(dir.path()).map(|found| path(&WalkItem::Found(found.unwrap()))).collect();
    assert_eq!(seen.iter().map(path).collect::<Vec<_>>(), walked);
    for item in &seen {
        let name = path(item).to_string();
        let read = name == "not large" || name == "other" || name.contains("/file") && name != "directory 01/file 03";
        assert_eq!(matches!(item, WalkItem::Read(_, Ok(_))), read, "{name}");
    }
}

#[test]
fn batches_are_bounded() {
    let dir = tree();
    for directory in 0..40 {
        fs::create_dir(dir.path().join(format!("lonely {directory}"))).unwrap();
        fs::write(dir.path().join(format!("lonely {directory}/file")), "alone").unwrap();
    }
    let batches: Vec<Vec<Entry>> = Batches(Some(walk(dir.path())))
        .map(|batch| batch.into_iter().map(|found| if let Ok(Found::Entry(entry)) = found { entry } else { panic!() }))
        .map(Iterator::collect)
        .collect();
    let (mut most, mut most_directories) = (0, 0);
    for batch in &batches {
        let directories = 1 + batch.windows(2).filter(|pair| !pair[0].lies_beside(&pair[1])).count();
        (most, most_directories) = (most.max(batch.len()), most_directories.max(directories));
        assert!(!batch.is_empty());
    }
    assert_eq!((most, most_directories), (MEMBERS, DIRECTORIES));
    let full = batches.iter().find(|batch| batch.iter().any(|entry| entry.path.as_bytes() == b"not large")).unwrap();
    assert_eq!(full.last().unwrap().path.as_bytes(), b"other", "two files of this size fill a batch");
}

/// Returns an endless walk, for tests of what must stop before its end.
fn sockets() -> impl Iterator<Item = Result<Found>> + Send {
    std::iter::repeat_with(|| Ok(Found::Socket(RelPath::root())))
}

#[test]
fn nothing_comes_after_an_error_of_the_walk() {
    let walk = sockets().take(1000).chain([Err(Error::refused("the walk's own message"))]).chain(sockets().take(1000));
    let mut seen = Vec::new();
    for_each_read_ahead(walk, READING, &Pool::for_files().unwrap(), |one| {
        seen.push(one.map(|_| ()).map_err(|e| e.to_string()));
        Ok(())
    })
    .unwrap();
    assert_eq!(seen.len(), 1001);
    assert_eq!(seen[1000], Err("the walk's own message".to_owned()));
}

#[test]
fn the_first_error_of_the_archiver_ends_it() {
    let mut taken = 0;
    let error = for_each_read_ahead(sockets(), READING, &Pool::for_files().unwrap(), |_| {
        taken += 1;
        if taken == 500 { Err(Error::refused("enough")) } else { Ok(()) }
    });
    assert_eq!(error.unwrap_err().to_string(), "enough");
    assert_eq!(taken, 500);
}

#[test]
fn a_panic_of_the_walk_surfaces() {
    let walk = sockets().take(1000).chain(std::iter::once_with(|| panic!("the walk's own message")));
    let panic =
        catch_unwind(AssertUnwindSafe(|| for_each_read_ahead(walk, READING, &Pool::for_files().unwrap(), |_| Ok(()))));
    assert_eq!(panic.unwrap_err().downcast_ref::<&str>(), Some(&"the walk's own message"));
}

/// A monitor that cancels the run after a number of members.
struct StopAfter(AtomicUsize);

impl Monitor for StopAfter {
    fn event(&self, event: &Event<'_>) {
        if let Event::Member { .. } = event {
            self.0.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }
}

#[test]
fn a_cancelled_run_stops_at_once_and_leaves_no_archive() {
    let (dir, out, pool) = (tree(), tempfile::tempdir().unwrap(), Pool::new(1).unwrap());
    for members in [0, 1, 100, 300] {
        let job = job(&out.path().join("x.tar"));
        let monitor = StopAfter(AtomicUsize::new(members));
        let error = write(&job, &OpenTree::of_directory(dir.path(), Way::Exchange), &pool, &monitor).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        assert_eq!(monitor.0.into_inner(), 0);
        assert_eq!(fs::read_dir(out.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_directory_that_changes_while_it_is_read_is_an_issue() {
    let dir = tree();
    let mut found = walk(dir.path());
    let mut changed = Vec::new();
    // The walk has listed a directory when it returns it.
    for (number, name) in [(0, "new"), (1, "directory 01/new")] {
        assert!(matches!(found.nth(number), Some(Ok(Found::Entry(_)))));
        fs::write(dir.path().join(name), "").unwrap();
    }
    for found in found {
        if let Ok(Found::Changed(path)) = found {
            changed.push(path.to_string());
        }
    }
    assert_eq!(changed, ["directory 01", "."]);
    let paths = (0..12).map(|number| RelPath::parse(format!("{number}").as_bytes()).unwrap());
    let (_, issues) = archived(paths.map(|path| WalkItem::Found(Found::Changed(path))));
    assert_eq!(issues.len(), 10);
    assert_eq!(issues[9], "the directory '9' changed while it was read");
}

/// How each entry of a walk compares with an index of entries, as text.
fn compared(tree: &Path, change: impl Fn(&mut index::Entry)) -> Vec<String> {
    compared_after(i64::MAX, tree, change)
}

/// The same, for an archive that was begun at this time.
fn compared_after(begun: i64, tree: &Path, change: impl Fn(&mut index::Entry)) -> Vec<String> {
    let mut writer = IndexWriter::new(Vec::new(), Timestamp { seconds: begun, nanoseconds: 0 }).unwrap();
    for found in walk(tree) {
        let Found::Entry(Entry { path, kind, metadata, inode, .. }) = found.unwrap() else { panic!("no entry") };
        let (ctime, nlink, digest) = (inode.ctime, inode.nlink, Some(Digest([7; 32])));
        let state = State { kind, metadata, ctime, inode: inode.id.inode, nlink, digest };
        let mut entry = index::Entry { path, state: Some(state) };
        change(&mut entry);
        writer.add(&entry).unwrap();
    }
    let text = writer.finish().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("index.zst");
    let pool = Pool::new(1).unwrap();
    let mut compressor = Compressor::new(Vec::new(), Format::Zstd.into(), &pool);
    compressor.write_all(&text).unwrap();
    fs::write(&file, compressor.finish().unwrap()).unwrap();
    let monitor = Collector::default();
    let index = Index::open(&Location::new(file), &pool, &monitor).unwrap();
    let text = |found: Result<Found>| match found.unwrap() {
        Found::Gone(path) => format!("{path} gone"),
        Found::Entry(entry) => format!("{} {:?}", entry.path, entry.before),
        other => format!("{other:?}"),
    };
    Compared::new(walk(tree), index, &IdMap::default(), false).unwrap().map(text).collect()
}

#[test]
fn every_difference_from_an_index_is_found() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a", "b", "c"] {
        fs::write(dir.path().join(name), name).unwrap();
    }
    fs::create_dir(dir.path().join("b-")).unwrap();
    let of_b = |change: fn(&mut State)| {
        let is_b = |entry: &&mut index::Entry| entry.path.as_bytes() == b"b";
        let found = compared(dir.path(), |entry| {
            Some(entry).filter(is_b).into_iter().for_each(|entry| entry.state.iter_mut().for_each(change));
        });
        found.into_iter().find(|text| text.starts_with("b ")).unwrap()
    };
    assert_eq!(compared(dir.path(), |_| ()), [". Same", "a Same", "b Same", "b- Same", "c Same"]);
    let same_if = format!("b {:?}", Before::SameIf(Digest([7; 32])));
    assert_eq!(of_b(|state| state.ctime.nanoseconds ^= 1), same_if);
    assert_eq!(of_b(|state| state.inode += 1), same_if);
    assert_eq!(of_b(|state| state.metadata.mtime.nanoseconds ^= 1), same_if);
    assert_eq!(of_b(|state| (state.inode, state.digest) = (0, None)), "b Other");
    assert_eq!(of_b(|state| state.metadata.mtime.seconds += 1), "b Other");
    assert_eq!(of_b(|state| state.metadata.mode ^= 1), "b Other");
    assert_eq!(of_b(|state| state.metadata.uid += 1), "b Other");
    assert_eq!(of_b(|state| state.metadata.gid += 1), "b Other");
    assert_eq!(of_b(|state| state.nlink = 2), "b Other");
    assert_eq!(of_b(|state| state.kind = Kind::File { size: 2 }), "b Other");
    // What was changed at about the time when it was read may have been changed again.
    let now = now().seconds;
    for (begun, expected) in [(now + 10, "b Same"), (now + 1, &*same_if), (now, &*same_if), (now - 10, &*same_if)] {
        assert!(compared_after(begun, dir.path(), |_| ()).iter().any(|text| text == expected), "{begun} {expected}");
    }
    // Another kind, and a member that the archive does not hold completely.
    let kinds: [fn(&mut index::Entry); 2] =
        [|entry| entry.state.iter_mut().for_each(|state| state.kind = Kind::Fifo), |entry| entry.state = None];
    for change in kinds {
        let found = compared(dir.path(), |entry| {
            if entry.path.as_bytes() == b"b" {
                change(entry);
            }
        });
        assert_eq!(found, [". Same", "a Same", "b gone", "b Other", "b- Same", "c Same"]);
    }
    // The index has other names: `a` is new, and so on.
    let renamed = compared(dir.path(), |entry| {
        entry.path = match entry.path.as_bytes() {
            b"a" => RelPath::parse(b"a0").unwrap(),
            b"b-" => RelPath::parse(b"b/x").unwrap(),
            b"c" => RelPath::parse(b"d").unwrap(),
            _ => entry.path.clone(),
        }
    });
    assert_eq!(renamed, [". Same", "a Other", "a0 gone", "b Same", "b/x gone", "b- Other", "c Other", "d gone"]);
}
