//! What each command does to the state.

use prost::Message as _;
use shoal_common::model_parameters::update_version;
use shoal_proto::v1::{
    AnsweredRequest, AttemptStarted, CommandReply, DatasetInfo, JobCleaned, JobFinished, JobRecord, JobState,
    ModelVersion, NodeRecord, Placement, PromoteStart, RefusalKind, RegisterVersion, ServedModel,
    SweepCommitted, UpdateJob, VersionState, metadata_command::Command, update_job::Update,
};

use super::{
    ANSWERS_KEPT, ClusterState, Job, LEFT_OUT_WORKERS_MAX, history::spent, refused, replicas_are_distinct,
};

impl ClusterState {
    /// Applies one command, unless it is one that was applied before: then its answer is given again.
    pub(super) fn apply_once(&mut self, index: u64, request_id: &str, command: Command) -> CommandReply {
        if request_id.is_empty() {
            return self.apply(index, command);
        }
        if let Some(known) = self.answered.values().find(|answered| answered.request_id == request_id) {
            return known.reply.clone().unwrap_or_default();
        }
        let reply = self.apply(index, command);
        let answered =
            AnsweredRequest { index, request_id: request_id.to_owned(), reply: Some(reply.clone()) };
        self.answered.insert(index, answered);
        while self.answered.len() > ANSWERS_KEPT {
            self.answered.pop_first();
        }
        reply
    }

    /// Applies one command; a refused one changes nothing. `index` is its place in the log.
    fn apply(&mut self, index: u64, command: Command) -> CommandReply {
        match command {
            Command::UpsertNode(node) => self.upsert_node(node),
            Command::CreateJob(create) => self.create_job(index, create),
            Command::UpdateJob(update) => self.update_job(index, update),
            Command::CancelJob(cancel) => self.cancel_job(&cancel.job_id),
            Command::SetPlacement(placement) => self.set_placement(placement),
            Command::PromoteStart(promote) => self.promote_start(promote),
            Command::PromoteCommit(promote) => self.promote_commit(&promote.version),
            Command::PromoteAbort(promote) => {
                if let Some(served) = self.promoting(&promote.version) {
                    served.promoting_version.clear();
                    served.promoting_default = false;
                    self.forget_old_placements();
                }
                CommandReply::default()
            }
            Command::Rollback(rollback) => self.rollback(&rollback.model),
            Command::RegisterVersion(register) => self.register_version(register),
            Command::ForgetNode(forget) => self.forget_node(&forget.name),
            Command::AddToken(add) => self.add_token(add),
            Command::RevokeToken(revoke) => self.revoke_token(&revoke.id),
            Command::UseTokens(used) => self.use_tokens(used),
        }
    }

    fn upsert_node(&mut self, node: NodeRecord) -> CommandReply {
        let name = node.info.clone().unwrap_or_default().name;
        if name.is_empty() {
            return refused(RefusalKind::Invalid, "a node needs a name".to_owned());
        }
        self.nodes.insert(name, node);
        self.forget_lost_nodes();
        CommandReply::default()
    }

    fn set_placement(&mut self, placement: Placement) -> CommandReply {
        let key = (placement.dataset_name.clone(), placement.dataset_version.clone());
        if !self.datasets.contains_key(&key) {
            return refused(RefusalKind::NotFound, format!("there is no data set '{}' {}", key.0, key.1));
        }
        if !placement.shards.iter().all(replicas_are_distinct) {
            return refused(RefusalKind::Invalid, "a shard's replicas must be distinct workers".to_owned());
        }
        self.placements.insert(key, placement);
        CommandReply::default()
    }

    fn update_job(&mut self, index: u64, update: UpdateJob) -> CommandReply {
        let Some(job) = self.jobs.get_mut(&update.job_id) else {
            return refused(RefusalKind::NotFound, format!("there is no job '{}'", update.job_id));
        };
        if let Some(Update::Cleaned(JobCleaned {})) = update.update {
            return self.end_job(&update.job_id);
        }
        if job.is_over() || job.outcome.is_some() {
            return refused(RefusalKind::Precondition, format!("job '{}' is over", update.job_id));
        }
        let info = &mut job.info;
        match update.update {
            None | Some(Update::Cleaned(JobCleaned {})) => CommandReply::default(),
            Some(Update::AttemptStarted(AttemptStarted { attempt, phase_seconds, left_out })) => {
                if attempt <= info.attempt {
                    return refused(
                        RefusalKind::Precondition,
                        format!("attempt {} of job '{}' has begun", info.attempt, update.job_id),
                    );
                }
                info.attempt = attempt;
                info.set_state(JobState::Running);
                if job.begun_index == 0 {
                    job.begun_index = index;
                }
                info.left_out.extend(left_out);
                info.left_out.drain(..info.left_out.len().saturating_sub(LEFT_OUT_WORKERS_MAX));
                if !phase_seconds.is_empty() {
                    info.phase_seconds = phase_seconds;
                }
                CommandReply::default()
            }
            Some(Update::SweepCommitted(committed)) => {
                let SweepCommitted { sweep, checkpoint_path, metrics, phase_seconds } = committed;
                if sweep <= info.committed_sweeps {
                    return refused(RefusalKind::Precondition, format!("sweep {sweep} is committed already"));
                }
                info.committed_sweeps = sweep;
                info.sweeps.extend(metrics);
                if !phase_seconds.is_empty() {
                    info.phase_seconds = phase_seconds;
                }
                job.checkpoint_path = checkpoint_path;
                CommandReply::default()
            }
            Some(Update::DatasetPublished(dataset)) => self.publish_dataset(&update.job_id, dataset),
            Some(Update::VersionPublished(version)) => self.publish_version(&update.job_id, version),
            Some(Update::ListsWritten(listed)) => {
                info.listed = Some(listed);
                CommandReply::default()
            }
            Some(Update::Finished(finished)) => finish(job, finished),
        }
    }

