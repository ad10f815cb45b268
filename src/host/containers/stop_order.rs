//! The order in which containers are stopped.

use crate::host::inventory::Container;

/// Returns the containers in the order in which they are stopped: a container before those that it depends
/// on, and otherwise the one created last first. A cycle is broken at the container created last.
#[must_use]
pub(super) fn stop_order<'a>(containers: &[&'a Container]) -> Vec<&'a Container> {
    let mut waiting: Vec<&Container> = containers.to_vec();
    // Oldest first: among equal containers, the last one is stopped next.
    waiting.sort_by(|a, b| created(a).cmp(&created(b)).then_with(|| b.name.cmp(&a.name)));
    let mut order = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let needed = |one: &Container| waiting.iter().any(|other| other.id != one.id && needs(other, one));
        let next = waiting.iter().rposition(|one| !needed(one)).unwrap_or(waiting.len() - 1);
        order.push(waiting.remove(next));
    }
    order
}

/// Parses the time of creation. Engines trim the trailing zeros of a fraction, so the texts do not sort like the times.
fn created(container: &Container) -> Option<jiff::Timestamp> {
    container.created.parse().ok()
}

fn needs(dependent: &Container, other: &Container) -> bool {
    let same_project = dependent.project == other.project;
    dependent.depends_on.iter().any(|reference| {
        *reference == other.name
            || *reference == other.id
            || (same_project && other.service.as_ref() == Some(reference))
    })
}

#[cfg(test)]
mod tests {
    use super::super::fake_host::container;
    use super::*;

    fn order(containers: &[Container]) -> Vec<String> {
        stop_order(&containers.iter().collect::<Vec<_>>()).iter().map(|one| one.name.clone()).collect()
    }

    #[test]
    fn dependents_stop_before_what_they_need() {
        let chain = [container("db", 3, &[]), container("web", 1, &["server"]), container("server", 2, &["db"])];
        assert_eq!(order(&chain), ["web", "server", "db"]);
    }

    #[test]
    fn among_equals_the_youngest_stops_first() {
        let equals = [container("a", 1, &[]), container("c", 3, &[]), container("b", 2, &[])];
        assert_eq!(order(&equals), ["c", "b", "a"]);
        let fraction = |text: &str| format!("2026-01-01T00:00:00{text}");
        let earlier = Container { created: fraction("Z"), ..container("earlier", 0, &[]) };
        let later = Container { created: fraction(".5Z"), ..container("later", 0, &[]) };
        assert_eq!(order(&[later, earlier]), ["later", "earlier"]);
    }

    #[test]
    fn ids_count_anywhere_and_services_in_their_project() {
        let of = |project: &str, container: Container| Container {
            project: Some(project.to_owned()),
            service: Some("db".to_owned()),
            ..container
        };
        let young = of("b", container("b-db-1", 9, &[]));
        let own = of("a", container("a-db-1", 8, &[]));
        let web = Container {
            project: Some("a".to_owned()),
            depends_on: vec!["db".to_owned()],
            ..container("a-web-1", 1, &[])
        };
        assert_eq!(order(&[own, web, young]), ["b-db-1", "a-web-1", "a-db-1"]);
        assert_eq!(order(&[container("net", 9, &[]), container("guest", 1, &["idnet"])]), ["guest", "net"]);
    }

    #[test]
    fn cycles_end() {
        let cycle = [container("a", 1, &["b"]), container("b", 2, &["a"]), container("self", 3, &["self"])];
        assert_eq!(order(&cycle), ["self", "b", "a"]);
    }
}
