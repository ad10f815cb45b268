//! The size of a tree, and the estimated length of its archive and the time that it takes: one walk that opens no file
//! but those with the version of a database cluster, then samples from all over the tree, which are compressed. For an archive, its beginning is decompressed.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::FileExt as _;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike as _};

use crate::archive::{BLOCK, RECORD, padding};
use crate::archive_file::tar_likeness;
use crate::archiver::{Compared, Index};
use crate::codec::{Compression, Compressor, Decompressor, Format};
use crate::error::Result;
use crate::exclude::Exclude;
use crate::member::{Kind, RelPath};
use crate::monitor::Monitor;
use crate::ordered::Pool;
use crate::pieces::WritePiece;
use crate::postgres::{Cluster, Clusters, VERSION_BYTES, is_cluster_version, is_version_file};
use crate::store::Location;
use crate::volume::OpenTree;
use crate::volume::walk::{Before, Entry, Found, Links, Walk};

/// The sizes of a tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Measured {
    /// Members that it has, the root's own included.
    pub members: u64,
    /// Members that are archived: fewer, if only what has changed is.
    pub archived: u64,
    /// What is excluded from it; a directory is one, with all that it holds.
    pub excluded: u64,
    /// Content in bytes of those of its files that are archived, each counted once however many links it has.
    pub file_bytes: u64,
    /// Length of the tar stream in bytes.
    pub stream_bytes: u64,
    /// Estimated length of the archive in bytes.
    pub archive_bytes: u64,
    /// The estimated time that one core takes to compress all of it; `None` if there is nothing to try it with.
    pub compress_time: Option<Duration>,
    /// Whether it is one mounted file.
    pub one_file: bool,
    /// Whether it holds the `PG_VERSION` of a PostgreSQL cluster.
    pub database: bool,
    /// The PostgreSQL clusters that an archive of it would have.
    pub clusters: Vec<Cluster>,
}

/// The number of samples, and the length of each in bytes.
const SAMPLES: usize = 64;
const SAMPLE: usize = 32 << 10;

/// The estimated length of a compressed header in bytes.
const COMPRESSED_HEADER: u64 = 64;

/// What is measured of a tree.
#[derive(Clone, Copy)]
pub struct Measure<'a> {
    /// What is left out.
    pub exclude: &'a Exclude,
    /// How an archive is compressed, for estimates of its length and of the time; otherwise those of an uncompressed one.
    pub compression: Option<Compression>,
    /// Whether extended attributes are archived.
    pub xattrs: bool,
    /// The index of a full archive, if only what has changed since is archived.
    pub since: Option<&'a Location>,
}

/// Measures a tree.
///
/// # Errors
/// The tree cannot be walked, a file in it has an owner that has no id in the container, or the run was interrupted. Of kind
/// [`ErrorKind::Damaged`](crate::error::ErrorKind::Damaged): the index cannot be used.
pub(crate) fn measure(
    tree: &OpenTree,
    prefix: &RelPath,
    what: Measure<'_>,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<Measured> {
    let walk = Walk::new(tree)?.excluding(what.exclude, prefix).watching(monitor);
    match what.since {
        None => measure_walk(walk, tree, what, pool, monitor),
        Some(index) => {
            let index = Index::open(index, pool, monitor)?;
            measure_walk(Compared::new(walk, index, &tree.ids, what.xattrs)?, tree, what, pool, monitor)
        }
    }
}

