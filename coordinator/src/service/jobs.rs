//! Requests that make jobs.

use std::sync::Arc;

use shoal_common::{model_parameters::update_request, store::Manifest};
use shoal_proto::v1::{
    AnsweredRequest, CreateJob, ImportDatasetRequest, JobInfo, JobKind, JobState, ModelVersion,
    StartJobReply, StartListsRequest, StartTrainingRequest, metadata_command::Command,
};
use tonic::Status;

use super::{
    member::{CoordinatorService, invalid},
    places::Place,
};
use crate::{
    jobs::{fill_in_defaults, same_training, settle_lists, validate_import, validate_training},
    state::ClusterState,
};

impl CoordinatorService {
    /// Makes a job of an import.
    pub(super) async fn start_import(
        &self,
        submitter: String,
        import: ImportDatasetRequest,
    ) -> Result<StartJobReply, Status> {
        invalid(&validate_import(&import))?;
        let request_id = import.request_id.clone();
        let info =
            JobInfo { kind: JobKind::Import.into(), import: Some(import), submitter, ..JobInfo::default() };
        self.create_job(request_id, info).await
    }

    /// Makes a job of a training, or names a version that it would make again.
    pub(super) async fn start_to_train(
        &self,
        submitter: String,
        mut training: StartTrainingRequest,
    ) -> Result<StartJobReply, Status> {
        update_request(&mut training);
        invalid(&validate_training(&training))?;
        training.model.as_mut().map(fill_in_defaults);
        let state = self.read().await?;
        // The newest is fixed now, so that a later import does not change what an attempt trains on.
        let dataset = state.dataset(&training.dataset_name, &training.dataset_version).ok_or_else(|| {
            let name = &training.dataset_name;
            Status::not_found(format!(
                "there is no data set '{name}'; `shoal dataset list` shows those there are"
            ))
        })?;
        training.dataset_version.clone_from(&dataset.version);
        if training.reuse
            && let Some(version) = self.trained_already(&state, &training).await
        {
            return Ok(StartJobReply { existing_version: version, ..StartJobReply::default() });
        }
        let request_id = training.request_id.clone();
        let kind = JobKind::Training.into();
        let info = JobInfo { kind, training: Some(training), submitter, ..JobInfo::default() };
        self.create_job(request_id, info).await
    }

    /// Makes a job of lists.
    pub(super) async fn start_to_list(
        &self,
        submitter: String,
        mut lists: StartListsRequest,
    ) -> Result<StartJobReply, Status> {
        let state = self.read().await?;
        // What is live is settled now, so that a later promotion does not change what an attempt writes.
        let version = listed_version(&state, &lists)?;
        lists.version.clone_from(&version.name);
        lists.model.clone_from(&version.model);
        let dataset = state.dataset(&version.dataset_name, &version.dataset_version);
        let dataset = dataset.ok_or_else(|| {
            Status::failed_precondition(format!("the data set of version '{}' is gone", version.name))
        })?;
        let missing = || Status::invalid_argument("the description of the lists is missing");
        invalid(&settle_lists(lists.parameters.as_mut().ok_or_else(missing)?, dataset))?;
        let request_id = lists.request_id.clone();
        let info =
            JobInfo { kind: JobKind::Lists.into(), lists: Some(lists), submitter, ..JobInfo::default() };
        self.create_job(request_id, info).await
    }

    async fn create_job(&self, request_id: String, info: JobInfo) -> Result<StartJobReply, Status> {
        let _place = self.place_in_queue(&request_id)?;
        let info = JobInfo { created_unix_ms: self.leader.clock.now_unix_ms(), ..info };
        let create = CreateJob { info: Some(info), counted: true };
        let reply = self.command_once(request_id, Command::CreateJob(create)).await?;
        Ok(StartJobReply { job_id: reply.job_id, ..StartJobReply::default() })
    }

    /// A place in the queue for one more job. Who asks again for a job that there is takes none.
    fn place_in_queue(&self, request_id: &str) -> Result<Option<Place>, Status> {
        let state = Arc::clone(&self.leader.raft.view().borrow());
        let is_known = |answered: &AnsweredRequest| answered.request_id == request_id;
        if !request_id.is_empty() && state.answered.values().any(is_known) {
            return Ok(None);
        }
        let queued = state.jobs.values().filter(|job| job.info.state() == JobState::Queued).count();
        self.queue.take(queued, self.leader.config.queued_jobs).map(Some).ok_or_else(|| {
            Status::resource_exhausted(format!(
                "{queued} jobs wait, as many as may; wait until some have begun, cancel some with `shoal jobs cancel JOB`, or raise coordinator.queued_jobs"
            ))
        })
    }

    /// The newest version that the request would make again and whose folder is complete.
    async fn trained_already(&self, state: &ClusterState, request: &StartTrainingRequest) -> Option<String> {
        let mut versions: Vec<_> =
            state.versions.values().filter(|version| same_training(version, request)).collect();
        versions.sort_by_key(|version| std::cmp::Reverse(version.created_unix_ms));
        for version in versions {
            let manifest =
                Manifest::read(&self.leader.store, &version.path, &version.manifest_checksum).await;
            match manifest {
                Ok(_) => return Some(version.name.clone()),
                Err(error) => {
                    tracing::warn!(version = version.name, %error, "a version cannot be used again")
                }
            }
        }
        None
    }
}

/// The version that lists are asked of: the one that is named, else what is live of a model.
fn listed_version<'a>(
    state: &'a ClusterState,
    lists: &StartListsRequest,
) -> Result<&'a ModelVersion, Status> {
    let live = || {
        let served = if lists.model.is_empty() {
            Some(state.served_by_default())
        } else {
            state.served.get(&lists.model).cloned()
        };
        served.unwrap_or_default().live_version
    };
    let name = if lists.version.is_empty() { live() } else { lists.version.clone() };
    if name.is_empty() {
        let of = if lists.model.is_empty() { String::new() } else { format!(" of model '{}'", lists.model) };
        return Err(Status::failed_precondition(format!(
            "no version{of} is live; promote one with `shoal models promote`, or name one with --version"
        )));
    }
    let version = state.versions.get(&name).ok_or_else(|| {
        Status::not_found(format!(
            "there is no model version '{name}'; `shoal models list` shows those there are"
        ))
    })?;
    if !lists.model.is_empty() && lists.model != version.model {
        let (asked, model) = (&lists.model, &version.model);
        return Err(Status::invalid_argument(format!(
            "version '{name}' is of model '{model}', not of '{asked}'; name one of the two"
        )));
    }
    Ok(version)
}
