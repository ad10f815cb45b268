//! Archives that exploit known faults of other extractors: none may change anything outside the volume. SECURITY.md
//! lists them.
//!
//! The tests use a data root; neither an engine nor root is needed.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use common::data_root::one_volume;
use common::hostile::{archive, header};
use common::tool::{Outcome, Tool};
use rustix::buffer::spare_capacity;
use rustix::fs::listxattr;
use tar::EntryType::{Directory, Link, Regular, Symlink};
use tempfile::TempDir;

/// A volume `x` of a stopped container, mounted at `/srv/x`, and a directory outside it with mode 0700 and one file.
struct World {
    scratch: TempDir,
    live: PathBuf,
    outside: PathBuf,
}

impl World {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let live = one_volume(scratch.path());
        let outside = scratch.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("sentinel"), "safe").unwrap();
        fs::set_permissions(&outside, fs::Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(outside.join("sentinel"), fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(live.join("kept"), "kept").unwrap();
        Self { scratch, live, outside }
    }

    fn restore(&self, archive: &[u8], options: &[&str]) -> Outcome {
        fs::write(self.scratch.path().join("backup/x.tar"), archive).unwrap();
        let tool = Tool::voltar().dir(self.scratch.path()).env("VOLTAR_STATE_DIR", self.scratch.path().join("state"));
        tool.args(["restore", "--data-root", "docker", "--layout", "x.toml", "backup"]).args(options).run()
    }

    #[track_caller]
    fn assert_outside_untouched(&self) {
        let names: Vec<_> = fs::read_dir(&self.outside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["sentinel"]);
        assert_eq!(fs::read_to_string(self.outside.join("sentinel")).unwrap(), "safe");
        for (path, mode) in [(self.outside.clone(), 0o700), (self.outside.join("sentinel"), 0o600)] {
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
            let mut names = Vec::with_capacity(1024);
            // An error is that of a filesystem without attributes.
            listxattr(&path, spare_capacity(&mut names)).unwrap_or_default();
            assert!(!names.windows(6).any(|name| name == b"user.n" || name == b"posix_"), "{names:?}");
        }
    }

    /// Checks that the archive is refused in every mode of a restore, and that nothing has changed, neither in the
    /// volume nor outside.
    #[track_caller]
    fn assert_refused(&self, archive: &[u8]) {
        for options in [&[][..], &["--in-place"], &["--merge"]] {
            self.restore(archive, options).expect_code(2);
            assert_eq!(fs::read_to_string(self.live.join("kept")).unwrap(), "kept");
            self.assert_outside_untouched();
        }
    }

    fn outside(&self) -> &str {
        self.outside.to_str().unwrap()
    }
}

/// CVE-2025-45582: the first archive creates a symbolic link, the second writes through it.
#[test]
fn a_link_of_an_earlier_archive_is_not_followed() {
    let world = World::new();
    world.restore(&archive(&[("srv/x/l", Symlink, world.outside())]), &["--merge"]).expect_code(0);
    assert_eq!(fs::read_link(world.live.join("l")).unwrap(), world.outside);
    world.restore(&archive(&[("srv/x/l/sentinel", Regular, "")]), &["--merge"]).expect_code(2);
    world.assert_outside_untouched();
    // Without --merge the link is not in the new tree, and `l` becomes a directory of the volume.
    world.restore(&archive(&[("srv/x/l/", Directory, ""), ("srv/x/l/sentinel", Regular, "")]), &[]).expect_code(0);
    assert_eq!(fs::read_to_string(world.live.join("l/sentinel")).unwrap(), "evil");
    world.assert_outside_untouched();
}

/// RUSTSEC-2026-0067: a directory member with the name of a symbolic link changes the mode of the link's target.
#[test]
fn a_directory_after_a_link_of_its_name_does_not_change_the_target() {
    for options in [&[][..], &["--in-place"], &["--merge"]] {
        for name in ["srv/x/l", "srv/x/l/", "srv/x/l/."] {
            let world = World::new();
            let members = [("srv/x/l", Symlink, world.outside()), (name, Directory, "")];
            // The archive may be refused or extracted as a directory of the volume.
            world.restore(&archive(&members), options);
            world.assert_outside_untouched();
        }
    }
}

