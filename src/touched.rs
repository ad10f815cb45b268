//! Which containers of a host concern a layout. On a host with hundreds of containers only these are inspected.
//!
//! The list of all containers does not have the parts of volumes that are mounted (`volume-subpath`), so that a container
//! counts as soon as it mounts anything of the same volumes and directories, or of what is above or below them.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::Result;
use crate::host::{Container, Host, Inventory, Mount, MountKind, Volume, mounts};
use crate::layout::{ArchiveSpec, Layout};
use crate::member::RelPath;

/// Reads the inventory of a host, with those containers that concern any archive of `layout`, or one of the volumes that
/// the user has named for its archives. With `whole_projects`, all containers of their compose projects are among them.
///
/// # Errors
/// As [`Host::inventory`].
pub fn inventory(
    host: &dyn Host,
    layout: &Layout,
    volumes: &BTreeMap<String, String>,
    whole_projects: bool,
) -> Result<Inventory> {
    host.inventory_of(&|listed| touched(layout, volumes, listed, whole_projects))
}

/// Returns the ids of the containers that concern the layout: those which it names, and all that may use the same files.
fn touched(
    layout: &Layout,
    by_name: &BTreeMap<String, String>,
    listed: &Inventory,
    whole_projects: bool,
) -> BTreeSet<String> {
    let named: Vec<&Container> = listed.containers.iter().filter(|container| is_named(layout, container)).collect();
    let is_meant = |volume: &&Volume| is_of_layout(layout, volume) || by_name.values().any(|name| *name == volume.name);
    let volumes: Vec<&Volume> = listed.volumes.iter().filter(is_meant).collect();
    let mut sources: Vec<Mount> = Vec::new();
    for mount in
        named.iter().flat_map(|container| &container.mounts).cloned().chain(volumes.iter().copied().map(mounted))
    {
        let is_same = |known: &Mount| known.kind == mount.kind && known.source == mount.source;
        if !sources.iter().any(is_same) {
            sources.push(mount);
        }
    }
    let of_volumes = volumes.iter().filter_map(|volume| volume.project.as_deref());
    let projects: BTreeSet<&str> =
        named.iter().filter_map(|container| container.project.as_deref()).chain(of_volumes).collect();
    let shares = |mount: &Mount| sources.iter().any(|source| mounts::may_share(listed, mount, source));
    let concerned = listed.containers.iter().filter(|container| {
        let of_project = container.project.as_deref().is_some_and(|project| projects.contains(project));
        (whole_projects && of_project) || is_named(layout, container) || container.mounts.iter().any(shares)
    });
    concerned.map(|container| container.id.clone()).collect()
}

fn is_named(layout: &Layout, container: &Container) -> bool {
    let is = |name: &String| *name == container.name || container.service.as_ref() == Some(name);
    let mut alternatives = layout.archives.iter().flat_map(|spec| &spec.alternatives);
    alternatives.any(|alternative| is(&alternative.container)) || layout.gzip_with.as_ref().is_some_and(is)
}

/// Returns whether the layout may mean this volume, by its name in a compose file or its own.
fn is_of_layout(layout: &Layout, volume: &Volume) -> bool {
    layout
        .archives
        .iter()
        .map(ArchiveSpec::volume_name)
        .any(|name| volume.compose_name.as_deref() == Some(name) || volume.name.ends_with(name))
}

