//! Black-box tests of bounds: whatever a tree or an archive holds, memory and time stay in proportion, a signal is obeyed,
//! and what a backup stores a restore accepts. They use a data root; neither an engine nor root is needed.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]

mod common;

use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::data_root::one_volume;
use common::hostile::header;
use common::tool::Tool;
use nix::fcntl::{OFlag, openat};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{Pid, mkfifo};
use tar::EntryType::{self, Directory, Link, Regular, Symlink};
use tempfile::TempDir;
use voltar::limits::{DEEPEST, LONGEST_COMPONENT, LONGEST_NAME, LONGEST_RECORD, LONGEST_TARGET};

/// The memory that a run may take, whatever its input: far more than it takes, and far less than the hostile inputs took.
const MEMORY_KIB: u64 = 150 << 10;

/// The time that a run may take: far more than it takes on a slow machine.
const TIME: Duration = Duration::from_secs(60);

/// The time within which a signal is obeyed, with a margin for a slow machine in addition to the second that is promised.
const PROMPTLY: Duration = Duration::from_secs(4);

/// A stopped container `x` with a volume at `/srv/x`, which holds the file `old`.
struct World {
    scratch: TempDir,
    live: PathBuf,
}

/// A run that has ended.
struct Ran {
    code: Option<i32>,
    stdout: Vec<u8>,
    stderr: String,
}

impl World {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let live = one_volume(scratch.path());
        fs::write(live.join("old"), "old").unwrap();
        Self { scratch, live }
    }

    fn archive(&self, suffix: &str, content: &[u8]) -> PathBuf {
        let path = self.scratch.path().join("backup").join(format!("x.{suffix}"));
        fs::write(&path, content).unwrap();
        path
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_voltar"));
        command.current_dir(self.scratch.path()).env("VOLTAR_STATE_DIR", self.scratch.path().join("state"));
        command.args(args).stdin(Stdio::null());
        if matches!(args[0], "backup" | "restore" | "plan") {
            command.args(["--data-root", "docker", "--layout", "x.toml"]);
        }
        command
    }

    /// Runs to the end, within [`MEMORY_KIB`] and [`TIME`].
    #[track_caller]
    fn run(&self, args: &[&str]) -> Ran {
        let at = |name: &str| self.scratch.path().join(name);
        let [out, err] = ["stdout", "stderr"].map(|name| File::create(at(name)).unwrap());
        let mut child = self.command(args).stdout(out).stderr(err).spawn().unwrap();
        let (begun, mut peak) = (Instant::now(), 0);
        let status = loop {
            peak = peak.max(peak_kib(child.id()));
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if begun.elapsed() > TIME || peak > MEMORY_KIB {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("{args:?}: {peak} KiB after {:?}", begun.elapsed());
            }
            std::thread::sleep(Duration::from_millis(2));
        };
        let stderr = String::from_utf8(fs::read(at("stderr")).unwrap()).unwrap();
        assert!(stderr.len() < 32 << 10, "{args:?}: {} bytes of messages", stderr.len());
        Ran { code: status.code(), stdout: fs::read(at("stdout")).unwrap(), stderr }
    }

    /// Starts a run, sends a signal after half a second, and checks that it ends at once, as one that was interrupted.
    #[track_caller]
    fn interrupt(&self, args: &[&str]) {
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            let stderr = self.scratch.path().join("stderr");
            let log = File::create(&stderr).unwrap();
            let null = || File::create("/dev/null").unwrap();
            let mut command = self.command(args);
            if args.iter().any(|arg| ["-", "/dev/stdin"].contains(arg)) {
                // A pipe that nobody writes to.
                command.stdin(Stdio::piped());
            }
            let mut child = command.stdout(null()).stderr(log).spawn().unwrap();
            std::thread::sleep(Duration::from_millis(500));
            assert!(
                child.try_wait().unwrap().is_none(),
                "{args:?} ended too early: {}",
                fs::read_to_string(&stderr).unwrap()
            );
            kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
            let begun = Instant::now();
            let status = loop {
                if let Some(status) = child.try_wait().unwrap() {
                    break status;
                }
                if begun.elapsed() > PROMPTLY {
                    child.kill().unwrap();
                    child.wait().unwrap();
                    panic!("{args:?}: {signal} was not obeyed within {PROMPTLY:?}");
                }
                std::thread::sleep(Duration::from_millis(5));
            };
            assert_eq!(status.code(), Some(130), "{args:?}: {}", fs::read_to_string(&stderr).unwrap());
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Rust's library keeps a handle for each level of a tree that it removes.
        drop(Tool::new("rm").arg("-rf").arg(&self.live).run());
    }
}

