//! Numbers and metrics as people read them.

use serde_json::Value;
use shoal_proto::v1::{Evaluation, ListEvaluation, SweepMetrics, SweepWork};

/// A whole number with separators: 1,234,567.
#[must_use]
pub fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number with four decimals.
#[must_use]
pub fn decimal(value: f64) -> String {
    format!("{value:.4}")
}

/// An ISO 8601 time without its fraction: 2026-11-24 10:15:00.
#[must_use]
pub fn to_the_second(iso: &str) -> String {
    iso.chars().take("2026-11-24T10:15:00".len()).collect::<String>().replace('T', " ")
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

/// A number of bytes in decimal units: 512 B, 8.40 kB, 123.46 MB.
#[must_use]
pub fn bytes(value: u64) -> String {
    let units = ["kB", "MB", "GB", "TB"];
    let mut scaled = value as f64;
    let mut unit = "B";
    for larger in units {
        if scaled < 1_000.0 {
            break;
        }
        (scaled, unit) = (scaled / 1_000.0, larger);
    }
    if unit == "B" { format!("{value} B") } else { format!("{scaled:.2} {unit}") }
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
            "lists    recall@20 {:.4}  ndcg@20 {:.4}  (popularity: {:.4} and {:.4}; {} users)",
            ranking.recall_at_20,
            ranking.ndcg_at_20,
            ranking.popularity_recall_at_20,
            ranking.popularity_ndcg_at_20,
            count(ranking.users)
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
            "ratings  rmse {:.4}  mae {:.4}  r2 {:.4}  ({}{} ratings held out)",
            rating.rmse,
            rating.mae,
            rating.r2,
            baseline.unwrap_or_default(),
            count(rating.pairs)
        ));
    }
    if let Some(lists) = &evaluation.model {
        for (place, at) in lists.at.iter().enumerate() {
            let of = |other: &Option<ListEvaluation>| {
                other.as_ref().and_then(|lists| lists.at.get(place)).map_or(0.0, |at| at.ndcg)
            };
            lines.push(format!(
                "lists@{}  ndcg {:.4}  recall {:.4}  precision {:.4}  map {:.4}  mrr {:.4}  (ndcg of popularity {:.4}, of chance {:.4})",
                at.k,
                at.ndcg,
                at.recall,
                at.precision,
                at.map,
                at.mrr,
                of(&evaluation.popularity),
                of(&evaluation.random)
            ));
        }
        lines.push(format!(
            "spread   coverage {:.4}  gini {:.4}  novelty {:.2}  diversity {:.4}  ({} users)",
            evaluation.coverage,
            evaluation.gini,
            lists.novelty,
            lists.diversity,
            count(lists.users)
        ));
    }
    if let Some(newcomers) = &evaluation.newcomers {
        lines.push(format!(
            "newcomers  {} users without training ratings, served the most rated items",
            count(newcomers.users)
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
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.416, 12.34, 245.2].map(seconds), ["0.42 s", "12.3 s", "4 min 05 s"]);
        assert_eq!(to_the_second("2026-11-24T10:15:00.250Z"), "2026-11-24 10:15:00");
        assert_eq!([999, 1_000, 12_345_678].map(bytes), ["999 B", "1.00 kB", "12.35 MB"]);
    }
}
