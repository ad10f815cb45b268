//! Layouts: which path of which container, or which volume, each archive holds. The `cvat` layout is built in; TOML files
//! describe other stacks. `resolve` finds the containers and volumes of a layout on a host.

use std::io;
use std::path::Path;

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::check::Check;
use crate::codec::Format;
use crate::error::{Error, Result, carried};
use crate::exclude::{Exclude, Pattern};
use crate::member::{RelPath, printable};
use crate::monitor::Monitor;
use crate::text_file::{TextFile, line_and_reason, line_of};

/// The names of the built-in layouts.
const BUILT_IN: &[&str] = &["cvat"];

/// The length limit of an archive's name, in bytes: the file name, which also has a suffix and, while it is written, a
/// temporary suffix, must not exceed `NAME_MAX` (255).
pub(crate) const MAX_NAME_BYTES: usize = 200;

/// Where PostgreSQL's image keeps its cluster.
pub(crate) const CLUSTER: &[u8] = b"var/lib/postgresql/data";

/// The archives of a stack, and the paths of their data in containers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// `cvat`, or the path of the file that it was read from.
    pub name: String,
    /// The compose project of the stack, if the file names one.
    pub project: Option<String>,
    /// The archives, in the order in which they are processed and shown.
    pub archives: Vec<ArchiveSpec>,
    /// The container, or compose service, of those generations of the stack whose guide writes gzip; earlier ones write
    /// bzip2.
    pub gzip_with: Option<String>,
    /// The commands that tell whether the stack works after a restore.
    pub checks: Vec<Check>,
}

/// The description of one archive: where its data is, and when it is selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveSpec {
    /// The file name of the archive without its suffix.
    pub name: String,
    /// The path of the tree without its leading slash, if it is found through its volume: the prefix of all members.
    pub path: RelPath,
    /// The paths that may hold the data, the preferred one first: a later generation of a stack before an earlier one.
    /// Empty if it is found only through its volume.
    pub alternatives: Vec<ContainerPath>,
    /// Whether it is left out if its container does not exist.
    pub optional: bool,
    /// Whether it is selected only by `--all` or by name.
    pub extra: bool,
    /// The container, or compose service, of those generations of the stack in which it is not extra.
    pub usual_with: Option<String>,
    /// The volume by which it is found when the container does not exist: its name in the compose file, or its full name.
    pub volume: Option<String>,
    /// The format in which it is written; `None` for that of the guide of the stack.
    pub format: Option<Format>,
    /// The members that are left out of it.
    pub exclude: Exclude,
    /// What the application rebuilds by itself, which is left out on request.
    pub caches: Exclude,
    /// Whether it must hold a PostgreSQL cluster.
    pub database: bool,
}

impl ArchiveSpec {
    /// Returns the name of its volume in the compose file: the one that the layout gives, else that of the archive.
    #[must_use]
    pub fn volume_name(&self) -> &str {
        self.volume.as_deref().unwrap_or(&self.name)
    }
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
    /// Loads the layout that an argument names: a built-in one, or a file. A pipe of this process, such as `/dev/stdin` or
    /// `<(COMMAND)` of a shell, is waited for until `monitor` is cancelled.
    ///
    /// # Errors
    /// The file cannot be read, or it is not a layout; it has checks, and somebody else could have written them.
    pub fn load(argument: &str, monitor: &dyn Monitor) -> Result<Self> {
        if argument == "cvat" {
            return Ok(cvat());
        }
        let file = TextFile::read(Path::new(argument), monitor).map_err(|cause| unreadable(argument, &cause))?;
        let layout = Self::parse(argument, &file.text)?;
        if !layout.checks.is_empty() {
            let what = || format!("layout '{}', check", shown(argument));
            file.check_trusted(Path::new(argument)).map_err(|error| error.within(what()))?;
        }
        Ok(layout)
    }

