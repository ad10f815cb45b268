//! Black-box tests of `voltar verify --against-volume`: each change of a tree is found, and nothing else is. They use a data
//! root; neither an engine nor root is needed. GNU tar's `--compare` is the oracle for what it sees.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use common::data_root::DataRoot;
use common::is_root;
use common::tool::{Outcome, Tool, installed};
use common::tree::{Node, build, dir, fifo, file, hard_link, link, socket, sparse, trees};
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::time::TimeSpec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::Value;
use tempfile::TempDir;

/// A container `web` with the volume `data` at `/srv/data`.
struct World {
    scratch: TempDir,
    docker: DataRoot,
    live: PathBuf,
}

/// A path and what differs there; nothing for what only one side has.
type Found = BTreeMap<Vec<u8>, (String, Vec<String>)>;

impl World {
    fn new(nodes: &[Node]) -> Self {
        let world = Self::unarchived(nodes);
        world.voltar("backup", &["backup", "--format", "tar"]).ok();
        world
    }

    /// Without an archive.
    fn unarchived(nodes: &[Node]) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let docker = DataRoot::new(&scratch.path().join("docker"));
        let live = docker.volume("data");
        docker.volume("other");
        docker.container("web").mount("data", "/srv/data").mount("other", "/srv/data/nested").write();
        fs::write(
            scratch.path().join("layout.toml"),
            "[[archive]]\nname = 'data'\ncontainer = 'web'\npath = '/srv/data'\nexclude = ['*.log']\n\
             [[archive]]\nname = 'other'\ncontainer = 'web'\npath = '/srv/data/nested'\n",
        )
        .unwrap();
        fs::create_dir(live.join("nested")).unwrap();
        build(&live, nodes);
        fs::write(docker.data("other").join("file"), "other").unwrap();
        Self { scratch, docker, live }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn voltar(&self, command: &str, args: &[&str]) -> Tool {
        let tool = Tool::voltar().dir(self.scratch.path()).env("VOLTAR_STATE_DIR", self.at("state"));
        tool.args([command, "--data-root", "docker", "--layout", "layout.toml"]).args(args)
    }

    fn compare(&self, args: &[&str]) -> Outcome {
        self.voltar("verify", &[&["--against-volume"], args].concat()).run()
    }

    /// Compares one archive, and returns what differs.
    #[track_caller]
    fn found(&self, archive: &str) -> Found {
        let run = self.compare(&["--json", "--only", "data", archive]);
        let mut found = Found::new();
        let mut total = 0;
        for line in String::from_utf8(run.stdout.clone()).unwrap().lines() {
            let event: Value = serde_json::from_str(line).unwrap();
            let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
            match text("event").as_str() {
                "difference" => {
                    let attributes = event["attributes"].as_array().cloned().unwrap_or_default();
                    let names = attributes.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect();
                    let path = match event.get("path_base64") {
                        Some(base64) => decode(base64.as_str().unwrap()),
                        None => text("path").into_bytes(),
                    };
                    assert!(found.insert(path, (text("kind"), names)).is_none(), "{line}");
                }
                "compared" => {
                    let count = |field: &str| event[field].as_u64().unwrap();
                    total = count("only_in_archive") + count("only_in_volume") + count("differ");
                    assert_eq!(count("unlisted"), total - found.len() as u64, "{line}");
                }
                _ => {}
            }
        }
        run.expect_code(i32::from(total > 0));
        found
    }

    #[track_caller]
    fn differs(&self, path: &str, kind: &str, attributes: &[&str]) {
        let attributes: Vec<String> = attributes.iter().map(|&one| one.to_owned()).collect();
        let expected = Found::from([(path.as_bytes().to_vec(), (kind.to_owned(), attributes))]);
        assert_eq!(self.found("backup"), expected);
    }
}

fn decode(base64: &str) -> Vec<u8> {
    let run = Tool::new("base64").arg("-d").input(base64.as_bytes()).ok();
    run.stdout
}

/// Runs `change`, which changes the content of the directory `parent`, and resets the time of that.
fn keeping_time(parent: &Path, change: impl FnOnce()) {
    let status = parent.metadata().unwrap();
    change();
    set_time(parent, (status.mtime(), status.mtime_nsec()));
}

