//! Restores into trees whose filesystem lacks something, or whose root directory has something that an archive does not
//! hold. They use a data root, and no engine.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]

mod common;

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::data_root::{DataRoot, layout};
use common::mounted::Mounted;
use common::skip::{Needs, run, test};
use common::snapshot::TreeSnapshot;
use common::tool::Tool;
use common::tree::{build, dir, file, hard_link, link};
use libtest_mimic::Arguments;
use tempfile::TempDir;

fn main() {
    let args = Arguments::from_args();
    let root = Needs::Root;
    let program = Needs::Program;
    let tests = vec![
        test(
            "a_root_keeps_what_no_archive_holds",
            &[root, program("setfacl"), program("setfattr"), program("chattr")],
            a_root_keeps_what_no_archive_holds,
        ),
        test("trees_are_moved_where_they_cannot_be_exchanged", &[root, program("bindfs")], trees_are_moved),
        test("a_filesystem_that_keeps_no_owners_is_refused", &[root, program("bindfs")], no_owners),
        test("filesystems_below_a_bind_mount_are_seen_or_not", &[root], filesystems_below_a_bind_mount),
        test("a_second_tree_that_does_not_fit_is_refused", &[root], a_second_tree_that_does_not_fit_is_refused),
        test("a_stream_that_does_not_fit_changes_nothing", &[root], a_stream_that_does_not_fit_changes_nothing),
        test("what_is_said_of_a_full_disk_helps", &[root], what_is_said_of_a_full_disk_helps),
        test("resume_says_one_thing_of_a_tree", &[root, program("unshare")], resume_says_one_thing_of_a_tree),
        test("a_leftover_that_stays_is_named", &[root, program("unshare")], a_leftover_that_stays_is_named),
        test("a_btrfs_subvolume_stays_one", &[root, program("mkfs.btrfs")], a_btrfs_subvolume_stays_one),
        test("over_quota_nothing_changes", &[root, program("mkfs.btrfs"), program("setpriv")], over_quota),
        test("a_disk_that_cannot_write_changes_nothing", &[root, program("mkfs.ext4")], a_disk_that_cannot_write),
    ];
    run(&args, tests, || ());
}

/// A container `x` that has a volume at `/srv/x`, in a data root that can be mounted somewhere, and an archive of it.
struct World {
    scratch: TempDir,
    live: PathBuf,
    first: TreeSnapshot,
}

impl World {
    /// `prepare` gets the directory for the data root before anything is in it.
    fn new(prepare: impl FnOnce(&Path)) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let root = scratch.path().join("docker");
        fs::create_dir(&root).unwrap();
        prepare(&root);
        let data_root = DataRoot::new(&root);
        data_root.container("x").mount("x", "/srv/x").write();
        let live = data_root.volume("x");
        layout(&scratch.path().join("x.toml"), "x", "x", "/srv/x");
        let world = Self { first: TreeSnapshot::of(&live), live, scratch };
        world.fill();
        let first = TreeSnapshot::of(&world.live).carried_by_tar();
        world.voltar(&["backup", "--format", "tar"]).ok();
        Self { first, ..world }
    }

    fn fill(&self) {
        let nodes = [
            dir("").mode(0o2750).mtime(1_000_000_000, 0),
            file("both", "archived").mode(0o640).mtime(1_000_000_000, 0),
            dir("directory").mode(0o750).mtime(1_000_000_001, 0),
            file("directory/file", "archived").mtime(1_000_000_002, 0),
            hard_link("directory/hard", "both"),
            link("directory/link", "/etc/passwd"),
        ];
        build(&self.live, &nodes);
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn voltar(&self, args: &[&str]) -> Tool {
        let tool = Tool::voltar().dir(self.scratch.path()).env("VOLTAR_STATE_DIR", self.at("state"));
        tool.args(args).args(["--data-root", "docker", "--layout", "x.toml"])
    }

    fn change(&self) {
        fs::write(self.live.join("both"), "changed").unwrap();
        fs::write(self.live.join("new"), "new").unwrap();
        fs::remove_dir_all(self.live.join("directory")).unwrap();
    }

    fn now(&self) -> TreeSnapshot {
        TreeSnapshot::of(&self.live).carried_by_tar()
    }

    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for directory in [&*self.live, self.live.parent().unwrap()] {
            names.extend(
                fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()),
            );
        }
        names.sort();
        names
    }
}

