//! Wall-clock time behind a seam. Durations and deadlines use `tokio::time`, which tests pause and
//! simulation drives; this is only for time stamps that people and files see.

use std::{
    fmt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Where time stamps come from.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Milliseconds since the Unix epoch.
    fn now_unix_ms(&self) -> i64;
}

/// The clock of the machine; it may jump when somebody sets it.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the seam that everything else goes through")]
    fn now_unix_ms(&self) -> i64 {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
    }
}

/// A UTC calendar time to the millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UtcTime {
    /// Year, month 1–12, day 1–31.
    pub date: (i64, u32, u32),
    /// Hour, minute, second.
    pub time: (u32, u32, u32),
    /// Milliseconds within the second.
    pub millisecond: u32,
}

impl UtcTime {
    /// Splits a Unix time. Days to date by the civil-from-days method of the proleptic Gregorian calendar.
    #[must_use]
    pub fn from_unix_ms(unix_ms: i64) -> Self {
        let (days, ms_of_day) = (unix_ms.div_euclid(86_400_000), unix_ms.rem_euclid(86_400_000));
        // Count from 1 March of year 0 so that the leap day is the last of its year.
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
        let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let seconds = ms_of_day / 1_000;
        // Every part below is within its calendar range, so the casts keep it whole.
        Self {
            date: (year, month as u32, day as u32),
            time: ((seconds / 3_600) as u32, (seconds / 60 % 60) as u32, (seconds % 60) as u32),
            millisecond: (ms_of_day % 1_000) as u32,
        }
    }

    /// The time as text, to the millisecond: `2026-11-24T10:15:00.123Z`.
    #[must_use]
    pub fn iso_8601(&self) -> String {
        let ((year, month, day), (hour, minute, second)) = (self.date, self.time);
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", self.millisecond)
    }

    /// `20261124_101500`, as version names have it.
    #[must_use]
    pub fn compact(&self) -> String {
        let ((year, month, day), (hour, minute, second)) = (self.date, self.time);
        format!("{year:04}{month:02}{day:02}_{hour:02}{minute:02}{second:02}")
    }
}

/// Names for what is made at a time, of which the first that is free is taken: `20261124_101500`, then
/// `20261124_101500_002`, `20261124_101500_003` and so on without end. Names sort by time.
pub fn stamps(unix_ms: i64) -> impl Iterator<Item = String> {
    let second = UtcTime::from_unix_ms(unix_ms).compact();
    (1_u64..).map(move |number| if number == 1 { second.clone() } else { format!("{second}_{number:03}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_515_300_123, "2026-11-24T10:15:00.123Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
        ];
        for (unix_ms, expected) in cases {
            assert_eq!(UtcTime::from_unix_ms(unix_ms).iso_8601(), expected);
        }
        assert_eq!(UtcTime::from_unix_ms(1_795_515_300_123).compact(), "20261124_101500");
    }

    #[test]
    fn stamps_of_one_second_differ_and_sort_by_time() {
        let mut taken = std::collections::BTreeSet::new();
        let mut made = Vec::new();
        for unix_ms in [vec![1_795_515_300_123; 120], vec![1_795_515_301_000; 2]].concat() {
            let stamp = stamps(unix_ms).find(|stamp| !taken.contains(stamp)).unwrap();
            assert!(taken.insert(stamp.clone()), "{stamp} twice");
            made.push(stamp);
        }
        assert_eq!(made[..3], ["20261124_101500", "20261124_101500_002", "20261124_101500_003"]);
        assert_eq!(made[119..], ["20261124_101500_120", "20261124_101501", "20261124_101501_002"]);
        assert!(made.is_sorted());
    }
}
