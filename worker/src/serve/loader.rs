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

use shoal_common::store::{LocalCache, Manifest, Store, StoreError, join};
use shoal_core::{Answers, ModelKind};
use shoal_engine::popularity::damped_mean;
use shoal_format::{id_column::IdColumn, model_parts::read_biases, tensor_file::TensorFile};
use shoal_proto::v1::{DatasetInfo, HybridSource, ModelVersion, Side};
use tokio::sync::OnceCell;

use super::{
    blended::{BlendPart, Blended, POPULARITY},
    catalogue::read_descriptions,
    descriptions::{Description, Descriptions},
    error::LoadError,
    factor_bounds::FactorBounds,
    factors::{FactorPart, FactorShape},
    item_model::{Features, ItemModel},
    item_shard::ItemShard,
    neighbours::{ListShape, NeighbourLists},
    profiles::FeatureVectors,
    ratings::RatingsPart,
    source::{BlendSource, ObjectName, ShardObjects, VersionSource},
    user_shard::UserShard,
    version::{LoadedShard, ShardKey},
    weak_cache::WeakCache,
};
use crate::train::models::blend_of;

/// A part on this machine's disk, with the object's name for errors.
struct Fetched {
    path: String,
    file: PathBuf,
}

/// The parts of one shard that every model has, ready to be mapped.
struct ShardParts {
    factors: Fetched,
    ratings: Fetched,
    catalogue: Option<Fetched>,
    shape: FactorShape,
    /// The global number of the shard's first row.
    first_row: u32,
    /// All rows of the other side.
    other_rows: u64,
    /// Of the whole data set.
    rating_mean: f64,
}

/// What an item shard has beside, of a version that is no blend.
enum ModelParts {
    Factors,
    Neighbours(Arc<NeighbourLists>),
    Features {
        lists: Arc<NeighbourLists>,
        /// With what a cosine is worth.
        vectors: Option<(Fetched, f64)>,
    },
}

/// Loads shards. Clones share the cache and the manifests read so far.
#[derive(Debug, Clone)]
pub struct Loader {
    store: Store,
    cache: LocalCache,
    sources: Arc<Mutex<HashMap<String, Arc<VersionSource>>>>,
    items: Arc<WeakCache<ItemShard>>,
    lists: Arc<WeakCache<NeighbourLists>>,
}

impl Loader {
    /// Reads from `store` through `cache`, which nothing else may prune.
    #[must_use]
    pub fn new(store: Store, cache: LocalCache) -> Self {
        let (items, lists) = (Arc::default(), Arc::default());
        Self { store, cache, sources: Arc::default(), items, lists }
    }

    /// One with a cache and manifests of its own, for what is not served. What this one's owner holds is shared.
    #[must_use]
    pub fn apart(&self, cache: LocalCache) -> Self {
        Self {
            store: self.store.clone(),
            cache,
            sources: Arc::default(),
            items: Arc::clone(&self.items),
            lists: Arc::clone(&self.lists),
        }
    }

    /// Loads and checks one shard. `components` has the versions that the version blends, if it does.
    ///
    /// # Errors
    /// When a part cannot be had or does not belong; trying again makes sense, since the store may
    /// be out of reach or be repaired.
    pub async fn load(
        &self,
        version: &ModelVersion,
        components: &[ModelVersion],
        dataset: &DatasetInfo,
        side: Side,
        shard: u32,
    ) -> Result<(Arc<VersionSource>, LoadedShard), LoadError> {
        let source = self.source(version, components, dataset).await?;
        let loaded = match (&source.blend, side) {
            (Some(blend), Side::Items) => LoadedShard::Items(Arc::new(self.blended(blend, shard).await?)),
            (Some(blend), _) => {
                let users = self.users(&blend.base, shard).await?;
                let baselines = match blend.has_one_base() {
                    true => None,
                    false => Some(self.baselines(&blend.baselines, side, shard, users.factors.ids()).await?),
                };
                LoadedShard::Users(Arc::new(UserShard { baselines, ..users }))
            }
            (None, Side::Items) => LoadedShard::Items(self.items(&source, shard).await?),
            (None, _) => LoadedShard::Users(Arc::new(self.users(&source, shard).await?)),
        };
        Ok((source, loaded))
    }

    async fn users(&self, source: &VersionSource, shard: u32) -> Result<UserShard, LoadError> {
        let parts = self.parts(source, Side::Users, shard).await?;
        opened(parts.factors.path.clone(), move || parts.open_users()).await
    }

    async fn items(&self, source: &VersionSource, shard: u32) -> Result<Arc<ItemShard>, LoadError> {
        if let Some(held) = self.items.get(&source.version.name, shard) {
            return Ok(held);
        }
        let parts = self.parts(source, Side::Items, shard).await?;
        let model = self.model_parts(source, shard).await?;
        let items = Arc::new(opened(parts.factors.path.clone(), move || parts.open_items(&model)).await?);
        self.items.put(&source.version.name, shard, &items);
        Ok(items)
    }

