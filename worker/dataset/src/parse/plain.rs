//! Plain lines of the long files, ratings and the genome's scores, in one go: nothing but digits, points and dates where numbers are
//! expected, and no quotes but around whole fields. Whatever else there is goes the long way, so that
//! this one need not know what is wrong.

use shoal_common::ids::IdKind;
use shoal_format::row::{GenomeRow, IdRef, RatingRow, Row};
use shoal_proto::v1::{FileContent, SourceFile, SourceFormat};

use super::{Rules, relevance};
use crate::{
    fields::{days_from_civil, is_day},
    values::{Values, plausible_time},
};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    User,
    Item,
    Rating,
    Time,
    Tag,
    Relevance,
    Other,
}

const RATING_ROLES: [Role; 4] = [Role::User, Role::Item, Role::Rating, Role::Time];
const GENOME_ROLES: [Role; 3] = [Role::Item, Role::Tag, Role::Relevance];

#[derive(Debug)]
pub(super) struct PlainLines {
    /// Of the columns up to the last that is used.
    roles: Vec<Role>,
    delimiter: u8,
    /// Whether the delimiter stands twice.
    double: bool,
    quotes: bool,
    rules: Rules,
    values: Values,
    /// Fields after the last column that is used; `None` where any number may be.
    fields_after: Option<usize>,
}

impl PlainLines {
    /// A reader of this file's lines; `None` when there is none for such.
    pub(super) fn new(file: &SourceFile, rules: Rules, values: &Values) -> Option<Self> {
        if values.has_decimal_commas() || !values.times.are_plain() {
            return None;
        }
        let (delimiter, double, quotes) = match file.format() {
            SourceFormat::Csv => (u8::try_from(file.delimiter).ok()?, false, true),
            SourceFormat::Tab => (b'\t', false, false),
            SourceFormat::DoubleColon => (b':', true, false),
            _ => return None,
        };
        let of_content: &[Role] = match file.content() {
            FileContent::Ratings => &RATING_ROLES,
            FileContent::GenomeScores => &GENOME_ROLES,
            _ => return None,
        };
        let mut roles = Vec::new();
        for (&column, &role) in file.columns.iter().zip(of_content) {
            let Ok(column) = usize::try_from(column) else { continue };
            if roles.len() <= column {
                roles.resize(column + 1, Role::Other);
            }
            if roles[column] != Role::Other {
                // One column for two things: rare enough for the long way.
                return None;
            }
            roles[column] = role;
        }
        if file.content() == FileContent::Ratings && !roles.contains(&Role::Rating) {
            return None;
        }
        let columns = file.column_count as usize;
        let fields_after = (columns > 0).then(|| columns.saturating_sub(roles.len()));
        Some(Self { roles, delimiter, double, quotes, rules, values: values.clone(), fields_after })
    }

