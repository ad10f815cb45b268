//! Extended attributes, ACLs, capabilities and fractions of a second: `backup --xattrs` and the restore of what GNU tar,
//! bsdtar and voltar have written, with `getfattr`, `getfacl` and `getcap` as oracles. The tests use a data root, and no
//! engine.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use common::data_root::{DataRoot, layout};
use common::skip::{Needs, run, test};
use common::snapshot::TreeSnapshot;
use common::tool::{Outcome, Tool};
use common::tree::{build, dir, fifo, file, hard_link, link};
use libtest_mimic::Arguments;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tempfile::TempDir;

fn main() {
    use Needs::{GnuTar, Program, Root};
    let tools = [Root, GnuTar, Program("setfattr"), Program("setfacl"), Program("setcap")];
    let with = |program| [&tools[..], &[Program(program)]].concat();
    let tests = vec![
        test("what_we_write_we_restore", &tools, what_we_write_we_restore),
        test("gnu_tar_restores_ours", &tools, gnu_tar_restores_ours),
        test("bsdtar_restores_ours", &with("bsdtar"), bsdtar_restores_ours),
        test("python_reads_ours", &with("python3"), python_reads_ours),
        test("we_restore_what_gnu_tar_wrote", &tools, we_restore_what_gnu_tar_wrote),
        test("we_restore_what_bsdtar_wrote", &with("bsdtar"), we_restore_what_bsdtar_wrote),
        test("a_comparison_finds_other_attributes", &tools, a_comparison_finds_other_attributes),
        test("names_in_acls_grant_nothing", &tools, names_in_acls_grant_nothing),
        test("gnu_tar_without_options_ignores_them", &tools, gnu_tar_without_options_ignores_them),
        test("what_the_default_leaves_out_is_counted_once", &tools, what_the_default_leaves_out_is_counted_once),
        test("the_same_tree_gives_the_same_bytes", &tools, the_same_tree_gives_the_same_bytes),
        test("any_attributes_come_back", &tools, any_attributes_come_back),
        test(
            "a_file_with_too_many_is_archived_without",
            &[&tools[..], &[Needs::Prepared(large_attributes)]].concat(),
            a_file_with_too_many_is_archived_without,
        ),
        test("what_no_file_can_have_is_named", &tools, what_no_file_can_have_is_named),
        test(
            "a_filesystem_without_attributes_is_reported",
            &with("bindfs"),
            a_filesystem_without_attributes_is_reported,
        ),
        test("a_root_takes_those_of_the_archive", &tools, a_root_takes_those_of_the_archive),
        test("an_inherited_acl_is_removed_where_the_archive_knows_better", &tools, an_inherited_acl_is_removed),
        test("ids_of_another_user_namespace_are_mapped", &tools, ids_of_another_user_namespace_are_mapped),
    ];
    run(&Arguments::from_args(), tests, || ());
}

/// A container `x` that has a volume at `/srv/x`, in a data root of this name.
struct World {
    scratch: TempDir,
    live: PathBuf,
    data_root: String,
}

impl World {
    fn new() -> Self {
        Self::in_data_root("docker")
    }

