//! What can be changed: which version is live, and jobs. The coordinators judge whether the caller may.

use std::time::Duration;

use axum::{
    extract::{FromRequestParts, RawQuery},
    http::{StatusCode, request::Parts},
    response::Json,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use shoal_common::cluster_client::Started;
use shoal_core::ModelKind;
use shoal_proto::v1::{
    DatasetInfo, DatasetSource, ImportDatasetRequest, ModelParameters, StartTrainingRequest,
    model_parameters::Model,
};
use utoipa::{IntoResponses, ToSchema};

use super::{
    coordinators::Asking,
    origin,
    reads::{Name, name_of, no_version},
    views::{Job, LiveVersions},
};
use crate::http::{
    answers::ErrorAnswer,
    api::Api,
    error::HttpError,
    openapi::{NotFound, Refusals},
    parameters::Parameters,
    requests::Body,
};

/// How long a promotion is waited for. A connection on which nothing is sent ends after two minutes.
const PROMOTION_MAX: Duration = Duration::from_secs(90);
/// Share of rejected rows above which an import fails where the request does not say, as of the command line.
const BAD_ROWS_RATIO_MAX: f64 = 0.001;

/// The coordinators, for a change that whoever asks for it means.
#[derive(Debug)]
pub(super) struct Changing(Asking);

impl FromRequestParts<Api> for Changing {
    type Rejection = HttpError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, HttpError> {
        if let Some(reason) = api.coordinators.takes_no_changes() {
            return Err(HttpError::of(StatusCode::FORBIDDEN, reason.to_owned()));
        }
        origin::check(&parts.headers, &parts.uri, &api.cors_origins)?;
        Asking::from_request_parts(parts, api).await.map(Self)
    }
}

/// Refusals of changes beside those of questions.
#[derive(Debug, IntoResponses)]
#[allow(dead_code, reason = "it describes answers")]
pub(super) enum ChangeRefusals {
    /// The cluster is in no state for it.
    #[response(status = 409)]
    Conflict(ErrorAnswer),
    /// The body is not said to be JSON.
    #[response(status = 415)]
    NotJson(ErrorAnswer),
}

/// Reads a body; an empty one has no fields.
fn read<T: DeserializeOwned>(body: Body) -> Result<T, HttpError> {
    let body = body.map_err(|rejection| HttpError::body(&rejection))?;
    let text = if body.trim().is_empty() { "{}" } else { &body };
    // A list of values would be read as the fields in their order.
    if !text.trim_start().starts_with('{') {
        return Err(HttpError::bad_request("the body must be a JSON object".to_owned()));
    }
    serde_json::from_str(text)
        .map_err(|error| HttpError::bad_request(format!("the body cannot be read: {error}")))
}

/// How a version is made live.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "make_default": false }))]
pub(super) struct PromoteBody {
    /// Let its model answer queries that name no model; the first model with a live version does so anyhow.
    #[serde(default)]
    make_default: bool,
}

/// Makes a version the live one of its model. As `shoal models promote`: it answers when routers answer from the version, but
/// for those that `late_routers` names. After 90 seconds it answers 504, and the promotion goes on.
#[utoipa::path(
    post, path = "/admin/v1/models/{version}/promote", tag = "admin",
    params(("version" = String, Path, description = "The version's name", example = "als_model_v1_20261124_101500")),
    request_body = PromoteBody,
    responses((status = 200, body = LiveVersions), Refusals, NotFound, ChangeRefusals),
)]
pub(super) async fn promote(
    Changing(asking): Changing,
    version: Name,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Json<LiveVersions>, HttpError> {
    Parameters::none(query.as_deref())?;
    let (version, body) = (name_of(version)?, read::<PromoteBody>(body)?);
    within(async { Ok((&asking.client.promote(&version, body.make_default).await?).into()) }).await
}

/// Which model goes back.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "model": ModelKind::Als.name() }))]
pub(super) struct RollbackBody {
    /// The default model where none is named.
    model: Option<String>,
}

/// Makes a model's previous version the live one again. As `shoal models rollback`.
#[utoipa::path(
    post, path = "/admin/v1/models/rollback", tag = "admin", request_body = RollbackBody,
    responses((status = 200, body = LiveVersions), Refusals, NotFound, ChangeRefusals),
)]
pub(super) async fn rollback(
    Changing(asking): Changing,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Json<LiveVersions>, HttpError> {
    Parameters::none(query.as_deref())?;
    let model = read::<RollbackBody>(body)?.model.map(|name| model_of(&name)).transpose()?;
    within(async { Ok((&asking.client.rollback(model.map(ModelKind::folder)).await?).into()) }).await
}

async fn within<T>(change: impl Future<Output = Result<T, HttpError>>) -> Result<Json<T>, HttpError> {
    match tokio::time::timeout(PROMOTION_MAX, change).await {
        Ok(changed) => changed.map(Json),
        Err(_) => Err(HttpError::of(
            StatusCode::GATEWAY_TIMEOUT,
            "workers still load the version, which goes on; GET /admin/v1/status says when it is live"
                .to_owned(),
        )),
    }
}

fn model_of(name: &str) -> Result<ModelKind, HttpError> {
    ModelKind::parse(name).map_err(|error| HttpError::invalid("model", &error.to_string()))
}

/// No fields.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({}))]
pub(super) struct NothingBody {}

/// Cancels a job; one that is over stays as it is. As `shoal jobs cancel`.
#[utoipa::path(
    post, path = "/admin/v1/jobs/{job_id}/cancel", tag = "admin",
    params(("job_id" = String, Path, description = "The job's id", example = "train-20261124-101500")),
    request_body = NothingBody,
    responses((status = 200, body = Job), Refusals, NotFound, ChangeRefusals),
)]
pub(super) async fn cancel(
    Changing(asking): Changing,
    job_id: Name,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Json<Job>, HttpError> {
    Parameters::none(query.as_deref())?;
    let NothingBody {} = read(body)?;
    Ok(Json((&asking.client.cancel(&name_of(job_id)?).await?).into()))
}

/// A job that goes on, or a version that was there before.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct StartedJob {
    /// The job; null where a version is answered instead.
    job_id: Option<String>,
    /// A version that was trained alike before.
    existing_version: Option<String>,
}

