//! Interruptions by a signal, a full disk or `kill -9`: no incomplete archive or volume is left, and the
//! containers are started again.
//!
//! A test detects the progress of a run by stopped containers and new files. It then stops the run with SIGSTOP,
//! so that its next action happens in the middle of the run.

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use voltar::internals::{Live, Restoration, SwapError};
use voltar::member::RelPath;
use voltar::monitor::Collector;
use voltar::plan::restore::Way;

use crate::common::snapshot::TreeSnapshot;
use crate::common::tool::Running;
use crate::common::tree::{build, dir, file};
use crate::disk::{FailingDisk, SmallDisk};
use crate::stack::{Stack, Test, VOLUMES, empty, names, wait_until};

/// Backups come first, because they run every night.
pub const TESTS: &[Test] = &[
    ("sigint_in_a_backup_leaves_no_archive", |stack| signal_in_a_backup(stack, Signal::SIGINT)),
    ("sigterm_in_a_backup_leaves_no_archive", |stack| signal_in_a_backup(stack, Signal::SIGTERM)),
    ("sigint_keeps_the_old_archives", sigint_keeps_the_old_archives),
    ("too_little_space_is_refused_beforehand", too_little_space_is_refused_beforehand),
    ("full_disk_meanwhile_leaves_no_archive", full_disk_meanwhile_leaves_no_archive),
    ("killed_backup_is_reported_and_resumed", killed_backup_is_reported_and_resumed),
    ("sigint_in_a_restore_leaves_the_old_tree", sigint_in_a_restore_leaves_the_old_tree),
    ("killed_restore_leaves_one_tree_or_the_other", killed_restore_leaves_one_tree_or_the_other),
    ("a_write_error_before_the_swap_prevents_it", write_error_prevents_the_swap),
];

/// Waits until `begun` and stops the run with SIGSTOP. Fails if the run has already ended.
#[track_caller]
fn freeze_once(run: &mut Running, what: &str, begun: impl Fn() -> bool) {
    let mut ended = false;
    wait_until(what, || {
        ended = run.has_ended();
        ended || begun()
    });
    if !ended {
        run.signal(Signal::SIGSTOP);
        ended = run.has_ended();
    }
    assert!(!ended, "the run ended before {what}");
}

/// Starts `voltar backup --stop` on one core into `directory` and freezes it while it writes.
pub fn backup_in_the_middle(stack: &Stack, directory: &Path) -> Running {
    let already = names(directory);
    let mut run = stack.voltar(&["backup", "--stop", "-j", "1", "--overwrite"]).arg(directory).spawn(&stack.at("log"));
    // Waits for some bytes of an archive. A first block has a few hundred kilobytes.
    let writing = || {
        names(directory).iter().any(|name| {
            !already.contains(name) && fs::metadata(directory.join(name)).is_ok_and(|found| found.len() > 100_000)
        })
    };
    freeze_once(&mut run, "an incomplete archive", writing);
    let finished: Vec<String> =
        names(directory).into_iter().filter(|name| name.ends_with(".tar.bz2") && !already.contains(name)).collect();
    assert!(finished.len() < 2, "the backup had nearly ended: {finished:?}");
    run
}

fn signal_in_a_backup(stack: &Stack, signal: Signal) {
    stack.start();
    let media = stack.snapshot("cvat_data");
    let run = backup_in_the_middle(stack, &stack.at("backup"));
    assert_eq!(stack.running(), Vec::<String>::new(), "stopped for the backup");
    run.signal(signal);
    run.signal(Signal::SIGCONT);
    let begin = Instant::now();
    run.wait().expect_code(130).expect_text("interrupted");
    assert!(begin.elapsed() < Duration::from_secs(20), "an interrupted run ends soon: {:?}", begin.elapsed());
    assert_eq!(stack.archives(), Vec::<String>::new(), "no archive, complete or incomplete");
    assert_eq!(stack.running(), ["cvat", "cvat_db"], "started again");
    media.assert_same(&stack.snapshot("cvat_data"), "cvat_data");
    stack.voltar(&["plan"]).run().expect_no_text("voltar resume");
}

fn sigint_keeps_the_old_archives(stack: &Stack) {
    fs::create_dir(stack.at("backup")).unwrap();
    for volume in VOLUMES {
        fs::write(stack.at(&format!("backup/{volume}.tar.bz2")), "last night's").unwrap();
    }
    let run = backup_in_the_middle(stack, &stack.at("backup"));
    run.signal(Signal::SIGINT);
    run.signal(Signal::SIGCONT);
    run.wait().expect_code(130);
    assert_eq!(stack.archives(), ["cvat_data.tar.bz2", "cvat_db.tar.bz2"]);
    for volume in VOLUMES {
        let kept = fs::read(stack.at(&format!("backup/{volume}.tar.bz2"))).unwrap();
        assert!(kept == b"last night's", "{volume}.tar.bz2 was replaced");
    }
}

fn too_little_space_is_refused_beforehand(stack: &Stack) {
    stack.start();
    let disk = SmallDisk::new(2);
    stack.voltar(&["backup", "--stop"]).arg(disk.path()).run().expect_code(2).expect_text("space");
    assert_eq!(disk.files(), Vec::<String>::new());
    assert_eq!(stack.running(), ["cvat", "cvat_db"]);
}

fn full_disk_meanwhile_leaves_no_archive(stack: &Stack) {
    stack.start();
    let disk = SmallDisk::new(400);
    let run = backup_in_the_middle(stack, &disk.path());
    disk.fill();
    run.signal(Signal::SIGCONT);
    run.wait().expect_code(2).expect_text("No space left");
    assert_eq!(disk.files(), Vec::<String>::new(), "no archive, complete or incomplete");
    assert_eq!(stack.running(), ["cvat", "cvat_db"], "started again");
}

