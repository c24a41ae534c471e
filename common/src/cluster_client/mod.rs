//! What people and programs ask of the coordinators, whichever of them leads: the command line for whoever runs it, and a
//! router for those who ask it over HTTP.

mod job_changes;

use std::{
    future::Future,
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use shoal_proto::v1::{
    ClusterStatus, ClusterStatusRequest, CreateTokenRequest, DatasetInfo, ForgetNodeRequest,
    ImportDatasetRequest, JobInfo, JobRequest, KnownNode, ListDatasetsRequest, ListJobsRequest,
    ListModelsRequest, ListNodesRequest, ListTokensRequest, ModelVersion, PreviewImportReply, PromoteReply,
    PromoteRequest, RegisterModelRequest, RevokeTokenRequest, RollbackRequest, StartJobReply,
    StartListsRequest, StartTrainingRequest, TokenInfo, coordinator_client::CoordinatorClient,
};
use tonic::{Code, Request, Status};

pub use self::job_changes::{JobChanges, is_over};
use crate::{
    access::Token,
    causes::innermost,
    rpc::{CallCredentials, Channels, LEADER_KEY, LeaderChannel, LeaderClient, is_lost_on_the_way},
};

/// How long a leader is looked for: longer than an election takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long one answer may take, but for those that wait for workers.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// How long a worker may take to read the first rows of a source, row groups of a Parquet file among them.
const PREVIEW_MAX: Duration = Duration::from_secs(120);
/// How long a promote or rollback may take: workers load a version meanwhile.
const PROMOTE_MAX: Duration = Duration::from_secs(3_600);

/// A question to the coordinators that got no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// No coordinator answered.
    #[error(
        "no leading coordinator answered at {addresses} ({reason}); is the cluster running? `shoal up` starts one on this machine, --cluster names another, and under TLS --certs is needed"
    )]
    Unreachable {
        /// The addresses that were asked.
        addresses: String,
        /// What the last try met.
        reason: String,
    },
    /// The leader refused or failed.
    #[error("{}", .0.message())]
    Refused(Status),
}

impl ClientError {
    /// The gRPC code of the answer.
    #[must_use]
    pub fn code(&self) -> Code {
        match self {
            Self::Unreachable { .. } => Code::Unavailable,
            Self::Refused(status) => status.code(),
        }
    }
}

/// Asks the coordinators. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ClusterClient {
    leader: LeaderClient,
    addresses: String,
    patience: Duration,
}

impl ClusterClient {
    /// Knows these coordinators (`host:port`), at least one.
    #[must_use]
    pub fn new(channels: Channels, addresses: Vec<String>) -> Self {
        Self {
            addresses: addresses.join(", "),
            leader: LeaderClient::new(channels, addresses),
            patience: PATIENCE,
        }
    }

    /// Shows a token with each call.
    #[must_use]
    pub fn with_token(self, token: Option<&Token>) -> Self {
        Self { leader: self.leader.with_token(token), ..self }
    }

    /// Looks for a leader no longer than this.
    #[must_use]
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Shows what a caller has shown, in its place.
    #[must_use]
    pub fn on_behalf_of(self, credentials: CallCredentials) -> Self {
        Self { leader: self.leader.with_credentials(credentials), ..self }
    }

    async fn ask<T, F, Fut>(&self, call: F) -> Result<T, ClientError>
    where
        F: FnMut(CoordinatorClient<LeaderChannel>) -> Fut,
        Fut: Future<Output = Result<tonic::Response<T>, Status>>,
    {
        match self.leader.call(self.patience, call).await {
            Ok(reply) => Ok(reply.into_inner()),
            Err(status) => Err(self.error(status)),
        }
    }

    fn error(&self, status: Status) -> ClientError {
        let no_leader = status.metadata().contains_key(LEADER_KEY);
        if no_leader || is_lost_on_the_way(&status) {
            // A status that was made here says how a connection broke, its cause why.
            let cause = std::error::Error::source(&status);
            let reason = cause.map_or_else(|| status.message().to_owned(), innermost);
            return ClientError::Unreachable { addresses: self.addresses.clone(), reason };
        }
        ClientError::Refused(status)
    }

