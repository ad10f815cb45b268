//! The layers of the crate, read from its sources.
//!
//! * A module uses only modules on the lines of [`LAYERS`] below its own.
//! * Inside a directory of `src/` the files form no circle. Which file uses which follows from the `crate::`,
//!   `super::` and `self::` paths in it, the groups in braces included, and from the paths that begin with a module
//!   which it declares. A path leads to the file that defines the name: `pub use` in a `mod.rs` is followed. By itself
//!   neither `mod child;` nor `pub use child::Name;` is a use; it is one as soon as `mod.rs` names `Name` elsewhere. So
//!   a `mod.rs` either offers its children, or defines what they use; if it does both, that is a circle.
//!
//! What is under `#[cfg(test)]` does not count. There are no exceptions.
//!
//! `cargo test --test layers table -- --nocapture` prints each module with its lines and what it uses.

#![allow(clippy::unwrap_used, reason = "a test may fail where it stands")]
#![allow(unreachable_pub, reason = "a test crate exports nothing; `pub` reads better than `pub(crate)`")]

#[path = "layers/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use source::Source;

/// Top-down; modules on one line may not use each other.
const LAYERS: &[&[&str]] = &[
    &["main"],
    &["request"],
    &["report", "cli"],
    &["backup", "restore", "resume", "verify", "list"],
    &["plan"],
    &["recovery"],
    &["archiver", "extractor"],
    &["archive_file", "live_mounts"],
    &["store", "resolve", "together"],
    &["host", "volume", "codec", "layout"],
    &["archive", "ordered", "batch", "mountinfo", "units", "durable"],
    &["monitor"],
    &["error"],
    &["member"],
];

fn level(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

fn files_below(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// The sources of a crate by the path of their module: `["archive", "reader"]`.
struct Crate {
    sources: BTreeMap<Vec<String>, Source>,
}

/// Which module uses which, and the first line that does.
type Arrows = BTreeMap<Vec<String>, BTreeMap<Vec<String>, usize>>;

impl Crate {
    /// Those of these files (path below `src/`, text) that are not for tests only.
    fn new<'a>(files: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        let mut sources: BTreeMap<Vec<String>, Source> = files
            .into_iter()
            .filter(|(file, _)| *file != "lib.rs")
            .map(|(file, text)| {
                let path = file.trim_end_matches(".rs").trim_end_matches("/mod");
                let module: Vec<String> = path.split('/').map(str::to_owned).collect();
                let source = Source::read(&module, &text);
                (module, source)
            })
            .collect();
        let tests: Vec<Vec<String>> = sources
            .iter()
            .flat_map(|(module, source)| {
                source.test_modules.iter().map(|name| [module, std::slice::from_ref(name)].concat())
            })
            .collect();
        sources.retain(|module, _| !tests.iter().any(|test| module.starts_with(test)));
        Self { sources }
    }

    fn of_this_repository() -> Self {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = Vec::new();
        files_below(&src, &mut files);
        assert!(files.len() > 30, "the sources were not found");
        let named: Vec<(String, String)> = files
            .iter()
            .map(|file| {
                (file.strip_prefix(&src).unwrap().to_str().unwrap().to_owned(), fs::read_to_string(file).unwrap())
            })
            .collect();
        Self::new(named.iter().map(|(name, text)| (name.as_str(), text.clone())))
    }

    /// The module that defines what `path` names.
    fn definer(&self, path: &[String]) -> Option<Vec<String>> {
        let mut path = path.to_vec();
        // As many steps as there are sources: then it is a circle of `pub use`.
        for _ in &self.sources {
            let module =
                (1..=path.len()).rev().map(|length| &path[..length]).find(|at| self.sources.contains_key(*at))?;
            let exported = path.get(module.len()).and_then(|item| {
                let exports = &self.sources[module].used;
                exports.iter().find(|used| used.exported_as.as_ref() == Some(item))
            });
            match exported {
                Some(used) if used.path != path => {
                    path = [used.path.as_slice(), &path[module.len() + 1..]].concat();
                }
                _ => return Some(module.to_vec()),
            }
        }
        None
    }

    /// The uses between the files of each directory.
    fn arrows(&self) -> Arrows {
        let mut arrows = Arrows::new();
        for (module, source) in &self.sources {
            for used in &source.used {
                if used.exported_as.as_ref().is_some_and(|name| !source.words.contains(name)) {
                    continue;
                }
                let Some(target) = self.definer(&used.path) else { continue };
                if target != *module && target[0] == module[0] {
                    arrows.entry(module.clone()).or_default().entry(target).or_insert(used.line);
                }
            }
        }
        arrows
    }

    /// The circles between files: for each group of files that all reach each other, the uses between them.
    fn circles(&self) -> Vec<String> {
        let arrows = self.arrows();
        let reached: BTreeMap<&Vec<String>, BTreeSet<&Vec<String>>> =
            arrows.keys().map(|module| (module, reachable(&arrows, module))).collect();
        let together = |a, b| reached.get(a).is_some_and(|to| to.contains(b)) && reached[b].contains(a);
        let mut seen = BTreeSet::new();
        let mut circles = Vec::new();
        for module in arrows.keys().filter(|module| reached[*module].contains(*module)) {
            if seen.contains(module) {
                continue;
            }
            let group: Vec<_> = arrows.keys().filter(|other| together(module, *other)).collect();
            seen.extend(group.iter().copied());
            let mut lines = vec![format!("{} files that use each other in a circle:", group.len())];
            for from in &group {
                for (to, line) in arrows[*from].iter().filter(|(to, _)| group.contains(to)) {
                    lines.push(format!("    {} uses {} (line {line})", from.join("::"), to.join("::")));
                }
            }
            circles.push(lines.join("\n"));
        }
        circles
    }

    /// The uses of modules that are not in a layer below, and the modules without a layer.
    fn wrong_arrows(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        for (module, source) in &self.sources {
            let from = &module[0];
            let Some(own) = level(from) else {
                wrong.push(format!("'{from}' has no layer"));
                continue;
            };
            for used in &source.used {
                let Some(to) = used.path.first().filter(|to| *to != from) else { continue };
                let down = level(to).is_some_and(|level| level > own);
                if !down {
                    wrong.push(format!("{} uses {} (line {})", module.join("::"), used.path.join("::"), used.line));
                }
            }
        }
        wrong.dedup();
        wrong
    }
}

/// What `from` leads to, itself only if that is by a circle.
fn reachable<'a>(arrows: &'a Arrows, from: &Vec<String>) -> BTreeSet<&'a Vec<String>> {
    let mut reached = BTreeSet::new();
    let mut left: Vec<&Vec<String>> = arrows.get(from).into_iter().flat_map(BTreeMap::keys).collect();
    while let Some(module) = left.pop() {
        if reached.insert(module) {
            left.extend(arrows.get(module).into_iter().flat_map(BTreeMap::keys));
        }
    }
    reached
}

