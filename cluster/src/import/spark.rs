//! A saved Spark `ALSModel`, read whole: factors of both sides in ascending order of ids.
//!
//! ```text
//! metadata/part-*                    one line of JSON with class, sparkVersion and rank
//! {userFactors,itemFactors}/*.parquet    id, features
//! ```
//!
//! Cross-validators save the model below `bestModel/`. Nothing is taken on trust: every row has an id of its own
//! and `rank` finite numbers, or the file and the reason are named.

use bytes::Bytes;
use parquet::{
    basic::Type,
    column::reader::ColumnReader,
    data_type::DataType,
    errors::ParquetError,
    file::{
        reader::{FileReader as _, RowGroupReader},
        serialized_reader::SerializedFileReader,
    },
};
use serde::Deserialize;
use shoal_common::store::{Store, StoreError, join};

/// The class whose folders are read.
pub const ALS_MODEL_CLASS: &str = "org.apache.spark.ml.recommendation.ALSModel";

const BEST_MODEL: &str = "bestModel";

/// A folder that is not a whole `ALSModel`.
#[derive(Debug, thiserror::Error)]
pub enum SparkError {
    /// The folder, or one of its files, cannot be read.
    #[error("cannot read the Spark model")]
    Store(#[from] StoreError),
    /// A part of the folder is missing.
    #[error(
        "'{path}' is missing: a saved ALSModel has metadata/, userFactors/ and itemFactors/; name the folder that `model.save` wrote"
    )]
    Missing {
        /// What should be there.
        path: String,
    },
    /// The metadata is no line of JSON with a class and a rank.
    #[error("'{path}' does not describe a saved Spark model; save the model again")]
    Metadata {
        /// Path of the file.
        path: String,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// The folder holds something else.
    #[error("'{path}' is of a {class}, not of an ALSModel; name the folder of the ALS model")]
    Class {
        /// Path of the file that names the class.
        path: String,
        /// The class it names.
        class: String,
    },
    /// The file cannot be read as Parquet.
    #[error("'{path}' cannot be read as Parquet; save the model again")]
    Parquet {
        /// Path of the file.
        path: String,
        /// What the library said.
        source: ParquetError,
    },
    /// The file is whole but its rows cannot be factors.
    #[error("'{path}' cannot be used: {reason}; save the model again")]
    Rows {
        /// Path of the file.
        path: String,
        /// What is wrong with the rows.
        reason: String,
    },
}

/// The factors of a model that Spark has saved.
#[derive(Debug, Clone, PartialEq)]
pub struct SparkModel {
    /// Elements of a factor row.
    pub rank: usize,
    /// The release that saved it, such as "4.0.1".
    pub spark_version: String,
    /// Factors of all users.
    pub users: SparkRows,
    /// Factors of all items.
    pub items: SparkRows,
}

/// The factors of one side.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SparkRows {
    /// The ids, ascending, each once.
    pub ids: Vec<i64>,
    /// A row of `rank` elements for each id.
    pub factors: Vec<f32>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    class: String,
    #[serde(rename = "sparkVersion")]
    spark_version: String,
    rank: Option<usize>,
}

impl SparkModel {
    /// Reads the model that `folder` holds, or that is `bestModel/` in it.
    ///
    /// # Errors
    /// When a part is missing, damaged, or not of an `ALSModel`.
    pub async fn read(folder: &Store) -> Result<Self, SparkError> {
        let has_best = !folder.list(BEST_MODEL).await?.is_empty();
        let root = if has_best { BEST_MODEL } else { "" };
        let (path, metadata) = read_metadata(folder, root).await?;
        if metadata.class != ALS_MODEL_CLASS {
            return Err(SparkError::Class { path, class: metadata.class });
        }
        let rank = metadata.rank.filter(|rank| *rank > 0);
        let rank = rank.ok_or_else(|| SparkError::Rows { path, reason: "it names no rank".to_owned() })?;
        Ok(Self {
            rank,
            spark_version: metadata.spark_version,
            users: read_side(folder, &join(root, "userFactors"), rank).await?,
            items: read_side(folder, &join(root, "itemFactors"), rank).await?,
        })
    }
}

/// The objects of a folder that are data: Spark puts `_SUCCESS` and checksums beside them.
async fn data_files(store: &Store, folder: &str) -> Result<Vec<String>, SparkError> {
    let listed = store.list_folder(folder).await?.into_iter().map(|(path, _)| path);
    let is_data = |path: &String| path.rsplit('/').next().is_some_and(|name| name.starts_with("part-"));
    let found: Vec<String> = listed.filter(is_data).collect();
    if found.is_empty() {
        return Err(SparkError::Missing { path: in_store(store, folder) });
    }
    Ok(found)
}

async fn read_metadata(store: &Store, root: &str) -> Result<(String, Metadata), SparkError> {
    let files = data_files(store, &join(root, "metadata")).await?;
    let mut text = Vec::new();
    for file in &files {
        text.extend_from_slice(&store.get(file).await?);
    }
    let path = in_store(store, &files[0]);
    match serde_json::from_slice(&text) {
        Ok(metadata) => Ok((path, metadata)),
        Err(source) => Err(SparkError::Metadata { path, source }),
    }
}

async fn read_side(store: &Store, folder: &str, rank: usize) -> Result<SparkRows, SparkError> {
    let mut rows = SparkRows::default();
    for file in data_files(store, folder).await? {
        let bytes = store.get(&file).await?;
        read_file(&in_store(store, &file), bytes, rank, &mut rows)?;
    }
    rows.sorted(rank).map_err(|id| SparkError::Rows {
        path: in_store(store, folder),
        reason: format!("id {id} has two rows"),
    })
}