fn set_time(path: &Path, (seconds, nanoseconds): (i64, i64)) {
    let time = TimeSpec::new(seconds, nanoseconds);
    utimensat(AT_FDCWD, path, &TimeSpec::UTIME_OMIT, &time, UtimensatFlags::NoFollowSymlink).unwrap();
}

fn some_tree() -> Vec<Node> {
    vec![
        dir("").mtime(1_000_000_000, 0),
        dir("a").mode(0o750).mtime(1_000_000_001, 500),
        file("a/file", "content").mode(0o640).mtime(1_000_000_002, 7),
        file("a/large", vec![b'x'; 600_000]),
        hard_link("a/second", "a/file"),
        link("a/link", "target").mtime(1_000_000_003, 0),
        fifo("pipe"),
        sparse("sparse", &[(1_000_000, b"data")], 3_000_000),
        file("z.log", "not archived"),
    ]
}

#[test]
fn an_equal_volume_is_equal_and_each_change_has_its_name() {
    let world = World::new(&some_tree());
    let at = |name: &str| world.live.join(name);
    assert_eq!(world.found("backup"), Found::new());
    let text = world.compare(&["backup"]).expect_code(0).expect_text("data: the volume is equal to the archive\n");
    text.expect_text("other: the volume is equal to the archive\n").expect_text("1 files and directories are excluded");
    // Fractions of a second are not archived.
    set_time(&at("a"), (1_000_000_001, 9));
    assert_eq!(world.found("backup"), Found::new());

    set_time(&at("a"), (1_000_000_002, 0));
    world.differs("a", "differs", &["mtime"]);
    let what = "data: 'a': mtime 2001-09-09T01:46:41Z in the archive, 2001-09-09T01:46:42Z in the volume\n\
                data: 1 difference: 1 in both\n";
    world.compare(&["--only", "data"]).expect_code(1).expect_text(what);
    world.compare(&["--only", "data", "-q"]).expect_code(1).expect_text(what);
    set_time(&at("a"), (1_000_000_001, 0));

    let mode = |mode: u32| fs::set_permissions(at("a/file"), PermissionsExt::from_mode(mode)).unwrap();
    mode(0o4600);
    world.differs("a/file", "differs", &["mode"]);
    world.compare(&["--only", "data"]).expect_text("'a/file': mode 0640 in the archive, 4600 in the volume");
    mode(0o640);
    // The first name of a file with several.
    fs::write(at("a/file"), "CONTENT").unwrap();
    set_time(&at("a/file"), (1_000_000_002, 7));
    world.differs("a/file", "differs", &["content"]);
    fs::write(at("a/file"), "contents").unwrap();
    set_time(&at("a/file"), (1_000_000_002, 7));
    world.differs("a/file", "differs", &["size"]);
    fs::write(at("a/file"), "content").unwrap();
    set_time(&at("a/file"), (1_000_000_002, 7));
    assert_eq!(world.found("backup"), Found::new());
    if is_root() {
        std::os::unix::fs::lchown(at("a/link"), Some(7), Some(8)).unwrap();
        world.differs("a/link", "differs", &["owner"]);
        std::os::unix::fs::lchown(at("a/link"), Some(0), Some(0)).unwrap();
    }
    keeping_time(&at("a"), || {
        fs::remove_file(at("a/link")).unwrap();
        symlink("other", at("a/link")).unwrap();
        set_time(&at("a/link"), (1_000_000_003, 0));
    });
    world.differs("a/link", "differs", &["target"]);
}

