//! The command line as a user meets it: what is understood, what is refused, and the help.

use std::path::PathBuf;

use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::{Cli, Command, Progress, Stop, Verify};

fn read(line: &str) -> Cli {
    Cli::read(line.split(' ')).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn refusal(line: &str) -> ErrorKind {
    match Cli::read(line.split(' ')) {
        Ok(cli) => panic!("{line} was understood: {cli:?}"),
        Err(error) => {
            assert_eq!(error.exit_code(), 2, "{line}");
            error.kind()
        }
    }
}

#[test]
fn the_definition_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn defaults_are_those_of_the_guide() {
    let cli = read("voltar backup");
    let Command::Backup(backup) = &cli.command else { panic!("{cli:?}") };
    assert_eq!((&backup.dir, &backup.into), (&None, &None));
    assert_eq!((backup.level, backup.format), (None, None));
    assert!(backup.stop.is_none() && !backup.allow_running && !backup.overwrite && !backup.allow_empty);
    assert_eq!((cli.common.layout, cli.common.progress), (None, Progress::Auto));
    assert!(cli.common.only.is_empty() && cli.common.jobs.is_none());
    let backup = || vec![PathBuf::from("backup")];
    let verify = Verify { sources: backup(), against_volume: false, paranoid: false, from: None, exclude: Vec::new() };
    assert_eq!(read("voltar verify").command, Command::Verify(verify));
    let Command::Restore(restore) = read("voltar restore").command else { panic!() };
    assert_eq!(restore.sources, backup());
    assert!(restore.stop.is_none() && !restore.merge && !restore.in_place && !restore.keep_previous);
}

#[test]
fn common_options_stand_before_and_after_the_command() {
    for options in [
        "--only a,b",
        "--all",
        "--layout stack.toml",
        "--config nightly",
        "--docker tcp://x:1",
        "--data-root /d",
        "--project p",
        "--volume cvat_db=my_db",
        "-j 3",
        "-v",
        "-q",
        "--json",
        "--progress never",
    ] {
        let before = read(&format!("voltar {options} backup --stop out"));
        let after = read(&format!("voltar backup --stop {options} out"));
        assert_eq!(before, after, "{options}");
        assert_ne!(before.common, read("voltar backup").common, "{options} changes nothing");
        for command in ["plan", "verify", "list x", "restore", "resume", "layout", "completions bash", "man x"] {
            read(&format!("voltar {command} {options}"));
        }
    }
}

#[test]
fn only_takes_commas_and_repeats() {
    assert_eq!(read("voltar backup --only a,b --only c").common.only, ["a", "b", "c"]);
    refusal("voltar backup --only a,,b");
}

#[test]
fn plan_takes_what_backup_takes() {
    let options = "--stop --overwrite --paranoid --level 1 --format zst --allow-empty --exclude a --exclude b out";
    let Command::Plan(plan) = read(&format!("voltar plan {options}")).command else { panic!() };
    let Command::Backup(backup) = read(&format!("voltar backup {options}")).command else { panic!() };
    assert_eq!(plan, backup);
}

#[test]
fn stop_names_the_project_only_behind_an_equals_sign() {
    for (options, expected) in [("", None), (" --stop", Some(Stop::Users)), (" --stop=project", Some(Stop::Project))] {
        let Command::Backup(backup) = read(&format!("voltar backup{options} out")).command else { panic!() };
        let Command::Restore(restore) = read(&format!("voltar restore{options} out")).command else { panic!() };
        assert_eq!((backup.stop, restore.stop), (expected, expected), "{options}");
        assert_eq!((backup.dir, restore.sources), (Some(PathBuf::from("out")), vec![PathBuf::from("out")]));
    }
    // Without the equals sign it is the directory.
    let Command::Backup(backup) = read("voltar backup --stop project").command else { panic!() };
    assert_eq!((backup.stop, backup.dir), (Some(Stop::Users), Some(PathBuf::from("project"))));
    refusal("voltar backup --stop=everything");
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    for line in [
        "voltar backup --stop --allow-running",
        "voltar plan --stop --allow-running",
        "voltar plan --stop=project --allow-running",
        "voltar backup -v -q",
        "voltar -v backup -q",
        "voltar backup --docker a --data-root b",
        "voltar --data-root b backup --docker a",
        "voltar backup --into a b",
        "voltar backup --into a --overwrite",
        "voltar backup --into a --to-command b",
        "voltar restore --merge --in-place",
        "voltar restore --merge --keep-previous",
        "voltar restore --in-place --keep-previous",
    ] {
        assert_eq!(refusal(line), ErrorKind::ArgumentConflict, "{line}");
    }
}

#[test]
fn values_out_of_range_are_refused() {
    read("voltar backup --level 1 -j 1");
    for line in [
        "voltar backup --level 0",
        "voltar backup --level 20",
        "voltar backup -9",
        "voltar backup -j 0",
        "voltar backup --format rar",
        "voltar backup --progress always",
        "voltar backup one two",
        "voltar restore --overwrite",
        "voltar list",
        "voltar list a b",
        "voltar resume x",
        "voltar layout x",
        "voltar completions",
        "voltar completions csh",
        "voltar man",
        "voltar backup --volume cvat_db",
        "voltar backup --volume =x",
        "voltar backup --volume cvat_db=",
        "voltar frobnicate",
        "voltar",
    ] {
        refusal(line);
    }
}

#[test]
fn every_help_has_a_description_examples_and_exit_statuses() {
    let commands =
        ["", "plan", "backup", "sets", "prune", "verify", "list", "restore", "resume", "layout", "completions", "man"];
    for command in commands.map(|name| if name.is_empty() { String::new() } else { format!(" {name}") }) {
        let line = format!("voltar{command} --help");
        let help = Cli::read(line.split(' ')).expect_err("help is not a request");
        assert_eq!((help.kind(), help.exit_code()), (ErrorKind::DisplayHelp, 0));
        let help = help.to_string();
        for part in ["EXAMPLES\n", "EXIT STATUS\n", "DOCKER_HOST", "VOLTAR_STATE_DIR", "/var/lib/voltar"] {
            assert!(help.contains(part), "{line}: no {part}\n{help}");
        }
        assert!(help.lines().next().is_some_and(|line| line.len() > 20), "{help}");
        assert!(help.contains(&format!("voltar{command}")), "{help}");
    }
}

#[test]
fn help_keeps_within_the_terminal_and_describes_every_option() {
    for width in [80, 100] {
        let mut root = Cli::command().term_width(width);
        root.build();
        for command in std::iter::once(root.clone()).chain(root.get_subcommands().cloned()) {
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{}: {}", command.get_name(), argument.get_id());
            }
            let help = command.clone().term_width(width).render_long_help().to_string();
            for line in help.lines() {
                assert!(line.chars().count() <= width, "{}: {line}", command.get_name());
            }
        }
    }
}
