//! PostgreSQL's database clusters in trees and archives, as values: which directories are clusters, their major versions,
//! what says that a server was running, and the links that lead out of the tree.
//!
//! A cluster's directory holds `PG_VERSION`, `base` and `global` ([database file layout]). Everything in it can be written
//! by a container, so what is kept of it is bounded.
//!
//! [database file layout]: https://www.postgresql.org/docs/current/storage-file-layout.html

use std::collections::BTreeMap;
use std::fmt;
use std::os::unix::ffi::OsStrExt as _;

use crate::member::{Kind, RelPath, printable};

/// How many bytes of a `PG_VERSION` are read; the server reads at most 63.
pub(crate) const VERSION_BYTES: usize = 63;

/// The most directories of one tree that are examined.
const MAX_DIRECTORIES: usize = 64;

/// The most links of one tree that are kept. A cluster has one for each tablespace.
const MAX_LINKS: usize = 256;

/// Longer paths and targets (`PATH_MAX`) are not kept.
const MAX_PATH: usize = 4096;

/// The deepest directory below the root of a tree that an image or a distribution uses for a cluster: `18/docker`,
/// `15/main`.
pub(crate) const DEEPEST: usize = 2;

/// A major version of PostgreSQL: a server starts only on files of its own. Since 10 it is one number, before it was two.
///
/// ```
/// use voltar::postgres::MajorVersion;
///
/// let version = |content: &[u8]| MajorVersion::of_file(content).map(|version| version.to_string());
/// assert_eq!(version(b"15\n").as_deref(), Some("15"));
/// assert_eq!(version(b"9.6\n").as_deref(), Some("9.6"));
/// assert_eq!(version(b"fifteen\n"), None);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MajorVersion {
    first: u32,
    /// Only before 10.
    second: Option<u32>,
}

impl MajorVersion {
    /// Parses the content of a `PG_VERSION`; `None` if it is not a version.
    #[must_use]
    pub fn of_file(content: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(content).ok()?.trim_ascii();
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        if is_number { Self::of_release(text) } else { None }
    }

    /// Parses the beginning of a release's name: `15.4`, `15-alpine`, `16rc1`.
    fn of_release(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let mut numbers = text.get(..end)?.split('.').map(str::parse);
        let first = numbers.next()?.ok().filter(|&first| first > 0)?;
        let second = numbers.next().and_then(Result::ok).filter(|_| first < 10);
        Some(Self { first, second })
    }
}

impl fmt::Display for MajorVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.second {
            None => write!(f, "{}", self.first),
            Some(second) => write!(f, "{}.{second}", self.first),
        }
    }
}

/// The PostgreSQL server of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its major version.
    pub version: MajorVersion,
    /// The directory of its cluster (`PGDATA`) without the leading slash; `None` if it is not known.
    pub cluster: Option<RelPath>,
}

impl Server {
    /// Returns the server of a container with this environment, which includes that of its image, and this name of its
    /// image; `None` if they do not tell a version.
    #[must_use]
    pub fn of_container(environment: &[String], image: &str) -> Option<Self> {
        let value = |name: &str| environment.iter().find_map(|one| one.strip_prefix(name)?.strip_prefix('='));
        // By the images of PostgreSQL and those made of them, of Red Hat, and of Bitnami.
        let bitnami = value("APP_VERSION").filter(|_| value("BITNAMI_APP_NAME") == Some("postgresql"));
        let named = [value("PG_MAJOR"), value("POSTGRESQL_VERSION"), bitnami, tag_of_image(image)];
        let version = named.into_iter().flatten().find_map(MajorVersion::of_release)?;
        let cluster = value("PGDATA").and_then(|path| RelPath::parse(path.as_bytes()).ok());
        Some(Self { version, cluster })
    }
}

/// Returns the tag of an image that is called `postgres`, wherever it is from: `postgres:15-alpine`.
fn tag_of_image(image: &str) -> Option<&str> {
    let image = image.split('@').next()?;
    let (name, tag) = image.rsplit('/').next()?.split_once(':')?;
    // Some tags are dates.
    let is_version = tag.bytes().take_while(u8::is_ascii_digit).count() <= 2;
    (matches!(name, "postgres" | "postgresql") && is_version).then_some(tag)
}

/// A cluster that was found in a tree or an archive.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cluster {
    /// Its directory.
    pub at: RelPath,
    /// Its major version; `None` if its `PG_VERSION` was not read, or holds no version.
    pub version: Option<MajorVersion>,
    /// Whether it has a `postmaster.pid`, which a server removes when it is shut down.
    pub has_pid_file: bool,
    /// Its links to tablespaces and to the write-ahead log.
    links: Vec<Link>,
    /// How many links were not kept.
    more_links: u64,
}

