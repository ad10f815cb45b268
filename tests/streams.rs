//! Black-box tests of archives in streams: `-` and `--to-command`. They use a data root; neither an engine nor root is
//! needed. A consumer must never take an archive for complete that is not.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]
#![allow(clippy::print_stderr, reason = "skipped tests are reported")]

mod common;

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::data_root::DataRoot;
use common::hostile::archive;
use common::snapshot::TreeSnapshot;
use common::tool::{Tool, installed};
use common::tree::{build, dir, file, hard_link};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tar::EntryType::{Directory, Regular};
use tempfile::TempDir;

const FORMATS: [&str; 4] = ["bz2", "gz", "zst", "tar"];

/// The time within which a signal is obeyed, with a margin for a slow machine in addition to the second that is promised.
const PROMPTLY: Duration = Duration::from_secs(4);

/// Two stopped containers `small` and `large`, each with a volume. The content of `large` is more than a pipe holds.
struct World {
    scratch: TempDir,
    data_root: DataRoot,
}

impl World {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let data_root = DataRoot::new(&scratch.path().join("docker"));
        let small = data_root.volume("small");
        build(&small, &[file("one", "1"), dir("two"), hard_link("two/hard", "one")]);
        let large = data_root.volume("large");
        fs::write(large.join("noise"), noise(3 << 20)).unwrap();
        let mut layout = String::new();
        for name in ["small", "large"] {
            data_root.container(name).mount(name, &format!("/srv/{name}")).write();
            writeln!(layout, "[[archive]]\nname = '{name}'\ncontainer = '{name}'\npath = '/srv/{name}'").unwrap();
        }
        fs::write(scratch.path().join("both.toml"), layout).unwrap();
        Self { scratch, data_root }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn voltar(&self, command: &str, args: &[&str]) -> Tool {
        let tool = Tool::voltar().dir(self.scratch.path()).env("VOLTAR_STATE_DIR", self.at("state"));
        tool.args([command, "--data-root", "docker", "--layout", "both.toml"]).args(args)
    }

    /// Returns the same command with pipes for the test to hold.
    fn child(&self, command: &str, args: &[&str]) -> Child {
        Command::new(env!("CARGO_BIN_EXE_voltar"))
            .current_dir(self.scratch.path())
            .env("VOLTAR_STATE_DIR", self.at("state"))
            .args([command, "--data-root", "docker", "--layout", "both.toml"])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn volume(&self, name: &str) -> TreeSnapshot {
        TreeSnapshot::of(&self.data_root.data(name)).carried_by_tar()
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.at(name)).unwrap()
    }
}

/// Returns bytes that do not compress.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(bytes).collect()
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.id().cast_signed()), signal).unwrap();
}