    /// Parses the text of a layout file; `file` is its name in messages.
    ///
    /// # Errors
    /// The text is not a layout; the message holds the line.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let document: Document = toml::from_str(text).map_err(|error| {
            if let Some(line) = first_line_of_yaml(text) {
                let is_compose = text.lines().any(|line| line.starts_with("services:"));
                let begin = if is_compose { "`voltar layout` prints the layout of a compose project; " } else { "" };
                return Error::usage(format!(
                    "layout '{}', line {line}: this is YAML, and a layout is TOML",
                    shown(file)
                ))
                .hint(format!("{begin}{EXAMPLE}"));
            }
            let (line, reason) = line_and_reason(text, &error);
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
        let checks = document.check.iter().map(|text| Check::parse(text)).collect::<std::result::Result<_, _>>();
        let checks = checks.map_err(|bad| Error::usage(format!("layout '{}': check {bad}", shown(file))))?;
        Ok(Self { name: file.to_owned(), project: document.project, archives, gzip_with: None, checks })
    }

    /// Returns the layout that leaves out what applications rebuild by themselves, too; `None` if it says of no archive what
    /// that is.
    #[must_use]
    pub fn without_caches(&self) -> Option<Self> {
        let mut without = self.clone();
        for spec in &mut without.archives {
            spec.exclude = spec.exclude.and(&spec.caches);
        }
        self.archives.iter().any(|spec| !spec.caches.is_empty()).then_some(without)
    }

    /// Returns whether it is the built-in layout of CVAT.
    #[must_use]
    pub fn is_cvat(&self) -> bool {
        self.name == "cvat"
    }

    /// Returns the archive of this name.
    #[must_use]
    pub fn archive(&self, name: &str) -> Option<&ArchiveSpec> {
        self.archives.iter().find(|spec| spec.name == name)
    }

    /// Returns the names of all archives.
    #[must_use]
    pub fn names(&self) -> Vec<&str> {
        self.archives.iter().map(|spec| spec.name.as_str()).collect()
    }
}

const EXAMPLE: &str = "an entry reads: [[archive]] name = \"media\" container = \"web\" path = \"/srv/media\" (one key a line), \
                       and optionally volume, optional, format, exclude, caches and database (see the README)";

fn unreadable(argument: &str, cause: &std::io::Error) -> Error {
    if cause.kind() == std::io::ErrorKind::NotFound && !argument.contains(['/', '.']) {
        return Error::usage(format!("there is no built-in layout '{}', and no file with that name", shown(argument)))
            .hint(format!("built in: {}", BUILT_IN.join(", ")));
    }
    if let Some(interrupted) = carried::<Error>(cause) {
        return interrupted.clone();
    }
    let error = Error::failed("cannot read layout", argument, cause);
    if cause.kind() == io::ErrorKind::InvalidInput {
        return error.hint("`COMMAND | voltar … --layout /dev/stdin` reads one from a pipe");
    }
    error
}

/// Returns the number of the first line that is neither empty nor a comment, if it is a line of YAML.
fn first_line_of_yaml(text: &str) -> Option<usize> {
    let mut lines = text.lines().enumerate().map(|(i, line)| (i + 1, line.trim()));
    let (number, line) = lines.find(|(_, line)| !line.is_empty() && !line.starts_with('#'))?;
    let is_key = |key: &str| key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.\"'".contains(&byte));
    let is_entry = line
        .split_once(':')
        .is_some_and(|(key, value)| !key.is_empty() && is_key(key) && (value.is_empty() || value.starts_with(' ')));
    (line.starts_with("---") || line.starts_with("- ") || is_entry).then_some(number)
}

