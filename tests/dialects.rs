//! Archives of all tars that people have: written by GNU tar in all its formats, by bsdtar, busybox and Python, and
//! streams whose headers are changed to other dialects. What GNU tar extracts without an error, voltar restores to the
//! same tree, also over an older one. With `--nocapture` a table says how much was compared.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::data_root::{DataRoot, layout};
use common::skip::{Needs, run, test};
use common::snapshot::TreeSnapshot;
use common::tool::Tool;
use common::tree::{Node, Older, build, dir, file, hard_link, older, sparse, trees};
use libtest_mimic::Arguments;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tempfile::TempDir;
use voltar::archive::reader::TarReader;

/// Commands that write the tree `var/lib/x` to `$1`, and what they need.
const WRITERS: &[(&str, &str, &str)] = &[
    ("gnu_v7", "tar", "tar --format=v7 -cf \"$1\" var/lib/x"),
    ("gnu_oldgnu", "tar", "tar --format=oldgnu -cf \"$1\" var/lib/x"),
    ("gnu_gnu", "tar", "tar --format=gnu -cf \"$1\" var/lib/x"),
    ("gnu_ustar", "tar", "tar --format=ustar -cf \"$1\" var/lib/x"),
    ("gnu_posix", "tar", "tar --format=posix -cf \"$1\" var/lib/x"),
    ("gnu_labelled", "tar", "tar --label=set -cf \"$1\" var/lib/x"),
    ("gnu_sparse", "tar", "tar -S -cf \"$1\" var/lib/x"),
    ("gnu_sparse_0_0", "tar", "tar -S --format=posix --sparse-version=0.0 -cf \"$1\" var/lib/x"),
    ("gnu_sparse_0_1", "tar", "tar -S --format=posix --sparse-version=0.1 -cf \"$1\" var/lib/x"),
    ("gnu_sparse_1_0", "tar", "tar -S --format=posix --sparse-version=1.0 -cf \"$1\" var/lib/x"),
    ("gnu_incremental", "tar", "tar -g /dev/null -cf \"$1\" var/lib/x"),
    ("gnu_incremental_posix", "tar", "tar --format=posix -g /dev/null -cf \"$1\" var/lib/x"),
    ("bsdtar", "bsdtar", "bsdtar -cf \"$1\" var/lib/x"),
    ("bsdtar_pax", "bsdtar", "bsdtar --format=pax -cf \"$1\" var/lib/x"),
    ("bsdtar_gnutar", "bsdtar", "bsdtar --format=gnutar -cf \"$1\" var/lib/x"),
    ("bsdtar_ustar", "bsdtar", "bsdtar --format=ustar -cf \"$1\" var/lib/x"),
    ("bsdtar_v7", "bsdtar", "bsdtar --format=v7 -cf \"$1\" var/lib/x"),
    ("busybox", "busybox", "busybox tar -cf \"$1\" var/lib/x"),
    ("python_gnu", "python3", "python3 -m tarfile -c \"$1\" var/lib/x"),
    (
        "python_pax",
        "python3",
        "python3 -c 'import sys, tarfile
with tarfile.open(sys.argv[1], \"w\", format=tarfile.PAX_FORMAT) as tar: tar.add(\"var/lib/x\")' \"$1\"",
    ),
    // It ends at the first number or name that does not fit; the others leave that member out.
    (
        "python_ustar",
        "python3",
        "find var/lib/x -print0 | python3 -c 'import os, sys, tarfile
left = set()
with tarfile.open(sys.argv[1], \"w\", format=tarfile.USTAR_FORMAT) as tar:
    for path in sys.stdin.buffer.read().split(b\"\\0\")[:-1]:
        info = tar.gettarinfo(os.fsdecode(path))
        if info is None or info.islnk() and info.linkname in left: continue
        try: info.tobuf(tar.format, tar.encoding, tar.errors)
        except ValueError: left.add(info.name)
        else: tar.addfile(info, open(path, \"rb\") if info.isreg() else None)' \"$1\"",
    ),
];

fn main() {
    let table = Arc::new(Table::default());
    let written = WRITERS.iter().map(|&(name, program, command)| {
        let needs = [Needs::Root, Needs::GnuTar, Needs::Program(program)];
        let table = Arc::clone(&table);
        test(&format!("written_by_{name}"), &needs, move || written_by(name, command, &table))
    });
    let rows = Arc::clone(&table);
    let changed =
        test("headers_of_other_dialects", &[Needs::Root, Needs::GnuTar], move || headers_of_other_dialects(&rows));
    let rows = Arc::clone(&table);
    let over = test("over_an_older_tree", &[Needs::Root, Needs::GnuTar], move || over_an_older_tree(&rows));
    let hole = test("a_hole_of_terabytes_is_not_read", &[Needs::Root, Needs::GnuTar], a_hole_of_terabytes_is_not_read);
    let args = Arguments::from_args();
    run(&args, written.chain([changed, over, hole]).collect(), || {
        if args.nocapture {
            table.print();
        }
    });
}

/// How many trees were compared, by writer.
#[derive(Default)]
struct Table(Mutex<BTreeMap<String, Row>>);

/// The trees of one writer. One that differs is counted again whenever proptest makes it smaller.
#[derive(Default)]
struct Row {
    trees: usize,
    /// Those whose archives are complete, and that GNU tar extracts without an error.
    compared: usize,
    /// The entries of these.
    entries: usize,
    different: usize,
}

impl Table {
    fn add(&self, writer: &str, compared: Option<&Compared>) {
        let mut rows = self.0.lock().unwrap();
        let row = rows.entry(writer.to_owned()).or_default();
        row.trees += 1;
        if let Some(Compared { entries, differences }) = compared {
            row.compared += 1;
            row.entries += entries;
            row.different += usize::from(!differences.is_empty());
        }
    }

    fn compared(&self, writer: &str) -> usize {
        self.0.lock().unwrap().get(writer).map_or(0, |row| row.compared)
    }

    #[allow(clippy::print_stdout, reason = "the table is the result of --nocapture")]
    fn print(&self) {
        println!("| writer | trees | compared | entries | different trees |");
        println!("|---|---|---|---|---|");
        for (writer, Row { trees, compared, entries, different }) in &*self.0.lock().unwrap() {
            println!("| {writer} | {trees} | {compared} | {entries} | {different} |");
        }
    }
}

/// A volume at `/var/lib/x`, and a directory in which the same tree can be archived as `var/lib/x`.
struct World {
    scratch: TempDir,
    docker: DataRoot,
}

impl World {
    fn new(nodes: &[Node]) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let docker = DataRoot::new(&scratch.path().join("docker"));
        docker.volume("x");
        docker.container("x").mount("x", "/var/lib/x").write();
        layout(&scratch.path().join("x.toml"), "x", "x", "/var/lib/x");
        fs::create_dir_all(scratch.path().join("seen/var/lib")).unwrap();
        build(&scratch.path().join("seen/var/lib/x"), nodes);
        Self { scratch, docker }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Restores an archive with both programs, and compares the trees. `None` where GNU tar reports an error.
    fn compare(&self, archive: &Path) -> Option<Compared> {
        self.compare_with(archive, &[], &[])
    }

    /// The same with these options, where GNU tar extracts over `existing`.
    fn compare_with(&self, archive: &Path, options: &[&str], existing: &[Node]) -> Option<Compared> {
        let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() - 1.0;
        let control = self.at("control");
        build(&control, existing);
        // Without this, directories whose members do not follow them at once keep the time of the extraction.
        let extract = ["-x", "--numeric-owner", "--delay-directory-restore", "--strip", "3", "-f"];
        let oracle = Tool::new("tar").args(extract).arg(archive).dir(&control).run();
        let voltar = Tool::voltar().dir(self.scratch.path()).env("VOLTAR_STATE_DIR", self.at("state"));
        let voltar =
            voltar.args(["restore", "--data-root", "docker", "--layout", "x.toml", "--only", "x", "--allow-empty"]);
        let restored = voltar.args(options).arg(archive).run();
        let compared = oracle.status.success().then(|| {
            let expected = TreeSnapshot::of(&control).without_root();
            let entries = expected.len();
            if !matches!(restored.status.code(), Some(0 | 1)) {
                return Compared { entries, differences: vec![format!("GNU tar extracts it: {restored}")] };
            }
            let found = TreeSnapshot::of(&self.docker.data("x")).without_root();
            let mut differences = expected.diff(&found);
            // GNU tar leaves setgid on a directory of mode 0 that it makes below one with setgid. A directory that no
            // member describes has the time of its extraction.
            let recent =
                |time: &str| time.parse::<f64>().is_ok_and(|seconds| (began..began + 3600.0).contains(&seconds));
            differences.retain(|difference| {
                let times = difference.rsplit_once(": mtime ").and_then(|(_, times)| times.split_once(", "));
                let both_recent = times.is_some_and(|(theirs, ours)| recent(theirs) && recent(ours));
                !both_recent && !difference.ends_with(": mode 2000, 0000")
            });
            Compared { entries, differences }
        });
        fs::remove_dir_all(control).unwrap();
        compared
    }
}

/// The trees that both programs have made of one archive.
struct Compared {
    /// Those of GNU tar's tree.
    entries: usize,
    differences: Vec<String>,
}

impl Compared {
    fn assert_same(&self, context: &str) {
        assert!(self.differences.is_empty(), "{context}: GNU tar's tree, then ours: {:#?}", self.differences);
    }
}

fn property<T: std::fmt::Debug>(strategy: &impl Strategy<Value = T>, body: impl Fn(&T)) {
    // The same trees each time, so that a dialect of which GNU tar makes something else does not fail somebody's change;
    // PROPTEST_CASES=N tries N others.
    let (others, cases) = (std::env::var_os("PROPTEST_CASES").is_some(), Config::default().cases);
    let cases = if others { cases } else { 40 };
    let config = Config { cases, max_shrink_iters: 20, failure_persistence: None, ..Config::default() };
    let mut runner = if others {
        TestRunner::new(config)
    } else {
        TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
    };
    let checked = runner.run(strategy, |value| {
        body(&value);
        Ok(())
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
}

/// A few entries that every tree has: holes, and names and links that several formats store differently.
fn always() -> Vec<Node> {
    vec![
        dir("directory").mode(0o2750).mtime(1_600_000_001, 500_000_000),
        file("directory/file", "content").owner(70, 3_000_000).mtime(-5, 0),
        hard_link("again", "directory/file"),
        sparse("holes", &[(0, b"first"), (1_000_000, b"middle"), (3_000_000, b"last")], 5_000_000),
        sparse("hole", &[], 1_000_000),
        sparse("many-holes", &(1..60).map(|n| (n * 8192, &b"x"[..])).collect::<Vec<_>>(), 600_000),
        file("n".repeat(120), "long name"),
    ]
}

fn written_by(name: &str, command: &str, table: &Table) {
    property(&trees(30), |nodes| {
        let world = World::new(&[&nodes[..], &always()].concat());
        let archive = world.at("x.tar");
        // Formats without room for a name or an id leave that member out, and say so.
        let written = Tool::new("sh").args(["-c", command, "sh"]).arg(&archive).dir(world.at("seen")).run();
        // Python fails in the middle; voltar refuses an archive without an end, and GNU tar does not.
        let stream = fs::read(&archive).unwrap();
        let is_complete = stream.len().is_multiple_of(10_240) && stream.ends_with(&[0; 1024]);
        let compared = if written.status.success() || is_complete { world.compare(&archive) } else { None };
        table.add(name, compared.as_ref());
        if let Some(compared) = compared {
            compared.assert_same(command);
        }
    });
    assert!(table.compared(name) > 0, "no archive of {command} was compared");
}

/// `--merge` comes to what `tar -x` does, and `--in-place` turns any tree into what the archive holds.
fn over_an_older_tree(table: &Table) {
    let what = prop::sample::select(vec![
        Older::File,
        Older::EmptyDirectory,
        Older::Directory,
        Older::Symlink,
        Older::Fifo,
        Older::Beside,
    ]);
    let seeds = prop::collection::vec((any::<Index>(), what), 1..8);
    property(&(trees(20), seeds), |(nodes, seeds)| {
        let nodes = [&nodes[..], &always()[..3]].concat();
        let older = older(&nodes, seeds);
        let archived = World::new(&nodes);
        let archive = archived.at("x.tar");
        Tool::new("tar").arg("-cf").arg(&archive).arg("var/lib/x").dir(archived.at("seen")).ok();
        for (option, existing) in [("--merge", &older[..]), ("--in-place", &[])] {
            let world = World::new(&[]);
            build(&world.docker.data("x"), &older);
            let compared = world.compare_with(&archive, &[option], existing);
            table.add(&format!("{option} over an older tree"), compared.as_ref());
            if let Some(compared) = compared {
                compared.assert_same(&format!("{option} over {older:#?}"));
            }
        }
    });
    assert!(table.compared("--merge over an older tree") > 0, "no merge was compared");
}

/// Reading its zeros would take minutes. ext4 has files of up to 16 TiB.
fn a_hole_of_terabytes_is_not_read() {
    const SIZE: u64 = 3 << 40;
    for format in ["gnu", "posix"] {
        let world = World::new(&[sparse("image", &[(5, b"first"), (SIZE - 4, b"last")], SIZE)]);
        let archive = world.at("x.tar");
        let format = format!("--format={format}");
        Tool::new("tar").args(["-S", &format, "-cf"]).arg(&archive).arg("var/lib/x").dir(world.at("seen")).ok();
        let voltar = |args: &[&str]| {
            Tool::voltar().dir(world.scratch.path()).env("VOLTAR_STATE_DIR", world.at("state")).args(args).arg(&archive)
        };
        let begun = Instant::now();
        voltar(&["verify"]).ok();
        voltar(&["restore", "--data-root", "docker", "--layout", "x.toml", "--only", "x"]).ok();
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
        let image = fs::File::open(world.docker.data("x").join("image")).unwrap();
        assert_eq!(image.metadata().unwrap().len(), SIZE);
        let read = |offset: u64, bytes: &mut [u8]| image.read_exact_at(bytes, offset).unwrap();
        let (mut first, mut last) = ([0; 11], [0; 5]);
        read(0, &mut first);
        read(SIZE - 5, &mut last);
        assert_eq!((&first, &last), (b"\0\0\0\0\0first\0", b"\0last"));
    }
}

/// A change of a header to what another tar writes.
#[derive(Debug, Clone, Copy)]
enum Change {
    /// ustar with these version bytes.
    Version([u8; 2]),
    /// ustar with the name in two parts.
    Prefix,
    /// No magic: the oldest format.
    V7,
    /// Another type, which can be unknown.
    Type(u8),
    /// Numbers with leading spaces and no NUL.
    Spaces,
    /// The sum of signed bytes.
    SignedSum,
    /// A name that begins with slashes. (GNU tar counts the `.` of `./` as a component that `--strip` removes.)
    Start(&'static [u8]),
    /// A size where none belongs.
    Size,
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        any::<[u8; 2]>().prop_map(Change::Version),
        Just(Change::Prefix),
        Just(Change::V7),
        prop::sample::select(&b"07AZNS\0"[..]).prop_map(Change::Type),
        Just(Change::Spaces),
        Just(Change::SignedSum),
        prop::sample::select(vec![&b"/"[..], b"//"]).prop_map(Change::Start),
        Just(Change::Size),
    ]
}

impl Change {
    fn apply(self, header: &mut [u8]) {
        let is_file = matches!(header[156], b'0' | 0);
        match self {
            Self::Version(version) => {
                header[257..263].copy_from_slice(b"ustar\0");
                header[263..265].copy_from_slice(&version);
            }
            // One in two parts already would get another name.
            Self::Prefix if header[345] == 0 => {
                let name = header[..100].to_vec();
                let Some(slash) = name.iter().position(|&byte| byte == b'/') else { return };
                header[257..265].copy_from_slice(b"ustar\x0000");
                header[..100].fill(0);
                header[..99 - slash].copy_from_slice(&name[slash + 1..]);
                header[345..345 + slash].copy_from_slice(&name[..slash]);
            }
            // The first part of a long name would be lost.
            Self::V7 if header[345] == 0 => header[257..].fill(0),
            Self::Type(kind) if is_file && kind != b'S' => header[156] = kind,
            Self::Spaces => {
                for field in [100..108, 108..116, 116..124, 136..148] {
                    let digits = header[field.clone()].iter().position(|&byte| byte != b'0').unwrap_or(0);
                    header[field.start..][..digits].fill(b' ');
                }
            }
            Self::Start(start) => {
                let name = header[..100].to_vec();
                // Slashes between the two parts of a name are components for GNU tar.
                if name[99 - start.len()] == 0 && header[345] == 0 {
                    header[..start.len()].copy_from_slice(start);
                    header[start.len()..100].copy_from_slice(&name[..100 - start.len()]);
                }
            }
            // That of the directory on disk; no content follows.
            Self::Size if matches!(header[156], b'1'..=b'6') => header[124..136].copy_from_slice(b"00000010000\0"),
            Self::SignedSum | Self::Prefix | Self::V7 | Self::Type(_) | Self::Size => {}
        }
        let signed = matches!(self, Self::SignedSum);
        header[148..156].fill(b' ');
        let sum: i64 = header.iter().map(|&b| if signed { i64::from(b.cast_signed()) } else { i64::from(b) }).sum();
        header[148..156].copy_from_slice(format!("{:06o}\0 ", sum.max(0)).as_bytes());
    }
}

fn headers_of_other_dialects(table: &Table) {
    let changes = prop::collection::vec((any::<Index>(), change()), 1..12);
    property(&(trees(20), changes), |(nodes, changes)| {
        let world = World::new(&[&nodes[..], &always()[..3]].concat());
        let archive = world.at("x.tar");
        let format = ["--format=ustar", "--format=gnu"][nodes.len() % 2];
        Tool::new("tar").args([format, "-cf"]).arg(&archive).arg("var/lib/x").dir(world.at("seen")).run();
        let mut stream = fs::read(&archive).unwrap();
        let mut headers = Vec::new();
        let mut reader = TarReader::new(&stream[..]);
        while let Some(stored) = reader.next_member().unwrap() {
            // The header that follows those of long names.
            headers.push(usize::try_from(stored.offset).unwrap());
        }
        // One change per header: two of them could name another file. A format without room for the root's owner has no
        // member at all.
        let changes: BTreeMap<usize, Change> =
            changes.iter().filter(|_| !headers.is_empty()).map(|(at, change)| (*at.get(&headers), *change)).collect();
        for (at, change) in &changes {
            change.apply(&mut stream[*at..][..512]);
        }
        fs::write(&archive, &stream).unwrap();
        let compared = world.compare(&archive);
        let kinds: BTreeSet<String> = changes
            .values()
            .map(|change| format!("{change:?}").split('(').next().unwrap_or_default().to_owned())
            .collect();
        for kind in kinds {
            table.add(&format!("headers: {kind}"), compared.as_ref());
        }
        if let Some(compared) = compared {
            compared.assert_same(&format!("{changes:?}"));
        }
    });
}
