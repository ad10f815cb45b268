use std::io::{self, Read};

use proptest::prelude::*;

use super::reader::{Stored, TarReader};
use super::strip::{Misfit, strip};
use super::writer::TarWriter;
use super::{BLOCK, RECORD};
use crate::member::{Kind, Member, Metadata, RelPath, Timestamp};

/// A reader that returns a few bytes at a time, as a network or a decompressor may.
struct Dribble<'a>(&'a [u8], usize);

impl Read for Dribble<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.1 = self.1 % 10 + 1;
        let n = self.1.min(buf.len()).min(self.0.len());
        buf[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

fn path(name: &str) -> RelPath {
    RelPath::parse(name.as_bytes()).unwrap()
}

fn member(name: &str, kind: Kind) -> Member {
    let metadata = Metadata { mode: 0o4755, uid: 70, gid: 3_000_000, mtime: Timestamp { seconds: -7, nanoseconds: 0 } };
    Member { path: path(name), kind, metadata }
}

fn archive(members: &[(Member, Vec<u8>)]) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new(), path("home/x"));
    for (member, content) in members {
        writer.member(member).unwrap();
        writer.content(content).unwrap();
    }
    let (stream, written) = writer.finish().unwrap();
    assert_eq!(stream.len() as u64, written);
    assert_eq!(stream.len() % RECORD, 0);
    stream
}

fn read(stream: &[u8]) -> io::Result<Vec<(Stored, Vec<u8>)>> {
    let mut reader = TarReader::new(Dribble(stream, 0));
    let mut members = Vec::new();
    while let Some(stored) = reader.next_member()? {
        let mut content = Vec::new();
        reader.read_to_end(&mut content)?;
        members.push((stored, content));
    }
    Ok(members)
}

fn message(stream: &[u8]) -> String {
    read(stream).unwrap_err().to_string()
}

fn one_file() -> Vec<u8> {
    archive(&[(member("file", Kind::File { size: 3 }), b"abc".to_vec())])
}

