//! Titles, years and genres of a shard's items, as a Parquet file.
//!
//! Columns: `item_id` (int64 or UTF-8 text), `title` (text), `year` (optional int32), `genres` (text,
//! separated by `|`). Rows ascend by id.

use bytes::Bytes;
use parquet::errors::ParquetError;
use shoal_common::ids::{EntityId, IdKind};
use shoal_format::row::ItemRow;

use super::table::{Column, read_rows, write_table};

/// Between the genres of one item.
pub const GENRE_SEPARATOR: char = '|';

/// One item of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogueItem {
    /// Id of the item.
    pub item: EntityId,
    /// As its file has it.
    pub title: String,
    /// From the end of the title.
    pub year: Option<i32>,
    /// Genres as the catalogue has them, separated by `|`; empty where it has none.
    pub genres: String,
}

impl From<ItemRow<'_>> for CatalogueItem {
    fn from(row: ItemRow<'_>) -> Self {
        Self { item: row.item.to_entity(), title: row.title.into_owned(), year: row.year, genres: row.genres }
    }
}

/// The items of a catalogue part, in its order.
///
/// # Errors
/// When it is not such a table.
pub fn read_catalogue(bytes: Bytes) -> Result<Vec<CatalogueItem>, ParquetError> {
    let mut items = Vec::new();
    for row in read_rows(bytes, &["item_id", "title", "year", "genres"])? {
        let mut cells = row?;
        items.push(CatalogueItem {
            item: cells.id(0)?,
            title: cells.text(1)?,
            year: cells.small_integer(2)?,
            genres: cells.text(3)?,
        });
    }
    Ok(items)
}

/// The bytes of a catalogue part.
///
/// # Errors
/// When Parquet refuses the values.
pub fn write_catalogue(items: &[CatalogueItem], kind: IdKind) -> Result<Bytes, ParquetError> {
    write_table(&[
        ("item_id", Column::ids(kind, items.iter().map(|item| &item.item))),
        ("title", Column::texts(items.iter().map(|item| item.title.as_str()))),
        ("year", Column::SmallIntegers(items.iter().map(|item| item.year).collect())),
        ("genres", Column::texts(items.iter().map(|item| item.genres.as_str()))),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_back_what_was_written() {
        for kind in [IdKind::Integer, IdKind::Text] {
            let id = |number: i64| match kind {
                IdKind::Integer => EntityId::Integer(number),
                IdKind::Text => EntityId::Text(number.to_string().into()),
            };
            let item = |number, title: &str, year, genres: &str| CatalogueItem {
                item: id(number),
                title: title.to_owned(),
                year,
                genres: genres.to_owned(),
            };
            let items = [item(3, "Été (1999)", Some(1999), "Drama|War"), item(7, "", None, "")];
            let bytes = write_catalogue(&items, kind).unwrap();
            assert_eq!(read_catalogue(bytes).unwrap(), items);
        }
    }
}
