//! The JSON stream: one object per line for each event. This table is a stable interface for programs;
//! `docs/json-schema.json` describes it and the documents of plans for machines.
//!
//! Each object, and each document, has the field `version`: 1. It stands in each line, because programs select, split and
//! forward lines, and one that reads a log from its middle never sees a first one. Under the same version, events and fields
//! may be added, but a field never changes its meaning or its type, and is never removed; a program ignores what it does not
//! know.
//!
//! | `event` | other fields | when |
//! |---|---|---|
//! | `note` | `message` | information that needs no action |
//! | `phase` | `phase`, `archive` | the run, or the work on an archive if that is not empty, begins to do something else: `stopping`, `archiving`, `checking`, `restoring`, `syncing`, `committing`, `swapping` or `starting` |
//! | `started` | `archive`, `stage`, `total_bytes` | work on an archive begins; `total_bytes` is `null` where unknown |
//! | `progress` | `archive`, `stage`, `bytes`, `total_bytes` | at most once a second for an archive; not with `--progress never` |
//! | `member` | `archive`, `name`, `kind`, and `size` of files | with `-v`: a member was archived, read or restored |
//! | `listed` | `name`, `kind`, `size`, `device`, `mode`, `uid`, `gid`, `user`, `group`, `mtime`, `target` | `list`: a member |
//! | `command_output` | `archive`, `line` | with `--to-command`: the archive's command has printed a line |
//! | `warning` | `archive`, `message` | something was not stored or restored completely; `archive` is empty if it concerns the entire run |
//! | `container_stopping` | `container`, `seconds` | a container is about to be stopped; it is killed after `seconds`, which is `null` if there is no limit |
//! | `container_stopped`, `container_started` | `container` | a container was stopped before the operation, or started after it |
//! | `downtime` | `seconds` | all containers that were stopped run again: the time from the first stop to the last start |
//! | `difference` | `archive`, `path`, `kind`, and `attributes` of those in both | `verify --against-volume`: at most 100 of an archive, in the order of their paths; `kind` is `only_in_archive`, `only_in_volume` (of a directory: with all that it holds) or `differs`; each attribute has a `name` and, but for `content`, the values `archive` and `volume` as text |
//! | `compared` | `archive`, `only_in_archive`, `only_in_volume`, `differ`, `unlisted` | an archive was compared: the number of differences, and how many of them had no `difference` |
//! | `finished` | `archive`, `stage`, `path`, `members`, `left_out`, `stream_bytes`, `file_bytes`, `seconds` | an archive is done; `left_out` are the members that were excluded or not selected, the bytes are those of the tar stream and of the archive file |
//! | `set_made` | `path` | `backup --into`: a set is complete, at this path |
//! | `error` | `code`, `message`, `hint` | why something was not done; `hint` is `null` where there is none |
//! | `done` | `exit`, `issues` | always the last line: the exit status, and the number of warnings |
//!
//! `code` of an error, and of a refusal in a plan, is one of these; the message is for people, and may change:
//!
//! | `code` | meaning |
//! |---|---|
//! | `usage` | the request is invalid: its arguments or a layout file |
//! | `refused` | the request would lose or mix up data |
//! | `damaged` | an archive is damaged |
//! | `unsupported` | an archive is in a format that is not read |
//! | `unsafe` | a member of an archive refers to a path outside the volume |
//! | `interrupted` | a signal has ended the run |
//! | `busy` | another run uses the same directory |
//! | `failed` | the operating system, the engine or a command has reported an error |
//!
//! `stage` is `archiving`, `checking`, `comparing` or `restoring`; `kind` of members is `file`, `directory`, `symlink`,
//! `hard_link`, `fifo`, `char_device` or `block_device`. In `listed`, `size` is present for files, `device`
//! (`[major, minor]`) for devices, `target` for links, and `user` and `group` if the archive has them;
//! `mode` is an octal string (`"0644"`), `mtime` is in seconds since 1970.
//!
//! `name`, `target`, `path`, `user` and `group` are exact if they are UTF-8. If they are not, the text is escaped
//! as by GNU tar (`caf\351`), and a further field holds the exact bytes in base64: `name_base64` and so on. A
//! program that needs the exact name must check for that field first. Control characters and directional
//! formatting characters are written as `\u….`.
//! `path` is the archive file, `-` for standard output and input, or the file name that `--to-command` has passed on.
//! With `-q` only `warning`, `command_output`, `error`, `listed`, `difference`, `compared` and `done` remain.

