//! The Docker engine of this machine.

use std::sync::OnceLock;

use super::tool::{Tool, installed};

/// Returns whether a Docker engine answers on the local socket.
pub fn answers() -> bool {
    static ANSWERS: OnceLock<bool> = OnceLock::new();
    *ANSWERS.get_or_init(|| {
        installed("docker")
            && Tool::new("timeout")
                .args(["20", "docker", "version", "--format", "{{.Server.Version}}"])
                .env_remove("DOCKER_HOST")
                .run()
                .status
                .success()
    })
}

/// Runs `docker` with these arguments, which must succeed, and returns its standard output.
#[track_caller]
pub fn docker<A: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = A>) -> String {
    Tool::new("docker").args(args).ok().answer()
}

/// The compose projects of the tests and of the benchmarks. Everything that they create has one of these names, so
/// that the next run can remove what a killed run left.
pub const PROJECTS: [&str; 6] =
    ["voltar-e2e", "voltar-e2e-other", "voltar-e2e-one", "voltar-e2e-two", "voltar-e2e-wp", "voltar-bench"];

/// Returns the name of a container that has a fixed name of CVAT's compose files and is not from these tests.
pub fn foreign_cvat() -> Option<String> {
    if !answers() {
        return None;
    }
    let containers = docker(["ps", "--all", "--format", "{{.Names}} {{.Label \"com.docker.compose.project\"}}"]);
    containers.lines().find_map(|line| {
        let (name, project) = line.split_once(' ').unwrap_or((line, ""));
        let fixed = ["cvat", "cvat_db", "cvat_server", "cvat_elasticsearch", "cvat_clickhouse"];
        (fixed.contains(&name) && !PROJECTS.contains(&project)).then(|| name.to_owned())
    })
}
