//! Inventories of data roots on disk.

use serde_json::{Value, json};

use super::*;
use crate::error::ErrorKind;
use crate::host::inventory::{MountKind, NewVolume, UserNamespace};

const ID: &str = "0123456789abcdef";

/// Creates a data root below `dir` with one container that has the given fields, and one volume.
fn data_root(dir: &Path, fields: &Value) -> PathBuf {
    let root = dir.join("var/lib/docker");
    let mut config = json!({"ID": ID, "Name": "/cvat_db", "State": {}, "Config": {"Labels": null}});
    if let (Some(config), Some(fields)) = (config.as_object_mut(), fields.as_object()) {
        config.extend(fields.clone());
    }
    write(&root.join("containers").join(ID).join("config.v2.json"), &config.to_string());
    write(&root.join("volumes/cvat_cvat_db/_data/PG_VERSION"), "10\n");
    root
}

fn write(file: &Path, text: &str) {
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, text).unwrap();
}

fn point(kind: &str, name: &str, source: &str) -> Value {
    json!({"Type": kind, "Name": name, "Driver": if kind == "volume" { "local" } else { "" }, "Source": source, "RW": true})
}

fn mounts(original: &str) -> Value {
    json!({"MountPoints": {
        "/db": point("volume", "cvat_cvat_db", &format!("{original}/volumes/cvat_cvat_db/_data")),
        "/share": point("bind", "", "/srv/share"),
        "/spy": point("bind", "", &format!("{original}/volumes")),
    }})
}

fn sources(root: &Path) -> Vec<Option<PathBuf>> {
    let inventory = DataRoot::open(root).unwrap().inventory().unwrap();
    inventory.containers[0].mounts.iter().map(|mount| mount.source.clone()).collect()
}

#[test]
fn the_bundled_data_root_is_read() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/data-root");
    let inventory = DataRoot::open(&dir).unwrap().inventory().unwrap();
    let names: Vec<&str> = inventory.containers.iter().map(|container| container.name.as_str()).collect();
    assert_eq!(names, ["cvat_db", "cvat"]);
    let [db, cvat] = &inventory.containers[..] else { panic!("two containers") };
    assert_eq!((db.project.as_deref(), db.service.as_deref()), (Some("cvat"), Some("cvat_db")));
    assert_eq!((db.state, &db.image[..]), (State::Stopped, "postgres:10-alpine"));
    assert!(db.environment.contains(&"PG_MAJOR=10".to_owned()));
    let real = dir.canonicalize().unwrap();
    assert_eq!(db.mounts[0].source, Some(real.join("volumes/cvat_cvat_db/_data")));
    assert_eq!(cvat.mounts.len(), 3);
    assert_eq!(inventory.volumes.len(), 4);
    assert!(inventory.labels_unknown && inventory.notes.is_empty() && inventory.obstacles.is_empty());
}

#[test]
fn without_an_engine_no_volume_is_created() {
    let dir = tempfile::tempdir().unwrap();
    let host = DataRoot::open(&data_root(dir.path(), &json!({}))).unwrap();
    let refused = host.create_volume(&NewVolume::external("new".to_owned())).unwrap_err();
    assert_eq!(refused.to_string(), "cannot create the volume 'new': with --data-root no engine is used");
    assert_eq!(host.inventory().unwrap().volumes.len(), 1);
}

#[test]
fn bind_sources_are_unchanged_where_the_root_has_not_moved() {
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().canonicalize().unwrap().join("var/lib/docker");
    let root = data_root(dir.path(), &mounts(here.to_str().unwrap()));
    assert_eq!(
        sources(&root),
        [Some(here.join("volumes/cvat_cvat_db/_data")), Some("/srv/share".into()), Some(here.join("volumes"))]
    );
}

#[test]
fn bind_sources_of_a_rescued_disk_are_on_that_disk() {
    let dir = tempfile::tempdir().unwrap();
    let root = data_root(dir.path(), &mounts("/var/lib/docker"));
    let disk = dir.path().canonicalize().unwrap();
    assert_eq!(
        sources(&root),
        [
            Some(disk.join("var/lib/docker/volumes/cvat_cvat_db/_data")),
            Some(disk.join("srv/share")),
            Some(disk.join("var/lib/docker/volumes"))
        ]
    );
}

