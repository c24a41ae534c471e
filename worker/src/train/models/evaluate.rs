//! Measures models on the held-out pairs of the own users, all of them or a sample: any model, by the same code.
//!
//! Item shards are gone through one after the other (of ALS by itself a block of them), all measured users against
//! each: memory is one shard of each model, and of each user a list. Sums are per user shard, users in row order. Beside
//! what every model is judged by stand the sums of a sweep of ALS: so the last sweep is not measured twice.

use std::sync::Arc;

use rayon::prelude::*;
use shoal_core::{exposure::Exposure, topk::TopK};
use shoal_engine::{
    evaluate::{
        ItemRows, LIST_LENGTH, ListScore, RatingSums, Sample, USERS_AT_ONCE, USERS_TOGETHER,
        judge::{Catalogue, JudgedUser, ListOutcome, ListSums, RankingSums, UserOutcome},
        lists::{CUTOFFS, RankingScore},
        offer_items, popularity_order,
    },
    hybrid::{Blend, OfferedItems},
};
use shoal_proto::v1::{
    self as proto, ListScoreSums, ModelEvaluate, ModelEvaluateDone, ModelFolder, ShardEvaluationSums,
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
    exchange::wire,
    train::{
        TrainError,
        evaluation::{OnShare, Share, SweepSums, sample_of},
        factor_items::{FactorItems, ListedUser, blocks, query, rating_row},
        settings::Settings,
        training_side::{Factors, OwnedShard},
    },
};

