//! The current context of the `docker` command (`docker context use`). Who has chosen another engine with it expects that
//! engine: voltar does not follow contexts, but it does not ignore them either.

use std::path::{Path, PathBuf};

use nix::unistd::User;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use walkdir::WalkDir;

use crate::durable::small_file;
use crate::error::{Error, Result};
use crate::member::{printable, printable_path};

use super::address::Address;

/// The context that is always there: the local socket.
const DEFAULT: &str = "default";

/// The size limit of a configuration file, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Where the `docker` command looks for its context.
#[derive(Debug, Default)]
pub(super) struct Configuration {
    /// `DOCKER_CONTEXT`.
    name: Option<String>,
    /// The directories that may hold a `config.json`: `DOCKER_CONFIG`, else `~/.docker` and, behind `sudo`, that of the
    /// user who called it.
    directories: Vec<PathBuf>,
}

/// `config.json`.
#[derive(Deserialize)]
struct Config {
    #[serde(default, rename = "currentContext")]
    current: String,
}

/// `contexts/meta/<digest>/meta.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Meta {
    name: String,
    endpoints: Endpoints,
}

#[derive(Deserialize)]
struct Endpoints {
    docker: Option<Endpoint>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    #[serde(default)]
    host: String,
}

impl Configuration {
    /// Reads the environment of this process.
    pub(super) fn of_this_process() -> Self {
        let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let directories = if let Some(directory) = variable("DOCKER_CONFIG") {
            vec![directory.into()]
        } else {
            let home = variable("HOME").map(PathBuf::from);
            let caller = variable("SUDO_USER").and_then(|name| User::from_name(name.to_str()?).ok()?);
            home.into_iter().chain(caller.map(|user| user.dir)).map(|home| home.join(".docker")).collect()
        };
        Self { name: variable("DOCKER_CONTEXT").and_then(|name| name.into_string().ok()), directories }
    }

    /// Checks that no current context names another engine than the one on the local `socket`. A file that cannot be read
    /// or parsed names none, as for `docker`.
    ///
    /// # Errors
    /// One does.
    pub(super) fn check(&self, socket: &Path) -> Result<()> {
        let Some((name, origin)) = self.current() else { return Ok(()) };
        let here = Address::Unix(socket.to_owned());
        let what = format!("the Docker context '{}' ({origin})", printable(name.as_bytes()));
        let Some(host) = self.host_of(&name) else {
            return Err(Error::refused(format!("{what} names an engine that is not known")).hint(format!(
                "`docker context inspect` prints its address for --docker; --docker {here} is the engine of this host"
            )));
        };
        let same_file = |path: &Path| path.canonicalize().ok().zip(socket.canonicalize().ok());
        match Address::parse(&host) {
            Ok(Address::Unix(path)) if path == socket || same_file(&path).is_some_and(|(a, b)| a == b) => Ok(()),
            _ => {
                let host = printable(host.as_bytes());
                Err(Error::refused(format!("{what} names another engine: {host}"))
                    .hint(format!("--docker {here} is the engine of this host, --docker {host} that of the context")))
            }
        }
    }

    /// Returns the name of the current context, and where it is set; `None` for the default context.
    fn current(&self) -> Option<(String, String)> {
        let (name, origin) = match &self.name {
            Some(name) => (name.clone(), "DOCKER_CONTEXT".to_owned()),
            None => self.directories.iter().find_map(|directory| {
                let file = directory.join("config.json");
                let config: Config = read(&file)?;
                let is_other = !config.current.is_empty() && config.current != DEFAULT;
                is_other.then(|| (config.current, printable_path(&file)))
            })?,
        };
        (name != DEFAULT).then_some((name, origin))
    }

