//! What `voltar prune` keeps, compared with what `restic forget` keeps of snapshots of the same times.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use common::data_root::{layout, one_volume};
use common::skip::{self, Needs};
use common::tool::Tool;
use libtest_mimic::Arguments;
use serde_json::Value;

/// Nights with gaps, several sets a day, the last hours of a year and a week, and a leap day.
const TIMES: [&str; 22] = [
    "2023-12-31 23:30:00",
    "2024-01-01 00:10:00",
    "2024-02-29 12:00:00",
    "2024-12-29 23:59:59",
    "2024-12-30 00:00:00",
    "2025-06-01 02:00:00",
    "2025-12-31 02:00:00",
    "2026-01-01 02:00:00",
    "2026-08-31 02:00:00",
    "2026-09-30 02:00:00",
    "2026-10-31 02:00:00",
    "2026-11-15 02:00:00",
    "2026-11-16 02:00:00",
    "2026-11-20 02:00:00",
    "2026-11-21 02:00:00",
    "2026-11-22 02:00:00",
    "2026-11-22 14:00:00",
    "2026-11-22 14:30:00",
    "2026-11-23 02:00:00",
    "2026-11-25 02:00:00",
    "2026-11-25 03:00:00",
    "2026-11-25 03:59:59",
];

const POLICIES: [&[&str]; 13] = [
    &["--keep-last", "1"],
    &["--keep-last", "5"],
    &["--keep-hourly", "3"],
    &["--keep-daily", "7"],
    &["--keep-daily", "100"],
    &["--keep-weekly", "4"],
    &["--keep-monthly", "6"],
    &["--keep-yearly", "2"],
    &["--keep-yearly", "9"],
    &["--keep-within", "3d"],
    &["--keep-within", "1y2m"],
    &["--keep-within", "12h", "--keep-daily", "3"],
    &["--keep-last", "2", "--keep-daily", "7", "--keep-weekly", "5", "--keep-monthly", "12", "--keep-yearly", "3"],
];

fn main() {
    let needs = [Needs::Program("restic")];
    let trials = vec![skip::test("restic_keeps_the_same", &needs, restic_keeps_the_same)];
    skip::run(&Arguments::from_args(), trials, || {});
}

fn restic_keeps_the_same() {
    let scratch = tempfile::tempdir().unwrap();
    let at = scratch.path();
    make_sets(at);
    make_snapshots(at);
    for policy in POLICIES {
        let ours = kept_sets(at, policy);
        let theirs = kept_snapshots(at, policy);
        assert_eq!(ours, theirs, "{policy:?}");
        assert!(ours.len() < TIMES.len() || policy.contains(&"100"), "{policy:?} keeps all");
    }
}

/// Makes a set, and gives it to all times.
fn make_sets(at: &Path) {
    fs::write(one_volume(at).join("file"), "content").unwrap();
    layout(&at.join("layout.toml"), "x", "x", "/srv/x");
    voltar(at, &["backup", "--into", "made", "--layout", "layout.toml", "--data-root", "docker"]);
    let made = fs::read_dir(at.join("made")).unwrap().next().unwrap().unwrap().path();
    fs::create_dir(at.join("sets")).unwrap();
    for time in TIMES {
        let name = format!("{}Z", time.replace(' ', "T").replace(':', "-"));
        Tool::new("cp").arg("-a").arg(&made).arg(at.join("sets").join(name)).ok();
    }
}

fn voltar(at: &Path, args: &[&str]) -> String {
    Tool::voltar().dir(at).env("VOLTAR_STATE_DIR", at.join("state")).args(args).ok().answer()
}

fn kept_sets(at: &Path, policy: &[&str]) -> BTreeSet<String> {
    let answer = voltar(at, &[&["prune", "sets", "--dry-run", "--json"], policy].concat());
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let kept = answer["sets"].as_array().unwrap().iter().filter(|set| set["removed"] == false);
    kept.map(|set| set["name"].as_str().unwrap().replace(['-', 'T', 'Z', ':'], "")).collect()
}

fn restic(at: &Path, args: &[&str]) -> String {
    let tool = Tool::new("restic").dir(at).env("RESTIC_PASSWORD", "x").env("HOME", at);
    tool.args(["--repo", "repository", "--no-cache", "--quiet"]).args(args).ok().answer()
}

fn make_snapshots(at: &Path) {
    restic(at, &["init"]);
    for time in TIMES {
        restic(at, &["backup", "layout.toml", "--host", "x", "--time", time]);
    }
}

fn kept_snapshots(at: &Path, policy: &[&str]) -> BTreeSet<String> {
    let answer = restic(at, &[&["forget", "--dry-run", "--json"], policy].concat());
    let answer: Value = serde_json::from_str(&answer).unwrap();
    let kept = answer[0]["keep"].as_array().unwrap().iter();
    kept.map(|snapshot| snapshot["time"].as_str().unwrap()[..19].replace(['-', 'T', ':'], "")).collect()
}
