//! The program that answers as an engine: Docker, or Podman, which answers Docker's API through its socket.

use bollard::models::SystemVersion;

use super::answers::{ContainerInspectResponse, PodmanInspectResponse};

/// The version of Podman's own API in paths, if Podman does not say which it supports.
const OLDEST_PODMAN_API: &str = "4.0.0";

/// The program that answers as an engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Product {
    Docker,
    Podman {
        /// The oldest version of its own API, which has other paths.
        api: String,
    },
}

impl Product {
    /// Returns the program that gave this answer to the question for its version.
    pub(super) fn of(answer: &SystemVersion) -> Self {
        let mut components = answer.components.iter().flatten();
        let Some(podman) = components.find(|component| component.name == "Podman Engine") else { return Self::Docker };
        let said = podman.details.as_ref().and_then(|details| details.get("MinAPIVersion")).map(String::as_str);
        // It becomes part of a path.
        let api = said.filter(|api| api.len() < 20 && api.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.'));
        Self::Podman { api: api.unwrap_or(OLDEST_PODMAN_API).to_owned() }
    }
}

/// Adds to Podman's answer in Docker's form what only its own form says, and corrects it.
///
/// A container that was created through Podman's socket without a timeout has 0 there, and is killed at once by a stop
/// without a time: a database would never be shut down. So 0 is taken for Docker's default, which the stop then names.
pub(super) fn with_podmans(
    mut answer: ContainerInspectResponse,
    own: &PodmanInspectResponse,
) -> ContainerInspectResponse {
    if let Some(config) = &mut answer.config {
        config.stop_timeout = config.stop_timeout.filter(|seconds| *seconds != 0);
    }
    if own.host_config.as_ref().is_some_and(|host| host.id_mappings.is_some()) {
        answer.host_config.get_or_insert_default().userns_mode = Some("private".to_owned());
    }
    answer
}

impl std::fmt::Display for Product {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Docker => "Docker",
            Self::Podman { .. } => "Podman",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::convert::stop_timeout;
    use super::*;

    /// Recorded from Podman 4.3.1 and Docker 26.1.5, and shortened.
    #[test]
    fn podman_is_known_by_its_components() {
        let product = |json: &str| Product::of(&serde_json::from_str(json).unwrap());
        let podman = r#"{"Platform":{"Name":"linux/amd64/debian-12"},"Version":"4.3.1","ApiVersion":"1.41","Components":[
            {"Name":"Podman Engine","Version":"4.3.1","Details":{"APIVersion":"4.3.1","MinAPIVersion":"4.0.0"}},
            {"Name":"Conmon","Version":"2.1.6"}]}"#;
        assert_eq!(product(podman), Product::Podman { api: "4.0.0".to_owned() });
        assert_eq!(product(&podman.replace("4.0.0", "3.9")), Product::Podman { api: "3.9".to_owned() });
        let hostile = podman.replace("4.0.0", "../x");
        assert_eq!(product(&hostile), Product::Podman { api: OLDEST_PODMAN_API.to_owned() });
        let docker =
            r#"{"Platform":{"Name":""},"Version":"26.1.5","Components":[{"Name":"Engine","Version":"26.1.5"}]}"#;
        assert_eq!(product(docker), Product::Docker);
        assert_eq!(product(r#"{"Version":"1.12"}"#), Product::Docker);
        assert_eq!(product(podman).to_string(), "Podman");
    }

    fn corrected(docker: &str, own: &str) -> ContainerInspectResponse {
        with_podmans(serde_json::from_str(docker).unwrap(), &serde_json::from_str(own).unwrap())
    }

    #[test]
    fn podmans_timeout_of_zero_is_the_default() {
        let timeout = |seconds: i64| {
            let answer = corrected(&format!(r#"{{"Config":{{"StopTimeout":{seconds}}}}}"#), "{}");
            stop_timeout(&answer).map(|timeout| timeout.as_secs())
        };
        assert_eq!((timeout(0), timeout(60)), (Some(10), Some(60)));
    }

    /// Recorded from Podman 4.3.1, and shortened.
    #[test]
    fn podmans_own_answer_says_that_there_is_a_map() {
        let mode = |own: &str| corrected(r#"{"HostConfig":{"UsernsMode":""}}"#, own).host_config.unwrap().userns_mode;
        let auto = r#"{"HostConfig":{"IDMappings":{"UidMap":["0:600000:65534"],"GidMap":["0:600000:65534"]}},"Config":{"StopSignal":15}}"#;
        assert_eq!(mode(auto).as_deref(), Some("private"));
        assert_eq!(mode(r#"{"HostConfig":{}}"#).as_deref(), Some(""));
    }
}
