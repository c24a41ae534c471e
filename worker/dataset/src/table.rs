//! Small Parquet tables, written and read in one go.

use std::sync::Arc;

use bytes::Bytes;
use parquet::{
    basic::Compression,
    data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type},
    errors::ParquetError,
    file::{
        properties::WriterProperties,
        reader::{FileReader as _, SerializedFileReader},
        writer::SerializedFileWriter,
    },
    record::{Field, Row, reader::RowIter},
    schema::parser::parse_message_type,
};
use shoal_common::ids::{EntityId, IdKind};

/// A column's values, of as many rows as every other column has.
pub(super) enum Column {
    /// Parquet's `required int64`.
    Integers(Vec<i64>),
    /// Parquet's `optional int32`.
    SmallIntegers(Vec<Option<i32>>),
    /// Parquet's `required binary (UTF8)`.
    Texts(Vec<ByteArray>),
}

impl Column {
    pub(super) fn texts<'a>(texts: impl Iterator<Item = &'a str>) -> Self {
        Self::Texts(texts.map(|text| text.as_bytes().to_vec().into()).collect())
    }

    /// Ids, all of one kind.
    pub(super) fn ids<'a>(kind: IdKind, ids: impl Iterator<Item = &'a EntityId>) -> Self {
        match kind {
            IdKind::Integer => Self::Integers(
                ids.filter_map(|id| match id {
                    EntityId::Integer(id) => Some(*id),
                    EntityId::Text(_) => None,
                })
                .collect(),
            ),
            IdKind::Text => Self::Texts(ids.map(|id| id.to_string().into_bytes().into()).collect()),
        }
    }

    fn described(&self, name: &str) -> String {
        match self {
            Self::Integers(_) => format!("required int64 {name};"),
            Self::SmallIntegers(_) => format!("optional int32 {name};"),
            Self::Texts(_) => format!("required binary {name} (UTF8);"),
        }
    }
}

/// The bytes of a table of one row group.
pub(super) fn write_table(columns: &[(&str, Column)]) -> Result<Bytes, ParquetError> {
    let fields: Vec<String> = columns.iter().map(|(name, column)| column.described(name)).collect();
    let schema = Arc::new(parse_message_type(&format!("message rows {{ {} }}", fields.join(" ")))?);
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut bytes = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    for (_, values) in columns {
        // The schema was made of the same columns.
        let Some(mut column) = group.next_column()? else { break };
        match values {
            Column::Integers(values) => column.typed::<Int64Type>().write_batch(values, None, None)?,
            Column::SmallIntegers(values) => {
                let present: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
                let values: Vec<i32> = values.iter().copied().flatten().collect();
                column.typed::<Int32Type>().write_batch(&values, Some(&present), None)?
            }
            Column::Texts(values) => column.typed::<ByteArrayType>().write_batch(values, None, None)?,
        };
        column.close()?;
    }
    group.close()?;
    writer.close()?;
    Ok(bytes.into())
}

/// The cells of one row, in the order that was asked for. A cell is taken out once.
pub(super) struct Cells(Vec<Field>);

impl Cells {
    fn take(&mut self, at: usize) -> Field {
        self.0.get_mut(at).map_or(Field::Null, |cell| std::mem::replace(cell, Field::Null))
    }

    pub(super) fn id(&mut self, at: usize) -> Result<EntityId, ParquetError> {
        match self.take(at) {
            Field::Long(id) => Ok(EntityId::Integer(id)),
            other => Ok(EntityId::Text(text(other)?.into())),
        }
    }

    pub(super) fn text(&mut self, at: usize) -> Result<String, ParquetError> {
        text(self.take(at))
    }

    pub(super) fn integer(&mut self, at: usize) -> Result<i64, ParquetError> {
        match self.take(at) {
            Field::Long(value) => Ok(value),
            other => Err(unexpected(&other)),
        }
    }

    pub(super) fn small_integer(&mut self, at: usize) -> Result<Option<i32>, ParquetError> {
        match self.take(at) {
            Field::Int(value) => Ok(Some(value)),
            Field::Null => Ok(None),
            other => Err(unexpected(&other)),
        }
    }
}

fn text(field: Field) -> Result<String, ParquetError> {
    match field {
        Field::Str(text) => Ok(text),
        other => Err(unexpected(&other)),
    }
}

fn unexpected(field: &Field) -> ParquetError {
    ParquetError::General(format!("a cell has the unexpected value {field}"))
}

/// The rows of a table, with these columns in this order.
pub(super) fn read_rows(
    bytes: Bytes,
    columns: &[&str],
) -> Result<impl Iterator<Item = Result<Cells, ParquetError>>, ParquetError> {
    let reader = SerializedFileReader::new(bytes)?;
    let fields = reader.metadata().file_metadata().schema().get_fields();
    let place = |column: &&str| {
        fields
            .iter()
            .position(|field| field.name() == *column)
            .ok_or_else(|| ParquetError::General(format!("the column '{column}' is missing")))
    };
    let places = columns.iter().map(place).collect::<Result<Vec<usize>, _>>()?;
    let cells = move |row: Row| {
        let mut all: Vec<Field> = row.into_columns().into_iter().map(|(_, field)| field).collect();
        let taken = places.iter().map(|&place| std::mem::replace(&mut all[place], Field::Null));
        Cells(taken.collect())
    };
    Ok(RowIter::from_file_into(Box::new(reader)).map(move |row| row.map(&cells)))
}
