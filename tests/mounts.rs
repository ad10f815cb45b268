//! Black-box tests of the way to the files: paths below mounts, symbolic links on the way, and mounts that overlap. They
//! use a data root; neither an engine nor root is needed.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use common::data_root::DataRoot;
use common::hostile::archive;
use common::tool::{Outcome, Tool};
use nix::sys::signal::Signal;
use tar::EntryType as T;
use tempfile::TempDir;

const MODES: [&[&str]; 4] = [&[], &["--keep-previous"], &["--in-place"], &["--merge"]];

/// A data root and a layout.
struct World {
    scratch: TempDir,
    docker: DataRoot,
}

impl World {
    /// Each entry of the layout is an archive's name and its path in the container `web`.
    fn new(entries: &[(&str, &str)]) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let docker = DataRoot::new(&scratch.path().join("docker"));
        docker.volume("other");
        let entry =
            |(name, path): &(&str, &str)| format!("[[archive]]\nname = '{name}'\ncontainer = 'web'\npath = '{path}'\n");
        let layout = entries.iter().map(entry).collect::<Vec<_>>().concat();
        fs::write(scratch.path().join("layout.toml"), layout).unwrap();
        Self { scratch, docker }
    }

    /// A container with these volumes, each with its mountpoint.
    fn volumes(self, volumes: &[(&str, &str)]) -> Self {
        let mut container = self.docker.container("web").mount("other", "/other");
        for (volume, at) in volumes {
            self.docker.volume(volume);
            container = container.mount(volume, at);
        }
        container.write();
        self
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn voltar(&self, command: &str, args: &[&str]) -> Tool {
        let tool = Tool::voltar().dir(self.scratch.path()).env("VOLTAR_STATE_DIR", self.at("state"));
        tool.args([command, "--data-root", "docker", "--layout", "layout.toml"]).args(args)
    }

    fn refused(&self, command: &str, args: &[&str], text: &str) {
        self.voltar(command, args).run().expect_code(2).expect_text(text);
    }

    fn listed(&self, archive: &str) -> String {
        self.voltar("list", &[archive]).ok().text()
    }
}

fn put(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}

/// The names in a directory but for kept trees.
fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| !name.starts_with(".voltar-previous-"));
    names.sort();
    names
}

