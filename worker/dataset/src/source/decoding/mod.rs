//! From the bytes of a stored file to its text: unpacked, in UTF-8, with line feeds at its lines' ends.
//!
//! A plain file needs none of it, and is read in byte ranges. A packed file or one in another encoding has
//! no byte ranges: [`TextDecoder`] takes its bytes from the first to the last and hands out text in pieces of
//! bounded size, however far the bytes expand. Pure.

mod transcode;
mod unpack;

use shoal_proto::v1::{FileCompression, SourceFile};

use self::{transcode::Transcoder, unpack::Unpacker};
use super::error::SourceError;

pub(super) use transcode::{byte_order_mark, encoding_named};
pub(super) use unpack::{compression_of, packed_otherwise};

/// Turns the bytes of one stored file into its text.
#[derive(Debug)]
pub(super) struct TextDecoder {
    uri: String,
    unpacker: Unpacker,
    transcoder: Option<Transcoder>,
    cr_lines: bool,
}

impl TextDecoder {
    /// A decoder for a file, which errors call `uri`.
    ///
    /// # Errors
    /// When the file's encoding is not known here, or there is no memory to unpack with.
    pub(super) fn new(file: &SourceFile, uri: &str) -> Result<Self, SourceError> {
        let transcoder = if file.encoding.is_empty() {
            None
        } else {
            Some(Transcoder::new(encoding_named(&file.encoding)?))
        };
        Ok(Self {
            uri: uri.to_owned(),
            unpacker: Unpacker::new(file.compression()).map_err(|error| damaged(uri, error))?,
            transcoder,
            cr_lines: file.cr_lines,
        })
    }

    /// Takes the next bytes of the file, `last` when no others follow, and hands their text to `on_text` in pieces.
    ///
    /// # Errors
    /// When an archive is damaged or ends too early, or the error of `on_text`.
    pub(super) fn take<E: From<SourceError>>(
        &mut self,
        stored: &[u8],
        last: bool,
        mut on_text: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let Self { uri, unpacker, transcoder, cr_lines } = self;
        let mut lines = |text: &mut [u8]| {
            if *cr_lines {
                end_lines_with_feeds(text);
            }
            on_text(text)
        };
        let mut unpacked = |bytes: &mut [u8]| match transcoder {
            Some(transcoder) => transcoder.take(bytes, false, &mut lines),
            None => lines(bytes),
        };
        let broken = |error| E::from(damaged(uri, error));
        unpacker.take(stored, &mut unpacked, broken)?;
        if last {
            unpacker.finish(&mut unpacked, broken)?;
            if let Some(transcoder) = transcoder {
                transcoder.take(&[], true, &mut lines)?;
            }
        }
        Ok(())
    }

    /// Characters so far that the encoding does not have, and were replaced.
    pub(super) fn replaced(&self) -> u64 {
        self.transcoder.as_ref().map_or(0, Transcoder::replaced)
    }
}

/// Whether a file has no byte ranges, as its text is not what is stored.
pub(super) fn has_no_ranges(file: &SourceFile) -> bool {
    file.compression() != FileCompression::Unspecified || !file.encoding.is_empty()
}

/// Line feeds in place of carriage returns, where lines end with the latter alone.
pub(super) fn end_lines_with_feeds(text: &mut [u8]) {
    for byte in text.iter_mut().filter(|byte| **byte == b'\r') {
        *byte = b'\n';
    }
}

fn damaged(uri: &str, source: std::io::Error) -> SourceError {
    SourceError::Archive { file: uri.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn what_is_packed_to_explode_is_handed_out_in_small_pieces() {
        const BYTES: usize = 48 * 1024 * 1024;
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(&vec![b'a'; BYTES]).unwrap();
        let zstd = zstd::encode_all(&vec![b'a'; BYTES][..], 19).unwrap();
        for (compression, packed) in
            [(FileCompression::Gzip, gzip.finish().unwrap()), (FileCompression::Zstd, zstd)]
        {
            assert!(packed.len() < BYTES / 900, "{} bytes", packed.len());
            let file = SourceFile { compression: compression.into(), ..SourceFile::default() };
            let mut decoder = TextDecoder::new(&file, "f").unwrap();
            let (mut all, mut largest) = (0, 0);
            let outcome: Result<(), SourceError> = decoder.take(&packed, true, |text| {
                all += text.len();
                largest = largest.max(text.len());
                Ok(())
            });
            outcome.unwrap();
            assert_eq!(all, BYTES);
            assert!(largest <= 10 * 1024 * 1024, "{largest} bytes at once");
        }
    }

    /// The text of a file that is taken in one piece, and how many characters were replaced.
    fn text_of(file: &SourceFile, stored: &[u8]) -> (Vec<u8>, u64) {
        let mut decoder = TextDecoder::new(file, "f").unwrap();
        let mut all = Vec::new();
        let outcome: Result<(), SourceError> = decoder.take(stored, true, |text| {
            all.extend_from_slice(text);
            Ok(())
        });
        outcome.unwrap();
        (all, decoder.replaced())
    }

    #[test]
    fn a_text_that_ends_inside_a_character_says_so() {
        let file = SourceFile { encoding: "utf-16le".to_owned(), ..SourceFile::default() };
        assert_eq!(text_of(&file, b"a\0b\0"), (b"ab".to_vec(), 0));
        assert_eq!(text_of(&file, b"a\0b\0c"), ("ab\u{fffd}".as_bytes().to_vec(), 1));
    }
}