    fn in_data_root(name: &str) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let data_root = DataRoot::new(&scratch.path().join(name));
        data_root.container("x").mount("x", "/srv/x").write();
        let live = data_root.volume("x");
        layout(&scratch.path().join("x.toml"), "x", "x", "/srv/x");
        Self { scratch, live, data_root: name.to_owned() }
    }

    /// One with a tree in which every kind of file has what it can have.
    fn full() -> Self {
        let world = Self::new();
        fill(&world.live);
        world
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn archive(&self) -> PathBuf {
        self.at("backup/x.tar")
    }

    fn voltar(&self, args: &[&str]) -> Tool {
        let tool = Tool::voltar().dir(self.scratch.path()).env("VOLTAR_STATE_DIR", self.at("state"));
        tool.args(args).args(["--layout", "x.toml", "--data-root", &self.data_root])
    }

    fn backup(&self, options: &[&str]) -> Outcome {
        self.voltar(&["backup", "--format", "tar", "--overwrite"]).args(options).run()
    }

    /// Writes the archive with another tar, from a tree at the container's path.
    fn backup_with(&self, command: &str) {
        let seen = self.at("seen/srv");
        fs::create_dir_all(&seen).unwrap();
        fs::create_dir_all(self.at("backup")).unwrap();
        fs::rename(&self.live, seen.join("x")).unwrap();
        let archive = self.archive();
        Tool::shell(&format!("{command} -cf {} -C {} srv/x", archive.display(), self.at("seen").display())).ok();
        fs::rename(seen.join("x"), &self.live).unwrap();
    }

    /// Extracts the archive with another tar into a new directory.
    fn extract_with(&self, command: &str) -> PathBuf {
        let into = self.at("extracted");
        fs::remove_dir_all(&into).unwrap_or_default();
        fs::create_dir(&into).unwrap();
        Tool::shell(&format!("{command} -xf {} -C {}", self.archive().display(), into.display())).ok();
        into.join("srv/x")
    }

    fn empty(&self) {
        fs::remove_dir_all(&self.live).unwrap();
        fs::create_dir(&self.live).unwrap();
    }
}

fn sh(dir: &Path, line: &str) -> String {
    Tool::shell(line).dir(dir).ok().answer()
}

fn fill(root: &Path) {
    let nodes = [
        dir("").mode(0o2750).mtime(1_000_000_000, 5),
        file("note", "n").mode(0o640).owner(70, 71).mtime(1_577_836_800, 123_456_789),
        hard_link("note again", "note"),
        file("program", "p").mode(0o755).mtime(-2, 500_000_000),
        file("shared", "s").mode(0o664).mtime(0, 1),
        file("plain", "whole seconds").mtime(1_000_000_000, 0),
        file("large", vec![7; 300_000]).mtime(1_000_000_000, 900_000_000),
        dir("inheriting").mode(0o770).mtime(1_000_000_000, 10),
        link("link", "note").mtime(1_000_000_000, 20),
        fifo("fifo").mode(0o620).mtime(1_000_000_000, 30),
        file("inheriting/none", "has no ACL, though the directory hands one down").mode(0o644).mtime(3, 3),
    ];
    build(root, &nodes);
    sh(
        root,
        "setfattr -n user.note -v 'a=b%c' note
        setfattr -n user.bytes -v 0x00010aff3d25 note
        setfattr -n user.empty note
        setfattr -n 'user.a=b%c%3D' -v x note
        setfattr -n trusted.note -v t note
        setfattr -n security.NTACL -v 0x0400 note
        setfattr -n user.long -v \"$(printf '%03000d' 7)\" large
        setcap cap_net_raw,cap_net_bind_service+ep program
        setfacl -m u:1234:rw,u:daemon:r,g:4321:r shared
        setfacl -m d:u:1234:rwx,d:g:daemon:rx,u:7:x inheriting
        mkdir inheriting/directory; echo i >inheriting/inherited
        setfacl -m u:8:r fifo
        setfattr -h -n trusted.mark -v l link
        setfattr -n user.root -v r .
        setfacl -m u:9:rx .
        touch -d '2001-09-09 01:46:40.5' inheriting .
        touch -d '2001-09-09 01:46:41.25' note",
    );
}

/// All attributes, ACLs in the kernel's form among them, by path; without the labels of SELinux. Capabilities as `getcap`
/// shows them.
fn attributes(root: &Path) -> BTreeMap<String, Vec<String>> {
    let text = sh(root, "getfattr --no-dereference --recursive --dump --match=- --encoding=hex . ");
    let mut all = BTreeMap::new();
    for file in text.split("\n\n") {
        let mut lines = file.lines();
        let Some(name) = lines.next() else { continue };
        let lines: Vec<_> = lines.filter(|line| !line.starts_with("security.selinux")).map(str::to_owned).collect();
        if !lines.is_empty() {
            all.insert(name.to_owned(), lines);
        }
    }
    all.insert("capabilities".to_owned(), sh(root, "getcap -r . | sort").lines().map(str::to_owned).collect());
    all
}

