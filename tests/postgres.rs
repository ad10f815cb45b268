//! Black-box tests of PostgreSQL's clusters: their versions, clusters that were not shut down, and links that leave the
//! volume. They use a data root or the fake engine; neither an engine nor root is needed.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]

mod common;
#[path = "host/fake_engine.rs"]
mod fake_engine;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::data_root::DataRoot;
use common::snapshot::TreeSnapshot;
use common::tool::{Outcome, Tool};
use fake_engine::{FakeEngine, Fault};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;
use tempfile::TempDir;

const PATH: &str = "/var/lib/postgresql/data";
const MODES: [&[&str]; 4] = [&[], &["--keep-previous"], &["--in-place"], &["--merge"]];

/// A stopped container `db` whose volume is a cluster, a layout, and a directory of archives.
struct World {
    scratch: TempDir,
    docker: DataRoot,
}

impl World {
    /// The container has these environment variables, and its volume a cluster of this version.
    fn new(version: &str, environment: &[&str]) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let docker = DataRoot::new(&scratch.path().join("docker"));
        cluster(&docker.volume("db"), version);
        let container = environment.iter().fold(docker.container("db"), |one, variable| one.environment(variable));
        docker.volume("fast");
        container.mount("db", PATH).mount("fast", "/fast").write();
        let world = Self { scratch, docker };
        world.layout(&[("db", PATH)]);
        world
    }

    fn layout(&self, entries: &[(&str, &str)]) {
        let entry =
            |(name, path): &(&str, &str)| format!("[[archive]]\nname = '{name}'\ncontainer = 'db'\npath = '{path}'\n");
        fs::write(self.at("layout.toml"), entries.iter().map(entry).collect::<String>()).unwrap();
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn volume(&self) -> PathBuf {
        self.docker.data("db")
    }

    fn snapshot(&self) -> TreeSnapshot {
        TreeSnapshot::of(&self.volume()).carried_by_tar()
    }

    fn voltar(&self, command: &str, args: &[&str]) -> Tool {
        let tool = Tool::voltar().dir(self.scratch.path()).env("VOLTAR_STATE_DIR", self.at("state"));
        tool.args([command, "--data-root", "docker", "--layout", "layout.toml"]).args(args)
    }

    /// Fails unless `args` are refused with this text, and neither the volume nor its directory have changed.
    #[track_caller]
    fn refused(&self, command: &str, args: &[&str], text: &str) {
        let before = self.snapshot();
        self.voltar(command, args).run().expect_code(2).expect_text(text);
        before.assert_same(&self.snapshot(), "what was refused");
        assert_eq!(names(self.volume().parent().unwrap()), ["_data"], "{args:?}");
    }

    fn refusals(&self, command: &str, args: &[&str]) -> (Value, Vec<String>) {
        let run = self.voltar(command, &[args, &["--json"]].concat()).run();
        let document: Value = serde_json::from_slice(&run.stdout).unwrap();
        let refusals = document["refusals"].as_array().unwrap().iter();
        let messages: Vec<String> = refusals.map(|one| one["message"].as_str().unwrap().to_owned()).collect();
        run.expect_code(i32::from(!messages.is_empty()));
        (document["archives"][0]["postgresql"].clone(), messages)
    }
}

