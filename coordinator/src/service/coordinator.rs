//! The `Coordinator` service. Only the leader answers; anyone else says where the leader is.

use std::{pin::Pin, sync::Arc, time::Duration};

use futures::{Stream, StreamExt as _, stream};
use shoal_common::{
    model_parameters::update_request,
    rpc::{not_leader, wrong_cluster},
    shutdown::Shutdown,
    store::Manifest,
    tls::{PeerRole, certified_caller, named_caller},
};
use shoal_proto::v1::{
    CancelJob, ClusterStatus, ClusterStatusRequest, CommandReply, CoordinatorStatus, CreateJob,
    HeartbeatReply, HeartbeatRequest, ImportDatasetRequest, JobInfo, JobKind, JobRequest, ListDatasetsReply,
    ListDatasetsRequest, ListJobsReply, ListJobsRequest, ListModelsReply, ListModelsRequest, Metadata,
    ModelVersion, NodeHealth, NodeInfo, NodeRecord, NodeRole, PreviewImportReply, PromoteReply,
    PromoteRequest, PromoteStart, RefusalKind, RegisterModelReply, RegisterModelRequest, RegisterVersion,
    RollbackLive, RollbackRequest, StartJobReply, StartListsRequest, StartTrainingRequest,
    WatchMetadataRequest, coordinator_server::Coordinator, metadata_command::Command,
};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::promotion::promoted;
use crate::{
    jobs::{
        JobError, fill_in_defaults, preview, same_training, settle_lists, validate_import, validate_training,
    },
    leader::{CommandError, Leader},
    raft::{ProposeError, ReadError},
    state::ClusterState,
};

/// How long a read waits for a quorum.
const READ_PATIENCE: Duration = Duration::from_secs(5);

/// A stream of replies.
type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Answers for one member.
#[derive(Clone)]
pub struct CoordinatorService {
    pub(super) leader: Leader,
    pub(super) shutdown: Shutdown,
}

impl CoordinatorService {
    /// Answers from what `leader` shares; streams end when a stop is asked for.
    #[must_use]
    pub fn new(leader: Leader, shutdown: Shutdown) -> Self {
        Self { leader, shutdown }
    }

    pub(super) fn check_leads(&self) -> Result<(), Status> {
        let leadership = self.leader.raft.leadership();
        let known = leadership.borrow();
        if known.is_leader {
            return Ok(());
        }
        // One that leads but does not know yet what was acknowledged must not name itself.
        let elsewhere = known.leader_address.as_deref().filter(|_| known.leader_id != Some(self.own_id()));
        Err(not_leader(elsewhere))
    }

    fn own_id(&self) -> u64 {
        self.leader.raft_id()
    }

    fn check_cluster(&self, cluster_id: &str) -> Result<(), Status> {
        let expected = &self.leader.config.cluster_id;
        if cluster_id == expected { Ok(()) } else { Err(wrong_cluster(expected, cluster_id)) }
    }

    pub(super) async fn command(&self, command: Command) -> Result<CommandReply, Status> {
        self.command_once(String::new(), command).await
    }

    async fn command_once(&self, request_id: String, command: Command) -> Result<CommandReply, Status> {
        self.check_leads()?;
        self.leader.command_once(request_id, command).await.map_err(|error| status_of(&error))
    }

    /// The state as of now, from the leader.
    async fn read(&self) -> Result<Arc<ClusterState>, Status> {
        self.check_leads()?;
        let read = self.leader.raft.read(Instant::now() + READ_PATIENCE).await;
        read.map_err(|error: ReadError| Status::unavailable(error.to_string()))
    }

    fn job_of(&self, state: &ClusterState, job_id: &str) -> Result<JobInfo, Status> {
        let job = state.jobs.get(job_id).map(|job| job.info.clone());
        let job = job.ok_or_else(|| {
            Status::not_found(format!("there is no job '{job_id}'; `shoal jobs list` shows those there are"))
        })?;
        Ok(self.leader.progress.fill(job))
    }

