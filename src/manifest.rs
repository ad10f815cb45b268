//! The manifest of a set of archives, `voltar.json`: what a backup has archived, from what, and when. A directory with a
//! valid one is a set, and any other is none.
//!
//! Whoever can write to a backup directory can write a manifest, so all of it is hostile until parsed. Fields may be added
//! without a new version; a field never changes its meaning.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Error, ErrorKind, Result};
use crate::member::printable_text;

/// The name of the file.
pub const FILE: &str = "voltar.json";

/// The name of the file that holds the digests of the other ones for `sha256sum --check`.
pub const SUMS: &str = "SHA256SUMS";

/// The largest manifest that is read, in bytes. One of 1,000 archives and containers has less than half a megabyte.
pub(crate) const MAX_BYTES: u64 = 16 << 20;

/// Which fields have which meaning.
const VERSION: u32 = 1;

/// What is known of a complete set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Which fields have which meaning: 1.
    pub version: u32,
    /// The version of the program that made the set.
    pub voltar: String,
    /// When the backup began.
    pub started: Timestamp,
    /// When all archives were complete, and the containers had been started again.
    pub completed: Timestamp,
    /// The name of the host.
    pub host: String,
    /// The engine, or the directory of its files.
    pub engine: String,
    /// The name of the layout.
    pub layout: String,
    /// The compose project of the volumes, if there is only one.
    pub project: Option<String>,
    /// The containers that the layout names, and those that use the volumes.
    pub containers: Vec<ArchivedContainer>,
    /// How long containers were stopped: from the first stop to the last start, in seconds. `None` if none was.
    pub downtime_seconds: Option<f64>,
    /// The archives, in the order of the layout.
    pub archives: Vec<ArchiveRecord>,
    /// The warnings of the backup, or the first ones.
    pub warnings: Vec<String>,
    /// The number of all warnings.
    pub warning_count: u64,
}

/// A container at the time of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedContainer {
    /// Its name.
    pub name: String,
    /// Its service in the compose project.
    pub service: Option<String>,
    /// The name of its image.
    pub image: String,
    /// The id of its image: `sha256:…`. Empty if it is not known.
    pub image_id: String,
    /// When it was stopped for the backup, if it was.
    pub stopped: Option<Timestamp>,
    /// When it was started again.
    pub started: Option<Timestamp>,
}

/// An archive of a set: of a whole tree, or of what has changed since a full archive in an earlier set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchiveRecord {
    /// Its name in the layout.
    pub name: String,
    /// The path of its members, without the slash at the begin.
    pub path: String,
    /// The names of the volumes in it, and the paths of bind mounts.
    pub sources: Vec<String>,
    /// The format, as the option `--format` names it.
    pub format: String,
    /// Whether it has extended attributes, and fractions of seconds.
    pub xattrs: bool,
    /// The number of members of the tree.
    pub members: u64,
    /// The length of a tar stream of the whole tree in bytes.
    pub stream_bytes: u64,
    /// The major version of the PostgreSQL cluster in it, as `PG_VERSION` says it.
    pub postgres: Option<String>,
    /// The full archive of the first of two passes, of which the archive of changes is the second.
    pub first_pass: Option<FileRecord>,
    /// The archive. `None` if nothing has changed since the base or the first pass.
    pub archive: Option<FileRecord>,
    /// The index of a full archive, for later archives of changes.
    pub index: Option<FileRecord>,
    /// The full archive that comes before one of changes.
    pub base: Option<Base>,
    /// The paths of the base or of the first pass that are gone.
    pub gone: Option<FileRecord>,
}

/// A file of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its name in the set.
    pub file: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// Its SHA-256 digest.
    pub sha256: Digest,
}

/// A full archive of another set, beside this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Base {
    /// The name of the set.
    pub set: String,
    /// The archive.
    pub archive: FileRecord,
}

impl ArchiveRecord {
    /// Returns the files that this set has of it.
    pub fn files(&self) -> impl Iterator<Item = &FileRecord> {
        [&self.first_pass, &self.archive, &self.index, &self.gone].into_iter().flatten()
    }

    /// Returns the full archive in this set.
    #[must_use]
    pub fn full(&self) -> Option<&FileRecord> {
        let whole = self.archive.as_ref().filter(|_| self.base.is_none());
        self.first_pass.as_ref().or(whole)
    }

