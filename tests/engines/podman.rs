//! What only Podman has: states of its own, and containers with maps of ids of their own.

use crate::other_engine::{OtherEngine, Test};

pub const TESTS: &[Test] = &[
    ("states_that_docker_lacks_are_read", states_that_docker_lacks_are_read),
    ("containers_with_maps_of_their_own_are_refused", containers_with_maps_of_their_own_are_refused),
    ("a_check_runs_after_a_restore", a_check_runs_after_a_restore),
];

/// Runs Podman itself on the files of the engine.
fn podman(engine: &OtherEngine, args: &[&str]) {
    // Not through a pipe, which the process that watches a container keeps open.
    let log = engine.at("log-of-podman");
    let run = engine.host(engine.at("podman").to_str().unwrap()).args(args).spawn(&log);
    run.wait().expect_code(0);
}

fn fill(engine: &OtherEngine) {
    engine.docker(["create", "--name", "db", "--network", "none", "-v", "data:/data", "ubuntu", "sleep", "1000"]);
    let line = "echo archived >/data/file; chown 70:70 /data/file";
    // Without `--rm`, `docker run` would wait for an end that it has missed.
    engine.docker(["run", "--rm", "--network", "none", "--volumes-from", "db", "ubuntu", "bash", "-c", line]);
    engine.layout("db");
}

fn states_that_docker_lacks_are_read(engine: &OtherEngine) {
    fill(engine);
    let create = ["create", "--network", "none", "-v", "data:/data", "--name"];
    for name in ["configured", "initialized", "paused"] {
        podman(engine, &[&create[..], &[name, "ubuntu", "sleep", "1000"]].concat());
    }
    podman(engine, &["init", "initialized"]);
    let plan = engine.voltar(&["plan"]).ok();
    for text in ["configured (stopped)", "initialized (stopped)"] {
        assert!(plan.text().contains(text), "expected {text:?} in {plan}");
    }
    engine.voltar(&["backup", "archives"]).ok();
    podman(engine, &["start", "paused"]);
    podman(engine, &["pause", "paused"]);
    engine.voltar(&["backup", "other", "--stop"]).run().expect_code(2).expect_text("paused");
    podman(engine, &["unpause", "paused"]);
}

fn containers_with_maps_of_their_own_are_refused(engine: &OtherEngine) {
    fill(engine);
    let create = ["create", "--network", "none", "-v", "data:/data"];
    let map = ["--uidmap", "0:700000:65536", "--gidmap", "0:700000:65536"];
    podman(engine, &[&create[..], &map, &["--name", "mapped", "ubuntu", "sleep", "1000"]].concat());
    podman(engine, &[&create[..], &["--userns", "auto", "--name", "auto", "ubuntu", "sleep", "1000"]].concat());
    podman(engine, &[&create[..], &["--userns", "host", "--name", "host", "ubuntu", "sleep", "1000"]].concat());
    for name in ["mapped", "auto"] {
        engine.layout(name);
        let expected = format!("data: container '{name}' has a map of ids of its own");
        engine.voltar(&["backup", "archives"]).run().expect_code(2).expect_text(&expected);
        engine.voltar(&["restore", "archives"]).run().expect_code(2);
        assert!(!engine.at("archives").exists());
    }
    engine.layout("host");
    engine.voltar(&["backup", "archives"]).ok();
}

fn a_check_runs_after_a_restore(engine: &OtherEngine) {
    let serve = "echo restored >/data/file; trap 'exit 0' TERM; sleep 1000 & wait";
    let run = ["run", "--detach", "--name", "app", "--network", "none", "-v", "data:/data", "ubuntu", "bash", "-c"];
    engine.docker([&run[..], &[serve]].concat());
    engine.layout("app");
    engine.voltar(&["backup", "archives", "--stop"]).ok();
    let restore = |check: &str| {
        let args = ["restore", "archives", "--stop", "--check-within", "2s", "--check", check];
        engine.voltar(&args).run()
    };
    restore("app: grep restored /data/file").expect_code(0);
    restore("app: echo it is broken >&2; exit 3").expect_code(1).expect_text("exit status 3, 'it is broken'");
}
