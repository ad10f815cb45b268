//! The output of `--json` against `docs/json-schema.json`: every line and document of real runs is valid, has no field that
//! the schema does not know, and every event and error code of the schema occurs.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]

mod common;
#[path = "host/fake_engine.rs"]
mod fake_engine;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::Duration;

use boon::{Compiler, SchemaIndex, Schemas};
use common::data_root;
use common::hostile;
use common::tool::{Outcome, Tool};
use fake_engine::FakeEngine;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};
use tar::EntryType;

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

fn schema() -> Value {
    serde_json::from_str(&read("docs/json-schema.json")).unwrap()
}

/// The schema, and what of it has occurred.
struct Checker {
    schemas: Schemas,
    index: SchemaIndex,
    events: BTreeSet<String>,
    codes: BTreeSet<String>,
}

impl Checker {
    /// Unlike a program that reads the output, the tests refuse fields that the schema does not know.
    fn new() -> Self {
        let mut schema = schema();
        for definition in schema["$defs"].as_object_mut().unwrap().values_mut() {
            if definition.get("properties").is_some() {
                definition["additionalProperties"] = json!(false);
            }
        }
        let (mut compiler, mut schemas) = (Compiler::new(), Schemas::new());
        compiler.add_resource("file:///voltar.json", schema).unwrap();
        let index = compiler.compile("file:///voltar.json", &mut schemas).unwrap();
        Self { schemas, index, events: BTreeSet::new(), codes: BTreeSet::new() }
    }

    #[track_caller]
    fn valid(&self, value: &Value) {
        if let Err(error) = self.schemas.validate(value, self.index) {
            panic!("{value}: {error:#}");
        }
    }

    /// Checks each line, and that the last one is `done` with the exit status.
    #[track_caller]
    fn stream(&mut self, bytes: &[u8], exit: i32) {
        let lines: Vec<Value> =
            std::str::from_utf8(bytes).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for line in &lines {
            self.valid(line);
            self.events.insert(line["event"].as_str().unwrap().to_owned());
            self.codes.extend(line.get("code").map(|code| code.as_str().unwrap().to_owned()));
        }
        let last = lines.last().unwrap();
        assert_eq!((&last["event"], &last["exit"]), (&json!("done"), &json!(exit)), "{last}");
    }

    #[track_caller]
    fn run(&mut self, tool: Tool, exit: i32) {
        let outcome = tool.run().expect_code(exit);
        self.stream(&outcome.stdout, exit);
    }

    /// Returns the one document that a command prints.
    #[track_caller]
    fn document(&self, tool: Tool, exit: i32) -> Value {
        let outcome: Outcome = tool.run().expect_code(exit);
        let document: Value = serde_json::from_slice(&outcome.stdout).unwrap();
        self.valid(&document);
        assert!(document.get("event").is_none());
        document
    }
}

/// The volume `x` of a data root, with members of all kinds that need no privilege.
struct World {
    scratch: tempfile::TempDir,
    live: PathBuf,
}

impl World {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let live = data_root::one_volume(scratch.path());
        fs::create_dir(live.join("d")).unwrap();
        fs::write(live.join("d/file"), vec![7; 2 << 20]).unwrap();
        fs::hard_link(live.join("d/file"), live.join("d/same")).unwrap();
        fs::write(live.join(OsStr::from_bytes(b"caf\xe9")), "x").unwrap();
        symlink("d/file", live.join("link")).unwrap();
        mkfifo(&live.join("fifo"), Mode::S_IRWXU).unwrap();
        Self { scratch, live }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn voltar(&self, args: &[&str]) -> Tool {
        let tool = Tool::voltar().dir(self.scratch.path()).env("VOLTAR_STATE_DIR", self.at("state"));
        tool.args(args).args(["--json", "--data-root", "docker", "--layout", "x.toml"])
    }
}

