//! The processes of containers, looked up in `/proc`.

use std::path::PathBuf;

/// The processes of this machine.
#[derive(Debug)]
pub(super) struct Processes {
    /// The path of procfs; tests have a directory of their own.
    pub(super) proc: PathBuf,
}

impl Processes {
    /// Reads `/proc`.
    pub(super) fn of_this_machine() -> Self {
        Self { proc: PathBuf::from("/proc") }
    }

    /// Whether the process `pid` exists and belongs to the container `id`, and not to a later process with
    /// the same number.
    ///
    /// Its control groups name the container. Where they are hidden (cgroup v2 shows `0::/…`), its mounts do:
    /// Docker mounts `containers/<id>/hostname` into each container.
    pub(super) fn is_alive(&self, pid: i64, id: &str) -> bool {
        pid > 0
            && ["cgroup", "mountinfo"].iter().any(|file| {
                let content = std::fs::read(self.proc.join(pid.to_string()).join(file)).unwrap_or_default();
                content.windows(id.len()).any(|window| window == id.as_bytes())
            })
    }
}