#[test]
fn bind_sources_of_a_copied_root_are_not_known() {
    let dir = tempfile::tempdir().unwrap();
    let root = data_root(dir.path(), &mounts("/srv/docker"));
    let here = root.canonicalize().unwrap();
    assert_eq!(sources(&root), [Some(here.join("volumes/cvat_cvat_db/_data")), None, Some(here.join("volumes"))]);
    let inventory = DataRoot::open(&root).unwrap().inventory().unwrap();
    let path = crate::member::RelPath::parse(b"share").unwrap();
    let error = crate::host::mounts::tree(&inventory.containers[0], &path).unwrap_err();
    assert!(error.to_string().ends_with("whose path on this host is not known"));
}

#[test]
fn the_original_root_follows_from_a_containers_own_files_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let root = data_root(
        dir.path(),
        &json!({
            "HostnamePath": format!("/var/lib/docker/containers/{ID}/hostname"),
            "MountPoints": {"/share": point("bind", "", "/srv/share")},
        }),
    );
    assert_eq!(sources(&root), [Some(dir.path().canonicalize().unwrap().join("srv/share"))]);
    let root = data_root(dir.path(), &json!({"MountPoints": {"/share": point("bind", "", "/srv/share")}}));
    assert_eq!(sources(&root), [None], "no file holds the original path");
}

fn state(running: &Value, cgroup: Option<&str>) -> (State, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let root = data_root(dir.path(), &json!({"State": running}));
    if let Some(text) = cgroup {
        write(&dir.path().join("proc/42/cgroup"), "0::/\n");
        write(&dir.path().join("proc/42/mountinfo"), text);
    }
    let root = DataRoot { processes: Processes { proc: dir.path().join("proc") }, ..DataRoot::open(&root).unwrap() };
    let inventory = root.inventory().unwrap();
    (inventory.containers[0].state, inventory.notes)
}

#[test]
fn only_a_live_process_makes_a_running_container() {
    let running = json!({"Running": true, "Pid": 42});
    let own = format!("1 2 8:1 /var/lib/docker/containers/{ID}/hostname /etc/hostname rw - ext4 /dev/sda rw");
    assert_eq!(state(&running, Some(&own)), (State::Running, vec![]));
    let crashed = "container 'cvat_db' was running when these files were written: its data may be as after a crash";
    assert_eq!(state(&running, None), (State::Stopped, vec![crashed.to_owned()]));
    assert_eq!(state(&running, Some("another container's")), (State::Stopped, vec![crashed.to_owned()]));
    assert_eq!(state(&json!({"Running": false, "Pid": 42}), Some(&own)), (State::Stopped, vec![]));
    assert_eq!(state(&json!({"Running": true, "Paused": true, "Pid": 42}), Some(&own)).0, State::Paused);
}

#[test]
fn volume_options_and_subpaths_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut db = point("volume", "cvat_cvat_db", "/var/lib/docker/volumes/cvat_cvat_db/_data");
    db["Spec"] = json!({"VolumeOptions": {"Subpath": "pg/10"}});
    let root = data_root(dir.path(), &json!({"MountPoints": {"/db": db}}));
    write(
        &root.join("volumes/cvat_cvat_db/opts.json"),
        r#"{"MountType":"nfs","MountOpts":"addr=nas","MountDevice":":/srv","Quota":{"Size":0}}"#,
    );
    let inventory = DataRoot::open(&root).unwrap().inventory().unwrap();
    let options: Vec<String> =
        inventory.volumes[0].options.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(options, ["device=:/srv", "o=addr=nas", "type=nfs"]);
    let mount = &inventory.containers[0].mounts[0];
    assert!(mount.source.as_ref().unwrap().ends_with("_data"));
    assert_eq!(mount.subpath.as_bytes(), b"pg/10");
}

#[test]
fn filesystems_are_mounted_only_for_a_data_root_that_only_root_writes() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let here = dir.path().canonicalize().unwrap().join("var/lib/docker");
    let filesystem = |original: &str, mode: u32| {
        let root = data_root(dir.path(), &mounts(original));
        let options = r#"{"MountType":"ext4","MountOpts":"","MountDevice":"/dev/sdz1"}"#;
        write(&root.join("volumes/cvat_cvat_db/opts.json"), options);
        std::fs::set_permissions(&root, std::fs::Permissions::from_mode(mode)).unwrap();
        DataRoot::open(&root).unwrap().inventory().unwrap().volumes[0].filesystem.clone()
    };
    let here = here.to_str().unwrap();
    assert_eq!(filesystem(here, 0o755).is_some(), nix::unistd::geteuid().is_root());
    assert_eq!(filesystem(here, 0o777), None);
    assert_eq!(filesystem("/elsewhere/docker", 0o755), None, "its device is that of another host");
}

