//! Checks `docs/hosts.md`: every row of its tables is complete, and names tests that exist in the sources.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]

use std::fs;
use std::path::Path;

const CELLS: usize = 6;

fn read(path: &str) -> Option<String> {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).ok()
}

/// Returns whether a source has a test of this name: a function, or a trial of a test with a harness of its own.
fn has_test(source: &str, name: &str) -> bool {
    source.contains(&format!("fn {name}(")) || source.contains(&format!("\"{name}\""))
}

/// Returns the `path:name` of each code span in a cell that is a test.
fn tests(cell: &str) -> Vec<(&str, &str)> {
    cell.split('`').skip(1).step_by(2).filter_map(|span| span.split_once(".rs:")).collect()
}

#[test]
fn every_situation_has_a_test_that_exists() {
    let text = read("docs/hosts.md").unwrap();
    let mut rows = 0;
    for line in text.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), CELLS, "{line}");
        if cells[0] == "situation" || cells[0].starts_with("---") {
            continue;
        }
        rows += 1;
        let tests = tests(cells[CELLS - 1]);
        assert!(!tests.is_empty(), "no test is named: {line}");
        for (path, name) in tests {
            let source = read(&format!("{path}.rs")).unwrap_or_else(|| panic!("{path}.rs does not exist: {line}"));
            assert!(has_test(&source, name), "{path}.rs has no test '{name}': {line}");
        }
    }
    assert!(rows > 40, "{rows} rows");
}

#[test]
fn the_table_is_linked() {
    for page in ["README.md", "tests/README.md"] {
        assert!(read(page).unwrap().contains("docs/hosts.md"), "{page}");
    }
}
