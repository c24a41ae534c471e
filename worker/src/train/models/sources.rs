//! Scores of any model for the own users, read from its folder one item shard at a time, for some users at once.

use std::{ops::Range, sync::Arc};

use shoal_common::{
    model_parameters::model_in,
    store::{Manifest, PartKind, part},
};
use shoal_engine::{
    als::kernel::{
        Kernel,
        pack::{Panels, Rows},
    },
    evaluate::ItemPanels,
    hybrid::UNKNOWN,
    item_cf::{Centre, ListIndex, Neighbours, Rated, predict},
    preference::Preference,
};
use shoal_format::{id_column::IdColumn, model_parts::read_neighbours, tensor_file::TensorFile};
use shoal_proto::v1::{DatasetInfo, ModelFolder, Objective, Side, model_parameters::Model};

use super::{
    attempt::{ModelAttempt, RatedItems},
    baselines::Baselines,
};
use crate::train::{
    TrainError,
    factor_part::{TRAIN_COUNTS, read_rows},
    settings::{Settings, ease_preference},
    training_side::Factors,
};

/// A model's folder, and what of it is kept while its item shards are gone through.
#[derive(Debug)]
pub(super) struct Source {
    folder: ModelFolder,
    manifest: Manifest,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// With the own users' factors, by own row.
    Als { settings: Settings, users: Arc<Factors> },
    /// Neighbours of items. Ratings are predicted from so many of them; 0 when they are not.
    /// What was rated counts for so much of a liking.
    Neighbours { prediction_neighbours: usize, preference: Preference },
}

/// An own user, as sources see them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Viewer<'a> {
    /// The user's place among the own rows.
    pub(super) row: usize,
    /// What they have rated.
    pub(super) rated: &'a RatedItems,
}

/// Some own users, and their scores for the items of one shard by several sources.
#[derive(Debug, Default)]
pub(super) struct ScoredUsers {
    /// Places of the users among the own rows.
    rows: Vec<usize>,
    /// What each has rated.
    rated: Vec<RatedItems>,
    /// Per source: a user's scores, one per item, after the other's.
    scores: Vec<Vec<f32>>,
    /// Items of the shard.
    items: usize,
    buffers: Buffers,
}

#[derive(Debug, Default)]
struct Buffers {
    slots: Vec<u32>,
    weights: Vec<f32>,
    panels: Panels,
}

impl ScoredUsers {
    /// Takes the place of other users.
    pub(super) fn load(&mut self, attempt: &ModelAttempt, rows: impl IntoIterator<Item = usize>) {
        self.rows.clear();
        self.rows.extend(rows);
        if self.rated.len() < self.rows.len() {
            self.rated.resize_with(self.rows.len(), RatedItems::default);
        }
        for (&row, rated) in self.rows.iter().zip(&mut self.rated) {
            attempt.known_of(row, rated);
        }
    }

    /// One of the users.
    pub(super) fn viewer(&self, at: usize) -> Viewer<'_> {
        Viewer { row: self.rows[at], rated: &self.rated[at] }
    }

    /// Has the items of a shard scored by its sources for the users that `which` names, [`UNKNOWN`] where a source says
    /// nothing.
    pub(super) fn score(&mut self, sources: &[ShardScores], which: &[usize]) {
        self.items = sources.first().map_or(0, |source| source.rows.len());
        self.scores.resize_with(sources.len(), Vec::new);
        let viewers: Vec<Viewer<'_>> =
            which.iter().map(|&at| Viewer { row: self.rows[at], rated: &self.rated[at] }).collect();
        for (source, scores) in sources.iter().zip(&mut self.scores) {
            source.scores(&viewers, &mut self.buffers, scores);
        }
    }

    /// How many users there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// What a user has rated, and the scores by each source, if [`ScoredUsers::score`] was told the user at this `place`.
    pub(super) fn of(&mut self, at: usize, place: usize) -> (&RatedItems, impl Iterator<Item = &mut [f32]>) {
        let range = place * self.items..(place + 1) * self.items;
        (&self.rated[at], self.scores.iter_mut().map(move |scores| &mut scores[range.clone()]))
    }
}

/// One source's scores for the items of one shard.
#[derive(Debug)]
pub(super) struct ShardScores {
    /// The global rows of the shard's items.
    rows: Range<u32>,
    kind: ShardKind,
}

#[derive(Debug)]
enum ShardKind {
    Als(AlsShard),
    Neighbours { index: ListIndex, lists: Neighbours, prediction_neighbours: usize, preference: Preference },
}

#[derive(Debug)]
struct AlsShard {
    kernel: Kernel,
    settings: Settings,
    users: Arc<Factors>,
    items: Factors,
    /// Of the factors that lists are ranked by.
    panels: ItemPanels,
    /// Items without training ratings, which are in no list.
    unrated: Vec<usize>,
}

