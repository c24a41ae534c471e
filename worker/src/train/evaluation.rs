//! Held-out metrics of written factors: the owned users against every item, whose factors are read
//! from the store one shard at a time.
//!
//! The figures mean what those of a version mean ([`super::models`]): predicted ratings are kept within the data set's
//! scale, as they are served, and lists are judged for users with a training rating.

use std::{ops::Range, sync::Arc};

use rayon::prelude::*;
use shoal_common::{
    hash::{mix64, unit_interval},
    store::{Manifest, PartKind, part},
    topk::TopK,
};
use shoal_proto::v1::{Objective, ShardMetricSums, Side, TrainEvaluate, TrainEvaluateDone};

use super::{
    TrainError,
    attempt::TrainAttempt,
    write::{TRAIN_COUNTS, read_item_part, read_rows},
};
use crate::{
    als::{
        explicit,
        kernel::pack::{Panels, Rows},
    },
    evaluate::{
        ItemPanels, ItemRows, LIST_LENGTH, ListScore, RatingSums, USERS_TOGETHER, offer_items, popular_list,
        popularity_order, score_list,
    },
    tensor_file::{TensorFile, TensorFileError},
};

/// Users that are measured together: lists are in memory for so many. The items are read once for each such block.
const USERS_AT_ONCE: usize = 16 * 1024;

/// One user under evaluation.
#[derive(Debug)]
struct Judged {
    /// The own user row.
    row: usize,
    sums: RatingSums,
    /// Present when the user's list is judged.
    top: Option<TopK<u32>>,
}

/// Buffers of one thread.
#[derive(Debug, Default)]
struct Buffers {
    slots: Vec<u32>,
    /// Of those users, one after the other.
    scores: Vec<f32>,
    trained: Vec<u32>,
    scratch: Panels,
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
    /// Measures the factors below `path` on the held-out pairs of the owned users. Sums per user shard, in shard order.
    ///
    /// # Errors
    /// When a part cannot be read.
    pub async fn evaluate(self: &Arc<Self>, step: TrainEvaluate) -> Result<TrainEvaluateDone, TrainError> {
        let manifest = Manifest::read(&self.context.store, &step.path, "").await?;
        let items: Arc<[u32]> = self.items.global_rows(self.peers.len()).into();
        let mut shards: Vec<ShardMetricSums> = self
            .users
            .owned
            .iter()
            .map(|owned| ShardMetricSums { shard: owned.shard, ..ShardMetricSums::default() })
            .collect();
        let own_rows = self.users.table.own_rows();
        for begin in (0..own_rows).step_by(USERS_AT_ONCE) {
            let users = begin..own_rows.min(begin + USERS_AT_ONCE);
            let attempt = Arc::clone(self);
            let judging = move || attempt.judged_users(users, step.ranking_users_max);
            let judged = self.context.compute.run(judging).await?;
            let (judged, counts) = self.measure(judged, &step.path, &manifest, &items).await?;
            let (attempt, items) = (Arc::clone(self), Arc::clone(&items));
            let adding = move || {
                attempt.add_up(judged, &counts, &items, &mut shards);
                shards
            };
            shards = self.context.compute.run(adding).await?;
        }
        Ok(TrainEvaluateDone { shards })
    }

    /// Measures users against every item; with them come the training ratings of each item.
    async fn measure(
        self: &Arc<Self>,
        mut judged: Vec<Judged>,
        path: &str,
        manifest: &Manifest,
        items: &Arc<[u32]>,
    ) -> Result<(Vec<Judged>, Vec<u32>), TrainError> {
        let mut counts = Vec::with_capacity(self.items.shards.rows() as usize);
        for shard in 0..self.items.shards.count() {
            let entry = manifest.entry(&part(PartKind::Factors, Side::Items, shard))?;
            let file = read_item_part(&self.context, path, entry).await?;
            let rows = self.items.shards.shard_rows(shard);
            let part_counts = file.vector::<u32>(TRAIN_COUNTS)?;
            if part_counts.len() != rows.len() {
                return Err(file
                    .tensor_error(TRAIN_COUNTS, "it has another number of rows".to_owned())
                    .into());
            }
            counts.extend_from_slice(part_counts);
            let (attempt, items) = (Arc::clone(self), Arc::clone(items));
            let measuring = self.context.compute.run(move || {
                attempt.measure_shard(&mut judged, &file, rows, &items)?;
                Ok::<_, TensorFileError>(judged)
            });
            judged = measuring.await??;
        }
        Ok((judged, counts))
    }

