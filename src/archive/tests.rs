use std::io::{self, Read};

use proptest::prelude::*;

use super::listing::{Line, Lister};
use super::reader::{Stored, StoredKind, TarReader};
use super::strip::{Misfit, strip};
use super::writer::{BROKEN_OFF, TarWriter};
use super::{BLOCK, RECORD, xattr_record_length};
use crate::limits::{DEEPEST, Excess, LONGEST_COMPONENT, LONGEST_NAME, LONGEST_RECORD, LONGEST_TARGET};
use crate::member::{Kind, Member, Metadata, RelPath, Timestamp};
use crate::xattrs::Xattrs;

/// A reader that returns a few bytes at a time, as a network or a decompressor may, and is interrupted by signals.
struct Dribble<'a>(&'a [u8], usize);

impl Read for Dribble<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.1 += 1;
        if self.1 % 2 == 1 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let n = (self.1 / 2 % 10 + 1).min(buf.len()).min(self.0.len());
        buf[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

fn path(name: &str) -> RelPath {
    RelPath::parse(name.as_bytes()).unwrap()
}

fn member(name: &str, kind: Kind) -> Member {
    let metadata = Metadata {
        mode: 0o4755,
        uid: 70,
        gid: 3_000_000,
        mtime: Timestamp { seconds: -7, nanoseconds: 0 },
        ..Metadata::default()
    };
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
        let metadata = Metadata { mode, uid, gid, mtime: Timestamp { seconds, nanoseconds: 0 }, ..Metadata::default() };
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
    // The content would end at the greatest offset there is, or one byte later.
    assert!(message(&size(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xfd\xff")).contains("in the middle of a member"));
    assert!(message(&size(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xfe\0")).contains("claims"));
    assert!(message(&size(b"\x80\0\0\0\x7f\xff\xff\xff\xff\xff\xff\xff")).contains("claims"));
    let uid = |text: &[u8; 8]| tampered(|header| header[108..116].copy_from_slice(text));
    assert!(message(&uid(b"\x80\0\0\0\xff\xff\xff\xff")).contains("owner 4294967295, which cannot exist"));
    assert!(message(&uid(&[0xff; 8])).contains("owner -1"));
    assert!(message(&tampered(|header| header[156] = b'M')).contains("continued from another volume"));
    assert!(message(&pax(&record("GNU.volume.offset=5"), false)).contains("continued from another volume"));
    assert!(message(&tampered(|header| header[156] = b'S')).contains("map of a sparse file"));
}

#[test]
fn headers_of_other_tars_are_read_as_gnu_tar_reads_them() {
    let one = |change: &dyn Fn(&mut [u8])| read(&tampered(|header| change(header))).map(|mut all| all.remove(0));
    // ustar with another version than 00: the name is still in two parts.
    let (stored, _) = one(&|header| {
        header[257..265].copy_from_slice(b"ustar\x0099");
        header[345..350].copy_from_slice(b"first");
    })
    .unwrap();
    assert_eq!(stored.name, b"first/home/x/file");
    // In GNU's format these bytes are something else, and the oldest format has no names of owners.
    let (stored, _) = one(&|header| header[345..350].copy_from_slice(b"first")).unwrap();
    assert_eq!(stored.name, b"home/x/file");
    let (stored, content) = one(&|header| {
        header[257..].fill(0);
        header[156] = 0;
        header[265..269].copy_from_slice(b"root");
    })
    .unwrap();
    assert_eq!((&stored.uname[..], &content[..]), (&b""[..], &b"abc"[..]));
    // Content follows; it is a list of names in an incremental archive.
    let (stored, content) = one(&|header| header[156] = b'D').unwrap();
    assert_eq!((stored.kind, stored.size, content.len()), (StoredKind::Directory, 0, 0));
    // A size of its own, but no content.
    let sized = [&tampered(|header| header[156] = b'5')[..BLOCK], &[0; 2 * BLOCK]].concat();
    assert_eq!(read(&sized).unwrap().len(), 1);
    let (stored, content) = one(&|header| header[156] = b'Z').unwrap();
    assert_eq!((stored.kind, stored.unknown_type, &content[..]), (StoredKind::File, Some(b'Z'), &b"abc"[..]));
    let mut solaris = pax("12 uid=1234\n", false);
    solaris[156] = b'X';
    fix_checksum(&mut solaris[..BLOCK]);
    assert_eq!(read(&solaris).unwrap().remove(0).0.metadata.uid, 1234);
}

#[test]
fn the_end_of_an_archive_can_be_missing_or_be_followed_by_members() {
    let stream = one_file();
    let read_all = |stream: &[u8], allow: bool| {
        let mut reader = TarReader::new(Dribble(stream, 0));
        if allow {
            reader.allow_missing_end();
        }
        while reader.next_member()?.is_some() {}
        assert!(reader.next_member()?.is_none(), "it stays at its end");
        Ok::<_, io::Error>((reader.is_end_missing(), reader.trailing() > 0, reader.has_members_after_end()))
    };
    assert_eq!(read_all(&stream, true).unwrap(), (false, false, false));
    assert_eq!(read_all(&stream[..2 * BLOCK], true).unwrap(), (true, false, false));
    read_all(&stream[..2 * BLOCK], false).unwrap_err();
    for cut in [0, BLOCK, BLOCK + 3, 3 * BLOCK - 1] {
        read_all(&stream[..cut], true).unwrap_err();
    }
    assert_eq!(read_all(&[&stream[..], &stream].concat(), false).unwrap(), (false, true, true));
    assert_eq!(read_all(&[&stream[..], b"garbage"].concat(), false).unwrap(), (false, true, false));
    // bsdtar leaves out a member after it has written its long name.
    let dangling = [&pax("12 uid=1234\n", false)[..2 * BLOCK], &[0; 2 * BLOCK]].concat();
    let mut reader = TarReader::new(&dangling[..]);
    assert!(reader.next_member().unwrap().is_none() && reader.lacks_last_member());
    let mut reader = TarReader::new(&stream[..]);
    while reader.next_member().unwrap().is_some() {}
    assert!(!reader.lacks_last_member());
    assert!(TarReader::new(&dangling[..2 * BLOCK]).next_member().is_err(), "cut off");
}

/// So a decompressor verifies all that it holds.
#[test]
fn a_stream_is_read_to_its_end_whatever_follows_the_archive() {
    let zeros = vec![0; 200 << 10];
    let padded = [&one_file()[..], &zeros, b"x", &zeros].concat();
    let mut reader = TarReader::new(Dribble(&padded, 0));
    while reader.next_member().unwrap().is_some() {}
    assert_eq!(reader.offset(), padded.len() as u64);
    // Zeros after what is no padding are none either.
    assert!(reader.trailing() > 200 << 10, "{}", reader.trailing());
    assert!(!reader.has_members_after_end());
}

/// The stream of `x` bytes at 3 and of 600 `y` at 1,000, in a file of 2,000 bytes.
fn sparse_content() -> Vec<u8> {
    let mut content = vec![0; 2000];
    content[3] = b'x';
    content[1000..1600].fill(b'y');
    content
}

fn assert_sparse(stream: &[u8]) {
    let (stored, content) = read(stream).unwrap().remove(0);
    assert_eq!((stored.kind, stored.size), (StoredKind::File, 2000));
    assert_eq!(content, sparse_content());
    let mut reader = TarReader::new(stream);
    reader.next_member().unwrap();
    assert_eq!((reader.content_left(), reader.skip_hole(), reader.skip_hole()), (2000, 3, 0));
    reader.read_exact(&mut [0]).unwrap();
    assert_eq!((reader.content_left(), reader.skip_hole()), (1996, 996));
    assert!(reader.next_member().unwrap().is_none(), "the rest is skipped");
}

/// Returns a stream of `records`, a file of `content`, and the end-of-archive marker.
fn pax_file(records: &str, content: &[u8]) -> Vec<u8> {
    let mut stream = pax(records, false);
    let at = stream.len() - one_file().len();
    stream.truncate(at + BLOCK);
    stream[at + 124..at + 136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    fix_checksum(&mut stream[at..]);
    stream.extend_from_slice(content);
    stream.resize(stream.len().next_multiple_of(BLOCK) + 2 * BLOCK, 0);
    stream
}

fn record(text: &str) -> String {
    let length = (1..999).find(|length| length.to_string().len() + 1 + text.len() + 1 == *length).unwrap();
    format!("{length} {text}\n")
}

#[test]
fn sparse_files_of_all_forms_are_read() {
    let stored = [&b"x"[..], &[b'y'; 600]].concat();
    let records = |texts: &[&str]| texts.iter().map(|text| record(text)).collect::<String>();
    let pairs = ["offset=3", "numbytes=1", "offset=1000", "numbytes=600"].map(|text| format!("GNU.sparse.{text}"));
    let pairs: Vec<&str> = pairs.iter().map(String::as_str).collect();
    let head = ["GNU.sparse.size=2000", "GNU.sparse.numblocks=2"];
    assert_sparse(&pax_file(&records(&[&head[..], &pairs].concat()), &stored));
    let version = ["GNU.sparse.major=0", "GNU.sparse.minor=1"];
    let map = ["GNU.sparse.map=3,1,1000,600", "GNU.sparse.name=home/x/real", version[0], version[1]];
    let form_1 = pax_file(&records(&[&head[..], &map].concat()), &stored);
    assert_sparse(&form_1);
    assert_eq!(read(&form_1).unwrap()[0].0.name, b"home/x/real");
    let mut leading = b"2\n3\n1\n1000\n600\n".to_vec();
    leading.resize(BLOCK, 0);
    let major = ["GNU.sparse.major=1", "GNU.sparse.minor=0", "GNU.sparse.realsize=2000"];
    assert_sparse(&pax_file(&records(&major), &[&leading[..], &stored].concat()));
    let gnu = |entries: &[(u64, u64)], extended: bool| {
        let mut stream = pax_file("", &stored);
        stream.drain(..BLOCK);
        stream[156] = b'S';
        stream[257..265].copy_from_slice(b"ustar  \0");
        stream[345..].iter_mut().take(BLOCK - 345).for_each(|byte| *byte = 0);
        let mut more = [0; BLOCK];
        for (i, (offset, length)) in entries.iter().enumerate() {
            let entry = format!("{offset:011o}\0{length:011o}\0");
            match (extended, i) {
                (true, 1) => more[..24].copy_from_slice(entry.as_bytes()),
                _ => stream[386 + 24 * i..][..24].copy_from_slice(entry.as_bytes()),
            }
        }
        stream[482] = extended.into();
        stream[483..495].copy_from_slice(b"00000003720\0");
        fix_checksum(&mut stream[..BLOCK]);
        if extended {
            stream.splice(BLOCK..BLOCK, more);
        }
        stream
    };
    assert_sparse(&gnu(&[(3, 1), (1000, 600)], false));
    assert_sparse(&gnu(&[(3, 1), (1000, 600)], true));
    for wrong in [&[(3, 1), (1000, 599)][..], &[(3, 1), (2, 600)], &[(3, 1), (1401, 600)]] {
        assert!(message(&gnu(wrong, false)).contains("does not fit the file"), "{wrong:?}");
    }
    assert!(message(&gnu(&[(3, 1), (1000, 600)], true)[..BLOCK + 100]).contains("in the middle of the map"));
    let mut empty = gnu(&[(3, 1), (1000, 600)], true);
    empty[BLOCK..2 * BLOCK].fill(0);
    assert!(message(&empty).contains("an empty block in the map"));
    assert!(message(&pax_file(&records(&major), &stored)).contains("malformed map"));
    assert!(
        message(&pax_file(&records(&major[..2]), &[&leading[..], &stored].concat())).contains("without its length")
    );
    assert!(message(&pax_file(&records(&["GNU.sparse.major=2"]), &stored)).contains("version 2"));
}

#[test]
fn a_long_name_without_bounds_is_not_held() {
    let stream = tampered(|header| {
        header[156] = b'L';
        header[124..136].copy_from_slice(b"77777777777\0");
    });
    assert!(message(&stream).contains("in the middle of a long name"));
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
    assert!(message(&pax("22 GNU.sparse.major=1\n", false)).contains("a sparse file without its map"));
    assert!(message(&pax("99 path=x\n", false)).contains("malformed"));
    assert!(message(&pax("12 uid=-123\n", false)).contains("cannot exist"));
}

fn stored(name: &str, link: &str, kind: StoredKind) -> Stored {
    Stored {
        bad_xattrs: Vec::new(),
        name: name.into(),
        link: link.into(),
        kind,
        size: 0,
        metadata: Metadata::default(),
        uname: Vec::new(),
        gname: Vec::new(),
        device: (0, 0),
        unknown_type: None,
        excess: None,
        offset: 0,
    }
}

#[test]
fn only_members_below_the_path_are_stripped() {
    use StoredKind::{Directory, File, HardLink, Symlink};
    let prefix = path("home/django/data");
    let strip = |name: &str, link: &str, kind| strip(&stored(name, link, kind), &prefix);
    assert_eq!(strip("home/django/data/a", "", File).unwrap().unwrap().path, path("a"));
    assert_eq!(strip("./home/django/data/", "", Directory).unwrap().unwrap().path, RelPath::root());
    assert_eq!(strip("home/django/", "", Directory).unwrap(), None);
    assert!(matches!(strip("home/django", "", File), Err(Misfit::Elsewhere { .. })));
    assert!(matches!(strip("data/a", "", File), Err(Misfit::Elsewhere { .. })));
    assert!(matches!(strip("home/django/data", "x", Symlink), Err(Misfit::RootIsNoDirectory)));
    assert!(strip("home/django/data", "", File).unwrap().unwrap().is_one_file());
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

/// Returns headers of this type with `content`, like `././@LongLink`, without what follows.
fn long(entry_type: u8, content: &[u8]) -> Vec<u8> {
    let mut stream = one_file()[..BLOCK].to_vec();
    stream[156] = entry_type;
    stream[124..136].copy_from_slice(format!("{:011o}\0", content.len()).as_bytes());
    fix_checksum(&mut stream);
    stream.extend_from_slice(content);
    stream.resize(stream.len().next_multiple_of(BLOCK), 0);
    stream
}

#[test]
fn what_is_too_long_to_be_read_affects_one_member_only() {
    let most = LONGEST_RECORD as usize;
    let long_record = |key: &str, length: usize| {
        let value = length - key.len() - 3 - length.to_string().len();
        format!("{length} {key}={}\n", "v".repeat(value)).into_bytes()
    };
    let excess = |bytes: usize| Some(Excess::Record(bytes as u64));
    for (headers, expected) in [
        (long(b'L', &vec![b'n'; most]), None),
        (long(b'L', &vec![b'n'; most + 1]), excess(most + 1)),
        (long(b'K', &vec![b'l'; 3 * most]), excess(3 * most)),
        (long(b'V', &vec![b'v'; 2 * most]), None),
        (long(b'V', b"label"), None),
        (long(b'x', &long_record("path", most)), None),
        (long(b'x', &long_record("path", most + 1)), excess(most + 1)),
        (long(b'x', &[&long_record("path", most)[..], b"12 uid=1234\n"].concat()), None),
        (long(b'x', &[&long_record("comment", 2 * most)[..], b"12 uid=1234\n"].concat()), None),
        (long(b'x', &[&long_record("linkpath", 2 * most)[..], b"12 uid=1234\n\0\0\0"].concat()), excess(2 * most)),
    ] {
        // The bytes of the member's content are still found, and those of the next one.
        let stream = [&headers[..], &one_file()[..2 * BLOCK], &one_file()[..]].concat();
        let members = read(&stream).unwrap();
        assert_eq!(members.len(), 2);
        assert_eq!((members[0].0.excess, members[1].0.excess), (expected, None));
        assert_eq!((&members[0].1, &members[1].0.name[..]), (&members[1].1, &b"home/x/file"[..]));
        let Stored { name, link, metadata, .. } = &members[0].0;
        assert!(name.len() <= most && link.len() <= most);
        let has_uid = headers.windows(8).any(|window| window == b"uid=1234");
        assert_eq!(metadata.uid == 1234, has_uid);
        let stripped = strip(&members[0].0, &RelPath::root());
        let is_beyond = expected.is_some() || name.len() > LONGEST_NAME;
        assert_eq!(matches!(stripped, Err(Misfit::Beyond { .. })), is_beyond, "{stripped:?}");
        for cut in [BLOCK + 1, headers.len() - BLOCK] {
            assert!(message(&stream[..cut]).contains("in the middle of a"), "{}", message(&stream[..cut]));
        }
    }
    let not_a_number = long(b'x', &long_record("size", most + 1));
    assert!(message(&[&not_a_number[..], &one_file()].concat()).contains("size has 1048577 bytes"));
    // 12 bytes of a record are not its value.
    read(&[&long(b'g', &long_record("path", (64 << 10) + 12))[..], &one_file()].concat()).unwrap();
    let of_all = long(b'g', &long_record("path", (64 << 10) + 13));
    let map = format!("GNU.sparse.map={}0,0", "0,0,".repeat(4096));
    let length = map.len() + 7;
    let map = long(b'g', format!("{length} {map}\n").as_bytes());
    assert!(message(&[&map[..], &one_file()].concat()).contains("a global header"), "16 bytes for each segment");
    assert!(message(&[&of_all[..], &one_file()].concat()).contains("a global header"));
    for malformed in [&b"x"[..], b"9", b"123456789012345678901234 path=a\n", b"1048577 path"] {
        let records = [malformed, &vec![b'x'; most]].concat();
        assert!(message(&[&long(b'x', &records)[..], &one_file()].concat()).contains("malformed"));
    }
}

#[test]
fn an_archive_ends_only_after_all_content() {
    let file = member("file", Kind::File { size: 3 });
    let begun = || {
        let mut writer = TarWriter::new(Vec::new(), path("home/x"));
        writer.member(&file).unwrap();
        writer.content(b"ab").unwrap();
        writer
    };
    let refused = |result: io::Result<()>| assert_eq!(result.unwrap_err().kind(), io::ErrorKind::InvalidInput);
    refused(begun().member(&file));
    refused(begun().finish().map(drop));
    refused(begun().content(b"cd"));
    let mut complete = begun();
    complete.content(b"c").unwrap();
    complete.member(&member("next", Kind::Directory)).unwrap();
    complete.finish().unwrap();
}

/// Wherever the stream was cut off.
#[test]
fn what_is_broken_off_is_damaged() {
    let stream =
        archive(&[(member("file", Kind::File { size: 3 }), b"abc".to_vec()), (member("dir", Kind::Directory), vec![])]);
    for cut in [0, 1, BLOCK, BLOCK + 2, 2 * BLOCK, 2 * BLOCK + 1, 3 * BLOCK] {
        let broken_off = [&stream[..cut], &BROKEN_OFF.repeat(8)].concat();
        assert!(read(&broken_off).is_err(), "{cut}");
    }
}

/// As GNU tar: a stream that already ends with a record has no other one of zeros.
#[test]
fn a_full_record_is_not_followed_by_an_empty_one() {
    for (blocks, records) in [(17, 1), (18, 2)] {
        let size = (blocks * BLOCK) as u64;
        let stream = archive(&[(member("file", Kind::File { size }), vec![b'c'; blocks * BLOCK])]);
        assert_eq!(stream.len(), records * RECORD);
    }
}

/// What a writer refuses a reader leaves out, and the other way round.
#[test]
fn writer_and_reader_have_the_same_limits() {
    let deep = |components: usize| vec!["d"; components].join("/");
    let file = Kind::File { size: 0 };
    let link = |target: &str| Kind::HardLink { target: path(target) };
    let symlink = |bytes: usize| Kind::Symlink { target: vec![b't'; bytes] };
    let long = |bytes: usize| format!("{}{}", format!("{}/", "n".repeat(127)).repeat(511), "x".repeat(bytes));
    // The prefix `home/x` has two components and, with a slash, 7 bytes.
    for (within, beyond) in [
        ((deep(DEEPEST - 2), &file), (deep(DEEPEST - 1), &file)),
        ((long(128 - 7), &file), (long(129 - 7), &file)),
        (("c".repeat(LONGEST_COMPONENT), &file), ("c".repeat(LONGEST_COMPONENT + 1), &file)),
        (("a".to_owned(), &link(&deep(DEEPEST - 2))), ("a".to_owned(), &link(&deep(DEEPEST - 1)))),
        (("a".to_owned(), &symlink(LONGEST_TARGET)), ("a".to_owned(), &symlink(LONGEST_TARGET + 1))),
    ] {
        let stream = archive(&[(member(&within.0, within.1.clone()), Vec::new())]);
        let (stored, _) = read(&stream).unwrap().remove(0);
        assert_eq!(strip(&stored, &path("home/x")).unwrap().unwrap().path, path(&within.0));
        let beyond = member(&beyond.0, beyond.1.clone());
        let mut writer = TarWriter::new(Vec::new(), path("home/x"));
        assert_eq!(writer.member(&beyond).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(writer.excess(&beyond).is_some());
        let stored = Stored { name: writer.stored_name(&beyond), ..stored };
        let stored = match &beyond.kind {
            Kind::HardLink { target } => Stored { link: path("home/x").concat(target).as_bytes().to_vec(), ..stored },
            Kind::Symlink { target } => Stored { link: target.clone(), ..stored },
            _ => stored,
        };
        assert!(matches!(strip(&stored, &path("home/x")), Err(Misfit::Beyond { .. })));
        // What lies elsewhere is not restored anyway.
        assert!(matches!(strip(&stored, &path("other")), Err(Misfit::Elsewhere { .. })));
    }
}

/// In archives older than POSIX a directory is a file whose name ends with a slash. GNU tar lists a sparse file with
/// such a name as a directory too, and extracts a file.
#[test]
fn a_member_is_listed_as_what_is_extracted() {
    for (entry_type, kind, letter) in [(b'0', StoredKind::Directory, "d"), (b'S', StoredKind::File, "-")] {
        let stream = tampered(|header| {
            let end = header.iter().position(|&byte| byte == 0).unwrap();
            (header[end], header[156]) = (b'/', entry_type);
            header[124..136].copy_from_slice(b"00000000000\0");
            if entry_type == b'S' {
                header[386..410].copy_from_slice([&b"00000000000\0"[..]; 2].concat().as_slice());
                header[483..495].copy_from_slice(b"00000000000\0");
            }
        });
        let stored = TarReader::new(&stream[..]).next_member().unwrap().unwrap();
        assert_eq!((stored.name.last(), stored.kind), (Some(&b'/'), kind));
        let line = Lister::default().line(&Line::new(&stored, &stored.listed_kind()));
        assert!(line.starts_with(letter), "{line}");
    }
}

/// The attributes of a file, with names and values of any bytes.
fn xattrs() -> impl Strategy<Value = Xattrs> {
    let name = prop::collection::vec(prop_oneof![3 => Just(b'='), 3 => Just(b'%'), 9 => 1..=255_u8], 1..=245);
    let value = prop_oneof![
        9 => prop::collection::vec(any::<u8>(), 0..300),
        1 => prop::collection::vec(any::<u8>(), 65_000..=65_536),
    ];
    let one = (prop::sample::select(vec!["user.", "trusted.", "security.x"]), name, value);
    prop::collection::vec(one, 0..5).prop_map(|attributes| {
        if attributes.is_empty() {
            return Xattrs::default();
        }
        attributes.into_iter().map(|(begin, name, value)| ([begin.as_bytes(), &name].concat(), value)).collect()
    })
}

proptest! {
    #[test]
    fn what_only_pax_headers_hold_comes_back(
        attributes in prop::collection::vec((xattrs(), any::<i32>(), 0..1_000_000_000_u32), 1..5),
        name in "[a-z]{1,120}",
    ) {
        let mut writer = TarWriter::new(Vec::new(), path("home/x")).with_pax_headers();
        let mut members = Vec::new();
        for (xattrs, seconds, nanoseconds) in attributes {
            let mtime = Timestamp { seconds: seconds.into(), nanoseconds };
            let metadata = Metadata { mode: 0o640, mtime, xattrs, ..Metadata::default() };
            members.push(Member { path: path(&name), kind: Kind::File { size: 3 }, metadata });
        }
        for member in &members {
            writer.member(member).unwrap();
            writer.content(b"abc").unwrap();
        }
        let (stream, _) = writer.finish().unwrap();
        let found = read(&stream).unwrap();
        prop_assert_eq!(found.len(), members.len());
        for ((stored, content), member) in found.iter().zip(&members) {
            prop_assert_eq!(&stored.metadata, &member.metadata);
            prop_assert_eq!((&stored.bad_xattrs[..], &content[..]), (&[][..], &b"abc"[..]));
        }
    }
}

#[test]
fn what_is_written_of_extended_attributes_is_read() {
    // With the digits of its length, and without a time.
    let longest = LONGEST_RECORD as usize;
    let each = 60_000;
    let with = |rest: usize| {
        let whole = (0..17).map(|number| (format!("user.{number:02}").into_bytes(), vec![b'v'; each]));
        let xattrs = whole.chain([(b"user.rest".to_vec(), vec![b'v'; rest])]).collect();
        let metadata = Metadata { mode: 0o640, xattrs, ..Metadata::default() };
        Member { path: path("file"), kind: Kind::File { size: 0 }, metadata }
    };
    let length = |member: &Member| {
        member.metadata.xattrs.iter().map(|(name, value)| xattr_record_length(name, value)).sum::<usize>()
    };
    // The record of the rest has five digits at either length.
    let fits = 20_000 + longest - length(&with(20_000));
    assert_eq!(length(&with(fits)), longest);
    let write = |member: &Member| {
        let mut writer = TarWriter::new(Vec::new(), path("home/x")).with_pax_headers();
        writer.member(member).map(|()| writer.finish().unwrap().0)
    };
    let stream = write(&with(fits)).unwrap();
    assert_eq!(read(&stream).unwrap()[0].0.metadata, with(fits).metadata);
    assert_eq!(write(&with(fits + 1)).unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

#[test]
fn a_global_header_sets_no_attributes() {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(tar::EntryType::XGlobalHeader);
    header.set_size(28);
    header.set_cksum();
    let mut stream = header.as_bytes().to_vec();
    stream.extend(b"28 SCHILY.xattr.user.note=x\n");
    stream.resize(2 * BLOCK, 0);
    stream.extend(one_file());
    assert_eq!(read(&stream).unwrap()[0].0.metadata.xattrs, Xattrs::default());
    // The same as a header of the member.
    stream[156] = b'x';
    fix_checksum(&mut stream[..BLOCK]);
    assert_eq!(read(&stream).unwrap()[0].0.metadata.xattrs.get(b"user.note"), Some(&b"x"[..]));
}