#[test]
fn hostconfig_holds_dependencies_and_tmpfs() {
    let dir = tempfile::tempdir().unwrap();
    let root = data_root(dir.path(), &json!({}));
    write(
        &root.join("containers").join(ID).join("hostconfig.json"),
        r#"{"Links":["/redis:/x/redis"],"VolumesFrom":null,"NetworkMode":"container:ffff","Tmpfs":{"/run":""},"AutoRemove":true}"#,
    );
    let container = DataRoot::open(&root).unwrap().inventory().unwrap().containers.remove(0);
    let depends_on: Vec<&str> = container.depends_on.iter().map(|other| &other.on[..]).collect();
    assert_eq!(depends_on, ["ffff", "redis"]);
    assert_eq!(container.mounts[0].kind, MountKind::Tmpfs);
    assert!(container.auto_remove);
}

/// Writes the files of a host below `host` in which subordinate ids are.
fn subids(host: &Path, users: &str, groups: &str) {
    write(&host.join("etc/subuid"), users);
    write(&host.join("etc/subgid"), groups);
    write(&host.join("etc/passwd"), "alice:x:1000:1000::/home/alice:/bin/sh\n");
}

/// The path of a container's file in the data root `root`.
fn written_at(root: &str) -> Value {
    json!({"HostnamePath": format!("{root}/containers/{ID}/hostname")})
}

/// The map of the container of a data root, and the notes.
fn map_of(root: &Path) -> (String, Vec<String>) {
    let inventory = DataRoot::open(root).unwrap().inventory().unwrap();
    assert!(inventory.obstacles.is_empty(), "{:?}", inventory.obstacles);
    let ids = &inventory.containers[0].ids;
    assert!(inventory.volumes.iter().all(|volume| volume.ids == *ids));
    (ids.to_string(), inventory.notes)
}

#[test]
fn a_data_root_of_a_remapped_engine_has_the_map_of_the_host_that_it_is_from() {
    let dir = tempfile::tempdir().unwrap();
    let original = "/var/lib/docker/3000000000.3000000001";
    let root = data_root(dir.path(), &written_at(original));
    // A disk that is mounted at the scratch directory: its own files are read, not those of this host.
    let at_home = dir.path().join(original.trim_start_matches('/'));
    std::fs::rename(&root, dir.path().join("copy")).unwrap();
    std::fs::create_dir_all(at_home.parent().unwrap()).unwrap();
    std::fs::rename(dir.path().join("copy"), &at_home).unwrap();
    subids(dir.path(), "x:3000000000:70000", "x:3000000001:65536");
    let (map, notes) = map_of(&at_home);
    assert_eq!(map, "uids 0-69999 are 3000000000-3000069999, gids 0-65535 are 3000000001-3000065536");
    assert!(notes[0].ends_with("its ids are mapped as /etc/subuid says of user 'x'"), "{notes:?}");
    // A copy under another name: its path is in its files. No user of this host has such ids.
    let copy = dir.path().join("copy");
    std::fs::rename(&at_home, &copy).unwrap();
    let (map, notes) = map_of(&copy);
    assert_eq!(map, "uids 0-65535 are 3000000000-3000065535, gids 0-65535 are 3000000001-3000065536");
    assert!(notes[0].contains("by its name 3000000000.3000000001, with 65536 ids (/etc/sub"), "{notes:?}");
}