    fn host_of(&self, name: &str) -> Option<String> {
        self.directories.iter().find_map(|directory| {
            let stored = WalkDir::new(directory.join("contexts/meta")).min_depth(2).max_depth(2);
            let files =
                stored.into_iter().filter_map(std::result::Result::ok).filter(|entry| entry.file_name() == "meta.json");
            let meta = files.filter_map(|entry| read::<Meta>(entry.path())).find(|meta| meta.name == name)?;
            meta.endpoints.docker.map(|endpoint| endpoint.host).filter(|host| !host.is_empty())
        })
    }
}

/// Reads a JSON file, which may be that of another user.
fn read<T: DeserializeOwned>(file: &Path) -> Option<T> {
    serde_json::from_slice(&small_file::read(file, MAX_BYTES).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const SOCKET: &str = "/run/voltar-test/docker.sock";

    /// A configuration directory with one context, whose host this is.
    fn directory(current: &str, name: &str, host: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let meta = dir.path().join("contexts/meta/0123abcd");
        fs::create_dir_all(&meta).unwrap();
        fs::write(dir.path().join("config.json"), format!(r#"{{"auths":{{}},"currentContext":"{current}"}}"#)).unwrap();
        let text = format!(r#"{{"Name":"{name}","Metadata":{{}},"Endpoints":{{"docker":{{"Host":"{host}"}}}}}}"#);
        fs::write(meta.join("meta.json"), text).unwrap();
        dir
    }

    fn check(name: Option<&str>, dir: &Path) -> std::result::Result<(), String> {
        let configuration = Configuration { name: name.map(str::to_owned), directories: vec![dir.to_owned()] };
        configuration.check(Path::new(SOCKET)).map_err(|error| {
            assert!(error.advice().unwrap().contains(&format!("--docker unix://{SOCKET}")), "{error:?}");
            error.to_string()
        })
    }

    #[test]
    fn a_context_of_another_engine_is_refused() {
        let dir = directory("nas", "nas", "ssh://root@nas");
        let file = dir.path().join("config.json");
        let expected = format!("the Docker context 'nas' ({}) names another engine: ssh://root@nas", file.display());
        assert_eq!(check(None, dir.path()), Err(expected));
        let by_variable = "the Docker context 'nas' (DOCKER_CONTEXT) names another engine: ssh://root@nas".to_owned();
        assert_eq!(check(Some("nas"), dir.path()), Err(by_variable));
        let unknown = "the Docker context 'other' (DOCKER_CONTEXT) names an engine that is not known".to_owned();
        assert_eq!(check(Some("other"), dir.path()), Err(unknown));
    }

    #[test]
    fn contexts_of_this_engine_are_fine() {
        let dir = directory("local", "local", &format!("unix://{SOCKET}"));
        assert_eq!(check(None, dir.path()), Ok(()));
        let other = directory("nas", "nas", "ssh://root@nas");
        assert_eq!(check(Some(DEFAULT), other.path()), Ok(()), "the variable takes precedence");
        assert_eq!(check(None, directory(DEFAULT, "nas", "ssh://root@nas").path()), Ok(()));
        assert_eq!(check(None, directory("", "nas", "ssh://root@nas").path()), Ok(()));
    }

    #[test]
    fn two_sockets_are_told_apart_and_two_names_of_one_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("socket"), "").unwrap();
        fs::write(at("other"), "").unwrap();
        std::os::unix::fs::symlink("socket", at("link")).unwrap();
        let names_this = |name: &str| {
            let context = directory("c", "c", &format!("unix://{}", at(name).display()));
            let configuration = Configuration { name: None, directories: vec![context.path().to_owned()] };
            configuration.check(&at("socket")).is_ok()
        };
        assert_eq!(["socket", "link", "other", "missing"].map(names_this), [true, true, false, false]);
    }

    #[test]
    fn a_configuration_that_cannot_be_read_names_no_context() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(check(None, dir.path()), Ok(()));
        fs::write(dir.path().join("config.json"), "{").unwrap();
        assert_eq!(check(None, dir.path()), Ok(()));
        fs::remove_file(dir.path().join("config.json")).unwrap();
        nix::unistd::mkfifo(&dir.path().join("config.json"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(check(None, dir.path()), Ok(()));
    }
}
