//! Titles, years and genres of an item shard, from its part of the catalogue.

use std::{fs::File, path::Path};

use parquet::{
    errors::ParquetError,
    file::reader::{FileReader as _, SerializedFileReader},
    record::{Field, Row},
    schema::types::Type,
};
use shoal_common::ids::EntityId;
use shoal_format::id_column::IdColumn;

use super::{
    descriptions::{Description, Descriptions},
    error::LoadError,
};

/// Between the genres of one item.
const GENRE_SEPARATOR: char = '|';

/// The description of each row of `ids`; items without a row in the catalogue get an empty one.
/// `path` is the object's, for errors.
pub(super) fn read_descriptions(file: &Path, path: &str, ids: &IdColumn) -> Result<Descriptions, LoadError> {
    let unreadable = |source| LoadError::Catalogue { path: path.to_owned(), source: Box::new(source) };
    let file = File::open(file).map_err(|error| unreadable(ParquetError::External(Box::new(error))))?;
    let reader = SerializedFileReader::new(file).map_err(unreadable)?;
    let columns = ["item_id", "title", "year", "genres"];
    let projection = project(reader.metadata().file_metadata().schema(), &columns).map_err(unreadable)?;
    let mut descriptions = vec![Description::default(); ids.len()];
    for row in reader.get_row_iter(Some(projection)).map_err(unreadable)? {
        let row = row.map_err(unreadable)?;
        let (id, description) = describe(&row).map_err(unreadable)?;
        let place = ids.find(&id).ok_or_else(|| LoadError::Mismatch {
            path: path.to_owned(),
            reason: format!("it describes item {id}, which the shard does not have"),
        })?;
        descriptions[place] = description;
    }
    Ok(Descriptions::new(descriptions))
}

/// The schema of only these columns, in this file's order.
fn project(schema: &Type, columns: &[&str]) -> Result<Type, ParquetError> {
    let fields: Vec<_> =
        schema.get_fields().iter().filter(|field| columns.contains(&field.name())).cloned().collect();
    if fields.len() != columns.len() {
        return Err(ParquetError::General(format!("it lacks one of the columns {}", columns.join(", "))));
    }
    Type::group_type_builder(schema.name()).with_fields(fields).build()
}

fn describe(row: &Row) -> Result<(EntityId, Description), ParquetError> {
    let mut id = None;
    let mut description = Description::default();
    for (name, field) in row.get_column_iter() {
        match (name.as_str(), field, text(field)) {
            ("item_id", Field::Long(value), _) => id = Some(EntityId::Integer(*value)),
            ("item_id", _, Some(text)) => id = Some(EntityId::Text(text.into())),
            ("title", _, Some(text)) => description.title = text.into(),
            ("genres", _, Some(text)) => {
                let genres = text.split(GENRE_SEPARATOR).filter(|genre| !genre.is_empty());
                description.genres = genres.map(Box::from).collect();
            }
            ("year", Field::Int(year), _) => description.year = Some(*year),
            // A title or genre list that is null is an empty one, and a year that is null is not known.
            ("title" | "genres" | "year", Field::Null, _) => {}
            (name, other, _) => {
                return Err(ParquetError::General(format!("column '{name}' has the value {other}")));
            }
        }
    }
    let id = id.ok_or_else(|| ParquetError::General("a row has no item_id".to_owned()))?;
    Ok((id, description))
}

/// The text of a string column, also of one that lacks Parquet's UTF-8 annotation.
fn text(field: &Field) -> Option<&str> {
    match field {
        Field::Str(text) => Some(text),
        Field::Bytes(bytes) => bytes.as_utf8().ok(),
        _ => None,
    }
}
