//! A disk that records what is written to it: a filesystem in user space (`fuse(4)`) with a single file, which a loop device
//! makes a disk. Each write below the filesystem under test is recorded in its order, and each flush; so the disk can be
//! made as a power cut leaves it: with all that was written before a flush, and any of what was written after.
//!
//! The kernels of most machines have FUSE and loop devices, where `dm-log-writes` would need a module.

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use nix::mount::{MsFlags, mount};

use crate::common::mounted::Mounted;

/// What happened to the disk.
#[derive(Debug, Clone)]
pub(crate) enum Entry {
    Write(usize, Vec<u8>),
    /// All earlier writes are on the medium.
    Flush,
}

impl Entry {
    /// Writes to a copy of the disk.
    pub(crate) fn apply(&self, image: &mut [u8]) {
        if let Self::Write(offset, data) = self {
            image[*offset..offset + data.len()].copy_from_slice(data);
        }
    }
}

/// The disk, and what was written since it was made.
#[derive(Debug, Default)]
struct Disk {
    content: Vec<u8>,
    log: Vec<Entry>,
    /// Whether writes arrive as the loop device makes them, and not in parts that end with a page.
    whole: bool,
    failing: Option<Failing>,
}

/// Which of the requests that follow fail with `EIO`, and change nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failing {
    /// The write of this number, counted from 1: a bad sector.
    One(usize),
    /// It and all that follow, and flushes: a disk that has died.
    From(usize),
}

impl Disk {
    /// Returns whether this request fails.
    fn fails(&mut self, is_write: bool) -> bool {
        match &mut self.failing {
            Some(Failing::One(left)) if is_write && *left > 0 => {
                *left -= 1;
                *left == 0
            }
            Some(Failing::From(left)) => {
                *left = left.saturating_sub(usize::from(is_write));
                *left == 0
            }
            Some(Failing::One(_)) | None => false,
        }
    }
}

/// A disk that is being recorded.
#[derive(Debug)]
pub(crate) struct Recorder {
    disk: Arc<Mutex<Disk>>,
    mounted: Option<Mounted>,
    server: Option<std::thread::JoinHandle<()>>,
}

/// The number of the file, after the root directory's.
const FILE: u64 = 2;
const NAME: &str = "image";

impl Recorder {
    /// Shows a disk of this content as a file in the directory `at`.
    pub(crate) fn new(at: &Path, content: Vec<u8>) -> Self {
        Self::serving(at, Disk { content, ..Disk::default() })
    }

    /// As [`Recorder::new`], for a disk that is to fail: the loop device takes a write that was done in part for a complete
    /// one (`lo_complete_rq` in `drivers/block/loop.c` of Linux 6.18), so it must not be divided.
    pub(crate) fn of_whole_writes(at: &Path, content: Vec<u8>) -> Self {
        Self::serving(at, Disk { content, whole: true, ..Disk::default() })
    }

    fn serving(at: &Path, disk: Disk) -> Self {
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").expect("FUSE");
        let options = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
        mount(Some("voltar-recorder"), at, Some("fuse"), MsFlags::empty(), Some(options.as_str())).expect("mounting");
        let disk = Arc::new(Mutex::new(disk));
        let shared = Arc::clone(&disk);
        let server = std::thread::spawn(move || serve(device, &shared));
        Self { disk, mounted: Some(Mounted(at.to_owned())), server: Some(server) }
    }

    /// The path of the disk in the directory.
    pub(crate) fn image(at: &Path) -> PathBuf {
        at.join(NAME)
    }

    /// Returns how much has happened so far.
    pub(crate) fn len(&self) -> usize {
        self.disk.lock().expect("no panic here").log.len()
    }

    /// Lets requests fail from now on.
    pub(crate) fn fail(&self, failing: Failing) {
        self.disk.lock().expect("no panic here").failing = Some(failing);
    }

    /// Unmounts it, and returns the content of the disk.
    pub(crate) fn take_content(self) -> Vec<u8> {
        let disk = Arc::clone(&self.disk);
        self.end();
        std::mem::take(&mut disk.lock().expect("no panic here").content)
    }

    /// Unmounts it, and returns what happened.
    pub(crate) fn end(mut self) -> Vec<Entry> {
        self.mounted = None;
        self.server.take().expect("a server").join().expect("the server");
        std::mem::take(&mut self.disk.lock().expect("no panic here").log)
    }
}

