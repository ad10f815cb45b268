//! Formats members as `tar -tvf` does: one line each, byte for byte the output of GNU tar in a UTF-8 locale. Two
//! things differ on purpose: directional formatting characters in names are escaped, since they can make a name look
//! like another one; and owner names are escaped like member names, whereas GNU tar prints them unescaped.

use jiff::Timestamp as Instant;
use jiff::tz::TimeZone;

use super::reader::Stored;
use crate::member::{Kind, Metadata, Timestamp, printable};

/// The initial width of owner, group and size together, in columns (`ugswidth` in `list.c` of GNU tar).
const OWNER_AND_SIZE_WIDTH: usize = 19;

/// The initial width of the date: the columns of `YYYY-MM-DD HH:MM`.
const DATE_WIDTH: usize = 16;

/// The period of the Gregorian calendar, weekdays included, in seconds (400 years).
const CALENDAR_CYCLE_SECONDS: i128 = 146_097 * 86_400;

/// The years that the C library can represent: `tm_year` is an `int` that counts from 1900.
const YEARS: std::ops::RangeInclusive<i128> = i32::MIN as i128 + 1900..=i32::MAX as i128 + 1900;

/// The fields of one line: a member as stored in its header.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// The stored name, including the trailing slash of a directory.
    pub name: &'a [u8],
    /// The type of the member. The target of a hard link is taken from `link`.
    pub kind: &'a Kind,
    /// Mode, owner and modification time.
    pub metadata: &'a Metadata,
    /// The stored target of a symbolic or hard link; empty for other members.
    pub link: &'a [u8],
    /// The user name in the header; if it is empty, the uid is printed.
    pub uname: &'a [u8],
    /// The group name in the header; if it is empty, the gid is printed.
    pub gname: &'a [u8],
}

impl<'a> Line<'a> {
    /// Returns the line of a stored member; `kind` is its [`Stored::listed_kind`].
    #[must_use]
    pub fn new(stored: &'a Stored, kind: &'a Kind) -> Self {
        let Stored { name, metadata, link, uname, gname, .. } = stored;
        Self { name, kind, metadata, link, uname, gname }
    }
}

/// A formatter of the lines of one archive, in order. Like GNU tar, it widens a column when a value is longer than
/// all before it, and never narrows a column.
#[derive(Debug)]
pub struct Lister {
    zone: TimeZone,
    owner_and_size_width: usize,
    date_width: usize,
}

impl Default for Lister {
    /// Returns a lister that prints local time: that of `TZ`, or else of `/etc/localtime`.
    fn default() -> Self {
        Self::new(TimeZone::system())
    }
}

impl Lister {
    /// Returns a lister that prints times in `zone`.
    #[must_use]
    pub fn new(zone: TimeZone) -> Self {
        Self { zone, owner_and_size_width: OWNER_AND_SIZE_WIDTH, date_width: DATE_WIDTH }
    }

    /// Returns the line for a member, without a newline.
    #[must_use]
    pub fn line(&mut self, line: &Line<'_>) -> String {
        let mode = mode_string(line);
        let user = owner(line.uname, line.metadata.uid);
        let group = owner(line.gname, line.metadata.gid);
        let size = match line.kind {
            Kind::File { size } => size.to_string(),
            Kind::CharDevice { major, minor } | Kind::BlockDevice { major, minor } => format!("{major},{minor}"),
            Kind::Directory | Kind::Symlink { .. } | Kind::HardLink { .. } | Kind::Fifo => "0".to_owned(),
        };
        let date = self.date(line.metadata.mtime);
        // GNU tar counts bytes, not columns.
        let owners = user.len() + 1 + group.len() + 1;
        self.owner_and_size_width = self.owner_and_size_width.max(owners + size.len());
        self.date_width = self.date_width.max(date.len());
        let size_width = self.owner_and_size_width - owners;
        let (date_width, name) = (self.date_width, printable(line.name));
        let target = match line.kind {
            Kind::Symlink { .. } => format!(" -> {}", printable(line.link)),
            Kind::HardLink { .. } => format!(" link to {}", printable(below_root(line.link))),
            Kind::File { .. } | Kind::Directory | Kind::Fifo | Kind::CharDevice { .. } | Kind::BlockDevice { .. } => {
                String::new()
            }
        };
        format!("{mode} {user}/{group} {size:>size_width$} {date:<date_width$} {name}{target}")
    }