    /// What only the job needed is deleted: it is over.
    fn end_job(&mut self, job_id: &str) -> CommandReply {
        let job = self.jobs.get_mut(job_id);
        let Some((job, outcome)) = job.and_then(|job| job.outcome.take().map(|outcome| (job, outcome)))
        else {
            return refused(RefusalKind::Precondition, format!("job '{job_id}' has not come to its end"));
        };
        let info = &mut job.info;
        info.set_state(outcome.state());
        info.error = outcome.error;
        info.finished_unix_ms = outcome.finished_unix_ms;
        info.phase_seconds = outcome.phase_seconds;
        if info.model_version.is_empty() {
            info.seconds = spent(&info.phase_seconds);
        }
        info.progress = if info.state() == JobState::Succeeded { 1.0 } else { info.progress };
        info.phase.clear();
        job.checkpoint_path.clear();
        job.record_bytes = JobRecord::from(job.clone()).encoded_len() as u64;
        self.forget_old_jobs();
        CommandReply::default()
    }

    fn publish_dataset(&mut self, job_id: &str, dataset: DatasetInfo) -> CommandReply {
        let key = (dataset.name.clone(), dataset.version.clone());
        if key.0.is_empty() || key.1.is_empty() {
            return refused(RefusalKind::Invalid, "a data set needs a name and a version".to_owned());
        }
        let info = self.jobs.get_mut(job_id).map(|job| &mut job.info);
        let own = info.as_ref().and_then(|info| info.dataset.as_ref());
        if self.datasets.contains_key(&key)
            && own.is_none_or(|own| (&own.name, &own.version) != (&key.0, &key.1))
        {
            return refused(
                RefusalKind::Precondition,
                format!("there is a data set '{}' {} already", key.0, key.1),
            );
        }
        if let Some(info) = info {
            info.dataset = Some(dataset.clone());
        }
        self.datasets.insert(key, dataset);
        CommandReply::default()
    }

    fn publish_version(&mut self, job_id: &str, mut version: ModelVersion) -> CommandReply {
        if version.name.is_empty() {
            return refused(RefusalKind::Invalid, "a model version needs a name".to_owned());
        }
        if !self.datasets.contains_key(&(version.dataset_name.clone(), version.dataset_version.clone())) {
            let name = &version.dataset_name;
            return refused(RefusalKind::NotFound, format!("there is no data set '{name}' for the version"));
        }
        update_version(&mut version);
        let info = self.jobs.get_mut(job_id).map(|job| &mut job.info);
        if let Some(known) = self.versions.get(&version.name) {
            if info.is_none_or(|info| info.model_version != version.name) {
                let name = &known.name;
                return refused(RefusalKind::Precondition, format!("there is a version '{name}' already"));
            }
            // Published by an attempt whose leader was lost before it knew.
            return CommandReply::default();
        }
        if let Some(info) = info {
            info.model_version.clone_from(&version.name);
            info.seconds = version.training_seconds;
            // The last sweep is measured with the version that came of it.
            if let (Some(last), Some(metrics)) = (info.sweeps.last_mut(), version.metrics)
                && last.sweep == metrics.sweep
            {
                *last = metrics;
            }
        }
        version.set_state(VersionState::Ready);
        self.versions.insert(version.name.clone(), version);
        CommandReply::default()
    }