fn shown(text: &str) -> String {
    printable(text.as_bytes())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    project: Option<String>,
    /// Of a configuration file, which is a layout too: what backups are to do.
    #[serde(rename = "backup")]
    _backup: Option<IgnoredAny>,
    #[serde(rename = "hooks")]
    _hooks: Option<IgnoredAny>,
    #[serde(default)]
    check: Vec<String>,
    #[serde(default)]
    archive: Vec<toml::Spanned<Table>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: String,
    container: Option<String>,
    volume: Option<String>,
    path: String,
    #[serde(default)]
    optional: bool,
    format: Option<String>,
    #[serde(default)]
    exclude: Vec<String>,
    #[serde(default)]
    caches: Vec<String>,
    database: Option<bool>,
}

impl Table {
    fn check(self) -> std::result::Result<ArchiveSpec, String> {
        let Self { name, container, volume, path, optional, format, exclude, caches, database } = self;
        check_name(&name)?;
        for (what, given) in [("container", &container), ("volume", &volume)] {
            if let Some(given) = given.as_ref().filter(|given| !is_docker_name(given)) {
                return Err(format!("'{}' is not a {what} name", shown(given)));
            }
        }
        if container.is_none() && volume.is_none() {
            return Err("it names neither a container nor a volume".to_owned());
        }
        let path = check_path(&path)?;
        let format = format.map(|name| {
            Format::of_name(&name).ok_or_else(|| {
                let known = Format::ALL.map(|format| format.to_string()).join(", ");
                format!("there is no format '{}', only {known}", shown(&name))
            })
        });
        let alternatives = container.map(|container| ContainerPath { container, path: path.clone() });
        Ok(ArchiveSpec {
            name,
            database: database.unwrap_or(path.as_bytes() == CLUSTER),
            path,
            alternatives: alternatives.into_iter().collect(),
            optional,
            extra: false,
            usual_with: None,
            volume,
            format: format.transpose()?,
            exclude: patterns(&exclude)?,
            caches: patterns(&caches)?,
        })
    }
}

fn patterns(texts: &[String]) -> std::result::Result<Exclude, String> {
    let patterns = texts
        .iter()
        .map(|text| Pattern::parse(text.as_bytes()).map_err(|bad| format!("cannot exclude '{}': {bad}", shown(text))));
    patterns.collect::<std::result::Result<_, _>>().map(Exclude::new)
}

/// Returns whether `name` can be the name of a container, a compose service or a volume.
pub(crate) fn is_docker_name(name: &str) -> bool {
    !name.is_empty() && !name.contains('/') && !name.chars().any(char::is_control)
}

