//! What a plan finds out about PostgreSQL: whether a server can start on what is restored, and whether a backup of its
//! cluster is complete.

use super::facts::Facts;
use crate::error::{Error, Result};
use crate::extractor::Input;
use crate::member::{RelPath, printable};
use crate::postgres::{Cluster, MajorVersion, OutsideLink, Server};
use crate::resolve::Target;

/// The container whose server uses a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerContainer {
    /// Its name.
    pub name: String,
    /// The name of its image.
    pub image: String,
    /// Its server.
    pub server: Server,
}

impl ServerContainer {
    /// Finds the container whose server uses the tree: that of the layout before others that mount the same volume.
    #[must_use]
    pub fn of(target: &Target) -> Option<Self> {
        let mut containers = target.container.iter().chain(&target.users);
        containers.find_map(|container| {
            let server = Server::of_container(&container.environment, &container.image)?;
            Some(Self { name: container.name.clone(), image: container.image.clone(), server })
        })
    }

    /// Returns whether its server uses the cluster at `at` below `root`, the path of a tree with these clusters.
    fn uses(&self, at: &RelPath, root: &RelPath, clusters: &[Cluster]) -> bool {
        let used = self.server.cluster.as_ref().and_then(|path| path.strip_prefix(root));
        match used.filter(|used| clusters.iter().any(|cluster| cluster.at == *used)) {
            Some(used) => used == *at,
            // It cannot be another one.
            None => clusters.len() == 1,
        }
    }
}

/// The major versions of PostgreSQL that must agree, as far as they are known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Versions {
    /// That of the cluster in the archive; `None` if there is none, or if it comes too late in the archive to be known yet.
    pub archive: Option<MajorVersion>,
    /// That of the cluster in the volume.
    pub volume: Option<MajorVersion>,
    /// The container whose server uses the cluster.
    pub server: Option<ServerContainer>,
}

impl Versions {
    /// Returns those of a volume that is archived.
    #[must_use]
    pub fn of_backup(target: &Target, clusters: &[Cluster]) -> Self {
        let volume = clusters.iter().find_map(|cluster| cluster.version);
        Self { archive: None, volume, server: ServerContainer::of(target) }
    }

    /// Returns those of each cluster of an archive; `volume` returns the version in the volume of the cluster at a path.
    fn of_restore(
        target: &Target,
        clusters: &[Cluster],
        volume: impl Fn(&RelPath) -> Option<MajorVersion>,
    ) -> Vec<Self> {
        let server = ServerContainer::of(target);
        let versions = clusters.iter().map(|cluster| Self {
            archive: cluster.version,
            volume: volume(&cluster.at),
            server: server.clone().filter(|server| server.uses(&cluster.at, &target.tree.path, clusters)),
        });
        versions.collect()
    }

    /// Returns the refusal of a restore of these versions, if the archive's is not that of the volume and of the server.
    #[must_use]
    pub fn refusal(&self, name: &str) -> Option<Error> {
        let archive = self.archive?;
        let in_volume = self.volume.filter(|&volume| volume != archive).map(|other| format!("the volume {other}"));
        let other = self.server.as_ref().filter(|one| one.server.version != archive);
        let of_server = other.map(|one| {
            let (container, image) = (printable(one.name.as_bytes()), printable(one.image.as_bytes()));
            format!("the image of '{container}' ({image}) {}", one.server.version)
        });
        let differs = match (in_volume, of_server) {
            (None, None) => return None,
            (Some(one), Some(two)) => format!("{one} and {two}"),
            (Some(one), None) | (None, Some(one)) => one,
        };
        let error = Error::refused(format!(
            "{name}: the archive holds PostgreSQL {archive}, {differs}: a server does not start on the files of another major \
             version"
        ));
        Some(error.hint(match (&other, &self.server) {
            (None, Some(server)) => format!(
                "'{}' is of the archive's version, and can start on it: --force-version replaces what the volume holds",
                printable(server.name.as_bytes())
            ),
            (Some(_), _) | (None, None) => format!(
                "restore with the image of PostgreSQL {archive} (for CVAT: the release that made the backup), dump the database \
                 there with pg_dumpall, and read the dump with psql after the upgrade; --force-version overrides this"
            ),
        }))
    }
}