/// Waits for a child that is to end promptly; returns what it has written.
#[track_caller]
fn ends(mut child: Child, code: i32) -> Output {
    let begun = Instant::now();
    drop(child.stdin.take());
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > PROMPTLY {
            child.kill().unwrap();
            panic!("it does not end: {}", String::from_utf8_lossy(&child.wait_with_output().unwrap().stderr));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Checks that neither voltar nor the usual tools take `stream` for a complete archive.
#[track_caller]
fn assert_broken(world: &World, stream: &[u8], format: &str) {
    world.voltar("verify", &["-q", "-"]).input(stream).run().expect_code(2);
    let option = match format {
        "bz2" => "--bzip2",
        "gz" => "--gzip",
        "zst" => "--zstd",
        _ => "--no-auto-compress",
    };
    let program = match format {
        "bz2" => "bzip2",
        "gz" => "gzip",
        "zst" => "zstd",
        _ => "tar",
    };
    if !installed(program) {
        eprintln!("skipped: {format}: {program} is not installed");
        return;
    }
    let listed = Tool::new("tar").args(["-t", option, "-f", "-"]).input(stream).run();
    assert_ne!(listed.status.code(), Some(0), "{listed}");
}

#[test]
fn standard_output_equals_the_file() {
    let world = World::new();
    for format in FORMATS {
        world.voltar("backup", &["--format", format, format]).ok();
        for name in ["small", "large"] {
            let written = world.voltar("backup", &["--format", format, "--only", name, "-"]).ok();
            assert!(written.stdout == world.read(&format!("{format}/{name}.tar.{format}").replace(".tar.tar", ".tar")));
            let text = String::from_utf8(written.stderr).unwrap();
            assert!(text.contains("archived") && text.contains("compressed"), "{text}");
        }
    }
    // Also where standard output is a file.
    let out = File::create(world.at("redirected")).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_voltar"));
    child.current_dir(world.scratch.path()).env("VOLTAR_STATE_DIR", world.at("state")).stdout(out);
    child.args(["backup", "--data-root", "docker", "--layout", "both.toml", "-q", "--only", "large", "-"]);
    assert!(child.status().unwrap().success());
    assert!(world.read("redirected") == world.read("bz2/large.tar.bz2"));
}

#[test]
fn with_json_standard_output_is_the_archive_too() {
    let world = World::new();
    world.voltar("backup", &["file"]).ok();
    let written = world.voltar("backup", &["--json", "--only", "small", "-"]).ok();
    assert!(written.stdout == world.read("file/small.tar.bz2"));
    for line in String::from_utf8(written.stderr).unwrap().lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        if value["event"] == "finished" {
            assert_eq!(value["path"], "-");
        }
    }
}

#[test]
fn standard_output_takes_one_archive() {
    let world = World::new();
    for command in ["backup", "plan"] {
        let refused = world.voltar(command, &["-"]).run().expect_code(2);
        assert_eq!(refused.stdout, b"");
        let refused = refused.expect_text("standard output takes one archive, and 2 are selected: small, large");
        refused.expect_text("--only small");
    }
    world.voltar("plan", &["--only", "small", "-"]).ok().expect_text("small -> standard output");
}

#[test]
fn an_archive_inside_its_own_tree_is_refused() {
    let world = World::new();
    let out = File::create(world.data_root.data("small").join("backup.tar")).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_voltar"));
    child.current_dir(world.scratch.path()).env("VOLTAR_STATE_DIR", world.at("state")).stdout(out);
    child.args(["backup", "--data-root", "docker", "--layout", "both.toml", "--only", "small", "-"]);
    let output = child.stderr(Stdio::piped()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("standard output lies inside what is to be archived"), "{text}");
}

#[test]
fn standard_input_is_listed_verified_and_restored() {
    let world = World::new();
    let before = [world.volume("small"), world.volume("large")];
    for format in FORMATS {
        world.voltar("backup", &["--format", format, "--overwrite", "backup"]).ok();
        for (name, before) in ["small", "large"].into_iter().zip(&before) {
            let path = format!("backup/{name}.tar.{format}").replace(".tar.tar", ".tar");
            let bytes = world.read(&path);
            let listed = |at: &str| world.voltar("list", &[at]).input(&bytes[..]).ok().stdout;
            assert!(listed("-") == listed(&path));
            world.voltar("verify", &["-"]).input(&bytes[..]).ok().expect_text("checked");
            let live = world.data_root.data(name);
            fs::write(live.join("new"), "new").unwrap();
            let planned = world.voltar("restore", &["-n", "--only", name, "-"]).input(&bytes[..]).ok();
            let planned = planned.expect_text(&format!("{name} <- standard input"));
            planned.expect_text("only the first members of standard input are known");
            assert!(live.join("new").exists());
            world.voltar("restore", &["--only", name, "-"]).input(&bytes[..]).ok();
            assert_eq!(world.volume(name), *before);
        }
    }
    // In a file the archive begins where the file is read next, and its length is known.
    let bytes = world.read("backup/large.tar.bz2");
    fs::write(world.at("behind"), [b"read already", &bytes[..]].concat()).unwrap();
    let mut file = File::open(world.at("behind")).unwrap();
    file.seek(SeekFrom::Start(12)).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_voltar"));
    child.current_dir(world.scratch.path()).env("VOLTAR_STATE_DIR", world.at("state"));
    child.args(["restore", "--data-root", "docker", "--layout", "both.toml", "-n", "--json", "--only", "large", "-"]);
    let planned = child.stdin(file).output().unwrap();
    let document: serde_json::Value = serde_json::from_slice(&planned.stdout).unwrap();
    let archive = &document["archives"][0];
    assert_eq!((&archive["file"], archive["archive_bytes"].as_u64()), (&"-".into(), Some(bytes.len() as u64)));
    assert!(planned.status.success());
}

#[test]
fn a_stream_that_is_not_the_archive_changes_nothing() {
    let world = World::new();
    world.voltar("backup", &["backup"]).ok();
    let before = world.volume("small");
    let refused = |bytes: &[u8], args: &[&str], text: &str| {
        world.voltar("restore", args).input(bytes).run().expect_code(2).expect_text(text);
        assert_eq!(world.volume("small"), before);
    };
    let small = world.read("backup/small.tar.bz2");
    refused(&small, &["-"], "standard input holds one archive, and nothing says which");
    refused(&small, &["--only", "small,large", "-"], "nothing says which");
    refused(&small, &["--only", "small", "--merge", "-"], "small: --merge checks the complete archive before");
    refused(&small, &["--only", "small", "--in-place", "-"], "small: --in-place checks the complete archive before");
    refused(&small[..small.len() - 1], &["--only", "small", "-"], "cut short");
    refused(&world.read("backup/large.tar.bz2"), &["--only", "small", "-"], "is not the archive of '/srv/small'");
    refused(b"", &["--only", "small", "-"], "the file is empty");
    world.voltar("verify", &["-", "-"]).run().expect_code(2).expect_text("`-` can be given once");
}

#[test]
fn the_first_members_are_found_behind_any_number_of_others() {
    let world = World::new();
    let before = world.volume("small");
    // Members of which the prefix is a part: more of them than are kept.
    let mut members = vec![("srv/", Directory, ""); 20_000];
    members.extend([("srv/small/", Directory, ""), ("elsewhere", Regular, "")]);
    let bytes = archive(&members);
    assert!(bytes.len() > 8 << 20);
    let refused = world.voltar("restore", &["--only", "small", "-"]).input(bytes).run().expect_code(2);
    refused.expect_text("is not the archive of '/srv/small'");
    assert_eq!(world.volume("small"), before);
}

/// What follows the first member is beyond what can be read before the archive is extracted.
#[test]
fn a_stream_of_another_path_is_refused_with_its_path_where_the_first_member_is_large() {
    let world = World::new();
    let before = world.volume("small");
    let mut members = tar::Builder::new(Vec::new());
    for (path, length) in [("elsewhere/file", 5 << 20), ("elsewhere/last", 0)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(length);
        members.append_data(&mut header, path, std::io::repeat(b'x').take(length)).unwrap();
    }
    let bytes = members.into_inner().unwrap();
    let refused = world.voltar("restore", &["--only", "small", "-"]).input(bytes).run().expect_code(2);
    refused.expect_text("is not the archive of '/srv/small'").expect_text("--from elsewhere");
    assert_eq!(world.volume("small"), before);
}

#[test]
fn a_reader_that_has_ended_is_an_error() {
    let world = World::new();
    for format in FORMATS {
        let mut child = world.child("backup", &["--format", format, "--only", "large", "-"]);
        drop(child.stdout.take());
        let output = ends(child, 2);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("cannot write 'standard output': Broken pipe"), "{text}");
    }
}