/// Checks the path of an archive: absolute, and below the root of the container.
fn check_path(path: &str) -> std::result::Result<RelPath, String> {
    if !path.starts_with('/') {
        return Err(format!("path '{}' is not absolute", shown(path)));
    }
    let below = RelPath::parse(path.as_bytes()).map_err(|bad| format!("path '{}': {bad}", shown(path)))?;
    if below.is_root() {
        return Err("path '/' is the root of the container: name the directory that holds its data".to_owned());
    }
    Ok(below)
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
        project: None,
        // CVAT's guide since 2.2.
        gzip_with: Some("cvat_server".to_owned()),
        checks: Vec::new(),
        archives: vec![
            built_in("cvat_db", &[("cvat_db", b"/var/lib/postgresql/data")]),
            ArchiveSpec { caches: cvat_caches(), ..built_in("cvat_data", &media(b"/home/django/data")) },
            optional("cvat_events", &[("cvat_elasticsearch", b"/usr/share/elasticsearch/data")]),
            optional("cvat_events_db", &[("cvat_clickhouse", b"/var/lib/clickhouse")]),
            // CVAT's guide lists this volume since 2.2.
            ArchiveSpec {
                usual_with: Some("cvat_server".to_owned()),
                ..extra("cvat_keys", &media(b"/home/django/keys"))
            },
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

/// The directories of CVAT's settings (`cvat/settings/base.py`) that it creates when it starts and fills as needed: `CACHE_ROOT`,
/// with parts of media, exports and events that were not sent yet, and `TMP_FILES_ROOT`.
fn cvat_caches() -> Exclude {
    let patterns = [&b"home/django/data/cache/*"[..], b"home/django/data/tmp/*"];
    Exclude::new(patterns.into_iter().filter_map(|text| Pattern::parse(text).ok()).collect())
}

fn built_in(name: &str, paths: &[(&str, &[u8])]) -> ArchiveSpec {
    // The paths are constants without '..' or NUL; a test covers all of them.
    let alternatives = paths.iter().filter_map(|&(container, path)| {
        Some(ContainerPath { container: container.to_owned(), path: RelPath::parse(path).ok()? })
    });
    let alternatives: Vec<ContainerPath> = alternatives.collect();
    let path = alternatives.first().map_or_else(RelPath::root, |one| one.path.clone());
    ArchiveSpec {
        name: name.to_owned(),
        database: path.as_bytes() == CLUSTER,
        path,
        alternatives,
        optional: false,
        extra: false,
        usual_with: None,
        volume: Some(name.to_owned()),
        format: None,
        exclude: Exclude::default(),
        caches: Exclude::default(),
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
    use crate::monitor::Collector;

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
        let layout = Layout::load("cvat", &Collector::default()).unwrap();
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
                assert_eq!(spec.volume.as_ref(), Some(&spec.name));
                assert_eq!(spec.database, spec.name == "cvat_db");
                assert_eq!(spec.usual_with.is_some(), spec.name == "cvat_keys");
                assert_eq!(spec.path, spec.alternatives[0].path);
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
        assert_eq!((layout.archives[1].volume.as_deref(), layout.archives[1].volume_name()), (None, "media"));
        assert_eq!(layout.project, None);
    }

    #[test]
    fn an_entry_may_name_a_volume_a_format_and_what_is_left_out() {
        let text = "project = \"wp\"\n[[archive]]\nname = \"db\"\nvolume = \"db_data\"\npath = \"/var/lib/mysql\"\n\
                    format = \"zst\"\nexclude = [\"*.log\", \"tmp/*\"]\ncaches = [\"cache/*\"]\ndatabase = true\n";
        let layout = Layout::parse("my.toml", text).unwrap();
        let spec = layout.archive("db").unwrap();
        assert_eq!((spec.volume.as_deref(), spec.volume_name()), (Some("db_data"), "db_data"));
        assert!(spec.alternatives.is_empty() && spec.database);
        assert_eq!((spec.format, layout.project.as_deref()), (Some(Format::Zstd), Some("wp")));
        assert!(spec.exclude.matching(b"var/lib/mysql/a.log").is_some());
        assert!(spec.exclude.matching(b"var/lib/mysql/a").is_none());
        let is_out = |layout: &Layout| {
            ["var/lib/mysql/a.log", "var/lib/mysql/cache/x", "x"]
                .map(|name| layout.archives[0].exclude.matching(name.as_bytes()).is_some())
        };
        assert_eq!(is_out(&layout), [true, false, false]);
        let without = layout.without_caches().unwrap();
        assert_eq!(is_out(&without), [true, true, false]);
        assert!(Layout::parse("my.toml", &entry("db", "/data")).unwrap().without_caches().is_none());
        let cvat = cvat().without_caches().unwrap();
        let exclude = &cvat.archive("cvat_data").unwrap().exclude;
        for (name, left_out) in
            [("cache/1.djcache", true), ("tmp/upload", true), ("cache", false), ("data/7/raw/cache/1.jpg", false)]
        {
            let name = format!("home/django/data/{name}");
            assert_eq!(exclude.matching(name.as_bytes()).is_some(), left_out, "{name}");
        }
        assert!(layout.archive("media").is_none());
    }

    #[test]
    fn a_cluster_is_expected_at_the_path_of_postgresqls_image_unless_the_entry_says() {
        let database = |path: &str, more: &str| {
            Layout::parse("my.toml", &(entry("db", path) + more)).unwrap().archives[0].database
        };
        assert!(database("/var/lib/postgresql/data", "") && !database("/var/lib/mysql", ""));
        assert!(!database("/var/lib/postgresql/data", "database = false\n"));
        assert!(database("/pg", "database = true\n"));
    }

    #[test]
    fn values_that_make_no_sense_are_errors() {
        let reason = |more: &str| refusal(&(entry("db", "/data") + more));
        assert!(reason("format = \"rar\"\n").ends_with("there is no format 'rar', only bz2, gz, zst, tar"));
        assert!(reason("exclude = [\"a\\\\\"]\n").ends_with("cannot exclude 'a\\\\': it ends with a backslash"));
        assert!(reason("volume = \"a/b\"\n").ends_with("'a/b' is not a volume name"));
        let neither = refusal("[[archive]]\nname = \"db\"\npath = \"/data\"\n");
        assert!(neither.ends_with("it names neither a container nor a volume"), "{neither}");
    }

    #[test]
    fn a_file_of_yaml_is_called_so() {
        for (text, line) in [
            ("# x\n\nservices:\n  db:\n    image: x\n", 3),
            ("---\n", 1),
            ("archive:\n- name: db\n", 1),
            ("- name: db\n", 1),
        ] {
            let error = Layout::parse("my.yml", text).unwrap_err();
            assert_eq!(error.to_string(), format!("layout 'my.yml', line {line}: this is YAML, and a layout is TOML"));
            let hint = error.advice().unwrap();
            assert!(hint.contains("[[archive]]"), "{hint}");
            assert_eq!(hint.contains("`voltar layout`"), text.contains("services:"), "{hint}");
        }
        assert!(!refusal("name = \"a: b\n").contains("YAML"));
        assert!(!refusal("[[archive]\nname = \"a\"\n").contains("YAML"));
    }

    #[test]
    fn checks_are_commands_in_containers() {
        let text = format!("check = [\"web: curl -f localhost\", \"db:pg_isready\"]\n{}", entry("db", "/data"));
        let checks: Vec<String> =
            Layout::parse("my.toml", &text).unwrap().checks.iter().map(ToString::to_string).collect();
        assert_eq!(checks, ["web: curl -f localhost", "db: pg_isready"]);
        let bad = format!("check = [\"curl\"]\n{}", entry("db", "/data"));
        assert_eq!(refusal(&bad), "layout 'my.toml': check 'curl' does not read SERVICE: COMMAND");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &text).unwrap();
        let load = |mode| {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode)).unwrap();
            Layout::load(file.path().to_str().unwrap(), &Collector::default())
        };
        assert_eq!(load(0o644).unwrap().checks.len(), 2);
        assert!(load(0o666).unwrap_err().to_string().ends_with(", check: everybody can write the file"));
    }

    #[test]
    fn unknown_keys_are_errors_with_their_line() {
        let text = entry("db", "/data") + "optoinal = true\n";
        assert_eq!(
            refusal(&text),
            "layout 'my.toml', line 5: unknown field `optoinal`, expected one of `name`, `container`, `volume`, `path`, \
             `optional`, `format`, `exclude`, `caches`, `database`"
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
        assert!(refusal("[[archive]]\nname = \"db\"\n").contains("missing field `path`"));
        assert!(refusal("name =").starts_with("layout 'my.toml', line 1: "));
        assert!(
            refusal("[[archive]]\nname = \"db\"\ncontainer = \"\"\npath = \"/d\"\n")
                .contains("is not a container name")
        );
    }

    #[test]
    fn a_mistyped_built_in_name_lists_them() {
        let error = Layout::load("cvta", &Collector::default()).unwrap_err();
        assert_eq!(error.to_string(), "there is no built-in layout 'cvta', and no file with that name");
        assert_eq!(error.advice(), Some("built in: cvat"));
    }
}