/// Looks into the beginning of an archive for clusters, if there is anything to compare them with.
///
/// # Errors
/// The run was interrupted.
pub(super) fn versions_at_first(
    target: &Target,
    input: &Input,
    is_database: bool,
    facts: &dyn Facts,
) -> Result<Vec<Versions>> {
    let at_root = facts.live_version(&target.tree, &RelPath::root());
    let server = ServerContainer::of(target);
    if !is_database && at_root.is_none() && server.is_none() {
        return Ok(Vec::new());
    }
    let clusters = facts.first_clusters(input)?;
    if clusters.is_empty() {
        return Ok(vec![Versions { archive: None, volume: at_root, server }]);
    }
    Ok(Versions::of_restore(target, &clusters, |at| facts.live_version(&target.tree, at)))
}

/// Compares the clusters of an archive, all of which has been read, with the volume and the server.
///
/// # Errors
/// The version of one of them is another one.
pub fn check_versions(target: &Target, clusters: &[Cluster], facts: &dyn Facts) -> Result<()> {
    let versions = Versions::of_restore(target, clusters, |at| facts.live_version(&target.tree, at));
    Error::none_of(versions.iter().filter_map(|versions| versions.refusal(&target.archive)).collect())
}

/// Returns the links of clusters that lead to nothing that is archived together with them: neither to `target`, nor to
/// another one of `targets` in the same container.
#[must_use]
pub fn outside_links<'a>(
    target: &Target,
    clusters: &[Cluster],
    targets: impl Iterator<Item = &'a Target>,
) -> Vec<OutsideLink> {
    let id = |target: &Target| target.container.as_ref().map(|container| container.id.clone());
    let beside = targets.filter(|other| id(target).is_some() && id(other) == id(target));
    let root = &target.tree.path;
    let archived: Vec<RelPath> = std::iter::once(root).chain(beside.map(|other| &other.tree.path)).cloned().collect();
    clusters.iter().flat_map(|cluster| cluster.outside_links(root, &archived)).collect()
}

