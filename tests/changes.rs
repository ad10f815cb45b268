//! Sets of changes: a history of nights, of which each is restored by voltar, by GNU tar and by busybox, and equals the tree of
//! that night. On a data root.
//!
//! `VOLTAR_HISTORY=SEED,NIGHTS` runs another history.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]

mod common;

use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::ffi::OsStringExt as _;
use std::os::unix::fs::{PermissionsExt as _, lchown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use common::data_root::{DataRoot, layout};
use common::is_root;
use common::skip::{self, Needs};
use common::snapshot::TreeSnapshot;
use common::tool::{Outcome, Tool};
use libtest_mimic::Arguments;
use serde_json::Value;
use tempfile::TempDir;

fn main() {
    let by_hand = [Needs::GnuTar, Needs::Program("busybox"), Needs::Program("xargs")];
    let trials = vec![
        skip::test("every_night_of_a_history_is_restored", &by_hand, every_night_of_a_history_is_restored),
        skip::test("what_has_not_changed_is_not_archived_again", &[], what_has_not_changed_is_not_archived_again),
        skip::test(
            "a_directory_without_an_entry_is_archived_whatever_its_time",
            &[Needs::GnuTar],
            a_directory_without_an_entry_is_archived_whatever_its_time,
        ),
        skip::test("a_restored_tree_is_compared_by_content", &[], a_restored_tree_is_compared_by_content),
        skip::test("all_is_archived_where_changes_cannot_be_told", &[], all_is_archived_where_changes_cannot_be_told),
        skip::test("a_set_needs_its_base", &[], a_set_needs_its_base),
        skip::test("a_base_is_kept_as_long_as_it_is_needed", &[], a_base_is_kept_as_long_as_it_is_needed),
        skip::test("all_archives_of_a_set_hold_changes", &[], all_archives_of_a_set_hold_changes),
        skip::test("a_base_of_a_damaged_set_is_kept", &[], a_base_of_a_damaged_set_is_kept),
        skip::test("a_part_and_a_comparison_see_the_tree_of_the_night", &[], a_part_and_a_comparison),
        skip::test("damage_of_any_file_of_a_set_is_found", &[], damage_of_any_file_of_a_set_is_found),
        skip::test("two_passes_are_one_tree", &[], two_passes_are_one_tree),
        skip::test("a_database_is_always_full", &[], a_database_is_always_full),
        skip::test("every_so_many_sets_there_is_a_full_archive", &[], every_so_many_sets_there_is_a_full_archive),
    ];
    skip::run(&Arguments::from_args(), trials, || ());
}

fn two_passes_are_one_tree() {
    let world = World::new();
    for name in ["a", "b", "c"] {
        world.write(name, name);
    }
    let two_pass = |more: &[&str]| {
        let args = ["backup", "--into", "sets", "--format", "gz", "--two-pass"];
        let output = world.voltar(&[&args[..], more].concat()).ok();
        (world.newest(), output)
    };
    // Nothing has changed between the two passes.
    let (set, output) = two_pass(&[]);
    let output = output.expect_text("data: nothing has changed since the first pass");
    // The figures are those of the first pass, for people and for metrics.
    let rows = output.text().lines().filter(|line| line.starts_with("data  ")).count();
    assert_eq!(rows, 1, "{output}");
    assert_eq!(set.files(), ["data.index.zst", "data.tar.gz"]);
    Tool::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).dir(&set.0).ok();
    world.snapshot().assert_same(&TreeSnapshot::of(&world.extract(&set, "one")), "both passes");
    world.voltar(&["verify", "sets"]).ok();
    // It is a full set for later ones.
    world.write("b", "B");
    let (changes, _) = two_pass(&["--full-every", "30d"]);
    assert_eq!(changes.members(), ["", "b"]);
    world.snapshot().assert_same(&TreeSnapshot::of(&world.extract(&changes, "two")), "changes");
    let (_, output) = two_pass(&["--exclude", "c"]);
    output.expect_text("data: 1 excluded").expect_text("data: nothing has changed since the first pass");
    world.voltar(&["backup", "--two-pass"]).run().expect_code(2).expect_text("--into");
    let refused = world.voltar(&["backup", "--into", "sets", "--two-pass", "--allow-running"]).run();
    refused.expect_code(2).expect_text("--allow-running");
}