#[test]
fn links_kinds_and_what_only_one_side_has_are_found() {
    let world = World::new(&some_tree());
    let at = |name: &str| world.live.join(name);
    let file_at = |name: &str| {
        fs::write(at(name), "content").unwrap();
        fs::set_permissions(at(name), PermissionsExt::from_mode(0o640)).unwrap();
        set_time(&at(name), (1_000_000_002, 7));
    };
    keeping_time(&at("a"), || {
        fs::remove_file(at("a/second")).unwrap();
        file_at("a/second");
    });
    world.differs("a/second", "differs", &["link"]);
    world.compare(&["--only", "data"]).expect_text("'a/second': link of 'a/file' in the archive, none in the volume");
    // Now the archive has two files, and the volume one with two names.
    world.voltar("backup", &["separate", "--format", "zst"]).ok();
    assert_eq!(world.found("separate"), Found::new());
    keeping_time(&at("a"), || {
        fs::remove_file(at("a/second")).unwrap();
        fs::hard_link(at("a/file"), at("a/second")).unwrap();
    });
    let linked = BTreeMap::from([(b"a/second".to_vec(), ("differs".to_owned(), vec!["link".to_owned()]))]);
    assert_eq!(world.found("separate"), linked);
    assert_eq!(world.found("backup"), Found::new());
    // Other content in a hole.
    let mut content = fs::read(at("sparse")).unwrap();
    let time = at("sparse").metadata().unwrap();
    content[2_000_000] = 1;
    fs::write(at("sparse"), &content).unwrap();
    set_time(&at("sparse"), (time.mtime(), 0));
    world.differs("sparse", "differs", &["content"]);
    content[2_000_000] = 0;
    fs::write(at("sparse"), &content).unwrap();
    set_time(&at("sparse"), (time.mtime(), 0));

    for (kind, make) in [
        ("file", &(|| fs::write(at("pipe"), "").unwrap()) as &dyn Fn()),
        ("directory", &|| fs::create_dir(at("pipe")).unwrap()),
        ("symbolic link", &|| symlink("a", at("pipe")).unwrap()),
        ("socket", &|| drop(std::os::unix::net::UnixListener::bind(at("pipe")).unwrap())),
    ] {
        keeping_time(&world.live, || {
            fs::rename(at("pipe"), world.at("pipe")).unwrap();
            make();
        });
        world.differs("pipe", "differs", &["kind"]);
        let text = format!("'pipe': kind FIFO in the archive, {kind} in the volume");
        world.compare(&["--only", "data"]).expect_text(&text);
        keeping_time(&world.live, || {
            if kind == "directory" { fs::remove_dir(at("pipe")) } else { fs::remove_file(at("pipe")) }.unwrap();
            fs::rename(world.at("pipe"), at("pipe")).unwrap();
        });
    }
    // A directory is one difference, with all that it holds.
    keeping_time(&world.live, || {
        fs::create_dir_all(at("new/below")).unwrap();
        fs::write(at("new/below/file"), "").unwrap();
        fs::write(at("new/ignored.log"), "").unwrap();
    });
    world.differs("new", "only_in_volume", &[]);
    world.compare(&["--only", "data"]).expect_text("'new': only in the volume, with all that it holds");
    keeping_time(&world.live, || {
        fs::remove_dir_all(at("new")).unwrap();
        fs::rename(at("a"), world.at("a")).unwrap();
    });
    world.differs("a", "only_in_archive", &[]);
    // What is at the other end of a symbolic link is another tree.
    keeping_time(&world.live, || symlink(world.at("a"), at("a")).unwrap());
    let found = world.found("backup");
    assert_eq!(found[&b"a"[..]].1, ["kind"]);
    assert_eq!(found[&b"a/file"[..]].0, "only_in_archive");
}

/// What is compared of an entry: kind and what belongs to it, mode, owner, seconds.
type Attributes = (String, u32, (u32, u32), i64);

/// Its attributes and its inode.
type Entry = (Attributes, (u64, u64));

/// The entries of a tree, each with its attributes and its inode; sockets have none.
fn entries(root: &Path) -> BTreeMap<Vec<u8>, Entry> {
    fn visit(root: &Path, path: &[u8], into: &mut BTreeMap<Vec<u8>, Entry>) {
        let at = if path.is_empty() { root.to_owned() } else { root.join(OsStr::from_bytes(path)) };
        let status = at.symlink_metadata().unwrap();
        let kind = status.file_type();
        let what = if kind.is_file() {
            format!("file {:?}", fs::read(&at).unwrap())
        } else if kind.is_symlink() {
            format!("link {:?}", fs::read_link(&at).unwrap().into_os_string().into_vec())
        } else if kind.is_socket() {
            "socket".to_owned()
        } else {
            format!("{kind:?} {}", status.rdev())
        };
        let mode = if kind.is_symlink() { 0 } else { status.mode() & 0o7777 };
        let attributes = (what, mode, (status.uid(), status.gid()), status.mtime());
        into.insert(path.to_vec(), (attributes, (status.dev(), status.ino())));
        if kind.is_dir() {
            for entry in fs::read_dir(&at).unwrap() {
                let name = entry.unwrap().file_name().into_vec();
                visit(root, &if path.is_empty() { name } else { [path, b"/", &name].concat() }, into);
            }
        }
    }
    let mut found = BTreeMap::new();
    visit(root, b"", &mut found);
    found
}

