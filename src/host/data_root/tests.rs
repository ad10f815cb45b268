//! Inventories of data roots on disk.

use serde_json::{Value, json};

use super::*;
use crate::error::ErrorKind;
use crate::host::inventory::MountKind;

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

#[test]
fn shifted_ids_are_an_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    for (name, obstacles) in [("100000.100000", 1), ("docker.old", 0), ("1.", 0), ("home/.local/share/docker", 1)] {
        let root = dir.path().join(name);
        std::fs::create_dir_all(root.join("containers")).unwrap();
        std::fs::create_dir_all(root.join("volumes")).unwrap();
        let found = DataRoot::open(&root).unwrap().inventory().unwrap().obstacles;
        assert_eq!(found.len(), obstacles, "{name}: {found:?}");
    }
}

#[test]
fn a_directory_that_is_not_a_data_root_is_a_usage_error() {
    let dir = tempfile::tempdir().unwrap();
    let error = DataRoot::open(dir.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Usage);
    assert!(error.to_string().ends_with("is not a Docker data root: it has no directory 'containers'"), "{error}");
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
