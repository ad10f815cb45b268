//! Inventories of a host, from a fake engine and from the bundled data root. The end-to-end tests use a real engine.

// clippy.toml allows `unwrap` in tests, but not in their helper functions.
#![allow(clippy::unwrap_used)]

#[path = "host/fake_engine.rs"]
mod fake_engine;

use std::collections::BTreeMap;
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fake_engine::{FakeEngine, Fault};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use serde_json::json;
use voltar::error::{Error, ErrorKind};
use voltar::host::containers::{Stopped, leftovers, resume};
use voltar::host::data_root::DataRoot;
use voltar::host::engine::Engine;
use voltar::host::{Host as _, Inventory, NewVolume, State, StopOutcome, reality};
use voltar::layout::Layout;
use voltar::monitor::{Collector, Event, Monitor};
use voltar::resolve::{Selection, resolve};
use voltar::touched;

const DB: &str = "aaaaaaaaaaaaaaaa";
const WEB: &str = "bbbbbbbbbbbbbbbb";

/// Returns a fake engine with two running containers and their volumes.
fn cvat() -> FakeEngine {
    let engine = FakeEngine::new("1.41");
    engine.add_container(DB, "cvat_db", "cvat_cvat_db", "/var/lib/postgresql/data");
    engine.add_container(WEB, "cvat", "cvat_cvat_data", "/home/django/data");
    engine.add_volume("cvat", "cvat_db");
    engine.add_volume("cvat", "cvat_data");
    engine
}

/// A monitor of a run that is not cancelled.
struct Quiet;

impl Monitor for Quiet {
    fn event(&self, _: &Event<'_>) {}
}

fn connect(engine: &FakeEngine) -> Engine<'static> {
    Engine::connect(Some(&engine.address()), &Quiet).unwrap()
}

/// Stops one container.
fn stop_one(engine: &Engine<'_>, id: &str) -> Result<StopOutcome, Error> {
    let mut outcomes = Vec::new();
    engine.stop(&[id], &mut |_, outcome| outcomes.push(outcome));
    outcomes.pop().unwrap()
}

/// Starts one container.
fn start_one(engine: &Engine<'_>, id: &str) -> Result<(), Error> {
    let mut outcomes = Vec::new();
    engine.start(&[id], &mut |_, outcome| outcomes.push(outcome));
    outcomes.pop().unwrap()
}

fn inventory_error(engine: &FakeEngine) -> Error {
    connect(engine).inventory().unwrap_err()
}

#[test]
fn an_old_engine_is_supported() {
    let fake = cvat();
    let engine = connect(&fake);
    assert_eq!(engine.describe(), format!("Docker 20.10.24 at {}", fake.address()));
    assert_eq!(engine.address(), fake.address());
    let inventory = engine.inventory().unwrap();
    let names: Vec<&str> = inventory.containers.iter().map(|container| container.name.as_str()).collect();
    assert_eq!(names, ["cvat_db", "cvat"]);
    assert_eq!(inventory.volumes.len(), 2);
    assert_eq!(inventory.volumes[0].compose_name.as_deref(), Some("cvat_db"));
    assert!(inventory.obstacles.is_empty(), "{:?}", inventory.obstacles);
    assert!(!inventory.labels_unknown);
    assert!(fake.requests().iter().any(|request| request.starts_with("GET /containers/json?all=true")));
}

#[test]
fn a_newer_engine_is_supported() {
    let fake = FakeEngine::new("1.99");
    assert!(connect(&fake).inventory().is_ok());
}

#[test]
fn an_engines_inventory_resolves_to_archives() {
    let inventory = connect(&cvat()).inventory().unwrap();
    let layout = Layout::load("cvat", &Collector::default()).unwrap();
    let resolution = resolve(&layout, &inventory, &Selection::default()).unwrap();
    let archives: Vec<&str> = resolution.targets.iter().map(|target| target.archive.as_str()).collect();
    assert_eq!(archives, ["cvat_db", "cvat_data"]);
    assert_eq!(resolution.targets[1].users[0].name, "cvat");
}

/// Returns the ids of the containers that were inspected after the first `skip` requests, sorted.
fn inspected(fake: &FakeEngine, skip: usize) -> Vec<String> {
    let of_request = |request: &String| {
        let id = request.strip_prefix("GET /containers/")?.split('?').next()?.strip_suffix("/json")?;
        Some(id.to_owned())
    };
    let mut ids: Vec<String> = fake.requests().iter().skip(skip).filter_map(of_request).collect();
    ids.sort();
    ids
}