fn is(entry: &Attributes, kinds: &[&str]) -> bool {
    kinds.iter().any(|kind| entry.0.starts_with(kind))
}

fn components(path: &[u8]) -> Vec<Vec<u8>> {
    path.split(|&byte| byte == b'/').map(<[u8]>::to_vec).collect()
}

/// Whether `path` lies below one of `directories`.
fn is_below(path: &[u8], directories: &BTreeSet<Vec<u8>>) -> bool {
    let ends = path.iter().enumerate().filter(|&(_, &byte)| byte == b'/').map(|(at, _)| at);
    ends.into_iter().any(|end| directories.contains(&path[..end]))
}

/// Says what must differ between the archive of the tree `before` and the tree `after`, from the definition alone.
fn expected(before: &BTreeMap<Vec<u8>, Entry>, after: &BTreeMap<Vec<u8>, Entry>) -> BTreeMap<Vec<u8>, &'static str> {
    // The archive's members, in its order; each further name of a file or symbolic link is a hard link to the first.
    let mut members: Vec<(&Vec<u8>, &Entry)> = before.iter().filter(|(_, entry)| !is(&entry.0, &["socket"])).collect();
    members.sort_by_key(|(path, _)| components(path));
    let first = |path: &Vec<u8>| {
        let (attributes, inode) = &before[path];
        if !is(attributes, &["file", "link"]) {
            return path.clone();
        }
        members.iter().find(|(_, (_, other))| other == inode).map_or(path.clone(), |(first, _)| (*first).clone())
    };
    let mut differences = BTreeMap::new();
    let mut missing = BTreeSet::new();
    for (index, (path, (attributes, _))) in members.iter().enumerate() {
        let Some((now, inode)) = after.get(*path) else {
            if !is_below(path, &missing) {
                differences.insert((*path).clone(), "only_in_archive");
            }
            if !is(attributes, &["file", "link"]) {
                missing.insert((*path).clone());
            }
            continue;
        };
        let target = first(path);
        let differs = if target == **path {
            // An earlier member of its own that is the same file now.
            let is_linked = members[..index].iter().any(|(other, (kind, _))| {
                first(other) == **other
                    && is(kind, &["file", "link"])
                    && after.get(*other).is_some_and(|(_, theirs)| theirs == inode)
            });
            now != attributes || (is_linked && is(attributes, &["file", "link"]))
        } else {
            after.get(&target).is_none_or(|(_, theirs)| theirs != inode)
        };
        if differs {
            differences.insert((*path).clone(), "differs");
        }
    }
    let mut new = BTreeSet::new();
    let mut found: Vec<_> = after.iter().collect();
    found.sort_by_key(|(path, _)| components(path));
    for (path, (attributes, _)) in found {
        let is_member = before.get(path).is_some_and(|(then, _)| !is(then, &["socket"]));
        if is_member || is(attributes, &["socket"]) || is_below(path, &new) {
            continue;
        }
        differences.insert(path.clone(), "only_in_volume");
        new.insert(path.clone());
    }
    differences
}

#[derive(Debug, Clone)]
enum Change {
    Mode(u32),
    Time(i64),
    Content(u8),
    Append,
    Remove,
    Rename,
    AddFile,
    AddDirectory,
    Kind,
    Link(Index),
    Separate,
}

