//! Black-box tests of `voltar restore`: the ways to replace a tree, hostile and damaged archives, and the leftovers of
//! a killed restore. They use a data root; neither an engine nor root is needed.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]

mod common;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::{Child, ChildStdin};

use common::data_root::{DataRoot, layout};
use common::hostile::archive;
use common::snapshot::TreeSnapshot;
use common::tool::{Outcome, Running, Tool};
use common::tree::{build, dir, file, hard_link, link};
use nix::sys::signal::Signal;
use tempfile::TempDir;

/// One stopped container `x` with a tree at `/srv/x`: a volume, or a bind mount, with the same content.
struct World {
    scratch: TempDir,
    live: PathBuf,
    first: TreeSnapshot,
}

const MODES: [&[&str]; 3] = [&[], &["--in-place"], &["--merge"]];

impl World {
    fn new(bind: bool) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let data_root = DataRoot::new(&scratch.path().join("docker"));
        let (live, container) = (scratch.path().join("bound"), data_root.container("x"));
        let live = if bind {
            fs::create_dir(&live).unwrap();
            // The source of a volume shows that the data root was not moved, so bind sources are paths of this host.
            data_root.volume("other");
            container.mount("other", "/other").bind(&live, "/srv/x").write();
            live
        } else {
            container.mount("x", "/srv/x").write();
            data_root.volume("x")
        };
        layout(&scratch.path().join("x.toml"), "x", "x", "/srv/x");
        let nodes = [
            file("both", "archived").mode(0o640).mtime(1_000_000_000, 0),
            dir("directory").mode(0o750).mtime(1_000_000_001, 0),
            file("directory/file", "archived").mtime(1_000_000_002, 0),
            hard_link("directory/hard", "both"),
            link("directory/link", "/etc/passwd"),
        ];
        build(&live, &nodes);
        fs::set_permissions(&live, fs::Permissions::from_mode(0o700)).unwrap();
        let first = TreeSnapshot::of(&live).carried_by_tar();
        let world = Self { scratch, live, first };
        world.voltar("backup", &["backup"]).ok();
        world
    }

    fn both() -> [Self; 2] {
        [Self::new(false), Self::new(true)]
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn voltar(&self, command: &str, args: &[&str]) -> Tool {
        let tool = Tool::voltar().dir(self.scratch.path()).env("VOLTAR_STATE_DIR", self.at("state"));
        tool.args([command, "--data-root", "docker", "--layout", "x.toml"]).args(args)
    }

    /// Changes the live tree after the backup, as a hostile application might.
    fn change(&self) {
        fs::write(self.live.join("both"), "changed").unwrap();
        fs::write(self.live.join("new"), "new").unwrap();
        fs::create_dir_all(self.live.join("new-directory/below")).unwrap();
        fs::remove_dir_all(self.live.join("directory")).unwrap();
        // A restore that followed this symbolic link would write outside the volume.
        fs::create_dir(self.at("outside")).unwrap();
        symlink(self.at("outside"), self.live.join("directory")).unwrap();
        fs::set_permissions(&self.live, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn now(&self) -> TreeSnapshot {
        TreeSnapshot::of(&self.live).carried_by_tar()
    }

    fn is_bind(&self) -> bool {
        self.live.ends_with("bound")
    }

    fn staging_directories(&self) -> Vec<PathBuf> {
        let parent = if self.is_bind() { self.live.as_path() } else { self.live.parent().unwrap() };
        let paths = fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().path());
        paths.filter(|path| path.to_str().unwrap().contains(".voltar-restore-")).collect()
    }

    fn assert_no_leftovers(&self) {
        for directory in [self.live.as_path(), self.live.parent().unwrap()] {
            for entry in fs::read_dir(directory).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!(!name.starts_with(".voltar"), "{name} is still in {}", directory.display());
            }
        }
    }
}

#[test]
fn the_tree_becomes_exactly_what_the_archive_holds() {
    for world in World::both() {
        for mode in [&[][..], &["--in-place"]] {
            if fs::read_link(world.live.join("directory")).is_err() && !world.at("outside").exists() {
                world.change();
            }
            world.voltar("restore", &["backup"]).args(mode).ok();
            world.first.assert_same(&world.now(), &format!("{mode:?}"));
            world.assert_no_leftovers();
            assert_eq!(fs::read_dir(world.at("outside")).unwrap().count(), 0);
            fs::remove_dir(world.at("outside")).unwrap();
        }
    }
}

#[test]
fn merging_keeps_what_the_archive_does_not_name() {
    for world in World::both() {
        world.change();
        world.voltar("restore", &["backup", "--merge"]).ok();
        assert_eq!(fs::read_to_string(world.live.join("both")).unwrap(), "archived");
        assert_eq!(fs::read_to_string(world.live.join("new")).unwrap(), "new");
        assert_eq!(fs::read_to_string(world.live.join("directory/file")).unwrap(), "archived");
        assert_eq!(fs::read_dir(world.at("outside")).unwrap().count(), 0);
    }
}

