//! A version's folder and its place in the registry.

use bytes::Bytes;
use serde_json::{Value, json};
use shoal_common::{
    causes::with_causes,
    clock::UtcTime,
    readable::{evaluation_json, held_out_json, parameters_json},
    split,
    store::{METADATA_FILE, Manifest, join, model_path},
};
use shoal_core::ModelKind;
use shoal_proto::v1::{
    DatasetInfo, Evaluation, JobInfo, ModelParameters, ModelVersion, ObjectEntry, update_job::Update,
};

use super::{
    error::JobError,
    model_training::Made,
    models::training_of,
    remarks,
    run::Run,
    tracker::{Phase, Tracker},
};
use crate::{
    leader::Leader,
    state::{Job, kind_of, stamp_of, version_name},
};

const PUBLISHING: Phase = Phase { name: "publishing", text: "publishing", span: (0.97, 1.0) };

/// The short file for people and scripts beside the full one.
const MODEL_INFO_FILE: &str = "model_info.json";

/// The version's name: it follows from the job, so that every attempt writes the same folder.
fn name_of(info: &JobInfo) -> String {
    version_name(info.training.as_ref().map_or(ModelKind::Als, kind_of), &stamp_of(info))
}

/// The folder that a training writes its version to.
pub(super) fn folder_of(info: &JobInfo) -> String {
    let kind = info.training.as_ref().map_or(ModelKind::Als, kind_of);
    model_path(kind.folder(), &name_of(info))
}

/// What a training that did not publish may have written.
pub(super) fn unpublished_folder(info: &JobInfo) -> Option<String> {
    (info.training.is_some() && info.model_version.is_empty()).then(|| folder_of(info))
}

/// Writes the files for people and the manifest, last, and registers the version.
pub(super) async fn publish(
    run: &Run<'_>,
    job: &mut Job,
    parameters: ModelParameters,
    made: Made,
    tracker: &mut Tracker,
) -> Result<(), JobError> {
    tracker.begin(&PUBLISHING);
    let Made {
        mut objects,
        evaluation,
        rating_mean,
        rating_slope,
        metrics,
        hybrid,
        remarks,
        held_out,
        metadata: of_model,
    } = made;
    let info = &job.info;
    let kind = info.training.as_ref().map_or(ModelKind::Als, kind_of);
    let mut version = ModelVersion {
        name: name_of(info),
        model: kind.folder().to_owned(),
        path: run.version_path.clone(),
        dataset_name: run.dataset.name.clone(),
        dataset_version: run.dataset.version.clone(),
        rating_mean,
        rating_slope,
        metrics,
        hybrid,
        evaluation: Some(evaluation),
        held_out,
        created_unix_ms: info.created_unix_ms,
        job_id: info.job_id.clone(),
        training_seconds: tracker.seconds(),
        remarks,
        ..ModelVersion::default()
    };
    version.remarks.extend(remarks::of_measuring(&version, split::holds_out(&run.split)));
    version.remarks.extend(remarks::of_ratings(&version));
    if let Some(model) = &parameters.model {
        version.remarks.extend(remarks::of_lists(training_of(model), &version, &run.dataset));
    }
    let mut metadata = metadata(&version, &parameters, run);
    for (name, value) in of_model {
        metadata[name] = value;
    }
    version.model_parameters = Some(parameters);
    let store = &run.leader.store;
    for (name, json) in [(METADATA_FILE, metadata), (MODEL_INFO_FILE, model_info(&version, &run.dataset))] {
        let entry = store.put(&join(&version.path, name), Bytes::from(format!("{json:#}\n"))).await?;
        objects.push(ObjectEntry { path: name.to_owned(), ..entry });
    }
    version.manifest_checksum = Manifest::new("model", objects).write(store, &version.path).await?;
    run.leader.update_job(&info.job_id, Update::VersionPublished(version.clone())).await?;
    point_latest(run.leader, kind, &version.name).await;
    job.info.model_version = version.name;
    Ok(())
}

/// The link is for people who look into the store: a version without it is as good.
pub(super) async fn point_latest(leader: &Leader, kind: ModelKind, version: &str) {
    let link = format!("models/{}/model_latest", kind.folder());
    if let Err(error) = leader.store.point_latest(&link, version).await {
        tracing::warn!(link, error = with_causes(&error), "the link was not set");
    }
}

/// What `metadata.json` says of a version of any model.
fn metadata(version: &ModelVersion, parameters: &ModelParameters, run: &Run<'_>) -> Value {
    json!({
        "name": version.name,
        "model": version.model,
        "dataset": {
            "name": run.dataset.name,
            "version": run.dataset.version,
            "manifest_checksum": run.dataset.manifest_checksum,
        },
        "parameters": parameters_json(parameters),
        "protocol": split::protocol(&run.split),
        "rating_mean": version.rating_mean,
        "evaluation": version.evaluation.as_ref().map(evaluation_json),
        "remarks": version.remarks,
        "test_file": version.held_out.as_ref().map(held_out_json),
        "created": UtcTime::from_unix_ms(version.created_unix_ms).iso_8601(),
        "training_seconds": version.training_seconds,
        "workers": run.crew.workers.len(),
        "code_version": env!("CARGO_PKG_VERSION"),
    })
}

/// What a version is, in short: the same for everybody who trains it, so without times.
fn model_info(version: &ModelVersion, dataset: &DatasetInfo) -> Value {
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
    let mut headline = json!({
        "rmse": full["rating"]["rmse"],
        "mae": full["rating"]["mae"],
        "ndcg_at_10": full["lists"]["ndcg_at_10"],
        "ndcg_at_20": full["lists"]["ndcg_at_20"],
        "recall_at_20": full["lists"]["recall_at_20"],
        "coverage": full["coverage"],
    });
    // Only lists of users who are held out are so long.
    for name in ["recall_at_50", "ndcg_at_100"] {
        let figure = &full["lists"][name];
        if !figure.is_null() {
            headline[name] = figure.clone();
        }
    }
    headline
}
