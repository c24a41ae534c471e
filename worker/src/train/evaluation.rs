//! Held-out metrics of written factors: the owned users against every item, whose factors are read
//! from the store block by block.
//!
//! The figures mean what those of a version mean ([`super::models`]): predicted ratings are kept within the data set's
//! scale, as they are served, and lists are judged for users of whom a rating is known.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rayon::prelude::*;
use shoal_common::store::Manifest;
use shoal_core::topk::TopK;
use shoal_engine::evaluate::{
    LIST_LENGTH, ListScore, RatingSums, Sample, USERS_AT_ONCE, popular_list, popularity_order, score_list,
};
use shoal_proto::v1::{ShardMetricSums, Side, TrainEvaluate, TrainEvaluateDone, UserSample};

use super::{
    attempt::TrainAttempt,
    error::TrainError,
    factor_items::{FactorItems, ListedUser, blocks, query, rating_row},
    training_side::OwnedShard,
};

/// Is told how much of a measuring is done, and how much there is.
pub type OnShare = Arc<dyn Fn(u64, u64) + Send + Sync>;

/// How far a measuring is: users times the items that they have been measured against.
pub(super) struct Share {
    on_share: OnShare,
    done: AtomicU64,
    total: u64,
}

impl Share {
    pub(super) fn new(on_share: OnShare, users: usize, items: u32) -> Self {
        let total = users as u64 * u64::from(items);
        on_share(0, total);
        Self { on_share, done: AtomicU64::new(0), total }
    }

    pub(super) fn add(&self, users: usize, items: &Range<u32>) {
        let more = users as u64 * items.len() as u64;
        let before = self.done.fetch_add(more, Ordering::Relaxed);
        (self.on_share)(before + more, self.total);
    }
}

/// The sample that a message names; all users where it names none.
pub(super) fn sample_of(sample: Option<UserSample>) -> Sample {
    sample.map_or(Sample::ALL, |sample| Sample::new(sample.share, sample.seed))
}

/// One user under evaluation.
#[derive(Debug)]
struct Judged {
    /// The own user row.
    row: usize,
    sums: RatingSums,
    /// Present when the user's list is judged.
    top: Option<TopK<u32>>,
}

/// What came of one user.
#[derive(Debug)]
struct Scored {
    row: usize,
    rating: RatingSums,
    /// The model's list and the popularity baseline's.
    lists: Option<(ListScore, ListScore)>,
}

impl TrainAttempt {
    /// Measures the factors below `path` on the held-out pairs of the owned users, and the lists of those of the
    /// sample. Sums per user shard, in shard order.
    ///
    /// # Errors
    /// When a part cannot be read.
    pub async fn evaluate(
        self: &Arc<Self>,
        step: TrainEvaluate,
        on_share: OnShare,
    ) -> Result<TrainEvaluateDone, TrainError> {
        let manifest = Manifest::read(&self.context.job.store, &step.path, "").await?;
        let item_rows: Arc<[u32]> = self.items.global_rows(self.peers.len()).into();
        let attempt = Arc::clone(self);
        let sample = sample_of(step.sample);
        let mut judged = self.context.job.compute.run(move || attempt.judged_users(sample)).await?;
        let listed = judged.iter().filter(|user| user.top.is_some()).count();
        let share = Arc::new(Share::new(on_share, listed, self.items.shards.rows()));
        let settings = self.settings().clone();
        let mut counts = Vec::with_capacity(self.items.shards.rows() as usize);
        for block in blocks(&self.items.shards, &settings) {
            let shards = &self.items.shards;
            let items =
                FactorItems::read(&self.context, &step.path, &manifest, shards, block, &settings).await?;
            counts.extend_from_slice(&items.train_counts);
            let (attempt, item_rows) = (Arc::clone(self), Arc::clone(&item_rows));
            let share = Arc::clone(&share);
            let measuring = self.context.job.compute.run(move || {
                attempt.measure(&mut judged, &items, &item_rows, &share);
                judged
            });
            judged = measuring.await?;
        }
        let attempt = Arc::clone(self);
        let adding = self.context.job.compute.run(move || attempt.add_up(judged, &counts, &item_rows));
        Ok(TrainEvaluateDone { shards: adding.await? })
    }

    /// The users with held-out pairs; of those of the sample the list is judged too, unless no rating of theirs is known.
    fn judged_users(&self, sample: Sample) -> Vec<Judged> {
        let ranked = self.settings().ranking(Side::Users).is_some() || self.settings().rating().is_some();
        let held_out = self.users.held_out();
        let owned = self.users.owned.iter();
        let rows = owned.flat_map(|owned| {
            owned.rows.clone().map(move |row| (row, owned.ids.hash64(row - owned.rows.start)))
        });
        rows.filter(|&(row, _)| !held_out.row(row).0.is_empty())
            .map(|(row, id_hash)| {
                let listed = ranked && !self.is_newcomer(row) && sample.has(id_hash);
                Judged { row, sums: RatingSums::default(), top: listed.then(|| TopK::new(LIST_LENGTH)) }
            })
            .collect()
    }

    fn is_newcomer(&self, user: usize) -> bool {
        self.users.known(user).slots.is_empty()
    }

    /// Replaces what `known` holds by the items that an own user is known to have rated: global rows, ascending. `items`
    /// has the global row of each item slot.
    fn known_items(&self, user: usize, items: &[u32], known: &mut Vec<u32>) {
        known.clear();
        // Ratings of a row are in the order of global rows, whatever their slots are.
        let slots = self.users.known(user).slots;
        known.extend(slots.iter().map(|&slot| items[slot as usize]));
    }

