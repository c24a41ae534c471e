//! From the store to memory: fetches the parts of a shard through the local cache, maps them, and
//! checks that they belong together before anybody is answered from them.
//!
//! Length and checksum are the cache's to check; here it is shapes, finite values, the number of
//! rows, and that the model's rows are the data set's.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use shoal_common::store::{LocalCache, Manifest, PartKind, Store, StoreError, catalogue_part, join, part};
use shoal_proto::v1::{DatasetInfo, ModelVersion, Objective, ShardStats, Side, model_parameters::Model};
use tokio::sync::OnceCell;

use super::{
    catalogue::read_descriptions,
    descriptions::{Description, Descriptions},
    error::LoadError,
    factors::{FactorPart, FactorShape},
    fold_in::FoldIn,
    neighbours::{ListShape, NeighbourLists},
    ratings::RatingsPart,
    shard::{ItemShard, UserShard},
    version::{LoadedShard, LoadedVersion, ShardKey},
};
use crate::{model_parts::read_biases, popularity::damped_mean, tensor_file::TensorFile, train::Settings};

/// Models that are served, by the names that versions have of them.
const MODEL_ALS: &str = "als";
const MODEL_ITEM_CF: &str = "item_cf";
const MODEL_CONTENT: &str = "content_based";

/// The manifests of a version and its data set: what loading any of its shards starts from.
#[derive(Debug)]
pub struct VersionSource {
    version: ModelVersion,
    dataset: DatasetInfo,
    model_manifest: Manifest,
    dataset_manifest: Manifest,
    /// By global row; filled when the first shard that needs them is loaded.
    item_biases: OnceCell<Arc<[f32]>>,
}

impl VersionSource {
    /// The version with none of its shards.
    #[must_use]
    pub fn empty_version(&self) -> LoadedVersion {
        let (version, dataset) = (&self.version, &self.dataset);
        let empty = LoadedVersion::empty(version.name.clone(), dataset.shard_count, version.rating_mean);
        let parameters = version.parameters.clone().unwrap_or_default();
        // A version that was not trained here may lack what solving needs: it is served without it.
        let settings = Settings::new(&parameters, dataset.users, dataset.items).ok();
        let fold_in = settings.map(|mut settings| {
            settings.set_rating_mean(version.rating_mean);
            Arc::new(FoldIn::new(settings, version.rating_mean))
        });
        LoadedVersion { fold_in, ..empty }
    }

    /// The objects behind one shard: factors, ratings and, for items of a data set that has a
    /// catalogue, its part of that.
    fn objects(&self, side: Side, shard: u32) -> ShardObjects<'_> {
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
            item_biases: (0..shards).map(|shard| model(part(PartKind::Biases, side, shard))).collect(),
        }
    }

    fn has_factors(&self) -> bool {
        self.version.model == MODEL_ALS
    }

    /// Neighbours that a predicted rating is the mean of; 0 for a version that predicts none from them.
    fn prediction_neighbours(&self) -> usize {
        match self.version.model_parameters.as_ref().and_then(|parameters| parameters.model.as_ref()) {
            Some(Model::ItemCf(parameters)) => parameters.prediction_neighbours as usize,
            _ => 0,
        }
    }

    /// Whether the version can be served at all.
    fn check_model(&self) -> Result<(), LoadError> {
        if [MODEL_ALS, MODEL_ITEM_CF, MODEL_CONTENT].contains(&self.version.model.as_str()) {
            return Ok(());
        }
        let reason = format!(
            "versions of '{}' are not served; promote the versions that it is made of",
            self.version.model
        );
        Err(LoadError::Version { version: self.version.name.clone(), reason })
    }

    fn stats(&self, side: Side) -> &[ShardStats] {
        if side == Side::Items { &self.dataset.item_shards } else { &self.dataset.user_shards }
    }

    /// Rows of a shard, and of the shards before it.
    fn rows(&self, side: Side, shard: u32) -> Result<(usize, u32), LoadError> {
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
struct ObjectName<'a> {
    folder: &'a str,
    manifest: &'a Manifest,
    name: String,
}

/// The objects behind one shard.
struct ShardObjects<'a> {
    /// Of a version of neighbours its biases.
    factors: ObjectName<'a>,
    ratings: ObjectName<'a>,
    catalogue: Option<ObjectName<'a>>,
    neighbours: Option<ObjectName<'a>>,
    /// Of every item shard, for a shard that predicts ratings from them.
    item_biases: Vec<ObjectName<'a>>,
}