/// What other commands than the guide's write: `tar -C DIR .`, `docker cp`, and one archive of several trees.
#[test]
fn archives_with_other_roots_are_restored_from_there() {
    for world in World::both() {
        let source = world.live.display();
        for (number, (transform, more, from, skipped)) in
            [("s,^x,.,", "", ".", 0), ("s,^x,data,", "", "data", 0), ("s,^x,a/srv/x,", "backup", "a/srv/x", 2)]
                .into_iter()
                .enumerate()
        {
            let name = format!("other/{number}/x.tar");
            fs::create_dir_all(world.at(&format!("other/{number}"))).unwrap();
            // Names are transformed with the targets of hard links, as if the archive were made elsewhere.
            Tool::shell(&format!(
                "tar --numeric-owner -cf {name} --transform 'flags=rh;s,^{source},x,;{transform}' -P {more} {source}"
            ))
            .dir(world.scratch.path())
            .ok();
            let file = world.at(&name);
            let file = file.to_str().unwrap();
            for mode in MODES {
                fs::remove_file(world.live.join("both")).unwrap();
                let refused = world.voltar("restore", &[file]).args(mode).run().expect_code(2);
                refused.expect_text(&format!("`--from {from}`"));
                let restored = world.voltar("restore", &[file, "--from", from]).args(mode).ok();
                if skipped > 0 {
                    restored.expect_text(&format!(
                        "x: {skipped} members of the archive lie outside of '{from}' and are skipped"
                    ));
                } else {
                    restored.expect_no_text("lie outside of");
                }
                // With --merge the time of the root is that of the extraction.
                let is_merge = mode.contains(&"--merge");
                let tree = |tree: TreeSnapshot| if is_merge { tree.without_root() } else { tree };
                tree(world.first.clone()).assert_same(&tree(world.now()), &format!("{from} {mode:?}"));
                let paths = ["both", "directory/hard"].map(|path| world.live.join(path).metadata().unwrap().ino());
                assert_eq!(paths[0], paths[1], "the hard link, from {from}");
            }
            world.voltar("restore", &["backup"]).ok();
            let wrong = world.voltar("restore", &[file, "--from", "elsewhere"]).run().expect_code(2);
            wrong.expect_text("holds nothing below 'elsewhere'").expect_text(&format!("`--from {from}`"));
            world.first.assert_same(&world.now(), from);
        }
    }
}

#[test]
fn no_archive_of_a_directory_is_passed_over_in_silence() {
    let world = World::new(false);
    let backup = world.at("backup");
    fs::copy(backup.join("x.tar.bz2"), backup.join("x-2024-05-01.tar.bz2")).unwrap();
    fs::write(backup.join("data.tar.lz4"), b"\x04\x22\x4d\x18 and more").unwrap();
    fs::write(backup.join("notes.txt"), "x").unwrap();
    let named = |command: &str, verb: &str| {
        let outcome = world.voltar(command, &["backup"]).run().expect_code(1);
        outcome.expect_text(&format!("{verb}: 'backup/data.tar.lz4'")).expect_no_text("notes.txt")
    };
    named("restore", "not restored").expect_text("not restored: 'backup/x-2024-05-01.tar.bz2'");
    named("verify", "not verified").expect_no_text("not verified: 'backup/x-");
    world.voltar("restore", &["backup", "--only", "x"]).ok().expect_text("'backup/data.tar.lz4'");
    let too_large = world.at("large.tar.zst");
    fs::write(too_large, b"\x28\xb5\x2f\xfd\x00\xff\x01\x00\x00x").unwrap();
    let refused = world.voltar("verify", &["large.tar.zst"]).run().expect_code(2);
    refused.expect_text("of memory, and at most").expect_text("`zstd -dk --long=31 large.tar.zst`");
    world
        .voltar("verify", &["backup/data.tar.lz4"])
        .run()
        .expect_code(2)
        .expect_text("its format is lz4")
        .expect_text("`lz4 -dk backup/data.tar.lz4`");
    fs::remove_file(backup.join("x.tar.bz2")).unwrap();
    let nothing = world.voltar("restore", &["backup"]).run().expect_code(2);
    nothing.expect_text("no archive of the layout 'x.toml'").expect_text("'backup/x-2024-05-01.tar.bz2'");
}

#[test]
fn the_replaced_tree_is_kept_at_the_reported_path() {
    for world in World::both() {
        world.change();
        let output = world.voltar("restore", &["backup", "--keep-previous"]).ok().text();
        let at = output.lines().find(|line| line.contains("previous content is kept in")).unwrap();
        let at = at.split('\'').nth(1).unwrap();
        assert_eq!(fs::read_to_string(format!("{at}/both")).unwrap(), "changed");
        assert_eq!(fs::read_to_string(world.live.join("both")).unwrap(), "archived");
    }
}

#[test]
fn a_damaged_archive_changes_nothing() {
    for world in World::both() {
        let path = world.at("backup/x.tar.bz2");
        let complete = fs::read(&path).unwrap();
        world.change();
        let before = world.now();
        let flipped = {
            let mut bytes = complete.clone();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 4;
            bytes
        };
        for damaged in [&flipped[..], &complete[..complete.len() - 5], b"", b"no archive"] {
            fs::write(&path, damaged).unwrap();
            for mode in MODES {
                world.voltar("restore", &["backup"]).args(mode).run().expect_code(2).expect_text("x.tar.bz2");
                before.assert_same(&world.now(), "after a damaged archive");
                world.assert_no_leftovers();
            }
        }
    }
}