fn measure_walk(
    walk: impl Iterator<Item = Result<Found>>,
    tree: &OpenTree,
    what: Measure<'_>,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<Measured> {
    let compression = what.compression.unwrap_or(Format::Plain.into());
    let mut measured = Measured { stream_bytes: 2 * BLOCK as u64, ..Measured::default() };
    let mut links = Links::default();
    let mut samples = Samples::default();
    let mut clusters = Clusters::default();
    let mut unmapped = None;
    for found in walk {
        monitor.check_cancelled()?;
        let mut entry = match found? {
            Found::Entry(entry) => entry,
            Found::Excluded => {
                measured.excluded += 1;
                continue;
            }
            Found::Socket(_)
            | Found::Own(_)
            | Found::Beyond { .. }
            | Found::Changed(_)
            | Found::Unreadable { .. }
            | Found::Gone(_) => continue,
        };
        measured.members += 1;
        measured.one_file |= entry.path.is_root() && entry.kind != Kind::Directory;
        if let Err(first) = tree.ids.to_container(&entry.metadata) {
            let (.., count) = unmapped.get_or_insert((first, entry.path.clone(), 0_u64));
            *count += 1;
        }
        measured.database |= is_cluster_version(&entry.path);
        clusters.member(&entry.path, &entry.kind);
        if is_version_file(&entry.path) && matches!(entry.kind, Kind::File { .. }) {
            let version = piece_of(&mut entry, 0, VERSION_BYTES);
            clusters.version(&entry.path, &version);
        }
        if entry.before == Before::Same {
            continue;
        }
        measured.archived += 1;
        measured.stream_bytes += BLOCK as u64;
        if links.is_counted(&entry) {
            continue;
        }
        if let Kind::File { size } = entry.kind {
            measured.file_bytes += size;
            measured.stream_bytes += size + padding(size) as u64;
            samples.offer(entry, size);
        }
    }
    if let Some((first, path, count)) = unmapped {
        return Err(first.on_disk(path, count - 1));
    }
    measured.stream_bytes = measured.stream_bytes.next_multiple_of(RECORD as u64);
    if compression.format() == Format::Plain {
        measured.archive_bytes = measured.stream_bytes;
        measured.compress_time = Some(Duration::ZERO);
    } else {
        let trial = samples.try_out(compression, pool);
        let bytes =
            trial.map_or(measured.file_bytes, |trial| scaled(trial.compressed, measured.file_bytes, trial.bytes));
        measured.archive_bytes = bytes + measured.archived * COMPRESSED_HEADER;
        measured.compress_time = trial.map(|trial| trial.time_of(measured.stream_bytes));
    }
    measured.clusters = clusters.found();
    if what.xattrs {
        measured.add_extended_headers(compression.format());
    }
    Ok(measured)
}

impl Measured {
    /// Adds an extended header for each member: most have a time with fractions of a second.
    fn add_extended_headers(&mut self, format: Format) {
        let added = self.archived * 2 * BLOCK as u64;
        self.stream_bytes += added;
        self.archive_bytes += if format == Format::Plain { added } else { self.archived * COMPRESSED_HEADER };
    }
}

/// Returns at most `most` bytes of a file. One that cannot be read is reported when it is archived.
fn piece_of(entry: &mut Entry, offset: u64, most: usize) -> Vec<u8> {
    let mut piece = vec![0; most];
    let opened = entry.open().map_err(std::io::Error::from);
    let read = opened.and_then(|opened| opened.file().read_at(&mut piece, offset));
    piece.truncate(read.unwrap_or(0));
    piece
}

/// How long a part of the data has taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Trial {
    bytes: u64,
    compressed: u64,
    /// The time of one core.
    time: Duration,
}

impl Trial {
    /// Returns the time that one core takes for `bytes`. Of less than a sample, most was the time to begin and to end.
    fn time_of(self, bytes: u64) -> Duration {
        let nanoseconds = u64::try_from(self.time.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(scaled(nanoseconds, bytes, self.bytes.max(SAMPLE as u64)))
    }
}

/// Returns `part` for the whole: `part` × `whole` / `of`.
fn scaled(part: u64, whole: u64, of: u64) -> u64 {
    u64::try_from(u128::from(part) * u128::from(whole) / u128::from(of.max(1))).unwrap_or(u64::MAX)
}

/// The estimated time that one core takes to decompress an archive, and whether several cores share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decompression {
    /// The time of one core.
    pub time: Duration,
    /// Whether several cores share it.
    pub is_parallel: bool,
}

/// The bytes of an archive, and the time, after which decompressing its beginning ends.
const BEGINNING: (u64, Duration) = (2 << 20, Duration::from_millis(100));

