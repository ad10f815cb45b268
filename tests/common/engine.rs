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
