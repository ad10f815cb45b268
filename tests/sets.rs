//! Black-box tests of sets: `backup --into`, `sets`, `prune`, and what reads a set. They use a data root; neither an engine nor
//! root is needed. `sha256sum` and GNU tar are the oracles.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use common::data_root::DataRoot;
use common::tool::Tool;
use nix::fcntl::{Flock, FlockArg};
use tempfile::TempDir;

/// A stopped container with two volumes of a file each, at `/srv/data` and `/other`.
struct World {
    scratch: TempDir,
    docker: DataRoot,
}

impl World {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let docker = DataRoot::new(&scratch.path().join("docker"));
        for (volume, content) in [("data", "first"), ("other", "same")] {
            fs::write(docker.volume(volume).join("file"), content).unwrap();
        }
        docker.container("web").mount("data", "/srv/data").mount("other", "/other").write();
        let entry =
            |name: &str, path: &str| format!("[[archive]]\nname = '{name}'\ncontainer = 'web'\npath = '{path}'\n");
        fs::write(scratch.path().join("layout.toml"), entry("data", "/srv/data") + &entry("other", "/other")).unwrap();
        Self { scratch, docker }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn live(&self) -> PathBuf {
        self.docker.data("data").join("file")
    }

    fn voltar(&self, args: &[&str]) -> Tool {
        let tool = Tool::voltar().dir(self.scratch.path()).env("VOLTAR_STATE_DIR", self.at("state"));
        tool.args(["--data-root", "docker", "--layout", "layout.toml"]).args(args)
    }

    /// Makes a set, and gives it another name, so that the next one can be made at once.
    fn set(&self, name: &str) -> PathBuf {
        let before = self.sets();
        self.voltar(&["backup", "--into", "sets"]).ok();
        let made = self.sets().into_iter().find(|set| !before.contains(set)).unwrap();
        fs::rename(self.at("sets").join(made), self.at("sets").join(name)).unwrap();
        self.at("sets").join(name)
    }

    /// The names of everything in the directory of sets.
    fn sets(&self) -> Vec<String> {
        names(&self.at("sets"))
    }
}

fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn a_set_says_what_is_in_it() {
    let world = World::new();
    let outcome = world.voltar(&["backup", "--into", "sets", "--format", "gz", "--json"]).ok();
    // Also within the same second.
    world.voltar(&["plan", "--into", "sets"]).ok();
    let [name] = &world.sets()[..] else { panic!("{:?}", world.sets()) };
    let path = format!("sets/{name}");
    let made = outcome.answer().lines().map(json).find(|event| event["event"] == "set_made").unwrap();
    assert_eq!(made["path"], path);
    let set = world.at(&path);
    assert_eq!(names(&set), ["SHA256SUMS", "data.tar.gz", "other.tar.gz", "voltar.json"]);
    assert_eq!(fs::metadata(&set).unwrap().permissions().mode() & 0o7777, 0o700);
    Tool::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).dir(&set).ok();
    let listed = Tool::new("tar").arg("-tzf").arg(set.join("data.tar.gz")).ok();
    assert_eq!(listed.answer(), "srv/data/\nsrv/data/file");
    let manifest = json(&fs::read_to_string(set.join("voltar.json")).unwrap());
    assert_eq!((&manifest["version"], &manifest["voltar"]), (&1.into(), &env!("CARGO_PKG_VERSION").into()));
    assert_eq!(manifest["started"], name.replace('-', ":").replacen(':', "-", 2));
    let archive = &manifest["archives"][0];
    assert_eq!(
        (&archive["name"], &archive["archive"]["file"], &archive["format"]),
        (&"data".into(), &"data.tar.gz".into(), &"gz".into())
    );
    assert_eq!(
        (&archive["path"], &archive["members"], &archive["sources"]),
        (&"srv/data".into(), &2.into(), &serde_json::json!(["data"]))
    );
    assert_eq!(archive["stream_bytes"], 10_240);
    assert_eq!(archive["archive"]["bytes"], fs::metadata(set.join("data.tar.gz")).unwrap().len());
    assert_eq!((&manifest["containers"][0]["name"], &manifest["warnings"]), (&"web".into(), &serde_json::json!([])));
}