    /// The users in `users` with held-out pairs; of about `users_max` of all (0: all), chosen by a hash of their id, the list
    /// is judged too, unless they have no training rating.
    fn judged_users(&self, users: Range<usize>, users_max: u32) -> Vec<Judged> {
        let share = match users_max {
            0 => 1.0,
            most => f64::from(most) / f64::from(self.users.shards.rows()).max(1.0),
        };
        let ranked = self.settings().ranking(Side::Users).is_some() || self.settings().rating().is_some();
        let (held_out, ratings) = (self.users.held_out(), self.users.rating_rows());
        let owned = self.users.owned.iter();
        let rows = owned.flat_map(|owned| {
            owned.rows.clone().map(move |row| (row, owned.ids.hash64(row - owned.rows.start)))
        });
        rows.filter(|&(row, _)| users.contains(&row) && !held_out.row(row).0.is_empty())
            .map(|(row, id_hash)| {
                let is_newcomer = ratings.row(row).slots.is_empty();
                let list = ranked && !is_newcomer && unit_interval(mix64(id_hash)) < share;
                Judged { row, sums: RatingSums::default(), top: list.then(|| TopK::new(LIST_LENGTH)) }
            })
            .collect()
    }

    /// Puts the items in `rows` that an own user was trained on into `trained`: global rows, ascending. `items` has the
    /// global row of each item slot.
    fn trained_items(&self, user: usize, rows: &Range<u32>, items: &[u32], trained: &mut Vec<u32>) {
        // Ratings of a row are in the order of global rows, whatever their slots are.
        let slots = self.users.rating_rows().row(user).slots;
        let begin = slots.partition_point(|&slot| items[slot as usize] < rows.start);
        let of_rows = slots[begin..].iter().map(|&slot| items[slot as usize]);
        trained.clear();
        trained.extend(of_rows.take_while(|row| *row < rows.end));
    }

    /// Predicts the held-out ratings of a shard's items, and offers its items to the lists.
    fn measure_shard(
        &self,
        judged: &mut [Judged],
        file: &TensorFile,
        rows: Range<u32>,
        items: &[u32],
    ) -> Result<(), TensorFileError> {
        let count = rows.len();
        let (settings, users) = (self.settings(), self.factors(Side::Users));
        let rank = settings.rank;
        let read = |objective, width: usize| {
            let mut values = vec![0.0; count * width];
            read_rows(file, objective, rank, width, &mut values).map(|()| values)
        };
        let rating = settings.rating();
        let rated = match rating {
            Some(explicit) => read(Objective::Rating, explicit.width())?,
            None => Vec::new(),
        };
        // Without ranking factors lists are ordered by the predicted rating's inner product and item bias.
        let ranking = settings.ranking(Side::Users).is_some();
        let kernel = self.context.kernel;
        let panels = match rating {
            Some(explicit) if !ranking => ItemPanels::new(kernel, &rated, explicit.width(), rank),
            _ => ItemPanels::new(kernel, &read(Objective::Ranking, rank)?, rank, rank),
        };
        let items_of_shard =
            ItemRows { first_row: rows.start, train_counts: file.vector::<u32>(TRAIN_COUNTS)? };
        judged.par_chunks_mut(USERS_TOGETHER).for_each_init(Buffers::default, |buffers, judged| {
            if let Some(explicit) = rating {
                let width = explicit.width();
                for user in &mut *judged {
                    let own = &users.rating[user.row * width..][..width];
                    self.predict(&explicit, user, own, &rated, &rows);
                }
            }
            let Buffers { slots, scores, trained, scratch } = buffers;
            slots.clear();
            // Own rows are counted in a u32.
            slots.extend(judged.iter().filter(|user| user.top.is_some()).map(|user| user.row as u32));
            match rating {
                Some(explicit) if !ranking => {
                    let stored = Rows::new(&users.rating, explicit.width(), explicit.width());
                    panels.ratings(kernel, explicit.rating_mean, stored, slots, scores, scratch);
                }
                _ => {
                    let stored = Rows::new(&users.ranking, rank, rank);
                    panels.products(kernel, stored, slots, scores, scratch);
                }
            }
            let tops = judged.iter_mut().filter_map(|user| Some((user.row, user.top.as_mut()?)));
            for ((row, top), scores) in tops.zip(scores.chunks_exact_mut(count.max(1))) {
                self.trained_items(row, &rows, items, trained);
                offer_items(scores, items_of_shard, trained, top);
            }
        });
        Ok(())
    }

