//! Black-box tests of `restore --path`, which restores a part of an archive into a volume, and of `restore --to`, which
//! restores into a new directory. They use a data root; neither an engine nor root is needed. GNU tar is the oracle.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]

mod common;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use common::data_root::DataRoot;
use common::hostile::archive;
use common::snapshot::TreeSnapshot;
use common::tool::{Outcome, Tool};
use common::tree::{Node, build, dir, file, hard_link, link, trees};
use nix::sys::signal::Signal;
use proptest::prelude::*;
use proptest::sample::Index;
use tar::EntryType as T;
use tempfile::TempDir;

/// A stopped container `web` with a tree at `/srv/data`: a volume or a bind mount.
struct World {
    scratch: TempDir,
    docker: DataRoot,
    live: PathBuf,
}

impl World {
    fn new(bind: bool, nodes: &[Node]) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let docker = DataRoot::new(&scratch.path().join("docker"));
        docker.volume("other");
        let live = if bind { scratch.path().join("bound") } else { docker.volume("data") };
        let container = docker.container("web").mount("other", "/other");
        if bind {
            fs::create_dir(&live).unwrap();
            container.bind(&live, "/srv/data").write();
        } else {
            container.mount("data", "/srv/data").write();
        }
        let entry =
            |name: &str, path: &str| format!("[[archive]]\nname = '{name}'\ncontainer = 'web'\npath = '{path}'\n");
        let layout = entry("data", "/srv/data") + &entry("other", "/other");
        fs::write(scratch.path().join("layout.toml"), layout).unwrap();
        build(&live, nodes);
        fs::write(docker.data("other").join("file"), "other").unwrap();
        let world = Self { scratch, docker, live };
        world.voltar("backup", &["backup", "--format", "tar"]).run();
        world
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn voltar(&self, command: &str, args: &[&str]) -> Tool {
        let tool = Tool::voltar().dir(self.scratch.path()).env("VOLTAR_STATE_DIR", self.at("state"));
        tool.args([command, "--data-root", "docker", "--layout", "layout.toml"]).args(args)
    }

    fn part(&self, path: &str, args: &[&str]) -> Outcome {
        self.voltar("restore", &[&["--only", "data", "--path", path], args].concat()).run()
    }

    /// Restores without a data root or an engine.
    fn to(&self, args: &[&str]) -> Tool {
        let tool = Tool::voltar().dir(self.scratch.path()).env("VOLTAR_STATE_DIR", self.at("no-state"));
        tool.env("DOCKER_HOST", "tcp://192.0.2.1:1").args(["restore", "--layout", "layout.toml"]).args(args)
    }

    /// What GNU tar extracts from the archive of the volume.
    fn extracted_by_tar(&self) -> PathBuf {
        let to = self.at("gnu");
        fs::create_dir(&to).unwrap();
        let tar = Tool::new("tar").arg("-xpf").arg(self.at("backup/data.tar"));
        tar.args(["--numeric-owner", "--strip-components=2", "-C"]).arg(&to).run();
        // GNU tar skips the root's own member.
        to
    }

    /// Nothing of a restore is left.
    #[track_caller]
    fn is_clean(&self) {
        let names = |directory: &Path| -> Vec<String> {
            let entries = fs::read_dir(directory).into_iter().flatten();
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
        };
        let left = [self.live.clone(), self.live.parent().unwrap().to_owned(), self.at("")];
        for directory in left {
            assert!(names(&directory).iter().all(|name| !name.contains(".voltar-")), "{:?}", names(&directory));
        }
        let records = names(&self.at("state"));
        // A record that was being written when the run was killed is none.
        let is_record = |name: &String| name.starts_with("restore-") && !name.contains(".tmp");
        assert!(!records.iter().any(is_record), "{records:?}");
    }
}

