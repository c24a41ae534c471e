//! A source of ratings: which files it has, in which layout, with which kind of ids.
//!
//! Recognised are the MovieLens layouts as users have them: Kaggle's (`rating.csv movie.csv …`),
//! GroupLens's (`ratings.csv movies.csv …`), 1M (`ratings.dat movies.dat`), 100K (`u.data u.item`), and
//! any CSV or Parquet file whose columns are named ([`inspect()`]), also in parts and packed. Files are found by
//! listing the source's folder (`files`), so a source can be wherever a store can. Their rows come in byte ranges
//! ([`rows`]), or from one stream where bytes have to be unpacked or transcoded (`decoding`).

mod address;
mod decoding;
mod error;
mod files;
mod head;
mod inspect;
mod look;
mod parquet;
mod preview;
pub mod rows;

use std::ops::Range;

use bytes::Bytes;
use shoal_common::store::{Access, Store, StoreError, join};
use shoal_proto::v1::{DatasetSource, SourceFile};

use self::address::Asked;

pub use error::SourceError;
pub use inspect::inspect;
pub use preview::{PreviewError, preview};

/// Read of a range at a time.
const PIECE_BYTES: u64 = 4 * 1024 * 1024;

/// Read beyond a range's end, at a time, to find the end of its last row.
const TAIL_BYTES: u64 = 64 * 1024;

/// A folder and the store that is opened on it.
#[derive(Debug)]
pub struct SourceFolder {
    /// Opened on the folder.
    pub store: Store,
    /// The folder's own address, to which file names are joined.
    pub uri: String,
}

impl SourceFolder {
    /// Opens the folder in which everything lies that a source names.
    ///
    /// # Errors
    /// When there is nothing at the address, or it cannot be reached.
    pub fn open(source: &DatasetSource, access: &Access) -> Result<Self, SourceError> {
        Ok(Self::open_asked(source, access)?.0)
    }

    /// As [`SourceFolder::open`], with what the source asks for in the folder.
    fn open_asked(source: &DatasetSource, access: &Access) -> Result<(Self, Vec<Asked>), SourceError> {
        for uri in address::addresses(source) {
            // Before it is looked for: nobody is told what lies elsewhere.
            access.read.check(uri).map_err(|error| SourceError::Access(Box::new(error)))?;
        }
        let (uri, asked) = address::resolve(source)?;
        let addresses = address::addresses(source);
        let store = Store::open_within(&uri, addresses, &access.options, &access.read)
            .map_err(|error| SourceError::Store { uri: uri.clone(), source: Box::new(error) })?;
        Ok((Self { store, uri }, asked))
    }

    /// A failure of the store at a path of the folder.
    fn error(&self, path: &str, source: StoreError) -> SourceError {
        SourceError::Store { uri: join(&self.uri, path), source: Box::new(source) }
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
        let mut bytes = self.read_exactly(&file.uri, position..piece_end).await?;
        if file.cr_lines {
            let mut text = bytes.to_vec();
            decoding::end_lines_with_feeds(&mut text);
            bytes = text.into();
        }
        Ok((bytes, is_last))
    }

    /// Bytes of a file that it has to have.
    async fn read_exactly(&self, name: &str, range: Range<u64>) -> Result<Bytes, SourceError> {
        let read = self.store.get_range(name, range.clone()).await;
        let bytes = read.map_err(|source| self.error(name, source))?;
        if bytes.len() as u64 != range.end - range.start {
            return Err(SourceError::Changed(join(&self.uri, name)));
        }
        Ok(bytes)
    }
}
