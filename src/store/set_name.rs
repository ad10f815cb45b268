//! The names of sets.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::durable::TEMPORARY;

/// As strftime(3) has it. No colons: some filesystems do not allow them, and `scp` takes what is before one for a host.
const FORMAT: &str = "%Y-%m-%dT%H-%M-%SZ";

/// The name of a set: the time at which its backup began, in UTC, to the second, such as `2026-11-25T02-00-00Z`. In the
/// order of their bytes, names are in the order of their times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SetName(Timestamp);

impl SetName {
    /// Returns the name of a set whose backup begins at `time`.
    #[must_use]
    pub fn at(time: Timestamp) -> Self {
        Self(to_second(time))
    }

    /// Parses what a set is named; `None` for any other text.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let time = jiff::civil::DateTime::strptime(FORMAT, name).ok()?;
        let parsed = Self(time.to_zoned(TimeZone::UTC).ok()?.timestamp());
        (parsed.to_string() == name).then_some(parsed)
    }

    /// Returns the time at which the backup began.
    #[must_use]
    pub fn time(self) -> Timestamp {
        self.0
    }

    /// Returns the name of the directory while it is no set: before it is complete, and when it is removed.
    pub(super) fn hidden(self) -> String {
        format!(".{self}{TEMPORARY}")
    }

    /// Parses what [`SetName::hidden`] returns.
    pub(super) fn parse_hidden(name: &str) -> Option<Self> {
        Self::parse(name.strip_prefix('.')?.strip_suffix(TEMPORARY)?)
    }
}

/// Returns a time without the fraction of its second.
pub(super) fn to_second(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or_default()
}

impl fmt::Display for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.to_zoned(TimeZone::UTC).strftime(FORMAT).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_names_a_set_is_parsed() {
        let name = SetName::at("2026-11-25T03:00:00.9+01:00".parse().unwrap());
        assert_eq!(name.to_string(), "2026-11-25T02-00-00Z");
        assert_eq!(SetName::parse("2026-11-25T02-00-00Z"), Some(name));
        assert_eq!(name.time().to_string(), "2026-11-25T02:00:00Z");
        assert_eq!(name.hidden(), ".2026-11-25T02-00-00Z.voltar-tmp");
        assert_eq!(SetName::parse_hidden(&name.hidden()), Some(name));
        assert_eq!(SetName::parse_hidden(&name.to_string()), None);
        for other in ["", "2026-11-25", "2026-11-25T02-00-00", "2026-11-25T02-00-00Zx", "2026-13-25T02-00-00Z"] {
            assert_eq!(SetName::parse(other), None, "{other}");
        }
        for same_time in
            ["2026-11-25T02-00-0Z", "02026-11-25T02-00-00Z", "2026-11-25T2-00-00Z", " 2026-11-25T02-00-00Z"]
        {
            assert_eq!(SetName::parse(same_time), None, "{same_time}");
        }
    }
}
