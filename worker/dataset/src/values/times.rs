//! Times of one column: numbers of a unit, dates that begin with the year, or dates of a format that was given.

use jiff::{
    Timestamp,
    civil::{DateTime, Time},
    fmt::strtime::BrokenDownTime,
    tz::{Offset, TimeZone},
};
use shoal_proto::v1::{TimeRule, TimeUnit};

use crate::fields;

/// The first second in which a rating can have been made: the begin of 1970. Numbers below 0 stand for "not known" in
/// the files that have them.
pub const TIME_MIN: i64 = 0;

/// The first second in which none can: the begin of the year 2200.
pub const TIME_MAX: i64 = 7_258_118_400;

/// A rule by which no time can be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimeRuleError {
    /// The zone is not known.
    #[error(
        "the time zone '{0}' is not known; give an IANA name (--time-zone Europe/Berlin) or an offset (--time-zone +02:00)"
    )]
    Zone(String),
    /// The format has something that is not understood, or lacks a date.
    #[error(
        "the time format '{format}' cannot be used: {reason}; give one as of strftime, such as --time-format '%d.%m.%Y %H:%M'"
    )]
    Format {
        /// The format as it was given.
        format: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// How times are read.
#[derive(Debug, Clone)]
pub struct Times {
    per_second: i64,
    format: Option<String>,
    /// Of times that name no offset.
    zone: TimeZone,
}

impl Default for Times {
    fn default() -> Self {
        Self { per_second: 1, format: None, zone: TimeZone::UTC }
    }
}

/// How many of a unit a second has.
#[must_use]
pub fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Unspecified | TimeUnit::Seconds => 1,
        TimeUnit::Milliseconds => 1_000,
        TimeUnit::Microseconds => 1_000_000,
        TimeUnit::Nanoseconds => 1_000_000_000,
    }
}

/// The unit of times, by their median, which a few implausible ones do not move. Numbers of different units that
/// mean the same time differ a thousandfold: milliseconds begin at 1973's, which as seconds are the year 5138.
pub fn unit_of(times: &mut [i64]) -> TimeUnit {
    let middle = times.len() / 2;
    if times.is_empty() {
        return TimeUnit::Seconds;
    }
    let (_, median, _) = times.select_nth_unstable(middle);
    match median.unsigned_abs() {
        0..100_000_000_000 => TimeUnit::Seconds,
        100_000_000_000..100_000_000_000_000 => TimeUnit::Milliseconds,
        100_000_000_000_000..100_000_000_000_000_000 => TimeUnit::Microseconds,
        _ => TimeUnit::Nanoseconds,
    }
}

fn zone(name: &str) -> Option<TimeZone> {
    if name.is_empty() || name.eq_ignore_ascii_case("utc") || name == "Z" {
        return Some(TimeZone::UTC);
    }
    if name.starts_with(['+', '-']) {
        let (_, seconds) = fields::split_offset(name)?;
        return Offset::from_seconds(i32::try_from(seconds?).ok()?).ok().map(TimeZone::fixed);
    }
    TimeZone::get(name).ok()
}

impl Times {
    /// Times of this rule.
    ///
    /// # Errors
    /// When its zone is not known or its format cannot be used.
    pub fn new(rule: &TimeRule) -> Result<Self, TimeRuleError> {
        let zone = zone(&rule.zone).ok_or_else(|| TimeRuleError::Zone(rule.zone.clone()))?;
        let format = (!rule.format.is_empty()).then(|| rule.format.clone());
        let times = Self { per_second: per_second(rule.unit()), format, zone };
        times.check_format()?;
        Ok(times)
    }

    /// Writes a time in the format and reads it again: only a format with a whole date gives the day back.
    fn check_format(&self) -> Result<(), TimeRuleError> {
        let Some(format) = &self.format else { return Ok(()) };
        let wrong = |reason: String| TimeRuleError::Format { format: format.clone(), reason };
        // 2021-03-14 15:09:26 UTC, of which no two parts are alike.
        let moment =
            Timestamp::from_second(1_615_734_566).unwrap_or_default().to_zoned_datetime(TimeZone::UTC);
        let text = jiff::fmt::strtime::format(format, &moment).map_err(|error| wrong(error.to_string()))?;
        match self.read(&text) {
            Some(_) => Ok(()),
            None => Err(wrong("it does not have day, month and year".to_owned())),
        }
    }

    /// Whether a format was given.
    #[must_use]
    pub fn has_format(&self) -> bool {
        self.format.is_some()
    }

    /// How many of the unit of numbers a second has.
    #[must_use]
    pub fn per_second(&self) -> i64 {
        self.per_second
    }

    /// Whether numbers and dates are read as they are on the short ways: dates in UTC, and no format.
    #[must_use]
    pub fn are_plain(&self) -> bool {
        self.format.is_none() && self.zone == TimeZone::UTC
    }

    /// A number of the unit in seconds.
    #[must_use]
    pub fn seconds(&self, number: i64) -> i64 {
        if self.per_second == 1 { number } else { number.div_euclid(self.per_second) }
    }

