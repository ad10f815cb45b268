//! Which containers are stopped, which are started again, and which are noticed that use a volume meanwhile.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::common::engine::docker;
use crate::common::tool::Tool;
use crate::common::tree::{build, file};
use crate::interruptions::{backup_in_the_middle, make_old_tree, restore_in_the_middle};
use crate::stack::{Container, Stack, Test, Volume, WAIT, layout, names, wait_until};

pub const TESTS: &[Test] = &[
    ("stop_a_job_that_ends_by_itself_runs_once", a_job_that_ends_by_itself_runs_once),
    ("stop_of_several_takes_as_long_as_the_slowest", a_stop_of_several_takes_as_long_as_the_slowest),
    ("stop_project_includes_what_mounts_nothing", stop_project_includes_what_mounts_nothing),
    ("start_waits_until_a_dependency_is_healthy", a_start_waits_until_a_dependency_is_healthy),
    ("start_does_not_wait_for_ever_or_after_a_signal", a_start_does_not_wait_for_ever_or_after_a_signal),
    ("stop_one_off_and_swarm_containers_are_refused", one_off_and_swarm_containers_are_refused),
    ("start_that_fails_after_a_backup_is_a_warning", a_start_that_fails_after_a_backup_is_a_warning),
    ("start_that_fails_after_a_restore_is_a_warning", a_start_that_fails_after_a_restore_is_a_warning),
    ("containers_run_while_a_spool_is_delivered", containers_run_while_a_spool_is_delivered),
    ("second_backup_waits_until_the_first_has_started", a_second_backup_waits_until_the_first_has_started),
    ("check_after_a_restore_decides_the_exit_status", a_check_after_a_restore_decides_the_exit_status),
    ("recreated_container_is_reported_by_a_backup", a_recreated_container_is_reported_by_a_backup),
    ("recreated_container_prevents_the_swap", a_recreated_container_prevents_the_swap),
];

/// Creates a volume with one file, and a layout for it.
fn volume_of(stack: &Stack, name: &str, container: &str) -> Volume {
    let volume = Volume::create(name, &[]);
    build(&volume.path(), &[file("precious", "data")]);
    layout(&stack.at("one.toml"), name, &format!("voltar-e2e-{container}"), "/data");
    volume
}

/// The job ends after the plan, while the other container is being stopped.
fn a_job_that_ends_by_itself_runs_once(stack: &Stack) {
    let volume = volume_of(stack, "jobs", "web");
    fs::create_dir(stack.at("signal")).unwrap();
    let mounts = [format!("{}:/data", volume.name()), format!("{}:/signal", stack.at("signal").display())];
    let options = ["-v", &mounts[0], "-v", &mounts[1]];
    let job = Container::with_script(
        "job",
        &options,
        "echo run >>/signal/runs; while [ ! -e /signal/go ]; do sleep 0.1; done",
    );
    // It depends on the job, so that it is stopped first.
    let depends = ["--label", "com.docker.compose.depends_on=voltar-e2e-job:service_started:false"];
    let script = format!("trap 'touch /signal/go; sleep 1; exit 0' TERM; {WAIT}");
    let web = Container::with_script("web", &[&options[..], &depends].concat(), &script);
    job.start();
    web.start();
    wait_until("the job", || stack.at("signal/runs").exists());
    stack.voltar(&["backup", "--stop", "--layout", "one.toml"]).ok().expect_text("has ended by itself");
    assert!(web.is_running());
    assert!(!job.is_running());
    assert_eq!(fs::read_to_string(stack.at("signal/runs")).unwrap(), "run\n");
}

