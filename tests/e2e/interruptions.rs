//! What is left when something comes in between: a signal, a full disk, `kill -9`. No half archive, no half
//! volume, and the containers come back.
//!
//! A run is caught in the act by what it cannot hide: containers that are stopped, and files that appear.
//! It is then frozen, so that whatever the test does next happens in the middle.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use voltar::volume::swap::{Live, STAGING, Staging, Way};

use crate::common::snapshot::TreeSnapshot;
use crate::common::tool::Running;
use crate::common::tree::{build, dir, file};
use crate::disk::{FailingDisk, SmallDisk};
use crate::stack::{Stack, Test, VOLUMES, empty, names, wait_until};

/// Backups first: they are the ones that run every night.
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

/// Waits until `begun`, and freezes the run in that moment. Fails if it was over before.
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
    assert!(!ended, "the run was over before {what}");
}

/// Starts `voltar backup --stop` on one core into `directory` and freezes it while it writes.
fn backup_in_the_middle(stack: &Stack, directory: &Path) -> Running {
    let already = names(directory);
    let mut run = stack.voltar(&["backup", "--stop", "-j", "1", "--overwrite"]).arg(directory).spawn(&stack.at("log"));
    // Some bytes of an archive: only then is the backup in its middle. A first block is a few hundred kilobytes.
    let writing = || {
        names(directory).iter().any(|name| {
            !already.contains(name) && fs::metadata(directory.join(name)).is_ok_and(|found| found.len() > 100_000)
        })
    };
    freeze_once(&mut run, "an incomplete archive", writing);
    let finished: Vec<String> =
        names(directory).into_iter().filter(|name| name.ends_with(".tar.bz2") && !already.contains(name)).collect();
    assert!(finished.len() < 2, "the backup was nearly over: {finished:?}");
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
    run.wait().expect_code(2).expect_text("interrupted");
    assert!(begin.elapsed() < Duration::from_secs(20), "an interrupted run ends soon: {:?}", begin.elapsed());
    assert_eq!(stack.archives(), Vec::<String>::new(), "no archive, and no part of one");
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
    run.wait().expect_code(2);
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
    assert_eq!(disk.files(), Vec::<String>::new(), "no archive, and no part of one");
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
    // Whatever command comes next says so, and does not do it unasked.
    let plan = stack.voltar(&["plan"]).run();
    plan.expect_text("voltar resume").expect_text("cvat_db");
    assert_eq!(stack.running(), Vec::<String>::new());
    stack.voltar(&["resume"]).ok();
    assert_eq!(stack.running(), ["cvat", "cvat_db"]);
    stack.voltar(&["plan"]).run().expect_no_text("voltar resume");
    // The next backup is not in the way of what the killed one left, and leaves only archives.
    stack.voltar(&["backup", "--stop", "--overwrite"]).run().expect_code(1);
    assert_eq!(stack.archives(), ["cvat_data.tar.bz2", "cvat_db.tar.bz2"]);
    stack.assert_database_is_intact();
}

/// Starts a restore of the media and freezes it while it stages them. It must not have touched the tree.
fn restore_in_the_middle(stack: &Stack, options: &[&str]) -> Running {
    let directory = stack.volume("cvat_data").parent().unwrap().to_owned();
    let mut run = stack.voltar(&["restore", "-j", "1", "--only", "cvat_data"]).args(options).spawn(&stack.at("log"));
    freeze_once(&mut run, "a staged tree", || {
        names(&directory).iter().any(|name| name != "_data" && name != "opts.json")
    });
    run
}

/// A tree that differs from the archive's in every volume: the old one.
fn make_old_tree(stack: &Stack) -> TreeSnapshot {
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
    run.wait().expect_code(2).expect_text("interrupted");
    old.assert_same(&stack.snapshot("cvat_data"), "the tree that was there");
    assert_eq!(names(stack.volume("cvat_data").parent().unwrap()), ["_data"], "nothing left beside the tree");
    assert_eq!(stack.running(), ["cvat", "cvat_db"], "started again");
}

/// The kernel writes when it likes, and tells of a failure once: to those who had the file system open then.
fn write_error_prevents_the_swap(_: &Stack) {
    let disk = FailingDisk::new();
    let sync = || nix::unistd::syncfs(File::open(disk.path()).unwrap());
    let live = Live { path: disk.path().join("live"), way: Way::Exchange };
    fs::create_dir(&live.path).unwrap();
    fs::write(live.path.join("old"), "content").unwrap();
    sync().unwrap();
    let staging = Staging::begin(&live).unwrap();
    fs::write(disk.path().join(STAGING).join("tree/new"), vec![b'x'; 32 << 20]).unwrap();
    sync().unwrap_err();
    disk.repair();
    sync().unwrap();
    let error = staging.swap(false).unwrap_err();
    assert!(error.to_string().contains("cannot sync"), "{error}");
    assert_eq!(names(&live.path), ["old"]);
}

/// Killed at points all over the run: in the decoding, the staging, the syncing, about the swap.
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
        // In the instant between two renames there may be a journal that the next run completes; no run
        // but a restore is needed to see the one tree or the other where a plain directory is swapped.
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
    assert!(olds > 0, "no run was caught before its end");
    // How many were over in time depends on the machine; both are right.
    assert_eq!(olds + news, POINTS + 1);
}
