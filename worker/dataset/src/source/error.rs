//! Why a source cannot be used.

use shoal_common::store::StoreError;

use crate::values::TimeRuleError;

/// A source that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The files cannot be reached.
    #[error("cannot read the source '{uri}'")]
    Store {
        /// The address as it was given.
        uri: String,
        /// What the store said.
        source: Box<StoreError>,
    },
    /// The worker may not go there.
    #[error("cannot read the source")]
    Access(#[source] Box<StoreError>),
    /// No ratings file was recognised.
    #[error(
        "no ratings were found in '{uri}': looked for {looked_for}; found {found}; to use another file, give its path and name its columns"
    )]
    NoRatings {
        /// The address as it was given.
        uri: String,
        /// The file names that would have done.
        looked_for: String,
        /// The names of the files that are there, in words.
        found: String,
    },
    /// A file lacks a column.
    #[error("'{file}' has no column '{column}'{}: its columns are {columns}", named_by(flag))]
    NoColumn {
        /// Path of the file in the source.
        file: String,
        /// The column that was looked for.
        column: String,
        /// The flag that named it; empty where none did.
        flag: &'static str,
        /// The columns of the file, by name.
        columns: String,
    },
    /// Columns that a file has to have are not recognised.
    #[error(
        "the columns of '{file}' are not understood: none is recognised as {missing}; name them with {flags}; its columns are {columns}"
    )]
    NotUnderstood {
        /// Path of the file in the source.
        file: String,
        /// The columns that are not recognised, in words.
        missing: String,
        /// The flags that would name it.
        flags: String,
        /// The columns of the file, by name.
        columns: String,
    },
    /// Several columns could be the same.
    #[error("which column of '{file}' is the {role} cannot be told: it has {candidates}; {remedy}")]
    Ambiguous {
        /// Path of the file in the source.
        file: String,
        /// What the columns could be.
        role: &'static str,
        /// The columns, by name.
        candidates: String,
        /// How the caller names the right one.
        remedy: String,
    },
    /// No column is recognised as the rating, but some could be it.
    #[error(
        "no column of '{file}' is recognised as the rating, but there are numbers in {candidates}: name the rating with --rating-col, or count each row as 1 with --no-rating"
    )]
    NoRating {
        /// Path of the file in the source.
        file: String,
        /// The columns that hold numbers, by name.
        candidates: String,
    },
    /// A delimiter that cannot be one.
    #[error(
        "'{0}' cannot stand between fields; give --delimiter ',' ';' '|' tab '::' or another single character"
    )]
    Delimiter(String),
    /// Times cannot be read as was said.
    #[error(transparent)]
    Times(#[from] TimeRuleError),
    /// A file has no rows.
    #[error("'{0}' is empty")]
    Empty(String),
    /// A file is shorter than it was.
    #[error("'{0}' has changed while it was read; import it again when nobody writes it")]
    Changed(String),
    /// The format is not one that is read.
    #[error(
        "'{0}' is not in a format that can be imported: give a CSV or Parquet file (CSV may be packed with gzip or zstd), or a MovieLens folder; UTF-16 without a byte-order mark is read with --encoding utf-16le"
    )]
    Format(String),
    /// A file is packed in a way that is not read.
    #[error("'{file}' is packed with {packer}, which is not read: unpack it, or pack it with gzip or zstd")]
    Packer {
        /// Path of the file in the source.
        file: String,
        /// The program or format that packed the file.
        packer: String,
    },
    /// A packed file cannot be unpacked.
    #[error("cannot unpack '{file}': it is damaged or ends too early; fetch it again")]
    Archive {
        /// Path of the file in the source.
        file: String,
        /// What the unpacker said.
        source: std::io::Error,
    },
    /// There is no such encoding.
    #[error("there is no encoding '{0}': give a label such as utf-8, utf-16le, windows-1252 or shift_jis")]
    UnknownEncoding(String),
    /// A pattern of files makes no sense.
    #[error("'{pattern}' cannot be read as a pattern of files: {reason}")]
    Pattern {
        /// As given, from the first folder on that is part of it.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// More files than a source may have.
    #[error("'{uri}' has {count} files, more than the {most} that are read at once; join some of them")]
    TooManyFiles {
        /// The address of the source's folder.
        uri: String,
        /// Files that are asked for.
        count: usize,
        /// Files that a source may have.
        most: usize,
    },
    /// Files of one source lie in different stores.
    #[error("the files '{0}' do not lie in one store: copy them below one folder or bucket")]
    DifferentStores(String),
    /// Parts of one file have different columns.
    #[error(
        "'{first}' and '{other}' cannot be read as one file: the columns of the first are {first_columns}, those of the other {other_columns}; import them one by one"
    )]
    PartsDiffer {
        /// Path of one part.
        first: String,
        /// The columns of this part.
        first_columns: String,
        /// Path of a part with other columns.
        other: String,
        /// The columns of the other part.
        other_columns: String,
    },
    /// A column's values are of a type that is not read.
    #[error(
        "column '{column}' of '{file}' holds values of type {kind}, which cannot be read as ids, ratings or times"
    )]
    ColumnType {
        /// Path of the file in the source.
        file: String,
        /// Name of the column.
        column: String,
        /// Type of the column's values, as Parquet names it.
        kind: String,
    },
    /// A Parquet file is damaged, or uses what is not supported.
    #[error("cannot read the Parquet file '{file}'")]
    Parquet {
        /// Path of the file in the source.
        file: String,
        /// What the reader said.
        source: ::parquet::errors::ParquetError,
    },
}

fn named_by(flag: &str) -> String {
    if flag.is_empty() { String::new() } else { format!(", which {flag} names") }
}
