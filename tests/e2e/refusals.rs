//! Requests that would lose or mix up data. Each is refused with exit status 2, a reason and a hint, and changes
//! nothing.

use std::fs;

use crate::common::engine::docker;
use crate::common::tool::{Outcome, Tool};
use crate::common::tree::{build, file};
use crate::stack::{Container, Stack, Test, Volume, compose, empty, layout, names};

/// In the order in which the plan checks them.
pub const TESTS: &[Test] = &[
    ("refuses_what_makes_no_sense", refuses_what_makes_no_sense),
    ("refuses_running_containers_and_lists_them", refuses_running_containers_and_lists_them),
    ("refuses_a_foreign_container_on_the_volume", refuses_a_foreign_container_on_the_volume),
    ("allow_running_warns", allow_running_warns),
    ("refuses_an_archive_that_is_there", refuses_an_archive_that_is_there),
    ("refuses_the_wrong_archive", refuses_the_wrong_archive),
    ("refuses_the_wrong_prefix", refuses_the_wrong_prefix),
    ("refuses_a_damaged_archive", refuses_a_damaged_archive),
    ("refuses_an_empty_volume", refuses_an_empty_volume),
    ("refuses_a_database_without_a_version", refuses_a_database_without_a_version),
    ("refuses_a_path_on_no_mount", refuses_a_path_on_no_mount),
    ("refuses_a_container_that_does_not_exist", refuses_a_container_that_does_not_exist),
    ("refuses_a_volume_in_memory", refuses_a_volume_in_memory),
    ("refuses_two_projects_after_down", refuses_two_projects_after_down),
    ("refuses_to_restore_into_a_read_only_mount", refuses_to_restore_into_a_read_only_mount),
    ("refuses_a_remote_engine", refuses_a_remote_engine),
    ("refuses_the_context_of_another_engine", refuses_the_context_of_another_engine),
    ("refuses_the_paths_of_another_mount_namespace", refuses_the_paths_of_another_mount_namespace),
];

/// Fails unless the command was refused for a reason that names all of `texts`.
#[track_caller]
fn refused(command: Tool, texts: &[&str]) -> Outcome {
    texts.iter().fold(command.run().expect_code(2), |outcome, text| outcome.expect_text(text))
}

fn refuses_what_makes_no_sense(stack: &Stack) {
    refused(stack.voltar(&["backup", "--level", "10"]), &[]);
    refused(stack.voltar(&["backup", "--only", "cvat_nonsense"]), &["cvat_nonsense"]);
    refused(stack.voltar(&["restore", "no-such-directory"]), &["no-such-directory"]);
    fs::write(stack.at("unknown.toml"), "[[archive]]\nname = \"x\"\ncontainer = \"x\"\npath = \"/x\"\nstrip = 3\n")
        .unwrap();
    refused(stack.voltar(&["backup", "--layout", "unknown.toml"]), &["strip"]);
    assert_eq!(stack.archives(), Vec::<String>::new());
}

fn refuses_running_containers_and_lists_them(stack: &Stack) {
    stack.documented_backup();
    stack.start();
    let media = stack.snapshot("cvat_data");
    refused(stack.voltar(&["backup", "elsewhere"]), &["cvat_db", "cvat", "--stop"]);
    refused(stack.voltar(&["restore"]), &["cvat_db", "cvat", "--stop"]);
    assert_eq!(stack.running(), ["cvat", "cvat_db"]);
    assert_eq!(names(&stack.at("elsewhere")), Vec::<String>::new());
    media.assert_same(&stack.snapshot("cvat_data"), "cvat_data");
}

/// All containers that mount the volume count, not only the one in the layout.
fn refuses_a_foreign_container_on_the_volume(stack: &Stack) {
    let foreign = Container::create("foreign", &["-v", "voltar-e2e_cvat_data:/elsewhere"]);
    foreign.start();
    refused(stack.voltar(&["backup"]), &[foreign.name(), "--stop"]);
    assert_eq!(stack.archives(), Vec::<String>::new());
    stack.voltar(&["backup", "--stop"]).run().expect_code(1);
    assert!(foreign.is_running(), "the foreign container should run again");
    assert_eq!(stack.running(), Vec::<String>::new(), "stopped containers are not started");
}

fn allow_running_warns(stack: &Stack) {
    stack.start();
    stack.voltar(&["backup", "--allow-running", "--only", "cvat_data"]).run().expect_code(1).expect_text("cvat");
    assert_eq!(stack.archives(), ["cvat_data.tar.bz2"]);
    assert_eq!(stack.running(), ["cvat", "cvat_db"]);
    // A restore has no such option.
    refused(stack.voltar(&["restore", "--allow-running"]), &[]);
}

