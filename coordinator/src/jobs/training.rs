//! A training of any model: what all of them have in common before the model's own steps and after them.

use super::{
    error::JobError,
    models::training_of,
    publish::{folder_of, point_latest, publish},
    run::Run,
    split_times::find_split_times,
    steps::Crew,
    tracker::{Phase, Tracker},
};
use crate::{
    leader::{Leader, LiveWorker},
    state::{Job, kind_of},
};

/// A split by time is found. How long that takes is seldom worth a share of the bar.
const SPLITTING: Phase = Phase { name: "loading", text: "loading the ratings", span: (0.0, 0.0) };

pub(super) async fn run(
    leader: &Leader,
    job: &mut Job,
    workers: &[LiveWorker],
    tracker: &mut Tracker,
) -> Result<(), JobError> {
    let info = job.info.clone();
    let request = info.training.clone().unwrap_or_default();
    if !info.model_version.is_empty() {
        // Published by an attempt whose leader was lost before it could say so.
        point_latest(leader, kind_of(&request), &info.model_version).await;
        return Ok(());
    }
    let state = leader.raft.view().borrow().clone();
    let dataset = state.dataset(&request.dataset_name, &request.dataset_version).cloned();
    let dataset =
        dataset.ok_or_else(|| JobError::Fatal(format!("data set '{}' is gone", request.dataset_name)))?;
    let parameters = request.model.clone().unwrap_or_default();
    let model = parameters.model.clone();
    let model = model.ok_or_else(|| JobError::Fatal("the request names no model".to_owned()))?;
    let split = parameters.split.clone().unwrap_or_default();
    let crew = Crew { job_id: info.job_id.clone(), attempt: info.attempt, workers: workers.to_vec() };
    tracker.begin(&SPLITTING);
    let split_path = find_split_times(leader, &crew, &dataset, &split, tracker).await?;
    let run = Run::new(leader, crew, dataset, split, split_path, &request, folder_of(&info));
    let made = training_of(&model).train(&run, job, tracker).await?;
    publish(&run, job, parameters, made, tracker).await
}