#[test]
fn arrows_point_down() {
    let mut wrong = Crate::of_this_repository().wrong_arrows();
    for module in LAYERS.iter().copied().flatten() {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        if !src.join(format!("{module}.rs")).exists() && !src.join(module).join("mod.rs").exists() {
            wrong.push(format!("'{module}' has a layer and does not exist"));
        }
    }
    assert!(wrong.is_empty(), "arrows that point up or sideways:\n{}", wrong.join("\n"));
}

#[test]
fn files_form_no_circle() {
    let circles = Crate::of_this_repository().circles();
    assert!(circles.is_empty(), "circles between files:\n{}", circles.join("\n"));
}

#[test]
#[allow(clippy::print_stdout, reason = "this is the table; the harness shows it with --nocapture")]
fn table_of_modules() {
    let sources = Crate::of_this_repository().sources;
    println!("{:<11} {:>6} {:>6}  uses", "module", "files", "lines");
    for module in LAYERS.iter().copied().flatten() {
        let own: Vec<_> = sources.iter().filter(|(path, _)| path[0] == **module).map(|(_, source)| source).collect();
        let lines: usize = own.iter().map(|source| source.lines).sum();
        let used: BTreeSet<&str> = own
            .iter()
            .flat_map(|source| &source.used)
            .filter_map(|used| used.path.first())
            .map(String::as_str)
            .filter(|name| name != module)
            .collect();
        let used: Vec<&str> = used.into_iter().collect();
        println!("{module:<11} {:>6} {lines:>6}  {}", own.len(), used.join(" "));
    }
}

#[test]
fn every_module_says_what_it_is_for() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    files_below(&src, &mut files);
    let silent: Vec<_> = files
        .iter()
        .filter(|file| !file.ends_with("tests.rs"))
        .filter(|file| !fs::read_to_string(file).unwrap().starts_with("//! "))
        .collect();
    assert!(silent.is_empty(), "no //! at the top of {silent:?}");
}

/// Tests of the checks themselves, with what they are to find planted.
mod planted {
    use super::Crate;

    fn tree(files: &[(&str, &str)]) -> Crate {
        Crate::new(files.iter().map(|&(file, text)| (file, text.to_owned())))
    }