#[test]
fn a_container_with_the_hosts_ids_is_not_mapped() {
    let dir = tempfile::tempdir().unwrap();
    let root = data_root(dir.path(), &written_at("/srv/docker/3000000000.3000000000"));
    write(&root.join("containers").join(ID).join("hostconfig.json"), r#"{"UsernsMode":"host"}"#);
    let inventory = DataRoot::open(&root).unwrap().inventory().unwrap();
    assert!(
        inventory.containers[0].user_namespace == UserNamespace::OfHost && inventory.containers[0].ids.is_identity()
    );
    assert!(!inventory.volumes[0].ids.is_identity(), "other containers can use it");
}

#[test]
fn only_a_name_that_is_two_ids_is_that_of_a_remapped_engine() {
    let dir = tempfile::tempdir().unwrap();
    for (name, mapped) in [("3000000000.3000000000", true), ("docker.old", false), ("1.", false)] {
        let root = dir.path().join(name);
        std::fs::create_dir_all(root.join("containers")).unwrap();
        std::fs::create_dir_all(root.join("volumes/v/_data")).unwrap();
        let inventory = DataRoot::open(&root).unwrap().inventory().unwrap();
        let is_mapped = inventory.volumes.iter().any(|volume| !volume.ids.is_identity());
        assert_eq!(is_mapped || inventory.obstacles.len() == 1, mapped, "{name}: {:?}", inventory.obstacles);
    }
    // The name is a date, and the path in its files that of an engine without userns-remap.
    let root = data_root(dir.path(), &written_at("/var/lib/docker"));
    let dated = dir.path().join("20240501.1200");
    std::fs::rename(root, &dated).unwrap();
    assert_eq!(map_of(&dated), ("all ids are the same".to_owned(), vec![]));
    let last = data_root(dir.path(), &written_at("/srv/4294967295.7"));
    let obstacles = DataRoot::open(&last).unwrap().inventory().unwrap().obstacles;
    assert!(obstacles[0].contains("whose map of ids is not known"), "{obstacles:?}");
}

#[test]
fn the_data_root_above_that_of_a_remapped_engine_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let below = dir.path().join("200000.200000");
    std::fs::create_dir_all(below.join("containers")).unwrap();
    let no_hint = DataRoot::open(dir.path()).unwrap_err();
    assert!(no_hint.advice().unwrap().starts_with("a data root is"), "it has no volumes");
    std::fs::create_dir_all(below.join("volumes")).unwrap();
    let error = DataRoot::open(dir.path()).unwrap_err();
    let below = below.canonicalize().unwrap();
    let hint = format!("it holds that of an engine with userns-remap: --data-root {}", below.display());
    assert_eq!(error.advice(), Some(&hint[..]));
    for part in ["containers", "volumes"] {
        std::fs::create_dir_all(dir.path().join(part)).unwrap();
    }
    let notes = DataRoot::open(dir.path()).unwrap().inventory().unwrap().notes;
    let expected = format!("{} is the data root of an engine with userns-remap, and not looked at", below.display());
    assert_eq!(notes, [expected]);
}

#[test]
fn the_data_root_of_a_rootless_engine_has_the_map_of_its_user() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let original = "/home/alice/.local/share/docker";
    let home = dir.path().join("home/alice/.local/share");
    let root = data_root(dir.path(), &written_at(original));
    std::fs::create_dir_all(&home).unwrap();
    std::fs::rename(root, home.join("docker")).unwrap();
    let root = home.join("docker");
    assert_eq!(map_of(&root).0, "all ids are the same", "a copy without its owners");
    std::os::unix::fs::chown(root.join("volumes"), Some(1000), Some(100)).unwrap();
    let obstacles = DataRoot::open(&root).unwrap().inventory().unwrap().obstacles;
    assert!(obstacles[0].contains("is the data root of a rootless engine of user 1000"), "{obstacles:?}");
    subids(dir.path(), "alice:100000:65536", "alice:200000:65536");
    let (map, notes) = map_of(&root);
    assert_eq!(map, "uids 0 is 1000, 1-65536 are 100000-165535, gids 0 is 100, 1-65536 are 200000-265535");
    assert!(notes[0].contains("is of a rootless engine of user 1000"), "{notes:?}");
    // Only an engine of root keeps its files there, whoever owns this copy.
    let config = root.join("containers").join(ID).join("config.v2.json");
    let text = std::fs::read_to_string(&config).unwrap().replace(original, "/var/lib/docker");
    write(&config, &text);
    let copy = dir.path().join("copy");
    std::fs::rename(root, &copy).unwrap();
    assert_eq!(map_of(&copy).0, "all ids are the same");
}

