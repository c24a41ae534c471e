//! Messages of the wire as JSON for scripts, as the admin API over HTTP answers them.

use serde::Serialize;
use serde_json::{Value, json};
use shoal_common::{access::Scope, clock::UtcTime, rules::Finding};
use shoal_proto::v1::{
    ClusterStatus, DatasetInfo, IdKind, ImportReport, JobInfo, KnownNode, ModelVersion, PromoteReply,
    SweepMetrics, TokenInfo,
};
use shoal_router::http::views;

pub use shoal_router::http::views::{job_seconds, unprotected};

/// A view as a value.
#[allow(
    clippy::expect_used,
    reason = "views are structs of numbers, texts, lists and maps with texts as keys: JSON"
)]
fn value(view: impl Serialize) -> Value {
    serde_json::to_value(view).expect("a view is JSON")
}

/// A Unix time as ISO 8601, `null` for none.
#[must_use]
pub fn iso_time(unix_ms: i64) -> Value {
    views::iso_time(unix_ms).into()
}

/// The cluster's state as `status --json` prints it.
#[must_use]
pub fn status(status: &ClusterStatus) -> Value {
    value(views::ClusterState::from(status))
}

/// What is wrong, as `status --why --json` prints it.
#[must_use]
pub fn troubles(found: &[Finding]) -> Value {
    value(views::Troubles::from(found))
}

/// A data set, as `--json` prints it.
#[must_use]
pub fn dataset(info: &DatasetInfo) -> Value {
    value(views::Dataset::from(info))
}

/// The report of an import as JSON.
#[must_use]
pub fn import_report_json(report: &ImportReport, user_ids: IdKind, item_ids: IdKind) -> Value {
    value(views::Report::new(report, user_ids, item_ids))
}

/// What was measured after a sweep; objectives that were not trained, or not measured, are `null`.
#[must_use]
pub fn sweep_metrics(metrics: &SweepMetrics) -> Value {
    value(views::Sweep::from(metrics))
}

/// A model version, as `--json` prints it.
#[must_use]
pub fn model(version: &ModelVersion) -> Value {
    value(views::Version::from(version))
}

/// What is live after a promotion or a rollback, as `--json` prints it.
#[must_use]
pub fn live_versions(reply: &PromoteReply) -> Value {
    value(views::LiveVersions::from(reply))
}

/// A job as `jobs show --json` prints it.
#[must_use]
pub fn job(info: &JobInfo) -> Value {
    value(views::Job::from(info))
}

/// A node as `nodes list --json` prints it.
#[must_use]
pub fn known_node(known: &KnownNode) -> Value {
    value(views::KnownNode::from(known))
}

/// A token as `tokens --json` prints it: never its hash.
#[must_use]
pub fn token(token: &TokenInfo) -> Value {
    let scopes: Vec<&str> = token.scopes().filter_map(Scope::of_wire).map(Scope::name).collect();
    let last_used = (token.last_used_unix_day > 0)
        .then(|| UtcTime::from_unix_ms(token.last_used_unix_day.saturating_mul(86_400_000)).iso_8601());
    json!({
        "id": token.id,
        "label": token.label,
        "scopes": scopes,
        "created": iso_time(token.created_unix_ms),
        "created_by": token.created_by,
        "expires": iso_time(token.expires_unix_ms),
        // To the day.
        "last_used": last_used.and_then(|time| time.split('T').next().map(str::to_owned)),
        "cost_per_second": (token.cost_per_second > 0.0).then_some(token.cost_per_second),
    })
}
