//! CONTENT: counts, vectors, neighbours, and what a cosine is worth in ratings.

use std::sync::Arc;

use bytes::Bytes;
use shoal_common::store::{Manifest, PartKind, StoreError, census_part, join, part};
use shoal_core::topk::TopK;
use shoal_engine::{
    content::{
        BlockWeights, Census, ItemVectors, Settings, Vocabulary,
        profile::{SlopeSums, cosine_without},
        similar::{Candidates, offer_similar},
    },
    item_cf::Neighbours,
};
use shoal_format::model_parts::{read_vectors, vectors_bytes};
use shoal_proto::v1::{
    ContentCensus, ContentNeighbours, ContentParameters, ContentSlope, ContentSlopeDone, ContentVectors,
    ModelFolder, ObjectEntry, ObjectsWritten, ShardSlopeSums, Side,
};

use super::{
    attempt::{Making, ModelAttempt},
    facts::ShardFacts,
};
use crate::train::TrainError;

fn settings(parameters: &ContentParameters) -> Settings {
    Settings {
        weights: BlockWeights {
            genres: parameters.genres_weight as f32,
            genome: parameters.genome_weight as f32,
            tags: parameters.tags_weight as f32,
            decade: parameters.decade_weight as f32,
        },
        tag_items_min: u64::from(parameters.tag_items_min),
        tags_max: parameters.tags_max as usize,
    }
}

/// What the steps of content have made so far, of the owned item shards, in their order.
#[derive(Debug)]
pub(super) struct ContentState {
    pub(super) vectors: Vec<Arc<ItemVectors>>,
    pub(super) neighbours: Vec<Arc<Neighbours>>,
}

/// A user whose training ratings are looked at for the slope.
struct Rater {
    row: usize,
    sums: SlopeSums,
}

impl ModelAttempt {
    /// Counts the features of the owned items, and writes the counts.
    ///
    /// # Errors
    /// When the data set cannot be read or the store cannot be written.
    pub async fn write_census(self: &Arc<Self>, step: ContentCensus) -> Result<ObjectsWritten, TrainError> {
        let (mut entries, mut tags_left_out) = (Vec::new(), 0);
        for owned in &self.items.owned {
            let facts = self.shard_facts(owned).await?;
            tags_left_out += facts.tags_left_out;
            let rows = owned.rows.len();
            let counting = self.context.job.compute.run(move || {
                let mut census = Census::default();
                (0..rows).for_each(|row| census.add(&facts.item(row)));
                serde_json::to_vec(&census)
            });
            let name = census_part(owned.shard);
            let json = counting.await?.map_err(|error| not_a_census(&name, &error))?;
            let entry = self.context.job.store.put(&join(&step.path, &name), Bytes::from(json)).await?;
            entries.push(ObjectEntry { path: name, ..entry });
        }
        Ok(ObjectsWritten { objects: entries, tags_left_out })
    }

    /// Makes the vectors of the owned items from the counts of all, and writes them.
    ///
    /// # Errors
    /// When a part cannot be read or the store cannot be written.
    pub async fn write_vectors(
        self: &Arc<Self>,
        step: ContentVectors,
    ) -> Result<Vec<ObjectEntry>, TrainError> {
        let census = self.read_census(&step.census_path).await?;
        let vocabulary = Arc::new(Vocabulary::new(&census, &settings(&step.parameters.unwrap_or_default())));
        let (mut entries, mut made) = (Vec::new(), Vec::new());
        for owned in &self.items.owned {
            let facts = self.shard_facts(owned).await?;
            let (vocabulary, rows) = (Arc::clone(&vocabulary), owned.rows.len());
            let making = self.context.job.compute.run(move || shard_vectors(&vocabulary, &facts, rows));
            let vectors = Arc::new(making.await?);
            let name = part(PartKind::Vectors, Side::Items, owned.shard);
            let bytes = vectors_bytes(&name, &owned.ids, &vectors)?;
            let entry = self.context.job.store.put(&join(&step.path, &name), bytes).await?;
            entries.push(ObjectEntry { path: name, ..entry });
            made.push(vectors);
        }
        let made = ContentState { vectors: made, neighbours: Vec::new() };
        self.update(|state| state.making = Making::Content(made));
        Ok(entries)
    }

    async fn read_census(&self, path: &str) -> Result<Census, TrainError> {
        let manifest = Manifest::read(&self.context.job.store, path, "").await?;
        let mut census = Census::default();
        for shard in 0..self.items.shards.count() {
            let name = census_part(shard);
            let bytes = self.context.job.store.get_verified(path, manifest.entry(&name)?).await?;
            census.merge(&serde_json::from_slice(&bytes).map_err(|error| not_a_census(&name, &error))?);
        }
        Ok(census)
    }

