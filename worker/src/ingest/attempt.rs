//! One attempt of an import on this worker.

use std::sync::Arc;

use shoal_common::ids::IdKind;
use shoal_dataset::{parse::Rules, source::SourceFolder};
use shoal_proto::v1::{DuplicateRule, IngestBegin, RecordBatch, RecordKind, Side, SourceFile, WorkerPeer};

use crate::{
    ingest::{
        IngestError,
        records::Kinds,
        spool::{Spool, SpoolKey},
    },
    job_context::JobContext,
};

/// Told how much more is done: bytes parsed, shards sorted or built.
pub type OnDone = Arc<dyn Fn(u64) + Send + Sync>;

/// Kinds of rows that come for an item shard; the first of them comes for a user shard, too.
pub(super) const ITEM_KINDS: [RecordKind; 5] =
    [RecordKind::Rating, RecordKind::Item, RecordKind::Tag, RecordKind::Genome, RecordKind::GenomeTag];

/// One attempt of an import on this worker.
#[derive(Debug)]
pub struct IngestAttempt {
    pub(super) context: JobContext,
    job_id: String,
    attempt: u32,
    pub(super) source: SourceFolder,
    pub(super) files: Vec<SourceFile>,
    pub(super) rules: Rules,
    /// What is done with pairs that come again.
    pub(super) duplicates: DuplicateRule,
    shard_count: u32,
    pub(super) workers: Vec<WorkerPeer>,
    pub(super) me: usize,
    /// Position of each shard's owner among the workers: users, then items.
    owners: [Vec<usize>; 2],
    pub(super) staging_path: String,
    pub(super) spool: Spool,
}

impl IngestAttempt {
    /// Opens the source and creates the spool.
    ///
    /// # Errors
    /// When the request makes no sense, the source cannot be reached or the disk fails.
    pub fn begin(
        context: JobContext,
        job_id: String,
        attempt: u32,
        step: IngestBegin,
    ) -> Result<Self, IngestError> {
        let request = |reason: String| IngestError::Request(reason);
        let source = step.source.as_ref().ok_or_else(|| request("the source is missing".to_owned()))?;
        let kind = |kind, side: &str| {
            IdKind::from_proto(kind).ok_or_else(|| request(format!("the kind of {side} ids is missing")))
        };
        let rules = Rules {
            user_id_kind: kind(step.user_id_kind(), "user")?,
            item_id_kind: kind(step.item_id_kind(), "item")?,
            rating_min: source.rating_min,
            rating_max: source.rating_max,
        };
        let folder = SourceFolder::open(source, &context.access)?;
        let position = |node: &str| step.workers.iter().position(|peer| peer.node == node);
        let me = position(&context.node)
            .ok_or_else(|| request(format!("worker '{}' is not among the workers", context.node)))?;
        let owners_of = |side: Side| {
            let owner = |shard: u32| {
                let owner = step.owners.iter().find(|owner| owner.side() == side && owner.shard == shard);
                owner.and_then(|owner| position(&owner.node))
            };
            (0..step.shard_count)
                .map(|shard| {
                    owner(shard).ok_or_else(|| request(format!("shard {shard} of {side:?} has no owner")))
                })
                .collect::<Result<Vec<_>, _>>()
        };
        let duplicates = step.duplicates();
        let owners = [owners_of(Side::Users)?, owners_of(Side::Items)?];
        let spool = Spool::create(context.folder.clone(), spool_keys(&owners, me))?;
        Ok(Self {
            context,
            job_id,
            attempt,
            source: folder,
            files: step.files,
            rules,
            duplicates,
            shard_count: step.shard_count,
            workers: step.workers,
            me,
            owners,
            staging_path: step.staging_path,
            spool,
        })
    }

    /// Appends rows that a peer has sent to the spool.
    ///
    /// # Errors
    /// When the shard is not owned here or the disk fails.
    pub async fn receive(self: &Arc<Self>, batch: RecordBatch) -> Result<(), IngestError> {
        let attempt = Arc::clone(self);
        let appending = tokio::task::spawn_blocking(move || {
            attempt.keep((batch.side(), batch.shard, batch.kind()), &batch.records, batch.count)
        });
        appending.await.unwrap_or(Err(IngestError::Cancelled))
    }

    pub(super) fn keep(&self, key: SpoolKey, batch: &[u8], rows: u64) -> Result<(), IngestError> {
        self.spool.append(key, batch, rows)
    }

    pub(super) fn shard_count(&self) -> u32 {
        self.shard_count
    }

    /// The position of a shard's owner among the workers.
    pub(super) fn owner(&self, side: Side, shard: u32) -> usize {
        self.owners[usize::from(side == Side::Items)][shard as usize]
    }

    /// What every batch says.
    pub(super) fn envelope(&self) -> RecordBatch {
        RecordBatch {
            cluster_id: self.context.cluster_id.clone(),
            job_id: self.job_id.clone(),
            attempt: self.attempt,
            ..RecordBatch::default()
        }
    }

    /// The shards that are sorted and built here: users, then items.
    #[must_use]
    pub fn owned_shards(&self) -> Vec<(Side, u32)> {
        let keys = spool_keys(&self.owners, self.me).filter(|key| key.2 == RecordKind::Rating);
        keys.map(|(side, shard, _)| (side, shard)).collect()
    }

    pub(super) fn kinds(&self) -> Kinds {
        Kinds { user: self.rules.user_id_kind, item: self.rules.item_id_kind }
    }
}

fn spool_keys(owners: &[Vec<usize>; 2], me: usize) -> impl Iterator<Item = SpoolKey> + '_ {
    [Side::Users, Side::Items].into_iter().zip(owners).flat_map(move |(side, owners)| {
        let owned = owners.iter().enumerate().filter(move |(_, owner)| **owner == me);
        let kinds = if side == Side::Items { &ITEM_KINDS[..] } else { &ITEM_KINDS[..1] };
        owned.flat_map(move |(shard, _)| kinds.iter().map(move |&kind| (side, shard as u32, kind)))
    })
}