    /// Version and data set become known together, or neither does.
    fn register_version(&mut self, register: RegisterVersion) -> CommandReply {
        let mut version = register.version.unwrap_or_default();
        update_version(&mut version);
        let key = (version.dataset_name.clone(), version.dataset_version.clone());
        if version.name.is_empty() || key.0.is_empty() || key.1.is_empty() {
            let reason = "a model version needs a name and a data set with its version";
            return refused(RefusalKind::Invalid, reason.to_owned());
        }
        if self.versions.contains_key(&version.name) {
            let name = &version.name;
            return refused(RefusalKind::Precondition, format!("there is a version '{name}' already"));
        }
        match (register.dataset, self.datasets.contains_key(&key)) {
            (None, true) => {}
            (None, false) => {
                let reason = format!("there is no data set '{}' {} for the version", key.0, key.1);
                return refused(RefusalKind::NotFound, reason);
            }
            (Some(_), true) => {
                let reason = format!("there is a data set '{}' {} already", key.0, key.1);
                return refused(RefusalKind::Precondition, reason);
            }
            (Some(dataset), false) => {
                if (&dataset.name, &dataset.version) != (&key.0, &key.1) {
                    let reason = format!("the version's data set is '{}' {}, another one came", key.0, key.1);
                    return refused(RefusalKind::Invalid, reason);
                }
                self.datasets.insert(key, dataset);
            }
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
            Some(job) if job.is_over() || job.outcome.is_some() => {
                refused(RefusalKind::Precondition, format!("job '{job_id}' is over"))
            }
            Some(job) => {
                job.cancel_requested = true;
                CommandReply::default()
            }
        }
    }

    fn promote_start(&mut self, promote: PromoteStart) -> CommandReply {
        let PromoteStart { version, make_default } = promote;
        let model = match self.versions.get(&version) {
            None => {
                return refused(
                    RefusalKind::NotFound,
                    format!(
                        "there is no model version '{version}'; `shoal models list` shows those there are"
                    ),
                );
            }
            Some(known) if known.state() == VersionState::Training => {
                return refused(
                    RefusalKind::Precondition,
                    format!("version '{version}' is still being trained"),
                );
            }
            Some(known) => known.model.clone(),
        };
        for job in self.jobs.values_mut() {
            if job.info.model_version == version {
                job.promote_pending = false;
            }
        }
        let empty = || ServedModel { model: model.clone(), ..ServedModel::default() };
        let served = self.served.entry(model.clone()).or_insert_with(empty);
        if served.live_version == version {
            served.promoting_version.clear();
            served.promoting_default = false;
            if make_default {
                self.default_model = model;
            }
        } else {
            served.promoting_version = version;
            served.promoting_default = make_default;
        }
        CommandReply::default()
    }

    /// The model of which the version is being promoted.
    fn promoting(&mut self, version: &str) -> Option<&mut ServedModel> {
        self.served.values_mut().find(|served| !version.is_empty() && served.promoting_version == version)
    }

    fn promote_commit(&mut self, version: &str) -> CommandReply {
        let Some(served) = self.promoting(version) else {
            return refused(RefusalKind::Precondition, format!("version '{version}' is not being promoted"));
        };
        let model = served.model.clone();
        let make_default = std::mem::take(&mut served.promoting_default);
        served.promoting_version.clear();
        self.switch_to(&model, version.to_owned());
        // The first model that has something to answer with does so.
        let none_yet = self.served_by_default().live_version.is_empty();
        if make_default || none_yet {
            self.default_model = model;
        }
        CommandReply::default()
    }

    fn rollback(&mut self, model: &str) -> CommandReply {
        let model = if model.is_empty() { self.default_model.clone() } else { model.to_owned() };
        let previous = self.served.get(&model).map(|served| served.previous_version.clone());
        let Some(previous) = previous.filter(|previous| !previous.is_empty()) else {
            let of_model = if model.is_empty() { String::new() } else { format!(" of {model}") };
            return refused(
                RefusalKind::Precondition,
                format!("there is no earlier version{of_model} to go back to"),
            );
        };
        self.switch_to(&model, previous);
        CommandReply::default()
    }

    /// Makes a version the live one of its model; the one that was stays loaded. No promotion goes on.
    fn switch_to(&mut self, model: &str, version: String) {
        let Some(served) = self.served.get_mut(model) else { return };
        served.promoting_version.clear();
        served.promoting_default = false;
        if served.live_version == version {
            return;
        }
        let before = std::mem::replace(&mut served.live_version, version);
        let retired = std::mem::replace(&mut served.previous_version, before);
        // Once live, a version that is neither live nor the one to go back to is retired; it can be promoted again.
        for (name, state) in [
            (&retired, VersionState::Retired),
            (&served.previous_version, VersionState::Ready),
            (&served.live_version, VersionState::Live),
        ] {
            if let Some(version) = self.versions.get_mut(name) {
                version.set_state(state);
            }
        }
        self.forget_old_placements();
    }
}

/// It is agreed how the job ends: from now on nothing more comes of it. It is over once it is cleaned up.
fn finish(job: &mut Job, finished: JobFinished) -> CommandReply {
    if !matches!(finished.state(), JobState::Succeeded | JobState::Failed | JobState::Cancelled) {
        return refused(RefusalKind::Invalid, "a job ends as succeeded, failed or cancelled".to_owned());
    }
    if finished.state() != JobState::Succeeded {
        job.promote_pending = false;
    }
    "cleaning up".clone_into(&mut job.info.phase);
    job.outcome = Some(finished);
    CommandReply::default()
}
