//! The second half of an import: shards are sorted, and once all ids are known their blocks are written.

use std::{io::Write as _, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use shoal_common::{
    ids::IdKind,
    private_files,
    store::{PartKind, ids_part, join, part},
};
use shoal_dataset::parse::Rules;
use shoal_format::{
    id_column::IdColumn,
    row::IdRef,
    tensor_file::{TensorFile, TensorWriter},
};
use shoal_proto::v1::{
    IngestBuild, IngestSortDone, ObjectEntry, RecordKind, ShardRatingSum, ShardStats, Side,
};

use crate::ingest::{
    IngestError,
    attempt::{ITEM_KINDS, IngestAttempt, OnDone},
    extras::SortedExtras,
    saved::SavedShard,
    shard::{ShardSorter, SortedShard},
};

/// A sorted shard, as the leader and the staging folder are told of it.
struct Sorted {
    side: Side,
    stats: ShardStats,
    ids: Bytes,
    catalogue_items: u64,
    tags: u64,
    genome_items: u64,
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
    fn global_row(&self, id: IdRef<'_>) -> Option<u32> {
        let shard = id.shard(self.columns.len() as u32) as usize;
        // The whole side fits in a u32, so its parts do.
        self.columns[shard].find_ref(id).map(|row| self.first_rows[shard] + row as u32)
    }
}

impl IngestAttempt {
    /// Sorts each owned shard and writes its id list to the staging folder.
    ///
    /// # Errors
    /// When the spool is damaged, or the disk or the store cannot be written.
    pub async fn sort(self: &Arc<Self>, on_shard: OnDone) -> Result<IngestSortDone, IngestError> {
        let mut done = IngestSortDone {
            rating_min: f64::INFINITY,
            rating_max: f64::NEG_INFINITY,
            ..IngestSortDone::default()
        };
        let sorting = self.owned_shards().into_iter().map(|(side, shard)| {
            let attempt = Arc::clone(self);
            async move {
                let worker = Arc::clone(&attempt);
                let sorted = attempt.context.compute.run(move || worker.sort_shard(side, shard)).await??;
                let path = join(&attempt.staging_path, &ids_part(side, shard));
                attempt.context.store.put(&path, sorted.ids.clone()).await?;
                Ok::<_, IngestError>(sorted)
            }
        });
        let mut sorted = futures::stream::iter(sorting).buffered(self.shards_at_once());
        while let Some(sorted) = sorted.try_next().await? {
            on_shard(1);
            let stats = sorted.stats;
            if sorted.side == Side::Items {
                done.catalogue_items += sorted.catalogue_items;
                done.tags += sorted.tags;
                done.genome_items += sorted.genome_items;
                done.item_shards.push(stats);
                continue;
            }
            let (sum, least, greatest) = sorted.range;
            done.rating_sums.push(ShardRatingSum { shard: stats.shard, ratings: stats.ratings, sum });
            done.user_shards.push(stats);
            done.duplicates += sorted.duplicates;
            done.rating_min = done.rating_min.min(least);
            done.rating_max = done.rating_max.max(greatest);
        }
        Ok(done)
    }

    /// Sorts a shard and keeps it on the disk.
    fn sort_shard(&self, side: Side, shard: u32) -> Result<Sorted, IngestError> {
        let mut sorter = ShardSorter::new(side, self.kinds(), self.shard_count(), self.duplicates);
        sorter.reserve(self.spool.rows((side, shard, RecordKind::Rating)));
        for kind in ITEM_KINDS {
            self.spool.read((side, shard, kind), |batch| sorter.add(kind, batch))?;
        }
        let sorted = sorter.sort();
        self.saved(side, shard).write(&sorted)?;
        self.save_extras(shard, &sorted)?;
        let mut writer = TensorWriter::new();
        sorted.ids.write(&mut writer);
        Ok(Sorted {
            side,
            stats: ShardStats { shard, rows: sorted.ids.len() as u64, ratings: sorted.len() as u64 },
            ids: writer.to_bytes(&ids_part(side, shard))?,
            catalogue_items: sorted.extras.items.len() as u64,
            tags: sorted.extras.tags.len() as u64,
            genome_items: sorted.extras.genome.rows.len() as u64,
            duplicates: sorted.duplicates,
            range: sorted.rating_range(),
        })
    }

    fn saved(&self, side: Side, shard: u32) -> SavedShard {
        let side = if side == Side::Items { "items" } else { "users" };
        SavedShard::at(self.spool.folder().join(format!("{side}-{shard:05}.safetensors")))
    }

    fn save_extras(&self, shard: u32, sorted: &SortedShard) -> Result<(), IngestError> {
        let Rules { user_id_kind, item_id_kind, .. } = self.rules;
        for (name, bytes) in sorted.extras.objects(shard, user_id_kind, item_id_kind)? {
            let path = self.spool.folder().join(name);
            let folder = path.parent().unwrap_or_else(|| self.spool.folder());
            let written = private_files::create_folder(folder)
                .and_then(|_| private_files::create(&path))
                .and_then(|mut file| file.write_all(&bytes));
            written.map_err(|source| IngestError::Spool { action: "write", path, source })?;
        }
        Ok(())
    }

    /// Writes the blocks, id lists, catalogue, tags and genome of every owned shard below the data set's folder;
    /// entries are relative to it.
    ///
    /// # Errors
    /// When the id lists are not those of these ratings, or the store cannot be written.
    pub async fn build(
        self: &Arc<Self>,
        step: IngestBuild,
        on_shard: OnDone,
    ) -> Result<Vec<ObjectEntry>, IngestError> {
        let mut entries = Vec::new();
        for side in [Side::Users, Side::Items] {
            let (other, rows) = match side {
                Side::Items => (Side::Users, &step.user_rows),
                _ => (Side::Items, &step.item_rows),
            };
            let ids = Arc::new(self.id_lists(other, rows).await?);
            let owned = self.owned_shards().into_iter().filter(|key| key.0 == side);
            let building = owned.map(|(_, shard)| {
                let (attempt, ids, path) = (Arc::clone(self), Arc::clone(&ids), step.path.clone());
                async move { attempt.put_shard(side, shard, ids, &path).await }
            });
            let mut built = futures::stream::iter(building).buffered(self.shards_at_once());
            while let Some(objects) = built.try_next().await? {
                on_shard(1);
                entries.extend(objects);
            }
        }
        Ok(entries)
    }

    /// As many as there are threads, which bounds the memory, and one that is being written meanwhile.
    fn shards_at_once(&self) -> usize {
        self.context.compute.threads() + 1
    }

    async fn put_shard(
        self: &Arc<Self>,
        side: Side,
        shard: u32,
        other: Arc<IdLists>,
        folder: &str,
    ) -> Result<Vec<ObjectEntry>, IngestError> {
        let ids_bytes = self.context.store.get(&join(&self.staging_path, &ids_part(side, shard))).await?;
        let (attempt, ids) = (Arc::clone(self), ids_bytes.clone());
        let building = self.context.compute.run(move || attempt.build_shard(side, shard, &ids, &other));
        let mut objects = building.await??;
        objects.push((ids_part(side, shard), ids_bytes));
        let mut entries = Vec::new();
        for (name, bytes) in objects {
            let entry = self.context.store.put(&join(folder, &name), bytes).await?;
            entries.push(ObjectEntry { path: name, ..entry });
        }
        Ok(entries)
    }

    fn build_shard(
        &self,
        side: Side,
        shard: u32,
        ids: &Bytes,
        other: &IdLists,
    ) -> Result<Vec<(String, Bytes)>, IngestError> {
        let ids = IdColumn::read(&TensorFile::from_bytes(&ids_part(side, shard), ids)?)?;
        let path = part(PartKind::Ratings, side, shard);
        let other_kind = self.id_kind(if side == Side::Items { Side::Users } else { Side::Items });
        let block = self.saved(side, shard).block(&path, &ids, other_kind, |id| other.global_row(id))?;
        let mut objects = vec![(path, block)];
        for name in SortedExtras::names(shard) {
            let path = self.spool.folder().join(&name);
            // There are those that something has come for.
            if side == Side::Items && path.exists() {
                let read = std::fs::read(&path);
                let bytes = read.map_err(|source| IngestError::Spool { action: "read", path, source })?;
                objects.push((name, bytes.into()));
            }
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

    fn id_kind(&self, side: Side) -> IdKind {
        if side == Side::Items { self.rules.item_id_kind } else { self.rules.user_id_kind }
    }
}
