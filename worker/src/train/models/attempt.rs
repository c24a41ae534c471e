//! One attempt's state on this worker.

use std::sync::{Arc, PoisonError, RwLock};

use shoal_common::store::{LocalCache, Manifest, ids_part};
use shoal_engine::{als::fit::Row, content::ItemVectors, item_cf::Neighbours};
use shoal_format::{id_column::IdColumn, tensor_file::TensorFile};
use shoal_proto::v1::{DatasetInfo, ModelLoad, ModelLoadDone, ObjectEntry, Side, WorkerPeer};

use super::{baselines::Baselines, content::ContentState, ease::EaseState, item_cf::ItemCfState};
use crate::train::{
    TrainContext, TrainError,
    known_tags::KnownTags,
    load_sides::{Origin, Sides, SplitChoice, load_sides},
    training_side::TrainingSide,
};

/// One attempt of a job that trains or measures a model that is not ALS, on this worker.
#[derive(Debug)]
pub struct ModelAttempt {
    pub(super) context: TrainContext,
    pub(super) job_id: String,
    pub(super) attempt: u32,
    pub(super) peers: Vec<WorkerPeer>,
    pub(super) me: usize,
    pub(super) dataset: DatasetInfo,
    /// Objects of the data set.
    pub(super) manifest: Manifest,
    pub(super) users: Arc<TrainingSide>,
    pub(super) items: Arc<TrainingSide>,
    /// Users of the data set who are not held out.
    pub(super) training_users: u32,
    /// Of the lists that are judged.
    pub(super) list_length: usize,
    /// The global item row of each slot that users' ratings name.
    item_of_slot: Vec<u32>,
    /// Unset where every tag may be known.
    pub(super) known_tags: Option<Arc<KnownTags>>,
    state: RwLock<State>,
}

/// What the steps have made so far.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) rating_mean: f64,
    pub(super) baselines: Option<Arc<Baselines>>,
    pub(super) making: Making,
}

/// What the steps of one model have made so far. The first step of another model takes its place and frees its memory.
#[derive(Debug, Default)]
pub(super) enum Making {
    /// No model: an attempt that only measures stays so.
    #[default]
    Nothing,
    ItemCf(ItemCfState),
    Content(ContentState),
    Ease(EaseState),
}

impl Making {
    /// The neighbours of the owned item shards, in their order; none before they were found.
    fn neighbours(&self) -> &[Arc<Neighbours>] {
        match self {
            Self::Nothing => &[],
            Self::ItemCf(item_cf) => &item_cf.neighbours,
            Self::Content(content) => &content.neighbours,
            Self::Ease(ease) => &ease.neighbours,
        }
    }

    /// The vectors of the owned item shards, in their order; none before they were made, and of a model without any.
    fn vectors(&self) -> &[Arc<ItemVectors>] {
        match self {
            Self::Content(content) => &content.vectors,
            Self::Nothing | Self::ItemCf(_) | Self::Ease(_) => &[],
        }
    }
}

/// What a user has rated.
#[derive(Debug, Default)]
pub(super) struct RatedItems {
    /// Global item rows, ascending.
    pub(super) items: Vec<u32>,
    /// The rating of each of `items`.
    pub(super) ratings: Vec<f32>,
}

impl ModelAttempt {
    /// Loads and cuts the owned blocks, unless `kept` has them, cut as they are to be.
    ///
    /// # Errors
    /// When the request makes no sense, or a block is missing or damaged.
    pub async fn load(
        context: TrainContext,
        job_id: String,
        attempt: u32,
        step: ModelLoad,
        kept: Option<Arc<Sides>>,
    ) -> Result<(Arc<Self>, ModelLoadDone), TrainError> {
        let cache = LocalCache::open(context.job.folder.clone())?;
        let missing = |what: &str| TrainError::Request(format!("the {what} is missing"));
        let dataset = step.dataset.ok_or_else(|| missing("data set"))?;
        let split = step.split.ok_or_else(|| missing("split"))?;
        let choice = SplitChoice {
            cuts_path: step.cuts_path,
            validation_ratio: step.validation_ratio,
            user_share: step.user_share,
            // What shares the ratings of a training that looks at no tags only measures.
            for_tags: dataset.tags > 0 && (step.kept_by.is_empty() || step.for_tags),
            ..SplitChoice::of_split(split)
        };
        let origin = Origin {
            dataset_path: dataset.path.clone(),
            manifest_checksum: dataset.manifest_checksum.clone(),
            choice,
            owners: step.owners,
            workers: step.workers,
        };
        let sides = match kept.filter(|kept| kept.origin == origin) {
            Some(kept) => kept.as_ref().clone(),
            None => {
                let Origin { choice, owners, workers, .. } = origin;
                load_sides(&context, &cache, &dataset, choice, &owners, workers).await?
            }
        };
        let held_out_pairs = sides.held_out_pairs();
        let list_length = sides.origin.choice.list_length();
        let Sides {
            manifest,
            peers,
            me,
            users,
            items,
            rating_sums,
            training_users,
            known_tags,
            held_out,
            ..
        } = sides;
        let done = ModelLoadDone {
            rating_sums,
            held_out_pairs,
            kernel: context.kernel.name().to_owned(),
            held_out,
            held_out_users: users.held_out().users(),
        };
        let item_of_slot = items.global_rows(peers.len());
        let state = RwLock::default();
        let attempt = Self {
            context,
            job_id,
            attempt,
            peers,
            me,
            dataset,
            manifest,
            users,
            items,
            training_users,
            list_length,
            item_of_slot,
            known_tags,
            state,
        };
        Ok((Arc::new(attempt), done))
    }

