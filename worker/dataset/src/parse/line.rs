//! Any line, the long way: split into fields, each of them checked.

use std::borrow::Cow;

use shoal_format::row::{GenomeRow, GenomeTagRow, IdRef, ItemRow, RatingRow, Row, TagRow};
use shoal_proto::v1::{FileContent, Side, SourceFile, SourceFormat};

use super::{Rules, Taken, numeric::NumericLines, plain::PlainLines, relevance};
use crate::{fields, movielens::GENRES, rejection::Reason, values::Values};

/// Splits a line of this file; `None` when a quote is left open.
fn split_line<'a>(file: &SourceFile, line: &'a [u8]) -> Option<Vec<Cow<'a, [u8]>>> {
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

/// Where a row ends that may go on over line ends in quoted fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowEnd {
    /// At the line end at this place, or at the end of the text.
    At(usize),
    /// Not in this text: a quote is open at its end.
    Open,
    /// Nowhere: something else than a delimiter follows a closing quote, so a quote was none.
    Broken,
}

/// Finds the end of the row that `bytes` begin with; no others follow when they are the `last`.
pub(crate) fn quoted_row_end(bytes: &[u8], delimiter: u8, last: bool) -> RowEnd {
    enum State {
        FieldBegins,
        Plain,
        Quoted,
        /// After a quote that ends the field, if it is not the first of two.
        QuoteSeen,
    }
    let mut state = State::FieldBegins;
    for (at, &byte) in bytes.iter().enumerate() {
        state = match (state, byte) {
            (State::Quoted, b'"') => State::QuoteSeen,
            (State::Quoted, _) | (State::FieldBegins | State::QuoteSeen, b'"') => State::Quoted,
            (_, b'\n') => return RowEnd::At(at),
            (_, byte) if byte == delimiter => State::FieldBegins,
            (State::QuoteSeen, b'\r') => State::QuoteSeen,
            (State::QuoteSeen, _) => return RowEnd::Broken,
            (State::FieldBegins | State::Plain, _) => State::Plain,
        };
    }
    if last && !matches!(state, State::Quoted) { RowEnd::At(bytes.len()) } else { RowEnd::Open }
}

/// Reads the lines of one file.
#[derive(Debug)]
pub struct LineParser {
    file: SourceFile,
    rules: Rules,
    values: Values,
    numeric: Option<NumericLines>,
    plain: Option<PlainLines>,
}

/// A split line, and which of its fields is what.
struct Fields<'a> {
    columns: &'a [i32],
    fields: Vec<Cow<'a, [u8]>>,
}

impl Fields<'_> {
    /// The field of the column that `columns` has at `role`.
    fn of(&self, role: usize) -> Option<&[u8]> {
        let at = usize::try_from(*self.columns.get(role)?).ok()?;
        self.fields.get(at).map(Cow::as_ref)
    }

    /// That field as text.
    fn text(&self, role: usize) -> Result<Cow<'_, str>, Reason> {
        Ok(fields::decode(self.of(role).ok_or(Reason::TooFewColumns)?))
    }
}