/// CVE-2021-38511: the missing parent directories of a file are created through a symbolic link.
#[test]
fn no_directory_is_created_through_a_link() {
    let world = World::new();
    world.assert_refused(&archive(&[("srv/x/l", Symlink, world.outside()), ("srv/x/l/a/b/c", Regular, "")]));
    let upward = "../../../..";
    world.assert_refused(&archive(&[("srv/x/l", Symlink, upward), ("srv/x/l/outside/b/c", Regular, "")]));
}

/// CVE-2021-32803, -37701, -37712: a directory that was extracted is replaced by a symbolic link, but is still in a
/// cache of directories.
#[test]
fn a_directory_that_became_a_link_is_not_written_through() {
    for options in [&[][..], &["--in-place"], &["--merge"]] {
        let world = World::new();
        let outside = world.outside();
        let members = [
            ("srv/x/d/", Directory, ""),
            ("srv/x/d/first", Regular, ""),
            ("srv/x/d", Symlink, outside),
            ("srv/x/d/sentinel", Regular, ""),
        ];
        world.restore(&archive(&members), options);
        world.assert_outside_untouched();
        let empty = [("srv/x/e/", Directory, ""), ("srv/x/e", Symlink, outside), ("srv/x/e/sentinel", Regular, "")];
        world.restore(&archive(&empty), options);
        world.assert_outside_untouched();
    }
}

/// CVE-2018-20990, CVE-2016-5418: a hard link to a file outside, which has content or is followed by a file of the same
/// name.
#[test]
fn a_hard_link_does_not_reach_outside() {
    let world = World::new();
    let target = world.outside.join("sentinel");
    let absolute = target.to_str().unwrap();
    world.assert_refused(&archive(&[("srv/x/h", Link, absolute), ("srv/x/h", Regular, "")]));
    world
        .assert_refused(&archive(&[("srv/x/h", Link, "srv/x/../../../../outside/sentinel"), ("srv/x/h", Regular, "")]));
    // Through a symbolic link of the archive.
    world.assert_refused(&archive(&[("srv/x/l", Symlink, world.outside()), ("srv/x/h", Link, "srv/x/l/sentinel")]));
    // A symbolic link may have a hard link. A file with the name of that link replaces it and does not change the
    // target.
    let members = [("srv/x/l", Symlink, absolute), ("srv/x/h", Link, "srv/x/l"), ("srv/x/h", Regular, "")];
    world.restore(&archive(&members), &[]);
    world.assert_outside_untouched();
    let world = World::new();
    // A hard link with a size: its content is not skipped but parsed as the next header, which is invalid.
    let mut with_content = header("srv/x/h", Link, "srv/x/kept", 4).as_bytes().to_vec();
    with_content.extend_from_slice(b"evil");
    with_content.resize(4 * 512, 0);
    world.assert_refused(&with_content);
}

/// CVE-2021-23177: the ACL of a symbolic link, or another attribute, is set on its target.
#[test]
fn attributes_of_a_link_are_not_set_on_its_target() {
    let acl = b"user::rwx,user:1000:rwx,group::rwx,mask::rwx,other::rwx";
    for options in [&[][..], &["--in-place"], &["--merge"]] {
        let world = World::new();
        let sentinel = world.outside.join("sentinel");
        for target in [world.outside(), sentinel.to_str().unwrap()] {
            let mut builder = tar::Builder::new(Vec::new());
            let records =
                [("SCHILY.acl.access", &acl[..]), ("SCHILY.acl.default", acl), ("SCHILY.xattr.user.n", b"evil")];
            builder.append_pax_extensions(records).unwrap();
            builder.append(&header("srv/x/l", Symlink, target, 0), &b""[..]).unwrap();
            let restored = world.restore(&builder.into_inner().unwrap(), options);
            world.assert_outside_untouched();
            restored.expect_code(1).expect_text("cannot set 'system.posix_acl_access' (and 2 more) of 'l'");
        }
    }
}