impl Source {
    /// Opens a folder, and reads the own users' part of it.
    pub(super) async fn open(attempt: &ModelAttempt, folder: ModelFolder) -> Result<Self, TrainError> {
        let manifest =
            Manifest::read(&attempt.context.job.store, &folder.path, &folder.manifest_checksum).await?;
        let DatasetInfo { rating_min, rating_max, .. } = attempt.dataset;
        let by_height = Preference::by_height(rating_min, rating_max);
        let kind = match model_in(&folder) {
            Some(Model::Als(parameters)) => {
                let users = u64::from(attempt.users.shards.rows());
                let mut settings = Settings::new(parameters, users, u64::from(attempt.items.shards.rows()))?;
                settings.set_rating_mean(folder.rating_mean);
                let users = own_factors(attempt, &folder.path, &manifest, &settings).await?;
                Kind::Als { settings, users: Arc::new(users) }
            }
            Some(Model::ItemCf(parameters)) => {
                let prediction_neighbours = parameters.prediction_neighbours as usize;
                Kind::Neighbours { prediction_neighbours, preference: by_height }
            }
            Some(Model::Content(_)) => Kind::Neighbours { prediction_neighbours: 0, preference: by_height },
            Some(Model::Ease(parameters)) => {
                let prediction_neighbours = parameters.prediction_neighbours as usize;
                Kind::Neighbours { prediction_neighbours, preference: ease_preference(parameters) }
            }
            Some(Model::Hybrid(_)) | None => {
                let reason = format!("'{}' is not the folder of a model with scores of its own", folder.path);
                return Err(TrainError::Request(reason));
            }
        };
        Ok(Self { folder, manifest, kind })
    }

    /// The factors of the own users, by own row, if lists are made by factors.
    pub(super) fn factors(&self) -> Option<(&Settings, &Arc<Factors>)> {
        match &self.kind {
            Kind::Als { settings, users } => Some((settings, users)),
            Kind::Neighbours { .. } => None,
        }
    }

    /// Where the parts are.
    pub(super) fn folder(&self) -> (&str, &Manifest) {
        (&self.folder.path, &self.manifest)
    }

    /// Reads the part of an item shard.
    pub(super) async fn shard(&self, attempt: &ModelAttempt, shard: u32) -> Result<ShardScores, TrainError> {
        let rows = attempt.items.shards.shard_rows(shard);
        let kind = match &self.kind {
            Kind::Als { settings, users } => {
                let file = self.part(attempt, PartKind::Factors, shard).await?;
                let (settings, users) = (settings.clone(), Arc::clone(users));
                let (count, kernel) = (rows.len(), attempt.context.kernel);
                let reading = attempt.context.job.compute.run(move || {
                    let mut items = Factors::zeroed(count, &settings);
                    for (objective, width) in settings.widths() {
                        read_rows(&file, objective, settings.rank, width, items.of_mut(objective))?;
                    }
                    let counts = file.vector::<u32>(TRAIN_COUNTS)?.iter().take(count).enumerate();
                    let unrated = counts.filter(|(_, count)| **count == 0).map(|(row, _)| row).collect();
                    let (ranked_by, width) = match settings.rating() {
                        Some(explicit) if settings.ranking(Side::Users).is_none() => {
                            (Objective::Rating, explicit.width())
                        }
                        _ => (Objective::Ranking, settings.rank),
                    };
                    let panels = ItemPanels::new(kernel, items.of(ranked_by), width, settings.rank);
                    Ok::<_, TrainError>(AlsShard { kernel, settings, users, items, panels, unrated })
                });
                ShardKind::Als(reading.await??)
            }
            &Kind::Neighbours { prediction_neighbours, preference } => {
                let file = self.part(attempt, PartKind::Neighbours, shard).await?;
                let (count, items) = (rows.len(), attempt.items.shards.rows());
                let reading = attempt.context.job.compute.run(move || {
                    let lists = read_neighbours(&file, count, items)?;
                    Ok::<_, TrainError>((ListIndex::new(&lists, items as usize), lists))
                });
                let (index, lists) = reading.await??;
                ShardKind::Neighbours { index, lists, prediction_neighbours, preference }
            }
        };
        Ok(ShardScores { rows, kind })
    }

    async fn part(
        &self,
        attempt: &ModelAttempt,
        kind: PartKind,
        shard: u32,
    ) -> Result<TensorFile, TrainError> {
        let entry = self.manifest.entry(&part(kind, Side::Items, shard))?;
        attempt.read_part(&self.folder.path, entry).await
    }
}

