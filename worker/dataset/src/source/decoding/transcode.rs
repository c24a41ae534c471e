//! Text in other encodings, as UTF-8.

use encoding_rs::{Decoder, DecoderResult, Encoding, UTF_8, UTF_16BE, UTF_16LE};

use crate::source::error::SourceError;

/// UTF-8 that is handed out in one go.
const PIECE_BYTES: usize = 64 * 1024;

/// Turns text of one encoding into UTF-8. A byte-order mark is left out.
pub(super) struct Transcoder {
    decoder: Decoder,
    piece: Vec<u8>,
    replaced: u64,
}

impl std::fmt::Debug for Transcoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transcoder")
            .field("encoding", &self.decoder.encoding().name())
            .finish_non_exhaustive()
    }
}

/// The encoding of text that begins with a byte-order mark, and the mark's length.
pub(in crate::source) fn byte_order_mark(head: &[u8]) -> Option<(&'static Encoding, usize)> {
    Encoding::for_bom(head)
}

/// The encoding of a label.
///
/// # Errors
/// When there is no such encoding.
pub(in crate::source) fn encoding_named(label: &str) -> Result<&'static Encoding, SourceError> {
    // The standard's "utf-16" is little-endian, as nearly all files are; a mark decides when there is one.
    Encoding::for_label_no_replacement(label.as_bytes())
        .ok_or_else(|| SourceError::UnknownEncoding(label.to_owned()))
}

impl Transcoder {
    pub(super) fn new(encoding: &'static Encoding) -> Self {
        // Of UTF-16 a mark of the other byte order is believed.
        let decoder = if encoding == UTF_16LE || encoding == UTF_16BE || encoding == UTF_8 {
            encoding.new_decoder()
        } else {
            encoding.new_decoder_with_bom_removal()
        };
        Self { decoder, piece: vec![0; PIECE_BYTES], replaced: 0 }
    }

    /// Takes the next bytes, `last` when no others follow.
    pub(super) fn take<E>(
        &mut self,
        bytes: &[u8],
        last: bool,
        on_text: &mut impl FnMut(&mut [u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = bytes;
        loop {
            // Malformed pieces are replaced here one by one, so that they can be counted.
            let (result, read, written) =
                self.decoder.decode_to_utf8_without_replacement(rest, &mut self.piece, last);
            rest = &rest[read..];
            if written > 0 {
                on_text(&mut self.piece[..written])?;
            }
            match result {
                DecoderResult::InputEmpty => return Ok(()),
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => {
                    self.replaced += 1;
                    on_text(&mut "\u{fffd}".to_owned().into_bytes())?;
                }
            }
        }
    }

    pub(super) fn replaced(&self) -> u64 {
        self.replaced
    }
}