    async fn create_job(&self, request_id: String, info: JobInfo) -> Result<Response<StartJobReply>, Status> {
        let info = JobInfo { created_unix_ms: self.leader.clock.now_unix_ms(), ..info };
        let create = CreateJob { info: Some(info), counted: true };
        let reply = self.command_once(request_id, Command::CreateJob(create)).await?;
        Ok(Response::new(StartJobReply { job_id: reply.job_id, ..StartJobReply::default() }))
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

pub(super) fn stopping() -> Status {
    Status::unavailable("this coordinator is stopping")
}

fn status_of(error: &CommandError) -> Status {
    match error {
        CommandError::Refused { kind, reason } => match kind {
            RefusalKind::NotFound => Status::not_found(reason),
            RefusalKind::Precondition => Status::failed_precondition(reason),
            _ => Status::invalid_argument(reason),
        },
        CommandError::Raft(ProposeError::NotLeader { leader_address }) => {
            not_leader(leader_address.as_deref())
        }
        CommandError::Raft(ProposeError::Busy) => Status::resource_exhausted(error.to_string()),
        CommandError::Raft(ProposeError::TooLarge { .. }) => Status::invalid_argument(error.to_string()),
        CommandError::Raft(_) => Status::unavailable(error.to_string()),
    }
}

fn invalid(problems: &[String]) -> Result<(), Status> {
    if problems.is_empty() { Ok(()) } else { Err(Status::invalid_argument(problems.join("; "))) }
}

#[tonic::async_trait]
impl Coordinator for CoordinatorService {
    type WatchMetadataStream = Replies<Metadata>;
    type WatchJobStream = Replies<JobInfo>;

    async fn heartbeat(
        &self,
        request: Request<HeartbeatRequest>,
    ) -> Result<Response<HeartbeatReply>, Status> {
        let role = match request.get_ref().role() {
            NodeRole::Router => PeerRole::Router,
            _ => PeerRole::Worker,
        };
        named_caller(&request, role, &request.get_ref().node)?;
        let request = request.into_inner();
        self.check_cluster(&request.cluster_id)?;
        self.check_leads()?;
        if request.node.is_empty() || request.address.is_empty() {
            return Err(Status::invalid_argument("a heartbeat needs the node's name and address"));
        }
        let info = NodeInfo {
            name: request.node.clone(),
            role: request.role,
            address: request.address.clone(),
            health: NodeHealth::Up.into(),
            incarnation: request.incarnation,
            threads: request.threads,
        };
        // The lease comes before the node is made known: the controllers look as soon as the command
        // is applied, and would take a node that is up without a lease for one that was lost.
        self.leader.members.beat(&request);
        let known =
            self.leader.raft.view().borrow().nodes.get(&request.node).and_then(|record| record.info.clone());
        if known.as_ref() != Some(&info) {
            let record = NodeRecord { info: Some(info), down_since_unix_ms: 0 };
            self.command(Command::UpsertNode(record)).await?;
        }
        let lease_ms = u32::try_from(self.leader.config.lease.as_millis()).unwrap_or(u32::MAX);
        let metadata_revision = self.leader.metadata().borrow().revision;
        Ok(Response::new(HeartbeatReply { lease_ms, metadata_revision }))
    }

    async fn watch_metadata(
        &self,
        request: Request<WatchMetadataRequest>,
    ) -> Result<Response<Self::WatchMetadataStream>, Status> {
        if let Some(caller) = certified_caller(&request)
            && caller.role() != PeerRole::Admin
        {
            named_caller(&request, caller.role(), &request.get_ref().node)?;
        }
        self.check_cluster(&request.into_inner().cluster_id)?;
        self.check_leads()?;
        let term = self.leader.raft.leadership().borrow().term;
        let (metadata, leadership) = (self.leader.metadata(), self.leader.raft.leadership());
        let stop = self.shutdown.token();
        let start = (metadata, leadership, stop, true);
        // Only this term's metadata: when leadership moves the watch ends, and the watcher finds the new leader.
        let replies =
            stream::unfold(start, move |(mut metadata, mut leadership, stop, mut first)| async move {
                loop {
                    let current = Arc::clone(&metadata.borrow_and_update());
                    if first && current.leader_term == term {
                        return Some((Ok(Metadata::clone(&current)), (metadata, leadership, stop, false)));
                    }
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => return None,
                        changed = leadership.changed() => {
                            let known = leadership.borrow_and_update();
                            if changed.is_err() || !known.is_leader || known.term != term {
                                return None;
                            }
                        }
                        changed = metadata.changed() => {
                            if changed.is_err() {
                                return None;
                            }
                            first = true;
                        }
                    }
                }
            });
        Ok(Response::new(replies.boxed()))
    }

    async fn import_dataset(
        &self,
        request: Request<ImportDatasetRequest>,
    ) -> Result<Response<StartJobReply>, Status> {
        let import = request.into_inner();
        invalid(&validate_import(&import))?;
        let request_id = import.request_id.clone();
        let info = JobInfo { kind: JobKind::Import.into(), import: Some(import), ..JobInfo::default() };
        self.create_job(request_id, info).await
    }

    async fn preview_import(
        &self,
        request: Request<ImportDatasetRequest>,
    ) -> Result<Response<PreviewImportReply>, Status> {
        let import = request.into_inner();
        invalid(&validate_import(&import))?;
        self.check_leads()?;
        let previewed = preview(&self.leader, import).await;
        previewed.map(Response::new).map_err(|error| match error {
            JobError::Transient(_) => Status::aborted(error.to_string()),
            // As a job that fails, and not as a request that makes no sense.
            _ => Status::failed_precondition(error.to_string()),
        })
    }

    async fn list_datasets(
        &self,
        _: Request<ListDatasetsRequest>,
    ) -> Result<Response<ListDatasetsReply>, Status> {
        let state = self.read().await?;
        Ok(Response::new(ListDatasetsReply { datasets: state.datasets.values().cloned().collect() }))
    }

    async fn start_training(
        &self,
        request: Request<StartTrainingRequest>,
    ) -> Result<Response<StartJobReply>, Status> {
        let mut training = request.into_inner();
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
            return Ok(Response::new(StartJobReply {
                existing_version: version,
                ..StartJobReply::default()
            }));
        }
        let request_id = training.request_id.clone();
        let info = JobInfo { kind: JobKind::Training.into(), training: Some(training), ..JobInfo::default() };
        self.create_job(request_id, info).await
    }