#[test]
fn only_the_containers_of_a_layout_are_inspected() {
    let fake = cvat();
    fake.add_container("cc", "worker", "cvat_cvat_data", "/elsewhere");
    for number in 0..50 {
        fake.add_container(&format!("e{number}"), &format!("other{number}"), &format!("other{number}"), "/data");
    }
    fake.set_labels("e7", json!({"com.docker.compose.project": "elsewhere"}));
    let layout = Layout::load("cvat", &Collector::default()).unwrap();
    for lists_no_mounts in [false, true] {
        if lists_no_mounts {
            fake.lists_no_mounts();
        }
        let engine = connect(&fake);
        let before = fake.requests().len();
        let inventory = touched::inventory(&engine, &layout, &BTreeMap::new(), false).unwrap();
        let names: Vec<&str> = inventory.containers.iter().map(|container| container.name.as_str()).collect();
        if lists_no_mounts {
            assert_eq!((inspected(&fake, before).len(), names.len()), (53, 53), "nothing tells what they use");
            continue;
        }
        assert_eq!(names, ["cvat_db", "cvat", "worker"]);
        assert_eq!(inspected(&fake, before), [DB, WEB, "cc"]);
        assert_eq!(fake.requests().len(), before + 6, "one of each list, and one about the engine");
        assert_eq!(inventory.others.len(), 50);
        assert!(inventory.has_containers_of("elsewhere"));
        let users = &resolve(&layout, &inventory, &Selection::default()).unwrap().targets[1].users;
        assert_eq!(users.iter().map(|user| &user.name[..]).collect::<Vec<_>>(), ["cvat", "worker"]);
        // The next look is a fresh one.
        fake.set_state("cc", "Running", false);
        fake.add_container("dd", "late", "cvat_cvat_db", "/elsewhere");
        let later = touched::inventory(&engine, &layout, &BTreeMap::new(), false).unwrap();
        let states: Vec<(&str, State)> = later.containers.iter().map(|one| (&one.name[..], one.state)).collect();
        let running = State::Running;
        assert_eq!(states, [("cvat_db", running), ("cvat", running), ("worker", State::Stopped), ("late", running)]);
        fake.remove_container("dd");
    }
}

#[test]
fn answers_may_arrive_byte_by_byte() {
    let fake = cvat();
    fake.fault("/info", Fault::Trickle);
    fake.fault("/volumes", Fault::Trickle);
    fake.fault(&format!("/containers/{DB}/json"), Fault::Trickle);
    assert_eq!(connect(&fake).inventory().unwrap().containers.len(), 2);
}

