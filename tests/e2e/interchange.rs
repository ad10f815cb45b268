//! Archives are exchanged between voltar and the documented commands, in both directions, and all ways to back up
//! a stack give the same archives.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use crate::common::archive::{assert_same_stream, single_stream};
use crate::common::engine::docker;
use crate::common::snapshot::TreeSnapshot;
use crate::common::tool::Tool;
use crate::common::tree::{build, dir, file, link};
use crate::stack::{Container, Stack, Test, VOLUMES, Volume, compose, copy, empty, layout, names, query};

/// Ordered so that the simplest test fails first.
pub const TESTS: &[Test] = &[
    ("documented_commands_restore_what_they_wrote", documented_commands_restore_what_they_wrote),
    ("plan_names_everything_and_writes_nothing", plan_names_everything_and_writes_nothing),
    ("a_dry_restore_prints_its_plan_and_changes_nothing", a_dry_restore_prints_its_plan_and_changes_nothing),
    ("archives_hold_gnu_tars_stream", archives_hold_gnu_tars_stream),
    ("documented_commands_restore_our_archives", documented_commands_restore_our_archives),
    ("we_back_up_a_running_stack", we_back_up_a_running_stack),
    ("we_restore_documented_archives", we_restore_documented_archives),
    ("we_restore_into_a_running_stack", we_restore_into_a_running_stack),
    ("single_files_are_restored", single_files_are_restored),
    ("verify_and_list_read_both_kinds", verify_and_list_read_both_kinds),
    ("data_root_gives_the_same_archives", data_root_gives_the_same_archives),
    ("volumes_are_found_after_down", volumes_are_found_after_down),
    ("nested_mounts_are_one_tree", nested_mounts_are_one_tree),
    ("mounts_below_a_path_are_one_archive", mounts_below_a_path_are_one_archive),
    ("volumes_bound_to_directories_are_those_directories", volumes_bound_to_directories_are_those_directories),
    ("analytics_adds_the_third_archive", analytics_adds_the_third_archive),
];

/// Checks the stack and the comparison; voltar is not involved.
fn documented_commands_restore_what_they_wrote(stack: &Stack) {
    let before = stack.snapshots();
    assert!(before[1].len() > 80, "the media volume should contain all unusual files");
    stack.documented_backup();
    stack.empty_volumes();
    stack.documented_restore();
    for (before, volume) in before.into_iter().zip(VOLUMES) {
        let found = stack.snapshot(volume).without_root();
        before.carried_by_tar().without_root().assert_same(&found, volume);
    }
    stack.assert_database_is_intact();
}

fn plan_names_everything_and_writes_nothing(stack: &Stack) {
    stack.start();
    let plan = stack.voltar(&["plan"]).run();
    for text in ["cvat_db", "cvat_data", "/var/lib/postgresql/data", "/home/django/data", "voltar-e2e_cvat_data"] {
        assert!(plan.text().contains(text), "expected {text:?} in {plan}");
    }
    let json = stack.voltar(&["plan", "--json"]).run();
    let parsed: Result<serde_json::Value, _> = serde_json::from_slice(&json.stdout);
    assert!(parsed.is_ok(), "one JSON document expected of {json}");
    assert_eq!(stack.running(), ["cvat", "cvat_db"]);
    assert_eq!(names(&stack.work()), Vec::<String>::new());
}

fn a_dry_restore_prints_its_plan_and_changes_nothing(stack: &Stack) {
    stack.documented_backup();
    add_stale_files(stack);
    let before = stack.snapshots();
    let plan = stack.voltar(&["restore", "--dry-run"]).ok();
    for text in ["backup/cvat_db.tar.bz2", "backup/cvat_data.tar.bz2", "exchanged in one step", "removed once all"] {
        assert!(plan.text().contains(text), "expected {text:?} in {plan}");
    }
    stack.assert_unchanged(&before);
    stack.start();
    let media = stack.snapshot("cvat_data");
    stack.voltar(&["restore", "-n"]).run().expect_code(1).expect_text("are running: cvat_db, cvat");
    let plan = stack.voltar(&["restore", "-n", "--stop", "--json"]).ok();
    let plan: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap();
    assert_eq!(plan["stopped"], serde_json::json!(["cvat_db", "cvat"]));
    assert_eq!((plan["archives"].as_array().unwrap().len(), &plan["refusals"]), (2, &serde_json::json!([])));
    assert_eq!(stack.running(), ["cvat", "cvat_db"]);
    media.assert_same(&stack.snapshot("cvat_data"), "cvat_data");
}

