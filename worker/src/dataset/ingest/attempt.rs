//! One attempt of an import on this worker.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use bytes::Bytes;
use rayon::prelude::*;
use shoal_common::{
    compute::Compute,
    ids::{EntityId, IdKind},
    rpc::Channels,
    store::{PartKind, Store, catalogue_part, ids_part, join, part},
};
use shoal_proto::v1::{
    IngestBegin, IngestBuild, IngestParse, IngestParseDone, IngestSortDone, ObjectEntry, RecordBatch,
    RecordKind, ShardRatingSum, ShardStats, Side, SourceFile, WorkerPeer,
};
use tokio_util::sync::CancellationToken;

use super::{
    IngestError,
    push::{Outlet, RecordStreams},
    records::{self, Kinds},
    shard::SortedShard,
    spool::{SpoolKey, Spools},
};
use crate::{
    dataset::{
        catalogue::write_catalogue,
        parse::{Record, RowReader, Rules},
        source::SourceFolder,
    },
    id_column::IdColumn,
    tensor_file::{TensorFile, TensorWriter},
};

/// Encoded records of one shard before they are sent.
const BATCH_BYTES: usize = 256 * 1024;

/// What an attempt works with.
#[derive(Debug, Clone)]
pub struct IngestContext {
    /// Named in every message to peers.
    pub cluster_id: String,
    /// This worker's name.
    pub node: String,
    /// The attempt's own folder for spools; removed with it.
    pub folder: PathBuf,
    /// Where blocks go.
    pub store: Store,
    /// Options of remote sources.
    pub store_options: BTreeMap<String, String>,
    /// To peers.
    pub channels: Channels,
    /// The training pool.
    pub compute: Compute,
}

/// One attempt of an import on this worker.
#[derive(Debug)]
pub struct IngestAttempt {
    context: IngestContext,
    job_id: String,
    attempt: u32,
    source: SourceFolder,
    files: Vec<SourceFile>,
    rules: Rules,
    shard_count: u32,
    workers: Vec<WorkerPeer>,
    me: usize,
    /// Position of each shard's owner among the workers: users, then items.
    owners: [Vec<usize>; 2],
    staging_path: String,
    spools: Spools,
}

impl IngestAttempt {
    /// Opens the source and creates the spools.
    ///
    /// # Errors
    /// When the request makes no sense, the source cannot be reached or the disk fails.
    pub fn begin(
        context: IngestContext,
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
        let (folder, _) = SourceFolder::open(&source.uri, &context.store_options)?;
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
        let owners = [owners_of(Side::Users)?, owners_of(Side::Items)?];
        let spools = Spools::create(context.folder.clone(), spool_keys(&owners, me))?;
        Ok(Self {
            context,
            job_id,
            attempt,
            source: folder,
            files: step.files,
            rules,
            shard_count: step.shard_count,
            workers: step.workers,
            me,
            owners,
            staging_path: step.staging_path,
            spools,
        })
    }

    /// Parses a range and sends its records to the owners; returns when they have taken them.
    ///
    /// # Errors
    /// When the source cannot be read or an owner is lost.
    pub async fn parse(
        self: &Arc<Self>,
        step: IngestParse,
        cancelled: CancellationToken,
    ) -> Result<IngestParseDone, IngestError> {
        let file = self.files.get(step.file as usize);
        let file =
            file.ok_or_else(|| IngestError::Request(format!("there is no file {}", step.file)))?.clone();
        let (rows, position) = self.source.read_rows(&file, step.begin..step.end).await?;
        let (streams, outlets) = RecordStreams::open(&self.workers, self.me, &self.context.channels)?;
        let attempt = Arc::clone(self);
        let parsing = self
            .context
            .compute
            .run(move || attempt.parse_rows(&file, step.file, &rows, position, &outlets, &cancelled));
        let parsed = parsing.await?;
        // A broken stream stops the parsing too; its own error says more.
        let sent = streams.finish().await;
        match (parsed, sent) {
            (Ok(mut done), Ok(())) => {
                if let Some(report) = &mut done.report {
                    report.bytes_read = step.end.saturating_sub(step.begin);
                }
                Ok(done)
            }
            (Err(IngestError::Cancelled) | Ok(_), Err(error)) | (Err(error), _) => Err(error),
        }
    }