/// Makes a cluster, as far as it tells what it is.
fn cluster(at: &Path, version: &str) {
    for directory in ["base/1", "global", "pg_tblspc", "pg_wal"] {
        fs::create_dir_all(at.join(directory)).unwrap();
    }
    for file in ["PG_VERSION", "base/1/PG_VERSION"] {
        fs::write(at.join(file), format!("{version}\n")).unwrap();
    }
    fs::write(at.join("global/pg_control"), "x").unwrap();
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Returns the lines of warnings.
fn warnings(run: &Outcome) -> Vec<String> {
    let text = run.text();
    text.lines().filter(|line| line.starts_with("voltar: warning: ")).map(str::to_owned).collect()
}

#[test]
fn a_cluster_of_another_version_is_not_restored_over_the_volumes() {
    let world = World::new("10", &[]);
    world.voltar("backup", &[]).ok();
    let old = world.snapshot();
    cluster(&world.volume(), "15");
    let newer = world.snapshot();
    for mode in MODES {
        world.refused("restore", mode, "db: the archive holds PostgreSQL 10, the volume 15");
        world.refused("restore", mode, "pg_dumpall");
    }
    let (versions, refusals) = world.refusals("restore", &["--dry-run"]);
    assert_eq!(versions, serde_json::json!({"archive": "10", "volume": "15", "image": null}));
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    let plan = world.voltar("restore", &["--dry-run"]).run().expect_code(1);
    plan.expect_text("\n  database   PostgreSQL 10 in the archive, 15 in the volume\n");
    newer.assert_same(&world.snapshot(), "a plan");

    world.voltar("restore", &["--force-version"]).ok().expect_text("(--force-version)");
    old.assert_same(&world.snapshot(), "what was forced");
    // Of the same version, nothing is said.
    world.voltar("restore", &[]).ok().expect_no_text("PostgreSQL");
}

#[test]
fn a_cluster_is_not_restored_for_the_server_of_another_version() {
    let world = World::new("10", &["PG_MAJOR=15", "PGDATA=/var/lib/postgresql/data"]);
    world.voltar("backup", &[]).ok();
    let because = "db: the archive holds PostgreSQL 10, the image of 'db' (ubuntu) 15";
    for mode in MODES {
        world.refused("restore", mode, because);
    }
    fs::remove_dir_all(world.volume()).unwrap();
    fs::create_dir(world.volume()).unwrap();
    world.refused("restore", &[], because);
    world.voltar("restore", &["--force-version"]).ok();
    assert_eq!(fs::read_to_string(world.volume().join("PG_VERSION")).unwrap(), "10\n");
    let (versions, _) = world.refusals("plan", &[]);
    assert_eq!(versions, serde_json::json!({"archive": null, "volume": "10", "image": "15"}));
}

#[test]
fn a_version_at_the_end_of_an_archive_is_seen_before_the_swap() {
    let world = World::new("10", &[]);
    fs::create_dir(world.at("backup")).unwrap();
    // More than is read for a plan.
    fs::File::create(world.volume().join("base/2")).unwrap().set_len(65 << 20).unwrap();
    let late =
        "tar -C / --transform 's,^,var/lib/postgresql/,' -cf \"$1\" -C \"$2\" data/base data/global data/PG_VERSION";
    let tree = world.at("data");
    symlink(world.volume(), &tree).unwrap();
    Tool::new("bash")
        .args(["-euc", late, "-", "backup/db.tar"])
        .arg(world.scratch.path())
        .dir(world.scratch.path())
        .ok();
    cluster(&world.volume(), "15");
    fs::remove_file(world.volume().join("base/2")).unwrap();
    let (versions, refusals) = world.refusals("restore", &["--dry-run"]);
    assert_eq!((&versions["archive"], refusals.len()), (&Value::Null, 0), "the plan does not know: {refusals:?}");
    for mode in MODES {
        world.refused("restore", mode, "db: the archive holds PostgreSQL 10, the volume 15");
    }
    world.voltar("restore", &["--force-version"]).ok();
    assert_eq!(fs::read_to_string(world.volume().join("PG_VERSION")).unwrap(), "10\n");
}

#[test]
fn whatever_a_container_makes_of_its_version_does_no_harm() {
    let world = World::new("10", &[]);
    world.voltar("backup", &[]).ok();
    let version = world.volume().join("PG_VERSION");
    let makes: [&dyn Fn(); 5] = [
        &|| mkfifo(&version, Mode::S_IRWXU).unwrap(),
        &|| symlink(world.at("secret"), &version).unwrap(),
        &|| fs::create_dir(&version).unwrap(),
        &|| fs::File::create(&version).unwrap().set_len(1 << 40).unwrap(),
        &|| fs::write(&version, "15 is what I am").unwrap(),
    ];
    fs::write(world.at("secret"), "15\n").unwrap();
    for make in makes {
        drop(fs::remove_dir(&version).or_else(|_| fs::remove_file(&version)));
        make();
        world.voltar("restore", &[]).ok();
        assert_eq!(fs::read_to_string(&version).unwrap(), "10\n");
    }
}

#[test]
fn a_cluster_that_was_not_shut_down_is_reported() {
    let world = World::new("15", &["PG_MAJOR=15"]);
    world.voltar("backup", &[]).ok().expect_no_text("postmaster.pid");
    world.voltar("verify", &[]).ok().expect_no_text("postmaster.pid");
    world.voltar("restore", &[]).ok().expect_no_text("postmaster.pid");

    fs::write(world.volume().join("postmaster.pid"), "1\n/var/lib/postgresql/data\n").unwrap();
    let killed = "\ndb: 'postmaster.pid' is archived: PostgreSQL had been killed, not shut down";
    assert_eq!(warnings(&world.voltar("backup", &["--overwrite"]).ok().expect_text(killed)), Vec::<String>::new());
    let verified = world.voltar("verify", &[]).run().expect_code(1);
    let lines = warnings(&verified);
    assert!(
        lines.len() == 1 && lines[0].contains("'var/lib/postgresql/data/postmaster.pid' is in the archive"),
        "{lines:?}"
    );
    for mode in MODES {
        let lines = warnings(&world.voltar("restore", mode).run().expect_code(1));
        assert!(
            lines.len() == 1 && lines[0].contains("'postmaster.pid' is in the archive: PostgreSQL was"),
            "{lines:?}"
        );
    }
    world.voltar("backup", &["--overwrite", "--exclude", "data/postmaster.pid"]).ok().expect_no_text("killed");
    world.voltar("verify", &[]).ok();
}

#[test]
fn a_cluster_with_links_out_of_the_volume_is_not_archived() {
    for (link, target) in [("pg_tblspc/16385", "/fast/1"), ("pg_tblspc/16385", "../../fast"), ("pg_wal", "/wal")] {
        let world = World::new("15", &[]);
        symlink("/etc/hosts", world.volume().join("hosts")).unwrap();
        drop(fs::remove_dir(world.volume().join(link)));
        symlink(target, world.volume().join(link)).unwrap();
        let because =
            format!("db: '{link}' leads to '{target}', which is not in the archive: PostgreSQL does not start");
        world.refused("backup", &[], &because);
        assert!(!world.at("backup").exists(), "nothing is made");
        let (_, refusals) = world.refusals("plan", &[]);
        assert!(refusals.len() == 1 && refusals[0].starts_with(&because), "{refusals:?}");
        let outside = format!("'{link}' leads to '{target}', which is not in the archive");
        world.voltar("plan", &["--allow-outside-links"]).ok().expect_text(&format!("  outside    {outside}\n"));

        let run = world.voltar("backup", &["--allow-outside-links"]).run().expect_code(1);
        let warning = format!("voltar: warning: db: {outside}");
        assert_eq!(warnings(&run), std::slice::from_ref(&warning));
        world.voltar("verify", &[]).ok();
        assert_eq!(warnings(&world.voltar("restore", &[]).run().expect_code(1)), [warning]);
    }
}

#[test]
fn links_to_what_is_archived_too_are_no_reason_to_refuse() {
    let world = World::new("15", &[]);
    fs::create_dir(world.volume().join("spaces")).unwrap();
    symlink(format!("{PATH}/spaces/1"), world.volume().join("pg_tblspc/1")).unwrap();
    symlink("../spaces/2", world.volume().join("pg_tblspc/2")).unwrap();
    symlink("/elsewhere", world.volume().join("pg_stat_tmp")).unwrap();
    symlink("/elsewhere", world.volume().join("base/16384")).unwrap();
    world.voltar("backup", &[]).ok();
    // A volume of its own, as those with faster disks are.
    symlink("/fast/3", world.volume().join("pg_tblspc/3")).unwrap();
    fs::write(world.docker.data("fast").join("3"), "x").unwrap();
    world.refused("backup", &["--overwrite"], "'pg_tblspc/3' leads to '/fast/3'");
    world.layout(&[("db", PATH), ("fast", "/fast")]);
    world.voltar("backup", &["--overwrite"]).ok();
    world.refused("backup", &["--overwrite", "--only", "db"], "'pg_tblspc/3' leads to '/fast/3'");
    world.voltar("restore", &[]).ok();
    let only = world.voltar("restore", &["--only", "db"]).run().expect_code(1);
    assert_eq!(warnings(&only), ["voltar: warning: db: 'pg_tblspc/3' leads to '/fast/3', which is not in the archive"]);
}

#[test]
fn links_of_what_is_no_cluster_are_no_reason_to_refuse() {
    let world = World::new("15", &[]);
    fs::remove_file(world.volume().join("PG_VERSION")).unwrap();
    symlink("/fast/3", world.volume().join("pg_tblspc/3")).unwrap();
    world.voltar("backup", &["--allow-empty"]).ok();
}

const DB: &str = "aaaaaaaaaaaaaaaa";

/// A fake engine with a running container of a cluster.
fn engine(version: &str, environment: &[&str]) -> (FakeEngine, TempDir) {
    let fake = FakeEngine::new("1.41");
    fake.add_container(DB, "cvat_db", "cvat_cvat_db", PATH);
    fake.add_volume("cvat", "cvat_db");
    fake.set_environment(DB, environment);
    cluster(&fake.volume("cvat_cvat_db"), version);
    (fake, tempfile::tempdir().unwrap())
}

fn through_engine(fake: &FakeEngine, scratch: &TempDir, args: &[&str]) -> Tool {
    let tool = Tool::voltar().dir(scratch.path()).env("VOLTAR_STATE_DIR", scratch.path().join("state"));
    tool.args(["--docker", &fake.address(), "--only", "cvat_db"]).args(args)
}

#[test]
fn nothing_is_stopped_for_a_restore_of_another_version() {
    let (fake, scratch) = engine("10", &["PG_MAJOR=10"]);
    through_engine(&fake, &scratch, &["backup", "--stop"]).ok();
    let before = fake.commands().len();
    assert_eq!(before, 2, "stopped and started");
    fake.set_environment(DB, &["PG_MAJOR=15"]);
    for mode in MODES {
        let args = [&["restore", "--stop"], mode].concat();
        let run = through_engine(&fake, &scratch, &args).run().expect_code(2);
        run.expect_text("cvat_db: the archive holds PostgreSQL 10, the image of 'cvat_db' (fake) 15");
    }
    assert_eq!(fake.commands().len(), before);
    through_engine(&fake, &scratch, &["restore", "--stop", "--force-version"]).ok();
    assert_eq!(fake.commands().len(), before + 2);
}

#[test]
fn nothing_is_stopped_for_a_backup_without_a_tablespace() {
    let (fake, scratch) = engine("10", &[]);
    symlink("/fast", fake.volume("cvat_cvat_db").join("pg_tblspc/1")).unwrap();
    through_engine(&fake, &scratch, &["backup", "--stop"])
        .run()
        .expect_code(2)
        .expect_text("'pg_tblspc/1' leads to '/fast'");
    assert_eq!(fake.commands(), Vec::<String>::new());
}

#[test]
fn a_cluster_that_runs_is_reported_once() {
    let (fake, scratch) = engine("10", &[]);
    fs::write(fake.volume("cvat_cvat_db").join("postmaster.pid"), "1\n").unwrap();
    let running = through_engine(&fake, &scratch, &["backup", "--allow-running"]).run().expect_code(1);
    let lines = warnings(&running.expect_no_text("postmaster.pid"));
    assert!(lines.len() == 1 && lines[0].contains("'cvat_db' is running while its data is archived"), "{lines:?}");
    // A stop that ends with a kill leaves it.
    let stopped = through_engine(&fake, &scratch, &["backup", "--stop", "--overwrite"]).ok();
    stopped.expect_text("\ncvat_db: 'postmaster.pid' is archived: PostgreSQL had been killed, not shut down");
}

#[test]
fn a_tablespace_that_is_made_after_the_plan_is_seen() {
    let (fake, scratch) = engine("10", &[]);
    fake.fault(&format!("/containers/{DB}/stop"), Fault::Slow(Duration::from_secs(2)));
    let log = scratch.path().join("log");
    let mut run = through_engine(&fake, &scratch, &["backup", "--stop"]).spawn(&log);
    while fake.commands().is_empty() && !run.has_ended() {
        std::thread::sleep(Duration::from_millis(5));
    }
    // The server makes it while it is being stopped.
    symlink("/fast", fake.volume("cvat_cvat_db").join("pg_tblspc/1")).unwrap();
    run.wait().expect_code(2).expect_text("cvat_db: 'pg_tblspc/1' leads to '/fast', which is not in the archive");
    assert_eq!(fake.commands().len(), 2, "it was started again: {:?}", fake.commands());
    assert!(!scratch.path().join("backup/cvat_db.tar.bz2").exists());
}