/// Runs a backup of the stopped stack. It warns about a socket in the media, which an archive cannot hold.
fn back_up(stack: &Stack, args: &[&str]) {
    stack.voltar(&["backup"]).args(args).run().expect_code(1).expect_text("socket");
}

fn archives_hold_gnu_tars_stream(stack: &Stack) {
    back_up(stack, &[]);
    for (container, path, archive) in
        [("cvat", "home/django/data", "cvat_data"), ("cvat_db", "var/lib/postgresql/data", "cvat_db")]
    {
        let mut oracle = Tool::new("docker")
            .args(["run", "--rm", "--network", "none", "--volumes-from", container, "ubuntu"])
            .args(["tar", "--warning=no-file-ignored", "--sort=name", "--numeric-owner", "-C", "/", "-c", path])
            .stream();
        let expected = oracle.stdout.take().unwrap();
        let found = single_stream(&stack.at(&format!("backup/{archive}.tar.bz2")));
        assert_same_stream(expected, found, archive);
        assert!(oracle.wait().unwrap().success());
    }
}

/// CVAT Enterprise's guide puts every volume on a directory of the host. With all containers stopped, the engine has none
/// of them mounted.
fn volumes_bound_to_directories_are_those_directories(stack: &Stack) {
    let (outer, inner) = (stack.at("disk/outer"), stack.at("disk/inner"));
    build(&outer, &[dir("").mode(0o2775), file("file", "archived"), dir("nested"), link("link", "/etc/passwd")]);
    build(&inner, &[dir("").mode(0o751), file("owned", "archived")]);
    let volumes = [Volume::bound("outer", &outer), Volume::bound("inner", &inner)];
    let mounts = [format!("{}:/data", volumes[0].name()), format!("{}:/data/nested", volumes[1].name())];
    let container = Container::create("bound", &["-v", &mounts[0], "-v", &mounts[1]]);
    layout(&stack.at("one.toml"), "one", container.name(), "/data");
    container.start();
    let voltar = |args: &[&str]| stack.voltar(args).args(["--layout", "one.toml"]).ok();
    voltar(&["backup", "--stop", "--format", "tar"]);
    assert!(container.is_running(), "started again");
    let expected = Tool::new("docker")
        .args(["run", "--rm", "--network", "none", "--volumes-from", container.name(), "ubuntu"])
        .args(["tar", "--sort=name", "--numeric-owner", "-C", "/", "-c", "data"])
        .ok();
    assert_eq!(fs::read(stack.at("backup/one.tar")).unwrap(), expected.stdout, "the documented command's stream");

    let before = [&outer, &inner].map(|path| TreeSnapshot::of(path));
    for options in [&[][..], &["--in-place"], &["--keep-previous"]] {
        fs::write(outer.join("file"), "live").unwrap();
        fs::write(inner.join("late"), "live").unwrap();
        voltar(&[&["restore", "--stop"], options].concat());
        assert!(container.is_running());
        assert_eq!(names(&stack.at("disk")), ["inner", "outer"]);
        if options.is_empty() {
            for (before, path) in before.iter().zip([&outer, &inner]) {
                before.clone().carried_by_tar().assert_same(&TreeSnapshot::of(path).carried_by_tar(), "restored");
            }
        }
        assert_eq!(fs::read_to_string(outer.join("file")).unwrap(), "archived");
        assert!(!inner.join("late").exists());
    }
    container.assert_sees("/data/file", "archived");
    container.assert_sees("/data/nested/owned", "archived");
}

