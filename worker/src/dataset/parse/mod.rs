//! Lines of a source's file as rows, with every line that is not one named and counted. Pure.
//!
//! A byte range stands for the rows that *start* inside it; [`RowReader`] is given the bytes from there
//! on in pieces of any size. Most lines of a ratings file are plain, and are read in one go without
//! allocating ([`plain`]); whatever is not plain goes the long way ([`LineParser`]), which also
//! knows what is wrong with it.

mod line;
mod plain;

use std::ops::Range;

use shoal_common::ids::IdKind;
use shoal_proto::v1::{ImportReport, RejectedLine, RejectionCount, SourceFile};

use self::line::{RowEnd, quoted_row_end};
use super::row::Row;

pub use line::{LineParser, split_line, trim_line};

/// Rejected lines kept as examples, per reason and range.
const EXAMPLES_MAX: usize = 3;

/// A row that is longer than this is none: a file that is no text has such.
const ROW_BYTES_MAX: usize = 1024 * 1024;

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

/// A relevance as it is kept.
fn relevance(value: f64) -> Result<f32, Reason> {
    if (0.0..=1.0).contains(&value) { Ok(value as f32) } else { Err(Reason::BadRelevance) }
}

impl Rules {
    /// The rating as it is kept.
    ///
    /// # Errors
    /// When it is not a number or not one that is accepted.
    pub fn accept(&self, rating: f64) -> Result<f32, Reason> {
        if rating.is_nan() {
            return Err(Reason::RatingNotNumber);
        }
        let any = self.rating_min == 0.0 && self.rating_max == 0.0;
        let kept = rating as f32;
        let in_range = any || (self.rating_min..=self.rating_max).contains(&rating);
        if in_range && kept.is_finite() { Ok(kept) } else { Err(Reason::RatingOutOfRange) }
    }
}

/// Why a row is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum Reason {
    #[error("a quoted field is not closed")]
    OpenQuote,
    #[error("the line is longer than 1 MiB")]
    TooLong,
    #[error("too few columns")]
    TooFewColumns,
    #[error("the user id is empty")]
    EmptyUser,
    #[error("the movie id is empty")]
    EmptyItem,
    #[error("the user id is not a whole number as the file's first ids are (--user-ids text takes any)")]
    UserNotInteger,
    #[error("the movie id is not a whole number as the file's first ids are (--item-ids text takes any)")]
    ItemNotInteger,
    #[error("the rating is not a number")]
    RatingNotNumber,
    #[error("the rating is out of range")]
    RatingOutOfRange,
    #[error("the timestamp is neither seconds nor a date")]
    BadTimestamp,
    #[error("the tag is empty")]
    EmptyTag,
    #[error("the tag's number is not a whole number")]
    TagNotNumber,
    #[error("the relevance is not a number from 0 to 1")]
    BadRelevance,
}

/// Counts rows, and why some were not taken.
#[derive(Debug)]
pub struct Tally {
    /// How the file is called in the report.
    name: String,
    report: ImportReport,
}

impl Tally {
    /// Nothing counted yet.
    #[must_use]
    pub fn new(name: String) -> Self {
        Self { name, report: ImportReport::default() }
    }

    /// Counts a row; `line` is its number, from 1.
    pub fn count(&mut self, outcome: Result<(), Reason>, line: u64) {
        self.report.rows_read += 1;
        match outcome {
            Ok(()) => self.report.rows_accepted += 1,
            Err(reason) => self.reject(reason, line),
        }
    }

    fn reject(&mut self, reason: Reason, line: u64) {
        let reason = reason.to_string();
        let rejections = &mut self.report.rejections;
        let at = rejections.iter().position(|count| count.reason == reason).unwrap_or_else(|| {
            rejections.push(RejectionCount { reason: reason.clone(), ..RejectionCount::default() });
            rejections.len() - 1
        });
        let count = &mut rejections[at];
        count.count += 1;
        if count.examples.len() < EXAMPLES_MAX {
            count.examples.push(RejectedLine { file: self.name.clone(), line, reason });
        }
    }

    /// What was counted.
    #[must_use]
    pub fn finish(self) -> ImportReport {
        self.report
    }
}

/// Reads the rows that start in a byte range of a file.
#[derive(Debug)]
pub struct RowReader {
    parser: LineParser,
    tally: Tally,
    lines: u64,
    open_quotes: u64,
    /// Bytes that were taken and not yet read: less than a row.
    rest: Vec<u8>,
    /// File position of the first byte of `rest`.
    position: u64,
    /// Rows that start here or later are not this reader's.
    end: u64,
    /// Whether bytes up to the next line end are passed over: the end of a row that started before the range, or of a
    /// line that is too long.
    skips: bool,
}

