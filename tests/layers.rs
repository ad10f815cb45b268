//! Checks the layers of the crate in its sources.
//!
//! * A module uses only modules on the lines of [`LAYERS`] below its own.
//! * The files of a directory of `src/` do not depend on each other in a cycle. The dependencies of a file are its
//!   `crate::`, `super::` and `self::` paths, including groups in braces, and the paths that begin with a module which
//!   it declares. A path is a dependency on the file that defines the name: `pub use` in a `mod.rs` is resolved.
//!   Neither `mod child;` nor `pub use child::Name;` alone is a dependency, but any other occurrence of `Name` in
//!   `mod.rs` is. So a `mod.rs` may re-export its children and define what they use; if it also uses them, that is a
//!   cycle.
//!
//! Items under `#[cfg(test)]` are ignored. There are no exceptions.
//!
//! `cargo test --test layers table -- --nocapture` prints each module with its number of lines and its dependencies.

#![allow(clippy::unwrap_used, reason = "a test that cannot continue fails")]
#![allow(unreachable_pub, reason = "a test crate exports nothing; `pub` reads better than `pub(crate)`")]

#[path = "layers/source.rs"]
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use source::Source;

/// The layers, from the top down. Modules on one line may not use each other.
const LAYERS: &[&[&str]] = &[
    &["main"],
    &["around_backup"],
    &["request", "config", "manual"],
    &["report", "cli"],
    &["hooks"],
    &["backup_into"],
    &["backup", "prune", "restore", "restore_to", "resume", "verify", "list", "discover"],
    &["plan", "new_volumes"],
    &["recovery", "compare"],
    &["archiver", "extractor", "volume_locks"],
    &["archive_file", "live_mounts"],
    &["store", "resolve", "together", "touched"],
    &["layout"],
    &["host", "volume", "codec", "mapped_xattrs", "text_file"],
    &[
        "archive",
        "ordered",
        "batch",
        "check",
        "exclude",
        "mountinfo",
        "identity",
        "ids",
        "units",
        "durable",
        "filesystem",
        "holes",
        "index",
        "manifest",
        "postgres",
        "process_group",
        "recorder",
    ],
    &["apart"],
    &["monitor"],
    &["error", "difference", "limits", "pieces"],
    &["member"],
    &["acl", "xattrs", "digest", "openat2", "renameat2"],
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

/// The sources of a crate, by the path of their module (`["archive", "reader"]`).
struct Crate {
    sources: BTreeMap<Vec<String>, Source>,
}

/// The dependencies of each module, with the first line that uses them.
type Dependencies = BTreeMap<Vec<String>, BTreeMap<Vec<String>, usize>>;

impl Crate {
    /// Reads files (path below `src/`, text), except those that are only for tests.
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

    /// Returns the module that defines the item at `path`.
    fn defining_module(&self, path: &[String]) -> Option<Vec<String>> {
        let mut path = path.to_vec();
        // More steps than there are sources would be a cycle of `pub use`.
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

    /// Returns the dependencies between the files of each directory.
    fn dependencies(&self) -> Dependencies {
        let mut dependencies = Dependencies::new();
        for (module, source) in &self.sources {
            for used in &source.used {
                if used.exported_as.as_ref().is_some_and(|name| !source.identifiers.contains(name)) {
                    continue;
                }
                let Some(target) = self.defining_module(&used.path) else { continue };
                if target != *module && target[0] == module[0] {
                    dependencies.entry(module.clone()).or_default().entry(target).or_insert(used.line);
                }
            }
        }
        dependencies
    }

    /// Returns the cycles between files: for each group of files that depend on each other, the dependencies in it.
    fn cycles(&self) -> Vec<String> {
        let dependencies = self.dependencies();
        let reached: BTreeMap<&Vec<String>, BTreeSet<&Vec<String>>> =
            dependencies.keys().map(|module| (module, reachable(&dependencies, module))).collect();
        let together = |a, b| reached.get(a).is_some_and(|to| to.contains(b)) && reached[b].contains(a);
        let mut seen = BTreeSet::new();
        let mut cycles = Vec::new();
        for module in dependencies.keys().filter(|module| reached[*module].contains(*module)) {
            if seen.contains(module) {
                continue;
            }
            let group: Vec<_> = dependencies.keys().filter(|other| together(module, *other)).collect();
            seen.extend(group.iter().copied());
            let mut lines = vec![format!("{} files that use each other in a cycle:", group.len())];
            for from in &group {
                for (to, line) in dependencies[*from].iter().filter(|(to, _)| group.contains(to)) {
                    lines.push(format!("    {} uses {} (line {line})", from.join("::"), to.join("::")));
                }
            }
            cycles.push(lines.join("\n"));
        }
        cycles
    }

    /// Returns the uses of modules that are not in a layer below, and the modules without a layer.
    fn violations(&self) -> Vec<String> {
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

/// Returns the direct and indirect dependencies of `from`; it is among them only if it is in a cycle.
fn reachable<'a>(dependencies: &'a Dependencies, from: &Vec<String>) -> BTreeSet<&'a Vec<String>> {
    let mut reached = BTreeSet::new();
    let mut left: Vec<&Vec<String>> = dependencies.get(from).into_iter().flat_map(BTreeMap::keys).collect();
    while let Some(module) = left.pop() {
        if reached.insert(module) {
            left.extend(dependencies.get(module).into_iter().flat_map(BTreeMap::keys));
        }
    }
    reached
}

#[test]
fn modules_use_only_layers_below() {
    let mut wrong = Crate::of_this_repository().violations();
    for module in LAYERS.iter().copied().flatten() {
        let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        if !src.join(format!("{module}.rs")).exists() && !src.join(module).join("mod.rs").exists() {
            wrong.push(format!("'{module}' has a layer but does not exist"));
        }
    }
    assert!(wrong.is_empty(), "uses of a layer that is not below:\n{}", wrong.join("\n"));
}

#[test]
fn files_form_no_cycle() {
    let cycles = Crate::of_this_repository().cycles();
    assert!(cycles.is_empty(), "cycles between files:\n{}", cycles.join("\n"));
}

#[test]
#[allow(clippy::print_stdout, reason = "the test harness prints the table with --nocapture")]
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
fn every_module_has_documentation() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    files_below(&src, &mut files);
    let undocumented: Vec<_> = files
        .iter()
        .filter(|file| !file.ends_with("tests.rs"))
        .filter(|file| !fs::read_to_string(file).unwrap().starts_with("//! "))
        .collect();
    assert!(undocumented.is_empty(), "no //! at the top of {undocumented:?}");
}

/// Tests of the checks themselves, with sources that violate the rules.
mod self_tests {
    use super::Crate;

    fn tree(files: &[(&str, &str)]) -> Crate {
        Crate::new(files.iter().map(|&(file, text)| (file, text.to_owned())))
    }

    #[test]
    fn a_use_of_a_higher_layer_after_a_test_module_is_found() {
        let text = "mod ahead;\n#[cfg(test)]\nmod tests;\n\nuse crate::plan::Plan;\n";
        assert_eq!(tree(&[("archiver/mod.rs", text)]).violations(), ["archiver uses plan::Plan (line 5)"]);
        let text = "#[cfg(test)]\nmod tests { use crate::main; fn f() { if x { y } } }\nfn g() { crate::plan::plan() }";
        assert_eq!(tree(&[("archiver/mod.rs", text)]).violations(), ["archiver uses plan::plan (line 3)"]);
    }

    #[test]
    fn a_group_in_braces_is_found() {
        let text = "use crate::{\n    error::{self, Error},\n    plan::{Plan, measure as m},\n    report,\n};";
        let wrong = tree(&[("codec/mod.rs", text)]).violations();
        assert_eq!(
            wrong,
            ["codec uses plan::Plan (line 3)", "codec uses plan::measure (line 3)", "codec uses report (line 4)",]
        );
        let text = "fn f() { voltar::report::run(super::super::backup::run) }";
        let wrong = tree(&[("codec/a.rs", text)]).violations();
        assert_eq!(wrong, ["codec::a uses report::run (line 1)", "codec::a uses backup::run (line 1)"]);
    }

    #[test]
    fn tests_comments_and_literals_are_ignored() {
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
        assert!(tree(&[("codec/mod.rs", text)]).violations().is_empty());
        let files = [("codec/mod.rs", "#[cfg(test)]\nmod tests;"), ("codec/tests.rs", "use crate::report;")];
        assert!(tree(&files).violations().is_empty());
        let not_test = "#[cfg(not(test))]\nuse crate::report;\n#[cfg(any(test, unix))]\nuse crate::plan;";
        assert_eq!(tree(&[("codec/mod.rs", not_test)]).violations().len(), 2);
    }

    #[test]
    fn a_module_without_a_layer_is_found() {
        assert_eq!(tree(&[("nowhere.rs", "")]).violations(), ["'nowhere' has no layer"]);
    }

    #[test]
    fn a_cycle_between_files_is_found() {
        let files = [
            ("codec/mod.rs", "mod a; mod b; mod c;"),
            ("codec/a.rs", "use super::b::B;"),
            ("codec/b.rs", "fn f() { crate::codec::c::f() }"),
            ("codec/c.rs", "use super::{a::A, d};"),
            ("codec/d/mod.rs", "use crate::codec::a::A;"),
        ];
        let cycle = "4 files that use each other in a cycle:\n    codec::a uses codec::b (line 1)\n    \
                      codec::b uses codec::c (line 1)\n    codec::c uses codec::a (line 1)\n    \
                      codec::c uses codec::d (line 1)\n    codec::d uses codec::a (line 1)";
        assert_eq!(tree(&files).cycles(), [cycle]);
        assert!(tree(&files[..3]).cycles().is_empty());
    }

    #[test]
    fn a_parent_re_exports_its_children_or_defines_what_they_use() {
        let child = ("codec/a.rs", "use super::Shared; pub struct A;");
        let cycles = |parent: &str| tree(&[("codec/mod.rs", parent), child]).cycles().len();
        assert_eq!(cycles("mod a; pub use a::A; pub struct Shared;"), 0, "it re-exports `A`, and does not use it");
        assert_eq!(cycles("mod a; pub use a::A; pub struct Shared; fn f() -> A { A }"), 1);
        assert_eq!(cycles("mod a; use self::a::A; pub struct Shared;"), 1);
        assert_eq!(cycles("mod a; pub struct Shared; fn f() { a::f() }"), 1);
        // A name that `mod.rs` only re-exports is a dependency on the file that defines it.
        let sibling = ("codec/b.rs", "use super::A; pub struct Shared;");
        let files = [("codec/mod.rs", "mod a; mod b; pub use a::A; pub use b::Shared as Shared;"), child, sibling];
        assert_eq!(tree(&files).cycles().len(), 1);
        assert_eq!(tree(&files[..2]).cycles().len(), 0);
    }
}
