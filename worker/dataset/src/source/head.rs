//! The first text of a file, and what stands between its bytes and its text.

use bytes::Bytes;
use encoding_rs::UTF_8;
use shoal_common::store::join;
use shoal_proto::v1::{FileCompression, SourceFile};

use super::{
    SourceError, SourceFolder,
    decoding::{
        TextDecoder, byte_order_mark, compression_of, encoding_named, has_no_ranges, packed_otherwise,
    },
};

/// Stored bytes at the start of a file that are looked at.
const STORED_BYTES: u64 = 256 * 1024;

/// Text that is looked at.
const TEXT_BYTES: usize = 256 * 1024;

/// The first text of a file.
#[derive(Debug, Clone)]
pub(super) struct Head {
    /// In UTF-8, or in what the file's fields are decoded from; without a byte-order mark.
    pub(super) text: Vec<u8>,
    /// Bytes of a byte-order mark that stands before the text, in the file's positions.
    pub(super) mark_bytes: u64,
    /// Whether this is the whole file.
    pub(super) is_whole: bool,
}

impl Head {
    /// How people call the encoding of the file that it is the begin of.
    pub(super) fn encoding(&self, file: &SourceFile) -> String {
        if !file.encoding.is_empty() {
            return file.encoding.clone();
        }
        match std::str::from_utf8(&self.text) {
            // A character may be cut off at the end.
            Err(error) if error.error_len().is_some() => "UTF-8, and Windows-1252 where it is not".to_owned(),
            _ if self.mark_bytes > 0 => "UTF-8 with a byte-order mark".to_owned(),
            _ => "UTF-8".to_owned(),
        }
    }
}

impl SourceFolder {
    /// Reads the first text of a file, and notes in `file` how its bytes become text: how they are packed, in which
    /// encoding they are (`forced`, if that is given) and how lines end.
    ///
    /// # Errors
    /// When the file cannot be read, is packed in a way that is not read, or is no text.
    pub(super) async fn read_head(&self, file: &mut SourceFile, forced: &str) -> Result<Head, SourceError> {
        let uri = join(&self.uri, &file.uri);
        let end = file.length_bytes.min(STORED_BYTES);
        let stored: Bytes = self.read_exactly(&file.uri, 0..end).await?;
        if let Some(packer) = packed_otherwise(&stored) {
            return Err(SourceError::Packer { file: uri, packer: packer.to_owned() });
        }
        file.set_compression(compression_of(&stored));
        let stored_is_whole = end == file.length_bytes;
        let (bytes, is_whole) = if file.compression() == FileCompression::Unspecified {
            (stored.to_vec(), stored_is_whole)
        } else {
            decoded(file, &uri, &stored, stored_is_whole)?
        };
        let mark = byte_order_mark(&bytes);
        let encoding = match (forced, mark) {
            ("", mark) => mark.map(|(encoding, _)| encoding),
            (label, _) => Some(encoding_named(label)?),
        };
        let mut head = match encoding {
            Some(encoding) if encoding != UTF_8 => {
                encoding.name().clone_into(&mut file.encoding);
                let (text, is_whole) = decoded(file, &uri, &stored, stored_is_whole)?;
                Head { text, mark_bytes: 0, is_whole }
            }
            _ => {
                let mark_bytes =
                    mark.filter(|(encoding, _)| *encoding == UTF_8).map_or(0, |(_, length)| length);
                Head { text: bytes[mark_bytes..].to_vec(), mark_bytes: mark_bytes as u64, is_whole }
            }
        };
        // Text has no zeros, but UTF-16 has, and so have files of other kinds.
        if head.text.contains(&0) {
            return Err(SourceError::Format(uri));
        }
        file.one_range = has_no_ranges(file);
        file.cr_lines = !head.text.contains(&b'\n') && head.text.contains(&b'\r');
        if file.cr_lines {
            super::decoding::end_lines_with_feeds(&mut head.text);
        }
        Ok(head)
    }
}

/// The first text of a file of which only `stored` is there, and whether it is all.
fn decoded(
    file: &SourceFile,
    uri: &str,
    stored: &[u8],
    stored_is_whole: bool,
) -> Result<(Vec<u8>, bool), SourceError> {
    /// What ends the decoding of a file's head.
    enum Stop {
        Enough,
        Failed(SourceError),
    }
    impl From<SourceError> for Stop {
        fn from(error: SourceError) -> Self {
            Self::Failed(error)
        }
    }
    let mut text = Vec::new();
    let mut decoder = TextDecoder::new(file, uri)?;
    let outcome = decoder.take(stored, stored_is_whole, |piece| {
        text.extend_from_slice(piece);
        if text.len() > TEXT_BYTES { Err(Stop::Enough) } else { Ok(()) }
    });
    match outcome {
        Ok(()) => Ok((text, stored_is_whole)),
        Err(Stop::Enough) => {
            text.truncate(TEXT_BYTES);
            Ok((text, false))
        }
        Err(Stop::Failed(error)) => Err(error),
    }
}