    /// The line's row; `None` when the line is not plain.
    pub(super) fn read<'a>(&self, line: &'a [u8]) -> Option<Row<'a>> {
        let (mut user, mut item, mut value, mut timestamp, mut tag) = (None, None, None, 0, None);
        let mut rest = Some(line);
        for role in &self.roles {
            let (field, after) = self.field(rest?)?;
            match role {
                Role::User => user = Some(self.id(field, self.rules.user_id_kind)?),
                Role::Item => item = Some(self.id(field, self.rules.item_id_kind)?),
                Role::Rating => value = Some(self.rules.accept(number(field)?).ok()?),
                Role::Relevance => value = Some(relevance(number(field)?).ok()?),
                Role::Time => timestamp = self.time(field)?,
                Role::Tag => tag = Some(u32::try_from(integer(field)?).ok()?),
                Role::Other => {}
            }
            rest = after;
        }
        if self.quotes && rest.is_some_and(|rest| memchr::memchr(b'"', rest).is_some()) {
            return None;
        }
        if let (Some(rest), Some(most)) = (rest, self.fields_after)
            && memchr::memchr_iter(self.delimiter, rest).count() >= most
        {
            return None;
        }
        let (item, value) = (item?, value?);
        Some(match tag {
            Some(tag) => Row::Genome(GenomeRow { item, tag, relevance: value }),
            None => Row::Rating(RatingRow { user: user?, item, rating: value, timestamp }),
        })
    }

    fn id<'a>(&self, field: &'a [u8], kind: IdKind) -> Option<IdRef<'a>> {
        match kind {
            IdKind::Integer => {
                let digits = field.strip_prefix(b"-").unwrap_or(field);
                // A number that begins with a zero may be another text than the number's.
                let is_same = digits.first() != Some(&b'0') || field.len() == 1;
                if is_same { integer(field).map(IdRef::Integer) } else { None }
            }
            IdKind::Text => {
                let text = std::str::from_utf8(field).ok()?;
                let is_trimmed = !text.is_empty() && text.trim().len() == text.len();
                (is_trimmed && !self.values.is_null_word(text)).then_some(IdRef::Text(text))
            }
        }
    }

    fn time(&self, field: &[u8]) -> Option<i64> {
        let seconds =
            date(field).or_else(|| integer(field).map(|number| self.values.times.seconds(number)))?;
        plausible_time(seconds).ok()
    }

    /// The first field, and what follows its delimiter (`None` at the end of the line).
    fn field<'a>(&self, text: &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
        if self.quotes && text.first() == Some(&b'"') {
            let text = &text[1..];
            let end = memchr::memchr(b'"', text)?;
            return match text.get(end + 1) {
                None => Some((&text[..end], None)),
                Some(&byte) if byte == self.delimiter => Some((&text[..end], Some(&text[end + 2..]))),
                Some(_) => None,
            };
        }
        let Some(end) = text.iter().position(|&byte| byte == self.delimiter) else {
            return Some((text, None));
        };
        if !self.double {
            return Some((&text[..end], Some(&text[end + 1..])));
        }
        (text.get(end + 1) == Some(&self.delimiter)).then(|| (&text[..end], Some(&text[end + 2..])))
    }
}

/// Digits that certainly fit in an i64, and in an f64 without rounding.
const INTEGER_DIGITS_MAX: usize = 18;
const NUMBER_DIGITS_MAX: usize = 15;

fn digits(text: &[u8]) -> Option<i64> {
    let mut value = 0;
    for &byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + i64::from(digit);
    }
    Some(value)
}

fn integer(text: &[u8]) -> Option<i64> {
    let (negative, text) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, text),
    };
    if text.is_empty() || text.len() > INTEGER_DIGITS_MAX {
        return None;
    }
    digits(text).map(|value| if negative { -value } else { value })
}

/// Powers of ten that are exact.
pub(super) const POWERS: [f64; NUMBER_DIGITS_MAX + 1] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// A decimal number. Both parts of the division are exact, so the result is rounded as it should be (Clinger 1990,
/// "How to Read Floating Point Numbers Accurately").
fn number(text: &[u8]) -> Option<f64> {
    let (negative, text) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        _ => (false, text),
    };
    let (whole, fraction) = match text.iter().position(|&byte| byte == b'.') {
        Some(point) => (&text[..point], &text[point + 1..]),
        None => (text, &text[..0]),
    };
    let length = whole.len() + fraction.len();
    if length == 0 || length > NUMBER_DIGITS_MAX {
        return None;
    }
    // Fifteen digits are below 2^53.
    let mantissa = (digits(whole)? * POWERS[fraction.len()] as i64 + digits(fraction)?) as f64;
    let value = mantissa / POWERS[fraction.len()];
    Some(if negative { -value } else { value })
}