use std::borrow::Cow;
use std::io;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde_json::ser::Formatter;

use crate::archive::listing;
use crate::difference::{self, What};
use crate::error::Error;
use crate::member::{Kind, printable};
use crate::monitor::{Event, Stage};
use crate::report::{base64, text};

/// The version of the stream and of the documents.
const VERSION: u32 = 1;

/// An object of the stream or a document, with the version as its first field.
#[derive(Serialize)]
struct Versioned<'a, T> {
    version: u32,
    #[serde(flatten)]
    value: &'a T,
}

/// One object of the stream.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub(crate) enum Object<'a> {
    Note {
        message: &'a str,
    },
    Phase {
        phase: &'a str,
        archive: &'a str,
    },
    Started {
        archive: &'a str,
        stage: &'a str,
        total_bytes: Option<u64>,
    },
    Progress {
        archive: &'a str,
        stage: &'a str,
        bytes: u64,
        total_bytes: Option<u64>,
    },
    Member {
        archive: &'a str,
        name: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        name_base64: Option<String>,
        kind: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        size: Option<u64>,
    },
    Listed(Box<Listed<'a>>),
    CommandOutput {
        archive: &'a str,
        line: &'a str,
    },
    Warning {
        archive: &'a str,
        message: &'a str,
    },
    Difference {
        archive: &'a str,
        path: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        path_base64: Option<String>,
        kind: &'a str,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        attributes: Vec<Attribute<'a>>,
    },
    Compared {
        archive: &'a str,
        only_in_archive: u64,
        only_in_volume: u64,
        differ: u64,
        unlisted: u64,
    },
    ContainerStopping {
        container: &'a str,
        seconds: Option<u64>,
    },
    ContainerStopped {
        container: &'a str,
    },
    ContainerStarted {
        container: &'a str,
    },
    Downtime {
        seconds: f64,
    },
    Finished {
        archive: &'a str,
        stage: &'a str,
        path: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        path_base64: Option<String>,
        members: u64,
        left_out: u64,
        stream_bytes: u64,
        file_bytes: u64,
        seconds: f64,
    },
    SetMade {
        path: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        path_base64: Option<String>,
    },
    Error {
        code: &'static str,
        message: String,
        hint: Option<&'a str>,
    },
    Done {
        exit: u8,
        issues: u64,
    },
}

/// An attribute that differs.
#[derive(Serialize)]
pub(crate) struct Attribute<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    archive: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volume: Option<&'a str>,
}

/// Returns a time in seconds, rounded to milliseconds: further digits would not be meaningful.
fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

/// A member with everything that `list` prints about it.
#[derive(Serialize)]
pub(crate) struct Listed<'a> {
    name: Cow<'a, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_base64: Option<String>,
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<[u32; 2]>,
    mode: String,
    uid: u32,
    gid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_base64: Option<String>,
    mtime: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_base64: Option<String>,
}

