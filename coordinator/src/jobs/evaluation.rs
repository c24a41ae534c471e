//! What a version is worth: the sums of all workers, added in shard order, as means.

use std::array::from_fn;

use shoal_core::exposure::Exposure;
use shoal_proto::v1::{
    Evaluation, ListEvaluation, ListHalfWidths, ListMetrics, ListScoreSums, ListSums, ModelEvaluateDone,
    RatingMetrics, RatingSums, ShardEvaluationSums,
};

use super::{error::JobError, sample::half_width};

/// The evaluation that all workers' sums give over a catalogue of `items`.
pub(super) fn evaluation(done: Vec<ModelEvaluateDone>, items: u64) -> Result<Evaluation, JobError> {
    let mut exposure = Exposure::new(items as usize);
    let mut shards: Vec<ShardEvaluationSums> = Vec::new();
    for done in done {
        if done.exposure.len() as u64 != items * 4 {
            return Err(JobError::Fatal("a worker has counted lists over another catalogue".to_owned()));
        }
        let counts = done.exposure.as_chunks().0.iter();
        exposure.merge(&Exposure::from_counts(
            counts.map(|bytes| u64::from(u32::from_le_bytes(*bytes))).collect(),
        ));
        shards.extend(done.shards);
    }
    shards.sort_by_key(|sums| sums.shard);
    let lists = |of: fn(&ShardEvaluationSums) -> &Option<ListSums>| {
        list_evaluation(&shards.iter().filter_map(|shard| of(shard).as_ref()).collect::<Vec<_>>())
    };
    let ratings = |of: fn(&ShardEvaluationSums) -> &Option<RatingSums>| {
        rating_metrics(shards.iter().filter_map(|shard| of(shard).as_ref()))
    };
    Ok(Evaluation {
        rating: ratings(|shard| &shard.rating),
        rating_baseline: ratings(|shard| &shard.rating_baseline),
        model: lists(|shard| &shard.model),
        popularity: lists(|shard| &shard.popularity),
        random: lists(|shard| &shard.random),
        newcomers: lists(|shard| &shard.newcomers),
        coverage: exposure.coverage(),
        gini: exposure.gini(),
    })
}

/// Errors over all pairs; `None` when there are none.
fn rating_metrics<'a>(shards: impl Iterator<Item = &'a RatingSums>) -> Option<RatingMetrics> {
    let mut pairs = 0;
    let [mut squared_error, mut absolute_error, mut rating, mut squared_rating] = from_fn(|_| 0.0);
    for shard in shards {
        pairs += shard.pairs;
        squared_error += shard.squared_error;
        absolute_error += shard.absolute_error;
        rating += shard.rating;
        squared_rating += shard.squared_rating;
    }
    let count = pairs as f64;
    (pairs > 0).then(|| {
        let mse = squared_error / count;
        let mean = rating / count;
        let variance = squared_rating / count - mean * mean;
        let r2 = if variance > 0.0 { 1.0 - mse / variance } else { 0.0 };
        RatingMetrics { pairs, rmse: mse.sqrt(), mae: absolute_error / count, mse, r2 }
    })
}