    fn date(&self, time: Timestamp) -> String {
        self.calendar_date(time.seconds).unwrap_or_else(|| format!("{:>DATE_WIDTH$}", time.seconds))
    }

    /// Returns `YYYY-MM-DD HH:MM`, or `None` for a year that the C library cannot represent.
    fn calendar_date(&self, seconds: i64) -> Option<String> {
        // jiff supports the years -9999 to 9999; an archive may hold any. Shift by calendar cycles to a supported
        // year, before or after all time zone changes like the original, and add the cycles to the year again.
        const FIRST: i128 = -300_000_000_000;
        const LAST: i128 = 250_000_000_000;
        let seconds = i128::from(seconds);
        let cycles = if seconds > LAST {
            (seconds - LAST).div_euclid(CALENDAR_CYCLE_SECONDS) + 1
        } else if seconds < FIRST {
            -((FIRST - seconds).div_euclid(CALENDAR_CYCLE_SECONDS) + 1)
        } else {
            0
        };
        let known = i64::try_from(seconds - cycles * CALENDAR_CYCLE_SECONDS).ok()?;
        let local = self.zone.to_datetime(Instant::from_second(known).ok()?);
        let year = i128::from(local.year()) + cycles * 400;
        YEARS.contains(&year).then(|| {
            let (month, day, hour, minute) = (local.month(), local.day(), local.hour(), local.minute());
            format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}")
        })
    }
}

fn owner(name: &[u8], number: u32) -> String {
    if name.is_empty() { number.to_string() } else { printable(name) }
}

/// Returns the target that GNU tar would link to, and therefore prints: without everything up to the last `..`
/// component, then without leading slashes.
fn below_root(link: &[u8]) -> &[u8] {
    let mut rest = link;
    let mut begin = 0;
    for component in link.split(|&b| b == b'/') {
        begin += component.len();
        if component == b".." {
            rest = &link[begin..];
        }
        begin += 1;
    }
    let slashes = rest.iter().take_while(|&&b| b == b'/').count();
    match &rest[slashes..] {
        b"" => b".",
        rest => rest,
    }
}

