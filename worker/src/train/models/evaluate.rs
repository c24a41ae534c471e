//! Measures models on the held-out pairs of the own users: any model, by the same code.
//!
//! Item shards are gone through one after the other, all own users against each: memory is one shard of each
//! model, and of each user a list. Sums are per user shard, users in row order. Beside what every model is judged by
//! stand the sums of a sweep of ALS: so the last sweep is not measured twice.

use std::sync::Arc;

use rayon::prelude::*;
use shoal_common::{
    exposure::Exposure,
    hash::{mix64, unit_interval},
    topk::TopK,
};
use shoal_proto::v1::{
    self as proto, ListScoreSums, ModelEvaluate, ModelEvaluateDone, ModelFolder, ShardEvaluationSums,
    ShardMetricSums,
};

use super::{
    attempt::{ModelAttempt, RatedItems},
    baselines::Baselines,
    blend::blend_of_models,
    facts::GenreSets,
    profiles::span,
    sources::{ScoredUsers, ShardScores, Source, Viewer},
};
use crate::{
    evaluate::{
        ItemRows, LIST_LENGTH, RatingSums, USERS_TOGETHER,
        judge::{Catalogue, JudgedUser, ListSums, RankingSums, UserOutcome},
        lists::CUTOFFS,
        offer_items, popularity_order,
    },
    exchange::wire,
    hybrid::Blend,
    train::TrainError,
};

/// A user under evaluation.
#[derive(Debug)]
pub(super) struct Judged {
    /// Own row.
    pub(super) row: usize,
    /// Of the model's predicted ratings.
    pub(super) rating: RatingSums,
    /// Of what is expected of anybody.
    baseline: RatingSums,
    /// Set for users whose list is judged.
    top: Option<TopK<u32>>,
}

/// What a user's outcome is counted by.
struct Scored {
    row: usize,
    outcome: Option<(UserOutcome, Vec<u32>)>,
    rating: RatingSums,
    baseline: RatingSums,
}

/// Buffers of one thread.
#[derive(Debug, Default)]
struct Buffers {
    users: ScoredUsers,
    /// Those of them whose list is judged.
    listed: Vec<usize>,
    blended: Vec<f32>,
    everything: Vec<u32>,
}

impl ModelAttempt {
    /// Measures a model, or the blend of several.
    ///
    /// # Errors
    /// When there are no baselines yet, or a part cannot be read.
    pub async fn evaluate(
        self: &Arc<Self>,
        step: ModelEvaluate,
        on_shards: impl Fn(u64),
    ) -> Result<ModelEvaluateDone, TrainError> {
        let baselines = self.baselines()?;
        let blend = step.hybrid.as_ref().map(|hybrid| blend_of_models(&hybrid.sources, step.folders.len()));
        let blend = Arc::new(blend.transpose()?);
        let mut sources = Vec::new();
        for folder in &step.folders {
            sources.push(Source::open(self, folder.clone()).await?);
        }
        let attempt = Arc::clone(self);
        let users_max = step.ranking_users_max;
        let mut judged = self.context.compute.run(move || attempt.judged_users(users_max)).await?;
        for shard in 0..self.items.shards.count() {
            let mut scores = Vec::with_capacity(sources.len());
            for source in &sources {
                scores.push(source.shard(self, shard).await?);
            }
            let rows = self.items.shards.shard_rows(shard);
            let (attempt, blend, baselines) = (Arc::clone(self), Arc::clone(&blend), Arc::clone(&baselines));
            let measuring = self.context.compute.run(move || {
                let shard = Shard { scores: &scores, blend: (*blend).as_ref(), rows, baselines: &baselines };
                judged.par_chunks_mut(USERS_TOGETHER).for_each_init(Buffers::default, |buffers, users| {
                    attempt.measure(&shard, users, buffers);
                });
                judged
            });
            judged = measuring.await?;
            on_shards(1);
        }
        if let [content] = &step.folders[..]
            && content.rating_slope != 0.0
        {
            judged = self.measure_profiles(content, judged).await?;
        }
        let genres = Arc::new(self.genre_sets().await?);
        let attempt = Arc::clone(self);
        Ok(self.context.compute.run(move || attempt.sum_up(judged, &baselines, &genres, step.seed)).await?)
    }