/// What is compared of a tree: attributes of its files, times to the nanosecond, and everything else.
fn assert_same(found: &Path, expected: &(TreeSnapshot, BTreeMap<String, Vec<String>>), context: &str) {
    expected.0.assert_same(&TreeSnapshot::of(found), context);
    assert_eq!(attributes(found), expected.1, "{context}");
}

fn looked_at(root: &Path) -> (TreeSnapshot, BTreeMap<String, Vec<String>>) {
    (TreeSnapshot::of(root), attributes(root))
}

fn what_we_write_we_restore() {
    let world = World::full();
    let before = looked_at(&world.live);
    assert!(before.1.len() > 8, "{before:#?}");
    world.backup(&["--xattrs"]).expect_code(0);
    world.voltar(&["verify", "backup"]).ok();
    let listed = world.voltar(&["list", "backup/x.tar"]).ok().answer();
    assert_eq!(listed, Tool::shell("tar -tvf backup/x.tar").dir(world.scratch.path()).ok().answer());
    for mode in [&[][..], &["--in-place"], &["--keep-previous"], &["--merge"]] {
        fs::write(world.live.join("note"), "changed").unwrap();
        sh(&world.live, "setfattr -x user.root . ; setfacl -b . inheriting");
        world.voltar(&["restore"]).args(mode).ok();
        for kept in fs::read_dir(&world.live).unwrap().chain(fs::read_dir(world.live.parent().unwrap()).unwrap()) {
            let kept = kept.unwrap().path();
            if kept.to_str().unwrap().contains(".voltar-previous-") {
                fs::remove_dir_all(kept).unwrap();
            }
        }
        if *mode == ["--merge"] {
            let (tree, mut all) = before.clone();
            // As with `tar -x --strip`, the root's own member is not extracted.
            all.remove("# file: .");
            let mut found = attributes(&world.live);
            found.remove("# file: .");
            assert_eq!(found, all, "{mode:?}");
            tree.without_root().assert_same(&TreeSnapshot::of(&world.live).without_root(), "merged");
        } else if *mode == ["--keep-previous"] {
            assert_eq!(attributes(&world.live), before.1, "{mode:?}");
        } else {
            assert_same(&world.live, &before, &format!("{mode:?}"));
        }
    }
}

fn gnu_tar_restores_ours() {
    let world = World::full();
    world.backup(&["--xattrs"]).expect_code(0);
    let extracted = world.extract_with("tar --xattrs --xattrs-include='*' --acls --numeric-owner");
    assert_same(&extracted, &looked_at(&world.live), "GNU tar of ours");
}

/// It does not decode the names in keys, not even its own, and takes `-1.5` for half a second after -1.
fn bsdtar_restores_ours() {
    let world = World::full();
    sh(&world.live, "setfattr -x 'user.a=b%c%3D' note; touch -d @2.5 program");
    world.backup(&["--xattrs"]).expect_code(0);
    let extracted = world.extract_with("bsdtar --numeric-owner");
    assert_same(&extracted, &looked_at(&world.live), "bsdtar of ours");
}

fn python_reads_ours() {
    let world = World::full();
    world.backup(&["--xattrs"]).expect_code(0);
    let script = "import tarfile, sys
for member in tarfile.open(sys.argv[1]):
    print(member.name, member.pax_headers.get('SCHILY.acl.access', '').replace('\\n', ','), float(member.mtime))";
    let read = Tool::new("python3").args(["-c", script]).arg(world.archive()).ok().answer();
    assert!(
        read.contains("srv/x/shared user::rw-,user:1:r--,user:1234:rw-,group::rw-,group:4321:r--,mask::rw-,"),
        "{read}"
    );
    assert!(read.contains("srv/x/large  1000000000.9"), "{read}");
    assert!(read.contains("srv/x/plain  1000000000.0"), "{read}");
}