    /// The whole cluster.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn status(&self) -> Result<ClusterStatus, ClientError> {
        self.ask(|mut client| async move { client.status(timed(ClusterStatusRequest {}, ANSWER_MAX)).await })
            .await
    }

    /// Every data set.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn datasets(&self) -> Result<Vec<DatasetInfo>, ClientError> {
        let reply =
            self.ask(|mut client| async move {
                client.list_datasets(timed(ListDatasetsRequest {}, ANSWER_MAX)).await
            })
            .await?;
        Ok(reply.datasets)
    }

    /// Every worker and router that is known.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn nodes(&self) -> Result<Vec<KnownNode>, ClientError> {
        let reply = self
            .ask(|mut client| async move { client.list_nodes(timed(ListNodesRequest {}, ANSWER_MAX)).await })
            .await?;
        Ok(reply.nodes)
    }

    /// Forgets a node that is down.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn forget_node(&self, node: &str) -> Result<(), ClientError> {
        let forgotten = self.ask(|mut client| {
            let request = timed(ForgetNodeRequest { node: node.to_owned() }, ANSWER_MAX);
            async move { client.forget_node(request).await }
        });
        forgotten.await.map(drop)
    }

    /// Makes a token good; what the cluster knows of it.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn create_token(&self, token: TokenInfo) -> Result<TokenInfo, ClientError> {
        let request = CreateTokenRequest { token: Some(token), request_id: draw_request_id() };
        let made = self.ask(|mut client| {
            let request = timed(request.clone(), ANSWER_MAX);
            async move { client.create_token(request).await }
        });
        Ok(made.await?.token.unwrap_or_default())
    }

    /// Every token that is good.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn tokens(&self) -> Result<Vec<TokenInfo>, ClientError> {
        let reply = self
            .ask(
                |mut client| async move { client.list_tokens(timed(ListTokensRequest {}, ANSWER_MAX)).await },
            )
            .await?;
        Ok(reply.tokens)
    }

    /// Makes a token good for nothing.
    ///
    /// # Errors
    /// See [`ClientError`]; `NotFound` without one.
    pub async fn revoke_token(&self, id: &str) -> Result<(), ClientError> {
        let revoked = self.ask(|mut client| {
            let request = timed(RevokeTokenRequest { id: id.to_owned() }, ANSWER_MAX);
            async move { client.revoke_token(request).await }
        });
        revoked.await.map(drop)
    }

    /// Every job that is remembered.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn jobs(&self) -> Result<Vec<JobInfo>, ClientError> {
        let reply = self
            .ask(|mut client| async move { client.list_jobs(timed(ListJobsRequest {}, ANSWER_MAX)).await })
            .await?;
        Ok(reply.jobs)
    }

    /// The job of this id.
    ///
    /// # Errors
    /// See [`ClientError`]; `NotFound` without one.
    pub async fn job(&self, job_id: &str) -> Result<JobInfo, ClientError> {
        self.ask(|mut client| async move {
            client.get_job(timed(JobRequest { job_id: job_id.to_owned() }, ANSWER_MAX)).await
        })
        .await
    }

    /// Cancels a job; one that is over stays as it is.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn cancel(&self, job_id: &str) -> Result<JobInfo, ClientError> {
        self.ask(|mut client| async move {
            client.cancel_job(timed(JobRequest { job_id: job_id.to_owned() }, ANSWER_MAX)).await
        })
        .await
    }

    /// The changes of a job, its present state first, until it is over. See [`JobChanges::next`].
    #[must_use]
    pub fn watch(&self, job_id: &str) -> JobChanges {
        JobChanges::new(self.clone(), job_id)
    }

    /// Every model version.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn models(&self) -> Result<Vec<ModelVersion>, ClientError> {
        let reply = self
            .ask(
                |mut client| async move { client.list_models(timed(ListModelsRequest {}, ANSWER_MAX)).await },
            )
            .await?;
        Ok(reply.versions)
    }

    /// The live version of the default model and its data set, if a version is live.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn live_version(&self) -> Result<Option<(ModelVersion, DatasetInfo)>, ClientError> {
        let live = self.status().await?.metadata.unwrap_or_default().live_version;
        let versions = self.models().await?;
        let Some(version) = versions.into_iter().find(|version| version.name == live) else {
            return Ok(None);
        };
        let datasets = self.datasets().await?;
        let of_version =
            |info: &DatasetInfo| info.name == version.dataset_name && info.version == version.dataset_version;
        Ok(datasets.into_iter().find(of_version).map(|dataset| (version, dataset)))
    }

    /// Makes a version known whose files are in the cluster's store, with its data set if that is new.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn register(
        &self,
        version: ModelVersion,
        dataset: Option<DatasetInfo>,
    ) -> Result<(), ClientError> {
        let request = RegisterModelRequest { version: Some(version), dataset, request_id: draw_request_id() };
        let registered = self.ask(|mut client| {
            let request = timed(request.clone(), ANSWER_MAX);
            async move { client.register_model(request).await }
        });
        registered.await.map(|_| ())
    }

    /// Makes a version the live one of its model, and the model the default if wanted; answers when it is and the
    /// routers answer from it, but for those that the reply names as late.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn promote(&self, version: &str, make_default: bool) -> Result<PromoteReply, ClientError> {
        let (version, request_id) = (version.to_owned(), draw_request_id());
        let request = PromoteRequest { version, request_id, make_default };
        let promoted = self.ask(|mut client| {
            let request = timed(request.clone(), PROMOTE_MAX);
            async move { client.promote(request).await }
        });
        promoted.await
    }

    /// Makes a model's previous version the live one again, of the default model when none is named; answers when it
    /// is and the routers answer from it, but for those that the reply names as late.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn rollback(&self, model: Option<&str>) -> Result<PromoteReply, ClientError> {
        let model = model.unwrap_or_default().to_owned();
        let request = RollbackRequest { request_id: draw_request_id(), model };
        let back = self.ask(|mut client| {
            let request = timed(request.clone(), PROMOTE_MAX);
            async move { client.rollback(request).await }
        });
        back.await
    }

    /// Starts an import; the id of its job.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn start_import(&self, request: ImportDatasetRequest) -> Result<String, ClientError> {
        let request = ImportDatasetRequest { request_id: draw_request_id(), ..request };
        let reply = self
            .ask(|mut client| {
                let request = timed(request.clone(), ANSWER_MAX);
                async move { client.import_dataset(request).await }
            })
            .await?;
        Ok(reply.job_id)
    }

    /// What an import would make of its source, by the first rows.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn preview_import(
        &self,
        request: ImportDatasetRequest,
    ) -> Result<PreviewImportReply, ClientError> {
        self.ask(|mut client| {
            let request = timed(request.clone(), PREVIEW_MAX);
            async move { client.preview_import(request).await }
        })
        .await
    }

    /// Starts a training; the id of its job.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn start_training(&self, request: StartTrainingRequest) -> Result<String, ClientError> {
        let request = StartTrainingRequest { reuse: false, ..request };
        Ok(self.ask_training(request).await?.job_id)
    }

    /// Starts a training unless a version was trained alike before.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn start_or_reuse(&self, request: StartTrainingRequest) -> Result<Started, ClientError> {
        let reply = self.ask_training(StartTrainingRequest { reuse: true, ..request }).await?;
        let version = Some(reply.existing_version).filter(|version| !version.is_empty());
        Ok(version.map_or(Started::Job(reply.job_id), Started::Existing))
    }

    /// Starts a job that writes lists; its id.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn start_lists(&self, request: StartListsRequest) -> Result<String, ClientError> {
        let request = StartListsRequest { request_id: draw_request_id(), ..request };
        let reply = self.ask(|mut client| {
            let request = timed(request.clone(), ANSWER_MAX);
            async move { client.start_lists(request).await }
        });
        Ok(reply.await?.job_id)
    }

    async fn ask_training(&self, request: StartTrainingRequest) -> Result<StartJobReply, ClientError> {
        let request = StartTrainingRequest { request_id: draw_request_id(), ..request };
        self.ask(|mut client| {
            let request = timed(request.clone(), ANSWER_MAX);
            async move { client.start_training(request).await }
        })
        .await
    }
}

/// What came of asking for a training.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Started {
    /// The job that trains.
    Job(String),
    /// A version that was trained alike before.
    Existing(String),
}

/// Tells this request from every other one, so that asking again for it starts nothing twice.
fn draw_request_id() -> String {
    let drawn = RandomState::new();
    format!("{:016x}{:016x}", drawn.hash_one(0), drawn.hash_one(1))
}

fn timed<T>(message: T, limit: Duration) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(limit);
    request
}