/// Decompresses the beginning of an archive, for `threads` that are to decompress it; `None` if it cannot be read, or only
/// once.
pub(crate) fn decompression(location: &Location, threads: usize, monitor: &dyn Monitor) -> Option<Decompression> {
    let length = location.file().and_then(|_| location.bytes())?;
    let reader = location.open(monitor).ok()?.reader;
    let begun = Instant::now();
    // One worker, so that blocks that are decoded ahead take little of the time.
    let mut decompressor = Decompressor::with_plain(reader, tar_likeness, &Pool::new(1).ok()?).ok()?;
    let mut piece = vec![0; SAMPLE];
    while decompressor.compressed_bytes() < BEGINNING.0 && begun.elapsed() < BEGINNING.1 {
        if decompressor.read(&mut piece).ok()? == 0 {
            break;
        }
    }
    let trial = Trial { bytes: decompressor.compressed_bytes(), compressed: 0, time: begun.elapsed() };
    let is_parallel = decompressor.is_parallel(threads);
    (trial.bytes > 0).then(|| Decompression { time: trial.time_of(length), is_parallel })
}

/// Returns the time of all `works`, each with the time that it takes one core, and whether several share it: they share
/// `threads` cores, and none takes less than its own thread needs.
pub(super) fn time_of_all(works: &[(Duration, bool)], threads: usize) -> Duration {
    let threads = u32::try_from(threads.max(1)).unwrap_or(u32::MAX);
    let sum: Duration = works.iter().map(|(time, _)| *time).sum();
    let alone = works.iter().filter(|(_, is_parallel)| !is_parallel).map(|(time, _)| *time).max();
    (sum / threads).max(alone.unwrap_or_default())
}

/// The time that the thread of an archive takes for a byte of the tar stream, in nanoseconds: at most 0.7 were measured, for
/// bz2.
const MAIN_THREAD: u64 = 1;

/// Returns the time in which `threads` write the archives of these trees; `None` if one was not measured.
pub(super) fn backup_time(trees: &[Option<&Measured>], threads: usize) -> Option<Duration> {
    let mut works = Vec::new();
    for tree in trees {
        let tree = (*tree)?;
        works.push((tree.compress_time?, true));
        works.push((Duration::from_nanos(tree.stream_bytes.saturating_mul(MAIN_THREAD)), false));
    }
    Some(time_of_all(&works, threads))
}

/// Samples at equal distances in a stream of unknown length: when there are too many, every other one is dropped and the
/// distance doubles.
#[derive(Default)]
struct Samples {
    kept: Vec<(Entry, u64)>,
    distance: u64,
    position: u64,
    next: u64,
}

impl Samples {
    fn offer(&mut self, entry: Entry, size: u64) {
        let (start, end) = (self.position, self.position + size);
        self.position = end;
        if self.next < end {
            self.kept.push((entry, self.next - start));
            self.distance = self.distance.max(SAMPLE as u64);
            // One sample of a file is enough: variety counts.
            while self.next < end {
                self.next += self.distance;
            }
        }
        if self.kept.len() > SAMPLES {
            let mut index = 0;
            self.kept.retain(|_| {
                index += 1;
                index % 2 == 1
            });
            self.distance *= 2;
        }
    }

    /// Compresses the samples; `None` if there are none.
    fn try_out(self, compression: Compression, pool: &Pool) -> Option<Trial> {
        let mut pieces = Vec::new();
        for (mut entry, offset) in self.kept {
            pieces.extend(piece_of(&mut entry, offset, SAMPLE));
        }
        let mut compressed = Counting(0);
        let before = processor_time();
        let mut compressor = Compressor::new(&mut compressed, compression, pool);
        let done = compressor.write_all(&pieces).and_then(|()| compressor.finish().map(|_| ()));
        let time = processor_time().saturating_sub(before);
        (done.is_ok() && !pieces.is_empty()).then_some(Trial {
            bytes: pieces.len() as u64,
            compressed: compressed.0,
            time,
        })
    }
}