/// What is trained. Parameters are those of the version `like`, or what the command line trains by default, with the changes
/// that are given.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "dataset": "clicks", "model": ModelKind::Als.name(), "rank": 64 }))]
pub(super) struct TrainingBody {
    /// Name of the data set.
    dataset: String,
    /// Its newest version where none is named.
    dataset_version: Option<String>,
    /// `als`, `item_cf`, `content` or `ease`; the model of `like` where that is given. A hybrid is trained like another one.
    model: Option<String>,
    /// Train with the parameters of this version.
    like: Option<String>,
    /// Elements of a factor row, of ALS.
    #[schema(minimum = 1, maximum = 4096)]
    rank: Option<u32>,
    /// Sweeps over users and items, of ALS.
    #[schema(minimum = 1, maximum = 10000)]
    sweeps: Option<u32>,
    /// Similar items kept per item, of the other models.
    #[schema(minimum = 1, maximum = 10000)]
    neighbours: Option<u32>,
    /// Share of the pairs that are held out and measured on.
    #[schema(minimum = 0, maximum = 1)]
    test_ratio: Option<f64>,
    /// Of the starting factors and of what is held out.
    seed: Option<u64>,
    /// Make the version live when it is trained, which needs the scope `admin`.
    #[serde(default)]
    promote: bool,
    /// Answer a version that was trained alike before instead of training it again.
    #[serde(default)]
    reuse: bool,
}