/// Returns the refusal of a backup of clusters with these links.
#[must_use]
pub fn incomplete(archive: &str, outside: &[OutsideLink]) -> Option<Error> {
    let first = outside.first()?;
    let more = match outside.len() {
        1 => String::new(),
        count => format!(" ({} more links do so too)", count - 1),
    };
    Some(Error::refused(format!("{archive}: {first}{more}: PostgreSQL does not start without it")).hint(
        "give that directory an entry of its own in a layout file (--layout), with the same container; or dump the database \
         with pg_dumpall. --allow-outside-links overrides this",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Container;
    use crate::host::mounts::MountTree;
    use crate::ids::IdMap;
    use crate::member::Kind;
    use crate::postgres::Clusters;

    const DATA: &str = "var/lib/postgresql/data";

    fn path(path: &str) -> RelPath {
        RelPath::parse(path.as_bytes()).unwrap()
    }

    /// Returns a container of a PostgreSQL image of `version`, or of another image if that is empty.
    fn container(name: &str, version: &str) -> Container {
        let image = if version.is_empty() { "ubuntu".to_owned() } else { format!("postgres:{version}-alpine") };
        Container { id: name.to_owned(), name: name.to_owned(), image, ..Container::default() }
    }

    fn target(path: &str, container: Option<Container>, users: &[Container]) -> Target {
        Target {
            archive: "db".to_owned(),
            container,
            by_name: false,
            project: None,
            tree: MountTree { path: self::path(path), mounts: Vec::new(), ids: IdMap::default() },
            alternative_paths: Vec::new(),
            users: users.to_vec(),
        }
    }

    fn cluster(at: &str, version: &str) -> Cluster {
        Cluster::of_version(path(at), version)
    }

    /// Returns the refusals of a restore of clusters of these versions, where the volume has one of version `volume`.
    fn refusals(target: &Target, clusters: &[Cluster], volume: &str) -> Vec<Error> {
        let volume = MajorVersion::of_file(volume.as_bytes());
        let versions = Versions::of_restore(target, clusters, |_| volume);
        versions.iter().filter_map(|versions| versions.refusal("db")).collect()
    }

    #[test]
    fn a_restore_needs_one_version_of_archive_volume_and_server() {
        let because = |archive: &str, volume: &str, image: &str| {
            let target = target(DATA, Some(container("cvat_db", image)), &[]);
            let refusals = refusals(&target, &[cluster("", archive)], volume);
            refusals.first().map(|error| {
                let text = error.to_string();
                let text = text.strip_prefix("db: the archive holds PostgreSQL ").unwrap().to_owned();
                let text = text.split(": a server does not start").next().unwrap().to_owned();
                (text, error.advice().unwrap().contains("pg_dumpall"))
            })
        };
        for (archive, volume, image) in [
            ("15", "15", "15"),
            ("15", "", "15"),
            ("15", "15", ""),
            ("15", "", ""),
            ("", "15", "10"),
            ("9.6", "9.6", "9.6"),
        ] {
            assert_eq!(because(archive, volume, image), None, "{archive} {volume} {image}");
        }
        let image = |version| format!("the image of 'cvat_db' (postgres:{version}-alpine) {version}");
        for (archive, volume, server, differs, advises_a_dump) in [
            ("10", "15", "", "10, the volume 15".to_owned(), true),
            ("10", "", "15", format!("10, {}", image("15")), true),
            ("10", "10", "15", format!("10, {}", image("15")), true),
            ("10", "15", "15", format!("10, the volume 15 and {}", image("15")), true),
            ("9.6", "9.5", "", "9.6, the volume 9.5".to_owned(), true),
            // The image was set back for this archive.
            ("10", "15", "10", "10, the volume 15".to_owned(), false),
        ] {
            assert_eq!(
                because(archive, volume, server),
                Some((differs, advises_a_dump)),
                "{archive} {volume} {server}"
            );
        }
    }

    #[test]
    fn the_server_is_that_of_the_layout_before_other_users_of_the_volume() {
        let users = [container("a_tool", ""), container("sidecar", "16")];
        let of = |target: &Target| ServerContainer::of(target).map(|server| server.name);
        assert_eq!(of(&target(DATA, Some(container("db", "15")), &users)).as_deref(), Some("db"));
        assert_eq!(of(&target(DATA, Some(container("db", "")), &users)).as_deref(), Some("sidecar"));
        assert_eq!(of(&target(DATA, None, &users[..1])), None);
    }

    #[test]
    fn of_several_clusters_the_server_is_compared_with_its_own() {
        let server = |data: &str| Container {
            environment: vec!["PG_MAJOR=15".to_owned(), format!("PGDATA={data}")],
            ..container("db", "15")
        };
        let old_and_new = [cluster("14/main", "14"), cluster("15/main", "15")];
        let count = |data: &str, clusters: &[Cluster]| {
            refusals(&target("var/lib/postgresql", Some(server(data)), &[]), clusters, "").len()
        };
        assert_eq!(count("/var/lib/postgresql/15/main", &old_and_new), 0);
        assert_eq!(count("/var/lib/postgresql/14/main", &old_and_new), 1);
        assert_eq!(count("/elsewhere", &old_and_new), 0);
        assert_eq!(count("/elsewhere", &old_and_new[..1]), 1);
        // It is not where the server looks, and so must be the only one.
        assert_eq!(count("/var/lib/postgresql/16/main", &old_and_new[..1]), 1);
    }

    #[test]
    fn links_to_trees_that_are_archived_from_the_same_container_are_inside() {
        let mut clusters = Clusters::default();
        clusters.member(&path("PG_VERSION"), &Kind::File { size: 3 });
        for (name, target) in [("pg_wal", "/wal/pg"), ("pg_tblspc/1", "/fast/1"), ("pg_tblspc/2", "/fast/2")] {
            clusters.member(&path(name), &Kind::Symlink { target: target.as_bytes().to_vec() });
        }
        let clusters = clusters.found();
        let db = target(DATA, Some(container("db", "15")), &[]);
        let refusal = |others: &[Target]| {
            let outside = outside_links(&db, &clusters, others.iter());
            incomplete("db", &outside).map(|error| error.to_string())
        };
        let of = |path: &str, name: &str| target(path, Some(container(name, "")), &[]);
        let expected = "db: 'pg_wal' leads to '/wal/pg', which is not in the archive (2 more links do so too): PostgreSQL \
                        does not start without it";
        assert_eq!(refusal(&[]).as_deref(), Some(expected));
        assert_eq!(refusal(&[of("fast", "web"), target("wal", None, &[])]).as_deref(), Some(expected));
        let first = refusal(&[of("wal", "db")]).unwrap();
        assert!(first.starts_with("db: 'pg_tblspc/1' leads to '/fast/1', which is not in the archive"));
        assert_eq!(refusal(&[of("fast", "db"), of("wal", "db")]), None);
    }
}
