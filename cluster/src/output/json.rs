//! Messages of the wire as JSON for scripts: field names as in the protos, names for enumerations,
//! ISO 8601 for times, `null` for what is not known.

use serde_json::{Map, Value, json};
use shoal_common::{
    access::Scope,
    clock::UtcTime,
    readable::{evaluation_json, filter_json, held_out_json, parameters_json, short_name as name},
    split,
};
use shoal_proto::v1::{
    ClusterStatus, DatasetInfo, HybridModel, HybridSource, IdKind, JobInfo, JobKind, JobState, KnownNode,
    LeftOutWorker, ListsInfo, ModelVersion, NodeHealth, NodeInfo, NodeRole, Protection, ServedModel,
    StartListsRequest, SweepMetrics, TokenInfo, UnreachableWorker, VersionState,
};

use super::{import_report::import_report_json, status::loss};

/// A Unix time as ISO 8601, `null` for none.
#[must_use]
pub fn iso_time(unix_ms: i64) -> Value {
    if unix_ms == 0 { Value::Null } else { UtcTime::from_unix_ms(unix_ms).iso_8601().into() }
}

/// A text, `null` for an empty one.
pub(super) fn text(value: &str) -> Value {
    if value.is_empty() { Value::Null } else { value.into() }
}

/// A data set, as `--json` prints it.
#[must_use]
pub fn dataset(info: &DatasetInfo) -> Value {
    let kind = |kind: IdKind| name(kind.as_str_name(), "ID_KIND_");
    json!({
        "name": info.name,
        "version": info.version,
        "users": info.users,
        "items": info.items,
        "ratings": info.ratings,
        "catalogue_items": info.catalogue_items,
        "tags": info.tags,
        "genome_items": info.genome_items,
        "rating_min": info.rating_min,
        "rating_max": info.rating_max,
        "rating_mean": info.rating_mean,
        "user_id_kind": kind(info.user_id_kind()),
        "item_id_kind": kind(info.item_id_kind()),
        "shard_count": info.shard_count,
        "path": info.path,
        "manifest_checksum": info.manifest_checksum,
        "created": iso_time(info.created_unix_ms),
        "source_uri": info.source_uri,
        "report": info
            .report
            .as_ref()
            .map(|report| import_report_json(report, info.user_id_kind(), info.item_id_kind())),
    })
}

/// What was measured after a sweep; objectives that were not trained, or not measured, are `null`.
#[must_use]
pub fn sweep_metrics(metrics: &SweepMetrics) -> Value {
    json!({
        "sweep": metrics.sweep,
        "seconds": metrics.seconds,
        "work": metrics.work.as_ref().map(|work| json!({
            "solve_seconds": work.solve_seconds,
            "exchange_wait_seconds": work.exchange_wait_seconds,
            "bytes_sent": work.bytes_sent,
            "bytes_needed": work.bytes_needed,
        })),
        "rating": metrics.rating.as_ref().map(|rating| json!({
            "pairs": rating.pairs, "rmse": rating.rmse, "mae": rating.mae, "mse": rating.mse, "r2": rating.r2,
        })),
        "ranking": metrics.ranking.as_ref().map(|ranking| json!({
            "users": ranking.users,
            "recall_at_20": ranking.recall_at_20,
            "ndcg_at_20": ranking.ndcg_at_20,
            "popularity_recall_at_20": ranking.popularity_recall_at_20,
            "popularity_ndcg_at_20": ranking.popularity_ndcg_at_20,
            "users_in_all": ranking.users_in_all.max(ranking.users),
            "recall_at_20_half_width": ranking.recall_at_20_half_width,
            "ndcg_at_20_half_width": ranking.ndcg_at_20_half_width,
        })),
    })
}

/// What a hybrid blends, and by which weights.
fn sources(hybrid: &HybridModel) -> Value {
    let source = |source: &HybridSource| json!({"model": source.model, "version": text(&source.version), "weight": source.weight});
    json!({
        "weights_given": hybrid.weights_given,
        "blended": hybrid.sources.iter().map(source).collect::<Vec<_>>(),
    })
}

/// A model version, as `--json` prints it.
#[must_use]
pub fn model(version: &ModelVersion) -> Value {
    let state: VersionState = version.state();
    json!({
        "name": version.name,
        "model": version.model,
        "state": name(state.as_str_name(), "VERSION_STATE_"),
        "dataset": version.dataset_name,
        "dataset_version": version.dataset_version,
        "parameters": version.model_parameters.as_ref().map(parameters_json),
        "protocol": version.imported_from.is_empty().then(|| split::protocol(&split::of_version(version))),
        "evaluation": version.evaluation.as_ref().map(evaluation_json),
        "remarks": version.remarks,
        "test_file": version.held_out.as_ref().map(held_out_json),
        "sources": version.hybrid.as_ref().map(sources),
        "metrics": version.metrics.as_ref().map(sweep_metrics),
        "rating_mean": version.rating_mean,
        "training_seconds": version.training_seconds,
        "created": iso_time(version.created_unix_ms),
        "job_id": text(&version.job_id),
        "imported_from": text(&version.imported_from),
        "path": version.path,
        "manifest_checksum": version.manifest_checksum,
    })
}

/// What a job has taken, without its time in the queue. Releases before did not say it of jobs: there it is the sum of
/// the phases.
#[must_use]
pub fn job_seconds(info: &JobInfo) -> f64 {
    if info.seconds > 0.0 { info.seconds } else { info.phase_seconds.values().sum() }
}

