//! Where the parts of a version are: its manifest, its data set's, and of a blend those of the versions blended.

use std::sync::Arc;

use shoal_common::{
    model_parameters::{als_of, model_of, prediction_neighbours},
    store::{Manifest, PartKind, catalogue_part, part},
};
use shoal_core::{Answers, ModelKind};
use shoal_engine::{als::kernel::Kernel, hybrid::Blend, preference::Preference};
use shoal_proto::v1::{DatasetInfo, ModelVersion, ShardStats, Side, model_parameters::Model};
use tokio::sync::OnceCell;

use super::{FoldIn, error::LoadError, factors::FactorShape, version::LoadedVersion};
use crate::train::{Settings, ease_preference};

/// The manifests of a version and its data set: what loading any of its shards starts from.
#[derive(Debug)]
pub struct VersionSource {
    pub(crate) version: ModelVersion,
    pub(crate) kind: ModelKind,
    pub(super) dataset: DatasetInfo,
    pub(super) model_manifest: Manifest,
    pub(super) dataset_manifest: Manifest,
    /// By global row; filled when the first shard that needs them is loaded.
    pub(super) item_biases: OnceCell<Arc<[f32]>>,
    /// Of a version that blends others.
    pub(super) blend: Option<BlendSource>,
}

/// The versions that one blends, at least one.
#[derive(Debug)]
pub(super) struct BlendSource {
    pub(super) blend: Arc<Blend>,
    /// In the order of the sources; popularity is the source after them.
    pub(super) versions: Vec<Arc<VersionSource>>,
    /// The one whose shards the blend's are made of: that of factors, else the first.
    pub(super) base: Arc<VersionSource>,
    /// The one that tells biases and training ratings: the first without factors, else the base.
    pub(super) baselines: Arc<VersionSource>,
}

impl BlendSource {
    /// `None` where nothing is blended.
    pub(super) fn new(blend: Arc<Blend>, versions: Vec<Arc<VersionSource>>) -> Option<Self> {
        let find = |has_factors: bool| versions.iter().find(|version| version.has_factors() == has_factors);
        let base = Arc::clone(find(true).or_else(|| versions.first())?);
        let baselines = Arc::clone(find(false).unwrap_or(&base));
        Some(Self { blend, versions, base, baselines })
    }

    /// Whether the base tells biases and training ratings too.
    pub(super) fn has_one_base(&self) -> bool {
        Arc::ptr_eq(&self.base, &self.baselines)
    }
}

impl VersionSource {
    /// The version with none of its shards.
    #[must_use]
    pub fn empty_version(&self) -> LoadedVersion {
        let dataset = &self.dataset;
        let (version, rating_mean) = match &self.blend {
            // Ratings are predicted by factors if they do so at all, else from neighbours.
            Some(BlendSource { base, baselines, .. }) if !base.predicts() => {
                (&base.version, baselines.version.rating_mean)
            }
            Some(BlendSource { base, .. }) => (&base.version, base.version.rating_mean),
            None => (&self.version, self.version.rating_mean),
        };
        let empty = LoadedVersion::empty(self.version.name.clone(), dataset.shard_count, rating_mean);
        let parameters = als_of(version).cloned().unwrap_or_default();
        // A version that was not trained here may lack what solving needs: it is served without it.
        let settings = Settings::new(&parameters, dataset.users, dataset.items).ok();
        let fold_in = settings.map(|mut settings| {
            settings.set_rating_mean(version.rating_mean);
            Arc::new(FoldIn::new(settings, version.rating_mean, Kernel::detect()))
        });
        LoadedVersion { fold_in, ..empty }
    }

