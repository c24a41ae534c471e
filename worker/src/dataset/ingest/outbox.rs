//! Rows on their way to the owners of their shards, put together in batches.

use std::sync::Arc;

use shoal_proto::v1::{RecordBatch, RecordKind, Side};
use tokio_util::sync::CancellationToken;

use super::{
    IngestError,
    attempt::IngestAttempt,
    push::Outlet,
    records::{Batch, position},
};
use crate::dataset::row::Row;

/// Bytes of the batches of one outbox, together; a batch has its share of them, within limits.
const BATCHES_BYTES: usize = 16 * 1024 * 1024;
const BATCH_BYTES_MIN: usize = 8 * 1024;
const BATCH_BYTES_MAX: usize = 256 * 1024;

/// The batches of one parse step.
#[derive(Debug)]
pub(super) struct Outbox {
    attempt: Arc<IngestAttempt>,
    /// In the workers' order.
    outlets: Vec<Outlet>,
    /// Ratings by user shard and by item shard.
    ratings: [Vec<Batch>; 2],
    /// By item shard.
    movies: Vec<Batch>,
    batch_bytes: usize,
    /// Number of the file that is read.
    file: u32,
    cancelled: CancellationToken,
}

impl Outbox {
    pub(super) fn new(
        attempt: Arc<IngestAttempt>,
        outlets: Vec<Outlet>,
        file: u32,
        cancelled: CancellationToken,
    ) -> Self {
        let shards = attempt.shard_count() as usize;
        let batches = || std::iter::repeat_with(Batch::default).take(shards).collect::<Vec<_>>();
        let batch_bytes = (BATCHES_BYTES / (2 * shards)).clamp(BATCH_BYTES_MIN, BATCH_BYTES_MAX);
        let (ratings, movies) = ([batches(), batches()], batches());
        Self { attempt, outlets, ratings, movies, batch_bytes, file, cancelled }
    }

    /// Takes a row that stands at `row_position` of the file. Sends batches that are full.
    pub(super) fn put(&mut self, row: &Row<'_>, row_position: u64) -> Result<(), IngestError> {
        let (position, shards) = (position(self.file, row_position), self.attempt.shard_count());
        match row {
            Row::Rating(rating) => {
                for (at, side, id) in [(0, Side::Users, rating.user), (1, Side::Items, rating.item)] {
                    let shard = id.shard(shards);
                    let batch = &mut self.ratings[at][shard as usize];
                    batch.put_rating(rating, position);
                    if batch.bytes.len() >= self.batch_bytes {
                        let full = batch.take(self.batch_bytes);
                        self.send(side, shard, RecordKind::Rating, full)?;
                    }
                }
            }
            Row::Movie(movie) => {
                let shard = movie.item.shard(shards);
                let batch = &mut self.movies[shard as usize];
                batch.put_movie(movie, position);
                if batch.bytes.len() >= self.batch_bytes {
                    let full = batch.take(self.batch_bytes);
                    self.send(Side::Items, shard, RecordKind::Movie, full)?;
                }
            }
        }
        Ok(())
    }

    /// Sends what is left. The streams to the owners end with this.
    pub(super) fn finish(mut self) -> Result<(), IngestError> {
        let [users, items] = std::mem::take(&mut self.ratings);
        let movies = std::mem::take(&mut self.movies);
        for (side, kind, batches) in [
            (Side::Users, RecordKind::Rating, users),
            (Side::Items, RecordKind::Rating, items),
            (Side::Items, RecordKind::Movie, movies),
        ] {
            for (shard, batch) in (0..).zip(batches) {
                if batch.rows > 0 {
                    self.send(side, shard, kind, batch)?;
                }
            }
        }
        Ok(())
    }

    fn send(&self, side: Side, shard: u32, kind: RecordKind, batch: Batch) -> Result<(), IngestError> {
        if self.cancelled.is_cancelled() {
            return Err(IngestError::Cancelled);
        }
        let Some(queue) = &self.outlets[self.attempt.owner(side, shard)] else {
            return self.attempt.keep((side, shard, kind), &batch.bytes, batch.rows);
        };
        let message =
            RecordBatch { count: batch.rows, records: batch.bytes.into(), ..self.attempt.envelope() };
        let message = RecordBatch { side: side.into(), shard, kind: kind.into(), ..message };
        // A stream that has ended is reported, with its reason, when the streams finish.
        queue.blocking_send(message).map_err(|_| IngestError::Cancelled)
    }
}