fn in_store(store: &Store, path: &str) -> String {
    join(store.uri().trim_end_matches('/'), path)
}

impl SparkRows {
    /// The same in ascending order of ids, or an id that comes twice.
    fn sorted(self, rank: usize) -> Result<Self, i64> {
        let mut order: Vec<usize> = (0..self.ids.len()).collect();
        order.sort_unstable_by_key(|&row| self.ids[row]);
        let ids: Vec<i64> = order.iter().map(|&row| self.ids[row]).collect();
        if let Some(pair) = ids.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(pair[0]);
        }
        let row = |row: &usize| &self.factors[row * rank..(row + 1) * rank];
        Ok(Self { factors: order.iter().flat_map(row).copied().collect(), ids })
    }
}

/// Adds a file's rows.
fn read_file(path: &str, bytes: Bytes, rank: usize, rows: &mut SparkRows) -> Result<(), SparkError> {
    let damaged = |source| SparkError::Parquet { path: path.to_owned(), source };
    let unfit = |reason: String| SparkError::Rows { path: path.to_owned(), reason };
    let reader = SerializedFileReader::new(bytes).map_err(damaged)?;
    let schema = reader.metadata().file_metadata().schema_descr();
    let column = |name: &str, types: &[Type]| {
        let mut columns = schema.columns().iter().enumerate();
        let found =
            columns.find(|(_, column)| column.path().parts().first().is_some_and(|part| part == name));
        let fits = found.filter(|(_, column)| types.contains(&column.physical_type()));
        let at = fits.map(|(at, column)| (at, column.max_def_level()));
        at.ok_or_else(|| unfit(format!("it has no column '{name}' of type {types:?}")))
    };
    let (id_column, _) = column("id", &[Type::INT32, Type::INT64])?;
    let (features_column, defined) = column("features", &[Type::FLOAT])?;
    for at in 0..reader.num_row_groups() {
        let group = reader.get_row_group(at).map_err(damaged)?;
        let count = usize::try_from(group.metadata().num_rows()).unwrap_or_default();
        let ids = read_ids(group.as_ref(), id_column, count).map_err(damaged)?;
        if ids.len() != count {
            return Err(unfit(format!("{} of {count} rows have no id", count - ids.len())));
        }
        let features = read_features(group.as_ref(), features_column, count, defined).map_err(damaged)?;
        check_features(&ids, &features, rank).map_err(unfit)?;
        rows.ids.extend(ids);
        rows.factors.extend(features.values);
    }
    Ok(())
}

fn read_ids(group: &dyn RowGroupReader, column: usize, count: usize) -> Result<Vec<i64>, ParquetError> {
    match group.get_column_reader(column)? {
        ColumnReader::Int32ColumnReader(reader) => {
            Ok(read_column(reader, count)?.values.into_iter().map(i64::from).collect())
        }
        ColumnReader::Int64ColumnReader(reader) => Ok(read_column(reader, count)?.values),
        _ => Err(ParquetError::General("the column 'id' is not of its type".to_owned())),
    }
}

/// The elements of a list column, and how many each row has.
struct Features {
    values: Vec<f32>,
    /// One per row; `None` where the list or an element of it is null.
    lengths: Vec<Option<usize>>,
}

fn read_features(
    group: &dyn RowGroupReader,
    column: usize,
    count: usize,
    defined: i16,
) -> Result<Features, ParquetError> {
    let ColumnReader::FloatColumnReader(reader) = group.get_column_reader(column)? else {
        return Err(ParquetError::General("the column 'features' is not of its type".to_owned()));
    };
    let read = read_column(reader, count)?;
    let mut lengths: Vec<Option<usize>> = Vec::with_capacity(count);
    for (level, repeated) in read.defined.iter().zip(&read.repeated) {
        if *repeated == 0 {
            lengths.push(Some(0));
        }
        if let Some(length) = lengths.last_mut() {
            *length = length.filter(|_| *level == defined).map(|length| length + 1);
        }
    }
    Ok(Features { values: read.values, lengths })
}

/// A column of one row group.
struct Column<T> {
    values: Vec<T>,
    defined: Vec<i16>,
    repeated: Vec<i16>,
}

fn read_column<D: DataType>(
    mut reader: parquet::column::reader::ColumnReaderImpl<D>,
    count: usize,
) -> Result<Column<D::T>, ParquetError> {
    let (mut values, mut defined, mut repeated) = (Vec::new(), Vec::new(), Vec::new());
    reader.read_records(count, Some(&mut defined), Some(&mut repeated), &mut values)?;
    Ok(Column { values, defined, repeated })
}

/// Whether every row has `rank` finite numbers; what is wrong with the first that has not.
fn check_features(ids: &[i64], features: &Features, rank: usize) -> Result<(), String> {
    if features.lengths.len() != ids.len() {
        return Err(format!("it has {} lists for {} ids", features.lengths.len(), ids.len()));
    }
    for (id, length) in ids.iter().zip(&features.lengths) {
        match length {
            Some(length) if *length == rank => {}
            Some(length) => return Err(format!("id {id} has {length} features, the model's rank is {rank}")),
            None => return Err(format!("id {id} has features that are null")),
        }
    }
    match features.values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => Err(format!("id {} has the feature {}", ids[at / rank], features.values[at])),
    }
}
