//! Interchange with other tools: GNU tar, bzip2, lbzip2, pbzip2 and Python read what voltar writes, and voltar
//! restores what GNU tar wrote. GNU tar is the oracle, for literal and for random trees.
//!
//! No engine is needed: voltar works on a synthetic data root. Owners, devices and restores need root.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]

mod common;

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use common::archive::{assert_same_stream, single_stream};
use common::data_root::{DataRoot, layout};
use common::skip::{Needs, run, test};
use common::snapshot::TreeSnapshot;
use common::tool::{Outcome, Tool};
use common::tree::{Node, block_device, build, char_device, dir, fifo, file, hard_link, link, socket, sparse, trees};
use libtest_mimic::Arguments;
use proptest::strategy::Strategy as _;
use proptest::test_runner::{Config, TestRunner};
use tempfile::TempDir;

fn main() {
    use Needs::{Devices, GnuTar, Program, Root};
    let tests = vec![
        test("the_oracle_restores_what_it_wrote", &[GnuTar, Root], the_oracle_restores_what_it_wrote),
        test("literal_tree_gives_gnu_tars_stream", &[GnuTar], literal_tree_gives_gnu_tars_stream),
        test("random_trees_give_gnu_tars_stream", &[GnuTar], random_trees_give_gnu_tars_stream),
        test("root_devices_and_owners_give_gnu_tars_stream", &[GnuTar, Root, Devices], || {
            compare_with_oracle(&[owned(), literal()].concat());
        }),
        test("sparse_file_over_8_gib_gives_gnu_tars_stream", &[GnuTar], sparse_file_over_8_gib_gives_gnu_tars_stream),
        test("what_gnu_tar_excludes_is_excluded", &[GnuTar], what_gnu_tar_excludes_is_excluded),
        test("any_number_of_jobs_gives_the_same_single_stream", &[], any_number_of_jobs_gives_the_same_single_stream),
        test("every_level_is_read_by_bzip2", &[Program("bzip2")], || every_level_is_read_by("bzip2")),
        test("every_level_is_read_by_lbzip2", &[Program("lbzip2")], || every_level_is_read_by("lbzip2")),
        test("every_level_is_read_by_pbzip2", &[Program("pbzip2")], || every_level_is_read_by("pbzip2")),
        test("python_reads_ours", &[Program("python3")], python_reads_ours),
        test("root_gnu_tar_restores_ours", &[GnuTar, Root], gnu_tar_restores_ours),
        test("root_we_restore_as_gnu_tar_does", &[GnuTar, Root], we_restore_as_gnu_tar_does),
        test("root_we_restore_by_number", &[GnuTar, Root], we_restore_by_number),
        test("root_merge_is_the_documented_extraction", &[GnuTar, Root], merge_is_the_documented_extraction),
        test("root_what_we_write_we_restore", &[Root], what_we_write_we_restore),
        test("root_holes_come_back", &[Root], holes_come_back),
    ];
    run(&Arguments::from_args(), tests, || {});
}

/// A data root with one stopped container `x`, which mounts the volume `x` at `/var/lib/x`, and a layout for it.
struct World {
    scratch: TempDir,
    data_root: DataRoot,
}

