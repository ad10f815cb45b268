//! Owners on engines whose containers have other ids than this host: archives hold the ids that containers see.

use std::fs;
use std::os::unix::fs::{chown, lchown};
use std::path::Path;

use crate::common::archive::assert_same_stream;
use crate::common::snapshot::TreeSnapshot;
use crate::common::tool::Tool;
use crate::other_engine::{OtherEngine, Test, copy};

pub const TESTS: &[Test] = &[
    ("archives_equal_the_documented_ones", archives_equal_the_documented_ones),
    ("restored_trees_equal_the_documented_ones", restored_trees_equal_the_documented_ones),
    ("ids_without_another_side_are_refused", ids_without_another_side_are_refused),
    ("directories_of_others_are_refused", directories_of_others_are_refused),
];

/// Of Docker alone.
pub const OF_DOCKER: &[Test] = &[
    ("containers_with_the_hosts_ids_are_not_mapped", containers_with_the_hosts_ids_are_not_mapped),
    ("data_roots_give_the_same_archives", data_roots_give_the_same_archives),
];

/// Files of several owners, made in a container.
const FILL: &str = "
    cd /data
    mkdir -p deep/er
    for owner in 0:0 1:2 70:70 999:998 1000:1000 65534:65534 65535:65535; do
        echo $owner >deep/$owner; chown $owner deep/$owner
    done
    cp -p deep/70:70 deep/er/; chown 70:70 deep/er; chmod 2750 deep/er
    ln deep/1000:1000 deep/hard
    ln -s 0:0 deep/link; chown -h 33:34 deep/link
    mkfifo deep/fifo; chown 5:6 deep/fifo
    cp deep/0:0 deep/setuid; chown 1000:1000 deep/setuid; chmod 6755 deep/setuid
    chown 999:998 /data; chmod 1770 /data
    find . -exec touch -h -d '2021-09-01 12:00:00 UTC' {} +";

/// Creates a container `db` with the volume `data` at `/data`, fills it, and writes its layout.
pub fn fill(engine: &OtherEngine) {
    engine.docker(["create", "--name", "db", "--network", "none", "-v", "data:/data", "ubuntu", "sleep", "1000"]);
    helper(engine, "db", &[], FILL);
    engine.layout("db");
}

/// Runs a line in a container with the volumes of `of`.
fn helper(engine: &OtherEngine, of: &str, options: &[&str], line: &str) -> Vec<u8> {
    let fixed = ["run", "--rm", "--network", "none", "--volumes-from", of];
    let command = ["ubuntu", "bash", "-euc", line];
    engine.command(fixed.into_iter().chain(options.iter().copied()).chain(command)).ok().stdout
}

/// Returns what the documented command writes.
pub fn documented(engine: &OtherEngine, of: &str, options: &[&str]) -> Vec<u8> {
    helper(engine, of, options, "tar --sort=name --numeric-owner -C / -c data")
}

#[track_caller]
pub fn assert_same(found: &[u8], expected: &[u8]) {
    assert_same_stream(expected, found, "the archive");
}

#[track_caller]
fn backup(engine: &OtherEngine) -> Vec<u8> {
    engine.voltar(&["backup", "archives", "--format", "tar", "--overwrite"]).ok();
    fs::read(engine.archive()).unwrap()
}

fn empty(engine: &OtherEngine) {
    helper(engine, "db", &[], "find /data -mindepth 1 -delete");
}

fn archives_equal_the_documented_ones(engine: &OtherEngine) {
    fill(engine);
    let expected = documented(engine, "db", &[]);
    assert_same(&backup(engine), &expected);
    // Through a running container, too.
    engine.docker(["start", "db"]);
    engine.voltar(&["backup", "archives", "--format", "tar", "--overwrite"]).run().expect_code(2);
    engine.voltar(&["backup", "archives", "--format", "tar", "--overwrite", "--stop"]).ok();
    assert_same(&fs::read(engine.archive()).unwrap(), &expected);
    let plan = engine.voltar(&["plan", "other"]).run();
    let (uid, _) = engine.kind().ids[0];
    assert!(plan.text().contains("archives hold the ids that containers see"), "{plan}");
    assert!(plan.text().contains(&uid.to_string()), "{plan}");
}

fn restored_trees_equal_the_documented_ones(engine: &OtherEngine) {
    fill(engine);
    let archive = documented(engine, "db", &[]);
    let data = engine.volume("data");
    empty(engine);
    // Into the scratch directory of the engine, which a container can read.
    fs::create_dir_all(engine.at("archives")).unwrap();
    fs::write(engine.archive(), &archive).unwrap();
    let mount = format!("{}:/backup:ro", engine.at("archives").display());
    helper(engine, "db", &["-v", &mount], "cd /data && tar -xf /backup/data.tar --strip 1");
    let expected = TreeSnapshot::of(&data);
    for mode in [&[][..], &["--merge"], &["--in-place"]] {
        empty(engine);
        engine.voltar(&[&["restore", "archives"][..], mode].concat()).ok();
        expected.clone().without_root().assert_same(&TreeSnapshot::of(&data).without_root(), &format!("{mode:?}"));
        // As with `tar -x --strip`, the root's own member is skipped.
        if mode != ["--merge"] {
            assert_same(&documented(engine, "db", &[]), &archive);
        }
    }
    engine.docker(["start", "db"]);
    let owners = engine.docker(["exec", "db", "stat", "-c", "%u:%g %a", "/data", "/data/deep/er", "/data/deep/setuid"]);
    assert_eq!(owners, "999:998 1770\n70:70 2750\n1000:1000 6755");
    // A directory that no member describes belongs to the container's root, as that which `tar` makes there.
    engine.docker(["stop", "--time", "0", "db"]);
    let tree = engine.at("tree");
    fs::create_dir_all(tree.join("data/a/b")).unwrap();
    fs::write(tree.join("data/a/b/c"), "x").unwrap();
    Tool::new("tar").args(["--numeric-owner", "-cf"]).arg(engine.archive()).arg("-C").arg(&tree).arg("data/a/b/c").ok();
    engine.voltar(&["restore", "archives"]).ok();
    let listed = helper(engine, "db", &[], "stat -c %u:%g /data/a /data/a/b /data/a/b/c");
    assert_eq!(String::from_utf8(listed).unwrap(), "0:0\n0:0\n0:0\n");
}