/// Mounts a new Btrfs.
fn btrfs(root: &Path) -> Mounted {
    let image = root.with_file_name("image");
    File::create(&image).unwrap().set_len(256 << 20).unwrap();
    Tool::new("mkfs.btrfs").arg("-q").arg(&image).ok();
    Tool::new("mount").args(["-o", "loop"]).args([&*image, root]).ok();
    Mounted(root.to_owned())
}

/// Mounts a copy of a directory over itself, through a filesystem in user space.
fn through_fuse(root: &Path, options: &[&str]) -> Mounted {
    let below = root.with_file_name("below");
    fs::create_dir(&below).unwrap();
    // Attributes are not cached, so that a snapshot shows them.
    let fresh = ["-o", "attr_timeout=0,entry_timeout=0,negative_timeout=0"];
    Tool::new("bindfs").args(fresh).args(options).args([&below, root]).ok();
    Mounted(root.to_owned())
}

/// Default ACLs are inherited by all that is extracted, as by what `tar -x` creates.
fn a_root_keeps_what_no_archive_holds() {
    let world = World::new(|_| ());
    let control = world.at("control");
    fs::create_dir(&control).unwrap();
    fs::set_permissions(&control, fs::Permissions::from_mode(0o2750)).unwrap();
    let both = [&world.live, &control];
    for root in both {
        Tool::new("setfacl").args(["-m", "d:u:1234:rwx,d:g:99:r-x,u:77:r-x"]).arg(root).ok();
        Tool::new("setfattr").args(["-n", "user.note", "-v", "kept"]).arg(root).ok();
        Tool::new("chattr").arg("+Ad").arg(root).ok();
    }
    Tool::new("tar")
        .args(["-x", "--numeric-owner", "--strip", "2", "-f"])
        .arg(world.at("backup/x.tar"))
        .dir(&control)
        .ok();
    let inode = fs::metadata(&world.live).unwrap().ino();
    for mode in [&[][..], &["--in-place"], &["--keep-previous"], &["--merge"]] {
        fs::write(world.live.join("both"), "changed").unwrap();
        world.voltar(&["restore"]).args(mode).ok();
        let attributes = |root: &Path| {
            let acl = Tool::new("getfacl").args(["--recursive", "--numeric", "both", "directory", "."]).dir(root).ok();
            let acl =
                acl.answer().lines().filter(|line| !line.contains("voltar-previous")).collect::<Vec<_>>().join("\n");
            let note = Tool::new("getfattr").args(["--only-values", "-n", "user.note", "."]).dir(root).ok().answer();
            let flags = Tool::new("lsattr").args(["-d", "."]).dir(root).ok().answer();
            (acl, note, flags)
        };
        let (found, expected) = (attributes(&world.live), attributes(&control));
        if mode.is_empty() || *mode == ["--merge"] {
            assert_eq!(found.0, expected.0, "{mode:?}: ACLs, as GNU tar leaves them");
        }
        assert_eq!((found.1, found.2), (expected.1, expected.2), "{mode:?}");
        assert_eq!(fs::metadata(&world.live).unwrap().ino(), inode, "{mode:?}: the directory itself stays");
        let previous = fs::read_dir(&world.live).unwrap().map(|entry| entry.unwrap().path());
        for path in previous.filter(|path| path.to_str().unwrap().contains(".voltar-previous-")) {
            fs::remove_dir_all(path).unwrap();
        }
    }
}