fn trimmed(text: Cow<'_, str>) -> Cow<'_, str> {
    match text {
        Cow::Borrowed(text) => text.trim().into(),
        Cow::Owned(text) => text.trim().to_owned().into(),
    }
}

fn tag_text<'a>(fields: &'a Fields<'_>, role: usize) -> Result<Cow<'a, str>, Reason> {
    let tag = trimmed(fields.text(role)?);
    if tag.is_empty() { Err(Reason::EmptyTag) } else { Ok(tag) }
}

fn tag_number(fields: &Fields<'_>, role: usize) -> Result<u32, Reason> {
    let number = fields::integer(fields.of(role).ok_or(Reason::TooFewColumns)?);
    number.and_then(|number| u32::try_from(number).ok()).ok_or(Reason::TagNotNumber)
}

impl LineParser {
    /// A parser for lines of `file`.
    #[must_use]
    pub fn new(file: &SourceFile, rules: Rules) -> Self {
        let values = Values::new(file);
        Self {
            numeric: NumericLines::new(file, rules, &values),
            plain: PlainLines::new(file, rules, &values),
            values,
            file: file.clone(),
            rules,
        }
    }

    /// A parser that has no short ways.
    #[cfg(test)]
    pub(super) fn the_long_way(file: &SourceFile, rules: Rules) -> Self {
        Self { numeric: None, plain: None, values: Values::new(file), file: file.clone(), rules }
    }

    /// Whether rows may go on over line ends.
    #[must_use]
    pub fn goes_over_lines(&self) -> bool {
        self.file.multiline && self.file.format() == SourceFormat::Csv
    }

    /// The byte between fields.
    #[must_use]
    pub fn delimiter(&self) -> u8 {
        self.file.delimiter as u8
    }

    /// Reads the line that `bytes` begin with if there is nothing but short numbers in it, and says how long it is with
    /// its end; `None`, and no row, when it is for [`LineParser::parse`].
    #[inline]
    pub(super) fn parse_numbers(&self, bytes: &[u8], on_row: impl FnOnce(Row<'_>)) -> Option<usize> {
        self.numeric.as_ref()?.read(bytes, on_row)
    }

    /// Reads one line.
    ///
    /// # Errors
    /// Why it is no row.
    pub fn parse(&self, line: &[u8], on_row: impl FnOnce(Row<'_>)) -> Result<Taken, Reason> {
        if let Some(row) = self.plain.as_ref().and_then(|plain| plain.read(line)) {
            on_row(row);
            return Ok(Taken::Whole);
        }
        let fields = split_line(&self.file, line).ok_or(Reason::OpenQuote)?;
        self.parse_fields(fields, on_row)
    }

    /// Reads a row of several lines when it is one, with as many columns as the header.
    pub fn parse_over_lines(&self, lines: &[u8], on_row: impl FnOnce(Row<'_>)) -> Option<Taken> {
        let fields = fields::split_quoted(lines, self.delimiter())?;
        let is_whole = fields.len() == self.file.column_count as usize;
        if is_whole { self.parse_fields(fields, on_row).ok() } else { None }
    }

    fn parse_fields(
        &self,
        fields: Vec<Cow<'_, [u8]>>,
        on_row: impl FnOnce(Row<'_>),
    ) -> Result<Taken, Reason> {
        let columns = self.file.column_count as usize;
        if columns > 0 && fields.len() > columns {
            return Err(Reason::TooManyFields);
        }
        let fields = Fields { columns: &self.file.columns, fields };
        match self.file.content() {
            FileContent::Items => self.catalogue_row(&fields, on_row),
            FileContent::Tags => self.tag(&fields, on_row),
            FileContent::GenomeScores => self.genome(&fields, on_row),
            FileContent::GenomeTags => {
                let (tag, name) = (tag_number(&fields, 0)?, tag_text(&fields, 1)?);
                on_row(Row::GenomeTag(GenomeTagRow { tag, name }));
                Ok(Taken::Whole)
            }
            FileContent::Unspecified | FileContent::Ratings => self.rating(&fields, on_row),
        }
    }

    fn rating(&self, fields: &Fields<'_>, on_row: impl FnOnce(Row<'_>)) -> Result<Taken, Reason> {
        let (user, item) = (fields.text(0)?, fields.text(1)?);
        let (user, item) = (self.user(&user)?, self.item(&item)?);
        // Of a file without ratings every row counts 1.
        let rating = match fields.columns.get(2) {
            Some(0..) => self.values.rating(&fields.text(2)?)?,
            _ => 1.0,
        };
        let rating = self.rules.accept(rating)?;
        let (timestamp, taken) = self.timestamp(fields)?;
        on_row(Row::Rating(RatingRow { user, item, rating, timestamp }));
        Ok(taken)
    }

    fn tag(&self, fields: &Fields<'_>, on_row: impl FnOnce(Row<'_>)) -> Result<Taken, Reason> {
        let (user, item) = (fields.text(0)?, fields.text(1)?);
        let (user, item) = (self.user(&user)?, self.item(&item)?);
        let tag = tag_text(fields, 2)?;
        let (timestamp, taken) = self.timestamp(fields)?;
        on_row(Row::Tag(TagRow { user, item, tag, timestamp }));
        Ok(taken)
    }

    fn genome(&self, fields: &Fields<'_>, on_row: impl FnOnce(Row<'_>)) -> Result<Taken, Reason> {
        let item = fields.text(0)?;
        let item = self.item(&item)?;
        let tag = tag_number(fields, 1)?;
        let value = fields::number(fields.of(2).ok_or(Reason::TooFewColumns)?);
        let relevance = relevance(value.ok_or(Reason::BadRelevance)?)?;
        on_row(Row::Genome(GenomeRow { item, tag, relevance }));
        Ok(Taken::Whole)
    }

    fn timestamp(&self, fields: &Fields<'_>) -> Result<(i64, Taken), Reason> {
        let Some(0..) = fields.columns.get(3) else { return Ok((0, Taken::Whole)) };
        Ok(match self.values.time(&fields.text(3)?)? {
            Some(timestamp) => (timestamp, Taken::Whole),
            None => (0, Taken::WithoutTime),
        })
    }

    fn catalogue_row(&self, fields: &Fields<'_>, on_row: impl FnOnce(Row<'_>)) -> Result<Taken, Reason> {
        let item = fields.text(0)?;
        let item = self.item(&item)?;
        let title = self.title(fields)?;
        let year = fields.of(3).and_then(|field| self.values.year(&fields::decode(field)));
        let year = year.or_else(|| fields::title_year(&title));
        let genres = if self.file.format() == SourceFormat::Pipe {
            // The sixth flag is that of an unknown genre.
            let flags = fields.fields.iter().skip(6).zip(GENRES);
            let set = flags.filter(|(flag, _)| flag.as_ref() == b"1").map(|(_, genre)| genre);
            set.collect::<Vec<_>>().join("|")
        } else {
            let field = if self.has_colons_in_titles(fields) {
                fields.fields.last().map(Cow::as_ref)
            } else {
                fields.of(2)
            };
            field.map_or_else(String::new, |field| self.values.genres(&fields::decode(field)))
        };
        on_row(Row::Item(ItemRow { item, title, year, genres }));
        Ok(Taken::Whole)
    }

    fn title<'a>(&self, fields: &'a Fields<'_>) -> Result<Cow<'a, str>, Reason> {
        if self.has_colons_in_titles(fields) {
            let middle = &fields.fields[1..fields.fields.len() - 1];
            let pieces: Vec<Cow<'_, str>> = middle.iter().map(|piece| fields::decode(piece)).collect();
            return Ok(pieces.join("::").trim().to_owned().into());
        }
        Ok(trimmed(fields.text(1)?))
    }

    /// Nothing is quoted in `movies.dat`: what is more than three fields belongs to the title.
    fn has_colons_in_titles(&self, fields: &Fields<'_>) -> bool {
        self.file.format() == SourceFormat::DoubleColon
            && self.file.column_count == 0
            && fields.fields.len() > 3
    }

    fn user<'a>(&self, text: &'a str) -> Result<IdRef<'a>, Reason> {
        self.values.id(text, self.rules.user_id_kind, Side::Users)
    }

    fn item<'a>(&self, text: &'a str) -> Result<IdRef<'a>, Reason> {
        self.values.id(text, self.rules.item_id_kind, Side::Items)
    }
}