fn killed_backup_is_reported_and_resumed(stack: &Stack) {
    stack.start();
    let run = backup_in_the_middle(stack, &stack.at("backup"));
    run.signal(Signal::SIGKILL);
    assert_eq!(run.wait().killed_by(), Some(9));
    assert_eq!(stack.running(), Vec::<String>::new());
    let complete = |name: &String| name.ends_with(".tar.bz2");
    assert!(stack.archives().iter().filter(|name| complete(name)).count() < 2);
    // The next command reports the interrupted run, but does not resume it.
    let plan = stack.voltar(&["plan"]).run();
    plan.expect_text("voltar resume").expect_text("cvat_db");
    assert_eq!(stack.running(), Vec::<String>::new());
    stack.voltar(&["resume"]).ok();
    assert_eq!(stack.running(), ["cvat", "cvat_db"]);
    stack.voltar(&["plan"]).run().expect_no_text("voltar resume");
    // The files of the killed backup do not prevent the next one, which removes them.
    stack.voltar(&["backup", "--stop", "--overwrite"]).run().expect_code(1);
    assert_eq!(stack.archives(), ["cvat_data.tar.bz2", "cvat_db.tar.bz2"]);
    stack.assert_database_is_intact();
}

/// Starts a restore of the media and freezes it while it stages the new tree. The old tree is not changed yet.
pub fn restore_in_the_middle(stack: &Stack, options: &[&str]) -> Running {
    let directory = stack.volume("cvat_data").parent().unwrap().to_owned();
    let mut run = stack.voltar(&["restore", "-j", "1", "--only", "cvat_data"]).args(options).spawn(&stack.at("log"));
    freeze_once(&mut run, "a staged tree", || {
        names(&directory).iter().any(|name| name != "_data" && name != "opts.json")
    });
    run
}

/// Changes the media, so that the old tree differs from the archive's.
pub fn make_old_tree(stack: &Stack) -> TreeSnapshot {
    build(&stack.volume("cvat_data"), &[dir("").mode(0o751), file("old", "x"), dir("data/old/below")]);
    stack.snapshot("cvat_data")
}

fn sigint_in_a_restore_leaves_the_old_tree(stack: &Stack) {
    stack.documented_backup();
    let old = make_old_tree(stack);
    stack.start();
    let run = restore_in_the_middle(stack, &["--stop"]);
    run.signal(Signal::SIGINT);
    run.signal(Signal::SIGCONT);
    run.wait().expect_code(130).expect_text("interrupted");
    old.assert_same(&stack.snapshot("cvat_data"), "the tree that was there");
    assert_eq!(names(stack.volume("cvat_data").parent().unwrap()), ["_data"], "nothing is left beside the tree");
    assert_eq!(stack.running(), ["cvat", "cvat_db"], "started again");
}

/// The kernel may write back at any time, and it reports an error only once, to the descriptors that were open
/// then.
fn write_error_prevents_the_swap(stack: &Stack) {
    let disk = FailingDisk::new();
    let sync = || nix::unistd::syncfs(File::open(disk.path()).unwrap());
    let path = disk.path().join("live");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("old"), "content").unwrap();
    sync().unwrap();
    let live = Arc::new(Live::open(&path, &RelPath::root(), Way::Exchange).unwrap());
    let restoration = Restoration::begin(&stack.at("state"), &[("x".to_owned(), Arc::clone(&live))]).unwrap();
    restoration.staging(&live).unwrap().root().unwrap();
    let staging = names(&disk.path()).into_iter().find(|name| name.starts_with(".voltar-restore-")).unwrap();
    fs::write(disk.path().join(staging).join("tree/new"), vec![b'x'; 32 << 20]).unwrap();
    sync().unwrap_err();
    disk.repair();
    sync().unwrap();
    let SwapError::Undone(error) = restoration.swap(false, &Collector::default()).unwrap_err() else {
        panic!("it can be undone")
    };
    assert!(error.to_string().contains("cannot sync"), "{error}");
    assert_eq!(names(&path), ["old"]);
}

/// Kills a restore at points spread over the run: while it decodes, stages, syncs and swaps.
fn killed_restore_leaves_one_tree_or_the_other(stack: &Stack) {
    const POINTS: u32 = 10;
    let new = stack.snapshot("cvat_data").carried_by_tar();
    stack.documented_backup();
    make_old_tree(stack);
    let begin = Instant::now();
    stack.voltar(&["restore", "--only", "cvat_data"]).ok();
    let full_run = begin.elapsed();

    let (mut olds, mut news) = (0, 0);
    for point in 0..=POINTS {
        empty(&stack.volume("cvat_data"));
        let old = make_old_tree(stack);
        let run = stack.voltar(&["restore", "--only", "cvat_data"]).spawn(&stack.at("log"));
        std::thread::sleep(full_run * point / POINTS);
        run.signal(Signal::SIGKILL);
        run.wait();
        // Between the two renames of a swap, the next run completes the journal. A plain directory needs no
        // recovery to be one tree or the other.
        let found = stack.snapshot("cvat_data");
        if found.diff(&old).is_empty() {
            olds += 1;
        } else {
            new.assert_same(
                &found,
                &format!("neither the old tree nor, with these differences, the new one; killed at {point}/{POINTS}"),
            );
            news += 1;
        }
        stack.voltar(&["restore", "--only", "cvat_data"]).ok();
        new.assert_same(&stack.snapshot("cvat_data"), "the next restore");
        assert_eq!(names(stack.volume("cvat_data").parent().unwrap()), ["_data"], "the next run recovers");
    }
    assert!(olds > 0, "no run was killed before the swap");
    // How many runs ended in time depends on the machine; both outcomes are valid.
    assert_eq!(olds + news, POINTS + 1);
}