/// A stopped container with a volume at `/srv/data`.
struct World {
    scratch: TempDir,
    docker: DataRoot,
}

impl World {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let docker = DataRoot::new(&scratch.path().join("docker"));
        docker.volume("data");
        docker.container("web").mount("data", "/srv/data").write();
        layout(&scratch.path().join("layout.toml"), "data", "web", "/srv/data");
        Self { scratch, docker }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn tree(&self) -> PathBuf {
        self.docker.data("data")
    }

    fn snapshot(&self) -> TreeSnapshot {
        TreeSnapshot::of(&self.tree()).carried_by_tar()
    }

    fn write(&self, name: &str, content: &str) {
        fs::write(self.tree().join(name), content).unwrap();
    }

    fn voltar(&self, args: &[&str]) -> Tool {
        let tool = Tool::voltar().dir(self.scratch.path()).env("VOLTAR_STATE_DIR", self.at("state"));
        tool.args(["--data-root", "docker", "--layout", "layout.toml"]).args(args)
    }

    fn backup(&self) -> (Set, Outcome) {
        self.backup_every("30d")
    }

    /// Makes a set. That less is there than before is a warning.
    fn backup_every(&self, every: &str) -> (Set, Outcome) {
        let made = self.voltar(&["backup", "--into", "sets", "--format", "gz", "--full-every", every]).run();
        assert!(matches!(made.status.code(), Some(0 | 1)), "{made}");
        (self.newest(), made)
    }

    fn newest(&self) -> Set {
        let mut names: Vec<_> = fs::read_dir(self.at("sets")).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.retain(|path| path.is_dir());
        names.sort();
        Set(names.pop().unwrap())
    }

    /// Restores a set into a new directory.
    fn extract(&self, set: &Set, to: &str) -> PathBuf {
        self.voltar(&["restore", "--to", to, set.0.to_str().unwrap()]).ok();
        self.at(to)
    }
}

/// A set of one archive.
struct Set(PathBuf);

impl Set {
    fn record(&self) -> Value {
        let text = fs::read_to_string(self.0.join("voltar.json")).unwrap();
        serde_json::from_str::<Value>(&text).unwrap()["archives"][0].clone()
    }

    fn files(&self) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| !matches!(&name[..], "SHA256SUMS" | "voltar.json" | "verified.json"));
        names.sort();
        names
    }

    /// The files that were archived, by the names in the archive of changes.
    fn members(&self) -> Vec<String> {
        let listed = Tool::new("tar").arg("-tzf").arg(self.0.join("data.changes.tar.gz")).ok().answer();
        listed.lines().map(|name| name.trim_start_matches("srv/data/").to_owned()).collect()
    }

    fn gone(&self) -> String {
        fs::read_to_string(self.0.join("data.gone")).unwrap().replace('\0', " ")
    }

    /// Restores the set with the documented commands.
    fn by_hand(&self, tar: &[&str], to: &Path) {
        fs::create_dir(to).unwrap();
        let record = self.record();
        let extract = |archive: &Path| {
            Tool::new(tar[0]).args(&tar[1..]).arg(archive).arg("-C").arg(to).arg("--strip-components=2").ok();
        };
        let Some(base) = record["base"].as_object() else { return extract(&self.0.join("data.tar.gz")) };
        let directory = self.0.parent().unwrap().join(base["set"].as_str().unwrap());
        extract(&directory.join(base["archive"]["file"].as_str().unwrap()));
        if record["archive"].is_null() {
            return;
        }
        let gone = self.0.join("data.gone");
        Tool::shell(&format!("xargs -0 rm -rf -- <'{}'", gone.display())).dir(to).ok();
        extract(&self.0.join("data.changes.tar.gz"));
    }
}

/// Random numbers that are the same for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end.max(1)
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        if of.is_empty() { None } else { of.get(self.below(of.len())) }
    }
}

