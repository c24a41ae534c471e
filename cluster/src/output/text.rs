//! Numbers and metrics as people read them.

use serde_json::Value;
use shoal_common::readable::{bytes, count, counted};
use shoal_proto::v1::{Evaluation, ListEvaluation, SweepMetrics, SweepWork};

/// A number with four decimals.
#[must_use]
pub fn decimal(value: f64) -> String {
    format!("{value:.4}")
}

/// A span of time: 0.42 s, 12.3 s, 4 min 05 s.
#[must_use]
pub fn seconds(value: f64) -> String {
    if value < 10.0 {
        format!("{value:.2} s")
    } else if value < 60.0 {
        format!("{value:.1} s")
    } else {
        let whole = value.round() as u64;
        format!("{} min {:02} s", whole / 60, whole % 60)
    }
}

/// A figure, with half of its interval where it comes of a sample.
#[must_use]
pub fn unsure(value: f64, half_width: f64) -> String {
    if half_width > 0.0 { format!("{value:.4} ± {half_width:.4}") } else { decimal(value) }
}

/// Of how many users a figure is: "610 users", "20,081 of 138,468 users".
#[must_use]
pub fn users_measured(measured: u64, in_all: u64) -> String {
    if measured < in_all {
        format!("{} of {}", count(measured), counted(in_all, "user"))
    } else {
        counted(measured, "user")
    }
}

/// The metrics of a sweep, a line per objective; no line when nothing was held out.
#[must_use]
pub fn metrics_lines(metrics: &SweepMetrics) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(rating) = &metrics.rating {
        lines.push(format!(
            "ratings  rmse {:.4}  mae {:.4}  r2 {:.4}  ({} ratings held out)",
            rating.rmse,
            rating.mae,
            rating.r2,
            count(rating.pairs)
        ));
    }
    if let Some(ranking) = &metrics.ranking {
        lines.push(format!(
            "lists    recall@20 {}  ndcg@20 {}  (popularity: {:.4} and {:.4}; {})",
            unsure(ranking.recall_at_20, ranking.recall_at_20_half_width),
            unsure(ranking.ndcg_at_20, ranking.ndcg_at_20_half_width),
            ranking.popularity_recall_at_20,
            ranking.popularity_ndcg_at_20,
            users_measured(ranking.users, ranking.users_in_all)
        ));
    }
    lines
}

/// What a version is worth on held-out ratings; no line for what was not measured.
#[must_use]
pub fn evaluation_lines(evaluation: &Evaluation) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(rating) = &evaluation.rating {
        let baseline = evaluation.rating_baseline.as_ref();
        let baseline = baseline.map(|baseline| format!("biases alone: rmse {:.4}; ", baseline.rmse));
        lines.push(format!(
            "ratings  rmse {:.4}  mae {:.4}  r2 {:.4}  ({}{} held out)",
            rating.rmse,
            rating.mae,
            rating.r2,
            baseline.unwrap_or_default(),
            counted(rating.pairs, "rating")
        ));
    }
    if let Some(lists) = &evaluation.model {
        for (place, at) in lists.at.iter().enumerate() {
            let of = |other: &Option<ListEvaluation>| {
                other.as_ref().and_then(|lists| lists.at.get(place)).map_or(0.0, |at| at.ndcg)
            };
            let half = at.half_widths.unwrap_or_default();
            lines.push(format!(
                "lists@{}  ndcg {}  recall {}  precision {}  map {}  mrr {}  (ndcg of popularity {:.4}, of chance {:.4})",
                at.k,
                unsure(at.ndcg, half.ndcg),
                unsure(at.recall, half.recall),
                unsure(at.precision, half.precision),
                unsure(at.map, half.map),
                unsure(at.mrr, half.mrr),
                of(&evaluation.popularity),
                of(&evaluation.random)
            ));
        }
        lines.push(format!(
            "spread   coverage {:.4}  gini {:.4}  novelty {:.2}  diversity {:.4}  ({})",
            evaluation.coverage,
            evaluation.gini,
            lists.novelty,
            lists.diversity,
            users_measured(lists.users, lists.users_in_all)
        ));
        if lists.users < lists.users_in_all {
            lines.push(
                "sample   figures are of these users; ± is the 95 % interval in which the figure of all users is"
                    .to_owned(),
            );
        }
    }
    if let Some(newcomers) = &evaluation.newcomers {
        lines.push(format!(
            "newcomers  {} without training ratings, served the most rated items",
            counted(newcomers.users, "user")
        ));
    }
    lines
}

/// What a sweep took: where the time went, and what was sent beside the least that had to be.
#[must_use]
pub fn work_line(work: &SweepWork) -> String {
    format!(
        "{} solving, {} waiting for the exchange, {} sent ({} needed)",
        seconds(work.solve_seconds),
        seconds(work.exchange_wait_seconds),
        bytes(work.bytes_sent),
        bytes(work.bytes_needed)
    )
}

/// A JSON list of genres as one cell.
#[must_use]
pub fn genre_list(genres: &Value) -> String {
    let names = genres.as_array().map(Vec::as_slice).unwrap_or_default();
    names.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        assert_eq!([0.416, 12.34, 245.2].map(seconds), ["0.42 s", "12.3 s", "4 min 05 s"]);
        assert_eq!([unsure(0.25, 0.0), unsure(0.25, 0.0031)], ["0.2500", "0.2500 ± 0.0031"]);
        assert_eq!(users_measured(610, 610), "610 users");
        assert_eq!(users_measured(1, 1), "1 user");
        // A build that did not say counted all of them.
        assert_eq!(users_measured(610, 0), "610 users");
        assert_eq!(users_measured(20_081, 138_468), "20,081 of 138,468 users");
    }
}
