//! How records travel between workers and lie in spools.
//!
//! All numbers little-endian. An id is an i64, or a u32 length and that many bytes of UTF-8, as the
//! side's kind says; a text is a u32 length and its bytes.
//!
//! * Rating: user id, item id, f32 rating, i64 timestamp, u64 position of the row in the source
//!   (the file's number in the upper 16 bits, the byte in the lower 48).
//! * Movie: item id, text title, i32 year (`i32::MIN` for none), text genres, u64 position.

use shoal_common::ids::{EntityId, IdKind};

use super::IngestError;
use crate::dataset::parse::{Movie, Rating};

/// A rating, and where in the source it stood.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RatingRecord {
    pub(super) rating: Rating,
    pub(super) position: u64,
}

/// A row of a movies file, and where in the source it stood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct MovieRecord {
    pub(super) movie: Movie,
    pub(super) position: u64,
}

/// Files come first, then bytes: the order in which rows of one source came.
pub(super) fn position(file: u32, byte: u64) -> u64 {
    u64::from(file) << 48 | (byte & ((1 << 48) - 1))
}

/// Kinds of the two sides' ids.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kinds {
    pub(super) user: IdKind,
    pub(super) item: IdKind,
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    // Lines are far shorter than 4 GiB, and so are their fields.
    bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

fn put_id(bytes: &mut Vec<u8>, id: &EntityId) {
    match id {
        EntityId::Integer(id) => bytes.extend_from_slice(&id.to_le_bytes()),
        EntityId::Text(text) => put_text(bytes, text),
    }
}

pub(super) fn put_rating(bytes: &mut Vec<u8>, rating: &Rating, position: u64) {
    put_id(bytes, &rating.user);
    put_id(bytes, &rating.item);
    bytes.extend_from_slice(&rating.rating.to_le_bytes());
    bytes.extend_from_slice(&rating.timestamp.to_le_bytes());
    bytes.extend_from_slice(&position.to_le_bytes());
}

pub(super) fn put_movie(bytes: &mut Vec<u8>, movie: &Movie, position: u64) {
    put_id(bytes, &movie.item);
    put_text(bytes, &movie.title);
    bytes.extend_from_slice(&movie.year.unwrap_or(i32::MIN).to_le_bytes());
    put_text(bytes, &movie.genres);
    bytes.extend_from_slice(&position.to_le_bytes());
}

/// Takes records off encoded bytes.
struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Decoder<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], IngestError> {
        let piece = self.bytes.get(self.at..self.at + N).and_then(|piece| piece.try_into().ok());
        self.at += N;
        piece.ok_or(IngestError::Torn(self.at - N))
    }

    fn text(&mut self) -> Result<&str, IngestError> {
        let torn = IngestError::Torn(self.at);
        let length = u32::from_le_bytes(self.take()?) as usize;
        let piece =
            self.bytes.get(self.at..self.at + length).and_then(|piece| std::str::from_utf8(piece).ok());
        self.at += length;
        piece.ok_or(torn)
    }

    fn id(&mut self, kind: IdKind) -> Result<EntityId, IngestError> {
        match kind {
            IdKind::Integer => Ok(EntityId::Integer(i64::from_le_bytes(self.take()?))),
            IdKind::Text => Ok(EntityId::Text(self.text()?.into())),
        }
    }

    fn rating(&mut self, kinds: Kinds) -> Result<RatingRecord, IngestError> {
        let (user, item) = (self.id(kinds.user)?, self.id(kinds.item)?);
        let (rating, timestamp) = (f32::from_le_bytes(self.take()?), i64::from_le_bytes(self.take()?));
        let position = u64::from_le_bytes(self.take()?);
        Ok(RatingRecord { rating: Rating { user, item, rating, timestamp }, position })
    }

    fn movie(&mut self, kinds: Kinds) -> Result<MovieRecord, IngestError> {
        let (item, title) = (self.id(kinds.item)?, self.text()?.to_owned());
        let year = Some(i32::from_le_bytes(self.take()?)).filter(|&year| year != i32::MIN);
        let genres = self.text()?.to_owned();
        let position = u64::from_le_bytes(self.take()?);
        Ok(MovieRecord { movie: Movie { item, title, year, genres }, position })
    }

    fn all<T>(
        mut self,
        mut one: impl FnMut(&mut Self) -> Result<T, IngestError>,
    ) -> Result<Vec<T>, IngestError> {
        let mut records = Vec::new();
        while self.at < self.bytes.len() {
            records.push(one(&mut self)?);
        }
        Ok(records)
    }
}

pub(super) fn ratings(bytes: &[u8], kinds: Kinds) -> Result<Vec<RatingRecord>, IngestError> {
    Decoder { bytes, at: 0 }.all(|decoder| decoder.rating(kinds))
}

pub(super) fn movies(bytes: &[u8], kinds: Kinds) -> Result<Vec<MovieRecord>, IngestError> {
    Decoder { bytes, at: 0 }.all(|decoder| decoder.movie(kinds))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn records_decode_as_they_were(user: i64, item in "[a-zé]{0,9}", rating in 0.5_f32..5.0, timestamp: i64, byte in 0..1_u64 << 48) {
            let kinds = Kinds { user: IdKind::Integer, item: IdKind::Text };
            let item = EntityId::Text(item.as_str().into());
            let rating = Rating { user: EntityId::Integer(user), item: item.clone(), rating, timestamp };
            let movie = Movie { item, title: "Título (1999)".into(), year: None, genres: String::new() };
            let (mut rating_bytes, mut movie_bytes) = (Vec::new(), Vec::new());
            for file in 0..2 {
                put_rating(&mut rating_bytes, &rating, position(file, byte));
                put_movie(&mut movie_bytes, &movie, position(file, byte));
            }
            let decoded = ratings(&rating_bytes, kinds).unwrap();
            prop_assert_eq!(decoded.len(), 2);
            prop_assert_eq!(&decoded[1], &RatingRecord { rating, position: position(1, byte) });
            prop_assert!(decoded[0].position < decoded[1].position);
            prop_assert_eq!(&movies(&movie_bytes, kinds).unwrap()[0], &MovieRecord { movie, position: position(0, byte) });
            prop_assert!(ratings(&rating_bytes[..rating_bytes.len() - 1], kinds).is_err());
        }
    }
}