/// All paths of a tree below its root, directories before what they hold.
fn paths(root: &Path) -> Vec<PathBuf> {
    let (mut all, mut left) = (Vec::new(), vec![root.to_owned()]);
    while let Some(directory) = left.pop() {
        let mut names: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
        names.sort();
        for path in names {
            if path.symlink_metadata().unwrap().is_dir() {
                left.push(path.clone());
            }
            all.push(path);
        }
    }
    all
}

fn is_file(path: &Path) -> bool {
    path.symlink_metadata().unwrap().is_file()
}

fn is_directory(path: &Path) -> bool {
    path.symlink_metadata().unwrap().is_dir()
}

fn remove(path: &Path) {
    if is_directory(path) { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
}

/// Changes the tree at `root` in one way.
fn change(root: &Path, random: &mut Random) {
    let all = paths(root);
    let directories: Vec<_> = all.iter().filter(|path| is_directory(path)).cloned().chain([root.to_owned()]).collect();
    let files: Vec<_> = all.iter().filter(|path| is_file(path)).cloned().collect();
    let names: [&[u8]; 10] = [b"a", b"a.b", b"a-b", b"b", b"-c", b" d ", b"e\nf", b"g\xff", b"h'\"i", "ä".as_bytes()];
    let directory = random.one(&directories).unwrap().clone();
    let new = directory.join(OsString::from_vec(random.one(&names).unwrap().to_vec()));
    let is_free = new.symlink_metadata().is_err();
    let content =
        |random: &mut Random| vec![u8::try_from(random.below(256)).unwrap(); [0, 9, 5000, 700_000][random.below(4)]];
    match random.below(14) {
        0..=2 if is_free => fs::write(&new, content(random)).unwrap(),
        3 if is_free => fs::create_dir(&new).unwrap(),
        4 if is_free => symlink(OsString::from_vec(vec![b'x'; 1 + random.below(120)]), &new).unwrap(),
        5 if is_free => {
            if let Some(file) = random.one(&files) {
                fs::hard_link(file, &new).unwrap();
            }
        }
        // In place, with the same size and time.
        6 | 7 => {
            if let Some(file) = random.one(&files) {
                let status = file.metadata().unwrap();
                let byte = u8::try_from(random.below(256)).unwrap();
                let mut open = File::options().write(true).open(file).unwrap();
                open.write_all(&vec![byte; usize::try_from(status.len()).unwrap()]).unwrap();
                open.set_modified(status.modified().unwrap()).unwrap();
            }
        }
        8 => {
            if let Some(path) = random.one(&all) {
                if is_file(path) || is_directory(path) {
                    let mode = 0o700 + u32::try_from(random.below(64)).unwrap();
                    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
                }
                if is_root() {
                    lchown(path, Some(u32::try_from(random.below(3)).unwrap()), None).unwrap();
                }
            }
        }
        9 => {
            if let Some(path) = random.one(&all) {
                remove(path);
            }
        }
        10 if is_free => {
            if let Some(path) = random.one(&all).filter(|path| !new.starts_with(path)) {
                fs::rename(path, &new).unwrap();
            }
        }
        // Something of another kind.
        11 => {
            if let Some(path) = random.one(&all) {
                let was_directory = is_directory(path);
                remove(path);
                if was_directory { fs::write(path, content(random)).unwrap() } else { fs::create_dir(path).unwrap() }
            }
        }
        // The time alone, also of a directory: back to what it was long ago.
        12 => {
            if let Some(path) = random.one(&all).filter(|path| is_file(path) || is_directory(path)) {
                let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000 + random.below(3) as u64);
                File::open(path).unwrap().set_modified(time).unwrap();
            }
        }
        _ => {}
    }
}