#[test]
fn a_set_and_the_newest_of_a_directory_are_read() {
    let world = World::new();
    let old = world.set("2026-11-23T02-00-00Z");
    fs::write(world.live(), "second").unwrap();
    world.set("2026-11-24T02-00-00Z");
    fs::write(world.live(), "third").unwrap();
    world.voltar(&["verify", "sets"]).ok().expect_text("the newest set in 'sets' is 2026-11-24T02-00-00Z");
    world.voltar(&["list", "sets", "--only", "data"]).ok().expect_text(" srv/data/file");
    world.voltar(&["list", "sets"]).run().expect_code(2).expect_text("'sets' holds several archives: data, other");
    world.voltar(&["restore", "sets"]).ok();
    assert_eq!(fs::read_to_string(world.live()).unwrap(), "second");
    world.voltar(&["restore", old.to_str().unwrap()]).ok();
    assert_eq!(fs::read_to_string(world.live()).unwrap(), "first");
    world
        .voltar(&["verify", "--against-volume", "sets"])
        .run()
        .expect_code(1)
        .expect_text("data: 'file': size 6 in the archive, 5 in the volume");
    let sets = world.voltar(&["sets", "sets", "--json"]).ok();
    let sets = json(&sets.answer());
    assert_eq!(sets["sets"][0]["verified"], serde_json::Value::Null);
    assert!(sets["sets"][1]["verified"].as_str().unwrap().starts_with("20"), "{sets}");
    // A set that is not complete is never the newest one.
    fs::remove_file(world.at("sets/2026-11-24T02-00-00Z/voltar.json")).unwrap();
    let restored = world.voltar(&["restore", "sets"]).ok();
    let note = "2026-11-23T02-00-00Z' is used, and not a later one: 'sets/2026-11-24T02-00-00Z' is no set: it has no voltar.json";
    restored.expect_text(note);
    fs::remove_file(old.join("data.tar.bz2")).unwrap();
    world.voltar(&["restore", "sets"]).run().expect_code(2).expect_text("no set in 'sets' is complete");
    let text = world.voltar(&["sets", "sets"]).ok();
    assert_eq!(text.answer().matches("incomplete").count(), 2, "{text}");
}

/// What cannot be read now may be complete: an older set is not what `restore DIR` asks for. A symbolic link to itself stands for
/// a disk that fails.
#[test]
fn no_older_set_is_used_while_the_newest_cannot_be_read() {
    let world = World::new();
    let old = world.set("2026-11-23T02-00-00Z");
    fs::write(world.live(), "second").unwrap();
    let manifest = world.set("2026-11-24T02-00-00Z").join("voltar.json");
    let kept = world.at("kept.json");
    fs::rename(&manifest, &kept).unwrap();
    symlink("voltar.json", &manifest).unwrap();
    for args in [&["restore", "sets"][..], &["verify", "sets"], &["list", "sets", "--only", "data"]] {
        let refused = world.voltar(args).run().expect_code(2).expect_text("Too many symbolic links");
        refused.expect_text("'sets/2026-11-24T02-00-00Z' may be the newest complete set").expect_text("hint: ");
        assert_eq!(fs::read_to_string(world.live()).unwrap(), "second");
    }
    world.voltar(&["restore", old.to_str().unwrap()]).ok();
    assert_eq!(fs::read_to_string(world.live()).unwrap(), "first");
    fs::remove_file(&manifest).unwrap();
    fs::rename(&kept, &manifest).unwrap();
    world.voltar(&["restore", "sets"]).ok();
    assert_eq!(fs::read_to_string(world.live()).unwrap(), "second");
}

#[test]
fn archives_beside_sets_are_not_restored_by_mistake() {
    let world = World::new();
    world.set("2026-11-23T02-00-00Z");
    fs::write(world.live(), "second").unwrap();
    world.voltar(&["backup", "sets"]).ok();
    world.voltar(&["restore", "sets"]).run().expect_code(2).expect_text("'sets' holds archives, and sets too");
    world.voltar(&["restore", "sets/2026-11-23T02-00-00Z"]).ok();
    assert_eq!(fs::read_to_string(world.live()).unwrap(), "first");
}

