//! How rows travel between workers and lie in spools: in batches, which begin with a u64 (the position
//! in the source of the first row, little-endian).
//!
//! Numbers are LEB128 varints, signed ones zigzagged, so that small ids take few bytes. An id is a
//! number, or a length and that many bytes of UTF-8, as its side's kind says; a text is a length and
//! its bytes; a position is the distance from the row before it in the batch.
//!
//! * Rating: position, user id, item id, rating (f32, little-endian), timestamp.
//! * Item: position, item id, title, year (`i32::MIN` for none), genres.
//! * Tag: position, user id, item id, tag, timestamp.
//! * Genome score: position, item id, tag number, relevance (f32, little-endian).
//! * Genome tag: position, tag number, tag.

use shoal_common::ids::IdKind;
use shoal_format::row::{GenomeRow, GenomeTagRow, IdRef, ItemRow, RatingRow, Row, TagRow};
use shoal_proto::v1::RecordKind;

use crate::ingest::IngestError;

/// Files come first, then rows of a file: the order in which rows of one source came.
pub(super) fn position(file: u32, row: u64) -> u64 {
    u64::from(file) << 48 | (row & ((1 << 48) - 1))
}

/// Kinds of the two sides' ids.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kinds {
    pub(super) user: IdKind,
    pub(super) item: IdKind,
}

/// Rows being put together to be sent.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) rows: u64,
    /// Position of the last row.
    last: u64,
}

impl Batch {
    /// The batch, and an empty one with room for `bytes` in its place.
    pub(super) fn take(&mut self, bytes: usize) -> Self {
        // Whatever row goes beyond is rare enough to be moved.
        let next = Self { bytes: Vec::with_capacity(bytes + 256), ..Self::default() };
        std::mem::replace(self, next)
    }

    /// Adds a row. Positions ascend within a batch, and all rows are of one content.
    pub(super) fn put(&mut self, row: &Row<'_>, position: u64) {
        self.begin_row(position);
        let bytes = &mut self.bytes;
        match row {
            Row::Rating(row) => {
                put_id(bytes, row.user);
                put_id(bytes, row.item);
                bytes.extend_from_slice(&row.rating.to_le_bytes());
                put_number(bytes, zigzag(row.timestamp));
            }
            Row::Item(row) => {
                put_id(bytes, row.item);
                put_text(bytes, &row.title);
                put_number(bytes, zigzag(i64::from(row.year.unwrap_or(i32::MIN))));
                put_text(bytes, &row.genres);
            }
            Row::Tag(row) => {
                put_id(bytes, row.user);
                put_id(bytes, row.item);
                put_text(bytes, &row.tag);
                put_number(bytes, zigzag(row.timestamp));
            }
            Row::Genome(row) => {
                put_id(bytes, row.item);
                put_number(bytes, u64::from(row.tag));
                bytes.extend_from_slice(&row.relevance.to_le_bytes());
            }
            Row::GenomeTag(row) => {
                put_number(bytes, u64::from(row.tag));
                put_text(bytes, &row.name);
            }
        }
    }

    fn begin_row(&mut self, position: u64) {
        if self.rows == 0 {
            self.bytes.extend_from_slice(&position.to_le_bytes());
            self.last = position;
        }
        put_number(&mut self.bytes, position - self.last);
        self.last = position;
        self.rows += 1;
    }
}

#[inline]
fn put_number(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    put_number(bytes, text.len() as u64);
    bytes.extend_from_slice(text.as_bytes());
}

fn put_id(bytes: &mut Vec<u8>, id: IdRef<'_>) {
    match id {
        IdRef::Integer(id) => put_number(bytes, zigzag(id)),
        IdRef::Text(text) => put_text(bytes, text),
    }
}

fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63).cast_unsigned()
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -((value & 1).cast_signed())
}

/// Takes rows off a batch.
struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    position: u64,
}