    /// Returns whether what it has fits together.
    fn is_valid(&self) -> bool {
        match (&self.base, &self.first_pass) {
            (None, None) => self.archive.is_some() && self.gone.is_none(),
            (None, Some(_)) => self.archive.is_some() == self.gone.is_some(),
            (Some(_), None) => self.index.is_none() && self.archive.is_some() == self.gone.is_some(),
            (Some(_), Some(_)) => false,
        }
    }
}

impl Manifest {
    /// Returns a manifest of the present version of the format, and of the program.
    #[must_use]
    pub fn new(started: Timestamp) -> Self {
        Self {
            version: VERSION,
            voltar: env!("CARGO_PKG_VERSION").to_owned(),
            started,
            completed: started,
            host: String::new(),
            engine: String::new(),
            layout: String::new(),
            project: None,
            containers: Vec::new(),
            downtime_seconds: None,
            archives: Vec::new(),
            warnings: Vec::new(),
            warning_count: 0,
        }
    }

    /// Parses the content of `voltar.json`.
    ///
    /// # Errors
    /// It is not valid, or a later version of the program has written it.
    pub fn parse(text: &[u8]) -> Result<Self> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let invalid = |cause: &dyn std::fmt::Display| {
            Error::new(ErrorKind::Damaged, format!("{FILE} is not valid: {}", printable_text(&cause.to_string())))
        };
        let Versioned { version } = serde_json::from_slice(text).map_err(|e| invalid(&e))?;
        if version != VERSION {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("{FILE} has version {version}, which is not known"),
            )
            .hint("use the version of voltar that made the set, or a later one"));
        }
        let manifest: Self = serde_json::from_slice(text).map_err(|e| invalid(&e))?;
        if manifest.archives.is_empty() {
            return Err(invalid(&"it has no archive"));
        }
        let mut files = BTreeSet::from([FILE, SUMS]);
        let mut names = BTreeSet::new();
        for archive in &manifest.archives {
            if !archive.is_valid() {
                return Err(invalid(&format!("what it says of the archive '{}' does not fit together", archive.name)));
            }
            if !names.insert(&archive.name) {
                return Err(invalid(&format!("two archives are '{}'", archive.name)));
            }
            let of_base = archive.base.iter().flat_map(|base| [&base.set, &base.archive.file]);
            let own = || archive.files().map(|record| &record.file);
            if let Some(other) = own().chain(of_base).find(|name| !is_file_name(name)) {
                return Err(invalid(&format!("'{other}' is no file name")));
            }
            if let Some(twice) = own().find(|name| !files.insert(name)) {
                return Err(invalid(&format!("two files are '{twice}'")));
            }
        }
        Ok(manifest)
    }

    /// Returns the content of `voltar.json`.
    ///
    /// # Errors
    /// It would be larger than what is read.
    pub fn text(&self) -> Result<Vec<u8>> {
        let mut text = serde_json::to_vec_pretty(self).map_err(|e| Error::failed("cannot write", FILE, e))?;
        text.push(b'\n');
        if text.len() as u64 > MAX_BYTES {
            return Err(Error::failed("cannot write", FILE, format!("it would have more than {MAX_BYTES} bytes")));
        }
        Ok(text)
    }

    /// Returns the content of `SHA256SUMS`.
    #[must_use]
    pub fn sums(&self) -> String {
        let line = |set: &str, record: &FileRecord| format!("{}  {set}{}\n", record.sha256, record.file);
        let own = self.files().map(|record| line("", record));
        // A set of changes is nothing without the others.
        let bases = self.archives.iter().filter_map(|archive| archive.base.as_ref());
        own.chain(bases.map(|base| line(&format!("../{}/", base.set), &base.archive))).collect()
    }

    /// Returns the files of the archives.
    pub fn files(&self) -> impl Iterator<Item = &FileRecord> {
        self.archives.iter().flat_map(ArchiveRecord::files)
    }

    /// Returns the length of all these files in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.files().fold(0, |sum, record| sum.saturating_add(record.bytes))
    }

    /// Returns the names of the sets that this one needs.
    #[must_use]
    pub fn bases(&self) -> BTreeSet<&str> {
        self.archives.iter().filter_map(|archive| archive.base.as_ref()).map(|base| &base.set[..]).collect()
    }
}