/// Writes `backup/data.tar.bz2`, which takes long to read: these files have 16 MB each.
fn put_large_archive(world: &World, names: &[&str]) {
    let content: Vec<u8> = (0..4_000_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    fs::create_dir(world.at("backup")).unwrap();
    let file = fs::File::create(world.at("backup/data.tar.bz2")).unwrap();
    let mut builder = tar::Builder::new(bzip2::write::BzEncoder::new(file, bzip2::Compression::fast()));
    for name in names {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_uid(nix::unistd::geteuid().as_raw().into());
        header.set_gid(nix::unistd::getegid().as_raw().into());
        builder.append_data(&mut header, name, &content[..]).unwrap();
    }
    builder.into_inner().unwrap().finish().unwrap();
}

#[test]
fn a_symbolic_link_below_a_mount_is_refused_and_never_followed() {
    let world = World::new(&[("media", "/srv/app/media")]).volumes(&[("app", "/srv")]);
    let app = world.docker.data("app").join("app");
    put(&app.join("media/file"), "archived");
    world.voltar("backup", &["backup"]).ok();
    put(&world.at("host/media/secret"), "the host's");
    for (from, to) in [(app.join("media"), world.at("host/media")), (app.clone(), world.at("host"))] {
        fs::remove_dir_all(&from).unwrap();
        symlink(&to, &from).unwrap();
        let text = if from == app {
            format!("leads through the symbolic link '{}'", from.display())
        } else {
            format!("'{}' is a symbolic link", from.display())
        };
        world.voltar("plan", &["again"]).run().expect_code(1).expect_text(&text);
        world.refused("backup", &["again"], &text);
        for mode in MODES {
            world.refused("restore", &[&["backup"], mode].concat(), &text);
        }
        world.voltar("resume", &[]).ok();
        assert_eq!(names(&world.at("host/media")), ["secret"]);
        assert!(!world.at("again").exists());
        fs::remove_file(&from).unwrap();
        put(&app.join("media/file"), "live");
    }
    world.voltar("restore", &["backup"]).ok();
    assert_eq!(read(&app.join("media/file")), "archived");
}

#[test]
fn a_volume_that_is_bound_to_a_directory_is_that_directory() {
    let world = World::new(&[("data", "/srv")]).volumes(&[("v", "/srv")]);
    let (bound, hidden) = (world.at("big/data"), world.docker.data("v"));
    world.docker.options("v", "none", bound.to_str().unwrap(), "bind");
    world.refused("backup", &["backup"], "does not exist on this host");
    put(&bound.join("file"), "archived");
    world.voltar("plan", &["backup"]).ok().expect_text(&format!("volume     v: {}", bound.display()));
    world.voltar("backup", &["backup"]).ok();
    assert!(world.listed("backup/data.tar.bz2").contains("srv/file"));
    for mode in MODES {
        put(&bound.join("file"), "live");
        world.voltar("restore", &[&["backup"], mode].concat()).ok();
        assert_eq!(read(&bound.join("file")), "archived", "{mode:?}");
        // The directory that holds it is not Docker's.
        assert_eq!(names(&world.at("big")), ["data"]);
        assert!(names(&hidden).is_empty());
    }
    world.docker.options("v", "none", bound.to_str().unwrap(), "bind,ro");
    world.voltar("backup", &["backup", "--overwrite"]).ok();
    world.refused("restore", &["backup"], "is mounted read-only");
}

/// An engine mounts the inner volume at the target of the link, in the container.
#[test]
fn a_symbolic_link_to_a_nested_mountpoint_is_refused() {
    let world = World::new(&[("html", "/var/www/html")])
        .volumes(&[("html", "/var/www/html"), ("up", "/var/www/html/a/uploads")]);
    let (html, up) = (world.docker.data("html"), world.docker.data("up"));
    put(&up.join("a.jpg"), "jpg");
    put(&html.join("index.php"), "php");
    // The mountpoint need not exist before the container is started.
    world.voltar("backup", &["backup"]).ok();
    for (link, target) in [("a", "/etc"), ("a/uploads", "../index.php")] {
        if link == "a/uploads" {
            fs::remove_file(html.join("a")).unwrap();
            fs::create_dir(html.join("a")).unwrap();
        }
        symlink(target, html.join(link)).unwrap();
        let text = format!("the symbolic link '{}'", html.join("a").display());
        let text = if link == "a" { text } else { format!("'{}' is a symbolic link", html.join(link).display()) };
        world.refused("backup", &["again"], &text);
        for mode in MODES {
            world.refused("restore", &[&["backup"], mode].concat(), &text);
        }
    }
    assert_eq!(read(&up.join("a.jpg")), "jpg");
}

#[test]
fn a_symbolic_link_in_the_subpath_of_a_volume_is_refused() {
    let world = World::new(&[("media", "/srv")]);
    let live = world.docker.volume("v");
    world.docker.container("web").mount("other", "/other").mount_part("v", "app/media", "/srv").write();
    put(&live.join("app/media/file"), "archived");
    world.voltar("backup", &["backup"]).ok();
    assert!(world.listed("backup/media.tar.bz2").contains("srv/file"));
    put(&live.join("app/media/file"), "live");
    world.voltar("restore", &["backup"]).ok();
    assert_eq!(read(&live.join("app/media/file")), "archived");

    put(&world.at("host/media/secret"), "the host's");
    fs::remove_dir_all(live.join("app")).unwrap();
    symlink(world.at("host"), live.join("app")).unwrap();
    world.refused("backup", &["again"], "leads through the symbolic link");
    world.refused("restore", &["backup"], "leads through the symbolic link");
    assert_eq!(names(&world.at("host/media")), ["secret"]);
}

#[test]
fn a_directory_that_is_replaced_while_its_new_tree_is_staged_is_not_swapped() {
    for mode in [&[][..], &["--keep-previous"]] {
        let world = World::new(&[("data", "/srv")]).volumes(&[("v", "/srv")]);
        let live = world.docker.data("v");
        let beside = live.parent().unwrap();
        put(&live.join("file"), "old");
        put_large_archive(&world, &["srv/big"]);
        let run = world.voltar("restore", &[&["backup", "-j", "1"], mode].concat()).spawn(&world.at("log"));
        while !names(beside).iter().any(|name| name.starts_with(".voltar-restore-")) {
            std::thread::yield_now();
        }
        run.signal(Signal::SIGSTOP);
        // As a filesystem that was unmounted, or as an engine that was upgraded would.
        fs::rename(&live, world.at("away")).unwrap();
        put(&live.join("another"), "another");
        run.signal(Signal::SIGCONT);
        run.wait().expect_code(2).expect_text("no longer the directory that was found at first");
        assert_eq!((names(&live), names(beside)), (vec!["another".into()], vec!["_data".into()]));
        assert_eq!(read(&world.at("away/file")), "old");
    }
}

#[test]
fn a_source_that_is_replaced_while_the_archive_is_read_is_refused() {
    for mode in ["--merge", "--in-place"] {
        let world = World::new(&[("data", "/srv")]);
        let source = world.at("home/data");
        put(&source.join("file"), "live");
        world.docker.container("web").mount("other", "/other").bind(&source, "/srv").write();
        put_large_archive(&world, &["srv/file", "srv/passwd"]);
        put(&world.at("host/passwd"), "the host's");

        let log = world.at("log");
        let run = world.voltar("restore", &["backup", mode, "--json", "-j", "1"]).spawn(&log);
        // The plan is made; the archive is being read to its end.
        while !fs::read_to_string(&log).unwrap_or_default().contains("\"started\"") {
            std::thread::yield_now();
        }
        run.signal(Signal::SIGSTOP);
        fs::rename(&source, world.at("home/away")).unwrap();
        symlink(world.at("host"), &source).unwrap();
        run.signal(Signal::SIGCONT);
        run.wait().expect_code(2).expect_text("no longer the directory that was found at first");
        assert_eq!(
            (names(&world.at("host")), read(&world.at("host/passwd"))),
            (vec!["passwd".into()], "the host's".into())
        );
        assert_eq!(read(&world.at("home/away/file")), "live");
    }
}

#[test]
fn a_nested_volume_with_an_entry_of_its_own_is_left_to_it() {
    let world = World::new(&[("html", "/var/www/html"), ("uploads", "/var/www/html/uploads")])
        .volumes(&[("html", "/var/www/html"), ("up", "/var/www/html/uploads")]);
    let (html, up) = (world.docker.data("html"), world.docker.data("up"));
    fs::create_dir(html.join("uploads")).unwrap();
    let spoil = |text: &str| {
        put(&html.join("index.php"), text);
        put(&up.join("a.jpg"), text);
        put(&up.join("late.jpg"), text);
    };
    put(&html.join("index.php"), "php");
    put(&up.join("a.jpg"), "jpg");
    let note = "html: '/var/www/html/uploads' is another volume, which is left to the archive uploads";
    world.voltar("plan", &["backup"]).ok().expect_text(note);
    world.voltar("backup", &["backup"]).ok();
    let listed = world.listed("backup/html.tar.bz2");
    assert!(listed.contains("uploads/") && !listed.contains("a.jpg"), "{listed}");

    let is_restored = |merged: bool, why: &str| {
        assert_eq!((read(&html.join("index.php")), read(&up.join("a.jpg"))), ("php".into(), "jpg".into()), "{why}");
        assert_eq!(up.join("late.jpg").exists(), merged, "{why}");
        assert_eq!(names(html.parent().unwrap()), ["_data"]);
        assert_eq!(names(&html), ["index.php", "uploads"]);
    };
    for mode in MODES {
        spoil("live");
        world.voltar("restore", &[&["backup"], mode].concat()).ok().expect_no_text("are skipped");
        is_restored(mode.contains(&"--merge"), &format!("{mode:?}"));
    }
    // The archive of the manual command has all mounts; the nested volume still comes from its own archive.
    put(&world.at("x/var/www/html/index.php"), "php");
    put(&world.at("x/var/www/html/uploads/a.jpg"), "older");
    fs::remove_file(world.at("backup/html.tar.bz2")).unwrap();
    Tool::shell("tar -cf backup/html.tar -C x var/www/html").dir(world.scratch.path()).ok();
    spoil("live");
    world.voltar("restore", &["backup"]).ok().expect_text("1 members of '/var/www/html/uploads' are skipped");
    is_restored(false, "beside the archive of the manual command");
    // On its own it is all that there is.
    world.voltar("restore", &["backup", "--only", "html"]).ok();
    assert_eq!(read(&up.join("a.jpg")), "older");
}

#[test]
fn a_nested_volume_that_is_read_only_is_refused_or_left_as_it_is() {
    let world = World::new(&[("data", "/srv")]);
    let [outer, inner, media] = ["outer", "inner", "media"].map(|name| world.docker.volume(name));
    let web = world.docker.container("web").mount("outer", "/srv").mount("media", "/srv/media");
    web.mount_read_only("inner", "/srv/static").write();
    fs::create_dir(outer.join("static")).unwrap();
    fs::create_dir(outer.join("media")).unwrap();
    let put_all = |text: &str| {
        for file in [outer.join("file"), inner.join("one"), inner.join("two"), media.join("three")] {
            put(&file, text);
        }
    };
    put_all("archived");
    world.voltar("backup", &["backup"]).ok();
    assert!(world.listed("backup/data.tar.bz2").contains("static/two"));
    for mode in MODES {
        put_all("live");
        world.refused("restore", &[&["backup"], mode].concat(), "'/srv/static' is mounted read-only");
        assert_eq!(read(&outer.join("file")), "live");
        let run = world.voltar("restore", &[&["backup", "--skip-read-only"], mode].concat()).run().expect_code(1);
        run.expect_text("2 members of '/srv/static' are not restored: it is mounted read-only");
        let now = [outer.join("file"), inner.join("one"), media.join("three")].map(|file| read(&file));
        assert_eq!(now, ["archived", "live", "archived"], "{mode:?}");
        assert_eq!(names(&outer), ["file", "media", "static"]);
    }
}

#[test]
fn a_nested_volume_without_an_archive_belongs_to_the_tree_around_it() {
    let world = World::new(&[("data", "/srv/data"), ("media", "/srv/media")]);
    let world = world.volumes(&[("data", "/srv/data"), ("nested", "/srv/data/nested"), ("media", "/srv/media")]);
    put(&world.docker.data("media").join("film"), "film");
    put(&world.docker.data("nested").join("file"), "archived");
    world.voltar("backup", &["backup"]).ok().expect_no_text("left to the archive");
    put(&world.docker.data("nested").join("file"), "live");
    world.voltar("restore", &["backup"]).ok();
    assert_eq!(read(&world.docker.data("nested").join("file")), "archived");
}

#[test]
fn a_nested_volume_of_which_the_archive_has_only_the_mountpoint_is_left_as_it_is() {
    let world =
        World::new(&[("html", "/var/www/html")]).volumes(&[("html", "/var/www/html"), ("up", "/var/www/html/up")]);
    let up = world.docker.data("up");
    put(&up.join("a.jpg"), "jpg");
    fs::create_dir(world.at("backup")).unwrap();
    let members = [("var/www/html/file", T::Regular, ""), ("var/www/html/up/", T::Directory, "")];
    fs::write(world.at("backup/html.tar"), archive(&members)).unwrap();
    for mode in MODES {
        let run = world.voltar("restore", &[&["backup"], mode].concat()).ok();
        run.expect_text("holds nothing of '/var/www/html/up', where another volume is mounted");
        assert_eq!(read(&up.join("a.jpg")), "jpg", "{mode:?}");
    }
    world.voltar("restore", &["backup", "--allow-empty"]).ok();
    assert!(names(&up).is_empty());
}

#[test]
fn a_member_that_is_no_directory_where_a_volume_is_mounted_is_refused() {
    let world =
        World::new(&[("html", "/var/www/html")]).volumes(&[("html", "/var/www/html"), ("up", "/var/www/html/up")]);
    let (html, up) = (world.docker.data("html"), world.docker.data("up"));
    put(&up.join("a.jpg"), "jpg");
    put(&html.join("file"), "live");
    fs::create_dir(world.at("backup")).unwrap();
    for kind in [(T::Regular, ""), (T::Symlink, "/etc"), (T::Fifo, ""), (T::Link, "var/www/html/file")] {
        let members = [("var/www/html/file", T::Regular, ""), ("var/www/html/up", kind.0, kind.1)];
        fs::write(world.at("backup/html.tar"), archive(&members)).unwrap();
        for mode in [&[][..], &["--keep-previous"]] {
            let text = "'up' is no directory in the archive, but another volume is mounted there";
            world.refused("restore", &[&["backup"], mode].concat(), text);
            assert_eq!((read(&up.join("a.jpg")), read(&html.join("file"))), ("jpg".into(), "live".into()));
        }
    }
}

#[test]
fn a_directory_with_a_mountpoint_is_not_replaced_by_a_file() {
    let world = World::new(&[("html", "/var/www/html")])
        .volumes(&[("html", "/var/www/html"), ("up", "/var/www/html/files/up")]);
    let (html, up) = (world.docker.data("html"), world.docker.data("up"));
    fs::create_dir_all(html.join("files/up")).unwrap();
    put(&up.join("a.jpg"), "jpg");
    put(&html.join("files/file"), "live");
    fs::create_dir(world.at("backup")).unwrap();
    for kind in [(T::Regular, ""), (T::Symlink, "/etc"), (T::Fifo, "")] {
        fs::write(world.at("backup/html.tar"), archive(&[("var/www/html/files", kind.0, kind.1)])).unwrap();
        for mode in [&[][..], &["--keep-previous"], &["--in-place"]] {
            let run = world.voltar("restore", &[&["backup"], mode].concat()).run().expect_code(2);
            run.expect_text("'files' is no directory in the archive, but volumes are mounted below it");
            assert!(html.join("files/up").is_dir());
            assert_eq!((read(&up.join("a.jpg")), read(&html.join("files/file"))), ("jpg".into(), "live".into()));
        }
    }
}

/// Such an archive is of a container in which both were one volume.
#[test]
fn a_hard_link_from_one_mount_to_another_is_refused() {
    let world = World::new(&[("web", "/srv")]).volumes(&[("outer", "/srv"), ("inner", "/srv/inner")]);
    let (outer, inner) = (world.docker.data("outer").join("file"), world.docker.data("inner").join("link"));
    fs::create_dir(world.at("backup")).unwrap();
    let directories = [("srv/", T::Directory, ""), ("srv/inner/", T::Directory, "")];
    for (file, link, other) in [("srv/file", "srv/inner/link", "file"), ("srv/inner/link", "srv/other", "link")] {
        let members = [(file, T::Regular, ""), (link, T::Link, file)];
        fs::write(world.at("backup/web.tar"), archive(&[&directories[..], &members].concat())).unwrap();
        for path in [&outer, &inner] {
            put(path, "live");
        }
        let text = format!("is a hard link to '{other}', which now lies on another mount");
        for mode in [&[][..], &["--keep-previous"]] {
            world.refused("restore", &[&["backup"], mode].concat(), &text);
            assert_eq!([&outer, &inner].map(|path| read(path)), ["live", "live"], "{mode:?}");
        }
    }
}

#[test]
fn archives_of_the_same_files_are_refused_with_both_names() {
    let refusal = |entries: &[(&str, &str)], volumes: &[(&str, &str)], text: &str| {
        let world = World::new(entries).volumes(volumes);
        put(&world.docker.data("v").join("app/media/file"), "x");
        let both = |outcome: Outcome| {
            drop(outcome.expect_text("the archives a and b would hold the same files").expect_text(text));
        };
        both(world.voltar("plan", &["backup"]).run().expect_code(1));
        both(world.voltar("backup", &["backup"]).run().expect_code(2));
        assert!(!world.at("backup").exists());
        for name in ["a", "b"] {
            world.voltar("backup", &["backup", "--only", name]).ok();
        }
        for mode in MODES {
            both(world.voltar("restore", &[&["backup"], mode].concat()).run().expect_code(2));
        }
        world.voltar("restore", &["backup", "--only", "b"]).ok();
    };
    // One volume in two entries, through two mountpoints.
    refusal(&[("a", "/one"), ("b", "/two")], &[("v", "/one"), ("v", "/two")], "both are '");
    // One entry inside another.
    refusal(&[("a", "/one"), ("b", "/one/app")], &[("v", "/one")], "_data/app' is inside '");
    refusal(&[("a", "/one/app/media"), ("b", "/two")], &[("v", "/one"), ("v", "/two")], "_data/app/media' is inside '");
}

#[test]
fn one_directory_at_two_paths_of_a_tree_is_archived_as_by_tar_and_restored_only_by_merging() {
    let world = World::new(&[("a", "/srv")]).volumes(&[("root", "/srv"), ("v", "/srv/one"), ("v", "/srv/two")]);
    let shared = world.docker.data("v");
    put(&shared.join("file"), "archived");
    world.voltar("backup", &["backup"]).ok();
    put(&shared.join("file"), "live");
    for mode in [&[][..], &["--in-place"]] {
        world.refused("restore", &[&["backup"], mode].concat(), "a: 'one' and 'two' of the tree are the same files");
    }
    world.voltar("restore", &["backup", "--merge"]).ok();
    assert_eq!(read(&shared.join("file")), "archived");
}

#[test]
fn two_directories_of_one_volume_are_restored_together() {
    let world = World::new(&[("db", "/srv/app/db"), ("media", "/srv/app/media")]).volumes(&[("v", "/srv")]);
    let app = world.docker.data("v").join("app");
    let spoil = |text: &str| ["db", "media"].iter().for_each(|name| put(&app.join(name).join("file"), text));
    spoil("archived");
    world.voltar("backup", &["backup"]).ok();
    for mode in MODES {
        spoil("live");
        world.voltar("restore", &[&["backup"], mode].concat()).ok();
        for name in ["db", "media"] {
            assert_eq!(read(&app.join(name).join("file")), "archived", "{name} {mode:?}");
        }
        assert_eq!(names(&app), ["db", "media"]);
    }
}

#[test]
fn all_volumes_of_a_killed_restore_are_recovered_together() {
    let world = World::new(&[("data", "/srv"), ("db", "/db")]).volumes(&[("v", "/srv"), ("w", "/db")]);
    let volumes = ["v", "w"].map(|name| world.docker.data(name));
    for live in &volumes {
        put(&live.join("file"), "old");
    }
    put_large_archive(&world, &["srv/big"]);
    fs::write(world.at("backup/db.tar"), archive(&[("db/file", T::Regular, "")])).unwrap();
    let beside = || volumes.iter().map(|live| names(live.parent().unwrap())).collect::<Vec<_>>();
    let run = world.voltar("restore", &["backup", "-j", "1"]).spawn(&world.at("log"));
    while beside().iter().any(|names| names.len() < 2) {
        std::thread::yield_now();
    }
    run.signal(Signal::SIGKILL);
    run.wait();
    // Also those that the next run does not select.
    let run = world.voltar("backup", &["again", "--only", "db"]).ok();
    run.expect_text("data: recovered from a restore").expect_text("db: recovered from a restore");
    assert_eq!(beside(), [["_data"], ["_data"]]);
    for live in &volumes {
        assert_eq!(read(&live.join("file")), "old");
    }
}

#[test]
fn an_archive_inside_the_tree_that_it_replaces_is_refused() {
    let world = World::new(&[("a", "/srv")]).volumes(&[("v", "/srv")]);
    let live = world.docker.data("v");
    put(&live.join("file"), "x");
    world.voltar("backup", &["backup"]).ok();
    fs::rename(world.at("backup"), live.join("backup")).unwrap();
    // By another name, too.
    symlink(live.join("backup"), world.at("link")).unwrap();
    for path in [live.join("backup").to_str().unwrap(), "link", "link/a.tar.bz2"] {
        world.refused("restore", &[path, "--only", "a"], "lies inside what is to be restored");
    }
    world.refused("backup", &["link/more"], "lies inside what is to be archived");
    let inside = world.voltar("restore", &["link"]).env("VOLTAR_STATE_DIR", live.join("state"));
    inside.run().expect_code(2).expect_text("lies inside what is to be restored");
}

/// The engine makes the root and `a` in each container that has these mounts.
#[test]
fn a_path_above_several_mounts_is_archived_and_restored() {
    let world =
        World::new(&[("all", "/home/web")]).volumes(&[("keys", "/home/web/keys"), ("data", "/home/web/a/data")]);
    let (keys, data) = (world.docker.data("keys").join("file"), world.docker.data("data").join("file"));
    let spoil = |text: &str| [&keys, &data].iter().for_each(|file| put(file, text));
    spoil("archived");
    world.voltar("backup", &["backup"]).ok().expect_text("'/home/web' is on no mount");
    let listed = world.listed("backup/all.tar.bz2");
    let names: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().last()).collect();
    let below = ["a/", "a/data/", "a/data/file", "keys/", "keys/file"].map(|name| format!("home/web/{name}"));
    assert_eq!(names, [&["home/web/".to_owned()], &below[..]].concat());
    for mode in MODES {
        spoil("live");
        world.voltar("restore", &[&["backup"], mode].concat()).ok();
        assert_eq!([&keys, &data].map(|file| read(file)), ["archived", "archived"], "{mode:?}");
    }

    // One of a container that had more at this path than its mounts.
    fs::remove_file(world.at("backup/all.tar.bz2")).unwrap();
    let put_archive = |members: &[(&str, T, &str)]| {
        fs::write(world.at("backup/all.tar"), archive(&[&[("home/web/", T::Directory, "")], members].concat()))
            .unwrap();
    };
    put_archive(&[("home/web/start.sh", T::Regular, ""), ("home/web/keys/file", T::Regular, "")]);
    for mode in MODES {
        spoil("live");
        let restored = world.voltar("restore", &[&["backup"], mode].concat()).run();
        restored.expect_code(1).expect_text("1 members are not restored").expect_text("'/home/web/a/data'");
        assert_eq!([&keys, &data].map(|file| read(file)), ["evil", "live"], "{mode:?}");
    }

    let nothing = ("home/web/start.sh", "holds nothing of the mounts below '/home/web'");
    for (name, text) in [nothing, ("home/web/a", "'a' is no directory in the archive")] {
        put_archive(&[(name, T::Regular, "")]);
        spoil("live");
        for mode in MODES {
            world.refused("restore", &[&["backup"], mode].concat(), text);
        }
        assert_eq!([&keys, &data].map(|file| read(file)), ["live", "live"]);
    }
}

