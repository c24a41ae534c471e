//! A source of ratings: which files it has, in which layout, with which kind of ids.
//!
//! Recognised are the MovieLens layouts as users have them: Kaggle's (`rating.csv movie.csv …`),
//! GroupLens's (`ratings.csv movies.csv …`), 1M (`ratings.dat movies.dat`), 100K (`u.data u.item`), and
//! any CSV or Parquet file whose columns are named ([`inspect()`]). Files are found by listing the
//! source's folder, so a source can be wherever a store can. Their rows come in byte ranges ([`rows`]).

mod columns;
mod inspect;
mod parquet;
pub mod rows;

use std::{collections::BTreeMap, ops::Range};

use bytes::Bytes;
use shoal_common::store::{Store, StoreError};
use shoal_proto::v1::SourceFile;

pub use inspect::inspect;

/// Read of a range at a time.
const PIECE_BYTES: u64 = 4 * 1024 * 1024;

/// Read beyond a range's end, at a time, to find the end of its last row.
const TAIL_BYTES: u64 = 64 * 1024;

/// A source that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The files cannot be reached.
    #[error("cannot read the source '{uri}'")]
    Store {
        /// As given.
        uri: String,
        /// The store's error.
        source: Box<StoreError>,
    },
    /// No ratings file was recognised.
    #[error(
        "no ratings were found in '{uri}': looked for {looked_for}; found {found}; to use another file, give its path and name its columns"
    )]
    NoRatings {
        /// As given.
        uri: String,
        /// The file names that would have done.
        looked_for: String,
        /// What is there.
        found: String,
    },
    /// A file lacks a column.
    #[error("'{file}' has no column '{column}': its columns are {columns}")]
    NoColumn {
        /// The file.
        file: String,
        /// The column that was looked for.
        column: String,
        /// Those it has.
        columns: String,
    },
    /// A file has no rows.
    #[error("'{0}' is empty")]
    Empty(String),
    /// A file is shorter than it was.
    #[error("'{0}' has changed while it was read; import it again when nobody writes it")]
    Changed(String),
    /// The format is not one that is read.
    #[error(
        "'{0}' is not in a format that can be imported: give a CSV or Parquet file, unpacked, or a MovieLens folder"
    )]
    Format(String),
    /// A column's values are of a type that is not read.
    #[error(
        "column '{column}' of '{file}' holds values of type {kind}, which cannot be read as ids, ratings or times"
    )]
    ColumnType {
        /// The file.
        file: String,
        /// The column.
        column: String,
        /// Its type.
        kind: String,
    },
    /// A Parquet file is damaged, or uses what is not supported.
    #[error("cannot read the Parquet file '{file}'")]
    Parquet {
        /// The file.
        file: String,
        /// What the reader said.
        source: ::parquet::errors::ParquetError,
    },
}

/// A folder and the store that is opened on it.
#[derive(Debug)]
pub struct SourceFolder {
    /// Opened on the folder.
    pub store: Store,
    /// The folder's own address, to which file names are joined.
    pub uri: String,
}

impl SourceFolder {
    /// Opens the folder that holds `uri` (a file), or is `uri`, and says which file was meant, if one was.
    ///
    /// # Errors
    /// When there is nothing at the address, or it cannot be reached.
    pub fn open(
        uri: &str,
        options: &BTreeMap<String, String>,
    ) -> Result<(Self, Option<String>), SourceError> {
        let store_error = |source| SourceError::Store { uri: uri.to_owned(), source: Box::new(source) };
        let trimmed = uri.trim_end_matches('/');
        let is_file = match trimmed.split_once("://") {
            None => std::path::Path::new(trimmed).is_file(),
            Some(("file", path)) => std::path::Path::new(path).is_file(),
            // Object stores have no folders: a name with an extension is a file.
            Some(_) => trimmed.rsplit('/').next().is_some_and(|name| name.contains('.')),
        };
        let (folder, file) = match trimmed.rsplit_once('/') {
            Some((folder, name)) if is_file => {
                (if folder.is_empty() { "/" } else { folder }, Some(name.to_owned()))
            }
            None if is_file => (".", Some(trimmed.to_owned())),
            _ => (trimmed, None),
        };
        let store = Store::open_existing(folder, options).map_err(store_error)?;
        Ok((Self { store, uri: folder.to_owned() }, file))
    }

    /// The next bytes of a file from `position` on, and whether they are the last. Pieces go little beyond `end`, as the
    /// end of a row is near.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub async fn read_piece(
        &self,
        file: &SourceFile,
        position: u64,
        end: u64,
    ) -> Result<(Bytes, bool), SourceError> {
        let most = (end.saturating_sub(position) + TAIL_BYTES).min(PIECE_BYTES);
        let piece_end = (position + most).min(file.length_bytes);
        let is_last = piece_end == file.length_bytes;
        if position >= piece_end {
            return Ok((Bytes::new(), is_last));
        }
        Ok((self.read_exactly(&file.uri, position..piece_end).await?, is_last))
    }

    /// Bytes of a file that it has to have.
    async fn read_exactly(&self, name: &str, range: Range<u64>) -> Result<Bytes, SourceError> {
        let uri = format!("{}/{name}", self.uri);
        let read = self.store.get_range(name, range.clone()).await;
        let bytes =
            read.map_err(|source| SourceError::Store { uri: uri.clone(), source: Box::new(source) })?;
        if bytes.len() as u64 != range.end - range.start {
            return Err(SourceError::Changed(uri));
        }
        Ok(bytes)
    }
}