impl RowReader {
    /// A reader of one range of `file`, which the report calls `name`.
    #[must_use]
    pub fn new(file: &SourceFile, rules: Rules, name: String, range: Range<u64>) -> Self {
        let begin = range.start.max(file.data_offset);
        // The first data row starts where the header ends, whatever byte stands before; any other where a line ends,
        // which the byte before the range may do.
        let skips = begin != file.data_offset;
        Self {
            parser: LineParser::new(file, rules),
            tally: Tally::new(name),
            lines: 0,
            open_quotes: 0,
            rest: Vec::new(),
            position: begin - u64::from(skips),
            end: range.end.min(file.length_bytes),
            skips,
        }
    }

    /// Where in the file the bytes are wanted from next; `None` when every row of the range is read.
    #[must_use]
    pub fn wants(&self) -> Option<u64> {
        (self.position < self.end).then_some(self.position + self.rest.len() as u64)
    }

    /// Takes the next bytes of the file, `last` when no others follow. Rows go to `on_row` with the positions of
    /// their first bytes.
    pub fn take(&mut self, bytes: &[u8], last: bool, mut on_row: impl FnMut(Row<'_>, u64)) {
        let mut rest = std::mem::take(&mut self.rest);
        rest.extend_from_slice(bytes);
        let mut begin = 0;
        while begin < rest.len() && self.position + (begin as u64) < self.end {
            let Some(length) = self.read_one(&rest[begin..], last, self.position + begin as u64, &mut on_row)
            else {
                break;
            };
            begin += length;
        }
        rest.drain(..begin);
        self.position += begin as u64;
        if last {
            // What is left started a row that another reader has, or none.
            self.position = self.position.max(self.end);
            rest.clear();
        }
        self.rest = rest;
    }

    /// Reads the row that `bytes` begin with, and says how long it is; `None` when its end is not there yet.
    fn read_one(
        &mut self,
        bytes: &[u8],
        last: bool,
        position: u64,
        on_row: &mut impl FnMut(Row<'_>, u64),
    ) -> Option<usize> {
        let newline = memchr::memchr(b'\n', bytes);
        let line_end = match newline {
            Some(newline) => newline,
            None if last => bytes.len(),
            None if self.skips => return Some(bytes.len()),
            None if bytes.len() < ROW_BYTES_MAX => return None,
            None => {
                self.lines += 1;
                self.tally.count(Err(Reason::TooLong), self.lines);
                self.skips = true;
                return Some(bytes.len());
            }
        };
        let length = (line_end + 1).min(bytes.len());
        if self.skips {
            self.skips = false;
            return Some(length);
        }
        let line = trim_line(&bytes[..line_end]);
        if line.iter().all(u8::is_ascii_whitespace) {
            self.lines += 1;
            return Some(length);
        }
        let mut outcome = self.parser.parse(line, |row| on_row(row, position));
        if outcome == Err(Reason::OpenQuote) && self.parser.goes_over_lines() {
            match quoted_row_end(bytes, self.parser.delimiter(), last) {
                RowEnd::At(end) => {
                    let whole = trim_line(&bytes[..end]);
                    if self.parser.parse_over_lines(whole, |row| on_row(row, position)) {
                        self.tally.count(Ok(()), self.lines + 1);
                        self.lines += 1 + memchr::memchr_iter(b'\n', whole).count() as u64;
                        return Some((end + 1).min(bytes.len()));
                    }
                }
                RowEnd::Open if !last && bytes.len() < ROW_BYTES_MAX => return None,
                RowEnd::Open | RowEnd::Broken => {}
            }
            // The quote was none: only its line is lost.
            outcome = Err(Reason::OpenQuote);
        }
        self.open_quotes += u64::from(outcome == Err(Reason::OpenQuote));
        self.lines += 1;
        self.tally.count(outcome, self.lines);
        Some(length)
    }

    /// Lines so far that open a quote and do not close it.
    #[must_use]
    pub fn open_quotes(&self) -> u64 {
        self.open_quotes
    }

    /// The report, its line numbers counted from the range's first row, and how many lines there were.
    #[must_use]
    pub fn finish(self) -> (ImportReport, u64) {
        (self.tally.finish(), self.lines)
    }
}
