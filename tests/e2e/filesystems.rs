//! Volumes that are filesystems of their own: the engine mounts them only while a container uses them. voltar holds them
//! or mounts them itself, at no path; the results are those of the documented commands.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use nix::sys::signal::Signal;

use crate::common::engine::docker;
use crate::common::snapshot::TreeSnapshot;
use crate::common::tool::Tool;
use crate::common::tree::{build, dir, file, link};
use crate::stack::{Container, Stack, Test, Volume, layout, names, wait_until};

pub const TESTS: &[Test] = &[
    ("filesystems_of_a_block_device", of_a_block_device),
    ("filesystems_of_a_btrfs_subvolume", of_a_btrfs_subvolume),
    ("filesystems_of_overlays", of_overlays),
    ("filesystems_that_cannot_be_mounted_are_refused", that_cannot_be_mounted_are_refused),
    ("filesystems_of_a_killed_restore_are_recovered", of_a_killed_restore_are_recovered),
];

/// A filesystem in an image file behind a loop device, which is released when dropped.
struct Disk {
    device: PathBuf,
}

impl Disk {
    fn new(image: &Path, make: &[&str]) -> Self {
        File::create(image).unwrap().set_len(256 << 20).unwrap();
        Tool::new(make[0]).args(&make[1..]).arg(image).ok();
        let device = Tool::new("losetup").args(["--find", "--show"]).arg(image).ok();
        Self { device: device.answer().into() }
    }

    /// Creates a volume of it.
    fn volume(&self, name: &str, kind: &str, options: &str) -> Volume {
        let device = format!("device={}", self.device.display());
        let kind = format!("type={kind}");
        let options = format!("o={options}");
        let given = ["-o", &kind, "-o", &device, "-o", &options];
        Volume::create(name, if options == "o=" { &given[..4] } else { &given })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        Tool::new("losetup").arg("--detach").arg(&self.device).run();
    }
}

/// Fills a volume while a container has it mounted.
fn fill(volume: &Volume) {
    let holder = Container::create("filler", &["-v", &format!("{}:/data", volume.name())]);
    holder.start();
    build(
        &volume.path(),
        &[
            dir("").owner(1000, 1000).mode(0o2775).mtime(1_500_000_000, 0),
            file("precious", "archived").owner(70, 70).mode(0o640),
            dir("below").mode(0o700),
            file("below/deep", "archived"),
            link("link", "/etc/passwd"),
        ],
    );
}

/// Returns the stream of the documented command, for which the engine mounts the volume.
fn documented_stream(container: &Container) -> Vec<u8> {
    Tool::new("docker")
        .args(["run", "--rm", "--network", "none", "--volumes-from", container.name(), "ubuntu"])
        .args(["tar", "--sort=name", "--numeric-owner", "-C", "/", "-c", "data"])
        .ok()
        .stdout
}

fn is_mounted(volume: &Volume) -> bool {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    table.contains(volume.path().to_str().unwrap())
}

/// Backs up and restores the volume in all ways, with its only container running and stopped.
fn both_directions(stack: &Stack, volume: &Volume) {
    fill(volume);
    let container = Container::create("one", &["-v", &format!("{}:/data", volume.name())]);
    layout(&stack.at("one.toml"), "one", container.name(), "/data");
    let voltar = |args: &[&str]| stack.voltar(args).args(["--layout", "one.toml"]).ok();

    // Nothing has it mounted.
    assert!(!is_mounted(volume));
    let plan = voltar(&["plan"]);
    assert!(plan.text().contains("(type="), "{plan}");
    voltar(&["backup", "--format", "tar", "stopped"]);
    assert!(!is_mounted(volume));
    assert_eq!(fs::read(stack.at("stopped/one.tar")).unwrap(), documented_stream(&container));

    // Its only container is stopped, and so the engine unmounts it.
    container.start();
    let started = container.started();
    voltar(&["backup", "--stop", "--format", "tar"]);
    assert!(container.is_running() && container.started() != started);
    assert_eq!(fs::read(stack.at("backup/one.tar")).unwrap(), fs::read(stack.at("stopped/one.tar")).unwrap());
    let before = TreeSnapshot::of(&volume.path()).carried_by_tar();

    for options in [&[][..], &["--in-place"], &["--keep-previous"], &["--merge"]] {
        for running in [true, false] {
            docker([
                "exec",
                container.name(),
                "sh",
                "-c",
                "echo live >/data/precious; mkdir /data/late; rm -r /data/below",
            ]);
            if running {
                voltar(&[&["restore", "--stop"], options].concat());
            } else {
                docker(["stop", "--time", "0", container.name()]);
                assert!(!is_mounted(volume));
                voltar(&[&["restore"], options].concat());
                assert!(!is_mounted(volume));
                container.start();
            }
            container.assert_sees("/data/precious", "archived");
            container.assert_sees("/data/below/deep", "archived");
            if options.is_empty() {
                before.assert_same(&TreeSnapshot::of(&volume.path()).carried_by_tar(), "restored");
            }
            docker(["exec", container.name(), "sh", "-c", "rm -rf /data/late /data/.voltar-previous-*"]);
        }
    }
}

