//! The figures of a backup as a file for the textfile collector of Prometheus' node exporter, in the text format of
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>. The file is replaced in one step, and what is read of the
//! previous one is not trusted: it may lie in a directory of another user.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;

use crate::durable::atomic_file::AtomicFile;
use crate::durable::commit::commit;
use crate::durable::{leftovers, parent, small_file};
use crate::error::{Error, Result};
use crate::member::printable_path;
use crate::monitor::{Monitor, Summary};

/// The size limit of a previous file, in bytes: a thousand archives take a third of it.
const MAX_BYTES: u64 = 1 << 20;

/// The metric that outlives failed runs.
const LAST_SUCCESS: &str = "voltar_backup_last_success_timestamp_seconds";

/// What is known of a backup at its end.
#[derive(Debug, Clone)]
pub struct Metrics<'a> {
    /// The label `name` of all metrics.
    pub name: &'a str,
    /// When the run ended.
    pub ended: Timestamp,
    /// The exit status.
    pub exit: u8,
    /// How long the run took.
    pub duration: Duration,
    /// How long containers were stopped; `None` if that is not known.
    pub downtime: Option<Duration>,
    /// The number of warnings.
    pub warnings: u64,
    /// The archives that were made.
    pub archives: &'a [Summary],
}

/// Checks that a file of metrics can be at `path`.
///
/// # Errors
/// The directory does not exist, or something else than a file has the name.
pub fn check(path: &Path) -> Result<()> {
    let failed = |cause: &str| Error::failed_at("cannot write metrics to", path, cause);
    if !parent(path).is_dir() {
        let directory = printable_path(parent(path));
        return Err(failed("its directory does not exist").hint(format!("`mkdir -p {directory}`")));
    }
    let is_other = path.symlink_metadata().is_ok_and(|status| !status.is_file() && !status.is_symlink());
    if is_other || path.file_name().is_none() { Err(failed("it is not a regular file")) } else { Ok(()) }
}

impl Metrics<'_> {
    /// Writes the file at `path`, which everybody can read. After a run that failed, it says of the last success what the
    /// previous file says.
    ///
    /// # Errors
    /// As [`check`], or it cannot be written: the previous file stays.
    pub fn write(&self, path: &Path, monitor: &dyn Monitor) -> Result<()> {
        check(path)?;
        let failed = |cause| Error::failed_at("cannot write metrics to", path, cause);
        let success = if self.is_success() { Some(self.ended.as_second()) } else { self.last_success(path) };
        let text = self.text(success);
        // Of a run that was killed: nobody else removes it.
        leftovers::recover(parent(path))?.report(monitor);
        let mut file = AtomicFile::create(path)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.readable_by_all()?;
        Error::none_of(commit(vec![file.finish()?], true)?)
    }

    fn is_success(&self) -> bool {
        self.exit <= 1
    }

    /// Returns the time of the last success that the file at `path` has, if that is a file of this program.
    fn last_success(&self, path: &Path) -> Option<i64> {
        let file = small_file::open_itself(path).ok()?;
        let text = String::from_utf8(small_file::read_open(&file, MAX_BYTES).ok()?).ok()?;
        self.last_success_in(&text)
    }

    fn last_success_in(&self, text: &str) -> Option<i64> {
        let sample = format!("{LAST_SUCCESS}{} ", self.labels(None));
        let mut values = text.split('\n').filter_map(|line| line.strip_prefix(&sample));
        let value = values.next().filter(|value| value.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()?;
        // A time to come would hide that backups fail.
        (values.next().is_none() && value <= self.ended.as_second()).then_some(value)
    }

    fn labels(&self, archive: Option<&str>) -> String {
        let name = escaped(self.name);
        match archive {
            Some(archive) => format!("{{name=\"{name}\",archive=\"{}\"}}", escaped(archive)),
            None => format!("{{name=\"{name}\"}}"),
        }
    }

    /// Returns the content of the file. `success` is the time of the last success, in seconds since 1970.
    fn text(&self, success: Option<i64>) -> String {
        let archives = if self.is_success() { self.archives } else { &[] };
        let one = |metric: &str, help: &str, value: Option<String>| {
            gauge(metric, help, value.map(|value| (self.labels(None), value)))
        };
        let each = |metric: &str, help: &str, figure: fn(&Summary) -> u64| {
            let sample = |summary: &Summary| (self.labels(Some(&summary.archive)), figure(summary).to_string());
            gauge(metric, help, archives.iter().map(sample))
        };
        [
            one(
                "voltar_backup_last_run_timestamp_seconds",
                "When the last run ended, in seconds since 1970.",
                Some(self.ended.as_second().to_string()),
            ),
            one(
                "voltar_backup_last_exit_status",
                "The exit status of the last run: 0 done, 1 done with warnings, others not done.",
                Some(self.exit.to_string()),
            ),
            one(
                LAST_SUCCESS,
                "When the last run that made a backup ended (exit status 0 or 1), in seconds since 1970.",
                success.map(|seconds| seconds.to_string()),
            ),
            one("voltar_backup_duration_seconds", "How long the last run took.", Some(seconds(self.duration))),
            one(
                "voltar_backup_downtime_seconds",
                "How long the last run had containers stopped, from the first stop to the last start.",
                self.downtime.map(seconds),
            ),
            one("voltar_backup_warnings", "The number of warnings of the last run.", Some(self.warnings.to_string())),
            each("voltar_backup_archive_bytes", "The length of the archive.", |summary| summary.file_bytes),
            each("voltar_backup_archive_stream_bytes", "The length of the archive, decompressed.", |summary| {
                summary.stream_bytes
            }),
            each("voltar_backup_archive_members", "The number of members of the archive.", |summary| summary.members),
        ]
        .concat()
    }
}