/// Four containers ignore SIGTERM, so that the engine kills each after its ten seconds.
fn a_stop_of_several_takes_as_long_as_the_slowest(stack: &Stack) {
    let volume = volume_of(stack, "deaf", "deaf-1");
    let mount = format!("{}:/data", volume.name());
    let deaf: Vec<Container> = (1..=4)
        .map(|number| {
            let script = format!("trap '' TERM; touch /ready; {WAIT}");
            let container = Container::with_script(&format!("deaf-{number}"), &["-v", &mount], &script);
            container.start();
            container
        })
        .collect();
    for container in &deaf {
        wait_until("the trap", || docker_succeeds(&["exec", container.name(), "test", "-e", "/ready"]));
    }
    let begin = Instant::now();
    let outcome = stack.voltar(&["backup", "--stop", "--layout", "one.toml"]).ok();
    let took = begin.elapsed();
    assert!(took >= Duration::from_secs(10) && took < Duration::from_secs(20), "{took:?}");
    let text = String::from_utf8_lossy(&outcome.stderr).into_owned();
    let stopping = text.rfind("stopping container voltar-e2e-deaf-").unwrap();
    let stopped = text.find("stopped container voltar-e2e-deaf-").unwrap();
    assert!(stopping < stopped && text.matches("(up to 10 s)").count() == 4, "{text}");
    assert!(deaf.iter().all(Container::is_running));
}

/// Returns whether a docker command succeeds.
fn docker_succeeds(args: &[&str]) -> bool {
    Tool::new("docker").args(args).run().status.success()
}

const OF_PROJECT: &str = "com.docker.compose.project=voltar-e2e-stack";

fn stop_project_includes_what_mounts_nothing(stack: &Stack) {
    let volume = volume_of(stack, "whole", "db");
    let mount = format!("{}:/data", volume.name());
    let db = Container::create("db", &["-v", &mount, "--label", OF_PROJECT]);
    let depends = "com.docker.compose.depends_on=voltar-e2e-db:service_started:false";
    let server = Container::create("server", &["--label", OF_PROJECT, "--label", depends]);
    let stranger = Container::create("stranger", &["--label", "com.docker.compose.project=voltar-e2e-other"]);
    for container in [&db, &server, &stranger] {
        container.start();
    }
    let started = || [&db, &server, &stranger].map(Container::started);
    let before = started();
    stack
        .voltar(&["plan", "--stop", "--layout", "one.toml"])
        .ok()
        .expect_text("left running, of the same compose project: voltar-e2e-server (--stop=project stops them)");
    stack
        .voltar(&["plan", "--stop=project", "--layout", "one.toml"])
        .ok()
        .expect_text("stopped meanwhile, and started again: voltar-e2e-db")
        .expect_text("likewise, as part of the compose project: voltar-e2e-server");
    assert_eq!(started(), before, "a plan changes nothing");
    for command in ["backup", "restore"] {
        let before = started();
        let outcome = stack.voltar(&[command, "--stop=project", "--layout", "one.toml"]).ok();
        let text = String::from_utf8_lossy(&outcome.stderr).into_owned();
        let at = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what}: {text}"));
        assert!(at("stopped container voltar-e2e-server") < at("stopping container voltar-e2e-db"), "{text}");
        let after = started();
        assert_eq!([0, 1, 2].map(|one: usize| before[one] != after[one]), [true, true, false], "{command}");
        assert!(db.is_running() && server.is_running() && stranger.is_running());
    }
    let before = started();
    stack.voltar(&["backup", "--stop", "--overwrite", "--layout", "one.toml"]).ok();
    assert_eq!(started()[1], before[1], "without =project it goes on");
}

/// Returns a database that is healthy when `healthy` says so, and a server that needs that. Both are running.
fn with_health(volume: &Volume, healthy: &str, options: &[&str]) -> [Container; 2] {
    let mount = format!("{}:/data", volume.name());
    let fixed = ["-v", &mount, "--health-cmd", healthy, "--health-interval", "500ms"];
    let script = format!("date +%s >/begun; trap 'exit 0' TERM; {WAIT}");
    let db = Container::with_script("db", &[&fixed[..], options].concat(), &script);
    let needs = "com.docker.compose.depends_on=voltar-e2e-db:service_healthy:false";
    let server = Container::create("server", &["-v", &mount, "--label", needs]);
    db.start();
    server.start();
    [db, server]
}

