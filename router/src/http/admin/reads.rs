//! What there is to look at: the cluster, its nodes, shards, versions, data sets and jobs.

use axum::{
    extract::{Path, RawQuery, rejection::PathRejection},
    response::Json,
};
use serde::Serialize;
use shoal_common::{cluster_client::ClientError, rules};
use shoal_proto::v1::{DatasetInfo, JobInfo, ModelVersion};
use tonic::Code;
use utoipa::{IntoParams, ToSchema};

use super::{
    coordinators::Asking,
    views::{ClusterState, Dataset, Job, KnownNode, Page, ShardMap, Sweep, Troubles, Version},
};
use crate::{
    http::{
        api::Api,
        error::HttpError,
        openapi::{NotFound, Refusals},
        parameters::Parameters,
    },
    words::Words,
};

/// Entries of a list at most.
const LIMIT_MAX: usize = 1_000;
/// Entries of a list where the request does not say.
const LIMIT: usize = 100;

pub(super) type Name = Result<Path<String>, PathRejection>;

pub(super) fn name_of(name: Name) -> Result<String, HttpError> {
    name.map(|Path(name)| name).map_err(|rejection| HttpError::path(&rejection))
}

/// How long a list may be.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(dead_code, reason = "it describes parameters")]
pub(super) struct LimitQuery {
    /// Entries at most; `total` of the answer says how many there are.
    #[param(minimum = 1, maximum = 1000, default = 100, example = 20)]
    limit: Option<u32>,
}

fn limit_of(query: Option<&str>) -> Result<usize, HttpError> {
    let mut parameters = Parameters::read(query, &Words::OWN)?;
    let given = parameters.text("limit")?;
    parameters.finish()?;
    let Some(given) = given else { return Ok(LIMIT) };
    let limit = given.parse::<usize>().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| {
        HttpError::invalid("limit", &format!("'{given}' is no whole number from 1 to {LIMIT_MAX}"))
    })
}

/// The whole cluster: coordinators, nodes, and what is served. As `shoal status --json`.
#[utoipa::path(
    get, path = "/admin/v1/status", tag = "admin",
    responses((status = 200, body = ClusterState), Refusals),
)]
pub(super) async fn status(
    asking: Asking,
    RawQuery(query): RawQuery,
) -> Result<Json<ClusterState>, HttpError> {
    Parameters::none(query.as_deref())?;
    Ok(Json((&asking.client.status().await?).into()))
}

/// What is wrong, why, and what helps. As `shoal status --why --json`.
#[utoipa::path(
    get, path = "/admin/v1/troubles", tag = "admin",
    responses((status = 200, body = Troubles), Refusals),
)]
pub(super) async fn troubles(
    api: Api,
    asking: Asking,
    RawQuery(query): RawQuery,
) -> Result<Json<Troubles>, HttpError> {
    Parameters::none(query.as_deref())?;
    let found = match asking.client.status().await {
        Ok(status) => {
            let jobs = asking.client.jobs().await?;
            let now_unix_ms = api.coordinators.now_unix_ms();
            rules::findings(&rules::Seen { status: &status, jobs: &jobs, now_unix_ms })
        }
        Err(error @ ClientError::Unreachable { .. }) => vec![rules::no_leader(&error.to_string())],
        Err(error) => return Err(error.into()),
    };
    Ok(Json(found.as_slice().into()))
}

/// Every worker and router that is known. As `shoal nodes list --json`.
#[utoipa::path(
    get, path = "/admin/v1/nodes", tag = "admin", params(LimitQuery),
    responses((status = 200, body = Page<KnownNode>), Refusals),
)]
pub(super) async fn nodes(
    asking: Asking,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<KnownNode>>, HttpError> {
    let limit = limit_of(query.as_deref())?;
    Ok(Json(Page::of(&asking.client.nodes().await?, limit)))
}

/// Which worker has which shard of which version: the owner first, and how far each is.
#[utoipa::path(
    get, path = "/admin/v1/shards", tag = "admin", params(LimitQuery),
    responses((status = 200, body = ShardMap), Refusals),
)]
pub(super) async fn shards(asking: Asking, RawQuery(query): RawQuery) -> Result<Json<ShardMap>, HttpError> {
    let limit = limit_of(query.as_deref())?;
    Ok(Json(ShardMap::new(&asking.client.status().await?, limit)))
}

/// Every version of every model, the newest first. Each is as in `shoal models list --json`.
#[utoipa::path(
    get, path = "/admin/v1/models", tag = "admin", params(LimitQuery),
    responses((status = 200, body = Page<Version>), Refusals),
)]
pub(super) async fn models(
    asking: Asking,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<Version>>, HttpError> {
    let limit = limit_of(query.as_deref())?;
    let mut versions = asking.client.models().await?;
    versions.sort_by(|a, b| (b.created_unix_ms, &b.name).cmp(&(a.created_unix_ms, &a.name)));
    Ok(Json(Page::of(&versions, limit)))
}

/// A version with what was measured after each sweep of its training.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct VersionInFull {
    #[serde(flatten)]
    version: Version,
    /// Null where the cluster no longer remembers the job that trained it, or another cluster did.
    sweeps: Option<Vec<Sweep>>,
}

