//! A model version's files, read from the store and checked against the registry.
//!
//! Only one part is in memory at a time. What a part of factors holds is described in `worker::train::factor_part`, and
//! what other parts hold in `format::model_parts`.

use shoal_common::{
    ids::IdKind,
    model_parameters::als_of,
    store::{Manifest, PartKind, Store, StoreError, part},
};
use shoal_core::ModelKind;
use shoal_engine::item_cf::Neighbours;
use shoal_format::{
    id_column::IdColumn,
    model_parts::{read_biases, read_neighbours},
    tensor_file::{TensorFile, TensorFileError},
};
use shoal_proto::v1::{AlsParameters, DatasetInfo, ModelVersion, ObjectiveChoice, ShardStats, Side};

/// Both sides, in the order in which they are read.
pub const SIDES: [Side; 2] = [Side::Users, Side::Items];

/// A version's files that are missing, damaged or of another shape.
#[derive(Debug, thiserror::Error)]
pub enum ModelFilesError {
    /// An object cannot be read, or is not what the manifest says.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A part is no tensor file, or lacks a tensor.
    #[error(transparent)]
    Tensors(#[from] TensorFileError),
    /// The parts are whole but do not fit the registry.
    #[error("'{path}' does not fit the version: {reason}")]
    Mismatch {
        /// Path of the object below the version's folder.
        path: String,
        /// How the object differs from what the registry says.
        reason: String,
    },
}

/// A version with its manifest, ready to be read part by part.
#[derive(Debug)]
pub struct ModelFiles<'a> {
    store: &'a Store,
    version: &'a ModelVersion,
    dataset: &'a DatasetInfo,
    manifest: Manifest,
    rank: usize,
}

/// One shard of one side.
#[derive(Debug)]
pub struct Part {
    /// Path below the version's folder.
    pub path: String,
    /// The ids of the rows.
    pub ids: IdColumn,
    file: TensorFile,
    has_ranking: bool,
    has_rating: bool,
}

/// The biases of one shard of a model that answers by neighbours.
#[derive(Debug)]
pub struct BiasPart {
    /// The ids of the rows.
    pub ids: IdColumn,
    /// How far each row's ratings are from the mean, damped.
    pub biases: Vec<f32>,
}

/// What `verify` looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verified {
    /// Objects of the manifest.
    pub objects: usize,
    /// Bytes of all objects together.
    pub bytes: u64,
    /// Rows of users and items; 0 for a model that has no factors.
    pub rows: u64,
}

impl<'a> ModelFiles<'a> {
    /// Reads the manifest, which must be the one that the registry remembers.
    ///
    /// # Errors
    /// When it is missing or another one.
    pub async fn open(
        store: &'a Store,
        version: &'a ModelVersion,
        dataset: &'a DatasetInfo,
    ) -> Result<Self, ModelFilesError> {
        let manifest = Manifest::read(store, &version.path, &version.manifest_checksum).await?;
        let rank = als_of(version).map_or(0, |parameters| parameters.rank as usize);
        if rank == 0 && version.model == ModelKind::Als.folder() {
            let reason = "the registry knows no rank".to_owned();
            return Err(ModelFilesError::Mismatch { path: version.path.clone(), reason });
        }
        Ok(Self { store, version, dataset, manifest, rank })
    }

    /// Elements of a factor row.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// Whether the version has ranking and rating factors, in this order.
    #[must_use]
    pub fn objectives(&self) -> (bool, bool) {
        let choice = als_of(self.version).map(AlsParameters::objective);
        (choice != Some(ObjectiveChoice::Explicit), choice != Some(ObjectiveChoice::Implicit))
    }

    /// How many shards each side of the data set has.
    #[must_use]
    pub fn shard_count(&self) -> u32 {
        self.dataset.shard_count
    }

    /// Reads and checks one part: length, checksum, rows, rank, ids of this shard in order, finite values.
    ///
    /// # Errors
    /// Everything that is wrong with it first.
    pub async fn part(&self, side: Side, shard: u32) -> Result<Part, ModelFilesError> {
        let path = part(PartKind::Factors, side, shard);
        let bytes = self.store.get_verified(&self.version.path, self.manifest.entry(&path)?).await?;
        let file = TensorFile::from_bytes(&path, &bytes)?;
        let ids = IdColumn::read(&file)?;
        let (has_ranking, has_rating) = self.objectives();
        let part = Part { path, ids, file, has_ranking, has_rating };
        self.check(&part, side, shard)?;
        Ok(part)
    }

    /// Reads and checks the biases of one part: length, checksum, rows, ids of this shard in order, finite values.
    ///
    /// # Errors
    /// Everything that is wrong with it first.
    pub async fn bias_part(&self, side: Side, shard: u32) -> Result<BiasPart, ModelFilesError> {
        let (file, ids) = self.other_part(PartKind::Biases, side, shard).await?;
        let biases = read_biases(&file, ids.len())?.0.to_vec();
        Ok(BiasPart { ids, biases })
    }

    /// Reads and checks the neighbours of one shard's items, best first, by global row: length, checksum, rows, ids of this
    /// shard in order, and that every neighbour is an item.
    ///
    /// # Errors
    /// Everything that is wrong with it first.
    pub async fn neighbour_part(&self, shard: u32) -> Result<(IdColumn, Neighbours), ModelFilesError> {
        let (file, ids) = self.other_part(PartKind::Neighbours, Side::Items, shard).await?;
        // Rows of a side are counted in a u32.
        let neighbours = read_neighbours(&file, ids.len(), self.dataset.items as u32)?;
        Ok((ids, neighbours))
    }

