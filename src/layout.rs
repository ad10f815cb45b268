//! Layouts: which path of which container each archive holds. The `cvat` layout is built in; TOML files
//! describe other stacks. `resolve` finds the containers of a layout on a host.

use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::member::{RelPath, printable};

/// The names of the built-in layouts.
const BUILT_IN: &[&str] = &["cvat"];

/// The size limit of a layout file, in bytes; it usually has a few lines.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// The length limit of an archive's name, in bytes: the file name, which also has a suffix and, while it is written, a
/// temporary suffix, must not exceed `NAME_MAX` (255).
const MAX_NAME_BYTES: usize = 200;

/// The archives of a stack, and the paths of their data in containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// `cvat`, or the path of the file that it was read from.
    pub name: String,
    /// The archives, in the order in which they are processed and shown.
    pub archives: Vec<ArchiveSpec>,
    /// The container, or compose service, of those generations of the stack whose guide writes gzip; earlier ones write
    /// bzip2.
    pub gzip_with: Option<String>,
}

/// The description of one archive: where its data is, and when it is selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveSpec {
    /// The file name of the archive without its suffix.
    pub name: String,
    /// The paths that may hold the data, the preferred one first: a later generation of a stack before an earlier one.
    pub alternatives: Vec<ContainerPath>,
    /// Whether it is left out if its container does not exist.
    pub optional: bool,
    /// Whether it is selected only by `--all` or by name.
    pub extra: bool,
    /// The name of the volume in the compose file, by which it is found when the container does not exist.
    pub volume: String,
}

/// A path in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerPath {
    /// The container's name, or its compose service.
    pub container: String,
    /// The path in the container, without its leading slash.
    pub path: RelPath,
}

impl Layout {
    /// Loads the layout that an argument names: a built-in one, or a file.
    ///
    /// # Errors
    /// The file cannot be read, or it is not a layout.
    pub fn load(argument: &str) -> Result<Self> {
        if argument == "cvat" {
            return Ok(cvat());
        }
        let file = Path::new(argument);
        let length = std::fs::metadata(file).map(|found| found.len()).map_err(|cause| unreadable(argument, &cause))?;
        if length > MAX_FILE_BYTES {
            return Err(Error::usage(format!("layout '{}' is too large to be a layout file", shown(argument))));
        }
        let text = std::fs::read_to_string(file).map_err(|cause| unreadable(argument, &cause))?;
        Self::parse(argument, &text)
    }

    /// Parses the text of a layout file; `file` is its name in messages.
    ///
    /// # Errors
    /// The text is not a layout; the message holds the line.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let document: Document = toml::from_str(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(text, span.start));
            // The message of toml has several lines; the first one is the reason.
            let reason = error.message().lines().next().unwrap_or_default();
            Error::usage(format!("layout '{}', line {line}: {}", shown(file), shown(reason))).hint(EXAMPLE)
        })?;
        if document.archive.is_empty() {
            return Err(Error::usage(format!("layout '{}' names no archive", shown(file))).hint(EXAMPLE));
        }
        let mut archives: Vec<ArchiveSpec> = Vec::with_capacity(document.archive.len());
        for table in document.archive {
            let line = line_of(text, table.span().start);
            let spec = table.into_inner().check().and_then(|spec| {
                let taken = archives.iter().any(|earlier| earlier.name == spec.name);
                if taken { Err(format!("a second archive is named '{}'", shown(&spec.name))) } else { Ok(spec) }
            });
            let number = archives.len() + 1;
            archives.push(spec.map_err(|reason| {
                Error::usage(format!("layout '{}', line {line}, archive {number}: {reason}", shown(file)))
            })?);
        }
        Ok(Self { name: file.to_owned(), archives, gzip_with: None })
    }

    /// Returns the names of all archives.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.archives.iter().map(|spec| spec.name.as_str()).collect()
    }
}

const EXAMPLE: &str = "an entry reads: [[archive]] name = \"media\" container = \"web\" path = \"/srv/media\" (one key a line), \
                       and optionally: optional = true";

fn unreadable(argument: &str, cause: &std::io::Error) -> Error {
    if cause.kind() == std::io::ErrorKind::NotFound && !argument.contains(['/', '.']) {
        return Error::usage(format!("there is no built-in layout '{}', and no file with that name", shown(argument)))
            .hint(format!("built in: {}", BUILT_IN.join(", ")));
    }
    Error::failed("cannot read layout", argument, cause)
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|&byte| byte == b'\n').count() + 1
}