/// Formats a metric: its labels and values. One without any is left out.
fn gauge(metric: &str, help: &str, samples: impl IntoIterator<Item = (String, String)>) -> String {
    let lines: Vec<_> = samples.into_iter().map(|(labels, value)| format!("{metric}{labels} {value}\n")).collect();
    if lines.is_empty() {
        return String::new();
    }
    format!("# HELP {metric} {help}\n# TYPE {metric} gauge\n{}", lines.concat())
}

/// Escapes the value of a label.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn seconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::Collector;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    fn summary(archive: &str) -> Summary {
        Summary {
            archive: archive.to_owned(),
            members: 3,
            left_out: 0,
            stream_bytes: 10_240,
            file_bytes: 512,
            elapsed: Duration::ZERO,
        }
    }

    fn metrics<'a>(name: &'a str, exit: u8, archives: &'a [Summary]) -> Metrics<'a> {
        Metrics {
            name,
            ended: Timestamp::from_second(1_764_000_000).unwrap(),
            exit,
            duration: Duration::from_millis(61_500),
            downtime: None,
            warnings: 2,
            archives,
        }
    }

    #[test]
    fn each_metric_has_a_help_a_type_and_its_samples() {
        let archives = [summary("db"), summary("data")];
        let run = Metrics { downtime: Some(Duration::from_secs(4)), ..metrics("nightly", 1, &archives) };
        let expected = r#"# HELP voltar_backup_last_run_timestamp_seconds When the last run ended, in seconds since 1970.
# TYPE voltar_backup_last_run_timestamp_seconds gauge
voltar_backup_last_run_timestamp_seconds{name="nightly"} 1764000000
# HELP voltar_backup_last_exit_status The exit status of the last run: 0 done, 1 done with warnings, others not done.
# TYPE voltar_backup_last_exit_status gauge
voltar_backup_last_exit_status{name="nightly"} 1
# HELP voltar_backup_last_success_timestamp_seconds When the last run that made a backup ended (exit status 0 or 1), in seconds since 1970.
# TYPE voltar_backup_last_success_timestamp_seconds gauge
voltar_backup_last_success_timestamp_seconds{name="nightly"} 1764000000
# HELP voltar_backup_duration_seconds How long the last run took.
# TYPE voltar_backup_duration_seconds gauge
voltar_backup_duration_seconds{name="nightly"} 61.500
# HELP voltar_backup_downtime_seconds How long the last run had containers stopped, from the first stop to the last start.
# TYPE voltar_backup_downtime_seconds gauge
voltar_backup_downtime_seconds{name="nightly"} 4.000
# HELP voltar_backup_warnings The number of warnings of the last run.
# TYPE voltar_backup_warnings gauge
voltar_backup_warnings{name="nightly"} 2
# HELP voltar_backup_archive_bytes The length of the archive.
# TYPE voltar_backup_archive_bytes gauge
voltar_backup_archive_bytes{name="nightly",archive="db"} 512
voltar_backup_archive_bytes{name="nightly",archive="data"} 512
# HELP voltar_backup_archive_stream_bytes The length of the archive, decompressed.
# TYPE voltar_backup_archive_stream_bytes gauge
voltar_backup_archive_stream_bytes{name="nightly",archive="db"} 10240
voltar_backup_archive_stream_bytes{name="nightly",archive="data"} 10240
# HELP voltar_backup_archive_members The number of members of the archive.
# TYPE voltar_backup_archive_members gauge
voltar_backup_archive_members{name="nightly",archive="db"} 3
voltar_backup_archive_members{name="nightly",archive="data"} 3
"#;
        assert_eq!(run.text(Some(1_764_000_000)), expected);
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let archives = [summary("db")];
        let text = metrics("x", 2, &archives).text(None);
        for metric in [LAST_SUCCESS, "voltar_backup_downtime_seconds", "voltar_backup_archive_"] {
            assert!(!text.contains(metric), "{text}");
        }
        assert!(text.contains("voltar_backup_last_exit_status{name=\"x\"} 2\n"), "{text}");
    }

    #[test]
    fn values_of_labels_are_escaped() {
        let archives = [summary("a\"b")];
        let text = metrics("q\"b\\n\n", 0, &archives).text(None);
        assert!(text.contains(r#"_archive_bytes{name="q\"b\\n\n",archive="a\"b"} 512"#), "{text}");
    }

    #[test]
    fn a_previous_success_is_read_back_and_nothing_else() {
        let failed = metrics("q\"x", 2, &[]);
        assert_eq!(failed.last_success_in(&metrics("q\"x", 0, &[]).text(Some(1_700_000_000))), Some(1_700_000_000));
        assert_eq!(failed.last_success_in(&metrics("other", 0, &[]).text(Some(1_700_000_000))), None);
        let line = |value: &str| format!("{LAST_SUCCESS}{{name=\"q\\\"x\"}} {value}");
        assert_eq!(failed.last_success_in(&line("0")), Some(0));
        let now_and_later = [("1764000000", Some(1_764_000_000)), ("1764000001", None)];
        for (value, expected) in now_and_later {
            assert_eq!(failed.last_success_in(&line(value)), expected);
        }
        for value in ["", "-1", "+1", "1.5", "1e9", "NaN", "+Inf", "1 2", "1\r", "99999999999999999999", "0x1"] {
            assert_eq!(failed.last_success_in(&line(value)), None, "{value:?}");
        }
        assert_eq!(failed.last_success_in(&[line("1"), line("2")].join("\n")), None);
    }

    #[test]
    fn a_hostile_previous_file_is_neither_followed_nor_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let written = |path: &Path| metrics("x", 2, &[]).write(path, &Collector::default());
        fs::write(at("victim"), metrics("x", 0, &[]).text(Some(5))).unwrap();
        symlink("victim", at("link.prom")).unwrap();
        written(&at("link.prom")).unwrap();
        assert!(at("link.prom").symlink_metadata().unwrap().is_file());
        assert!(!fs::read_to_string(at("link.prom")).unwrap().contains(LAST_SUCCESS));
        assert!(fs::read_to_string(at("victim")).unwrap().contains(LAST_SUCCESS));
        fs::write(at("binary.prom"), b"\xff").unwrap();
        fs::File::create(at("large.prom")).unwrap().set_len(1 << 40).unwrap();
        for name in ["binary.prom", "large.prom"] {
            written(&at(name)).unwrap();
            assert_eq!(at(name).metadata().unwrap().permissions().mode() & 0o7777, 0o644);
        }
        nix::unistd::mkfifo(&at("fifo.prom"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::create_dir(at("dir.prom")).unwrap();
        for name in ["fifo.prom", "dir.prom", "victim/x.prom", "missing/x.prom"] {
            let error = written(&at(name)).unwrap_err().to_string();
            assert!(error.starts_with("cannot write metrics to '"), "{error}");
        }
        let left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert!(!left.iter().any(|name| name.to_string_lossy().contains("voltar-tmp")), "{left:?}");
    }
}