    /// An item shard of a blend.
    async fn blended(&self, source: &BlendSource, shard: u32) -> Result<ItemShard, LoadError> {
        let base = self.items(&source.base, shard).await?;
        let baselines = match source.has_one_base() {
            true => Arc::clone(&base.factors),
            false => {
                let ids = base.factors.ids();
                Arc::new(self.baselines(&source.baselines, Side::Items, shard, ids).await?)
            }
        };
        let mut parts = Vec::with_capacity(source.versions.len());
        for version in &source.versions {
            parts.push(match &base.model {
                ItemModel::Factors(bounds) if Arc::ptr_eq(version, &source.base) => {
                    BlendPart::Factors(Arc::clone(bounds))
                }
                _ => BlendPart::Lists(self.lists(version, shard).await?),
            });
        }
        let blended = Blended { blend: Arc::clone(&source.blend), parts, baselines };
        Ok(ItemShard { model: ItemModel::Blend(blended), base: Some(Arc::clone(&base)), ..(*base).clone() })
    }

    /// The biases of a version that has no factors, whose rows have to be these.
    async fn baselines(
        &self,
        source: &VersionSource,
        side: Side,
        shard: u32,
        ids: &IdColumn,
    ) -> Result<FactorPart, LoadError> {
        let (rows, _) = source.rows(side, shard)?;
        let Fetched { path, file } = self.fetch(&source.objects(side, shard).factors).await?;
        let (name, shape) = (path.clone(), FactorShape::without_factors(rows));
        let baselines = opened(path.clone(), move || FactorPart::open(&file, &name, shape)).await?;
        if baselines.ids() == ids {
            return Ok(baselines);
        }
        let reason = "its ids are not those of the other versions that are blended".to_owned();
        Err(LoadError::Mismatch { path, reason })
    }

    /// The neighbours of an item shard.
    async fn lists(&self, source: &VersionSource, shard: u32) -> Result<Arc<NeighbourLists>, LoadError> {
        if let Some(held) = self.lists.get(&source.version.name, shard) {
            return Ok(held);
        }
        let (rows, first_row) = source.rows(Side::Items, shard)?;
        let objects = source.objects(Side::Items, shard);
        let shape = self.list_shape(source, &objects).await?;
        let missing = || LoadError::Version {
            version: source.version.name.clone(),
            reason: "it has factors where neighbours are blended".to_owned(),
        };
        let Fetched { path, file } = self.fetch(objects.neighbours.as_ref().ok_or_else(missing)?).await?;
        let open = move || NeighbourLists::open(&file, &path, rows, first_row, shape);
        let lists = Arc::new(opened(source.version.path.clone(), open).await?);
        self.lists.put(&source.version.name, shard, &lists);
        Ok(lists)
    }

    /// The parts of a shard of a version that is no blend.
    async fn parts(&self, source: &VersionSource, side: Side, shard: u32) -> Result<ShardParts, LoadError> {
        let (rows, first_row) = source.rows(side, shard)?;
        let objects = source.objects(side, shard);
        Ok(ShardParts {
            factors: self.fetch(&objects.factors).await?,
            ratings: self.fetch(&objects.ratings).await?,
            catalogue: match &objects.catalogue {
                Some(object) => Some(self.fetch(object).await?),
                None => None,
            },
            shape: source.factor_shape(rows),
            first_row,
            other_rows: if side == Side::Items { source.dataset.users } else { source.dataset.items },
            rating_mean: source.dataset.rating_mean,
        })
    }

