//! Which sets are kept: the options of `restic forget`, with their names and their meaning.
//!
//! Sets are counted by slots: the days, for example, that have one. A night without a backup is no slot, so it destroys
//! nothing. Of the sets in a slot the newest one is kept; the oldest set of all is kept too as long as fewer slots than
//! wanted were found.

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};

use crate::error::{Error, Result};

/// How many sets are kept; a number of 0 keeps none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// The newest sets.
    pub last: u32,
    /// The newest ones of so many hours.
    pub hourly: u32,
    /// The newest ones of so many days.
    pub daily: u32,
    /// The newest ones of so many weeks, which begin on Monday.
    pub weekly: u32,
    /// The newest ones of so many months.
    pub monthly: u32,
    /// The newest ones of so many years.
    pub yearly: u32,
    /// All sets that are at most so much older than the newest one.
    pub within: Option<Within>,
}

/// A time in the units of the calendar, such as `1y6m`, `30d` or `36h`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Within {
    years: u16,
    months: u16,
    days: u16,
    hours: u16,
}

/// Why a set is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// It is the newest one.
    Newest,
    /// It is one of the last sets.
    Last,
    /// It is the newest one of an hour.
    Hourly,
    /// It is the newest one of a day.
    Daily,
    /// It is the newest one of a week.
    Weekly,
    /// It is the newest one of a month.
    Monthly,
    /// It is the newest one of a year.
    Yearly,
    /// It is not old enough.
    Within,
    /// Another set that is kept has the changes since it.
    Base,
}

impl Reason {
    /// Returns the word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Last => "last",
            Self::Hourly => "hourly",
            Self::Daily => "daily",
            Self::Weekly => "weekly",
            Self::Monthly => "monthly",
            Self::Yearly => "yearly",
            Self::Within => "within",
            Self::Base => "base",
        }
    }
}

impl Policy {
    /// Returns whether nothing says what is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns why each of the sets that were made at `times` is kept, in the order of `times`, which is from old to new; a set
    /// without a reason is not kept. The newest set always is. Hours, days and so on are those of `zone`.
    #[must_use]
    pub fn reasons(&self, times: &[Timestamp], zone: &TimeZone) -> Vec<Vec<Reason>> {
        let Some(newest) = times.last() else { return Vec::new() };
        let since = self.within.and_then(|within| within.before(newest.to_zoned(zone.clone()).datetime()));
        let mut slots = Slots::of(self);
        let mut reasons: Vec<Vec<Reason>> = Vec::with_capacity(times.len());
        for (number, time) in times.iter().rev().enumerate() {
            let at = time.to_zoned(zone.clone()).datetime();
            let mut of_set = if number == 0 { vec![Reason::Newest] } else { Vec::new() };
            of_set.extend(slots.take(number, at, number + 1 == times.len()));
            of_set.extend(since.is_some_and(|since| at > since).then_some(Reason::Within));
            reasons.push(of_set);
        }
        reasons.reverse();
        reasons
    }
}

/// The slots that are still wanted.
struct Slots(Vec<Slot>);

struct Slot {
    reason: Reason,
    wanted: u32,
    /// That of the set before, which is newer.
    taken: Option<[i64; 3]>,
}

impl Slots {
    fn of(policy: &Policy) -> Self {
        let kinds = [
            (Reason::Last, policy.last),
            (Reason::Hourly, policy.hourly),
            (Reason::Daily, policy.daily),
            (Reason::Weekly, policy.weekly),
            (Reason::Monthly, policy.monthly),
            (Reason::Yearly, policy.yearly),
        ];
        Self(kinds.map(|(reason, wanted)| Slot { reason, wanted, taken: None }).into())
    }

