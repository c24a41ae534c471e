//! The rows of lists in the files' formats.
//!
//! ```text
//! user_id           as the data set's ids are: int64 or text
//! item_id           likewise
//! rank              int32, from 1
//! score             float, what the list is ordered by
//! predicted_rating  float, on the data set's scale; missing where the version predicts none
//! source            text: "model", or "fallback_popular" for a user whom the version does not know
//! title             text, empty where there is none
//! ```
//!
//! Rows are in the order of users, then of ranks. Parquet is compressed with Snappy, CSV has a header, JSON lines have an
//! object for each row. Equal rows make equal bytes.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::Path,
    sync::Arc,
};

use parquet::{
    basic::Compression,
    column::writer::ColumnWriter,
    data_type::ByteArray,
    errors::ParquetError,
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::{parser::parse_message_type, types::ColumnPath},
};
use serde::ser::{SerializeMap as _, Serializer as _};
use shoal_format::row::IdRef;
use shoal_proto::v1::{DatasetInfo, IdKind, ListsColumn, ListsFormat, ListsParameters};

use super::{
    columns::{columns, name},
    error::ListsError,
    ranked::{Ranking, UserList},
};

/// Rows of a row group: some ten megabytes while they are gathered.
const GROUP_ROWS: usize = 1 << 18;

/// How the files' names end.
pub(super) fn extension(format: ListsFormat) -> &'static str {
    match format {
        ListsFormat::Unspecified | ListsFormat::Parquet => "parquet",
        ListsFormat::Csv => "csv",
        ListsFormat::Jsonl => "jsonl",
    }
}

/// What writing rows fails with.
#[derive(Debug)]
pub(super) enum RowsError {
    Io(io::Error),
    Parquet(ParquetError),
}

impl From<io::Error> for RowsError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<ParquetError> for RowsError {
    fn from(error: ParquetError) -> Self {
        match error {
            // What the disk says comes wrapped.
            ParquetError::External(source) => match source.downcast::<io::Error>() {
                Ok(error) => Self::Io(*error),
                Err(source) => Self::Parquet(ParquetError::External(source)),
            },
            other => Self::Parquet(other),
        }
    }
}

impl From<csv::Error> for RowsError {
    fn from(error: csv::Error) -> Self {
        Self::Io(error.into())
    }
}

/// Names the file in an error.
pub(super) fn at(path: &Path) -> impl Fn(RowsError) -> ListsError + '_ {
    |error| match error {
        RowsError::Io(source) => ListsError::File { path: path.to_owned(), source },
        RowsError::Parquet(source) => ListsError::Encode(source),
    }
}

/// One row of a part: one item of one user's list.
#[derive(Debug, Clone, Copy)]
struct ListRow<'a> {
    user: IdRef<'a>,
    item: IdRef<'a>,
    rank: i32,
    score: f32,
    predicted_rating: Option<f32>,
    source: &'static str,
    title: &'a str,
}

/// Writes the rows of a part.
pub(super) enum PartWriter {
    Parquet(Box<ParquetRows>),
    Csv { columns: Vec<ListsColumn>, writer: Box<csv::Writer<File>> },
    Jsonl { columns: Vec<ListsColumn>, writer: BufWriter<File> },
}

impl PartWriter {
    pub(super) fn new(
        file: File,
        parameters: &ListsParameters,
        dataset: &DatasetInfo,
    ) -> Result<Self, RowsError> {
        let columns = columns(parameters);
        Ok(match parameters.format() {
            ListsFormat::Unspecified | ListsFormat::Parquet => {
                Self::Parquet(Box::new(ParquetRows::new(file, &columns, dataset)?))
            }
            ListsFormat::Csv => {
                let mut writer = Box::new(csv::Writer::from_writer(file));
                writer.write_record(columns.iter().copied().map(name))?;
                Self::Csv { columns, writer }
            }
            ListsFormat::Jsonl => Self::Jsonl { columns, writer: BufWriter::new(file) },
        })
    }

    /// Writes the list of a user.
    pub(super) fn add(
        &mut self,
        user: IdRef<'_>,
        list: &UserList,
        ranking: &Ranking,
    ) -> Result<(), RowsError> {
        for (found, rank) in list.items.iter().zip(1..) {
            let shard = ranking.shard(found);
            self.row(ListRow {
                user,
                item: shard.id_ref(found.hit.row),
                rank,
                score: found.hit.score,
                predicted_rating: ranking.predicted_rating(found),
                source: list.source.name(),
                title: shard.descriptions().title(found.hit.row),
            })?;
        }
        match self {
            Self::Parquet(rows) if rows.gathered >= GROUP_ROWS => rows.flush(),
            _ => Ok(()),
        }
    }