/// Returns a mount of the volume.
fn mounted(volume: &Volume) -> Mount {
    Mount {
        destination: "/".to_owned(),
        source: volume.source().map(std::path::Path::to_owned),
        subpath: RelPath::root(),
        kind: MountKind::Volume { name: volume.name.clone(), driver: volume.driver.clone() },
        read_only: false,
        non_recursive: false,
        place: volume.place.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        let text = "[[archive]]\nname = \"db\"\ncontainer = \"db\"\npath = \"/data\"\n";
        Layout::parse("stack.toml", text).unwrap()
    }

    fn volume(name: &str) -> Mount {
        Mount {
            destination: "/data".to_owned(),
            source: Some(format!("/v/{name}/_data").into()),
            subpath: RelPath::root(),
            kind: MountKind::Volume { name: name.to_owned(), driver: "local".to_owned() },
            read_only: false,
            non_recursive: false,
            place: None,
        }
    }

    fn bind(source: &str, read_only: bool) -> Mount {
        Mount { source: Some(source.into()), kind: MountKind::Bind, read_only, ..volume("") }
    }

    fn container(name: &str, mounts: Vec<Mount>) -> Container {
        Container { id: name.to_owned(), name: name.to_owned(), mounts, ..Container::default() }
    }

    fn of(project: &str, container: Container) -> Container {
        Container { project: Some(project.to_owned()), ..container }
    }

    fn selected(inventory: &Inventory, whole_projects: bool) -> Vec<String> {
        touched(&layout(), &BTreeMap::new(), inventory, whole_projects).into_iter().collect()
    }

    #[test]
    fn containers_on_the_same_files_are_touched() {
        let part = Mount { subpath: RelPath::parse(b"a").unwrap(), ..volume("x") };
        let inventory = Inventory {
            containers: vec![
                container("db", vec![volume("x"), bind("/srv/media", false)]),
                container("worker", vec![volume("x")]),
                container("reader of a part", vec![Mount { read_only: true, ..part }]),
                container("by path", vec![bind("/v/x/_data/deep", true)]),
                container("above", vec![bind("/v", false)]),
                // What it mounts read-only could be a part that is the tree itself: the inspection tells.
                container("above, reading", vec![bind("/", true)]),
                container("below", vec![bind("/srv/media/raw", true)]),
                container("beside", vec![volume("y"), bind("/srv/medial", false)]),
                container("nothing", vec![]),
            ],
            ..Inventory::default()
        };
        let expected =
            ["above", "above, reading", "below", "by path", "db", "reader of a part", "worker"].map(str::to_owned);
        assert_eq!(selected(&inventory, false), expected);
    }

    #[test]
    fn the_users_of_a_volume_without_its_container_are_touched() {
        let stored = |name: &str, compose_name: Option<&str>| Volume {
            name: name.to_owned(),
            mountpoint: format!("/v/{name}/_data").into(),
            compose_name: compose_name.map(str::to_owned),
            ..Volume::default()
        };
        let inventory = Inventory {
            containers: vec![
                container("one", vec![volume("named")]),
                container("two", vec![volume("stack_db")]),
                container("three", vec![volume("unrelated")]),
            ],
            volumes: vec![stored("named", Some("db")), stored("stack_db", None), stored("unrelated", Some("other"))],
            ..Inventory::default()
        };
        assert_eq!(selected(&inventory, false), ["one", "two"]);
    }

    #[test]
    fn a_whole_project_is_touched_on_request() {
        let service = |container: Container| Container { service: Some("db".to_owned()), ..container };
        let inventory = Inventory {
            containers: vec![
                of("a", service(container("a-db-1", vec![volume("x")]))),
                of("a", container("a-web-1", vec![])),
                of("b", container("b-web-1", vec![])),
            ],
            ..Inventory::default()
        };
        assert_eq!(selected(&inventory, false), ["a-db-1"]);
        assert_eq!(selected(&inventory, true), ["a-db-1", "a-web-1"]);
    }

    #[test]
    fn users_of_a_volume_that_the_user_names_are_touched() {
        let elsewhere = Volume { name: "nas".to_owned(), mountpoint: "/v/nas/_data".into(), ..Volume::default() };
        let listed = Inventory {
            containers: vec![container("user", vec![volume("nas")]), container("other", vec![volume("y")])],
            volumes: vec![elsewhere],
            ..Inventory::default()
        };
        assert_eq!(selected(&listed, false), Vec::<String>::new());
        let named = BTreeMap::from([("db".to_owned(), "nas".to_owned())]);
        assert_eq!(touched(&layout(), &named, &listed, false).into_iter().collect::<Vec<_>>(), ["user"]);
    }
}