/// Recomputes the checksum of a changed header.
fn fix_checksum(header: &mut [u8]) {
    let sum: u32 =
        header.iter().enumerate().map(|(i, &b)| if (148..156).contains(&i) { 32 } else { u32::from(b) }).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn tampered(change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut stream = one_file();
    change(&mut stream[..BLOCK]);
    fix_checksum(&mut stream[..BLOCK]);
    stream
}

fn kinds() -> impl Strategy<Value = Kind> {
    let name = "[a-zé]{1,60}(/[a-z ]{1,90}){0,3}";
    prop_oneof![
        (0_u64..2000).prop_map(|size| Kind::File { size }),
        Just(Kind::Directory),
        name.prop_map(|target| Kind::Symlink { target: target.into_bytes() }),
        name.prop_map(|target| Kind::HardLink { target: path(&target) }),
        Just(Kind::Fifo),
        (any::<u32>(), any::<u32>()).prop_map(|(major, minor)| Kind::CharDevice { major, minor }),
        (0_u32..4096, 0_u32..1 << 20).prop_map(|(major, minor)| Kind::BlockDevice { major, minor }),
    ]
}

fn members() -> impl Strategy<Value = Vec<(Member, Vec<u8>)>> {
    let metadata = (0_u32..=0o7777, 0..u32::MAX, 0..u32::MAX, any::<i64>());
    let one = ("[a-zä]{1,110}(/[a-z]{1,120}){0,2}", kinds(), metadata, any::<u8>());
    let one = one.prop_map(|(name, kind, (mode, uid, gid, seconds), byte)| {
        let size = if let Kind::File { size } = kind { size } else { 0 };
        let metadata = Metadata { mode, uid, gid, mtime: Timestamp { seconds, nanoseconds: 0 } };
        (Member { path: path(&name), kind, metadata }, vec![byte; size as usize])
    });
    prop::collection::vec(one, 0..8)
}

proptest! {
    #[test]
    fn written_members_are_read_back(members in members()) {
        let read = read(&archive(&members)).unwrap();
        let stripped: Vec<_> = read
            .into_iter()
            .map(|(stored, content)| (strip(&stored, &path("home/x")).unwrap().unwrap(), content))
            .collect();
        prop_assert_eq!(stripped, members);
    }

    #[test]
    fn no_stream_makes_the_reader_panic(
        mut stream in members().prop_map(|m| archive(&m)),
        hits: Vec<(prop::sample::Index, u8)>,
    ) {
        for (at, byte) in hits {
            let at = at.index(stream.len());
            stream[at] = byte;
            let start = at / BLOCK * BLOCK;
            fix_checksum(&mut stream[start..start + BLOCK]);
        }
        // Both results are valid, since some damage keeps the checksum right; only a panic is not.
        read(&stream).map(|_| ()).unwrap_or_default();
    }

    #[test]
    fn a_truncated_archive_is_always_an_error(members in members(), cut: prop::sample::Index) {
        let stream = archive(&members);
        let marker = stream.len() - stream.iter().rev().take_while(|&&b| b == 0).count();
        let marker = marker.next_multiple_of(BLOCK);
        let cut = cut.index(marker.max(1));
        prop_assert!(read(&stream[..cut]).is_err(), "cut at {} of {}", cut, marker);
    }
}

#[test]
fn damage_is_reported_with_its_offset() {
    assert_eq!(message(b""), "the archive is empty, at byte 0 of the uncompressed stream");
    assert!(message(&[1; 512]).starts_with("no tar header where one should be"));
    assert!(message(&one_file()[..600]).contains("in the middle of a member"));
    assert!(message(&one_file()[..1024]).contains("without its end-of-archive marker"));
    assert!(message(&one_file()[..1100]).contains("in the middle of a header"));
}

#[test]
fn fields_that_make_no_sense_are_refused() {
    let size = |text: &[u8; 12]| tampered(|header| header[124..136].copy_from_slice(text));
    assert!(message(&size(b"77777777777\0")).contains("in the middle of a member"));
    assert!(message(&size(b"8           ")).contains("unreadable size field"));
    assert!(message(&size(&[0xff; 12])).contains("a negative size"));
    assert!(message(&size(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff")).contains("claims"));
    let uid = |text: &[u8; 8]| tampered(|header| header[108..116].copy_from_slice(text));
    assert!(message(&uid(b"\x80\0\0\0\xff\xff\xff\xff")).contains("owner 4294967295, which cannot exist"));
    assert!(message(&uid(&[0xff; 8])).contains("owner -1"));
    assert!(message(&tampered(|header| header[156] = b'M')).contains("type 'M'"));
    assert!(message(&tampered(|header| header[156] = b'S')).contains("sparse"));
}

#[test]
fn a_long_name_without_bounds_is_refused() {
    let stream = tampered(|header| {
        header[156] = b'L';
        header[124..136].copy_from_slice(b"77777777777\0");
    });
    assert!(message(&stream).contains("a long name of 8589934591 bytes"));
}

fn pax(records: &str, global: bool) -> Vec<u8> {
    let mut stream = vec![0; BLOCK];
    stream[..4].copy_from_slice(b"pax\0");
    stream[124..136].copy_from_slice(format!("{:011o}\0", records.len()).as_bytes());
    stream[156] = if global { b'g' } else { b'x' };
    stream[257..265].copy_from_slice(b"ustar\x0000");
    fix_checksum(&mut stream);
    stream.extend_from_slice(records.as_bytes());
    stream.resize(stream.len().next_multiple_of(BLOCK), 0);
    stream.extend_from_slice(&one_file());
    stream
}

#[test]
fn pax_records_override_the_header() {
    let records = "19 path=home/x/a\nb\n17 mtime=-1.25\n\n";
    assert!(message(&pax(records, false)).contains("extended header"));
    let records = "19 path=home/x/a\nb\n15 mtime=-1.25\n12 uid=1234\n";
    let (stored, content) = read(&pax(records, false)).unwrap().remove(0);
    assert_eq!((stored.name.as_slice(), content.as_slice()), (&b"home/x/a\nb"[..], &b"abc"[..]));
    assert_eq!(stored.metadata.mtime, Timestamp { seconds: -2, nanoseconds: 750_000_000 });
    assert_eq!(stored.metadata.uid, 1234);
    let (stored, _) = read(&pax("12 uid=1234\n", true)).unwrap().remove(0);
    assert_eq!(stored.metadata.uid, 1234);
    assert!(message(&pax("22 GNU.sparse.major=1\n", false)).contains("sparse"));
    assert!(message(&pax("99 path=x\n", false)).contains("malformed"));
    assert!(message(&pax("12 uid=-123\n", false)).contains("cannot exist"));
}

fn stored(name: &str, link: &str, kind: super::reader::StoredKind) -> Stored {
    Stored {
        name: name.into(),
        link: link.into(),
        kind,
        size: 0,
        metadata: Metadata::default(),
        uname: Vec::new(),
        gname: Vec::new(),
        device: (0, 0),
        offset: 0,
    }
}

#[test]
fn only_members_below_the_path_are_stripped() {
    use super::reader::StoredKind::{Directory, File, HardLink, Symlink};
    let prefix = path("home/django/data");
    let strip = |name: &str, link: &str, kind| strip(&stored(name, link, kind), &prefix);
    assert_eq!(strip("home/django/data/a", "", File).unwrap().unwrap().path, path("a"));
    assert_eq!(strip("./home/django/data/", "", Directory).unwrap().unwrap().path, RelPath::root());
    assert_eq!(strip("home/django/", "", Directory).unwrap(), None);
    assert!(matches!(strip("home/django", "", File), Err(Misfit::Elsewhere { .. })));
    assert!(matches!(strip("data/a", "", File), Err(Misfit::Elsewhere { .. })));
    assert!(matches!(strip("home/django/data", "", File), Err(Misfit::RootIsNoDirectory)));
    assert!(matches!(strip("home/django/data/../../x", "", File), Err(Misfit::Bad { .. })));
    let link = strip("home/django/data/b", "home/django/data/a", HardLink).unwrap().unwrap();
    assert_eq!(link.kind, Kind::HardLink { target: path("a") });
    for outside in ["home/django/data", "etc/passwd", "a"] {
        assert!(matches!(strip("home/django/data/b", outside, HardLink), Err(Misfit::LinkElsewhere { .. })));
    }
    let link = strip("home/django/data/b", "/etc/passwd", Symlink).unwrap().unwrap();
    assert_eq!(link.kind, Kind::Symlink { target: b"/etc/passwd".to_vec() });
    assert!(matches!(strip("home/django/data/b", "", Symlink), Err(Misfit::BadTarget { .. })));
}