fn every_night_of_a_history_is_restored() {
    let given = std::env::var("VOLTAR_HISTORY").ok();
    let (seed, nights): (u64, usize) = match given.as_deref().and_then(|text| text.split_once(',')) {
        Some((seed, nights)) => (seed.parse().unwrap(), nights.parse().unwrap()),
        None => (1, 30),
    };
    let (world, mut random) = (World::new(), Random(seed));
    for _ in 0..60 {
        change(&world.tree(), &mut random);
    }
    // So that the first comparison is not by content alone.
    std::thread::sleep(Duration::from_secs(3));
    let mut fulls = 0;
    for night in 0..nights {
        // Such as the one after a full set.
        let quiet = night % 9 == 1;
        for _ in 0..if quiet { 0 } else { 1 + random.below(12) } {
            change(&world.tree(), &mut random);
        }
        if random.below(10) == 0 && night > 0 {
            let set = world.newest();
            world.voltar(&["restore", set.0.to_str().unwrap()]).ok();
        }
        let expected = world.snapshot();
        let (set, _) = world.backup_every("9");
        let record = set.record();
        fulls += usize::from(record["base"].is_null());
        let context = format!("seed {seed}, night {night}");
        assert_eq!(record["members"], expected.len(), "{context}");
        let name = |with: &str| format!("{with}-{night}");
        expected.assert_same(&TreeSnapshot::of(&world.extract(&set, &name("voltar"))), &format!("{context}: voltar"));
        let gnu = world.at(&name("gnu"));
        set.by_hand(&["tar", "--numeric-owner", "-xpzf"], &gnu);
        let without_root = expected.clone().without_root();
        without_root.assert_same(&TreeSnapshot::of(&gnu).without_root(), &format!("{context}: GNU tar"));
        // It restores the modes of directories that are there only as root, whatever `-p` says.
        if is_root() {
            let busybox = world.at(&name("busybox"));
            set.by_hand(&["busybox", "tar", "-xpzf"], &busybox);
            let restored = |tree: TreeSnapshot| tree.without_root().restored_by_busybox();
            restored(expected).assert_same(&restored(TreeSnapshot::of(&busybox)), &format!("{context}: busybox"));
            fs::remove_dir_all(busybox).unwrap();
        }
        for made in [world.at(&name("voltar")), gnu] {
            fs::remove_dir_all(made).unwrap();
        }
    }
    assert_eq!(fulls, nights.div_ceil(9), "of {nights}");
    world.voltar(&["verify", "sets"]).ok();
}

fn what_has_not_changed_is_not_archived_again() {
    let world = World::new();
    for name in ["a", "b"] {
        fs::create_dir(world.tree().join(name)).unwrap();
        world.write(&format!("{name}/file"), name);
    }
    std::thread::sleep(Duration::from_secs(3));
    let (full, _) = world.backup();
    assert_eq!(full.files(), ["data.index.zst", "data.tar.gz"]);
    let (same, made) = world.backup();
    assert_eq!(same.files(), [""; 0]);
    assert_eq!((&same.record()["archive"], &same.record()["members"]), (&Value::Null, &5.into()));
    made.expect_text("data: nothing has changed since");
    Tool::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).dir(&same.0).ok();
    world.write("b/file", "B");
    let (changes, _) = world.backup();
    assert_eq!(changes.files(), ["data.changes.tar.gz", "data.gone"]);
    // What has changed, with the directories in which it lies.
    assert_eq!(
        (changes.members(), changes.gone()),
        (vec![String::new(), "b/".to_owned(), "b/file".to_owned()], String::new())
    );
    Tool::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).dir(&changes.0).ok();
    fs::remove_dir_all(world.tree().join("a")).unwrap();
    let (gone, _) = world.backup();
    assert_eq!(
        (gone.members(), gone.gone()),
        (vec![String::new(), "b/".to_owned(), "b/file".to_owned()], "a ".to_owned())
    );
    let listed = world.voltar(&["sets", "sets"]).ok();
    let name = full.0.file_name().unwrap().to_str().unwrap();
    assert_eq!(listed.answer().matches(name).count(), 4, "{listed}");
    let plan = world.voltar(&["plan", "--into", "sets", "--full-every", "30d"]).ok();
    plan.expect_text(&format!("changes    since the full archive in the set {name}")).expect_text("2 of 3 members");
}