/// Returns the most memory that a process has taken so far; 0 if it has ended.
fn peak_kib(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}

/// Creates directories of this name, each in the one before, and returns the last one.
fn nest(directory: &Path, name: &str, levels: usize) -> OwnedFd {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut at: OwnedFd = File::open(directory).unwrap().into();
    for _ in 0..levels {
        mkdirat(&at, name, Mode::S_IRWXU).unwrap();
        at = openat(&at, name, flags, Mode::empty()).unwrap();
    }
    at
}

/// Returns how many directories of this name are nested.
fn levels(directory: &Path, name: &str) -> usize {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let mut at: OwnedFd = File::open(directory).unwrap().into();
    let mut count = 0;
    while let Ok(below) = openat(&at, name, flags, Mode::empty()) {
        at = below;
        count += 1;
    }
    count
}

/// Returns a header of this type with `content`, in whole blocks.
fn record(kind: EntryType, content: &[u8]) -> Vec<u8> {
    let mut stream = header("././@LongLink", kind, "", content.len() as u64).as_bytes().to_vec();
    stream.extend_from_slice(content);
    stream.resize(stream.len().next_multiple_of(512), 0);
    stream
}

/// Returns a member with a long name and a long link, of one byte of content if it is a file.
fn member(name: &[u8], kind: EntryType, link: &[u8]) -> Vec<u8> {
    let content: &[u8] = if kind == Regular { b"1" } else { b"" };
    let mut stream = record(EntryType::GNULongName, &[name, b"\0"].concat());
    if !link.is_empty() {
        stream.extend(record(EntryType::GNULongLink, &[link, b"\0"].concat()));
    }
    stream.extend_from_slice(header("short", kind, "", content.len() as u64).as_bytes());
    stream.extend_from_slice(content);
    stream.resize(stream.len().next_multiple_of(512), 0);
    stream
}

const END: [u8; 1024] = [0; 1024];

fn bzip2(content: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::best());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// Returns a few hundred kilobytes that decompress to 100 GB of zeros.
fn endless_zeros() -> Vec<u8> {
    bzip2(&vec![0; 100 << 20]).repeat(1000)
}

/// The user of a container can make a tree that no archive holds. The rest of it is archived, and can be restored.
#[test]
fn a_tree_beyond_the_limits_is_archived_up_to_them() {
    // The prefix `srv/x` takes two components.
    let long = "n".repeat(250);
    for (name, made, kept) in [(&long[..], 4300, (LONGEST_NAME - 5) / 251), ("d", 20_000, DEEPEST - 2)] {
        let world = World::new();
        drop(nest(&world.live, name, made));
        fs::write(world.live.join("precious"), "precious").unwrap();
        let ran = world.run(&["plan", "backup"]);
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
        let ran = world.run(&["backup", "backup", "--format", "zst"]);
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        assert_eq!(ran.stderr.matches("warning").count(), 1, "{}", ran.stderr);
        assert!(ran.stderr.contains("holds an entry beyond a limit of archives"), "{}", ran.stderr);
        assert_eq!(world.run(&["verify", "backup"]).code, Some(0));
        for options in [&[][..], &["--merge"], &["--in-place"]] {
            drop(Tool::new("rm").arg("-rf").arg(world.live.join(name)).ok());
            fs::write(world.live.join("precious"), "").unwrap();
            let ran = world.run(&[&["restore", "backup"], options].concat());
            assert_eq!(ran.code, Some(0), "{}", ran.stderr);
            assert_eq!(levels(&world.live, name), kept);
            assert_eq!(fs::read_to_string(world.live.join("precious")).unwrap(), "precious");
        }
    }
}