#[test]
fn a_container_that_is_removed_meanwhile_is_skipped() {
    let fake = cvat();
    fake.fault(&format!("/containers/{DB}/json"), Fault::Answer(404, r#"{"message":"No such container"}"#.to_owned()));
    let inventory = connect(&fake).inventory().unwrap();
    assert_eq!(inventory.containers.len(), 1);
}

#[test]
fn a_malformed_answer_is_an_error_that_names_the_request() {
    for (path, what) in [("/info", "cannot ask about the engine"), ("/volumes", "cannot list volumes")] {
        let fake = cvat();
        fake.fault(path, Fault::Answer(200, "<html>\u{1b}[2J".to_owned()));
        let error = inventory_error(&fake).to_string();
        assert!(error.starts_with(&format!("{what} through unix://")), "{error}");
        assert!(!error.contains(['\n', '\u{1b}']), "{error:?}");
    }
    let fake = cvat();
    fake.fault(&format!("/containers/{DB}/json"), Fault::Answer(200, "[]".to_owned()));
    assert!(inventory_error(&fake).to_string().starts_with("cannot inspect container aaaaaaaaaaaa through"));
}

#[test]
fn the_engines_own_reason_is_reported() {
    let fake = cvat();
    fake.fault("/volumes", Fault::Answer(500, r#"{"message":"no space\nleft"}"#.to_owned()));
    assert!(inventory_error(&fake).to_string().ends_with(": no space"));
}

#[test]
fn a_truncated_answer_is_an_error() {
    let fake = cvat();
    fake.fault("/containers/json", Fault::Truncate);
    assert!(inventory_error(&fake).to_string().starts_with("cannot list containers through"));
}

#[test]
fn hostile_paths_are_an_error() {
    let fake = cvat();
    fake.add_container("cccc", "evil", "v", "/data/../..");
    assert_eq!(inventory_error(&fake).to_string(), "evil: mount destination '/data/../..' holds '..'");
}

#[test]
fn an_engine_that_hangs_is_an_error() {
    std::thread::scope(|scope| {
        // The limit covers the body too.
        for fault in [Fault::Hang, Fault::Stall(100)] {
            scope.spawn(|| {
                let fake = cvat();
                fake.fault("/version", fault);
                let begun = Instant::now();
                let error = Engine::connect(Some(&fake.address()), &Quiet).unwrap_err();
                assert!(begun.elapsed() < Duration::from_secs(20));
                assert!(error.to_string().ends_with(": no complete answer within 10 s"), "{error}");
                assert!(error.advice().unwrap().contains("daemon"));
            });
        }
    });
}

#[test]
fn an_answer_without_end_is_an_error() {
    for (text, reason) in [
        (r#"{"Id":"abcdefabcdefabcdef","Names":["/an-ordinary-name"]},"#, "more than 1000000 values"),
        ("                ", "longer than 32 MiB"),
        ("{},", "more than 1000000 values"),
    ] {
        let fake = cvat();
        fake.fault("/containers/json", Fault::Endless(text));
        let error = inventory_error(&fake);
        assert!(error.to_string().starts_with("cannot list containers through"), "{error}");
        assert!(error.to_string().ends_with(reason), "{error}");
        assert_eq!(error.advice(), Some("is it a Docker engine that listens there?"));
    }
    let fake = cvat();
    fake.fault("/version", Fault::Endless(" "));
    assert!(Engine::connect(Some(&fake.address()), &Quiet).unwrap_err().to_string().ends_with("longer than 32 MiB"));
}

#[test]
fn a_list_of_too_many_containers_is_an_error() {
    let fake = cvat();
    let list = vec![r#"{"Id":"ab"}"#; 20_001].join(",");
    fake.fault("/containers/json", Fault::Answer(200, format!("[{list}]")));
    assert!(inventory_error(&fake).to_string().ends_with(": more than 20000"));
}

/// A monitor that is cancelled after a time, as by a signal.
#[derive(Default)]
struct Cancelled(AtomicBool, Collector);

impl Monitor for Cancelled {
    fn event(&self, event: &Event<'_>) {
        self.1.event(event);
    }

    fn cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Runs `call`, cancels it after 200 ms, and checks that it ends at once.
#[track_caller]
fn interrupted<T: std::fmt::Debug>(monitor: &Cancelled, call: impl FnOnce() -> Result<T, Error>) {
    let ended = std::thread::scope(|scope| {
        let cancelled = scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(200));
            monitor.0.store(true, Ordering::Relaxed);
            Instant::now()
        });
        assert_eq!(call().unwrap_err().kind(), ErrorKind::Interrupted);
        let ended = Instant::now();
        ended.duration_since(cancelled.join().unwrap())
    });
    assert!(ended < Duration::from_millis(500), "{ended:?} after the signal");
}

#[test]
fn a_signal_interrupts_a_call_at_once() {
    let stop = format!("/containers/{DB}/stop");
    let start = format!("/containers/{DB}/start");
    let inspect = format!("/containers/{DB}/json");
    for fault in [Fault::Hang, Fault::Stall(100)] {
        // The answers to commands have no body.
        let commands: &[&str] = if matches!(fault, Fault::Hang) { &[&stop, &start] } else { &[] };
        for &path in ["/version", "/info", "/volumes", "/containers/json", &inspect].iter().chain(commands) {
            let (fake, monitor) = (cvat(), Cancelled::default());
            let connect = || Engine::connect(Some(&fake.address()), &monitor);
            if path == "/version" {
                fake.fault(path, fault.clone());
                interrupted(&monitor, connect);
                continue;
            }
            let engine = connect().unwrap();
            fake.fault(path, fault.clone());
            match path {
                path if path == stop => interrupted(&monitor, || stop_one(&engine, DB)),
                path if path == start => interrupted(&monitor, || start_one(&engine, DB)),
                _ => interrupted(&monitor, || engine.inventory()),
            }
        }
    }
}

fn voltar(args: &[&str], fake: &FakeEngine) -> Command {
    let mut voltar = Command::new(env!("CARGO_BIN_EXE_voltar"));
    voltar.args(args).args(["--docker", &fake.address()]).env("VOLTAR_STATE_DIR", fake.root().join("state"));
    voltar
}

#[test]
fn a_signal_ends_a_run_that_waits_for_the_engine() {
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        for args in [&["plan"][..], &["backup", "/nonexistent"], &["restore", "/nonexistent"], &["resume"]] {
            let fake = cvat();
            fake.fault("/containers/json", Fault::Hang);
            let run = voltar(args, &fake).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            while !fake.requests().iter().any(|request| request.starts_with("GET /containers/json")) {
                std::thread::sleep(Duration::from_millis(20));
            }
            kill(Pid::from_raw(run.id().try_into().unwrap()), signal).unwrap();
            let begun = Instant::now();
            let ended = run.wait_with_output().unwrap();
            assert!(begun.elapsed() < Duration::from_millis(800), "{:?} after the signal", begun.elapsed());
            assert_eq!(ended.status.code(), Some(130), "{args:?} {signal}: {:?}", ended.status);
            let text = String::from_utf8_lossy(&ended.stderr);
            assert!(text.contains("voltar: interrupted"), "{text}");
        }
    }
}

/// Runs a script in its own mount namespace; `$@` in it is `command`.
fn unshared(options: &[&str], script: &str, arguments: &[&Path], command: &Command) -> Output {
    let mut unshare = Command::new("unshare");
    unshare.arg("--mount").args(options).args(["sh", "-euc", script, "sh"]).args(arguments);
    unshare.arg(command.get_program()).args(command.get_args()).output().unwrap()
}

/// The engine's paths name other directories here than there, although its data root is at its usual path.
#[test]
fn an_engine_in_another_mount_namespace_is_an_obstacle_where_its_paths_are_other_files() {
    if !geteuid().is_root() {
        eprintln!("skipped: mount namespaces need root");
        return;
    }
    let fake = cvat();
    let volume = fake.volume("cvat_cvat_data");
    let decoy = fake.root().join("decoy");
    for dir in [&volume.join("nested"), &decoy.join("nested")] {
        std::fs::create_dir_all(dir).unwrap();
        std::fs::write(dir.join("file"), "x").unwrap();
    }
    let archives = fake.root().join("archives");
    let backup = voltar(&["backup", archives.to_str().unwrap(), "--allow-running", "--only", "cvat_data"], &fake);
    let refused = |outcome: &Output, texts: &[&str]| {
        let text = String::from_utf8_lossy(&outcome.stderr).into_owned();
        assert_eq!(outcome.status.code(), Some(2), "{text}");
        for part in texts {
            assert!(text.contains(part), "{text}");
        }
        assert!(!archives.exists());
    };
    let names = ["is in another mount namespace than voltar", volume.to_str().unwrap(), "nsenter -t"];

    let over = unshared(&[], "mount --bind \"$1\" \"$2\"; shift 2; exec \"$@\"", &[&decoy, &volume], &backup);
    refused(&over, &names);
    let nested = volume.join("nested");
    let below = unshared(&[], "mount -t tmpfs none \"$1\"; shift; exec \"$@\"", &[&nested], &backup);
    refused(&below, &[names[0], nested.to_str().unwrap()]);
    // A container: its root directory is another one, and the engine's directory is mounted into it.
    let script = "mkdir \"$1\"; mount --rbind / \"$1\"; mount --bind \"$2\" \"$1$3\"; root=$1; shift 3; exec chroot $root \"$@\"";
    let chroot = unshared(&[], script, &[&fake.root().join("chroot"), &decoy, &volume], &backup);
    refused(&chroot, &names);
    let outside = unshared(&["--pid", "--fork", "--mount-proc"], "exec \"$@\"", &[], &backup);
    refused(&outside, &["outside of the PID namespace of voltar", "run voltar on the host itself"]);

    // Private mounts that do not concern the engine's paths.
    let elsewhere = unshared(&[], "mount -t tmpfs none /mnt; exec \"$@\"", &[], &backup);
    assert_eq!(elsewhere.status.code(), Some(1), "{elsewhere:?}");
    assert!(archives.join("cvat_data.tar.bz2").is_file());
}

/// A process in a user namespace of its own, which is killed when dropped.
struct Namespaced(Child);

impl Namespaced {
    /// The maps are as in `/proc/PID/uid_map`.
    fn start(uid_map: &str, gid_map: &str) -> Self {
        let child = Command::new("unshare").args(["--user", "sleep", "600"]).spawn().unwrap();
        let this = Self(child);
        let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/user")).unwrap();
        let pid = this.0.id().to_string();
        while namespace(&pid) == namespace("self") {
            std::thread::sleep(Duration::from_millis(5));
        }
        for (file, map) in [("uid_map", uid_map), ("gid_map", gid_map)] {
            std::fs::write(format!("/proc/{pid}/{file}"), map).unwrap();
        }
        this
    }
}

impl Drop for Namespaced {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Returns a fake engine with userns-remap, of which no file of this host has the map, with one volume that holds a file of
/// uid 5 and gid 6 of containers.
fn remapped() -> FakeEngine {
    let fake = cvat();
    let root = fake.root().join("3000000.4000000");
    std::fs::create_dir(&root).unwrap();
    fake.set_info("DockerRootDir", json!(root));
    fake.set_info("SecurityOptions", json!(["name=seccomp,profile=default", "name=userns"]));
    let volume = fake.volume("cvat_cvat_data");
    std::fs::create_dir_all(&volume).unwrap();
    std::fs::write(volume.join("file"), "x").unwrap();
    chown(&volume, Some(3_000_000), Some(4_000_000)).unwrap();
    chown(volume.join("file"), Some(3_000_005), Some(4_000_006)).unwrap();
    fake
}

#[test]
fn the_map_of_ids_is_a_containers_where_no_file_has_it() {
    if !geteuid().is_root() {
        eprintln!("skipped: maps of ids need root");
        return;
    }
    let fake = remapped();
    let archives = fake.root().join("archives");
    let args = ["--allow-running", "--only", "cvat_data", "--format", "tar", "--overwrite"];
    let backup = || {
        let run = voltar(&[&["backup", archives.to_str().unwrap()][..], &args].concat(), &fake).output().unwrap();
        (run.status.code(), String::from_utf8_lossy(&run.stderr).into_owned())
    };
    let (status, text) = backup();
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("the ids of its containers are not known: /etc/sub"), "{text}");
    assert!(!archives.exists());

    let plain = Namespaced::start("0 3000000 100", "0 4000000 100");
    fake.set_process(WEB, plain.0.id());
    let (status, text) = backup();
    assert_eq!(status, Some(1), "only a warning of the running container: {text}");
    let list =
        Command::new("tar").arg("--numeric-owner").arg("-tvf").arg(archives.join("cvat_data.tar")).output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let owners: Vec<&str> = list.lines().filter_map(|line| line.split_ascii_whitespace().nth(1)).collect();
    assert_eq!(owners, ["0/0", "5/6"], "{list}");

    // What the first process of a container can write for itself, in a namespace below that of the container.
    let exchanged = Namespaced::start("0 3000000 1\n1 3000005 1\n5 3000001 1", "0 4000000 100");
    fake.set_process(WEB, exchanged.0.id());
    let (status, text) = backup();
    assert_eq!(status, Some(2), "{text}");
    // A shorter one can only lack ids.
    let short = Namespaced::start("0 3000000 5", "0 4000000 100");
    fake.set_process(WEB, short.0.id());
    let (status, text) = backup();
    assert_eq!(status, Some(2), "{text}");
    assert!(text.contains("'file' belongs to uid 3000005, which has no id in the container"), "{text}");
}

#[test]
fn a_rootless_engine_that_is_in_no_user_namespace_is_an_obstacle() {
    let fake = cvat();
    fake.set_info("SecurityOptions", json!(["name=rootless"]));
    let obstacles = connect(&fake).inventory().unwrap().obstacles;
    assert!(obstacles.len() == 1 && obstacles[0].contains("is rootless, but"), "{obstacles:?}");
}

/// The engine carries out a stop whose client has gone away, and starts no container that still runs: started again too
/// early, the container would be down in the end.
#[test]
fn a_container_whose_stop_is_interrupted_is_started_again_after_it() {
    let state = tempfile::tempdir().unwrap();
    let (fake, monitor) = (cvat(), Cancelled::default());
    let engine = Engine::connect(Some(&fake.address()), &monitor).unwrap();
    let inventory = engine.inventory().unwrap();
    let db = inventory.containers.iter().filter(|container| container.id == DB).collect::<Vec<_>>();
    fake.fault(&format!("/containers/{DB}/stop"), Fault::Slow(Duration::from_secs(1)));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(200));
            monitor.0.store(true, Ordering::Relaxed);
        });
        let error = Stopped::stop(&engine, state.path(), &db, &monitor).unwrap_err();
        assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Interrupted, "interrupted"));
    });
    let commands: Vec<String> = fake.commands().iter().map(|it| it.trim_end_matches('?').to_owned()).collect();
    assert_eq!(commands, [format!("POST /containers/{DB}/stop"), format!("POST /containers/{DB}/start")]);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(connect(&fake).inventory().unwrap().containers[0].state, State::Running);
    assert!(monitor.1.notes()[0].contains("'cvat_db' is being stopped, and is started again"));
    assert!(leftovers(state.path()).unwrap().0.is_empty());
}