    /// The users with held-out pairs; of about `users_max` of them (0: all), chosen by a hash of their id, the
    /// list is judged too.
    fn judged_users(&self, users_max: u32) -> Vec<Judged> {
        let share = match users_max {
            0 => 1.0,
            most => f64::from(most) / f64::from(self.users.shards.rows()).max(1.0),
        };
        let held_out = self.users.held_out();
        let rows = 0..self.users.table.own_rows();
        rows.filter(|&row| !held_out.row(row).0.is_empty())
            .map(|row| {
                let list = unit_interval(mix64(self.user_hash(row))) < share;
                let top = list.then(|| TopK::new(LIST_LENGTH));
                let [rating, baseline] = Default::default();
                Judged { row, rating, baseline, top }
            })
            .collect()
    }

    /// Predicts the held-out ratings of some users for a shard's items, and offers its items to their lists.
    fn measure(&self, shard: &Shard<'_>, judged: &mut [Judged], buffers: &mut Buffers) {
        let Buffers { users, listed, blended, everything } = buffers;
        users.load(self, judged.iter().map(|user| user.row));
        for (at, user) in judged.iter_mut().enumerate() {
            self.predict(shard, users.viewer(at), user);
        }
        listed.clear();
        listed.extend((0..judged.len()).filter(|&at| judged[at].top.is_some()));
        users.score(shard.scores, listed);
        let rows = shard.rows.start as usize..shard.rows.end as usize;
        // Whether an item can be listed is for its score to say: one without ratings may well be.
        everything.resize(rows.len(), 1);
        let listable = ItemRows { first_row: shard.rows.start, train_counts: &everything[..rows.len()] };
        for (place, &at) in listed.iter().enumerate() {
            let Some(top) = &mut judged[at].top else { continue };
            let (rated, sources) = users.of(at, place);
            let mut sources: Vec<&mut [f32]> = sources.collect();
            let scores = match shard.blend {
                Some(blend) => {
                    blend.scores(&sources, &shard.baselines.train_counts[rows.clone()], blended);
                    &mut *blended
                }
                None => &mut *sources[0],
            };
            offer_items(scores, listable, &rated.items, top);
        }
    }

    /// Predicts a user's held-out ratings of a shard's items.
    fn predict(&self, shard: &Shard<'_>, viewer: Viewer<'_>, user: &mut Judged) {
        let (items, ratings) = self.users.held_out().row(user.row);
        let held_out = span(items, &shard.rows);
        for (&item, &rating) in items[held_out.clone()].iter().zip(&ratings[held_out]) {
            let expected = shard.baselines.expected(user.row, item);
            user.baseline.add(self.clamped(expected), rating);
            if shard.scores[0].predicts_ratings() {
                let predicted = shard.scores[0].predict(viewer, item, shard.baselines).unwrap_or(expected);
                user.rating.add(self.clamped(predicted), rating);
            }
        }
    }

    /// A predicted rating as it is served: within the data set's scale.
    pub(super) fn clamped(&self, rating: f64) -> f64 {
        rating.max(self.dataset.rating_min).min(self.dataset.rating_max)
    }

    fn sum_up(
        &self,
        judged: Vec<Judged>,
        baselines: &Baselines,
        genres: &GenreSets,
        seed: u64,
    ) -> ModelEvaluateDone {
        let popular = popularity_order(&baselines.train_counts);
        let catalogue = Catalogue {
            train_counts: &baselines.train_counts,
            popular: &popular,
            users: u64::from(self.users.shards.rows()),
            seed,
        };
        let score = |rated: &mut RatedItems, user: Judged| {
            self.rated_by(user.row, rated);
            let outcome = user.top.map(|top| {
                let list: Vec<u32> = top.into_sorted().into_iter().map(|(_, row)| row).collect();
                let relevant = self.users.held_out().row(user.row).0;
                let judged = JudgedUser { hash: self.user_hash(user.row), trained: &rated.items, relevant };
                (catalogue.judge(&list, judged, |a, b| genres.similarity(a, b)), list)
            });
            let Judged { row, rating, baseline, .. } = user;
            Scored { row, outcome, rating, baseline }
        };
        let scored: Vec<Scored> = judged.into_par_iter().map_init(RatedItems::default, score).collect();
        let mut exposure = Exposure::new(self.item_rows());
        let mut shards = Vec::new();
        for owned in &self.users.owned {
            let begin = scored.partition_point(|scored| scored.row < owned.rows.start);
            let end = scored.partition_point(|scored| scored.row < owned.rows.end);
            let (mut lists, mut sweep) = (RankingSums::default(), SweepSums::default());
            let [mut rating, mut baseline] = <[RatingSums; 2]>::default();
            for user in &scored[begin..end] {
                rating.merge(&user.rating);
                baseline.merge(&user.baseline);
                sweep.add(user);
                if let Some((outcome, list)) = &user.outcome {
                    lists.add(outcome);
                    if !outcome.newcomer {
                        exposure.add(list);
                    }
                }
            }
            shards.push(ShardEvaluationSums {
                shard: owned.shard,
                rating: Some(rating_sums(&rating)),
                rating_baseline: Some(rating_sums(&baseline)),
                model: Some(list_sums(&lists.model)),
                popularity: Some(list_sums(&lists.popularity)),
                random: Some(list_sums(&lists.random)),
                newcomers: Some(list_sums(&lists.newcomers)),
                sweep: Some(sweep.of_shard(owned.shard)),
            });
        }
        // A list has an item once, and users are counted in a u32.
        let counts: Vec<u32> = exposure.counts().iter().map(|&count| count as u32).collect();
        ModelEvaluateDone { shards, exposure: wire::to_bytes(&counts) }
    }