/// Means over all users; `None` when there are none.
fn list_evaluation(shards: &[&ListSums]) -> Option<ListEvaluation> {
    let users: u64 = shards.iter().map(|sums| sums.users).sum();
    if users == 0 {
        return None;
    }
    let users_in_all = shards.iter().map(|sums| sums.users_in_all).sum::<u64>().max(users);
    let count = users as f64;
    let mean = |of: fn(&ListSums) -> f64| shards.iter().map(|sums| of(sums)).sum::<f64>() / count;
    let lengths = shards.iter().map(|sums| sums.at.len()).max().unwrap_or_default();
    let at = (0..lengths).map(|place| {
        let scores: Vec<&ListScoreSums> = shards.iter().filter_map(|sums| sums.at.get(place)).collect();
        let squares: Vec<&ListScoreSums> = shards.iter().filter_map(|sums| sums.squares.get(place)).collect();
        let sum = |of: fn(&ListScoreSums) -> f64| scores.iter().map(|sums| of(sums)).sum::<f64>();
        let mean = |of| sum(of) / count;
        let unsure = |of: fn(&ListScoreSums) -> f64| {
            half_width(sum(of), squares.iter().map(|sums| of(sums)).sum(), users, users_in_all)
        };
        let half_widths = unsure(|sums| sums.ndcg).map(|ndcg| ListHalfWidths {
            precision: unsure(|sums| sums.precision).unwrap_or_default(),
            recall: unsure(|sums| sums.recall).unwrap_or_default(),
            ndcg,
            map: unsure(|sums| sums.average_precision).unwrap_or_default(),
            mrr: unsure(|sums| sums.reciprocal_rank).unwrap_or_default(),
        });
        ListMetrics {
            k: scores.first().map_or(0, |sums| sums.k),
            precision: mean(|sums| sums.precision),
            recall: mean(|sums| sums.recall),
            ndcg: mean(|sums| sums.ndcg),
            map: mean(|sums| sums.average_precision),
            mrr: mean(|sums| sums.reciprocal_rank),
            half_widths,
        }
    });
    Some(ListEvaluation {
        users,
        at: at.collect(),
        novelty: mean(|sums| sums.novelty),
        diversity: mean(|sums| sums.diversity),
        users_in_all,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(shard: u32, users: u64, ndcg: f64) -> ShardEvaluationSums {
        let at =
            [10, 20].map(|k| ListScoreSums { k, ndcg, precision: ndcg / 2.0, ..ListScoreSums::default() });
        // Each user's score is the mean.
        let squares = at.map(|sums| ListScoreSums { ndcg: ndcg * ndcg / users as f64, ..sums });
        let model = ListSums {
            users,
            at: at.to_vec(),
            novelty: 3.0 * users as f64,
            squares: squares.to_vec(),
            users_in_all: 2 * users,
            ..ListSums::default()
        };
        let rating = RatingSums {
            pairs: 2,
            squared_error: 0.5,
            absolute_error: 1.0,
            rating: 7.0,
            squared_rating: 25.0,
        };
        ShardEvaluationSums {
            shard,
            model: Some(model),
            rating: Some(rating),
            ..ShardEvaluationSums::default()
        }
    }

    #[test]
    fn means_are_over_all_users_and_pairs_of_all_workers() {
        let exposure =
            |counts: [u32; 3]| counts.iter().flat_map(|count| count.to_le_bytes()).collect::<Vec<u8>>();
        let done = vec![
            ModelEvaluateDone { shards: vec![sums(1, 3, 1.5)], exposure: exposure([3, 0, 0]).into() },
            ModelEvaluateDone { shards: vec![sums(0, 1, 0.5)], exposure: exposure([0, 1, 0]).into() },
        ];
        let found = evaluation(done.clone(), 3).unwrap();
        let lists = found.model.clone().unwrap();
        assert_eq!((lists.users, lists.novelty), (4, 3.0));
        assert_eq!(
            lists.at.iter().map(|at| (at.k, at.ndcg, at.precision)).collect::<Vec<_>>(),
            [(10, 0.5, 0.25), (20, 0.5, 0.25)]
        );
        // Four scores of 0.5, of eight users.
        let half_widths = lists.at[0].half_widths.unwrap();
        assert_eq!((lists.users_in_all, half_widths.ndcg), (8, 0.0));
        let rating = found.rating.unwrap();
        assert_eq!((rating.pairs, rating.mse, rating.rmse, rating.mae), (4, 0.25, 0.5, 0.5));
        // The ratings' variance is 12.5 - 3.5² = 0.25: no better than their mean.
        assert_eq!(rating.r2, 0.0);
        assert_eq!((found.coverage, found.rating_baseline, found.newcomers), (2.0 / 3.0, None, None));
        assert!(evaluation(done, 4).is_err());
    }

    #[test]
    fn sums_are_added_in_shard_order_whoever_told_them_first() {
        // Of sums of very different size the order shows: what is small is lost beside what is large.
        let sized = |shard: u32, size: f64| {
            let rating = RatingSums { pairs: 1, squared_error: size, ..RatingSums::default() };
            let ndcg = ListScoreSums { k: 10, ndcg: size, ..ListScoreSums::default() };
            let model = ListSums { users: 1, at: vec![ndcg], novelty: size, ..ListSums::default() };
            ShardEvaluationSums { shard, model: Some(model), rating: Some(rating), ..Default::default() }
        };
        let shards = [sized(0, 1e16), sized(1, 1.0), sized(2, 1.0), sized(3, -1e16)];
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 2, 0, 3], [2, 0, 3, 1]] {
            let of = |at: &[usize]| ModelEvaluateDone {
                shards: at.iter().map(|&at| shards[at].clone()).collect(),
                ..ModelEvaluateDone::default()
            };
            let found = evaluation(vec![of(&order[..2]), of(&order[2..])], 0).unwrap();
            let lists = found.model.unwrap();
            assert_eq!((lists.novelty, lists.at[0].ndcg, found.rating.unwrap().mse), (0.0, 0.0, 0.0));
        }
    }
}