/// A link of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Link {
    path: RelPath,
    target: Vec<u8>,
}

/// A link of a cluster that leads out of the archived trees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutsideLink {
    /// The link; `None` for links of which there are too many to examine.
    pub path: Option<RelPath>,
    /// Where it leads to, as it says.
    pub target: Vec<u8>,
}

impl fmt::Display for OutsideLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "'{path}' leads to '{}', which is not in the archive", printable(&self.target)),
            None => f.write_str("it has too many links to tablespaces to see where all of them lead"),
        }
    }
}

/// Returns the warning of an archive with a cluster that was not shut down, whose pid file is `pid_file`.
pub(crate) fn not_shut_down(pid_file: &RelPath) -> String {
    format!(
        "'{pid_file}' is in the archive: PostgreSQL was running, or had been killed, when it was made. When it is started it \
         recovers from its write-ahead log, which can fail if files were changing while they were archived"
    )
}

impl Cluster {
    /// Returns the path of its `postmaster.pid`.
    #[must_use]
    pub fn pid_file(&self) -> RelPath {
        self.at.join(b"postmaster.pid").unwrap_or_default()
    }

    /// Returns the links that lead out of `archived`, the paths in the container that are archived together. `root` is the
    /// path in the container of the tree that holds the cluster.
    ///
    /// Only the names decide: a link in the tree that is passed on the way is taken for a directory.
    #[must_use]
    pub fn outside_links(&self, root: &RelPath, archived: &[RelPath]) -> Vec<OutsideLink> {
        let is_inside = |link: &&Link| {
            let target = target_in_container(&root.concat(&link.path), &link.target);
            target.is_some_and(|target| archived.iter().any(|tree| target.strip_prefix(tree).is_some()))
        };
        let outside = self.links.iter().filter(|link| !is_inside(link));
        let outside = outside.map(|link| OutsideLink { path: Some(link.path.clone()), target: link.target.clone() });
        let unknown = (self.more_links > 0).then(|| OutsideLink { path: None, target: Vec::new() });
        outside.chain(unknown).collect()
    }
}

#[cfg(test)]
impl Cluster {
    /// Returns the cluster at `at` with this content of its `PG_VERSION`.
    pub(crate) fn of_version(at: RelPath, version: &str) -> Self {
        Self { at, version: MajorVersion::of_file(version.as_bytes()), ..Self::default() }
    }
}

/// Returns the path, from the root of the container, to which a link at `link` leads.
fn target_in_container(link: &RelPath, target: &[u8]) -> Option<RelPath> {
    let mut steps: Vec<&[u8]> = Vec::new();
    if !target.starts_with(b"/") {
        steps.extend(link.components());
        steps.pop();
    }
    for step in target.split(|&byte| byte == b'/') {
        match step {
            b"" | b"." => {}
            // The root directory is its own parent.
            b".." => drop(steps.pop()),
            name => steps.push(name),
        }
    }
    RelPath::parse(&steps.join(&b'/')).ok()
}

/// Finds the clusters among the members of a tree or an archive, in any order.
///
/// ```
/// use voltar::member::{Kind, RelPath};
/// use voltar::postgres::Clusters;
///
/// let mut clusters = Clusters::default();
/// for (name, kind) in [("pg/PG_VERSION", Kind::File { size: 3 }), ("pg/base", Kind::Directory)] {
///     clusters.member(&RelPath::parse(name.as_bytes())?, &kind);
/// }
/// clusters.version(&RelPath::parse(b"pg/PG_VERSION")?, b"15\n");
/// let found = clusters.found();
/// assert_eq!(found.iter().map(|cluster| cluster.at.to_string()).collect::<Vec<_>>(), ["pg"]);
/// # Ok::<(), voltar::member::BadPath>(())
/// ```
#[derive(Debug, Default)]
pub struct Clusters {
    directories: BTreeMap<RelPath, Seen>,
    links: usize,
}

/// What was seen in a directory that may be a cluster's.
#[derive(Debug, Default)]
struct Seen {
    has_version: bool,
    has_data: bool,
    cluster: Cluster,
}

impl Seen {
    /// Every database of a cluster has a `PG_VERSION` too, but nothing else of this.
    fn is_cluster(&self) -> bool {
        let Cluster { at, has_pid_file, links, .. } = &self.cluster;
        self.has_version && (self.has_data || *has_pid_file || !links.is_empty() || at.is_root())
    }
}

