//! Rows of factors, biases and neighbours as Parquet bytes. Factors are in the layout in which Spark saves them: `features` is
//! a list column with definition level 2 for every element and repetition level 0 for the first.

use std::{io::Write, sync::Arc};

use parquet::{
    basic::Compression,
    column::writer::ColumnWriter,
    data_type::ByteArray,
    errors::ParquetError,
    file::{
        properties::{WriterProperties, WriterPropertiesBuilder},
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::parser::parse_message_type,
};
use shoal_engine::item_cf::Neighbours;
use shoal_format::{id_column::IdColumn, row::IdRef};

use super::item_ids::ItemIds;

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

/// Pairs of a table of neighbours in one row group: one in memory has some ten megabytes.
const GROUP_PAIRS: usize = 1 << 19;

/// A table of `id`, `neighbour_id` and `weight`: of each id its neighbours in their order, which `items` names.
pub(super) fn neighbours(
    ids: &IdColumn,
    neighbours: &Neighbours,
    items: &ItemIds,
    id_type: IdType,
) -> Result<Vec<u8>, ParquetError> {
    let neighbour_id = id_type.column().replace(" id", " neighbour_id");
    let schema =
        format!("message shoal_neighbours {{ {} {neighbour_id} required float weight; }}", id_type.column());
    // An id comes as often as it has neighbours.
    let properties = properties().set_column_dictionary_enabled("id".into(), true);
    let properties = properties.set_column_dictionary_enabled("neighbour_id".into(), true).build();
    let mut bytes = Vec::new();
    let schema = Arc::new(parse_message_type(&schema)?);
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties))?;
    let mut row = 0;
    while row < ids.len() {
        let first = row;
        let mut pairs = 0;
        while row < ids.len() && (row == first || pairs + neighbours.of(row).0.len() <= GROUP_PAIRS) {
            pairs += neighbours.of(row).0.len();
            row += 1;
        }
        let lists = || (first..row).map(|row| (row, neighbours.of(row)));
        let owners = lists().flat_map(|(row, (others, _))| others.iter().map(move |_| ids.get_ref(row)));
        let others = lists().flat_map(|(_, (others, _))| others.iter().map(|other| items.of(*other)));
        let weights: Vec<f32> = lists().flat_map(|(_, (_, weights))| weights.iter().copied()).collect();
        let mut group = writer.next_row_group()?;
        next_column(&mut group, |column| write_ids(column, owners, id_type))?;
        next_column(&mut group, |column| write_ids(column, others, id_type))?;
        next_column(&mut group, |column| write_floats(column, &weights, None))?;
        group.close()?;
    }
    writer.close()?;
    Ok(bytes)
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
    let mut bytes = Vec::new();
    let schema = Arc::new(parse_message_type(schema)?);
    let mut writer = SerializedFileWriter::new(&mut bytes, schema, Arc::new(properties().build()))?;
    let mut group = writer.next_row_group()?;
    let all = (0..ids.len()).map(|row| ids.get_ref(row));
    next_column(&mut group, |column| write_ids(column, all, id_type))?;
    next_column(&mut group, |column| write_floats(column, values, levels))?;
    group.close()?;
    writer.close()?;
    Ok(bytes)
}

/// Factors look like noise: a dictionary would only cost.
fn properties() -> WriterPropertiesBuilder {
    WriterProperties::builder().set_compression(Compression::SNAPPY).set_dictionary_enabled(false)
}

/// Writes the next column of a group, which the schema has.
fn next_column<W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    write: impl FnOnce(&mut ColumnWriter<'_>) -> Result<(), ParquetError>,
) -> Result<(), ParquetError> {
    let column = group.next_column()?;
    let mut column =
        column.ok_or_else(|| ParquetError::General("the table has no such column".to_owned()))?;
    write(column.untyped())?;
    column.close()
}

fn write_floats(
    column: &mut ColumnWriter<'_>,
    values: &[f32],
    levels: Option<(&[i16], &[i16])>,
) -> Result<(), ParquetError> {
    let ColumnWriter::FloatColumnWriter(floats) = column else {
        return Err(ParquetError::General("the column is not one of floats".to_owned()));
    };
    let (defined, repeated) = levels.unzip();
    floats.write_batch(values, defined, repeated)?;
    Ok(())
}