    fn parse_rows(
        &self,
        file: &SourceFile,
        number: u32,
        rows: &[u8],
        position: u64,
        outlets: &[Outlet],
        cancelled: &CancellationToken,
    ) -> Result<IngestParseDone, IngestError> {
        let name = join(&self.source.uri, &file.uri);
        let mut reader = RowReader::new(file, &self.rules, &name);
        let mut batches: BTreeMap<(usize, u32, bool), (Vec<u8>, u64)> = BTreeMap::new();
        let mut failure = None;
        reader.read(rows, position, |record, byte| {
            if failure.is_none()
                && let Err(error) = self.sort_record(
                    &record,
                    records::position(number, byte),
                    &mut batches,
                    outlets,
                    cancelled,
                )
            {
                failure = Some(error);
            }
        });
        if let Some(error) = failure {
            return Err(error);
        }
        for (key, (bytes, count)) in batches {
            self.send(key, bytes, count, outlets)?;
        }
        let (report, lines) = reader.finish();
        Ok(IngestParseDone { report: Some(report), lines })
    }

    /// Puts a record into the batches of its shards; sends a batch that is full.
    fn sort_record(
        &self,
        record: &Record,
        position: u64,
        batches: &mut BTreeMap<(usize, u32, bool), (Vec<u8>, u64)>,
        outlets: &[Outlet],
        cancelled: &CancellationToken,
    ) -> Result<(), IngestError> {
        let keys: &[(usize, &EntityId, bool)] = match record {
            Record::Rating(rating) => &[(0, &rating.user, false), (1, &rating.item, false)],
            Record::Movie(movie) => &[(1, &movie.item, true)],
        };
        for &(side, id, movie) in keys {
            let key = (side, id.shard(self.shard_count), movie);
            let (bytes, count) = batches.entry(key).or_default();
            match record {
                Record::Rating(rating) => records::put_rating(bytes, rating, position),
                Record::Movie(movie) => records::put_movie(bytes, movie, position),
            }
            *count += 1;
            if bytes.len() >= BATCH_BYTES {
                if cancelled.is_cancelled() {
                    return Err(IngestError::Cancelled);
                }
                let (bytes, count) = std::mem::take(batches.entry(key).or_default());
                self.send(key, bytes, count, outlets)?;
            }
        }
        Ok(())
    }

    fn send(
        &self,
        (side, shard, movie): (usize, u32, bool),
        bytes: Vec<u8>,
        count: u64,
        outlets: &[Outlet],
    ) -> Result<(), IngestError> {
        let owner = self.owners[side][shard as usize];
        let side = if side == 0 { Side::Users } else { Side::Items };
        let kind = if movie { RecordKind::Movie } else { RecordKind::Rating };
        let Some(queue) = &outlets[owner] else { return self.spools.append((side, shard, kind), &bytes) };
        let batch = RecordBatch {
            cluster_id: self.context.cluster_id.clone(),
            job_id: self.job_id.clone(),
            attempt: self.attempt,
            side: side.into(),
            shard,
            kind: kind.into(),
            count,
            records: bytes.into(),
        };
        // A stream that has ended is reported, with its reason, when the streams finish.
        queue.blocking_send(batch).map_err(|_| IngestError::Cancelled)
    }

    /// Appends records that a peer has sent to their spool.
    ///
    /// # Errors
    /// When the shard is not owned here or the disk fails.
    pub async fn receive(self: &Arc<Self>, batch: RecordBatch) -> Result<(), IngestError> {
        let attempt = Arc::clone(self);
        let appending = tokio::task::spawn_blocking(move || {
            attempt.spools.append((batch.side(), batch.shard, batch.kind()), &batch.records)
        });
        appending.await.unwrap_or(Err(IngestError::Cancelled))
    }