/// Between the two mountpoints in the order of bytes is one that is not below the directory.
#[test]
fn a_nested_volume_without_a_mountpoint_is_archived() {
    let mounts = [("outer", "/srv"), ("beside", "/srv/data-old"), ("inner", "/srv/data/inner")];
    let world = World::new(&[("all", "/srv")]).volumes(&mounts);
    put(&world.docker.data("outer").join("data/file"), "outer");
    put(&world.docker.data("inner").join("file"), "inner");
    world.voltar("backup", &["backup"]).ok();
    assert!(world.listed("backup/all.tar.bz2").contains(" srv/data/inner/file\n"));
}

/// `tar -x --strip` skips the only member of such an archive; the file is its root.
#[test]
fn a_path_that_is_one_mounted_file_is_archived_and_restored() {
    let world = World::new(&[("conf", "/etc/app/app.conf")]);
    let conf = world.at("app.conf");
    put(&conf, "archived");
    world.docker.volume("other");
    world.docker.container("web").mount("other", "/other").bind(&conf, "/etc/app/app.conf").write();
    world.voltar("backup", &["backup"]).ok();
    assert!(world.listed("backup/conf.tar.bz2").contains(" etc/app/app.conf\n"));
    for mode in MODES {
        put(&conf, "live");
        world.voltar("restore", &[&["backup"], mode].concat()).ok();
        assert_eq!(read(&conf), "archived", "{mode:?}");
    }
}

