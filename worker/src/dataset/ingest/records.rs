//! How rows travel between workers and lie in spools: in batches, which begin with a u64 (the position
//! in the source of the first row, little-endian).
//!
//! Numbers are LEB128 varints, signed ones zigzagged, so that small ids take few bytes. An id is a
//! number, or a length and that many bytes of UTF-8, as its side's kind says; a text is a length and
//! its bytes; a position is the distance from the row before it in the batch.
//!
//! * Rating: position, user id, item id, rating (f32, little-endian), timestamp.
//! * Movie: position, item id, title, year (`i32::MIN` for none), genres.

use shoal_common::ids::IdKind;

use super::IngestError;
use crate::dataset::row::{IdRef, MovieRow, RatingRow};

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

    /// Adds a rating. Positions ascend within a batch.
    pub(super) fn put_rating(&mut self, row: &RatingRow<'_>, position: u64) {
        self.begin_row(position);
        put_id(&mut self.bytes, row.user);
        put_id(&mut self.bytes, row.item);
        self.bytes.extend_from_slice(&row.rating.to_le_bytes());
        put_number(&mut self.bytes, zigzag(row.timestamp));
    }

    /// Adds a row of the catalogue.
    pub(super) fn put_movie(&mut self, row: &MovieRow<'_>, position: u64) {
        self.begin_row(position);
        put_id(&mut self.bytes, row.item);
        put_text(&mut self.bytes, &row.title);
        put_number(&mut self.bytes, zigzag(i64::from(row.year.unwrap_or(i32::MIN))));
        put_text(&mut self.bytes, &row.genres);
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
        let piece = self.bytes.get(self.at..self.at + N).and_then(|piece| piece.try_into().ok());
        let torn = IngestError::Torn(self.at);
        self.at += N;
        piece.ok_or(torn)
    }

    fn number(&mut self) -> Result<u64, IngestError> {
        let (begin, mut value) = (self.at, 0);
        for shift in (0..64).step_by(7) {
            let &byte = self.bytes.get(self.at).ok_or(IngestError::Torn(begin))?;
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
        let torn = IngestError::Torn(self.at);
        let end = usize::try_from(self.number()?).ok().and_then(|length| self.at.checked_add(length));
        let piece = end.and_then(|end| self.bytes.get(self.at..end));
        let text = piece.and_then(|piece| std::str::from_utf8(piece).ok()).ok_or(torn)?;
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
}

/// The ratings of a batch, with their positions.
pub(super) fn ratings(
    batch: &[u8],
    kinds: Kinds,
    mut on_row: impl FnMut(RatingRow<'_>, u64),
) -> Result<(), IngestError> {
    let mut decoder = Decoder::new(batch)?;
    while let Some(position) = decoder.next()? {
        let (user, item) = (decoder.id(kinds.user)?, decoder.id(kinds.item)?);
        let rating = f32::from_le_bytes(decoder.take()?);
        on_row(RatingRow { user, item, rating, timestamp: decoder.signed()? }, position);
    }
    Ok(())
}

/// The catalogue rows of a batch, with their positions.
pub(super) fn movies(
    batch: &[u8],
    kinds: Kinds,
    mut on_row: impl FnMut(MovieRow<'_>, u64),
) -> Result<(), IngestError> {
    let mut decoder = Decoder::new(batch)?;
    while let Some(position) = decoder.next()? {
        let (item, title) = (decoder.id(kinds.item)?, decoder.text()?.into());
        let year = i32::try_from(decoder.signed()?).ok().filter(|&year| year != i32::MIN);
        on_row(MovieRow { item, title, year, genres: decoder.text()?.to_owned() }, position);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KINDS: Kinds = Kinds { user: IdKind::Integer, item: IdKind::Text };

    proptest! {
        #[test]
        fn rows_decode_as_they_were(
            rows in prop::collection::vec((any::<i64>(), "[a-zé]{0,9}", 0.5_f32..5.0, any::<i64>(), 0_u64..1 << 40, any::<Option<i16>>()), 1..20),
        ) {
            let (mut ratings_batch, mut movies_batch) = (Batch::default(), Batch::default());
            let (mut given_ratings, mut given_movies) = (Vec::new(), Vec::new());
            let mut byte = 0;
            for (user, text, rating, timestamp, step, year) in &rows {
                byte += step;
                let (user, item) = (IdRef::Integer(*user), IdRef::Text(text));
                let rating = RatingRow { user, item, rating: *rating, timestamp: *timestamp };
                let title = format!("{text} (1999)").into();
                let movie = MovieRow { item, title, year: year.map(i32::from), genres: text.clone() };
                ratings_batch.put_rating(&rating, position(3, byte));
                movies_batch.put_movie(&movie, position(3, byte));
                given_ratings.push(format!("{rating:?} {}", position(3, byte)));
                given_movies.push(format!("{movie:?} {}", position(3, byte)));
            }
            prop_assert_eq!(ratings_batch.rows, rows.len() as u64);
            let (mut read_ratings, mut read_movies) = (Vec::new(), Vec::new());
            ratings(&ratings_batch.bytes, KINDS, |row, position| read_ratings.push(format!("{row:?} {position}"))).unwrap();
            movies(&movies_batch.bytes, KINDS, |row, position| read_movies.push(format!("{row:?} {position}"))).unwrap();
            prop_assert_eq!(read_ratings, given_ratings);
            prop_assert_eq!(read_movies, given_movies);
            let torn = &ratings_batch.bytes[..ratings_batch.bytes.len() - 1];
            let read = ratings(torn, KINDS, |_, _| ());
            prop_assert!(read.is_err());
        }

        #[test]
        fn whatever_arrives_is_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            // No panic, whatever a sender of another version may send.
            let _ = ratings(&bytes, KINDS, |_, _| {});
            let _ = movies(&bytes, KINDS, |_, _| {});
        }
    }
}
