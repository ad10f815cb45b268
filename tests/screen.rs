//! What a run leaves on a terminal: the bytes that voltar writes to a pseudo-terminal, interpreted by a terminal emulator.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]
#![allow(clippy::print_stderr, reason = "skipped tests are reported")]

mod common;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use common::data_root::DataRoot;
use common::tool::{Tool, installed};

/// Runs `voltar line` on a terminal, and returns the bytes that it gets.
fn bytes(directory: &Path, no_color: &str, line: &str) -> Vec<u8> {
    let run = format!("stty cols 80 rows 50; exec {} {line}", env!("CARGO_BIN_EXE_voltar"));
    let tool =
        Tool::new("script").dir(directory).env("SHELL", "/bin/sh").env("TERM", "xterm").env("NO_COLOR", no_color);
    tool.env("VOLTAR_STATE_DIR", directory.join("state")).args(["-qec", &run, "/dev/null"]).run().stdout
}

/// Returns whether a text sets colors, bold or underlining: `ESC [ … m`.
fn is_styled(bytes: &[u8]) -> bool {
    let ends_with_m = |rest: &[u8]| rest.iter().find(|byte| byte.is_ascii_alphabetic()) == Some(&b'm');
    (0..bytes.len()).any(|at| bytes[at..].strip_prefix(b"\x1b[").is_some_and(ends_with_m))
}

/// Runs `voltar line` on a terminal of this many columns. Returns what its screen shows at the end, and the longest line
/// that it has shown while it was running.
fn screen(directory: &Path, columns: u16, line: &str) -> (Vec<String>, Vec<String>) {
    let run = format!("stty cols {columns} rows 50; exec {} {line}", env!("CARGO_BIN_EXE_voltar"));
    let tool = Tool::new("script").dir(directory).env("SHELL", "/bin/sh").env("TERM", "xterm");
    let output = tool.env("VOLTAR_STATE_DIR", directory.join("state")).args(["-qec", &run, "/dev/null"]).ok();
    let mut terminal = vt100::Parser::new(50, columns, 0);
    let mut shown = Vec::new();
    for bytes in output.stdout.split_inclusive(|&byte| byte == b'\r') {
        terminal.process(bytes);
        shown.extend(lines(&terminal).into_iter().filter(|line| line.contains(" elapsed") || line.contains(" %")));
    }
    (lines(&terminal), shown)
}

fn lines(terminal: &vt100::Parser) -> Vec<String> {
    let lines: Vec<String> = terminal.screen().contents().lines().map(str::to_owned).collect();
    let last = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
    lines[..last].to_vec()
}

/// See <https://no-color.org>: an empty value does not count.
#[test]
fn no_color_is_obeyed() {
    if !installed("script") {
        eprintln!("skipped: no_color_is_obeyed: script is not installed");
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    fs::write(common::data_root::one_volume(scratch.path()).join("file"), vec![1; 4 << 20]).unwrap();
    for (line, styled) in [
        ("--help", true),
        ("frobnicate", true),
        ("plan --data-root docker --layout x.toml", false),
        ("backup --overwrite --data-root docker --layout x.toml", false),
        ("verify nonexistent", false),
    ] {
        for (no_color, expected) in [("", styled), ("1", false)] {
            let bytes = bytes(scratch.path(), no_color, line);
            assert!(!bytes.is_empty(), "{line}");
            assert_eq!(is_styled(&bytes), expected, "{line}: {}", String::from_utf8_lossy(&bytes));
        }
    }
}

#[test]
fn nothing_of_the_progress_stays_on_the_screen() {
    if !installed("script") {
        eprintln!("skipped: nothing_of_the_progress_stays_on_the_screen: script is not installed");
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let data_root = DataRoot::new(&scratch.path().join("docker"));
    let mut layout = String::new();
    for name in ["one", "another_with_a_name_that_is_too_long_for_the_screen"] {
        data_root.container(name).mount(name, "/srv/x").write();
        let data = data_root.volume(name);
        let noise: Vec<u8> =
            (0..4_000_000_u32).map(|n| (n.wrapping_mul(n.wrapping_mul(2_654_435_761)) >> 11) as u8).collect();
        fs::write(data.join("noise"), noise).unwrap();
        writeln!(layout, "[[archive]]\nname = '{name}'\ncontainer = '{name}'\npath = '/srv/x'").unwrap();
    }
    fs::write(scratch.path().join("x.toml"), layout).unwrap();
    for (columns, command) in [(60, "backup"), (60, "verify"), (100, "restore"), (40, "restore --merge")] {
        let line = format!("{command} --data-root docker --layout x.toml");
        let (last, shown) = screen(scratch.path(), columns, &line);
        let text = last.join("\n");
        assert!(!text.contains('%') && !text.contains("elapsed") && !text.contains(" left"), "{command}:\n{text}");
        // The summary is the end of the output, and follows the lines about the archives at once.
        assert!(last.iter().all(|line| !line.is_empty()), "{command}:\n{text}");
        assert!(last.last().unwrap().starts_with("total "), "{command}:\n{text}");
        // No line about progress has wrapped: each begins with what it is about.
        assert!(shown.iter().any(|line| line.contains("elapsed")), "{command}: no progress was shown");
        let is_whole = |line: &String| {
            ["one", "anothe", "total", "archiving", "checking", "restoring", "syncing", "committing", "swapping"]
                .iter()
                .any(|word| line.starts_with(word))
        };
        let odd: Vec<&String> = shown.iter().filter(|line| !is_whole(line)).collect();
        assert!(odd.is_empty(), "{command}: {odd:?}");
    }
}