/// A job as `jobs show --json` prints it.
#[must_use]
pub fn job(info: &JobInfo) -> Value {
    let (kind, state): (JobKind, JobState) = (info.kind(), info.state());
    let seconds: Map<String, Value> =
        info.phase_seconds.iter().map(|(phase, seconds)| (phase.clone(), (*seconds).into())).collect();
    let training = info.training.as_ref();
    let dataset_name = training
        .map(|training| training.dataset_name.as_str())
        .or(info.import.as_ref().map(|import| import.name.as_str()));
    json!({
        "job_id": info.job_id,
        "kind": name(kind.as_str_name(), "JOB_KIND_"),
        "state": name(state.as_str_name(), "JOB_STATE_"),
        "attempt": info.attempt,
        "phase": info.phase,
        "progress": info.progress,
        "remaining_seconds": info.remaining_seconds,
        "error": text(&info.error),
        "created": iso_time(info.created_unix_ms),
        "finished": iso_time(info.finished_unix_ms),
        "dataset_name": dataset_name,
        "submitter": text(&info.submitter),
        "parameters": training.and_then(|training| training.model.as_ref()).map(parameters_json),
        "committed_sweeps": info.committed_sweeps,
        "sweeps": info.sweeps.iter().map(sweep_metrics).collect::<Vec<_>>(),
        "dataset": info.dataset.as_ref().map(dataset),
        "model_version": text(&info.model_version),
        "seconds": job_seconds(info),
        "lists": info.lists.as_ref().map(lists),
        "listed": info.listed.as_ref().map(listed),
        "phase_seconds": seconds,
        "left_out": info.left_out.iter().map(left_out).collect::<Vec<_>>(),
    })
}

fn left_out(left_out: &LeftOutWorker) -> Value {
    json!({ "attempt": left_out.attempt, "worker": left_out.node, "reason": left_out.reason })
}

fn lists(request: &StartListsRequest) -> Value {
    let parameters = request.parameters.clone().unwrap_or_default();
    let columns = parameters.columns().map(|column| name(column.as_str_name(), "LISTS_COLUMN_"));
    json!({
        "model_version": request.version,
        "n": parameters.n,
        "rank_by": name(parameters.rank_by().as_str_name(), "RANK_BY_"),
        "include_seen": parameters.include_seen,
        "known_users_only": parameters.known_users_only,
        "filter": parameters.filter.as_ref().map(filter_json),
        "users_uri": text(&parameters.users_uri),
        "out_uri": text(&parameters.out_uri),
        "format": name(parameters.format().as_str_name(), "LISTS_FORMAT_"),
        "columns": columns.collect::<Vec<_>>(),
    })
}

fn listed(listed: &ListsInfo) -> Value {
    json!({
        "uri": listed.uri,
        "manifest_checksum": listed.manifest_checksum,
        "users": listed.users,
        "fallback_users": listed.fallback_users,
        "left_out_users": listed.left_out_users,
        "unknown_ids": listed.unknown_ids,
        "rows": listed.rows,
        "files": listed.files,
        "bytes": listed.bytes,
    })
}

pub(super) fn served(served: &ServedModel) -> Value {
    json!({
        "model": served.model,
        "live_version": text(&served.live_version),
        "previous_version": text(&served.previous_version),
        "promoting_version": text(&served.promoting_version),
    })
}

/// What stands between a node and whoever can reach it; `null` where it does not say.
pub(super) fn protection(protection: Protection) -> Value {
    match protection {
        Protection::Unspecified => Value::Null,
        known => name(known.as_str_name(), "PROTECTION_").into(),
    }
}

fn is_open(protection: Protection) -> bool {
    matches!(protection, Protection::None | Protection::Encryption)
}

/// The nodes that other machines reach and that do not ask who calls, by their names.
#[must_use]
pub fn unprotected(status: &ClusterStatus) -> Vec<String> {
    let coordinators = status.coordinators.iter().filter(|member| is_open(member.protection()));
    let coordinators = coordinators.map(|member| format!("coordinator {}", member.raft_id));
    let nodes = status.metadata.iter().flat_map(|metadata| &metadata.nodes);
    let nodes = nodes.filter(|node| is_open(node.protection())).map(|node| node.name.clone());
    coordinators.chain(nodes).collect()
}

pub(super) fn node(node: &NodeInfo) -> Value {
    let (role, health): (NodeRole, NodeHealth) = (node.role(), node.health());
    json!({
        "name": node.name,
        "role": name(role.as_str_name(), "NODE_ROLE_"),
        "address": node.address,
        "health": name(health.as_str_name(), "NODE_HEALTH_"),
        "threads": node.threads,
        "protection": protection(node.protection()),
    })
}

pub(super) fn unreachable(worker: &UnreachableWorker) -> Value {
    json!({ "worker": worker.node, "reason": worker.reason, "since": iso_time(worker.since_unix_ms) })
}

/// A node as `nodes list --json` prints it.
#[must_use]
pub fn known_node(known: &KnownNode) -> Value {
    let mut json = node(&known.info.clone().unwrap_or_default());
    json["down_since"] = iso_time(known.down_since_unix_ms);
    json["placed_shards"] = known.placed_shards.into();
    json["loss"] = loss(known.loss());
    json
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
