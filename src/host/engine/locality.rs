//! Checks whether an engine runs on this machine, so that the paths in its answers are paths of this machine.

use std::path::Path;

use bollard::models::SystemInfo;

use crate::durable::small_file;
use crate::member::printable;

use super::address::Address;

/// The size limit of the file with the engine's id, in bytes.
const MOST_BYTES: u64 = 4096;

/// The facts that identify this machine, and the engine that keeps its files on it.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// The content of `<DockerRootDir>/engine-id`.
    engine_id: Option<String>,
    root_dir_exists: bool,
    host_name: String,
    kernel: String,
}

impl Facts {
    /// Reads the facts of this machine that `info` claims for the engine.
    pub(super) fn gather(info: &SystemInfo) -> Self {
        let uname = nix::sys::utsname::uname().ok();
        let text = |text: Option<&std::ffi::OsStr>| text.unwrap_or_default().to_string_lossy().into_owned();
        let root = info.docker_root_dir.as_deref().map(Path::new).filter(|root| root.is_absolute());
        Self {
            // The data root of a rootless engine belongs to its user.
            engine_id: root
                .and_then(|root| small_file::read(&root.join("engine-id"), MOST_BYTES).ok())
                .map(|id| String::from_utf8_lossy(&id).trim().to_owned())
                .filter(|id| !id.is_empty()),
            root_dir_exists: root.is_some_and(Path::is_dir),
            host_name: text(uname.as_ref().map(nix::sys::utsname::UtsName::nodename)),
            kernel: text(uname.as_ref().map(nix::sys::utsname::UtsName::release)),
        }
    }
}

/// Returns the reasons why the paths in the engine's answers must not be used on this machine.
pub(super) fn obstacles(address: &Address, info: &SystemInfo, facts: &Facts) -> Vec<String> {
    let mut obstacles = Vec::new();
    let root = printable(info.docker_root_dir.as_deref().unwrap_or_default().as_bytes());
    if !is_local(address, info, facts) {
        let name = printable(info.name.as_deref().unwrap_or("unknown").as_bytes());
        obstacles.push(format!(
            "the engine at {address} is not known to be on this machine (it calls itself '{name}' and keeps its files in \
             {root}): its volumes may be elsewhere, so run voltar there, through the local socket"
        ));
    }
    obstacles
}

fn is_local(address: &Address, info: &SystemInfo, facts: &Facts) -> bool {
    let claimed = info.id.as_deref().unwrap_or_default();
    match (&facts.engine_id, address) {
        (Some(here), _) => here == claimed,
        // A TCP port may be forwarded, and engines before 23.0 have no `engine-id` file to compare.
        (None, Address::Tcp(_)) => false,
        // A socket may be forwarded too (ssh, a virtual machine), but then kernel, host name or directory differ.
        (None, Address::Unix(_)) => {
            facts.root_dir_exists
                && info.name.as_deref() == Some(&facts.host_name)
                && info.kernel_version.as_deref() == Some(&facts.kernel)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(id: &str) -> SystemInfo {
        SystemInfo {
            id: Some(id.to_owned()),
            name: Some("vm".to_owned()),
            kernel_version: Some("6.1".to_owned()),
            docker_root_dir: Some("/var/lib/docker".to_owned()),
            ..SystemInfo::default()
        }
    }

    fn here() -> Facts {
        Facts { engine_id: None, root_dir_exists: true, host_name: "vm".to_owned(), kernel: "6.1".to_owned() }
    }

    #[test]
    fn an_engine_is_local_only_if_it_matches_this_machine() {
        let unix = Address::Unix("/var/run/docker.sock".into());
        let tcp = Address::Tcp("127.0.0.1:2375".to_owned());
        let known = |id: &str| Facts { engine_id: Some(id.to_owned()), ..here() };
        assert!(is_local(&unix, &info("A"), &known("A")) && is_local(&tcp, &info("A"), &known("A")));
        assert!(!is_local(&unix, &info("A"), &known("B")) && !is_local(&tcp, &info("A"), &known("B")));
        assert!(is_local(&unix, &info("A"), &here()));
        assert!(!is_local(&tcp, &info("A"), &here()));
        assert!(!is_local(&unix, &info("A"), &Facts { root_dir_exists: false, ..here() }));
        assert!(!is_local(&unix, &info("A"), &Facts { host_name: "laptop".to_owned(), ..here() }));
        assert!(!is_local(&unix, &info("A"), &Facts { kernel: "6.2".to_owned(), ..here() }));
        assert!(obstacles(&unix, &info("A"), &here()).is_empty());
        assert!(obstacles(&tcp, &info("A"), &here())[0].contains("run voltar there"));
    }
}
