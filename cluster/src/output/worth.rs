//! Versions of several models beside each other.

use serde_json::Value;
use shoal_common::readable::evaluation_json;
use shoal_proto::v1::ModelVersion;

use super::{Align, Cell, Table, count, decimal, seconds, style};

/// What each version is worth on held-out ratings, and how long its training took unless it was kept from before.
#[must_use]
pub fn worth<'a>(versions: impl IntoIterator<Item = (&'a ModelVersion, bool)>) -> Table {
    let mut table = Table::new(&[
        ("MODEL", Align::Left),
        ("RMSE", Align::Right),
        ("NDCG@10", Align::Right),
        ("NDCG@20", Align::Right),
        ("RECALL@20", Align::Right),
        ("COVERAGE", Align::Right),
        ("USERS", Align::Right),
        ("TIME", Align::Right),
        ("VERSION", Align::Left),
    ])
    // Each version was named when it was trained.
    .optional(&["VERSION"]);
    let rows: Vec<_> = versions
        .into_iter()
        .map(|(version, kept)| {
            (version, kept, version.evaluation.as_ref().map_or(Value::Null, evaluation_json))
        })
        .collect();
    let figure = |evaluation: &Value, path: &str| evaluation.pointer(path).and_then(Value::as_f64);
    for (version, kept, evaluation) in &rows {
        let metric = |path: &str, better: fn(f64, f64) -> f64| {
            let Some(value) = figure(evaluation, path) else { return Cell::default() };
            let all = rows.iter().filter_map(|(_, _, evaluation)| figure(evaluation, path));
            let is_best = rows.len() > 1 && all.reduce(better) == Some(value);
            if is_best { Cell::styled(decimal(value), style::BEST) } else { decimal(value).into() }
        };
        let took = if *kept { "kept".to_owned() } else { seconds(version.training_seconds) };
        table.row([
            version.model.clone().into(),
            metric("/rating/rmse", f64::min),
            metric("/lists/ndcg_at_10", f64::max),
            metric("/lists/ndcg_at_20", f64::max),
            metric("/lists/recall_at_20", f64::max),
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
