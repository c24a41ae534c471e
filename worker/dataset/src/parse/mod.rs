//! Lines of a source's file as rows, with every line that is not one named and counted. Pure.
//!
//! A byte range stands for the rows that *start* inside it; [`RowReader`] is given the bytes from there
//! on in pieces of any size. Most lines of a ratings file are nothing but numbers, and are read where they lie
//! (`numeric`), or else plain, and are read in one go without allocating (`plain`); whatever is not plain
//! goes the long way ([`LineParser`]), which also knows what is wrong with it.

mod line;
mod numeric;
mod plain;

use std::ops::Range;

pub use line::{LineParser, trim_line};
pub(super) use line::{RowEnd, quoted_row_end};
use shoal_common::ids::IdKind;
use shoal_format::row::Row;
use shoal_proto::v1::{ImportReport, RejectedLine, RejectionCount, SourceFile};

use super::{rejection::Reason, values::RATING_MAX};

/// Rejected lines kept as examples, per reason and range.
const EXAMPLES_MAX: usize = 3;

/// The longest row that is read. A longer one is rejected: it comes from a file that is not text.
const ROW_BYTES_MAX: usize = 1024 * 1024;

/// What ids and ratings have to be.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// Kind of user ids.
    pub user_id_kind: IdKind,
    /// Kind of item ids.
    pub item_id_kind: IdKind,
    /// The lowest rating that is accepted, on the file's scale.
    pub rating_min: f64,
    /// Highest rating accepted; with both 0, any that is plausible.
    pub rating_max: f64,
}

/// A relevance as it is kept.
pub(super) fn relevance(value: f64) -> Result<f32, Reason> {
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
        let kept = rating as f32;
        if self.rating_min == 0.0 && self.rating_max == 0.0 {
            return if rating.abs() <= RATING_MAX { Ok(kept) } else { Err(Reason::ImplausibleRating) };
        }
        let in_range = (self.rating_min..=self.rating_max).contains(&rating);
        if in_range && kept.is_finite() { Ok(kept) } else { Err(Reason::RatingOutOfRange) }
    }
}

/// How a row was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// With all that its file has.
    Whole,
    /// Without a time, though its file has times.
    WithoutTime,
}

/// Counts rows, and why some were not taken.
#[derive(Debug)]
pub struct Tally {
    /// How the file is called in the report.
    name: String,
    report: ImportReport,
}

impl Tally {
    /// A tally of the file `name` that has counted no row.
    #[must_use]
    pub fn new(name: String) -> Self {
        Self { name, report: ImportReport::default() }
    }

    /// Counts a row's text if it is not UTF-8.
    fn look_at(&mut self, text: &[u8]) {
        self.report.rows_not_utf8 += u64::from(!text.is_ascii() && std::str::from_utf8(text).is_err());
    }

