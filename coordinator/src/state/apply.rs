//! What each command does to the state.

use shoal_proto::v1::{
    AttemptStarted, CommandReply, CreateJob, DatasetInfo, JobFinished, JobInfo, JobRecord, JobState,
    ModelVersion, RefusalKind, SweepCommitted, UpdateJob, VersionState, metadata_command::Command,
    update_job::Update,
};

use super::{ClusterState, FINISHED_JOBS_KEPT, is_over, refused};

impl ClusterState {
    /// Applies one command. `index` is its place in the log.
    pub(super) fn apply(&mut self, index: u64, command: Command) -> CommandReply {
        match command {
            Command::UpsertNode(node) => {
                let name = node.info.clone().unwrap_or_default().name;
                self.nodes.insert(name, node);
                CommandReply::default()
            }
            Command::CreateJob(create) => self.create_job(index, create),
            Command::UpdateJob(update) => self.update_job(update),
            Command::CancelJob(cancel) => self.cancel_job(&cancel.job_id),
            Command::SetPlacement(placement) => {
                let key = (placement.dataset_name.clone(), placement.dataset_version.clone());
                if !self.datasets.contains_key(&key) {
                    return refused(
                        RefusalKind::NotFound,
                        format!("there is no data set '{}' {}", key.0, key.1),
                    );
                }
                self.placements.insert(key, placement);
                CommandReply::default()
            }
            Command::PromoteStart(promote) => self.promote_start(promote.version),
            Command::PromoteCommit(promote) => self.promote_commit(&promote.version),
            Command::PromoteAbort(promote) => {
                if self.promoting_version == promote.version {
                    self.promoting_version.clear();
                }
                CommandReply::default()
            }
            Command::Rollback(_) => self.rollback(),
        }
    }

    fn create_job(&mut self, index: u64, create: CreateJob) -> CommandReply {
        let mut info = create.info.unwrap_or_default();
        let request_id = request_id(&info);
        let known = self.jobs.values().find(|job| {
            !request_id.is_empty() && job.info.as_ref().map(self::request_id) == Some(request_id)
        });
        if let Some(known) = known {
            let job_id = known.info.clone().unwrap_or_default().job_id;
            return CommandReply { job_id, ..CommandReply::default() };
        }
        if let Some(training) = &info.training
            && self.dataset(&training.dataset_name, &training.dataset_version).is_none()
        {
            let (name, version) = (&training.dataset_name, &training.dataset_version);
            return refused(
                RefusalKind::NotFound,
                format!("there is no data set '{name}' {version}; import it first"),
            );
        }
        // The place in the log is the same on every member and never comes again.
        let job_id = format!("job-{index:06}");
        info.job_id.clone_from(&job_id);
        info.set_state(JobState::Queued);
        let promote_pending = info.training.as_ref().is_some_and(|training| training.promote);
        self.jobs
            .insert(job_id.clone(), JobRecord { info: Some(info), promote_pending, ..JobRecord::default() });
        self.forget_old_jobs();
        CommandReply { job_id, ..CommandReply::default() }
    }

    fn forget_old_jobs(&mut self) {
        let over: Vec<String> =
            self.jobs.iter().filter(|(_, job)| is_over(job)).map(|(id, _)| id.clone()).collect();
        // Ids ascend with time.
        for id in over.iter().take(over.len().saturating_sub(FINISHED_JOBS_KEPT)) {
            self.jobs.remove(id);
        }
    }

    fn update_job(&mut self, update: UpdateJob) -> CommandReply {
        let Some(job) = self.jobs.get_mut(&update.job_id) else {
            return refused(RefusalKind::NotFound, format!("there is no job '{}'", update.job_id));
        };
        if is_over(job) {
            return refused(RefusalKind::Precondition, format!("job '{}' is over", update.job_id));
        }
        let info = job.info.get_or_insert_default();
        match update.update {
            None => {}
            Some(Update::AttemptStarted(AttemptStarted { attempt })) => {
                if attempt <= info.attempt {
                    return refused(
                        RefusalKind::Precondition,
                        format!("attempt {} of job '{}' has begun", info.attempt, update.job_id),
                    );
                }
                info.attempt = attempt;
                info.set_state(JobState::Running);
            }
            Some(Update::SweepCommitted(SweepCommitted { sweep, checkpoint_path, metrics })) => {
                if sweep <= info.committed_sweeps {
                    return refused(RefusalKind::Precondition, format!("sweep {sweep} is committed already"));
                }
                info.committed_sweeps = sweep;
                info.sweeps.extend(metrics);
                job.checkpoint_path = checkpoint_path;
            }
            Some(Update::DatasetPublished(dataset)) => {
                info.dataset = Some(dataset.clone());
                self.publish_dataset(dataset);
            }
            Some(Update::VersionPublished(version)) => {
                info.model_version.clone_from(&version.name);
                return self.publish_version(version);
            }
            Some(Update::Finished(finished)) => finish(job, finished),
        }
        CommandReply::default()
    }

