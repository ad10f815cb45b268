//! CVAT as its guide for Enterprise sets it up: each volume is a directory below one mountpoint, by the options of the
//! volume. The engine mounts it only while a container uses it.

use std::fs;
use std::path::Path;

use crate::common::engine::{PROJECTS, docker};
use crate::common::snapshot::TreeSnapshot;
use crate::common::tool::Tool;
use crate::common::tree::{build, dir, file, link};
use crate::stack::{Stack, Test, WAIT, compose, names, wait_until};

pub const TESTS: &[Test] = &[("enterprise_volumes_are_bound_to_directories", volumes_are_bound_to_directories)];

const PROJECT: &str = PROJECTS[1];
/// The volumes: with the archives, and without.
const VOLUMES: [&str; 5] = ["cvat_db", "cvat_data", "cvat_events_db", "cvat_keys", "cvat_logs"];

/// Returns the compose file, with the volumes below `disk`.
fn compose_file(disk: &Path) -> String {
    let service = |name: &str, image: &str, more: &str| {
        format!("  {name}:\n    image: {image}\n    network_mode: none\n    restart: always\n{more}")
    };
    let wait = WAIT.replace('$', "$$");
    let command = format!("    command: [\"bash\", \"-c\", \"trap 'exit 0' TERM; {wait}\"]\n");
    let environment = "    environment: {POSTGRES_USER: root, POSTGRES_DB: cvat}\n    stop_signal: SIGINT\n";
    let mut text = "version: '3.3'\nservices:\n".to_owned();
    let volumes = "    volumes: ['cvat_db:/var/lib/postgresql/data']\n";
    text += &service("cvat_db", "voltar-test-postgres:15", &format!("{environment}{volumes}"));
    let volumes =
        "    volumes: ['cvat_data:/home/django/data', 'cvat_keys:/home/django/keys', 'cvat_logs:/home/django/logs']\n";
    for name in ["cvat_server", "cvat_worker_import"] {
        text += &service(name, "ubuntu", &format!("{command}    depends_on: [cvat_db]\n{volumes}"));
    }
    let volumes = "    volumes: ['cvat_events_db:/var/lib/clickhouse']\n";
    text += &service("cvat_clickhouse", "ubuntu", &format!("{command}{volumes}"));
    text += "volumes:\n";
    for name in VOLUMES {
        let device = disk.join(name);
        let options = format!("{{type: none, o: bind, device: '{}'}}", device.display());
        text.extend(["  ", name, ":\n    driver_opts: ", &options, "\n"]);
    }
    text
}

/// Returns the container of a service.
fn container(service: &str) -> String {
    let labels = [format!("project={PROJECT}"), format!("service={service}")];
    let filters = labels.map(|label| format!("label=com.docker.compose.{label}"));
    docker(["ps", "--all", "--quiet", "--filter", &filters[0], "--filter", &filters[1]])
}

fn query(sql: &str) -> Option<String> {
    let args =
        ["exec", &container("cvat_db"), "psql", "-qAt", "-v", "ON_ERROR_STOP=1", "-U", "root", "-c", sql, "cvat"];
    let outcome = Tool::new("docker").args(args).run();
    outcome.status.success().then(|| outcome.answer())
}

/// Returns the rows once the database answers.
fn rows() -> String {
    let mut answer = None;
    wait_until("the database", || {
        answer = query("SELECT count(*), md5(string_agg(word, '|' ORDER BY id)) FROM shapes");
        answer.is_some()
    });
    answer.unwrap()
}

fn running() -> usize {
    docker(["ps", "--quiet", "--filter", &format!("label=com.docker.compose.project={PROJECT}")]).lines().count()
}

fn volumes_are_bound_to_directories(stack: &Stack) {
    let disk = stack.at("mnt");
    for name in VOLUMES {
        fs::create_dir_all(disk.join(name)).unwrap();
    }
    let file_of_compose = stack.at("docker-compose.yml");
    fs::write(&file_of_compose, compose_file(&disk)).unwrap();
    let compose = |args: &[&str]| compose(PROJECT, &[file_of_compose.to_str().unwrap()], args);
    compose(&["up", "-d"]);
    let fill = "CREATE TABLE shapes AS SELECT n AS id, md5(n::text) AS word FROM generate_series(1, 5000) n";
    wait_until("the database", || query(fill).is_some());
    let before = rows();
    let media = disk.join("cvat_data");
    let owned = |node: crate::common::tree::Node| node.owner(1000, 1000).mtime(1_600_000_000, 0);
    build(
        &media,
        &[
            owned(dir("").mode(0o2775)),
            dir("data/1"),
            owned(file("data/1/frame.jpg", "archived")),
            link("latest", "data/1"),
        ],
    );
    for name in ["cvat_events_db", "cvat_keys", "cvat_logs"] {
        build(&disk.join(name), &[owned(file("file", name))]);
    }
    let tree = TreeSnapshot::of(&media);

    let voltar = |args: &[&str]| stack.voltar(args).args(["--project", PROJECT]);
    voltar(&["plan"]).run().expect_text(&format!("{PROJECT}_cvat_data: {}\n", media.display()));
    let done = voltar(&["backup", "--stop"]).ok();
    assert!(done.text().contains("\ncontainers were stopped for "), "{done}");
    assert_eq!(running(), 4);
    for name in ["cvat_db", "cvat_data", "cvat_events_db"] {
        assert!(stack.archives().contains(&format!("{name}.tar.gz")), "{name}: {:?}", stack.archives());
    }
    wait_until("the database", || query("DELETE FROM shapes WHERE id % 3 = 0; UPDATE shapes SET word = 'x'").is_some());
    assert_ne!(rows(), before);
    fs::write(media.join("data/1/frame.jpg"), "live").unwrap();
    fs::write(media.join("late"), "live").unwrap();

    let done = voltar(&["restore", "--stop"]).ok();
    assert!(done.text().contains("\ncontainers were stopped for "), "{done}");
    assert_eq!(running(), 4);
    assert_eq!(rows(), before);
    tree.carried_by_tar().assert_same(&TreeSnapshot::of(&media).carried_by_tar(), "the media");
    let mut expected = VOLUMES.to_vec();
    expected.sort_unstable();
    assert_eq!(names(&disk), expected, "nothing is left beside the directories");

    // The same for programs.
    let done = voltar(&["backup", "--stop", "--overwrite", "--json"]).ok();
    let events = String::from_utf8(done.stdout).unwrap();
    let mut events = events.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let downtime = events.find(|event| event["event"] == "downtime").unwrap();
    assert!(downtime["seconds"].as_f64().unwrap() > 0.1, "{downtime}");
    compose(&["down", "--volumes"]);
}
