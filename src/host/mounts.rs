//! The mount tree: the directories of the host that make up a path of a container, as `--volumes-from` would mount
//! them, and the containers that use them. It is computed from the inventory alone; [`reality`](super::reality) checks
//! that the directories exist.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::filesystem::Filesystem;
use crate::ids::IdMap;
use crate::member::{RelPath, printable};

use super::inventory::{Container, Inventory, Mount, MountKind, Place, UserNamespace, Volume};

/// The mounts that make up the files at one path of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountTree {
    /// The path in the container, without its leading slash: the prefix of the names of all members.
    pub path: RelPath,
    /// The mount that holds the path itself, if there is one, then the nested mounts, parents before children.
    pub mounts: Vec<TreeMount>,
    /// The map between the ids of its archive and those on disk.
    pub ids: IdMap,
}

/// What to do where a source is not known.
const SOURCE_HINT: &str = "run voltar on the host that has that directory, with the engine that created the container";

/// One mount of a [`MountTree`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeMount {
    /// The mountpoint, relative to the tree's root; empty for the mount that holds the root.
    pub at: RelPath,
    /// The mount source on the host: a directory, or a single file. Empty for a tmpfs.
    pub source: PathBuf,
    /// The path below `source` of what this mount adds to the tree: empty unless the tree's root is below `destination`,
    /// or only a part of a volume is mounted.
    pub beneath: RelPath,
    /// The type of the mount.
    pub kind: MountKind,
    /// The mountpoint in the container.
    pub destination: String,
    /// Whether it is mounted read-only.
    pub read_only: bool,
    /// Whether the filesystems that the host has mounted below the source are not mounted with it.
    pub non_recursive: bool,
    /// Where the source is on this machine; `None` if that is not known.
    pub place: Option<Place>,
    /// The filesystem that the engine mounts at the source while a container uses it.
    pub filesystem: Option<Filesystem>,
    /// Why the content of this nested mount is left out of the tree, if it is.
    pub left_out: Option<LeftOut>,
}

/// Why the content of a nested mount is left out of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeftOut {
    /// The archive of this name holds it.
    Archive(String),
    /// It is mounted read-only, and a restore skips it on request.
    ReadOnly,
}

impl TreeMount {
    /// Returns whether the source is the volume's own directory in the data root, which only Docker writes beside it. A
    /// volume that is bound to another directory has that as its source.
    #[must_use]
    pub(crate) fn is_in_data_root(&self) -> bool {
        matches!(&self.kind, MountKind::Volume { name, .. } if self.source.ends_with(Path::new(name).join("_data")))
    }

    /// Returns the name of its volume; of any other mount, the path of its source.
    #[must_use]
    pub(crate) fn name(&self) -> String {
        match &self.kind {
            MountKind::Volume { name, .. } => name.clone(),
            MountKind::Bind | MountKind::Tmpfs | MountKind::Other(_) => self.source.to_string_lossy().into_owned(),
        }
    }

    /// Returns whether both mounts show the same directory or file.
    #[must_use]
    pub(crate) fn same_source(&self, other: &Self) -> bool {
        let id = |mount: &Self| mount.place.as_ref().and_then(|place| place.lineage.first().copied());
        let same = self.source == other.source || (id(self).is_some() && id(self) == id(other));
        same && self.beneath == other.beneath && self.kind != MountKind::Tmpfs
    }

    /// Returns the directory or file of the host that this mount adds to the tree.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        if self.beneath.is_root() { self.source.clone() } else { self.source.join(self.beneath.as_path()) }
    }
}

impl MountTree {
    /// Returns the mounts that are read-only: a restore must not write through them.
    pub(crate) fn read_only(&self) -> impl Iterator<Item = &TreeMount> {
        self.mounts.iter().filter(|mount| mount.read_only && mount.left_out.is_none())
    }

    /// Returns the mount that holds the path itself. `None` if the path has only mounts below it: it and the directories
    /// down to them are made by the engine in each container, and belong to no volume.
    #[must_use]
    pub fn root(&self) -> Option<&TreeMount> {
        self.mounts.first().filter(|mount| mount.at.is_root())
    }

