//! Which paths of which containers make up which archive: CVAT's layouts of both generations, and layouts
//! from TOML files for any other stack. Knows nothing of what exists on a host.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::member::{RelPath, printable};

/// A set of archives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// Its name, or the file it was read from.
    pub name: String,
    /// Its archives, in the order they are told.
    pub archives: Vec<ArchiveSpec>,
}

/// One archive of a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveSpec {
    /// Its name without ending.
    pub name: String,
    /// Where its data can be, in the order of the application's generations, oldest first.
    pub sources: Vec<Source>,
    /// It is left out where its container does not exist.
    pub optional: bool,
    /// Only with `--all`, or by name.
    pub extra: bool,
}

/// A path of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The container's name, or its compose service.
    pub container: String,
    /// The path inside, without its leading slash.
    pub path: RelPath,
}

/// When an archive of CVAT's layout is written.
#[derive(Clone, Copy, PartialEq)]
enum When {
    Always,
    IfThere,
    WithAll,
}

/// CVAT's archives as its backup guide names them, from 1.3 (`cvat`) over 2.2 (`cvat_server`) on, and the
/// volumes that the guide leaves out.
const CVAT: &[(&str, When, &[(&str, &str)])] = &[
    ("cvat_db", When::Always, &[("cvat_db", "/var/lib/postgresql/data")]),
    ("cvat_data", When::Always, &[("cvat", "/home/django/data"), ("cvat_server", "/home/django/data")]),
    ("cvat_events", When::IfThere, &[("cvat_elasticsearch", "/usr/share/elasticsearch/data")]),
    ("cvat_events_db", When::IfThere, &[("cvat_clickhouse", "/var/lib/clickhouse")]),
    ("cvat_keys", When::WithAll, &[("cvat", "/home/django/keys"), ("cvat_server", "/home/django/keys")]),
    ("cvat_logs", When::WithAll, &[("cvat", "/home/django/logs"), ("cvat_server", "/home/django/logs")]),
    (
        "cvat_cache_db",
        When::WithAll,
        &[("cvat_redis", "/data"), ("cvat_redis_ondisk", "/data"), ("cvat_redis_ondisk", "/var/lib/kvrocks/data")],
    ),
    ("cvat_inmem_db", When::WithAll, &[("cvat_redis_inmem", "/data")]),
];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    archive: Vec<Table>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: String,
    container: String,
    path: String,
    #[serde(default)]
    optional: bool,
}

impl Layout {
    /// The built-in layout `cvat`, or the one in the TOML file of that name.
    pub fn load(name_or_file: &str) -> Result<Self> {
        if name_or_file == "cvat" {
            return Ok(Self::cvat());
        }
        let path = Path::new(name_or_file);
        let text = std::fs::read_to_string(path).map_err(|e| {
            Error::failed("cannot read the layout", path.as_os_str().as_bytes(), e)
                .hint("--layout takes `cvat` or a TOML file with [[archive]] tables")
        })?;
        Self::parse(name_or_file, &text)
    }

    /// The built-in layout.
    #[must_use]
    pub fn cvat() -> Self {
        let source = |&(container, path): &(&str, &str)| Source {
            container: container.to_owned(),
            // The table's paths are valid; a test reads them all.
            path: RelPath::parse(path.as_bytes()).unwrap_or_default(),
        };
        let spec = |&(name, when, sources): &(&str, When, &[(&str, &str)])| ArchiveSpec {
            name: name.to_owned(),
            sources: sources.iter().map(source).collect(),
            optional: when != When::Always,
            extra: when == When::WithAll,
        };
        Self { name: "cvat".to_owned(), archives: CVAT.iter().map(spec).collect() }
    }