fn documented_commands_restore_our_archives(stack: &Stack) {
    let before = stack.snapshots();
    back_up(stack, &[]);
    assert_eq!(stack.archives(), ["cvat_data.tar.bz2", "cvat_db.tar.bz2"], "`ls backup` as in the guide");
    for name in stack.archives() {
        let mode = fs::metadata(stack.at("backup").join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "only the owner may read an archive");
    }
    stack.assert_unchanged(&before);
    stack.empty_volumes();
    stack.documented_restore();
    for (before, volume) in before.into_iter().zip(VOLUMES) {
        let found = stack.snapshot(volume).without_root();
        before.carried_by_tar().without_root().assert_same(&found, volume);
    }
    stack.assert_database_is_intact();
}

fn we_back_up_a_running_stack(stack: &Stack) {
    stack.start();
    let media = stack.snapshot("cvat_data");
    back_up(stack, &["--stop"]);
    assert_eq!(stack.running(), ["cvat", "cvat_db"], "started again");
    stack.stop();
    stack.empty_volumes();
    stack.documented_restore();
    let found = stack.snapshot("cvat_data").without_root();
    media.carried_by_tar().without_root().assert_same(&found, "cvat_data");
    stack.assert_database_is_intact();
}

/// Adds files to both volumes and changes attributes, which a restore must undo.
fn add_stale_files(stack: &Stack) {
    build(&stack.volume("cvat_data"), &[dir("").mode(0o700).mtime(1, 1), file("stale", "x"), dir("data/stale/below")]);
    build(&stack.volume("cvat_db"), &[file("pg_wal/000000010000000000000099", "stale")]);
}

fn we_restore_documented_archives(stack: &Stack) {
    let before = stack.snapshots();
    stack.documented_backup();
    stack.empty_volumes();
    stack.documented_restore();
    let by_gnu_tar = stack.snapshots();
    add_stale_files(stack);
    stack.voltar(&["restore"]).ok();
    for (((before, by_gnu_tar), volume), found) in
        before.into_iter().zip(by_gnu_tar).zip(VOLUMES).zip(stack.snapshots())
    {
        by_gnu_tar
            .without_root()
            .assert_same(&found.clone().without_root(), &format!("{volume}, as GNU tar restores it"));
        before.clone().carried_by_tar().assert_same(&found, &format!("{volume}, including the root"));
        let beside = crate::stack::names(stack.volume(volume).parent().unwrap());
        assert_eq!(beside, ["_data"], "nothing is left beside the restored tree");
    }
    assert_eq!(stack.running(), Vec::<String>::new());
    stack.assert_database_is_intact();
}

fn we_restore_into_a_running_stack(stack: &Stack) {
    let media = stack.snapshot("cvat_data");
    stack.documented_backup();
    add_stale_files(stack);
    stack.start();
    query("DELETE FROM engine_labeledshape WHERE id % 2 = 0");
    stack.voltar(&["restore", "--stop"]).ok();
    assert_eq!(stack.running(), ["cvat", "cvat_db"], "started again");
    media.carried_by_tar().assert_same(&stack.snapshot("cvat_data"), "cvat_data");
    stack.assert_database_is_intact();
}

fn single_files_are_restored(stack: &Stack) {
    let before = stack.snapshots();
    stack.documented_backup();
    add_stale_files(stack);
    let with_stale_files = stack.snapshot("cvat_db");
    stack.voltar(&["restore", "backup/cvat_data.tar.bz2"]).ok();
    before[1].clone().carried_by_tar().assert_same(&stack.snapshot("cvat_data"), "cvat_data, which was named");
    with_stale_files.assert_same(&stack.snapshot("cvat_db"), "cvat_db, which was not");
}

fn verify_and_list_read_both_kinds(stack: &Stack) {
    stack.documented_backup();
    fs::rename(stack.at("backup"), stack.at("documented")).unwrap();
    back_up(stack, &[]);
    for directory in ["documented", "backup"] {
        stack.voltar(&["verify", directory]).ok().expect_text("cvat_db").expect_text("cvat_data");
        let archive = format!("{directory}/cvat_data.tar.bz2");
        let expected = Tool::new("tar").dir(stack.work()).args(["-tvf", &archive, "--numeric-owner"]).ok();
        let found = stack.voltar(&["list", &archive]).ok();
        let members = |text: &[u8]| text.split(|&byte| byte == b'\n').count();
        assert_eq!(members(&expected.stdout), members(&found.stdout), "lines of `tar -tvf` and of {found}");
    }
}

