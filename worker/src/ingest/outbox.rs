//! Rows on their way to the owners of their shards, put together in batches.

use std::sync::Arc;

use shoal_dataset::source::rows::RowSink;
use shoal_format::row::Row;
use shoal_proto::v1::{RecordBatch, RecordKind, Side};
use tokio_util::sync::CancellationToken;

use crate::ingest::{
    IngestError,
    attempt::IngestAttempt,
    push::Outlet,
    records::{self, Batch},
};

/// Bytes of the batches of one outbox, together; a batch has its share of them, within limits.
const BATCHES_BYTES: usize = 16 * 1024 * 1024;
const BATCH_BYTES_MIN: usize = 8 * 1024;
const BATCH_BYTES_MAX: usize = 256 * 1024;

/// Where rows go: a kind of rows to the shards of a side.
type Lane = (Side, RecordKind);

/// Ratings go both ways, everything else to the owners of the items.
const LANES: [Lane; 6] = [
    (Side::Users, RecordKind::Rating),
    (Side::Items, RecordKind::Rating),
    (Side::Items, RecordKind::Item),
    (Side::Items, RecordKind::Tag),
    (Side::Items, RecordKind::Genome),
    (Side::Items, RecordKind::GenomeTag),
];

/// The batches of one parse step.
#[derive(Debug)]
pub(super) struct Outbox {
    attempt: Arc<IngestAttempt>,
    /// In the workers' order.
    outlets: Vec<Outlet>,
    /// By lane and shard; a lane has none before its first row.
    batches: [Vec<Batch>; LANES.len()],
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
        let batch_bytes = (BATCHES_BYTES / (2 * shards)).clamp(BATCH_BYTES_MIN, BATCH_BYTES_MAX);
        Self { attempt, outlets, batches: Default::default(), batch_bytes, file, cancelled }
    }

    fn put(&mut self, lane: usize, shard: u32, row: &Row<'_>, position: u64) -> Result<(), IngestError> {
        let batches = &mut self.batches[lane];
        if batches.is_empty() {
            batches.resize_with(self.attempt.shard_count() as usize, Batch::default);
        }
        let batch = &mut batches[shard as usize];
        batch.put(row, position);
        if batch.bytes.len() < self.batch_bytes {
            return Ok(());
        }
        let full = batch.take(self.batch_bytes);
        self.send(LANES[lane], shard, full)
    }

    /// Sends what is left. The streams to the owners end with this.
    pub(super) fn finish(mut self) -> Result<(), IngestError> {
        for (lane, batches) in LANES.into_iter().zip(std::mem::take(&mut self.batches)) {
            for (shard, batch) in (0..).zip(batches) {
                if batch.rows > 0 {
                    self.send(lane, shard, batch)?;
                }
            }
        }
        Ok(())
    }

    fn send(&self, (side, kind): Lane, shard: u32, batch: Batch) -> Result<(), IngestError> {
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

impl RowSink for Outbox {
    type Error = IngestError;

    /// Puts a row into the batches of its shards, and sends those that are full.
    fn take(&mut self, row: &Row<'_>, position: u64) -> Result<(), IngestError> {
        let (position, shards) = (records::position(self.file, position), self.attempt.shard_count());
        let (lane, shard) = match row {
            Row::Rating(rating) => {
                self.put(0, rating.user.shard(shards), row, position)?;
                (1, rating.item.shard(shards))
            }
            Row::Item(row) => (2, row.item.shard(shards)),
            Row::Tag(tag) => (3, tag.item.shard(shards)),
            Row::Genome(score) => (4, score.item.shard(shards)),
            // They belong to no item; somebody has to have them.
            Row::GenomeTag(_) => (5, 0),
        };
        self.put(lane, shard, row, position)
    }
}