    /// Returns whether both trees hold the same files; their paths in the containers may differ.
    #[must_use]
    pub(crate) fn same_files(&self, other: &Self) -> bool {
        self.mounts.len() == other.mounts.len()
            && self
                .mounts
                .iter()
                .zip(&other.mounts)
                .all(|(mine, theirs)| mine.at == theirs.at && mine.root() == theirs.root() && mine.kind == theirs.kind)
    }
}

/// Returns whether `path` is on a mount of the container.
#[must_use]
pub(crate) fn covers(container: &Container, path: &RelPath) -> bool {
    root_mount(container, path).is_some()
}

/// Returns whether there are mounts of the container below `path`.
#[must_use]
pub(crate) fn has_below(container: &Container, path: &RelPath) -> bool {
    let below = |mount: &Mount| RelPath::parse(mount.destination.as_bytes()).ok().and_then(|at| at.strip_prefix(path));
    container.mounts.iter().any(|mount| below(mount).is_some())
}

/// Returns the mount at `path` or at its nearest ancestor, and the rest of `path` below that mount.
fn root_mount<'a>(container: &'a Container, path: &RelPath) -> Option<(&'a Mount, RelPath)> {
    container
        .mounts
        .iter()
        .filter_map(|mount| {
            let destination = RelPath::parse(mount.destination.as_bytes()).ok()?;
            Some((mount, path.strip_prefix(&destination)?))
        })
        .min_by_key(|(_, beneath)| beneath.components().count())
}

/// Returns the mount tree of a container at `path`.
///
/// # Errors
/// `path` and all below it are on no mount or on a tmpfs, or the source of a mount is not known.
pub(crate) fn tree(container: &Container, path: &RelPath) -> Result<MountTree> {
    let root = root_mount(container, path);
    if let Some((mount, _)) = &root
        && mount.kind == MountKind::Tmpfs
    {
        return Err(in_memory(container, path, &mount.destination));
    }
    if container.user_namespace == UserNamespace::Own {
        return Err(Error::refused(format!(
            "container '{0}' has a map of ids of its own (as with `podman create --userns` or `--uidmap`), so that the owners \
             of its files are not known",
            container.name
        ))
        .hint(format!(
            "use tar in a container with the same map: podman run --userns=container:{0} --volumes-from {0} …",
            container.name
        )));
    }
    let mut mounts = Vec::new();
    if let Some((mount, beneath)) = &root {
        mounts.push(tree_mount(container, mount, RelPath::root(), beneath)?);
    }
    for nested in &container.mounts {
        let at = RelPath::parse(nested.destination.as_bytes()).ok().and_then(|below| below.strip_prefix(path));
        if let Some(at) = at.filter(|at| !at.is_root()) {
            mounts.push(tree_mount(container, nested, at, &RelPath::root())?);
        }
    }
    let Some(first) = mounts.first() else { return Err(on_no_mount(container, path)) };
    if mounts.iter().all(|mount| mount.kind == MountKind::Tmpfs) {
        return Err(in_memory(container, path, &first.destination));
    }
    // A parent is a prefix of its children, so byte order puts it first.
    mounts.sort_by(|a, b| a.at.cmp(&b.at));
    Ok(MountTree { path: path.clone(), mounts, ids: container.ids.clone() })
}

fn tree_mount(container: &Container, mount: &Mount, at: RelPath, beneath: &RelPath) -> Result<TreeMount> {
    let source = match (&mount.source, &mount.kind) {
        (_, MountKind::Tmpfs) => PathBuf::new(),
        (Some(source), _) => source.clone(),
        (None, _) => {
            return Err(Error::refused(format!(
                "container '{}' has {} at {}, whose path on this host is not known",
                container.name,
                describe(&mount.kind),
                printable(mount.destination.as_bytes()),
            ))
            .hint(SOURCE_HINT));
        }
    };
    Ok(TreeMount {
        at,
        source,
        beneath: mount.subpath.concat(beneath),
        kind: mount.kind.clone(),
        destination: mount.destination.clone(),
        read_only: mount.read_only,
        non_recursive: mount.non_recursive,
        place: mount.place.clone(),
        filesystem: None,
        left_out: None,
    })
}