fn refuses_an_archive_that_is_there(stack: &Stack) {
    fs::create_dir(stack.at("backup")).unwrap();
    fs::write(stack.at("backup/cvat_data.tar.bz2"), "last year's").unwrap();
    refused(stack.voltar(&["backup"]), &["cvat_data.tar.bz2", "--overwrite"]);
    assert_eq!(stack.archives(), ["cvat_data.tar.bz2"], "the other archive is not written either");
    assert_eq!(fs::read(stack.at("backup/cvat_data.tar.bz2")).unwrap(), b"last year's");
    stack.voltar(&["backup", "--overwrite"]).run().expect_code(1);
    assert_eq!(stack.archives(), ["cvat_data.tar.bz2", "cvat_db.tar.bz2"]);
    assert!(fs::metadata(stack.at("backup/cvat_data.tar.bz2")).unwrap().len() > 1_000_000);
}

fn refuses_the_wrong_archive(stack: &Stack) {
    let before = stack.snapshots();
    stack.documented_backup();
    fs::rename(stack.at("backup/cvat_db.tar.bz2"), stack.at("backup/cvat_data.tar.bz2")).unwrap();
    // The directory in the archive, and the expected one.
    refused(stack.voltar(&["restore"]), &["cvat_data", "var/lib/postgresql/data", "home/django/data"]);
    refused(stack.voltar(&["restore", "--merge"]), &["var/lib/postgresql/data"]);
    refused(stack.voltar(&["restore", "--in-place"]), &["var/lib/postgresql/data"]);
    stack.assert_unchanged(&before);
}

/// An archive made in `/home/django`: `--strip 3` would silently drop most of it.
fn refuses_the_wrong_prefix(stack: &Stack) {
    let before = stack.snapshots();
    fs::create_dir(stack.at("backup")).unwrap();
    Tool::shell("tar -cjf backup/cvat_data.tar.bz2 -C \"$1\" --transform 's,^_data,data,' _data")
        .args(["bash"])
        .arg(stack.volume("cvat_data").parent().unwrap())
        .dir(stack.work())
        .ok();
    refused(stack.voltar(&["restore", "--only", "cvat_data"]), &["home/django/data"]);
    stack.assert_unchanged(&before);
}

fn refuses_a_damaged_archive(stack: &Stack) {
    stack.documented_backup();
    let intact = fs::read(stack.at("backup/cvat_data.tar.bz2")).unwrap();
    fs::remove_file(stack.at("backup/cvat_db.tar.bz2")).unwrap();
    let before = stack.snapshots();
    let mut flipped = intact.clone();
    flipped[intact.len() * 2 / 3] ^= 0x10;
    for (what, damaged) in [("cut", &intact[..intact.len() / 2]), ("flipped", &flipped[..]), ("empty", &[])] {
        fs::write(stack.at("backup/cvat_data.tar.bz2"), damaged).unwrap();
        refused(stack.voltar(&["verify"]), &["cvat_data"]);
        for options in [&[][..], &["--in-place"]] {
            refused(stack.voltar(&["restore"]).args(options), &["cvat_data"]);
            before[1].assert_same(&stack.snapshot("cvat_data"), &format!("cvat_data after a {what} archive"));
        }
        assert_eq!(names(stack.volume("cvat_data").parent().unwrap()), ["_data"], "nothing left beside the tree");
    }
}

fn refuses_an_empty_volume(stack: &Stack) {
    empty(&stack.volume("cvat_data"));
    refused(stack.voltar(&["backup"]), &["cvat_data", "--allow-empty"]);
    assert_eq!(stack.archives(), Vec::<String>::new());
    stack.voltar(&["backup", "--allow-empty"]).ok();
    assert_eq!(stack.archives(), ["cvat_data.tar.bz2", "cvat_db.tar.bz2"]);
}

fn refuses_a_database_without_a_version(stack: &Stack) {
    fs::remove_file(stack.volume("cvat_db").join("PG_VERSION")).unwrap();
    refused(stack.voltar(&["backup"]), &["cvat_db", "PG_VERSION"]);
    assert_eq!(stack.archives(), Vec::<String>::new());
}

fn refuses_a_path_on_no_mount(stack: &Stack) {
    layout(&stack.at("typo.toml"), "cvat_data", "cvat", "/home/django/daten");
    refused(stack.voltar(&["backup", "--layout", "typo.toml"]), &["/home/django/daten", "cvat"]);
    assert_eq!(stack.archives(), Vec::<String>::new());
}

fn refuses_a_container_that_does_not_exist(stack: &Stack) {
    layout(&stack.at("gone.toml"), "x", "voltar-e2e-gone", "/x");
    refused(stack.voltar(&["backup", "--layout", "gone.toml"]), &["voltar-e2e-gone"]);
    let optional = "\noptional = true\n";
    let text = fs::read_to_string(stack.at("gone.toml")).unwrap().trim_end().to_owned() + optional;
    let other = "[[archive]]\nname = \"cvat_keys\"\ncontainer = \"cvat\"\npath = \"/home/django/keys\"\n";
    fs::write(stack.at("gone.toml"), text + other).unwrap();
    build(&stack.volume("cvat_keys"), &[file("secret_key.py", "SECRET_KEY = 'x'\n")]);
    stack.voltar(&["backup", "--layout", "gone.toml"]).ok();
    assert_eq!(stack.archives(), ["cvat_keys.tar.bz2"]);
}

