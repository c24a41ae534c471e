//! Fields of delimited text: how a line is split and what its pieces mean. Pure.

use std::borrow::Cow;

use encoding_rs::WINDOWS_1252;

/// Splits a line at `delimiter`, honouring double quotes (a doubled quote inside a quoted field is one
/// quote). `None` when a quote is left open: the field goes on in the next line, which no MovieLens
/// file has.
#[must_use]
pub fn split_quoted(line: &[u8], delimiter: u8) -> Option<Vec<Cow<'_, [u8]>>> {
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let (field, after) = match rest.strip_prefix(b"\"") {
            Some(quoted) => take_quoted(quoted, delimiter)?,
            None => {
                let end = memchr::memchr(delimiter, rest).unwrap_or(rest.len());
                (Cow::Borrowed(&rest[..end]), rest.get(end + 1..))
            }
        };
        fields.push(field);
        match after {
            Some(after) => rest = after,
            None => return Some(fields),
        }
    }
}

/// A field, and what follows its delimiter.
type FieldAndRest<'a> = (Cow<'a, [u8]>, Option<&'a [u8]>);

/// The field after an opening quote, and what follows its delimiter (`None` at the end of the line).
fn take_quoted(text: &[u8], delimiter: u8) -> Option<FieldAndRest<'_>> {
    let mut field = Vec::new();
    let mut rest = text;
    loop {
        let quote = memchr::memchr(b'"', rest)?;
        field.extend_from_slice(&rest[..quote]);
        rest = &rest[quote + 1..];
        if let Some(after) = rest.strip_prefix(b"\"") {
            field.push(b'"');
            rest = after;
            continue;
        }
        // What stands between the closing quote and the delimiter belongs to the field.
        let end = memchr::memchr(delimiter, rest).unwrap_or(rest.len());
        field.extend_from_slice(&rest[..end]);
        return Some((Cow::Owned(field), rest.get(end + 1..)));
    }
}

/// Splits a line at a two-byte separator such as "::".
#[must_use]
pub fn split_double<'a>(line: &'a [u8], separator: &[u8; 2]) -> Vec<Cow<'a, [u8]>> {
    let mut fields = Vec::new();
    let mut rest = line;
    while let Some(at) = memchr::memmem::find(rest, separator) {
        fields.push(Cow::Borrowed(&rest[..at]));
        rest = &rest[at + 2..];
    }
    fields.push(Cow::Borrowed(rest));
    fields
}

/// Text as UTF-8, or as Windows-1252 where it is not UTF-8 (the titles of MovieLens 100K and 1M). That is Latin-1 with
/// the letters and signs that Windows put in place of rarely used controls.
#[must_use]
pub fn decode(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => WINDOWS_1252.decode_without_bom_handling(bytes).0,
    }
}

/// A whole number, with surrounding blanks allowed.
#[must_use]
pub fn integer(field: &[u8]) -> Option<i64> {
    std::str::from_utf8(field).ok()?.trim().parse().ok()
}

/// A number with a point; NaN and infinities parse, and are for the caller to refuse.
#[must_use]
pub fn number(field: &[u8]) -> Option<f64> {
    std::str::from_utf8(field).ok()?.trim().parse().ok()
}

/// A date that begins with its year, and a time of day: `YYYY-MM-DD HH:MM:SS` (also with slashes, with a T, without
/// the seconds or the time of day, with a fraction that is dropped). In seconds since 1970 as its own clock shows them, and
/// by how many of them that clock is ahead of UTC, where the text says so (`Z`, `+02:00`).
#[must_use]
pub fn date_and_time(text: &str) -> Option<(i64, Option<i64>)> {
    let (date, time) = text.split_once([' ', 'T']).unwrap_or((text, "00:00"));
    let separator = if date.contains('/') { '/' } else { '-' };
    let mut date = date.splitn(3, separator);
    // A shorter number may be a day.
    let year = whole(date.next().filter(|year| year.len() == 4)?)?;
    let (month, day) = (whole(date.next()?)?, whole(date.next()?)?);
    let (time, offset_seconds) = split_offset(time)?;
    let mut time = time.splitn(3, ':');
    let (hour, minute) = (whole(time.next()?)?, whole(time.next()?)?);
    let second = time.next().map_or(Some(0), |second| whole(second.split('.').next()?))?;
    let valid = is_day(year, month, day) && hour < 24 && minute < 60 && second <= 60;
    let local = days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second;
    valid.then_some((local, offset_seconds))
}

