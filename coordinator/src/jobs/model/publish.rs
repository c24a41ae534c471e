//! A version's folder and its place in the registry.

use bytes::Bytes;
use serde_json::{Value, json};
use shoal_common::{
    clock::UtcTime,
    readable::{evaluation_json, held_out_json, parameters_json},
    split,
    store::{METADATA_FILE, Manifest, join, model_path},
};
use shoal_proto::v1::{
    DatasetInfo, Evaluation, HybridLearning, HybridModel, JobInfo, ModelParameters, ModelVersion, ModelWrite,
    ObjectEntry, model_parameters::Model, update_job::Update,
};

use super::{Made, Run};
use crate::{
    jobs::{
        error::{JobError, with_causes},
        remarks,
        tracker::Tracker,
    },
    leader::Leader,
    state::{Job, model_of, stamp_of, version_name},
};

/// The short file for people and scripts beside the full one.
pub(in crate::jobs) const MODEL_INFO_FILE: &str = "model_info.json";

/// The version's name: it follows from the job, so that every attempt writes the same folder.
pub(in crate::jobs) fn name_of(info: &JobInfo) -> String {
    version_name(info.training.as_ref().map_or("als", model_of), &stamp_of(info))
}

/// The folder that a training writes its version to.
pub(in crate::jobs) fn folder_of(info: &JobInfo) -> String {
    model_path(info.training.as_ref().map_or("als", model_of), &name_of(info))
}

/// Writes the version's folder, the manifest last, and registers it.
pub(in crate::jobs) async fn publish(
    run: &Run<'_>,
    job: &mut Job,
    parameters: ModelParameters,
    made: Made,
    tracker: &mut Tracker,
) -> Result<(), JobError> {
    tracker.begin("publishing", "publishing", (0.97, 1.0));
    let info = job.info.clone();
    let holds_out = parameters.split.as_ref().is_some_and(split::holds_out);
    let mut version = ModelVersion {
        name: name_of(&info),
        model: info.training.as_ref().map_or("als", model_of).to_owned(),
        path: folder_of(&info),
        dataset_name: run.dataset.name.clone(),
        dataset_version: run.dataset.version.clone(),
        rating_mean: made.rating_mean,
        rating_slope: made.rating_slope,
        hybrid: made.hybrid,
        evaluation: Some(made.evaluation),
        held_out: made.held_out,
        created_unix_ms: info.created_unix_ms,
        job_id: info.job_id.clone(),
        training_seconds: tracker.seconds(),
        model_parameters: Some(parameters),
        ..ModelVersion::default()
    };
    version.remarks = made.remarks;
    version.remarks.extend(remarks::of_measuring(&version, holds_out));
    version.remarks.extend(remarks::of_lists(&version, &run.dataset));
    // A blend keeps nothing per shard: what it blends is in the folders of its versions.
    let mut objects = match version.hybrid {
        Some(_) => Vec::new(),
        None => run.objects(ModelWrite { path: version.path.clone() }, tracker).await?,
    };
    let store = &run.leader.store;
    let workers = run.crew.workers.len();
    for (name, json) in [
        (METADATA_FILE, metadata(&version, &run.dataset, workers)),
        (MODEL_INFO_FILE, model_info(&version, &run.dataset)),
    ] {
        let entry = store.put(&join(&version.path, name), Bytes::from(format!("{json:#}\n"))).await?;
        objects.push(ObjectEntry { path: name.to_owned(), ..entry });
    }
    version.manifest_checksum = Manifest::new("model", objects).write(store, &version.path).await?;
    run.leader.update_job(&info.job_id, Update::VersionPublished(version.clone())).await?;
    point_latest(run.leader, &version.model, &version.name).await;
    job.info.model_version = version.name;
    Ok(())
}

/// The link is for people who look into the store: a version without it is as good.
pub(in crate::jobs) async fn point_latest(leader: &Leader, model: &str, version: &str) {
    let link = format!("models/{model}/model_latest");
    if let Err(error) = leader.store.point_latest(&link, version).await {
        tracing::warn!(link, error = with_causes(&error), "the link was not set");
    }
}

fn metadata(version: &ModelVersion, dataset: &DatasetInfo, workers: usize) -> Value {
    let is_content = matches!(
        version.model_parameters.as_ref().and_then(|parameters| parameters.model.as_ref()),
        Some(Model::Content(_))
    );
    json!({
        "name": version.name,
        "model": version.model,
        "dataset": {
            "name": dataset.name,
            "version": dataset.version,
            "manifest_checksum": dataset.manifest_checksum,
        },
        "parameters": version.model_parameters.as_ref().map(parameters_json),
        "rating_mean": version.rating_mean,
        "rating_slope": is_content.then_some(version.rating_slope),
        "sources": version.hybrid.as_ref().map(sources_json),
        "learning": version.hybrid.as_ref().and_then(|hybrid| hybrid.learning).map(learning_json),
        "evaluation": version.evaluation.as_ref().map(evaluation_json),
        "remarks": version.remarks,
        "test_file": version.held_out.as_ref().map(held_out_json),
        "created": UtcTime::from_unix_ms(version.created_unix_ms).iso_8601(),
        "training_seconds": version.training_seconds,
        "workers": workers,
        "code_version": env!("CARGO_PKG_VERSION"),
    })
}

fn sources_json(hybrid: &HybridModel) -> Value {
    let source = |source: &shoal_proto::v1::HybridSource| {
        json!({
            "model": source.model,
            "version": source.version,
            "weight": source.weight,
            "knots": source.knots.iter().map(|knot| json!([knot.score, knot.level])).collect::<Vec<_>>(),
        })
    };
    json!(hybrid.sources.iter().map(source).collect::<Vec<_>>())
}

fn learning_json(learning: HybridLearning) -> Value {
    let HybridLearning { users, ratings, user_share, ndcg_at_20 } = learning;
    json!({ "users": users, "ratings": ratings, "user_share": user_share, "ndcg_at_20": ndcg_at_20 })
}

/// What a version is, in short: the same for everybody who trains it, so without times.
pub(in crate::jobs) fn model_info(version: &ModelVersion, dataset: &DatasetInfo) -> Value {
    let metrics = version.evaluation.as_ref().map(headline);
    json!({
        "name": version.name,
        "model": version.model,
        "dataset": format!("{}@{}", version.dataset_name, version.dataset_version),
        "users": dataset.users,
        "items": dataset.items,
        "ratings": dataset.ratings,
        "metrics": metrics,
    })
}

/// The few figures that versions are compared by.
fn headline(evaluation: &Evaluation) -> Value {
    let full = evaluation_json(evaluation);
    json!({
        "rmse": full["rating"]["rmse"],
        "mae": full["rating"]["mae"],
        "ndcg_at_10": full["lists"]["ndcg_at_10"],
        "ndcg_at_20": full["lists"]["ndcg_at_20"],
        "recall_at_20": full["lists"]["recall_at_20"],
        "coverage": full["coverage"],
    })
}
