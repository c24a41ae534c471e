//! Lines of a source's file as records, with every line that is not one named and counted. Pure.
//!
//! A byte range stands for the rows that *start* inside it
//! ([`SourceFolder::read_rows`](super::source::SourceFolder::read_rows)); [`RowReader`] is given whole rows.

use std::borrow::Cow;

use shoal_common::ids::{EntityId, IdKind};
use shoal_proto::v1::{FileContent, ImportReport, RejectedLine, RejectionCount, SourceFile, SourceFormat};

use super::fields;

/// Rejected lines kept as examples, per reason and range.
const EXAMPLES_MAX: usize = 3;

/// One rating as read.
#[derive(Debug, Clone, PartialEq)]
pub struct Rating {
    /// Who.
    pub user: EntityId,
    /// What.
    pub item: EntityId,
    /// How good.
    pub rating: f32,
    /// Seconds since the epoch; 0 when the source has none.
    pub timestamp: i64,
}

/// One row of a movies file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movie {
    /// The item.
    pub item: EntityId,
    /// As the file has it.
    pub title: String,
    /// From the end of the title.
    pub year: Option<i32>,
    /// Separated by `|`.
    pub genres: String,
}

/// One record of any content.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// From a ratings file.
    Rating(Rating),
    /// From a movies file.
    Movie(Movie),
}

/// What ids and ratings have to be.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Kind of user ids.
    pub user_id_kind: IdKind,
    /// Kind of item ids.
    pub item_id_kind: IdKind,
    /// Lowest rating accepted.
    pub rating_min: f64,
    /// Highest rating accepted; with both 0, any finite one is.
    pub rating_max: f64,
}

/// Why a line is no record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Reason {
    #[error("a quoted field is not closed")]
    OpenQuote,
    #[error("too few columns")]
    TooFewColumns,
    #[error("the user id is empty")]
    EmptyUser,
    #[error("the movie id is empty")]
    EmptyItem,
    #[error("the user id is not a whole number as the file's first ids are")]
    UserNotInteger,
    #[error("the movie id is not a whole number as the file's first ids are")]
    ItemNotInteger,
    #[error("the rating is not a number")]
    RatingNotNumber,
    #[error("the rating is out of range")]
    RatingOutOfRange,
    #[error("the timestamp is neither seconds nor a date")]
    BadTimestamp,
}

/// Splits a line of this file; `None` when a quote is left open.
#[must_use]
pub fn split_line<'a>(file: &SourceFile, line: &'a [u8]) -> Option<Vec<Cow<'a, [u8]>>> {
    match file.format() {
        SourceFormat::DoubleColon => Some(fields::split_double(line, b"::")),
        SourceFormat::Tab => Some(line.split(|&byte| byte == b'\t').map(Cow::Borrowed).collect()),
        SourceFormat::Pipe => Some(line.split(|&byte| byte == b'|').map(Cow::Borrowed).collect()),
        _ => fields::split_quoted(line, file.delimiter as u8),
    }
}

/// A line without its carriage return.
#[must_use]
pub fn trim_line(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Genre flags of `u.item`, in column order from the sixth.
const FLAG_GENRES: [&str; 19] = [
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
];

/// Reads one line.
///
/// # Errors
/// Why it is no record.
pub fn parse_line(file: &SourceFile, rules: &Rules, line: &[u8]) -> Result<Record, Reason> {
    let fields = split_line(file, line).ok_or(Reason::OpenQuote)?;
    let column = |at: usize| -> Option<&[u8]> {
        let at = usize::try_from(*file.columns.get(at)?).ok()?;
        fields.get(at).map(Cow::as_ref)
    };
    let id = |at: usize, kind, empty, not_integer| {
        let text = fields::decode(column(at).ok_or(Reason::TooFewColumns)?);
        let text = text.trim();
        if text.is_empty() {
            return Err(empty);
        }
        EntityId::parse(text, kind).map_err(|_| not_integer)
    };
    let item = |at| id(at, rules.item_id_kind, Reason::EmptyItem, Reason::ItemNotInteger);
    if file.content() == FileContent::Movies {
        let title = fields::decode(column(1).ok_or(Reason::TooFewColumns)?).trim().to_owned();
        let genres = if file.format() == SourceFormat::Pipe {
            let flags = fields.iter().skip(5).zip(FLAG_GENRES.iter());
            let set = flags.filter(|(flag, _)| flag.as_ref() == b"1").map(|(_, genre)| *genre);
            set.filter(|genre| *genre != "unknown").collect::<Vec<_>>().join("|")
        } else {
            column(2).map_or_else(String::new, |field| fields::genres(&fields::decode(field)))
        };
        return Ok(Record::Movie(Movie { item: item(0)?, year: fields::title_year(&title), title, genres }));
    }
    let user = id(0, rules.user_id_kind, Reason::EmptyUser, Reason::UserNotInteger)?;
    let item = item(1)?;
    let rating = fields::number(column(2).ok_or(Reason::TooFewColumns)?).ok_or(Reason::RatingNotNumber)?;
    if rating.is_nan() {
        return Err(Reason::RatingNotNumber);
    }
    let any = rules.rating_min == 0.0 && rules.rating_max == 0.0;
    let in_range = if any {
        (rating as f32).is_finite()
    } else {
        (rules.rating_min..=rules.rating_max).contains(&rating)
    };
    if !in_range {
        return Err(Reason::RatingOutOfRange);
    }
    let timestamp = match file.columns.get(3) {
        Some(0..) => {
            let field = column(3).ok_or(Reason::TooFewColumns)?;
            fields::timestamp(field).ok_or(Reason::BadTimestamp)?
        }
        _ => 0,
    };
    Ok(Record::Rating(Rating { user, item, rating: rating as f32, timestamp }))
}

/// Reads the rows that start in a byte range.
#[derive(Debug)]
pub struct RowReader<'a> {
    file: &'a SourceFile,
    rules: &'a Rules,
    /// How the file is called in the report.
    name: &'a str,
    report: ImportReport,
    lines: u64,
}

