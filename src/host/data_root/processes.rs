//! The processes of containers, looked up in `/proc`.

use std::path::PathBuf;

/// The processes of this machine.
#[derive(Debug)]
pub(super) struct Processes {
    /// The path of procfs; another directory in tests.
    pub(super) proc: PathBuf,
}

impl Processes {
    /// Returns the processes in `/proc`.
    pub(super) fn of_this_machine() -> Self {
        Self { proc: PathBuf::from("/proc") }
    }

    /// Returns whether the process `pid` exists and belongs to the container `id`; the pid may have been reused since.
    ///
    /// The paths of its control groups contain the id (cgroups(7)). If they do not, as in a cgroup namespace with
    /// cgroup v2 (`0::/`), its mounts do: Docker mounts `containers/<id>/hostname` into each container.
    pub(super) fn is_alive(&self, pid: i64, id: &str) -> bool {
        pid > 0
            && ["cgroup", "mountinfo"].iter().any(|file| {
                let content = std::fs::read(self.proc.join(pid.to_string()).join(file)).unwrap_or_default();
                content.windows(id.len()).any(|window| window == id.as_bytes())
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_identified_by_its_control_groups_or_its_mounts() {
        let dir = tempfile::tempdir().unwrap();
        let processes = Processes { proc: dir.path().to_owned() };
        for (pid, file) in [("7", "cgroup"), ("8", "mountinfo")] {
            std::fs::create_dir(dir.path().join(pid)).unwrap();
            std::fs::write(dir.path().join(pid).join(file), "x/docker/0123abcd/y\n").unwrap();
        }
        assert!(processes.is_alive(7, "0123abcd") && processes.is_alive(8, "0123abcd"));
        assert!(!processes.is_alive(7, "4567"), "the process is of another container");
        assert!(!processes.is_alive(9, "0123abcd") && !processes.is_alive(0, "0123abcd"));
        assert!(!processes.is_alive(-1, "0123abcd"));
    }
}