    /// Takes the slots of the set with this number, from new to old, as far as they are wanted and free.
    fn take(&mut self, number: usize, at: DateTime, is_oldest: bool) -> impl Iterator<Item = Reason> {
        self.0.iter_mut().filter_map(move |slot| {
            let its = slot_of(slot.reason, number, at);
            if slot.wanted == 0 || (slot.taken == Some(its) && !is_oldest) {
                return None;
            }
            slot.wanted -= 1;
            slot.taken = Some(its);
            Some(slot.reason)
        })
    }
}

/// Returns the slot of a set: equal numbers are one slot.
fn slot_of(reason: Reason, number: usize, at: DateTime) -> [i64; 3] {
    let (year, week) = (i64::from(at.year()), at.date().iso_week_date());
    match reason {
        Reason::Newest | Reason::Last | Reason::Within | Reason::Base => {
            [i64::try_from(number).unwrap_or(i64::MAX), 0, 0]
        }
        Reason::Hourly => [year, i64::from(at.day_of_year()), i64::from(at.hour())],
        Reason::Daily => [year, i64::from(at.day_of_year()), 0],
        Reason::Weekly => [i64::from(week.year()), i64::from(week.week()), 0],
        Reason::Monthly => [year, i64::from(at.month()), 0],
        Reason::Yearly => [year, 0, 0],
    }
}