    /// Predicts a user's held-out ratings of a shard's items: `own` is the user's stored row, `rated` are the items'.
    fn predict(
        &self,
        explicit: &explicit::Settings,
        user: &mut Judged,
        own: &[f32],
        rated: &[f32],
        rows: &Range<u32>,
    ) {
        let (rank, width) = (explicit.rank, explicit.width());
        let predicted = |offset: usize| {
            let item = &rated[offset * width..][..width];
            let biases = if width > rank { f64::from(own[rank]) + f64::from(item[rank]) } else { 0.0 };
            let product = self.context.kernel.dot(&own[..rank], &item[..rank]);
            explicit.rating_mean + biases + f64::from(product)
        };
        let (items, ratings) = self.users.held_out().row(user.row);
        let begin = items.partition_point(|&item| item < rows.start);
        let end = items.partition_point(|&item| item < rows.end);
        for (&item, &rating) in items[begin..end].iter().zip(&ratings[begin..end]) {
            let [least, greatest] = self.scale;
            let predicted = predicted((item - rows.start) as usize);
            user.sums.add(predicted.max(least).min(greatest), rating);
        }
    }

    /// Adds users to the sums of their shards, in row order.
    fn add_up(
        &self,
        judged: Vec<Judged>,
        item_counts: &[u32],
        items: &[u32],
        shards: &mut [ShardMetricSums],
    ) {
        let popular = popularity_order(item_counts);
        let (held_out, all_items) = (self.users.held_out(), 0..self.items.shards.rows());
        let scored: Vec<Scored> = judged
            .into_par_iter()
            .map_init(Vec::new, |trained, user| {
                let relevant = held_out.row(user.row).0;
                let lists = user.top.map(|top| {
                    self.trained_items(user.row, &all_items, items, trained);
                    let list = top.into_sorted().into_iter().map(|(_, row)| row);
                    (score_list(list, relevant), score_list(popular_list(&popular, trained), relevant))
                });
                Scored { row: user.row, rating: user.sums, lists }
            })
            .collect();
        for (owned, sums) in self.users.owned.iter().zip(shards) {
            let begin = scored.partition_point(|scored| scored.row < owned.rows.start);
            let end = scored.partition_point(|scored| scored.row < owned.rows.end);
            for Scored { rating, lists, .. } in &scored[begin..end] {
                sums.pairs += rating.pairs;
                sums.squared_error += rating.squared_error;
                sums.absolute_error += rating.absolute_error;
                sums.rating += rating.rating;
                sums.squared_rating += rating.squared_rating;
                if let Some((model, popularity)) = lists {
                    sums.ranked_users += 1;
                    sums.recall_at_20 += model.recall;
                    sums.ndcg_at_20 += model.ndcg;
                    sums.popularity_recall_at_20 += popularity.recall;
                    sums.popularity_ndcg_at_20 += popularity.ndcg;
                }
            }
        }
    }
}