/// By hand, removing an entry gives its directory a new time, so the directory must come again.
fn a_directory_without_an_entry_is_archived_whatever_its_time() {
    let world = World::new();
    let directory = world.tree().join("d");
    fs::create_dir(&directory).unwrap();
    for name in ["d/one", "d/two", "other"] {
        world.write(name, name);
    }
    world.backup();
    let time = directory.metadata().unwrap().modified().unwrap();
    fs::remove_file(directory.join("one")).unwrap();
    File::open(&directory).unwrap().set_modified(time).unwrap();
    let (changes, _) = world.backup();
    assert_eq!((changes.members(), changes.gone()), (vec![String::new(), "d/".to_owned()], "d/one ".to_owned()));
}

fn a_restored_tree_is_compared_by_content() {
    let world = World::new();
    world.write("same", "content");
    world.write("large", &"x".repeat(3 << 20));
    world.write("linked", "two names");
    fs::hard_link(world.tree().join("linked"), world.tree().join("other")).unwrap();
    symlink("target", world.tree().join("link")).unwrap();
    let (full, _) = world.backup();
    world.voltar(&["restore", full.0.to_str().unwrap()]).ok();
    let (same, _) = world.backup();
    // The names of a file with several are archived together, with what holds them.
    assert_eq!(same.members(), ["", "linked", "other"]);
    // The same size and the same time, but other content.
    let large = world.tree().join("large");
    let time = large.metadata().unwrap().modified().unwrap();
    world.write("large", &format!("{}y", "x".repeat((3 << 20) - 1)));
    File::options().write(true).open(&large).unwrap().set_modified(time).unwrap();
    let expected = world.snapshot();
    let (changes, _) = world.backup();
    assert_eq!(changes.members(), ["", "large", "linked", "other"]);
    expected.assert_same(&TreeSnapshot::of(&world.extract(&changes, "out")), "after a restore");
}

fn all_is_archived_where_changes_cannot_be_told() {
    let world = World::new();
    world.write("file", "content");
    let (full, _) = world.backup();
    let index = full.0.join("data.index.zst");
    let content = fs::read(&index).unwrap();
    let is_full = |why: &str| {
        let (set, made) = world.backup();
        assert!(set.record()["base"].is_null(), "{why}: {}", set.record());
        if !why.is_empty() {
            made.expect_text("data: all of it is archived, not only what has changed: ").expect_text(why);
        }
        fs::remove_dir_all(&set.0).unwrap();
    };
    for (damage, why) in [
        (content[..content.len() - 1].to_vec(), "no set"),
        ([&content[..20], &[content[20] ^ 1], &content[21..]].concat(), "cannot use the index"),
        (vec![b'x'; content.len()], "cannot use the index"),
    ] {
        fs::write(&index, damage).unwrap();
        // A file of another length makes the whole set incomplete.
        is_full(if why == "no set" { "" } else { why });
    }
    fs::write(&index, &content).unwrap();
    let (set, _) = world.backup();
    assert!(!set.record()["base"].is_null());
    fs::remove_dir_all(&set.0).unwrap();
    let with_xattrs = world.voltar(&["backup", "--into", "sets", "--full-every", "30d", "--xattrs"]).ok();
    with_xattrs.expect_text("has no extended attributes");
    fs::remove_dir_all(world.newest().0).unwrap();
    // A set that is newer than now.
    let later = world.at("sets/2999-01-01T00-00-00Z");
    fs::rename(&full.0, &later).unwrap();
    let made = world.voltar(&["backup", "--into", "sets", "--format", "gz", "--full-every", "30d"]).run();
    made.expect_code(1).expect_text("the clock of this host was set back");
    fs::rename(&later, &full.0).unwrap();
    world.docker.volume("another");
    world.docker.container("web").mount("another", "/srv/data").write();
    fs::write(world.docker.data("another").join("file"), "content").unwrap();
    world.voltar(&["backup", "--into", "sets", "--full-every", "1", "--dry-run"]).ok();
    let made = world.voltar(&["plan", "--into", "sets", "--full-every", "30d"]).ok();
    made.expect_text("has it of other volumes");
}