/// Returns the time that all threads of this process have been running.
fn processor_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Duration::ZERO };
    let microseconds = |time: TimeVal| u64::try_from(time.num_microseconds()).unwrap_or_default();
    Duration::from_micros(microseconds(usage.user_time()) + microseconds(usage.system_time()))
}

/// Counts the bytes that are written to it.
struct Counting(u64);

impl WritePiece for Counting {}

impl std::io::Write for Counting {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.0 += buf.len() as u64;
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::process::Command;

    use tempfile::tempdir;

    use super::*;
    use crate::exclude::Pattern;
    use crate::ids::IdMap;
    use crate::monitor::Collector;
    use crate::volume::live::Way;

    fn measured(dir: &Path, format: Format, xattrs: bool) -> Measured {
        let tree = OpenTree::of_directory(dir, Way::Exchange);
        let exclude = Exclude::default();
        let what = Measure { exclude: &exclude, compression: Some(format.into()), xattrs, since: None };
        measure(&tree, &RelPath::root(), what, &Pool::new(2).unwrap(), &Collector::default()).unwrap()
    }

    /// Bytes that no program compresses.
    fn noise(length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        fs::File::open("/dev/urandom").unwrap().read_exact(&mut bytes).unwrap();
        bytes
    }

    fn archive(dir: &Path, option: &str, file: &Path) -> u64 {
        let made = Command::new("tar").arg("-C").arg(dir).args([option, "-cf"]).arg(file).arg(".").status().unwrap();
        assert!(made.success());
        fs::metadata(file).unwrap().len()
    }

