//! Today's CVAT on Docker 26 with compose v2: nine containers, and the commands of its current guide, as printed there.

use std::fs;
use std::path::PathBuf;

use crate::common::archive::assert_same_stream;
use crate::common::snapshot::TreeSnapshot;
use crate::common::tool::Tool;
use crate::common::tree::{build, dir, file, link};
use crate::other_engine::{OtherEngine, Test};
use crate::stack::wait_until;

pub const TESTS: &[Test] = &[("cvat_and_its_guide_both_ways", cvat_and_its_guide_both_ways)];

const FILE: &str = "docker-compose.cvat.yml";
/// The archives of the guide: the container, the path, and its number of components.
const ARCHIVES: [(&str, &str, &str, u8); 3] = [
    ("cvat_db", "cvat_db", "/var/lib/postgresql/data", 4),
    ("cvat_data", "cvat_server", "/home/django/data", 3),
    ("cvat_events_db", "cvat_clickhouse", "/var/lib/clickhouse", 3),
];

fn volume(engine: &OtherEngine, name: &str) -> PathBuf {
    engine.volume(&format!("cvat_{name}"))
}

fn snapshots(engine: &OtherEngine) -> [TreeSnapshot; 3] {
    ARCHIVES.map(|(name, ..)| TreeSnapshot::of(&volume(engine, name)))
}

/// Compares with the trees that `tar` can carry: the guide's commands leave the attributes of the root as they are.
fn assert_restored(engine: &OtherEngine, before: &[TreeSnapshot; 3], by: &str) {
    for (before, (found, (name, ..))) in before.iter().zip(snapshots(engine).into_iter().zip(ARCHIVES)) {
        let carried = |tree: TreeSnapshot| tree.carried_by_tar().without_root();
        carried(before.clone()).assert_same(&carried(found), &format!("{name}, restored by {by}"));
    }
}

/// Empties the volumes, and keeps their roots.
fn empty(engine: &OtherEngine) {
    for (name, ..) in ARCHIVES {
        Tool::new("find").arg(volume(engine, name)).args(["-mindepth", "1", "-delete"]).ok();
    }
}

fn rows(engine: &OtherEngine) -> String {
    let sql = "SELECT count(*), md5(string_agg(t::text, '|' ORDER BY id)) FROM engine_labeledshape t";
    let query = ["exec", "cvat_db", "psql", "-At", "-U", "root", "-c", sql, "cvat"];
    let mut answer = String::new();
    wait_until("the database", || {
        let outcome = engine.command(query).run();
        answer = outcome.answer();
        outcome.status.success()
    });
    answer
}

fn fill(engine: &OtherEngine) {
    let populate = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/populate.py");
    let sql = Tool::new("python3").args([populate, "sql", "--megabytes", "1"]).ok().stdout;
    wait_until("the database", || {
        engine.command(["exec", "cvat_db", "psql", "-U", "root", "-c", "SELECT 1", "cvat"]).run().status.success()
    });
    engine
        .command(["exec", "-i", "cvat_db", "psql", "-q", "-v", "ON_ERROR_STOP=1", "-U", "root", "cvat"])
        .input(sql)
        .ok();
    Tool::new("python3").args([populate, "media", "--megabytes", "4"]).arg(volume(engine, "cvat_data")).ok();
    for (name, owner) in [
        ("cvat_events_db", 101),
        ("cvat_inmem_db", 999),
        ("cvat_cache_db", 999),
        ("cvat_keys", 1000),
        ("cvat_logs", 1000),
    ] {
        build(
            &volume(engine, name),
            &[
                dir("").owner(owner, owner).mode(0o750).mtime(1_600_000_000, 0),
                dir("store/00").owner(owner, owner),
                file("store/00/part.bin", name).owner(owner, owner).mode(0o640).mtime(1_500_000_000, 0),
                link("metadata", "store/00").owner(owner, owner),
            ],
        );
    }
}

fn cvat_and_its_guide_both_ways(engine: &OtherEngine) {
    engine.compose("cvat", &OtherEngine::file(FILE), &["up", "--detach"]);
    fill(engine);
    let rows_before = rows(engine);
    let work = engine.at("cvat");
    drop(fs::remove_dir_all(&work));
    fs::create_dir(&work).unwrap();
    let guide = |directory: &PathBuf, line: &str| {
        engine
            .shell(directory, line)
            .env("COMPOSE_PROJECT_NAME", "cvat")
            .env("COMPOSE_FILE", OtherEngine::file(FILE))
            .ok()
    };
    let voltar = |args: &[&str]| engine.voltar_alone(args).dir(&work);

    guide(&work, "docker compose stop");
    let before = snapshots(engine);
    guide(&work, "mkdir backup");
    for (name, container, path, _) in ARCHIVES {
        guide(
            &work,
            &format!(
                "docker run --rm --name temp_backup --volumes-from {container} -v $(pwd)/backup:/backup ubuntu \
                 tar -czvf /backup/{name}.tar.gz {path}"
            ),
        );
    }
    // The media have a socket, which no archive can hold.
    voltar(&["backup", "ours"]).run().expect_code(1).expect_text("Docker 26.");
    for (name, container, path, _) in ARCHIVES {
        let found = Tool::new("gzip").arg("-dc").arg(work.join(format!("ours/{name}.tar.gz"))).ok().stdout;
        let tar = ["tar", "--sort=name", "--numeric-owner", "-C", "/", "-c", path.trim_start_matches('/')];
        let helper = ["run", "--rm", "--volumes-from", container, "ubuntu"];
        assert_same_stream(&engine.command(helper.iter().chain(&tar)).ok().stdout[..], &found[..], name);
    }

    let theirs = |directory: &str| {
        for (name, container, path, strip) in ARCHIVES {
            guide(
                &work.join(directory),
                &format!(
                    "docker run --rm --name temp_backup --volumes-from {container} -v $(pwd):/backup ubuntu \
                     bash -c \"cd {path} && tar -xvf /backup/{name}.tar.gz --strip {strip}\""
                ),
            );
        }
    };
    empty(engine);
    theirs("backup");
    assert_restored(engine, &before, "the guide from its archives");
    empty(engine);
    theirs("ours");
    assert_restored(engine, &before, "the guide from ours");
    empty(engine);
    voltar(&["restore", "backup"]).ok();
    assert_restored(engine, &before, "voltar from the guide's");
    empty(engine);
    voltar(&["restore", "ours"]).ok();
    assert_restored(engine, &before, "voltar from ours");

    // With the stack running, and everything that it keeps.
    guide(&work, "docker compose up -d");
    assert_eq!(rows(engine), rows_before);
    voltar(&["backup", "all", "--all", "--stop"]).ok();
    for name in ["cvat_inmem_db", "cvat_cache_db", "cvat_keys", "cvat_logs"] {
        assert!(work.join(format!("all/{name}.tar.gz")).exists(), "{name}");
    }
    assert_eq!(engine.docker(["ps", "--quiet"]).lines().count(), 9);
    rows(engine);
    let change =
        ["exec", "cvat_db", "psql", "-U", "root", "-c", "DELETE FROM engine_labeledshape WHERE id % 2 = 0", "cvat"];
    engine.docker(change);
    assert_ne!(rows(engine), rows_before);
    voltar(&["restore", "all", "--stop"]).ok().expect_text("containers were stopped for ");
    assert_eq!(engine.docker(["ps", "--quiet"]).lines().count(), 9);
    assert_eq!(rows(engine), rows_before);
    guide(&work, "docker compose down --volumes");
}