/// bindfs has neither flag of renameat2(2), like NFS. It does not set a time of modification alone (`touch -m`).
fn trees_are_moved() {
    let mut mounted = None;
    let world = World::new(|root| mounted = Some(through_fuse(root, &[])));
    let clean = world.names();
    for mode in [&[][..], &["--in-place"], &["--keep-previous"]] {
        world.change();
        world.voltar(&["restore"]).args(mode).ok();
        if let Some(kept) = world.names().into_iter().find(|name| name.starts_with(".voltar-previous-")) {
            assert_eq!(*mode, ["--keep-previous"]);
            assert_eq!(fs::read_to_string(world.live.join(&kept).join("both")).unwrap(), "changed");
            fs::remove_dir_all(world.live.join(kept)).unwrap();
        }
        assert_eq!(world.names(), clean, "{mode:?}");
        assert_eq!(fs::metadata(&world.live).unwrap().mode() & 0o7777, 0o2750);
        for name in ["both", "directory/file", "directory/hard"] {
            assert_eq!(fs::read_to_string(world.live.join(name)).unwrap(), "archived", "{mode:?} {name}");
        }
    }
    // A damaged archive changes nothing.
    world.change();
    let before = world.now();
    let archive = world.at("backup/x.tar");
    let complete = fs::read(&archive).unwrap();
    fs::write(&archive, &complete[..2048]).unwrap();
    world.voltar(&["restore"]).run().expect_code(2);
    before.without_root().assert_same(&world.now().without_root(), "after a damaged archive");
}

/// An NFS export with `root_squash` gives what root creates to somebody else, and lets root give nothing away.
fn no_owners() {
    let world = World::new(|_| ());
    let volume = world.live.parent().unwrap();
    fs::rename(volume, world.at("below")).unwrap();
    fs::create_dir(volume).unwrap();
    let squashed = ["--force-user=nobody", "--force-group=nogroup", "--chown-deny", "--chgrp-deny"];
    Tool::new("bindfs").args(squashed).args([&*world.at("below"), volume]).ok();
    let _mounted = Mounted(volume.to_owned());
    let before = world.now();
    let clean = world.names();
    for mode in [&[][..], &["--in-place"], &["--merge"]] {
        let refused = world.voltar(&["restore"]).args(mode).run().expect_code(2);
        // Trying has changed the time of the directory.
        before
            .clone()
            .without_root()
            .assert_same(&world.now().without_root(), &format!("{mode:?}: nothing was replaced"));
        assert_eq!(world.names(), clean, "{mode:?}");
        refused.expect_text("belongs to user 65534").expect_text("squash");
    }
}

/// With `bind-nonrecursive` a container sees what the mountpoint has itself.
fn filesystems_below_a_bind_mount() {
    let world = World::new(|_| ());
    let source = world.at("source");
    build(&source, &[dir("below"), file("below/hidden", "of the directory")]);
    let below = Mounted(source.join("below"));
    Tool::new("mount").args(["-t", "tmpfs", "none"]).arg(&below.0).ok();
    fs::write(source.join("below/mounted"), "of the filesystem").unwrap();
    let data_root = DataRoot::new(&world.at("docker"));
    let list = || {
        world.voltar(&["backup", "--format", "tar", "--overwrite"]).ok();
        Tool::voltar().args(["list"]).arg(world.at("backup/x.tar")).ok().text()
    };
    data_root.container("x").mount("x", "/srv/x").bind(&source, "/srv/x/bound").write();
    let recursive = list();
    assert!(recursive.contains("bound/below/mounted\n") && !recursive.contains("hidden"), "{recursive}");
    data_root.container("x").mount("x", "/srv/x").bind_non_recursive(&source, "/srv/x/bound").write();
    let alone = list();
    assert!(alone.contains("bound/below/hidden\n") && !alone.contains("mounted"), "{alone}");
    // Entries below which the host has something mounted cannot be moved.
    let refused = world.voltar(&["restore"]).run().expect_code(2);
    refused.expect_text("a filesystem of this host is mounted at");
    drop(below);
    fs::write(source.join("below/hidden"), "live").unwrap();
    world.voltar(&["restore"]).ok();
    assert_eq!(fs::read_to_string(source.join("below/hidden")).unwrap(), "of the directory");
}

