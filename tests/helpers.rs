//! Tests of the test helpers: a comparison that misses a difference would let other tests pass.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use common::archive::assert_same_stream;
use common::snapshot::TreeSnapshot;
use common::tree::{Node, build, dir, fifo, file, hard_link, link, socket, sparse};

fn literal() -> Vec<Node> {
    vec![
        dir("").mtime(1_600_000_000, 5),
        dir("a").mode(0o750).mtime(-5, 3),
        file("a/file", "content").mode(0o640).mtime(1_600_000_000, 999_999_999),
        file("a/other", "content").mode(0o640).mtime(1_600_000_000, 0),
        hard_link("a/again", "a/file"),
        link("link", "a/file").mtime(7, 7),
        fifo("fifo").mode(0o600).mtime(42, 0),
        socket("socket").mtime(42, 0),
        sparse("sparse", &[(500_000, b"data")], 4_000_000).mtime(1, 0),
    ]
}

/// Builds the tree twice, changes the second, and returns the differences.
fn differences(change: impl Fn(&Path)) -> Vec<String> {
    let scratch = tempfile::tempdir().unwrap();
    let (one, two) = (scratch.path().join("one"), scratch.path().join("two"));
    build(&one, &literal());
    build(&two, &literal());
    change(&two);
    TreeSnapshot::of(&one).diff(&TreeSnapshot::of(&two))
}

/// Returns the differences except those of the parent directory's time.
fn differences_but_directory_times(change: impl Fn(&Path)) -> Vec<String> {
    differences(change)
        .into_iter()
        .filter(|line| !line.starts_with(".: mtime") && !line.starts_with("a: mtime"))
        .collect()
}

#[test]
fn equal_trees_have_no_differences() {
    assert_eq!(differences(|_| {}), Vec::<String>::new());
}

#[test]
fn every_attribute_is_compared() {
    let mode = |path: &str, mode: u32| {
        let path = path.to_owned();
        move |root: &Path| fs::set_permissions(root.join(&path), fs::Permissions::from_mode(mode)).unwrap()
    };
    assert_eq!(differences(mode("a/other", 0o641)), ["a/other: mode 0640, 0641"]);
    assert_eq!(differences(mode("a/other", 0o4640)), ["a/other: mode 0640, 4640"]);
    assert_eq!(differences(mode("a/other", 0o2640)), ["a/other: mode 0640, 2640"]);
    assert_eq!(differences(mode("a", 0o1750)), ["a: mode 0750, 1750"]);
    assert_eq!(
        differences(|root| build(root, &[file("a/other", "content").mtime(1_600_000_000, 1)])),
        ["a/other: mtime 1600000000.000000000, 1600000000.000000001"]
    );
    assert_eq!(differences(|root| build(root, &[dir("a").mtime(-4, 3)])), ["a: mtime -5.000000003, -4.000000003"]);
    assert_eq!(differences(|root| build(root, &[dir("").mtime(0, 0)])), [".: mtime 1600000000.000000005, 0.000000000"]);
    let content = differences(|root| build(root, &[file("a/other", "CONTENT").mtime(1_600_000_000, 0)]));
    assert!(content.len() == 1 && content[0].starts_with("a/other: content "), "{content:?}");
    assert_eq!(
        differences(|root| build(root, &[file("a/other", "longer content").mtime(1_600_000_000, 0)])),
        ["a/other: size 7, 14"]
    );
}

#[test]
fn kinds_targets_and_links_are_compared() {
    let replaced = |make: fn(&Path)| {
        differences_but_directory_times(move |root: &Path| {
            fs::remove_file(root.join("link")).unwrap();
            make(&root.join("link"));
            common::tool::Tool::new("touch").args(["-h", "-d", "@7.000000007"]).arg(root.join("link")).ok();
        })
    };
    assert_eq!(
        replaced(|path| symlink("a/other", path).unwrap()),
        ["link: kind symlink to 'a/file', symlink to 'a/other'"]
    );
    assert!(
        replaced(|path| fs::write(path, "a/file").unwrap())[0]
            .starts_with("link: kind symlink to 'a/file', file of 6 bytes")
    );
    let unlinked = differences_but_directory_times(|root| {
        fs::remove_file(root.join("a/again")).unwrap();
        build(root, &[file("a/again", "content").mode(0o640).mtime(1_600_000_000, 999_999_999)]);
    });
    assert_eq!(unlinked, ["a/again: hard link to a/again, none", "a/file: hard link to a/again, none"]);
}

