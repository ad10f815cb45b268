//! What a package installs beside the program: man pages, completions, systemd units, the example of a configuration.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use common::skip::{self, Needs, test};
use common::tool::Tool;
use libtest_mimic::Arguments;

/// The sections that every page has, in this order.
const SECTIONS: [&str; 8] =
    ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES", "\"EXIT STATUS\"", "ENVIRONMENT", "\"SEE ALSO\""];

fn main() {
    let tests = vec![
        test("every_command_has_a_page_with_all_sections", &[], every_command_has_a_page_with_all_sections),
        test("man_renders_each_page_without_a_warning", &[Needs::Program("man")], man_renders_each_page),
        test("examples_and_exit_statuses_keep_their_lines", &[Needs::Program("man")], examples_keep_their_lines),
        test("every_shell_has_a_script", &[], every_shell_has_a_script),
        test("bash_completes_commands_and_options", &[Needs::Program("bash")], bash_completes),
        test("the_units_are_valid", &[Needs::Program("systemd-analyze")], the_units_are_valid),
        test("the_service_makes_no_mount_namespace", &[], the_service_makes_no_mount_namespace),
        test("the_example_has_options_of_backup", &[], the_example_has_options_of_backup),
        test("the_example_is_valid", &[], the_example_is_valid),
    ];
    skip::run(&Arguments::from_args(), tests, || ());
}

fn packaging(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging").join(name)
}

/// Returns the commands that the help lists.
fn commands() -> Vec<String> {
    let help = Tool::voltar().arg("-h").ok().answer();
    let list = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    list.filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .map(|line| line.split_whitespace().next().unwrap().to_owned())
        .collect()
}

/// Writes the pages into a directory, and returns it and their paths.
fn pages() -> (tempfile::TempDir, Vec<PathBuf>) {
    let scratch = tempfile::tempdir().unwrap();
    let directory = scratch.path().join("new/man1");
    Tool::voltar().arg("man").arg(&directory).ok().expect_no_text("voltar");
    let mut paths: Vec<PathBuf> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    (scratch, paths)
}

fn every_command_has_a_page_with_all_sections() {
    let (_scratch, paths) = pages();
    let names: Vec<&str> = paths.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    let mut expected: Vec<String> = commands().iter().map(|command| format!("voltar-{command}.1")).collect();
    assert!(expected.len() >= 8, "{expected:?}");
    expected.push("voltar.1".to_owned());
    expected.sort();
    assert_eq!(names, expected);
    for path in &paths {
        let text = fs::read_to_string(path).unwrap();
        let mut headings = text.lines().filter_map(|line| line.strip_prefix(".SH "));
        for section in SECTIONS {
            assert!(headings.any(|heading| heading == section), "{}: no {section} in order", path.display());
        }
    }
}

/// Returns a page as text of 80 columns, without bold and underlining.
fn rendered(page: &Path) -> String {
    // The options with which Debian checks the pages of its packages.
    let man = Tool::new("man").args(["--warnings", "-E", "UTF-8", "-l"]).arg(page);
    let outcome = man.env("LC_ALL", "C.UTF-8").env("MANROFFSEQ", "").env("MANWIDTH", "80").env("MANPAGER", "cat").ok();
    assert!(outcome.stderr.is_empty(), "{outcome}");
    String::from_utf8(outcome.stdout).unwrap()
}

fn man_renders_each_page() {
    let (_scratch, paths) = pages();
    for path in paths {
        let text = rendered(&path);
        assert!(text.lines().count() > 40, "{text}");
        assert!(text.lines().next().unwrap().contains(" User Commands "), "{text}");
        let long = text.lines().find(|line| line.chars().count() > 80);
        // The header repeats the title at both margins.
        assert_eq!(long, None, "{}", path.display());
    }
}

fn examples_keep_their_lines() {
    let (_scratch, paths) = pages();
    let page = |name: &str| rendered(paths.iter().find(|path| path.ends_with(name)).unwrap());
    for (name, paragraph) in [
        ("voltar.1", "\nEXAMPLES\n       voltar plan\n              what would be archived, from where, how big\n\n"),
        ("voltar.1", "\nEXIT STATUS\n       0      done\n\n       1      done, with warnings: "),
        ("voltar.1", "\n       DOCKER_HOST\n              the engine to ask where --docker is not given\n"),
        ("voltar-list.1", "\n       voltar list backup/cvat_data.tar.bz2 | head\n\n"),
        ("voltar-restore.1", "\n       ssh nas 'cat cvat_db.tar.bz2' | voltar restore --stop --only cvat_db -\n"),
    ] {
        let text = page(name);
        assert!(text.contains(paragraph), "{name} does not contain {paragraph:?}:\n{text}");
    }
}

