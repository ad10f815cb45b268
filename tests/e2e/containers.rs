//! Which containers are stopped, which are started again, and which are noticed that use a volume meanwhile.

use std::fs;

use nix::sys::signal::Signal;

use crate::common::engine::docker;
use crate::common::tree::{build, file};
use crate::interruptions::{backup_in_the_middle, make_old_tree, restore_in_the_middle};
use crate::stack::{Container, Stack, Test, Volume, WAIT, layout, names, wait_until};

pub const TESTS: &[Test] = &[
    ("stop_a_job_that_ends_by_itself_runs_once", a_job_that_ends_by_itself_runs_once),
    ("stop_one_off_and_swarm_containers_are_refused", one_off_and_swarm_containers_are_refused),
    ("start_that_fails_after_a_backup_is_a_warning", a_start_that_fails_after_a_backup_is_a_warning),
    ("start_that_fails_after_a_restore_is_a_warning", a_start_that_fails_after_a_restore_is_a_warning),
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
    // The container created last is stopped first.
    let job = Container::with_script(
        "job",
        &options,
        "echo run >>/signal/runs; while [ ! -e /signal/go ]; do sleep 0.1; done",
    );
    let web =
        Container::with_script("web", &options, &format!("trap 'touch /signal/go; sleep 1; exit 0' TERM; {WAIT}"));
    job.start();
    web.start();
    wait_until("the job", || stack.at("signal/runs").exists());
    stack.voltar(&["backup", "--stop", "--layout", "one.toml"]).ok().expect_text("has ended by itself");
    assert!(web.is_running());
    assert!(!job.is_running());
    assert_eq!(fs::read_to_string(stack.at("signal/runs")).unwrap(), "run\n");
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