#[test]
fn a_directory_that_is_not_a_data_root_is_a_usage_error() {
    let dir = tempfile::tempdir().unwrap();
    let error = DataRoot::open(dir.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().ends_with("is not a Docker data root: it has no directory 'containers'"), "{error}");
    write(&dir.path().join("containers"), "");
    std::fs::create_dir(dir.path().join("volumes")).unwrap();
    let error = DataRoot::open(dir.path()).unwrap_err();
    assert!(error.to_string().ends_with("it has no directory 'containers'"), "that is a file: {error}");
    let error = DataRoot::open(Path::new("/no/such")).unwrap_err();
    assert_eq!(error.to_string(), "cannot read '/no/such': No such file or directory");
}

#[test]
fn damaged_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let root = data_root(dir.path(), &json!({}));
    let inventory = || DataRoot::open(&root).unwrap().inventory();
    let config = root.join("containers").join(ID).join("config.v2.json");
    write(&config, "{\"ID\":");
    let error = inventory().unwrap_err();
    assert!(error.to_string().contains("config.v2.json': EOF while parsing"), "{error}");
    write(&config, r#"{"ID":"../..","Name":"/x"}"#);
    assert!(inventory().unwrap_err().to_string().ends_with("'../..' is not a container id"));
    write(&config, r#"{"ID":"ab","Name":"/x","MountPoints":{"/a/../b":{"Type":"bind","Source":"/x"}}}"#);
    let error = inventory().unwrap_err().to_string();
    assert!(error.contains("config.v2.json") && error.ends_with("holds '..'"), "{error}");
    std::fs::remove_file(&config).unwrap();
    assert!(inventory().unwrap().notes[0].ends_with("has no config.v2.json; skipped"));
    write(&root.join("volumes/cvat_cvat_db/opts.json"), "garbage");
    assert!(inventory().unwrap_err().to_string().contains("opts.json"));
}

/// A container that counted as absent would not be stopped, and a volume would lack its options.
#[test]
fn a_file_that_cannot_be_read_does_not_count_as_absent() {
    let directory = |at: &Path| std::fs::create_dir(at).unwrap();
    let fifo = |at: &Path| nix::unistd::mkfifo(at, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let link = |at: &Path| std::os::unix::fs::symlink(at, at).unwrap();
    for name in [&format!("containers/{ID}/config.v2.json")[..], "volumes/cvat_cvat_db/opts.json"] {
        for make in [&directory as &dyn Fn(&Path), &fifo, &link] {
            let dir = tempfile::tempdir().unwrap();
            let root = data_root(dir.path(), &json!({}));
            std::fs::remove_file(root.join(name)).unwrap_or_default();
            make(&root.join(name));
            let error = DataRoot::open(&root).unwrap().inventory().unwrap_err().to_string();
            assert!(error.starts_with("cannot read '") && error.contains(name), "{error}");
        }
    }
}

#[test]
fn nothing_is_stopped_or_started_without_an_engine() {
    let dir = tempfile::tempdir().unwrap();
    let root = DataRoot::open(&data_root(dir.path(), &json!({}))).unwrap();
    let mut errors = Vec::new();
    root.stop(&["x"], &mut |_, outcome| errors.push(outcome.unwrap_err()));
    root.start(&["x"], &mut |_, outcome| errors.push(outcome.unwrap_err()));
    assert_eq!(errors.len(), 2);
    for error in errors {
        assert!(error.to_string().ends_with("with --data-root no engine is used"));
        assert!(error.advice().is_some());
    }
}

#[test]
fn a_mount_takes_the_place_of_a_tmpfs_at_the_same_path() {
    let dir = tempfile::tempdir().unwrap();
    let root = data_root(dir.path(), &mounts("/var/lib/docker"));
    let host = json!({"Tmpfs": {"/db": "", "/run": "size=1m"}});
    write(&root.join("containers").join(ID).join("hostconfig.json"), &host.to_string());
    let inventory = DataRoot::open(&root).unwrap().inventory().unwrap();
    let found =
        inventory.containers[0].mounts.iter().map(|mount| (&mount.destination[..], mount.kind == MountKind::Tmpfs));
    assert_eq!(found.collect::<Vec<_>>(), [("/db", false), ("/run", true), ("/share", false), ("/spy", false)]);
}

#[test]
fn only_a_lack_of_permission_is_one_of_roots() {
    let advice = |kind: IoKind| unreadable(Path::new("/x"), &kind.into()).advice().map(str::to_owned);
    assert_eq!(advice(IoKind::PermissionDenied).as_deref(), Some("run voltar as root (sudo)"));
    assert_eq!(advice(IoKind::NotFound), None);
}