impl World {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let data_root = DataRoot::new(&scratch.path().join("docker"));
        data_root.volume("x");
        data_root.container("x").mount("x", "/var/lib/x").write();
        layout(&scratch.path().join("layout.toml"), "x", "x", "/var/lib/x");
        fs::create_dir_all(scratch.path().join("seen/var/lib")).unwrap();
        Self { scratch, data_root }
    }

    fn with(nodes: &[Node]) -> Self {
        let world = Self::new();
        build(&world.volume(), nodes);
        world
    }

    fn volume(&self) -> PathBuf {
        self.data_root.data("x")
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn archive(&self) -> PathBuf {
        self.at("backup/x.tar.bz2")
    }

    fn voltar(&self, command: &str) -> Tool {
        Tool::voltar()
            .env("VOLTAR_STATE_DIR", self.at("state"))
            .arg(command)
            .arg("--data-root")
            .arg(self.data_root.path())
            .arg("--layout")
            .arg(self.at("layout.toml"))
            .arg(self.at("backup"))
    }

    /// Runs a backup, which may warn about sockets.
    fn backup(&self, options: &[&str]) -> Outcome {
        let outcome = self.voltar("backup").arg("--overwrite").args(options).run();
        assert!(matches!(outcome.status.code(), Some(0 | 1)), "expected exit status 0 or 1 of {outcome}");
        outcome
    }

    fn restore(&self, options: &[&str]) -> Outcome {
        self.voltar("restore").args(options).ok()
    }

    /// Runs `look` with the tree at the container's path, below a separate root directory. The tree is renamed,
    /// which needs no root privileges and changes nothing that tar reads.
    fn in_container<T>(&self, look: impl FnOnce(&Path) -> T) -> T {
        let (here, there) = (self.volume(), self.at("seen/var/lib/x"));
        fs::rename(&here, &there).unwrap();
        let seen = look(&self.at("seen"));
        fs::rename(&there, &here).unwrap();
        seen
    }

    /// Compares the archive's stream with the one that GNU tar writes in the container, and returns its length.
    fn assert_archive_is_gnu_tars(&self) -> u64 {
        self.assert_archive_is_gnu_tars_with(&[])
    }

    /// As [`World::assert_archive_is_gnu_tars`], with further options of GNU tar.
    fn assert_archive_is_gnu_tars_with(&self, options: &[String]) -> u64 {
        self.in_container(|root| {
            let mut oracle = Tool::new("tar")
                .args(["--warning=no-file-ignored", "--sort=name", "--numeric-owner", "-C"])
                .arg(root)
                .args(options)
                .args(["-c", "var/lib/x"])
                .stream();
            let expected = oracle.stdout.take().unwrap();
            let length = assert_same_stream(expected, single_stream(&self.archive()), "GNU tar's stream, then ours");
            assert!(oracle.wait().unwrap().success());
            length
        })
    }

    /// Runs the documented backup command in the container.
    fn gnu_tar_backup(&self, options: &[&str]) {
        fs::create_dir_all(self.at("backup")).unwrap();
        self.in_container(|root| {
            Tool::new("tar").args(options).arg("-C").arg(root).arg("-cjf").arg(self.archive()).arg("var/lib/x").ok()
        });
    }

    /// Runs the documented restore command into the directory `into`.
    fn gnu_tar_restore(&self, into: &Path) {
        fs::create_dir_all(into).unwrap();
        Tool::new("tar").arg("-C").arg(into).arg("-xf").arg(self.archive()).args(["--strip", "3"]).ok();
    }
}

/// Returns entries that any user can create: every kind but devices, names around the header's limits, and names
/// that sort differently in other orders.
fn literal() -> Vec<Node> {
    let deep = ["d".repeat(80), "e".repeat(80), "f".repeat(80), "g".repeat(80)].join("/");
    let mut nodes = vec![
        dir("").mode(0o2770).mtime(1_600_000_000, 123_456_789),
        dir("empty").mode(0o1777).mtime(-86_400, 1),
        file("empty-file", ""),
        file("block", [1; 512]).mtime(0, 0),
        file("block-and-one", [2; 513]).mtime(-1, 999_999_999),
        file("record", [3; 10_240]).mtime(8_589_934_591, 0),
        file("future", "x").mtime(8_589_934_592, 0),
        file("setuid", "x").mode(0o6755),
        link("relative", "empty/../block"),
        link("absolute", "/etc/passwd"),
        link("dangling", "nowhere"),
        link("long", "t".repeat(100)),
        link("longer", "t".repeat(101)),
        link("longest", "t/".repeat(2000)),
        hard_link("again", "block"),
        hard_link("0-first", "block"),
        hard_link("dangling-again", "dangling"),
        fifo("fifo").mode(0o620),
        hard_link("fifo-again", "fifo"),
        socket("socket"),
        hard_link("socket-again", "socket"),
        sparse("sparse", &[(100_000, b"in the middle")], 1_000_000),
        file(b"latin1-\xe4", "x"),
        file(b"\xff\xfe", "x"),
        file("new\nline", "x"),
        file("-rf", "x"),
        dir("a"),
        file("a/z", "x"),
        file("a.", "x"),
        file("a-b", "x"),
        file("A", "x"),
        dir(&deep),
        file(format!("{deep}/leaf"), "far down"),
        hard_link("from-the-deep", format!("{deep}/leaf")),
        hard_link("zz-from-the-deep", format!("{deep}/leaf")),
    ];
    // `var/lib/x/` has eleven bytes: the member names are around 100 bytes long, with and without the slash of a
    // directory.
    for length in 86..92 {
        nodes.push(file("n".repeat(length), "x"));
        nodes.push(dir("o".repeat(length)));
        nodes.push(hard_link("p".repeat(length), "n".repeat(length)));
        nodes.push(link("q".repeat(length), "n".repeat(length)));
    }
    nodes
}