    /// The time that a text without blanks around it is, in seconds since 1970.
    #[must_use]
    pub fn read(&self, text: &str) -> Option<i64> {
        if let Some(format) = &self.format {
            return self.in_format(format, text);
        }
        if let Ok(number) = text.parse() {
            return Some(self.seconds(number));
        }
        if let Ok(number) = text.parse::<f64>() {
            let seconds = (number / self.per_second as f64).floor();
            // The range check keeps the cast exact enough: what is beyond is no time.
            return (seconds.abs() < 1e15).then_some(seconds as i64);
        }
        let (local, offset) = fields::date_and_time(text)?;
        match offset {
            Some(offset) => Some(local - offset),
            None if self.zone == TimeZone::UTC => Some(local),
            None => {
                let local = Timestamp::from_second(local).ok()?;
                self.in_zone(TimeZone::UTC.to_datetime(local))
            }
        }
    }

    /// Of a time that a clock shows twice the first; of one that it leaves out, as if it had not been set.
    fn in_zone(&self, local: DateTime) -> Option<i64> {
        self.zone.to_timestamp(local).ok().map(|time| time.as_second())
    }

    fn in_format(&self, format: &str, text: &str) -> Option<i64> {
        let parts = BrokenDownTime::parse(format, text).ok()?;
        if let Some(time) = parts.timestamp() {
            return Some(time.as_second());
        }
        let time = if parts.hour().is_some() { parts.to_time().ok()? } else { Time::midnight() };
        let local = parts.to_date().ok()?.to_datetime(time);
        match parts.offset() {
            Some(offset) => offset.to_timestamp(local).ok().map(|time| time.as_second()),
            None => self.in_zone(local),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(unit: TimeUnit, format: &str, zone: &str) -> Result<Times, TimeRuleError> {
        Times::new(&TimeRule { unit: unit.into(), format: format.into(), zone: zone.into() })
    }

    #[test]
    fn numbers_of_every_unit_are_kept_in_seconds() {
        for (unit, text) in [
            (TimeUnit::Seconds, "1262304000"),
            (TimeUnit::Seconds, "1262304000.9"),
            (TimeUnit::Milliseconds, "1262304000999"),
            (TimeUnit::Microseconds, "1262304000000000"),
            (TimeUnit::Nanoseconds, "1262304000000000001"),
        ] {
            let times = times(unit, "", "").unwrap();
            assert_eq!(times.read(text), Some(1_262_304_000), "{text}");
            let number = text.split('.').next().unwrap().parse().unwrap();
            assert_eq!(unit_of(&mut [0, number, number, number, i64::MAX]), unit);
        }
        assert_eq!(unit_of(&mut []), TimeUnit::Seconds);
    }

    #[test]
    fn dates_without_an_offset_are_of_the_zone() {
        for (zone, text, seconds) in [
            ("", "2021-07-01 12:00", 1_625_140_800),
            ("+02:00", "2021-07-01 12:00", 1_625_133_600),
            ("Europe/Berlin", "2021-07-01 12:00", 1_625_133_600),
            ("Europe/Berlin", "2021-01-01 12:00:00", 1_609_498_800),
            ("Europe/Berlin", "2021-07-01T12:00:00Z", 1_625_140_800),
            // The hour that comes twice, and the one that does not come.
            ("Europe/Berlin", "2021-10-31 02:30", 1_635_640_200),
            ("Europe/Berlin", "2021-03-28 02:30", 1_616_895_000),
        ] {
            assert_eq!(
                times(TimeUnit::Unspecified, "", zone).unwrap().read(text),
                Some(seconds),
                "{zone} {text}"
            );
        }
        let error = times(TimeUnit::Unspecified, "", "Mars/Olympus").unwrap_err().to_string();
        assert!(error.contains("Mars/Olympus") && error.contains("--time-zone"), "{error}");
    }

    #[test]
    fn formats_say_what_is_day_and_what_is_month() {
        for (format, text, seconds) in [
            ("%d-%m-%Y %H:%M", "03-01-2021 07:01", Some(1_609_657_260)),
            ("%m/%d/%Y", "01/03/2021", Some(1_609_632_000)),
            ("%d %b %Y, %I:%M %p", "3 Jan 2021, 07:01 AM", Some(1_609_657_260)),
            ("%Y-%m-%dT%H:%M:%S%.f%:z", "2021-01-03T09:01:00.5+02:00", Some(1_609_657_260)),
            ("%d-%m-%Y %H:%M", "2021-01-03", None),
            ("%d.%m.%Y", "31.02.2021", None),
        ] {
            assert_eq!(times(TimeUnit::Unspecified, format, "").unwrap().read(text), seconds, "{text}");
        }
        for format in ["%H:%M", "%Q-unknown", "day"] {
            let error = times(TimeUnit::Unspecified, format, "").unwrap_err().to_string();
            assert!(error.contains(format) && error.contains("--time-format"), "{error}");
        }
    }

    #[test]
    fn an_offset_counts_whatever_the_zone_is() {
        for zone in ["", "Europe/Berlin", "-05:00"] {
            let times = times(TimeUnit::Unspecified, "", zone).unwrap();
            for (text, seconds) in [
                ("2021-07-01T12:00:00+02:00", 1_625_133_600),
                ("2021-07-01T12:00:00-0330", 1_625_153_400),
                ("2021-07-01T12:00:00Z", 1_625_140_800),
            ] {
                assert_eq!(times.read(text), Some(seconds), "{zone} {text}");
            }
        }
    }
}