impl<'a> Object<'a> {
    /// Returns the object of an event; `None` for [`Event::Advanced`], which is reported as [`Object::Progress`], and for
    /// [`Event::Written`].
    pub(crate) fn of(event: &'a Event<'a>) -> Option<Self> {
        Some(match event {
            Event::Note(message) => Self::Note { message },
            Event::Phase { archive, phase } => Self::Phase { phase: text::phase(*phase), archive },
            Event::Started { archive, stage, total_bytes } => {
                Self::Started { archive, stage: text::verbs(*stage).0, total_bytes: *total_bytes }
            }
            Event::Advanced { .. } | Event::Written { .. } => return None,
            Event::Member { archive, name, member } => {
                let (name, name_base64) = exact(name);
                let (kind, size, _) = kind(&member.kind);
                Self::Member { archive, name, name_base64, kind, size }
            }
            Event::CommandOutput { archive, line } => Self::CommandOutput { archive, line },
            Event::Issue(issue) => Self::Warning { archive: &issue.archive, message: &issue.message },
            Event::Difference { archive, difference } => {
                let (path, path_base64) = exact(difference.path.as_bytes());
                let (kind, attributes) = match &difference.what {
                    What::OnlyInArchive => ("only_in_archive", Vec::new()),
                    What::OnlyInVolume => ("only_in_volume", Vec::new()),
                    What::Attributes(attributes) => ("differs", attributes.iter().map(attribute).collect()),
                };
                Self::Difference { archive, path, path_base64, kind, attributes }
            }
            Event::Compared { archive, differences } => Self::Compared {
                archive,
                only_in_archive: differences.only_in_archive,
                only_in_volume: differences.only_in_volume,
                differ: differences.differing,
                unlisted: differences.unlisted,
            },
            Event::ContainerStopping { name, timeout } => {
                Self::ContainerStopping { container: name, seconds: timeout.map(|timeout| timeout.as_secs()) }
            }
            Event::ContainerStopped(container) => Self::ContainerStopped { container },
            Event::ContainerStarted(container) => Self::ContainerStarted { container },
            Event::Downtime(time) => Self::Downtime { seconds: seconds(*time) },
            Event::SetMade(path) => {
                let (path, path_base64) = exact_path(path);
                Self::SetMade { path, path_base64 }
            }
            Event::Finished { stage, summary, at } => {
                let (path, path_base64) = exact_path(at);
                Self::Finished {
                    archive: &summary.archive,
                    stage: text::verbs(*stage).0,
                    path,
                    path_base64,
                    members: summary.members,
                    left_out: summary.left_out,
                    stream_bytes: summary.stream_bytes,
                    file_bytes: summary.file_bytes,
                    seconds: seconds(summary.elapsed),
                }
            }
        })
    }

    /// Returns the object for the progress of an archive.
    pub(crate) fn progress(archive: &'a str, stage: Stage, bytes: u64, total_bytes: Option<u64>) -> Self {
        Self::Progress { archive, stage: text::verbs(stage).0, bytes, total_bytes }
    }

    /// Returns the object of a member that `list` prints.
    pub(crate) fn listed(line: &listing::Line<'a>) -> Self {
        let present = |bytes: &'a [u8]| {
            let (text, base64) = exact(bytes);
            if bytes.is_empty() { (None, None) } else { (Some(text), base64) }
        };
        let (name, name_base64) = exact(line.name);
        let (user, user_base64) = present(line.uname);
        let (group, group_base64) = present(line.gname);
        let (target, target_base64) = present(line.link);
        let (kind, size, device) = kind(line.kind);
        Self::Listed(Box::new(Listed {
            name,
            name_base64,
            kind,
            size,
            device,
            mode: format!("{:04o}", line.metadata.mode),
            uid: line.metadata.uid,
            gid: line.metadata.gid,
            user,
            user_base64,
            group,
            group_base64,
            mtime: line.metadata.mtime.seconds,
            target,
            target_base64,
        }))
    }

    /// Returns the object of an error.
    pub(crate) fn error(error: &'a Error) -> Self {
        Self::Error { code: error.kind().code(), message: error.to_string(), hint: error.advice() }
    }
}

/// Returns an object of the stream, or a document, as one line of JSON that is safe to print on a terminal.
pub(crate) fn line(value: &impl Serialize) -> Result<String, serde_json::Error> {
    let mut bytes = Vec::with_capacity(128);
    Versioned { version: VERSION, value }
        .serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, SafeFormatter))?;
    // Not lossy: serde_json writes UTF-8.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn attribute(attribute: &difference::Attribute) -> Attribute<'_> {
    let values = attribute.values.as_ref();
    Attribute {
        name: attribute.name,
        archive: values.map(|(archive, _)| archive.as_str()),
        volume: values.map(|(_, volume)| volume.as_str()),
    }
}

