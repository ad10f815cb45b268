//! Complete reports, as they appear on standard output and standard error.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::Ordering;

use indicatif::{InMemoryTerm, TermLike as _};

use super::*;
use crate::member::{Kind, Member, Metadata, RelPath};
use crate::monitor::{Phase, Summary};

/// A writer whose bytes can be read back, or that fails with an error.
#[derive(Clone, Debug, Default)]
struct Sink {
    bytes: Arc<Mutex<Vec<u8>>>,
    breaks: Option<io::ErrorKind>,
}

impl Sink {
    fn text(&self) -> String {
        String::from_utf8(self.bytes.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(kind) = self.breaks {
            return Err(kind.into());
        }
        self.bytes.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn options(format: Format, verbosity: Verbosity) -> Options {
    Options { format, verbosity, progress: true, stdout_is_archive: false }
}

fn report(options: Options) -> (Report, Sink, Sink) {
    let (out, err) = (Sink::default(), Sink::default());
    let report = Report::on(options, Arc::default(), Box::new(out.clone()), false, Box::new(err.clone()), None);
    (report, out, err)
}

fn summary(archive: &str, stream_bytes: u64) -> Summary {
    let (members, file_bytes, elapsed) = (1234, stream_bytes / 2, Duration::from_secs(2));
    Summary { archive: archive.to_owned(), members, left_out: 0, stream_bytes, file_bytes, elapsed }
}

/// Reports a backup of one archive with one member, whose name needs escaping, and one warning.
fn a_run(report: &Report) {
    let metadata = Metadata::default();
    let member = Member { path: RelPath::parse(b"d").unwrap(), kind: Kind::File { size: 3 }, metadata };
    report.note("engine: unix:///run/docker.sock");
    report.event(&Event::ContainerStopping { name: "cvat_db", timeout: Some(Duration::from_secs(60)) });
    report.event(&Event::ContainerStopped("cvat_db"));
    report.event(&Event::Started { archive: "cvat_db", stage: Stage::Archiving, total_bytes: Some(4 << 20) });
    report.event(&Event::Member { archive: "cvat_db", name: b"d/a\x1b\n\xff", member: &member });
    report.event(&Event::Advanced { archive: "cvat_db", bytes: 1 << 20 });
    report.issue("cvat_db", "'d/s\\n': socket ignored".to_owned());
    let at = Path::new("backup/cvat_db.tar.bz2");
    report.event(&Event::Finished { stage: Stage::Archiving, summary: &summary("cvat_db", 4 << 20), at });
    report.event(&Event::ContainerStarted("cvat_db"));
    report.event(&Event::Downtime(Duration::from_millis(12_340)));
}

const TABLE: &str = "\
archive  members      size  compressed   time        rate
cvat_db    1,234  4.00 MiB    2.00 MiB  2.0 s  2.00 MiB/s
";

#[test]
fn a_run_as_text() {
    let (report, out, err) = report(options(Format::Human, Verbosity::Normal));
    a_run(&report);
    assert_eq!((report.issues(), report.finish(1)), (1, 1));
    assert_eq!(out.text(), TABLE);
    assert_eq!(
        err.text(),
        "\
engine: unix:///run/docker.sock
stopping container cvat_db (up to 60 s)
stopped container cvat_db
cvat_db: archiving 4.00 MiB
voltar: warning: cvat_db: 'd/s\\n': socket ignored
cvat_db: archived 4.00 MiB in 2.0 s (backup/cvat_db.tar.bz2, 2.00 MiB)
started container cvat_db
containers were stopped for 12.3 s
"
    );
}

#[test]
fn verbose_adds_names_as_tar_prints_them() {
    let (report, out, _) = report(options(Format::Human, Verbosity::Verbose));
    a_run(&report);
    assert_eq!(report.finish(1), 1);
    assert_eq!(out.text(), format!("d/a\\033\\n\\377\n{TABLE}"));
}

#[test]
fn quiet_leaves_errors_and_warnings() {
    let (report, out, err) = report(options(Format::Human, Verbosity::Quiet));
    a_run(&report);
    report.error(&Error::refused("no\x1b").hint("first\nsecond"));
    assert_eq!(report.finish(2), 2);
    assert_eq!(out.text(), "");
    assert_eq!(
        err.text(),
        "voltar: warning: cvat_db: 'd/s\\n': socket ignored\nvoltar: no\\033\nhint: first\n  second\n"
    );
}

#[test]
fn without_progress_there_are_notes_and_the_table() {
    let (report, out, err) = report(Options { progress: false, ..options(Format::Human, Verbosity::Normal) });
    a_run(&report);
    assert_eq!(report.finish(1), 1);
    assert_eq!(out.text(), TABLE);
    assert!(!err.text().contains("archiv"), "{}", err.text());
    assert!(err.text().contains("stopped container"), "{}", err.text());
}

#[test]
fn a_run_as_json() {
    let (report, out, err) = report(options(Format::JsonEvents, Verbosity::Verbose));
    a_run(&report);
    report.error(&Error::refused("no").hint("do"));
    assert_eq!(report.finish(1), 1);
    assert_eq!(err.text(), "");
    assert_eq!(
        out.text(),
        r#"{"version":1,"event":"note","message":"engine: unix:///run/docker.sock"}
{"version":1,"event":"container_stopping","container":"cvat_db","seconds":60}
{"version":1,"event":"container_stopped","container":"cvat_db"}
{"version":1,"event":"started","archive":"cvat_db","stage":"archiving","total_bytes":4194304}
{"version":1,"event":"member","archive":"cvat_db","name":"d/a\\033\\n\\377","name_base64":"ZC9hGwr/","kind":"file","size":3}
{"version":1,"event":"warning","archive":"cvat_db","message":"'d/s\\n': socket ignored"}
{"version":1,"event":"finished","archive":"cvat_db","stage":"archiving","path":"backup/cvat_db.tar.bz2","members":1234,"left_out":0,"stream_bytes":4194304,"file_bytes":2097152,"seconds":2.0}
{"version":1,"event":"container_started","container":"cvat_db"}
{"version":1,"event":"downtime","seconds":12.34}
{"version":1,"event":"error","code":"refused","message":"no","hint":"do"}
{"version":1,"event":"done","exit":1,"issues":1}
"#
    );
}

#[test]
fn only_the_document_is_on_standard_output() {
    let (report, out, err) = report(options(Format::JsonDocument, Verbosity::Verbose));
    a_run(&report);
    report.document(&BTreeMap::from([("a", 2)])).unwrap();
    assert_eq!(report.finish(0), 0);
    assert_eq!(out.text(), "{\"version\":1,\"a\":2}\n");
    assert!(err.text().contains("engine:"));
}

#[test]
fn a_failed_run_lists_only_checked_archives() {
    for (stage, listed) in [(Stage::Archiving, false), (Stage::Restoring, false), (Stage::Checking, true)] {
        let (report, out, _) = report(options(Format::Human, Verbosity::Normal));
        report.event(&Event::Finished { stage, summary: &summary("a", 1), at: Path::new("a.tar") });
        assert_eq!(report.finish(2), 2);
        assert_eq!(!out.text().is_empty(), listed, "{stage:?}");
    }
}

#[test]
fn archives_of_one_name_are_distinguished_and_added_up() {
    let (report, out, _) = report(options(Format::Human, Verbosity::Normal));
    for at in ["old/a.tar", "new/a.tar", "new/a.tar"] {
        report.event(&Event::Finished { stage: Stage::Checking, summary: &summary("a", 2048), at: Path::new(at) });
    }
    assert_eq!(report.finish(0), 0);
    let text = out.text();
    let first_words: Vec<_> = text.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(first_words, ["archive", "old/a.tar", "new/a.tar", "total"]);
    assert!(text.lines().last().unwrap().contains("2,468  4.00 KiB    2.00 KiB"), "{text}");
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    let (out, err) = (Sink { breaks: Some(io::ErrorKind::BrokenPipe), ..Sink::default() }, Sink::default());
    let options = options(Format::Human, Verbosity::Normal);
    let report = Report::on(options, Arc::default(), Box::new(out), false, Box::new(err.clone()), None);
    let mut lines = 0;
    while report.text("a line of a listing").unwrap().is_continue() {
        lines += 1;
        assert!(lines < 100_000, "the pipe is closed, but printing continues");
    }
    assert_eq!(report.finish(0), 0);
    assert_eq!(err.text(), "");
}

#[test]
fn a_full_disk_is_an_error_that_is_reported_once() {
    let (out, err) = (Sink { breaks: Some(io::ErrorKind::StorageFull), ..Sink::default() }, Sink::default());
    let options = options(Format::Human, Verbosity::Normal);
    let report = Report::on(options, Arc::default(), Box::new(out), false, Box::new(err.clone()), None);
    assert!(report.text("a line").unwrap().is_continue(), "the line is buffered");
    assert_eq!(report.finish(0), 1);
    assert_eq!(report.finish(2), 2);
    assert_eq!(err.text().matches("cannot write 'standard output'").count(), 1, "{}", err.text());
}

#[test]
fn errors_go_to_standard_error_if_the_json_stream_is_closed() {
    let (out, err) = (Sink { breaks: Some(io::ErrorKind::BrokenPipe), ..Sink::default() }, Sink::default());
    let options = options(Format::JsonEvents, Verbosity::Normal);
    let report = Report::on(options, Arc::default(), Box::new(out), false, Box::new(err.clone()), None);
    report.error(&Error::refused("no"));
    assert_eq!(err.text(), "voltar: no\n");
}

/// A terminal that is at the same time standard output and standard error.
#[derive(Clone)]
struct Terminal(InMemoryTerm);

impl Write for Terminal {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        self.0.write_str(&text.replace('\n', "\r\n"))?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn on_terminal(options: Options, columns: u16) -> (Report, InMemoryTerm) {
    let terminal = InMemoryTerm::new(24, columns);
    let target = ProgressDrawTarget::term_like(Box::new(terminal.clone()));
    let screen = Screen { target, columns: Box::new(move || usize::from(columns)) };
    let sink = || Box::new(Terminal(terminal.clone()));
    (Report::on(options, Arc::default(), sink(), true, sink(), Some(screen)), terminal)
}

#[test]
fn lines_are_cleared_before_anything_else_is_written() {
    let (report, terminal) = on_terminal(options(Format::Human, Verbosity::Verbose), 60);
    report.phase(Phase::Archiving);
    for archive in ["cvat_db", "an_archive_with_a_rather_long_name"] {
        report.event(&Event::Started { archive, stage: Stage::Archiving, total_bytes: Some(4 << 20) });
    }
    for _ in 0..100 {
        report.event(&Event::Advanced { archive: "cvat_db", bytes: 1 << 10 });
        report.event(&Event::Written { bytes: 100 });
    }
    let metadata = Metadata::default();
    let member = Member { path: RelPath::parse(b"d").unwrap(), kind: Kind::File { size: 3 }, metadata };
    report.event(&Event::Member { archive: "cvat_db", name: b"d", member: &member });
    report.issue("cvat_db", "in between".to_owned());
    std::thread::sleep(Duration::from_millis(500));
    let lines = terminal.contents();
    let lines: Vec<&str> = lines.lines().collect();
    assert_eq!(lines[..2], ["d", "voltar: warning: cvat_db: in between"], "{lines:#?}");
    assert!(lines[2].starts_with("cvat_db         archiving    2 %  100 KiB of 4.00 MiB"), "{lines:#?}");
    assert!(lines[3].starts_with("an_arc…ng_name  archiving    0 %  0 B of 4.00 MiB"), "{lines:#?}");
    assert!(lines[4].contains("archiving    1 %") && lines[4].ends_with("1 warning"), "{lines:#?}");
    assert!(lines[5].starts_with("100 KiB of 8.00 MiB  9.77 KiB written  1 member"), "{lines:#?}");
    assert_eq!(lines.len(), 6, "{lines:#?}");

    // Another phase, another stage of one archive, and the end of both.
    report.event(&Event::Phase { archive: "cvat_db", phase: Phase::Syncing });
    report.phase(Phase::Committing);
    std::thread::sleep(Duration::from_millis(500));
    assert!(terminal.contents().contains("committing"), "{}", terminal.contents());
    for archive in ["cvat_db", "an_archive_with_a_rather_long_name"] {
        let at = Path::new("backup/x.tar.bz2");
        report.event(&Event::Finished { stage: Stage::Archiving, summary: &summary(archive, 4 << 20), at });
    }
    report.event(&Event::ContainerStarted("cvat_db"));
    assert_eq!(report.finish(2), 2);
    // Nothing of the lines is left, at the bottom either.
    assert_eq!(
        terminal.contents(),
        "\
d
voltar: warning: cvat_db: in between
cvat_db: archived 4.00 MiB in 2.0 s (backup/x.tar.bz2, 2.00
MiB)
an_archive_with_a_rather_long_name: archived 4.00 MiB in 2.0
 s (backup/x.tar.bz2, 2.00 MiB)
started container cvat_db"
    );
}

#[test]
fn an_interruption_names_the_containers_that_run_again() {
    let (report, _, err) = report(options(Format::Human, Verbosity::Quiet));
    for name in ["cvat_db", "cvat"] {
        report.event(&Event::ContainerStarted(name));
    }
    report.error(&Error::interrupted().leaving("nothing was changed"));
    report.error(&Error::refused("no"));
    assert_eq!(
        err.text(),
        "voltar: interrupted: nothing was changed; containers started again: cvat_db, cvat\nvoltar: no\n"
    );
}

#[test]
fn a_hint_of_several_errors_is_printed_once() {
    let (report, _, err) = report(options(Format::Human, Verbosity::Quiet));
    let error = |message: &str, hint: &str| Error::refused(message).hint(hint);
    let all = [error("one", "a"), error("two", "a"), error("three", "b")];
    report.error(&Error::none_of(all.to_vec()).unwrap_err());
    assert_eq!(err.text(), "voltar: one\nvoltar: two\nhint: a\nvoltar: three\nhint: b\n");
}

#[test]
fn cancellation_is_passed_on() {
    let cancel = Arc::new(AtomicBool::new(false));
    let report = Report::new(options(Format::Human, Verbosity::Quiet), Arc::clone(&cancel));
    assert!(report.check_cancelled().is_ok());
    cancel.store(true, Ordering::Relaxed);
    assert_eq!(report.check_cancelled().unwrap_err().kind(), ErrorKind::Interrupted);
}