fn seconds_between(earlier: &Container, later: &Container) -> f64 {
    let started = |container: &Container| container.started().parse::<jiff::Timestamp>().unwrap();
    started(later).duration_since(started(earlier)).as_secs_f64()
}

fn a_start_waits_until_a_dependency_is_healthy(stack: &Stack) {
    let volume = volume_of(stack, "healthy", "db");
    // From three seconds after each start on.
    let healthy = "[ $(($(date +%s) - $(cat /begun))) -ge 3 ]";
    let [db, server] = with_health(&volume, healthy, &["--health-retries", "40"]);
    stack.voltar(&["backup", "--stop", "--layout", "one.toml"]).ok().expect_text(
        "waiting up to 20 s until container 'voltar-e2e-db' is healthy, before 'voltar-e2e-server' is started",
    );
    assert!(db.is_running() && server.is_running());
    let waited = seconds_between(&db, &server);
    assert!((2.0..10.0).contains(&waited), "{waited} s");
}

fn a_start_does_not_wait_for_ever_or_after_a_signal(stack: &Stack) {
    let volume = volume_of(stack, "ill", "db");
    let [db, server] = with_health(&volume, "false", &["--health-retries", "4"]);
    stack
        .voltar(&["backup", "--stop", "--layout", "one.toml"])
        .run()
        .expect_code(1)
        .expect_text("container 'voltar-e2e-db' is")
        .expect_text("'voltar-e2e-server', which needs that, is started nevertheless");
    assert!(db.is_running() && server.is_running());
    let waited = seconds_between(&db, &server);
    assert!((1.0..10.0).contains(&waited), "{waited} s");
    drop([db, server]);

    let [db, server] = with_health(&volume, "false", &["--health-retries", "80"]);
    let before = db.started();
    let run = stack.voltar(&["backup", "--stop", "--overwrite", "--layout", "one.toml"]).spawn(&stack.at("log"));
    wait_until("the start of the database", || db.is_running() && db.started() != before);
    let begin = Instant::now();
    run.signal(Signal::SIGINT);
    run.wait().expect_text("not waiting any longer until container 'voltar-e2e-db' is healthy");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert!(db.is_running() && server.is_running());
}

fn one_off_and_swarm_containers_are_refused(stack: &Stack) {
    let volume = volume_of(stack, "labelled", "labelled");
    let mount = format!("{}:/data", volume.name());
    for (label, texts) in [
        ("com.docker.compose.oneoff=True", ["docker compose run", "wait for its end"]),
        ("com.docker.swarm.service.name=web", ["swarm tasks", "docker service scale web=0"]),
    ] {
        let container = Container::create("labelled", &["-v", &mount, "--label", label]);
        container.start();
        let started = container.started();
        for (command, code) in [("plan", 1), ("backup", 2)] {
            let outcome = stack.voltar(&[command, "--stop", "--layout", "one.toml"]).run().expect_code(code);
            texts.iter().fold(outcome.expect_text(container.name()), |outcome, text| outcome.expect_text(text));
        }
        assert_eq!((container.started(), container.is_running()), (started, true), "{label}");
    }
    assert_eq!(stack.archives(), Vec::<String>::new());
}

/// A container whose process runs once and then fails with status 7.
fn fickle(volume: &Volume) -> Container {
    let mount = format!("{}:/data", volume.name());
    let script = format!("[ -e /ran ] && exit 7; touch /ran; trap 'exit 0' TERM; {WAIT}");
    let container = Container::with_script("fickle", &["-v", &mount], &script);
    container.start();
    container
}