impl Clusters {
    /// Takes note of a member.
    pub fn member(&mut self, path: &RelPath, kind: &Kind) {
        let Some((directory, name)) = path.split_last() else { return };
        match (name.as_bytes(), kind) {
            (b"PG_VERSION", Kind::File { .. } | Kind::HardLink { .. }) => {
                // A later member of the same name replaces an earlier one.
                self.seen(directory, |seen| (seen.has_version, seen.cluster.version) = (true, None));
            }
            (b"base" | b"global", Kind::Directory) => self.seen(directory, |seen| seen.has_data = true),
            (b"postmaster.pid", Kind::File { .. } | Kind::HardLink { .. }) => {
                self.seen(directory, |seen| seen.cluster.has_pid_file = true);
            }
            (b"pg_wal" | b"pg_xlog", Kind::Symlink { target }) => self.link(directory, path, target),
            (_, Kind::Symlink { target }) => {
                if let Some((cluster, name)) = directory.split_last()
                    && name == "pg_tblspc"
                {
                    self.link(cluster, path, target);
                }
            }
            (
                _,
                Kind::File { .. }
                | Kind::Directory
                | Kind::HardLink { .. }
                | Kind::Fifo
                | Kind::CharDevice { .. }
                | Kind::BlockDevice { .. },
            ) => {}
        }
    }

    /// Takes note of the first `VERSION_BYTES` bytes of a file, if that is a `PG_VERSION`.
    pub fn version(&mut self, path: &RelPath, content: &[u8]) {
        if let Some((directory, name)) = path.split_last()
            && name == "PG_VERSION"
        {
            self.seen(directory, |seen| seen.cluster.version = MajorVersion::of_file(content));
        }
    }

    /// Returns the version of a cluster at the root, once it is known.
    pub(crate) fn version_of_root(&self) -> Option<MajorVersion> {
        self.directories.get(&RelPath::root())?.cluster.version
    }

    /// Returns the clusters, in the order of their paths.
    #[must_use]
    pub fn found(self) -> Vec<Cluster> {
        let clusters = self.directories.into_values().filter(Seen::is_cluster);
        clusters.map(|seen| seen.cluster).collect()
    }

    fn seen(&mut self, directory: RelPath, note: impl FnOnce(&mut Seen)) {
        if let Some(seen) = self.directories.get_mut(&directory) {
            return note(seen);
        }
        let is_full = self.directories.len() >= MAX_DIRECTORIES && !directory.is_root();
        if is_full || directory.as_bytes().len() > MAX_PATH || is_of_database(&directory) {
            return;
        }
        let cluster = Cluster { at: directory.clone(), ..Cluster::default() };
        note(self.directories.entry(directory).or_insert(Seen { cluster, ..Seen::default() }));
    }

    fn link(&mut self, directory: RelPath, path: &RelPath, target: &[u8]) {
        let is_kept = self.links < MAX_LINKS && path.as_bytes().len().max(target.len()) <= MAX_PATH;
        self.links += usize::from(is_kept);
        self.seen(directory, |seen| {
            let Cluster { links, more_links, .. } = &mut seen.cluster;
            if !is_kept {
                *more_links += 1;
            } else if let Some(earlier) = links.iter_mut().find(|earlier| earlier.path == *path) {
                target.clone_into(&mut earlier.target);
            } else {
                links.push(Link { path: path.clone(), target: target.to_owned() });
            }
        });
    }
}

/// Returns whether `directory` is that of one database: `base/16384`, or one in a tablespace.
fn is_of_database(directory: &RelPath) -> bool {
    let parent = directory.split_last().and_then(|(parent, _)| Some(parent.split_last()?.1.as_bytes().to_owned()));
    parent.is_some_and(|name| name == b"base" || name.starts_with(b"PG_"))
}

/// Returns whether `path` is the `PG_VERSION` of a cluster at the root of a tree or, in some images, below.
pub(crate) fn is_cluster_version(path: &RelPath) -> bool {
    path.split_last().is_some_and(|(directory, name)| {
        name == "PG_VERSION" && directory.components().count() <= DEEPEST && !is_of_database(&directory)
    })
}