fn we_restore_what_gnu_tar_wrote() {
    for options in ["--xattrs --acls", "--xattrs", "--xattrs --xattrs-include='*' --acls --selinux"] {
        let world = World::full();
        let before = looked_at(&world.live);
        world.backup_with(&format!("tar --format=posix {options}"));
        world.empty();
        world.voltar(&["restore"]).ok();
        assert_same(&world.live, &before, options);
    }
}

fn we_restore_what_bsdtar_wrote() {
    let world = World::full();
    // It means another time by `-1.5`, and its own encoding of this name.
    sh(&world.live, "touch -d @2.5 program");
    let before = looked_at(&world.live);
    for options in ["", "--options pax:xattrheader=LIBARCHIVE"] {
        world.backup_with(&format!("bsdtar --format pax {options}"));
        world.empty();
        world.voltar(&["restore"]).ok();
        assert_same(&world.live, &before, &format!("bsdtar's {options}"));
    }
}

/// A comparison with the volume finds what has changed of the attributes that the archive holds.
fn a_comparison_finds_other_attributes() {
    let world = World::full();
    for options in ["--xattrs --acls", "--xattrs --xattrs-include='*' --acls"] {
        world.backup_with(&format!("tar --format=posix {options}"));
        world.voltar(&["verify", "--against-volume"]).run().expect_no_text("xattr");
    }
    world.backup(&["--xattrs"]).expect_code(0);
    let verify = || world.voltar(&["verify", "--against-volume"]).run();
    verify().expect_code(0);
    for (change, found) in [
        ("setfattr -n user.long -v 8 large", "'large': xattr 'user.long' = '000000"),
        ("setfattr -x user.long large", "in the archive, no 'user.long' in the volume"),
        (
            "setfattr -n user.more -v m large",
            "'large': xattr no 'user.more' in the archive, 'user.more' = 'm' in the volume",
        ),
        (
            "setfattr -h -n trusted.mark -v x link",
            "'link': xattr 'trusted.mark' = 'l' in the archive, 'trusted.mark' = 'x'",
        ),
        ("setfacl -m g:4321:w shared", "'system.posix_acl_access' = 'user::rw-,user:1:r--,user:1234:rw-,"),
        ("setfacl -k inheriting", "no 'system.posix_acl_default' in the volume"),
        ("setcap cap_net_raw+ep program", "'program': xattr 'security.capability' = "),
        ("setfattr -n user.root -v s .", "xattr 'user.root' = 'r' in the archive, 'user.root' = 's' in the volume"),
    ] {
        sh(&world.live, change);
        verify().expect_code(1).expect_text(found).expect_text("1 difference");
        world.voltar(&["restore"]).ok();
        verify().expect_code(0);
    }
    // What an engine sets by itself is no difference.
    sh(&world.live, "setfattr -n trusted.overlay.origin -v x large");
    verify().expect_code(0);
}

/// Only `--acls` without `--xattrs` writes names alone. They are of the host that wrote the archive.
fn names_in_acls_grant_nothing() {
    let world = World::full();
    world.backup_with("tar --format=posix --acls");
    world.empty();
    let outcome = world.voltar(&["restore"]).run().expect_code(1);
    let text = outcome.text();
    assert!(
        text.contains("'shared' is restored without all its attributes: its ACL has 1 entries without a number"),
        "{text}"
    );
    let acl = sh(&world.live, "getfacl --numeric --omit-header shared");
    assert_eq!(acl, "user::rw-\nuser:1234:rw-\ngroup::rw-\ngroup:4321:r--\nmask::rw-\nother::r--");
}

fn gnu_tar_without_options_ignores_them() {
    let world = World::full();
    world.backup(&["--xattrs"]).expect_code(0);
    let extracted = world.extract_with("tar --numeric-owner");
    let with = TreeSnapshot::of(&extracted).carried_by_tar();
    let none = attributes(&extracted);
    assert_eq!(none.keys().collect::<Vec<_>>(), ["capabilities"], "{none:?}");
    world.backup(&[]).expect_code(1);
    let extracted = world.extract_with("tar --numeric-owner");
    TreeSnapshot::of(&extracted).assert_same(&with, "the same tree as of the default stream");
}