    /// Predicts the held-out ratings of a block's items, and offers its items to the lists.
    fn measure(&self, judged: &mut [Judged], items: &FactorItems, item_rows: &[u32], share: &Share) {
        let (settings, users) = (self.settings(), self.factors(Side::Users));
        let (settings, users) = (&*settings, &*users);
        if settings.rating().is_some() {
            judged.par_iter_mut().for_each(|user| {
                self.predict(user, rating_row(settings, users, user.row), items);
            });
        }
        let mut listed: Vec<&mut Judged> = judged.iter_mut().filter(|user| user.top.is_some()).collect();
        listed.par_chunks_mut(USERS_AT_ONCE).for_each_init(Vec::new, |known, judged| {
            known.resize_with(USERS_AT_ONCE.max(judged.len()), Vec::new);
            let mut together: Vec<ListedUser<'_>> = Vec::with_capacity(judged.len());
            for (user, known) in judged.iter_mut().zip(&mut *known) {
                self.known_items(user.row, item_rows, known);
                let (query, base) = query(settings, users, user.row);
                let Some(top) = &mut user.top else { continue };
                together.push(ListedUser { query, base, exclude: known, top });
            }
            items.offer(&mut together, LIST_LENGTH);
            share.add(together.len(), &items.rows);
        });
    }

    /// Predicts a user's held-out ratings of a block's items; `own` is the user's stored row.
    fn predict(&self, user: &mut Judged, own: &[f32], block: &FactorItems) {
        let (items, ratings) = self.users.held_out().row(user.row);
        let begin = items.partition_point(|&item| item < block.rows.start);
        let end = items.partition_point(|&item| item < block.rows.end);
        for (&item, &rating) in items[begin..end].iter().zip(&ratings[begin..end]) {
            if let Some(predicted) = block.predict(self.context.kernel, own, item) {
                let [least, greatest] = self.scale;
                user.sums.add(predicted.max(least).min(greatest), rating);
            }
        }
    }

    /// Adds users to the sums of their shards, in row order.
    fn add_up(&self, judged: Vec<Judged>, item_counts: &[u32], items: &[u32]) -> Vec<ShardMetricSums> {
        let popular = popularity_order(item_counts);
        let held_out = self.users.held_out();
        let scored: Vec<Scored> = judged
            .into_par_iter()
            .map_init(Vec::new, |known, user| {
                let relevant = held_out.row(user.row).0;
                let lists = user.top.map(|top| {
                    self.known_items(user.row, items, known);
                    let list = top.into_sorted().into_iter().map(|(_, row)| row);
                    let popular = popular_list(&popular, known, LIST_LENGTH);
                    (score_list(list, relevant), score_list(popular, relevant))
                });
                Scored { row: user.row, rating: user.sums, lists }
            })
            .collect();
        let of_shard = |owned: &OwnedShard| {
            let begin = scored.partition_point(|scored| scored.row < owned.rows.start);
            let end = scored.partition_point(|scored| scored.row < owned.rows.end);
            let mut sums = SweepSums::default();
            for Scored { row, rating, lists } in &scored[begin..end] {
                sums.add(rating, self.is_newcomer(*row), *lists);
            }
            sums.of_shard(owned.shard)
        };
        self.users.owned.iter().map(of_shard).collect()
    }
}

/// What is summed over the users of a shard after a sweep.
#[derive(Debug, Default)]
pub(super) struct SweepSums {
    rating: RatingSums,
    users: u64,
    ranked_users: u64,
    /// Of the model's lists.
    model: ListScore,
    /// Of their scores' squares.
    squares: ListScore,
    /// Of the popularity lists.
    popularity: ListScore,
}

impl SweepSums {
    /// Adds a user with held-out pairs: the predicted ratings, and where it is judged the model's list and that of
    /// popularity. The list of one of whom nothing is known is no model's.
    pub(super) fn add(
        &mut self,
        rating: &RatingSums,
        is_newcomer: bool,
        lists: Option<(ListScore, ListScore)>,
    ) {
        self.rating.merge(rating);
        self.users += u64::from(!is_newcomer);
        let Some((model, popularity)) = lists.filter(|_| !is_newcomer) else { return };
        self.ranked_users += 1;
        for (sum, score) in [(&mut self.model, model), (&mut self.popularity, popularity)] {
            sum.recall += score.recall;
            sum.ndcg += score.ndcg;
        }
        self.squares.recall += model.recall * model.recall;
        self.squares.ndcg += model.ndcg * model.ndcg;
    }

    pub(super) fn of_shard(&self, shard: u32) -> ShardMetricSums {
        let RatingSums { pairs, squared_error, absolute_error, rating, squared_rating } = self.rating;
        ShardMetricSums {
            shard,
            pairs,
            squared_error,
            absolute_error,
            rating,
            squared_rating,
            ranked_users: self.ranked_users,
            recall_at_20: self.model.recall,
            ndcg_at_20: self.model.ndcg,
            popularity_recall_at_20: self.popularity.recall,
            popularity_ndcg_at_20: self.popularity.ndcg,
            users_in_all: self.users,
            squared_recall_at_20: self.squares.recall,
            squared_ndcg_at_20: self.squares.ndcg,
        }
    }
}
