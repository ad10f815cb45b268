//! What only a rootless engine has: a user who controls it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};

use crate::common::tool::Tool;
use crate::mapped_ids::{assert_same, documented, fill};
use crate::other_engine::{OtherEngine, Test};

pub const TESTS: &[Test] = &[
    ("it_does_not_make_root_mount", it_does_not_make_root_mount),
    ("its_user_archives_in_its_namespaces", its_user_archives_in_its_namespaces),
];

/// The kernel does not let the engine mount a device, and root would.
fn it_does_not_make_root_mount(engine: &OtherEngine) {
    let options = ["-o", "type=ext4", "-o", "device=/dev/voltar-none"];
    engine.docker(["volume", "create"].into_iter().chain(options).chain(["disk"]));
    engine.docker(["create", "--name", "db", "--network", "none", "-v", "disk:/data", "ubuntu", "true"]);
    engine.layout("db");
    engine.voltar(&["backup", "archives"]).run().expect_code(2).expect_text("voltar does not mount it");
}

/// There, voltar has the ids of containers itself.
fn its_user_archives_in_its_namespaces(engine: &OtherEngine) {
    fill(engine);
    let (uid, gid) = engine.kind().ids[0];
    let user = [format!("--reuid={uid}"), format!("--regid={gid}"), "--clear-groups".to_owned()];
    let pid = fs::read_to_string(engine.at("run/docker.pid")).unwrap();
    // The build directory may not be accessible for that user.
    let program = engine.at("voltar");
    fs::copy(env!("CARGO_BIN_EXE_voltar"), &program).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let work = engine.at("work");
    drop(fs::remove_dir_all(&work));
    fs::create_dir(&work).unwrap();
    chown(&work, Some(uid), Some(gid)).unwrap();
    Tool::new("setpriv")
        .args(user)
        .args(["nsenter", "--user", "--preserve-credentials", "--mount", "--target", pid.trim()])
        .arg(program)
        .arg("backup")
        // nsenter changes to the root directory.
        .arg(work.join("archives"))
        .args(["--format", "tar", "--docker", &engine.address(), "--layout"])
        .arg(engine.at("layout.toml"))
        .env("VOLTAR_STATE_DIR", work.join("state"))
        .ok()
        .expect_no_text("archives hold the ids that containers see");
    assert_same(&fs::read(work.join("archives/data.tar")).unwrap(), &documented(engine, "db", &[]));
}