#[test]
fn a_signal_is_obeyed_while_nobody_reads_and_the_stream_is_broken() {
    let world = World::new();
    // A tree of which almost every byte of the stream is the end of a member.
    let small = world.data_root.data("small");
    for directory in 0..3000 {
        fs::create_dir(small.join(format!("directory {directory}"))).unwrap();
    }
    for format in FORMATS {
        let name = if format == "tar" { "small" } else { "large" };
        let mut child = world.child("backup", &["--format", format, "--only", name, "-"]);
        let mut stdout = child.stdout.take().unwrap();
        let mut stream = vec![0; 4096];
        // By then it waits for this reader.
        stdout.read_exact(&mut stream).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        signal(&child, Signal::SIGTERM);
        if format == "tar" {
            // GNU tar takes a stream that ends between two members for complete: its reader gets an end that it refuses.
            stdout.read_to_end(&mut stream).unwrap();
            ends(child, 130);
        } else {
            ends(child, 130);
            stdout.read_to_end(&mut stream).unwrap();
        }
        assert_broken(&world, &stream, format);
    }
}

#[test]
fn a_killed_voltar_leaves_a_broken_stream() {
    let world = World::new();
    for format in ["bz2", "gz", "zst"] {
        let mut child = world.child("backup", &["--format", format, "--only", "large", "-"]);
        let mut stdout = child.stdout.take().unwrap();
        let mut stream = vec![0; 4096];
        stdout.read_exact(&mut stream).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        stdout.read_to_end(&mut stream).unwrap();
        assert_broken(&world, &stream, format);
    }
}

