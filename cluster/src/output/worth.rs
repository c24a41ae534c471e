//! Versions of several models beside each other.

use serde_json::Value;
use shoal_common::readable::evaluation_json;
use shoal_proto::v1::ModelVersion;

use super::{Align, Cell, Table, count, decimal, seconds, style};

/// Headings, and where an evaluation has the figures.
const OF_LISTS: [(&str, &str); 3] = [
    ("NDCG@10", "/lists/ndcg_at_10"),
    ("NDCG@20", "/lists/ndcg_at_20"),
    ("RECALL@20", "/lists/recall_at_20"),
];

/// The same where users are held out: what published tables have.
const OF_LONG_LISTS: [(&str, &str); 3] = [
    ("RECALL@20", "/lists/recall_at_20"),
    ("RECALL@50", "/lists/recall_at_50"),
    ("NDCG@100", "/lists/ndcg_at_100"),
];

/// What each version is worth on held-out ratings, and how long its training took unless it was kept from before.
#[must_use]
pub fn worth<'a>(versions: impl IntoIterator<Item = (&'a ModelVersion, bool)>) -> Table {
    let rows: Vec<_> = versions
        .into_iter()
        .map(|(version, kept)| {
            (version, kept, version.evaluation.as_ref().map_or(Value::Null, evaluation_json))
        })
        .collect();
    let figure = |evaluation: &Value, path: &str| evaluation.pointer(path).and_then(Value::as_f64);
    let any_long = rows.iter().any(|(_, _, evaluation)| figure(evaluation, "/lists/ndcg_at_100").is_some());
    let of_lists = if any_long { &OF_LONG_LISTS } else { &OF_LISTS };
    let [first, second, third] = of_lists.map(|(heading, _)| (heading, Align::Right));
    let mut table = Table::new(&[
        ("MODEL", Align::Left),
        ("RMSE", Align::Right),
        first,
        second,
        third,
        ("COVERAGE", Align::Right),
        ("USERS", Align::Right),
        ("TIME", Align::Right),
        ("VERSION", Align::Left),
    ])
    // Each version was named when it was trained.
    .optional(&["VERSION"]);
    for (version, kept, evaluation) in &rows {
        let metric = |path: &str, better: fn(f64, f64) -> f64| {
            let Some(value) = figure(evaluation, path) else { return Cell::default() };
            let all = rows.iter().filter_map(|(_, _, evaluation)| figure(evaluation, path));
            let is_best = rows.len() > 1 && all.reduce(better) == Some(value);
            if is_best { Cell::styled(decimal(value), style::BEST) } else { decimal(value).into() }
        };
        let took = if *kept { "kept".to_owned() } else { seconds(version.training_seconds) };
        let [first, second, third] = of_lists.map(|(_, path)| metric(path, f64::max));
        table.row([
            version.model.clone().into(),
            metric("/rating/rmse", f64::min),
            first,
            second,
            third,
            metric("/coverage", f64::max),
            version
                .evaluation
                .as_ref()
                .and_then(|evaluation| evaluation.model.as_ref())
                .map_or_else(Cell::default, |lists| count(lists.users).into()),
            took.into(),
            version.name.clone().into(),
        ]);
    }
    table
}

/// What is to be said of versions in words, a line each.
pub fn remarks<'a>(versions: impl IntoIterator<Item = &'a ModelVersion>) -> Vec<String> {
    let of_version = |version: &'a ModelVersion| {
        version.remarks.iter().map(|remark| format!("{}: {remark}", version.model))
    };
    versions.into_iter().flat_map(of_version).collect()
}