/// The factors of the own users, by own row.
async fn own_factors(
    attempt: &ModelAttempt,
    path: &str,
    manifest: &Manifest,
    settings: &Settings,
) -> Result<Factors, TrainError> {
    let mut factors = Factors::zeroed(attempt.users.table.own_rows(), settings);
    for owned in &attempt.users.owned {
        let entry = manifest.entry(&part(PartKind::Factors, Side::Users, owned.shard))?;
        let file = attempt.read_part(path, entry).await?;
        if IdColumn::read(&file)? != owned.ids {
            return Err(file.tensor_error("ids", "its rows are not the data set's".to_owned()).into());
        }
        for (objective, width) in settings.widths() {
            let rows = owned.rows.start * width..owned.rows.end * width;
            read_rows(&file, objective, settings.rank, width, &mut factors.of_mut(objective)[rows])?;
        }
    }
    Ok(factors)
}

impl ShardScores {
    /// Replaces what `scores` holds by one score per viewer and item of the shard, [`UNKNOWN`] where there is none.
    fn scores(&self, viewers: &[Viewer<'_>], buffers: &mut Buffers, scores: &mut Vec<f32>) {
        scores.clear();
        match &self.kind {
            ShardKind::Als(shard) => shard.scores(viewers, buffers, scores),
            ShardKind::Neighbours { index, preference, .. } => {
                scores.resize(viewers.len() * self.rows.len(), 0.0);
                for (viewer, scores) in viewers.iter().zip(scores.chunks_exact_mut(self.rows.len().max(1))) {
                    buffers.weights.clear();
                    let ratings = viewer.rated.ratings.iter();
                    buffers.weights.extend(ratings.map(|&rating| preference.of(rating) as f32));
                    index.add_scores(&viewer.rated.items, &buffers.weights, scores);
                }
                // A sum of 0 is taken for a sum over nothing. Where weights may be below 0, another sum is as good as never 0.
                scores.iter_mut().filter(|score| **score == 0.0).for_each(|score| *score = UNKNOWN);
            }
        }
    }

    /// Whether users and items have factors.
    pub(super) fn has_factors(&self) -> bool {
        matches!(self.kind, ShardKind::Als(_))
    }

    /// Whether ratings can be predicted from what a shard has.
    pub(super) fn predicts_ratings(&self) -> bool {
        match &self.kind {
            ShardKind::Als(shard) => shard.settings.rating().is_some(),
            ShardKind::Neighbours { prediction_neighbours, .. } => *prediction_neighbours > 0,
        }
    }

    /// The predicted rating of an item (global row, of this shard); `None` where the model has none.
    pub(super) fn predict(&self, viewer: Viewer<'_>, item: u32, baselines: &Baselines) -> Option<f64> {
        let offset = (item - self.rows.start) as usize;
        match &self.kind {
            ShardKind::Als(shard) => shard.predict(viewer.row, offset),
            ShardKind::Neighbours { lists, prediction_neighbours, .. } => {
                let rated = Rated { items: &viewer.rated.items, ratings: &viewer.rated.ratings };
                let centre = Centre { user: baselines.of_user(viewer.row), items: &baselines.item_biases };
                let most = *prediction_neighbours;
                predict(item, lists.of(offset), |item| rated.of(item), Some(centre), most)
            }
        }
    }
}

impl AlsShard {
    /// As lists are ranked: by ranking factors where there are any, else by the predicted rating.
    fn scores(&self, viewers: &[Viewer<'_>], buffers: &mut Buffers, scores: &mut Vec<f32>) {
        let Buffers { slots, panels: scratch, .. } = buffers;
        slots.clear();
        // Own rows are counted in a u32.
        slots.extend(viewers.iter().map(|viewer| viewer.row as u32));
        match self.settings.rating() {
            Some(explicit) if self.settings.ranking(Side::Users).is_none() => {
                let width = explicit.width();
                let users = Rows::new(self.users.of(Objective::Rating), width, width);
                self.panels.ratings(self.kernel, explicit.rating_mean, users, slots, scores, scratch);
            }
            _ => {
                let rank = self.settings.rank;
                let users = Rows::new(self.users.of(Objective::Ranking), rank, rank);
                self.panels.products(self.kernel, users, slots, scores, scratch);
            }
        }
        for scores in scores.chunks_exact_mut(self.panels.items().max(1)) {
            self.unrated.iter().for_each(|&row| scores[row] = UNKNOWN);
        }
    }

    fn predict(&self, user: usize, offset: usize) -> Option<f64> {
        let explicit = self.settings.rating()?;
        let (rank, width) = (self.settings.rank, explicit.width());
        let own = &self.users.of(Objective::Rating)[user * width..][..width];
        let item = &self.items.of(Objective::Rating)[offset * width..][..width];
        let biases = if width > rank { f64::from(own[rank]) + f64::from(item[rank]) } else { 0.0 };
        Some(explicit.rating_mean + biases + f64::from(self.kernel.dot(&own[..rank], &item[..rank])))
    }
}