    /// Reads a layout file's text.
    pub fn parse(name: &str, text: &str) -> Result<Self> {
        let name = printable(name.as_bytes());
        let wrong = |what: String| Error::usage(format!("layout '{name}': {what}"));
        let file: File = toml::from_str(text).map_err(|e| {
            let line = e.span().map(|span| text.get(..span.start).unwrap_or(text).matches('\n').count() + 1);
            let place = line.map(|line| format!("line {line}: ")).unwrap_or_default();
            wrong(format!("{place}{}", e.message().replace('\n', " ")))
                .hint("an [[archive]] table has name, container, path and, if it may be missing, optional = true")
        })?;
        if file.archive.is_empty() {
            return Err(wrong("it has no [[archive]] table".to_owned()));
        }
        let mut names = HashSet::new();
        let mut archives = Vec::with_capacity(file.archive.len());
        for table in file.archive {
            let shown = printable(table.name.as_bytes());
            if table.name.is_empty() || table.name.starts_with(['.', '-']) || table.name.contains(['/', '\0', ',']) {
                return Err(wrong(format!("'{shown}' is no name for an archive file")));
            }
            if !names.insert(table.name.clone()) {
                return Err(wrong(format!("two archives are called '{shown}'")));
            }
            if table.container.is_empty() || table.container.contains('/') {
                return Err(wrong(format!("archive '{shown}': '{}' is no container", printable(table.container.as_bytes()))));
            }
            let path = RelPath::parse(table.path.as_bytes()).ok().filter(|path| table.path.starts_with('/') && !path.is_root());
            let path = path.ok_or_else(|| {
                let given = printable(table.path.as_bytes());
                wrong(format!("archive '{shown}': '{given}' is no absolute path inside a container"))
            })?;
            archives.push(ArchiveSpec {
                name: table.name,
                sources: vec![Source { container: table.container, path }],
                optional: table.optional,
                extra: false,
            });
        }
        Ok(Self { name, archives })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cvats_paths_are_all_valid() {
        for spec in Layout::cvat().archives {
            for (source, &(_, path)) in spec.sources.iter().zip(CVAT.iter().find(|(n, ..)| *n == spec.name).unwrap().2) {
                assert_eq!(format!("/{}", source.path), path);
            }
        }
    }

    #[test]
    fn a_layout_file_says_what_it_must() {
        let layout = Layout::parse(
            "wiki.toml",
            "[[archive]]\nname = 'pages'\ncontainer = 'wiki'\npath = '/srv/pages/'\n\n[[archive]]\nname='db'\ncontainer='db'\npath='/data'\noptional=true\n",
        )
        .unwrap();
        assert_eq!(layout.archives[0].sources[0].path.as_bytes(), b"srv/pages");
        assert!(!layout.archives[0].optional);
        assert!(layout.archives[1].optional);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let table = |name: &str, container: &str, path: &str| {
            format!("[[archive]]\nname='{name}'\ncontainer='{container}'\npath='{path}'\n")
        };
        for (text, expected) in [
            (String::new(), "it has no [[archive]] table"),
            (table("a", "c", "/p") + "optionl = true", "line 5: unknown field `optionl`"),
            ("[[archiv]]".to_owned(), "line 1: unknown field `archiv`"),
            ("[[archive]]\nname = 3".to_owned(), "line 2: invalid type"),
            ("[[archive]]\nname='a'\ncontainer='c'".to_owned(), "missing field `path`"),
            (table("a/b", "c", "/p"), "'a/b' is no name for an archive file"),
            (table(".a", "c", "/p"), "'.a' is no name"),
            (table("a", "c", "p"), "archive 'a': 'p' is no absolute path"),
            (table("a", "c", "/x/../p"), "archive 'a': '/x/../p' is no absolute path"),
            (table("a", "c", "/"), "is no absolute path"),
            (table("a", "", "/p"), "archive 'a': '' is no container"),
            (table("a", "c", "/p").repeat(2), "two archives are called 'a'"),
            ("name = ".to_owned(), "line 1: "),
        ] {
            let error = Layout::parse("x.toml", &text).unwrap_err().to_string();
            assert!(error.starts_with("layout 'x.toml': ") && error.contains(expected), "{text}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