fn a_start_that_fails_after_a_backup_is_a_warning(stack: &Stack) {
    let volume = volume_of(stack, "fickle", "fickle");
    let container = fickle(&volume);
    stack
        .voltar(&["backup", "--stop", "--layout", "one.toml"])
        .run()
        .expect_code(1)
        .expect_text("archive  members")
        .expect_text("the archives are complete: not every container was started again")
        .expect_text("container 'voltar-e2e-fickle' was started and exited again with status 7")
        .expect_text("docker logs voltar-e2e-fickle");
    assert_eq!(stack.archives(), ["fickle.tar.bz2"]);
    assert!(!container.is_running());
    stack.voltar(&["verify", "backup"]).run().expect_code(0).expect_text("voltar resume");
    stack.voltar(&["resume"]).run().expect_code(2).expect_text("with status 7");
    docker(["rm", "--force", container.name()]);
    stack.voltar(&["resume"]).ok().expect_text("does not exist any more");
    stack.voltar(&["verify", "backup"]).ok().expect_no_text("voltar resume");
}

fn a_start_that_fails_after_a_restore_is_a_warning(stack: &Stack) {
    let volume = volume_of(stack, "fickle", "fickle");
    let container = fickle(&volume);
    stack.voltar(&["backup", "--allow-running", "--layout", "one.toml"]).run().expect_code(1);
    fs::write(volume.path().join("precious"), "lost").unwrap();
    stack
        .voltar(&["restore", "--stop", "--layout", "one.toml"])
        .run()
        .expect_code(1)
        .expect_text("archive  members")
        .expect_text("the volumes are restored: not every container was started again")
        .expect_text("container 'voltar-e2e-fickle' was started and exited again with status 7");
    assert_eq!(fs::read(volume.path().join("precious")).unwrap(), b"data");
    assert!(!container.is_running());
}

fn containers_run_while_a_spool_is_delivered(stack: &Stack) {
    let volume = volume_of(stack, "slow", "slow");
    let container = Container::create("slow", &["-v", &format!("{}:/data", volume.name())]);
    container.start();
    let running = format!("docker inspect --format '{{{{.State.Running}}}}' {} > running", container.name());
    let backup = ["backup", "--stop", "--layout", "one.toml", "--spool", "spool", "--to-command"];
    stack
        .voltar(&[&backup[..], &[&format!("{running}; cat > {{file}}")]].concat())
        .ok()
        .expect_text("were stopped for");
    assert_eq!(fs::read_to_string(stack.at("running")).unwrap(), "true\n");
    stack.voltar(&["verify", "slow.tar.bz2"]).ok();
    // Without a spool the command begins while they are stopped.
    stack
        .voltar(&["backup", "--stop", "--layout", "one.toml", "--to-command", &format!("{running}; cat > /dev/null")])
        .ok();
    assert_eq!(fs::read_to_string(stack.at("running")).unwrap(), "false\n");
}

/// Else the second one would find the container stopped, and it would be started while its data is archived.
fn a_second_backup_waits_until_the_first_has_started(stack: &Stack) {
    let volume = volume_of(stack, "shared", "shared");
    let container = Container::create("shared", &["-v", &format!("{}:/data", volume.name())]);
    container.start();
    let command = "cat > /dev/null; touch begun; while [ ! -e go ]; do sleep 0.05; done";
    let backup = ["backup", "--stop", "--layout", "one.toml"];
    let first = stack.voltar(&[&backup[..], &["--to-command", command]].concat()).spawn(&stack.at("first"));
    wait_until("the first", || stack.at("begun").exists());
    assert!(!container.is_running());
    stack.voltar(&backup).run().expect_code(75).expect_text("is in use by `voltar backup`");
    let second = stack.voltar(&[&backup[..], &["--wait", "1m"]].concat()).spawn(&stack.at("second"));
    std::thread::sleep(Duration::from_secs(1));
    fs::write(stack.at("go"), "").unwrap();
    first.wait().expect_code(0).expect_no_text("was started while");
    second.wait().expect_code(0).expect_text("stopped container voltar-e2e-shared").expect_no_text("was started while");
    assert!(container.is_running());
}