fn changes() -> impl Strategy<Value = Vec<(Index, Change)>> {
    let change = prop_oneof![
        (0..0o1000_u32).prop_map(Change::Mode),
        (1..1_000_000_000_i64).prop_map(Change::Time),
        any::<u8>().prop_map(Change::Content),
        Just(Change::Append),
        Just(Change::Remove),
        Just(Change::Rename),
        Just(Change::AddFile),
        Just(Change::AddDirectory),
        Just(Change::Kind),
        any::<Index>().prop_map(Change::Link),
        Just(Change::Separate),
    ];
    prop::collection::vec((any::<Index>(), change), 0..6)
}

/// Changes an entry of the tree, if it is of a kind that can be changed so.
fn change(live: &Path, which: Index, change: &Change) {
    let found = entries(live);
    // The mountpoint of the other volume belongs to the engine.
    let paths: Vec<&Vec<u8>> = found.keys().filter(|path| !path.is_empty() && *path != b"nested").collect();
    let Some(path) = (!paths.is_empty()).then(|| *which.get::<&Vec<u8>>(&paths)) else { return };
    let at = live.join(OsStr::from_bytes(path));
    let status = at.symlink_metadata().unwrap();
    let rewritten = |content: Vec<u8>| {
        // In place, whatever the mode is.
        fs::set_permissions(&at, PermissionsExt::from_mode(0o600)).unwrap();
        // With O_CREAT not even root could open a file of somebody else in a directory like /tmp (fs.protected_regular).
        fs::OpenOptions::new().write(true).truncate(true).open(&at).unwrap().write_all(&content).unwrap();
        fs::set_permissions(&at, PermissionsExt::from_mode(status.mode() & 0o7777)).unwrap();
        set_time(&at, (status.mtime(), status.mtime_nsec()));
    };
    let remove = || if status.is_dir() { fs::remove_dir_all(&at) } else { fs::remove_file(&at) };
    // Directories that cannot be written without root stay as they are.
    match change {
        Change::Mode(mode) if !status.is_symlink() => {
            let always = if status.is_dir() { 0o700 } else { 0o400 };
            fs::set_permissions(&at, PermissionsExt::from_mode(*mode | always)).unwrap();
        }
        Change::Time(seconds) => set_time(&at, (*seconds, 0)),
        Change::Content(byte) if status.is_file() && status.len() > 0 => {
            let mut content = fs::read(&at).unwrap();
            let index = usize::from(*byte) * content.len() / 256;
            content[index] ^= 1;
            rewritten(content);
        }
        Change::Append if status.is_file() => rewritten([fs::read(&at).unwrap(), vec![0]].concat()),
        Change::Remove => remove().unwrap_or_default(),
        Change::Rename => fs::rename(&at, at.with_file_name("renamed")).unwrap_or_default(),
        Change::AddFile if status.is_dir() => fs::write(at.join("added"), "added").unwrap_or_default(),
        Change::AddDirectory if status.is_dir() => {
            fs::create_dir_all(at.join("added/directory")).unwrap_or_default();
        }
        Change::Kind => {
            if remove().is_ok() {
                if status.is_dir() { fs::write(&at, "a file now") } else { fs::create_dir(&at) }.unwrap();
            }
        }
        Change::Link(other) => {
            let other = live.join(OsStr::from_bytes(other.get::<&Vec<u8>>(&paths)));
            let is_file = |path: &Path| path.symlink_metadata().is_ok_and(|status| status.is_file());
            if is_file(&at) && is_file(&other) && at != other && fs::remove_file(&at).is_ok() {
                fs::hard_link(&other, &at).unwrap();
            }
        }
        Change::Separate if status.is_file() => {
            let content = fs::read(&at).unwrap();
            if fs::remove_file(&at).is_ok() {
                fs::write(&at, content).unwrap();
            }
        }
        Change::Mode(_)
        | Change::Content(_)
        | Change::Append
        | Change::AddFile
        | Change::AddDirectory
        | Change::Separate => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn exactly_what_has_changed_differs(nodes in trees(25), changes in changes(), ours in any::<bool>()) {
        let world = World::unarchived(&nodes);
        let before = entries(&world.live);
        prop_assume!(before.keys().all(|path| !path.ends_with(b".log")));
        if ours {
            world.voltar("backup", &["backup", "--format", "tar", "--only", "data"]).run();
        } else {
            fs::create_dir(world.at("backup")).unwrap();
            let data = world.docker.path().join("volumes/data");
            let tar = Tool::new("tar").dir(data).args(["--format=pax", "--sort=name", "--transform=s,^_data,srv/data,Sh"]);
            tar.args(["-cf"]).arg(world.at("backup/data.tar")).arg("_data").run();
        }
        for (which, one) in &changes {
            change(&world.live, *which, one);
        }
        let after = entries(&world.live);
        let expected = expected(&before, &after);
        let found = world.found("backup");
        let found: BTreeMap<Vec<u8>, &str> = found.iter().map(|(path, (kind, _))| (path.clone(), kind.as_str())).collect();
        let shown = |map: &BTreeMap<Vec<u8>, &str>| -> BTreeMap<OsString, String> {
            map.iter().map(|(path, kind)| (OsString::from_vec(path.clone()), (*kind).to_owned())).collect()
        };
        prop_assert_eq!(shown(&found), shown(&expected));
        // GNU tar finds nothing that is not found here.
        if found.is_empty() {
            world.compared_by_tar().expect_code(0);
        }
    }
}

#[test]
fn archives_of_others_are_compared_in_any_order() {
    let world = World::unarchived(&some_tree());
    fs::create_dir(world.at("backup")).unwrap();
    let tar = |args: &[&str]| {
        Tool::new("tar").dir(&world.live).args(["--transform=s,^[.],srv/data,Sh"]).args(args).ok();
    };
    let archive = world.at("backup/data.tar");
    let archive = archive.to_str().unwrap();
    // Without directories, and backwards.
    tar(&[
        "--no-recursion",
        "-cf",
        archive,
        "./nested",
        "./sparse",
        "./pipe",
        "./a/large",
        "./a/second",
        "./a/link",
        "./a/file",
    ]);
    assert_eq!(world.found("backup"), Found::new());
    // An earlier version of a file is not what a restore leaves.
    let changed = |content: &str| fs::write(world.live.join("a/large"), content).unwrap();
    changed("changed");
    tar(&["--no-recursion", "-rf", archive, "./a/large"]);
    assert_eq!(world.found("backup"), Found::new());
    changed("changed again");
    world.differs_at_least("a/large");
    fs::remove_file(world.live.join("sparse")).unwrap();
    world.differs_at_least("sparse");
    // With an exact time.
    fs::remove_file(archive).unwrap();
    // Of the two names of a file, the first one has what differs.
    tar(&["--format=pax", "--sort=name", "-cf", archive, "./a"]);
    let at = world.live.join("a/link");
    let exact = at.symlink_metadata().unwrap();
    assert!(!world.found("backup").contains_key(&b"a/link"[..]));
    set_time(&at, (exact.mtime(), exact.mtime_nsec() + 1));
    // GNU tar writes a fraction only where there is one.
    set_time(&world.live.join("a/file"), (1_000_000_002, 8));
    assert_eq!(world.found("backup")[&b"a/file"[..]].1, ["mtime"]);
    // Another prefix.
    tar(&["-cf", world.at("other-root.tar").to_str().unwrap(), "--transform=s,^srv/data,x,", "./a"]);
    world.compare(&["--only", "data", "other-root.tar"]).expect_code(2).expect_text("--from x");
}

impl World {
    /// Compares the archive with the volume by GNU tar.
    fn compared_by_tar(&self) -> Outcome {
        let tar = Tool::new("tar").dir(&self.live).args(["--compare", "--transform=s,^srv/data,.,", "-f"]);
        tar.arg(self.at("backup/data.tar")).run()
    }

    #[track_caller]
    fn differs_at_least(&self, path: &str) {
        assert!(self.found("backup").contains_key(path.as_bytes()), "{path}");
    }
}

#[test]
fn differences_are_bounded_and_counted() {
    let root = dir("").mtime(1_000_000_000, 0);
    let nodes: Vec<Node> = std::iter::once(root).chain((0..150).map(|i| file(format!("{i:03}"), "x"))).collect();
    let world = World::new(&nodes);
    for i in 0..150 {
        fs::remove_file(world.live.join(format!("{i:03}"))).unwrap();
    }
    let run = world.compare(&["--only", "data"]).expect_code(1);
    let run = run.expect_text("data: 151 differences: 150 only in the archive, 1 in both (51 are not listed)");
    assert_eq!(run.text().lines().filter(|line| line.ends_with("only in the archive")).count(), 99, "{run}");
}

#[test]
fn what_cannot_be_compared_is_status_2() {
    let world = World::new(&some_tree());
    // A damaged archive beside one that differs: both are reported.
    let archive = world.at("backup/data.tar");
    let mut bytes = fs::read(&archive).unwrap();
    bytes[700_000] ^= 1;
    fs::write(world.live.join("a/large"), vec![b'y'; 600_000]).unwrap();
    fs::write(world.docker.data("other").join("file"), "changed").unwrap();
    let truncated = &bytes[..bytes.len() / 2];
    fs::write(&archive, truncated).unwrap();
    let run = world.compare(&["backup"]).expect_code(2).expect_text("1 of 2 archives could not be compared");
    run.expect_text("other: 'file': size 5 in the archive, 7 in the volume");
    fs::write(&archive, &bytes).unwrap();
    fs::write(world.at("backup/unknown.tar"), &bytes).unwrap();
    let run = world.compare(&["backup"]).expect_code(1).expect_text("'a/large': ");
    run.expect_text("not compared: 'backup/unknown.tar': the layout 'layout.toml' has no archive 'unknown'");
    // Nothing to compare with.
    world.compare(&["--only", "data", "--volume", "data=nothing"]).expect_code(2).expect_text("nothing");
    world.compare(&["nowhere"]).expect_code(2);
    world.voltar("verify", &["--from", "x"]).run().expect_code(2).expect_text("--against-volume");
}

#[test]
fn an_empty_volume_is_compared() {
    let world = World::new(&[]);
    world.compare(&["--only", "data", "backup"]).expect_code(0);
    keeping_time(&world.live, || fs::write(world.live.join("new"), "").unwrap());
    world.differs("new", "only_in_volume", &[]);
}

#[test]
fn sockets_are_not_compared_and_nothing_is_changed() {
    let world = World::unarchived(&some_tree());
    build(&world.live, &[socket("socket")]);
    world.voltar("backup", &["backup", "--allow-running"]).run().expect_code(1);
    let run = world.compare(&[]).expect_code(0);
    run.expect_text("1 sockets are not compared").expect_text("another volume, which is left to the archive other");
    // The state directory and the volumes are as they were.
    assert!(!world.at("state").exists() || fs::read_dir(world.at("state")).unwrap().count() == 0);
}

#[test]
fn patterns_that_a_backup_has_excluded_are_no_differences() {
    let world = World::unarchived(&some_tree());
    world.voltar("backup", &["backup", "--exclude", "a/l*"]).ok();
    assert_eq!(world.found("backup").keys().collect::<Vec<_>>(), [&b"a/large"[..], b"a/link"]);
    world.compare(&["--exclude", "a/l*"]).expect_code(0);
}

#[test]
fn gnu_tar_agrees() {
    if !installed("tar") {
        return;
    }
    let world = World::new(&some_tree());
    let at = |name: &str| world.live.join(name);
    let tar = || {
        let text = world.compared_by_tar().text();
        let names = text.lines().filter_map(|line| line.trim_start_matches("tar: ").split_once(": "));
        names.filter_map(|(name, _)| Some(name.strip_prefix("./")?.as_bytes().to_vec())).collect::<BTreeSet<_>>()
    };
    assert_eq!(tar(), BTreeSet::new());
    fs::set_permissions(at("a"), PermissionsExt::from_mode(0o700)).unwrap();
    fs::write(at("a/large"), "short").unwrap();
    set_time(&at("sparse"), (5, 0));
    keeping_time(&at("a"), || {
        fs::remove_file(at("a/second")).unwrap();
        fs::write(at("a/second"), "content").unwrap();
        fs::remove_file(at("a/link")).unwrap();
    });
    let found: BTreeSet<Vec<u8>> = world.found("backup").into_keys().collect();
    assert_eq!(tar(), found);
}