    async fn start_lists(
        &self,
        request: Request<StartListsRequest>,
    ) -> Result<Response<StartJobReply>, Status> {
        let mut lists = request.into_inner();
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
        let info = JobInfo { kind: JobKind::Lists.into(), lists: Some(lists), ..JobInfo::default() };
        self.create_job(request_id, info).await
    }

    async fn list_jobs(&self, _: Request<ListJobsRequest>) -> Result<Response<ListJobsReply>, Status> {
        let state = self.read().await?;
        let jobs = state.jobs_by_age().into_iter().map(|job| job.info.clone());
        Ok(Response::new(ListJobsReply { jobs: jobs.map(|job| self.leader.progress.fill(job)).collect() }))
    }

    async fn get_job(&self, request: Request<JobRequest>) -> Result<Response<JobInfo>, Status> {
        let state = self.read().await?;
        Ok(Response::new(self.job_of(&state, &request.into_inner().job_id)?))
    }

    async fn watch_job(
        &self,
        request: Request<JobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        let job_id = request.into_inner().job_id;
        let state = self.read().await?;
        self.job_of(&state, &job_id)?;
        let (states, reports) = (self.leader.raft.view(), self.leader.progress.watch());
        let start = (self.clone(), states, reports, None::<JobInfo>, false);
        let replies = stream::unfold(start, move |(service, mut states, mut reports, mut last, over)| {
            let job_id = job_id.clone();
            async move {
                if over {
                    return None;
                }
                loop {
                    if let Err(status) = service.check_leads() {
                        return Some((Err(status), (service, states, reports, last, true)));
                    }
                    let state = Arc::clone(&states.borrow_and_update());
                    reports.borrow_and_update();
                    let job = state.jobs.get(&job_id)?;
                    let over = job.is_over();
                    let info = service.leader.progress.fill(job.info.clone());
                    if last.as_ref() != Some(&info) {
                        last = Some(info.clone());
                        return Some((Ok(info), (service, states, reports, last, over)));
                    }
                    tokio::select! {
                        biased;
                        () = service.shutdown.requested() => return Some((Err(stopping()), (service.clone(), states, reports, last, true))),
                        changed = states.changed() => if changed.is_err() { return None },
                        _ = reports.changed() => {}
                        () = tokio::time::sleep(Duration::from_millis(500)) => {}
                    }
                }
            }
        });
        Ok(Response::new(replies.boxed()))
    }