/// Returns entries that only root can create.
fn owned() -> Vec<Node> {
    vec![
        file("o-root", "x").owner(0, 0),
        file("o-postgres", "x").owner(70, 999).mode(0o4755),
        file("o-seven-digits", "x").owner(2_097_151, 2_097_151),
        file("o-base-256", "x").owner(2_097_152, 4_294_967_294),
        link("o-link", "x").owner(2_097_152, 33),
        dir("o-locked").mode(0).owner(1000, 1000),
        file("o-locked-file", "x").mode(0),
        char_device("o-null", 1, 3).mode(0o666),
        block_device("o-disk", 259, 1_048_575).mode(0o660).owner(0, 6),
        char_device("o-large", 4095, 0),
        hard_link("o-null-again", "o-null"),
    ]
}

/// Returns compressible and incompressible files, large enough for several blocks at every level.
fn megabytes() -> Vec<Node> {
    let mut state = 7_u32;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(3_000_000)
    .collect();
    let text: String =
        (0..120_000).fold(String::new(), |text, n| text + &format!("{},{:.2};", n % 977, f64::from(n) / 7.0));
    vec![file("noise", noise), file("text", text), file("zeros", vec![0; 5_000_000])]
}

fn property(cases: u32, most: usize, body: impl Fn(&[Node])) {
    // PROPTEST_CASES overrides the number of cases.
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { Config::default().cases } else { cases };
    let config = Config { cases, max_shrink_iters: 300, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&trees(most), |mut nodes| {
            // An empty tree would be refused.
            nodes.push(file("always here, unless the name is taken", ""));
            body(&nodes);
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
}

fn compare_with_oracle(nodes: &[Node]) -> u64 {
    let world = World::with(nodes);
    world.backup(&[]);
    world.assert_archive_is_gnu_tars()
}

/// Checks the snapshots and the tree builder; voltar is not involved.
fn the_oracle_restores_what_it_wrote() {
    property(24, 40, |nodes| {
        let world = World::with(nodes);
        let before = TreeSnapshot::of(&world.volume());
        world.gnu_tar_backup(&["--sort=name"]);
        world.gnu_tar_restore(&world.at("restored"));
        let after = TreeSnapshot::of(&world.at("restored"));
        before.carried_by_tar().without_root().assert_same(&after.without_root(), "restored by GNU tar");
    });
}

fn literal_tree_gives_gnu_tars_stream() {
    let length = compare_with_oracle(&literal());
    assert_eq!(length % 10_240, 0);
}

fn random_trees_give_gnu_tars_stream() {
    property(48, 60, |nodes| {
        compare_with_oracle(nodes);
    });
}

/// A tree of names that patterns of the same few characters match often.
fn names_for_patterns() -> Vec<Node> {
    let mut nodes = Vec::new();
    for directory in ["", "a/", "b/", "a/b/", "[a/", "x*/"] {
        if !directory.is_empty() {
            nodes.push(dir(directory.trim_end_matches('/')));
        }
        for name in "ab a.b .a - ] [ [ab a] !a ^ \\ a\\b * a*b ? 7 A \u{e4}".split(' ') {
            nodes.push(file(format!("{directory}{name}"), name));
        }
        nodes.push(hard_link(format!("{directory}zz-again"), "ab"));
    }
    nodes
}

fn what_gnu_tar_excludes_is_excluded() {
    let world = World::with(&names_for_patterns());
    let compare = |patterns: &[String]| {
        let options: Vec<String> = patterns.iter().map(|pattern| format!("--exclude={pattern}")).collect();
        let mut backup = world.voltar("backup").arg("--overwrite");
        for option in &options {
            backup = backup.arg(option);
        }
        let outcome = backup.run();
        if outcome.status.code() == Some(2) {
            // What is malformed, and what leaves nothing.
            let known = ["--exclude '", "excludes '/var/lib/x' itself", "holds nothing, without what is excluded"];
            assert!(known.iter().any(|text| outcome.text().contains(text)), "{outcome}");
            return false;
        }
        world.assert_archive_is_gnu_tars_with(&options);
        true
    };
    for pattern in [
        "*.b",
        "a/*",
        "x/a",
        "lib/x/a/b",
        "ab",
        "x/[!a]",
        "a\\*b",
        "x/*b",
        "x/?",
        "[[:upper:]]*",
        "[a",
        "x/[]]",
        "\\\\",
    ] {
        assert!(compare(&[pattern.to_owned()]), "'{pattern}' should be compared");
    }
    let pieces = "a b x / * ? [ ] ! ^ - . \\ [a-b] [!a] [:alpha:] [[:punct:]] A 7 \u{e4} [=a=] [.a.]";
    let piece = proptest::sample::select(pieces.split(' ').collect::<Vec<_>>());
    let pattern = proptest::collection::vec(piece, 1..6).prop_map(|pieces| pieces.concat());
    let patterns = proptest::collection::vec(pattern, 1..3);
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { Config::default().cases } else { 200 };
    let config = Config { cases, max_shrink_iters: 200, failure_persistence: None, ..Config::default() };
    let compared = std::cell::Cell::new(0);
    TestRunner::new(config)
        .run(&patterns, |patterns| {
            compared.set(compared.get() + u32::from(compare(&patterns)));
            Ok(())
        })
        .unwrap_or_else(|failure| panic!("{failure}"));
    assert!(compared.get() > cases / 3, "only {} of {cases} sets of patterns were compared", compared.get());
}

/// Eleven octal digits hold sizes up to 8 GiB - 1; larger ones are stored in base 256.
fn sparse_file_over_8_gib_gives_gnu_tars_stream() {
    const GIB: u64 = 1 << 30;
    let world = World::with(&[
        sparse("large", &[(0, b"first"), (5 * GIB, b"middle"), (8 * GIB + 5, b"last")], 8 * GIB + 9),
        file("later", "x"),
    ]);
    world.backup(&["--level", "9"]);
    assert!(world.assert_archive_is_gnu_tars() > 8 * GIB);
}

fn any_number_of_jobs_gives_the_same_single_stream() {
    let world = World::with(&megabytes());
    let archives: Vec<Vec<u8>> = ["-j1", "-j2", "-j7"]
        .into_iter()
        .map(|jobs| {
            world.backup(&[jobs]);
            fs::read(world.archive()).unwrap()
        })
        .collect();
    assert!(archives[0] == archives[1], "-j1 and -j2 differ");
    assert!(archives[0] == archives[2], "-j1 and -j7 differ");
    // `single_stream` fails if anything follows the first bzip2 stream.
    single_stream(&world.archive()).read_to_end(&mut Vec::new()).unwrap();
}

fn every_level_is_read_by(program: &str) {
    let world = World::with(&megabytes());
    for level in ["1", "5", "9"] {
        world.backup(&["--level", level]);
        Tool::new(program).arg("-t").arg(world.archive()).ok();
        let mut decoder = Tool::new(program).args(["-d", "-c"]).arg(world.archive()).stream();
        let theirs = decoder.stdout.take().unwrap();
        assert_same_stream(theirs, single_stream(&world.archive()), program);
        assert!(decoder.wait().unwrap().success());
    }
}

const PYTHON: &str = r"
import sys, tarfile
for mode in ('r:bz2', 'r|bz2', 'r:*'):
    members = content = 0
    with tarfile.open(sys.argv[1], mode, errorlevel=2) as archive:
        for member in archive:
            members += 1
            assert member.name.startswith('var/lib/x'), member.name
            if member.isreg():
                content += len(archive.extractfile(member).read())
    print(mode, members, content)
";

fn python_reads_ours() {
    let world = World::with(&[literal(), megabytes()].concat());
    world.backup(&[]);
    let members = TreeSnapshot::of(&world.volume()).carried_by_tar().len();
    let answer = Tool::new("python3").args(["-c", PYTHON]).arg(world.archive()).ok().answer();
    let lines: Vec<&str> = answer.lines().collect();
    assert_eq!(lines.len(), 3, "{answer}");
    for line in lines {
        assert_eq!(line.split(' ').nth(1), Some(members.to_string().as_str()), "members in {line}");
    }
}

fn gnu_tar_restores_ours() {
    property(24, 60, |nodes| {
        let world = World::with(nodes);
        let before = TreeSnapshot::of(&world.volume());
        world.backup(&[]);
        world.gnu_tar_restore(&world.at("restored"));
        let after = TreeSnapshot::of(&world.at("restored"));
        before.carried_by_tar().without_root().assert_same(&after.without_root(), "restored by GNU tar");
    });
}

fn we_restore_as_gnu_tar_does() {
    property(32, 60, |nodes| {
        let world = World::with(nodes);
        let before = TreeSnapshot::of(&world.volume()).carried_by_tar();
        // In directory order, as with the documented command.
        world.gnu_tar_backup(&[]);
        world.gnu_tar_restore(&world.at("restored"));
        // A restore must remove the old tree: old WAL in a restored cluster would corrupt it.
        build(
            &world.volume(),
            &[dir("stale directory"), file("stale directory/stale file", "x"), dir("").mode(0o700).mtime(0, 0)],
        );
        world.restore(&[]);
        let found = TreeSnapshot::of(&world.volume());
        TreeSnapshot::of(&world.at("restored"))
            .without_root()
            .assert_same(&found.clone().without_root(), "GNU tar's restore, then ours");
        before.assert_same(&found, "the archived tree, then the restored one, including the root");
    });
}

/// The owner names in an archive come from the helper image, and may be unknown or have other ids here.
fn we_restore_by_number() {
    let world = World::with(&[file("django's", "x").owner(1000, 1000), file("postgres's", "x").owner(70, 70)]);
    let before = TreeSnapshot::of(&world.volume()).carried_by_tar();
    fs::write(world.at("owners"), "+1000 daemon:1000\n+70 root:70\n").unwrap();
    fs::write(world.at("groups"), "+1000 bin:1000\n+70 nosuchgroup:70\n").unwrap();
    let option = |name: &str, file: &str| format!("--{name}={}", world.at(file).display());
    world.gnu_tar_backup(&[&option("owner-map", "owners"), &option("group-map", "groups")]);
    let mut stream = Vec::new();
    single_stream(&world.archive()).read_to_end(&mut stream).unwrap();
    assert!(stream.windows(6).any(|bytes| bytes == b"daemon"), "the archive should hold misleading names");
    world.restore(&[]);
    before.assert_same(&TreeSnapshot::of(&world.volume()), "restored by number");
}

fn merge_is_the_documented_extraction() {
    let world = World::with(&[owned_but_devices(), literal()].concat());
    world.gnu_tar_backup(&[]);
    let stale = || {
        vec![
            dir("").mode(0o750).mtime(1_000_000_000, 0),
            file("block", "older").mode(0o600),
            file("stays", "not in the archive").mtime(1_000_000_001, 0),
            dir("empty").mode(0o700),
            file("empty/stays", "x").mtime(1_000_000_002, 0),
            // In the archive, these are a file and two links. Extraction must not write through the existing
            // ones.
            link("setuid", "stays"),
            file("relative", "in the way of a link").mtime(5, 0),
            link("dangling", "elsewhere"),
        ]
    };
    let (ours, theirs) = (world.volume(), world.at("theirs"));
    fs::remove_dir_all(&ours).unwrap();
    for root in [&ours, &theirs] {
        build(root, &stale());
    }
    world.gnu_tar_restore(&theirs);
    world.restore(&["--merge"]);
    // The root is not a member after the prefix is stripped, so its time is that of the extraction.
    TreeSnapshot::of(&theirs)
        .without_root()
        .assert_same(&TreeSnapshot::of(&ours).without_root(), "`tar -x --strip 3`, then --merge");
}

fn owned_but_devices() -> Vec<Node> {
    vec![
        file("o-postgres", "x").owner(70, 999).mode(0o4755),
        file("o-base-256", "x").owner(2_097_152, 4_294_967_294),
        link("o-link", "x").owner(2_097_152, 33),
        dir("o-locked").mode(0).owner(1000, 1000),
    ]
}

fn what_we_write_we_restore() {
    property(24, 60, |nodes| {
        let world = World::with(nodes);
        let before = TreeSnapshot::of(&world.volume()).carried_by_tar();
        world.backup(&[]);
        build(&world.volume(), &[file("stale file", "x"), dir("").mode(0o700)]);
        world.restore(&[]);
        before.assert_same(&TreeSnapshot::of(&world.volume()), "restored by voltar");
    });
}

fn holes_come_back() {
    let world = World::with(&[
        sparse("sparse", &[(0, b"start"), (7_000_000, b"middle")], 20_000_000),
        sparse("all-hole", &[], 5_000_000),
        file("zeros", vec![0; 300]),
    ]);
    let before = TreeSnapshot::of(&world.volume());
    world.backup(&[]);
    world.restore(&[]);
    let after = TreeSnapshot::of(&world.volume());
    assert_eq!(before.larger_on_disk(&after), Vec::<String>::new());
    // The archive stores the holes as zeros, which compress well.
    assert!(File::open(world.archive()).unwrap().metadata().unwrap().len() < 100_000);
}