#[test]
fn a_signal_is_obeyed_while_nobody_writes() {
    let world = World::new();
    world.voltar("backup", &["backup"]).ok();
    let bytes = world.read("backup/large.tar.bz2");
    for (command, args, length) in [
        ("verify", &["-"][..], 0),
        ("list", &["-"], 0),
        ("restore", &["--only", "large", "-"], 0),
        ("restore", &["--only", "large", "-"], bytes.len() - 100),
        ("restore", &["-n", "--only", "large", "-"], 100),
    ] {
        let mut child = world.child(command, args);
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&bytes[..length]).unwrap();
        std::thread::sleep(Duration::from_millis(300));
        signal(&child, Signal::SIGINT);
        ends(child, 130);
        drop(stdin);
    }
    assert_eq!(fs::read(world.data_root.data("large").join("noise")).unwrap(), noise(3 << 20));
}

#[test]
fn commands_receive_the_archives() {
    let world = World::new();
    world.voltar("backup", &["backup"]).ok();
    let command = "cat > delivered/{file}; echo \"$VOLTAR_ARCHIVE is $VOLTAR_FILE\" >&2";
    fs::create_dir(world.at("delivered")).unwrap();
    let planned = world.voltar("plan", &["--to-command", command]).ok();
    planned.expect_text("small -> `cat > delivered/small.tar.bz2; echo");
    assert_eq!(fs::read_dir(world.at("delivered")).unwrap().count(), 0);
    let done = world.voltar("backup", &["--to-command", command]).ok();
    for name in ["small", "large"] {
        let file = format!("{name}.tar.bz2");
        assert!(world.read(&format!("delivered/{file}")) == world.read(&format!("backup/{file}")));
        let text = done.text();
        assert!(text.contains(&format!("{name}: {name} is {file}")), "{text}");
        assert!(text.contains(&format!("{name}: delivered; its command has ended with status 0")), "{text}");
    }
    let document = world.voltar("plan", &["--json", "--to-command", "cat > {file}"]).ok();
    let document: serde_json::Value = serde_json::from_slice(&document.stdout).unwrap();
    assert_eq!((&document["sink"], &document["folder"]), (&"command".into(), &serde_json::Value::Null));
    assert_eq!(document["archives"][0]["command"], "cat > small.tar.bz2");
    assert_eq!(document["archives"][0]["file"], "small.tar.bz2");
}

/// A command that says in `log` when it has seen the end of its input, and when it is asked to end.
fn witness(log: &Path) -> String {
    let log = log.display();
    format!(
        "trap 'echo $VOLTAR_ARCHIVE terminated >> {log}; exit 9' TERM; exec 3<&0; (cat <&3 > {log}.{{file}}; echo $VOLTAR_ARCHIVE end >> {log}) & wait"
    )
}

#[test]
fn a_failing_command_prevents_the_end_of_all_archives() {
    let world = World::new();
    let log = world.at("log");
    for fails in ["exit 3", "sleep 0.2; exit 3", "kill -9 $$", "exec 0<&-; sleep 60"] {
        fs::write(&log, "").unwrap();
        let command = format!("if test $VOLTAR_ARCHIVE = large; then {fails}; fi; {}", witness(&log));
        let begun = Instant::now();
        let failed = world.voltar("backup", &["--to-command", &command]).run().expect_code(2);
        assert!(begun.elapsed() < PROMPTLY, "{fails}");
        let failed = failed.expect_text("large: cannot write to the command").expect_no_text("delivered;");
        failed.expect_no_text("archived");
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(fs::read_to_string(&log).unwrap(), "small terminated\n", "{fails}");
        let part = fs::read(format!("{}.small.tar.bz2", log.display())).unwrap_or_default();
        world.voltar("verify", &["-q", "-"]).input(part).run().expect_code(2);
    }
}

#[test]
fn a_command_that_ignores_sigterm_is_killed_before_the_end() {
    let world = World::new();
    let command = "trap '' TERM; if test $VOLTAR_ARCHIVE = large; then exit 3; fi; cat > part; echo end > end";
    let begun = Instant::now();
    world.voltar("backup", &["--to-command", command]).run().expect_code(2);
    assert!(begun.elapsed() < PROMPTLY);
    std::thread::sleep(Duration::from_millis(200));
    assert!(!world.at("end").exists());
}

#[test]
fn what_was_delivered_is_said_where_a_command_fails_at_its_end() {
    let world = World::new();
    let command = "cat > /dev/null; echo storing $VOLTAR_ARCHIVE; test $VOLTAR_ARCHIVE = small";
    let failed = world.voltar("backup", &["-q", "--to-command", command]).run().expect_code(2);
    let failed = failed.expect_text("large: storing large").expect_text("exit status: 1");
    failed.expect_text("delivered: small; not delivered: large");
    let failed = world.voltar("backup", &["--to-command", "cat > /dev/null; exit 4"]).run().expect_code(2);
    failed.expect_text("exit status: 4; no archive was delivered");
}