#[test]
fn what_is_no_regular_file_does_not_replace_a_mounted_file() {
    let file = "etc/app/app.conf";
    let directory = [(file, T::Directory, ""), ("etc/app/app.conf/file", T::Regular, "")];
    let others: [&[_]; 3] = [&[(file, T::Symlink, "/etc/passwd")], &[(file, T::Fifo, "")], &directory];
    let is_no_file = "is no regular file in the archive, but a single file is mounted there";
    let (root_is_no_file, below) = (format!("its root {is_no_file}"), format!("'app.conf' {is_no_file}"));
    let neither = "the member for the volume's root is neither a directory nor a file";
    // As the archive of the file, and as a part of that of the volume in which it is mounted.
    let cases = [("/etc/app/app.conf", [neither, neither, &root_is_no_file]), ("/etc/app", [&below, &below, &below])];
    for (path, texts) in cases {
        let world = World::new(&[("conf", path)]);
        let conf = world.at("app.conf");
        world.docker.volume("app");
        world.docker.volume("other");
        let container = world.docker.container("web").mount("other", "/other").mount("app", "/etc/app");
        container.bind(&conf, "/etc/app/app.conf").write();
        fs::create_dir(world.at("backup")).unwrap();
        let above = [("etc/app/", T::Directory, "")];
        let above = if path == "/etc/app" { &above[..] } else { &[] };
        for (members, text) in others.iter().zip(texts) {
            fs::write(world.at("backup/conf.tar"), archive(&[above, members].concat())).unwrap();
            put(&conf, "live");
            for mode in MODES {
                world.refused("restore", &[&["backup"], mode].concat(), text);
                assert!(conf.symlink_metadata().unwrap().is_file(), "{path} {mode:?}");
                assert_eq!(read(&conf), "live", "{path} {mode:?}");
            }
        }
    }
}