    fn row(&mut self, row: ListRow<'_>) -> Result<(), RowsError> {
        match self {
            Self::Parquet(rows) => rows.row(row),
            Self::Csv { columns, writer } => write_csv(writer, columns, row)?,
            Self::Jsonl { columns, writer } => write_json(writer, columns, row)?,
        }
        Ok(())
    }

    /// Writes what is left.
    pub(super) fn finish(self) -> Result<(), RowsError> {
        match self {
            Self::Parquet(rows) => rows.finish(),
            Self::Csv { mut writer, .. } => Ok(writer.flush()?),
            Self::Jsonl { mut writer, .. } => Ok(writer.flush()?),
        }
    }
}

fn write_csv(writer: &mut csv::Writer<File>, columns: &[ListsColumn], row: ListRow<'_>) -> csv::Result<()> {
    let mut number = Vec::with_capacity(24);
    for column in columns {
        number.clear();
        let written = match column {
            ListsColumn::UserId => write_id(&mut number, row.user),
            ListsColumn::ItemId => write_id(&mut number, row.item),
            ListsColumn::Rank => write!(number, "{}", row.rank),
            ListsColumn::Score => write!(number, "{}", row.score),
            ListsColumn::PredictedRating => {
                row.predicted_rating.map_or(Ok(()), |rating| write!(number, "{rating}"))
            }
            ListsColumn::Source => number.write_all(row.source.as_bytes()),
            ListsColumn::Title => number.write_all(row.title.as_bytes()),
            ListsColumn::Unspecified => Ok(()),
        };
        written?;
        writer.write_field(&number)?;
    }
    writer.write_record(None::<&[u8]>)
}

fn write_id(text: &mut Vec<u8>, id: IdRef<'_>) -> io::Result<()> {
    match id {
        IdRef::Integer(id) => write!(text, "{id}"),
        IdRef::Text(id) => text.write_all(id.as_bytes()),
    }
}

fn write_json(writer: &mut BufWriter<File>, columns: &[ListsColumn], row: ListRow<'_>) -> io::Result<()> {
    let mut json = serde_json::Serializer::new(&mut *writer);
    let mut object = json.serialize_map(Some(columns.len()))?;
    for &column in columns {
        let key = name(column);
        match column {
            ListsColumn::UserId => write_json_id(&mut object, key, row.user)?,
            ListsColumn::ItemId => write_json_id(&mut object, key, row.item)?,
            ListsColumn::Rank => object.serialize_entry(key, &row.rank)?,
            ListsColumn::Score => object.serialize_entry(key, &row.score)?,
            ListsColumn::PredictedRating => object.serialize_entry(key, &row.predicted_rating)?,
            ListsColumn::Source => object.serialize_entry(key, row.source)?,
            ListsColumn::Title => object.serialize_entry(key, row.title)?,
            ListsColumn::Unspecified => {}
        }
    }
    object.end()?;
    writer.write_all(b"\n")
}

fn write_json_id<M: serde::ser::SerializeMap>(
    object: &mut M,
    key: &str,
    id: IdRef<'_>,
) -> Result<(), M::Error> {
    match id {
        IdRef::Integer(id) => object.serialize_entry(key, &id),
        IdRef::Text(id) => object.serialize_entry(key, id),
    }
}

/// The values of a column that are not written yet.
enum Gathered {
    Integers(Vec<i64>),
    Texts(Vec<ByteArray>),
    Ranks(Vec<i32>),
    Floats(Vec<f32>),
    Optional { values: Vec<f32>, present: Vec<i16> },
}

impl Gathered {
    fn new(column: ListsColumn, dataset: &DatasetInfo) -> Self {
        let of_kind = |kind: IdKind| match kind {
            IdKind::Text => Self::Texts(Vec::new()),
            IdKind::Integer | IdKind::Unspecified => Self::Integers(Vec::new()),
        };
        match column {
            ListsColumn::UserId => of_kind(dataset.user_id_kind()),
            ListsColumn::ItemId => of_kind(dataset.item_id_kind()),
            ListsColumn::Rank => Self::Ranks(Vec::new()),
            ListsColumn::Score => Self::Floats(Vec::new()),
            ListsColumn::PredictedRating => Self::Optional { values: Vec::new(), present: Vec::new() },
            ListsColumn::Source | ListsColumn::Title | ListsColumn::Unspecified => Self::Texts(Vec::new()),
        }
    }

    fn described(&self, name: &str) -> String {
        match self {
            Self::Integers(_) => format!("required int64 {name};"),
            Self::Texts(_) => format!("required binary {name} (UTF8);"),
            Self::Ranks(_) => format!("required int32 {name};"),
            Self::Floats(_) => format!("required float {name};"),
            Self::Optional { .. } => format!("optional float {name};"),
        }
    }

