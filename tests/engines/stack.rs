//! A compose project on engines whose containers have the ids of this host: Docker 26 with compose v2, and Podman, where the
//! containers and volumes get the labels that compose would give them.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::common::archive::assert_same_stream;
use crate::common::projects::{self, Host};
use crate::common::snapshot::TreeSnapshot;
use crate::common::tool::Tool;
use crate::common::tree::{build, dir, file, hard_link, link};
use crate::other_engine::{OtherEngine, Test};

pub const TESTS: &[Test] = &[
    ("the_plan_names_the_engine", the_plan_names_the_engine),
    ("archives_of_a_stack_equal_the_documented_ones", archives_of_a_stack_equal_the_documented_ones),
    ("restored_stacks_equal_the_documented_ones", restored_stacks_equal_the_documented_ones),
    ("a_killed_run_is_resumed", a_killed_run_is_resumed),
    ("a_killed_restore_is_undone", a_killed_restore_is_undone),
];

/// Compose is not used with Podman, whose files are not read.
pub const OF_DOCKER: &[Test] = &[
    ("a_data_root_gives_the_same_archives", a_data_root_gives_the_same_archives),
    ("projects_are_told_apart", |engine| with_projects(engine, projects::are_told_apart)),
    ("projects_with_a_scaled_service", |engine| with_projects(engine, projects::replicas_share_their_files)),
];

/// The archives, with the service and the path of each.
const ARCHIVES: [(&str, &str, &str); 2] = [("db", "db", "/var/lib/postgresql/data"), ("media", "web", "/srv/media")];
const CONTAINERS: [&str; 2] = ["stack-db-1", "stack-web-1"];
const WAIT: &str = "trap 'exit 0' TERM; while :; do sleep 3600 & wait $!; done";

/// Creates the stack, starts it and fills it.
pub fn up(engine: &OtherEngine) {
    if engine.kind().has_compose {
        engine.compose("stack", &OtherEngine::file("docker-compose.stack.yml"), &["up", "--detach"]);
    } else {
        create_with_labels(engine);
    }
    wait_for_database(engine);
    query(engine, "CREATE TABLE t AS SELECT n AS id, md5(n::text) AS word FROM generate_series(1, 2000) n");
    build(
        &media(engine),
        &[
            dir("").owner(1000, 1000).mode(0o2775).mtime(1_600_000_000, 0),
            dir("deep/er").owner(33, 33).mode(0o711),
            file("deep/file", "archived").owner(70, 70).mode(0o4751).mtime(1_500_000_000, 0),
            hard_link("deep/er/again", "deep/file"),
            link("link", "/etc/passwd"),
        ],
    );
    let layout = ARCHIVES.map(|(name, service, path)| {
        format!("[[archive]]\nname = {name:?}\ncontainer = {service:?}\npath = {path:?}\n")
    });
    fs::write(engine.at("layout.toml"), layout.concat()).unwrap();
}

/// Does what compose would do.
fn create_with_labels(engine: &OtherEngine) {
    for volume in ["dbdata", "media"] {
        let labels = ["com.docker.compose.project=stack".to_owned(), format!("com.docker.compose.volume={volume}")];
        let name = format!("stack_{volume}");
        engine.docker(["volume", "create", "--label", &labels[0], "--label", &labels[1], &name]);
    }
    let create = |service: &str, options: &[&str], command: &[&str]| {
        let name = format!("stack-{service}-1");
        let service = format!("com.docker.compose.service={service}");
        let fixed = ["run", "--detach", "--network", "none", "--name", &name, "--label", &service];
        let project = ["--label", "com.docker.compose.project=stack"];
        engine.docker(fixed.iter().chain(&project).chain(options).chain(command));
    };
    let environment = ["-e", "POSTGRES_USER=root", "-e", "POSTGRES_DB=app", "--stop-signal", "SIGINT"];
    let options = [&environment[..], &["-v", "stack_dbdata:/var/lib/postgresql/data"]].concat();
    create("db", &options, &["voltar-test-postgres:15"]);
    let depends = ["--label", "com.docker.compose.depends_on=db:service_started:false"];
    let options = [&depends[..], &["-v", "stack_media:/srv/media"]].concat();
    create("web", &options, &["ubuntu", "bash", "-c", WAIT]);
}