/// Stops the database through an engine that does not answer that, and interrupts it. `is_stopped` is whether the container
/// stops nevertheless. Returns the error.
fn stop_without_an_answer(fake: &FakeEngine, state: &Path, is_stopped: bool) -> Error {
    let monitor = Cancelled::default();
    fake.set_stop_timeout(DB, 0);
    let engine = Engine::connect(Some(&fake.address()), &monitor).unwrap();
    let inventory = engine.inventory().unwrap();
    let db = inventory.containers.iter().filter(|container| container.id == DB).collect::<Vec<_>>();
    fake.fault(&format!("/containers/{DB}/stop"), Fault::Hang);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_millis(200));
            monitor.0.store(true, Ordering::Relaxed);
            fake.set_state(DB, "Running", !is_stopped);
        });
        let begun = Instant::now();
        let error = Stopped::stop(&engine, state, &db, &monitor).unwrap_err();
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
        error
    })
}

#[test]
fn a_container_that_has_stopped_without_an_answer_is_started_again() {
    let (fake, state) = (cvat(), tempfile::tempdir().unwrap());
    assert_eq!(stop_without_an_answer(&fake, state.path(), true).to_string(), "interrupted");
    assert!(fake.running().contains(&"cvat_db".to_owned()));
    assert!(leftovers(state.path()).unwrap().0.is_empty());
}

