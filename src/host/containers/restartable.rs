//! The containers that must not be stopped, because a start would not bring them back to what they were doing.

use crate::error::Error;
use crate::host::inventory::{Container, State};

/// Why containers are to be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// They use the volumes.
    Users,
    /// They belong to the compose project of the volumes.
    Project,
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Users => "containers that use these volumes",
            Self::Project => "containers of the compose project",
        })
    }
}

/// Returns a refusal for each reason why some of these containers cannot be stopped and started again.
#[must_use]
pub fn not_restartable(containers: &[&Container], why: Why) -> Vec<Error> {
    [paused(containers, why), auto_removed(containers, why), one_offs(containers, why), swarm_tasks(containers, why)]
        .into_iter()
        .flatten()
        .collect()
}

/// Returns a refusal if some of these containers are paused: a start would continue where they are not.
#[must_use]
pub fn paused(containers: &[&Container], why: Why) -> Option<Error> {
    let names = names(containers, &|container| container.state == State::Paused)?;
    Some(
        Error::refused(format!("{why} are paused: {names}"))
            .hint("a paused container cannot be started again as it was: unpause or stop it first"),
    )
}

fn auto_removed(containers: &[&Container], why: Why) -> Option<Error> {
    let names = names(containers, &|container| is_running(container) && container.auto_remove)?;
    Some(
        Error::refused(format!("{why} are deleted when they stop (--rm): {names}"))
            .hint("voltar could not start them again: wait for their end, or stop them yourself"),
    )
}

/// A one-off container with `--rm` is refused as such.
fn one_offs(containers: &[&Container], why: Why) -> Option<Error> {
    let unfit = |container: &Container| is_running(container) && container.one_off && !container.auto_remove;
    let names = names(containers, &unfit)?;
    Some(
        Error::refused(format!("{why} were created for one command (`docker compose run`): {names}"))
            .hint("voltar could not resume that command: wait for its end, or stop it yourself"),
    )
}

/// Returns a refusal if some of these containers are running tasks of swarm services.
#[must_use]
pub fn swarm_tasks(containers: &[&Container], why: Why) -> Option<Error> {
    let names = names(containers, &is_running_task)?;
    let mut services: Vec<String> = containers
        .iter()
        .filter(|container| is_running_task(container))
        .filter_map(|container| container.swarm_service.as_ref())
        .map(|service| format!("{service}=0"))
        .collect();
    services.sort();
    services.dedup();
    Some(
        Error::refused(format!("{why} are swarm tasks, and swarm replaces a task that stops: {names}"))
            .hint(format!("`docker service scale {}` first, and scale up again afterwards", services.join(" "))),
    )
}

fn is_running(container: &Container) -> bool {
    container.state == State::Running
}

fn is_running_task(container: &Container) -> bool {
    is_running(container) && container.swarm_service.is_some()
}

/// Returns the names of those containers that are `unfit`; `None` if there are none.
fn names(containers: &[&Container], unfit: &dyn Fn(&Container) -> bool) -> Option<String> {
    let names: Vec<&str> =
        containers.iter().filter(|container| unfit(container)).map(|container| container.name.as_str()).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::fake_host::container;
    use super::*;

    fn refusals(containers: &[Container]) -> Vec<(String, String)> {
        not_restartable(&containers.iter().collect::<Vec<_>>(), Why::Users)
            .iter()
            .map(|error| (error.to_string(), error.advice().unwrap().to_owned()))
            .collect()
    }

    fn task(name: &str, service: &str) -> Container {
        Container { swarm_service: Some(service.to_owned()), ..container(name, 1, &[]) }
    }

    #[test]
    fn running_and_stopped_containers_are_restartable() {
        let down = Container {
            state: State::Stopped,
            auto_remove: true,
            one_off: true,
            swarm_service: Some("db".to_owned()),
            ..container("down", 1, &[])
        };
        assert_eq!(refusals(&[container("web", 1, &[]), down]), []);
    }

    #[test]
    fn one_off_containers_are_refused_for_one_reason() {
        let job = Container { one_off: true, ..container("job", 1, &[]) };
        let temporary = Container { auto_remove: true, ..job.clone() };
        let [(message, hint)] = &refusals(&[job])[..] else { panic!() };
        assert_eq!(
            message,
            "containers that use these volumes were created for one command (`docker compose run`): job"
        );
        assert!(hint.contains("wait for its end"), "{hint}");
        let [(message, _)] = &refusals(&[temporary])[..] else { panic!() };
        assert_eq!(message, "containers that use these volumes are deleted when they stop (--rm): job");
    }

    #[test]
    fn swarm_tasks_are_refused_with_the_command_that_stops_them() {
        let tasks = [task("web.1.x", "web"), task("db.1.y", "db"), task("web.2.z", "web")];
        let [(message, hint)] = &refusals(&tasks)[..] else { panic!() };
        assert_eq!(
            message,
            "containers that use these volumes are swarm tasks, and swarm replaces a task that stops: \
             web.1.x, db.1.y, web.2.z"
        );
        assert!(hint.starts_with("`docker service scale db=0 web=0` first"), "{hint}");
    }
}
