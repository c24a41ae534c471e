//! What one sweep was worth and took: the sums of all workers, added in shard order.

use shoal_proto::v1::{
    ObjectiveChoice, RankingMetrics, RatingMetrics, ShardMetricSums, SweepMetrics, SweepWork,
    TrainHalfStepDone,
};

use crate::jobs::sample::half_width;

/// Sums of every user shard as metrics, added in shard order.
pub(super) fn metrics(mut shards: Vec<ShardMetricSums>, choice: ObjectiveChoice) -> SweepMetrics {
    shards.sort_by_key(|sums| sums.shard);
    let total = |of: fn(&ShardMetricSums) -> f64| shards.iter().map(of).sum::<f64>();
    let pairs: u64 = shards.iter().map(|sums| sums.pairs).sum();
    let ranked: u64 = shards.iter().map(|sums| sums.ranked_users).sum();
    let rating = (pairs > 0 && choice != ObjectiveChoice::Implicit).then(|| {
        let count = pairs as f64;
        let mse = total(|sums| sums.squared_error) / count;
        let mean = total(|sums| sums.rating) / count;
        let variance = total(|sums| sums.squared_rating) / count - mean * mean;
        let r2 = if variance > 0.0 { 1.0 - mse / variance } else { 0.0 };
        RatingMetrics { pairs, rmse: mse.sqrt(), mae: total(|sums| sums.absolute_error) / count, mse, r2 }
    });
    let in_all: u64 = shards.iter().map(|sums| sums.users_in_all).sum();
    let unsure = |of: fn(&ShardMetricSums) -> f64, squares: fn(&ShardMetricSums) -> f64| {
        half_width(total(of), total(squares), ranked, in_all).unwrap_or_default()
    };
    let ranking = (ranked > 0).then(|| {
        let users = ranked as f64;
        RankingMetrics {
            users: ranked,
            recall_at_20: total(|sums| sums.recall_at_20) / users,
            ndcg_at_20: total(|sums| sums.ndcg_at_20) / users,
            popularity_recall_at_20: total(|sums| sums.popularity_recall_at_20) / users,
            popularity_ndcg_at_20: total(|sums| sums.popularity_ndcg_at_20) / users,
            users_in_all: in_all.max(ranked),
            recall_at_20_half_width: unsure(|sums| sums.recall_at_20, |sums| sums.squared_recall_at_20),
            ndcg_at_20_half_width: unsure(|sums| sums.ndcg_at_20, |sums| sums.squared_ndcg_at_20),
        }
    });
    SweepMetrics { rating, ranking, ..SweepMetrics::default() }
}

/// Adds a half-step: the seconds of the slowest worker, the bytes of all.
pub(super) fn add_work(work: &mut SweepWork, half_step: &[TrainHalfStepDone]) {
    let (mut solve_seconds, mut wait_seconds) = (0.0_f64, 0.0_f64);
    for done in half_step {
        solve_seconds = solve_seconds.max(done.solve_seconds);
        wait_seconds = wait_seconds.max(done.exchange_wait_seconds);
        work.bytes_sent += done.bytes_sent;
        work.bytes_needed += done.bytes_needed;
    }
    work.solve_seconds += solve_seconds;
    work.exchange_wait_seconds += wait_seconds;
}

/// As `metadata.json` has them.
pub(super) fn metrics_json(metrics: &SweepMetrics) -> serde_json::Value {
    serde_json::json!({
        "sweep": metrics.sweep,
        "seconds": metrics.seconds,
        "work": metrics.work.map(|work| serde_json::json!({
            "solve_seconds": work.solve_seconds,
            "exchange_wait_seconds": work.exchange_wait_seconds,
            "bytes_sent": work.bytes_sent,
            "bytes_needed": work.bytes_needed,
        })),
        "rating": metrics.rating.map(|rating| serde_json::json!({
            "pairs": rating.pairs, "rmse": rating.rmse, "mae": rating.mae, "mse": rating.mse, "r2": rating.r2,
        })),
        "ranking": metrics.ranking.map(|ranking| serde_json::json!({
            "users": ranking.users,
            "recall_at_20": ranking.recall_at_20,
            "ndcg_at_20": ranking.ndcg_at_20,
            "popularity_recall_at_20": ranking.popularity_recall_at_20,
            "popularity_ndcg_at_20": ranking.popularity_ndcg_at_20,
            "users_in_all": ranking.users_in_all,
            "recall_at_20_half_width": ranking.recall_at_20_half_width,
            "ndcg_at_20_half_width": ranking.ndcg_at_20_half_width,
        })),
    })
}