/// GNU tar takes an archive that ends between two members for complete, and stops at the first end.
#[test]
fn ends_that_hide_members_are_refused() {
    use tar::EntryType as T;
    for world in World::both() {
        fs::remove_file(world.at("backup/x.tar.bz2")).unwrap();
        let path = world.at("backup/x.tar");
        let complete = archive(&[("srv/x/", T::Directory, ""), ("srv/x/first", T::Regular, "")]);
        let end = complete.len() - 1024;
        world.change();
        let before = world.now();
        fs::write(&path, &complete[..end]).unwrap();
        for mode in MODES {
            let refused = world.voltar("restore", &["backup"]).args(mode).run().expect_code(2);
            refused.expect_text("without its end-of-archive marker").expect_text("--allow-truncated-end");
            before.assert_same(&world.now(), "an archive without an end");
        }
        let second = archive(&[("srv/x/second", T::Regular, "")]);
        fs::write(&path, [&complete[..], &second].concat()).unwrap();
        for mode in [&[][..], &["--in-place"]] {
            let refused = world.voltar("restore", &["backup"]).args(mode).run().expect_code(2);
            refused.expect_text("more members after its end-of-archive marker").expect_text("--ignore-zeros");
            before.assert_same(&world.now(), "an archive with a second part");
        }
        world.voltar("restore", &["backup", "--merge"]).run().expect_code(1).expect_text("were ignored");
        assert!(world.live.join("first").exists() && !world.live.join("second").exists());
        fs::write(&path, &complete[..end]).unwrap();
        let restored = world.voltar("restore", &["backup", "--allow-truncated-end"]).run().expect_code(1);
        restored.expect_text("members can be missing");
        assert_eq!(fs::read_dir(&world.live).unwrap().count(), 1);
    }
}

#[test]
fn a_member_of_an_unknown_type_is_a_file_and_counted() {
    use tar::EntryType as T;
    let world = World::new(false);
    fs::remove_file(world.at("backup/x.tar.bz2")).unwrap();
    // The second had a meaning once: a list of symbolic links to make.
    let members = [("srv/x/odd", T::new(b'Z'), ""), ("srv/x/list", T::new(b'N'), "")];
    fs::write(world.at("backup/x.tar"), archive(&members)).unwrap();
    let mut restored = world.voltar("restore", &["backup"]).run().expect_code(1);
    for (name, kind) in [("odd", 'Z'), ("list", 'N')] {
        let what = format!("'srv/x/{name}' is of the unknown type '{kind}', and was restored as a regular file");
        restored = restored.expect_text(&what);
        assert!(world.live.join(name).is_file());
    }
}

#[test]
fn hostile_archives_change_nothing_inside_or_outside() {
    use tar::EntryType as T;
    for world in World::both() {
        world.change();
        fs::write(world.at("outside/sentinel"), "safe").unwrap();
        let outside = world.at("outside").to_str().unwrap().to_owned();
        let before = world.now();
        let through_link = [("srv/x/l", T::Symlink, outside.as_str()), ("srv/x/l/sentinel", T::Regular, "")];
        let through_relative = [("srv/x/l", T::Symlink, "../../../outside"), ("srv/x/l/sentinel", T::Regular, "")];
        let cases: [&[(&str, T, &str)]; 8] = [
            &through_link,
            &through_relative,
            &[("srv/x/../../../../outside/sentinel", T::Regular, "")],
            &[("../outside/sentinel", T::Regular, "")],
            &[("/etc/sentinel", T::Regular, "")],
            &[("srv/x/a", T::Link, "../../etc/passwd")],
            &[("srv/x/a", T::Link, "srv/x/missing")],
            &[("srv/x", T::Symlink, "/etc")],
        ];
        for case in cases {
            fs::write(world.at("backup/x.tar"), archive(case)).unwrap();
            fs::remove_file(world.at("backup/x.tar.bz2")).unwrap_or_default();
            world.voltar("restore", &["backup"]).run().expect_code(2);
            before.assert_same(&world.now(), &format!("{case:?}"));
            assert_eq!(fs::read_to_string(world.at("outside/sentinel")).unwrap(), "safe", "{case:?}");
            world.assert_no_leftovers();
        }
        // A symbolic link to a path outside is extracted as it is stored, but nothing is written through it.
        fs::write(world.at("backup/x.tar"), archive(&through_link[..1])).unwrap();
        world.voltar("restore", &["backup"]).ok();
        assert_eq!(fs::read_link(world.live.join("l")).unwrap(), world.at("outside"));
        // This holds for a merge too, in which the link exists already.
        fs::write(world.at("backup/x.tar"), archive(&through_link[1..])).unwrap();
        world.voltar("restore", &["backup", "--merge"]).run().expect_code(2).expect_text("symbolic link");
        assert_eq!(fs::read_to_string(world.at("outside/sentinel")).unwrap(), "safe");
        // In place, the link is replaced by the directory of the archive, but not if the archive itself has the link.
        world.voltar("restore", &["backup", "--in-place"]).ok();
        assert_eq!(fs::read_to_string(world.live.join("l/sentinel")).unwrap(), "evil");
        fs::write(world.at("backup/x.tar"), archive(&through_link)).unwrap();
        world.voltar("restore", &["backup", "--in-place"]).run().expect_code(2).expect_text("symbolic link");
        assert_eq!(fs::read_to_string(world.at("outside/sentinel")).unwrap(), "safe");
    }
}