#[test]
fn of_many_directories_beyond_a_limit_some_are_named() {
    let world = World::new();
    let deepest = nest(&world.live, "d", DEEPEST - 3);
    for number in 0..40 {
        let name = format!("directory {number}");
        mkdirat(&deepest, &name[..], Mode::S_IRWXU).unwrap();
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let directory = openat(&deepest, &name[..], flags, Mode::empty()).unwrap();
        for below in ["one", "two"] {
            mkdirat(&directory, below, Mode::S_IRWXU).unwrap();
        }
    }
    let ran = world.run(&["backup", "backup", "--format", "zst"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("holds 2 entries beyond").count(), 10, "{}", ran.stderr);
    assert!(ran.stderr.contains("30 more directories"), "{}", ran.stderr);
}

/// GNU tar writes such members, and so can an attacker. Each is left out, and nothing else is.
#[test]
fn a_member_beyond_a_limit_is_left_out() {
    let deep = [b"srv/x/".to_vec(), b"d/".repeat(DEEPEST - 2), b"e".to_vec()].concat();
    let cases: [(&str, Vec<u8>); 8] = [
        ("2049 components", member(&deep, Regular, b"")),
        ("2050 components", member(&[&deep[..], b"/below"].concat(), Directory, b"")),
        (
            "a component of 256 bytes",
            member(&[b"srv/x/".to_vec(), vec![b'c'; LONGEST_COMPONENT + 1]].concat(), Regular, b""),
        ),
        (
            "a name of",
            member(&[b"srv/x/".to_vec(), [vec![b'l'; 255], vec![b'/']].concat().repeat(300)].concat(), Directory, b""),
        ),
        ("a header of", member(&[b"srv/x/".to_vec(), vec![b'h'; 2 << 20]].concat(), Regular, b"")),
        ("a link target of", member(b"srv/x/link", Symlink, &[b't'; LONGEST_TARGET + 1])),
        ("2049 components", member(b"srv/x/hard", Link, &deep)),
        ("a header of", member(b"srv/x/hard", Link, &vec![b'h'; 3 << 20])),
    ];
    for (why, beyond) in cases {
        let world = World::new();
        let parts = [&member(b"srv/x/", Directory, b"")[..], &member(b"srv/x/first", Regular, b""), &beyond];
        let rest = [&member(b"srv/x/last", Regular, b"")[..], &END];
        world.archive("tar", &[parts.concat(), rest.concat()].concat());
        for options in [&[][..], &["--merge"], &["--in-place"]] {
            for name in ["first", "last"] {
                fs::remove_file(world.live.join(name)).ok();
            }
            let ran = world.run(&[&["restore", "backup"], options].concat());
            assert_eq!(ran.code, Some(1), "{why} {options:?}: {}", ran.stderr);
            assert!(ran.stderr.contains("is not restored") && ran.stderr.contains(why), "{why}: {}", ran.stderr);
            for name in ["first", "last"] {
                assert_eq!(fs::read(world.live.join(name)).unwrap(), b"1");
            }
            assert!(!world.live.join("d").exists() && !world.live.join("hard").exists());
        }
        let ran = world.run(&["verify", "backup"]);
        assert_eq!(ran.code, Some(1), "{why}: {}", ran.stderr);
        assert!(ran.stderr.contains("cannot be restored") && ran.stderr.contains(why), "{why}: {}", ran.stderr);
        // What was read is listed.
        let ran = world.run(&["list", "backup/x.tar"]);
        assert_eq!(ran.code, Some(i32::from(why == "a header of")), "{why}: {}", ran.stderr);
        assert_eq!(String::from_utf8(ran.stdout).unwrap().lines().count(), 4);
    }
}

#[test]
fn a_tree_beyond_a_limit_is_named_once() {
    let world = World::new();
    let mut stream = [member(b"srv/x/", Directory, b""), member(b"srv/x/kept", Regular, b"")].concat();
    for tree in 0..20 {
        let top = [format!("srv/x/{tree}/").into_bytes(), b"d/".repeat(DEEPEST - 3)].concat();
        for below in ["a", "b", "b/c"] {
            stream.extend(member(&[&top[..], below.as_bytes()].concat(), Directory, b""));
        }
    }
    stream.extend(END);
    world.archive("tar", &stream);
    let ran = world.run(&["restore", "backup"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert_eq!(ran.stderr.matches("is not restored").count(), 10, "{}", ran.stderr);
    assert!(ran.stderr.contains("60 members in all are not restored"), "{}", ran.stderr);
    assert_eq!(fs::read(world.live.join("kept")).unwrap(), b"1");
}

/// 7 KB that are 1,000 directories with a name of 1 MiB each, or many of the longest that can be restored.
#[test]
fn memory_does_not_grow_with_names() {
    let name =
        |bytes: usize| [b"srv/x/".to_vec(), [vec![b'a'; 250], b"/".to_vec()].concat().repeat(bytes / 251)].concat();
    for (bytes, count, code) in [(LONGEST_RECORD as usize - 300, 500, 1), (LONGEST_NAME - 300, 3000, 0)] {
        let world = World::new();
        let members = member(&name(bytes), Directory, b"").repeat(count);
        let first = [member(b"srv/x/", Directory, b""), member(b"srv/x/kept", Regular, b"")].concat();
        let archive = world.archive("tar.bz2", &bzip2(&[first, members, END.to_vec()].concat()));
        assert!(archive.metadata().unwrap().len() < 64 << 10);
        let ran = world.run(&["restore", "backup"]);
        assert_eq!(ran.code, Some(code), "{}", ran.stderr);
        assert_eq!(fs::read(world.live.join("kept")).unwrap(), b"1");
    }
}

/// Alternating names of many components, so that nothing is shared with the member before.
#[test]
fn time_does_not_grow_with_the_square_of_components() {
    let name = |letter: &str, components: usize| {
        [b"srv/x/".to_vec(), format!("{letter}/").repeat(components).into_bytes()].concat()
    };
    for (components, count, code) in [(500_000, 2, 1), (DEEPEST - 4, 300, 0)] {
        let world = World::new();
        let mut stream = [member(b"srv/x/", Directory, b""), member(b"srv/x/kept", Regular, b"")].concat();
        for number in 0..count {
            let letter = if number % 2 == 0 { "a" } else { "b" };
            let file = [name(letter, components), format!("file {number}").into_bytes()].concat();
            stream.extend(member(&file, Regular, b""));
        }
        stream.extend(END);
        world.archive("tar.bz2", &bzip2(&stream));
        for options in [&[][..], &["--in-place"]] {
            let ran = world.run(&[&["restore", "backup"], options].concat());
            assert_eq!(ran.code, Some(code), "{}", ran.stderr);
        }
        if code == 0 {
            assert_eq!((levels(&world.live, "a"), levels(&world.live, "b")), (components, components));
        }
    }
}

/// The refusal says what the members have in common.
#[test]
fn an_archive_of_another_path_is_refused_in_little_time() {
    for (components, count) in [(500_000, 2), (DEEPEST - 4, 300)] {
        let world = World::new();
        let directory = b"d/".repeat(components);
        let file = |number| member(&[&directory[..], format!("file {number}").as_bytes()].concat(), Regular, b"");
        let mut stream: Vec<u8> = (0..count).flat_map(file).collect();
        stream.extend(END);
        world.archive("tar.bz2", &bzip2(&stream));
        let ran = world.run(&["restore", "backup"]);
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        assert!(ran.stderr.contains("is not the archive of '/srv/x'"), "{}", ran.stderr);
        assert!(ran.stderr.contains("hint: `--from PREFIX`"), "nobody can run a shortened command: {}", ran.stderr);
    }
}

#[test]
fn empty_streams_take_little_time() {
    let zstd = b"\x28\xb5\x2f\xfd\x20\x00\x01\x00\x00".repeat(2_000_000);
    let skippable = b"\x50\x2a\x4d\x18\x00\x00\x00\x00".repeat(2_000_000);
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let gzip = gzip.finish().unwrap().repeat(300_000);
    for (suffix, content) in
        [("tar.zst", zstd), ("tar.zst", skippable), ("tar.gz", gzip), ("tar.bz2", bzip2(b"").repeat(1_000_000))]
    {
        let world = World::new();
        world.archive(suffix, &content);
        let ran = world.run(&["verify", "backup"]);
        assert_eq!(ran.code, Some(2));
        assert!(ran.stderr.contains("the archive is empty"), "{}", ran.stderr);
    }
}

#[test]
fn a_signal_is_obeyed_wherever_time_passes() {
    let world = World::new();
    let first = [member(b"srv/x/", Directory, b""), member(b"srv/x/kept", Regular, b"")].concat();
    // Padding after the end mark.
    let padding = [bzip2(&[&first[..], &END].concat()), endless_zeros()].concat();
    world.archive("tar.bz2", &padding);
    for args in [&["list", "backup/x.tar.bz2"][..], &["verify", "backup"], &["restore", "backup"]] {
        world.interrupt(args);
    }
    // Content of 99 GB: it is read, and skipped where it lies outside of the prefix.
    let mut huge = header("srv/y/huge", Regular, "", 0);
    huge.set_size(99 << 30);
    huge.set_cksum();
    let content = [bzip2(&[&first[..], huge.as_bytes()].concat()), endless_zeros()].concat();
    world.archive("tar.bz2", &content);
    for args in [&["list", "backup/x.tar.bz2"][..], &["verify", "backup"], &["restore", "backup", "--from", "srv/x"]] {
        world.interrupt(args);
    }
    fs::remove_file(world.scratch.path().join("backup/x.tar.bz2")).unwrap();
    // Long names without a member.
    let names =
        [bzip2(&first), bzip2(&record(EntryType::GNULongName, &vec![b'n'; 1 << 20]).repeat(100)).repeat(500)].concat();
    world.archive("tar.bz2", &names);
    world.interrupt(&["verify", "backup"]);
    // A stream that nobody writes to.
    for args in [&["list", "-"][..], &["verify", "-"], &["restore", "-", "--only", "x"]] {
        world.interrupt(args);
    }
    assert_eq!(fs::read(world.live.join("old")).unwrap(), b"old");
    let left = fs::read_dir(world.live.parent().unwrap()).unwrap().count();
    assert_eq!(left, 1, "nothing but the volume's tree");
}

#[test]
fn a_fifo_is_refused_without_waiting_for_a_writer() {
    let world = World::new();
    let fifo = world.scratch.path().join("backup/x.tar");
    mkfifo(&fifo, Mode::S_IRWXU).unwrap();
    for args in [&["list", "backup/x.tar"][..], &["verify", "backup/x.tar"], &["restore", "backup/x.tar"]] {
        let ran = world.run(args);
        assert_eq!(ran.code, Some(2));
        assert!(ran.stderr.contains("not a regular file") && ran.stderr.contains("hint"), "{}", ran.stderr);
    }
    mkfifo(&world.scratch.path().join("layout"), Mode::S_IRWXU).unwrap();
    let ran = world.run(&["resume", "--data-root", "docker", "--layout", "layout"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("cannot read layout 'layout': not a regular file"), "{}", ran.stderr);
    assert!(ran.stderr.contains("--layout /dev/stdin"), "{}", ran.stderr);
}

/// A pipe that voltar was started with has a writer.
#[test]
fn a_layout_comes_through_a_pipe() {
    let world = World::new();
    let voltar = env!("CARGO_BIN_EXE_voltar");
    for line in [
        "sleep 0.2; cat x.toml | \"$0\" resume --data-root docker --layout /dev/stdin",
        "\"$0\" resume --data-root docker --layout <(sleep 0.2; cat x.toml)",
        "\"$0\" resume --data-root docker --layout /proc/self/fd/7 7<x.toml",
    ] {
        let shell = Tool::shell(line).arg(voltar).dir(world.scratch.path());
        shell.env("VOLTAR_STATE_DIR", world.scratch.path().join("state")).ok();
    }
    let endless = "yes | \"$0\" resume --data-root docker --layout /dev/stdin";
    let outcome = Tool::new("bash").args(["-c", endless, voltar]).dir(world.scratch.path()).run().expect_code(2);
    outcome.expect_text("it has more than 1048576 bytes");
    world.interrupt(&["resume", "--data-root", "docker", "--layout", "/dev/stdin"]);
}

#[test]
fn messages_shorten_a_long_name_and_a_listing_does_not() {
    let world = World::new();
    let long = vec![b'n'; 1_000_000];
    let name = [b"srv/x/".to_vec(), long.clone(), b"/../end".to_vec()].concat();
    let stream = [member(b"srv/x/", Directory, b""), member(&name, Regular, b""), END.to_vec()].concat();
    world.archive("tar", &stream);
    let ran = world.run(&["restore", "backup"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.len() < 4096, "{}", ran.stderr.len());
    for part in ["'srv/x/nnn", " bytes …]", "nnn/../end'"] {
        assert!(ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    // Damage behind it is located by the last member.
    world.archive("tar", &stream[..stream.len() - END.len()]);
    let ran = world.run(&["verify", "backup"]);
    assert!(ran.code == Some(2) && ran.stderr.len() < 4096, "{}", ran.stderr);
    let ran = world.run(&["list", "backup/x.tar"]);
    assert!(ran.stdout.windows(long.len()).any(|window| window == long));
}