impl<'a> Decoder<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, IngestError> {
        let mut decoder = Self { bytes, at: 0, position: 0 };
        decoder.position = u64::from_le_bytes(decoder.take()?);
        Ok(decoder)
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], IngestError> {
        let begin = self.at;
        self.at += N;
        let piece = self.bytes.get(begin..self.at).and_then(|piece| piece.try_into().ok());
        // An error that is made ahead has to be dropped again, for every number of every row.
        piece.ok_or_else(|| IngestError::Torn(begin))
    }

    #[inline]
    fn number(&mut self) -> Result<u64, IngestError> {
        let (begin, mut value) = (self.at, 0);
        for shift in (0..64).step_by(7) {
            let &byte = self.bytes.get(self.at).ok_or_else(|| IngestError::Torn(begin))?;
            self.at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(IngestError::Torn(begin))
    }

    fn signed(&mut self) -> Result<i64, IngestError> {
        self.number().map(unzigzag)
    }

    fn text(&mut self) -> Result<&'a str, IngestError> {
        let begin = self.at;
        let end = usize::try_from(self.number()?).ok().and_then(|length| self.at.checked_add(length));
        let piece = end.and_then(|end| self.bytes.get(self.at..end));
        let text = piece.and_then(|piece| std::str::from_utf8(piece).ok());
        let text = text.ok_or_else(|| IngestError::Torn(begin))?;
        self.at += text.len();
        Ok(text)
    }

    fn id(&mut self, kind: IdKind) -> Result<IdRef<'a>, IngestError> {
        match kind {
            IdKind::Integer => self.signed().map(IdRef::Integer),
            IdKind::Text => self.text().map(IdRef::Text),
        }
    }

    /// Begins the next row: its position; `None` at the end.
    fn next(&mut self) -> Result<Option<u64>, IngestError> {
        if self.at == self.bytes.len() {
            return Ok(None);
        }
        self.position = self.position.wrapping_add(self.number()?);
        Ok(Some(self.position))
    }

    fn row(&mut self, kind: RecordKind, kinds: Kinds) -> Result<Row<'a>, IngestError> {
        Ok(match kind {
            RecordKind::Unspecified | RecordKind::Rating => {
                let (user, item) = (self.id(kinds.user)?, self.id(kinds.item)?);
                let rating = f32::from_le_bytes(self.take()?);
                Row::Rating(RatingRow { user, item, rating, timestamp: self.signed()? })
            }
            RecordKind::Item => {
                let (item, title) = (self.id(kinds.item)?, self.text()?.into());
                let year = i32::try_from(self.signed()?).ok().filter(|&year| year != i32::MIN);
                Row::Item(ItemRow { item, title, year, genres: self.text()?.to_owned() })
            }
            RecordKind::Tag => {
                let (user, item) = (self.id(kinds.user)?, self.id(kinds.item)?);
                Row::Tag(TagRow { user, item, tag: self.text()?.into(), timestamp: self.signed()? })
            }
            RecordKind::Genome => {
                let (item, tag) = (self.id(kinds.item)?, self.tag_number()?);
                Row::Genome(GenomeRow { item, tag, relevance: f32::from_le_bytes(self.take()?) })
            }
            RecordKind::GenomeTag => {
                Row::GenomeTag(GenomeTagRow { tag: self.tag_number()?, name: self.text()?.into() })
            }
        })
    }

    fn tag_number(&mut self) -> Result<u32, IngestError> {
        let begin = self.at;
        u32::try_from(self.number()?).map_err(|_| IngestError::Torn(begin))
    }
}

/// The rows of a batch of one kind, with their positions.
pub(super) fn rows(
    batch: &[u8],
    kind: RecordKind,
    kinds: Kinds,
    mut on_row: impl FnMut(Row<'_>, u64),
) -> Result<(), IngestError> {
    let mut decoder = Decoder::new(batch)?;
    while let Some(position) = decoder.next()? {
        on_row(decoder.row(kind, kinds)?, position);
    }
    Ok(())
}

/// Reads the batch of another worker and forgets it; the number of its rows. For fuzz targets.
///
/// # Errors
/// [`IngestError::Torn`] when the bytes are no batch of such rows.
#[doc(hidden)]
pub fn read_records(batch: &[u8], kind: i32, user: IdKind, item: IdKind) -> Result<u64, IngestError> {
    let mut count = 0;
    let kind = RecordKind::try_from(kind).unwrap_or_default();
    rows(batch, kind, Kinds { user, item }, |_, _| count += 1)?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: Kinds = Kinds { user: IdKind::Integer, item: IdKind::Text };
    const EVERY_KIND: [RecordKind; 5] =
        [RecordKind::Rating, RecordKind::Item, RecordKind::Tag, RecordKind::Genome, RecordKind::GenomeTag];

    proptest! {
        #[test]
        fn rows_decode_as_they_were(
            numbers in prop::collection::vec(
                (any::<i64>(), "[a-zé]{0,9}", 0.5_f32..5.0, any::<i64>(), 0_u64..1 << 40, any::<Option<i16>>()),
                1..20,
            ),
        ) {
            for kind in EVERY_KIND {
                let (mut batch, mut given, mut byte) = (Batch::default(), Vec::new(), 0);
                for (user, text, value, timestamp, step, year) in &numbers {
                    byte += step;
                    let (user, item) = (IdRef::Integer(*user), IdRef::Text(text));
                    let (tag, timestamp) = (*step as u32, *timestamp);
                    let row = match kind {
                        RecordKind::Item => Row::Item(ItemRow {
                            item,
                            title: format!("{text} (1999)").into(),
                            year: year.map(i32::from),
                            genres: text.clone(),
                        }),
                        RecordKind::Tag => Row::Tag(TagRow { user, item, tag: text.into(), timestamp }),
                        RecordKind::Genome => Row::Genome(GenomeRow { item, tag, relevance: *value }),
                        RecordKind::GenomeTag => Row::GenomeTag(GenomeTagRow { tag, name: text.into() }),
                        _ => Row::Rating(RatingRow { user, item, rating: *value, timestamp }),
                    };
                    batch.put(&row, position(3, byte));
                    given.push(format!("{row:?} {}", position(3, byte)));
                }
                prop_assert_eq!(batch.rows, numbers.len() as u64);
                let mut read = Vec::new();
                rows(&batch.bytes, kind, KINDS, |row, position| read.push(format!("{row:?} {position}"))).unwrap();
                prop_assert_eq!(read, given);
                let torn = rows(&batch.bytes[..batch.bytes.len() - 1], kind, KINDS, |_, _| ());
                prop_assert!(torn.is_err());
            }
        }

        #[test]
        fn whatever_arrives_is_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            // No panic, whatever a sender of another version may send.
            for kind in EVERY_KIND {
                let _ = rows(&bytes, kind, KINDS, |_, _| ());
            }
        }
    }
}
