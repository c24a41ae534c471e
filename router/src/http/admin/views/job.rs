//! Jobs: imports, trainings and lists.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use shoal_common::readable::{filter_json, parameters_json, short_name};
use shoal_proto::v1::{JobInfo, LeftOutWorker, ListsInfo, StartListsRequest};
use utoipa::ToSchema;

use super::{Dataset, Sweep, iso_time, text};

/// A job.
#[derive(Debug, Serialize, ToSchema)]
pub struct Job {
    job_id: String,
    /// `import`, `training` or `lists`.
    kind: String,
    /// `queued`, `running`, `succeeded`, `failed` or `cancelled`.
    state: String,
    attempt: u32,
    /// What it is doing now, in words.
    phase: String,
    /// Of the whole job.
    #[schema(minimum = 0, maximum = 1)]
    progress: f64,
    /// How long the rest will take at the rate so far; null while it is not known.
    remaining_seconds: Option<f64>,
    /// Why it failed, with the remedy.
    error: Option<String>,
    created: Option<String>,
    finished: Option<String>,
    dataset_name: Option<String>,
    /// Who asked for it; null where nobody proves who they are.
    submitter: Option<String>,
    /// What is trained; the fields depend on the model.
    #[schema(value_type = Option<Object>)]
    parameters: Option<Value>,
    /// Sweeps whose checkpoint is committed.
    committed_sweeps: u32,
    sweeps: Vec<Sweep>,
    /// What came of an import.
    dataset: Option<Dataset>,
    /// What came of a training.
    model_version: Option<String>,
    /// What its attempts have taken, without the time in the queue.
    seconds: f64,
    lists: Option<ListsAsked>,
    listed: Option<Listed>,
    /// Seconds by phase, over all attempts.
    phase_seconds: BTreeMap<String, f64>,
    /// Workers that attempts went on without.
    left_out: Vec<LeftOut>,
}

/// What a job has taken, without its time in the queue. Releases before did not say it of jobs: there it is the sum of
/// the phases.
#[must_use]
pub fn job_seconds(info: &JobInfo) -> f64 {
    if info.seconds > 0.0 { info.seconds } else { info.phase_seconds.values().sum() }
}

impl From<&JobInfo> for Job {
    fn from(info: &JobInfo) -> Self {
        let training = info.training.as_ref();
        let dataset_name = training
            .map(|training| &training.dataset_name)
            .or(info.import.as_ref().map(|import| &import.name));
        Self {
            job_id: info.job_id.clone(),
            kind: short_name(info.kind().as_str_name(), "JOB_KIND_"),
            state: short_name(info.state().as_str_name(), "JOB_STATE_"),
            attempt: info.attempt,
            phase: info.phase.clone(),
            progress: info.progress,
            remaining_seconds: info.remaining_seconds,
            error: text(&info.error),
            created: iso_time(info.created_unix_ms),
            finished: iso_time(info.finished_unix_ms),
            dataset_name: dataset_name.cloned(),
            submitter: text(&info.submitter),
            parameters: training.and_then(|training| training.model.as_ref()).map(parameters_json),
            committed_sweeps: info.committed_sweeps,
            sweeps: info.sweeps.iter().map(Sweep::from).collect(),
            dataset: info.dataset.as_ref().map(Dataset::from),
            model_version: text(&info.model_version),
            seconds: job_seconds(info),
            lists: info.lists.as_ref().map(ListsAsked::from),
            listed: info.listed.as_ref().map(Listed::from),
            phase_seconds: info.phase_seconds.clone().into_iter().collect(),
            left_out: info.left_out.iter().map(LeftOut::from).collect(),
        }
    }
}

/// A worker that an attempt went on without.
#[derive(Debug, Serialize, ToSchema)]
struct LeftOut {
    attempt: u32,
    worker: String,
    reason: String,
}

impl From<&LeftOutWorker> for LeftOut {
    fn from(left_out: &LeftOutWorker) -> Self {
        let LeftOutWorker { attempt, node, reason } = left_out.clone();
        Self { attempt, worker: node, reason }
    }
}

/// Which lists a job writes.
#[derive(Debug, Serialize, ToSchema)]
struct ListsAsked {
    model_version: String,
    n: u32,
    rank_by: String,
    include_seen: bool,
    known_users_only: bool,
    /// Conditions on the items; those that were not given are left out.
    #[schema(value_type = Option<Object>)]
    filter: Option<Value>,
    users_uri: Option<String>,
    out_uri: Option<String>,
    format: String,
    columns: Vec<String>,
}

impl From<&StartListsRequest> for ListsAsked {
    fn from(request: &StartListsRequest) -> Self {
        let parameters = request.parameters.clone().unwrap_or_default();
        let columns = parameters.columns().map(|column| short_name(column.as_str_name(), "LISTS_COLUMN_"));
        Self {
            model_version: request.version.clone(),
            n: parameters.n,
            rank_by: short_name(parameters.rank_by().as_str_name(), "RANK_BY_"),
            include_seen: parameters.include_seen,
            known_users_only: parameters.known_users_only,
            filter: parameters.filter.as_ref().map(filter_json),
            users_uri: text(&parameters.users_uri),
            out_uri: text(&parameters.out_uri),
            format: short_name(parameters.format().as_str_name(), "LISTS_FORMAT_"),
            columns: columns.collect(),
        }
    }
}

/// The lists that a job wrote.
#[derive(Debug, Serialize, ToSchema)]
struct Listed {
    uri: String,
    manifest_checksum: String,
    users: u64,
    fallback_users: u64,
    left_out_users: u64,
    unknown_ids: u64,
    rows: u64,
    files: u64,
    bytes: u64,
}

impl From<&ListsInfo> for Listed {
    fn from(listed: &ListsInfo) -> Self {
        Self {
            uri: listed.uri.clone(),
            manifest_checksum: listed.manifest_checksum.clone(),
            users: listed.users,
            fallback_users: listed.fallback_users,
            left_out_users: listed.left_out_users,
            unknown_ids: listed.unknown_ids,
            rows: listed.rows,
            files: listed.files,
            bytes: listed.bytes,
        }
    }
}