fn every_shell_has_a_script() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let outcome = Tool::voltar().args(["completions", shell]).ok().expect_text("against-volume");
        assert!(outcome.stderr.is_empty(), "{outcome}");
        if ["bash", "fish", "zsh"].contains(&shell) && common::tool::installed(shell) {
            Tool::new(shell).arg("-n").input(outcome.stdout).ok();
        }
    }
    Tool::voltar().args(["completions", "bash", "--json"]).run().expect_code(2).expect_text("--json");
}

fn bash_completes() {
    for (words, expected) in [
        (&["ver"][..], "verify"),
        (&["verify", "--aga"], "--against-volume"),
        (&["completions", "fi"], "fish"),
        (&["restore", "--keep"], "--keep-previous"),
    ] {
        let line = format!(
            "source <({} completions bash); COMP_WORDS=(voltar {}); COMP_CWORD={}; _voltar voltar {} {}; echo ${{COMPREPLY[@]}}",
            env!("CARGO_BIN_EXE_voltar"),
            words.join(" "),
            words.len(),
            words.last().unwrap(),
            if words.len() == 1 { "voltar" } else { words[0] },
        );
        assert_eq!(Tool::new("bash").args(["-c", &line]).ok().answer(), expected, "{words:?}");
    }
}

fn the_units_are_valid() {
    let scratch = tempfile::tempdir().unwrap();
    let mut units = Vec::new();
    for name in ["voltar@.service", "voltar@.timer"] {
        let text = fs::read_to_string(packaging(name)).unwrap();
        let unit = scratch.path().join(name);
        fs::write(&unit, text.replace("/usr/bin/voltar", env!("CARGO_BIN_EXE_voltar"))).unwrap();
        units.push(unit);
    }
    let outcome = Tool::new("systemd-analyze").args(["verify", "--man=no"]).args(units).ok();
    assert_eq!(outcome.text(), "", "{outcome}");
}

/// With private mounts voltar would not see the files that the engine sees.
fn the_service_makes_no_mount_namespace() {
    let text = fs::read_to_string(packaging("voltar@.service")).unwrap();
    let settings: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert!(settings.contains(&"Type=oneshot") && settings.contains(&"ExecStopPost=/usr/bin/voltar resume"));
    for setting in settings {
        for word in
            ["Private", "Protect", "Paths=", "Mount", "Root", "DynamicUser", "Temporary", "Image", "JoinsNamespace"]
        {
            assert!(!setting.contains(word), "{setting}");
        }
    }
}

fn the_example_has_options_of_backup() {
    let text = fs::read_to_string(packaging("example.toml")).unwrap();
    let help = Tool::voltar().args(["backup", "--help"]).ok().answer();
    let (mut keys, mut section) = (0, "");
    for line in text.lines().filter(|line| !line.is_empty()) {
        let comment = line.strip_prefix('#').unwrap_or_else(|| panic!("not a comment: {line}"));
        if comment.starts_with('[') {
            section = comment;
        }
        if let Some((key, _)) = comment.split_once(" = ").filter(|(key, _)| !key.contains(' ')) {
            keys += 1;
            let option = format!("--{}", key.replace('_', "-"));
            // The help has a section on hooks, with an entry for each.
            let entry = if section == "[hooks]" { format!("\n  {key} ") } else { option };
            assert!(help.contains(&entry), "the help of backup has no {entry:?}");
        }
    }
    assert!(keys >= 9);
}

/// The example with all of its keys is a configuration.
fn the_example_is_valid() {
    let text = fs::read_to_string(packaging("example.toml")).unwrap();
    let is_key = |line: &&str| {
        line.starts_with('[') || line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' ') && !key.is_empty())
    };
    let keys: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix('#')).filter(is_key).collect();
    assert!(keys.len() >= 11, "{keys:?}");
    let scratch = tempfile::tempdir().unwrap();
    let metrics = format!("metrics = '{}'", scratch.path().join("x.prom").display());
    let adapted = |key: &&str| if key.starts_with("metrics = ") { metrics.clone() } else { (*key).to_owned() };
    let config = scratch.path().join("example.toml");
    fs::write(&config, keys.iter().map(adapted).collect::<Vec<_>>().join("\n")).unwrap();
    fs::set_permissions(&config, fs::Permissions::from_mode(0o644)).unwrap();
    let data_root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/data-root");
    let plan = Tool::voltar().args(["plan", "--json", "--data-root"]).arg(data_root).arg("--config").arg(&config).run();
    // Whether the backup could be made here does not matter.
    let document: serde_json::Value = serde_json::from_slice(&plan.stdout).unwrap_or_else(|e| panic!("{e}: {plan}"));
    assert_eq!((&document["sink"], plan.stderr.is_empty()), (&"set".into(), true), "{plan}");
}