    async fn other_part(
        &self,
        kind: PartKind,
        side: Side,
        shard: u32,
    ) -> Result<(TensorFile, IdColumn), ModelFilesError> {
        let path = part(kind, side, shard);
        let bytes = self.store.get_verified(&self.version.path, self.manifest.entry(&path)?).await?;
        let file = TensorFile::from_bytes(&path, &bytes)?;
        let ids = IdColumn::read(&file)?;
        self.check_ids(&path, &ids, side, shard)?;
        Ok((file, ids))
    }

    fn check_ids(&self, path: &str, ids: &IdColumn, side: Side, shard: u32) -> Result<(), ModelFilesError> {
        let mismatch = |reason: String| ModelFilesError::Mismatch { path: path.to_owned(), reason };
        let stats: &[ShardStats] =
            if side == Side::Items { &self.dataset.item_shards } else { &self.dataset.user_shards };
        let expected = stats.iter().find(|stats| stats.shard == shard).map_or(0, |stats| stats.rows);
        let rows = ids.len();
        if rows as u64 != expected {
            return Err(mismatch(format!("it has {rows} rows, the data set's shard has {expected}")));
        }
        let stray = (0..rows).find(|row| ids.get(*row).shard(self.shard_count()) != shard);
        if let Some(row) = stray {
            return Err(mismatch(format!("id {} belongs to another shard", ids.get(row))));
        }
        Ok(())
    }

    fn check(&self, part: &Part, side: Side, shard: u32) -> Result<(), ModelFilesError> {
        let mismatch = |reason: String| ModelFilesError::Mismatch { path: part.path.clone(), reason };
        self.check_ids(&part.path, &part.ids, side, shard)?;
        let rows = part.ids.len();
        for (name, values) in [("ranking", part.ranking()?), ("rating", part.rating()?)] {
            let Some((values, rank)) = values else { continue };
            // The shape of a shard without rows says nothing of its rank.
            if rank != self.rank && rows > 0 {
                return Err(mismatch(format!("'{name}' has rank {rank}, the version's is {}", self.rank)));
            }
            check_finite(name, values).map_err(mismatch)?;
        }
        if let Some(biases) = part.rating_biases()? {
            check_finite("rating_bias", biases).map_err(mismatch)?;
        }
        Ok(())
    }

    /// Reads and checks every object that the manifest names; `progress` hears of objects done and in all.
    ///
    /// # Errors
    /// The first damage found.
    pub async fn verify(&self, mut progress: impl FnMut(usize, usize)) -> Result<Verified, ModelFilesError> {
        let mut seen = Verified::default();
        let total = self.manifest.objects.len();
        let mut parts = Vec::new();
        let shards = if self.rank > 0 { self.shard_count() } else { 0 };
        for side in SIDES {
            for shard in 0..shards {
                let part = self.part(side, shard).await?;
                seen.rows += part.ids.len() as u64;
                seen.bytes += self.manifest.entry(&part.path)?.length_bytes;
                parts.push(part.path);
                progress(parts.len(), total);
            }
        }
        for entry in self.manifest.objects.iter().filter(|entry| !parts.contains(&entry.path)) {
            self.store.get_verified(&self.version.path, entry).await?;
            seen.bytes += entry.length_bytes;
        }
        progress(total, total);
        Ok(Verified { objects: total, ..seen })
    }
}

impl Part {
    /// The kind of the ids.
    #[must_use]
    pub fn id_kind(&self) -> IdKind {
        self.ids.kind()
    }

    /// Training ratings of each row.
    ///
    /// # Errors
    /// When the tensor is missing or of another length.
    pub fn train_counts(&self) -> Result<&[u32], TensorFileError> {
        let counts = self.file.vector::<u32>("train_counts")?;
        if counts.len() != self.ids.len() {
            let reason = format!("it has {} rows, the ids {}", counts.len(), self.ids.len());
            return Err(self.file.tensor_error("train_counts", reason));
        }
        Ok(counts)
    }

    /// The ranking factors, row-major, with the rank; `None` where they were not trained.
    ///
    /// # Errors
    /// When the tensor is missing or of another shape.
    pub fn ranking(&self) -> Result<Option<(&[f32], usize)>, TensorFileError> {
        if !self.has_ranking {
            return Ok(None);
        }
        self.file.matrix::<f32>("ranking", self.ids.len()).map(Some)
    }

    /// The rating factors, row-major, with the rank; `None` where they were not trained.
    ///
    /// # Errors
    /// When the tensor is missing or of another shape.
    pub fn rating(&self) -> Result<Option<(&[f32], usize)>, TensorFileError> {
        if !self.has_rating {
            return Ok(None);
        }
        self.file.matrix::<f32>("rating", self.ids.len()).map(Some)
    }

    /// The biases of the rating objective; `None` where it was not trained.
    ///
    /// # Errors
    /// When the tensor is missing or of another length.
    pub fn rating_biases(&self) -> Result<Option<&[f32]>, TensorFileError> {
        if !self.has_rating {
            return Ok(None);
        }
        let biases = self.file.vector::<f32>("rating_bias")?;
        if biases.len() != self.ids.len() {
            let reason = format!("it has {} rows, the ids {}", biases.len(), self.ids.len());
            return Err(self.file.tensor_error("rating_bias", reason));
        }
        Ok(Some(biases))
    }
}

fn check_finite(name: &str, values: &[f32]) -> Result<(), String> {
    match values.iter().position(|value| !value.is_finite()) {
        None => Ok(()),
        Some(at) => Err(format!("'{name}' has the value {} at position {at}", values[at])),
    }
}