/// A part on this machine's disk, with the object's name for errors.
struct Fetched {
    path: String,
    file: PathBuf,
}

/// The parts of one shard, ready to be mapped.
struct ShardParts {
    factors: Fetched,
    ratings: Fetched,
    catalogue: Option<Fetched>,
    neighbours: Option<(Fetched, ListShape)>,
    shape: FactorShape,
    /// The global number of the shard's first row.
    first_row: u32,
    /// All rows of the other side.
    other_rows: u64,
    /// Of the whole data set.
    rating_mean: f64,
}

/// Loads shards. Clones share the cache and the manifests read so far.
#[derive(Debug, Clone)]
pub struct Loader {
    store: Store,
    cache: LocalCache,
    sources: Arc<Mutex<HashMap<String, Arc<VersionSource>>>>,
}

impl Loader {
    /// Reads from `store` through `cache`, which nothing else may prune.
    #[must_use]
    pub fn new(store: Store, cache: LocalCache) -> Self {
        Self { store, cache, sources: Arc::default() }
    }

    /// Loads and checks one shard.
    ///
    /// # Errors
    /// When a part cannot be had or does not belong; trying again makes sense, since the store may
    /// be out of reach or be repaired.
    pub async fn load(
        &self,
        version: &ModelVersion,
        dataset: &DatasetInfo,
        side: Side,
        shard: u32,
    ) -> Result<(Arc<VersionSource>, LoadedShard), LoadError> {
        let source = self.source(version, dataset).await?;
        source.check_model()?;
        let (rows, first_row) = source.rows(side, shard)?;
        let objects = source.objects(side, shard);
        let neighbours = match &objects.neighbours {
            Some(object) => Some((self.fetch(object).await?, self.list_shape(&source, &objects).await?)),
            None => None,
        };
        let parts = ShardParts {
            factors: self.fetch(&objects.factors).await?,
            ratings: self.fetch(&objects.ratings).await?,
            catalogue: match &objects.catalogue {
                Some(object) => Some(self.fetch(object).await?),
                None => None,
            },
            neighbours,
            shape: if source.has_factors() {
                FactorShape::new(&source.version.parameters.clone().unwrap_or_default(), rows)
            } else {
                FactorShape::without_factors(rows)
            },
            first_row,
            other_rows: if side == Side::Items { source.dataset.users } else { source.dataset.items },
            rating_mean: source.dataset.rating_mean,
        };
        let path = parts.factors.path.clone();
        // Mapping and checking reads every byte from disk, so it belongs with blocking I/O.
        let opened = tokio::task::spawn_blocking(move || match side {
            Side::Items => parts.open_items().map(|shard| LoadedShard::Items(Arc::new(shard))),
            _ => parts.open_users().map(|shard| LoadedShard::Users(Arc::new(shard))),
        });
        let shard = opened.await.map_err(|source| LoadError::Panicked { path, source })??;
        Ok((source, shard))
    }

    /// What the lists of a version have in common; the biases of all items are read once.
    async fn list_shape(
        &self,
        source: &VersionSource,
        objects: &ShardObjects<'_>,
    ) -> Result<ListShape, LoadError> {
        let dataset = &source.dataset;
        let too_many = || LoadError::Version {
            version: source.version.name.clone(),
            reason: format!("its data set has more than {} items", u32::MAX),
        };
        let read = || async {
            let mut biases = Vec::new();
            for (shard, object) in (0..).zip(&objects.item_biases) {
                let Fetched { path, file } = self.fetch(object).await?;
                let (rows, _) = source.rows(Side::Items, shard)?;
                let read = TensorFile::map(&file).and_then(|file| Ok(read_biases(&file, rows)?.0.to_vec()));
                biases.extend(read.map_err(|source| LoadError::Tensors { path, source: Box::new(source) })?);
            }
            Ok::<Arc<[f32]>, LoadError>(biases.into())
        };
        Ok(ListShape {
            items: u32::try_from(dataset.items).map_err(|_| too_many())?,
            prediction_neighbours: source.prediction_neighbours(),
            scale: (dataset.rating_min, dataset.rating_max),
            biases: Arc::clone(source.item_biases.get_or_try_init(read).await?),
        })
    }

    /// Removes from the cache what none of these shards uses, and forgets other versions' manifests.
    ///
    /// # Errors
    /// When the cache's folder cannot be read or a file not removed.
    pub async fn prune(&self, loaded: &[ShardKey]) -> Result<(), StoreError> {
        let wanted: HashSet<String> = {
            let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
            sources.retain(|version, _| loaded.iter().any(|key| &key.version == version));
            loaded
                .iter()
                .filter_map(|key| sources.get(&key.version).map(|source| (key, source)))
                .flat_map(|(key, source)| source.objects(key.side, key.shard).checksums())
                .collect()
        };
        self.cache.retain(wanted).await
    }