fn kind(kind: &Kind) -> (&'static str, Option<u64>, Option<[u32; 2]>) {
    match kind {
        Kind::File { size } => ("file", Some(*size), None),
        Kind::Directory => ("directory", None, None),
        Kind::Symlink { .. } => ("symlink", None, None),
        Kind::HardLink { .. } => ("hard_link", None, None),
        Kind::Fifo => ("fifo", None, None),
        Kind::CharDevice { major, minor } => ("char_device", None, Some([*major, *minor])),
        Kind::BlockDevice { major, minor } => ("block_device", None, Some([*major, *minor])),
    }
}

/// Returns the text itself; or, if it is not UTF-8, the escaped text and the bytes in base64.
fn exact(bytes: &[u8]) -> (Cow<'_, str>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Cow::Borrowed(text), None),
        Err(_) => (Cow::Owned(printable(bytes)), Some(base64::encode(bytes))),
    }
}

fn exact_path(path: &Path) -> (Cow<'_, str>, Option<String>) {
    exact(path.as_os_str().as_encoded_bytes())
}

/// A compact format with `\u` escapes for all characters that [`printable`] escapes. JSON itself requires them only for
/// ASCII control characters below 32.
struct SafeFormatter;

impl Formatter for SafeFormatter {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, c)) = rest.char_indices().find(|&(_, c)| needs_escape(c)) {
            writer.write_all(&rest.as_bytes()[..at])?;
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(writer, "\\u{unit:04x}")?;
            }
            rest = &rest[at + c.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

fn needs_escape(c: char) -> bool {
    let unescaped_by_json = !c.is_ascii() || c == '\x7f';
    let mut bytes = [0; 4];
    unescaped_by_json && {
        let text = c.encode_utf8(&mut bytes);
        printable(text.as_bytes()) != *text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::member::{Metadata, Timestamp};

    fn value(object: &Object<'_>) -> serde_json::Value {
        serde_json::from_str(&line(object).unwrap()).unwrap()
    }

    fn listed(name: &[u8], kind: &Kind, link: &[u8]) -> String {
        let metadata = Metadata {
            mode: 0o4755,
            uid: 70,
            gid: 71,
            mtime: Timestamp { seconds: -1, nanoseconds: 5 },
            ..Metadata::default()
        };
        let entry = listing::Line { name, kind, metadata: &metadata, link, uname: b"", gname: b"pg" };
        line(&Object::listed(&entry)).unwrap()
    }

    #[test]
    fn a_utf_8_name_is_exact() {
        let name = "B\u{e4}ume\n\\\u{202e}\u{9b}\x7f";
        let text = listed(name.as_bytes(), &Kind::File { size: 3 }, b"");
        assert!(text.contains(r#""name":"Bäume\n\\\u202e\u009b\u007f","kind":"file","size":3"#), "{text}");
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["name"], name);
    }

    #[test]
    fn a_name_that_is_not_utf_8_has_a_base64_field() {
        let text = listed(b"caf\xe9", &Kind::Symlink { target: b"\xff".to_vec() }, b"\xff");
        assert_eq!(
            text,
            r#"{"version":1,"event":"listed","name":"caf\\351","name_base64":"Y2Fm6Q==","kind":"symlink","mode":"4755","uid":70,"gid":71,"group":"pg","mtime":-1,"target":"\\377","target_base64":"/w=="}"#
        );
    }

    #[test]
    fn devices_have_both_numbers() {
        let text = listed(b"null", &Kind::CharDevice { major: 1, minor: 3 }, b"");
        assert!(text.contains(r#""kind":"char_device","device":[1,3],"#), "{text}");
    }

    #[test]
    fn an_error_has_a_hint_or_null() {
        let error = Error::refused("no").hint("do");
        assert_eq!(value(&Object::error(&error))["hint"], "do");
        let error = Error::refused("no");
        assert_eq!(
            line(&Object::error(&error)).unwrap(),
            r#"{"version":1,"event":"error","code":"refused","message":"no","hint":null}"#
        );
    }
}