#[test]
fn every_line_and_document_is_valid_and_every_event_and_code_occurs() {
    let world = World::new();
    let mut check = Checker::new();

    let plan = check.document(world.voltar(&["plan"]), 0);
    assert_eq!((&plan["version"], &plan["archives"][0]["name"]), (&json!(1), &json!("x")));
    check.run(world.voltar(&["backup", "-v", "--format", "tar"]), 0);
    let plan = check.document(world.voltar(&["backup", "-n", "--format", "tar"]), 1);
    assert_eq!(plan["refusals"][0]["code"], "refused");
    check.run(world.voltar(&["backup", "--format", "tar"]), 2);
    check.run(world.voltar(&["backup", "--to-command", "echo {file}; cat >/dev/null"]), 0);
    check.document(world.voltar(&["plan", "--to-command", "cat"]), 0);
    let outcome = world.voltar(&["backup", "-"]).run().expect_code(0);
    check.stream(&outcome.stderr, 0);

    check.run(world.voltar(&["list", "backup/x.tar"]), 0);
    check.run(world.voltar(&["verify"]), 0);
    let document = check.document(world.voltar(&["restore", "-n"]), 0);
    assert_eq!(document["mode"], "replace");
    let document = check.document(world.voltar(&["restore", "-n", "--to", "look", "--path", "d"]), 0);
    assert_eq!(document["archives"][0]["paths"], json!(["d"]));
    check.run(world.voltar(&["restore", "--to", "look"]), 0);

    fs::remove_file(world.live.join("link")).unwrap();
    fs::write(world.live.join("new"), "").unwrap();
    fs::write(world.live.join("d/file"), "another").unwrap();
    check.run(world.voltar(&["verify", "--against-volume"]), 1);
    check.run(world.voltar(&["restore", "-v"]), 0);
    drop(std::os::unix::net::UnixListener::bind(world.live.join("socket")).unwrap());
    check.run(world.voltar(&["backup", "--overwrite"]), 1);
    check.run(world.voltar(&["resume"]), 0);

    check.run(world.voltar(&["backup", "--into", "sets"]), 1);
    let document = check.document(world.voltar(&["plan", "--into", "other"]), 0);
    assert_eq!(document["sink"], "set");
    fs::create_dir(world.at("sets/2020-01-01T00-00-00Z")).unwrap();
    let document = check.document(world.voltar(&["sets", "sets"]), 0);
    assert_eq!(document["sets"].as_array().unwrap().len(), 2, "{document}");
    check.document(world.voltar(&["prune", "-n", "--keep-last", "1", "sets"]), 0);

    // Errors of every kind.
    let lock = Flock::lock(fs::File::create(world.at("sets/.voltar.lock")).unwrap(), FlockArg::LockExclusive).unwrap();
    check.run(world.voltar(&["backup", "--into", "sets"]), 75);
    drop(lock);
    let archive = fs::read(world.at("backup/x.tar")).unwrap();
    fs::write(world.at("cut.tar"), &archive[..archive.len() / 2]).unwrap();
    fs::write(world.at("x.zip"), b"PK\x03\x04 and more").unwrap();
    let through_a_link = [
        ("srv/x/", EntryType::Directory, ""),
        ("srv/x/a", EntryType::Symlink, "/tmp"),
        ("srv/x/a/b", EntryType::Regular, ""),
    ];
    let evil = hostile::archive(&through_a_link);
    fs::create_dir(world.at("evil")).unwrap();
    fs::write(world.at("evil/x.tar"), evil).unwrap();
    check.run(world.voltar(&["verify", "cut.tar"]), 2);
    check.run(world.voltar(&["list", "x.zip"]), 2);
    check.run(world.voltar(&["restore", "evil"]), 2);
    check.run(world.voltar(&["verify", "nonexistent"]), 2);
    check.run(world.voltar(&["backup", "--exclude", "@nothing"]), 2);
    // What is read comes in two parts, more than a second apart; then a signal arrives.
    let (run, mut input) = world.voltar(&["verify", "-"]).spawn_waiting(&archive[..1 << 20], &world.at("log"));
    std::thread::sleep(Duration::from_millis(1500));
    std::io::Write::write_all(&mut input, &archive[1 << 20..archive.len() - 4096]).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    run.signal(Signal::SIGINT);
    let outcome = run.wait().expect_code(130);
    drop(input);
    check.stream(&outcome.stdout, 130);

    through_an_engine(&mut check);

    let schema = schema();
    let events: BTreeSet<String> = events_of(&schema).into_iter().collect();
    assert_eq!(check.events, events);
    let codes = schema["$defs"]["code"]["enum"].as_array().unwrap().iter();
    assert_eq!(check.codes, codes.map(|code| code.as_str().unwrap().to_owned()).collect());
}

/// Containers that run are stopped and started again.
fn through_an_engine(check: &mut Checker) {
    let engine = FakeEngine::with_cvat_data();
    let scratch = tempfile::tempdir().unwrap();
    let voltar = |args: &[&str]| {
        let tool = Tool::voltar().dir(scratch.path()).env("VOLTAR_STATE_DIR", scratch.path().join("state"));
        tool.args(args).args(["--json", "--docker", &engine.address(), "--only", "cvat_data"])
    };
    let plan = check.document(voltar(&["plan", "--stop"]), 0);
    assert_eq!(plan["stop_reasons"][0]["container"], "cvat");
    check.document(voltar(&["plan"]), 1);
    check.run(voltar(&["backup", "--stop"]), 0);
    check.document(voltar(&["restore", "-n", "--stop=project"]), 0);
}

/// Returns the names of the events that a schema has.
fn events_of(schema: &Value) -> Vec<String> {
    let events = schema["$defs"]["event"]["oneOf"].as_array().unwrap().iter();
    events.map(|one| one["$ref"].as_str().unwrap().strip_prefix("#/$defs/event_").unwrap().to_owned()).collect()
}

#[test]
fn the_tables_have_the_events_of_the_schema() {
    let expected: BTreeSet<String> = events_of(&schema()).into_iter().collect();
    for (page, prefix) in [("src/report/json.rs", "//! | "), ("README.md", "| ")] {
        let text = read(page);
        let rows = text.lines().skip_while(|line| !line.starts_with(&format!("{prefix}`event` |"))).skip(2);
        let events: BTreeSet<String> = rows
            .map_while(|line| line.strip_prefix(prefix)?.split(" | ").next()?.split(" (").next())
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .map(str::to_owned)
            .collect();
        assert_eq!(events, expected, "{page}");
    }
}

#[test]
fn a_value_of_another_form_is_invalid() {
    let check = Checker::new();
    let note = json!({"version": 1, "event": "note", "message": "x"});
    check.valid(&note);
    for (key, value) in
        [("version", json!(2)), ("message", json!(null)), ("event", json!("nothing")), ("more", json!(1))]
    {
        let mut other = note.clone();
        other[key] = value;
        assert!(check.schemas.validate(&other, check.index).is_err(), "{other}");
    }
    let incomplete = json!({"version": 1, "event": "note"});
    assert!(check.schemas.validate(&incomplete, check.index).is_err());
}