/// Returns whether `name` is the name of a file that a backup writes: in the directory itself, not hidden, and the same in
/// `SHA256SUMS`.
fn is_file_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\']) && !name.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str) -> FileRecord {
        FileRecord { file: name.to_owned(), bytes: 3, sha256: Digest([0xab; 32]) }
    }

    fn manifest() -> Manifest {
        let archive = |name: &str| ArchiveRecord {
            name: name.to_owned(),
            path: "var/lib".to_owned(),
            sources: vec![name.to_owned()],
            format: "gz".to_owned(),
            xattrs: false,
            members: 1,
            stream_bytes: 10_240,
            postgres: None,
            first_pass: None,
            archive: Some(file(&format!("{name}.tar.gz"))),
            index: None,
            base: None,
            gone: None,
        };
        let archives = ["one", "two"].map(archive).into();
        Manifest { archives, ..Manifest::new("2026-11-25T02:00:00Z".parse().unwrap()) }
    }

    #[test]
    fn what_is_written_is_read() {
        let manifest = manifest();
        assert_eq!(Manifest::parse(&manifest.text().unwrap()).unwrap(), manifest);
        let ab = "ab".repeat(32);
        assert_eq!(manifest.sums(), format!("{ab}  one.tar.gz\n{ab}  two.tar.gz\n"));
        assert_eq!(manifest.bytes(), 6);
        // Another program, or a later version, may have added a field.
        let text = String::from_utf8(manifest.text().unwrap()).unwrap();
        let added = text.replacen('{', r#"{"new": 1,"#, 1);
        assert_eq!(Manifest::parse(added.as_bytes()).unwrap(), manifest);
    }

    #[test]
    fn what_no_backup_writes_is_refused() {
        let text = String::from_utf8(manifest().text().unwrap()).unwrap();
        for (right, wrong, error) in [
            ("one.tar.gz", "../one.tar.gz", "'../one.tar.gz' is no file name"),
            ("one.tar.gz", "", "'' is no file name"),
            ("one.tar.gz", ".one", "'.one' is no file name"),
            ("one.tar.gz", r"a\nb", r"'a\nb' is no file name"),
            ("one.tar.gz", "two.tar.gz", "two files are 'two.tar.gz'"),
            ("one.tar.gz", "voltar.json", "two files are 'voltar.json'"),
            ("\"name\": \"one\"", "\"name\": \"two\"", "two archives are 'two'"),
            ("\"archive\": {", "\"other\": {", "what it says of the archive 'one' does not fit together"),
            ("\"abab", "\"Abab", "a digest has 64 hexadecimal digits"),
            ("\"abab", "\"ab", "a digest has 64 hexadecimal digits"),
            ("2026-11-25T", "2026-13-25T", "'month' is not in the required range"),
            ("\"bytes\": 3", "\"bytes\": -3", "invalid value: integer `-3`"),
            ("{", "[", "invalid"),
        ] {
            let found = Manifest::parse(text.replacen(right, wrong, 1).as_bytes()).unwrap_err();
            assert_eq!(found.kind(), ErrorKind::Damaged);
            assert!(found.to_string().starts_with("voltar.json is not valid: "), "{found}");
            assert!(found.to_string().contains(error), "{wrong}: {found}");
        }
        let later = Manifest::parse(text.replacen("\"version\": 1", "\"version\": 2", 1).as_bytes()).unwrap_err();
        assert_eq!(later.kind(), ErrorKind::Unsupported);
        let huge = Manifest { engine: "x".repeat(17 << 20), ..manifest() };
        assert!(huge.text().unwrap_err().to_string().ends_with("it would have more than 16777216 bytes"));
        let base = Base { set: "../x".to_owned(), archive: file("one.tar.gz") };
        let with_base = |record: &ArchiveRecord| ArchiveRecord { base: Some(base.clone()), ..record.clone() };
        let outside = |archives: Vec<ArchiveRecord>| {
            Manifest::parse(&Manifest { archives, ..manifest() }.text().unwrap()).unwrap_err().to_string()
        };
        let one = &manifest().archives[0];
        assert!(outside(vec![with_base(one)]).ends_with("the archive 'one' does not fit together"));
        let changes = ArchiveRecord { gone: Some(file("one.gone")), ..with_base(one) };
        assert!(outside(vec![changes]).ends_with("'../x' is no file name"));
        let beside = Base { set: "2026".to_owned(), ..base.clone() };
        let same = ArchiveRecord { base: Some(beside), archive: None, ..one.clone() };
        let same = Manifest { archives: vec![same], ..manifest() };
        assert_eq!(same.sums(), format!("{}  ../2026/one.tar.gz\n", "ab".repeat(32)));
        assert_eq!((same.bytes(), same.bases()), (0, BTreeSet::from(["2026"])));
        let empty = Manifest { archives: Vec::new(), ..manifest() };
        assert!(Manifest::parse(&empty.text().unwrap()).unwrap_err().to_string().ends_with("it has no archive"));
        Manifest::parse(b"").unwrap_err();
    }
}