    /// Sorts each owned shard and writes its id list to the staging folder.
    ///
    /// # Errors
    /// When a spool is damaged or the store cannot be written.
    pub async fn sort(self: &Arc<Self>) -> Result<IngestSortDone, IngestError> {
        let attempt = Arc::clone(self);
        let sorting = self.context.compute.run(move || {
            let owned = attempt.owned_shards();
            owned
                .into_par_iter()
                .map(|(side, shard)| attempt.sort_shard(side, shard))
                .collect::<Result<Vec<_>, _>>()
        });
        let mut done = IngestSortDone {
            rating_min: f64::INFINITY,
            rating_max: f64::NEG_INFINITY,
            ..IngestSortDone::default()
        };
        for sorted in sorting.await?? {
            let path = join(&self.staging_path, &ids_part(sorted.side, sorted.shard));
            self.context.store.put(&path, sorted.ids).await?;
            if sorted.side == Side::Items {
                done.catalogue_items += sorted.movies;
                done.item_shards.push(ShardStats {
                    shard: sorted.shard,
                    rows: sorted.rows,
                    ratings: sorted.ratings,
                });
                continue;
            }
            done.user_shards.push(ShardStats {
                shard: sorted.shard,
                rows: sorted.rows,
                ratings: sorted.ratings,
            });
            done.duplicates += sorted.duplicates;
            let (sum, least, greatest) = sorted.range;
            let (shard, ratings) = (sorted.shard, sorted.ratings);
            done.rating_sums.push(ShardRatingSum { shard, ratings, sum });
            done.rating_min = done.rating_min.min(least);
            done.rating_max = done.rating_max.max(greatest);
        }
        Ok(done)
    }

    fn sort_shard(&self, side: Side, shard: u32) -> Result<Sorted, IngestError> {
        let sorted = self.sorted(side, shard)?;
        let mut writer = TensorWriter::new();
        sorted.ids.write(&mut writer);
        Ok(Sorted {
            side,
            shard,
            rows: sorted.ids.len() as u64,
            ratings: sorted.ratings.len() as u64,
            ids: writer.to_bytes(&ids_part(side, shard))?,
            movies: sorted.movies.len() as u64,
            duplicates: sorted.duplicates,
            range: sorted.rating_range(),
        })
    }

    fn sorted(&self, side: Side, shard: u32) -> Result<SortedShard, IngestError> {
        let ratings = records::ratings(&self.spools.read((side, shard, RecordKind::Rating))?, self.kinds())?;
        let movies = records::movies(&self.spools.read((side, shard, RecordKind::Movie))?, self.kinds())?;
        let kind = if side == Side::Items { self.rules.item_id_kind } else { self.rules.user_id_kind };
        Ok(SortedShard::new(side, kind, ratings, movies))
    }

    /// Writes the blocks, id lists and catalogue of every owned shard below the data set's folder;
    /// entries are relative to it.
    ///
    /// # Errors
    /// When the id lists are not those of these ratings, or the store cannot be written.
    pub async fn build(self: &Arc<Self>, step: IngestBuild) -> Result<Vec<ObjectEntry>, IngestError> {
        let mut entries = Vec::new();
        for side in [Side::Users, Side::Items] {
            let other = if side == Side::Items { Side::Users } else { Side::Items };
            let rows = if other == Side::Items { &step.item_rows } else { &step.user_rows };
            let ids = Arc::new(self.id_lists(other, rows).await?);
            let owned: Vec<u32> =
                self.owned_shards().into_iter().filter(|key| key.0 == side).map(|key| key.1).collect();
            // As many shards at a time as there are threads: that bounds the memory.
            for shards in owned.chunks(self.context.compute.threads()) {
                let (attempt, ids, shards) = (Arc::clone(self), Arc::clone(&ids), shards.to_vec());
                let building = self.context.compute.run(move || {
                    let built = shards.into_par_iter().map(|shard| attempt.build_shard(side, shard, &ids));
                    built.collect::<Result<Vec<_>, _>>()
                });
                for (name, bytes) in building.await??.into_iter().flatten() {
                    let entry = self.context.store.put(&join(&step.path, &name), bytes).await?;
                    entries.push(ObjectEntry { path: name, ..entry });
                }
            }
        }
        Ok(entries)
    }