    #[test]
    fn an_uncompressed_archive_has_the_measured_length() {
        let dir = tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("sub")).unwrap();
        for size in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 70_000] {
            fs::write(tree.join("sub").join(size.to_string()), vec![b'x'; size]).unwrap();
        }
        fs::hard_link(tree.join("sub/70000"), tree.join("link")).unwrap();
        let expected = archive(&tree, "--format=gnu", &dir.path().join("x.tar"));
        let found = measured(&tree, Format::Plain, false);
        assert_eq!((found.stream_bytes, found.archive_bytes), (expected, expected));
        assert_eq!((found.members, found.archived, found.compress_time), (9, 9, Some(Duration::ZERO)));
    }

    #[test]
    fn a_single_file_is_told_from_a_directory_that_holds_one() {
        let dir = tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        let is_one_file = |at: &Path| measured(at, Format::Plain, false).one_file;
        assert!(is_one_file(&file) && !is_one_file(dir.path()));
    }

    #[test]
    fn all_files_whose_owners_have_no_id_are_counted() {
        let dir = tempdir().unwrap();
        for name in ["a", "b"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        let ids = IdMap::parse("0 100000 10", "0 100000 10").unwrap();
        let tree = OpenTree { ids, ..OpenTree::of_directory(dir.path(), Way::Exchange) };
        let exclude = Exclude::default();
        let what = Measure { exclude: &exclude, compression: None, xattrs: false, since: None };
        let refused = measure(&tree, &RelPath::root(), what, &Pool::new(1).unwrap(), &Collector::default());
        let refused = refused.unwrap_err().to_string();
        assert!(refused.ends_with("has no id in the container (and 2 more like it)"), "{refused}");
    }

    #[test]
    fn samples_are_at_equal_distances_in_the_stream() {
        let dir = tempdir().unwrap();
        let sizes = [10, 3 * SAMPLE as u64, 1, SAMPLE as u64];
        for (number, size) in sizes.iter().enumerate() {
            fs::File::create(dir.path().join(number.to_string())).unwrap().set_len(*size).unwrap();
        }
        let tree = OpenTree::of_directory(dir.path(), Way::Exchange);
        let mut samples = Samples::default();
        for found in Walk::new(&tree).unwrap() {
            if let Found::Entry(entry) = found.unwrap()
                && let Kind::File { size } = entry.kind
            {
                samples.offer(entry, size);
            }
        }
        let kept: Vec<_> = samples.kept.iter().map(|(entry, at)| (entry.path.to_string(), *at)).collect();
        let expected = [("0", 0), ("1", SAMPLE as u64 - 10), ("3", SAMPLE as u64 - 11)];
        assert_eq!(kept, expected.map(|(name, at)| (name.to_owned(), at)));
    }

    #[test]
    fn what_is_excluded_is_counted_and_takes_no_room() {
        let dir = tempdir().unwrap();
        for name in ["one.tmp", "two.tmp", "kept"] {
            fs::write(dir.path().join(name), name).unwrap();
        }
        let exclude = Exclude::new(vec![Pattern::parse(b"*.tmp").unwrap()]);
        let tree = OpenTree::of_directory(dir.path(), Way::Exchange);
        let what = Measure { exclude: &exclude, compression: None, xattrs: false, since: None };
        let found = measure(&tree, &RelPath::root(), what, &Pool::new(1).unwrap(), &Collector::default()).unwrap();
        assert_eq!((found.excluded, found.members, found.file_bytes), (2, 2, 4));
    }

    #[test]
    fn extended_headers_are_measured_too() {
        let dir = tempdir().unwrap();
        fs::write(dir.path().join("file"), "content").unwrap();
        let added = |format| {
            let (with, without) = (measured(dir.path(), format, true), measured(dir.path(), format, false));
            (with.stream_bytes - without.stream_bytes, with.archive_bytes - without.archive_bytes)
        };
        let headers = 2 * 2 * BLOCK as u64;
        assert_eq!(added(Format::Plain), (headers, headers));
        assert_eq!(added(Format::Bzip2), (headers, 2 * COMPRESSED_HEADER));
    }

    #[test]
    fn the_length_of_a_compressed_archive_is_estimated_from_samples() {
        const SIZE: usize = 3 << 20;
        let dir = tempdir().unwrap();
        let text = || b"all work and no play\n".repeat(SIZE / 21);
        for (name, content) in [("text", &text as &dyn Fn() -> Vec<u8>), ("noise", &|| noise(SIZE))] {
            let tree = dir.path().join(name);
            fs::create_dir(&tree).unwrap();
            for number in 1..=4 {
                fs::write(tree.join(number.to_string()), content()).unwrap();
            }
            let real = archive(&tree, "-z", &dir.path().join("x.tar.gz"));
            let found = measured(&tree, Format::Gzip, false);
            assert!((real / 2..2 * real).contains(&found.archive_bytes), "{name}: {real}: {found:?}");
            assert!(found.compress_time.is_some_and(|time| time > Duration::ZERO), "{name}: {found:?}");
        }
        let empty = dir.path().join("empty");
        fs::create_dir(&empty).unwrap();
        let found = measured(&empty, Format::Gzip, false);
        assert_eq!((found.archive_bytes, found.compress_time), (COMPRESSED_HEADER, None));
    }

    #[test]
    fn a_few_bytes_do_not_tell_the_time_of_many() {
        let trial = |bytes| Trial { bytes, compressed: 0, time: Duration::from_millis(2) };
        assert_eq!(trial(1 << 20).time_of(16 << 20), Duration::from_millis(32));
        assert_eq!(trial(44).time_of(16 << 20), trial(SAMPLE as u64).time_of(16 << 20));
    }

    #[test]
    fn the_beginning_of_an_archive_is_decompressed() {
        let dir = tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join("noise"), noise(1 << 20)).unwrap();
        let of =
            |name: &str, threads| decompression(&Location::at(&dir.path().join(name)), threads, &Collector::default());
        for (name, option, is_parallel) in [("x.tar.bz2", "-j", true), ("x.tar.gz", "-z", false)] {
            archive(&tree, option, &dir.path().join(name));
            let found = of(name, 2).unwrap();
            assert!(found.time > Duration::ZERO);
            assert_eq!(found.is_parallel, is_parallel, "{name}");
        }
        fs::write(dir.path().join("empty.tar"), "").unwrap();
        fs::write(dir.path().join("damaged.tar.gz"), b"\x1f\x8b\x08\0damaged").unwrap();
        for name in ["empty.tar", "damaged.tar.gz", "missing.tar"] {
            assert_eq!(of(name, 2), None, "{name}");
        }
    }
}
