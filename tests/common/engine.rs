//! Whether a Docker engine is there.

use std::sync::OnceLock;

use super::tool::{Tool, installed};

/// Whether a Docker engine answers on this machine's own socket.
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

/// `docker` with these arguments, which must succeed; its standard output.
#[track_caller]
pub fn docker<A: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = A>) -> String {
    Tool::new("docker").args(args).ok().answer()
}

/// The compose projects of the tests and of the benchmarks; everything they make carries one of these names, and what a
/// killed run left of it goes with the next.
pub const PROJECTS: [&str; 3] = ["voltar-e2e", "voltar-e2e-other", "voltar-bench"];

/// A container that has one of the names that CVAT's compose files fix, and is not of our own making.
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