fn data_root_gives_the_same_archives(stack: &Stack) {
    back_up(stack, &[]);
    let root = docker(["info", "--format", "{{.DockerRootDir}}"]);
    // A rescued disk: the same files in another directory.
    let rescued = stack.at("rescued");
    for container in ["cvat", "cvat_db"] {
        let id = docker(["inspect", "--format", "{{.Id}}", container]);
        let directory = rescued.join("containers").join(&id);
        fs::create_dir_all(&directory).unwrap();
        let config = format!("{root}/containers/{id}/config.v2.json");
        fs::copy(config, directory.join("config.v2.json")).unwrap();
    }
    for volume in VOLUMES {
        copy(&stack.volume(volume), &rescued.join(format!("volumes/voltar-e2e_{volume}/_data")));
    }
    for (data_root, directory) in [(root.as_str(), "from-root"), (rescued.to_str().unwrap(), "from-rescued")] {
        stack
            .voltar(&["backup", "--data-root", data_root, directory])
            .env("DOCKER_HOST", "unix:///nonexistent/docker.sock")
            .run()
            .expect_code(1);
        for name in stack.archives() {
            let (ours, theirs) = (stack.at("backup").join(&name), stack.at(directory).join(&name));
            assert!(fs::read(ours).unwrap() == fs::read(theirs).unwrap(), "{directory}/{name} differs");
        }
    }
}

fn volumes_are_found_after_down(stack: &Stack) {
    let before = stack.snapshots();
    back_up(stack, &[]);
    stack.compose(&["down"]);
    back_up(stack, &["after-down"]);
    for name in stack.archives() {
        let (ours, theirs) = (stack.at("backup").join(&name), stack.at("after-down").join(&name));
        assert!(fs::read(ours).unwrap() == fs::read(theirs).unwrap(), "after-down/{name} differs");
    }
    stack.empty_volumes();
    stack.voltar(&["restore"]).ok();
    for (before, volume) in before.into_iter().zip(VOLUMES) {
        before.clone().carried_by_tar().assert_same(&stack.snapshot(volume), volume);
    }
}

fn nested_mounts_are_one_tree(stack: &Stack) {
    let (outer, inner) = (Volume::create("outer", &[]), Volume::create("inner", &[]));
    let bound = stack.at("bound");
    let trees = [&outer.path(), &inner.path(), &bound];
    build(trees[0], &[dir("sub").mode(0o750).owner(33, 33), file("sub/file", "outer"), link("to-inner", "sub/inner")]);
    build(trees[1], &[dir("").mode(0o2775).owner(1000, 1000).mtime(1_500_000_000, 0), file("file", "inner")]);
    build(trees[2], &[dir("").mode(0o711).mtime(1_400_000_000, 0), file("file", "bound"), dir("directory")]);
    let container = Container::create(
        "nested",
        &[
            "-v",
            &format!("{}:/srv/tree", outer.name()),
            "-v",
            &format!("{}:/srv/tree/sub/inner", inner.name()),
            "-v",
            &format!("{}:/srv/tree/bound", bound.display()),
        ],
    );
    // The engine creates the mountpoints in the outer volume when it first starts the container.
    container.start();
    docker(["stop", container.name()]);
    layout(&stack.at("nested.toml"), "nested", container.name(), "/srv/tree");
    let before = trees.map(|tree| TreeSnapshot::of(tree));

    stack.voltar(&["backup", "--layout", "nested.toml"]).ok();
    let mut oracle = Tool::new("docker")
        .args(["run", "--rm", "--network", "none", "--volumes-from", container.name(), "ubuntu"])
        .args(["tar", "--sort=name", "--numeric-owner", "-C", "/", "-c", "srv/tree"])
        .stream();
    let expected = oracle.stdout.take().unwrap();
    assert_same_stream(
        expected,
        single_stream(&stack.at("backup/nested.tar.bz2")),
        "the tree as the container sees it",
    );
    assert!(oracle.wait().unwrap().success());

    for tree in trees {
        empty(tree);
        build(tree, &[dir("").mode(0o700), file("stale", "x")]);
    }
    stack.voltar(&["restore", "--layout", "nested.toml"]).ok();
    let names = ["the outer volume", "the volume in it", "the directory bound into it"];
    for ((before, tree), name) in before.into_iter().zip(trees).zip(names) {
        // The directories below the mounts are not archived, so they are not compared.
        let seen = |tree: TreeSnapshot| tree.carried_by_tar().without("bound").without("sub/inner");
        seen(before).assert_same(&seen(TreeSnapshot::of(tree)), name);
    }
}