    fn id(&mut self, id: IdRef<'_>) {
        match (self, id) {
            (Self::Integers(ids), IdRef::Integer(id)) => ids.push(id),
            (gathered, IdRef::Text(id)) => gathered.text(id),
            // Ids are of the data set's kind, by which the column was made.
            _ => {}
        }
    }

    fn text(&mut self, text: &str) {
        let Self::Texts(texts) = self else { return };
        // Rows of a user come one after the other: they share the text.
        let value = match texts.last() {
            Some(last) if last.data() == text.as_bytes() => last.clone(),
            _ => text.as_bytes().to_vec().into(),
        };
        texts.push(value);
    }

    fn write(&mut self, column: &mut ColumnWriter<'_>) -> Result<(), ParquetError> {
        match (&mut *self, column) {
            (Self::Integers(values), ColumnWriter::Int64ColumnWriter(writer)) => {
                writer.write_batch(values, None, None)?;
            }
            (Self::Texts(values), ColumnWriter::ByteArrayColumnWriter(writer)) => {
                writer.write_batch(values, None, None)?;
            }
            (Self::Ranks(values), ColumnWriter::Int32ColumnWriter(writer)) => {
                writer.write_batch(values, None, None)?;
            }
            (Self::Floats(values), ColumnWriter::FloatColumnWriter(writer)) => {
                writer.write_batch(values, None, None)?;
            }
            (Self::Optional { values, present }, ColumnWriter::FloatColumnWriter(writer)) => {
                writer.write_batch(values, Some(present), None)?;
            }
            _ => return Err(ParquetError::General("a column is of another type than its values".to_owned())),
        }
        match self {
            Self::Integers(values) => values.clear(),
            Self::Texts(values) => values.clear(),
            Self::Ranks(values) => values.clear(),
            Self::Floats(values) => values.clear(),
            Self::Optional { values, present } => {
                values.clear();
                present.clear();
            }
        }
        Ok(())
    }
}

/// Writes Parquet, a row group at a time.
pub(super) struct ParquetRows {
    writer: SerializedFileWriter<BufWriter<File>>,
    columns: Vec<(ListsColumn, Gathered)>,
    gathered: usize,
}

impl ParquetRows {
    fn new(file: File, columns: &[ListsColumn], dataset: &DatasetInfo) -> Result<Self, ParquetError> {
        let columns: Vec<(ListsColumn, Gathered)> =
            columns.iter().map(|column| (*column, Gathered::new(*column, dataset))).collect();
        let fields: Vec<String> =
            columns.iter().map(|(column, values)| values.described(name(*column))).collect();
        let schema = Arc::new(parse_message_type(&format!("message lists {{ {} }}", fields.join(" ")))?);
        // Scores hardly ever repeat: a dictionary of them is as long as the column, and thrown away.
        let floats = [ListsColumn::Score, ListsColumn::PredictedRating];
        let properties = floats.iter().fold(
            WriterProperties::builder().set_compression(Compression::SNAPPY),
            |properties, column| {
                properties.set_column_dictionary_enabled(ColumnPath::from(name(*column)), false)
            },
        );
        let properties = properties.build();
        let writer = SerializedFileWriter::new(BufWriter::new(file), schema, Arc::new(properties))?;
        Ok(Self { writer, columns, gathered: 0 })
    }

    fn row(&mut self, row: ListRow<'_>) {
        self.gathered += 1;
        for (column, values) in &mut self.columns {
            match (column, values) {
                (ListsColumn::UserId, values) => values.id(row.user),
                (ListsColumn::ItemId, values) => values.id(row.item),
                (ListsColumn::Source, values) => values.text(row.source),
                (ListsColumn::Title, values) => values.text(row.title),
                (_, Gathered::Ranks(ranks)) => ranks.push(row.rank),
                (_, Gathered::Floats(scores)) => scores.push(row.score),
                (_, Gathered::Optional { values, present }) => {
                    present.push(i16::from(row.predicted_rating.is_some()));
                    values.extend(row.predicted_rating);
                }
                // The others were made for the columns above.
                (_, Gathered::Integers(_) | Gathered::Texts(_)) => {}
            }
        }
    }

    fn flush(&mut self) -> Result<(), RowsError> {
        if self.gathered == 0 {
            return Ok(());
        }
        let mut group = self.writer.next_row_group()?;
        for (_, values) in &mut self.columns {
            // The schema was made of the same columns.
            let Some(mut column) = group.next_column()? else { break };
            values.write(column.untyped())?;
            column.close()?;
        }
        group.close()?;
        self.gathered = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<(), RowsError> {
        self.flush()?;
        let mut file = self.writer.into_inner()?;
        Ok(file.flush()?)
    }
}
