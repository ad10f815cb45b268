//! Archives are compared with the volumes of a real engine, and parts of them are restored.

use std::fs;

use crate::common::snapshot::TreeSnapshot;
use crate::common::tree::{build, dir, file, link};
use crate::stack::{Stack, Test};

pub const TESTS: &[Test] = &[
    ("archives_of_both_kinds_equal_their_volumes", archives_of_both_kinds_equal_their_volumes),
    ("a_part_of_an_archive_is_restored", a_part_of_an_archive_is_restored),
];

/// Those of the documented commands, and ours; and what differs is found.
fn archives_of_both_kinds_equal_their_volumes(stack: &Stack) {
    stack.documented_backup();
    let compare = |args: &[&str]| stack.voltar(&[&["verify", "--against-volume"], args].concat()).run();
    compare(&[]).expect_code(0).expect_text("cvat_data: the volume is equal to the archive");
    stack.voltar(&["backup", "ours"]).run();
    let run = compare(&["ours"]).expect_code(0).expect_text("cvat_db: the volume is equal to the archive");
    run.expect_no_text("are running");
    fs::write(stack.volume("cvat_data").join("new file"), "new").unwrap();
    let run = compare(&["--only", "cvat_data"]).expect_code(1);
    run.expect_text("cvat_data: 'new file': only in the volume\n").expect_text("1 only in the volume, 1 in both");
    stack.start();
    let before = stack.running();
    let run = compare(&["ours"]).expect_code(1);
    run.expect_text("containers that use these volumes are running: ").expect_text("cvat_db: ");
    assert_eq!(stack.running(), before);
}

/// Into the volume of a running stack, which is stopped and started; and into a directory.
fn a_part_of_an_archive_is_restored(stack: &Stack) {
    let volume = stack.volume("cvat_data");
    let nodes =
        [dir("data/42").mode(0o750).owner(1000, 1000), file("data/42/file", "archived"), link("data/42/link", "file")];
    build(&volume, &nodes);
    stack.documented_backup();
    let part = TreeSnapshot::of(&volume.join("data/42")).carried_by_tar();
    fs::remove_dir_all(volume.join("data/42")).unwrap();
    fs::write(volume.join("kept"), "kept").unwrap();
    let rest = stack.snapshot("cvat_data");
    stack.start();
    let restore = |args: &[&str]| {
        stack.voltar(&[&["restore", "--only", "cvat_data", "--path", "home/django/data/data/42"], args].concat())
    };
    restore(&[]).run().expect_code(2).expect_text("are running");
    restore(&["--stop"]).ok();
    part.assert_same(&TreeSnapshot::of(&volume.join("data/42")), "the part");
    rest.assert_same(&stack.snapshot("cvat_data").without("data/42"), "the rest");
    assert_eq!(stack.running(), ["cvat", "cvat_db"]);
    restore(&["--to", "look"]).ok();
    part.assert_same(&TreeSnapshot::of(&stack.work().join("look/data/42")), "the directory");
}