fn what_the_default_leaves_out_is_counted_once() {
    let world = World::full();
    let text = world.backup(&[]).expect_code(1).text();
    let warnings: Vec<_> = text.lines().filter(|line| line.contains("warning")).collect();
    // The root, fifo, inheriting and two entries in it, large, link, note, program and shared.
    assert_eq!(
        warnings,
        [
            "voltar: warning: x: 10 files have capabilities, ACLs or extended attributes (such as '.'), which the guide's \
          format does not hold: --xattrs archives them too"
        ],
        "{text}"
    );
    world.backup_with("tar --sort=name --numeric-owner");
    let theirs = fs::read(world.archive()).unwrap();
    world.backup(&[]).expect_code(1);
    assert!(fs::read(world.archive()).unwrap() == theirs, "the default stream is GNU tar's");

    // What hosts, engines and filesystems set by themselves is no news.
    let world = World::new();
    build(&world.live, &[file("file", "f"), dir("directory"), link("link", "file")]);
    sh(
        &world.live,
        "setfattr -n security.selinux -v system_u:object_r:container_file_t:s0 . file directory
        setfattr -n trusted.overlay.opaque -v y directory
        setfattr -n user.overlay.origin -v y file
        setfattr -n user.containers.override_stat -v 0:0:0644 file",
    );
    world.backup(&[]).expect_code(0).expect_no_text("warning");
    sh(&world.live, "setcap cap_net_raw+ep file");
    world.backup(&[]).expect_code(1).expect_text("1 file has capabilities, ACLs or extended attributes ('file')");
}

fn the_same_tree_gives_the_same_bytes() {
    let world = World::full();
    let archive = |options: &[&str]| {
        world.backup(&[&["--xattrs"][..], options].concat()).expect_code(0);
        fs::read(world.archive()).unwrap()
    };
    let first = archive(&[]);
    // The kernel lists names in the order in which they were set.
    sh(
        &world.live,
        "setfattr -x user.bytes note; setfattr -x user.note note
        setfattr -n user.note -v 'a=b%c' note; setfattr -n user.bytes -v 0x00010aff3d25 note
        touch -d '2001-09-09 01:46:41.25' note",
    );
    assert!(archive(&["-j1"]) == first && archive(&["-j4"]) == first, "the streams differ");
}

/// Names and values.
type Attributes = Vec<(String, Vec<u8>)>;

/// Attributes of the namespace `user`.
fn any_attributes() -> impl Strategy<Value = Attributes> {
    // ext4 keeps the attributes of a file in one block, unless it has the feature ea_inode.
    let name = prop_oneof!["[a-z=%.\n é]{1,20}", "[=%]{250}"];
    let value = prop_oneof![prop::collection::vec(any::<u8>(), 0..50), prop::collection::vec(any::<u8>(), 900..1000)];
    prop::collection::btree_map(name, value, 0..4)
        .prop_map(|map| map.into_iter().map(|(name, value)| (format!("user.{name}"), value)).collect())
}

fn any_attributes_come_back() {
    let strategy = prop::collection::vec((any_attributes(), 0..1_000_000_000_i64, any::<bool>()), 1..6);
    let runner = |files: Vec<(Attributes, i64, bool)>| {
        let world = World::new();
        for (number, (attributes, nanoseconds, is_directory)) in files.iter().enumerate() {
            let path = format!("{number}");
            let node = if *is_directory { dir(&path) } else { file(&path, "x") };
            build(&world.live, &[node]);
            let opened = File::open(world.live.join(&path)).unwrap();
            for (name, value) in attributes {
                use rustix::fs::{XattrFlags, fsetxattr};
                // Where there is no room for all of them there are fewer.
                fsetxattr(&opened, name.as_str(), value, XattrFlags::empty()).unwrap_or_default();
            }
            Tool::new("touch").arg("-d").arg(format!("@1000.{nanoseconds:09}")).arg(world.live.join(&path)).ok();
        }
        let before = looked_at(&world.live);
        world.backup(&["--xattrs"]).expect_code(0);
        let extracted = world.extract_with("tar --xattrs --xattrs-include='*' --acls --numeric-owner");
        assert_same(&extracted, &before, "GNU tar");
        world.empty();
        world.voltar(&["restore"]).ok();
        assert_same(&world.live, &before, "ours");
        Ok(())
    };
    TestRunner::new(ProptestConfig { cases: 24, ..ProptestConfig::default() }).run(&strategy, runner).unwrap();
}