/// Docker's btrfs users make one of a volume to take snapshots of it.
fn a_btrfs_subvolume_stays_one() {
    let mut mounted = None;
    let world = World::new(|root| {
        mounted = Some(btrfs(root));
        fs::create_dir_all(root.join("volumes/x")).unwrap();
        Tool::new("btrfs").args(["subvolume", "create"]).arg(root.join("volumes/x/_data")).ok();
    });
    let clean = world.names();
    for mode in [&[][..], &["--in-place"]] {
        world.change();
        world.voltar(&["restore"]).args(mode).ok();
        world.first.assert_same(&world.now(), &format!("{mode:?}"));
        assert_eq!(fs::metadata(&world.live).unwrap().ino(), 256, "the inode number of a subvolume's root");
        assert_eq!(world.names(), clean);
    }
}

/// Mounts a tmpfs of 16 MiB and 100 inodes.
fn small(at: &Path) -> Mounted {
    Tool::shell("mount -t tmpfs -o size=16m,nr_inodes=100,mode=755 small \"$0\"").arg(at).ok();
    Mounted(at.to_owned())
}

/// Bytes that no format compresses.
fn random(length: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    (0..length.div_ceil(8)).flat_map(|_| next().to_le_bytes()).take(length).collect()
}

/// What an archive needs is known before anything is changed: bytes by its blocks, and inodes.
fn a_second_tree_that_does_not_fit_is_refused() {
    let mut mounted = None;
    let world = World::new(|root| mounted = Some(small(root)));
    let refused = |what: &str| {
        let before = world.names();
        for (code, arguments) in [(2, &["restore", "backup"][..]), (1, &["restore", "backup", "--dry-run"])] {
            let outcome = world.voltar(arguments).run().expect_code(code).expect_text(what);
            outcome.expect_text("no room for a second tree beside").expect_text("--in-place");
        }
        assert_eq!(world.names(), before);
        let records = fs::read_dir(world.at("state")).map(Iterator::count);
        assert_eq!(records.unwrap_or(0), 0, "a restore has begun");
    };
    let backup = |format: &str| {
        fs::remove_dir_all(world.at("backup")).unwrap();
        world.voltar(&["backup", "--format", format]).ok();
    };
    // Zeros take no room.
    File::create(world.live.join("zeros")).unwrap().set_len(100 << 20).unwrap();
    for format in ["bz2", "gz", "zst", "tar"] {
        backup(format);
        world.voltar(&["restore", "backup"]).ok();
    }
    // Compressed well, they take much.
    fs::write(world.live.join("zeros"), vec![b'0'; 9 << 20]).unwrap();
    for format in ["bz2", "gz", "zst", "tar"] {
        backup(format);
        refused("it takes 9.01 MiB and 6 inodes, and 6.");
    }
    world.voltar(&["restore", "backup", "--in-place"]).ok();
    // Many small files: each takes a block.
    fs::remove_file(world.live.join("zeros")).unwrap();
    for number in 0..60 {
        fs::write(world.live.join(format!("small {number}")), "x").unwrap();
    }
    backup("gz");
    refused("it takes 248 KiB and 65 inodes, and ");
    world.voltar(&["restore", "backup", "--in-place"]).ok();
    drop(mounted);
}

/// A stream is read only once, while it is extracted.
fn a_stream_that_does_not_fit_changes_nothing() {
    let mut mounted = None;
    let world = World::new(|root| mounted = Some(small(root)));
    fs::write(world.live.join("random"), random(9 << 20)).unwrap();
    let before = (world.now(), world.names());
    world.voltar(&["backup", "again", "--format", "tar"]).ok();
    let archive = fs::read(world.at("again/x.tar")).unwrap();
    let outcome = world.voltar(&["restore", "-", "--only", "x"]).input(archive).run().expect_code(2);
    outcome.expect_text("no room for a second tree").expect_text("No space left on device").expect_text("--in-place");
    before.0.assert_same(&world.now(), "no room");
    assert_eq!(before.1, world.names());
    drop(mounted);
}