fn some_tree() -> Vec<Node> {
    vec![
        dir("").mtime(1_000_000_000, 0).mode(0o755),
        dir("data").mode(0o751).mtime(1_000_000_001, 0),
        dir("data/42").mode(0o750).mtime(1_000_000_002, 0),
        file("data/42/file", "archived").mode(0o640).mtime(1_000_000_003, 0),
        link("data/42/link", "/etc/passwd").mtime(1_000_000_004, 0),
        hard_link("data/42/second", "data/42/file"),
        dir("data/43"),
        hard_link("data/43/outside", "data/42/file"),
        hard_link("data/43/twice", "data/42/file"),
        file("top", "archived").mtime(1_000_000_005, 0),
    ]
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

#[test]
fn a_part_takes_the_place_of_what_is_there_and_nothing_else_changes() {
    for bind in [false, true] {
        for args in [&[][..], &["--keep-previous"]] {
            let world = World::new(bind, &some_tree());
            let archived = TreeSnapshot::of(&world.live.join("data/42"));
            fs::write(world.live.join("data/42/file"), "changed").unwrap();
            fs::write(world.live.join("data/42/new"), "new").unwrap();
            fs::write(world.live.join("top"), "newer").unwrap();
            fs::create_dir(world.live.join("data/44")).unwrap();
            fs::remove_dir_all(world.live.join("data/43")).unwrap();
            let before = TreeSnapshot::of(&world.live).without("data/42");
            world.part("data/42", args).expect_code(0);
            archived.assert_same(&TreeSnapshot::of(&world.live.join("data/42")), "the part");
            let mut after = TreeSnapshot::of(&world.live).without("data/42");
            if args.is_empty() {
                world.is_clean();
            } else {
                let kept = fs::read_dir(&world.live).unwrap().map(|entry| entry.unwrap().file_name());
                let kept =
                    kept.into_iter().find(|name| name.to_string_lossy().starts_with(".voltar-previous-")).unwrap();
                assert_eq!(read(&world.live.join(&kept).join("data/42/file")), "changed");
                after = after.without(kept.to_str().unwrap());
                // It is no part of the volume for a backup.
                world.voltar("verify", &["--against-volume", "--only", "data"]).run().expect_no_text("previous");
            }
            before.assert_same(&after, "all but the part");
        }
    }
}

#[test]
fn what_does_not_exist_is_made_with_its_directories() {
    for bind in [false, true] {
        for args in [&[][..], &["--merge"]] {
            let world = World::new(bind, &some_tree());
            let gnu = world.extracted_by_tar();
            fs::remove_dir_all(world.live.join("data")).unwrap();
            let others = TreeSnapshot::of(&world.live).without("data").without_root();
            world.part("data/42/file", args).expect_code(0);
            assert_eq!(read(&world.live.join("data/42/file")), "archived");
            let expected = TreeSnapshot::of(&gnu.join("data"));
            let expected = expected.without("43").without("42/link").without("42/second");
            let found = TreeSnapshot::of(&world.live.join("data"));
            // One link of three.
            let lines: Vec<String> =
                expected.diff(&found).into_iter().filter(|line| !line.contains("same file")).collect();
            assert!(lines.iter().all(|line| line.contains("42/file")) && lines.len() <= 1, "{lines:?}");
            others.assert_same(&TreeSnapshot::of(&world.live).without("data").without_root(), "the others");
            world.is_clean();
        }
    }
}

#[test]
fn merging_keeps_what_the_archive_does_not_name() {
    let world = World::new(false, &some_tree());
    fs::write(world.live.join("data/42/file"), "changed").unwrap();
    fs::write(world.live.join("data/42/new"), "new").unwrap();
    fs::write(world.live.join("top"), "newer").unwrap();
    fs::set_permissions(world.live.join("data"), PermissionsExt::from_mode(0o700)).unwrap();
    world.part("data/42", &["--merge"]).expect_code(0);
    assert_eq!(read(&world.live.join("data/42/file")), "archived");
    assert_eq!(read(&world.live.join("data/42/new")) + &read(&world.live.join("top")), "newnewer");
    assert_eq!(world.live.join("data").metadata().unwrap().mode() & 0o7777, 0o700);
}

#[test]
fn anything_can_take_the_place_of_anything() {
    type Make<'a> = &'a dyn Fn(&Path);
    let makes: [(&str, Make<'_>); 4] = [
        ("file", &|at| fs::write(at, "live").unwrap()),
        ("directory", &|at| put(&at.join("below/file"), "live")),
        ("link", &|at| symlink("/etc", at).unwrap()),
        ("nothing", &|_| {}),
    ];
    for bind in [false, true] {
        for path in ["top", "data/42", "data/42/link", "data/43/outside"] {
            for (kind, make) in makes {
                let world = World::new(bind, &some_tree());
                let gnu = world.extracted_by_tar();
                let at = world.live.join(path);
                if at.is_dir() { fs::remove_dir_all(&at) } else { fs::remove_file(&at) }.unwrap();
                make(&at);
                world.part(path, &[]).expect_code(0);
                let context = format!("{path} in place of {kind}");
                let part = |root: &Path| {
                    let status = root.join(path).symlink_metadata().unwrap();
                    (status.mode(), status.mtime(), status.size(), status.uid())
                };
                assert_eq!(part(&gnu), part(&world.live), "{context}");
                TreeSnapshot::of(&gnu.join(path)).assert_same(&TreeSnapshot::of(&at), &context);
                world.is_clean();
            }
        }
    }
    assert!(Path::new("/etc/passwd").exists());
}

#[test]
fn several_parts_and_names_as_listed() {
    let world = World::new(false, &some_tree());
    let gnu = world.extracted_by_tar();
    fs::remove_dir_all(world.live.join("data")).unwrap();
    fs::write(world.live.join("top"), "changed").unwrap();
    let run = world.part("data/43", &["--path", "/srv/data/top", "--path", "srv/data/data/42", "-n"]).expect_code(0);
    run.expect_text("only       'data/42', with").expect_text("'data/43', with").expect_text("only       'top', with");
    let document = world.part("top", &["-n", "--json"]).expect_code(0).answer();
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["archives"][0]["paths"], serde_json::json!(["top"]));
    let run = world.part("data/43", &["--path", "/srv/data/top", "--path", "srv/data/data/42"]).expect_code(0);
    run.expect_no_text("lead out of");
    TreeSnapshot::of(&gnu.join("data")).assert_same(&TreeSnapshot::of(&world.live.join("data")), "both directories");
    assert_eq!(read(&world.live.join("top")), "archived");
}

#[test]
fn members_outside_of_the_parts_are_counted() {
    let nodes = [dir(""), dir("d"), file("d/one", "1"), file("two", "2"), file("three", "3")];
    let events = World::new(false, &nodes).part("d", &["backup", "--json"]).expect_code(0).answer();
    let finished = events.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let finished = finished.filter(|event| event["event"] == "finished").map(|event| event["left_out"].as_u64());
    assert_eq!(finished.collect::<Vec<_>>(), [Some(2)], "{events}");
}

#[test]
fn a_hard_link_to_another_part_becomes_a_file() {
    for args in [&[][..], &["--merge"]] {
        let world = World::new(false, &some_tree());
        fs::remove_dir_all(world.live.join("data")).unwrap();
        let run = world.part("data/43", args).expect_code(0);
        let run = run.expect_text("2 hard links lead out of what is restored and become files of their own");
        run.expect_text("'data/43/outside' is a hard link to 'data/42/file'");
        let [one, two] = ["data/43/outside", "data/43/twice"].map(|name| world.live.join(name).metadata().unwrap());
        assert_eq!(read(&world.live.join("data/43/outside")), "archived");
        assert_eq!((one.ino(), one.nlink(), one.mode() & 0o7777), (two.ino(), 2, 0o640));
        assert_eq!(one.mtime(), 1_000_000_003);
        assert!(!world.live.join("data/42").exists());
        // The link alone, without a directory.
        fs::remove_dir_all(world.live.join("data")).unwrap();
        world.part("data/43/outside", args).expect_code(0);
        assert_eq!(read(&world.live.join("data/43/outside")), "archived");
        // A stream cannot be read again.
        let stream = fs::read(world.at("backup/data.tar")).unwrap();
        let run = world.voltar("restore", &["--only", "data", "--path", "data/43", "-"]).input(stream.clone()).run();
        run.expect_code(2).expect_text("can be read only once");
        world.voltar("restore", &["--only", "data", "--path", "data/42", "-"]).input(stream).ok();
        assert_eq!(read(&world.live.join("data/42/file")), "archived");
    }
}

/// A stream cannot be searched before it is extracted.
#[test]
fn what_a_stream_does_not_hold_is_not_removed() {
    let world = World::new(false, &some_tree());
    fs::write(world.live.join("nothing"), "live").unwrap();
    let before = TreeSnapshot::of(&world.live);
    let stream = fs::read(world.at("backup/data.tar")).unwrap();
    let paths = ["--only", "data", "--path", "data/42", "--path", "nothing", "-"];
    let run = world.voltar("restore", &paths).input(stream).run();
    run.expect_code(2).expect_text("holds nothing at or below 'nothing'");
    before.assert_same(&TreeSnapshot::of(&world.live), "refused");
    world.is_clean();
}

#[test]
fn what_cannot_be_restored_is_refused_and_nothing_changes() {
    let world = World::new(false, &some_tree());
    fs::rename(world.live.join("data"), world.live.join("moved")).unwrap();
    symlink("moved", world.live.join("data")).unwrap();
    let before = TreeSnapshot::of(&world.live);
    for (path, args, text) in [
        ("nothing", &[][..], "'backup/data.tar' holds nothing at or below 'nothing'"),
        ("data/4", &[], "holds nothing at or below 'data/4'"),
        ("data/42/file/x", &[], "holds nothing at or below"),
        (".", &[], "is the whole tree of data"),
        ("/srv/data", &[], "is the whole tree of data"),
        ("../x", &[], "the name holds '..'"),
        ("data/42", &[], "is a symbolic link or a file: nothing can be restored below it"),
        ("data/42", &["--merge"], "is a symbolic link or a file: nothing can be restored below it"),
        ("data", &["--in-place"], "cannot be used with"),
    ] {
        world.part(path, args).expect_code(2).expect_text(text);
        before.assert_same(&TreeSnapshot::of(&world.live), path);
        world.is_clean();
    }
    for (path, code) in [("nothing", 1), ("data/42", 1), (".", 1), ("top", 0)] {
        world.part(path, &["-n"]).expect_code(code);
    }
    let several = world.voltar("restore", &["--path", "top"]).run().expect_code(2);
    several.expect_text("--path is for one archive, and there are 2: data, other").expect_text("--only NAME");
    // The link itself can be replaced.
    world.part("data", &[]).expect_code(0);
    assert_eq!(read(&world.live.join("data/42/file")), "archived");
}

#[test]
fn a_name_that_can_be_two_things_is_refused() {
    let world = World::new(false, &[file("srv/data/x", "inner"), file("x", "outer")].map(parents).concat());
    let run = world.part("srv/data/x", &[]).expect_code(2).expect_text("can be two things");
    run.expect_text("say 'x' for the first, 'srv/data/srv/data/x' for the second");
    for (path, name) in [("x", "x"), ("srv/data/srv/data/x", "srv/data/x")] {
        let [other] = ["x", "srv/data/x"].into_iter().filter(|one| *one != name).collect::<Vec<_>>()[..] else {
            panic!()
        };
        for changed in ["x", "srv/data/x"] {
            fs::write(world.live.join(changed), "changed").unwrap();
        }
        world.part(path, &[]).expect_code(0);
        assert_ne!(read(&world.live.join(name)), "changed");
        assert_eq!(read(&world.live.join(other)), "changed");
    }
}

/// The node, and the directories of `srv/data`.
fn parents(node: Node) -> Vec<Node> {
    vec![dir("srv"), dir("srv/data"), node]
}

#[test]
fn mounts_in_a_part_and_beside_it() {
    let scratch = tempfile::tempdir().unwrap();
    let docker = DataRoot::new(&scratch.path().join("docker"));
    let [data, cache] = ["data", "cache"].map(|name| docker.volume(name));
    docker.container("web").mount("data", "/srv").mount("cache", "/srv/app/cache").write();
    let layout = "[[archive]]\nname = 'srv'\ncontainer = 'web'\npath = '/srv'\n";
    fs::write(scratch.path().join("layout.toml"), layout).unwrap();
    put(&data.join("app/file"), "archived");
    put(&data.join("other"), "archived");
    fs::create_dir_all(data.join("app/cache")).unwrap();
    put(&cache.join("deep/file"), "archived");
    let voltar = |command: &str, args: &[&str]| {
        let tool = Tool::voltar().dir(scratch.path()).env("VOLTAR_STATE_DIR", scratch.path().join("state"));
        tool.args([command, "--data-root", "docker", "--layout", "layout.toml"]).args(args).ok()
    };
    voltar("backup", &["backup"]);
    let files = [data.join("app/file"), data.join("other"), cache.join("deep/file")];
    let change = || files.iter().for_each(|file| put(file, "changed"));
    for (path, expected) in [
        ("app", ["archived", "changed", "archived"]),
        ("app/cache", ["changed", "changed", "archived"]),
        ("app/cache/deep", ["changed", "changed", "archived"]),
        ("app/file", ["archived", "changed", "changed"]),
        ("other", ["changed", "archived", "changed"]),
    ] {
        for args in [&[][..], &["--merge"]] {
            change();
            voltar("restore", &[&["--path", path], args].concat());
            assert_eq!(files.each_ref().map(|file| read(file)), expected, "{path}");
        }
    }
}

#[test]
fn a_killed_restore_of_a_part_is_undone() {
    // So large that it is killed while it extracts, and again and again at other moments.
    let large: Vec<u8> = (0..6_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let world =
        World::new(false, &[dir("part"), file("part/large", large), file("part/file", "archived"), dir("other")]);
    fs::write(world.live.join("part/file"), "live").unwrap();
    let before = TreeSnapshot::of(&world.live);
    let mut killed = 0;
    for milliseconds in [5, 20, 40, 60, 90] {
        let run = world.voltar("restore", &["--only", "data", "--path", "part"]).spawn(&world.at("log"));
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        run.signal(Signal::SIGKILL);
        let run = run.wait();
        killed += usize::from(run.killed_by().is_some());
        world.voltar("resume", &[]).ok();
        world.is_clean();
        if run.killed_by().is_none() || read(&world.live.join("part/file")) == "archived" {
            break;
        }
        before.assert_same(&TreeSnapshot::of(&world.live), "after recovery");
    }
    assert!(killed > 0, "no run was killed");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_random_part_is_what_gnu_tar_extracts(archived in trees(25), live in trees(20), which in any::<Index>()) {
        let world = World::new(false, &archived);
        let gnu = world.extracted_by_tar();
        let mut paths = Vec::new();
        visit(&gnu, Path::new(""), &mut paths);
        prop_assume!(!paths.is_empty());
        let path = which.get(&paths).clone();
        fs::remove_dir_all(&world.live).unwrap();
        build(&world.live, &live);
        // Without what is replaced: the outermost missing directory, or the path.
        let rest = world.at("rest");
        Tool::new("cp").arg("-a").arg(&world.live).arg(&rest).ok();
        let outermost = path.ancestors().filter(|at| !at.as_os_str().is_empty())
            .filter(|at| world.live.join(at).symlink_metadata().is_err()).last().unwrap_or(&path).to_owned();
        let is_led_astray = path.ancestors().skip(1).any(|at| {
            world.live.join(at).symlink_metadata().is_ok_and(|status| !status.is_dir())
        });
        // A name can begin like an option.
        let option: OsString = [OsStr::new("--path="), path.as_os_str()].into_iter().collect();
        let run = world.voltar("restore", &["--only", "data"]).arg(option).run();
        if is_led_astray {
            run.expect_code(2);
            TreeSnapshot::of(&rest).assert_same(&TreeSnapshot::of(&world.live), "refused");
            return Ok(());
        }
        run.expect_code(0);
        let in_rest = rest.join(&outermost);
        let parent = in_rest.parent().unwrap();
        if in_rest.symlink_metadata().is_ok() {
            Tool::new("rm").arg("-rf").arg(&in_rest).ok();
            Tool::new("touch").arg("-r").arg(world.live.join(&outermost).parent().unwrap()).arg(parent).ok();
        }
        // The part is what GNU tar extracts.
        let part = TreeSnapshot::of(&gnu.join(&path)).carried_by_tar();
        part.assert_same(&TreeSnapshot::of(&world.live.join(&path)).carried_by_tar(), "the part");
        for above in path.ancestors().skip(1).filter(|at| at.starts_with(&outermost)) {
            let attributes = |root: &Path| {
                let status = root.join(above).symlink_metadata().unwrap();
                (status.mode(), status.uid(), status.gid(), status.mtime())
            };
            prop_assert_eq!(attributes(&gnu), attributes(&world.live));
        }
        // The rest is what it was.
        let taken = world.at("taken");
        fs::rename(world.live.join(&outermost), &taken).unwrap();
        let holder = world.live.join(&outermost);
        Tool::new("touch").arg("-r").arg(parent).arg(holder.parent().unwrap()).ok();
        TreeSnapshot::of(&rest).assert_same(&TreeSnapshot::of(&world.live), "the rest");
        world.is_clean();
    }

    #[test]
    fn a_new_directory_is_what_gnu_tar_extracts(archived in trees(25), is_there in any::<bool>()) {
        let world = World::new(false, &archived);
        let gnu = world.extracted_by_tar();
        if is_there {
            fs::create_dir(world.at("new")).unwrap();
        }
        // An empty tree is not archived.
        prop_assume!(world.at("backup/data.tar").exists());
        world.to(&["backup/data.tar", "--to", "new"]).run().expect_code(0);
        let found = TreeSnapshot::of(&world.at("new")).carried_by_tar();
        TreeSnapshot::of(&gnu).carried_by_tar().without_root().assert_same(&found.without_root(), "the tree");
        let root = |at: &Path| {
            let status = at.metadata().unwrap();
            (status.mode(), status.uid(), status.gid(), status.mtime())
        };
        prop_assert_eq!(root(&world.live), root(&world.at("new")));
    }
}

/// Collects the paths below `root`.
fn visit(root: &Path, path: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(root.join(path)).unwrap() {
        let entry = entry.unwrap();
        let below = path.join(entry.file_name());
        into.push(below.clone());
        if entry.file_type().unwrap().is_dir() {
            visit(root, &below, into);
        }
    }
}

#[test]
fn a_directory_is_made_without_an_engine() {
    let world = World::new(false, &some_tree());
    world.to(&["backup/data.tar", "--to", "new", "-n"]).ok().expect_text("directory  new");
    assert!(!world.at("new").exists());
    world.to(&["backup/data.tar", "--to", "new"]).ok();
    let archived = TreeSnapshot::of(&world.live).carried_by_tar();
    archived.assert_same(&TreeSnapshot::of(&world.at("new")), "the tree");
    // All archives of a directory.
    world.to(&["--to", "all"]).ok();
    archived.assert_same(&TreeSnapshot::of(&world.at("all/data")), "the tree");
    assert_eq!(read(&world.at("all/other/file")), "other");
    // An empty directory stays the one that it is.
    fs::create_dir(world.at("empty")).unwrap();
    let before = world.at("empty").metadata().unwrap().ino();
    let tool =
        Tool::voltar().dir(world.at("empty")).args(["restore", "--layout", "../layout.toml", "../backup/data.tar"]);
    tool.args(["--to", ".", "--path", "data/42"]).ok();
    assert_eq!(world.at("empty").metadata().unwrap().ino(), before);
    assert_eq!(read(&world.at("empty/data/42/file")), "archived");
    assert!(!world.at("empty/top").exists());
    // A stream, and an archive that the layout does not have.
    let stream = fs::read(world.at("backup/data.tar")).unwrap();
    world.to(&["-", "--only", "data", "--to", "stream"]).input(stream).ok();
    archived.assert_same(&TreeSnapshot::of(&world.at("stream")), "the tree");
    fs::copy(world.at("backup/data.tar"), world.at("unknown.tar")).unwrap();
    world.to(&["unknown.tar", "--to", "whole"]).ok();
    assert_eq!(read(&world.at("whole/srv/data/top")), "archived");
    world.to(&["unknown.tar", "--to", "from", "--from", "srv/data/data"]).ok();
    assert_eq!(read(&world.at("from/42/file")), "archived");
    assert!(!world.at("no-state").exists());
    world.is_clean();
}

#[test]
fn a_directory_that_is_not_empty_is_refused() {
    let world = World::new(false, &some_tree());
    put(&world.at("full/file"), "x");
    let before = TreeSnapshot::of(&world.at("full"));
    for (to, text) in [("full", "'full' is not empty"), ("full/file", "is no directory"), ("no/new", "`mkdir -p ")] {
        world.to(&["backup/data.tar", "--to", to]).run().expect_code(2).expect_text(text);
        world.to(&["backup/data.tar", "--to", to, "-n"]).run().expect_code(1).expect_text(text);
        before.assert_same(&TreeSnapshot::of(&world.at("full")), to);
    }
    for other in ["--stop", "--merge", "--in-place", "--keep-previous", "--create-volumes", "--skip-read-only"] {
        world.to(&["--to", "new", other]).run().expect_code(2).expect_text("cannot be used with");
    }
    world
        .to(&["backup/data.tar", "--to", "new", "--path", "nothing"])
        .run()
        .expect_code(2)
        .expect_text("holds nothing at");
    assert!(!world.at("new").exists() && !world.at("no").exists());
    world.is_clean();
}

#[test]
fn hostile_archives_make_nothing_outside() {
    let world = World::new(false, &some_tree());
    for members in [
        &[("link", T::Symlink, "/tmp"), ("link/voltar-evil", T::Regular, "")][..],
        &[("link", T::Symlink, ".."), ("link/evil", T::Regular, "")],
        &[("../evil", T::Regular, "")],
        &[("a/../../evil", T::Regular, "")],
        &[("a", T::Regular, ""), ("hard", T::Link, "../../../etc/passwd")],
        &[("a", T::Regular, ""), ("a/b", T::Regular, ""), ("a", T::Link, "/etc/passwd")],
    ] {
        fs::write(world.at("hostile.tar"), archive(members)).unwrap();
        for exists in [false, true] {
            if exists {
                fs::create_dir(world.at("new")).unwrap();
            }
            world.to(&["hostile.tar", "--to", "new"]).run().expect_code(2);
            assert_eq!(world.at("new").exists(), exists);
            if exists {
                assert_eq!(fs::read_dir(world.at("new")).unwrap().count(), 0);
                fs::remove_dir(world.at("new")).unwrap();
            }
            assert!(!world.at("evil").exists() && !Path::new("/tmp/voltar-evil").exists(), "{members:?}");
            world.is_clean();
        }
    }
    // What is above a part and no directory describes none.
    let members = [("d/", T::Directory, ""), ("d", T::Fifo, ""), ("d/file", T::Regular, "")];
    let mut stream = archive(&members);
    stream[100..108].copy_from_slice(b"0000711\0");
    let sum: u32 =
        stream[..512].iter().enumerate().map(|(i, &b)| if (148..156).contains(&i) { 32 } else { b.into() }).sum();
    stream[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    fs::write(world.at("above.tar"), stream).unwrap();
    world.to(&["above.tar", "--path", "d/file", "--to", "above"]).ok();
    assert_eq!(world.at("above/d").metadata().unwrap().mode() & 0o7777, 0o711);
    // An absolute name loses its slash.
    fs::write(world.at("absolute.tar"), archive(&[("/voltar-evil", T::Regular, "")])).unwrap();
    world.to(&["absolute.tar", "--to", "new"]).ok();
    assert_eq!(read(&world.at("new/voltar-evil")), "evil");
    assert!(!Path::new("/voltar-evil").exists());
    // A damaged one leaves nothing.
    let whole = fs::read(world.at("backup/data.tar")).unwrap();
    fs::write(world.at("hostile.tar"), &whole[..whole.len() / 2]).unwrap();
    world.to(&["hostile.tar", "--to", "damaged"]).run().expect_code(2);
    assert!(!world.at("damaged").exists());
    world.is_clean();
}

#[test]
fn an_interrupted_run_does_not_look_complete() {
    let world = World::new(false, &[file("a", "small"), file("large", vec![b'x'; 8 << 20])]);
    let archive = fs::read(world.at("backup/data.tar")).unwrap();
    let most = &archive[..archive.len() - (1 << 20)];
    for exists in [false, true] {
        let to = if exists { "there" } else { "new" };
        if exists {
            fs::create_dir(world.at(to)).unwrap();
        }
        let staging = if exists { world.at("there/.voltar-incomplete") } else { world.at(".new.voltar-incomplete") };
        for signal in [Signal::SIGINT, Signal::SIGKILL] {
            // From a pipe that stays open, the run cannot be complete before it is interrupted.
            let to_it = world.to(&["-", "--only", "data", "--to", to]);
            let (mut run, stdin) = to_it.spawn_waiting(most, &world.at("log"));
            while !staging.join("tree/large").exists() {
                assert!(!run.has_ended(), "{}", run.wait());
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            run.signal(signal);
            let run = run.wait();
            drop(stdin);
            assert!(!world.at(to).join("a").exists(), "{run}");
            if signal == Signal::SIGINT {
                run.expect_code(130).expect_text("was not made");
                world.is_clean();
                assert_eq!(world.at(to).exists(), exists);
            }
        }
        let again = world.to(&["backup/data.tar", "--to", to]).run().expect_code(2);
        again.expect_text("rm -r").expect_text(staging.file_name().unwrap().to_str().unwrap());
        fs::remove_dir_all(&staging).unwrap();
        world.to(&["backup/data.tar", "--to", to]).ok();
        assert_eq!(read(&world.at(to).join("a")), "small");
        world.is_clean();
    }
}

#[test]
fn names_are_bytes() {
    let name = OsStr::from_bytes(b"caf\xe9");
    let world = World::new(false, &[file(b"caf\xe9", "archived"), file("other", "archived")]);
    fs::write(world.live.join(name), "changed").unwrap();
    world.voltar("restore", &["--only", "data", "--path"]).arg(name).ok();
    assert_eq!(read(&world.live.join(name)), "archived");
    assert!(world.docker.path().exists());
}