/// A filesystem on which a file can have more attributes than an extended header holds, mounted over the volumes.
fn a_file_with_too_many_is_archived_without() {
    let world = World::new();
    let tmpfs = Mounted::new("tmpfs", &world.live);
    build(&world.live, &[file("many", "m"), file("most", "m")]);
    let fits = |name: &str, count: usize| {
        let opened = File::open(world.live.join(name)).unwrap();
        let set = |number| {
            use rustix::fs::{XattrFlags, fsetxattr};
            fsetxattr(&opened, format!("user.{number}"), &vec![b'v'; 64 << 10], XattrFlags::empty()).is_ok()
        };
        (0..count).all(set)
    };
    assert!(fits("most", 15) && fits("many", 16));
    let before = attributes(&world.live);
    let text = world.backup(&["--xattrs"]).expect_code(1).text();
    assert!(
        text.contains(
            "'many' is archived without all its attributes: its extended attributes have more than 1048064 bytes"
        ),
        "{text}"
    );
    let archive = fs::read(world.archive()).unwrap();
    drop(tmpfs);
    assert!(archive.len() > 15 << 16);
    let tmpfs = Mounted::new("tmpfs", &world.live);
    world.voltar(&["restore"]).ok();
    let after = attributes(&world.live);
    assert_eq!(after.get("# file: most"), before.get("# file: most"));
    assert!(after.contains_key("# file: most") && !after.contains_key("# file: many"));
    drop(tmpfs);
}

/// Looks whether tmpfs has attributes of `user` (Linux 6.6), of which it takes any number.
fn large_attributes() -> Result<(), String> {
    let scratch = tempfile::tempdir().map_err(|e| e.to_string())?;
    let _tmpfs = Mounted::new("tmpfs", scratch.path());
    let set = Tool::new("setfattr").args(["-n", "user.x", "-v", "x"]).arg(scratch.path()).run();
    if set.status.success() { Ok(()) } else { Err("tmpfs has no attributes of 'user'".to_owned()) }
}

/// A mounted filesystem, unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn new(kind: &str, at: &Path) -> Self {
        Tool::new("mount").args(["-t", kind, kind]).arg(at).ok();
        Self(at.to_owned())
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if !Tool::new("umount").arg(&self.0).run().status.success() {
            Tool::new("umount").arg("--lazy").arg(&self.0).run();
        }
    }
}

/// A pax record.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let length = (rest..rest + 9).find(|length| length.to_string().len() + rest == *length).unwrap();
    [format!("{length} {key}=").as_bytes(), value, b"\n"].concat()
}

/// A member with an extended header in front.
fn member(records: &[u8], name: &str) -> Vec<u8> {
    use tar::{EntryType, Header};
    let block = |kind, name: &str, size: usize| {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_path(name).unwrap();
        header.set_size(size as u64);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(7);
        header.set_cksum();
        header.as_bytes().to_vec()
    };
    let mut stream = block(EntryType::XHeader, "x", records.len());
    stream.extend(records);
    stream.resize(stream.len().next_multiple_of(512), 0);
    stream.extend(block(EntryType::Regular, name, 0));
    stream
}