/// Btrfs has quotas of its own for subvolumes, which hold for root as well. Those of users need quota formats that many
/// kernels are built without.
fn over_quota() {
    const USER: u32 = 4711;
    let mut mounted = None;
    let world = World::new(|root| {
        mounted = Some(btrfs(root));
        Tool::new("btrfs").args(["quota", "enable"]).arg(root).ok();
        fs::create_dir(root.join("volumes")).unwrap();
        for subvolume in [root.join("volumes/x"), root.join("archives")] {
            Tool::new("btrfs").args(["subvolume", "create"]).arg(subvolume).ok();
        }
    });
    fs::write(world.live.join("random"), random(6 << 20)).unwrap();
    let archives = world.at("docker/archives");
    let limit = |size: &str| {
        Tool::new("btrfs").args(["filesystem", "sync"]).arg(world.at("docker")).ok();
        for subvolume in [world.live.parent().unwrap(), &archives] {
            Tool::new("btrfs").args(["qgroup", "limit", size]).arg(subvolume).ok();
        }
    };
    limit("8M");
    let everything = [world.scratch.path(), &world.live, &archives];
    let (before, names) = (world.now(), world.names());
    for user in [0, USER] {
        if user != 0 {
            // All that it needs is its own.
            Tool::new("chown").arg("-R").arg(format!("{user}:{user}")).args(everything).ok();
        }
        let before = if user == 0 { before.clone() } else { world.now() };
        let voltar = |args: &[&str]| {
            let ids = [format!("--reuid={user}"), format!("--regid={user}"), "--clear-groups".to_owned()];
            let tool = Tool::new("setpriv").args(ids).arg(env!("CARGO_BIN_EXE_voltar")).args(args);
            let tool = tool.args(["--data-root", "docker", "--layout", "x.toml"]).dir(world.scratch.path());
            tool.env("VOLTAR_STATE_DIR", world.at(&format!("state-{user}")))
        };
        let again = format!("again-{user}");
        voltar(&["backup", &again, "--format", "tar"]).ok();
        // The filesystem has room for it, so that only the write shows it.
        voltar(&["restore", &again]).run().expect_code(2).expect_text("Quota exceeded").expect_text("--in-place");
        before.without_root().assert_same(&world.now().without_root(), "over quota");
        // Over quota, Btrfs does not even remove files.
        limit("none");
        voltar(&["resume"]).ok();
        assert_eq!(names, world.names());
        limit("8M");
        fs::write(archives.join("other"), random(4 << 20)).unwrap();
        let refused = voltar(&["backup", "docker/archives", "--format", "tar"]).run().expect_code(2);
        refused.expect_text("Quota exceeded");
        let left: Vec<_> = fs::read_dir(&archives).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["other"], "neither an archive nor a part of one");
        fs::remove_file(archives.join("other")).unwrap();
        limit("8M");
    }
    drop(mounted);
}