    fn publish_dataset(&mut self, dataset: DatasetInfo) {
        self.datasets.insert((dataset.name.clone(), dataset.version.clone()), dataset);
    }

    fn publish_version(&mut self, mut version: ModelVersion) -> CommandReply {
        if !self.datasets.contains_key(&(version.dataset_name.clone(), version.dataset_version.clone())) {
            let name = &version.dataset_name;
            return refused(RefusalKind::NotFound, format!("there is no data set '{name}' for the version"));
        }
        if self.live_version == version.name {
            // Published, and promoted, by an attempt whose leader was lost before it knew.
            return CommandReply::default();
        }
        version.set_state(VersionState::Ready);
        self.versions.insert(version.name.clone(), version);
        CommandReply::default()
    }

    fn cancel_job(&mut self, job_id: &str) -> CommandReply {
        match self.jobs.get_mut(job_id) {
            None => refused(
                RefusalKind::NotFound,
                format!("there is no job '{job_id}'; `shoal jobs list` shows those there are"),
            ),
            Some(job) if is_over(job) => {
                refused(RefusalKind::Precondition, format!("job '{job_id}' is over"))
            }
            Some(job) => {
                job.cancel_requested = true;
                CommandReply::default()
            }
        }
    }

    fn promote_start(&mut self, version: String) -> CommandReply {
        for job in self.jobs.values_mut() {
            if job.info.as_ref().is_some_and(|info| info.model_version == version) {
                job.promote_pending = false;
            }
        }
        match self.versions.get(&version) {
            None => refused(
                RefusalKind::NotFound,
                format!("there is no model version '{version}'; `shoal models list` shows those there are"),
            ),
            Some(known) if known.state() == VersionState::Training => {
                refused(RefusalKind::Precondition, format!("version '{version}' is still being trained"))
            }
            Some(_) if self.live_version == version => {
                self.promoting_version.clear();
                CommandReply::default()
            }
            Some(_) => {
                self.promoting_version = version;
                CommandReply::default()
            }
        }
    }

    fn promote_commit(&mut self, version: &str) -> CommandReply {
        if self.promoting_version != version {
            return refused(RefusalKind::Precondition, format!("version '{version}' is not being promoted"));
        }
        self.promoting_version.clear();
        self.switch_to(version.to_owned());
        CommandReply::default()
    }

    fn rollback(&mut self) -> CommandReply {
        if self.previous_version.is_empty() {
            return refused(
                RefusalKind::Precondition,
                "there is no earlier version to go back to".to_owned(),
            );
        }
        self.promoting_version.clear();
        self.switch_to(self.previous_version.clone());
        CommandReply::default()
    }

    /// Makes a version the live one; the one that was stays loaded.
    fn switch_to(&mut self, version: String) {
        if self.live_version == version {
            return;
        }
        let retired =
            std::mem::replace(&mut self.previous_version, std::mem::replace(&mut self.live_version, version));
        // Once live, a version that is neither live nor the one to go back to is retired; it can be promoted again.
        for (name, state) in [
            (&retired, VersionState::Retired),
            (&self.previous_version, VersionState::Ready),
            (&self.live_version, VersionState::Live),
        ] {
            if let Some(version) = self.versions.get_mut(name) {
                version.set_state(state);
            }
        }
    }
}

fn request_id(info: &JobInfo) -> &str {
    let import = info.import.as_ref().map(|import| import.request_id.as_str());
    import.or_else(|| info.training.as_ref().map(|training| training.request_id.as_str())).unwrap_or_default()
}

fn finish(job: &mut JobRecord, finished: JobFinished) {
    let info = job.info.get_or_insert_default();
    info.set_state(finished.state());
    info.error = finished.error;
    info.finished_unix_ms = finished.finished_unix_ms;
    info.phase_seconds = finished.phase_seconds;
    info.progress = if info.state() == JobState::Succeeded { 1.0 } else { info.progress };
    info.phase.clear();
    job.checkpoint_path.clear();
    if info.state() != JobState::Succeeded {
        job.promote_pending = false;
    }
}