impl Within {
    /// Parses `1y6m7d12h`: numbers with their units, in this order, of which any can be left out.
    ///
    /// # Errors
    /// It is anything else, or no time at all.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = || Error::usage(format!("'{}' is no time such as 30d, 1y6m or 36h", text.escape_debug()));
        let mut rest = text;
        let mut number = |unit: char| {
            let Some((digits, behind)) = rest.split_once(unit) else { return Ok(0) };
            rest = behind;
            digits.parse::<u16>().map_err(|_| invalid())
        };
        let within = Self { years: number('y')?, months: number('m')?, days: number('d')?, hours: number('h')? };
        if !rest.is_empty() || within == Self::default() || text.contains('+') {
            return Err(invalid());
        }
        Ok(within)
    }

    /// Returns the time that is so much before `time`; `None` if the calendar does not reach that far.
    fn before(self, time: DateTime) -> Option<DateTime> {
        time.checked_sub(self.span()?).ok()
    }

    /// Returns the time that is so much after `time`; `None` if the calendar does not reach that far.
    pub(super) fn after(self, time: DateTime) -> Option<DateTime> {
        time.checked_add(self.span()?).ok()
    }

    fn span(self) -> Option<Span> {
        let Self { years, months, days, hours } = self;
        let span = Span::new().try_years(years).ok()?.try_months(months).ok()?;
        span.try_days(days).ok()?.try_hours(hours).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::btree_set;
    use proptest::prelude::*;

    fn times(texts: &[&str]) -> Vec<Timestamp> {
        texts.iter().map(|text| format!("{text}Z").parse().unwrap()).collect()
    }

    /// Returns what is kept of sets, as their reasons in one word each.
    fn kept(policy: &Policy, texts: &[&str]) -> Vec<String> {
        let word = |reasons: &Vec<Reason>| reasons.iter().map(|reason| reason.word()).collect::<Vec<_>>().join("+");
        policy.reasons(&times(texts), &TimeZone::UTC).iter().map(word).collect()
    }

    #[test]
    fn the_newest_set_of_a_slot_is_kept_and_a_missed_night_is_no_slot() {
        let policy = Policy { daily: 2, ..Policy::default() };
        let nights =
            ["2026-11-01T02:00", "2026-11-20T02:00", "2026-11-23T01:00", "2026-11-23T02:00", "2026-11-23T03:00"];
        assert_eq!(kept(&policy, &nights), ["", "daily", "", "", "newest+daily"]);
        let policy = Policy { daily: 9, ..Policy::default() };
        assert_eq!(kept(&policy, &nights), ["daily", "daily", "", "", "newest+daily"]);
    }

    #[test]
    fn weeks_begin_on_monday_and_belong_to_one_year() {
        let policy = Policy { weekly: 9, ..Policy::default() };
        // A Sunday, a Monday, and two days of one week of 2026 and 2027.
        let days = ["2026-11-22T02:00", "2026-11-23T02:00", "2026-12-31T02:00", "2027-01-01T02:00"];
        assert_eq!(kept(&policy, &days), ["weekly", "weekly", "", "newest+weekly"]);
    }

    #[test]
    fn the_oldest_set_stays_as_long_as_slots_are_wanted() {
        let days = ["2026-01-01T02:00", "2026-01-01T03:00", "2026-01-02T02:00"];
        assert_eq!(kept(&Policy { daily: 3, ..Policy::default() }, &days), ["daily", "daily", "newest+daily"]);
        assert_eq!(kept(&Policy { daily: 2, ..Policy::default() }, &days), ["", "daily", "newest+daily"]);
    }

    #[test]
    fn within_counts_from_the_newest_set() {
        let policy = Policy { within: Some(Within::parse("1m1d").unwrap()), ..Policy::default() };
        let days = ["2020-01-28T02:00", "2020-02-28T02:00", "2020-02-28T02:01", "2020-03-29T02:00"];
        assert_eq!(kept(&policy, &days), ["", "", "within", "newest+within"]);
    }

    #[test]
    fn days_are_those_of_the_time_zone() {
        let policy = Policy { daily: 9, ..Policy::default() };
        let nights = times(&["2026-11-20T22:30", "2026-11-20T23:30", "2026-11-21T00:30"]);
        let zone = TimeZone::fixed(jiff::tz::offset(1));
        let kept: Vec<_> = policy.reasons(&nights, &zone).iter().map(Vec::len).collect();
        assert_eq!(kept, [1, 0, 2]);
    }

    #[test]
    fn only_times_with_units_are_parsed() {
        let within = |years, months, days, hours| Some(Within { years, months, days, hours });
        for (text, expected) in [
            ("30d", within(0, 0, 30, 0)),
            ("1y6m7d12h", within(1, 6, 7, 12)),
            ("36h", within(0, 0, 0, 36)),
            ("", None),
            ("0d", None),
            ("30", None),
            ("d", None),
            ("-1d", None),
            ("+1d", None),
            ("1d2m", None),
            ("1d1d", None),
            ("70000d", None),
            ("1.5d", None),
        ] {
            assert_eq!(Within::parse(text).ok(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn more_is_kept_the_more_is_asked_for(
            seconds in btree_set(0_i64..200_000_000, 1..60),
            counts in proptest::array::uniform6(0_u32..5),
            days in proptest::option::of(1_u16..400),
        ) {
            let times: Vec<_> = seconds.into_iter().map(|at| Timestamp::from_second(at).unwrap()).collect();
            let [last, hourly, daily, weekly, monthly, yearly] = counts;
            let within = days.map(|days| Within { days, ..Within::default() });
            let policy = Policy { last, hourly, daily, weekly, monthly, yearly, within };
            let reasons = policy.reasons(&times, &TimeZone::UTC);
            prop_assert_eq!(reasons.len(), times.len());
            prop_assert!(reasons.last().unwrap().contains(&Reason::Newest));
            for (reason, count) in
                [(Reason::Last, last), (Reason::Daily, daily), (Reason::Weekly, weekly), (Reason::Yearly, yearly)]
            {
                let kept = reasons.iter().filter(|of_set| of_set.contains(&reason)).count();
                prop_assert!(kept <= count as usize);
                // As many as wanted, unless there are not so many slots.
                if reason == Reason::Last {
                    prop_assert_eq!(kept, times.len().min(count as usize));
                }
            }
            // What a smaller policy keeps, a larger one keeps too.
            let more = Policy { daily: daily + 1, ..policy };
            for (less, more) in reasons.iter().zip(more.reasons(&times, &TimeZone::UTC)) {
                prop_assert!(less.is_empty() || !more.is_empty());
            }
        }
    }
}