/// A disk whose medium fails: a loop device on a sparse file for which its filesystem has no more room. Only the final
/// sync shows it.
fn a_disk_that_cannot_write() {
    let (mut mounted, mut medium) = (None, None);
    let world = World::new(|root| {
        let below = root.with_file_name("medium");
        fs::create_dir(&below).unwrap();
        medium = Some(Mounted::memory(&below, "size=8m,mode=755"));
        let image = below.join("image");
        File::create(&image).unwrap().set_len(64 << 20).unwrap();
        Tool::new("mkfs.ext4").args(["-q", "-J", "size=4", "-E", "lazy_itable_init=0"]).arg(&image).ok();
        Tool::new("mount").args(["-o", "loop"]).args([&*image, root]).ok();
        mounted = Some(Mounted(root.to_owned()));
    });
    let source = world.at("source");
    build(&source, &[dir(""), file("random", random(12 << 20))]);
    // The archive of a larger tree, which is elsewhere.
    let elsewhere = tempfile::tempdir().unwrap();
    let large = DataRoot::new(&elsewhere.path().join("docker"));
    // The source of a volume shows that the data root was not moved.
    large.volume("other");
    large.container("x").mount("other", "/other").bind(&source, "/srv/x").write();
    let backup = |to: &Path| {
        let tool = Tool::voltar().dir(world.scratch.path()).env("VOLTAR_STATE_DIR", world.at("state"));
        tool.args(["backup", "--format", "tar", "--layout", "x.toml", "--data-root"]).arg(large.path()).arg(to)
    };
    backup(&world.at("large")).ok();
    let (before, names) = (world.now(), world.names());
    let archives = world.at("docker/archives");
    backup(&archives).run().expect_code(2).expect_text("cannot write");
    assert!(!archives.join("x.tar").exists(), "an archive that is not on the disk");
    let failed = world.voltar(&["restore", "large"]).run().expect_code(2);
    failed.expect_text("cannot").expect_no_text("restored");
    before.without_root().assert_same(&world.now().without_root(), "a disk that cannot write");
    // On such a disk nothing can be removed either.
    let staged = |name: &String| name.starts_with(".voltar-restore-");
    assert_eq!(names, world.names().into_iter().filter(|name| !staged(name)).collect::<Vec<_>>());
    drop((mounted, medium));
}

/// Only what takes room in the volume can be written over, and a record is not in it.
fn what_is_said_of_a_full_disk_helps() {
    let mut mounted = None;
    let world = World::new(|root| mounted = Some(small(root)));
    fs::write(world.live.join("random"), random(9 << 20)).unwrap();
    world.voltar(&["backup", "again", "--format", "tar"]).ok();
    let archive = || fs::read(world.at("again/x.tar")).unwrap();
    // A live tree that is empty has no room to give.
    fs::remove_dir_all(&world.live).unwrap();
    fs::create_dir(&world.live).unwrap();
    fs::write(world.at("docker/filler"), random(9 << 20)).unwrap();
    for outcome in [
        world.voltar(&["restore", "again"]).run(),
        world.voltar(&["restore", "-", "--only", "x"]).input(archive()).run(),
    ] {
        let outcome = outcome.expect_code(2).expect_text("no room for a second tree").expect_no_text("--in-place");
        outcome.expect_text("hint: make room on its filesystem");
    }
    // Nor has a new directory.
    let to = Tool::voltar().dir(world.scratch.path()).args([
        "restore",
        "again/x.tar",
        "--layout",
        "x.toml",
        "--to",
        "docker/new",
    ]);
    let outcome = to.run().expect_code(2).expect_text("No space left on device").expect_no_text("--in-place");
    outcome.expect_text("hint: make room, or name a directory on another filesystem");
    assert!(!world.at("docker/new").exists());
    fs::remove_file(world.at("docker/filler")).unwrap();
    world.fill();
    let before = (world.now(), world.names());
    // The record cannot say that the swap begins.
    fs::create_dir_all(world.at("state")).unwrap();
    Tool::shell("mount -t tmpfs -o size=16k,mode=700 small \"$0\"").arg(world.at("state")).ok();
    let state = Mounted(world.at("state"));
    let (mut restore, rest) = paused(&world, &archive());
    let filled = File::create(world.at("state/filler")).unwrap().write_all(&[1; 16 << 10]);
    assert_eq!(filled.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    restore.stdin.take().unwrap().write_all(&rest).unwrap();
    let output = restore.wait_with_output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("cannot write") && text.contains("No space left on device"), "{text}");
    assert!(text.contains("hint: make room for it") && !text.contains("second tree"), "{text}");
    before.0.assert_same(&world.now(), "no room for the record");
    assert_eq!(before.1, world.names());
    drop((state, mounted));
}

