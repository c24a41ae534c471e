//! Titles, years and genres of a shard's items, as a Parquet file.
//!
//! Columns: `item_id` (int64 or UTF-8 text), `title` (text), `year` (optional int32), `genres` (text,
//! separated by `|`). Rows ascend by id.

use bytes::Bytes;
use parquet::errors::ParquetError;
use shoal_common::ids::{EntityId, IdKind};

use super::{
    row::MovieRow,
    table::{Column, write_table},
};

/// One item of the catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Movie {
    /// The item.
    pub item: EntityId,
    /// As its file has it.
    pub title: String,
    /// From the end of the title.
    pub year: Option<i32>,
    /// Separated by `|`.
    pub genres: String,
}

impl From<MovieRow<'_>> for Movie {
    fn from(row: MovieRow<'_>) -> Self {
        Self { item: row.item.to_entity(), title: row.title.into_owned(), year: row.year, genres: row.genres }
    }
}

/// The bytes of a catalogue part.
///
/// # Errors
/// When Parquet refuses the values.
pub fn write_catalogue(movies: &[Movie], kind: IdKind) -> Result<Bytes, ParquetError> {
    write_table(&[
        ("item_id", Column::ids(kind, movies.iter().map(|movie| &movie.item))),
        ("title", Column::texts(movies.iter().map(|movie| movie.title.as_str()))),
        ("year", Column::SmallIntegers(movies.iter().map(|movie| movie.year).collect())),
        ("genres", Column::texts(movies.iter().map(|movie| movie.genres.as_str()))),
    ])
}
