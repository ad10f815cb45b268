//! The values that extended headers set: pax records (POSIX.1-2001), and GNU tar's long names.

use super::sparse::Map;
use super::xattr_records::XattrRecords;
use crate::limits::Excess;
use crate::member::{Timestamp, quotable};

/// The values that extended headers set for the next member.
#[derive(Debug, Clone, Default)]
pub(super) struct Extensions {
    pub(super) name: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<i64>,
    pub(super) gid: Option<i64>,
    pub(super) mtime: Option<Timestamp>,
    pub(super) uname: Option<Vec<u8>>,
    pub(super) gname: Option<Vec<u8>>,
    pub(super) sparse: Sparse,
    pub(super) xattrs: XattrRecords,
    /// The member is continued from another volume (`tar -M`).
    pub(super) continued: bool,
    /// The limit that a header exceeds, so that not all of it was read.
    pub(super) excess: Option<Excess>,
}

/// What `GNU.sparse.*` records set.
#[derive(Debug, Clone, Default)]
pub(super) struct Sparse {
    /// The name of the file; that of the member is one that other programs can extract it to.
    pub(super) name: Option<Vec<u8>>,
    /// The length of the file in bytes, holes included.
    pub(super) size: Option<u64>,
    /// The map of pax 0.0 or 0.1.
    pub(super) map: Option<Map>,
    /// Whether the map precedes the data (pax 1.0).
    pub(super) leading_map: bool,
    /// The offset whose length follows (pax 0.0).
    offset: Option<u64>,
}

impl Extensions {
    /// Parses pax records, each `length key=value\n` (POSIX.1-2001, "pax Extended Header").
    pub(super) fn read(&mut self, mut records: &[u8]) -> Result<(), String> {
        // Some writers include the zero padding of the last block in the size.
        while !records.is_empty() && records.iter().any(|&b| b != 0) {
            let malformed = || "a malformed extended header".to_owned();
            let space = records.iter().position(|&b| b == b' ').ok_or_else(malformed)?;
            let length: usize =
                std::str::from_utf8(&records[..space]).ok().and_then(|n| n.parse().ok()).ok_or_else(malformed)?;
            if length <= space + 1 || length > records.len() {
                return Err(malformed());
            }
            let (record, rest) = records.split_at(length);
            let record = record[space + 1..].strip_suffix(b"\n").ok_or_else(malformed)?;
            let equals = record.iter().position(|&b| b == b'=').ok_or_else(malformed)?;
            self.set(&record[..equals], &record[equals + 1..])?;
            records = rest;
        }
        Ok(())
    }

    /// Notes a record of `bytes` bytes, of which `beginning` was read, and which is too long to be read in full.
    pub(super) fn leave_out(&mut self, beginning: &[u8], bytes: u64) -> Result<(), String> {
        match beginning.split(|&byte| byte == b'=').next().unwrap_or_default() {
            b"path" | b"linkpath" | b"GNU.sparse.name" | b"GNU.sparse.map" => self.excess = Some(Excess::Record(bytes)),
            key @ (b"uname" | b"gname" | b"size" | b"uid" | b"gid" | b"mtime") => {
                return Err(format!("the extended header's {} has {bytes} bytes", quotable(key)));
            }
            // It may be one of extended attributes, or else it is not restored: see `set`.
            key => self.xattrs.leave_out(key, bytes),
        }
        Ok(())
    }

    /// Returns how many bytes of memory the values take: what a global header adds to each member.
    pub(super) fn held(&self) -> usize {
        let names = [&self.name, &self.link, &self.uname, &self.gname, &self.sparse.name];
        let map = self.sparse.map.as_ref().map_or(0, Map::held);
        names.into_iter().flatten().map(Vec::len).sum::<usize>() + map
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        let text = || std::str::from_utf8(value).unwrap_or_default();
        let bad = || format!("the extended header's {} is '{}'", quotable(key), quotable(value));
        // An empty value cancels what a global header set.
        let given = !value.is_empty();
        match key {
            b"path" => self.name = given.then(|| value.to_vec()),
            b"linkpath" => self.link = given.then(|| value.to_vec()),
            b"uname" => self.uname = given.then(|| value.to_vec()),
            b"gname" => self.gname = given.then(|| value.to_vec()),
            b"size" => self.size = if given { Some(text().parse().map_err(|_| bad())?) } else { None },
            b"uid" => self.uid = if given { Some(text().parse().map_err(|_| bad())?) } else { None },
            b"gid" => self.gid = if given { Some(text().parse().map_err(|_| bad())?) } else { None },
            b"mtime" => self.mtime = if given { Some(time(text()).ok_or_else(bad)?) } else { None },
            b"GNU.volume.filename" | b"GNU.volume.offset" => self.continued = given,
            // Comments, charsets and access times are not restored, as by GNU tar.
            key => match key.strip_prefix(b"GNU.sparse.") {
                Some(key) => self.sparse.set(key, value, bad)?,
                None => self.xattrs.set(key, value),
            },
        }
        Ok(())
    }
}