/// Each of them is restored, but for the attribute.
fn what_no_file_can_have_is_named() {
    let world = World::new();
    let long_name = format!("SCHILY.xattr.user.{}", "n".repeat(251));
    let cases: Vec<(&str, &str, Vec<u8>, &str)> = vec![
        ("apple", "SCHILY.xattr.com.apple.quarantine", b"q".to_vec(), "is of an unknown namespace"),
        ("nfs", "SCHILY.xattr.system.nfs4_acl", b"q".to_vec(), "is of an unknown namespace"),
        ("empty", "SCHILY.xattr.", b"q".to_vec(), "has a name that is not possible"),
        ("nul", "SCHILY.xattr.user.a\0b", b"q".to_vec(), "has a name that is not possible"),
        ("name", &long_name, b"q".to_vec(), "has a name that is not possible"),
        ("value", "SCHILY.xattr.user.a", vec![b'v'; (64 << 10) + 1], "has 65537 bytes"),
        ("acl", "SCHILY.acl.access", b"user::rwx".to_vec(), "its ACL 'user::rwx' is malformed"),
        ("binary", "SCHILY.xattr.system.posix_acl_access", vec![0xff; 44], "'system.posix_acl_access' is malformed"),
        (
            "default",
            "SCHILY.acl.default",
            b"user::rwx,group::r-x,other::r-x".to_vec(),
            "cannot set 'system.posix_acl_default'",
        ),
        ("capability", "SCHILY.xattr.security.capability", b"nonsense".to_vec(), "cannot set 'security.capability'"),
    ];
    let mut stream: Vec<u8> =
        cases.iter().flat_map(|(name, key, value, _)| member(&record(key, value), &format!("srv/x/{name}"))).collect();
    stream.extend(member(&record("SCHILY.xattr.security.selinux", b"a:b:c:s0"), "srv/x/label"));
    stream.extend(member(&record("SCHILY.xattr.user.fine", b"f"), "srv/x/fine"));
    stream.extend([0; 1024]);
    fs::create_dir(world.at("backup")).unwrap();
    fs::write(world.archive(), &stream).unwrap();
    let text = world.voltar(&["restore"]).run().expect_code(1).text();
    for (name, _, _, expected) in &cases {
        let line =
            text.lines().find(|line| line.contains(&format!("'{name}'"))).unwrap_or_else(|| panic!("{name}: {text}"));
        assert!(line.contains(expected), "{name}: {line}");
        assert!(world.live.join(name).exists(), "{name}");
    }
    assert!(!text.contains("'label'") && !text.contains("'fine'"), "{text}");
    let left = attributes(&world.live);
    assert_eq!(left.keys().collect::<Vec<_>>(), ["# file: fine", "capabilities"], "{left:?}");
}

/// Mounts an empty directory through a filesystem in user space that has no attributes.
fn without_attributes(at: &Path) -> Mounted {
    let empty = at.with_file_name("empty");
    fs::create_dir_all(&empty).unwrap();
    Tool::new("bindfs")
        .args(["--xattr-none", "-o", "attr_timeout=0,entry_timeout=0,negative_timeout=0"])
        .args([&empty, at])
        .ok();
    Mounted(at.to_owned())
}

fn a_filesystem_without_attributes_is_reported() {
    let world = World::full();
    world.backup(&["--xattrs"]).expect_code(0);
    let before = TreeSnapshot::of(&world.live);
    world.empty();
    let without = without_attributes(&world.live);
    let text = world.voltar(&["restore"]).run().expect_code(1).text();
    assert!(
        text.contains("cannot set 'security.NTACL' (and 5 more) of 'note': the filesystem does not support it"),
        "{text}"
    );
    assert!(text.contains("of 'program': the filesystem does not support it"), "{text}");
    assert_eq!(TreeSnapshot::of(&world.live).len(), before.len(), "the rest is restored");
    assert_eq!(fs::read(world.live.join("large")).unwrap(), vec![7; 300_000]);
    // A tree of any size says so in a few lines.
    drop(without);
    sh(&world.live, "for i in $(seq 50); do echo x >more$i; setfattr -n user.x -v x more$i; done");
    world.backup(&["--xattrs"]).expect_code(0);
    world.empty();
    let _without = without_attributes(&world.live);
    let text = world.voltar(&["restore"]).run().expect_code(1).text();
    let lines = text.lines().filter(|line| line.contains("warning: x:")).count();
    assert_eq!(lines, 21, "{text}");
    assert!(text.contains("more files lack extended attributes or ACLs that the archive has"), "{text}");
}