#[test]
fn missing_and_unexpected_entries_are_reported() {
    assert_eq!(differences_but_directory_times(|root| fs::remove_file(root.join("fifo")).unwrap()).len(), 1);
    let found = differences_but_directory_times(|root| fs::rename(root.join("fifo"), root.join("pipe")).unwrap());
    assert!(
        found.len() == 2 && found[0].starts_with("fifo: missing (FIFO") && found[1].starts_with("pipe: unexpected"),
        "{found:?}"
    );
}

#[test]
fn owners_are_compared() {
    if !common::is_root() {
        eprintln!("skipped: owners_are_compared: needs root");
        return;
    }
    let uid = differences(|root| {
        build(root, &[file("a/other", "content").owner(3_000_000, 0).mode(0o640).mtime(1_600_000_000, 0)]);
    });
    assert_eq!(uid, ["a/other: uid 0, 3000000"]);
    let gid = differences(|root| {
        build(root, &[link("l", "x"), file("a/other", "content").owner(0, 70).mtime(1_600_000_000, 0)]);
    });
    assert!(gid.contains(&"a/other: gid 0, 70".to_owned()), "{gid:?}");
}

#[test]
fn a_filled_hole_is_reported() {
    let scratch = tempfile::tempdir().unwrap();
    let (one, two) = (scratch.path().join("one"), scratch.path().join("two"));
    build(&one, &[sparse("sparse", &[(500_000, b"data")], 4_000_000)]);
    let mut filled = vec![0; 4_000_000];
    filled[500_000..500_004].copy_from_slice(b"data");
    build(&two, &[file("sparse", filled)]);
    let (one, two) = (TreeSnapshot::of(&one), TreeSnapshot::of(&two));
    assert_eq!(one.larger_on_disk(&two).len(), 1);
    assert_eq!(one.larger_on_disk(&one), Vec::<String>::new());
}

#[test]
fn what_tar_does_not_carry_can_be_left_out() {
    let scratch = tempfile::tempdir().unwrap();
    build(scratch.path(), &literal());
    let full = TreeSnapshot::of(scratch.path());
    let carried = full.clone().carried_by_tar();
    let lines = full.diff(&carried);
    assert!(lines.iter().any(|line| line.starts_with("socket: missing")), "{lines:?}");
    assert!(lines.contains(&"a: mtime -5.000000003, -5.000000000".to_owned()), "{lines:?}");
    assert!(lines.iter().all(|line| line.starts_with("socket") || line.contains(": mtime ")), "{lines:?}");
    assert_eq!(full.without("a").len(), 5);
}

fn stream(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

#[test]
fn equal_streams_are_equal() {
    let stream = stream(&[("a", b"1"), ("b", &vec![7; 3_000_000])]);
    assert_eq!(assert_same_stream(&stream[..], &stream[..], "same"), stream.len() as u64);
}

#[test]
#[should_panic(expected = "at or after the header of 'b'")]
fn streams_that_differ_are_reported_by_member() {
    let (one, two) =
        (stream(&[("a", b"1"), ("b", b"2"), ("c", b"3")]), stream(&[("a", b"1"), ("b", b"x"), ("c", b"3")]));
    assert_same_stream(&one[..], &two[..], "different");
}

#[test]
#[should_panic(expected = "one stream has")]
fn a_stream_that_ends_early_is_reported() {
    let stream = stream(&[("a", b"1")]);
    assert_same_stream(&stream[..], &stream[..stream.len() - 512], "shorter");
}