impl Sparse {
    fn set(&mut self, key: &[u8], value: &[u8], bad: impl Fn() -> String) -> Result<(), String> {
        let text = || std::str::from_utf8(value).unwrap_or_default();
        let number = || text().parse::<u64>().map_err(|_| bad());
        match key {
            b"name" => self.name = Some(value.to_vec()),
            b"size" | b"realsize" => self.size = Some(number()?),
            b"map" => self.map = Some(if value.is_empty() { Map::default() } else { Map::of_list(text())? }),
            b"numblocks" => self.map = Some(self.map.take().unwrap_or_default()),
            b"offset" => self.offset = Some(number()?),
            b"numbytes" => {
                let offset = self.offset.take().ok_or_else(&bad)?;
                self.map.get_or_insert_default().push(offset, number()?)?;
            }
            b"major" if number()? == 1 => self.leading_map = true,
            b"major" if number()? == 0 => {}
            b"minor" => {}
            b"major" => return Err(format!("a sparse file of version {}, which is not known", quotable(value))),
            _ => return Err(bad()),
        }
        Ok(())
    }
}

/// Parses a decimal time, in seconds since 1970, rounded down. `-1.5` is half a second before -1; as a `timespec` it is
/// -2 s + 500,000,000 ns. What follows the number is ignored, as by GNU tar: Python writes some as `1e-09`.
fn time(text: &str) -> Option<Timestamp> {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
    let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (integer, rest) = text.split_at(digits(text));
    let seconds: i64 = integer.parse().ok()?;
    let fraction = rest.strip_prefix('.').map_or("", |fraction| &fraction[..digits(fraction)]);
    let (counted, beyond) = fraction.split_at(fraction.len().min(9));
    let nanoseconds: u32 = format!("{counted:0<9}").parse().ok()?;
    if !negative {
        return Some(Timestamp { seconds, nanoseconds });
    }
    let nanoseconds = nanoseconds + u32::from(beyond.bytes().any(|digit| digit != b'0'));
    let (seconds, nanoseconds) =
        if nanoseconds > 0 { (-seconds - 1, 1_000_000_000 - nanoseconds) } else { (-seconds, 0) };
    Some(Timestamp { seconds, nanoseconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_with_impossible_lengths_are_malformed() {
        for records in
            ["1 a=b\n", "0 a=b\n", "2 \n", "3 a=b\n", "7 a=b\n", " a=b\n", "6 a=b", "5 ab\n", "a=b\n", "-6 a=b\n"]
        {
            let read = Extensions::default().read(records.as_bytes());
            assert_eq!(read, Err("a malformed extended header".to_owned()), "{records:?}");
        }
        for records in ["6 a=b\n", "6 a=b\n6 c=d\n", "6 a=b\n\0\0", ""] {
            assert_eq!(Extensions::default().read(records.as_bytes()), Ok(()), "{records:?}");
        }
    }

    /// What GNU tar 1.34 makes of them.
    #[test]
    fn times_are_read_as_by_gnu_tar() {
        let nanoseconds = |text: &str| {
            let Timestamp { seconds, nanoseconds } = time(text)?;
            assert!(nanoseconds < 1_000_000_000, "{text}");
            Some(i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds))
        };
        for (text, expected) in [
            ("12.3456789019", 12_345_678_901),
            ("5.", 5_000_000_000),
            ("0.5", 500_000_000),
            ("-0.5", -500_000_000),
            ("-1.8254681465", -1_825_468_147),
            ("-1.9999999999", -2_000_000_000),
            ("-2", -2_000_000_000),
            ("1e-09", 1_000_000_000),
            ("1.5e3", 1_500_000_000),
        ] {
            assert_eq!(nanoseconds(text), Some(expected), "{text}");
        }
        for text in ["", "-", "+5", ".5", "abc", "99999999999999999999"] {
            assert_eq!(nanoseconds(text), None, "{text}");
        }
    }
}
