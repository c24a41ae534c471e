//! Whether a file's first row names its columns, and what columns are that have no names.

use std::collections::HashSet;

use shoal_proto::v1::{DatasetSource, FileContent, HeaderChoice, TimeUnit};

use super::{columns::Columns, sample::Sample};
use crate::{
    fields::date_and_time,
    values::{Values, unit_of, whole_number},
};

/// Rows below a header that have to be those of a table.
const TABLE_ROWS: usize = 50;

/// Characters of a column's name that is told.
const NAME_CHARS_MAX: usize = 64;

/// Numbers from here on may be times: the seconds of 1973. Ratings are far below.
const TIME_LIKE_MIN: i64 = 100_000_000;

/// What the fields of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    /// All of them dates, or numbers as large as times are.
    Times,
    /// All of them numbers, and not of times or rows.
    Numbers,
    /// Numbers that count the rows.
    RowNumbers,
    /// Anything else, or nothing.
    Other,
}

fn is_number(field: &str, values: &Values) -> bool {
    // Whole floats keep their point where ratings have commas.
    whole_number(field).is_some() || values.rating(field).is_ok_and(f64::is_finite)
}

/// What the first fields of a column are.
pub(super) fn holds(sample: &Sample, header: bool, at: usize, values: &Values) -> Holds {
    let fields: Vec<&str> =
        sample.column(header, at).map(|(_, field)| field).filter(|field| !values.is_missing(field)).collect();
    if fields.is_empty() {
        return Holds::Other;
    }
    if fields.iter().all(|field| date_and_time(field).is_some()) {
        return Holds::Times;
    }
    if !fields.iter().all(|field| is_number(field, values)) {
        return Holds::Other;
    }
    let mut whole: Vec<i64> = fields.iter().filter_map(|field| field.parse().ok()).collect();
    let counts = |pair: &[i64]| pair[0].checked_add(1) == Some(pair[1]);
    if whole.len() == fields.len() && whole.len() > 2 && whole.windows(2).all(counts) {
        return Holds::RowNumbers;
    }
    let middle = whole.len() / 2;
    let is_time = whole.len() * 2 > fields.len()
        && (*whole.select_nth_unstable(middle).1 >= TIME_LIKE_MIN
            || unit_of(&mut whole) != TimeUnit::Seconds);
    if is_time { Holds::Times } else { Holds::Numbers }
}

/// Whether the first row is a header: as was said, else unless it is plainly data. That it is when it has none of the
/// names that are looked for, and in some column a number or a date as the rows after it have.
pub(super) fn has_header(
    source: &DatasetSource,
    content: FileContent,
    sample: &Sample,
    names: &Columns<'_>,
    values: &Values,
) -> bool {
    if content != FileContent::Ratings {
        return true;
    }
    match source.header() {
        HeaderChoice::Present => return true,
        HeaderChoice::Absent => return false,
        HeaderChoice::Unspecified if names.knows_any(source, content) => return true,
        HeaderChoice::Unspecified => {}
    }
    let is_data =
        |at| matches!(holds(sample, false, at, values), Holds::Times | Holds::Numbers | Holds::RowNumbers);
    !(0..names.count()).any(is_data)
}

/// Whether a file is plainly a table with names above its columns, so that an error may say the names. Anybody can ask for
/// any file: what is no table, such as keys or accounts, is not to be given away by its first line.
pub(super) fn is_plainly_a_table(sample: &Sample) -> bool {
    let Some((header, rows)) = sample.rows.split_first() else { return false };
    let (names, rows) = (&header.fields, &rows[..rows.len().min(TABLE_ROWS)]);
    let is_name = |name: &String| {
        name.chars().count() <= NAME_CHARS_MAX
            && name.chars().any(char::is_alphabetic)
            && name.chars().all(|c| c.is_alphanumeric() || " _-.()".contains(c))
    };
    let is_number = |field: &str| field.replace(',', ".").parse::<f64>().is_ok();
    names.len() >= 3
        && names.iter().all(is_name)
        && names.iter().collect::<HashSet<_>>().len() == names.len()
        && !rows.is_empty()
        && rows.iter().all(|row| row.fields.len() == names.len())
        && (0..names.len()).any(|at| rows.iter().all(|row| is_number(&row.fields[at])))
}

/// The columns of ratings without names, by position from 0: user, item, then a rating, a time, or both in this order.
/// `None` when they hold something else.
pub(super) fn by_position(sample: &Sample, count: usize, values: &Values) -> Option<[i32; 4]> {
    let held = |at| holds(sample, false, at, values);
    let is_number = |at| matches!(held(at), Holds::Numbers | Holds::RowNumbers);
    match count {
        2 => Some([0, 1, -1, -1]),
        3 if held(2) == Holds::Times => Some([0, 1, -1, 2]),
        3 if is_number(2) => Some([0, 1, 2, -1]),
        // Times of tests and of simulations begin at 0.
        4 if is_number(2) && held(3) != Holds::Other => Some([0, 1, 2, 3]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_of_tables_and_of_nothing_else() {
        let is_told = |text: &str| is_plainly_a_table(&Sample::read(text.as_bytes(), true, None));
        assert!(is_told("when;much;what;who\n9;4.5;12;ann\n"));
        assert!(is_told("wer,was,Wertung (0-5)\na,b,3\nc,d,\"4,5\"\n"));
        for text in [
            "AWS_SECRET_ACCESS_KEY=wJalr\nX=1\n",
            "secret,key,token\n",
            "A=1,B=2,C=3\n4,5,6\n",
            "user,password\nann,1\n",
            "dear bob,the code,is this\nyours,truly,ann\n",
            "root::0:0::/root::/bin/sh\nbob::1:1::/home/bob::/bin/sh\n",
            "-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----\n",
            "a,b,c\n1,2,3\n4,5\n",
            "",
        ] {
            assert!(!is_told(text), "{text}");
        }
    }
}
