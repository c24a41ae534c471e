//! Versions of several models beside each other.

use serde_json::Value;
use shoal_common::readable::evaluation_json;
use shoal_proto::v1::ModelVersion;

use super::{Align, Table, decimal, seconds};

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
        ("TIME", Align::Right),
        ("VERSION", Align::Left),
    ]);
    for (version, kept) in versions {
        let evaluation = version.evaluation.as_ref().map_or(Value::Null, evaluation_json);
        let metric =
            |path: &str| evaluation.pointer(path).and_then(Value::as_f64).map(decimal).unwrap_or_default();
        table.row([
            version.model.clone(),
            metric("/rating/rmse"),
            metric("/lists/ndcg_at_10"),
            metric("/lists/ndcg_at_20"),
            metric("/lists/recall_at_20"),
            metric("/coverage"),
            if kept { "kept".to_owned() } else { seconds(version.training_seconds) },
            version.name.clone(),
        ]);
    }
    table
}