/// A number of a date or time: digits only, few enough for any arithmetic with it.
fn whole(text: &str) -> Option<i64> {
    let digits = (1..=6).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

/// A time of day, and the seconds by which it is ahead of UTC where it says so.
#[must_use]
pub fn split_offset(time: &str) -> Option<(&str, Option<i64>)> {
    if let Some(time) = time.strip_suffix('Z').or_else(|| time.strip_suffix(" UTC")) {
        return Some((time, Some(0)));
    }
    let Some(at) = time.find(['+', '-']) else { return Some((time, None)) };
    let (sign, offset) = (if time.as_bytes()[at] == b'-' { -1 } else { 1 }, &time[at + 1..]);
    let (hours, minutes) = match offset.split_once(':') {
        Some((hours, minutes)) => (whole(hours)?, whole(minutes)?),
        None if offset.len() == 4 => (whole(offset.get(..2)?)?, whole(offset.get(2..)?)?),
        None => (whole(offset)?, 0),
    };
    let valid = hours < 24 && minutes < 60;
    valid.then(|| (time[..at].trim_end(), Some(sign * (hours * 3_600 + minutes * 60))))
}

/// Whether the proleptic Gregorian calendar has this day.
#[must_use]
pub fn is_day(year: i64, month: i64, day: i64) -> bool {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        _ => return false,
    };
    (1..=days).contains(&day)
}

/// Days since 1970-01-01 of a date in the proleptic Gregorian calendar.
#[must_use]
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March here, so that the leap day is the last of its year.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The year at the end of a title: `Toy Story (1995)`; of a span, `(2006-2007)`, the first.
#[must_use]
pub fn title_year(title: &str) -> Option<i32> {
    let inside = title.trim_end().strip_suffix(')')?.rsplit_once('(')?.1;
    let year: i32 = inside.get(..4)?.parse().ok()?;
    let rest = inside[4..].trim();
    ((1800..=2200).contains(&year) && (rest.is_empty() || rest.starts_with(['-', '–']))).then_some(year)
}

/// Genres of a field, separated by `|`; "(no genres listed)" is none.
#[must_use]
pub fn genres(field: &str, separator: char) -> String {
    let genres = field.split(separator).map(str::trim);
    let genres: Vec<&str> =
        genres.filter(|genre| !genre.is_empty() && *genre != "(no genres listed)").collect();
    genres.join("|")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(fields: &[Cow<'_, [u8]>]) -> Vec<String> {
        fields.iter().map(|field| decode(field).into_owned()).collect()
    }

    proptest! {
        #[test]
        fn quoted_lines_split_as_the_csv_crate_does(
            fields in prop::collection::vec("[a-c,\" ]{0,8}", 1..5),
        ) {
            let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
            writer.write_record(&fields).unwrap();
            let mut line = writer.into_inner().unwrap();
            line.pop();
            prop_assert_eq!(texts(&split_quoted(&line, b',').unwrap()), fields);
        }
    }

    #[test]
    fn an_open_quote_is_noticed() {
        assert_eq!(split_quoted(b"1,\"open", b','), None);
        assert_eq!(texts(&split_quoted(b"1,,", b',').unwrap()), ["1", "", ""]);
    }

    #[test]
    fn dates_in_every_form() {
        for (text, seconds, offset) in [
            ("2004-01-26 03:58:10", 1_075_089_490, None),
            ("2004/01/26 03:58:10", 1_075_089_490, None),
            ("2004-01-26T03:58:10Z", 1_075_089_490, Some(0)),
            ("1970-01-01", 0, None),
            ("2000-02-29 00:00:00", 951_782_400, None),
            ("2004-01-26 05:58:10+02:00", 1_075_096_690, Some(7_200)),
            ("2004-01-25T22:28:10.123456-0530", 1_075_069_690, Some(-19_800)),
            ("2004-01-26 03:58 UTC", 1_075_089_480, Some(0)),
        ] {
            assert_eq!(date_and_time(text), Some((seconds, offset)), "{text}");
        }
        for text in [
            "",
            "yesterday",
            "2004-13-01",
            "2004-01-26 25:00:00",
            "2003-02-29",
            "2004-04-31",
            "+2004-01-01",
            "2004-01-01 é:00",
            "2004-01-01 1:0+a",
            "2004-01-01 1:0+aéb",
            "99999999-01-01",
            "04-01-26",
            "29-01-2021 07:01",
        ] {
            assert_eq!(date_and_time(text), None, "{text}");
        }
    }

    #[test]
    fn years_and_genres_as_movielens_writes_them() {
        assert_eq!(title_year("Toy Story (1995)"), Some(1995));
        assert_eq!(title_year("Death Note: Desu nôto (2006–2007)"), Some(2006));
        assert_eq!(title_year("Das Millionenspiel (1970) "), Some(1970));
        assert_eq!(title_year("Babylon 5"), None);
        assert_eq!(title_year("Nocturnal Animals (uncut)"), None);
        assert_eq!(genres("(no genres listed)", '|'), "");
        assert_eq!(genres("Comedy|Drama", '|'), "Comedy|Drama");
        assert_eq!(genres("Action, Drama,", ','), "Action|Drama");
    }

    #[test]
    fn titles_of_western_europe_are_read() {
        assert_eq!(decode(b"Mis\xe9rables, Les (1995)"), "Misérables, Les (1995)");
        assert_eq!(decode(b"\x80 5 \x96 \x93so\x94 \xa9"), "€ 5 – “so” ©");
    }
}