fn media(engine: &OtherEngine) -> PathBuf {
    engine.volume("stack_media")
}

pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < Duration::from_secs(60), "waited a minute for {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn wait_for_database(engine: &OtherEngine) {
    wait_until("the database", || {
        let query = ["exec", CONTAINERS[0], "psql", "-U", "root", "-c", "SELECT 1", "app"];
        engine.command(query).run().status.success()
    });
}

fn query(engine: &OtherEngine, sql: &str) -> String {
    engine.docker(["exec", CONTAINERS[0], "psql", "-qAt", "-v", "ON_ERROR_STOP=1", "-U", "root", "-c", sql, "app"])
}

fn rows(engine: &OtherEngine) -> String {
    query(engine, "SELECT count(*), md5(string_agg(word, '|' ORDER BY id)) FROM t")
}

fn stop(engine: &OtherEngine) {
    // Podman kills a container at once that was created without a timeout.
    engine.docker(["stop", "--time", "20"].iter().chain(&CONTAINERS));
}

fn start(engine: &OtherEngine) {
    engine.docker(["start"].iter().chain(&CONTAINERS));
    wait_for_database(engine);
}

fn are_running(engine: &OtherEngine) -> bool {
    engine.docker(["ps", "--quiet"]).lines().count() == CONTAINERS.len()
}

/// Returns what the documented command writes for an archive.
fn documented(engine: &OtherEngine, (_, service, path): (&str, &str, &str)) -> Vec<u8> {
    let container = format!("stack-{service}-1");
    let helper = ["run", "--rm", "--network", "none", "--volumes-from", &container, "ubuntu"];
    let tar = ["tar", "--sort=name", "--numeric-owner", "-C", "/", "-c", path.trim_start_matches('/')];
    engine.command(helper.iter().chain(&tar)).ok().stdout
}

fn the_plan_names_the_engine(engine: &OtherEngine) {
    up(engine);
    let plan = engine.voltar(&["plan"]).run().expect_code(1);
    let expected = format!("from {}", engine.kind().called);
    assert!(plan.text().starts_with(&expected), "expected {expected:?} at the beginning of {plan}");
    for text in ["stack-db-1 (running)", "stack-web-1 (running)", "stack_dbdata", "stack_media"] {
        assert!(plan.text().contains(text), "expected {text:?} in {plan}");
    }
}

fn archives_of_a_stack_equal_the_documented_ones(engine: &OtherEngine) {
    up(engine);
    stop(engine);
    let expected = ARCHIVES.map(|archive| documented(engine, archive));
    engine.voltar(&["backup", "archives", "--format", "tar"]).ok();
    for (expected, (name, ..)) in expected.iter().zip(ARCHIVES) {
        let found = fs::read(engine.at(&format!("archives/{name}.tar"))).unwrap();
        assert_same_stream(&expected[..], &found[..], name);
    }
    start(engine);
    engine.voltar(&["backup", "again", "--format", "tar"]).run().expect_code(2).expect_text("stack-db-1");
    let done = engine.voltar(&["backup", "again", "--format", "tar", "--stop"]).ok();
    done.expect_text("stopped container stack-db-1").expect_text("containers were stopped for ");
    assert!(are_running(engine));
    assert_same_stream(&expected[1][..], &fs::read(engine.at("again/media.tar")).unwrap()[..], "media");
    // It was shut down, not killed.
    let control =
        Tool::new("tar").arg("-xOf").arg(engine.at("again/db.tar")).arg("var/lib/postgresql/data/global/pg_control");
    let control = control.ok().stdout;
    assert_eq!(control[16..20], [1, 0, 0, 0], "DB_SHUTDOWNED of PostgreSQL's pg_control.h");
}

