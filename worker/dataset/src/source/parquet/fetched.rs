//! Parts of a file in memory, as the Parquet reader takes them.

use std::ops::Range;

use bytes::{Buf as _, Bytes, buf::Reader};
use parquet::{
    errors::{ParquetError, Result},
    file::reader::{ChunkReader, Length},
};

use crate::source::{SourceError, SourceFolder};

/// Read of a file's end at first: enough for the footers of most files.
const FOOTER_BYTES: u64 = 64 * 1024;

/// A footer that says it is larger than this is damaged.
const FOOTER_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// The length of the footer and the magic number, at the very end.
const TRAILER_BYTES: u64 = 8;

/// Some of the bytes of a file.
#[derive(Debug, Clone)]
pub(super) struct Fetched {
    length: u64,
    pieces: Vec<(u64, Bytes)>,
}

impl Fetched {
    /// The footer of a file of this length.
    pub(super) async fn footer(
        folder: &SourceFolder,
        name: &str,
        length: u64,
    ) -> std::result::Result<Self, SourceError> {
        let mut fetched = Self { length, pieces: Vec::new() };
        fetched.add(folder, name, length.saturating_sub(FOOTER_BYTES)..length).await?;
        let trailer = fetched.get_bytes(length.saturating_sub(TRAILER_BYTES), TRAILER_BYTES as usize);
        let footer = trailer.map(|mut trailer| u64::from(trailer.get_u32_le()) + TRAILER_BYTES);
        // What is no footer is left to the Parquet reader to refuse.
        if let Ok(footer @ FOOTER_BYTES..FOOTER_BYTES_MAX) = footer {
            fetched.pieces.clear();
            fetched.add(folder, name, length.saturating_sub(footer)..length).await?;
        }
        Ok(fetched)
    }

    /// Fetches one more range of bytes.
    pub(super) async fn add(
        &mut self,
        folder: &SourceFolder,
        name: &str,
        range: Range<u64>,
    ) -> std::result::Result<(), SourceError> {
        let range = range.start.min(self.length)..range.end.min(self.length);
        if !range.is_empty() {
            let bytes = folder.read_exactly(name, range.clone()).await?;
            self.pieces.push((range.start, bytes));
        }
        Ok(())
    }

    /// What was fetched from `start` on.
    fn from(&self, start: u64) -> Result<Bytes> {
        let piece = self.pieces.iter().rev().find_map(|(begin, bytes)| {
            let offset = usize::try_from(start.checked_sub(*begin)?).ok()?;
            (offset < bytes.len()).then(|| bytes.slice(offset..))
        });
        piece.ok_or_else(|| ParquetError::EOF(format!("nothing was fetched at byte {start}")))
    }
}

impl Length for Fetched {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for Fetched {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        self.from(start).map(Bytes::reader)
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let bytes = self.from(start)?;
        if bytes.len() < length {
            return Err(ParquetError::EOF(format!("fewer than {length} bytes were fetched at byte {start}")));
        }
        Ok(bytes.slice(..length))
    }
}