fn in_memory(container: &Container, path: &RelPath, tmpfs: &str) -> Error {
    Error::refused(format!(
        "container '{}' keeps '/{path}' in memory (tmpfs at {}): it is not on disk",
        container.name,
        printable(tmpfs.as_bytes()),
    ))
    .hint("mount a volume there, or select other archives with --only")
}

fn on_no_mount(container: &Container, path: &RelPath) -> Error {
    let error = Error::refused(format!(
        "'/{path}' of container '{}' is on no mount: it is part of the container and is removed with it",
        container.name
    ));
    let mounts: Vec<String> = container
        .mounts
        .iter()
        .map(|mount| format!("{} ({})", printable(mount.destination.as_bytes()), describe(&mount.kind)))
        .collect();
    error.hint(match mounts.len() {
        0 => "the container has no mounts; is it the right one? A layout file (--layout) can name another".to_owned(),
        _ => format!("its mounts: {}; a layout file (--layout) can name another path", mounts.join(", ")),
    })
}

/// Describes the type of a mount in a message: "volume 'x'", "a bind mount" …
fn describe(kind: &MountKind) -> String {
    match kind {
        MountKind::Volume { name, driver } if driver != "local" => {
            format!("volume '{}' of driver '{}'", printable(name.as_bytes()), printable(driver.as_bytes()))
        }
        MountKind::Volume { name, .. } => format!("volume '{}'", printable(name.as_bytes())),
        MountKind::Bind => "a bind mount".to_owned(),
        MountKind::Tmpfs => "a tmpfs".to_owned(),
        MountKind::Other(name) => format!("a mount of type '{}'", printable(name.as_bytes())),
    }
}

/// Returns the mount tree of a volume whose container does not exist, as if mounted at `path` in it.
///
/// # Errors
/// The directory that holds its files is not known.
pub(crate) fn tree_of_volume(volume: &Volume, path: &RelPath) -> Result<MountTree> {
    let source = volume.source().ok_or_else(|| {
        Error::refused(format!(
            "the path on this host of the directory that volume '{}' is bound to is not known",
            volume.name
        ))
        .hint(SOURCE_HINT)
    })?;
    Ok(MountTree {
        path: path.clone(),
        mounts: vec![TreeMount {
            at: RelPath::root(),
            source: source.to_owned(),
            beneath: RelPath::root(),
            kind: MountKind::Volume { name: volume.name.clone(), driver: volume.driver.clone() },
            destination: format!("/{}", String::from_utf8_lossy(path.as_bytes())),
            read_only: false,
            non_recursive: false,
            place: volume.place.clone(),
            filesystem: volume.filesystem.clone(),
            left_out: None,
        }],
        ids: volume.ids.clone(),
    })
}

/// Adds to the mounts of volumes the filesystems that the engine mounts for them.
pub(crate) fn add_filesystems(tree: &mut MountTree, volumes: &[Volume]) {
    for mount in &mut tree.mounts {
        if let MountKind::Volume { name, .. } = &mount.kind {
            let volume = volumes.iter().find(|volume| &volume.name == name);
            mount.filesystem = volume.and_then(|volume| volume.filesystem.clone());
        }
    }
}

/// Returns the containers that use a volume or directory of the tree, including stopped ones.
///
/// A read-only mount of a directory above the tree does not count: monitoring containers mount `/` that way.
/// A read-only mount of the volume itself counts, because its container would read an incomplete restore.
#[must_use]
pub(crate) fn users<'a>(inventory: &'a Inventory, tree: &MountTree) -> Vec<&'a Container> {
    let uses = |container: &Container| {
        container.mounts.iter().any(|theirs| tree.mounts.iter().any(|ours| touches(inventory, theirs, ours)))
    };
    // Those that are only listed are no users, unless whoever asked for the inventory has overlooked them.
    inventory.all().filter(|container| uses(container)).collect()
}