    /// What an item shard of a version that is no blend has beside.
    async fn model_parts(&self, source: &VersionSource, shard: u32) -> Result<ModelParts, LoadError> {
        Ok(match source.kind.answers() {
            Answers::ByFactors => ModelParts::Factors,
            Answers::ByNeighbours if source.kind == ModelKind::Content => ModelParts::Features {
                lists: self.lists(source, shard).await?,
                vectors: match &source.objects(Side::Items, shard).vectors {
                    Some(object) => Some((self.fetch(object).await?, source.version.rating_slope)),
                    None => None,
                },
            },
            Answers::ByNeighbours => ModelParts::Neighbours(self.lists(source, shard).await?),
            Answers::ByBlend => {
                let reason = "a blend has no parts of its own".to_owned();
                return Err(LoadError::Version { version: source.version.name.clone(), reason });
            }
        })
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
            preference: source.preference(),
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
                .flat_map(|(key, source)| source.checksums(key.side, key.shard))
                .collect()
        };
        self.cache.retain(wanted).await
    }

    /// The manifests of a version and of those that it blends, read once.
    async fn source(
        &self,
        version: &ModelVersion,
        components: &[ModelVersion],
        dataset: &DatasetInfo,
    ) -> Result<Arc<VersionSource>, LoadError> {
        if let Some(source) = self.known_source(&version.name) {
            return Ok(source);
        }
        let blend = match kind_of(version)?.answers() {
            Answers::ByFactors | Answers::ByNeighbours => None,
            Answers::ByBlend => {
                let sources = version.hybrid.as_ref().map(|hybrid| &hybrid.sources[..]).unwrap_or_default();
                Some(self.blend_source(version, sources, components, dataset).await?)
            }
        };
        self.new_source(version, dataset, blend).await
    }

    fn known_source(&self, version: &str) -> Option<Arc<VersionSource>> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner).get(version).cloned()
    }

    /// The versions that one blends, by the sources that it names.
    async fn blend_source(
        &self,
        version: &ModelVersion,
        sources: &[HybridSource],
        components: &[ModelVersion],
        dataset: &DatasetInfo,
    ) -> Result<BlendSource, LoadError> {
        let refused = |reason: String| LoadError::Version { version: version.name.clone(), reason };
        let Some((last, models)) = sources.split_last() else {
            return Err(refused("it blends nothing".to_owned()));
        };
        if last.model != POPULARITY {
            return Err(refused(format!("its last source is '{}' instead of {POPULARITY}", last.model)));
        }
        let mut versions: Vec<Arc<VersionSource>> = Vec::with_capacity(models.len());
        for HybridSource { model, version: name, .. } in models {
            match ModelKind::parse(model) {
                Err(unknown) => return Err(refused(unknown.to_string())),
                Ok(ModelKind::Hybrid) => return Err(refused("it blends a blend".to_owned())),
                Ok(kind) if versions.iter().any(|known| known.kind == kind) => {
                    return Err(refused(format!("it blends two versions of '{model}'")));
                }
                Ok(_) => {}
            }
            let named = components.iter().find(|component| component.name == *name);
            let component = named.filter(|component| {
                let of = (&component.dataset_name, &component.dataset_version);
                component.model == *model && of == (&version.dataset_name, &version.dataset_version)
            });
            let missing = || refused(format!("the version '{name}' that it blends is not to be had"));
            let component = component.ok_or_else(missing)?;
            versions.push(match self.known_source(name) {
                Some(source) => source,
                None => self.new_source(component, dataset, None).await?,
            });
        }
        let blend = Arc::new(blend_of(sources).map_err(|error| refused(error.to_string()))?);
        BlendSource::new(blend, versions).ok_or_else(|| refused("it blends no version".to_owned()))
    }

    async fn new_source(
        &self,
        version: &ModelVersion,
        dataset: &DatasetInfo,
        blend: Option<BlendSource>,
    ) -> Result<Arc<VersionSource>, LoadError> {
        let read = async |folder: &str, checksum: &str| {
            Manifest::read(&self.store, folder, checksum)
                .await
                .map_err(|source| LoadError::Manifest { folder: folder.to_owned(), source: Box::new(source) })
        };
        let source = Arc::new(VersionSource {
            kind: kind_of(version)?,
            model_manifest: read(&version.path, &version.manifest_checksum).await?,
            dataset_manifest: read(&dataset.path, &dataset.manifest_checksum).await?,
            version: version.clone(),
            dataset: dataset.clone(),
            item_biases: OnceCell::new(),
            blend,
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

/// The kind of a version's model.
fn kind_of(version: &ModelVersion) -> Result<ModelKind, LoadError> {
    ModelKind::parse(&version.model)
        .map_err(|unknown| LoadError::Version { version: version.name.clone(), reason: unknown.to_string() })
}

/// Mapping and checking reads every byte from disk, so it belongs with blocking I/O.
async fn opened<T: Send + 'static>(
    path: String,
    open: impl FnOnce() -> Result<T, LoadError> + Send + 'static,
) -> Result<T, LoadError> {
    tokio::task::spawn_blocking(open).await.map_err(|source| LoadError::Panicked { path, source })?
}

impl ShardParts {
    fn open_users(&self) -> Result<UserShard, LoadError> {
        let (factors, ratings) = self.open_rows()?;
        Ok(UserShard { factors, ratings, baselines: None })
    }

    fn open_items(&self, model: &ModelParts) -> Result<ItemShard, LoadError> {
        let (factors, ratings) = self.open_rows()?;
        let open_vectors = |(Fetched { path, file }, slope): &(Fetched, f64)| {
            FeatureVectors::open(file, path, self.shape.rows, *slope).map(Arc::new)
        };
        let model = match model {
            ModelParts::Factors => ItemModel::Factors(Arc::new(FactorBounds::new(&factors))),
            ModelParts::Neighbours(lists) => ItemModel::Neighbours(Arc::clone(lists)),
            ModelParts::Features { lists, vectors } => ItemModel::Features(Features {
                lists: Arc::clone(lists),
                vectors: vectors.as_ref().map(open_vectors).transpose()?,
            }),
        };
        let rows = 0..factors.rows();
        let descriptions = match &self.catalogue {
            Some(catalogue) => read_descriptions(&catalogue.file, &catalogue.path, factors.ids())?,
            None => Descriptions::new(vec![Description::default(); factors.rows()]),
        };
        Ok(ItemShard {
            first_row: self.first_row,
            // A row has at most one rating per user, and users are counted in u32.
            rating_counts: rows.clone().map(|row| ratings.ratings(row).len() as u32).collect(),
            damped_means: rows.map(|row| damped_mean(ratings.ratings(row), self.rating_mean)).collect(),
            rating_mean: self.rating_mean,
            newest: ratings.newest(),
            model,
            factors: Arc::new(factors),
            ratings: Arc::new(ratings),
            descriptions: Arc::new(descriptions),
            base: None,
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
