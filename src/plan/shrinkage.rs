//! Whether an archive holds much less than the one before: a backup that goes on as usual while its data disappears.

use crate::manifest::ArchiveRecord;
use crate::units;

/// The share below which an archive is conspicuous, in percent.
const LEAST_PERCENT: u64 = 70;

/// Returns the names of archives that hold much less than before, and what.
pub(crate) fn shrunk(before: &[ArchiveRecord], now: &[ArchiveRecord]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for now in now {
        let Some(before) = before.iter().find(|before| before.name == now.name) else { continue };
        if is_less(now.members, before.members) {
            let (now_has, had) = (units::count(now.members), units::count(before.members));
            found.push((now.name.clone(), format!("has {now_has} members, and had {had} before")));
        } else if is_less(now.stream_bytes, before.stream_bytes) {
            let (now_has, had) = (units::bytes(now.stream_bytes), units::bytes(before.stream_bytes));
            found.push((now.name.clone(), format!("has {now_has} of data, and had {had} before")));
        }
    }
    found
}

fn is_less(now: u64, before: u64) -> bool {
    u128::from(now) * 100 < u128::from(before) * u128::from(LEAST_PERCENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(name: &str, members: u64, stream_bytes: u64) -> ArchiveRecord {
        ArchiveRecord {
            name: name.to_owned(),
            path: String::new(),
            sources: Vec::new(),
            format: String::new(),
            xattrs: false,
            members,
            stream_bytes,
            postgres: None,
            first_pass: None,
            archive: None,
            index: None,
            base: None,
            gone: None,
        }
    }

    #[test]
    fn an_archive_with_less_than_seven_tenths_is_found() {
        let before = [archive("a", 1000, 1 << 20), archive("b", 10, u64::MAX), archive("c", 10, 1 << 20)];
        let now =
            [archive("a", 699, 1 << 20), archive("b", 7, u64::MAX / 2), archive("c", 7, 800_000), archive("d", 1, 1)];
        let expected = [
            ("a".to_owned(), "has 699 members, and had 1,000 before".to_owned()),
            ("b".to_owned(), "has 8.00 EiB of data, and had 16.0 EiB before".to_owned()),
        ];
        assert_eq!(shrunk(&before, &now), expected);
    }
}