    /// Finds the neighbours of the owned items among all. `on_shards` is told when a shard has been gone
    /// through.
    ///
    /// # Errors
    /// When a part cannot be read.
    pub async fn find_content_neighbours(
        self: &Arc<Self>,
        step: ContentNeighbours,
        on_shards: impl Fn(u64),
    ) -> Result<(), TrainError> {
        let manifest = Manifest::read(&self.context.job.store, &step.vectors_path, "").await?;
        let own: Vec<(u32, Arc<ItemVectors>)> = self
            .items
            .owned
            .iter()
            .map(|owned| self.items.shards.shard_rows(owned.shard).start)
            .zip(self.vectors())
            .collect();
        let selection = |(_, vectors): &(u32, Arc<ItemVectors>)| {
            vec![TopK::<u32>::new(step.neighbours as usize); vectors.len()]
        };
        let mut tops: Vec<Vec<TopK<u32>>> = own.iter().map(selection).collect();
        for shard in 0..self.items.shards.count() {
            let vectors = self.vectors_of(&step.vectors_path, &manifest, shard).await?;
            let first = self.items.shards.shard_rows(shard).start;
            let own = own.clone();
            let comparing = self.context.job.compute.run(move || {
                let candidates = Candidates::new(&vectors);
                for ((first_own, own), tops) in own.iter().zip(&mut tops) {
                    offer_similar(own, *first_own, &candidates, first, tops);
                }
                tops
            });
            tops = comparing.await?;
            on_shards(1);
        }
        let lists = tops.into_iter().map(|tops| {
            let mut neighbours = Neighbours::default();
            tops.into_iter().for_each(|top| neighbours.push(&top.into_sorted()));
            Arc::new(neighbours)
        });
        let found = lists.collect();
        self.update(|state| match &mut state.making {
            Making::Content(made) => {
                made.neighbours = found;
                Ok(())
            }
            _ => Err(TrainError::OutOfTurn("the items have no vectors to compare them by yet")),
        })
    }

    /// The vectors of a shard that some worker has written.
    pub(super) async fn vectors_of(
        &self,
        path: &str,
        manifest: &Manifest,
        shard: u32,
    ) -> Result<ItemVectors, TrainError> {
        let file =
            self.read_part(path, manifest.entry(&part(PartKind::Vectors, Side::Items, shard))?).await?;
        Ok(read_vectors(&file, self.items.shards.shard_rows(shard).len())?)
    }

    /// Sums for the slope over the own users' training ratings, each item compared with the profile as it
    /// would be without it.
    ///
    /// # Errors
    /// When there are no baselines yet, or a part cannot be read.
    pub async fn sum_slope(self: &Arc<Self>, step: ContentSlope) -> Result<ContentSlopeDone, TrainError> {
        let baselines = self.baselines()?;
        let attempt = Arc::clone(self);
        let rows = 0..self.users.table.own_rows();
        let raters = rows.map(|row| Rater { row, sums: SlopeSums::default() }).collect();
        let folder = ModelFolder { path: step.vectors_path, ..ModelFolder::default() };
        let raters = self
            .with_profiles(
                &folder,
                raters,
                |rater: &Rater| rater.row,
                move |rater, profile| {
                    // Of a user who is held out there is a profile to measure, and nothing to learn from.
                    if attempt.users.rating_rows().row(rater.row).slots.is_empty() {
                        return;
                    }
                    for (at, &item) in profile.rated_in_shard() {
                        let row = profile.row_of(item);
                        if profile.vectors.is_known(row) {
                            let square = profile.vectors.square(row);
                            let cosine = cosine_without(
                                profile.cosine(item),
                                profile.norm,
                                profile.weights[at],
                                square,
                            );
                            let exceeding =
                                f64::from(profile.rated.ratings[at]) - baselines.expected(rater.row, item);
                            rater.sums.add(cosine, exceeding);
                        }
                    }
                },
            )
            .await?;
        let sum_of = |owned: &crate::train::training_side::OwnedShard| {
            let mut sums = SlopeSums::default();
            raters[owned.rows.clone()].iter().for_each(|rater| sums.merge(&rater.sums));
            ShardSlopeSums { shard: owned.shard, product: sums.product, square: sums.square }
        };
        Ok(ContentSlopeDone { shards: self.users.owned.iter().map(sum_of).collect() })
    }
}

fn shard_vectors(vocabulary: &Vocabulary, facts: &ShardFacts, rows: usize) -> ItemVectors {
    let mut vectors = ItemVectors::new(vocabulary.features(), vocabulary.genome_width());
    (0..rows).for_each(|row| vectors.push(&vocabulary.vector(&facts.item(row))));
    vectors
}

fn not_a_census(path: &str, error: &serde_json::Error) -> TrainError {
    StoreError::Damaged { path: path.to_owned(), reason: error.to_string() }.into()
}