#[test]
fn an_archive_of_another_digest_is_damaged() {
    for format in ["bz2", "gz", "zst", "tar"] {
        let world = World::new();
        world.voltar(&["backup", "--into", "sets", "--format", format]).ok();
        let set = world.at("sets").join(&world.sets()[0]);
        world.voltar(&["verify", "sets"]).ok();
        fs::remove_file(set.join("verified.json")).unwrap();
        // The archive of another night, which is as long, and not damaged.
        let archive = set.join(format!("data.tar.{format}").replace(".tar.tar", ".tar"));
        fs::write(world.live(), "First").unwrap();
        world.voltar(&["backup", "plain", "--format", format, "--only", "data"]).ok();
        let other = fs::read(world.at("plain").join(archive.file_name().unwrap())).unwrap();
        let manifest = fs::read_to_string(set.join("voltar.json")).unwrap();
        let length = |bytes: usize| format!("\"bytes\": {bytes},");
        let was = fs::metadata(&archive).unwrap().len();
        fs::write(&archive, &other).unwrap();
        fs::write(set.join("voltar.json"), manifest.replacen(&length(was as usize), &length(other.len()), 1)).unwrap();
        let damaged = world.voltar(&["verify", "sets"]).run().expect_code(2);
        damaged.expect_text("its SHA-256 digest is not the one in voltar.json");
        assert!(!set.join("verified.json").exists());
    }
}

#[test]
fn a_backup_that_fails_leaves_no_set() {
    let world = World::new();
    fs::remove_file(world.live()).unwrap();
    world.voltar(&["backup", "--into", "new/sets"]).run().expect_code(2).expect_text("data");
    assert!(!world.at("new").exists());
    fs::create_dir(world.at("sets")).unwrap();
    world.voltar(&["backup", "--into", "sets"]).run().expect_code(2);
    assert_eq!(world.sets(), [""; 0]);
}

#[test]
fn what_killed_runs_have_left_is_removed_and_nothing_else() {
    let world = World::new();
    let sets = world.at("sets");
    let left = sets.join(".2026-11-23T02-00-00Z.voltar-tmp");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join(".data.tar.gz.1.voltar-tmp"), "half").unwrap();
    fs::write(left.join("voltar.json"), "{}").unwrap();
    let foreign = sets.join(".2026-11-22T02-00-00Z.voltar-tmp");
    fs::create_dir_all(foreign.join("directory")).unwrap();
    symlink(world.docker.data("data"), sets.join(".2026-11-21T02-00-00Z.voltar-tmp")).unwrap();
    world
        .voltar(&["backup", "--into", "sets"])
        .run()
        .expect_code(1)
        .expect_text("removed 'sets/.2026-11-23T02-00-00Z.voltar-tmp', a leftover")
        .expect_text("'directory' in it is not of a set");
    assert!(!left.exists() && foreign.join("directory").exists() && world.live().exists());
    assert_eq!(world.sets().len(), 3);
}

#[test]
fn a_second_run_says_which_one_is_in_progress() {
    let world = World::new();
    fs::create_dir(world.at("sets")).unwrap();
    let lock = fs::File::create(world.at("sets/.voltar.lock")).unwrap();
    fs::write(world.at("sets/.voltar.lock"), "`voltar backup` since then (process 1 on x\u{1b})").unwrap();
    let lock = Flock::lock(lock, FlockArg::LockExclusive).unwrap();
    for args in [&["backup", "--into", "sets"][..], &["prune", "sets", "--keep-last", "1"]] {
        let busy = world.voltar(args).run().expect_code(75);
        busy.expect_text(r"'sets' is in use by `voltar backup` since then (process 1 on x\033)");
    }
    let waiting = world.voltar(&["backup", "--into", "sets", "--wait", "1m"]).spawn(&world.at("log"));
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert_eq!(world.sets(), [".voltar.lock"]);
    drop(lock);
    waiting.wait().expect_code(0).expect_text("waiting: 'sets' is in use by");
    assert_eq!(world.sets().len(), 1);
}

#[test]
fn a_second_backup_of_a_volume_is_busy_or_waits() {
    let world = World::new();
    let first = world
        .voltar(&["backup", "--to-command", "cat > /dev/null; touch begun; while [ ! -e go ]; do sleep 0.05; done"])
        .spawn(&world.at("first"));
    while !world.at("begun").exists() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    let tree = world.docker.data("data").canonicalize().unwrap();
    let busy = format!("data: '{}' is in use by `voltar backup` since 2", tree.display());
    for args in [&["backup", "other"][..], &["backup", "--into", "sets"]] {
        let second = world.voltar(args).run().expect_code(75).expect_text(&busy);
        second.expect_text(&format!("(process {} on ", first.pid())).expect_text("--wait 10m");
    }
    assert!(!world.at("other").exists());
    let waiting = world.voltar(&["backup", "other", "--wait", "2562047788015215h"]).spawn(&world.at("second"));
    std::thread::sleep(std::time::Duration::from_millis(500));
    // What it has found before is not what it archives.
    fs::write(tree.join("meanwhile"), "x").unwrap();
    fs::write(world.at("go"), "").unwrap();
    waiting.wait().expect_code(0).expect_text(&format!("waiting: {busy}"));
    first.wait().expect_code(0);
    world.voltar(&["list", "other/data.tar.bz2"]).ok().expect_text("meanwhile");
    assert_eq!(fs::read_dir(world.at("state")).unwrap().count(), 0, "nothing is left of the locks");
}