/// A root that stays, because its filesystem's mountpoint cannot be exchanged, has what the archive has; what was there
/// before is kept only where the archive says nothing.
fn a_root_takes_those_of_the_archive() {
    let world = World::full();
    let before = looked_at(&world.live);
    world.backup(&["--xattrs"]).expect_code(0);
    sh(
        &world.live,
        "setfattr -n user.root -v other . ; setfattr -n user.more -v m .
        setfacl -b . ; setfacl -m d:u:77:rwx,u:78:rwx .",
    );
    world.voltar(&["restore"]).ok();
    assert_same(&world.live, &before, "the root stays and has what the archive has");

    world.backup(&[]).expect_code(1);
    world.voltar(&["restore"]).ok();
    let root = attributes(&world.live).remove("# file: .").unwrap();
    assert_eq!(root, before.1["# file: ."], "the archive says nothing");
}

/// A file of which the archive has attributes, but no ACL, has none. Of the others it says nothing, and they inherit one, as
/// with `tar -x`.
fn an_inherited_acl_is_removed() {
    let world = World::new();
    build(&world.live, &[file("marked", "m").mode(0o640), file("plain", "p").mode(0o640), dir("sub").mode(0o750)]);
    sh(&world.live, "setfattr -n user.note -v n marked; setfattr -n user.note -v n sub");
    world.backup(&["--xattrs"]).expect_code(0);
    for mode in ["--merge", "--in-place"] {
        sh(&world.live, "rm -r marked plain sub; setfacl -m d:u:77:rwx .");
        world.voltar(&["restore", mode]).ok();
        let found = attributes(&world.live);
        let note = vec!["user.note=0x6e".to_owned()];
        assert_eq!((&found["# file: marked"], &found["# file: sub"]), (&note, &note), "{mode}");
        assert!(found["# file: plain"][0].starts_with("system.posix_acl_access="), "{mode}");
        assert_eq!(sh(&world.live, "stat -c %a marked sub"), "640\n750", "{mode}");
    }
}

/// The ids of ACLs are mapped as owners are; capabilities are those of the container's user namespace.
fn ids_of_another_user_namespace_are_mapped() {
    let world = World::in_data_root("3000000.3000000");
    build(&world.live, &[dir("").owner(3_000_000, 3_000_000), file("file", "f").owner(3_000_070, 3_000_071)]);
    sh(&world.live, "setfacl -m u:3000005:rwx,g:3000006:r file");
    let outcome = world.backup(&["--xattrs"]);
    outcome.expect_code(0);
    let extracted = world.extract_with("tar --xattrs --xattrs-include='*' --acls --numeric-owner");
    let acl = sh(&extracted, "getfacl --numeric --omit-header file");
    assert!(acl.contains("user:5:rwx\n") && acl.contains("group:6:r--\n"), "{acl}");

    let expected = looked_at(&world.live);
    fs::write(world.live.join("file"), "changed").unwrap();
    sh(&world.live, "setfacl -b file");
    world.voltar(&["restore"]).ok();
    assert_same(&world.live, &expected, "on disk");

    // A program with capabilities in the container has them on disk for that namespace only.
    sh(&world.live, "setfacl -m u:9:r file");
    world
        .backup(&["--xattrs"])
        .expect_code(1)
        .expect_text("its ACL has 1 entries for users or groups that have no id in the container");
    let plain = World::new();
    build(&plain.live, &[file("program", "p").mode(0o755)]);
    sh(&plain.live, "setcap cap_net_raw+ep program");
    plain.backup(&["--xattrs"]).expect_code(0);
    world.voltar(&["restore"]).arg(plain.archive()).ok();
    let value = sh(&world.live, "getfattr --only-values -n security.capability program | od -An -tx1 | tr -d ' \\n'");
    assert_eq!(value, "0100000300200000000000000000000000000000c0c62d00", "with the id of the container's root");
}