fn restored_stacks_equal_the_documented_ones(engine: &OtherEngine) {
    up(engine);
    let before = rows(engine);
    engine.voltar(&["backup", "archives", "--stop"]).ok();
    let expected = TreeSnapshot::of(&media(engine));
    wait_for_database(engine);
    for mode in [&[][..], &["--merge"], &["--in-place"], &["--keep-previous"]] {
        query(engine, "DELETE FROM t WHERE id % 2 = 0; UPDATE t SET word = 'changed'");
        fs::write(media(engine).join("deep/file"), "live").unwrap();
        fs::remove_dir_all(media(engine).join("deep/er")).unwrap();
        engine.voltar(&[&["restore", "archives", "--stop"], mode].concat()).ok();
        assert!(are_running(engine), "{mode:?}");
        wait_for_database(engine);
        assert_eq!(rows(engine), before, "{mode:?}");
        let found = TreeSnapshot::of(&media(engine)).without_root();
        expected.clone().carried_by_tar().without_root().assert_same(&found, &format!("{mode:?}"));
    }
    // The documented command, on voltar's archive.
    stop(engine);
    let line = "find . -mindepth 1 -delete && tar -xf /backup/media.tar.bz2 --strip 2";
    let mount = format!("{}:/backup:ro", engine.at("archives").display());
    let helper = ["run", "--rm", "--network", "none", "--volumes-from", CONTAINERS[1], "-v", &mount, "ubuntu"];
    engine.docker(helper.iter().chain(&["bash", "-c", &format!("cd /srv/media && {line}")]));
    let found = TreeSnapshot::of(&media(engine)).without_root();
    expected.carried_by_tar().without_root().assert_same(&found, "the documented command");
}

/// The containers that a killed run has stopped are on record.
fn a_killed_run_is_resumed(engine: &OtherEngine) {
    up(engine);
    fs::write(media(engine).join("large"), vec![b'x'; 300 << 20]).unwrap();
    let log = engine.at("log-of-voltar");
    let mut run = engine.voltar(&["backup", "archives", "--stop", "--paranoid"]).spawn(&log);
    let is_archiving = || fs::read_to_string(&log).unwrap().contains("media: archiving");
    wait_until("the archive", || is_archiving() || run.has_ended());
    run.signal(Signal::SIGKILL);
    assert_eq!(run.wait().killed_by(), Some(9));
    assert_eq!(engine.docker(["ps", "--quiet"]), "");
    engine.voltar(&["resume"]).ok().expect_text("stack-db-1");
    assert!(are_running(engine));
    assert!(!engine.at("archives/media.tar.bz2").exists());
}

/// Both volumes are as they were, and the containers that the run has stopped are started.
fn a_killed_restore_is_undone(engine: &OtherEngine) {
    up(engine);
    // Files that are not zeros take a while to extract.
    let content: Vec<u8> = (0..60_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    fs::write(media(engine).join("large"), content).unwrap();
    engine.voltar(&["backup", "archives", "--stop", "--format", "tar"]).ok();
    wait_for_database(engine);
    fs::write(media(engine).join("large"), "live").unwrap();
    query(engine, "UPDATE t SET word = 'live'");
    let (before, live) = (rows(engine), TreeSnapshot::of(&media(engine)));
    let log = engine.at("log-of-voltar");
    let mut run = engine.voltar(&["restore", "archives", "--stop"]).spawn(&log);
    let is_restoring = || fs::read_to_string(&log).unwrap().contains("media: restoring");
    wait_until("the restore", || is_restoring() || run.has_ended());
    run.signal(Signal::SIGKILL);
    assert_eq!(run.wait().killed_by(), Some(9), "killed before its end");
    engine.voltar(&["resume"]).ok().expect_text("stack-db-1");
    assert!(are_running(engine));
    wait_for_database(engine);
    assert_eq!(rows(engine), before);
    live.assert_same(&TreeSnapshot::of(&media(engine)), "the volume of a killed restore");
}

fn a_data_root_gives_the_same_archives(engine: &OtherEngine) {
    up(engine);
    stop(engine);
    let root = engine.root();
    engine.without_engine(&["backup", "archives", "--format", "tar", "--data-root", root.to_str().unwrap()]).ok();
    for archive in ARCHIVES {
        let found = fs::read(engine.at(&format!("archives/{}.tar", archive.0))).unwrap();
        assert_same_stream(&documented(engine, archive)[..], &found[..], archive.0);
    }
}

fn with_projects(engine: &OtherEngine, body: fn(&Host<'_>)) {
    body(&Host {
        docker: &|args| engine.command(args),
        compose: &|project, args| engine.compose_command(project, projects::FILE, args),
        voltar: &|args| engine.voltar_alone(args),
        directory: &engine.at(""),
    });
}