impl<'a> RowReader<'a> {
    /// A reader of one range of `file`.
    #[must_use]
    pub fn new(file: &'a SourceFile, rules: &'a Rules, name: &'a str) -> Self {
        Self { file, rules, name, report: ImportReport::default(), lines: 0 }
    }

    /// Reads whole rows; `position` is the file position of the first byte. Records go to `on_record` with the
    /// position of their row.
    pub fn read(&mut self, rows: &[u8], position: u64, mut on_record: impl FnMut(Record, u64)) {
        let mut begin = 0;
        while begin < rows.len() {
            let end = memchr::memchr(b'\n', &rows[begin..]).map_or(rows.len(), |newline| begin + newline);
            let line = trim_line(&rows[begin..end]);
            self.lines += 1;
            if !line.iter().all(u8::is_ascii_whitespace) {
                self.report.rows_read += 1;
                match parse_line(self.file, self.rules, line) {
                    Ok(record) => {
                        self.report.rows_accepted += 1;
                        on_record(record, position + begin as u64);
                    }
                    Err(reason) => self.reject(reason),
                }
            }
            begin = end + 1;
        }
    }

    fn reject(&mut self, reason: Reason) {
        let reason = reason.to_string();
        let at =
            self.report.rejections.iter().position(|count| count.reason == reason).unwrap_or_else(|| {
                self.report
                    .rejections
                    .push(RejectionCount { reason: reason.clone(), ..RejectionCount::default() });
                self.report.rejections.len() - 1
            });
        let count = &mut self.report.rejections[at];
        count.count += 1;
        if count.examples.len() < EXAMPLES_MAX {
            count.examples.push(RejectedLine { file: self.name.to_owned(), line: self.lines, reason });
        }
    }

    /// The report, its line numbers counted from the range's first row, and how many lines there were.
    #[must_use]
    pub fn finish(self) -> (ImportReport, u64) {
        (self.report, self.lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: Rules = Rules {
        user_id_kind: IdKind::Integer,
        item_id_kind: IdKind::Integer,
        rating_min: 0.5,
        rating_max: 5.0,
    };

    fn csv_file(content: FileContent, columns: &[i32]) -> SourceFile {
        SourceFile {
            content: content.into(),
            format: SourceFormat::Csv.into(),
            columns: columns.to_vec(),
            delimiter: u32::from(b','),
            ..SourceFile::default()
        }
    }

    #[test]
    fn rejected_lines_are_counted_and_numbered() {
        let file = csv_file(FileContent::Ratings, &[0, 1, 2, 3]);
        let mut reader = RowReader::new(&file, &RULES, "f.csv");
        let mut records = Vec::new();
        reader.read(b"1,2,3.5,9\r\n\n1,2,x,3\n7\n3,4,5,6", 100, |record, at| records.push((record, at)));
        let (report, lines) = reader.finish();
        assert_eq!((report.rows_read, report.rows_accepted, lines), (4, 2, 5));
        assert_eq!(records.iter().map(|(_, at)| *at).collect::<Vec<_>>(), [100, 122]);
        let rejected: Vec<u64> = report.rejections.iter().map(|count| count.examples[0].line).collect();
        assert_eq!(rejected, [3, 4]);
    }

    #[test]
    fn every_bad_line_has_its_reason() {
        let file = csv_file(FileContent::Ratings, &[0, 1, 2, 3]);
        for (line, reason) in [
            ("1,2", Reason::TooFewColumns),
            ("x,2,3,4", Reason::UserNotInteger),
            ("1,x,3,4", Reason::ItemNotInteger),
            (",2,3,4", Reason::EmptyUser),
            ("1,,3,4", Reason::EmptyItem),
            ("1,2,NaN,4", Reason::RatingNotNumber),
            ("1,2,good,4", Reason::RatingNotNumber),
            ("1,2,inf,4", Reason::RatingOutOfRange),
            ("1,2,7,4", Reason::RatingOutOfRange),
            ("1,2,3,then", Reason::BadTimestamp),
            ("1,2,\"3,4", Reason::OpenQuote),
        ] {
            assert_eq!(parse_line(&file, &RULES, line.as_bytes()), Err(reason), "{line}");
        }
    }

    #[test]
    fn movies_of_every_layout() {
        let movie = |title: &str, year, genres: &str| {
            Record::Movie(Movie {
                item: EntityId::Integer(11),
                title: title.into(),
                year,
                genres: genres.into(),
            })
        };
        let csv = csv_file(FileContent::Movies, &[0, 1, 2]);
        assert_eq!(
            parse_line(&csv, &RULES, b"11,\"American President, The (1995)\",Comedy|Drama").unwrap(),
            movie("American President, The (1995)", Some(1995), "Comedy|Drama"),
        );
        let dat = SourceFile { format: SourceFormat::DoubleColon.into(), ..csv.clone() };
        assert_eq!(
            parse_line(&dat, &RULES, b"11::Mis\xe9rables, Les (1995)::Drama|Musical").unwrap(),
            movie("Misérables, Les (1995)", Some(1995), "Drama|Musical"),
        );
        let item = SourceFile { format: SourceFormat::Pipe.into(), columns: vec![0, 1, 5], ..csv };
        let line = b"11|Seven (Se7en) (1995)|01-Jan-1995||http://x|0|0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|1|0|0";
        assert_eq!(
            parse_line(&item, &RULES, line).unwrap(),
            movie("Seven (Se7en) (1995)", Some(1995), "Crime|Thriller")
        );
    }
}
