//! Black-box tests of what is done around a backup: the hooks of a configuration file, and `--metrics`. They use a data root,
//! and for containers that are stopped the fake engine.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]

mod common;
#[path = "host/fake_engine.rs"]
mod fake_engine;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use common::data_root::DataRoot;
use common::tool::{Running, Tool};
use fake_engine::FakeEngine;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use tempfile::TempDir;

/// The line of all hooks unless a test has another one: it records the hook with its status, and its environment.
const RECORD: &str = r#"echo "$VOLTAR_HOOK ${VOLTAR_STATUS-none}" >> order; env -0 > env.$VOLTAR_HOOK"#;

/// A stopped container with a volume of a file at `/srv/data`, and a configuration with all hooks.
struct World {
    scratch: TempDir,
    docker: DataRoot,
}

impl World {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let docker = DataRoot::new(&scratch.path().join("docker"));
        fs::write(docker.volume("data").join("file"), "first").unwrap();
        docker.container("web").mount("data", "/srv/data").write();
        let world = Self { scratch, docker };
        world.hooks(&[]);
        world
    }

    fn at(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    /// Writes the configuration `nightly.toml`, in which these hooks have these lines.
    fn hooks(&self, lines: &[(&str, &str)]) {
        self.config("nightly.toml", "", lines);
    }

    fn config(&self, file: &str, backup: &str, lines: &[(&str, &str)]) {
        let archive = "[[archive]]\nname = 'data'\ncontainer = 'web'\npath = '/srv/data'";
        let hooks = ["before", "after", "failed", "finally"].map(|hook| {
            let own = lines.iter().find(|(name, _)| *name == hook);
            let line = own.map_or_else(|| RECORD.to_owned(), |(_, line)| format!("{RECORD}; {line}"));
            format!("{hook} = '''{line}'''")
        });
        let text = format!("{archive}\n[backup]\n{backup}\n[hooks]\n{}\n", hooks.join("\n"));
        fs::write(self.at(file), text).unwrap();
        fs::set_permissions(self.at(file), fs::Permissions::from_mode(0o644)).unwrap();
    }

    fn voltar(&self, args: &[&str]) -> Tool {
        let tool = Tool::voltar().dir(self.scratch.path()).env("VOLTAR_STATE_DIR", self.at("state"));
        tool.args(args).args(["--data-root", "docker", "--config", "./nightly.toml"])
    }

    /// Returns the hooks that have run since the last call, each with the status that it was told.
    fn order(&self) -> Vec<String> {
        let text = fs::read_to_string(self.at("order")).unwrap_or_default();
        fs::remove_file(self.at("order")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Returns the variables of voltar that a hook had.
    fn environment(&self, hook: &str) -> BTreeMap<String, String> {
        let text = fs::read_to_string(self.at(&format!("env.{hook}"))).unwrap();
        let variables = text.split('\0').filter_map(|variable| variable.split_once('='));
        // Variables of the test suite, such as VOLTAR_REQUIRE_TOOLS, are inherited.
        let is_own = |name: &str| name.starts_with("VOLTAR_") && std::env::var_os(name).is_none();
        let own = variables.filter(|(name, _)| is_own(name) && *name != "VOLTAR_STATE_DIR");
        own.map(|(name, value)| (name["VOLTAR_".len()..].to_owned(), value.to_owned())).collect()
    }

    fn metrics(&self, file: &str) -> Metrics {
        Metrics::parse(&fs::read_to_string(self.at(file)).unwrap())
    }

    /// Makes the volume one that a backup refuses.
    fn empty_the_volume(&self) {
        fs::remove_file(self.docker.data("data").join("file")).unwrap();
    }

    #[track_caller]
    fn wait_for(&self, name: &str) {
        let begun = Instant::now();
        while !self.at(name).exists() {
            assert!(begun.elapsed() < Duration::from_secs(60), "there is no '{name}'");
            sleep(Duration::from_millis(10));
        }
    }

    fn sets(&self) -> Vec<PathBuf> {
        let Ok(entries) = fs::read_dir(self.at("sets")) else { return Vec::new() };
        let paths = entries.map(|entry| entry.unwrap().path());
        paths.filter(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.')).collect()
    }
}

/// Waits for a run that a signal has ended, which takes about a second at most.
#[track_caller]
fn end_soon(run: Running) -> common::tool::Outcome {
    let begun = Instant::now();
    let outcome = run.wait();
    assert!(begun.elapsed() < Duration::from_secs(30), "{outcome}");
    outcome
}

#[test]
fn a_backup_runs_before_after_and_finally() {
    let world = World::new();
    let alone = r#"test ! -e sets && test "$(readlink /proc/$$/fd/0)" = /dev/null"#;
    world.hooks(&[("before", alone), ("finally", "test -e sets/*/voltar.json")]);
    let inherited = world.voltar(&["backup", "--into", "sets"]).env("VOLTAR_SET", "x").env("VOLTAR_STATUS", "9");
    inherited.ok();
    assert_eq!(world.order(), ["before none", "after 0", "finally 0"]);
    let config = world.at("nightly.toml").canonicalize().unwrap();
    let before = world.environment("before");
    assert_eq!(before.keys().collect::<Vec<_>>(), ["CONFIG", "HOOK"]);
    assert_eq!((&before["HOOK"], Path::new(&before["CONFIG"]).canonicalize().unwrap()), (&"before".to_owned(), config));
    let [set] = &world.sets()[..] else { panic!() };
    for hook in ["after", "finally"] {
        let environment = world.environment(hook);
        let names: Vec<_> = environment.keys().map(String::as_str).collect();
        assert_eq!(names, ["BYTES", "CONFIG", "ERROR", "HOOK", "SET", "STATUS", "WARNINGS"]);
        assert!(Path::new(&environment["CONFIG"]).is_absolute() && Path::new(&environment["SET"]).is_absolute());
        assert_eq!(Path::new(&environment["SET"]).canonicalize().unwrap(), set.canonicalize().unwrap());
        assert_eq!(environment["BYTES"], set.join("data.tar.bz2").metadata().unwrap().len().to_string());
        assert_eq!((environment["ERROR"].as_str(), environment["WARNINGS"].as_str()), ("", "0"));
    }
    // Without a set it is the directory, and without either there is none.
    world.hooks(&[]);
    world.voltar(&["backup", "plain"]).ok();
    assert_eq!(Path::new(&world.environment("after")["SET"]), std::path::absolute(world.at("plain")).unwrap());
    world.voltar(&["backup", "--to-command", "cat > /dev/null"]).ok();
    assert!(!world.environment("after").contains_key("SET") && world.environment("after").contains_key("BYTES"));
}

#[test]
fn the_output_of_hooks_goes_to_standard_error() {
    let world = World::new();
    world.hooks(&[("before", "echo from-before"), ("finally", "echo from-finally")]);
    let outcome = world.voltar(&["backup", "--json"]).ok();
    for line in outcome.answer().lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap();
    }
    assert_eq!(String::from_utf8(outcome.stderr).unwrap(), "from-before\nfrom-finally\n");
    let outcome = world.voltar(&["backup", "--format", "tar", "-"]).ok();
    Tool::new("tar").arg("-t").input(outcome.stdout).ok().expect_text("srv/data/file").expect_no_text("from");
    let text = String::from_utf8(outcome.stderr).unwrap();
    assert!(text.contains("running hook 'before'\nfrom-before\n"), "{text}");
}

#[test]
fn warnings_and_failures_are_told_to_hooks() {
    let world = World::new();
    let socket = world.docker.data("data").join("socket");
    drop(UnixListener::bind(&socket).unwrap());
    world.voltar(&["backup", "--into", "sets"]).run().expect_code(1);
    assert_eq!(world.order(), ["before none", "after 1", "finally 1"]);
    assert_eq!(world.environment("after")["WARNINGS"], "1");
    fs::remove_file(socket).unwrap();

    let lock = Flock::lock(fs::File::create(world.at("sets/.voltar.lock")).unwrap(), FlockArg::LockExclusive).unwrap();
    world.voltar(&["backup", "--into", "sets"]).run().expect_code(75);
    assert_eq!(world.order(), ["before none", "failed 75", "finally 75"]);
    drop(lock);

    world.empty_the_volume();
    world.voltar(&["backup", "--into", "sets"]).run().expect_code(2);
    assert_eq!(world.order(), ["before none", "failed 2", "finally 2"]);
    for hook in ["failed", "finally"] {
        let environment = world.environment(hook);
        let names: Vec<_> = environment.keys().map(String::as_str).collect();
        assert_eq!(names, ["CONFIG", "ERROR", "HOOK", "STATUS", "WARNINGS"]);
        assert!(environment["ERROR"].starts_with("data: "), "{environment:?}");
    }
}

#[test]
fn an_error_in_the_arguments_runs_the_hooks_at_the_end_only() {
    let world = World::new();
    world.voltar(&["backup", "--exclude", "@nothing"]).run().expect_code(2);
    assert_eq!(world.order(), ["failed 2", "finally 2"]);
    world.config("nightly.toml", "format = 'rar'", &[]);
    world.voltar(&["backup"]).run().expect_code(2);
    assert_eq!(world.order(), ["failed 2", "finally 2"]);
    assert!(world.environment("failed")["ERROR"].contains("format is 'rar'"));
}

#[test]
fn a_backup_is_not_begun_if_the_hook_before_it_fails() {
    let world = World::new();
    for (line, how) in [("exit 3", "exit status 3"), ("kill -KILL $$", "killed by SIGKILL")] {
        world.hooks(&[("before", line)]);
        let refused = world.voltar(&["backup", "--into", "sets"]).run().expect_code(2);
        refused.expect_text(&format!("voltar: hook 'before' failed: {how}; the backup was not begun"));
        assert_eq!(world.order(), ["before none", "failed 2", "finally 2"]);
        assert!(world.environment("failed")["ERROR"].starts_with(&format!("hook 'before' failed: {how}")));
        assert!(!world.at("sets").exists());
    }
}

#[test]
fn a_hook_that_fails_afterwards_is_a_warning() {
    let world = World::new();
    world.hooks(&[("after", "exit 4"), ("failed", "exit 5")]);
    let outcome = world.voltar(&["backup", "--into", "sets"]).run().expect_code(1);
    outcome.expect_text("voltar: warning: hook 'after' failed: exit status 4");
    assert_eq!(
        (world.order(), world.sets().len()),
        (vec!["before none".into(), "after 0".into(), "finally 1".into()], 1)
    );
    assert_eq!(world.environment("finally")["WARNINGS"], "1");
    assert!(world.environment("finally").contains_key("SET"));
    world.empty_the_volume();
    let outcome = world.voltar(&["backup", "--into", "sets"]).run().expect_code(2);
    outcome.expect_text("voltar: warning: hook 'failed' failed: exit status 5");
    assert_eq!(world.order(), ["before none", "failed 2", "finally 2"]);
    world.hooks(&[("finally", "exit 6")]);
    let outcome = world.voltar(&["backup", "--json"]).run().expect_code(2);
    let done: serde_json::Value = serde_json::from_str(outcome.answer().lines().last().unwrap()).unwrap();
    assert_eq!((&done["exit"], &done["issues"]), (&2.into(), &1.into()));
}

#[test]
fn nothing_but_a_backup_runs_hooks() {
    let world = World::new();
    for args in [&["plan"][..], &["backup", "-n"], &["backup", "--dry-run", "--metrics", "x.prom"]] {
        world.voltar(args).ok();
    }
    world.voltar(&["backup"]).ok();
    assert_eq!(world.order().len(), 3);
    for args in [&["verify"][..], &["restore"], &["resume"], &["plan", "no"]] {
        world.voltar(args).ok();
    }
    assert_eq!((world.order(), world.at("x.prom").exists()), (Vec::new(), false));
}

#[test]
fn a_signal_kills_the_hook_before_a_backup() {
    let world = World::new();
    world.hooks(&[("before", "sleep 600 & echo $! > pid; touch began; wait")]);
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let run = world.voltar(&["backup", "--into", "sets"]).spawn(&world.at("log"));
        world.wait_for("began");
        run.signal(signal);
        let expected = "interrupted: hook 'before' was killed; the backup was not begun";
        end_soon(run).expect_code(130).expect_text(expected);
        assert_eq!(world.order(), ["before none", "failed 130", "finally 130"]);
        assert!(world.environment("failed")["ERROR"].starts_with("interrupted"));
        assert!(!world.at("sets").exists());
        let process = PathBuf::from("/proc").join(fs::read_to_string(world.at("pid")).unwrap().trim());
        let is_gone = || fs::read_to_string(process.join("stat")).map_or(true, |stat| stat.contains(") Z "));
        let begun = Instant::now();
        while !is_gone() {
            assert!(begun.elapsed() < Duration::from_secs(30), "{} runs on", process.display());
            sleep(Duration::from_millis(10));
        }
        fs::remove_file(world.at("began")).unwrap();
    }
}

#[test]
fn hooks_at_the_end_are_killed_by_a_further_signal_only() {
    let world = World::new();
    // The hook runs on although a signal has ended the backup.
    world.hooks(&[("failed", "sleep 1; touch complete")]);
    let begin = |args: &[&str]| {
        let run = world.voltar(args).spawn(&world.at("log"));
        world.wait_for("began");
        fs::remove_file(world.at("began")).unwrap();
        run
    };
    let slow = ["backup", "--to-command", "touch began; sleep 600", "--metrics", "x.prom"];
    let run = begin(&slow);
    run.signal(Signal::SIGTERM);
    end_soon(run).expect_code(130).expect_no_text("warning");
    assert_eq!(world.order(), ["before none", "failed 130", "finally 130"]);
    assert!(world.at("complete").exists());
    assert_eq!(world.metrics("x.prom").value("voltar_backup_last_exit_status", "nightly"), Some("130"));

    // A second signal is for that hook, and not for the next one.
    world.hooks(&[("failed", "touch failing; sleep 600"), ("finally", "sleep 1; touch last")]);
    let run = begin(&slow);
    run.signal(Signal::SIGINT);
    world.wait_for("failing");
    run.signal(Signal::SIGINT);
    end_soon(run).expect_code(130).expect_text("warning: interrupted: hook 'failed' was killed");
    assert_eq!(world.order(), ["before none", "failed 130", "finally 130"]);
    assert!(world.at("last").exists());

    // A backup that was made stays.
    world.hooks(&[("after", "touch began; sleep 600")]);
    let run = begin(&["backup", "--into", "sets"]);
    run.signal(Signal::SIGINT);
    end_soon(run).expect_code(1).expect_text("warning: interrupted: hook 'after' was killed");
    assert_eq!(
        (world.order(), world.sets().len()),
        (vec!["before none".into(), "after 0".into(), "finally 1".into()], 1)
    );
}

#[test]
fn hooks_that_others_could_have_written_are_refused() {
    let world = World::new();
    let refused = |text: &str, hint: &str| {
        for args in [&["backup"][..], &["plan"]] {
            let refused = world.voltar(args).run().expect_code(2);
            refused.expect_text(&format!("configuration './nightly.toml', [hooks]: {text}\nhint: {hint}"));
        }
        assert_eq!((world.order(), world.at("backup").exists()), (Vec::new(), false));
    };
    let mode = |mode| fs::set_permissions(world.at("nightly.toml"), fs::Permissions::from_mode(mode)).unwrap();
    for (bits, who) in [(0o664, "its group"), (0o646, "everybody"), (0o666, "everybody")] {
        mode(bits);
        refused(&format!("{who} can write the file"), "`chmod go-w ./nightly.toml`");
    }
    mode(0o600);
    if common::is_root() {
        std::os::unix::fs::chown(world.at("nightly.toml"), Some(4711), None).unwrap();
        refused("the file belongs to the user 4711", "look at what it says, then `chown root ./nightly.toml`");
        std::os::unix::fs::chown(world.at("nightly.toml"), Some(0), None).unwrap();
    }
    // What counts is the file, not the link to it.
    fs::rename(world.at("nightly.toml"), world.at("real.toml")).unwrap();
    symlink("real.toml", world.at("nightly.toml")).unwrap();
    world.voltar(&["backup"]).ok();
    assert_eq!(world.order().len(), 3);
    // Without hooks a file is as good as its author.
    let text = fs::read_to_string(world.at("real.toml")).unwrap();
    fs::write(world.at("real.toml"), &text[..text.find("[hooks]").unwrap()]).unwrap();
    mode(0o666);
    world.voltar(&["plan", "other"]).ok();
}

#[test]
fn metrics_say_how_the_last_run_ended() {
    let world = World::new();
    let run = |args: &[&str]| world.voltar(args).args(["--metrics", "x.prom"]);
    let value = |metric: &str| {
        let metrics = world.metrics("x.prom");
        metrics.value(&format!("voltar_backup_{metric}"), "nightly").unwrap().to_owned()
    };
    let time = |metric: &str| value(metric).parse::<i64>().unwrap();
    let now = || jiff::Timestamp::now().as_second();
    let begun = now();
    run(&["backup", "--into", "sets"]).ok();
    for metric in ["last_run_timestamp_seconds", "last_success_timestamp_seconds"] {
        assert!((begun..=now()).contains(&time(metric)), "{metric}");
    }
    let duration: f64 = value("duration_seconds").parse().unwrap();
    assert!(duration > 0.0 && duration < 60.0);
    let others = ["last_exit_status", "downtime_seconds", "warnings"];
    assert_eq!(others.map(value), ["0", "0.000", "0"]);
    let [set] = &world.sets()[..] else { panic!() };
    let length = set.join("data.tar.bz2").metadata().unwrap().len().to_string();
    let metrics = world.metrics("x.prom");
    let archive = |figure: &str| metrics.of_archive(&format!("voltar_backup_archive_{figure}"), "nightly", "data");
    let figures = ["bytes", "stream_bytes", "members"].map(archive);
    assert_eq!(figures, [Some(length.as_str()), Some("10240"), Some("2")]);
    assert_eq!(metrics.samples.len(), 9);
    assert_eq!(world.at("x.prom").metadata().unwrap().permissions().mode() & 0o7777, 0o644);

    // After a failure the time of the success is that of the file before.
    let text = fs::read_to_string(world.at("x.prom")).unwrap();
    let sample = |time: i64| format!("voltar_backup_last_success_timestamp_seconds{{name=\"nightly\"}} {time}\n");
    let success = sample(time("last_success_timestamp_seconds"));
    assert!(text.contains(&success), "{text}");
    fs::write(world.at("x.prom"), text.replace(&success, &sample(1_700_000_000))).unwrap();
    world.empty_the_volume();
    for args in [&["backup", "--into", "sets"][..], &["backup", "--exclude", "@nothing"]] {
        run(args).run().expect_code(2);
        assert_eq!(
            (time("last_success_timestamp_seconds"), value("last_exit_status")),
            (1_700_000_000, "2".to_owned())
        );
        assert!(time("last_run_timestamp_seconds") >= begun);
        assert!(!world.metrics("x.prom").samples.keys().any(|(metric, _)| metric.contains("_archive_")));
    }
    // Hooks count: all of the run is in the file.
    fs::write(world.docker.data("data").join("file"), "again").unwrap();
    world.config("nightly.toml", "metrics = 'x.prom'", &[("finally", "exit 1")]);
    world.voltar(&["backup", "--into", "sets"]).run().expect_code(1);
    assert_eq!((value("last_exit_status"), value("warnings")), ("1".to_owned(), "1".to_owned()));
    assert!(time("last_success_timestamp_seconds") >= begun);
    let names: Vec<_> = fs::read_dir(world.scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!names.iter().any(|name| name.to_string_lossy().contains("voltar-tmp")), "{names:?}");
}

#[test]
fn metrics_have_the_name_of_the_configuration() {
    let world = World::new();
    let hostile = "a\"b\\c\nd";
    let file = format!("{hostile}.toml");
    world.config(&file, "metrics = 'x.prom'", &[]);
    let backup = |config: &[&str]| {
        let tool = Tool::voltar().dir(world.scratch.path()).env("VOLTAR_STATE_DIR", world.at("state"));
        tool.args(["backup", "--overwrite", "--data-root", "docker"]).args(config)
    };
    backup(&["--config", &file]).ok();
    let exit = |name: &str| {
        let metrics = world.metrics("x.prom");
        metrics.value("voltar_backup_last_exit_status", name).unwrap().to_owned()
    };
    assert_eq!(exit(hostile), "0");
    assert_eq!(Path::new(&world.environment("finally")["CONFIG"]).file_name().unwrap(), file.as_str());
    // A layout has no name of its own, and its hooks are not run.
    world.order();
    backup(&["--layout", "nightly.toml", "--metrics", "x.prom"]).ok();
    assert_eq!((exit("backup"), world.order()), ("0".to_owned(), Vec::new()));
    // Also if there is no such configuration.
    backup(&["--config", "missing.toml", "--metrics", "x.prom"]).run().expect_code(2);
    assert_eq!(exit("missing"), "2");
    assert_eq!(world.metrics("x.prom").value("voltar_backup_last_success_timestamp_seconds", "missing"), None);
}

#[test]
fn metrics_that_cannot_be_written_are_one_warning() {
    let world = World::new();
    // Not even root creates a file there.
    let outcome = world.voltar(&["backup", "--into", "sets", "--metrics", "/proc/x.prom"]).run().expect_code(1);
    assert_eq!(outcome.text().matches("/proc/x.prom").count(), 1, "{outcome}");
    outcome.expect_text("voltar: warning: cannot create '/proc/x.prom': ");
    assert_eq!(
        (world.order(), world.sets().len()),
        (vec!["before none".into(), "after 0".into(), "finally 0".into()], 1)
    );
    // What can be known before is refused before.
    fs::create_dir(world.at("dir.prom")).unwrap();
    for (file, cause) in [("no/x.prom", "its directory does not exist"), ("dir.prom", "it is not a regular file")] {
        for args in [&["backup", "--into", "sets"][..], &["plan"]] {
            let outcome = world.voltar(args).args(["--metrics", file]).run().expect_code(2);
            let message = format!("cannot write metrics to '{file}': {cause}");
            assert_eq!(outcome.text().matches(&message).count(), 1, "{outcome}");
        }
        assert_eq!((world.order(), world.sets().len()), (vec!["failed 2".into(), "finally 2".into()], 1));
    }
}

#[test]
fn a_previous_file_of_metrics_is_not_believed() {
    let world = World::new();
    world.empty_the_volume();
    let success = "voltar_backup_last_success_timestamp_seconds{name=\"nightly\"}";
    fs::write(world.at("victim"), format!("{success} 1700000000\n")).unwrap();
    let written = |content: &[u8]| {
        fs::remove_file(world.at("x.prom")).unwrap_or_default();
        if content.is_empty() {
            symlink("victim", world.at("x.prom")).unwrap();
        } else {
            fs::write(world.at("x.prom"), content).unwrap();
        }
        world.voltar(&["backup", "--metrics", "x.prom"]).run().expect_code(2);
        let metrics = world.metrics("x.prom");
        metrics.value("voltar_backup_last_success_timestamp_seconds", "nightly").map(str::to_owned)
    };
    assert_eq!(written(format!("x\n{success} 1700000000\n").as_bytes()).as_deref(), Some("1700000000"));
    let large = format!("{success} 1700000000\n{}", "x".repeat(2 << 20));
    let repeated = format!("{success} 1700000000\n{success} 1700000001\n");
    let injected = format!("{success} 1 2\nevil 1\n");
    let later = format!("{success} 32503680000\n");
    for hostile in
        [b"".as_slice(), b"\xff\n", large.as_bytes(), repeated.as_bytes(), injected.as_bytes(), later.as_bytes()]
    {
        assert_eq!(written(hostile), None, "{:.80}", String::from_utf8_lossy(hostile));
    }
    assert_eq!(fs::read_to_string(world.at("victim")).unwrap(), format!("{success} 1700000000\n"));
}

#[test]
fn hooks_and_metrics_have_the_time_of_stopped_containers() {
    let world = World::new();
    let engine = FakeEngine::with_cvat_data();
    let text =
        format!("[hooks]\nafter = '''{RECORD}'''\n[backup]\nstop = true\nonly = ['cvat_data']\nmetrics = 'x.prom'\n");
    fs::write(world.at("nightly.toml"), text).unwrap();
    let tool = Tool::voltar().dir(world.scratch.path()).env("VOLTAR_STATE_DIR", world.at("state"));
    tool.args(["backup", "--docker", &engine.address(), "--config", "./nightly.toml"]).ok();
    let downtime = &world.environment("after")["DOWNTIME_SECONDS"];
    let seconds: f64 = downtime.parse().unwrap();
    assert!(seconds > 0.0 && seconds < 60.0);
    let metrics = world.metrics("x.prom");
    assert_eq!(metrics.value("voltar_backup_downtime_seconds", "nightly"), Some(downtime.as_str()));
}

/// The samples of a file in Prometheus' text format: metric, labels in order, value.
struct Metrics {
    samples: BTreeMap<(String, Vec<(String, String)>), String>,
}

impl Metrics {
    /// Parses a text, more strictly than Prometheus does: each metric has one `# HELP`, then one `# TYPE`, then all its samples,
    /// and nothing else is there.
    #[track_caller]
    fn parse(text: &str) -> Self {
        assert!(text.ends_with('\n'), "{text}");
        let (mut samples, mut seen) = (BTreeMap::new(), BTreeSet::new());
        let mut lines = text.strip_suffix('\n').unwrap().split('\n').peekable();
        while let Some(line) = lines.next() {
            let (metric, help) = line.strip_prefix("# HELP ").unwrap().split_once(' ').unwrap();
            assert!(metric.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') && !help.is_empty(), "{line}");
            assert!(!help.contains('\\') && seen.insert(metric.to_owned()), "{line}");
            assert_eq!(lines.next(), Some(format!("# TYPE {metric} gauge").as_str()));
            let mut count = 0;
            while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
                let (labels, value) = labels(line.strip_prefix(metric).unwrap().strip_prefix('{').unwrap());
                let is_plain = value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
                assert!(is_plain && value.parse::<f64>().is_ok(), "{line}");
                let other = samples.insert((metric.to_owned(), labels), value.to_owned());
                assert!(other.is_none(), "{line}");
                count += 1;
            }
            assert!(count > 0, "{metric} has no sample");
        }
        Self { samples }
    }

    fn value(&self, metric: &str, name: &str) -> Option<&str> {
        self.samples.get(&(metric.to_owned(), vec![("name".to_owned(), name.to_owned())])).map(String::as_str)
    }

    fn of_archive(&self, metric: &str, name: &str, archive: &str) -> Option<&str> {
        let labels = [("name", name), ("archive", archive)].map(|(label, value)| (label.to_owned(), value.to_owned()));
        self.samples.get(&(metric.to_owned(), labels.to_vec())).map(String::as_str)
    }
}

/// Parses labels up to the closing brace. Returns them, and what follows after a space.
#[track_caller]
fn labels(mut rest: &str) -> (Vec<(String, String)>, &str) {
    let mut labels = Vec::new();
    loop {
        let (label, quoted) = rest.split_once("=\"").unwrap();
        assert!(!label.is_empty() && label.bytes().all(|byte| byte.is_ascii_lowercase()), "{label}");
        let mut value = String::new();
        let mut chars = quoted.chars();
        loop {
            match chars.next().unwrap() {
                '"' => break,
                '\\' => value.push(match chars.next().unwrap() {
                    'n' => '\n',
                    escaped @ ('\\' | '"') => escaped,
                    other => panic!("\\{other}"),
                }),
                other => value.push(other),
            }
        }
        labels.push((label.to_owned(), value));
        rest = chars.as_str();
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None => return (labels, rest.strip_prefix("} ").unwrap()),
        }
    }
}

#[test]
fn the_parser_of_the_tests_is_strict() {
    let valid = "# HELP a b\n# TYPE a gauge\na{name=\"x\\\"\\\\\\n\"} 1\n";
    assert_eq!(Metrics::parse(valid).value("a", "x\"\\\n"), Some("1"));
    for (from, to) in [
        ("\\n", "\n"),
        ("\\n", "\\t"),
        ("} 1", "} x"),
        ("} 1", "}1"),
        ("gauge\n", "gauge\n\n"),
        ("} 1\n", "} 1"),
        ("# TYPE a gauge\n", ""),
    ] {
        let invalid = valid.replace(from, to);
        assert!(std::panic::catch_unwind(|| Metrics::parse(&invalid)).is_err(), "{invalid}");
    }
}