#[test]
fn the_last_member_of_a_name_is_restored() {
    use tar::EntryType as T;
    let world = World::new(false);
    let members = [("srv/x/a", T::Symlink, "/etc/passwd"), ("srv/x/a", T::Regular, ""), ("srv/x/a", T::Regular, "")];
    fs::remove_file(world.at("backup/x.tar.bz2")).unwrap();
    fs::write(world.at("backup/x.tar"), archive(&members)).unwrap();
    world.voltar("restore", &["backup"]).ok();
    assert_eq!(fs::read_to_string(world.live.join("a")).unwrap(), "evil");
    assert!(fs::symlink_metadata(world.live.join("a")).unwrap().is_file());
}

/// Kills a restore as soon as it has a staging directory.
fn killed_restore(world: &World) {
    let big: Vec<u8> = (0..1_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let mut archive = tar::Builder::new(Vec::new());
    for n in 0..10 {
        let mut header = tar::Header::new_gnu();
        header.set_size(big.len() as u64);
        header.set_uid(nix::unistd::geteuid().as_raw().into());
        header.set_gid(nix::unistd::getegid().as_raw().into());
        archive.append_data(&mut header, format!("srv/x/half {n}"), &big[..]).unwrap();
    }
    fs::create_dir_all(world.at("big")).unwrap();
    fs::write(world.at("big/x.tar"), archive.into_inner().unwrap()).unwrap();
    let run = world.voltar("restore", &["big"]).spawn(&world.at("log"));
    while world.staging_directories().is_empty() {
        std::thread::yield_now();
    }
    run.signal(nix::sys::signal::Signal::SIGKILL);
    run.wait();
    assert_eq!(world.staging_directories().len(), 1, "it was killed in the middle");
}

#[test]
fn every_command_recovers_a_killed_restore() {
    for world in World::both() {
        for (command, arguments) in
            [("backup", &["backup", "--overwrite"][..]), ("restore", &["backup"]), ("resume", &[])]
        {
            killed_restore(&world);
            // Of a run that was killed while it wrote a record.
            let half = world.at("state/restore-1-1.tmp");
            fs::write(&half, "{").unwrap();
            let output = world.voltar(command, arguments).ok();
            assert!(!half.exists(), "{output}");
            let output = output.expect_no_text("is archived like any file");
            output.expect_text("was interrupted").expect_text("content from before that run");
            world.assert_no_leftovers();
            world.first.assert_same(&world.now(), command);
        }
        let listed = world.voltar("list", &["backup/x.tar.bz2"]).ok().text();
        assert!(!listed.contains("half"), "{listed}");
    }
}

#[test]
fn verify_reads_by_other_libraries_too() {
    let world = World::new(false);
    for format in ["bz2", "gz", "zst", "tar"] {
        let file = format!("formats/x.tar.{format}").replace(".tar.tar", ".tar");
        world.voltar("backup", &["formats", "--paranoid", "--format", format]).ok();
        world.voltar("verify", &["--paranoid", &file]).ok();
        let mut damaged = fs::read(world.at(&file)).unwrap();
        // Of an uncompressed archive, only headers have checksums.
        let at = if format == "tar" { 100 } else { damaged.len() / 2 };
        damaged[at] ^= 1;
        fs::write(world.at("damaged"), damaged).unwrap();
        world.voltar("verify", &["--paranoid", "damaged"]).run().expect_code(2).expect_text("'damaged'");
    }
}

/// A backup that was killed when one of its two archives had its name.
fn killed_commit(world: &World) {
    let [given, lacking] = ["backup/y.tar.bz2", "backup/x.tar.bz2"].map(|name| world.at(name));
    fs::copy(&lacking, &given).unwrap();
    fs::rename(&lacking, world.at("backup/.x.tar.bz2.1.voltar-tmp")).unwrap();
    let announced = [(given, "y"), (world.at("backup/.x.tar.bz2.1.voltar-tmp"), "x")].map(|(file, name)| {
        let (inode, target) = (fs::metadata(file).unwrap().ino(), format!("{name}.tar.bz2"));
        format!(r#"{{"temporary":".{target}.1.voltar-tmp","target":"{target}","inode":{inode}}}"#)
    });
    let record = format!(r#"{{"version":1,"overwrite":false,"files":[{}]}}"#, announced.join(","));
    fs::write(world.at("backup/.voltar-commit.1"), record).unwrap();
}

#[test]
fn an_archive_that_cannot_be_examined_is_not_left_out() {
    let world = World::new(false);
    symlink("/nonexistent/y.tar.bz2", world.at("backup/y.tar.bz2")).unwrap();
    let refused = world.voltar("restore", &[]).run().expect_code(2);
    refused.expect_text("cannot examine 'backup/y.tar.bz2': No such file");
}

#[test]
fn a_killed_backup_is_completed_by_every_command_but_a_dry_run() {
    let world = World::new(false);
    killed_commit(&world);
    let before = TreeSnapshot::of(&world.at("backup"));
    for arguments in [&["-n", "backup"][..], &["-n", "backup", "--to", "new"]] {
        let refused = world.voltar("restore", arguments).run().expect_code(2);
        refused.expect_text("was interrupted while its archives got their names").expect_text("`voltar verify backup`");
        before.assert_same(&TreeSnapshot::of(&world.at("backup")), "a dry run");
    }
    for (command, arguments) in [
        ("verify", &["backup"][..]),
        ("verify", &["--against-volume", "backup"]),
        ("restore", &["backup"]),
        ("restore", &["backup", "--to", "new"]),
    ] {
        let text = world.voltar(command, arguments).run().text();
        assert!(
            text.contains("'backup/x.tar.bz2' is of a run that was killed after it was complete"),
            "{command}: {text}"
        );
        assert!(world.at("backup/x.tar.bz2").exists() && !world.at("backup/.voltar-commit.1").exists());
        fs::remove_file(world.at("backup/y.tar.bz2")).unwrap();
        killed_commit(&world);
    }
}

/// A restore from a pipe that is still open: it has staged what it got, and waits for the rest.
struct Waiting {
    run: Running,
    stdin: ChildStdin,
    rest: Vec<u8>,
}

impl Waiting {
    fn begin(world: &World) -> Self {
        let mut archive = fs::read(world.at("plain/x.tar")).unwrap();
        // The end of the last file, and the end of the archive.
        let rest = archive.split_off(archive.len() - (1 << 20));
        let restore = world.voltar("restore", &["-", "--only", "x"]);
        let (mut run, stdin) = restore.spawn_waiting(&archive, &world.at("log"));
        while world.staging_directories().is_empty() {
            assert!(!run.has_ended(), "{}", run.wait());
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Self { run, stdin, rest }
    }

    fn complete(mut self) -> Outcome {
        self.stdin.write_all(&self.rest).unwrap();
        drop(self.stdin);
        self.run.wait()
    }

    fn kill(self) {
        self.run.signal(Signal::SIGKILL);
        self.run.wait();
    }
}

/// Adds a large file to the tree, and an uncompressed archive of it.
fn with_large_file(world: &World) -> TreeSnapshot {
    fs::write(world.live.join("zz-large"), vec![b'x'; 8 << 20]).unwrap();
    world.voltar("backup", &["plain", "--format", "tar"]).ok();
    world.now()
}

#[test]
fn nothing_else_happens_to_a_tree_while_a_restore_into_it_is_in_progress() {
    for world in World::both() {
        let large = with_large_file(&world);
        world.voltar("restore", &["backup"]).ok();
        let waiting = Waiting::begin(&world);
        for (command, arguments, status) in [
            ("restore", &["backup"][..], 2),
            ("restore", &["-n", "backup"], 1),
            ("backup", &["other"], 2),
            ("plan", &["other"], 1),
        ] {
            let refused = world.voltar(command, arguments).run().expect_code(status);
            refused
                .expect_text("another restore into")
                .expect_text("is in progress")
                .expect_text("wait until it has ended");
        }
        assert!(!world.at("other").exists());
        world.voltar("resume", &[]).ok();
        assert_eq!(world.staging_directories().len(), 1, "it is not taken for a leftover");
        waiting.complete().expect_code(0);
        large.assert_same(&world.now(), "after all");
        world.assert_no_leftovers();
    }
}

/// A backup into a pipe, which has begun to read the tree and goes on once somebody reads the pipe.
fn stalled_backup(world: &World) -> Child {
    let line =
        format!("exec {} backup - --format tar --layout x.toml --data-root docker 2>log", env!("CARGO_BIN_EXE_voltar"));
    let backup = Tool::shell(&line).dir(world.scratch.path()).env("VOLTAR_STATE_DIR", world.at("state"));
    let mut backup = backup.stream();
    backup.stdout.as_mut().unwrap().read_exact(&mut [0; 512]).unwrap();
    backup
}

/// Returns the exit status and the messages of a backup into a pipe.
fn ended(mut backup: Child, world: &World) -> (Option<i32>, String) {
    std::io::copy(backup.stdout.as_mut().unwrap(), &mut std::io::sink()).unwrap();
    let status = backup.wait().unwrap();
    (status.code(), fs::read_to_string(world.at("log")).unwrap())
}

#[test]
fn a_backup_of_a_tree_that_is_restored_meanwhile_is_never_taken_for_complete() {
    for world in World::both() {
        with_large_file(&world);
        for number in 0..4000 {
            let directory = world.live.join(format!("many/{number}"));
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("file"), [b'x'; 4096]).unwrap();
        }
        let backup = stalled_backup(&world);
        world.voltar("restore", &["backup"]).ok();
        let (code, text) = ended(backup, &world);
        if world.is_bind() {
            assert!(code == Some(1) && text.contains("the directory '.' changed while it was read"), "{code:?} {text}");
        } else {
            let why = "_data' is no longer the directory that was found at first";
            assert!(code == Some(2) && text.contains(why), "{code:?} {text}");
        }
        fs::write(world.live.join("zz-large"), vec![b'x'; 8 << 20]).unwrap();
        let backup = stalled_backup(&world);
        let restore = Waiting::begin(&world);
        let (code, text) = ended(backup, &world);
        assert!(code == Some(2) && text.contains("another restore into"), "{code:?} {text}");
        restore.complete().expect_code(0);
    }
}

/// What the exits of these runs say is true of the tree.
#[test]
fn runs_at_once_never_touch_what_another_one_has_staged() {
    let rounds = std::env::var("VOLTAR_ROUNDS").map_or(8, |rounds| rounds.parse().unwrap());
    for world in World::both() {
        let large = with_large_file(&world);
        for round in 0..rounds {
            let log = |number: usize| world.at(&format!("log {number}"));
            let runs = [
                world.voltar("restore", &["backup"]).spawn(&log(0)),
                world.voltar("restore", &["plain"]).spawn(&log(1)),
                world.voltar("backup", &["archives", "--overwrite", "--format", "gz"]).spawn(&log(2)),
                world.voltar("backup", &["archives", "--overwrite", "--format", "gz"]).spawn(&log(3)),
                world.voltar("resume", &[]).spawn(&log(4)),
            ];
            let outcomes = runs.map(Running::wait);
            for outcome in &outcomes {
                let code = outcome.status.code().unwrap();
                let text = outcome.text();
                let is_refused =
                    ["in progress", "was found at first", "replaced meanwhile", "File exists", "is in use by"]
                        .iter()
                        .any(|why| text.contains(why));
                // A backup can see that the tree is being replaced.
                assert!(code < 2 || is_refused, "round {round}: {outcome}");
            }
            let now = world.now();
            let [first, second] = [&outcomes[0], &outcomes[1]].map(|outcome| outcome.status.code() == Some(0));
            let is_first = world.first.clone().without_root() == now.clone().without_root();
            let is_large = large.clone().without_root() == now.without_root();
            assert!(is_first || is_large, "round {round}: neither tree");
            assert!(first || second, "round {round}: none of the two was carried out");
            world.assert_no_leftovers();
            let left: Vec<_> = fs::read_dir(world.at("state")).unwrap().collect();
            assert!(left.is_empty(), "round {round}: {left:?}");
            if world.at("archives/x.tar.gz").exists() {
                world.voltar("verify", &["archives"]).ok();
            }
            let hidden = |name: String| name.starts_with('.');
            let names = fs::read_dir(world.at("archives")).map(|names| names.map(|name| name.unwrap().file_name()));
            for name in names.into_iter().flatten() {
                assert!(!hidden(name.into_string().unwrap()), "round {round}: a leftover");
            }
        }
    }
}

#[test]
fn a_record_that_cannot_be_read_blocks_nothing_but_itself() {
    for world in World::both() {
        with_large_file(&world);
        let path = world.at("state/restore-1-1.json");
        for text in ["{", "{\"version\":99}", "\u{0}\u{1}"] {
            Waiting::begin(&world).kill();
            fs::write(&path, text).unwrap();
            fs::write(world.at("state/stopped-1-1.json"), text).unwrap();
            let resumed = world.voltar("resume", &[]).run().expect_code(1).expect_text("was interrupted; it holds");
            let named = |outcome: common::tool::Outcome| {
                let said = outcome.expect_text("restore-1-1.json").expect_text("stopped-1-1.json");
                said.expect_text("another version of voltar")
            };
            named(resumed).expect_text("remove this file");
            world.assert_no_leftovers();
            named(world.voltar("restore", &["backup"]).run().expect_code(1));
            world.first.assert_same(&world.now(), "restored nevertheless");
            named(world.voltar("backup", &["again", "--overwrite"]).run().expect_code(1));
            assert_eq!(fs::read_to_string(&path).unwrap(), text, "it is left for who can read it");
            fs::remove_file(&path).unwrap();
            fs::remove_file(world.at("state/stopped-1-1.json")).unwrap();
        }
    }
}

/// A container can write anything in its volume, also what looks like the work of a killed restore.
#[test]
fn what_a_container_writes_is_never_taken_for_a_killed_restore() {
    for world in World::both() {
        let inside = world.live.clone();
        fs::create_dir(world.at("host")).unwrap();
        fs::write(world.at("host/file"), "the host's").unwrap();
        let status = fs::metadata(world.at("host")).unwrap();
        let journal = format!(
            r#"{{"version":1,"phase":"in","keep":"{}","new_root":{{"device":{},"inode":{}}}}}"#,
            world.at("host").display(),
            status.dev(),
            status.ino()
        );
        for name in [".voltar-restore", ".voltar-restore-1-1", ".voltar-previous-1"] {
            let forged = inside.join(name);
            fs::create_dir(&forged).unwrap();
            fs::write(forged.join("journal.json"), &journal).unwrap();
            symlink(world.at("host"), forged.join("tree")).unwrap();
            symlink(world.at("host"), forged.join("old")).unwrap();
        }
        fs::write(inside.join(".voltar-restore-2"), "").unwrap();
        let before = world.now();
        world.voltar("resume", &[]).ok();
        let archived = world.voltar("backup", &["again"]).ok();
        archived.expect_text("'.voltar-restore-1-1' is archived like any file: no restore on record has made it");
        before.assert_same(&world.now(), "it is the user's");
        let listed = world.voltar("list", &["again/x.tar.bz2"]).ok().text();
        assert!(listed.contains("srv/x/.voltar-restore/journal.json"), "{listed}");
        world.voltar("restore", &["backup"]).ok();
        world.first.assert_same(&world.now(), "replaced like everything else");
        world.voltar("restore", &["again"]).ok();
        before.assert_same(&world.now(), "restored like everything else");
        assert_eq!(fs::read_to_string(world.at("host/file")).unwrap(), "the host's");
        assert_eq!(fs::read_dir(world.at("host")).unwrap().count(), 1);
    }
}

#[test]
fn a_kept_tree_is_in_no_archive_and_later_restores_leave_it() {
    for world in World::both() {
        world.change();
        world.voltar("restore", &["backup", "--keep-previous"]).ok();
        let kept = |world: &World| {
            let parent = if world.is_bind() { world.live.as_path() } else { world.live.parent().unwrap() };
            let names = fs::read_dir(parent).unwrap().map(|entry| entry.unwrap().path());
            names.filter(|path| path.to_str().unwrap().contains(".voltar-previous-")).collect::<Vec<_>>()
        };
        let [path] = &kept(&world)[..] else { panic!() };
        world.voltar("backup", &["again"]).ok();
        let listed = world.voltar("list", &["again/x.tar.bz2"]).ok().text();
        assert!(!listed.contains(".voltar-previous"), "{listed}");
        for mode in MODES {
            world.voltar("restore", &["backup"]).args(mode).ok();
            assert_eq!(fs::read_to_string(path.join("both")).unwrap(), "changed", "{mode:?}");
        }
        world.voltar("resume", &[]).ok();
        assert!(path.exists());
        // An archive that others made holds what was kept.
        if world.is_bind() {
            fs::create_dir(world.at("theirs")).unwrap();
            fs::write(path.join("both"), "archived").unwrap();
            let source = world.live.parent().unwrap().to_str().unwrap();
            Tool::shell(&format!(
                "tar --numeric-owner -C {source} --transform 's,^bound,srv/x,' -cf theirs/x.tar bound"
            ))
            .dir(world.scratch.path())
            .ok();
            fs::write(path.join("both"), "changed").unwrap();
            for mode in MODES {
                let restored = world.voltar("restore", &["theirs"]).args(mode).run().expect_code(1);
                restored.expect_text("is not restored: '").expect_text("' here is voltar's own");
                assert_eq!(fs::read_to_string(path.join("both")).unwrap(), "changed", "{mode:?}");
            }
        }
        // Also if the record that names it cannot be read.
        let mut names = fs::read_dir(world.at("state")).unwrap().map(|entry| entry.unwrap().path());
        let record = names.find(|path| path.to_str().unwrap().contains("/kept-")).unwrap();
        fs::write(record, "{").unwrap();
        world.voltar("restore", &["backup"]).run().expect_code(1).expect_text("cannot understand");
        assert_eq!(fs::read_to_string(path.join("both")).unwrap(), "changed");
    }
}

#[test]
fn a_root_that_the_archive_does_not_have_stays_as_it_is() {
    for world in World::both() {
        fs::create_dir(world.at("rootless")).unwrap();
        fs::write(world.at("rootless/x.tar"), archive(&[("srv/x/file", tar::EntryType::Regular, "")])).unwrap();
        fs::set_permissions(&world.live, fs::Permissions::from_mode(0o751)).unwrap();
        let root = || {
            let status = fs::metadata(&world.live).unwrap();
            (status.mode() & 0o7777, status.uid(), status.gid())
        };
        for mode in [&[][..], &["--in-place"]] {
            let before = root();
            world.voltar("restore", &["rootless"]).args(mode).ok();
            assert!(world.live.join("file").exists());
            assert_eq!(root(), before, "{mode:?}");
        }
    }
}

#[test]
fn an_empty_archive_does_not_empty_a_volume() {
    let world = World::new(false);
    fs::remove_file(world.at("backup/x.tar.bz2")).unwrap();
    fs::write(world.at("backup/x.tar"), archive(&[("srv/x/", tar::EntryType::Directory, "")])).unwrap();
    world.voltar("restore", &["backup"]).run().expect_code(2).expect_text("--allow-empty");
    world.first.assert_same(&world.now(), "refused");
    world.voltar("restore", &["backup", "--allow-empty"]).ok();
    assert_eq!(fs::read_dir(&world.live).unwrap().count(), 0);
}

#[test]
fn a_directory_that_became_a_file_in_the_archive_is_a_file() {
    for world in World::both() {
        fs::remove_file(world.at("backup/x.tar.bz2")).unwrap();
        let members = [
            ("srv/x/", tar::EntryType::Directory, ""),
            ("srv/x/a/", tar::EntryType::Directory, ""),
            ("srv/x/a/below/", tar::EntryType::Directory, ""),
            ("srv/x/a/below/file", tar::EntryType::Regular, ""),
            ("srv/x/a/file", tar::EntryType::Regular, ""),
            // As after `tar -r`.
            ("srv/x/a", tar::EntryType::Regular, ""),
        ];
        fs::write(world.at("backup/x.tar"), archive(&members)).unwrap();
        for mode in [&[][..], &["--in-place"]] {
            world.voltar("restore", &["backup"]).args(mode).ok();
            assert!(world.live.join("a").is_file());
            assert_eq!(fs::read_dir(&world.live).unwrap().count(), 1);
            world.voltar("verify", &["backup", "--against-volume"]).ok();
            world.assert_no_leftovers();
            fs::remove_file(world.live.join("a")).unwrap();
        }
        // As `tar -x`, which does not replace it either.
        let run = world.voltar("restore", &["backup", "--merge"]).run().expect_code(2);
        run.expect_text("x: cannot create 'a': a directory with content has this name, which --merge keeps");
        assert!(world.live.join("a/below/file").exists());
    }
}

#[test]
fn a_live_directory_is_replaced_in_place_by_the_file_of_the_archive() {
    for world in World::both() {
        for name in ["both", "directory/file", "directory/link"] {
            fs::remove_file(world.live.join(name)).unwrap();
            fs::create_dir_all(world.live.join(name).join("below/that")).unwrap();
            fs::write(world.live.join(name).join("below/new"), "new").unwrap();
        }
        world.voltar("restore", &["backup", "--in-place"]).ok();
        world.first.assert_same(&world.now(), "in place");
        world.assert_no_leftovers();
    }
}

#[test]
fn what_has_the_name_of_a_directory_is_replaced_in_place_also_where_no_member_is_that_directory() {
    use tar::EntryType as T;
    for world in World::both() {
        fs::remove_file(world.at("backup/x.tar.bz2")).unwrap();
        // As by `find -type f | tar -T -`.
        let members = [("srv/x/a/b/file", T::Regular, ""), ("srv/x/both/file", T::Regular, "")];
        fs::write(world.at("backup/x.tar"), archive(&members)).unwrap();
        symlink(world.live.join("directory"), world.live.join("a")).unwrap();
        world.voltar("restore", &["backup", "--in-place"]).ok();
        for name in ["a/b", "both"] {
            assert_eq!(fs::read_to_string(world.live.join(name).join("file")).unwrap(), "evil");
        }
        assert_eq!(fs::read_dir(&world.live).unwrap().count(), 2);
        world.voltar("verify", &["backup", "--against-volume"]).ok();
        world.assert_no_leftovers();
    }
}

#[test]
fn a_hard_link_to_what_only_the_volume_has_is_refused_in_place() {
    use tar::EntryType as T;
    let world = World::new(false);
    fs::remove_file(world.at("backup/x.tar.bz2")).unwrap();
    for members in [[("srv/x/new", T::Link, "srv/x/both")], [("srv/x/both", T::Link, "srv/x/both")]] {
        fs::write(world.at("backup/x.tar"), archive(&members)).unwrap();
        for mode in [&[][..], &["--in-place"]] {
            let run = world.voltar("restore", &["backup"]).args(mode).run().expect_code(2);
            run.expect_text("is a hard link to 'both', which the archive does not hold before it");
        }
    }
}

#[test]
fn the_record_of_a_kept_tree_goes_with_the_tree() {
    for world in World::both() {
        let records = || {
            let names = fs::read_dir(world.at("state")).unwrap().map(|entry| entry.unwrap().file_name());
            names.filter(|name| name.to_str().unwrap().starts_with("kept-")).count()
        };
        world.voltar("restore", &["backup", "--keep-previous"]).ok();
        world.voltar("restore", &["backup", "--keep-previous"]).ok();
        world.voltar("resume", &[]).ok();
        assert_eq!(records(), 2);
        let beside = if world.is_bind() { &*world.live } else { world.live.parent().unwrap() };
        let kept = fs::read_dir(beside).unwrap().map(|entry| entry.unwrap().path());
        let kept: Vec<_> = kept.filter(|path| path.to_str().unwrap().contains("/.voltar-previous-")).collect();
        for (left, command) in [(1, &["backup", "--overwrite"][..]), (0, &["resume"])] {
            fs::remove_dir_all(&kept[left]).unwrap();
            world.voltar(command[0], &command[1..]).ok();
            assert_eq!(records(), left);
        }
    }
}

#[test]
fn of_several_formats_in_a_directory_the_newest_is_restored() {
    let world = World::new(false);
    world.change();
    let changed = world.now();
    world.voltar("backup", &["later", "--format", "tar"]).ok();
    let later = world.at("backup/x.tar");
    fs::rename(world.at("later/x.tar"), &later).unwrap();
    for (seconds, newest) in [(1_000_000_000, "backup/x.tar.bz2"), (4_000_000_000, "backup/x.tar")] {
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_secs(seconds);
        fs::File::open(&later).unwrap().set_modified(time).unwrap();
        let run = world.voltar("restore", &["backup"]).ok();
        run.expect_text(&format!("'{newest}' is used, which is newer than"));
        let expected = if newest.ends_with("bz2") { &world.first } else { &changed };
        expected.assert_same(&world.now(), newest);
    }
}
