//! One shard of one side: sorted, without duplicates, and finally a block. Pure.

use bytes::Bytes;
use shoal_common::ids::{EntityId, IdKind};
use shoal_proto::v1::Side;

use super::{
    IngestError,
    records::{MovieRecord, RatingRecord},
};
use crate::{
    dataset::{blocks::BlockValues, parse::Movie},
    id_column::IdColumn,
};

/// A shard's ratings by row, and its movies.
#[derive(Debug)]
pub(super) struct SortedShard {
    pub(super) side: Side,
    /// By row id, then by the other side's id; every pair once.
    pub(super) ratings: Vec<RatingRecord>,
    /// By id; every item once (item shards only).
    pub(super) movies: Vec<Movie>,
    pub(super) ids: IdColumn,
    /// Pairs that came again.
    pub(super) duplicates: u64,
}

impl SortedShard {
    /// Sorts what has arrived. Of several ratings of a pair the one with the last timestamp stays, of
    /// several with the same the one that stands last in the source; of several rows of a movie the last.
    pub(super) fn new(
        side: Side,
        kind: IdKind,
        mut ratings: Vec<RatingRecord>,
        mut movies: Vec<MovieRecord>,
    ) -> Self {
        let before = ratings.len();
        ratings.sort_unstable_by(|a, b| {
            let pair = |record: &RatingRecord| (record.rating.timestamp, record.position);
            row_id(side, a)
                .cmp(row_id(side, b))
                .then_with(|| other_id(side, a).cmp(other_id(side, b)))
                // The winner first: the rest of the pair is dropped.
                .then_with(|| pair(b).cmp(&pair(a)))
        });
        ratings.dedup_by(|a, b| a.rating.user == b.rating.user && a.rating.item == b.rating.item);
        let duplicates = (before - ratings.len()) as u64;
        movies.sort_unstable_by(|a, b| a.movie.item.cmp(&b.movie.item).then(b.position.cmp(&a.position)));
        movies.dedup_by(|a, b| a.movie.item == b.movie.item);
        let movies: Vec<Movie> = movies.into_iter().map(|record| record.movie).collect();
        let ids = union(
            kind,
            ratings.iter().map(|record| row_id(side, record)),
            movies.iter().map(|movie| &movie.item),
        );
        Self { side, ratings, movies, ids, duplicates }
    }

    /// The block's bytes. `other_row` gives the global row of an id of the other side.
    pub(super) fn block(
        &self,
        path: &str,
        other_row: impl Fn(&EntityId) -> Option<u32>,
    ) -> Result<Bytes, IngestError> {
        let mut indptr = Vec::with_capacity(self.ids.len() + 1);
        indptr.push(0);
        let mut entries: Vec<(u32, f32, i64)> = Vec::with_capacity(self.ratings.len());
        let mut records = self.ratings.iter().peekable();
        for row in 0..self.ids.len() {
            let id = self.ids.get(row);
            let begin = entries.len();
            while let Some(record) = records.next_if(|record| *row_id(self.side, record) == id) {
                let other = other_id(self.side, record);
                let other = other_row(other).ok_or_else(|| {
                    IngestError::Request(format!("'{other}' has a rating but is in no id list"))
                })?;
                entries.push((other, record.rating.rating, record.rating.timestamp));
            }
            // Shard order differs from id order: rows are in global order inside a block.
            entries[begin..].sort_unstable_by_key(|entry| entry.0);
            indptr.push(entries.len() as u64);
        }
        let indices: Vec<u32> = entries.iter().map(|entry| entry.0).collect();
        let ratings: Vec<f32> = entries.iter().map(|entry| entry.1).collect();
        let timestamps: Vec<i64> = entries.iter().map(|entry| entry.2).collect();
        let values = BlockValues {
            ids: &self.ids,
            indptr: &indptr,
            indices: &indices,
            ratings: &ratings,
            timestamps: &timestamps,
        };
        Ok(values.to_bytes(path)?)
    }

    /// Sum, least and greatest of the ratings.
    ///
    /// The sum runs in row order, so it does not depend on what arrived when.
    pub(super) fn rating_range(&self) -> (f64, f64, f64) {
        let values = self.ratings.iter().map(|record| f64::from(record.rating.rating));
        values.fold((0.0, f64::INFINITY, f64::NEG_INFINITY), |(sum, least, greatest), value| {
            (sum + value, least.min(value), greatest.max(value))
        })
    }
}

fn row_id(side: Side, record: &RatingRecord) -> &EntityId {
    if side == Side::Items { &record.rating.item } else { &record.rating.user }
}

fn other_id(side: Side, record: &RatingRecord) -> &EntityId {
    if side == Side::Items { &record.rating.user } else { &record.rating.item }
}

/// The ids of two ascending sequences, ascending, each once.
fn union<'a>(
    kind: IdKind,
    left: impl Iterator<Item = &'a EntityId>,
    right: impl Iterator<Item = &'a EntityId>,
) -> IdColumn {
    let (mut left, mut right) = (left.peekable(), right.peekable());
    let mut column = IdColumn::empty(kind);
    let mut last: Option<&EntityId> = None;
    loop {
        let next = match (left.peek(), right.peek()) {
            (Some(a), Some(b)) if a <= b => left.next(),
            (Some(_), None) => left.next(),
            (_, Some(_)) => right.next(),
            (None, None) => return column,
        };
        if let Some(id) = next
            && last != Some(id)
        {
            column.push(id);
            last = Some(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::parse::Rating;

    fn record(user: i64, item: i64, rating: f32, timestamp: i64, position: u64) -> RatingRecord {
        let (user, item) = (EntityId::Integer(user), EntityId::Integer(item));
        RatingRecord { rating: Rating { user, item, rating, timestamp }, position }
    }

    #[test]
    fn the_last_timestamp_wins_and_then_the_last_place() {
        let records = vec![
            record(2, 7, 1.0, 50, 0),
            record(1, 7, 2.0, 10, 1),
            record(1, 7, 3.0, 20, 2),
            record(1, 7, 4.0, 15, 3),
            record(2, 7, 5.0, 50, 4),
        ];
        for side in [Side::Users, Side::Items] {
            for rotation in 0..records.len() {
                let mut arrived = records.clone();
                arrived.rotate_left(rotation);
                let shard = SortedShard::new(side, IdKind::Integer, arrived, Vec::new());
                let kept: Vec<f32> = shard.ratings.iter().map(|record| record.rating.rating).collect();
                assert_eq!((kept, shard.duplicates), (vec![3.0, 5.0], 3));
            }
        }
    }

    #[test]
    fn items_that_are_only_in_the_catalogue_have_empty_rows() {
        let movie = |item| Movie {
            item: EntityId::Integer(item),
            title: "T".into(),
            year: None,
            genres: String::new(),
        };
        let movies =
            [(5, 0), (3, 1), (5, 2)].map(|(item, position)| MovieRecord { movie: movie(item), position });
        let shard =
            SortedShard::new(Side::Items, IdKind::Integer, vec![record(9, 4, 1.0, 0, 0)], movies.into());
        assert_eq!(shard.ids, IdColumn::Integer(vec![3, 4, 5]));
        assert_eq!(shard.movies.len(), 2);
        let bytes = shard.block("b", |user| (*user == EntityId::Integer(9)).then_some(0)).unwrap();
        let file = crate::tensor_file::TensorFile::from_bytes("b", &bytes).unwrap();
        let block = crate::dataset::blocks::RatingBlock::open(file, 3, 1).unwrap();
        assert_eq!(block.indptr(), [0, 0, 1, 1]);
    }
}