/// Returns whether what is mounted may have files in common with a volume or directory, whatever parts of the two are used and
/// however they are mounted: where this is false, no [`users`] are found.
#[must_use]
pub(crate) fn may_share(inventory: &Inventory, mount: &Mount, source: &Mount) -> bool {
    let whole = Mount { subpath: RelPath::root(), read_only: false, ..mount.clone() };
    let source = TreeMount {
        at: RelPath::root(),
        source: source.source.clone().unwrap_or_default(),
        beneath: RelPath::root(),
        kind: source.kind.clone(),
        destination: String::new(),
        read_only: false,
        non_recursive: false,
        place: source.place.clone(),
        filesystem: None,
        left_out: None,
    };
    touches(inventory, &whole, &source)
}

fn touches(inventory: &Inventory, theirs: &Mount, ours: &TreeMount) -> bool {
    if ours.kind == MountKind::Tmpfs || theirs.kind == MountKind::Tmpfs {
        return false;
    }
    if let (MountKind::Volume { name: theirs, .. }, MountKind::Volume { name: ours, .. }) = (&theirs.kind, &ours.kind)
        && theirs == ours
    {
        return true;
    }
    if let (Some(their_place), Some(our_place)) = (&theirs.place, &ours.place) {
        let inside = their_place.is_inside(&theirs.subpath, our_place, &ours.beneath);
        let around = our_place.is_inside(&ours.beneath, their_place, &theirs.subpath);
        let is_same = their_place.lineage.first() == our_place.lineage.first();
        if is_same || inside || (around && !theirs.read_only) {
            return true;
        }
    }
    let their_directories = host_directories(inventory, &theirs.kind, theirs.source.as_deref());
    let our_directories = host_directories(inventory, &ours.kind, Some(&ours.source));
    their_directories.iter().any(|their| {
        let their_root = their.join(theirs.subpath.as_path());
        our_directories.iter().any(|our| {
            let root = our.join(ours.beneath.as_path());
            their == our || their_root.starts_with(&root) || (root.starts_with(&their_root) && !theirs.read_only)
        })
    })
}

