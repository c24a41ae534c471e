//! The `Coordinator` service. Only the leader answers; anyone else says where the leader is.

use prost::{Message, Name};
use shoal_common::{
    access::{Scope, caller_name, certified_caller, certified_for, named_caller, needs_scope, token_holder},
    audit::Who,
    tls::PeerRole,
    wire_enums::check_enums,
};
use shoal_proto::v1::{
    CancelJob, ClusterStatus, ClusterStatusRequest, CoordinatorStatus, CreateTokenReply, CreateTokenRequest,
    DescribeMemberRequest, ForgetNodeReply, ForgetNodeRequest, HeartbeatReply, HeartbeatRequest,
    ImportDatasetRequest, JobInfo, JobRequest, ListDatasetsReply, ListDatasetsRequest, ListJobsReply,
    ListJobsRequest, ListModelsReply, ListModelsRequest, ListNodesReply, ListNodesRequest, ListTokensReply,
    ListTokensRequest, Metadata, NodeReport, NodeRole, PreviewImportReply, PromoteReply, PromoteRequest,
    PromoteStart, RegisterModelReply, RegisterModelRequest, RevokeTokenReply, RevokeTokenRequest,
    RollbackLive, RollbackRequest, StartJobReply, StartListsRequest, StartTrainingRequest, UnreachableWorker,
    WatchMetadataRequest, coordinator_server::Coordinator, metadata_command::Command,
};
use tonic::{Request, Response, Status};

use super::{
    audited::{audited, audited_job},
    member::{CoordinatorService, Replies, invalid, short},
    promotion::promoted,
};
use crate::{
    jobs::{JobError, preview, validate_import},
    leader::Unreachable,
};

fn unreachable_worker((node, known): (String, Unreachable)) -> UnreachableWorker {
    UnreachableWorker { node, reason: known.reason, since_unix_ms: known.since_unix_ms }
}

