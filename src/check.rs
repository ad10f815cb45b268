//! Commands that tell whether an application works on what was restored.

use std::fmt;

use crate::member::printable;

/// A command in a container, whose exit status tells whether the application works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The container's name, or its compose service.
    pub container: String,
    /// The command, which the shell of the container runs.
    pub command: String,
}

impl Check {
    /// Parses `SERVICE: COMMAND`.
    ///
    /// # Errors
    /// The text has no colon, or nothing before or after it; or a container cannot have that name.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (container, command) = text.split_once(':').unwrap_or(("", text));
        let (container, command) = (container.trim(), command.trim());
        let is_name = !container.contains(|one: char| one == '/' || one.is_whitespace() || one.is_control());
        if container.is_empty() || !is_name || command.is_empty() || command.contains('\0') {
            return Err(format!("'{}' does not read SERVICE: COMMAND", printable(text.as_bytes())));
        }
        Ok(Self { container: container.to_owned(), command: command.to_owned() })
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", printable(self.container.as_bytes()), printable(self.command.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_is_a_container_and_a_command() {
        let check = Check::parse(" cvat_server : curl http://localhost:8080/api/server/health/ ").unwrap();
        assert_eq!(check.container, "cvat_server");
        assert_eq!(check.command, "curl http://localhost:8080/api/server/health/");
        assert_eq!(Check::parse("a:b\nc").unwrap().to_string(), "a: b\\nc");
        for bad in ["", ":", "a:", ": b", "true", "a b: c", "a/b: c", "a: \0"] {
            assert!(Check::parse(bad).unwrap_err().ends_with("' does not read SERVICE: COMMAND"), "{bad}");
        }
    }
}
