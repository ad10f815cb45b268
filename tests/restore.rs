//! Restores as one sees them from outside: the ways to replace a tree, hostile and damaged archives, and
//! what a killed restore leaves. On a data root; neither an engine nor root is needed.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails, loudly")]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use common::data_root::DataRoot;
use common::hostile::archive;
use common::snapshot::TreeSnapshot;
use common::tool::Tool;
use common::tree::{build, dir, file, hard_link, link};
use tempfile::TempDir;

/// One stopped container `x` with its tree at `/srv/x`: a volume, or a bind mount. Both hold the same.
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
            // By a volume's recorded place it is known whose paths the binds are.
            data_root.volume("other");
            container.mount("other", "/other").bind(&live, "/srv/x").write();
            live
        } else {
            container.mount("x", "/srv/x").write();
            data_root.volume("x")
        };
        fs::write(scratch.path().join("x.toml"), "[[archive]]\nname = 'x'\ncontainer = 'x'\npath = '/srv/x'\n")
            .unwrap();
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

    /// The application has gone on since the backup, and not in a friendly way.
    fn change(&self) {
        fs::write(self.live.join("both"), "changed").unwrap();
        fs::write(self.live.join("new"), "new").unwrap();
        fs::create_dir_all(self.live.join("new-directory/below")).unwrap();
        fs::remove_dir_all(self.live.join("directory")).unwrap();
        // Whoever followed it would write outside.
        fs::create_dir(self.at("outside")).unwrap();
        symlink(self.at("outside"), self.live.join("directory")).unwrap();
        fs::set_permissions(&self.live, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn now(&self) -> TreeSnapshot {
        TreeSnapshot::of(&self.live).carried_by_tar()
    }

    fn assert_nothing_hidden(&self) {
        for directory in [self.live.as_path(), self.live.parent().unwrap()] {
            for entry in fs::read_dir(directory).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                assert!(!name.starts_with(".voltar"), "{name} was left in {}", directory.display());
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
            world.assert_nothing_hidden();
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

#[test]
fn the_replaced_tree_is_kept_where_it_is_said() {
    for world in World::both() {
        world.change();
        let told = world.voltar("restore", &["backup", "--keep-previous"]).ok().text();
        let at = told.lines().find(|line| line.contains("previous content is kept in")).unwrap();
        let at = at.split('\'').nth(1).unwrap();
        assert_eq!(fs::read_to_string(format!("{at}/both")).unwrap(), "changed");
        assert_eq!(fs::read_to_string(world.live.join("both")).unwrap(), "archived");
    }
}

#[test]
fn a_damaged_archive_changes_nothing() {
    for world in World::both() {
        let path = world.at("backup/x.tar.bz2");
        let whole = fs::read(&path).unwrap();
        world.change();
        let before = world.now();
        let flipped = {
            let mut bytes = whole.clone();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 4;
            bytes
        };
        for damaged in [&flipped[..], &whole[..whole.len() - 5], b"", b"no archive"] {
            fs::write(&path, damaged).unwrap();
            for mode in MODES {
                world.voltar("restore", &["backup"]).args(mode).run().expect_code(2).expect_text("x.tar.bz2");
                before.assert_same(&world.now(), "after a damaged archive");
                world.assert_nothing_hidden();
            }
        }
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
            world.assert_nothing_hidden();
        }
        // A link that leads outside is data like any other, as long as nothing is written through it.
        fs::write(world.at("backup/x.tar"), archive(&through_link[..1])).unwrap();
        world.voltar("restore", &["backup"]).ok();
        assert_eq!(fs::read_link(world.live.join("l")).unwrap(), world.at("outside"));
        // Not even in a merge, where the link is there already.
        fs::write(world.at("backup/x.tar"), archive(&through_link[1..])).unwrap();
        world.voltar("restore", &["backup", "--merge"]).run().expect_code(2).expect_text("symbolic link");
        assert_eq!(fs::read_to_string(world.at("outside/sentinel")).unwrap(), "safe");
    }
}

#[test]
fn the_last_of_equal_names_counts() {
    use tar::EntryType as T;
    let world = World::new(false);
    let members = [("srv/x/a", T::Symlink, "/etc/passwd"), ("srv/x/a", T::Regular, ""), ("srv/x/a", T::Regular, "")];
    fs::remove_file(world.at("backup/x.tar.bz2")).unwrap();
    fs::write(world.at("backup/x.tar"), archive(&members)).unwrap();
    world.voltar("restore", &["backup"]).ok();
    assert_eq!(fs::read_to_string(world.live.join("a")).unwrap(), "evil");
    assert!(fs::symlink_metadata(world.live.join("a")).unwrap().is_file());
}

#[test]
fn every_command_cleans_up_after_a_killed_restore() {
    for world in World::both() {
        for command in ["backup", "restore", "resume"] {
            let hidden = if world.live.ends_with("bound") {
                world.live.join(".voltar-restore")
            } else {
                world.live.parent().unwrap().join(".voltar-restore")
            };
            fs::create_dir(&hidden).unwrap();
            fs::create_dir(hidden.join("tree")).unwrap();
            fs::write(hidden.join("tree/half"), "half").unwrap();
            if world.live.ends_with("bound") {
                world.voltar("plan", &["elsewhere"]).run().expect_code(1).expect_text("was interrupted");
            }
            let directory: &[&str] = match command {
                "backup" => &["backup", "--overwrite"],
                "restore" => &["backup"],
                _ => &[],
            };
            let told = world.voltar(command, directory).ok();
            told.expect_text("was interrupted").expect_text("content from before that run");
            world.assert_nothing_hidden();
            // The test itself has made and left the directory, and so changed the root's time.
            world.first.clone().without_root().assert_same(&world.now().without_root(), command);
        }
        let listed = world.voltar("list", &["backup/x.tar.bz2"]).ok().text();
        assert!(!listed.contains("half"), "{listed}");
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