    #[test]
    fn an_upward_arrow_below_a_test_module_is_found() {
        let text = "mod ahead;\n#[cfg(test)]\nmod tests;\n\nuse crate::plan::Plan;\n";
        assert_eq!(tree(&[("archiver/mod.rs", text)]).wrong_arrows(), ["archiver uses plan::Plan (line 5)"]);
        let text = "#[cfg(test)]\nmod tests { use crate::main; fn f() { if x { y } } }\nfn g() { crate::plan::plan() }";
        assert_eq!(tree(&[("archiver/mod.rs", text)]).wrong_arrows(), ["archiver uses plan::plan (line 3)"]);
    }

    #[test]
    fn a_group_in_braces_is_found() {
        let text = "use crate::{\n    error::{self, Error},\n    plan::{Plan, measure as m},\n    report,\n};";
        let wrong = tree(&[("codec/mod.rs", text)]).wrong_arrows();
        assert_eq!(
            wrong,
            ["codec uses plan::Plan (line 3)", "codec uses plan::measure (line 3)", "codec uses report (line 4)",]
        );
        let text = "fn f() { voltar::report::run(super::super::backup::run) }";
        let wrong = tree(&[("codec/a.rs", text)]).wrong_arrows();
        assert_eq!(wrong, ["codec::a uses report::run (line 1)", "codec::a uses backup::run (line 1)"]);
    }

    #[test]
    fn what_only_tests_and_texts_name_does_not_count() {
        let text = r##"
            //! [`crate::report`]
            /* use crate::report; /* nested */ use crate::report; */
            const A: (&str, &str, char) = ("use crate::report; \" ", r#"" crate::report::x "#, '"');
            pub(in crate::codec) fn f<'a>(b: &'a [u8]) { b"crate::report::x"; b'"'; '\''; }
            #[cfg(test)]
            use crate::report::{self, output};
            #[cfg(test)]
            #[allow(dead_code)]
            pub(crate) fn g(a: [u8; 4]) -> crate::report::R { crate::report::x() }
            #[cfg(all(test, unix))]
            const H: crate::report::R = crate::report::R { x: 1 };
            struct S { #[cfg(test)] a: crate::report::R, b: u8 }
        "##;
        assert!(tree(&[("codec/mod.rs", text)]).wrong_arrows().is_empty());
        let files = [("codec/mod.rs", "#[cfg(test)]\nmod tests;"), ("codec/tests.rs", "use crate::report;")];
        assert!(tree(&files).wrong_arrows().is_empty());
        let not_test = "#[cfg(not(test))]\nuse crate::report;\n#[cfg(any(test, unix))]\nuse crate::plan;";
        assert_eq!(tree(&[("codec/mod.rs", not_test)]).wrong_arrows().len(), 2);
    }

    #[test]
    fn a_module_without_a_layer_is_found() {
        assert_eq!(tree(&[("nowhere.rs", "")]).wrong_arrows(), ["'nowhere' has no layer"]);
    }

    #[test]
    fn a_circle_between_files_is_found() {
        let files = [
            ("codec/mod.rs", "mod a; mod b; mod c;"),
            ("codec/a.rs", "use super::b::B;"),
            ("codec/b.rs", "fn f() { crate::codec::c::f() }"),
            ("codec/c.rs", "use super::{a::A, d};"),
            ("codec/d/mod.rs", "use crate::codec::a::A;"),
        ];
        let circle = "4 files that use each other in a circle:\n    codec::a uses codec::b (line 1)\n    \
                      codec::b uses codec::c (line 1)\n    codec::c uses codec::a (line 1)\n    \
                      codec::c uses codec::d (line 1)\n    codec::d uses codec::a (line 1)";
        assert_eq!(tree(&files).circles(), [circle]);
        assert!(tree(&files[..3]).circles().is_empty());
    }

    #[test]
    fn a_parent_offers_its_children_or_defines_what_they_use() {
        let child = ("codec/a.rs", "use super::Shared; pub struct A;");
        let circles = |parent: &str| tree(&[("codec/mod.rs", parent), child]).circles().len();
        assert_eq!(circles("mod a; pub use a::A; pub struct Shared;"), 0, "it offers `A`, and does not use it");
        assert_eq!(circles("mod a; pub use a::A; pub struct Shared; fn f() -> A { A }"), 1);
        assert_eq!(circles("mod a; use self::a::A; pub struct Shared;"), 1);
        assert_eq!(circles("mod a; pub struct Shared; fn f() { a::f() }"), 1);
        // The names that `mod.rs` only passes on are those of the file that defines them.
        let sibling = ("codec/b.rs", "use super::A; pub struct Shared;");
        let files = [("codec/mod.rs", "mod a; mod b; pub use a::A; pub use b::Shared as Shared;"), child, sibling];
        assert_eq!(tree(&files).circles().len(), 1);
        assert_eq!(tree(&files[..2]).circles().len(), 0);
    }
}