    /// Adds the ratings that profiles predict.
    async fn measure_profiles(
        self: &Arc<Self>,
        folder: &ModelFolder,
        judged: Vec<Judged>,
    ) -> Result<Vec<Judged>, TrainError> {
        let baselines = self.baselines()?;
        let slope = folder.rating_slope;
        let attempt = Arc::clone(self);
        self.with_profiles(
            folder,
            judged,
            |user| user.row,
            move |user, profile| {
                let (items, ratings) = attempt.users.held_out().row(user.row);
                let held_out = span(items, profile.rows);
                for (&item, &rating) in items[held_out.clone()].iter().zip(&ratings[held_out]) {
                    let cosine = f64::from(profile.cosine(item));
                    let predicted = baselines.expected(user.row, item) + slope * cosine;
                    user.rating.add(attempt.clamped(predicted), rating);
                }
            },
        )
        .await
    }
}

/// What users are measured against.
struct Shard<'a> {
    scores: &'a [ShardScores],
    blend: Option<&'a Blend>,
    /// Global item rows.
    rows: std::ops::Range<u32>,
    baselines: &'a Baselines,
}

/// What is summed after a sweep of ALS: see [`crate::train::TrainAttempt::evaluate`].
#[derive(Debug, Default)]
struct SweepSums {
    rating: RatingSums,
    users: u64,
    /// Recall and NDCG of the model's lists.
    model: [f64; 2],
    /// The same of the popularity lists.
    popularity: [f64; 2],
}

impl SweepSums {
    /// Adds a user; the list of one without training ratings is no model's.
    fn add(&mut self, user: &Scored) {
        self.rating.merge(&user.rating);
        let Some((outcome, _)) = user.outcome.as_ref().filter(|(outcome, _)| !outcome.newcomer) else {
            return;
        };
        self.users += 1;
        for (sums, lists) in [(&mut self.model, &outcome.model), (&mut self.popularity, &outcome.popularity)]
        {
            // The last cutoff is the length of the lists.
            let [.., whole] = &lists.at;
            sums[0] += whole.recall;
            sums[1] += whole.ndcg;
        }
    }

    fn of_shard(&self, shard: u32) -> ShardMetricSums {
        let RatingSums { pairs, squared_error, absolute_error, rating, squared_rating } = self.rating;
        let ([recall_at_20, ndcg_at_20], [popularity_recall_at_20, popularity_ndcg_at_20]) =
            (self.model, self.popularity);
        ShardMetricSums {
            shard,
            pairs,
            squared_error,
            absolute_error,
            rating,
            squared_rating,
            ranked_users: self.users,
            recall_at_20,
            ndcg_at_20,
            popularity_recall_at_20,
            popularity_ndcg_at_20,
        }
    }
}

fn rating_sums(sums: &RatingSums) -> proto::RatingSums {
    let &RatingSums { pairs, squared_error, absolute_error, rating, squared_rating } = sums;
    proto::RatingSums { pairs, squared_error, absolute_error, rating, squared_rating }
}

fn list_sums(sums: &ListSums) -> proto::ListSums {
    let at = CUTOFFS.iter().zip(&sums.at).map(|(&cutoff, score)| ListScoreSums {
        k: cutoff as u32,
        precision: score.precision,
        recall: score.recall,
        ndcg: score.ndcg,
        average_precision: score.average_precision,
        reciprocal_rank: score.reciprocal_rank,
    });
    proto::ListSums { users: sums.users, at: at.collect(), novelty: sums.novelty, diversity: sums.diversity }
}