/// Answers the kernel until it unmounts.
fn serve(mut device: File, disk: &Mutex<Disk>) {
    let mut request = vec![0; 2 << 20];
    // The kernel says ENODEV when it has unmounted.
    while let Ok(length) = device.read(&mut request) {
        let (header, body) = request[..length].split_at(40);
        let (operation, unique) = (number32(header, 4), number64(header, 8));
        let answer = {
            let mut disk = disk.lock().expect("no panic here");
            answer(operation, number64(header, 16), body, &mut disk)
        };
        let Some(answer) = answer else { continue };
        let (error, body) = match answer {
            Ok(body) => (0, body),
            Err(errno) => (-(errno as i32), Vec::new()),
        };
        let mut bytes = u32::try_from(16 + body.len()).expect("a short answer").to_ne_bytes().to_vec();
        bytes.extend(error.to_ne_bytes());
        bytes.extend(unique.to_ne_bytes());
        bytes.extend(body);
        // A request that was interrupted has no reader.
        device.write_all(&bytes).unwrap_or_default();
    }
}

/// Returns the answer to a request (`include/uapi/linux/fuse.h`); `None` where the kernel expects none.
fn answer(operation: u32, node: u64, body: &[u8], disk: &mut Disk) -> Option<Result<Vec<u8>, nix::errno::Errno>> {
    use nix::errno::Errno;
    /// `FUSE_BIG_WRITES`: more than a page at a time.
    const BIG_WRITES: u32 = 1 << 5;
    const MOST: u32 = 1 << 20;
    /// `FUSE_MAX_PAGES`: so many pages at a time.
    const MAX_PAGES: u32 = 1 << 22;
    let size = disk.content.len() as u64;
    Some(Ok(match operation {
        // LOOKUP
        1 if body.strip_suffix(&[0]) != Some(NAME.as_bytes()) => return Some(Err(Errno::ENOENT)),
        1 => [words64(&[FILE, 0, 3600, 3600, 0]), attributes(FILE, size)].concat(),
        // FORGET, INTERRUPT, BATCH_FORGET
        2 | 36 | 42 => return None,
        // GETATTR, SETATTR
        3 | 4 => [words64(&[3600, 0]), attributes(node, size)].concat(),
        // OPEN, with FOPEN_DIRECT_IO
        14 => words64(&[0, u64::from(disk.whole)]),
        // READ
        15 => {
            let (offset, length) = (number64(body, 8) as usize, number32(body, 16) as usize);
            disk.content[offset.min(disk.content.len())..(offset + length).min(disk.content.len())].to_vec()
        }
        // WRITE, FSYNC
        16 | 20 if disk.fails(operation == 16) => return Some(Err(Errno::EIO)),
        16 => {
            let (offset, length) = (number64(body, 8) as usize, number32(body, 16) as usize);
            let data = body[40..40 + length].to_vec();
            disk.content[offset..offset + length].copy_from_slice(&data);
            disk.log.push(Entry::Write(offset, data));
            words64(&[length as u64])
        }
        // STATFS
        17 => vec![0; 80],
        20 => {
            disk.log.push(Entry::Flush);
            Vec::new()
        }
        // RELEASE, FLUSH, DESTROY
        18 | 25 | 38 => Vec::new(),
        // INIT
        26 => {
            let words = [7, 31, 0, BIG_WRITES | MAX_PAGES, 0, MOST, 1, MOST >> 12];
            let mut answer: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_ne_bytes()).collect();
            answer.resize(64, 0);
            answer
        }
        _ => return Some(Err(Errno::ENOSYS)),
    }))
}

/// `struct fuse_attr`
fn attributes(node: u64, size: u64) -> Vec<u8> {
    let (mode, size) = if node == FILE { (0o100_600, size) } else { (0o040_700, 0) };
    let mut bytes = words64(&[node, size, size / 512, 0, 0, 0]);
    let words = [0, 0, 0, mode, 1, 0, 0, 0, 4096, 0];
    bytes.extend(words.iter().flat_map(|word: &u32| word.to_ne_bytes()));
    bytes
}

fn words64(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

fn number32(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn number64(bytes: &[u8], at: usize) -> u64 {
    u64::from_ne_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
