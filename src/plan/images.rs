//! Whether the containers that use what is restored have the images that they had when the set was made.

use super::users;
use crate::host::Container;
use crate::manifest::{ArchivedContainer, Manifest};
use crate::member::printable;
use crate::resolve::Target;

/// Returns a note for each set of which a container has another image now: an application need not be able to read the data
/// of another version. CVAT's guide restores with exactly the version of the backup, and upgrades afterwards.
pub(super) fn other_images(manifests: &[Manifest], targets: &[Target]) -> Vec<String> {
    differences(manifests, &users(targets.iter()))
}

fn differences(manifests: &[Manifest], now: &[Container]) -> Vec<String> {
    let note = |manifest: &Manifest| {
        let differences: Vec<String> = now.iter().filter_map(|now| difference(now, manifest)).collect();
        (!differences.is_empty()).then(|| {
            format!(
                "since the set was made, images have changed: {}. Restore with the images of the backup, and upgrade \
                 afterwards, unless the application is known to read the data of the other version",
                differences.join(", ")
            )
        })
    };
    manifests.iter().filter_map(note).collect()
}

/// Returns how the image of a container differs from that of the same container when a set was made.
fn difference(now: &Container, manifest: &Manifest) -> Option<String> {
    let is_same = |then: &ArchivedContainer| match (&then.service, &now.service) {
        // On another host, or in another project, the container may have another name.
        (Some(then), Some(now)) => then == now,
        _ => then.name == now.name,
    };
    let then = manifest.containers.iter().find(|then| is_same(then))?;
    let (name, image) = (printable(now.name.as_bytes()), printable(now.image.as_bytes()));
    if then.image != now.image {
        return Some(format!("'{name}' has {image}, and had {}", printable(then.image.as_bytes())));
    }
    let ids = [&then.image_id, &now.image_id];
    (ids[0] != ids[1] && ids.iter().all(|id| !id.is_empty())).then(|| format!("'{name}' has another {image}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::mounts::MountTree;
    use crate::ids::IdMap;
    use crate::member::RelPath;

    fn target(users: Vec<Container>) -> Target {
        Target {
            archive: "db".to_owned(),
            container: None,
            by_name: false,
            project: None,
            tree: MountTree { path: RelPath::root(), mounts: Vec::new(), ids: IdMap::default() },
            alternative_paths: Vec::new(),
            users,
        }
    }

    fn container(name: &str, service: Option<&str>, image: &str, id: &str) -> Container {
        Container {
            id: format!("id of {name}"),
            name: name.to_owned(),
            service: service.map(str::to_owned),
            image: image.to_owned(),
            image_id: id.to_owned(),
            ..Container::default()
        }
    }

    #[test]
    fn only_images_that_have_changed_are_noted() {
        let then = |name: &str, service: Option<&str>, image: &str, id: &str| {
            let Container { name, service, image, image_id, .. } = container(name, service, image, id);
            ArchivedContainer { name, service, image, image_id, stopped: None, started: None }
        };
        let containers = vec![
            then("old-server-1", Some("server"), "cvat/server:v2.4.0", "sha256:1"),
            then("db", None, "postgres:15", "sha256:2"),
            then("cache", None, "redis:7", ""),
        ];
        let manifest = Manifest { containers, ..Manifest::new(jiff::Timestamp::UNIX_EPOCH) };
        let of = |containers: Vec<Container>| other_images(std::slice::from_ref(&manifest), &[target(containers)]);
        let same = vec![
            container("server-1", Some("server"), "cvat/server:v2.4.0", "sha256:1"),
            container("db", Some("db"), "postgres:15", ""),
            container("cache", None, "redis:7", "sha256:9"),
            container("new", None, "nginx", "sha256:4"),
        ];
        assert_eq!(of(same), [""; 0]);
        let other = vec![
            container("server-1", Some("server"), "cvat/server:v2.5.0\u{1b}", "sha256:1"),
            container("db", Some("db"), "postgres:15", "sha256:3"),
        ];
        let notes = of(other);
        assert_eq!(notes.len(), 1, "{notes:?}");
        let what = r"'server-1' has cvat/server:v2.5.0\033, and had cvat/server:v2.4.0, 'db' has another postgres:15. ";
        assert!(notes[0].contains(what), "{notes:?}");
    }
}
