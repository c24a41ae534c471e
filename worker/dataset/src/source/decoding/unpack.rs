//! Packed files, unpacked as their bytes come. An archive may have several members, one after the other.

use std::io;

use flate2::write::MultiGzDecoder;
use shoal_proto::v1::FileCompression;
use zstd::stream::raw::{Decoder, InBuffer, Operation as _, OutBuffer};

/// Packed bytes that are unpacked in one go. Gzip packs a thousand bytes into one at best, so that not even a file made
/// for it takes more than some MiB.
const STEP_BYTES: usize = 8 * 1024;

/// Unpacked bytes that zstd hands out in one go.
const PIECE_BYTES: usize = 128 * 1024;

/// Undoes the packing of one file, piece by piece.
pub(super) enum Unpacker {
    Plain,
    Gzip(Box<MultiGzDecoder<Vec<u8>>>),
    Zstd {
        decoder: Box<Decoder<'static>>,
        piece: Vec<u8>,
        /// Whether a frame goes on, or the first is yet to come.
        open: bool,
    },
}

impl std::fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Plain => "Plain",
            Self::Gzip(_) => "Gzip",
            Self::Zstd { .. } => "Zstd",
        })
    }
}

/// How a file is packed that begins with these bytes: its name may say anything.
pub(in crate::source) fn compression_of(head: &[u8]) -> FileCompression {
    match head {
        [0x1f, 0x8b, ..] => FileCompression::Gzip,
        [0x28, 0xb5, 0x2f, 0xfd, ..] => FileCompression::Zstd,
        // A frame to be skipped, which parallel and seekable packers write.
        [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => FileCompression::Zstd,
        _ => FileCompression::Unspecified,
    }
}

/// What packed a file that begins with these bytes, if it is a packer whose files are not read.
pub(in crate::source) fn packed_otherwise(head: &[u8]) -> Option<&'static str> {
    let known: [(&[u8], &str); 7] = [
        (b"PK\x03\x04", "zip"),
        (b"BZh", "bzip2"),
        (b"\xfd7zXZ\0", "xz"),
        (b"7z\xbc\xaf\x27\x1c", "7-Zip"),
        (b"Rar!", "rar"),
        (b"\x04\x22\x4d\x18", "lz4"),
        (b"\xff\x06\0\0sNaPpY", "snappy"),
    ];
    known.into_iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, name)| name)
}

impl Unpacker {
    pub(super) fn new(compression: FileCompression) -> io::Result<Self> {
        Ok(match compression {
            FileCompression::Unspecified => Self::Plain,
            FileCompression::Gzip => Self::Gzip(Box::new(MultiGzDecoder::new(Vec::new()))),
            FileCompression::Zstd => {
                Self::Zstd { decoder: Box::new(Decoder::new()?), piece: vec![0; PIECE_BYTES], open: true }
            }
        })
    }

    /// Unpacks the next bytes. Errors of the archive go through `broken`.
    pub(super) fn take<E>(
        &mut self,
        stored: &[u8],
        on_bytes: &mut impl FnMut(&mut [u8]) -> Result<(), E>,
        broken: impl Fn(io::Error) -> E + Copy,
    ) -> Result<(), E> {
        match self {
            Self::Plain => {
                for piece in stored.chunks(PIECE_BYTES) {
                    on_bytes(&mut piece.to_vec())?;
                }
            }
            Self::Gzip(decoder) => {
                for piece in stored.chunks(STEP_BYTES) {
                    io::Write::write_all(decoder, piece).map_err(broken)?;
                    on_bytes(decoder.get_mut())?;
                    decoder.get_mut().clear();
                }
            }
            Self::Zstd { decoder, piece, open } => {
                let mut input = InBuffer::around(stored);
                while input.pos() < stored.len() || *open {
                    let mut output = OutBuffer::around(&mut piece[..]);
                    *open = decoder.run(&mut input, &mut output).map_err(broken)? > 0;
                    let written = output.pos();
                    on_bytes(&mut piece[..written])?;
                    if input.pos() == stored.len() && written < piece.len() {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// The end of the file: refuses an archive that goes on.
    pub(super) fn finish<E>(
        &mut self,
        on_bytes: &mut impl FnMut(&mut [u8]) -> Result<(), E>,
        broken: impl Fn(io::Error) -> E + Copy,
    ) -> Result<(), E> {
        match self {
            Self::Plain | Self::Zstd { open: false, .. } => Ok(()),
            Self::Gzip(decoder) => {
                // A member that is cut has no checksum.
                decoder.try_finish().map_err(broken)?;
                on_bytes(decoder.get_mut())
            }
            Self::Zstd { .. } => {
                Err(broken(io::Error::new(io::ErrorKind::UnexpectedEof, "a frame goes on beyond the end")))
            }
        }
    }
}