/// A request whose enums all have values that this release knows.
fn taken<M: Message + Name>(request: Request<M>) -> Result<M, Status> {
    let request = request.into_inner();
    check_enums(&request).map_err(|unknown| Status::invalid_argument(unknown.to_string()))?;
    Ok(request)
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
        certified_for(&request, &request.get_ref().address)?;
        let who = Who::of(request.extensions());
        Ok(Response::new(self.beat(taken(request)?, who).await?))
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
        self.metadata_as_it_changes(taken(request)?).map(Response::new)
    }

    async fn import_dataset(
        &self,
        request: Request<ImportDatasetRequest>,
    ) -> Result<Response<StartJobReply>, Status> {
        let noted = self.asked("import_dataset", &request).of("dataset", &request.get_ref().name);
        let act = async { self.start_import(caller_name(&request), taken(request)?).await };
        audited_job(noted, act).await.map(Response::new)
    }

    async fn preview_import(
        &self,
        request: Request<ImportDatasetRequest>,
    ) -> Result<Response<PreviewImportReply>, Status> {
        let import = taken(request)?;
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
        let noted = self.asked("start_training", &request).of("dataset", &request.get_ref().dataset_name);
        let act = async {
            if request.get_ref().promote {
                needs_scope(&request, Scope::Admin)?;
            }
            self.start_to_train(caller_name(&request), taken(request)?).await
        };
        audited_job(noted, act).await.map(Response::new)
    }

    async fn start_lists(
        &self,
        request: Request<StartListsRequest>,
    ) -> Result<Response<StartJobReply>, Status> {
        let noted = self.asked("start_lists", &request).of("version", &request.get_ref().version);
        let noted = noted.of("model", &request.get_ref().model);
        let act = async { self.start_to_list(caller_name(&request), taken(request)?).await };
        audited_job(noted, act).await.map(Response::new)
    }

    async fn list_jobs(&self, _: Request<ListJobsRequest>) -> Result<Response<ListJobsReply>, Status> {
        let state = self.read().await?;
        let jobs = state.jobs_by_age().into_iter().map(|job| job.info.clone());
        Ok(Response::new(ListJobsReply { jobs: jobs.map(|job| self.leader.progress.fill(job)).collect() }))
    }

    async fn get_job(&self, request: Request<JobRequest>) -> Result<Response<JobInfo>, Status> {
        let state = self.read().await?;
        Ok(Response::new(self.job_of(&state, &taken(request)?.job_id)?))
    }

    async fn watch_job(
        &self,
        request: Request<JobRequest>,
    ) -> Result<Response<Self::WatchJobStream>, Status> {
        let holder = token_holder(&request).cloned();
        self.job_as_it_changes(taken(request)?.job_id, holder).await.map(Response::new)
    }

    async fn cancel_job(&self, request: Request<JobRequest>) -> Result<Response<JobInfo>, Status> {
        let noted = self.asked("cancel_job", &request).of("job", &request.get_ref().job_id);
        let act = async {
            let job_id = taken(request)?.job_id;
            short("job_id", &job_id)?;
            self.command(Command::CancelJob(CancelJob { job_id: job_id.clone() })).await?;
            Ok(job_id)
        };
        let job_id = audited(noted, act).await?;
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
        let version = request.get_ref().version.as_ref().map_or("", |version| &version.name);
        let noted = self.asked("register_version", &request).of("version", version);
        audited(noted, async { self.register(taken(request)?).await }).await?;
        Ok(Response::new(RegisterModelReply {}))
    }

    async fn promote(&self, request: Request<PromoteRequest>) -> Result<Response<PromoteReply>, Status> {
        let noted = self.asked("promote", &request).of("version", &request.get_ref().version);
        let act = async {
            let PromoteRequest { version, request_id, make_default } = taken(request)?;
            short("version", &version)?;
            self.check_can_be_served(&version).await?;
            let command = Command::PromoteStart(PromoteStart { version: version.clone(), make_default });
            self.command_once(request_id, command).await?;
            self.wait_live(&version).await
        };
        audited(noted, act).await
    }

    async fn rollback(&self, request: Request<RollbackRequest>) -> Result<Response<PromoteReply>, Status> {
        let noted = self.asked("rollback", &request).of("model", &request.get_ref().model);
        let act = async {
            let RollbackRequest { request_id, model } = taken(request)?;
            short("model", &model)?;
            self.command_once(request_id, Command::Rollback(RollbackLive { model: model.clone() })).await?;
            Ok(model)
        };
        let model = audited(noted, act).await?;
        let state = self.read().await?;
        let served = if model.is_empty() {
            Some(state.served_by_default())
        } else {
            state.served.get(&model).cloned()
        };
        let back = promoted(served.unwrap_or_default(), &state);
        self.announced(back).await.map(Response::new)
    }

    async fn status(&self, _: Request<ClusterStatusRequest>) -> Result<Response<ClusterStatus>, Status> {
        let state = self.read().await?;
        let raft = self.leader.raft.status().borrow().clone();
        let own_id = self.own_id();
        let reports = self.member_reports(&raft.peers).await;
        let coordinators = raft.peers.iter().zip(reports).map(|(peer, report)| CoordinatorStatus {
            raft_id: peer.id,
            address: peer.address.clone(),
            leader: peer.id == own_id,
            matched: peer.matched,
            recently_active: peer.recently_active,
            protection: self.protection_of(peer.id, &peer.address).into(),
            report,
        });
        let (shards_total, shards_served, shards_fully_replicated) = self.leader.served_shards(&state);
        Ok(Response::new(ClusterStatus {
            cluster_id: state.cluster_id.clone(),
            term: raft.term,
            commit_index: raft.commit_index,
            applied_index: raft.applied_index,
            coordinators: coordinators.collect(),
            // Whoever may look at the cluster has no use for hashes of tokens.
            metadata: Some(Metadata {
                tokens: Vec::new(),
                ..Metadata::clone(&self.leader.metadata().borrow())
            }),
            shards_total,
            shards_served,
            shards_fully_replicated,
            unreachable: self.leader.unreachable.all().into_iter().map(unreachable_worker).collect(),
            replicas_asked: self.leader.config.replicas,
            node_status: self.node_status(&state),
        }))
    }

    async fn describe_member(
        &self,
        _: Request<DescribeMemberRequest>,
    ) -> Result<Response<NodeReport>, Status> {
        Ok(Response::new(self.leader.config.reporter.report()))
    }

    async fn list_nodes(&self, _: Request<ListNodesRequest>) -> Result<Response<ListNodesReply>, Status> {
        Ok(Response::new(ListNodesReply { nodes: self.known_nodes().await? }))
    }

    async fn forget_node(
        &self,
        request: Request<ForgetNodeRequest>,
    ) -> Result<Response<ForgetNodeReply>, Status> {
        let noted = self.asked("forget_node", &request).of("node", &request.get_ref().node);
        audited(noted, async { self.forget(taken(request)?.node).await }).await?;
        Ok(Response::new(ForgetNodeReply {}))
    }

    async fn create_token(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Result<Response<CreateTokenReply>, Status> {
        let made = request.get_ref().token.as_ref();
        let noted = self.asked("create_token", &request);
        let noted = noted.of("token", made.map_or("", |token| &token.id));
        let noted = noted.of("label", made.map_or("", |token| &token.label));
        let scopes =
            made.map(|token| token.scopes().filter_map(Scope::of_wire).map(Scope::name).collect::<Vec<_>>());
        let noted = noted.of("scopes", &scopes.unwrap_or_default().join(" "));
        let caller = caller_name(&request);
        audited(noted, async { self.make_token(taken(request)?, caller).await }).await.map(Response::new)
    }

    async fn list_tokens(&self, _: Request<ListTokensRequest>) -> Result<Response<ListTokensReply>, Status> {
        Ok(Response::new(ListTokensReply { tokens: self.known_tokens().await? }))
    }

    async fn revoke_token(
        &self,
        request: Request<RevokeTokenRequest>,
    ) -> Result<Response<RevokeTokenReply>, Status> {
        let noted = self.asked("revoke_token", &request).of("token", &request.get_ref().id);
        audited(noted, async { self.end_token(taken(request)?.id).await }).await?;
        Ok(Response::new(RevokeTokenReply {}))
    }
}