/// The engine makes `web` and `web/a` in the container of the documented command, when it starts that.
fn mounts_below_a_path_are_one_archive(stack: &Stack) {
    let (tree, bound) = (Volume::create("tree", &[]), stack.at("bound-below"));
    let trees = [&tree.path(), &bound];
    build(trees[0], &[dir("").mode(0o2775).owner(1000, 1000), dir("sub").owner(33, 33), file("sub/file", "volume")]);
    build(trees[1], &[dir("").mode(0o711).mtime(1_400_000_000, 0), file("file", "bound"), link("link", "file")]);
    let mounts = [format!("{}:/web/tree", tree.name()), format!("{}:/web/a/bound", bound.display())];
    let container = Container::create("below", &["-v", &mounts[0], "-v", &mounts[1]]);
    layout(&stack.at("below.toml"), "below", container.name(), "/web");
    let before = trees.map(|tree| TreeSnapshot::of(tree));

    stack.voltar(&["backup", "--layout", "below.toml", "--format", "tar"]).ok();
    let documented = Tool::new("docker")
        .args(["run", "--rm", "--network", "none", "--volumes-from", container.name(), "ubuntu"])
        .args(["tar", "--sort=name", "--numeric-owner", "-C", "/", "-c", "web"])
        .ok();
    let expected = without_times(documented.stdout, &["web/", "web/a/"]);
    let found = fs::read(stack.at("backup/below.tar")).unwrap();
    assert_same_stream(&expected[..], &found[..], "the mounts as the container sees them");

    for tree in trees {
        empty(tree);
        build(tree, &[dir("").mode(0o700), file("stale", "x")]);
    }
    stack.voltar(&["restore", "--layout", "below.toml"]).ok();
    for ((before, tree), name) in before.into_iter().zip(trees).zip(["the volume", "the bound directory"]) {
        before.carried_by_tar().assert_same(&TreeSnapshot::of(tree), name);
    }
}

/// Sets the times of these members to 0.
fn without_times(mut stream: Vec<u8>, names: &[&str]) -> Vec<u8> {
    for header in stream.chunks_exact_mut(512) {
        let name = header[..100].split(|&byte| byte == 0).next().unwrap();
        if names.iter().any(|wanted| wanted.as_bytes() == name) {
            header[136..148].copy_from_slice(b"00000000000\0");
            header[148..156].fill(b' ');
            let sum: u32 = header.iter().map(|&byte| u32::from(byte)).sum();
            header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    stream
}

fn analytics_adds_the_third_archive(stack: &Stack) {
    let files = ["docker-compose.yml", "docker-compose.analytics.yml"];
    compose("voltar-e2e", &files, &["up", "--no-start"]);
    let events = stack.volume("cvat_events");
    build(&events, &[dir("nodes/0").owner(1000, 0), file("nodes/0/node.lock", "").owner(1000, 0)]);
    let before = TreeSnapshot::of(&events);
    back_up(stack, &[]);
    let archives = stack.archives();
    empty(&events);
    stack.voltar(&["restore", "--only", "cvat_events"]).ok();
    let found = TreeSnapshot::of(&events);
    docker(["rm", "--force", "cvat_elasticsearch"]);
    docker(["volume", "rm", "voltar-e2e_cvat_events"]);
    assert_eq!(archives, ["cvat_data.tar.bz2", "cvat_db.tar.bz2", "cvat_events.tar.bz2"]);
    before.clone().carried_by_tar().assert_same(&found, "cvat_events");
}
