//! The order in which containers are stopped and, reversed, started again.

use crate::host::inventory::{Container, Dependency};

/// Returns the containers in ranks, which are stopped one after the other: each container in an earlier rank than those
/// that it depends on. Those of one rank do not depend on each other; the one created last comes first. A cycle is broken at
/// the container created last.
#[must_use]
pub(super) fn ranks<'a>(containers: &[&'a Container]) -> Vec<Vec<&'a Container>> {
    let mut waiting: Vec<&Container> = containers.to_vec();
    waiting.sort_by(|a, b| created(b).cmp(&created(a)).then_with(|| a.name.cmp(&b.name)));
    let mut ranks = Vec::new();
    while !waiting.is_empty() {
        let is_needed = |one: &Container| waiting.iter().any(|other| other.id != one.id && needs(other, one));
        let (later, mut rank): (Vec<&Container>, Vec<&Container>) = waiting.iter().partition(|one| is_needed(one));
        waiting = later;
        if rank.is_empty() {
            rank.push(waiting.remove(0));
        }
        ranks.push(rank);
    }
    ranks
}

/// Returns the ids of those of `others` that must be healthy before `container` is started.
pub(super) fn must_be_healthy(container: &Container, others: &[&Container]) -> Vec<String> {
    let healthy = others.iter().filter(|other| {
        other.id != container.id && container.depends_on.iter().any(|on| on.healthy && refers(on, container, other))
    });
    healthy.map(|other| other.id.clone()).collect()
}

/// Parses the time of creation. Engines trim the trailing zeros of a fraction, so the texts do not sort like the times.
fn created(container: &Container) -> Option<jiff::Timestamp> {
    container.created.parse().ok()
}

fn needs(dependent: &Container, other: &Container) -> bool {
    dependent.depends_on.iter().any(|on| refers(on, dependent, other))
}

/// Returns whether `reference` of `dependent` is to `other`.
fn refers(reference: &Dependency, dependent: &Container, other: &Container) -> bool {
    let on = &reference.on;
    let same_project = dependent.project == other.project;
    *on == other.name || *on == other.id || (same_project && other.service.as_ref() == Some(on))
}

#[cfg(test)]
mod tests {
    use super::super::fake_host::container;
    use super::*;

    /// Returns the names in each rank.
    fn order(containers: &[Container]) -> Vec<String> {
        let names = |rank: Vec<&Container>| rank.iter().map(|one| one.name.clone()).collect::<Vec<_>>().join(" ");
        ranks(&containers.iter().collect::<Vec<_>>()).into_iter().map(names).collect()
    }

    #[test]
    fn dependents_stop_before_what_they_need() {
        let chain = [container("db", 3, &[]), container("web", 1, &["server"]), container("server", 2, &["db"])];
        assert_eq!(order(&chain), ["web", "server", "db"]);
        // What several others need waits for all of them.
        let diamond = [
            container("web", 1, &["api", "db"]),
            container("api", 2, &["db"]),
            container("job", 3, &["db"]),
            container("db", 4, &[]),
            container("mail", 5, &[]),
        ];
        assert_eq!(order(&diamond), ["mail job web", "api", "db"]);
    }

    #[test]
    fn among_equals_the_youngest_comes_first() {
        let equals = [container("a", 1, &[]), container("c", 3, &[]), container("b", 2, &[])];
        assert_eq!(order(&equals), ["c b a"]);
        let fraction = |text: &str| format!("2026-01-01T00:00:00{text}");
        let earlier = Container { created: fraction("Z"), ..container("earlier", 0, &[]) };
        let later = Container { created: fraction(".5Z"), ..container("later", 0, &[]) };
        assert_eq!(order(&[later, earlier]), ["later earlier"]);
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
        let mut web = Container { project: Some("a".to_owned()), ..container("a-web-1", 1, &["db"]) };
        assert_eq!(order(&[own.clone(), web.clone(), young.clone()]), ["b-db-1 a-web-1", "a-db-1"]);
        assert_eq!(order(&[container("net", 9, &[]), container("guest", 1, &["idnet"])]), ["guest", "net"]);
        let all = [&own, &web, &young];
        assert_eq!(must_be_healthy(&web, &all), Vec::<String>::new());
        web.depends_on[0].healthy = true;
        assert_eq!(must_be_healthy(&web, &[&own, &web, &young]), ["ida-db-1"]);
    }

    #[test]
    fn cycles_end() {
        let cycle = [container("a", 1, &["b"]), container("b", 2, &["a"]), container("self", 3, &["self"])];
        assert_eq!(order(&cycle), ["self", "b", "a"]);
    }
}