/// One version. As `shoal models show --json`, with the sweeps of its training.
#[utoipa::path(
    get, path = "/admin/v1/models/{version}", tag = "admin",
    params(("version" = String, Path, description = "The version's name", example = "als_model_v1_20261124_101500")),
    responses((status = 200, body = VersionInFull), Refusals, NotFound),
)]
pub(super) async fn model(
    asking: Asking,
    version: Name,
    RawQuery(query): RawQuery,
) -> Result<Json<VersionInFull>, HttpError> {
    Parameters::none(query.as_deref())?;
    let name = name_of(version)?;
    let versions = asking.client.models().await?;
    let found = versions.iter().find(|version| version.name == name).ok_or_else(|| no_version(&name))?;
    let sweeps = sweeps_of(&asking, found).await?;
    Ok(Json(VersionInFull { version: found.into(), sweeps }))
}

pub(super) fn no_version(name: &str) -> HttpError {
    HttpError::not_found(format!("there is no version '{name}'; GET /admin/v1/models lists them"))
}

async fn sweeps_of(asking: &Asking, version: &ModelVersion) -> Result<Option<Vec<Sweep>>, HttpError> {
    if version.job_id.is_empty() {
        return Ok(None);
    }
    match asking.client.job(&version.job_id).await {
        Ok(job) => Ok(Some(job.sweeps.iter().map(Sweep::from).collect())),
        // The last thousand jobs are remembered.
        Err(error) if error.code() == Code::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The newest first.
async fn datasets_of(asking: &Asking) -> Result<Vec<DatasetInfo>, HttpError> {
    let mut datasets = asking.client.datasets().await?;
    datasets.sort_by(|a, b| (b.created_unix_ms, &b.version).cmp(&(a.created_unix_ms, &a.version)));
    Ok(datasets)
}

/// Every version of every data set, the newest first. Each is as in `shoal dataset list --json`.
#[utoipa::path(
    get, path = "/admin/v1/datasets", tag = "admin", params(LimitQuery),
    responses((status = 200, body = Page<Dataset>), Refusals),
)]
pub(super) async fn datasets(
    asking: Asking,
    RawQuery(query): RawQuery,
) -> Result<Json<Page<Dataset>>, HttpError> {
    let limit = limit_of(query.as_deref())?;
    Ok(Json(Page::of(&datasets_of(&asking).await?, limit)))
}

/// A data set of a name.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DatasetInFull {
    #[serde(flatten)]
    dataset: Dataset,
    /// All versions of this name, the newest first.
    versions: Vec<String>,
}

/// The newest version of a data set, or the one that is named, with the report of its import.
#[utoipa::path(
    get, path = "/admin/v1/datasets/{name}", tag = "admin",
    params(
        ("name" = String, Path, description = "The data set's name", example = "ml-latest-small"),
        ("version" = Option<String>, Query, description = "Its version; the newest by default", example = "20261124_101500"),
    ),
    responses((status = 200, body = DatasetInFull), Refusals, NotFound),
)]
pub(super) async fn dataset(
    asking: Asking,
    name: Name,
    RawQuery(query): RawQuery,
) -> Result<Json<DatasetInFull>, HttpError> {
    let mut parameters = Parameters::read(query.as_deref(), &Words::OWN)?;
    let version = parameters.text("version")?;
    parameters.finish()?;
    let name = name_of(name)?;
    let mut of_name = datasets_of(&asking).await?;
    of_name.retain(|dataset| dataset.name == name);
    let wanted = |dataset: &&DatasetInfo| version.as_ref().is_none_or(|version| dataset.version == *version);
    let found = of_name.iter().find(wanted).ok_or_else(|| {
        let version = version.as_ref().map(|version| format!("@{version}")).unwrap_or_default();
        HttpError::not_found(format!(
            "there is no data set '{name}{version}'; GET /admin/v1/datasets lists them"
        ))
    })?;
    let versions = of_name.iter().map(|dataset| dataset.version.clone()).collect();
    Ok(Json(DatasetInFull { dataset: found.into(), versions }))
}

/// Every job that goes on or waits, and the last thousand that are over; the newest first. Each is as in `shoal jobs list
/// --json`.
#[utoipa::path(
    get, path = "/admin/v1/jobs", tag = "admin", params(LimitQuery),
    responses((status = 200, body = Page<Job>), Refusals),
)]
pub(super) async fn jobs(asking: Asking, RawQuery(query): RawQuery) -> Result<Json<Page<Job>>, HttpError> {
    let limit = limit_of(query.as_deref())?;
    let mut jobs = asking.client.jobs().await?;
    newest_first(&mut jobs);
    Ok(Json(Page::of(&jobs, limit)))
}

pub(super) fn newest_first(jobs: &mut [JobInfo]) {
    jobs.sort_by(|a, b| (b.created_unix_ms, &b.job_id).cmp(&(a.created_unix_ms, &a.job_id)));
}

/// One job. As `shoal jobs show --json`.
#[utoipa::path(
    get, path = "/admin/v1/jobs/{job_id}", tag = "admin",
    params(("job_id" = String, Path, description = "The job's id", example = "train-20261124-101500")),
    responses((status = 200, body = Job), Refusals, NotFound),
)]
pub(super) async fn job(
    asking: Asking,
    job_id: Name,
    RawQuery(query): RawQuery,
) -> Result<Json<Job>, HttpError> {
    Parameters::none(query.as_deref())?;
    Ok(Json((&asking.client.job(&name_of(job_id)?).await?).into()))
}