/// The application needs a moment after its start.
fn a_check_after_a_restore_decides_the_exit_status(stack: &Stack) {
    let volume = volume_of(stack, "app", "app");
    let mount = format!("{}:/data", volume.name());
    let script = format!("rm -f /tmp/ready; (sleep 3; touch /tmp/ready) & trap 'exit 0' TERM; {WAIT}");
    let container = Container::with_script("app", &["-v", &mount, "-w", "/data", "-u", "7"], &script);
    container.start();
    stack.voltar(&["backup", "--stop", "--layout", "one.toml"]).ok();
    let restore = |check: &str, more: &[&str]| {
        let arguments = [&["restore", "--stop", "--layout", "one.toml", "--check", check], more].concat();
        stack.voltar(&arguments).run()
    };
    let command = "test -e /tmp/ready && test $PWD = /data && test $(id -u) = 7 && cat precious && echo wrong >&2";
    restore(&format!("voltar-e2e-app: {command}"), &[])
        .expect_code(0)
        .expect_text("is repeated for up to")
        .expect_text("has succeeded");
    let failed =
        restore("voltar-e2e-app: cat precious; echo; echo it is broken >&2; exit 3", &["--check-within", "1s"]);
    failed
        .expect_code(1)
        .expect_text("the volumes are restored, but the check")
        .expect_text("has not succeeded: exit status 3, 'it is broken'");
    restore("voltar-e2e-app: sleep 60", &["--check-within", "1s"])
        .expect_code(1)
        .expect_text("it has not ended within 2 s");
    // A name that does not exist prevents the restore.
    let started = container.started();
    restore("voltar-e2e-ap: true", &[]).expect_code(2).expect_text("there is no container or service 'voltar-e2e-ap'");
    assert_eq!(container.started(), started, "nothing was stopped");
    // The layout has one, too.
    let of_layout = fs::read_to_string(stack.at("one.toml")).unwrap();
    fs::write(stack.at("one.toml"), format!("check = [\"voltar-e2e-app: exit 4\"]\n{of_layout}")).unwrap();
    let arguments = ["restore", "--stop", "--layout", "one.toml", "--check-within", "1s"];
    stack.voltar(&arguments).run().expect_code(1).expect_text("exit status 4, nothing printed");
    restore("voltar-e2e-app: true", &[]).expect_code(0);
}

const MEDIA: [&str; 2] = ["-v", "voltar-e2e_cvat_data:/elsewhere"];

/// Removes a container and runs another one of the same name.
fn recreate(container: Container) -> Container {
    drop(container);
    let another = Container::create("recreated", &MEDIA);
    another.start();
    another
}

fn a_recreated_container_is_reported_by_a_backup(stack: &Stack) {
    let container = Container::create("recreated", &MEDIA);
    container.start();
    let run = backup_in_the_middle(stack, &stack.at("backup"));
    assert!(!container.is_running(), "stopped for the backup");
    let another = recreate(container);
    run.signal(Signal::SIGCONT);
    run.wait()
        .expect_code(1)
        .expect_text("'voltar-e2e-recreated' was started while its data was archived")
        .expect_text("container 'voltar-e2e-recreated' does not exist any more: not started");
    assert!(another.is_running());
    assert_eq!(stack.archives(), ["cvat_data.tar.bz2", "cvat_db.tar.bz2"]);
    stack.voltar(&["plan", "elsewhere"]).run().expect_no_text("voltar resume");
}

fn a_recreated_container_prevents_the_swap(stack: &Stack) {
    stack.documented_backup();
    let old = make_old_tree(stack);
    let container = Container::create("recreated", &MEDIA);
    let run = restore_in_the_middle(stack, &[]);
    let another = recreate(container);
    run.signal(Signal::SIGCONT);
    run.wait().expect_code(2).expect_text("were started meanwhile: voltar-e2e-recreated");
    drop(another);
    old.assert_same(&stack.snapshot("cvat_data"), "the tree that was there");
    assert_eq!(names(stack.volume("cvat_data").parent().unwrap()), ["_data"], "nothing is left beside the tree");
}