/// Nobody waits for longer than the engine would before it kills the container.
#[test]
fn a_container_whose_interrupted_stop_does_not_end_stays_on_record() {
    let (fake, state) = (cvat(), tempfile::tempdir().unwrap());
    let error = stop_without_an_answer(&fake, state.path(), false);
    assert_eq!(error.kind(), ErrorKind::Interrupted);
    assert!(error.to_string().contains("'cvat_db' still runs, but the engine was asked to stop it"), "{error}");
    assert!(error.advice().unwrap().contains("voltar resume"));
    assert_eq!(leftovers(state.path()).unwrap().0[0].names, ["cvat_db"]);
}

#[test]
fn what_was_stopped_is_started_again_after_a_signal() {
    let state = tempfile::tempdir().unwrap();
    let (fake, monitor) = (cvat(), Cancelled::default());
    let engine = Engine::connect(Some(&fake.address()), &monitor).unwrap();
    let inventory = engine.inventory().unwrap();
    let containers: Vec<_> = inventory.containers.iter().collect();
    let stopped = Stopped::stop(&engine, state.path(), &containers, &monitor).unwrap();
    monitor.0.store(true, Ordering::Relaxed);
    assert_eq!(engine.inventory().unwrap_err().kind(), ErrorKind::Interrupted);
    stopped.start_again().unwrap();
    let states: Vec<State> = connect(&fake).inventory().unwrap().containers.iter().map(|one| one.state).collect();
    assert_eq!(states, [State::Running; 2]);
}

#[test]
fn a_missing_socket_and_one_without_listener_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("docker.sock");
    let connect = || Engine::connect(socket.to_str(), &Quiet).unwrap_err();
    let error = connect();
    assert_eq!(
        error.to_string(),
        format!("cannot reach the Docker engine through unix://{}: No such file or directory", socket.display())
    );
    assert!(error.advice().unwrap().contains("systemctl start docker"));
    // A socket without a listener.
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(connect().to_string().ends_with(": Connection refused"));
}