fn write_ids<'a>(
    column: &mut ColumnWriter<'_>,
    ids: impl Iterator<Item = IdRef<'a>>,
    id_type: IdType,
) -> Result<(), ParquetError> {
    let unfit = || ParquetError::General(format!("the ids are not all of the type {id_type:?}"));
    let integer = |id| if let IdRef::Integer(id) = id { Some(id) } else { None };
    let text = |id| if let IdRef::Text(text) = id { Some(ByteArray::from(text)) } else { None };
    match column {
        ColumnWriter::Int32ColumnWriter(writer) => {
            let narrow = ids.map(|id| i32::try_from(integer(id)?).ok());
            writer.write_batch(&narrow.collect::<Option<Vec<_>>>().ok_or_else(unfit)?, None, None)?;
        }
        ColumnWriter::Int64ColumnWriter(writer) => {
            let wide = ids.map(integer).collect::<Option<Vec<_>>>();
            writer.write_batch(&wide.ok_or_else(unfit)?, None, None)?;
        }
        ColumnWriter::ByteArrayColumnWriter(writer) => {
            let texts = ids.map(text).collect::<Option<Vec<_>>>();
            writer.write_batch(&texts.ok_or_else(unfit)?, None, None)?;
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
    fn neighbours_are_named_whichever_shard_they_are_of() {
        let mut of_shards = [IdColumn::empty(IdKind::Text), IdColumn::empty(IdKind::Text)];
        for (shard, id) in [(0, "a"), (0, "c"), (1, "b")] {
            of_shards[shard].push(&EntityId::Text(id.into()));
        }
        let items = ItemIds::new(of_shards.to_vec());
        // Two items of the first shard: one like both others, one like nothing.
        let lists = Neighbours::from_parts(vec![0, 2, 2], vec![2, 1], vec![0.75, -0.5], 3).unwrap();
        let back = rows(neighbours(&of_shards[0], &lists, &items, IdType::Text).unwrap());
        let row = |other: &str, weight| {
            [Field::Str("a".to_owned()), Field::Str(other.to_owned()), Field::Float(weight)]
        };
        assert_eq!(back.iter().map(fields).collect::<Vec<_>>(), [row("b", 0.75), row("c", -0.5)]);
        let integers = IdColumn::Integer(vec![7, i64::MAX]);
        let items = ItemIds::new(vec![integers.clone()]);
        let lists = Neighbours::from_parts(vec![0, 1, 2], vec![1, 0], vec![0.5, 0.5], 2).unwrap();
        let back = rows(neighbours(&integers, &lists, &items, IdType::Int64).unwrap());
        assert_eq!(fields(&back[0]), [Field::Long(7), Field::Long(i64::MAX), Field::Float(0.5)]);
        assert!(neighbours(&integers, &lists, &items, IdType::Int32).is_err());
    }

    #[test]
    fn pairs_of_many_items_make_several_row_groups_of_whole_lists() {
        let ids = IdColumn::Integer((0..3).collect());
        let others = GROUP_PAIRS / 2 + 1;
        let all = IdColumn::Integer((0..others as i64 + 3).collect());
        let list: Vec<u32> = (3..others as u32 + 3).collect();
        let indptr = (0..4).map(|row| (row * others) as u64).collect();
        let (rows_of, weights) = (list.repeat(3), vec![0.25; 3 * others]);
        let lists = Neighbours::from_parts(indptr, rows_of, weights, others as u32 + 3).unwrap();
        let bytes = neighbours(&ids, &lists, &ItemIds::new(vec![all]), IdType::Int32).unwrap();
        let reader = SerializedFileReader::new(Bytes::from(bytes)).unwrap();
        let groups = reader.metadata().row_groups().iter();
        assert_eq!(groups.map(|group| group.num_rows() as usize).collect::<Vec<_>>(), [others; 3]);
        let last = reader.get_row_iter(None).unwrap().last().unwrap().unwrap();
        assert_eq!(fields(&last), [Field::Int(2), Field::Int(others as i32 + 2), Field::Float(0.25)]);
    }

    #[test]
    fn a_shard_without_rows_makes_a_file_without_rows() {
        let none = IdColumn::Integer(Vec::new());
        assert!(rows(factors(&none, IdType::Int32, &[], 4).unwrap()).is_empty());
        let items = ItemIds::new(vec![none.clone()]);
        assert!(rows(neighbours(&none, &Neighbours::default(), &items, IdType::Text).unwrap()).is_empty());
    }
}
