//! How the times of a column are read.

use shoal_proto::v1::{DatasetSource, TimeRule, TimeUnit};

use crate::{
    fields::date_and_time,
    values::{TimeRuleError, Times, Values, unit_of},
};

/// What was found out about a column of times.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::source) enum TimeLook {
    /// How they are read, and the same for people.
    Read(TimeRule, String),
    /// A field that is no time by itself.
    Unreadable(String),
}

/// How people call a unit.
fn unit_name(unit: TimeUnit) -> &'static str {
    match unit {
        TimeUnit::Unspecified | TimeUnit::Seconds => "seconds",
        TimeUnit::Milliseconds => "milliseconds",
        TimeUnit::Microseconds => "microseconds",
        TimeUnit::Nanoseconds => "nanoseconds",
    }
}

/// Whether times were asked for, in whatever way.
fn is_asked(source: &DatasetSource) -> bool {
    !source.time_column.is_empty()
        || !source.time_format.is_empty()
        || source.time_unit() != TimeUnit::Unspecified
}

/// A format for times that are written as this field, with the order that it takes the numbers in: for advice, as nobody can
/// tell `03.04.2021` from `04.03.2021`.
pub(super) fn example_format(field: &str) -> String {
    let (date, time) = field.split_once([' ', 'T']).map_or((field, None), |(date, time)| (date, Some(time)));
    let separator =
        date.chars().find(|letter| !letter.is_ascii_digit()).filter(|letter| "./-".contains(*letter));
    let numbers: Vec<&str> = separator.map(|separator| date.split(separator).collect()).unwrap_or_default();
    let is_month = |number: &str| number.parse::<u32>().is_ok_and(|number| (1..=12).contains(&number));
    let (Some(separator), [first, second, year]) = (separator, numbers.as_slice()) else {
        return "day first: --time-format '%d.%m.%Y %H:%M'".to_owned();
    };
    let year = if year.len() == 2 { "%y" } else { "%Y" };
    let (order, first, second) = match is_month(first) && !is_month(second) {
        true => ("month first", "%m", "%d"),
        false => ("day first", "%d", "%m"),
    };
    let clock = match time.map(|time| time.matches(':').count()) {
        None => "",
        Some(0 | 1) => "%H:%M",
        Some(_) => "%H:%M:%S",
    };
    let between = if clock.is_empty() {
        ""
    } else if field.contains('T') {
        "T"
    } else {
        " "
    };
    format!("{order}: --time-format '{first}{separator}{second}{separator}{year}{between}{clock}'")
}

/// How the times of a column are read that has these first fields: as the source says, else as numbers of a unit or as
/// dates, whichever more of them are. Unless asked for, a column is given up of which fewer than half can be read.
///
/// # Errors
/// When the source's zone or format cannot be used.
pub(super) fn look_at_times<'a>(
    fields: impl Iterator<Item = &'a str>,
    source: &DatasetSource,
    values: &Values,
) -> Result<TimeLook, TimeRuleError> {
    let mut rule = TimeRule {
        unit: source.time_unit,
        format: source.time_format.clone(),
        zone: source.time_zone.clone(),
    };
    let zone = if rule.zone.is_empty() { "UTC" } else { &rule.zone };
    if !rule.format.is_empty() {
        Times::new(&rule)?;
        let text = format!("dates written as '{}', in {zone} where they name no offset", rule.format);
        return Ok(TimeLook::Read(rule, text));
    }
    Times::new(&rule)?;
    let (mut numbers, mut dates, mut with_offset, mut strange) = (Vec::new(), 0, 0, Vec::new());
    for field in fields.filter(|field| !values.is_missing(field)) {
        if let Ok(number) = field.parse::<i64>() {
            numbers.push(number);
        } else if let Ok(number) = field.parse::<f64>() {
            numbers.push(number as i64);
        } else if let Some((_, offset)) = date_and_time(field) {
            dates += 1;
            with_offset += usize::from(offset.is_some());
        } else {
            strange.push(field);
        }
    }
    if let Some(field) = strange.first()
        && strange.len() > numbers.len() + dates
        && !is_asked(source)
    {
        return Ok(TimeLook::Unreadable((*field).to_owned()));
    }
    if dates > numbers.len() {
        let text = match with_offset {
            0 => format!("dates, in {zone}"),
            _ if with_offset == dates => "dates with offsets".to_owned(),
            _ => format!("dates, in {zone} where they name no offset"),
        };
        return Ok(TimeLook::Read(rule, text));
    }
    if rule.unit() == TimeUnit::Unspecified {
        rule.set_unit(unit_of(&mut numbers));
    }
    let text = numbers_text(rule.unit());
    Ok(TimeLook::Read(rule, text))
}

/// What numbers of this unit are read as, for the report.
pub(in crate::source) fn numbers_text(unit: TimeUnit) -> String {
    let kept = if unit == TimeUnit::Seconds { "" } else { ", kept as seconds" };
    format!("{} since 1970{kept}", unit_name(unit))
}

#[cfg(test)]
mod tests {
    use shoal_proto::v1::SourceFile;

    use super::*;

    fn look(fields: &[&str], source: &DatasetSource) -> TimeLook {
        look_at_times(fields.iter().copied(), source, &Values::new(&SourceFile::default())).unwrap()
    }

    #[test]
    fn units_and_dates_are_found_out() {
        for (fields, text) in [
            (&["964982703", "", "964982704"][..], "seconds since 1970"),
            (
                &["1262304000000", "1262304000001", "9223372036854775807"],
                "milliseconds since 1970, kept as seconds",
            ),
            (&["2004-01-26 03:58:10", "x"], "dates, in UTC"),
            (&["2004-01-26T03:58:10Z"], "dates with offsets"),
            (&[], "seconds since 1970"),
        ] {
            let TimeLook::Read(_, found) = look(fields, &DatasetSource::default()) else {
                panic!("{fields:?}")
            };
            assert_eq!(found, text);
        }
    }

    #[test]
    fn the_format_that_is_advised_reads_the_field() {
        for field in [
            "01.11.2024",
            "29-01-2021 07:01",
            "1/31/2021 07:01:09",
            "31/12/2021T23:59",
            "03.04.21",
            "7/8/2021",
        ] {
            let advice = example_format(field);
            let format = advice.split('\'').nth(1).unwrap().to_owned();
            let source = DatasetSource { time_format: format.clone(), ..DatasetSource::default() };
            let TimeLook::Read(rule, _) = look(&[field], &source) else { panic!("{advice}") };
            let read = Times::new(&rule).unwrap().read(field);
            assert!(read.is_some(), "{field}: {advice}");
            assert_eq!(advice.starts_with("month first"), field.starts_with("1/31"), "{field}: {advice}");
        }
        for field in ["", "soon", "1.2", "20210101", "..", "a.b.c"] {
            assert!(example_format(field).contains("--time-format '%"), "{field}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_given_up_unless_it_was_asked_for() {
        let fields = ["29-01-2021 07:01", "01-02-2021 07:01", "964982703"];
        let found = look(&fields, &DatasetSource::default());
        assert_eq!(found, TimeLook::Unreadable("29-01-2021 07:01".to_owned()));
        for source in [
            DatasetSource { time_column: "date".into(), ..DatasetSource::default() },
            DatasetSource { time_unit: TimeUnit::Seconds.into(), ..DatasetSource::default() },
            DatasetSource { time_format: "%d-%m-%Y %H:%M".into(), ..DatasetSource::default() },
        ] {
            assert!(matches!(look(&fields, &source), TimeLook::Read(..)), "{source:?}");
        }
    }
}
