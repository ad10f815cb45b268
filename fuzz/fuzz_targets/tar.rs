//! Whatever the stream: the tar reader delivers members or an error, within bounds and the same for any sizes of reads;
//! what a listing says of a member agrees with what is extracted; and what is extracted can be written and read again.
#![no_main]

use std::io::Read;

use libfuzzer_sys::fuzz_target;
use voltar::archive::checksum;
use voltar::archive::listing::{Line, Lister};
use voltar::archive::reader::{Stored, TarReader};
use voltar::archive::strip::strip;
use voltar::archive::writer::TarWriter;
use voltar::archive::{BLOCK, RECORD};
use voltar::limits;
use voltar::member::{Kind, Member, RelPath};
use voltar::postgres::Clusters;

type Contents = Vec<(Stored, Vec<u8>)>;

/// Longer content is not read: a sparse file of any size is a few bytes of a stream.
const LONGEST_CONTENT: u64 = 16 << 20;

fuzz_target!(|stream: &[u8]| {
    let stream = with_checksums(stream.to_vec());
    let (contents, complete) = read(&stream[..]);
    let ragged = read(Ragged(&stream, 0));
    assert_eq!((&contents, complete), (&ragged.0, ragged.1));
    let skipped = members(&stream);
    // The last one can have content that is cut short, or damage behind it.
    assert!((skipped.len()..=skipped.len() + 1).contains(&contents.len()), "{} {}", skipped.len(), contents.len());
    assert!(
        skipped.iter().zip(&contents).all(|(skipped, (stored, _))| skipped == stored),
        "content that is skipped is counted the same"
    );

    let prefix = RelPath::parse(b"srv/x").unwrap();
    let mut lister = Lister::default();
    let mut clusters = Clusters::default();
    let mut kept: Vec<(Member, &[u8])> = Vec::new();
    for (stored, content) in &contents {
        let longest = limits::LONGEST_RECORD as usize;
        assert!(stored.name.len() <= longest && stored.link.len() <= longest);
        assert_eq!(stored.size, content.len() as u64);
        let line = listed(&mut lister, stored);
        let Ok(Some(member)) = strip(stored, &prefix) else { continue };
        assert!(member.path.components().all(|name| !matches!(name, b"" | b"." | b"..")));
        assert!(stored.excess.is_none() && limits::excess(&prefix.concat(&member.path)).is_none());
        let letter = match member.kind {
            Kind::File { .. } => '-',
            Kind::Directory => 'd',
            Kind::Symlink { .. } => 'l',
            Kind::HardLink { .. } => 'h',
            Kind::Fifo => 'p',
            Kind::CharDevice { .. } => 'c',
            Kind::BlockDevice { .. } => 'b',
        };
        assert!(line.starts_with(letter), "{line}");
        clusters.member(&member.path, &member.kind);
        clusters.version(&member.path, content);
        kept.push((member, content));
    }
    for cluster in clusters.found() {
        let outside = cluster.outside_links(&prefix, &[RelPath::root()]);
        assert!(outside.iter().all(|link| link.path.is_none()), "all is below the root");
    }
    written_again(&prefix, &kept);
});

/// The line of `tar -tv` for a member. It must not steer a terminal.
fn listed(lister: &mut Lister, stored: &Stored) -> String {
    let kind = stored.listed_kind();
    let line = lister.line(&Line::new(stored, &kind));
    assert!(!line.chars().any(char::is_control), "{line:?}");
    line
}

fn written_again(prefix: &RelPath, kept: &[(Member, &[u8])]) {
    let mut writer = TarWriter::new(Vec::new(), prefix.clone());
    for (member, content) in kept {
        writer.member(member).unwrap();
        writer.content(content).unwrap();
    }
    let (stream, length) = writer.finish().unwrap();
    assert_eq!((stream.len() as u64, stream.len() % RECORD), (length, 0));
    let (again, complete) = read(&stream[..]);
    assert!(complete && again.len() == kept.len());
    for ((stored, content), (member, of_member)) in again.iter().zip(kept) {
        let mut member = member.clone();
        // A header of GNU tar has whole seconds.
        member.metadata.mtime.nanoseconds = 0;
        assert_eq!((strip(stored, prefix), &content[..]), (Ok(Some(member)), *of_member));
    }
}

/// All members with their contents, and whether the end was reached.
fn read(stream: impl Read) -> (Contents, bool) {
    let mut reader = TarReader::new(stream);
    let mut contents = Contents::new();
    loop {
        match reader.next_member() {
            Ok(Some(stored)) if stored.size > LONGEST_CONTENT => return (contents, false),
            Ok(Some(stored)) => {
                let mut content = Vec::new();
                if reader.read_to_end(&mut content).is_err() {
                    return (contents, false);
                }
                contents.push((stored, content));
            }
            Ok(None) => return (contents, true),
            Err(_) => return (contents, false),
        }
    }
}

/// The members by a reader that skips their content, but for one whose content or what follows it cannot be read.
fn members(stream: &[u8]) -> Vec<Stored> {
    let mut reader = TarReader::new(stream);
    let mut members = Vec::new();
    let mut last = None;
    while let Ok(next) = reader.next_member() {
        members.extend(last.take());
        last = next.filter(|stored| stored.size <= LONGEST_CONTENT);
        if last.is_none() {
            break;
        }
    }
    members
}

/// Mutation alone does not find a header's checksum: whatever has tar's magic gets the right one.
fn with_checksums(mut stream: Vec<u8>) -> Vec<u8> {
    for block in stream.chunks_exact_mut(BLOCK).filter(|block| block[257..262] == *b"ustar") {
        let header: &[u8; BLOCK] = (&*block).try_into().unwrap();
        if !checksum::is_right(header) {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    stream
}

/// Delivers a few bytes at a time.
struct Ragged<'a>(&'a [u8], usize);

impl Read for Ragged<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.1 = self.1 * 5 % 1021 + 1;
        let length = self.1.min(buffer.len()).min(self.0.len());
        buffer[..length].copy_from_slice(&self.0[..length]);
        self.0 = &self.0[length..];
        Ok(length)
    }
}