fn of_a_block_device(stack: &Stack) {
    let disk = Disk::new(&stack.at("image"), &["mkfs.ext4", "-q", "-m", "0"]);
    let volume = disk.volume("ext4", "ext4", "noatime");
    both_directions(stack, &volume);
}

fn of_a_btrfs_subvolume(stack: &Stack) {
    let disk = Disk::new(&stack.at("image"), &["mkfs.btrfs", "-q"]);
    let top = stack.at("top");
    fs::create_dir(&top).unwrap();
    Tool::new("mount").arg(&disk.device).arg(&top).ok();
    Tool::new("btrfs").args(["subvolume", "create"]).arg(top.join("media")).ok();
    Tool::new("umount").arg(&top).ok();
    let volume = disk.volume("btrfs", "btrfs", "subvol=media");
    both_directions(stack, &volume);
}

fn of_overlays(stack: &Stack) {
    let volume = Volume::overlay("overlay", &stack.at("disk"));
    both_directions(stack, &volume);
}

fn that_cannot_be_mounted_are_refused(stack: &Stack) {
    let options = ["-o", "type=ext4", "-o", "device=/dev/nonexistent", "-o", "o=data=ordered"];
    let volume = Volume::create("lost", &options);
    let container = Container::create("lost", &["-v", &format!("{}:/data", volume.name())]);
    layout(&stack.at("one.toml"), "one", container.name(), "/data");
    // `--allow-empty` allows empty volumes, not unmounted ones.
    for args in [&["backup"][..], &["backup", "--allow-empty"]] {
        let refused = stack.voltar(args).args(["--layout", "one.toml"]).run().expect_code(2);
        refused
            .expect_text(&format!(
                "cannot mount '{} (type=ext4, device=/dev/nonexistent, o=data=ordered)'",
                volume.name()
            ))
            .expect_text("mount -t ext4 -o data=ordered /dev/nonexistent ");
    }
    assert_eq!(stack.archives(), Vec::<String>::new());
}

/// An overlay has another device number each time that it is mounted.
fn of_a_killed_restore_are_recovered(stack: &Stack) {
    let volume = Volume::overlay("overlay", &stack.at("disk"));
    fs::write(stack.at("disk/lower/large"), vec![b'x'; 200 << 20]).unwrap();
    fill(&volume);
    let container = Container::create("one", &["-v", &format!("{}:/data", volume.name())]);
    layout(&stack.at("one.toml"), "one", container.name(), "/data");
    let voltar = |args: &[&str]| stack.voltar(args).args(["--layout", "one.toml"]);
    voltar(&["backup", "--format", "tar"]).ok();
    let mut run = voltar(&["restore"]).spawn(&stack.at("log"));
    let staged = stack.at("disk/upper");
    let is_staged = || names(&staged).iter().any(|name| name.starts_with(".voltar-restore-"));
    wait_until("the staging directory", || is_staged() || run.has_ended());
    run.signal(Signal::SIGKILL);
    assert_eq!(run.wait().killed_by(), Some(9));
    assert!(!is_mounted(&volume), "what was mounted is gone with the process");
    assert!(is_staged());
    let resumed = voltar(&["resume"]).ok();
    assert!(resumed.text().contains("it holds the content from before that run"), "{resumed}");
    assert!(!is_staged());
    container.start();
    container.assert_sees("/data/precious", "archived");
}
