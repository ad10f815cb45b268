//! Sets of a real stack: what their manifest says of containers, and a restore where the stack has changed since.

use std::fs;

use serde_json::Value;

use crate::common::engine::docker;
use crate::common::tree::{build, file};
use crate::stack::{Container, Stack, Test, Volume, WAIT, layout};

pub const TESTS: &[Test] =
    &[("set_says_what_was_stopped_and_is_restored", a_set_says_what_was_stopped_and_is_restored)];

fn a_set_says_what_was_stopped_and_is_restored(stack: &Stack) {
    let volume = Volume::create("kept", &[]);
    build(&volume.path(), &[file("precious", "first")]);
    layout(&stack.at("one.toml"), "kept", "voltar-e2e-user", "/data");
    let mount = format!("{}:/data", volume.name());
    let container = Container::with_script("user", &["-v", &mount], WAIT);
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