/// CVE-2001-1267, CVE-2002-0399, CVE-2007-4559, CVE-2016-6321: `..` in names, with and without a leading slash.
#[test]
fn dot_dot_is_refused_at_every_position() {
    let world = World::new();
    for name in [
        "../outside/sentinel",
        "/../outside/sentinel",
        "./../outside/sentinel",
        "srv/x/../../../../outside/sentinel",
        "srv/x//..//../outside/sentinel",
        "other/../srv/x/sentinel",
        "srv/x/a/..",
    ] {
        world.assert_refused(&archive(&[(name, Regular, "")]));
    }
}

/// CVE-2025-4517, CVE-2025-4330: the target of a chain of links is not found, because the path is too long to be
/// resolved.
#[test]
fn a_chain_of_links_longer_than_path_max_is_refused() {
    let world = World::new();
    let long = "d".repeat(247);
    let mut builder = tar::Builder::new(Vec::new());
    let mut append = |name: &str, kind: tar::EntryType, link: &str| {
        let mut header = header("", kind, "", if kind == Regular { 4 } else { 0 });
        if kind == Symlink {
            builder.append_link(&mut header, name, link).unwrap();
        } else {
            builder.append_data(&mut header, name, if kind == Regular { &b"evil"[..] } else { b"" }).unwrap();
        }
    };
    let mut at = "srv/x".to_owned();
    let mut short = "srv/x".to_owned();
    for letter in ["a", "b", "c", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q"] {
        append(&format!("{at}/{long}"), Directory, "");
        append(&format!("{at}/{letter}"), Symlink, &long);
        at = format!("{at}/{long}");
        short = format!("{short}/{letter}");
    }
    // From the end of the chain upwards: one `..` for each directory, and then to the directory outside.
    let end = format!("{short}/{}", "z".repeat(200));
    append(&end, Symlink, &"../".repeat(16));
    append("srv/x/escape", Symlink, &format!("{}/../../../../outside", end.trim_start_matches("srv/x/")));
    append("srv/x/escape/sentinel", Regular, "");
    let archive = builder.into_inner().unwrap();
    world.assert_refused(&archive);
}

/// CVE-2025-62518, RUSTSEC-2026-0068: the sizes in the extended header and in the header differ, and a reader that uses
/// the wrong one parses a file's content as members.
#[test]
fn the_size_in_the_extended_header_takes_precedence() {
    let world = World::new();
    let smuggled = archive(&[("srv/x/smuggled", Regular, "")]);
    for size_of_header in [0, 512] {
        let record = format!("size={}\n", smuggled.len());
        let record = format!("{} {record}", record.len() + 3);
        assert_eq!(record.len(), record.split(' ').next().unwrap().parse::<usize>().unwrap());
        let mut stream = header("pax", tar::EntryType::XHeader, "", record.len() as u64).as_bytes().to_vec();
        stream.extend_from_slice(record.as_bytes());
        stream.resize(2 * 512, 0);
        stream.extend_from_slice(header("srv/x/outer", Regular, "", size_of_header).as_bytes());
        stream.extend_from_slice(&smuggled);
        stream.resize(stream.len().next_multiple_of(512) + 1024, 0);
        world.restore(&stream, &[]).expect_code(0);
        assert_eq!(fs::read(world.live.join("outer")).unwrap(), smuggled);
        assert!(!world.live.join("smuggled").exists());
    }
}

/// CVE-2018-15664: the volume's own tree has symbolic links where the archive has directories.
#[test]
fn a_link_in_the_live_tree_is_not_followed() {
    for options in [&[][..], &["--in-place"], &["--merge"]] {
        let world = World::new();
        symlink(&world.outside, world.live.join("d")).unwrap();
        let members = [("srv/x/d/", Directory, ""), ("srv/x/d/sentinel", Regular, "")];
        world.restore(&archive(&members), options);
        world.assert_outside_untouched();
    }
}