/// A user under evaluation.
#[derive(Debug)]
pub(super) struct Judged {
    /// The user's place among the own rows.
    pub(super) row: usize,
    /// Of the model's predicted ratings; of ALS by itself also for users who are not of the sample.
    pub(super) rating: RatingSums,
    /// Of what is expected of anybody.
    baseline: RatingSums,
    /// Set for users of the sample.
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
    /// One count above 0 for each item.
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
        on_share: OnShare,
    ) -> Result<ModelEvaluateDone, TrainError> {
        let baselines = self.baselines()?;
        let blend = step.hybrid.as_ref().map(|hybrid| blend_of_models(&hybrid.sources, step.folders.len()));
        let blend = Arc::new(blend.transpose()?);
        let mut sources = Vec::new();
        for folder in &step.folders {
            sources.push(Source::open(self, folder.clone()).await?);
        }
        let by_factors = if let ([source], None) = (&sources[..], &*blend) { source.factors() } else { None };
        let (attempt, sample) = (Arc::clone(self), sample_of(step.sample));
        let everybody = by_factors.is_some();
        let judging = self.context.job.compute.run(move || attempt.judged_users(sample, everybody));
        let mut judged = judging.await?;
        let listed = judged.iter().filter(|user| user.top.is_some()).count();
        let share = Arc::new(Share::new(on_share, listed, self.items.shards.rows()));
        judged = match (by_factors, &sources[..]) {
            (Some((settings, users)), [source]) => {
                let by = ByFactors { source, settings, users, baselines: &baselines };
                self.measure_factors(by, judged, &share).await?
            }
            _ => self.measure_shards(&sources, &blend, &baselines, judged, &share).await?,
        };
        if let ([content], None) = (&step.folders[..], &step.hybrid)
            && content.rating_slope != 0.0
        {
            judged = self.measure_profiles(content, judged).await?;
        }
        let genres = Arc::new(self.genre_sets().await?);
        let attempt = Arc::clone(self);
        Ok(self
            .context
            .job
            .compute
            .run(move || attempt.sum_up(judged, &baselines, &genres, step.seed))
            .await?)
    }

    /// The users of the sample with held-out pairs, or everybody with some.
    fn judged_users(&self, sample: Sample, everybody: bool) -> Vec<Judged> {
        let held_out = self.users.held_out();
        let judged = |row: usize| {
            let of_sample = sample.has(self.user_hash(row));
            let top = of_sample.then(|| TopK::new(self.list_length));
            let [rating, baseline] = Default::default();
            (of_sample || everybody).then_some(Judged { row, rating, baseline, top })
        };
        let rows = 0..self.users.table.own_rows();
        rows.filter(|&row| !held_out.row(row).0.is_empty()).filter_map(judged).collect()
    }

    /// Measures users against every item of ALS by itself.
    async fn measure_factors(
        self: &Arc<Self>,
        by: ByFactors<'_>,
        mut judged: Vec<Judged>,
        share: &Arc<Share>,
    ) -> Result<Vec<Judged>, TrainError> {
        let ByFactors { source, settings, users, baselines } = by;
        let (path, manifest) = source.folder();
        for block in blocks(&self.items.shards, settings) {
            let shards = &self.items.shards;
            let items = FactorItems::read(&self.context, path, manifest, shards, block, settings).await?;
            let (attempt, baselines, share) = (Arc::clone(self), Arc::clone(baselines), Arc::clone(share));
            let (settings, users) = (settings.clone(), Arc::clone(users));
            let measuring = self.context.job.compute.run(move || {
                judged.par_iter_mut().for_each(|user| {
                    attempt.predict_by_factors(
                        user,
                        &items,
                        rating_row(&settings, &users, user.row),
                        &baselines,
                    );
                });
                attempt.rank_by_factors(&mut judged, &items, &settings, &users, &share);
                judged
            });
            judged = measuring.await?;
        }
        Ok(judged)
    }

    /// Offers a block's items to the lists of users.
    fn rank_by_factors(
        &self,
        judged: &mut [Judged],
        items: &FactorItems,
        settings: &Settings,
        users: &Factors,
        share: &Share,
    ) {
        let mut listed: Vec<&mut Judged> = judged.iter_mut().filter(|user| user.top.is_some()).collect();
        listed.par_chunks_mut(USERS_AT_ONCE).for_each_init(Vec::new, |rated, judged| {
            rated.resize_with(USERS_AT_ONCE, RatedItems::default);
            let mut together: Vec<ListedUser<'_>> = Vec::with_capacity(judged.len());
            for (user, rated) in judged.iter_mut().zip(&mut *rated) {
                self.known_of(user.row, rated);
                let (query, base) = query(settings, users, user.row);
                let Some(top) = &mut user.top else { continue };
                together.push(ListedUser { query, base, exclude: &rated.items, top });
            }
            items.offer(&mut together, self.list_length);
            share.add(together.len(), &items.rows);
        });
    }

    /// Predicts a user's held-out ratings of a block's items; `own` is the user's stored row.
    fn predict_by_factors(&self, user: &mut Judged, block: &FactorItems, own: &[f32], baselines: &Baselines) {
        let (items, ratings) = self.users.held_out().row(user.row);
        let held_out = span(items, &block.rows);
        for (&item, &rating) in items[held_out.clone()].iter().zip(&ratings[held_out]) {
            if let Some(predicted) = block.predict(self.context.kernel, own, item) {
                user.rating.add(self.clamped(predicted), rating);
            }
            if user.top.is_some() {
                user.baseline.add(self.clamped(baselines.expected(user.row, item)), rating);
            }
        }
    }

    /// Measures users against every item of models, shard by shard.
    async fn measure_shards(
        self: &Arc<Self>,
        sources: &[Source],
        blend: &Arc<Option<Blend>>,
        baselines: &Arc<Baselines>,
        mut judged: Vec<Judged>,
        share: &Arc<Share>,
    ) -> Result<Vec<Judged>, TrainError> {
        for shard in 0..self.items.shards.count() {
            let mut scores = Vec::with_capacity(sources.len());
            for source in sources {
                scores.push(source.shard(self, shard).await?);
            }
            let rows = self.items.shards.shard_rows(shard);
            let (attempt, blend) = (Arc::clone(self), Arc::clone(blend));
            let (baselines, share) = (Arc::clone(baselines), Arc::clone(share));
            let measuring = self.context.job.compute.run(move || {
                let shard = Shard { scores: &scores, blend: (*blend).as_ref(), rows, baselines: &baselines };
                judged.par_chunks_mut(USERS_TOGETHER).for_each_init(Buffers::default, |buffers, users| {
                    attempt.measure(&shard, users, buffers);
                    share.add(users.len(), &shard.rows);
                });
                judged
            });
            judged = measuring.await?;
        }
        Ok(judged)
    }

    /// Predicts the held-out ratings of some users for a shard's items, and offers its items to their lists.
    fn measure(&self, shard: &Shard<'_>, judged: &mut [Judged], buffers: &mut Buffers) {
        let Buffers { users, everything } = buffers;
        users.load(self, judged.iter().map(|user| user.row));
        for (at, user) in judged.iter_mut().enumerate() {
            self.predict(shard, users.viewer(at), user);
        }
        let all: Vec<usize> = (0..judged.len()).collect();
        users.score(shard.scores, &all);
        let rows = shard.rows.start as usize..shard.rows.end as usize;
        // Whether an item can be listed is for its score to say: one without ratings may well be.
        everything.resize(rows.len(), 1);
        let listable = ItemRows { first_row: shard.rows.start, train_counts: &everything[..rows.len()] };
        for (at, user) in judged.iter_mut().enumerate() {
            let Some(top) = &mut user.top else { continue };
            let (rated, sources) = users.of(at, at);
            let mut sources: Vec<&mut [f32]> = sources.collect();
            match shard.blend {
                Some(blend) => {
                    let items = OfferedItems {
                        first_row: shard.rows.start,
                        train_counts: &shard.baselines.train_counts[rows.clone()],
                        exclude: &rated.items,
                        floor: f32::NEG_INFINITY,
                    };
                    blend.offer(&mut sources, items, |_| true, top);
                }
                None => offer_items(sources[0], listable, &rated.items, top),
            }
        }
    }

    /// Predicts a user's held-out ratings of a shard's items.
    fn predict(&self, shard: &Shard<'_>, viewer: Viewer<'_>, user: &mut Judged) {
        let (items, ratings) = self.users.held_out().row(user.row);
        let held_out = span(items, &shard.rows);
        // As a blend is served: by factors where these predict ratings, else from neighbours.
        let sources = shard.scores.iter().filter(|source| source.predicts_ratings());
        let predicting = sources.min_by_key(|source| !source.has_factors());
        for (&item, &rating) in items[held_out.clone()].iter().zip(&ratings[held_out]) {
            let expected = shard.baselines.expected(user.row, item);
            user.baseline.add(self.clamped(expected), rating);
            if let Some(source) = predicting {
                let predicted = source.predict(viewer, item, shard.baselines).unwrap_or(expected);
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
            users: u64::from(self.training_users),
            list_length: self.list_length,
            seed,
        };
        let score = |rated: &mut RatedItems, user: Judged| {
            self.known_of(user.row, rated);
            let outcome = user.top.map(|top| {
                let list: Vec<u32> = top.into_sorted().into_iter().map(|(_, row)| row).collect();
                let relevant = self.users.held_out().row(user.row).0;
                let judged = JudgedUser { hash: self.user_hash(user.row), known: &rated.items, relevant };
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
            shards.push(self.shard_sums(owned, &scored[begin..end], &mut exposure));
        }
        // A list has an item once, and users are counted in a u32.
        let counts: Vec<u32> = exposure.counts().iter().map(|&count| count as u32).collect();
        ModelEvaluateDone { shards, exposure: wire::to_bytes(&counts) }
    }

    /// The sums over the users of a shard, in row order.
    fn shard_sums(
        &self,
        owned: &OwnedShard,
        scored: &[Scored],
        exposure: &mut Exposure,
    ) -> ShardEvaluationSums {
        let (mut lists, mut sweep) = (RankingSums::default(), SweepSums::default());
        let [mut rating, mut baseline] = <[RatingSums; 2]>::default();
        let held_out = self.users.held_out();
        let is_newcomer = |row: usize| self.users.known(row).slots.is_empty();
        for user in scored {
            let of_sweep = user.outcome.as_ref().map(|(outcome, _)| {
                let [model, popularity] = [&outcome.model, &outcome.popularity].map(of_a_sweep);
                (model, popularity)
            });
            sweep.add(&user.rating, is_newcomer(user.row), of_sweep);
            if let Some((outcome, list)) = &user.outcome {
                rating.merge(&user.rating);
                baseline.merge(&user.baseline);
                lists.add(outcome);
                if !outcome.newcomer {
                    exposure.add(&list[..list.len().min(LIST_LENGTH)]);
                }
            }
        }
        let in_all = |newcomers: bool| {
            let rows = owned.rows.clone().filter(|&row| !held_out.row(row).0.is_empty());
            rows.filter(|&row| is_newcomer(row) == newcomers).count() as u64
        };
        let (known, newcomers) = (in_all(false), in_all(true));
        ShardEvaluationSums {
            shard: owned.shard,
            rating: Some(rating_sums(&rating)),
            rating_baseline: Some(rating_sums(&baseline)),
            model: Some(self.list_sums(&lists.model, known)),
            popularity: Some(self.list_sums(&lists.popularity, known)),
            random: Some(self.list_sums(&lists.random, known)),
            newcomers: Some(self.list_sums(&lists.newcomers, newcomers)),
            sweep: Some(sweep.of_shard(owned.shard)),
        }
    }

    /// Sums as they are sent, at the lengths that lists have.
    fn list_sums(&self, sums: &ListSums, users_in_all: u64) -> proto::ListSums {
        let scores = |at: &[RankingScore]| {
            let pairs = CUTOFFS.iter().zip(at).filter(|(cutoff, _)| **cutoff <= self.list_length);
            let score = pairs.map(|(&cutoff, score)| ListScoreSums {
                k: cutoff as u32,
                precision: score.precision,
                recall: score.recall,
                ndcg: score.ndcg,
                average_precision: score.average_precision,
                reciprocal_rank: score.reciprocal_rank,
            });
            score.collect()
        };
        proto::ListSums {
            users: sums.users,
            at: scores(&sums.at),
            novelty: sums.novelty,
            diversity: sums.diversity,
            squares: scores(&sums.squares),
            users_in_all,
        }
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
    /// The global rows of the shard's items.
    rows: std::ops::Range<u32>,
    baselines: &'a Baselines,
}

/// ALS by itself, and what it is measured by.
struct ByFactors<'a> {
    source: &'a Source,
    settings: &'a Settings,
    /// The users' factors by own row.
    users: &'a Arc<Factors>,
    baselines: &'a Arc<Baselines>,
}

/// What a sweep is judged by: the first [`LIST_LENGTH`] of a list.
fn of_a_sweep(outcome: &ListOutcome) -> ListScore {
    let RankingScore { recall, ndcg, .. } = outcome.at_list_length();
    ListScore { recall, ndcg }
}

fn rating_sums(sums: &RatingSums) -> proto::RatingSums {
    let &RatingSums { pairs, squared_error, absolute_error, rating, squared_rating } = sums;
    proto::RatingSums { pairs, squared_error, absolute_error, rating, squared_rating }
}
