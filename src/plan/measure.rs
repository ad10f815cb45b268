//! The size of a tree and the estimated length of its archive: one walk that opens no file, then samples from all over
//! the tree, which are compressed.

use std::io::Write as _;
use std::os::unix::fs::FileExt as _;

use crate::archive::{BLOCK, RECORD, padding};
use crate::archiver::is_cluster_version;
use crate::codec::{Compression, Compressor, Format};
use crate::error::Result;
use crate::exclude::Exclude;
use crate::member::{Kind, RelPath};
use crate::monitor::Monitor;
use crate::ordered::Pool;
use crate::volume::OpenTree;
use crate::volume::walk::{Entry, Found, Links, Walk};

/// The sizes of a tree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Measured {
    /// Members that an archive of it would have, the root's own included.
    pub members: u64,
    /// What is excluded from it; a directory is one, with all that it holds.
    pub excluded: u64,
    /// Content of its files in bytes, each counted once however many links it has.
    pub file_bytes: u64,
    /// Length of the tar stream in bytes.
    pub stream_bytes: u64,
    /// Estimated length of the archive in bytes.
    pub archive_bytes: u64,
    /// Whether it holds the `PG_VERSION` of a PostgreSQL cluster.
    pub database: bool,
}

/// The number of samples, and the length of each in bytes.
const SAMPLES: usize = 64;
const SAMPLE: usize = 32 << 10;

/// The estimated length of a compressed header in bytes.
const COMPRESSED_HEADER: u64 = 64;

/// Measures a tree.
///
/// # Errors
/// The tree cannot be walked, a file in it has an owner that has no id in the container, or the run was interrupted.
pub(crate) fn measure(
    tree: &OpenTree,
    prefix: &RelPath,
    exclude: &Exclude,
    compression: Compression,
    pool: &Pool,
    monitor: &dyn Monitor,
) -> Result<Measured> {
    let mut measured = Measured { stream_bytes: 2 * BLOCK as u64, ..Measured::default() };
    let mut links = Links::default();
    let mut samples = Samples::default();
    let mut unmapped = None;
    for found in Walk::new(tree)?.excluding(exclude, prefix) {
        monitor.check_cancelled()?;
        let entry = match found? {
            Found::Entry(entry) => entry,
            Found::Excluded => {
                measured.excluded += 1;
                continue;
            }
            Found::Socket(_) | Found::Own(_) | Found::Unreadable { .. } => continue,
        };
        measured.members += 1;
        if let Err(first) = tree.ids.to_container(&entry.metadata) {
            let (.., count) = unmapped.get_or_insert((first, entry.path.clone(), 0_u64));
            *count += 1;
        }
        measured.stream_bytes += BLOCK as u64;
        measured.database |= is_cluster_version(&entry.path);
        if links.target(&entry).is_some() {
            continue;
        }
        links.stored(&entry);
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
    measured.archive_bytes = if compression.format == Format::Plain {
        measured.stream_bytes
    } else {
        samples.estimate(measured.file_bytes, compression, pool) + measured.members * COMPRESSED_HEADER
    };
    Ok(measured)
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

    fn estimate(self, bytes: u64, compression: Compression, pool: &Pool) -> u64 {
        let mut pieces = Vec::new();
        for (mut entry, offset) in self.kept {
            let mut piece = vec![0; SAMPLE];
            let read =
                entry.open().map_err(std::io::Error::from).and_then(|opened| opened.file().read_at(&mut piece, offset));
            // A file that cannot be read is reported when it is archived.
            pieces.extend_from_slice(&piece[..read.unwrap_or(0)]);
        }
        let mut compressed = Counting(0);
        let mut compressor = Compressor::new(&mut compressed, compression, pool);
        let done = compressor.write_all(&pieces).and_then(|()| compressor.finish().map(|_| ()));
        if done.is_err() || pieces.is_empty() {
            return bytes;
        }
        u64::try_from(u128::from(bytes) * u128::from(compressed.0) / pieces.len() as u128).unwrap_or(bytes)
    }
}

/// Counts the bytes that are written to it.
struct Counting(u64);

impl std::io::Write for Counting {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.0 += buf.len() as u64;
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