/// `YYYY-MM-DD HH:MM:SS` in seconds since 1970.
fn date(text: &[u8]) -> Option<i64> {
    let &[y0, y1, y2, y3, b'-', m0, m1, b'-', d0, d1, b' ', h0, h1, b':', n0, n1, b':', s0, s1] = text else {
        return None;
    };
    let (year, month, day) = (digits(&[y0, y1, y2, y3])?, digits(&[m0, m1])?, digits(&[d0, d1])?);
    let (hour, minute, second) = (digits(&[h0, h1])?, digits(&[n0, n1])?, digits(&[s0, s1])?);
    let valid = is_day(year, month, day) && hour < 24 && minute < 60 && second < 60;
    valid.then(|| days_from_civil(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shoal_proto::v1::{TimeRule, TimeUnit, ValueRules};

    use super::*;
    use crate::{parse::LineParser, rejection::Reason};

    fn rules(kind: IdKind) -> Rules {
        Rules { user_id_kind: kind, item_id_kind: kind, rating_min: 0.0, rating_max: 5.0 }
    }

    fn file(format: SourceFormat, delimiter: u8) -> SourceFile {
        SourceFile {
            content: FileContent::Ratings.into(),
            format: format.into(),
            columns: vec![3, 1, 0, 4],
            delimiter: u32::from(delimiter),
            column_count: 6,
            ..SourceFile::default()
        }
    }

    /// The line read both ways.
    fn read(file: &SourceFile, kind: IdKind, line: &str) -> (Option<String>, Result<String, Reason>) {
        let plain = PlainLines::new(file, rules(kind), &Values::new(file)).unwrap();
        let fast = plain.read(line.as_bytes()).map(|row| format!("{row:?}"));
        let slow = LineParser::the_long_way(file, rules(kind));
        let mut row = String::new();
        let outcome = slow.parse(line.as_bytes(), |found| row = format!("{found:?}"));
        (fast, outcome.map(|_| row))
    }

    proptest! {
        #[test]
        fn what_is_plain_reads_as_it_does_the_long_way(
            fields in prop::collection::vec(
                prop_oneof![
                    "-?[0-9]{1,19}",
                    "-?[0-9]{0,8}\\.?[0-9]{0,9}",
                    "[0-9]{4}-[01][0-9]-[0-3][0-9] [0-2][0-9]:[0-6][0-9]:[0-6][0-9]",
                    "\"[0-9a-z ,]{0,4}\"?\"?",
                    "[ a-z\u{e9}]{0,4}",
                    "(NULL|nan|0[0-9]{1,3}|-0|1\\.0)",
                ],
                3..9,
            ),
            format in prop::sample::select(vec![(SourceFormat::Csv, ','), (SourceFormat::Csv, ';'), (SourceFormat::Tab, '\t')]),
            text: bool,
            genome: bool,
            milliseconds: bool,
        ) {
            let line = fields.join(&format.1.to_string());
            let kind = if text { IdKind::Text } else { IdKind::Integer };
            let mut file = file(format.0, format.1 as u8);
            if milliseconds {
                let time = TimeRule { unit: TimeUnit::Milliseconds.into(), ..TimeRule::default() };
                file.values = Some(ValueRules { time: Some(time), ..ValueRules::default() });
            }
            if genome {
                file.set_content(FileContent::GenomeScores);
                file.columns = vec![1, 2, 0];
            }
            let (fast, slow) = read(&file, kind, &line);
            if let Some(fast) = fast {
                prop_assert_eq!(Ok(fast), slow, "{}", line);
            }
        }
    }

    #[test]
    fn ordinary_lines_are_plain() {
        let text = |line: &str| read(&file(SourceFormat::Csv, b','), IdKind::Text, line);
        let integer = |format, line: &str| read(&file(format, b','), IdKind::Integer, line);
        let mut scores = file(SourceFormat::Csv, b',');
        scores.set_content(FileContent::GenomeScores);
        for (fast, slow) in [
            integer(SourceFormat::Csv, "3.5,22,x,-1,964982703"),
            integer(SourceFormat::Csv, "\"3.5\",\"22\",\"x, y\",\"1\",\"2004-02-29 23:59:59\",more"),
            integer(SourceFormat::Tab, "5\t22\t\t1\t0"),
            integer(SourceFormat::DoubleColon, "5::22::::1::978300760"),
            text("4.25,tt-22,,ann lee,964982703"),
            read(&SourceFile { columns: vec![0, 1, 2], ..scores }, IdKind::Integer, "1,1128,0.02500"),
        ] {
            assert_eq!(fast.ok_or(Reason::OpenQuote), slow);
            assert!(slow.is_ok());
        }
    }
}