    fn build_shard(
        &self,
        side: Side,
        shard: u32,
        other: &IdLists,
    ) -> Result<Vec<(String, Bytes)>, IngestError> {
        let sorted = self.sorted(side, shard)?;
        let path = part(PartKind::Ratings, side, shard);
        let block = sorted.block(&path, |id| other.global_row(id))?;
        let mut writer = TensorWriter::new();
        sorted.ids.write(&mut writer);
        let ids_path = ids_part(side, shard);
        let mut objects = vec![(path, block), (ids_path.clone(), writer.to_bytes(&ids_path)?)];
        if side == Side::Items && !sorted.movies.is_empty() {
            let bytes = write_catalogue(&sorted.movies, self.rules.item_id_kind)
                .map_err(|source| IngestError::Catalogue { shard, source })?;
            objects.push((catalogue_part(shard), bytes));
        }
        Ok(objects)
    }

    async fn id_lists(&self, side: Side, rows: &[u64]) -> Result<IdLists, IngestError> {
        let (mut first_rows, mut columns, mut total) = (Vec::new(), Vec::new(), 0_u64);
        for (shard, &rows) in rows.iter().enumerate() {
            let path = join(&self.staging_path, &ids_part(side, shard as u32));
            let column =
                IdColumn::read(&TensorFile::from_bytes(&path, &self.context.store.get(&path).await?)?)?;
            if column.len() as u64 != rows {
                return Err(IngestError::Request(format!("'{path}' has {} ids, not {rows}", column.len())));
            }
            first_rows.push(u32::try_from(total).map_err(|_| IngestError::TooManyRows)?);
            total += rows;
            columns.push(column);
        }
        u32::try_from(total).map_err(|_| IngestError::TooManyRows)?;
        Ok(IdLists { first_rows, columns })
    }

    fn owned_shards(&self) -> Vec<(Side, u32)> {
        let keys = spool_keys(&self.owners, self.me).filter(|key| key.2 == RecordKind::Rating);
        keys.map(|(side, shard, _)| (side, shard)).collect()
    }

    fn kinds(&self) -> Kinds {
        Kinds { user: self.rules.user_id_kind, item: self.rules.item_id_kind }
    }
}

/// A sorted shard, as the leader and the staging folder are told of it.
struct Sorted {
    side: Side,
    shard: u32,
    rows: u64,
    ratings: u64,
    ids: Bytes,
    movies: u64,
    duplicates: u64,
    range: (f64, f64, f64),
}

/// All ids of a side, by shard.
#[derive(Debug)]
struct IdLists {
    first_rows: Vec<u32>,
    columns: Vec<IdColumn>,
}

impl IdLists {
    fn global_row(&self, id: &EntityId) -> Option<u32> {
        let shard = id.shard(self.columns.len() as u32) as usize;
        // The whole side fits in a u32, so its parts do.
        self.columns[shard].find(id).map(|row| self.first_rows[shard] + row as u32)
    }
}

fn spool_keys(owners: &[Vec<usize>; 2], me: usize) -> impl Iterator<Item = SpoolKey> + '_ {
    [Side::Users, Side::Items].into_iter().zip(owners).flat_map(move |(side, owners)| {
        let owned = owners.iter().enumerate().filter(move |(_, owner)| **owner == me);
        owned.flat_map(move |(shard, _)| {
            let movies = (side == Side::Items).then_some((side, shard as u32, RecordKind::Movie));
            [(side, shard as u32, RecordKind::Rating)].into_iter().chain(movies)
        })
    })
}
