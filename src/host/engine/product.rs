//! The program that answers as an engine: Docker, or Podman, which answers Docker's API through its socket.

use bollard::models::SystemVersion;

use crate::member::printable;

use super::answers::ContainerInspectResponse;

/// The program that answers as an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Product {
    Docker,
    Podman,
}

impl Product {
    /// Returns the program that gave this answer to the question for its version.
    pub(super) fn of(answer: &SystemVersion) -> Self {
        let is_podman = answer.components.iter().flatten().any(|component| component.name == "Podman Engine");
        if is_podman { Self::Podman } else { Self::Docker }
    }

    /// Corrects what this program reports of a container.
    ///
    /// A container that was created through Podman's socket without a timeout has 0 there, and is killed at once by a stop
    /// without a time: a database would never be shut down. So 0 is taken for Docker's default, which the stop then names.
    pub(super) fn correct(self, mut answer: ContainerInspectResponse) -> ContainerInspectResponse {
        if let (Self::Podman, Some(config)) = (self, &mut answer.config) {
            config.stop_timeout = config.stop_timeout.filter(|seconds| *seconds != 0);
        }
        answer
    }
}

impl std::fmt::Display for Product {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Docker => "Docker",
            Self::Podman => "Podman",
        })
    }
}

/// Returns the version in an answer, as text that can be printed.
pub(super) fn version(answer: SystemVersion) -> String {
    answer.version.map_or_else(|| "(unknown)".to_owned(), |version| printable(version.as_bytes()))
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
            {"Name":"Podman Engine","Version":"4.3.1","Details":{"APIVersion":"4.3.1"}},{"Name":"Conmon","Version":"2.1.6"}]}"#;
        assert_eq!(product(podman), Product::Podman);
        let docker =
            r#"{"Platform":{"Name":""},"Version":"26.1.5","Components":[{"Name":"Engine","Version":"26.1.5"}]}"#;
        assert_eq!(product(docker), Product::Docker);
        assert_eq!(product(r#"{"Version":"1.12"}"#), Product::Docker);
        assert_eq!(Product::Podman.to_string(), "Podman");
    }

    #[test]
    fn podmans_timeout_of_zero_is_the_default() {
        let timeout = |product: Product, seconds: i64| {
            let json = format!(r#"{{"Config":{{"StopTimeout":{seconds}}}}}"#);
            stop_timeout(&product.correct(serde_json::from_str(&json).unwrap())).map(|timeout| timeout.as_secs())
        };
        assert_eq!(timeout(Product::Podman, 0), Some(10));
        assert_eq!(timeout(Product::Podman, 60), Some(60));
        assert_eq!(timeout(Product::Docker, 0), Some(0));
    }
}