/// Its content is gone with the last container; what a run of it would archive or restore is lost.
fn refuses_a_volume_in_memory(stack: &Stack) {
    let volume = Volume::create("memory", &["-o", "type=tmpfs", "-o", "device=tmpfs"]);
    let container = Container::create("memory", &["-v", &format!("{}:/data", volume.name())]);
    container.start();
    layout(&stack.at("one.toml"), "memory", container.name(), "/data");
    for args in [&["backup", "--stop"][..], &["backup", "--allow-running"]] {
        refused(stack.voltar(args).args(["--layout", "one.toml"]), &[volume.name(), "is in memory (type=tmpfs)"]);
    }
    assert!(container.is_running());
}

fn refuses_two_projects_after_down(stack: &Stack) {
    stack.compose(&["down"]);
    let files = ["docker-compose.yml"];
    compose("voltar-e2e-other", &files, &["up", "--no-start"]);
    compose("voltar-e2e-other", &files, &["down"]);
    let listing = stack.voltar(&["backup"]).run();
    let chosen = stack.voltar(&["backup", "--project", "voltar-e2e"]).run();
    compose("voltar-e2e-other", &files, &["down", "--volumes"]);
    listing.expect_code(2).expect_text("voltar-e2e-other").expect_text("--project");
    chosen.expect_code(1);
    assert_eq!(stack.archives(), ["cvat_data.tar.bz2", "cvat_db.tar.bz2"]);
}

fn refuses_to_restore_into_a_read_only_mount(stack: &Stack) {
    let volume = Volume::create("readonly", &[]);
    build(&volume.path(), &[file("file", "x")]);
    let container = Container::create("readonly", &["-v", &format!("{}:/data:ro", volume.name())]);
    layout(&stack.at("readonly.toml"), "readonly", container.name(), "/data");
    stack.voltar(&["backup", "--layout", "readonly.toml"]).ok();
    refused(stack.voltar(&["restore", "--layout", "readonly.toml"]), &["read-only"]);
}

/// The mountpoints that a remote engine reports are on another machine, but the same paths may exist here.
fn refuses_a_remote_engine(stack: &Stack) {
    refused(stack.voltar(&["backup", "--docker", "tcp://127.0.0.1:9"]), &[]);
    refused(stack.voltar(&["backup"]).env("DOCKER_HOST", "tcp://192.0.2.1:2375"), &["192.0.2.1"]);
    refused(stack.voltar(&["backup", "--docker", "unix:///nonexistent/docker.sock"]), &["/nonexistent/docker.sock"]);
    assert_eq!(stack.archives(), Vec::<String>::new());
    // The container was not started.
    assert_eq!(docker(["ps", "--quiet", "--filter", "name=^/cvat$"]), "");
}

fn refuses_the_context_of_another_engine(stack: &Stack) {
    fs::write(stack.at("config.json"), r#"{"currentContext":"nas"}"#).unwrap();
    let with_context = |args: &[&str]| stack.voltar(args).env("DOCKER_CONFIG", stack.work());
    refused(with_context(&["backup"]), &["the Docker context 'nas'", "--docker unix:///var/run/docker.sock"]);
    assert_eq!(stack.archives(), Vec::<String>::new());
    // A host that is given takes precedence, as with `docker`.
    with_context(&["plan", "--docker", "unix:///var/run/docker.sock"]).ok();
    with_context(&["plan"]).env("DOCKER_CONTEXT", "default").ok();
}

/// A voltar in a container or in a unit with private mounts: the path of the volume is another directory there.
fn refuses_the_paths_of_another_mount_namespace(stack: &Stack) {
    stack.documented_backup();
    let before = stack.snapshots();
    let decoy = stack.at("decoy");
    build(&decoy, &[file("decoy", "not the volume")]);
    let volume = stack.volume("cvat_data");
    let unshared = |script: &str, args: &[&str]| {
        Tool::new("unshare")
            .args(["--mount", "sh", "-euc", &format!("{script}; exec \"$@\""), "sh", env!("CARGO_BIN_EXE_voltar")])
            .args(args)
            .dir(stack.work())
            .env("VOLTAR_STATE_DIR", stack.at("state"))
            .env("DOCKER_CONFIG", "/nonexistent")
            .env_remove("DOCKER_HOST")
            .env_remove("DOCKER_CONTEXT")
    };
    let over = format!("mount --bind '{}' '{}'", decoy.display(), volume.display());
    let reasons = ["another mount namespace", volume.to_str().unwrap(), "nsenter -t"];
    for command in [&["backup", "elsewhere"][..], &["restore"], &["restore", "--in-place"], &["resume"]] {
        refused(unshared(&over, command), &reasons);
    }
    assert_eq!(names(&stack.at("elsewhere")), Vec::<String>::new());
    assert_eq!(names(&decoy), ["decoy"]);
    stack.assert_unchanged(&before);
    // Private mounts elsewhere are no reason.
    unshared("mount -t tmpfs none /mnt", &["backup", "elsewhere"]).run().expect_code(1);
    assert_eq!(names(&stack.at("elsewhere")), ["cvat_data.tar.bz2", "cvat_db.tar.bz2"]);
}