fn mode_string(line: &Line<'_>) -> String {
    let letter = match line.kind {
        Kind::File { .. } => '-',
        Kind::Directory => 'd',
        Kind::Symlink { .. } => 'l',
        Kind::HardLink { .. } => 'h',
        Kind::Fifo => 'p',
        Kind::CharDevice { .. } => 'c',
        Kind::BlockDevice { .. } => 'b',
    };
    let mode = line.metadata.mode;
    let mut text = String::with_capacity(10);
    text.push(letter);
    for (shift, special, with_x, without_x) in [(6, 0o4000, 's', 'S'), (3, 0o2000, 's', 'S'), (0, 0o1000, 't', 'T')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (true, true) => with_x,
            (true, false) => without_x,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::process::Command;

    use super::*;
    use crate::member::RelPath;

    const ZONES: [&str; 7] =
        ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Australia/Lord_Howe", "EST5EDT", "<-03>3"];

    /// A header that is built without the writer, so that every number and byte can be chosen.
    struct Literal {
        name: Vec<u8>,
        link: Vec<u8>,
        kind: Kind,
        metadata: Metadata,
        /// The `mtime` record of a preceding pax header, for times that the header's own field cannot hold.
        pax_mtime: Option<&'static str>,
        uname: Vec<u8>,
        gname: Vec<u8>,
    }

    fn file(name: impl Into<Vec<u8>>) -> Literal {
        Literal {
            name: name.into(),
            link: Vec::new(),
            kind: Kind::File { size: 0 },
            metadata: Metadata { mode: 0o644, uid: 70, gid: 70, mtime: at(1_600_000_000), ..Metadata::default() },
            pax_mtime: None,
            uname: Vec::new(),
            gname: Vec::new(),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp { seconds, nanoseconds: 0 }
    }

    impl Literal {
        fn kind(mut self, kind: Kind) -> Self {
            self.kind = kind;
            self
        }
        fn link(mut self, link: &[u8]) -> Self {
            self.link = link.to_vec();
            self
        }
        fn mode(mut self, mode: u32) -> Self {
            self.metadata.mode = mode;
            self
        }
        fn owner(mut self, uid: u32, gid: u32) -> Self {
            (self.metadata.uid, self.metadata.gid) = (uid, gid);
            self
        }
        fn names(mut self, uname: &[u8], gname: &[u8]) -> Self {
            (self.uname, self.gname) = (uname.to_vec(), gname.to_vec());
            self
        }
        fn mtime(mut self, seconds: i64) -> Self {
            self.metadata.mtime = at(seconds);
            self
        }
        fn pax_mtime(mut self, text: &'static str, seconds: i64, nanoseconds: u32) -> Self {
            self.pax_mtime = Some(text);
            self.metadata.mtime = Timestamp { seconds, nanoseconds };
            self
        }

        fn append_to(&self, archive: &mut Vec<u8>) {
            if let Some(text) = self.pax_mtime {
                let record = format!("{} mtime={text}\n", text.len() + " mtime=\n".len() + 2);
                append(archive, b'x', b"pax", b"", record.as_bytes(), |_| {});
            }
            for (text, typeflag) in [(&self.name, b'L'), (&self.link, b'K')] {
                if text.len() > 100 {
                    append(archive, typeflag, b"././@LongLink", b"", &[&text[..], b"\0"].concat(), |_| {});
                }
            }
            let (typeflag, size, device) = match &self.kind {
                Kind::File { size } => (b'0', *size, None),
                Kind::HardLink { .. } => (b'1', 0, None),
                Kind::Symlink { .. } => (b'2', 0, None),
                Kind::CharDevice { major, minor } => (b'3', 0, Some((*major, *minor))),
                Kind::BlockDevice { major, minor } => (b'4', 0, Some((*major, *minor))),
                Kind::Directory => (b'5', 0, None),
                Kind::Fifo => (b'6', 0, None),
            };
            let content = vec![0; usize::try_from(size).unwrap()];
            append(archive, typeflag, &self.name, &self.link, &content, |header| {
                number(&mut header[100..108], i64::from(self.metadata.mode));
                number(&mut header[108..116], i64::from(self.metadata.uid));
                number(&mut header[116..124], i64::from(self.metadata.gid));
                number(&mut header[136..148], self.metadata.mtime.seconds);
                header[265..265 + self.uname.len()].copy_from_slice(&self.uname);
                header[297..297 + self.gname.len()].copy_from_slice(&self.gname);
                if let Some((major, minor)) = device {
                    number(&mut header[329..337], i64::from(major));
                    number(&mut header[337..345], i64::from(minor));
                }
            });
        }

        fn line(&self) -> Line<'_> {
            Line {
                name: &self.name,
                kind: &self.kind,
                metadata: &self.metadata,
                link: &self.link,
                uname: &self.uname,
                gname: &self.gname,
            }
        }
    }

    /// Writes octal if it fits, else base-256 in two's complement.
    fn number(field: &mut [u8], value: i64) {
        let octal = format!("{value:0width$o}", width = field.len() - 1);
        if value >= 0 && octal.len() < field.len() {
            field[..octal.len()].copy_from_slice(octal.as_bytes());
            return;
        }
        field.fill(if value < 0 { 0xff } else { 0 });
        let bytes = value.to_be_bytes();
        let taken = bytes.len().min(field.len());
        let from = field.len() - taken;
        field[from..].copy_from_slice(&bytes[bytes.len() - taken..]);
        field[0] |= 0x80;
    }

    fn append(
        archive: &mut Vec<u8>,
        typeflag: u8,
        name: &[u8],
        link: &[u8],
        content: &[u8],
        fill: impl FnOnce(&mut [u8]),
    ) {
        let mut header = [0; 512];
        header[..name.len().min(100)].copy_from_slice(&name[..name.len().min(100)]);
        header[157..157 + link.len().min(100)].copy_from_slice(&link[..link.len().min(100)]);
        number(&mut header[100..108], 0);
        number(&mut header[124..136], i64::try_from(content.len()).unwrap());
        number(&mut header[136..148], 0);
        header[156] = typeflag;
        header[257..265].copy_from_slice(b"ustar  \0");
        fill(&mut header);
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|&b| u32::from(b)).sum();
        header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
        archive.extend_from_slice(&header);
        archive.extend_from_slice(content);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }

    /// Compares our lines with GNU tar's, in every zone.
    fn assert_as_gnu_tar(members: &[Literal]) {
        let tar = Command::new("tar").arg("--version").output();
        if !tar.is_ok_and(|output| output.stdout.starts_with(b"tar (GNU tar)")) {
            eprintln!("skipped: no GNU tar here");
            return;
        }
        let mut archive = Vec::new();
        for member in members {
            member.append_to(&mut archive);
        }
        archive.resize((archive.len() + 1024).next_multiple_of(10_240), 0);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("literal.tar");
        fs::write(&path, &archive).unwrap();
        for name in ZONES {
            let zone = TimeZone::get(name)
                .or_else(|_| TimeZone::posix(name))
                .unwrap_or_else(|error| panic!("the time zone {name}: {error}"));
            let output =
                Command::new("tar").env("LC_ALL", "C.UTF-8").env("TZ", name).arg("-tvf").arg(&path).output().unwrap();
            let theirs = String::from_utf8_lossy(&output.stdout);
            let mut lister = Lister::new(zone);
            let ours: Vec<_> = members.iter().map(|member| lister.line(&member.line())).collect();
            for (ours, theirs) in ours.iter().zip(theirs.lines()) {
                assert_eq!(ours, theirs, "TZ={name}");
            }
            let errors = String::from_utf8_lossy(&output.stderr);
            assert_eq!(ours.len(), theirs.lines().count(), "{errors}");
        }
    }

    #[test]
    fn kinds_and_modes_as_gnu_tar() {
        let other = RelPath::parse(b"plain").unwrap();
        assert_as_gnu_tar(&[
            file("d/").kind(Kind::Directory).mode(0o2775).owner(1000, 1000),
            file("plain").kind(Kind::File { size: 1234 }),
            file("hard").kind(Kind::HardLink { target: other }).link(b"plain"),
            file("soft").kind(Kind::Symlink { target: Vec::new() }).link(b"/nowhere\n\xff").mode(0o777),
            file("pipe").kind(Kind::Fifo),
            file("null").kind(Kind::CharDevice { major: 1, minor: 3 }),
            file("disk").kind(Kind::BlockDevice { major: 259, minor: 1_048_575 }),
            file("suid").mode(0o4755),
            file("suid-no-x").mode(0o4644),
            file("sgid-no-x").mode(0o2640),
            file("sticky").mode(0o1777),
            file("sticky-no-x").mode(0o1666),
            file("all").mode(0o7777),
            file("none").mode(0),
        ]);
    }

    #[test]
    fn names_as_gnu_tar_quotes_them() {
        let hard = |link: &[u8]| file("hard").kind(Kind::HardLink { target: RelPath::root() }).link(link);
        assert_as_gnu_tar(&[
            file("Bäume/日本 語"),
            file("line\nfeed\ttab\x07\x08\x0b\x0c\rback\\slash\x1b[2J\x7f"),
            file(&b"caf\xe9 \xff\xfe 5\xc3"[..]),
            file("quotes ' \" ` $ ?:"),
            file(" leading and trailing "),
            file("c1 \u{9b}2J"),
            file("x".repeat(300)),
            file("soft").kind(Kind::Symlink { target: Vec::new() }).link("y/".repeat(99).as_bytes()),
            hard(b"z/".repeat(99).as_slice()),
            hard(b"a\nb\\"),
            file("/absolute"),
            hard(b"/absolute"),
            hard(b"//a/../b/..//c/..d/"),
            hard(b"a/.."),
            hard(b"/"),
        ]);
    }

    #[test]
    fn owners_widen_their_column_permanently() {
        assert_as_gnu_tar(&[
            file("numbers"),
            file("names").names(b"postgres", b"root"),
            file("one name").names(b"ubuntu", b""),
            file("large").owner(2_097_152, u32::MAX),
            file("short again"),
            file("long name").names(b"a-user-name-of-thirty-one-bytes", b"a-group"),
            file("short after long").kind(Kind::File { size: 77 }),
            file("non-ascii").names("jürgen".as_bytes(), "größe-und-länge-der-spalten".as_bytes()),
            file("last"),
        ]);
    }

    #[test]
    fn times_as_gnu_tar() {
        let day = 86_400;
        let mut members = vec![
            file("epoch").mtime(0),
            file("before").mtime(-1),
            file("summer").mtime(1_626_350_400),
            file("1883").mtime(-2_717_650_000),
            file("1901").mtime(-2_147_483_649),
            file("2040, summer").mtime(2_225_000_000),
            file("9999").mtime(253_402_300_799 - day),
            file("10000").mtime(253_402_300_800 + day),
            file("year 4712, far off").mtime(86_553_600_000),
            file("year 1").mtime(-62_135_596_800 + day),
            file("year 0").mtime(-62_167_219_200 + day),
            file("year -5").mtime(-62_325_000_000),
            file("year -20000").mtime(-693_300_000_000),
            file("fraction").pax_mtime("1600000000.999999999", 1_600_000_000, 999_999_999),
            file("negative fraction").pax_mtime("-59.5", -60, 500_000_000),
        ];
        // Around the first and the last year of the C library; each value is wider than those before.
        for (name, seconds) in [
            // Not closer to the limit: there the C library's own arithmetic overflows, so it cannot be compared.
            ("year 4000000", 126_230_000_000_000),
            ("after the last", 67_768_036_191_676_799 + day),
            ("first year", -67_768_040_609_740_800 + day),
            ("before the first", -67_768_040_609_740_800 - day),
            ("end of time", i64::MAX),
            ("start of time", i64::MIN),
        ] {
            members.push(file(name).mtime(seconds));
        }
        members.push(file("narrow again").mtime(0));
        assert_as_gnu_tar(&members);
    }

    #[test]
    fn a_directional_formatting_character_is_escaped() {
        let member = file("x\u{202e}gpj");
        let line = Lister::new(TimeZone::UTC).line(&member.line());
        assert_eq!(line, "-rw-r--r-- 70/70             0 2020-09-13 12:26 x\\342\\200\\256gpj");
    }

    #[test]
    fn every_time_can_be_formatted_in_every_zone() {
        for zone in ZONES {
            let lister = Lister::new(TimeZone::get(zone).or_else(|_| TimeZone::posix(zone)).unwrap());
            for seconds in (0..64).flat_map(|shift| [i64::MAX >> shift, i64::MIN >> shift]) {
                assert!(lister.date(at(seconds)).len() >= 15, "{seconds} in {zone}");
            }
        }
    }

    /// Runs itself again with `TZ` set, since setting an environment variable is unsafe in a process with threads.
    #[test]
    fn local_time_is_that_of_tz() {
        let member = file("x");
        if std::env::var_os("VOLTAR_TEST_TZ").is_some() {
            println!("{}", Lister::default().line(&member.line()));
            return;
        }
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "archive::listing::tests::local_time_is_that_of_tz", "--nocapture"])
            .env("VOLTAR_TEST_TZ", "1")
            .env("TZ", "<+0545>-5:45")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("2020-09-13 18:11 x"), "{text}");
    }
}