/// Starts a restore from a pipe, which has staged what it got and waits for the rest of the archive.
fn paused(world: &World, archive: &[u8]) -> (Child, Vec<u8>) {
    let (first, rest) = archive.split_at(archive.len() - (64 << 10));
    let mut restore = Command::new(env!("CARGO_BIN_EXE_voltar"))
        .current_dir(world.scratch.path())
        .env("VOLTAR_STATE_DIR", world.at("state"))
        .args(["restore", "-", "--only", "x", "--data-root", "docker", "--layout", "x.toml"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    restore.stdin.as_mut().unwrap().write_all(first).unwrap();
    while !world.names().iter().any(|name| name.starts_with(".voltar-restore-")) {
        assert!(restore.try_wait().unwrap().is_none(), "it has ended");
        std::thread::sleep(Duration::from_millis(5));
    }
    (restore, rest.to_vec())
}

/// The tree is recovered, and its record cannot be removed: that is no tree that is not recovered.
fn resume_says_one_thing_of_a_tree() {
    let world = World::new(|_| ());
    fs::write(world.live.join("large"), random(9 << 20)).unwrap();
    world.voltar(&["backup", "again", "--format", "tar"]).ok();
    let before = world.now();
    let (mut restore, _) = paused(&world, &fs::read(world.at("again/x.tar")).unwrap());
    restore.kill().unwrap();
    restore.wait().unwrap();
    let read_only = "mount --bind state state; mount -o remount,ro,bind state; exec \"$@\"";
    let resume = ["resume", "--data-root", "docker", "--layout", "x.toml"];
    let outcome = Tool::new("unshare")
        .args(["--mount", "sh", "-euc", read_only, "sh", env!("CARGO_BIN_EXE_voltar")])
        .args(resume)
        .dir(world.scratch.path())
        .env("VOLTAR_STATE_DIR", world.at("state"))
        .run()
        .expect_code(1);
    let outcome = outcome.expect_text("x: recovered from a restore into").expect_no_text("is not recovered");
    outcome.expect_text("cannot remove").expect_text("Read-only file system").expect_text("updates the record");
    before.assert_same(&world.now(), "recovered");
    world.voltar(&["resume"]).ok();
    assert_eq!(fs::read_dir(world.at("state")).unwrap().count(), 0);
}

/// What a killed run has left is removed by the next one. It says so if it cannot: a mountpoint cannot be removed.
fn a_leftover_that_stays_is_named() {
    let world = World::new(|_| ());
    fs::create_dir_all(world.at("state")).unwrap();
    fs::set_permissions(world.at("state"), fs::Permissions::from_mode(0o700)).unwrap();
    let left = ["state/restore-1-1.tmp", "state/backup-1-1.json", "backup/.x.tar.1.voltar-tmp"];
    for path in left {
        fs::write(world.at(path), "{}").unwrap();
    }
    let stuck = format!("for path in {}; do mount --bind $path $path; done; exec \"$@\"", left.join(" "));
    let attempt = |args: &[&str]| {
        Tool::new("unshare")
            .args(["--mount", "sh", "-euc", &stuck, "sh", env!("CARGO_BIN_EXE_voltar")])
            .args(args)
            .args(["--data-root", "docker", "--layout", "x.toml"])
            .dir(world.scratch.path())
            .env("VOLTAR_STATE_DIR", world.at("state"))
            .run()
    };
    for (args, named) in [(&["resume"][..], &left[..2]), (&["backup", "backup", "--overwrite"], &left)] {
        let stays = |path: &&str| format!("{path}': Device or resource busy (fix the cause; the next run removes it)");
        let outcome = attempt(args).expect_code(1);
        named.iter().map(stays).fold(outcome, |outcome, text| outcome.expect_text(&text));
    }
    world.voltar(&["backup", "backup", "--overwrite"]).ok();
    assert!(left.iter().all(|path| !world.at(path).exists()));
}