/// Returns the paths at which the host has a mount's files: its source and, for a volume, its mountpoint.
fn host_directories(inventory: &Inventory, kind: &MountKind, source: Option<&Path>) -> Vec<PathBuf> {
    let mut directories: Vec<PathBuf> = source.map(Path::to_path_buf).into_iter().collect();
    if let MountKind::Volume { name, .. } = kind {
        let volume = inventory.volumes.iter().find(|volume| &volume.name == name);
        let paths = volume.map(|volume| [Some(&*volume.mountpoint), volume.source()]);
        // A plugin may report no mountpoint.
        let known = paths.into_iter().flatten().flatten().filter(|path| !path.as_os_str().is_empty());
        directories.extend(known.map(Path::to_path_buf));
    }
    directories
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::FileId;

    fn path(path: &str) -> RelPath {
        RelPath::parse(path.as_bytes()).unwrap()
    }

    fn volume(name: &str, destination: &str) -> Mount {
        Mount {
            destination: destination.to_owned(),
            source: Some(format!("/var/lib/docker/volumes/{name}/_data").into()),
            subpath: RelPath::root(),
            kind: MountKind::Volume { name: name.to_owned(), driver: "local".to_owned() },
            read_only: false,
            non_recursive: false,
            place: None,
        }
    }

    fn bind(source: &str, destination: &str) -> Mount {
        Mount {
            destination: destination.to_owned(),
            source: Some(source.into()),
            subpath: RelPath::root(),
            kind: MountKind::Bind,
            read_only: false,
            non_recursive: false,
            place: None,
        }
    }

    fn read_only(mount: Mount) -> Mount {
        Mount { read_only: true, ..mount }
    }

    #[test]
    fn only_a_volumes_own_directory_is_in_the_data_root() {
        let is_in_data_root = |mountpoint: &str| {
            let volume = Volume { name: "a".to_owned(), mountpoint: mountpoint.into(), ..Volume::default() };
            let tree = tree_of_volume(&volume, &path("data")).unwrap();
            let bind = TreeMount { kind: MountKind::Bind, ..tree.mounts[0].clone() };
            assert!(!bind.is_in_data_root());
            tree.mounts[0].is_in_data_root()
        };
        assert!(is_in_data_root("/var/lib/docker/volumes/a/_data"));
        assert!(!is_in_data_root("/var/lib/docker/volumes/b/_data") && !is_in_data_root("/srv/a"));
    }

    fn container(name: &str, mounts: Vec<Mount>) -> Container {
        Container { id: format!("id-{name}"), name: name.to_owned(), mounts, ..Container::default() }
    }

    fn names(users: &[&Container]) -> Vec<String> {
        users.iter().map(|user| user.name.clone()).collect()
    }

    /// Such mounts are archived once.
    #[test]
    fn mounts_of_one_directory_are_told_from_mounts_of_others() {
        let placed = |device: u64, mount: Mount| {
            let lineage = vec![FileId { device, inode: 2 }, FileId { device: 1, inode: 1 }];
            Mount { place: Some(Place { path: "/placed".into(), lineage }), ..mount }
        };
        let part = |mount: Mount| Mount { subpath: path("a"), ..mount };
        let of = |mount: Mount| tree(&container("c", vec![mount]), &path("x")).unwrap().mounts.remove(0);
        let same = |one: Mount, other: Mount| of(one).same_source(&of(other));
        assert!(same(volume("v", "/x"), volume("v", "/x")) && same(bind("/a", "/x"), bind("/a", "/x")));
        assert!(!same(volume("v", "/x"), volume("w", "/x")) && !same(bind("/a", "/x"), bind("/b", "/x")));
        assert!(
            !same(part(volume("v", "/x")), volume("v", "/x")) && same(part(volume("v", "/x")), part(volume("v", "/x")))
        );
        assert!(same(placed(7, bind("/a", "/x")), placed(7, bind("/link", "/x"))), "two paths of one directory");
        assert!(!same(placed(7, bind("/a", "/x")), placed(8, bind("/b", "/x"))));
        assert!(!same(placed(7, bind("/a", "/x")), bind("/b", "/x")));
        let tmpfs = || TreeMount { kind: MountKind::Tmpfs, ..of(bind("/a", "/x")) };
        assert!(!tmpfs().same_source(&tmpfs()), "each has files of its own");
    }

    #[test]
    fn trees_of_the_same_files_have_the_same_mounts() {
        let of = |mounts: Vec<Mount>| tree(&container("c", mounts), &path("x")).unwrap();
        let both = || vec![volume("v", "/x"), volume("w", "/x/y")];
        assert!(of(both()).same_files(&of(both())));
        for others in [
            vec![volume("v", "/x")],
            vec![volume("v", "/x"), volume("w", "/x/z")],
            vec![volume("v", "/x"), volume("v", "/x/y")],
            vec![volume("v", "/x"), bind("/var/lib/docker/volumes/w/_data", "/x/y")],
        ] {
            assert!(!of(both()).same_files(&of(others)));
        }
    }

    #[test]
    fn mounts_below_a_path_are_found() {
        let cvat = container("cvat", vec![volume("data", "/home/django/data")]);
        for (at, expected) in
            [("home", true), ("home/django/data", true), ("home/django/data/x", false), ("hom", false)]
        {
            assert_eq!(has_below(&cvat, &path(at)), expected, "{at}");
        }
    }

    #[test]
    fn the_mount_at_the_path_itself() {
        let cvat = container("cvat", vec![volume("keys", "/home/django/keys"), volume("data", "/home/django/data")]);
        let tree = tree(&cvat, &path("/home/django/data")).unwrap();
        assert_eq!(tree.path.as_bytes(), b"home/django/data");
        assert_eq!(tree.mounts.len(), 1);
        assert_eq!(tree.mounts[0].root(), Path::new("/var/lib/docker/volumes/data/_data"));
        assert!(tree.mounts[0].at.is_root() && tree.mounts[0].beneath.is_root());
    }

    #[test]
    fn a_path_below_a_mount_is_on_the_nearest_ancestor() {
        let cvat = container("cvat", vec![bind("/srv/home", "/home"), bind("/srv/django", "/home/django")]);
        let tree = tree(&cvat, &path("/home/django/data/raw")).unwrap();
        assert_eq!(tree.mounts.len(), 1);
        assert_eq!(tree.mounts[0].beneath, path("data/raw"));
        assert_eq!(tree.mounts[0].root(), Path::new("/srv/django/data/raw"));
        assert_eq!(tree.mounts[0].destination, "/home/django");
    }

    #[test]
    fn a_similar_name_is_not_an_ancestor() {
        let cvat = container("cvat", vec![volume("data", "/home/django/dat")]);
        assert!(!covers(&cvat, &path("/home/django/data")));
    }

    #[test]
    fn nested_mounts_come_after_their_parents() {
        let memory = Mount { kind: MountKind::Tmpfs, source: None, ..bind("/", "/data/a/tmp") };
        let cvat = container(
            "cvat",
            vec![memory, volume("b", "/data/a/b"), volume("a", "/data/a"), volume("d", "/data"), volume("x", "/other")],
        );
        let tree = tree(&cvat, &path("/data")).unwrap();
        let shown: Vec<String> = tree.mounts.iter().map(|mount| mount.at.to_string()).collect();
        assert_eq!(shown, [".", "a", "a/b", "a/tmp"]);
        assert_eq!(tree.mounts[3].kind, MountKind::Tmpfs);
        assert_eq!(tree.mounts[3].source, PathBuf::new());
    }

    #[test]
    fn a_path_on_no_mount_is_refused_and_the_mounts_are_listed() {
        let cvat = container("cvat", vec![volume("keys", "/home/django/keys"), bind("/srv", "/share")]);
        let error = tree(&cvat, &path("/home/django/data")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "'/home/django/data' of container 'cvat' is on no mount: it is part of the container and is removed with it"
        );
        assert_eq!(
            error.advice(),
            Some(
                "its mounts: /home/django/keys (volume 'keys'), /share (a bind mount); a layout file (--layout) can name another path"
            )
        );
        let kind = MountKind::Volume { name: "far".to_owned(), driver: "nfs".to_owned() };
        let elsewhere = container("cvat", vec![Mount { kind, ..volume("far", "/far") }]);
        let advice = |container| tree(container, &path("/home")).unwrap_err().advice().unwrap().to_owned();
        assert!(advice(&elsewhere).starts_with("its mounts: /far (volume 'far' of driver 'nfs');"));
        assert!(advice(&container("cvat", Vec::new())).starts_with("the container has no mounts;"));
    }

    /// A restore into one part of a volume may change what another part is a link to.
    #[test]
    fn parts_of_one_directory_may_share_files() {
        let part = |source: &str, at: &str| Mount { subpath: path(at), ..bind(source, "/x") };
        let share = |one: &Mount, other: &Mount| may_share(&Inventory::default(), one, other);
        assert!(share(&part("/srv", "a"), &part("/srv", "b")));
        assert!(share(&read_only(part("/srv", "a")), &bind("/srv/data", "/x")));
        assert!(!share(&bind("/srv", "/x"), &bind("/home", "/x")));
    }

    #[test]
    fn a_path_above_mounts_is_a_tree_without_a_mount_at_its_root() {
        let memory = |at: &str| Mount { kind: MountKind::Tmpfs, source: None, ..bind("/", at) };
        let mounts = [volume("keys", "/home/django/keys"), memory("/home/django/tmp"), volume("a", "/home/django/a/b")];
        let found = tree(&container("cvat", mounts.to_vec()), &path("/home/django")).unwrap();
        let shown: Vec<String> = found.mounts.iter().map(|mount| mount.at.to_string()).collect();
        assert_eq!(shown, ["a/b", "keys", "tmp"]);
        assert_eq!(found.root(), None);
        let error = tree(&container("cvat", vec![memory("/home/django/tmp")]), &path("/home/django")).unwrap_err();
        assert!(error.to_string().starts_with("container 'cvat' keeps '/home/django' in memory"), "{error}");
    }

    #[test]
    fn a_source_that_is_not_known_is_refused() {
        let lost = Mount { source: None, ..bind("/", "/data/share") };
        let error = tree(&container("cvat", vec![volume("d", "/data"), lost]), &path("/data")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "container 'cvat' has a bind mount at /data/share, whose path on this host is not known"
        );
    }

    #[test]
    fn data_in_memory_is_refused() {
        let memory = Mount { kind: MountKind::Tmpfs, source: None, ..bind("/", "/data") };
        assert!(tree(&container("c", vec![memory]), &path("/data")).unwrap_err().to_string().contains("in memory"));
    }

    #[test]
    fn a_container_with_a_map_of_its_own_is_refused() {
        let mapped = Container { user_namespace: UserNamespace::Own, ..container("c", vec![volume("data", "/data")]) };
        let error = tree(&mapped, &path("/data")).unwrap_err();
        assert!(error.to_string().starts_with("container 'c' has a map of ids of its own"), "{error}");
        assert!(error.advice().unwrap().contains("--userns=container:c"));
    }

    #[test]
    fn users_are_all_containers_with_access_to_the_files() {
        let data = "/var/lib/docker/volumes/data/_data";
        let inventory = Inventory {
            containers: vec![
                container("owner", vec![volume("data", "/data")]),
                container("reader", vec![read_only(volume("data", "/data"))]),
                container("same-path", vec![read_only(bind(data, "/x"))]),
                container("inside", vec![read_only(bind(&format!("{data}/raw"), "/x"))]),
                container("above", vec![bind("/var/lib/docker", "/docker")]),
                container("monitoring", vec![read_only(bind("/", "/host"))]),
                container("neighbour", vec![volume("data2", "/data"), bind(&format!("{data}2"), "/y")]),
                container("memory", vec![Mount { kind: MountKind::Tmpfs, source: None, ..bind("/", "/data") }]),
            ],
            ..Inventory::default()
        };
        let tree = tree(&inventory.containers[0], &path("/data")).unwrap();
        assert_eq!(names(&users(&inventory, &tree)), ["owner", "reader", "same-path", "inside", "above"]);
    }

    #[test]
    fn users_of_a_part_are_those_of_that_part() {
        let inventory = Inventory {
            containers: vec![
                container("owner", vec![bind("/srv/cvat", "/home")]),
                container("part", vec![bind("/srv/cvat/data", "/x")]),
                container("elsewhere", vec![bind("/srv/cvat/logs", "/x")]),
            ],
            ..Inventory::default()
        };
        let tree = tree(&inventory.containers[0], &path("/home/data")).unwrap();
        assert_eq!(names(&users(&inventory, &tree)), ["owner", "part"]);
    }

    #[test]
    fn users_of_a_bind_option_volume_are_found_through_its_device() {
        let options = [("type", "none"), ("o", "bind"), ("device", "/srv/media")];
        let inventory = Inventory {
            containers: vec![
                container("owner", vec![volume("data", "/data")]),
                container("direct", vec![bind("/srv/media/raw", "/x")]),
                container("other", vec![bind("/srv/medial", "/x")]),
            ],
            volumes: vec![Volume {
                name: "data".to_owned(),
                options: options.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
                bound: Some("/srv/media".into()),
                ..Volume::default()
            }],
            ..Inventory::default()
        };
        let tree = tree(&inventory.containers[0], &path("/data")).unwrap();
        assert_eq!(names(&users(&inventory, &tree)), ["owner", "direct"]);
    }

    #[test]
    fn read_only_mounts_are_listed() {
        let cvat = container("cvat", vec![volume("d", "/data"), read_only(volume("s", "/data/share"))]);
        let tree = tree(&cvat, &path("/data")).unwrap();
        let listed: Vec<&str> = tree.read_only().map(|mount| mount.destination.as_str()).collect();
        assert_eq!(listed, ["/data/share"]);
    }

    #[test]
    fn the_tree_of_a_removed_container_is_its_volume() {
        let volume = Volume {
            name: "cvat_cvat_db".to_owned(),
            driver: "local".to_owned(),
            mountpoint: "/v/_data".into(),
            ..Volume::default()
        };
        let tree = tree_of_volume(&volume, &path("/var/lib/postgresql/data")).unwrap();
        assert_eq!(tree.mounts[0].destination, "/var/lib/postgresql/data");
        assert_eq!(tree.mounts[0].root(), Path::new("/v/_data"));
    }
}