/// Starts a training. As `shoal train --detach`, of one model.
#[utoipa::path(
    post, path = "/admin/v1/jobs/training", tag = "admin", request_body = TrainingBody,
    responses((status = 200, body = StartedJob), Refusals, NotFound, ChangeRefusals),
)]
pub(super) async fn train(
    api: Api,
    Changing(asking): Changing,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Json<StartedJob>, HttpError> {
    Parameters::none(query.as_deref())?;
    let body: TrainingBody = read(body)?;
    let dataset = newest(asking.client.datasets().await?, &body)?;
    let mut parameters = match &body.like {
        Some(like) => {
            let versions = asking.client.models().await?;
            let version = versions.into_iter().find(|version| version.name == *like);
            let version = version.ok_or_else(|| no_version(like))?;
            version.model_parameters.ok_or_else(|| {
                HttpError::invalid("like", "the version does not say what it was trained with; name another")
            })?
        }
        None => {
            let kind = model_of(body.model.as_deref().ok_or_else(|| {
                HttpError::invalid("model", "it is missing; name a model, or a version with 'like'")
            })?)?;
            api.coordinators.training_defaults(kind, &dataset).ok_or_else(|| {
                HttpError::invalid(
                    "model",
                    &format!(
                        "there are no defaults of {kind}; name a version with 'like', or use `shoal train`"
                    ),
                )
            })?
        }
    };
    body.change(&mut parameters)?;
    let request = StartTrainingRequest {
        dataset_name: dataset.name,
        dataset_version: dataset.version,
        model: Some(parameters),
        promote: body.promote,
        ..StartTrainingRequest::default()
    };
    let started = match body.reuse {
        true => asking.client.start_or_reuse(request).await?,
        false => Started::Job(asking.client.start_training(request).await?),
    };
    Ok(Json(match started {
        Started::Job(job_id) => StartedJob { job_id: Some(job_id), existing_version: None },
        Started::Existing(version) => StartedJob { job_id: None, existing_version: Some(version) },
    }))
}

/// The data set that a training names.
fn newest(datasets: Vec<DatasetInfo>, body: &TrainingBody) -> Result<DatasetInfo, HttpError> {
    let is_named = |dataset: &DatasetInfo| {
        dataset.name == body.dataset
            && body.dataset_version.as_ref().is_none_or(|version| dataset.version == *version)
    };
    let named = datasets.into_iter().filter(is_named);
    named.max_by_key(|dataset| dataset.created_unix_ms).ok_or_else(|| {
        HttpError::not_found(format!(
            "there is no data set '{}'; GET /admin/v1/datasets lists them",
            body.dataset
        ))
    })
}

impl TrainingBody {
    /// Changes what is given. What a model does not have is refused.
    fn change(&self, parameters: &mut ModelParameters) -> Result<(), HttpError> {
        if let (Some(named), Some(model)) = (&self.model, &parameters.model) {
            let (named, kind) = (model_of(named)?, shoal_common::model_parameters::kind_of(model));
            if named != kind {
                let reason = format!("it is {named}, and the version 'like' is of {kind}; leave one out");
                return Err(HttpError::invalid("model", &reason));
            }
        }
        let split = parameters.split.get_or_insert_default();
        split.test_ratio = self.test_ratio.unwrap_or(split.test_ratio);
        split.seed = self.seed.unwrap_or(split.seed);
        let (als, neighbours) = match &mut parameters.model {
            Some(Model::Als(als)) => (Some((&mut als.rank, &mut als.sweeps)), None),
            Some(Model::ItemCf(model)) => (None, Some(&mut model.neighbours)),
            Some(Model::Content(model)) => (None, Some(&mut model.neighbours)),
            Some(Model::Ease(model)) => (None, Some(&mut model.neighbours)),
            Some(Model::Hybrid(_)) | None => (None, None),
        };
        let has_not = |name: &str| HttpError::invalid(name, "the model has no such parameter; leave it out");
        match (als, self.rank, self.sweeps) {
            (Some((rank, sweeps)), new_rank, new_sweeps) => {
                *rank = new_rank.unwrap_or(*rank);
                *sweeps = new_sweeps.unwrap_or(*sweeps);
            }
            (None, Some(_), _) => return Err(has_not("rank")),
            (None, _, Some(_)) => return Err(has_not("sweeps")),
            (None, None, None) => {}
        }
        match (neighbours, self.neighbours) {
            (Some(neighbours), Some(new)) => *neighbours = new,
            (None, Some(_)) => return Err(has_not("neighbours")),
            (_, None) => {}
        }
        Ok(())
    }
}

/// What is imported. Everything that is not given is found out from the first rows.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({ "name": "ml-latest-small", "source": "s3://bucket/ml-latest-small/" }))]
pub(super) struct ImportBody {
    /// Name of the data set.
    name: String,
    /// A folder or a file: an absolute path that workers may read, `file://` or `s3://`.
    source: String,
    /// Shards of each side; 16 by default.
    #[schema(minimum = 1, maximum = 4096)]
    shard_count: Option<u32>,
    /// Share of rejected rows above which nothing is imported; 0.001 by default.
    #[schema(minimum = 0, maximum = 1)]
    bad_rows_ratio_max: Option<f64>,
    /// Ratings below it are rejected; given with `rating_max`.
    rating_min: Option<f64>,
    /// Ratings above it are rejected; given with `rating_min`.
    rating_max: Option<f64>,
    /// Columns of a file of one's own.
    user_column: Option<String>,
    item_column: Option<String>,
    rating_column: Option<String>,
    time_column: Option<String>,
}

/// Starts an import. As `shoal dataset import --detach`; what else that can be told is for the command line.
#[utoipa::path(
    post, path = "/admin/v1/jobs/import", tag = "admin", request_body = ImportBody,
    responses((status = 200, body = StartedJob), Refusals, NotFound, ChangeRefusals),
)]
pub(super) async fn import(
    Changing(asking): Changing,
    RawQuery(query): RawQuery,
    body: Body,
) -> Result<Json<StartedJob>, HttpError> {
    Parameters::none(query.as_deref())?;
    let body: ImportBody = read(body)?;
    if body.shard_count == Some(0) {
        return Err(HttpError::invalid(
            "shard_count",
            "it is 0; give a number from 1 to 4096, or leave it out",
        ));
    }
    let source = DatasetSource {
        uri: body.source,
        bad_rows_ratio_max: body.bad_rows_ratio_max.unwrap_or(BAD_ROWS_RATIO_MAX),
        rating_min: body.rating_min.unwrap_or_default(),
        rating_max: body.rating_max.unwrap_or_default(),
        user_column: body.user_column.unwrap_or_default(),
        item_column: body.item_column.unwrap_or_default(),
        rating_column: body.rating_column.unwrap_or_default(),
        time_column: body.time_column.unwrap_or_default(),
        ..DatasetSource::default()
    };
    let request = ImportDatasetRequest {
        name: body.name,
        source: Some(source),
        shard_count: body.shard_count.unwrap_or_default(),
        ..ImportDatasetRequest::default()
    };
    let job_id = asking.client.start_import(request).await?;
    Ok(Json(StartedJob { job_id: Some(job_id), existing_version: None }))
}