/// Returns whether `path` is named like a file that holds the version of a cluster.
pub(crate) fn is_version_file(path: &RelPath) -> bool {
    path.as_bytes().strip_suffix(b"PG_VERSION").is_some_and(|rest| rest.is_empty() || rest.ends_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Kind = Kind::File { size: 3 };

    fn path(name: &str) -> RelPath {
        RelPath::parse(name.as_bytes()).unwrap()
    }

    fn link(target: &str) -> Kind {
        Kind::Symlink { target: target.as_bytes().to_vec() }
    }

    fn found(members: &[(&str, Kind)]) -> Vec<Cluster> {
        let mut clusters = Clusters::default();
        for (name, kind) in members {
            clusters.member(&path(name), kind);
        }
        clusters.found()
    }

    fn outside(members: &[(&str, Kind)], archived: &[&str]) -> Vec<String> {
        let archived: Vec<RelPath> = archived.iter().map(|one| path(one)).collect();
        let clusters = found(members);
        let links = clusters.iter().flat_map(|cluster| cluster.outside_links(&archived[0], &archived));
        links.map(|link| link.path.map_or_else(|| "more".to_owned(), |path| path.to_string())).collect()
    }

    #[test]
    fn versions_have_one_number_since_10_and_two_before() {
        let of_file = |content: &[u8]| MajorVersion::of_file(content).map(|version| version.to_string());
        for (content, version) in
            [(&b"15\n"[..], "15"), (b"9.6\n", "9.6"), (b"10", "10"), (b" 12 \r\n", "12"), (b"15.4\n", "15")]
        {
            assert_eq!(of_file(content).as_deref(), Some(version));
        }
        for content in [&b""[..], b"\n", b"15beta\n", b"0\n", b".6\n", b"-1\n", b"1\x005\n", b"\xff", b"99999999999999"]
        {
            assert_eq!(of_file(content), None, "{content:?}");
        }
        assert_ne!(MajorVersion::of_file(b"9.5"), MajorVersion::of_file(b"9.6"));
        assert_eq!(MajorVersion::of_file(b"15"), MajorVersion::of_release("15.4-1.pgdg120+1"));
    }

    #[test]
    fn the_environment_of_a_container_says_which_server_it_runs_before_its_image() {
        let server = |environment: &[&str], image: &str| {
            let environment: Vec<String> = environment.iter().map(|&one| one.to_owned()).collect();
            Server::of_container(&environment, image)
        };
        let version = |environment: &[&str], image: &str| {
            server(environment, image).map_or_else(|| "none".to_owned(), |server| server.version.to_string())
        };
        assert_eq!(version(&["PG_MAJOR=10", "PG_VERSION=10.20"], "postgres:15-alpine"), "10");
        assert_eq!(version(&["POSTGRESQL_VERSION=13"], "registry/rhel/postgresql-13"), "13");
        assert_eq!(version(&["BITNAMI_APP_NAME=postgresql", "APP_VERSION=14.2.0"], "mirror/pg"), "14");
        assert_eq!(version(&["APP_VERSION=14.2.0"], "web"), "none");
        assert_eq!(version(&["PG_MAJOR="], "postgres:9.6"), "9.6");
        assert_eq!(version(&[], "registry:5000/library/postgres:16rc1@sha256:0123"), "16");
        for image in
            ["postgres", "postgres:latest", "postgres:20240101", "web:15", "registry:5000/postgres", "a/web:1", ""]
        {
            assert_eq!(version(&[], image), "none", "{image}");
        }
        let cluster = server(&["PG_MAJOR=18", "PGDATA=/var/lib/postgresql/18/docker"], "postgres").unwrap().cluster;
        assert_eq!(cluster, Some(path("var/lib/postgresql/18/docker")));
        assert_eq!(server(&["PG_MAJOR=18", "PGDATA=/a/../b"], "postgres").unwrap().cluster, None);
    }

    #[test]
    fn a_cluster_is_found_in_any_order_and_its_databases_are_none() {
        let members = [
            ("x/global", Kind::Directory),
            ("x/postmaster.pid", FILE),
            ("x/base/1/PG_VERSION", FILE),
            ("x/PG_VERSION", FILE),
            ("y/PG_VERSION", FILE),
            ("z/base", Kind::Directory),
            ("v/PG_VERSION", Kind::Directory),
            ("v/base", Kind::Directory),
        ];
        let clusters = found(&members);
        assert_eq!(
            clusters.iter().map(|one| (one.at.to_string(), one.has_pid_file)).collect::<Vec<_>>(),
            [("x".to_owned(), true)]
        );
        assert_eq!(clusters[0].pid_file(), path("x/postmaster.pid"));
        assert_eq!(found(&[("PG_VERSION", FILE)]).len(), 1, "the root of a tree");
        assert!(!found(&[("PG_VERSION", FILE), ("postmaster.pid", Kind::Directory)])[0].has_pid_file);
    }

    #[test]
    fn the_last_version_of_an_archive_counts() {
        let mut clusters = Clusters::default();
        for content in [b"10\n", b"15\n"] {
            clusters.member(&path("PG_VERSION"), &FILE);
            assert_eq!(clusters.version_of_root(), None);
            clusters.version(&path("PG_VERSION"), content);
            clusters.version(&path("base/1/PG_VERSION"), b"9\n");
            clusters.version(&path("postgresql.conf"), b"9\n");
        }
        assert_eq!(clusters.version_of_root().unwrap().to_string(), "15");
        assert_eq!(clusters.found()[0].version.unwrap().to_string(), "15");
    }

    #[test]
    fn links_of_a_cluster_that_leave_the_archived_trees_are_outside() {
        let data = "var/lib/postgresql/data";
        let members = |target: &str| {
            [
                ("PG_VERSION", FILE),
                ("base", Kind::Directory),
                ("pg_tblspc/16385", link(target)),
                ("other", link("/etc")),
            ]
        };
        for target in ["/mnt/fast", "../..", "../../../elsewhere", "/var/lib/postgresql/data2/x", "/", "/../mnt"] {
            assert_eq!(outside(&members(target), &[data]), ["pg_tblspc/16385"], "{target}");
        }
        for target in [
            "/var/lib/postgresql/data/fast",
            "../fast",
            "..",
            "",
            "/var/./lib/postgresql//x/../data",
            "/../var/lib/postgresql/data/x",
        ] {
            assert_eq!(outside(&members(target), &[data]), Vec::<String>::new(), "{target}");
        }
        assert_eq!(outside(&members("/mnt/fast/1"), &[data, "mnt"]), Vec::<String>::new());
        for wal in ["pg_wal", "pg_xlog"] {
            assert_eq!(outside(&[(wal, link("/wal")), ("PG_VERSION", FILE)], &[data]), [wal]);
            assert_eq!(outside(&[(wal, link("/wal")), ("base", Kind::Directory)], &[data]), Vec::<String>::new());
        }
        assert_eq!(outside(&[("d/pg_wal", link("../wal")), ("d/PG_VERSION", FILE)], &[data]), Vec::<String>::new());
    }

    #[test]
    fn what_is_kept_of_a_hostile_tree_is_bounded() {
        let mut clusters = Clusters::default();
        for number in 0..1000 {
            clusters.member(&path(&format!("{number}/PG_VERSION")), &FILE);
            clusters.member(&path(&format!("{number}/base")), &Kind::Directory);
        }
        assert_eq!(clusters.directories.len(), MAX_DIRECTORIES);
        clusters.member(&path("PG_VERSION"), &FILE);
        for number in 0..1000 {
            clusters.member(&path(&format!("pg_tblspc/{number}")), &link("/var/x"));
        }
        clusters.member(&path(&format!("{}/PG_VERSION", "long/".repeat(1000))), &FILE);
        let found = clusters.found();
        assert_eq!((found.len(), found[0].links.len(), found[0].more_links), (MAX_DIRECTORIES + 1, MAX_LINKS, 744));
        let outside = found[0].outside_links(&path("var"), &[path("var")]);
        assert_eq!(outside, [OutsideLink { path: None, target: Vec::new() }]);
        let long = link(&"x".repeat(MAX_PATH + 1));
        assert_eq!(self::outside(&[("PG_VERSION", FILE), ("pg_wal", long)], &["var"]), ["more"]);
        let longest = link(&"x".repeat(MAX_PATH));
        assert_eq!(self::outside(&[("PG_VERSION", FILE), ("pg_wal", longest)], &["var"]), Vec::<String>::new());
    }

    #[test]
    fn a_cluster_is_expected_at_most_two_directories_below_the_root() {
        for name in ["PG_VERSION", "data/PG_VERSION", "18/docker/PG_VERSION"] {
            assert!(is_cluster_version(&path(name)) && is_version_file(&path(name)), "{name}");
        }
        for name in
            ["a/b/c/PG_VERSION", "base/1/PG_VERSION", "data/base/1/PG_VERSION", "PG_VERSIONS", "PG_15_1/5/PG_VERSION"]
        {
            assert!(!is_cluster_version(&path(name)), "{name}");
        }
        assert!(!is_version_file(&path("my_PG_VERSION")) && !is_version_file(&path("PG_VERSION/x")));
    }
}