    async fn cancel_job(&self, request: Request<JobRequest>) -> Result<Response<JobInfo>, Status> {
        let job_id = request.into_inner().job_id;
        self.command(Command::CancelJob(CancelJob { job_id: job_id.clone() })).await?;
        let state = self.read().await?;
        Ok(Response::new(self.job_of(&state, &job_id)?))
    }

    async fn list_models(&self, _: Request<ListModelsRequest>) -> Result<Response<ListModelsReply>, Status> {
        let state = self.read().await?;
        Ok(Response::new(ListModelsReply { versions: state.versions.values().cloned().collect() }))
    }

    async fn register_model(
        &self,
        request: Request<RegisterModelRequest>,
    ) -> Result<Response<RegisterModelReply>, Status> {
        self.check_leads()?;
        let RegisterModelRequest { version, dataset, request_id } = request.into_inner();
        let missing = || Status::invalid_argument("the version to register is missing");
        let version = version.ok_or_else(missing)?;
        // What is registered can be loaded: the files are in this very store.
        let of_dataset = dataset.as_ref().map(|dataset| (&dataset.path, &dataset.manifest_checksum));
        for (path, checksum) in std::iter::once((&version.path, &version.manifest_checksum)).chain(of_dataset)
        {
            if let Err(error) = Manifest::read(&self.leader.store, path, checksum).await {
                let reason = format!("the cluster's store does not have '{path}' as described: {error}");
                return Err(Status::failed_precondition(reason));
            }
        }
        let command = Command::RegisterVersion(RegisterVersion { version: Some(version), dataset });
        self.command_once(request_id, command).await?;
        Ok(Response::new(RegisterModelReply {}))
    }

    async fn promote(&self, request: Request<PromoteRequest>) -> Result<Response<PromoteReply>, Status> {
        let PromoteRequest { version, request_id, make_default } = request.into_inner();
        let command = Command::PromoteStart(PromoteStart { version: version.clone(), make_default });
        self.command_once(request_id, command).await?;
        self.wait_live(&version).await
    }

    async fn rollback(&self, request: Request<RollbackRequest>) -> Result<Response<PromoteReply>, Status> {
        let RollbackRequest { request_id, model } = request.into_inner();
        self.command_once(request_id, Command::Rollback(RollbackLive { model: model.clone() })).await?;
        let state = self.read().await?;
        let served = if model.is_empty() {
            Some(state.served_by_default())
        } else {
            state.served.get(&model).cloned()
        };
        let back = promoted(served.unwrap_or_default(), &state);
        Ok(Response::new(self.announced(back).await))
    }

    async fn status(&self, _: Request<ClusterStatusRequest>) -> Result<Response<ClusterStatus>, Status> {
        let state = self.read().await?;
        let raft = self.leader.raft.status().borrow().clone();
        let own_id = self.own_id();
        let coordinators = raft.peers.iter().map(|peer| CoordinatorStatus {
            raft_id: peer.id,
            address: peer.address.clone(),
            leader: peer.id == own_id,
            matched: peer.matched,
            recently_active: peer.recently_active,
        });
        let (shards_total, shards_served, shards_fully_replicated) = self.leader.served_shards(&state);
        Ok(Response::new(ClusterStatus {
            cluster_id: state.cluster_id.clone(),
            term: raft.term,
            commit_index: raft.commit_index,
            applied_index: raft.applied_index,
            coordinators: coordinators.collect(),
            metadata: Some(Metadata::clone(&self.leader.metadata().borrow())),
            shards_total,
            shards_served,
            shards_fully_replicated,
        }))
    }
}