#[test]
fn a_signal_is_obeyed_while_commands_take_their_time() {
    let world = World::new();
    let log = world.at("log");
    // One that does not read, and one that does not end.
    for (command, text, seen) in [
        (format!("sleep 60; {}", witness(&log)), "interrupted", ""),
        (
            "cat > /dev/null; test $VOLTAR_ARCHIVE = small || sleep 60".to_owned(),
            "delivered: small; not delivered: large",
            "",
        ),
    ] {
        fs::write(&log, "").unwrap();
        let child = world.child("backup", &["--to-command", &command]);
        std::thread::sleep(Duration::from_millis(1500));
        signal(&child, Signal::SIGINT);
        let output = ends(child, 130);
        let printed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(printed.contains(text), "{printed}");
        assert_eq!(fs::read_to_string(&log).unwrap(), seen);
    }
}

#[test]
fn a_spool_holds_the_archives_until_they_are_delivered() {
    let world = World::new();
    world.voltar("backup", &["backup"]).ok();
    fs::create_dir(world.at("delivered")).unwrap();
    let spool = |command: &str, more: &[&str]| {
        world.voltar("backup", &[&["--spool", "spool", "--to-command", command], more].concat())
    };
    let in_spool = || {
        let mut names: Vec<_> = fs::read_dir(world.at("spool")).unwrap().map(|one| one.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let planned = spool("cat > delivered/{file}", &["-n"]).ok();
    planned
        .expect_text("small -> spool/small.tar.bz2")
        .expect_text("goes to `cat > delivered/{file}` when the containers");
    assert!(!world.at("spool").exists());
    // When the first command starts, all archives are complete.
    let mut done = spool("ls spool >> listed; cat > delivered/{file}", &[]).ok();
    for name in ["small", "large"] {
        let file = format!("{name}.tar.bz2");
        assert!(world.read(&format!("delivered/{file}")) == world.read(&format!("backup/{file}")));
        done = done.expect_text(&format!("{name}: delivered; its command has ended with status 0"));
    }
    assert_eq!(world.read("listed"), b"large.tar.bz2\nsmall.tar.bz2\nlarge.tar.bz2\n");
    assert!(in_spool().is_empty());
    // What cannot be delivered stays, and is not replaced without a word.
    let failing = "cat > delivered/{file}; test $VOLTAR_ARCHIVE = large || exit 5";
    let failed = spool(failing, &[]).run().expect_code(2);
    failed
        .expect_text("small: the command failed")
        .expect_text("exit status: 5; the archive stays in 'spool/small.tar.bz2'")
        .expect_text("large: delivered")
        .expect_no_text("nothing was changed")
        .expect_text(") <spool/small.tar.bz2` delivers it");
    assert_eq!(in_spool(), ["small.tar.bz2"]);
    assert!(world.read("spool/small.tar.bz2") == world.read("backup/small.tar.bz2"));
    spool("cat > {file}", &[]).run().expect_code(2).expect_text("spool/small.tar.bz2").expect_text("--overwrite");
    assert_eq!(in_spool(), ["small.tar.bz2"]);
    spool("cat > delivered/{file}", &["--overwrite"]).ok();
    assert!(in_spool().is_empty());
    world.voltar("backup", &["--overwrite", "--to-command", "cat"]).run().expect_code(2).expect_text("--spool <DIR>");
}

#[test]
fn a_delivery_from_a_spool_is_interrupted_before_the_end() {
    let world = World::new();
    let child =
        world.child("backup", &["--spool", "spool", "--to-command", "head -c 9 > /dev/null; cat > part; sleep 60"]);
    while !world.at("part").exists() {
        std::thread::sleep(Duration::from_millis(20));
    }
    std::thread::sleep(Duration::from_millis(300));
    signal(&child, Signal::SIGINT);
    let output = ends(child, 130);
    let printed = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(printed.contains("the archive stays in 'spool/small.tar.bz2'"), "{printed}");
    assert!(printed.contains("the archive stays in 'spool/large.tar.bz2'"), "{printed}");
    world.voltar("verify", &["spool"]).ok();
}

#[test]
fn a_command_may_print_more_than_a_pipe_holds() {
    let world = World::new();
    let command = "head -c 300000 /dev/zero | tr '\\0' x | fold -w 100 >&2; cat > {file}";
    let done = world.voltar("backup", &["--only", "large", "--to-command", command]).ok();
    assert_eq!(done.text().matches(&"x".repeat(100)).count(), 3000);
}