fn a_set_needs_its_base() {
    let world = World::new();
    world.write("file", "one");
    let (full, _) = world.backup();
    world.write("file", "two");
    let (changes, _) = world.backup();
    let away = world.at("away");
    fs::rename(&full.0, &away).unwrap();
    let set = changes.0.to_str().unwrap();
    for command in ["restore", "verify", "list"] {
        let refused = world.voltar(&[command, set]).run().expect_code(2);
        refused
            .expect_text("the full archive of 'data' in the set")
            .expect_text(full.0.file_name().unwrap().to_str().unwrap())
            .expect_text("back beside this one");
    }
    world.voltar(&["sets", "sets"]).ok().expect_text("incomplete");
    fs::rename(&away, &full.0).unwrap();
    let base = format!("changes    since {}", full.0.join("data.tar.gz").display());
    world.voltar(&["restore", set, "--dry-run"]).ok().expect_text(&base);
    world.voltar(&["restore", set]).ok();
    assert_eq!(fs::read_to_string(world.tree().join("file")).unwrap(), "two");
    // From inside of the set too.
    let inside = Tool::voltar().dir(&changes.0).args(["list", "."]).ok();
    assert_eq!(inside.answer().lines().count(), 2, "{inside}");
}

fn a_base_is_kept_as_long_as_it_is_needed() {
    let world = World::new();
    world.write("file", "one");
    let (full, _) = world.backup();
    world.write("file", "two");
    let (first, _) = world.backup();
    world.write("file", "three");
    let (second, _) = world.backup();
    let plan = world.voltar(&["prune", "sets", "--keep-last", "1", "--dry-run"]).ok();
    plan.expect_text("base").expect_text("1 of 3 sets would be removed");
    world.voltar(&["prune", "sets", "--keep-last", "1"]).ok();
    assert!(full.0.exists() && !first.0.exists() && second.0.exists());
    world.voltar(&["backup", "--into", "sets", "--format", "gz", "--keep-last", "1"]).ok();
    assert!(!full.0.exists() && !second.0.exists(), "nothing needs it any more");
}

/// Each archive of a set has the full one of its name.
fn all_archives_of_a_set_hold_changes() {
    let world = World::new();
    let more = world.docker.volume("more");
    world.docker.container("other").mount("more", "/srv/more").write();
    layout(&world.at("other.toml"), "more", "other", "/srv/more");
    let both = ["layout.toml", "other.toml"].map(|name| fs::read_to_string(world.at(name)).unwrap());
    fs::write(world.at("layout.toml"), both.concat()).unwrap();
    for text in ["one", "two"] {
        world.write(text, text);
        fs::write(more.join(text), text).unwrap();
        world.backup();
    }
    let expected = ["data.changes.tar.gz", "data.gone", "more.changes.tar.gz", "more.gone"];
    assert_eq!(world.newest().files(), expected);
}

/// A set that is damaged stays, and so does what it needs; also if it cannot be read what that is.
fn a_base_of_a_damaged_set_is_kept() {
    let world = World::new();
    world.write("file", "one");
    let (full, _) = world.backup();
    world.write("file", "two");
    let (changes, _) = world.backup();
    for (file, damaged, status) in [("data.changes.tar.gz", "", 0), ("voltar.json", "{", 1)] {
        let path = changes.0.join(file);
        let content = fs::read(&path).unwrap();
        fs::write(&path, damaged).unwrap();
        world.voltar(&["backup", "--into", "sets", "--format", "gz"]).ok();
        let prune = ["prune", "sets", "--keep-last", "1"];
        world.voltar(&prune).arg("--dry-run").ok().expect_text("base").expect_text("incomplete, and stays");
        let outcome = world.voltar(&prune).run().expect_code(status);
        assert!(full.0.exists() && changes.0.exists(), "{file}: {outcome}");
        assert_eq!(status == 1, outcome.text().contains("stays, and so does each full set before it: "), "{outcome}");
        fs::write(&path, content).unwrap();
    }
    world.voltar(&["prune", "sets", "--keep-last", "1"]).ok();
    assert!(!full.0.exists() && !changes.0.exists());
}