    /// The manifests of a version, read once.
    async fn source(
        &self,
        version: &ModelVersion,
        dataset: &DatasetInfo,
    ) -> Result<Arc<VersionSource>, LoadError> {
        let known = {
            let sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
            sources.get(&version.name).cloned()
        };
        if let Some(source) = known {
            return Ok(source);
        }
        let read = async |folder: &str, checksum: &str| {
            Manifest::read(&self.store, folder, checksum)
                .await
                .map_err(|source| LoadError::Manifest { folder: folder.to_owned(), source: Box::new(source) })
        };
        let source = Arc::new(VersionSource {
            model_manifest: read(&version.path, &version.manifest_checksum).await?,
            dataset_manifest: read(&dataset.path, &dataset.manifest_checksum).await?,
            version: version.clone(),
            dataset: dataset.clone(),
            item_biases: OnceCell::new(),
        });
        let mut sources = self.sources.lock().unwrap_or_else(PoisonError::into_inner);
        sources.insert(version.name.clone(), Arc::clone(&source));
        Ok(source)
    }

    async fn fetch(&self, object: &ObjectName<'_>) -> Result<Fetched, LoadError> {
        let path = join(object.folder, &object.name);
        let failed = |source| LoadError::Fetch { path: path.clone(), source: Box::new(source) };
        let entry = object.manifest.entry(&object.name).map_err(failed)?;
        let file = self.cache.fetch(&self.store, object.folder, entry).await.map_err(failed)?;
        Ok(Fetched { path, file })
    }
}

impl ShardObjects<'_> {
    /// By which the local cache names the objects.
    fn checksums(&self) -> Vec<String> {
        [Some(&self.factors), Some(&self.ratings), self.catalogue.as_ref(), self.neighbours.as_ref()]
            .into_iter()
            .flatten()
            .chain(&self.item_biases)
            .filter_map(|object| Some(object.manifest.entry(&object.name).ok()?.checksum.clone()))
            .collect()
    }
}

impl ShardParts {
    fn open_users(&self) -> Result<UserShard, LoadError> {
        let (factors, ratings) = self.open_rows()?;
        Ok(UserShard { factors, ratings })
    }

    fn open_items(&self) -> Result<ItemShard, LoadError> {
        let (factors, ratings) = self.open_rows()?;
        let open = |(fetched, shape): &(Fetched, ListShape)| {
            let (file, path) = (&fetched.file, &fetched.path);
            NeighbourLists::open(file, path, factors.rows(), self.first_row, shape.clone())
        };
        let rows = 0..factors.rows();
        let descriptions = match &self.catalogue {
            Some(catalogue) => read_descriptions(&catalogue.file, &catalogue.path, factors.ids())?,
            None => Descriptions::new(vec![Description::default(); factors.rows()]),
        };
        Ok(ItemShard {
            first_row: self.first_row,
            ranking_screen: factors.screen(Objective::Ranking),
            rating_screen: factors.screen(Objective::Rating),
            ranking_norms: factors.norms(Objective::Ranking),
            rating_norms: factors.norms(Objective::Rating),
            // A row has at most one rating per user, and users are counted in u32.
            rating_counts: rows.clone().map(|row| ratings.ratings(row).len() as u32).collect(),
            damped_means: rows.map(|row| damped_mean(ratings.ratings(row), self.rating_mean)).collect(),
            rating_mean: self.rating_mean,
            newest: ratings.newest(),
            neighbours: self.neighbours.as_ref().map(open).transpose()?,
            factors,
            ratings,
            descriptions,
        })
    }

    /// The rows of the model and of the data set, which must be the same ones.
    fn open_rows(&self) -> Result<(FactorPart, RatingsPart), LoadError> {
        let factors = FactorPart::open(&self.factors.file, &self.factors.path, self.shape)?;
        let ratings =
            RatingsPart::open(&self.ratings.file, &self.ratings.path, self.shape.rows, self.other_rows)?;
        if factors.ids() == ratings.ids() {
            return Ok((factors, ratings));
        }
        let reason = format!("its ids are not those of '{}'", self.ratings.path);
        Err(LoadError::Mismatch { path: self.factors.path.clone(), reason })
    }
}