fn ids_without_another_side_are_refused(engine: &OtherEngine) {
    fill(engine);
    let data = engine.volume("data");
    let strays = ["deep/stray", "deep/stray too"].map(|name| data.join(name));
    for stray in &strays {
        fs::write(stray, "x").unwrap();
    }
    engine
        .voltar(&["backup", "archives"])
        .run()
        .expect_code(2)
        .expect_text("data: 'deep/stray' belongs to uid 0, which has no id in the container (and 1 more like it)\n");
    assert!(!engine.at("archives").exists());
    for stray in &strays {
        fs::remove_file(stray).unwrap();
    }

    let before = TreeSnapshot::of(&data);
    let tree = engine.at("beyond");
    fs::create_dir_all(tree.join("data")).unwrap();
    fs::write(tree.join("data/a"), "x").unwrap();
    fs::write(tree.join("data/b"), "x").unwrap();
    chown(tree.join("data/b"), Some(0), Some(70_000)).unwrap();
    fs::create_dir(engine.at("archives")).unwrap();
    Tool::new("tar").args(["--numeric-owner", "-cf"]).arg(engine.archive()).arg("-C").arg(&tree).arg("data").ok();
    for mode in [&[][..], &["--merge"], &["--in-place"]] {
        engine
            .voltar(&[&["restore", "archives"][..], mode].concat())
            .run()
            .expect_code(2)
            .expect_text("data: 'b' belongs to gid 70000 in the archive, which has no id on this host\n");
        before.assert_same(&TreeSnapshot::of(&data), &format!("{mode:?}"));
    }
    let beside: Vec<_> =
        fs::read_dir(data.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(beside, ["_data"]);
}

fn containers_with_the_hosts_ids_are_not_mapped(engine: &OtherEngine) {
    fill(engine);
    let host = ["--userns", "host"];
    engine.docker([
        "create",
        "--name",
        "host",
        "--userns",
        "host",
        "--network",
        "none",
        "-v",
        "data:/data",
        "ubuntu",
        "true",
    ]);
    let expected = documented(engine, "host", &host);
    // A rootless engine is in the user namespace itself.
    assert_eq!(expected != documented(engine, "db", &[]), engine.kind().has_host_ids);
    engine.layout("host");
    assert_same(&backup(engine), &expected);
    engine.layout("db");
    assert_same(&backup(engine), &documented(engine, "db", &[]));
}

/// The user of a rootless engine can name any directory, and root would read and write it.
fn directories_of_others_are_refused(engine: &OtherEngine) {
    let other = engine.at("other");
    drop(fs::remove_dir_all(&other));
    fs::create_dir(&other).unwrap();
    fs::write(other.join("secret"), "x").unwrap();
    let mount = format!("{}:/data", other.display());
    engine.docker(["create", "--name", "db", "--network", "none", "-v", &mount, "ubuntu", "true"]);
    engine.layout("db");
    let refused = format!("data: '{}' belongs to uid 0, which has no id in the container\n", other.display());
    engine.voltar(&["backup", "archives"]).run().expect_code(2).expect_text(&refused);
    engine.voltar(&["restore", "archives"]).run().expect_code(2);
    // The directory is the container's, a file in it is not.
    let (uid, gid) = engine.kind().ids[1];
    chown(&other, Some(uid), Some(gid)).unwrap();
    let refused = "data: 'secret' belongs to uid 0, which has no id in the container\n";
    engine.voltar(&["backup", "archives"]).run().expect_code(2).expect_text(refused);
    lchown(other.join("secret"), Some(uid), Some(gid)).unwrap();
    assert_same(&backup(engine), &documented(engine, "db", &[]));
}

fn data_roots_give_the_same_archives(engine: &OtherEngine) {
    fill(engine);
    let expected = documented(engine, "db", &[]);
    let root = engine.root();
    let archives = engine.at("archives");
    let args = |root: &Path| {
        let (archives, root) = (archives.to_str().unwrap().to_owned(), root.to_str().unwrap().to_owned());
        ["backup", &archives, "--format", "tar", "--data-root", &root].map(str::to_owned)
    };
    let assert_archives = |tool: Tool| {
        tool.ok();
        assert_same(&fs::read(engine.archive()).unwrap(), &expected);
        fs::remove_file(engine.archive()).unwrap();
    };
    // With the files in /etc of the engine's host.
    assert_archives(engine.inside(&args(&root)));
    // With those of this host, which do not have its users.
    let outside = engine.without_engine(&args(&root));
    if engine.kind().has_host_ids {
        assert_archives(outside);
        let hint = format!("--data-root {}", root.display());
        engine.without_engine(&args(root.parent().unwrap())).run().expect_code(2).expect_text(&hint);
    } else {
        outside.run().expect_code(2).expect_text("/etc/subuid has no ids of user 4321");
    }
    // A copy under another name.
    let other = engine.at("copy");
    drop(fs::remove_dir_all(&other));
    fs::create_dir(&other).unwrap();
    for part in ["containers", "volumes"] {
        copy(&root.join(part), &other.join(part));
    }
    assert_archives(engine.inside(&args(&other)));
}
