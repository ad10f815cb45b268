//! Formats bytes, rates, durations and counts for people. Sizes and rates use the same binary units (KiB, MiB …), so
//! that size divided by time is the rate.

use std::time::Duration;

/// Formats a size with three significant digits: `512 B`, `9.87 KiB`, `12.3 GiB`, `456 GiB`.
#[must_use]
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    #[allow(clippy::cast_precision_loss, reason = "three digits of it are shown")]
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    // A value that rounds to 1024 is shown in the next unit.
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    // From these bounds on, rounding would show a fourth digit.
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$} {}", UNITS[unit])
}

/// Formats a rate: `48.8 MiB/s`, or a dash if `elapsed` is zero.
#[must_use]
pub fn rate(count: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    if seconds <= 0.0 {
        return "-".to_owned();
    }
    #[allow(clippy::cast_precision_loss, clippy::cast_sign_loss, reason = "both are positive; three digits are shown")]
    let per_second = (count as f64 / seconds).round() as u64;
    format!("{}/s", bytes(per_second))
}

/// Formats a duration with at most two units: `0.4 s`, `12.3 s`, `4 min 05 s`, `1 h 03 min`, `2 d 04 h`.
#[must_use]
pub fn duration(time: Duration) -> String {
    // Rounding comes first, because 59.96 s would be "60.0 s".
    let tenths = (time.as_millis() + 50) / 100;
    if tenths < 600 {
        return format!("{}.{} s", tenths / 10, tenths % 10);
    }
    let seconds = (time.as_millis() + 500) / 1000;
    if seconds < 3600 {
        return format!("{} min {:02} s", seconds / 60, seconds % 60);
    }
    let minutes = (seconds + 30) / 60;
    if minutes < 24 * 60 {
        return format!("{} h {:02} min", minutes / 60, minutes % 60);
    }
    let hours = (minutes + 30) / 60;
    format!("{} d {:02} h", hours / 24, hours % 24)
}

/// Formats an estimated duration, with one unit where that says enough: `a second`, `20 s`, `3 min`, `1 h 03 min`.
#[must_use]
pub fn about(time: Duration) -> String {
    let seconds = (time.as_millis() + 500) / 1000;
    match seconds {
        0 | 1 => "a second".to_owned(),
        2..60 => format!("{seconds} s"),
        60..3570 => format!("{} min", (seconds + 30) / 60),
        _ => duration(time),
    }
}

/// Formats a count with grouped digits: `1,234,567`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_have_three_digits_on_both_sides_of_every_bound() {
        for (number, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (10_234, "9.99 KiB"),
            (10_235, "10.0 KiB"),
            (102_348, "99.9 KiB"),
            (102_350, "100 KiB"),
            (1_048_063, "1023 KiB"),
            (1_048_064, "1.00 MiB"),
            (13_207_024_435, "12.3 GiB"),
            (u64::MAX, "16.0 EiB"),
        ] {
            assert_eq!(bytes(number), text, "{number}");
        }
    }

    #[test]
    fn durations_have_two_units_at_most() {
        for (milliseconds, text) in [
            (0, "0.0 s"),
            (12_340, "12.3 s"),
            (59_949, "59.9 s"),
            (59_950, "1 min 00 s"),
            (245_000, "4 min 05 s"),
            (3_599_499, "59 min 59 s"),
            (3_599_500, "1 h 00 min"),
            (3_780_000, "1 h 03 min"),
            (86_369_000, "23 h 59 min"),
            (86_370_000, "1 d 00 h"),
            (187_200_000, "2 d 04 h"),
        ] {
            assert_eq!(duration(Duration::from_millis(milliseconds)), text, "{milliseconds}");
        }
    }

    #[test]
    fn an_estimate_has_one_unit_below_an_hour() {
        for (seconds, text) in [
            (0, "a second"),
            (1, "a second"),
            (2, "2 s"),
            (59, "59 s"),
            (60, "1 min"),
            (89, "1 min"),
            (90, "2 min"),
            (3569, "59 min"),
            (3570, "59 min 30 s"),
            (3780, "1 h 03 min"),
        ] {
            assert_eq!(about(Duration::from_secs(seconds)), text, "{seconds}");
        }
    }

    #[test]
    fn a_rate_is_size_over_time() {
        assert_eq!(rate(100 << 20, Duration::from_secs(2)), "50.0 MiB/s");
        assert_eq!(rate(1, Duration::ZERO), "-");
    }

    #[test]
    fn counts_are_grouped_by_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
    }
}