    /// Replaces what `rated` holds by the training ratings of an own user row.
    pub(super) fn trained_on(&self, row: usize, rated: &mut RatedItems) {
        self.rated_as(self.users.rating_rows().row(row), rated);
    }

    /// Replaces what `rated` holds by what is known of an own user row when it is measured: see [`TrainingSide::known`].
    pub(super) fn known_of(&self, row: usize, rated: &mut RatedItems) {
        self.rated_as(self.users.known(row), rated);
    }

    fn rated_as(&self, row: Row<'_>, rated: &mut RatedItems) {
        let Row { slots, ratings, .. } = row;
        rated.items.clear();
        // Slots stand in the order of a row's ratings, which is that of the items.
        rated.items.extend(slots.iter().map(|&slot| self.item_of_slot[slot as usize]));
        rated.ratings.clear();
        rated.ratings.extend_from_slice(ratings);
    }

    /// All item rows of the data set.
    pub(super) fn item_rows(&self) -> usize {
        self.items.shards.rows() as usize
    }

    /// How many items this worker owns, for progress.
    #[must_use]
    pub fn own_items(&self) -> u64 {
        self.items.table.own_rows() as u64
    }

    /// How many item shards there are, for progress.
    #[must_use]
    pub fn item_shards(&self) -> u64 {
        u64::from(self.items.shards.count())
    }

    /// The hash of an own user's id.
    pub(super) fn user_hash(&self, row: usize) -> u64 {
        let at = self.users.owned.partition_point(|owned| owned.rows.end <= row);
        let owned = &self.users.owned[at];
        owned.ids.hash64(row - owned.rows.start)
    }

    /// The ids of a shard of the data set, from the small object that has only them.
    pub(super) async fn shard_ids(&self, side: Side, shard: u32) -> Result<IdColumn, TrainError> {
        let entry = self.manifest.entry(&ids_part(side, shard))?;
        let file = self.read_part(&self.dataset.path, entry).await?;
        Ok(IdColumn::read(&file)?)
    }

    /// A part that some worker has written.
    pub(super) async fn read_part(
        &self,
        folder: &str,
        entry: &ObjectEntry,
    ) -> Result<TensorFile, TrainError> {
        let bytes = self.context.job.store.get_verified(folder, entry).await?;
        Ok(TensorFile::from_bytes(&entry.path, &bytes)?)
    }

    pub(super) fn baselines(&self) -> Result<Arc<Baselines>, TrainError> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state.baselines.clone().ok_or(TrainError::OutOfTurn("there are no baselines yet"))
    }

    /// Mean of the training ratings; 0 before the leader has said it.
    pub(super) fn rating_mean(&self) -> f64 {
        self.state.read().unwrap_or_else(PoisonError::into_inner).rating_mean
    }

    /// The neighbours of each own item shard; see [`Making::neighbours`].
    pub(super) fn neighbours(&self) -> Vec<Arc<Neighbours>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).making.neighbours().to_vec()
    }

    /// The vectors of each own item shard; see [`Making::vectors`].
    pub(super) fn vectors(&self) -> Vec<Arc<ItemVectors>> {
        self.state.read().unwrap_or_else(PoisonError::into_inner).making.vectors().to_vec()
    }

    pub(super) fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for ModelAttempt {
    fn drop(&mut self) {
        // A leftover folder is emptied when the worker starts; there is nobody to tell here.
        let _ = std::fs::remove_dir_all(&self.context.job.folder);
    }
}