#[test]
fn tls_is_refused_where_docker_tls_verify_is_not_empty() {
    for (verify, expected) in [("1", "with TLS (DOCKER_TLS_VERIFY is set): not supported"), ("", "Connection refused")]
    {
        let mut plan = Command::new(env!("CARGO_BIN_EXE_voltar"));
        let outcome = plan.args(["plan", "--docker", "tcp://127.0.0.1:1"]).env("DOCKER_TLS_VERIFY", verify).output();
        let text = String::from_utf8(outcome.unwrap().stderr).unwrap();
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn an_engine_on_another_machine_is_an_obstacle() {
    let fake = cvat();
    fake.add_volume_with("cvat", "disk", &json!({"type": "ext4", "device": "/dev/sdz1"}));
    fake.set_info("Name", json!("laptop"));
    let mounts_any = |inventory: &Inventory| inventory.volumes.iter().any(|volume| volume.filesystem.is_some());
    let inventory = connect(&fake).inventory().unwrap();
    let obstacles = &inventory.obstacles;
    assert!(obstacles.len() == 1 && obstacles[0].contains("'laptop'"), "{obstacles:?}");
    assert!(!mounts_any(&inventory), "nothing is mounted because that machine says so");
    // The engine's id in its root directory takes precedence.
    std::fs::write(fake.root().join("engine-id"), "ABCD\n").unwrap();
    let inventory = connect(&fake).inventory().unwrap();
    assert!(inventory.obstacles.is_empty() && mounts_any(&inventory));
    std::fs::write(fake.root().join("engine-id"), "other").unwrap();
    assert_eq!(connect(&fake).inventory().unwrap().obstacles.len(), 1);
}

#[test]
fn nothing_is_resumed_for_an_engine_on_another_machine() {
    let fake = cvat();
    let resume = || voltar(&["resume"], &fake).output().unwrap();
    assert_eq!(resume().status.code(), Some(0));
    fake.set_info("Name", json!("laptop"));
    let refused = resume();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("'laptop'"), "{refused:?}");
}

#[test]
fn a_stop_uses_the_containers_own_signal_and_timeout() {
    let fake = cvat();
    let engine = connect(&fake);
    assert_eq!(stop_one(&engine, DB).unwrap(), StopOutcome::Stopped);
    assert_eq!(stop_one(&engine, DB).unwrap(), StopOutcome::WasStopped);
    start_one(&engine, DB).unwrap();
    start_one(&engine, DB).unwrap();
    let commands = fake.commands();
    assert_eq!(commands[0].trim_end_matches('?'), format!("POST /containers/{DB}/stop"));
    assert_eq!(commands.len(), 3, "a stopped container is not stopped again: {commands:?}");
    assert_eq!(engine.inventory().unwrap().containers[0].state, State::Running);
}

#[test]
fn a_container_that_does_not_stop_is_an_error() {
    let fake = cvat();
    fake.fault(
        &format!("/containers/{DB}/stop"),
        Fault::Answer(500, r#"{"message":"tried to kill container"}"#.to_owned()),
    );
    let error = stop_one(&connect(&fake), DB).unwrap_err();
    assert!(error.to_string().starts_with("cannot stop container 'cvat_db' through"), "{error}");
    assert!(error.to_string().ends_with(": tried to kill container"));

    let fake = cvat();
    fake.set_state(DB, "Restarting", true);
    let error = stop_one(&connect(&fake), DB).unwrap_err();
    assert_eq!(error.to_string(), "container 'cvat_db' was stopped and runs again");

    let fake = cvat();
    fake.set_state(DB, "Paused", true);
    assert_eq!(stop_one(&connect(&fake), DB).unwrap_err().kind(), ErrorKind::Refused);
    assert!(fake.commands().is_empty());
}

#[test]
fn stopped_containers_are_started_again_through_the_engine() {
    let state = tempfile::tempdir().unwrap();
    let (fake, monitor) = (cvat(), Collector::default());
    let engine = connect(&fake);
    let inventory = engine.inventory().unwrap();
    let containers: Vec<_> = inventory.containers.iter().collect();
    let stopped = Stopped::stop(&engine, state.path(), &containers, &monitor).unwrap();
    let states = || engine.inventory().unwrap().containers.iter().map(|one| one.state).collect::<Vec<_>>();
    assert_eq!(states(), [State::Stopped; 2]);
    assert!(leftovers(state.path()).unwrap().0.is_empty());
    stopped.start_again().unwrap();
    assert_eq!(states(), [State::Running; 2]);
}

/// A monitor that records what happens to containers, and when.
struct Times(Instant, Mutex<Vec<(String, Duration)>>);

impl Monitor for Times {
    fn event(&self, event: &Event<'_>) {
        let what = match event {
            Event::ContainerStopping { name, timeout } => format!("stopping {name} {}", timeout.unwrap().as_secs()),
            Event::ContainerStopped(name) => format!("stopped {name}"),
            Event::ContainerStarted(name) => format!("started {name}"),
            _ => return,
        };
        self.1.lock().unwrap().push((what, self.0.elapsed()));
    }
}

#[test]
fn containers_that_do_not_depend_on_each_other_stop_at_the_same_time() {
    let state = tempfile::tempdir().unwrap();
    let fake = FakeEngine::new("1.41");
    // Each takes as long as its digit says, in tenths of a second.
    let ids = ["a5", "b9", "c7", "d4"];
    for id in ids {
        fake.add_container(id, id, "data", "/data");
        let tenths = u64::from(id.as_bytes()[1] - b'0');
        fake.fault(&format!("/containers/{id}/stop"), Fault::Slow(Duration::from_millis(100 * tenths)));
    }
    fake.set_stop_timeout("a5", 60);
    // a5 needs d4, so that d4 stops after all of the first rank.
    fake.set_labels("a5", json!({"com.docker.compose.depends_on": "d4:service_started:false"}));
    let engine = connect(&fake);
    let inventory = engine.inventory().unwrap();
    let containers: Vec<_> = inventory.containers.iter().collect();
    let times = Times(Instant::now(), Mutex::default());
    let stopped = Stopped::stop(&engine, state.path(), &containers, &times).unwrap();
    let took = times.0.elapsed();
    assert!(took >= Duration::from_millis(1300) && took < Duration::from_millis(1900), "{took:?}");
    let (events, at): (Vec<String>, Vec<Duration>) = times.1.lock().unwrap().drain(..).unzip();
    let expected = [
        "stopping a5 60",
        "stopping b9 10",
        "stopping c7 10",
        "stopped a5",
        "stopped c7",
        "stopped b9",
        "stopping d4 10",
        "stopped d4",
    ];
    assert_eq!(events, expected);
    assert!(at[2] < Duration::from_millis(400), "they are named before they are stopped: {at:?}");
    stopped.start_again().unwrap();
    let commands = fake.commands();
    let starts: Vec<&String> = commands.iter().filter(|command| command.contains("/start")).collect();
    assert!(starts.len() == 4 && starts[0].contains("/d4/"), "what others need is started first: {starts:?}");
}

#[test]
fn all_stops_of_a_rank_that_fail_are_reported() {
    let state = tempfile::tempdir().unwrap();
    let (fake, monitor) = (cvat(), Collector::default());
    for id in [DB, WEB] {
        let answer = Fault::Answer(500, format!(r#"{{"message":"cannot kill {}"}}"#, &id[..1]));
        fake.fault(&format!("/containers/{id}/stop"), answer);
    }
    let engine = connect(&fake);
    let inventory = engine.inventory().unwrap();
    let error = Stopped::stop(&engine, state.path(), &inventory.containers.iter().collect::<Vec<_>>(), &monitor);
    let error = error.unwrap_err();
    let mut messages: Vec<String> = error.others().iter().chain([&error]).map(Error::to_string).collect();
    messages.sort();
    assert_eq!(messages.len(), 2);
    assert!(messages[0].starts_with("cannot stop container 'cvat' ") && messages[0].ends_with(": cannot kill b"));
    assert!(messages[1].starts_with("cannot stop container 'cvat_db' ") && messages[1].ends_with(": cannot kill a"));
    assert!(leftovers(state.path()).unwrap().0.is_empty());
}

#[test]
fn a_job_that_ended_by_itself_is_not_started_again() {
    let state = tempfile::tempdir().unwrap();
    let (fake, monitor) = (cvat(), Collector::default());
    let engine = connect(&fake);
    let inventory = engine.inventory().unwrap();
    let containers: Vec<_> = inventory.containers.iter().collect();
    fake.set_state(DB, "Running", false);
    Stopped::stop(&engine, state.path(), &containers, &monitor).unwrap().start_again().unwrap();
    let commands: Vec<String> =
        fake.commands().iter().map(|command| command.trim_end_matches('?').to_owned()).collect();
    assert_eq!(commands, [format!("POST /containers/{WEB}/stop"), format!("POST /containers/{WEB}/start")]);
    assert_eq!(monitor.notes(), ["container 'cvat_db' has ended by itself: not stopped, and not started again"]);
}

#[test]
fn a_container_that_exits_again_is_a_failure_to_start() {
    let state = tempfile::tempdir().unwrap();
    let (fake, monitor) = (cvat(), Collector::default());
    let engine = connect(&fake);
    let inventory = engine.inventory().unwrap();
    let containers: Vec<_> = inventory.containers.iter().collect();
    fake.exits_at_once(DB, 3);
    let stopped = Stopped::stop(&engine, state.path(), &containers, &monitor).unwrap();
    let error = stopped.start_again().unwrap_err();
    assert_eq!(
        error.to_string(),
        "not every container was started again: container 'cvat_db' was started and exited again with status 3"
    );
    assert_eq!(error.advice(), Some("`docker logs cvat_db` says why; `voltar resume` tries again"));
    assert_eq!(leftovers(state.path()).unwrap().0[0].names, ["cvat_db"], "the other one is running");
    resume(&engine, state.path(), &monitor).unwrap_err();
    assert_eq!(fake.commands().iter().filter(|command| command.contains(&format!("{DB}/start"))).count(), 2);
}

#[test]
fn labels_say_which_containers_cannot_be_started_again() {
    let fake = cvat();
    fake.set_labels(DB, json!({"com.docker.compose.oneoff": "True"}));
    fake.set_labels(
        WEB,
        json!({"com.docker.swarm.task.id": "1x", "com.docker.swarm.service.id": "2y", "com.docker.swarm.service.name": "web"}),
    );
    let inventory = connect(&fake).inventory().unwrap();
    let found: Vec<(bool, Option<&str>)> =
        inventory.containers.iter().map(|one| (one.one_off, one.swarm_service.as_deref())).collect();
    assert_eq!(found, [(true, None), (false, Some("web"))]);
    let state = tempfile::tempdir().unwrap();
    let containers: Vec<_> = inventory.containers.iter().collect();
    let (engine, monitor) = (connect(&fake), Collector::default());
    let error = Stopped::stop(&engine, state.path(), &containers, &monitor).unwrap_err();
    assert_eq!((error.kind(), error.others().len()), (ErrorKind::Refused, 1));
    assert!(fake.commands().is_empty());
}

/// Stops containers and waits: the process that the test below starts and kills.
#[test]
#[ignore = "the victim of resume_starts_what_a_killed_run_stopped"]
fn victim() {
    let Some(address) = std::env::var_os("VICTIM_ENGINE") else { return };
    let engine = Engine::connect(address.to_str(), &Quiet).unwrap();
    let inventory = engine.inventory().unwrap();
    let containers: Vec<_> = inventory.containers.iter().collect();
    let monitor = Collector::default();
    let _stopped =
        Stopped::stop(&engine, Path::new(&std::env::var_os("VICTIM_STATE").unwrap()), &containers, &monitor).unwrap();
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
fn resume_starts_what_a_killed_run_stopped() {
    let state = tempfile::tempdir().unwrap();
    let (fake, monitor) = (cvat(), Collector::default());
    let engine = connect(&fake);
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--ignored"])
        .env("VICTIM_ENGINE", fake.address())
        .env("VICTIM_STATE", state.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while fake.commands().len() < 2 && begun.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(leftovers(state.path()).unwrap().0.is_empty(), "its run is in progress");
    victim.kill().unwrap();
    victim.wait().unwrap();

    let (left, _) = leftovers(state.path()).unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].engine, fake.address());

    // A signal keeps what is left for the next time.
    let start = format!("/containers/{WEB}/start");
    fake.fault(&start, Fault::Hang);
    let cancelled = Cancelled::default();
    let cancelled_engine = Engine::connect(Some(&fake.address()), &cancelled).unwrap();
    interrupted(&cancelled, || resume(&cancelled_engine, state.path(), &cancelled));
    assert_eq!(leftovers(state.path()).unwrap().0.len(), 1);

    fake.repair(&start);
    assert!(!resume(&engine, state.path(), &monitor).unwrap().is_empty());
    let states: Vec<State> = engine.inventory().unwrap().containers.iter().map(|one| one.state).collect();
    assert_eq!(states, [State::Running; 2]);
    assert!(leftovers(state.path()).unwrap().0.is_empty());
}

/// It may be of a volume that is half restored.
#[test]
fn resume_starts_nothing_while_the_record_of_a_restore_cannot_be_read() {
    let fake = cvat();
    let (engine, monitor, state) = (connect(&fake), Collector::default(), fake.root().join("state"));
    let inventory = engine.inventory().unwrap();
    let containers: Vec<_> = inventory.containers.iter().collect();
    Stopped::stop(&engine, &state, &containers, &monitor).unwrap().leave_stopped();
    let record = state.join("restore-1-1.json");
    std::fs::write(&record, "{").unwrap();
    let refused = voltar(&["resume"], &fake).output().unwrap();
    let said = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("no container is started") && said.contains(record.to_str().unwrap()), "{said}");
    assert!(fake.running().is_empty());

    std::fs::remove_file(&record).unwrap();
    assert_eq!(voltar(&["resume"], &fake).output().unwrap().status.code(), Some(0));
    assert_eq!(fake.running().len(), 2);
}

#[test]
fn the_bundled_data_root_resolves_without_an_engine() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/data-root");
    let host = DataRoot::open(&dir).unwrap();
    let inventory = host.inventory().unwrap();
    let all = Selection { all: true, ..Selection::default() };
    let resolution = resolve(&Layout::load("cvat", &Collector::default()).unwrap(), &inventory, &all).unwrap();
    let archives: Vec<&str> = resolution.targets.iter().map(|target| target.archive.as_str()).collect();
    assert_eq!(archives, ["cvat_db", "cvat_data", "cvat_keys", "cvat_logs"]);
    for target in &resolution.targets {
        assert!(reality::obstacles(&target.tree, &inventory.volumes).unwrap().is_empty());
        assert!(target.users.iter().all(|user| user.state == State::Stopped));
    }
    assert!(resolution.targets[0].tree.mounts[0].root().join("PG_VERSION").is_file());
}

/// The engine answers a request for a volume that exists with that one: somebody else has made it meanwhile.
#[test]
fn a_volume_that_exists_is_not_taken_for_a_new_one() {
    let fake = cvat();
    fake.add_volume_with("cvat", "mounted", &json!({"type": "tmpfs", "device": "tmpfs"}));
    let engine = connect(&fake);
    let labels = |name: &str| {
        let label = |(key, value): (&str, &str)| (format!("com.docker.compose.{key}"), value.to_owned());
        BTreeMap::from([("project", "cvat"), ("volume", name)].map(label))
    };
    let create = |name: &str, labels| engine.create_volume(&NewVolume { name: name.to_owned(), labels });
    for (name, labels) in [("cvat_mounted", labels("mounted")), ("cvat_cvat_data", BTreeMap::new())] {
        let error = create(name, labels).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot create volume '{name}': there is one already"));
    }
    for (name, driver) in [("cvat_new", "nfs"), ("cvat_other", "local")] {
        let answer = json!({
            "Name": name, "Driver": driver, "Mountpoint": fake.volume(name), "Labels": labels("new"), "Options": null,
            "Scope": "local",
        });
        fake.fault("/volumes/create", Fault::Answer(201, answer.to_string()));
        let error = create("cvat_new", labels("new")).unwrap_err();
        assert_eq!(error.to_string(), "cannot create volume 'cvat_new': there is one already", "{name} {driver}");
    }
    fake.repair("/volumes/create");
    let created = create("cvat_new", labels("new")).unwrap();
    assert_eq!((&created.name[..], &created.driver[..]), ("cvat_new", "local"));
    assert_eq!((created.project.as_deref(), created.compose_name.as_deref()), (Some("cvat"), Some("new")));
    assert!(fake.has_volume("cvat_new"));
}

#[test]
fn a_data_root_without_containers_resolves_by_the_names_of_volumes() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("containers")).unwrap();
    for name in ["cvat_cvat_db", "cvat_cvat_data", "cvat_cvat_events"] {
        std::fs::create_dir_all(dir.path().join("volumes").join(name).join("_data")).unwrap();
    }
    let inventory = DataRoot::open(dir.path()).unwrap().inventory().unwrap();
    let resolution =
        resolve(&Layout::load("cvat", &Collector::default()).unwrap(), &inventory, &Selection::default()).unwrap();
    let archives: Vec<&str> = resolution.targets.iter().map(|target| target.archive.as_str()).collect();
    assert_eq!(archives, ["cvat_db", "cvat_data", "cvat_events"]);
    assert_eq!(resolution.targets[0].project.as_deref(), Some("cvat"));
}

#[test]
fn the_bundled_layout_is_read() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/layouts/wordpress.toml");
    let layout = Layout::load(file.to_str().unwrap(), &Collector::default()).unwrap();
    assert_eq!(layout.names(), ["db", "html", "cache"]);
    let error = Layout::load("/no/such.toml", &Collector::default()).unwrap_err();
    assert_eq!(error.to_string(), "cannot read layout '/no/such.toml': No such file or directory");
}
