//! Small Parquet tables, written in one go.

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

/// A column's values, of as many rows as every other column has.
pub(super) enum Column {
    /// `required int64`
    Integers(Vec<i64>),
    /// `optional int32`
    SmallIntegers(Vec<Option<i32>>),
    /// `required binary (UTF8)`
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
