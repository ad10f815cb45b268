//! PostgreSQL's clusters: a real server makes them, is killed, and makes a tablespace out of its volume.

use std::fs;

use crate::common::engine::docker;
use crate::common::tool::Tool;
use crate::stack::{Container, Stack, Test, layout, query, wait_for_database};

pub const TESTS: &[Test] = &[
    ("postgres_of_another_version_is_not_restored", postgres_of_another_version_is_not_restored),
    ("postgres_that_was_killed_is_reported", postgres_that_was_killed_is_reported),
    ("postgres_with_a_tablespace_elsewhere_is_not_archived", postgres_with_a_tablespace_elsewhere_is_not_archived),
];

const DATABASE: [&str; 2] = ["--only", "cvat_db"];

/// The media are not of interest here, nor is compression.
fn voltar(stack: &Stack, args: &[&str]) -> Tool {
    let fast = if args[0] == "backup" { &["--format", "tar"][..] } else { &[] };
    stack.voltar(args).args(fast).args(DATABASE)
}

fn postgres_of_another_version_is_not_restored(stack: &Stack) {
    stack.documented_backup();
    let plan = voltar(stack, &["restore", "--dry-run"]).ok();
    plan.expect_text("PostgreSQL 15 in the archive, 15 in the volume, 15 in the image");
    fs::write(stack.volume("cvat_db").join("PG_VERSION"), "10\n").unwrap();
    stack.compose(&["start", "cvat"]);
    let before = stack.snapshots();
    for mode in [&[][..], &["--merge"], &["--in-place"]] {
        let run = voltar(stack, &["restore", "--stop"]).args(mode).run().expect_code(2);
        run.expect_text("cvat_db: the archive holds PostgreSQL 15, the volume 10").expect_text("--force-version");
        assert_eq!(stack.running(), ["cvat"]);
    }
    stack.assert_unchanged(&before);

    // The image of this container is that of another version.
    let volume = "voltar-e2e_cvat_db:/var/lib/postgresql/data";
    let newer = Container::create("newer", &["-e", "PG_MAJOR=16", "-v", volume]);
    layout(&stack.at("newer.toml"), "cvat_db", newer.name(), "/var/lib/postgresql/data");
    fs::write(stack.volume("cvat_db").join("PG_VERSION"), "15\n").unwrap();
    let because = format!("cvat_db: the archive holds PostgreSQL 15, the image of '{}' (ubuntu) 16", newer.name());
    voltar(stack, &["restore", "--layout", "newer.toml"]).run().expect_code(2).expect_text(&because);
    drop(newer);

    fs::write(stack.volume("cvat_db").join("PG_VERSION"), "10\n").unwrap();
    voltar(stack, &["restore", "--stop", "--force-version"]).ok();
    stack.assert_database_is_intact();
}

fn postgres_that_was_killed_is_reported(stack: &Stack) {
    stack.start();
    docker(["kill", "cvat_db"]);
    stack.stop();
    let backup = voltar(stack, &["backup"]).ok();
    backup.expect_text("cvat_db: 'postmaster.pid' is archived: PostgreSQL had been killed, not shut down");
    stack
        .voltar(&["verify"])
        .run()
        .expect_code(1)
        .expect_text("'var/lib/postgresql/data/postmaster.pid' is in the archive");
    stack.empty_volumes();
    voltar(stack, &["restore"]).run().expect_code(1).expect_text("'postmaster.pid' is in the archive");
    stack.assert_database_is_intact();
    // Shut down, it leaves nothing to report.
    voltar(stack, &["backup", "clean", "--stop"]).ok().expect_no_text("postmaster.pid");
    voltar(stack, &["verify", "clean"]).ok();
}

fn postgres_with_a_tablespace_elsewhere_is_not_archived(stack: &Stack) {
    stack.start();
    docker(["exec", "cvat_db", "install", "-d", "-o", "70", "-g", "70", "/tmp/fast"]);
    query("CREATE TABLESPACE fast LOCATION '/tmp/fast'");
    let running = stack.running();
    let refused = voltar(stack, &["backup", "--stop"]).run().expect_code(2);
    refused.expect_text("' leads to '/tmp/fast', which is not in the archive").expect_text("--allow-outside-links");
    assert_eq!((stack.running(), stack.archives()), (running.clone(), Vec::new()));
    let allowed = voltar(stack, &["backup", "--stop", "--allow-outside-links"]).run().expect_code(1);
    allowed.expect_text("warning: cvat_db: 'pg_tblspc/");
    wait_for_database();
    query("DROP TABLESPACE fast");
    docker(["exec", "cvat_db", "rm", "-r", "/tmp/fast"]);
    assert_eq!(stack.running(), running);
    voltar(stack, &["backup", "--stop", "--overwrite"]).ok();
}
