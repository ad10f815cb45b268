//! The address of an engine.

use std::io::ErrorKind as IoKind;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::member::{printable, printable_path};

/// The address on which an engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    /// The path of a Unix socket.
    Unix(PathBuf),
    /// `host:port`.
    Tcp(String),
}

impl Address {
    /// Parses the value of `--docker` or `DOCKER_HOST`.
    pub(super) fn parse(addr: &str) -> Result<Self> {
        let shown = printable(addr.as_bytes());
        let bad = |reason: &str| {
            Error::usage(format!("'{shown}' is not an engine's address: {reason}"))
                .hint("write unix:///path/to/docker.sock or tcp://host:port")
        };
        if let Some(path) = addr.strip_prefix("unix://").or_else(|| addr.starts_with('/').then_some(addr)) {
            return if path.starts_with('/') && !path.contains('\0') {
                Ok(Self::Unix(path.into()))
            } else {
                Err(bad("the socket's path is not absolute"))
            };
        }
        if let Some(host) = addr.strip_prefix("tcp://").or_else(|| addr.strip_prefix("http://")) {
            let host = host.trim_end_matches('/');
            let (name, port) = match host.rsplit_once(':') {
                // The colons of an IPv6 address are within brackets.
                Some((name, port)) if !port.contains(']') => (name, port),
                _ => (host, "2375"),
            };
            let fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
            return if name.is_empty() || !name.chars().all(fine) || port.parse::<u16>().is_err() {
                Err(bad("it has no host, or no port that is a number"))
            } else {
                Ok(Self::Tcp(format!("{name}:{port}")))
            };
        }
        match addr.split_once("://") {
            Some(("ssh", _)) => {
                Err(Error::refused(format!("cannot work through {shown}: the volumes are on that machine"))
                    .hint("run voltar there (`ssh HOST voltar …`)"))
            }
            Some((scheme, _)) => Err(bad(&format!("{scheme}:// is not supported"))),
            None => Err(bad("it has no scheme")),
        }
    }

    /// Returns the hint for a connection that failed with an error of this kind.
    pub(super) fn hint(&self, kind: IoKind) -> String {
        match (self, kind) {
            (_, IoKind::PermissionDenied) => {
                "run voltar as root (sudo), or as a member of the group 'docker'".to_owned()
            }
            (Self::Unix(_), _) => "is the Docker daemon running (`systemctl start docker`)? Without one, --data-root \
                                   /var/lib/docker reads Docker's own files"
                .to_owned(),
            (Self::Tcp(_), _) => "is the address right, and the Docker daemon there running?".to_owned(),
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", printable_path(path)),
            Self::Tcp(host) => write!(f, "tcp://{host}"),
        }
    }
}

/// Returns the socket of the system's daemon or, if there is none, that of a rootless daemon.
pub(super) fn local_socket(runtime_dir: Option<PathBuf>) -> PathBuf {
    let system = ["/var/run/docker.sock", "/run/docker.sock"].map(PathBuf::from);
    let rootless = runtime_dir.map(|dir| dir.join("docker.sock"));
    let fallback = PathBuf::from("/var/run/docker.sock");
    // `symlink_metadata`: a socket that exists but cannot be reached must be reported as such.
    system.into_iter().chain(rootless).find(|path| path.symlink_metadata().is_ok()).unwrap_or(fallback)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn addresses() {
        let parse =
            |addr: &str| Address::parse(addr).map(|address| address.to_string()).map_err(|error| error.to_string());
        assert_eq!(parse("unix:///run/x.sock"), Ok("unix:///run/x.sock".to_owned()));
        assert_eq!(parse("/run/x.sock"), Ok("unix:///run/x.sock".to_owned()));
        assert_eq!(parse("tcp://nas:2375/"), Ok("tcp://nas:2375".to_owned()));
        assert_eq!(parse("http://127.0.0.1"), Ok("tcp://127.0.0.1:2375".to_owned()));
        assert_eq!(parse("tcp://[::1]"), Ok("tcp://[::1]:2375".to_owned()));
        for bad in ["unix://run/x", "tcp://", "tcp://h:x", "tcp://h/p:1", "npipe:////./pipe/d", "docker.sock", "fd://"]
        {
            assert!(parse(bad).unwrap_err().contains("is not an engine's address"), "{bad}");
        }
        let error = Address::parse("ssh://root@nas").unwrap_err();
        assert_eq!(error.to_string(), "cannot work through ssh://root@nas: the volumes are on that machine");
        assert!(error.advice().unwrap().contains("run voltar there"));
    }

    #[test]
    fn a_rootless_socket_is_the_last_resort() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("docker.sock"), "").unwrap();
        let system = Path::new("/var/run/docker.sock");
        let expected = if system.exists() { system.to_owned() } else { dir.path().join("docker.sock") };
        assert_eq!(local_socket(Some(dir.path().to_owned())), expected);
    }
}