/// What stops containers needs its record; what stops none does not.
#[test]
fn without_a_lock_a_backup_goes_on() {
    let world = World::new();
    fs::create_dir(world.at("state")).unwrap();
    fs::set_permissions(world.at("state"), fs::Permissions::from_mode(0o777)).unwrap();
    let done = world.voltar(&["backup", "other"]).ok();
    done.expect_text("other users can write to this directory")
        .expect_text("no other backup is kept away from the volumes");
}

#[test]
fn an_archive_that_holds_much_less_is_a_warning() {
    let world = World::new();
    for number in 0..10 {
        fs::write(world.docker.data("data").join(number.to_string()), "x").unwrap();
    }
    world.set("2026-11-23T02-00-00Z");
    for number in 0..10 {
        fs::remove_file(world.docker.data("data").join(number.to_string())).unwrap();
    }
    let warning = "data: has 2 members, and had 12 before (in the set of ";
    world.voltar(&["backup", "--into", "sets"]).run().expect_code(1).expect_text(warning);
    let set = world.at("sets").join(world.sets().last().unwrap());
    let manifest = json(&fs::read_to_string(set.join("voltar.json")).unwrap());
    assert!(manifest["warnings"][0].as_str().unwrap().starts_with(warning), "{manifest}");
    let sets = world.voltar(&["sets", "sets"]).ok();
    assert!(sets.answer().lines().last().unwrap().contains("  1         never"), "{sets}");
}

#[test]
fn a_set_with_many_warnings_is_read_again() {
    let world = World::new();
    for number in 0..1200 {
        let at = world.docker.data("data").join(number.to_string());
        drop(std::os::unix::net::UnixListener::bind(at).unwrap());
    }
    world.voltar(&["backup", "--into", "sets"]).run().expect_code(1);
    let sets = json(&world.voltar(&["sets", "sets", "--json"]).ok().answer());
    let set = &sets["sets"][0];
    assert_eq!((set["warning_count"].as_u64(), set["warnings"].as_array().unwrap().len()), (Some(1200), 1000), "{set}");
}

#[test]
fn a_set_that_was_just_made_is_never_removed() {
    let world = World::new();
    world.set("2999-11-23T02-00-00Z");
    let warning = "and there is a set of 2999-11-23T02-00-00Z";
    world.voltar(&["backup", "--into", "sets", "--keep-last", "1"]).run().expect_code(1).expect_text(warning);
    assert_eq!(world.sets().len(), 2);
}

#[test]
fn a_prune_removes_complete_sets_that_are_not_kept() {
    let world = World::new();
    for day in 20..25 {
        world.set(&format!("2026-11-{day}T02-00-00Z"));
    }
    let kept = |outcome: &[String]| outcome.iter().map(|name| name[8..10].to_owned()).collect::<Vec<_>>().join(" ");
    fs::write(world.at("sets/2026-11-21T02-00-00Z/notes.txt"), "mine").unwrap();
    fs::remove_file(world.at("sets/2026-11-22T02-00-00Z/voltar.json")).unwrap();
    let shown = world.voltar(&["prune", "sets", "--keep-last", "1", "--dry-run", "--json"]).ok();
    let shown = json(&shown.answer());
    let removed = shown["sets"].as_array().unwrap().iter().filter(|set| set["removed"] == true).count();
    assert_eq!((removed, &shown["incomplete"]), (3, &serde_json::json!(["2026-11-22T02-00-00Z"])));
    assert_eq!(kept(&world.sets()), "20 21 22 23 24");
    world
        .voltar(&["prune", "sets", "--keep-last", "1"])
        .run()
        .expect_code(1)
        .expect_text("'notes.txt' in it is not of a set");
    assert_eq!(kept(&world.sets()), "21 22 24");
    world.voltar(&["prune", "sets"]).run().expect_code(2).expect_text("nothing says which sets are kept");
    // A backup counts its own set.
    world.voltar(&["backup", "--into", "sets", "--keep-last", "2"]).run().expect_code(1);
    let sets = world.sets();
    assert_eq!((kept(&sets[..3]), sets.len()), ("21 22 24".to_owned(), 4));
}
