//! Titles, years and genres of a shard's items, as a Parquet file.
//!
//! Columns: `item_id` (int64 or UTF-8 text), `title` (text), `year` (optional int32), `genres` (text,
//! separated by `|`). Rows ascend by id.

use std::sync::Arc;

use bytes::Bytes;
use parquet::{
    basic::Compression,
    data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type},
    errors::ParquetError,
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};
use shoal_common::ids::{EntityId, IdKind};

use super::row::MovieRow;

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
    let id = match kind {
        IdKind::Integer => "required int64 item_id;",
        IdKind::Text => "required binary item_id (UTF8);",
    };
    let schema = format!(
        "message catalogue {{ {id} required binary title (UTF8); optional int32 year; required binary genres (UTF8); }}"
    );
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut bytes = Vec::new();
    let mut writer =
        SerializedFileWriter::new(&mut bytes, Arc::new(parse_message_type(&schema)?), Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    let text = |of: &dyn Fn(&Movie) -> Vec<u8>| -> Vec<ByteArray> {
        movies.iter().map(|movie| of(movie).into()).collect()
    };
    let mut place = 0;
    while let Some(mut column) = group.next_column()? {
        match (place, kind) {
            (0, IdKind::Integer) => {
                let ids: Vec<i64> = movies
                    .iter()
                    .filter_map(|movie| match movie.item {
                        EntityId::Integer(id) => Some(id),
                        EntityId::Text(_) => None,
                    })
                    .collect();
                column.typed::<Int64Type>().write_batch(&ids, None, None)?;
            }
            (0, IdKind::Text) => {
                let ids = text(&|movie| movie.item.to_string().into_bytes());
                column.typed::<ByteArrayType>().write_batch(&ids, None, None)?;
            }
            (1, _) => {
                let titles = text(&|movie| movie.title.clone().into_bytes());
                column.typed::<ByteArrayType>().write_batch(&titles, None, None)?;
            }
            (2, _) => {
                let years: Vec<i32> = movies.iter().filter_map(|movie| movie.year).collect();
                let defined: Vec<i16> = movies.iter().map(|movie| i16::from(movie.year.is_some())).collect();
                column.typed::<Int32Type>().write_batch(&years, Some(&defined), None)?;
            }
            _ => {
                let genres = text(&|movie| movie.genres.clone().into_bytes());
                column.typed::<ByteArrayType>().write_batch(&genres, None, None)?;
            }
        }
        column.close()?;
        place += 1;
    }
    group.close()?;
    writer.close()?;
    Ok(bytes.into())
}
