//! Checks the tables of tests in `docs` and in `SECURITY.md`: every row of the first is complete, and all name tests that
//! exist in the sources.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]

use std::fs;
use std::path::Path;

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

/// Checks a table with this many cells in a row, whose last one names tests; returns the number of rows.
fn check_table(page: &str, columns: usize) -> usize {
    let text = read(page).unwrap();
    let mut rows = 0;
    let mut is_head = true;
    for line in text.lines() {
        let Some(row) = line.strip_prefix('|') else {
            is_head = true;
            continue;
        };
        let cells: Vec<&str> = row.trim_end_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), columns, "{line}");
        if is_head || cells[0].starts_with("---") {
            is_head = false;
            continue;
        }
        rows += 1;
        let tests = tests(cells[columns - 1]);
        assert!(!tests.is_empty(), "no test is named: {line}");
        for (path, name) in tests {
            let source = read(&format!("{path}.rs")).unwrap_or_else(|| panic!("{path}.rs does not exist: {line}"));
            assert!(has_test(&source, name), "{path}.rs has no test '{name}': {line}");
        }
    }
    rows
}

#[test]
fn every_situation_has_a_test_that_exists() {
    assert!(check_table("docs/hosts.md", 6) > 40);
}

#[test]
fn every_promise_has_a_test_that_exists() {
    assert!(check_table("docs/promises.md", 2) >= 20);
}

#[test]
fn every_known_fault_names_tests_that_exist() {
    let sources = [
        "tests/known_faults.rs",
        "tests/restore.rs",
        "tests/attacker.rs",
        "tests/bounds.rs",
        "tests/codec.rs",
        "src/volume/beneath.rs",
    ]
    .map(|path| read(path).unwrap());
    let text = read("SECURITY.md").unwrap();
    let spans = text.lines().filter(|line| line.starts_with('|')).flat_map(|row| row.split('`').skip(1).step_by(2));
    let is_name =
        |span: &&str| span.contains('_') && span.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase());
    let names: Vec<&str> = spans.filter(is_name).filter(|name| *name != "known_faults").collect();
    assert!(names.len() > 15);
    for name in names {
        assert!(sources.iter().any(|source| has_test(source, name)), "there is no test '{name}'");
    }
}

#[test]
fn the_tables_are_linked() {
    for (page, table) in [("README.md", "hosts"), ("README.md", "promises"), ("tests/README.md", "hosts")] {
        assert!(read(page).unwrap().contains(&format!("docs/{table}.md")), "{page}: {table}");
    }
}