    /// The objects behind one shard: factors, ratings and, for items of a data set that has a
    /// catalogue, its part of that.
    pub(super) fn objects(&self, side: Side, shard: u32) -> ShardObjects<'_> {
        let dataset =
            |name: String| ObjectName { folder: &self.dataset.path, manifest: &self.dataset_manifest, name };
        let catalogue = (side == Side::Items)
            .then(|| catalogue_part(shard))
            .filter(|name| self.dataset_manifest.entry(name).is_ok())
            .map(dataset);
        let model =
            |name: String| ObjectName { folder: &self.version.path, manifest: &self.model_manifest, name };
        let kind = if self.has_factors() { PartKind::Factors } else { PartKind::Biases };
        let lists = side == Side::Items && !self.has_factors();
        let predicts = lists && self.prediction_neighbours() > 0;
        let shards = if predicts { self.dataset.shard_count } else { 0 };
        ShardObjects {
            factors: model(part(kind, side, shard)),
            ratings: dataset(part(PartKind::Ratings, side, shard)),
            catalogue,
            neighbours: lists.then(|| model(part(PartKind::Neighbours, side, shard))),
            vectors: Some(part(PartKind::Vectors, side, shard))
                .filter(|name| lists && self.model_manifest.entry(name).is_ok())
                .map(model),
            item_biases: (0..shards).map(|shard| model(part(PartKind::Biases, side, shard))).collect(),
        }
    }

    pub(super) fn has_factors(&self) -> bool {
        self.kind.answers() == Answers::ByFactors
    }

    /// Neighbours that a predicted rating is the mean of; 0 for a version that predicts none from them.
    pub(super) fn prediction_neighbours(&self) -> usize {
        model_of(&self.version).map_or(0, |model| prediction_neighbours(model) as usize)
    }

    /// What a rated item counts for in lists.
    pub(super) fn preference(&self) -> Preference {
        match model_of(&self.version) {
            Some(Model::Ease(ease)) => ease_preference(ease),
            _ => Preference::by_height(self.dataset.rating_min, self.dataset.rating_max),
        }
    }

    /// Whether the version's factors predict ratings.
    fn predicts(&self) -> bool {
        self.factor_shape(0).rating
    }

    pub(super) fn factor_shape(&self, rows: usize) -> FactorShape {
        if !self.has_factors() {
            return FactorShape::without_factors(rows);
        }
        FactorShape::new(&als_of(&self.version).cloned().unwrap_or_default(), rows)
    }

    /// By which the local cache names the objects behind one shard.
    pub(super) fn checksums(&self, side: Side, shard: u32) -> Vec<String> {
        match &self.blend {
            Some(BlendSource { versions, .. }) => {
                versions.iter().flat_map(|version| version.checksums(side, shard)).collect()
            }
            None => self.objects(side, shard).checksums(),
        }
    }

    fn stats(&self, side: Side) -> &[ShardStats] {
        if side == Side::Items { &self.dataset.item_shards } else { &self.dataset.user_shards }
    }

    /// Rows of a shard, and of the shards before it.
    pub(super) fn rows(&self, side: Side, shard: u32) -> Result<(usize, u32), LoadError> {
        let invalid = |reason: String| LoadError::Version { version: self.version.name.clone(), reason };
        let stats = self.stats(side);
        let of = |number: u32| stats.iter().find(|stats| stats.shard == number).map(|stats| stats.rows);
        let rows = of(shard).ok_or_else(|| invalid(format!("its data set has no {side:?} shard {shard}")))?;
        let before: u64 = (0..shard).filter_map(of).sum();
        // Global rows are u32 everywhere.
        match u32::try_from(before + rows) {
            Ok(_) => Ok((rows as usize, before as u32)),
            Err(_) => Err(invalid(format!("its data set has more than {} rows on a side", u32::MAX))),
        }
    }
}

/// One object as its manifest names it.
pub(super) struct ObjectName<'a> {
    pub(super) folder: &'a str,
    pub(super) manifest: &'a Manifest,
    pub(super) name: String,
}

/// The objects behind one shard.
pub(super) struct ShardObjects<'a> {
    /// Of a version of neighbours its biases.
    pub(super) factors: ObjectName<'a>,
    pub(super) ratings: ObjectName<'a>,
    pub(super) catalogue: Option<ObjectName<'a>>,
    pub(super) neighbours: Option<ObjectName<'a>>,
    pub(super) vectors: Option<ObjectName<'a>>,
    /// Of every item shard, for a shard that predicts ratings from them.
    pub(super) item_biases: Vec<ObjectName<'a>>,
}

impl ShardObjects<'_> {
    /// By which the local cache names the objects.
    fn checksums(&self) -> Vec<String> {
        let optional = [&self.catalogue, &self.neighbours, &self.vectors].into_iter().flatten();
        [&self.factors, &self.ratings]
            .into_iter()
            .chain(optional)
            .chain(&self.item_biases)
            .filter_map(|object| Some(object.manifest.entry(&object.name).ok()?.checksum.clone()))
            .collect()
    }
}
