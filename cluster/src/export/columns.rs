//! Rows of factors and biases as Parquet bytes, in the layout in which Spark saves them: `features` is
//! a list column with definition level 2 for every element and repetition level 0 for the first.

use std::sync::Arc;

use parquet::{
    basic::Compression,
    column::writer::ColumnWriter,
    data_type::ByteArray,
    errors::ParquetError,
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::parser::parse_message_type,
};
use shoal_format::id_column::IdColumn;

/// The type of the column `id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdType {
    /// 32-bit numbers, as Spark's models have them.
    Int32,
    /// 64-bit numbers, where an id needs them.
    Int64,
    /// Ids that are text.
    Text,
}

impl IdType {
    fn column(self) -> &'static str {
        match self {
            Self::Int32 => "required int32 id;",
            Self::Int64 => "required int64 id;",
            Self::Text => "required binary id (UTF8);",
        }
    }
}

/// `id, features`; `values` holds a row of `rank` elements for each id.
pub(super) fn factors(
    ids: &IdColumn,
    id_type: IdType,
    values: &[f32],
    rank: usize,
) -> Result<Vec<u8>, ParquetError> {
    let schema = format!(
        "message spark_schema {{ {} optional group features (LIST) {{ repeated group list {{ required float element; }} }} }}",
        id_type.column()
    );
    let defined = vec![2_i16; values.len()];
    let repeated: Vec<i16> = (0..values.len()).map(|at| i16::from(at % rank != 0)).collect();
    write(&schema, ids, id_type, values, Some((&defined, &repeated)))
}

/// A table of `id` and `bias`; one value for each id.
pub(super) fn biases(ids: &IdColumn, id_type: IdType, values: &[f32]) -> Result<Vec<u8>, ParquetError> {
    let schema = format!("message spark_schema {{ {} required float bias; }}", id_type.column());
    write(&schema, ids, id_type, values, None)
}

fn write(
    schema: &str,
    ids: &IdColumn,
    id_type: IdType,
    values: &[f32],
    levels: Option<(&[i16], &[i16])>,
) -> Result<Vec<u8>, ParquetError> {
    // Factors look like noise: a dictionary would only cost.
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_dictionary_enabled(false)
        .build();
    let mut bytes = Vec::new();
    let schema = Arc::new(parse_message_type(schema)?);
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    let mut first = true;
    while let Some(mut column) = group.next_column()? {
        if first {
            write_ids(column.untyped(), ids, id_type)?;
        } else if let ColumnWriter::FloatColumnWriter(floats) = column.untyped() {
            let (defined, repeated) = levels.unzip();
            floats.write_batch(values, defined, repeated)?;
        }
        column.close()?;
        first = false;
    }
    group.close()?;
    writer.close()?;
    Ok(bytes)
}

fn write_ids(column: &mut ColumnWriter<'_>, ids: &IdColumn, id_type: IdType) -> Result<(), ParquetError> {
    let unfit = || ParquetError::General(format!("the ids are not all of the type {id_type:?}"));
    match (column, ids) {
        (ColumnWriter::Int32ColumnWriter(writer), IdColumn::Integer(ids)) => {
            let narrow: Vec<i32> =
                ids.iter().map(|id| i32::try_from(*id)).collect::<Result<_, _>>().map_err(|_| unfit())?;
            writer.write_batch(&narrow, None, None)?;
        }
        (ColumnWriter::Int64ColumnWriter(writer), IdColumn::Integer(ids)) => {
            writer.write_batch(ids, None, None)?;
        }
        (ColumnWriter::ByteArrayColumnWriter(writer), IdColumn::Text { .. }) => {
            let texts: Vec<ByteArray> =
                (0..ids.len()).map(|row| ids.get(row).to_string().into_bytes().into()).collect();
            writer.write_batch(&texts, None, None)?;
        }
        _ => return Err(unfit()),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use parquet::{
        file::{
            reader::{FileReader as _, SerializedFileReader},
            serialized_reader::ReadOptionsBuilder,
        },
        record::{Field, Row},
    };
    use shoal_common::ids::{EntityId, IdKind};

    use super::*;

    fn rows(bytes: Vec<u8>) -> Vec<Row> {
        let options = ReadOptionsBuilder::new().build();
        let reader = SerializedFileReader::new_with_options(Bytes::from(bytes), options).unwrap();
        reader.get_row_iter(None).unwrap().map(Result::unwrap).collect()
    }

    fn fields(row: &Row) -> Vec<Field> {
        row.get_column_iter().map(|(_, field)| field.clone()).collect()
    }

    fn features(row: &Row) -> Vec<f32> {
        let Some((_, Field::ListInternal(list))) = row.get_column_iter().nth(1) else {
            panic!("no list of features in {row}")
        };
        list.elements()
            .iter()
            .map(|field| if let Field::Float(value) = field { *value } else { f32::NAN })
            .collect()
    }

    #[test]
    fn factors_come_back_as_lists() {
        let ids = IdColumn::Integer(vec![3, 70_000]);
        let back = rows(factors(&ids, IdType::Int32, &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 3).unwrap());
        assert_eq!(back.len(), 2);
        assert_eq!(back[1].get_column_iter().next().unwrap().1, &Field::Int(70_000));
        assert_eq!(features(&back[0]), [1.0, 2.0, 3.0]);
        assert_eq!(features(&back[1]), [4.0, 5.0, 6.0]);
    }

    #[test]
    fn long_and_text_ids_keep_their_values() {
        let long = IdColumn::Integer(vec![1, i64::MAX]);
        let back = rows(biases(&long, IdType::Int64, &[0.5, -0.5]).unwrap());
        assert_eq!(fields(&back[1]), [Field::Long(i64::MAX), Field::Float(-0.5)]);
        assert!(biases(&long, IdType::Int32, &[0.5, -0.5]).is_err());

        let mut text = IdColumn::empty(IdKind::Text);
        text.push(&EntityId::Text("tt0111161".into()));
        let back = rows(biases(&text, IdType::Text, &[0.25]).unwrap());
        assert_eq!(fields(&back[0]), [Field::Str("tt0111161".to_owned()), Field::Float(0.25)]);
    }

    #[test]
    fn a_shard_without_rows_makes_a_file_without_rows() {
        assert!(rows(factors(&IdColumn::Integer(Vec::new()), IdType::Int32, &[], 4).unwrap()).is_empty());
    }
}