fn shown(text: &str) -> String {
    printable(text.as_bytes())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    archive: Vec<toml::Spanned<Table>>,
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

impl Table {
    fn check(self) -> std::result::Result<ArchiveSpec, String> {
        let Self { name, container, path, optional } = self;
        check_name(&name)?;
        if container.is_empty() || container.contains('/') || container.chars().any(char::is_control) {
            return Err(format!("'{}' is not a container name", shown(&container)));
        }
        if !path.starts_with('/') {
            return Err(format!("path '{}' is not absolute", shown(&path)));
        }
        let below = RelPath::parse(path.as_bytes()).map_err(|bad| format!("path '{}': {bad}", shown(&path)))?;
        if below.is_root() {
            return Err("path '/' is the root of the container: name the directory that holds its data".to_owned());
        }
        let volume = name.clone();
        Ok(ArchiveSpec {
            name,
            alternatives: vec![ContainerPath { container, path: below }],
            optional,
            extra: false,
            volume,
        })
    }
}

/// Checks an archive's name: one path component that is not hidden.
fn check_name(name: &str) -> std::result::Result<(), String> {
    let reason = if name.is_empty() {
        "is empty"
    } else if name.contains('/') {
        "holds a '/'"
    } else if name.starts_with('.') {
        "begins with a dot"
    } else if name.chars().any(char::is_control) {
        "holds a control character"
    } else if name.len() > MAX_NAME_BYTES {
        "is too long for a file name"
    } else {
        return Ok(());
    };
    Err(format!("name '{}' {reason}", shown(name)))
}

/// Returns the layout of CVAT 1.3 and later. The media container is `cvat` up to 2.1 and `cvat_server` since 2.2. The
/// events are in Elasticsearch before 2.4 and in `ClickHouse` since. Redis was added in 2.6.2 and split into two
/// containers in 2.10.
fn cvat() -> Layout {
    const MEDIA: [&str; 2] = ["cvat_server", "cvat"];
    let media = |path: &'static [u8]| MEDIA.map(|container| (container, path));
    Layout {
        name: "cvat".to_owned(),
        // CVAT's guide since 2.2.
        gzip_with: Some("cvat_server".to_owned()),
        archives: vec![
            built_in("cvat_db", &[("cvat_db", b"/var/lib/postgresql/data")]),
            built_in("cvat_data", &media(b"/home/django/data")),
            optional("cvat_events", &[("cvat_elasticsearch", b"/usr/share/elasticsearch/data")]),
            optional("cvat_events_db", &[("cvat_clickhouse", b"/var/lib/clickhouse")]),
            extra("cvat_keys", &media(b"/home/django/keys")),
            extra("cvat_logs", &media(b"/home/django/logs")),
            extra(
                "cvat_cache_db",
                &[
                    ("cvat_redis_ondisk", b"/var/lib/kvrocks/data"),
                    ("cvat_redis_ondisk", b"/data"),
                    ("cvat_redis", b"/data"),
                ],
            ),
            extra("cvat_inmem_db", &[("cvat_redis_inmem", b"/data")]),
        ],
    }
}

fn built_in(name: &str, paths: &[(&str, &[u8])]) -> ArchiveSpec {
    ArchiveSpec {
        name: name.to_owned(),
        alternatives: paths
            .iter()
            // The paths are constants without '..' or NUL; a test covers all of them.
            .filter_map(|&(container, path)| {
                Some(ContainerPath { container: container.to_owned(), path: RelPath::parse(path).ok()? })
            })
            .collect(),
        optional: false,
        extra: false,
        volume: name.to_owned(),
    }
}

fn optional(name: &str, paths: &[(&str, &[u8])]) -> ArchiveSpec {
    ArchiveSpec { optional: true, ..built_in(name, paths) }
}

fn extra(name: &str, paths: &[(&str, &[u8])]) -> ArchiveSpec {
    ArchiveSpec { extra: true, ..optional(name, paths) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn refusal(text: &str) -> String {
        let error = Layout::parse("my.toml", text).expect_err(text);
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(!error.to_string().contains('\n'), "one line: {error}");
        error.to_string()
    }

    fn entry(name: &str, path: &str) -> String {
        format!("[[archive]]\nname = \"{name}\"\ncontainer = \"web\"\npath = \"{path}\"\n")
    }

    #[test]
    fn the_built_in_layout_is_that_of_the_cvat_guide() {
        let layout = Layout::load("cvat").unwrap();
        let shown: Vec<String> = layout
            .archives
            .iter()
            .map(|spec| {
                let paths: Vec<String> =
                    spec.alternatives.iter().map(|one| format!("{}:{}", one.container, one.path)).collect();
                let symbol = if spec.extra {
                    "*"
                } else if spec.optional {
                    "?"
                } else {
                    ""
                };
                assert_eq!(spec.volume, spec.name);
                format!("{}{symbol} {}", spec.name, paths.join(" "))
            })
            .collect();
        assert_eq!(
            shown,
            [
                "cvat_db cvat_db:var/lib/postgresql/data",
                "cvat_data cvat_server:home/django/data cvat:home/django/data",
                "cvat_events? cvat_elasticsearch:usr/share/elasticsearch/data",
                "cvat_events_db? cvat_clickhouse:var/lib/clickhouse",
                "cvat_keys* cvat_server:home/django/keys cvat:home/django/keys",
                "cvat_logs* cvat_server:home/django/logs cvat:home/django/logs",
                "cvat_cache_db* cvat_redis_ondisk:var/lib/kvrocks/data cvat_redis_ondisk:data cvat_redis:data",
                "cvat_inmem_db* cvat_redis_inmem:data",
            ]
        );
    }

    #[test]
    fn a_file_names_archives() {
        let text = entry("db", "/var/lib/mysql/") + &entry("media", "//srv/media") + "optional = true\n";
        let layout = Layout::parse("my.toml", &text).unwrap();
        assert_eq!(layout.names(), ["db", "media"]);
        assert_eq!(layout.archives[0].alternatives[0].path.as_bytes(), b"var/lib/mysql");
        assert!(!layout.archives[0].optional && layout.archives[1].optional);
        assert_eq!(layout.archives[1].volume, "media");
    }

    #[test]
    fn unknown_keys_are_errors_with_their_line() {
        let text = entry("db", "/data") + "optoinal = true\n";
        assert_eq!(
            refusal(&text),
            "layout 'my.toml', line 5: unknown field `optoinal`, expected one of `name`, `container`, `path`, `optional`"
        );
        assert!(refusal("[archives]\n").contains("unknown field `archives`"));
    }

    #[test]
    fn names_must_be_file_names() {
        for (name, reason) in [
            ("", "is empty"),
            ("a/b", "holds a '/'"),
            (".db", "begins with a dot"),
            ("..", "begins with a dot"),
            ("a\\u0007", "control"),
            (&"x".repeat(201), "too long"),
        ] {
            assert!(refusal(&entry(name, "/data")).contains(reason), "{name}");
        }
        Layout::parse("my.toml", &entry(&"x".repeat(200), "/data")).unwrap();
        assert_eq!(
            refusal(&(entry("db", "/data") + &entry("db", "/other"))),
            "layout 'my.toml', line 5, archive 2: a second archive is named 'db'"
        );
    }

    #[test]
    fn paths_are_absolute_and_stay_below() {
        assert!(refusal(&entry("db", "data")).ends_with("path 'data' is not absolute"));
        assert!(refusal(&entry("db", "/a/../b")).ends_with("path '/a/../b': the name holds '..'"));
        assert!(refusal(&entry("db", "/./")).contains("the root of the container"));
    }

    #[test]
    fn incomplete_files_are_errors() {
        assert_eq!(refusal(""), "layout 'my.toml' names no archive");
        assert!(refusal("[[archive]]\nname = \"db\"\n").contains("missing field `container`"));
        assert!(refusal("name =").starts_with("layout 'my.toml', line 1: "));
        assert!(
            refusal("[[archive]]\nname = \"db\"\ncontainer = \"\"\npath = \"/d\"\n")
                .contains("is not a container name")
        );
    }

    #[test]
    fn a_mistyped_built_in_name_lists_them() {
        let error = Layout::load("cvta").unwrap_err();
        assert_eq!(error.to_string(), "there is no built-in layout 'cvta', and no file with that name");
        assert_eq!(error.advice(), Some("built in: cvat"));
    }
}
