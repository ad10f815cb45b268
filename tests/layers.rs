//! The layers of the crate: a module uses only those on the lines below its own. Read from the `crate::`
//! paths of the sources, so a new arrow that points upward fails here.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]

use std::fs;
use std::path::{Path, PathBuf};

/// Top-down; modules on one line may not use each other.
const LAYERS: &[&[&str]] = &[
    &["main"],
    &["request"],
    &["report"],
    &["backup", "restore", "resume", "verify", "list"],
    &["plan"],
    &["recovery"],
    &["archiver", "extractor"],
    &["archive_file", "live_mounts"],
    &["store", "resolve", "together", "cli"],
    &["host", "volume", "codec", "layout"],
    &["archive", "ordered", "batch", "mountinfo", "units", "durable"],
    &["monitor"],
    &["error"],
    &["member"],
];

fn level(module: &str) -> usize {
    LAYERS.iter().position(|layer| layer.contains(&module)).unwrap_or_else(|| panic!("'{module}' has no layer"))
}

fn sources(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            into.push(path);
        }
    }
}

/// The modules that a source uses: every `crate::name` outside of comments and of its tests.
fn used(text: &str) -> Vec<String> {
    let code = text.split("#[cfg(test)]").next().unwrap_or(text);
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let mut used = Vec::new();
    for line in lines {
        for prefix in ["crate::", "voltar::"] {
            for (at, _) in line.match_indices(prefix) {
                let rest = &line[at + prefix.len()..];
                let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                used.push(name);
            }
        }
    }
    used
}

#[test]
fn arrows_point_down() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    assert!(files.len() > 30, "the sources were not found");
    let mut wrong = Vec::new();
    for file in files {
        let relative = file.strip_prefix(&src).unwrap();
        let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs");
        if module == "lib" || relative.ends_with("tests.rs") {
            continue;
        }
        for name in used(&fs::read_to_string(&file).unwrap()) {
            if name != module && !name.is_empty() && level(&name) <= level(module) {
                wrong.push(format!("{}: {module} uses {name}", relative.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that point up or sideways:\n{}", wrong.join("\n"));
}

#[test]
fn every_module_says_what_it_is_for() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&src, &mut files);
    let silent: Vec<_> = files
        .iter()
        .filter(|file| !file.ends_with("tests.rs"))
        .filter(|file| !fs::read_to_string(file).unwrap().starts_with("//! "))
        .collect();
    assert!(silent.is_empty(), "no //! at the top of {silent:?}");
}