fn a_part_and_a_comparison() {
    let world = World::new();
    for (name, content) in [("d/changed", "old"), ("d/gone", "gone"), ("d/same", "same"), ("e/other", "other")] {
        fs::create_dir_all(world.tree().join(name).parent().unwrap()).unwrap();
        world.write(name, content);
    }
    world.backup();
    world.write("d/changed", "new");
    fs::remove_file(world.tree().join("d/gone")).unwrap();
    let (changes, _) = world.backup();
    let set = changes.0.to_str().unwrap();
    world.voltar(&["verify", "--against-volume", set]).ok();
    world.voltar(&["restore", "--to", "part", "--path", "d", set]).ok();
    let part = world.at("part/d");
    assert_eq!(fs::read_to_string(part.join("changed")).unwrap(), "new");
    assert!(part.join("same").exists() && !part.join("gone").exists() && !world.at("part/e").exists());
    let listed = world.voltar(&["list", set]).ok().answer();
    assert_eq!((listed.matches("d/changed").count(), listed.matches("d/gone").count()), (1, 0), "{listed}");
    let expected = world.snapshot();
    for mode in [&["--merge"][..], &["--in-place"], &[]] {
        world.write("d/changed", "later");
        fs::remove_file(world.tree().join("d/same")).unwrap();
        world.voltar(&[&["restore", set], mode].concat()).ok();
        expected.clone().without_root().assert_same(&world.snapshot().without_root(), &format!("{mode:?}"));
    }
}

fn damage_of_any_file_of_a_set_is_found() {
    let world = World::new();
    world.write("file", &"one".repeat(1000));
    world.write("gone", "gone");
    let (full, _) = world.backup();
    fs::remove_file(world.tree().join("gone")).unwrap();
    world.write("file", &"two".repeat(1000));
    let (changes, _) = world.backup();
    let set = changes.0.to_str().unwrap();
    world.voltar(&["verify", set]).ok();
    let files = [full.0.join("data.tar.gz"), changes.0.join("data.changes.tar.gz"), changes.0.join("data.gone")];
    for file in files {
        let content = fs::read(&file).unwrap();
        let at = content.len() / 2;
        let mut damaged = content.clone();
        damaged[at] ^= 0x20;
        fs::write(&file, damaged).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        world.voltar(&["verify", set]).run().expect_code(2).expect_text(&name);
        let before = world.snapshot();
        world.voltar(&["restore", set]).run().expect_code(2).expect_text(&name);
        before.assert_same(&world.snapshot(), &name);
        fs::write(&file, content).unwrap();
    }
    // An index is needed by later backups alone, and `verify` of its own set reads it.
    let index = full.0.join("data.index.zst");
    let mut content = fs::read(&index).unwrap();
    content[20] ^= 1;
    fs::write(&index, content).unwrap();
    world.voltar(&["verify", full.0.to_str().unwrap()]).run().expect_code(2).expect_text("data.index.zst");
}

fn a_database_is_always_full() {
    let world = World::new();
    world.write("PG_VERSION", "15\n");
    world.write("table", "one");
    std::thread::sleep(Duration::from_secs(3));
    world.backup();
    // But one of which nothing has changed is not archived again.
    let (same, made) = world.backup();
    made.expect_text("data: nothing has changed since the set");
    assert!(same.files().is_empty() && !same.record()["base"].is_null(), "{}", same.record());
    world.snapshot().assert_same(&TreeSnapshot::of(&world.extract(&same, "same")), "the base");
    world.write("table", "two");
    let (set, _) = world.backup();
    assert_eq!(
        (&set.record()["base"], set.files()),
        (&Value::Null, vec!["data.index.zst".into(), "data.tar.gz".into()])
    );
    world.snapshot().assert_same(&TreeSnapshot::of(&world.extract(&set, "full")), "all of it");
    let members = Tool::new("tar").arg("-tzf").arg(set.0.join("data.tar.gz")).ok();
    assert_eq!(members.answer().lines().count(), 3, "{members}");
}

fn every_so_many_sets_there_is_a_full_archive() {
    let world = World::new();
    world.write("file", "content");
    let is_full = |(set, _): (Set, Outcome)| set.record()["base"].is_null();
    let made: Vec<bool> = (0..7).map(|_| is_full(world.backup_every("3"))).collect();
    assert_eq!(made, [true, false, false, true, false, false, true]);
}
