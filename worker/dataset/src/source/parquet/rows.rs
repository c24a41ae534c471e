//! Rows of a Parquet file from the values of their columns.

use std::borrow::Cow;

use shoal_format::row::{GenomeRow, GenomeTagRow, ItemRow, RatingRow, Row, TagRow};
use shoal_proto::v1::{FileContent, Side, SourceFile};

use super::cells::{Cell, Id};
use crate::{
    fields,
    parse::{Rules, Taken, relevance},
    rejection::Reason,
    values::{Values, plausible_time},
};

/// The values of one row, in the order of `SourceFile.columns`.
struct RowCells<'a> {
    file: &'a SourceFile,
    rules: &'a Rules,
    values: &'a Values,
    cells: &'a [Cell<'a>],
}

impl<'a> RowCells<'a> {
    fn cell(&self, role: usize) -> &'a Cell<'a> {
        self.cells.get(role).unwrap_or(&Cell::Null)
    }

    fn user(&self) -> Result<Id<'a>, Reason> {
        Id::read(self.cell(0), self.rules.user_id_kind, Side::Users, self.values)
    }

    fn item(&self, role: usize) -> Result<Id<'a>, Reason> {
        Id::read(self.cell(role), self.rules.item_id_kind, Side::Items, self.values)
    }

    fn has(&self, role: usize) -> bool {
        self.file.columns.get(role).is_some_and(|&column| column >= 0)
    }

    fn time(&self) -> Result<(i64, Taken), Reason> {
        if !self.has(3) {
            return Ok((0, Taken::Whole));
        }
        let timestamp = match self.cell(3) {
            Cell::Null => None,
            Cell::Text(text) => self.values.time(text)?,
            Cell::Integer(number) => Some(plausible_time(self.values.times.seconds(*number))?),
            other => Some(plausible_time(other.seconds().ok_or(Reason::BadTimestamp)?)?),
        };
        Ok(timestamp.map_or((0, Taken::WithoutTime), |timestamp| (timestamp, Taken::Whole)))
    }

    fn rating(&self, on_row: impl FnOnce(&Row<'_>)) -> Result<Taken, Reason> {
        let (user, item) = (self.user()?, self.item(1)?);
        let rating = match (self.has(2), self.cell(2)) {
            // Of a file without ratings every row counts 1.
            (false, _) => 1.0,
            (true, Cell::Null) => return Err(Reason::MissingRating),
            (true, Cell::Text(text)) => self.values.rating(text)?,
            (true, other) => other.number().ok_or(Reason::RatingNotNumber)?,
        };
        let rating = self.rules.accept(rating)?;
        let (timestamp, taken) = self.time()?;
        on_row(&Row::Rating(RatingRow { user: user.borrow(), item: item.borrow(), rating, timestamp }));
        Ok(taken)
    }

    fn catalogue_row(&self, on_row: impl FnOnce(&Row<'_>)) -> Result<Taken, Reason> {
        let (item, title) = (self.item(0)?, self.cell(1).text());
        let title = title.trim();
        on_row(&Row::Item(ItemRow {
            item: item.borrow(),
            title: title.into(),
            year: self.values.year(&self.cell(3).text()).or_else(|| fields::title_year(title)),
            genres: self.values.genres(&self.cell(2).text()),
        }));
        Ok(Taken::Whole)
    }

    /// A row for each tag of a list.
    fn tags(&self, mut on_row: impl FnMut(&Row<'_>)) -> Result<Taken, Reason> {
        let (user, item) = (self.user()?, self.item(1)?);
        let (timestamp, taken) = self.time()?;
        let texts = self.cell(2).texts();
        let tags: Vec<&str> = texts.iter().map(|tag| tag.trim()).filter(|tag| !tag.is_empty()).collect();
        if tags.is_empty() {
            return Err(Reason::EmptyTag);
        }
        for tag in tags {
            let tag = Cow::Borrowed(tag);
            on_row(&Row::Tag(TagRow { user: user.borrow(), item: item.borrow(), tag, timestamp }));
        }
        Ok(taken)
    }

    fn genome(&self, on_row: impl FnOnce(&Row<'_>)) -> Result<Taken, Reason> {
        let item = self.item(0)?;
        let tag = self.cell(1).index().ok_or(Reason::TagNotNumber)?;
        let relevance = relevance(self.cell(2).number().ok_or(Reason::BadRelevance)?)?;
        on_row(&Row::Genome(GenomeRow { item: item.borrow(), tag, relevance }));
        Ok(Taken::Whole)
    }

    fn genome_tag(&self, on_row: impl FnOnce(&Row<'_>)) -> Result<Taken, Reason> {
        let tag = self.cell(0).index().ok_or(Reason::TagNotNumber)?;
        let name = self.cell(1).text();
        let name = name.trim();
        if name.is_empty() {
            return Err(Reason::EmptyTag);
        }
        on_row(&Row::GenomeTag(GenomeTagRow { tag, name: name.into() }));
        Ok(Taken::Whole)
    }
}

/// Reads one row, which may be several: each tag of a list is one.
pub(super) fn read_row(
    file: &SourceFile,
    rules: &Rules,
    values: &Values,
    cells: &[Cell<'_>],
    on_row: impl FnMut(&Row<'_>),
) -> Result<Taken, Reason> {
    let cells = RowCells { file, rules, values, cells };
    match file.content() {
        FileContent::Items => cells.catalogue_row(on_row),
        FileContent::Tags => cells.tags(on_row),
        FileContent::GenomeScores => cells.genome(on_row),
        FileContent::GenomeTags => cells.genome_tag(on_row),
        FileContent::Unspecified | FileContent::Ratings => cells.rating(on_row),
    }
}
