//! Rows of a Parquet file from the values of their columns.

use std::borrow::Cow;

use shoal_proto::v1::{FileContent, SourceFile};

use super::cells::{Cell, Id};
use crate::dataset::{
    fields,
    parse::{Reason, Rules, relevance},
    row::{GenomeRow, GenomeTagRow, MovieRow, RatingRow, Row, TagRow},
};

const USER: [Reason; 3] = [Reason::EmptyUser, Reason::UserNotInteger, Reason::UserTooLarge];
const ITEM: [Reason; 3] = [Reason::EmptyItem, Reason::ItemNotInteger, Reason::ItemTooLarge];

/// The values of one row, in the order of `SourceFile.columns`.
struct Values<'a> {
    file: &'a SourceFile,
    rules: &'a Rules,
    cells: &'a [Cell<'a>],
}

impl<'a> Values<'a> {
    fn cell(&self, role: usize) -> &'a Cell<'a> {
        self.cells.get(role).unwrap_or(&Cell::Null)
    }

    fn user(&self) -> Result<Id<'a>, Reason> {
        Id::read(self.cell(0), self.rules.user_id_kind, USER)
    }

    fn item(&self, role: usize) -> Result<Id<'a>, Reason> {
        Id::read(self.cell(role), self.rules.item_id_kind, ITEM)
    }

    fn has(&self, role: usize) -> bool {
        self.file.columns.get(role).is_some_and(|&column| column >= 0)
    }

    fn time(&self) -> Result<i64, Reason> {
        if self.has(3) { self.cell(3).seconds().ok_or(Reason::BadTimestamp) } else { Ok(0) }
    }

    fn rating(&self, on_row: impl FnOnce(&Row<'_>)) -> Result<(), Reason> {
        let (user, item) = (self.user()?, self.item(1)?);
        let rating = self.rules.accept(self.cell(2).number().ok_or(Reason::RatingNotNumber)?)?;
        let timestamp = self.time()?;
        on_row(&Row::Rating(RatingRow { user: user.borrow(), item: item.borrow(), rating, timestamp }));
        Ok(())
    }

    fn movie(&self, on_row: impl FnOnce(&Row<'_>)) -> Result<(), Reason> {
        let (item, title) = (self.item(0)?, self.cell(1).text());
        let title = title.trim();
        on_row(&Row::Movie(MovieRow {
            item: item.borrow(),
            title: title.into(),
            year: fields::title_year(title),
            genres: fields::genres(&self.cell(2).text()),
        }));
        Ok(())
    }

    /// A row for each tag of a list.
    fn tags(&self, mut on_row: impl FnMut(&Row<'_>)) -> Result<(), Reason> {
        let (user, item) = (self.user()?, self.item(1)?);
        let timestamp = self.time()?;
        let texts = self.cell(2).texts();
        let tags: Vec<&str> = texts.iter().map(|tag| tag.trim()).filter(|tag| !tag.is_empty()).collect();
        if tags.is_empty() {
            return Err(Reason::EmptyTag);
        }
        for tag in tags {
            let tag = Cow::Borrowed(tag);
            on_row(&Row::Tag(TagRow { user: user.borrow(), item: item.borrow(), tag, timestamp }));
        }
        Ok(())
    }

    fn genome(&self, on_row: impl FnOnce(&Row<'_>)) -> Result<(), Reason> {
        let item = self.item(0)?;
        let tag = self.cell(1).index().ok_or(Reason::TagNotNumber)?;
        let relevance = relevance(self.cell(2).number().ok_or(Reason::BadRelevance)?)?;
        on_row(&Row::Genome(GenomeRow { item: item.borrow(), tag, relevance }));
        Ok(())
    }

    fn genome_tag(&self, on_row: impl FnOnce(&Row<'_>)) -> Result<(), Reason> {
        let tag = self.cell(0).index().ok_or(Reason::TagNotNumber)?;
        let name = self.cell(1).text();
        let name = name.trim();
        if name.is_empty() {
            return Err(Reason::EmptyTag);
        }
        on_row(&Row::GenomeTag(GenomeTagRow { tag, name: name.into() }));
        Ok(())
    }
}

/// Reads one row, which may be several: each tag of a list is one.
pub(super) fn read_row(
    file: &SourceFile,
    rules: &Rules,
    cells: &[Cell<'_>],
    on_row: impl FnMut(&Row<'_>),
) -> Result<(), Reason> {
    let values = Values { file, rules, cells };
    match file.content() {
        FileContent::Movies => values.movie(on_row),
        FileContent::Tags => values.tags(on_row),
        FileContent::GenomeScores => values.genome(on_row),
        FileContent::GenomeTags => values.genome_tag(on_row),
        FileContent::Unspecified | FileContent::Ratings => values.rating(on_row),
    }
}
