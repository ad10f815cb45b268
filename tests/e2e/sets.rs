//! Sets of a real stack: what their manifest says of containers, and a restore where the stack has changed since.

use std::fs;

use serde_json::Value;

use crate::common::engine::docker;
use crate::common::tool::Tool;
use crate::common::tree::{build, file};
use crate::stack::{Container, Stack, Test, Volume, WAIT, layout};

pub const TESTS: &[Test] = &[
    ("set_says_what_was_stopped_and_is_restored", a_set_says_what_was_stopped_and_is_restored),
    ("two_passes_hold_the_stopped_tree", two_passes_hold_the_stopped_tree),
];

/// Writes, renames and removes files without a pause, and when it is stopped writes what is there.
const WRITER: &str = r#"
    cd /data
    stop() {
        find . -type f ! -name SUMS -exec sha256sum {} + >SUMS
        exit
    }
    trap stop TERM
    for ((round = 0; ; round++)); do
        name=$((round * 7919 % 400))
        case $((round % 5)) in
        0) rm -f "d$((name % 9))/$name" ;;
        1) mkdir -p "d$((name % 9))" && echo "$round" >"d$((name % 9))/$name" ;;
        2) [ -e "$name" ] && mv "$name" "$((name + 1))" ;;
        3) echo "$round" >>"$name" ;;
        4) printf '%08d' "$round" >fixed && touch -d @1000000000 fixed ;;
        esac
    done"#;

/// A container changes its files all through the first pass.
fn two_passes_hold_the_stopped_tree(stack: &Stack) {
    let volume = Volume::create("written", &[]);
    for number in 0..40 {
        build(&volume.path(), &[file(format!("large{number}"), vec![number; 1 << 20])]);
    }
    layout(&stack.at("one.toml"), "written", "voltar-e2e-writer", "/data");
    let container = Container::with_script("writer", &["-v", &format!("{}:/data", volume.name())], WRITER);
    container.start();
    let backup = ["backup", "--stop", "--into", "sets", "--layout", "one.toml", "--level", "1"];
    let manifest = || {
        let mut sets: Vec<_> = fs::read_dir(stack.at("sets")).unwrap().map(|set| set.unwrap().path()).collect();
        sets.sort();
        let set = sets.pop().unwrap();
        let manifest: Value = serde_json::from_slice(&fs::read(set.join("voltar.json")).unwrap()).unwrap();
        (set, manifest)
    };
    for round in 0..3 {
        // A container that was started again has no files of the one before it to check.
        let made = stack.voltar(&[&backup[..], &["--two-pass"]].concat()).ok();
        made.expect_text("archived before containers are stopped");
        let (set, manifest) = manifest();
        let record = &manifest["archives"][0];
        assert_eq!(record["first_pass"]["file"], "written.tar.bz2", "{record}");
        assert_eq!(record["archive"]["file"], "written.changes.tar.bz2", "{record}");
        assert!(manifest["downtime_seconds"].as_f64().unwrap() > 0.0);
        let out = format!("out{round}");
        stack.voltar(&["restore", "--to", &out, "--layout", "one.toml", set.to_str().unwrap()]).ok();
        let checked = Tool::new("sha256sum").args(["--check", "--quiet", "SUMS"]).dir(stack.at(&out)).run();
        assert!(checked.status.success(), "{checked}");
        let counted = |command: &str| Tool::shell(command).dir(stack.at(&out)).ok().answer();
        assert_eq!(counted("find . -type f ! -name SUMS | wc -l"), counted("wc -l <SUMS"));
        assert!(container.is_running());
    }
}

fn a_set_says_what_was_stopped_and_is_restored(stack: &Stack) {
    let volume = Volume::create("kept", &[]);
    build(&volume.path(), &[file("precious", "first")]);
    layout(&stack.at("one.toml"), "kept", "voltar-e2e-user", "/data");
    let mount = format!("{}:/data", volume.name());
    let container = Container::create("user", &["-v", &mount]);
    container.start();
    let inspected = |format: &str| docker(["inspect", "--format", format, container.name()]);
    let image = (inspected("{{.Config.Image}}"), inspected("{{.Image}}"));
    for content in ["second", "third"] {
        stack.voltar(&["backup", "--stop", "--into", "sets", "--layout", "one.toml"]).ok();
        fs::write(volume.path().join("precious"), content).unwrap();
    }
    let mut names: Vec<_> = fs::read_dir(stack.at("sets")).unwrap().map(|one| one.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names.len(), 2, "{names:?}");
    let text = fs::read_to_string(stack.at("sets").join(&names[1]).join("voltar.json")).unwrap();
    let manifest: Value = serde_json::from_str(&text).unwrap();
    let said = &manifest["containers"][0];
    assert_eq!(said["name"], container.name());
    assert_eq!((said["image"].as_str(), said["image_id"].as_str()), (Some(&*image.0), Some(&*image.1)), "{text}");
    let times = [&manifest["started"], &said["stopped"], &said["started"], &manifest["completed"]];
    let times: Vec<&str> = times.map(|time| time.as_str().unwrap()).into();
    // As text, since all are in UTC and of one day; a whole second comes after its fractions.
    assert!(times[1..].is_sorted() && times[0][..19] <= times[1][..19], "{text}");
    assert!(manifest["downtime_seconds"].as_f64().unwrap() > 0.0, "{text}");
    assert!(container.is_running());

    stack.voltar(&["restore", "--stop", "sets", "--layout", "one.toml"]).ok().expect_no_text("images have changed");
    assert_eq!(fs::read_to_string(volume.path().join("precious")).unwrap(), "second");
    docker(["tag", &image.0, "voltar-e2e-other"]);
    drop(container);
    let other = Container::of_image("voltar-e2e-other", "user", &["-v", &mount], WAIT);
    let first = format!("sets/{}", names[0].to_str().unwrap());
    let restored = stack.voltar(&["restore", &first, "--layout", "one.toml"]).ok();
    restored.expect_text(&format!("'{}' has voltar-e2e-other, and had {}", other.name(), image.0));
    assert_eq!(fs::read_to_string(volume.path().join("precious")).unwrap(), "first");
    drop(other);
    docker(["rmi", "voltar-e2e-other"]);
}