    /// Counts a row; `line` is its number, from 1.
    pub fn count(&mut self, outcome: Result<Taken, Reason>, line: u64) {
        self.report.rows_read += 1;
        match outcome {
            Ok(taken) => {
                self.report.rows_accepted += 1;
                self.report.rows_without_time += u64::from(taken == Taken::WithoutTime);
            }
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

    /// Closes the tally and gives the file's report.
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
        let (mut rest, mut bytes) = (std::mem::take(&mut self.rest), bytes);
        // Only the row that was begun is put together; the others are read where they lie.
        while !rest.is_empty() && self.position < self.end && (last || !bytes.is_empty()) {
            let more = match memchr::memchr(b'\n', bytes) {
                Some(newline) if !self.parser.goes_over_lines() => newline + 1,
                _ => bytes.len(),
            };
            rest.extend_from_slice(&bytes[..more]);
            bytes = &bytes[more..];
            let read = self.read_rows(&rest, last && bytes.is_empty(), &mut on_row);
            rest.drain(..read);
        }
        if rest.is_empty() {
            let read = self.read_rows(bytes, last, &mut on_row);
            rest.extend_from_slice(&bytes[read..]);
        }
        if last {
            // What is left started a row that another reader has, or none.
            self.position = self.position.max(self.end);
            rest.clear();
        }
        self.rest = rest;
    }

    /// Reads the rows that are whole in `bytes` and the range's, and says how many bytes that were.
    fn read_rows(&mut self, bytes: &[u8], last: bool, on_row: &mut impl FnMut(Row<'_>, u64)) -> usize {
        let mut begin = 0;
        while begin < bytes.len() && self.position < self.end {
            let Some(length) = self.read_one(&bytes[begin..], last, self.position, on_row) else {
                break;
            };
            begin += length;
            self.position += length as u64;
        }
        begin
    }

    /// Reads the row that `bytes` begin with, and says how long it is; `None` when its end is not there yet.
    fn read_one(
        &mut self,
        bytes: &[u8],
        last: bool,
        position: u64,
        on_row: &mut impl FnMut(Row<'_>, u64),
    ) -> Option<usize> {
        if !self.skips
            && let Some(length) = self.parser.parse_numbers(bytes, |row| on_row(row, position))
        {
            self.lines += 1;
            self.tally.count(Ok(Taken::Whole), self.lines);
            return Some(length);
        }
        let newline = memchr::memchr(b'\n', bytes);
        let line_end = match newline {
            Some(newline) => newline,
            None if last => bytes.len(),
            None if self.skips => return Some(bytes.len()),
            None if bytes.len() < ROW_BYTES_MAX => return None,
            None => bytes.len(),
        };
        let length = (line_end + 1).min(bytes.len());
        if self.skips {
            self.skips = false;
            return Some(length);
        }
        if line_end >= ROW_BYTES_MAX {
            self.lines += 1;
            self.tally.count(Err(Reason::TooLong), self.lines);
            self.skips = newline.is_none();
            return Some(length);
        }
        let line = trim_line(&bytes[..line_end]);
        if line.iter().all(u8::is_ascii_whitespace) {
            self.lines += 1;
            return Some(length);
        }
        self.tally.look_at(line);
        let mut outcome = self.parser.parse(line, |row| on_row(row, position));
        if outcome == Err(Reason::OpenQuote) && self.parser.goes_over_lines() {
            match quoted_row_end(bytes, self.parser.delimiter(), last) {
                RowEnd::At(end) if end < ROW_BYTES_MAX => {
                    let whole = trim_line(&bytes[..end]);
                    if let Some(taken) = self.parser.parse_over_lines(whole, |row| on_row(row, position)) {
                        self.tally.count(Ok(taken), self.lines + 1);
                        self.lines += 1 + memchr::memchr_iter(b'\n', whole).count() as u64;
                        return Some((end + 1).min(bytes.len()));
                    }
                }
                RowEnd::Open if !last && bytes.len() < ROW_BYTES_MAX => return None,
                RowEnd::At(_) | RowEnd::Open | RowEnd::Broken => {}
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use shoal_common::ids::EntityId;
    use shoal_format::row::ItemRow;
    use shoal_proto::v1::{FileContent, SourceFormat};

    use super::*;

    const RULES: Rules = Rules {
        user_id_kind: IdKind::Integer,
        item_id_kind: IdKind::Integer,
        rating_min: 0.5,
        rating_max: 5.0,
    };

    fn file(content: FileContent, columns: &[i32]) -> SourceFile {
        SourceFile {
            content: content.into(),
            format: SourceFormat::Csv.into(),
            columns: columns.to_vec(),
            column_count: if content == FileContent::Items { 3 } else { 4 },
            delimiter: u32::from(b','),
            length_bytes: u64::MAX,
            ..SourceFile::default()
        }
    }

    /// Everything that is read of a range, given in pieces that end at these places.
    fn read(
        file: &SourceFile,
        text: &[u8],
        range: Range<u64>,
        ends: &[usize],
    ) -> (Vec<String>, ImportReport, u64) {
        let mut reader = RowReader::new(file, RULES, "f".into(), range);
        let mut rows = Vec::new();
        while let Some(position) = reader.wants() {
            let begin = position as usize;
            let end = ends.iter().copied().find(|end| *end > begin).unwrap_or(text.len());
            reader.take(&text[begin..end], end == text.len(), |row, at| rows.push(format!("{at} {row:?}")));
        }
        let (report, lines) = reader.finish();
        (rows, report, lines)
    }

    proptest! {
        #[test]
        fn pieces_and_ranges_do_not_change_what_is_read(
            lines in prop::collection::vec("([0-9]{1,2},)?[\"a,0-9 ]{0,6}(\"\")?(,[a-c|]{0,3})?", 0..12),
            crlf: bool,
            last_newline: bool,
            multiline: bool,
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let line_end = if crlf { "\r\n" } else { "\n" };
            let mut text = lines.join(line_end);
            if last_newline {
                text.push_str(line_end);
            }
            let file = SourceFile { multiline, length_bytes: text.len() as u64, ..file(FileContent::Items, &[0, 1, 2]) };
            let text = text.as_bytes();
            let mut bounds: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            bounds.extend([0, text.len()]);
            bounds.sort_unstable();
            let whole = read(&file, text, 0..text.len() as u64, &[]);
            prop_assert_eq!(&read(&file, text, 0..text.len() as u64, &bounds), &whole);
            if !multiline {
                let (mut rows, mut lines, mut counted) = (Vec::new(), 0, 0);
                for range in bounds.windows(2) {
                    let part = read(&file, text, range[0] as u64..range[1] as u64, &[]);
                    rows.extend(part.0);
                    counted += part.1.rows_read;
                    lines += part.2;
                }
                prop_assert_eq!((rows, counted, lines), (whole.0, whole.1.rows_read, whole.2));
            }
        }
    }

    #[test]
    fn rejected_lines_are_counted_and_numbered() {
        let file = file(FileContent::Ratings, &[0, 1, 2, 3]);
        let text = b"1,2,3.5,9\r\n\n1,2,x,3\n7\n3,4,5,6";
        let (rows, report, lines) = read(&file, text, 0..text.len() as u64, &[]);
        assert_eq!((report.rows_read, report.rows_accepted, lines), (4, 2, 5));
        assert!(rows[0].starts_with("0 ") && rows[1].starts_with("22 "));
        let rejected: Vec<u64> = report.rejections.iter().map(|count| count.examples[0].line).collect();
        assert_eq!(rejected, [3, 4]);
    }

    #[test]
    fn every_bad_line_has_its_reason() {
        let parse = |content, columns: &[i32], line: &str| {
            LineParser::new(&file(content, columns), RULES).parse(line.as_bytes(), |_| ())
        };
        for (line, reason) in [
            ("1,2", Reason::TooFewColumns),
            ("x,2,3,4", Reason::UserNotInteger),
            ("1,x,3,4", Reason::ItemNotInteger),
            (",2,3,4", Reason::EmptyUser),
            ("1,,3,4", Reason::EmptyItem),
            ("1,2,NaN,4", Reason::MissingRating),
            ("1,2,4,5,964982703", Reason::TooManyFields),
            ("null,2,3,4", Reason::MissingUser),
            ("1,07,3,4", Reason::ItemWouldChange),
            ("1,2,\"3,5\",4", Reason::RatingHasComma),
            ("1,2,3,-1", Reason::ImplausibleTime),
            ("1,2,3,9223372036854775807", Reason::ImplausibleTime),
            ("1,2,good,4", Reason::RatingNotNumber),
            ("1,2,inf,4", Reason::RatingOutOfRange),
            ("1,2,7,4", Reason::RatingOutOfRange),
            ("1,2,3,then", Reason::BadTimestamp),
            ("1,2,\"3,4", Reason::OpenQuote),
        ] {
            assert_eq!(parse(FileContent::Ratings, &[0, 1, 2, 3], line), Err(reason), "{line}");
        }
        for (line, reason) in [("1,2, ,4", Reason::EmptyTag), ("1,2,t,then", Reason::BadTimestamp)] {
            assert_eq!(parse(FileContent::Tags, &[0, 1, 2, 3], line), Err(reason), "{line}");
        }
        for (line, reason) in [
            ("1,x,0.5", Reason::TagNotNumber),
            ("1,-2,0.5", Reason::TagNotNumber),
            ("1,2,1.5", Reason::BadRelevance),
            ("1,2,NaN", Reason::BadRelevance),
        ] {
            assert_eq!(parse(FileContent::GenomeScores, &[0, 1, 2], line), Err(reason), "{line}");
        }
    }

    #[test]
    fn movies_of_every_layout() {
        let read = |file: &SourceFile, line: &[u8]| {
            let mut found = None;
            let outcome = LineParser::new(file, RULES).parse(line, |row| {
                if let Row::Item(ItemRow { item, title, year, genres }) = row {
                    found = Some((item.to_entity(), title.into_owned(), year, genres));
                }
            });
            outcome.map(|_| found.unwrap())
        };
        let movie = |title: &str, year, genres: &str| {
            Ok((EntityId::Integer(11), title.to_owned(), year, genres.to_owned()))
        };
        let csv = file(FileContent::Items, &[0, 1, 2]);
        assert_eq!(
            read(&csv, b"11,\"American President, The (1995)\",Comedy|Drama"),
            movie("American President, The (1995)", Some(1995), "Comedy|Drama"),
        );
        let dat = SourceFile { format: SourceFormat::DoubleColon.into(), column_count: 0, ..csv.clone() };
        assert_eq!(
            read(&dat, b"11::Mis\xe9rables, Les (1995)::Drama|Musical"),
            movie("Misérables, Les (1995)", Some(1995), "Drama|Musical"),
        );
        assert_eq!(read(&dat, b"11::2::1 (1995)::Drama"), movie("2::1 (1995)", Some(1995), "Drama"));
        let item =
            SourceFile { format: SourceFormat::Pipe.into(), columns: vec![0, 1, 5], column_count: 0, ..csv };
        let line = b"11|Seven (Se7en) (1995)|01-Jan-1995||http://x|0|0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|1|0|0";
        assert_eq!(read(&item, line), movie("Seven (Se7en) (1995)", Some(1995), "Crime|Thriller"));
    }

    #[test]
    fn a_row_over_lines_may_end_with_a_quote_and_a_carriage_return() {
        let text = b"1,\"Long\r\nTitle (1999)\",\"Comedy\"\r\n2,B (2001),Drama\r\n";
        let length_bytes = text.len() as u64;
        let file = SourceFile { multiline: true, length_bytes, ..file(FileContent::Items, &[0, 1, 2]) };
        let (rows, report, lines) = read(&file, text, 0..length_bytes, &[]);
        assert_eq!((report.rows_read, report.rows_accepted, lines), (2, 2, 3));
        assert!(rows[0].contains("Long\\r\\nTitle") && rows[0].contains("\"Comedy\""), "{}", rows[0]);
    }

    #[test]
    fn a_scale_may_begin_or_end_at_zero() {
        let accepts = |rating_min, rating_max, rating| {
            Rules { rating_min, rating_max, ..RULES }.accept(rating).map(f64::from)
        };
        for (min, max, inside, outside) in [(0.0, 10.0, 7.5, 10.5), (-5.0, 0.0, -2.0, 1.0)] {
            assert_eq!(accepts(min, max, inside), Ok(inside));
            assert_eq!(accepts(min, max, outside), Err(Reason::RatingOutOfRange));
        }
        // Without a scale whatever is plausible is one.
        assert_eq!(accepts(0.0, 0.0, -40.0), Ok(-40.0));
        assert_eq!(accepts(0.0, 0.0, 2e9), Err(Reason::ImplausibleRating));
    }
}
